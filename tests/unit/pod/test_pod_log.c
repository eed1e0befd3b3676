/* The replicated log: what members do with it, told one by one. */
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
    KIB = 1 << 10,
    MIB = 1 << 20,
    BLOCK = 4096,
    DEVICE = 96 * MIB
};

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct group));
    return 0;
}

static int teardown(void **state)
{
    group_destroy(*state);
    free(*state);
    return 0;
}

static void assert_noise(struct member *m, const char *name, uint64_t offset, uint64_t bytes, uint64_t seed)
{
    uint8_t *buf = malloc(bytes), *back = malloc(bytes);
    member_noise(buf, bytes, seed);
    member_read(m, name, offset, back, bytes);
    assert_memory_equal(buf, back, bytes);
    free(buf);
    free(back);
}

/* A write that is under way. */
struct pending {
    struct pod_io io;
    struct pod_image *image;
    uint8_t buf[64 * KIB];
    bool done;
    int status;
};

static void on_pending(struct pod_io *io, int status)
{
    struct pending *p = io->user;
    p->done = true;
    p->status = status;
}

static void submit(struct member *m, struct pending *p, enum pod_io_op op, uint64_t offset, uint64_t bytes)
{
    p->done = false;
    assert_int_equal(pod_image_open(m->rig.pod, "v", &p->image, NULL), 0);
    p->io = (struct pod_io){
        .op = op, .image = p->image, .offset = offset, .length = bytes, .buf = p->buf, .user = p};
    assert_int_equal(pod_submit(m->rig.pod, &p->io, on_pending), 0);
}

static void steps(struct member *m, unsigned n)
{
    while (n--)
        (void)rig_step(&m->rig);
}

static uint64_t applied_of(const struct member *m)
{
    struct log_id applied;
    pod_log_ends(m->rig.pod, &applied, NULL);
    return applied.seq;
}

/* ---- following */

static void followers_equal_the_leader_after_every_change(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 3, DEVICE, 7);
    assert_int_equal(rig_create_volume(&a->rig, "v", 4 * MIB), 0);
    group_check(g);
    member_write_noise(a, "v", 0, 300 * KIB, 1);
    group_check(g);
    member_write_noise(a, "v", 512, 5 * KIB, 2);
    assert_int_equal(rig_named(&a->rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
    group_check(g);
    member_write_noise(a, "v", MIB, 300 * KIB, 1); /* found stored already */
    assert_int_equal(rig_range(&a->rig, POD_TRIM, "v", 16 * KIB, 100 * KIB), 0);
    group_check(g);
    assert_int_equal(rig_named(&a->rig, POD_CLONE_CREATE, "v@s", "c", 0), 0);
    member_write_noise(a, "c", 8 * KIB, 64 * KIB, 3);
    checkpoint_want(g->members[1].rig.pod);
    group_check(g);
    assert_int_equal(rig_named(&a->rig, POD_VOLUME_RENAME, "v", "w", 0), 0);
    assert_int_equal(rig_range(&a->rig, POD_WRITE_ZERO, "w", 512, 700 * KIB), 0);
    assert_int_equal(rig_named(&a->rig, POD_VOLUME_DELETE, "c", NULL, 0), 0);
    assert_int_equal(rig_named(&a->rig, POD_SNAPSHOT_DELETE, "w@s", NULL, 0), 0);
    group_check(g);
    assert_int_equal(rig_named(&a->rig, POD_VOLUME_RESIZE, "w", NULL, MIB), 0);
    group_check(g);
    /* Checkpoints of their own, and a restart, change nothing. */
    struct member *b = &g->members[1];
    rig_close(&b->rig);
    assert_int_equal(member_open(b), 0);
    group_check(g);
    struct pod_stats stats;
    pod_stats(a->rig.pod, &stats);
    assert_int_equal(stats.role, POD_LEADING);
    pod_stats(b->rig.pod, &stats);
    assert_int_equal(stats.role, POD_STANDBY);
}

struct told {
    unsigned changed;
    char name[POD_FULL_NAME_MAX + 1];
};

static void on_image(void *user, uint64_t seq, uint64_t id, const struct pod_image_info *info)
{
    struct told *t = user;
    (void)seq;
    (void)id;
    t->changed++;
    memcpy(t->name, info->name, sizeof t->name);
}

static void a_follower_tells_of_images_and_takes_no_requests(void **state)
{
    struct group *g = *state;
    struct told told = {0};
    group_create(g, 2, DEVICE, 3);
    struct member *a = &g->members[0], *b = &g->members[1];
    b->rig.config.image_changed = on_image;
    b->rig.config.user = &told;
    assert_int_equal(member_open(a), 0);
    assert_int_equal(member_open(b), 0);
    group_lead(g, a);
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    group_settle(g);
    assert_int_equal(told.changed, 1);
    assert_string_equal(told.name, "v");
    struct pod_image *image;
    struct pod_manage req = {.op = POD_VOLUME_CREATE, .name = "x", .size_bytes = MIB};
    assert_int_equal(pod_image_open(b->rig.pod, "v", &image, NULL), PS_EUNAVAILABLE);
    assert_int_equal(pod_manage(b->rig.pod, &req, NULL), PS_EUNAVAILABLE);
}

static void what_is_not_committed_is_neither_answered_nor_applied(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7), *b = &g->members[1];
    static struct pending p;
    struct pod_manage set = {.op = POD_VOLUME_CREATE, .name = "v", .size_bytes = MIB, .write_cache = true};
    assert_int_equal(rig_manage(&a->rig, &set), 0);
    group_settle(g);
    const uint64_t before = applied_of(a);
    g->hold_commit = true;
    member_noise(p.buf, BLOCK, 5);
    submit(a, &p, POD_WRITE, 0, BLOCK); /* with write_cache on, too */
    steps(a, 200);
    assert_int_equal(a->durable.seq, before + 1);
    assert_int_equal(b->durable.seq, before + 1);
    assert_false(p.done);
    assert_true(applied_of(a) == before && applied_of(b) == before);
    static uint8_t back[BLOCK], zeroes[BLOCK];
    member_read(a, "v", 0, back, BLOCK);
    assert_memory_equal(back, zeroes, BLOCK);
    g->hold_commit = false;
    steps(a, 20);
    assert_true(p.done && p.status == 0);
    pod_image_close(p.image);
    group_check(g);
    assert_noise(b, "v", 0, BLOCK, 5);
}

