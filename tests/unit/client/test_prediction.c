/* test_prediction [FIRST_SEED [SEEDS]]: estimates against files whose truth is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/prediction.h"
#include "common/prng.h"

enum {
    EXTENT = 8,
    BLOCKS = 1 << 17, /* 512 MiB */
    EXTENTS = BLOCKS / EXTENT
};

static uint64_t first_seed = 1, seeds = 5;

/* ---- files that are made up: the contents of each block, 0 a pattern */

struct file {
    uint64_t key[BLOCKS];
    bool stored[BLOCKS];
};

/* What a content compresses to: anything, but the same each time. */
static uint32_t bytes_of(uint64_t key)
{
    return 64 * (uint32_t)(1 + prng_mix(key) % 64);
}

static void unique(struct file *f, struct prng *r)
{
    for (size_t i = 0; i < BLOCKS; i++)
        f->key[i] = prng_next(r) | 1;
}

/* Zeroes and what is stored already come in runs. */
static void mixed(struct file *f, struct prng *r)
{
    unique(f, r);
    for (size_t i = 0; i < BLOCKS;) {
        const uint64_t kind = prng_below(r, 4), run = 1 + prng_below(r, 300);
        for (size_t end = i + run; i < end && i < BLOCKS; i++) {
            f->key[i] = kind == 0 ? 0 : f->key[i];
            f->stored[i] = kind == 1;
        }
    }
}

/* The second half is the first one. */
static void doubled(struct file *f, struct prng *r)
{
    unique(f, r);
    memcpy(f->key + BLOCKS / 2, f->key, sizeof f->key / 2);
}

/* Files of all lengths, some of them there several times, beginning anywhere. */
static void copied_files(struct file *f, struct prng *r)
{
    static uint64_t pieces[64][512];
    size_t lengths[64];
    for (size_t k = 0; k < 64; k++) {
        lengths[k] = 1 + prng_below(r, 512);
        for (size_t i = 0; i < lengths[k]; i++)
            pieces[k][i] = prng_next(r) | 1;
    }
    for (size_t i = 0; i < BLOCKS;) {
        const size_t k = prng_below(r, 64);
        const bool copy = prng_chance(r, 1, 3);
        for (size_t j = 0; j < lengths[k] && i < BLOCKS; j++, i++)
            f->key[i] = copy ? pieces[k][j] : prng_next(r) | 1;
    }
}

/* Each block by itself has one to five copies, anywhere. */
static void scattered(struct file *f, struct prng *r)
{
    for (size_t i = 0; i < BLOCKS;) {
        const uint64_t key = prng_next(r) | 1, copies = 1 + prng_below(r, 5);
        for (uint64_t k = 0; k < copies && i < BLOCKS; k++)
            f->key[i++] = key;
    }
    for (size_t i = BLOCKS - 1; i > 0; i--) {
        const size_t k = prng_below(r, i + 1);
        const uint64_t key = f->key[i];
        f->key[i] = f->key[k];
        f->key[k] = key;
    }
}

/* Four of ten blocks are one of a hundred. */
static void popular(struct file *f, struct prng *r)
{
    for (size_t i = 0; i < BLOCKS; i++)
        f->key[i] = prng_chance(r, 4, 10) ? 1 + 2 * prng_below(r, 100) : prng_next(r) | 1;
}

static const struct {
    const char *name;
    void (*make)(struct file *f, struct prng *r);
} kinds[] = {{"unique", unique},       {"mixed", mixed},
             {"doubled", doubled},     {"copied files", copied_files},
             {"scattered", scattered}, {"popular", popular}};
enum {
    KINDS = sizeof kinds / sizeof kinds[0]
};

/* ---- what a node would measure */

static void measure(const struct file *f, size_t extent, struct pstorage_measured out[EXTENT])
{
    for (size_t i = 0; i < EXTENT; i++) {
        const uint64_t key = f->key[extent * EXTENT + i];
        out[i] = (struct pstorage_measured){PSTORAGE_MEASURED_NEW, bytes_of(key), key};
        if (key == 0 || f->stored[extent * EXTENT + i])
            out[i] = (struct pstorage_measured){key ? PSTORAGE_MEASURED_STORED : PSTORAGE_MEASURED_PATTERN, 0,
                                                key};
        for (size_t k = 0; k < i && out[i].kind == PSTORAGE_MEASURED_NEW; k++)
            if (out[k].key == key)
                out[i] = (struct pstorage_measured){PSTORAGE_MEASURED_TWIN, 0, key};
    }
}

/* One of `one_in` extents, drawn at random. */
static void predict(const struct file *f, uint64_t one_in, uint64_t seed, struct prediction_result *out)
{
    struct prediction *p = prediction_create(EXTENTS, seed);
    struct pstorage_measured blocks[EXTENT];
    struct prng r;
    prng_seed(&r, seed);
    uint64_t wanted = EXTENTS / one_in;
    for (size_t e = 0; e < EXTENTS; e++) {
        if (!prng_chance(&r, wanted, EXTENTS - e))
            continue;
        wanted--;
        measure(f, e, blocks);
        assert_true(prediction_add(p, blocks, EXTENT));
    }
    assert_true(prediction_make(p, out));
    prediction_destroy(p);
}

