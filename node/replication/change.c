/* Changes of the configuration: what is asked of the mediator, what comes of it, and how a later
 * configuration is taken over, whoever told it.
 *
 * An ask is made durable before it is sent and stays open until a configuration above the expected epoch is
 * known. One replaces another only for the same epoch: at most one of them can be granted. */
#include <stdio.h>

#include "node/replication/replica_impl.h"

enum {
    IDLE_LEASES = 4, /* that a primary may be there without serving */
};

static const char *const ask_names[ASK_REASONS] = {
    "nothing", "take-over",   "remove member",      "join",
    "members", "switch over", "first registration", "promotion by a person"};

bool mediator_is_ok(const struct replica *r)
{
    return r->mediator_ns && r->now_ns - r->mediator_ns < r->config.options.mediator_lost_ns &&
           !r->mediator_differs;
}

bool ask_is_open(const struct replica *r)
{
    return r->want.ask.reason != ASK_NONE;
}

bool ask_may_empower(const struct replica *r)
{
    const struct ask *a = &r->want.ask;
    if (a->reason == ASK_NONE || a->expected_epoch != in_force(r)->epoch || BROKEN(REPLICA_ABANDON_JOIN) ||
        BROKEN(REPLICA_JOIN_EARLY))
        return false;
    for (uint32_t i = 0; i < a->next.count; i++) {
        const struct member *m = &a->next.members[i];
        if (!m->in_sync || is_self(r, &m->store) || configuration_in_sync(in_force(r), &m->store))
            continue;
        /* One that counts already has a lease to give. */
        bool counted = false;
        for (uint32_t p = 0; p < r->peer_count; p++)
            counted |= r->peers[p].joining && uuid_equal(&r->peers[p].store, &m->store);
        if (!counted)
            return true;
    }
    return false;
}

void new_request(struct replica *r, struct uuid *id)
{
    for (size_t i = 0; i < sizeof id->bytes; i += 8) {
        const uint64_t word = prng_next(&r->prng);
        memcpy(id->bytes + i, &word, 8);
    }
}

void ask(struct replica *r, enum ask_reason reason, struct configuration *next)
{
    if (r->want.highest_epoch < r->want.configuration.epoch)
        r->want.highest_epoch = r->want.configuration.epoch;
    next->epoch = ++r->want.highest_epoch;
    r->want.ask =
        (struct ask){.reason = reason, .expected_epoch = r->want.configuration.epoch, .next = *next};
    new_request(r, &r->want.ask.request);
    r->ask_sent_ns = 0;
    decide(r, "ask", "the mediator is asked for epoch %llu (%s): primary %.40s, %u in sync",
           (unsigned long long)next->epoch, ask_names[reason], peer_name(r, &next->primary),
           configuration_sync_count(next));
}

/* ---- adoption */

static void keep_peers(struct replica *r)
{
    const struct configuration *c = &r->want.configuration;
    struct peer old[REPLICA_PEERS_MAX];
    const uint32_t count = r->peer_count;
    memcpy(old, r->peers, sizeof old);
    r->peer_count = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        if (is_self(r, &c->members[i].store))
            continue;
        assert(r->peer_count < REPLICA_PEERS_MAX || !configuration_has(c, &r->config.store));
        if (r->peer_count == REPLICA_PEERS_MAX)
            break; /* not a member itself: it need not hear all */
        struct peer *p = &r->peers[r->peer_count++];
        *p = (struct peer){.store = c->members[i].store, .since_ns = r->now_ns};
        for (uint32_t k = 0; k < count; k++)
            if (uuid_equal(&old[k].store, &p->store))
                *p = old[k];
    }
    for (uint32_t k = 0; k < count; k++)
        if (!peer_find(r, &old[k].store)) /* not a member any more: it is sent nothing */
            r->effects->ship(r->user, &old[k].store, NULL, 1, 0, 0);
}

/* A configuration that is not ours to lead is obeyed at once: fencing needs no durable state. */
static void step_aside(struct replica *r, const struct configuration *c)
{
    decide(r, "fence", "epoch %llu names %.40s primary: stops serving", (unsigned long long)c->epoch,
           peer_name(r, &c->primary));
    copy_stop(r);
    r->pace = (struct pace){0};
    r->slow_told = 0;
    if (r->role == REPLICA_LEADING) {
        r->log_open = false;
        r->effects->stand_down(r->user);
    }
    r->role = REPLICA_RETURNING;
}

