/* A full copy for another member, read from the last checkpoint while the pod goes on.
 *
 * It begins with a checkpoint. What its anchor refers to is never changed in place, and no segment of it is
 * given out again while it is pinned here; so the pieces, read at any later time, are those of that anchor.
 * What of a segment lies beyond the anchor's log is left out. The log after the anchor is the receiver's to
 * get in the ordinary way: the owner keeps it (pod_log_retain). */
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"

struct out_segment {
    uint32_t index, bytes;
    uint64_t first; /* number of its first piece */
};

struct copy_out {
    bool asked; /* the checkpoint is under way */
    bool ended; /* a read still is */
    struct copy_description description;
    struct log_id base; /* the last batch in it */
    struct out_segment *segments;
    uint32_t count, capacity;
    void (*cb)(void *user, int status);
    void *user;
    struct pod_copy_read *read;
    uint32_t segment; /* that it is of */
    uint16_t way;     /* of reading it that is tried: twin_try */
    struct blkdev_req req;
    struct pod *pod;
};

bool copy_out_is_quiet(const struct pod *pod)
{
    return !pod->copy_out || (!pod->copy_out->read && !pod->copy_out->asked);
}

void copy_out_free(struct pod *pod)
{
    if (!pod->copy_out)
        return;
    free(pod->copy_out->segments);
    free(pod->copy_out);
    pod->copy_out = NULL;
}

static void end(struct pod *pod)
{
    struct copy_out *c = pod->copy_out;
    for (uint32_t i = 0; i < c->count; i++)
        segments_unhold(pod->segments, c->segments[i].index);
    copy_out_free(pod);
    pod->events++; /* there may be room now */
    pod->again = true;
}

static uint32_t bytes_of(const struct pod *pod, uint32_t segment)
{
    const struct pod_anchor *a = &pod->anchor;
    uint32_t bytes = pod->segment_bytes;
    if (segment == a->log_segment)
        bytes = a->log_offset;
    else if (segment == pod->meta_segment || (pod->meta_segment != SEGMENT_NONE &&
                                              segment == segments_twin(pod->segments, pod->meta_segment)))
        bytes = pod->meta_offset;
    else
        bytes = collect_written(pod, segment);
    return (bytes + ANCHOR_BYTES - 1) / ANCHOR_BYTES * ANCHOR_BYTES;
}

/* No checkpoint is under way: what the segments' states say is what the last anchor refers to. */
static void list_segments(struct pod *pod)
{
    struct copy_out *c = pod->copy_out;
    struct copy_description *d = &c->description;
    *d = (struct copy_description){
        .anchor = pod->anchor, .segment_bytes = pod->segment_bytes, .segment_count = pod->segment_count};
    d->anchor.protocol_bytes = 0;
    memset(d->anchor.protocol, 0, sizeof d->anchor.protocol);
    if (c->capacity < pod->segment_count) { /* the pool has grown since this was asked for */
        c->segments = realloc(c->segments, pod->segment_count * sizeof c->segments[0]);
        assert(c->segments && "out of memory");
        c->capacity = pod->segment_count;
    }
    c->base = (struct log_id){pod->anchor.log_epoch, pod->anchor.log_run, pod->anchor.seq, pod->anchor.hash};
    for (uint32_t i = SYSTEM_SEGMENTS; i < pod->segment_count; i++) {
        bool lives;
        d->used += segments_anchored(pod->segments, i, &lives);
        const uint32_t bytes = lives ? bytes_of(pod, i) : 0;
        if (!bytes)
            continue;
        segments_hold(pod->segments, i);
        c->segments[c->count++] = (struct out_segment){i, bytes, d->pieces};
        d->pieces += (bytes + COPY_PIECE_BYTES - 1) / COPY_PIECE_BYTES;
        d->bytes += bytes;
        d->highest = i;
    }
}

