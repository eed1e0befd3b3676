/* Pre-election: going on without the mediator.
 *
 * While the mediator can be reached it alone says who is primary. When primary and all members in sync have
 * lost it, the primary bids for their right to ask it. Who answers is *bound*: it asks for nothing and obeys
 * nobody but the heir, durably. With all answers the primary has what the mediator had: it changes the
 * configuration alone, until the mediator is back and holds exactly what is in force. Then it gives the right
 * back, durably, and only then releases the others.
 *
 * A member binds itself for one bid only, and with no ask open: the mediator can't grant it anything any
 * more.
 *
 * Nonces grow with each bid of a store, over its restarts. "All bids up to this one are over" stays true once
 * it is, so states may come late, twice or out of order: a bid that its sender has called over binds
 * nobody.
 *
 * Whoever adopts a configuration of the heir from a third one is bound as that one is.
 *
 * A bond is void when a later configuration names another primary: the heir's authority ended before it was
 * made. One that names the heir proves nothing: it may be what it made alone.
 *
 * The heir is the primary that is. It switched over to the preferred member before the mediator was lost, if
 * that one was in sync for long enough.
 *
 * A mediator whose records were lost comes back with another store id, and is one that nobody knows: it
 * counts as lost like one that is silent. Who may go on alone registers with it what is in force; from then
 * on it is the pod's mediator, with a number higher than that of the one before. Members take that over from
 * whoever knows a higher number, at once with the end of their bond: so none of them asks the former one any
 * more, should it turn up again. */
#include "node/replication/replica_impl.h"

enum {
    RUN_SHIFT = 32, /* bids of one run */
};

bool is_bound(const struct replica *r)
{
    return !uuid_is_none(&r->want.bound.heir);
}

bool is_alone(const struct replica *r)
{
    return r->durable.self && r->want.self == r->durable.self;
}

bool may_propose(const struct replica *r)
{
    return is_alone(r) || (!r->want.self && !r->durable.self && mediator_is_ok(r));
}

void propose(struct replica *r, enum ask_reason reason, struct configuration *next)
{
    if (!is_alone(r)) {
        ask(r, reason, next);
        return;
    }
    r->want.highest_epoch = most_of(r->want.highest_epoch, r->want.configuration.epoch);
    next->epoch = ++r->want.highest_epoch;
    decide(r, "alone", "epoch %llu is made without the mediator: %u in sync", (unsigned long long)next->epoch,
           configuration_sync_count(next));
    adopt(r, next, "its own authority");
}

/* ---- the heir */

static uint64_t own_nonce(const struct replica *r)
{
    return r->config.run << RUN_SHIFT | r->bids;
}

static bool has_voted(const struct replica *r, const struct peer *p)
{
    return p->told.bind == REPLICA_BOUND && is_self(r, &p->told.heir) && p->told.nonce == r->bid;
}

bool mediator_is_lost(const struct replica *r, uint64_t for_ns)
{
    return r->now_ns - most_of(r->mediator_ns, r->started_ns) >= for_ns;
}

/* The mediator is lost to all that count, and nobody is about to change anything. Who can't make its right
 * durable must not bind the others to it. */
static bool may_bid(const struct replica *r)
{
    const struct configuration *c = in_force(r);
    if (r->role != REPLICA_LEADING || !r->log_open || r->log_failed ||
        (c->count < 2 && !r->mediator_differs) || c->epoch != r->want.configuration.epoch || ask_is_open(r) ||
        !uuid_is_none(&r->switching) || is_bound(r) ||
        !mediator_is_lost(r, r->config.options.mediator_lost_ns))
        return false;
    for (uint32_t i = 0; i < r->peer_count; i++) {
        const struct peer *p = &r->peers[i];
        if (p->joining)
            return false;
        if (p->in_sync && (!heard_lately(r, p, r->config.options.silence_ns) || p->told.epoch != c->epoch ||
                           p->told.mediator_ok))
            return false;
    }
    return true;
}

static void bid_turn(struct replica *r)
{
    if (!may_bid(r)) {
        if (r->bid)
            decide(r, "withdraw", "the bid to go on alone is over: the mediator or a member has changed");
        r->bid = 0;
        return;
    }
    if (!r->bid) {
        r->bids++;
        r->bid = own_nonce(r);
        r->heartbeat_ns = 0;
        decide(r, "bid", "no member reaches the mediator: all are asked for the right to go on alone");
    }
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (r->peers[i].in_sync && !has_voted(r, &r->peers[i]) && !BROKEN(REPLICA_IGNORE_VOTES))
            return;
    r->want.self = r->bid;
    r->bid = 0;
    r->mediator_epoch = 0;
    decide(r, "elected", "%.40s may go on alone: all %u in sync have agreed", r->node,
           configuration_sync_count(in_force(r)));
}

