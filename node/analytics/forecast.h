/* Where used space is going: a forecast made of a node's own history.
 *
 * Pure: no clock, no randomness, the same bits for the same input everywhere. Formulas, sources and
 * measured calibration: README of this folder. Some milliseconds for five years of days. */
#ifndef PS_NODE_ANALYTICS_FORECAST_H
#define PS_NODE_ANALYTICS_FORECAST_H

#include "node/analytics/series.h"

enum {
    FORECAST_HORIZONS_MAX = 8,
    FORECAST_STEPS_MIN = 24 /* below, nothing is said */
};

enum forecast_method {
    FORECAST_NONE,   /* too little history */
    FORECAST_LINEAR, /* least squares, the baseline */
    FORECAST_ROBUST, /* Theil-Sen */
    FORECAST_TREND,  /* local linear trend */
};
const char *forecast_method_name(enum forecast_method method);

struct forecast_ask {
    const struct series_point *points; /* bytes used, ascending in time */
    size_t count;
    int64_t now_s;
    double capacity; /* bytes, above 0 */
    unsigned horizons_days[FORECAST_HORIZONS_MAX];
    size_t horizons;
    /* What if: bytes that come at once, and each day on top of what history tells. */
    double plan_at_once, plan_per_day;
};

struct forecast_prediction {
    unsigned days;
    bool known; /* false: the history is shorter than that */
    double low, value,
        high; /* median, and the ends of the interval that holds the truth in 90 of 100 cases */
};

/* When used space first reaches a share of the capacity. */
struct forecast_crossing {
    bool reached;            /* it is there now */
    bool known;              /* `days` is told */
    double days;             /* of the median */
    double earliest, latest; /* of the 90 % interval's ends; negative: not within `searched_days` */
};

struct forecast {
    enum forecast_method method;
    char why[160]; /* too little history: how much there is, and how much it takes; else "" */
    bool seasonal;
    int64_t step_s; /* a day or an hour */
    size_t steps, samples, shifts;
    double span_days, searched_days; /* of the history; how far ahead crossings were looked for */
    double current, per_day;         /* bytes */
    struct forecast_prediction predictions[FORECAST_HORIZONS_MAX];
    size_t npredictions;
    struct forecast_crossing at_80, at_90; /* percent */
    /* The probability that used space will be within 5 % of the capacity of what is predicted, at the
     * farthest horizon told that is at most 30 days away. 0 with too little history. */
    double confidence;
    unsigned confidence_days;
    /* Mean absolute error of the back-test relative to the baseline's: below 1 is better. */
    double error_vs_linear;
    size_t backtests;
};

/* 0 also when there is too little history; PS_ENOMEM. */
int forecast_make(const struct forecast_ask *ask, struct forecast *out);

#endif
