/* Opening a pool: label, newest anchor, its runs, then the log from there on.
 *
 * A pod that stands alone applies each batch as it finds it. A replicated one walks the log twice: first to
 * its end, to learn from the batches' watermarks what is committed, then to apply that; what is left is its
 * uncommitted end.
 *
 * Ends with a checkpoint under a new run and log generation, so that an
 * uncommitted tail can never be taken for part of the log that follows. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "common/sizes.h"
#include "node/pod/pod_impl.h"

enum {
    WINDOW_BYTES = 2 * BATCH_MAX_BYTES,
    BLANK_BYTES = 1 << 20,
    DEVICE_MIN_SEGMENTS = 16,
};

enum open_step {
    OPEN_LABEL,
    OPEN_LABEL_COPY,
    OPEN_BLANK,
    OPEN_BLANK_ZONES,
    OPEN_FORMAT_ANCHOR,
    OPEN_FORMAT_LABEL,
    OPEN_ANCHOR_FIRST,
    OPEN_ANCHOR_SECOND,
    OPEN_ANCHOR_NEWER, /* is there one that was only read wrongly? */
    OPEN_RUN,
    OPEN_LOG,
    OPEN_AFTER_LOG, /* is there a later batch that proves damage? */
    OPEN_CHECKPOINT,
    OPEN_FAILED, /* told once nothing is under way any more: the pod may be ended at once then */
    OPEN_FINISHED,
};

struct open_state {
    struct pod *pod;
    enum open_step step;
    enum pod_format format;
    pod_open_cb cb;
    void *user;
    struct ps_error *err;
    struct ps_error local;
    int status;
    uint8_t *window;
    struct blkdev_req req;
    bool busy, have;            /* a read is under way; the window holds what the step asked for */
    uint64_t read_at, asked_at; /* asked_at: of what the window holds */
    uint32_t read_bytes, skip;
    bool blank;
    int label_status;
    struct ps_error label_error;
    uint32_t run, chunk;
    uint32_t zone; /* the next that is looked at */
    struct place next_chunk;
    uint32_t copy_segment; /* has it as well; 0: none */
    uint16_t way;          /* of reading it that is tried: twin_try */
    char trouble[128];     /* that the first way met */
    struct position at;    /* where the next batch is looked for */
    bool tried_next;
    uint32_t log_way,
        ways_tried;     /* how the log is read (blkdev_way), and in how many ways nothing followed */
    uint64_t window_at; /* device address of the window, and bytes in it */
    uint32_t window_bytes;
    uint64_t replayed;
    bool restarting;
    bool applying;           /* the walk applies what it finds */
    struct log_id walked;    /* the last batch that it found */
    struct log_id chain_end; /* of the walk that only looked */
    uint64_t committed;      /* as far as the log says */
    struct position probe;   /* OPEN_AFTER_LOG */
};

static void tell(struct pod *pod)
{
    struct open_state *o = pod->opening;
    const int status = o->status;
    o->step = OPEN_FINISHED;
    if (o->err)
        *o->err = o->local;
    if (o->err && status && !o->err->detail[0])
        (void)ps_error_set(o->err, status, "%s: %s", pod->dev->name, ps_status_text(status));
    if (status)
        pod->state = POD_CLOSED;
    o->cb(o->user, status, status ? NULL : pod);
}

/* Opening ends with `status`; the caller returns to the turn. */
static void finish(struct pod *pod, int status)
{
    pod->opening->status = status;
    pod->opening->step = OPEN_FAILED;
    pod->again = true;
    if (!status)
        tell(pod);
}

static void step_failed(struct pod *pod)
{
    if (pod->failed)
        checkpoint_turn(pod); /* one that waits for pages ends */
    restart_turn(pod);
    if (list_empty(&pod->active_loads) && pod->checkpoint.state == CHECKPOINT_IDLE &&
        !restart_holds_log(pod) && zones_are_quiet(pod))
        tell(pod);
}

static bool run_otherwise(struct open_state *o, const char *trouble);