static void what_was_said_ahead_commits_nothing_of_a_new_leader(void **state)
{
    struct group *g = *state;
    group_start(g, 2, DEVICE, 7);
    struct member *b = &g->members[1];
    static struct pending p;
    assert_int_equal(rig_create_volume(&g->members[0].rig, "v", MIB), 0);
    group_settle(g);
    pod_log_commit(b->rig.pod, 1000);
    member_abandon(&g->members[0]);
    group_lead(g, b);
    g->hold_commit = true;
    member_noise(p.buf, BLOCK, 5);
    submit(b, &p, POD_WRITE, 0, BLOCK);
    steps(b, 100);
    assert_false(p.done);
    g->hold_commit = false;
    steps(b, 100);
    assert_true(p.done && p.status == 0);
    pod_image_close(p.image);
}

static void a_batch_that_does_not_follow_is_refused(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7), *b = &g->members[1];
    struct ps_error err = {0};
    g->hold_ship = true;
    b->counts = false;
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    member_write_noise(a, "v", 0, BLOCK, 1);
    member_write_noise(a, "v", 0, BLOCK, 2);
    uint8_t *bad = malloc(BATCH_MAX_BYTES);
    const uint32_t bytes = g->log.at[1].bytes;
    assert_int_equal(pod_log_append(b->rig.pod, g->log.at[2].data, g->log.at[2].bytes, &err),
                     PS_EPRECONDITION);
    memcpy(bad, g->log.at[1].data, bytes);
    bad[bytes - 1] ^= 1;
    assert_int_equal(pod_log_append(b->rig.pod, bad, bytes, &err), PS_EDAMAGED);
    memcpy(bad, g->log.at[1].data, bytes);
    bad[4] = 1;
    assert_int_equal(pod_log_append(b->rig.pod, bad, bytes, &err), PS_EVERSION);
    assert_int_equal(pod_log_append(b->rig.pod, g->log.at[1].data, bytes - 1, &err), PS_EDAMAGED);
    assert_int_equal(pod_log_append(b->rig.pod, g->log.at[1].data, 3, &err), PS_EDAMAGED);
    assert_int_equal(pod_log_append(a->rig.pod, g->log.at[1].data, bytes, &err), PS_EPRECONDITION);
    assert_true(err.detail[0]);
    assert_int_equal(member_append(b, g->log.at[1].data, bytes), 0);
    assert_int_equal(pod_log_append(b->rig.pod, g->log.at[1].data, bytes, &err), PS_EPRECONDITION);
    assert_int_equal(pod_log_append(b->rig.pod, g->log.at[3].data, g->log.at[3].bytes, &err),
                     PS_EPRECONDITION);
    free(bad);
}

static void appends_beyond_what_is_committed_are_bounded(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7), *b = &g->members[1];
    struct ps_error err = {0};
    b->away = true;
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    for (uint64_t i = 0; i < 20; i++)
        member_write_noise(a, "v", i * BLOCK, BLOCK, i);
    for (uint64_t seq = 1; seq <= POD_LOG_APPENDS_MAX; seq++)
        assert_int_equal(pod_log_append(b->rig.pod, g->log.at[seq].data, g->log.at[seq].bytes, &err), 0);
    steps(b, 100);
    assert_int_equal(b->durable.seq, POD_LOG_APPENDS_MAX);
    assert_int_equal(applied_of(b), 0);
    assert_int_equal(pod_log_append(b->rig.pod, g->log.at[POD_LOG_APPENDS_MAX + 1].data,
                                    g->log.at[POD_LOG_APPENDS_MAX + 1].bytes, &err),
                     PS_ELIMIT);
    pod_log_commit(b->rig.pod, 1000); /* ahead of what is here */
    for (uint64_t seq = POD_LOG_APPENDS_MAX + 1; seq <= g->log.end; seq++)
        assert_int_equal(member_append(b, g->log.at[seq].data, g->log.at[seq].bytes), 0);
    member_wait_applied(b, g->log.end);
    b->away = false;
    group_check(g);
}

/* What a batch frees is counted in pages that a small cache has long given up. */
static void a_follower_loads_the_pages_that_a_batch_needs(void **state)
{
    struct group *g = *state;
    group_create(g, 2, DEVICE, 3);
    struct member *a = &g->members[0], *b = &g->members[1];
    b->rig.config.metadata_cache_bytes = MIB;
    assert_int_equal(member_open(a), 0);
    assert_int_equal(member_open(b), 0);
    group_lead(g, a);
    assert_int_equal(rig_create_volume(&a->rig, "v", 4096ull * MIB), 0);
    for (uint64_t i = 0; i < 200; i++) /* a page of places worth writing back */
        member_write_noise(a, "v", i * BLOCK, BLOCK, i);
    checkpoint_want(b->rig.pod);
    group_settle(g);
    member_abandon(a); /* the next leader's ids lie in other pages */
    assert_int_equal(member_open(a), 0);
    group_lead(g, a);
    for (uint64_t i = 1; i < 700; i++)
        member_write_noise(a, "v", i * 512 * BLOCK, BLOCK, 1000 + i);
    group_settle(g);
    assert_int_equal(rig_range(&a->rig, POD_TRIM, "v", 0, 200 * BLOCK), 0);
    group_settle(g);
    group_check(g);
}

/* ---- changes of the leader */

