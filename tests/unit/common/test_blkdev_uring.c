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
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/blkdev_ahead.h"
#include "common/blkdev_uring.h"
#include "common/container.h"
#include "common/log.h"
#include "common/prng.h"

/* Every test runs twice: on io_uring (where the kernel has it) and on threads. */
struct fixture {
    char dir[64];
    struct blkdev_spec spec;
    struct blkdev_uring_options options;
    uv_loop_t loop;
    struct blkdev *dev;
};

struct job {
    struct blkdev_req req;
    int done, status;
};

static void job_done(struct blkdev_req *req, int status)
{
    struct job *j = container_of(req, struct job, req);
    j->done++;
    j->status = status;
}

static void run_loop(struct fixture *f)
{
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
}

static void open_device(struct fixture *f)
{
    struct ps_error err;
    if (blkdev_uring_open(&f->loop, &f->spec, &f->options, &f->dev, &err))
        fail_msg("%s", err.detail);
}

static void close_device(struct fixture *f)
{
    blkdev_destroy(f->dev);
    f->dev = NULL;
    run_loop(f);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->options.threads = *state != NULL;
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/pstorage-test-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    f->spec.kind = BLKDEV_KIND_FILE;
    f->spec.size_bytes = 96ull << 20;
    (void)snprintf(f->spec.path, sizeof f->spec.path, "%s/flash0", f->dir);
    uv_loop_init(&f->loop);
    open_device(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->dev)
        close_device(f);
    const int rc = uv_loop_close(&f->loop);
    (void)unlink(f->spec.path);
    (void)rmdir(f->dir);
    free(f);
    return rc;
}

static void *pages(size_t bytes, int fill)
{
    void *p = aligned_alloc(BLKDEV_ALIGN, bytes);
    assert_non_null(p);
    memset(p, fill, bytes);
    return p;
}

static struct job job(enum blkdev_op op, uint64_t offset, uint32_t length, void *buf, uint32_t flags)
{
    return (struct job){.req = {.op = op, .offset = offset, .length = length, .buf = buf, .flags = flags}};
}

static int run_one(struct fixture *f, struct job *j)
{
    assert_int_equal(blkdev_submit(f->dev, &j->req, job_done), 0);
    assert_int_equal(j->done, 0);
    run_loop(f);
    assert_int_equal(j->done, 1);
    return j->status;
}

static void what_was_written_is_read_back_also_after_reopening(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(blkdev_uring_engine(f->dev), f->options.threads ? "threads" : "io_uring");
    const struct blkdev_geometry *g = &f->dev->geometry;
    assert_int_equal(g->size_bytes, 96 << 20);
    assert_int_equal(g->write_unit, 4096);
    assert_true(g->read_unit == 512 || g->read_unit == 4096);
    uint8_t *out = pages(4 << 20, 0), *in = pages(4 << 20, 0);
    struct prng prng;
    prng_seed(&prng, 42);
    prng_fill(&prng, out, 4 << 20);
    struct job w = job(BLKDEV_WRITE, 4096, 4 << 20, out, 0), fl = job(BLKDEV_FLUSH, 0, 0, NULL, 0);
    struct job fua = job(BLKDEV_WRITE, (96ull << 20) - 4096, 4096, out, BLKDEV_FUA);
    assert_int_equal(run_one(f, &w), 0);
    assert_int_equal(run_one(f, &fl), 0);
    assert_int_equal(run_one(f, &fua), 0);
    close_device(f);
    open_device(f);
    struct job r = job(BLKDEV_READ, 4096, 4 << 20, in, 0),
               r2 = job(BLKDEV_READ, (96ull << 20) - 4096, 4096, in, 0);
    assert_int_equal(run_one(f, &r), 0);
    assert_memory_equal(in, out, 4 << 20);
    memset(in, 0, 4096);
    assert_int_equal(run_one(f, &r2), 0);
    assert_memory_equal(in, out, 4096);
    struct blkdev_health h;
    blkdev_health(f->dev, &h);
    assert_int_equal(h.read_ops, 2);
    assert_int_equal(h.read_bytes, (4 << 20) + 4096);
    assert_int_equal(h.errors, 0);
    free(in);
    free(out);
}

