/* What a pod needs when a volume of 1 TiB of unique data is mapped.
 *
 *   tebibyte_bench [GIB [SMALL_GIB [WRITES [READS]]]]      1024 16 200000 20000
 *
 * The pool is synthesised (tests/support/synth_pool.h), 70 % full, its memory budget 1792M. The device's time
 * is virtual: 80 us a request, 2 GB/s shared by all; so it does not depend on the machine's load. Random 4
 * KiB writes and reads, depth 64, are compared with the same on SMALL_GIB. A deep check, whole on SMALL_GIB,
 * else one pass, tells its longest turn, its checkpoint's included. Then the power fails, and the pod is
 * opened again: its time is the CPU's, and the device's. Memory is the process's resident set at most, with
 * the synthesiser's part told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/container.h"
#include "common/prng.h"
#include "tests/bench/row.h"
#include "tests/support/blkdev_synth.h"
#include "tests/support/synth_pool.h"

enum {
    DEPTH = 64,
    BLOCK = POD_BLOCK_BYTES,
    PENDING_MAX = 1024,
    SEGMENT = 8 << 20,
    NOISE_BYTES = 1 << 20,
    PERCENT = 70,
    FIRST_PASS = 40, /* permille: one pass of 23 */
};
#define BUDGET            (1792ull << 20)
#define DEVICE_LATENCY_NS 80000ull
#define DEVICE_BYTES_NS   2 /* GB/s */

struct slot {
    struct pod_io io;
    bool busy;
    uint8_t buf[BLOCK];
};

struct bench {
    struct synth_pool *pool;
    struct blkdev *dev;
    struct pod *pod;
    struct pod_image *image;
    struct prng prng;
    uint64_t now_ns, pipe_free_ns, blocks, done;
    struct {
        struct blkdev_req *req;
        uint64_t at_ns;
    } pending[PENDING_MAX];
    size_t pending_count;
    bool flag, running;
    double longest_us; /* turn of the pod, of the CPU's time */
    struct slot slots[DEPTH];
    unsigned busy;
    uint8_t *noise;
};

static void die(const char *what, int status, const char *detail)
{
    (void)fprintf(stderr, "%s: %s %s\n", what, ps_status_text(status), detail ? detail : "");
    exit(1);
}

static double cpu_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of /proc/self/status, MiB. */
static double memory_mib(const char *name)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            kib = strtoull(line + strlen(name) + 1, NULL, 10);
    if (f)
        (void)fclose(f);
    return (double)kib / 1024;
}

/* ---- the device's time */

static void took(struct bench *b, double since)
{
    const double us = (cpu_s() - since) * 1e6;
    if (us > b->longest_us)
        b->longest_us = us;
}

static void step(struct bench *b)
{
    const double began = cpu_s();
    const uint64_t wake = pod_turn(b->pod, b->now_ns);
    took(b, began);
    for (size_t i = b->pending_count; i < blkdev_synth_pending(b->dev); i++) {
        struct blkdev_req *req = blkdev_synth_pending_at(b->dev, i);
        const uint64_t from = b->now_ns > b->pipe_free_ns ? b->now_ns : b->pipe_free_ns;
        b->pipe_free_ns = from + req->length / DEVICE_BYTES_NS;
        b->pending[b->pending_count].req = req;
        b->pending[b->pending_count++].at_ns = b->pipe_free_ns + DEVICE_LATENCY_NS;
    }
    if (b->running && b->busy < DEPTH)
        return; /* the next request comes first */
    if (b->pending_count == 0 || wake < b->pending[0].at_ns) {
        b->now_ns = wake > b->now_ns && wake != UINT64_MAX ? wake : b->now_ns + 1000;
        return;
    }
    /* What was submitted first ends first. */
    if (b->pending[0].at_ns > b->now_ns)
        b->now_ns = b->pending[0].at_ns;
    b->pending_count--;
    memmove(b->pending, b->pending + 1, b->pending_count * sizeof b->pending[0]);
    (void)blkdev_synth_step_at(b->dev, 0);
}

static void until_flag(struct bench *b)
{
    while (!b->flag)
        step(b);
    b->flag = false;
}

/* ---- the pod */

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

static void open_pod(struct bench *b)
{
    const struct pod_config config = {
        .name = "default",
        .memory_budget = BUDGET,
        .dedupe = true,
        .compression = true,
        .segment_bytes = SEGMENT,
        .scrub_interval_ns = UINT64_MAX,
        .survey_interval_ns = UINT64_MAX,
        .seed = {1, 2},
    };
    struct ps_error err = {0};
    const int rc = pod_open(b->dev, &config, POD_FORMAT_BLANK, on_open, b, &err, &b->pod);
    if (rc)
        die("open", rc, err.detail);
    until_flag(b);
}

static void open_volume(struct bench *b)
{
    struct ps_error err = {0};
    const int rc = pod_image_open(b->pod, "v", &b->image, &err);
    if (rc)
        die("volume", rc, err.detail);
}

