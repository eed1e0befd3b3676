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
    X(stored_bytes)                                                                                          \
    X(metadata_bytes)                                                                                        \
    X(metadata_single_bytes) X(garbage_bytes) X(open_bytes) X(volumes) X(snapshots) X(releasing)
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
    X(cold_in_bytes)                                                                                         \
    X(cold_out_bytes) X(dedup_compares) X(dedup_index_entries) X(dedup_index_capacity) X(memory_bytes)       \
        X(memory_budget_bytes) X(checksum_errors) X(repaired_reads) X(repaired_metadata) X(scrub_passes)     \
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

static void add_json_findings(cJSON *to, const char *name, const struct pstorage_finding *findings,
                              size_t count)
{
    cJSON *list = cJSON_AddArrayToObject(to, name);
    for (size_t i = 0; i < count; i++) {
        const struct pstorage_finding *f = &findings[i];
        cJSON *o = cJSON_CreateObject();
        (void)cJSON_AddItemToArray(list, o);
        show_json_number(o, "subject", f->subject);
        if (f->image_id) {
            show_json_number(o, "image_id", f->image_id);
            show_json_number(o, "lba", f->lba);
            show_json_number(o, "blocks", f->blocks);
        }
        (void)cJSON_AddStringToObject(o, "text", f->text);
    }
}

