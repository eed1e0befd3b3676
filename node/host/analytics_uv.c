#include "node/host/analytics_uv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/container.h"
#include "common/log.h"

enum {
    QUESTIONS_MAX = 32, /* on their way */
    STOP_RETRY_MS = 10,
    BLOCKS_MAX = 1 << 14, /* whose wear is looked at in one sample */
};
_Static_assert((int)IMAGE_USE_REGIONS == (int)TEMPERATURE_REGIONS &&
                   (int)IMAGE_USE_SHIFT_MIN == (int)TEMPERATURE_SHIFT_MIN &&
                   (int)POD_FULL_NAME_MAX <= (int)ANALYTICS_NAME_MAX,
               "the pod counts what analytics keeps");

struct question {
    struct mailbox_msg msg;
    struct analytics_service *service;
    struct analytics_query *query; /* NULL: free */
    int64_t now_s;
    int status;
};

struct analytics_service {
    struct analytics_service_config config;
    struct analytics *analytics; /* the management thread's */
    struct mailbox *answers;
    uv_timer_t timer;
    struct analytics_source source;
    struct question questions[QUESTIONS_MAX];
    struct {
        struct mailbox_msg msg;
        struct analytics_sample *sample; /* NULL: none is under way */
        bool waits;                      /* it could not be handed over yet */
        int status;
    } sampling;
    uint64_t began_ns;
    /* Of the last sample taken: when, and how many volumes there were. */
    uint64_t sampled_unix_ns, sampled_volumes;
    bool stopping, sampled_last;
    struct mailbox_msg close;
    void (*stopped)(void *user);
    void *stopped_user;
};

/* ---- on the management thread */

static void answer(struct analytics_service *s, struct mailbox_msg *msg, void (*run)(struct mailbox_msg *msg))
{
    msg->run = run;
    const int rc = mailbox_post(s->answers, msg);
    assert(rc == 0); /* there is room for every answer that can be due */
    (void)rc;
}

static void sample_done(struct mailbox_msg *msg);

static void add_sample(struct mailbox_msg *msg)
{
    struct analytics_service *s = container_of(msg, struct analytics_service, sampling.msg);
    s->sampling.status = analytics_add(s->analytics, s->sampling.sample);
    answer(s, msg, sample_done);
}

static bool take_point(void *user, int64_t time_s, const struct rollup_point *point)
{
    struct analytics_query *q = user;
    if (q->answer.count == q->max_points)
        return false;
    q->points[q->answer.count++] = (struct analytics_point){time_s, *point};
    return true;
}

static int find_out(struct analytics *a, struct analytics_query *q, int64_t now_s)
{
    struct analytics_forecast_ask ask = {.now_s = now_s,
                                         .horizons = q->forecast_ask.horizons,
                                         .plan_at_once = q->forecast_ask.plan_at_once,
                                         .plan_per_day = q->forecast_ask.plan_per_day};
    switch (q->question) {
    case ANALYTICS_NOTHING:
        return 0;
    case ANALYTICS_FORECAST:
        memcpy(ask.horizons_days, q->forecast_ask.horizons_days, sizeof ask.horizons_days);
        return analytics_forecast(a, &ask, &q->answer.forecast);
    case ANALYTICS_HEALTH:
        return analytics_health(a, now_s, &q->answer.health);
    case ANALYTICS_TIERING:
        q->answer.count = analytics_tiering(a, q->name, now_s, q->advice, q->max_advice);
        return 0;
    case ANALYTICS_TEMPERATURE:
        return analytics_volume(a, q->name[0] ? q->name : NULL, q->id, now_s, &q->answer.volume);
    case ANALYTICS_HISTORY:
        q->answer.count = 0;
        return analytics_read(a, q->history_ask.subject, q->history_ask.tier, q->history_ask.from_s,
                              q->history_ask.to_s, take_point, q);
    case ANALYTICS_ACCOUNT:
        return account_make(a,
                            &(struct account_ask){.name = q->name[0] ? q->name : NULL,
                                                  .id = q->id,
                                                  .now_s = now_s,
                                                  .tier = q->account_ask.tier,
                                                  .before_s = q->account_ask.before_s,
                                                  .max = q->max_stretches},
                            &q->answer.account, q->stretches);
    }
    return PS_EINVAL;
}

