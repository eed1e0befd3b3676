#include "node/host/heartbeat_uv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/loop_uv.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "common/rpc/transport_nng.h"
#include "node/host/replication_proto.h"

#define NS_PER_MS 1000000ull

enum {
    BEATS_MAX = 3,    /* without an answer; after two the connection is replaced */
    MISSED_MAX = 2,   /* same */
    ATTEMPT_MAX = 4,  /* heartbeats that a connection may take to come about */
    CONNECTIONS = 16, /* at the listening port */
    ENDPOINT_MAX = 300,
};
#define RECONNECT_MIN_NS (10 * NS_PER_MS)
#define RECONNECT_MAX_NS (250 * NS_PER_MS)

struct beat {
    struct rpc_request rpc;
    struct beat_peer *peer;
    bool busy;
};

struct beat_peer {
    struct heartbeat_uv *h;
    unsigned index;
    char wanted[ENDPOINT_MAX], endpoint[ENDPOINT_MAX]; /* as told last; of the connection */
    struct rpc_client *client;
    bool up, closing;
    uint64_t begun_ns; /* when it was last without an answer: this attempt, or what it was connected by */
    unsigned missed;   /* heartbeats since it answered */
    struct beat beats[BEATS_MAX];
};

struct heartbeat_uv {
    struct heartbeat_uv_config config;
    char address[ENDPOINT_MAX];
    struct loop_thread *thread;
    struct mailbox_msg begin, end;
    uv_sem_t begun;
    int status; /* of the beginning, with its reason */
    struct ps_error reason;
    uint16_t port;

    /* Of the thread. */
    struct rpc_transport *transport;
    struct rpc_server *server;
    uv_timer_t timer;
    struct beat_peer peers[FORMATION_PEERS_MAX];
    bool stopping;
    unsigned open; /* clients, server, and the one who closes them */

    uv_mutex_t lock; /* of what follows, for a few instructions at a time; no other lock is taken under it */
    struct heartbeat core;
    char wanted[FORMATION_PEERS_MAX][ENDPOINT_MAX];
    bool connected[FORMATION_PEERS_MAX];
};

/* ---- the reactor's side */

void heartbeat_uv_exchange(struct heartbeat_uv *h, uint64_t now_ns, const struct replica_view *view,
                           struct replica_heard *heard)
{
    uv_mutex_lock(&h->lock);
    heartbeat_exchange(&h->core, now_ns, view, heard);
    uv_mutex_unlock(&h->lock);
}

bool heartbeat_uv_peer(struct heartbeat_uv *h, unsigned peer, const char *endpoint)
{
    assert(peer < h->config.peer_count);
    uv_mutex_lock(&h->lock);
    (void)snprintf(h->wanted[peer], sizeof h->wanted[peer], "%s", endpoint);
    const bool connected = h->connected[peer];
    uv_mutex_unlock(&h->lock);
    return connected;
}

uint16_t heartbeat_uv_port(const struct heartbeat_uv *h)
{
    return h->port;
}

/* ---- what peers ask */

static void serve_beat(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct heartbeat_uv *h = user;
    struct heartbeat_msg in, out;
    Pstorage__V1__HeartbeatState reply;
    struct ps_error err;
    if (beat_from_message((const void *)message, &in, &err)) {
        rpc_call_fail(call, err.status, err.detail);
        return;
    }
    uv_mutex_lock(&h->lock);
    const bool answered = heartbeat_asked(&h->core, h->config.now_ns(), &in, &out);
    uv_mutex_unlock(&h->lock);
    if (!answered) {
        rpc_call_fail(call, PS_EPRECONDITION, "this node has nothing to say");
        return;
    }
    beat_to_message(&out, &reply);
    rpc_call_reply(call, &reply.base);
}

static int admit(void *user, const struct rpc_peer *peer, struct ps_error *err)
{
    const struct heartbeat_uv *h = user;
    for (unsigned i = 0; i < h->config.peer_count; i++)
        if (peer->role == PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE &&
            strcmp(peer->name, h->config.peers[i]) == 0)
            return 0;
    return ps_error_set(err, PS_EPERM, "only the peers of %.63s send heartbeats here", h->config.node_name);
}

