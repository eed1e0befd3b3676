/* pstorage analytics forecast, health, tiering, temperature */
#include "client/cli/show.h"

#include <inttypes.h>

#include "client/cli/table.h"
#include "common/sizes.h"

enum {
    DAYS_TEXT_MAX = 32,
    MAP_COLUMNS = 64
};

/* ---- forecast */

static const char *days_text(double days, char text[DAYS_TEXT_MAX])
{
    if (days < 1)
        (void)snprintf(text, DAYS_TEXT_MAX, "%.0f hours", days * 24);
    else if (days < 10)
        (void)snprintf(text, DAYS_TEXT_MAX, "%.1f days", days);
    else
        (void)snprintf(text, DAYS_TEXT_MAX, "%.0f days", days);
    return text;
}

static double share(uint64_t part, uint64_t whole)
{
    return whole ? 100 * (double)part / (double)whole : 0;
}

/* Null where nothing is known: a number would be a guess. */
static void json_days(cJSON *o, const char *name, bool known, double days)
{
    if (known)
        (void)cJSON_AddNumberToObject(o, name, days);
    else
        (void)cJSON_AddNullToObject(o, name);
}

static void json_crossing(cJSON *o, const char *name, const struct pstorage_crossing *c)
{
    char end[64];
    json_days(o, name, c->known || c->reached, c->reached ? 0 : c->days);
    (void)snprintf(end, sizeof end, "%s_earliest", name);
    json_days(o, end, c->earliest_known, c->earliest_days);
    (void)snprintf(end, sizeof end, "%s_latest", name);
    json_days(o, end, c->latest_known, c->latest_days);
}

static cJSON *forecast_json(const struct pstorage_forecast *f)
{
    cJSON *json = cJSON_CreateObject(), *o = cJSON_AddObjectToObject(json, "current");
    show_json_number(o, "used_bytes", f->used_bytes);
    show_json_number(o, "capacity_bytes", f->capacity_bytes);
    (void)cJSON_AddNumberToObject(o, "utilization_percent", share(f->used_bytes, f->capacity_bytes));
    cJSON *predictions = cJSON_AddObjectToObject(json, "predictions");
    for (size_t i = 0; i < f->npredictions; i++) {
        const struct pstorage_prediction *p = &f->predictions[i];
        char name[24];
        (void)snprintf(name, sizeof name, "%u_days", p->days);
        if (!p->known) {
            (void)cJSON_AddNullToObject(predictions, name);
            continue;
        }
        o = cJSON_AddObjectToObject(predictions, name);
        show_json_number(o, "used_bytes", p->used_bytes);
        (void)cJSON_AddNumberToObject(o, "utilization_percent", share(p->used_bytes, f->capacity_bytes));
        show_json_number(o, "low_bytes", p->low_bytes);
        show_json_number(o, "high_bytes", p->high_bytes);
    }
    o = cJSON_AddObjectToObject(json, "thresholds");
    json_crossing(o, "days_until_80_percent", &f->at_80_percent);
    json_crossing(o, "days_until_90_percent", &f->at_90_percent);
    (void)cJSON_AddNumberToObject(o, "searched_days", f->searched_days);
    (void)cJSON_AddNumberToObject(json, "confidence", f->confidence);
    show_json_number(json, "confidence_days", f->confidence_days);
    (void)cJSON_AddStringToObject(json, "method", f->method);
    (void)cJSON_AddBoolToObject(json, "seasonal", f->seasonal);
    (void)cJSON_AddStringToObject(json, "why", f->why);
    (void)cJSON_AddNumberToObject(json, "growth_bytes_per_day", f->growth_bytes_per_day);
    (void)cJSON_AddNumberToObject(json, "span_days", f->span_days);
    show_json_number(json, "step_seconds", f->step_seconds);
    show_json_number(json, "samples", f->samples);
    show_json_number(json, "level_shifts", f->level_shifts);
    show_json_number(json, "backtests", f->backtests);
    (void)cJSON_AddNumberToObject(json, "error_vs_linear", f->error_vs_linear);
    return json;
}

static void print_crossing(struct cli *cli, const char *level, const struct pstorage_crossing *c,
                           double searched)
{
    char days[DAYS_TEXT_MAX], from[DAYS_TEXT_MAX], to[DAYS_TEXT_MAX];
    if (c->reached) {
        (void)fprintf(cli->out, "%s full: now\n", level);
        return;
    }
    if (c->known)
        (void)fprintf(cli->out, "%s full in %s", level, days_text(c->days, days));
    else
        (void)fprintf(cli->out, "%s full: not within %s, which is as far as the history reaches", level,
                      days_text(searched, days));
    if (c->earliest_known)
        (void)fprintf(cli->out, " (%s%s%s)", c->latest_known ? "" : "not before ",
                      days_text(c->earliest_days, from), c->latest_known ? "" : " in 19 of 20 cases");
    if (c->earliest_known && c->latest_known)
        (void)fprintf(cli->out, ", at the latest in %s", days_text(c->latest_days, to));
    (void)fputc('\n', cli->out);
}

