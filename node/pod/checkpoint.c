/* Checkpoints: a cut of the applied state in memory, written beside the log while host I/O goes on.
 *
 * Order that a crash depends on: everything that the anchor will refer to is
 * written and flushed; then the anchor, with FUA; only then are dead segments
 * given out again. Until the anchor is durable the one before it holds, and nothing that it refers to has
 * changed. */
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "node/pod/pod_impl.h"

enum {
    PICK_BUCKETS = 1024 /* of the page table, in a turn: half a millisecond */
};

/* ---- the metadata stream */

static void open_chunk(struct pod *pod)
{
    struct checkpoint *cp = &pod->checkpoint;
    if (pod->meta_segment == SEGMENT_NONE || pod->meta_offset + CHECKPOINT_CHUNK > pod->segment_bytes ||
        vacate_wants(pod, pod->meta_segment)) {
        /* What this checkpoint puts there is not written yet, and maybe not even erased: end_segment. */
        if (pod->meta_segment != SEGMENT_NONE && cp->chunk_count)
            segments_seal(pod->segments, pod->meta_segment, 0);
        else if (pod->meta_segment != SEGMENT_NONE)
            zones_seal(pod, pod->meta_segment, pod->meta_offset, 0);
        pod->meta_segment = segments_take(pod->segments, SEGMENT_META);
        assert(pod->meta_segment != SEGMENT_NONE && "checkpoints start only with segments to spare");
        if (twin_fits(pod, cp->needed))
            (void)segments_take_twin(pod->segments, pod->meta_segment);
        segments_use(pod->segments, pod->meta_segment);
        pod->meta_offset = 0;
    }
    if (cp->chunk_count == cp->chunk_capacity) {
        cp->chunk_capacity = cp->chunk_capacity ? 2 * cp->chunk_capacity : 16;
        cp->chunks = realloc(cp->chunks, cp->chunk_capacity * sizeof cp->chunks[0]);
        assert(cp->chunks);
    }
    struct chunk *c = &cp->chunks[cp->chunk_count++];
    c->buf = aligned_alloc(BLKDEV_ALIGN, CHECKPOINT_CHUNK);
    assert(c->buf);
    c->addr = segment_addr(pod, pod->meta_segment) + pod->meta_offset;
    c->twin = segments_twin(pod->segments, pod->meta_segment);
    c->used = 0;
}

static void close_chunk(struct pod *pod)
{
    struct checkpoint *cp = &pod->checkpoint;
    if (cp->chunk_count == 0)
        return;
    struct chunk *c = &cp->chunks[cp->chunk_count - 1];
    const uint32_t unit = BLKDEV_ALIGN, padded = (c->used + unit - 1) / unit * unit;
    memset(c->buf + c->used, 0, padded - c->used);
    c->used = padded;
    pod->meta_offset += padded;
    pod->metadata_programmed += padded * (c->twin ? 2ull : 1ull);
}

static void *sink_alloc(struct meta_sink *sink, uint32_t bytes, struct place *place)
{
    struct checkpoint *cp = container_of(sink, struct checkpoint, sink);
    struct pod *pod = container_of(cp, struct pod, checkpoint);
    struct chunk *c = cp->chunk_count ? &cp->chunks[cp->chunk_count - 1] : NULL;
    if (!c || c->used + bytes > CHECKPOINT_CHUNK) {
        close_chunk(pod);
        open_chunk(pod);
        c = &cp->chunks[cp->chunk_count - 1];
    }
    *place = place_make(c->addr + c->used, bytes);
    void *p = c->buf + c->used;
    c->used += bytes;
    return p;
}

static struct place sink_copy(struct meta_sink *sink, struct place place)
{
    const struct checkpoint *cp = container_of(sink, struct checkpoint, sink);
    const struct pod *pod = container_of(cp, struct pod, checkpoint);
    const uint32_t twin = segments_twin(pod->segments, place_segment(pod, place));
    return twin ? place_make(segment_addr(pod, twin) + place_addr(place) % pod->segment_bytes,
                             place_len(place))
                : PLACE_NONE;
}

