#include "tests/support/timed_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/blkdev_mem.h"
#include "common/container.h"

enum {
    IDLE_MAX = 1000, /* turns without anything to wait for */
    NOISE_BYTES = 1 << 20,
};
#define DEVICE_LATENCY_NS 80000ull

static void die(const char *what, int status, const char *detail)
{
    (void)fprintf(stderr, "%s: %s %s\n", what, ps_status_text(status), detail ? detail : "");
    exit(1);
}

/* ---- the device's time */

static void schedule(struct timed_load *t)
{
    const size_t all = blkdev_mem_pending(t->dev);
    for (size_t i = t->pending_count; i < all; i++) {
        struct blkdev_req *req = blkdev_mem_pending_at(t->dev, i);
        const uint64_t from = t->now_ns > t->pipe_free_ns ? t->now_ns : t->pipe_free_ns;
        t->pipe_free_ns = from + req->length / TIMED_BYTES_NS;
        if (t->pending_count == TIMED_PENDING_MAX)
            die("device", PS_ELIMIT, "too many requests");
        t->pending[t->pending_count].req = req;
        t->pending[t->pending_count++].at_ns = t->pipe_free_ns + DEVICE_LATENCY_NS;
    }
}

/* One turn; then the next thing that happens. */
static void step(struct timed_load *t)
{
    t->wake_ns = pod_turn(t->pod, t->now_ns);
    if (t->turned)
        t->turned(t);
    schedule(t);
    if (t->running && t->interval_ns == 0 && t->busy < TIMED_DEPTH)
        return; /* the next write comes first */
    if (t->interval_ns && t->next_ns < t->wake_ns && t->busy < TIMED_DEPTH)
        t->wake_ns = t->next_ns;
    size_t first = 0;
    for (size_t i = 1; i < t->pending_count; i++)
        if (t->pending[i].at_ns < t->pending[first].at_ns)
            first = i;
    if (t->pending_count == 0 || t->wake_ns < t->pending[first].at_ns) {
        if (t->wake_ns == UINT64_MAX && ++t->idle > IDLE_MAX)
            die("load", PS_EINTERNAL, "nothing goes on");
        t->now_ns = t->wake_ns > t->now_ns && t->wake_ns != UINT64_MAX ? t->wake_ns : t->now_ns + 1000;
        return;
    }
    if (t->pending[first].at_ns > t->now_ns)
        t->now_ns = t->pending[first].at_ns;
    memmove(t->pending + first, t->pending + first + 1,
            (t->pending_count - first - 1) * sizeof t->pending[0]);
    t->pending_count--;
    t->idle = 0;
    (void)blkdev_mem_step_at(t->dev, first);
}

/* ---- the load */

static uint64_t place(struct timed_load *t)
{
    const uint64_t tenth = t->blocks / 10;
    if (t->filling)
        return t->next++ % t->blocks;
    if (!t->hot)
        return prng_below(&t->prng, t->blocks);
    return prng_below(&t->prng, 10) ? prng_below(&t->prng, tenth)
                                    : tenth + prng_below(&t->prng, t->blocks - tenth);
}

static void on_io(struct pod_io *io, int status)
{
    struct timed_slot *s = container_of(io, struct timed_slot, io);
    struct timed_load *t = io->user;
    if (status)
        die("write", status, NULL);
    const uint64_t us = (t->now_ns - s->began_ns) / 1000;
    t->latency[us < TIMED_LATENCIES ? us : TIMED_LATENCIES - 1]++;
    t->done++;
    t->busy--;
    s->busy = false;
}

static void submit(struct timed_load *t, struct timed_slot *s)
{
    const uint64_t stamp = prng_next(&t->prng);
    memcpy(s->buf, t->noise + stamp % (NOISE_BYTES - TIMED_BLOCK), TIMED_BLOCK);
    memcpy(s->buf + 8, &stamp, sizeof stamp);
    s->began_ns = t->interval_ns ? t->next_ns : t->now_ns;
    t->next_ns += t->interval_ns;
    s->io = (struct pod_io){.op = POD_WRITE,
                            .image = t->image,
                            .offset = place(t) * TIMED_BLOCK,
                            .length = TIMED_BLOCK,
                            .buf = s->buf,
                            .user = t};
    t->busy++;
    s->busy = true;
    const int rc = pod_submit(t->pod, &s->io, on_io);
    if (rc)
        die("submit", rc, NULL);
}

