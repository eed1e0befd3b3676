/* Status: see proto/pstorage/v1/status.proto. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/message.h"
#include "node/flash/array.h"
#include "node/host/services_impl.h"
#include "pstorage/v1/status.pb-c.h"

/* A pod's status with everything it points to. */
struct finding_rows {
    struct pod_finding *infos;
    Pstorage__V1__PodFinding *rows, **pointers;
    size_t count;
};

struct pod_row {
    Pstorage__V1__PodDeepCheck deep;
    struct pod_deep_info info;
    struct finding_rows findings, losses;
    Pstorage__V1__PodStatus status;
    Pstorage__V1__PodSpace space;
    Pstorage__V1__PodReduction reduction;
    Pstorage__V1__PodActivity activity;
    struct pod_stats stats;
};

struct device_row {
    Pstorage__V1__DeviceStatus status;
    char name[sizeof((struct blkdev *)0)->name];
};

static void fill_space(Pstorage__V1__PodSpace *out, const struct pod_stats *stats)
{
    pstorage__v1__pod_space__init(out);
    out->capacity_bytes = stats->capacity;
    out->free_bytes = stats->free_bytes;
    out->reserve_bytes = stats->reserve_bytes;
    out->logical_bytes = stats->logical;
    out->unique_blocks = stats->unique_blocks;
    out->stored_bytes = stats->stored_bytes;
    out->metadata_bytes = stats->metadata_bytes;
    out->metadata_single_bytes = stats->metadata_single_bytes;
    out->garbage_bytes = stats->garbage_bytes;
    out->volumes = stats->volumes;
    out->snapshots = stats->snapshots;
    out->releasing = stats->releasing;
    out->open_bytes = stats->open_bytes;
    out->mapped_bytes = stats->mapped;
}

static void fill_reduction(Pstorage__V1__PodReduction *out, const struct pod_stats *stats)
{
    pstorage__v1__pod_reduction__init(out);
    out->host_read_bytes = stats->host_read;
    out->host_written_bytes = stats->host_written;
    out->pattern_removed_bytes = stats->pattern_removed;
    out->dedup_removed_bytes = stats->dedup_removed;
    out->compress_in_bytes = stats->compress_in;
    out->compress_out_bytes = stats->compress_out;
    out->flash_written_data_bytes = stats->flash_written_data;
    out->flash_written_metadata_bytes = stats->flash_written_metadata;
    out->flash_written_moved_bytes = stats->flash_written_moved;
}

static void fill_activity(Pstorage__V1__PodActivity *out, const struct pod_stats *stats)
{
    pstorage__v1__pod_activity__init(out);
    out->reads = stats->reads;
    out->writes = stats->writes;
    out->flushes = stats->flushes;
    out->trims = stats->trims;
    out->cache_hits = stats->cache_hits;
    out->cache_misses = stats->cache_misses;
    out->batches = stats->batches;
    out->checkpoints = stats->checkpoints;
    out->dedup_compares = stats->dedup_compares;
    out->dedup_index_entries = stats->dedup_index_entries;
    out->dedup_index_capacity = stats->dedup_index_capacity;
    out->dedup_index_loading = stats->dedup_index_loading;
    out->memory_bytes = stats->memory_bytes;
    out->memory_budget_bytes = stats->memory_budget;
    out->checksum_errors = stats->checksum_errors;
    out->log_seq = stats->log_seq;
    out->repaired_reads = stats->repaired_reads;
    out->repaired_metadata = stats->repaired_metadata;
    out->collecting = stats->collecting;
    out->collected_segments = stats->collected;
    out->collect_moved_bytes = stats->collect_moved;
    out->collect_read_bytes = stats->collect_read;
    out->collect_waits = stats->collect_waits;
    out->cold_in_bytes = stats->cold_in;
    out->cold_out_bytes = stats->cold_out;
}

static void fill_scrub(Pstorage__V1__PodActivity *out, const struct pod *pod)
{
    struct pod_scrub_info info;
    pod_scrub_look(pod, &info);
    out->scrub_running = info.running;
    out->scrub_permille = info.segments ? (uint32_t)((uint64_t)info.segments_done * 1000 / info.segments) : 0;
    out->scrub_passes = info.passes;
    out->scrub_read_bytes = info.read_bytes;
    out->scrub_damaged = info.damaged;
    out->scrub_ended_ms_ago = info.ended_ns_ago / 1000000;
}

/* ---- the deep check, and whose lost records are */

