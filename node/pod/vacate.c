/* A part of the device is emptied while hosts go on, so that it can be taken away.
 *
 * Its segments are barred: nothing new goes there, and each is retired as soon as it comes free. What brings
 * that about is what does so anyway: collection moves records (collect.c chooses barred segments when it has
 * nothing more urgent), checkpoints merge pages and supersede runs, log is dead behind a checkpoint, and
 * given up if it was kept for others. The log is led out by a restart, like an opening's. All of it is in
 * memory: after a crash the segments are as any others.
 *
 * It is done when all are retired, the anchor does not name one as the place where the log goes on, and no
 * request is under way there. An opening does not look there then. */
#include "common/sizes.h"
#include "node/pod/collect.h"

enum {
    LOOK_NS = 1000000,
    LOOK_SEGMENT_NS = 100, /* the more there are, the less often */
    IN_VAIN_MOST = 16,
    SPARE_SEGMENTS = 6, /* that are being filled: of the log, of collection, of metadata */
    BEGIN_SEGMENTS = 2, /* of a checkpoint's metadata, each with its twin */
    DENSE_MOST = 16,    /* collection leaves a segment of which one part in so many is dead */
};

/* ---- begin */

static bool is_asked(const struct pod *pod, uint32_t segment)
{
    return pod->vacate.leaves(pod->vacate.user, segment_addr(pod, segment), pod->segment_bytes);
}

static void bar_all(struct pod *pod)
{
    for (uint32_t i = SYSTEM_SEGMENTS; i < pod->segment_count; i++)
        if (!segments_is_barred(pod->segments, i) && is_asked(pod, i))
            segments_bar(pod->segments, i);
    pod->vacate.look_ns = 0;
    pod->vacate.in_vain = 0;
    pod->vacate.waiting = 0;
    pod_size_reserve(pod);
}

static void unbar_all(struct pod *pod)
{
    for (uint32_t i = SYSTEM_SEGMENTS; i < pod->segment_count; i++)
        if (segments_is_barred(pod->segments, i))
            zones_unbar(pod, i);
    pod_size_reserve(pod);
}

/* Do what is stored, what is being filled and the room to collect in fit the rest? */
static int check_room(struct pod *pod, uint32_t leaving, struct ps_error *err)
{
    struct segments_stats s;
    segments_stats(pod->segments, &s);
    const uint32_t usable = s.count - s.system - s.retired;
    const uint64_t stored = s.live_log + s.live_moved + s.live_meta;
    const uint64_t needed =
        (stored + stored / DENSE_MOST + pod->segment_bytes - 1) / pod->segment_bytes + SPARE_SEGMENTS;
    const struct collect_levels levels =
        collect_levels_for(usable - leaving, pod->reserve_segments, COLLECT_THRESHOLD);
    if (needed + levels.low <= usable - leaving)
        return 0;
    char has[SIZE_TEXT_MAX], needs[SIZE_TEXT_MAX], rest[SIZE_TEXT_MAX];
    return ps_error_set(err, PS_EFULL, "the pool stores %s and needs %s with its reserve; %s would be left",
                        size_format_human(stored, has),
                        size_format_human((needed + levels.low) * pod->segment_bytes, needs),
                        size_format_human((uint64_t)(usable - leaving) * pod->segment_bytes, rest));
}

static int check(struct pod *pod, struct ps_error *err)
{
    uint32_t leaving = 0;
    for (uint32_t i = 0; i < pod->segment_count; i++) {
        if (!is_asked(pod, i))
            continue;
        if (i < SYSTEM_SEGMENTS)
            return ps_error_set(err, PS_EINVAL,
                                "the pool's label and anchors lie there, in its first %d segments",
                                SYSTEM_SEGMENTS);
        leaving += segments_state(pod->segments, i) != SEGMENT_RETIRED;
    }
    pod->vacate.waiting = leaving;
    return check_room(pod, leaving, err);
}

/* Garbage in the rest is room when a checkpoint has freed it, and that needs some itself. */
static bool may_begin(const struct pod *pod)
{
    uint32_t free = 0;
    for (uint32_t i = SYSTEM_SEGMENTS; i < pod->segment_count && free < BEGIN_SEGMENTS; i++)
        free += segments_state(pod->segments, i) == SEGMENT_FREE && !is_asked(pod, i);
    return free == BEGIN_SEGMENTS || pod->stats.checkpoints != pod->vacate.checkpoints;
}

static void try_to_begin(struct pod *pod)
{
    if (may_begin(pod)) {
        bar_all(pod);
    } else if (!checkpoint_busy(pod)) {
        pod->checkpoint.wanted = true;
        pod->again = true;
    }
}

int pod_vacate(struct pod *pod, bool (*leaves)(void *user, uint64_t offset, uint64_t length),
               void (*cb)(void *user, int status), void *user, struct ps_error *err)
{
    struct vacate *v = &pod->vacate;
    if (pod->failed && pod->state == POD_SERVING)
        return ps_error_set(err, PS_EIO, "the pod failed: %s", pod->failure);
    if (pod->state != POD_SERVING)
        return ps_error_set(err, PS_EUNAVAILABLE, "the pod is being opened, filled or closed");
    if (v->state != VACATE_NONE || pod->vacate_end.cb)
        return ps_error_set(err, PS_EPRECONDITION, "another part of the device is being taken away");
    *v = (struct vacate){.leaves = leaves, .cb = cb, .user = user};
    const int rc = check(pod, err);
    if (rc)
        return rc;
    v->state = VACATE_RUNNING;
    v->checkpoints = pod->stats.checkpoints;
    try_to_begin(pod);
    return 0;
}

