/* What /analytics answers: forecast, health, tiering, and what is known of a volume. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/host/rest/rest_exchange.h"

/* Large, and few requests have one. */
struct rest_analysis {
    struct pstorage_forecast forecast;
    struct pstorage_health health;
    struct pstorage_tiering tiering;
    struct pstorage_temperature temperature;
    struct pstorage_account account;
};

static void free_analysis(struct rest_exchange *x)
{
    struct rest_analysis *a = x->analysis;
    pstorage_tiering_clear(&a->tiering);
    pstorage_account_clear(&a->account);
    free(a);
    x->analysis = NULL;
}

/* NULL: the exchange has ended. */
static struct rest_analysis *begin(struct rest_exchange *x)
{
    x->analysis = calloc(1, sizeof *x->analysis);
    if (x->analysis)
        return x->analysis;
    (void)rest_fail(&x->problem, PS_ENOMEM, NULL, "out of memory");
    rest_refuse(x);
    return NULL;
}

static void answer(struct rest_exchange *x, const void *object)
{
    rest_encode(&x->body, NULL, x->request.route->answer, object);
    free_analysis(x);
    rest_answer_body(x);
}

/* True: it has not begun, or has failed, and the exchange has ended. */
static bool failed(struct rest_exchange *x, const struct pstorage_request *q, int status)
{
    const struct pstorage_request copy = *q;
    if (status == 0)
        return false;
    free_analysis(x);
    rest_refuse_request(x, &copy, status);
    return true;
}

static double share(uint64_t part, uint64_t whole)
{
    return whole ? 100 * (double)part / (double)whole : 0;
}

/* ---- forecast */

static const uint32_t horizons[REST_PREDICTIONS] = {7, 30, 90};

static struct rest_threshold threshold_of(const struct pstorage_crossing *c)
{
    return (struct rest_threshold){
        .known = c->known || c->reached,
        .days = c->reached ? 0 : c->days,
        .earliest_known = c->earliest_known,
        .earliest = c->earliest_days,
        .latest_known = c->latest_known,
        .latest = c->latest_days,
    };
}

static struct rest_forecast forecast_of(const struct pstorage_forecast *f)
{
    struct rest_forecast out = {
        .of = *f,
        .utilization_percent = share(f->used_bytes, f->capacity_bytes),
        .at_80 = threshold_of(&f->at_80_percent),
        .at_90 = threshold_of(&f->at_90_percent),
    };
    for (size_t i = 0; i < f->npredictions; i++)
        for (size_t k = 0; k < REST_PREDICTIONS; k++)
            if (f->predictions[i].days == horizons[k])
                out.predictions[k] = (struct rest_prediction){
                    .known = f->predictions[i].known,
                    .used_bytes = f->predictions[i].used_bytes,
                    .low_bytes = f->predictions[i].low_bytes,
                    .high_bytes = f->predictions[i].high_bytes,
                    .utilization_percent = share(f->predictions[i].used_bytes, f->capacity_bytes),
                };
    return out;
}

static void on_forecast(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (failed(x, q, status))
        return;
    const struct rest_forecast out = forecast_of(&x->analysis->forecast);
    answer(x, &out);
}

static void ask_forecast(struct rest_exchange *x, pstorage_cb cb)
{
    struct pstorage_forecast *f = &x->analysis->forecast;
    memcpy(f->horizons_days, horizons, sizeof horizons);
    f->nhorizons = REST_PREDICTIONS;
    f->plan_bytes = x->request.is.plan_bytes;
    f->plan_bytes_per_day = x->request.is.plan_bytes_per_day;
    f->request.user = x;
    (void)failed(x, &f->request, pstorage_forecast_submit(x->client, f, cb));
}

void rest_show_forecast(struct rest_exchange *x)
{
    if (begin(x))
        ask_forecast(x, on_forecast);
}

/* ---- health */

static void on_health(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (failed(x, q, status))
        return;
    const struct pstorage_health *h = &x->analysis->health;
    struct rest_health out = {.drives = h->items, .ndrives = h->count, .nunreachable = h->nunreachable};
    memcpy(out.unreachable, h->unreachable, sizeof out.unreachable);
    answer(x, &out);
}
_Static_assert(sizeof((struct rest_health *)0)->unreachable ==
                   sizeof((struct pstorage_health *)0)->unreachable,
               "one is copied to the other");

static void ask_health(struct rest_exchange *x, pstorage_cb cb)
{
    struct pstorage_health *h = &x->analysis->health;
    h->all_nodes = true;
    h->request.user = x;
    (void)failed(x, &h->request, pstorage_health_submit(x->client, h, cb));
}

void rest_show_drives(struct rest_exchange *x)
{
    if (begin(x))
        ask_health(x, on_health);
}

/* ---- tiering */

