/* The primary's part: a stream of batches to each member, commit, and who counts. */
#include "node/replication/replica_impl.h"

#define REFUSED_NS (1000000000ull)

/* A lease stays: the promise behind it holds across epochs, as long as its holder is primary. */
void primary_reset_streams(struct replica *r)
{
    for (uint32_t i = 0; i < r->peer_count; i++) {
        struct peer *p = &r->peers[i];
        p->stream = STREAM_NONE;
        p->matched_seq = p->shipped_seq = p->behind_ns = p->begin_ns = p->mark_seq = 0;
        p->trouble = REPLICA_PEER_AWAY;
        p->unreadable_seq = 0;
        if (!is_primary(r))
            p->lease_until_ns = 0;
    }
}

/* ---- where a member stands */

/* Our batch at `seq`, durable here or on its way. */
static int known_id(const struct replica *r, uint64_t seq, struct log_id *out)
{
    for (uint32_t i = 0; i < r->tail_count; i++)
        if (r->tail[i].seq == seq) {
            *out = r->tail[i];
            return 0;
        }
    return r->effects->id_at(r->user, seq, out);
}

/* The last batch that both logs have. False: p->trouble says why there is none to go on from, or it is looked
 * for. */
static bool find_common(struct replica *r, struct peer *p, struct log_id *common)
{
    const uint64_t end = log_end(r).seq;
    struct log_id mine;
    for (uint32_t i = p->told.tail_count; i-- > 0;) {
        const struct log_id *id = &p->told.tail[i];
        const int rc = id->seq <= end ? known_id(r, id->seq, &mine) : PS_ENOTFOUND;
        if (rc == PS_EUNAVAILABLE)
            return false;
        if (rc == 0 && log_id_equal(id, &mine)) {
            *common = *id;
            return true;
        }
    }
    const struct log_id *applied = &p->told.applied;
    const int found = applied->seq <= end ? known_id(r, applied->seq, &mine) : PS_ENOTFOUND;
    if (found == PS_EUNAVAILABLE)
        return false;
    const bool known = found == 0;
    if (applied->seq > end || (known && !log_id_equal(applied, &mine))) {
        p->given_up = holds_what_was_given_up(r, applied);
        p->trouble = p->given_up ? REPLICA_PEER_TOO_OLD : REPLICA_PEER_DIVERGED;
        return false;
    }
    if (r->effects->log_searching(r->user))
        return false;
    const uint64_t first = r->effects->log_first(r->user);
    if (!known || (applied->seq < end && (first == 0 || first > applied->seq + 1))) {
        p->trouble = REPLICA_PEER_TOO_OLD;
        return false;
    }
    *common = *applied;
    return true;
}

static bool can_stream(const struct replica *r, const struct peer *p)
{
    return heard_lately(r, p, r->config.options.silence_ns) && p->told.epoch == in_force(r)->epoch &&
           p->told.log_open && !is_copied_to(r, p);
}

void break_stream(struct replica *r, struct peer *p)
{
    p->stream = STREAM_NONE;
    p->broken_ns = r->now_ns;
    r->hurry = is_primary(r);
}

