#include "common/rpc/server.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/channel.h"
#include "common/rpc/greeting.h"
#include "common/rpc/message.h"
#include "common/rpc/metadata.h"
#include "common/rpc/news.h"

enum {
    SERVICES_MAX = 32,
    LISTENERS_MAX = 8,
    CALLS_KEPT = 256
};

struct entry {
    uint64_t id;
    const ProtobufCMethodDescriptor *descriptor;
    const struct rpc_method *method;
    void *service;
};

struct listener {
    struct rpc_listener base;
    struct rpc_server *server;
    bool open;
};

struct rpc_server {
    struct rpc_transport *transport;
    struct rpc_task task;
    struct rpc_self self;
    int (*admit)(void *user, const struct rpc_peer *peer, struct ps_error *err);
    rpc_log log;
    struct rpc_news news;
    void *user;
    uint32_t connections_max;
    size_t bytes_max;

    struct {
        struct rpc_service service;
        void *user;
    } services[SERVICES_MAX];
    size_t nservices;
    struct entry methods[RPC_METHODS_MAX]; /* in the order of their ids */
    size_t nmethods;
    struct listener listeners[LISTENERS_MAX];
    size_t nlisteners;

    struct list_node connections;
    uint32_t nconnections;
    uint64_t next_connection;
    size_t bytes;       /* held by all connections */
    bool someone_waits; /* a connection was held back because of `bytes` */
    uint64_t calls, refused;

    struct rpc_pool pool;
    struct rpc_arena arena;
    struct list_node kept; /* calls that are free */
    uint32_t nkept;

    bool closing;
    void (*closed)(void *user);
    void *closed_user;
};

struct connection {
    struct list_node link;
    struct rpc_server *server;
    struct rpc_channel channel;
    struct rpc_task task;
    uint64_t id;
    struct rpc_peer peer;
    /* Between Welcome and Proof: what the client must answer. */
    bool proof_due;
    uint8_t proof[RPC_PROOF_BYTES];
    bool gone; /* the channel is closed; freed when the last call has ended */
    uint64_t last_call_id;
    struct list_node calls, cancelled;
    uint32_t ncalls, nwaiting; /* waiting: streams that were told PS_ELIMIT */
    size_t call_bytes, held_bytes;
    uint64_t earliest_ns, greet_by_ns;
};

struct rpc_call {
    struct list_node link;
    struct connection *conn;
    const struct entry *entry;
    uint64_t id, deadline_ns;
    bool cancelled, waits_ready;
    void (*on_cancel)(struct rpc_call *call);
    void (*on_ready)(struct rpc_call *call);
    void *user;
    uint8_t *payload, *reply, *metadata;
    uint32_t payload_bytes, reply_bytes, metadata_bytes;
    size_t cost;
};

/* ---- what is held */

/* Brings the sums up to date after anything changed for this connection. */
static void account(struct connection *conn)
{
    struct rpc_server *s = conn->server;
    const size_t held = conn->call_bytes + (conn->gone ? 0 : rpc_channel_unsent(&conn->channel));
    s->bytes = s->bytes - conn->held_bytes + held;
    conn->held_bytes = held;
}

static bool may_read(const struct connection *conn)
{
    const struct rpc_server *s = conn->server;
    /* A connection that holds nothing may always have one call, or a full server would never move again. */
    return !s->closing && conn->held_bytes < RPC_CONNECTION_BYTES_MAX &&
           (conn->held_bytes == 0 || s->bytes < s->bytes_max);
}

static bool server_admit(struct rpc_channel *channel)
{
    struct connection *conn = container_of(channel, struct connection, channel);
    account(conn);
    if (may_read(conn))
        return true;
    conn->server->someone_waits = true;
    return false;
}

