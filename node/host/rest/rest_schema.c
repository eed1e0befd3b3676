#include "node/host/rest/rest_schema_impl.h"

#include <string.h>

/* clang-format off */

/* ---- images */

#define THIS struct pstorage_space
INNER(image_space, "Space", "Space of a volume or snapshot. logical = pattern + duplicate + unique.",
    U64(logical_bytes, "Blocks that hold data or a pattern"),
    U64(pattern_bytes, "Of these, repeated patterns, of which nothing is stored"),
    U64(duplicate_bytes, "Of these, blocks that were found stored already"),
    U64(unique_bytes, "Of these, blocks stored for this image"),
    U64(stored_bytes, "Flash that the unique ones take, compressed"));
#undef THIS

#define THIS struct pstorage_activity
INNER(image_activity, "Activity", "Requests of hosts since the node that leads the pod began to.",
    U64(reads, "Requests"), U64(read_bytes, "Their bytes"), U64(writes, "Requests"), U64(written_bytes, "Their bytes"),
    U64(trims, "Requests, to write zeroes included"), U64(flushes, "Requests"));
#undef THIS

#define THIS struct pstorage_held
INNER(image_held, "Held", "Whose space it is, as a walk of all maps found it; null: not known yet. Blocks of 4 KiB, and bytes of the answering node's flash.",
    TIME("computed", computed_unix_ns, "The state that it is of"),
    KNOWN(referenced_blocks, "All that it refers to, patterns too"), KNOWN(referenced_bytes, "Flash that this takes"),
    KNOWN(exclusive_blocks, "Stored, and no other image holds them"), KNOWN(exclusive_bytes, "Flash that they take"),
    KNOWN(reclaimable_blocks, "Of a snapshot: what deleting it gives back"), KNOWN(reclaimable_bytes, "Flash that comes back"));
#undef THIS

#define THIS struct pstorage_info
#define IMAGE_ID      U64(id, "Never used again within the pod")
#define IMAGE_SIZE    U64(size_bytes, "Size"), {.name = "size_gb", .type = REST_GIB, .offset = AT(size_bytes), .doc = "Size in GiB (2^30 bytes)"}
#define IMAGE_CREATED TIME("created", created_unix_ns, "When it was made")
#define IMAGE_ETAG    {.name = "etag", .type = REST_TAG, .offset = AT(tag), .doc = "As in the header ETag: for If-Match. Another one after each change of name, size, write cache or number of snapshots"}
#define IMAGE_SPACE   {.name = "space", .type = REST_OBJECT, .offset = AT(space), .of = &image_space, .doc = "What it takes"}, \
    {.name = "activity", .type = REST_OBJECT, .offset = AT(activity), .of = &image_activity, .doc = "What hosts do with it"}, \
    {.name = "held", .type = REST_OBJECT, .offset = AT(held), .of = &image_held, .doc = "Whose space it is"}
SCHEMA(rest_volume, "Volume", "A thin block device.",
    IMAGE_ID, TEXT(name, "Unique within the array"), TEXT(pod, "The pod that it belongs to"), IMAGE_SIZE, IMAGE_CREATED,
    U64_OR_NULL(origin_id, "Of a clone: the snapshot that it started from"),
    BOOL(write_cache, "Writes are answered from memory, and durable at a flush"),
    U32(open_count, "By how many it is open"), U32(snapshot_count, "Snapshots of it"), IMAGE_SPACE, IMAGE_ETAG);
SCHEMA(rest_snapshot, "Snapshot", "A volume at one instant, read-only.",
    IMAGE_ID, TEXT(name, "VOLUME@SNAPSHOT"), TEXT(pod, "The pod that it belongs to"), IMAGE_SIZE, IMAGE_CREATED,
    U64(volume_id, "Its volume"), U32(open_count, "By how many it is open"), IMAGE_SPACE, IMAGE_ETAG);
#undef THIS

#define THIS struct rest_page
#define PAGE_REST TEXT_OR_NULL(next_cursor, "For the parameter cursor: the next page begins there; null on the last one"), U64(total, "How many match, on all pages")
SCHEMA(rest_volume_page, "VolumeList", "Volumes, a page of them.",
    LIST("volumes", items, count, rest_volume, "In the order asked for"), PAGE_REST);
SCHEMA(rest_snapshot_page, "SnapshotList", "Snapshots, a page of them.",
    LIST("snapshots", items, count, rest_snapshot, "In the order asked for"), PAGE_REST);
