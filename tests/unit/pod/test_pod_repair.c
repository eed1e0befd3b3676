/* Records that flash has lost: the host waits for what another member has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/collect.h"
#include "node/pod/pod_impl.h"
#include "tests/support/log_rig.h"

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    DEVICE = 128 * MIB,
    RECORD = 32 * KIB, /* what a record's blocks hold */
    RECORDS = 40,
    MANY = 250, /* more than are read at once */
};

/* Two members; b leads, and its cache is cold. */
struct world {
    struct group g;
    struct member *a, *b;
    uint64_t wanted[MANY];
    unsigned wanted_count;
    struct pod_record_read read; /* at a */
    uint8_t buf[POD_RECORD_BYTES_MAX];
    int read_status;
};

static void on_repair(void *user, uint64_t group)
{
    struct member *m = user;
    struct world *w = container_of(m->group, struct world, g);
    assert_true(w->wanted_count < MANY);
    w->wanted[w->wanted_count++] = group;
}

static void noise(uint8_t *buf, uint64_t seed)
{
    struct prng p;
    prng_seed(&p, seed);
    prng_fill(&p, buf, RECORD);
    for (unsigned i = 0; seed % 2 && i < RECORD; i++) /* letters, which zstd alone compresses */
        buf[i] = (uint8_t)('a' + buf[i] % 16);
}

static int setup(void **state)
{
    struct world *w = *state = calloc(1, sizeof(struct world));
    static uint8_t data[RECORD];
    group_create(&w->g, 2, DEVICE, 11);
    w->a = &w->g.members[0];
    w->b = &w->g.members[1];
    w->a->events.repair = w->b->events.repair = on_repair;
    for (int i = 0; i < 2; i++)
        assert_int_equal(member_open(&w->g.members[i]), 0);
    group_lead(&w->g, w->a);
    assert_int_equal(rig_create_volume(&w->a->rig, "v", RECORDS * RECORD), 0);
    for (uint64_t i = 0; i < RECORDS; i++) {
        noise(data, i);
        assert_int_equal(rig_write(&w->a->rig, "v", i * RECORD, data, RECORD), 0);
    }
    group_settle(&w->g);
    pod_hold(w->a->rig.pod, true);
    assert_true(pod_yield(w->a->rig.pod));
    w->a->rig.beside = NULL;
    group_lead(&w->g, w->b);
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    group_destroy(&w->g);
    free(w);
    return 0;
}

/* The i-th one that was written. */
static uint64_t group_of(const struct world *w, uint64_t i)
{
    return w->b->rig.pod->log_next.group - RECORDS + i;
}

static void damage(struct member *m, uint64_t group)
{
    uint64_t value = 0;
    uint8_t byte;
    assert_true(meta_get(m->rig.pod->meta, l2p_key(group), &value));
    const uint64_t at = place_addr(l2p_place(value)) + 500;
    blkdev_mem_peek(m->rig.mem, at, &byte, 1, false);
    byte ^= 4;
    blkdev_mem_poke(m->rig.mem, at, &byte, 1);
    m->rig.rotted = true;
}

struct reading {
    struct pod_io io;
    struct pod_image *image;
    uint8_t data[RECORD];
    bool done;
    int status;
};

static void on_read(struct pod_io *io, int status)
{
    struct reading *r = io->user;
    r->done = true;
    r->status = status;
}

/* Of the i-th record: a host's. */
static void begin_read(struct world *w, struct reading *r, uint64_t i)
{
    r->done = false;
    assert_int_equal(pod_image_open(w->b->rig.pod, "v", &r->image, NULL), 0);
    r->io = (struct pod_io){
        .op = POD_READ, .image = r->image, .offset = i * RECORD, .length = RECORD, .buf = r->data, .user = r};
    assert_int_equal(pod_submit(w->b->rig.pod, &r->io, on_read), 0);
}

static void steps(struct member *m, unsigned n)
{
    while (n--)
        (void)rig_step(&m->rig);
}

static void assert_is(const struct reading *r, uint64_t i)
{
    static uint8_t data[RECORD];
    noise(data, i);
    assert_true(r->done);
    assert_int_equal(r->status, 0);
    assert_memory_equal(r->data, data, RECORD);
    pod_image_close(r->image);
}

static void on_record(struct pod_record_read *read, int status)
{
    ((struct world *)read->user)->read_status = status;
}

/* At a, for b. */
static int fetch_record_of_a(struct world *w, uint64_t group)
{
    w->read = (struct pod_record_read){.group = group, .buf = w->buf, .cb = on_record, .user = w};
    w->read_status = -1;
    assert_int_equal(pod_record_read(w->a->rig.pod, &w->read), 0);
    for (int i = 0; w->read_status == -1; i++) {
        steps(w->a, 1);
        assert_true(i < 1000);
    }
    return w->read_status;
}

