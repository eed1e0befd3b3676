/* A pod alone on a flash file, without a host protocol: what the store costs.
 *
 *   pod_bench FILE write|read|seqwrite|seqread [DEPTH [SECONDS [VOLUME_MIB]]]
 *
 * 4 KiB at random places (128 KiB in order for seq…), data that compresses 2:1.
 * Prints operations a second and CPU per operation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <uv.h>

#include "common/blkdev_uring.h"
#include "common/large_memory_mmap.h"
#include "common/prng.h"
#include "node/pod/pod.h"

enum {
    DEPTH_MAX = 256
};

struct bench;
struct slot {
    struct pod_io io;
    struct bench *bench;
    uint8_t *buf;
};

struct bench {
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_timer_t timer;
    struct blkdev *dev;
    struct pod *pod;
    struct pod_image *image;
    bool opened, created, reading, sequential, stopping, ready;
    uint64_t volume_bytes, next, done, in_flight;
    unsigned depth;
    uint32_t io_bytes;
    struct slot slots[DEPTH_MAX];
    struct prng prng;
};

static uint64_t now_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static double cpu_seconds(void)
{
    struct rusage ru;
    (void)getrusage(RUSAGE_SELF, &ru);
    return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
           (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
}

static void wake(uv_timer_t *timer)
{
    (void)timer;
}

static void turn(uv_prepare_t *prepare)
{
    struct bench *b = prepare->data;
    const uint64_t now = now_ns(), at = pod_turn(b->pod, now);
    (void)uv_timer_start(&b->timer, wake, at <= now ? 0 : 1000, 0);
}

static void die(const char *what, int status, const char *detail)
{
    (void)fprintf(stderr, "%s: %s %s\n", what, ps_status_text(status), detail ? detail : "");
    exit(1);
}

static void submit(struct slot *s);

static void on_io(struct pod_io *io, int status)
{
    struct slot *s = io->user;
    struct bench *b = s->bench;
    if (status)
        die("I/O", status, NULL);
    b->done++;
    b->in_flight--;
    if (!b->stopping)
        submit(s);
}

/* Half noise, half zeroes, in every block: LZ4 makes about 2:1 of it. */
static void fresh_data(struct bench *b, uint8_t *buf)
{
    for (uint32_t at = 0; at < b->io_bytes; at += 4096)
        for (uint32_t i = 0; i < 2048; i += 8) {
            const uint64_t v = prng_next(&b->prng);
            memcpy(buf + at + i, &v, 8);
        }
}

static void submit(struct slot *s)
{
    struct bench *b = s->bench;
    const uint64_t places = b->volume_bytes / b->io_bytes;
    const uint64_t place = b->sequential ? b->next++ % places : prng_below(&b->prng, places);
    if (!b->reading)
        fresh_data(b, s->buf);
    s->io = (struct pod_io){
        .op = b->reading ? POD_READ : POD_WRITE,
        .image = b->image,
        .offset = place * b->io_bytes,
        .length = b->io_bytes,
        .buf = s->buf,
        .user = s,
    };
    b->in_flight++;
    const int rc = pod_submit(b->pod, &s->io, on_io);
    if (rc)
        die("submit", rc, NULL);
}

static void on_open(void *user, int status, struct pod *pod)
{
    struct bench *b = user;
    (void)pod;
    if (status)
        die("open", status, NULL);
    b->opened = true;
}

static void on_create(struct pod_manage *req, int status)
{
    struct bench *b = req->user;
    if (status && status != PS_EEXISTS)
        die("create", status, req->error.detail);
    b->created = true;
}

static void run_until(struct bench *b, const bool *flag)
{
    while (!*flag)
        (void)uv_run(&b->loop, UV_RUN_ONCE);
}

static void run_for(struct bench *b, double seconds)
{
    const uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    b->stopping = false;
    for (unsigned i = 0; i < b->depth; i++)
        submit(&b->slots[i]);
    while (now_ns() < end)
        (void)uv_run(&b->loop, UV_RUN_ONCE);
    b->stopping = true;
    while (b->in_flight)
        (void)uv_run(&b->loop, UV_RUN_ONCE);
}

