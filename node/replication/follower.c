/* What a member takes from its primary. Batches come in envelopes of its own epoch, in order and without
 * gaps; what it acknowledges is durable here and equal to the primary's log up to there.
 *
 * No primary has more than REPLICA_AHEAD batches that are not applied, and a batch comes with the word what
 * is committed before it. So an acknowledgement that waits until the log is applied that far holds up no
 * commit; it holds up a primary that sends faster than this member applies. */
#include "node/replication/replica_impl.h"

void follower_reset(struct replica *r)
{
    r->stream_epoch = r->stream_run = r->acked_seq = 0;
    r->begin_waits = false;
}

static struct replica_ack_msg make_ack(const struct replica *r, uint64_t run, uint64_t epoch, uint64_t stream,
                                       int status)
{
    struct replica_ack_msg ack = {
        .pod = r->config.pod,
        .store = r->config.store,
        .run = run,
        .epoch = epoch,
        .stream = stream,
        .end = r->applied,
        .free_bytes = r->free_bytes,
        .status = status,
    };
    const uint64_t far = r->applied.seq + REPLICA_AHEAD;
    for (uint32_t i = 0; i < r->tail_count && ((r->tail[i].seq <= r->durable_seq && r->tail[i].seq <= far) ||
                                               BROKEN(REPLICA_ACK_UNFLUSHED));
         i++)
        ack.end = r->tail[i];
    return ack;
}

void acknowledge(struct replica *r)
{
    /* The configuration is durable before its first acknowledgement. */
    if (!r->stream_epoch || r->stream_epoch != in_force(r)->epoch || r->truncating)
        return;
    const struct replica_ack_msg ack = make_ack(r, r->stream_run, r->stream_epoch, r->stream_number, 0);
    r->acked_seq = ack.end.seq;
    r->effects->send_ack(r->user, &in_force(r)->primary, &ack);
}

void acknowledge_applied(struct replica *r)
{
    if (r->stream_epoch && least_of(r->durable_seq, r->applied.seq + REPLICA_AHEAD) > r->acked_seq)
        acknowledge(r);
}

static bool is_from_primary(const struct replica *r, const struct uuid *pod, const struct uuid *store,
                            uint64_t epoch)
{
    return uuid_equal(pod, &r->config.pod) && epoch == in_force(r)->epoch &&
           epoch == r->want.configuration.epoch && uuid_equal(store, &in_force(r)->primary) &&
           !is_primary(r) && r->log_open && !r->log_failed;
}

/* Everything appended is durable: the log may be cut and its end compared. */
static bool log_is_quiet(const struct replica *r)
{
    return !r->truncating && log_end(r).seq == r->durable_seq;
}

/* The begin that waits. */
static void refuse(struct replica *r, int status)
{
    const struct replica_ack_msg ack = make_ack(r, r->begin.run, r->begin.epoch, r->begin.stream, status);
    r->begin_waits = false;
    r->effects->send_ack(r->user, &r->begin.store, &ack);
}

static void begin_now(struct replica *r)
{
    const struct replica_begin_msg *b = &r->begin;
    const struct log_id end = log_end(r);
    struct log_id common = b->after;
    for (uint32_t i = 0; i < b->follows_count && log_id_known(r, &b->follows[i]); i++)
        common = b->follows[i];
    if (!log_id_equal(&end, &common) && !BROKEN(REPLICA_KEEP_TAIL)) {
        const bool more = b->follows_count && log_id_equal(&common, &b->follows[REPLICA_TAIL_MAX - 1]);
        if (more || common.seq < r->applied.seq) {
            /* It asked by what we told long ago; or the logs differ where they must not, which it finds. */
            refuse(r, PS_EABORTED);
            return;
        }
        decide(r, "truncate", "batches %llu to %llu are not in the log of %.40s: dropped",
               (unsigned long long)common.seq + 1, (unsigned long long)end.seq, peer_name(r, &b->store));
        r->truncating = true;
        r->truncating_to = common.seq;
        r->effects->truncate(r->user, common.seq);
        return;
    }
    r->begin_waits = false;
    r->stream_epoch = b->epoch;
    r->stream_run = b->run;
    r->stream_number = b->stream;
    if (b->commit_seq > r->commit_seq) {
        r->commit_seq = b->commit_seq;
        r->effects->commit(r->user, b->commit_seq);
    }
    acknowledge(r);
}

/* A later one came, on a later connection than this one. Since then more may have been acknowledged than it
 * knows of. */
static bool is_outdated(const struct replica *r, const struct replica_begin_msg *in)
{
    return r->begin.epoch == in->epoch &&
           (in->run < r->begin.run || (in->run == r->begin.run && in->stream <= r->begin.stream));
}

