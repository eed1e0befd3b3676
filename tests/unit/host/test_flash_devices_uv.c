/* Devices of a node in real files, on a real loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "node/flash/anchor.h"
#include "node/flash/array.h"
#include "node/host/flash_devices_uv.h"

enum {
    DEVICES = 3,
    FILES = DEVICES + 1, /* one to attach */
    PATH = 64,
    SPEC = PATH + 32,
    SEGMENT = 8 << 20,
    ALONE_MIB = 128,
    SEGMENTS = (ALONE_MIB << 20) / SEGMENT,    /* of a device alone */
    PARTS = ((ALONE_MIB - 4) << 20) / SEGMENT, /* of one behind it */
};

/* What lies on the devices, as far as it is asked to change. */
struct pool {
    struct blkdev *dev; /* where it moved; NULL: nowhere */
    unsigned grown, refused, stopped;
    int grow_status, refuse;
    bool (*leaves)(void *user, uint64_t offset, uint64_t length);
    void (*vacated)(void *user, int status);
    void *user;
    uint64_t left;
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t timer;
    off_t bytes; /* of a file */
    char dir[PATH / 2], path[FILES][PATH], spec[FILES][SPEC];
    struct flash_devices *devices;
    struct ps_error err;
    unsigned answers;
    enum device_outcome outcome;
    struct pool pool;
    char event[32], text[256];
    int status, held; /* descriptor with the lock of the last file; -1 */
    bool closed;
};

static void answered(void *user, int status)
{
    struct fixture *f = user;
    f->answers++;
    f->status = status;
}

static void changed(void *user, int status, enum device_outcome outcome)
{
    ((struct fixture *)user)->outcome = outcome;
    answered(user, status);
}

static void on_event(void *user, const char *kind, const char *text)
{
    struct fixture *f = user;
    (void)snprintf(f->event, sizeof f->event, "%s", kind);
    (void)snprintf(f->text, sizeof f->text, "%s", text);
}

static void pool_move(void *user, struct blkdev *dev)
{
    ((struct fixture *)user)->pool.dev = dev;
}

static int pool_grow(void *user, void (*cb)(void *user, int status), void *cb_user, struct ps_error *err)
{
    struct fixture *f = user;
    f->pool.refused += f->pool.grow_status != 0;
    if (f->pool.grow_status)
        return ps_error_set(err, f->pool.grow_status, "it does not grow");
    f->pool.grown++;
    cb(cb_user, 0);
    return 0;
}

static int pool_vacate(void *user, bool (*leaves)(void *user, uint64_t offset, uint64_t length),
                       void (*cb)(void *user, int status), void *cb_user, struct ps_error *err)
{
    struct fixture *f = user;
    if (f->pool.refuse)
        return ps_error_set(err, f->pool.refuse, "there is no room");
    f->pool.leaves = leaves;
    f->pool.vacated = cb;
    f->pool.user = cb_user;
    f->pool.left = 1000;
    return 0;
}

static void pool_vacate_stop(void *user)
{
    ((struct fixture *)user)->pool.stopped++;
}

static uint64_t pool_vacate_left(void *user)
{
    return ((struct fixture *)user)->pool.left;
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

static int open_devices(struct fixture *f, int parity, const char *list)
{
    const struct flash_devices_config config = {
        .loop = &f->loop,
        .parity = parity,
        .rebuild_rate = 1 << 30,
        .seed = {1, 2},
        .event = on_event,
        .move = pool_move,
        .grow = pool_grow,
        .vacate = pool_vacate,
        .vacate_stop = pool_vacate_stop,
        .vacate_left = pool_vacate_left,
        .user = f,
    };
    const int rc = flash_devices_open(&config, list, answered, f, &f->err, &f->devices);
    f->closed = rc != 0;
    return rc ? rc : answer_of(f);
}

static void close_devices(struct fixture *f)
{
    flash_devices_close(f->devices, closed, f);
    while (!f->closed)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT); /* the locks go with the handles */
}

static struct fixture *create(unsigned mib)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->bytes = (off_t)mib << 20;
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/pstorage-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    for (size_t i = 0; i < FILES; i++) {
        (void)snprintf(f->path[i], PATH, "%s/disk%zu", f->dir, i);
        (void)snprintf(f->spec[i], SPEC, "file:%s,size=%uM", f->path[i], mib);
    }
    (void)uv_loop_init(&f->loop);
    (void)uv_timer_init(&f->loop, &f->timer);
    f->timer.data = f;
    f->held = -1;
    return f;
}

