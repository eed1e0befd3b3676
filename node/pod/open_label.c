/* A pool's label: the one that is there, a new pool on a blank device, or a larger one on a device that has
 * grown. */
#include <string.h>

#include "common/sizes.h"
#include "node/pod/open_impl.h"

/* ---- label */

static uint32_t wanted_segment_bytes(const struct pod *pod)
{
    return (uint32_t)pod->config.segment_bytes;
}

/* The highest valid label in the window. */
static void scan_labels(struct open_state *o, uint32_t bytes)
{
    struct pod *pod = o->pod;
    for (uint32_t at = 0; at + ANCHOR_BYTES <= bytes; at += ANCHOR_BYTES) {
        struct pool_label label;
        struct ps_error err = {0};
        const int rc = label_decode(o->window + at, &label, &err);
        if (rc == 0 && (o->label_status || label.number >= pod->label.number)) {
            pod->label = label;
            o->label_status = 0;
        } else if (rc != PS_ENOTFOUND && o->label_status) {
            o->label_status = rc;
            o->label_error = err;
        }
    }
}

void open_refuse_foreign(struct pod *pod)
{
    const uint8_t *id = pod->label.pods[0].id;
    (void)ps_error_set(&pod->opening->local, PS_ENOTFOUND, "%.120s holds another pod: %02x%02x%02x%02x",
                       pod->dev->name, id[0], id[1], id[2], id[3]);
    open_finish(pod, PS_ENOTFOUND);
}

static bool use_label(struct pod *pod)
{
    struct open_state *o = pod->opening;
    const struct pool_label *l = &pod->label;
    if (l->device_bytes > pod->dev->geometry.size_bytes) {
        char has[SIZE_TEXT_MAX], needs[SIZE_TEXT_MAX];
        (void)ps_error_set(&o->local, PS_EINVAL, "%.120s has %s, its pool was made with %s", pod->dev->name,
                           size_format(pod->dev->geometry.size_bytes, has),
                           size_format(l->device_bytes, needs));
        open_finish(pod, PS_EINVAL);
        return false;
    }
    if (l->pod_count != 1) {
        (void)ps_error_set(&o->local, PS_EVERSION, "%s holds %u pods, this program opens pools of one",
                           pod->dev->name, l->pod_count);
        open_finish(pod, PS_EVERSION);
        return false;
    }
    o->foreign = pod->config.only_pod && memcmp(pod->config.only_pod, l->pods[0].id, 16) != 0;
    if (o->foreign && !pod->config.log) {
        open_refuse_foreign(pod);
        return false;
    }
    if (pod->dev->geometry.zoned && l->segment_bytes % pod->dev->geometry.erase_bytes) {
        (void)ps_error_set(&o->local, PS_EINVAL,
                           "%s has zones of %u KiB, segments of %u KiB are not whole ones", pod->dev->name,
                           pod->dev->geometry.erase_bytes >> 10, l->segment_bytes >> 10);
        open_finish(pod, PS_EINVAL);
        return false;
    }
    pod->segment_bytes = l->segment_bytes;
    pod->segment_count = l->segment_count;
    memcpy(pod->name, l->pods[0].name, sizeof pod->name);
    pod->segments = segments_create(l->segment_count, l->segment_bytes, SYSTEM_SEGMENTS);
    pod_size_reserve(pod);
    log_read_segments(pod);
    return true;
}

static void too_small(struct pod *pod)
{
    char has[SIZE_TEXT_MAX], needs[SIZE_TEXT_MAX];
    (void)ps_error_set(&pod->opening->local, PS_EINVAL, "%s has %s; a pool needs at least %s", pod->dev->name,
                       size_format(pod->dev->geometry.size_bytes, has),
                       size_format(DEVICE_MIN_SEGMENTS * (uint64_t)wanted_segment_bytes(pod), needs));
    open_finish(pod, PS_EINVAL);
}

