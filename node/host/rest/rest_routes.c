#include "node/host/rest/rest_routes.h"

#include <string.h>

const struct rest_arg_info rest_args[REST_ARG_COUNT] = {
#define X(name, kind, min, max, doc) {#name, REST_ARG_##kind, min, max, doc},
    REST_ARGS(X)
#undef X
};

#define V1(path) REST_PREFIX path
#define PAGE     (REST_BIT(limit) | REST_BIT(cursor))
#define IMAGES                                                                                               \
    (PAGE | REST_BIT(sort) | REST_BIT(prefix) | REST_BIT(min_size_bytes) | REST_BIT(max_size_bytes))
#define READS    REST_ROLE_READ_ONLY
#define OPERATES REST_ROLE_OPERATOR
#define RULES    REST_ROLE_ADMIN
#define CHANGES  (REST_TAKES_IF_MATCH | REST_GIVES_ETAG)
#define MAKES    (REST_TAKES_KEY | REST_GIVES_ETAG | REST_GIVES_LOCATION)
/* The snapshot of a path that has it under its volume, and of one that has it alone. */
#define SNAPSHOT_ROUTE(op, method, behind, name, summary, role, query, body, required, success, answer,      \
                       flags)                                                                                \
    {op,                                                                                                     \
     method,                                                                                                 \
     V1("/volumes/{id}/snapshots/{sid}" behind),                                                             \
     name "OfVolume",                                                                                        \
     "snapshots",                                                                                            \
     summary,                                                                                                \
     role,                                                                                                   \
     query,                                                                                                  \
     body,                                                                                                   \
     required,                                                                                               \
     success,                                                                                                \
     answer,                                                                                                 \
     flags},                                                                                                 \
    {                                                                                                        \
        op, method, V1("/snapshots/{sid}" behind), name, "snapshots", summary, role, query, body, required,  \
            success, answer, flags                                                                           \
    }

