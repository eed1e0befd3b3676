/* The retained log, for members that lag: where its batches lie, and reading them.
 *
 * Of the newest batches each one's place is known (log_index); of older ones only which segment they lie in
 * (log_spans), and a segment is looked through when somebody asks for one of them (log_unfold.c).
 *
 * Segments are freed by checkpoints, whole and in any order; what lay in them and all before it is then
 * forgotten, so that what is known is without gaps. After a start that is what was replayed; what lies before
 * comes back with the dedup index (log_recall.c). Until then nobody knows which segments others need, and all
 * are kept. */
#include <stdlib.h>
#include <string.h>

#include "node/pod/log_keep.h"

void log_read_init(struct pod *pod)
{
    list_init(&pod->log_reads);
    if (pod_is_replicated(pod)) {
        const uint32_t batches = pod->config.log_index_batches;
        pod->log_index = log_index_create(batches ? batches : LOG_INDEX_BATCHES);
        pod->searching = true;
        pod->retain_seq = 1;
    }
}

void log_read_segments(struct pod *pod)
{
    if (!pod->log_index)
        return;
    /* One was found by a start and then written to, at most; the rest has one each. */
    pod->log_spans = log_spans_create(pod->segment_count + 1);
    pod->log_unfold = log_unfold_create(pod);
}

void log_read_free(struct pod *pod)
{
    log_recall_free(pod);
    log_unfold_free(pod->log_unfold);
    log_spans_destroy(pod->log_spans);
    log_index_destroy(pod->log_index);
}

void log_note(struct pod *pod, const struct batch_header *h, uint32_t segment, uint32_t offset)
{
    if (!pod->log_index)
        return;
    const struct log_entry entry = {h->epoch, h->run, h->checksum,   h->previous,
                                    segment,  offset, h->total_bytes};
    log_unfold_drop(pod->log_unfold, h->seq, UINT64_MAX);
    log_spans_put(pod->log_spans, h->seq, &entry);
    log_index_put(pod->log_index, h->seq, &entry);
}

void log_moved(struct pod *pod, uint64_t seq, uint32_t segment, uint32_t offset)
{
    log_index_move(pod->log_index, seq, segment, offset);
    log_unfold_drop(pod->log_unfold, seq, UINT64_MAX);
    log_spans_put(pod->log_spans, seq, log_index_get(pod->log_index, seq));
}

void log_forget_through(struct pod *pod, uint64_t seq)
{
    if (!pod->log_index)
        return;
    log_unfold_drop(pod->log_unfold, 0, seq);
    log_spans_drop_through(pod->log_spans, seq);
    log_index_drop_through(pod->log_index, seq);
}

void log_forget_after(struct pod *pod, uint64_t seq)
{
    if (!pod->log_index)
        return;
    log_unfold_drop(pod->log_unfold, seq + 1, UINT64_MAX);
    log_spans_drop_after(pod->log_spans, seq);
    log_index_drop_after(pod->log_index, seq);
}

/* ---- retention */

/* What is kept for this alone gives way as soon as it is more than half of the space above the reserve that
 * would be free without it. */
void log_retain_trim(struct pod *pod)
{
    if (!pod->log_index)
        return;
    const uint64_t asked = pod->searching && pod->retain_seq ? 0
                           : pod->retain_seq                 ? pod->retain_seq
                                                             : UINT64_MAX;
    uint64_t lowest;
    segments_keep_log(pod->segments, asked);
    if (asked == UINT64_MAX)
        return;
    if (segments_barred(pod->segments)) { /* what is to be taken away, and all that is older */
        struct segments_barred_look look;
        segments_look_barred(pod->segments, pod->applied_seq, &look);
        if (look.last_log >= asked)
            segments_keep_log(pod->segments, look.last_log + 1);
    }
    for (uint32_t kept; (kept = segments_kept(pod->segments, pod->applied_seq, &lowest)) > 0;) {
        const uint32_t all = segments_free(pod->segments) + kept;
        const uint32_t above = all > pod->reserve_segments ? all - pod->reserve_segments : 0;
        if (kept <= above / 2)
            return;
        segments_keep_log(pod->segments, lowest + 1);
    }
}

void pod_log_retain(struct pod *pod, uint64_t seq)
{
    assert(pod_is_replicated(pod));
    pod->retain_seq = seq;
    log_retain_trim(pod);
}

bool pod_log_searching(const struct pod *pod)
{
    return pod->searching;
}

uint64_t pod_log_first(struct pod *pod)
{
    assert(pod_is_replicated(pod));
    const uint64_t first = log_spans_first(pod->log_spans);
    return first && first <= pod->durable.seq ? first : 0;
}