static void print_method(struct cli *cli, const struct pstorage_forecast *f)
{
    const char *step = f->step_seconds >= 86400 ? "days" : "hours";
    char span[DAYS_TEXT_MAX];
    (void)fprintf(cli->out, "Method %s%s, from %" PRIu32 " %s of %s", f->method,
                  f->seasonal ? " with season" : "", f->samples, step, days_text(f->span_days, span));
    if (f->level_shifts)
        (void)fprintf(cli->out, ", without %" PRIu32 " level shift%s", f->level_shifts,
                      f->level_shifts == 1 ? "" : "s");
    (void)fprintf(cli->out, "; %.2f times a straight line's error in back-tests\n", f->error_vs_linear);
    if (f->confidence_days)
        (void)fprintf(cli->out,
                      "Within 5 %% of the capacity of what is predicted for %" PRIu32 " days: %.0f %% sure\n",
                      f->confidence_days, 100 * f->confidence);
}

static void print_forecast(struct cli *cli, const struct pstorage_forecast *f)
{
    static const struct table_column columns[] = {
        {"IN", false}, {"USED", true}, {"OF CAPACITY", true}, {"AT LEAST", true}, {"AT MOST", true}};
    char size[SIZE_TEXT_MAX], whole[SIZE_TEXT_MAX], text[SHOW_TEXT_MAX];
    (void)fprintf(cli->out, "Used now: %s of %s, %s\n", size_format_human(f->used_bytes, size),
                  size_format_human(f->capacity_bytes, whole),
                  show_percent(f->used_bytes, f->capacity_bytes, text));
    if (f->why[0]) {
        (void)fprintf(cli->out, "No forecast: %s\n", f->why);
        return;
    }
    struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < f->npredictions; i++) {
        const struct pstorage_prediction *p = &f->predictions[i];
        table_add(t, "%u days", p->days);
        table_add(t, "%s", p->known ? size_format_human(p->used_bytes, size) : "-");
        table_add(t, "%s", p->known ? show_percent(p->used_bytes, f->capacity_bytes, text) : "-");
        table_add(t, "%s", p->known ? size_format_human(p->low_bytes, size) : "-");
        table_add(t, "%s", p->known ? size_format_human(p->high_bytes, size) : "-");
    }
    table_print(t, cli->out, cli->bold);
    table_destroy(t);
    for (size_t i = 0; i < f->npredictions; i++)
        if (!f->predictions[i].known) {
            (void)fputs("-: the history is shorter than that\n", cli->out);
            break;
        }
    print_crossing(cli, "80 %", &f->at_80_percent, f->searched_days);
    print_crossing(cli, "90 %", &f->at_90_percent, f->searched_days);
    print_method(cli, f);
}

int cmd_analytics_forecast(struct cli *cli)
{
    struct pstorage_forecast f = {
        .plan_bytes = cli_number(cli->in, "plan", 0),
        .plan_bytes_per_day = cli_number(cli->in, "plan-per-day", 0),
    };
    const uint64_t days = cli_number(cli->in, "days", 0);
    if (cli_option_value(cli->in, "days")->given) {
        if (days < 1 || days > 1826)
            return cli_fail(cli, PSTORAGE_EINVAL, "--days takes 1 to 1826");
        f.horizons_days[f.nhorizons++] = (uint32_t)days;
    }
    const int rc = pstorage_forecast_run(cli->client, &f);
    if (rc)
        return cli_fail_request(cli, &f.request, rc);
    if (cli->in->json)
        return cli_print_json(cli, forecast_json(&f));
    print_forecast(cli, &f);
    return PSTORAGE_OK;
}

/* ---- health */

