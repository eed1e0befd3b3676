/* Devices of a node in real files, on a real loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "node/flash/array.h"
#include "node/host/flash_devices_uv.h"

enum {
    DEVICES = 3,
    FILES = DEVICES + 1, /* one to attach */
    PATH = 64,
    SPEC = PATH + 32,
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t timer;
    char dir[PATH / 2], path[FILES][PATH], spec[FILES][SPEC];
    struct flash_devices *devices;
    struct ps_error err;
    unsigned answers;
    int status, held; /* descriptor with the lock of the last file; -1 */
    bool closed;
};

static void answered(void *user, int status)
{
    struct fixture *f = user;
    f->answers++;
    f->status = status;
}

static void closed(void *user)
{
    ((struct fixture *)user)->closed = true;
}

static int answer_of(struct fixture *f)
{
    f->answers = 0;
    while (f->answers == 0)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    return f->status;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char list[DEVICES * SPEC] = "";
    const struct flash_devices_config config = {
        .loop = &f->loop, .parity = 1, .rebuild_rate = 1 << 30, .seed = {1, 2}, .user = f};
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/pstorage-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    for (size_t i = 0; i < FILES; i++) {
        (void)snprintf(f->path[i], PATH, "%s/disk%zu", f->dir, i);
        (void)snprintf(f->spec[i], SPEC, "file:%s,size=64M", f->path[i]);
        if (i < DEVICES)
            (void)snprintf(list + strlen(list), sizeof list - strlen(list), "%s ", f->spec[i]);
    }
    (void)uv_loop_init(&f->loop);
    (void)uv_timer_init(&f->loop, &f->timer);
    f->timer.data = f;
    f->held = -1;
    assert_int_equal(flash_devices_open(&config, list, answered, f, &f->err, &f->devices), 0);
    assert_int_equal(answer_of(f), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (!f->closed) {
        flash_devices_close(f->devices, closed, f);
        while (!f->closed)
            (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&f->timer, NULL);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    const int rc = uv_loop_close(&f->loop);
    for (size_t i = 0; i < FILES; i++)
        (void)unlink(f->path[i]);
    (void)rmdir(f->dir);
    if (f->held >= 0)
        (void)close(f->held);
    free(f);
    return rc;
}

/* As another process that has the device. */
static void hold(struct fixture *f)
{
    f->held = open(f->path[DEVICES], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(f->held >= 0);
    assert_int_equal(ftruncate(f->held, 64 << 20), 0);
    assert_int_equal(flock(f->held, LOCK_EX | LOCK_NB), 0);
}

static void let_go(uv_timer_t *timer)
{
    struct fixture *f = timer->data;
    (void)close(f->held);
    f->held = -1;
}

static void take_out(struct fixture *f)
{
    assert_int_equal(flash_devices_detach(f->devices, f->path[1], answered, f, &f->err), 0);
    assert_int_equal(answer_of(f), 0);
}

static bool is_open(struct fixture *f, const char *path)
{
    struct array_info info;
    array_look(flash_devices_array(f->devices), &info);
    for (unsigned i = 0; i < info.members; i++)
        if (strcmp(info.member[i].name, path) == 0 && info.member[i].present)
            return true;
    return false;
}

static void the_loop_runs_while_a_device_that_is_attached_is_waited_for(void **state)
{
    struct fixture *f = *state;
    take_out(f);
    hold(f);
    assert_int_equal(flash_devices_attach(f->devices, f->spec[DEVICES], answered, f, &f->err), 0);
    struct ps_error err;
    assert_int_equal(flash_devices_attach(f->devices, f->spec[DEVICES], answered, f, &err), PS_EUNAVAILABLE);
    assert_int_equal(flash_devices_detach(f->devices, f->path[0], answered, f, &err), PS_EUNAVAILABLE);
    /* It is let go by the loop that would be held up. */
    (void)uv_timer_start(&f->timer, let_go, 20, 0);
    assert_int_equal(answer_of(f), 0);
    assert_int_equal(f->held, -1);
    assert_true(is_open(f, f->path[DEVICES]));
}

static void a_device_in_use_is_not_attached_and_may_be_tried_again(void **state)
{
    struct fixture *f = *state;
    take_out(f);
    hold(f);
    assert_int_equal(flash_devices_attach(f->devices, f->spec[DEVICES], answered, f, &f->err), 0);
    assert_int_equal(answer_of(f), PS_EPRECONDITION);
    assert_non_null(strstr(f->err.detail, "in use by another process"));
    assert_false(is_open(f, f->path[DEVICES]));
    let_go(&f->timer);
    assert_int_equal(flash_devices_attach(f->devices, f->spec[DEVICES], answered, f, &f->err), 0);
    assert_int_equal(answer_of(f), 0);
}

static void a_close_waits_for_a_device_that_is_being_opened(void **state)
{
    struct fixture *f = *state;
    take_out(f);
    f->answers = 0;
    assert_int_equal(flash_devices_attach(f->devices, f->spec[DEVICES], answered, f, &f->err), 0);
    flash_devices_close(f->devices, closed, f);
    assert_int_equal(f->answers, 0);
    while (!f->closed)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(f->answers, 1);
    assert_int_equal(f->status, PS_ECANCELLED);
    /* Nothing of it is left open. */
    const int fd = open(f->path[DEVICES], O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_loop_runs_while_a_device_that_is_attached_is_waited_for, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_device_in_use_is_not_attached_and_may_be_tried_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_close_waits_for_a_device_that_is_being_opened, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
