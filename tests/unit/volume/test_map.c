#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "tests/unit/volume/volume_rig.h"

static int setup(void **state)
{
    *state = rig_create();
    return 0;
}

static int teardown(void **state)
{
    rig_destroy(*state);
    return 0;
}

/* Writes `count` new blocks; returns the first one's id. */
static uint64_t write_new(struct rig *rig, struct image *image, uint64_t lba, unsigned count)
{
    uint64_t entries[META_SLOTS];
    (void)rig_plan(rig);
    for (unsigned i = 0; i < count; i += GROUP_BLOCKS)
        rig_new_blocks(rig, count - i < GROUP_BLOCKS ? count - i : GROUP_BLOCKS, false, entries + i);
    rig_put(rig, image, lba, count, entries);
    rig_apply_all(rig);
    return entry_id(entries[0]);
}

static void punch(struct rig *rig, struct image *image, uint64_t lba, unsigned count)
{
    (void)rig_plan(rig);
    rig_punch(rig, image, lba, count);
    rig_apply_all(rig);
}

static uint64_t block_at(struct rig *rig, const struct image *image, uint64_t lba)
{
    const uint64_t entry = rig_entry(rig, image, lba, false);
    return entry_type(entry) == ENTRY_DATA ? entry_id(entry) : 0;
}

static uint64_t pages(struct rig *rig)
{
    struct meta_stats stats;
    uint64_t n = 0;
    for (uint64_t p = 1; p < rig->next_page; p++)
        n += meta_exists(rig->meta, meta_key(META_MAP, p, 0));
    meta_stats(rig->meta, &stats);
    assert_true(n <= stats.pages);
    return n;
}

static void what_is_put_is_found_and_holes_end_where_the_next_page_may_be(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 3);
    const uint64_t *slots = NULL;
    uint64_t hole_end = 0;
    assert_true(map_leaf(rig->view, v->root, 3, 5, false, &slots, &hole_end));
    assert_null(slots);
    assert_int_equal(hole_end, image_span(3));
    const uint64_t lba = 2 * image_span(2) + 3 * 512 + 7;
    const uint64_t block = write_new(rig, v, lba, 2);
    assert_int_equal(block_at(rig, v, lba), block);
    assert_int_equal(block_at(rig, v, lba + 1), block + 1);
    assert_int_equal(block_at(rig, v, lba + 2), 0);
    assert_int_equal(pages(rig), 3);
    assert_true(map_leaf(rig->view, v->root, 3, 5, false, &slots, &hole_end));
    assert_int_equal(hole_end, image_span(2));
    assert_true(map_leaf(rig->view, v->root, 3, 2 * image_span(2) + 5, false, &slots, &hole_end));
    assert_int_equal(hole_end, 2 * image_span(2) + 512);
    assert_int_equal(v->space.n[SPACE_LOGICAL], 2);
    assert_int_equal(rig_check(rig), 2);
}

static void overwriting_gives_back_what_the_image_owns(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 1);
    const uint64_t old = write_new(rig, v, 10, 4);
    const uint64_t new = write_new(rig, v, 11, 1);
    assert_true(rig_is_live(rig, old) && rig_is_live(rig, new) && rig_is_live(rig, old + 2));
    assert_false(rig_is_live(rig, old + 1));
    assert_int_equal(rig->freed, 1);
    assert_int_equal(rig_check(rig), 4);
}

static void overwriting_what_a_snapshot_owns_gives_nothing_back(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    const uint64_t old = write_new(rig, v, 600, 4);
    struct image *s = rig_snapshot(rig, v, "s");
    const uint64_t before = pages(rig);
    const uint64_t new = write_new(rig, v, 601, 1);
    assert_int_equal(pages(rig), before + 2); /* root and leaf were copied */
    assert_int_equal(rig->freed, 0);
    assert_int_equal(block_at(rig, s, 601), old + 1);
    assert_int_equal(block_at(rig, v, 601), new);
    assert_int_equal(block_at(rig, v, 600), old);
    assert_false(entry_owns(rig_entry(rig, v, 600, false)));
    assert_true(entry_owns(rig_entry(rig, v, 601, false)));
    assert_true(entry_owns(rig_entry(rig, s, 600, false)));
    (void)write_new(rig, v, 601, 1); /* its own now */
    assert_int_equal(pages(rig), before + 2);
    assert_int_equal(rig->freed, 1);
    assert_int_equal(rig_check(rig), 5);
}

