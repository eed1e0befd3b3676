#include "tests/support/rig_resize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first */
#include <cmocka.h>

#include "node/pod/pod_impl.h"

enum {
    SHOWN_LEAST = 64, /* segments */
    STEP_MOST = 24,
    LEAVING_MOST = 40,
};

static uint64_t pick(struct rig_resize *r, uint64_t n)
{
    return prng_below(&r->prng, n);
}

void rig_resize_init(struct rig_resize *r, struct rig *rig, uint64_t seed)
{
    *r = (struct rig_resize){.rig = rig, .size_bytes = rig->dev->geometry.size_bytes};
    prng_seed(&r->prng, seed);
    const uint64_t most = r->size_bytes / rig->config.segment_bytes - SHOWN_LEAST;
    rig->dev->geometry.size_bytes = (SHOWN_LEAST + pick(r, most)) * rig->config.segment_bytes;
}

void rig_resize_forget(struct rig_resize *r)
{
    r->growing = r->leaving = r->left = false;
}

static void grown(void *user, int status)
{
    struct rig_resize *r = user;
    assert_true(r->growing);
    r->growing = false;
    assert_true(status == 0 || status == PS_EUNAVAILABLE);
    r->grown += status == 0;
}

static void grow(struct rig_resize *r)
{
    struct blkdev_geometry *g = &r->rig->dev->geometry;
    const uint64_t more = pick(r, STEP_MOST) * r->rig->config.segment_bytes;
    if (r->growing)
        return;
    g->size_bytes = g->size_bytes + more < r->size_bytes ? g->size_bytes + more : r->size_bytes;
    r->growing = true;
    assert_int_equal(pod_grow(r->rig->pod, grown, r, NULL), 0);
}

static bool leaves(void *user, uint64_t offset, uint64_t length)
{
    const struct rig_resize *r = user;
    const uint64_t bytes = r->rig->config.segment_bytes;
    return offset < r->to * bytes && offset + length > r->from * bytes;
}

static void emptied(void *user, int status)
{
    struct rig_resize *r = user;
    assert_true(r->leaving);
    r->leaving = false;
    r->left = status == 0;
    if (status)
        r->ended++;
    else
        r->emptied++;
    for (uint32_t i = r->from; i < r->to && i < r->rig->pod->segment_count && status == 0; i++)
        assert_int_equal(segments_state(r->rig->pod->segments, i), SEGMENT_RETIRED);
}

static void leave(struct rig_resize *r)
{
    const uint32_t count = r->rig->pod->segment_count;
    if (r->leaving || r->left) {
        if (r->left || pick(r, 4) == 0)
            pod_vacate_stop(r->rig->pod);
        r->left = false;
        return;
    }
    r->from = SYSTEM_SEGMENTS + (uint32_t)pick(r, count - SYSTEM_SEGMENTS);
    /* As often where something lies: the log's end. */
    if (pick(r, 2) && r->rig->pod->tail.segment != SEGMENT_NONE)
        r->from = r->rig->pod->tail.segment;
    r->to = r->from + 1 + (uint32_t)pick(r, LEAVING_MOST);
    const int rc = pod_vacate(r->rig->pod, leaves, emptied, r, NULL);
    assert_true(rc == 0 || rc == PS_EFULL || rc == PS_EPRECONDITION);
    r->leaving = rc == 0;
}

void rig_resize_round(struct rig_resize *r)
{
    switch (pick(r, 8)) {
    case 0:
        grow(r);
        break;
    case 1:
    case 2:
        leave(r);
        break;
    default:
        break;
    }
}
