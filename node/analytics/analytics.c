#include "node/analytics/analytics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/status.h"

#define DAY_S 86400ll

enum {
    HEAT_EVERY_S = 600, /* how often heat in memory is kept */
    IDLE_EVERY_S = 3600 /* a volume without requests has a point so often */
};

/* What the next sample is compared with; kept in the history, in the machine's byte order and layout, under a
 * name that carries its version. */
struct last {
    uint64_t run;
    uint64_t pod[ANALYTICS_POD_METRICS];
    uint64_t devices[ANALYTICS_DEVICES_MAX][ANALYTICS_DEVICE_METRICS];
    char names[ANALYTICS_DEVICES_MAX][ANALYTICS_NAME_MAX + 1]; /* of devices: another one starts anew */
    int64_t since_s[ANALYTICS_DEVICES_MAX]; /* that it is in the place of another one, whose points are not
                                               its own */
    uint64_t ndevices;
};

struct volume {
    uint64_t id;
    char name[ANALYTICS_NAME_MAX + 1];
    uint64_t size, logical, stored;
    int64_t point_s;                         /* of its last point */
    int64_t heat_s;                          /* that its heat is faded to */
    bool heat_changed;                       /* since it was kept */
    uint64_t owed[ANALYTICS_VOLUME_METRICS]; /* growth that no point has yet */
    bool owes;
    struct temperature_heat heat;
};

struct analytics {
    struct analytics_config config;
    struct history *history;
    struct last last;
    bool has_last;
    int64_t heat_kept_s;
    bool swept; /* no heat is kept of volumes that went */
    /* As last sampled. */
    uint64_t capacity, used;
    bool sampled;
    struct {
        char name[ANALYTICS_NAME_MAX + 1];
        bool failed, out;
        uint64_t figures[ANALYTICS_DEVICE_METRICS];
    } devices[ANALYTICS_DEVICES_MAX];
    size_t ndevices;
    struct volume *volumes[ANALYTICS_VOLUMES_MAX]; /* by name */
    size_t nvolumes;
};

static const char last_name[] = "last.2", heat_prefix[] = "heat.1.";
static const struct history_subject pod_subject = {HISTORY_POD, 0};

#define X(name, figure) ANALYTICS_##figure,
static const enum analytics_figure pod_figures[] = {ANALYTICS_POD_FIGURES(X)};
static const enum analytics_figure device_figures[] = {ANALYTICS_DEVICE_FIGURES(X)};
#undef X
_Static_assert(ANALYTICS_VOLUME_FIGURES_COUNT <= ANALYTICS_VOLUME_READ_LATENCIES &&
                   (int)ANALYTICS_VOLUME_METRICS <= (int)ROLLUP_METRICS_MAX &&
                   (int)ANALYTICS_POD_METRICS <= (int)ROLLUP_METRICS_MAX,
               "metrics have a number each");
_Static_assert(sizeof(struct last) <= HISTORY_STATE_MAX, "it is kept as a state");

/* ---- heat */

struct heat_state {
    int64_t time_s;
    struct temperature_heat heat;
};

static const char *heat_name(uint64_t id, char out[40])
{
    (void)snprintf(out, 40, "%s%" PRIu64, heat_prefix, id);
    return out;
}

static int keep_heat(struct analytics *a, struct volume *v)
{
    char name[40];
    struct heat_state state;
    memset(&state, 0, sizeof state);
    state.time_s = v->heat_s;
    state.heat = v->heat;
    const int rc = history_put_state(a->history, heat_name(v->id, name), &state, sizeof state);
    if (rc == 0)
        v->heat_changed = false;
    return rc;
}

static int keep_all_heat(struct analytics *a)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < a->nvolumes; i++)
        if (a->volumes[i]->heat_changed)
            rc = keep_heat(a, a->volumes[i]);
    return rc;
}

/* Only forward: a clock that was set back cools nothing, nor does it heat. */
static void fade(const struct analytics *a, struct volume *v, int64_t time_s)
{
    if (time_s > v->heat_s)
        temperature_fade(&v->heat, &a->config.scale, (double)(time_s - v->heat_s));
    v->heat_s = time_s;
}

/* ---- volumes */