#undef THIS

#define THIS struct rest_io
SCHEMA(rest_write_result, "Written", "What was written; durable unless the volume has a write cache.",
    U64(offset, "Where, in bytes"), U64(length, "Bytes"));
SCHEMA(rest_read_result, "Data", "What was read.",
    U64(offset, "Where, in bytes"), U64(length, "Bytes"),
    {.name = "data", .type = REST_DATA, .offset = AT(data), .beside = AT(data_bytes), .doc = "The bytes"});
#undef THIS

#define THIS struct pstorage_manage
SCHEMA(rest_snapshot_all, "PodSnapshot", "A snapshot of each volume of a pod, all at one instant.",
    U32(count, "Snapshots taken; 0 when the answer is that of a repetition"));
#undef THIS

/* ---- pods and nodes */

static const char *const roles[] = {NULL, "alone", "primary", "sync", "behind", "async", NULL};

#define THIS struct pstorage_member
INNER(pod_member, "Member", "A member of a pod, as the answering node sees it.",
    TEXT(node, "The node's name"), TEXT(store, "UUID of what it keeps its data in"),
    WORD(role, roles, 1, 5, "sync: has all that was answered, and may take over; behind: a sync member that does not count now"),
    TEXT(state, "A word for people"), BOOL(self, "The answering node"),
    KNOWN(log_end, "Last batch of the log that it has"),
    KNOWN(lag_batches, "Batches that it lacks; as the primary sees it"),
    KNOWN(lag_bytes, "Their bytes"), KNOWN(lag_ms, "Since when it lacks the first of them, ms"),
    KNOWN(heard_ms_ago, "When it was heard last, ms"), KNOWN(lease_left_ms, "Of the lease that it gave the primary, ms"));
#undef THIS

#define THIS struct pstorage_pod_view
SCHEMA(rest_pod, "Pod", "A pod as its primary sees it, or the node that is asked while the primary can't be reached.",
    TEXT(name, "Name"), TEXT_OR_NULL(id, "UUID"), U64_OR_NULL(epoch, "Of its configuration"),
    TEXT(role, "Of the answering node; a word for people"), BOOL(serving, "The answering node takes requests of hosts"),
    TEXT_OR_NULL(waits_for, "What it waits for"), TEXT_OR_NULL(primary, "Node that leads"),
    TEXT_OR_NULL(primary_address, "Where its RPC is reached"), TEXT_OR_NULL(preferred, "Node that shall lead whenever it is in sync"),
    INLINE("members", members, nmembers, pod_member, "All members"),
    U64(applied, "Last batch that is applied"), U64(log_end, "Last batch of the log"), U64(committed, "Last batch that is committed"),
    BOOL(lease_held, "The primary holds the leases that it needs"), BOOL(changing, "A change of the configuration is under way"),
    U32(slowed_permille, "By so much the primary slows hosts down, for a member that does not catch up"),
    TEXT_OR_NULL(cluster, "Name of the cluster"), TEXT_OR_NULL(mediator, "Its address"), BOOL(mediator_ok, "It answered lately"));
INNER(replication, "Replication", "How far the members of a pod are.",
    TEXT_OR_NULL(primary, "Node that leads"), {.name = "pod", .type = REST_TEXT, .offset = AT(name), .doc = "The pod's name"},
    U64_OR_NULL(epoch, "Of its configuration"), U64(log_end, "Last batch of the log"), U64(committed, "Last batch that is committed"),
    INLINE("members", members, nmembers, pod_member, "All members"),
    BOOL(changing, "A change of the configuration is under way"), U32(slowed_permille, "By so much hosts are slowed down"),
    BOOL(mediator_ok, "The mediator answered lately"));
#undef THIS

#define THIS struct rest_page
SCHEMA(rest_pod_page, "PodList", "All pods.", LIST("pods", items, count, rest_pod, "In the order of names"));
SCHEMA(rest_replication_page, "ReplicationList", "How far the members of all pods are.",
    LIST("pods", items, count, replication, "In the order of names"));
#undef THIS

#define THIS struct pstorage_decision
INNER(decision, "Decision", "What a node decided or learnt about a pod.",
    U64(number, "Counts from 1 at each start of the node"), TIME("time", time_unix_ns, "When"), U64(epoch, "Of the configuration then"),
    TEXT(kind, "A word for programs: lead, take-over, fence…"), TEXT(text, "For people"));
