/* Where each batch of an older segment of the log lies: the segment is read from flash, header by header,
 * when somebody asks for a batch in it, and what was found is kept for a few segments. A member that catches
 * up reads one segment after the other.
 *
 * What is found counts only if it is one with the log: each batch the successor of the one before, the first
 * one of the span's predecessor, the last one the predecessor of what follows. */
#include <stdlib.h>
#include <string.h>

#include "node/pod/log_keep.h"

enum {
    KEPT = 4, /* as many members can lag */
    WINDOW_BYTES = 256 * 1024
};

struct unfolded {
    uint64_t first, count, used; /* by the clock */
    struct log_entry *entries;
};

struct log_unfold {
    struct pod *pod;
    struct unfolded kept[KEPT];
    uint64_t clock;
    struct list_node waiting; /* reads */
    /* What is being looked through. */
    bool busy, dropped;
    struct log_span span;
    uint64_t end_hash; /* that its last batch must have */
    struct unfolded found;
    uint32_t room, at, end; /* `end`: behind it the segment may be written to */
    uint8_t *buf;
    struct blkdev_req req;
};

struct log_unfold *log_unfold_create(struct pod *pod)
{
    struct log_unfold *u = calloc(1, sizeof *u);
    assert(u && "out of memory at start");
    u->pod = pod;
    list_init(&u->waiting);
    return u;
}

void log_unfold_free(struct log_unfold *u)
{
    if (!u)
        return;
    for (int i = 0; i < KEPT; i++)
        free(u->kept[i].entries);
    free(u->found.entries);
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

void log_unfold_drop(struct log_unfold *u, uint64_t first, uint64_t last)
{
    for (int i = 0; i < KEPT; i++) {
        struct unfolded *f = &u->kept[i];
        if (f->entries && f->first <= last && f->first + f->count > first)
            forget(f);
    }
    if (u->busy && u->span.first <= last && u->span.last >= first)
        u->dropped = true;
}

/* ---- looking through a segment */

static void read_window(struct log_unfold *u);

static void keep(struct log_unfold *u)
{
    struct unfolded *oldest = &u->kept[0];
    for (int i = 1; i < KEPT; i++)
        if (u->kept[i].used < oldest->used)
            oldest = &u->kept[i];
    free(oldest->entries);
    *oldest = u->found;
    oldest->used = ++u->clock;
    u->found = (struct unfolded){0};
}

/* PS_EDATALOSS: the segment does not hold that part of the log; PS_EUNAVAILABLE: nobody knows. */
static void end(struct log_unfold *u, int status)
{
    struct pod *pod = u->pod;
    u->busy = false;
    pod->again = true;
    pod->events++;
    if (status == 0 && !u->dropped)
        keep(u);
    forget(&u->found);
    if (status == PS_EDATALOSS && !u->dropped)
        log_forget_through(pod, u->span.last);
    struct list_node again;
    list_init(&again);
    list_splice_back(&again, &u->waiting);
    for (struct list_node *n; (n = list_pop_front(&again));)
        log_read_again(container_of(n, struct pod_log_read, link), status == PS_EUNAVAILABLE ? status : 0);
}

static bool add(struct log_unfold *u, const struct batch_header *h)
{
    if (u->found.count == u->room) {
        const uint32_t room = u->room ? 2 * u->room : 64;
        struct log_entry *entries = realloc(u->found.entries, room * sizeof entries[0]);
        if (!entries)
            return false;
        u->found.entries = entries;
        u->room = room;
    }
    u->found.entries[u->found.count++] = (struct log_entry){
        h->epoch, h->run, h->checksum, h->previous, u->span.segment, u->at, h->total_bytes};
    return true;
}

/* False: it is no part of the log. */
static bool take_window(struct log_unfold *u, uint32_t bytes)
{
    uint32_t at = 0;
    while (u->found.count <= u->span.last - u->span.first) {
        struct batch_header h;
        const uint64_t previous =
            u->found.count ? u->found.entries[u->found.count - 1].hash : u->span.previous;
        if (at >= bytes || batch_parse_directory(u->buf + at, bytes - at, &h))
            return at > 0; /* cut off by the window, if it is not its first */
        if (h.total_bytes == 0 || h.seq != u->span.first + u->found.count || h.previous != previous ||
            !add(u, &h))
            return false;
        at += h.total_bytes;
        u->at += h.total_bytes;
    }
    return u->found.entries[u->found.count - 1].hash == u->end_hash;
}

static void window_read(struct blkdev_req *req, int status)
{
    struct log_unfold *u = container_of(req, struct log_unfold, req);
    u->pod->log_reading--;
    segments_unpin(u->pod->segments, u->span.segment);
    if (status || u->dropped || !take_window(u, req->length))
        end(u, PS_EDATALOSS);
    else if (u->found.count > u->span.last - u->span.first)
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

/* The part of a span that the index does not know, and what must come out at its end. */
static void start(struct log_unfold *u, const struct log_span *span)
{
    const struct pod *pod = u->pod;
    const struct log_span *after = log_spans_after(pod->log_spans, span);
    const uint64_t known = log_index_first(pod->log_index);
    u->span = *span;
    u->end = pod->segment_bytes;
    if (known && known <= span->last) {
        const struct log_entry *next = log_index_get(pod->log_index, known);
        u->span.last = known - 1;
        u->end_hash = next->previous;
        u->end = next->offset;
    } else if (after) {
        u->end_hash = after->previous;
    } else { /* nothing came since the start */
        assert(span->last == pod->applied_seq);
        u->end_hash = pod->applied_hash;
    }
    if (!u->buf)
        u->buf = aligned_alloc(BLKDEV_ALIGN, WINDOW_BYTES);
    u->busy = true;
    u->dropped = false;
    u->at = span->offset;
    u->room = 0;
    u->found = (struct unfolded){.first = span->first};
    if (u->buf)
        read_window(u);
    else
        end(u, PS_EUNAVAILABLE);
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
        start(u, span);
    return NULL;
}

void log_unfold_wait(struct log_unfold *u, struct pod_log_read *read)
{
    if (u->busy)
        list_push_back(&u->waiting, &read->link);
    else
        log_read_again(read, PS_EUNAVAILABLE);
}
