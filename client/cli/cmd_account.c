/* pstorage analytics volume: what is known of one volume, and its history */
#include "client/cli/show.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/table.h"
#include "common/sizes.h"

enum {
    POINTS_USUAL = 24,
    POINTS_MAX = 2880, /* minutes of two days: no step has more */
    PAGE_MAX = 1000
};

/* The newest `count`, page by page back in time; all else is as the first page tells it. */
static int gather(struct cli *cli, struct pstorage_account *a, size_t count)
{
    struct pstorage_volume_point *all = calloc(count, sizeof *all);
    size_t from = count, got; /* all[from..] is known */
    if (!all)
        return cli_fail(cli, PSTORAGE_ENOMEM, "out of memory");
    do {
        struct pstorage_account page = {.volume = a->volume,
                                        .step = a->step,
                                        .before_unix_ns = from < count ? all[from].begin_unix_ns : 0,
                                        .max_points = (uint32_t)(from < PAGE_MAX ? from : PAGE_MAX)};
        const int rc = pstorage_account_run(cli->client, &page);
        if (rc) {
            const int failure = cli_fail_request(cli, &page.request, rc);
            pstorage_account_clear(&page);
            free(all);
            return failure;
        }
        if (from == count)
            *a = page;
        got = page.npoints;
        from -= got;
        memcpy(all + from, page.points, got * sizeof *all);
        a->earlier = page.earlier;
        pstorage_account_clear(&page);
    } while (a->earlier && got && from);
    a->npoints = count - from;
    memmove(all, all + from, a->npoints * sizeof *all);
    a->points = all;
    return PSTORAGE_OK;
}

/* ---- as JSON: the same words as under /analytics/volume */

static void json_latency(cJSON *o, const char *name, const struct pstorage_latency_figures *l)
{
    cJSON *json = cJSON_AddObjectToObject(o, name);
    show_json_number(json, "requests", l->requests);
    (void)cJSON_AddNumberToObject(json, "mean_us", l->mean_us);
    (void)cJSON_AddNumberToObject(json, "p50_us", l->p50_us);
    (void)cJSON_AddNumberToObject(json, "p95_us", l->p95_us);
    (void)cJSON_AddNumberToObject(json, "p99_us", l->p99_us);
}

static void json_growth(cJSON *json, const struct pstorage_account *a)
{
    cJSON *o = cJSON_AddObjectToObject(json, "growth");
    if (a->growth_known) {
        (void)cJSON_AddNumberToObject(o, "logical_bytes_per_day", a->logical_bytes_per_day);
        (void)cJSON_AddNumberToObject(o, "stored_bytes_per_day", a->stored_bytes_per_day);
    } else {
        (void)cJSON_AddNullToObject(o, "logical_bytes_per_day");
        (void)cJSON_AddNullToObject(o, "stored_bytes_per_day");
    }
    (void)cJSON_AddNumberToObject(o, "days", a->growth_days);
}

static cJSON *json_point(const struct pstorage_volume_point *p)
{
    cJSON *o = cJSON_CreateObject();
    show_json_time(o, "time", p->begin_unix_ns);
    show_json_number(o, "samples", p->samples);
    show_json_number(o, "size_bytes", p->size_bytes);
    show_json_number(o, "logical_bytes", p->logical_bytes);
    show_json_number(o, "stored_bytes", p->stored_bytes);
    show_json_number(o, "reads", p->reads);
    show_json_number(o, "writes", p->writes);
    show_json_number(o, "read_bytes", p->read_bytes);
    show_json_number(o, "written_bytes", p->written_bytes);
    json_latency(o, "read_latency", &p->read_latency);
    json_latency(o, "write_latency", &p->write_latency);
    return o;
}

static double reduction(const struct pstorage_account *a)
{
    return a->stored_bytes ? (double)a->now.logical_bytes / (double)a->stored_bytes : 0;
}

static cJSON *account_json(const struct pstorage_account *a, const char *step)
{
    const struct pstorage_temperature *t = &a->now;
    cJSON *json = cJSON_CreateObject();
    show_json_number(json, "id", t->id);
    (void)cJSON_AddStringToObject(json, "name", a->volume);
    show_json_number(json, "size_bytes", t->size_bytes);
    show_json_number(json, "logical_bytes", t->logical_bytes);
    show_json_number(json, "stored_bytes", a->stored_bytes);
    (void)cJSON_AddNumberToObject(json, "reduction_ratio", reduction(a));
    json_growth(json, a);
    json_latency(json, "read_latency", &a->read_latency);
    json_latency(json, "write_latency", &a->write_latency);
    cJSON *o = cJSON_AddObjectToObject(json, "temperature");
    (void)cJSON_AddStringToObject(o, "temperature", t->temperature);
    (void)cJSON_AddNumberToObject(o, "accesses_per_hour_gib", t->accesses_per_hour_gib);
    (void)cJSON_AddNumberToObject(o, "reads_per_hour", t->reads_per_hour);
    (void)cJSON_AddNumberToObject(o, "writes_per_hour", t->writes_per_hour);
    show_json_number(o, "hot_bytes", t->hot_bytes);
    show_json_number(o, "warm_bytes", t->warm_bytes);
    show_json_number(o, "cold_bytes", t->cold_bytes);
    show_json_number(o, "frozen_bytes", t->frozen_bytes);
    show_json_number(o, "region_bytes", t->region_bytes);
    o = cJSON_AddObjectToObject(json, "history");
    (void)cJSON_AddStringToObject(o, "step", step);
    cJSON *points = cJSON_AddArrayToObject(o, "points");
    for (size_t i = 0; i < a->npoints; i++)
        (void)cJSON_AddItemToArray(points, json_point(&a->points[i]));
    (void)cJSON_AddBoolToObject(o, "earlier", a->earlier);
    return json;
}

