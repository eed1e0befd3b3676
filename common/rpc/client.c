#include "common/rpc/client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/channel.h"
#include "common/rpc/greeting.h"
#include "common/rpc/message.h"
#include "common/rpc/metadata.h"
#include "common/rpc/news.h"

#define BACKOFF_MIN_NS (50ull * 1000000)
#define BACKOFF_MAX_NS (2000ull * 1000000)

enum client_state {
    CLIENT_WAITING,  /* the connection was lost a moment ago; calls wait */
    CLIENT_DIALLING, /* calls wait */
    CLIENT_GREETING, /* calls wait */
    CLIENT_READY,
    CLIENT_BACKOFF, /* the last attempt failed; calls fail, unless they wait_for_ready */
    CLIENT_CLOSING,
};

enum request_state {
    REQUEST_IDLE,
    REQUEST_QUEUED,   /* in client->queue */
    REQUEST_SENT,     /* in a slot */
    REQUEST_HELD,     /* its end is known, but the transport hasn't given its payload back */
    REQUEST_FINISHED, /* in client->finished: the callback runs at the next turn */
};

/* A call id is a number that grows << 8 | slot: both ends see at once whose it is. */
enum {
    SLOT_BITS = 8
};
_Static_assert(RPC_CALLS_MAX == 1 << SLOT_BITS, "a slot for every call in flight");

/* A slot is taken until the server has ended the call, even when the caller
 * has given up: the server counts it as long. */
struct slot {
    uint64_t call_id;            /* 0: free */
    struct rpc_request *request; /* NULL: the caller gave up */
    uint32_t share_bytes;        /* then */
};

struct rpc_client {
    struct rpc_transport *transport;
    struct rpc_task task;
    struct rpc_self self;
    char server_name[RPC_NAME_MAX + 1]; /* "": any */
    char *endpoint;
    void (*on_state)(void *user, int status, const char *detail);
    rpc_log log;
    struct rpc_news news;
    void *user;

    enum client_state state;
    struct rpc_dial dial;
    bool dialling, connected; /* `done` or `closed` is still to come */
    struct rpc_channel channel;
    struct rpc_peer peer;
    uint8_t nonce[RPC_NONCE_BYTES]; /* of the Hello under way */
    bool proof_sent;
    uint64_t attempt_until_ns, retry_at_ns, backoff_ns, backoff_min_ns, backoff_max_ns, keepalive_ns;
    bool refused;
    struct ps_error why; /* the last connection or attempt ended */

    struct rpc_pool pool;
    struct rpc_arena arena;
    struct list_node queue, finished;
    size_t queued, lent_bytes;
    struct slot slots[RPC_CALLS_MAX];
    uint8_t free_slots[RPC_CALLS_MAX];
    uint32_t nfree, max_calls;
    uint64_t next_call;
    unsigned given_up; /* slots without request, and the sum of their shares */
    uint64_t given_up_bytes;
    uint64_t earliest_ns; /* no call's deadline lies before it */

    void (*closed)(void *user);
    void *closed_user;
};

static void arm(struct rpc_client *c)
{
    uint64_t at = c->earliest_ns;
    if (c->state == CLIENT_WAITING || c->state == CLIENT_BACKOFF)
        at = c->retry_at_ns < at ? c->retry_at_ns : at;
    if (c->state == CLIENT_DIALLING || c->state == CLIENT_GREETING)
        at = c->attempt_until_ns < at ? c->attempt_until_ns : at;
    if (at != c->task.deadline_ns)
        rpc_task_at(&c->task, at);
}

/* ---- requests */

static void deliver_next_turn(struct rpc_client *c, struct rpc_request *r)
{
    r->state = REQUEST_FINISHED;
    list_push_back(&c->finished, &r->link);
    rpc_task_wake(&c->task);
}

/* Takes the request out of wherever it is and lets its callback run as soon as it may. */
static void finish(struct rpc_client *c, struct rpc_request *r, int status)
{
    if (r->state == REQUEST_QUEUED) {
        list_remove(&r->link);
        c->queued--;
    }
    free(r->content);
    r->content = NULL;
    r->status = status;
    if (r->payload_lent)
        r->state = REQUEST_HELD;
    else
        deliver_next_turn(c, r);
}

