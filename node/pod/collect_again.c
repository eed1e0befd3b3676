/* Victims of which something stayed where it is, because it, or what names it, is not what it should be: on a
 * device that reads in other ways (blkdev_way) they are walked again in each of them, before anything else is
 * collected, until nothing is left. Else one member of an array that gives noise would leave segments that
 * are mostly garbage where they are, until hosts find the pool full.
 *
 * The device's own way comes first, then the one that last helped, which is the likeliest. They stay pinned
 * and out of choice meanwhile. */
#include "node/pod/collect.h"

static bool is_left(const struct collect *c, struct attempt a)
{
    return a.tries <= c->pod->dev->geometry.ways;
}

uint16_t again_way(const struct collect *c)
{
    const struct attempt a = c->attempt;
    if (a.tries == 0)
        return 0;
    return (uint16_t)((a.first - 1u + a.tries - 1u) % c->pod->dev->geometry.ways + 1);
}

bool again_put(struct collect *c, const struct leaving *l)
{
    struct attempt a = l->attempt;
    if (a.tries++ == 0)
        a.first = c->helped ? c->helped : 1;
    if (!is_left(c, a))
        return false;
    assert(c->again_count < AGAIN && "none is chosen while there are any");
    c->again[c->again_count++] = (struct again){l->segment, a};
    return true;
}

void again_helped(struct collect *c, const struct leaving *l)
{
    const uint16_t ways = c->pod->dev->geometry.ways;
    if (l->attempt.tries)
        c->helped = (uint16_t)((l->attempt.first - 1u + l->attempt.tries - 1u) % ways + 1);
}

static void let_go(struct collect *c, uint32_t segment)
{
    segments_set_leaving(c->pod->segments, segment, false);
    segments_unpin(c->pod->segments, segment);
}

bool again_begin(struct collect *c)
{
    if (c->again_count == 0)
        return false;
    const struct again next = c->again[--c->again_count];
    victim_begin(&c->walk, next.segment);
    c->attempt = next.attempt;
    let_go(c, next.segment);
    return true;
}

void again_drop(struct collect *c)
{
    while (c->again_count)
        let_go(c, c->again[--c->again_count].segment);
}
