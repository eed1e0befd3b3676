/* Where each batch of an older segment of the log lies: the segment is read from flash, header by header,
 * when somebody asks for a batch in it, and what was found is kept for a few segments. A member that catches
 * up reads one segment after the other.
 *
 * What is found counts only if it is one with the log: each batch the successor of the one before, the first
 * one of the span's predecessor, the last one the predecessor of what follows.
 *
 * Memory is bounded: of a segment that holds many batches a slice is kept, and marks say where its slices
 * begin. The first look goes through all of it and leaves the marks; the next ones go from one mark to the
 * next.
 *
 * Of a segment that the index knows in part that part is kept with the rest, as it is then. Else a member
 * that comes near the oldest batch of the index, while others get too old for it, would ask for the same
 * segment again and again, and get no nearer. */
#include <stdlib.h>
#include <string.h>

#include "node/pod/log_keep.h"

enum {
    KEPT = 8,     /* two for each member that can lag: it acknowledges batches of the one before */
    SLICE = 8192, /* batches: 384 KiB */
    WINDOW_BYTES = 256 * 1024,
    TRIES = 3 /* of a window that can't be read */
};
_Static_assert((int)BATCH_PAYLOAD_AT <= (int)WINDOW_BYTES, "it holds all that is looked at of a batch");

struct unfolded {
    uint64_t first, count, used; /* by the clock */
    struct log_entry *entries;
};

/* Where a slice begins, in a segment that was looked through up to `last`. */
struct mark {
    uint64_t previous; /* hash of the batch before */
    uint32_t offset;
};

struct marks {
    uint64_t first, last, used; /* of the span's first batch on, in steps of a slice; by the clock */
    size_t count, capacity;     /* 0: none */
    struct mark *at;
};

struct log_unfold {
    struct pod *pod;
    uint64_t slice; /* batches */
    struct unfolded kept[KEPT];
    struct marks marks[KEPT];
    uint64_t clock;
    struct list_node waiting; /* reads */
    /* What is being looked through. */
    bool busy, dropped;
    struct log_span span;  /* as far as the index does not know it */
    uint64_t last, hash;   /* where the look ends, and what the batch there must have */
    struct unfolded found; /* the slice, what the index knows included */
    struct marks passed;   /* the slices that begin in what was looked at */
    uint64_t next;         /* batch, */
    uint64_t previous;     /* behind this one */
    uint32_t at, end;      /* in the segment; behind `end` it may be written to */
    uint32_t tries;
    uint8_t *buf;
    struct blkdev_req req;
};

struct log_unfold *log_unfold_create(struct pod *pod)
{
    struct log_unfold *u = calloc(1, sizeof *u);
    assert(u && "out of memory at start");
    u->pod = pod;
    u->slice = pod->config.log_slice_batches ? pod->config.log_slice_batches : SLICE;
    list_init(&u->waiting);
    return u;
}

void log_unfold_free(struct log_unfold *u)
{
    if (!u)
        return;
    for (int i = 0; i < KEPT; i++) {
        free(u->kept[i].entries);
        free(u->marks[i].at);
    }
    free(u->found.entries);
    free(u->passed.at);
    free(u->buf);
    free(u);
}

static bool holds(const struct unfolded *f, uint64_t seq)
{
    return f->entries && seq >= f->first && seq - f->first < f->count;
}

static void forget(struct unfolded *f)
{
    free(f->entries);
    *f = (struct unfolded){0};
}

static void forget_marks(struct marks *m)
{
    free(m->at);
    *m = (struct marks){0};
}

void log_unfold_drop(struct log_unfold *u, uint64_t first, uint64_t last)
{
    for (int i = 0; i < KEPT; i++) {
        struct unfolded *f = &u->kept[i];
        struct marks *m = &u->marks[i];
        if (f->entries && f->first <= last && f->first + f->count > first)
            forget(f);
        if (m->count && m->first <= last && m->last >= first)
            forget_marks(m);
    }
    const uint64_t end = u->found.first + u->found.count;
    if (u->busy && u->span.first <= last && (end > first || u->last >= first))
        u->dropped = true;
}

uint64_t log_unfold_memory(const struct log_unfold *u)
{
    uint64_t bytes = sizeof *u + (u->buf ? WINDOW_BYTES : 0) + u->found.count * sizeof(struct log_entry) +
                     u->passed.capacity * sizeof(struct mark);
    for (int i = 0; i < KEPT; i++)
        bytes += u->kept[i].count * sizeof(struct log_entry) + u->marks[i].capacity * sizeof(struct mark);
    return bytes;
}

