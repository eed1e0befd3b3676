/* The local linear trend: a level that grows by a slope, both of which wander.
 *
 *   y[t] = level[t] + e,  level[t+1] = level[t] + slope[t] + u,  slope[t+1] = slope[t] + w
 *
 * with independent normal e, u, w (A. C. Harvey, "Forecasting, structural time series models and the Kalman
 * filter", 1989, section 2.3). How much u and w wander, as shares of e, is not estimated but averaged over: a
 * grid of both, each cell weighted by how likely it makes the history (its variance integrated out), so that
 * what a short history can't tell widens the prediction. A straight line with noise and a random walk with
 * drift are corners of that grid. Pure. */
#ifndef PS_NODE_ANALYTICS_TREND_H
#define PS_NODE_ANALYTICS_TREND_H

#include <stdbool.h>
#include <stddef.h>

enum {
    TREND_LEVELS = 9, /* of wandering of the level */
    TREND_SLOPES = 6, /* of the slope */
    TREND_CELLS = TREND_LEVELS * TREND_SLOPES,
};

/* What the filter knows at a step; variances are in units of the cell's variance. */
struct trend_state {
    double level, slope;
    double p_level, p_both, p_slope;
};

struct trend_cell {
    double q_level, q_slope, noise; /* variances, relative */
    double variance;                /* what they are relative to */
    double weight;                  /* of all cells: adds up to 1 */
    struct trend_state end;
};

struct trend {
    size_t samples;
    size_t best; /* the cell of the greatest weight */
    struct trend_cell cells[TREND_CELLS];
};

/* Over n steps of which those with present[i] are known, at least 3, the first one among them. */
void trend_fit(struct trend *t, const double *y, const bool *present, size_t n);

/* The states of one cell after the steps at[0..count), ascending, each below n. */
void trend_states(const struct trend_cell *cell, const double *y, const bool *present, size_t n,
                  const size_t *at, size_t count, struct trend_state *out);

/* Mean and standard deviation of y, h steps after the state. */
double trend_mean(const struct trend_state *state, double h);
double trend_sigma(const struct trend_cell *cell, const struct trend_state *state, double h);

#endif
