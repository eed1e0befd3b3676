/* What a device tells of its parts: their wear, which it has retired, which are absent. And writing to a
 * zoned one: what begins a segment finds it erased.
 *
 * Free segments are erased ahead, some at a time, so that the log need not wait. A write at the start of a
 * segment that is not known to be erased waits for its erase, and so does what follows it into the segment. A
 * free segment whose erase fails is retired: the pool has one less. Segments may be erased at any time while
 * they are free: nothing refers to them. On other devices there are no erases. */
#include <stdlib.h>

#include "node/pod/pod_impl.h"

enum {
    ERASED_AHEAD = 6, /* free segments: the log's next one, a checkpoint's two, and as many to spare */
};

static uint32_t segment_of(const struct pod *pod, const struct blkdev_req *req)
{
    return (uint32_t)(req->offset / pod->segment_bytes);
}

void zones_init(struct pod *pod)
{
    struct zones *z = &pod->zones;
    z->waiting = NULL;
    z->last = &z->waiting;
    z->segment = SEGMENT_NONE;
    z->refused = 0;
    z->pod = pod;
}

/* A segment is as worn as its most worn zone, and retired with any of them. */
static struct blkdev_wear look_at(struct pod *pod, uint32_t segment)
{
    const uint32_t zone = pod->dev->geometry.erase_bytes;
    struct blkdev_wear all = {0};
    for (uint32_t at = 0; at < pod->segment_bytes; at += zone) {
        struct blkdev_wear wear;
        if (!blkdev_wear(pod->dev, segment_addr(pod, segment) + at, &wear))
            break;
        all.pe_cycles = wear.pe_cycles > all.pe_cycles ? wear.pe_cycles : all.pe_cycles;
        all.retired |= wear.retired;
    }
    segments_set_wear(pod->segments, segment, all.pe_cycles);
    return all;
}

static bool is_absent(const struct pod *pod, uint32_t segment)
{
    return segment >= SYSTEM_SEGMENTS &&
           blkdev_absent(pod->dev, segment_addr(pod, segment), pod->segment_bytes);
}

static void look_for_wear(struct pod *pod, uint32_t segment)
{
    if (pod->dev->geometry.zoned && look_at(pod, segment).retired &&
        segments_state(pod->segments, segment) == SEGMENT_FREE)
        segments_retire(pod->segments, segment);
}

void zones_look(struct pod *pod, uint32_t from)
{
    for (uint32_t i = from; i < pod->segment_count; i++) {
        segments_set_absent(pod->segments, i, is_absent(pod, i));
        if (!segments_is_absent(pod->segments, i))
            look_for_wear(pod, i);
    }
}

bool zones_look_for_absent(struct pod *pod)
{
    bool changed = false;
    for (uint32_t i = SYSTEM_SEGMENTS; i < pod->segment_count; i++) {
        const bool absent = is_absent(pod, i);
        if (absent == segments_is_absent(pod->segments, i))
            continue;
        changed = true;
        segments_set_absent(pod->segments, i, absent);
        segments_set_erased(pod->segments, i, false);
        if (!absent)
            look_for_wear(pod, i);
    }
    return changed;
}

void zones_unbar(struct pod *pod, uint32_t segment)
{
    segments_unbar(pod->segments, segment);
    if (!segments_is_absent(pod->segments, segment))
        look_for_wear(pod, segment);
}

bool zones_are_quiet(const struct pod *pod)
{
    return !pod->zones.waiting && pod->zones.segment == SEGMENT_NONE;
}

/* ---- writes */

static bool waits_for(const struct zones *z, uint32_t segment)
{
    for (const struct blkdev_req *req = z->waiting; req; req = req->next)
        if (segment_of(z->pod, req) == segment)
            return true;
    return z->segment == segment;
}

static int submit(struct pod *pod, struct blkdev_req *req, blkdev_cb cb)
{
    if (req->offset % pod->segment_bytes == 0)
        segments_set_erased(pod->segments, segment_of(pod, req), false);
    return blkdev_submit(pod->dev, req, cb);
}

static void erase_next(struct pod *pod);

int zones_write(struct pod *pod, struct blkdev_req *req, blkdev_cb cb)
{
    struct zones *z = &pod->zones;
    if (!pod->dev->geometry.zoned || req->op != BLKDEV_WRITE)
        return blkdev_submit(pod->dev, req, cb);
    const uint32_t segment = segment_of(pod, req);
    const bool begins = req->offset % pod->segment_bytes == 0;
    if (!waits_for(z, segment) && (!begins || segments_is_erased(pod->segments, segment)))
        return submit(pod, req, cb);
    req->cb = cb;
    req->next = NULL;
    *z->last = req;
    z->last = &req->next;
    erase_next(pod);
    return 0;
}