void open_step_label(struct pod *pod)
{
    struct open_state *o = pod->opening;
    const bool copy = o->step == OPEN_LABEL_COPY;
    const uint64_t size = pod->dev->geometry.size_bytes;
    if (size < BLANK_BYTES) {
        too_small(pod);
        return;
    }
    if (copy && size < wanted_segment_bytes(pod) + (uint64_t)ANCHOR_RING_BYTES) {
        o->step = OPEN_BLANK;
        pod->again = true;
        return;
    }
    if (!open_want(o, copy ? wanted_segment_bytes(pod) : 0, ANCHOR_RING_BYTES))
        return;
    scan_labels(o, ANCHOR_RING_BYTES);
    if (o->label_status && open_otherwise(o))
        return;
    pod->again = true;
    if (o->label_status == 0) {
        pod->label_at = copy;
        if (use_label(pod))
            o->step = OPEN_ANCHOR_FIRST;
    } else if (!copy) {
        o->step = OPEN_LABEL_COPY;
    } else if (o->label_status != PS_ENOTFOUND) {
        (void)ps_error_set(&o->local, o->label_status, "%s: %s", pod->dev->name, o->label_error.detail);
        open_finish(pod, o->label_status);
    } else {
        o->step = OPEN_BLANK;
    }
}

/* ---- format */