static struct volume *volume_new(struct analytics *a, const struct analytics_volume_sample *s, int64_t time_s)
{
    char name[40];
    struct heat_state state;
    struct volume *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->id = s->id;
    v->heat_s = time_s;
    v->heat.shift = temperature_shift(s->figures[ANALYTICS_VOLUME_size]);
    if (history_get_state(a->history, heat_name(s->id, name), &state, sizeof state) == 0 &&
        state.heat.shift < 63) {
        v->heat = state.heat;
        v->heat_s = state.time_s;
    }
    return v;
}

static struct volume *take_by_id(struct volume *volumes[], size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (volumes[i] && volumes[i]->id == id) {
            struct volume *v = volumes[i];
            volumes[i] = NULL;
            return v;
        }
    return NULL;
}

/* The volumes become those of the sample; those that are gone lose their heat, on disk with the sweep. */
static int match_volumes(struct analytics *a, const struct analytics_sample *s)
{
    struct volume *before[ANALYTICS_VOLUMES_MAX];
    const size_t count = a->nvolumes;
    int rc = 0;
    memcpy(before, a->volumes, count * sizeof before[0]);
    a->nvolumes = 0;
    for (size_t i = 0; i < s->nvolumes; i++) {
        const struct analytics_volume_sample *vs = &s->volumes[i];
        /* Mostly in the place where it was. */
        struct volume *v = i < count && before[i] && before[i]->id == vs->id
                               ? take_by_id(before + i, 1, vs->id)
                               : take_by_id(before, count, vs->id);
        v = v ? v : volume_new(a, vs, s->time_s);
        if (!v) {
            rc = PS_ENOMEM;
            break;
        }
        (void)snprintf(v->name, sizeof v->name, "%s", vs->name);
        v->size = vs->figures[ANALYTICS_VOLUME_size];
        v->logical = vs->figures[ANALYTICS_VOLUME_logical];
        v->stored = vs->figures[ANALYTICS_VOLUME_stored];
        a->volumes[a->nvolumes++] = v;
    }
    for (size_t i = 0; i < count; i++) {
        if (!before[i])
            continue;
        free(before[i]);
        a->swept = false;
    }
    return rc;
}

static bool is_sampled(const struct analytics *a, uint64_t id)
{
    for (size_t i = 0; i < a->nvolumes; i++)
        if (a->volumes[i]->id == id)
            return true;
    return false;
}

/* Also of a volume that was deleted while this process did not run, or by another node: its going was never
 * seen. */
static int drop_strange_heat(struct analytics *a)
{
    char name[40] = "";
    int rc = 0;
    while (rc == 0 && (rc = history_next_state(a->history, heat_prefix, name, name, sizeof name)) == 0)
        if (!is_sampled(a, strtoull(name + sizeof heat_prefix - 1, NULL, 10)))
            rc = history_put_state(a->history, name, NULL, 0);
    return rc == PS_ENOTFOUND ? 0 : rc;
}

/* What a volume did is told once: it is owed until a point has it for good. */
static void owe(struct analytics *a, struct volume *v, const struct analytics_volume_sample *s,
                int64_t time_s)
{
    if (!s->used)
        return;
    const unsigned wanted = temperature_shift(v->size);
    struct temperature_heat counts = {.shift = s->shift};
    temperature_add(&counts, s->region_reads, s->region_writes);
    temperature_resize(&counts, wanted);
    fade(a, v, time_s);
    temperature_resize(&v->heat, wanted);
    for (size_t i = 0; i < TEMPERATURE_REGIONS; i++) {
        v->heat.reads[i] += counts.reads[i];
        v->heat.writes[i] += counts.writes[i];
    }
    v->heat_changed = true;
    for (size_t i = ANALYTICS_VOLUME_reads; i < ANALYTICS_VOLUME_METRICS; i++)
        v->owed[i] += s->figures[i];
    v->owes = true;
}

static int add_volume(struct analytics *a, struct volume *v, const struct analytics_volume_sample *s,
                      int64_t time_s)
{
    uint64_t values[ANALYTICS_VOLUME_METRICS];
    struct rollup_point point = {0};
    /* Where the pod has a point and a volume has none, the volume was idle. */
    if (!v->owes && time_s - v->point_s < IDLE_EVERY_S && time_s >= v->point_s)
        return 0;
    v->point_s = time_s;
    memcpy(values, v->owed, sizeof values);
    memcpy(values, s->figures, ANALYTICS_VOLUME_reads * sizeof values[0]);
    rollup_sample(&point, values, ANALYTICS_VOLUME_METRICS);
    return history_add(a->history, (struct history_subject){HISTORY_VOLUME, v->id}, time_s, &point);
}

