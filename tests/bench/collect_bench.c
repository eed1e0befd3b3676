/* Write amplification and latency of a pod that is overwritten at random while most of it lives.
 *
 *   collect_bench [POOL_MIB [PERCENT [TIMES [SEGMENT_MIB]]]]      2048 77 3 8
 *
 * The device is in memory, its time is virtual: each request takes 80 us, and 2 GB/s are shared by all. A
 * volume of unique blocks that do not compress fills PERCENT of what hosts may fill (capacity less the
 * reserve); then it is overwritten, 4 KiB at a time, depth 64, TIMES its size to come to an equilibrium and
 * half as much again to measure: uniformly, and with nine writes of ten to a tenth of it. What the device
 * allows is its bandwidth over all bytes read and written for a byte of hosts.
 *
 * With the queue always full the mean latency says no more than the throughput does (depth = throughput x
 * latency). So latency is compared at a load that both an empty pool and one that is collected bear: writes
 * come one by one, at equal intervals, at three quarters of the throughput of the one that is collected.
 *
 * Compared with 1 / (1 - u), where utilisation = (u - 1) / ln u: what collecting the oldest, or the emptiest,
 * segment of many blocks comes to under uniformly random writes (Menon: A Performance Comparison of RAID-5
 * and Log-Structured Arrays, HPDC 1995; Desnoyers: Analytic Modeling of SSD Write Performance, SYSTOR 2012).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/blkdev_mem.h"
#include "common/container.h"
#include "common/prng.h"
#include "node/pod/pod.h"
#include "tests/bench/row.h"

enum {
    DEPTH = 64,
    BLOCK = 4096,
    PENDING_MAX = 512,
    IDLE_MAX = 1000, /* turns without anything to wait for */
    NOISE_BYTES = 1 << 20,
    LATENCIES = 1 << 16, /* buckets of a microsecond */
};
#define DEVICE_LATENCY_NS 80000ull
#define DEVICE_BYTES_NS   2 /* GB/s */

struct slot {
    struct pod_io io;
    uint64_t began_ns;
    bool busy;
    uint8_t buf[BLOCK];
};

struct bench {
    struct blkdev *dev;
    struct pod *pod;
    struct pod_image *image;
    struct prng prng;
    uint64_t now_ns, pipe_free_ns, wake_ns, idle;
    struct {
        struct blkdev_req *req;
        uint64_t at_ns;
    } pending[PENDING_MAX];
    size_t pending_count;
    bool flag;
    struct slot slots[DEPTH];
    unsigned busy;
    uint64_t blocks, done;
    uint64_t interval_ns, next_ns; /* writes come one by one; 0: as soon as one is through */
    bool hot, filling, running;
    uint64_t next;
    uint8_t *noise;
    uint32_t latency[LATENCIES];
};

static void die(const char *what, int status, const char *detail)
{
    (void)fprintf(stderr, "%s: %s %s\n", what, ps_status_text(status), detail ? detail : "");
    exit(1);
}

/* ---- the device's time */

static void schedule(struct bench *b)
{
    const size_t all = blkdev_mem_pending(b->dev);
    for (size_t i = b->pending_count; i < all; i++) {
        struct blkdev_req *req = blkdev_mem_pending_at(b->dev, i);
        const uint64_t from = b->now_ns > b->pipe_free_ns ? b->now_ns : b->pipe_free_ns;
        b->pipe_free_ns = from + req->length / DEVICE_BYTES_NS;
        if (b->pending_count == PENDING_MAX)
            die("device", PS_ELIMIT, "too many requests");
        b->pending[b->pending_count].req = req;
        b->pending[b->pending_count++].at_ns = b->pipe_free_ns + DEVICE_LATENCY_NS;
    }
}