static void begin(struct replica *r, struct peer *p)
{
    struct log_id common;
    const enum replica_peer_state before = p->trouble;
    if (p->trouble == REPLICA_PEER_FULL && p->told.free_bytes == 0)
        return;
    p->trouble = REPLICA_PEER_AWAY;
    p->given_up = false;
    if (!find_common(r, p, &common)) {
        if (before != p->trouble && p->trouble != REPLICA_PEER_AWAY)
            decide(r, "stop", "%.40s, at batch %llu, %s", peer_name(r, &p->store),
                   (unsigned long long)p->told.applied.seq,
                   p->trouble == REPLICA_PEER_DIVERGED
                       ? "holds committed batches that this log does not have: a person must decide"
                   : p->given_up
                       ? "holds what a person gave up when this lineage was begun: it is filled anew"
                       : "is too far back for the log that is kept");
        return;
    }
    if (common.seq < p->unreadable_seq) {
        p->trouble = REPLICA_PEER_TOO_OLD;
        return;
    }
    struct replica_begin_msg msg = {.pod = r->config.pod,
                                    .store = r->config.store,
                                    .run = r->config.run,
                                    .epoch = in_force(r)->epoch,
                                    .stream = ++r->streams,
                                    .after = common,
                                    .commit_seq = r->commit_seq};
    const uint64_t end = p->async ? r->commit_seq : log_end(r).seq;
    for (uint64_t seq = common.seq + 1; seq <= end && msg.follows_count < REPLICA_TAIL_MAX; seq++)
        if (known_id(r, seq, &msg.follows[msg.follows_count++])) {
            msg.follows_count--;
            break;
        }
    p->stream_number = msg.stream;
    p->stream = STREAM_BEGINNING;
    p->stream_from = common.seq + 1;
    p->shipped_seq = common.seq;
    p->begin_ns = r->now_ns;
    r->effects->send_begin(r->user, &p->store, &msg);
}

static void ship(struct replica *r, struct peer *p)
{
    const uint64_t upto = p->async ? r->commit_seq : log_end(r).seq;
    if (p->stream != STREAM_FLOWING || upto <= p->shipped_seq)
        return;
    const struct replica_append_msg envelope = {.pod = r->config.pod,
                                                .store = r->config.store,
                                                .run = r->config.run,
                                                .epoch = in_force(r)->epoch,
                                                .stream = p->stream_number,
                                                .commit_seq = r->commit_seq};
    p->shipped_seq = upto;
    r->effects->ship(r->user, &p->store, &envelope, p->stream_from, upto, p->matched_seq);
}

void replica_stream_failed(struct replica *r, uint64_t now_ns, const struct uuid *store, uint64_t stream,
                           uint64_t seq, int status)
{
    r->now_ns = now_ns;
    struct peer *p = peer_find(r, store);
    if (!p || !is_primary(r) || p->stream == STREAM_NONE || p->stream_number != stream)
        return;
    break_stream(r, p);
    if (status != PS_EDATALOSS && status != PS_EDAMAGED)
        return;
    decide(r, "stop", "batch %llu, which %.40s needs, can't be read here: %s", (unsigned long long)seq,
           peer_name(r, store), ps_status_text(status));
    p->unreadable_seq = seq;
    p->trouble = REPLICA_PEER_TOO_OLD;
}

void replica_ack(struct replica *r, uint64_t now_ns, const struct replica_ack_msg *in)
{
    r->now_ns = now_ns;
    struct peer *p = peer_find(r, &in->store);
    /* Only what was said of this epoch to this run: anything else may be about another log. */
    if (!p || !is_primary(r) || !uuid_equal(&in->pod, &r->config.pod))
        return;
    if (in->epoch != in_force(r)->epoch || in->epoch != r->want.configuration.epoch ||
        in->run != r->config.run)
        return;
    p->told.free_bytes = in->free_bytes;
    if (in->status) {
        if (in->stream != p->stream_number)
            return; /* of a stream that has ended anyway */
        break_stream(r, p);
        if (in->status == PS_EFULL) {
            if (p->trouble != REPLICA_PEER_FULL)
                p->full_ns = now_ns;
            p->trouble = REPLICA_PEER_FULL;
            decide(r, "full", "%.40s has no room for more batches", peer_name(r, &p->store));
        } else if (in->status != PS_EABORTED && in->status != PS_ELIMIT) {
            p->broken_ns += REFUSED_NS; /* the next one will end like this one */
            if (p->refused != in->status)
                decide(r, "stop", "%.40s does not take batch %llu: %s", peer_name(r, &p->store),
                       (unsigned long long)in->end.seq + 1, ps_status_text(in->status));
            p->refused = in->status;
        }
        return;
    }
    struct log_id mine;
    if (in->end.seq < p->matched_seq || p->stream == STREAM_NONE || in->end.seq > log_end(r).seq)
        return;
    if (known_id(r, in->end.seq, &mine) || !log_id_equal(&in->end, &mine)) {
        break_stream(r, p);
        return;
    }
    if (in->stream == p->stream_number)
        p->stream = STREAM_FLOWING;
    if (in->end.seq > p->matched_seq) {
        p->behind_ns = now_ns;
        p->refused = 0;
    }
    p->matched_seq = in->end.seq;
    p->stream_from = most_of(p->stream_from, p->matched_seq + 1);
    /* Who ships knows of acknowledgements of its own stream: of what another one has brought it is told anew.
     */
    if (in->stream != p->stream_number)
        p->shipped_seq = p->stream_from - 1;
    else
        p->shipped_seq = most_of(p->shipped_seq, p->matched_seq);
}

