/* Analytics: requests as messages, and answers as results. As in calls.c, nothing that a node sends is
 * believed before it fits. */
#include <stdlib.h>
#include <string.h>

#include "client/lib/answers.h"
#include "common/clock.h"
#include "pstorage/v1/analytics.pb-c.h"

/* ---- forecast */

static int send_forecast(struct call *call)
{
    struct pstorage_forecast *f = (void *)call->request;
    Pstorage__V1__ForecastRequest m = PSTORAGE__V1__FORECAST_REQUEST__INIT;
    m.horizons_days = f->horizons_days;
    m.n_horizons_days = f->nhorizons;
    m.plan_bytes = f->plan_bytes;
    m.plan_bytes_per_day = f->plan_bytes_per_day;
    return call_send(call, &pstorage__v1__analytics__descriptor, "Forecast", &m.base);
}

static bool take_crossing(const Pstorage__V1__ForecastCrossing *m, struct pstorage_crossing *out)
{
    if (!m)
        return false;
    *out = (struct pstorage_crossing){
        .reached = m->reached != 0,
        .known = m->known != 0,
        .days = m->days,
        .earliest_known = m->earliest_known != 0,
        .latest_known = m->latest_known != 0,
        .earliest_days = m->earliest_days,
        .latest_days = m->latest_days,
    };
    return true;
}

static int take_forecast(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__ForecastResponse *m = (const void *)reply->message;
    struct pstorage_forecast *f = (void *)call->request;
    if (m->n_predictions > sizeof f->predictions / sizeof f->predictions[0])
        return nonsense(call, "too many predictions");
    if (!COPY(f->method, m->method) || !COPY(f->why, m->why) ||
        !take_crossing(m->at_80_percent, &f->at_80_percent) ||
        !take_crossing(m->at_90_percent, &f->at_90_percent))
        return nonsense(call, "a text is too long, or a part is missing");
    f->capacity_bytes = m->capacity_bytes;
    f->used_bytes = m->used_bytes;
    f->seasonal = m->seasonal != 0;
    f->step_seconds = m->step_seconds;
    f->samples = m->samples;
    f->level_shifts = m->level_shifts;
    f->confidence_days = m->confidence_days;
    f->backtests = m->backtests;
    f->span_days = m->span_days;
    f->growth_bytes_per_day = m->growth_bytes_per_day;
    f->searched_days = m->searched_days;
    f->confidence = m->confidence;
    f->error_vs_linear = m->error_vs_linear;
    for (f->npredictions = 0; f->npredictions < m->n_predictions; f->npredictions++) {
        const Pstorage__V1__ForecastPrediction *p = m->predictions[f->npredictions];
        f->predictions[f->npredictions] = (struct pstorage_prediction){
            .days = p->days,
            .known = p->known != 0,
            .used_bytes = p->used_bytes,
            .low_bytes = p->low_bytes,
            .high_bytes = p->high_bytes,
        };
    }
    return PS_OK;
}

const struct request_kind kind_forecast = {send_forecast, take_forecast, NULL, true};

int pstorage_forecast_submit(struct pstorage_client *client, struct pstorage_forecast *f, pstorage_cb cb)
{
    if (f->nhorizons > sizeof f->horizons_days / sizeof f->horizons_days[0])
        return ps_error_set((struct ps_error *)(void *)&f->request.error, PS_EINVAL, "at most 8 horizons");
    return client_submit(client, NULL, &f->request, &kind_forecast, cb);
}

/* ---- health */

static int send_health(struct call *call)
{
    const struct pstorage_health *h = (const void *)call->request;
    Pstorage__V1__HealthRequest m = PSTORAGE__V1__HEALTH_REQUEST__INIT;
    m.all_nodes = h->all_nodes;
    return call_send(call, &pstorage__v1__analytics__descriptor, "Health", &m.base);
}

