#include "node/pod/member_impl.h"

#include <stdlib.h>
#include <string.h>

#include "common/container.h"
#include "node/replication/batch.h"

enum {
    RETAIN_NS = 250000000,
    TURNS = 8, /* rounds of pod and replica in one turn, while they have something for each other */
};

struct pod *member_pod(const struct member_pod *m)
{
    return m->pod;
}

struct replica *member_replica(const struct member_pod *m)
{
    return m->replica;
}

/* ---- what the pod tells */

static void on_sealed(void *user, const struct log_id *id, const void *batch, uint32_t bytes)
{
    struct member_pod *m = user;
    m->sealed[id->seq % SEALED_MAX].id = *id;
    m->sealed[id->seq % SEALED_MAX].batch = batch;
    m->sealed[id->seq % SEALED_MAX].bytes = bytes;
    replica_sealed(m->replica, id);
    m->again = true;
}

static void on_durable(void *user, const struct log_id *end)
{
    struct member_pod *m = user;
    if (m->replica)
        replica_durable(m->replica, end);
    m->again = true;
}

static bool may_read(void *user)
{
    struct member_pod *m = user;
    return m->replica && replica_may_read(m->replica, m->config.links->now_ns(m->config.user));
}

/* ---- streams */

static struct stream *find_stream(struct member_pod *m, const struct uuid *to)
{
    for (int i = 0; i < REPLICA_PEERS_MAX; i++)
        if (m->streams[i].used && uuid_equal(&m->streams[i].to, to))
            return &m->streams[i];
    return NULL;
}

static bool is_reading(const struct stream *s)
{
    bool any = false;
    for (int i = 0; i < STREAM_READS; i++)
        any |= s->reads[i].busy;
    return any;
}

/* A stream that is told to send nothing holds nothing: its place may go to another member. */
static struct stream *stream_to(struct member_pod *m, const struct uuid *to)
{
    struct stream *free_one = find_stream(m, to);
    if (free_one)
        return free_one;
    for (int i = 0; i < REPLICA_PEERS_MAX; i++) {
        struct stream *s = &m->streams[i];
        if (!is_reading(s) && (!s->used || (!free_one && s->upto == 0)))
            free_one = s;
    }
    if (free_one) {
        free_one->m = m;
        free_one->to = *to;
        free_one->used = true;
        free_one->envelope = (struct replica_append_msg){0};
        free_one->next = free_one->upto = free_one->acked = 0;
    }
    return free_one;
}

static void send(struct stream *s, const struct log_id *id, const void *batch, uint32_t bytes)
{
    struct member_pod *m = s->m;
    struct replica_append_msg msg = s->envelope;
    msg.id = *id;
    s->next = id->seq + 1;
    m->config.links->append(m->config.user, &s->to, &msg, batch, bytes);
}

static bool is_for_now(const struct stream_read *r)
{
    return r->stream_number == r->stream->envelope.stream && r->read.seq >= r->stream->next;
}

static void read_done(struct pod_log_read *read, int status)
{
    struct stream_read *r = container_of(read, struct stream_read, read);
    r->busy = false;
    r->ready = status == 0;
    r->stream->m->again = true;
    if (!status || !is_for_now(r))
        return;
    struct stream *s = r->stream;
    s->upto = 0;
    replica_stream_failed(s->m->replica, s->m->now_ns, &s->to, s->envelope.stream, read->seq, status);
}

static bool in_memory(const struct member_pod *m, uint64_t seq)
{
    struct log_id applied;
    pod_log_ends(m->pod, &applied, NULL);
    return seq > applied.seq && m->sealed[seq % SEALED_MAX].id.seq == seq &&
           m->sealed[seq % SEALED_MAX].batch;
}