uint64_t pod_log_bytes_after(const struct pod *pod, uint64_t seq)
{
    uint64_t bytes = 0;
    assert(pod_is_replicated(pod));
    const uint64_t first = log_index_first(pod->log_index);
    if (pod->log_spans && (first == 0 || seq + 1 < first))
        return log_spans_bytes(pod->log_spans, seq + 1);
    for (seq++; seq <= pod->sealed_seq; seq++) {
        const struct log_entry *e = log_index_get(pod->log_index, seq);
        bytes += e ? e->bytes : 0;
    }
    return bytes;
}

/* The durable batch at `seq`. NULL: `status` says whether it is not retained (PS_ENOTFOUND), or whether its
 * segment has to be looked through first (PS_EUNAVAILABLE), which begins as soon as it can. */
static const struct log_entry *find(struct pod *pod, uint64_t seq, int *status)
{
    *status = PS_ENOTFOUND;
    if (seq > pod->durable.seq)
        return NULL;
    const struct log_entry *e = log_index_get(pod->log_index, seq);
    if (!e && log_spans_find(pod->log_spans, seq)) {
        e = log_unfold_get(pod->log_unfold, seq);
        *status = PS_EUNAVAILABLE;
    }
    return e;
}

int pod_log_id_at(struct pod *pod, uint64_t seq, struct log_id *out)
{
    int status = 0;
    assert(pod_is_replicated(pod));
    if (seq == 0) {
        *out = (struct log_id){0};
        return 0;
    }
    /* These first: no look at flash is needed for them. */
    if (seq == pod->applied_seq) {
        pod_log_ends(pod, out, NULL);
        return 0;
    }
    if (seq == pod->copy_base.seq) {
        *out = pod->copy_base;
        return 0;
    }
    const struct log_entry *e = find(pod, seq, &status);
    if (!e)
        return status;
    *out = (struct log_id){e->epoch, e->run, seq, e->hash};
    return 0;
}

/* ---- reading */

static void finish(struct pod_log_read *read, int status)
{
    read->status = status;
    list_push_back(&read->pod->log_reads, &read->link);
    read->pod->again = true;
}

void log_read_deliver(struct pod *pod)
{
    for (struct list_node *n; (n = list_pop_front(&pod->log_reads));) {
        struct pod_log_read *read = container_of(n, struct pod_log_read, link);
        read->cb(read, read->status);
    }
}

static void read_done(struct blkdev_req *req, int status)
{
    struct pod_log_read *read = container_of(req, struct pod_log_read, req);
    struct pod *pod = read->pod;
    struct batch_header h;
    if (!status &&
        (batch_parse(read->buf, read->bytes, &h) || h.seq != read->seq || h.checksum != read->id.hash))
        status = PS_EDATALOSS;
    if (status == PS_EDATALOSS && blkdev_read_otherwise(pod->dev, req, read_done))
        return;
    pod->log_reading--;
    segments_unpin(pod->segments, (uint32_t)(req->offset / pod->segment_bytes));
    finish(read, status);
}

static int submit(struct pod *pod, struct pod_log_read *read, const struct log_entry *e)
{
    read->id = (struct log_id){e->epoch, e->run, read->seq, e->hash};
    read->bytes = e->bytes;
    read->req = (struct blkdev_req){.op = BLKDEV_READ,
                                    .offset = segment_addr(pod, e->segment) + e->offset,
                                    .length = e->bytes,
                                    .buf = read->buf};
    segments_pin(pod->segments, e->segment);
    const int rc = blkdev_submit(pod->dev, &read->req, read_done);
    if (rc) {
        segments_unpin(pod->segments, e->segment);
        return PS_EUNAVAILABLE;
    }
    pod->log_reading++;
    return 0;
}

int pod_log_read(struct pod *pod, struct pod_log_read *read)
{
    if (!pod->log_index || (pod->state != POD_SERVING && pod->state != POD_CLOSING))
        return PS_EUNAVAILABLE;
    int status = 0;
    const struct log_entry *e = find(pod, read->seq, &status);
    read->pod = pod;
    if (e)
        return submit(pod, read, e);
    if (status == PS_EUNAVAILABLE)
        log_unfold_wait(pod->log_unfold, read);
    else
        finish(read, status);
    return 0;
}

void log_read_again(struct pod_log_read *read, int status)
{
    const int rc = status ? status : pod_log_read(read->pod, read);
    if (rc)
        finish(read, rc);
}
