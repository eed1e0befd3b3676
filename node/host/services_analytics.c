/* Analytics: see proto/pstorage/v1/analytics.proto. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/message.h"
#include "node/host/services_impl.h"
#include "pstorage/v1/analytics.pb-c.h"

#define BEFORE_MAX_S (1ll << 40) /* later than any time */

/* A question on its way. */
struct inquiry {
    struct analytics_query query;
    struct services *services;
    struct rpc_call *call;
    size_t page;
    bool all_nodes;
};

static char *text_of(const char *text)
{
    return (char *)(uintptr_t)text;
}

static struct inquiry *inquiry_new(struct services *s, struct rpc_call *call,
                                   enum analytics_question question,
                                   void (*cb)(struct analytics_query *query, int status))
{
    struct inquiry *q = calloc(1, sizeof *q);
    if (!q) {
        rpc_call_fail(call, PS_ENOMEM, NULL);
        return NULL;
    }
    q->services = s;
    q->call = call;
    q->query.question = question;
    q->query.cb = cb;
    return q;
}

static void inquiry_free(struct inquiry *q)
{
    free(q->query.advice);
    free(q->query.stretches);
    free(q);
}

static void inquire(struct inquiry *q)
{
    struct analytics_source *source = q->services->config.analytics;
    const int status = source ? source->ask(source, &q->query) : PS_EUNIMPLEMENTED;
    if (status) {
        rpc_call_fail(q->call, status,
                      source ? "analytics can't be asked now" : "this node keeps no history");
        inquiry_free(q);
        return;
    }
    q->services->queries++;
}

/* The question that was answered; NULL: the call has ended with its error. */
static struct inquiry *answered(struct analytics_query *query, int status)
{
    struct inquiry *q = container_of(query, struct inquiry, query);
    q->services->queries--;
    if (status == 0)
        return q;
    char detail[192] = "";
    if (status == PS_ENOTFOUND)
        (void)snprintf(detail, sizeof detail,
                       "this volume was not sampled: the %d first by name are, a moment after they are made",
                       ANALYTICS_VOLUMES_MAX);
    else if (status == PS_EUNAVAILABLE)
        (void)snprintf(detail, sizeof detail, "nothing was sampled yet: ask again in a moment");
    rpc_call_fail(q->call, status, detail[0] ? detail : NULL);
    inquiry_free(q);
    return NULL;
}

/* ---- Forecast */

static uint64_t bytes_of(double v)
{
    return v <= 0 ? 0 : v >= 1e19 ? UINT64_MAX : (uint64_t)v;
}

static void fill_crossing(Pstorage__V1__ForecastCrossing *out, const struct forecast_crossing *c)
{
    pstorage__v1__forecast_crossing__init(out);
    out->reached = c->reached;
    out->known = c->known;
    out->days = c->known ? c->days : 0;
    out->earliest_known = c->earliest >= 0 && !c->reached;
    out->earliest_days = out->earliest_known ? c->earliest : 0;
    out->latest_known = c->latest >= 0 && !c->reached;
    out->latest_days = out->latest_known ? c->latest : 0;
}

static void forecast_answered(struct analytics_query *query, int status)
{
    struct inquiry *q = answered(query, status);
    if (!q)
        return;
    const struct analytics_forecast *a = &query->answer.forecast;
    const struct forecast *f = &a->forecast;
    Pstorage__V1__ForecastPrediction rows[FORECAST_HORIZONS_MAX], *pointers[FORECAST_HORIZONS_MAX];
    Pstorage__V1__ForecastCrossing at_80, at_90;
    Pstorage__V1__ForecastResponse m = PSTORAGE__V1__FORECAST_RESPONSE__INIT;
    for (size_t i = 0; i < f->npredictions; i++) {
        const struct forecast_prediction *p = &f->predictions[i];
        pstorage__v1__forecast_prediction__init(&rows[i]);
        rows[i].days = p->days;
        rows[i].known = p->known;
        rows[i].used_bytes = bytes_of(p->value);
        rows[i].low_bytes = bytes_of(p->low);
        rows[i].high_bytes = bytes_of(p->high);
        pointers[i] = &rows[i];
    }
    fill_crossing(&at_80, &f->at_80);
    fill_crossing(&at_90, &f->at_90);
    m.capacity_bytes = a->capacity;
    m.used_bytes = a->used;
    m.method = text_of(forecast_method_name(f->method));
    m.seasonal = f->seasonal;
    m.why = text_of(f->why);
    m.step_seconds = (uint32_t)f->step_s;
    m.samples = (uint32_t)f->samples;
    m.span_days = f->span_days;
    m.level_shifts = (uint32_t)f->shifts;
    m.growth_bytes_per_day = f->per_day;
    m.predictions = pointers;
    m.n_predictions = f->npredictions;
    m.at_80_percent = &at_80;
    m.at_90_percent = &at_90;
    m.searched_days = f->searched_days;
    m.confidence = f->confidence;
    m.confidence_days = f->confidence_days;
    m.error_vs_linear = f->error_vs_linear;
    m.backtests = (uint32_t)f->backtests;
    rpc_call_reply(q->call, &m.base);
    inquiry_free(q);
}