#undef THIS
#define THIS struct pstorage_why
SCHEMA(rest_why, "Why", "What the answering node decided or learnt about the pod since it started; the newest 256.",
    TEXT(node, "Whose decisions these are"), LIST("decisions", items, count, decision, "Oldest first"));
#undef THIS

#define THIS struct pstorage_node_view
SCHEMA(rest_node, "Node", "A node of the cluster, as the answering one sees it.",
    TEXT(name, "Name"), TEXT_OR_NULL(address, "Of its RPC, as configured"), BOOL(self, "The answering node"),
    BOOL(connected, "There is a connection, or it is the answering node"), TEXT(state, "up, or why there is no connection"),
    TEXT_OR_NULL(software, "Version"), TEXT_OR_NULL(store, "UUID of what it keeps its data in"),
    U64_OR_NULL(run, "Starts of that store"), U64_OR_NULL(log_end, "Last batch that it has"));
#undef THIS
#define THIS struct rest_page
SCHEMA(rest_node_page, "NodeList", "The nodes; the answering one first.", LIST("nodes", items, count, rest_node, "All nodes"));
#undef THIS

/* ---- metrics */

static const char *const pod_states[] = {NULL, "online", "read-only", NULL};

#define THIS struct pstorage_pod
INNER(pod_space, "PodSpace", "Space now.",
    U64(capacity_bytes, "Usable flash"), U64(free_bytes, "Free segments, the reserve included"), U64(reserve_bytes, "Only deleting may use it"),
    U64(logical_bytes, "Over all images, as each sees itself"), U64(unique_blocks, "Blocks stored, a count"),
    U64(stored_bytes, "Flash that holds them"), U64(metadata_bytes, "Flash that holds the maps"), U64(metadata_single_bytes, "Of these, what has no second copy"), U64(garbage_bytes, "Dead bytes not yet used again"),
    U64(open_bytes, "Not written yet, in segments that are being filled"), U64(mapped_bytes, "Of logical_bytes: not patterns"),
    U64(volumes, "A count"), U64(snapshots, "A count"), U64(releasing, "Deleted images whose space is on its way back"));
INNER(pod_reduction, "PodReduction", "Since the pod was made.",
    U64(host_read_bytes, "Read by hosts"), U64(host_written_bytes, "Written by hosts"), U64(pattern_removed_bytes, "Of these, repeated patterns"),
    U64(dedup_removed_bytes, "Of these, found stored already"), U64(compress_in_bytes, "Unique data before compression"),
    U64(compress_out_bytes, "And after"), U64(flash_written_data_bytes, "Data written to flash"), U64(flash_written_metadata_bytes, "Metadata written to flash"),
    U64(flash_written_moved_bytes, "Written to flash again by garbage collection"));
INNER(pod_activity, "PodActivity", "Since the node started, unless it says now.",
    U64(reads, "Requests"), U64(writes, "Requests"), U64(flushes, "Requests"), U64(trims, "Requests"), U64(cache_hits, "Blocks"),
    U64(cache_misses, "Blocks"), U64(batches, "Of the log"), U64(checkpoints, "Written"), U64(dedup_compares, "Blocks compared byte by byte"),
    U64(checksum_errors, "Blocks that were read and not good"), U64(repaired_reads, "Records that flash had lost, read from another member"),
    U64(repaired_metadata, "Metadata that flash had lost, written anew from its other copy"),
    U64(dedup_index_entries, "Now"), U64(dedup_index_capacity, "Now"),
    BOOL(dedup_index_loading, "Now"), U64(memory_bytes, "Now"), U64(memory_budget_bytes, "PSTORAGE_MEMORY_BUDGET"), U64(log_seq, "Last applied batch"));
INNER(pod_metrics, "PodMetrics", "A pod's figures on the answering node.",
    TEXT(name, "Name"), WORD(state, pod_states, 1, 2, "read-only: a device failed"), TEXT_OR_NULL(failure, "Why it is not online"),
    GROUP("space", pod_space, "Space now"), GROUP("reduction", pod_reduction, "Data reduction since the pod was made"),
    GROUP("activity", pod_activity, "Work done"));
#undef THIS

