#include "node/host/rest/rest_prometheus.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/latency.h"

static void family(struct json_out *out, const char *name, const char *type, const char *help)
{
    text_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: \, " and line breaks escaped. */
static void label_value(struct json_out *out, const char *value)
{
    for (;;) {
        const size_t run = strcspn(value, "\\\"\n"); /* almost always all there is */
        text_put_n(out, value, run);
        value += run;
        if (!*value)
            return;
        const char escaped[] = {'\\', *value == '\n' ? 'n' : *value};
        text_put_n(out, escaped, sizeof escaped);
        value++;
    }
}

/* name{key="value",…} and a space; pairs of key and value end at NULL. */
static void series(struct json_out *out, const char *name, const char *const *labels)
{
    text_put(out, name);
    for (size_t i = 0; labels[i]; i += 2) {
        text_put_n(out, i ? "," : "{", 1);
        text_put(out, labels[i]);
        text_put_n(out, "=\"", 2);
        label_value(out, labels[i + 1]);
        text_put_n(out, "\"", 1);
    }
    text_put(out, labels[0] ? "} " : " ");
}

static void sample(struct json_out *out, const char *name, const char *const *labels, uint64_t value)
{
    series(out, name, labels);
    text_u64(out, value);
    text_put_n(out, "\n", 1);
}

static void sample_ms(struct json_out *out, const char *name, const char *const *labels, uint64_t ms)
{
    series(out, name, labels);
    text_printf(out, "%" PRIu64 ".%03u\n", ms / 1000, (unsigned)(ms % 1000));
}

static void sample_ns(struct json_out *out, const char *name, const char *const *labels, uint64_t ns)
{
    series(out, name, labels);
    text_printf(out, "%" PRIu64 ".%09u\n", ns / 1000000000, (unsigned)(ns % 1000000000));
}

/* ---- pods */

struct pod_figure {
    size_t offset;
    const char *name, *type, *help;
};
#define POD(member, name, type, help)                                                                        \
    {                                                                                                        \
        offsetof(struct pstorage_pod, member), "pstorage_pod_" name, type, help                              \
    }

static const struct pod_figure pod_figures[] = {
    POD(capacity_bytes, "capacity_bytes", "gauge", "Usable flash."),
    POD(free_bytes, "free_bytes", "gauge", "Free segments, the reserve included."),
    POD(reserve_bytes, "reserve_bytes", "gauge", "Of the free bytes, what only deleting may use."),
    POD(logical_bytes, "logical_bytes", "gauge", "Data of all images, as each sees itself."),
    POD(stored_bytes, "stored_bytes", "gauge", "Flash that holds the data."),
    POD(metadata_bytes, "metadata_bytes", "gauge", "Flash that holds the maps."),
    POD(metadata_single_bytes, "metadata_single_bytes", "gauge", "Of these, what has no second copy."),
    POD(garbage_bytes, "garbage_bytes", "gauge", "Dead bytes in segments not yet used again."),
    POD(unique_blocks, "unique_blocks", "gauge", "Blocks of 4096 bytes that are stored."),
    POD(volumes, "volumes", "gauge", "Volumes."),
    POD(snapshots, "snapshots", "gauge", "Snapshots."),
    POD(host_read_bytes, "host_read_bytes_total", "counter", "Read by hosts since the pod was made."),
    POD(host_written_bytes, "host_written_bytes_total", "counter",
        "Written by hosts since the pod was made."),
    POD(pattern_removed_bytes, "reduction_pattern_bytes_total", "counter",
        "Written by hosts and stored as a pattern."),
    POD(dedup_removed_bytes, "reduction_duplicate_bytes_total", "counter",
        "Written by hosts and found stored already."),
    POD(compress_in_bytes, "reduction_compress_in_bytes_total", "counter", "Unique data before compression."),
    POD(compress_out_bytes, "reduction_compress_out_bytes_total", "counter",
        "Unique data after compression."),
    POD(flash_written_data_bytes, "flash_written_data_bytes_total", "counter", "Data written to flash."),
    POD(flash_written_metadata_bytes, "flash_written_metadata_bytes_total", "counter",
        "Metadata written to flash."),
    POD(flash_written_moved_bytes, "flash_written_moved_bytes_total", "counter",
        "Written to flash again by garbage collection."),
    POD(reads, "reads_total", "counter", "Reads of hosts since the node started."),
    POD(writes, "writes_total", "counter", "Writes of hosts since the node started."),
    POD(flushes, "flushes_total", "counter", "Flushes of hosts since the node started."),
    POD(trims, "trims_total", "counter", "Trims of hosts since the node started."),
    POD(cache_hits, "cache_hits_total", "counter", "Blocks read from the cache."),
    POD(cache_misses, "cache_misses_total", "counter", "Blocks read from flash."),
    POD(batches, "batches_total", "counter", "Batches of the log."),
    POD(checkpoints, "checkpoints_total", "counter", "Checkpoints written."),
    POD(checksum_errors, "checksum_errors_total", "counter", "Blocks that were read and not good."),
    POD(dedup_compares, "dedup_compares_total", "counter", "Blocks compared byte by byte."),
    POD(dedup_index_entries, "dedup_index_entries", "gauge", "Fingerprints in the index."),
    POD(dedup_index_capacity, "dedup_index_capacity", "gauge", "Fingerprints that the index has room for."),
    POD(memory_bytes, "memory_bytes", "gauge", "Memory of caches, maps and index."),
    POD(memory_budget_bytes, "memory_budget_bytes", "gauge", "PSTORAGE_MEMORY_BUDGET."),
    POD(log_seq, "log_applied_batch", "gauge", "Number of the last batch that is applied here."),
    POD(open_bytes, "open_bytes", "gauge", "Not written yet, in segments that are being filled."),
    POD(repaired_reads, "repaired_reads_total", "counter",
        "Records that flash had lost, read from another member."),
    POD(repaired_metadata, "repaired_metadata_total", "counter",
        "Metadata that flash had lost, written anew from its other copy."),
    POD(collected_segments, "collected_segments_total", "counter",
        "Segments taken apart by garbage collection."),
    POD(collect_waits, "collect_waits_total", "counter", "Times that writes waited for garbage collection."),
    POD(scrub_passes, "scrub_passes_total", "counter", "Times that all that is stored was verified."),
    POD(scrub_damaged, "scrub_damaged_records", "gauge",
        "Records found damaged by the pass under way, or the last one."),
};

static void pods(struct json_out *out, const struct pstorage_report *r)
{
    for (size_t i = 0; i < sizeof pod_figures / sizeof pod_figures[0]; i++) {
        const struct pod_figure *f = &pod_figures[i];
        family(out, f->name, f->type, f->help);
        for (size_t k = 0; k < r->npods; k++) {
            const char *const labels[] = {"pod", r->pods[k].name, NULL};
            sample(out, f->name, labels,
                   *(const uint64_t *)(const void *)((const char *)&r->pods[k] + f->offset));
        }
    }
    family(out, "pstorage_pod_online", "gauge", "1: online; 0: a device failed, reads only.");
    for (size_t k = 0; k < r->npods; k++) {
        const char *const labels[] = {"pod", r->pods[k].name, NULL};
        sample(out, "pstorage_pod_online", labels, r->pods[k].state == PSTORAGE_POD_ONLINE);
    }
}

/* ---- replication */

static void member_figure(struct json_out *out, const struct pstorage_pod_view *v, const char *name,
                          const char *help, size_t offset, bool is_ms)
{
    family(out, name, "gauge", help);
    for (uint32_t i = 0; i < v->nmembers; i++) {
        const struct pstorage_member *m = &v->members[i];
        const char *const labels[] = {"pod", v->name, "node", m->node, NULL};
        const uint64_t value = *(const uint64_t *)(const void *)((const char *)m + offset);
        if (m->known && is_ms)
            sample_ms(out, name, labels, value);
        else if (m->known)
            sample(out, name, labels, value);
    }
}

static void replication(struct json_out *out, const struct pstorage_pod_view *v)
{
    const char *const of_pod[] = {"pod", v->name, NULL};
    family(out, "pstorage_pod_serving", "gauge", "1: a primary serves hosts.");
    sample(out, "pstorage_pod_serving", of_pod, v->serving);
    family(out, "pstorage_pod_epoch", "gauge", "Number of the configuration; 0: not replicated.");
    sample(out, "pstorage_pod_epoch", of_pod, v->epoch);
    family(out, "pstorage_pod_committed_batch", "gauge", "Number of the last batch that is committed.");
    sample(out, "pstorage_pod_committed_batch", of_pod, v->committed);
    family(out, "pstorage_pod_slowed_ratio", "gauge",
           "By so much hosts are slowed down for a member that does not catch up.");
    text_printf(out, "pstorage_pod_slowed_ratio{pod=\"");
    label_value(out, v->name);
    text_printf(out, "\"} %" PRIu32 ".%03" PRIu32 "\n", v->slowed_permille / 1000, v->slowed_permille % 1000);
    if (v->mediator[0]) {
        family(out, "pstorage_mediator_up", "gauge", "1: the mediator answered lately.");
        sample(out, "pstorage_mediator_up", of_pod, v->mediator_ok);
    }
    family(out, "pstorage_replication_member_in_sync", "gauge",
           "1: has all that was answered, and may take over.");
    for (uint32_t i = 0; i < v->nmembers; i++) {
        const struct pstorage_member *m = &v->members[i];
        const char *const labels[] = {"pod", v->name, "node", m->node, NULL};
        sample(out, "pstorage_replication_member_in_sync", labels, m->role <= PSTORAGE_ROLE_SYNC);
    }
    family(out, "pstorage_replication_member_behind", "gauge",
           "1: was to be in sync, and does not count: away, or catching up.");
    for (uint32_t i = 0; i < v->nmembers; i++) {
        const struct pstorage_member *m = &v->members[i];
        const char *const labels[] = {"pod", v->name, "node", m->node, NULL};
        sample(out, "pstorage_replication_member_behind", labels, m->role == PSTORAGE_ROLE_BEHIND);
    }
#define LAG(member) offsetof(struct pstorage_member, member)
    member_figure(out, v, "pstorage_replication_lag_batches", "Batches of the log that the member lacks.",
                  LAG(lag_batches), false);
    member_figure(out, v, "pstorage_replication_lag_bytes", "Bytes of the log that the member lacks.",
                  LAG(lag_bytes), false);
    member_figure(out, v, "pstorage_replication_lag_seconds", "Since when it lacks the first of them.",
                  LAG(lag_ms), true);
}

/* ---- the node's devices, volumes, and the server itself */

static void devices(struct json_out *out, const struct pstorage_report *r)
{
    static const struct {
        size_t offset;
        const char *name, *type, *help;
    } figures[] = {
#define DEVICE(member, name, type, help)                                                                     \
    {offsetof(struct pstorage_device, member), "pstorage_device_" name, type, help}
        DEVICE(size_bytes, "size_bytes", "gauge", "Size of the device."),
        DEVICE(read_ops, "reads_total", "counter", "Reads since the node started."),
        DEVICE(read_bytes, "read_bytes_total", "counter", "Bytes read since the node started."),
        DEVICE(write_ops, "writes_total", "counter", "Writes since the node started."),
        DEVICE(write_bytes, "written_bytes_total", "counter", "Bytes written since the node started."),
        DEVICE(flush_ops, "flushes_total", "counter", "Flushes since the node started."),
        DEVICE(erase_ops, "erases_total", "counter", "Erases since the node started."),
        DEVICE(errors, "errors_total", "counter", "Requests that failed since the node started."),
    };
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        family(out, figures[i].name, figures[i].type, figures[i].help);
        for (size_t k = 0; k < r->ndevices; k++) {
            const char *const labels[] = {"device", r->devices[k].name, NULL};
            sample(out, figures[i].name, labels,
                   *(const uint64_t *)(const void *)((const char *)&r->devices[k] + figures[i].offset));
        }
    }
    family(out, "pstorage_device_failed", "gauge", "1: it takes no further writes.");
    for (size_t k = 0; k < r->ndevices; k++) {
        const char *const labels[] = {"device", r->devices[k].name, NULL};
        sample(out, "pstorage_device_failed", labels, r->devices[k].failed);
    }
    family(out, "pstorage_device_out", "gauge", "1: its array does without it, and lacks redundancy.");
    for (size_t k = 0; k < r->ndevices; k++) {
        const char *const labels[] = {"device", r->devices[k].name, NULL};
        sample(out, "pstorage_device_out", labels, r->devices[k].state == PSTORAGE_DEVICE_OUT);
    }
    family(out, "pstorage_device_rebuilding", "gauge", "1: what it should hold is being written to it.");
    for (size_t k = 0; k < r->ndevices; k++) {
        const char *const labels[] = {"device", r->devices[k].name, NULL};
        sample(out, "pstorage_device_rebuilding", labels, r->devices[k].state == PSTORAGE_DEVICE_REBUILDING);
    }
    family(out, "pstorage_device_leaving", "gauge", "1: what lies on it is being moved to the others.");
    for (size_t k = 0; k < r->ndevices; k++) {
        const char *const labels[] = {"device", r->devices[k].name, NULL};
        sample(out, "pstorage_device_leaving", labels, r->devices[k].state == PSTORAGE_DEVICE_LEAVING);
    }
}

