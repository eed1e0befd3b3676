/* Three members, random writes and changes, crashes, changes of the leader, catching up: against a model of
 * what was answered. What was answered is there; what was not is there or not, on all members the same.
 *
 *   test_pod_log_model [FIRST_SEED [SEEDS [ROUNDS]]]   a failing seed replays */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"
#include "tests/support/log_rig.h"

enum {
    MIB = 1 << 20,
    BLOCK = 4096,
    BLOCKS = 256,
    MEMBERS = 3,
    WRITES = 6,
    WRITE_MAX = 24, /* blocks */
    TAGS = 300,
};

static uint64_t first_seed = 1, seeds = 30, rounds = 150, handed_over;

struct write {
    struct pod_io io;
    struct pod_image *image;
    uint8_t *buf;
    uint64_t lba, count;
    uint32_t tags[WRITE_MAX];
    bool active, done;
};

struct world {
    struct group g;
    struct prng prng;
    uint32_t is[BLOCKS], may_be[BLOCKS]; /* tags; 0: zeroes, none */
    uint32_t snapshot[BLOCKS];
    bool has_snapshot;
    struct write writes[WRITES];
    bool in_sync[MEMBERS]; /* has all that may have been answered */
};

static void fill(uint8_t *block, uint32_t tag)
{
    struct prng p;
    prng_seed(&p, tag);
    prng_fill(&p, block, tag % 3 ? BLOCK : BLOCK / 2);
    if (tag % 3 == 0)
        memset(block + BLOCK / 2, (int)tag, BLOCK / 2);
    if (tag == 0)
        memset(block, 0, BLOCK);
}

/* ---- writes */

static void on_write(struct pod_io *io, int status)
{
    struct write *w = io->user;
    w->done = true;
    (void)status;
}

static void take_back(struct world *w, struct write *wr)
{
    for (uint64_t i = 0; i < wr->count; i++) {
        const uint64_t lba = wr->lba + i;
        if (wr->done && wr->io.status == 0)
            w->is[lba] = wr->tags[i];
        else
            w->may_be[lba] = wr->tags[i];
    }
    wr->active = false;
    free(wr->buf);
}

static void reap(struct world *w)
{
    for (int i = 0; i < WRITES; i++) {
        struct write *wr = &w->writes[i];
        if (!wr->active || !wr->done)
            continue;
        assert_int_equal(wr->io.status, 0);
        pod_image_close(wr->image);
        take_back(w, wr);
    }
}

/* The leader is gone. */
static void lose_writes(struct world *w)
{
    for (int i = 0; i < WRITES; i++) {
        struct write *wr = &w->writes[i];
        if (!wr->active)
            continue;
        free(wr->image);
        take_back(w, wr);
    }
}

static bool is_busy(const struct world *w, uint64_t lba, uint64_t count)
{
    for (int i = 0; i < WRITES; i++)
        if (w->writes[i].active && w->writes[i].lba < lba + count &&
            lba < w->writes[i].lba + w->writes[i].count)
            return true;
    return false;
}

static void start_write(struct world *w)
{
    const uint64_t count = 1 + prng_below(&w->prng, WRITE_MAX);
    const uint64_t lba = prng_below(&w->prng, BLOCKS - count);
    struct write *wr = NULL;
    for (int i = 0; i < WRITES; i++)
        if (!w->writes[i].active)
            wr = &w->writes[i];
    if (!wr || is_busy(w, lba, count))
        return;
    *wr = (struct write){.lba = lba, .count = count, .active = true, .buf = malloc(count * BLOCK)};
    for (uint64_t i = 0; i < count; i++) {
        wr->tags[i] = 1 + (uint32_t)prng_below(&w->prng, TAGS);
        fill(wr->buf + i * BLOCK, wr->tags[i]);
    }
    assert_int_equal(pod_image_open(w->g.leader->rig.pod, "v", &wr->image, NULL), 0);
    wr->io = (struct pod_io){.op = POD_WRITE,
                             .image = wr->image,
                             .offset = lba * BLOCK,
                             .length = count * BLOCK,
                             .buf = wr->buf,
                             .user = wr};
    assert_int_equal(pod_submit(w->g.leader->rig.pod, &wr->io, on_write), 0);
}

static void finish_writes(struct world *w)
{
    for (uint64_t n = 0;; n++) {
        bool all = true;
        for (int i = 0; i < WRITES; i++)
            all &= !w->writes[i].active || w->writes[i].done;
        if (all)
            break;
        assert_true(rig_step(&w->g.leader->rig));
        assert_true(n < 1000000);
    }
    reap(w);
}

