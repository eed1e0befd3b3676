/* Volumes with write_cache: answers come from memory, reads see them at once, and a power cut leaves a prefix
 * of them that holds at least everything before the last flush or FUA write.
 *
 *   test_pod_write_cache [FIRST_SEED [SEEDS]] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/pod_rig.h"

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    BLOCK = 4096,
    SECTOR = 512,
    VOLUME = 2 * MIB + 256 * KIB,
    OPS = 120,
    WINDOW = 160 * KIB
};
/* Two windows, one over the end of a leaf. */
#define BASE_OF(op) ((op)->second ? 2 * MIB - 64 * KIB : 0)

static uint64_t first_seed = 1, seeds = 60;

struct op {
    struct pod_io io;
    bool done, second;
    uint8_t *buf;
};

struct play {
    struct rig rig;
    struct pod_image *image;
    struct op ops[OPS];
    uint64_t count, answered, durable; /* ops submitted, answered; those that a flush or FUA covers */
    uint8_t *data;                     /* with all answered ones */
};

static void on_op(struct pod_io *io, int status)
{
    ((struct op *)io->user)->done = true;
    assert_int_equal(status, 0);
}

static void apply(const struct op *op, uint8_t *data)
{
    const struct pod_io *io = &op->io;
    for (uint64_t at = io->offset; at < io->offset + io->length; at += SECTOR) {
        const uint64_t block = at / BLOCK * BLOCK;
        if (io->op == POD_WRITE)
            memcpy(data + at, op->buf + (at - io->offset), SECTOR);
        else if (io->op == POD_WRITE_ZERO ||
                 (io->op == POD_TRIM && block >= io->offset && block + BLOCK <= io->offset + io->length))
            memset(data + at, 0, SECTOR);
    }
}

static void choose(struct play *p, struct op *op)
{
    static const enum pod_io_op kinds[] = {POD_WRITE, POD_WRITE,      POD_WRITE, POD_WRITE,
                                           POD_TRIM,  POD_WRITE_ZERO, POD_FLUSH};
    struct prng *r = &p->rig.prng;
    const uint64_t unit = prng_chance(r, 2, 3) ? BLOCK : SECTOR;
    op->second = prng_chance(r, 1, 2);
    op->io = (struct pod_io){.op = kinds[prng_below(r, 7)], .image = p->image, .user = op};
    if (op->io.op == POD_FLUSH)
        return;
    op->io.length = (1 + prng_below(r, 64 * KIB / unit)) * unit;
    op->io.offset = BASE_OF(op) + prng_below(r, (WINDOW - op->io.length) / unit) * unit;
    op->io.flags = prng_chance(r, 1, 12) ? POD_IO_FUA : 0;
    op->buf = malloc(op->io.length);
    op->io.buf = op->buf;
    prng_fill(r, op->buf, op->io.length);
    if (prng_chance(r, 1, 4))
        memset(op->buf, (int)p->count, op->io.length);
}

/* Runs turns, and now and then the device, until the op is answered. False: the power failed. */
static bool await(struct play *p, const struct op *op)
{
    for (int n = 0; !op->done; n++) {
        (void)pod_turn(p->rig.pod, p->rig.now_ns += 1000);
        if (op->done)
            break;
        assert_true(n < 100000);
        if (!rig_step(&p->rig))
            return false;
    }
    return true;
}

static void check_reads(struct play *p)
{
    static uint8_t back[64 * KIB];
    struct op read = {
        .io = {.op = POD_READ, .image = p->image, .buf = back, .length = 16 * KIB, .user = &read}};
    read.second = prng_chance(&p->rig.prng, 1, 2);
    read.io.offset = BASE_OF(&read) + prng_below(&p->rig.prng, (WINDOW - sizeof back) / SECTOR) * SECTOR;
    assert_int_equal(pod_submit(p->rig.pod, &read.io, on_op), 0);
    if (await(p, &read) && memcmp(back, p->data + read.io.offset, read.io.length) != 0)
        fail_msg("a read does not see what was answered");
}

