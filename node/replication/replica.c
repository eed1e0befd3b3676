#include "node/replication/replica_impl.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef PS_MUTATIONS
enum replica_mutation replica_mutation;
#endif

const struct replica_options replica_defaults = {
    .heartbeat_ns = 250000000,
    .lease_ns = 1000000000,
    .margin_ns = 100000000,
    .early_ns = 200000000,
    .rank_ns = 100000000,
    .silence_ns = 750000000,
    .unacked_ns = 1500000000,
    .resend_ns = 500000000,
    .report_ns = 1000000000,
    .mediator_lost_ns = 3000000000,
    .stuck_ns = 3000000000,
    .clean_heartbeats = 10,
    .join_batches = 8,
    .stable_heartbeats = 40,
    .move_again_ns = 30000000000,
};

struct peer *peer_find(struct replica *r, const struct uuid *store)
{
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (uuid_equal(&r->peers[i].store, store))
            return &r->peers[i];
    return NULL;
}

void place_peers(struct replica *r)
{
    for (uint32_t i = 0; i < r->peer_count; i++) {
        struct peer *p = &r->peers[i];
        const int at = configuration_find(in_force(r), &p->store);
        p->in_sync = at >= 0 && in_force(r)->members[at].in_sync;
        p->async = at >= 0 && in_force(r)->members[at].mode == MEMBER_ASYNC;
    }
}

const char *peer_name(const struct replica *r, const struct uuid *store)
{
    const struct configuration *const all[] = {&r->want.configuration, &r->durable.configuration};
    if (is_self(r, store))
        return r->node;
    for (size_t i = 0; i < 2; i++) {
        const int at = configuration_find(all[i], store);
        if (at >= 0)
            return all[i]->members[at].node;
    }
    return "an unknown node";
}

bool log_id_known(const struct replica *r, const struct log_id *id)
{
    struct log_id mine;
    if (log_id_equal(id, &r->applied))
        return true;
    for (uint32_t i = 0; i < r->tail_count; i++)
        if (log_id_equal(id, &r->tail[i]))
            return true;
    /* Applied long ago: the primary sends again what it does not know to be acknowledged. */
    return id->seq && id->seq < r->applied.seq && r->effects->id_at(r->user, id->seq, &mine) == 0 &&
           log_id_equal(id, &mine);
}

/* ---- life */

int replica_create(const struct replica_config *config, uint64_t now_ns, struct replica **out,
                   struct ps_error *err)
{
    struct durable state = {0};
    if (config->state_bytes) {
        const int rc = durable_decode(config->state, config->state_bytes, &state, err);
        if (rc)
            return rc;
    }
    struct replica *r = calloc(1, sizeof *r);
    if (!r)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    r->config = *config;
    (void)snprintf(r->node, sizeof r->node, "%s", config->node);
    r->effects = config->effects;
    r->user = config->user;
    prng_seed(&r->prng, config->seed);
    r->now_ns = r->turn_ns = now_ns;
    if (BROKEN(REPLICA_FORGET_ASK))
        state.ask = (struct ask){.reason = ASK_NONE};
    r->want = r->durable = state;
    r->primary_ns = r->started_ns = now_ns;
    /* Whom the former run promised what is forgotten: a start counts as a promise just given. */
    if (!BROKEN(REPLICA_FORGET_PROMISE))
        r->promise_until_ns = now_ns + config->options.lease_ns + config->options.margin_ns;
    for (uint32_t i = 0; i < state.configuration.count && r->peer_count < REPLICA_PEERS_MAX; i++)
        if (!is_self(r, &state.configuration.members[i].store))
            r->peers[r->peer_count++] =
                (struct peer){.store = state.configuration.members[i].store,
                              .since_ns = BROKEN(REPLICA_FORGET_PROMISE) ? 0 : now_ns};
    /* A joiner that may have been let in counts until the answer is known. */
    for (uint32_t i = 0; i < r->peer_count && state.ask.reason == ASK_JOIN; i++)
        if (configuration_in_sync(&state.ask.next, &r->peers[i].store) &&
            !configuration_in_sync(&state.configuration, &r->peers[i].store))
            r->peers[i].joining = true;
    place_peers(r);
    *out = r;
    return 0;
}

void replica_destroy(struct replica *r)
{
    free(r);
}

/* ---- the log */

void replica_opened(struct replica *r, const struct log_id *applied, const struct log_id *tail,
                    uint32_t tail_count)
{
    assert(!r->log_open && tail_count <= REPLICA_TAIL_MAX);
    r->log_open = true;
    r->log_failed = false;
    r->being_filled = false;
    r->truncating = false;
    r->applied = *applied;
    r->tail_count = tail_count;
    if (tail_count)
        memcpy(r->tail, tail, tail_count * sizeof tail[0]);
    r->durable_seq = log_end(r).seq;
    if (r->commit_seq < applied->seq)
        r->commit_seq = applied->seq;
    /* What the former log was told to commit holds for this one: it has the same batches, if it has them. */
    r->base_seq = r->durable_seq;
    r->limit_told = UINT64_MAX; /* the pod knows of no limit any more */
    follower_reset(r);
    r->heartbeat_ns = 0; /* the others learn it now: their batches wait for it */
    r->effects->commit(r->user, r->commit_seq);
}