static void free_slot(struct rpc_client *c, struct slot *slot)
{
    if (!slot->request) {
        c->given_up--;
        c->given_up_bytes -= slot->share_bytes;
    }
    *slot = (struct slot){0};
    c->free_slots[c->nfree++] = (uint8_t)(slot - c->slots);
}

/* Hands the end of a call to its owner. The request may be reused inside. */
static void answer(struct rpc_request *r, const struct rpc_reply *reply)
{
    r->state = REQUEST_IDLE;
    r->cb(r, reply);
}

static void payload_done(void *user, const void *data, size_t length)
{
    struct rpc_request *r = user;
    (void)data;
    (void)length;
    r->payload_lent = false;
    struct rpc_client *c = r->client;
    c->lent_bytes -= r->payload_bytes;
    if (r->state == REQUEST_HELD)
        deliver_next_turn(c, r);
    if (c->queued)
        rpc_task_wake(&c->task);
}

static uint64_t time_left(const struct rpc_client *c, const struct rpc_request *r)
{
    if (r->deadline_ns == RPC_NEVER)
        return RPC_TIMEOUT_NONE;
    const uint64_t now = rpc_now(c->transport);
    return r->deadline_ns > now ? r->deadline_ns - now : 1;
}

static bool may_send(const struct rpc_client *c, const struct rpc_request *r)
{
    return c->state == CLIENT_READY && RPC_CALLS_MAX - c->nfree < c->max_calls &&
           (c->lent_bytes == 0 || c->lent_bytes + r->payload_bytes <= RPC_CLIENT_BYTES_MAX);
}

/* `content`: metadata, and the body too unless `message` is given. */
static void send_request(struct rpc_client *c, struct rpc_request *r, const uint8_t *content,
                         size_t content_bytes, const ProtobufCMessage *message)
{
    const uint8_t index = c->free_slots[--c->nfree];
    r->call_id = c->next_call++ << SLOT_BITS | index;
    r->state = REQUEST_SENT;
    r->sent = true;
    c->slots[index] = (struct slot){.call_id = r->call_id, .request = r};
    struct rpc_frame frame = {
        .kind = RPC_REQUEST,
        .call_id = r->call_id,
        .method_id = rpc_method_id(r->service, r->descriptor->name),
        .timeout_ns = time_left(c, r),
        .metadata_bytes = r->metadata_bytes,
    };
    const struct rpc_outgoing payload = {r->payload, r->payload_bytes, payload_done, r};
    r->payload_lent = r->payload_bytes > 0;
    c->lent_bytes += r->payload_bytes;
    /* When this fails the channel is closing, and its end is the end of the call. */
    (void)rpc_channel_send(&c->channel, &frame, content, content_bytes, message,
                           r->payload_bytes ? &payload : NULL);
}

static void pump(struct rpc_client *c)
{
    while (c->queued > 0) {
        struct rpc_request *r = container_of(c->queue.next, struct rpc_request, link);
        if (!may_send(c, r))
            return;
        list_remove(&r->link);
        c->queued--;
        send_request(c, r, r->content, r->metadata_bytes + r->body_bytes, NULL);
        free(r->content);
        r->content = NULL;
    }
}

/* The caller's entries and the operation id in one list; `out` has room for both. */
static size_t gather_metadata(const struct rpc_request *r,
                              struct rpc_metadata out[RPC_METADATA_ENTRIES_MAX + 1])
{
    static const uint8_t none[RPC_OPERATION_ID_BYTES];
    size_t n = 0;
    for (; n < r->nmetadata; n++)
        out[n] = r->metadata[n];
    if (memcmp(r->operation_id, none, sizeof none) != 0)
        out[n++] = (struct rpc_metadata){RPC_KEY_OPERATION_ID, r->operation_id, sizeof r->operation_id};
    return n;
}

