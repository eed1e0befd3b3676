#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "common/endian_codec.h"
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
    return entry_id(rig_entry(rig, image, lba, false));
}

static bool owns_at(struct rig *rig, const struct image *image, uint64_t lba)
{
    return entry_owns(rig_entry(rig, image, lba, false));
}

static uint64_t pages(struct rig *rig)
{
    uint64_t n = 0;
    for (uint64_t p = 1; p < rig->next_page; p++)
        n += meta_exists(rig->meta, meta_key(META_MAP, p, 0));
    return n;
}

/* Deletes and takes apart; returns the number of pieces. */
static unsigned release(struct rig *rig, struct image *image)
{
    const uint64_t id = image->id;
    unsigned pieces = 0;
    rig_delete(rig, image);
    while (images_get(rig->images, id)) {
        (void)rig_plan(rig);
        struct image *next = images_releasable(rig->images);
        assert_non_null(next);
        assert_int_equal(next->id, id);
        assert_true(rig_release_piece(rig));
        (void)rig_check(rig);
        pieces++;
    }
    return pieces;
}

static void an_image_without_child_gives_everything_back(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 3);
    (void)write_new(rig, v, 0, 512);
    (void)write_new(rig, v, 5 * 512, 3);
    (void)write_new(rig, v, image_span(2) * 7 + 511, 1);
    (void)release(rig, v);
    assert_int_equal(rig->freed, 516);
    assert_int_equal(pages(rig), 0);
    assert_int_equal(rig_check(rig), 0);
}

static void an_empty_image_is_gone_at_once(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(release(rig, rig_volume(rig, "deep", 5)), 1);
    assert_int_equal(release(rig, rig_volume(rig, "flat", 1)), 1);
}

static void a_child_with_the_same_root_takes_over_the_whole_tree_in_one_step(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 3);
    const uint64_t block = write_new(rig, v, 0, 512);
    (void)write_new(rig, v, image_span(2), 1);
    struct image *s = rig_snapshot(rig, v, "s");
    const uint64_t before = pages(rig);
    assert_int_equal(release(rig, s), 1);
    assert_int_equal(rig->freed, 0);
    assert_int_equal(pages(rig), before);
    assert_true(entry_owns(v->root) && owns_at(rig, v, 0));
    assert_int_equal(block_at(rig, v, 5), block + 5);
    assert_int_equal(v->parent_id, 0);
    assert_int_equal(rig_check(rig), 513);
}

static void in_a_leaf_that_diverged_what_is_still_referred_to_moves_and_the_rest_is_freed(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 1);
    const uint64_t old = write_new(rig, v, 0, 16);
    struct image *s = rig_snapshot(rig, v, "s");
    const uint64_t new = write_new(rig, v, 4, 2);
    punch(rig, v, 8, 1);
    (void)release(rig, s);
    assert_int_equal(rig->freed, 3); /* 4, 5 and 8 */
    assert_false(rig_is_live(rig, old + 4) || rig_is_live(rig, old + 5) || rig_is_live(rig, old + 8));
    assert_true(owns_at(rig, v, 0) && owns_at(rig, v, 15));
    assert_int_equal(block_at(rig, v, 4), new);
    assert_int_equal(block_at(rig, v, 15), old + 15);
    assert_int_equal(pages(rig), 1);
    assert_int_equal(rig_check(rig), 15);
}

static void under_an_inner_page_that_diverged_equal_leaves_move_whole(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    const uint64_t first = write_new(rig, v, 0, 512), second = write_new(rig, v, 512, 512);
    (void)write_new(rig, v, 1024, 8);
    struct image *s = rig_snapshot(rig, v, "s");
    const uint64_t new = write_new(rig, v, 512, 1); /* copies the root and the second leaf */
    punch(rig, v, 1024, 512);
    const uint64_t before = pages(rig);
    (void)release(rig, s);
    assert_int_equal(rig->freed, 1 + 8);
    assert_int_equal(pages(rig), before - 3); /* the snapshot's root, second and third leaf */
    assert_true(owns_at(rig, v, 0) && owns_at(rig, v, 513));
    assert_int_equal(block_at(rig, v, 0), first);
    assert_int_equal(block_at(rig, v, 512), new);
    assert_int_equal(block_at(rig, v, 513), second + 1);
    assert_int_equal(rig_check(rig), 1024);
}

static void a_deeper_child_takes_over_what_lies_in_its_first_subtree(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 1);
    const uint64_t block = write_new(rig, v, 7, 2);
    struct image *s = rig_snapshot(rig, v, "s"), *w = rig_volume(rig, "w", 2);
    rig_deepen(rig, v, 3);
    (void)write_new(rig, v, image_span(2) + 5, 1);
    (void)write_new(rig, w, 512, 4);
    struct image *t = rig_snapshot(rig, w, "t");
    rig_deepen(rig, w, 4);
    const uint64_t before = pages(rig);
    (void)release(rig, s);
    (void)release(rig, t);
    assert_int_equal(pages(rig), before);
    assert_int_equal(rig->freed, 0);
    assert_true(owns_at(rig, v, 7) && owns_at(rig, w, 513));
    assert_int_equal(block_at(rig, v, 8), block + 1);
    assert_int_equal(rig_check(rig), 7);
}