static bool take_drive(const Pstorage__V1__DriveHealth *m, struct pstorage_drive *out)
{
    *out = (struct pstorage_drive){
        .score = m->score,
        .wear_known = m->wear_known != 0,
        .days_left_known = m->days_left_known != 0,
        .wear_mean_cycles = m->wear_mean_cycles,
        .wear_max_cycles = m->wear_max_cycles,
        .days_left = m->days_left,
        .blocks = m->blocks,
        .retired_blocks = m->retired_blocks,
        .errors_30_days = m->errors_30_days,
        .written_30_days_bytes = m->written_30_days_bytes,
        .smart_known = m->smart_known != 0,
        .used_percent = m->used_percent,
        .spare_percent = m->spare_percent,
        .celsius_known = m->celsius_known != 0,
        .celsius = m->celsius,
        .media_errors = m->media_errors,
    };
    if (m->score > 100 || m->n_reasons > sizeof out->reasons / sizeof out->reasons[0] ||
        !COPY(out->name, m->name) || !COPY(out->node, m->node))
        return false;
    for (; out->nreasons < m->n_reasons; out->nreasons++)
        if (!COPY(out->reasons[out->nreasons], m->reasons[out->nreasons]))
            return false;
    return true;
}

static int take_health(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__HealthResponse *m = (const void *)reply->message;
    struct pstorage_health *h = (void *)call->request;
    if (m->n_drives > sizeof h->items / sizeof h->items[0])
        return nonsense(call, "too many drives");
    for (h->count = 0; h->count < m->n_drives; h->count++)
        if (!take_drive(m->drives[h->count], &h->items[h->count]))
            return nonsense(call, "a drive is none");
    if (m->n_unreachable > sizeof h->unreachable / sizeof h->unreachable[0])
        return nonsense(call, "too many nodes");
    for (h->nunreachable = 0; h->nunreachable < m->n_unreachable; h->nunreachable++)
        if (!COPY(h->unreachable[h->nunreachable], m->unreachable[h->nunreachable]))
            return nonsense(call, "a node's name is too long");
    return PS_OK;
}

const struct request_kind kind_health = {send_health, take_health, NULL, true};

int pstorage_health_submit(struct pstorage_client *client, struct pstorage_health *h, pstorage_cb cb)
{
    h->count = h->nunreachable = 0;
    return client_submit(client, NULL, &h->request, &kind_health, cb);
}

/* ---- tiering */

static int send_tiering(struct call *call)
{
    const struct pstorage_tiering *t = (const void *)call->request;
    Pstorage__V1__TieringRequest m = PSTORAGE__V1__TIERING_REQUEST__INIT;
    m.page_size = CLIENT_PAGE;
    if (t->count)
        m.page_token = t->items[t->count - 1].name;
    return call_send(call, &pstorage__v1__analytics__descriptor, "Tiering", &m.base);
}

static bool take_advice(const Pstorage__V1__TieringAdvice *m, struct pstorage_tier_advice *out)
{
    *out = (struct pstorage_tier_advice){
        .id = m->id,
        .logical_bytes = m->logical_bytes,
        .stored_bytes = m->stored_bytes,
        .accesses_per_hour_gib = m->accesses_per_hour_gib,
        .cost_now = m->cost_now,
        .cost_there = m->cost_there,
    };
    return COPY(out->name, m->name) && COPY(out->temperature, m->temperature) &&
           COPY(out->current_tier, m->current_tier) && COPY(out->tier, m->tier) &&
           COPY(out->reason, m->reason);
}

static int take_tiering(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__TieringResponse *m = (const void *)reply->message;
    struct pstorage_tiering *t = (void *)call->request;
    const bool more = m->next_page_token[0] != '\0';
    if (m->n_volumes > CLIENT_PAGE || (more && m->n_volumes == 0) ||
        t->count + m->n_volumes > CLIENT_LIST_MAX)
        return nonsense(call, "too many volumes, or none");
    struct pstorage_tier_advice *items = realloc(t->items, (t->count + m->n_volumes + 1) * sizeof *items);
    if (!items)
        return no_memory(call);
    t->items = items;
    for (size_t i = 0; i < m->n_volumes; i++, t->count++)
        if (!take_advice(m->volumes[i], &items[t->count]) ||
            (t->count > 0 && strcmp(items[t->count - 1].name, items[t->count].name) >= 0))
            return nonsense(call, "a text is too long, or the order is wrong");
    return more ? AGAIN : PS_OK;
}

const struct request_kind kind_tiering = {send_tiering, take_tiering, NULL, true};

int pstorage_tiering_submit(struct pstorage_client *client, struct pstorage_tiering *t, pstorage_cb cb)
{
    t->items = NULL;
    t->count = 0;
    return client_submit(client, NULL, &t->request, &kind_tiering, cb);
}

