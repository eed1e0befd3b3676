/* Full copies between members.
 *
 * The sender has at most COPY_WINDOW pieces on their way, each read when it is sent. What is lost is not
 * waited for: the copy is begun again under its number, which the member answers with how far it is. A member
 * that has started anew meanwhile does not know it; then it ends, and the replica begins another. */
#include "node/pod/member_impl.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    COPY_WINDOW = POD_COPY_PIECES,
};
#define COPY_ASK_NS     1000000000ull
#define COPY_GIVE_UP_NS 10000000000ull

/* ---- to another member */

static void to_ends(struct member_pod *m, int status, const char *detail)
{
    m->out.state = COPY_TO_NOBODY;
    m->again = true;
    pod_copy_out_end(m->pod);
    replica_copy_ended(m->replica, m->now_ns, status, detail);
}

static void send_step(struct member_pod *m, enum replica_copy_step step, uint64_t number, const void *data,
                      uint32_t bytes)
{
    struct replica_copy_msg msg = m->out.envelope;
    msg.step = step;
    msg.number = number;
    m->out.asked_ns = m->now_ns;
    m->config.links->copy(m->config.user, &m->out.to, &msg, data, bytes);
}

static void prepared(void *user, int status)
{
    struct member_pod *m = user;
    struct copy_to *c = &m->out;
    m->again = true;
    if (c->state != COPY_TO_PREPARING)
        return;
    if (status) {
        to_ends(m, PS_EUNAVAILABLE, "the primary can't make a checkpoint");
        return;
    }
    pod_copy_out_describe(m->pod, &c->info);
    c->state = COPY_TO_BEGINNING;
    c->asked_ns = 0;
    c->heard_ns = m->now_ns;
    replica_copy_ready(m->replica, m->now_ns, c->info.base.seq, c->info.bytes, c->info.segments);
}

void member_copy_start(void *user, const struct uuid *to, const struct replica_copy_msg *envelope)
{
    struct member_pod *m = user;
    struct copy_to *c = &m->out;
    assert(c->state == COPY_TO_NOBODY);
    c->to = *to;
    c->envelope = *envelope;
    c->sent = c->done = 0;
    c->state = COPY_TO_PREPARING;
    if (!c->read.buf)
        c->read.buf = aligned_alloc(BLKDEV_ALIGN, POD_COPY_READ_BYTES);
    m->again = true;
    /* Refused, or out of memory: told from the turn. */
    if (!c->read.buf || pod_copy_out_begin(m->pod, prepared, m))
        c->state = COPY_TO_REFUSED;
}

void member_copy_stop(void *user)
{
    struct member_pod *m = user;
    if (m->out.state == COPY_TO_NOBODY)
        return;
    m->out.state = COPY_TO_NOBODY;
    pod_copy_out_end(m->pod);
}

static void piece_read(struct pod_copy_read *read, int status)
{
    struct member_pod *m = read->user;
    struct copy_to *c = &m->out;
    c->reading = false;
    m->again = true;
    if (c->state != COPY_TO_FLOWING || read->number != c->sent)
        return; /* another copy by now, or begun again */
    if (status) {
        to_ends(m, PS_EIO, "the primary can't read a piece of it");
        return;
    }
    c->sent++;
    send_step(m, REPLICA_COPY_PIECE, read->number, read->message, read->bytes);
}

static void pump(struct member_pod *m)
{
    struct copy_to *c = &m->out;
    if (c->reading || c->sent >= c->info.pieces || c->sent >= c->done + COPY_WINDOW)
        return;
    c->read.number = c->sent;
    c->read.cb = piece_read;
    c->read.user = m;
    c->reading = pod_copy_read(m->pod, &c->read) == 0;
}

static uint64_t to_turn(struct member_pod *m)
{
    struct copy_to *c = &m->out;
    const uint64_t now = m->now_ns;
    if (c->state == COPY_TO_REFUSED) {
        to_ends(m, PS_EABORTED, "the copy before it is just ending");
        return UINT64_MAX;
    }
    if (c->state < COPY_TO_BEGINNING)
        return UINT64_MAX;
    if (now - c->heard_ns >= COPY_GIVE_UP_NS) {
        to_ends(m, PS_EDEADLINE, "it does not answer");
        return UINT64_MAX;
    }
    const bool asks = !c->asked_ns || now - c->asked_ns >= COPY_ASK_NS;
    if (c->state == COPY_TO_FLOWING) {
        pump(m);
        if (c->done == c->info.pieces) {
            c->state = COPY_TO_ENDING;
            send_step(m, REPLICA_COPY_END, 0, NULL, 0);
        }
    }
    if (asks && (c->state != COPY_TO_FLOWING || c->sent > c->done)) {
        c->state = COPY_TO_BEGINNING;
        send_step(m, REPLICA_COPY_BEGIN, 0, c->info.description, sizeof c->info.description);
    }
    return c->asked_ns + COPY_ASK_NS > now ? c->asked_ns + COPY_ASK_NS : now + COPY_ASK_NS;
}