/* ---- looking through a segment */

static void read_window(struct log_unfold *u);

static void keep(struct log_unfold *u)
{
    struct unfolded *to = &u->kept[0];
    for (int i = 1; i < KEPT && to->first != u->found.first; i++)
        if (u->kept[i].used < to->used || u->kept[i].first == u->found.first)
            to = &u->kept[i];
    free(to->entries);
    *to = u->found;
    to->used = ++u->clock;
    u->found = (struct unfolded){0};
}

static struct marks *marks_of(struct log_unfold *u, uint64_t first)
{
    for (int i = 0; i < KEPT; i++)
        if (u->marks[i].count && u->marks[i].first == first)
            return &u->marks[i];
    return NULL;
}

static void keep_marks(struct log_unfold *u)
{
    struct marks *known = marks_of(u, u->passed.first), *to = known ? known : &u->marks[0];
    for (int i = 1; i < KEPT && !known; i++)
        if (u->marks[i].used < to->used)
            to = &u->marks[i];
    if (!known || known->count <= u->passed.count) { /* else the look ended at the next one */
        free(to->at);
        *to = u->passed;
        to->last = u->last;
        u->passed = (struct marks){0};
    }
    to->used = ++u->clock;
}

/* PS_EDATALOSS: the segment does not hold that part of the log; PS_EUNAVAILABLE: nobody knows. */
static void end(struct log_unfold *u, int status)
{
    struct pod *pod = u->pod;
    u->busy = false;
    pod->again = true;
    pod->events++;
    if (status == 0 && !u->dropped) {
        keep(u);
        keep_marks(u);
    }
    forget(&u->found);
    forget_marks(&u->passed);
    if (status == PS_EDATALOSS && !u->dropped)
        log_forget_through(pod, u->span.last);
    struct list_node again;
    list_init(&again);
    list_splice_back(&again, &u->waiting);
    for (struct list_node *n; (n = list_pop_front(&again));)
        log_read_again(container_of(n, struct pod_log_read, link), status == PS_EUNAVAILABLE ? status : 0);
}

static void take_batch(struct log_unfold *u, const struct batch_header *h)
{
    const uint64_t from = h->seq - u->span.first;
    if (from % u->slice == 0 && from / u->slice == u->passed.count)
        u->passed.at[u->passed.count++] = (struct mark){h->previous, u->at};
    if (holds(&u->found, h->seq))
        u->found.entries[h->seq - u->found.first] = (struct log_entry){
            h->epoch, h->run, h->checksum, h->previous, u->span.segment, u->at, h->total_bytes};
    u->previous = h->checksum;
    u->next++;
    u->at += h->total_bytes;
}

/* False: it is no part of the log. */
static bool take_window(struct log_unfold *u, uint32_t bytes)
{
    uint32_t at = 0;
    while (u->next <= u->last) {
        struct batch_header h;
        if (at >= bytes || batch_parse_directory(u->buf + at, bytes - at, &h))
            return at > 0; /* cut off by the window, if it is not its first */
        if (h.total_bytes == 0 || h.seq != u->next || h.previous != u->previous)
            return false;
        take_batch(u, &h);
        at += h.total_bytes;
    }
    return u->previous == u->hash;
}

static void window_read(struct blkdev_req *req, int status)
{
    struct log_unfold *u = container_of(req, struct log_unfold, req);
    const uint32_t at = u->at;
    const bool taken = !status && !u->dropped && take_window(u, req->length);
    /* A window that begins with what is no batch. */
    if (!status && !u->dropped && !taken && u->at == at &&
        blkdev_read_otherwise(u->pod->dev, req, window_read))
        return;
    u->pod->log_reading--;
    segments_unpin(u->pod->segments, u->span.segment);
    if (status && ++u->tries < TRIES) {
        read_window(u);
        return;
    }
    u->tries = 0;
    if (u->dropped)
        end(u, 0); /* who waits looks again */
    else if (!taken)
        end(u, PS_EDATALOSS);
    else if (u->next > u->last)
        end(u, 0);
    else
        read_window(u);
}

