#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/prng.h"
#include "node/flash/l2p.h"
#include "node/flash/segment.h"

enum {
    COUNT = 12,
    SYSTEM = 4,
    BYTES = 1 << 20
};

struct rig {
    struct segments *s;
    uint64_t put[COUNT]; /* as the last runs say */
    bool was_put[COUNT];
    unsigned puts;
};

/* Without the stamp. */
static uint64_t put_of(const struct rig *rig, uint32_t index)
{
    return rig->put[index] & ~(((1ull << 28) - 1) << 32);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig->s = segments_create(COUNT, BYTES, SYSTEM);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    segments_destroy(rig->s);
    free(rig);
    return 0;
}

static void note(void *user, uint32_t index, uint64_t value)
{
    struct rig *rig = user;
    assert_true(index >= SYSTEM && index < COUNT);
    rig->put[index] = value;
    rig->was_put[index] = true;
    rig->puts++;
}

static void cut(struct rig *rig, uint64_t seq, bool full)
{
    memset(rig->was_put, 0, sizeof rig->was_put);
    rig->puts = 0;
    if (full)
        memset(rig->put, 0, sizeof rig->put);
    (void)segments_cut(rig->s, seq, full, note, rig);
}

static uint32_t take(struct rig *rig, enum segment_state state)
{
    const uint32_t i = segments_take(rig->s, state);
    assert_true(i >= SYSTEM && i < COUNT);
    segments_use(rig->s, i);
    return i;
}

static void segments_are_taken_in_turn_until_none_is_left(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(segments_free(rig->s), COUNT - SYSTEM);
    for (uint32_t i = SYSTEM; i < COUNT; i++) {
        assert_int_equal(segments_take(rig->s, SEGMENT_LOG), i);
        assert_true(segments_open(rig->s, i));
        assert_int_equal(segments_state(rig->s, i), SEGMENT_LOG);
    }
    assert_int_equal(segments_free(rig->s), 0);
    assert_int_equal(segments_take(rig->s, SEGMENT_META), SEGMENT_NONE);
    segments_untake(rig->s, 7);
    segments_untake(rig->s, 6);
    assert_int_equal(segments_free(rig->s), 2);
    assert_int_equal(segments_take(rig->s, SEGMENT_META), 6);
    segments_untake(rig->s, 6);
    assert_int_equal(segments_take(rig->s, SEGMENT_META), 7); /* in turn: not the one given back last */
    for (uint32_t i = 0; i < SYSTEM; i++)
        assert_int_equal(segments_state(rig->s, i), SEGMENT_SYSTEM);
}

static void a_dead_segment_is_free_only_when_the_checkpoint_is_durable(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = take(rig, SEGMENT_LOG);
    segments_add_live(rig->s, i, 4096);
    segments_seal(rig->s, i, 10);
    segments_add_live(rig->s, i, -4096);
    const uint32_t before = segments_free(rig->s);
    assert_int_equal(segments_dead(rig->s, 10), 1);
    cut(rig, 10, false);
    assert_true(rig->was_put[i] == false || rig->put[i] == 0); /* what was never put is free */
    assert_int_equal(segments_free(rig->s), before);
    assert_int_equal(segments_state(rig->s, i), SEGMENT_LOG);
    assert_int_equal(segments_dead(rig->s, 10), 1);
    segments_cut_done(rig->s);
    assert_int_equal(segments_free(rig->s), before + 1);
    assert_int_equal(segments_state(rig->s, i), SEGMENT_FREE);
    assert_int_equal(segments_dead(rig->s, 10), 0);
}

static void log_is_kept_for_readers_from_the_batch_they_want(void **state)
{
    struct rig *rig = *state;
    uint64_t lowest;
    uint32_t s[4];
    for (int i = 0; i < 3; i++) {
        s[i] = take(rig, SEGMENT_LOG);
        segments_seal(rig->s, s[i], 10 * (uint64_t)(i + 1));
    }
    s[3] = take(rig, SEGMENT_META);
    segments_seal(rig->s, s[3], 0);
    assert_int_equal(segments_dead(rig->s, 30), 4);
    segments_keep_log(rig->s, 15); /* in the second one */
    assert_int_equal(segments_dead(rig->s, 30), 2);
    assert_int_equal(segments_kept(rig->s, 30, &lowest), 2);
    assert_int_equal(lowest, 20);
    assert_int_equal(segments_kept(rig->s, 25, &lowest), 1); /* the third one is needed anyway */
    assert_int_equal(segments_cut(rig->s, 30, false, note, rig), 10);
    segments_cut_done(rig->s);
    assert_int_equal(segments_state(rig->s, s[0]), SEGMENT_FREE);
    assert_int_equal(segments_state(rig->s, s[1]), SEGMENT_LOG);
    assert_int_equal(segments_state(rig->s, s[3]), SEGMENT_FREE);
    segments_keep_log(rig->s, UINT64_MAX);
    assert_int_equal(segments_kept(rig->s, 30, &lowest), 0);
    assert_int_equal(segments_cut(rig->s, 30, false, note, rig), 30);
}

