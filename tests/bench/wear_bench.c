/* How evenly a pod wears simulated flash, and how long the flash lasts.
 *
 *   wear_bench [POOL_MIB [ENDURANCE [THRESHOLD [PERCENT]]]]      128 90 30 77
 *
 * A volume of unique blocks that do not compress fills PERCENT of what hosts may fill; nine writes of ten
 * then go to a tenth of it, 4 KiB at a time, until the drive gives up its first zone: a block died, and no
 * spare is left for it. Compared with the same drive whose zones are written one after the other, for ever:
 * wear as even as it can be. Both count what was programmed, so write amplification is no part of it.
 *
 * The default threshold for moving cold data, 1,000 P/E cycles, is a third of the default endurance; so it is
 * here. Time does not pass in the flash: nothing here is about latency. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container.h"
#include "common/nand/nand_drive.h"
#include "common/prng.h"
#include "node/pod/pod.h"
#include "tests/bench/row.h"

enum {
    DEPTH = 64,
    BLOCK = 4096,
    NOISE_BYTES = 1 << 20,
    LOOK_EVERY = 4096, /* writes */
    SYSTEM_ZONES = 4,
};
#define TURN_NS 10000ull

struct slot {
    struct pod_io io;
    bool busy;
    uint8_t buf[BLOCK];
};

struct bench {
    struct blkdev *drive;
    void *area;
    struct pod *pod;
    struct pod_image *image;
    struct prng prng;
    uint64_t now_ns, blocks, done, next;
    bool flag, filling, full;
    unsigned busy;
    struct slot slots[DEPTH];
    uint8_t *noise;
};

static void die(const char *what, int status, const char *detail)
{
    (void)fprintf(stderr, "%s: %s %s\n", what, ps_status_text(status), detail ? detail : "");
    exit(1);
}

/* ---- the drive */

static struct blkdev *make_drive(uint64_t bytes, uint32_t endurance, void **area)
{
    struct nand_config config;
    struct nand *flash;
    struct blkdev *drive = NULL;
    struct ps_error err = {0};
    nand_config_default(&config);
    config.geometry = (struct nand_geometry){
        .channels = 2, .dies = 1, .planes = 2, .pages = 32, .page_bytes = 4 * NAND_SECTOR_BYTES};
    config.timing = (struct nand_timing){0};
    config.rates = (struct nand_error_rates){0};
    config.endurance = endurance;
    config.factory_bad_ppm = 0;
    config.program_fail_ppb = 0;
    config.seed = 1;
    int rc = nand_drive_plan(bytes, 7, &config, &err);
    if (rc)
        die("drive", rc, err.detail);
    const size_t size = nand_area_bytes(&config);
    *area = calloc(1, size);
    if (!*area)
        die("drive", PS_ENOMEM, NULL);
    nand_format(&config, *area);
    rc = nand_open(*area, size, &flash, &err);
    if (!rc)
        rc = nand_drive_create(flash, "flash", &drive, &err);
    if (rc)
        die("drive", rc, err.detail);
    return drive;
}

static struct nand_health health_of(const struct blkdev *drive)
{
    struct nand_health health;
    nand_drive_health(drive, &health);
    return health;
}

struct waited {
    struct blkdev_req req;
    bool done;
    int status;
};

static void on_req(struct blkdev_req *req, int status)
{
    struct waited *w = container_of(req, struct waited, req);
    w->done = true;
    w->status = status;
}

static int run_req(struct blkdev *drive, struct blkdev_req req)
{
    struct waited w = {.req = req};
    const int rc = blkdev_submit(drive, &w.req, on_req);
    if (rc)
        die("request", rc, NULL);
    while (!w.done)
        if (!nand_drive_step(drive))
            die("request", PS_EINTERNAL, "it never ends");
    return w.status;
}

/* Bytes programmed until the first zone is given up, when all are written in turn. */
static uint64_t ideal(uint64_t bytes, uint32_t endurance)
{
    void *area;
    struct blkdev *drive = make_drive(bytes, endurance, &area);
    const uint32_t zone = drive->geometry.erase_bytes;
    const uint64_t zones = drive->geometry.size_bytes / zone;
    const uint32_t piece = drive->geometry.max_io_bytes;
    uint8_t *buf = aligned_alloc(BLKDEV_ALIGN, piece);
    memset(buf, 0x5a, piece);
    while (health_of(drive).retired_zones == 0)
        for (uint64_t z = SYSTEM_ZONES; z < zones; z++) {
            if (run_req(drive, (struct blkdev_req){.op = BLKDEV_ERASE, .offset = z * zone, .length = zone}))
                break;
            for (uint64_t at = 0; at < zone; at += piece) {
                const uint64_t length = zone - at < piece ? zone - at : piece;
                const int rc = run_req(drive, (struct blkdev_req){.op = BLKDEV_WRITE,
                                                                  .offset = z * zone + at,
                                                                  .length = (uint32_t)length,
                                                                  .buf = buf});
                if (rc)
                    die("write", rc, NULL);
            }
        }
    const uint64_t programmed = health_of(drive).programmed_bytes;
    free(buf);
    blkdev_destroy(drive);
    free(area);
    return programmed;
}

/* ---- the pod */

static void step(struct bench *b)
{
    b->now_ns += TURN_NS;
    const uint64_t wake = pod_turn(b->pod, b->now_ns);
    if (!nand_drive_step(b->drive) && wake != UINT64_MAX && wake > b->now_ns)
        b->now_ns = wake;
}

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

/* The zone that is given up may be the one that hosts' last writes wanted. */
static void on_io(struct pod_io *io, int status)
{
    struct slot *s = container_of(io, struct slot, io);
    struct bench *b = io->user;
    if (status == PS_EFULL || status == PS_EIO)
        b->full = true;
    else if (status)
        die("write", status, NULL);
    b->done++;
    b->busy--;
    s->busy = false;
}