/* One turn; then the next thing that happens. */
static void step(struct bench *b)
{
    b->wake_ns = pod_turn(b->pod, b->now_ns);
    schedule(b);
    if (b->running && b->interval_ns == 0 && b->busy < DEPTH)
        return; /* the next write comes first */
    if (b->interval_ns && b->next_ns < b->wake_ns && b->busy < DEPTH)
        b->wake_ns = b->next_ns;
    size_t first = 0;
    for (size_t i = 1; i < b->pending_count; i++)
        if (b->pending[i].at_ns < b->pending[first].at_ns)
            first = i;
    if (b->pending_count == 0 || b->wake_ns < b->pending[first].at_ns) {
        if (b->wake_ns == UINT64_MAX && ++b->idle > IDLE_MAX)
            die("bench", PS_EINTERNAL, "nothing goes on");
        b->now_ns = b->wake_ns > b->now_ns && b->wake_ns != UINT64_MAX ? b->wake_ns : b->now_ns + 1000;
        return;
    }
    if (b->pending[first].at_ns > b->now_ns)
        b->now_ns = b->pending[first].at_ns;
    memmove(b->pending + first, b->pending + first + 1,
            (b->pending_count - first - 1) * sizeof b->pending[0]);
    b->pending_count--;
    b->idle = 0;
    (void)blkdev_mem_step_at(b->dev, first);
}

/* ---- the load */

static uint64_t place(struct bench *b)
{
    const uint64_t tenth = b->blocks / 10;
    if (b->filling)
        return b->next++ % b->blocks;
    if (!b->hot)
        return prng_below(&b->prng, b->blocks);
    return prng_below(&b->prng, 10) ? prng_below(&b->prng, tenth)
                                    : tenth + prng_below(&b->prng, b->blocks - tenth);
}

static void submit(struct bench *b, struct slot *s);

static void on_io(struct pod_io *io, int status)
{
    struct slot *s = container_of(io, struct slot, io);
    struct bench *b = io->user;
    if (status)
        die("write", status, NULL);
    const uint64_t us = (b->now_ns - s->began_ns) / 1000;
    b->latency[us < LATENCIES ? us : LATENCIES - 1]++;
    b->done++;
    b->busy--;
    s->busy = false;
}

static void submit(struct bench *b, struct slot *s)
{
    const uint64_t stamp = prng_next(&b->prng);
    memcpy(s->buf, b->noise + stamp % (NOISE_BYTES - BLOCK), BLOCK);
    memcpy(s->buf + 8, &stamp, sizeof stamp);
    s->began_ns = b->interval_ns ? b->next_ns : b->now_ns;
    b->next_ns += b->interval_ns;
    s->io = (struct pod_io){.op = POD_WRITE,
                            .image = b->image,
                            .offset = place(b) * BLOCK,
                            .length = BLOCK,
                            .buf = s->buf,
                            .user = b};
    b->busy++;
    s->busy = true;
    const int rc = pod_submit(b->pod, &s->io, on_io);
    if (rc)
        die("submit", rc, NULL);
}

static bool is_time(const struct bench *b)
{
    return b->interval_ns == 0 || b->next_ns <= b->now_ns;
}

/* The queue stays as full as it is to be: nobody waits for the last of them before the next ones come. */
static void write_blocks(struct bench *b, uint64_t count)
{
    const uint64_t end = b->done + count;
    b->running = true;
    while (b->done < end) {
        for (unsigned i = 0; i < DEPTH && is_time(b); i++)
            if (!b->slots[i].busy)
                submit(b, &b->slots[i]);
        step(b);
    }
}

static double latency_us(const struct bench *b, double share)
{
    uint64_t all = 0, seen = 0;
    for (unsigned i = 0; i < LATENCIES; i++)
        all += b->latency[i];
    for (unsigned i = 0; i < LATENCIES; i++)
        if ((double)(seen += b->latency[i]) >= share * (double)all)
            return i;
    return LATENCIES;
}

/* ---- a run */

static void on_open(void *user, int status, struct pod *pod)
{
    (void)pod;
    if (status)
        die("open", status, NULL);
    ((struct bench *)user)->flag = true;
}

static void on_create(struct pod_manage *req, int status)
{
    if (status)
        die("create", status, req->error.detail);
    ((struct bench *)req->user)->flag = true;
}

static void until_flag(struct bench *b)
{
    while (!b->flag)
        step(b);
    b->flag = false;
}

static double analytic_waf(double utilisation)
{
    double low = 1e-9, high = 1 - 1e-9;
    for (int i = 0; i < 100; i++) {
        const double u = (low + high) / 2;
        if ((u - 1) / log(u) < utilisation)
            low = u;
        else
            high = u;
    }
    return 1 / (1 - low);
}