static void more_requests_than_the_engine_takes_all_complete(void **state)
{
    struct fixture *f = *state;
    enum {
        N = 1000
    };
    struct job *jobs = calloc(N, sizeof *jobs);
    uint8_t *buf = pages((size_t)N * 4096, 0);
    for (size_t i = 0; i < N; i++) {
        memset(buf + i * 4096, (int)i, 4096);
        jobs[i] = job(BLKDEV_WRITE, i * 4096, 4096, buf + i * 4096, 0);
        assert_int_equal(blkdev_submit(f->dev, &jobs[i].req, job_done), 0);
    }
    run_loop(f);
    uint8_t *in = pages((size_t)N * 4096, 0xff);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(jobs[i].done, 1);
        assert_int_equal(jobs[i].status, 0);
        jobs[i] = job(BLKDEV_READ, i * 4096, 4096, in + i * 4096, 0);
        assert_int_equal(blkdev_submit(f->dev, &jobs[i].req, job_done), 0);
    }
    run_loop(f);
    assert_memory_equal(in, buf, (size_t)N * 4096);
    free(in);
    free(buf);
    free(jobs);
}

/* Random writes while the space ahead of them is being filled with zeroes. */
static void filling_ahead_never_touches_what_the_host_wrote(void **state)
{
    struct fixture *f = *state;
    enum {
        UNITS = (96 << 20) / 65536,
        ROUNDS = 400,
        DEPTH = 8
    };
    uint8_t *model = calloc(UNITS, 1);
    struct job jobs[DEPTH];
    uint8_t *buf = pages((size_t)DEPTH * 65536, 0);
    struct prng prng;
    prng_seed(&prng, 7);
    for (int round = 0; round < ROUNDS; round++) {
        /* At a frontier, and into the chunk behind it, where the pieces in flight are; slots never overlap.
         */
        const uint64_t frontier = (uint64_t)round * (UNITS - DEPTH) / ROUNDS / DEPTH * DEPTH;
        for (size_t i = 0; i < DEPTH; i++) {
            uint64_t unit = frontier + i;
            if (prng_chance(&prng, 1, 2))
                unit +=
                    (AHEAD_CHUNK_BYTES / 65536) * (1 + prng_below(&prng, 2)) + prng_below(&prng, 16) * DEPTH;
            if (unit >= UNITS)
                unit = i;
            model[unit] = (uint8_t)(1 + prng_below(&prng, 255));
            memset(buf + i * 65536, model[unit], 65536);
            jobs[i] = job(BLKDEV_WRITE, unit * 65536, 65536, buf + i * 65536, 0);
            assert_int_equal(blkdev_submit(f->dev, &jobs[i].req, job_done), 0);
        }
        for (size_t i = 0; i < DEPTH; i++)
            while (!jobs[i].done)
                (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
    run_loop(f);
    assert_true(blkdev_uring_filled_bytes(f->dev) > 0);
    for (uint64_t unit = 0; unit < UNITS; unit++) {
        struct job r = job(BLKDEV_READ, unit * 65536, 65536, buf, 0);
        assert_int_equal(run_one(f, &r), 0);
        for (size_t b = 0; b < 65536; b += 4096)
            assert_int_equal(buf[b], model[unit]);
    }
    free(buf);
    free(model);
}

static void space_is_filled_ahead_of_the_writer_and_not_again_after_reopening(void **state)
{
    struct fixture *f = *state;
    void *buf = pages(4096, 'w');
    struct job w = job(BLKDEV_WRITE, 0, 4096, buf, BLKDEV_FUA);
    assert_int_equal(run_one(f, &w), 0);
    assert_int_equal(blkdev_uring_filled_bytes(f->dev), (uint64_t)AHEAD_CHUNKS * AHEAD_CHUNK_BYTES);
    close_device(f);
    open_device(f);
    w = job(BLKDEV_WRITE, 4096, 4096, buf, BLKDEV_FUA);
    assert_int_equal(run_one(f, &w), 0);
    assert_int_equal(blkdev_uring_filled_bytes(f->dev), 0);
    /* One chunk further there is one more to fill. */
    w = job(BLKDEV_WRITE, AHEAD_CHUNK_BYTES, 4096, buf, 0);
    assert_int_equal(run_one(f, &w), 0);
    assert_int_equal(blkdev_uring_filled_bytes(f->dev), (uint64_t)AHEAD_CHUNK_BYTES);
    free(buf);
}

static void a_device_may_be_destroyed_while_it_fills(void **state)
{
    struct fixture *f = *state;
    void *buf = pages(4096, 'w');
    struct job w = job(BLKDEV_WRITE, 0, 4096, buf, 0);
    assert_int_equal(blkdev_submit(f->dev, &w.req, job_done), 0);
    while (!w.done)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    close_device(f);
    open_device(f); /* the lock was given back */
    free(buf);
}

static void the_file_has_its_space_from_the_start(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(stat(f->spec.path, &st), 0);
    assert_int_equal(st.st_size, 96 << 20);
    assert_true((uint64_t)st.st_blocks * 512 >= 96ull << 20);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_device_in_use_is_refused(void **state)
{
    struct fixture *f = *state;
    struct blkdev *second;
    struct ps_error err;
    assert_int_equal(blkdev_uring_open(&f->loop, &f->spec, &f->options, &second, &err), PS_EPRECONDITION);
    assert_non_null(strstr(err.detail, f->spec.path));
    assert_non_null(strstr(err.detail, "in use"));
}

static void wrong_files_are_refused_with_their_reason(void **state)
{
    struct fixture *f = *state;
    close_device(f);
    struct ps_error err;
    struct blkdev *dev;
    struct blkdev_spec wrong = f->spec;
    wrong.size_bytes = 8 << 20;
    assert_int_equal(blkdev_uring_open(&f->loop, &wrong, &f->options, &dev, &err), PS_EINVAL);
    assert_non_null(strstr(err.detail, "96M"));
    assert_non_null(strstr(err.detail, "size=8M"));
    wrong.size_bytes = 1ull << 60;
    assert_int_equal(blkdev_uring_open(&f->loop, &wrong, &f->options, &dev, &err), PS_EINVAL);
    struct stat st;
    assert_int_equal(stat(f->spec.path, &st), 0);
    assert_int_equal(st.st_size, 96 << 20); /* an existing file stays as it is */
    (void)snprintf(wrong.path, sizeof wrong.path, "%s/none/flash0", f->dir);
    assert_int_equal(blkdev_uring_open(&f->loop, &wrong, &f->options, &dev, &err), PS_ENOTFOUND);
    (void)snprintf(wrong.path, sizeof wrong.path, "%s/new", f->dir);
    assert_int_equal(blkdev_uring_open(&f->loop, &wrong, &f->options, &dev, &err), PS_EFULL);
    assert_non_null(strstr(err.detail, "free"));
    assert_int_equal(access(wrong.path, F_OK), -1); /* one that was made goes again */
    (void)snprintf(wrong.path, sizeof wrong.path, "%s", "/dev/null");
    assert_int_equal(blkdev_uring_open(&f->loop, &wrong, &f->options, &dev, &err), PS_EINVAL);
    wrong.kind = BLKDEV_KIND_BLOCK;
    assert_int_equal(blkdev_uring_open(&f->loop, &wrong, &f->options, &dev, &err), PS_EINVAL);
    assert_non_null(strstr(err.detail, "no block device"));
    (void)snprintf(wrong.path, sizeof wrong.path, "%s", "/dev/no-such-device");
    assert_int_equal(blkdev_uring_open(&f->loop, &wrong, &f->options, &dev, &err), PS_ENOTFOUND);
    open_device(f);
}

static int says_yes(const void *head, uint64_t has_bytes, struct ps_error *err)
{
    (void)err;
    assert_int_equal(*(const uint8_t *)head, 0x5a);
    assert_int_equal(has_bytes, 96 << 20);
    return 0;
}

static int says_no(const void *head, uint64_t has_bytes, struct ps_error *err)
{
    (void)head;
    (void)has_bytes;
    return ps_error_set(err, PS_EINVAL, "it is somebody else's");
}

static void a_file_is_enlarged_where_it_may_be(void **state)
{
    struct fixture *f = *state;
    static _Alignas(BLKDEV_ALIGN) uint8_t data[BLKDEV_ALIGN], back[BLKDEV_ALIGN];
    memset(data, 0x5a, sizeof data);
    struct job w = job(BLKDEV_WRITE, 0, sizeof data, data, BLKDEV_FUA);
    assert_int_equal(run_one(f, &w), 0);
    close_device(f);
    struct ps_error err;
    struct blkdev *dev;
    struct stat st;
    f->spec.size_bytes = 128ull << 20;
    f->options.may_grow = says_no;
    assert_int_equal(blkdev_uring_open(&f->loop, &f->spec, &f->options, &dev, &err), PS_EINVAL);
    assert_non_null(strstr(err.detail, "96M instead of size=128M: it is somebody else's"));
    f->options.may_grow = says_yes;
    f->spec.read_only = true;
    open_device(f);
    assert_int_equal(f->dev->geometry.size_bytes, 96 << 20); /* whoever looks changes nothing */
    close_device(f);
    assert_int_equal(stat(f->spec.path, &st), 0);
    assert_int_equal(st.st_size, 96 << 20);
    f->spec.read_only = false;
    open_device(f);
    assert_int_equal(f->dev->geometry.size_bytes, 128 << 20);
    assert_int_equal(stat(f->spec.path, &st), 0);
    assert_int_equal(st.st_size, 128 << 20);
    struct job r = job(BLKDEV_READ, 0, sizeof back, back, 0);
    assert_int_equal(run_one(f, &r), 0);
    assert_memory_equal(back, data, sizeof data);
    w = job(BLKDEV_WRITE, (128ull << 20) - sizeof data, sizeof data, data, BLKDEV_FUA);
    assert_int_equal(run_one(f, &w), 0);
    r = job(BLKDEV_READ, 96ull << 20, sizeof back, back, 0);
    assert_int_equal(run_one(f, &r), 0);
    assert_int_equal(back[0], 0);
    close_device(f);
    f->options.may_grow = says_no; /* it is as large as asked for: nobody is asked */
    open_device(f);
}

/* The size is set last, so that is what a killed process leaves. */
static void a_file_whose_making_was_interrupted_is_made_again(void **state)
{
    struct fixture *f = *state;
    close_device(f);
    assert_int_equal(truncate(f->spec.path, 0), 0);
    const int fd = open(f->spec.path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 16 << 20), 0);
    (void)close(fd);
    open_device(f);
    assert_int_equal(f->dev->geometry.size_bytes, 96 << 20);
    struct stat st;
    assert_int_equal(stat(f->spec.path, &st), 0);
    assert_int_equal(st.st_size, 96 << 20);
}

static uint64_t blocks_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void an_erase_punches_only_when_asked_to(void **state)
{
    struct fixture *f = *state;
    const uint64_t full = blocks_of(f->spec.path);
    struct job e = job(BLKDEV_ERASE, 0, 8 << 20, NULL, 0);
    assert_int_equal(run_one(f, &e), 0);
    assert_true(blocks_of(f->spec.path) >= full);
    close_device(f);
    f->spec.punch = true;
    open_device(f);
    e = job(BLKDEV_ERASE, 0, 8 << 20, NULL, 0);
    assert_int_equal(run_one(f, &e), 0);
    assert_true(blocks_of(f->spec.path) <= full - (8 << 20));
    struct blkdev_health h;
    blkdev_health(f->dev, &h);
    assert_int_equal(h.erase_ops, 1);
}

/* The file shrinks behind the device's back: reads end early, which is an error and not zeroes. */
static void a_read_beyond_the_end_of_a_shrunk_file_fails(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(truncate(f->spec.path, 4096), 0);
    uint8_t *buf = pages(8192, 'x');
    struct job r = job(BLKDEV_READ, 0, 8192, buf, 0);
    log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
    assert_int_equal(run_one(f, &r), PS_EIO);
    log_set_fd(2);
    struct blkdev_health h;
    blkdev_health(f->dev, &h);
    assert_int_equal(h.errors, 1);
    assert_false(h.failed);
    free(buf);
}

static void limit_file_size(rlim_t bytes)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes < r.rlim_max ? bytes : r.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* A write beyond the limit on file sizes is refused by any kernel and file system. */
static void after_a_failed_durable_write_no_more_writes_are_taken(void **state)
{
    struct fixture *f = *state;
    void *buf = pages(4096, 'x');
    assert_int_equal(truncate(f->spec.path, 0), 0);
    struct job w = job(BLKDEV_WRITE, 1ull << 20, 4096, buf, BLKDEV_FUA);
    limit_file_size(4096);
    log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
    const int status = run_one(f, &w);
    log_set_fd(2);
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(status, PS_EIO);
    struct blkdev_health h;
    blkdev_health(f->dev, &h);
    assert_true(h.failed);
    w = job(BLKDEV_WRITE, 0, 4096, buf, 0);
    assert_int_equal(run_one(f, &w), PS_EIO);
    struct job fl = job(BLKDEV_FLUSH, 0, 0, NULL, 0);
    assert_int_equal(run_one(f, &fl), PS_EIO);
    assert_int_equal(blocks_of(f->spec.path), 0);
    free(buf);
}

int main(void)
{
#define T(name)                                                                                              \
    {#name " (io_uring)", name, setup, teardown, NULL},                                                      \
    {                                                                                                        \
#name " (threads)", name, setup, teardown, &threads                                                  \
    }
    static int threads;
    const struct CMUnitTest tests[] = {
        T(what_was_written_is_read_back_also_after_reopening),
        T(more_requests_than_the_engine_takes_all_complete),
        T(filling_ahead_never_touches_what_the_host_wrote),
        T(space_is_filled_ahead_of_the_writer_and_not_again_after_reopening),
        T(a_device_may_be_destroyed_while_it_fills),
        T(the_file_has_its_space_from_the_start),
        T(a_device_in_use_is_refused),
        T(wrong_files_are_refused_with_their_reason),
        T(a_file_is_enlarged_where_it_may_be),
        T(a_file_whose_making_was_interrupted_is_made_again),
        T(an_erase_punches_only_when_asked_to),
        T(a_read_beyond_the_end_of_a_shrunk_file_fails),
        T(after_a_failed_durable_write_no_more_writes_are_taken),
    };
    log_set_level(LOG_WARN);
    (void)signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests_name("blkdev_uring", tests, NULL, NULL);
}