static uint64_t place(struct bench *b)
{
    const uint64_t tenth = b->blocks / 10;
    if (b->filling)
        return b->next++ % b->blocks;
    return prng_below(&b->prng, 10) ? prng_below(&b->prng, tenth)
                                    : tenth + prng_below(&b->prng, b->blocks - tenth);
}

static void submit(struct bench *b, struct slot *s)
{
    const uint64_t stamp = prng_next(&b->prng);
    memcpy(s->buf, b->noise + stamp % (NOISE_BYTES - BLOCK), BLOCK);
    memcpy(s->buf + 8, &stamp, sizeof stamp);
    s->io = (struct pod_io){.op = POD_WRITE,
                            .image = b->image,
                            .offset = place(b) * BLOCK,
                            .length = BLOCK,
                            .buf = s->buf,
                            .user = b};
    s->busy = true;
    b->busy++;
    const int rc = pod_submit(b->pod, &s->io, on_io);
    if (rc)
        die("submit", rc, NULL);
}

static void write_blocks(struct bench *b, uint64_t count)
{
    const uint64_t end = b->done + count;
    while (b->done < end) {
        for (unsigned i = 0; i < DEPTH; i++)
            if (!b->slots[i].busy)
                submit(b, &b->slots[i]);
        step(b);
    }
}

static void start(struct bench *b, uint64_t bytes, uint32_t endurance, uint32_t threshold, uint64_t percent)
{
    struct ps_error err = {0};
    struct pod_stats stats;
    b->drive = make_drive(bytes, endurance, &b->area);
    const struct pod_config config = {
        .name = "default",
        .memory_budget = 256ull << 20,
        .dedupe = true,
        .compression = true,
        .segment_bytes = b->drive->geometry.erase_bytes,
        .wear_threshold = threshold,
        .scrub_interval_ns = UINT64_MAX,
        .seed = {1, 2},
    };
    int rc = pod_open(b->drive, &config, POD_FORMAT_BLANK, on_open, b, &err, &b->pod);
    if (rc)
        die("open", rc, err.detail);
    until_flag(b);
    pod_stats(b->pod, &stats);
    b->blocks = (stats.capacity - stats.reserve_bytes) / 100 * percent / (BLOCK + 8);
    struct pod_manage create = {
        .op = POD_VOLUME_CREATE, .name = "v", .size_bytes = b->blocks * BLOCK, .user = b};
    (void)pod_manage(b->pod, &create, on_create);
    until_flag(b);
    rc = pod_image_open(b->pod, "v", &b->image, &err);
    if (rc)
        die("open", rc, err.detail);
    b->filling = true;
    write_blocks(b, b->blocks);
    b->filling = false;
}

/* P/E cycles of the zones that segments are given out of. */
static uint32_t spread(const struct bench *b)
{
    const uint64_t zone = b->drive->geometry.erase_bytes;
    uint32_t lowest = UINT32_MAX, highest = 0;
    for (uint64_t at = SYSTEM_ZONES * zone; at < b->drive->geometry.size_bytes; at += zone) {
        struct blkdev_wear w;
        if (!blkdev_wear(b->drive, at, &w) || w.retired)
            continue;
        lowest = w.pe_cycles < lowest ? w.pe_cycles : lowest;
        highest = w.pe_cycles > highest ? w.pe_cycles : highest;
    }
    return highest - lowest;
}

int main(int argc, char **argv)
{
    static struct bench b;
    uint64_t numbers[] = {128, 90, 30, 77};
    for (int i = 1; i < argc && i <= 4; i++)
        numbers[i - 1] = strtoull(argv[i], NULL, 0);
    if (numbers[0] < 64 || numbers[1] < 10 || numbers[2] < 1 || numbers[3] < 1 || numbers[3] > 95) {
        (void)fprintf(stderr, "usage: wear_bench [POOL_MIB [ENDURANCE [THRESHOLD [PERCENT]]]]\n");
        return 2;
    }
    const uint64_t bytes = numbers[0] << 20;
    const uint32_t endurance = (uint32_t)numbers[1], threshold = (uint32_t)numbers[2];
    const uint64_t most = ideal(bytes, endurance);
    prng_seed(&b.prng, 1);
    b.noise = malloc(NOISE_BYTES);
    prng_fill(&b.prng, b.noise, NOISE_BYTES);
    start(&b, bytes, endurance, threshold, numbers[3]);
    uint32_t widest = 0;
    struct nand_health health;
    while ((health = health_of(b.drive)).retired_zones == 0 && !b.full) {
        write_blocks(&b, LOOK_EVERY);
        const uint32_t is = spread(&b);
        widest = is > widest ? is : widest;
    }
    struct pod_stats stats;
    pod_stats(b.pod, &stats);
    (void)printf("programmed %.2f GiB until the first zone is given up, %.2f if all are written in turn: "
                 "lifetime %.3f\n",
                 (double)health.programmed_bytes / (1 << 30), (double)most / (1 << 30),
                 (double)health.programmed_bytes / (double)most);
    (void)printf("P/E cycles spread by %u at most, threshold %u: %.3f; %llu segments moved for that; "
                 "hosts wrote %.2f GiB\n",
                 widest, threshold, (double)widest / threshold, (unsigned long long)stats.levelled,
                 (double)stats.host_written / (1 << 30));
    bench_row("lifetime of the flash, of even wear's", (double)health.programmed_bytes / (double)most, "x",
              ROW_AT_LEAST, 0.9);
    bench_row("  spread of P/E cycles, of the threshold", (double)widest / threshold, "x", ROW_AT_MOST, 1.1);
    return 0;
}