static void start(struct bench *b, uint64_t pool_bytes, uint64_t segment_bytes, unsigned percent)
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
    b->dev = blkdev_mem_create(&options);
    int rc = pod_open(b->dev, &config, POD_FORMAT_BLANK, on_open, b, &err, &b->pod);
    if (rc)
        die("open", rc, err.detail);
    until_flag(b);
    pod_stats(b->pod, &stats);
    /* A group of eight blocks that do not compress takes 64 bytes more. */
    b->blocks = (stats.capacity - stats.reserve_bytes) / 100 * percent / (BLOCK + 8);
    struct pod_manage create = {
        .op = POD_VOLUME_CREATE, .name = "v", .size_bytes = b->blocks * BLOCK, .user = b};
    (void)pod_manage(b->pod, &create, on_create);
    until_flag(b);
    rc = pod_image_open(b->pod, "v", &b->image, &err);
    if (rc)
        die("open", rc, err.detail);
}

struct outcome {
    double waf, log, of_device, moved, metadata, mean_in_use, of_records, us_50, us_99, us_max, mib_s;
    uint64_t collected, waits, checkpoints, batches;
};

/* With the queue always full. */
static double full_queue(struct bench *b, const char *what, uint64_t count)
{
    memset(b->latency, 0, sizeof b->latency);
    write_blocks(b, count);
    const double us_99 = latency_us(b, 0.99);
    (void)printf("  %s, the queue always full: latency 50 %% %.0f us, 99 %% %.0f us, most %.0f us\n", what,
                 latency_us(b, 0.5), us_99, latency_us(b, 1));
    return us_99;
}

static struct outcome measure(struct bench *b, bool hot, uint64_t times)
{
    struct pod_stats before, after;
    double in_use = 0;
    enum {
        PARTS = 50
    };
    b->hot = hot;
    write_blocks(b, b->blocks * times);
    pod_stats(b->pod, &before);
    const uint64_t began = b->now_ns;
    memset(b->latency, 0, sizeof b->latency);
    for (int i = 0; i < PARTS; i++) {
        write_blocks(b, b->blocks / 2 / PARTS);
        pod_stats(b->pod, &after);
        in_use += (double)after.stored_bytes /
                  (double)(after.capacity - after.free_bytes - after.open_bytes - after.metadata_bytes) /
                  PARTS;
    }
    const uint64_t moved_records = after.collect_moved - before.collect_moved;
    const double host = (double)(after.host_written - before.host_written);
    return (struct outcome){
        .waf = 1 + (double)(moved_records) / (double)(after.compress_out - before.compress_out),
        .moved = (double)(after.flash_written_moved - before.flash_written_moved) / host,
        .log = (double)(after.flash_written_data - before.flash_written_data) / host,
        .collected = after.collected - before.collected,
        .waits = after.collect_waits - before.collect_waits,
        .checkpoints = after.checkpoints - before.checkpoints,
        .batches = after.batches - before.batches,
        .metadata = (double)(after.flash_written_metadata - before.flash_written_metadata) / host,
        .mean_in_use = in_use,
        .of_records = in_use *
                      (double)(after.flash_written_data + after.flash_written_moved -
                               before.flash_written_data - before.flash_written_moved) /
                      (double)(after.compress_out - before.compress_out + moved_records),
        .us_50 = latency_us(b, 0.5),
        .us_99 = latency_us(b, 0.99),
        .us_max = latency_us(b, 1),
        .mib_s = host / (1 << 20) / ((double)(b->now_ns - began) / 1e9),
        .of_device =
            (double)(after.flash_written_data - before.flash_written_data + after.flash_written_moved -
                     before.flash_written_moved + after.flash_written_metadata -
                     before.flash_written_metadata + after.collect_read - before.collect_read) /
            DEVICE_BYTES_NS / (double)(b->now_ns - began),
    };
}

static void print(const char *what, const struct outcome *o)
{
    (void)printf("%s: WAF %.3f of records alone; a byte of hosts is %.3f of log, %.3f moved, %.3f of "
                 "metadata; %.3f of "
                 "the flash in use lives\n",
                 what, o->waf, o->log, o->moved, o->metadata, o->mean_in_use);
    (void)printf(
        "  %.0f MiB/s, %.3f of what the device allows; latency 50 %% %.0f us, 99 %% %.0f us, most %.0f us; "
        "%llu batches, %llu segments collected, %llu checkpoints, %llu waits\n",
        o->mib_s, o->of_device, o->us_50, o->us_99, o->us_max, (unsigned long long)o->batches,
        (unsigned long long)o->collected, (unsigned long long)o->checkpoints, (unsigned long long)o->waits);
}

