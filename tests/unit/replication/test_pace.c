#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "node/replication/pace.h"

/* A member that is fed `feed` batches a second while hosts would make `load`; returns the seconds until it
 * has all, and the most by which hosts were slowed. */
static unsigned run(uint64_t behind, double load, double feed, uint32_t *most)
{
    struct pace pace = {0};
    double gap = (double)behind;
    *most = 0;
    for (unsigned second = 1; second < 10000; second++) {
        const uint32_t slowed = pace_look(&pace, second * PACE_EVERY_NS, (uint64_t)gap + (gap > 0));
        *most = slowed > *most ? slowed : *most;
        gap += load * (1000 - slowed) / 1000 - feed;
        if (gap <= 0)
            return second;
    }
    return 0;
}

static void a_member_that_is_fast_enough_slows_nobody(void **state)
{
    (void)state;
    uint32_t most;
    const unsigned seconds = run(60000, 1000, 3500, &most);
    assert_true(seconds > 0 && seconds < 60);
    assert_int_equal(most, 0);
}

static void hosts_are_slowed_until_the_gap_closes_and_never_by_more_than_thirty_percent(void **state)
{
    (void)state;
    uint32_t most;
    assert_true(run(60000, 1000, 1000, &most) > 0);
    assert_true(most > 0 && most < 300);
    assert_true(run(60000, 1000, 900, &most) > 0);
    assert_true(most > 0 && most < 300);
    assert_int_equal(run(60000, 1000, 500, &most), 0); /* hopeless, and still not more */
    assert_int_equal(most, PACE_MOST);
}

static void who_has_caught_up_slows_nobody_any_more(void **state)
{
    (void)state;
    struct pace pace = {0};
    uint32_t slowed = 0;
    for (unsigned i = 1; i <= 10; i++)
        slowed = pace_look(&pace, i * PACE_EVERY_NS, 100 + i);
    assert_int_equal(slowed, PACE_MOST);
    assert_int_equal(pace_look(&pace, 11 * PACE_EVERY_NS, 0), 0);
    /* And what was before is forgotten. */
    assert_int_equal(pace_look(&pace, 12 * PACE_EVERY_NS, 5000), 0);
}

static void looks_in_between_change_nothing(void **state)
{
    (void)state;
    struct pace pace = {0};
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(pace_look(&pace, PACE_EVERY_NS + i, 1000 + i), 0);
    assert_int_equal(pace_look(&pace, 2 * PACE_EVERY_NS, 2000), PACE_STEP);
    assert_int_equal(pace_look(&pace, 2 * PACE_EVERY_NS + 1, 3000), PACE_STEP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_that_is_fast_enough_slows_nobody),
        cmocka_unit_test(hosts_are_slowed_until_the_gap_closes_and_never_by_more_than_thirty_percent),
        cmocka_unit_test(who_has_caught_up_slows_nobody_any_more),
        cmocka_unit_test(looks_in_between_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
