/* Segments whose part of the device is taken away, comes back, or is new. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "node/flash/segment.h"

enum {
    COUNT = 12,
    SYSTEM = 4,
    BYTES = 1 << 20
};

static int setup(void **state)
{
    *state = segments_create(COUNT, BYTES, SYSTEM);
    return 0;
}

static int teardown(void **state)
{
    segments_destroy(*state);
    return 0;
}

static void put(void *user, uint32_t index, uint64_t value)
{
    (void)index;
    (void)value;
    ++*(unsigned *)user;
}

static void checkpoint(struct segments *s, uint64_t seq)
{
    unsigned puts = 0;
    (void)segments_cut(s, seq, false, put, &puts);
    segments_cut_done(s);
}

static uint32_t filled(struct segments *s, enum segment_state state, int64_t live, uint64_t last_seq)
{
    const uint32_t i = segments_take(s, state);
    assert_int_not_equal(i, SEGMENT_NONE);
    segments_use(s, i);
    segments_add_live(s, i, live);
    segments_seal(s, i, last_seq);
    return i;
}

static double any(void *user, uint32_t segment_bytes, uint32_t live, uint32_t age)
{
    (void)user;
    (void)segment_bytes;
    (void)live;
    (void)age;
    return 1;
}

static void what_is_free_leaves_at_once_and_is_not_given_out(void **state)
{
    struct segments *s = *state;
    struct segments_stats stats;
    for (uint32_t i = SYSTEM; i < 8; i++)
        segments_bar(s, i);
    assert_int_equal(segments_free(s), 4);
    assert_int_equal(segments_barred(s), 0);
    assert_int_equal(segments_gone(s), 4);
    segments_stats(s, &stats);
    assert_int_equal(stats.retired, 4);
    for (int i = 0; i < 4; i++)
        assert_true(segments_take(s, SEGMENT_LOG) >= 8);
    assert_int_equal(segments_take(s, SEGMENT_LOG), SEGMENT_NONE);
    segments_unbar(s, 5);
    assert_int_equal(segments_take(s, SEGMENT_LOG), 5);
}

static void what_is_in_use_leaves_when_it_comes_free(void **state)
{
    struct segments *s = *state;
    const uint32_t i = filled(s, SEGMENT_LOG, 100, 7);
    segments_bar(s, i);
    assert_int_equal(segments_barred(s), 1);
    assert_int_equal(segments_state(s, i), SEGMENT_LOG);
    /* It is moved because it is asked for, not because it is worth it, and makes no room. */
    assert_int_equal(segments_best(s, 7, any, NULL), SEGMENT_NONE);
    assert_int_equal(segments_gain(s, 7, 1), 0);
    assert_int_equal(segments_barred_victim(s, 6), SEGMENT_NONE);
    assert_int_equal(segments_barred_victim(s, 7), i);
    segments_add_live(s, i, -100);
    assert_int_equal(segments_room(s, 7), COUNT - SYSTEM - 1);
    assert_int_equal(segments_barred_victim(s, 7), SEGMENT_NONE);
    segments_pin(s, i);
    checkpoint(s, 7);
    assert_int_equal(segments_barred(s), 1);
    segments_unpin(s, i);
    assert_int_equal(segments_barred(s), 0);
    assert_int_equal(segments_state(s, i), SEGMENT_RETIRED);
    assert_int_equal(segments_free(s), COUNT - SYSTEM - 1);
    segments_unbar(s, i);
    assert_int_equal(segments_free(s), COUNT - SYSTEM);
}

static void what_is_given_back_unused_leaves(void **state)
{
    struct segments *s = *state;
    const uint32_t i = segments_take(s, SEGMENT_WARM);
    segments_bar(s, i);
    segments_untake(s, i);
    assert_int_equal(segments_state(s, i), SEGMENT_RETIRED);
    assert_int_equal(segments_barred(s), 0);
    assert_int_equal(segments_free(s), COUNT - SYSTEM - 1);
}

static void of_twins_the_one_that_stays_is_free_again(void **state)
{
    struct segments *s = *state;
    const uint32_t i = segments_take(s, SEGMENT_META), twin = segments_take_twin(s, i);
    segments_use(s, i);
    segments_add_live(s, i, 64);
    segments_seal(s, i, 0);
    segments_bar(s, twin);
    struct segments_barred_look look;
    segments_look_barred(s, 0, &look);
    assert_int_equal(look.live_meta, 128); /* both are to be written anew */
    segments_add_live(s, i, -64);
    checkpoint(s, 0);
    assert_int_equal(segments_state(s, i), SEGMENT_FREE);
    assert_int_equal(segments_state(s, twin), SEGMENT_RETIRED);
    assert_int_equal(segments_twin(s, i), 0);
    assert_int_equal(segments_free(s), COUNT - SYSTEM - 1);
}