static void a_follower_takes_over_and_the_old_leader_follows(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 3, DEVICE, 7), *b = &g->members[1], *c = &g->members[2];
    static struct pending lost[2];
    assert_int_equal(rig_create_volume(&a->rig, "v", 2 * MIB), 0);
    member_write_noise(a, "v", 0, 256 * KIB, 1);
    group_settle(g);
    const uint64_t answered = applied_of(a);
    g->hold_ship = g->hold_commit = true;
    for (int i = 0; i < 2; i++) {
        member_noise(lost[i].buf, sizeof lost[i].buf, 70 + (uint64_t)i);
        submit(a, &lost[i], POD_WRITE, (uint64_t)i * MIB, sizeof lost[i].buf);
        steps(a, 200);
    }
    assert_int_equal(a->durable.seq, answered + 2);
    assert_true(!lost[0].done && !lost[1].done);
    const uint64_t lost_group = a->rig.pod->next_group, lost_page = a->rig.pod->next_page;
    member_crash(a, BLKDEV_MEM_LOSE);
    free(lost[0].image);
    free(lost[1].image);
    g->hold_ship = g->hold_commit = false;

    group_lead(g, b);
    /* None of the lost ones' ids can be given again. */
    assert_true(b->rig.pod->next_group > lost_group && b->rig.pod->next_page > lost_page);
    member_write_noise(b, "v", 0, 128 * KIB, 2);
    member_write_noise(b, "v", MIB, 64 * KIB, 70); /* the same content as what was lost */
    assert_int_equal(rig_named(&b->rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
    group_check(g);

    a->away = true; /* until its log is known to be the leader's */
    assert_int_equal(member_open(a), 0);
    assert_int_equal(applied_of(a), answered);
    assert_int_equal(a->durable.seq, answered + 2);
    member_catch_up(a, true);
    a->away = false;
    group_check(g);
    assert_noise(a, "v", MIB, 64 * KIB, 70);
    assert_noise(c, "v", 0, 128 * KIB, 2);

    /* And back again: what b deduplicates against is found by a, too. */
    member_abandon(b);
    group_lead(g, a);
    struct pod_stats before, after;
    pod_stats(a->rig.pod, &before);
    member_write_noise(a, "v", 512 * KIB, 128 * KIB, 2);
    pod_stats(a->rig.pod, &after);
    assert_int_equal(after.dedup_removed - before.dedup_removed, 128 * KIB);
    assert_int_equal(member_open(b), 0);
    member_catch_up(b, false);
    group_check(g);
}

/* As it is: no opening, nothing read back; what waits is told what to do. */
static void a_leader_that_rests_yields_and_follows_at_once(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7), *b = &g->members[1];
    static struct pending waits, read, refused;
    struct pod_image *handle;
    assert_int_equal(rig_create_volume(&a->rig, "v", 2 * MIB), 0);
    member_write_noise(a, "v", 0, 256 * KIB, 1);
    group_settle(g);
    assert_false(pod_yield(a->rig.pod)); /* it takes requests */
    pod_hold(a->rig.pod, true);
    submit(a, &waits, POD_WRITE, 0, sizeof waits.buf);
    a->may_read = false;
    submit(a, &read, POD_READ, 0, sizeof read.buf);
    steps(a, 50);
    assert_true(!waits.done && !read.done);
    const uint64_t runs = a->rig.pod->run, next_group = a->rig.pod->next_group;
    assert_true(pod_yield(a->rig.pod));
    assert_false(pod_yield(a->rig.pod));
    steps(a, 5);
    assert_true(waits.done && waits.status == PS_ENOTPRIMARY); /* it was not begun: another one may take it */
    assert_true(read.done && read.status == PS_EUNAVAILABLE);
    refused.io = (struct pod_io){.op = POD_READ, .image = read.image, .length = 4 * KIB, .buf = refused.buf};
    assert_int_equal(pod_submit(a->rig.pod, &refused.io, on_pending), PS_EUNAVAILABLE);
    assert_int_equal(pod_image_open(a->rig.pod, "v", &handle, NULL), PS_EUNAVAILABLE);
    pod_image_close(waits.image);
    pod_image_close(read.image);
    a->rig.beside = NULL;
    a->may_read = true;

    group_lead(g, b);
    assert_true(b->rig.pod->next_group > next_group);
    member_write_noise(b, "v", MIB, 256 * KIB, 2);
    assert_int_equal(rig_named(&b->rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
    group_check(g);
    assert_noise(a, "v", MIB, 256 * KIB, 2);
    assert_int_equal(a->rig.pod->run, runs);

    pod_hold(b->rig.pod, true);
    assert_true(pod_yield(b->rig.pod));
    b->rig.beside = NULL;
    group_lead(g, a);
    assert_int_equal(rig_create_volume(&a->rig, "w", MIB), 0);
    group_check(g);
    member_crash(a, BLKDEV_MEM_LOSE);
    member_crash(b, BLKDEV_MEM_LOSE);
    assert_int_equal(member_open(a), 0);
    assert_int_equal(member_open(b), 0);
    group_lead(g, a);
    group_check(g);
    assert_noise(b, "v", 0, 256 * KIB, 1);
}

/* The counters of an image are found by its handle, also by one that another role has left open. */
static void use_is_counted_beyond_the_end_of_a_role(void **state)
{
    struct group *g = *state;
    struct image_uses *uses = image_uses_create(NULL);
    static struct image_use_counts counts;
    static struct pending late, again;
    struct pod_image *old;
    uint64_t id;
    group_create(g, 2, DEVICE, 7);
    struct member *a = &g->members[0];
    a->rig.config.uses = uses;
    assert_int_equal(member_open(a), 0);
    assert_int_equal(member_open(&g->members[1]), 0);
    group_lead(g, a);
    assert_int_equal(rig_create_volume(&a->rig, "v", 2 * MIB), 0);
    assert_int_equal(pod_image_open(a->rig.pod, "v", &old, NULL), 0);
    member_write_noise(a, "v", 0, 64 * KIB, 1);
    group_settle(g);
    pod_hold(a->rig.pod, true);
    submit(a, &late, POD_WRITE, 0, sizeof late.buf); /* told by the end of the role */
    steps(a, 50);
    assert_true(pod_yield(a->rig.pod));
    steps(a, 5);
    assert_true(late.done && late.status == PS_ENOTPRIMARY);
    assert_int_equal(pod_submit(a->rig.pod, &late.io, on_pending), PS_EUNAVAILABLE);
    assert_true(image_uses_take(uses, 0, &id, &counts));
    assert_int_equal(counts.ops[IMAGE_USE_WRITE], 2);
    unsigned ended_well = 0;
    for (size_t i = 0; i < LATENCY_BUCKETS; i++)
        ended_well += counts.latencies[IMAGE_USE_WRITE][i];
    assert_int_equal(ended_well, 1);
    pod_image_close(late.image);

    a->rig.beside = NULL;
    group_lead(g, a);
    submit(a, &again, POD_READ, 0, sizeof again.buf);
    pod_image_close(old);
    /* However many others come: it is open still, by the handle of now. */
    struct image_use *others[IMAGE_USES_MAX - 1];
    for (size_t i = 0; i < IMAGE_USES_MAX - 1; i++)
        assert_non_null(others[i] = image_uses_open(uses, 1000 + i, MIB));
    assert_null(image_uses_open(uses, 5000, MIB));
    group_settle(g);
    assert_true(again.done && again.status == 0);
    assert_true(image_uses_take(uses, 0, &id, &counts));
    assert_int_equal(counts.ops[IMAGE_USE_READ], 1);
    assert_null(image_uses_open(uses, 5000, MIB));
    pod_image_close(again.image);
    assert_non_null(image_uses_open(uses, 5000, MIB));
    a->rig.pod->config.uses = NULL;
    image_uses_destroy(uses);
}

static void a_leader_does_not_yield_while_anything_is_planned(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7);
    static struct pending write;
    assert_int_equal(rig_create_volume(&a->rig, "v", 2 * MIB), 0);
    group_settle(g);
    g->hold_commit = true;
    member_noise(write.buf, sizeof write.buf, 3);
    submit(a, &write, POD_WRITE, 0, sizeof write.buf);
    steps(a, 200);
    pod_hold(a->rig.pod, true);
    assert_true(!write.done && a->rig.pod->sealed_seq > applied_of(a));
    assert_false(pod_yield(a->rig.pod));
    g->hold_commit = false;
    group_settle(g);
    assert_true(write.done && write.status == 0);
    pod_image_close(write.image);
    assert_true(pod_yield(a->rig.pod));
}

/* Its log may end where only a batch of its own could say how it goes on: a follower has none. */
static void a_leader_whose_log_can_not_be_followed_does_not_yield(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7), *b = &g->members[1];
    struct pod *pod = a->rig.pod;
    uint32_t taken[48], count = 0;
    assert_int_equal(rig_create_volume(&a->rig, "v", 10 * MIB), 0);
    member_write_noise(a, "v", 0, 4 * MIB, 1);
    for (uint64_t i = 0; i < 1536; i++) /* much is to be said when they go */
        member_write_noise(a, "v", 4 * MIB + i * 197 % 1536 * BLOCK, BLOCK, 100 + i);
    for (uint64_t at = 0; pod->next_named || pod->tail.offset + BATCH_MAX_BYTES + BLOCK < pod->segment_bytes;
         at += BLOCK) {
        while (segments_free(pod->segments) > 1)
            taken[count++] = segments_take(pod->segments, SEGMENT_LOG);
        assert_true(at < 4 * MIB);
        assert_int_equal(rig_range(&a->rig, POD_TRIM, "v", at, BLOCK), 0);
    }
    assert_int_equal(rig_range(&a->rig, POD_TRIM, "v", 4 * MIB, 6 * MIB), 0);
    assert_true(pod->tail.offset + BATCH_MAX_BYTES > pod->segment_bytes && !pod->next_named);
    group_settle(g);
    pod_hold(pod, true);
    assert_false(pod_yield(pod));
    while (count > 0)
        segments_untake(pod->segments, taken[--count]);
    pod_hold(pod, false);
    assert_int_equal(rig_range(&a->rig, POD_TRIM, "v", 4 * MIB - BLOCK, BLOCK), 0);
    group_settle(g);
    pod_hold(pod, true);
    assert_true(pod_yield(pod));
    a->rig.beside = NULL;
    group_lead(g, b);
    member_write_noise(b, "v", 0, 4 * MIB, 2);
    group_check(g);
}

