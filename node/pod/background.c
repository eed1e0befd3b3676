/* What goes on by itself: deleted images are taken apart in logged steps, and after
 * a start the dedup index, and in a replicated pod the places of older batches, are read back from the
 * directories of the log's segments. */
#include <stdlib.h>
#include <string.h>

#include "node/flash/moved.h"
#include "node/pod/pod_impl.h"

/* ---- release */

enum {
    RELEASE_STEPS = 16
};

static bool release_room(const struct pod *pod)
{
    return changes_room(&pod->open->changes) >= RELEASE_ROOM && view_room(pod->view) >= RELEASE_SHADOWS;
}

void background_turn(struct pod *pod)
{
    /* A member that follows gets the steps from its primary. */
    if (pod->failed || pod->held || pod->role == POD_STANDBY || pod->release_in_flight ||
        pod->state == POD_CLOSING || manage_blocks_writes(pod) || pod->background_events == pod->events)
        return;
    struct image *image = images_releasable(pod->images);
    if (!image || !batch_open(pod))
        return;
    if (!release_room(pod)) {
        if (batch_may_ship(pod))
            batch_ship(pod);
        pod->again = true;
        return;
    }
    bool done = false;
    for (int i = 0; i < RELEASE_STEPS && !done && release_room(pod); i++) {
        view_missing_clear(pod->view);
        if (!release_can_step(pod->view, pod->images, image)) {
            /* A page that cannot be read keeps what hangs below it: space is lost, not data. */
            image->stuck = load_missing(pod);
            pod->again |= image->stuck; /* for the next one */
            pod->background_events = image->stuck ? 0 : pod->events;
            break;
        }
        release_step(&pod->open->plan, pod->images, image, &done);
        pod->open->releasing = image->id;
        pod->release_in_flight = true;
    }
}

/* ---- the dedup index after a start */

struct index_load {
    struct pod *pod;
    uint8_t *buf;
    struct blkdev_req req;
    uint32_t segment, offset;
    uint32_t pinned; /* segment being read */
    uint64_t seq;    /* of the batch before in this segment */
    uint64_t until;  /* batches after it were indexed as they came */
    uint32_t tries;
    bool busy, stopping;
};

enum {
    INDEX_READ_BYTES = 256 * 1024,
    INDEX_TRIES =
        3 /* of a window that can't be read: older log than what lies in it would be lost to others */
};
_Static_assert((int)BATCH_PAYLOAD_AT <= (int)INDEX_READ_BYTES, "it holds all that is looked at of a batch");

void index_blocks(struct pod *pod, uint64_t group, unsigned slots, const uint8_t *fingerprints,
                  size_t fingerprint_bytes)
{
    uint64_t value = 0;
    if (!pod->config.dedupe || fingerprint_bytes != fingerprint_size(pod->fingerprint))
        return;
    const bool known = meta_get(pod->meta, l2p_key(group), &value);
    for (unsigned slot = 0; slot < GROUP_BLOCKS; slot++) {
        struct fingerprint fp = {{0}};
        if (!(slots >> slot & 1))
            continue;
        memcpy(fp.bytes, fingerprints, fingerprint_bytes);
        fingerprints += fingerprint_bytes;
        if (!known || l2p_is_live(value, slot))
            dedup_index_insert(pod->dedup, fingerprint_key(&fp), record_block_id(group, slot));
    }
}

static void index_insert(struct pod *pod, const struct batch_header *h, const void *batch)
{
    struct batch_record record = {0};
    for (unsigned i = 0; i < h->records && batch_next_record(h, batch, i, &record); i++)
        index_blocks(pod, record.group, (1u << record.blocks) - 1, record.fingerprints, h->fingerprint_bytes);
}

void index_batch(struct pod *pod, const struct batch_header *h, const void *batch)
{
    index_insert(pod, h, batch);
}

/* Takes the batches that lie whole (but for their payload) in the window; moves `offset` behind them. False:
 * the segment ends here. */
static bool index_window(struct pod *pod, struct index_load *il, uint32_t bytes)
{
    uint32_t at = 0;
    while (at < bytes) {
        struct batch_header h;
        const int rc = batch_parse_directory(il->buf + at, bytes - at, &h);
        if (rc || h.seq > il->until || (il->seq && h.seq != il->seq + 1) || h.total_bytes == 0)
            break;
        index_insert(pod, &h, il->buf + at);
        log_recall_note(pod, &h, il->segment, il->offset + at);
        il->seq = h.seq;
        at += h.total_bytes;
    }
    il->offset += at;
    return at > 0;
}