/* Batches behind 15 moved elsewhere: the third segment holds nothing any more, the second one only some. */
static void the_end_of_the_log_is_cut_off(void **state)
{
    struct rig *rig = *state;
    uint32_t s[3];
    for (int i = 0; i < 3; i++) {
        s[i] = take(rig, SEGMENT_LOG);
        segments_seal(rig->s, s[i], 10 * (uint64_t)(i + 1));
    }
    segments_log_cut(rig->s, 15, s[1]);
    assert_int_equal(segments_last_seq(rig->s, s[0]), 10);
    assert_int_equal(segments_last_seq(rig->s, s[1]), 15);
    assert_int_equal(segments_last_seq(rig->s, s[2]), 0);
    assert_int_equal(segments_dead(rig->s, 14), 2);
    segments_log_holds(rig->s, s[2], 7); /* found there later */
    segments_log_holds(rig->s, s[2], 5);
    assert_int_equal(segments_last_seq(rig->s, s[2]), 7);
}

static void log_beyond_the_checkpoint_open_and_live_segments_are_kept(void **state)
{
    struct rig *rig = *state;
    const uint32_t later = take(rig, SEGMENT_LOG), open = take(rig, SEGMENT_LOG),
                   live = take(rig, SEGMENT_LOG);
    segments_seal(rig->s, later, 11);
    segments_seal(rig->s, live, 5);
    segments_add_live(rig->s, live, 64);
    assert_int_equal(segments_dead(rig->s, 10), 0);
    cut(rig, 10, false);
    segments_cut_done(rig->s);
    assert_int_equal(segments_free(rig->s), COUNT - SYSTEM - 3);
    assert_int_equal(put_of(rig, later), (uint64_t)SEGMENT_LOG << 60);
    assert_int_equal(put_of(rig, open), (uint64_t)SEGMENT_LOG << 60);
    assert_int_equal(put_of(rig, live), (uint64_t)SEGMENT_LOG << 60 | 64);
    cut(rig, 11, false);
    segments_cut_done(rig->s);
    assert_int_equal(segments_state(rig->s, later), SEGMENT_FREE);
    assert_int_equal(segments_state(rig->s, open), SEGMENT_LOG);
}

static void a_read_keeps_a_freed_segment_from_being_taken(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = take(rig, SEGMENT_LOG);
    segments_pin(rig->s, i);
    segments_pin(rig->s, i);
    segments_seal(rig->s, i, 1);
    cut(rig, 1, false);
    segments_cut_done(rig->s);
    assert_int_equal(segments_state(rig->s, i), SEGMENT_FREE); /* as far as checkpoints know */
    const uint32_t free = segments_free(rig->s);
    assert_int_equal(free, COUNT - SYSTEM - 1);
    for (uint32_t n = 0; n < free; n++)
        assert_int_not_equal(take(rig, SEGMENT_LOG), i);
    assert_int_equal(segments_take(rig->s, SEGMENT_LOG), SEGMENT_NONE);
    segments_unpin(rig->s, i);
    assert_int_equal(segments_take(rig->s, SEGMENT_LOG), SEGMENT_NONE);
    segments_unpin(rig->s, i);
    assert_int_equal(segments_free(rig->s), 1);
    assert_int_equal(segments_take(rig->s, SEGMENT_LOG), i);
}

static void a_pin_on_a_segment_in_use_changes_nothing(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = take(rig, SEGMENT_LOG), free = segments_free(rig->s);
    segments_pin(rig->s, i);
    segments_unpin(rig->s, i);
    assert_int_equal(segments_free(rig->s), free);
}

/* Nothing refers to it after a crash, so checkpoints do not name it. */
static void taken_but_unused_counts_as_free_in_checkpoints(void **state)
{
    struct rig *rig = *state;
    const uint32_t i = segments_take(rig->s, SEGMENT_LOG);
    struct segments_stats stats;
    cut(rig, 5, true);
    assert_int_equal(rig->puts, 0);
    segments_stats(rig->s, &stats);
    assert_int_equal(stats.log, 0);
    segments_use(rig->s, i);
    cut(rig, 6, false);
    assert_int_equal(put_of(rig, i), (uint64_t)SEGMENT_LOG << 60);
    segments_stats(rig->s, &stats);
    assert_int_equal(stats.log, 1);
}

