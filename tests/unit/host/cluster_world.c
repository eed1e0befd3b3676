#include "tests/unit/host/cluster_world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/blkdev_mem.h"
#include "mediator/mediator_core.h"
#include "mediator/mediator_service.h"
#include "mediator/mediator_store_mem.h"

enum {
    DISK_BYTES = 80 << 20,
    SEGMENT_BYTES = 2 << 20
};
#define MEDIATOR_ADDRESS "tcp://127.0.0.1:9700"
#define EPOCH_NS         1700000000000000000ull

struct mediator_world {
    struct rpc_transport *transport;
    struct mediator_store *store;
    struct mediator_core *core;
    struct rpc_server *server;
    struct mediator_service *service;
};

static struct cluster_world *world; /* for the clocks, which have no user */

/* ---- time */

static uint64_t now_ns(void)
{
    return rpc_mem_now(world->net) + 1000 * MS;
}

static uint64_t now_unix_ns(void)
{
    return EPOCH_NS + rpc_mem_now(world->net);
}

uint64_t world_now_ms(const struct cluster_world *w)
{
    return rpc_mem_now(w->net) / MS;
}

/* The disk answers at once. */
static void node_turn(struct cluster_node *n)
{
    if (!n->up || n->paused)
        return;
    do
        (void)cluster_turn(n->cluster, now_ns());
    while (blkdev_mem_drain(n->disk) > 0);
}

void world_run(struct cluster_world *w, unsigned ms)
{
    for (unsigned i = 0; i < ms; i++) {
        rpc_mem_run(w->net, rpc_mem_now(w->net) + MS);
        for (unsigned n = 0; n < w->options.nodes; n++)
            node_turn(&w->nodes[n]);
    }
}

/* ---- what a node is told */

static void nothing(void *user)
{
    (void)user;
}

static bool no_exchange(void *user, uint64_t t, const struct replica_view *view, struct replica_heard *heard)
{
    (void)user;
    (void)t;
    (void)view;
    (void)heard;
    return false;
}

static uint16_t heartbeat_port(void *user)
{
    return ((struct cluster_node *)user)->port;
}

static bool heartbeat_peer(void *user, unsigned peer, const char *endpoint)
{
    struct cluster_node *n = user;
    (void)peer;
    (void)snprintf(n->beats_at, sizeof n->beats_at, "%s", endpoint);
    return n->beats;
}

static void on_serving(void *user, bool serving, bool handed_over)
{
    struct cluster_node *n = user;
    assert(serving != n->serving);
    n->told_serving++;
    n->serving = serving;
    n->handed_over = handed_over;
}

static void on_news(void *user)
{
    ((struct cluster_node *)user)->news++;
}

static void on_decided(void *user, const struct replica_decision *decision)
{
    struct cluster_node *n = user;
    (void)decision;
    n->decisions++;
}

static void append(char *text, size_t size, const char *line)
{
    const size_t used = strlen(text);
    (void)snprintf(text + used, size - used, "%s\n", line);
}

static void on_log(void *user, const char *line)
{
    struct cluster_node *n = user;
    append(n->log, sizeof n->log, line);
}

static void on_warning(void *user, const char *line)
{
    struct cluster_node *n = user;
    append(n->warnings, sizeof n->warnings, line);
}

static int admit(void *user, const struct rpc_peer *peer, struct ps_error *err)
{
    return cluster_admit(((struct cluster_node *)user)->cluster, peer, err);
}

/* ---- life */

static void set(void *user)
{
    *(bool *)user = true;
}

static void on_opened(void *user, int status, struct member_pod *member)
{
    struct cluster_node *n = user;
    assert(status == 0);
    (void)member;
    n->opened = true;
}

static struct pod_config pod_config_of(const struct cluster_node *n)
{
    return (struct pod_config){.name = "default",
                               .memory_budget = POD_MEMORY_MIN,
                               .metadata_cache_bytes = 1 << 20,
                               .segment_bytes = SEGMENT_BYTES,
                               .seed = {n->index + 1 + CLUSTER_NODES_MAX * n->stores, 7}};
}

static void open_member(struct cluster_world *w, struct cluster_node *n)
{
    const struct member_config config = {
        .dev = n->disk,
        .pod = pod_config_of(n),
        .format = POD_FORMAT_BLANK,
        .node = n->name,
        .seed = n->index + 1 + CLUSTER_NODES_MAX * ++n->starts,
        .options = replica_defaults,
        .links = &cluster_links,
        .user = n->cluster,
    };
    struct ps_error err = {0};
    const int rc = member_open(&config, now_ns(), on_opened, n, &err, &n->member);
    assert(rc == 0);
    (void)rc;
    cluster_set_member(n->cluster, n->member);
    for (unsigned i = 0; i < 1000 && !n->opened; i++)
        world_run(w, 1);
    assert(n->opened);
}

