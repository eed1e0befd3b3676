/* The ways in: RPC for people and programs, NBD for hosts. */
#include "common/clock.h"
#include "common/cluster_key.h"
#include "common/log.h"
#include "common/rpc/server.h"
#include "common/rpc/transport_nng.h"
#include "node/daemon.h"
#include "node/host/analytics_uv.h"
#include "node/host/catalog_uv.h"
#include "node/host/devices_service.h"
#include "node/host/flash_devices_uv.h"
#include "node/host/flash_service.h"
#include "node/host/nbd_uv.h"
#include "node/host/pods_service.h"
#include "node/host/reactor_uv.h"
#include "node/host/services.h"
#include "node/host/tokens_service.h"

/* ---- RPC */

/* Before anything is made on disk: a node that may not listen where it is told doesn't start. */
int start_cluster_key(struct node *node, struct ps_error *err)
{
    struct ps_error reason;
    int rc = cluster_key_load(node->as.cluster_key, node->as.cluster_key_file, node->as.cluster_name,
                              &node->keys, err);
    if (rc)
        return rc;
    rc = rpc_keys_check_listen(&node->keys, node->as.rpc_listen, &reason);
    return rc ? node_setting_error(node, PSTORAGED_RPC_LISTEN, rc, err, reason.detail) : 0;
}

void stop_cluster_key(struct node *node)
{
    rpc_keys_clear(&node->keys);
}

int start_transport(struct node *node, struct ps_error *err)
{
    const int rc = rpc_transport_nng_create(&node->loop, &node->transport);
    return rc ? ps_error_set(err, rc, "no RPC transport: %s", ps_status_text(rc)) : 0;
}

void stop_transport(struct node *node)
{
    struct awaited end = {.node = node};
    rpc_transport_nng_close(node->transport, node_arrived_cb, &end);
    node_wait(&end);
    rpc_transport_nng_finish();
}

static void rpc_line(void *user, const char *line)
{
    (void)user;
    log_info("rpc", line);
}

static uint64_t now_ns(void *user)
{
    (void)user;
    return clock_monotonic_ns();
}

static uint64_t now_unix_ns(void *user)
{
    (void)user;
    return clock_unix_ns();
}

static int admit(void *user, const struct rpc_peer *peer, struct ps_error *err)
{
    const struct node *node = user;
    return node->cluster ? cluster_admit(node->cluster, peer, err) : 0;
}

/* ---- images while another node may lead */

static void images_wake(void *user)
{
    reactor_wake(((struct node *)user)->reactor);
}

static void images_broken(void *user)
{
    struct node *node = user;
    if (node->nbd)
        nbd_server_drop(node->nbd);
}

int start_images(struct node *node, struct ps_error *err)
{
    const struct host_images_config config = {
        .pod = node->pod,
        .gate = &node->gate,
        .transport = node->transport,
        .keys = &node->keys,
        .node_name = node->as.node_name,
        .cluster_name = node->as.cluster_name,
        .now_ns = now_ns,
        .refusal_is_end = node->as.fast_failover,
        .wake = images_wake,
        .broken = images_broken,
        .log = rpc_line,
        .user = node,
    };
    const int rc = node->cluster ? host_images_create(&config, &node->images) : 0;
    return rc ? ps_error_set(err, rc, "out of memory") : 0;
}

void stop_images(struct node *node)
{
    struct awaited end = {.node = node};
    if (!node->images)
        return;
    host_images_close(node->images, node_arrived_cb, &end);
    node->images = NULL;
    node_wait(&end);
}

static int keep_token(void *user, struct token_change *change)
{
    return catalog_service_token(user, change);
}

static const struct array *array_of_devices(void *user)
{
    return flash_devices_array(((const struct node *)user)->devices);
}

static unsigned vacated_percent(void *user)
{
    return flash_devices_vacated_percent(((const struct node *)user)->devices);
}

static int attach_device(void *user, const char *spec, device_change_cb cb, void *cb_user,
                         struct ps_error *err)
{
    return flash_devices_attach(user, spec, cb, cb_user, err);
}

static int detach_device(void *user, const char *name, device_change_cb cb, void *cb_user,
                         struct ps_error *err)
{
    return flash_devices_detach(user, name, cb, cb_user, err);
}

static bool other_node(void *user, unsigned i, const char **name, struct rpc_client **client)
{
    const struct node *node = user;
    const struct peers *peers = node->cluster ? cluster_peers(node->cluster) : NULL;
    if (!peers || i >= peers_count(peers))
        return false;
    *name = peers_name(peers, i);
    *client = cluster_peer(node->cluster, i);
    return true;
}