static void a_damaged_record_is_served_with_another_member_s(void **state)
{
    struct world *w = *state;
    static struct reading r, again;
    struct pod_stats stats;
    const uint64_t group = group_of(w, 3);
    damage(w->b, group);
    begin_read(w, &r, 3);
    steps(w->b, 100);
    assert_int_equal(w->wanted_count, 1);
    assert_int_equal(w->wanted[0], group);
    begin_read(w, &again, 3); /* waits for the same */
    steps(w->b, 100);
    assert_int_equal(w->wanted_count, 1);
    assert_true(!r.done && !again.done);
    assert_int_equal(fetch_record_of_a(w, group), 0);
    assert_int_equal(pod_record_repair(w->b->rig.pod, group, w->buf, w->read.bytes, 0), 0);
    steps(w->b, 5);
    assert_is(&r, 3);
    assert_is(&again, 3);
    pod_stats(w->b->rig.pod, &stats);
    assert_int_equal(stats.repaired_reads, 1);
    /* A late or second answer is nobody's. */
    assert_int_equal(pod_record_repair(w->b->rig.pod, group, w->buf, w->read.bytes, 0), 0);
    assert_int_equal(pod_record_repair(w->b->rig.pod, 12345678, NULL, 0, PS_EDATALOSS), 0);
}

/* A member that has compressed it anew, since it is cold there. */
static void another_encoding_of_it_is_as_good(void **state)
{
    struct world *w = *state;
    static struct reading r, again;
    static uint8_t work[RECORD], denser[POD_RECORD_BYTES_MAX];
    const uint64_t group = group_of(w, 3);
    damage(w->b, group);
    begin_read(w, &r, 3);
    steps(w->b, 100);
    assert_int_equal(fetch_record_of_a(w, group), 0);
    const size_t bytes = record_denser(w->a->rig.pod->codec, w->buf, w->read.bytes, work, denser);
    assert_in_range(bytes, 1, w->read.bytes / 2 + 1024);
    assert_int_equal(pod_record_repair(w->b->rig.pod, group, denser, (uint32_t)bytes, 0), 0);
    steps(w->b, 200);
    assert_is(&r, 3);
    group_settle(&w->g);
    /* It was written anew as it came, and is what a start finds. */
    assert_int_equal(w->b->rig.pod->collect->patch_count, 0);
    uint64_t value = 0;
    assert_true(meta_get(w->b->rig.pod->meta, l2p_key(group), &value));
    assert_int_equal(place_len(l2p_place(value)), bytes);
    block_cache_drop(w->b->rig.pod->cache, record_block_id(group, 0));
    begin_read(w, &again, 3);
    steps(w->b, 100);
    assert_is(&again, 3);
    group_check(&w->g);
}

static void what_comes_is_verified(void **state)
{
    struct world *w = *state;
    static struct reading r;
    const uint64_t group = group_of(w, 3);
    damage(w->b, group);
    begin_read(w, &r, 3);
    steps(w->b, 100);
    assert_int_equal(fetch_record_of_a(w, group_of(w, 4)), 0);
    assert_int_equal(pod_record_repair(w->b->rig.pod, group, w->buf, w->read.bytes, 0), PS_EDAMAGED);
    assert_int_equal(fetch_record_of_a(w, group), 0);
    w->buf[700] ^= 1;
    assert_int_equal(pod_record_repair(w->b->rig.pod, group, w->buf, w->read.bytes, 0), PS_EDAMAGED);
    assert_int_equal(pod_record_repair(w->b->rig.pod, group, w->buf, sizeof w->buf + 1, 0), PS_EDAMAGED);
    assert_int_equal(pod_record_repair(w->b->rig.pod, group, w->buf, 10, 0), PS_EDAMAGED);
    steps(w->b, 5);
    assert_false(r.done); /* somebody else may be asked */
    w->buf[700] ^= 1;
    assert_int_equal(pod_record_repair(w->b->rig.pod, group, w->buf, w->read.bytes, 0), 0);
    steps(w->b, 5);
    assert_is(&r, 3);
}