static void a_cut_names_what_changed_and_a_full_one_all_that_is_in_use(void **state)
{
    struct rig *rig = *state;
    const uint32_t a = take(rig, SEGMENT_LOG), b = take(rig, SEGMENT_META);
    segments_add_live(rig->s, a, 100);
    cut(rig, 1, false);
    assert_int_equal(rig->puts, 2);
    cut(rig, 1, false);
    assert_int_equal(rig->puts, 0);
    segments_add_live(rig->s, b, 7);
    cut(rig, 1, false);
    assert_int_equal(rig->puts, 1);
    assert_int_equal(put_of(rig, b), (uint64_t)SEGMENT_META << 60 | 7);
    cut(rig, 1, true);
    assert_int_equal(rig->puts, 2);
    segments_add_live(rig->s, b, -7);
    segments_seal(rig->s, b, 0);
    cut(rig, 1, false);
    assert_true(rig->was_put[b] && rig->put[b] == 0);
    segments_cut_done(rig->s);
    cut(rig, 1, true);
    assert_int_equal(rig->puts, 1);
}

static void values_restore_to_the_same_table(void **state)
{
    struct rig *rig = *state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct prng prng;
        prng_seed(&prng, seed);
        segments_destroy(rig->s);
        rig->s = segments_create(COUNT, BYTES, SYSTEM);
        memset(rig->put, 0, sizeof rig->put);
        uint32_t taken[COUNT], n = 0;
        uint64_t seq = 0;
        for (int step = 0; step < 60; step++) {
            const uint64_t dice = prng_below(&prng, 10);
            const uint32_t t = n ? (uint32_t)prng_below(&prng, n) : 0;
            if (dice < 4) {
                taken[n] = segments_take(rig->s, prng_chance(&prng, 1, 3) ? SEGMENT_META : SEGMENT_LOG);
                if (taken[n] != SEGMENT_NONE) {
                    segments_use(rig->s, taken[n]);
                    segments_add_live(rig->s, taken[n++], (int64_t)prng_below(&prng, BYTES));
                }
            } else if (dice < 8 && n) {
                segments_seal(rig->s, taken[t], ++seq);
                segments_add_live(rig->s, taken[t], -(int64_t)segments_live(rig->s, taken[t]));
                taken[t] = taken[--n];
            } else {
                cut(rig, seq, prng_chance(&prng, 1, 4));
                segments_cut_done(rig->s);
            }
        }
        cut(rig, seq, false);
        segments_cut_done(rig->s);
        struct segments *twin = segments_create(COUNT, BYTES, SYSTEM);
        for (uint32_t i = SYSTEM; i < COUNT; i++) {
            segments_restore(twin, i, (uint64_t)SEGMENT_LOG << 60 | 9); /* an older run's */
            segments_restore(twin, i, rig->put[i]);
        }
        assert_int_equal(segments_free(twin), segments_free(rig->s));
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_int_equal(segments_state(twin, i), segments_state(rig->s, i));
            assert_int_equal(segments_live(twin, i), segments_live(rig->s, i));
        }
        /* What it knows is what is persisted: nothing to say again. */
        struct rig other = {.s = twin};
        cut(&other, 0, false);
        for (uint32_t i = SYSTEM; i < COUNT; i++)
            assert_true(!other.was_put[i] || segments_live(twin, i) == 0);
        segments_destroy(twin);
    }
}

static void what_the_log_refers_to_is_adopted_unless_it_is_in_other_use(void **state)
{
    struct rig *rig = *state;
    const uint32_t free = segments_free(rig->s);
    segments_restore(rig->s, 5, (uint64_t)SEGMENT_META << 60 | 100);
    assert_true(segments_adopt(rig->s, 6, SEGMENT_LOG));
    assert_true(segments_adopt(rig->s, 6, SEGMENT_LOG)); /* again: it is already */
    assert_false(segments_adopt(rig->s, 5, SEGMENT_LOG));
    assert_false(segments_adopt(rig->s, 0, SEGMENT_LOG)); /* the label's */
    assert_int_equal(segments_free(rig->s), free - 2);
    segments_restore_meta(rig->s);
    assert_int_equal(segments_live(rig->s, 5), 0);
    segments_add_live(rig->s, 5, 30);
    assert_int_equal(segments_live(rig->s, 5), 30);
}

/* ---- twins */

