/* What is known of one volume: what it is now, where it is going, how long its hosts wait, and the points of
 * its history. Blocking, as analytics.h, on which it is built. */
#ifndef PS_NODE_ANALYTICS_ACCOUNT_H
#define PS_NODE_ANALYTICS_ACCOUNT_H

#include "node/analytics/analytics.h"

/* Of the requests that ended well. A quantile is told as the upper end of its bucket, a power of two: at
 * most twice the truth. Without requests all is 0. */
struct account_latency {
    uint64_t requests;
    double mean_us, p50_us, p95_us, p99_us;
};

/* A stretch of history. Sizes are means over its samples, the rest sums. Where the pod was sampled and the
 * volume has no point, it was idle. */
struct account_point {
    int64_t time_s; /* its begin */
    uint32_t samples;
    uint64_t size, logical, stored;
    uint64_t reads, writes, read_bytes, write_bytes;
    struct account_latency read_latency, write_latency;
};

struct account {
    struct analytics_volume volume;
    /* Theil-Sen over the hours of the last 30 days. False: there are fewer than FORECAST_STEPS_MIN. */
    bool growth_known;
    double growth_days, logical_per_day, stored_per_day;
    struct account_latency read_latency, write_latency; /* of the last 24 hours */
    size_t points;
    bool earlier; /* there are more before the first */
};

struct account_ask {
    const char *name; /* NULL: by id */
    uint64_t id;
    int64_t now_s;
    enum rollup_tier tier;
    int64_t before_s; /* only points that begin before this */
    size_t max;       /* the newest so many, above 0 */
};

/* Points go to `points`, oldest first. As analytics_volume: PS_ENOTFOUND, PS_EUNAVAILABLE; PS_ENOMEM. */
int account_make(struct analytics *a, const struct account_ask *ask, struct account *out,
                 struct account_point *points);

#endif
