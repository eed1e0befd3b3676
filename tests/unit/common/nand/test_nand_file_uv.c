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
#include <sys/wait.h>
#include <unistd.h>

#include "common/nand/nand_file_uv.h"

enum {
    PIECE = 256 << 10
};

struct fixture {
    char dir[64];
    struct blkdev_spec spec;
    uv_loop_t loop;
    struct blkdev *dev;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/var/tmp/test_nand_file.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    char text[128];
    (void)snprintf(text, sizeof text, "sim:%s/flash,size=128M,latency=off,channels=2,dies=1", f->dir);
    assert_int_equal(blkdev_spec_parse(text, strlen(text), &f->spec, NULL), 0);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    (void)unlink(f->spec.path);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static void open_it(struct fixture *f)
{
    struct ps_error err = {0};
    if (nand_file_open(&f->loop, &f->spec, &f->dev, &err))
        fail_msg("%s", err.detail);
}

static void close_it(struct fixture *f)
{
    blkdev_destroy(f->dev);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
}

static int last_status;
static unsigned completions;

static void done(struct blkdev_req *req, int status)
{
    (void)req;
    last_status = status;
    completions++;
}

static uint8_t buf[PIECE] __attribute__((aligned(BLKDEV_ALIGN)));

static int run(struct fixture *f, enum blkdev_op op, uint64_t offset, uint32_t length)
{
    struct blkdev_req req = {.op = op, .offset = offset, .length = length, .buf = buf};
    const unsigned before = completions;
    assert_int_equal(blkdev_submit(f->dev, &req, done), 0);
    assert_int_equal(completions, before);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(completions, before + 1);
    return last_status;
}

static void assert_holds(struct fixture *f, uint64_t offset, int fill)
{
    memset(buf, ~fill, sizeof buf);
    assert_int_equal(run(f, BLKDEV_READ, offset, PIECE), 0);
    for (size_t i = 0; i < sizeof buf; i++)
        assert_int_equal(buf[i], fill);
}

static void what_was_written_is_there_after_a_start(void **state)
{
    struct fixture *f = *state;
    struct blkdev_wear wear;
    struct nand_health health;
    open_it(f);
    assert_int_equal(f->dev->geometry.size_bytes, 128 << 20);
    assert_int_equal(f->dev->geometry.erase_bytes, NAND_FILE_ZONE_BYTES);
    const uint64_t zone = f->dev->geometry.erase_bytes;
    assert_int_equal(run(f, BLKDEV_ERASE, zone, (uint32_t)zone), 0);
    memset(buf, 'a', sizeof buf);
    assert_int_equal(run(f, BLKDEV_WRITE, zone, PIECE), 0);
    assert_int_equal(run(f, BLKDEV_FLUSH, 0, 0), 0);
    close_it(f);
    open_it(f);
    assert_holds(f, zone, 'a');
    assert_holds(f, 0, 0);
    assert_true(blkdev_wear(f->dev, zone, &wear) && wear.pe_cycles == 1);
    nand_drive_health(nand_file_drive(f->dev), &health);
    assert_int_equal(health.power_cycles, 2);
    assert_int_equal(health.unsafe_shutdowns, 0);
    close_it(f);
}

static void what_was_answered_outlives_a_killed_process(void **state)
{
    struct fixture *f = *state;
    const pid_t pid = fork();
    if (pid == 0) {
        uv_loop_t loop;
        (void)uv_loop_init(&loop);
        if (nand_file_open(&loop, &f->spec, &f->dev, NULL))
            _exit(1);
        memset(buf, 'k', sizeof buf);
        struct blkdev_req req = {.op = BLKDEV_WRITE, .length = PIECE, .buf = buf};
        (void)blkdev_submit(f->dev, &req, done);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        _exit(last_status ? 1 : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    open_it(f);
    assert_holds(f, 0, 'k');
    struct nand_health health;
    nand_drive_health(nand_file_drive(f->dev), &health);
    assert_int_equal(health.unsafe_shutdowns, 1);
    close_it(f);
}

static void latencies_are_kept_in_real_time(void **state)
{
    struct fixture *f = *state;
    f->spec.sim.instant = false;
    open_it(f);
    const uint64_t from = uv_hrtime();
    assert_int_equal(run(f, BLKDEV_ERASE, 0, NAND_FILE_ZONE_BYTES), 0);
    const uint64_t erased = uv_hrtime();
    assert_true(erased - from >= 3000000);
    assert_int_equal(run(f, BLKDEV_WRITE, 0, 4096), 0);
    assert_true(uv_hrtime() - erased >= 600000);
    close_it(f);
}

static void expect_refusal(struct fixture *f, int status, const char *reason)
{
    struct ps_error err = {0};
    assert_int_equal(nand_file_open(&f->loop, &f->spec, &f->dev, &err), status);
    if (!strstr(err.detail, reason))
        fail_msg("\"%s\" does not say \"%s\"", err.detail, reason);
}

static void flash_of_another_shape_or_in_use_is_refused(void **state)
{
    struct fixture *f = *state;
    open_it(f);
    struct blkdev *first = f->dev;
    expect_refusal(f, PS_EPRECONDITION, "in use");
    f->dev = first;
    close_it(f);
    f->spec.sim.endurance = 7;
    expect_refusal(f, PS_EINVAL, "made with other options");
    f->spec.sim.endurance = 3000;
    f->spec.size_bytes *= 2;
    expect_refusal(f, PS_EINVAL, "made with other options");
    f->spec.size_bytes /= 2;
    f->spec.sim.instant = !f->spec.sim.instant; /* that may change */
    open_it(f);
    close_it(f);
}

static void damage_and_other_files_are_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    open_it(f);
    close_it(f);
    int fd = open(f->spec.path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "x", 1, 20), 1);
    expect_refusal(f, PS_EDAMAGED, "checksum");
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, "something of somebody", 21, 8000), 21);
    expect_refusal(f, PS_EINVAL, "instead of size=");
    assert_int_equal(pwrite(fd, "his", 3, 0), 3);
    expect_refusal(f, PS_ENOTFOUND, "no simulated flash");
    char back[3];
    assert_int_equal(pread(fd, back, 3, 0), 3);
    assert_memory_equal(back, "his", 3);
    (void)close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_is_there_after_a_start),
        TEST(what_was_answered_outlives_a_killed_process),
        TEST(latencies_are_kept_in_real_time),
        TEST(flash_of_another_shape_or_in_use_is_refused),
        TEST(damage_and_other_files_are_refused_and_left_alone),
    };
    return cmocka_run_group_tests_name("nand_file_uv", tests, NULL, NULL);
}