int main(int argc, char **argv)
{
    static struct bench b;
    if (argc < 3) {
        (void)fprintf(stderr, "usage: pod_bench FILE write|read|seqwrite|seqread [DEPTH [SECONDS [VOLUME_MIB "
                              "[uncounted]]]]\n");
        return 2;
    }
    const double seconds = argc > 4 ? strtod(argv[4], NULL) : 5;
    b.depth = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : 32;
    b.volume_bytes = (argc > 5 ? strtoull(argv[5], NULL, 0) : 1024) << 20;
    b.sequential = strncmp(argv[2], "seq", 3) == 0;
    b.reading = strstr(argv[2], "read") != NULL;
    b.io_bytes = b.sequential ? 128 * 1024 : 4096;
    if (b.depth < 1 || b.depth > DEPTH_MAX)
        return 2;
    prng_seed(&b.prng, now_ns());
    (void)uv_loop_init(&b.loop);
    struct ps_error err = {0};
    struct blkdev_spec spec = {.kind = BLKDEV_KIND_FILE, .size_bytes = 8ull << 30};
    (void)snprintf(spec.path, sizeof spec.path, "%s", argv[1]);
    int rc = blkdev_uring_open(&b.loop, &spec, NULL, &b.dev, &err);
    if (rc)
        die(argv[1], rc, err.detail);
    /* As in the daemon, unless it is to be seen what counting costs. */
    struct image_uses *uses = argc > 6 ? NULL : image_uses_create(now_ns);
    const struct pod_config config = {
        .name = "default",
        .uses = uses,
        .memory_budget = 1ull << 30,
        .dedupe = true,
        .compression = true,
        .memory = &large_memory_mmap,
        .seed = {now_ns(), 1},
    };
    rc = pod_open(b.dev, &config, POD_FORMAT_BLANK, on_open, &b, &err, &b.pod);
    if (rc)
        die("open", rc, err.detail);
    (void)uv_prepare_init(&b.loop, &b.prepare);
    b.prepare.data = &b;
    (void)uv_timer_init(&b.loop, &b.timer);
    (void)uv_prepare_start(&b.prepare, turn);
    (void)uv_timer_start(&b.timer, wake, 0, 0);
    run_until(&b, &b.opened);
    struct pod_manage create = {
        .op = POD_VOLUME_CREATE, .name = "bench", .size_bytes = b.volume_bytes, .user = &b};
    (void)pod_manage(b.pod, &create, on_create);
    run_until(&b, &b.created);
    rc = pod_image_open(b.pod, "bench", &b.image, &err);
    if (rc)
        die("open", rc, err.detail);
    for (unsigned i = 0; i < b.depth; i++) {
        b.slots[i].bench = &b;
        b.slots[i].buf = aligned_alloc(4096, b.io_bytes);
        memset(b.slots[i].buf, 0, b.io_bytes);
    }
    run_for(&b, 0.5); /* warm up */
    struct pod_stats before, after;
    pod_stats(b.pod, &before);
    b.done = 0;
    const uint64_t start = now_ns();
    const double cpu = cpu_seconds();
    run_for(&b, seconds);
    const double took = (double)(now_ns() - start) / 1e9;
    pod_stats(b.pod, &after);
    const double used = cpu_seconds() - cpu;
    const uint64_t batches = after.batches - before.batches;
    (void)printf(
        "%s depth %u: %.0f op/s, %.1f MiB/s, %.2f us CPU/op, %.1f op/batch, %llu checkpoints, %llu misses\n",
        argv[2], b.depth, (double)b.done / took, (double)b.done * b.io_bytes / took / (1 << 20),
        used * 1e6 / (double)b.done, batches ? (double)b.done / (double)batches : 0.0,
        (unsigned long long)(after.checkpoints - before.checkpoints),
        (unsigned long long)(after.cache_misses - before.cache_misses));
    /* The pod is left as after a crash: opening it again is part of the next run. */
    return 0;
}