static int print_health_json(struct cli *cli, const struct pstorage_health *h)
{
    cJSON *json = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(json, "drives");
    for (size_t i = 0; i < h->count; i++) {
        const struct pstorage_drive *d = &h->items[i];
        cJSON *o = cJSON_CreateObject();
        (void)cJSON_AddItemToArray(array, o);
        (void)cJSON_AddStringToObject(o, "name", d->name);
        (void)cJSON_AddNumberToObject(o, "score", d->score);
        cJSON *reasons = cJSON_AddArrayToObject(o, "reasons");
        for (size_t k = 0; k < d->nreasons; k++)
            (void)cJSON_AddItemToArray(reasons, cJSON_CreateString(d->reasons[k]));
        json_days(o, "wear_mean_cycles", d->wear_known, d->wear_mean_cycles);
        json_days(o, "wear_max_cycles", d->wear_known, d->wear_max_cycles);
        json_days(o, "days_to_end_of_life", d->days_left_known, d->days_left);
        show_json_number(o, "blocks", d->blocks);
        show_json_number(o, "retired_blocks", d->retired_blocks);
        show_json_number(o, "errors_30_days", d->errors_30_days);
        show_json_number(o, "written_30_days_bytes", d->written_30_days_bytes);
        json_days(o, "life_used_percent", d->smart_known, (double)d->used_percent);
        json_days(o, "spare_percent", d->smart_known, (double)d->spare_percent);
        json_days(o, "temperature_celsius", d->celsius_known, d->celsius);
        json_days(o, "media_errors", d->smart_known, (double)d->media_errors);
    }
    return cli_print_json(cli, json);
}

int cmd_analytics_health(struct cli *cli)
{
    static const struct table_column columns[] = {{"DEVICE", false},
                                                  {"HEALTH", true},
                                                  {"CYCLES", true},
                                                  {"USED", true},
                                                  {"TEMP", true},
                                                  {"LASTS", true},
                                                  {"WRITTEN IN 30 DAYS", true},
                                                  {"REASONS", false}};
    struct pstorage_health h = {0};
    const int rc = pstorage_health_run(cli->client, &h);
    if (rc)
        return cli_fail_request(cli, &h.request, rc);
    if (cli->in->json)
        return print_health_json(cli, &h);
    struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < h.count; i++) {
        const struct pstorage_drive *d = &h.items[i];
        char size[SIZE_TEXT_MAX], days[DAYS_TEXT_MAX], cycles[24], life[32], celsius[32],
            reasons[6 * 130] = "";
        (void)snprintf(cycles, sizeof cycles, "%.0f", d->wear_mean_cycles);
        (void)snprintf(life, sizeof life, "%" PRIu64 " %%", d->used_percent);
        (void)snprintf(celsius, sizeof celsius, "%.0f C", d->celsius);
        for (size_t k = 0, used = 0; k < d->nreasons; k++)
            used +=
                (size_t)snprintf(reasons + used, sizeof reasons - used, "%s%s", k ? "; " : "", d->reasons[k]);
        table_add(t, "%s", d->name);
        table_add(t, "%u", d->score);
        table_add(t, "%s", d->wear_known ? cycles : "-");
        table_add(t, "%s", d->smart_known ? life : "-");
        table_add(t, "%s", d->celsius_known ? celsius : "-");
        table_add(t, "%s", d->days_left_known ? days_text(d->days_left, days) : "-");
        table_add(t, "%s", size_format_human(d->written_30_days_bytes, size));
        table_add(t, "%s", reasons);
    }
    table_print(t, cli->out, cli->bold);
    table_destroy(t);
    return PSTORAGE_OK;
}

/* ---- tiering */

static int print_tiering_json(struct cli *cli, const struct pstorage_tiering *tiering)
{
    cJSON *json = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(json, "volumes");
    for (size_t i = 0; i < tiering->count; i++) {
        const struct pstorage_tier_advice *a = &tiering->items[i];
        cJSON *o = cJSON_CreateObject();
        (void)cJSON_AddItemToArray(array, o);
        show_json_number(o, "id", a->id);
        (void)cJSON_AddStringToObject(o, "name", a->name);
        show_json_number(o, "logical_bytes", a->logical_bytes);
        show_json_number(o, "stored_bytes", a->stored_bytes);
        (void)cJSON_AddStringToObject(o, "temperature", a->temperature);
        (void)cJSON_AddNumberToObject(o, "accesses_per_hour_gib", a->accesses_per_hour_gib);
        (void)cJSON_AddStringToObject(o, "current_tier", a->current_tier);
        (void)cJSON_AddStringToObject(o, "recommended_tier", a->tier);
        (void)cJSON_AddStringToObject(o, "reason", a->reason);
        (void)cJSON_AddNumberToObject(o, "cost_now", a->cost_now);
        (void)cJSON_AddNumberToObject(o, "cost_there", a->cost_there);
        (void)cJSON_AddNumberToObject(o, "saving", a->cost_now - a->cost_there);
    }
    return cli_print_json(cli, json);
}