static void read_done(struct blkdev_req *req, int status)
{
    struct open_state *o = container_of(req, struct open_state, req);
    if (status && blkdev_way_of(req->flags) && req->op == BLKDEV_READ && o->step != OPEN_LOG &&
        o->step != OPEN_RUN && blkdev_read_otherwise(o->pod->dev, req, read_done))
        return;
    o->busy = false;
    o->pod->again = true;
    if (status && o->step == OPEN_RUN && run_otherwise(o, "reading it failed"))
        return;
    /* A way that is not to be had gives nothing; what is told is that the first one was wrong. */
    if (status && req->op == BLKDEV_READ && blkdev_way_of(req->flags)) {
        memset(req->buf, 0, req->length);
    } else if (status) {
        (void)ps_error_set(&o->local, status, "%s: %s at byte %" PRIu64 " failed", o->pod->dev->name,
                           req->op == BLKDEV_READ ? "reading" : "writing", req->offset);
        finish(o->pod, status);
        return;
    }
    o->have = true;
}

/* True when `bytes` at `addr` are in the window from `skip` on; else they are on their way. */
static bool want_in_way(struct open_state *o, uint64_t addr, uint32_t bytes, uint32_t way)
{
    if (o->have && o->read_at == addr && o->read_bytes == bytes) {
        o->have = false;
        o->read_at = UINT64_MAX;
        return true;
    }
    if (o->busy)
        return false;
    const uint32_t unit = o->pod->dev->geometry.read_unit;
    const uint64_t from = addr / unit * unit;
    const uint64_t end = (addr + bytes + unit - 1) / unit * unit;
    o->skip = (uint32_t)(addr - from);
    assert(end - from <= WINDOW_BYTES);
    uint64_t length = end - from;
    if (length > o->pod->dev->geometry.max_io_bytes)
        length = o->pod->dev->geometry.max_io_bytes;
    o->read_at = o->asked_at = addr;
    o->read_bytes = bytes;
    o->have = false;
    o->busy = true;
    o->req = (struct blkdev_req){.op = BLKDEV_READ,
                                 .flags = blkdev_way(way),
                                 .offset = from,
                                 .length = (uint32_t)length,
                                 .buf = o->window};
    const int rc = blkdev_submit(o->pod->dev, &o->req, read_done);
    if (rc && way) { /* a way that is not to be had */
        memset(o->window, 0, length);
        o->busy = false;
        o->have = true;
        o->pod->again = true;
    } else if (rc) {
        o->busy = false;
        finish(o->pod, rc);
    }
    return false;
}

static bool want(struct open_state *o, uint64_t addr, uint32_t bytes)
{
    return want_in_way(o, addr, bytes, 0);
}

/* What the window holds is wrong. True: it is on its way in another one, and the step comes again. */
static bool otherwise(struct open_state *o)
{
    assert(!o->busy && !o->have);
    o->busy = true;
    o->read_at = o->asked_at;
    if (blkdev_read_otherwise(o->pod->dev, &o->req, read_done))
        return true;
    o->busy = false;
    o->read_at = UINT64_MAX;
    return false;
}

/* Writes the window's first `bytes`; true when done. */
static bool put(struct open_state *o, uint64_t addr, uint32_t bytes)
{
    if (o->have && o->read_at == addr) {
        o->have = false;
        o->read_at = UINT64_MAX;
        return true;
    }
    if (o->busy)
        return false;
    o->read_at = addr;
    o->busy = true;
    o->req = (struct blkdev_req){
        .op = BLKDEV_WRITE, .flags = BLKDEV_FUA, .offset = addr, .length = bytes, .buf = o->window};
    const int rc = zones_write(o->pod, &o->req, read_done);
    if (rc) {
        o->busy = false;
        finish(o->pod, rc);
    }
    return false;
}

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