static void question_done(struct mailbox_msg *msg);

static void find_answer(struct mailbox_msg *msg)
{
    struct question *q = container_of(msg, struct question, msg);
    q->status = find_out(q->service->analytics, q->query, q->now_s);
    answer(q->service, msg, question_done);
}

static void closed(struct mailbox_msg *msg);

static void close_history(struct mailbox_msg *msg)
{
    struct analytics_service *s = container_of(msg, struct analytics_service, close);
    analytics_close(s->analytics);
    answer(s, msg, closed);
}

/* ---- samples */

static void sample_pod(struct analytics_service *s, struct analytics_sample *out)
{
    struct pod_stats p;
    uint64_t *f = out->pod, lag_ms = 0, lag_bytes = 0;
    pod_stats(s->config.pod, &p);
    if (s->config.lag)
        s->config.lag(s->config.user, &lag_ms, &lag_bytes);
    f[ANALYTICS_POD_duration_ms] = (clock_monotonic_ns() - s->began_ns) / NS_PER_MS;
    f[ANALYTICS_POD_capacity] = p.capacity;
    f[ANALYTICS_POD_used] = p.capacity - (p.free_bytes < p.capacity ? p.free_bytes : p.capacity);
    f[ANALYTICS_POD_stored] = p.stored_bytes;
    f[ANALYTICS_POD_metadata] = p.metadata_bytes;
    f[ANALYTICS_POD_garbage] = p.garbage_bytes;
    f[ANALYTICS_POD_logical] = p.logical;
    f[ANALYTICS_POD_unique_blocks] = p.unique_blocks;
    f[ANALYTICS_POD_volumes] = p.volumes;
    f[ANALYTICS_POD_snapshots] = p.snapshots;
    f[ANALYTICS_POD_host_read] = p.host_read;
    f[ANALYTICS_POD_host_written] = p.host_written;
    f[ANALYTICS_POD_pattern_removed] = p.pattern_removed;
    f[ANALYTICS_POD_dedup_removed] = p.dedup_removed;
    f[ANALYTICS_POD_compress_in] = p.compress_in;
    f[ANALYTICS_POD_compress_out] = p.compress_out;
    f[ANALYTICS_POD_flash_written_data] = p.flash_written_data;
    f[ANALYTICS_POD_flash_written_metadata] = p.flash_written_metadata;
    f[ANALYTICS_POD_reads] = p.reads;
    f[ANALYTICS_POD_writes] = p.writes;
    f[ANALYTICS_POD_flushes] = p.flushes;
    f[ANALYTICS_POD_trims] = p.trims;
    f[ANALYTICS_POD_cache_hits] = p.cache_hits;
    f[ANALYTICS_POD_cache_misses] = p.cache_misses;
    f[ANALYTICS_POD_checksum_errors] = p.checksum_errors;
    f[ANALYTICS_POD_memory] = p.memory_bytes;
    f[ANALYTICS_POD_lag_ms] = lag_ms;
    f[ANALYTICS_POD_lag_bytes] = lag_bytes;
}

/* Of a device with more blocks than that, every second, third… is looked at. */
static void sample_wear(const struct blkdev *dev, uint64_t *figures)
{
    const uint64_t bytes = dev->geometry.erase_bytes, count = bytes ? dev->geometry.size_bytes / bytes : 0;
    const uint64_t step = (count + BLOCKS_MAX - 1) / BLOCKS_MAX;
    uint64_t cycles = 0, looked = 0;
    for (uint64_t i = 0; i < count; i += step) {
        struct blkdev_wear wear;
        if (!blkdev_wear(dev, i * bytes, &wear) || wear.uncounted)
            return;
        looked++;
        cycles += wear.pe_cycles;
        figures[ANALYTICS_DEVICE_retired] += wear.retired;
        if (wear.pe_cycles > figures[ANALYTICS_DEVICE_wear_max])
            figures[ANALYTICS_DEVICE_wear_max] = wear.pe_cycles;
    }
    figures[ANALYTICS_DEVICE_blocks] = looked;
    figures[ANALYTICS_DEVICE_wear_mean_milli] = looked ? cycles * 1000 / looked : 0;
}