static int register_services(struct node *node)
{
    const struct services_config config = {
        .pod = node->pod,
        .pod_name = node_pod_name,
        .node_name = node->as.node_name,
        .started_unix_ns = node->started_unix_ns,
        .now_unix_ns = now_unix_ns,
        .devices = &node->flash,
        .ndevices = 1,
        .array = array_of_devices,
        .vacated_percent = vacated_percent,
        .events = catalog_service_events(node->catalog_service),
        .analytics = analytics_service_source(node->analytics),
        .uses = node->uses,
        .gate = node->cluster ? &node->gate : NULL,
        .images = node->images,
        .now_ns = now_ns,
        .other = other_node,
        .user = node,
    };
    const struct pods_service_config pods = {
        .pod = node->pod,
        .pod_name = node_pod_name,
        .node_name = node->as.node_name,
        .rpc_address = node->as.rpc_listen,
        .cluster = node->cluster,
    };
    const struct tokens_service_config tokens = {
        .tokens = node->tokens, .keep = keep_token, .user = node->catalog_service};
    int rc = services_create(node->rpc, &config, &node->services);
    if (rc == 0)
        rc = tokens_service_create(node->rpc, &tokens, &node->tokens_service);
    if (rc == 0)
        rc = pods_service_create(node->rpc, &pods, &node->pods);
    const struct devices_service_config devices = {
        .attach = attach_device,
        .detach = detach_device,
        .user = node->devices,
        .node_name = node->as.node_name,
    };
    if (rc == 0)
        rc = devices_service_create(node->rpc, &devices, &node->devices_service);
    if (rc == 0)
        rc = flash_service_create(node->rpc, node->drives, node->as.node_name, &node->flash_service);
    if (rc == 0 && node->cluster)
        cluster_register(node->cluster, node->rpc);
    return rc;
}

int start_rpc(struct node *node, struct ps_error *err)
{
    const struct rpc_server_config server = {
        .identity = {.name = node->as.node_name,
                     .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE,
                     .cluster_id = node->as.cluster_name},
        .keys = &node->keys,
        .admit = admit,
        .log = rpc_line,
        .user = node,
    };
    struct ps_error reason;
    int rc = rpc_server_create(node->transport, &server, &node->rpc);
    if (rc)
        return ps_error_set(err, rc, "no RPC server: %s", ps_status_text(rc));
    rc = register_services(node);
    if (rc)
        (void)ps_error_set(err, rc, "no RPC services: %s", ps_status_text(rc));
    if (rc == 0) {
        rc = rpc_server_listen(node->rpc, node->as.rpc_listen, &reason);
        if (rc)
            (void)node_setting_error(node, PSTORAGED_RPC_LISTEN, rc, err, reason.detail);
    }
    if (rc)
        stop_rpc(node);
    return rc;
}

/* A device that is being formatted is waited for. */
static void stop_flash_service(struct node *node)
{
    struct awaited end = {.node = node};
    flash_service_destroy(node->flash_service, node_arrived_cb, &end);
    node->flash_service = NULL;
    node_wait(&end);
}

static void events_answered(struct event_query *query, int status)
{
    node_arrived(query->user, status);
}

static void analytics_answered(struct analytics_query *query, int status)
{
    node_arrived(query->user, status);
}

void stop_rpc(struct node *node)
{
    struct awaited closed = {.node = node}, answered = {.node = node}, inquired = {.node = node};
    rpc_server_close(node->rpc, node_arrived_cb, &closed);
    node_wait(&closed);
    node->rpc = NULL;
    if (node->pods)
        pods_service_destroy(node->pods);
    node->pods = NULL;
    if (node->tokens_service)
        tokens_service_destroy(node->tokens_service);
    node->tokens_service = NULL;
    if (node->devices_service)
        devices_service_destroy(node->devices_service);
    node->devices_service = NULL;
    if (node->flash_service)
        stop_flash_service(node);
    if (!node->services)
        return;
    /* Questions are answered in their order: after this one nothing is owed to the services. */
    struct event_source *events = catalog_service_events(node->catalog_service);
    struct event_query last = {.cb = events_answered, .user = &answered};
    if (events->list(events, &last) == 0)
        node_wait(&answered);
    struct analytics_source *analytics = analytics_service_source(node->analytics);
    struct analytics_query nothing = {
        .question = ANALYTICS_NOTHING, .cb = analytics_answered, .user = &inquired};
    int rc;
    while ((rc = analytics->ask(analytics, &nothing)) == PS_ELIMIT)
        (void)uv_run(&node->loop, UV_RUN_ONCE);
    if (rc == 0)
        node_wait(&inquired);
    services_destroy(node->services);
    node->services = NULL;
}

/* ---- NBD */

static void nbd_log(void *user, enum nbd_log_level level, const char *text)
{
    (void)user;
    static const enum log_level levels[] = {LOG_DEBUG, LOG_INFO, LOG_WARN};
    LOG_AT(levels[level], "nbd", text);
}

static void nbd_turn(void *server)
{
    nbd_server_turn(server);
}

int start_nbd(struct node *node, struct ps_error *err)
{
    if (node->as.nbd_listen[0] == '\0')
        return 0;
    const struct nbd_server_config config = {
        .pod = node->pod, .listen = node->as.nbd_listen, .log = nbd_log, .images = node->images};
    struct ps_error reason;
    const int rc = nbd_server_start(&node->loop, &config, &node->nbd, &reason);
    if (rc)
        return node_setting_error(node, PSTORAGED_NBD_LISTEN, rc, err, reason.detail);
    reactor_follow(node->reactor, nbd_turn, node->nbd);
    return 0;
}

/* Called when the server is gone: it must have no turn after that. */
static void nbd_stopped(void *user)
{
    struct awaited *end = user;
    reactor_unfollow(end->node->reactor, nbd_turn, end->node->nbd);
    end->node->nbd = NULL;
    node_arrived(end, 0);
}

void stop_nbd(struct node *node)
{
    struct awaited end = {.node = node};
    if (!node->nbd)
        return;
    nbd_server_stop(node->nbd, nbd_stopped, &end);
    node_wait(&end);
}
