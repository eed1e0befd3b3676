/* The log goes on in a new segment under a new generation, from the applied state: at each opening,
 * so that a torn end can never be taken for part of what follows, to truncate, and to leave segments that are
 * to be taken away.
 *
 * Batches behind the applied state that stay are written again into the new
 * segments, stamped anew. Order that a crash depends on: they are durable before the anchor that names the
 * new segment; segments of the old log are given out again only after it. A crash before the anchor finds the
 * old log whole, one after it the new; of the batches that were dropped none has the new generation. */
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"

bool restart_holds_log(const struct pod *pod)
{
    return pod->restart.state != RESTART_IDLE;
}

bool restart_holds_checkpoint(const struct pod *pod)
{
    return pod->restart.state == RESTART_QUIET || pod->restart.state == RESTART_COPY;
}

static void start(struct pod *pod, void (*cb)(void *user, int status), void *user)
{
    struct log_restart *r = &pod->restart;
    assert(r->state == RESTART_IDLE);
    r->state = RESTART_QUIET;
    r->whole = false;
    r->busy = r->have = false;
    r->cb = cb;
    r->user = user;
    r->status = 0;
    pod->again = true;
}

void restart_begin(struct pod *pod, uint64_t keep, void (*cb)(void *user, int status), void *user)
{
    assert(keep >= pod->applied_seq && keep <= pod->sealed_seq);
    start(pod, cb, user);
    pod->restart.keep = keep;
}

void restart_whole(struct pod *pod, void (*cb)(void *user, int status), void *user)
{
    start(pod, cb, user);
    pod->restart.whole = true;
}

bool restart_truncates_later(struct pod *pod, uint64_t keep, void (*cb)(void *user, int status), void *user)
{
    struct log_restart *r = &pod->restart;
    if (!restart_holds_log(pod) || !r->whole || r->truncation.wanted)
        return false;
    r->truncation.wanted = true;
    r->truncation.keep = keep;
    r->truncation.cb = cb;
    r->truncation.user = user;
    return true;
}

static void truncate_now(struct pod *pod)
{
    struct log_restart *r = &pod->restart;
    const uint64_t keep = r->truncation.keep < pod->sealed_seq ? r->truncation.keep : pod->sealed_seq;
    r->truncation.wanted = false;
    restart_begin(pod, keep, r->truncation.cb, r->truncation.user);
}

static void finish(struct pod *pod, int status)
{
    struct log_restart *r = &pod->restart;
    r->state = RESTART_IDLE;
    r->status = status;
    free(r->buf);
    r->buf = NULL;
    pod->again = true;
    pod->events++; /* what waited for the log */
    if (r->cb)
        r->cb(r->user, status);
    if (r->truncation.wanted)
        truncate_now(pod);
}

/* Segments that the kept batches need, one to go on in included. */
static uint32_t segments_needed(const struct pod *pod)
{
    uint32_t n = 1, used = 0;
    for (uint64_t seq = pod->applied_seq + 1; seq <= pod->restart.keep; seq++) {
        const struct log_entry *e = log_index_get(pod->log_index, seq);
        assert(e && "the index reaches back to what is not applied");
        if (used + e->bytes > pod->segment_bytes) {
            n++;
            used = 0;
        }
        used += e->bytes;
    }
    return n + (used + BATCH_MAX_BYTES + BATCH_ALIGN > pod->segment_bytes);
}

static void leave_old_log(struct pod *pod)
{
    const struct position *tail = &pod->tail;
    if (tail->segment == SEGMENT_NONE)
        return;
    if (tail->next != SEGMENT_NONE)
        segments_untake(pod->segments, tail->next);
    if (tail->offset == 0) {
        segments_untake(pod->segments, tail->segment);
    } else {
        segments_seal(pod->segments, tail->segment, pod->sealed_seq);
        zones_abandon(pod, tail->segment, tail->offset);
    }
    segments_log_cut(pod->segments, pod->applied_seq,
                     pod->applied.offset ? pod->applied.segment : SEGMENT_NONE);
}

/* Nothing is written to the log; for all of it to be kept, nothing is planned for it either. */
static bool is_quiet(const struct pod *pod)
{
    if (!follow_is_quiet(pod) || pod->checkpoint.state != CHECKPOINT_IDLE)
        return false;
    return !pod->restart.whole ||
           (!pod->open && pod->in_flight_count == 0 && pod->durable.seq == pod->sealed_seq);
}

static void begin(struct pod *pod)
{
    struct log_restart *r = &pod->restart;
    if (!is_quiet(pod) || !zones_are_ready(pod))
        return;
    if (r->whole)
        r->keep = pod->sealed_seq;
    assert(pod->in_flight_count == 0);
    /* What was appended and dropped before it was durable is no part of the kept ones. */
    assert(r->keep <= pod->durable.seq && "what is kept is durable here");
    /* A checkpoint needs one, too. */
    if (segments_free(pod->segments) < segments_needed(pod) + (pod->state != POD_OPENING)) {
        finish(pod, PS_EFULL);
        return;
    }
    if (r->keep > pod->applied_seq) {
        r->buf = aligned_alloc(BLKDEV_ALIGN, BATCH_MAX_BYTES);
        assert(r->buf);
    }
    leave_old_log(pod);
    follow_drop(pod, r->keep);
    log_forget_after(pod, r->keep);
    pod->generation++;
    const uint32_t segment = segments_take(pod->segments, SEGMENT_LOG);
    assert(segment != SEGMENT_NONE);
    pod->tail = pod->applied = (struct position){segment, 0, SEGMENT_NONE};
    pod->next_named = false;
    pod->sealed_seq = pod->applied_seq;
    pod->sealed_hash = pod->applied_hash;
    pod->sealed_epoch = pod->applied_epoch;
    if (!r->whole) { /* ids that a batch is still to tell of */
        pod->told_page = pod->next_page;
        pod->told_image = pod->next_image;
    }
    struct log_id end = {pod->applied_epoch, pod->applied_run, pod->applied_seq, pod->applied_hash};
    if (r->keep > pod->applied_seq) {
        const int known = pod_log_id_at(pod, r->keep, &end);
        assert(known == 0);
    }
    pod->durable = end;
    r->next = pod->applied_seq + 1;
    r->state = RESTART_COPY;
}