static bool play_op(struct play *p)
{
    struct op *op = &p->ops[p->count];
    choose(p, op);
    p->count++;
    assert_int_equal(pod_submit(p->rig.pod, &op->io, on_op), 0);
    if (!await(p, op))
        return false;
    apply(op, p->data);
    p->answered = p->count;
    if (op->io.op == POD_FLUSH || op->io.flags & POD_IO_FUA)
        p->durable = p->count;
    if (prng_chance(&p->rig.prng, 1, 4))
        check_reads(p);
    for (uint64_t n = prng_below(&p->rig.prng, 3); n > 0; n--)
        if (!rig_step(&p->rig))
            return false;
    return !p->rig.dead;
}

/* A write of zeroes is no single write: of the last one that is there the first blocks may be. */
static bool is_begun(const struct op *op, const uint8_t *back, uint8_t *prefix)
{
    struct op part = *op;
    if (op->io.op != POD_WRITE_ZERO)
        return false;
    for (uint64_t end = op->io.offset / BLOCK * BLOCK + BLOCK; end < op->io.offset + op->io.length;
         end += BLOCK) {
        part.io.length = end - op->io.offset;
        apply(&part, prefix);
        if (memcmp(back, prefix, VOLUME) == 0)
            return true;
    }
    return false;
}

static void check_prefix(struct play *p)
{
    uint8_t *back = malloc(VOLUME), *prefix = calloc(1, VOLUME);
    for (uint64_t at = 0; at < VOLUME; at += 64 * KIB)
        assert_int_equal(rig_read(&p->rig, "v", at, back + at, 64 * KIB), 0);
    uint64_t found = UINT64_MAX;
    for (uint64_t k = 0; k <= p->count; k++) {
        if (memcmp(back, prefix, VOLUME) == 0)
            found = k;
        if (k < p->count && k >= p->durable && found == UINT64_MAX && is_begun(&p->ops[k], back, prefix))
            found = k;
        if (k < p->count)
            apply(&p->ops[k], prefix);
    }
    if (found == UINT64_MAX)
        fail_msg("what is there is not a prefix of the %llu requests", (unsigned long long)p->count);
    if (found < p->durable)
        fail_msg("%llu requests are there, %llu were made durable", (unsigned long long)found,
                 (unsigned long long)p->durable);
    free(back);
    free(prefix);
}

static void run_seed(uint64_t seed)
{
    struct play *p = calloc(1, sizeof *p);
    struct pod_manage create = {
        .op = POD_VOLUME_CREATE, .name = "v", .size_bytes = VOLUME, .write_cache = true};
    p->data = calloc(1, VOLUME);
    rig_create(&p->rig, 64 * MIB, seed);
    p->rig.random = seed % 2;
    assert_int_equal(rig_open(&p->rig), 0);
    assert_int_equal(rig_manage(&p->rig, &create), 0);
    assert_int_equal(pod_image_open(p->rig.pod, "v", &p->image, NULL), 0);
    p->rig.cut_after = p->rig.steps + 1 + prng_below(&p->rig.prng, 120);
    while (p->count < OPS && play_op(p))
        ;
    free(p->image);
    rig_crash(&p->rig, (enum blkdev_mem_cut)(seed % BLKDEV_MEM_CUTS));
    p->rig.cut_after = 0;
    assert_int_equal(rig_open(&p->rig), 0);
    check_prefix(p);
    rig_check(&p->rig);
    rig_close(&p->rig);
    rig_destroy(&p->rig);
    for (uint64_t i = 0; i < p->count; i++)
        free(p->ops[i].buf);
    free(p->data);
    free(p);
}

static void a_power_cut_leaves_a_prefix(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
        (void)printf("seed %llu\n", (unsigned long long)seed);
        run_seed(seed);
    }
}