static void many_snapshots_share_what_did_not_change(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    struct image *snapshots[20];
    uint64_t blocks[21];
    blocks[0] = write_new(rig, v, 0, 512);
    for (unsigned i = 0; i < 20; i++) {
        char name[8] = {(char)('a' + i)};
        snapshots[i] = rig_snapshot(rig, v, name);
        blocks[i + 1] = write_new(rig, v, 512 + i, 1);
    }
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(block_at(rig, snapshots[i], 511), blocks[0] + 511);
        assert_int_equal(block_at(rig, snapshots[i], 512 + i), 0);
        for (unsigned k = 0; k < i; k++)
            assert_int_equal(block_at(rig, snapshots[i], 512 + k), blocks[k + 1]);
    }
    assert_int_equal(pages(rig), 2 + 20 * 2); /* each time a root and the second leaf */
    assert_int_equal(rig_check(rig), 512 + 20);
}

/* The inner page is shared, so its entry of the leaf owns it for the snapshot, not for the volume. */
static void punching_a_whole_leaf_under_a_shared_inner_page_leaves_it_to_the_snapshot(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    const uint64_t block = write_new(rig, v, 512, 512);
    struct image *s = rig_snapshot(rig, v, "s");
    punch(rig, v, 512, 512);
    assert_int_equal(rig->freed, 0);
    assert_int_equal(block_at(rig, v, 600), 0);
    assert_int_equal(block_at(rig, s, 600), block + 88);
    assert_int_equal(rig_check(rig), 512);
}

static void punching_a_whole_leaf_that_is_shared_leaves_it_to_the_snapshot(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    const uint64_t block = write_new(rig, v, 0, 512);
    struct image *s = rig_snapshot(rig, v, "s");
    (void)write_new(rig, v, 512, 1); /* the root is the volume's own now */
    punch(rig, v, 0, 512);
    assert_int_equal(rig->freed, 0);
    assert_int_equal(block_at(rig, v, 0), 0);
    assert_int_equal(block_at(rig, s, 0), block);
    assert_int_equal(rig_check(rig), 513);
}

static void punching_a_whole_leaf_gives_back_its_page_and_what_it_owns(void **state)
{
    struct rig *rig = *state;
    struct image *deep = rig_volume(rig, "deep", 3), *flat = rig_volume(rig, "flat", 1);
    (void)write_new(rig, deep, 1024, 512);
    (void)write_new(rig, deep, 0, 1);
    (void)write_new(rig, flat, 0, 512);
    punch(rig, deep, 1024, 512);
    assert_int_equal(rig->freed, 512);
    assert_int_equal(pages(rig), 4); /* three of deep's, flat's root */
    punch(rig, flat, 0, 512);
    assert_int_equal(rig->freed, 1024);
    assert_int_equal(flat->root, 0);
    assert_int_equal(flat->space.n[SPACE_LOGICAL], 0);
    assert_int_equal(rig_check(rig), 1);
}

static void punching_part_of_a_leaf_keeps_the_rest(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    const uint64_t block = write_new(rig, v, 0, 16);
    struct image *s = rig_snapshot(rig, v, "s");
    punch(rig, v, 4, 8);
    assert_int_equal(rig->freed, 0);
    assert_int_equal(block_at(rig, v, 3), block + 3);
    assert_int_equal(block_at(rig, v, 4), 0);
    assert_int_equal(block_at(rig, v, 11), 0);
    assert_int_equal(block_at(rig, v, 12), block + 12);
    assert_int_equal(block_at(rig, s, 4), block + 4);
    assert_int_equal(v->space.n[SPACE_LOGICAL], 8);
    assert_int_equal(rig_check(rig), 16);
}

