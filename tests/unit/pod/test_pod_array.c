/* A pod on six devices with two of parity, of which one or two give noise for all that they hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/collect.h"
#include "tests/support/pod_rig.h"
#include "tests/support/rig_array.h"

enum {
    MIB = 1 << 20,
    PIECE = 64 << 10,
    PARTS = 96,
    DEVICES = 6,
};

static void fill(uint8_t *buf, uint64_t seed)
{
    struct prng prng;
    prng_seed(&prng, seed);
    prng_fill(&prng, buf, PIECE);
}

/* Some of it in checkpoints and their runs, some in the log alone; anchors of several units. */
static void write_all(struct rig *rig)
{
    static uint8_t data[PIECE];
    assert_int_equal(rig_create_volume(rig, "v", 16 * MIB), 0);
    for (uint64_t i = 0; i < PARTS; i++) {
        fill(data, i);
        assert_int_equal(rig_write(rig, "v", i * PIECE, data, PIECE), 0);
        if (i % 10 == 9) {
            checkpoint_want(rig->pod);
            rig_settle(rig);
        }
    }
}

static void read_all(struct rig *rig)
{
    static uint8_t data[PIECE], back[PIECE];
    for (uint64_t i = 0; i < PARTS; i++) {
        fill(data, i);
        assert_int_equal(rig_read(rig, "v", i * PIECE, back, PIECE), 0);
        assert_memory_equal(data, back, PIECE);
    }
}

enum when {
    AFTER_A_CLOSE, /* label, anchors, runs, pages */
    AFTER_A_CUT,   /* the log, too */
    IN_A_CUT,      /* rows that are not settled are looked at after it */
    WHENS,
};

static char opened[256];
static unsigned stuck;

static void on_event(void *user, const char *kind, uint64_t image, const char *text)
{
    (void)user;
    (void)image;
    if (strcmp(kind, "pod.opened") == 0)
        (void)snprintf(opened, sizeof opened, "%s", text);
    stuck += strcmp(kind, "gc.stuck") == 0;
}

static void opens_with(uint32_t wrong, enum when when)
{
    static struct rig rig;
    memset(&rig, 0, sizeof rig);
    rig_create(&rig, 64 * MIB, 7);
    rig_array_keep_all(rig.several);
    rig.config.event = on_event;
    assert_int_equal(rig_open(&rig), 0);
    write_all(&rig);
    for (unsigned i = 0; i < DEVICES && when == IN_A_CUT; i++)
        if (wrong >> i & 1)
            rig_array_rot(rig.several, i, true);
    if (when == AFTER_A_CLOSE)
        rig_close(&rig);
    rig_crash(&rig, BLKDEV_MEM_LOSE); /* the array keeps begun rows in memory */
    for (unsigned i = 0; i < DEVICES && when != IN_A_CUT; i++)
        if (wrong >> i & 1)
            rig_array_rot(rig.several, i, false);
    const int rc = rig_open(&rig);
    if (rc)
        fail_msg("devices %#x are wrong (%d): %s", wrong, when, rig.error.detail);
    /* By the newest anchor, not one before it. */
    if (when == AFTER_A_CLOSE && !strstr(opened, ", 0 batches"))
        fail_msg("devices %#x are wrong: %s", wrong, opened);
    read_all(&rig);
    rig_check(&rig);
    rig_close(&rig);
    rig_destroy(&rig);
}

static void a_pool_opens_whichever_device_gives_noise(void **state)
{
    (void)state;
    for (unsigned when = 0; when < WHENS; when++)
        for (unsigned i = 0; i < DEVICES; i++)
            opens_with(1u << i, (enum when)when);
}

static void it_opens_with_two_that_do(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DEVICES; i++)
        opens_with(1u << i | 1u << (i + 1 + i % 2) % DEVICES, i % 2 ? AFTER_A_CUT : AFTER_A_CLOSE);
}

/* Overwritten many times: what lies in segments that are mostly garbage is read from the other devices, so
 * that room comes of them. */
static void collection_goes_on_whichever_device_gives_noise(void **state)
{
    enum {
        TIMES = 10
    };
    static struct rig rig;
    static uint8_t data[PIECE], back[PIECE];
    uint64_t written[PARTS];
    (void)state;
    for (unsigned device = 0; device < DEVICES; device += 2) {
        struct pod_stats stats;
        memset(&rig, 0, sizeof rig);
        rig_create(&rig, 64 * MIB, 7);
        rig_array_keep_all(rig.several);
        rig.config.event = on_event;
        stuck = 0;
        assert_int_equal(rig_open(&rig), 0);
        write_all(&rig);
        rig_array_rot(rig.several, device, false);
        for (uint64_t i = 0; i < PARTS; i++)
            written[i] = i;
        for (uint64_t n = PARTS; n < TIMES * PARTS; n++) {
            const uint64_t i = prng_below(&rig.prng, PARTS);
            fill(data, written[i] = n);
            const int rc = rig_write(&rig, "v", i * PIECE, data, PIECE);
            if (rc)
                fail_msg("device %u is wrong, write %llu: %s", device, (unsigned long long)n,
                         ps_status_text(rc));
            if (n % (4 * PARTS) == 0)
                rig_array_rot(rig.several, device, false);
        }
        for (uint64_t i = 0; i < PARTS; i++) {
            fill(data, written[i]);
            assert_int_equal(rig_read(&rig, "v", i * PIECE, back, PIECE), 0);
            assert_memory_equal(data, back, PIECE);
        }
        pod_stats(rig.pod, &stats);
        assert_true(stats.collected > 0);
        assert_int_equal(stuck, 0);
        rig_check(&rig);
        rig_close(&rig);
        rig_destroy(&rig);
    }
}

/* There is room again before what stayed in a victim was read in another way: it is pinned, and no longer
 * needed for room. */
static void what_is_to_be_read_otherwise_is_read_though_there_is_room_again(void **state)
{
    static struct rig rig;
    (void)state;
    memset(&rig, 0, sizeof rig);
    rig_create(&rig, 64 * MIB, 7);
    assert_int_equal(rig_open(&rig), 0);
    write_all(&rig);
    rig_settle(&rig);
    struct collect *c = rig.pod->collect;
    const uint32_t segment = segments_with_data(rig.pod->segments, 0, rig.pod->applied_seq);
    segments_pin(rig.pod->segments, segment);
    segments_set_leaving(rig.pod->segments, segment, true);
    assert_true(again_put(c, &(struct leaving){.segment = segment}));
    c->credit = 0;
    for (int i = 0; c->again_count || c->walk.victim != SEGMENT_NONE || c->leaving_count; i++) {
        assert_true(i < 100000);
        assert_true(c->room > c->levels.start);
        rig.now_ns += 100000;
        assert_true(rig_step(&rig));
    }
    assert_int_equal(segments_live(rig.pod->segments, segment), 0);
    rig_check(&rig);
    rig_close(&rig);
    rig_destroy(&rig);
}

int main(void)
{
    (void)setenv("PS_RIG_DEVICE", "array", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pool_opens_whichever_device_gives_noise),
        cmocka_unit_test(it_opens_with_two_that_do),
        cmocka_unit_test(what_is_to_be_read_otherwise_is_read_though_there_is_room_again),
        cmocka_unit_test(collection_goes_on_whichever_device_gives_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