void adopt(struct replica *r, const struct configuration *c, const char *from)
{
    if (c->epoch <= r->want.configuration.epoch ||
        (BROKEN(REPLICA_IGNORE_EPOCH) && is_primary(r) && !is_self(r, &c->primary)))
        return;
    if (!uuid_equal(&c->primary, &r->want.configuration.primary))
        r->primary_ns = r->now_ns;
    promote_adopt(r, c);
    r->want.configuration = *c;
    if (r->want.highest_epoch < c->epoch)
        r->want.highest_epoch = c->epoch;
    if (ask_is_open(r) && c->epoch > r->want.ask.expected_epoch && !promote_is_open(r, c))
        r->want.ask = (struct ask){.reason = ASK_NONE};
    authority_adopt(r, c);
    keep_peers(r);
    decide(r, "adopt", "epoch %llu from %.40s: primary %.40s, %u of %u in sync", (unsigned long long)c->epoch,
           from, peer_name(r, &c->primary), configuration_sync_count(c), c->count);
    struct peer *primary = peer_find(r, &c->primary);
    if (primary && r->primary_ns == r->now_ns) {
        primary->since_ns = r->now_ns;
        primary->lapsed = false;
    }
    if (is_primary(r) && !is_self(r, &c->primary))
        step_aside(r, c);
    place_peers(r);
    if (!uuid_is_none(&r->switching)) {
        r->switching = (struct uuid){{0}};
        r->yielding = false;
        if (r->role == REPLICA_LEADING)
            r->effects->hold(r->user, false);
    }
    primary_reset_streams(r);
    follower_reset(r);
    r->effects->changed(r->user);
}

void replica_adopt(struct replica *r, uint64_t now_ns, const struct configuration *configuration)
{
    r->now_ns = now_ns;
    adopt(r, configuration, "this node");
}

/* ---- verdicts */

void replica_verdict(struct replica *r, uint64_t now_ns, const struct replica_verdict *v)
{
    r->now_ns = now_ns;
    if (!uuid_is_none(&r->want.mediator) && !uuid_equal(&r->want.mediator, &v->mediator)) {
        /* A mediator that lost its records must not be asked by one side alone. */
        if (!r->mediator_differs)
            decide(r, "refuse",
                   "another mediator answers than the one that holds this pod: its word does not count");
        r->mediator_differs = true;
        if (!uuid_equal(&r->stranger, &v->mediator))
            r->stranger_epoch = 0;
        r->stranger = v->mediator;
        r->stranger_ns = now_ns;
        if (!promote_stranger(r, v)) {
            authority_stranger(r, v);
            return;
        }
    }
    r->mediator_differs = false;
    if (!r->mediator_ns || !mediator_is_ok(r))
        r->effects->changed(r->user);
    r->mediator_ns = now_ns;
    if (v->now.epoch && uuid_equal(&v->now.pod, &r->config.pod))
        r->record = v->now;
    if (authority_verdict(r, v))
        return;
    const bool ours = ask_is_open(r) && uuid_equal(&v->request, &r->want.ask.request);
    if (ours)
        decide(r, v->status ? "refused" : "granted", "the mediator %s epoch %llu (%s)%s%.100s",
               v->status ? "refuses" : "grants", (unsigned long long)r->want.ask.next.epoch,
               ask_names[r->want.ask.reason], v->detail[0] ? ": " : "", v->detail);
    if (uuid_is_none(&r->want.mediator) && v->now.epoch)
        r->want.mediator = v->mediator;
    if (v->now.epoch && uuid_equal(&v->now.pod, &r->config.pod)) {
        if (v->now.epoch > r->want.highest_epoch)
            r->want.highest_epoch = v->now.epoch;
        adopt(r, &v->now, "the mediator");
    }
    if (ours && v->status && ask_is_open(r) && r->want.ask.reason == ASK_PROMOTE)
        promote_refused(r, v);
}

/* ---- when a member takes over */

uint32_t rank_of(const struct replica *r, const struct uuid *store)
{
    const struct configuration *c = in_force(r);
    if (uuid_equal(store, &c->preferred))
        return 0;
    uint32_t rank = configuration_in_sync(c, &c->preferred) && !uuid_equal(&c->preferred, &c->primary);
    for (uint32_t i = 0; i < c->count && !uuid_equal(&c->members[i].store, store); i++)
        rank += c->members[i].in_sync && !uuid_equal(&c->members[i].store, &c->primary) &&
                !uuid_equal(&c->members[i].store, &c->preferred);
    return rank;
}

/* The promise's end, and as long a silence: a primary that we promised nothing yet is given that time, too.
 * One that is heard but does not serve is waited for longer: it may lack what we have, the mediator. Not so
 * if its log takes nothing: its store failed. */