/* ---- samples */

static void grow(uint64_t *out, const uint64_t *before, const uint64_t *now,
                 const enum analytics_figure *figures, size_t count, bool known, bool same_run)
{
    for (size_t i = 0; i < count; i++) {
        const bool counter = figures[i] == ANALYTICS_EVER || figures[i] == ANALYTICS_RUN;
        /* Of a counter that is older than the history, nothing is told. */
        if (counter && !known)
            out[i] = figures[i] == ANALYTICS_RUN ? now[i] : 0;
        else
            out[i] =
                counter ? rollup_growth(before[i], now[i], figures[i] == ANALYTICS_RUN, same_run) : now[i];
    }
}

static bool is_same_device(const struct last *last, const struct analytics_sample *s, size_t i)
{
    return i < last->ndevices && strcmp(last->names[i], s->devices[i].name) == 0;
}

static int64_t in_place_since(const struct last *last, const struct analytics_sample *s, size_t i)
{
    if (i >= last->ndevices)
        return 0;
    return is_same_device(last, s, i) ? last->since_s[i] : s->time_s;
}

static int add_devices(struct analytics *a, const struct analytics_sample *s, const struct last *last,
                       bool same_run)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->ndevices; i++) {
        uint64_t values[ANALYTICS_DEVICE_METRICS];
        struct rollup_point point = {0};
        const bool known = a->has_last && is_same_device(last, s, i);
        grow(values, last->devices[i], s->devices[i].figures, device_figures, ANALYTICS_DEVICE_METRICS, known,
             same_run);
        rollup_sample(&point, values, ANALYTICS_DEVICE_METRICS);
        rc = history_add(a->history, (struct history_subject){HISTORY_DEVICE, i}, s->time_s, &point);
    }
    return rc;
}

/* `before`: NULL without one. */
static void make_last(struct last *out, const struct analytics_sample *s, const struct last *before)
{
    memset(out, 0, sizeof *out);
    out->run = s->run;
    memcpy(out->pod, s->pod, sizeof out->pod);
    out->ndevices = s->ndevices;
    for (size_t i = 0; i < s->ndevices; i++) {
        memcpy(out->devices[i], s->devices[i].figures, sizeof out->devices[i]);
        (void)snprintf(out->names[i], sizeof out->names[i], "%s", s->devices[i].name);
        out->since_s[i] = before ? in_place_since(before, s, i) : 0;
    }
}

static void remember(struct analytics *a, const struct analytics_sample *s)
{
    a->sampled = true;
    a->capacity = s->pod[ANALYTICS_POD_capacity];
    a->used = s->pod[ANALYTICS_POD_used];
    a->ndevices = s->ndevices;
    for (size_t i = 0; i < s->ndevices; i++) {
        (void)snprintf(a->devices[i].name, sizeof a->devices[i].name, "%s", s->devices[i].name);
        a->devices[i].failed = s->devices[i].failed;
        a->devices[i].out = s->devices[i].out;
        memcpy(a->devices[i].figures, s->devices[i].figures, sizeof a->devices[i].figures);
    }
}

static int add_all(struct analytics *a, const struct analytics_sample *s, const struct last *next)
{
    uint64_t values[ANALYTICS_POD_METRICS];
    struct rollup_point point = {0};
    const bool same_run = a->has_last && a->last.run == s->run;
    grow(values, a->last.pod, s->pod, pod_figures, ANALYTICS_POD_METRICS, a->has_last, same_run);
    rollup_sample(&point, values, ANALYTICS_POD_METRICS);
    int rc = history_add(a->history, pod_subject, s->time_s, &point);
    if (rc == 0)
        rc = add_devices(a, s, &a->last, same_run);
    if (rc == 0 && !a->swept)
        rc = drop_strange_heat(a);
    for (size_t i = 0; rc == 0 && i < s->nvolumes; i++)
        rc = add_volume(a, a->volumes[i], &s->volumes[i], s->time_s);
    const bool heat_due = s->time_s >= a->heat_kept_s + HEAT_EVERY_S || s->time_s < a->heat_kept_s;
    if (rc == 0 && heat_due) {
        a->heat_kept_s = s->time_s;
        rc = keep_all_heat(a);
    }
    return rc ? rc : history_put_state(a->history, last_name, next, sizeof *next);
}