static bool use_label(struct pod *pod)
{
    struct open_state *o = pod->opening;
    const struct pool_label *l = &pod->label;
    if (l->device_bytes > pod->dev->geometry.size_bytes) {
        (void)ps_error_set(&o->local, PS_EINVAL, "%s has %" PRIu64 " bytes, its pool was made with %" PRIu64,
                           pod->dev->name, pod->dev->geometry.size_bytes, l->device_bytes);
        finish(pod, PS_EINVAL);
        return false;
    }
    if (l->pod_count != 1) {
        (void)ps_error_set(&o->local, PS_EVERSION, "%s holds %u pods, this program opens pools of one",
                           pod->dev->name, l->pod_count);
        finish(pod, PS_EVERSION);
        return false;
    }
    if (pod->config.only_pod && memcmp(pod->config.only_pod, l->pods[0].id, 16)) {
        (void)ps_error_set(&o->local, PS_ENOTFOUND, "%.120s holds another pod: %02x%02x%02x%02x",
                           pod->dev->name, l->pods[0].id[0], l->pods[0].id[1], l->pods[0].id[2],
                           l->pods[0].id[3]);
        finish(pod, PS_ENOTFOUND);
        return false;
    }
    if (pod->dev->geometry.zoned && l->segment_bytes % pod->dev->geometry.erase_bytes) {
        (void)ps_error_set(&o->local, PS_EINVAL,
                           "%s has zones of %u KiB, segments of %u KiB are not whole ones", pod->dev->name,
                           pod->dev->geometry.erase_bytes >> 10, l->segment_bytes >> 10);
        finish(pod, PS_EINVAL);
        return false;
    }
    pod->segment_bytes = l->segment_bytes;
    pod->segment_count = l->segment_count;
    const uint32_t percent = pod->config.overprovision_percent ? pod->config.overprovision_percent : 3;
    const uint32_t kept = (uint32_t)((uint64_t)l->segment_count * percent / 100);
    pod->reserve_segments = kept > 8 ? kept : 8;
    memcpy(pod->name, l->pods[0].name, sizeof pod->name);
    pod->segments = segments_create(l->segment_count, l->segment_bytes, SYSTEM_SEGMENTS);
    log_read_segments(pod);
    return true;
}

static void too_small(struct pod *pod)
{
    char has[SIZE_TEXT_MAX], needs[SIZE_TEXT_MAX];
    (void)ps_error_set(&pod->opening->local, PS_EINVAL, "%s has %s; a pool needs at least %s", pod->dev->name,
                       size_format(pod->dev->geometry.size_bytes, has),
                       size_format(DEVICE_MIN_SEGMENTS * (uint64_t)wanted_segment_bytes(pod), needs));
    finish(pod, PS_EINVAL);
}

static void step_label(struct pod *pod)
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
    if (!want(o, copy ? wanted_segment_bytes(pod) : 0, ANCHOR_RING_BYTES))
        return;
    scan_labels(o, ANCHOR_RING_BYTES);
    if (o->label_status && otherwise(o))
        return;
    pod->again = true;
    if (o->label_status == 0) {
        if (use_label(pod))
            o->step = OPEN_ANCHOR_FIRST;
    } else if (!copy) {
        o->step = OPEN_LABEL_COPY;
    } else if (o->label_status != PS_ENOTFOUND) {
        (void)ps_error_set(&o->local, o->label_status, "%s: %s", pod->dev->name, o->label_error.detail);
        finish(pod, o->label_status);
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
        .segment_count = (uint32_t)(pod->dev->geometry.size_bytes / bytes),
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
    finish(pod, PS_ENOTFOUND);
}

static void step_blank(struct pod *pod)
{
    struct open_state *o = pod->opening;
    if (pod->dev->geometry.size_bytes < DEVICE_MIN_SEGMENTS * (uint64_t)wanted_segment_bytes(pod)) {
        too_small(pod);
        return;
    }
    if (!want(o, 0, BLANK_BYTES))
        return;
    if (!all_zero(o->window, BLANK_BYTES)) {
        not_blank(pod);
        return;
    }
    if (o->format != POD_FORMAT_BLANK) {
        (void)ps_error_set(&o->local, PS_ENOTFOUND, "%.120s is blank: no PStorage pool is on it",
                           pod->dev->name);
        finish(pod, PS_ENOTFOUND);
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
        if (!want(o, at, ANCHOR_BYTES))
            return false;
        if (!all_zero(o->window, ANCHOR_BYTES) && !is_left_by_format(pod, at)) {
            not_blank(pod);
            return false;
        }
        o->zone++;
    }
    return true;
}

static void step_format_begins(struct pod *pod)
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

static void step_format(struct pod *pod)
{
    struct open_state *o = pod->opening;
    if (o->step == OPEN_FORMAT_ANCHOR) {
        const uint32_t segment = pod->label.pods[0].anchor_segments[anchor_half(pod->anchor.number)];
        if (!put(o, segment_addr(pod, segment) + anchor_offset(pod->anchor.number), ANCHOR_BYTES))
            return;
        o->step = OPEN_FORMAT_LABEL;
        o->run = 2; /* the copy first: the label in segment 0 is what makes it a pool */
    }
    while (o->run > 0) {
        label_encode(&pod->label, o->window);
        if (!put(o, segment_addr(pod, o->run - 1), ANCHOR_BYTES))
            return;
        o->run--;
        zones_abandon(pod, (uint32_t)o->run, ANCHOR_BYTES);
    }
    o->step = OPEN_ANCHOR_FIRST;
    pod->again = true;
}