static void sample_smart(const struct blkdev_smart *smart, uint64_t *figures)
{
    figures[ANALYTICS_DEVICE_smart] = smart->known;
    figures[ANALYTICS_DEVICE_used_percent] = smart->used_percent;
    figures[ANALYTICS_DEVICE_spare_percent] = smart->spare_percent;
    figures[ANALYTICS_DEVICE_kelvin] = smart->kelvin;
    figures[ANALYTICS_DEVICE_media_errors] = smart->media_errors;
    figures[ANALYTICS_DEVICE_warnings] = smart->critical_warning;
}

static void sample_device(const struct blkdev *dev, struct analytics_device_sample *d)
{
    struct blkdev_health h;
    blkdev_health(dev, &h);
    d->failed = h.failed;
    d->figures[ANALYTICS_DEVICE_read_ops] = h.read_ops;
    d->figures[ANALYTICS_DEVICE_read_bytes] = h.read_bytes;
    d->figures[ANALYTICS_DEVICE_write_ops] = h.write_ops;
    d->figures[ANALYTICS_DEVICE_write_bytes] = h.write_bytes;
    d->figures[ANALYTICS_DEVICE_flush_ops] = h.flush_ops;
    d->figures[ANALYTICS_DEVICE_erase_ops] = h.erase_ops;
    d->figures[ANALYTICS_DEVICE_errors] = h.errors;
    sample_smart(&h.smart, d->figures);
    sample_wear(dev, d->figures);
}

static void sample_devices(struct analytics_service *s, struct analytics_sample *out)
{
    struct analytics_drive drives[ANALYTICS_DEVICES_MAX];
    out->ndevices = s->config.drives ? s->config.drives(s->config.user, drives) : 0;
    for (size_t i = 0; i < out->ndevices; i++) {
        struct analytics_device_sample *d = &out->devices[i];
        memcpy(d->name, drives[i].name, sizeof d->name);
        if (drives[i].device)
            sample_device(drives[i].device, d);
        d->out = drives[i].out;
    }
}

/* The volume that follows `after` in the order of names; a volume's snapshots are passed over in one step. */
static bool next_volume(struct pod *pod, const char *after, struct pod_image_info *out)
{
    char past[POD_FULL_NAME_MAX + 3];
    for (int rc = pod_image_after(pod, after, out); rc == 0; rc = pod_image_after(pod, past, out)) {
        if (out->kind == POD_VOLUME)
            return true;
        const char *sign = strchr(out->name, '@');
        assert(sign);
        /* Names have no character as great as a tilde. */
        (void)snprintf(past, sizeof past, "%.*s@~", (int)(sign - out->name), out->name);
    }
    return false;
}

static void sample_volumes(struct analytics_service *s, struct analytics_sample *out, size_t max)
{
    struct pod_image_info info;
    char after[POD_FULL_NAME_MAX + 1] = "";
    for (; out->nvolumes < max && next_volume(s->config.pod, after, &info); out->nvolumes++) {
        struct analytics_volume_sample *v = &out->volumes[out->nvolumes];
        v->id = info.id;
        (void)snprintf(v->name, sizeof v->name, "%.127s", info.name);
        v->figures[ANALYTICS_VOLUME_size] = info.size_bytes;
        v->figures[ANALYTICS_VOLUME_logical] = info.space.logical;
        v->figures[ANALYTICS_VOLUME_unique] = info.space.unique;
        v->figures[ANALYTICS_VOLUME_stored] = info.space.stored;
        memcpy(after, info.name, sizeof after);
    }
}

