/* What a node knows of its own past and future: samples in, answers out.
 *
 * Blocking (SQLite); one thread at a time, in the daemon the management thread. RPC and REST ask through
 * node/host/analytics_uv.h. Times come in with samples and questions; nothing here looks at a clock. */
#ifndef PS_NODE_ANALYTICS_ANALYTICS_H
#define PS_NODE_ANALYTICS_ANALYTICS_H

#include "common/latency.h"
#include "node/analytics/forecast.h"
#include "node/analytics/health.h"
#include "node/analytics/history_sqlite.h"
#include "node/analytics/temperature.h"
#include "node/analytics/tiering.h"

enum {
    ANALYTICS_NAME_MAX = 127,
    ANALYTICS_VOLUMES_MAX = 512, /* by name; others are in the pod's figures alone */
    ANALYTICS_DEVICES_MAX = 16,
    ANALYTICS_LATENCIES = LATENCY_BUCKETS,
};

/* How a figure of a sample becomes a point: as it is; as growth of a counter that survives restarts, or of
 * one that starts with its process; or it comes as growth already. */
enum analytics_figure {
    ANALYTICS_NOW,
    ANALYTICS_EVER,
    ANALYTICS_RUN,
    ANALYTICS_GROWTH
};

/* The numbers of these lists are those of the stored metrics: append only. X(name, figure) */
#define ANALYTICS_POD_FIGURES(X)                                                                             \
    X(duration_ms, RUN) /* that the node was up, since it started */                                         \
    X(capacity, NOW)                                                                                         \
    X(used, NOW) /* capacity less free segments */                                                           \
    X(stored, NOW)                                                                                           \
    X(metadata, NOW)                                                                                         \
    X(garbage, NOW)                                                                                          \
    X(logical, NOW)                                                                                          \
    X(unique_blocks, NOW)                                                                                    \
    X(volumes, NOW)                                                                                          \
    X(snapshots, NOW)                                                                                        \
    X(host_read, EVER)                                                                                       \
    X(host_written, EVER)                                                                                    \
    X(pattern_removed, EVER)                                                                                 \
    X(dedup_removed, EVER)                                                                                   \
    X(compress_in, EVER)                                                                                     \
    X(compress_out, EVER)                                                                                    \
    X(flash_written_data, EVER)                                                                              \
    X(flash_written_metadata, EVER)                                                                          \
    X(reads, RUN)                                                                                            \
    X(writes, RUN)                                                                                           \
    X(flushes, RUN)                                                                                          \
    X(trims, RUN)                                                                                            \
    X(cache_hits, RUN)                                                                                       \
    X(cache_misses, RUN)                                                                                     \
    X(checksum_errors, RUN)                                                                                  \
    X(memory, NOW)                                                                                           \
    X(lag_ms, NOW) /* of the member that is farthest behind; 0 when there is none */                         \
    X(lag_bytes, NOW)

#define ANALYTICS_DEVICE_FIGURES(X)                                                                          \
    X(read_ops, RUN)                                                                                         \
    X(read_bytes, RUN)                                                                                       \
    X(write_ops, RUN)                                                                                        \
    X(write_bytes, RUN)                                                                                      \
    X(flush_ops, RUN)                                                                                        \
    X(erase_ops, RUN)                                                                                        \
    X(errors, RUN)                                                                                           \
    X(wear_mean_milli, NOW) /* cycles * 1000 of an erase block */                                            \
    X(wear_max, NOW)                                                                                         \
    X(blocks, NOW) /* erase blocks whose wear is known; 0: the device doesn't tell */                        \
    X(retired, NOW)                                                                                          \
    /* What an NVMe device says of itself; all 0: nothing, just now. */                                      \
    X(smart, NOW)                                                                                            \
    X(used_percent, NOW)                                                                                     \
    X(spare_percent, NOW)                                                                                    \
    X(kelvin, NOW)                                                                                           \
    X(media_errors, NOW)                                                                                     \
    X(warnings, NOW) /* its critical warning: common/nvme.h */

#define ANALYTICS_VOLUME_FIGURES(X)                                                                          \
    X(size, NOW)                                                                                             \
    X(logical, NOW)                                                                                          \
    X(unique, NOW)                                                                                           \
    X(stored, NOW)                                                                                           \
    X(reads, GROWTH)                                                                                         \
    X(writes, GROWTH)                                                                                        \
    X(read_bytes, GROWTH)                                                                                    \
    X(write_bytes, GROWTH)                                                                                   \
    X(read_latency_ns, GROWTH) /* sums */                                                                    \
    X(write_latency_ns, GROWTH)                                                                              \
    X(flushes, GROWTH)                                                                                       \
    X(trims, GROWTH) /* and zeroings */                                                                      \
    X(trim_bytes, GROWTH)                                                                                    \
    X(flush_latency_ns, GROWTH)                                                                              \
    X(trim_latency_ns, GROWTH)