/* ---- to people */

static void print_growth(struct cli *cli, const char *what, double per_day)
{
    char size[SIZE_TEXT_MAX];
    const double bytes = per_day < 0 ? -per_day : per_day;
    (void)fprintf(cli->out, "%s %c%s a day", what, per_day < 0 ? '-' : '+',
                  size_format_human(bytes < 1e18 ? (uint64_t)bytes : (uint64_t)1e18, size));
}

static void print_latency(struct cli *cli, const char *what, const struct pstorage_latency_figures *l)
{
    char mean[SHOW_TEXT_MAX], half[SHOW_TEXT_MAX], most[SHOW_TEXT_MAX];
    if (l->requests)
        (void)fprintf(cli->out, "%" PRIu64 " %s in 24 hours: mean %s, half below %s, 99 %% below %s\n",
                      l->requests, what, show_latency((uint64_t)(l->mean_us * 1000), mean),
                      show_latency((uint64_t)(l->p50_us * 1000), half),
                      show_latency((uint64_t)(l->p99_us * 1000), most));
}

static const char *mean_latency(const struct pstorage_latency_figures *l, char *text)
{
    return l->requests ? show_latency((uint64_t)(l->mean_us * 1000), text) : "-";
}

static void print_points(struct cli *cli, const struct pstorage_account *a, const char *step)
{
    static const struct table_column columns[] = {
        {"FROM", false}, {"SIZE", true},       {"DATA", true},   {"STORED", true},  {"READS", true},
        {"READ", true},  {"READ TAKES", true}, {"WRITES", true}, {"WRITTEN", true}, {"WRITE TAKES", true}};
    struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < a->npoints; i++) {
        const struct pstorage_volume_point *p = &a->points[i];
        char text[SHOW_TEXT_MAX], size[SIZE_TEXT_MAX];
        table_add(t, "%s", show_time(p->begin_unix_ns, text));
        table_add(t, "%s", size_format_human(p->size_bytes, size));
        table_add(t, "%s", size_format_human(p->logical_bytes, size));
        table_add(t, "%s", size_format_human(p->stored_bytes, size));
        table_add(t, "%" PRIu64, p->reads);
        table_add(t, "%s", size_format_human(p->read_bytes, size));
        table_add(t, "%s", mean_latency(&p->read_latency, text));
        table_add(t, "%" PRIu64, p->writes);
        table_add(t, "%s", size_format_human(p->written_bytes, size));
        table_add(t, "%s", mean_latency(&p->write_latency, text));
    }
    if (a->npoints)
        table_print(t, cli->out, cli->bold);
    else
        (void)fprintf(cli->out, "No %s of it is known\n", step);
    table_destroy(t);
    if (a->earlier)
        (void)fputs("There is more before: --points\n", cli->out);
}

static void print_account(struct cli *cli, const struct pstorage_account *a, const char *step)
{
    char size[SIZE_TEXT_MAX], data[SIZE_TEXT_MAX], stored[SIZE_TEXT_MAX], ratio[SHOW_TEXT_MAX];
    (void)fprintf(cli->out, "%s is %s: %s, %s of it hold data and take %s of flash (%s)\n", a->volume,
                  a->now.temperature, size_format_human(a->now.size_bytes, size),
                  size_format_human(a->now.logical_bytes, data), size_format_human(a->stored_bytes, stored),
                  show_ratio(a->now.logical_bytes, a->stored_bytes, ratio));
    if (a->growth_known) {
        print_growth(cli, "Data", a->logical_bytes_per_day);
        print_growth(cli, ", flash", a->stored_bytes_per_day);
        (void)fprintf(cli->out, ", as seen over %.1f days\n", a->growth_days);
    } else {
        (void)fputs("Growth: fewer than 24 hours are known\n", cli->out);
    }
    print_latency(cli, "reads", &a->read_latency);
    print_latency(cli, "writes", &a->write_latency);
    print_points(cli, a, step);
}

int cmd_analytics_volume(struct cli *cli)
{
    static const char *const steps[] = {[PSTORAGE_HISTORY_MINUTE] = "minute",
                                        [PSTORAGE_HISTORY_HOUR] = "hour",
                                        [PSTORAGE_HISTORY_DAY] = "day"};
    const struct cli_value *step = cli_option_value(cli->in, "step");
    const uint64_t points = cli_number(cli->in, "points", POINTS_USUAL);
    struct pstorage_account a = {
        .volume = cli->in->operands[0],
        .step = step->given ? (enum pstorage_history_step)step->number : PSTORAGE_HISTORY_HOUR,
    };
    if (points < 1 || points > POINTS_MAX)
        return cli_fail(cli, PSTORAGE_EINVAL, "--points takes 1 to %d", POINTS_MAX);
    int rc = gather(cli, &a, (size_t)points);
    if (rc)
        return rc;
    if (cli->in->json)
        rc = cli_print_json(cli, account_json(&a, steps[a.step]));
    else
        print_account(cli, &a, steps[a.step]);
    pstorage_account_clear(&a);
    return rc;
}