static int listen_for_peers(struct heartbeat_uv *h, struct ps_error *err)
{
    static const struct rpc_method methods[] = {{.name = "Beat", .handler = serve_beat}};
    static const struct rpc_service service = {
        .descriptor = &pstorage__v1__heartbeat__descriptor, .methods = methods, .nmethods = 1};
    const struct rpc_server_config config = {
        .identity = {.name = h->config.node_name,
                     .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE,
                     .cluster_id = h->config.cluster_name},
        .keys = h->config.keys,
        .admit = admit,
        .connections_max = CONNECTIONS,
        .user = h,
    };
    const int rc = rpc_server_create(h->transport, &config, &h->server);
    if (rc)
        return ps_error_set(err, rc, "%s", ps_status_text(rc));
    rpc_server_register(h->server, &service, h);
    return rpc_server_listen(h->server, h->address, err);
}

/* ---- what peers are asked */

static void set_up(struct beat_peer *p, bool up)
{
    p->up = up;
    uv_mutex_lock(&p->h->lock);
    p->h->connected[p->index] = up;
    uv_mutex_unlock(&p->h->lock);
}

static void on_state(void *user, int status, const char *detail)
{
    struct beat_peer *p = user;
    (void)detail;
    /* Another node may have got the port meanwhile. */
    set_up(p, status == 0 && !p->closing &&
                  strcmp(rpc_client_peer(p->client)->name, p->h->config.peers[p->index]) == 0);
    p->missed = 0;
    p->begun_ns = p->h->config.now_ns();
}

static void dial(struct beat_peer *p)
{
    struct heartbeat_uv *h = p->h;
    const struct rpc_client_config config = {
        .endpoint = p->wanted,
        .identity = {.name = h->config.node_name,
                     .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE,
                     .cluster_id = h->config.cluster_name},
        .keys = h->config.keys,
        .on_state = on_state,
        .user = p,
        .backoff_min_ns = RECONNECT_MIN_NS,
        .backoff_max_ns = RECONNECT_MAX_NS,
    };
    struct ps_error err;
    p->missed = 0;
    p->begun_ns = h->config.now_ns();
    if (rpc_client_connect(h->transport, &config, &p->client, &err) == 0)
        memcpy(p->endpoint, p->wanted, sizeof p->endpoint);
}

static void transport_closed(void *user)
{
    (void)user;
}

static void one_closed(struct heartbeat_uv *h)
{
    if (--h->open == 0)
        rpc_transport_nng_close(h->transport, transport_closed, h);
}

static void client_closed(void *user)
{
    struct beat_peer *p = user;
    p->client = NULL;
    p->closing = false;
    if (p->h->stopping)
        one_closed(p->h);
    else
        dial(p);
}

static void hang_up(struct beat_peer *p)
{
    if (!p->client || p->closing)
        return;
    p->closing = true;
    set_up(p, false);
    rpc_client_close(p->client, client_closed, p);
}

static void answered(struct rpc_request *request, const struct rpc_reply *reply)
{
    struct beat *beat = container_of(request, struct beat, rpc);
    struct beat_peer *p = beat->peer;
    struct heartbeat_uv *h = p->h;
    struct heartbeat_msg msg;
    beat->busy = false;
    if (reply->status == 0 || reply->status == PS_EPRECONDITION)
        p->missed = 0;
    if (reply->status || beat_from_message((const void *)reply->message, &msg, NULL))
        return;
    uv_mutex_lock(&h->lock);
    heartbeat_answered(&h->core, h->config.now_ns(), &msg);
    uv_mutex_unlock(&h->lock);
}

static void send_beat(struct beat_peer *p, const struct heartbeat_msg *msg)
{
    Pstorage__V1__HeartbeatState message;
    struct beat *beat = NULL;
    for (unsigned i = 0; i < BEATS_MAX; i++)
        if (!p->beats[i].busy)
            beat = &p->beats[i];
    p->missed++;
    if (!beat)
        return;
    beat_to_message(msg, &message);
    beat->peer = p;
    beat->rpc = (struct rpc_request){
        .service = &pstorage__v1__heartbeat__descriptor,
        .method = "Beat",
        .message = &message.base,
        .timeout_ns = BEATS_MAX * p->h->config.options.heartbeat_ns,
    };
    beat->busy = rpc_client_call(p->client, &beat->rpc, answered) == 0;
}

/* After a cut TCP may wait for seconds before it tries again: a new connection is there at once. */
static void look_after(struct beat_peer *p)
{
    const struct replica_options *o = &p->h->config.options;
    const bool moved = p->client && strcmp(p->endpoint, p->wanted) != 0;
    const bool hangs = p->client && !p->up && !rpc_client_refused(p->client) &&
                       p->h->config.now_ns() - p->begun_ns >= ATTEMPT_MAX * o->heartbeat_ns;
    if (moved || hangs || p->missed >= MISSED_MAX)
        hang_up(p);
    else if (!p->client && p->wanted[0])
        dial(p);
}

