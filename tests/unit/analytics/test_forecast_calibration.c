/* Do 90 % intervals hold the truth in 90 of 100 cases? Over many histories with known truth, of seven kinds,
 * from six weeks to five years long. Prints what it found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "synthetic_history.h"

enum {
    RUNS = 40, /* of each kind and length */
    LENGTHS = 5,
    HORIZONS = 3,
    CONFIDENCE_BINS = 5,
};
static const size_t lengths[LENGTHS] = {45, 100, 200, 400, 1826};
static const unsigned horizons[HORIZONS] = {7, 30, 90};

struct tally {
    unsigned held, below, all;
    double width, error;
};

static void add(struct tally *t, const struct forecast_prediction *p, double truth)
{
    t->all++;
    t->held += truth >= p->low && truth <= p->high;
    t->below += truth < p->low;
    t->width += p->high - p->low;
    t->error += truth > p->value ? truth - p->value : p->value - truth;
}

static double share(const struct tally *t)
{
    return t->all ? (double)t->held / t->all : 0;
}

static void print(const char *name, const struct tally *t)
{
    printf("%-8s  held %5.1f %%  below %4.1f %%  mean error %7.3g  width %7.3g  of %u\n", name,
           100 * share(t), 100.0 * t->below / t->all, t->error / t->all, t->width / t->all, t->all);
}

static struct tally total, by_kind[SYNTHETIC_KINDS], by_length[LENGTHS], by_horizon[HORIZONS];
static struct {
    double promised;
    unsigned kept, all;
} confidence[CONFIDENCE_BINS];
static struct tally cross[SYNTHETIC_KINDS][LENGTHS];
static unsigned methods[SYNTHETIC_KINDS][8];

static void judge(enum synthetic_kind kind, size_t length, const double *days, double capacity,
                  const struct forecast *f)
{
    for (size_t i = 0; i < HORIZONS; i++) {
        const struct forecast_prediction *p = &f->predictions[i];
        if (!p->known)
            continue;
        const double truth = days[lengths[length] - 1 + horizons[i]];
        add(&total, p, truth);
        add(&by_kind[kind], p, truth);
        add(&cross[kind][length], p, truth);
        add(&by_length[length], p, truth);
        add(&by_horizon[i], p, truth);
        if (horizons[i] != f->confidence_days)
            continue;
        const size_t bin =
            f->confidence >= 1 ? CONFIDENCE_BINS - 1 : (size_t)(f->confidence * CONFIDENCE_BINS);
        confidence[bin].promised += f->confidence;
        confidence[bin].all++;
        confidence[bin].kept += truth - p->value <= 0.05 * capacity && p->value - truth <= 0.05 * capacity;
    }
    methods[kind][f->method * 2 + f->seasonal]++;
}

static void run_all(void)
{
    static double days[SYNTHETIC_DAYS_MAX];
    static struct series_point points[SYNTHETIC_DAYS_MAX];
    for (size_t kind = 0; kind < SYNTHETIC_KINDS; kind++)
        for (size_t length = 0; length < LENGTHS; length++)
            for (size_t run = 0; run < RUNS; run++) {
                struct prng prng;
                struct forecast f;
                /* What is close for one is far for another. */
                const double capacity = 1e12 / (double)(1 + run % 16);
                prng_seed(&prng, kind * 1000 + length * 100 + run);
                synthetic_make((enum synthetic_kind)kind, &prng, lengths[length] + 90, days);
                for (size_t i = 0; i < lengths[length]; i++)
                    points[i] = (struct series_point){1700000000 + (int64_t)i * 86400, days[i]};
                const struct forecast_ask ask = {.points = points,
                                                 .count = lengths[length],
                                                 .now_s = points[lengths[length] - 1].time_s,
                                                 .capacity = capacity,
                                                 .horizons_days = {7, 30, 90},
                                                 .horizons = 3};
                assert_int_equal(forecast_make(&ask, &f), 0);
                judge((enum synthetic_kind)kind, length, days, capacity, &f);
            }
}

static void intervals_hold_the_truth_as_often_as_they_say(void **state)
{
    (void)state;
    run_all();
    print("all", &total);
    for (size_t i = 0; i < SYNTHETIC_KINDS; i++) {
        print(synthetic_names[i], &by_kind[i]);
        printf("          linear %u, robust %u, robust+season %u, trend %u, trend+season %u\n", methods[i][2],
               methods[i][4], methods[i][5], methods[i][6], methods[i][7]);
    }
    for (size_t i = 0; i < SYNTHETIC_KINDS; i++) {
        printf("%-8s", synthetic_names[i]);
        for (size_t k = 0; k < LENGTHS; k++)
            printf(" %5.1f", 100 * share(&cross[i][k]));
        printf("\n");
    }
    for (size_t i = 0; i < LENGTHS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%zu days", lengths[i]);
        print(name, &by_length[i]);
    }
    for (size_t i = 0; i < HORIZONS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "in %u", horizons[i]);
        print(name, &by_horizon[i]);
    }
    assert_true(share(&total) >= 0.85 && share(&total) <= 0.95);
    /* Of one kind alone, every history is of the same hard sort: what a short one has not seen yet, it can't
     * tell. */
    for (size_t i = 0; i < SYNTHETIC_KINDS; i++)
        assert_true(share(&by_kind[i]) >= 0.82 && share(&by_kind[i]) <= 0.97);
    for (size_t i = 0; i < LENGTHS; i++)
        assert_true(share(&by_length[i]) >= 0.85 && share(&by_length[i]) <= 0.95);
    for (size_t i = 0; i < HORIZONS; i++)
        assert_true(share(&by_horizon[i]) >= 0.85 && share(&by_horizon[i]) <= 0.95);
}

static void confidence_is_kept_as_often_as_promised(void **state)
{
    (void)state;
    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        if (confidence[i].all < 30)
            continue;
        const double promised = confidence[i].promised / confidence[i].all,
                     kept = (double)confidence[i].kept / confidence[i].all;
        printf("confidence %.2f: kept in %.2f of %u\n", promised, kept, confidence[i].all);
        assert_true(kept > promised - 0.15 && kept < promised + 0.15);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_hold_the_truth_as_often_as_they_say),
        cmocka_unit_test(confidence_is_kept_as_often_as_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
