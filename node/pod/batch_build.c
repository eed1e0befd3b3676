/* The open batch: what is planned goes into its changes, directory and payload until it is sealed. */
#include "node/pod/pod_impl.h"

#include <string.h>

#include "common/endian_codec.h"

bool log_has_room(struct pod *pod)
{
    /* The last ones are a checkpoint's, which may free others. */
    const uint32_t kept = CHECKPOINT_SEGMENTS + (pod_is_replicated(pod) ? RESTART_SEGMENTS : 0);
    if (pod->tail.next == SEGMENT_NONE && segments_free(pod->segments) > kept)
        pod->tail.next = segments_take(pod->segments, SEGMENT_LOG);
    return pod->tail.next != SEGMENT_NONE ||
           pod->tail.offset + BATCH_MAX_BYTES + BATCH_ALIGN <= pod->segment_bytes;
}

/* The log goes on only in a segment that the batch before named. One that came free too late for
 * that is named by a batch of its own, for which log_has_room kept the space. */
static bool must_name_next(const struct pod *pod)
{
    return pod->tail.next != SEGMENT_NONE && !pod->next_named &&
           pod->tail.offset + BATCH_MAX_BYTES > pod->segment_bytes;
}

bool batch_open(struct pod *pod)
{
    if (pod->open)
        return true;
    struct list_node *node = pod->free_batches.next;
    if (node == &pod->free_batches || restart_holds_log(pod))
        return false;
    if (!log_has_room(pod)) {
        checkpoint_want(pod);
        return false;
    }
    if (must_name_next(pod) && pod->in_flight_count >= IN_FLIGHT_MAX)
        return false;
    list_remove(node);
    struct batch *b = container_of(node, struct batch, link);
    b->header = (struct batch_header){.seq = pod->sealed_seq + 1, .first_group = pod->next_group};
    changes_begin(&b->changes, b->buf + BATCH_HEADER_BYTES, BATCH_CHANGES_MAX);
    b->plan = (struct plan){pod->view, &b->changes, b->header.seq, &pod->next_page, 0};
    b->payload_used = b->blocks = b->records = b->groups = b->fingerprint_used = 0;
    b->scatter.blocks = 0;
    b->space_count = b->pinned_count = 0;
    memset(b->counters, 0, sizeof b->counters);
    b->manage = NULL;
    b->releasing = 0;
    b->done = false;
    b->status = 0;
    b->open = true;
    pod->open = b;
    if (!must_name_next(pod))
        return true;
    batch_ship(pod);
    return batch_open(pod);
}

bool log_is_full(struct pod *pod)
{
    if (pod->open || pod->in_flight_count || restart_holds_log(pod) || log_has_room(pod) ||
        checkpoint_busy(pod) || vacate_gives_way(pod))
        return false;
    log_retain_trim(pod);
    return segments_dead(pod->segments, pod->applied_seq) == 0 && !collect_helps(pod);
}

enum {
    SEAL_ROOM =
        BATCH_SPACES * 60 + 2 * 80 + 64, /* kept free for what sealing adds: spaces, counters, next ids */
    BATCH_LEAST_BYTES = 64 * 1024,
};

/* With `blocks` more the batch would not fit what is left of the segment, which would stay empty. Of a batch
 * that is not worth a write of its own nothing is asked. */
static bool outgrows_segment(const struct pod *pod, uint32_t blocks)
{
    const struct batch *b = pod->open;
    const size_t is = BATCH_HEADER_BYTES + b->changes.used + SEAL_ROOM +
                      b->records * (size_t)BATCH_LINE_BYTES + b->fingerprint_used + b->payload_used +
                      b->scatter.payload_bytes + RECORD_MAX_BYTES / 8 + 2 * (size_t)BATCH_ALIGN;
    const size_t more = blocks * (size_t)(POD_BLOCK_BYTES + 2 * RECORD_UNIT_BYTES + CHANGES_REF_BYTES);
    const size_t left = pod->segment_bytes - pod->tail.offset;
    return b->blocks && is >= BATCH_LEAST_BYTES && is <= left && is + more > left;
}