static int setup(void **state)
{
    struct fixture *f = create(64);
    char list[DEVICES * SPEC] = "";
    for (size_t i = 0; i < DEVICES; i++)
        (void)snprintf(list + strlen(list), sizeof list - strlen(list), "%s ", f->spec[i]);
    assert_int_equal(open_devices(f, 1, list), 0);
    *state = f;
    return 0;
}

/* A pool on the first file. */
static int setup_alone(void **state)
{
    struct fixture *f = create(ALONE_MIB);
    struct pool_label label = {.number = 1,
                               .pool = {7},
                               .device_bytes = (uint64_t)SEGMENTS * SEGMENT,
                               .segment_bytes = SEGMENT,
                               .segment_count = SEGMENTS,
                               .pod_count = 1,
                               .pods = {{.name = "main", .anchor_segments = {2, 3}}}};
    uint8_t block[ANCHOR_BYTES] = {0};
    label_encode(&label, block);
    const int fd = open(f->path[0], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, f->bytes), 0);
    assert_int_equal(pwrite(fd, block, sizeof block, 0), sizeof block);
    (void)close(fd);
    assert_int_equal(open_devices(f, FLASH_PARITY_AUTO, f->spec[0]), 0);
    assert_null(flash_devices_array(f->devices));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (!f->closed)
        close_devices(f);
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
    assert_int_equal(ftruncate(f->held, f->bytes), 0);
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
    assert_int_equal(flash_devices_detach(f->devices, f->path[1], changed, f, &f->err), 0);
    assert_int_equal(answer_of(f), 0);
}

static bool is_open(struct fixture *f, const char *path)
{
    struct array_info info;
    array_look(flash_devices_array(f->devices), &info);
    for (unsigned i = 0; i < info.members; i++)
        if (strcmp(info.member[i].name, path) == 0 && info.member[i].dev)
            return true;
    return false;
}

static void the_loop_runs_while_a_device_that_is_attached_is_waited_for(void **state)
{
    struct fixture *f = *state;
    take_out(f);
    hold(f);
    assert_int_equal(flash_devices_attach(f->devices, f->spec[DEVICES], changed, f, &f->err), 0);
    struct ps_error err;
    assert_int_equal(flash_devices_attach(f->devices, f->spec[DEVICES], changed, f, &err), PS_EUNAVAILABLE);
    assert_int_equal(flash_devices_detach(f->devices, f->path[0], changed, f, &err), PS_EUNAVAILABLE);
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
    assert_int_equal(flash_devices_attach(f->devices, f->spec[DEVICES], changed, f, &f->err), 0);
    assert_int_equal(answer_of(f), PS_EPRECONDITION);
    assert_non_null(strstr(f->err.detail, "in use by another process"));
    assert_false(is_open(f, f->path[DEVICES]));
    let_go(&f->timer);
    assert_int_equal(flash_devices_attach(f->devices, f->spec[DEVICES], changed, f, &f->err), 0);
    assert_int_equal(answer_of(f), 0);
}

static void a_close_waits_for_a_device_that_is_being_opened(void **state)
{
    struct fixture *f = *state;
    take_out(f);
    f->answers = 0;
    assert_int_equal(flash_devices_attach(f->devices, f->spec[DEVICES], changed, f, &f->err), 0);
    flash_devices_close(f->devices, closed, f);
    assert_int_equal(f->answers, 0);
    while (!f->closed)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(f->answers, 1);
    assert_int_equal(f->status, PS_ECANCELLED);
    assert_int_equal(access(f->path[DEVICES], F_OK), -1);
}

static int attach(struct fixture *f, size_t file)
{
    const int rc = flash_devices_attach(f->devices, f->spec[file], changed, f, &f->err);
    return rc ? rc : answer_of(f);
}

static bool is_free(struct fixture *f, size_t file)
{
    const int fd = open(f->path[file], O_RDWR | O_CLOEXEC);
    const bool free = flock(fd, LOCK_EX | LOCK_NB) == 0;
    (void)close(fd);
    return free;
}

static void both(const struct fixture *f, char list[2 * SPEC])
{
    (void)snprintf(list, 2 * SPEC, "%s %s", f->spec[1], f->spec[0]);
}

