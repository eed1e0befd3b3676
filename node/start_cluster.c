/* A node of a cluster: the pod is opened as a member, and speaks with the others. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/log.h"
#include "node/daemon.h"
#include "node/host/catalog_uv.h"
#include "node/host/cluster.h"
#include "node/host/heartbeat_uv.h"
#include "node/host/host_image.h"
#include "node/host/reactor_uv.h"

static void wake(void *user)
{
    reactor_wake(((struct node *)user)->reactor);
}

static void line(void *user, const char *text)
{
    (void)user;
    log_info("cluster", text);
}

static void warning(void *user, const char *text)
{
    (void)user;
    log_warn("cluster", text);
}

static void serving(void *user, bool is_serving, bool handed_over)
{
    struct node *node = user;
    log_info("cluster",
             is_serving    ? "this node is the pod's primary: hosts are served here"
             : handed_over ? "this node has handed the pod over: requests of hosts are passed on"
                           : "this node is not the pod's primary any more: hosts are disconnected",
             LOG_S("pod", node_pod_name));
    if (!is_serving && !handed_over && node->images)
        host_images_break(node->images);
}

static void news(void *user)
{
    struct node *node = user;
    if (node->images)
        host_images_news(node->images);
}

static void decided(void *user, const struct replica_decision *d)
{
    struct node *node = user;
    char kind[32];
    (void)snprintf(kind, sizeof kind, "pod.%s", d->kind);
    for (char *space; (space = strchr(kind, ' '));)
        *space = '-';
    catalog_service_pod_event(node->catalog_service, kind, 0, d->text);
}

static uint64_t turn(void *user, uint64_t now_ns)
{
    return cluster_turn(user, now_ns);
}

static bool exchange(void *user, uint64_t now_ns, const struct replica_view *view,
                     struct replica_heard *heard)
{
    struct node *node = user;
    if (node->heartbeat)
        heartbeat_uv_exchange(node->heartbeat, now_ns, view, heard);
    return node->heartbeat != NULL;
}

static uint16_t heartbeat_port(void *user)
{
    const struct node *node = user;
    return node->heartbeat ? heartbeat_uv_port(node->heartbeat) : 0;
}

static bool heartbeat_peer(void *user, unsigned peer, const char *endpoint)
{
    struct node *node = user;
    return !node->heartbeat || heartbeat_uv_peer(node->heartbeat, peer, endpoint);
}

static bool gate_is_open(void *user)
{
    return cluster_is_serving(user);
}

static int gate_refusal(void *user, struct ps_error *err)
{
    return cluster_not_primary(user, err);
}

static bool gate_forward(void *user, struct rpc_call *call, const ProtobufCServiceDescriptor *service,
                         const char *method, const ProtobufCMessage *message)
{
    return cluster_forward(user, call, service, method, message);
}

static bool gate_primary(void *user, struct primary_place *out)
{
    return cluster_primary_place(user, &out->node, &out->address);
}

static void opened(void *user, int status, struct member_pod *member)
{
    struct awaited *open = user;
    struct node *node = open->node;
    node->member = status == 0 ? member : NULL;
    if (status)
        reactor_set_turn(node->reactor, NULL, NULL);
    node_arrived(open, status);
}

static int open_member(struct node *node, const struct pod_config *pod, struct ps_error *err)
{
    struct member_config config = {
        .dev = node->flash,
        .pod = *pod,
        .format = POD_FORMAT_BLANK,
        .node = node->as.node_name,
        .options = replica_defaults,
        .links = &cluster_links,
        .user = node->cluster,
    };
    struct awaited open = {.node = node};
    struct member_pod *opening = NULL;
    if (getrandom(&config.seed, sizeof config.seed, 0) != sizeof config.seed)
        return ps_error_set(err, PS_EIO, "the system gives no random numbers");
    int rc = member_open(&config, clock_monotonic_ns(), opened, &open, err, &opening);
    if (rc == 0) {
        cluster_set_member(node->cluster, opening);
        reactor_set_turn(node->reactor, turn, node->cluster);
        node_wait(&open);
        rc = open.status;
    }
    if (rc && opening) {
        cluster_set_member(node->cluster, NULL);
        member_destroy(opening);
    }
    return rc;
}

static void close_cluster(struct node *node)
{
    struct awaited end = {.node = node};
    cluster_stop(node->cluster, node_arrived_cb, &end);
    node_wait(&end);
    cluster_destroy(node->cluster);
    node->cluster = NULL;
}

/* Where this node listens, for people; nothing if that is everywhere, which is nowhere to go. */
static const char *address_to_tell(const char *listen)
{
    return strstr(listen, "//0.0.0.0:") || strstr(listen, "//[::]:") ? "" : listen;
}

