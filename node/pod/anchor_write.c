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
 * A crash in between finds the old identity with its last anchor, or the new one.
 *
 * Mending. What a scrub or an opening found bad is written anew: the last anchor under the next number, a
 * label as it is, in the places that were bad alone. */
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"

_Static_assert((int)POD_LOG_PROTOCOL_MAX == (int)ANCHOR_PROTOCOL_MAX, "what may be written is kept");

void anchor_writer_init(struct pod *pod)
{
    struct anchor_writer *w = &pod->anchor_writer;
    w->pod = pod;
    anchor_put_init(&w->put);
}

void anchor_writer_free(struct pod *pod)
{
    anchor_put_free(&pod->anchor_writer.put);
}

bool anchor_writer_is_idle(const struct pod *pod)
{
    const struct anchor_writer *w = &pod->anchor_writer;
    return !w->busy && !w->protocol.wanted && !w->adopt.wanted && !w->resize.wanted && !w->mend.anchor &&
           !w->mend.labels;
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

static void refused(struct anchor_writer *w, int rc)
{
    w->busy = false;
    pod_fail(w->pod, "the device refused an anchor: %s", ps_status_text(rc));
}

static void write_done(struct anchor_writer *w, int status);

static void label_written(struct blkdev_req *req, int status)
{
    write_done(container_of(req, struct anchor_writer, req), status);
}

static void write_label(struct anchor_writer *w, uint32_t segment)
{
    struct pod *pod = w->pod;
    w->label_segment = segment;
    label_encode(&w->label, w->put.buf);
    w->req = (struct blkdev_req){.op = BLKDEV_WRITE,
                                 .flags = BLKDEV_FUA,
                                 .offset = segment_addr(pod, segment),
                                 .length = ANCHOR_BYTES,
                                 .buf = w->put.buf};
    pod->metadata_programmed += ANCHOR_BYTES;
    w->labelling = true;
    const int rc = zones_write(pod, &w->req, label_written);
    if (rc)
        refused(w, rc);
}

static void next_label(struct anchor_writer *w)
{
    write_label(w, label_segment(w->pod, --w->labels_left));
}

static void labelled(struct anchor_writer *w)
{
    struct pod *pod = w->pod;
    w->busy = false;
    pod->label_at = 0;
    if (w->doing == ANCHOR_MENDS_LABEL)
        return;
    pod->label = w->label;
    if (w->doing == ANCHOR_RESIZES) {
        end_resize(w, 0);
        return;
    }
    pod->anchor = w->anchor;
    end_adopt(w, 0);
}

static void write_done(struct anchor_writer *w, int status)
{
    struct pod *pod = w->pod;
    pod->again = true;
    if (status) {
        w->busy = false;
        pod_fail(pod, "the anchor failed: %s", ps_status_text(status));
        return;
    }
    if (w->doing == ANCHOR_PROTOCOL || w->doing == ANCHOR_MENDS) {
        pod->anchor = w->anchor;
        w->busy = false;
        if (w->doing == ANCHOR_PROTOCOL)
            end_protocol(w, 0);
        return;
    }
    if (w->labelling)
        zones_abandon(pod, w->label_segment, ANCHOR_BYTES);
    w->labelling = false;
    if (w->labels_left == 0)
        labelled(w);
    else if (pod->failed)
        w->busy = false;
    else
        next_label(w);
}

static void begin_label(struct anchor_writer *w)
{
    w->label = w->pod->label;
    w->label.number++;
    w->labels_left = LABELS;
}

static void anchor_written(struct anchor_put *p, int status)
{
    write_done(container_of(p, struct anchor_writer, put), status);
}

static enum anchor_doing what_next(const struct anchor_writer *w)
{
    return w->adopt.wanted      ? ANCHOR_ADOPTS
           : w->protocol.wanted ? ANCHOR_PROTOCOL
           : w->resize.wanted   ? ANCHOR_RESIZES
           : w->mend.anchor     ? ANCHOR_MENDS
                                : ANCHOR_MENDS_LABEL;
}

static void begin(struct anchor_writer *w)
{
    struct pod *pod = w->pod;
    w->busy = true;
    w->doing = what_next(w);
    if (w->doing == ANCHOR_MENDS_LABEL) {
        const unsigned segment = w->mend.labels & 1 ? 0 : 1;
        w->mend.labels &= ~(1u << segment);
        w->label = pod->label;
        w->labels_left = 0;
        write_label(w, segment);
        return;
    }
    if (w->doing == ANCHOR_RESIZES) {
        begin_label(w);
        w->label.device_bytes = w->resize.device_bytes;
        w->label.segment_count = w->resize.segment_count;
        next_label(w);
        return;
    }
    w->anchor = pod->anchor;
    w->anchor.number++;
    if (w->doing == ANCHOR_ADOPTS) {
        begin_label(w);
        memcpy(w->label.pods[0].id, w->adopt.pod_id, sizeof w->label.pods[0].id);
        memcpy(w->anchor.pod, w->adopt.pod_id, sizeof w->anchor.pod);
    } else if (w->doing == ANCHOR_MENDS) {
        w->mend.anchor = false;
    } else {
        w->anchor.protocol_bytes = (uint32_t)w->protocol.bytes;
        memset(w->anchor.protocol, 0, sizeof w->anchor.protocol);
        memcpy(w->anchor.protocol, w->protocol.data, w->protocol.bytes);
    }
    const int rc = anchor_put(pod, &w->put, &w->anchor, anchor_written);
    if (rc)
        refused(w, rc);
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
        w->mend.anchor = false;
        w->mend.labels = 0;
        return;
    }
    if (!w->busy && !anchor_writer_is_idle(pod) && !copy_in_is_marking(pod) &&
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

void anchor_writer_mend(struct pod *pod, bool anchor, unsigned label)
{
    struct anchor_writer *w = &pod->anchor_writer;
    if (anchor) {
        w->mend.anchor = true;
    } else {
        w->mend.labels |= 1u << label;
        pod->label_at = !label;
    }
    pod->again = true;
}

bool anchor_writer_labels(const struct pod *pod)
{
    const struct anchor_writer *w = &pod->anchor_writer;
    return w->busy && w->doing != ANCHOR_PROTOCOL && w->doing != ANCHOR_MENDS;
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