static uint64_t take_over_due(const struct replica *r)
{
    const struct replica_options *o = &r->config.options;
    const struct peer *p = peer_find((struct replica *)r, &in_force(r)->primary);
    const uint64_t promise = o->lease_ns + o->margin_ns;
    uint64_t due = r->promise_until_ns;
    if (p && !p->dead && !p->lapsed && p->since_ns) {
        const uint64_t silent = silent_since(p) + promise;
        uint64_t idle = most_of(r->primary_ns, p->ready_ns) + IDLE_LEASES * promise;
        if (p->told_ns && !p->told.log_open)
            idle = least_of(idle, most_of(r->primary_ns, p->open_ns) + o->silence_ns);
        due = most_of(due, least_of(silent, idle));
    }
    due -= least_of(o->early_ns, due);
    return most_of(due, r->promise_until_ns < r->now_ns ? r->promise_until_ns : 0) +
           rank_of(r, &r->config.store) * o->rank_ns;
}

void take_over(struct replica *r, bool keep)
{
    struct configuration next = *in_force(r);
    const struct uuid old = next.primary;
    next.primary = r->config.store;
    for (uint32_t i = 0; i < next.count; i++) {
        struct member *m = &next.members[i];
        const struct peer *p = is_self(r, &m->store) ? NULL : peer_find(r, &m->store);
        if (p && ((uuid_equal(&m->store, &old) && !keep) || !heard_lately(r, p, r->config.options.lease_ns)))
            m->in_sync = false;
    }
    const struct peer *p = peer_find(r, &old);
    if (keep)
        decide(r, "take-over", "%.40s does not reach the mediator and asks for it", peer_name(r, &old));
    else
        decide(r, "take-over", "%.40s is silent for %llu ms%s", peer_name(r, &old),
               p && p->heard_ns ? (unsigned long long)((r->now_ns - p->heard_ns) / 1000000) : 0ull,
               p && p->dead       ? ", its process has ended"
               : p && p->heard_ns ? ""
                                  : " (never heard since this start)");
    if (BROKEN(REPLICA_SILENCE_GRANTS)) {
        next.epoch++;
        adopt(r, &next, "silence");
        return;
    }
    ask(r, ASK_TAKE_OVER, &next);
}

static bool primary_is_back(const struct replica *r)
{
    return r->promise_until_ns > r->now_ns + r->config.options.early_ns + r->config.options.heartbeat_ns;
}

/* When all have started anew, the primary of before waits for its own start's promise to end, as we do: it is
 * left that time, and a lease more, if it is there. */
static uint64_t grace_of_start(const struct replica *r)
{
    const struct replica_options *o = &r->config.options;
    struct peer *p = peer_find((struct replica *)r, &in_force(r)->primary);
    return uuid_is_none(&r->promised_store) && p && heard_lately(r, p, o->silence_ns)
               ? o->lease_ns + o->margin_ns
               : 0;
}

static uint64_t take_over_turn(struct replica *r)
{
    if (r->role != REPLICA_FOLLOWING || !r->log_open || r->log_failed || ask_is_open(r) ||
        in_force(r)->epoch != r->want.configuration.epoch || (is_bound(r) && !BROKEN(REPLICA_BOUND_OBEYS)))
        return UINT64_MAX;
    const uint64_t due = take_over_due(r) + grace_of_start(r);
    if (r->now_ns < due)
        return due;
    if (!mediator_is_ok(r) && !BROKEN(REPLICA_SILENCE_GRANTS))
        return UINT64_MAX; /* asked once it answers again, if the primary is silent then */
    take_over(r, false);
    return UINT64_MAX;
}

/* ---- the turn */

uint64_t change_turn(struct replica *r)
{
    const struct replica_options *o = &r->config.options;
    uint64_t next = take_over_turn(r);
    const struct ask *a = &r->durable.ask;
    const bool same = a->reason != ASK_NONE && uuid_equal(&a->request, &r->want.ask.request);
    /* A take-over is not repeated while the old primary serves; it stays open. */
    const bool pointless = same && a->reason == ASK_TAKE_OVER && primary_is_back(r) && !is_invited(r);
    if (same && !pointless && (!r->ask_sent_ns || r->now_ns - r->ask_sent_ns >= o->resend_ns)) {
        /* A person's promotion is for the one that answers. */
        const bool stranger = a->reason == ASK_PROMOTE && r->mediator_differs;
        const struct replica_cas cas = {.mediator = stranger ? r->stranger : r->durable.mediator,
                                        .request = a->request,
                                        .requester = r->config.store,
                                        .expected_epoch = a->expected_epoch,
                                        .next = a->next};
        r->ask_sent_ns = r->now_ns;
        r->effects->ask_mediator(r->user, &cas);
    }
    if (same && !pointless)
        next = least_of(next, r->ask_sent_ns + o->resend_ns);
    if (r->role != REPLICA_UNCONFIGURED) {
        const uint64_t every = mediator_is_ok(r) ? o->report_ns : o->heartbeat_ns;
        if (!r->report_ns || r->now_ns - r->report_ns >= every) {
            r->report_ns = r->now_ns;
            r->effects->report_mediator(r->user, in_force(r)->epoch);
        }
        next = least_of(next, r->report_ns + every);
    }
    return next;
}
