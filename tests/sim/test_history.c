/* The checker itself: histories that one disk could have shown, and such that none could. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "tests/sim/history.h"

static bool check(struct history *h)
{
    char why[300] = "";
    const bool good = history_check(h, why, sizeof why);
    assert_true(good || why[0]);
    history_destroy(h);
    return good;
}

static void write(struct history *h, uint64_t value, uint64_t begin, uint64_t end)
{
    history_write_begin(h, 0, value, begin);
    if (end)
        history_write_end(h, 0, value, end);
}

static void a_block_that_nobody_wrote_is_empty(void **state)
{
    (void)state;
    struct history *h = history_create(1);
    history_read(h, 0, 0, 5, 6);
    assert_true(check(h));
    h = history_create(1);
    history_read(h, 0, 8, 5, 6);
    assert_false(check(h));
}

static void what_was_answered_is_seen(void **state)
{
    (void)state;
    struct history *h = history_create(1);
    write(h, 1, 10, 20);
    history_read(h, 0, 1, 30, 40);
    assert_true(check(h));
    h = history_create(1);
    write(h, 1, 10, 20);
    history_read(h, 0, 0, 30, 40); /* stale */
    assert_false(check(h));
}

static void a_read_beside_a_write_sees_either(void **state)
{
    (void)state;
    struct history *h = history_create(1);
    write(h, 1, 10, 50);
    history_read(h, 0, 1, 15, 20);
    history_read(h, 0, 1, 25, 30);
    assert_true(check(h));
    h = history_create(1);
    write(h, 1, 10, 50);
    history_read(h, 0, 1, 15, 20);
    history_read(h, 0, 0, 25, 30); /* and back again */
    assert_false(check(h));
}

static void a_write_without_an_answer_may_come_late_or_never(void **state)
{
    (void)state;
    struct history *h = history_create(1);
    write(h, 1, 10, 0);
    write(h, 2, 30, 40);
    history_read(h, 0, 2, 50, 60);
    history_read(h, 0, 1, 70, 80);
    assert_true(check(h));
    h = history_create(1);
    write(h, 1, 10, 0);
    write(h, 2, 30, 40);
    history_read(h, 0, 2, 90, 100);
    assert_true(check(h));
    h = history_create(1);
    write(h, 1, 10, 0);
    write(h, 2, 30, 40);
    history_read(h, 0, 1, 50, 60);
    history_read(h, 0, 2, 70, 80); /* it can't be both after and before */
    assert_false(check(h));
}

static void a_lost_write_is_noticed_by_what_follows_alone(void **state)
{
    (void)state;
    struct history *h = history_create(1);
    write(h, 1, 10, 20);
    history_read(h, 0, 1, 21, 22);
    write(h, 2, 30, 40);
    history_read(h, 0, 1, 50, 60);
    assert_false(check(h));
}

static void blocks_are_apart(void **state)
{
    (void)state;
    struct history *h = history_create(2);
    write(h, 1, 10, 20);
    history_read(h, 1, 0, 30, 40);
    history_read(h, 0, 1, 30, 40);
    assert_true(check(h));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_that_nobody_wrote_is_empty),
        cmocka_unit_test(what_was_answered_is_seen),
        cmocka_unit_test(a_read_beside_a_write_sees_either),
        cmocka_unit_test(a_write_without_an_answer_may_come_late_or_never),
        cmocka_unit_test(a_lost_write_is_noticed_by_what_follows_alone),
        cmocka_unit_test(blocks_are_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
