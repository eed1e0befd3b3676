#include "node/host/replication_service.h"

#include <stdio.h>
#include <string.h>

void replication_service_init(struct replication_service *s, const struct replication_handler *handler,
                              void *user)
{
    s->handler = handler;
    s->user = user;
    list_init(&s->pending);
    list_init(&s->copies);
    list_init(&s->records);
    list_init(&s->spare);
    for (size_t i = 0; i < REPLICATION_PENDING_MAX; i++) {
        s->all[i].service = s;
        list_push_back(&s->spare, &s->all[i].link);
    }
}

/* ---- calls that wait */

static struct rpc_call *let_go(struct replication_pending *p)
{
    struct rpc_call *call = p->call;
    p->call = NULL;
    list_remove(&p->link);
    list_push_front(&p->service->spare, &p->link);
    return call;
}

static void cancelled(struct rpc_call *call)
{
    rpc_call_fail(let_go(rpc_call_user(call)), PS_ECANCELLED, NULL);
}

/* NULL: the call has ended. */
static struct replication_pending *wait_for_ack(struct replication_service *s, struct rpc_call *call,
                                                const struct uuid *from, uint64_t seq)
{
    struct list_node *node = list_pop_front(&s->spare);
    if (!node) {
        rpc_call_fail(call, PS_ELIMIT, "too many batches wait here");
        return NULL;
    }
    struct replication_pending *p = container_of(node, struct replication_pending, link);
    p->call = call;
    p->from = *from;
    p->seq = seq;
    list_push_back(&s->pending, &p->link);
    rpc_call_set_user(call, p);
    rpc_call_watch(call, cancelled, NULL);
    return p;
}

static void answer(struct rpc_call *call, const struct replica_ack_msg *msg)
{
    struct ack_message message;
    ack_to_message(msg, &message);
    rpc_call_reply(call, &message.message.base);
}

void replication_service_ack(struct replication_service *s, const struct uuid *to,
                             const struct replica_ack_msg *msg)
{
    list_for_each_safe(node, next, &s->pending)
    {
        struct replication_pending *p = container_of(node, struct replication_pending, link);
        if (uuid_equal(&p->from, to) && (msg->status || p->seq <= msg->end.seq))
            answer(let_go(p), msg);
    }
}

/* Its stream begins anew: what it sent before is answered by nobody else. */
static void drop_stream(struct replication_service *s, const struct uuid *from)
{
    list_for_each_safe(node, next, &s->pending)
    {
        struct replication_pending *p = container_of(node, struct replication_pending, link);
        if (uuid_equal(&p->from, from))
            rpc_call_fail(let_go(p), PS_EABORTED, "the stream begins anew");
    }
}

static void answer_copy(struct rpc_call *call, const struct replica_copy_ack *ack)
{
    Pstorage__V1__ReplicationCopyAck message;
    copy_ack_to_message(ack, &message);
    rpc_call_reply(call, &message.base);
}

void replication_service_copy_ack(struct replication_service *s, const struct uuid *to,
                                  const struct replica_copy_ack *ack)
{
    list_for_each_safe(node, next, &s->copies)
    {
        struct replication_pending *p = container_of(node, struct replication_pending, link);
        if (uuid_equal(&p->from, to) && p->copy == ack->copy &&
            (ack->status || ack->finished || p->step == REPLICA_COPY_BEGIN ||
             (p->step == REPLICA_COPY_PIECE && p->number < ack->done)))
            answer_copy(let_go(p), ack);
    }
}

static void answer_record(struct rpc_call *call, const struct replica_record_msg *msg, const void *record,
                          uint32_t bytes)
{
    Pstorage__V1__ReplicationRecord message;
    void *payload = msg->status ? NULL : rpc_call_reply_buffer(call, bytes);
    if (!payload) {
        rpc_call_fail(call, msg->status ? msg->status : PS_ENOMEM, NULL);
        return;
    }
    memcpy(payload, record, bytes);
    record_to_message(msg, &message);
    rpc_call_reply(call, &message.base);
}

void replication_service_record_answer(struct replication_service *s, const struct uuid *to,
                                       const struct replica_record_msg *msg, const void *record,
                                       uint32_t bytes)
{
    list_for_each_safe(node, next, &s->records)
    {
        struct replication_pending *p = container_of(node, struct replication_pending, link);
        if (uuid_equal(&p->from, to) && p->group == msg->group)
            answer_record(let_go(p), msg, record, bytes);
    }
}

/* ---- handlers */

/* False: the call has ended. */
static bool admitted(const struct replication_service *s, struct rpc_call *call)
{
    const struct rpc_peer *peer = rpc_call_peer(call);
    char text[160];
    if (peer->role != PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE || !s->handler->knows(s->user, peer->name)) {
        (void)snprintf(text, sizeof text, "%.63s is not among the peers of this node", peer->name);
        rpc_call_fail(call, PS_EPERM, text);
        return false;
    }
    if (!s->handler->is_open(s->user)) {
        rpc_call_fail(call, PS_EUNAVAILABLE, "the pod is being opened");
        return false;
    }
    return true;
}