/* The read of `seq` is under way or done; false: it can't be, now. */
static bool read_ahead(struct stream *s, uint64_t seq)
{
    struct stream_read *r = &s->reads[seq % STREAM_READS];
    if (r->busy || (r->ready && r->read.seq == seq && is_for_now(r)))
        return true;
    if (!r->read.buf)
        r->read.buf = aligned_alloc(BLKDEV_ALIGN, BATCH_MAX_BYTES);
    if (!r->read.buf)
        return false;
    r->stream = s;
    r->stream_number = s->envelope.stream;
    r->read = (struct pod_log_read){.seq = seq, .buf = r->read.buf, .cb = read_done};
    r->ready = false;
    r->busy = pod_log_read(s->m->pod, &r->read) == 0;
    return r->busy;
}

/* Sends what the window allows: from memory what is not applied yet, the rest from flash, read ahead. */
static void pump(struct stream *s)
{
    struct member_pod *m = s->m;
    const uint64_t last = s->upto < s->acked + MEMBER_WINDOW ? s->upto : s->acked + MEMBER_WINDOW;
    while (s->upto && s->next <= last) {
        const uint64_t seq = s->next;
        struct stream_read *r = &s->reads[seq % STREAM_READS];
        if (in_memory(m, seq)) {
            send(s, &m->sealed[seq % SEALED_MAX].id, m->sealed[seq % SEALED_MAX].batch,
                 m->sealed[seq % SEALED_MAX].bytes);
        } else if (r->ready && r->read.seq == seq && is_for_now(r)) {
            r->ready = false;
            send(s, &r->read.id, r->read.buf, r->read.bytes);
        } else {
            break;
        }
    }
    for (uint64_t seq = s->next; s->upto && seq <= s->upto && seq < s->next + STREAM_READS; seq++)
        if (in_memory(m, seq) || !read_ahead(s, seq))
            return;
}

/* ---- what the replica wants */

static void send_state(void *user, const struct uuid *to, const struct replica_state_msg *msg)
{
    struct member_pod *m = user;
    m->config.links->state(m->config.user, to, msg);
}

static void send_begin(void *user, const struct uuid *to, const struct replica_begin_msg *msg)
{
    struct member_pod *m = user;
    struct stream *s = stream_to(m, to);
    if (s)
        s->upto = 0;
    m->config.links->begin(m->config.user, to, msg);
}

static void ship(void *user, const struct uuid *to, const struct replica_append_msg *envelope, uint64_t from,
                 uint64_t upto, uint64_t acked)
{
    struct member_pod *m = user;
    struct stream *s = upto < from ? find_stream(m, to) : stream_to(m, to);
    if (upto < from) {
        if (s)
            s->upto = 0;
        return;
    }
    if (!s) { /* reads of one that was removed are still under way in the last place */
        replica_stream_failed(m->replica, m->now_ns, to, envelope->stream, from, PS_ELIMIT);
        return;
    }
    if (s->envelope.stream != envelope->stream || s->envelope.epoch != envelope->epoch || s->upto == 0) {
        s->next = from;
        s->acked = acked;
    }
    if (s->acked < acked)
        s->acked = acked;
    if (s->next < from)
        s->next = from;
    s->envelope = *envelope;
    s->upto = upto;
    m->again = true;
}

static void send_ack(void *user, const struct uuid *to, const struct replica_ack_msg *msg)
{
    struct member_pod *m = user;
    m->config.links->ack(m->config.user, to, msg);
}

static void ask_mediator(void *user, const struct replica_cas *cas)
{
    struct member_pod *m = user;
    m->config.links->ask(m->config.user, cas);
}

static void report_mediator(void *user, uint64_t epoch)
{
    struct member_pod *m = user;
    m->config.links->report(m->config.user, epoch);
}

static void persisted(void *user, int status)
{
    struct member_pod *m = user;
    m->persisting = false;
    if (m->replica)
        replica_persisted(m->replica, m->now_ns, status);
    m->again = true;
}

static void persist(void *user, const void *data, size_t bytes)
{
    struct member_pod *m = user;
    m->persisting = m->again = true;
    const int rc = pod_log_protocol_write(m->pod, data, bytes, persisted, m);
    if (rc) {
        m->persisting = false;
        replica_persisted(m->replica, m->now_ns, rc);
    }
}

static void truncated(void *user, int status)
{
    struct member_pod *m = user;
    m->truncating = false;
    replica_truncated(m->replica, status);
    m->again = true;
}