/* ---- anchors */

static bool log_place_is_sound(const struct pod *pod, uint32_t segment, uint32_t offset)
{
    return segment == SEGMENT_NONE || (segment >= SYSTEM_SEGMENTS && segment < pod->segment_count &&
                                       offset <= pod->segment_bytes && offset % BATCH_ALIGN == 0);
}

static void next_chunk(struct open_state *o, struct place place, uint32_t copy_segment)
{
    o->next_chunk = place;
    o->copy_segment = copy_segment;
    o->way = 0;
}

static void begin_run(struct pod *pod, uint32_t run)
{
    struct open_state *o = pod->opening;
    const struct pod_anchor *a = &pod->anchor;
    o->run = run;
    o->chunk = 0;
    if (run < a->run_count)
        next_chunk(o, a->runs[run].first,
                   restore_copy_segment(pod, a->runs[run].first, a->runs[run].copy_segment));
}

static void step_anchor(struct pod *pod)
{
    struct open_state *o = pod->opening;
    const bool second = o->step == OPEN_ANCHOR_SECOND;
    if (!second && o->read_at == UINT64_MAX)
        pod->anchor = (struct pod_anchor){0};
    if (!want(o, segment_addr(pod, pod->label.pods[0].anchor_segments[second]), ANCHOR_RING_BYTES))
        return;
    bool any = false;
    for (uint32_t at = 0; at < ANCHOR_RING_BYTES; at += ANCHOR_BYTES) {
        struct pod_anchor anchor;
        const int rc = anchor_decode(o->window + at, &anchor, &o->local);
        if (rc == PS_EVERSION) {
            finish(pod, rc);
            return;
        }
        if (rc || memcmp(anchor.pod, pod->label.pods[0].id, 16))
            continue;
        any = true;
        if (anchor.number > pod->anchor.number)
            pod->anchor = anchor;
    }
    o->local = (struct ps_error){0};
    if (!any && otherwise(o))
        return;
    pod->again = true;
    o->step = second ? OPEN_ANCHOR_NEWER : OPEN_ANCHOR_SECOND;
    o->run = 0;
}

static void use_anchor(struct pod *pod)
{
    struct open_state *o = pod->opening;
    if (pod->anchor.number == 0) {
        (void)ps_error_set(&o->local, PS_EDAMAGED, "%s: no sound anchor of its pod is left", pod->dev->name);
        finish(pod, PS_EDAMAGED);
        return;
    }
    /* Go on in the other half: a power cut may have spoilt the next place in this one. */
    pod->anchor.number = anchor_last_of_half(pod->anchor.number);
    const struct pod_anchor *a = &pod->anchor;
    if (a->protocol_bytes && !pod->config.log && !pod->config.check_only) {
        /* What is durable here need not be committed: alone, it would be applied all the same. */
        (void)ps_error_set(&o->local, PS_EPRECONDITION,
                           "%s holds a member of a replicated pod: it can't be opened alone "
                           "(PSTORAGE_CLUSTER_ENABLED)",
                           pod->dev->name);
        finish(pod, PS_EPRECONDITION);
        return;
    }
    if (!log_place_is_sound(pod, a->log_segment, a->log_offset) || !log_place_is_sound(pod, a->log_next, 0)) {
        (void)ps_error_set(&o->local, PS_EDAMAGED,
                           "%s: its anchor names a place of the log outside of the pool", pod->dev->name);
        finish(pod, PS_EDAMAGED);
        return;
    }
    pod->epoch = a->epoch;
    pod->run = a->run + 1;
    pod->generation = a->generation;
    pod->applied_seq = a->seq;
    pod->applied_hash = a->hash;
    pod->applied_epoch = a->log_epoch;
    pod->applied_run = a->log_run;
    pod->log_next = (struct log_ids){a->next_group, a->next_page, a->next_image};
    plan_from(pod, &pod->log_next);
    begin_run(pod, 0);
    o->step = OPEN_RUN;
}

/* The highest one counts, so one that is read wrongly would not be missed. Where the next one went is known:
 * behind it, or at the start of the other half. */