static void start(struct bench *b, uint64_t bytes, uint64_t seed)
{
    struct ps_error err = {0};
    prng_seed(&b->prng, seed);
    b->noise = malloc(NOISE_BYTES);
    prng_fill(&b->prng, b->noise, NOISE_BYTES);
    b->blocks = bytes / BLOCK;
    b->pool = synth_pool_create(bytes, PERCENT, SEGMENT, &err);
    if (!b->pool)
        die("pool", PS_EIO, err.detail);
    b->dev = synth_pool_device(b->pool);
    open_pod(b);
    struct pod_manage create = {.op = POD_VOLUME_CREATE, .name = "v", .size_bytes = bytes, .user = b};
    (void)pod_manage(b->pod, &create, on_create);
    until_flag(b);
    while (checkpoint_busy(b->pod))
        step(b);
    synth_pool_fill(b->pool, b->pod, "v");
    while (checkpoint_busy(b->pod))
        step(b);
    open_volume(b);
}

static void stop(struct bench *b)
{
    blkdev_synth_drop(b->dev);
    b->pending_count = 0;
    pod_destroy(b->pod);
    free(b->image);
}

/* ---- the load */

static void on_io(struct pod_io *io, int status)
{
    struct slot *s = container_of(io, struct slot, io);
    struct bench *b = io->user;
    if (status)
        die("I/O", status, NULL);
    b->done++;
    b->busy--;
    s->busy = false;
}

static void submit(struct bench *b, struct slot *s, enum pod_io_op op)
{
    const uint64_t stamp = prng_next(&b->prng);
    if (op == POD_WRITE) {
        memcpy(s->buf, b->noise + stamp % (NOISE_BYTES - BLOCK), BLOCK);
        memcpy(s->buf + 8, &stamp, sizeof stamp);
    }
    s->io = (struct pod_io){.op = op,
                            .image = b->image,
                            .offset = prng_below(&b->prng, b->blocks) * BLOCK,
                            .length = BLOCK,
                            .buf = s->buf,
                            .user = b};
    s->busy = true;
    b->busy++;
    const int rc = pod_submit(b->pod, &s->io, on_io);
    if (rc)
        die("submit", rc, NULL);
}

struct outcome {
    double per_s;    /* by the device's time */
    double reads;    /* of the device, an operation */
    double metadata; /* bytes written for a byte of hosts */
    double cpu_us;
};

static struct outcome run(struct bench *b, enum pod_io_op op, uint64_t count)
{
    struct pod_stats before, after;
    struct blkdev_health was, is;
    const uint64_t end = b->done + count, began = b->now_ns;
    const double cpu = cpu_s();
    pod_stats(b->pod, &before);
    blkdev_health(b->dev, &was);
    b->running = true;
    while (b->done < end) { /* the queue stays full */
        for (unsigned i = 0; i < DEPTH; i++)
            if (!b->slots[i].busy)
                submit(b, &b->slots[i], op);
        step(b);
    }
    b->running = false;
    pod_stats(b->pod, &after);
    blkdev_health(b->dev, &is);
    const uint64_t host = after.host_written - before.host_written;
    return (struct outcome){
        .per_s = (double)count / ((double)(b->now_ns - began) / 1e9),
        .reads = (double)(is.read_ops - was.read_ops) / (double)count,
        .metadata =
            host ? (double)(after.flash_written_metadata - before.flash_written_metadata) / (double)host : 0,
        .cpu_us = (cpu_s() - cpu) * 1e6 / (double)count,
    };
}

static void print(const char *what, const struct outcome *o)
{
    (void)printf(
        "  %s: %.0f/s of the device's time, %.2f device reads, %.3f bytes of metadata for one of hosts; "
        "%.1f us of CPU, synthesiser included\n",
        what, o->per_s, o->reads, o->metadata, o->cpu_us);
    (void)fflush(stdout);
}

/* ---- metadata in memory as after a long time: L2P, which all reads share, and leaves in the rest */

struct keys {
    struct meta_key *keys;
    size_t count;
};

static void note_page(void *user, struct meta_key key)
{
    struct keys *k = user;
    k->keys[k->count++] = key;
}

static void warm(struct bench *b)
{
    struct meta_stats stats;
    meta_stats(b->pod->meta, &stats);
    struct keys k = {malloc(stats.pages * sizeof(struct meta_key)), 0};
    meta_each_page(b->pod->meta, META_L2P, note_page, &k);
    const size_t l2p = k.count;
    meta_each_page(b->pod->meta, META_MAP, note_page, &k);
    for (size_t i = l2p; i < k.count; i++) { /* leaves in any order, those that are loaded last stay */
        const size_t with = i + (size_t)prng_below(&b->prng, k.count - i);
        const struct meta_key key = k.keys[i];
        k.keys[i] = k.keys[with];
        k.keys[with] = key;
    }
    const size_t most = BUDGET / 2 / (META_SLOTS * 8);
    for (size_t i = k.count < most ? k.count : most; i-- > 0;)
        while (!meta_slots(b->pod->meta, k.keys[i])) {
            (void)load_page(b->pod, k.keys[i]);
            step(b);
        }
    free(k.keys);
}