static void begin(struct rig *rig, struct pod_image **image)
{
    struct pod_manage create = {
        .op = POD_VOLUME_CREATE, .name = "v", .size_bytes = VOLUME, .write_cache = true};
    rig_create(rig, 64 * MIB, 1);
    assert_int_equal(rig_open(rig), 0);
    assert_int_equal(rig_manage(rig, &create), 0);
    assert_int_equal(pod_image_open(rig->pod, "v", image, NULL), 0);
}

/* The device does nothing: writes are answered, a flush and a FUA write are not. */
static void only_flush_and_fua_wait_for_the_device(void **state)
{
    (void)state;
    struct rig rig;
    struct pod_image *image;
    static uint8_t data[3][BLOCK];
    struct op write = {.buf = data[0]}, fua = {.buf = data[1]}, flush = {0};
    begin(&rig, &image);
    write.io =
        (struct pod_io){.op = POD_WRITE, .image = image, .length = BLOCK, .buf = data[0], .user = &write};
    fua.io = (struct pod_io){.op = POD_WRITE,
                             .image = image,
                             .offset = BLOCK,
                             .length = BLOCK,
                             .buf = data[1],
                             .flags = POD_IO_FUA,
                             .user = &fua};
    flush.io = (struct pod_io){.op = POD_FLUSH, .image = image, .user = &flush};
    memset(data[0], 1, BLOCK);
    memset(data[1], 2, BLOCK);
    assert_int_equal(pod_submit(rig.pod, &write.io, on_op), 0);
    (void)pod_turn(rig.pod, rig.now_ns);
    assert_true(write.done);
    assert_int_equal(pod_submit(rig.pod, &fua.io, on_op), 0);
    assert_int_equal(pod_submit(rig.pod, &flush.io, on_op), 0);
    for (int i = 0; i < 10; i++)
        (void)pod_turn(rig.pod, rig.now_ns);
    assert_false(fua.done || flush.done);
    for (int i = 0; i < 1000 && !(fua.done && flush.done); i++)
        assert_true(rig_step(&rig));
    free(image);
    rig_crash(&rig, BLKDEV_MEM_LOSE);
    assert_int_equal(rig_open(&rig), 0);
    assert_int_equal(rig_read(&rig, "v", 0, data[2], BLOCK), 0);
    assert_memory_equal(data[2], data[0], BLOCK);
    rig_close(&rig);
    rig_destroy(&rig);
}

/* Switched off, everything answered is durable at once; a snapshot holds what was answered before it. */
static void switching_it_off_and_snapshots_see_what_was_answered(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct rig rig;
        struct pod_image *image;
        static uint8_t data[BLOCK], back[BLOCK];
        struct op write = {.buf = data};
        begin(&rig, &image);
        write.io =
            (struct pod_io){.op = POD_WRITE, .image = image, .length = BLOCK, .buf = data, .user = &write};
        memset(data, 7, BLOCK);
        assert_int_equal(pod_submit(rig.pod, &write.io, on_op), 0);
        (void)pod_turn(rig.pod, rig.now_ns);
        assert_true(write.done);
        if (which)
            assert_int_equal(rig_named(&rig, POD_VOLUME_SET, "v", NULL, 0), 0);
        else
            assert_int_equal(rig_named(&rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
        free(image);
        rig_crash(&rig, BLKDEV_MEM_LOSE);
        assert_int_equal(rig_open(&rig), 0);
        assert_int_equal(rig_read(&rig, which ? "v" : "v@s", 0, back, BLOCK), 0);
        assert_memory_equal(back, data, BLOCK);
        rig_check(&rig);
        rig_close(&rig);
        rig_destroy(&rig);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        first_seed = strtoull(argv[1], NULL, 0);
    if (argc > 2)
        seeds = strtoull(argv[2], NULL, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_flush_and_fua_wait_for_the_device),
        cmocka_unit_test(switching_it_off_and_snapshots_see_what_was_answered),
        cmocka_unit_test(a_power_cut_leaves_a_prefix),
    };
    return cmocka_run_group_tests_name("pod_write_cache", tests, NULL, NULL);
}