static void step_anchor_newer(struct pod *pod)
{
    struct open_state *o = pod->opening;
    const uint64_t last = pod->anchor.number;
    for (; pod->dev->geometry.ways && last && o->run < 2; o->run++) {
        const uint64_t number = (o->run ? anchor_last_of_half(last) : last) + 1;
        const uint32_t segment = pod->label.pods[0].anchor_segments[anchor_half(number)];
        struct pod_anchor anchor;
        if (!want(o, segment_addr(pod, segment) + anchor_offset(number), ANCHOR_BYTES))
            return;
        if (anchor_decode(o->window + o->skip, &anchor, NULL) == 0 && anchor.number == number &&
            memcmp(anchor.pod, pod->label.pods[0].id, 16) == 0) {
            pod->anchor = anchor;
            o->run = 0;
            pod->again = true;
            return;
        }
        if (otherwise(o))
            return;
    }
    pod->again = true;
    use_anchor(pod);
}

/* ---- runs */

/* What a run says beside pages, slots and images. */
static int restore_blob(void *user, uint8_t type, uint64_t id, const uint8_t *data, size_t bytes,
                        struct ps_error *err)
{
    struct pod *pod = user;
    switch (type) {
    case BLOB_COUNTERS:
        if (bytes % 8 || bytes < 24)
            return ps_error_set(err, PS_EDAMAGED, "counters of %zu bytes", bytes);
        for (size_t i = 0; i < COUNTERS && (i + 4) * 8 <= bytes; i++)
            pod->counters[i] = get_le64(data + 8 * i);
        pod->metadata_programmed = get_le64(data + bytes - 24);
        pod->host_read = get_le64(data + bytes - 16);
        pod->moved_programmed = get_le64(data + bytes - 8);
        pod->unique_blocks = id;
        return 0;
    case BLOB_OPERATION:
        if (bytes != 40)
            return ps_error_set(err, PS_EDAMAGED, "an operation of %zu bytes", bytes);
        operation_note(pod, data, -(int)(get_le64(data + 16) & 0xff), get_le64(data + 24),
                       get_le64(data + 32));
        return 0;
    default:
        return ps_error_set(err, PS_EVERSION, "a record of type %u, which this program does not know", type);
    }
}

/* What is in the log need not be committed. */
static bool may_end_uncommitted(const struct pod *pod)
{
    return pod_is_replicated(pod) || (pod->config.check_only && pod->anchor.protocol_bytes);
}

static void walk_log(struct pod *pod, bool applying)
{
    struct open_state *o = pod->opening;
    o->applying = applying;
    o->at = (struct position){pod->anchor.log_segment, pod->anchor.log_offset, pod->anchor.log_next};
    o->tried_next = false;
    o->log_way = o->ways_tried = 0;
    o->window_bytes = 0;
    pod_log_ends(pod, &o->walked, NULL);
    o->step = OPEN_LOG;
    pod->again = true;
}

static void runs_are_in(struct pod *pod)
{
    struct open_state *o = pod->opening;
    segments_restore_meta(pod->segments);
    zones_look(pod);
    for (size_t i = 0; i < pod->run_count; i++)
        for (size_t c = 0; c < pod->runs[i].count; c++)
            pod_place_ref(pod, pod->runs[i].chunks[c], +1);
    meta_restore_done(pod->meta);
    images_gone_clear(pod->images);
    pod->operations_cut = pod->operation_count;
    /* The generation changes with the first checkpoint. */
    pod->log_bytes = 0;
    o->committed = pod->applied_seq;
    walk_log(pod, !may_end_uncommitted(pod));
}

/* The chunk was bad: reads it in another way, if there is one left. */
static bool run_otherwise(struct open_state *o, const char *trouble)
{
    struct pod *pod = o->pod;
    if (!o->way)
        (void)snprintf(o->trouble, sizeof o->trouble, "%.*s", (int)sizeof o->trouble - 1, trouble);
    o->have = false;
    o->busy = twin_try(pod, &o->req, place_segment(pod, o->next_chunk), o->copy_segment, &o->way, read_done);
    o->read_at = place_addr(o->next_chunk);
    return o->busy;
}

