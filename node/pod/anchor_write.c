/* Anchors that are not a checkpoint's: the last one again under the next number, with another state of
 * replication or another pod's identity; and the pool's label, with that identity or for a pool that grows.
 * One of all these is written at a time; a checkpoint's anchor waits.
 *
 * Labels are written over the former ones (on a zoned device after an erase), the one that the opening relied
 * on last: so one is whole while the other is written. The copy, in segment 1, is read only if the one in
 * segment 0 is torn. What a new one allows may be used when both are there.
 *
 * Adoption. Anchors count only under the pod id that the label says. The anchor with the new id is written
 * first and not seen yet; then the labels.
 * A crash in between finds the old identity with its last anchor, or the new one. */
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"

_Static_assert((int)POD_LOG_PROTOCOL_MAX == (int)ANCHOR_PROTOCOL_MAX, "what may be written is kept");

void anchor_writer_init(struct pod *pod)
{
    struct anchor_writer *w = &pod->anchor_writer;
    w->pod = pod;
    w->buf = aligned_alloc(BLKDEV_ALIGN, ANCHOR_BYTES);
    assert(w->buf && "out of memory at start");
}

void anchor_writer_free(struct pod *pod)
{
    free(pod->anchor_writer.buf);
}

bool anchor_writer_is_idle(const struct pod *pod)
{
    const struct anchor_writer *w = &pod->anchor_writer;
    return !w->busy && !w->protocol.wanted && !w->adopt.wanted && !w->resize.wanted;
}

static void end_protocol(struct anchor_writer *w, int status)
{
    w->protocol.wanted = false;
    w->protocol.cb(w->protocol.user, status);
}

static void end_adopt(struct anchor_writer *w, int status)
{
    w->adopt.wanted = false;
    w->adopt.cb(w->adopt.user, status);
}

static void end_resize(struct anchor_writer *w, int status)
{
    w->resize.wanted = false;
    w->resize.cb(w->pod, status, &w->label);
}

static void write_done(struct blkdev_req *req, int status);

static void submit(struct anchor_writer *w, uint64_t offset)
{
    struct pod *pod = w->pod;
    w->writing = true;
    w->req = (struct blkdev_req){
        .op = BLKDEV_WRITE, .flags = BLKDEV_FUA, .offset = offset, .length = ANCHOR_BYTES, .buf = w->buf};
    pod->metadata_programmed += ANCHOR_BYTES;
    const int rc = zones_write(pod, &w->req, write_done);
    if (!rc)
        return;
    w->writing = w->busy = false;
    pod_fail(pod, "the device refused an anchor: %s", ps_status_text(rc));
}

static void write_label(struct anchor_writer *w)
{
    label_encode(&w->label, w->buf);
    submit(w, segment_addr(w->pod, label_segment(w->pod, --w->labels_left)));
}

static void labelled(struct anchor_writer *w)
{
    struct pod *pod = w->pod;
    pod->label = w->label;
    pod->label_at = 0;
    w->busy = false;
    if (w->doing == ANCHOR_RESIZES) {
        end_resize(w, 0);
        return;
    }
    pod->anchor = w->anchor;
    end_adopt(w, 0);
}

static void write_done(struct blkdev_req *req, int status)
{
    struct anchor_writer *w = container_of(req, struct anchor_writer, req);
    struct pod *pod = w->pod;
    w->writing = false;
    pod->again = true;
    if (status) {
        w->busy = false;
        pod_fail(pod, "the anchor failed: %s", ps_status_text(status));
        return;
    }
    if (w->doing == ANCHOR_PROTOCOL) {
        pod->anchor = w->anchor;
        w->busy = false;
        end_protocol(w, 0);
        return;
    }
    if (w->labels_left < LABELS)
        zones_abandon(pod, label_segment(pod, w->labels_left), ANCHOR_BYTES);
    if (w->labels_left == 0)
        labelled(w);
    else if (pod->failed)
        w->busy = false;
    else
        write_label(w);
}

static void begin_label(struct anchor_writer *w)
{
    w->label = w->pod->label;
    w->label.number++;
    w->labels_left = LABELS;
}