int analytics_add(struct analytics *a, const struct analytics_sample *s)
{
    struct last next;
    remember(a, s);
    int rc = match_volumes(a, s);
    for (size_t i = 0; i < a->nvolumes; i++)
        owe(a, a->volumes[i], &s->volumes[i], s->time_s);
    if (rc == 0)
        rc = history_begin(a->history);
    if (rc)
        return rc;
    make_last(&next, s, a->has_last ? &a->last : NULL);
    rc = history_end(a->history, add_all(a, s, &next));
    if (rc == 0) {
        a->last = next;
        a->has_last = true;
        a->swept = true;
    }
    for (size_t i = 0; rc == 0 && i < a->nvolumes; i++) {
        memset(a->volumes[i]->owed, 0, sizeof a->volumes[i]->owed);
        a->volumes[i]->owes = false;
    }
    return rc;
}

/* ---- forecast */

struct gathering {
    struct series_point *points;
    size_t count, room;
    int64_t middle_s;
};

static bool gather(void *user, int64_t time_s, const struct rollup_point *point)
{
    struct gathering *g = user;
    if (g->count == g->room)
        return false;
    /* A point stands for the middle of its stretch: its value is the mean. */
    g->points[g->count++] = (struct series_point){
        time_s + g->middle_s, (double)point->metrics[ANALYTICS_POD_used].sum / (double)point->samples};
    return true;
}

/* Days up to where hours begin, hours up to where minutes begin. */
static int gather_used(struct analytics *a, int64_t now_s, struct gathering *g)
{
    int rc = 0;
    int64_t from = now_s - SERIES_STEPS_MAX * DAY_S;
    const int64_t ends[ROLLUP_TIERS] = {
        [ROLLUP_DAY] = now_s - 89 * DAY_S, [ROLLUP_HOUR] = now_s - 47 * 3600, [ROLLUP_MINUTE] = now_s + 1};
    for (int tier = ROLLUP_DAY; rc == 0 && tier >= 0; tier--) {
        const int64_t seconds = rollup_tiers[tier].seconds;
        const int64_t end = ends[tier] / seconds * seconds + (tier == ROLLUP_MINUTE ? seconds : 0);
        g->middle_s = seconds / 2;
        rc = history_read(a->history, pod_subject, (enum rollup_tier)tier, from, end, gather, g);
        from = end;
    }
    return rc;
}

int analytics_forecast(struct analytics *a, const struct analytics_forecast_ask *ask,
                       struct analytics_forecast *out)
{
    struct gathering g = {.room = 8192};
    if (!a->sampled || a->capacity == 0)
        return PS_EUNAVAILABLE;
    g.points = calloc(g.room, sizeof *g.points);
    if (!g.points)
        return PS_ENOMEM;
    int rc = gather_used(a, ask->now_s, &g);
    /* As it is now, whatever the minute's mean. */
    if (rc == 0 && g.count < g.room)
        g.points[g.count++] = (struct series_point){ask->now_s, (double)a->used};
    if (rc == 0) {
        struct forecast_ask f = {.points = g.points,
                                 .count = g.count,
                                 .now_s = ask->now_s,
                                 .capacity = (double)a->capacity,
                                 .horizons = ask->horizons,
                                 .plan_at_once = ask->plan_at_once,
                                 .plan_per_day = ask->plan_per_day};
        memcpy(f.horizons_days, ask->horizons_days, sizeof f.horizons_days);
        out->capacity = a->capacity;
        out->used = a->used;
        rc = forecast_make(&f, &out->forecast);
    }
    free(g.points);
    return rc;
}

/* ---- health */

struct ageing {
    int64_t now_s;
    uint64_t errors_7, errors_30, written_30;
    int64_t first_s, last_s;
    double first_wear, last_wear;
    size_t count;
    /* Of the life that the drive itself counts, where it told it. */
    int64_t used_first_s, used_last_s;
    double used_first, used_last;
};

static bool age(void *user, int64_t time_s, const struct rollup_point *p)
{
    struct ageing *g = user;
    const uint64_t errors = p->metrics[ANALYTICS_DEVICE_errors].sum;
    const double wear = (double)p->metrics[ANALYTICS_DEVICE_wear_mean_milli].max / 1000;
    if (time_s >= g->now_s - 7 * DAY_S)
        g->errors_7 += errors;
    if (time_s >= g->now_s - 30 * DAY_S) {
        g->errors_30 += errors;
        g->written_30 += p->metrics[ANALYTICS_DEVICE_write_bytes].sum;
    }
    const double used = (double)p->metrics[ANALYTICS_DEVICE_used_percent].max;
    if (used > 0) {
        if (g->used_first_s == 0) {
            g->used_first_s = time_s;
            g->used_first = used;
        }
        g->used_last_s = time_s;
        g->used_last = used;
    }
    if (g->count++ == 0) {
        g->first_s = time_s;
        g->first_wear = wear;
    }
    g->last_s = time_s;
    g->last_wear = wear;
    return true;
}

