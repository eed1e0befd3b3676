/* Opening a pool: label, newest anchor, its runs, then the log from there on; then it grows, if its device
 * has.
 *
 * A pod that stands alone applies each batch as it finds it. A replicated one walks the log twice: first to
 * its end, to learn from the batches' watermarks what is committed, then to apply that; what is left is its
 * uncommitted end.
 *
 * Ends with a checkpoint under a new run and log generation, so that an
 * uncommitted tail can never be taken for part of the log that follows. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/open_impl.h"

static void tell(struct pod *pod)
{
    struct open_state *o = pod->opening;
    const int status = o->status;
    o->step = OPEN_FINISHED;
    if (o->err)
        *o->err = o->local;
    if (o->err && status && !o->err->detail[0])
        (void)ps_error_set(o->err, status, "%s: %s", pod->dev->name, ps_status_text(status));
    if (status)
        pod->state = POD_CLOSED;
    o->cb(o->user, status, status ? NULL : pod);
}

void open_finish(struct pod *pod, int status)
{
    pod->opening->status = status;
    pod->opening->step = OPEN_FAILED;
    pod->again = true;
    if (!status)
        tell(pod);
}

static void step_failed(struct pod *pod)
{
    if (pod->failed)
        checkpoint_turn(pod); /* one that waits for pages ends */
    restart_turn(pod);
    if (list_empty(&pod->active_loads) && pod->checkpoint.state == CHECKPOINT_IDLE &&
        !restart_holds_log(pod) && zones_are_quiet(pod))
        tell(pod);
}

static void read_done(struct blkdev_req *req, int status);

/* The chunk was bad: reads it in another way, if there is one left. */
bool open_run_otherwise(struct open_state *o, const char *trouble)
{
    struct pod *pod = o->pod;
    if (!o->way)
        (void)snprintf(o->trouble, sizeof o->trouble, "%.*s", (int)sizeof o->trouble - 1, trouble);
    o->have = false;
    o->busy = twin_try(pod, &o->req, place_segment(pod, o->next_chunk), o->copy_segment, &o->way, read_done);
    o->read_at = place_addr(o->next_chunk);
    return o->busy;
}

static void read_done(struct blkdev_req *req, int status)
{
    struct open_state *o = container_of(req, struct open_state, req);
    if (status && blkdev_way_of(req->flags) && req->op == BLKDEV_READ && o->step != OPEN_LOG &&
        o->step != OPEN_RUN && blkdev_read_otherwise(o->pod->dev, req, read_done))
        return;
    o->busy = false;
    o->pod->again = true;
    if (status && o->step == OPEN_RUN && open_run_otherwise(o, "reading it failed"))
        return;
    /* A way that is not to be had gives nothing; what is told is that the first one was wrong. */
    if (status && req->op == BLKDEV_READ && blkdev_way_of(req->flags)) {
        memset(req->buf, 0, req->length);
    } else if (status) {
        (void)ps_error_set(&o->local, status, "%s: %s at byte %" PRIu64 " failed", o->pod->dev->name,
                           req->op == BLKDEV_READ ? "reading" : "writing", req->offset);
        open_finish(o->pod, status);
        return;
    }
    o->have = true;
}

bool open_want_in_way(struct open_state *o, uint64_t addr, uint32_t bytes, uint32_t way)
{
    if (o->have && o->read_at == addr && o->read_bytes == bytes) {
        o->have = false;
        o->read_at = UINT64_MAX;
        return true;
    }
    if (o->busy)
        return false;
    const uint32_t unit = o->pod->dev->geometry.read_unit;
    const uint64_t from = addr / unit * unit;
    const uint64_t end = (addr + bytes + unit - 1) / unit * unit;
    o->skip = (uint32_t)(addr - from);
    assert(end - from <= WINDOW_BYTES);
    uint64_t length = end - from;
    if (length > o->pod->dev->geometry.max_io_bytes)
        length = o->pod->dev->geometry.max_io_bytes;
    o->read_at = o->asked_at = addr;
    o->read_bytes = bytes;
    o->have = false;
    o->busy = true;
    o->req = (struct blkdev_req){.op = BLKDEV_READ,
                                 .flags = blkdev_way(way),
                                 .offset = from,
                                 .length = (uint32_t)length,
                                 .buf = o->window};
    const int rc = blkdev_submit(o->pod->dev, &o->req, read_done);
    if (rc && way) { /* a way that is not to be had */
        memset(o->window, 0, length);
        o->busy = false;
        o->have = true;
        o->pod->again = true;
    } else if (rc) {
        o->busy = false;
        open_finish(o->pod, rc);
    }
    return false;
}

