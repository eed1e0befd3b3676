#include "node/host/replication_proto.h"

#include <stdio.h>
#include <string.h>

/* ---- parts */

static void log_id_to_message(const struct log_id *id, Pstorage__V1__LogId *out)
{
    pstorage__v1__log_id__init(out);
    out->epoch = id->epoch;
    out->run = id->run;
    out->seq = id->seq;
    out->hash = id->hash;
}

static int log_id_from_message(const Pstorage__V1__LogId *m, const char *what, struct log_id *out,
                               struct ps_error *err)
{
    if (!m)
        return ps_error_set(err, PS_EINVAL, "%s is missing", what);
    *out = (struct log_id){.epoch = m->epoch, .run = m->run, .seq = m->seq, .hash = m->hash};
    return 0;
}

static int text_from_message(const char *text, const char *what, char *out, size_t size, struct ps_error *err)
{
    const size_t length = text ? strlen(text) : 0;
    if (length >= size)
        return ps_error_set(err, PS_EINVAL, "%s is longer than %zu bytes", what, size - 1);
    memcpy(out, text ? text : "", length + 1);
    return 0;
}

static int ids_from_message(ProtobufCBinaryData pod, ProtobufCBinaryData store, struct uuid *out_pod,
                            struct uuid *out_store, struct ps_error *err)
{
    const int rc = uuid_from_message(pod, UUID_REQUIRED, "the pod", out_pod, err);
    return rc ? rc : uuid_from_message(store, UUID_REQUIRED, "the store", out_store, err);
}

static size_t log_ids_to_message(const struct log_id *ids, uint32_t count, Pstorage__V1__LogId *out,
                                 Pstorage__V1__LogId **pointers)
{
    for (uint32_t i = 0; i < count; i++) {
        log_id_to_message(&ids[i], &out[i]);
        pointers[i] = &out[i];
    }
    return count;
}

static int log_ids_from_message(size_t count, Pstorage__V1__LogId *const *ids, struct log_id *out,
                                uint32_t *out_count, struct ps_error *err)
{
    if (count > REPLICA_TAIL_MAX)
        return ps_error_set(err, PS_EINVAL, "%zu batches are named; %d are possible", count,
                            REPLICA_TAIL_MAX);
    for (size_t i = 0; i < count; i++) {
        const int rc = log_id_from_message(ids[i], "a batch", &out[i], err);
        if (rc)
            return rc;
    }
    *out_count = (uint32_t)count;
    return 0;
}

/* ---- Hello */

void hello_to_message(const struct replication_hello *h, Pstorage__V1__ReplicationHello *out)
{
    pstorage__v1__replication_hello__init(out);
    out->node = (char *)(uintptr_t)h->node;
    out->cluster = (char *)(uintptr_t)h->cluster;
    out->store = uuid_to_message(&h->store);
    out->pod = uuid_to_message(&h->pod);
    out->pod_name = (char *)(uintptr_t)h->pod_name;
    out->run = h->run;
    out->epoch = h->epoch;
    out->log_end = h->log_end;
    out->software = (char *)(uintptr_t)h->software;
    out->rpc_address = (char *)(uintptr_t)h->rpc_address;
    out->heartbeat_port = h->heartbeat_port;
}

int hello_from_message(const Pstorage__V1__ReplicationHello *m, struct replication_hello *out,
                       struct ps_error *err)
{
    struct replication_hello h = {.run = m->run, .epoch = m->epoch, .log_end = m->log_end};
    int rc = ids_from_message(m->pod, m->store, &h.pod, &h.store, err);
    if (rc == 0)
        rc = text_from_message(m->node, "the node's name", h.node, sizeof h.node, err);
    if (rc == 0)
        rc = text_from_message(m->cluster, "the cluster's name", h.cluster, sizeof h.cluster, err);
    if (rc == 0)
        rc = text_from_message(m->pod_name, "the pod's name", h.pod_name, sizeof h.pod_name, err);
    if (rc == 0)
        rc = text_from_message(m->software, "the version", h.software, sizeof h.software, err);
    if (rc == 0)
        rc = text_from_message(m->rpc_address, "the address", h.rpc_address, sizeof h.rpc_address, err);
    if (rc == 0 && m->heartbeat_port > UINT16_MAX)
        rc = ps_error_set(err, PS_EINVAL, "the heartbeats' port is %u", m->heartbeat_port);
    h.heartbeat_port = (uint16_t)m->heartbeat_port;
    if (rc == 0)
        *out = h;
    return rc;
}