static void add_json_deep_check(cJSON *to, const struct pstorage_deep_check *d)
{
    cJSON *o = cJSON_AddObjectToObject(to, "deep_check");
    (void)cJSON_AddBoolToObject(o, "running", d->running);
    show_json_number(o, "permille", d->permille);
    show_json_number(o, "runs", d->runs);
    (void)cJSON_AddBoolToObject(o, "failed", d->failed);
    (void)cJSON_AddStringToObject(o, "why", d->why);
    show_json_number(o, "damage", d->damage);
    show_json_number(o, "images", d->images);
    show_json_number(o, "pages", d->pages);
    show_json_number(o, "blocks", d->blocks);
    show_json_number(o, "passes", d->passes);
    show_json_number(o, "ended_ms_ago", d->ended_ms_ago);
    show_json_number(o, "took_ms", d->took_ms);
    add_json_findings(o, "findings", d->findings, d->nfindings);
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
        (void)cJSON_AddBoolToObject(group, "collecting", p->collecting);
        (void)cJSON_AddBoolToObject(group, "scrub_running", p->scrub_running);
        show_json_number(group, "scrub_permille", p->scrub_permille);
        show_json_number(group, "scrub_ended_ms_ago", p->scrub_ended_ms_ago);
        add_json_deep_check(o, &p->deep_check);
        add_json_findings(o, "losses", p->losses, p->nlosses);
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
        static const char *const states[] = {"alone", "in", "out", "rebuilding", "leaving"};
        (void)cJSON_AddStringToObject(o, "state", states[d->state]);
        show_json_number(o, "rebuilt_percent", d->rebuilt_percent);
        show_json_number(o, "vacated_percent", d->vacated_percent);
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
    BYTES("  free", p->free_bytes, "of which %s are kept for collection",
          size_format_human(p->reserve_bytes, more));
    BYTES("Logical", p->logical_bytes,
          "in %" PRIu64 " volume%s and %" PRIu64 " snapshot%s, as each sees itself", p->volumes,
          p->volumes == 1 ? "" : "s", p->snapshots, p->snapshots == 1 ? "" : "s");
    BYTES("  stored", p->stored_bytes, "%s", show_ratio(p->logical_bytes, p->stored_bytes, text));
    BYTES("  metadata", p->metadata_bytes, "%s%s", p->metadata_single_bytes ? "without a second copy: " : "",
          p->metadata_single_bytes ? size_format_human(p->metadata_single_bytes, more) : "");
    BYTES("  garbage", p->garbage_bytes, "%s", releasing);
    BYTES("  open", p->open_bytes, "%s", "not written yet, in segments that are being filled");
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
    (void)snprintf(more, sizeof more, "%" PRIu64, p->repaired_metadata);
    if (p->repaired_metadata)
        ROW("Metadata mended", more, "%s", "records, since the start: one copy was bad, the other is good");
#undef BYTES
#undef ROW
    (void)fprintf(cli->out, "\nPod %s is %s%s%s\n", p->name, state_name(p), *p->failure ? ": " : "",
                  p->failure);
    if (p->nlosses)
        (void)fputs(
            "Records are lost: 'pstorage scrub --status' says of which volumes and snapshots, and where\n",
            cli->out);
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
        if (d->state == PSTORAGE_DEVICE_REBUILDING)
            table_add(t, "rebuilding, %u %%", d->rebuilt_percent);
        else if (d->state == PSTORAGE_DEVICE_LEAVING)
            table_add(t, "leaving, %u %% moved", d->vacated_percent);
        else
            table_add(t, "%s", d->state == PSTORAGE_DEVICE_OUT ? "out" : d->failed ? "failed" : "good");
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

static void print_gc(struct cli *cli, const struct pstorage_pod *p)
{
    char garbage[SIZE_TEXT_MAX], moved[SIZE_TEXT_MAX], free[SIZE_TEXT_MAX];
    (void)fprintf(cli->out,
                  "%s: %s, %s of garbage, %s free; %" PRIu64
                  " segments taken apart and %s moved since the start\n",
                  p->name, p->collecting ? "collecting" : "not asked to collect",
                  size_format_human(p->garbage_bytes, garbage), size_format_human(p->free_bytes, free),
                  p->collected_segments, size_format_human(p->collect_moved_bytes, moved));
}

int cmd_gc(struct cli *cli)
{
    struct pstorage_report r = {.collect = !cli_flag(cli->in, "status")};
    int rc = pstorage_report_run(cli->client, &r);
    if (rc)
        rc = cli_fail_request(cli, &r.request, rc);
    else if (cli->in->json)
        rc = print_json(cli, &r, NULL);
    for (size_t i = 0; !rc && !cli->in->json && i < r.npods; i++)
        print_gc(cli, &r.pods[i]);
    pstorage_report_clear(&r);
    return rc;
}

static void print_findings(struct cli *cli, const struct pstorage_finding *findings, size_t count)
{
    for (size_t i = 0; i < count; i++)
        (void)fprintf(cli->out, "  %s\n", findings[i].text);
}

static void print_deep_check(struct cli *cli, const struct pstorage_pod *p)
{
    const struct pstorage_deep_check *d = &p->deep_check;
    char ago[SHOW_TEXT_MAX];
    if (d->running)
        (void)fprintf(cli->out, "%s: maps are being compared, %" PRIu32 ".%" PRIu32 " %% gone through\n",
                      p->name, d->permille / 10, d->permille % 10);
    else if (!d->runs)
        (void)fprintf(cli->out, "%s: maps not compared since the node started\n", p->name);
    else if (d->failed)
        (void)fprintf(cli->out, "%s: maps were not compared: %s\n", p->name, d->why);
    else
        (void)fprintf(cli->out,
                      "%s: maps compared %s ago, %" PRIu64 " images, %" PRIu64 " pages, %" PRIu64
                      " blocks, %" PRIu64 " found wrong\n",
                      p->name, show_duration(d->ended_ms_ago * 1000000, ago), d->images, d->pages, d->blocks,
                      d->damage);
    print_findings(cli, d->findings, d->nfindings);
    if (p->nlosses)
        (void)fprintf(cli->out, "%s: lost records\n", p->name);
    print_findings(cli, p->losses, p->nlosses);
}

int cmd_scrub(struct cli *cli)
{
    const bool deep = cli_flag(cli->in, "deep"), begins = !cli_flag(cli->in, "status");
    struct pstorage_report r = {.scrub = begins && !deep, .deep_check = begins && deep};
    int rc = pstorage_report_run(cli->client, &r);
    if (rc)
        rc = cli_fail_request(cli, &r.request, rc);
    else if (cli->in->json)
        rc = print_json(cli, &r, NULL);
    for (size_t i = 0; !rc && !cli->in->json && i < r.npods; i++) {
        if (!deep)
            print_scrub(cli, &r.pods[i]);
        print_deep_check(cli, &r.pods[i]);
    }
    pstorage_report_clear(&r);
    return rc;
}