static void a_lost_range_is_not_given_out_even_when_nothing_of_it_was_committed(void **state)
{
    struct group *g = *state;
    group_start(g, 3, DEVICE, 7);
    static struct pending lost;
    uint64_t highest = 0;
    for (int round = 0; round < 5; round++) {
        struct member *m = &g->members[round % 3];
        if (!g->leader)
            group_lead(g, m);
        assert_true(m->rig.pod->next_group > highest);
        if (round % 2 == 0) /* a committed batch without any group */
            assert_int_equal(rig_create_volume(&m->rig, round ? "v2" : "v", MIB), round > 2 ? PS_EEXISTS : 0);
        group_settle(g);
        g->hold_ship = g->hold_commit = true;
        member_noise(lost.buf, sizeof lost.buf, (uint64_t)round);
        submit(m, &lost, POD_WRITE, 0, sizeof lost.buf);
        steps(m, 100);
        highest = m->rig.pod->next_group;
        member_abandon(m);
        assert_true(lost.done && lost.status == PS_EUNAVAILABLE);
        free(lost.image);
        g->hold_ship = g->hold_commit = false;
        assert_int_equal(member_open(m), 0);
        /* Nobody else has it: it is dropped. */
        assert_int_equal(member_truncate(m, applied_of(m)), 0);
    }
}