/* clang-format off */
const struct rest_route rest_routes[] = {
    {REST_LIST_VOLUMES, "GET", V1("/volumes"), "listVolumes", "volumes", "List volumes", READS,
     IMAGES | REST_BIT(pod), 0, 0, 200, &rest_volume_page, 0},
    {REST_CREATE_VOLUME, "POST", V1("/volumes"), "createVolume", "volumes", "Create an empty, thin volume; its size is size_bytes or size_gb", OPERATES,
     0, REST_BIT(name) | REST_BIT(size_bytes) | REST_BIT(size_gb) | REST_BIT(write_cache) | REST_BIT(pod), REST_BIT(name), 201, &rest_volume, MAKES},
    {REST_GET_VOLUME, "GET", V1("/volumes/{id}"), "getVolume", "volumes", "Describe a volume", READS,
     0, 0, 0, 200, &rest_volume, REST_GIVES_ETAG},
    {REST_CHANGE_VOLUME, "PATCH", V1("/volumes/{id}"), "changeVolume", "volumes",
     "Resize, rename or set the write cache of a volume; several at once are made one after the other, in this order: size, write cache, name", OPERATES,
     0, REST_BIT(name) | REST_BIT(size_bytes) | REST_BIT(size_gb) | REST_BIT(allow_shrink) | REST_BIT(write_cache), 0, 200, &rest_volume, CHANGES},
    {REST_DELETE_VOLUME, "DELETE", V1("/volumes/{id}"), "deleteVolume", "volumes", "Delete a volume", OPERATES,
     REST_BIT(with_snapshots) | REST_BIT(force), 0, 0, 204, NULL, REST_TAKES_IF_MATCH},
    {REST_WRITE_VOLUME, "POST", V1("/volumes/{id}/write"), "writeVolume", "data",
     "Write bytes; a range that does not begin and end at multiples of 512 is read, changed and written, one such request at a time on a node", OPERATES,
     0, REST_BIT(offset) | REST_BIT(data) | REST_BIT(fua), REST_BIT(offset) | REST_BIT(data), 200, &rest_write_result, 0},
    {REST_READ_VOLUME, "POST", V1("/volumes/{id}/read"), "readVolume", "data", "Read bytes of a volume, or of a snapshot by its name VOLUME@SNAPSHOT", OPERATES,
     0, REST_BIT(offset) | REST_BIT(length), REST_BIT(offset) | REST_BIT(length), 200, &rest_read_result, 0},

    {REST_LIST_SNAPSHOTS, "GET", V1("/volumes/{id}/snapshots"), "listSnapshotsOfVolume", "snapshots", "List a volume's snapshots", READS,
     IMAGES, 0, 0, 200, &rest_snapshot_page, 0},
    {REST_LIST_SNAPSHOTS, "GET", V1("/snapshots"), "listSnapshots", "snapshots", "List snapshots", READS,
     IMAGES | REST_BIT(volume), 0, 0, 200, &rest_snapshot_page, 0},
    {REST_CREATE_SNAPSHOT, "POST", V1("/volumes/{id}/snapshots"), "createSnapshot", "snapshots", "Take a snapshot", OPERATES,
     0, REST_BIT(name), REST_BIT(name), 201, &rest_snapshot, MAKES},
    SNAPSHOT_ROUTE(REST_GET_SNAPSHOT, "GET", "", "getSnapshot", "Describe a snapshot", READS,
     0, 0, 0, 200, &rest_snapshot, REST_GIVES_ETAG),
    SNAPSHOT_ROUTE(REST_DELETE_SNAPSHOT, "DELETE", "", "deleteSnapshot", "Delete a snapshot", OPERATES,
     REST_BIT(force), 0, 0, 204, NULL, REST_TAKES_IF_MATCH),
    SNAPSHOT_ROUTE(REST_RESTORE_SNAPSHOT, "POST", "/restore", "restoreSnapshot", "Make the volume what the snapshot holds", OPERATES,
     0, 0, 0, 200, &rest_volume, REST_TAKES_IF_MATCH | REST_TAKES_KEY | REST_GIVES_ETAG),
    SNAPSHOT_ROUTE(REST_CLONE_SNAPSHOT, "POST", "/clone", "cloneSnapshot", "Make a new volume that starts as the snapshot", OPERATES,
     0, REST_BIT(name), REST_BIT(name), 201, &rest_volume, MAKES | REST_TAKES_IF_MATCH),

    {REST_LIST_PODS, "GET", V1("/pods"), "listPods", "pods", "List pods", READS, 0, 0, 0, 200, &rest_pod_page, 0},
    {REST_GET_POD, "GET", V1("/pods/{id}"), "getPod", "pods", "Describe a pod: members, who leads, lag", READS, 0, 0, 0, 200, &rest_pod, 0},
    {REST_CHANGE_POD, "PATCH", V1("/pods/{id}"), "changePod", "pods", "Say which node shall lead whenever it is in sync", RULES,
     0, REST_BIT(preferred), REST_BIT(preferred), 200, &rest_pod, 0},
    {REST_SNAPSHOT_POD, "POST", V1("/pods/{id}/snapshots"), "snapshotPod", "pods", "Take a snapshot of each volume, all at one instant", OPERATES,
     0, REST_BIT(name), REST_BIT(name), 201, &rest_snapshot_all, REST_TAKES_KEY},
    {REST_WHY_POD, "GET", V1("/pods/{id}/why"), "whyPod", "pods", "Tell what was decided about a pod, and why", READS,
     REST_BIT(after), 0, 0, 200, &rest_why, 0},
    {REST_SWITCH_OVER, "POST", V1("/pods/{id}/switchover"), "switchOver", "pods",
     "Have another node lead: the one named, the preferred one, or the only other one in sync", RULES,
     0, REST_BIT(node), 0, 200, &rest_pod, REST_BODY_MAY_LACK},
    {REST_PROMOTE, "POST", V1("/pods/{id}/promote"), "promote", "pods",
     "Have the node that is asked go on as primary whatever it lacks, when the others are gone for good", RULES,
     0, REST_BIT(node) | REST_BIT(accept_data_loss) | REST_BIT(old_primary_is_off), REST_BIT(accept_data_loss), 200, &rest_pod, 0},
    {REST_ADD_MEMBER, "POST", V1("/pods/{id}/members"), "addMember", "pods", "Add a node to a pod", RULES,
     0, REST_BIT(node) | REST_BIT(async), REST_BIT(node), 200, &rest_pod, 0},
    {REST_REMOVE_MEMBER, "DELETE", V1("/pods/{id}/members/{node}"), "removeMember", "pods", "Remove a node from a pod", RULES,
     0, 0, 0, 200, &rest_pod, 0},

    {REST_LIST_NODES, "GET", V1("/nodes"), "listNodes", "nodes", "List the nodes of the cluster", READS, 0, 0, 0, 200, &rest_node_page, 0},
    {REST_GET_NODE, "GET", V1("/nodes/{id}"), "getNode", "nodes", "Describe a node", READS, 0, 0, 0, 200, &rest_node, 0},
    {REST_GET_REPLICATION, "GET", V1("/replication"), "getReplication", "pods", "Tell how far the members of each pod are", READS,
     0, 0, 0, 200, &rest_replication_page, 0},

    {REST_GET_METRICS, "GET", V1("/metrics"), "getMetrics", "metrics", "Figures of the node that is asked, its pods and devices", READS, 0, 0, 0, 200, &rest_metrics, 0},
    {REST_GET_REDUCTION, "GET", V1("/metrics/reduction"), "getReductionMetrics", "metrics", "What data reduction saves", READS,
     0, 0, 0, 200, &rest_reduction_page, 0},
    {REST_GET_FLASH, "GET", V1("/metrics/flash"), "getFlashMetrics", "metrics", "What is written to flash, and the devices' counters", READS,
     0, 0, 0, 200, &rest_flash_metrics, 0},
    {REST_GET_REPLICATION, "GET", V1("/metrics/replication"), "getReplicationMetrics", "metrics", "How far the members of each pod are", READS,
     0, 0, 0, 200, &rest_replication_page, 0},

    {REST_LIST_EVENTS, "GET", V1("/events"), "listEvents", "events", "List events, or follow them", READS,
     PAGE | REST_BIT(kind) | REST_BIT(follow), 0, 0, 200, &rest_event_page, REST_MAY_STREAM},

    {REST_GET_ANALYTICS, "GET", V1("/analytics"), "getAnalytics", "analytics", "An overview: capacity, drives, volumes", READS, 0, 0, 0, 200, &rest_analytics, 0},
    {REST_GET_FORECAST, "GET", V1("/analytics/capacity/forecast"), "getForecast", "analytics", "Where used space is going; with plan_bytes and plan_bytes_per_day, what if", READS,
     REST_BIT(plan_bytes) | REST_BIT(plan_bytes_per_day), 0, 0, 200, &rest_forecast, 0},
    {REST_GET_DRIVES, "GET", V1("/analytics/health"), "getHealth", "analytics", "How the drives of all nodes are", READS, 0, 0, 0, 200, &rest_health, 0},
    {REST_LIST_ADVICE, "GET", V1("/analytics/tiering/recommendations"), "listTieringRecommendations", "analytics", "Where volumes would be kept at the least cost that their accesses allow", READS,
     PAGE, 0, 0, 200, &rest_advice_page, 0},
    {REST_GET_TEMPERATURE, "GET", V1("/analytics/temperature/{id}"), "getTemperature", "analytics", "How hot a volume is, region by region", READS, 0, 0, 0, 200, &rest_temperature, 0},
    {REST_GET_ACCOUNT, "GET", V1("/analytics/volume/{id}"), "getVolumeAnalytics", "analytics", "A volume's history, growth, reduction, latency and temperature", READS,
     PAGE | REST_BIT(step), 0, 0, 200, &rest_account, 0},

    {REST_HEALTH, "GET", "/healthz", "health", "probes", "The process runs and answers", REST_ROLE_NONE, 0, 0, 0, 200, NULL, REST_PLAIN | REST_OPEN},
    {REST_READY, "GET", "/readyz", "ready", "probes", "The node serves, itself or by passing requests on; 503 if not", REST_ROLE_NONE,
     0, 0, 0, 200, &rest_ready_schema, REST_OPEN},
    {REST_PROMETHEUS, "GET", "/metrics", "prometheus", "metrics", "Figures in Prometheus' text format", READS, 0, 0, 0, 200, NULL, REST_PLAIN},
    {REST_OPENAPI, "GET", "/openapi.json", "openapi", "probes", "This document", REST_ROLE_NONE, 0, 0, 0, 200, NULL, REST_OPEN | REST_RAW_JSON},
    {REST_DOCS, "GET", "/docs", "docs", "probes", "This document to try, in a browser: Swagger UI", REST_ROLE_NONE, 0, 0, 0, 200, NULL, REST_OPEN | REST_FILE},
    {REST_DOCS, "GET", "/docs/{file}", "docsFile", "probes", "Files that belong to it", REST_ROLE_NONE, 0, 0, 0, 200, NULL, REST_OPEN | REST_FILE},
    {REST_DOCS, "GET", "/redoc", "redoc", "probes", "This document to read, in a browser: ReDoc", REST_ROLE_NONE, 0, 0, 0, 200, NULL, REST_OPEN | REST_FILE},
    {REST_DOCS, "GET", "/redoc/{file}", "redocFile", "probes", "Files that belong to it", REST_ROLE_NONE, 0, 0, 0, 200, NULL, REST_OPEN | REST_FILE},
};
/* clang-format on */
const size_t rest_route_count = sizeof rest_routes / sizeof rest_routes[0];