static bool fill_findings(struct finding_rows *rows, const struct pod *pod, uint32_t count,
                          int (*next)(const struct pod *pod, uint32_t index, struct pod_finding *out))
{
    *rows = (struct finding_rows){.infos = calloc(count + 1, sizeof *rows->infos),
                                  .rows = calloc(count + 1, sizeof *rows->rows),
                                  .pointers = calloc(count + 1, sizeof(void *))};
    if (!rows->infos || !rows->rows || !rows->pointers)
        return false;
    for (; rows->count < count && next(pod, (uint32_t)rows->count, &rows->infos[rows->count]) == 0;
         rows->count++) {
        struct pod_finding *info = &rows->infos[rows->count];
        Pstorage__V1__PodFinding *row = &rows->rows[rows->count];
        rpc_utf8_repair(info->text);
        pstorage__v1__pod_finding__init(row);
        row->subject = info->subject;
        row->image_id = info->image;
        row->lba = info->lba;
        row->blocks = info->blocks;
        row->text = info->text;
        rows->pointers[rows->count] = row;
    }
    return true;
}

static void free_findings(struct finding_rows *rows)
{
    free(rows->infos);
    free(rows->rows);
    free(rows->pointers);
}

static bool fill_deep(struct pod_row *row, const struct pod *pod)
{
    pod_deep_look(pod, &row->info);
    rpc_utf8_repair(row->info.why);
    if (!fill_findings(&row->findings, pod, row->info.findings, pod_deep_finding))
        return false;
    if (!fill_findings(&row->losses, pod, row->info.losses, pod_loss))
        return false;
    Pstorage__V1__PodDeepCheck *m = &row->deep;
    pstorage__v1__pod_deep_check__init(m);
    m->running = row->info.running;
    m->permille = row->info.permille;
    m->runs = row->info.runs;
    m->failed = row->info.failed;
    m->why = row->info.why;
    m->damage = row->info.damage;
    m->images = row->info.images;
    m->pages = row->info.pages;
    m->blocks = row->info.blocks;
    m->passes = row->info.passes;
    m->ended_ms_ago = row->info.ended_ns_ago / 1000000;
    m->took_ms = row->info.took_ns / 1000000;
    m->findings = row->findings.pointers;
    m->n_findings = row->findings.count;
    row->status.deep_check = m;
    row->status.losses = row->losses.pointers;
    row->status.n_losses = row->losses.count;
    return true;
}

static void free_pod(struct pod_row *row)
{
    free_findings(&row->findings);
    free_findings(&row->losses);
}

/* False: no memory. free_pod in either case. */
static bool fill_pod(struct pod_row *row, const struct services *s)
{
    row->findings = row->losses = (struct finding_rows){0};
    pod_stats(s->config.pod, &row->stats);
    rpc_utf8_repair(row->stats.failure);
    fill_space(&row->space, &row->stats);
    fill_reduction(&row->reduction, &row->stats);
    fill_activity(&row->activity, &row->stats);
    fill_scrub(&row->activity, s->config.pod);
    pstorage__v1__pod_status__init(&row->status);
    row->status.name = (char *)(uintptr_t)s->config.pod_name;
    row->status.state = row->stats.failed ? PSTORAGE__V1__POD_STATE__POD_STATE_READ_ONLY
                                          : PSTORAGE__V1__POD_STATE__POD_STATE_ONLINE;
    row->status.failure = row->stats.failure;
    row->status.space = &row->space;
    row->status.reduction = &row->reduction;
    row->status.activity = &row->activity;
    return fill_deep(row, s->config.pod);
}

static void fill_device(struct device_row *row, const struct blkdev *dev)
{
    struct blkdev_health health;
    blkdev_health(dev, &health);
    memcpy(row->name, dev->name, sizeof row->name);
    rpc_utf8_repair(row->name);
    pstorage__v1__device_status__init(&row->status);
    row->status.name = row->name;
    row->status.size_bytes = dev->geometry.size_bytes;
    row->status.read_ops = health.read_ops;
    row->status.read_bytes = health.read_bytes;
    row->status.write_ops = health.write_ops;
    row->status.write_bytes = health.write_bytes;
    row->status.flush_ops = health.flush_ops;
    row->status.erase_ops = health.erase_ops;
    row->status.errors = health.errors;
    row->status.failed = health.failed;
}