static void what_nobody_has_is_lost(void **state)
{
    struct world *w = *state;
    static struct reading r;
    const uint64_t group = group_of(w, 3);
    damage(w->a, group);
    damage(w->b, group);
    begin_read(w, &r, 3);
    steps(w->b, 100);
    assert_int_equal(fetch_record_of_a(w, group), PS_EDATALOSS);
    assert_int_equal(w->wanted_count, 1); /* who is asked asks nobody */
    assert_int_equal(pod_record_repair(w->b->rig.pod, group, NULL, 0, PS_EDATALOSS), 0);
    steps(w->b, 5);
    assert_true(r.done);
    assert_int_equal(r.status, PS_EDATALOSS);
    pod_image_close(r.image);
    assert_int_equal(fetch_record_of_a(w, group_of(w, RECORDS) + 5), PS_ENOTFOUND);
}

/* b waits for a's answer: a, which asks for the same, is not made to wait for b's. */
static void who_asks_does_not_wait_for_who_asks_it(void **state)
{
    struct world *w = *state;
    static struct reading r;
    const uint64_t group = group_of(w, 3);
    damage(w->b, group);
    begin_read(w, &r, 3);
    steps(w->b, 100);
    w->read = (struct pod_record_read){.group = group, .buf = w->buf, .cb = on_record, .user = w};
    w->read_status = -1;
    assert_int_equal(pod_record_read(w->b->rig.pod, &w->read), 0);
    steps(w->b, 5);
    assert_int_equal(w->read_status, PS_EDATALOSS);
    assert_false(r.done);
    assert_int_equal(pod_record_repair(w->b->rig.pod, group, NULL, 0, PS_EUNAVAILABLE), 0);
    steps(w->b, 5);
    assert_int_equal(r.status, PS_EDATALOSS);
    pod_image_close(r.image);
}

static void no_more_are_asked_for_at_once_than_is_said(void **state)
{
    struct world *w = *state;
    static struct reading r[RECORDS];
    for (uint64_t i = 0; i < RECORDS; i++) {
        damage(w->b, group_of(w, i));
        begin_read(w, &r[i], i);
    }
    steps(w->b, 500);
    assert_int_equal(w->wanted_count, POD_REPAIRS_MAX);
    for (unsigned i = 0; i < RECORDS; i++) {
        assert_true(w->wanted_count > i);
        assert_int_equal(fetch_record_of_a(w, w->wanted[i]), 0);
        assert_int_equal(pod_record_repair(w->b->rig.pod, w->wanted[i], w->buf, w->read.bytes, 0), 0);
        steps(w->b, 5);
    }
    for (uint64_t i = 0; i < RECORDS; i++)
        assert_is(&r[i], i);
}

/* Nobody answers any more: the pod ends all the same. */
static void a_pod_that_ends_waits_for_no_answer(void **state)
{
    struct world *w = *state;
    static struct reading r;
    damage(w->b, group_of(w, 3));
    begin_read(w, &r, 3);
    steps(w->b, 100);
    assert_int_equal(w->wanted_count, 1);
    member_abandon(w->b);
    assert_true(r.done);
    assert_int_equal(r.status, PS_EUNAVAILABLE);
    free(r.image);
}

/* A read error of the device is repaired like damage, once. */
static void a_device_that_does_not_read_is_no_loss_either(void **state)
{
    struct world *w = *state;
    static struct reading r;
    begin_read(w, &r, 7);
    for (int i = 0; i < 100 && blkdev_mem_pending(w->b->rig.mem) == 0; i++)
        (void)pod_turn(w->b->rig.pod, w->b->rig.now_ns);
    while (blkdev_mem_pending(w->b->rig.mem))
        assert_true(blkdev_mem_fail_at(w->b->rig.mem, 0, PS_EIO));
    steps(w->b, 20);
    assert_int_equal(w->wanted_count, 1);
    assert_int_equal(fetch_record_of_a(w, w->wanted[0]), 0);
    assert_int_equal(pod_record_repair(w->b->rig.pod, w->wanted[0], w->buf, w->read.bytes, 0), 0);
    steps(w->b, 5);
    assert_is(&r, 7);
}

/* All of the log is behind a checkpoint: what is damaged now is no part of it any more. */
static void settle_checkpoint(struct world *w, struct member *m)
{
    group_settle(&w->g);
    checkpoint_want(m->rig.pod);
    for (int i = 0; m->rig.pod->checkpoint.wanted || checkpoint_busy(m->rig.pod); i++) {
        (void)rig_step(&m->rig);
        assert_true(i < 10000);
    }
}

static struct place place_of(const struct member *m, uint64_t group)
{
    uint64_t value = 0;
    assert_true(meta_get(m->rig.pod->meta, l2p_key(group), &value));
    return l2p_place(value);
}

/* After a start it is in no cache: what flash has is read. */
static void open_again(struct world *w, struct member *m)
{
    settle_checkpoint(w, m);
    member_abandon(m);
    assert_int_equal(member_open(m), 0);
    group_lead(&w->g, m);
    w->wanted_count = 0;
}

