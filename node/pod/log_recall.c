/* After a start: which segments hold the log before what was replayed. The reload of the dedup index looks at
 * every batch that still has a segment and tells of it here; when it is through, the segments are put in
 * order, as far back as each is the predecessor of the next.
 *
 * A segment was written under one generation of the log. A later generation begins where an earlier one was
 * cut off, or written again: what the earlier ones hold from there on is not the log any more. */
#include <stdlib.h>

#include "node/pod/log_keep.h"

struct recalled {
    struct log_span span;
    uint64_t generation, hash; /* of the last batch; 0: it was cut off */
};

struct log_recall {
    struct log_id end; /* the applied end when the reload began: what comes later is noted as it comes */
    uint32_t count, capacity; /* segments that are taken later hold nothing that is looked for */
    struct recalled found[];
};

void log_recall_start(struct pod *pod)
{
    if (!pod->log_index || pod->applied_seq == 0) {
        pod->searching = false;
        return;
    }
    pod->recall = calloc(1, sizeof *pod->recall + pod->segment_count * sizeof pod->recall->found[0]);
    assert(pod->recall && "out of memory at start");
    pod->recall->capacity = pod->segment_count;
    pod_log_ends(pod, &pod->recall->end, NULL);
}

void log_recall_free(struct pod *pod)
{
    free(pod->recall);
    pod->recall = NULL;
}

void log_recall_note(struct pod *pod, const struct batch_header *h, uint32_t segment, uint32_t offset)
{
    struct log_recall *recall = pod->recall;
    if (!recall || h->seq > recall->end.seq)
        return;
    struct recalled *r = recall->count ? &recall->found[recall->count - 1] : NULL;
    if (!r || r->span.segment != segment) {
        if (recall->count == recall->capacity)
            return;
        r = &recall->found[recall->count++];
        *r = (struct recalled){
            .span = {.first = h->seq, .previous = h->previous, .segment = segment, .offset = offset},
            .generation = h->generation};
    }
    r->span.last = h->seq;
    r->span.bytes += h->total_bytes;
    r->hash = h->checksum;
}

static int compare(const void *left, const void *right)
{
    const struct recalled *a = left, *b = right;
    if (a->generation != b->generation)
        return a->generation < b->generation ? -1 : 1;
    return (a->span.first > b->span.first) - (a->span.first < b->span.first);
}

/* As the log was written: what begins where a later generation does, or behind that, is not the log any more.
 * Returns how many are left; one may reach beyond the first batch of the next. */
static uint32_t put_in_order(struct recalled *found, uint32_t count)
{
    uint32_t n = 0;
    qsort(found, count, sizeof found[0], compare);
    for (uint32_t i = 0; i < count; i++) {
        const struct recalled r = found[i];
        while (n > 0 && found[n - 1].span.first >= r.span.first)
            n--;
        found[n++] = r;
    }
    return n;
}

/* Before batch `next`, which names `hash` as its predecessor's. Of one that was cut off that shows when it is
 * looked through. */
static bool precedes(const struct pod *pod, const struct recalled *r, uint64_t end, uint64_t next,
                     uint64_t hash)
{
    const uint32_t segment = r->span.segment;
    /* Its segment may have been freed and taken again since it was looked at. */
    return r->span.last + 1 == next && (r->hash == 0 || r->hash == hash) &&
           segments_state(pod->segments, segment) == SEGMENT_LOG && !segments_open(pod->segments, segment) &&
           segments_last_seq(pod->segments, segment) <= end;
}

void log_recall_finish(struct pod *pod)
{
    struct log_recall *recall = pod->recall;
    pod->searching = false;
    if (!recall)
        return;
    const struct log_span *oldest = log_spans_find(pod->log_spans, log_spans_first(pod->log_spans));
    uint64_t next = oldest ? oldest->first : recall->end.seq + 1;
    uint64_t hash = oldest ? oldest->previous : recall->end.hash;
    for (uint32_t n = put_in_order(recall->found, recall->count); n-- > 0;) {
        struct recalled *r = &recall->found[n];
        if (r->span.first >= next)
            continue;
        if (r->span.last >= next) { /* cut off there */
            r->span.last = next - 1;
            r->hash = 0;
        }
        if (!precedes(pod, r, recall->end.seq, next, hash) || !log_spans_put_before(pod->log_spans, &r->span))
            break;
        segments_log_holds(pod->segments, r->span.segment, r->span.last);
        next = r->span.first;
        hash = r->span.previous;
    }
    log_recall_free(pod);
}