static void forecast(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    static const unsigned usual[] = {7, 30, 90};
    const Pstorage__V1__ForecastRequest *request = (const void *)message;
    if (is_for_primary(user, call, &pstorage__v1__analytics__descriptor, "Forecast", message))
        return;
    if (request->n_horizons_days > FORECAST_HORIZONS_MAX) {
        rpc_call_fail(call, PS_EINVAL, "at most 8 horizons");
        return;
    }
    for (size_t i = 0; i < request->n_horizons_days; i++)
        if (request->horizons_days[i] == 0 || request->horizons_days[i] > 1826) {
            rpc_call_fail(call, PS_EINVAL, "a horizon is 1 to 1826 days away");
            return;
        }
    struct inquiry *q = inquiry_new(user, call, ANALYTICS_FORECAST, forecast_answered);
    if (!q)
        return;
    q->query.forecast_ask.horizons = request->n_horizons_days ? request->n_horizons_days : 3;
    for (size_t i = 0; i < q->query.forecast_ask.horizons; i++)
        q->query.forecast_ask.horizons_days[i] =
            request->n_horizons_days ? request->horizons_days[i] : usual[i];
    q->query.forecast_ask.plan_at_once = (double)request->plan_bytes;
    q->query.forecast_ask.plan_per_day = (double)request->plan_bytes_per_day;
    inquire(q);
}

/* ---- Health */

static void health_answered(struct analytics_query *query, int status)
{
    struct inquiry *q = answered(query, status);
    if (!q)
        return;
    struct analytics_health *h = &query->answer.health;
    Pstorage__V1__DriveHealth rows[ANALYTICS_DEVICES_MAX], *pointers[ANALYTICS_DEVICES_MAX];
    char *reasons[ANALYTICS_DEVICES_MAX][HEALTH_REASONS_MAX];
    Pstorage__V1__HealthResponse m = PSTORAGE__V1__HEALTH_RESPONSE__INIT;
    for (size_t i = 0; i < h->count; i++) {
        struct analytics_device *d = &h->devices[i];
        pstorage__v1__drive_health__init(&rows[i]);
        rpc_utf8_repair(d->name);
        rows[i].name = d->name;
        rows[i].score = d->health.score;
        for (size_t k = 0; k < d->health.nreasons; k++)
            reasons[i][k] = d->health.reasons[k];
        rows[i].reasons = reasons[i];
        rows[i].n_reasons = d->health.nreasons;
        rows[i].wear_known = d->wear_known;
        rows[i].wear_mean_cycles = d->wear_mean;
        rows[i].wear_max_cycles = d->wear_max;
        rows[i].blocks = d->blocks;
        rows[i].retired_blocks = d->retired;
        rows[i].errors_30_days = d->errors_30_days;
        rows[i].written_30_days_bytes = d->written_30_days;
        rows[i].days_left_known = d->health.days_known;
        rows[i].days_left = d->health.days_left;
        rows[i].smart_known = d->smart_known;
        rows[i].used_percent = d->used_percent;
        rows[i].spare_percent = d->spare_percent;
        rows[i].celsius_known = d->smart_known && d->kelvin;
        rows[i].celsius = rows[i].celsius_known ? d->kelvin - 273.15 : 0;
        rows[i].media_errors = d->media_errors;
        rows[i].node = text_of(q->services->config.node_name);
        pointers[i] = &rows[i];
    }
    m.drives = pointers;
    m.n_drives = h->count;
    if (q->all_nodes)
        health_of_all(q->services, q->call, &m);
    else
        rpc_call_reply(q->call, &m.base);
    inquiry_free(q);
}

static void health(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__HealthRequest *request = (const void *)message;
    struct inquiry *q = inquiry_new(user, call, ANALYTICS_HEALTH, health_answered);
    if (!q)
        return;
    q->all_nodes = request->all_nodes;
    inquire(q);
}

/* ---- Tiering */

static void fill_advice(Pstorage__V1__TieringAdvice *out, struct analytics_advice *a)
{
    pstorage__v1__tiering_advice__init(out);
    rpc_utf8_repair(a->name);
    out->id = a->id;
    out->name = a->name;
    out->logical_bytes = a->logical;
    out->stored_bytes = a->stored;
    out->temperature = text_of(temperature_name(a->temperature));
    out->accesses_per_hour_gib = a->density;
    out->current_tier = text_of(tier_name(a->now));
    out->tier = text_of(tier_name(a->advice.tier));
    out->reason = a->advice.reason;
    out->cost_now = a->advice.cost_now;
    out->cost_there = a->advice.cost_there;
}

