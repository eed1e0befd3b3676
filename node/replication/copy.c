/* Full copies for members that the retained log does not reach, or that have no room for it: when one begins,
 * and what a member lets be written over its log.
 *
 * Members use the same space differently: each starts its log anew in another segment when it starts, and
 * what lives in a segment keeps it. One may therefore be full at a place of the log where others were not,
 * and never get to where the log frees something. A copy makes it what the primary is.
 *
 * A member that counts is never filled: not by the configuration in force, nor as a joiner. The member sees
 * to it too, and takes a copy only in place of the log that the primary decided by: one that was on its way
 * for long finds another log, or another start. Whatever it held is gone from then on. It keeps its
 * configuration, which may change meanwhile, and answers heartbeats. When the primary changes the next one
 * begins anew. */
#include <stdio.h>

#include "node/replication/replica_impl.h"

#define COPY_AGAIN_NS   2000000000ull  /* after one that something came in between */
#define COPY_REFUSED_NS 30000000000ull /* a person must do something first */
#define COPY_FULL_NS    10000000000ull /* so long it may find room by itself */

/* ---- the primary */

static bool needs_copy(const struct replica *r, const struct peer *p)
{
    return !counts(r, p) && heard_lately(r, p, r->config.options.silence_ns) &&
           p->told.epoch == in_force(r)->epoch &&
           (p->told.being_filled ||
            (p->told.log_open && (p->trouble == REPLICA_PEER_TOO_OLD || p->trouble == REPLICA_PEER_FULL)));
}

/* From when on it may be given one. */
static uint64_t copy_due(const struct peer *p)
{
    const bool full = p->trouble == REPLICA_PEER_FULL && !p->told.being_filled;
    return most_of(p->copy_after_ns, full ? p->full_ns + COPY_FULL_NS : 0);
}

void copy_stop(struct replica *r)
{
    if (uuid_is_none(&r->copying))
        return;
    struct peer *p = peer_find(r, &r->copying);
    if (p)
        p->copy_seq = 0;
    r->copying = (struct uuid){{0}};
    r->effects->copy_stop(r->user);
}

uint64_t copy_turn(struct replica *r)
{
    uint64_t next = UINT64_MAX;
    if (!uuid_is_none(&r->copying)) {
        const struct peer *p = peer_find(r, &r->copying);
        if (!p || counts(r, p))
            copy_stop(r);
        return next;
    }
    if (r->role != REPLICA_LEADING || in_force(r)->epoch != r->want.configuration.epoch || ask_is_open(r))
        return next;
    for (uint32_t i = 0; i < r->peer_count; i++) {
        struct peer *p = &r->peers[i];
        if (!needs_copy(r, p))
            continue;
        if (r->now_ns < copy_due(p)) {
            next = least_of(next, copy_due(p));
            continue;
        }
        const struct replica_copy_msg envelope = {.pod = r->config.pod,
                                                  .store = r->config.store,
                                                  .run = r->config.run,
                                                  .epoch = in_force(r)->epoch,
                                                  .copy = ++r->copies,
                                                  .member_run = p->told.run,
                                                  .of = p->told.applied};
        r->copying = p->store;
        r->copy_permille = r->copy_bytes = 0;
        r->effects->copy_start(r->user, &p->store, &envelope);
        return UINT64_MAX;
    }
    return next;
}

void replica_copy_ready(struct replica *r, uint64_t now_ns, uint64_t base_seq, uint64_t bytes,
                        uint32_t segments)
{
    r->now_ns = now_ns;
    struct peer *p = peer_find(r, &r->copying);
    if (!p)
        return;
    p->copy_seq = base_seq;
    r->copy_bytes = bytes;
    decide(r, "copy", "%.40s is filled: the pod as of batch %llu, %u segments, %llu MiB",
           peer_name(r, &p->store), (unsigned long long)base_seq, segments, (unsigned long long)bytes >> 20);
}

void replica_copy_progress(struct replica *r, uint64_t done_permille)
{
    r->copy_permille = done_permille;
}

void replica_copy_ended(struct replica *r, uint64_t now_ns, int status, const char *detail)
{
    r->now_ns = now_ns;
    struct peer *p = peer_find(r, &r->copying);
    r->copying = (struct uuid){{0}};
    if (!p)
        return;
    const bool again = status == PS_EABORTED || status == PS_EDEADLINE || status == PS_EUNAVAILABLE;
    break_stream(r, p); /* where it stands now is for it to tell */
    p->copy_after_ns = now_ns + (status && !again ? COPY_REFUSED_NS : COPY_AGAIN_NS);
    (void)snprintf(p->copy_text, sizeof p->copy_text, "%s", status ? detail : "");
    if (status) {
        p->copy_seq = 0;
        decide(r, "copy", "%.40s is not filled: %.120s", peer_name(r, &p->store), detail);
        return;
    }
    p->trouble = REPLICA_PEER_AWAY;
    decide(r, "copy", "%.40s has the pod as of batch %llu; the log comes next", peer_name(r, &p->store),
           (unsigned long long)p->copy_seq);
}

/* ---- the member */

int replica_copy_may(struct replica *r, uint64_t now_ns, const struct replica_copy_msg *in,
                     struct ps_error *err)
{
    const struct configuration *c = in_force(r);
    r->now_ns = now_ns;
    if (!uuid_equal(&in->pod, &r->config.pod) || in->epoch != c->epoch ||
        in->epoch != r->want.configuration.epoch || !uuid_equal(&in->store, &c->primary) || is_primary(r))
        return ps_error_set(err, PS_EABORTED, "a copy comes from the primary of the same configuration");
    if (!configuration_has(c, &r->config.store) || configuration_in_sync(c, &r->config.store) ||
        ask_is_open(r))
        return ps_error_set(err, PS_EABORTED, "a member that counts is not filled");
    if (r->truncating || r->log_failed || r->state_failed || !(r->log_open || r->being_filled))
        return ps_error_set(err, PS_EABORTED, "the log is not open");
    if (in->member_run != r->config.run || (!r->being_filled && !log_id_equal(&in->of, &r->applied)))
        return ps_error_set(err, PS_EABORTED, "another log is here than the one that was too old");
    return 0;
}

void replica_copy_taken(struct replica *r, const struct replica_copy_msg *in)
{
    r->log_open = false;
    follower_reset(r);
    if (r->being_filled)
        return;
    decide(r, "copy", "the log up to batch %llu gives way to a full copy from %.40s",
           (unsigned long long)log_end(r).seq, peer_name(r, &in->store));
}

void replica_copy_filling(struct replica *r, bool filling)
{
    r->being_filled = filling;
    r->commit_seq = 0; /* what was told before was of another log, maybe */
    r->applied = (struct log_id){0};
    r->tail_count = 0;
    r->durable_seq = 0;
    r->hurry = true;
}
