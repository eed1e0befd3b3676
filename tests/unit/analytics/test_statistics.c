#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "common/prng.h"
#include "node/analytics/statistics.h"

static void logarithms_and_powers_are_as_libm_has_them(void **state)
{
    (void)state;
    for (double x = 1e-300; x < 1e300; x *= 3.7)
        assert_true(fabs(stat_log(x) - log(x)) <= 1e-14 * (1 + fabs(log(x))));
    for (double x = -699; x < 700; x += 1.37)
        assert_true(fabs(stat_exp(x) / exp(x) - 1) < 1e-12);
    assert_true(stat_exp(-701) == 0);
    assert_true(fabs(stat_exp2(-1) - 0.5) < 1e-15);
}

static void quantiles_of_the_normal_distribution_are_those_of_tables(void **state)
{
    (void)state;
    assert_true(fabs(stat_normal_quantile(0.5)) < 1e-9);
    assert_true(fabs(stat_normal_quantile(0.95) - 1.6448536269514722) < 1e-8);
    assert_true(fabs(stat_normal_quantile(0.001) + 3.090232306167813) < 1e-8);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void select_finds_what_sorting_finds(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 7);
    for (size_t n = 1; n < 70; n++)
        for (size_t k = 0; k < n; k++) {
            double v[70], sorted[70];
            for (size_t i = 0; i < n; i++)
                v[i] = sorted[i] = (double)prng_below(&p, 1 + n / 2); /* many are equal */
            qsort(sorted, n, sizeof *sorted, ascending);
            assert_true(stat_select(v, n, k) == sorted[k]);
            for (size_t i = 0; i < k; i++)
                assert_true(v[i] <= v[k]);
            for (size_t i = k; i < n; i++)
                assert_true(v[i] >= v[k]);
        }
}

static void medians_and_quantiles_lie_between_neighbours(void **state)
{
    (void)state;
    double even[] = {4, 1, 3, 2}, odd[] = {9, 1, 5}, five[] = {50, 10, 40, 20, 30};
    assert_true(stat_median(even, 4) == 2.5);
    assert_true(stat_median(odd, 3) == 5);
    assert_true(fabs(stat_quantile(five, 5, 0.9) - 46) < 1e-9);
    double spread[] = {1, 2, 3, 4, 100};
    assert_true(fabs(stat_mad_sigma(spread, 5, 3) - 1.4826) < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logarithms_and_powers_are_as_libm_has_them),
        cmocka_unit_test(quantiles_of_the_normal_distribution_are_those_of_tables),
        cmocka_unit_test(select_finds_what_sorting_finds),
        cmocka_unit_test(medians_and_quantiles_lie_between_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
