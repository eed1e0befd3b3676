#include "node/host/peers.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/pool.h"

#define MS 1000000ull

enum {
    BEATS_MAX = 4, /* heartbeats without an answer: more say nothing new */
    LOG_CALLS_MAX = 16,
    COPY_CALLS_MAX = 6, /* two pieces, and what is asked while they are not answered */
    RECORD_CALLS_MAX = 16,
};
#define BEAT_TIMEOUT_NS   (1000 * MS)
#define RECORD_TIMEOUT_NS (1000 * MS)
/* A member that is stuck for so long has been removed before; its stream begins anew. */
#define LOG_TIMEOUT_NS   (10000 * MS)
#define SILENCE_NS       (750 * MS)
#define RECONNECT_MIN_NS (10 * MS)
#define RECONNECT_MAX_NS (250 * MS)

enum call_kind {
    CALL_HELLO,
    CALL_STATE,
    CALL_BEGIN,
    CALL_APPEND,
    CALL_COPY,
    CALL_RECORD,
};

struct peer_call {
    struct rpc_request rpc;
    struct list_node link; /* in the peer's free list */
    struct peer_link *peer;
    enum call_kind kind;
    uint64_t stream; /* of the log calls */
    uint64_t group;  /* of a record */
    void *payload;   /* from the pool */
    uint32_t bytes;
};

struct peer_link {
    struct peers *peers;
    unsigned index;
    char name[CONFIGURATION_NAME_MAX + 1];
    char address[PEERS_ADDRESS_MAX + 1];
    struct rpc_client *beat, *log;
    struct ps_error trouble;
    bool no_node; /* something else of its name answers there */
    bool was_up;  /* since `ended` was told */
    bool beat_up, log_up;
    bool lost;       /* it was told, and no stream has begun since */
    bool hello_sent; /* and not answered */
    uint64_t stream; /* counts the beginnings; calls of an older one are nobody's */
    struct list_node spare_beats, spare_log, spare_copy, spare_records;
    struct peer_call hello, beats[BEATS_MAX], log_calls[LOG_CALLS_MAX], copy_calls[COPY_CALLS_MAX],
        record_calls[RECORD_CALLS_MAX];
};

struct peers {
    struct peers_config config;
    unsigned count;
    struct peer_link links[PEERS_MAX];
    struct rpc_pool pool;
    bool closing;
    unsigned open; /* clients still to close */
    void (*closed)(void *user);
    void *closed_user;
};

/* ---- the list */

static int add(struct peers *peers, const char *name, size_t name_length, const char *address,
               size_t address_length, struct ps_error *err)
{
    if (peers->count == PEERS_MAX)
        return ps_error_set(err, PS_EINVAL, "more than %d peers: a pod has at most %d members", PEERS_MAX,
                            PEERS_MAX + 1);
    if (name_length > CONFIGURATION_NAME_MAX || address_length > PEERS_ADDRESS_MAX)
        return ps_error_set(err, PS_EINVAL, "a peer's name or address is too long");
    struct peer_link *p = &peers->links[peers->count];
    memcpy(p->name, name, name_length);
    memcpy(p->address, address, address_length);
    if (strcmp(p->name, peers->config.node_name) == 0)
        return ps_error_set(err, PS_EINVAL,
                            "%.63s is this node's own name; PSTORAGE_PEERS names the other nodes", p->name);
    if (peers_find(peers, p->name) >= 0)
        return ps_error_set(err, PS_EINVAL, "%.63s is there twice", p->name);
    p->peers = peers;
    p->index = peers->count++;
    list_init(&p->spare_beats);
    list_init(&p->spare_log);
    list_init(&p->spare_copy);
    list_init(&p->spare_records);
    for (unsigned i = 0; i < RECORD_CALLS_MAX; i++)
        list_push_back(&p->spare_records, &p->record_calls[i].link);
    for (unsigned i = 0; i < COPY_CALLS_MAX; i++)
        list_push_back(&p->spare_copy, &p->copy_calls[i].link);
    for (unsigned i = 0; i < BEATS_MAX; i++)
        list_push_back(&p->spare_beats, &p->beats[i].link);
    for (unsigned i = 0; i < LOG_CALLS_MAX; i++)
        list_push_back(&p->spare_log, &p->log_calls[i].link);
    return 0;
}