/* Taken, filled, read and freed as one; a checkpoint says of each which the other is. */
static void twins_live_and_die_together(void **state)
{
    struct rig *rig = *state;
    const uint32_t free = segments_free(rig->s);
    const uint32_t a = segments_take(rig->s, SEGMENT_META), b = segments_take_twin(rig->s, a);
    assert_true(b != a && b != SEGMENT_NONE && b >= SYSTEM);
    assert_true(segments_twin(rig->s, a) == b && segments_twin(rig->s, b) == a);
    assert_int_equal(segments_free(rig->s), free - 2);
    segments_use(rig->s, a);
    segments_add_live(rig->s, a, 500);
    assert_int_equal(segments_live(rig->s, b), 500);
    cut(rig, 0, false);
    segments_cut_done(rig->s);
    assert_int_equal(rig->put[a], (uint64_t)SEGMENT_META << 60 | (uint64_t)b << 32 | 500);
    assert_int_equal(rig->put[b], (uint64_t)SEGMENT_META << 60 | (uint64_t)a << 32 | 500);
    segments_seal(rig->s, a, 0);
    assert_false(segments_open(rig->s, b));
    struct segments_stats stats;
    segments_stats(rig->s, &stats);
    assert_true(stats.live_meta == 1000 && stats.single_meta == 0 && stats.meta == 2);
    /* What is read from the one is not given out again with the other. */
    segments_pin(rig->s, a);
    segments_add_live(rig->s, b, -500);
    cut(rig, 0, false);
    segments_cut_done(rig->s);
    assert_true(rig->put[a] == 0 && rig->put[b] == 0);
    assert_int_equal(segments_free(rig->s), free - 2);
    segments_unpin(rig->s, a);
    assert_int_equal(segments_free(rig->s), free);
    assert_true(segments_twin(rig->s, a) == 0 && segments_twin(rig->s, b) == 0);
}

static void the_next_in_turn_is_not_behind_a_twin(void **state)
{
    struct rig *rig = *state;
    const uint32_t a = segments_take(rig->s, SEGMENT_META), b = segments_take_twin(rig->s, a);
    assert_true(b > a + 1);
    assert_int_equal(segments_take(rig->s, SEGMENT_LOG), a + 1);
}

static void twins_are_those_that_name_each_other(void **state)
{
    struct rig *rig = *state;
    const uint64_t meta = (uint64_t)SEGMENT_META << 60;
    segments_restore(rig->s, 5, meta | 8ull << 32 | 7);
    segments_restore(rig->s, 8, meta | 5ull << 32 | 7);
    segments_restore(rig->s, 6, meta | 9ull << 32);
    segments_restore(rig->s, 9, meta | 5ull << 32);
    segments_restore(rig->s, 7, meta | 7ull << 32);
    segments_restore(rig->s, 10, meta | 1000ull << 32);
    segments_restore(rig->s, 11, meta); /* as programs wrote it that knew of none */
    segments_restore_meta(rig->s);
    assert_true(segments_twin(rig->s, 5) == 8 && segments_twin(rig->s, 8) == 5);
    for (uint32_t i = SYSTEM; i < COUNT; i++)
        if (i != 5 && i != 8)
            assert_int_equal(segments_twin(rig->s, i), 0);
    segments_add_live(rig->s, 5, 9);
    segments_add_live(rig->s, 11, 3);
    assert_int_equal(segments_live(rig->s, 8), 9);
    struct segments_stats stats;
    segments_stats(rig->s, &stats);
    assert_true(stats.live_meta == 21 && stats.single_meta == 3);
    assert_int_equal(segments_clock(rig->s), 0); /* a twin's number is no time */
    assert_false(segments_adopt_twins(rig->s, 4, 5));
    assert_int_equal(segments_state(rig->s, 4), SEGMENT_FREE);
}

/* ---- collection */

static double emptiest(void *user, uint32_t bytes, uint32_t live, uint32_t age)
{
    (void)user;
    (void)age;
    return live < bytes / 2 ? bytes - live : 0;
}

static double oldest(void *user, uint32_t bytes, uint32_t live, uint32_t age)
{
    (void)user;
    (void)bytes;
    (void)live;
    return age + 1;
}

static uint32_t sealed(struct rig *rig, enum segment_state state, uint32_t live, uint64_t last)
{
    const uint32_t i = take(rig, state);
    segments_add_live(rig->s, i, live);
    segments_seal(rig->s, i, last);
    return i;
}

