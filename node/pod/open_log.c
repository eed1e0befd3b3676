/* The log from the checkpoint on: walked once, or twice in a replicated pod (open.c). */
#include <inttypes.h>
#include <string.h>

#include "node/pod/open_impl.h"

/* What is in the log need not be committed. */
static bool may_end_uncommitted(const struct pod *pod)
{
    return pod_is_replicated(pod) || (pod->config.check_only && pod->anchor.protocol_bytes);
}

static void walk_log(struct pod *pod, bool applying)
{
    struct open_state *o = pod->opening;
    o->applying = applying;
    o->at = (struct position){pod->anchor.log_segment, pod->anchor.log_offset, pod->anchor.log_next};
    o->tried_next = false;
    o->log_way = o->ways_tried = 0;
    o->window_bytes = 0;
    pod_log_ends(pod, &o->walked, NULL);
    o->step = OPEN_LOG;
    pod->again = true;
}

void open_log_begin(struct pod *pod)
{
    pod->opening->committed = pod->applied_seq;
    walk_log(pod, !may_end_uncommitted(pod));
}

/* The batch that would follow, if it begins at `at`: its bytes in *batch. 1: they are being read. */
static int batch_at(struct pod *pod, struct position at, struct batch_header *h, const uint8_t **batch)
{
    struct open_state *o = pod->opening;
    if (at.segment == SEGMENT_NONE || at.offset + BATCH_ALIGN > pod->segment_bytes)
        return PS_ENOTFOUND;
    const uint64_t addr = segment_addr(pod, at.segment) + at.offset;
    const uint64_t segment_end = segment_addr(pod, at.segment) + pod->segment_bytes;
    const bool inside = addr >= o->window_at && addr < o->window_at + o->window_bytes;
    if (inside) {
        const uint8_t *p = o->window + (addr - o->window_at);
        const size_t available = (size_t)(o->window_at + o->window_bytes - addr);
        const int rc = batch_peek(p, available, h);
        if (rc)
            return rc;
        if (h->total_bytes <= available || o->window_at + o->window_bytes == segment_end) {
            *batch = p;
            return batch_parse(p, available, h);
        }
    }
    /* In another way a batch alone: its header, then all of it. */
    uint32_t bytes = WINDOW_BYTES;
    if (o->log_way)
        bytes = inside ? h->total_bytes : o->read_at == addr ? o->read_bytes : BATCH_ALIGN;
    if (bytes > pod->dev->geometry.max_io_bytes)
        bytes = pod->dev->geometry.max_io_bytes;
    if (bytes > segment_end - addr)
        bytes = (uint32_t)(segment_end - addr);
    o->window_bytes = 0;
    if (!open_want_in_way(o, addr, bytes, o->log_way))
        return 1;
    o->window_at = addr;
    o->window_bytes = bytes;
    return batch_at(pod, at, h, batch);
}

static bool follows(const struct pod *pod, const struct batch_header *h)
{
    const struct log_id *last = &pod->opening->walked;
    return h->seq == last->seq + 1 && h->previous == last->hash && h->generation == pod->generation &&
           h->pod == get_le64(pod->anchor.pod);
}

static bool is_second_walk(const struct pod *pod)
{
    return may_end_uncommitted(pod) && pod->opening->applying;
}

/* Nothing follows as the log was read. Whatever follows in another way is the next batch: it says so. */
static bool try_log_otherwise(struct pod *pod)
{
    struct open_state *o = pod->opening;
    const uint32_t ways = pod->dev->geometry.ways;
    if (o->ways_tried == ways) {
        o->log_way = o->ways_tried = 0;
        return false;
    }
    o->ways_tried++;
    o->log_way = (o->log_way + 1) % (ways + 1);
    o->tried_next = false;
    o->window_bytes = 0;
    pod->again = true;
    return true;
}

static void log_ends(struct pod *pod)
{
    struct open_state *o = pod->opening;
    if (try_log_otherwise(pod))
        return;
    if (is_second_walk(pod)) {
        (void)ps_error_set(&o->local, PS_EDAMAGED, "%s: batch %" PRIu64 " of the log cannot be read again",
                           pod->dev->name, o->walked.seq + 1);
        open_finish(pod, PS_EDAMAGED);
        return;
    }
    o->window_bytes = 0;
    o->probe = (struct position){o->at.segment, o->at.offset, o->at.next};
    o->step = OPEN_AFTER_LOG;
    pod->again = true;
}