#define DEVICE_STATE "alone: of no array; in; out: its array does without it; rebuilding: what it should hold is being written to it; " \
    "leaving: what lies on it is being moved to the others, then it is taken out"
#define DEVICE_REBUILT "While it is being rebuilt"
#define DEVICE_VACATED "While it is leaving"
static const char *const device_states[] = {"alone", "in", "out", "rebuilding", "leaving"};

#define THIS struct pstorage_device
INNER(device, "Device", "A flash device of the answering node; counts since it started.",
    TEXT(name, "Name"), U64(size_bytes, "Size"), U64(read_ops, "Requests"), U64(read_bytes, "Bytes"), U64(write_ops, "Requests"),
    U64(write_bytes, "Bytes"), U64(flush_ops, "Requests"), U64(erase_ops, "Requests"), U64(errors, "Requests that failed"),
    BOOL(failed, "It takes no further writes"), WORD(state, device_states, 0, 4, DEVICE_STATE), U32(rebuilt_percent, DEVICE_REBUILT),
    U32(vacated_percent, DEVICE_VACATED));
#undef THIS

#define THIS struct pstorage_node
INNER(node_status, "NodeStatus", "The answering node.",
    TEXT(name, "Name"), TEXT(software, "Version"), TIME("started", started_unix_ns, "When it started"), TIME("now", now_unix_ns, "Its clock"),
    U32(rpc_connections, "Now"), U64(rpc_calls, "Since it started"), U64(rpc_refused, "Connections closed for a violation, since it started"));
#undef THIS

#define THIS struct pstorage_report
SCHEMA(rest_metrics, "Metrics", "The answering node, its pods and its devices.",
    {.name = "node", .type = REST_OBJECT, .offset = AT(node), .of = &node_status, .doc = "The answering node"},
    LIST("pods", pods, npods, pod_metrics, "Pods"), LIST("devices", devices, ndevices, device, "Flash devices"));
#undef THIS

#define THIS struct rest_reduction
INNER(reduction_metrics, "ReductionMetrics", "What data reduction saves in a pod. Ratios are before : after; 0 while nothing is stored.",
    TEXT(pod, "Its name"), U64(host_written_bytes, "Since the pod was made"), U64(pattern_removed_bytes, "Of these, repeated patterns"),
    U64(dedup_removed_bytes, "Of these, found stored already"), U64(compress_in_bytes, "Unique data before compression"),
    U64(compress_out_bytes, "And after"), U64(logical_bytes, "Now, over all images"), U64(stored_bytes, "Now, flash that holds them"),
    NUMBER(total_ratio, "logical : stored, now"), NUMBER(dedup_ratio, "written, but for patterns, to what of it was unique, since the pod was made"),
    NUMBER(compression_ratio, "Of unique data, since the pod was made"));
#undef THIS
#define THIS struct rest_flash
INNER(flash_collection, "GarbageCollection", "Garbage collection since the node started.",
    U64_AS("segments", of.collected_segments, "Segments taken apart"), U64_AS("moved_bytes", of.collect_moved_bytes, "Records that it moved"),
    U64_AS("read_bytes", of.collect_read_bytes, "What it read for that"), U64_AS("waits", of.collect_waits, "Times that writes had to wait for it"));
INNER(flash_scrub, "Scrub", "Verification of all that lives in flash: the pass under way, or the last one.",
    {.name = "running", .type = REST_BOOL, .offset = AT(of.scrub_running), .doc = "A pass is under way"},
    {.name = "permille", .type = REST_U32, .offset = AT(of.scrub_permille), .doc = "Of the segments, while it runs"},
    U64_AS("passes", of.scrub_passes, "Passes that ended since the node started"), U64_AS("read_bytes", of.scrub_read_bytes, "Read by the pass"),
    U64_AS("damaged", of.scrub_damaged, "Records that it found damaged"),
    {.name = "ended_ms_ago", .type = REST_U64_IF, .offset = AT(of.scrub_ended_ms_ago), .beside = AT(scrubbed), .doc = "Since the last pass ended, ms; null: none has since the node started"});