/* One write after the other, at equal intervals. */
static double paced(struct bench *b, const char *what, double mib_s, uint64_t count)
{
    b->interval_ns = (uint64_t)(BLOCK / (mib_s * (1 << 20)) * 1e9);
    b->next_ns = b->now_ns;
    memset(b->latency, 0, sizeof b->latency);
    write_blocks(b, count);
    b->interval_ns = 0;
    const double us_99 = latency_us(b, 0.99);
    (void)printf("  %s at %.0f MiB/s: latency 50 %% %.0f us, 99 %% %.0f us, most %.0f us\n", what, mib_s,
                 latency_us(b, 0.5), us_99, latency_us(b, 1));
    return us_99;
}

int main(int argc, char **argv)
{
    static struct bench b, empty;
    uint64_t numbers[] = {2048, 77, 3, 8};
    for (int i = 1; i < argc && i <= 4; i++)
        numbers[i - 1] = strtoull(argv[i], NULL, 0);
    if (numbers[0] < 64 || numbers[1] < 1 || numbers[1] > 95) {
        (void)fprintf(stderr, "usage: collect_bench [POOL_MIB [PERCENT [TIMES [SEGMENT_MIB]]]]\n");
        return 2;
    }
    prng_seed(&b.prng, 1);
    b.noise = malloc(NOISE_BYTES);
    prng_fill(&b.prng, b.noise, NOISE_BYTES);
    start(&b, numbers[0] << 20, numbers[3] << 20, (unsigned)numbers[1]);
    b.filling = true;
    write_blocks(&b, b.blocks);
    b.filling = false;
    const struct outcome uniform = measure(&b, false, numbers[2]);
    print("uniform", &uniform);
    (void)printf("  analytic at that utilisation %.3f, ratio %.3f; headers, directories and padding left out "
                 "as well, at "
                 "%.3f: %.3f, ratio %.3f; at 0.800: %.3f\n",
                 analytic_waf(uniform.mean_in_use), uniform.waf / analytic_waf(uniform.mean_in_use),
                 uniform.of_records, analytic_waf(uniform.of_records),
                 uniform.waf / analytic_waf(uniform.of_records), analytic_waf(0.8));
    const double load = uniform.mib_s * 3 / 4;
    const double full_99 = paced(&b, "the same", load, b.blocks / 2);
    prng_seed(&empty.prng, 2);
    empty.noise = b.noise;
    start(&empty, numbers[0] << 20, numbers[3] << 20, (unsigned)numbers[1]);
    const double times_empty = full_99 / paced(&empty, "an empty pool", load, empty.blocks / 2);
    const double queue_times_empty = uniform.us_99 / full_queue(&empty, "an empty pool", empty.blocks / 4);
    (void)printf("  99 %%: %.1f times that of an empty pool, %.1f times with the queue full\n", times_empty,
                 queue_times_empty);
    const struct outcome hot = measure(&b, true, 2 * numbers[2]);
    print("nine of ten to a tenth", &hot);
    (void)printf("  %.3f of uniform\n", hot.waf / uniform.waf);
    bench_row("collection: writes amplified, of the analytic value",
              uniform.waf / analytic_waf(uniform.of_records), "x", ROW_AT_MOST, 1.05);
    bench_row("  metadata for a byte of hosts", uniform.metadata, "", ROW_AT_MOST, 0.35);
    bench_row("  nine of ten to a tenth, of uniform", hot.waf / uniform.waf, "x", ROW_AT_MOST, 0.7);
    bench_row("  throughput, of what the device allows", uniform.of_device, "x", ROW_AT_LEAST, 0.9);
    bench_row("  99 % latency at 3/4 of it, of an empty pool's", times_empty, "x", ROW_AT_MOST, 5);
    bench_row("  99 % latency with a full queue, of an empty pool's", queue_times_empty, "x", ROW_AT_MOST, 5);
    return 0;
}