static void punching_holes_makes_no_pages(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 3);
    punch(rig, v, 5, 20);
    punch(rig, v, 512, 512);
    assert_int_equal(pages(rig), 0);
    (void)write_new(rig, v, 0, 1);
    struct image *s = rig_snapshot(rig, v, "s");
    const uint64_t root = v->root;
    punch(rig, v, 5, 20); /* a hole in a shared leaf: no copy either */
    punch(rig, v, 512, 512);
    assert_int_equal(v->root, root);
    assert_int_equal(entry_id(v->root), entry_id(s->root));
    assert_int_equal(rig_check(rig), 1);
}

static void a_shared_block_lives_until_its_last_owner_lets_go(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    const uint64_t block = write_new(rig, v, 0, 1);
    for (uint64_t i = 1; i <= 3; i++) {
        (void)rig_plan(rig);
        const uint64_t entry = rig_share(rig, block);
        rig_put(rig, v, i * 600, 1, &entry);
    }
    rig_apply_all(rig);
    assert_int_equal(rig_extra(rig, block), 3);
    assert_int_equal(v->space.n[SPACE_DUPLICATE], 3);
    assert_int_equal(rig_check(rig), 1);
    for (uint64_t i = 0; i <= 3; i++) {
        assert_true(rig_is_live(rig, block));
        punch(rig, v, i * 600, 1);
    }
    assert_false(rig_is_live(rig, block));
    (void)rig_plan(rig);
    assert_int_equal(rig_share(rig, block), 0);
    assert_int_equal(rig_check(rig), 0);
}

static void plans_see_what_earlier_plans_did_and_readers_only_what_is_applied(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    uint64_t first, second;
    (void)rig_plan(rig);
    rig_new_blocks(rig, 1, false, &first);
    rig_put(rig, v, 9, 1, &first);
    (void)rig_plan(rig);
    rig_new_blocks(rig, 1, false, &second);
    rig_put(rig, v, 9, 1, &second); /* frees what the batch before it stores */
    assert_int_equal(rig_entry(rig, v, 9, true), second);
    assert_int_equal(rig_entry(rig, v, 9, false), 0);
    bool missing = false;
    assert_false(block_is_live(rig->view, entry_id(first), &missing));
    assert_false(missing);
    rig_apply_one(rig);
    assert_int_equal(rig_entry(rig, v, 9, false), first);
    assert_int_equal(rig_entry(rig, v, 9, true), second);
    rig_apply_one(rig);
    assert_int_equal(rig_entry(rig, v, 9, false), second);
    assert_int_equal(view_room(rig->view), 8192);
    assert_int_equal(rig_check(rig), 1);
}

static void a_deeper_tree_holds_what_it_held(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 1), *empty = rig_volume(rig, "empty", 1);
    const uint64_t block = write_new(rig, v, 7, 2);
    struct image *s = rig_snapshot(rig, v, "s");
    rig_deepen(rig, v, 3);
    rig_deepen(rig, empty, 4);
    assert_int_equal(empty->root, 0);
    assert_int_equal(empty->depth, 4);
    assert_int_equal(block_at(rig, v, 8), block + 1);
    (void)write_new(rig, v, image_span(2) + 5, 1);
    (void)write_new(rig, v, 7, 1);
    assert_int_equal(block_at(rig, s, 7), block);
    assert_int_equal(rig_check(rig), 4);
}

