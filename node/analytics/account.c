#include "node/analytics/account.h"

#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "node/analytics/line.h"

#define HOUR_S 3600ll
#define DAY_S  86400ll

enum {
    GROWTH_DAYS = 30
};

/* ---- latency */

/* Requests by latency, of any number of points. */
struct waits {
    uint64_t requests, sum_ns, buckets[ANALYTICS_LATENCIES];
};

static void add_waits(struct waits *w, const struct rollup_point *p, unsigned sum, unsigned first)
{
    w->sum_ns += p->metrics[sum].sum;
    for (unsigned i = 0; i < ANALYTICS_LATENCIES; i++) {
        w->buckets[i] += p->metrics[first + i].sum;
        w->requests += p->metrics[first + i].sum;
    }
}

/* Bucket k ends before 2^k microseconds. */
static double quantile_us(const struct waits *w, double share)
{
    const double wanted = share * (double)w->requests;
    uint64_t seen = 0;
    for (unsigned i = 0; i < ANALYTICS_LATENCIES; i++) {
        seen += w->buckets[i];
        if (seen > 0 && (double)seen >= wanted)
            return (double)(1ull << i);
    }
    return 0;
}

static struct account_latency latency_of(const struct waits *w)
{
    return (struct account_latency){
        .requests = w->requests,
        .mean_us = w->requests ? (double)w->sum_ns / (double)w->requests / 1000 : 0,
        .p50_us = quantile_us(w, 0.5),
        .p95_us = quantile_us(w, 0.95),
        .p99_us = quantile_us(w, 0.99),
    };
}

static struct account_latency latency_of_point(const struct rollup_point *p, unsigned sum, unsigned first)
{
    struct waits w = {0};
    add_waits(&w, p, sum, first);
    return latency_of(&w);
}

struct day {
    struct waits read, write;
};

static bool add_hour(void *user, int64_t time_s, const struct rollup_point *p)
{
    struct day *d = user;
    (void)time_s;
    add_waits(&d->read, p, ANALYTICS_VOLUME_read_latency_ns, ANALYTICS_VOLUME_READ_LATENCIES);
    add_waits(&d->write, p, ANALYTICS_VOLUME_write_latency_ns, ANALYTICS_VOLUME_WRITE_LATENCIES);
    return true;
}

/* ---- growth */

struct growth {
    struct series_point logical[GROWTH_DAYS * 24 + 1], stored[GROWTH_DAYS * 24 + 1];
    size_t count;
    struct series series;
};

static uint64_t mean(const struct rollup_point *p, unsigned metric)
{
    return p->metrics[metric].sum / p->samples;
}

static bool add_growth(void *user, int64_t time_s, const struct rollup_point *p)
{
    struct growth *g = user;
    if (g->count == sizeof g->logical / sizeof g->logical[0])
        return false;
    g->logical[g->count] =
        (struct series_point){time_s + HOUR_S / 2, (double)mean(p, ANALYTICS_VOLUME_logical)};
    g->stored[g->count++] =
        (struct series_point){time_s + HOUR_S / 2, (double)mean(p, ANALYTICS_VOLUME_stored)};
    return true;
}

/* False: there are too few hours. */
static bool slope_a_day(struct growth *g, const struct series_point *points, int64_t now_s, double *out)
{
    struct line line;
    if (!series_make(&g->series, points, g->count, now_s, HOUR_S) ||
        g->series.samples < (size_t)FORECAST_STEPS_MIN)
        return false;
    line_robust(&line, g->series.value, g->series.present, g->series.n);
    *out = line.slope * (double)(DAY_S / HOUR_S);
    return true;
}

static int find_growth(struct analytics *a, struct history_subject subject, int64_t now_s,
                       struct account *out)
{
    struct growth *g = calloc(1, sizeof *g);
    if (!g)
        return PS_ENOMEM;
    const int rc =
        analytics_read(a, subject, ROLLUP_HOUR, now_s - GROWTH_DAYS * DAY_S, now_s + 1, add_growth, g);
    if (rc == 0 && g->count > 0) {
        out->growth_known = slope_a_day(g, g->logical, now_s, &out->logical_per_day) &&
                            slope_a_day(g, g->stored, now_s, &out->stored_per_day);
        out->growth_days = (double)(now_s - g->logical[0].time_s) / (double)DAY_S;
    }
    free(g);
    return rc;
}

/* ---- points */

/* The newest `max`: a ring of those that were read so far. */
struct ring {
    struct account_point *points;
    size_t max, seen;
};

static bool add_point(void *user, int64_t time_s, const struct rollup_point *p)
{
    struct ring *r = user;
    r->points[r->seen++ % r->max] = (struct account_point){
        .time_s = time_s,
        .samples = p->samples,
        .size = mean(p, ANALYTICS_VOLUME_size),
        .logical = mean(p, ANALYTICS_VOLUME_logical),
        .stored = mean(p, ANALYTICS_VOLUME_stored),
        .reads = p->metrics[ANALYTICS_VOLUME_reads].sum,
        .writes = p->metrics[ANALYTICS_VOLUME_writes].sum,
        .read_bytes = p->metrics[ANALYTICS_VOLUME_read_bytes].sum,
        .write_bytes = p->metrics[ANALYTICS_VOLUME_write_bytes].sum,
        .read_latency =
            latency_of_point(p, ANALYTICS_VOLUME_read_latency_ns, ANALYTICS_VOLUME_READ_LATENCIES),
        .write_latency =
            latency_of_point(p, ANALYTICS_VOLUME_write_latency_ns, ANALYTICS_VOLUME_WRITE_LATENCIES),
    };
    return true;
}

static int by_time(const void *a, const void *b)
{
    const int64_t x = ((const struct account_point *)a)->time_s,
                  y = ((const struct account_point *)b)->time_s;
    return x < y ? -1 : x > y;
}

int account_make(struct analytics *a, const struct account_ask *ask, struct account *out,
                 struct account_point *points)
{
    struct day day = {0};
    struct ring ring = {.points = points, .max = ask->max};
    *out = (struct account){0};
    int rc = analytics_volume(a, ask->name, ask->id, ask->now_s, &out->volume);
    if (rc)
        return rc;
    const struct history_subject subject = {HISTORY_VOLUME, out->volume.id};
    rc = find_growth(a, subject, ask->now_s, out);
    if (rc == 0)
        rc = analytics_read(a, subject, ROLLUP_HOUR, ask->now_s - DAY_S, ask->now_s + 1, add_hour, &day);
    if (rc == 0)
        rc = analytics_read(a, subject, ask->tier, 0, ask->before_s, add_point, &ring);
    if (rc)
        return rc;
    out->read_latency = latency_of(&day.read);
    out->write_latency = latency_of(&day.write);
    out->points = ring.seen < ring.max ? ring.seen : ring.max;
    out->earlier = ring.seen > ring.max;
    qsort(points, out->points, sizeof *points, by_time);
    return 0;
}