static void serve(struct cluster_node *n)
{
    const struct rpc_server_config server = {
        .identity = {.name = n->name, .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE, .cluster_id = "c"},
        .admit = admit,
        .user = n};
    const struct pods_service_config pods = {.pod = member_pod(n->member),
                                             .pod_name = "default",
                                             .node_name = n->name,
                                             .rpc_address = n->address,
                                             .cluster = n->alone ? NULL : n->cluster};
    int rc = rpc_server_create(n->transport, &server, &n->server);
    assert(rc == 0);
    cluster_register(n->cluster, n->server);
    rc = pods_service_create(n->server, &pods, &n->pods);
    assert(rc == 0);
    rc = rpc_server_listen(n->server, n->address, NULL);
    assert(rc == 0);
    (void)rc;
}

void node_start(struct cluster_world *w, unsigned node)
{
    struct cluster_node *n = &w->nodes[node];
    const struct cluster_config config = {
        .transport = n->transport,
        .node_name = n->name,
        .cluster_name = "c",
        .pod_name = "default",
        .peers = n->peers,
        .mediator = MEDIATOR_ADDRESS,
        .rpc_address = n->address,
        .async = w->options.async,
        .fast_failover = !w->options.slow_failover,
        .now_ns = now_ns,
        .now_unix_ns = now_unix_ns,
        .wake = nothing,
        .exchange = no_exchange,
        .heartbeat_port = heartbeat_port,
        .heartbeat_peer = heartbeat_peer,
        .serving = on_serving,
        .news = on_news,
        .decided = on_decided,
        .log = on_log,
        .warn = on_warning,
        .user = n,
    };
    assert(!n->up);
    n->opened = n->serving = n->handed_over = n->paused = false;
    n->told_serving = n->decisions = n->news = 0;
    n->log[0] = n->warnings[0] = n->beats_at[0] = '\0';
    int rc = cluster_create(&config, &n->cluster, NULL);
    assert(rc == 0);
    n->up = true;
    open_member(w, n);
    rc = cluster_start(n->cluster, NULL);
    assert(rc == 0);
    (void)rc;
    serve(n);
}

static void end(struct cluster_world *w, struct cluster_node *n, bool in_order)
{
    bool served = false, stopped = false, closed = !in_order;
    n->paused = false;
    rpc_server_close(n->server, set, &served);
    for (unsigned i = 0; i < 60000 && !served; i++)
        world_run(w, 1);
    assert(served);
    pods_service_destroy(n->pods);
    cluster_stop(n->cluster, set, &stopped);
    for (unsigned i = 0; i < 1000 && !stopped; i++)
        world_run(w, 1);
    assert(stopped);
    if (in_order)
        member_close(n->member, set, &closed);
    for (unsigned i = 0; i < 10000 && !closed; i++)
        world_run(w, 1);
    assert(closed);
    n->up = false;
    if (!in_order)
        blkdev_mem_power_cut(n->disk, NULL, BLKDEV_MEM_LOSE);
    member_destroy(n->member);
    cluster_destroy(n->cluster);
    n->member = NULL;
    n->cluster = NULL;
    n->writing = false;
}

void node_stop(struct cluster_world *w, unsigned node)
{
    end(w, &w->nodes[node], true);
}

void node_kill(struct cluster_world *w, unsigned node)
{
    const char *name = w->nodes[node].name;
    for (unsigned i = 0; i < w->options.nodes; i++)
        rpc_mem_break(w->net, name, w->nodes[i].name);
    rpc_mem_break(w->net, name, "m");
    rpc_mem_break(w->net, name, "host");
    end(w, &w->nodes[node], false);
}

void node_pause(struct cluster_world *w, unsigned node, bool paused)
{
    w->nodes[node].paused = paused;
    rpc_mem_cut(w->net, w->nodes[node].name, NULL, paused);
}

void node_new_disk(struct cluster_world *w, unsigned node)
{
    const struct blkdev_mem_options disk = {.size_bytes = DISK_BYTES, .max_io_bytes = 1 << 20};
    struct cluster_node *n = &w->nodes[node];
    assert(!n->up);
    if (n->disk)
        blkdev_destroy(n->disk);
    n->disk = blkdev_mem_create(&disk);
    assert(n->disk);
    n->stores++;
}