/* ---- the kept batches */

static void io_done(struct blkdev_req *req, int status)
{
    struct log_restart *r = container_of(req, struct log_restart, req);
    struct pod *pod = container_of(r, struct pod, restart);
    const struct log_entry *e = req->op == BLKDEV_READ ? log_index_get(pod->log_index, r->next) : NULL;
    struct batch_header h;
    if (e && !status && (batch_parse(r->buf, e->bytes, &h) || h.checksum != e->hash) &&
        blkdev_read_otherwise(pod->dev, req, io_done))
        return;
    r->busy = false;
    pod->again = true;
    if (req->op == BLKDEV_READ)
        segments_unpin(pod->segments, r->pinned);
    if (status) {
        pod_fail(pod, "%s the log anew failed: %s", req->op == BLKDEV_READ ? "reading" : "writing",
                 ps_status_text(status));
        return;
    }
    if (req->op == BLKDEV_READ) {
        r->have = true;
        return;
    }
    log_moved(pod, r->next, r->at.segment, r->at.offset);
    r->next++;
}

static void submit(struct pod *pod, enum blkdev_op op, uint32_t segment, uint32_t offset, uint32_t bytes)
{
    struct log_restart *r = &pod->restart;
    r->req = (struct blkdev_req){.op = op,
                                 .flags = op == BLKDEV_WRITE ? BLKDEV_FUA : 0,
                                 .offset = segment_addr(pod, segment) + offset,
                                 .length = bytes,
                                 .buf = r->buf};
    r->busy = true;
    if (op == BLKDEV_READ) {
        r->pinned = segment;
        segments_pin(pod->segments, segment);
    }
    const int rc = zones_write(pod, &r->req, io_done);
    if (!rc)
        return;
    r->busy = false;
    if (op == BLKDEV_READ)
        segments_unpin(pod->segments, segment);
    pod_fail(pod, "the device refused the log written anew: %s", ps_status_text(rc));
}

static void write_next(struct pod *pod)
{
    struct log_restart *r = &pod->restart;
    struct batch_header h;
    const struct log_entry *e = log_index_get(pod->log_index, r->next);
    if (batch_parse(r->buf, e->bytes, &h) || h.checksum != e->hash) {
        pod_fail(pod, "batch %llu of the log is damaged", (unsigned long long)r->next);
        return;
    }
    r->have = false;
    r->at = log_place(pod, h.total_bytes);
    if (pod->tail.next == SEGMENT_NONE && pod->tail.offset + BATCH_MAX_BYTES > pod->segment_bytes)
        pod->tail.next = segments_take(pod->segments, SEGMENT_LOG);
    batch_restamp(r->buf, pod->generation, pod->tail.next, r->next - 1);
    h.generation = pod->generation;
    h.next_segment = pod->tail.next;
    pod->next_named = pod->tail.next != SEGMENT_NONE;
    pod->sealed_seq = h.seq;
    pod->sealed_hash = h.checksum;
    pod->sealed_epoch = h.epoch;
    struct appended *a = follow_find(pod, h.seq);
    if (a) {
        a->header = h;
        a->at = r->at;
        a->after = pod->tail;
    }
    submit(pod, BLKDEV_WRITE, r->at.segment, r->at.offset, h.total_bytes);
}

static void copy(struct pod *pod)
{
    struct log_restart *r = &pod->restart;
    while (r->next <= r->keep && !r->busy && !pod->failed) {
        if (r->have) {
            write_next(pod);
            continue;
        }
        const struct log_entry *e = log_index_get(pod->log_index, r->next);
        const struct appended *a = follow_find(pod, r->next);
        if (a) {
            memcpy(r->buf, a->buf, e->bytes);
            r->have = true;
            continue;
        }
        submit(pod, BLKDEV_READ, e->segment, e->offset, e->bytes);
    }
    if (r->busy || pod->failed)
        return;
    pod->checkpoint.wanted = true;
    r->state = RESTART_CHECKPOINT;
}

void restart_turn(struct pod *pod)
{
    struct log_restart *r = &pod->restart;
    if (r->state == RESTART_IDLE)
        return;
    if (pod->failed) {
        if (!r->busy && pod->checkpoint.state == CHECKPOINT_IDLE)
            finish(pod, pod_end_status(pod));
        return;
    }
    if (r->state == RESTART_QUIET)
        begin(pod);
    if (r->state == RESTART_COPY)
        copy(pod);
    if (r->state != RESTART_CHECKPOINT)
        return;
    checkpoint_turn(pod);
    if (!pod->failed && !checkpoint_busy(pod))
        finish(pod, 0);
}
