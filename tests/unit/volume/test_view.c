#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "node/meta/run.h"
#include "node/volume/view.h"
#include "tests/unit/meta/memory_flash.h"

enum {
    SHADOWS = 100
};

struct rig {
    struct memory_flash flash;
    struct meta *meta;
    struct view *view;
    struct run_writer run;
    uint64_t fillers;
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    memory_flash_init(&rig->flash);
    const struct meta_config config = {
        .cache_bytes = 1 << 20, .place_ref = memory_flash_ref, .user = &rig->flash};
    rig->meta = meta_create(&config);
    rig->view = view_create(rig->meta, SHADOWS);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    view_destroy(rig->view);
    meta_destroy(rig->meta);
    memory_flash_free(&rig->flash);
    free(rig);
    return 0;
}

static struct meta_key page_key(uint64_t page)
{
    return meta_key(META_MAP, page, 0);
}

/* Whatever is neither changed nor pinned leaves the memory. */
static void press(struct rig *rig)
{
    for (unsigned i = 0; i < 300; i++)
        meta_set(rig->meta, meta_key(META_REF, 1000 + rig->fillers++, 0), 1);
    meta_shrink(rig->meta);
}

/* Pages 1 to n, in flash. */
static void stored_pages(struct rig *rig, uint64_t n)
{
    struct meta_key keys[SHADOWS];
    for (uint64_t i = 0; i < n; i++) {
        keys[i] = page_key(i + 1);
        meta_set(rig->meta, keys[i], 100 + i + 1);
    }
    run_begin(&rig->run, &rig->flash.sink, 1);
    meta_cut(rig->meta, &rig->run, &rig->flash.sink, keys, n, true, 1);
    run_end(&rig->run);
    memory_flash_flush(&rig->flash);
    meta_cut_done(rig->meta);
}

static void plans_see_their_changes_and_readers_the_applied_state(void **state)
{
    struct rig *rig = *state;
    meta_set(rig->meta, page_key(1), 5);
    view_edit(rig->view, page_key(1), 1)[0] = 6;
    view_edit(rig->view, page_key(1), 2)[1] = 7; /* the same shadow */
    assert_int_equal(view_room(rig->view), SHADOWS - 1);
    assert_int_equal(view_slots(rig->view, page_key(1), false)[0], 5);
    assert_int_equal(view_slots(rig->view, page_key(1), true)[0], 6);
    assert_int_equal(view_slots(rig->view, page_key(1), true)[1], 7);
    meta_set(rig->meta, page_key(1), 6);
    view_applied(rig->view, 1);
    assert_int_equal(view_slots(rig->view, page_key(1), true)[1], 7); /* batch 2 is still to come */
    assert_int_equal(view_room(rig->view), SHADOWS - 1);
    meta_set(rig->meta, meta_key(META_MAP, 1, 1), 7);
    view_applied(rig->view, 2);
    assert_int_equal(view_room(rig->view), SHADOWS);
    assert_int_equal(view_slots(rig->view, page_key(1), true)[1], 7);
}

static void a_new_page_is_zero_whatever_its_shadow_held_before(void **state)
{
    struct rig *rig = *state;
    memset(view_edit_new(rig->view, page_key(1), 1), 0xff, META_SLOTS * sizeof(uint64_t));
    view_applied(rig->view, 1);
    const uint64_t *slots = view_edit_new(rig->view, page_key(2), 2);
    for (unsigned i = 0; i < META_SLOTS; i++)
        assert_int_equal(slots[i], 0);
    assert_int_equal(view_slots(rig->view, page_key(2), false)[0], 0);
}

static void shadows_go_with_the_last_batch_that_touched_them(void **state)
{
    struct rig *rig = *state;
    for (uint64_t seq = 1; seq <= 10; seq++)
        (void)view_edit_new(rig->view, page_key(seq), seq);
    (void)view_edit(rig->view, page_key(1), 11); /* the oldest is touched again */
    view_applied(rig->view, 4);
    assert_int_equal(view_room(rig->view), SHADOWS - 7);
    view_applied(rig->view, 10);
    assert_int_equal(view_room(rig->view), SHADOWS - 1);
    view_applied(rig->view, 11);
    assert_int_equal(view_room(rig->view), SHADOWS);
    for (uint64_t i = 0; i < SHADOWS; i++) /* all can be made again */
        (void)view_edit_new(rig->view, page_key(i + 20), 12);
    assert_int_equal(view_room(rig->view), 0);
}