/* Up to when it has all. */
static void note_lag(struct replica *r, struct peer *p)
{
    const uint64_t end = log_end(r).seq;
    const bool reached = p->mark_seq && p->matched_seq >= p->mark_seq;
    if (p->matched_seq >= end)
        p->synced_ns = r->now_ns;
    else if (reached)
        p->synced_ns = p->mark_ns;
    if (p->matched_seq >= end || reached)
        p->mark_seq = 0;
    if (p->mark_seq == 0 && p->matched_seq < end) {
        p->mark_seq = end;
        p->mark_ns = r->now_ns;
    }
}

static void stream_turn(struct replica *r, struct peer *p)
{
    const uint64_t heartbeat = r->config.options.heartbeat_ns;
    if (!can_stream(r, p)) {
        if (p->stream != STREAM_NONE)
            r->effects->ship(r->user, &p->store, NULL, 1, 0, 0);
        p->stream = STREAM_NONE;
    } else if (p->stream == STREAM_NONE) {
        if (p->told_ns > p->broken_ns)
            begin(r, p);
    } else {
        const bool unanswered = p->stream == STREAM_BEGINNING && r->now_ns - p->begin_ns >= 2 * heartbeat;
        const bool lost =
            p->stream == STREAM_FLOWING &&
            (p->told.stream_epoch != in_force(r)->epoch || p->told.stream_run != r->config.run) &&
            p->told_ns > p->begin_ns + heartbeat;
        if (unanswered || lost)
            begin(r, p);
    }
    ship(r, p);
    note_lag(r, p);
    /* Since when it owes us batches. */
    if (p->matched_seq >= log_end(r).seq)
        p->behind_ns = 0;
    else if (!p->behind_ns)
        p->behind_ns = r->now_ns;
}

/* ---- commit */

static uint64_t commit_index(const struct replica *r)
{
    uint64_t seq = r->durable_seq;
    if (BROKEN(REPLICA_COMMIT_ALONE))
        return seq;
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (counts(r, &r->peers[i]))
            seq = BROKEN(REPLICA_ACK_ANY) ? most_of(seq, r->peers[i].matched_seq)
                                          : least_of(seq, r->peers[i].matched_seq);
    return seq;
}

static void advance_commit(struct replica *r)
{
    const uint64_t seq = commit_index(r);
    /* An ask that may have put somebody else in makes us wait for the answer: that one may not have the
     * batch. */
    if (seq <= r->commit_seq || in_force(r)->epoch != r->want.configuration.epoch || ask_may_empower(r))
        return;
    r->commit_seq = seq;
    r->effects->commit(r->user, seq);
}

void try_to_lead(struct replica *r)
{
    const struct log_id end = log_end(r);
    if (r->role != REPLICA_INHERITING)
        return;
    /* No promise is given after this one: the view names us primary. */
    hear_beats(r);
    if (!r->log_open || r->log_failed || r->truncating || in_force(r)->epoch != r->want.configuration.epoch ||
        (r->now_ns < r->promise_until_ns && !BROKEN(REPLICA_SKIP_LEASE)) || commit_index(r) < r->base_seq ||
        r->applied.seq < end.seq || ask_may_empower(r) || promote_waits(r))
        return;
    r->role = REPLICA_LEADING;
    r->leading_epoch = in_force(r)->epoch;
    decide(r, "lead", "serves as primary from batch %llu on, %u in sync", (unsigned long long)end.seq,
           configuration_sync_count(in_force(r)));
    r->effects->lead(r->user, r->leading_epoch);
    r->effects->changed(r->user);
    send_heartbeats(r); /* asks for the leases */
}