static void what_was_repaired_is_written_anew(void **state)
{
    struct world *w = *state;
    static struct reading r;
    const uint64_t group = group_of(w, 3);
    const struct place before = place_of(w->b, group);
    settle_checkpoint(w, w->b);
    damage(w->b, group);
    begin_read(w, &r, 3);
    steps(w->b, 100);
    assert_int_equal(fetch_record_of_a(w, group), 0);
    assert_int_equal(pod_record_repair(w->b->rig.pod, group, w->buf, w->read.bytes, 0), 0);
    steps(w->b, 100);
    assert_is(&r, 3);
    const struct place after = place_of(w->b, group);
    assert_true(after.v != before.v);
    assert_int_equal(segments_state(w->b->rig.pod->segments, place_segment(w->b->rig.pod, after)),
                     SEGMENT_WARM);
    group_check(&w->g);
    assert_int_equal(rig_create_volume(&w->b->rig, "w", MIB), 0); /* there is no checkpoint of nothing */
    open_again(w, w->b);
    assert_int_equal(place_of(w->b, group).v, after.v);
    begin_read(w, &r, 3);
    steps(w->b, 100);
    assert_int_equal(w->wanted_count, 0);
    assert_is(&r, 3);
}

static void one_that_dies_meanwhile_is_not_written(void **state)
{
    struct world *w = *state;
    static struct reading r;
    static uint8_t data[RECORD];
    const uint64_t group = group_of(w, 3);
    damage(w->b, group);
    begin_read(w, &r, 3);
    steps(w->b, 100);
    assert_int_equal(fetch_record_of_a(w, group), 0);
    noise(data, 1000);
    assert_int_equal(rig_write(&w->b->rig, "v", 3 * RECORD, data, RECORD), 0);
    assert_int_equal(pod_record_repair(w->b->rig.pod, group, w->buf, w->read.bytes, 0), 0);
    steps(w->b, 100);
    assert_true(r.done && r.status == 0);
    pod_image_close(r.image);
    group_settle(&w->g);
    group_check(&w->g);
    assert_int_equal(rig_read(&w->b->rig, "v", 3 * RECORD, r.data, RECORD), 0);
    assert_memory_equal(r.data, data, RECORD);
}

/* Nobody reads it: collection, which has to move it, has it repaired. */
static void what_collection_can_not_move_is_repaired(void **state)
{
    struct world *w = *state;
    static uint8_t data[RECORD];
    const uint64_t group = group_of(w, 3);
    struct pod *pod = w->b->rig.pod;
    const uint32_t segment = place_segment(pod, place_of(w->b, group));
    assert_int_equal(rig_create_volume(&w->b->rig, "more", 32 * MIB), 0);
    for (uint64_t i = 0; segments_open(pod->segments, segment); i++) {
        noise(data, 2000 + i);
        assert_int_equal(rig_write(&w->b->rig, "more", i * RECORD, data, RECORD), 0);
    }
    settle_checkpoint(w, w->b);
    damage(w->b, group);
    assert_true(segments_last_seq(pod->segments, segment) <= pod->anchor.seq);
    victim_begin(&pod->collect->walk, segment);
    for (int i = 0; i < 2000 && w->wanted_count == 0; i++) {
        pod->collect->credit = MIB;
        (void)rig_step(&w->b->rig);
    }
    assert_int_equal(w->wanted_count, 1);
    assert_int_equal(w->wanted[0], group);
    assert_int_equal(fetch_record_of_a(w, group), 0);
    assert_int_equal(pod_record_repair(pod, group, w->buf, w->read.bytes, 0), 0);
    for (int i = 0; i < 2000 && pod->collect->walk.victim != SEGMENT_NONE; i++) {
        pod->collect->credit = MIB;
        (void)rig_step(&w->b->rig);
    }
    steps(w->b, 200);
    assert_int_equal(segments_live(pod->segments, segment), 0);
    group_settle(&w->g);
    group_check(&w->g);
}