static void put_use(struct analytics_volume_sample *v, const struct image_use_counts *c)
{
    uint64_t *f = v->figures;
    v->used = true;
    f[ANALYTICS_VOLUME_reads] = c->ops[IMAGE_USE_READ];
    f[ANALYTICS_VOLUME_writes] = c->ops[IMAGE_USE_WRITE];
    f[ANALYTICS_VOLUME_read_bytes] = c->bytes[IMAGE_USE_READ];
    f[ANALYTICS_VOLUME_write_bytes] = c->bytes[IMAGE_USE_WRITE];
    f[ANALYTICS_VOLUME_read_latency_ns] = c->latency_ns[IMAGE_USE_READ];
    f[ANALYTICS_VOLUME_write_latency_ns] = c->latency_ns[IMAGE_USE_WRITE];
    f[ANALYTICS_VOLUME_flushes] = c->ops[IMAGE_USE_FLUSH];
    f[ANALYTICS_VOLUME_trims] = c->ops[IMAGE_USE_TRIM];
    f[ANALYTICS_VOLUME_trim_bytes] = c->bytes[IMAGE_USE_TRIM];
    f[ANALYTICS_VOLUME_flush_latency_ns] = c->latency_ns[IMAGE_USE_FLUSH];
    f[ANALYTICS_VOLUME_trim_latency_ns] = c->latency_ns[IMAGE_USE_TRIM];
    for (size_t i = 0; i < ANALYTICS_LATENCIES; i++) {
        f[ANALYTICS_VOLUME_READ_LATENCIES + i] = c->latencies[IMAGE_USE_READ][i];
        f[ANALYTICS_VOLUME_WRITE_LATENCIES + i] = c->latencies[IMAGE_USE_WRITE][i];
        f[ANALYTICS_VOLUME_FLUSH_LATENCIES + i] = c->latencies[IMAGE_USE_FLUSH][i];
        f[ANALYTICS_VOLUME_TRIM_LATENCIES + i] = c->latencies[IMAGE_USE_TRIM][i];
    }
    v->shift = c->shift;
    memcpy(v->region_reads, c->regions[IMAGE_USE_READ], sizeof v->region_reads);
    memcpy(v->region_writes, c->regions[IMAGE_USE_WRITE], sizeof v->region_writes);
}

/* What belongs to a volume that is gone goes with it. */
static void sample_uses(struct analytics_service *s, struct analytics_sample *out)
{
    struct image_use_counts counts;
    for (uint64_t id = 0; image_uses_take(s->config.uses, id, &id, &counts);)
        for (size_t i = 0; i < out->nvolumes; i++)
            if (out->volumes[i].id == id)
                put_use(&out->volumes[i], &counts);
}

static void hand_over(struct analytics_service *s)
{
    s->sampling.msg.run = add_sample;
    s->sampling.waits = loop_thread_post(s->config.management, &s->sampling.msg) != 0;
}

static void take_sample(struct analytics_service *s)
{
    struct pod_stats p;
    if (s->sampling.waits)
        hand_over(s);
    if (s->sampling.sample)
        return;
    pod_stats(s->config.pod, &p);
    const size_t max = p.volumes < ANALYTICS_VOLUMES_MAX ? p.volumes : ANALYTICS_VOLUMES_MAX;
    struct analytics_sample *sample = calloc(1, sizeof *sample + max * sizeof sample->volumes[0]);
    /* A pod that is being opened, or filled with a copy, has nothing to tell. */
    if (!sample || p.opening || p.capacity == 0) {
        free(sample);
        return;
    }
    s->sampled_unix_ns = clock_unix_ns();
    s->sampled_volumes = p.volumes;
    sample->time_s = (int64_t)(s->sampled_unix_ns / NS_PER_S);
    sample->run = s->config.started_unix_ns;
    sample_pod(s, sample);
    sample_devices(s, sample);
    sample_volumes(s, sample, max);
    sample_uses(s, sample);
    s->sampling.sample = sample;
    hand_over(s);
}

static void sample_done(struct mailbox_msg *msg)
{
    struct analytics_service *s = container_of(msg, struct analytics_service, sampling.msg);
    free(s->sampling.sample);
    s->sampling.sample = NULL;
    if (s->sampling.status)
        log_warn("analytics", "a sample could not be kept",
                 LOG_S("status", ps_status_name(s->sampling.status)));
}