static void tiering_answered(struct analytics_query *query, int status)
{
    struct inquiry *q = answered(query, status);
    if (!q)
        return;
    /* One more than a page was asked for: it tells that there is a next one. */
    const size_t count = query->answer.count < q->page ? query->answer.count : q->page;
    Pstorage__V1__TieringAdvice *rows = calloc(count + 1, sizeof *rows),
                                **pointers = calloc(count + 1, sizeof(void *));
    Pstorage__V1__TieringResponse m = PSTORAGE__V1__TIERING_RESPONSE__INIT;
    if (rows && pointers) {
        for (size_t i = 0; i < count; i++) {
            fill_advice(&rows[i], &query->advice[i]);
            pointers[i] = &rows[i];
        }
        m.volumes = pointers;
        m.n_volumes = count;
        if (query->answer.count > count)
            m.next_page_token = query->advice[count - 1].name;
        rpc_call_reply(q->call, &m.base);
    } else {
        rpc_call_fail(q->call, PS_ENOMEM, NULL);
    }
    free(rows);
    free(pointers);
    inquiry_free(q);
}

static void tiering(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__TieringRequest *request = (const void *)message;
    if (is_for_primary(user, call, &pstorage__v1__analytics__descriptor, "Tiering", message))
        return;
    if (strlen(request->page_token) > POD_NAME_MAX) {
        rpc_call_fail(call, PS_EINVAL, "that is no page token of this list");
        return;
    }
    struct inquiry *q = inquiry_new(user, call, ANALYTICS_TIERING, tiering_answered);
    if (!q)
        return;
    q->page = request->page_size ? request->page_size : SERVICES_PAGE_DEFAULT;
    q->page = q->page < SERVICES_PAGE_MAX ? q->page : SERVICES_PAGE_MAX;
    q->query.max_advice = q->page + 1;
    q->query.advice = calloc(q->query.max_advice, sizeof *q->query.advice);
    if (!q->query.advice) {
        rpc_call_fail(call, PS_ENOMEM, NULL);
        inquiry_free(q);
        return;
    }
    (void)snprintf(q->query.name, sizeof q->query.name, "%s", request->page_token);
    inquire(q);
}

/* ---- one volume */

/* Whatever it was called when it was sampled: by its id. NULL: the call has ended. */
static struct inquiry *inquiry_about(struct services *s, struct rpc_call *call, const char *volume,
                                     enum analytics_question question,
                                     void (*cb)(struct analytics_query *query, int status))
{
    struct pod_image_info info;
    struct ps_error err;
    int rc = pod_check_volume_name(volume, &err);
    if (rc == 0 && pod_image_by_name(s->config.pod, volume, &info))
        rc = ps_error_set(&err, PS_ENOTFOUND, "no volume is named '%s'", volume);
    if (rc) {
        rpc_call_fail(call, rc, err.detail);
        return NULL;
    }
    struct inquiry *q = inquiry_new(s, call, question, cb);
    if (q)
        q->query.id = info.id;
    return q;
}

static void fill_temperature(Pstorage__V1__TemperatureResponse *m, struct analytics_volume *v)
{
    const struct temperature_report *t = &v->temperature;
    pstorage__v1__temperature_response__init(m);
    rpc_utf8_repair(v->name);
    m->id = v->id;
    m->name = v->name;
    m->size_bytes = v->size;
    m->logical_bytes = v->logical;
    m->temperature = text_of(temperature_name(t->temperature));
    m->accesses_per_hour_gib = t->density;
    m->reads_per_hour = t->reads_per_hour;
    m->writes_per_hour = t->writes_per_hour;
    m->hot_bytes = t->bytes[TEMPERATURE_HOT];
    m->warm_bytes = t->bytes[TEMPERATURE_WARM];
    m->cold_bytes = t->bytes[TEMPERATURE_COLD];
    m->frozen_bytes = t->bytes[TEMPERATURE_FROZEN];
    m->region_bytes = 1ull << t->region_shift;
}

static void temperature_answered(struct analytics_query *query, int status)
{
    struct inquiry *q = answered(query, status);
    if (!q)
        return;
    struct temperature_report *t = &query->answer.volume.temperature;
    Pstorage__V1__TemperatureResponse m;
    fill_temperature(&m, &query->answer.volume);
    m.regions = t->region_density;
    m.n_regions = t->regions;
    rpc_call_reply(q->call, &m.base);
    inquiry_free(q);
}

static void temperature(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__TemperatureRequest *request = (const void *)message;
    if (is_for_primary(user, call, &pstorage__v1__analytics__descriptor, "Temperature", message))
        return;
    struct inquiry *q =
        inquiry_about(user, call, request->volume, ANALYTICS_TEMPERATURE, temperature_answered);
    if (q)
        inquire(q);
}