/* ---- who counts */

static bool is_silent(const struct replica *r, const struct peer *p)
{
    return p->dead || r->now_ns - silent_since(p) >= r->config.options.silence_ns;
}

static bool must_go(const struct replica *r, const struct peer *p)
{
    const struct replica_options *o = &r->config.options;
    if (!p->in_sync)
        return false;
    return is_silent(r, p) || p->trouble != REPLICA_PEER_AWAY ||
           (p->behind_ns && r->now_ns - p->behind_ns >= o->unacked_ns);
}

static const char *reason_to_go(const struct replica *r, const struct peer *p)
{
    if (p->dead)
        return "its process has ended";
    if (is_silent(r, p))
        return "it is silent";
    if (p->trouble != REPLICA_PEER_AWAY)
        return replica_peer_state_name(p->trouble);
    return "it does not make batches durable";
}

static bool mark(struct configuration *c, const struct uuid *store, bool in_sync)
{
    const int at = configuration_find(c, store);
    if (at < 0 || c->members[at].in_sync == in_sync)
        return false;
    c->members[at].in_sync = in_sync;
    return true;
}

static uint64_t removal_turn(struct replica *r)
{
    bool any = false;
    uint64_t at = UINT64_MAX;
    for (uint32_t i = 0; i < r->peer_count; i++) {
        const struct peer *p = &r->peers[i];
        if (must_go(r, p))
            any = true;
        else if (p->in_sync)
            at = least_of(at, silent_since(p) + r->config.options.silence_ns);
        if (p->in_sync && p->behind_ns)
            at = least_of(at, after_ns(p->behind_ns, r->config.options.unacked_ns));
    }
    if (!any || in_force(r)->epoch != r->want.configuration.epoch)
        return any ? UINT64_MAX : at;
    struct configuration next = *in_force(r);
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (must_go(r, &r->peers[i]))
            (void)mark(&next, &r->peers[i].store, false);
    /* One that is open and takes out the same members says it already. */
    const struct ask *open = &r->want.ask;
    bool covered = open->reason == ASK_REMOVE;
    for (uint32_t i = 0; i < next.count && covered; i++) {
        const int k = configuration_find(&open->next, &next.members[i].store);
        covered = next.members[i].in_sync || (k >= 0 && !open->next.members[k].in_sync);
    }
    /* A joiner that may have been let in must not be forgotten for another ask: its answer comes first. */
    if (covered || open->reason == ASK_JOIN || !may_propose(r))
        return UINT64_MAX;
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (must_go(r, &r->peers[i]))
            decide(r, "remove", "%.40s does not count any more: %s", peer_name(r, &r->peers[i].store),
                   reason_to_go(r, &r->peers[i]));
    propose(r, ASK_REMOVE, &next);
    return UINT64_MAX;
}

/* Whoever is in sync could ask the mediator for the pod: joiners give that right away first. */
static bool has_bound_itself(const struct replica *r, const struct peer *p)
{
    return p->told.bind == REPLICA_BOUND && is_self(r, &p->told.heir) && p->told.nonce == r->durable.self;
}

static bool may_join(const struct replica *r, const struct peer *p)
{
    const struct replica_options *o = &r->config.options;
    const int at = configuration_find(in_force(r), &p->store);
    return at >= 0 && in_force(r)->members[at].mode == MEMBER_SYNC && !in_force(r)->members[at].in_sync &&
           p->stream == STREAM_FLOWING && p->trouble == REPLICA_PEER_AWAY &&
           p->clean >= o->clean_heartbeats &&
           (log_end(r).seq - p->matched_seq <= o->join_batches || BROKEN(REPLICA_JOIN_EARLY)) &&
           p->lease_until_ns > r->now_ns + o->lease_ns / 4 && (!is_alone(r) || has_bound_itself(r, p));
}