/* ---- State */

_Static_assert((int)REPLICA_UNBOUND == PSTORAGE__V1__BIND_STATE__BIND_STATE_UNBOUND &&
                   (int)REPLICA_BOUND == PSTORAGE__V1__BIND_STATE__BIND_STATE_BOUND &&
                   (int)REPLICA_BIDS == PSTORAGE__V1__BIND_STATE__BIND_STATE_BIDS &&
                   (int)REPLICA_ALONE == PSTORAGE__V1__BIND_STATE__BIND_STATE_ALONE,
               "the wire's numbers are ours");

/* One who can't tell what a member has promised must not guess. */
static int bind_from_message(const Pstorage__V1__ReplicationState *m, struct replica_state_msg *out,
                             struct ps_error *err)
{
    if ((int)m->bind < 0 || (int)m->bind >= (int)REPLICA_BINDS)
        return ps_error_set(err, PS_EINVAL, "the state has an unknown bind %d", (int)m->bind);
    out->bind = (enum replica_bind)m->bind;
    out->nonce = m->nonce;
    return out->bind == REPLICA_BOUND ? uuid_from_message(m->heir, UUID_REQUIRED, "the heir", &out->heir, err)
                                      : 0;
}

void state_to_message(const struct replica_state_msg *s, struct state_message *out)
{
    Pstorage__V1__ReplicationState *m = &out->message;
    pstorage__v1__replication_state__init(m);
    m->pod = uuid_to_message(&s->pod);
    m->store = uuid_to_message(&s->store);
    m->run = s->run;
    m->epoch = s->epoch;
    if (s->configuration.epoch) {
        configuration_to_message(&s->configuration, &out->configuration);
        m->configuration = &out->configuration.message;
    }
    m->ready = s->ready;
    m->stamp = s->stamp;
    m->commit_seq = s->commit_seq;
    log_id_to_message(&s->applied, &out->applied);
    log_id_to_message(&s->end, &out->end);
    m->applied = &out->applied;
    m->end = &out->end;
    m->n_tail = log_ids_to_message(s->tail, s->tail_count, out->tail, out->tails);
    m->tail = out->tails;
    m->stream_epoch = s->stream_epoch;
    m->stream_run = s->stream_run;
    m->free_bytes = s->free_bytes;
    m->log_open = s->log_open;
    m->mediator_ok = s->mediator_ok;
    m->being_filled = s->being_filled;
    m->bind = (Pstorage__V1__BindState)s->bind;
    if (s->bind == REPLICA_BOUND)
        m->heir = uuid_to_message(&s->heir);
    m->nonce = s->nonce;
    m->mediator = uuid_to_message(&s->mediator);
    m->mediator_number = s->mediator_number;
    m->yields_to = uuid_to_message(&s->yields_to);
}