/* All members came back: the primary leads again in its epoch. */
static void a_leader_that_was_restarted_gives_none_of_its_lost_ids_again(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 1, DEVICE, 7);
    static struct pending lost;
    uint64_t highest = 0;
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    for (int round = 0; round < 6; round++) {
        assert_true(a->rig.pod->next_group > highest);
        if (round == 3)
            member_write_noise(a, "v", 0, BLOCK, 1);
        g->hold_commit = true;
        member_noise(lost.buf, sizeof lost.buf, (uint64_t)round);
        submit(a, &lost, POD_WRITE, 0, sizeof lost.buf);
        steps(a, 100);
        highest = a->rig.pod->next_group;
        member_abandon(a);
        free(lost.image);
        g->hold_commit = false;
        assert_int_equal(member_open(a), 0);
        assert_int_equal(member_truncate(a, applied_of(a)), 0);
        g->epoch--;
        group_lead(g, a);
    }
}

static void what_was_truncated_stays_away_and_what_was_kept_stays(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7), *b = &g->members[1];
    b->away = true;
    assert_int_equal(rig_create_volume(&a->rig, "v", 2 * MIB), 0);
    for (uint64_t i = 0; i < 9; i++)
        member_write_noise(a, "v", i * 128 * KIB, 128 * KIB, i);
    for (uint64_t seq = 1; seq <= 8; seq++)
        assert_int_equal(member_append(b, g->log.at[seq].data, g->log.at[seq].bytes), 0);
    steps(b, 60);
    assert_int_equal(b->durable.seq, 8);
    pod_log_commit(b->rig.pod, 3);
    member_wait_applied(b, 3);
    assert_int_equal(pod_log_truncate(b->rig.pod, 2, NULL, NULL), PS_EPRECONDITION);
    assert_int_equal(member_truncate(b, 6), 0);
    struct log_id id;
    pod_log_ends(b->rig.pod, NULL, &id);
    assert_true(log_id_equal(&id, &g->log.at[6].id));
    assert_int_equal(pod_log_id_at(b->rig.pod, 7, &id), PS_ENOTFOUND);
    for (int again = 0; again < 3; again++) {
        member_crash(b, BLKDEV_MEM_LOSE);
        assert_int_equal(member_open(b), 0);
        assert_true(log_id_equal(&b->durable, &g->log.at[6].id));
        assert_true(applied_of(b) >= 3 && applied_of(b) <= 6);
    }
    /* The kept ones are read from flash now. */
    pod_log_commit(b->rig.pod, 6);
    member_wait_applied(b, 6);
    for (uint64_t seq = 7; seq <= g->log.end; seq++)
        assert_int_equal(member_append(b, g->log.at[seq].data, g->log.at[seq].bytes), 0);
    b->away = false;
    group_check(g);
}

/* Segments are used again: what was dropped may lie where the log goes on. */
static void a_dropped_batch_that_lies_behind_the_end_is_not_taken(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7), *b = &g->members[1];
    b->away = true;
    assert_int_equal(rig_create_volume(&a->rig, "v", 2 * MIB), 0);
    for (uint64_t i = 0; i < 5; i++)
        member_write_noise(a, "v", i * 128 * KIB, 128 * KIB, i);
    for (uint64_t seq = 1; seq <= 5; seq++)
        assert_int_equal(member_append(b, g->log.at[seq].data, g->log.at[seq].bytes), 0);
    steps(b, 60);
    assert_int_equal(b->durable.seq, 5);
    const struct log_entry *dropped = log_index_get(b->rig.pod->log_index, 4);
    const uint32_t bytes = dropped->bytes;
    uint8_t *as_it_lay = malloc(bytes);
    blkdev_mem_peek(b->rig.mem, segment_addr(b->rig.pod, dropped->segment) + dropped->offset, as_it_lay,
                    bytes, true);
    assert_int_equal(member_truncate(b, 3), 0);
    const struct position *tail = &b->rig.pod->tail;
    blkdev_mem_poke(b->rig.mem, segment_addr(b->rig.pod, tail->segment) + tail->offset, as_it_lay, bytes);
    member_crash(b, BLKDEV_MEM_LOSE);
    assert_int_equal(member_open(b), 0);
    assert_int_equal(b->durable.seq, 3);
    free(as_it_lay);
}

/* Batches 1 to 5 are in flash, then one of them is not what it was. */
static void spoil(struct member *b, uint64_t seq)
{
    const struct log_entry *e = log_index_get(b->rig.pod->log_index, seq);
    uint8_t block[BLOCK];
    const uint64_t at = segment_addr(b->rig.pod, e->segment) + e->offset + e->bytes - BLOCK;
    blkdev_mem_peek(b->rig.mem, at, block, BLOCK, true);
    block[7] ^= 1;
    blkdev_mem_poke(b->rig.mem, at, block, BLOCK);
}

static void a_torn_end_is_dropped(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7), *b = &g->members[1];
    b->away = true;
    assert_int_equal(rig_create_volume(&a->rig, "v", 2 * MIB), 0);
    for (uint64_t i = 0; i < 5; i++)
        member_write_noise(a, "v", i * 128 * KIB, 128 * KIB, i);
    for (uint64_t seq = 1; seq <= 5; seq++) { /* each when the one before is durable */
        assert_int_equal(member_append(b, g->log.at[seq].data, g->log.at[seq].bytes), 0);
        steps(b, 60);
    }
    assert_int_equal(b->durable.seq, 5);
    spoil(b, 5); /* nobody says that it was durable */
    member_crash(b, BLKDEV_MEM_LOSE);
    assert_int_equal(member_open(b), 0);
    assert_int_equal(b->durable.seq, 4);
}

/* A member that catches up needs fewer flushes than its primary did; what such a write leaves when it is cut
 * short is a torn end, whatever its batches say that was committed. */
