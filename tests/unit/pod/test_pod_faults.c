/* Devices that fail: the n-th write or flush of a script, a page, a record. What was acknowledged stays
 * readable, nothing later is acknowledged, and after a restart on a sound device all of it is there.
 *
 *   test_pod_faults [FIRST [LAST [STRIDE]]]   failing device operations of the sweep */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/blkdev_fault.h"
#include "node/pod/pod_impl.h"
#include "tests/support/pod_rig.h"

enum {
    MIB = 1 << 20,
    KIB = 1 << 10,
    BLOCK = 4096,
    WRITES = 40
};
#define WRITE_OR_FLUSH (blkdev_fault_op(BLKDEV_WRITE) | blkdev_fault_op(BLKDEV_FLUSH))

static uint64_t first_fault = 1, last_fault = 60, stride = 1;

static void fill(void *buf, size_t bytes, uint64_t seed)
{
    struct prng prng;
    prng_seed(&prng, seed);
    prng_fill(&prng, buf, bytes);
}

static void begin(struct rig *rig, uint64_t device_bytes)
{
    rig_create(rig, device_bytes, 7);
    rig->dev = blkdev_fault_create(rig->mem);
    assert_non_null(rig->dev);
    assert_int_equal(rig_open(rig), 0);
}

static void end(struct rig *rig)
{
    if (rig->pod)
        rig_close(rig);
    rig_destroy(rig);
}

static void reopen(struct rig *rig)
{
    blkdev_fault_clear(rig->dev);
    const int rc = rig_open(rig);
    if (rc)
        fail_msg("opening on a sound device: %s: %s", ps_status_name(rc), rig->error.detail);
}

/* Answers of the script's steps; 1: not got to. */
struct script {
    int answers[WRITES];
    int snapshot;
};

static void run_script(struct rig *rig, struct script *s)
{
    uint8_t data[16 * KIB];
    for (int i = 0; i < WRITES; i++) {
        fill(data, sizeof data, 100 + (uint64_t)i);
        s->answers[i] = rig_write(rig, "v", (uint64_t)i * sizeof data, data, sizeof data);
        if (i == WRITES / 2)
            s->snapshot = rig_named(rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0);
        if (i % 10 == 9)
            rig_settle(rig);
    }
}

static void check_script(struct rig *rig, const struct script *s, bool exact)
{
    static const uint8_t zeroes[16 * KIB];
    uint8_t data[16 * KIB], back[16 * KIB];
    for (int i = 0; i < WRITES; i++) {
        fill(data, sizeof data, 100 + (uint64_t)i);
        assert_int_equal(rig_read(rig, "v", (uint64_t)i * sizeof data, back, sizeof back), 0);
        const bool there = memcmp(back, data, sizeof data) == 0;
        if (s->answers[i] == 0)
            assert_true(there);
        else
            assert_true((there && !exact) || memcmp(back, zeroes, sizeof zeroes) == 0);
    }
    struct pod_image_info info;
    const int found = pod_image_by_name(rig->pod, "v@s", &info);
    if (s->snapshot == 0)
        assert_int_equal(found, 0);
}

static void every_write_and_flush_may_fail(void **state)
{
    (void)state;
    for (uint64_t n = first_fault; n <= last_fault; n += stride)
        for (int action = BLKDEV_FAULT_FAIL; action <= BLKDEV_FAULT_ERROR; action += 2)
            for (uint64_t count = 0; count < 2; count++) {
                struct rig rig;
                struct script s = {.snapshot = 1};
                begin(&rig, 128 * MIB);
                assert_int_equal(rig_create_volume(&rig, "v", 4 * MIB), 0);
                const struct blkdev_fault_rule rule = {.ops = WRITE_OR_FLUSH,
                                                       .first = n,
                                                       .count = count,
                                                       .action = (enum blkdev_fault_action)action};
                (void)blkdev_fault_add(rig.dev, &rule);
                run_script(&rig, &s);
                check_script(&rig, &s, true);
                struct pod_stats stats;
                pod_stats(rig.pod, &stats);
                if (stats.failed) {
                    uint8_t data[BLOCK] = {0};
                    assert_int_not_equal(rig_write(&rig, "v", 0, data, sizeof data), 0);
                }
                rig_close(&rig);
                reopen(&rig);
                check_script(&rig, &s, false);
                rig_check(&rig);
                end(&rig);
            }
}