static void a_deeper_child_that_diverged_takes_over_slot_by_slot(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    const uint64_t block = write_new(rig, v, 600, 4);
    struct image *s = rig_snapshot(rig, v, "s");
    rig_deepen(rig, v, 4);
    (void)write_new(rig, v, 601, 1);
    (void)release(rig, s);
    assert_int_equal(rig->freed, 1);
    assert_false(rig_is_live(rig, block + 1));
    assert_true(owns_at(rig, v, 600) && owns_at(rig, v, 603));
    assert_int_equal(rig_check(rig), 4);
}

static void a_child_with_holes_gets_nothing_there(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 3), *w = rig_volume(rig, "w", 1), *x = rig_volume(rig, "x", 1);
    (void)write_new(rig, v, 0, 512);
    (void)write_new(rig, v, 512, 4);
    (void)write_new(rig, v, image_span(2), 8);
    (void)write_new(rig, w, 0, 3);
    (void)write_new(rig, x, 0, 3);
    struct image *s = rig_snapshot(rig, v, "s"), *t = rig_snapshot(rig, w, "t"),
                 *u = rig_snapshot(rig, x, "u");
    punch(rig, v, 0, 512); /* a leaf is a hole */
    punch(rig, w, 0, 512); /* the whole map is one */
    punch(rig, x, 1, 1);
    rig_deepen(rig, w, 2); /* and grows */
    (void)release(rig, s);
    assert_int_equal(rig->freed, 512);
    (void)release(rig, t);
    assert_int_equal(rig->freed, 512 + 3);
    (void)release(rig, u);
    assert_int_equal(rig->freed, 512 + 4);
    assert_int_equal(rig_check(rig), 4 + 8 + 2);
}

static void what_the_image_does_not_own_stays_with_its_owner(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    const uint64_t old = write_new(rig, v, 0, 8);
    struct image *a = rig_snapshot(rig, v, "a");
    (void)write_new(rig, v, 0, 1);
    struct image *b = rig_snapshot(rig, v, "b"), *c = rig_snapshot(rig, v, "c");
    (void)write_new(rig, v, 1, 1);
    (void)release(rig, c); /* owns nothing: its root is b's */
    assert_int_equal(rig->freed, 0);
    assert_int_equal(v->parent_id, b->id);
    (void)release(rig, b);
    assert_int_equal(rig->freed, 0); /* block 1 of old is a's */
    assert_int_equal(v->parent_id, a->id);
    assert_int_equal(block_at(rig, a, 1), old + 1);
    (void)release(rig, a);
    assert_int_equal(rig->freed, 2);
    assert_true(owns_at(rig, v, 7));
    assert_int_equal(rig_check(rig), 8);
}

static void an_image_with_two_children_waits_until_one_is_left(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    const uint64_t block = write_new(rig, v, 0, 4);
    struct image *s = rig_snapshot(rig, v, "s");
    struct image *c = rig_clone(rig, s, "c");
    (void)write_new(rig, v, 0, 4);
    rig_delete(rig, s);
    assert_null(images_releasable(rig->images));
    assert_int_equal(block_at(rig, c, 3), block + 3);
    rig_delete(rig, v);
    rig_release_all(rig);
    assert_null(images_find(rig->images, "v"));
    assert_int_equal(rig->freed, 4);
    assert_int_equal(c->parent_id, 0);
    assert_true(owns_at(rig, c, 3));
    assert_int_equal(rig_check(rig), 4);
}

static void what_a_restored_volume_leaves_behind_is_given_back(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    const uint64_t old = write_new(rig, v, 0, 4);
    struct image *s = rig_snapshot(rig, v, "s");
    (void)write_new(rig, v, 1, 1);
    struct image *t = rig_snapshot(rig, v, "t");
    (void)write_new(rig, v, 2, 1);
    rig_restore(rig, v, s);
    assert_int_equal(s->children, 2);
    rig_release_all(rig);
    assert_int_equal(rig->freed, 1);
    assert_int_equal(block_at(rig, v, 2), old + 2);
    assert_int_equal(rig_check(rig), 5);
    (void)release(rig, t);
    assert_int_equal(rig->freed, 2);
    (void)release(rig, s);
    assert_int_equal(rig_check(rig), 4);
}

static void a_block_shared_by_deduplication_moves_with_its_counts(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 1);
    const uint64_t block = write_new(rig, v, 0, 1);
    for (uint64_t lba = 1; lba <= 2; lba++) {
        (void)rig_plan(rig);
        const uint64_t entry = rig_share(rig, block);
        rig_put(rig, v, lba, 1, &entry);
    }
    struct image *s = rig_snapshot(rig, v, "s");
    (void)rig_plan(rig);
    const uint64_t entry = rig_share(rig, block);
    rig_put(rig, v, 0, 1, &entry); /* the same block, but its own reference: the snapshot's goes */
    rig_apply_all(rig);
    punch(rig, v, 1, 1);
    assert_int_equal(rig_extra(rig, block), 3);
    (void)release(rig, s);
    assert_int_equal(rig_extra(rig, block), 1);
    assert_int_equal(rig->freed, 0);
    assert_int_equal(rig_check(rig), 1);
}