static void what_comes_while_flash_is_busy_is_written_at_once(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7), *b = &g->members[1];
    struct blkdev_health before, after;
    b->away = true;
    assert_int_equal(rig_create_volume(&a->rig, "v", 2 * MIB), 0);
    for (uint64_t i = 0; i < 11; i++)
        member_write_noise(a, "v", i * BLOCK, BLOCK, i);
    blkdev_health(b->rig.dev, &before);
    for (uint64_t seq = 1; seq <= 12; seq++)
        assert_int_equal(member_append(b, g->log.at[seq].data, g->log.at[seq].bytes), 0);
    steps(b, 60);
    blkdev_health(b->rig.dev, &after);
    assert_int_equal(b->durable.seq, 12);
    assert_int_equal(after.write_ops - before.write_ops, 3);
    spoil(b, 7);
    member_crash(b, BLKDEV_MEM_LOSE);
    assert_int_equal(member_open(b), 0);
    assert_int_equal(b->durable.seq, 6);
    for (uint64_t seq = 7; seq <= 12; seq++)
        assert_int_equal(member_append(b, g->log.at[seq].data, g->log.at[seq].bytes), 0);
    pod_log_commit(b->rig.pod, g->log.end);
    member_wait_applied(b, g->log.end);
    b->away = false;
    group_check(g);
}

static void hosts_that_are_slowed_wait_for_their_part_of_the_time(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 1, DEVICE, 7);
    static struct pending p;
    const uint64_t ms = 1000000;
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    rig_settle(&a->rig);
    pod_slow(a->rig.pod, 250);
    a->rig.now_ns = (a->rig.now_ns / (40 * ms) + 1) * 40 * ms;
    submit(a, &p, POD_WRITE, 0, BLOCK);
    steps(a, 50);
    assert_false(p.done);
    assert_int_equal(pod_turn(a->rig.pod, a->rig.now_ns) % (40 * ms), 10 * ms);
    a->rig.now_ns = a->rig.now_ns / (40 * ms) * 40 * ms + 10 * ms;
    steps(a, 50);
    assert_true(p.done && p.status == 0);
    pod_image_close(p.image);
    submit(a, &p, POD_WRITE, 0, BLOCK);
    steps(a, 50);
    assert_true(p.done && p.status == 0);
    pod_image_close(p.image);
}

/* ---- reads */

static void reads_wait_until_they_may(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 1, DEVICE, 7);
    static struct pending p, q;
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    member_write_noise(a, "v", 0, BLOCK, 3);
    rig_settle(&a->rig);
    const uint64_t idle = pod_turn(a->rig.pod, a->rig.now_ns);
    assert_true(idle > a->rig.now_ns + 100 * 1000000ull);
    a->may_read = false;
    submit(a, &p, POD_READ, 0, BLOCK);
    steps(a, 50);
    assert_false(p.done);
    const uint64_t due = pod_turn(a->rig.pod, a->rig.now_ns);
    assert_true(due > a->rig.now_ns && due <= a->rig.now_ns + 10 * 1000000ull);
    member_write_noise(a, "v", BLOCK, BLOCK, 4); /* writes need no lease */
    a->may_read = true;
    steps(a, 50);
    assert_true(p.done && p.status == 0);
    uint8_t expected[BLOCK];
    member_noise(expected, BLOCK, 3);
    assert_memory_equal(p.buf, expected, BLOCK);
    pod_image_close(p.image);
    a->may_read = false;
    submit(a, &q, POD_READ, 0, BLOCK);
    steps(a, 5);
    member_abandon(a);
    assert_true(q.done && q.status == PS_EUNAVAILABLE);
    free(q.image);
}

/* ---- ends */

static void an_abandoned_pod_has_all_that_was_durable(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7);
    static struct pending p[6];
    static uint8_t found[64 * KIB];
    unsigned refused = 0;
    assert_int_equal(rig_create_volume(&a->rig, "v", 4 * MIB), 0);
    for (uint64_t i = 0; i < 8; i++)
        member_write_noise(a, "v", i * 128 * KIB, 128 * KIB, 1000 + i);
    /* Whatever is going on: writes, reads, a checkpoint, at every point of it. */
    for (unsigned at = 0; at < 40; at++) {
        checkpoint_want(a->rig.pod);
        for (unsigned i = 0; i < 6; i++) {
            member_noise(p[i].buf, sizeof p[i].buf, at * 10 + i);
            submit(a, &p[i], i < 4 ? POD_WRITE : POD_READ, (at * 6 + i) % 60 * 64 * KIB, 64 * KIB);
        }
        steps(a, at);
        const uint64_t durable = a->durable.seq;
        member_abandon(a);
        for (unsigned i = 0; i < 6; i++) {
            assert_true(p[i].done);
            assert_true(p[i].status == 0 || p[i].status == PS_EUNAVAILABLE ||
                        (i < 4 && p[i].status == PS_ENOTPRIMARY));
            free(p[i].image);
        }
        g->hold_ship = true; /* the follower keeps what it has */
        assert_int_equal(member_open(a), 0);
        assert_true(a->durable.seq >= durable);
        const uint64_t end = a->durable.seq;
        group_lead(g, a);
        assert_int_equal(applied_of(a), end);
        g->hold_ship = false;
        /* Batches that were durable and not told of are new to the history: the follower gets them by
         * reading. */
        g->members[1].away = true;
        member_catch_up(&g->members[1], true);
        g->members[1].away = false;
        group_check(g);
        /* What was refused was not done. */
        for (unsigned i = 0; i < 4; i++) {
            if (p[i].status != PS_ENOTPRIMARY)
                continue;
            refused++;
            assert_int_equal(rig_read(&a->rig, "v", p[i].io.offset, found, sizeof found), 0);
            assert_memory_not_equal(found, p[i].buf, sizeof found);
        }
    }
    assert_true(refused > 0);
}