static void fill_member(struct device_row *row, const struct array_member_info *info,
                        const struct services *s)
{
    static const Pstorage__V1__DeviceState states[] = {
        [ARRAY_IN] = PSTORAGE__V1__DEVICE_STATE__DEVICE_STATE_IN,
        [ARRAY_OUT] = PSTORAGE__V1__DEVICE_STATE__DEVICE_STATE_OUT,
        [ARRAY_REBUILDING] = PSTORAGE__V1__DEVICE_STATE__DEVICE_STATE_REBUILDING,
    };
    pstorage__v1__device_status__init(&row->status);
    if (info->dev)
        fill_device(row, info->dev);
    (void)snprintf(row->name, sizeof row->name, "%s", info->name);
    rpc_utf8_repair(row->name);
    row->status.name = row->name;
    row->status.state = states[info->state];
    row->status.rebuilt_percent = info->rebuilt_percent;
    if (info->leaving) {
        row->status.state = PSTORAGE__V1__DEVICE_STATE__DEVICE_STATE_LEAVING;
        row->status.vacated_percent = s->config.vacated_percent(s->config.user);
    }
}

static size_t fill_devices(const struct services *s, struct device_row rows[ARRAY_MEMBERS_MAX])
{
    struct array_info info;
    const struct array *array = s->config.array ? s->config.array(s->config.user) : NULL;
    if (!array) {
        for (size_t i = 0; i < s->config.ndevices && i < ARRAY_MEMBERS_MAX; i++)
            fill_device(&rows[i], s->config.devices[i]);
        return s->config.ndevices;
    }
    array_look(array, &info);
    for (unsigned i = 0; i < info.members; i++)
        fill_member(&rows[i], &info.member[i], s);
    return info.members;
}

static void get_node(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct services *s = user;
    (void)message;
    struct device_row rows[ARRAY_MEMBERS_MAX];
    Pstorage__V1__DeviceStatus *devices[ARRAY_MEMBERS_MAX];
    const size_t ndevices = fill_devices(s, rows);
    for (size_t i = 0; i < ndevices; i++)
        devices[i] = &rows[i].status;
    struct pod_row pod;
    Pstorage__V1__PodStatus *pods[] = {&pod.status};
    if (!fill_pod(&pod, s)) {
        free_pod(&pod);
        rpc_call_fail(call, PS_ENOMEM, NULL);
        return;
    }

    struct rpc_server_stats rpc;
    char version[] = PS_VERSION;
    rpc_server_stats(s->server, &rpc);
    Pstorage__V1__NodeStatus node = PSTORAGE__V1__NODE_STATUS__INIT;
    char name[256];
    (void)snprintf(name, sizeof name, "%s", s->config.node_name);
    rpc_utf8_repair(name);
    node.name = name;
    node.software = version;
    node.started_unix_ns = s->config.started_unix_ns;
    node.now_unix_ns = s->config.now_unix_ns(s->config.user);
    node.rpc_connections = rpc.connections;
    node.rpc_calls = rpc.calls;
    node.rpc_refused = rpc.refused;

    Pstorage__V1__GetNodeResponse response = PSTORAGE__V1__GET_NODE_RESPONSE__INIT;
    response.node = &node;
    response.pods = pods;
    response.n_pods = 1;
    response.devices = devices;
    response.n_devices = ndevices;
    rpc_call_reply(call, &response.base);
    free_pod(&pod);
}

static void scrub(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct services *s = user;
    pod_scrub(s->config.pod);
    get_node(user, call, message);
}

static void collect(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct services *s = user;
    pod_collect(s->config.pod);
    get_node(user, call, message);
}

static void deep_check(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct services *s = user;
    pod_deep(s->config.pod);
    get_node(user, call, message);
}

static void get_pod(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct services *s = user;
    const Pstorage__V1__GetPodRequest *request = (const void *)message;
    if (!check_pod(s, call, request->pod))
        return;
    struct pod_row pod;
    if (fill_pod(&pod, s)) {
        Pstorage__V1__GetPodResponse response = PSTORAGE__V1__GET_POD_RESPONSE__INIT;
        response.pod = &pod.status;
        rpc_call_reply(call, &response.base);
    } else {
        rpc_call_fail(call, PS_ENOMEM, NULL);
    }
    free_pod(&pod);
}

static const struct rpc_method methods[] = {
    {.name = "GetNode", .handler = get_node},     {.name = "GetPod", .handler = get_pod},
    {.name = "Scrub", .handler = scrub},          {.name = "Collect", .handler = collect},
    {.name = "DeepCheck", .handler = deep_check}, {.name = "GetLatency", .handler = services_get_latency},
};

const struct rpc_service services_status = {
    .descriptor = &pstorage__v1__status__descriptor,
    .methods = methods,
    .nmethods = sizeof methods / sizeof methods[0],
};
