/* What is known of one volume, over samples with made-up times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/analytics/account.h"

#define T0    1699999200ll /* the begin of an hour */
#define DAY_S 86400ll

struct fixture {
    char dir[40], path[64];
    struct analytics *analytics;
    struct analytics_sample *sample;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct ps_error err;
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/pstorage-test-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    (void)snprintf(f->path, sizeof f->path, "%s/history.db", f->dir);
    const struct analytics_config config = {.path = f->path,
                                            .max_bytes = HISTORY_BYTES_DEFAULT,
                                            .scale = temperature_scale_default,
                                            .costs = tier_costs_default};
    if (analytics_open(&config, &f->analytics, &err))
        fail_msg("%s", err.detail);
    f->sample = calloc(1, sizeof *f->sample + sizeof f->sample->volumes[0]);
    f->sample->run = 1;
    f->sample->pod[ANALYTICS_POD_capacity] = 1ull << 40;
    f->sample->nvolumes = 1;
    f->sample->volumes[0].id = 7;
    f->sample->volumes[0].shift = TEMPERATURE_SHIFT_MIN;
    (void)snprintf(f->sample->volumes[0].name, sizeof f->sample->volumes[0].name, "v");
    f->sample->volumes[0].figures[ANALYTICS_VOLUME_size] = 1ull << 30;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"", "-wal", "-shm"};
    analytics_close(f->analytics);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[80];
        (void)snprintf(path, sizeof path, "%s%s", f->path, names[i]);
        (void)unlink(path);
    }
    const int rc = rmdir(f->dir);
    free(f->sample);
    free(f);
    return rc;
}

/* A sample in which so many writes took so long, bucket k of latencies each. */
static void add(struct fixture *f, int64_t time_s, uint64_t writes, unsigned bucket, uint64_t ns_each)
{
    struct analytics_volume_sample *v = &f->sample->volumes[0];
    f->sample->time_s = time_s;
    v->used = writes > 0;
    v->figures[ANALYTICS_VOLUME_writes] = writes;
    v->figures[ANALYTICS_VOLUME_write_bytes] = writes * 4096;
    v->figures[ANALYTICS_VOLUME_write_latency_ns] = writes * ns_each;
    v->figures[ANALYTICS_VOLUME_WRITE_LATENCIES + bucket] = writes;
    assert_int_equal(analytics_add(f->analytics, f->sample), 0);
    v->figures[ANALYTICS_VOLUME_WRITE_LATENCIES + bucket] = 0;
}

static struct account account(struct fixture *f, const struct account_ask *ask, struct account_point *points)
{
    struct account out;
    assert_int_equal(account_make(f->analytics, ask, &out, points), 0);
    return out;
}

static void the_newest_points_come_oldest_first_and_the_rest_page_by_page(void **state)
{
    struct fixture *f = *state;
    struct account_point points[4];
    for (int i = 0; i < 10; i++)
        add(f, T0 + 3600 * i, (uint64_t)i + 1, 3, 5000);
    struct account_ask ask = {
        .id = 7, .now_s = T0 + 3600 * 9 + 1, .tier = ROLLUP_HOUR, .before_s = INT64_MAX / 2, .max = 4};
    struct account a = account(f, &ask, points);
    assert_int_equal(a.points, 4);
    assert_true(a.earlier);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(points[i].time_s, T0 + 3600 * (6 + i));
        assert_int_equal(points[i].writes, 7 + i);
        assert_int_equal(points[i].write_bytes, (7 + i) * 4096);
    }
    uint64_t sum = 0;
    for (ask.before_s = INT64_MAX / 2;; ask.before_s = points[0].time_s) {
        a = account(f, &ask, points);
        for (size_t i = 0; i < a.points; i++)
            sum += points[i].writes;
        if (!a.earlier)
            break;
    }
    assert_int_equal(sum, 55);
}

static void latencies_are_of_a_day_and_told_as_the_end_of_their_bucket(void **state)
{
    struct fixture *f = *state;
    struct account_point points[1];
    add(f, T0 - 2 * DAY_S, 1000, 20, 900000000);
    add(f, T0 - 3600, 90, 3, 5000);
    add(f, T0, 10, 10, 600000);
    const struct account_ask ask = {
        .name = "v", .now_s = T0 + 1, .tier = ROLLUP_DAY, .before_s = INT64_MAX / 2, .max = 1};
    const struct account a = account(f, &ask, points);
    assert_int_equal(a.write_latency.requests, 100);
    assert_true(a.write_latency.mean_us > 64.4 && a.write_latency.mean_us < 64.6);
    assert_true(a.write_latency.p50_us == 8 && a.write_latency.p95_us == 1024 &&
                a.write_latency.p99_us == 1024);
    assert_int_equal(a.read_latency.requests, 0);
    assert_true(a.read_latency.p99_us == 0);
}

static void growth_is_told_when_there_are_24_hours_of_it(void **state)
{
    struct fixture *f = *state;
    struct account_point points[1];
    struct account_ask ask = {.id = 7, .tier = ROLLUP_DAY, .before_s = INT64_MAX / 2, .max = 1};
    uint64_t *figures = f->sample->volumes[0].figures;
    for (int i = 0; i < 100; i++) {
        figures[ANALYTICS_VOLUME_logical] = 1000000u + (unsigned)i * 5000;
        figures[ANALYTICS_VOLUME_stored] = 900000u - (unsigned)i * 1000;
        add(f, T0 + 3600 * i, 1, 3, 5000);
        ask.now_s = T0 + 3600 * i + 1;
        if (i == 10)
            assert_false(account(f, &ask, points).growth_known);
    }
    const struct account a = account(f, &ask, points);
    assert_true(a.growth_known && a.growth_days > 4 && a.growth_days < 4.2);
    assert_true(a.logical_per_day > 119000 && a.logical_per_day < 121000);
    assert_true(a.stored_per_day < -23800 && a.stored_per_day > -24200);
}

static void what_is_not_there_is_said(void **state)
{
    struct fixture *f = *state;
    struct account_point points[1];
    struct account out;
    struct account_ask ask = {.id = 7, .now_s = T0, .tier = ROLLUP_HOUR, .before_s = INT64_MAX / 2, .max = 1};
    assert_int_equal(account_make(f->analytics, &ask, &out, points), PS_EUNAVAILABLE);
    add(f, T0, 0, 0, 0);
    ask.id = 8;
    assert_int_equal(account_make(f->analytics, &ask, &out, points), PS_ENOTFOUND);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_newest_points_come_oldest_first_and_the_rest_page_by_page),
        TEST(latencies_are_of_a_day_and_told_as_the_end_of_their_bucket),
        TEST(growth_is_told_when_there_are_24_hours_of_it),
        TEST(what_is_not_there_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
