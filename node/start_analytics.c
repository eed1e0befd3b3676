/* What the node samples of itself, and the history of it. */
#include <stdio.h>

#include "common/clock.h"
#include "node/daemon.h"
#include "node/flash/array.h"
#include "node/host/analytics_uv.h"
#include "node/host/catalog_uv.h"
#include "node/host/cluster.h"
#include "node/host/flash_devices_uv.h"
#include "node/pod/image_use.h"
#include "node/pod/pod_log.h"

int start_uses(struct node *node, struct ps_error *err)
{
    node->uses = image_uses_create(clock_monotonic_ns);
    return node->uses ? 0 : ps_error_set(err, PS_ENOMEM, "out of memory");
}

void stop_uses(struct node *node)
{
    image_uses_destroy(node->uses);
    node->uses = NULL;
}

/* As primary: how far the member farthest behind is. */
static void lag(void *user, uint64_t *ms, uint64_t *bytes)
{
    const struct node *node = user;
    struct replica_info info;
    cluster_look(node->cluster, &info);
    if (info.role != REPLICA_LEADING && info.role != REPLICA_INHERITING)
        return;
    for (size_t i = 0; i < info.peer_count; i++) {
        const struct replica_peer_info *p = &info.peers[i];
        if (info.end.seq <= p->matched_seq)
            continue;
        const uint64_t behind = pod_log_bytes_after(node->pod, p->matched_seq);
        *ms = p->lag_ns / NS_PER_MS > *ms ? p->lag_ns / NS_PER_MS : *ms;
        *bytes = behind > *bytes ? behind : *bytes;
    }
}

static size_t drives(void *user, struct analytics_drive out[ANALYTICS_DEVICES_MAX])
{
    const struct node *node = user;
    const struct array *array = flash_devices_array(node->devices);
    struct array_info info;
    if (!array) {
        out[0] = (struct analytics_drive){.device = node->flash};
        (void)snprintf(out[0].name, sizeof out[0].name, "%.127s", node->flash->name);
        return 1;
    }
    array_look(array, &info);
    for (unsigned i = 0; i < info.members; i++) {
        out[i] =
            (struct analytics_drive){.device = info.member[i].dev, .out = info.member[i].state == ARRAY_OUT};
        (void)snprintf(out[i].name, sizeof out[i].name, "%s", info.member[i].name);
    }
    return info.members;
}
_Static_assert((int)ARRAY_MEMBERS_MAX <= (int)ANALYTICS_DEVICES_MAX, "each has its place");

int start_analytics(struct node *node, struct ps_error *err)
{
    char path[1100];
    struct analytics *analytics;
    struct ps_error reason;
    struct analytics_config config = {
        .path = path,
        .max_bytes = node->as.analytics_history_size,
        .scale = temperature_scale_default,
        .costs = tier_costs_default,
        .tier = TIER_NVME,
        .rated_cycles = (double)node->as.flash_rated_cycles,
    };
    (void)snprintf(path, sizeof path, "%s/history.db", node->as.data_dir);
    int rc = tier_costs_parse(&config.costs, node->as.tier_prices, &reason);
    if (rc)
        return node_setting_error(node, PSTORAGED_TIER_PRICES, rc, err, reason.detail);
    rc = analytics_open(&config, &analytics, err);
    if (rc)
        return rc;
    const struct analytics_service_config service = {
        .loop = &node->loop,
        .management = catalog_service_management(node->catalog_service),
        .pod = node->pod,
        .uses = node->uses,
        .drives = drives,
        .interval_ms = node->as.analytics_interval * 1000,
        .started_unix_ns = node->started_unix_ns,
        .lag = node->cluster ? lag : NULL,
        .user = node,
    };
    rc = analytics_service_start(&service, analytics, &node->analytics);
    return rc ? ps_error_set(err, rc, "no analytics: %s", ps_status_text(rc)) : 0;
}

void stop_analytics(struct node *node)
{
    struct awaited end = {.node = node};
    analytics_service_stop(node->analytics, node_arrived_cb, &end);
    node->analytics = NULL;
    node_wait(&end);
}