INNER(flash_pod, "FlashPod", "What a pod does with flash.",
    TEXT(pod, "Its name"), U64(capacity_bytes, "Usable flash"), U64(free_bytes, "Free segments"), U64(garbage_bytes, "Dead bytes not yet used again"),
    U64(open_bytes, "Not written yet, in segments that are being filled"),
    U64(written_data_bytes, "Since the pod was made"), U64(written_metadata_bytes, "Since the pod was made"),
    U64(written_moved_bytes, "By garbage collection, since the pod was made"),
    NUMBER(write_amplification, "Written to flash, metadata and what was moved included, to compressed unique data; 0 while nothing is written"),
    GROUP("garbage_collection", flash_collection, "Garbage collection"), GROUP("scrub", flash_scrub, "Verification"));
#undef THIS
#define THIS struct rest_flash_device
INNER(flash_device, "FlashDevice", "A flash device of the answering node; counts since it started. Wear is null when the device does not tell it.",
    {.name = "name", .type = REST_TEXT, .offset = AT(of.name), .doc = "Name"}, U64_AS("size_bytes", of.size_bytes, "Size"),
    U64_AS("read_ops", of.read_ops, "Requests"), U64_AS("read_bytes", of.read_bytes, "Bytes"), U64_AS("write_ops", of.write_ops, "Requests"),
    U64_AS("write_bytes", of.write_bytes, "Bytes"), U64_AS("flush_ops", of.flush_ops, "Requests"), U64_AS("erase_ops", of.erase_ops, "Requests"),
    U64_AS("errors", of.errors, "Requests that failed"), {.name = "failed", .type = REST_BOOL, .offset = AT(of.failed), .doc = "It takes no further writes"},
    {.name = "state", .type = REST_WORD, .offset = AT(of.state), .words = device_states, .words_from = 0, .words_to = 4, .doc = DEVICE_STATE},
    {.name = "rebuilt_percent", .type = REST_U32, .offset = AT(of.rebuilt_percent), .doc = DEVICE_REBUILT},
    {.name = "vacated_percent", .type = REST_U32, .offset = AT(of.vacated_percent), .doc = DEVICE_VACATED},
    NUMBER_IF(wear_mean_cycles, wear_known, "P/E cycles of its erase blocks, as last sampled: mean"), NUMBER_IF(wear_max_cycles, wear_known, "And of the most worn one"),
    NUMBER_IF(wear_spread_cycles, wear_known, "By so much the most worn one is above the mean; levelling keeps it low (PSTORAGE_WEAR_THRESHOLD)"),
    U64_IF(wear_blocks, wear_known, "Erase blocks that were looked at"), U64_IF(retired_blocks, wear_known, "Of these, bad ones taken out of use"));
#undef THIS
#define THIS struct rest_flash_report
SCHEMA(rest_flash_metrics, "FlashMetrics", "Flash of the answering node: what its pods write, collect and verify, and its devices with their wear.",
    LIST("pods", pods, npods, flash_pod, "Pods"), LIST("devices", devices, ndevices, flash_device, "Flash devices"));
#undef THIS
#define THIS struct rest_page
SCHEMA(rest_reduction_page, "ReductionList", "What data reduction saves.", LIST("pods", items, count, reduction_metrics, "Pods"));
#undef THIS

/* ---- events, probes */

#define THIS struct pstorage_event
SCHEMA(rest_event, "Event", "Something that happened.",
    U64(cursor, "Grows, and is never used again: for the parameter cursor"), TIME("time", time_unix_ns, "When"),
    TEXT(kind, "A word for programs: volume.created…"), TEXT_OR_NULL(pod, "null: the node itself"),
    U64_OR_NULL(image_id, "The volume or snapshot"), TEXT(text, "One line for people"));
#undef THIS
#define THIS struct rest_page
SCHEMA(rest_event_page, "EventList", "Events, oldest first, as the answering node keeps them (the newest 100,000).",
    LIST("events", items, count, rest_event, "Oldest first"),
    TEXT_OR_NULL(next_cursor, "For the parameter cursor: what follows; null when these are the newest"),
    U64_AS("last_cursor", total, "Of the newest event there is"));
#undef THIS
#define THIS struct rest_ready
SCHEMA(rest_ready_schema, "Readiness", "Whether this node serves.",
    TEXT(status, "ready, or waiting"), TEXT_OR_NULL(node, "Node that leads the pod"), TEXT_OR_NULL(reason, "Why it does not serve"));
#undef THIS

