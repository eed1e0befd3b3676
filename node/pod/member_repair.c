/* Records that a member's flash has lost, from another member.
 *
 * Whoever may have it is asked, one after the other, and again after a pause: a member that counts has all
 * that was committed, but may not have applied it yet. Given up after REPAIR_PATIENCE_NS, or when all other
 * members have lost it as well. Members' block ids mean the same only as long as their logs are known to be
 * one log (replica_log_epoch); both sides look at that. */
#include <stdlib.h>
#include <string.h>

#include "node/pod/member_impl.h"

#define REPAIR_PATIENCE_NS 2000000000ull
#define REPAIR_ANSWER_NS   400000000ull
#define REPAIR_PAUSE_NS    20000000ull

static struct uuid pod_of(const struct member_pod *m)
{
    struct pod_log_identity identity;
    struct uuid id;
    pod_log_identity(m->pod, &identity);
    memcpy(id.bytes, identity.pod, sizeof id.bytes);
    return id;
}

/* ---- asking */

void member_repair(void *user, uint64_t group)
{
    struct member_pod *m = user;
    struct repair_ask *a = &m->repairs[0];
    /* The pod wants no more than these at once; it may have given older ones up. */
    for (int i = 1; i < POD_REPAIRS_MAX && a->active; i++)
        if (!m->repairs[i].active || m->repairs[i].begun_ns < a->begun_ns)
            a = &m->repairs[i];
    *a = (struct repair_ask){.active = true, .group = group, .begun_ns = m->now_ns, .lost = true};
    m->again = true;
}

static void settle(struct member_pod *m, struct repair_ask *a, int status)
{
    a->active = false;
    m->again = true;
    (void)pod_record_repair(m->pod, a->group, NULL, 0, status);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool was_tried(const struct repair_ask *a, const struct uuid *store)
{
    for (uint32_t i = 0; i < a->tried_count; i++)
        if (uuid_equal(&a->tried[i], store))
            return true;
    return false;
}

static void ask_next(struct member_pod *m, struct repair_ask *a)
{
    struct uuid sources[REPLICA_PEERS_MAX];
    const uint64_t epoch = replica_log_epoch(m->replica);
    const uint32_t count = epoch ? replica_sources(m->replica, sources) : 0;
    uint32_t next = 0;
    while (next < count && was_tried(a, &sources[next]))
        next++;
    if (next == count || a->tried_count == REPLICA_PEERS_MAX) { /* the round is over */
        if (a->lost && a->tried_count >= replica_peers(m->replica)) {
            settle(m, a, PS_EDATALOSS);
            return;
        }
        a->tried_count = 0;
        a->lost = true;
        a->pause_until_ns = m->now_ns + REPAIR_PAUSE_NS;
        return;
    }
    const struct replica_record_msg msg = {
        .pod = pod_of(m), .store = m->store, .epoch = epoch, .group = a->group};
    a->asked = a->tried[a->tried_count++] = sources[next];
    a->asked_ns = m->now_ns;
    m->config.links->record(m->config.user, &a->asked, &msg);
}

static uint64_t repair_turn(struct member_pod *m, struct repair_ask *a)
{
    if (a->asked_ns && m->now_ns - a->asked_ns >= REPAIR_ANSWER_NS) {
        a->asked_ns = 0;
        a->lost = false;
    }
    if (m->now_ns - a->begun_ns >= REPAIR_PATIENCE_NS) {
        settle(m, a, PS_EUNAVAILABLE);
        return UINT64_MAX;
    }
    if (!a->asked_ns && m->now_ns >= a->pause_until_ns)
        ask_next(m, a);
    if (!a->active)
        return UINT64_MAX;
    return least(a->begun_ns + REPAIR_PATIENCE_NS,
                 a->asked_ns ? a->asked_ns + REPAIR_ANSWER_NS
                             : (a->pause_until_ns > m->now_ns ? a->pause_until_ns : m->now_ns));
}

uint64_t member_repair_turn(struct member_pod *m)
{
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < POD_REPAIRS_MAX; i++)
        if (m->repairs[i].active)
            next = least(next, repair_turn(m, &m->repairs[i]));
    return next;
}

void member_record_answer(struct member_pod *m, uint64_t now_ns, const struct replica_record_msg *in,
                          const void *record, uint32_t bytes)
{
    m->now_ns = now_ns;
    const uint64_t epoch = replica_log_epoch(m->replica);
    for (int i = 0; i < POD_REPAIRS_MAX; i++) {
        struct repair_ask *a = &m->repairs[i];
        if (!a->active || !a->asked_ns || a->group != in->group || !uuid_equal(&a->asked, &in->store))
            continue;
        int status = in->status;
        a->asked_ns = 0;
        m->again = true;
        if (!status && (!epoch || in->epoch != epoch))
            status = PS_EABORTED;
        if (!status)
            status = pod_record_repair(m->pod, a->group, record, bytes, 0);
        a->active = status != 0;
        a->lost &= status == PS_EDATALOSS || status == PS_EDAMAGED;
    }
}

/* ---- being asked */

static void answer(struct member_pod *m, const struct uuid *to, uint64_t group, int status,
                   const void *record, uint32_t bytes)
{
    const struct replica_record_msg msg = {.pod = pod_of(m),
                                           .store = m->store,
                                           .epoch = replica_log_epoch(m->replica),
                                           .group = group,
                                           .status = status};
    m->config.links->record_answer(m->config.user, to, &msg, record, bytes);
}

static void read_done(struct pod_record_read *read, int status)
{
    struct record_serve *s = read->user;
    s->busy = false;
    answer(s->m, &s->to, read->group, status, read->buf, read->bytes);
}

static struct record_serve *idle_serve(struct member_pod *m)
{
    for (int i = 0; i < RECORD_READS_MAX; i++) {
        struct record_serve *s = &m->records[i];
        if (s->busy)
            continue;
        if (!s->read.buf)
            s->read.buf = malloc(POD_RECORD_BYTES_MAX);
        return s->read.buf ? s : NULL;
    }
    return NULL;
}

void member_record(struct member_pod *m, uint64_t now_ns, const struct replica_record_msg *in)
{
    m->now_ns = now_ns;
    m->again = true;
    const struct uuid pod = pod_of(m);
    const uint64_t epoch = replica_log_epoch(m->replica);
    if (!uuid_equal(&pod, &in->pod) || !epoch || epoch != in->epoch) {
        answer(m, &in->store, in->group, PS_EABORTED, NULL, 0);
        return;
    }
    struct record_serve *s = idle_serve(m);
    if (!s) {
        answer(m, &in->store, in->group, PS_ELIMIT, NULL, 0);
        return;
    }
    s->m = m;
    s->busy = true;
    s->to = in->store;
    s->read.group = in->group;
    s->read.cb = read_done;
    s->read.user = s;
    const int rc = pod_record_read(m->pod, &s->read);
    if (rc) {
        s->busy = false;
        answer(m, &in->store, in->group, rc, NULL, 0);
    }
}

void member_repair_forget(struct member_pod *m)
{
    for (int i = 0; i < POD_REPAIRS_MAX; i++)
        m->repairs[i].active = false;
}

void member_repair_free(struct member_pod *m)
{
    for (int i = 0; i < RECORD_READS_MAX; i++)
        free(m->records[i].read.buf);
}