/* The setting's form was checked when it was loaded. */
static int parse(struct peers *peers, const char *text, struct ps_error *err)
{
    for (;;) {
        text += strspn(text, " \t");
        if (!*text)
            return 0;
        const size_t length = strcspn(text, " \t");
        const char *equals = memchr(text, '=', length);
        if (!equals)
            return ps_error_set(err, PS_EINVAL, "a peer is name=tcp://host:9500");
        const size_t name = (size_t)(equals - text);
        const int rc = add(peers, text, name, equals + 1, length - name - 1, err);
        if (rc)
            return rc;
        text += length;
    }
}

int peers_create(const struct peers_config *config, struct peers **out, struct ps_error *err)
{
    struct peers *peers = calloc(1, sizeof *peers);
    if (!peers)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    peers->config = *config;
    const int rc = parse(peers, config->list, err);
    if (rc)
        free(peers);
    else
        *out = peers;
    return rc;
}

unsigned peers_count(const struct peers *peers)
{
    return peers->count;
}

const char *peers_name(const struct peers *peers, unsigned peer)
{
    return peers->links[peer].name;
}

const char *peers_address(const struct peers *peers, unsigned peer)
{
    return peers->links[peer].address;
}

int peers_find(const struct peers *peers, const char *name)
{
    for (unsigned i = 0; i < peers->count; i++)
        if (strcmp(peers->links[i].name, name) == 0)
            return (int)i;
    return -1;
}

bool peers_connected(const struct peers *peers, unsigned peer)
{
    const struct peer_link *p = &peers->links[peer];
    return p->beat && !p->no_node && rpc_client_peer(p->beat);
}

const char *peers_trouble(const struct peers *peers, unsigned peer)
{
    if (peers_connected(peers, peer))
        return "";
    const char *why = peers->links[peer].trouble.detail;
    return why[0] ? why : "not connected yet";
}

/* ---- connections */

/* What was sent of the log will not be answered; said once a stream. */
static void stream_lost(struct peer_link *p)
{
    p->stream++;
    if (p->lost || p->peers->closing)
        return;
    p->lost = true;
    p->peers->config.events->lost(p->peers->config.user, p->index);
}

/* The name is right, or there would be no connection. */
static bool is_node(struct peer_link *p, const struct rpc_client *client)
{
    char line[256];
    if (rpc_client_peer(client)->role == PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE)
        return true;
    (void)ps_error_set(&p->trouble, PS_EPERM, "%.63s at %.100s is no node", p->name, p->address);
    (void)snprintf(line, sizeof line, "not spoken with: %.200s", p->trouble.detail);
    if (!p->no_node && p->peers->config.log)
        p->peers->config.log(p->peers->config.user, line);
    return false;
}

static void on_beat_state(void *user, int status, const char *detail)
{
    struct peer_link *p = user;
    struct peers *peers = p->peers;
    if (peers->closing)
        return;
    if (status == 0) {
        p->no_node = !is_node(p, p->beat);
        if (p->no_node)
            return;
        p->was_up = p->beat_up = true;
        p->trouble.detail[0] = '\0';
        peers->config.events->connected(peers->config.user, p->index, true);
        return;
    }
    (void)ps_error_set(&p->trouble, status, "%.250s", detail);
    /* What holds for one connection holds for the other one, which carries too much to be as impatient. */
    if (p->beat_up && p->log)
        rpc_client_reconnect(p->log, detail);
    p->beat_up = false;
    peers->config.events->connected(peers->config.user, p->index, false);
    if (p->was_up && rpc_client_refused(p->beat)) {
        p->was_up = false;
        peers->config.events->ended(peers->config.user, p->index);
    }
}