static void begin(struct anchor_writer *w)
{
    struct pod *pod = w->pod;
    w->busy = true;
    w->doing = w->adopt.wanted ? ANCHOR_ADOPTS : w->protocol.wanted ? ANCHOR_PROTOCOL : ANCHOR_RESIZES;
    if (w->doing == ANCHOR_RESIZES) {
        begin_label(w);
        w->label.device_bytes = w->resize.device_bytes;
        w->label.segment_count = w->resize.segment_count;
        write_label(w);
        return;
    }
    w->anchor = pod->anchor;
    w->anchor.number++;
    if (w->doing == ANCHOR_ADOPTS) {
        begin_label(w);
        memcpy(w->label.pods[0].id, w->adopt.pod_id, sizeof w->label.pods[0].id);
        memcpy(w->anchor.pod, w->adopt.pod_id, sizeof w->anchor.pod);
    } else {
        w->anchor.protocol_bytes = (uint32_t)w->protocol.bytes;
        memset(w->anchor.protocol, 0, sizeof w->anchor.protocol);
        memcpy(w->anchor.protocol, w->protocol.data, w->protocol.bytes);
    }
    anchor_encode(&w->anchor, w->buf);
    const uint32_t segment = pod->label.pods[0].anchor_segments[anchor_half(w->anchor.number)];
    submit(w, segment_addr(pod, segment) + anchor_offset(w->anchor.number));
}

void anchor_writer_turn(struct pod *pod)
{
    struct anchor_writer *w = &pod->anchor_writer;
    if (pod->failed && !w->busy) {
        if (w->protocol.wanted)
            end_protocol(w, pod_end_status(pod));
        if (w->adopt.wanted)
            end_adopt(w, pod_end_status(pod));
        if (w->resize.wanted)
            end_resize(w, pod_end_status(pod));
        return;
    }
    if (!w->busy && (w->protocol.wanted || w->adopt.wanted || w->resize.wanted) && !copy_in_is_marking(pod) &&
        pod->checkpoint.state != CHECKPOINT_ANCHORING && pod->checkpoint.state != CHECKPOINT_ANCHOR_WAITS)
        begin(w);
    checkpoint_anchor_turn(pod);
}

size_t pod_log_protocol(const struct pod *pod, const void **data)
{
    *data = pod->anchor.protocol;
    return pod->anchor.protocol_bytes;
}

int pod_log_protocol_write(struct pod *pod, const void *data, size_t bytes,
                           void (*cb)(void *user, int status), void *user)
{
    struct anchor_writer *w = &pod->anchor_writer;
    if (pod->failed || (pod->state != POD_SERVING && pod->state != POD_CLOSING &&
                        !(pod->state == POD_FILLING && copy_in_takes_state(pod))))
        return PS_EUNAVAILABLE;
    assert(bytes <= POD_LOG_PROTOCOL_MAX && !w->protocol.wanted && "one at a time");
    memcpy(w->protocol.data, data, bytes);
    w->protocol.bytes = bytes;
    w->protocol.cb = cb;
    w->protocol.user = user;
    w->protocol.wanted = true;
    pod->again = true;
    return 0;
}

int pod_log_adopt(struct pod *pod, const uint8_t pod_id[16], void (*cb)(void *user, int status), void *user)
{
    struct anchor_writer *w = &pod->anchor_writer;
    if (pod->failed || pod->state != POD_SERVING)
        return PS_EUNAVAILABLE;
    if (pod->role != POD_STANDBY || pod->sealed_seq || w->adopt.wanted)
        return PS_EPRECONDITION;
    memcpy(w->adopt.pod_id, pod_id, sizeof w->adopt.pod_id);
    w->adopt.cb = cb;
    w->adopt.user = user;
    w->adopt.wanted = true;
    pod->again = true;
    return 0;
}

void anchor_writer_resize(struct pod *pod, uint64_t device_bytes, uint32_t segment_count,
                          void (*cb)(struct pod *pod, int status, const struct pool_label *label))
{
    struct anchor_writer *w = &pod->anchor_writer;
    assert(!w->resize.wanted && "one at a time");
    w->resize.device_bytes = device_bytes;
    w->resize.segment_count = segment_count;
    w->resize.cb = cb;
    w->resize.wanted = true;
    pod->again = true;
}
