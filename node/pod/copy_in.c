/* A full copy taken in: the pod's former state goes, another member's checkpoint comes in its place, segment
 * by segment to the same places.
 *
 * Order that a crash depends on: first an anchor of an empty pod is durable, which is the mark that this one
 * is being filled: from then on an opening finds no batch at all, and no member takes an empty log for more
 * than it is. Then pieces are written over whatever was there; then a flush; then the anchor that names what
 * was copied. It says that the log begins nowhere, so nothing that lies in flash can be taken for what
 * follows; the opening that comes next begins it in a free segment, under a new generation.
 *
 * Meanwhile nothing else of the pod exists: no images, no log; the states of segments are unknown. Only
 * replication's own state is still written. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"

enum copy_in_state {
    COPY_IN_DRAINING, /* of what the pod was */
    COPY_IN_MARKING,
    COPY_IN_FILLING,
    COPY_IN_ENDING, /* waits for what is on its way */
    COPY_IN_FLUSHING,
    COPY_IN_ANCHORING,
    COPY_IN_DONE, /* the pod is to be opened */
};

_Static_assert((int)POD_COPY_READ_BYTES == (int)BLKDEV_ALIGN + (int)COPY_PIECE_BYTES &&
                   (int)POD_COPY_DESCRIPTION_BYTES == (int)COPY_DESCRIPTION_BYTES,
               "what pod_log.h says of sizes");

struct copy_in {
    struct pod *pod;
    enum copy_in_state state;
    struct copy_description description;
    uint64_t taken, written; /* pieces; written are all before this one */
    struct slot {
        struct copy_in *c;
        uint8_t *buf;
        struct blkdev_req req;
        uint64_t number;
        bool busy, done;
    } slots[POD_COPY_PIECES];
    struct blkdev_req req;
    bool busy;
    uint8_t *anchor_buf;
    struct pod_anchor anchor;
    void (*cb)(void *user, int status);
    void *user;
};

bool copy_in_is_quiet(const struct pod *pod)
{
    const struct copy_in *c = pod->copy_in;
    if (!c)
        return true;
    for (int i = 0; i < POD_COPY_PIECES; i++)
        if (c->slots[i].busy)
            return false;
    return !c->busy;
}

void copy_in_free(struct pod *pod)
{
    struct copy_in *c = pod->copy_in;
    if (!c)
        return;
    for (int i = 0; i < POD_COPY_PIECES; i++)
        free(c->slots[i].buf);
    free(c->anchor_buf);
    free(c);
    pod->copy_in = NULL;
}

static void tell(struct copy_in *c, int status)
{
    void (*cb)(void *, int) = c->cb;
    c->cb = NULL;
    c->pod->again = true;
    if (cb)
        cb(c->user, status);
}

static void failed(struct copy_in *c, const char *what, int status)
{
    pod_fail(c->pod, "%s a copy failed: %s", what, ps_status_text(status));
    tell(c, PS_EIO);
}

/* ---- may it be? */

int pod_copy_in_check(const struct pod *pod, const void *description, size_t bytes, struct ps_error *err)
{
    struct copy_description d;
    const int rc = copy_description_decode(description, bytes, &d, err);
    if (rc)
        return rc;
    if (memcmp(d.anchor.pod, pod->label.pods[0].id, sizeof d.anchor.pod) != 0)
        return ps_error_set(err, PS_EPRECONDITION, "the copy is of another pod");
    if (d.segment_bytes != pod->label.segment_bytes)
        return ps_error_set(
            err, PS_EPRECONDITION,
            "its flash was formatted with segments of %u KiB, a copy of this pod needs %u KiB",
            pod->label.segment_bytes >> 10, d.segment_bytes >> 10);
    /* As many as there have room for all of it, and for the log; of fewer, what would be left must be enough.
     */
    const uint32_t count = pod->label.segment_count;
    if (count < d.segment_count &&
        (count <= d.highest || count < SYSTEM_SEGMENTS + d.used + COPY_SPARE_SEGMENTS))
        return ps_error_set(err, PS_EPRECONDITION,
                            "its flash has %" PRIu64 " MiB, a copy of this pod needs up to %" PRIu64 " MiB",
                            (uint64_t)count * d.segment_bytes >> 20,
                            (uint64_t)d.segment_count * d.segment_bytes >> 20);
    if (pod->failed)
        return ps_error_set(err, PS_EIO, "the pod failed: %s", pod->failure);
    if (pod->state != POD_FILLING && (pod->state != POD_SERVING || pod->role != POD_STANDBY))
        return ps_error_set(err, PS_EABORTED, "the pod is not on standby");
    if (pod->state == POD_FILLING && (pod->copy_in->state != COPY_IN_FILLING || !copy_in_is_quiet(pod)))
        return ps_error_set(err, PS_EABORTED, "another copy is just ending");
    /* What is copied keeps its places. */
    for (uint32_t i = SYSTEM_SEGMENTS;
         i <= d.highest && i < pod->segment_count && segments_gone(pod->segments); i++)
        if (segments_is_absent(pod->segments, i) || segments_is_barred(pod->segments, i))
            return ps_error_set(err, PS_EPRECONDITION,
                                "a part of its flash, at %" PRIu64
                                " MiB, is not there or is being taken away; a copy of this pod may need it",
                                segment_addr(pod, i) >> 20);
    return 0;
}

