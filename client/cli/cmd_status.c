/* pstorage status, pstorage metrics */
#include "client/cli/show.h"

#include <inttypes.h>

#include "client/cli/table.h"
#include "common/sizes.h"

/* Every number of a pod and of a device once, under the name and in the group
 * that scripts see; the groups are those of proto/pstorage/v1/status.proto. */
#define POD_SPACE(X)                                                                                         \
    X(capacity_bytes)                                                                                        \
    X(free_bytes)                                                                                            \
    X(reserve_bytes)                                                                                         \
    X(logical_bytes)                                                                                         \
    X(mapped_bytes)                                                                                          \
    X(unique_blocks)                                                                                         \
    X(stored_bytes) X(metadata_bytes) X(garbage_bytes) X(open_bytes) X(volumes) X(snapshots) X(releasing)
#define POD_REDUCTION(X)                                                                                     \
    X(host_read_bytes)                                                                                       \
    X(host_written_bytes)                                                                                    \
    X(pattern_removed_bytes)                                                                                 \
    X(dedup_removed_bytes)                                                                                   \
    X(compress_in_bytes)                                                                                     \
    X(compress_out_bytes)                                                                                    \
    X(flash_written_data_bytes) X(flash_written_metadata_bytes) X(flash_written_moved_bytes)
#define POD_ACTIVITY(X)                                                                                      \
    X(reads)                                                                                                 \
    X(writes)                                                                                                \
    X(flushes)                                                                                               \
    X(trims)                                                                                                 \
    X(cache_hits)                                                                                            \
    X(cache_misses)                                                                                          \
    X(batches)                                                                                               \
    X(checkpoints)                                                                                           \
    X(collected_segments)                                                                                    \
    X(collect_moved_bytes)                                                                                   \
    X(collect_read_bytes)                                                                                    \
    X(collect_waits)                                                                                         \
    X(cold_in_bytes) X(cold_out_bytes) X(dedup_compares) X(dedup_index_entries) X(dedup_index_capacity)      \
        X(memory_bytes) X(memory_budget_bytes) X(checksum_errors) X(repaired_reads) X(scrub_passes)          \
            X(scrub_read_bytes) X(scrub_damaged) X(log_seq)
#define DEVICE_NUMBERS(X)                                                                                    \
    X(size_bytes) X(read_ops) X(read_bytes) X(write_ops) X(write_bytes) X(flush_ops) X(erase_ops) X(errors)

static const char *state_name(const struct pstorage_pod *p)
{
    return p->state == PSTORAGE_POD_ONLINE ? "online" : "read-only";
}

/* The pod as replication sees it; an older node has no such thing to say. */
static bool ask_cluster(struct cli *cli, struct pstorage_pod_order *order)
{
    *order = (struct pstorage_pod_order){.op = PSTORAGE_POD_GET};
    return pstorage_pod_order_run(cli->client, order) == PSTORAGE_OK;
}

/* `latency` NULL: without. */
static int print_json(struct cli *cli, const struct pstorage_report *r,
                      const struct pstorage_latency *latency)
{
    cJSON *json = cJSON_CreateObject(), *node = cJSON_AddObjectToObject(json, "node");
    (void)cJSON_AddStringToObject(node, "name", r->node.name);
    (void)cJSON_AddStringToObject(node, "software", r->node.software);
    (void)cJSON_AddStringToObject(node, "endpoint", r->node.endpoint);
    show_json_time(node, "started", r->node.started_unix_ns);
    show_json_time(node, "now", r->node.now_unix_ns);
    show_json_number(node, "rpc_connections", r->node.rpc_connections);
    show_json_number(node, "rpc_calls", r->node.rpc_calls);
    show_json_number(node, "rpc_refused", r->node.rpc_refused);
    cJSON *pods = cJSON_AddArrayToObject(json, "pods");
    for (size_t i = 0; i < r->npods; i++) {
        const struct pstorage_pod *p = &r->pods[i];
        cJSON *o = cJSON_CreateObject();
        (void)cJSON_AddItemToArray(pods, o);
        (void)cJSON_AddStringToObject(o, "name", p->name);
        (void)cJSON_AddStringToObject(o, "state", state_name(p));
        (void)cJSON_AddStringToObject(o, "failure", p->failure);
        cJSON *group = cJSON_AddObjectToObject(o, "space");
#define X(name) show_json_number(group, #name, p->name);
        POD_SPACE(X)
        group = cJSON_AddObjectToObject(o, "reduction");
        POD_REDUCTION(X)
        group = cJSON_AddObjectToObject(o, "activity");
        POD_ACTIVITY(X)
#undef X
        (void)cJSON_AddBoolToObject(group, "dedup_index_loading", p->dedup_index_loading);
    }
    struct pstorage_pod_order order;
    if (ask_cluster(cli, &order))
        (void)cJSON_AddItemToObject(json, "replication", show_json_pod(&order.view));
    cJSON *devices = cJSON_AddArrayToObject(json, "devices");
    for (size_t i = 0; i < r->ndevices; i++) {
        const struct pstorage_device *d = &r->devices[i];
        cJSON *o = cJSON_CreateObject();
        (void)cJSON_AddItemToArray(devices, o);
        (void)cJSON_AddStringToObject(o, "name", d->name);
#define X(name) show_json_number(o, #name, d->name);
        DEVICE_NUMBERS(X)
#undef X
        (void)cJSON_AddBoolToObject(o, "failed", d->failed);
    }
    cJSON *volumes = latency ? cJSON_AddArrayToObject(json, "volumes") : NULL;
    for (size_t i = 0; latency && i < latency->count; i++) {
        cJSON *o = cJSON_CreateObject();
        (void)cJSON_AddItemToArray(volumes, o);
        show_json_number(o, "id", latency->items[i].id);
        (void)cJSON_AddStringToObject(o, "name", latency->items[i].name);
        show_json_latency(o, &latency->items[i]);
    }
    return cli_print_json(cli, json);
}