static bool stranger_answers(const struct replica *r)
{
    return r->mediator_differs && r->now_ns - r->stranger_ns < r->config.options.mediator_lost_ns;
}

/* What is in force is put on record; where the pod is not known yet, as its first configuration. An expected
 * epoch that is not the mediator's is answered by that one. */
static uint64_t register_turn(struct replica *r)
{
    const struct configuration *c = in_force(r);
    const bool first = stranger_answers(r);
    if ((!mediator_is_ok(r) && !first) || c->epoch != r->want.configuration.epoch)
        return UINT64_MAX;
    const struct uuid *with = first ? &r->stranger : &r->durable.mediator;
    const uint64_t expected = first ? r->stranger_epoch : r->mediator_epoch;
    const bool same = r->registration.epoch == c->epoch && r->registration.expected_epoch == expected &&
                      uuid_equal(&r->registration.mediator, with);
    const uint64_t again = r->registration.sent_ns + r->config.options.resend_ns;
    if (same && r->now_ns < again)
        return again;
    if (!same) {
        new_request(r, &r->registration.request);
        r->registration.epoch = c->epoch;
        r->registration.expected_epoch = expected;
        r->registration.mediator = *with;
    }
    r->registration.sent_ns = r->now_ns;
    const struct replica_cas cas = {.mediator = *with,
                                    .request = r->registration.request,
                                    .requester = r->config.store,
                                    .expected_epoch = expected,
                                    .next = *c};
    r->effects->ask_mediator(r->user, &cas);
    return r->now_ns + r->config.options.resend_ns;
}

uint64_t authority_turn(struct replica *r)
{
    if (is_alone(r))
        return register_turn(r);
    if (!r->want.self && !r->durable.self)
        bid_turn(r);
    return UINT64_MAX;
}

static bool nobody_joins(const struct replica *r)
{
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (r->peers[i].joining)
            return false;
    return true;
}

/* Of a holder of the authority: only that the mediator has what is in force is of interest. */
static void hear_record(struct replica *r, const struct replica_verdict *v)
{
    if (!v->now.epoch || !uuid_equal(&v->now.pod, &r->config.pod))
        return;
    r->mediator_epoch = v->now.epoch;
    r->want.highest_epoch = most_of(r->want.highest_epoch, v->now.epoch);
    if (!is_alone(r) || in_force(r)->epoch != r->want.configuration.epoch || !nobody_joins(r) ||
        !configuration_equal(&v->now, in_force(r)))
        return;
    r->want.self = 0;
    decide(r, "registered", "the mediator holds epoch %llu: the right to go on alone is given back",
           (unsigned long long)v->now.epoch);
}

void authority_stranger(struct replica *r, const struct replica_verdict *v)
{
    if (!is_alone(r) || !uuid_equal(&v->mediator, &r->registration.mediator) || !v->now.epoch ||
        !uuid_equal(&v->now.pod, &r->config.pod) || in_force(r)->epoch != r->want.configuration.epoch)
        return;
    if (epoch_lineage(v->now.epoch) > epoch_lineage(in_force(r)->epoch)) {
        adopt(r, &v->now, "a new mediator, where a person began a lineage");
        return;
    }
    r->stranger_epoch = v->now.epoch; /* an answer was lost, and the configuration has changed since */
    if (!nobody_joins(r) || !configuration_equal(&v->now, in_force(r)))
        return;
    r->want.mediator = v->mediator;
    r->want.mediator_number++;
    r->want.self = 0;
    r->mediator_differs = false;
    r->mediator_ns = r->now_ns;
    r->record = v->now;
    r->mediator_epoch = v->now.epoch;
    decide(r, "registered",
           "a new mediator holds epoch %llu in the place of the one that is lost: the right to go on "
           "alone is given back",
           (unsigned long long)v->now.epoch);
}

void authority_mediator(struct replica *r, const struct replica_state_msg *in)
{
    /* The holder of the authority says itself with whom it registers. */
    if (in->mediator_number <= r->want.mediator_number || uuid_is_none(&in->mediator) || r->want.self ||
        r->durable.self)
        return;
    r->want.mediator = in->mediator;
    r->want.mediator_number = in->mediator_number;
    r->record = (struct configuration){0};
    r->mediator_differs = false;
    r->mediator_ns = 0;
    decide(r, "mediator", "%.40s tells that another mediator has taken the place of the one that was lost",
           peer_name(r, &in->store));
}