int state_from_message(const Pstorage__V1__ReplicationState *m, struct replica_state_msg *out,
                       struct ps_error *err)
{
    struct replica_state_msg s = {
        .run = m->run,
        .epoch = m->epoch,
        .ready = m->ready != 0,
        .stamp = m->stamp,
        .commit_seq = m->commit_seq,
        .stream_epoch = m->stream_epoch,
        .stream_run = m->stream_run,
        .free_bytes = m->free_bytes,
        .log_open = m->log_open != 0,
        .mediator_ok = m->mediator_ok != 0,
        .being_filled = m->being_filled != 0,
        .mediator_number = m->mediator_number,
    };
    int rc = ids_from_message(m->pod, m->store, &s.pod, &s.store, err);
    if (rc == 0 && m->configuration)
        rc = configuration_from_message(m->configuration, &s.configuration, err);
    if (rc == 0 && m->configuration && s.configuration.epoch != s.epoch)
        rc = ps_error_set(err, PS_EINVAL, "a state of epoch %llu has the configuration of epoch %llu",
                          (unsigned long long)s.epoch, (unsigned long long)s.configuration.epoch);
    if (rc == 0)
        rc = log_id_from_message(m->applied, "the applied batch", &s.applied, err);
    if (rc == 0)
        rc = log_id_from_message(m->end, "the last batch", &s.end, err);
    if (rc == 0)
        rc = log_ids_from_message(m->n_tail, m->tail, s.tail, &s.tail_count, err);
    if (rc == 0)
        rc = bind_from_message(m, &s, err);
    if (rc == 0)
        rc = uuid_from_message(m->mediator, UUID_OR_NONE, "the mediator's store", &s.mediator, err);
    if (rc == 0)
        rc = uuid_from_message(m->yields_to, UUID_OR_NONE, "the successor", &s.yields_to, err);
    if (rc == 0)
        *out = s;
    return rc;
}

/* ---- Beat */

void beat_to_message(const struct heartbeat_msg *b, Pstorage__V1__HeartbeatState *out)
{
    pstorage__v1__heartbeat_state__init(out);
    out->pod = uuid_to_message(&b->pod);
    out->store = uuid_to_message(&b->store);
    out->run = b->run;
    out->epoch = b->epoch;
    out->ready = b->ready;
    out->stamp = b->stamp;
}

int beat_from_message(const Pstorage__V1__HeartbeatState *m, struct heartbeat_msg *out, struct ps_error *err)
{
    struct heartbeat_msg b = {.run = m->run, .epoch = m->epoch, .ready = m->ready != 0, .stamp = m->stamp};
    const int rc = ids_from_message(m->pod, m->store, &b.pod, &b.store, err);
    if (rc == 0)
        *out = b;
    return rc;
}

/* ---- Begin, Append */

void begin_to_message(const struct replica_begin_msg *b, struct begin_message *out)
{
    pstorage__v1__replication_begin__init(&out->message);
    out->message.pod = uuid_to_message(&b->pod);
    out->message.store = uuid_to_message(&b->store);
    out->message.run = b->run;
    out->message.epoch = b->epoch;
    log_id_to_message(&b->after, &out->after);
    out->message.after = &out->after;
    out->message.commit_seq = b->commit_seq;
    out->message.stream = b->stream;
    out->message.n_follows = log_ids_to_message(b->follows, b->follows_count, out->follows, out->pointers);
    out->message.follows = out->pointers;
}

int begin_from_message(const Pstorage__V1__ReplicationBegin *m, struct replica_begin_msg *out,
                       struct ps_error *err)
{
    struct replica_begin_msg b = {
        .run = m->run, .epoch = m->epoch, .stream = m->stream, .commit_seq = m->commit_seq};
    int rc = ids_from_message(m->pod, m->store, &b.pod, &b.store, err);
    if (rc == 0)
        rc = log_id_from_message(m->after, "the batch before", &b.after, err);
    if (rc == 0)
        rc = log_ids_from_message(m->n_follows, m->follows, b.follows, &b.follows_count, err);
    if (rc == 0)
        *out = b;
    return rc;
}

void append_to_message(const struct replica_append_msg *a, struct append_message *out)
{
    pstorage__v1__replication_append__init(&out->message);
    out->message.pod = uuid_to_message(&a->pod);
    out->message.store = uuid_to_message(&a->store);
    out->message.run = a->run;
    out->message.epoch = a->epoch;
    log_id_to_message(&a->id, &out->id);
    out->message.id = &out->id;
    out->message.commit_seq = a->commit_seq;
    out->message.stream = a->stream;
}