static void print_pod(struct cli *cli, const struct pstorage_pod *p)
{
    static const struct table_column columns[] = {{NULL, false}, {NULL, true}, {NULL, false}};
    struct table *t = table_create(columns, 3);
    char a[SIZE_TEXT_MAX], text[SHOW_TEXT_MAX], more[SHOW_TEXT_MAX];
    char releasing[2 * SHOW_TEXT_MAX] = "";
    if (p->releasing)
        (void)snprintf(releasing, sizeof releasing, "and %" PRIu64 " deleted images being released",
                       p->releasing);
    const uint64_t used =
        p->capacity_bytes - (p->free_bytes < p->capacity_bytes ? p->free_bytes : p->capacity_bytes);
    const uint64_t programmed =
        p->flash_written_data_bytes + p->flash_written_metadata_bytes + p->flash_written_moved_bytes;
#define ROW(label, value, ...)   table_add(t, label), table_add(t, "%s", value), table_add(t, __VA_ARGS__)
#define BYTES(label, bytes, ...) ROW(label, size_format_human(bytes, a), __VA_ARGS__)
    BYTES("Capacity", p->capacity_bytes, "%s", "");
    BYTES("  used", used, "%s", show_percent(used, p->capacity_bytes, text));
    BYTES("  free", p->free_bytes, "%s", "");
    BYTES("Logical", p->logical_bytes,
          "in %" PRIu64 " volume%s and %" PRIu64 " snapshot%s, as each sees itself", p->volumes,
          p->volumes == 1 ? "" : "s", p->snapshots, p->snapshots == 1 ? "" : "s");
    BYTES("  stored", p->stored_bytes, "%s", show_ratio(p->logical_bytes, p->stored_bytes, text));
    BYTES("  metadata", p->metadata_bytes, "%s", "");
    BYTES("  garbage", p->garbage_bytes, "%s", releasing);
    BYTES("Written by hosts", p->host_written_bytes, "%s", "since the pod was made");
    BYTES("  patterns", p->pattern_removed_bytes, "%s",
          show_percent(p->pattern_removed_bytes, p->host_written_bytes, text));
    BYTES("  duplicates", p->dedup_removed_bytes, "%s",
          show_percent(p->dedup_removed_bytes, p->host_written_bytes, text));
    BYTES("  compressed", p->compress_in_bytes, "%s",
          show_ratio(p->compress_in_bytes, p->compress_out_bytes, text));
    BYTES("Programmed", programmed, "%s of what hosts wrote",
          show_percent(programmed, p->host_written_bytes, text));
    BYTES("  log", p->flash_written_data_bytes, "%s", "");
    BYTES("  metadata", p->flash_written_metadata_bytes, "%s", "");
    BYTES("  moved", p->flash_written_moved_bytes, "%s", "by garbage collection");
    ROW("Cache", show_percent(p->cache_hits, p->cache_hits + p->cache_misses, text),
        "of reads since the start");
    BYTES("Memory", p->memory_bytes, "of %s", size_format_human(p->memory_budget_bytes, more));
    (void)snprintf(more, sizeof more, "%" PRIu64, p->checksum_errors);
    if (p->checksum_errors)
        ROW("Bad checksums", more, "%s", "since the start");
    (void)snprintf(more, sizeof more, "%" PRIu64, p->repaired_reads);
    if (p->repaired_reads)
        ROW("Read elsewhere", more, "%s", "records, since the start: lost here, another member has them");
#undef BYTES
#undef ROW
    (void)fprintf(cli->out, "\nPod %s is %s%s%s\n", p->name, state_name(p), *p->failure ? ": " : "",
                  p->failure);
    table_print(t, cli->out, false);
    table_destroy(t);
}

static void print_devices(struct cli *cli, const struct pstorage_report *r)
{
    static const struct table_column columns[] = {{"DEVICE", false}, {"SIZE", true},   {"READ", true},
                                                  {"WRITTEN", true}, {"ERRORS", true}, {"STATE", false}};
    struct table *t = table_create(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < r->ndevices; i++) {
        const struct pstorage_device *d = &r->devices[i];
        char size[SIZE_TEXT_MAX];
        table_add(t, "%s", d->name);
        table_add(t, "%s", size_format_human(d->size_bytes, size));
        table_add(t, "%s", size_format_human(d->read_bytes, size));
        table_add(t, "%s", size_format_human(d->write_bytes, size));
        table_add(t, "%" PRIu64, d->errors);
        table_add(t, "%s", d->failed ? "failed" : "good");
    }
    (void)fputc('\n', cli->out);
    table_print(t, cli->out, cli->bold);
    table_destroy(t);
}

