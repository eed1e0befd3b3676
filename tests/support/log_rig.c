#include "tests/support/log_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/meta/checksum.h"
#include "node/pod/pod_impl.h"

enum {
    PATIENCE = 2000000,
    CHUNK = 1 << 20
};

/* ---- history */

void history_cut(struct history *h, uint64_t seq)
{
    for (; h->end > seq; h->end--) {
        free(h->at[h->end].data);
        h->at[h->end].data = NULL;
    }
}

void history_put(struct history *h, const struct log_id *id, const void *batch, uint32_t bytes)
{
    assert_true(id->seq <= h->end + 1 && id->seq < HISTORY_MAX);
    history_cut(h, id->seq - 1);
    h->end = id->seq;
    h->at[h->end].id = *id;
    h->at[h->end].bytes = bytes;
    h->at[h->end].data = malloc(bytes);
    memcpy(h->at[h->end].data, batch, bytes);
}

/* ---- members */

static void on_sealed(void *user, const struct log_id *id, const void *batch, uint32_t bytes)
{
    struct member *m = user;
    assert_ptr_equal(m->group->leader, m);
    history_put(&m->group->log, id, batch, bytes);
}

static void on_durable(void *user, const struct log_id *end)
{
    struct member *m = user;
    assert_int_equal(end->seq, m->durable.seq + 1); /* in order, each once */
    m->durable = *end;
}

static bool on_may_read(void *user)
{
    return ((struct member *)user)->may_read;
}

void group_create(struct group *g, unsigned count, uint64_t device_bytes, uint64_t seed)
{
    memset(g, 0, sizeof *g);
    g->count = count;
    for (unsigned i = 0; i < count; i++) {
        struct member *m = &g->members[i];
        m->group = g;
        m->counts = m->may_read = true;
        m->events = (struct pod_log_events){
            .sealed = on_sealed, .durable = on_durable, .may_read = on_may_read, .user = m};
        rig_create(&m->rig, device_bytes, seed * 10 + i);
        m->rig.config.log = &m->events;
        m->rig.config.log_index_batches = 64; /* so that older log is looked for in flash */
        memset(m->rig.config.pod_id, 0x5a, 16);
    }
}

void group_destroy(struct group *g)
{
    for (unsigned i = 0; i < g->count; i++) {
        if (g->members[i].rig.pod)
            rig_crash(&g->members[i].rig, BLKDEV_MEM_KEEP);
        rig_destroy(&g->members[i].rig);
    }
    history_cut(&g->log, 0);
}

int member_open(struct member *m)
{
    const int rc = rig_open(&m->rig);
    if (!rc) {
        struct log_id applied;
        pod_log_ends(m->rig.pod, &applied, &m->durable);
        assert_true(applied.seq <= m->durable.seq);
    }
    return rc;
}

static void on_flag(void *user)
{
    *(bool *)user = true;
}

static void gone(struct member *m)
{
    if (m->group->leader == m)
        m->group->leader = NULL;
    m->rig.beside = NULL;
}

void member_abandon(struct member *m)
{
    bool done = false;
    gone(m);
    pod_abandon(m->rig.pod, on_flag, &done);
    for (uint64_t n = 0; !done; n++) {
        if (!rig_step(&m->rig))
            return;
        assert_true(n < PATIENCE);
    }
    assert_int_equal(rig_pending(&m->rig), 0);
    pod_destroy(m->rig.pod);
    m->rig.pod = NULL;
}

void member_crash(struct member *m, enum blkdev_mem_cut mode)
{
    gone(m);
    rig_crash(&m->rig, mode);
}

void member_wait_applied(struct member *m, uint64_t seq)
{
    struct log_id applied;
    for (uint64_t n = 0;; n++) {
        pod_log_ends(m->rig.pod, &applied, NULL);
        if (applied.seq >= seq || !rig_step(&m->rig))
            return;
        assert_true(n < PATIENCE);
    }
}

static void on_status(void *user, int status)
{
    *(int *)user = status;
}

int member_truncate(struct member *m, uint64_t seq)
{
    int status = 1;
    const int rc = pod_log_truncate(m->rig.pod, seq, on_status, &status);
    if (rc)
        return rc;
    for (uint64_t n = 0; status == 1; n++) {
        if (!rig_step(&m->rig))
            return PS_EUNAVAILABLE;
        assert_true(n < PATIENCE);
    }
    if (!status && m->durable.seq > seq)
        pod_log_ends(m->rig.pod, NULL, &m->durable);
    return status;
}