static void a_pool_on_one_device_becomes_one_on_two(void **state)
{
    struct fixture *f = *state;
    char list[2 * SPEC];
    assert_int_equal(attach(f, 1), 0);
    assert_int_equal(f->outcome, DEVICE_ADDED);
    assert_ptr_equal(f->pool.dev, flash_devices_whole(f->devices));
    assert_int_equal(f->pool.grown, 1);
    assert_int_equal(f->pool.dev->geometry.size_bytes, (uint64_t)(SEGMENTS + PARTS) * SEGMENT);
    assert_true(is_open(f, f->path[0]) && is_open(f, f->path[1]));
    close_devices(f);
    both(f, list);
    assert_int_equal(open_devices(f, FLASH_PARITY_AUTO, f->spec[0]), PS_EPRECONDITION);
    assert_non_null(strstr(f->err.detail, f->path[1]));
    close_devices(f);
    assert_int_equal(open_devices(f, FLASH_PARITY_AUTO, list), 0);
    assert_int_equal(flash_devices_whole(f->devices)->geometry.size_bytes,
                     (uint64_t)(SEGMENTS + PARTS) * SEGMENT);
    /* The array is there already. */
    f->pool.dev = NULL;
    assert_int_equal(attach(f, 2), 0);
    assert_null(f->pool.dev);
    assert_int_equal(f->pool.grown, 2);
}

static void a_device_that_leaves_is_emptied_then_closed(void **state)
{
    struct fixture *f = *state;
    struct ps_error err;
    assert_int_equal(flash_devices_detach(f->devices, f->path[0], changed, f, &f->err), PS_EPRECONDITION);
    assert_int_equal(attach(f, 1), 0);
    f->pool.refuse = PS_EFULL;
    assert_int_equal(flash_devices_detach(f->devices, f->path[1], changed, f, &f->err), PS_EFULL);
    assert_string_equal(f->err.detail, "there is no room");
    f->pool.refuse = 0;
    f->answers = 0;
    assert_int_equal(flash_devices_detach(f->devices, f->path[1], changed, f, &f->err), 0);
    assert_int_equal(f->answers, 1);
    assert_int_equal(f->outcome, DEVICE_LEAVING);
    assert_true(f->pool.leaves(f->pool.user, (uint64_t)SEGMENTS * SEGMENT, 1));
    assert_false(f->pool.leaves(f->pool.user, 0, (uint64_t)SEGMENTS * SEGMENT));
    assert_int_equal(flash_devices_vacated_percent(f->devices), 0);
    f->pool.left = 250;
    assert_int_equal(flash_devices_vacated_percent(f->devices), 75);
    assert_int_equal(flash_devices_detach(f->devices, f->path[1], changed, f, &err), PS_EUNAVAILABLE);
    assert_int_equal(flash_devices_attach(f->devices, f->spec[2], changed, f, &err), PS_EUNAVAILABLE);
    /* It does not come to that. */
    f->pool.vacated(f->pool.user, PS_EFULL);
    assert_string_equal(f->event, "device.stays");
    assert_non_null(strstr(f->text, f->path[1]));
    assert_false(f->pool.leaves(f->pool.user, (uint64_t)SEGMENTS * SEGMENT, 1));
    assert_int_equal(f->pool.stopped, 0);
    assert_int_equal(flash_devices_detach(f->devices, f->path[1], changed, f, &f->err), 0);
    f->pool.left = 0;
    assert_int_equal(flash_devices_vacated_percent(f->devices), 100);
    assert_false(is_free(f, 1));
    f->pool.vacated(f->pool.user, 0);
    while (f->pool.stopped == 0 || !is_free(f, 1))
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_string_equal(f->event, "device.detached");
    const struct blkdev *dev = flash_devices_whole(f->devices);
    assert_true(blkdev_absent(dev, (uint64_t)SEGMENTS * SEGMENT, SEGMENT));
    assert_false(blkdev_absent(dev, 0, (uint64_t)SEGMENTS * SEGMENT));
    close_devices(f);
    assert_int_equal(open_devices(f, FLASH_PARITY_AUTO, f->spec[0]), 0);
    dev = flash_devices_whole(f->devices);
    assert_true(blkdev_absent(dev, (uint64_t)SEGMENTS * SEGMENT, SEGMENT));
    /* It comes back in its place. */
    assert_int_equal(attach(f, 1), 0);
    assert_int_equal(dev->geometry.size_bytes, (uint64_t)(SEGMENTS + PARTS) * SEGMENT);
    assert_false(blkdev_absent(dev, 0, dev->geometry.size_bytes));
}

static void what_cannot_be_attached_leaves_the_pool_alone(void **state)
{
    struct fixture *f = *state;
    hold(f);
    assert_int_equal(attach(f, DEVICES), PS_EPRECONDITION);
    let_go(&f->timer);
    const int fd = open(f->path[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, f->bytes), 0);
    assert_int_equal(pwrite(fd, "something", 9, 4096), 9);
    (void)close(fd);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(attach(f, 1), PS_ENOTFOUND);
        assert_non_null(strstr(f->err.detail, "holds something"));
        assert_null(flash_devices_array(f->devices));
        assert_true(is_free(f, 1));
    }
    assert_null(f->pool.dev);
    /* The pool says no: it is attached all the same, and that is said. */
    f->pool.grow_status = PS_EIO;
    assert_int_equal(attach(f, 2), PS_EIO);
    assert_non_null(strstr(f->err.detail, "needed from now on"));
    assert_true(is_open(f, f->path[2]));
    assert_non_null(f->pool.dev);
}