/* It was told to be a joiner under another authority, maybe. */
static bool may_be_let_in(const struct replica *r, const struct peer *p)
{
    return is_alone(r) ? has_bound_itself(r, p) : r->want.self == 0 && r->durable.self == 0;
}

static void join_turn(struct replica *r)
{
    for (uint32_t i = 0; BROKEN(REPLICA_ABANDON_JOIN) && i < r->peer_count; i++)
        r->peers[i].joining &= !is_silent(r, &r->peers[i]);
    if (r->role != REPLICA_LEADING || ask_is_open(r) || in_force(r)->epoch != r->want.configuration.epoch)
        return;
    for (uint32_t i = 0; i < r->peer_count; i++) {
        struct peer *p = &r->peers[i];
        if (p->joining && (!heard_lately(r, p, r->config.options.silence_ns) || p->stream == STREAM_NONE ||
                           p->trouble != REPLICA_PEER_AWAY)) {
            /* Nobody was asked yet, so nobody can think that it counts. */
            p->joining = false;
            decide(r, "leave", "%.40s was about to join and is not to be heard", peer_name(r, &p->store));
        } else if (!p->joining && may_join(r, p) && may_propose(r)) {
            p->joining = true;
            p->join_seq = log_end(r).seq;
            decide(r, "join", "%.40s is at batch %llu of %llu: counts from now on", peer_name(r, &p->store),
                   (unsigned long long)p->matched_seq, (unsigned long long)p->join_seq);
        }
        if (p->joining && may_be_let_in(r, p) &&
            (p->matched_seq >= p->join_seq || BROKEN(REPLICA_JOIN_EARLY))) {
            p->joining = !BROKEN(REPLICA_JOIN_EARLY);
            struct configuration next = *in_force(r);
            (void)mark(&next, &p->store, true);
            propose(r, ASK_JOIN, &next);
            return;
        }
    }
}

/* ---- what people ask for */

int may_change(const struct replica *r, struct ps_error *err)
{
    if (r->role != REPLICA_LEADING)
        return ps_error_set(err, PS_EPRECONDITION, "this node is not the primary of the pod");
    if (ask_is_open(r) || in_force(r)->epoch != r->want.configuration.epoch ||
        r->want.self != r->durable.self)
        return ps_error_set(err, PS_EPRECONDITION, "another change of the pod's members is under way");
    return 0;
}

int replica_found(struct replica *r, uint64_t now_ns, const struct configuration *first, struct ps_error *err)
{
    r->now_ns = now_ns;
    if (r->want.configuration.epoch || ask_is_open(r))
        return ps_error_set(err, PS_EPRECONDITION,
                            "the pod has a configuration, or has asked for its first one");
    struct configuration next = *first;
    next.epoch = 1;
    const int rc = configuration_check(&next, err);
    if (rc == 0)
        ask(r, ASK_FIRST, &next);
    return rc;
}

int replica_add_member(struct replica *r, uint64_t now_ns, const struct member *member, struct ps_error *err)
{
    r->now_ns = now_ns;
    struct configuration next = *in_force(r);
    int rc = may_change(r, err);
    if (rc == 0 && next.count == CONFIGURATION_MEMBERS_MAX)
        rc = ps_error_set(err, PS_EPRECONDITION, "the pod has %d members, which is the most",
                          CONFIGURATION_MEMBERS_MAX);
    if (rc)
        return rc;
    next.members[next.count] = *member;
    next.members[next.count++].in_sync = false;
    next.epoch++;
    rc = configuration_check(&next, err);
    if (rc == 0)
        propose(r, ASK_MEMBERS, &next);
    return rc;
}

int replica_remove_member(struct replica *r, uint64_t now_ns, const struct uuid *store, struct ps_error *err)
{
    r->now_ns = now_ns;
    struct configuration next = *in_force(r);
    int rc = may_change(r, err);
    const int at = configuration_find(&next, store);
    if (rc == 0 && at < 0)
        rc = ps_error_set(err, PS_ENOTFOUND, "no such member of the pod");
    if (rc == 0 && is_self(r, store))
        rc =
            ps_error_set(err, PS_EPRECONDITION, "this node is the primary: switch over to another one first");
    if (rc)
        return rc;
    next.members[at] = next.members[--next.count];
    if (uuid_equal(&next.preferred, store))
        next.preferred = (struct uuid){{0}};
    propose(r, ASK_MEMBERS, &next);
    return 0;
}