/* ---- runs */

void run_places_add(struct run_places *run, struct place place)
{
    if (run->count == run->capacity) {
        run->capacity = run->capacity ? 2 * run->capacity : 4;
        run->chunks = realloc(run->chunks, run->capacity * sizeof run->chunks[0]);
        assert(run->chunks);
    }
    run->chunks[run->count++] = place;
}

static void chunk_placed(void *user, struct place place)
{
    struct pod *pod = user;
    run_places_add(&pod->runs[pod->run_count - 1], place);
    pod_place_ref(pod, place, +1);
}

/* The runs so far are superseded by the full one that is being written. */
void runs_release(struct pod *pod)
{
    for (size_t i = 0; i < pod->run_count; i++) {
        for (size_t c = 0; c < pod->runs[i].count; c++)
            pod_place_ref(pod, pod->runs[i].chunks[c], -1);
        free(pod->runs[i].chunks);
        pod->runs[i] = (struct run_places){0};
    }
    pod->run_count = 0;
}

/* Some of the runs lies in what is to be taken away. */
static bool runs_leave(const struct pod *pod)
{
    for (size_t i = 0; i < pod->run_count && segments_barred(pod->segments); i++)
        for (size_t c = 0; c < pod->runs[i].count; c++)
            if (vacate_wants(pod, place_segment(pod, pod->runs[i].chunks[c])))
                return true;
    return false;
}

static bool full_is_due(const struct pod *pod)
{
    uint64_t later = 0;
    for (size_t i = 1; i < pod->run_count; i++)
        later += pod->runs[i].bytes;
    /* Each start begins a segment of metadata; those before it come free with the runs in them. */
    if (pod->state == POD_OPENING &&
        (pod->run_count >= OPENING_RUNS || segments_free(pod->segments) <= pod->reserve_segments))
        return true;
    return pod->run_count == 0 || pod->rotten_run || pod->run_count >= ANCHOR_RUNS_MAX ||
           later > (1 << 20) + pod->runs[0].bytes || runs_leave(pod);
}

/* ---- the cut */

struct cutting {
    struct pod *pod;
    bool full;
};

static void cut_image(void *user, struct image *image)
{
    struct cutting *cut = user;
    uint8_t record[IMAGE_RECORD_MAX];
    if (!cut->full && !image->changed)
        return;
    const size_t bytes = image_encode(image, image->root, record);
    run_put_blob(&cut->pod->checkpoint.run, BLOB_IMAGE, image->id, record, bytes);
    image->changed = false;
}

static void cut_images(struct cutting *cut)
{
    const uint64_t *ids;
    const size_t n = images_gone(cut->pod->images, &ids);
    for (size_t i = 0; i < n && !cut->full; i++)
        run_put_blob(&cut->pod->checkpoint.run, BLOB_IMAGE_GONE, ids[i], NULL, 0);
    images_gone_clear(cut->pod->images);
    images_each(cut->pod->images, cut_image, cut);
}

static void cut_counters(struct pod *pod)
{
    uint8_t blob[8 * (COUNTERS + 3)];
    for (int i = 0; i < COUNTERS; i++)
        put_le64(blob + 8 * i, pod->counters[i]);
    put_le64(blob + 8 * COUNTERS, pod->metadata_programmed);
    put_le64(blob + 8 * COUNTERS + 8, pod->host_read);
    put_le64(blob + 8 * COUNTERS + 16, pod->moved_programmed);
    run_put_blob(&pod->checkpoint.run, BLOB_COUNTERS, pod->unique_blocks, blob, sizeof blob);
}

static void cut_operations(struct pod *pod, bool full)
{
    const uint64_t kept = pod->operation_count < OPERATIONS ? 0 : pod->operation_count - OPERATIONS;
    uint64_t from = full ? 0 : pod->operations_cut;
    for (from = from < kept ? kept : from; from < pod->operation_count; from++) {
        const struct operation *o = &pod->operations[from % OPERATIONS];
        uint8_t blob[40];
        memcpy(blob, o->id, 16);
        put_le64(blob + 16, (uint64_t)-o->status);
        put_le64(blob + 24, o->image);
        put_le64(blob + 32, o->unix_ns);
        run_put_blob(&pod->checkpoint.run, BLOB_OPERATION, from, blob, sizeof blob);
    }
    pod->operations_cut = pod->operation_count;
}

