#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/prng.h"
#include "common/status.h"
#include "node/analytics/rollup.h"

static void points_of_minutes_add_up_to_those_of_hours(void **state)
{
    (void)state;
    struct prng p;
    struct rollup_point hour = {0}, direct = {0};
    prng_seed(&p, 1);
    uint64_t sum = 0, least = UINT64_MAX, most = 0;
    for (int minute = 0; minute < 60; minute++) {
        struct rollup_point one = {0};
        for (int sample = 0; sample < 4; sample++) {
            const uint64_t values[2] = {prng_below(&p, 1000000), 5};
            sum += values[0];
            least = values[0] < least ? values[0] : least;
            most = values[0] > most ? values[0] : most;
            rollup_sample(&one, values, 2);
            rollup_sample(&direct, values, 2);
        }
        rollup_add(&hour, &one);
    }
    assert_int_equal(hour.samples, 240);
    assert_int_equal(hour.metrics[0].sum, sum);
    assert_int_equal(hour.metrics[0].min, least);
    assert_int_equal(hour.metrics[0].max, most);
    assert_int_equal(hour.metrics[1].sum, 1200);
    assert_memory_equal(&hour, &direct, sizeof hour);
}

static void nothing_added_changes_nothing(void **state)
{
    (void)state;
    struct rollup_point a = {0}, nothing = {0};
    rollup_sample(&a, (const uint64_t[]){7}, 1);
    const struct rollup_point before = a;
    rollup_add(&a, &nothing);
    assert_memory_equal(&a, &before, sizeof a);
    rollup_add(&nothing, &a);
    assert_memory_equal(&nothing, &a, sizeof a);
}

static void buckets_are_cut_at_even_times(void **state)
{
    (void)state;
    assert_int_equal(rollup_bucket(ROLLUP_MINUTE, 119), 1);
    assert_int_equal(rollup_bucket(ROLLUP_HOUR, 7200), 2);
    assert_int_equal(rollup_bucket(ROLLUP_DAY, 86399), 0);
    assert_int_equal(rollup_bucket(ROLLUP_DAY, -1), -1);
    assert_int_equal(rollup_bucket(ROLLUP_MINUTE, -60), -1);
}

static void counters_grow_over_restarts(void **state)
{
    (void)state;
    assert_int_equal(rollup_growth(100, 130, true, true), 30);
    assert_int_equal(rollup_growth(100, 30, true, false), 30);
    assert_int_equal(rollup_growth(100, 130, true, false), 130);
    assert_int_equal(rollup_growth(100, 20, true, true), 20);
    assert_int_equal(rollup_growth(100, 130, false, false), 30);
    assert_int_equal(rollup_growth(100, 30, false, false), 0);
}

static void sums_stay_at_the_greatest_number(void **state)
{
    (void)state;
    struct rollup_point a = {0};
    rollup_sample(&a, (const uint64_t[]){UINT64_MAX}, 1);
    rollup_sample(&a, (const uint64_t[]){UINT64_MAX}, 1);
    assert_true(a.metrics[0].sum == UINT64_MAX && a.metrics[0].max == UINT64_MAX);
}

/* The stored format: change it and this fails. */
static void the_format_is_this(void **state)
{
    (void)state;
    static const uint8_t golden[] = {1, 2, 0, 0xac, 0x02, 100, 100, 3, 2, 1, 0};
    struct rollup_point a = {0}, b;
    uint8_t out[ROLLUP_BYTES_MAX];
    rollup_sample(&a, (const uint64_t[]){100, 0, 0, 1}, 4);
    rollup_sample(&a, (const uint64_t[]){200, 0, 0, 1}, 4);
    assert_int_equal(rollup_encode(&a, out), sizeof golden);
    assert_memory_equal(out, golden, sizeof golden);
    assert_int_equal(rollup_decode(&b, out, sizeof golden), 0);
    assert_memory_equal(&a, &b, sizeof a);
    for (size_t cut = 0; cut < sizeof golden; cut++)
        if (cut != 2 && cut != 7)
            assert_int_equal(rollup_decode(&b, golden, cut), PS_EDAMAGED);
    static const uint8_t newer[] = {3, 1}, nothing[] = {1, 0}, twice[] = {1, 1, 5, 1, 1, 0, 5, 1, 1, 0},
                         far[] = {2, 1, 0x80, 1, 1, 1, 0}, too_far_then[] = {1, 1, ROLLUP_METRICS_1, 1, 1, 0};
    assert_int_equal(rollup_decode(&b, newer, sizeof newer), PS_EDAMAGED);
    assert_int_equal(rollup_decode(&b, nothing, sizeof nothing), PS_EDAMAGED);
    assert_int_equal(rollup_decode(&b, twice, sizeof twice), PS_EDAMAGED);
    assert_int_equal(rollup_decode(&b, far, sizeof far), PS_EDAMAGED);
    assert_int_equal(rollup_decode(&b, too_far_then, sizeof too_far_then), PS_EDAMAGED);
}

/* What the first version had no room for is of the second; all else stays readable to programs of the first.
 */
static void only_what_is_new_is_of_a_new_version(void **state)
{
    (void)state;
    static const uint8_t golden[] = {2, 1, 3, 7, 7, 0, ROLLUP_METRICS_MAX - 1, 9, 9, 0};
    struct rollup_point a = {0}, b;
    uint64_t values[ROLLUP_METRICS_MAX] = {[3] = 7, [ROLLUP_METRICS_MAX - 1] = 9};
    uint8_t out[ROLLUP_BYTES_MAX];
    rollup_sample(&a, values, ROLLUP_METRICS_MAX);
    assert_int_equal(rollup_encode(&a, out), sizeof golden);
    assert_memory_equal(out, golden, sizeof golden);
    assert_int_equal(rollup_decode(&b, out, sizeof golden), 0);
    assert_memory_equal(&a, &b, sizeof a);
}

static void what_is_encoded_is_decoded(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 5);
    for (int round = 0; round < 200; round++) {
        struct rollup_point a = {0}, b;
        uint8_t out[ROLLUP_BYTES_MAX];
        for (int sample = 0; sample < 3; sample++) {
            uint64_t values[ROLLUP_METRICS_MAX];
            for (size_t i = 0; i < ROLLUP_METRICS_MAX; i++)
                values[i] = prng_chance(&p, 1, 3) ? 0 : prng_next(&p) >> prng_below(&p, 64);
            rollup_sample(&a, values, ROLLUP_METRICS_MAX);
        }
        const size_t n = rollup_encode(&a, out);
        assert_true(n <= ROLLUP_BYTES_MAX);
        assert_int_equal(rollup_decode(&b, out, n), 0);
        assert_memory_equal(&a, &b, sizeof a);
        /* Whatever stands there instead is refused or a point. */
        out[prng_below(&p, n)] ^= (uint8_t)(1 + prng_below(&p, 255));
        (void)rollup_decode(&b, out, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_of_minutes_add_up_to_those_of_hours),
        cmocka_unit_test(nothing_added_changes_nothing),
        cmocka_unit_test(buckets_are_cut_at_even_times),
        cmocka_unit_test(counters_grow_over_restarts),
        cmocka_unit_test(sums_stay_at_the_greatest_number),
        cmocka_unit_test(the_format_is_this),
        cmocka_unit_test(only_what_is_new_is_of_a_new_version),
        cmocka_unit_test(what_is_encoded_is_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