static int judge(struct analytics *a, size_t i, int64_t now_s, const double *peers, size_t npeers,
                 struct analytics_device *out)
{
    const uint64_t *figures = a->devices[i].figures;
    struct ageing g = {.now_s = now_s};
    const int64_t since_s = a->has_last && i < a->last.ndevices ? a->last.since_s[i] : 0;
    const int64_t from_s = now_s - 90 * DAY_S > since_s ? now_s - 90 * DAY_S : since_s;
    const int rc = history_read(a->history, (struct history_subject){HISTORY_DEVICE, i}, ROLLUP_HOUR, from_s,
                                now_s + 1, age, &g);
    const double days = (double)(g.last_s - g.first_s) / DAY_S,
                 used_days = (double)(g.used_last_s - g.used_first_s) / DAY_S;
    *out = (struct analytics_device){
        .wear_known = figures[ANALYTICS_DEVICE_blocks] > 0,
        .wear_mean = (double)figures[ANALYTICS_DEVICE_wear_mean_milli] / 1000,
        .wear_max = (double)figures[ANALYTICS_DEVICE_wear_max],
        .blocks = figures[ANALYTICS_DEVICE_blocks],
        .retired = figures[ANALYTICS_DEVICE_retired],
        .errors_30_days = g.errors_30,
        .written_30_days = g.written_30,
        .smart_known = figures[ANALYTICS_DEVICE_smart] > 0,
        .used_percent = (unsigned)figures[ANALYTICS_DEVICE_used_percent],
        .spare_percent = (unsigned)figures[ANALYTICS_DEVICE_spare_percent],
        .kelvin = (unsigned)figures[ANALYTICS_DEVICE_kelvin],
        .media_errors = figures[ANALYTICS_DEVICE_media_errors],
    };
    (void)snprintf(out->name, sizeof out->name, "%s", a->devices[i].name);
    const struct health_ask ask = {
        .failed = a->devices[i].failed,
        .out = a->devices[i].out,
        .wear_known = out->wear_known,
        .wear_mean = out->wear_mean,
        .wear_max = out->wear_max,
        .wear_rated = a->config.rated_cycles,
        /* A pace that less than a day shows is none. */
        .wear_per_day = days >= 1 ? (g.last_wear - g.first_wear) / days : 0,
        .blocks_known = out->blocks > 0,
        .blocks = out->blocks,
        .retired = out->retired,
        .errors_7_days = g.errors_7,
        .errors_30_days = g.errors_30,
        .smart_known = out->smart_known,
        .used_percent = out->used_percent,
        .used_per_day = used_days >= 1 ? (g.used_last - g.used_first) / used_days : 0,
        .media_errors = out->media_errors,
        .warnings = (unsigned)figures[ANALYTICS_DEVICE_warnings],
        .peers_wear = peers,
        .peers = npeers,
    };
    health_report(&ask, &out->health);
    return rc;
}

int analytics_health(struct analytics *a, int64_t now_s, struct analytics_health *out)
{
    int rc = a->sampled ? 0 : PS_EUNAVAILABLE;
    out->count = 0;
    for (size_t i = 0; rc == 0 && i < a->ndevices; i++) {
        double peers[ANALYTICS_DEVICES_MAX];
        size_t npeers = 0;
        for (size_t k = 0; k < a->ndevices; k++)
            if (k != i && a->devices[k].figures[ANALYTICS_DEVICE_blocks])
                peers[npeers++] = (double)a->devices[k].figures[ANALYTICS_DEVICE_wear_mean_milli] / 1000;
        rc = judge(a, i, now_s, peers, npeers, &out->devices[out->count++]);
    }
    return rc;
}

/* ---- temperature and tiering */