static void the_best_of_those_that_may_be_collected_is_chosen(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(segments_best(rig->s, 100, emptiest, NULL), SEGMENT_NONE);
    const uint32_t a = sealed(rig, SEGMENT_LOG, 4000, 10), b = sealed(rig, SEGMENT_WARM, 3000, 0),
                   c = sealed(rig, SEGMENT_COLD, 2000, 0);
    (void)sealed(rig, SEGMENT_META, 10, 0);                /* has ways of its own */
    (void)sealed(rig, SEGMENT_LOG, 1000, 101);             /* beyond the checkpoint */
    segments_add_live(rig->s, take(rig, SEGMENT_LOG), 10); /* open */
    (void)sealed(rig, SEGMENT_LOG, 0, 1);                  /* dead: the checkpoint frees it */
    assert_int_equal(segments_best(rig->s, 100, emptiest, NULL), c);
    assert_int_equal(segments_best(rig->s, 100, oldest, NULL), a);
    assert_int_equal(segments_gain(rig->s, 100, 1), 3ull * BYTES - 9000);
    assert_int_equal(segments_gain(rig->s, 100, BYTES - 2500), BYTES - 2000);
    segments_stuck(rig->s, c);
    assert_int_equal(segments_best(rig->s, 100, emptiest, NULL), b);
    segments_hold(rig->s, b);
    assert_int_equal(segments_best(rig->s, 100, emptiest, NULL), a);
    assert_int_equal(segments_gain(rig->s, 100, 1), BYTES - 4000);
    segments_unhold(rig->s, b);
    segments_pin(rig->s, b); /* a read is short */
    assert_int_equal(segments_best(rig->s, 100, emptiest, NULL), b);
    segments_set_leaving(rig->s, b, true);
    assert_int_equal(segments_best(rig->s, 100, emptiest, NULL), a);
    assert_int_equal(segments_gain(rig->s, 100, 1), 2ull * BYTES - 7000); /* it is still to be had */
    segments_set_leaving(rig->s, b, false);
    segments_unpin(rig->s, b);
    segments_add_live(rig->s, a, BYTES / 2);
    segments_add_live(rig->s, b, BYTES / 2);
    assert_int_equal(segments_best(rig->s, 100, emptiest, NULL), SEGMENT_NONE);
}

static void room_is_what_is_free_or_comes_free(void **state)
{
    struct rig *rig = *state;
    const uint32_t before = segments_room(rig->s, 100);
    assert_int_equal(before, COUNT - SYSTEM);
    const uint32_t dead = sealed(rig, SEGMENT_WARM, 0, 0), held = sealed(rig, SEGMENT_LOG, 0, 1),
                   kept = sealed(rig, SEGMENT_LOG, 0, 50);
    (void)sealed(rig, SEGMENT_LOG, 5, 1);
    (void)dead;
    (void)kept;
    segments_keep_log(rig->s, 40);
    segments_hold(rig->s, held);
    assert_int_equal(segments_room(rig->s, 100), before - 2);
    segments_pin(rig->s, dead);
    cut(rig, 100, false);
    assert_int_equal(segments_room(rig->s, 100), before - 2); /* one is being freed */
    segments_cut_done(rig->s);
    assert_int_equal(segments_room(rig->s, 100), before - 2); /* and waits for the end of a read */
    assert_int_equal(segments_free(rig->s), before - 4);
    segments_unpin(rig->s, dead);
    segments_unhold(rig->s, held);
    assert_int_equal(segments_room(rig->s, 100), before - 1);
    assert_int_equal(segments_free(rig->s), before - 2);
}

static void age_outlives_a_restart(void **state)
{
    struct rig *rig = *state;
    const uint32_t old = sealed(rig, SEGMENT_LOG, 100, 1);
    for (int i = 0; i < 5; i++) {
        const uint32_t other = take(rig, SEGMENT_LOG);
        segments_seal(rig->s, other, 2);
    }
    const uint32_t young = sealed(rig, SEGMENT_COLD, 100, 0);
    cut(rig, 100, true);
    segments_cut_done(rig->s);
    struct segments *twin = segments_create(COUNT, BYTES, SYSTEM);
    for (uint32_t i = SYSTEM; i < COUNT; i++)
        segments_restore(twin, i, rig->put[i]);
    assert_int_equal(segments_best(rig->s, 100, oldest, NULL), old);
    assert_int_equal(segments_best(twin, 100, oldest, NULL), old);
    segments_stuck(twin, old);
    assert_int_equal(segments_best(twin, 100, oldest, NULL), young);
    assert_int_equal(segments_state(twin, young), SEGMENT_COLD);
    /* The clock goes on: what is taken now is younger. */
    const uint32_t next = segments_take(twin, SEGMENT_WARM);
    segments_use(twin, next);
    segments_add_live(twin, next, 100);
    segments_seal(twin, next, 0);
    assert_int_equal(segments_best(twin, 100, oldest, NULL), young);
    segments_destroy(twin);
}