/* ---- the mark */

static void submit_anchor(struct copy_in *c, blkdev_cb cb)
{
    struct pod *pod = c->pod;
    anchor_encode(&c->anchor, c->anchor_buf);
    const uint32_t segment = pod->label.pods[0].anchor_segments[anchor_half(c->anchor.number)];
    c->req = (struct blkdev_req){.op = BLKDEV_WRITE,
                                 .flags = BLKDEV_FUA,
                                 .offset = segment_addr(pod, segment) + anchor_offset(c->anchor.number),
                                 .length = ANCHOR_BYTES,
                                 .buf = c->anchor_buf};
    c->busy = true;
    const int rc = zones_write(pod, &c->req, cb);
    if (rc) {
        c->busy = false;
        failed(c, "the anchor of", rc);
    }
}

static void marked(struct blkdev_req *req, int status)
{
    struct copy_in *c = container_of(req, struct copy_in, req);
    c->busy = false;
    if (status) {
        failed(c, "the mark of", status);
        return;
    }
    c->pod->anchor = c->anchor;
    c->state = COPY_IN_FILLING;
    tell(c, 0);
}

void copy_in_start(struct pod *pod)
{
    struct copy_in *c = pod->copy_in;
    c->state = COPY_IN_MARKING;
    c->anchor = pod->anchor;
    c->anchor.number++;
    c->anchor.run = pod->run;
    /* The batches that come must not look like ones of the log that an opening begins after this. */
    c->anchor.generation = pod->generation > c->description.anchor.generation
                               ? pod->generation
                               : c->description.anchor.generation;
    c->anchor.seq = c->anchor.hash = c->anchor.log_epoch = c->anchor.log_run = 0;
    c->anchor.log_segment = c->anchor.log_next = SEGMENT_NONE;
    c->anchor.log_offset = 0;
    c->anchor.next_group = c->anchor.next_page = c->anchor.next_image = 1;
    c->anchor.clean = false;
    c->anchor.run_count = 0;
    memset(c->anchor.runs, 0, sizeof c->anchor.runs);
    submit_anchor(c, marked);
}

int pod_copy_in_begin(struct pod *pod, const void *description, size_t bytes,
                      void (*cb)(void *user, int status), void *user, struct ps_error *err)
{
    const int rc = pod_copy_in_check(pod, description, bytes, err);
    if (rc)
        return rc;
    struct copy_in *c = pod->copy_in;
    if (c && !anchor_writer_is_idle(pod))
        return ps_error_set(err, PS_EABORTED, "replication's state is just being written");
    if (!c) {
        c = calloc(1, sizeof *c);
        assert(c && "out of memory");
        c->pod = pod;
        c->anchor_buf = aligned_alloc(BLKDEV_ALIGN, ANCHOR_BYTES);
        assert(c->anchor_buf);
        for (int i = 0; i < POD_COPY_PIECES; i++) {
            c->slots[i].c = c;
            c->slots[i].buf = aligned_alloc(BLKDEV_ALIGN, COPY_PIECE_BYTES);
            assert(c->slots[i].buf);
        }
    }
    (void)copy_description_decode(description, bytes, &c->description, err);
    c->taken = c->written = 0;
    c->cb = cb;
    c->user = user;
    if (pod->copy_in) { /* marked long ago, maybe not for a sender with so high a generation */
        if (pod->anchor.generation < c->description.anchor.generation)
            copy_in_start(pod);
        else
            tell(c, 0);
        return 0;
    }
    c->state = COPY_IN_DRAINING;
    pod->copy_in = c;
    pod_fill(pod);
    return 0;
}

/* ---- pieces */

static void piece_written(struct blkdev_req *req, int status)
{
    struct slot *s = container_of(req, struct slot, req);
    struct copy_in *c = s->c;
    s->busy = false;
    c->pod->again = true;
    if (status) {
        failed(c, "writing", status);
        return;
    }
    s->done = true;
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < POD_COPY_PIECES; i++)
            if (c->slots[i].done && c->slots[i].number == c->written) {
                c->slots[i].done = false;
                c->written++;
                more = true;
            }
    }
}