int member_append(struct member *m, const void *batch, uint32_t bytes)
{
    for (uint64_t n = 0;; n++) {
        const int rc = pod_log_append(m->rig.pod, batch, bytes, &m->rig.error);
        if (rc != PS_ELIMIT)
            return rc;
        if (!rig_step(&m->rig))
            return PS_EUNAVAILABLE;
        assert_true(n < PATIENCE);
    }
}

/* ---- the group */

static void beside(void *user)
{
    struct member *m = user;
    struct group *g = m->group;
    if (g->pumping)
        return;
    for (unsigned i = 0; i < g->count; i++)
        if (&g->members[i] != m && g->members[i].rig.pod && !g->members[i].away)
            (void)rig_step(&g->members[i].rig);
    group_pump(g);
}

void group_lead(struct group *g, struct member *m)
{
    struct log_id durable;
    pod_log_ends(m->rig.pod, NULL, &durable);
    pod_log_commit(m->rig.pod, durable.seq);
    member_wait_applied(m, durable.seq);
    g->commit = durable.seq;
    g->leader = m;
    g->epoch++;
    /* The history is what this log is: only one that had all of the last leader's may lead. */
    if (durable.seq <= g->log.end && g->log.at[durable.seq].data)
        assert_true(log_id_equal(&g->log.at[durable.seq].id, &durable));
    history_cut(&g->log, durable.seq);
    pod_lead(m->rig.pod, g->epoch);
    m->rig.beside = beside;
    m->rig.beside_user = m;
}

struct member *group_start(struct group *g, unsigned count, uint64_t device_bytes, uint64_t seed)
{
    group_create(g, count, device_bytes, seed);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(member_open(&g->members[i]), 0);
    group_lead(g, &g->members[0]);
    return &g->members[0];
}

static void ship(struct group *g, struct member *m)
{
    while (m->rig.pod->sealed_seq < g->log.end) {
        const uint64_t seq = m->rig.pod->sealed_seq + 1;
        const int rc = pod_log_append(m->rig.pod, g->log.at[seq].data, g->log.at[seq].bytes, &m->rig.error);
        if (rc == PS_ELIMIT)
            return;
        if (rc)
            fail_msg("append of %llu: %s: %s", (unsigned long long)seq, ps_status_name(rc),
                     m->rig.error.detail);
    }
}

void group_pump(struct group *g)
{
    if (!g->leader)
        return;
    g->pumping = true;
    uint64_t least = g->leader->durable.seq;
    for (unsigned i = 0; i < g->count; i++) {
        struct member *m = &g->members[i];
        if (m == g->leader || !m->rig.pod || m->away)
            continue;
        if (!g->hold_ship)
            ship(g, m);
        if (m->counts && m->durable.seq < least)
            least = m->durable.seq;
    }
    if (!g->hold_commit && least > g->commit)
        g->commit = least;
    for (unsigned i = 0; i < g->count; i++)
        if (g->members[i].rig.pod && !g->members[i].away)
            pod_log_commit(g->members[i].rig.pod, g->commit);
    g->pumping = false;
}

void group_settle(struct group *g)
{
    for (uint64_t n = 0;; n++) {
        struct pod *pod = g->leader->rig.pod;
        rig_settle(&g->leader->rig);
        bool all = pod->applied_seq == pod->sealed_seq;
        for (unsigned i = 0; i < g->count; i++) {
            const struct member *m = &g->members[i];
            all &= !m->rig.pod || m->away || m->rig.pod->applied_seq == pod->applied_seq;
        }
        if (all)
            return;
        (void)rig_step(&g->leader->rig);
        assert_true(n < PATIENCE);
    }
}

static void on_log_read(struct pod_log_read *read, int status)
{
    *(int *)read->user = status;
}

int member_id_at(struct member *m, uint64_t seq, struct log_id *out)
{
    int rc;
    for (int n = 0; (rc = pod_log_id_at(m->rig.pod, seq, out)) == PS_EUNAVAILABLE; n++)
        assert_true(n < PATIENCE && rig_step(&m->rig));
    return rc;
}