static void statistics_add_up(void **state)
{
    struct rig *rig = *state;
    struct segments_stats stats;
    segments_add_live(rig->s, take(rig, SEGMENT_LOG), 100);
    segments_add_live(rig->s, take(rig, SEGMENT_LOG), 50);
    segments_add_live(rig->s, take(rig, SEGMENT_META), 7);
    segments_stats(rig->s, &stats);
    assert_true(stats.count == COUNT && stats.system == SYSTEM && stats.log == 2 && stats.meta == 1);
    assert_int_equal(stats.free, COUNT - SYSTEM - 3);
    assert_true(stats.live_log == 150 && stats.live_meta == 7 && stats.used_log == 2 * BYTES &&
                stats.used_meta == BYTES);
}

/* L2P slots (l2p.h). */
static void a_slot_says_place_blocks_and_which_live(void **state)
{
    (void)state;
    const struct place place = place_make((1ull << 47) - 64, PLACE_MAX_BYTES);
    const uint64_t v = l2p_make(place, 8, 0xa5);
    assert_int_equal(place_addr(l2p_place(v)), (1ull << 47) - 64);
    assert_int_equal(place_len(l2p_place(v)), PLACE_MAX_BYTES);
    assert_true(l2p_blocks(v) == 8 && l2p_live(v) == 0xa5);
    assert_true(l2p_is_live(v, 0) && !l2p_is_live(v, 1) && l2p_is_live(v, 7));
    assert_int_equal(l2p_make(place_make(64, 128), 3, 7), (1ull << 11 | 2) << 11 | 2 << 8 | 7);
    assert_true(place_is_none(PLACE_NONE) && !place_is_none(place));
    assert_int_equal(block_group(0x1234d), 0x2469);
    assert_int_equal(block_slot(0x1234d), 5);
    assert_int_equal(meta_page_number(l2p_key(1025)), 2);
    assert_int_equal(meta_slot_of(l2p_key(1025)), 1);
}