static void cut_segment(void *user, uint32_t index, uint64_t value)
{
    struct pod *pod = user;
    run_put_slot(&pod->checkpoint.run, meta_key_flat(META_SEG, index), value);
}

static void make_anchor(struct pod *pod)
{
    struct pod_anchor *a = &pod->checkpoint.anchor;
    *a = pod->anchor;
    a->number++;
    a->epoch = pod->epoch;
    a->run = pod->run;
    a->generation = pod->generation;
    a->seq = pod->applied_seq;
    a->hash = pod->applied_hash;
    a->log_epoch = pod->applied_epoch;
    a->log_run = pod->applied_run;
    a->log_segment = pod->applied.segment;
    a->log_offset = pod->applied.offset;
    a->log_next = pod->applied.next;
    a->next_group = pod->log_next.group;
    a->next_page = pod->log_next.page;
    a->next_image = pod->log_next.image;
    pod->checkpoint.closing = pod->state == POD_CLOSING;
    a->clean = pod->state == POD_CLOSING && pod->applied_seq == pod->sealed_seq;
    a->run_count = (uint32_t)pod->run_count;
    for (size_t i = 0; i < pod->run_count; i++) {
        a->runs[i].seq = pod->runs[i].seq;
        a->runs[i].first = pod->runs[i].chunks[0];
        a->runs[i].bytes = pod->runs[i].bytes;
        a->runs[i].copy_segment = segments_twin(pod->segments, place_segment(pod, a->runs[i].first));
    }
}

/* Segments that hold it, at most: an entry of a run has three numbers, and what is said of images is little.
 */
static uint32_t most_segments(const struct pod *pod, bool full)
{
    enum {
        ENTRY = 32,
        REST = 1 << 20
    };
    struct meta_stats meta;
    meta_stats(pod->meta, &meta);
    const uint64_t entries = full ? meta.pages + meta.delta_slots : meta.changed_slots;
    const uint64_t bytes = pod->checkpoint.merge_count * (uint64_t)PAGE_RECORD_MAX + entries * ENTRY + REST;
    return (uint32_t)(bytes / (pod->segment_bytes - CHECKPOINT_CHUNK / 2));
}

/* The run goes into the last free segment, merged pages into those before it. */
static size_t most_merges(const struct pod *pod)
{
    const uint64_t room =
        (uint64_t)(segments_free(pod->segments) - 1) * (pod->segment_bytes - CHECKPOINT_CHUNK);
    return room / PAGE_RECORD_MAX < CHECKPOINT_MERGES ? room / PAGE_RECORD_MAX : CHECKPOINT_MERGES;
}

/* Hosts and collection have gone on taking segments since they were picked. */
static void give_up_merges(struct pod *pod)
{
    struct checkpoint *cp = &pod->checkpoint;
    for (const size_t most = most_merges(pod); cp->merge_count > most;)
        meta_unpin(pod->meta, cp->merge[--cp->merge_count]);
}

static void cut(struct pod *pod)
{
    struct checkpoint *cp = &pod->checkpoint;
    const bool full = full_is_due(pod);
    struct cutting cutting = {pod, full};
    cp->chunk_count = cp->write_next = cp->write_done = 0;
    give_up_merges(pod);
    cp->needed = most_segments(pod, full);
    if (segments_free(pod->segments) < cp->needed)
        (void)vacate_gives_way(pod);
    if (full) {
        runs_release(pod);
        pod->rotten_run = false;
    }
    pod->runs[pod->run_count++] = (struct run_places){.seq = pod->anchor.number + 1};
    /* A run's number is its anchor's: two cuts may stand at the same batch. */
    run_begin(&cp->run, &cp->sink, pod->anchor.number + 1);
    cp->run.chunk_placed = chunk_placed;
    cp->run.user = pod;
    for (size_t i = 0; i < cp->merge_count; i++)
        meta_unpin(pod->meta, cp->merge[i]);
    meta_cut(pod->meta, &cp->run, &cp->sink, cp->merge, cp->merge_count, full, pod->applied_seq);
    cut_images(&cutting);
    cut_counters(pod);
    cut_operations(pod, full);
    log_retain_trim(pod);
    const uint64_t gone = segments_cut(pod->segments, pod->applied_seq, full, cut_segment, pod);
    log_forget_through(pod, gone);
    run_end(&cp->run);
    pod->runs[pod->run_count - 1].bytes = cp->run.bytes;
    close_chunk(pod);
    make_anchor(pod);
    pod->log_bytes = 0;
    cp->wanted = false;
}