/* Enough metadata for a checkpoint of several writes, of which the one that fails is not the last to
 * complete. */
static void a_checkpoint_with_a_failed_write_is_never_anchored(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 5; n++) {
        struct rig rig;
        static uint32_t words[128 * KIB / 4];
        struct prng prng;
        prng_seed(&prng, 4);
        begin(&rig, 256 * MIB);
        assert_int_equal(rig_create_volume(&rig, "v", 256 * MIB), 0);
        for (uint64_t at = 0; at < 220 * MIB; at += sizeof words) {
            for (size_t i = 0; i < sizeof words / 4; i++)
                words[i] = i % 1024 ? words[i - 1] : (uint32_t)prng_next(&prng);
            assert_int_equal(rig_write(&rig, "v", at, words, sizeof words), 0);
        }
        const struct blkdev_fault_rule rule = {.ops = WRITE_OR_FLUSH, .first = n, .count = 1};
        const unsigned number = blkdev_fault_add(rig.dev, &rule);
        rig_close(&rig);
        assert_true(blkdev_fault_fired(rig.dev, number) == 1 || n > 4);
        reopen(&rig);
        static uint32_t back[128 * KIB / 4];
        assert_int_equal(rig_read(&rig, "v", 220 * MIB - sizeof back, back, sizeof back), 0);
        assert_memory_equal(back, words, sizeof words);
        rig_check(&rig);
        end(&rig);
    }
}

/* Answered from memory, then the device fails before the batch was even sent: a flush must not succeed. */
static void on_flag(struct pod_io *io, int status)
{
    (void)status;
    *(bool *)io->user = true;
}

static void a_flush_after_a_failure_fails_with_write_cache(void **state)
{
    (void)state;
    for (int writes = 1; writes < 10; writes++) {
        struct rig rig;
        static uint8_t data[10][BLOCK];
        bool done[10] = {false};
        struct pod_io ios[10];
        struct pod_image *image;
        begin(&rig, 128 * MIB);
        struct pod_manage create = {
            .op = POD_VOLUME_CREATE, .name = "v", .size_bytes = MIB, .write_cache = true};
        assert_int_equal(rig_manage(&rig, &create), 0);
        assert_int_equal(pod_image_open(rig.pod, "v", &image, NULL), 0);
        const struct blkdev_fault_rule rule = {.ops = WRITE_OR_FLUSH, .first = (uint64_t)(writes % 3) + 1};
        (void)blkdev_fault_add(rig.dev, &rule);
        for (int i = 0; i < writes; i++) {
            fill(data[i], BLOCK, 50 + (uint64_t)i);
            ios[i] = (struct pod_io){.op = POD_WRITE,
                                     .image = image,
                                     .offset = (uint64_t)i * BLOCK,
                                     .length = BLOCK,
                                     .buf = data[i],
                                     .user = &done[i]};
            assert_int_equal(pod_submit(rig.pod, &ios[i], on_flag), 0);
            (void)pod_turn(rig.pod, rig.now_ns += 1000);
        }
        bool lost = false;
        while (blkdev_mem_pending(rig.mem)) { /* no turn in between */
            (void)blkdev_mem_step(rig.mem);
        }
        (void)pod_turn(rig.pod, rig.now_ns += 1000);
        for (int i = 0; i < writes; i++)
            assert_true(done[i]);
        struct pod_stats stats;
        rig_settle(&rig);
        pod_stats(rig.pod, &stats);
        struct pod_io flush = {.op = POD_FLUSH, .image = image};
        const int flushed = rig_io(&rig, &flush);
        assert_true(stats.failed ? flushed != 0 : flushed == 0);
        uint8_t back[BLOCK];
        for (int i = 0; i < writes; i++) {
            assert_int_equal(rig_read(&rig, "v", (uint64_t)i * BLOCK, back, BLOCK), 0);
            lost |= memcmp(back, data[i], BLOCK) != 0;
        }
        assert_true(!lost || flushed);
        pod_image_close(image);
        rig_close(&rig);
        reopen(&rig);
        rig_check(&rig);
        end(&rig);
    }
}

