/* Messages between nodes and mediator: delayed, lost, sent twice, out of order, cut off in one direction. */
#include "tests/sim/world.h"

static struct message *make(struct node *n, unsigned to, enum message_kind kind, uint32_t bytes)
{
    struct message *m = calloc(1, sizeof *m + bytes);
    assert(m);
    m->kind = kind;
    m->from = (uint8_t)n->index;
    m->to = (uint8_t)to;
    m->from_life = n->life;
    m->bytes = bytes;
    return m;
}

static bool is_noisy(const struct world *w)
{
    return w->faults && w->scenario->noise;
}

static uint64_t delay(struct world *w)
{
    if (w->now < w->clogged_until && prng_chance(&w->network, 1, 3))
        return 5 * MS + prng_below(&w->network, prng_chance(&w->network, 1, 3) ? 1500 * MS : 300 * MS);
    if (is_noisy(w) && prng_chance(&w->network, 1, 200))
        return prng_below(&w->network, 100 * MS);
    return 30000 + prng_below(&w->network, 200000);
}

static bool carries_log(const struct message *m)
{
    return m->kind == MESSAGE_BEGIN || m->kind == MESSAGE_APPEND || m->kind == MESSAGE_ACK ||
           m->kind == MESSAGE_COPY || m->kind == MESSAGE_COPY_ACK;
}

static void send(struct world *w, struct message *m)
{
    const bool cut = w->now < w->cut_until[m->from][m->to];
    if (cut || (is_noisy(w) && prng_chance(&w->network, 1, 2000))) {
        /* Streams notice: what they carried will not be answered. */
        if (carries_log(m)) {
            const unsigned a = m->from, b = m->to;
            struct node *x = &w->nodes[a], *y = &w->nodes[b];
            const uint64_t when = w->now + prng_below(&w->network, 300 * MS);
            at(w, when, EVENT_LOST, a, x->life, (void *)(uintptr_t)b);
            at(w, when, EVENT_LOST, b, y->life, (void *)(uintptr_t)a);
        }
        free(m);
        return;
    }
    if (carries_log(m)) {
        /* One connection: what it carries stays in order. */
        uint64_t *last = &w->link_at[m->from][m->to];
        const uint64_t when = w->now + delay(w);
        *last = when > *last ? when : *last + 1;
        at(w, *last, EVENT_MESSAGE, m->to, 0, m);
        return;
    }
    if (is_noisy(w) && prng_chance(&w->network, 1, 500)) {
        struct message *twice = malloc(sizeof *m + m->bytes);
        assert(twice);
        memcpy(twice, m, sizeof *m + m->bytes);
        at(w, w->now + delay(w), EVENT_MESSAGE, m->to, 0, twice);
    }
    at(w, w->now + delay(w), EVENT_MESSAGE, m->to, 0, m);
}

/* To a store: NULL if nobody has it any more. */
static struct message *make_to(struct node *n, const struct uuid *to, enum message_kind kind, uint32_t bytes)
{
    const struct node *peer = node_of(n->w, to);
    return peer ? make(n, peer->index, kind, bytes) : NULL;
}

/* ---- what a member sends */

static void link_state(void *user, const struct uuid *to, const struct replica_state_msg *msg)
{
    struct node *n = user;
    struct message *m = make_to(n, to, MESSAGE_STATE, 0);
    if (!m)
        return;
    m->state = *msg;
    send(n->w, m);
}

static void link_begin(void *user, const struct uuid *to, const struct replica_begin_msg *msg)
{
    struct node *n = user;
    struct message *m = make_to(n, to, MESSAGE_BEGIN, 0);
    if (!m)
        return;
    m->begin = *msg;
    send(n->w, m);
}

static void link_append(void *user, const struct uuid *to, const struct replica_append_msg *msg,
                        const void *batch, uint32_t bytes)
{
    struct node *n = user;
    check_sealed(n->w, n, msg);
    struct message *m = make_to(n, to, MESSAGE_APPEND, bytes);
    if (!m)
        return;
    m->append = *msg;
    memcpy(m->batch, batch, bytes);
    send(n->w, m);
}

static void link_ack(void *user, const struct uuid *to, const struct replica_ack_msg *msg)
{
    struct node *n = user;
    struct message *m = make_to(n, to, MESSAGE_ACK, 0);
    if (!m)
        return;
    m->ack = *msg;
    send(n->w, m);
}

