/* The watch over devices, on a machine that answers when the test says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "node/host/drives_watch_uv.h"

static struct {
    uv_loop_t loop;
    struct drives base;
    struct drive_job *job;
    int refuse;
    unsigned refused;
    struct drive_pooled devices[3];
    size_t ndevices;
    struct blkdev_smart told[3];
    unsigned times[3], events;
    char event[256];
    struct drives_watch *watch;
    bool stopped;
} t;

static int submit(struct drives *drives, struct drive_job *job)
{
    (void)drives;
    t.refused += t.refuse != 0;
    if (t.refuse)
        return t.refuse;
    assert_null(t.job); /* one at a time */
    assert_int_equal(job->op, DRIVE_SMART);
    t.job = job;
    return 0;
}

static size_t pooled(void *user, struct drive_pooled *out, size_t max)
{
    (void)user;
    assert_true(t.ndevices <= max);
    memcpy(out, t.devices, t.ndevices * sizeof t.devices[0]);
    return t.ndevices;
}

static void told(void *user, const char *name, const struct blkdev_smart *smart)
{
    (void)user;
    const size_t i = (size_t)(name[strlen(name) - 1] - '0');
    t.told[i] = *smart;
    t.times[i]++;
}

static void event(void *user, const char *kind, const char *text)
{
    (void)user;
    assert_string_equal(kind, "device.warning");
    t.events++;
    (void)snprintf(t.event, sizeof t.event, "%s", text);
}

static void stopped(void *user)
{
    (void)user;
    t.stopped = true;
}

static void add(const char *name, enum blkdev_kind kind)
{
    struct drive_pooled *d = &t.devices[t.ndevices++];
    *d = (struct drive_pooled){.kind = kind};
    (void)snprintf(d->name, sizeof d->name, "%s", name);
}

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    (void)uv_loop_init(&t.loop);
    t.base.submit = submit;
    add("/dev/nvme0", BLKDEV_KIND_NVME);
    add("/data/flash1", BLKDEV_KIND_FILE);
    add("/dev/nvme2", BLKDEV_KIND_NVME);
    const struct drives_watch_config config = {
        .loop = &t.loop, .drives = &t.base, .interval_ms = 1, .pooled = pooled, .told = told, .event = event};
    return drives_watch_start(&config, &t.watch);
}

static int teardown(void **state)
{
    (void)state;
    if (t.watch)
        drives_watch_stop(t.watch, stopped, NULL);
    if (t.watch && t.job)
        t.job->done(t.job, 0);
    (void)uv_run(&t.loop, UV_RUN_DEFAULT);
    assert_true(t.stopped);
    return uv_loop_close(&t.loop);
}

/* The next device that is asked says this. */
static void say(const char *name, const struct nvme_smart *smart, int status)
{
    while (!t.job)
        (void)uv_run(&t.loop, UV_RUN_ONCE);
    struct drive_job *job = t.job;
    t.job = NULL;
    assert_string_equal(job->device, name);
    if (smart)
        job->smart = *smart;
    job->done(job, status);
}

static void what_nvme_devices_say_is_passed_on_and_others_are_not_asked(void **state)
{
    (void)state;
    say("/dev/nvme0",
        &(struct nvme_smart){.used_percent = 17, .spare_percent = 90, .kelvin = 310, .media_errors = 3}, 0);
    assert_true(t.told[0].known);
    assert_int_equal(t.told[0].used_percent, 17);
    assert_int_equal(t.told[0].spare_percent, 90);
    assert_int_equal(t.told[0].kelvin, 310);
    assert_int_equal(t.told[0].media_errors, 3);
    say("/dev/nvme2", NULL, PS_EPERM);
    assert_false(t.told[2].known);
    assert_int_equal(t.times[2], 1);
    /* The next round. */
    say("/dev/nvme0", &(struct nvme_smart){.used_percent = 18}, 0);
    assert_int_equal(t.told[0].used_percent, 18);
    say("/dev/nvme2", &(struct nvme_smart){.used_percent = 1}, 0);
    assert_true(t.told[2].known);
    say("/dev/nvme0", NULL, PS_ENOTFOUND);
    assert_false(t.told[0].known);
    assert_int_equal(t.times[1], 0);
    assert_int_equal(t.events, 0);
}

static void a_warning_is_told_when_it_comes_up_and_not_again_while_it_lasts(void **state)
{
    (void)state;
    const struct nvme_smart well = {0}, spare = {.critical_warning = 1}, both = {.critical_warning = 9};
    t.ndevices = 1;
    say("/dev/nvme0", &well, 0);
    say("/dev/nvme0", &spare, 0);
    assert_int_equal(t.events, 1);
    assert_string_equal(t.event, "/dev/nvme0 warns: its spare blocks are nearly used up");
    say("/dev/nvme0", &spare, 0);
    say("/dev/nvme0", NULL, PS_EIO);
    say("/dev/nvme0", &spare, 0);
    assert_int_equal(t.events, 1);
    say("/dev/nvme0", &both, 0);
    assert_int_equal(t.events, 2);
    assert_string_equal(t.event, "/dev/nvme0 warns: it takes no writes any more");
    assert_int_equal(t.told[0].critical_warning, 9);
    say("/dev/nvme0", &well, 0);
    say("/dev/nvme0", &both, 0);
    assert_int_equal(t.events, 4);
}

static void another_device_in_a_place_is_another_one(void **state)
{
    (void)state;
    const struct nvme_smart spare = {.critical_warning = 1};
    t.ndevices = 1;
    say("/dev/nvme0", &spare, 0);
    assert_int_equal(t.events, 1);
    t.ndevices = 0;
    add("/dev/nvme2", BLKDEV_KIND_BLOCK);
    say("/dev/nvme2", &spare, 0);
    assert_int_equal(t.events, 2);
}

static void where_too_much_is_under_way_the_next_round_asks(void **state)
{
    (void)state;
    t.refuse = PS_ELIMIT;
    while (t.refused < 5)
        (void)uv_run(&t.loop, UV_RUN_ONCE);
    assert_int_equal(t.times[0] + t.times[2], 0);
    t.refuse = 0;
    while (!t.job)
        (void)uv_run(&t.loop, UV_RUN_ONCE);
    say(t.job->device, &(struct nvme_smart){0}, 0);
    assert_int_equal(t.times[0] + t.times[2], 1);
}

static void a_stop_waits_for_the_answer_under_way(void **state)
{
    (void)state;
    while (!t.job)
        (void)uv_run(&t.loop, UV_RUN_ONCE);
    drives_watch_stop(t.watch, stopped, NULL);
    t.watch = NULL;
    (void)uv_run(&t.loop, UV_RUN_NOWAIT);
    assert_false(t.stopped);
    t.job->done(t.job, 0);
    assert_int_equal(t.times[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_nvme_devices_say_is_passed_on_and_others_are_not_asked, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_warning_is_told_when_it_comes_up_and_not_again_while_it_lasts,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(another_device_in_a_place_is_another_one, setup, teardown),
        cmocka_unit_test_setup_teardown(where_too_much_is_under_way_the_next_round_asks, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stop_waits_for_the_answer_under_way, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
