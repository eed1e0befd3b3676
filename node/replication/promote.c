/* A person's decision to go on with what this member has (rule 26): when the only ones that have more, or
 * that were given the right to decide, are gone for good.
 *
 * It begins a new lineage, which outranks every configuration of the former ones, told or not: a primary that
 * was elected to go on alone and comes back obeys it. The mediator puts it on record like any other change,
 * so of two members that people promote at once one wins. What others hold beyond the log that is here then
 * is not merged with it: who holds such batches gets a full copy (primary.c, find_common).
 *
 * The former primary may be alive and serve: it needs no lease of anybody when it is alone in sync. So
 * serving waits until that one has said that it holds the new lineage durably, or until a person says that it
 * is off. */
#include <stdio.h>

#include "node/replication/replica_impl.h"

/* Changes and reports go to the mediator that answers, also one that never heard of the pod. */
static bool another_answers(const struct replica *r)
{
    return r->mediator_differs && r->now_ns - r->stranger_ns < r->config.options.mediator_lost_ns;
}

static int check_old_primary(struct replica *r, bool is_off, struct ps_error *err)
{
    const struct uuid *store = &r->want.configuration.primary;
    const struct peer *p = peer_find(r, store);
    if (!p || !heard_lately(r, p, r->config.options.silence_ns))
        return 0;
    if (p->told.ready)
        return ps_error_set(err, PS_EPRECONDITION,
                            "%.40s is the primary and serves: nothing needs to be lost; see `pod switchover`",
                            peer_name(r, store));
    if (is_off)
        return ps_error_set(err, PS_EPRECONDITION, "%.40s is not off: it is heard", peer_name(r, store));
    return 0;
}

static int check(struct replica *r, bool is_off, struct ps_error *err)
{
    const struct configuration *c = in_force(r);
    if (!r->log_open || r->log_failed || r->state_failed || r->truncating || r->being_filled)
        return ps_error_set(err, PS_EPRECONDITION, "this member has no log that it could serve from");
    if (c->epoch == 0 || c->epoch != r->want.configuration.epoch || !configuration_has(c, &r->config.store))
        return ps_error_set(err, PS_EPRECONDITION, "this node is not a member of the pod");
    if (is_self(r, &c->primary))
        return ps_error_set(err, PS_EPRECONDITION, "this node is the primary already");
    if (!mediator_is_ok(r) && !another_answers(r))
        return ps_error_set(
            err, PS_EPRECONDITION,
            "no mediator answers: it keeps two members from being promoted at once; start it, or a "
            "new one in its place");
    return check_old_primary(r, is_off, err);
}

/* From what the mediator that answers has on record (epoch 0: nothing), which may be older than what is in
 * force here. */
static void ask_for_lineage(struct replica *r, const struct configuration *record)
{
    const struct configuration *from = record->epoch ? record : in_force(r);
    struct configuration next = *from;
    for (uint32_t i = 0; i < next.count; i++) {
        next.members[i].in_sync = is_self(r, &next.members[i].store);
        if (next.members[i].in_sync)
            next.members[i].mode = MEMBER_SYNC;
    }
    next.primary = r->config.store;
    /* Not counted among those proposed: an ask of the present lineage would go on from there. */
    next.epoch =
        ((epoch_lineage(r->want.highest_epoch) + 1) << 32) + epoch_in_lineage(r->want.highest_epoch) + 1;
    r->want.ask = (struct ask){.reason = ASK_PROMOTE, .expected_epoch = record->epoch, .next = next};
    new_request(r, &r->want.ask.request);
    r->ask_sent_ns = 0;
}

static int stop_waiting(struct replica *r, bool is_off, struct ps_error *err)
{
    const struct peer *p = peer_find(r, &r->want.fence);
    if (!is_off)
        return ps_error_set(err, PS_EPRECONDITION,
                            "promoted already; it waits for %.40s to say that it has stopped",
                            peer_name(r, &r->want.fence));
    if (p && heard_lately(r, p, r->config.options.silence_ns))
        return ps_error_set(err, PS_EPRECONDITION, "%.40s is not off: it is heard",
                            peer_name(r, &r->want.fence));
    decide(r, "promote", "a person says that %.40s is off: it is not waited for",
           peer_name(r, &r->want.fence));
    r->want.fence = (struct uuid){{0}};
    return 0;
}

