#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "synthetic_history.h"

#define DAY   86400
#define START 1700000000

static struct series_point points[5000];
static double days[SYNTHETIC_DAYS_MAX];

static struct forecast ask_about(size_t count, int64_t now_s, double capacity)
{
    struct forecast f;
    const struct forecast_ask ask = {.points = points,
                                     .count = count,
                                     .now_s = now_s,
                                     .capacity = capacity,
                                     .horizons_days = {7, 30, 90},
                                     .horizons = 3};
    assert_int_equal(forecast_make(&ask, &f), 0);
    return f;
}

static void put_days(size_t count)
{
    for (size_t i = 0; i < count; i++)
        points[i] = (struct series_point){START + (int64_t)i * DAY, days[i]};
}

static struct forecast ask_days(size_t count, double capacity)
{
    put_days(count);
    return ask_about(count, points[count - 1].time_s, capacity);
}

static void near(double a, double b, double within)
{
    if (!(a >= b - within && a <= b + within))
        fail_msg("%g is not within %g of %g", a, within, b);
}

static void a_line_goes_on_as_a_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < 120; i++)
        days[i] = 100e9 + 2e9 * (double)i;
    const struct forecast f = ask_days(120, 500e9);
    near(f.current, 338e9, 1);
    near(f.per_day, 2e9, 1e5);
    near(f.predictions[0].value, 352e9, 1e7);
    near(f.predictions[1].value, 398e9, 1e7);
    near(f.predictions[2].value, 518e9, 1e7);
    near(f.predictions[2].high - f.predictions[2].low, 0, 1e8);
    assert_true(f.at_80.known && !f.at_80.reached && f.at_90.known);
    near(f.at_80.days, 31, 0.1);
    near(f.at_90.days, 56, 0.1);
    assert_true(f.confidence > 0.99);
}

static void too_little_history_is_said(void **state)
{
    (void)state;
    const struct forecast none = ask_about(0, START, 1e12);
    assert_int_equal(none.method, FORECAST_NONE);
    assert_non_null(strstr(none.why, "too little history"));
    for (size_t i = 0; i < 20; i++) /* hours */
        points[i] = (struct series_point){START + (int64_t)i * 3600, 1e9 * (double)i};
    const struct forecast f = ask_about(20, points[19].time_s, 1e12);
    assert_int_equal(f.method, FORECAST_NONE);
    assert_true(f.current == 19e9 && f.confidence == 0);
    assert_false(f.predictions[0].known || f.at_80.known);
}

static void no_further_is_predicted_than_history_is_long(void **state)
{
    (void)state;
    for (size_t i = 0; i < 240; i++) /* ten days of hours */
        points[i] = (struct series_point){START + (int64_t)i * 3600, 1e9 * (double)i};
    const struct forecast f = ask_about(240, points[239].time_s, 1e12);
    assert_int_equal(f.step_s, 3600);
    assert_true(f.predictions[0].known);
    near(f.predictions[0].value, 407e9, 1e8);
    assert_false(f.predictions[1].known || f.predictions[2].known);
    /* 80 percent is 23 days away. */
    assert_false(f.at_80.known);
    near(f.searched_days, 10, 0.1);
}

static void weekends_are_seen_and_foreseen(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 3);
    for (size_t i = 0; i < 210; i++)
        days[i] = 100e9 + 1e9 * (double)i - (i % 7 >= 5 ? 10e9 : 0) + 0.1e9 * synthetic_normal(&p);
    const struct forecast f = ask_days(200, 1e12);
    assert_true(f.seasonal);
    near(f.predictions[0].value, days[206], 1e9);
    assert_true(f.error_vs_linear < 0.5);
}

static void a_deleted_volume_does_not_bend_the_growth(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 4);
    for (size_t i = 0; i < 200; i++)
        days[i] = 300e9 + 1e9 * (double)i - (i >= 170 ? 150e9 : 0) + 0.1e9 * synthetic_normal(&p);
    const struct forecast f = ask_days(200, 1e12);
    assert_int_equal(f.shifts, 1);
    near(f.per_day, 1e9, 0.1e9);
    near(f.predictions[0].value, days[199] + 7e9, 2e9);
    near(f.predictions[1].value, days[199] + 30e9, 5e9);
    assert_true(f.error_vs_linear < 0.5);
    /* It may happen again, which only the low end tells. */
    assert_true(f.predictions[2].low < f.predictions[2].value - 20e9);
}

