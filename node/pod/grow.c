/* A pool that grows with its device: the label says so first, then the segments are used.
 *
 * Also parts of the device that were absent and have come back: their segments are free again, and no label
 * needs to say so. */
#include <inttypes.h>

#include "common/sizes.h"
#include "node/pod/collect.h"

enum {
    RESERVE_LEAST = 8, /* segments */
    RESERVE_PERCENT = 3,
};

void pod_size_reserve(struct pod *pod)
{
    const uint32_t percent =
        pod->config.overprovision_percent ? pod->config.overprovision_percent : RESERVE_PERCENT;
    const uint32_t count = pod->segment_count - segments_gone(pod->segments);
    const uint32_t kept = (uint32_t)((uint64_t)count * percent / 100);
    pod->reserve_segments = kept > RESERVE_LEAST ? kept : RESERVE_LEAST;
    collect_resize(pod);
    pod->events++; /* there is room now, or it is known that there is none */
    pod->again = true;
}

uint32_t grow_count(const struct blkdev *dev, uint32_t segment_bytes)
{
    const uint64_t size = dev->geometry.size_bytes;
    return (uint32_t)((size < PLACE_END ? size : PLACE_END) / segment_bytes);
}

bool grow_fits(const struct pod *pod, struct pool_label *label)
{
    const uint32_t count = grow_count(pod->dev, pod->segment_bytes);
    if (count <= pod->label.segment_count)
        return false;
    *label = pod->label;
    label->number++;
    label->device_bytes = pod->dev->geometry.size_bytes;
    label->segment_count = count;
    return true;
}

void grow_use(struct pod *pod, const struct pool_label *label)
{
    const uint32_t before = pod->segment_count;
    char was[SIZE_TEXT_MAX], is[SIZE_TEXT_MAX];
    (void)size_format((uint64_t)before * pod->segment_bytes, was);
    (void)size_format((uint64_t)label->segment_count * pod->segment_bytes, is);
    pod->label = *label;
    pod->segment_count = label->segment_count;
    segments_grow(pod->segments, pod->segment_count);
    if (pod->log_spans)
        log_spans_grow(pod->log_spans, pod->segment_count + 1);
    zones_look(pod, before);
    pod_size_reserve(pod);
    vacate_again(pod); /* some of it may be what is to be taken away */
    pod_event(pod, "pool.grown", 0, "%s: the pool had %s and has %s now", pod->dev->name, was, is);
}

/* ---- while the pod is open */

int pod_grow(struct pod *pod, void (*cb)(void *user, int status), void *user, struct ps_error *err)
{
    struct growth *g = &pod->growth;
    char has[SIZE_TEXT_MAX], needs[SIZE_TEXT_MAX];
    if (pod->state == POD_CLOSING || pod->state == POD_CLOSED || pod->state == POD_CHECKED)
        return ps_error_set(err, PS_EUNAVAILABLE, "the pod is being closed");
    if (pod->failed && pod->state == POD_SERVING)
        return ps_error_set(err, PS_EIO, "the pod failed: %s", pod->failure);
    if (g->wanted || pod->grow_end.cb)
        return ps_error_set(err, PS_EPRECONDITION, "the pool is just growing");
    if (pod->dev->geometry.size_bytes < pod->label.device_bytes)
        return ps_error_set(err, PS_EINVAL, "%.100s has %s, its pool was made with %s", pod->dev->name,
                            size_format(pod->dev->geometry.size_bytes, has),
                            size_format(pod->label.device_bytes, needs));
    *g = (struct growth){.wanted = true, .cb = cb, .user = user};
    pod->again = true;
    return 0;
}

static void end(struct pod *pod, int status)
{
    struct growth *g = &pod->growth;
    pod->grow_end = (struct resize_end){.cb = g->cb, .user = g->user, .status = status};
    *g = (struct growth){0};
    pod->again = true;
}

static void labelled(struct pod *pod, int status, const struct pool_label *label)
{
    pod->growth.writing = false;
    if (status == 0)
        grow_use(pod, label);
    end(pod, status);
}

void grow_turn(struct pod *pod)
{
    struct growth *g = &pod->growth;
    struct pool_label label;
    if (!g->wanted || g->writing || pod->state != POD_SERVING)
        return;
    if (pod->failed) {
        end(pod, PS_EIO);
        return;
    }
    if (zones_look_for_absent(pod))
        pod_size_reserve(pod);
    if (!grow_fits(pod, &label)) {
        end(pod, 0);
        return;
    }
    g->writing = true;
    anchor_writer_resize(pod, label.device_bytes, label.segment_count, labelled);
}

void grow_stop(struct pod *pod, int status)
{
    if (pod->growth.wanted && !pod->growth.writing)
        end(pod, status);
}

void resize_deliver(struct pod *pod)
{
    struct resize_end *const ends[] = {&pod->grow_end, &pod->vacate_end};
    for (int i = 0; i < 2; i++) {
        const struct resize_end e = *ends[i];
        *ends[i] = (struct resize_end){0};
        if (e.cb)
            e.cb(e.user, e.status);
    }
}