int rpc_client_call(struct rpc_client *c, struct rpc_request *r, rpc_reply_cb cb)
{
    assert(c->state != CLIENT_CLOSING && r->state == REQUEST_IDLE && cb);
    struct rpc_metadata entries[RPC_METADATA_ENTRIES_MAX + 1];
    size_t metadata_bytes = 0;
    r->descriptor = protobuf_c_service_descriptor_get_method_by_name(r->service, r->method);
    if (!r->descriptor || r->message->descriptor != r->descriptor->input)
        return PS_EINVAL;
    if (r->nmetadata > RPC_METADATA_ENTRIES_MAX || r->payload_bytes > RPC_PAYLOAD_MAX)
        return PS_EINVAL;
    const size_t nentries = gather_metadata(r, entries);
    if (rpc_metadata_size(entries, nentries, &metadata_bytes, NULL) != PS_OK)
        return PS_EINVAL;
    const size_t body_bytes = protobuf_c_message_get_packed_size(r->message);
    if (body_bytes > RPC_BODY_MAX)
        return PS_EINVAL;
    if (c->queued >= RPC_CLIENT_QUEUE_MAX)
        return PS_ELIMIT;

    r->cb = cb;
    r->client = c;
    r->content = NULL;
    r->payload_lent = r->answered = r->sent = false;
    r->metadata_bytes = (uint32_t)metadata_bytes;
    r->body_bytes = (uint32_t)body_bytes;
    const uint64_t timeout = r->timeout_ns ? r->timeout_ns : RPC_CALL_TIMEOUT_NS;
    const uint64_t now = rpc_now(c->transport);
    r->deadline_ns = timeout < RPC_NEVER - now ? now + timeout : RPC_NEVER;

    if (c->state == CLIENT_BACKOFF && !r->wait_for_ready) {
        finish(c, r, c->why.status);
        return PS_OK;
    }
    if (c->queued == 0 && may_send(c, r)) {
        uint8_t metadata[RPC_METADATA_MAX];
        (void)rpc_metadata_encode(entries, nentries, metadata);
        send_request(c, r, metadata, metadata_bytes, r->message);
    } else {
        r->content = malloc(metadata_bytes + body_bytes + 1);
        if (!r->content)
            return PS_ENOMEM;
        uint8_t *body = rpc_metadata_encode(entries, nentries, r->content);
        (void)protobuf_c_message_pack(r->message, body);
        r->state = REQUEST_QUEUED;
        list_push_back(&c->queue, &r->link);
        c->queued++;
    }
    if (r->deadline_ns < c->earliest_ns) {
        c->earliest_ns = r->deadline_ns;
        arm(c);
    }
    return PS_OK;
}

/* The caller gives up. A call that was sent keeps its slot until the server answers. */
static void give_up(struct rpc_client *c, struct rpc_request *r, int status)
{
    if (r->state == REQUEST_SENT) {
        struct slot *slot = &c->slots[r->call_id % RPC_CALLS_MAX];
        assert(slot->request == r);
        slot->request = NULL;
        slot->share_bytes = r->share_bytes;
        c->given_up++;
        c->given_up_bytes += r->share_bytes;
        struct rpc_frame cancel = {.kind = RPC_CANCEL, .call_id = r->call_id};
        (void)rpc_channel_send(&c->channel, &cancel, NULL, 0, NULL, NULL);
    }
    finish(c, r, status);
}

void rpc_client_cancel(struct rpc_client *c, struct rpc_request *r)
{
    if (r->state == REQUEST_QUEUED || r->state == REQUEST_SENT)
        give_up(c, r, PS_ECANCELLED);
}

static void expire(struct rpc_client *c, uint64_t now_ns)
{
    uint64_t earliest = RPC_NEVER;
    list_for_each_safe(node, next, &c->queue)
    {
        struct rpc_request *r = container_of(node, struct rpc_request, link);
        if (r->deadline_ns <= now_ns)
            give_up(c, r, PS_EDEADLINE);
        else if (r->deadline_ns < earliest)
            earliest = r->deadline_ns;
    }
    for (size_t i = 0; i < RPC_CALLS_MAX; i++) {
        struct rpc_request *r = c->slots[i].request;
        if (!r)
            continue;
        if (r->deadline_ns <= now_ns)
            give_up(c, r, PS_EDEADLINE);
        else if (r->deadline_ns < earliest)
            earliest = r->deadline_ns;
    }
    c->earliest_ns = earliest;
}

/* ---- frames that come in */

static void ready(struct rpc_client *c)
{
    c->channel.greeted = true;
    c->channel.keepalive_ns = c->keepalive_ns;
    rpc_task_wake(&c->channel.task); /* which minds it from now on */
    c->state = CLIENT_READY;
    c->backoff_ns = c->backoff_min_ns;
    arm(c);
    if (c->on_state)
        c->on_state(c->user, PS_OK, "");
}