int append_from_message(const Pstorage__V1__ReplicationAppend *m, struct replica_append_msg *out,
                        struct ps_error *err)
{
    struct replica_append_msg a = {
        .run = m->run, .epoch = m->epoch, .stream = m->stream, .commit_seq = m->commit_seq};
    int rc = ids_from_message(m->pod, m->store, &a.pod, &a.store, err);
    if (rc == 0)
        rc = log_id_from_message(m->id, "the batch's id", &a.id, err);
    if (rc == 0)
        *out = a;
    return rc;
}

/* ---- Ack */

/* What a status means to the primary. Anything else that a member's log can say is a failure of it. */
static const struct {
    int status;
    Pstorage__V1__AckStatus message;
} ack_statuses[] = {
    {PS_OK, PSTORAGE__V1__ACK_STATUS__ACK_STATUS_OK},
    {PS_EABORTED, PSTORAGE__V1__ACK_STATUS__ACK_STATUS_ABORTED},
    {PS_EFULL, PSTORAGE__V1__ACK_STATUS__ACK_STATUS_FULL},
    {PS_ELIMIT, PSTORAGE__V1__ACK_STATUS__ACK_STATUS_BUSY},
    {PS_EIO, PSTORAGE__V1__ACK_STATUS__ACK_STATUS_FAILED},
};
enum {
    ACK_STATUSES = sizeof ack_statuses / sizeof ack_statuses[0]
};

void ack_to_message(const struct replica_ack_msg *a, struct ack_message *out)
{
    pstorage__v1__replication_ack__init(&out->message);
    out->message.pod = uuid_to_message(&a->pod);
    out->message.store = uuid_to_message(&a->store);
    out->message.run = a->run;
    out->message.epoch = a->epoch;
    log_id_to_message(&a->end, &out->end);
    out->message.end = &out->end;
    out->message.free_bytes = a->free_bytes;
    out->message.stream = a->stream;
    out->message.status = PSTORAGE__V1__ACK_STATUS__ACK_STATUS_FAILED;
    for (size_t i = ACK_STATUSES; i-- > 0;)
        if (ack_statuses[i].status == a->status)
            out->message.status = ack_statuses[i].message;
}

int ack_from_message(const Pstorage__V1__ReplicationAck *m, struct replica_ack_msg *out, struct ps_error *err)
{
    struct replica_ack_msg a = {
        .run = m->run, .epoch = m->epoch, .stream = m->stream, .free_bytes = m->free_bytes};
    size_t i = 0;
    while (i < ACK_STATUSES && ack_statuses[i].message != m->status)
        i++;
    if (i == ACK_STATUSES)
        return ps_error_set(err, PS_EINVAL, "an acknowledgement's status is %d", (int)m->status);
    a.status = ack_statuses[i].status;
    int rc = ids_from_message(m->pod, m->store, &a.pod, &a.store, err);
    if (rc == 0)
        rc = log_id_from_message(m->end, "the last batch", &a.end, err);
    if (rc == 0)
        *out = a;
    return rc;
}

/* ---- Copy */

static const Pstorage__V1__CopyStep copy_steps[REPLICA_COPY_STEPS] = {
    [REPLICA_COPY_BEGIN] = PSTORAGE__V1__COPY_STEP__COPY_STEP_BEGIN,
    [REPLICA_COPY_PIECE] = PSTORAGE__V1__COPY_STEP__COPY_STEP_PIECE,
    [REPLICA_COPY_END] = PSTORAGE__V1__COPY_STEP__COPY_STEP_END,
};

void copy_to_message(const struct replica_copy_msg *c, struct copy_message *out)
{
    pstorage__v1__replication_copy__init(&out->message);
    out->message.pod = uuid_to_message(&c->pod);
    out->message.store = uuid_to_message(&c->store);
    out->message.run = c->run;
    out->message.epoch = c->epoch;
    out->message.copy = c->copy;
    out->message.member_run = c->member_run;
    log_id_to_message(&c->of, &out->of);
    out->message.of = &out->of;
    out->message.step = copy_steps[c->step];
    out->message.number = c->number;
}