static void truncate_log(void *user, uint64_t seq)
{
    struct member_pod *m = user;
    m->truncating = m->again = true;
    const int rc = pod_log_truncate(m->pod, seq, truncated, m);
    if (rc)
        truncated(m, rc);
}

static void commit(void *user, uint64_t seq)
{
    struct member_pod *m = user;
    pod_log_commit(m->pod, seq);
    m->again = true;
}

static void forget_commit(void *user)
{
    pod_log_forget_commit(((struct member_pod *)user)->pod);
}

static void lead(void *user, uint64_t epoch)
{
    struct member_pod *m = user;
    pod_lead(m->pod, epoch);
    m->again = true;
}

static void lead_epoch(void *user, uint64_t epoch)
{
    struct member_pod *m = user;
    pod_lead_epoch(m->pod, epoch);
    m->again = true;
}

static void hold(void *user, bool held)
{
    struct member_pod *m = user;
    pod_hold(m->pod, held);
    m->again = true;
}

static void limit_free(void *user, uint64_t bytes)
{
    pod_log_limit_free(((struct member_pod *)user)->pod, bytes);
}

static void slow(void *user, uint32_t permille)
{
    struct member_pod *m = user;
    pod_slow(m->pod, permille);
    m->again = true;
}

static int id_at(void *user, uint64_t seq, struct log_id *out)
{
    return pod_log_id_at(((struct member_pod *)user)->pod, seq, out);
}

static uint64_t log_first(void *user)
{
    return pod_log_first(((struct member_pod *)user)->pod);
}

static bool log_searching(void *user)
{
    return pod_log_searching(((struct member_pod *)user)->pod);
}

static void decided(void *user, const struct replica_decision *decision)
{
    struct member_pod *m = user;
    m->config.links->decided(m->config.user, decision);
}

static void changed(void *user)
{
    struct member_pod *m = user;
    m->config.links->changed(m->config.user);
}

static bool exchange(void *user, uint64_t now_ns, const struct replica_view *view,
                     struct replica_heard *heard)
{
    struct member_pod *m = user;
    return m->config.links->exchange(m->config.user, now_ns, view, heard);
}

static void reopened(void *user, int status);

static void stand_down(void *user)
{
    struct member_pod *m = user;
    for (int i = 0; i < REPLICA_PEERS_MAX; i++)
        m->streams[i].upto = 0;
    memset(m->sealed, 0, sizeof m->sealed);
    m->standing_down = m->again = true;
    m->yielded = pod_yield(m->pod);
    if (m->yielded)
        return;
    member_repair_forget(m);
    pod_reopen(m->pod, reopened, m);
}

static const struct replica_effects effects = {
    .send_state = send_state,
    .send_begin = send_begin,
    .ship = ship,
    .send_ack = send_ack,
    .ask_mediator = ask_mediator,
    .report_mediator = report_mediator,
    .persist = persist,
    .truncate = truncate_log,
    .commit = commit,
    .forget_commit = forget_commit,
    .lead = lead,
    .lead_epoch = lead_epoch,
    .stand_down = stand_down,
    .hold = hold,
    .limit_free = limit_free,
    .slow = slow,
    .id_at = id_at,
    .log_first = log_first,
    .log_searching = log_searching,
    .copy_start = member_copy_start,
    .copy_stop = member_copy_stop,
    .decided = decided,
    .changed = changed,
    .exchange = exchange,
};

/* ---- life */

void member_tell_opened(struct member_pod *m)
{
    struct log_id applied, durable, tail[REPLICA_TAIL_MAX];
    uint32_t count = 0;
    pod_log_ends(m->pod, &applied, &durable);
    for (uint64_t seq = applied.seq + 1; seq <= durable.seq; seq++) {
        const int rc = pod_log_id_at(m->pod, seq, &tail[count++]);
        assert(rc == 0 && count <= REPLICA_TAIL_MAX && "the tail is bounded by what is on its way at once");
        (void)rc;
    }
    replica_opened(m->replica, &applied, tail, count);
    m->again = true;
}