/* ---- looking */

static void check_blocks(struct world *w)
{
    static uint8_t back[BLOCKS * BLOCK], block[BLOCK];
    member_read(w->g.leader, "v", 0, back, sizeof back);
    for (uint64_t lba = 0; lba < BLOCKS; lba++) {
        fill(block, w->is[lba]);
        if (memcmp(back + lba * BLOCK, block, BLOCK) != 0) {
            fill(block, w->may_be[lba]);
            if (!w->may_be[lba] || memcmp(back + lba * BLOCK, block, BLOCK) != 0)
                fail_msg("block %llu is neither what was answered (%u) nor what was tried (%u)",
                         (unsigned long long)lba, w->is[lba], w->may_be[lba]);
            w->is[lba] = w->may_be[lba];
        }
        w->may_be[lba] = 0;
    }
    struct pod_image_info info;
    assert_int_equal(pod_image_by_name(w->g.leader->rig.pod, "v@s", &info),
                     w->has_snapshot ? 0 : PS_ENOTFOUND);
    if (!w->has_snapshot)
        return;
    member_read(w->g.leader, "v@s", 0, back, sizeof back);
    for (uint64_t lba = 0; lba < BLOCKS; lba++) {
        fill(block, w->snapshot[lba]);
        assert_memory_equal(back + lba * BLOCK, block, BLOCK);
    }
}

/* ---- members */

static struct member *some_member(struct world *w)
{
    return &w->g.members[prng_below(&w->prng, MEMBERS)];
}

static void end_member(struct world *w, struct member *m)
{
    const bool led = m == w->g.leader;
    if (prng_chance(&w->prng, 1, 3))
        member_abandon(m);
    else
        member_crash(m, (enum blkdev_mem_cut)prng_below(&w->prng, BLKDEV_MEM_CUTS));
    if (led) {
        lose_writes(w);
        return; /* it may be asked back */
    }
    m->counts = m->away = false;
    if (w->g.leader) /* which goes on without it */
        w->in_sync[m - w->g.members] = false;
}

static void join(struct world *w, struct member *m)
{
    m->away = true;
    member_catch_up(m, prng_chance(&w->prng, 1, 2));
    m->away = false;
    m->counts = true; /* from now on; what was answered before it must get, too */
    w->g.hold_ship = false;
    for (const uint64_t end = w->g.leader->rig.pod->sealed_seq; m->durable.seq < end;)
        assert_true(rig_step(&w->g.leader->rig));
    w->in_sync[m - w->g.members] = true;
}

static bool is_longer(const struct member *a, const struct member *b)
{
    return a->durable.epoch != b->durable.epoch ? a->durable.epoch > b->durable.epoch
                                                : a->durable.seq > b->durable.seq;
}

/* One that has all leads; those that are there join it. */
static void elect(struct world *w)
{
    struct member *best = NULL;
    bool one = false;
    for (int i = 0; i < MEMBERS; i++)
        one |= w->in_sync[i] && w->g.members[i].rig.pod;
    for (int i = 0; i < MEMBERS; i++) {
        struct member *m = &w->g.members[i];
        if (!w->in_sync[i])
            continue;
        if (!m->rig.pod && !one)
            assert_int_equal(member_open(m), 0);
        if (m->rig.pod && (!best || (prng_chance(&w->prng, 1, 2) || is_longer(m, best))))
            best = m;
    }
    assert_non_null(best);
    /* Appends of the old leader that are still on their way count, too. */
    for (int n = 0; n < 200; n++)
        (void)rig_step(&best->rig);
    group_lead(&w->g, best);
    for (int i = 0; i < MEMBERS; i++) {
        struct member *m = &w->g.members[i];
        m->counts = w->in_sync[i] = m == best;
        if (m != best && m->rig.pod)
            m->away = true;
    }
    for (int i = 0; i < MEMBERS; i++)
        if (w->g.members[i].rig.pod && w->g.members[i].away) {
            for (int n = 0; n < 200; n++)
                (void)rig_step(&w->g.members[i].rig);
            join(w, &w->g.members[i]);
        }
    check_blocks(w);
}

static void manage(struct world *w)
{
    w->g.hold_commit = w->g.hold_ship = false;
    finish_writes(w);
    assert_int_equal(rig_named(&w->g.leader->rig, w->has_snapshot ? POD_SNAPSHOT_DELETE : POD_SNAPSHOT_CREATE,
                               "v@s", NULL, 0),
                     0);
    w->has_snapshot = !w->has_snapshot;
    memcpy(w->snapshot, w->is, sizeof w->is);
}

