/* Straight lines through a history: least squares, and the robust one. Pure. */
#ifndef PS_NODE_ANALYTICS_LINE_H
#define PS_NODE_ANALYTICS_LINE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    LINE_STEPS_MAX = 1856,
    LINE_BLOCKS_MAX = 96 /* groups of steps between which slopes are taken */
};

struct line {
    double at_end, slope;  /* at step n - 1, and a step */
    double sigma;          /* of the steps around it */
    double middle, spread; /* mean step, and sum of squares around it: how well the slope is known */
    size_t samples;
};

/* Ordinary least squares over the steps that are present, at least 3. */
void line_least_squares(struct line *l, const double *y, const bool *present, size_t n);

/* The median of the slopes between all pairs (H. Theil, 1950; P. K. Sen, "Estimates of the regression
 * coefficient based on Kendall's tau", JASA 63, 1968) and the median of what is left: up to 29 % of the steps
 * may be anything. Of more than LINE_BLOCKS_MAX steps, medians of equal groups are paired. */
void line_robust(struct line *l, const double *y, const bool *present, size_t n);

/* h steps after the end of the n that it was made of. */
double line_mean(const struct line *l, double h);
/* Standard deviation of a step there, if deviations are independent. */
double line_sigma(const struct line *l, size_t n, double h);

#endif