static void step_run(struct pod *pod)
{
    struct open_state *o = pod->opening;
    const struct pod_anchor *a = &pod->anchor;
    if (o->run == a->run_count) {
        runs_are_in(pod);
        return;
    }
    if (!restore_place_is_sound(pod, o->next_chunk)) {
        (void)ps_error_set(&o->local, PS_EDAMAGED, "%s: a checkpoint run lies outside of the pool",
                           pod->dev->name);
        finish(pod, PS_EDAMAGED);
        return;
    }
    if (!want(o, place_addr(o->next_chunk), place_len(o->next_chunk)))
        return;
    struct restore to = {.pod = pod,
                         .meta = pod->meta,
                         .images = pod->images,
                         .segments = pod->segments,
                         .blob = restore_blob,
                         .user = pod};
    const struct place place = o->next_chunk;
    const uint64_t seq = a->runs[o->run].seq;
    struct place next = PLACE_NONE;
    const int rc = restore_chunk(&to, o->window + o->skip, place_len(place), seq, o->chunk, &next, &o->local);
    if (rc == PS_EDAMAGED && !to.impossible && run_otherwise(o, o->local.detail))
        return;
    if (rc) {
        if (o->way > 1) /* what is wrong with the record itself, not with the last other way to read it */
            (void)ps_error_set(&o->local, rc, "%s", o->trouble);
        finish(pod, rc);
        return;
    }
    o->local = (struct ps_error){0};
    if (o->way)
        twin_helped_chunk(pod, seq, o->chunk, place, &o->req, o->trouble);
    if (o->chunk == 0)
        pod->runs[pod->run_count++] = (struct run_places){.seq = seq, .bytes = a->runs[o->run].bytes};
    run_places_add(&pod->runs[pod->run_count - 1], place);
    /* What the last cut's own metadata went into may be missing in what it says of segments. */
    if (o->run + 1 == a->run_count && o->copy_segment)
        (void)segments_adopt_twins(pod->segments, place_segment(pod, place), o->copy_segment);
    if (place_is_none(next)) {
        begin_run(pod, o->run + 1);
    } else {
        next_chunk(o, next, restore_next_copy(pod, o->window + o->skip, next));
        o->chunk++;
    }
    pod->again = true;
}

/* ---- log */

/* The batch that would follow, if it begins at `at`: its bytes in *batch. 1: they are being read. */
static int batch_at(struct pod *pod, struct position at, struct batch_header *h, const uint8_t **batch)
{
    struct open_state *o = pod->opening;
    if (at.segment == SEGMENT_NONE || at.offset + BATCH_ALIGN > pod->segment_bytes)
        return PS_ENOTFOUND;
    const uint64_t addr = segment_addr(pod, at.segment) + at.offset;
    const uint64_t segment_end = segment_addr(pod, at.segment) + pod->segment_bytes;
    const bool inside = addr >= o->window_at && addr < o->window_at + o->window_bytes;
    if (inside) {
        const uint8_t *p = o->window + (addr - o->window_at);
        const size_t available = (size_t)(o->window_at + o->window_bytes - addr);
        const int rc = batch_peek(p, available, h);
        if (rc)
            return rc;
        if (h->total_bytes <= available || o->window_at + o->window_bytes == segment_end) {
            *batch = p;
            return batch_parse(p, available, h);
        }
    }
    /* In another way a batch alone: its header, then all of it. */
    uint32_t bytes = WINDOW_BYTES;
    if (o->log_way)
        bytes = inside ? h->total_bytes : o->read_at == addr ? o->read_bytes : BATCH_ALIGN;
    if (bytes > pod->dev->geometry.max_io_bytes)
        bytes = pod->dev->geometry.max_io_bytes;
    if (bytes > segment_end - addr)
        bytes = (uint32_t)(segment_end - addr);
    o->window_bytes = 0;
    if (!want_in_way(o, addr, bytes, o->log_way))
        return 1;
    o->window_at = addr;
    o->window_bytes = bytes;
    return batch_at(pod, at, h, batch);
}

static bool follows(const struct pod *pod, const struct batch_header *h)
{
    const struct log_id *last = &pod->opening->walked;
    return h->seq == last->seq + 1 && h->previous == last->hash && h->generation == pod->generation &&
           h->pod == get_le64(pod->anchor.pod);
}

static bool is_second_walk(const struct pod *pod)
{
    return may_end_uncommitted(pod) && pod->opening->applying;
}