static void tick(uv_timer_t *timer)
{
    struct heartbeat_uv *h = timer->data;
    struct heartbeat_msg msg;
    const uint64_t now_ns = h->config.now_ns(); /* the lease's stamp: before anything is queued */
    uv_mutex_lock(&h->lock);
    const bool speaks = heartbeat_next(&h->core, now_ns, &msg);
    for (unsigned i = 0; i < h->config.peer_count; i++)
        memcpy(h->peers[i].wanted, h->wanted[i], sizeof h->wanted[i]);
    uv_mutex_unlock(&h->lock);
    for (unsigned i = 0; i < h->config.peer_count; i++) {
        struct beat_peer *p = &h->peers[i];
        look_after(p);
        if (speaks && p->up && !p->closing)
            send_beat(p, &msg);
    }
}

/* ---- life */

static void server_closed(void *user)
{
    one_closed(user);
}

static void close_all(struct heartbeat_uv *h)
{
    h->stopping = true;
    h->open = 1;
    for (unsigned i = 0; i < h->config.peer_count; i++)
        if (h->peers[i].client) {
            h->open++;
            hang_up(&h->peers[i]);
        }
    if (h->server) {
        h->open++;
        rpc_server_close(h->server, server_closed, h);
    }
    one_closed(h);
}

static void begin(struct mailbox_msg *message)
{
    struct heartbeat_uv *h = container_of(message, struct heartbeat_uv, begin);
    uv_loop_t *loop = loop_thread_loop(h->thread);
    const uint64_t every_ms = h->config.options.heartbeat_ns / NS_PER_MS;
    h->status = rpc_transport_nng_create(loop, &h->transport);
    if (h->status) {
        (void)ps_error_set(&h->reason, h->status, "%s", ps_status_text(h->status));
    } else {
        h->status = listen_for_peers(h, &h->reason);
        if (h->status) {
            close_all(h);
        } else {
            h->port = (uint16_t)strtoul(strrchr(rpc_server_address(h->server, 0), ':') + 1, NULL, 10);
            (void)uv_timer_init(loop, &h->timer);
            h->timer.data = h;
            (void)uv_timer_start(&h->timer, tick, every_ms, every_ms);
        }
    }
    uv_sem_post(&h->begun);
}

static void end(struct mailbox_msg *message)
{
    struct heartbeat_uv *h = container_of(message, struct heartbeat_uv, end);
    uv_close((uv_handle_t *)&h->timer, NULL);
    close_all(h);
}

static void finish(struct heartbeat_uv *h)
{
    loop_thread_stop(h->thread);
    uv_sem_destroy(&h->begun);
    uv_mutex_destroy(&h->lock);
    free(h);
}

int heartbeat_uv_start(const struct heartbeat_uv_config *config, struct heartbeat_uv **out,
                       struct ps_error *err)
{
    struct heartbeat_uv *h = calloc(1, sizeof *h);
    if (!h)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    h->config = *config;
    assert(config->peer_count <= FORMATION_PEERS_MAX && config->options.heartbeat_ns >= NS_PER_MS);
    (void)snprintf(h->address, sizeof h->address, "%s", config->listen);
    heartbeat_init(&h->core, &config->options);
    for (unsigned i = 0; i < config->peer_count; i++) {
        h->peers[i].h = h;
        h->peers[i].index = i;
    }
    h->begin.run = begin;
    h->end.run = end;
    if (uv_mutex_init(&h->lock) || uv_sem_init(&h->begun, 0)) {
        free(h);
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    }
    const int rc = loop_thread_start("heartbeat", 4, &h->thread);
    if (rc) {
        uv_sem_destroy(&h->begun);
        uv_mutex_destroy(&h->lock);
        free(h);
        return ps_error_set(err, rc, "no thread is to be had for heartbeats");
    }
    (void)loop_thread_post(h->thread, &h->begin);
    uv_sem_wait(&h->begun);
    if (h->status) {
        const int status = ps_error_set(err, h->status, "%s", h->reason.detail);
        finish(h);
        return status;
    }
    *out = h;
    return 0;
}

void heartbeat_uv_stop(struct heartbeat_uv *h)
{
    (void)loop_thread_post(h->thread, &h->end);
    finish(h);
}