/* Only of those that tell it. */
static void health(struct json_out *out, const struct pstorage_health *h)
{
    static const struct {
        const char *name, *type, *help;
    } figures[] = {
        {"pstorage_device_health_score", "gauge",
         "From 100, as new, to 0, failed: see /api/v1/analytics/health."},
        {"pstorage_device_life_used_ratio", "gauge", "Of its life, as an NVMe device counts; may exceed 1."},
        {"pstorage_device_spare_ratio", "gauge", "What an NVMe device has left of its spare."},
        {"pstorage_device_temperature_celsius", "gauge", "Of an NVMe device."},
        {"pstorage_device_media_errors_total", "counter", "That an NVMe device counts since it was made."},
    };
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        family(out, figures[i].name, figures[i].type, figures[i].help);
        for (size_t k = 0; k < h->count; k++) {
            const struct pstorage_drive *d = &h->items[k];
            const char *const labels[] = {"device", d->name, NULL};
            const double values[] = {d->score, (double)d->used_percent / 100, (double)d->spare_percent / 100,
                                     d->celsius, (double)d->media_errors};
            const bool known[] = {true, d->smart_known, d->smart_known, d->celsius_known, d->smart_known};
            if (!known[i])
                continue;
            series(out, figures[i].name, labels);
            text_printf(out, "%.15g\n", values[i]);
        }
    }
}