/* Nothing follows as the log was read. Whatever follows in another way is the next batch: it says so. */
static bool try_log_otherwise(struct pod *pod)
{
    struct open_state *o = pod->opening;
    const uint32_t ways = pod->dev->geometry.ways;
    if (o->ways_tried == ways) {
        o->log_way = o->ways_tried = 0;
        return false;
    }
    o->ways_tried++;
    o->log_way = (o->log_way + 1) % (ways + 1);
    o->tried_next = false;
    o->window_bytes = 0;
    pod->again = true;
    return true;
}

static void log_ends(struct pod *pod)
{
    struct open_state *o = pod->opening;
    if (try_log_otherwise(pod))
        return;
    if (is_second_walk(pod)) {
        (void)ps_error_set(&o->local, PS_EDAMAGED, "%s: batch %" PRIu64 " of the log cannot be read again",
                           pod->dev->name, o->walked.seq + 1);
        finish(pod, PS_EDAMAGED);
        return;
    }
    o->window_bytes = 0;
    o->probe = (struct position){o->at.segment, o->at.offset, o->at.next};
    o->step = OPEN_AFTER_LOG;
    pod->again = true;
}

static void step_log(struct pod *pod)
{
    struct open_state *o = pod->opening;
    struct batch_header h;
    const uint8_t *batch = NULL;
    if (is_second_walk(pod) && (pod->applied_seq == o->committed || pod->applied_seq == o->chain_end.seq)) {
        o->step = OPEN_CHECKPOINT;
        pod->again = true;
        return;
    }
    struct position at = o->tried_next ? (struct position){o->at.next, 0, SEGMENT_NONE} : o->at;
    const int rc = batch_at(pod, at, &h, &batch);
    if (rc == 1 || o->step != OPEN_LOG)
        return;
    if (rc || !follows(pod, &h)) {
        pod->again = true;
        if (o->tried_next || o->at.next == SEGMENT_NONE)
            log_ends(pod);
        else
            o->tried_next = true;
        return;
    }
    o->ways_tried = 0;
    if (o->applying && !apply_ready(pod, &h, batch)) {
        const bool bad = load_missing(pod);
        if (bad && !pod->config.check_only) {
            (void)ps_error_set(&o->local, PS_EDATALOSS, "%s: a metadata page that the log changes is damaged",
                               pod->dev->name);
            finish(pod, PS_EDATALOSS);
        }
        /* Again when the pages are there; a check goes on without those that can't be had, and tells of them.
         */
        if (!bad || !pod->config.check_only || !list_empty(&pod->active_loads))
            return;
    }
    if (at.segment < SYSTEM_SEGMENTS || at.segment >= pod->segment_count ||
        !segments_adopt(pod->segments, at.segment, SEGMENT_LOG) ||
        (h.next_segment != SEGMENT_NONE && h.next_segment >= pod->segment_count)) {
        (void)ps_error_set(&o->local, PS_EDAMAGED, "%s: the log goes on in segment %u, which is in other use",
                           pod->dev->name, at.segment);
        finish(pod, PS_EDAMAGED);
        return;
    }
    if (o->applying) {
        const int applied = apply_batch(pod, &h, batch, segment_addr(pod, at.segment) + at.offset, &o->local);
        if (applied) {
            finish(pod, applied);
            return;
        }
        segments_seal(pod->segments, at.segment, h.seq);
        o->replayed++;
    } else {
        log_note(pod, &h, at.segment, at.offset);
        if (o->committed < h.watermark)
            o->committed = h.watermark;
    }
    o->walked = (struct log_id){h.epoch, h.run, h.seq, h.checksum};
    o->tried_next = false;
    o->at = (struct position){at.segment, at.offset + h.total_bytes, h.next_segment};
    pod->again = true;
}

static void after_log(struct pod *pod)
{
    struct open_state *o = pod->opening;
    o->chain_end = o->walked;
    if (may_end_uncommitted(pod)) {
        walk_log(pod, true);
        return;
    }
    o->step = OPEN_CHECKPOINT;
    pod->again = true;
}

/* A batch further on that was written when one that is missing here was durable
 * proves that this is damage, not the torn end of the log. */
