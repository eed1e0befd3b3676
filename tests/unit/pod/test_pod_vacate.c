/* A pool that leaves a part of its device, while hosts write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/collect.h"
#include "node/pod/pod_impl.h"
#include "tests/support/size_rig.h"

static int setup_large(void **state)
{
    return size_setup_of(state, SIZE_LARGE);
}

static void a_part_of_the_device_is_left_while_hosts_write(void **state)
{
    struct size_rig *f = *state;
    if (f->rig.area) /* of which nothing can be taken away */
        skip();
    size_begin_hosts(f);
    size_run(f, 20000);
    assert_int_equal(size_vacate(f, 8, 40), 0);
    assert_int_equal(pod_vacate_left(f->rig.pod), 0);
    size_adds_up(f, SIZE_LARGE - 32);
    assert_non_null(strstr(f->events, "pool.vacated"));
    assert_false(pod_uses_flash(f->rig.pod, 8ull * SIZE_SEGMENT, 32ull * SIZE_SEGMENT));
    size_take_away(f);
    size_run(f, 10000);
    pod_vacate_stop(f->rig.pod);
    size_run(f, 10000);
    size_end_hosts(f);
    size_adds_up(f, SIZE_LARGE - 32);
    size_verify(f);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    size_crash(f, BLKDEV_MEM_LOSE);
    size_adds_up(f, SIZE_LARGE - 32);
    size_verify(f);
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

static void what_is_absent_comes_back(void **state)
{
    struct size_rig *f = *state;
    if (f->rig.area) /* of which nothing can be taken away */
        skip();
    size_begin_hosts(f);
    size_run(f, 10000);
    assert_int_equal(size_vacate(f, 40, SIZE_LARGE), 0);
    size_take_away(f);
    pod_vacate_stop(f->rig.pod);
    size_run(f, 1000);
    assert_int_equal(size_grow(f), 0);
    size_adds_up(f, 40);
    blkdev_mem_take_away(f->rig.mem, NULL, NULL);
    const uint64_t number = f->rig.pod->label.number;
    assert_int_equal(size_grow(f), 0);
    assert_int_equal(f->rig.pod->label.number, number);
    size_adds_up(f, SIZE_LARGE);
    size_run(f, 20000);
    size_end_hosts(f);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    size_verify(f);
}