void member_copy_ack(struct member_pod *m, uint64_t now_ns, const struct replica_copy_ack *in)
{
    struct copy_to *c = &m->out;
    m->now_ns = now_ns;
    m->again = true;
    if (c->state < COPY_TO_BEGINNING || !uuid_equal(&in->store, &c->to) || in->run != c->envelope.run ||
        in->copy != c->envelope.copy)
        return;
    c->heard_ns = now_ns;
    if (in->finished) {
        to_ends(m, 0, "");
        return;
    }
    if (in->status) {
        if (in->status != PS_EABORTED || !in->taking)
            to_ends(m, in->status, in->detail[0] ? in->detail : ps_status_text(in->status));
        else if (c->state != COPY_TO_BEGINNING) {
            c->state = COPY_TO_BEGINNING;
            c->asked_ns = 0;
        }
        return;
    }
    if (in->done > c->info.pieces)
        return;
    if (c->state == COPY_TO_BEGINNING) {
        c->state = COPY_TO_FLOWING;
        c->done = c->sent = in->done;
    } else if (in->done > c->done) {
        c->done = in->done;
        c->sent = c->sent > c->done ? c->sent : c->done;
    }
    c->asked_ns = now_ns; /* what is on its way is waited for from here on */
    replica_copy_progress(m->replica, c->info.pieces ? 1000 * c->done / c->info.pieces : 1000);
}

void member_copy_lost(struct member_pod *m, const struct uuid *store)
{
    struct copy_to *c = &m->out;
    if (c->state < COPY_TO_BEGINNING || !uuid_equal(store, &c->to))
        return;
    c->state = COPY_TO_BEGINNING;
    c->asked_ns = m->now_ns; /* a moment later */
}

/* ---- from another member */

static bool same(const struct replica_copy_msg *a, const struct replica_copy_msg *b)
{
    return a->copy && a->copy == b->copy && a->run == b->run && uuid_equal(&a->store, &b->store);
}

static struct replica_copy_ack make_ack(const struct member_pod *m, const struct replica_copy_msg *in,
                                        int status, const char *detail)
{
    struct replica_copy_ack ack = {.pod = in->pod, .run = in->run, .copy = in->copy, .status = status};
    ack.store = m->store;
    ack.finished = status == 0 && same(&m->in.finished, in);
    ack.taking = m->in.state >= COPY_FROM_FILLING && same(&m->in.id, in);
    ack.done = !ack.taking                           ? 0
               : m->in.state >= COPY_FROM_END_WANTED ? m->in.told
                                                     : pod_copy_in_written(m->pod);
    (void)snprintf(ack.detail, sizeof ack.detail, "%s", detail);
    return ack;
}

static void send_ack(struct member_pod *m, int status, const char *detail)
{
    const struct replica_copy_ack ack = make_ack(m, &m->in.id, status, detail);
    m->in.told = ack.done;
    m->again = true;
    m->config.links->copy_ack(m->config.user, &m->in.id.store, &ack);
}

static void from_fails(struct member_pod *m)
{
    m->in.state = COPY_FROM_NOBODY;
    m->standing_down = false;
    replica_log_failed(m->replica);
    send_ack(m, PS_EIO, "its flash device failed");
}

static void begun(void *user, int status)
{
    struct member_pod *m = user;
    if (status) {
        from_fails(m);
        return;
    }
    m->in.state = COPY_FROM_FILLING;
    replica_copy_filling(m->replica, true);
    send_ack(m, 0, "");
}

static void from_begins(struct member_pod *m)
{
    struct ps_error err = {0};
    const bool was_open = !m->standing_down;
    m->standing_down = true;
    m->in.state = COPY_FROM_BEGINNING;
    const int rc = pod_copy_in_begin(m->pod, m->in.description, m->in.description_bytes, begun, m, &err);
    if (!rc)
        return;
    m->in.state = COPY_FROM_NOBODY;
    m->standing_down = !was_open;
    if (was_open)
        member_tell_opened(m); /* the log is what it was */
    else
        m->in.state = COPY_FROM_FILLING; /* with a former copy, which nobody sends any more */
    send_ack(m, rc, err.detail);
}