bool batch_has_room(struct pod *pod, unsigned depth, uint32_t entries, uint32_t blocks)
{
    const struct batch *b = pod->open;
    const uint32_t records = b->records + (b->scatter.blocks > 0);
    return !outgrows_segment(pod, blocks) &&
           changes_room(&b->changes) >=
               map_put_room(depth, entries) + PIECE_BLOCKS * CHANGES_REF_BYTES + SEAL_ROOM &&
           view_room(pod->view) >= 2 * map_put_shadows(depth, entries) + blocks &&
           b->blocks + blocks <= BATCH_BLOCKS_MAX && records + blocks + 1 <= BATCH_RECORDS_MAX &&
           b->payload_used + RECORD_MAX_BYTES +
                   (blocks + GROUP_BLOCKS) * (POD_BLOCK_BYTES + RECORD_UNIT_BYTES) <=
               BATCH_PAYLOAD_MAX &&
           b->space_count < BATCH_SPACES;
}

struct space *batch_space(struct batch *b, uint64_t image)
{
    for (uint32_t i = 0; i < b->space_count; i++)
        if (b->spaces[i].image == image)
            return &b->spaces[i].delta;
    assert(b->space_count < BATCH_SPACES);
    b->spaces[b->space_count].image = image;
    b->spaces[b->space_count].delta = (struct space){0};
    return &b->spaces[b->space_count++].delta;
}

static void add_line(struct batch *b, size_t bytes, uint64_t group, unsigned blocks)
{
    batch_put_record(b->lines, b->records++, (uint32_t)bytes, (unsigned)(group - b->header.first_group),
                     blocks);
}

static void add_fingerprint(struct pod *pod, struct batch *b, const struct fingerprint *fp)
{
    const size_t size = fingerprint_size(pod->fingerprint);
    memcpy(b->fingerprints + b->fingerprint_used, fp->bytes, size);
    b->fingerprint_used += (uint32_t)size;
}

/* The block can be read and deduplicated against from now on: it stays cached until it is in flash. */
static void remember(struct pod *pod, uint64_t block, const struct piece_block *pb, const uint8_t *data)
{
    struct batch *b = pod->open;
    const void *cached = block_cache_put(pod->cache, block, data);
    const bool pinned = block_cache_pin(pod->cache, cached);
    assert(pinned && "pins are bounded by the batches");
    b->pinned[b->pinned_count++] = cached;
    if (pod->config.dedupe)
        dedup_index_insert(pod->dedup, fingerprint_key(&pb->fp), block);
    block_born(&b->plan, block);
    b->blocks++;
}

void batch_store_joint(struct pod *pod, const struct piece *piece, uint32_t first, uint32_t n,
                       uint64_t *entries)
{
    struct batch *b = pod->open;
    const void *blocks[GROUP_BLOCKS] = {0};
    const uint64_t group = pod->next_group++;
    block_cache_prefetch(pod->cache, record_block_id(group, 0));
    for (uint32_t i = 0; i < n; i++)
        blocks[i] = piece->data + (size_t)(first + i) * POD_BLOCK_BYTES;
    const size_t bytes =
        record_encode(pod->codec, pod->algorithm, group, blocks, n, true,
                      b->buf + BATCH_PAYLOAD_AT + b->payload_used, BATCH_PAYLOAD_MAX - b->payload_used);
    const unsigned share = record_stored_share(bytes, n);
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t block = record_block_id(group, i);
        remember(pod, block, &piece->blocks[first + i], blocks[i]);
        add_fingerprint(pod, b, &piece->blocks[first + i].fp);
        entries[i] = entry_data(block, share, false);
    }
    add_line(b, bytes, group, n);
    b->payload_used += (uint32_t)bytes;
    b->counters[COUNTER_COMPRESS_IN] += (uint64_t)n * POD_BLOCK_BYTES;
    b->counters[COUNTER_COMPRESS_OUT] += bytes;
}