/* The same for a chunk of moved records. */
static bool index_chunk(struct pod *pod, struct index_load *il, uint32_t bytes)
{
    struct moved_chunk chunk;
    struct moved_record r = {0};
    if (moved_parse(il->buf, bytes, &chunk))
        return false;
    for (unsigned i = 0; i < chunk.records && moved_next_record(&chunk, il->buf, i, &r); i++)
        index_blocks(pod, r.group, r.slots, r.fingerprints, chunk.fingerprint_bytes);
    il->offset += chunk.total_bytes;
    return true;
}

static bool is_moved(const struct pod *pod, uint32_t segment)
{
    const enum segment_state state = segments_state(pod->segments, segment);
    return state == SEGMENT_WARM || state == SEGMENT_COLD;
}

static void index_next_segment(struct index_load *il)
{
    il->segment++;
    il->offset = 0;
    il->seq = 0;
}

static void index_read_done(struct blkdev_req *req, int status)
{
    struct index_load *il = container_of(req, struct index_load, req);
    struct pod *pod = il->pod;
    il->busy = false;
    segments_unpin(pod->segments, il->pinned);
    if (il->stopping) {
        index_load_stop(pod);
        pod->again = true;
        return;
    }
    pod->again = true;
    if (status && ++il->tries < INDEX_TRIES)
        return;
    il->tries = 0;
    if (status || !(is_moved(pod, il->segment) ? index_chunk(pod, il, req->length)
                                               : index_window(pod, il, req->length)))
        index_next_segment(il);
}

/* Segments as they were found; later ones may still be written to when they are sealed. */
static bool index_wants(const struct pod *pod, const struct index_load *il)
{
    if (is_moved(pod, il->segment))
        return pod->config.dedupe && !segments_open(pod->segments, il->segment) &&
               segments_live(pod->segments, il->segment) > 0 && il->offset < pod->segment_bytes;
    return segments_state(pod->segments, il->segment) == SEGMENT_LOG &&
           !segments_open(pod->segments, il->segment) &&
           (pod->recall || segments_live(pod->segments, il->segment) > 0) &&
           segments_last_seq(pod->segments, il->segment) <= il->until && il->offset < pod->segment_bytes;
}

void index_load_turn(struct pod *pod)
{
    struct index_load *il = pod->index_load;
    if (!il || il->busy)
        return;
    while (il->segment < pod->segment_count && !index_wants(pod, il))
        index_next_segment(il);
    if (il->segment >= pod->segment_count || il->stopping) {
        if (!il->stopping)
            log_recall_finish(pod);
        index_load_stop(pod);
        log_retain_trim(pod);
        return;
    }
    uint32_t bytes = pod->segment_bytes - il->offset;
    if (bytes > INDEX_READ_BYTES)
        bytes = INDEX_READ_BYTES;
    il->req = (struct blkdev_req){
        .op = BLKDEV_READ,
        .offset = segment_addr(pod, il->segment) + il->offset,
        .length = bytes,
        .buf = il->buf,
    };
    il->busy = true;
    il->pinned = il->segment;
    segments_pin(pod->segments, il->segment);
    if (blkdev_submit(pod->dev, &il->req, index_read_done)) {
        il->busy = false;
        segments_unpin(pod->segments, il->pinned);
        index_load_stop(pod);
    }
}

void index_load_start(struct pod *pod)
{
    log_recall_start(pod);
    if (!pod->recall && (!pod->config.dedupe || pod->unique_blocks == 0))
        return;
    struct index_load *il = calloc(1, sizeof *il);
    assert(il);
    il->pod = pod;
    il->until = pod->applied_seq;
    il->buf = aligned_alloc(BLKDEV_ALIGN, INDEX_READ_BYTES);
    assert(il->buf);
    pod->index_load = il;
}

void index_load_stop(struct pod *pod)
{
    struct index_load *il = pod->index_load;
    if (!il)
        return;
    il->stopping = true;
    if (il->busy)
        return;
    free(il->buf);
    free(il);
    pod->index_load = NULL;
    pod->searching = false;
}

void index_load_drop(struct pod *pod)
{
    if (pod->index_load)
        pod->index_load->busy = false;
    index_load_stop(pod);
}

bool index_load_busy(const struct pod *pod)
{
    return pod->index_load != NULL;
}