static void resume(struct connection *conn)
{
    account(conn);
    if (!conn->gone && may_read(conn))
        rpc_channel_resume(&conn->channel);
    struct rpc_server *s = conn->server;
    if (!s->someone_waits || s->bytes >= s->bytes_max)
        return;
    s->someone_waits = false;
    list_for_each(node, &s->connections)
    {
        struct connection *other = container_of(node, struct connection, link);
        if (!other->gone)
            rpc_channel_resume(&other->channel); /* asks again, and waits again if it may not */
    }
}

/* ---- the life of a call */

static struct rpc_call *new_call(struct connection *conn)
{
    struct rpc_server *s = conn->server;
    struct list_node *node = list_pop_front(&s->kept);
    struct rpc_call *call = node ? container_of(node, struct rpc_call, link) : malloc(sizeof *call);
    if (!call)
        return NULL;
    s->nkept -= node != NULL;
    *call = (struct rpc_call){.conn = conn};
    list_push_back(&conn->calls, &call->link);
    conn->ncalls++;
    s->calls++;
    return call;
}

static void end_call(struct rpc_call *call)
{
    struct connection *conn = call->conn;
    struct rpc_server *s = conn->server;
    list_remove(&call->link);
    if (call->payload)
        rpc_pool_put(&s->pool, call->payload, call->payload_bytes);
    if (call->reply)
        rpc_pool_put(&s->pool, call->reply, call->reply_bytes);
    free(call->metadata);
    conn->call_bytes -= call->cost;
    conn->nwaiting -= call->waits_ready;
    conn->ncalls--;
    if (s->nkept < CALLS_KEPT) {
        list_push_front(&s->kept, &call->link);
        s->nkept++;
    } else {
        free(call);
    }
    resume(conn);
    if (conn->ncalls == 0 && (conn->gone || s->closing))
        rpc_task_wake(&conn->task);
}

static void cancel(struct rpc_call *call)
{
    if (call->cancelled)
        return;
    call->cancelled = true;
    list_remove(&call->link);
    list_push_back(&call->conn->cancelled, &call->link);
    call->conn->nwaiting -= call->waits_ready;
    call->waits_ready = false;
    if (call->on_cancel)
        call->on_cancel(call); /* may end the call */
}

static void cancel_all(struct connection *conn)
{
    while (!list_empty(&conn->calls))
        cancel(container_of(conn->calls.next, struct rpc_call, link));
}

/* What a reply buffer that was sent costs is counted as unsent meanwhile. */
static void reply_sent(void *user, const void *data, size_t length)
{
    struct rpc_server *s = user;
    rpc_pool_put(&s->pool, (void *)(uintptr_t)data, length);
}

static void send_end(struct rpc_call *call, int status, const ProtobufCMessage *message)
{
    struct connection *conn = call->conn;
    if (!conn->gone) {
        struct rpc_frame frame = {.kind = RPC_RESPONSE, .call_id = call->id, .status = status};
        const struct rpc_outgoing payload = {call->reply, call->reply_bytes, reply_sent, conn->server};
        const bool with_payload = status == PS_OK && call->reply;
        if (with_payload)
            call->reply = NULL; /* the channel has it now */
        (void)rpc_channel_send(&conn->channel, &frame, NULL, 0, message, with_payload ? &payload : NULL);
    }
    end_call(call);
}

void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *message)
{
    assert(!call->entry->method->streaming && message->descriptor == call->entry->descriptor->output);
    send_end(call, PS_OK, message);
}

void rpc_call_fail(struct rpc_call *call, int status, const char *detail)
{
    assert(status != PS_OK);
    Pstorage__V1__Failure failure = PSTORAGE__V1__FAILURE__INIT;
    char text[sizeof((struct ps_error *)0)->detail];
    (void)snprintf(text, sizeof text, "%s", detail ? detail : ps_status_text(status));
    rpc_utf8_repair(text);
    failure.detail = text;
    send_end(call, status, &failure.base);
}