static void on_log_state(void *user, int status, const char *detail)
{
    struct peer_link *p = user;
    const bool was_up = p->log_up;
    (void)detail;
    p->log_up = status == 0;
    if (was_up && status && !p->peers->closing)
        stream_lost(p);
}

static int connect(struct peer_link *p, void (*on_state)(void *, int, const char *), rpc_log log,
                   uint64_t keepalive_ns, struct rpc_client **out, struct ps_error *err)
{
    const struct peers_config *c = &p->peers->config;
    const struct rpc_client_config config = {
        .endpoint = p->address,
        .identity = {.name = c->node_name,
                     .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE,
                     .cluster_id = c->cluster_name},
        .server_name = p->name,
        .keys = c->keys,
        .on_state = on_state,
        .log = log,
        .user = p,
        .backoff_min_ns = RECONNECT_MIN_NS,
        .backoff_max_ns = RECONNECT_MAX_NS,
        .keepalive_ns = keepalive_ns,
    };
    return rpc_client_connect(c->transport, &config, out, err);
}

static void beat_line(void *user, const char *line)
{
    const struct peer_link *p = user;
    if (p->peers->config.log)
        p->peers->config.log(p->peers->config.user, line);
}

int peers_connect(struct peers *peers, struct ps_error *err)
{
    int rc = 0;
    for (unsigned i = 0; i < peers->count && rc == 0; i++) {
        struct peer_link *p = &peers->links[i];
        rc = connect(p, on_beat_state, beat_line, SILENCE_NS, &p->beat, err);
        if (rc == 0) /* what it meets, the other one tells */
            rc = connect(p, on_log_state, NULL, 0, &p->log, err);
    }
    return rc;
}

static void client_closed(void *user)
{
    struct peers *peers = user;
    if (--peers->open > 0)
        return;
    void (*closed)(void *) = peers->closed;
    void *closed_user = peers->closed_user;
    rpc_pool_clear(&peers->pool);
    free(peers);
    closed(closed_user);
}

void peers_close(struct peers *peers, void (*closed)(void *user), void *user)
{
    peers->closing = true;
    peers->closed = closed;
    peers->closed_user = user;
    peers->open = 1;
    for (unsigned i = 0; i < peers->count; i++) {
        struct rpc_client *clients[] = {peers->links[i].beat, peers->links[i].log};
        for (unsigned k = 0; k < 2; k++)
            if (clients[k]) {
                peers->open++;
                rpc_client_close(clients[k], client_closed, peers);
            }
    }
    client_closed(peers);
}

/* ---- calls */

static void give_back(struct peer_call *call)
{
    struct peer_link *p = call->peer;
    if (call->payload)
        rpc_pool_put(&p->peers->pool, call->payload, call->bytes);
    call->payload = NULL;
    if (call->kind == CALL_HELLO)
        p->hello_sent = false;
    else
        list_push_back(call->kind == CALL_STATE    ? &p->spare_beats
                       : call->kind == CALL_COPY   ? &p->spare_copy
                       : call->kind == CALL_RECORD ? &p->spare_records
                                                   : &p->spare_log,
                       &call->link);
}

static void nonsense(struct peer_link *p, const struct ps_error *err)
{
    char line[400];
    (void)snprintf(line, sizeof line, "%.63s answers what makes no sense: %.252s", p->name, err->detail);
    if (p->peers->config.log)
        p->peers->config.log(p->peers->config.user, line);
}

static int take_hello(struct peer_link *p, const ProtobufCMessage *message, struct ps_error *err)
{
    struct replication_hello hello;
    int rc = hello_from_message((const void *)message, &hello, err);
    if (rc == 0 && strcmp(hello.node, p->name) != 0)
        rc = ps_error_set(err, PS_EINVAL, "its name is %.63s", hello.node);
    if (rc == 0)
        p->peers->config.events->hello(p->peers->config.user, p->index, &hello);
    return rc;
}