void open_step_log(struct pod *pod)
{
    struct open_state *o = pod->opening;
    struct batch_header h;
    const uint8_t *batch = NULL;
    if (is_second_walk(pod) && (pod->applied_seq == o->committed || pod->applied_seq == o->chain_end.seq)) {
        o->step = OPEN_GROW;
        pod->again = true;
        return;
    }
    struct position at = o->tried_next ? (struct position){o->at.next, 0, SEGMENT_NONE} : o->at;
    const int rc = batch_at(pod, at, &h, &batch);
    if (rc == 1 || o->step != OPEN_LOG)
        return;
    if (rc || !follows(pod, &h)) {
        pod->again = true;
        if (o->tried_next || o->at.next == SEGMENT_NONE)
            log_ends(pod);
        else
            o->tried_next = true;
        return;
    }
    o->ways_tried = 0;
    if (o->applying && !apply_ready(pod, &h, batch)) {
        const bool bad = load_missing(pod);
        if (bad && !pod->config.check_only) {
            (void)ps_error_set(&o->local, PS_EDATALOSS, "%s: a metadata page that the log changes is damaged",
                               pod->dev->name);
            open_finish(pod, PS_EDATALOSS);
        }
        /* Again when the pages are there; a check goes on without those that can't be had, and tells of them.
         */
        if (!bad || !pod->config.check_only || !list_empty(&pod->active_loads))
            return;
    }
    if (at.segment < SYSTEM_SEGMENTS || at.segment >= pod->segment_count ||
        !segments_adopt(pod->segments, at.segment, SEGMENT_LOG) ||
        (h.next_segment != SEGMENT_NONE && h.next_segment >= pod->segment_count)) {
        (void)ps_error_set(&o->local, PS_EDAMAGED, "%s: the log goes on in segment %u, which is in other use",
                           pod->dev->name, at.segment);
        open_finish(pod, PS_EDAMAGED);
        return;
    }
    if (o->applying) {
        const int applied = apply_batch(pod, &h, batch, segment_addr(pod, at.segment) + at.offset, &o->local);
        if (applied) {
            open_finish(pod, applied);
            return;
        }
        segments_seal(pod->segments, at.segment, h.seq);
        o->replayed++;
    } else {
        log_note(pod, &h, at.segment, at.offset);
        if (o->committed < h.watermark)
            o->committed = h.watermark;
    }
    o->walked = (struct log_id){h.epoch, h.run, h.seq, h.checksum};
    o->tried_next = false;
    o->at = (struct position){at.segment, at.offset + h.total_bytes, h.next_segment};
    pod->again = true;
}

static void after_log(struct pod *pod)
{
    struct open_state *o = pod->opening;
    o->chain_end = o->walked;
    if (may_end_uncommitted(pod)) {
        walk_log(pod, true);
        return;
    }
    o->step = OPEN_GROW;
    pod->again = true;
}

/* A batch further on that was written when one that is missing here was durable
 * proves that this is damage, not the torn end of the log. */
void open_step_after_log(struct pod *pod)
{
    struct open_state *o = pod->opening;
    for (int blocks = 0; blocks < 512; blocks++) {
        struct batch_header h;
        const uint8_t *batch = NULL;
        if (o->probe.segment == SEGMENT_NONE || o->probe.offset + BATCH_ALIGN > pod->segment_bytes) {
            if (o->probe.next == SEGMENT_NONE) {
                after_log(pod);
                return;
            }
            o->probe = (struct position){o->probe.next, 0, SEGMENT_NONE};
            continue;
        }
        const int rc = batch_at(pod, o->probe, &h, &batch);
        if (rc == 1 || o->step != OPEN_AFTER_LOG)
            return;
        if (rc == 0 && h.generation == pod->generation && h.pod == get_le64(pod->anchor.pod) &&
            h.seq > o->walked.seq && h.floor > o->walked.seq) {
            (void)ps_error_set(&o->local, PS_EDATALOSS,
                               "%s: batch %" PRIu64 " of the log is damaged in segment %u; batch %" PRIu64
                               " says that it was durable",
                               pod->dev->name, o->walked.seq + 1, o->at.segment, h.seq);
            open_finish(pod, PS_EDATALOSS);
            return;
        }
        o->probe.offset += BATCH_ALIGN;
    }
    pod->again = true;
}