static void volumes(struct json_out *out, const struct rest_figures *f)
{
    static const struct {
        size_t offset;
        const char *name, *type, *help;
    } figures[] = {
#define VOLUME(member, name, type, help)                                                                     \
    {offsetof(struct pstorage_info, member), "pstorage_volume_" name, type, help}
        VOLUME(size_bytes, "size_bytes", "gauge", "Size of the volume."),
        VOLUME(space.logical_bytes, "logical_bytes", "gauge", "Blocks that hold data or a pattern."),
        VOLUME(space.pattern_bytes, "pattern_bytes", "gauge", "Of these, repeated patterns."),
        VOLUME(space.duplicate_bytes, "duplicate_bytes", "gauge", "Of these, found stored already."),
        VOLUME(space.stored_bytes, "stored_bytes", "gauge", "Flash that its own blocks take."),
        VOLUME(activity.reads, "reads_total", "counter", "Reads of hosts since the primary leads."),
        VOLUME(activity.read_bytes, "read_bytes_total", "counter",
               "Bytes read by hosts since the primary leads."),
        VOLUME(activity.writes, "writes_total", "counter", "Writes of hosts since the primary leads."),
        VOLUME(activity.written_bytes, "written_bytes_total", "counter",
               "Bytes written by hosts since the primary leads."),
        VOLUME(activity.trims, "trims_total", "counter",
               "Trims and zeroings of hosts since the primary leads."),
        VOLUME(activity.flushes, "flushes_total", "counter", "Flushes of hosts since the primary leads."),
    };
    const size_t count =
        f->nvolumes < REST_PROMETHEUS_VOLUMES_MAX ? f->nvolumes : REST_PROMETHEUS_VOLUMES_MAX;
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        family(out, figures[i].name, figures[i].type, figures[i].help);
        for (size_t k = 0; k < count; k++) {
            const char *const labels[] = {"pod", f->volumes[k].pod, "volume", f->volumes[k].name, NULL};
            sample(out, figures[i].name, labels,
                   *(const uint64_t *)(const void *)((const char *)&f->volumes[k] + figures[i].offset));
        }
    }
    family(out, "pstorage_volume_open", "gauge", "By how many the volume is open.");
    for (size_t k = 0; k < count; k++) {
        const char *const labels[] = {"pod", f->volumes[k].pod, "volume", f->volumes[k].name, NULL};
        sample(out, "pstorage_volume_open", labels, f->volumes[k].open_count);
    }
}