/* Nobody reads them: a scrub has them repaired, and the next one finds nothing any more. */
static void what_a_scrub_finds_is_repaired(void **state)
{
    struct world *w = *state;
    static uint8_t data[RECORD];
    struct pod *pod = w->b->rig.pod;
    struct pod_scrub_info info;
    const uint32_t segment = place_segment(pod, place_of(w->b, group_of(w, 3)));
    uint64_t groups[3];
    for (unsigned i = 0; i < 3; i++)
        groups[i] = group_of(w, 3 + 5 * i);
    assert_int_equal(rig_create_volume(&w->b->rig, "more", 32 * MIB), 0);
    for (uint64_t i = 0; segments_open(pod->segments, segment); i++) {
        noise(data, 2000 + i);
        assert_int_equal(rig_write(&w->b->rig, "more", i * RECORD, data, RECORD), 0);
    }
    settle_checkpoint(w, w->b);
    for (unsigned i = 0; i < 3; i++)
        damage(w->b, groups[i]);
    unsigned answered = 0;
    for (uint64_t pass = 1; pass <= 2; pass++) {
        pod_scrub(pod);
        for (int i = 0; pod->scrub.passes < pass || answered < 3 || pod->repairing; i++) {
            w->b->rig.now_ns += 1000000;
            (void)rig_step(&w->b->rig);
            while (answered < w->wanted_count) {
                const uint64_t group = w->wanted[answered++];
                assert_int_equal(fetch_record_of_a(w, group), 0);
                assert_int_equal(pod_record_repair(pod, group, w->buf, w->read.bytes, 0), 0);
            }
            assert_true(i < 100000);
        }
        steps(w->b, 200);
        assert_int_equal(w->wanted_count, 3);
        pod_scrub_look(pod, &info);
        assert_int_equal(info.damaged, pass == 1 ? 3 : 0);
    }
    group_settle(&w->g);
    group_check(&w->g);
}

static unsigned losses;

static void on_event(void *user, const char *kind, uint64_t image, const char *text)
{
    (void)user;
    (void)image;
    (void)text;
    losses += strcmp(kind, "pod.data_loss") == 0;
}

/* Answers come late, and all at once: what is asked for is no more than what can be written then. */
static void a_scrub_has_all_repaired_that_it_finds(void **state)
{
    struct world *w = *state;
    static uint8_t data[RECORD];
    struct pod *pod = w->b->rig.pod;
    uint64_t groups[MANY];
    losses = 0;
    pod->config.event = on_event;
    assert_int_equal(rig_create_volume(&w->b->rig, "more", 32 * MIB), 0);
    for (uint64_t i = 0; i < MANY; i++) {
        noise(data, 2000 + i);
        assert_int_equal(rig_write(&w->b->rig, "more", i * RECORD, data, RECORD), 0);
    }
    settle_checkpoint(w, w->b);
    unsigned damaged = 0;
    for (unsigned i = 0; i < MANY; i++) {
        const uint64_t group = pod->log_next.group - MANY + i;
        if (!segments_open(pod->segments, place_segment(pod, place_of(w->b, group))))
            groups[damaged++] = group;
    }
    assert_true(damaged > 200);
    for (unsigned i = 0; i < damaged; i++)
        damage(w->b, groups[i]);
    struct pod_scrub_info info;
    unsigned answered = 0;
    for (uint64_t pass = 1; pass <= 2; pass++) {
        pod_scrub(pod);
        for (int i = 0; pod->scrub.passes < pass || answered < w->wanted_count || pod->repairing; i++) {
            w->b->rig.now_ns += 1000000;
            (void)rig_step(&w->b->rig);
            while (i % 100 == 99 && answered < w->wanted_count) {
                const uint64_t group = w->wanted[answered++];
                assert_int_equal(fetch_record_of_a(w, group), 0);
                assert_int_equal(pod_record_repair(pod, group, w->buf, w->read.bytes, 0), 0);
            }
            assert_true(i < 100000);
        }
        steps(w->b, 200);
        pod_scrub_look(pod, &info);
        assert_int_equal(info.damaged, pass == 1 ? damaged : 0);
        assert_int_equal(w->wanted_count, damaged);
    }
    assert_int_equal(losses, 0);
    group_settle(&w->g);
    group_check(&w->g);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_damaged_record_is_served_with_another_member_s),
        TEST(another_encoding_of_it_is_as_good),
        TEST(what_comes_is_verified),
        TEST(what_nobody_has_is_lost),
        TEST(who_asks_does_not_wait_for_who_asks_it),
        TEST(no_more_are_asked_for_at_once_than_is_said),
        TEST(a_pod_that_ends_waits_for_no_answer),
        TEST(a_device_that_does_not_read_is_no_loss_either),
        TEST(what_was_repaired_is_written_anew),
        TEST(one_that_dies_meanwhile_is_not_written),
        TEST(what_collection_can_not_move_is_repaired),
        TEST(what_a_scrub_finds_is_repaired),
        TEST(a_scrub_has_all_repaired_that_it_finds),
    };
    return cmocka_run_group_tests_name("pod_repair", tests, NULL, NULL);
}