static void ended(void *user, int status)
{
    struct member_pod *m = user;
    m->in.state = COPY_FROM_NOBODY;
    m->standing_down = false;
    m->retained = 0;
    if (status) {
        from_fails(m);
        return;
    }
    m->in.finished = m->in.id;
    member_tell_opened(m);
    send_ack(m, 0, "");
}

static void from_turn(struct member_pod *m)
{
    struct copy_from *c = &m->in;
    if (m->persisting || m->truncating)
        return;
    if (c->state == COPY_FROM_WANTED)
        from_begins(m);
    else if (c->state == COPY_FROM_FILLING && pod_copy_in_written(m->pod) > c->told)
        send_ack(m, 0, "");
    else if (c->state == COPY_FROM_END_WANTED) {
        replica_copy_filling(m->replica, false);
        c->state = COPY_FROM_ENDING;
        const int rc = pod_copy_in_end(m->pod, ended, m);
        if (rc)
            from_fails(m);
    }
}

static bool refuse(const struct member_pod *m, const struct replica_copy_msg *in, int status,
                   const char *detail, struct replica_copy_ack *ack)
{
    *ack = make_ack(m, in, status, detail);
    return false;
}

static bool begin(struct member_pod *m, const struct replica_copy_msg *in, const void *data, uint32_t bytes,
                  struct replica_copy_ack *ack)
{
    struct copy_from *c = &m->in;
    struct ps_error err = {0};
    if (same(&c->finished, in))
        return refuse(m, in, 0, "", ack);
    if (c->state != COPY_FROM_NOBODY && same(&c->id, in)) {
        if (c->state < COPY_FROM_FILLING)
            return true;
        return refuse(m, in, 0, "", ack);
    }
    if (m->closing || (c->state == COPY_FROM_NOBODY && m->standing_down) ||
        (c->state != COPY_FROM_NOBODY && c->state != COPY_FROM_FILLING))
        return refuse(m, in, PS_EABORTED, "not now", ack);
    int rc = replica_copy_may(m->replica, m->now_ns, in, &err);
    if (rc == 0)
        rc = pod_copy_in_check(m->pod, data, bytes, &err);
    if (rc == 0 && bytes > sizeof c->description)
        rc = PS_EINVAL;
    if (rc)
        return refuse(m, in, rc, err.detail, ack);
    memcpy(c->description, data, bytes);
    c->description_bytes = bytes;
    c->id = *in;
    c->told = 0;
    c->state = COPY_FROM_WANTED;
    replica_copy_taken(m->replica, in);
    return true;
}

static bool piece(struct member_pod *m, const struct replica_copy_msg *in, const void *data, uint32_t bytes,
                  struct replica_copy_ack *ack)
{
    struct ps_error err = {0};
    if (m->in.state != COPY_FROM_FILLING || !same(&m->in.id, in))
        return refuse(m, in, PS_EABORTED, "it is not being filled with this copy", ack);
    const int rc = pod_copy_in_piece(m->pod, data, bytes, &err);
    if (rc)
        return refuse(m, in, rc, err.detail, ack);
    /* One that is written already is acknowledged already. */
    return in->number >= pod_copy_in_written(m->pod) || refuse(m, in, 0, "", ack);
}

static bool end(struct member_pod *m, const struct replica_copy_msg *in, struct replica_copy_ack *ack)
{
    struct copy_from *c = &m->in;
    if (same(&c->finished, in))
        return refuse(m, in, 0, "", ack);
    if (!same(&c->id, in) || c->state < COPY_FROM_FILLING)
        return refuse(m, in, PS_EABORTED, "it is not being filled with this copy", ack);
    if (c->state == COPY_FROM_FILLING) {
        c->told = pod_copy_in_written(m->pod);
        c->state = COPY_FROM_END_WANTED;
    }
    return true;
}

bool member_copy(struct member_pod *m, uint64_t now_ns, const struct replica_copy_msg *in, const void *data,
                 uint32_t bytes, struct replica_copy_ack *ack)
{
    m->now_ns = now_ns;
    m->again = true;
    switch (in->step) {
    case REPLICA_COPY_BEGIN:
        return begin(m, in, data, bytes, ack);
    case REPLICA_COPY_PIECE:
        return piece(m, in, data, bytes, ack);
    default:
        return end(m, in, ack);
    }
}

bool member_copy_may_close(const struct member_pod *m)
{
    return m->in.state == COPY_FROM_FILLING || m->in.state == COPY_FROM_WANTED ||
           m->in.state == COPY_FROM_END_WANTED;
}

uint64_t member_copy_turn(struct member_pod *m)
{
    from_turn(m);
    return to_turn(m);
}
