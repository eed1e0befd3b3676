/* What people see: roles, states of members, and the decisions with their reasons. */
#include <stdarg.h>
#include <stdio.h>

#include "node/replication/replica_impl.h"

const char *replica_role_name(enum replica_role role)
{
    static const char *const names[] = {"unconfigured", "outside",    "returning",
                                        "following",    "inheriting", "leading"};
    return names[role];
}

const char *replica_peer_state_name(enum replica_peer_state state)
{
    static const char *const names[] = {"away",    "waiting",     "catching up",       "joining",
                                        "in sync", "lagging",     "needs a full copy", "diverged",
                                        "full",    "being filled"};
    return names[state];
}

void decide(struct replica *r, const char *kind, const char *format, ...)
{
    struct replica_decision *d = &r->decisions[r->decision_count++ % REPLICA_DECISIONS];
    *d = (struct replica_decision){
        .number = r->decision_count, .at_ns = r->now_ns, .epoch = r->want.configuration.epoch, .kind = kind};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(d->text, sizeof d->text, format, args);
    va_end(args);
    r->effects->decided(r->user, d);
}

size_t replica_decisions(const struct replica *r, uint64_t after, struct replica_decision *out, size_t max)
{
    size_t n = 0;
    uint64_t from = r->decision_count > REPLICA_DECISIONS ? r->decision_count - REPLICA_DECISIONS : 0;
    for (from = from < after ? after : from; from < r->decision_count && n < max; from++)
        out[n++] = r->decisions[from % REPLICA_DECISIONS];
    return n;
}

static enum replica_peer_state state_of(const struct replica *r, const struct peer *p)
{
    const bool in_sync = configuration_in_sync(in_force(r), &p->store);
    if (!heard_lately(r, p, r->config.options.silence_ns))
        return in_sync && heard_lately(r, p, 4 * r->config.options.silence_ns) ? REPLICA_PEER_LAGGING
                                                                               : REPLICA_PEER_AWAY;
    if (!is_primary(r))
        return in_sync ? REPLICA_PEER_IN_SYNC : REPLICA_PEER_WAITING;
    if (is_copied_to(r, p))
        return REPLICA_PEER_COPYING;
    if (p->told.being_filled)
        return REPLICA_PEER_TOO_OLD;
    if (p->trouble != REPLICA_PEER_AWAY)
        return p->trouble;
    if (p->joining)
        return REPLICA_PEER_JOINING;
    if (in_sync)
        return p->behind_ns && r->now_ns - p->behind_ns > r->config.options.silence_ns ? REPLICA_PEER_LAGGING
                                                                                       : REPLICA_PEER_IN_SYNC;
    return p->stream == STREAM_FLOWING ? REPLICA_PEER_CATCHING_UP : REPLICA_PEER_WAITING;
}

static bool heir_is_away(const struct replica *r)
{
    const struct peer *p = peer_find((struct replica *)r, &r->want.bound.heir);
    return !p || !heard_lately(r, p, r->config.options.silence_ns);
}

