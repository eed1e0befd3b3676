/* The policy alone: when, how fast, what. And what it comes to, on a model of segments without pods. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/prng.h"
#include "node/flash/collect.h"

enum {
    SEGMENT = 8 << 20
};

static void levels_follow_the_threshold_and_leave_the_reserve(void **state)
{
    (void)state;
    const struct collect_levels large = collect_levels_for(10000, 300, 75);
    assert_int_equal(large.start, 2500);
    assert_int_equal(large.low, 600);
    assert_int_equal(large.reserve, 300);
    /* In a small pool the reserve is more than 6 %. */
    const struct collect_levels small = collect_levels_for(24, 8, 75);
    assert_int_equal(small.low, 12);
    assert_int_equal(small.start, 13);
    assert_int_equal(collect_levels_for(1000, 30, 10).start, 900);
    for (uint32_t usable = 12; usable < 3000; usable += 7)
        for (uint32_t threshold = 1; threshold <= 100; threshold += 9) {
            const uint32_t reserve = usable * 3 / 100 > 8 ? usable * 3 / 100 : 8;
            const struct collect_levels l = collect_levels_for(usable, reserve, threshold);
            assert_true(l.start > l.low && l.low > l.reserve);
        }
}

/* Never faster with more room, and no step where a segment begins or ends. */
static void speed_grows_smoothly_as_room_shrinks(void **state)
{
    (void)state;
    const struct collect_levels large = collect_levels_for(10000, 300, 75),
                                l = collect_levels_for(124, 8, 75);
    assert_int_equal(collect_ratio(&large, large.start + 1), 0);
    assert_int_equal(collect_rate(&large, large.start + 1), 0);
    assert_int_equal(collect_ratio(&large, large.low), 2000);
    assert_int_equal(collect_ratio(&large, large.reserve + (large.low - large.reserve) / 2), 4000);
    assert_int_equal(collect_ratio(&large, large.reserve), COLLECT_MOST);
    assert_int_equal(collect_ratio(&large, 0), COLLECT_MOST);
    enum {
        PARTS = 64 /* of a segment */
    };
    for (uint32_t i = l.start * PARTS; i > 0; i--) {
        const double room = (double)i / PARTS, less = (double)(i - 1) / PARTS;
        const uint32_t here = collect_ratio(&l, room), next = collect_ratio(&l, less);
        assert_true(next >= here && collect_rate(&l, less) >= collect_rate(&l, room));
        const double above = room > l.reserve + 0.25 ? room - l.reserve : 0.25;
        assert_true(next - here <= here / above / PARTS * 1.1 + 2);
    }
}

static void only_what_gains_is_worth_it_and_half_live_ones_only_when_room_is_low(void **state)
{
    (void)state;
    assert_true(collect_score(false, SEGMENT, SEGMENT / 2, 10) > 0);
    assert_true(collect_score(false, SEGMENT, SEGMENT / 2 + 64, 1000000) <= 0);
    assert_true(collect_score(true, SEGMENT, SEGMENT / 2 + 64, 0) > 0);
    assert_true(collect_score(true, SEGMENT, SEGMENT - SEGMENT / 16, 0) > 0);
    assert_true(collect_score(true, SEGMENT, SEGMENT - SEGMENT / 16 + 64, 1000000) <= 0);
    assert_true(collect_score(true, SEGMENT, SEGMENT, 1000000) <= 0);
}

static void emptier_and_older_ones_are_worth_more(void **state)
{
    (void)state;
    assert_true(collect_score(true, SEGMENT, 1000, 5) > collect_score(true, SEGMENT, 2000, 5));
    assert_true(collect_score(true, SEGMENT, 1000, 6) > collect_score(true, SEGMENT, 1000, 5));
    /* One that stayed nearly full for long before one that is being emptied anyway. */
    assert_true(collect_score(true, SEGMENT, SEGMENT / 4 * 3, 1000) >
                collect_score(true, SEGMENT, SEGMENT / 4, 10));
    /* The formula itself: (1 - u) age / (1 + u) with u = 1/2 and age 3 (and one). */
    const double is = collect_score(true, 1000, 500, 3), should = 0.5 * 4 / 1.5;
    assert_true(is > should - 1e-9 && is < should + 1e-9);
}

/* ---- a model: blocks of equal size, three temperatures, no log and no metadata */