/* ---- the steps */

static bool is_sparse(void *user, struct place base)
{
    struct pod *pod = user;
    const struct segments *s = pod->segments;
    const uint32_t segment = place_segment(pod, base), twin = segments_twin(s, segment);
    const uint32_t live = pod->segment_bytes / (collect_is_pressed(pod) ? 2 : 4);
    const uint32_t floor = collect_wear_floor(pod);
    if (segments_open(s, segment))
        return false;
    if (vacate_wants(pod, segment) || segments_live(s, segment) < live || segments_wear(s, segment) < floor ||
        (twin && segments_wear(s, twin) < floor))
        return true;
    if (twin || !pod->checkpoint.singles)
        return false;
    pod->checkpoint.singles--;
    return true;
}

static void pick(struct pod *pod)
{
    struct checkpoint *cp = &pod->checkpoint;
    /* What is merged for that would lie once again in an open segment that has no twin. */
    const bool lies_once =
        pod->meta_segment != SEGMENT_NONE && !segments_twin(pod->segments, pod->meta_segment);
    const bool roomy = !lies_once && twin_fits(pod, 1) && !collect_is_pressed(pod);
    cp->singles = roomy ? CHECKPOINT_SINGLES : 0;
    cp->pick =
        (struct meta_pick){.sparse = is_sparse, .user = pod, .pages = cp->merge, .max = most_merges(pod)};
    meta_pick_begin(pod->meta, &cp->pick);
    cp->state = CHECKPOINT_PICKING;
}

void checkpoint_pick_turn(struct pod *pod)
{
    struct checkpoint *cp = &pod->checkpoint;
    if (cp->state != CHECKPOINT_PICKING)
        return;
    pod->again = true;
    if (!meta_pick_step(pod->meta, &cp->pick, PICK_BUCKETS))
        return;
    cp->merge_count = cp->pick.count;
    for (size_t i = 0; i < cp->merge_count; i++)
        meta_pin(pod->meta, cp->merge[i]);
    cp->state = CHECKPOINT_LOADING;
}

/* Candidates that cannot be read stay where they are. */
static bool all_loaded(struct pod *pod)
{
    struct checkpoint *cp = &pod->checkpoint;
    bool all = true;
    view_missing_clear(pod->view);
    for (size_t i = 0; i < cp->merge_count; i++) {
        const struct meta_key *missing;
        if (view_slots(pod->view, cp->merge[i], false))
            continue;
        if (page_is_bad(pod, cp->merge[i])) {
            meta_unpin(pod->meta, cp->merge[i]);
            meta_set_rotten(pod->meta, cp->merge[i], meta_base(pod->meta, cp->merge[i]), false);
            cp->merge[i--] = cp->merge[--cp->merge_count];
            continue;
        }
        all = false;
        if (view_missing(pod->view, &missing) == VIEW_MISSING_MAX)
            break;
    }
    (void)load_missing(pod);
    return all;
}

/* The checkpoint ends without an anchor, once no write of it is under way: its buffers are the pod's. */
static void fail(struct pod *pod, const char *what, int status)
{
    struct checkpoint *cp = &pod->checkpoint;
    pod_fail(pod, "%s of a checkpoint failed: %s", what, ps_status_text(status));
    if (!cp->reqs[0].busy && !cp->reqs[1].busy)
        cp->state = CHECKPOINT_IDLE;
    pod->again = true;
}