static void answer_advice(struct rest_exchange *x)
{
    const struct pstorage_tiering *t = &x->analysis->tiering;
    const char *cursor = x->request.is.cursor;
    const size_t limit = rest_given(&x->request, REST_BIT(limit)) ? x->request.is.limit : REST_LIMIT_DEFAULT;
    struct rest_advice *rows = calloc(limit, sizeof *rows);
    struct rest_page page = {.items = rows, .total = t->count};
    size_t i = 0;
    while (cursor && i < t->count && strcmp(t->items[i].name, cursor) <= 0)
        i++;
    for (; rows && i < t->count && page.count < limit; i++)
        rows[page.count++] =
            (struct rest_advice){.of = t->items[i], .saving = t->items[i].cost_now - t->items[i].cost_there};
    if (rows && i < t->count && page.count)
        (void)snprintf(page.next_cursor, sizeof page.next_cursor, "%s", rows[page.count - 1].of.name);
    x->body.failed |= !rows;
    answer(x, &page);
    free(rows);
}

static void on_tiering(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (!failed(x, q, status))
        answer_advice(x);
}

static void ask_tiering(struct rest_exchange *x, pstorage_cb cb)
{
    struct pstorage_tiering *t = &x->analysis->tiering;
    t->request.user = x;
    (void)failed(x, &t->request, pstorage_tiering_submit(x->client, t, cb));
}

void rest_list_advice(struct rest_exchange *x)
{
    if (begin(x))
        ask_tiering(x, on_tiering);
}

/* ---- overview: the three, one after the other */

static void count_volumes(struct rest_overview *out, const struct pstorage_tiering *t)
{
    out->volumes = t->count;
    for (size_t i = 0; i < t->count; i++) {
        const struct pstorage_tier_advice *a = &t->items[i];
        out->hot += strcmp(a->temperature, "hot") == 0;
        out->warm += strcmp(a->temperature, "warm") == 0;
        out->cold += strcmp(a->temperature, "cold") == 0;
        out->frozen += strcmp(a->temperature, "frozen") == 0;
        if (strcmp(a->tier, a->current_tier) == 0)
            continue;
        out->better_elsewhere++;
        out->saving += a->cost_now - a->cost_there;
    }
}

static void on_overview_tiering(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (failed(x, q, status))
        return;
    const struct pstorage_health *h = &x->analysis->health;
    struct rest_overview out = {.capacity = forecast_of(&x->analysis->forecast),
                                .drives = h->count,
                                .scored = h->count > 0,
                                .lowest_score = 100,
                                .nunreachable = h->nunreachable};
    memcpy(out.unreachable, h->unreachable, sizeof out.unreachable);
    for (size_t i = 0; i < h->count; i++)
        out.lowest_score = h->items[i].score < out.lowest_score ? h->items[i].score : out.lowest_score;
    count_volumes(&out, &x->analysis->tiering);
    answer(x, &out);
}

static void on_overview_health(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (!failed(x, q, status))
        ask_tiering(x, on_overview_tiering);
}

static void on_overview_forecast(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (!failed(x, q, status))
        ask_health(x, on_overview_health);
}

void rest_show_analytics(struct rest_exchange *x)
{
    if (begin(x))
        ask_forecast(x, on_overview_forecast);
}

/* ---- one volume */

static void on_temperature(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (failed(x, q, status))
        return;
    struct rest_volume_temperature out = {.of = x->analysis->temperature};
    (void)snprintf(out.name, sizeof out.name, "%s", x->info.name);
    answer(x, &out);
}

static void ask_temperature(struct rest_exchange *x)
{
    struct rest_analysis *a = begin(x);
    if (!a)
        return;
    a->temperature.volume = x->info.name;
    a->temperature.request.user = x;
    (void)failed(x, &a->temperature.request,
                 pstorage_temperature_submit(x->client, &a->temperature, on_temperature));
}

void rest_show_temperature(struct rest_exchange *x)
{
    rest_find_volume(x, false, ask_temperature);
}

static const char *const steps[] = {
    [PSTORAGE_HISTORY_MINUTE] = "minute", [PSTORAGE_HISTORY_HOUR] = "hour", [PSTORAGE_HISTORY_DAY] = "day"};

static void on_account(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    if (failed(x, q, status))
        return;
    const struct pstorage_account *a = &x->analysis->account;
    struct rest_account out = {.of = *a};
    (void)snprintf(out.name, sizeof out.name, "%s", x->info.name);
    (void)snprintf(out.step, sizeof out.step, "%s", steps[a->step]);
    if (a->earlier && a->npoints)
        (void)snprintf(out.next_cursor, sizeof out.next_cursor, "%" PRIu64,
                       a->points[0].begin_unix_ns / REST_NS_PER_S);
    out.reduction_ratio = a->stored_bytes ? (double)a->now.logical_bytes / (double)a->stored_bytes : 0;
    answer(x, &out);
}