/* Everything below one address cannot be read: each request gets an answer, and the pod goes on. */
static void unreadable_flash_answers_every_request(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t data[BLOCK], back[BLOCK];
    begin(&rig, 256 * MIB);
    assert_int_equal(rig_create_volume(&rig, "v", 1024ull * MIB), 0);
    for (uint64_t i = 0; i < 300; i++) {
        fill(data, sizeof data, i);
        assert_int_equal(rig_write(&rig, "v", i * 2 * MIB, data, sizeof data), 0);
        for (int k = 1; k < 130; k++) { /* patterns that make the leaf worth a page of its own */
            uint32_t *w = (uint32_t *)(void *)data;
            for (size_t j = 0; j < BLOCK / 4; j++)
                w[j] = (uint32_t)(i * 1000 + (uint64_t)k) * 2654435761u;
            if (k % 43 == 0)
                assert_int_equal(rig_write(&rig, "v", i * 2 * MIB + (uint64_t)k * BLOCK, data, sizeof data),
                                 0);
        }
    }
    rig_close(&rig);
    assert_int_equal(rig_open(&rig), 0);
    const struct blkdev_fault_rule rule = {.ops = blkdev_fault_op(BLKDEV_READ)};
    (void)blkdev_fault_add(rig.dev, &rule);
    unsigned failed = 0;
    for (uint64_t i = 0; i < 300; i++) {
        failed += rig_read(&rig, "v", i * 2 * MIB, back, BLOCK) != 0;
        (void)rig_write(&rig, "v", i * 2 * MIB + 512, data, 512);
    }
    assert_true(failed > 100);
    blkdev_fault_clear(rig.dev);
    rig_close(&rig);
    assert_int_equal(rig_open(&rig), 0);
    fill(data, sizeof data, 7);
    assert_int_equal(rig_read(&rig, "v", 7 * 2 * MIB, back, BLOCK), 0);
    assert_memory_equal(back, data, 512);
    rig_check(&rig);
    end(&rig);
}

/* Who is told that opening failed may end the pod at once: nothing is under way any more. */
static void a_failed_opening_leaves_nothing_under_way(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (int op = 0; op < 2; op++)
        for (uint64_t n = op ? 1 : 6; n < (op ? 4 : 16); n++) {
            struct rig rig;
            uint8_t data[BLOCK], back[BLOCK];
            begin(&rig, 128 * MIB);
            assert_int_equal(rig_create_volume(&rig, "v", 64 * MIB), 0);
            for (uint64_t i = 0; i < 3000; i++) { /* each leaf's blocks are in all pages of L2P */
                fill(data, sizeof data, i);
                assert_int_equal(rig_write(&rig, "v", ((i % 6) * 512 + i / 6) * BLOCK, data, sizeof data), 0);
            }
            rig_close(&rig);
            assert_int_equal(rig_open(&rig), 0);
            assert_int_equal(rig_range(&rig, POD_TRIM, "v", 0, 2 * MIB), 0);
            rig_crash(&rig, BLKDEV_MEM_LOSE);
            blkdev_fault_drop(rig.dev);
            const struct blkdev_fault_rule rule = {.ops = op ? WRITE_OR_FLUSH : blkdev_fault_op(BLKDEV_READ),
                                                   .first = n,
                                                   .count = 1,
                                                   .action = BLKDEV_FAULT_FAIL};
            (void)blkdev_fault_add(rig.dev, &rule);
            if (rig_open(&rig)) {
                failures++;
                assert_int_equal(blkdev_mem_pending(rig.mem), 0);
                pod_destroy(rig.pod);
            } else {
                rig_close(&rig);
            }
            reopen(&rig);
            fill(data, sizeof data, 1);
            assert_int_equal(rig_read(&rig, "v", 2 * MIB, back, BLOCK), 0);
            assert_memory_equal(data, back, BLOCK);
            rig_check(&rig);
            end(&rig);
        }
    assert_true(failures > 5);
}