static int on_welcome(struct rpc_client *c, const Pstorage__V1__Welcome *welcome, struct ps_error *err)
{
    const struct rpc_link *link = c->channel.link;
    uint8_t proof[RPC_PROOF_BYTES];
    Pstorage__V1__Hello hello;
    /* The same Hello that was sent: the nonce is still there. */
    const struct rpc_key *key = rpc_greeting_hello(&c->self, c->nonce, &hello);
    int status = rpc_greeting_from_welcome(welcome, link->address, &c->peer, err);
    if (!status)
        status = rpc_greeting_judge_server(&c->self, link, key, &hello, welcome, &c->peer, proof, err);
    if (status)
        return status;
    if (c->server_name[0] && strcmp(c->peer.name, c->server_name) != 0)
        return ps_error_set(err, PS_EPERM, "this is %s, not %s as the client expects", c->peer.name,
                            c->server_name);
    c->max_calls = welcome->max_calls < RPC_CALLS_MAX ? welcome->max_calls : RPC_CALLS_MAX;
    if (!key) {
        ready(c);
        return PS_OK;
    }
    Pstorage__V1__Proof message = PSTORAGE__V1__PROOF__INIT;
    message.proof = (ProtobufCBinaryData){sizeof proof, proof};
    struct rpc_frame frame = {.kind = RPC_GREETING};
    (void)rpc_channel_send(&c->channel, &frame, NULL, 0, &message.base, NULL);
    c->proof_sent = true;
    return PS_OK;
}

static int on_greeting(struct rpc_client *c, const struct rpc_incoming *in, struct ps_error *err)
{
    if (c->state != CLIENT_GREETING)
        return ps_error_set(err, PS_EPROTOCOL, "an unexpected greeting");
    const ProtobufCMessage *message = rpc_message_unpack(
        &c->arena, c->proof_sent ? &pstorage__v1__accepted__descriptor : &pstorage__v1__welcome__descriptor,
        in->body, in->frame->body_bytes, err);
    if (!message)
        return err->status;
    if (!c->proof_sent)
        return on_welcome(c, (const Pstorage__V1__Welcome *)message, err);
    ready(c);
    return PS_OK;
}

/* A refusal or a goodbye: its status and reason are those of the connection's end. */
static void on_goodbye(struct rpc_client *c, const struct rpc_incoming *in)
{
    struct ps_error err = {0};
    const ProtobufCMessage *message = rpc_message_unpack(&c->arena, &pstorage__v1__failure__descriptor,
                                                         in->body, in->frame->body_bytes, &err);
    const int status = in->frame->status ? in->frame->status : PS_EUNAVAILABLE;
    const char *detail = message ? ((const Pstorage__V1__Failure *)message)->detail : "";
    rpc_channel_close(&c->channel, status, detail[0] ? detail : ps_status_text(status));
}

/* The type that the body of the call's last frame has. */
static const ProtobufCMessageDescriptor *answer_type(const struct rpc_request *r, int status)
{
    return status ? &pstorage__v1__failure__descriptor : r->descriptor->output;
}

static void complete(struct rpc_request *r, struct rpc_reply *reply, const ProtobufCMessage *message)
{
    if (reply->status)
        reply->detail = ((const Pstorage__V1__Failure *)message)->detail;
    else
        reply->message = message;
    answer(r, reply);
}

/* The answer may be here before the transport says that the request has left: it is kept until then. */
static void hold_answer(struct rpc_client *c, struct rpc_request *r, struct rpc_incoming *in)
{
    finish(c, r, in->frame->status);
    r->content = malloc(in->frame->body_bytes + 1);
    if (!r->content) {
        r->status = PS_ENOMEM;
        return;
    }
    memcpy(r->content, in->body, in->frame->body_bytes);
    r->body_bytes = in->frame->body_bytes;
    r->held_payload = in->payload;
    r->held_payload_bytes = in->frame->payload_bytes;
    in->payload = NULL;
    r->answered = true;
}

static void deliver_held(struct rpc_client *c, struct rpc_request *r)
{
    uint8_t *body = r->content;
    void *payload = r->held_payload;
    const size_t payload_bytes = r->held_payload_bytes;
    struct rpc_reply reply = {
        .status = r->status, .detail = "", .payload = payload, .payload_bytes = payload_bytes};
    /* on_answer saw that it can be unpacked. */
    const ProtobufCMessage *message =
        rpc_message_unpack(&c->arena, answer_type(r, r->status), body, r->body_bytes, NULL);
    r->content = NULL;
    if (message) {
        complete(r, &reply, message);
    } else {
        reply.status = PS_ENOMEM;
        answer(r, &reply);
    }
    rpc_arena_reset(&c->arena);
    if (payload)
        rpc_pool_put(&c->pool, payload, payload_bytes);
    free(body);
}

