/* Where answers of analytics come from, as RPC and REST see it. All on the reactor's thread; the answer comes
 * later, so that the history may live on another one. */
#ifndef PS_NODE_HOST_ANALYTICS_SOURCE_H
#define PS_NODE_HOST_ANALYTICS_SOURCE_H

#include "node/analytics/account.h"

enum analytics_question {
    ANALYTICS_NOTHING, /* answered after all that was asked before */
    ANALYTICS_FORECAST,
    ANALYTICS_HEALTH,
    ANALYTICS_TIERING,     /* of volumes with names after `name`; fills `advice` */
    ANALYTICS_TEMPERATURE, /* of the volume `name`, or of `id` when that is empty */
    ANALYTICS_HISTORY,     /* fills `points` */
    ANALYTICS_ACCOUNT,     /* of a volume, named as above; fills `stretches` */
};

struct analytics_point {
    int64_t time_s; /* the begin of its stretch */
    struct rollup_point values;
};

/* Embedded by who asks. */
struct analytics_query {
    enum analytics_question question;
    char name[ANALYTICS_NAME_MAX + 1];
    uint64_t id;
    struct {
        unsigned horizons_days[FORECAST_HORIZONS_MAX];
        size_t horizons;
        double plan_at_once, plan_per_day;
    } forecast_ask;
    struct {
        struct history_subject subject;
        enum rollup_tier tier;
        int64_t from_s, to_s;
    } history_ask;
    struct {
        enum rollup_tier tier;
        int64_t before_s;
    } account_ask;
    /* The asker's, with room for max_advice, max_points and max_stretches. */
    struct analytics_advice *advice;
    size_t max_advice;
    struct analytics_point *points;
    size_t max_points;
    struct account_point *stretches;
    size_t max_stretches;
    /* The answer. */
    union {
        struct analytics_forecast forecast;
        struct analytics_health health;
        struct analytics_volume volume;
        struct account account;
        size_t count; /* of advice or points */
    } answer;
    /* 0; PS_ENOTFOUND (volume); PS_EUNAVAILABLE (nothing was sampled yet); PS_EIO… of the history. */
    void (*cb)(struct analytics_query *query, int status);
    void *user;
    void *priv[4]; /* the source's own */
};

struct analytics_source {
    /* What is newer than the last sample brings the next one forward, so that what exists is known.
     * 0: `cb` runs once, never inside the call. Else it never does: PS_EUNAVAILABLE (stopping), PS_ELIMIT
     * (too many questions at a time). */
    int (*ask)(struct analytics_source *source, struct analytics_query *query);
};

#endif
