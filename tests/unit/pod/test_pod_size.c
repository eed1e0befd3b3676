/* A pool that grows with its device, while hosts write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/check.h"
#include "node/pod/pod_impl.h"
#include "tests/support/size_rig.h"

static int setup_small(void **state)
{
    return size_setup_of(state, SIZE_SMALL);
}

static void a_pool_grows_while_hosts_write(void **state)
{
    struct size_rig *f = *state;
    size_begin_hosts(f);
    size_run(f, 3000);
    size_adds_up(f, SIZE_SMALL);
    size_show(f, SIZE_LARGE);
    assert_int_equal(size_grow(f), 0);
    size_adds_up(f, SIZE_LARGE);
    assert_non_null(strstr(f->events, "pool.grown"));
    assert_non_null(strstr(f->events, "had 80M and has 128M"));
    size_run(f, 30000);
    size_adds_up(f, SIZE_LARGE);
    size_end_hosts(f);
    assert_true(f->rig.pod->counters[COUNTER_DATA_PROGRAMMED] > 0);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    size_verify(f);
    size_crash(f, BLKDEV_MEM_LOSE);
    size_adds_up(f, SIZE_LARGE);
    size_verify(f);
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

static void new_segments_take_what_did_not_fit(void **state)
{
    struct size_rig *f = *state;
    uint32_t lba = 0;
    const uint32_t size = 32 * 512;
    assert_int_equal(rig_named(&f->rig, POD_VOLUME_RESIZE, "v", NULL, (uint64_t)2 * size * SIZE_BLOCK), 0);
    uint8_t data[32 * SIZE_BLOCK];
    int rc = 0;
    for (; rc == 0 && lba < size; lba += 32) {
        prng_fill(&f->rig.prng, data, sizeof data);
        rc = rig_write(&f->rig, "v", (uint64_t)lba * SIZE_BLOCK, data, sizeof data);
    }
    assert_int_equal(rc, PS_EFULL);
    size_show(f, SIZE_LARGE);
    assert_int_equal(size_grow(f), 0);
    for (uint32_t i = 0; i < 128; i++, lba += 32) {
        prng_fill(&f->rig.prng, data, sizeof data);
        assert_int_equal(rig_write(&f->rig, "v", (uint64_t)lba * SIZE_BLOCK, data, sizeof data), 0);
    }
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

static void growing_without_need_changes_nothing(void **state)
{
    struct size_rig *f = *state;
    const uint64_t number = f->rig.pod->label.number;
    assert_int_equal(size_grow(f), 0);
    f->rig.dev->geometry.size_bytes += SIZE_SEGMENT / 2; /* no segment more */
    assert_int_equal(size_grow(f), 0);
    assert_int_equal(f->rig.pod->label.number, number);
    assert_null(strstr(f->events, "pool.grown"));
    size_adds_up(f, SIZE_SMALL);
    size_show(f, SIZE_LARGE);
    assert_int_equal(size_grow(f), 0);
    assert_int_equal(size_grow(f), 0);
    assert_int_equal(f->rig.pod->label.number, number + 1);
    size_show(f, SIZE_SMALL);
    assert_int_equal(pod_grow(f->rig.pod, size_on_end, f, &f->rig.error), PS_EINVAL);
    assert_non_null(strstr(f->rig.error.detail, "has 80M, its pool was made with 128M"));
    size_show(f, SIZE_LARGE);
}

static void one_growth_is_under_way_at_a_time(void **state)
{
    struct size_rig *f = *state;
    size_show(f, SIZE_LARGE);
    f->ended = false;
    assert_int_equal(pod_grow(f->rig.pod, size_on_end, f, NULL), 0);
    assert_int_equal(pod_grow(f->rig.pod, size_on_end, f, NULL), PS_EPRECONDITION);
    assert_int_equal(size_ended(f), 0);
}

static void a_growth_that_a_stop_overtakes_is_told(void **state)
{
    struct size_rig *f = *state;
    size_show(f, SIZE_LARGE);
    f->ended = false;
    assert_int_equal(pod_grow(f->rig.pod, size_on_end, f, NULL), 0);
    rig_close(&f->rig);
    assert_true(f->ended);
    assert_int_equal(rig_open(&f->rig), 0);
    size_adds_up(f, SIZE_LARGE);
}

