/* Power cuts while a pool grows, or leaves a part of its device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"
#include "tests/support/size_rig.h"

static int setup_small(void **state)
{
    return size_setup_of(state, SIZE_SMALL);
}

static int setup_large(void **state)
{
    return size_setup_of(state, SIZE_LARGE);
}

/* The log's end is in what leaves; hosts go on. */
static void a_crash_while_the_log_is_led_out_loses_nothing(void **state)
{
    struct size_rig *f = *state;
    for (unsigned steps = 0; steps < 40; steps++) {
        size_begin_hosts(f);
        size_run(f, 1000);
        const uint32_t segment = f->rig.pod->tail.segment;
        assert_int_equal(size_vacate_begin(f, segment, segment + 1), 0);
        while (f->rig.pod->restart.state != RESTART_CHECKPOINT)
            size_run(f, 1);
        size_run(f, steps);
        size_crash(f, steps % 2 ? BLKDEV_MEM_LOSE : BLKDEV_MEM_REORDER);
        size_verify(f);
    }
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

static struct pool_label label_at(struct size_rig *f, uint32_t segment)
{
    static uint8_t block[ANCHOR_BYTES];
    struct pool_label label;
    blkdev_mem_peek(f->rig.mem, (uint64_t)segment * SIZE_SEGMENT, block, sizeof block, true);
    assert_int_equal(label_decode(block, &label, NULL), 0);
    return label;
}

static void segments_are_used_when_both_labels_are_durable(void **state)
{
    struct size_rig *f = *state;
    if (f->rig.area)
        skip();
    size_begin_hosts(f);
    size_run(f, 1000);
    size_show(f, SIZE_LARGE);
    f->ended = false;
    assert_int_equal(pod_grow(f->rig.pod, size_on_end, f, NULL), 0);
    while (f->rig.pod->segment_count == SIZE_SMALL)
        size_run(f, 1);
    assert_int_equal(label_at(f, 0).segment_count, SIZE_LARGE);
    assert_int_equal(label_at(f, 1).segment_count, SIZE_LARGE);
    assert_int_equal(label_at(f, 0).device_bytes, (uint64_t)SIZE_LARGE * SIZE_SEGMENT);
    assert_int_equal(label_at(f, 0).number, f->rig.pod->label.number);
    size_end_hosts(f);
}

/* Until the power fails, after so many completions. False: it ended before. */
static bool until_cut(struct size_rig *f, uint64_t cut)
{
    f->rig.cut_after = f->rig.steps + cut;
    while (!f->ended && rig_step(&f->rig))
        ;
    f->rig.cut_after = 0;
    return f->rig.dead;
}

static void after_cut(struct size_rig *f, enum blkdev_mem_cut mode)
{
    size_crash(f, mode);
    size_adds_up(f, SIZE_LARGE);
    size_verify(f);
    rig_check(&f->rig);
    size_crash(f, mode); /* what an opening leaves is as good */
    size_adds_up(f, SIZE_LARGE);
    size_verify(f);
    size_begin_hosts(f);
    size_run(f, 500);
    size_end_hosts(f);
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

/* Hosts write meanwhile. */
static bool grows_until(uint64_t cut, enum blkdev_mem_cut mode)
{
    struct size_rig *f;
    assert_int_equal(size_setup_of((void **)&f, SIZE_SMALL), 0);
    f->used = 64;
    size_begin_hosts(f);
    size_run(f, 500);
    size_show(f, SIZE_LARGE);
    assert_int_equal(pod_grow(f->rig.pod, size_on_end, f, NULL), 0);
    const bool was_cut = until_cut(f, cut);
    if (was_cut)
        after_cut(f, mode);
    else {
        size_end_hosts(f);
        rig_close(&f->rig);
    }
    (void)size_teardown((void **)&f);
    return was_cut;
}

/* By itself, in an opening that is cut. */
static bool opens_until(uint64_t cut, enum blkdev_mem_cut mode)
{
    struct size_rig *f;
    assert_int_equal(size_setup_of((void **)&f, SIZE_SMALL), 0);
    f->used = 64;
    size_begin_hosts(f);
    size_run(f, 500);
    size_end_hosts(f);
    rig_crash(&f->rig, BLKDEV_MEM_KEEP);
    size_show(f, SIZE_LARGE);
    f->ended = false;
    assert_int_equal(
        pod_open(f->rig.dev, &f->rig.config, POD_OPEN_ONLY, size_on_open, f, &f->rig.error, &f->rig.pod), 0);
    const bool was_cut = until_cut(f, cut);
    if (was_cut)
        after_cut(f, mode);
    else
        rig_close(&f->rig);
    (void)size_teardown((void **)&f);
    return was_cut;
}

static bool leaves_until(uint64_t cut, enum blkdev_mem_cut mode)
{
    struct size_rig *f;
    assert_int_equal(size_setup_of((void **)&f, SIZE_LARGE), 0);
    f->used = 256;
    size_begin_hosts(f);
    size_run(f, 2000);
    assert_int_equal(size_vacate_begin(f, 4, 30), 0);
    const bool was_cut = until_cut(f, cut);
    if (was_cut)
        after_cut(f, mode);
    else {
        size_end_hosts(f);
        rig_close(&f->rig);
    }
    (void)size_teardown((void **)&f);
    return was_cut;
}

static void at_every_cut(bool (*play)(uint64_t cut, enum blkdev_mem_cut mode), uint64_t stride)
{
    uint64_t cut = 1;
    bool more = true;
    for (; more; cut += stride)
        for (int mode = 0; mode < BLKDEV_MEM_CUTS && more; mode++)
            more = play(cut, (enum blkdev_mem_cut)mode);
    print_message("up to completion %llu\n", (unsigned long long)cut);
}

static void every_cut_of_a_growth_leaves_a_sound_pool(void **state)
{
    (void)state;
    at_every_cut(grows_until, 1);
}

static void every_cut_of_an_opening_that_grows_leaves_a_sound_pool(void **state)
{
    (void)state;
    at_every_cut(opens_until, 1);
}

static void open_until(struct size_rig *f, uint32_t segments, uint64_t cut)
{
    size_show(f, segments);
    f->ended = false;
    assert_int_equal(
        pod_open(f->rig.dev, &f->rig.config, POD_OPEN_ONLY, size_on_open, f, &f->rig.error, &f->rig.pod), 0);
    (void)until_cut(f, cut);
    if (f->rig.pod->label_at == 0 && f->ended && f->status)
        fail_msg("%s", f->rig.error.detail);
}

/* One opening that grows is cut, and then the next one, which grows once more. False: the first label is
 * whole after the first cut. */
static bool opens_twice_until(uint64_t first, uint64_t second, bool *was_cut)
{
    struct size_rig *f;
    assert_int_equal(size_setup_of((void **)&f, SIZE_SMALL), 0);
    rig_crash(&f->rig, BLKDEV_MEM_KEEP);
    open_until(f, SIZE_SMALL + 8, first);
    *was_cut = f->rig.dead;
    rig_crash(&f->rig, BLKDEV_MEM_LOSE);
    open_until(f, SIZE_LARGE, second);
    const bool torn = f->rig.pod->label_at == 1;
    rig_crash(&f->rig, BLKDEV_MEM_LOSE);
    if (torn) {
        assert_int_equal(rig_open(&f->rig), 0);
        size_adds_up(f, SIZE_LARGE);
        rig_close(&f->rig);
    }
    (void)size_teardown((void **)&f);
    return torn;
}

static void a_torn_label_is_written_before_the_one_that_is_whole(void **state)
{
    enum {
        LABELS_ARE_READ = 6, /* by so many completions */
        GROWN = 30,
    };
    const char *device = getenv("PS_RIG_DEVICE");
    unsigned torn = 0;
    (void)state;
    if (!device || strcmp(device, "flash") != 0) /* others tear no block */
        skip();
    bool was_cut = true;
    for (uint64_t first = 1; was_cut; first++)
        for (uint64_t second = LABELS_ARE_READ; second < GROWN && opens_twice_until(first, second, &was_cut);
             second++)
            torn++;
    assert_true(torn > 0);
}

static void cuts_of_leaving_leave_a_sound_pool(void **state)
{
    (void)state;
    at_every_cut(leaves_until, 397);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_crash_while_the_log_is_led_out_loses_nothing, setup_large,
                                        size_teardown),
        cmocka_unit_test_setup_teardown(segments_are_used_when_both_labels_are_durable, setup_small,
                                        size_teardown),
        cmocka_unit_test(every_cut_of_a_growth_leaves_a_sound_pool),
        cmocka_unit_test(every_cut_of_an_opening_that_grows_leaves_a_sound_pool),
        cmocka_unit_test(a_torn_label_is_written_before_the_one_that_is_whole),
        cmocka_unit_test(cuts_of_leaving_leave_a_sound_pool),
    };
    cmocka_set_test_filter(getenv("PS_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