int replica_rename_member(struct replica *r, uint64_t now_ns, const struct member *member,
                          struct ps_error *err)
{
    r->now_ns = now_ns;
    struct configuration next = *in_force(r);
    int rc = may_change(r, err);
    const int at = configuration_find(&next, &member->store);
    if (rc == 0 && at < 0)
        rc = ps_error_set(err, PS_ENOTFOUND, "no such member of the pod");
    if (rc)
        return rc;
    memcpy(next.members[at].node, member->node, sizeof next.members[at].node);
    next.epoch++;
    rc = configuration_check(&next, err);
    if (rc == 0)
        propose(r, ASK_MEMBERS, &next);
    return rc;
}

uint64_t replica_needed(const struct replica *r)
{
    uint64_t seq = r->applied.seq;
    for (uint32_t i = 0; i < r->peer_count; i++)
        seq = least_of(seq, most_of(r->peers[i].copy_seq,
                                    most_of(r->peers[i].matched_seq, r->peers[i].told.applied.seq)));
    return seq + 1;
}

/* ---- the turn */

static void limit_free(struct replica *r)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (counts(r, &r->peers[i]) && r->peers[i].told_ns)
            least = least_of(least, r->peers[i].told.free_bytes);
    if (least == r->limit_told)
        return;
    r->limit_told = least;
    r->effects->limit_free(r->user, least);
}

/* Batches that it lacks. Asynchronous members slow nobody, and a full copy leaves room for the log behind it.
 */
static uint64_t gap_of(const struct replica *r, const struct peer *p)
{
    const uint64_t end = log_end(r).seq, at = most_of(p->matched_seq, p->told.end.seq);
    if (counts(r, p) || p->async || !can_stream(r, p) || p->trouble != REPLICA_PEER_AWAY || at >= end)
        return 0;
    return end - at > r->config.options.join_batches ? end - at : 0;
}

static uint64_t pace_turn(struct replica *r)
{
    uint64_t gap = 0;
    for (uint32_t i = 0; i < r->peer_count && r->role == REPLICA_LEADING; i++)
        gap = most_of(gap, gap_of(r, &r->peers[i]));
    const uint32_t slowed = pace_look(&r->pace, r->now_ns, gap);
    if ((slowed == 0) != (r->slow_told == 0))
        decide(r, "pace",
               slowed
                   ? "a member does not catch up, it lacks %llu batches: hosts are slowed, by 28 %% at most"
                   : "hosts are not slowed any more: the farthest member lacks %llu batches",
               (unsigned long long)gap);
    if (slowed != r->slow_told) {
        r->slow_told = slowed;
        r->effects->slow(r->user, slowed);
    }
    return gap ? r->pace.at_ns + PACE_EVERY_NS : UINT64_MAX;
}

uint64_t primary_turn(struct replica *r)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < r->peer_count; i++)
        stream_turn(r, &r->peers[i]);
    next = authority_turn(r);
    advance_commit(r);
    if (r->role == REPLICA_INHERITING) {
        if (r->now_ns < r->promise_until_ns)
            next = least_of(next, r->promise_until_ns);
        try_to_lead(r);
    }
    if (r->role == REPLICA_LEADING && r->leading_epoch < in_force(r)->epoch &&
        in_force(r)->epoch == r->want.configuration.epoch) {
        r->leading_epoch = in_force(r)->epoch;
        r->effects->lead_epoch(r->user, r->leading_epoch);
    }
    next = least_of(next, removal_turn(r));
    join_turn(r);
    next = least_of(next, copy_turn(r));
    next = least_of(next, switch_turn(r));
    next = least_of(next, pace_turn(r));
    limit_free(r);
    return next;
}