int copy_from_message(const Pstorage__V1__ReplicationCopy *m, struct replica_copy_msg *out,
                      struct ps_error *err)
{
    struct replica_copy_msg c = {
        .run = m->run, .epoch = m->epoch, .copy = m->copy, .member_run = m->member_run, .number = m->number};
    int step = 0;
    while (step < REPLICA_COPY_STEPS && copy_steps[step] != m->step)
        step++;
    if (step == REPLICA_COPY_STEPS)
        return ps_error_set(err, PS_EINVAL, "a copy's step is %d", (int)m->step);
    c.step = (enum replica_copy_step)step;
    if (c.copy == 0)
        return ps_error_set(err, PS_EINVAL, "a copy has no number");
    int rc = ids_from_message(m->pod, m->store, &c.pod, &c.store, err);
    if (rc == 0)
        rc = log_id_from_message(m->of, "the member's batch", &c.of, err);
    if (rc == 0)
        *out = c;
    return rc;
}

void copy_ack_to_message(const struct replica_copy_ack *a, Pstorage__V1__ReplicationCopyAck *out)
{
    pstorage__v1__replication_copy_ack__init(out);
    out->pod = uuid_to_message(&a->pod);
    out->store = uuid_to_message(&a->store);
    out->run = a->run;
    out->copy = a->copy;
    out->done = a->done;
    out->taking = a->taking;
    out->finished = a->finished;
    out->status = a->status == 0             ? PSTORAGE__V1__ACK_STATUS__ACK_STATUS_OK
                  : a->status == PS_EABORTED ? PSTORAGE__V1__ACK_STATUS__ACK_STATUS_ABORTED
                                             : PSTORAGE__V1__ACK_STATUS__ACK_STATUS_FAILED;
    out->detail = (char *)(uintptr_t)a->detail;
}

int copy_ack_from_message(const Pstorage__V1__ReplicationCopyAck *m, struct replica_copy_ack *out,
                          struct ps_error *err)
{
    struct replica_copy_ack a = {.run = m->run,
                                 .copy = m->copy,
                                 .done = m->done,
                                 .taking = m->taking != 0,
                                 .finished = m->finished != 0};
    if (m->status == PSTORAGE__V1__ACK_STATUS__ACK_STATUS_ABORTED)
        a.status = PS_EABORTED;
    else if (m->status == PSTORAGE__V1__ACK_STATUS__ACK_STATUS_FAILED)
        a.status = PS_EIO;
    else if (m->status != PSTORAGE__V1__ACK_STATUS__ACK_STATUS_OK)
        return ps_error_set(err, PS_EINVAL, "a copy's status is %d", (int)m->status);
    (void)snprintf(a.detail, sizeof a.detail, "%s", m->detail);
    const int rc = ids_from_message(m->pod, m->store, &a.pod, &a.store, err);
    if (rc == 0)
        *out = a;
    return rc;
}

/* ---- Record */

void record_to_message(const struct replica_record_msg *r, Pstorage__V1__ReplicationRecord *out)
{
    pstorage__v1__replication_record__init(out);
    out->pod = uuid_to_message(&r->pod);
    out->store = uuid_to_message(&r->store);
    out->epoch = r->epoch;
    out->group = r->group;
}

int record_from_message(const Pstorage__V1__ReplicationRecord *m, struct replica_record_msg *out,
                        struct ps_error *err)
{
    struct replica_record_msg r = {.epoch = m->epoch, .group = m->group};
    if (r.group == 0 || r.group >= 1ull << 49)
        return ps_error_set(err, PS_EINVAL, "no group has the number %llu", (unsigned long long)r.group);
    const int rc = ids_from_message(m->pod, m->store, &r.pod, &r.store, err);
    if (rc == 0)
        *out = r;
    return rc;
}