static void read_window(struct log_unfold *u)
{
    struct pod *pod = u->pod;
    const uint32_t left = u->at < u->end ? u->end - u->at : 0;
    u->req = (struct blkdev_req){.op = BLKDEV_READ,
                                 .offset = segment_addr(pod, u->span.segment) + u->at,
                                 .length = left < WINDOW_BYTES ? left : WINDOW_BYTES,
                                 .buf = u->buf};
    if (pod->state != POD_SERVING) { /* its end does not wait for a whole segment */
        end(u, PS_EUNAVAILABLE);
        return;
    }
    if (left == 0) {
        end(u, PS_EDATALOSS);
        return;
    }
    segments_pin(pod->segments, u->span.segment);
    pod->log_reading++;
    if (blkdev_submit(pod->dev, &u->req, window_read)) {
        segments_unpin(pod->segments, u->span.segment);
        pod->log_reading--;
        end(u, PS_EUNAVAILABLE);
    }
}

/* Flash is asked for the part of a span that the index does not know. What must come out at its end? */
static void look_at(struct log_unfold *u, const struct log_span *span)
{
    const struct pod *pod = u->pod;
    const struct log_span *after = log_spans_after(pod->log_spans, span);
    const uint64_t known = log_index_first(pod->log_index);
    u->span = *span;
    u->end = pod->segment_bytes;
    if (known && known <= span->last) {
        const struct log_entry *e = log_index_get(pod->log_index, known);
        assert(known > span->first && e->segment == span->segment);
        u->span.last = known - 1;
        u->hash = e->previous;
        u->end = e->offset;
    } else if (after) {
        u->hash = after->previous;
    } else { /* nothing came since the start */
        assert(span->last == pod->applied_seq);
        u->hash = pod->applied_hash;
    }
    u->last = u->span.last;
}

/* From the slice's mark, or the last one before it, up to the next mark, or to the end. False: no memory. */
static bool look_from(struct log_unfold *u, uint64_t slice)
{
    const struct marks *m = marks_of(u, u->span.first);
    const size_t most = (size_t)((u->span.last - u->span.first) / u->slice + 1);
    u->passed =
        (struct marks){.first = u->span.first, .capacity = most, .at = calloc(most, sizeof u->passed.at[0])};
    if (!u->passed.at)
        return false;
    u->next = u->span.first;
    u->previous = u->span.previous;
    u->at = u->span.offset;
    if (!m)
        return true;
    const size_t begin = slice < m->count ? (size_t)slice : m->count - 1;
    memcpy(u->passed.at, m->at, (begin + 1) * sizeof m->at[0]);
    u->passed.count = begin + 1;
    u->next = u->span.first + begin * u->slice;
    u->previous = m->at[begin].previous;
    u->at = m->at[begin].offset;
    if (slice + 1 < m->count) {
        u->last = u->span.first + (slice + 1) * u->slice - 1;
        u->hash = m->at[slice + 1].previous;
    }
    return true;
}

static void start(struct log_unfold *u, const struct log_span *span, uint64_t seq)
{
    const uint64_t slice = (seq - span->first) / u->slice, first = span->first + slice * u->slice;
    const uint64_t left = span->last - first + 1;
    look_at(u, span);
    u->busy = true;
    u->dropped = false;
    u->tries = 0;
    u->found = (struct unfolded){.first = first, .count = left < u->slice ? left : u->slice};
    u->found.entries = calloc(u->found.count, sizeof u->found.entries[0]);
    if (!u->buf)
        u->buf = aligned_alloc(BLKDEV_ALIGN, WINDOW_BYTES);
    if (!u->buf || !u->found.entries || !look_from(u, slice)) {
        end(u, PS_EUNAVAILABLE);
        return;
    }
    for (uint64_t known = u->span.last + 1; known < first + u->found.count; known++)
        u->found.entries[known - first] = *log_index_get(u->pod->log_index, known);
    read_window(u);
}

const struct log_entry *log_unfold_get(struct log_unfold *u, uint64_t seq)
{
    const struct pod *pod = u->pod;
    const struct log_span *span = log_spans_find(pod->log_spans, seq);
    for (int i = 0; i < KEPT; i++)
        if (holds(&u->kept[i], seq)) {
            u->kept[i].used = ++u->clock;
            return &u->kept[i].entries[seq - u->kept[i].first];
        }
    if (!u->busy)
        start(u, span, seq);
    return NULL;
}

void log_unfold_wait(struct log_unfold *u, struct pod_log_read *read)
{
    if (u->busy)
        list_push_back(&u->waiting, &read->link);
    else
        log_read_again(read, PS_EUNAVAILABLE);
}