static void what_is_absent_comes_back_but_not_what_is_worn(void **state)
{
    struct segments *s = *state;
    const uint32_t used = filled(s, SEGMENT_LOG, 100, 7);
    segments_retire(s, 6);
    segments_bar(s, 6); /* stays as it is */
    segments_set_absent(s, 7, true);
    segments_set_absent(s, used, true);
    assert_int_equal(segments_gone(s), 2);
    assert_int_equal(segments_state(s, used), SEGMENT_LOG);
    assert_int_equal(segments_free(s), COUNT - SYSTEM - 3);
    segments_bar(s, 8);
    segments_set_absent(s, 8, true);
    segments_unbar(s, 8);
    assert_int_equal(segments_state(s, 8), SEGMENT_RETIRED);
    segments_add_live(s, used, -100);
    checkpoint(s, 7);
    assert_int_equal(segments_state(s, used), SEGMENT_RETIRED);
    for (uint32_t i = SYSTEM; i < COUNT; i++) {
        segments_unbar(s, i);
        segments_set_absent(s, i, false);
    }
    assert_int_equal(segments_gone(s), 0);
    assert_int_equal(segments_state(s, 6), SEGMENT_RETIRED);
    assert_int_equal(segments_free(s), COUNT - SYSTEM - 1);
}

static void erased_ones_count_as_long_as_they_are_there(void **state)
{
    struct segments *s = *state;
    segments_set_erased(s, 5, true);
    segments_set_erased(s, 6, true);
    assert_int_equal(segments_to_erase(s, 2), SEGMENT_NONE);
    segments_bar(s, 5);
    assert_int_not_equal(segments_to_erase(s, 2), SEGMENT_NONE);
    segments_unbar(s, 5);
    assert_int_equal(segments_to_erase(s, 2), SEGMENT_NONE);
    assert_int_equal(segments_take(s, SEGMENT_LOG), 5);
}

static void a_look_tells_what_holds_it_up(void **state)
{
    struct segments *s = *state;
    struct segments_barred_look look;
    const uint32_t data = filled(s, SEGMENT_WARM, 100, 0), log = filled(s, SEGMENT_LOG, 0, 9);
    const uint32_t stuck = filled(s, SEGMENT_COLD, 10, 0);
    segments_stuck(s, stuck);
    segments_bar(s, data);
    segments_bar(s, log);
    segments_bar(s, stuck);
    segments_pin(s, data);
    segments_look_barred(s, 8, &look);
    assert_int_equal(look.pinned, 1);
    assert_int_equal(look.movable, 1);
    assert_int_equal(look.stuck, 1);
    assert_int_equal(look.behind, 1);
    assert_int_equal(look.dead, 0);
    assert_int_equal(look.last_log, 9);
    segments_look_barred(s, 9, &look);
    assert_int_equal(look.behind, 0);
    assert_int_equal(look.dead, 1);
    segments_unpin(s, data);
}

static void new_ones_are_free_and_what_was_there_stays(void **state)
{
    struct segments *s = *state;
    const uint32_t used = filled(s, SEGMENT_WARM, 100, 0);
    segments_grow(s, 2 * COUNT);
    assert_int_equal(segments_count(s), 2 * COUNT);
    assert_int_equal(segments_free(s), 2 * COUNT - SYSTEM - 1);
    assert_int_equal(segments_live(s, used), 100);
    uint32_t taken = 0;
    while (segments_take(s, SEGMENT_LOG) != SEGMENT_NONE)
        taken++;
    assert_int_equal(taken, 2 * COUNT - SYSTEM - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_free_leaves_at_once_and_is_not_given_out, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_in_use_leaves_when_it_comes_free, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_given_back_unused_leaves, setup, teardown),
        cmocka_unit_test_setup_teardown(of_twins_the_one_that_stays_is_free_again, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_absent_comes_back_but_not_what_is_worn, setup, teardown),
        cmocka_unit_test_setup_teardown(erased_ones_count_as_long_as_they_are_there, setup, teardown),
        cmocka_unit_test_setup_teardown(a_look_tells_what_holds_it_up, setup, teardown),
        cmocka_unit_test_setup_teardown(new_ones_are_free_and_what_was_there_stays, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