static int on_answer(struct rpc_client *c, struct rpc_incoming *in, struct ps_error *err)
{
    const struct rpc_frame *f = in->frame;
    struct slot *slot = &c->slots[f->call_id % RPC_CALLS_MAX];
    if (slot->call_id != f->call_id)
        return ps_error_set(err, PS_EPROTOCOL, "an answer to a call that is not in flight");
    struct rpc_request *r = slot->request;
    const bool stream = r && r->on_message;
    const bool end = f->kind == RPC_RESPONSE;
    if (!r) {
        if (end)
            free_slot(c, slot);
        return PS_OK;
    }
    if (!end && !stream)
        return ps_error_set(err, PS_EPROTOCOL, "a stream where one answer was due");

    struct rpc_reply reply = {
        .status = f->status, .detail = "", .payload = in->payload, .payload_bytes = f->payload_bytes};
    const ProtobufCMessage *message = NULL;
    if (f->status || !end || !stream) {
        struct ps_error bad;
        message = rpc_message_unpack(&c->arena, answer_type(r, f->status), in->body, f->body_bytes, &bad);
        if (!message)
            return ps_error_set(err, PS_EPROTOCOL, "an answer to %s is %s", r->descriptor->name, bad.detail);
    }
    if (!end) {
        r->on_message(r, message);
        return PS_OK;
    }
    free_slot(c, slot);
    if (r->payload_lent)
        hold_answer(c, r, in);
    else
        complete(r, &reply, message);
    return PS_OK;
}

static int client_frame(struct rpc_channel *channel, struct rpc_incoming *in, struct ps_error *err)
{
    struct rpc_client *c = container_of(channel, struct rpc_client, channel);
    int status = PS_OK;
    if (in->frame->kind == RPC_GOODBYE || (in->frame->kind == RPC_GREETING && in->frame->status != PS_OK))
        on_goodbye(c, in);
    else if (in->frame->kind == RPC_GREETING)
        status = on_greeting(c, in, err);
    else if (c->state == CLIENT_READY && (in->frame->kind == RPC_RESPONSE || in->frame->kind == RPC_MESSAGE))
        status = on_answer(c, in, err);
    else
        status = ps_error_set(err, PS_EPROTOCOL, "a frame of kind %d from the server", (int)in->frame->kind);
    rpc_arena_reset(&c->arena);
    pump(c);
    return status;
}

/* ---- connection */

static void log_line(struct rpc_client *c, const char *what)
{
    char line[512];
    unsigned held_back;
    if (!c->log)
        return;
    (void)snprintf(line, sizeof line, "rpc: %s: %s", what, c->why.detail);
    if (!rpc_news_is(&c->news, line, rpc_now(c->transport), &held_back))
        return;
    c->log(c->user, line);
}

/* An attempt failed: those who did not say that they can wait learn it. */
static void attempt_failed(struct rpc_client *c)
{
    c->state = CLIENT_BACKOFF;
    c->retry_at_ns = rpc_now(c->transport) + c->backoff_ns;
    c->backoff_ns = 2 * c->backoff_ns < c->backoff_max_ns ? 2 * c->backoff_ns : c->backoff_max_ns;
    list_for_each_safe(node, next, &c->queue)
    {
        struct rpc_request *r = container_of(node, struct rpc_request, link);
        if (!r->wait_for_ready)
            finish(c, r, c->why.status);
    }
}