int cmd_status(struct cli *cli)
{
    struct pstorage_report r = {0};
    int rc = pstorage_report_run(cli->client, &r);
    if (rc) {
        rc = cli_fail_request(cli, &r.request, rc);
    } else if (cli->in->json) {
        rc = print_json(cli, &r, NULL);
    } else {
        char up[SHOW_TEXT_MAX];
        const uint64_t now = r.node.now_unix_ns, started = r.node.started_unix_ns;
        (void)fprintf(cli->out, "Node %s at %s, PStorage %s, up %s\n", r.node.name, r.node.endpoint,
                      r.node.software, show_duration(now > started ? now - started : 0, up));
        struct pstorage_pod_order order;
        if (ask_cluster(cli, &order) && order.view.cluster[0])
            show_pod_lines(cli, &order.view);
        for (size_t i = 0; i < r.npods; i++)
            print_pod(cli, &r.pods[i]);
        if (r.ndevices)
            print_devices(cli, &r);
    }
    pstorage_report_clear(&r);
    return rc;
}

static void print_metrics(struct cli *cli, const struct pstorage_report *r,
                          const struct pstorage_latency *latency)
{
    static const struct table_column columns[] = {{NULL, false}, {NULL, true}};
    struct table *t = table_create(columns, 2);
    table_add(t, "node.rpc_connections");
    table_add(t, "%" PRIu32, r->node.rpc_connections);
    table_add(t, "node.rpc_calls");
    table_add(t, "%" PRIu64, r->node.rpc_calls);
    table_add(t, "node.rpc_refused");
    table_add(t, "%" PRIu64, r->node.rpc_refused);
    for (size_t i = 0; i < r->npods; i++) {
        const struct pstorage_pod *p = &r->pods[i];
#define X(number) table_add(t, "pod.%s.%s.%s", p->name, group, #number), table_add(t, "%" PRIu64, p->number);
        const char *group = "space";
        POD_SPACE(X)
        group = "reduction";
        POD_REDUCTION(X)
        group = "activity";
        POD_ACTIVITY(X)
#undef X
    }
    for (size_t i = 0; i < r->ndevices; i++) {
#define X(number)                                                                                            \
    table_add(t, "device.%s.%s", r->devices[i].name, #number), table_add(t, "%" PRIu64, r->devices[i].number);
        DEVICE_NUMBERS(X)
#undef X
    }
    table_print(t, cli->out, false);
    table_destroy(t);
    show_latency_table(cli, latency->items, latency->count, true);
}

int cmd_metrics(struct cli *cli)
{
    struct pstorage_report r = {0};
    struct pstorage_latency latency = {0};
    int rc = pstorage_report_run(cli->client, &r);
    if (rc)
        rc = cli_fail_request(cli, &r.request, rc);
    else if ((rc = pstorage_latency_run(cli->client, &latency)) != PSTORAGE_OK &&
             rc != PSTORAGE_EUNIMPLEMENTED) /* by an older node */
        rc = cli_fail_request(cli, &latency.request, rc);
    else if (cli->in->json)
        rc = print_json(cli, &r, &latency);
    else
        print_metrics(cli, &r, &latency);
    pstorage_latency_clear(&latency);
    pstorage_report_clear(&r);
    return rc;
}

static void print_scrub(struct cli *cli, const struct pstorage_pod *p)
{
    char size[SIZE_TEXT_MAX], ago[SHOW_TEXT_MAX];
    if (p->scrub_running)
        (void)fprintf(cli->out,
                      "%s: %" PRIu32 ".%" PRIu32 " %% gone through, %s read, %" PRIu64 " records damaged\n",
                      p->name, p->scrub_permille / 10, p->scrub_permille % 10,
                      size_format_human(p->scrub_read_bytes, size), p->scrub_damaged);
    else if (p->scrub_passes)
        (void)fprintf(cli->out, "%s: verified %s ago, %s read, %" PRIu64 " records damaged\n", p->name,
                      show_duration(p->scrub_ended_ms_ago * 1000000, ago),
                      size_format_human(p->scrub_read_bytes, size), p->scrub_damaged);
    else
        (void)fprintf(cli->out, "%s: not verified since the node started\n", p->name);
}

int cmd_scrub(struct cli *cli)
{
    struct pstorage_report r = {.scrub = !cli_flag(cli->in, "status")};
    int rc = pstorage_report_run(cli->client, &r);
    if (rc)
        rc = cli_fail_request(cli, &r.request, rc);
    else if (cli->in->json)
        rc = print_json(cli, &r, NULL);
    for (size_t i = 0; !rc && !cli->in->json && i < r.npods; i++)
        print_scrub(cli, &r.pods[i]);
    pstorage_report_clear(&r);
    return rc;
}