static void free_chunks(struct checkpoint *cp)
{
    for (size_t i = 0; i < cp->chunk_count; i++)
        free(cp->chunks[i].buf);
    cp->chunk_count = 0;
}

static void anchor_done(struct anchor_put *p, int status)
{
    struct pod *pod = p->pod;
    struct checkpoint *cp = &pod->checkpoint;
    if (status) {
        fail(pod, "the anchor", status);
        return;
    }
    pod->anchor = cp->anchor;
    pod->closed_cut |= cp->closing;
    meta_cut_done(pod->meta);
    segments_cut_done(pod->segments);
    cp->state = CHECKPOINT_IDLE;
    cp->last_ns = pod->now_ns;
    pod->stats.checkpoints++;
    pod->events++;
    pod->again = true;
}

void checkpoint_anchor_turn(struct pod *pod)
{
    struct checkpoint *cp = &pod->checkpoint;
    if (cp->state != CHECKPOINT_ANCHOR_WAITS || pod->anchor_writer.busy)
        return;
    cp->state = CHECKPOINT_ANCHORING;
    /* Others may have been written since the cut. */
    cp->anchor.number = pod->anchor.number + 1;
    memcpy(cp->anchor.pod, pod->anchor.pod, sizeof cp->anchor.pod);
    cp->anchor.protocol_bytes = pod->anchor.protocol_bytes;
    memcpy(cp->anchor.protocol, pod->anchor.protocol, sizeof cp->anchor.protocol);
    const int rc = anchor_put(pod, &cp->put, &cp->anchor, anchor_done);
    if (rc)
        fail(pod, "the anchor", rc);
}

static void flush_done(struct blkdev_req *req, int status)
{
    struct pod *pod = container_of(req, struct checkpoint_req, req)->pod;
    if (status || pod->failed) {
        fail(pod, "the flush", status);
        return;
    }
    pod->checkpoint.state = CHECKPOINT_ANCHOR_WAITS;
    checkpoint_anchor_turn(pod);
}

static void write_chunks(struct pod *pod);

/* Where the write goes. */
static uint64_t write_addr(const struct pod *pod, size_t write)
{
    const struct chunk *c = &pod->checkpoint.chunks[write / 2];
    return write % 2 ? segment_addr(pod, c->twin) + c->addr % pod->segment_bytes : c->addr;
}

/* After the last write to a segment. */
static void end_segment(struct pod *pod, size_t write)
{
    const struct checkpoint *cp = &pod->checkpoint;
    const size_t chunk = write / 2;
    const struct chunk *c = &cp->chunks[chunk];
    const uint64_t end = c->addr + c->used, at = write_addr(pod, write);
    if (chunk + 1 < cp->chunk_count && cp->chunks[chunk + 1].addr != end)
        zones_end(pod, (uint32_t)(at / pod->segment_bytes), (uint32_t)(at % pod->segment_bytes) + c->used);
}

static void chunk_done(struct blkdev_req *req, int status)
{
    struct checkpoint_req *cr = container_of(req, struct checkpoint_req, req);
    struct pod *pod = cr->pod;
    cr->busy = false;
    pod->checkpoint.write_done++;
    if (status || pod->failed)
        fail(pod, "a write", status);
    else {
        end_segment(pod, cr->write);
        write_chunks(pod);
    }
}

/* A chunk that lies once needs no second write. */
static bool next_write(struct checkpoint *cp, size_t *write)
{
    for (; cp->write_next < 2 * cp->chunk_count; cp->write_next++, cp->write_done++)
        if (cp->write_next % 2 == 0 || cp->chunks[cp->write_next / 2].twin) {
            *write = cp->write_next++;
            return true;
        }
    return false;
}