static void link_copy(void *user, const struct uuid *to, const struct replica_copy_msg *msg, const void *data,
                      uint32_t bytes)
{
    struct node *n = user;
    struct message *m = make_to(n, to, MESSAGE_COPY, bytes);
    if (!m)
        return;
    m->copy = *msg;
    if (bytes)
        memcpy(m->batch, data, bytes);
    send(n->w, m);
}

static void link_copy_ack(void *user, const struct uuid *to, const struct replica_copy_ack *ack)
{
    struct node *n = user;
    struct message *m = make_to(n, to, MESSAGE_COPY_ACK, 0);
    if (!m)
        return;
    m->copy_ack = *ack;
    n->w->result->copies += ack->finished;
    n->copies += ack->finished;
    send(n->w, m);
}

static void link_record(void *user, const struct uuid *to, const struct replica_record_msg *msg)
{
    struct node *n = user;
    struct message *m = make_to(n, to, MESSAGE_RECORD, 0);
    if (!m)
        return;
    m->record = *msg;
    send(n->w, m);
}

static void link_record_answer(void *user, const struct uuid *to, const struct replica_record_msg *msg,
                               const void *record, uint32_t bytes)
{
    struct node *n = user;
    struct message *m = make_to(n, to, MESSAGE_RECORD_ANSWER, bytes);
    if (!m)
        return;
    m->record = *msg;
    if (bytes)
        memcpy(m->batch, record, bytes);
    send(n->w, m);
}

static void link_ask(void *user, const struct replica_cas *cas)
{
    struct node *n = user;
    struct message *m = make(n, MEDIATOR, MESSAGE_ASK, 0);
    m->cas = *cas;
    send(n->w, m);
    lose_answer(n->w, n->index);
}

static void link_report(void *user, uint64_t epoch)
{
    struct node *n = user;
    struct message *m = make(n, MEDIATOR, MESSAGE_REPORT, 0);
    m->epoch = epoch;
    send(n->w, m);
}

static void link_decided(void *user, const struct replica_decision *d)
{
    struct node *n = user;
    trace(n->w, "%s: %s: %s", n->name, d->kind, d->text);
    if (strcmp(d->kind, "lead") == 0) {
        n->w->result->leads++;
        check_leads(n->w, n, d->epoch);
    }
    n->w->result->elections += strcmp(d->kind, "elected") == 0;
    n->w->result->alone += strcmp(d->kind, "alone") == 0;
    n->w->result->yields += strcmp(d->kind, "take-over") == 0 && strstr(d->text, "asks for it");
    n->w->result->moves += strcmp(d->kind, "switch over") == 0 && strstr(d->text, "which is preferred");
    n->w->result->mediators += strcmp(d->kind, "registered") == 0 && strstr(d->text, "a new mediator");
}

static void link_changed(void *user)
{
    (void)user;
}

static uint64_t link_now(void *user)
{
    return clock_of(user);
}

static bool link_exchange(void *user, uint64_t now_ns, const struct replica_view *view,
                          struct replica_heard *heard)
{
    heartbeat_exchange(&((struct node *)user)->heartbeat, now_ns, view, heard);
    return true;
}

const struct member_links sim_links = {
    .state = link_state,
    .begin = link_begin,
    .append = link_append,
    .ack = link_ack,
    .copy = link_copy,
    .copy_ack = link_copy_ack,
    .record = link_record,
    .record_answer = link_record_answer,
    .ask = link_ask,
    .report = link_report,
    .decided = link_decided,
    .changed = link_changed,
    .now_ns = link_now,
    .exchange = link_exchange,
};

/* ---- the heartbeats' thread */

void send_beats(struct node *n)
{
    struct heartbeat_msg beat;
    if (!heartbeat_next(&n->heartbeat, clock_of(n), &beat))
        return;
    for (uint32_t i = 0; i < n->heartbeat.view.peer_count; i++) {
        struct message *m = make_to(n, &n->heartbeat.view.peers[i], MESSAGE_BEAT, 0);
        if (!m)
            continue;
        m->beat = beat;
        send(n->w, m);
    }
}

static void beat_arrived(struct world *w, struct node *n, const struct message *m)
{
    struct heartbeat_msg answer;
    if (m->kind == MESSAGE_BEAT_ANSWER) {
        heartbeat_answered(&n->heartbeat, clock_of(n), &m->beat);
    } else if (heartbeat_asked(&n->heartbeat, clock_of(n), &m->beat, &answer)) {
        struct message *out = make(n, m->from, MESSAGE_BEAT_ANSWER, 0);
        out->to_life = m->from_life;
        out->beat = answer;
        send(w, out);
    }
}

/* ---- the mediator */

static const char cluster[] = "sim";