static void an_opening_finds_that_the_device_has_grown(void **state)
{
    struct size_rig *f = *state;
    size_begin_hosts(f);
    size_run(f, 3000);
    size_end_hosts(f);
    size_show(f, SIZE_LARGE);
    size_crash(f, BLKDEV_MEM_REORDER);
    assert_non_null(strstr(f->events, "pool.grown"));
    size_adds_up(f, SIZE_LARGE);
    size_verify(f);
    rig_check(&f->rig);
    f->events[0] = 0;
    rig_close(&f->rig);
    assert_int_equal(rig_open(&f->rig), 0);
    assert_null(strstr(f->events, "pool.grown"));
    rig_close(&f->rig);
    size_show(f, SIZE_LARGE - 1);
    assert_int_equal(rig_open(&f->rig), PS_EINVAL);
    assert_non_null(strstr(f->rig.error.detail, "has 126M, its pool was made with 128M"));
    pod_destroy(f->rig.pod);
    f->rig.pod = NULL;
    size_show(f, SIZE_LARGE);
}

static void count_finding(void *user, const struct survey_finding *finding)
{
    fail_msg("%s", finding->text);
    (void)user;
}

static void check_ended(void *user, struct pod_check_request *request)
{
    size_on_end(user, request->status);
}

static void a_check_of_a_larger_device_leaves_it_alone(void **state)
{
    struct size_rig *f = *state;
    struct pod_config config = f->rig.config;
    struct blkdev_health before, after;
    size_begin_hosts(f);
    size_run(f, 2000);
    size_end_hosts(f);
    rig_crash(&f->rig, BLKDEV_MEM_KEEP);
    size_show(f, SIZE_LARGE);
    blkdev_health(f->rig.mem, &before);
    config.check_only = true;
    f->ended = false;
    assert_int_equal(pod_open(f->rig.dev, &config, POD_OPEN_ONLY, size_on_open, f, NULL, &f->rig.pod), 0);
    while (!f->ended)
        assert_true(rig_step(&f->rig));
    assert_int_equal(f->status, 0);
    assert_int_equal(f->rig.pod->segment_count, SIZE_SMALL);
    f->ended = false;
    struct pod_check_request request = {
        .records = true, .found = count_finding, .done = check_ended, .user = f};
    pod_check(f->rig.pod, &request);
    while (!f->ended)
        assert_true(rig_step(&f->rig));
    assert_int_equal(f->status, 0);
    blkdev_health(f->rig.mem, &after);
    assert_int_equal(after.write_ops, before.write_ops);
    pod_destroy(f->rig.pod);
    f->rig.pod = NULL;
}

/* Its tables are of the pool as it was. */
static void a_deep_check_and_a_scrub_under_way_go_on(void **state)
{
    struct size_rig *f = *state;
    struct pod_deep_info deep;
    struct pod_scrub_info scrub;
    size_begin_hosts(f);
    size_run(f, 20000);
    size_end_hosts(f);
    rig_settle(&f->rig);
    for (unsigned steps = 0; steps < 24; steps++) {
        pod_deep(f->rig.pod);
        pod_scrub(f->rig.pod);
        do {
            assert_true(rig_step(&f->rig));
            pod_deep_look(f->rig.pod, &deep);
        } while (!deep.running);
        size_run(f, steps);
        size_show(f, SIZE_SMALL + 1 + steps);
        assert_int_equal(size_grow(f), 0);
        do {
            f->rig.now_ns += 1000000;
            assert_true(rig_step(&f->rig));
            pod_deep_look(f->rig.pod, &deep);
            pod_scrub_look(f->rig.pod, &scrub);
        } while (deep.running || scrub.running);
        assert_false(deep.failed);
        assert_int_equal(deep.damage + scrub.damaged, 0);
    }
    assert_int_equal(scrub.passes, 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pool_grows_while_hosts_write, setup_small, size_teardown),
        cmocka_unit_test_setup_teardown(new_segments_take_what_did_not_fit, setup_small, size_teardown),
        cmocka_unit_test_setup_teardown(growing_without_need_changes_nothing, setup_small, size_teardown),
        cmocka_unit_test_setup_teardown(one_growth_is_under_way_at_a_time, setup_small, size_teardown),
        cmocka_unit_test_setup_teardown(a_growth_that_a_stop_overtakes_is_told, setup_small, size_teardown),
        cmocka_unit_test_setup_teardown(an_opening_finds_that_the_device_has_grown, setup_small,
                                        size_teardown),
        cmocka_unit_test_setup_teardown(a_check_of_a_larger_device_leaves_it_alone, setup_small,
                                        size_teardown),
        cmocka_unit_test_setup_teardown(a_deep_check_and_a_scrub_under_way_go_on, setup_small, size_teardown),
    };
    cmocka_set_test_filter(getenv("PS_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