static void hello(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct replication_service *s = user;
    struct replication_hello in, out = {0};
    Pstorage__V1__ReplicationHello reply;
    struct ps_error err;
    if (!admitted(s, call))
        return;
    if (hello_from_message((const void *)message, &in, &err)) {
        rpc_call_fail(call, err.status, err.detail);
        return;
    }
    s->handler->hello(s->user, &in, &out);
    hello_to_message(&out, &reply);
    rpc_call_reply(call, &reply.base);
}

static void state(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct replication_service *s = user;
    struct replica_state_msg in, out = {0};
    struct state_message reply;
    struct ps_error err;
    if (!admitted(s, call))
        return;
    if (state_from_message((const void *)message, &in, &err)) {
        rpc_call_fail(call, err.status, err.detail);
        return;
    }
    if (!s->handler->state(s->user, &in, &out)) {
        rpc_call_fail(call, PS_EUNAVAILABLE, "its flash device does not answer");
        return;
    }
    state_to_message(&out, &reply);
    rpc_call_reply(call, &reply.message.base);
}

static void begin(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct replication_service *s = user;
    struct replica_begin_msg in;
    struct replica_ack_msg refusal;
    struct ps_error err;
    if (!admitted(s, call))
        return;
    if (begin_from_message((const void *)message, &in, &err)) {
        rpc_call_fail(call, err.status, err.detail);
        return;
    }
    drop_stream(s, &in.store);
    struct replication_pending *p = wait_for_ack(s, call, &in.store, 0);
    if (p && !s->handler->begin(s->user, &in, &refusal))
        answer(let_go(p), &refusal);
}

static void append(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct replication_service *s = user;
    struct replica_append_msg in;
    struct replica_ack_msg refusal;
    struct ps_error err;
    size_t bytes;
    if (!admitted(s, call))
        return;
    const void *batch = rpc_call_payload(call, &bytes);
    int rc = append_from_message((const void *)message, &in, &err);
    if (rc == 0 && (!batch || bytes == 0 || in.id.seq == 0))
        rc = ps_error_set(&err, PS_EINVAL, "a batch is missing");
    if (rc) {
        rpc_call_fail(call, rc, err.detail);
        return;
    }
    /* It waits before it is taken: the acknowledgement may come from inside. */
    struct replication_pending *p = wait_for_ack(s, call, &in.store, in.id.seq);
    if (p && !s->handler->append(s->user, &in, batch, (uint32_t)bytes, &refusal))
        answer(let_go(p), &refusal);
}

static void copy(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct replication_service *s = user;
    struct replica_copy_msg in;
    struct replica_copy_ack ack;
    struct ps_error err;
    size_t bytes = 0;
    if (!admitted(s, call))
        return;
    const void *data = rpc_call_payload(call, &bytes);
    int rc = copy_from_message((const void *)message, &in, &err);
    if (rc == 0 && in.step != REPLICA_COPY_END && (!data || bytes == 0))
        rc = ps_error_set(&err, PS_EINVAL, "a copy's bytes are missing");
    if (rc) {
        rpc_call_fail(call, rc, err.detail);
        return;
    }
    struct replication_pending *p = wait_for_ack(s, call, &in.store, 0);
    if (!p)
        return;
    list_remove(&p->link);
    list_push_back(&s->copies, &p->link);
    p->copy = in.copy;
    p->number = in.number;
    p->step = in.step;
    if (!s->handler->copy(s->user, &in, data, (uint32_t)bytes, &ack))
        answer_copy(let_go(p), &ack);
}

static void record(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct replication_service *s = user;
    struct replica_record_msg in;
    struct ps_error err;
    if (!admitted(s, call))
        return;
    if (record_from_message((const void *)message, &in, &err)) {
        rpc_call_fail(call, err.status, err.detail);
        return;
    }
    struct replication_pending *p = wait_for_ack(s, call, &in.store, 0);
    if (!p)
        return;
    list_remove(&p->link);
    list_push_back(&s->records, &p->link);
    p->group = in.group;
    s->handler->record(s->user, &in);
}

static const struct rpc_method methods[] = {
    {.name = "Hello", .handler = hello},
    {.name = "State", .handler = state},
    {.name = "Begin", .handler = begin},
    {.name = "Append", .handler = append, .takes_payload = true},
    {.name = "Copy", .handler = copy, .takes_payload = true},
    {.name = "Record", .handler = record},
};

static const struct rpc_service service_replication = {
    .descriptor = &pstorage__v1__replication__descriptor,
    .methods = methods,
    .nmethods = sizeof methods / sizeof methods[0],
};

void replication_service_register(struct replication_service *s, struct rpc_server *server)
{
    rpc_server_register(server, &service_replication, s);
}