static void too_few_for_the_parity_asked_for_is_said_with_what_would_do(void **state)
{
    struct fixture *f = *state;
    const struct flash_devices_config config = {.loop = &f->loop, .parity = 2};
    struct flash_devices *none = NULL;
    assert_int_equal(flash_devices_open(&config, f->spec[1], answered, f, &f->err, &none), PS_EINVAL);
    assert_non_null(strstr(f->err.detail, "PSTORAGE_ERASURE_CODING=2 needs 3 devices or more"));
    assert_non_null(strstr(f->err.detail, "PSTORAGE_FLASH_DEVICES names 1"));
    assert_null(none);
}

static void a_larger_size_of_one_of_several_is_no_missing_device(void **state)
{
    struct fixture *f = *state;
    char list[2 * SPEC];
    assert_int_equal(attach(f, 1), 0);
    close_devices(f);
    (void)snprintf(list, sizeof list, "file:%s,size=1G %s", f->path[0], f->spec[1]);
    assert_int_equal(open_devices(f, FLASH_PARITY_AUTO, list), PS_EPRECONDITION);
    assert_non_null(strstr(f->err.detail, "128M instead of size=1G: it was cut, or size= was raised"));
    assert_non_null(strstr(f->err.detail, "1 of the pool's 2 devices is missing"));
    close_devices(f);
    (void)snprintf(list, sizeof list, "%s %s", f->spec[0], f->spec[1]);
    assert_int_equal(open_devices(f, FLASH_PARITY_AUTO, list), 0);
}

static void make_file(const struct fixture *f, size_t file)
{
    const int fd = open(f->path[file], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, f->bytes), 0);
    (void)close(fd);
}

static void a_file_made_for_what_is_refused_is_removed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(attach(f, DEVICES), PS_EPRECONDITION);
    assert_int_equal(access(f->path[DEVICES], F_OK), -1);
    /* One that was there stays. */
    make_file(f, DEVICES);
    assert_int_equal(attach(f, DEVICES), PS_EPRECONDITION);
    assert_int_equal(access(f->path[DEVICES], F_OK), 0);
}

static void so_is_one_made_for_a_pool_on_one_device(void **state)
{
    struct fixture *f = *state;
    const uint8_t nothing[ANCHOR_BYTES] = {0};
    const int fd = open(f->path[0], O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, nothing, sizeof nothing, 0), sizeof nothing);
    (void)close(fd);
    assert_int_equal(attach(f, 1), PS_EPRECONDITION);
    assert_int_equal(access(f->path[1], F_OK), -1);
    make_file(f, 1);
    assert_int_equal(attach(f, 1), PS_EPRECONDITION);
    assert_int_equal(access(f->path[1], F_OK), 0);
}

static void identity_on(const struct fixture *f, size_t file, uint8_t id[16])
{
    uint8_t block[ARRAY_BLOCK_BYTES];
    struct array_label label = {0};
    const int fd = open(f->path[file], O_RDONLY | O_CLOEXEC);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pread(fd, block, sizeof block, ARRAY_LABEL_AT + ARRAY_BLOCK_BYTES * i),
                         sizeof block);
        if (array_label_decode(block, &label, NULL) == 0)
            memcpy(id, label.member[label.self].id, 16);
    }
    assert_int_equal(label.members, 2);
    (void)close(fd);
}

/* The pool's own device does not take the label that would name them. */
static void devices_that_were_attached_in_vain_are_told_apart(void **state)
{
    struct fixture *f = *state;
    struct rlimit limit;
    uint8_t id[2][16];
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    for (size_t file = 1; file < 3; file++) {
        make_file(f, file);
        const struct rlimit heads = {.rlim_cur = 64 << 10, .rlim_max = limit.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &heads), 0);
        const int rc = attach(f, file);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        assert_int_equal(rc, PS_EIO);
        assert_non_null(strstr(f->err.detail, "name it, too, if the next start says that it is missing"));
        identity_on(f, file, id[file - 1]);
    }
    assert_memory_not_equal(id[0], id[1], 16);
}

static void count(void *user, const struct blkdev *dev, enum blkdev_kind kind)
{
    (void)dev;
    (void)kind;
    ++*(unsigned *)user;
}