void pstorage_tiering_clear(struct pstorage_tiering *t)
{
    free(t->items);
    t->items = NULL;
    t->count = 0;
}

/* ---- temperature */

static int send_temperature(struct call *call)
{
    const struct pstorage_temperature *t = (const void *)call->request;
    Pstorage__V1__TemperatureRequest m = PSTORAGE__V1__TEMPERATURE_REQUEST__INIT;
    m.volume = (char *)(uintptr_t)t->volume;
    return call_send(call, &pstorage__v1__analytics__descriptor, "Temperature", &m.base);
}

static bool fill_temperature(const Pstorage__V1__TemperatureResponse *m, struct pstorage_temperature *t)
{
    if (m->n_regions > sizeof t->regions / sizeof t->regions[0] || !COPY(t->temperature, m->temperature))
        return false;
    t->id = m->id;
    t->size_bytes = m->size_bytes;
    t->logical_bytes = m->logical_bytes;
    t->accesses_per_hour_gib = m->accesses_per_hour_gib;
    t->reads_per_hour = m->reads_per_hour;
    t->writes_per_hour = m->writes_per_hour;
    t->hot_bytes = m->hot_bytes;
    t->warm_bytes = m->warm_bytes;
    t->cold_bytes = m->cold_bytes;
    t->frozen_bytes = m->frozen_bytes;
    t->region_bytes = m->region_bytes;
    t->nregions = m->n_regions;
    if (m->n_regions)
        memcpy(t->regions, m->regions, m->n_regions * sizeof t->regions[0]);
    return true;
}

static int take_temperature(struct call *call, const struct rpc_reply *reply)
{
    return fill_temperature((const void *)reply->message, (void *)call->request)
               ? PS_OK
               : nonsense(call, "too many regions, or a text is too long");
}

const struct request_kind kind_temperature = {send_temperature, take_temperature, NULL, true};

int pstorage_temperature_submit(struct pstorage_client *client, struct pstorage_temperature *t,
                                pstorage_cb cb)
{
    if (!t->volume || !t->volume[0])
        return ps_error_set((struct ps_error *)(void *)&t->request.error, PS_EINVAL, "no volume is named");
    return client_submit(client, NULL, &t->request, &kind_temperature, cb);
}

/* ---- account */

static int send_account(struct call *call)
{
    const struct pstorage_account *a = (const void *)call->request;
    Pstorage__V1__VolumeAccountRequest m = PSTORAGE__V1__VOLUME_ACCOUNT_REQUEST__INIT;
    m.volume = (char *)(uintptr_t)a->volume;
    m.step = (Pstorage__V1__HistoryStep)a->step;
    /* The next whole second: points begin at whole ones. */
    m.before_unix_s = (int64_t)(a->before_unix_ns / NS_PER_S + (a->before_unix_ns % NS_PER_S > 0));
    m.max_points = a->max_points;
    return call_send(call, &pstorage__v1__analytics__descriptor, "Volume", &m.base);
}

static bool take_latency(const Pstorage__V1__LatencyFigures *m, struct pstorage_latency_figures *out)
{
    if (!m)
        return false;
    *out = (struct pstorage_latency_figures){.requests = m->requests,
                                             .mean_us = m->mean_us,
                                             .p50_us = m->p50_us,
                                             .p95_us = m->p95_us,
                                             .p99_us = m->p99_us};
    return true;
}

static bool take_point(const Pstorage__V1__VolumePoint *m, struct pstorage_volume_point *out)
{
    *out = (struct pstorage_volume_point){
        .begin_unix_ns = (uint64_t)m->begin_unix_s * NS_PER_S,
        .samples = m->samples,
        .size_bytes = m->size_bytes,
        .logical_bytes = m->logical_bytes,
        .stored_bytes = m->stored_bytes,
        .reads = m->reads,
        .writes = m->writes,
        .read_bytes = m->read_bytes,
        .written_bytes = m->written_bytes,
    };
    return m->begin_unix_s >= 0 && (uint64_t)m->begin_unix_s <= UINT64_MAX / NS_PER_S &&
           take_latency(m->read_latency, &out->read_latency) &&
           take_latency(m->write_latency, &out->write_latency);
}