int pod_copy_in_piece(struct pod *pod, const void *message, size_t bytes, struct ps_error *err)
{
    struct copy_in *c = pod->copy_in;
    struct copy_piece piece;
    if (pod->failed)
        return ps_error_set(err, PS_EIO, "the pod failed: %s", pod->failure);
    if (pod->state != POD_FILLING || c->state != COPY_IN_FILLING)
        return ps_error_set(err, PS_EABORTED, "the pod is not being filled");
    const int rc = copy_piece_decode(message, bytes, &piece, err);
    if (rc)
        return rc;
    if (piece.number < c->taken)
        return 0; /* it is here, or on its way */
    if (piece.number > c->taken)
        return ps_error_set(err, PS_EABORTED, "piece %" PRIu64 " comes before piece %" PRIu64, piece.number,
                            c->taken);
    if (piece.number >= c->description.pieces || piece.segment < SYSTEM_SEGMENTS ||
        piece.segment > c->description.highest || piece.segment >= pod->segment_count ||
        (uint64_t)piece.offset + piece.bytes > pod->segment_bytes)
        return ps_error_set(err, PS_EINVAL, "piece %" PRIu64 " of a copy has an impossible place",
                            piece.number);
    struct slot *s = NULL;
    for (int i = 0; i < POD_COPY_PIECES; i++)
        if (!c->slots[i].busy && !c->slots[i].done)
            s = &c->slots[i];
    if (!s)
        return ps_error_set(err, PS_EABORTED, "more than %d pieces at once", POD_COPY_PIECES);
    memcpy(s->buf, (const uint8_t *)message + COPY_HEADER_BYTES, piece.bytes);
    s->number = piece.number;
    s->busy = true;
    s->req = (struct blkdev_req){.op = BLKDEV_WRITE,
                                 .offset = segment_addr(pod, piece.segment) + piece.offset,
                                 .length = piece.bytes,
                                 .buf = s->buf};
    const int submitted = zones_write(pod, &s->req, piece_written);
    if (submitted) {
        s->busy = false;
        failed(c, "writing", submitted);
        return ps_error_set(err, PS_EIO, "the device refused a piece of a copy");
    }
    c->taken++;
    return 0;
}

uint64_t pod_copy_in_written(const struct pod *pod)
{
    return pod->copy_in ? pod->copy_in->written : 0;
}

/* ---- the end */

static void anchored(struct blkdev_req *req, int status)
{
    struct copy_in *c = container_of(req, struct copy_in, req);
    struct pod *pod = c->pod;
    c->busy = false;
    if (status) {
        failed(c, "the anchor of", status);
        return;
    }
    c->state = COPY_IN_DONE;
    pod->again = true;
}

static void flushed(struct blkdev_req *req, int status)
{
    struct copy_in *c = container_of(req, struct copy_in, req);
    struct pod *pod = c->pod;
    c->busy = false;
    if (status || pod->failed) {
        failed(c, "the flush of", status);
        return;
    }
    const struct pod_anchor *own = &pod->anchor, *a = &c->description.anchor;
    c->state = COPY_IN_ANCHORING;
    c->anchor = *a;
    /* Runs are numbered by anchors, so later ones must get higher numbers than those that are copied; and the
     * mark must not be written over: its successor's place in the ring is taken. */
    c->anchor.number = own->number + 1;
    if (c->anchor.number <= a->number)
        c->anchor.number +=
            (a->number - own->number + 2 * ANCHOR_SLOTS - 1) / (2 * ANCHOR_SLOTS) * (2 * ANCHOR_SLOTS);
    c->anchor.run = pod->run;
    c->anchor.generation = (own->generation > a->generation ? own->generation : a->generation) + 1;
    c->anchor.log_segment = c->anchor.log_next = SEGMENT_NONE;
    c->anchor.log_offset = 0;
    c->anchor.clean = false;
    c->anchor.protocol_bytes = own->protocol_bytes;
    memcpy(c->anchor.protocol, own->protocol, sizeof c->anchor.protocol);
    submit_anchor(c, anchored);
}

void copy_in_turn(struct pod *pod)
{
    struct copy_in *c = pod->copy_in;
    if (c->state == COPY_IN_DONE && !pod->failed) {
        pod->reopened = c->cb;
        pod->reopened_user = c->user;
        pod_reopen_now(pod);
        return;
    }
    if (c->state != COPY_IN_ENDING || pod->failed || !copy_in_is_quiet(pod) || !anchor_writer_is_idle(pod))
        return;
    c->state = COPY_IN_FLUSHING;
    c->req = (struct blkdev_req){.op = BLKDEV_FLUSH};
    c->busy = true;
    const int rc = blkdev_submit(pod->dev, &c->req, flushed);
    if (rc) {
        c->busy = false;
        failed(c, "the flush of", rc);
    }
}

int pod_copy_in_end(struct pod *pod, void (*cb)(void *user, int status), void *user)
{
    struct copy_in *c = pod->copy_in;
    if (pod->failed)
        return PS_EIO;
    if (pod->state != POD_FILLING || c->state != COPY_IN_FILLING || c->written < c->description.pieces)
        return PS_EABORTED;
    c->state = COPY_IN_ENDING;
    c->cb = cb;
    c->user = user;
    pod->again = true;
    return 0;
}

bool copy_in_takes_state(const struct pod *pod)
{
    return pod->copy_in->state == COPY_IN_FILLING || pod->copy_in->state == COPY_IN_MARKING;
}

bool copy_in_is_marking(const struct pod *pod)
{
    return pod->copy_in && pod->copy_in->state == COPY_IN_MARKING;
}