/* A person's decision outranks what the members agreed on. */
static bool is_a_persons(const struct replica *r, const struct replica_verdict *v)
{
    const bool later = v->now.epoch && uuid_equal(&v->now.pod, &r->config.pod) &&
                       epoch_lineage(v->now.epoch) > epoch_lineage(r->want.configuration.epoch);
    return later || (r->want.ask.reason == ASK_PROMOTE && uuid_equal(&v->request, &r->want.ask.request));
}

bool authority_verdict(struct replica *r, const struct replica_verdict *v)
{
    if (is_a_persons(r, v))
        return false;
    if (r->want.self || r->durable.self) {
        hear_record(r, v);
        return true;
    }
    return is_bound(r) && !BROKEN(REPLICA_BOUND_OBEYS);
}

/* ---- members */

void authority_fill(const struct replica *r, struct replica_state_msg *msg)
{
    const struct durable *d = &r->durable;
    if (d->self) {
        msg->bind = REPLICA_ALONE;
        msg->nonce = d->self;
    } else if (r->want.self || r->bid) { /* not over before it is durable */
        msg->bind = REPLICA_BIDS;
        msg->nonce = r->want.self ? r->want.self : r->bid;
    } else if (!uuid_is_none(&d->bound.heir)) {
        msg->bind = REPLICA_BOUND;
        msg->heir = d->bound.heir;
        msg->nonce = d->bound.nonce;
    } else {
        msg->bind = REPLICA_UNBOUND;
        msg->nonce = own_nonce(r);
    }
}

static void bind_to(struct replica *r, const struct uuid *heir, uint64_t epoch, uint64_t nonce)
{
    r->want.bound = (struct bound){.heir = *heir, .epoch = epoch, .nonce = nonce};
    decide(r, "bind", "%.40s may go on alone in epoch %llu: the mediator is not asked any more",
           peer_name(r, heir), (unsigned long long)epoch);
}

static void unbind(struct replica *r, const char *why)
{
    decide(r, "unbind", "the right to go on alone that %.40s had is over: %s",
           peer_name(r, &r->want.bound.heir), why);
    r->want.bound = (struct bound){0};
}

void authority_adopt(struct replica *r, const struct configuration *c)
{
    if (is_bound(r) && !uuid_equal(&c->primary, &r->want.bound.heir))
        unbind(r, "a later configuration names another primary");
    r->bid = 0;
    if (!is_self(r, &c->primary))
        r->want.self = 0;
}

/* A state that came late: its sender has said since that this bid is over. */
static bool is_over(struct replica *r, const struct uuid *heir, uint64_t nonce)
{
    const struct peer *p = peer_find(r, heir);
    return p && nonce <= p->over_nonce;
}

void authority_inherit(struct replica *r, const struct replica_state_msg *in)
{
    const struct configuration *c = &r->want.configuration;
    const struct uuid *heir = in->bind == REPLICA_ALONE ? &in->store : &in->heir;
    if ((in->bind != REPLICA_ALONE && in->bind != REPLICA_BOUND) || is_bound(r) || is_self(r, heir) ||
        !uuid_equal(heir, &c->primary) || !configuration_has(c, &r->config.store) || ask_is_open(r) ||
        is_over(r, heir, in->nonce))
        return;
    bind_to(r, heir, c->epoch, in->nonce);
}

void authority_hear(struct replica *r, const struct replica_state_msg *in)
{
    const struct bound *b = &r->want.bound;
    const bool heir = is_bound(r) && uuid_equal(&b->heir, &in->store);
    struct peer *p = peer_find(r, &in->store);
    if (p && in->bind == REPLICA_UNBOUND)
        p->over_nonce = most_of(p->over_nonce, in->nonce);
    if (heir && in->bind == REPLICA_UNBOUND && in->nonce >= b->nonce) {
        unbind(r, "it says so");
        return;
    }
    if ((in->bind != REPLICA_BIDS && in->bind != REPLICA_ALONE) || (heir && in->nonce <= b->nonce) ||
        in->epoch != in_force(r)->epoch || in->epoch != r->want.configuration.epoch ||
        !uuid_equal(&in->store, &in_force(r)->primary) || is_primary(r) ||
        !configuration_has(in_force(r), &r->config.store) || is_over(r, &in->store, in->nonce))
        return;
    /* What was asked for may be granted yet. */
    if (ask_is_open(r) && !BROKEN(REPLICA_BIND_WHILE_ASKING))
        return;
    bind_to(r, &in->store, in->epoch, in->nonce);
}
