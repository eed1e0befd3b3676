/* What erasure coding costs on files: the same writes and reads to one file and to an array of files in the
 * same directory, and reads with members gone. One line of JSON.
 *
 *   array_bench DIR [DATA [PARITY [MIB]]]     default 4 2 1024; needs twice as many MiB of disk and more
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "common/blkdev_uring.h"
#include "common/container.h"
#include "common/prng.h"
#include "node/flash/array.h"

enum {
    DEPTH = 8,
    IO = 1 << 20,
    SEGMENT = 8 << 20,
    AHEAD = 3 * SEGMENT,
    ERASES = 4,
    FILES_MAX = ARRAY_MEMBERS_MAX,
};

static uv_loop_t loop;
static const char *directory;
static uint8_t *buffer[DEPTH];

struct job {
    struct blkdev_req req;
    bool busy;
};

static void on_done(struct blkdev_req *req, int status)
{
    if (status) {
        fprintf(stderr, "a request failed: %s\n", ps_status_text(status));
        exit(1);
    }
    container_of(req, struct job, req)->busy = false;
}

static void run(struct blkdev *dev, struct job *job)
{
    job->busy = true;
    if (blkdev_submit(dev, &job->req, on_done)) {
        fprintf(stderr, "a request was refused\n");
        exit(1);
    }
}

static void wait_for(struct job *job)
{
    while (job->busy)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* MiB/s of durable writes, or of reads, one behind the other. */
static double stream(struct blkdev *dev, enum blkdev_op op, uint64_t bytes)
{
    struct job jobs[DEPTH] = {0}, erases[ERASES] = {0};
    uint64_t erased = 0;
    const double begin = now();
    for (uint64_t at = 0; at < bytes; at += IO) {
        struct job *job = &jobs[at / IO % DEPTH];
        wait_for(job);
        if (op == BLKDEV_WRITE && dev->geometry.zoned && at % SEGMENT == 0) {
            /* As a pod does: the segments behind it are erased by the time that they are needed. */
            for (; erased < bytes && erased <= at + AHEAD; erased += SEGMENT) {
                struct job *next = &erases[erased / SEGMENT % ERASES];
                wait_for(next);
                next->req = (struct blkdev_req){.op = BLKDEV_ERASE, .offset = erased, .length = SEGMENT};
                run(dev, next);
            }
            wait_for(&erases[at / SEGMENT % ERASES]);
        }
        job->req = (struct blkdev_req){.op = op,
                                       .flags = op == BLKDEV_WRITE ? BLKDEV_FUA : 0,
                                       .offset = at,
                                       .length = IO,
                                       .buf = buffer[at / IO % DEPTH]};
        run(dev, job);
    }
    for (unsigned i = 0; i < DEPTH; i++)
        wait_for(&jobs[i]);
    return (double)(bytes >> 20) / (now() - begin);
}

static struct blkdev *open_file(const char *name, uint64_t bytes)
{
    struct blkdev_spec spec = {.kind = BLKDEV_KIND_FILE, .size_bytes = (bytes + 4095) / 4096 * 4096};
    struct ps_error err;
    struct blkdev *dev;
    (void)snprintf(spec.path, sizeof spec.path, "%s/%s", directory, name);
    if (blkdev_uring_open(&loop, &spec, NULL, &dev, &err)) {
        fprintf(stderr, "%s\n", err.detail);
        exit(1);
    }
    return dev;
}

static void remove_file(const char *name)
{
    char path[1200];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    (void)unlink(path);
}

static int answered;
static void on_answer(void *user, int status)
{
    (void)user;
    if (status) {
        fprintf(stderr, "the array: %s\n", ps_status_text(status));
        exit(1);
    }
    answered++;
}

static void wait_answer(int count)
{
    while (answered < count)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

/* Every file is written once before it is measured: none of the two pays for new extents. */
static double twice(struct blkdev *dev, uint64_t bytes)
{
    (void)stream(dev, BLKDEV_WRITE, bytes);
    return stream(dev, BLKDEV_WRITE, bytes);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: array_bench DIR [DATA [PARITY [MIB]]]\n");
        return 2;
    }
    directory = argv[1];
    const unsigned k = argc > 2 ? (unsigned)atoi(argv[2]) : 4, m = argc > 3 ? (unsigned)atoi(argv[3]) : 2;
    const uint64_t bytes = (argc > 4 ? strtoull(argv[4], NULL, 10) : 1024) << 20;
    if (k < 1 || m < 1 || m > 2 || k + m > FILES_MAX || bytes < 64 << 20 || bytes % SEGMENT) {
        fprintf(stderr, "1 or 2 of parity, at most 16 files, a multiple of 8 MiB\n");
        return 2;
    }
    (void)uv_loop_init(&loop);
    struct prng p;
    prng_seed(&p, 1);
    for (unsigned i = 0; i < DEPTH; i++) {
        buffer[i] = aligned_alloc(BLKDEV_ALIGN, IO);
        prng_fill(&p, buffer[i], IO);
    }

    struct blkdev *one = open_file("one", bytes);
    const double write_one = twice(one, bytes), read_one = stream(one, BLKDEV_READ, bytes);
    blkdev_destroy(one);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    remove_file("one");

    struct array_device devices[FILES_MAX];
    char names[FILES_MAX][16];
    const uint64_t part = (SEGMENT + k * ARRAY_UNIT_MAX - 1) / (k * ARRAY_UNIT_MAX) * ARRAY_UNIT_MAX;
    for (unsigned i = 0; i < k + m; i++) {
        (void)snprintf(names[i], sizeof names[i], "part%u", i);
        devices[i] =
            (struct array_device){open_file(names[i], ARRAY_HEADER_BYTES + bytes / SEGMENT * part), names[i]};
    }
    const struct array_config config = {.seed = {1, 2}, .parity = m, .segment_bytes = SEGMENT};
    struct array *array;
    struct ps_error err;
    if (array_open(devices, k + m, &config, on_answer, NULL, &err, &array)) {
        fprintf(stderr, "%s\n", err.detail);
        return 1;
    }
    wait_answer(1);
    struct blkdev *whole = array_device(array);
    const double write_array = twice(whole, bytes), read_array = stream(whole, BLKDEV_READ, bytes);
    double read_less = 0;
    for (unsigned i = 0; i < m; i++) {
        if (array_detach(array, names[i], on_answer, NULL, &err)) {
            fprintf(stderr, "%s\n", err.detail);
            return 1;
        }
        wait_answer(2 + (int)i);
    }
    read_less = stream(whole, BLKDEV_READ, bytes);
    array_close(array, on_answer, NULL);
    wait_answer(2 + (int)m);
    array_destroy(array);
    for (unsigned i = 0; i < k + m; i++)
        blkdev_destroy(devices[i].dev);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < k + m; i++)
        remove_file(names[i]);
    printf("{\"data\": %u, \"parity\": %u, \"write_one\": %.1f, \"write_array\": %.1f, \"read_one\": %.1f, "
           "\"read_array\": %.1f, \"read_without\": %.1f}\n",
           k, m, write_one, write_array, read_one, read_array, read_less);
    return 0;
}
