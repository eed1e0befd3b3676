/* Samples across threads: a pod in memory, a real history, two real threads. */
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
#include <uv.h>

#include "common/log.h"
#include "node/host/analytics_uv.h"
#include "tests/support/pod_fake.h"

struct fixture {
    char dir[40], path[64];
    uv_loop_t loop;
    struct loop_thread *management;
    struct pod *pod;
    struct image_uses *uses;
    struct analytics_service *service;
    bool stopped;
    int status;
    unsigned answers;
};

static struct analytics *open_analytics(struct fixture *f)
{
    struct analytics *a;
    struct ps_error err;
    const struct analytics_config config = {
        .path = f->path, .max_bytes = 0, .scale = temperature_scale_default, .costs = tier_costs_default};
    if (analytics_open(&config, &a, &err))
        fail_msg("%s", err.detail);
    return a;
}

static void start(struct fixture *f)
{
    const struct analytics_service_config config = {.loop = &f->loop,
                                                    .management = f->management,
                                                    .pod = f->pod,
                                                    .uses = f->uses,
                                                    .interval_ms = 1000000,
                                                    .started_unix_ns = 1};
    f->stopped = false;
    assert_int_equal(analytics_service_start(&config, open_analytics(f), &f->service), 0);
}

static void on_stopped(void *user)
{
    *(bool *)user = true;
}

static void stop(struct fixture *f)
{
    analytics_service_stop(f->service, on_stopped, &f->stopped);
    while (!f->stopped)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/pstorage-test-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    (void)snprintf(f->path, sizeof f->path, "%s/history.db", f->dir);
    uv_loop_init(&f->loop);
    assert_int_equal(loop_thread_start("management", 16, &f->management), 0);
    f->pod = pod_fake_create();
    pod_fake_set_capacity(f->pod, 1 << 30);
    f->uses = image_uses_create(NULL);
    start(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (!f->stopped)
        stop(f);
    loop_thread_stop(f->management);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    image_uses_destroy(f->uses);
    pod_destroy(f->pod);
    static const char *const names[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[80];
        (void)snprintf(path, sizeof path, "%s%s", f->path, names[i]);
        (void)unlink(path);
    }
    const int rc = rmdir(f->dir);
    free(f);
    return rc;
}

static void on_answer(struct analytics_query *query, int status)
{
    struct fixture *f = query->user;
    f->answers++;
    f->status = status;
}

static int ask(struct fixture *f, struct analytics_query *query)
{
    struct analytics_source *source = analytics_service_source(f->service);
    const unsigned before = f->answers;
    query->cb = on_answer;
    query->user = f;
    assert_int_equal(source->ask(source, query), 0);
    assert_int_equal(f->answers, before);
    while (f->answers == before)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    return f->status;
}

static void use(struct fixture *f, const char *name)
{
    struct pod_image_info info;
    struct image_use_stamp stamp;
    assert_int_equal(pod_image_by_name(f->pod, name, &info), 0);
    struct image_use *counted = image_uses_open(f->uses, info.id, info.size_bytes);
    image_use_begin(counted, &stamp, IMAGE_USE_READ, 0, 4096);
    image_uses_turn(f->uses, 1);
    image_use_end(&stamp, true);
    image_uses_turned(f->uses);
    image_use_close(counted);
}

static void volumes_are_sampled_without_their_snapshots(void **state)
{
    struct fixture *f = *state;
    struct analytics_advice advice[8];
    pod_fake_volume(f->pod, "a", 16 << 20);
    pod_fake_snapshot(f->pod, "a@one");
    pod_fake_snapshot(f->pod, "a@two");
    pod_fake_volume(f->pod, "a-b", 16 << 20);
    pod_fake_volume(f->pod, "a0", 16 << 20);
    pod_fake_volume(f->pod, "b", 16 << 20);
    use(f, "b");
    (void)uv_run(&f->loop, UV_RUN_NOWAIT); /* the first sample is due at once */
    struct analytics_query q = {.question = ANALYTICS_TIERING, .advice = advice, .max_advice = 8};
    assert_int_equal(ask(f, &q), 0);
    assert_int_equal(q.answer.count, 4);
    assert_string_equal(advice[0].name, "a");
    assert_string_equal(advice[1].name, "a-b");
    assert_string_equal(advice[2].name, "a0");
    assert_string_equal(advice[3].name, "b");
    struct analytics_query t = {.question = ANALYTICS_TEMPERATURE, .name = "b"};
    assert_int_equal(ask(f, &t), 0);
    assert_true(t.answer.volume.temperature.reads_per_hour > 0);
    struct analytics_query none = {.question = ANALYTICS_TEMPERATURE, .name = "c"};
    assert_int_equal(ask(f, &none), PS_ENOTFOUND);
}

/* Its volumes are not all there yet: they would be taken for deleted, and space for free. */
static void a_pod_that_is_being_opened_is_not_sampled(void **state)
{
    struct fixture *f = *state;
    pod_fake_set_opening(f->pod, true);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    struct analytics_query q = {.question = ANALYTICS_HEALTH};
    assert_int_equal(ask(f, &q), PS_EUNAVAILABLE);
    stop(f);
    pod_fake_set_opening(f->pod, false);
    start(f);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(ask(f, &q), 0);
}

static uint64_t reads_of(struct fixture *f, const char *name)
{
    struct pod_image_info info;
    static struct analytics_point points[4];
    assert_int_equal(pod_image_by_name(f->pod, name, &info), 0);
    struct analytics_query q = {.question = ANALYTICS_HISTORY,
                                .history_ask = {{HISTORY_VOLUME, info.id}, ROLLUP_DAY, 0, INT64_MAX / 2},
                                .points = points,
                                .max_points = 4};
    assert_int_equal(ask(f, &q), 0);
    uint64_t reads = 0;
    for (size_t i = 0; i < q.answer.count; i++)
        reads += points[i].values.metrics[ANALYTICS_VOLUME_reads].sum;
    return reads;
}

static void the_end_takes_a_last_sample(void **state)
{
    struct fixture *f = *state;
    pod_fake_volume(f->pod, "a", 16 << 20);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    struct analytics_query nothing = {.question = ANALYTICS_NOTHING};
    assert_int_equal(ask(f, &nothing), 0);
    use(f, "a");
    stop(f);
    start(f);
    assert_int_equal(reads_of(f, "a"), 1);
}

/* The one before it is not known to be kept yet: the last one waits for that. */
static void the_last_sample_follows_one_that_is_under_way(void **state)
{
    struct fixture *f = *state;
    pod_fake_volume(f->pod, "a", 16 << 20);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    use(f, "a");
    stop(f);
    start(f);
    assert_int_equal(reads_of(f, "a"), 1);
}

static void all_questions_are_answered_before_the_end(void **state)
{
    struct fixture *f = *state;
    struct analytics_source *source = analytics_service_source(f->service);
    static struct analytics_query queries[40];
    unsigned asked = 0;
    for (size_t i = 0; i < 40; i++) {
        queries[i] = (struct analytics_query){.question = ANALYTICS_HEALTH, .cb = on_answer, .user = f};
        const int rc = source->ask(source, &queries[i]);
        assert_true(rc == 0 || rc == PS_ELIMIT);
        asked += rc == 0;
    }
    assert_true(asked > 0 && asked < 40);
    stop(f);
    assert_int_equal(f->answers, asked);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(volumes_are_sampled_without_their_snapshots),
        TEST(a_pod_that_is_being_opened_is_not_sampled),
        TEST(the_end_takes_a_last_sample),
        TEST(the_last_sample_follows_one_that_is_under_way),
        TEST(all_questions_are_answered_before_the_end),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