/* A planned change of the leader: the former one is a member at once. Writes that waited are answered. */
static void hand_over(struct world *w)
{
    struct member *from = w->g.leader, *to = some_member(w);
    if (to == from || !to->rig.pod || !w->in_sync[to - w->g.members] || !to->counts)
        return;
    w->g.hold_commit = w->g.hold_ship = false;
    pod_hold(from->rig.pod, true);
    group_settle(&w->g);
    start_write(w);
    if (!pod_yield(from->rig.pod)) {
        pod_hold(from->rig.pod, false);
        return;
    }
    handed_over++;
    for (int n = 0; n < 200; n++)
        (void)rig_step(&from->rig);
    for (int i = 0; i < WRITES; i++) {
        struct write *wr = &w->writes[i];
        if (!wr->active)
            continue;
        assert_true(wr->done);
        assert_true(!wr->io.status || wr->io.status == PS_ENOTPRIMARY || wr->io.status == PS_EUNAVAILABLE);
        pod_image_close(wr->image);
        take_back(w, wr);
    }
    from->rig.beside = NULL;
    group_lead(&w->g, to);
    check_blocks(w);
}

static void round_of(struct world *w)
{
    struct group *g = &w->g;
    struct member *m = some_member(w);
    if (!g->leader)
        elect(w);
    switch (prng_below(&w->prng, 16)) {
    case 0:
        if (m->rig.pod)
            end_member(w, m);
        break;
    case 1:
    case 2:
        if (!m->rig.pod && g->leader) {
            m->away = true;
            assert_int_equal(member_open(m), 0);
            join(w, m);
        }
        break;
    case 3:
        manage(w);
        break;
    case 4:
        g->hold_commit = prng_chance(&w->prng, 1, 2);
        break;
    case 5:
        g->hold_ship = prng_chance(&w->prng, 1, 2);
        break;
    case 6:
        if (m->rig.pod)
            checkpoint_want(m->rig.pod);
        break;
    case 7:
        pod_log_retain(g->leader->rig.pod, 1);
        break;
    case 8:
        if (prng_chance(&w->prng, 1, 2)) {
            g->hold_commit = g->hold_ship = false;
            finish_writes(w);
            group_check(g);
            check_blocks(w);
        }
        break;
    case 9:
        hand_over(w);
        break;
    default:
        start_write(w);
    }
    for (uint64_t n = prng_below(&w->prng, 12); n && g->leader; n--)
        (void)rig_step(&g->leader->rig);
    reap(w);
}

static void play(uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    group_create(&w->g, MEMBERS, 128 * MIB, seed);
    prng_seed(&w->prng, seed);
    for (int i = 0; i < MEMBERS; i++) {
        w->g.members[i].rig.random = prng_chance(&w->prng, 1, 2);
        w->g.members[i].rig.config.log_slice_batches = seed % 2 ? 16 : 0;
        assert_int_equal(member_open(&w->g.members[i]), 0);
        w->in_sync[i] = true;
    }
    group_lead(&w->g, &w->g.members[0]);
    assert_int_equal(rig_create_volume(&w->g.leader->rig, "v", BLOCKS * BLOCK), 0);
    for (uint64_t i = 0; i < rounds; i++)
        round_of(w);
    if (!w->g.leader)
        elect(w);
    w->g.hold_commit = w->g.hold_ship = false;
    finish_writes(w);
    for (int i = 0; i < MEMBERS; i++)
        if (!w->g.members[i].rig.pod) {
            w->g.members[i].away = true;
            assert_int_equal(member_open(&w->g.members[i]), 0);
            join(w, &w->g.members[i]);
        }
    group_check(&w->g);
    check_blocks(w);
    group_destroy(&w->g);
    free(w);
}

static void members_agree_and_nothing_answered_is_lost(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
        (void)printf("seed %llu\n", (unsigned long long)seed);
        (void)fflush(stdout);
        play(seed);
    }
    assert_true(handed_over > seeds || rounds < 150);
}

int main(int argc, char **argv)
{
    uint64_t *const numbers[] = {&first_seed, &seeds, &rounds};
    for (int i = 1; i < argc && i <= 3; i++)
        *numbers[i - 1] = strtoull(argv[i], NULL, 0);
    const struct CMUnitTest tests[] = {cmocka_unit_test(members_agree_and_nothing_answered_is_lost)};
    return cmocka_run_group_tests_name("pod_log_model", tests, NULL, NULL);
}