void rpc_call_stream_end(struct rpc_call *call)
{
    assert(call->entry->method->streaming);
    send_end(call, PS_OK, NULL);
}

int rpc_call_stream_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct connection *conn = call->conn;
    assert(call->entry->method->streaming && message->descriptor == call->entry->descriptor->output);
    if (call->cancelled || conn->gone || !rpc_channel_is_open(&conn->channel))
        return PS_ECANCELLED;
    if (rpc_channel_unsent(&conn->channel) >= RPC_STREAM_UNSENT_MAX) {
        conn->nwaiting += !call->waits_ready;
        call->waits_ready = true;
        return PS_ELIMIT;
    }
    struct rpc_frame frame = {.kind = RPC_MESSAGE, .call_id = call->id};
    if (!rpc_channel_send(&conn->channel, &frame, NULL, 0, message, NULL))
        return PS_ECANCELLED;
    account(conn);
    return PS_OK;
}

/* ---- frames that come in */

static int admit(struct connection *conn, struct ps_error *err)
{
    const struct rpc_server *s = conn->server;
    struct ps_error why = {.detail = ""};
    const int status = s->admit ? s->admit(s->user, &conn->peer, &why) : PS_OK;
    return status ? ps_error_set(err, status, "%s", why.detail[0] ? why.detail : ps_status_text(status))
                  : PS_OK;
}

static void send_greeting(struct connection *conn, const ProtobufCMessage *message, bool last)
{
    struct rpc_frame frame = {.kind = RPC_GREETING};
    (void)rpc_channel_send(&conn->channel, &frame, NULL, 0, message, NULL);
    if (!last)
        return;
    conn->channel.greeted = true;
    conn->greet_by_ns = RPC_NEVER;
}

static int on_hello(struct connection *conn, const Pstorage__V1__Hello *hello, struct ps_error *err)
{
    struct rpc_server *s = conn->server;
    const struct rpc_link *link = conn->channel.link;
    const struct rpc_key *key;
    uint8_t nonce[RPC_NONCE_BYTES], proof[RPC_PROOF_BYTES];
    int status = rpc_greeting_from_hello(hello, link->address, &conn->peer, err);
    if (!status)
        status = rpc_greeting_judge_client(&s->self, link, hello, &conn->peer, &key, err);
    if (!status && !key)
        status = admit(conn, err);
    if (status)
        return status;
    if (key && !s->transport->ops->random(s->transport, nonce, sizeof nonce))
        return ps_error_set(err, PS_EINTERNAL, "the system gives no random numbers");
    Pstorage__V1__Welcome welcome;
    rpc_greeting_welcome(&s->self, &conn->peer, key, nonce, &welcome);
    if (key && (!rpc_proof_make(key, RPC_PROVES_SERVER, hello, &welcome, proof) ||
                !rpc_proof_make(key, RPC_PROVES_CLIENT, hello, &welcome, conn->proof)))
        return ps_error_set(err, PS_EINTERNAL, "HMAC-SHA256 is not to be had");
    if (key)
        welcome.proof = (ProtobufCBinaryData){sizeof proof, proof};
    conn->proof_due = key != NULL;
    send_greeting(conn, &welcome.base, !conn->proof_due);
    return PS_OK;
}

static int on_proof(struct connection *conn, const Pstorage__V1__Proof *proof, struct ps_error *err)
{
    if (!rpc_proof_is(conn->proof, &proof->proof))
        return ps_error_set(err, PS_EUNAUTHENTICATED,
                            "the client's proof is wrong: it does not know the cluster key");
    conn->proof_due = false;
    conn->peer.authenticated = true;
    const int status = admit(conn, err);
    if (status)
        return status;
    const Pstorage__V1__Accepted accepted_message = PSTORAGE__V1__ACCEPTED__INIT;
    send_greeting(conn, &accepted_message.base, true);
    return PS_OK;
}