bool open_want(struct open_state *o, uint64_t addr, uint32_t bytes)
{
    return open_want_in_way(o, addr, bytes, 0);
}

bool open_otherwise(struct open_state *o)
{
    assert(!o->busy && !o->have);
    o->busy = true;
    o->read_at = o->asked_at;
    if (blkdev_read_otherwise(o->pod->dev, &o->req, read_done))
        return true;
    o->busy = false;
    o->read_at = UINT64_MAX;
    return false;
}

/* Writes the window's first `bytes`; true when done. */
bool open_put(struct open_state *o, uint64_t addr, uint32_t bytes)
{
    if (o->have && o->read_at == addr) {
        o->have = false;
        o->read_at = UINT64_MAX;
        return true;
    }
    if (o->busy)
        return false;
    o->read_at = addr;
    o->busy = true;
    o->req = (struct blkdev_req){
        .op = BLKDEV_WRITE, .flags = BLKDEV_FUA, .offset = addr, .length = bytes, .buf = o->window};
    const int rc = zones_write(o->pod, &o->req, read_done);
    if (rc) {
        o->busy = false;
        open_finish(o->pod, rc);
    }
    return false;
}

/* ---- */

static void step_checkpoint(struct pod *pod)
{
    struct open_state *o = pod->opening;
    if (pod->config.check_only) {
        pod->state = POD_CHECKED;
        open_finish(pod, 0);
        return;
    }
    if (!o->restarting) {
        o->restarting = true;
        pod->sealed_seq = o->chain_end.seq;
        pod->sealed_hash = o->chain_end.hash;
        pod->sealed_epoch = o->chain_end.epoch;
        pod->durable = o->chain_end;
        if (pod_is_replicated(pod))
            pod->commit_seq = o->committed;
        vacate_again(pod);
        restart_begin(pod, pod->sealed_seq, NULL, NULL);
    }
    restart_turn(pod);
    if (pod->failed) {
        (void)ps_error_set(&o->local, PS_EIO, "%s: %s", pod->dev->name, pod->failure);
        open_finish(pod, PS_EIO);
        return;
    }
    if (restart_holds_log(pod))
        return;
    if (pod->restart.status) {
        (void)ps_error_set(&o->local, PS_EFULL, "%s: no segment is free for the log", pod->dev->name);
        open_finish(pod, PS_EFULL);
        return;
    }
    pod->state = POD_SERVING;
    collect_start(pod);
    index_load_start(pod);
    pod_event(pod, "pod.opened", 0, "run %" PRIu64 ", %" PRIu64 " batches replayed, log at %" PRIu64,
              pod->run, o->replayed, pod->applied_seq);
    open_finish(pod, 0);
}

void open_turn(struct pod *pod)
{
    struct open_state *o = pod->opening;
    if (o->busy)
        return;
    switch (o->step) {
    case OPEN_LABEL:
    case OPEN_LABEL_COPY:
        open_step_label(pod);
        break;
    case OPEN_BLANK:
        open_step_blank(pod);
        break;
    case OPEN_BLANK_ZONES:
        open_step_format_begins(pod);
        break;
    case OPEN_FORMAT_ANCHOR:
    case OPEN_FORMAT_LABEL:
        open_step_format(pod);
        break;
    case OPEN_ANCHOR_FIRST:
    case OPEN_ANCHOR_SECOND:
        open_step_anchor(pod);
        break;
    case OPEN_ANCHOR_NEWER:
        open_step_anchor_newer(pod);
        break;
    case OPEN_RUN:
        open_step_run(pod);
        break;
    case OPEN_LOG:
        open_step_log(pod);
        break;
    case OPEN_AFTER_LOG:
        open_step_after_log(pod);
        break;
    case OPEN_GROW:
        open_step_grow(pod);
        break;
    case OPEN_CHECKPOINT:
        step_checkpoint(pod);
        break;
    case OPEN_FAILED:
        step_failed(pod);
        break;
    case OPEN_FINISHED:
        break;
    }
}

void open_begin(struct pod *pod, enum pod_format format, pod_open_cb cb, void *user, struct ps_error *err)
{
    struct open_state *o = calloc(1, sizeof *o);
    assert(o);
    o->pod = pod;
    o->format = format;
    o->cb = cb;
    o->user = user;
    o->err = err;
    o->label_status = PS_ENOTFOUND;
    o->read_at = UINT64_MAX;
    o->window = aligned_alloc(BLKDEV_ALIGN, WINDOW_BYTES);
    assert(o->window);
    pod->opening = o;
    pod->again = true;
}

void open_free(struct pod *pod)
{
    if (!pod->opening)
        return;
    free(pod->opening->window);
    free(pod->opening);
    pod->opening = NULL;
}
