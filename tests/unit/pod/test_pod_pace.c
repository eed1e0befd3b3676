/* What hosts feel of garbage collection, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/collect.h"
#include "tests/support/timed_load.h"

enum {
    MIB = 1 << 20,
    SEGMENT = 2 * MIB,
    SEGMENTS = 128,
    PERCENT = 77, /* of what hosts may fill */
};

static struct timed_load *pool;

static struct timed_load *start(uint64_t segments, unsigned percent)
{
    struct timed_load *t = calloc(1, sizeof *t);
    assert_non_null(t);
    timed_start(t, segments * SEGMENT, SEGMENT, percent, 1);
    return t;
}

static void end(struct timed_load *t)
{
    timed_end(t);
    free(t);
}

/* Full, and collected since it was overwritten once. */
static int setup(void **state)
{
    (void)state;
    pool = start(SEGMENTS, PERCENT);
    timed_fill(pool);
    timed_write(pool, pool->blocks);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    end(pool);
    return 0;
}

/* ---- latency */

static double empty_99_us(double mib_s)
{
    struct timed_load *t = start(SEGMENTS, PERCENT);
    timed_measure(t, mib_s, t->blocks / 2);
    const double us = timed_latency_us(t, 0.99);
    end(t);
    return us;
}

static void tell(const char *what, double empty_us)
{
    (void)printf("%s: 50 %% %.0f us, 99 %% %.0f us, most %.0f us; empty: 99 %% %.0f us\n", what,
                 timed_latency_us(pool, 0.5), timed_latency_us(pool, 0.99), timed_latency_us(pool, 1),
                 empty_us);
}

/* In a pool as small as this one room for one segment more or less is all the difference: neither its taking,
 * nor the wait for the checkpoint that frees another, nor the end of a segment in the middle of the queue may
 * be felt. */
static void writes_are_slowed_down_evenly_while_garbage_is_collected(void **state)
{
    (void)state;
    const double empty = empty_99_us(0);
    timed_measure(pool, 0, pool->blocks / 2);
    tell("the queue always full", empty);
    assert_true(timed_latency_us(pool, 0.99) <= 5.5 * empty);
    assert_true(timed_latency_us(pool, 0.99) <= 1.5 * timed_latency_us(pool, 0.5));
    assert_true(timed_latency_us(pool, 1) <= 2 * timed_latency_us(pool, 0.5));
}

static void writes_at_three_quarters_of_the_throughput_hardly_wait(void **state)
{
    (void)state;
    const double empty = empty_99_us(200);
    timed_measure(pool, 200, pool->blocks / 2);
    tell("at 200 MiB/s", empty);
    assert_true(timed_latency_us(pool, 0.99) <= 5 * empty);
    assert_true(timed_latency_us(pool, 1) <= 8 * empty);
}

/* Victims of which hardly anything lives are read for long for the little that is moved. */
static void hot_and_cold_writes_are_slowed_down_evenly(void **state)
{
    (void)state;
    pool->hot = true;
    timed_write(pool, pool->blocks);
    timed_measure(pool, 0, pool->blocks);
    tell("nine of ten to a tenth", 0);
    assert_true(timed_latency_us(pool, 0.99) <= 1.55 * timed_latency_us(pool, 0.5));
    assert_true(timed_latency_us(pool, 1) <= 2.5 * timed_latency_us(pool, 0.5));
}

/* Until garbage is being collected for what is written, while little is free or more than that. */
static struct collect *until_at_work(bool little)
{
    struct collect *c = pool->pod->collect;
    for (unsigned i = 0; c->walk.victim == SEGMENT_NONE || (c->room <= c->levels.low) != little ||
                         collect_ratio(&c->levels, collect_room(pool->pod)) == 0;
         i++) {
        timed_write(pool, 1);
        assert_true(i < 1000000);
    }
    return c;
}

/* It would be worked off as soon as little is free, and hosts would wait for all of it. */
static void little_is_owed_while_there_is_room(void **state)
{
    (void)state;
    pool = start(SEGMENTS, 50);
    timed_fill(pool);
    pool->hot = true;
    struct collect *c = until_at_work(false);
    for (int i = 0; i < 1000; i++)
        collect_logged(pool->pod, 64 * MIB);
    assert_int_equal(c->credit, COLLECT_DEBT_BYTES);
    assert_false(collect_holds_hosts(pool->pod));
    end(pool);
}

static void what_was_written_while_little_is_free_is_owed(void **state)
{
    (void)state;
    struct collect *c = until_at_work(true);
    c->credit = 0;
    collect_logged(pool->pod, 64 * MIB);
    assert_true(c->credit > 32 * MIB);
    assert_true(collect_holds_hosts(pool->pod));
}

/* ---- scrub */

static double mib_s_since(uint64_t done, uint64_t began_ns)
{
    return (double)((pool->done - done) * TIMED_BLOCK) / MIB / ((double)(pool->now_ns - began_ns) / 1e9);
}

/* At the rate that was set, and hosts hardly feel it. */
static void a_scrub_comes_to_its_end_while_collection_never_pauses(void **state)
{
    (void)state;
    const uint64_t rate = 100 * MIB;
    struct pod_scrub_info info;
    uint64_t done = pool->done, began_ns = pool->now_ns;
    timed_measure(pool, 0, pool->blocks / 2);
    const double alone = mib_s_since(done, began_ns), alone_us = timed_latency_us(pool, 0.99);
    pool->pod->config.scrub_rate = rate;
    pod_scrub_look(pool->pod, &info);
    const uint64_t passes = info.passes;
    pod_scrub(pool->pod);
    memset(pool->latency, 0, sizeof pool->latency);
    done = pool->done;
    began_ns = pool->now_ns;
    const uint64_t end_ns = began_ns + (uint64_t)SEGMENTS * SEGMENT * 1000000000 / rate * 11 / 10;
    do {
        timed_write(pool, 256);
        assert_true(pool->pod->collect->room <= pool->pod->collect->levels.low);
        assert_true(pool->now_ns < end_ns);
        pod_scrub_look(pool->pod, &info);
    } while (info.passes == passes);
    (void)printf("%llu MiB scrubbed in %.1f s; hosts %.0f of %.0f MiB/s, 99 %% %.0f of %.0f us\n",
                 (unsigned long long)info.read_bytes >> 20, (double)(pool->now_ns - began_ns) / 1e9,
                 mib_s_since(done, began_ns), alone, timed_latency_us(pool, 0.99), alone_us);
    assert_true(info.damaged == 0 && info.read_bytes > (uint64_t)SEGMENTS * SEGMENT / 2);
    assert_true(mib_s_since(done, began_ns) >= 0.9 * alone);
    assert_true(timed_latency_us(pool, 0.99) <= 1.1 * alone_us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_are_slowed_down_evenly_while_garbage_is_collected, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(writes_at_three_quarters_of_the_throughput_hardly_wait, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(hot_and_cold_writes_are_slowed_down_evenly, setup, teardown),
        cmocka_unit_test(little_is_owed_while_there_is_room),
        cmocka_unit_test_setup_teardown(what_was_written_while_little_is_free_is_owed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_scrub_comes_to_its_end_while_collection_never_pauses, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