static int take_state(struct peer_link *p, const ProtobufCMessage *message, struct ps_error *err)
{
    struct replica_state_msg state;
    const int rc = state_from_message((const void *)message, &state, err);
    if (rc == 0)
        p->peers->config.events->state(p->peers->config.user, p->index, &state);
    return rc;
}

static int take_ack(struct peer_link *p, const ProtobufCMessage *message, struct ps_error *err)
{
    struct replica_ack_msg ack;
    const int rc = ack_from_message((const void *)message, &ack, err);
    if (rc == 0)
        p->peers->config.events->ack(p->peers->config.user, p->index, &ack);
    return rc;
}

static int take_copy_ack(struct peer_link *p, const ProtobufCMessage *message, struct ps_error *err)
{
    struct replica_copy_ack ack;
    const int rc = copy_ack_from_message((const void *)message, &ack, err);
    if (rc == 0)
        p->peers->config.events->copy_ack(p->peers->config.user, p->index, &ack);
    return rc;
}

/* Its failure is an answer, too. */
static void take_record(struct peer_link *p, uint64_t group, const struct rpc_reply *reply)
{
    struct replica_record_msg msg = {0};
    struct ps_error err = {0};
    int rc = reply->status;
    if (rc == 0)
        rc = record_from_message((const void *)reply->message, &msg, &err);
    if (rc == 0 && (!reply->payload || reply->payload_bytes == 0 || msg.group != group))
        rc = ps_error_set(&err, PS_EINVAL, "a record is missing, or another one's");
    if (rc && !reply->status)
        nonsense(p, &err);
    if (rc)
        msg = (struct replica_record_msg){.group = group, .status = rc};
    p->peers->config.events->record(p->peers->config.user, p->index, &msg, rc ? NULL : reply->payload,
                                    rc ? 0 : (uint32_t)reply->payload_bytes);
}

static void on_reply(struct rpc_request *request, const struct rpc_reply *reply)
{
    struct peer_call *call = container_of(request, struct peer_call, rpc);
    struct peer_link *p = call->peer;
    const enum call_kind kind = call->kind;
    const uint64_t group = call->group;
    const bool of_log = kind == CALL_BEGIN || kind == CALL_APPEND;
    const bool stale = of_log && call->stream != p->stream;
    struct ps_error err = {0};
    int rc = reply->status;
    give_back(call);
    if (p->peers->closing || stale)
        return;
    if (kind == CALL_RECORD) {
        take_record(p, group, reply);
        return;
    }
    if (rc == 0) {
        rc = kind == CALL_HELLO   ? take_hello(p, reply->message, &err)
             : kind == CALL_STATE ? take_state(p, reply->message, &err)
             : kind == CALL_COPY  ? take_copy_ack(p, reply->message, &err)
                                  : take_ack(p, reply->message, &err);
        if (rc)
            nonsense(p, &err);
    }
    if (rc && of_log)
        stream_lost(p);
}

static int send(struct peer_call *call, struct rpc_client *client, const char *method,
                const ProtobufCMessage *message, uint64_t timeout_ns)
{
    call->rpc = (struct rpc_request){
        .service = &pstorage__v1__replication__descriptor,
        .method = method,
        .message = message,
        .payload = call->payload,
        .payload_bytes = call->bytes,
        .timeout_ns = timeout_ns,
    };
    const int rc = rpc_client_call(client, &call->rpc, on_reply);
    if (rc)
        give_back(call);
    return rc;
}

void peers_hello(struct peers *peers, unsigned peer, const struct replication_hello *hello)
{
    struct peer_link *p = &peers->links[peer];
    Pstorage__V1__ReplicationHello message;
    if (!peers_connected(peers, peer) || p->hello_sent)
        return;
    p->hello_sent = true;
    p->hello = (struct peer_call){.peer = p, .kind = CALL_HELLO};
    hello_to_message(hello, &message);
    (void)send(&p->hello, p->beat, "Hello", &message.base, BEAT_TIMEOUT_NS);
}

