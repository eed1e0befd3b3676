/* Heartbeats, and what rests on them: a member's promise not to act as primary, the primary's lease, silence.
 *
 * The primary's lease ends `lease` after the stamp that it took before it asked; the member's promise ends
 * `lease + margin` after it was asked. So the promise outlives the lease whatever the delay, as long as the
 * two clocks run apart by less than the margin in a lease. Promises hold across epochs. */
#include "node/replication/replica_impl.h"

enum {
    HURRY_NS = 20000000, /* between heartbeats, when something waits for one */
};

bool heard_lately(const struct replica *r, const struct peer *p, uint64_t within_ns)
{
    return p->heard_ns && !p->dead && r->now_ns - p->heard_ns < within_ns;
}

void expect_all(struct replica *r)
{
    for (uint32_t i = 0; i < r->peer_count; i++)
        r->peers[i].since_ns = r->now_ns;
}

bool leases_held(const struct replica *r, uint64_t now_ns)
{
    if (ask_may_empower(r))
        return false;
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (counts(r, &r->peers[i]) && r->peers[i].lease_until_ns <= now_ns)
            return false;
    return true;
}

bool replica_may_read(const struct replica *r, uint64_t now_ns)
{
    if (BROKEN(REPLICA_READ_UNLEASED))
        return r->role == REPLICA_LEADING;
    return r->role == REPLICA_LEADING && is_self(r, &r->want.configuration.primary) && leases_held(r, now_ns);
}

/* ---- sending */

/* A primary whose store failed can make nothing durable any more: another one that counts shall take over. */
static bool gives_way(const struct replica *r)
{
    return r->log_failed && configuration_sync_count(in_force(r)) > 1 && mediator_is_ok(r) &&
           r->want.self == 0 && r->durable.self == 0;
}

static void fill_state(const struct replica *r, const struct peer *to, struct replica_state_msg *msg)
{
    const struct configuration *c = in_force(r);
    *msg = (struct replica_state_msg){
        .pod = r->config.pod,
        .store = r->config.store,
        .run = r->config.run,
        .epoch = c->epoch,
        .ready = r->role == REPLICA_LEADING && is_self(r, &r->want.configuration.primary) && !gives_way(r),
        .commit_seq = r->commit_seq,
        .applied = r->applied,
        .end = r->applied,
        .stream_epoch = r->stream_epoch,
        .stream_run = r->stream_run,
        .free_bytes = r->free_bytes,
        .log_open = r->log_open && !r->log_failed && !r->truncating,
        .being_filled = r->being_filled,
        .mediator_ok = mediator_is_ok(r),
    };
    authority_fill(r, msg);
    if (!to || to->told.epoch < c->epoch)
        msg->configuration = *c;
    for (uint32_t i = 0; i < r->tail_count && r->tail[i].seq <= r->durable_seq; i++) {
        msg->tail[msg->tail_count++] = r->tail[i];
        msg->end = r->tail[i];
    }
}

void send_heartbeats(struct replica *r)
{
    for (uint32_t i = 0; i < r->peer_count; i++) {
        struct replica_state_msg msg;
        fill_state(r, &r->peers[i], &msg);
        if (msg.ready)
            msg.stamp = r->now_ns;
        r->effects->send_state(r->user, &r->peers[i].store, &msg);
    }
    r->heartbeat_ns = r->now_ns;
    r->hurry = false;
}

/* ---- receiving */

static void void_promise(struct replica *r, const char *why)
{
    if (r->promise_until_ns <= r->now_ns)
        return;
    decide(r, "release", "the promise to %.40s, %llu ms more, is void: %s", peer_name(r, &r->promised_store),
           (unsigned long long)((r->promise_until_ns - r->now_ns) / 1000000), why);
    r->promise_until_ns = r->now_ns;
}

static void hear(struct replica *r, const struct replica_state_msg *in)
{
    struct peer *p = peer_find(r, &in->store);
    if (!p)
        return;
    const bool promised = uuid_equal(&in->store, &r->promised_store);
    if (promised && in->run > r->promised_run)
        void_promise(r, "it has started anew, so it does not serve from before");
    else if (promised && in->epoch > r->promised_epoch && in->epoch == r->want.configuration.epoch &&
             !uuid_equal(&r->want.configuration.primary, &in->store))
        void_promise(r, "it holds a later configuration with another primary");
    if (p->heard_ns && in->run > p->told.run) {
        p->lapsed = true;
        p->lease_until_ns = 0; /* a promise of its former run: it will not remember whom it was for */
        p->stream = STREAM_NONE;
        p->clean = 0;
    }
    if (in->run < p->told.run)
        return; /* said before it started anew */
    p->heard_ns = r->now_ns;
    p->dead = false;
    if (in->log_open)
        p->open_ns = r->now_ns;
    if (in->ready) {
        p->ready_ns = r->now_ns;
        p->lapsed = false;
    }
    const struct configuration known = p->told.configuration;
    p->told = *in;
    if (!in->configuration.epoch)
        p->told.configuration = known;
}