static bool is_time(const struct timed_load *t)
{
    return t->interval_ns == 0 || t->next_ns <= t->now_ns;
}

void timed_write(struct timed_load *t, uint64_t count)
{
    const uint64_t end = t->done + count;
    t->running = true;
    while (t->done < end) {
        for (unsigned i = 0; i < TIMED_DEPTH && is_time(t); i++)
            if (!t->slots[i].busy)
                submit(t, &t->slots[i]);
        step(t);
    }
}

double timed_latency_us(const struct timed_load *t, double share)
{
    uint64_t all = 0, seen = 0;
    for (unsigned i = 0; i < TIMED_LATENCIES; i++)
        all += t->latency[i];
    for (unsigned i = 0; i < TIMED_LATENCIES; i++)
        if ((double)(seen += t->latency[i]) >= share * (double)all)
            return i;
    return TIMED_LATENCIES;
}

/* ---- the pool */

static void on_open(void *user, int status, struct pod *pod)
{
    (void)pod;
    if (status)
        die("open", status, NULL);
    ((struct timed_load *)user)->flag = true;
}

static void on_create(struct pod_manage *req, int status)
{
    if (status)
        die("create", status, req->error.detail);
    ((struct timed_load *)req->user)->flag = true;
}

static void until_flag(struct timed_load *t)
{
    while (!t->flag)
        step(t);
    t->flag = false;
}

void timed_start(struct timed_load *t, uint64_t pool_bytes, uint64_t segment_bytes, unsigned percent,
                 uint64_t seed)
{
    const struct blkdev_mem_options options = {.size_bytes = pool_bytes, .max_io_bytes = 1 << 20};
    const struct pod_config config = {
        .name = "default",
        .memory_budget = 256ull << 20,
        .dedupe = true,
        .compression = true,
        .segment_bytes = segment_bytes,
        .seed = {1, 2},
    };
    struct ps_error err = {0};
    struct pod_stats stats;
    prng_seed(&t->prng, seed);
    t->noise = malloc(NOISE_BYTES);
    t->dev = blkdev_mem_create(&options);
    if (!t->noise || !t->dev)
        die("start", PS_ELIMIT, "out of memory");
    prng_fill(&t->prng, t->noise, NOISE_BYTES);
    int rc = pod_open(t->dev, &config, POD_FORMAT_BLANK, on_open, t, &err, &t->pod);
    if (rc)
        die("open", rc, err.detail);
    until_flag(t);
    pod_stats(t->pod, &stats);
    /* A group of eight blocks that do not compress takes 64 bytes more. */
    t->blocks = (stats.capacity - stats.reserve_bytes) / 100 * percent / (TIMED_BLOCK + 8);
    struct pod_manage create = {
        .op = POD_VOLUME_CREATE, .name = "v", .size_bytes = t->blocks * TIMED_BLOCK, .user = t};
    (void)pod_manage(t->pod, &create, on_create);
    until_flag(t);
    rc = pod_image_open(t->pod, "v", &t->image, &err);
    if (rc)
        die("open", rc, err.detail);
}

void timed_end(struct timed_load *t)
{
    pod_image_close(t->image);
    blkdev_mem_power_cut(t->dev, &t->prng, BLKDEV_MEM_KEEP);
    pod_destroy(t->pod);
    blkdev_destroy(t->dev);
    free(t->noise);
}

void timed_fill(struct timed_load *t)
{
    t->filling = true;
    timed_write(t, t->blocks);
    t->filling = false;
}

void timed_measure(struct timed_load *t, double mib_s, uint64_t count)
{
    t->interval_ns = mib_s > 0 ? (uint64_t)(TIMED_BLOCK / (mib_s * (1 << 20)) * 1e9) : 0;
    t->next_ns = t->now_ns;
    memset(t->latency, 0, sizeof t->latency);
    timed_write(t, count);
    t->interval_ns = 0;
}