void member_catch_up(struct member *m, bool by_reading)
{
    struct group *g = m->group;
    struct pod *leader = g->leader->rig.pod;
    struct log_id mine, applied, durable;
    pod_log_ends(m->rig.pod, &applied, &durable);
    uint64_t common = durable.seq;
    for (;; common--) {
        assert_true(common >= applied.seq); /* what is committed never differs */
        assert_int_equal(member_id_at(m, common, &mine), 0);
        if (common <= g->log.end && log_id_equal(&mine, &g->log.at[common].id))
            break;
    }
    if (common < durable.seq)
        assert_int_equal(member_truncate(m, common), 0);
    if (!by_reading || pod_log_first(leader) == 0 || pod_log_first(leader) > common + 1)
        return;
    void *buf = aligned_alloc(BLKDEV_ALIGN, BATCH_MAX_BYTES);
    for (uint64_t seq = common + 1; seq <= leader->durable.seq; seq++) {
        int status = 1;
        struct pod_log_read read = {.seq = seq, .buf = buf, .cb = on_log_read, .user = &status};
        assert_int_equal(pod_log_read(leader, &read), 0);
        while (status == 1)
            assert_true(rig_step(&g->leader->rig));
        assert_int_equal(status, 0);
        assert_int_equal(read.id.seq, seq);
        if (m->rig.pod->sealed_seq < seq) /* the group may have shipped it meanwhile */
            assert_int_equal(member_append(m, buf, read.bytes), 0);
        pod_log_commit(m->rig.pod, g->commit < seq ? g->commit : seq);
    }
    free(buf);
}

/* ---- looking inside */

void member_noise(uint8_t *buf, uint64_t bytes, uint64_t seed)
{
    struct prng p;
    prng_seed(&p, seed);
    prng_fill(&p, buf, bytes);
}

void member_write_noise(struct member *m, const char *name, uint64_t offset, uint64_t bytes, uint64_t seed)
{
    uint8_t *buf = malloc(bytes);
    member_noise(buf, bytes, seed);
    assert_int_equal(rig_write(&m->rig, name, offset, buf, bytes), 0);
    free(buf);
}

void member_read(struct member *m, const char *name, uint64_t offset, void *data, uint64_t length)
{
    struct pod *pod = m->rig.pod;
    const enum pod_role role = pod->role;
    const bool releasing = pod->release_in_flight, may_read = m->may_read;
    pod->release_in_flight = true; /* no background work of a leader meanwhile */
    pod->role = POD_LEADING;
    m->may_read = true;
    assert_int_equal(rig_read(&m->rig, name, offset, data, length), 0);
    pod->role = role;
    pod->release_in_flight = releasing;
    m->may_read = may_read;
}

static uint64_t mix(uint64_t digest, uint64_t value)
{
    const uint64_t both[2] = {digest, value};
    return checksum_bytes(both, sizeof both);
}

uint64_t member_digest(struct member *m)
{
    struct pod *pod = m->rig.pod;
    struct pod_image_info info = {0};
    uint8_t *buf = malloc(CHUNK);
    uint64_t digest = mix(mix(mix(1, pod->applied_seq), pod->applied_hash), pod->unique_blocks);
    for (int i = 0; i < COUNTERS; i++)
        digest = mix(digest, pod->counters[i]);
    digest = mix(digest, pod->operation_count);
    while (pod_image_after(pod, info.name, &info) == 0) {
        info.open_count = 0;
        digest = mix(digest, checksum_bytes(info.name, strlen(info.name)));
        digest = mix(mix(mix(digest, info.id), info.size_bytes), info.volume_id);
        digest = mix(mix(digest, info.space.logical), info.space.unique);
        for (uint64_t at = 0; at < info.size_bytes; at += CHUNK) {
            const uint64_t n = info.size_bytes - at < CHUNK ? info.size_bytes - at : CHUNK;
            member_read(m, info.name, at, buf, n);
            digest = mix(digest, checksum_bytes(buf, n));
        }
    }
    free(buf);
    return digest;
}

/* A leader may have taken ids that no batch has told of. */
static void check_next(const struct pod *leader, const struct pod *pod, const struct pod **first)
{
    assert_true(pod->next_group <= leader->next_group && pod->next_page <= leader->next_page &&
                pod->next_image <= leader->next_image);
    if (*first)
        assert_true(pod->next_group == (*first)->next_group && pod->next_page == (*first)->next_page &&
                    pod->next_image == (*first)->next_image);
    *first = pod;
}

void group_check(struct group *g)
{
    group_settle(g);
    struct log_id id, other;
    const struct pod *first = NULL;
    const uint64_t digest = member_digest(g->leader);
    rig_check(&g->leader->rig);
    pod_log_ends(g->leader->rig.pod, &id, NULL);
    for (unsigned i = 0; i < g->count; i++) {
        struct member *m = &g->members[i];
        if (m == g->leader || !m->rig.pod || m->away)
            continue;
        pod_log_ends(m->rig.pod, &other, NULL);
        assert_true(log_id_equal(&id, &other));
        if (member_digest(m) != digest)
            fail_msg("member %u differs from the leader at %llu", i, (unsigned long long)id.seq);
        check_next(g->leader->rig.pod, m->rig.pod, &first);
        rig_check(&m->rig);
    }
}
