/* Situations in which two parts of the pod meet: each test is one that has lost or mixed up data, or stopped
 * the pod, in some version of it or could in a careless one.
 *
 *   test_pod_hazards [TEST] */
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
    MIB = 1 << 20,
    KIB = 1 << 10,
    BLOCK = 4096,
    LEAF = 512 * BLOCK
};

static void fill(void *buf, size_t bytes, uint64_t seed)
{
    struct prng prng;
    prng_seed(&prng, seed);
    prng_fill(&prng, buf, bytes);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig_create(rig, 256 * MIB, 7);
    assert_int_equal(rig_open(rig), 0);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    if (rig->pod)
        rig_close(rig);
    rig_destroy(rig);
    free(rig);
    return 0;
}

/* ---- requests that are not waited for */

struct request {
    struct pod_io io;
    bool done;
};

static void on_request(struct pod_io *io, int status)
{
    (void)status;
    ((struct request *)io->user)->done = true;
}

static int submit(struct rig *rig, struct request *r, struct pod_image *image, enum pod_io_op op,
                  uint64_t offset, uint64_t length, void *buf)
{
    *r = (struct request){
        .io = {.op = op, .image = image, .offset = offset, .length = length, .buf = buf, .user = r}};
    return pod_submit(rig->pod, &r->io, on_request);
}

static void finish(struct rig *rig, const struct request *r)
{
    for (int n = 0; !r->done; n++) {
        assert_true(rig_step(rig));
        assert_true(n < 1000000);
    }
}

struct change {
    struct pod_manage req;
    bool done;
};

static void on_change(struct pod_manage *req, int status)
{
    (void)status;
    ((struct change *)req->user)->done = true;
}

static void start_change(struct rig *rig, struct change *c, enum pod_manage_op op, const char *name,
                         uint64_t size)
{
    *c = (struct change){
        .req = {.op = op, .size_bytes = size, .allow_shrink = true, .force = true, .user = c}};
    (void)snprintf(c->req.name, sizeof c->req.name, "%s", name);
    assert_int_equal(pod_manage(rig->pod, &c->req, on_change), 0);
}

static void finish_change(struct rig *rig, const struct change *c)
{
    for (int n = 0; !c->done; n++) {
        assert_true(rig_step(rig));
        assert_true(n < 1000000);
    }
}

static struct pod_image *open_image(struct rig *rig, const char *name)
{
    struct pod_image *image = NULL;
    assert_int_equal(pod_image_open(rig->pod, name, &image, NULL), 0);
    return image;
}

static void expect(struct rig *rig, const char *name, uint64_t offset, const void *data, size_t length)
{
    uint8_t *back = malloc(length);
    assert_int_equal(rig_read(rig, name, offset, back, length), 0);
    if (memcmp(back, data, length) != 0)
        fail_msg("%s at %llu does not hold what it should", name, (unsigned long long)offset);
    free(back);
}

/* Nothing is cached afterwards, and the metadata is on flash. */
static void restart(struct rig *rig)
{
    rig_close(rig);
    assert_int_equal(rig_open(rig), 0);
}

/* ---- */