static void reopened(void *user, int status)
{
    struct member_pod *m = user;
    m->standing_down = m->yielded = false;
    m->retained = 0;
    m->again = true;
    if (status == 0)
        member_tell_opened(m);
    else
        replica_log_failed(m->replica);
}

static void pod_opened(void *user, int status, struct pod *pod)
{
    struct member_pod *m = user;
    if (status == 0) {
        struct pod_log_identity id;
        const void *state;
        pod_log_identity(pod, &id);
        const size_t bytes = pod_log_protocol(pod, &state);
        struct replica_config config = {
            .run = id.run,
            .node = m->config.node,
            .seed = m->config.seed,
            .state = state,
            .state_bytes = bytes,
            .options = m->config.options,
            .effects = &effects,
            .user = m,
        };
        memcpy(config.pod.bytes, id.pod, sizeof config.pod.bytes);
        memcpy(config.store.bytes, id.store, sizeof config.store.bytes);
        m->store = config.store;
        status = replica_create(&config, m->now_ns, &m->replica, m->err);
        if (status == 0)
            member_tell_opened(m);
    }
    m->opened(m->opened_user, status, status ? NULL : m);
}

int member_open(const struct member_config *config, uint64_t now_ns,
                void (*cb)(void *user, int status, struct member_pod *member), void *cb_user,
                struct ps_error *err, struct member_pod **opening)
{
    struct member_pod *m = calloc(1, sizeof *m);
    if (!m)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    m->config = *config;
    m->now_ns = now_ns;
    m->opened = cb;
    m->opened_user = cb_user;
    m->err = err;
    m->log = (struct pod_log_events){
        .sealed = on_sealed, .durable = on_durable, .may_read = may_read, .repair = member_repair, .user = m};
    m->config.pod.log = &m->log;
    const int rc = pod_open(config->dev, &m->config.pod, config->format, pod_opened, m, err, &m->pod);
    if (rc) {
        free(m);
        return rc;
    }
    *opening = m;
    return 0;
}

void member_close(struct member_pod *m, void (*cb)(void *user), void *user)
{
    m->closing = true;
    m->closed = cb;
    m->closed_user = user;
    m->again = true;
}

void member_destroy(struct member_pod *m)
{
    if (m->replica)
        replica_destroy(m->replica);
    pod_destroy(m->pod);
    for (int i = 0; i < REPLICA_PEERS_MAX; i++)
        for (int k = 0; k < STREAM_READS; k++)
            free(m->streams[i].reads[k].read.buf);
    free(m->out.read.buf);
    member_repair_free(m);
    free(m);
}

static void follow_pod(struct member_pod *m)
{
    struct log_id applied;
    if (!m->replica || m->standing_down)
        return;
    if (pod_log_failed(m->pod))
        replica_log_failed(m->replica);
    pod_log_ends(m->pod, &applied, NULL);
    replica_applied(m->replica, &applied);
    replica_free_bytes(m->replica, pod_log_free_bytes(m->pod));
    const uint64_t needed = replica_needed(m->replica);
    if (needed != m->retained && m->now_ns - m->retained_ns >= RETAIN_NS) {
        m->retained = needed;
        m->retained_ns = m->now_ns;
        pod_log_retain(m->pod, needed);
    }
}

uint64_t member_turn(struct member_pod *m, uint64_t now_ns)
{
    uint64_t next = UINT64_MAX;
    m->now_ns = now_ns;
    /* Reads that wait, or come now, may rest on leases that were granted while nobody had a turn. */
    if (m->replica && !m->closing)
        replica_listen(m->replica, now_ns);
    for (int i = 0; i < TURNS; i++) {
        m->again = false;
        next = pod_turn(m->pod, now_ns);
        if (!m->replica)
            return next;
        if (m->yielded)
            reopened(m, 0);
        follow_pod(m);
        /* A member that closes says nothing more: its promises end by themselves. */
        if (!m->closing) {
            const uint64_t at = replica_turn(m->replica, now_ns);
            next = next < at ? next : at;
            for (int k = 0; k < REPLICA_PEERS_MAX; k++)
                if (m->streams[k].used && !m->standing_down)
                    pump(&m->streams[k]);
            const uint64_t copy = member_copy_turn(m), repair = member_repair_turn(m);
            next = next < copy ? next : copy;
            next = next < repair ? next : repair;
        } else if (m->closed && (!m->standing_down || member_copy_may_close(m)) && !m->persisting &&
                   !m->truncating) {
            pod_copy_out_end(m->pod);
            void (*closed)(void *) = m->closed;
            m->closed = NULL;
            pod_close(m->pod, closed, m->closed_user);
            m->again = true;
        }
        if (!m->again)
            return next;
    }
    return now_ns;
}