void node_copy_disk(struct cluster_world *w, unsigned node, unsigned from)
{
    uint8_t *all = malloc(DISK_BYTES);
    assert(all && !w->nodes[from].up);
    node_new_disk(w, node);
    blkdev_mem_peek(w->nodes[from].disk, 0, all, DISK_BYTES, true);
    blkdev_mem_poke(w->nodes[node].disk, 0, all, DISK_BYTES);
    free(all);
}

static void node_prepare(struct cluster_world *w, unsigned node)
{
    struct cluster_node *n = &w->nodes[node];
    n->index = node;
    (void)snprintf(n->name, sizeof n->name, "n%u", node + 1);
    (void)snprintf(n->address, sizeof n->address, "tcp://127.0.0.1:950%u", node + 1);
    for (unsigned i = 0; i < w->options.nodes; i++) {
        char peer[48];
        (void)snprintf(peer, sizeof peer, "n%u=tcp://127.0.0.1:950%u ", i + 1, i + 1);
        if (i != node)
            (void)strncat(n->peers, peer, sizeof n->peers - strlen(n->peers) - 1);
    }
    n->transport = rpc_mem_transport_create(w->net, n->name);
    n->beats = true;
    node_new_disk(w, node);
}

/* ---- the mediator */

static uint64_t mediator_now_unix_ns(void *user)
{
    (void)user;
    return now_unix_ns();
}

void mediator_start(struct cluster_world *w)
{
    struct mediator_world *m = w->mediator;
    const struct rpc_server_config server = {
        .identity = {.name = "m", .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_MEDIATOR}};
    int rc = mediator_core_create(m->store, &m->core, NULL);
    assert(rc == 0);
    const struct mediator_service_config config = {.core = m->core, .now_unix_ns = mediator_now_unix_ns};
    rc = rpc_server_create(m->transport, &server, &m->server);
    assert(rc == 0);
    rc = mediator_service_create(m->server, &config, &m->service);
    assert(rc == 0);
    rc = rpc_server_listen(m->server, MEDIATOR_ADDRESS, NULL);
    assert(rc == 0);
    (void)rc;
}

void mediator_stop(struct cluster_world *w)
{
    struct mediator_world *m = w->mediator;
    bool closed = false;
    rpc_server_close(m->server, set, &closed);
    for (unsigned i = 0; i < 1000 && !closed; i++)
        world_run(w, 1);
    assert(closed);
    mediator_service_destroy(m->service);
    mediator_core_destroy(m->core);
    m->core = NULL;
}

/* ---- the world */

struct cluster_world *cluster_world_create(const struct cluster_options *options)
{
    const struct rpc_mem_config net = {.latency_ns = MS / 10};
    const struct uuid id = {{0xee}};
    struct cluster_world *w = calloc(1, sizeof *w);
    w->options = *options;
    w->net = rpc_mem_net_create(&net);
    w->host = rpc_mem_transport_create(w->net, "host");
    w->mediator = calloc(1, sizeof *w->mediator);
    w->mediator->transport = rpc_mem_transport_create(w->net, "m");
    w->mediator->store = mediator_store_mem_create(&id);
    world = w;
    for (unsigned n = 0; n < options->nodes; n++)
        node_prepare(w, n);
    mediator_start(w);
    return w;
}

void cluster_world_destroy(struct cluster_world *w)
{
    for (unsigned n = 0; n < w->options.nodes; n++)
        if (w->nodes[n].up)
            node_kill(w, n);
    if (w->mediator->core)
        mediator_stop(w);
    for (unsigned n = 0; n < w->options.nodes; n++) {
        blkdev_destroy(w->nodes[n].disk);
        rpc_mem_transport_destroy(w->nodes[n].transport);
    }
    mediator_store_mem_destroy(w->mediator->store);
    rpc_mem_transport_destroy(w->mediator->transport);
    rpc_mem_transport_destroy(w->host);
    rpc_mem_net_destroy(w->net);
    free(w->mediator);
    free(w);
}

void node_look(const struct cluster_world *w, unsigned node, struct replica_info *out)
{
    cluster_look(w->nodes[node].cluster, out);
}

int node_member(const struct cluster_world *w, unsigned node, unsigned member)
{
    struct replica_info info;
    node_look(w, node, &info);
    for (uint32_t i = 0; i < info.configuration.count; i++)
        if (strcmp(info.configuration.members[i].node, w->nodes[member].name) == 0)
            return (int)i;
    return -1;
}

static bool is_formed(const struct cluster_world *w)
{
    struct replica_info info;
    node_look(w, 0, &info);
    if (info.role != REPLICA_LEADING || info.configuration.count != w->options.nodes)
        return false;
    for (uint32_t i = 0; i < info.configuration.count; i++)
        if (!info.configuration.members[i].in_sync && info.configuration.members[i].mode == MEMBER_SYNC)
            return false;
    return true;
}