static void step_after_log(struct pod *pod)
{
    struct open_state *o = pod->opening;
    for (int blocks = 0; blocks < 512; blocks++) {
        struct batch_header h;
        const uint8_t *batch = NULL;
        if (o->probe.segment == SEGMENT_NONE || o->probe.offset + BATCH_ALIGN > pod->segment_bytes) {
            if (o->probe.next == SEGMENT_NONE) {
                after_log(pod);
                return;
            }
            o->probe = (struct position){o->probe.next, 0, SEGMENT_NONE};
            continue;
        }
        const int rc = batch_at(pod, o->probe, &h, &batch);
        if (rc == 1 || o->step != OPEN_AFTER_LOG)
            return;
        if (rc == 0 && h.generation == pod->generation && h.pod == get_le64(pod->anchor.pod) &&
            h.seq > o->walked.seq && h.floor > o->walked.seq) {
            (void)ps_error_set(&o->local, PS_EDATALOSS,
                               "%s: batch %" PRIu64 " of the log is damaged in segment %u; batch %" PRIu64
                               " says that it was durable",
                               pod->dev->name, o->walked.seq + 1, o->at.segment, h.seq);
            finish(pod, PS_EDATALOSS);
            return;
        }
        o->probe.offset += BATCH_ALIGN;
    }
    pod->again = true;
}

/* ---- */

static void step_checkpoint(struct pod *pod)
{
    struct open_state *o = pod->opening;
    if (pod->config.check_only) {
        pod->state = POD_CHECKED;
        finish(pod, 0);
        return;
    }
    if (!o->restarting) {
        o->restarting = true;
        pod->sealed_seq = o->chain_end.seq;
        pod->sealed_hash = o->chain_end.hash;
        pod->sealed_epoch = o->chain_end.epoch;
        pod->durable = o->chain_end;
        if (pod_is_replicated(pod))
            pod->commit_seq = o->committed;
        restart_begin(pod, pod->sealed_seq, NULL, NULL);
    }
    restart_turn(pod);
    if (pod->failed) {
        (void)ps_error_set(&o->local, PS_EIO, "%s: %s", pod->dev->name, pod->failure);
        finish(pod, PS_EIO);
        return;
    }
    if (restart_holds_log(pod))
        return;
    if (pod->restart.status) {
        (void)ps_error_set(&o->local, PS_EFULL, "%s: no segment is free for the log", pod->dev->name);
        finish(pod, PS_EFULL);
        return;
    }
    pod->state = POD_SERVING;
    collect_start(pod);
    index_load_start(pod);
    pod_event(pod, "pod.opened", 0, "run %" PRIu64 ", %" PRIu64 " batches replayed, log at %" PRIu64,
              pod->run, o->replayed, pod->applied_seq);
    finish(pod, 0);
}

void open_turn(struct pod *pod)
{
    struct open_state *o = pod->opening;
    if (o->busy)
        return;
    switch (o->step) {
    case OPEN_LABEL:
    case OPEN_LABEL_COPY:
        step_label(pod);
        break;
    case OPEN_BLANK:
        step_blank(pod);
        break;
    case OPEN_BLANK_ZONES:
        step_format_begins(pod);
        break;
    case OPEN_FORMAT_ANCHOR:
    case OPEN_FORMAT_LABEL:
        step_format(pod);
        break;
    case OPEN_ANCHOR_FIRST:
    case OPEN_ANCHOR_SECOND:
        step_anchor(pod);
        break;
    case OPEN_ANCHOR_NEWER:
        step_anchor_newer(pod);
        break;
    case OPEN_RUN:
        step_run(pod);
        break;
    case OPEN_LOG:
        step_log(pod);
        break;
    case OPEN_AFTER_LOG:
        step_after_log(pod);
        break;
    case OPEN_CHECKPOINT:
        step_checkpoint(pod);
        break;
    case OPEN_FAILED:
        step_failed(pod);
        break;
    case OPEN_FINISHED:
        break;
    }
}

void open_begin(struct pod *pod, enum pod_format format, pod_open_cb cb, void *user, struct ps_error *err)
{
    struct open_state *o = calloc(1, sizeof *o);
    assert(o);
    o->pod = pod;
    o->format = format;
    o->cb = cb;
    o->user = user;
    o->err = err;
    o->label_status = PS_ENOTFOUND;
    o->read_at = UINT64_MAX;
    o->window = aligned_alloc(BLKDEV_ALIGN, WINDOW_BYTES);
    assert(o->window);
    pod->opening = o;
    pod->again = true;
}

void open_free(struct pod *pod)
{
    if (!pod->opening)
        return;
    free(pod->opening->window);
    free(pod->opening);
    pod->opening = NULL;
}