void vacate_again(struct pod *pod)
{
    if (pod->vacate.state != VACATE_NONE)
        bar_all(pod);
}

/* ---- end */

static void tell(struct pod *pod, int status)
{
    struct vacate *v = &pod->vacate;
    pod->vacate_end = (struct resize_end){.cb = v->cb, .user = v->user, .status = status};
    v->cb = NULL;
    pod->again = true;
}

void vacate_end(struct pod *pod, int status)
{
    struct vacate *v = &pod->vacate;
    if (v->state == VACATE_RUNNING)
        tell(pod, status);
    if (pod->segments && v->state != VACATE_NONE)
        unbar_all(pod);
    v->state = VACATE_NONE;
}

void pod_vacate_stop(struct pod *pod)
{
    if (pod->vacate.state == VACATE_DONE && pod->vacate_end.cb)
        pod->vacate_end.status = PS_ECANCELLED;
    if (pod->vacate.state == VACATE_DONE && pod->segments)
        (void)zones_look_for_absent(pod);
    vacate_end(pod, PS_ECANCELLED);
}

bool vacate_gives_way(struct pod *pod)
{
    if (pod->vacate.state != VACATE_RUNNING)
        return false;
    pod_event(pod, "pool.vacate_ended", 0, "%s: hosts need the room of what was to be taken away",
              pod->dev->name);
    vacate_end(pod, PS_EFULL);
    return true;
}

uint64_t pod_vacate_left(const struct pod *pod)
{
    if (pod->vacate.state != VACATE_RUNNING || !pod->segments)
        return 0;
    const uint32_t left = pod->vacate.waiting + segments_barred(pod->segments);
    return (uint64_t)(left ? left : 1) * pod->segment_bytes;
}

/* ---- the way */

bool vacate_wants(const struct pod *pod, uint32_t segment)
{
    const uint32_t twin = segments_twin(pod->segments, segment);
    return segments_is_barred(pod->segments, segment) || (twin && segments_is_barred(pod->segments, twin));
}

static bool is_barred(const struct pod *pod, uint32_t segment)
{
    return segment != SEGMENT_NONE && segments_is_barred(pod->segments, segment);
}

static void log_led_out(void *user, int status)
{
    struct pod *pod = user;
    (void)status; /* without room it is tried again, or all of it ends */
    pod->vacate.logging = false;
}

static void lead_log_out(struct pod *pod)
{
    struct vacate *v = &pod->vacate;
    if (v->logging || restart_holds_log(pod) || checkpoint_busy(pod) ||
        (!is_barred(pod, pod->tail.segment) && !is_barred(pod, pod->tail.next)))
        return;
    v->logging = true;
    restart_whole(pod, log_led_out, pod);
}

static bool anchor_leads_there(const struct pod *pod)
{
    return is_barred(pod, pod->anchor.log_segment) || is_barred(pod, pod->anchor.log_next);
}

static bool is_done(const struct pod *pod, const struct segments_barred_look *look)
{
    return segments_barred(pod->segments) == 0 && look->pinned == 0 && !anchor_leads_there(pod) &&
           !is_barred(pod, pod->zones.segment) && !restart_holds_log(pod) &&
           pod->checkpoint.state == CHECKPOINT_IDLE;
}

/* A page that cannot be read is not merged. */
static bool metadata_stays(struct pod *pod, const struct segments_barred_look *look)
{
    struct vacate *v = &pod->vacate;
    if (v->checkpoints == pod->stats.checkpoints)
        return false;
    v->checkpoints = pod->stats.checkpoints;
    v->in_vain = look->live_meta && look->live_meta >= v->live_meta ? v->in_vain + 1 : 0;
    v->live_meta = look->live_meta;
    return v->in_vain >= IN_VAIN_MOST;
}

static void lost(struct pod *pod, const char *what)
{
    pod_event(pod, "pool.vacate_ended", 0, "%s: %s in what was to be taken away cannot be read: it stays",
              pod->dev->name, what);
    vacate_end(pod, PS_EDATALOSS);
}

void vacate_turn(struct pod *pod)
{
    struct vacate *v = &pod->vacate;
    struct segments_barred_look look;
    if (v->state != VACATE_RUNNING || pod->state != POD_SERVING)
        return;
    if (pod->failed) {
        vacate_end(pod, PS_EIO);
        return;
    }
    if (v->waiting)
        try_to_begin(pod);
    if (v->waiting)
        return;
    collect_leave(pod);
    lead_log_out(pod);
    if (pod->now_ns < v->look_ns)
        return;
    v->look_ns = pod->now_ns + LOOK_NS + (uint64_t)pod->segment_count * LOOK_SEGMENT_NS;
    log_retain_trim(pod);
    segments_look_barred(pod->segments, pod->anchor.seq, &look);
    if (is_done(pod, &look)) {
        v->state = VACATE_DONE;
        pod_event(pod, "pool.vacated", 0, "%s: nothing lies in what is to be taken away", pod->dev->name);
        tell(pod, 0);
    } else if (metadata_stays(pod, &look)) {
        lost(pod, "metadata");
    } else if (look.stuck && !look.movable && !pod->repairing) {
        lost(pod, "data");
    } else if (collect_is_at_an_end(pod)) {
        (void)vacate_gives_way(pod);
    } else if (!checkpoint_busy(pod) &&
               (look.live_meta || look.dead || look.behind || anchor_leads_there(pod))) {
        pod->checkpoint.wanted = true;
        pod->again = true;
    }
}

uint64_t vacate_next_ns(const struct pod *pod)
{
    return pod->vacate.state == VACATE_RUNNING && !pod->vacate.waiting && pod->state == POD_SERVING &&
                   !pod->failed
               ? pod->vacate.look_ns
               : UINT64_MAX;
}