int cmd_analytics_tiering(struct cli *cli)
{
    static const struct table_column columns[] = {
        {"VOLUME", false}, {"STORED", true},        {"TEMPERATURE", false}, {"NOW", false},
        {"BETTER", false}, {"SAVES A MONTH", true}, {"REASON", false}};
    struct pstorage_tiering tiering = {0};
    int rc = pstorage_tiering_run(cli->client, &tiering);
    if (rc) {
        rc = cli_fail_request(cli, &tiering.request, rc);
    } else if (cli->in->json) {
        rc = print_tiering_json(cli, &tiering);
    } else {
        struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
        for (size_t i = 0; i < tiering.count; i++) {
            const struct pstorage_tier_advice *a = &tiering.items[i];
            char size[SIZE_TEXT_MAX];
            table_add(t, "%s", a->name);
            table_add(t, "%s", size_format_human(a->stored_bytes, size));
            table_add(t, "%s", a->temperature);
            table_add(t, "%s", a->current_tier);
            table_add(t, "%s", a->tier);
            table_add(t, "%.2f", a->cost_now - a->cost_there);
            table_add(t, "%s", a->reason);
        }
        if (tiering.count)
            table_print(t, cli->out, cli->bold);
        else
            (void)fputs("No volumes were sampled yet\n", cli->out);
        table_destroy(t);
    }
    pstorage_tiering_clear(&tiering);
    return rc;
}

/* ---- temperature */

static int print_temperature_json(struct cli *cli, const struct pstorage_temperature *t)
{
    cJSON *json = cJSON_CreateObject();
    show_json_number(json, "id", t->id);
    (void)cJSON_AddStringToObject(json, "name", t->volume);
    show_json_number(json, "size_bytes", t->size_bytes);
    show_json_number(json, "logical_bytes", t->logical_bytes);
    (void)cJSON_AddStringToObject(json, "temperature", t->temperature);
    (void)cJSON_AddNumberToObject(json, "accesses_per_hour_gib", t->accesses_per_hour_gib);
    (void)cJSON_AddNumberToObject(json, "reads_per_hour", t->reads_per_hour);
    (void)cJSON_AddNumberToObject(json, "writes_per_hour", t->writes_per_hour);
    show_json_number(json, "hot_bytes", t->hot_bytes);
    show_json_number(json, "warm_bytes", t->warm_bytes);
    show_json_number(json, "cold_bytes", t->cold_bytes);
    show_json_number(json, "frozen_bytes", t->frozen_bytes);
    show_json_number(json, "region_bytes", t->region_bytes);
    cJSON *regions = cJSON_AddArrayToObject(json, "regions");
    for (size_t i = 0; i < t->nregions; i++)
        (void)cJSON_AddItemToArray(regions, cJSON_CreateNumber((double)t->regions[i]));
    return cli_print_json(cli, json);
}

/* One character for some regions each: the hottest of them. */
static void print_map(struct cli *cli, const struct pstorage_temperature *t)
{
    const size_t each = (t->nregions + MAP_COLUMNS - 1) / MAP_COLUMNS;
    for (size_t from = 0; from < t->nregions; from += each) {
        double most = 0;
        for (size_t i = from; i < from + each && i < t->nregions; i++)
            most = (double)t->regions[i] > most ? (double)t->regions[i] : most;
        (void)fputc(most >= 3600 ? '#' : most >= 60 ? '+' : most >= 1.0 / 24 ? '-' : '.', cli->out);
    }
    (void)fputs("\n#: hot  +: warm  -: cold  .: frozen\n", cli->out);
}

int cmd_analytics_temperature(struct cli *cli)
{
    static const struct table_column columns[] = {{NULL, false}, {NULL, true}, {NULL, true}};
    struct pstorage_temperature t = {.volume = cli->in->operands[0]};
    const int rc = pstorage_temperature_run(cli->client, &t);
    if (rc)
        return cli_fail_request(cli, &t.request, rc);
    if (cli->in->json)
        return print_temperature_json(cli, &t);
    (void)fprintf(cli->out,
                  "%s is %s: %.3g reads and %.3g writes an hour, %.3g an hour and GiB that holds data\n",
                  t.volume, t.temperature, t.reads_per_hour, t.writes_per_hour, t.accesses_per_hour_gib);
    const struct {
        const char *name;
        uint64_t bytes;
    } rows[] = {
        {"hot", t.hot_bytes}, {"warm", t.warm_bytes}, {"cold", t.cold_bytes}, {"frozen", t.frozen_bytes}};
    struct table *table = table_create(columns, 3);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char size[SIZE_TEXT_MAX], text[SHOW_TEXT_MAX];
        table_add(table, "%s", rows[i].name);
        table_add(table, "%s", size_format_human(rows[i].bytes, size));
        table_add(table, "%s", show_percent(rows[i].bytes, t.size_bytes, text));
    }
    table_print(table, cli->out, false);
    table_destroy(table);
    print_map(cli, &t);
    return PSTORAGE_OK;
}