static size_t segment(const char *from, const char *end)
{
    const char *p = from;
    while (p < end && *p != '/')
        p++;
    return (size_t)(p - from);
}

static enum rest_arg arg_named(const char *name, size_t length)
{
    enum rest_arg arg = REST_id;
    while (strlen(rest_args[arg].name) != length || memcmp(rest_args[arg].name, name, length) != 0)
        arg++;
    return arg;
}

bool rest_path_matches(const char *template, const char *path, size_t length,
                       struct rest_capture captures[REST_CAPTURES_MAX], size_t *count)
{
    const char *t = template, *tend = t + strlen(t), *p = path, *pend = path + length;
    *count = 0;
    while (t < tend && p < pend) {
        if (*p++ != *t++)
            return false; /* both are at a '/' */
        const size_t tn = segment(t, tend), pn = segment(p, pend);
        if (*t == '{') {
            if (pn == 0)
                return false;
            captures[(*count)++] = (struct rest_capture){arg_named(t + 1, tn - 2), p, pn};
        } else if (tn != pn || memcmp(t, p, tn) != 0) {
            return false;
        }
        t += tn;
        p += pn;
    }
    return t == tend && p == pend;
}

static const char *const role_names[] = {"none", "read-only", "operator", "admin"};

const char *rest_role_name(enum rest_role role)
{
    return role_names[role];
}

bool rest_role_parse(const char *name, enum rest_role *out)
{
    for (enum rest_role role = REST_ROLE_READ_ONLY; role <= REST_ROLE_ADMIN; role++)
        if (strcmp(name, role_names[role]) == 0) {
            *out = role;
            return true;
        }
    return false;
}