enum {
    SEGMENTS = 200,
    BLOCKS = 256, /* in each */
    LIVE = (SEGMENTS - 6) * BLOCKS * 4 / 5,
    TEMPERATURES = 3,
};

struct model {
    struct prng prng;
    int32_t at[LIVE];
    uint32_t content[SEGMENTS * BLOCKS], live[SEGMENTS], used[SEGMENTS], stamp[SEGMENTS], clock;
    uint8_t state[SEGMENTS], temperature[SEGMENTS]; /* state: 0 free, 1 open, 2 sealed */
    uint32_t free, open[TEMPERATURES];
    uint64_t written, moved;
};

static void put(struct model *m, uint32_t block, unsigned t)
{
    uint32_t s = m->open[t];
    if (s == SEGMENTS || m->used[s] == BLOCKS) {
        if (s < SEGMENTS) {
            m->state[s] = 2;
            m->stamp[s] = m->clock;
        }
        for (s = 0; m->state[s]; s++)
            ;
        m->clock++;
        m->state[s] = 1;
        m->live[s] = m->used[s] = 0;
        m->temperature[s] = (uint8_t)t;
        m->open[t] = s;
        m->free--;
    }
    if (m->at[block] >= 0)
        m->live[m->at[block] / BLOCKS]--;
    m->at[block] = (int32_t)(s * BLOCKS + m->used[s]);
    m->content[m->at[block]] = block;
    m->used[s]++;
    m->live[s]++;
}

static void collect_one(struct model *m)
{
    double best = 0;
    uint32_t victim = SEGMENTS;
    for (uint32_t s = 0; s < SEGMENTS; s++) {
        const double is =
            m->state[s] == 2 ? collect_score(true, BLOCKS, m->live[s], m->clock - m->stamp[s]) : 0;
        if (is > best) {
            best = is;
            victim = s;
        }
    }
    assert_true(victim < SEGMENTS);
    const unsigned t = m->temperature[victim] ? 2 : 1;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        const uint32_t block = m->content[victim * BLOCKS + i];
        if (m->at[block] == (int32_t)(victim * BLOCKS + i)) {
            put(m, block, t);
            m->moved++;
        }
    }
    m->state[victim] = 0;
    m->free++;
}

static double waf_of(bool hot)
{
    struct model *m = calloc(1, sizeof *m);
    prng_seed(&m->prng, 7);
    m->free = SEGMENTS;
    for (unsigned t = 0; t < TEMPERATURES; t++)
        m->open[t] = SEGMENTS;
    for (uint32_t b = 0; b < LIVE; b++)
        m->at[b] = -1;
    for (uint32_t b = 0; b < LIVE; b++)
        put(m, b, 0);
    for (uint64_t n = 0; n < (uint64_t)LIVE * 12; n++) {
        const bool often = hot && prng_below(&m->prng, 10) > 0;
        const uint32_t block = often ? (uint32_t)prng_below(&m->prng, LIVE / 10)
                               : hot ? LIVE / 10 + (uint32_t)prng_below(&m->prng, LIVE - LIVE / 10)
                                     : (uint32_t)prng_below(&m->prng, LIVE);
        while (m->free < 6)
            collect_one(m);
        put(m, block, 0);
        if (n == (uint64_t)LIVE * 8)
            m->written = m->moved = 0;
        m->written++;
    }
    const double waf = 1 + (double)m->moved / (double)m->written;
    free(m);
    return waf;
}

/* 2.693 is 1 / (1 - u) with 0.8 = (u - 1) / ln u (tests/bench/collect_bench.c has the source). */
static void uniform_overwrites_come_to_what_theory_says_and_skewed_ones_to_less(void **state)
{
    (void)state;
    const double uniform = waf_of(false), hot = waf_of(true);
    (void)printf("uniform %.3f, nine of ten to a tenth %.3f\n", uniform, hot);
    assert_true(uniform < 2.693 * 1.05 && uniform > 2.693 * 0.95);
    assert_true(hot < 0.7 * uniform);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_follow_the_threshold_and_leave_the_reserve),
        cmocka_unit_test(speed_grows_smoothly_as_room_shrinks),
        cmocka_unit_test(only_what_gains_is_worth_it_and_half_live_ones_only_when_room_is_low),
        cmocka_unit_test(emptier_and_older_ones_are_worth_more),
        cmocka_unit_test(uniform_overwrites_come_to_what_theory_says_and_skewed_ones_to_less),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