static void ask_account(struct rest_exchange *x)
{
    const struct rest_values *is = &x->request.is;
    struct rest_analysis *a = begin(x);
    if (!a)
        return;
    a->account.volume = x->info.name;
    a->account.step = PSTORAGE_HISTORY_HOUR;
    for (enum pstorage_history_step step = PSTORAGE_HISTORY_MINUTE; is->step && step <= PSTORAGE_HISTORY_DAY;
         step++)
        if (strcmp(steps[step], is->step) == 0)
            a->account.step = step;
    a->account.before_unix_ns = is->cursor ? strtoull(is->cursor, NULL, 10) * REST_NS_PER_S : 0;
    a->account.max_points = rest_given(&x->request, REST_BIT(limit)) ? (uint32_t)is->limit : 0;
    a->account.request.user = x;
    (void)failed(x, &a->account.request, pstorage_account_submit(x->client, &a->account, on_account));
}

void rest_show_account(struct rest_exchange *x)
{
    rest_find_volume(x, false, ask_account);
}

/* ---- flash: what the pods do with it, and how worn the devices are */

static double ratio(uint64_t before, uint64_t after)
{
    return after ? (double)before / (double)after : 0;
}

static struct rest_flash flash_of(const struct pstorage_pod *p)
{
    struct rest_flash out = {
        .capacity_bytes = p->capacity_bytes,
        .free_bytes = p->free_bytes,
        .garbage_bytes = p->garbage_bytes,
        .open_bytes = p->open_bytes,
        .written_data_bytes = p->flash_written_data_bytes,
        .written_metadata_bytes = p->flash_written_metadata_bytes,
        .written_moved_bytes = p->flash_written_moved_bytes,
        .write_amplification = ratio(p->flash_written_data_bytes + p->flash_written_metadata_bytes +
                                         p->flash_written_moved_bytes,
                                     p->compress_out_bytes),
        .scrubbed = p->scrub_passes > 0,
        .of = *p,
    };
    memcpy(out.pod, p->name, sizeof out.pod);
    return out;
}

static void add_wear(struct rest_flash_device *d, const struct pstorage_health *h)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct pstorage_drive *drive = &h->items[i];
        if (strcmp(drive->name, d->of.name) != 0 || !drive->wear_known)
            continue;
        d->wear_known = true;
        d->wear_mean_cycles = drive->wear_mean_cycles;
        d->wear_max_cycles = drive->wear_max_cycles;
        d->wear_spread_cycles = drive->wear_max_cycles - drive->wear_mean_cycles;
        d->wear_blocks = drive->blocks;
        d->retired_blocks = drive->retired_blocks;
    }
}

/* Before the first sample no wear is known: the rest is told all the same. */
static void on_wear(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    const struct pstorage_report *r = &x->report;
    struct rest_flash *pods = calloc(r->npods + 1, sizeof *pods);
    struct rest_flash_device *devices = calloc(r->ndevices + 1, sizeof *devices);
    const bool enough = pods && devices;
    for (size_t i = 0; enough && i < r->npods; i++)
        pods[i] = flash_of(&r->pods[i]);
    for (size_t i = 0; enough && i < r->ndevices; i++) {
        devices[i].of = r->devices[i];
        if (status == 0)
            add_wear(&devices[i], &x->analysis->health);
    }
    const struct rest_flash_report out = {.pods = pods,
                                          .npods = enough ? r->npods : 0,
                                          .devices = devices,
                                          .ndevices = enough ? r->ndevices : 0};
    x->body.failed |= !enough;
    answer(x, &out);
    free(pods);
    free(devices);
}

void rest_show_flash(struct rest_exchange *x)
{
    struct rest_analysis *a = begin(x);
    if (!a)
        return;
    a->health.request.user = x;
    if (pstorage_health_submit(x->client, &a->health, on_wear))
        on_wear(&a->health.request, PSTORAGE_ECANCELLED);
}

/* ---- what Prometheus is told of drives: those of this node, once they were sampled */

static void on_own_drives(struct pstorage_request *q, int status)
{
    struct rest_exchange *x = q->user;
    struct rest_analysis *a = x->analysis;
    x->analysis = NULL;
    rest_answer_prometheus(x, status ? NULL : &a->health);
    free(a);
}

void rest_ask_own_drives(struct rest_exchange *x)
{
    struct rest_analysis *a = calloc(1, sizeof *a);
    if (!a) {
        rest_answer_prometheus(x, NULL);
        return;
    }
    x->analysis = a;
    a->health.request.user = x;
    if (pstorage_health_submit(x->client, &a->health, on_own_drives))
        on_own_drives(&a->health.request, PSTORAGE_ECANCELLED);
}