void replica_log_failed(struct replica *r)
{
    if (r->log_failed)
        return;
    r->log_failed = true;
    decide(r, "fail", "its store failed: it takes no batches until it is opened anew");
    r->heartbeat_ns = 0; /* the others learn it now */
}

void replica_set_pod(struct replica *r, const struct uuid *pod)
{
    assert(r->want.configuration.epoch == 0);
    r->config.pod = *pod;
}

void replica_sealed(struct replica *r, const struct log_id *id)
{
    assert(r->role == REPLICA_LEADING && id->seq == log_end(r).seq + 1 && r->tail_count < REPLICA_TAIL_MAX);
    r->tail[r->tail_count++] = *id;
}

void replica_durable(struct replica *r, const struct log_id *end)
{
    if (end->seq <= r->durable_seq)
        return;
    r->durable_seq = end->seq;
    r->append_failed = 0;
    if (!is_primary(r))
        acknowledge(r);
}

void replica_applied(struct replica *r, const struct log_id *applied)
{
    uint32_t gone = 0;
    while (gone < r->tail_count && r->tail[gone].seq <= applied->seq)
        gone++;
    memmove(r->tail, r->tail + gone, (r->tail_count - gone) * sizeof r->tail[0]);
    r->tail_count -= gone;
    r->applied = *applied;
    if (gone && !is_primary(r))
        acknowledge_applied(r);
}

void replica_free_bytes(struct replica *r, uint64_t bytes)
{
    r->free_bytes = bytes;
}

/* ---- durability */

static bool right_differs(const struct durable *a, const struct durable *b)
{
    return a->self != b->self || a->bound.nonce != b->bound.nonce ||
           !uuid_equal(&a->bound.heir, &b->bound.heir);
}

void replica_persisted(struct replica *r, uint64_t now_ns, int status)
{
    r->now_ns = now_ns;
    assert(r->persisting);
    r->persisting = false;
    /* Given up with the log that is being opened anew: it is written then, and nobody was told of it. */
    if (status && !r->log_open && !r->log_failed && !r->being_filled)
        return;
    if (status) {
        r->state_failed = true;
        decide(r, "fail", "the state can't be made durable: no part is taken any more");
        return;
    }
    const bool changed = r->durable.configuration.epoch != r->writing.configuration.epoch;
    if (right_differs(&r->durable, &r->writing)) {
        r->heartbeat_ns = 0; /* a vote, the end of an election: somebody waits for it */
        r->effects->changed(r->user);
    }
    r->durable = r->writing;
    place_peers(r);
    if (changed) {
        /* The question whether they were let in is settled, in our own memory, too. */
        for (uint32_t i = 0; i < r->peer_count; i++)
            r->peers[i].joining = false;
        r->heartbeat_ns = 0; /* the others learn it now, and that we have it */
        r->effects->changed(r->user);
    }
}

/* A configuration is named by its epoch, an ask by its request. */
static bool state_differs(const struct durable *a, const struct durable *b)
{
    return a->configuration.epoch != b->configuration.epoch || a->highest_epoch != b->highest_epoch ||
           !uuid_equal(&a->mediator, &b->mediator) || a->mediator_number != b->mediator_number ||
           a->ask.reason != b->ask.reason || !uuid_equal(&a->ask.request, &b->ask.request) ||
           !uuid_equal(&a->fence, &b->fence) || right_differs(a, b);
}

static void persist(struct replica *r)
{
    uint8_t data[REPLICA_STATE_BYTES_MAX];
    if (r->persisting || r->state_failed || (!r->log_open && !r->being_filled) ||
        !state_differs(&r->want, &r->durable))
        return;
    r->persisting = true;
    r->persist_ns = r->now_ns;
    r->writing = r->want;
    r->effects->persist(r->user, data, durable_encode(&r->writing, data));
}

/* ---- the turn */

/* Becoming primary, or one of its members, waits for the configuration to be durable; the contrary does not.
 */
static void settle_role(struct replica *r)
{
    const struct configuration *c = in_force(r);
    const enum replica_role before = r->role;
    if (c->epoch != r->want.configuration.epoch)
        return;
    if (c->epoch == 0)
        r->role = REPLICA_UNCONFIGURED;
    else if (is_self(r, &c->primary)) {
        if (!is_primary(r) && r->log_open && !r->truncating) {
            r->role = REPLICA_INHERITING;
            r->base_seq = log_end(r).seq;
            expect_all(r);
        }
    } else if (!configuration_has(c, &r->config.store))
        r->role = REPLICA_OUTSIDE;
    else
        r->role = configuration_in_sync(c, &r->config.store) ? REPLICA_FOLLOWING : REPLICA_RETURNING;
    if (r->role != before)
        r->effects->changed(r->user);
}

uint64_t replica_turn(struct replica *r, uint64_t now_ns)
{
    uint64_t next = UINT64_MAX;
    r->now_ns = now_ns;
    hear_beats(r);
    if (r->state_failed)
        return UINT64_MAX;
    /* Stopped for a while: what the others said meanwhile is on its way to us. */
    if (now_ns - r->turn_ns >= r->config.options.silence_ns / 2)
        expect_all(r);
    r->turn_ns = now_ns;
    settle_role(r);
    persist(r);
    if (is_primary(r))
        next = primary_turn(r);
    else
        next = follower_turn(r);
    next = least_of(next, change_turn(r));
    persist(r);
    next = least_of(next, lease_turn(r));
    return next;
}