static void close_scatter(struct pod *pod)
{
    struct batch *b = pod->open;
    if (b->scatter.blocks == 0)
        return;
    const unsigned n = b->scatter.blocks;
    const size_t bytes = record_scatter_finish(&b->scatter, pod->algorithm, b->scatter_group);
    const size_t size = fingerprint_size(pod->fingerprint);
    memcpy(b->buf + BATCH_PAYLOAD_AT + b->payload_used, b->scatter_buf, bytes);
    memcpy(b->fingerprints + b->fingerprint_used, b->scatter_fingerprints, n * size);
    b->fingerprint_used += (uint32_t)(n * size);
    add_line(b, bytes, b->scatter_group, n);
    b->payload_used += (uint32_t)bytes;
    b->counters[COUNTER_COMPRESS_IN] += (uint64_t)n * POD_BLOCK_BYTES;
    b->counters[COUNTER_COMPRESS_OUT] += bytes;
    b->scatter.blocks = 0;
}

void batch_store_scattered(struct pod *pod, const struct piece *piece, uint32_t index, uint64_t *entry)
{
    struct batch *b = pod->open;
    const struct piece_block *pb = &piece->blocks[index];
    const uint8_t *data = piece->data + (size_t)index * POD_BLOCK_BYTES;
    if (b->scatter.blocks == 0) {
        record_scatter_begin(&b->scatter, b->scatter_buf);
        b->scatter_group = pod->next_group++;
        block_cache_prefetch(pod->cache, record_block_id(b->scatter_group, 0));
    }
    const unsigned slot = b->scatter.blocks;
    const size_t bytes = record_scatter_add(pod->codec, &b->scatter, pod->algorithm, data);
    memcpy(b->scatter_fingerprints + slot * fingerprint_size(pod->fingerprint), pb->fp.bytes,
           fingerprint_size(pod->fingerprint));
    const uint64_t block = record_block_id(b->scatter_group, slot);
    remember(pod, block, pb, data);
    *entry = entry_data(block, record_stored_share(bytes, 1), false);
    if (b->scatter.blocks == GROUP_BLOCKS)
        close_scatter(pod);
}

bool batch_may_ship(const struct pod *pod)
{
    return pod->open && pod->in_flight_count < IN_FLIGHT_MAX;
}

/* Small payloads move up behind the directory, so that a lone write is one or
 * two blocks; for large ones a gap before the payload is cheaper than the copy. */
static void lay_out(struct pod *pod, struct batch *b)
{
    struct batch_header *h = &b->header;
    uint8_t *directory = b->changes.buf + b->changes.used;
    h->changes_bytes = (uint32_t)b->changes.used;
    h->directory_bytes = b->records * (uint32_t)BATCH_LINE_BYTES + b->fingerprint_used;
    memcpy(directory, b->lines, b->records * (size_t)BATCH_LINE_BYTES);
    memcpy(directory + b->records * (size_t)BATCH_LINE_BYTES, b->fingerprints, b->fingerprint_used);
    const uint32_t meta = BATCH_HEADER_BYTES + h->changes_bytes + h->directory_bytes;
    h->payload_bytes = b->payload_used;
    h->records = (uint16_t)b->records;
    h->fingerprint_bytes = (uint8_t)fingerprint_size(pod->fingerprint);
    if (b->payload_used <= 128 * 1024) {
        b->start = b->buf;
        h->payload_offset = (meta + RECORD_UNIT_BYTES - 1) / RECORD_UNIT_BYTES * RECORD_UNIT_BYTES;
        memmove(b->buf + h->payload_offset, b->buf + BATCH_PAYLOAD_AT, b->payload_used);
    } else {
        h->payload_offset = (meta + BATCH_ALIGN - 1) / BATCH_ALIGN * BATCH_ALIGN;
        b->start = b->buf + BATCH_PAYLOAD_AT - h->payload_offset;
        memmove(b->start + BATCH_HEADER_BYTES, b->buf + BATCH_HEADER_BYTES, meta - BATCH_HEADER_BYTES);
    }
}