void mediator_restart(struct world *w)
{
    struct ps_error err;
    if (w->mediator)
        mediator_core_destroy(w->mediator);
    w->mediator = NULL;
    const int rc = mediator_core_create(w->mediator_store, &w->mediator, &err);
    assert(rc == 0);
    (void)rc;
}

const struct configuration *mediator_configuration(struct world *w)
{
    const struct mediator_pod *pod = mediator_get(w->mediator, cluster, &w->pod, NULL);
    return pod ? &pod->configuration : NULL;
}

bool asks_under_way(const struct world *w, unsigned node)
{
    for (size_t i = 0; i < w->heap_count; i++) {
        const struct event *e = &w->heap[i];
        const struct message *m = e->kind == EVENT_MESSAGE ? e->what : NULL;
        if (m && m->kind == MESSAGE_ASK && m->from == node)
            return true;
    }
    return false;
}

static void answer(struct world *w, const struct message *in, const struct replica_verdict *verdict)
{
    struct message *m = calloc(1, sizeof *m);
    assert(m);
    m->kind = MESSAGE_VERDICT;
    m->from = MEDIATOR;
    m->to = in->from;
    m->to_life = in->from_life;
    m->verdict = *verdict;
    send(w, m);
}

/* Whatever the rules say. */
static void put(struct world *w, const struct mediator_pod *pod, const struct configuration *configuration)
{
    struct mediator_pod next = *pod;
    struct ps_error err;
    next.configuration = *configuration;
    next.reported_epoch = 0;
    const struct mediator_update update = {.pod = &next};
    (void)w->mediator_store->ops->apply(w->mediator_store, &update, 1, &err);
    mediator_restart(w);
}

static void ask_mediator(struct world *w, const struct message *m)
{
    static struct mediator_change_reply reply;
    struct ps_error err = {0};
    const struct mediator_change_pod pod = {.expected_epoch = m->cas.expected_epoch, .next = m->cas.next};
    const struct mediator_change change = {.cluster = cluster,
                                           .mediator = m->cas.mediator,
                                           .request_id = m->cas.request,
                                           .requester = m->cas.requester,
                                           .count = 1,
                                           .pods = &pod};
    const struct mediator_pod *before = mediator_get(w->mediator, cluster, &m->cas.next.pod, NULL);
    if (before && w->scenario->mutation == REPLICA_WITHOUT_SWAP &&
        m->cas.next.epoch != before->configuration.epoch) {
        struct configuration next = m->cas.next;
        if (next.epoch <= before->configuration.epoch)
            next.epoch = before->configuration.epoch + 1;
        put(w, before, &next);
        const struct replica_verdict all = {
            .mediator = w->mediator_store->id, .request = m->cas.request, .now = next};
        answer(w, m, &all);
        return;
    }
    const struct configuration was = before ? before->configuration : (struct configuration){0};
    if (mediator_change(w->mediator, &change, w->now, &reply, &err)) {
        trace(w, "mediator: can't decide: %s", err.detail);
        return; /* it is asked again */
    }
    trace(w, "mediator: %s asks for epoch %llu: %s", w->nodes[m->from].name,
          (unsigned long long)m->cas.next.epoch, reply.pods[0].text);
    if (reply.granted && reply.pods[0].now.epoch != was.epoch)
        w->mediator_before = was;
    struct replica_verdict v = {
        .mediator = w->mediator_store->id,
        .request = m->cas.request,
        .status = reply.granted ? 0 : PS_EABORTED,
    };
    if (reply.pods[0].known)
        v.now = reply.pods[0].now;
    (void)snprintf(v.detail, sizeof v.detail, "%.150s", reply.pods[0].text);
    answer(w, m, &v);
}

static void report_mediator(struct world *w, const struct message *m)
{
    const struct mediator_report report = {.pod = w->pod, .epoch = m->epoch};
    uint64_t epoch;
    struct ps_error err;
    if (mediator_report(w->mediator, cluster, &report, 1, &epoch, &err))
        return;
    struct replica_verdict v = {.mediator = w->mediator_store->id};
    const struct mediator_pod *pod = mediator_get(w->mediator, cluster, &report.pod, NULL);
    if (pod)
        v.now = pod->configuration;
    answer(w, m, &v);
}

/* A mediator that lost its last commit, though it had answered. */
static void forget_last(struct world *w)
{
    if (w->scenario->mutation != REPLICA_FORGET_VERDICT || !w->mediator_before.epoch)
        return;
    const struct mediator_pod *pod = mediator_get(w->mediator, cluster, &w->mediator_before.pod, NULL);
    if (!pod)
        return;
    put(w, pod, &w->mediator_before);
}