static struct file *make(size_t kind, uint64_t seed)
{
    struct file *f = calloc(1, sizeof *f);
    struct prng r;
    assert_non_null(f);
    prng_seed(&r, seed * KINDS + kind);
    kinds[kind].make(f, &r);
    return f;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Counted in another way than by the code under test. */
static double truth(const struct file *f)
{
    static uint64_t keys[BLOCKS];
    size_t count = 0;
    double bytes = 0;
    for (size_t i = 0; i < BLOCKS; i++)
        if (f->key[i] && !f->stored[i])
            keys[count++] = f->key[i];
    qsort(keys, count, sizeof keys[0], by_value);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || keys[i] != keys[i - 1])
            bytes += bytes_of(keys[i]);
    return bytes / BLOCKS / PSTORAGE_MEASURE_BLOCK_BYTES;
}

/* ---- tests */

static void a_file_that_is_looked_at_whole_is_counted(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct file *f = make(kind, first_seed);
        struct prediction_result r;
        predict(f, 1, 1, &r);
        assert_int_equal(r.blocks, BLOCKS);
        assert_true(fabs(r.occupied - truth(f)) < 1e-9);
        assert_true(r.low == r.occupied && r.high == r.occupied);
        assert_true(fabs(r.pattern + r.stored_already + r.duplicate + r.unique - 1) < 1e-9);
        free(f);
    }
}

/* Intervals that say 95 % hold the truth about as often. A quarter is enough for two points, a sixteenth (32
 * MiB here) mostly for five; what is less is told by the interval. */
static void samples_come_near_the_truth_and_say_how_near(void **state)
{
    static const uint64_t one_in[] = {4, 16, 64};
    unsigned held_of_all = 0, all = 0;
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++)
        for (size_t k = 0; k < sizeof one_in / sizeof one_in[0]; k++) {
            double error = 0, most = 0, width = 0;
            unsigned held = 0;
            for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
                struct file *f = make(kind, seed);
                struct prediction_result r;
                predict(f, one_in[k], seed + 1000, &r);
                const double is = truth(f), off = fabs(r.occupied - is);
                error += 100 * off;
                most = 100 * off > most ? 100 * off : most;
                width += 100 * (r.high - r.low);
                held += r.low <= is && is <= r.high;
                assert_true(r.low >= 0 && r.low <= r.occupied && r.occupied <= r.high);
                assert_true(fabs(r.pattern + r.stored_already + r.duplicate + r.unique - 1) < 0.02);
                free(f);
            }
            print_message(
                "%-13s 1 in %2u: off by %.2f points, at most %.2f; interval %.2f wide, held %u of %u\n",
                kinds[kind].name, (unsigned)one_in[k], error / (double)seeds, most, width / (double)seeds,
                held, (unsigned)seeds);
            if (one_in[k] == 4)
                assert_true(most < 2);
            if (one_in[k] == 16)
                assert_true(error / (double)seeds < 4);
            held_of_all += held;
            all += (unsigned)seeds;
        }
    print_message("held %u of %u\n", held_of_all, all);
    assert_true(held_of_all * 100 >= all * 92);
}

/* Of 1 in 1,000, no pair of equal blocks is seen: there might be as many as one likes, and it is said. */
static void a_tiny_sample_knows_how_little_it_knows(void **state)
{
    (void)state;
    struct file *f = make(2, first_seed);
    struct prediction_result r;
    predict(f, 1000, first_seed, &r);
    const double is = truth(f);
    print_message("doubled, 1 in 1000: %.3f, %.3f to %.3f; truly %.3f\n", r.occupied, r.low, r.high, is);
    assert_true(r.low <= is && is <= r.high);
    assert_true(r.high - r.low > 0.2);
    free(f);
}

static void nothing_is_no_result(void **state)
{
    struct prediction *p = prediction_create(10, 1);
    struct prediction_result r;
    struct pstorage_measured blocks[EXTENT];
    (void)state;
    assert_false(prediction_make(p, &r));
    /* Nothing but patterns. */
    for (size_t i = 0; i < EXTENT; i++)
        blocks[i] = (struct pstorage_measured){PSTORAGE_MEASURED_PATTERN, 0, 0};
    assert_true(prediction_add(p, blocks, EXTENT));
    assert_true(prediction_make(p, &r));
    assert_true(r.pattern == 1 && r.occupied == 0 && r.low == 0);
    prediction_destroy(p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_is_looked_at_whole_is_counted),
        cmocka_unit_test(samples_come_near_the_truth_and_say_how_near),
        cmocka_unit_test(a_tiny_sample_knows_how_little_it_knows),
        cmocka_unit_test(nothing_is_no_result),
    };
    first_seed = argc > 1 ? strtoull(argv[1], NULL, 0) : first_seed;
    seeds = argc > 2 ? strtoull(argv[2], NULL, 0) : seeds;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