static void client_gone(struct rpc_channel *channel, const struct ps_error *reason)
{
    struct rpc_client *c = container_of(channel, struct rpc_client, channel);
    const enum client_state was = c->state;
    c->connected = false;
    /* A server that breaks the rules, is stuck or left: for the caller it is unavailable. */
    const bool refused =
        was == CLIENT_GREETING && reason->status != PS_EDEADLINE && reason->status != PS_EPROTOCOL;
    (void)ps_error_set(&c->why, refused ? reason->status : PS_EUNAVAILABLE, "%s: %s", c->endpoint,
                       reason->detail);
    for (size_t i = 0; i < RPC_CALLS_MAX; i++) {
        struct slot *slot = &c->slots[i];
        if (slot->request)
            finish(c, slot->request, PS_EUNAVAILABLE);
        if (slot->call_id)
            free_slot(c, slot);
    }
    list_for_each_safe(node, next, &c->queue)
    {
        struct rpc_request *r = container_of(node, struct rpc_request, link);
        if (r->one_connection)
            finish(c, r, PS_EUNAVAILABLE);
    }
    rpc_task_wake(&c->task);
    if (was == CLIENT_CLOSING)
        return;
    if (was == CLIENT_READY) {
        c->state = CLIENT_WAITING;
        c->retry_at_ns = rpc_now(c->transport) + c->backoff_ns;
        log_line(c, "connection lost");
    } else {
        attempt_failed(c);
        log_line(c, "greeting failed");
    }
    arm(c);
    if (c->on_state)
        c->on_state(c->user, c->why.status, c->why.detail);
}

static void send_hello(struct rpc_client *c)
{
    Pstorage__V1__Hello hello;
    const struct rpc_key *key = rpc_greeting_hello(&c->self, c->nonce, &hello);
    c->proof_sent = false;
    if (key && !c->transport->ops->random(c->transport, c->nonce, sizeof c->nonce)) {
        rpc_channel_close(&c->channel, PS_EINTERNAL, "the system gives no random numbers");
        return;
    }
    struct rpc_frame frame = {.kind = RPC_GREETING};
    (void)rpc_channel_send(&c->channel, &frame, NULL, 0, &hello.base, NULL);
}

static void dialled(struct rpc_dial *dial, int status, struct rpc_link *link, const char *detail)
{
    static const struct rpc_channel_events events = {NULL, client_frame, NULL, client_gone};
    struct rpc_client *c = container_of(dial, struct rpc_client, dial);
    c->dialling = false;
    c->refused = status != PS_OK && dial->refused;
    rpc_task_wake(&c->task);
    if (status == PS_OK) {
        c->connected = true;
        rpc_channel_open(&c->channel, c->transport, link, &c->pool, &events);
        if (c->state == CLIENT_CLOSING) {
            rpc_channel_close(&c->channel, PS_ECANCELLED, "closing");
            return;
        }
        c->state = CLIENT_GREETING;
        c->attempt_until_ns = rpc_now(c->transport) + RPC_GREETING_NS;
        send_hello(c);
    } else if (c->state != CLIENT_CLOSING) {
        (void)ps_error_set(&c->why, PS_EUNAVAILABLE, "%s: %s", c->endpoint, detail);
        attempt_failed(c);
        if (c->on_state)
            c->on_state(c->user, c->why.status, c->why.detail);
    }
    arm(c);
}

static int dial(struct rpc_client *c, struct ps_error *err)
{
    c->dial.refused = false;
    const int status = c->transport->ops->dial(c->transport, c->endpoint, &c->dial, err);
    if (status)
        return status;
    c->dialling = true;
    c->state = CLIENT_DIALLING;
    c->attempt_until_ns = rpc_now(c->transport) + RPC_GREETING_NS;
    return PS_OK;
}

static void retry(struct rpc_client *c)
{
    if (dial(c, &c->why) != PS_OK)
        attempt_failed(c);
}

/* ---- turn */

static void deliver_finished(struct rpc_client *c)
{
    /* Only those of now: a callback that calls again and fails again must not keep the loop. */
    struct list_node batch;
    list_init(&batch);
    list_splice_back(&batch, &c->finished);
    for (struct list_node *node; (node = list_pop_front(&batch));) {
        struct rpc_request *r = container_of(node, struct rpc_request, link);
        if (r->answered) {
            deliver_held(c, r);
            continue;
        }
        const bool why = r->status == c->why.status;
        const struct rpc_reply reply = {.status = r->status,
                                        .unsent = !r->sent,
                                        .detail = why ? c->why.detail : ps_status_text(r->status)};
        answer(r, &reply);
    }
}