int replica_promote(struct replica *r, uint64_t now_ns, bool old_primary_is_off, struct ps_error *err)
{
    r->now_ns = now_ns;
    if (is_primary(r) && promote_waits(r))
        return stop_waiting(r, old_primary_is_off, err);
    const int rc = check(r, old_primary_is_off, err);
    if (rc)
        return rc;
    /* Who leads by what is known last, here or there. */
    const bool by_record = r->record.epoch > in_force(r)->epoch && !r->mediator_differs;
    const struct uuid old = by_record ? r->record.primary : in_force(r)->primary;
    const struct peer *p = peer_find(r, &old);
    const struct configuration nothing = {0};
    r->want.fence = old_primary_is_off ? (struct uuid){{0}} : old;
    ask_for_lineage(r, r->mediator_differs ? &nothing : &r->record);
    decide(r, "promote",
           "a person promotes %.40s at batch %llu%s and accepts the loss of what it lacks; %.40s was heard "
           "last with %llu%s",
           r->node, (unsigned long long)log_end(r).seq,
           configuration_in_sync(in_force(r), &r->config.store) ? ", in sync," : "", peer_name(r, &old),
           p ? (unsigned long long)p->told.end.seq : 0ull,
           old_primary_is_off ? " and is said to be off" : "");
    return 0;
}

void promote_adopt(struct replica *r, const struct configuration *c)
{
    const uint64_t before = r->want.configuration.epoch;
    const bool later = before && epoch_lineage(c->epoch) > epoch_lineage(before);
    if (promote_is_open(r, c)) {
        if (promote_waits(r) && !is_self(r, &c->primary))
            r->want.fence = c->primary; /* who leads by what is known last */
    } else if (!later || !is_self(r, &c->primary)) {
        r->want.fence = (struct uuid){{0}};
    }
    if (!later)
        return;
    decide(r, "lineage",
           "a person made %.40s primary: what it does not have is given up, from batch %llu on here",
           peer_name(r, &c->primary), (unsigned long long)r->applied.seq + 1);
    /* It was said of the former lineage's batches. */
    r->commit_seq = r->applied.seq;
    r->effects->forget_commit(r->user);
}

bool promote_stranger(struct replica *r, const struct replica_verdict *v)
{
    if (r->want.ask.reason != ASK_PROMOTE || !uuid_equal(&v->request, &r->want.ask.request))
        return false;
    if (v->status) {
        promote_refused(r, v);
        return false;
    }
    r->want.mediator = v->mediator;
    r->want.mediator_number++;
    decide(r, "promote", "the mediator that grants it takes the place of the one that is lost");
    return true;
}

void promote_refused(struct replica *r, const struct replica_verdict *v)
{
    if (v->now.epoch && v->now.epoch != r->want.ask.expected_epoch &&
        configuration_has(&v->now, &r->config.store) && check_old_primary(r, false, NULL) == 0) {
        ask_for_lineage(r, &v->now); /* which is known now */
        return;
    }
    r->want.ask = (struct ask){.reason = ASK_NONE};
    r->want.fence = (struct uuid){{0}};
    decide(r, "promote", "not promoted: the mediator refuses");
}

void promote_hear(struct replica *r, const struct replica_state_msg *in)
{
    if (!promote_waits(r) || !uuid_equal(&r->want.fence, &in->store) || !is_self(r, &in_force(r)->primary) ||
        in->epoch < in_force(r)->epoch)
        return;
    decide(r, "promote", "%.40s has stopped: it holds epoch %llu", peer_name(r, &in->store),
           (unsigned long long)in->epoch);
    r->want.fence = (struct uuid){{0}};
}

bool holds_what_was_given_up(const struct replica *r, const struct log_id *applied)
{
    return epoch_lineage(applied->epoch) < epoch_lineage(in_force(r)->epoch);
}