/* The first one that waits for the segment, taken out; NULL: none does. */
static struct blkdev_req *take_waiting(struct zones *z, uint32_t segment)
{
    for (struct blkdev_req **at = &z->waiting; *at; at = &(*at)->next) {
        struct blkdev_req *req = *at;
        if (segment_of(z->pod, req) != segment)
            continue;
        *at = req->next;
        if (!*at)
            z->last = at;
        return req;
    }
    return NULL;
}

static void let_go(struct pod *pod, uint32_t segment, int status)
{
    for (struct blkdev_req *req; (req = take_waiting(&pod->zones, segment));) {
        const int rc = status ? status : submit(pod, req, req->cb);
        if (rc)
            req->cb(req, rc);
    }
}

/* ---- ends */

void zones_end(struct pod *pod, uint32_t segment, uint32_t end)
{
    const uint32_t zone = pod->dev->geometry.erase_bytes;
    if (pod->dev->geometry.zoned && end % zone)
        blkdev_finish(pod->dev, segment_addr(pod, segment) + end / zone * zone, end % zone);
}

void zones_seal(struct pod *pod, uint32_t segment, uint32_t end, uint64_t last_seq)
{
    const uint32_t twin = segments_twin(pod->segments, segment);
    segments_seal(pod->segments, segment, last_seq);
    zones_end(pod, segment, end);
    if (twin)
        zones_end(pod, twin, end);
}

void zones_abandon(struct pod *pod, uint32_t segment, uint32_t end)
{
    const uint32_t zone = pod->dev->geometry.erase_bytes;
    if (!pod->dev->geometry.zoned || pod->config.check_only)
        return;
    for (uint32_t at = 0; at < end; at += zone)
        blkdev_finish(pod->dev, segment_addr(pod, segment) + at, 0);
}

/* ---- erases */

static void erased(struct blkdev_req *req, int status)
{
    struct zones *z = container_of(req, struct zones, req);
    struct pod *pod = z->pod;
    const uint32_t segment = z->segment;
    z->segment = SEGMENT_NONE;
    pod->again = true;
    (void)look_at(pod, segment);
    if (status == 0) {
        segments_set_erased(pod->segments, segment, true);
    } else if (segments_state(pod->segments, segment) == SEGMENT_FREE) {
        segments_retire(pod->segments, segment);
        pod_event(pod, "segment.retired", 0,
                  "%s: segment %u cannot be erased any more: the pool is smaller by %u KiB", pod->dev->name,
                  segment, pod->segment_bytes >> 10);
    }
    let_go(pod, segment, status);
    erase_next(pod);
}

static void erase(struct pod *pod, uint32_t segment)
{
    struct zones *z = &pod->zones;
    z->segment = segment;
    z->req = (struct blkdev_req){
        .op = BLKDEV_ERASE, .offset = segment_addr(pod, segment), .length = pod->segment_bytes};
    const int rc = blkdev_submit(pod->dev, &z->req, erased);
    if (!rc)
        return;
    z->segment = SEGMENT_NONE;
    z->refused = rc;
    pod_fail(pod, "the device refused an erase: %s", ps_status_text(rc));
    pod->again = true;
}

/* For a write that waits. */
static void erase_next(struct pod *pod)
{
    if (pod->zones.segment == SEGMENT_NONE && pod->zones.waiting && !pod->zones.refused)
        erase(pod, segment_of(pod, pod->zones.waiting));
}

void zones_deliver(struct pod *pod)
{
    struct zones *z = &pod->zones;
    const int status = z->refused;
    z->refused = 0;
    while (status && z->waiting)
        let_go(pod, segment_of(pod, z->waiting), status);
}

static uint32_t to_erase(const struct pod *pod)
{
    return pod->dev->geometry.zoned && !pod->failed ? segments_to_erase(pod->segments, ERASED_AHEAD)
                                                    : SEGMENT_NONE;
}

bool zones_are_ready(struct pod *pod)
{
    const uint32_t segment = zones_are_quiet(pod) ? to_erase(pod) : SEGMENT_NONE;
    if (segment != SEGMENT_NONE)
        erase(pod, segment);
    return zones_are_quiet(pod);
}

bool zones_erase(struct pod *pod, uint32_t segment)
{
    if (!pod->dev->geometry.zoned || segments_is_erased(pod->segments, segment))
        return true;
    if (zones_are_quiet(pod))
        erase(pod, segment);
    return false;
}

void zones_turn(struct pod *pod)
{
    if (pod->state == POD_SERVING)
        (void)zones_are_ready(pod);
}
