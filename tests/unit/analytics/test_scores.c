#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "node/analytics/health.h"
#include "node/analytics/temperature.h"
#include "node/analytics/tiering.h"

#define GIB (1ull << 30)

static void near(double a, double b, double within)
{
    if (!(fabs(a - b) <= within))
        fail_msg("%g is not within %g of %g", a, within, b);
}

/* ---- temperature */

static void a_steady_rate_settles_at_its_density(void **state)
{
    (void)state;
    struct temperature_heat heat = {.shift = temperature_shift(256 * GIB)};
    struct temperature_report r;
    uint32_t reads[TEMPERATURE_REGIONS] = {0}, writes[TEMPERATURE_REGIONS] = {0};
    assert_int_equal(heat.shift, 30);
    reads[3] = 61; /* a minute, of one GiB: 3660 an hour */
    writes[7] = 2; /* 120 an hour */
    for (int minute = 0; minute < 10 * 24 * 60; minute++) {
        temperature_fade(&heat, &temperature_scale_default, 60);
        temperature_add(&heat, reads, writes);
    }
    temperature_report(&heat, &temperature_scale_default, 256 * GIB, 2 * GIB, &r);
    near((double)r.region_density[3], 3660, 20);
    assert_int_equal(r.region[3], TEMPERATURE_HOT);
    assert_int_equal(r.region[7], TEMPERATURE_WARM);
    assert_int_equal(r.region[8], TEMPERATURE_FROZEN);
    assert_int_equal(r.bytes[TEMPERATURE_HOT], GIB);
    assert_int_equal(r.bytes[TEMPERATURE_FROZEN], 254 * GIB);
    near(r.density, 1890, 10);
    assert_int_equal(r.temperature, TEMPERATURE_WARM);
    /* A day without access is a half-life. */
    temperature_fade(&heat, &temperature_scale_default, 86400);
    temperature_report(&heat, &temperature_scale_default, 256 * GIB, 2 * GIB, &r);
    near((double)r.region_density[3], 1830, 10);
    assert_int_equal(r.region[3], TEMPERATURE_WARM);
    temperature_fade(&heat, &temperature_scale_default, 60 * 86400);
    temperature_report(&heat, &temperature_scale_default, 256 * GIB, 2 * GIB, &r);
    assert_int_equal(r.temperature, TEMPERATURE_FROZEN);
}

static void a_resized_volume_keeps_its_heat(void **state)
{
    (void)state;
    struct temperature_heat heat = {.shift = 20};
    heat.reads[0] = 10;
    heat.reads[1] = 20;
    heat.writes[255] = 5;
    temperature_resize(&heat, 21);
    assert_true(heat.reads[0] == 30 && heat.reads[1] == 0 && heat.writes[127] == 5 && heat.writes[255] == 0);
    temperature_resize(&heat, 20);
    assert_true(heat.reads[0] == 15 && heat.reads[1] == 15 && heat.writes[254] == 2.5f);
}

static void small_volumes_have_small_regions(void **state)
{
    (void)state;
    struct temperature_heat heat = {.shift = temperature_shift(3 << 20)};
    struct temperature_report r;
    assert_int_equal(heat.shift, 20);
    temperature_report(&heat, &temperature_scale_default, (3 << 20) + 4096, 0, &r);
    assert_int_equal(r.regions, 4);
    assert_int_equal(r.bytes[TEMPERATURE_FROZEN], (3 << 20) + 4096);
    assert_true(r.density == 0);
    assert_int_equal(temperature_shift(1ull << 48), 40);
    assert_int_equal(temperature_shift(256 * GIB + 1), 31);
}

/* ---- tiering */

static struct tiering_advice advise(double density)
{
    struct tiering_advice a;
    const struct tiering_ask ask = {.stored_bytes = 100 * GIB,
                                    .density = density,
                                    .accessed_bytes_month = density * 100 * 4096 * 730,
                                    .now = TIER_NVME};
    tiering_advise(&tier_costs_default, &ask, &a);
    return a;
}

static void the_cheapest_medium_that_is_fast_enough_is_advised(void **state)
{
    (void)state;
    assert_int_equal(advise(10000).tier, TIER_NVME);
    assert_int_equal(advise(4000).tier, TIER_SSD);
    assert_int_equal(advise(4).tier, TIER_HDD);
    assert_int_equal(advise(0.001).tier, TIER_ARCHIVE);
    near(advise(4).cost_now - advise(4).cost_there, 100 * (0.08 - 0.015), 1e-9);
    assert_true(advise(10000).cost_now == advise(10000).cost_there);
    assert_non_null(strstr(advise(4).reason, "hdd"));
}