static void report_heat(const struct analytics *a, const struct volume *v, int64_t now_s,
                        struct temperature_report *out)
{
    struct temperature_heat heat = v->heat;
    if (now_s > v->heat_s)
        temperature_fade(&heat, &a->config.scale, (double)(now_s - v->heat_s));
    temperature_resize(&heat, temperature_shift(v->size));
    temperature_report(&heat, &a->config.scale, v->size, v->logical, out);
}

int analytics_volume(struct analytics *a, const char *name, uint64_t id, int64_t now_s,
                     struct analytics_volume *out)
{
    if (!a->sampled)
        return PS_EUNAVAILABLE;
    for (size_t i = 0; i < a->nvolumes; i++) {
        const struct volume *v = a->volumes[i];
        if (name ? strcmp(v->name, name) != 0 : v->id != id)
            continue;
        *out = (struct analytics_volume){
            .id = v->id, .size = v->size, .logical = v->logical, .stored = v->stored};
        (void)snprintf(out->name, sizeof out->name, "%s", v->name);
        report_heat(a, v, now_s, &out->temperature);
        return 0;
    }
    return PS_ENOTFOUND;
}

struct traffic {
    uint64_t bytes, samples;
    int64_t first_s;
};

static bool add_traffic(void *user, int64_t time_s, const struct rollup_point *p)
{
    struct traffic *t = user;
    if (t->samples == 0)
        t->first_s = time_s;
    t->samples += p->samples;
    t->bytes += p->metrics[ANALYTICS_VOLUME_read_bytes].sum + p->metrics[ANALYTICS_VOLUME_write_bytes].sum;
    return true;
}

/* Of the last 30 days; what is younger is taken for as busy as it was, but not for less than a day. */
static double bytes_a_month(struct analytics *a, uint64_t id, int64_t now_s)
{
    struct traffic t = {0};
    (void)history_read(a->history, (struct history_subject){HISTORY_VOLUME, id}, ROLLUP_HOUR,
                       now_s - 30 * DAY_S, now_s + 1, add_traffic, &t);
    const int64_t span = t.samples ? now_s - t.first_s : DAY_S;
    return (double)t.bytes * 30 * DAY_S / (double)(span > DAY_S ? span : DAY_S);
}

size_t analytics_tiering(struct analytics *a, const char *after, int64_t now_s, struct analytics_advice *out,
                         size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < a->nvolumes && count < max; i++) {
        const struct volume *v = a->volumes[i];
        struct analytics_advice *o = &out[count];
        struct temperature_report heat;
        if (strcmp(v->name, after) <= 0)
            continue;
        report_heat(a, v, now_s, &heat);
        *o = (struct analytics_advice){.id = v->id,
                                       .logical = v->logical,
                                       .stored = v->stored,
                                       .temperature = heat.temperature,
                                       .now = a->config.tier};
        (void)snprintf(o->name, sizeof o->name, "%s", v->name);
        const double gib = (double)v->stored / 1073741824.0;
        /* A medium serves what is stored: reduction makes it denser. */
        o->density = gib > 0 ? (heat.reads_per_hour + heat.writes_per_hour) / gib : 0;
        const struct tiering_ask ask = {.stored_bytes = v->stored,
                                        .density = o->density,
                                        .accessed_bytes_month = bytes_a_month(a, v->id, now_s),
                                        .now = a->config.tier};
        tiering_advise(&a->config.costs, &ask, &o->advice);
        count++;
    }
    return count;
}

int analytics_read(struct analytics *a, struct history_subject subject, enum rollup_tier tier, int64_t from_s,
                   int64_t to_s, history_row row, void *user)
{
    return history_read(a->history, subject, tier, from_s, to_s, row, user);
}

/* ---- life */

int analytics_open(const struct analytics_config *config, struct analytics **out, struct ps_error *err)
{
    struct analytics *a = calloc(1, sizeof *a);
    if (!a)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    a->config = *config;
    const int rc = history_open(config->path, config->max_bytes, &a->history, err);
    if (rc) {
        free(a);
        return rc;
    }
    a->has_last = history_get_state(a->history, last_name, &a->last, sizeof a->last) == 0;
    if (a->has_last && a->last.ndevices > ANALYTICS_DEVICES_MAX)
        a->has_last = false;
    *out = a;
    return 0;
}

void analytics_close(struct analytics *a)
{
    if (history_begin(a->history) == 0)
        (void)history_end(a->history, keep_all_heat(a));
    history_close(a->history);
    for (size_t i = 0; i < a->nvolumes; i++)
        free(a->volumes[i]);
    free(a);
}