static void live_bytes_of_a_group_end_at_zero_in_any_order_of_dying(void **state)
{
    (void)state;
    for (unsigned blocks = 1; blocks <= 8; blocks++)
        for (uint32_t bytes = 64; bytes <= PLACE_MAX_BYTES; bytes += 64 * 13) {
            uint64_t v = l2p_make(place_make(64, bytes), blocks, (1u << blocks) - 1);
            assert_int_equal(l2p_live_bytes(v), bytes);
            int64_t sum = bytes;
            for (unsigned i = 0; i < blocks; i++) {
                const uint64_t after = v & ~(1ull << (blocks - 1 - i));
                sum += (int64_t)l2p_live_bytes(after) - (int64_t)l2p_live_bytes(v);
                v = after;
            }
            assert_int_equal(sum, 0);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- erase and wear */

static void the_least_worn_free_segment_is_taken(void **state)
{
    struct rig *rig = *state;
    for (uint32_t i = SYSTEM; i < COUNT; i++)
        segments_set_wear(rig->s, i, 10 + i % 4);
    /* 4 and 8 have 10, 5 and 9 have 11. */
    assert_int_equal(segments_take(rig->s, SEGMENT_LOG), 4);
    assert_int_equal(segments_take(rig->s, SEGMENT_META), 8);
    assert_int_equal(segments_take(rig->s, SEGMENT_LOG), 9);
    assert_int_equal(segments_take(rig->s, SEGMENT_LOG), 5);
    segments_set_erased(rig->s, 6, true); /* that nothing has to be erased for it counts little */
    assert_int_equal(segments_most_worn(rig->s), 7);
    segments_take_this(rig->s, 7, SEGMENT_COLD);
    assert_int_equal(segments_most_worn(rig->s), 11);
    segments_take_this(rig->s, 11, SEGMENT_COLD);
    assert_int_equal(segments_wear_floor(rig->s, 3), 10);
    assert_int_equal(segments_wear_floor(rig->s, 13), 0);
    assert_int_equal(segments_free(rig->s), COUNT - SYSTEM - 6);
}

static void erased_segments_are_taken_first(void **state)
{
    struct rig *rig = *state;
    segments_set_wear(rig->s, 6, 5);
    segments_set_wear(rig->s, 10, 4);
    segments_set_erased(rig->s, 6, true);
    segments_set_erased(rig->s, 10, true);
    assert_int_equal(segments_take(rig->s, SEGMENT_LOG), 10);
    assert_int_equal(segments_take(rig->s, SEGMENT_LOG), 6);
    assert_true(segments_is_erased(rig->s, 6));
    assert_int_equal(segments_wear(rig->s, segments_take(rig->s, SEGMENT_LOG)), 0);
}

static void the_least_worn_free_segment_is_erased_ahead(void **state)
{
    struct rig *rig = *state;
    for (uint32_t i = SYSTEM; i < COUNT; i++)
        segments_set_wear(rig->s, i, 20 - i);
    assert_int_equal(segments_to_erase(rig->s, 0), SEGMENT_NONE);
    for (uint32_t n = 0; n < 3; n++) {
        const uint32_t next = segments_to_erase(rig->s, 3);
        assert_int_equal(next, COUNT - 1 - n);
        segments_set_erased(rig->s, next, true);
    }
    assert_int_equal(segments_to_erase(rig->s, 3), SEGMENT_NONE);
    /* What is taken counts no more. */
    const uint32_t taken = segments_take(rig->s, SEGMENT_LOG);
    assert_int_equal(taken, COUNT - 1);
    assert_int_equal(segments_to_erase(rig->s, 3), COUNT - 4);
    segments_untake(rig->s, taken);
    assert_int_equal(segments_to_erase(rig->s, 3), SEGMENT_NONE);
    for (uint32_t i = SYSTEM; i < COUNT; i++)
        segments_set_erased(rig->s, i, true);
    assert_int_equal(segments_to_erase(rig->s, 100), SEGMENT_NONE);
}

static void a_retired_segment_is_gone_for_good(void **state)
{
    struct rig *rig = *state;
    struct segments_stats stats;
    segments_set_wear(rig->s, 5, 1000);
    segments_retire(rig->s, 5);
    assert_int_equal(segments_free(rig->s), COUNT - SYSTEM - 1);
    for (uint32_t i = SYSTEM; i < COUNT - 1; i++)
        assert_int_not_equal(segments_take(rig->s, SEGMENT_LOG), 5);
    assert_int_equal(segments_take(rig->s, SEGMENT_LOG), SEGMENT_NONE);
    assert_int_equal(segments_to_erase(rig->s, 100), SEGMENT_NONE);
    cut(rig, 10, true);
    assert_false(rig->was_put[5]);
    segments_stats(rig->s, &stats);
    assert_int_equal(stats.retired, 1);
    assert_int_equal(stats.wear_highest, 0);
}

static void write_segment(struct rig *rig, uint32_t index, uint64_t seq, uint32_t live)
{
    segments_use(rig->s, index);
    segments_add_live(rig->s, index, live);
    segments_seal(rig->s, index, seq);
}

static void cold_data_is_found_when_the_spread_exceeds_the_threshold(void **state)
{
    struct rig *rig = *state;
    struct segments_stats stats;
    for (uint32_t i = SYSTEM; i < COUNT; i++)
        assert_int_equal(segments_take(rig->s, i == 10 ? SEGMENT_META : SEGMENT_LOG), i);
    for (uint32_t i = SYSTEM; i < COUNT - 1; i++)
        write_segment(rig, i, 100 - i, i == 9 ? 0 : BYTES / 2);
    for (uint32_t i = SYSTEM; i < COUNT; i++)
        segments_set_wear(rig->s, i, 1000);
    assert_int_equal(segments_wear_victim(rig->s, 1000, 0), SEGMENT_NONE);
    segments_set_wear(rig->s, 9, 10);   /* nothing lives in it */
    segments_set_wear(rig->s, 10, 11);  /* metadata */
    segments_set_wear(rig->s, 11, 12);  /* open */
    segments_set_wear(rig->s, 0, 5000); /* the system's */
    assert_int_equal(segments_wear_victim(rig->s, 1000, 100), SEGMENT_NONE);
    segments_set_wear(rig->s, 6, 900);
    assert_int_equal(segments_wear_victim(rig->s, 1000, 100), SEGMENT_NONE);
    segments_set_wear(rig->s, 6, 899);
    assert_int_equal(segments_wear_victim(rig->s, 1000, 100), 6);
    segments_set_wear(rig->s, 8, 899); /* written before it: 92, 94 */
    assert_int_equal(segments_wear_victim(rig->s, 1000, 100), 8);
    segments_set_wear(rig->s, 5, 300);
    assert_int_equal(segments_wear_victim(rig->s, 1000, 100), 5);
    assert_int_equal(segments_wear_victim(rig->s, 1000, 1000), SEGMENT_NONE);
    assert_int_equal(segments_wear_victim(rig->s, 93, 100), 8); /* the log behind that is left alone */
    segments_stats(rig->s, &stats);
    assert_int_equal(stats.wear_lowest, 10);
    assert_int_equal(stats.wear_highest, 1000);
}

static void note_nothing(void *user, uint32_t index, uint64_t value)
{
    (void)user;
    (void)index;
    (void)value;
}

/* A pool three quarters full of data that is never rewritten; the rest is rewritten all the time. Each erase
 * wears its segment; a victim's data moves into the most worn free one, as collection would have it. */
static uint32_t spread_after(uint32_t rewrites, uint32_t threshold, uint64_t *moves)
{
    enum {
        SEGMENTS = 64,
        COLD = 44
    };
    struct segments *s = segments_create(SEGMENTS + SYSTEM, BYTES, SYSTEM);
    struct prng prng;
    uint32_t hot[8], n = 0;
    uint64_t seq = 0;
    prng_seed(&prng, 4);
    for (uint32_t i = 0; i < COLD + 8; i++) {
        const uint32_t segment = segments_take(s, SEGMENT_LOG);
        segments_use(s, segment);
        segments_add_live(s, segment, BYTES);
        segments_seal(s, segment, ++seq);
        if (i >= COLD)
            hot[n++] = segment;
    }
    *moves = 0;
    for (uint32_t i = 0; i < rewrites; i++) {
        const uint32_t victim = segments_wear_victim(s, seq, threshold);
        const bool moving = victim != SEGMENT_NONE;
        uint32_t *const slot = &hot[prng_below(&prng, 8)];
        const uint32_t to = moving ? segments_most_worn(s) : segments_take(s, SEGMENT_LOG);
        if (moving)
            segments_take_this(s, to, SEGMENT_COLD);
        const uint32_t from = moving ? victim : *slot;
        *moves += moving;
        segments_set_wear(s, to, segments_wear(s, to) + 1);
        segments_use(s, to);
        segments_add_live(s, to, BYTES);
        segments_seal(s, to, ++seq);
        segments_add_live(s, from, -(int64_t)BYTES);
        if (!moving)
            *slot = to;
        else
            for (uint32_t h = 0; h < 8; h++)
                hot[h] = hot[h] == from ? to : hot[h];
        (void)segments_cut(s, seq, false, note_nothing, NULL);
        segments_cut_done(s);
    }
    struct segments_stats stats;
    segments_stats(s, &stats);
    segments_destroy(s);
    return stats.wear_highest - stats.wear_lowest;
}

static void wear_stays_within_the_threshold_and_a_tenth(void **state)
{
    (void)state;
    uint64_t moves;
    assert_true(spread_after(40000, 1000000, &moves) > 1000);
    assert_int_equal(moves, 0);
    assert_true(spread_after(40000, 100, &moves) <= 110);
    /* It costs little: a move for each hundred rewrites or so of a segment. */
    assert_true(moves > 0 && moves < 40000 / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(segments_are_taken_in_turn_until_none_is_left),
        TEST(a_dead_segment_is_free_only_when_the_checkpoint_is_durable),
        TEST(log_is_kept_for_readers_from_the_batch_they_want),
        TEST(the_end_of_the_log_is_cut_off),
        TEST(log_beyond_the_checkpoint_open_and_live_segments_are_kept),
        TEST(a_read_keeps_a_freed_segment_from_being_taken),
        TEST(a_pin_on_a_segment_in_use_changes_nothing),
        TEST(taken_but_unused_counts_as_free_in_checkpoints),
        TEST(a_cut_names_what_changed_and_a_full_one_all_that_is_in_use),
        TEST(values_restore_to_the_same_table),
        TEST(what_the_log_refers_to_is_adopted_unless_it_is_in_other_use),
        TEST(the_best_of_those_that_may_be_collected_is_chosen),
        TEST(room_is_what_is_free_or_comes_free),
        TEST(age_outlives_a_restart),
        TEST(statistics_add_up),
        TEST(twins_live_and_die_together),
        TEST(the_next_in_turn_is_not_behind_a_twin),
        TEST(twins_are_those_that_name_each_other),
        cmocka_unit_test(a_slot_says_place_blocks_and_which_live),
        cmocka_unit_test(live_bytes_of_a_group_end_at_zero_in_any_order_of_dying),
        cmocka_unit_test_setup_teardown(the_least_worn_free_segment_is_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(erased_segments_are_taken_first, setup, teardown),
        cmocka_unit_test_setup_teardown(the_least_worn_free_segment_is_erased_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(a_retired_segment_is_gone_for_good, setup, teardown),
        cmocka_unit_test_setup_teardown(cold_data_is_found_when_the_spread_exceeds_the_threshold, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(wear_stays_within_the_threshold_and_a_tenth, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