/* At most two are on their way: a checkpoint must not crowd out the log. */
static void write_chunks(struct pod *pod)
{
    struct checkpoint *cp = &pod->checkpoint;
    for (unsigned i = 0; i < 2; i++) {
        struct checkpoint_req *cr = &cp->reqs[i];
        if (cr->busy || !next_write(cp, &cr->write))
            continue;
        const struct chunk *c = &cp->chunks[cr->write / 2];
        cr->busy = true;
        cr->req = (struct blkdev_req){
            .op = BLKDEV_WRITE, .offset = write_addr(pod, cr->write), .length = c->used, .buf = c->buf};
        const int rc = zones_write(pod, &cr->req, chunk_done);
        if (rc) {
            cr->busy = false;
            fail(pod, "a write", rc);
            return;
        }
    }
    if (cp->write_done < 2 * cp->chunk_count)
        return;
    free_chunks(cp);
    cp->state = CHECKPOINT_FLUSHING;
    cp->reqs[0].req = (struct blkdev_req){.op = BLKDEV_FLUSH};
    const int rc = blkdev_submit(pod->dev, &cp->reqs[0].req, flush_done);
    if (rc)
        fail(pod, "the flush", rc);
}

bool checkpoint_busy(const struct pod *pod)
{
    return pod->checkpoint.state != CHECKPOINT_IDLE || pod->checkpoint.wanted;
}

void checkpoint_want(struct pod *pod)
{
    /* Another one right away frees nothing unless something happened since. */
    if (pod->applied_seq != pod->anchor.seq || segments_dead(pod->segments, pod->applied_seq))
        pod->checkpoint.wanted = true;
}

bool checkpoint_has_work(const struct pod *pod)
{
    struct meta_stats meta;
    meta_stats(pod->meta, &meta);
    return pod->log_bytes || pod->rotten_run || meta.rotten;
}

static bool is_due(const struct pod *pod)
{
    const struct checkpoint *cp = &pod->checkpoint;
    struct meta_stats meta;
    meta_stats(pod->meta, &meta);
    const uint64_t log_bytes =
        pod->config.checkpoint_log_bytes ? pod->config.checkpoint_log_bytes : CHECKPOINT_LOG_BYTES;
    return cp->wanted || pod->log_bytes >= log_bytes || meta.changed_slots >= CHECKPOINT_CHANGES ||
           (checkpoint_has_work(pod) && pod->now_ns - cp->last_ns >= CHECKPOINT_IDLE_NS &&
            pod->in_flight_count == 0);
}

/* False: the pod has failed. */
static bool has_segment(struct pod *pod)
{
    if (segments_free(pod->segments) == 0)
        (void)vacate_gives_way(pod);
    if (segments_free(pod->segments) > 0)
        return true;
    pod->checkpoint.wanted = false;
    pod_fail(pod, "no segment is left for a checkpoint");
    return false;
}

void checkpoint_turn(struct pod *pod)
{
    struct checkpoint *cp = &pod->checkpoint;
    if (pod->failed) {
        if (cp->state == CHECKPOINT_PICKING || cp->state == CHECKPOINT_LOADING ||
            cp->state == CHECKPOINT_ANCHOR_WAITS)
            cp->state = CHECKPOINT_IDLE;
        return;
    }
    if (cp->state == CHECKPOINT_IDLE && !restart_holds_checkpoint(pod) && is_due(pod)) {
        if (!has_segment(pod))
            return;
        pick(pod);
    }
    if (cp->state == CHECKPOINT_LOADING && all_loaded(pod) && has_segment(pod)) {
        cp->state = CHECKPOINT_WRITING;
        cut(pod);
        write_chunks(pod);
    }
}

void checkpoint_init(struct pod *pod)
{
    struct checkpoint *cp = &pod->checkpoint;
    cp->sink.alloc = sink_alloc;
    cp->sink.copy = sink_copy;
    cp->reqs[0].pod = cp->reqs[1].pod = pod;
    anchor_put_init(&cp->put);
    pod->meta_segment = SEGMENT_NONE;
}

void checkpoint_free(struct pod *pod)
{
    struct checkpoint *cp = &pod->checkpoint;
    free_chunks(cp);
    free(cp->chunks);
    anchor_put_free(&cp->put);
    for (size_t i = 0; i < pod->run_count; i++)
        free(pod->runs[i].chunks);
}