static bool all_zero(const uint8_t *p, size_t n)
{
    return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

static void make_pool(struct pod *pod)
{
    struct pool_label *l = &pod->label;
    const uint32_t bytes = wanted_segment_bytes(pod);
    *l = (struct pool_label){
        .device_bytes = pod->dev->geometry.size_bytes,
        .segment_bytes = bytes,
        .segment_count = grow_count(pod->dev, bytes),
        .pod_count = 1,
    };
    put_le64(l->pool, pod->config.seed[0]);
    put_le64(l->pool + 8, pod->config.seed[1]);
    put_le64(l->store, pod->config.seed[0] * 0x9e3779b97f4a7c15ull + 1);
    put_le64(l->store + 8, pod->config.seed[1] ^ 0x5bd1e9955bd1e995ull);
    if (all_zero(pod->config.pod_id, sizeof pod->config.pod_id)) {
        put_le64(l->pods[0].id, pod->config.seed[1] * 0xc2b2ae3d27d4eb4full + 1);
        put_le64(l->pods[0].id + 8, pod->config.seed[0] ^ 0x27d4eb2f165667c5ull);
    } else {
        memcpy(l->pods[0].id, pod->config.pod_id, sizeof l->pods[0].id);
    }
    memcpy(l->pods[0].name, pod->name, sizeof l->pods[0].name);
    l->pods[0].anchor_segments[0] = 2;
    l->pods[0].anchor_segments[1] = 3;
    pod->anchor = (struct pod_anchor){
        .number = ANCHOR_SLOTS, /* the first of a half */
        .epoch = 1,
        .log_segment = SEGMENT_NONE,
        .log_next = SEGMENT_NONE,
        .next_group = 1, /* block id 0 means none */
        .next_page = 1,
        .next_image = 1,
    };
    memcpy(pod->anchor.pod, l->pods[0].id, 16);
}

static void not_blank(struct pod *pod)
{
    (void)ps_error_set(&pod->opening->local, PS_ENOTFOUND,
                       "%.120s holds something that is not a PStorage pool; it is left alone (to use the "
                       "device, %s)",
                       pod->dev->name,
                       pod->dev->geometry.zoned ? "reset all of its zones"
                                                : "overwrite its first MiB with zeroes");
    open_finish(pod, PS_ENOTFOUND);
}

void open_step_blank(struct pod *pod)
{
    struct open_state *o = pod->opening;
    if (pod->dev->geometry.size_bytes < DEVICE_MIN_SEGMENTS * (uint64_t)wanted_segment_bytes(pod)) {
        too_small(pod);
        return;
    }
    if (!open_want(o, 0, BLANK_BYTES))
        return;
    if (!all_zero(o->window, BLANK_BYTES)) {
        not_blank(pod);
        return;
    }
    if (o->format != POD_FORMAT_BLANK) {
        (void)ps_error_set(&o->local, PS_ENOTFOUND, "%.120s is blank: no PStorage pool is on it",
                           pod->dev->name);
        open_finish(pod, PS_ENOTFOUND);
        return;
    }
    o->step = OPEN_BLANK_ZONES;
    pod->again = true;
}

/* An anchor that a format wrote before it was interrupted. */
static bool is_left_by_format(const struct pod *pod, uint64_t at)
{
    struct pod_anchor anchor;
    return at == (2ull + anchor_half(ANCHOR_SLOTS)) * wanted_segment_bytes(pod) &&
           anchor_decode(pod->opening->window, &anchor, NULL) == 0;
}

/* Others begin to write in any zone: one that holds something is enough not to take the device. */
static bool zones_are_blank(struct pod *pod)
{
    struct open_state *o = pod->opening;
    const struct blkdev_geometry *g = &pod->dev->geometry;
    while (g->tells_blank && o->zone < g->size_bytes / g->erase_bytes) {
        const uint64_t at = (uint64_t)o->zone * g->erase_bytes;
        if (!open_want(o, at, ANCHOR_BYTES))
            return false;
        if (!all_zero(o->window, ANCHOR_BYTES) && !is_left_by_format(pod, at)) {
            not_blank(pod);
            return false;
        }
        o->zone++;
    }
    return true;
}

void open_step_format_begins(struct pod *pod)
{
    struct open_state *o = pod->opening;
    if (!zones_are_blank(pod))
        return;
    make_pool(pod);
    if (!use_label(pod))
        return;
    memset(o->window, 0, ANCHOR_BYTES);
    anchor_encode(&pod->anchor, o->window);
    o->step = OPEN_FORMAT_ANCHOR;
    pod->again = true;
}

/* Of both labels o->run are to be written; of a new pool the copy first, for the label in segment 0 is what
 * makes it one. True when they are. */
static bool put_labels(struct pod *pod, const struct pool_label *label)
{
    struct open_state *o = pod->opening;
    while (o->run > 0) {
        const uint32_t segment = label_segment(pod, (unsigned)o->run - 1);
        label_encode(label, o->window);
        if (!open_put(o, segment_addr(pod, segment), ANCHOR_BYTES))
            return false;
        o->run--;
        zones_abandon(pod, segment, ANCHOR_BYTES);
    }
    pod->label_at = 0;
    return true;
}

void open_step_format(struct pod *pod)
{
    struct open_state *o = pod->opening;
    if (o->step == OPEN_FORMAT_ANCHOR) {
        const uint32_t segment = pod->label.pods[0].anchor_segments[anchor_half(pod->anchor.number)];
        if (!open_put(o, segment_addr(pod, segment) + anchor_offset(pod->anchor.number), ANCHOR_BYTES))
            return;
        o->step = OPEN_FORMAT_LABEL;
        o->run = LABELS;
    }
    if (!put_labels(pod, &pod->label))
        return;
    o->step = OPEN_ANCHOR_FIRST;
    pod->again = true;
}

/* ---- growth

 * Behind the log, so that a pool that is full to its last segment opens once its device is larger. Labels are
 * written as anchor_write.c says. */

void open_step_grow(struct pod *pod)
{
    struct open_state *o = pod->opening;
    if (!o->growing && !pod->config.check_only && grow_fits(pod, &o->label)) {
        o->growing = true;
        o->run = LABELS;
    }
    if (o->growing) {
        if (!put_labels(pod, &o->label))
            return;
        grow_use(pod, &o->label);
    }
    o->growing = false;
    o->step = OPEN_CHECKPOINT;
    pod->again = true;
}
