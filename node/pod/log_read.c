/* The retained log, for members that lag: where its batches lie, and reading them.
 *
 * Segments are freed by checkpoints, whole and in any order; the index then forgets what lay in them and all
 * before it, so that what it knows is without gaps. After a start it knows what was replayed; what lies
 * before that comes back with the dedup index, whose reload looks at every batch that still has a segment.
 * Until then nobody knows which of them others need, and all are kept. */
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"

void log_read_init(struct pod *pod)
{
    list_init(&pod->log_reads);
    if (pod_is_replicated(pod)) {
        pod->log_index = log_index_create(LOG_INDEX_BATCHES);
        pod->searching = true;
        pod->retain_seq = 1;
    }
}

void log_read_free(struct pod *pod)
{
    free(pod->recalled);
    log_index_destroy(pod->log_index);
}

void log_note(struct pod *pod, const struct batch_header *h, uint32_t segment, uint32_t offset)
{
    if (pod->log_index)
        log_index_put(
            pod->log_index, h->seq,
            &(struct log_entry){h->epoch, h->run, h->checksum, h->previous, segment, offset, h->total_bytes});
}

/* ---- recalling, after a start, what lies before the log that was replayed */

struct recalled {
    uint64_t seq, generation;
    struct log_entry entry;
};

void log_recall_start(struct pod *pod)
{
    if (!pod->log_index || pod->applied_seq == 0) {
        pod->searching = false;
        return;
    }
    pod->recalled = calloc(LOG_INDEX_BATCHES, sizeof pod->recalled[0]);
    assert(pod->recalled && "out of memory at start");
    pod_log_ends(pod, &pod->recalled_end, NULL);
}

void log_recall_note(struct pod *pod, const struct batch_header *h, uint32_t segment, uint32_t offset)
{
    if (!pod->recalled || h->seq > pod->recalled_end.seq ||
        h->seq + LOG_INDEX_BATCHES <= pod->recalled_end.seq)
        return;
    /* One that was truncated has an older generation than what came in its place. */
    struct recalled *r = &pod->recalled[h->seq % LOG_INDEX_BATCHES];
    if (r->seq == h->seq && r->generation > h->generation)
        return;
    *r = (struct recalled){
        h->seq, h->generation, {h->epoch, h->run, h->checksum, h->previous, segment, offset, h->total_bytes}};
}

/* As far back as each batch is the one that its successor names. */
void log_recall_finish(struct pod *pod)
{
    pod->searching = false;
    if (!pod->recalled)
        return;
    const uint64_t first = log_index_first(pod->log_index);
    uint64_t seq = first ? first - 1 : pod->recalled_end.seq;
    uint64_t hash = first ? log_index_get(pod->log_index, first)->previous : pod->recalled_end.hash;
    for (; seq > 0 && seq <= pod->recalled_end.seq; seq--) {
        const struct recalled *r = &pod->recalled[seq % LOG_INDEX_BATCHES];
        const uint32_t segment = r->entry.segment;
        if (r->seq != seq || r->entry.hash != hash)
            break;
        /* Its segment may have been freed and taken again since it was looked at. */
        if (segments_state(pod->segments, segment) != SEGMENT_LOG || segments_open(pod->segments, segment) ||
            segments_last_seq(pod->segments, segment) > pod->recalled_end.seq ||
            !log_index_put_before(pod->log_index, seq, &r->entry))
            break;
        segments_log_holds(pod->segments, segment, seq);
        hash = r->entry.previous;
    }
    free(pod->recalled);
    pod->recalled = NULL;
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
    const uint64_t first = log_index_first(pod->log_index);
    return first && first <= pod->durable.seq ? first : 0;
}

uint64_t pod_log_bytes_after(const struct pod *pod, uint64_t seq)
{
    uint64_t bytes = 0;
    assert(pod_is_replicated(pod));
    const uint64_t first = log_index_first(pod->log_index);
    for (seq = seq + 1 < first ? first : seq + 1; seq <= pod->sealed_seq; seq++) {
        const struct log_entry *e = log_index_get(pod->log_index, seq);
        bytes += e ? e->bytes : 0;
    }
    return bytes;
}

int pod_log_id_at(struct pod *pod, uint64_t seq, struct log_id *out)
{
    assert(pod_is_replicated(pod));
    if (seq == 0) {
        *out = (struct log_id){0};
        return 0;
    }
    const struct log_entry *e = seq <= pod->durable.seq ? log_index_get(pod->log_index, seq) : NULL;
    if (e)
        *out = (struct log_id){e->epoch, e->run, seq, e->hash};
    else if (seq == pod->applied_seq)
        pod_log_ends(pod, out, NULL);
    else if (seq == pod->copy_base.seq)
        *out = pod->copy_base;
    else
        return PS_ENOTFOUND;
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
    pod->log_reading--;
    segments_unpin(pod->segments, (uint32_t)(req->offset / pod->segment_bytes));
    if (!status &&
        (batch_parse(read->buf, read->bytes, &h) || h.seq != read->seq || h.checksum != read->id.hash))
        status = PS_EDATALOSS;
    finish(read, status);
}

int pod_log_read(struct pod *pod, struct pod_log_read *read)
{
    if (!pod->log_index || (pod->state != POD_SERVING && pod->state != POD_CLOSING))
        return PS_EUNAVAILABLE;
    read->pod = pod;
    const struct log_entry *e =
        read->seq <= pod->durable.seq ? log_index_get(pod->log_index, read->seq) : NULL;
    if (!e) {
        finish(read, PS_ENOTFOUND);
        return 0;
    }
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