static void what_does_not_leave_after_all_is_used_again(void **state)
{
    struct size_rig *f = *state;
    assert_int_equal(size_vacate(f, 40, SIZE_LARGE), 0);
    size_adds_up(f, 40);
    pod_vacate_stop(f->rig.pod);
    size_adds_up(f, SIZE_LARGE);
    assert_int_equal(size_vacate(f, 5, 30), 0);
    pod_vacate_stop(f->rig.pod);
    size_adds_up(f, SIZE_LARGE);
    pod_vacate_stop(f->rig.pod); /* there is none */
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

static void leaving_can_be_stopped(void **state)
{
    struct size_rig *f = *state;
    size_begin_hosts(f);
    size_run(f, 20000);
    assert_int_equal(size_vacate_begin(f, 8, 40), 0);
    assert_int_equal(pod_vacate(f->rig.pod, size_leaves, size_on_end, f, NULL), PS_EPRECONDITION);
    size_run(f, 300);
    assert_false(f->ended);
    assert_true(pod_vacate_left(f->rig.pod) > 0);
    pod_vacate_stop(f->rig.pod);
    assert_false(f->ended);
    assert_int_equal(size_ended(f), PS_ECANCELLED);
    assert_int_equal(pod_vacate_left(f->rig.pod), 0);
    size_adds_up(f, SIZE_LARGE);
    size_run(f, 20000);
    size_end_hosts(f);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    size_verify(f);
}

static void a_crash_forgets_that_something_leaves(void **state)
{
    struct size_rig *f = *state;
    for (int i = 0; i < 8; i++) {
        size_begin_hosts(f);
        size_run(f, 3000);
        assert_int_equal(size_vacate_begin(f, 4, 34), 0);
        size_run(f, 300u << i);
        size_crash(f, (enum blkdev_mem_cut)(i % BLKDEV_MEM_CUTS));
        size_adds_up(f, SIZE_LARGE);
        size_verify(f);
        rig_settle(&f->rig);
        rig_check(&f->rig);
    }
}

static void a_stop_ends_it(void **state)
{
    struct size_rig *f = *state;
    size_begin_hosts(f);
    size_run(f, 20000);
    size_end_hosts(f);
    assert_int_equal(size_vacate_begin(f, 8, 40), 0);
    size_run(f, 100);
    rig_close(&f->rig);
    assert_true(f->ended);
    assert_int_equal(f->status, PS_EUNAVAILABLE);
    assert_int_equal(rig_open(&f->rig), 0);
    size_adds_up(f, SIZE_LARGE);
    size_verify(f);
}

static void what_has_no_room_elsewhere_does_not_leave(void **state)
{
    struct size_rig *f = *state;
    assert_int_equal(size_vacate_begin(f, 2, 10), PS_EINVAL);
    assert_non_null(strstr(f->rig.error.detail, "label and anchors"));
    assert_int_equal(size_vacate_begin(f, 10, SIZE_LARGE), PS_EFULL);
    assert_non_null(strstr(f->rig.error.detail, "would be left"));
    f->used = SIZE_BLOCKS;
    size_begin_hosts(f);
    size_run(f, 60000);
    size_end_hosts(f);
    rig_settle(&f->rig);
    assert_int_equal(size_vacate_begin(f, 28, SIZE_LARGE), PS_EFULL);
    size_adds_up(f, SIZE_LARGE);
}

static struct place place_of(struct size_rig *f, uint32_t *segment)
{
    for (uint64_t group = 1; group < 10000; group++) {
        uint64_t value;
        if (meta_get(f->rig.pod->meta, l2p_key(group), &value) && l2p_live(value)) {
            *segment = place_segment(f->rig.pod, l2p_place(value));
            return l2p_place(value);
        }
    }
    fail_msg("nothing is stored");
    return PLACE_NONE;
}

static void what_cannot_be_read_stays(void **state)
{
    struct size_rig *f = *state;
    uint32_t segment = 0;
    if (f->rig.area) /* whose bits cannot be flipped */
        skip();
    size_begin_hosts(f);
    size_run(f, 20000);
    size_end_hosts(f);
    checkpoint_want(f->rig.pod);
    rig_settle(&f->rig);
    const struct place place = place_of(f, &segment);
    rig_rot(&f->rig, place, 1);
    assert_int_equal(size_vacate(f, segment, segment + 1), PS_EDATALOSS);
    assert_non_null(strstr(f->events, "data in what was to be taken away cannot be read"));
    size_adds_up(f, SIZE_LARGE);
}

static void leaving_gives_way_to_hosts(void **state)
{
    struct size_rig *f = *state;
    uint8_t data[32 * SIZE_BLOCK];
    const uint32_t size = 32 * 1024;
    assert_int_equal(rig_named(&f->rig, POD_VOLUME_RESIZE, "v", NULL, (uint64_t)size * SIZE_BLOCK), 0);
    uint32_t lba = 0;
    for (bool begun = false; !begun || !f->ended; lba += 32) {
        prng_fill(&f->rig.prng, data, sizeof data);
        assert_int_equal(rig_write(&f->rig, "v", (uint64_t)lba * SIZE_BLOCK, data, sizeof data), 0);
        assert_true(lba < size);
        if (!begun && lba >= 32 * 128) { /* as much as can be there */
            assert_int_equal(size_vacate_begin(f, 4, 36), 0);
            begun = true;
        }
    }
    assert_int_equal(f->status, PS_EFULL);
    assert_non_null(strstr(f->events, "pool.vacate_ended"));
    size_adds_up(f, SIZE_LARGE);
    rig_settle(&f->rig);
    rig_check(&f->rig);
}

/* All that is free is what leaves; the rest holds garbage that no checkpoint has freed yet. */
static void garbage_in_the_rest_is_freed_first(void **state)
{
    struct size_rig *f = *state;
    struct pod_stats s;
    static uint8_t data[32 * SIZE_BLOCK];
    const uint32_t blocks = 29 * SIZE_SEGMENT / SIZE_BLOCK;
    assert_int_equal(rig_create_volume(&f->rig, "w", (uint64_t)blocks * SIZE_BLOCK), 0);
    for (uint32_t lba = 0; lba < blocks; lba += 32) {
        prng_fill(&f->rig.prng, data, sizeof data);
        assert_int_equal(rig_write(&f->rig, "w", (uint64_t)lba * SIZE_BLOCK, data, sizeof data), 0);
    }
    assert_int_equal(rig_named(&f->rig, POD_VOLUME_DELETE, "w", NULL, 0), 0);
    for (pod_stats(f->rig.pod, &s); s.stored_bytes > SIZE_SEGMENT; pod_stats(f->rig.pod, &s))
        assert_true(rig_step(&f->rig));
    uint32_t rest = 0;
    for (uint32_t i = SYSTEM_SEGMENTS; i < 36; i++)
        rest += segments_state(f->rig.pod->segments, i) == SEGMENT_FREE;
    assert_in_range(rest, 0, 1);
    size_begin_hosts(f);
    assert_int_equal(size_vacate(f, 36, SIZE_LARGE), 0);
    size_end_hosts(f);
    pod_stats(f->rig.pod, &s);
    assert_false(s.failed);
    size_adds_up(f, 36);
    size_verify(f);
}

/* A checkpoint finds nothing free but what leaves: that ends it, and not the pod. */
static void a_checkpoint_comes_before_what_leaves(void **state)
{
    struct size_rig *f = *state;
    struct pod_stats s;
    size_begin_hosts(f);
    size_run(f, 2000);
    assert_int_equal(size_vacate_begin(f, 4, 28), 0);
    /* As if all of the rest had been taken at once. */
    uint32_t taken[SIZE_LARGE], n = 0;
    while (segments_free(f->rig.pod->segments) > 0)
        taken[n++] = segments_take(f->rig.pod->segments, SEGMENT_LOG);
    checkpoint_want(f->rig.pod);
    for (unsigned i = 0; i < 100000 && !f->ended; i++)
        assert_true(rig_step(&f->rig));
    assert_true(f->ended);
    assert_int_equal(f->status, PS_EFULL);
    while (n > 0)
        segments_untake(f->rig.pod->segments, taken[--n]);
    size_end_hosts(f);
    pod_stats(f->rig.pod, &s);
    assert_false(s.failed);
    size_verify(f);
}

/* Segments that collection is filling. */
static void what_collection_fills_is_left(void **state)
{
    struct size_rig *f = *state;
    uint32_t found = 0;
    f->used = SIZE_BLOCKS;
    size_begin_hosts(f);
    size_run(f, 20000);
    size_end_hosts(f);
    pod_collect(f->rig.pod);
    while (collect_is_asked(f->rig.pod))
        size_run(f, 1);
    for (uint32_t s = SYSTEM_SEGMENTS; s < SIZE_LARGE; s++)
        if (segments_state(f->rig.pod->segments, s) == SEGMENT_WARM && segments_open(f->rig.pod->segments, s))
            found = s;
    assert_true(found > 0 && collect_written(f->rig.pod, found) > 0);
    assert_int_equal(size_vacate(f, found, found + 1), 0);
    size_adds_up(f, SIZE_LARGE - 1);
    rig_settle(&f->rig);
    rig_check(&f->rig);
    size_verify(f);
}

/* The segment where the log goes on next, or where the first run begins. */
static void nothing_leads_an_opening_there(void **state)
{
    struct size_rig *f = *state;
    if (f->rig.area)
        skip();
    size_begin_hosts(f);
    for (int i = 0; i < 20; i++) {
        size_run(f, 2000);
        const struct pod *pod = f->rig.pod;
        const uint32_t log = pod->tail.next != SEGMENT_NONE ? pod->tail.next : pod->tail.segment;
        const uint32_t segment = i % 2 ? log : place_segment(pod, pod->anchor.runs[0].first);
        assert_int_equal(size_vacate(f, segment, segment + 1), 0);
        const struct pod_anchor *a = &pod->anchor;
        assert_true(a->log_segment != segment && a->log_next != segment && pod->tail.segment != segment &&
                    pod->tail.next != segment);
        for (uint32_t r = 0; r < a->run_count; r++)
            assert_int_not_equal(place_segment(pod, a->runs[r].first), segment);
        size_take_away(f);
        size_crash(f, (enum blkdev_mem_cut)(i % BLKDEV_MEM_CUTS));
        size_adds_up(f, SIZE_LARGE - 1);
        size_verify(f);
        blkdev_mem_take_away(f->rig.mem, NULL, NULL);
        assert_int_equal(size_grow(f), 0);
        size_adds_up(f, SIZE_LARGE);
        size_begin_hosts(f);
    }
    size_end_hosts(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_part_of_the_device_is_left_while_hosts_write, setup_large,
                                        size_teardown),
        cmocka_unit_test_setup_teardown(what_is_absent_comes_back, setup_large, size_teardown),
        cmocka_unit_test_setup_teardown(what_does_not_leave_after_all_is_used_again, setup_large,
                                        size_teardown),
        cmocka_unit_test_setup_teardown(leaving_can_be_stopped, setup_large, size_teardown),
        cmocka_unit_test_setup_teardown(a_crash_forgets_that_something_leaves, setup_large, size_teardown),
        cmocka_unit_test_setup_teardown(a_stop_ends_it, setup_large, size_teardown),
        cmocka_unit_test_setup_teardown(what_has_no_room_elsewhere_does_not_leave, setup_large,
                                        size_teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_stays, setup_large, size_teardown),
        cmocka_unit_test_setup_teardown(leaving_gives_way_to_hosts, setup_large, size_teardown),
        cmocka_unit_test_setup_teardown(garbage_in_the_rest_is_freed_first, setup_large, size_teardown),
        cmocka_unit_test_setup_teardown(a_checkpoint_comes_before_what_leaves, setup_large, size_teardown),
        cmocka_unit_test_setup_teardown(what_collection_fills_is_left, setup_large, size_teardown),
        cmocka_unit_test_setup_teardown(nothing_leads_an_opening_there, setup_large, size_teardown),
    };
    cmocka_set_test_filter(getenv("PS_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