/* ---- a deep check, while no host comes */

/* Its end, or its first pass, which on a large pool takes long enough. */
static void deep(struct bench *b, bool first_pass)
{
    struct pod_deep_info info;
    struct pod_stats stats;
    double memory = 0;
    checkpoint_want(b->pod); /* a large one is not the check's */
    while (checkpoint_busy(b->pod))
        step(b);
    const uint64_t began = b->now_ns;
    const double cpu = cpu_s();
    b->longest_us = 0;
    pod_deep(b->pod);
    do {
        step(b);
        pod_stats(b->pod, &stats);
        if ((double)stats.memory_bytes > memory)
            memory = (double)stats.memory_bytes;
        pod_deep_look(b->pod, &info);
    } while (info.running && !(first_pass && info.permille >= FIRST_PASS));
    if (info.failed || info.findings)
        die("deep check", PS_EDAMAGED, info.why);
    (void)printf(
        "  deep check, %s: %.1f s of the device's time, %.1f s of CPU, synthesiser included; the longest "
        "turn %.2f ms; %.0f MiB count into the budget\n",
        info.running ? "one pass" : "whole", (double)(b->now_ns - began) / 1e9, cpu_s() - cpu,
        b->longest_us / 1000, memory / (1 << 20));
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct bench small, large;
    uint64_t numbers[] = {1024, 16, 200000, 20000};
    for (int i = 1; i < argc && i <= 4; i++)
        numbers[i - 1] = strtoull(argv[i], NULL, 0);
    if (numbers[0] < 1 || numbers[1] < 1 || numbers[2] < 1 || numbers[3] < 1) {
        (void)fprintf(stderr, "usage: tebibyte_bench [GIB [SMALL_GIB [WRITES [READS]]]]\n");
        return 2;
    }
    start(&small, numbers[1] << 30, 1);
    warm(&small);
    const struct outcome small_writes = run(&small, POD_WRITE, numbers[2]);
    (void)printf("%llu GiB\n", (unsigned long long)numbers[1]);
    print("random writes", &small_writes);
    deep(&small, false);
    stop(&small);
    synth_pool_destroy(small.pool);

    double cpu = cpu_s();
    start(&large, numbers[0] << 30, 2);
    (void)printf("%llu GiB, made in %.1f s\n", (unsigned long long)numbers[0], cpu_s() - cpu);
    (void)fflush(stdout);
    warm(&large);
    const struct outcome fresh = run(&large, POD_READ, numbers[3]);
    print("random reads, fresh", &fresh);
    const struct outcome writes = run(&large, POD_WRITE, numbers[2]);
    print("random writes", &writes);
    (void)printf("  %.3f of what %llu GiB reach\n", writes.per_s / small_writes.per_s,
                 (unsigned long long)numbers[1]);
    const struct outcome aged = run(&large, POD_READ, numbers[3]);
    print("random reads, after that", &aged);
    deep(&large, true);
    struct pod_stats stats;
    pod_stats(large.pod, &stats);
    (void)printf("  resident %.0f MiB, of which the pod counts %.0f into its budget\n", memory_mib("VmRSS"),
                 (double)stats.memory_bytes / (1 << 20));
    stop(&large);
    cpu = cpu_s();
    const uint64_t began = large.now_ns;
    open_pod(&large);
    const double start_s = cpu_s() - cpu + (double)(large.now_ns - began) / 1e9;
    open_volume(&large);
    const struct outcome later = run(&large, POD_READ, 1000);
    print("the first random reads then", &later);
    (void)printf("  the synthesiser's part of memory is %.0f MiB\n",
                 (double)synth_pool_memory(large.pool) / (1 << 20));
    char what[96];
    (void)snprintf(what, sizeof what, "%llu GiB mapped: resident memory, budget 1792 MiB",
                   (unsigned long long)numbers[0]);
    bench_row(what, memory_mib("VmHWM"), "MiB", ROW_AT_MOST, 2048);
    bench_row("  start after a crash, CPU and device", start_s, "s", ROW_AT_MOST, 2);
    bench_row("  device reads, a random read, fresh", fresh.reads, "", ROW_AT_MOST, 2);
    bench_row("  device reads, a random read, aged", aged.reads, "", ROW_AT_MOST, 2.5);
    (void)snprintf(what, sizeof what, "  random writes 4k, of a %llu GiB pool's",
                   (unsigned long long)numbers[1]);
    bench_row(what, writes.per_s / small_writes.per_s, "x", ROW_AT_LEAST, 0.6);
    bench_row("  metadata for a byte of hosts", writes.metadata, "", ROW_AT_MOST, 0.2);
    return 0;
}