int start_member(struct node *node, const struct pod_config *pod, struct ps_error *err)
{
    const struct cluster_config config = {
        .transport = node->transport,
        .keys = &node->keys,
        .node_name = node->as.node_name,
        .cluster_name = node->as.cluster_name,
        .pod_name = node_pod_name,
        .peers = node->as.peers,
        .mediator = node->as.mediator,
        .rpc_address = address_to_tell(node->as.rpc_listen),
        .async = node->as.replication_mode == SETTING_REPLICATION_ASYNC,
        .fast_failover = node->as.fast_failover,
        .now_ns = clock_monotonic_ns,
        .now_unix_ns = clock_unix_ns,
        .wake = wake,
        .exchange = exchange,
        .heartbeat_port = heartbeat_port,
        .heartbeat_peer = heartbeat_peer,
        .serving = serving,
        .news = news,
        .decided = decided,
        .log = line,
        .warn = warning,
        .user = node,
    };
    struct ps_error reason = {0};
    int rc = cluster_create(&config, &node->cluster, &reason);
    if (rc)
        return node_setting_error(node, PSTORAGED_PEERS, rc, err, reason.detail);
    node->gate = (struct primary_gate){.is_open = gate_is_open,
                                       .refusal = gate_refusal,
                                       .forward = gate_forward,
                                       .primary = gate_primary,
                                       .user = node->cluster};
    rc = open_member(node, pod, &reason);
    if (rc) {
        close_cluster(node);
        return node_setting_error(node, PSTORAGED_FLASH_DEVICES, rc, err,
                                  reason.detail[0] ? reason.detail : ps_status_text(rc));
    }
    node->pod = member_pod(node->member);
    rc = cluster_start(node->cluster, &reason);
    if (rc) {
        stop_member(node);
        return node_setting_error(node, PSTORAGED_MEDIATOR, rc, err, reason.detail);
    }
    return 0;
}

void stop_member(struct node *node)
{
    struct awaited stopped = {.node = node}, closed = {.node = node};
    cluster_stop(node->cluster, node_arrived_cb, &stopped);
    node_wait(&stopped);
    member_close(node->member, node_arrived_cb, &closed);
    reactor_wake(node->reactor);
    node_wait(&closed);
    reactor_set_turn(node->reactor, NULL, NULL);
    member_destroy(node->member);
    node->member = NULL;
    node->pod = NULL;
    cluster_destroy(node->cluster);
    node->cluster = NULL;
}

/* The last step: what it says is for nodes that serve, and it is silent before anything else stops. */
int start_heartbeat(struct node *node, struct ps_error *err)
{
    char listen[300];
    const char *rpc = node->as.rpc_listen, *colon = strrchr(rpc, ':');
    struct ps_error reason = {0};
    if (!node->cluster)
        return 0;
    if (strncmp(rpc, "tcp://", 6) != 0) {
        log_warn("cluster", "no thread for heartbeats: RPC is not served by tcp://", LOG_S("rpc", rpc));
        return 0;
    }
    (void)snprintf(listen, sizeof listen, "%.*s:%u", (int)(colon - rpc), rpc,
                   (unsigned)node->as.heartbeat_port);
    struct heartbeat_uv_config config = {
        .keys = &node->keys,
        .node_name = node->as.node_name,
        .cluster_name = node->as.cluster_name,
        .listen = listen,
        .options = replica_defaults,
        .now_ns = clock_monotonic_ns,
    };
    const struct peers *peers = cluster_peers(node->cluster);
    for (unsigned i = 0; i < peers_count(peers); i++)
        config.peers[config.peer_count++] = peers_name(peers, i);
    const int rc = heartbeat_uv_start(&config, &node->heartbeat, &reason);
    return rc ? node_setting_error(node, PSTORAGED_HEARTBEAT_PORT, rc, err, reason.detail) : 0;
}

void stop_heartbeat(struct node *node)
{
    struct heartbeat_uv *heartbeat = node->heartbeat;
    node->heartbeat = NULL;
    if (heartbeat)
        heartbeat_uv_stop(heartbeat);
}