/* The first thing that keeps an inheriting or leading primary from serving, or a member from being of use. */
static void waits_for(const struct replica *r, char *out, size_t size)
{
    const uint64_t end = log_end(r).seq;
    const char *removal = is_alone(r) ? "its removal" : "the mediator to remove it";
    out[0] = '\0';
    if (r->state_failed || r->log_failed)
        (void)snprintf(out, size, "its flash device, which failed");
    else if (r->being_filled)
        (void)snprintf(out, size, "the rest of a full copy from the primary");
    else if (!r->log_open)
        (void)snprintf(out, size, "its log, which is being opened");
    else if (r->role == REPLICA_UNCONFIGURED)
        (void)snprintf(out, size, "the pod's first configuration");
    else if (r->role == REPLICA_INHERITING && promote_waits(r))
        (void)snprintf(
            out, size,
            "%.40s to say that it has stopped; if it is off for good: pod promote … --old-primary-is-off",
            peer_name(r, &r->want.fence));
    else if (r->role == REPLICA_INHERITING && r->now_ns < r->promise_until_ns)
        (void)snprintf(out, size, "the end of the promise given to %.40s, %llu ms",
                       peer_name(r, &r->promised_store),
                       (unsigned long long)((r->promise_until_ns - r->now_ns) / 1000000));
    else if (r->role == REPLICA_LEADING && leases_held(r, r->now_ns))
        return;
    else if (is_primary(r)) {
        for (uint32_t i = 0; i < r->peer_count; i++) {
            const struct peer *p = &r->peers[i];
            if (!counts(r, p))
                continue;
            if (r->role == REPLICA_INHERITING && p->matched_seq < r->base_seq)
                (void)snprintf(out, size, "%.40s to have the log up to %llu, or %s", peer_name(r, &p->store),
                               (unsigned long long)r->base_seq, removal);
            else if (p->lease_until_ns <= r->now_ns)
                (void)snprintf(out, size, "the lease of %.40s, or %s", peer_name(r, &p->store), removal);
        }
        if (!out[0] && r->applied.seq < end)
            (void)snprintf(out, size, "batches up to %llu to be applied", (unsigned long long)end);
        else if (!out[0] && ask_may_empower(r))
            (void)snprintf(out, size, "the mediator's answer to an open question");
    } else if (is_bound(r) && heir_is_away(r))
        (void)snprintf(out, size, "%.40s, which was given the right to go on alone",
                       peer_name(r, &r->want.bound.heir));
    else if (r->stream_epoch != in_force(r)->epoch)
        (void)snprintf(out, size, "the primary, %.40s", peer_name(r, &in_force(r)->primary));
}

/* For people: what a member had applied when it was heard last is committed, hence here too, unless it is
 * known to come from another log. */
static uint64_t equal_up_to(const struct peer *p)
{
    const bool another = p->trouble == REPLICA_PEER_DIVERGED || p->given_up;
    return another ? p->matched_seq : most_of(p->matched_seq, p->told.applied.seq);
}

void replica_look(const struct replica *r, uint64_t now_ns, struct replica_info *out)
{
    *out = (struct replica_info){
        .role = r->role,
        .configuration = *in_force(r),
        .applied = r->applied,
        .end = log_end(r),
        .commit_seq = r->commit_seq,
        .lease_held = r->role == REPLICA_LEADING && leases_held(r, now_ns),
        .mediator_ok = mediator_is_ok(r),
        .asking = ask_is_open(r) || r->want.configuration.epoch != in_force(r)->epoch,
        .switching = !uuid_is_none(&r->switching),
        .slowed_permille = r->slow_told,
        .mediator = r->durable.mediator,
        .alone = r->durable.self != 0,
        .heir = r->durable.bound.heir,
    };
    for (uint32_t i = 0; i < r->peer_count; i++) {
        const struct peer *p = &r->peers[i];
        const int at = configuration_find(in_force(r), &p->store);
        if (at < 0)
            continue;
        out->peers[out->peer_count++] = (struct replica_peer_info){
            .member = in_force(r)->members[at],
            .state = state_of(r, p),
            .heard_ns_ago = p->heard_ns ? now_ns - p->heard_ns : UINT64_MAX,
            .matched_seq = equal_up_to(p),
            .end_seq = p->told.end.seq,
            .lag_ns = is_primary(r) ? now_ns - most_of(p->synced_ns, r->primary_ns) : 0,
            .lease_left_ns = p->lease_until_ns > now_ns ? p->lease_until_ns - now_ns : 0,
        };
        struct replica_peer_info *info = &out->peers[out->peer_count - 1];
        if (info->state == REPLICA_PEER_COPYING)
            (void)snprintf(info->copy, sizeof info->copy, "%llu %% of %llu MiB",
                           (unsigned long long)r->copy_permille / 10,
                           (unsigned long long)r->copy_bytes >> 20);
        else if (info->state == REPLICA_PEER_TOO_OLD)
            memcpy(info->copy, p->copy_text, sizeof info->copy);
    }
    waits_for(r, out->waits_for, sizeof out->waits_for);
}