static void a_closed_member_opens_without_anything_to_replay(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7), *b = &g->members[1];
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    member_write_noise(a, "v", 0, 64 * KIB, 1);
    group_settle(g);
    g->hold_commit = true;
    static struct pending p;
    member_noise(p.buf, BLOCK, 1);
    submit(a, &p, POD_WRITE, 0, BLOCK);
    steps(a, 100);
    const struct log_id end = b->durable;
    assert_int_equal(end.seq, applied_of(b) + 1);
    rig_close(&b->rig); /* with an uncommitted end, which stays */
    assert_int_equal(member_open(b), 0);
    assert_true(log_id_equal(&b->durable, &end));
    g->hold_commit = false;
    steps(a, 100);
    assert_true(p.done);
    pod_image_close(p.image);
    group_check(g);
}

/* ---- replication's own state */

static void on_status(void *user, int status)
{
    *(int *)user = status;
}

static int write_state(struct member *m, const void *data, size_t bytes)
{
    int status = 1;
    assert_int_equal(pod_log_protocol_write(m->rig.pod, data, bytes, on_status, &status), 0);
    while (status == 1)
        if (!rig_step(&m->rig))
            return PS_EUNAVAILABLE;
    return status;
}

static void the_protocols_state_is_kept_through_checkpoints_and_restarts(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 1, DEVICE, 7);
    uint8_t data[POD_LOG_PROTOCOL_MAX];
    const void *kept;
    assert_int_equal(pod_log_protocol(a->rig.pod, &kept), 0);
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    for (unsigned i = 1; i <= 300; i++) { /* around the ring of anchors, some while a checkpoint goes on */
        const size_t bytes = i * 37 % (sizeof data + 1);
        memset(data, (int)i, sizeof data);
        if (i % 3 == 0) {
            member_write_noise(a, "v", i % 64 * BLOCK, BLOCK, i);
            checkpoint_want(a->rig.pod);
            steps(a, i % 11);
        }
        assert_int_equal(write_state(a, data, bytes), 0);
        if (i % 7 == 0)
            rig_settle(&a->rig);
        if (i % 50 == 0) {
            member_crash(a, BLKDEV_MEM_LOSE);
            assert_int_equal(member_open(a), 0);
            group_lead(g, a);
        }
        assert_int_equal(pod_log_protocol(a->rig.pod, &kept), bytes);
        assert_memory_equal(kept, data, bytes);
    }
}

static void identities_are_told_and_adopted(void **state)
{
    struct group *g = *state;
    group_create(g, 2, DEVICE, 9);
    struct member *a = &g->members[0], *b = &g->members[1];
    memset(b->rig.config.pod_id, 0x77, 16);
    assert_int_equal(member_open(a), 0);
    assert_int_equal(member_open(b), 0);
    struct pod_log_identity ia, ib;
    pod_log_identity(a->rig.pod, &ia);
    pod_log_identity(b->rig.pod, &ib);
    assert_memory_equal(ia.pod, a->rig.config.pod_id, 16);
    assert_memory_not_equal(ia.pod, ib.pod, 16);
    assert_memory_not_equal(ia.store, ib.store, 16);
    assert_int_equal(write_state(b, "state", 5), 0);
    int status = 1;
    assert_int_equal(pod_log_adopt(b->rig.pod, ia.pod, on_status, &status), 0);
    while (status == 1)
        assert_true(rig_step(&b->rig));
    assert_int_equal(status, 0);
    group_lead(g, a);
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    group_check(g);
    member_crash(b, BLKDEV_MEM_LOSE);
    const uint64_t run = ib.run;
    assert_int_equal(member_open(b), 0);
    pod_log_identity(b->rig.pod, &ib);
    assert_memory_equal(ia.pod, ib.pod, 16);
    assert_int_equal(ib.run, run + 1);
    const void *kept;
    assert_int_equal(pod_log_protocol(b->rig.pod, &kept), 5);
    group_check(g);
    assert_int_equal(pod_log_adopt(b->rig.pod, ia.store, on_status, &status), PS_EPRECONDITION);
}

/* ---- space */

static void writes_are_admitted_by_the_least_free_space(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 1, DEVICE, 7);
    static uint8_t buf[BLOCK] = {1};
    assert_int_equal(rig_create_volume(&a->rig, "v", MIB), 0);
    pod_log_limit_free(a->rig.pod, 0);
    assert_int_equal(rig_write(&a->rig, "v", 0, buf, BLOCK), PS_EFULL);
    assert_int_equal(rig_range(&a->rig, POD_TRIM, "v", 0, BLOCK), 0);
    pod_log_limit_free(a->rig.pod, 1);
    assert_int_equal(rig_write(&a->rig, "v", 0, buf, BLOCK), 0);
    pod_log_limit_free(a->rig.pod, UINT64_MAX);
    assert_int_equal(rig_write(&a->rig, "v", 0, buf, BLOCK), 0);
}