/* ---- arrival */

static void trace_message(struct world *w, const struct node *n, const struct message *m)
{
    const char *from = m->from == MEDIATOR ? "mediator" : w->nodes[m->from].name;
    if (m->kind == MESSAGE_BEGIN)
        trace(w, "%s: %s begins after batch %llu in epoch %llu", n->name, from,
              (unsigned long long)m->begin.after.seq, (unsigned long long)m->begin.epoch);
    else if (m->kind == MESSAGE_ACK && m->ack.status)
        trace(w, "%s: %s refuses after batch %llu in epoch %llu: %s", n->name, from,
              (unsigned long long)m->ack.end.seq, (unsigned long long)m->ack.epoch,
              ps_status_name(m->ack.status));
}

static void node_message(struct world *w, struct node *n, struct message *m)
{
    struct replica_copy_ack copy_ack;
    struct replica_ack_msg refusal;
    const uint64_t now = clock_of(n);
    trace_message(w, n, m);
    switch (m->kind) {
    case MESSAGE_STATE: {
        struct message *out = make(n, m->from, MESSAGE_STATE_ANSWER, 0);
        out->to_life = m->from_life;
        if (member_state(n->member, now, &m->state, &out->state))
            send(w, out);
        else
            free(out);
        break;
    }
    case MESSAGE_STATE_ANSWER:
        member_state_answer(n->member, now, &m->state);
        break;
    case MESSAGE_BEGIN:
        if (!member_begin(n->member, now, &m->begin, &refusal))
            link_ack(n, &m->begin.store, &refusal);
        break;
    case MESSAGE_APPEND:
        if (!member_append(n->member, now, &m->append, m->batch, m->bytes, &refusal))
            link_ack(n, &m->append.store, &refusal);
        break;
    case MESSAGE_ACK:
        member_ack(n->member, now, &m->ack);
        break;
    case MESSAGE_COPY:
        n->copies_damage |= may_be_damaged(&w->nodes[m->from]);
        if (!member_copy(n->member, now, &m->copy, m->batch, m->bytes, &copy_ack))
            link_copy_ack(n, &m->copy.store, &copy_ack);
        break;
    case MESSAGE_COPY_ACK:
        member_copy_ack(n->member, now, &m->copy_ack);
        break;
    case MESSAGE_RECORD:
        member_record(n->member, now, &m->record);
        break;
    case MESSAGE_RECORD_ANSWER:
        member_record_answer(n->member, now, &m->record, m->batch, m->bytes);
        break;
    case MESSAGE_VERDICT:
        member_verdict(n->member, now, &m->verdict);
        break;
    default:
        assert(false);
    }
    wake(n);
}

void message_arrived(struct world *w, struct message *m)
{
    if (m->to == MEDIATOR) {
        if (w->mediator_up) {
            if (w->faults && prng_chance(&w->network, 1, 50))
                forget_last(w);
            if (m->kind == MESSAGE_ASK)
                ask_mediator(w, m);
            else
                report_mediator(w, m);
        }
    } else {
        struct node *n = &w->nodes[m->to];
        if (n->up && n->opened && (!m->to_life || m->to_life == n->life)) {
            if (is_beat(m))
                beat_arrived(w, n, m);
            else
                node_message(w, n, m);
        }
    }
    free(m);
}

void found(struct world *w)
{
    struct configuration c = {.count = w->node_count, .primary = w->nodes[0].store, .epoch = 1};
    struct pod_log_identity id;
    pod_log_identity(member_pod(w->nodes[0].member), &id);
    memcpy(c.pod.bytes, id.pod, 16);
    w->pod = c.pod;
    (void)snprintf(c.pod_name, sizeof c.pod_name, "default");
    for (unsigned i = 0; i < w->node_count; i++) {
        const bool async = w->scenario->async >> i & 1;
        c.members[i] = (struct member){
            .store = w->nodes[i].store, .mode = async ? MEMBER_ASYNC : MEMBER_SYNC, .in_sync = !async};
        (void)snprintf(c.members[i].node, sizeof c.members[i].node, "%s", w->nodes[i].name);
    }
    if (w->scenario->preferred < w->node_count)
        c.preferred = w->nodes[w->scenario->preferred].store;
    struct ps_error err = {0};
    const int rc = replica_found(member_replica(w->nodes[0].member), clock_of(&w->nodes[0]), &c, &err);
    if (rc)
        fail(w, SIM_EXPECTED, "the pod can't be founded: %s", err.detail);
    wake(&w->nodes[0]);
}
