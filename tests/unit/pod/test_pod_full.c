/* A pool without room: writes are refused, everything else goes on, and it recovers.
 *
 *   test_pod_full [SEED [ROUNDS]] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"
#include "tests/support/pod_rig.h"

enum {
    MIB = 1 << 20,
    KIB = 1 << 10,
    BLOCK = 4096,
    VOLUME = 64 * MIB,
    STEP = 64 * KIB
};

static uint64_t seed = 1, rounds = 25;

struct full {
    struct rig rig;
    uint8_t *data; /* what the volume holds */
};

static int setup(void **state)
{
    struct full *f = calloc(1, sizeof *f);
    f->data = calloc(1, VOLUME);
    rig_create(&f->rig, 64 * MIB, seed);
    assert_int_equal(rig_open(&f->rig), 0);
    assert_int_equal(rig_create_volume(&f->rig, "v", VOLUME), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct full *f = *state;
    if (f->rig.pod)
        rig_close(&f->rig);
    rig_destroy(&f->rig);
    free(f->data);
    free(f);
    return 0;
}

static int write_noise(struct full *f, uint64_t at)
{
    uint8_t buf[STEP];
    prng_fill(&f->rig.prng, buf, sizeof buf);
    const int rc = rig_write(&f->rig, "v", at, buf, sizeof buf);
    if (rc == 0)
        memcpy(f->data + at, buf, sizeof buf);
    return rc;
}

/* From `at` on until it is refused; returns where. */
static uint64_t write_until_full(struct full *f, uint64_t at)
{
    for (; at < VOLUME; at += STEP) {
        const int rc = write_noise(f, at);
        if (rc) {
            assert_int_equal(rc, PS_EFULL);
            return at;
        }
    }
    fail_msg("a pool of the volume's size took all of it");
    return 0;
}

static void discard(struct full *f, uint64_t at, uint64_t length)
{
    assert_int_equal(rig_range(&f->rig, POD_TRIM, "v", at, length), 0);
    memset(f->data + at, 0, length);
}

static void compare(struct full *f)
{
    static uint8_t back[MIB];
    for (uint64_t at = 0; at < VOLUME; at += sizeof back) {
        assert_int_equal(rig_read(&f->rig, "v", at, back, sizeof back), 0);
        for (uint64_t i = 0; i < sizeof back; i += BLOCK)
            if (memcmp(back + i, f->data + at + i, BLOCK) != 0)
                fail_msg("the block at %llu differs", (unsigned long long)(at + i));
    }
}

static void reopen(struct full *f, bool orderly)
{
    if (orderly)
        rig_close(&f->rig);
    else
        rig_crash(&f->rig, BLKDEV_MEM_LOSE);
    const int rc = rig_open(&f->rig);
    if (rc)
        fail_msg("a full pool does not open: %s: %s", ps_status_name(rc), f->rig.error.detail);
}

static void writes_are_refused_and_trims_make_room(void **state)
{
    struct full *f = *state;
    const uint64_t end = write_until_full(f, 0);
    assert_true(end > 20 * MIB);
    compare(f);
    assert_int_equal(write_noise(f, 0), PS_EFULL);
    discard(f, 0, end / 2);
    rig_settle(&f->rig);
    assert_int_equal(write_noise(f, 0), 0);
    compare(f);
    rig_check(&f->rig);
}

/* No segment is wholly dead, half of each is. */
static void garbage_that_is_spread_makes_room_too(void **state)
{
    struct full *f = *state;
    const uint64_t end = write_until_full(f, 0);
    for (uint64_t at = 0; at < end; at += 2 * BLOCK)
        discard(f, at, BLOCK);
    rig_settle(&f->rig);
    const uint64_t more = write_until_full(f, end) - end;
    assert_true(more > end / 3);
    compare(f);
    rig_check(&f->rig);
    reopen(f, false);
    compare(f);
    rig_check(&f->rig);
}

static void a_pool_that_is_merely_full_is_not_moved_about(void **state)
{
    struct full *f = *state;
    struct pod_stats before, after;
    (void)write_until_full(f, 0);
    for (int i = 0; i < 50; i++)
        assert_int_equal(write_noise(f, 0), PS_EFULL);
    pod_stats(f->rig.pod, &before);
    for (int i = 0; i < 500; i++)
        assert_int_equal(write_noise(f, (uint64_t)i * STEP % VOLUME), PS_EFULL);
    for (int i = 0; i < 2000; i++)
        (void)rig_step(&f->rig);
    pod_stats(f->rig.pod, &after);
    assert_int_equal(after.flash_written_moved, before.flash_written_moved);
    compare(f);
}

static void deleting_makes_room(void **state)
{
    struct full *f = *state;
    const uint64_t end = write_until_full(f, 0);
    assert_int_equal(rig_named(&f->rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
    assert_int_equal(rig_range(&f->rig, POD_TRIM, "v", 0, VOLUME), 0);
    assert_int_equal(write_noise(f, 0), PS_EFULL);
    assert_int_equal(rig_named(&f->rig, POD_SNAPSHOT_DELETE, "v@s", NULL, 0), 0);
    memset(f->data, 0, VOLUME);
    /* What is to come is waited for. */
    assert_int_equal(write_noise(f, 0), 0);
    assert_true(write_until_full(f, 0) > end / 2);
    compare(f);
    rig_check(&f->rig);
}

static void a_full_pool_restarts_any_number_of_times(void **state)
{
    struct full *f = *state;
    (void)write_until_full(f, 0);
    for (int i = 0; i < 80; i++)
        reopen(f, i % 3 == 0);
    compare(f);
    discard(f, 0, 16 * MIB);
    rig_settle(&f->rig);
    assert_int_equal(write_noise(f, 0), 0);
    for (int i = 0; i < 20; i++) {
        reopen(f, i % 3 == 0);
        discard(f, 20 * MIB + (uint64_t)i * BLOCK, BLOCK);
    }
    compare(f);
    rig_check(&f->rig);
}

/* An almost empty pool must not be worn down by restarts either. */
static void restarts_do_not_use_up_a_pool(void **state)
{
    struct full *f = *state;
    struct pod_stats before, after;
    assert_int_equal(write_noise(f, 0), 0);
    pod_stats(f->rig.pod, &before);
    for (int i = 0; i < 300; i++)
        reopen(f, i % 2);
    pod_stats(f->rig.pod, &after);
    assert_true(after.free_bytes + 16 * MIB > before.free_bytes);
    compare(f);
}

/* At the limit all the time: little is discarded, what becomes free is written again, the power fails. */
static void what_was_acknowledged_at_the_limit_survives(void **state)
{
    struct full *f = *state;
    struct prng *p = &f->rig.prng;
    uint64_t end = write_until_full(f, 0);
    for (uint64_t round = 0; round < rounds; round++) {
        const uint64_t n = 1 + prng_below(p, 400);
        for (uint64_t i = 0; i < n; i++)
            discard(f, prng_below(p, end / BLOCK) * BLOCK, BLOCK);
        if (prng_chance(p, 1, 2))
            for (uint64_t i = 0; i < 40; i++)
                discard(f, prng_below(p, end / STEP) * STEP, STEP);
        for (int i = 0; i < 100 && write_noise(f, prng_below(p, VOLUME / STEP) * STEP) == 0; i++)
            end = VOLUME;
        if (prng_chance(p, 1, 2)) {
            reopen(f, false);
            compare(f);
        }
    }
    compare(f);
    rig_check(&f->rig);
    discard(f, 0, VOLUME);
    rig_settle(&f->rig);
    assert_true(write_until_full(f, 0) > 20 * MIB);
    rig_check(&f->rig);
}

static void on_burst(struct pod_io *io, int status)
{
    assert_int_equal(status, 0);
    ++*(unsigned *)io->user;
}

/* Six large writes that become one batch. */
static void burst(struct full *f, uint64_t at)
{
    enum {
        N = 6,
        LENGTH = 128 * KIB
    };
    struct pod_image *image;
    struct pod_io ios[N];
    unsigned done = 0;
    assert_int_equal(pod_image_open(f->rig.pod, "v", &image, NULL), 0);
    for (unsigned i = 0; i < N; i++, at += LENGTH) {
        prng_fill(&f->rig.prng, f->data + at, LENGTH);
        ios[i] = (struct pod_io){.op = POD_WRITE,
                                 .image = image,
                                 .offset = at,
                                 .length = LENGTH,
                                 .buf = f->data + at,
                                 .user = &done};
        assert_int_equal(pod_submit(f->rig.pod, &ios[i], on_burst), 0);
    }
    for (int n = 0; done < N; n++) {
        assert_true(rig_step(&f->rig));
        assert_true(n < 100000);
    }
    pod_image_close(image);
}

/* A batch names the segment in which the log goes on. There is none when it is sealed, and one when the next
 * does not fit any more. */
static void the_log_goes_on_in_a_segment_that_came_late(void **state)
{
    struct full *f = *state;
    struct pod *pod = f->rig.pod;
    uint32_t taken[64], n = 0;
    uint64_t at = 0;
    pod->reserve_segments = 0;
    while (segments_free(pod->segments) > CHECKPOINT_SEGMENTS)
        taken[n++] = segments_take(pod->segments, SEGMENT_META);
    for (; pod->tail.next != SEGMENT_NONE || pod->tail.offset + 5 * STEP < MIB; at += STEP)
        assert_int_equal(write_noise(f, at), 0);
    burst(f, at);
    at += 6 * 128 * KIB;
    assert_true(pod->tail.next == SEGMENT_NONE);
    while (n > 0)
        segments_untake(pod->segments, taken[--n]);
    burst(f, at);
    at += 6 * 128 * KIB;
    burst(f, at);
    reopen(f, false);
    compare(f);
    rig_check(&f->rig);
}

static void write_patterns(struct full *f, uint64_t at, uint64_t length)
{
    static uint8_t buf[MIB];
    for (const uint64_t end = at + length; at < end; at += sizeof buf) {
        for (unsigned i = 0; i < sizeof buf; i += BLOCK)
            for (unsigned word = 0; word < BLOCK; word += 4)
                memcpy(buf + i + word, &(uint32_t){1 + (uint32_t)(at + i) / BLOCK}, 4);
        assert_int_equal(rig_write(&f->rig, "v", at, buf, sizeof buf), 0);
        memcpy(f->data + at, buf, sizeof buf);
    }
}

static void until_merges_are_read(struct full *f)
{
    write_patterns(f, 0, 32 * MIB);
    checkpoint_want(f->rig.pod);
    while (f->rig.pod->checkpoint.state != CHECKPOINT_LOADING)
        assert_true(rig_step(&f->rig));
}

/* What it is to merge is picked in steps, and read; hosts and collection take segments meanwhile. */
static void a_checkpoint_merges_what_there_is_room_for_when_it_is_cut(void **state)
{
    struct full *f = *state;
    struct pod *pod = f->rig.pod;
    const struct checkpoint *cp = &pod->checkpoint;
    until_merges_are_read(f);
    const uint64_t before = pod->stats.checkpoints;
    assert_true(cp->merge_count > 8);
    f->rig.leave_segments = 1; /* the run's */
    while (pod->stats.checkpoints == before)
        assert_true(rig_step(&f->rig));
    assert_int_equal(cp->merge_count, 0);
    f->rig.leave_segments = 1000;
    reopen(f, false);
    compare(f);
    rig_check(&f->rig);
}

static void a_checkpoint_that_has_no_segment_any_more_ends(void **state)
{
    struct full *f = *state;
    struct pod *pod = f->rig.pod;
    until_merges_are_read(f);
    while (segments_free(pod->segments) > 0)
        (void)segments_take(pod->segments, SEGMENT_COLD);
    while (!pod->failed)
        assert_true(rig_step(&f->rig));
    assert_string_equal(pod->failure, "no segment is left for a checkpoint");
    reopen(f, false);
    compare(f);
}

static void overprovisioned_space_is_not_for_hosts(void **state)
{
    struct full *f = *state;
    struct pod_stats stats;
    const uint64_t segment = f->rig.pod->segment_bytes;
    f->rig.config.overprovision_percent = 50;
    reopen(f, false);
    const uint64_t taken = write_until_full(f, 0);
    pod_stats(f->rig.pod, &stats);
    assert_int_equal(stats.reserve_bytes, f->rig.pod->segment_count / 2 * segment);
    assert_true(taken > stats.capacity / 6 && taken < stats.capacity / 2);
    f->rig.config.overprovision_percent = 0;
    reopen(f, false);
    pod_stats(f->rig.pod, &stats);
    assert_int_equal(stats.reserve_bytes, 8 * segment);
    assert_true(write_until_full(f, taken) > taken + 4 * segment);
    compare(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(garbage_that_is_spread_makes_room_too),
        TEST(a_pool_that_is_merely_full_is_not_moved_about),
        TEST(writes_are_refused_and_trims_make_room),
        TEST(deleting_makes_room),
        TEST(a_full_pool_restarts_any_number_of_times),
        TEST(restarts_do_not_use_up_a_pool),
        TEST(the_log_goes_on_in_a_segment_that_came_late),
        TEST(a_checkpoint_merges_what_there_is_room_for_when_it_is_cut),
        TEST(a_checkpoint_that_has_no_segment_any_more_ends),
        TEST(what_was_acknowledged_at_the_limit_survives),
        TEST(overprovisioned_space_is_not_for_hosts),
    };
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 0);
    if (argc > 2)
        rounds = strtoull(argv[2], NULL, 0);
    if (getenv("PS_TEST_FILTER"))
        cmocka_set_test_filter(getenv("PS_TEST_FILTER"));
    return cmocka_run_group_tests_name("pod_full", tests, NULL, NULL);
}