static int take_account(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__VolumeAccountResponse *m = (const void *)reply->message;
    struct pstorage_account *a = (void *)call->request;
    const size_t most = a->max_points && a->max_points < CLIENT_PAGE ? a->max_points : CLIENT_PAGE;
    if (!m->temperature || m->temperature->n_regions || !fill_temperature(m->temperature, &a->now) ||
        !take_latency(m->read_latency, &a->read_latency) ||
        !take_latency(m->write_latency, &a->write_latency) || m->n_points > most)
        return nonsense(call, "a part is missing, or too many points");
    a->stored_bytes = m->stored_bytes;
    a->growth_known = m->growth_known != 0;
    a->growth_days = m->growth_days;
    a->logical_bytes_per_day = m->logical_bytes_per_day;
    a->stored_bytes_per_day = m->stored_bytes_per_day;
    a->earlier = m->earlier != 0;
    a->points = calloc(m->n_points + 1, sizeof *a->points);
    if (!a->points)
        return no_memory(call);
    for (; a->npoints < m->n_points; a->npoints++)
        if (!take_point(m->points[a->npoints], &a->points[a->npoints]))
            return nonsense(call, "a point is none");
    return PS_OK;
}

const struct request_kind kind_account = {send_account, take_account, NULL, true};

int pstorage_account_submit(struct pstorage_client *client, struct pstorage_account *a, pstorage_cb cb)
{
    a->points = NULL;
    a->npoints = 0;
    if (!a->volume || !a->volume[0])
        return ps_error_set((struct ps_error *)(void *)&a->request.error, PS_EINVAL, "no volume is named");
    return client_submit(client, NULL, &a->request, &kind_account, cb);
}

void pstorage_account_clear(struct pstorage_account *a)
{
    free(a->points);
    a->points = NULL;
    a->npoints = 0;
}

/* ---- measuring */

static int send_measure(struct call *call)
{
    const struct pstorage_measure *g = (const void *)call->request;
    Pstorage__V1__MeasureRequest m = PSTORAGE__V1__MEASURE_REQUEST__INIT;
    m.extent_blocks = g->extent_blocks;
    call->rpc.payload = g->data;
    call->rpc.payload_bytes = (size_t)g->blocks * PSTORAGE_MEASURE_BLOCK_BYTES;
    return call_send(call, &pstorage__v1__analytics__descriptor, "Measure", &m.base);
}

static int take_measure(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__MeasureResponse *m = (const void *)reply->message;
    struct pstorage_measure *g = (void *)call->request;
    if (m->n_kinds != g->blocks || m->n_stored_bytes != g->blocks || m->n_keys != g->blocks)
        return nonsense(call, "less or more blocks than were sent");
    for (uint32_t i = 0; i < g->blocks; i++) {
        const bool is_new = m->kinds[i] == PSTORAGE__V1__MEASURED_KIND__MEASURED_KIND_NEW;
        if (m->kinds[i] < PSTORAGE__V1__MEASURED_KIND__MEASURED_KIND_PATTERN ||
            m->kinds[i] > PSTORAGE__V1__MEASURED_KIND__MEASURED_KIND_NEW ||
            m->stored_bytes[i] > PSTORAGE_MEASURE_BLOCK_BYTES || (m->stored_bytes[i] > 0) != is_new)
            return nonsense(call, "a block of no kind, or of no size");
        g->results[i] = (struct pstorage_measured){(enum pstorage_measured_kind)m->kinds[i],
                                                   m->stored_bytes[i], m->keys[i]};
    }
    return PS_OK;
}

const struct request_kind kind_measure = {send_measure, take_measure, NULL, true};

int pstorage_measure_submit(struct pstorage_client *client, struct pstorage_measure *g, pstorage_cb cb)
{
    if (g->blocks == 0 || g->blocks > PSTORAGE_MEASURE_BLOCKS)
        return ps_error_set((struct ps_error *)(void *)&g->request.error, PS_EINVAL,
                            "1 to 32 blocks at a time");
    if ((uintptr_t)g->data % PSTORAGE_MEASURE_BLOCK_BYTES)
        return ps_error_set((struct ps_error *)(void *)&g->request.error, PS_EINVAL,
                            "the data is not aligned to 4096 bytes");
    return client_submit(client, NULL, &g->request, &kind_measure, cb);
}
