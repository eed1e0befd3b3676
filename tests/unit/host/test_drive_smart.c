/* SMART pages are asked for one after another, and what was said last is at hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "node/host/drive_smart.h"

/* A machine that answers when it is told to. */
struct fake {
    struct drives base;
    struct drive_job *job; /* under way */
    int refuse;
    unsigned asked;
};

static int submit(struct drives *drives, struct drive_job *job)
{
    struct fake *f = (struct fake *)(void *)drives;
    assert_null(f->job);
    assert_int_equal(job->op, DRIVE_SMART);
    if (f->refuse)
        return f->refuse;
    f->job = job;
    f->asked++;
    return 0;
}

static void say(struct fake *f, const char *device, int status, uint8_t used)
{
    struct drive_job *job = f->job;
    assert_non_null(job);
    assert_string_equal(job->device, device);
    f->job = NULL;
    job->smart = (struct nvme_smart){.used_percent = used, .kelvin = 300};
    job->done(job, status);
}

static void each_that_was_looked_at_is_asked(void **state)
{
    (void)state;
    struct fake f = {.base.submit = submit};
    struct drive_smart *s = drive_smart_create(&f.base);
    assert_null(drive_smart_look(s, "/dev/nvme0n1"));
    assert_null(drive_smart_look(s, "/file"));
    assert_null(drive_smart_look(s, "/dev/nvme1n1"));
    drive_smart_ask(s);
    drive_smart_ask(s); /* one round is under way */
    say(&f, "/dev/nvme0n1", 0, 7);
    say(&f, "/file", PS_EUNIMPLEMENTED, 99);
    say(&f, "/dev/nvme1n1", 0, 8);
    assert_null(f.job);
    assert_int_equal(drive_smart_look(s, "/dev/nvme0n1")->used_percent, 7);
    assert_int_equal(drive_smart_look(s, "/dev/nvme1n1")->used_percent, 8);
    assert_null(drive_smart_look(s, "/file"));

    /* What it said counts until it says something else; a drive that is gone says nothing. */
    drive_smart_ask(s);
    assert_int_equal(drive_smart_look(s, "/dev/nvme0n1")->used_percent, 7);
    say(&f, "/dev/nvme0n1", PS_ENOTFOUND, 0);
    assert_null(drive_smart_look(s, "/dev/nvme0n1"));
    say(&f, "/file", PS_EUNIMPLEMENTED, 0);
    say(&f, "/dev/nvme1n1", 0, 9);
    assert_int_equal(drive_smart_look(s, "/dev/nvme1n1")->used_percent, 9);
    assert_null(f.job);
    drive_smart_ask(s);
    say(&f, "/dev/nvme0n1", 0, 10);
    say(&f, "/dev/nvme1n1", 0, 9);
    assert_null(f.job);
    assert_int_equal(drive_smart_look(s, "/dev/nvme0n1")->used_percent, 10);
    drive_smart_destroy(s);
}

static void drives_that_come_and_go_take_no_more_room(void **state)
{
    (void)state;
    struct fake f = {.base.submit = submit};
    struct drive_smart *s = drive_smart_create(&f.base);
    char name[32];
    for (int i = 0; i < 10 * DRIVE_SMART_MAX; i++) {
        (void)snprintf(name, sizeof name, "/dev/nvme%dn1", i);
        assert_null(drive_smart_look(s, name));
        drive_smart_ask(s);
        say(&f, name, 0, (uint8_t)i);
        assert_int_equal(drive_smart_look(s, name)->used_percent, (uint8_t)i);
        drive_smart_ask(s);
        say(&f, name, 0, (uint8_t)i);
    }
    /* Too much is asked for: later. */
    f.refuse = PS_ELIMIT;
    assert_non_null(drive_smart_look(s, name));
    drive_smart_ask(s);
    assert_non_null(drive_smart_look(s, name));
    f.refuse = 0;
    drive_smart_ask(s);
    say(&f, name, 0, 1);
    drive_smart_destroy(s);
}

static void set(void *user)
{
    *(bool *)user = true;
}

static void the_end_waits_for_what_is_under_way(void **state)
{
    (void)state;
    struct fake f = {.base.submit = submit};
    struct drive_smart *s = drive_smart_create(&f.base);
    bool ended = false;
    assert_null(drive_smart_look(s, "a"));
    assert_null(drive_smart_look(s, "b"));
    drive_smart_ask(s);
    drive_smart_stop(s, set, &ended);
    assert_false(ended);
    say(&f, "a", 0, 1);
    assert_true(ended);
    assert_null(f.job);
    drive_smart_ask(s);
    assert_null(f.job);
    drive_smart_destroy(s);

    s = drive_smart_create(&f.base);
    ended = false;
    drive_smart_stop(s, set, &ended);
    assert_true(ended);
    drive_smart_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_that_was_looked_at_is_asked),
        cmocka_unit_test(drives_that_come_and_go_take_no_more_room),
        cmocka_unit_test(the_end_waits_for_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