void copy_out_turn(struct pod *pod)
{
    struct copy_out *c = pod->copy_out;
    if (!c || !c->asked)
        return;
    const int status = pod->failed ? pod_end_status(pod) : 0;
    if (!status && checkpoint_busy(pod))
        return;
    c->asked = false;
    void (*cb)(void *, int) = c->cb;
    void *const user = c->user;
    if (c->ended || status)
        copy_out_free(pod);
    else {
        list_segments(pod);
        pod->copy_base = c->base;
    }
    cb(user, status);
}

int pod_copy_out_begin(struct pod *pod, void (*cb)(void *user, int status), void *user)
{
    assert(pod_is_replicated(pod));
    if (pod->failed || pod->state != POD_SERVING)
        return PS_EUNAVAILABLE;
    if (pod->copy_out)
        return PS_EPRECONDITION;
    struct copy_out *c = calloc(1, sizeof *c);
    struct out_segment *segments = calloc(pod->segment_count, sizeof segments[0]);
    if (!c || !segments) {
        free(c);
        free(segments);
        return PS_ENOMEM;
    }
    *c = (struct copy_out){.asked = true,
                           .segments = segments,
                           .capacity = pod->segment_count,
                           .cb = cb,
                           .user = user,
                           .pod = pod};
    pod->copy_out = c;
    if (pod->applied_seq != pod->anchor.seq)
        pod->checkpoint.wanted = true;
    pod->again = true;
    return 0;
}

void pod_copy_out_describe(const struct pod *pod, struct pod_copy_info *out)
{
    const struct copy_out *c = pod->copy_out;
    assert(c && !c->asked);
    *out = (struct pod_copy_info){.base = c->base,
                                  .pieces = c->description.pieces,
                                  .bytes = c->description.bytes,
                                  .segments = c->count};
    copy_description_encode(&c->description, out->description);
}

void pod_copy_out_end(struct pod *pod)
{
    struct copy_out *c = pod->copy_out;
    if (!c)
        return;
    c->ended = true;
    if (!c->asked && !c->read)
        end(pod);
}

/* ---- pieces */

static void read_done(struct blkdev_req *req, int status)
{
    struct copy_out *c = container_of(req, struct copy_out, req);
    struct pod *pod = c->pod;
    struct pod_copy_read *read = c->read;
    /* Metadata is read from its second copy; what is not told of the first goes along, and is found there. */
    if (status && !c->ended &&
        twin_try(pod, req, c->segment, segments_twin(pod->segments, c->segment), &c->way, read_done))
        return;
    c->read = NULL;
    pod->again = true;
    if (status == 0) {
        const struct copy_piece piece = {read->number, c->segment,
                                         (uint32_t)(req->offset % pod->segment_bytes), req->length};
        read->message = read->buf + BLKDEV_ALIGN - COPY_HEADER_BYTES;
        read->bytes = COPY_HEADER_BYTES + req->length;
        copy_piece_seal(&piece, read->message);
    }
    if (c->ended) {
        end(pod);
        status = PS_ECANCELLED;
    }
    read->cb(read, status);
}

int pod_copy_read(struct pod *pod, struct pod_copy_read *read)
{
    struct copy_out *c = pod->copy_out;
    if (pod->failed || !c || c->asked || c->ended || c->read)
        return PS_EUNAVAILABLE;
    assert(read->number < c->description.pieces);
    uint32_t low = 0, high = c->count; /* the last one that begins at or before the piece */
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (c->segments[middle].first <= read->number)
            low = middle;
        else
            high = middle;
    }
    const struct out_segment *s = &c->segments[low];
    const uint32_t offset = (uint32_t)(read->number - s->first) * COPY_PIECE_BYTES;
    const uint32_t left = s->bytes - offset;
    c->req = (struct blkdev_req){.op = BLKDEV_READ,
                                 .offset = segment_addr(pod, s->index) + offset,
                                 .length = left < COPY_PIECE_BYTES ? left : COPY_PIECE_BYTES,
                                 .buf = read->buf + BLKDEV_ALIGN};
    c->read = read;
    c->segment = s->index;
    c->way = 0;
    const int rc = blkdev_submit(pod->dev, &c->req, read_done);
    if (rc)
        c->read = NULL;
    return rc;
}