static void nothing_stored_is_not_moved(void **state)
{
    (void)state;
    struct tiering_advice a;
    const struct tiering_ask ask = {.now = TIER_SSD};
    tiering_advise(&tier_costs_default, &ask, &a);
    assert_int_equal(a.tier, TIER_SSD);
}

static void prices_are_read_or_refused(void **state)
{
    (void)state;
    struct tier_costs costs = tier_costs_default;
    struct ps_error err;
    assert_int_equal(tier_costs_parse(&costs, " ssd=0.5  hdd=0", &err), 0);
    assert_true(costs.per_gib_month[TIER_SSD] == 0.5 && costs.per_gib_month[TIER_HDD] == 0);
    assert_true(costs.per_gib_month[TIER_NVME] == tier_costs_default.per_gib_month[TIER_NVME]);
    static const char *const wrong[] = {"tape=1", "ssd",    "ssd=",    "ssd=x",
                                        "ssd=-1", "ssd=1x", "ssd=nan", "nvme=1e10"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(tier_costs_parse(&costs, wrong[i], &err), PS_EINVAL);
    assert_true(costs.per_gib_month[TIER_SSD] == 0.5);
}

/* ---- health */

static struct health_report judge(struct health_ask ask)
{
    struct health_report r;
    health_report(&ask, &r);
    return r;
}

static const struct health_ask fresh = {
    .wear_known = true, .wear_mean = 10, .wear_rated = 3000, .blocks_known = true, .blocks = 1000};

static void a_fresh_drive_is_well(void **state)
{
    (void)state;
    const struct health_report r = judge(fresh);
    assert_int_equal(r.score, 100);
    assert_int_equal(r.nreasons, 0);
    assert_false(r.days_known);
}

static void wear_takes_points_and_tells_the_end(void **state)
{
    (void)state;
    struct health_ask ask = fresh;
    ask.wear_mean = 2250;
    ask.wear_per_day = 2.5;
    struct health_report r = judge(ask);
    assert_int_equal(r.score, 70);
    assert_true(r.days_known);
    near(r.days_left, 300, 1e-9);
    assert_non_null(strstr(r.reasons[0], "75 %"));
    ask.wear_mean = 4000;
    r = judge(ask);
    assert_int_equal(r.score, 40);
    assert_true(r.days_left == 0);
}

static void blocks_errors_and_variance_take_points(void **state)
{
    (void)state;
    struct health_ask ask = fresh;
    ask.retired = 10;
    assert_int_equal(judge(ask).score, 80);
    ask = fresh;
    ask.errors_30_days = 7;
    ask.errors_7_days = 1;
    assert_int_equal(judge(ask).score, 85);
    ask.errors_7_days = 7;
    assert_int_equal(judge(ask).score, 70);
    const double peers[] = {10, 20, 30};
    ask = fresh;
    ask.wear_mean = 900;
    ask.peers_wear = peers;
    ask.peers = 3;
    assert_int_equal(judge(ask).score, 90);
}

static void a_failed_drive_has_nothing_left(void **state)
{
    (void)state;
    struct health_ask ask = fresh;
    ask.failed = true;
    assert_int_equal(judge(ask).score, 0);
    ask = (struct health_ask){.wear_known = true,
                              .wear_mean = 9000,
                              .wear_rated = 3000,
                              .blocks_known = true,
                              .blocks = 1000,
                              .retired = 500,
                              .errors_7_days = 1000,
                              .errors_30_days = 1000};
    assert_int_equal(judge(ask).score, 1);
}

static void a_drive_that_tells_nothing_is_not_called_worn(void **state)
{
    (void)state;
    const struct health_report r = judge((struct health_ask){0});
    assert_int_equal(r.score, 100);
    assert_non_null(strstr(r.reasons[0], "does not tell"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_steady_rate_settles_at_its_density),
        cmocka_unit_test(a_resized_volume_keeps_its_heat),
        cmocka_unit_test(small_volumes_have_small_regions),
        cmocka_unit_test(the_cheapest_medium_that_is_fast_enough_is_advised),
        cmocka_unit_test(nothing_stored_is_not_moved),
        cmocka_unit_test(prices_are_read_or_refused),
        cmocka_unit_test(a_fresh_drive_is_well),
        cmocka_unit_test(wear_takes_points_and_tells_the_end),
        cmocka_unit_test(blocks_errors_and_variance_take_points),
        cmocka_unit_test(a_failed_drive_has_nothing_left),
        cmocka_unit_test(a_drive_that_tells_nothing_is_not_called_worn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