static void writes_between_the_pieces_lose_nothing(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    for (unsigned leaf = 0; leaf < 12; leaf++)
        (void)write_new(rig, v, leaf * 512, 16);
    struct image *s = rig_snapshot(rig, v, "s");
    (void)write_new(rig, v, 0, 1);
    rig_delete(rig, s);
    for (unsigned i = 0; images_releasable(rig->images); i++) {
        (void)rig_plan(rig);
        assert_true(rig_release_piece(rig));
        rig_apply_all(rig);
        (void)write_new(rig, v, (i % 12) * 512 + 1, 1);      /* behind the cursor, at last */
        (void)write_new(rig, v, (11 - i % 12) * 512 + 2, 1); /* before it, at first */
        (void)rig_check(rig);
    }
    assert_int_equal(rig_check(rig), 12 * 16);
}

/* A checkpoint may be cut, and the batch be lost, between planning a step and applying it. */
static void a_planned_step_does_not_show_in_the_applied_image(void **state)
{
    struct rig *rig = *state;
    uint8_t before[IMAGE_RECORD_MAX], after[IMAGE_RECORD_MAX];
    struct image *v = rig_volume(rig, "v", 2);
    for (unsigned leaf = 0; leaf < 12; leaf++)
        (void)write_new(rig, v, leaf * 512, 16);
    rig_delete(rig, v);
    const size_t n = image_encode(v, v->root, before);
    (void)rig_plan(rig);
    assert_true(rig_release_piece(rig));
    assert_int_equal(image_encode(v, v->root, after), n);
    assert_memory_equal(before, after, n);
    rig_apply_all(rig);
    assert_int_equal(image_encode(v, v->root, after), n);
    assert_int_equal(get_le64(after + 56), 3 * 512);
    rig_release_all(rig);
    assert_int_equal(rig_check(rig), 0);
}

static void neighbours_of_an_image_under_way_wait(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    for (unsigned leaf = 0; leaf < 12; leaf++)
        (void)write_new(rig, v, leaf * 512, 16);
    struct image *a = rig_snapshot(rig, v, "a");
    (void)write_new(rig, v, 0, 1);
    struct image *b = rig_snapshot(rig, v, "b");
    (void)write_new(rig, v, 0, 1);
    const uint64_t a_id = a->id, b_id = b->id;
    rig_delete(rig, b);
    (void)rig_plan(rig);
    assert_true(rig_release_piece(rig)); /* planned is under way */
    rig_delete(rig, a);
    assert_ptr_equal(images_releasable(rig->images), images_get(rig->images, b_id));
    while (images_get(rig->images, b_id)) {
        assert_int_equal(images_releasable(rig->images)->id, b_id);
        (void)rig_plan(rig);
        assert_true(rig_release_piece(rig));
        rig_apply_all(rig);
        (void)rig_check(rig);
    }
    assert_int_equal(images_releasable(rig->images)->id, a_id);
    rig_release_all(rig);
    assert_int_equal(rig_check(rig), 12 * 16);
}

static void pages_that_are_not_in_memory_are_asked_for(void **state)
{
    struct rig *rig = *state;
    struct image *v = rig_volume(rig, "v", 2);
    (void)write_new(rig, v, 600, 4);
    struct image *s = rig_snapshot(rig, v, "s");
    (void)write_new(rig, v, 601, 1);
    rig_delete(rig, s);
    rig_forget(rig);
    view_missing_clear(rig->view);
    assert_false(release_can_step(rig->view, rig->images, s));
    const struct meta_key *missing;
    assert_true(view_missing(rig->view, &missing) > 0);
    rig_forget(rig);
    rig_release_all(rig); /* loads as it goes */
    assert_int_equal(rig_check(rig), 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_image_without_child_gives_everything_back),
        TEST(an_empty_image_is_gone_at_once),
        TEST(a_child_with_the_same_root_takes_over_the_whole_tree_in_one_step),
        TEST(in_a_leaf_that_diverged_what_is_still_referred_to_moves_and_the_rest_is_freed),
        TEST(under_an_inner_page_that_diverged_equal_leaves_move_whole),
        TEST(a_deeper_child_takes_over_what_lies_in_its_first_subtree),
        TEST(a_deeper_child_that_diverged_takes_over_slot_by_slot),
        TEST(a_child_with_holes_gets_nothing_there),
        TEST(what_the_image_does_not_own_stays_with_its_owner),
        TEST(an_image_with_two_children_waits_until_one_is_left),
        TEST(what_a_restored_volume_leaves_behind_is_given_back),
        TEST(a_block_shared_by_deduplication_moves_with_its_counts),
        TEST(writes_between_the_pieces_lose_nothing),
        TEST(a_planned_step_does_not_show_in_the_applied_image),
        TEST(neighbours_of_an_image_under_way_wait),
        TEST(pages_that_are_not_in_memory_are_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