bool replica_begin(struct replica *r, uint64_t now_ns, const struct replica_begin_msg *in,
                   struct replica_ack_msg *refusal)
{
    r->now_ns = now_ns;
    if (!is_from_primary(r, &in->pod, &in->store, in->epoch) || !log_id_known(r, &in->after)) {
        *refusal = make_ack(r, in->run, in->epoch, in->stream, PS_EABORTED);
        return false;
    }
    if (is_outdated(r, in)) {
        *refusal = make_ack(r, in->run, in->epoch, in->stream, PS_EABORTED);
        return false;
    }
    r->stream_epoch = r->stream_run = 0;
    r->begin = *in;
    r->begin_waits = true;
    return true; /* follower_turn answers */
}

bool replica_append(struct replica *r, uint64_t now_ns, const struct replica_append_msg *in,
                    const struct log_id *predecessor, bool *fresh, struct replica_ack_msg *refusal)
{
    r->now_ns = now_ns;
    const struct log_id end = log_end(r);
    if (!is_from_primary(r, &in->pod, &in->store, in->epoch) || r->stream_epoch != in->epoch ||
        r->stream_run != in->run || r->stream_number != in->stream) {
        *refusal = make_ack(r, in->run, in->epoch, in->stream, PS_EABORTED);
        return false;
    }
    *fresh = in->id.seq == end.seq + 1;
    if ((BROKEN(REPLICA_ACCEPT_GAP) && in->id.seq > end.seq + 1) ||
        (BROKEN(REPLICA_KEEP_TAIL) && in->id.seq <= end.seq)) {
        *refusal = make_ack(r, in->run, in->epoch, in->stream, 0);
        refusal->end = in->id;
        return false;
    }
    const bool follows = *fresh && predecessor->seq == end.seq && predecessor->hash == end.hash;
    if (*fresh ? !follows : !log_id_known(r, &in->id)) {
        *refusal = make_ack(r, in->run, in->epoch, in->stream, PS_EABORTED);
        return false;
    }
    if (*fresh && r->tail_count == REPLICA_TAIL_MAX) {
        *refusal = make_ack(r, in->run, in->epoch, in->stream, PS_ELIMIT);
        return false;
    }
    if (*fresh)
        r->tail[r->tail_count++] = in->id;
    if (!*fresh || BROKEN(REPLICA_ACK_UNFLUSHED))
        acknowledge(r);
    if (in->commit_seq > r->commit_seq) {
        r->commit_seq = in->commit_seq;
        r->effects->commit(r->user, in->commit_seq);
    }
    return true;
}

void replica_append_failed(struct replica *r, uint64_t now_ns, const struct ps_error *err)
{
    r->now_ns = now_ns;
    assert(r->tail_count > 0 && log_end(r).seq > r->durable_seq);
    r->tail_count--;
    /* Nothing after it may be taken until the primary begins again. */
    const struct replica_ack_msg ack =
        make_ack(r, r->stream_run, r->stream_epoch, r->stream_number, err->status);
    if (err->status != PS_ELIMIT && err->status != r->append_failed)
        decide(r, "refuse", "a batch of the primary is not taken: %.160s",
               err->detail[0] ? err->detail : ps_status_text(err->status));
    r->append_failed = err->status;
    follower_reset(r);
    r->effects->send_ack(r->user, &in_force(r)->primary, &ack);
}

void replica_truncated(struct replica *r, int status)
{
    assert(r->truncating);
    r->truncating = false;
    if (status == PS_EFULL) { /* nothing was changed */
        if (r->begin_waits)
            refuse(r, status);
        return;
    }
    if (status) {
        r->log_failed = true;
        return;
    }
    while (r->tail_count && log_end(r).seq > r->truncating_to)
        r->tail_count--;
    r->durable_seq = log_end(r).seq;
}

uint64_t follower_turn(struct replica *r)
{
    if (r->begin_waits && !r->truncating && log_is_quiet(r)) {
        if (is_from_primary(r, &r->begin.pod, &r->begin.store, r->begin.epoch) &&
            log_id_known(r, &r->begin.after))
            begin_now(r);
        else
            r->begin_waits = false;
    }
    return UINT64_MAX;
}

/* ---- what the log says of block ids */

uint64_t replica_log_epoch(const struct replica *r)
{
    const uint64_t epoch = in_force(r)->epoch;
    if (!r->log_open || r->truncating || epoch != r->want.configuration.epoch)
        return 0;
    /* A stream begins where both logs are equal, and what is not of the primary's lineage does not get so
     * far. */
    return is_primary(r) ? epoch : r->stream_epoch == epoch ? epoch : 0;
}

static unsigned source_rank(const struct replica *r, const struct peer *p)
{
    return uuid_equal(&in_force(r)->primary, &p->store) ? 2 : p->in_sync;
}

uint32_t replica_peers(const struct replica *r)
{
    return r->peer_count;
}

uint32_t replica_sources(const struct replica *r, struct uuid out[REPLICA_PEERS_MAX])
{
    uint32_t n = 0;
    for (unsigned rank = 3; rank-- > 0;)
        for (uint32_t i = 0; i < r->peer_count; i++) {
            const struct peer *p = &r->peers[i];
            if (source_rank(r, p) == rank && p->told.log_open && p->told.epoch == in_force(r)->epoch &&
                heard_lately(r, p, r->config.options.silence_ns))
                out[n++] = p->store;
        }
    return n;
}
