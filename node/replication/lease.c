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
    for (uint32_t i = 0; i < r->peer_count; i++) {
        r->peers[i].since_ns = r->now_ns;
        if (r->peers[i].behind_ns)
            r->peers[i].behind_ns = r->now_ns;
    }
    if (r->flush_ns)
        r->flush_ns = r->now_ns;
    r->persist_ns = r->now_ns;
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

/* ---- the heartbeats' thread */

/* Whom a lease may be granted to: the primary of the configuration in force, by a member of it. */
static const struct uuid *may_grant_to(const struct replica *r)
{
    static const struct uuid nobody;
    const struct configuration *c = in_force(r);
    return c->epoch && c->epoch == r->want.configuration.epoch && configuration_has(c, &r->config.store)
               ? &c->primary
               : &nobody;
}

/* A primary whose store failed can make nothing durable any more: another one that counts shall take over. */
static bool gives_way(const struct replica *r)
{
    return r->log_failed && configuration_sync_count(in_force(r)) > 1 && mediator_is_ok(r) &&
           r->want.self == 0 && r->durable.self == 0;
}

static bool is_ready(const struct replica *r)
{
    return r->role == REPLICA_LEADING && is_self(r, &r->want.configuration.primary) && !gives_way(r);
}

static void watch_flushes(struct replica *r)
{
    if (!r->log_open || r->durable_seq >= log_end(r).seq) {
        r->flush_ns = 0;
    } else if (!r->flush_ns || r->flush_seq != r->durable_seq) {
        r->flush_ns = r->now_ns;
        r->flush_seq = r->durable_seq;
    }
}

/* Since when a flush of its own has been under way; 0: none is. */
static uint64_t flushing_since(const struct replica *r)
{
    if (r->persisting && r->flush_ns)
        return least_of(r->persist_ns, r->flush_ns);
    return r->persisting ? r->persist_ns : r->flush_ns;
}

/* Whoever can't make anything durable is no good to anybody: another one takes its place. */
static bool is_stuck(const struct replica *r)
{
    const uint64_t since = flushing_since(r);
    return since && r->now_ns >= after_ns(since, r->config.options.stuck_ns);
}

/* Only of the run that told us its state: another one says so itself first. The other thread may have read
 * the clock after this turn began. */
static void take_in(struct replica *r, const struct replica_heard_peer *in)
{
    struct peer *p = peer_find(r, &in->store);
    if (!p || !p->told_ns || in->run != p->told.run)
        return;
    const uint64_t heard_ns = least_of(in->heard_ns, r->now_ns);
    const uint64_t ready_ns = least_of(in->ready_ns, r->now_ns);
    if (heard_ns > p->heard_ns) {
        p->heard_ns = heard_ns;
        p->dead = false;
    }
    if (ready_ns > p->ready_ns) {
        p->ready_ns = ready_ns;
        p->lapsed = false;
    }
    if (in->stamp && in->stamp_epoch == in_force(r)->epoch && is_primary(r)) {
        const uint64_t from = BROKEN(REPLICA_LEASE_FROM_RECEIPT) ? in->heard_ns : in->stamp;
        p->lease_until_ns = most_of(p->lease_until_ns, from + r->config.options.lease_ns);
    }
}

void hear_beats(struct replica *r)
{
    struct replica_heard heard;
    struct replica_view view = {
        .pod = r->config.pod,
        .store = r->config.store,
        .run = r->config.run,
        .epoch = in_force(r)->epoch,
        .ready = is_ready(r),
        .grants_to = *may_grant_to(r),
        .mute = r->state_failed || r->role == REPLICA_UNCONFIGURED,
        .peer_count = r->peer_count,
    };
    watch_flushes(r);
    view.flush_ns = flushing_since(r);
    for (uint32_t i = 0; i < r->peer_count; i++)
        view.peers[i] = r->peers[i].store;
    if (!r->effects->exchange(r->user, r->now_ns, &view, &heard))
        return;
    for (uint32_t i = 0; i < heard.count; i++)
        take_in(r, &heard.peers[i]);
    if (heard.promise.until_ns > r->promise_until_ns && !BROKEN(REPLICA_DEAF)) {
        r->promise_until_ns = heard.promise.until_ns;
        r->promised_store = heard.promise.store;
        r->promised_epoch = heard.promise.epoch;
        r->promised_run = heard.promise.run;
    }
}

void replica_listen(struct replica *r, uint64_t now_ns)
{
    r->now_ns = now_ns;
    hear_beats(r);
}

/* ---- sending */

static void fill_state(const struct replica *r, const struct peer *to, struct replica_state_msg *msg)
{
    const struct configuration *c = in_force(r);
    *msg = (struct replica_state_msg){
        .pod = r->config.pod,
        .store = r->config.store,
        .run = r->config.run,
        .epoch = c->epoch,
        .ready = is_ready(r),
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
    msg->mediator = r->durable.mediator;
    msg->mediator_number = r->durable.mediator_number;
    authority_fill(r, msg);
    switch_fill(r, msg);
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
    if (p->told_ns && in->run > p->told.run) {
        p->lapsed = true;
        p->lease_until_ns = 0; /* a promise of its former run: it will not remember whom it was for */
        p->stream = STREAM_NONE;
        p->clean = 0;
    }
    if (in->run < p->told.run)
        return; /* said before it started anew */
    p->heard_ns = p->told_ns = r->now_ns;
    p->dead = false;
    promote_hear(r, in);
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
    authority_mediator(r, in);
    authority_hear(r, in);
    switch_hear(r, in);
}

static bool may_grant(const struct replica *r, const struct replica_state_msg *in)
{
    return in->ready && in->stamp && in->epoch == in_force(r)->epoch &&
           uuid_equal(may_grant_to(r), &in->store);
}

bool replica_state(struct replica *r, uint64_t now_ns, const struct replica_state_msg *in,
                   struct replica_state_msg *answer)
{
    r->now_ns = now_ns;
    hear_beats(r);
    const bool answers = !is_stuck(r);
    if (!uuid_equal(&in->pod, &r->config.pod)) {
        fill_state(r, NULL, answer);
        return answers;
    }
    learn(r, in);
    hear(r, in);
    if (!answers)
        return false;
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
    return true;
}

void replica_state_answer(struct replica *r, uint64_t now_ns, const struct replica_state_msg *in)
{
    r->now_ns = now_ns;
    hear_beats(r); /* what was promised before is older than this answer, which may void it */
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
    hear_beats(r); /* what was heard before is older than its end */
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
    if (is_stuck(r))
        return after_ns(r->now_ns, every);
    if (!r->heartbeat_ns || r->now_ns - r->heartbeat_ns >= every)
        send_heartbeats(r);
    return r->heartbeat_ns + (r->hurry ? HURRY_NS : r->config.options.heartbeat_ns);
}
