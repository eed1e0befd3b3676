/* Switchover: the primary gives the pod to another member in sync, without losing a request.
 *
 * New requests wait until all that was accepted is on every member in sync; then the configuration is
 * changed. A person orders it, or it comes by itself:
 *
 * - to the preferred member, once that one has been in sync and heard without a gap for a while;
 * - to a member that reaches the mediator while the primary does not: else the next failure would stop the
 *   pod, because nobody could remove who is lost. The primary can't ask for that change; it invites the
 * member, which asks as for any take-over, only before anybody is silent. All rules of a take-over hold: the
 * invited one serves when the former primary holds the new configuration, or its promise has ended. */
#include "node/replication/replica_impl.h"

static int check_successor(struct replica *r, const struct uuid *successor, struct ps_error *err)
{
    const struct peer *p = peer_find(r, successor);
    if (is_self(r, successor))
        return ps_error_set(err, PS_EPRECONDITION, "it is the primary already");
    if (!p || !configuration_in_sync(in_force(r), successor) || p->stream != STREAM_FLOWING ||
        !heard_lately(r, p, r->config.options.silence_ns))
        return ps_error_set(err, PS_EPRECONDITION, "%.40s is not in sync", peer_name(r, successor));
    return 0;
}

static void begin_switch(struct replica *r, const struct uuid *successor, bool yielding, const char *why)
{
    r->switching = *successor;
    r->yielding = yielding;
    r->switching_until_ns = r->now_ns + 2 * r->config.options.lease_ns;
    decide(r, "switch over", "to %.40s%s: new requests wait until all batches are committed",
           peer_name(r, successor), why);
    r->effects->hold(r->user, true);
}

int replica_switch_over(struct replica *r, uint64_t now_ns, const struct uuid *successor,
                        struct ps_error *err)
{
    r->now_ns = now_ns;
    int rc = may_change(r, err);
    if (rc == 0)
        rc = check_successor(r, successor, err);
    if (rc)
        return rc;
    if (!mediator_is_ok(r) || r->want.self)
        return ps_error_set(err, PS_EPRECONDITION,
                            "the mediator is not to be reached, or does not hold the pod again yet");
    begin_switch(r, successor, false, "");
    return 0;
}

int replica_prefer(struct replica *r, uint64_t now_ns, const struct uuid *store, struct ps_error *err)
{
    r->now_ns = now_ns;
    struct configuration next = *in_force(r);
    int rc = may_change(r, err);
    if (rc == 0 && !may_propose(r))
        rc = ps_error_set(err, PS_EPRECONDITION, "the mediator is not to be reached");
    if (rc == 0 && !uuid_is_none(store) && !configuration_has(&next, store))
        rc = ps_error_set(err, PS_ENOTFOUND, "no such member of the pod");
    if (rc)
        return rc;
    next.preferred = *store;
    r->moved_ns = 0;
    propose(r, ASK_MEMBERS, &next);
    return 0;
}

/* ---- without an order */

static bool is_stable(const struct replica *r, const struct peer *p)
{
    return p->in_sync && p->stream == STREAM_FLOWING && p->trouble == REPLICA_PEER_AWAY &&
           p->told.mediator_ok && p->told.epoch == in_force(r)->epoch &&
           p->clean >= r->config.options.stable_heartbeats &&
           heard_lately(r, p, r->config.options.silence_ns);
}

/* For so long that a member that says it reaches the mediator had an answer after our last one: one that lost
 * it with us would have noticed, too. Asked in vain it could not give its right away any more. */
static bool lost_to_us_alone(const struct replica *r)
{
    return !mediator_is_ok(r) && mediator_is_lost(r, 2 * r->config.options.mediator_lost_ns);
}

/* Of those that may get it the first by rank; NULL: nobody. */
static const struct peer *heir_apparent(const struct replica *r)
{
    const struct peer *best = NULL;
    const bool yields = lost_to_us_alone(r);
    for (uint32_t i = 0; i < r->peer_count; i++) {
        const struct peer *p = &r->peers[i];
        if (is_stable(r, p) && (yields || uuid_equal(&p->store, &in_force(r)->preferred)) &&
            (!best || rank_of(r, &p->store) < rank_of(r, &best->store)))
            best = p;
    }
    return yields || mediator_is_ok(r) ? best : NULL;
}

static bool anybody_joins(const struct replica *r)
{
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (r->peers[i].joining)
            return true;
    return false;
}

static void move(struct replica *r)
{
    if (may_change(r, NULL) || r->want.self || r->bid || is_bound(r) || anybody_joins(r) ||
        (r->moved_ns && r->now_ns - r->moved_ns < r->config.options.move_again_ns))
        return;
    const struct peer *p = heir_apparent(r);
    if (!p)
        return;
    const bool yields = !mediator_is_ok(r);
    r->moved_ns = r->now_ns;
    begin_switch(r, &p->store, yields, yields ? ", which reaches the mediator" : ", which is preferred");
}

/* ---- both */

static bool is_drained(const struct replica *r, const struct peer *p)
{
    return p->matched_seq == log_end(r).seq && r->applied.seq == log_end(r).seq;
}

uint64_t switch_turn(struct replica *r)
{
    if (r->role != REPLICA_LEADING)
        return UINT64_MAX;
    if (uuid_is_none(&r->switching))
        move(r);
    if (uuid_is_none(&r->switching))
        return UINT64_MAX;
    const struct peer *p = peer_find(r, &r->switching);
    if (r->now_ns >= r->switching_until_ns || !p) {
        /* An answer that comes later still counts: an ask stays open, under our lease. */
        decide(r, "go on", "the switchover did not come about in time");
        r->switching = (struct uuid){{0}};
        r->yielding = false;
        r->effects->hold(r->user, false);
        return UINT64_MAX;
    }
    if (r->yielding)
        r->hurry |= is_drained(r, p);
    else if (!ask_is_open(r) && is_drained(r, p)) {
        struct configuration next = *in_force(r);
        next.primary = r->switching;
        /* Who was chosen by a person is not left again for the one that was preferred before. */
        if (!uuid_is_none(&next.preferred))
            next.preferred = r->switching;
        ask(r, ASK_SWITCH_OVER, &next);
    }
    return r->switching_until_ns;
}

void switch_fill(const struct replica *r, struct replica_state_msg *msg)
{
    const struct peer *p = r->yielding ? peer_find((struct replica *)r, &r->switching) : NULL;
    if (p && r->role == REPLICA_LEADING && is_drained(r, p))
        msg->yields_to = r->switching;
}

/* ---- the successor */

bool is_invited(const struct replica *r)
{
    return r->invited_ns && r->now_ns - r->invited_ns < 2 * r->config.options.heartbeat_ns;
}

void switch_hear(struct replica *r, const struct replica_state_msg *in)
{
    if (!is_self(r, &in->yields_to) || in->epoch != in_force(r)->epoch ||
        in->epoch != r->want.configuration.epoch || !uuid_equal(&in->store, &in_force(r)->primary) ||
        r->role != REPLICA_FOLLOWING || !r->log_open || r->log_failed || is_bound(r) || !mediator_is_ok(r) ||
        r->now_ns - r->mediator_ns >= 2 * r->config.options.report_ns)
        return;
    r->invited_ns = r->now_ns;
    if (!ask_is_open(r))
        take_over(r, true);
}