static void on_timer(uv_timer_t *timer)
{
    take_sample(timer->data);
}

/* ---- questions */

/* Volumes have come or gone since the last sample. */
static bool is_behind(struct analytics_service *s, const struct analytics_query *query)
{
    struct pod_image_info info;
    struct pod_stats p;
    pod_stats(s->config.pod, &p);
    return p.volumes != s->sampled_volumes ||
           (query->id && pod_image_by_id(s->config.pod, query->id, &info) == 0 &&
            info.created_unix_ns > s->sampled_unix_ns);
}

static int ask(struct analytics_source *source, struct analytics_query *query)
{
    struct analytics_service *s = container_of(source, struct analytics_service, source);
    struct question *q = s->questions;
    if (s->stopping)
        return PS_EUNAVAILABLE;
    if (query->question != ANALYTICS_NOTHING && (!s->sampled_unix_ns || is_behind(s, query)))
        take_sample(s);
    while (q < s->questions + QUESTIONS_MAX && q->query)
        q++;
    if (q == s->questions + QUESTIONS_MAX)
        return PS_ELIMIT;
    *q = (struct question){
        .msg.run = find_answer, .service = s, .query = query, .now_s = (int64_t)(clock_unix_ns() / NS_PER_S)};
    const int rc = loop_thread_post(s->config.management, &q->msg);
    if (rc)
        q->query = NULL;
    return rc;
}

static void question_done(struct mailbox_msg *msg)
{
    struct question *q = container_of(msg, struct question, msg);
    struct analytics_query *query = q->query;
    const int status = q->status;
    q->query = NULL;
    query->cb(query, status);
}

/* ---- life */

int analytics_service_start(const struct analytics_service_config *config, struct analytics *analytics,
                            struct analytics_service **out)
{
    struct analytics_service *s = calloc(1, sizeof *s);
    const int rc = s ? mailbox_create(config->loop, QUESTIONS_MAX + 4, &s->answers) : PS_ENOMEM;
    if (rc) {
        free(s);
        analytics_close(analytics);
        return rc;
    }
    s->config = *config;
    s->analytics = analytics;
    s->source.ask = ask;
    s->began_ns = clock_monotonic_ns();
    (void)uv_timer_init(config->loop, &s->timer);
    uv_unref((uv_handle_t *)&s->timer);
    s->timer.data = s;
    (void)uv_timer_start(&s->timer, on_timer, 0, config->interval_ms);
    *out = s;
    return 0;
}

struct analytics_source *analytics_service_source(struct analytics_service *s)
{
    return &s->source;
}

static void all_closed(uv_handle_t *handle)
{
    struct analytics_service *s = handle->data;
    void (*stopped)(void *) = s->stopped;
    void *user = s->stopped_user;
    mailbox_free(s->answers);
    free(s->sampling.sample);
    free(s);
    stopped(user);
}

static void answers_closed(void *user)
{
    struct analytics_service *s = user;
    uv_close((uv_handle_t *)&s->timer, all_closed);
}

static void closed(struct mailbox_msg *msg)
{
    struct analytics_service *s = container_of(msg, struct analytics_service, close);
    mailbox_close(s->answers, answers_closed, s);
}

/* Behind the last sample, which is taken when the one before it is kept. The management thread may be behind
 * with that, or with news: then a little later. */
static void try_stop(uv_timer_t *timer)
{
    struct analytics_service *s = timer->data;
    if (s->sampling.waits)
        hand_over(s);
    if (!s->sampled_last && !s->sampling.sample) {
        take_sample(s);
        s->sampled_last = true;
    }
    s->close.run = close_history;
    if (!s->sampled_last || s->sampling.waits || loop_thread_post(s->config.management, &s->close))
        (void)uv_timer_start(&s->timer, try_stop, STOP_RETRY_MS, 0);
}

void analytics_service_stop(struct analytics_service *s, void (*stopped)(void *user), void *user)
{
    assert(!s->stopping);
    s->stopping = true;
    s->stopped = stopped;
    s->stopped_user = user;
    (void)uv_timer_stop(&s->timer);
    try_stop(&s->timer);
}