/* One operation of one volume. Every second bucket of those that are counted is told, from 16 us to 4.2 s. */
static void histogram(struct json_out *out, const struct pstorage_volume_latency *v, const char *operation,
                      const struct pstorage_operation_latency *o)
{
    static const char name[] = "pstorage_volume_operation_duration_seconds";
    char end[32], full[sizeof name + sizeof "_bucket"];
    const char *labels[] = {"pod", v->pod, "volume", v->name, "operation", operation, "le", end, NULL};
    uint64_t below = 0;
    (void)snprintf(full, sizeof full, "%s_bucket", name);
    for (unsigned i = 0; i + 1 < LATENCY_BUCKETS; i++) {
        below += o->counts[i];
        if (i < 4 || i % 2)
            continue;
        const uint64_t us = latency_bucket_end_ns(i) / 1000;
        (void)snprintf(end, sizeof end, "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
        sample(out, full, labels, below);
    }
    (void)snprintf(end, sizeof end, "+Inf");
    sample(out, full, labels, latency_count(o->counts));
    labels[6] = NULL;
    (void)snprintf(full, sizeof full, "%s_sum", name);
    sample_ns(out, full, labels, o->sum_ns);
    (void)snprintf(full, sizeof full, "%s_count", name);
    sample(out, full, labels, latency_count(o->counts));
}

static void latencies(struct json_out *out, const struct rest_figures *f)
{
    static const char *const operations[PSTORAGE_OPERATIONS] = {"read", "write", "flush", "trim"};
    family(out, "pstorage_volume_operation_duration_seconds", "histogram",
           "How long requests of hosts took that this node served and that ended well.");
    for (size_t i = 0; i < f->nlatencies; i++)
        for (size_t op = 0; op < PSTORAGE_OPERATIONS; op++)
            if (latency_count(f->latencies[i].operations[op].counts))
                histogram(out, &f->latencies[i], operations[op], &f->latencies[i].operations[op]);
}

static void node(struct json_out *out, const struct rest_figures *f)
{
    const struct pstorage_node *n = &f->report->node;
    const char *const info[] = {"node", n->name, "version", n->software, NULL}, *const none[] = {NULL};
    family(out, "pstorage_node_info", "gauge", "Name and version of the node.");
    sample(out, "pstorage_node_info", info, 1);
    family(out, "pstorage_node_start_time_seconds", "gauge", "When the node started, since 1970.");
    sample_ms(out, "pstorage_node_start_time_seconds", none, n->started_unix_ns / 1000000);
    family(out, "pstorage_rpc_connections", "gauge", "Open RPC connections.");
    sample(out, "pstorage_rpc_connections", none, n->rpc_connections);
    family(out, "pstorage_rpc_calls_total", "counter", "RPC calls since the node started.");
    sample(out, "pstorage_rpc_calls_total", none, n->rpc_calls);
    family(out, "pstorage_rpc_refused_total", "counter", "RPC connections closed for a violation.");
    sample(out, "pstorage_rpc_refused_total", none, n->rpc_refused);
    family(out, "pstorage_http_connections", "gauge", "Open HTTP connections.");
    sample(out, "pstorage_http_connections", none, f->counts->open_connections);
    family(out, "pstorage_http_requests_total", "counter", "HTTP requests, by class of status.");
    static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    for (size_t i = 0; i < 6; i++) {
        const char *const labels[] = {"status", classes[i], NULL};
        if (i != 1)
            sample(out, "pstorage_http_requests_total", labels, f->counts->requests[i]);
    }
}

void rest_prometheus(struct json_out *out, const struct rest_figures *f)
{
    node(out, f);
    pods(out, f->report);
    if (f->view)
        replication(out, f->view);
    devices(out, f->report);
    if (f->health)
        health(out, f->health);
    volumes(out, f);
    latencies(out, f);
}