/* The client refuses us, and says why; its words are worth a line in the log, no more. */
static void on_refusal(struct connection *conn, const struct rpc_incoming *in)
{
    struct ps_error bad, reason;
    const ProtobufCMessage *message = rpc_message_unpack(
        &conn->server->arena, &pstorage__v1__failure__descriptor, in->body, in->frame->body_bytes, &bad);
    (void)ps_error_set(&reason, in->frame->status, "the client refuses: %s",
                       message ? ((const Pstorage__V1__Failure *)message)->detail
                               : ps_status_text(in->frame->status));
    rpc_channel_close(&conn->channel, reason.status, reason.detail);
}

static int on_greeting(struct connection *conn, const struct rpc_incoming *in, struct ps_error *err)
{
    if (in->frame->status != PS_OK) { /* without keys it comes when the greeting is over for us */
        on_refusal(conn, in);
        return PS_OK;
    }
    if (conn->channel.greeted)
        return ps_error_set(err, PS_EPROTOCOL, "an unexpected greeting");
    const ProtobufCMessage *message = rpc_message_unpack(&conn->server->arena,
                                                         conn->proof_due ? &pstorage__v1__proof__descriptor
                                                                         : &pstorage__v1__hello__descriptor,
                                                         in->body, in->frame->body_bytes, err);
    if (!message)
        return err->status;
    return conn->proof_due ? on_proof(conn, (const Pstorage__V1__Proof *)message, err)
                           : on_hello(conn, (const Pstorage__V1__Hello *)message, err);
}

