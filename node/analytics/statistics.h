/* The mathematics that forecasts need, with the same result on every machine:
 * only + - * / and sqrt, which IEEE 754 rounds exactly. Pure. */
#ifndef PS_NODE_ANALYTICS_STATISTICS_H
#define PS_NODE_ANALYTICS_STATISTICS_H

#include <stddef.h>

/* Natural logarithm of x > 0 (normal numbers), to about 1e-15. */
double stat_log(double x);
/* e^x, 0 below -700, for x at most 700. */
double stat_exp(double x);
/* 2^x; the same bounds. */
double stat_exp2(double x);
/* The point below which a standard normal variable lies with probability p in (0, 1); error below 1.2e-9
 * (P. J. Acklam, "An algorithm for computing the inverse normal cumulative distribution function", 2003). */
double stat_normal_quantile(double p);

/* The k-th smallest (from 0) of n > k values, which are reordered: all before v[k] are at most v[k]. */
double stat_select(double *v, size_t n, size_t k);
/* The value below which the share q in [0, 1] lies, interpolated; reorders. n > 0. */
double stat_quantile(double *v, size_t n, double q);
/* stat_quantile(…, 0.5). */
double stat_median(double *v, size_t n);
/* Standard deviation as the median absolute deviation from `center` tells it (times 1.4826, which makes it
 * that of a normal variable). `v` is overwritten. n > 0. */
double stat_mad_sigma(double *v, size_t n, double center);

#endif