/* ---- what came in */

bool member_state(struct member_pod *m, uint64_t now_ns, const struct replica_state_msg *in,
                  struct replica_state_msg *answer)
{
    m->again = true;
    return replica_state(m->replica, now_ns, in, answer);
}

void member_state_answer(struct member_pod *m, uint64_t now_ns, const struct replica_state_msg *in)
{
    m->again = true;
    replica_state_answer(m->replica, now_ns, in);
}

bool member_begin(struct member_pod *m, uint64_t now_ns, const struct replica_begin_msg *in,
                  struct replica_ack_msg *refusal)
{
    m->again = true;
    return replica_begin(m->replica, now_ns, in, refusal);
}

bool member_append(struct member_pod *m, uint64_t now_ns, const struct replica_append_msg *in,
                   const void *batch, uint32_t bytes, struct replica_ack_msg *refusal)
{
    struct batch_header h;
    bool fresh = false;
    m->again = true;
    struct replica_append_msg msg = *in;
    struct log_id before = {0};
    if (batch_peek(batch, bytes, &h) == 0 && h.seq == in->id.seq && h.checksum == in->id.hash &&
        h.epoch == in->id.epoch && h.run == in->id.run)
        before = (struct log_id){.seq = h.seq - 1, .hash = h.previous};
    else
        msg.id = (struct log_id){.seq = UINT64_MAX}; /* refused: neither the next one nor known */
    if (!replica_append(m->replica, now_ns, &msg, &before, &fresh, refusal))
        return false;
    struct ps_error err = {0};
    const int rc = fresh ? pod_log_append(m->pod, batch, bytes, &err) : 0;
    err.status = rc;
    if (rc)
        replica_append_failed(m->replica, now_ns, &err);
    return true;
}

void member_ack(struct member_pod *m, uint64_t now_ns, const struct replica_ack_msg *in)
{
    struct stream *s = in->status ? NULL : find_stream(m, &in->store);
    m->again = true;
    if (s && s->envelope.epoch == in->epoch && s->envelope.stream == in->stream && in->end.seq > s->acked) {
        s->acked = in->end.seq;
        if (s->next <= s->acked)
            s->next = s->acked + 1;
    }
    replica_ack(m->replica, now_ns, in);
}

void member_peer_lost(struct member_pod *m, uint64_t now_ns, const struct uuid *store)
{
    struct stream *s = find_stream(m, store);
    m->again = true;
    if (s)
        s->upto = 0;
    member_copy_lost(m, store);
    replica_peer_lost(m->replica, now_ns, store);
}

void member_peer_dead(struct member_pod *m, uint64_t now_ns, const struct uuid *store, uint64_t run)
{
    m->again = true;
    replica_peer_dead(m->replica, now_ns, store, run);
}

void member_verdict(struct member_pod *m, uint64_t now_ns, const struct replica_verdict *verdict)
{
    m->again = true;
    replica_verdict(m->replica, now_ns, verdict);
}

/* ---- formation */

static void adopted(void *user, int status)
{
    struct member_pod *m = user;
    if (status == 0)
        replica_set_pod(m->replica, &m->adopting);
    m->again = true;
    m->adopted(m->adopted_user, status);
}

int member_adopt_pod(struct member_pod *m, const struct uuid *pod, void (*cb)(void *user, int status),
                     void *user)
{
    m->adopted = cb;
    m->adopted_user = user;
    m->adopting = *pod;
    m->again = true;
    return pod_log_adopt(m->pod, pod->bytes, adopted, m);
}