const struct rest_schema *const rest_schemas[] = {
    &rest_volume, &image_space, &image_activity, &image_held, &rest_volume_page, &rest_snapshot, &rest_snapshot_page, &rest_write_result, &rest_read_result,
    &rest_snapshot_all, &rest_pod, &pod_member, &rest_pod_page, &replication, &rest_replication_page, &rest_why, &decision,
    &rest_node, &rest_node_page, &rest_metrics, &node_status, &pod_metrics, &pod_space, &pod_reduction, &pod_activity, &device,
    &reduction_metrics, &rest_reduction_page, &flash_collection, &flash_scrub, &flash_pod, &flash_device, &rest_flash_metrics, &rest_event, &rest_event_page,
    &rest_ready_schema, REST_ANALYTICS_SCHEMAS, NULL,
};
/* clang-format on */

const char *rest_etag(uint64_t tag, char out[REST_ETAG_MAX])
{
    out[0] = out[17] = '"';
    for (unsigned i = 0; i < 16; i++)
        out[1 + i] = "0123456789abcdef"[tag >> (60 - 4 * i) & 15];
    out[18] = '\0';
    return out;
}

/* ---- encoding */

typedef const uint8_t *bytes_at;
typedef const char *items_at;
#define READ(type, at) (*(const type *)(const void *)(at))

static void encode_list(struct json_out *out, const struct rest_field *f, const char *first, size_t count)
{
    json_array(out, f->name);
    for (size_t i = 0; i < count; i++)
        rest_encode(out, NULL, f->of, first + i * f->of->size);
    json_array_end(out);
}

static void encode_field(struct json_out *out, const struct rest_field *f, const char *object)
{
    const char *at = object + f->offset, *beside = object + f->beside;
    char etag[REST_ETAG_MAX];
    switch (f->type) {
    case REST_U64:
        json_u64(out, f->name, READ(uint64_t, at));
        break;
    case REST_U32:
        json_u64(out, f->name, READ(uint32_t, at));
        break;
    case REST_NUMBER:
        json_double(out, f->name, READ(double, at));
        break;
    case REST_BOOL:
        json_bool(out, f->name, READ(bool, at));
        break;
    case REST_TEXT:
        json_string(out, f->name, at);
        break;
    case REST_TEXT_OR_NULL:
        if (*at)
            json_string(out, f->name, at);
        else
            json_null(out, f->name);
        break;
    case REST_U64_OR_NULL:
    case REST_U64_IF:
        if (f->type == REST_U64_IF ? READ(bool, beside) : READ(uint64_t, at) != 0)
            json_u64(out, f->name, READ(uint64_t, at));
        else
            json_null(out, f->name);
        break;
    case REST_TIME:
        json_time(out, f->name, READ(uint64_t, at));
        break;
    case REST_GIB:
        json_double(out, f->name, (double)READ(uint64_t, at) / 1073741824.0);
        break;
    case REST_TAG:
        json_string(out, f->name, rest_etag(READ(uint64_t, at), etag));
        break;
    case REST_WORD:
        json_string(out, f->name, f->words[READ(uint32_t, at)]);
        break;
    case REST_DATA:
        json_base64(out, f->name, READ(bytes_at, at), READ(size_t, beside));
        break;
    case REST_NUMBER_IF:
        if (READ(bool, beside))
            json_double(out, f->name, READ(double, at));
        else
            json_null(out, f->name);
        break;
    case REST_OBJECT_IF:
        if (!READ(bool, beside)) {
            json_null(out, f->name);
            break;
        }
        rest_encode(out, f->name, f->of, at);
        break;
    case REST_OBJECT:
        rest_encode(out, f->name, f->of, at);
        break;
    case REST_LINES:
        json_array(out, f->name);
        for (size_t i = 0; i < READ(size_t, beside); i++)
            json_string(out, NULL, at + i * f->width);
        json_array_end(out);
        break;
    case REST_FLOATS:
        json_array(out, f->name);
        for (size_t i = 0; i < READ(size_t, beside); i++)
            json_double(out, NULL, (double)READ(float, at + i * sizeof(float)));
        json_array_end(out);
        break;
    case REST_LIST:
        encode_list(out, f, READ(items_at, at), READ(size_t, beside));
        break;
    case REST_INLINE:
        encode_list(out, f, at, READ(uint32_t, beside));
        break;
    }
}

void rest_encode(struct json_out *out, const char *key, const struct rest_schema *schema, const void *object)
{
    json_object(out, key);
    for (size_t i = 0; i < schema->count; i++)
        encode_field(out, &schema->fields[i], object);
    json_object_end(out);
}