static void pages_that_are_not_in_memory_are_asked_for_and_nothing_is_changed(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    const struct meta_key *missing;
    const uint64_t block = write_new(rig, v, 600, 1);
    rig_forget(rig);
    view_missing_clear(rig->view);
    assert_false(map_can_put(rig->view, v, 600, 1)); /* the root */
    assert_int_equal(view_missing(rig->view, &missing), 1);
    assert_int_equal(missing[0].v, entry_page_key(v->root).v);
    (void)memory_flash_slots(&rig->flash, rig->meta, missing[0]);
    view_missing_clear(rig->view);
    assert_false(map_can_put(rig->view, v, 600, 1)); /* the leaf */
    assert_int_equal(view_missing(rig->view, &missing), 1);
    (void)memory_flash_slots(&rig->flash, rig->meta, missing[0]);
    view_missing_clear(rig->view);
    /* The owned block's place; its reference page never existed, so it is known to be zero. */
    assert_false(map_can_put(rig->view, v, 600, 1));
    assert_int_equal(view_missing(rig->view, &missing), 1);
    assert_int_equal(missing[0].v, meta_page_of(l2p_key(block_group(block))).v);
    bool unknown = false;
    assert_false(block_is_live(rig->view, block, &unknown));
    assert_true(unknown);
    (void)memory_flash_slots(&rig->flash, rig->meta, missing[0]);
    view_missing_clear(rig->view);
    assert_true(map_can_put(rig->view, v, 600, 1));
    assert_int_equal(view_room(rig->view), 8192);
    assert_int_equal(rig_check(rig), 1);
}

static void entries_say_what_they_hold(void **state)
{
    (void)state;
    const uint64_t data = entry_data(0xfffffffffffff, 64, true), page = entry_page(0x123456789abcd);
    assert_true(entry_type(data) == ENTRY_DATA && entry_owns(data) && entry_share(data) == 64);
    assert_true(entry_id(data) == 0xfffffffffffff && (data & ENTRY_DUPLICATE));
    assert_int_equal(entry_share(entry_data(1, 1, false)), 1);
    assert_true(entry_type(page) == ENTRY_PAGE && entry_owns(page) && entry_id(page) == 0x123456789abcd);
    assert_true(entry_type(entry_pattern(0xffffffff)) == ENTRY_PATTERN && !entry_owns(entry_pattern(0)));
    assert_int_equal(entry_id(entry_pattern(0xffffffff)), 0xffffffff);
    assert_true(entry_same_target(data, data & ~ENTRY_OWN & ~ENTRY_DUPLICATE));
    assert_false(entry_same_target(entry_pattern(7), entry_page(7)));
    /* As in flash: type 63 to 60, own 59, duplicate 58, share 57 to 52, id. */
    assert_int_equal(entry_data(5, 3, true), 0x1c20000000000005);
    assert_int_equal(entry_pattern(0xdeadbeef), 0x20000000deadbeef);
    assert_int_equal(entry_page(6), 0x3800000000000006);
}

static void counts_follow_the_entries(void **state)
{
    (void)state;
    struct space s = {{0}};
    space_count(&s, entry_data(1, 5, false), +1);
    space_count(&s, entry_data(1, 7, true), +1);
    space_count(&s, entry_pattern(0), +1);
    space_count(&s, 0, +1);
    assert_true(s.n[SPACE_LOGICAL] == 3 && s.n[SPACE_PATTERN] == 1 && s.n[SPACE_DUPLICATE] == 1 &&
                s.n[SPACE_STORED_UNITS] == 5);
    space_count(&s, entry_data(1, 5, false), -1);
    assert_true(s.n[SPACE_LOGICAL] == 2 && s.n[SPACE_STORED_UNITS] == 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_put_is_found_and_holes_end_where_the_next_page_may_be),
        TEST(overwriting_gives_back_what_the_image_owns),
        TEST(overwriting_what_a_snapshot_owns_gives_nothing_back),
        TEST(many_snapshots_share_what_did_not_change),
        TEST(punching_a_whole_leaf_under_a_shared_inner_page_leaves_it_to_the_snapshot),
        TEST(punching_a_whole_leaf_that_is_shared_leaves_it_to_the_snapshot),
        TEST(punching_a_whole_leaf_gives_back_its_page_and_what_it_owns),
        TEST(punching_part_of_a_leaf_keeps_the_rest),
        TEST(punching_holes_makes_no_pages),
        TEST(a_shared_block_lives_until_its_last_owner_lets_go),
        TEST(plans_see_what_earlier_plans_did_and_readers_only_what_is_applied),
        TEST(a_deeper_tree_holds_what_it_held),
        TEST(pages_that_are_not_in_memory_are_asked_for_and_nothing_is_changed),
        cmocka_unit_test(entries_say_what_they_hold),
        cmocka_unit_test(counts_follow_the_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