void world_form(struct cluster_world *w)
{
    for (unsigned n = 0; n < w->options.nodes; n++)
        if (!w->nodes[n].up)
            node_start(w, n);
    for (unsigned i = 0; i < 60000 && !is_formed(w); i++)
        world_run(w, 1);
    assert(is_formed(w));
    world_run(w, 1000);
}

static void on_written(struct pod_manage *req, int status)
{
    assert(status == 0 || status == PS_ENOTPRIMARY || status == PS_EUNAVAILABLE);
    (void)status;
    *(bool *)req->user = false;
}

static void make_volume(struct cluster_node *n, struct pod *pod, const char *volume)
{
    assert(!n->writing);
    n->write = (struct pod_manage){.op = POD_VOLUME_CREATE, .size_bytes = 1 << 20, .user = &n->writing};
    (void)snprintf(n->write.name, sizeof n->write.name, "%s", volume);
    n->writing = true;
    const int rc = pod_manage(pod, &n->write, on_written);
    assert(rc == 0);
    (void)rc;
}

void node_write(struct cluster_world *w, unsigned node, const char *volume)
{
    struct cluster_node *n = &w->nodes[node];
    make_volume(n, member_pod(n->member), volume);
    node_turn(n);
}

static void on_alone(void *user, int status, struct pod *pod)
{
    assert(status == 0);
    (void)status;
    (void)pod;
    *(bool *)user = true;
}

static void turn_alone(struct pod *pod, struct blkdev *disk)
{
    for (unsigned i = 0; i < 1000; i++) {
        (void)pod_turn(pod, now_ns());
        (void)blkdev_mem_drain(disk);
    }
}

void node_use_alone(struct cluster_world *w, unsigned node, const char *volume)
{
    struct cluster_node *n = &w->nodes[node];
    const struct pod_config config = pod_config_of(n);
    struct ps_error err = {0};
    struct pod *pod;
    bool opened = false, closed = false;
    const int rc = pod_open(n->disk, &config, POD_FORMAT_BLANK, on_alone, &opened, &err, &pod);
    assert(rc == 0);
    (void)rc;
    turn_alone(pod, n->disk);
    assert(opened);
    make_volume(n, pod, volume);
    turn_alone(pod, n->disk);
    pod_close(pod, set, &closed);
    turn_alone(pod, n->disk);
    assert(closed && !n->writing);
    pod_destroy(pod);
}

/* ---- people */

void person_meet(struct cluster_world *w, struct person *person, const char *endpoint)
{
    const struct rpc_client_config config = {
        .endpoint = endpoint,
        .identity = {.name = "person", .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_CLIENT},
        .backoff_max_ns = 100 * MS};
    *person = (struct person){.world = w};
    const int rc = rpc_client_connect(w->host, &config, &person->client, NULL);
    assert(rc == 0);
    (void)rc;
}

static void forget(struct person *person)
{
    if (person->message)
        protobuf_c_message_free_unpacked(person->message, NULL);
    person->message = NULL;
    person->answers = 0;
    person->status = 0;
    person->detail[0] = '\0';
}

void person_leave(struct person *person)
{
    bool closed = false;
    rpc_client_close(person->client, set, &closed);
    for (unsigned i = 0; i < 1000 && !closed; i++)
        world_run(person->world, 1);
    assert(closed);
    forget(person);
}

static void on_reply(struct rpc_request *request, const struct rpc_reply *reply)
{
    struct person *person = container_of(request, struct person, request);
    person->answers++;
    person->status = reply->status;
    (void)snprintf(person->detail, sizeof person->detail, "%s", reply->detail);
    if (!reply->message)
        return;
    const size_t length = protobuf_c_message_get_packed_size(reply->message);
    uint8_t *copy = malloc(length + 1);
    (void)protobuf_c_message_pack(reply->message, copy);
    person->message = protobuf_c_message_unpack(reply->message->descriptor, NULL, length, copy);
    free(copy);
}

void person_start(struct person *person, const ProtobufCServiceDescriptor *service, const char *method,
                  const ProtobufCMessage *message)
{
    forget(person);
    person->request = (struct rpc_request){
        .service = service, .method = method, .message = message, .wait_for_ready = true};
    const int rc = rpc_client_call(person->client, &person->request, on_reply);
    assert(rc == 0);
    (void)rc;
}

void *person_ask(struct person *person, const ProtobufCServiceDescriptor *service, const char *method,
                 const ProtobufCMessage *message)
{
    person_start(person, service, method, message);
    for (unsigned i = 0; i < 60000 && person->answers == 0; i++)
        world_run(person->world, 1);
    assert(person->answers == 1);
    return person->message;
}
