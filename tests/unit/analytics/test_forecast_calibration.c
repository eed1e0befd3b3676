/* Do 90 % intervals hold the truth in 90 of 100 cases? Over many histories with known truth, from six weeks
 * to five years long, of the kinds that the forecast's constants were chosen with, and of others. Prints what
 * it found.
 *
 * Those constants were tuned with the seeds from 0 on, so the seeds here are others. An argument is the first
 * one of yet others. */
#include <inttypes.h>
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
static uint64_t first_seed = 1000000;
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

static struct tally by_kind[SYNTHETIC_KINDS];
/* Of the known kinds, and of the others. */
static struct result {
    struct tally total, by_length[LENGTHS], by_horizon[HORIZONS];
    struct {
        double promised;
        unsigned kept, all;
    } confidence[CONFIDENCE_BINS];
} results[2];
static struct tally cross[SYNTHETIC_KINDS][LENGTHS];
static unsigned methods[SYNTHETIC_KINDS][8];

static void judge(enum synthetic_kind kind, size_t length, const double *days, double capacity,
                  const struct forecast *f)
{
    struct result *r = &results[kind >= SYNTHETIC_KNOWN];
    for (size_t i = 0; i < HORIZONS; i++) {
        const struct forecast_prediction *p = &f->predictions[i];
        if (!p->known)
            continue;
        const double truth = days[lengths[length] - 1 + horizons[i]];
        add(&r->total, p, truth);
        add(&by_kind[kind], p, truth);
        add(&cross[kind][length], p, truth);
        add(&r->by_length[length], p, truth);
        add(&r->by_horizon[i], p, truth);
        if (horizons[i] != f->confidence_days)
            continue;
        const size_t bin =
            f->confidence >= 1 ? CONFIDENCE_BINS - 1 : (size_t)(f->confidence * CONFIDENCE_BINS);
        r->confidence[bin].promised += f->confidence;
        r->confidence[bin].all++;
        r->confidence[bin].kept += truth - p->value <= 0.05 * capacity && p->value - truth <= 0.05 * capacity;
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
                prng_seed(&prng, first_seed + kind * 1000 + length * 100 + run);
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

static void print_kinds(size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        print(synthetic_names[i], &by_kind[i]);
        printf("          linear %u, robust %u, robust+season %u, trend %u, trend+season %u; by length:",
               methods[i][2], methods[i][4], methods[i][5], methods[i][6], methods[i][7]);
        for (size_t k = 0; k < LENGTHS; k++)
            printf(" %5.1f", 100 * share(&cross[i][k]));
        printf("\n");
    }
}

static void print_result(const struct result *r)
{
    char name[16];
    print("all", &r->total);
    for (size_t i = 0; i < LENGTHS; i++) {
        (void)snprintf(name, sizeof name, "%zu days", lengths[i]);
        print(name, &r->by_length[i]);
    }
    for (size_t i = 0; i < HORIZONS; i++) {
        (void)snprintf(name, sizeof name, "in %u", horizons[i]);
        print(name, &r->by_horizon[i]);
    }
}

static void within(const struct tally *t, double least, double most)
{
    assert_true(share(t) >= least && share(t) <= most);
}

static void intervals_hold_the_truth_as_often_as_they_say(void **state)
{
    (void)state;
    const struct result *r = &results[0];
    printf("seeds from %" PRIu64 " on\n", first_seed);
    run_all();
    print_kinds(0, SYNTHETIC_KNOWN);
    print_result(r);
    within(&r->total, 0.85, 0.95);
    /* Of one kind alone, every history is of the same hard sort: what a short one has not seen yet, it can't
     * tell. */
    for (size_t i = 0; i < SYNTHETIC_KNOWN; i++)
        within(&by_kind[i], 0.82, 0.97);
    for (size_t i = 0; i < LENGTHS; i++)
        within(&r->by_length[i], 0.85, 0.95);
    for (size_t i = 0; i < HORIZONS; i++)
        within(&r->by_horizon[i], 0.85, 0.95);
}

/* No promise is kept as well for what the model knows nothing of; this says how far off it is (README). */
static void what_was_never_looked_at_is_held_less_often(void **state)
{
    (void)state;
    const struct result *r = &results[1];
    print_kinds(SYNTHETIC_KNOWN, SYNTHETIC_KINDS);
    print_result(r);
    within(&r->total, 0.8, 0.95);
    for (size_t i = SYNTHETIC_KNOWN; i < SYNTHETIC_KINDS; i++)
        within(&by_kind[i], 0.7, 1);
}

static void confidence_is_kept_as_often_as_promised(void **state)
{
    (void)state;
    for (size_t g = 0; g < 2; g++)
        for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
            const unsigned all = results[g].confidence[i].all;
            if (all < 30)
                continue;
            const double promised = results[g].confidence[i].promised / all,
                         kept = (double)results[g].confidence[i].kept / all;
            printf("%s kinds, confidence %.2f: kept in %.2f of %u\n", g ? "other" : "known", promised, kept,
                   all);
            assert_true(kept > promised - 0.15 && (g || kept < promised + 0.15));
        }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        first_seed = strtoull(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_hold_the_truth_as_often_as_they_say),
        cmocka_unit_test(what_was_never_looked_at_is_held_less_often),
        cmocka_unit_test(confidence_is_kept_as_often_as_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