static void a_page_with_a_shadow_stays_in_memory(void **state)
{
    struct rig *rig = *state;
    stored_pages(rig, 2);
    view_edit(rig->view, page_key(1), 1)[0] = 9;
    press(rig);
    assert_non_null(meta_slots(rig->meta, page_key(1)));
    assert_null(meta_slots(rig->meta, page_key(2)));
    view_applied(rig->view, 1);
    press(rig);
    assert_null(meta_slots(rig->meta, page_key(1)));
}

/* Pinned from when it exists: a batch made it, a later one still has plans with it. */
static void a_page_that_a_batch_makes_is_pinned_once_it_is_there(void **state)
{
    struct rig *rig = *state;
    (void)view_edit_new(rig->view, page_key(1), 1);
    (void)view_edit(rig->view, page_key(1), 2);
    meta_set(rig->meta, page_key(1), 5); /* batch 1 takes effect */
    view_applied(rig->view, 1);
    const struct meta_key key = page_key(1);
    run_begin(&rig->run, &rig->flash.sink, 1);
    meta_cut(rig->meta, &rig->run, &rig->flash.sink, &key, 1, true, 1);
    run_end(&rig->run);
    memory_flash_flush(&rig->flash);
    meta_cut_done(rig->meta);
    press(rig);
    assert_non_null(meta_slots(rig->meta, page_key(1)));
    view_applied(rig->view, 2);
    press(rig);
    assert_null(meta_slots(rig->meta, page_key(1)));
}

static void a_page_that_never_comes_or_goes_early_does_no_harm(void **state)
{
    struct rig *rig = *state;
    meta_set(rig->meta, page_key(1), 5);
    (void)view_edit(rig->view, page_key(1), 1);
    (void)view_edit_new(rig->view, page_key(2), 1); /* made and dropped within the batch */
    (void)view_edit_new(rig->view, page_key(3), 3);
    meta_drop(rig->meta, page_key(1));
    view_applied(rig->view, 1);
    assert_int_equal(view_room(rig->view), SHADOWS - 1);
    view_applied(rig->view, 3);
    assert_int_equal(view_room(rig->view), SHADOWS);
}

static void missing_pages_are_noted_once_and_up_to_a_limit(void **state)
{
    struct rig *rig = *state;
    const struct meta_key *pages;
    stored_pages(rig, VIEW_MISSING_MAX + 5);
    press(rig);
    assert_null(view_slots(rig->view, page_key(7), true));
    assert_null(view_slots(rig->view, page_key(7), false));
    assert_int_equal(view_missing(rig->view, &pages), 1);
    assert_int_equal(pages[0].v, page_key(7).v);
    for (uint64_t i = 1; i <= VIEW_MISSING_MAX + 5; i++)
        assert_null(view_slots(rig->view, page_key(i), true));
    assert_int_equal(view_missing(rig->view, &pages), VIEW_MISSING_MAX);
    view_missing_clear(rig->view);
    assert_int_equal(view_missing(rig->view, &pages), 0);
    assert_int_equal(memory_flash_slots(&rig->flash, rig->meta, page_key(7))[0], 107);
    assert_int_equal(view_slots(rig->view, page_key(7), true)[0], 107);
    assert_int_equal(view_slots(rig->view, page_key(999), true)[0], 0); /* does not exist: zero */
    assert_int_equal(view_missing(rig->view, &pages), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(plans_see_their_changes_and_readers_the_applied_state),
        TEST(a_new_page_is_zero_whatever_its_shadow_held_before),
        TEST(shadows_go_with_the_last_batch_that_touched_them),
        TEST(a_page_with_a_shadow_stays_in_memory),
        TEST(a_page_that_a_batch_makes_is_pinned_once_it_is_there),
        TEST(a_page_that_never_comes_or_goes_early_does_no_harm),
        TEST(missing_pages_are_noted_once_and_up_to_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