#define X(name, figure) ANALYTICS_POD_##name,
enum analytics_pod_metric {
    ANALYTICS_POD_FIGURES(X) ANALYTICS_POD_METRICS
};
#undef X
#define X(name, figure) ANALYTICS_DEVICE_##name,
enum analytics_device_metric {
    ANALYTICS_DEVICE_FIGURES(X) ANALYTICS_DEVICE_METRICS
};
#undef X
/* Latency histograms follow, of common/latency.h: counts of reads, writes, flushes, trims, by bucket. */
#define X(name, figure) ANALYTICS_VOLUME_##name,
enum analytics_volume_metric {
    ANALYTICS_VOLUME_FIGURES(X) ANALYTICS_VOLUME_FIGURES_COUNT,
    ANALYTICS_VOLUME_READ_LATENCIES = 16,
    ANALYTICS_VOLUME_WRITE_LATENCIES = ANALYTICS_VOLUME_READ_LATENCIES + ANALYTICS_LATENCIES,
    ANALYTICS_VOLUME_FLUSH_LATENCIES = ANALYTICS_VOLUME_WRITE_LATENCIES + ANALYTICS_LATENCIES,
    ANALYTICS_VOLUME_TRIM_LATENCIES = ANALYTICS_VOLUME_FLUSH_LATENCIES + ANALYTICS_LATENCIES,
    ANALYTICS_VOLUME_METRICS = ANALYTICS_VOLUME_TRIM_LATENCIES + ANALYTICS_LATENCIES,
};
#undef X

/* ---- samples */

struct analytics_device_sample {
    char name[ANALYTICS_NAME_MAX + 1];
    bool failed, out;
    uint64_t figures[ANALYTICS_DEVICE_METRICS];
};

struct analytics_volume_sample {
    uint64_t id;
    char name[ANALYTICS_NAME_MAX + 1];
    uint64_t figures[ANALYTICS_VOLUME_METRICS];
    bool used; /* the growths are not all 0, and the regions are there */
    unsigned shift;
    uint32_t region_reads[TEMPERATURE_REGIONS], region_writes[TEMPERATURE_REGIONS];
};

struct analytics_sample {
    int64_t time_s;
    uint64_t run; /* of the process: another one after each start */
    uint64_t pod[ANALYTICS_POD_METRICS];
    struct analytics_device_sample devices[ANALYTICS_DEVICES_MAX];
    size_t ndevices;
    size_t nvolumes; /* all there are, by name, at most ANALYTICS_VOLUMES_MAX */
    struct analytics_volume_sample volumes[];
};

/* ---- life */

struct analytics_config {
    const char *path;   /* of the history */
    uint64_t max_bytes; /* of it */
    struct temperature_scale scale;
    struct tier_costs costs;
    enum tier tier;      /* that the pod is on */
    double rated_cycles; /* of its flash; 0: not known */
};

struct analytics;

int analytics_open(const struct analytics_config *config, struct analytics **out, struct ps_error *err);
/* Keeps what is only in memory (heat). */
void analytics_close(struct analytics *a);

/* An error is also in the log; the next sample then covers both. */
int analytics_add(struct analytics *a, const struct analytics_sample *sample);

/* ---- answers. PS_ENOTFOUND: no such volume; PS_EUNAVAILABLE: nothing was sampled yet. */

struct analytics_forecast_ask {
    int64_t now_s;
    unsigned horizons_days[FORECAST_HORIZONS_MAX];
    size_t horizons;
    double plan_at_once, plan_per_day;
};
struct analytics_forecast {
    uint64_t capacity, used;
    struct forecast forecast;
};
int analytics_forecast(struct analytics *a, const struct analytics_forecast_ask *ask,
                       struct analytics_forecast *out);

struct analytics_device {
    char name[ANALYTICS_NAME_MAX + 1];
    bool wear_known;
    double wear_mean, wear_max;
    uint64_t blocks, retired, errors_30_days, written_30_days;
    bool smart_known;
    unsigned used_percent, spare_percent, kelvin;
    uint64_t media_errors;
    struct health_report health;
};
struct analytics_health {
    struct analytics_device devices[ANALYTICS_DEVICES_MAX];
    size_t count;
};
int analytics_health(struct analytics *a, int64_t now_s, struct analytics_health *out);

struct analytics_volume {
    uint64_t id;
    char name[ANALYTICS_NAME_MAX + 1];
    uint64_t size, logical, stored;
    struct temperature_report temperature;
};
/* By name; `name` NULL: by id. */
int analytics_volume(struct analytics *a, const char *name, uint64_t id, int64_t now_s,
                     struct analytics_volume *out);

struct analytics_advice {
    uint64_t id;
    char name[ANALYTICS_NAME_MAX + 1];
    uint64_t logical, stored;
    enum temperature temperature;
    double density;
    enum tier now;
    struct tiering_advice advice;
};
/* Of the volumes with names after `after`, in order, at most `max`; how many. */
size_t analytics_tiering(struct analytics *a, const char *after, int64_t now_s, struct analytics_advice *out,
                         size_t max);

/* Points of a subject: history_read. Devices are numbered from 0, pods are 0. */
int analytics_read(struct analytics *a, struct history_subject subject, enum rollup_tier tier, int64_t from_s,
                   int64_t to_s, history_row row, void *user);

#endif
