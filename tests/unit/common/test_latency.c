#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "common/latency.h"

#define US 1000ull

static void a_bucket_holds_what_is_below_its_end(void **state)
{
    (void)state;
    assert_int_equal(latency_bucket(0), 0);
    assert_int_equal(latency_bucket(999), 0);
    for (unsigned i = 0; i + 1 < LATENCY_BUCKETS; i++) {
        assert_int_equal(latency_bucket(latency_bucket_end_ns(i) - 1), i);
        assert_int_equal(latency_bucket(latency_bucket_end_ns(i)), i + 1);
    }
    assert_int_equal(latency_bucket(UINT64_MAX), LATENCY_BUCKETS - 1);
    assert_true(latency_bucket_end_ns(LATENCY_BUCKETS - 1) == UINT64_MAX);
}

/* Whatever was measured, a quantile lies in the bucket of the true one. */
static void a_quantile_lies_in_the_bucket_of_the_true_one(void **state)
{
    (void)state;
    uint64_t counts[LATENCY_BUCKETS] = {0};
    enum {
        N = 10000
    };
    for (unsigned i = 0; i < N; i++)
        counts[latency_bucket((uint64_t)i * i * 10)]++; /* 0 to 1 s, ascending */
    assert_int_equal(latency_count(counts), N);
    uint64_t before = 0;
    for (unsigned i = 1; i < 100; i++) {
        const uint64_t at = (uint64_t)(N * i / 100 - 1), truth = at * at * 10;
        const uint64_t told = latency_quantile_ns(counts, i / 100.0);
        const unsigned bucket = latency_bucket(truth);
        assert_true(told <= latency_bucket_end_ns(bucket));
        assert_true(bucket == 0 || told >= latency_bucket_end_ns(bucket - 1));
        assert_true(told >= before);
        before = told;
    }
}

static void quantiles_of_little_and_of_much(void **state)
{
    (void)state;
    uint64_t counts[LATENCY_BUCKETS] = {0};
    assert_int_equal(latency_quantile_ns(counts, 0.5), 0);
    counts[7] = 4; /* 64 to 128 us */
    assert_int_equal(latency_quantile_ns(counts, 0.25), 80 * US);
    assert_int_equal(latency_quantile_ns(counts, 0.5), 96 * US);
    assert_int_equal(latency_quantile_ns(counts, 1), 128 * US);
    assert_int_equal(latency_quantile_ns(counts, 7), 128 * US);
    counts[LATENCY_BUCKETS - 1] = 100; /* nobody knows how long */
    assert_int_equal(latency_quantile_ns(counts, 0.99), 4194304 * US);
    counts[0] = UINT64_MAX;
    assert_true(latency_count(counts) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_holds_what_is_below_its_end),
        cmocka_unit_test(a_quantile_lies_in_the_bucket_of_the_true_one),
        cmocka_unit_test(quantiles_of_little_and_of_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