static void learn(struct replica *r, const struct replica_state_msg *in)
{
    if (in->configuration.epoch > r->want.configuration.epoch &&
        uuid_equal(&in->configuration.pod, &r->config.pod)) {
        adopt(r, &in->configuration, peer_name(r, &in->store));
        authority_inherit(r, in);
    }
    authority_hear(r, in);
}

static bool may_grant(const struct replica *r, const struct replica_state_msg *in)
{
    return in->ready && in->stamp && in->epoch == in_force(r)->epoch &&
           in->epoch == r->want.configuration.epoch && uuid_equal(&in_force(r)->primary, &in->store) &&
           configuration_has(in_force(r), &r->config.store);
}

void replica_state(struct replica *r, uint64_t now_ns, const struct replica_state_msg *in,
                   struct replica_state_msg *answer)
{
    r->now_ns = now_ns;
    if (!uuid_equal(&in->pod, &r->config.pod)) {
        fill_state(r, NULL, answer);
        return;
    }
    learn(r, in);
    hear(r, in);
    uint64_t granted = 0;
    if (may_grant(r, in)) {
        const uint64_t margin = BROKEN(REPLICA_NO_MARGIN) ? 0 : r->config.options.margin_ns;
        const uint64_t until = now_ns + r->config.options.lease_ns + margin;
        if (r->promise_until_ns < until)
            r->promise_until_ns = until;
        r->promised_store = in->store;
        r->promised_epoch = in->epoch;
        r->promised_run = in->run;
        granted = in->stamp;
    }
    const uint64_t seq = in->commit_seq;
    if (in->epoch == in_force(r)->epoch && uuid_equal(&in_force(r)->primary, &in->store) &&
        r->stream_epoch == in->epoch && r->stream_run == in->run && seq > r->commit_seq) {
        r->commit_seq = seq;
        r->effects->commit(r->user, seq);
    }
    const struct replica_state_msg knows = {.epoch = in->epoch};
    struct peer asker = {.told = knows};
    fill_state(r, &asker, answer);
    answer->stamp = granted;
}

void replica_state_answer(struct replica *r, uint64_t now_ns, const struct replica_state_msg *in)
{
    r->now_ns = now_ns;
    if (!uuid_equal(&in->pod, &r->config.pod))
        return;
    struct peer *p = peer_find(r, &in->store);
    learn(r, in);
    hear(r, in);
    if (!p || p != peer_find(r, &in->store))
        return;
    if (p->clean < UINT32_MAX)
        p->clean++;
    /* Our own stamp, of this start: it comes back only with what we sent. */
    if (in->stamp && in->epoch == in_force(r)->epoch && is_primary(r) && in->stamp <= now_ns) {
        const uint64_t from = BROKEN(REPLICA_LEASE_FROM_RECEIPT) ? now_ns : in->stamp;
        const uint64_t until = from + r->config.options.lease_ns;
        if (p->lease_until_ns < until)
            p->lease_until_ns = until;
    }
}

void replica_peer_lost(struct replica *r, uint64_t now_ns, const struct uuid *store)
{
    r->now_ns = now_ns;
    struct peer *p = peer_find(r, store);
    if (!p)
        return;
    break_stream(r, p);
    p->clean = 0;
}

void replica_peer_dead(struct replica *r, uint64_t now_ns, const struct uuid *store, uint64_t run)
{
    r->now_ns = now_ns;
    struct peer *p = peer_find(r, store);
    if (!p || p->told.run != run || p->dead)
        return;
    p->dead = true;
    p->stream = STREAM_NONE;
    p->clean = 0;
    if (uuid_equal(store, &r->promised_store) && run == r->promised_run)
        void_promise(r, "its process has ended");
}

uint64_t lease_turn(struct replica *r)
{
    if (r->role == REPLICA_UNCONFIGURED)
        return UINT64_MAX;
    const uint64_t every = r->hurry ? HURRY_NS : r->config.options.heartbeat_ns;
    if (!r->heartbeat_ns || r->now_ns - r->heartbeat_ns >= every)
        send_heartbeats(r);
    return r->heartbeat_ns + (r->hurry ? HURRY_NS : r->config.options.heartbeat_ns);
}
