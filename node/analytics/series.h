/* A history on an even grid, with gaps, and what is known about it before any
 * trend: lasting level shifts, and a season.
 *
 * Pure. Values are divided by nothing: they keep the caller's unit. */
#ifndef PS_NODE_ANALYTICS_SERIES_H
#define PS_NODE_ANALYTICS_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SERIES_STEPS_MAX = 1856, /* five years of days */
    SERIES_PERIOD_MAX = 24,  /* steps of a season */
    SERIES_SHIFTS_MAX = 64,
};

struct series_point {
    int64_t time_s; /* seconds since 1970 */
    double value;
};

struct series {
    size_t n;                           /* steps; the last one ends now */
    int64_t step_s;                     /* seconds a step */
    double value[SERIES_STEPS_MAX];     /* the last in each step */
    bool present[SERIES_STEPS_MAX];     /* false: a gap; the first and the last are present */
    size_t samples;                     /* steps that are present */
    double shift[SERIES_SHIFTS_MAX];    /* what the level changed by, beyond growth, for good */
    size_t shift_at[SERIES_SHIFTS_MAX]; /* the first step on the new level; ascending */
    size_t shifts;
    double level[SERIES_STEPS_MAX];   /* value, with shifts taken out; the same at the end */
    unsigned period;                  /* steps of a season: 7 of a day, 24 of an hour */
    double season[SERIES_PERIOD_MAX]; /* by step % period, adds up to 0 */
    bool seasonal;                    /* there are enough full seasons to know `season` */
};

/* Puts points, ascending in time, on a grid of `step_s` that ends at now_s; later points, and those that
 * are older than the grid is long, are left out. The last value known is taken to hold until now. False: no
 * point is left. */
bool series_make(struct series *s, const struct series_point *points, size_t count, int64_t now_s,
                 int64_t step_s);

/* Finds shifts and season, fills `level`. */
void series_study(struct series *s, double least_shift);

#endif
