/* Points of history: what was seen in a stretch of time, so kept that points add up to the point of a longer
 * stretch. Pure.
 *
 * Sums and extremes survive any number of additions, in any order; a mean is sum / samples. A stretch that
 * nobody sampled has no point. */
#ifndef PS_NODE_ANALYTICS_ROLLUP_H
#define PS_NODE_ANALYTICS_ROLLUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ROLLUP_METRICS_MAX = 128,
    ROLLUP_METRICS_1 = 96,                          /* what version 1 had room for */
    ROLLUP_BYTES_MAX = 8 + ROLLUP_METRICS_MAX * 32, /* of an encoded point */
    ROLLUP_VERSION = 2,
};

enum rollup_tier {
    ROLLUP_MINUTE,
    ROLLUP_HOUR,
    ROLLUP_DAY,
    ROLLUP_TIERS
};
extern const struct rollup_tier_kind {
    const char *name;
    int64_t seconds; /* a point stands for */
    int64_t kept;    /* points: two days, 90 days, five years */
} rollup_tiers[ROLLUP_TIERS];

struct rollup_metric {
    uint64_t sum, min, max; /* over samples; sums saturate */
};

struct rollup_point {
    uint32_t samples; /* 0: nothing */
    struct rollup_metric metrics[ROLLUP_METRICS_MAX];
};

/* The stretch that a time lies in, its number since 1970. */
int64_t rollup_bucket(enum rollup_tier tier, int64_t time_s);

/* One sample of `count` values; metrics after them were 0. */
void rollup_sample(struct rollup_point *point, const uint64_t *values, size_t count);
void rollup_add(struct rollup_point *point, const struct rollup_point *other);

/* Growth of a counter between two samples. `restarts`: it starts at 0 with its process, whose run is the same
 * or not, or when its owner was opened anew (it is less then). A counter that is meant to survive and yet is
 * less than it was tells nothing: 0. */
uint64_t rollup_growth(uint64_t before, uint64_t now, bool restarts, bool same_run);

/* Metrics that are all 0 take no room. `out` has ROLLUP_BYTES_MAX; returns the bytes used. */
size_t rollup_encode(const struct rollup_point *point, uint8_t *out);
/* 0 or PS_EDAMAGED. */
int rollup_decode(struct rollup_point *point, const uint8_t *data, size_t bytes);

#endif