static void gaps_are_not_zeroes(void **state)
{
    (void)state;
    size_t n = 0;
    for (size_t i = 0; i < 200; i++)
        if (i % 3 != 1 && (i < 90 || i > 100))
            points[n++] = (struct series_point){START + (int64_t)i * DAY, 100e9 + 2e9 * (double)i};
    const struct forecast f = ask_about(n, points[n - 1].time_s, 1e12);
    assert_int_equal(f.samples, n);
    near(f.per_day, 2e9, 1e6);
    near(f.predictions[1].value, points[n - 1].value + 60e9, 1e8);
}

static void what_is_planned_comes_on_top(void **state)
{
    (void)state;
    for (size_t i = 0; i < 120; i++)
        days[i] = 100e9 + 1e9 * (double)i;
    put_days(120);
    struct forecast f;
    const struct forecast_ask ask = {.points = points,
                                     .count = 120,
                                     .now_s = points[119].time_s,
                                     .capacity = 500e9,
                                     .horizons_days = {30},
                                     .horizons = 1,
                                     .plan_at_once = 50e9,
                                     .plan_per_day = 2e9};
    assert_int_equal(forecast_make(&ask, &f), 0);
    near(f.predictions[0].value, 219e9 + 30e9 + 50e9 + 60e9, 1e7);
    near(f.at_80.days, (400e9 - 269e9) / 3e9, 0.1);
    near(f.current, 219e9, 1);
}

static void what_a_clock_put_into_the_future_is_left_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < 120; i++)
        days[i] = 100e9 + 1e9 * (double)i;
    put_days(120);
    points[120] = (struct series_point){points[119].time_s + DAY / 2, 7e12};
    points[121] = (struct series_point){points[119].time_s + 2 * DAY, 8e12};
    points[122] = (struct series_point){START + 4000ll * DAY, 9e12};
    const struct forecast f = ask_about(123, points[119].time_s, 1e12);
    assert_int_equal(f.samples, 120);
    assert_int_equal(f.steps, 120);
    near(f.current, 219e9, 1);
    near(f.predictions[0].value, 226e9, 1e7);
}

static void nothing_happening_goes_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < 400; i++)
        days[i] = 77e9;
    const struct forecast f = ask_days(400, 100e9);
    near(f.predictions[2].value, 77e9, 1e6);
    assert_false(f.at_80.known || f.at_80.reached);
    for (size_t i = 0; i < 400; i++)
        days[i] = 85e9;
    const struct forecast full = ask_days(400, 100e9);
    assert_true(full.at_80.reached && full.at_80.days == 0);
    assert_false(full.at_90.reached);
}

static void what_shrinks_never_falls_below_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < 100; i++)
        days[i] = 100e9 - 1e9 * (double)i;
    const struct forecast f = ask_days(100, 200e9);
    assert_true(f.predictions[2].value == 0 && f.predictions[2].low == 0);
    assert_false(f.at_80.known);
}

static void the_same_history_gives_the_same_forecast(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 9);
    synthetic_make(SYNTHETIC_SHIFTS, &p, 500, days);
    const struct forecast a = ask_days(500, 1e12), b = ask_days(500, 1e12);
    assert_memory_equal(a.predictions, b.predictions, sizeof a.predictions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_goes_on_as_a_line),
        cmocka_unit_test(too_little_history_is_said),
        cmocka_unit_test(no_further_is_predicted_than_history_is_long),
        cmocka_unit_test(weekends_are_seen_and_foreseen),
        cmocka_unit_test(a_deleted_volume_does_not_bend_the_growth),
        cmocka_unit_test(gaps_are_not_zeroes),
        cmocka_unit_test(what_is_planned_comes_on_top),
        cmocka_unit_test(what_a_clock_put_into_the_future_is_left_out),
        cmocka_unit_test(nothing_happening_goes_on),
        cmocka_unit_test(what_shrinks_never_falls_below_nothing),
        cmocka_unit_test(the_same_history_gives_the_same_forecast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