static unsigned devices_open(const struct fixture *f)
{
    unsigned n = 0;
    flash_devices_each(f->devices, count, &n);
    return n;
}

static void a_close_waits_for_the_second_device(void **state)
{
    struct fixture *f = *state;
    char list[2 * SPEC];
    both(f, list);
    f->pool.grow_status = PS_EUNAVAILABLE;
    f->answers = 0;
    assert_int_equal(flash_devices_attach(f->devices, f->spec[1], changed, f, &f->err), 0);
    /* The device is open by now, and its array is being formed. */
    while (devices_open(f) < 2)
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    close_devices(f);
    assert_int_equal(f->answers, 1);
    assert_int_equal(open_devices(f, FLASH_PARITY_AUTO, list), 0);
    assert_true(is_open(f, f->path[0]) && is_open(f, f->path[1]));
}

static bool all_are_in(const struct fixture *f)
{
    struct array_info info;
    array_look(flash_devices_array(f->devices), &info);
    return info.lost == 0;
}

static void with_parity_the_pool_is_told_when_all_devices_are_larger(void **state)
{
    struct fixture *f = *state;
    const uint64_t before = flash_devices_whole(f->devices)->geometry.size_bytes;
    /* Not open at first, as in a start. */
    f->pool.grow_status = PS_EUNAVAILABLE;
    for (size_t i = 0; i < DEVICES; i++) {
        char spec[SPEC];
        assert_int_equal(f->pool.refused, 0);
        int rc; /* labels may still be written that say that the one before is in */
        while ((rc = flash_devices_detach(f->devices, f->path[i], changed, f, &f->err)) == PS_EUNAVAILABLE)
            (void)uv_run(&f->loop, UV_RUN_ONCE);
        assert_int_equal(rc, 0);
        assert_int_equal(answer_of(f), 0);
        assert_int_equal(f->outcome, DEVICE_TAKEN_OUT);
        (void)unlink(f->path[i]);
        (void)snprintf(spec, sizeof spec, "file:%s,size=128M", f->path[i]);
        assert_int_equal(flash_devices_attach(f->devices, spec, changed, f, &f->err), 0);
        assert_int_equal(answer_of(f), 0);
        assert_int_equal(f->outcome, DEVICE_REBUILDING);
        while (!all_are_in(f))
            (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
    while (f->pool.refused < 3)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    f->pool.grow_status = 0;
    while (f->pool.grown == 0)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(f->pool.grown, 1);
    assert_true(flash_devices_whole(f->devices)->geometry.size_bytes >= before + (64 << 20));
}

/* A pool on simulated flash. */
static int setup_zoned(void **state)
{
    struct fixture *f = create(ALONE_MIB);
    char spec[SPEC];
    (void)snprintf(spec, sizeof spec, "sim:%s,size=1G", f->path[0]);
    assert_int_equal(open_devices(f, FLASH_PARITY_AUTO, spec), 0);
    *state = f;
    return 0;
}

static void a_zoned_device_stays_alone(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(flash_devices_attach(f->devices, f->spec[1], changed, f, &f->err), PS_EPRECONDITION);
    assert_non_null(strstr(f->err.detail, "zoned"));
    assert_int_equal(access(f->path[1], F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_loop_runs_while_a_device_that_is_attached_is_waited_for, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_device_in_use_is_not_attached_and_may_be_tried_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_close_waits_for_a_device_that_is_being_opened, setup, teardown),
        cmocka_unit_test_setup_teardown(with_parity_the_pool_is_told_when_all_devices_are_larger, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_zoned_device_stays_alone, setup_zoned, teardown),
        cmocka_unit_test_setup_teardown(a_pool_on_one_device_becomes_one_on_two, setup_alone, teardown),
        cmocka_unit_test_setup_teardown(a_device_that_leaves_is_emptied_then_closed, setup_alone, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_attached_leaves_the_pool_alone, setup_alone, teardown),
        cmocka_unit_test_setup_teardown(a_file_made_for_what_is_refused_is_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_larger_size_of_one_of_several_is_no_missing_device, setup_alone,
                                        teardown),
        cmocka_unit_test_setup_teardown(too_few_for_the_parity_asked_for_is_said_with_what_would_do,
                                        setup_alone, teardown),
        cmocka_unit_test_setup_teardown(so_is_one_made_for_a_pool_on_one_device, setup_alone, teardown),
        cmocka_unit_test_setup_teardown(devices_that_were_attached_in_vain_are_told_apart, setup_alone,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_close_waits_for_the_second_device, setup_alone, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
