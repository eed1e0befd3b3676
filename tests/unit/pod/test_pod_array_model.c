/* A pod on arrays of several shapes, against a model of what was answered: devices fail while it writes, are
 * slow, give noise, are replaced and rebuilt beside batches and collection; power fails anywhere.
 *
 * test_pod_array_model [FIRST_SEED [SEEDS]] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/pod_rig.h"
#include "tests/support/rig_array.h"

enum {
    MIB = 1 << 20,
    PIECE = 16 << 10,
    PIECES = 800, /* at most */
    BURST = 8,
    STEPS = 500,
    NONE = -1,
};

static uint64_t first_seed = 1, seeds = 24;

struct story {
    struct rig rig;
    unsigned devices, parity;
    int wrong; /* a device that gives noise */
    uint64_t pieces;
    uint64_t writes;
    uint64_t answered[PIECES], tried[PIECES]; /* tried: of a write that power cut short, or answered */
};

static void fill(uint8_t *buf, uint64_t value)
{
    struct prng prng;
    memset(buf, 0, PIECE);
    prng_seed(&prng, value);
    if (value)
        prng_fill(&prng, buf, PIECE);
}

static void open_again(struct story *s)
{
    const int rc = rig_open(&s->rig);
    if (rc)
        fail_msg("the pool does not open: %s", s->rig.error.detail);
}

static void read_all(struct story *s)
{
    static uint8_t want[PIECE], other[PIECE], back[PIECE];
    for (uint64_t i = 0; i < s->pieces; i++) {
        const int rc = rig_read(&s->rig, "v", i * PIECE, back, PIECE);
        if (rc)
            fail_msg("piece %llu is not read: %s", (unsigned long long)i, ps_status_text(rc));
        fill(want, s->answered[i]);
        fill(other, s->tried[i]);
        if (memcmp(back, want, PIECE) && memcmp(back, other, PIECE))
            fail_msg("piece %llu is neither what was answered nor what was tried", (unsigned long long)i);
        if (memcmp(back, want, PIECE))
            s->answered[i] = s->tried[i];
        s->tried[i] = s->answered[i];
    }
}

/* Power fails in the middle of something, or at rest. */
static void crash(struct story *s)
{
    rig_crash(&s->rig, (enum blkdev_mem_cut)prng_below(&s->rig.prng, BLKDEV_MEM_CUTS));
    s->rig.cut_after = 0;
    open_again(s);
    read_all(s);
}

static void write_some(struct story *s)
{
    static uint8_t data[PIECE];
    for (unsigned n = 0; n < BURST; n++) {
        const uint64_t i = prng_below(&s->rig.prng, s->pieces);
        s->tried[i] = ++s->writes;
        fill(data, s->tried[i]);
        const int rc = rig_write(&s->rig, "v", i * PIECE, data, PIECE);
        if (rc == 0) {
            s->answered[i] = s->tried[i];
            continue;
        }
        if (!s->rig.dead)
            fail_msg("a write failed: %s", ps_status_text(rc));
        crash(s);
    }
}

/* What parity does not make up for does not happen. While one gives noise none is lost: after a power cut
 * without that one nobody could tell who is wrong. */
static bool may_lose_one(const struct story *s)
{
    return rig_array_lost(s->rig.several) < s->parity && s->wrong == NONE;
}

static void hurt(struct story *s)
{
    struct rig_array *array = s->rig.several;
    const unsigned i = (unsigned)prng_below(&s->rig.prng, s->devices);
    const unsigned what = (unsigned)prng_below(&s->rig.prng, 5);
    if (getenv("RIG_TALKS"))
        print_message("hurt %u device %u, %u lost, %d wrong\n", what, i, rig_array_lost(array), s->wrong);
    switch (what) {
    case 0:
        if (may_lose_one(s) && rig_array_uses(array, i))
            rig_array_fail(array, i);
        break;
    case 1: /* with one of parity nobody could tell after a power cut who is wrong */
        if (s->parity == 2 && rig_array_lost(array) == 0 && s->wrong == NONE) {
            rig_array_rot(array, i, false);
            s->wrong = (int)i;
        }
        break;
    case 2:
        rig_array_slow(array, prng_chance(&s->rig.prng, 1, 2) ? (int)i : -1);
        break;
    case 3:
        s->rig.cut_after = s->rig.steps + 1 + prng_below(&s->rig.prng, 300);
        break;
    default:
        crash(s);
    }
}

/* As a person would. */
static void mend(struct story *s)
{
    struct rig_array *array = s->rig.several;
    if (s->rig.cut_after)
        return; /* the model waits for it here without the pod */
    if (s->wrong != NONE) {
        rig_array_replace(array, (unsigned)s->wrong, &s->rig.prng);
        s->wrong = NONE;
        return;
    }
    for (unsigned i = 0; i < s->devices; i++)
        if (!rig_array_uses(array, i)) {
            rig_array_replace(array, i, &s->rig.prng);
            return;
        }
}

static void one_seed(uint64_t seed)
{
    static const struct {
        unsigned devices, parity;
    } shapes[] = {{4, 2}, {3, 1}, {6, 2}, {5, 1}};
    static struct story story;
    struct story *s = &story;
    memset(s, 0, sizeof *s);
    s->devices = shapes[seed % 4].devices;
    s->parity = shapes[seed % 4].parity;
    s->wrong = NONE;
    s->pieces = seed % 4 == 2 ? PIECES : PIECES / 2; /* what collection leaves behind is room that lacks */
    rig_array_shape(s->devices, s->parity);
    rig_create(&s->rig, 64 * MIB, seed);
    s->rig.audited = true;
    rig_array_keep_all(s->rig.several);
    s->rig.random = true;
    s->rig.leave_segments = 14; /* so that it collects */
    open_again(s);
    assert_int_equal(rig_create_volume(&s->rig, "v", 16 * MIB), 0);
    for (unsigned step = 0; step < STEPS; step++) {
        if (prng_chance(&s->rig.prng, 1, 12))
            hurt(s);
        if (prng_chance(&s->rig.prng, 1, 12))
            mend(s);
        write_some(s);
    }
    s->rig.cut_after = 0;
    read_all(s);
    rig_check(&s->rig);
    rig_close(&s->rig);
    rig_destroy(&s->rig);
}

static void what_was_answered_survives_whatever_devices_do(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        one_seed(seed);
    }
}

int main(int argc, char **argv)
{
    (void)setenv("PS_RIG_DEVICE", "array", 1);
    first_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : first_seed;
    seeds = argc > 2 ? strtoull(argv[2], NULL, 10) : seeds;
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_answered_survives_whatever_devices_do)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