/* So much metadata that a checkpoint leaves the pages written before where they are, and out of memory. */
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

static void damage(struct rig *rig, struct meta_key page)
{
    const struct place place = meta_load_place(rig->pod->meta, page);
    assert_false(place_is_none(place));
    rig_rot(rig, place, 3);
}

/* Two volumes of a page each, and everything that follows on other pages of the tables. */
static void begin_with_cold_pages(struct rig *rig)
{
    uint8_t data[BLOCK];
    begin(rig, 256 * MIB);
    assert_int_equal(rig_create_volume(rig, "a", 2 * MIB), 0);
    assert_int_equal(rig_create_volume(rig, "b", 2 * MIB), 0);
    assert_int_equal(rig_create_volume(rig, "more", 8 * MIB), 0);
    for (uint64_t i = 0; i < 1500; i++) {
        fill(data, sizeof data, i);
        const char *name = i < 200 ? "a" : i < 400 ? "b" : "more";
        assert_int_equal(rig_write(rig, name, (i < 400 ? i % 200 : i) * BLOCK, data, sizeof data), 0);
    }
    fill_metadata(rig);
    rig_close(rig);
    assert_int_equal(rig_open(rig), 0);
    struct pod_stats stats;
    do {
        assert_true(rig_step(rig));
        pod_stats(rig->pod, &stats);
    } while (stats.dedup_index_loading);
}

static void a_damaged_page_holds_up_no_other_deletion(void **state)
{
    (void)state;
    struct rig rig;
    struct pod_stats before, after;
    begin_with_cold_pages(&rig);
    damage(&rig, entry_page_key(images_find(rig.pod->images, "a")->root));
    pod_stats(rig.pod, &before);
    assert_int_equal(rig_named(&rig, POD_VOLUME_DELETE, "a", NULL, 0), 0);
    assert_int_equal(rig_named(&rig, POD_VOLUME_DELETE, "b", NULL, 0), 0);
    for (int i = 0; i < 5000; i++)
        assert_true(rig_step(&rig));
    pod_stats(rig.pod, &after);
    assert_int_equal(after.releasing, 1);
    assert_int_equal(before.unique_blocks - after.unique_blocks, 200);
    end(&rig);
}

static void a_damaged_page_of_others_keeps_nobody_from_writing(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t data[BLOCK], back[BLOCK];
    begin_with_cold_pages(&rig);
    damage(&rig, meta_page_of(l2p_key(1)));
    fill(data, sizeof data, 0);
    assert_int_equal(rig_write(&rig, "more", 7 * MIB, data, sizeof data), 0);
    assert_int_equal(rig_read(&rig, "more", 7 * MIB, back, sizeof back), 0);
    assert_memory_equal(back, data, sizeof data);
    assert_int_equal(rig_read(&rig, "a", 0, back, sizeof back), PS_EDATALOSS);
    end(&rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_write_and_flush_may_fail),
        cmocka_unit_test(a_checkpoint_with_a_failed_write_is_never_anchored),
        cmocka_unit_test(a_flush_after_a_failure_fails_with_write_cache),
        cmocka_unit_test(unreadable_flash_answers_every_request),
        cmocka_unit_test(a_damaged_page_holds_up_no_other_deletion),
        cmocka_unit_test(a_damaged_page_of_others_keeps_nobody_from_writing),
        cmocka_unit_test(a_failed_opening_leaves_nothing_under_way),
    };
    if (argc > 1)
        first_fault = strtoull(argv[1], NULL, 0);
    if (argc > 2)
        last_fault = strtoull(argv[2], NULL, 0);
    if (argc > 3)
        stride = strtoull(argv[3], NULL, 0);
    if (getenv("PS_TEST_FILTER"))
        cmocka_set_test_filter(getenv("PS_TEST_FILTER"));
    return cmocka_run_group_tests_name("pod_faults", tests, NULL, NULL);
}