struct account_row {
    Pstorage__V1__VolumePoint point;
    Pstorage__V1__LatencyFigures read, write;
};

static Pstorage__V1__LatencyFigures *fill_latency(Pstorage__V1__LatencyFigures *m,
                                                  const struct account_latency *l)
{
    pstorage__v1__latency_figures__init(m);
    m->requests = l->requests;
    m->mean_us = l->mean_us;
    m->p50_us = l->p50_us;
    m->p95_us = l->p95_us;
    m->p99_us = l->p99_us;
    return m;
}

static void fill_point(struct account_row *row, const struct account_point *p)
{
    Pstorage__V1__VolumePoint *m = &row->point;
    pstorage__v1__volume_point__init(m);
    m->begin_unix_s = p->time_s;
    m->samples = p->samples;
    m->size_bytes = p->size;
    m->logical_bytes = p->logical;
    m->stored_bytes = p->stored;
    m->reads = p->reads;
    m->writes = p->writes;
    m->read_bytes = p->read_bytes;
    m->written_bytes = p->write_bytes;
    m->read_latency = fill_latency(&row->read, &p->read_latency);
    m->write_latency = fill_latency(&row->write, &p->write_latency);
}

static void account_answered(struct analytics_query *query, int status)
{
    struct inquiry *q = answered(query, status);
    if (!q)
        return;
    struct account *a = &query->answer.account;
    struct account_row *rows = calloc(a->points + 1, sizeof *rows);
    Pstorage__V1__VolumePoint **pointers = calloc(a->points + 1, sizeof(void *));
    Pstorage__V1__VolumeAccountResponse m = PSTORAGE__V1__VOLUME_ACCOUNT_RESPONSE__INIT;
    Pstorage__V1__TemperatureResponse temperature;
    Pstorage__V1__LatencyFigures read, write;
    if (rows && pointers) {
        for (size_t i = 0; i < a->points; i++) {
            fill_point(&rows[i], &query->stretches[i]);
            pointers[i] = &rows[i].point;
        }
        fill_temperature(&temperature, &a->volume);
        m.temperature = &temperature;
        m.stored_bytes = a->volume.stored;
        m.growth_known = a->growth_known;
        m.growth_days = a->growth_days;
        m.logical_bytes_per_day = a->logical_per_day;
        m.stored_bytes_per_day = a->stored_per_day;
        m.read_latency = fill_latency(&read, &a->read_latency);
        m.write_latency = fill_latency(&write, &a->write_latency);
        m.points = pointers;
        m.n_points = a->points;
        m.earlier = a->earlier;
        rpc_call_reply(q->call, &m.base);
    } else {
        rpc_call_fail(q->call, PS_ENOMEM, NULL);
    }
    free(rows);
    free(pointers);
    inquiry_free(q);
}

static void volume(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__VolumeAccountRequest *request = (const void *)message;
    if (is_for_primary(user, call, &pstorage__v1__analytics__descriptor, "Volume", message))
        return;
    if ((unsigned)request->step >= ROLLUP_TIERS || request->before_unix_s < 0 ||
        request->before_unix_s > BEFORE_MAX_S) {
        rpc_call_fail(call, PS_EINVAL, "a step is a minute, an hour or a day; a time is not before 1970");
        return;
    }
    struct inquiry *q = inquiry_about(user, call, request->volume, ANALYTICS_ACCOUNT, account_answered);
    if (!q)
        return;
    const size_t max = request->max_points ? request->max_points : SERVICES_PAGE_DEFAULT;
    q->query.account_ask.tier = (enum rollup_tier)request->step;
    q->query.account_ask.before_s = request->before_unix_s ? request->before_unix_s : BEFORE_MAX_S;
    q->query.max_stretches = max < SERVICES_PAGE_MAX ? max : SERVICES_PAGE_MAX;
    q->query.stretches = calloc(q->query.max_stretches, sizeof *q->query.stretches);
    if (!q->query.stretches) {
        rpc_call_fail(call, PS_ENOMEM, NULL);
        inquiry_free(q);
        return;
    }
    inquire(q);
}

static const struct rpc_method methods[] = {
    {.name = "Forecast", .handler = forecast},
    {.name = "Health", .handler = health},
    {.name = "Tiering", .handler = tiering},
    {.name = "Temperature", .handler = temperature},
    {.name = "Volume", .handler = volume},
    {.name = "Measure", .handler = services_measure, .takes_payload = true},
};

const struct rpc_service services_analytics = {
    .descriptor = &pstorage__v1__analytics__descriptor,
    .methods = methods,
    .nmethods = sizeof methods / sizeof methods[0],
};