/* Batches of `bytes` and of what comes of them, until a small follower is full. */
static void fill_follower(struct group *g, uint64_t bytes, uint64_t seed)
{
    group_create(g, 2, DEVICE, seed);
    struct member *a = &g->members[0], *b = &g->members[1];
    assert_int_equal(member_open(a), 0);
    rig_destroy(&b->rig);
    struct pod_config config = b->rig.config;
    rig_create(&b->rig, 40 * MIB, 5);
    b->rig.config = config;
    assert_int_equal(member_open(b), 0);
    group_lead(g, a);
    b->away = true;
    assert_int_equal(rig_create_volume(&a->rig, "v", 64 * MIB), 0);
    for (uint64_t at = 0; at + bytes <= 40 * MIB; at += bytes)
        member_write_noise(a, "v", at, bytes, at + seed);
    pod_log_commit(b->rig.pod, UINT64_MAX);
    int rc = 0;
    uint64_t seq = 0;
    while (!rc && seq < g->log.end) {
        seq++;
        rc = member_append(b, g->log.at[seq].data, g->log.at[seq].bytes);
    }
    assert_int_equal(rc, PS_EFULL);
    /* What it has stays, and it opens again and again. */
    member_wait_applied(b, b->rig.pod->sealed_seq);
    rig_check(&b->rig);
    const struct log_id end = b->durable;
    assert_int_equal(end.seq, seq - 1);
    for (int again = 0; again < 3; again++) {
        member_crash(b, BLKDEV_MEM_LOSE);
        assert_int_equal(member_open(b), 0);
        assert_true(log_id_equal(&b->durable, &end));
        rig_check(&b->rig);
    }
    /* A delete still gets through. */
    member_abandon(a);
    b->away = false;
    group_lead(g, b);
    assert_int_equal(rig_named(&b->rig, POD_VOLUME_DELETE, "v", NULL, 0), 0);
    rig_settle(&b->rig);
    rig_check(&b->rig);
    assert_int_equal(rig_create_volume(&b->rig, "w", MIB), 0);
    member_write_noise(b, "w", 0, 256 * KIB, 1);
    g->leader = NULL;
    group_destroy(g);
}

static void a_follower_without_room_says_so(void **state)
{
    struct group *g = *state;
    const uint64_t sizes[] = {128 * KIB, MIB, 300 * KIB, 20 * KIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        fill_follower(g, sizes[i], i + 4);
    group_create(g, 0, DEVICE, 1); /* for the teardown */
}

/* ---- snapshots of all volumes */

static void a_snapshot_of_the_pod_is_one_instant_of_all_its_volumes_on_each_member(void **state)
{
    struct group *g = *state;
    struct member *a = group_start(g, 2, DEVICE, 7);
    char name[16];
    assert_int_equal(rig_named(&a->rig, POD_SNAPSHOT_ALL, "s", NULL, 0), PS_ENOTFOUND);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "v%d", i);
        assert_int_equal(rig_create_volume(&a->rig, name, MIB), 0);
        member_write_noise(a, name, 0, 64 * KIB, (uint64_t)i + 1);
    }
    const uint64_t before = applied_of(a);
    assert_int_equal(rig_named(&a->rig, POD_SNAPSHOT_ALL, "s", NULL, 0), 0);
    assert_int_equal(applied_of(a), before + 1);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "v%d", i);
        member_write_noise(a, name, 0, 64 * KIB, 100);
        snprintf(name, sizeof name, "v%d@s", i);
        assert_noise(a, name, 0, 64 * KIB, (uint64_t)i + 1);
    }
    group_check(g);
    /* All or none. */
    assert_int_equal(rig_named(&a->rig, POD_SNAPSHOT_CREATE, "v2@t", NULL, 0), 0);
    assert_int_equal(rig_named(&a->rig, POD_SNAPSHOT_ALL, "t", NULL, 0), PS_EEXISTS);
    struct pod_image_info info;
    assert_int_equal(pod_image_by_name(a->rig.pod, "v0@t", &info), PS_ENOTFOUND);
    for (int i = 3; i < 100; i++) {
        snprintf(name, sizeof name, "v%d", i);
        assert_int_equal(rig_create_volume(&a->rig, name, MIB), 0);
    }
    assert_int_equal(rig_named(&a->rig, POD_SNAPSHOT_ALL, "u", NULL, 0), PS_ELIMIT);
    assert_int_equal(pod_image_by_name(a->rig.pod, "v0@u", &info), PS_ENOTFOUND);
    for (int i = 80; i < 100; i++) {
        snprintf(name, sizeof name, "v%d", i);
        assert_int_equal(rig_named(&a->rig, POD_VOLUME_DELETE, name, NULL, 0), 0);
    }
    assert_int_equal(rig_named(&a->rig, POD_SNAPSHOT_ALL, "u", NULL, 0), 0);
    assert_int_equal(pod_image_by_name(a->rig.pod, "v79@u", &info), 0);
    group_check(g);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(followers_equal_the_leader_after_every_change),
        TEST(a_follower_tells_of_images_and_takes_no_requests),
        TEST(what_is_not_committed_is_neither_answered_nor_applied),
        TEST(what_was_said_ahead_commits_nothing_of_a_new_leader),
        TEST(a_batch_that_does_not_follow_is_refused),
        TEST(appends_beyond_what_is_committed_are_bounded),
        TEST(a_follower_loads_the_pages_that_a_batch_needs),
        TEST(a_follower_takes_over_and_the_old_leader_follows),
        TEST(a_leader_that_rests_yields_and_follows_at_once),
        TEST(use_is_counted_beyond_the_end_of_a_role),
        TEST(a_leader_does_not_yield_while_anything_is_planned),
        TEST(a_leader_whose_log_can_not_be_followed_does_not_yield),
        TEST(a_lost_range_is_not_given_out_even_when_nothing_of_it_was_committed),
        TEST(a_leader_that_was_restarted_gives_none_of_its_lost_ids_again),
        TEST(what_was_truncated_stays_away_and_what_was_kept_stays),
        TEST(a_dropped_batch_that_lies_behind_the_end_is_not_taken),
        TEST(a_torn_end_is_dropped),
        TEST(what_comes_while_flash_is_busy_is_written_at_once),
        TEST(hosts_that_are_slowed_wait_for_their_part_of_the_time),
        TEST(reads_wait_until_they_may),
        TEST(an_abandoned_pod_has_all_that_was_durable),
        TEST(a_closed_member_opens_without_anything_to_replay),
        TEST(the_protocols_state_is_kept_through_checkpoints_and_restarts),
        TEST(identities_are_told_and_adopted),
        TEST(writes_are_admitted_by_the_least_free_space),
        TEST(a_follower_without_room_says_so),
        TEST(a_snapshot_of_the_pod_is_one_instant_of_all_its_volumes_on_each_member),
    };
    return cmocka_run_group_tests_name("pod_log", tests, NULL, NULL);
}
