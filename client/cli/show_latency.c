/* How long requests took: as JSON, and to people. */
#include "client/cli/show.h"

#include <inttypes.h>

#include "client/cli/table.h"
#include "common/latency.h"

static const char *const operation_names[PSTORAGE_OPERATIONS] = {"read", "write", "flush", "trim"};
static const struct {
    const char *json, *column;
    double q;
} quantiles[] = {
    {"p50_seconds", "HALF BELOW", 0.5}, {"p95_seconds", "95 %", 0.95}, {"p99_seconds", "99 %", 0.99}};
enum {
    QUANTILES = sizeof quantiles / sizeof quantiles[0]
};

const char *show_latency(uint64_t ns, char *text)
{
    if (ns < 1000000)
        (void)snprintf(text, SHOW_TEXT_MAX, "%" PRIu64 " us", (ns + 500) / 1000);
    else if (ns < 1000000000)
        (void)snprintf(text, SHOW_TEXT_MAX, "%.1f ms", (double)ns / 1e6);
    else
        (void)snprintf(text, SHOW_TEXT_MAX, "%.1f s", (double)ns / 1e9);
    return text;
}

void show_json_latency(cJSON *object, const struct pstorage_volume_latency *v)
{
    cJSON *all = cJSON_AddObjectToObject(object, "latency");
    for (size_t op = 0; op < PSTORAGE_OPERATIONS; op++) {
        const struct pstorage_operation_latency *o = &v->operations[op];
        const uint64_t count = latency_count(o->counts);
        if (count == 0)
            continue;
        cJSON *json = cJSON_AddObjectToObject(all, operation_names[op]);
        show_json_number(json, "requests", count);
        (void)cJSON_AddNumberToObject(json, "mean_seconds", (double)o->sum_ns / (double)count / 1e9);
        for (size_t i = 0; i < QUANTILES; i++)
            (void)cJSON_AddNumberToObject(json, quantiles[i].json,
                                          (double)latency_quantile_ns(o->counts, quantiles[i].q) / 1e9);
        /* Not cumulative: requests that took less than this, and not less than the one before. */
        cJSON *buckets = cJSON_AddArrayToObject(json, "buckets");
        for (unsigned k = 0; k < LATENCY_BUCKETS; k++) {
            if (o->counts[k] == 0)
                continue;
            cJSON *bucket = cJSON_CreateObject();
            if (k + 1 < LATENCY_BUCKETS)
                (void)cJSON_AddNumberToObject(bucket, "below_seconds",
                                              (double)latency_bucket_end_ns(k) / 1e9);
            else
                (void)cJSON_AddNullToObject(bucket, "below_seconds");
            show_json_number(bucket, "requests", o->counts[k]);
            (void)cJSON_AddItemToArray(buckets, bucket);
        }
    }
}

void show_latency_table(struct cli *cli, const struct pstorage_volume_latency *volumes, size_t count,
                        bool names)
{
    const struct table_column columns[] = {
        {"VOLUME", false},           {"OPERATION", false},        {"REQUESTS", true},         {"MEAN", true},
        {quantiles[0].column, true}, {quantiles[1].column, true}, {quantiles[2].column, true}};
    struct table *t =
        table_create(names ? columns : columns + 1, sizeof columns / sizeof columns[0] - (names ? 0 : 1));
    bool any = false;
    for (size_t i = 0; i < count; i++)
        for (size_t op = 0; op < PSTORAGE_OPERATIONS; op++) {
            const struct pstorage_operation_latency *o = &volumes[i].operations[op];
            const uint64_t requests = latency_count(o->counts);
            char text[SHOW_TEXT_MAX];
            if (requests == 0)
                continue;
            any = true;
            if (names)
                table_add(t, "%s", volumes[i].name);
            table_add(t, "%s", operation_names[op]);
            table_add(t, "%" PRIu64, requests);
            table_add(t, "%s", show_latency(o->sum_ns / requests, text));
            for (size_t k = 0; k < QUANTILES; k++)
                table_add(t, "%s", show_latency(latency_quantile_ns(o->counts, quantiles[k].q), text));
        }
    if (any) {
        (void)fputc('\n', cli->out);
        table_print(t, cli->out, cli->bold);
    }
    table_destroy(t);
}