static const struct entry *find_method(const struct rpc_server *s, uint64_t id)
{
    size_t low = 0, high = s->nmethods;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (s->methods[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->nmethods && s->methods[low].id == id ? &s->methods[low] : NULL;
}

static void set_deadline(struct connection *conn, struct rpc_call *call, uint64_t timeout_ns)
{
    const uint64_t now = rpc_now(conn->server->transport);
    call->deadline_ns = timeout_ns < RPC_NEVER - now ? now + timeout_ns : RPC_NEVER;
    if (call->deadline_ns < conn->earliest_ns) {
        conn->earliest_ns = call->deadline_ns;
        rpc_task_at(&conn->task,
                    conn->earliest_ns < conn->greet_by_ns ? conn->earliest_ns : conn->greet_by_ns);
    }
}

/* Refusals that end the call, not the connection. */
static void start_call(struct connection *conn, struct rpc_call *call, const struct rpc_incoming *in)
{
    struct rpc_server *s = conn->server;
    call->entry = find_method(s, in->frame->method_id);
    if (!call->entry) {
        rpc_call_fail(call, PS_EUNIMPLEMENTED, "this server has no such method");
        return;
    }
    if (call->payload_bytes && !call->entry->method->takes_payload) {
        rpc_call_fail(call, PS_EINVAL, "this method takes no payload");
        return;
    }
    struct ps_error err;
    const ProtobufCMessage *request =
        rpc_message_unpack(&s->arena, call->entry->descriptor->input, in->body, in->frame->body_bytes, &err);
    if (!request) {
        rpc_call_fail(call, err.status, err.detail);
        return;
    }
    set_deadline(conn, call, in->frame->timeout_ns);
    call->entry->method->handler(call->entry->service, call, request);
}

static int on_request(struct connection *conn, struct rpc_incoming *in, struct ps_error *err)
{
    const struct rpc_frame *f = in->frame;
    if (f->call_id <= conn->last_call_id)
        return ps_error_set(err, PS_EPROTOCOL, "call id %llu was used before",
                            (unsigned long long)f->call_id);
    if (conn->ncalls >= RPC_CALLS_MAX)
        return ps_error_set(err, PS_ELIMIT, "more than %d calls in flight", RPC_CALLS_MAX);
    if (rpc_metadata_check(in->metadata, f->metadata_bytes, err))
        return err->status;
    conn->last_call_id = f->call_id;
    struct rpc_call *call = new_call(conn);
    uint8_t *metadata = f->metadata_bytes ? malloc(f->metadata_bytes) : NULL;
    if (!call || (f->metadata_bytes && !metadata)) {
        free(metadata);
        if (call)
            end_call(call);
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    }
    if (metadata)
        memcpy(metadata, in->metadata, f->metadata_bytes);
    call->id = f->call_id;
    call->metadata = metadata;
    call->metadata_bytes = f->metadata_bytes;
    call->payload = in->payload;
    call->payload_bytes = f->payload_bytes;
    in->payload = NULL;
    call->cost = sizeof *call + f->metadata_bytes + rpc_pool_cost(f->payload_bytes);
    conn->call_bytes += call->cost;
    start_call(conn, call, in);
    return PS_OK;
}

static int on_cancel(struct connection *conn, const struct rpc_frame *f, struct ps_error *err)
{
    if (f->call_id > conn->last_call_id)
        return ps_error_set(err, PS_EPROTOCOL, "a call is cancelled that was never made");
    list_for_each(node, &conn->calls)
    {
        struct rpc_call *call = container_of(node, struct rpc_call, link);
        if (call->id == f->call_id) {
            cancel(call);
            break;
        }
    }
    return PS_OK; /* its end was on its way already */
}

static int server_frame(struct rpc_channel *channel, struct rpc_incoming *in, struct ps_error *err)
{
    struct connection *conn = container_of(channel, struct connection, channel);
    int status = PS_OK;
    if (in->frame->kind == RPC_GREETING)
        status = on_greeting(conn, in, err);
    else if (!channel->greeted)
        status = ps_error_set(err, PS_EPROTOCOL, "a frame of kind %d before %s", (int)in->frame->kind,
                              conn->proof_due ? "the proof of the cluster key" : "the greeting");
    else if (in->frame->kind == RPC_REQUEST)
        status = on_request(conn, in, err);
    else if (in->frame->kind == RPC_CANCEL)
        status = on_cancel(conn, in->frame, err);
    else if (in->frame->kind == RPC_GOODBYE)
        rpc_channel_close(channel, PS_EUNAVAILABLE, "the client said goodbye");
    else
        status = ps_error_set(err, PS_EPROTOCOL, "a frame of kind %d from a client", (int)in->frame->kind);
    rpc_arena_reset(&conn->server->arena);
    account(conn);
    return status;
}

static void server_progress(struct rpc_channel *channel)
{
    struct connection *conn = container_of(channel, struct connection, channel);
    resume(conn);
    if (conn->nwaiting > 0 && rpc_channel_unsent(channel) < RPC_STREAM_UNSENT_MAX / 2)
        rpc_task_wake(&conn->task);
}

/* ---- connections */

/* One line for the log, unless the same was said of that machine a moment ago. */
static void log_end(const struct connection *conn, const struct ps_error *reason)
{
    struct rpc_server *s = conn->server;
    const char *address = conn->channel.link->address, *port = strrchr(address, ':');
    const char *name = conn->peer.name[0] ? conn->peer.name : "an unknown peer";
    char line[512], news[512];
    unsigned held_back;
    if (!s->log || reason->status == PS_EUNAVAILABLE || reason->status == PS_ECANCELLED)
        return; /* left, or was sent away by us: no news */
    (void)snprintf(news, sizeof news, "%.*s %d %s", port ? (int)(port - address) : (int)strlen(address),
                   address, reason->status, reason->detail);
    if (!rpc_news_is(&s->news, news, rpc_now(s->transport), &held_back))
        return;
    const int used = snprintf(line, sizeof line, "rpc: connection from %s%s (%s) closed: %s: %s",
                              conn->channel.greeted || !conn->peer.name[0] ? "" : "a peer that calls itself ",
                              name, address, ps_status_text(reason->status), reason->detail);
    if (held_back > 0 && used > 0 && (size_t)used < sizeof line)
        (void)snprintf(line + used, sizeof line - (size_t)used, " (and %u such lines not shown)", held_back);
    s->log(s->user, line);
}

static void server_gone(struct rpc_channel *channel, const struct ps_error *reason)
{
    struct connection *conn = container_of(channel, struct connection, channel);
    struct rpc_server *s = conn->server;
    log_end(conn, reason);
    if (reason->status != PS_EUNAVAILABLE && reason->status != PS_ECANCELLED &&
        reason->status != PS_EDEADLINE)
        s->refused++;
    conn->gone = true;
    cancel_all(conn);
    resume(conn);
    rpc_task_wake(&conn->task);
}

/* All calls have ended and nothing more can come: forgets the connection. */
static void dispose(struct connection *conn)
{
    struct rpc_server *s = conn->server;
    assert(conn->held_bytes == 0 && conn->nwaiting == 0);
    if (conn->channel.greeted)
        for (size_t i = 0; i < s->nservices; i++)
            if (s->services[i].service.disconnected)
                s->services[i].service.disconnected(s->services[i].user, conn->id);
    rpc_task_stop(&conn->task);
    list_remove(&conn->link);
    s->nconnections--;
    free(conn);
    if (s->closing)
        rpc_task_wake(&s->task);
}

static void expire(struct connection *conn, uint64_t now_ns)
{
    uint64_t earliest = RPC_NEVER;
    struct list_node later;
    list_init(&later);
    /* Ending a call in its callback may end others: what was looked at is set aside. */
    for (struct list_node *node; (node = list_pop_front(&conn->calls));) {
        struct rpc_call *call = container_of(node, struct rpc_call, link);
        list_push_back(&later, node);
        if (call->deadline_ns <= now_ns)
            cancel(call);
        else if (call->deadline_ns < earliest)
            earliest = call->deadline_ns;
    }
    list_splice_back(&conn->calls, &later);
    conn->earliest_ns = earliest;
}

static void wake_streams(struct connection *conn)
{
    struct list_node later;
    list_init(&later);
    for (struct list_node *node; (node = list_pop_front(&conn->calls));) {
        struct rpc_call *call = container_of(node, struct rpc_call, link);
        list_push_back(&later, node);
        if (!call->waits_ready)
            continue;
        call->waits_ready = false;
        conn->nwaiting--;
        if (call->on_ready)
            call->on_ready(call);
    }
    list_splice_back(&conn->calls, &later);
}

static void connection_turn(struct rpc_task *task, uint64_t now_ns)
{
    struct connection *conn = container_of(task, struct connection, task);
    if (now_ns >= conn->earliest_ns)
        expire(conn, now_ns);
    if (conn->server->closing)
        cancel_all(conn);
    if (!conn->gone) {
        if (now_ns >= conn->greet_by_ns && !conn->channel.greeted)
            rpc_channel_close(&conn->channel, PS_EDEADLINE, "no greeting in time");
        if (conn->nwaiting > 0 && rpc_channel_unsent(&conn->channel) < RPC_STREAM_UNSENT_MAX / 2)
            wake_streams(conn);
        if (conn->server->closing && conn->ncalls == 0)
            rpc_channel_leave(&conn->channel, PS_EUNAVAILABLE, "the server shuts down");
    } else if (conn->ncalls == 0) {
        dispose(conn);
        return;
    }
    const uint64_t next = conn->earliest_ns < conn->greet_by_ns ? conn->earliest_ns : conn->greet_by_ns;
    if (next > now_ns && next != task->deadline_ns)
        rpc_task_at(task, next);
}

static void accepted(struct rpc_listener *listener, struct rpc_link *link)
{
    static const struct rpc_channel_events events = {server_admit, server_frame, server_progress,
                                                     server_gone};
    struct rpc_server *s = container_of(listener, struct listener, base)->server;
    struct connection *conn = calloc(1, sizeof *conn);
    if (!conn) {
        rpc_link_discard(link);
        return;
    }
    conn->server = s;
    conn->id = s->next_connection++;
    conn->earliest_ns = RPC_NEVER;
    conn->greet_by_ns = rpc_now(s->transport) + RPC_GREETING_NS;
    list_init(&conn->calls);
    list_init(&conn->cancelled);
    list_push_back(&s->connections, &conn->link);
    s->nconnections++;
    rpc_task_init(&s->transport->schedule, &conn->task, connection_turn);
    rpc_task_at(&conn->task, conn->greet_by_ns);
    rpc_channel_open(&conn->channel, s->transport, link, &s->pool, &events);
    if (s->closing)
        rpc_channel_close(&conn->channel, PS_ECANCELLED, "the server shuts down");
    else if (s->nconnections > 2 * s->connections_max)
        rpc_channel_close(&conn->channel, PS_ELIMIT, "far too many connections");
    else if (s->nconnections > s->connections_max)
        rpc_channel_leave(&conn->channel, PS_ELIMIT, "too many connections");
}

/* ---- the server */

static void server_turn(struct rpc_task *task, uint64_t now_ns)
{
    struct rpc_server *s = container_of(task, struct rpc_server, task);
    (void)now_ns;
    if (!s->closing || !list_empty(&s->connections))
        return;
    for (size_t i = 0; i < s->nlisteners; i++)
        if (s->listeners[i].open)
            return;
    void (*closed)(void *user) = s->closed;
    void *user = s->closed_user;
    for (struct list_node *node; (node = list_pop_front(&s->kept));)
        free(container_of(node, struct rpc_call, link));
    rpc_task_stop(&s->task);
    rpc_pool_clear(&s->pool);
    rpc_arena_free(&s->arena);
    free(s);
    closed(user);
}

static void unlistened(struct rpc_listener *listener)
{
    struct listener *l = container_of(listener, struct listener, base);
    l->open = false;
    rpc_task_wake(&l->server->task);
}

int rpc_server_create(struct rpc_transport *transport, const struct rpc_server_config *config,
                      struct rpc_server **out)
{
    struct rpc_server *s = calloc(1, sizeof *s);
    if (!s)
        return PS_ENOMEM;
    s->transport = transport;
    assert(!rpc_keys_exist(config->keys) || transport->ops->random);
    rpc_self_set(&s->self, &config->identity, config->keys);
    s->admit = config->admit;
    s->connections_max = config->connections_max ? config->connections_max : RPC_CONNECTIONS_DEFAULT;
    s->bytes_max = config->bytes_max ? config->bytes_max : RPC_SERVER_BYTES_DEFAULT;
    s->log = config->log;
    s->user = config->user;
    s->next_connection = 1;
    list_init(&s->connections);
    list_init(&s->kept);
    rpc_arena_init(&s->arena);
    rpc_task_init(&transport->schedule, &s->task, server_turn);
    *out = s;
    return PS_OK;
}

static void add_method(struct rpc_server *s, struct entry entry)
{
    assert(s->nmethods < RPC_METHODS_MAX);
    size_t at = s->nmethods++;
    for (; at > 0 && s->methods[at - 1].id >= entry.id; at--) {
        assert(s->methods[at - 1].id != entry.id);
        s->methods[at] = s->methods[at - 1];
    }
    s->methods[at] = entry;
}

void rpc_server_register(struct rpc_server *s, const struct rpc_service *service, void *user)
{
    assert(s->nservices < SERVICES_MAX && s->nlisteners == 0);
    s->services[s->nservices].service = *service;
    s->services[s->nservices++].user = user;
    for (size_t i = 0; i < service->nmethods; i++) {
        const struct rpc_method *method = &service->methods[i];
        const ProtobufCMethodDescriptor *descriptor =
            protobuf_c_service_descriptor_get_method_by_name(service->descriptor, method->name);
        assert(descriptor && method->handler);
        add_method(
            s, (struct entry){rpc_method_id(service->descriptor, method->name), descriptor, method, user});
    }
}

int rpc_server_listen(struct rpc_server *s, const char *endpoint, struct ps_error *err)
{
    if (s->nlisteners == LISTENERS_MAX)
        return ps_error_set(err, PS_ELIMIT, "at most %d endpoints to listen on", LISTENERS_MAX);
    const int refused = rpc_keys_check_listen(s->self.keys, endpoint, err);
    if (refused)
        return refused;
    struct listener *l = &s->listeners[s->nlisteners];
    *l = (struct listener){.base = {.accepted = accepted, .closed = unlistened}, .server = s};
    const int status = s->transport->ops->listen(s->transport, endpoint, &l->base, err);
    if (status)
        return status;
    l->open = true;
    s->nlisteners++;
    return PS_OK;
}

const char *rpc_server_address(const struct rpc_server *s, size_t n)
{
    assert(n < s->nlisteners);
    return s->listeners[n].base.address;
}

void rpc_server_close(struct rpc_server *s, void (*closed)(void *user), void *user)
{
    assert(!s->closing);
    s->closing = true;
    s->closed = closed;
    s->closed_user = user;
    for (size_t i = 0; i < s->nlisteners; i++)
        s->transport->ops->unlisten(s->transport, &s->listeners[i].base);
    list_for_each(node, &s->connections)
    {
        struct connection *conn = container_of(node, struct connection, link);
        rpc_task_wake(&conn->task); /* cancels its calls in its own turn */
    }
    rpc_task_wake(&s->task);
}

void rpc_server_stats(const struct rpc_server *s, struct rpc_server_stats *out)
{
    *out = (struct rpc_server_stats){s->nconnections, s->bytes, s->calls, s->refused};
}

/* ---- what a handler asks of its call */

void *rpc_call_payload(struct rpc_call *call, size_t *length)
{
    *length = call->payload_bytes;
    return call->payload;
}

void *rpc_call_reply_buffer(struct rpc_call *call, size_t length)
{
    assert(!call->reply && length > 0 && length <= RPC_PAYLOAD_MAX);
    call->reply = rpc_pool_get(&call->conn->server->pool, length);
    if (!call->reply)
        return NULL;
    call->reply_bytes = (uint32_t)length;
    call->cost += rpc_pool_cost(length);
    call->conn->call_bytes += rpc_pool_cost(length);
    account(call->conn);
    return call->reply;
}

void rpc_call_watch(struct rpc_call *call, void (*cancelled)(struct rpc_call *call),
                    void (*on_ready)(struct rpc_call *call))
{
    call->on_cancel = cancelled;
    call->on_ready = on_ready;
}

bool rpc_call_cancelled(const struct rpc_call *call)
{
    return call->cancelled;
}

void rpc_call_set_user(struct rpc_call *call, void *user)
{
    call->user = user;
}

void *rpc_call_user(const struct rpc_call *call)
{
    return call->user;
}

uint64_t rpc_call_connection(const struct rpc_call *call)
{
    return call->conn->id;
}

const struct rpc_peer *rpc_call_peer(const struct rpc_call *call)
{
    return &call->conn->peer;
}

uint64_t rpc_call_deadline(const struct rpc_call *call)
{
    return call->deadline_ns;
}

const void *rpc_call_metadata(const struct rpc_call *call, const char *key, size_t *length)
{
    return rpc_metadata_find(call->metadata, call->metadata_bytes, key, length);
}

const uint8_t *rpc_call_operation_id(const struct rpc_call *call)
{
    size_t length;
    const uint8_t *id = rpc_call_metadata(call, RPC_KEY_OPERATION_ID, &length);
    return id && length == RPC_OPERATION_ID_BYTES ? id : NULL;
}