static void discarding_a_whole_leaf_leaves_the_snapshot_alone(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[MIB];
    fill(data, sizeof data, 1);
    assert_int_equal(rig_create_volume(rig, "v", 8 * MIB), 0);
    assert_int_equal(rig_write(rig, "v", LEAF, data, sizeof data), 0);
    assert_int_equal(rig_named(rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
    assert_int_equal(rig_range(rig, POD_TRIM, "v", LEAF, LEAF), 0);
    restart(rig);
    expect(rig, "v@s", LEAF, data, sizeof data);
    rig_check(rig);
    static const uint8_t zeroes[MIB];
    expect(rig, "v", LEAF, zeroes, sizeof zeroes);
}

/* So much metadata that a checkpoint leaves the pages written before where they are: they are not in memory
 * after a restart. */
static void fill_metadata(struct rig *rig)
{
    static uint32_t words[128 * KIB / 4];
    struct prng prng;
    prng_seed(&prng, 4);
    assert_int_equal(rig_create_volume(rig, "patterns", 1024ull * MIB), 0);
    for (uint64_t at = 0; at < 1024ull * MIB; at += sizeof words) {
        for (size_t i = 0; i < sizeof words / 4; i++)
            words[i] = i % 1024 ? words[i - 1] : (uint32_t)prng_next(&prng);
        assert_int_equal(rig_write(rig, "patterns", at, words, sizeof words), 0);
    }
}

static void writing_goes_on_where_the_tables_end_after_a_restart(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[BLOCK];
    assert_int_equal(rig_create_volume(rig, "v", 8 * MIB), 0);
    for (unsigned i = 0; i < 200; i++) {
        fill(data, sizeof data, 100 + i);
        assert_int_equal(rig_write(rig, "v", (uint64_t)i * BLOCK, data, sizeof data), 0);
    }
    fill_metadata(rig);
    restart(rig);
    fill(data, sizeof data, 99);
    assert_int_equal(rig_write(rig, "v", 4 * MIB, data, sizeof data), 0);
    expect(rig, "v", 4 * MIB, data, sizeof data);
    rig_check(rig);
}

static void equal_blocks_of_one_write_share_where_the_tables_end_after_a_restart(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[2 * BLOCK];
    assert_int_equal(rig_create_volume(rig, "v", 8 * MIB), 0);
    /* Pairs: each block has one extra reference. */
    for (unsigned i = 0; i < 300; i++) {
        fill(data, BLOCK, 100 + i);
        memcpy(data + BLOCK, data, BLOCK);
        assert_int_equal(rig_write(rig, "v", (uint64_t)i * sizeof data, data, sizeof data), 0);
    }
    fill_metadata(rig);
    for (int turn = 0; turn < 20; turn++) {
        restart(rig);
        fill(data, BLOCK, 1000 + (uint64_t)turn);
        memcpy(data + BLOCK, data, BLOCK);
        assert_int_equal(rig_write(rig, "v", 4 * MIB, data, sizeof data), 0);
        expect(rig, "v", 4 * MIB, data, sizeof data);
    }
    rig_check(rig);
}

/* The second request finds nothing to do, but only because of the first, which is not durable yet. */
static void zeroes_over_zeroes_are_answered_only_when_durable(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[BLOCK], back[BLOCK];
    fill(data, sizeof data, 1);
    assert_int_equal(rig_create_volume(rig, "v", 8 * MIB), 0);
    assert_int_equal(rig_write(rig, "v", LEAF, data, sizeof data), 0);
    rig_settle(rig);
    struct pod_image *image = open_image(rig, "v");
    struct request first, second;
    assert_int_equal(submit(rig, &first, image, POD_WRITE_ZERO, LEAF, LEAF, NULL), 0);
    (void)pod_turn(rig->pod, rig->now_ns);
    assert_int_equal(submit(rig, &second, image, POD_WRITE_ZERO, LEAF, LEAF, NULL), 0);
    (void)pod_turn(rig->pod, rig->now_ns);
    if (second.done) {
        rig_crash(rig, BLKDEV_MEM_LOSE);
        free(image);
        assert_int_equal(rig_open(rig), 0);
        assert_int_equal(rig_read(rig, "v", LEAF, back, sizeof back), 0);
        static const uint8_t zeroes[BLOCK];
        assert_memory_equal(back, zeroes, BLOCK);
        return;
    }
    finish(rig, &first);
    finish(rig, &second);
    pod_image_close(image);
}

/* An unaligned write whose surroundings are being read, then something else. */
static struct pod_image *begin_unaligned(struct rig *rig, struct request *r, void *sector)
{
    static uint8_t old[BLOCK], new[BLOCK];
    fill(old, sizeof old, 1);
    fill(new, sizeof new, 2);
    fill(sector, 512, 3);
    assert_int_equal(rig_create_volume(rig, "v", 8 * MIB), 0);
    assert_int_equal(rig_write(rig, "v", 4 * MIB, old, sizeof old), 0);
    assert_int_equal(rig_named(rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
    assert_int_equal(rig_write(rig, "v", 4 * MIB, new, sizeof new), 0);
    restart(rig);
    uint8_t warm[512];
    assert_int_equal(rig_read(rig, "v", 5 * MIB, warm, sizeof warm), 0);
    struct pod_image *image = open_image(rig, "v");
    /* Two edges: the reads of one are enough to be in between. */
    assert_int_equal(submit(rig, r, image, POD_WRITE, 4 * MIB + 512, 512, sector), 0);
    (void)pod_turn(rig->pod, rig->now_ns);
    return image;
}

static void an_unaligned_write_after_a_restore_keeps_what_was_restored(void **state)
{
    struct rig *rig = *state;
    for (uint64_t steps = 0; steps < 12; steps++) {
        static uint8_t sector[512], expected[BLOCK];
        struct request r;
        struct change c;
        struct pod_image *image = begin_unaligned(rig, &r, sector);
        for (uint64_t i = 0; i < steps; i++)
            (void)rig_step(rig);
        const bool before = r.done;
        start_change(rig, &c, POD_SNAPSHOT_RESTORE, "v@s", 0);
        finish_change(rig, &c);
        finish(rig, &r);
        assert_int_equal(c.req.error.status, 0);
        assert_int_equal(r.io.status, 0);
        pod_image_close(image);
        uint8_t back[BLOCK];
        assert_int_equal(rig_read(rig, "v", 4 * MIB, back, sizeof back), 0);
        fill(expected, sizeof expected, 1);
        if (memcmp(back + 512, sector, 512) == 0)
            memcpy(expected + 512, sector, 512);
        else
            assert_true(before || memcmp(back, expected, BLOCK) == 0);
        assert_memory_equal(back, expected, BLOCK);
        rig_check(rig);
        struct pod_manage gone = {.op = POD_VOLUME_DELETE, .name = "v", .with_snapshots = true};
        assert_int_equal(rig_manage(rig, &gone), 0);
    }
}

static void an_unaligned_write_to_a_deleted_volume_leaves_others_alone(void **state)
{
    struct rig *rig = *state;
    for (uint64_t steps = 0; steps < 12; steps++) {
        static uint8_t sector[512], data[40][BLOCK];
        struct request r, writes[40];
        struct change c;
        static uint8_t old[120][BLOCK];
        assert_int_equal(rig_create_volume(rig, "w", 8 * MIB), 0);
        for (int i = 0; i < 120; i++) {
            fill(old[i], BLOCK, 900 + (uint64_t)i);
            assert_int_equal(rig_write(rig, "w", (uint64_t)i * BLOCK, old[i], BLOCK), 0);
        }
        struct pod_image *image = begin_unaligned(rig, &r, sector);
        for (uint64_t i = 0; i < steps; i++)
            (void)rig_step(rig);
        start_change(rig, &c, POD_VOLUME_DELETE, "v", 0);
        c.req.with_snapshots = true;
        /* The device holds reads back while the deletion goes through. */
        for (int n = 0; !c.done && n < 10000; n++) {
            (void)pod_turn(rig->pod, rig->now_ns += 1000);
            const size_t pending = blkdev_mem_pending(rig->mem);
            for (size_t i = pending; i-- > 0;)
                if (blkdev_mem_pending_at(rig->mem, i)->op == BLKDEV_WRITE) {
                    (void)blkdev_mem_step_at(rig->mem, i);
                    break;
                }
        }
        struct pod_image *other = open_image(rig, "w");
        for (int i = 0; i < 40; i++) {
            fill(data[i], BLOCK, 500 + (uint64_t)i);
            assert_int_equal(
                submit(rig, &writes[i], other, POD_WRITE, (uint64_t)i * 3 * BLOCK + 512, 512, data[i]), 0);
        }
        /* What was asked for last comes first. */
        for (int n = 0; n < 10000 && !(writes[39].done && writes[0].done && r.done && c.done); n++) {
            (void)pod_turn(rig->pod, rig->now_ns += 1000);
            while (blkdev_mem_pending(rig->mem))
                (void)blkdev_mem_step_at(rig->mem, blkdev_mem_pending(rig->mem) - 1);
        }
        finish_change(rig, &c);
        finish(rig, &r);
        for (int i = 0; i < 40; i++) {
            finish(rig, &writes[i]);
            assert_int_equal(writes[i].io.status, 0);
        }
        pod_image_close(image);
        pod_image_close(other);
        for (int i = 0; i < 40; i++) {
            uint8_t expected[BLOCK];
            memcpy(expected, old[3 * i], BLOCK);
            memcpy(expected + 512, data[i], 512);
            expect(rig, "w", (uint64_t)i * 3 * BLOCK, expected, BLOCK);
        }
        rig_check(rig);
        assert_int_equal(rig_named(rig, POD_VOLUME_DELETE, "w", NULL, 0), 0);
    }
}

static void snapshots_of_one_name_are_told_apart_after_thousands_of_images(void **state)
{
    struct rig *rig = *state;
    char name[64];
    struct pod_image_info info;
    assert_int_equal(rig_create_volume(rig, "first", MIB), 0);
    for (int i = 0; i < 3000; i++) {
        (void)snprintf(name, sizeof name, "first@s%d", i);
        assert_int_equal(rig_named(rig, POD_SNAPSHOT_CREATE, name, NULL, 0), 0);
    }
    /* Volumes with ids that lie behind those of their snapshots in the table. */
    assert_int_equal(rig_create_volume(rig, "a", MIB), 0);
    assert_int_equal(rig_create_volume(rig, "b", MIB), 0);
    assert_int_equal(rig_create_volume(rig, "daily", MIB), 0);
    for (int i = 3000; i < 4300; i++) {
        (void)snprintf(name, sizeof name, "first@s%d", i);
        assert_int_equal(rig_named(rig, POD_SNAPSHOT_CREATE, name, NULL, 0), 0);
    }
    assert_int_equal(rig_named(rig, POD_SNAPSHOT_CREATE, "a@daily", NULL, 0), 0);
    assert_int_equal(rig_named(rig, POD_SNAPSHOT_CREATE, "b@daily", NULL, 0), 0);
    rig_close(rig);
    /* The table is written in full when there are too many increments. */
    for (int i = 0; i < 70; i++) {
        assert_int_equal(rig_open(rig), 0);
        rig_close(rig);
    }
    assert_int_equal(rig_open(rig), 0);
    assert_int_equal(pod_image_by_name(rig->pod, "a@daily", &info), 0);
    assert_int_equal(pod_image_by_name(rig->pod, "b@daily", &info), 0);
    assert_int_equal(pod_image_by_name(rig->pod, "daily", &info), 0);
    assert_int_equal(info.kind, POD_VOLUME);
    struct pod_stats stats;
    pod_stats(rig->pod, &stats);
    assert_int_equal(stats.snapshots, 4302);
    assert_int_equal(stats.volumes, 4);
}

/* A host that writes again as soon as it was answered. */
struct writer {
    struct pod_io io;
    struct rig *rig;
    uint64_t count;
    bool stop, stopped;
    uint8_t buf[BLOCK];
};

static void write_again(struct pod_io *io, int status)
{
    struct writer *w = io->user;
    assert_int_equal(status, 0);
    w->stopped = w->stop;
    if (w->stop)
        return;
    fill(w->buf, BLOCK, w->count++);
    assert_int_equal(pod_submit(w->rig->pod, &w->io, write_again), 0);
}

static void shrinking_ends_under_constant_writes(void **state)
{
    struct rig *rig = *state;
    static uint8_t data[BLOCK];
    const uint64_t half = 512ull * MIB;
    assert_int_equal(rig_create_volume(rig, "v", 2 * half), 0);
    for (uint64_t at = half; at < 2 * half; at += LEAF) {
        fill(data, sizeof data, at);
        assert_int_equal(rig_write(rig, "v", at, data, sizeof data), 0);
    }
    struct pod_image *image = open_image(rig, "v");
    enum {
        DEPTH = 8
    };
    static struct writer writers[DEPTH];
    struct change c;
    for (uint64_t i = 0; i < DEPTH; i++) {
        writers[i] = (struct writer){
            .io =
                {.op = POD_WRITE, .image = image, .offset = i * BLOCK, .length = BLOCK, .user = &writers[i]},
            .rig = rig,
            .count = i * 1000000,
        };
        writers[i].io.buf = writers[i].buf;
        write_again(&writers[i].io, 0);
        (void)rig_step(rig);
    }
    start_change(rig, &c, POD_VOLUME_RESIZE, "v", half);
    for (int n = 0; !c.done; n++) {
        assert_true(rig_step(rig));
        assert_true(n < 5000);
    }
    for (int i = 0; i < DEPTH; i++) {
        writers[i].stop = true;
        while (!writers[i].stopped)
            assert_true(rig_step(rig));
    }
    pod_image_close(image);
    rig_check(rig);
}

static void a_volume_with_an_open_snapshot_is_not_deleted_in_part(void **state)
{
    struct rig *rig = *state;
    char name[64];
    assert_int_equal(rig_create_volume(rig, "v", MIB), 0);
    for (int i = 100; i < 400; i++) {
        (void)snprintf(name, sizeof name, "v@s%d", i);
        assert_int_equal(rig_named(rig, POD_SNAPSHOT_CREATE, name, NULL, 0), 0);
    }
    struct pod_image *image = open_image(rig, "v@s399");
    struct pod_manage req = {.op = POD_VOLUME_DELETE, .name = "v", .with_snapshots = true};
    assert_int_equal(rig_manage(rig, &req), PS_EPRECONDITION);
    struct pod_image_info info;
    assert_int_equal(pod_image_by_name(rig->pod, "v", &info), 0);
    assert_int_equal(info.snapshots, 300);
    pod_image_close(image);
    req = (struct pod_manage){.op = POD_VOLUME_DELETE, .name = "v", .with_snapshots = true};
    assert_int_equal(rig_manage(rig, &req), 0);
    rig_check(rig);
    struct pod_stats stats;
    pod_stats(rig->pod, &stats);
    assert_int_equal(stats.releasing, 0);
}

/* A read that waits for others' records while the volume becomes smaller than what it asks for. */
static void a_read_overtaken_by_a_restore_never_gets_other_blocks(void **state)
{
    struct rig *rig = *state;
    static uint8_t low[MIB], high[MIB], back[MIB];
    fill(low, sizeof low, 1);
    fill(high, sizeof high, 2);
    assert_int_equal(rig_create_volume(rig, "v", 2 * MIB), 0);
    assert_int_equal(rig_write(rig, "v", 0, low, sizeof low), 0);
    assert_int_equal(rig_named(rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
    assert_int_equal(rig_named(rig, POD_VOLUME_RESIZE, "v", NULL, 4 * MIB), 0);
    for (uint64_t at = 0; at < MIB; at += BLOCK) /* one by one: each its own record */
        assert_int_equal(rig_write(rig, "v", LEAF + at, high + at, BLOCK), 0);
    restart(rig);
    struct pod_image *image = open_image(rig, "v");
    struct request r;
    struct change c;
    assert_int_equal(submit(rig, &r, image, POD_READ, LEAF, MIB, back), 0);
    start_change(rig, &c, POD_SNAPSHOT_RESTORE, "v@s", 0);
    for (int n = 0; !c.done && n < 10000; n++) { /* reads are held back meanwhile */
        (void)pod_turn(rig->pod, rig->now_ns += 1000);
        for (size_t i = blkdev_mem_pending(rig->mem); i-- > 0;)
            if (blkdev_mem_pending_at(rig->mem, i)->op == BLKDEV_WRITE) {
                (void)blkdev_mem_step_at(rig->mem, i);
                break;
            }
    }
    finish_change(rig, &c);
    finish(rig, &r);
    assert_int_equal(r.io.status, PS_ERANGE);
    pod_image_close(image);
    rig_check(rig);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(discarding_a_whole_leaf_leaves_the_snapshot_alone),
        TEST(writing_goes_on_where_the_tables_end_after_a_restart),
        TEST(equal_blocks_of_one_write_share_where_the_tables_end_after_a_restart),
        TEST(zeroes_over_zeroes_are_answered_only_when_durable),
        TEST(an_unaligned_write_after_a_restore_keeps_what_was_restored),
        TEST(an_unaligned_write_to_a_deleted_volume_leaves_others_alone),
        TEST(snapshots_of_one_name_are_told_apart_after_thousands_of_images),
        TEST(shrinking_ends_under_constant_writes),
        TEST(a_volume_with_an_open_snapshot_is_not_deleted_in_part),
        TEST(a_read_overtaken_by_a_restore_never_gets_other_blocks),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("pod_hazards", tests, NULL, NULL);
}
