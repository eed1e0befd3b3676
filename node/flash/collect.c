#include "node/flash/collect.h"

#include <assert.h>

enum {
    LOW_PERCENT = 6,
    LOW_LEAST = 4,           /* segments above the reserve */
    RATE_FIRST = 8 * 1024,   /* bytes a millisecond, just below the start */
    RATE_LOW = 128 * 1024,   /* where room is low */
    RATE_MOST = 2048 * 1024, /* at the reserve */
};

static uint32_t most(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

struct collect_levels collect_levels_for(uint32_t usable, uint32_t reserve, uint32_t threshold)
{
    assert(threshold <= 100);
    struct collect_levels l = {.reserve = reserve};
    l.low = most(usable * LOW_PERCENT / 100, reserve + most(reserve / 2, LOW_LEAST));
    l.start = most((uint32_t)((uint64_t)usable * (100 - threshold) / 100), l.low + 1);
    return l;
}

/* From `first` just below the start, linearly to `low` where room is low, from there on in inverse proportion
 * to what is left above the reserve, at most `all`. */
static uint32_t speed(const struct collect_levels *l, double room, double first, double low, uint32_t all)
{
    if (room > l->start)
        return 0;
    if (room > l->low)
        return (uint32_t)(first + (low - first) * (l->start - room) / (l->start - l->low));
    if (room <= l->reserve)
        return all;
    const double v = low * (l->low - l->reserve) / (room - l->reserve);
    return v < all ? (uint32_t)v : all;
}

uint32_t collect_ratio(const struct collect_levels *levels, double room)
{
    return speed(levels, room, 0, 2000, COLLECT_MOST);
}

uint32_t collect_rate(const struct collect_levels *levels, double room)
{
    return speed(levels, room, RATE_FIRST, RATE_LOW, RATE_MOST);
}

double collect_score(bool little, uint32_t segment_bytes, uint32_t live, uint32_t age)
{
    const uint32_t dead = segment_bytes - live;
    if (dead < segment_bytes / COLLECT_LEAST_GAIN || (!little && live > segment_bytes / 2))
        return 0;
    return (double)dead * ((double)age + 1) / ((double)segment_bytes + live);
}