struct position log_place(struct pod *pod, uint32_t total)
{
    if (pod->tail.offset + total > pod->segment_bytes) {
        if (pod->tail.segment != SEGMENT_NONE)
            zones_seal(pod, pod->tail.segment, pod->tail.offset, pod->sealed_seq);
        assert(pod->tail.next != SEGMENT_NONE && pod->next_named && "batch_open reserved it");
        pod->tail = (struct position){pod->tail.next, 0, SEGMENT_NONE};
        (void)log_has_room(pod);
    }
    if (pod->tail.offset == 0)
        segments_use(pod->segments, pod->tail.segment);
    const struct position at = pod->tail;
    pod->tail.offset += total;
    collect_logged(pod, total);
    return at;
}

static void place(struct pod *pod, struct batch *b)
{
    const uint32_t end = b->header.payload_offset + b->header.payload_bytes;
    b->at = log_place(pod, (end + BATCH_ALIGN - 1) / BATCH_ALIGN * BATCH_ALIGN);
    b->after = pod->tail;
}

static void finish_changes(struct pod *pod, struct batch *b)
{
    bool counted = false;
    for (uint32_t i = 0; i < b->space_count; i++)
        changes_space(&b->changes, b->spaces[i].image, &b->spaces[i].delta);
    for (int i = 0; i < COUNTERS; i++)
        counted |= b->counters[i] != 0;
    if (counted)
        changes_counters(&b->changes, b->counters);
    if (pod->next_page != pod->told_page || pod->next_image != pod->told_image) {
        changes_next(&b->changes, pod->next_page, pod->next_image);
        pod->told_page = pod->next_page;
        pod->told_image = pod->next_image;
    }
}

void batch_ship(struct pod *pod)
{
    struct batch *b = pod->open;
    assert(batch_may_ship(pod));
    close_scatter(pod);
    finish_changes(pod, b);
    lay_out(pod, b);
    place(pod, b);
    struct batch_header *h = &b->header;
    h->pod = get_le64(pod->anchor.pod);
    h->epoch = pod->epoch;
    h->run = pod->run;
    h->generation = pod->generation;
    h->previous = pod->sealed_hash;
    h->watermark = pod->applied_seq;
    h->next_segment = pod->tail.next;
    h->floor = pod->durable.seq;
    pod->next_named = pod->tail.next != SEGMENT_NONE;
    batch_seal(h, b->start);
    pod->sealed_seq = h->seq;
    pod->sealed_hash = h->checksum;
    pod->sealed_epoch = h->epoch;
    log_note(pod, h, b->at.segment, b->at.offset);
    pod->open = NULL;
    b->open = false;
    pod->in_flight_count++;
    list_push_back(&pod->in_flight, &b->link);
    b->req = (struct blkdev_req){
        .op = BLKDEV_WRITE,
        .flags = BLKDEV_FUA,
        .offset = segment_addr(pod, b->at.segment) + b->at.offset,
        .length = h->total_bytes,
        .buf = b->start,
    };
    const int rc = zones_write(pod, &b->req, commit_done);
    if (rc) {
        b->done = true;
        b->status = rc;
        pod_fail(pod, "the device refused a log write: %s", ps_status_text(rc));
    } else if (pod_is_replicated(pod) && pod->config.log->sealed) {
        const struct log_id id = {h->epoch, h->run, h->seq, h->checksum};
        pod->config.log->sealed(pod->config.log->user, &id, b->start, h->total_bytes);
    }
}

bool batch_is_empty(const struct batch *b)
{
    return b->changes.used == 0 && b->blocks == 0 && list_empty(&b->pieces);
}

void batch_cancel(struct pod *pod)
{
    struct batch *b = pod->open;
    assert(batch_is_empty(b));
    pod->open = NULL;
    b->open = false;
    list_push_front(&pod->free_batches, &b->link);
}