static struct peer_call *take(struct list_node *spare, struct peer_link *p, enum call_kind kind)
{
    struct list_node *node = list_pop_front(spare);
    if (!node)
        return NULL;
    struct peer_call *call = container_of(node, struct peer_call, link);
    call->peer = p;
    call->kind = kind;
    call->stream = p->stream;
    call->payload = NULL;
    call->bytes = 0;
    return call;
}

void peers_state(struct peers *peers, unsigned peer, const struct replica_state_msg *msg)
{
    struct peer_link *p = &peers->links[peer];
    struct state_message message;
    struct peer_call *call = peers_connected(peers, peer) ? take(&p->spare_beats, p, CALL_STATE) : NULL;
    if (!call)
        return;
    state_to_message(msg, &message);
    (void)send(call, p->beat, "State", &message.message.base, BEAT_TIMEOUT_NS);
}

static bool log_is_up(const struct peer_link *p)
{
    return p->log && !p->no_node && rpc_client_peer(p->log);
}

struct rpc_client *peers_client(struct peers *peers, unsigned peer)
{
    return log_is_up(&peers->links[peer]) ? peers->links[peer].log : NULL;
}

bool peers_begin(struct peers *peers, unsigned peer, const struct replica_begin_msg *msg)
{
    struct peer_link *p = &peers->links[peer];
    struct begin_message message;
    p->stream++;
    p->lost = false;
    struct peer_call *call = log_is_up(p) ? take(&p->spare_log, p, CALL_BEGIN) : NULL;
    if (!call)
        return false;
    begin_to_message(msg, &message);
    return send(call, p->log, "Begin", &message.message.base, LOG_TIMEOUT_NS) == 0;
}

bool peers_append(struct peers *peers, unsigned peer, const struct replica_append_msg *msg, const void *batch,
                  uint32_t bytes)
{
    struct peer_link *p = &peers->links[peer];
    struct append_message message;
    struct peer_call *call = log_is_up(p) ? take(&p->spare_log, p, CALL_APPEND) : NULL;
    if (!call)
        return false;
    call->payload = rpc_pool_get(&peers->pool, bytes);
    if (!call->payload) {
        give_back(call);
        return false;
    }
    call->bytes = bytes;
    memcpy(call->payload, batch, bytes);
    append_to_message(msg, &message);
    return send(call, p->log, "Append", &message.message.base, LOG_TIMEOUT_NS) == 0;
}

void peers_copy(struct peers *peers, unsigned peer, const struct replica_copy_msg *msg, const void *data,
                uint32_t bytes)
{
    struct peer_link *p = &peers->links[peer];
    struct copy_message message;
    struct peer_call *call = log_is_up(p) ? take(&p->spare_copy, p, CALL_COPY) : NULL;
    if (!call)
        return;
    if (bytes) {
        call->payload = rpc_pool_get(&peers->pool, bytes);
        if (!call->payload) {
            give_back(call);
            return;
        }
        call->bytes = bytes;
        memcpy(call->payload, data, bytes);
    }
    copy_to_message(msg, &message);
    (void)send(call, p->log, "Copy", &message.message.base, LOG_TIMEOUT_NS);
}

bool peers_record(struct peers *peers, unsigned peer, const struct replica_record_msg *msg)
{
    struct peer_link *p = &peers->links[peer];
    Pstorage__V1__ReplicationRecord message;
    struct peer_call *call = log_is_up(p) ? take(&p->spare_records, p, CALL_RECORD) : NULL;
    if (!call)
        return false;
    call->group = msg->group;
    record_to_message(msg, &message);
    return send(call, p->log, "Record", &message.base, RECORD_TIMEOUT_NS) == 0;
}