static void client_turn(struct rpc_task *task, uint64_t now_ns)
{
    struct rpc_client *c = container_of(task, struct rpc_client, task);
    if (now_ns >= c->earliest_ns)
        expire(c, now_ns);
    if ((c->state == CLIENT_DIALLING || c->state == CLIENT_GREETING) && now_ns >= c->attempt_until_ns) {
        c->attempt_until_ns = RPC_NEVER;
        if (c->connected)
            rpc_channel_close(&c->channel, PS_EDEADLINE, "the server does not greet");
        else
            c->transport->ops->dial_cancel(c->transport, &c->dial);
    }
    if ((c->state == CLIENT_WAITING || c->state == CLIENT_BACKOFF) && now_ns >= c->retry_at_ns)
        retry(c);
    pump(c);
    deliver_finished(c);
    if (c->state != CLIENT_CLOSING) {
        arm(c);
        return;
    }
    if (c->connected || c->dialling || !list_empty(&c->finished))
        return;
    void (*closed)(void *user) = c->closed;
    void *user = c->closed_user;
    rpc_task_stop(&c->task);
    rpc_pool_clear(&c->pool);
    rpc_arena_free(&c->arena);
    free(c->endpoint);
    free(c);
    closed(user);
}

int rpc_client_connect(struct rpc_transport *transport, const struct rpc_client_config *config,
                       struct rpc_client **out, struct ps_error *err)
{
    const char *cluster = config->identity.cluster_id ? config->identity.cluster_id : "";
    if (rpc_keys_exist(config->keys) && !rpc_keys_find(config->keys, cluster))
        return ps_error_set(err, PS_EUNAUTHENTICATED,
                            "there is no key for cluster \"%s\" among the cluster keys", cluster);
    struct rpc_client *c = calloc(1, sizeof *c);
    if (!c)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    c->endpoint = strdup(config->endpoint);
    if (!c->endpoint) {
        free(c);
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    }
    c->transport = transport;
    assert(!rpc_keys_exist(config->keys) || transport->ops->random);
    rpc_self_set(&c->self, &config->identity, config->keys);
    (void)snprintf(c->server_name, sizeof c->server_name, "%s",
                   config->server_name ? config->server_name : "");
    c->on_state = config->on_state;
    c->log = config->log;
    c->user = config->user;
    c->backoff_min_ns = config->backoff_min_ns ? config->backoff_min_ns : BACKOFF_MIN_NS;
    c->backoff_max_ns = config->backoff_max_ns ? config->backoff_max_ns : BACKOFF_MAX_NS;
    c->backoff_ns = c->backoff_min_ns;
    c->keepalive_ns = config->keepalive_ns ? config->keepalive_ns : RPC_KEEPALIVE_NS;
    c->earliest_ns = RPC_NEVER;
    c->next_call = 1;
    c->dial.done = dialled;
    list_init(&c->queue);
    list_init(&c->finished);
    rpc_arena_init(&c->arena);
    for (size_t i = 0; i < RPC_CALLS_MAX; i++)
        c->free_slots[c->nfree++] = (uint8_t)(RPC_CALLS_MAX - 1 - i);
    rpc_task_init(&transport->schedule, &c->task, client_turn);
    const int status = dial(c, err);
    if (status) {
        rpc_task_stop(&c->task);
        free(c->endpoint);
        free(c);
        return status;
    }
    arm(c);
    *out = c;
    return PS_OK;
}

void rpc_client_close(struct rpc_client *c, void (*closed)(void *user), void *user)
{
    assert(c->state != CLIENT_CLOSING);
    c->state = CLIENT_CLOSING;
    c->closed = closed;
    c->closed_user = user;
    list_for_each_safe(node, next, &c->queue)
        finish(c, container_of(node, struct rpc_request, link), PS_ECANCELLED);
    for (size_t i = 0; i < RPC_CALLS_MAX; i++) {
        struct rpc_request *r = c->slots[i].request;
        c->slots[i].request = NULL;
        if (r)
            finish(c, r, PS_ECANCELLED);
    }
    if (c->dialling)
        c->transport->ops->dial_cancel(c->transport, &c->dial);
    if (c->connected)
        rpc_channel_close(&c->channel, PS_ECANCELLED, "closing");
    rpc_task_wake(&c->task);
}

unsigned rpc_client_given_up(const struct rpc_client *c, uint64_t *share_bytes)
{
    *share_bytes = c->given_up_bytes;
    return c->given_up;
}

void rpc_client_reconnect(struct rpc_client *c, const char *why)
{
    if (c->state == CLIENT_READY)
        rpc_channel_close(&c->channel, PS_EDEADLINE, why);
}

bool rpc_client_refused(const struct rpc_client *c)
{
    return c->refused;
}

const struct rpc_peer *rpc_client_peer(const struct rpc_client *c)
{
    return c->state == CLIENT_READY ? &c->peer : NULL;
}
