#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "common/blkdev_ahead.h"

static const uint64_t chunk = AHEAD_CHUNK_BYTES, piece = AHEAD_PIECE_BYTES;

/* Fills all that is asked for; returns how many bytes. */
static uint64_t fill_all(struct ahead *a)
{
    uint64_t offset, length, total = 0;
    while (ahead_next(a, &offset, &length)) {
        ahead_piece_done(a, true);
        total += length;
    }
    return total;
}

static void nothing_is_filled_before_the_first_write(void **state)
{
    (void)state;
    struct ahead a;
    assert_true(ahead_init(&a, 10 * chunk));
    ahead_mark_blank(&a, 0, 10 * chunk);
    assert_int_equal(fill_all(&a), 0);
    ahead_free(&a);
}

static void a_write_has_the_next_chunks_filled_once(void **state)
{
    (void)state;
    struct ahead a;
    uint64_t offset, length;
    assert_true(ahead_init(&a, 10 * chunk));
    ahead_mark_blank(&a, 0, 10 * chunk);
    assert_false(ahead_touch(&a, 0, 4096));
    assert_true(ahead_next(&a, &offset, &length));
    assert_int_equal(offset, chunk);
    assert_int_equal(length, piece);
    assert_false(ahead_next(&a, &offset, &length)); /* one at a time */
    ahead_piece_done(&a, true);
    assert_true(ahead_next(&a, &offset, &length));
    assert_int_equal(offset, chunk + piece);
    ahead_piece_done(&a, true);
    assert_int_equal(fill_all(&a), AHEAD_CHUNKS * chunk - 2 * piece);
    (void)ahead_touch(&a, 4096, 4096);
    assert_int_equal(fill_all(&a), 0);
    /* Moving on one chunk asks for one more. */
    (void)ahead_touch(&a, chunk, 4096);
    assert_int_equal(fill_all(&a), chunk);
    ahead_free(&a);
}

static void chunks_with_data_are_never_filled(void **state)
{
    (void)state;
    struct ahead a;
    uint64_t offset, length;
    assert_true(ahead_init(&a, 6 * chunk));
    /* Chunk 1 holds data at its end, chunk 2 at its start. */
    ahead_mark_blank(&a, chunk, chunk - 4096);
    ahead_mark_blank(&a, 2 * chunk + 4096, 2 * chunk);
    (void)ahead_touch(&a, 0, 4096);
    assert_true(ahead_next(&a, &offset, &length));
    assert_int_equal(offset, 3 * chunk);
    ahead_piece_done(&a, true);
    assert_int_equal(fill_all(&a), chunk - piece);
    ahead_free(&a);
}

static void a_write_into_the_piece_in_flight_waits_and_ends_the_filling(void **state)
{
    (void)state;
    struct ahead a;
    uint64_t offset, length;
    assert_true(ahead_init(&a, 3 * chunk));
    ahead_mark_blank(&a, 0, 3 * chunk);
    (void)ahead_touch(&a, 0, 4096);
    assert_true(ahead_next(&a, &offset, &length));
    assert_true(ahead_touch(&a, offset + length - 4096, 8192));
    assert_false(ahead_touch(&a, offset + length, 4096)); /* same chunk, beside the piece */
    ahead_piece_done(&a, true);
    assert_true(ahead_next(&a, &offset, &length));
    assert_int_equal(offset, 2 * chunk); /* chunk 1 has data now */
    ahead_piece_done(&a, true);
    ahead_free(&a);
}

static void a_chunk_that_was_not_blank_is_left_alone(void **state)
{
    (void)state;
    struct ahead a;
    uint64_t offset, length;
    assert_true(ahead_init(&a, 3 * chunk));
    ahead_mark_blank(&a, 0, 3 * chunk);
    (void)ahead_touch(&a, 0, 4096);
    assert_true(ahead_next(&a, &offset, &length));
    ahead_piece_done(&a, false);
    assert_true(ahead_next(&a, &offset, &length));
    assert_int_equal(offset, 2 * chunk);
    ahead_piece_done(&a, true);
    ahead_free(&a);
}

static void the_last_chunk_may_be_short(void **state)
{
    (void)state;
    struct ahead a;
    assert_true(ahead_init(&a, chunk + piece + 4096));
    ahead_mark_blank(&a, 0, chunk + piece + 4096);
    (void)ahead_touch(&a, 0, 4096);
    assert_int_equal(fill_all(&a), piece + 4096);
    ahead_free(&a);
}

static void a_stream_of_large_writes_has_nothing_filled_until_a_small_one_comes(void **state)
{
    (void)state;
    struct ahead a;
    uint64_t offset, length;
    assert_true(ahead_init(&a, 3 * chunk));
    ahead_mark_blank(&a, 0, 3 * chunk);
    (void)ahead_touch(&a, 0, AHEAD_LARGE_BYTES);
    assert_false(ahead_next(&a, &offset, &length));
    (void)ahead_touch(&a, AHEAD_LARGE_BYTES, 4096);
    assert_int_equal(fill_all(&a), 2 * chunk);
    ahead_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_filled_before_the_first_write),
        cmocka_unit_test(a_write_has_the_next_chunks_filled_once),
        cmocka_unit_test(chunks_with_data_are_never_filled),
        cmocka_unit_test(a_write_into_the_piece_in_flight_waits_and_ends_the_filling),
        cmocka_unit_test(a_chunk_that_was_not_blank_is_left_alone),
        cmocka_unit_test(the_last_chunk_may_be_short),
        cmocka_unit_test(a_stream_of_large_writes_has_nothing_filled_until_a_small_one_comes),
    };
    return cmocka_run_group_tests_name("blkdev_ahead", tests, NULL, NULL);
}
