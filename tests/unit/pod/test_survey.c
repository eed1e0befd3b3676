/* The survey of a pod: maps that were broken on purpose are found and named, and what it says of images'
 * space is what comes back when they go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"
#include "tests/support/pod_check.h"
#include "tests/support/pod_rig.h"

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    BLOCK = 4 * KIB,
    LEAVES = 400, /* more than the small cache of metadata holds */
};

static struct rig rig;

struct told {
    struct survey_finding findings[64];
    size_t count;
};
static struct told told;

static void on_finding(void *user, const struct survey_finding *f)
{
    (void)user;
    if (getenv("PS_TEST_VERBOSE"))
        print_message("%s\n", f->text);
    if (told.count < sizeof told.findings / sizeof told.findings[0])
        told.findings[told.count] = *f;
    told.count++;
}

static bool step(void *user)
{
    return rig_step(user);
}

static struct survey *survey_with(uint64_t memory_bytes, const struct survey_lost *lost, size_t lost_count)
{
    const struct survey_config config = {
        .memory_bytes = memory_bytes, .lost = lost, .lost_count = lost_count, .found = on_finding};
    told.count = 0;
    struct survey *survey = pod_check_survey(rig.pod, &config, step, &rig);
    assert_non_null(survey);
    return survey;
}

/* What is found. */
static struct survey_totals look(void)
{
    struct survey_totals totals;
    struct survey *survey = survey_with(64 * MIB, NULL, 0);
    survey_totals(survey, &totals);
    survey_destroy(survey);
    return totals;
}

static const struct survey_finding *finding(enum survey_kind kind)
{
    for (size_t i = 0; i < told.count; i++)
        if (told.findings[i].kind == kind)
            return &told.findings[i];
    fail_msg("nothing of kind %d among %zu findings", kind, told.count);
    return NULL;
}

static bool is_told(enum survey_kind kind, const char *text)
{
    for (size_t i = 0; i < told.count; i++)
        if (told.findings[i].kind == kind && strstr(told.findings[i].text, text))
            return true;
    return false;
}

static int setup(void **state)
{
    (void)state;
    rig_create(&rig, 128 * MIB, 7);
    rig.config.metadata_cache_bytes = MIB;
    assert_int_equal(rig_open(&rig), 0);
    assert_int_equal(rig_create_volume(&rig, "v", 16 * MIB), 0);
    rig_write_noise(&rig, "v", 0, 32, 1);
    assert_int_equal(rig_named(&rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
    rig_write_noise(&rig, "v", 8, 8, 2);
    rig_write_noise(&rig, "v", 1000, 32, 1); /* duplicates of what the snapshot holds */
    rig_settle(&rig);
    assert_int_equal(look().damage, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_crash(&rig, BLKDEV_MEM_KEEP);
    rig_destroy(&rig);
    return 0;
}

/* The block at this LBA. */
static uint64_t block_at(const char *name, uint64_t lba)
{
    const struct image *image = images_find(rig.pod->images, name);
    const uint64_t *slots;
    uint64_t end;
    assert_true(map_leaf(rig.pod->view, image->root, image->depth, lba, false, &slots, &end));
    assert_non_null(slots);
    assert_int_equal(entry_type(slots[lba % META_SLOTS]), ENTRY_DATA);
    return entry_id(slots[lba % META_SLOTS]);
}

static uint64_t value_of(struct meta_key key)
{
    uint64_t value = 0;
    assert_true(meta_get(rig.pod->meta, key, &value));
    return value;
}

static void a_block_that_lost_its_life_is_found_with_all_who_have_it(void **state)
{
    (void)state;
    const uint64_t block = block_at("v@s", 20);
    const struct meta_key key = l2p_key(block_group(block));
    meta_set(rig.pod->meta, key, value_of(key) & ~(1ull << block_slot(block)));
    const struct survey_totals t = look();
    assert_true(t.findings[SURVEY_DEAD] >= 1);
    assert_true(t.findings[SURVEY_SEGMENT] == 1 && t.findings[SURVEY_SPACE] == 1);
    assert_int_equal(finding(SURVEY_DEAD)->subject, block);
    /* The snapshot's, the volume's that has it from there, and its duplicate. */
    assert_true(is_told(SURVEY_AT, "is at LBA 20 of v@s"));
    assert_true(is_told(SURVEY_AT, "is at LBA 20 of v"));
    assert_true(is_told(SURVEY_AT, "is at LBA 1020 of v"));
    assert_int_equal(t.findings[SURVEY_AT], 3);
}

static void a_count_that_dropped_is_found(void **state)
{
    (void)state;
    const uint64_t block = block_at("v@s", 5);
    const struct meta_key key = meta_key_flat(META_REF, block);
    assert_int_equal(value_of(key), 1);
    meta_set(rig.pod->meta, key, 0);
    const struct survey_totals t = look();
    assert_int_equal(t.damage, 1);
    assert_int_equal(finding(SURVEY_REFERENCES)->subject, block);
    assert_non_null(strstr(finding(SURVEY_REFERENCES)->text, "1 owned reference more"));
    assert_true(is_told(SURVEY_AT, "is at LBA 1005 of v"));

    meta_set(rig.pod->meta, key, 4);
    assert_int_equal(look().damage, 1);
    assert_non_null(strstr(finding(SURVEY_REFERENCES)->text, "3 owned references less"));
}

static void what_lives_without_a_reference_is_a_leak(void **state)
{
    (void)state;
    const uint64_t block = block_at("v", 8);
    const struct image *image = images_find(rig.pod->images, "v");
    uint64_t entry = image->root;
    for (unsigned level = image->depth; level > 1; level--) {
        assert_true(entry_owns(entry));
        entry = view_slots(rig.pod->view, entry_page_key(entry), false)[0];
    }
    meta_set(rig.pod->meta, (struct meta_key){entry_page_key(entry).v | 8}, 0);
    const struct survey_totals t = look();
    assert_int_equal(finding(SURVEY_LEAK)->subject, block);
    assert_true(is_told(SURVEY_SPACE, "v: its map holds"));
    assert_int_equal(t.leaked.blocks, 1);
    assert_true(t.leaked.stored_bytes > 0);
}

static void counts_of_a_dead_block_are_found(void **state)
{
    (void)state;
    const uint64_t block = 1ull << 30;
    meta_set(rig.pod->meta, meta_key_flat(META_REF, block), 2);
    assert_int_equal(look().damage, 1);
    assert_int_equal(finding(SURVEY_REFERENCES)->subject, block);
}

static void a_page_that_nobody_has_is_found(void **state)
{
    (void)state;
    meta_set(rig.pod->meta, meta_key(META_MAP, 777777, 3), entry_pattern(1));
    assert_int_equal(look().damage, 1);
    assert_int_equal(finding(SURVEY_OWNERS)->subject, 777777);
}

static void a_page_with_two_owners_is_found(void **state)
{
    (void)state;
    struct image *image = images_find(rig.pod->images, "v@s");
    struct image *volume = images_find(rig.pod->images, "v");
    const uint64_t root = volume->root;
    volume->root = image->root; /* which owns */
    assert_true(look().findings[SURVEY_OWNERS] >= 1);
    assert_true(is_told(SURVEY_AT, "of v@s"));
    assert_true(is_told(SURVEY_AT, "of v"));
    volume->root = root;
}

static void a_map_that_turns_in_circles_ends(void **state)
{
    (void)state;
    const struct image *image = images_find(rig.pod->images, "v");
    const uint64_t page = entry_page_key(image->root).v;
    assert_true(image->depth >= 2);
    for (unsigned i = 2; i < 5; i++)
        meta_set(rig.pod->meta, (struct meta_key){page | i}, image->root);
    meta_set(rig.pod->meta, (struct meta_key){page | 5}, (uint64_t)ENTRY_PATTERN << 60);
    (void)look();
    assert_true(is_told(SURVEY_ENTRY, "and elsewhere"));
    assert_true(is_told(SURVEY_ENTRY, "impossible entry"));
}

static void what_lies_in_a_free_segment_is_found(void **state)
{
    (void)state;
    const uint64_t block = block_at("v", 8);
    const struct meta_key key = l2p_key(block_group(block));
    const uint64_t v = value_of(key);
    uint32_t segment = SYSTEM_SEGMENTS;
    while (segments_state(rig.pod->segments, segment) != SEGMENT_FREE ||
           segments_open(rig.pod->segments, segment))
        segment++;
    const struct place place = place_make(segment_addr(rig.pod, segment), place_len(l2p_place(v)));
    meta_set(rig.pod->meta, key, l2p_make(place, l2p_blocks(v), l2p_live(v)));
    (void)look();
    assert_int_equal(finding(SURVEY_MISPLACED)->subject, block_group(block));
    assert_true(is_told(SURVEY_AT, "is at LBA 8 to 15 of v"));
    meta_set(rig.pod->meta, key, l2p_make(place_make(1ull << 40, 64), 1, 1));
    (void)look();
    assert_non_null(strstr(finding(SURVEY_MISPLACED)->text, "in no segment"));
}

static void wrong_counts_of_an_image_are_found(void **state)
{
    (void)state;
    images_find(rig.pod->images, "v@s")->space.n[SPACE_PATTERN]++;
    assert_int_equal(look().damage, 1);
    assert_string_equal(finding(SURVEY_SPACE)->text,
                        "v@s: its map holds 0 blocks of patterns, 1 are counted");
}

/* Pages that no checkpoint needs leave a small cache when others are read. */
static void read_far_and_wide(void)
{
    uint8_t block[BLOCK];
    for (uint64_t i = 0; i < LEAVES; i++)
        assert_int_equal(rig_read(&rig, "w", i * 2 * MIB, block, sizeof block), 0);
}

/* Flips a bit of the record of a page that is not in memory. */
static void rot(struct meta_key page)
{
    read_far_and_wide();
    const struct place place = meta_load_place(rig.pod->meta, page);
    assert_false(place_is_none(place));
    rig_rot(&rig, place, 3);
}

static void write_all_pages(void)
{
    /* Enough changes in one leaf, and in an L2P page of its own, that a checkpoint writes them anew. */
    rig.pod->next_group = 1 << 20;
    for (unsigned i = 0; i < 64; i++)
        rig_write_noise(&rig, "v", 32ull * i % META_SLOTS, 32, 100 + i);
    assert_int_equal(rig_named(&rig, POD_SNAPSHOT_CREATE, "v@t", NULL, 0), 0);
    assert_int_equal(rig_create_volume(&rig, "w", (uint64_t)LEAVES * 2 * MIB), 0);
    for (uint64_t i = 0; i < LEAVES; i++)
        rig_write_noise(&rig, "w", i * META_SLOTS, 1, 1);
    checkpoint_want(rig.pod);
    rig_settle(&rig);
}

static void a_rotten_page_of_a_map_is_named_by_all_who_need_it(void **state)
{
    (void)state;
    write_all_pages();
    const struct image *image = images_find(rig.pod->images, "v");
    uint64_t entry = image->root;
    for (unsigned level = image->depth; level > 1; level--)
        entry = view_slots(rig.pod->view, entry_page_key(entry), false)[0];
    rot(entry_page_key(entry));
    const struct survey_totals t = look();
    assert_int_equal(finding(SURVEY_PAGE)->subject, entry_id(entry));
    assert_true(is_told(SURVEY_PAGE, "LBA 0 to 511"));
    assert_true(is_told(SURVEY_AT, "is at LBA 0 to 511 of v"));
    assert_true(is_told(SURVEY_AT, "is at LBA 0 to 511 of v@t"));
    /* What it refers to is not taken for leaked, nor for uncounted. */
    assert_int_equal(t.findings[SURVEY_LEAK] + t.findings[SURVEY_REFERENCES] + t.findings[SURVEY_OWNERS], 0);
}

static void a_rotten_page_of_l2p_says_which_lbas_need_it(void **state)
{
    (void)state;
    write_all_pages();
    const uint64_t block = block_at("v", 0);
    rot(meta_page_of(l2p_key(block_group(block))));
    (void)look();
    assert_true(is_told(SURVEY_PAGE, "of L2P, which says where groups"));
    assert_true(is_told(SURVEY_PAGE, "v@t: LBA 0 to 511 can't be found"));
    for (size_t i = 0; i < told.count; i++)
        assert_int_equal(told.findings[i].kind, SURVEY_PAGE);
}

static void a_lost_group_is_located_without_a_comparison(void **state)
{
    (void)state;
    const struct survey_lost lost = {block_group(block_at("v", 9)), 0xff};
    const struct survey_config config = {
        .locate_only = true, .memory_bytes = MIB, .lost = &lost, .lost_count = 1, .found = on_finding};
    told.count = 0;
    struct survey *survey = pod_check_survey(rig.pod, &config, step, &rig);
    survey_destroy(survey);
    assert_int_equal(told.count, 1);
    assert_true(told.findings[0].lba == 8 && told.findings[0].count == 8);
    assert_int_equal(told.findings[0].image, images_find(rig.pod->images, "v")->id);
}

/* ---- space */

struct spaces {
    struct survey_space at[64];
    size_t count;
};

static void on_space(void *user, const struct survey_space *space)
{
    struct spaces *all = user;
    assert_true(all->count < 64);
    all->at[all->count++] = *space;
}

static struct spaces spaces_of(struct survey_totals *totals)
{
    struct spaces all = {.count = 0};
    struct survey *survey = survey_with(SURVEY_MEMORY_MIN, NULL, 0);
    survey_totals(survey, totals);
    survey_each_space(survey, on_space, &all);
    survey_destroy(survey);
    assert_int_equal(totals->damage, 0);
    return all;
}

static struct survey_space space_named(const struct spaces *all, const char *name)
{
    const struct image *image = images_find(rig.pod->images, name);
    for (size_t i = 0; i < all->count; i++)
        if (all->at[i].image == image->id)
            return all->at[i];
    fail();
    return (struct survey_space){0};
}

static void space_is_shared_out_as_it_is_held(void **state)
{
    (void)state;
    struct survey_totals t;
    struct spaces all = spaces_of(&t);
    /* The snapshot holds what the volume has overwritten, at its place, but has once more elsewhere. */
    assert_int_equal(space_named(&all, "v@s").referenced.blocks, 32);
    assert_int_equal(space_named(&all, "v@s").exclusive.blocks, 0);
    assert_int_equal(space_named(&all, "v").referenced.blocks, 64);
    assert_int_equal(space_named(&all, "v").exclusive.blocks, 8);
    assert_int_equal(t.shared.blocks, 32);
    rig_write_noise(&rig, "v", 1000, 32, 3);
    all = spaces_of(&t);
    assert_int_equal(space_named(&all, "v@s").exclusive.blocks, 8);
    assert_int_equal(space_named(&all, "v@s").reclaimable.blocks, 8);
    assert_int_equal(space_named(&all, "v").exclusive.blocks, 40);
    assert_int_equal(t.shared.blocks, 24);
}

static void a_clone_keeps_what_its_snapshot_held(void **state)
{
    (void)state;
    struct survey_totals t;
    rig_write_noise(&rig, "v", 1000, 32, 3);
    assert_int_equal(rig_named(&rig, POD_CLONE_CREATE, "v@s", "c", 0), 0);
    rig_write_noise(&rig, "v", 0, 32, 4);
    struct spaces all = spaces_of(&t);
    assert_int_equal(space_named(&all, "v@s").reclaimable.blocks, 0);
    rig_write_noise(&rig, "c", 0, 32, 5);
    all = spaces_of(&t);
    /* Nobody else has its blocks, but two were derived from it. */
    assert_int_equal(space_named(&all, "v@s").exclusive.blocks, 32);
    assert_int_equal(space_named(&all, "v@s").reclaimable.blocks, 0);
    assert_int_equal(rig_named(&rig, POD_SNAPSHOT_DELETE, "v@s", NULL, 0), 0);
    rig_settle(&rig);
    all = spaces_of(&t);
    assert_int_equal(t.hidden.blocks, 32);
    assert_int_equal(rig_named(&rig, POD_VOLUME_DELETE, "c", NULL, 0), 0);
    rig_settle(&rig);
    all = spaces_of(&t);
    assert_int_equal(t.hidden.blocks, 0);
}

static void a_name(char *buf, size_t size, unsigned i)
{
    (void)snprintf(buf, size, i % 2 ? "c%u" : "v%u", i);
}

/* A step of a random world; names are tried, whether they exist or not. */
static void change(struct prng *p)
{
    char name[16], snapshot[40], new_name[16];
    a_name(name, sizeof name, (unsigned)prng_below(p, 4));
    a_name(new_name, sizeof new_name, (unsigned)prng_below(p, 4));
    (void)snprintf(snapshot, sizeof snapshot, "%s@s%u", name, (unsigned)prng_below(p, 4));
    switch (prng_below(p, 12)) {
    case 0:
        (void)rig_create_volume(&rig, name, 4 * MIB);
        break;
    case 1:
    case 2:
        (void)rig_named(&rig, POD_SNAPSHOT_CREATE, snapshot, NULL, 0);
        break;
    case 3:
        (void)rig_named(&rig, POD_CLONE_CREATE, snapshot, new_name, 0);
        break;
    case 4:
        (void)rig_named(&rig, POD_SNAPSHOT_RESTORE, snapshot, NULL, 0);
        break;
    case 5:
        (void)rig_named(&rig, POD_SNAPSHOT_DELETE, snapshot, NULL, 0);
        break;
    case 6:
        (void)rig_range(&rig, POD_TRIM, name, prng_below(p, 1000) * BLOCK, 24 * BLOCK);
        break;
    default:
        if (images_find(rig.pod->images, name))
            rig_write_noise(&rig, name, prng_below(p, 990), 1 + (unsigned)prng_below(p, 32),
                            prng_below(p, 40));
        break;
    }
}

static void what_deleting_a_snapshot_gives_back_was_said_to_the_byte(void **state)
{
    (void)state;
    struct survey_totals t;
    unsigned deleted = 0;
    uint64_t given_back = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct prng p;
        prng_seed(&p, seed);
        for (int round = 0; round < 4; round++) {
            for (int i = 0; i < 40; i++)
                change(&p);
            rig_settle(&rig);
            rig_check(&rig);
            const struct spaces all = spaces_of(&t);
            for (size_t i = 0; i < all.count; i++) {
                const struct image *image = images_get(rig.pod->images, all.at[i].image);
                struct pod_stats before, after;
                struct pod_manage req = {.op = POD_SNAPSHOT_DELETE};
                if (!image || image->kind != IMAGE_SNAPSHOT || image->deleted)
                    continue;
                (void)snprintf(req.name, sizeof req.name, "%s", image->full_name);
                pod_stats(rig.pod, &before);
                assert_int_equal(rig_manage(&rig, &req), 0);
                rig_settle(&rig);
                pod_stats(rig.pod, &after);
                if (before.stored_bytes - after.stored_bytes != all.at[i].reclaimable.stored_bytes ||
                    before.unique_blocks - after.unique_blocks != all.at[i].reclaimable.blocks)
                    fail_msg("seed %u: deleting %s gave back %u bytes in %u blocks, not %u in %u",
                             (unsigned)seed, req.name, (unsigned)(before.stored_bytes - after.stored_bytes),
                             (unsigned)(before.unique_blocks - after.unique_blocks),
                             (unsigned)all.at[i].reclaimable.stored_bytes,
                             (unsigned)all.at[i].reclaimable.blocks);
                deleted++;
                given_back += all.at[i].reclaimable.blocks;
                break; /* what was said of the others is out of date */
            }
        }
    }
    print_message("%u snapshots deleted, %u blocks came back\n", deleted, (unsigned)given_back);
    assert_true(deleted > 12 && given_back > 0);
}

/* Pages that snapshots share are not gone into again, but those among them that are not shared are. */
static void what_stands_among_shared_pages_is_found(void **state)
{
    (void)state;
    assert_int_equal(rig_create_volume(&rig, "w", 200ull * META_SLOTS * BLOCK), 0);
    for (uint64_t i = 0; i < 200; i++)
        rig_write_noise(&rig, "w", i * META_SLOTS, 1, 700 + i);
    for (unsigned i = 0; i < 4; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "w@%u", i);
        assert_int_equal(rig_named(&rig, POD_SNAPSHOT_CREATE, name, NULL, 0), 0);
        rig_write_noise(&rig, "w", (150 + 10ull * i) * META_SLOTS, 1, 900 + i);
    }
    rig_settle(&rig);
    assert_int_equal(look().damage, 0);
    const uint64_t block = block_at("w", 180ull * META_SLOTS);
    meta_set(rig.pod->meta, meta_key_flat(META_REF, block), 1);
    assert_int_equal(look().damage, 1);
    const struct survey_finding *f = finding(SURVEY_AT);
    assert_true(f->lba == 180ull * META_SLOTS && f->image == images_find(rig.pod->images, "w")->id);
    assert_int_equal(told.count, 2);
}

static void many_passes_find_what_one_does(void **state)
{
    (void)state;
    /* More L2P pages than a pass has room for: a range of ids that begins far away, as a new primary's does.
     */
    for (unsigned i = 0; i < 60; i++) {
        rig.pod->next_group += 4096;
        rig_write_noise(&rig, "v", 16 * i, 16, 1000 + i);
    }
    assert_int_equal(rig_named(&rig, POD_SNAPSHOT_CREATE, "v@t", NULL, 0), 0);
    rig_settle(&rig);
    struct survey_totals one, many;
    struct survey *survey = survey_with(64 * MIB, NULL, 0);
    struct spaces a = {.count = 0}, b = {.count = 0};
    survey_totals(survey, &one);
    survey_each_space(survey, on_space, &a);
    survey_destroy(survey);
    survey = survey_with(SURVEY_MEMORY_MIN, NULL, 0);
    survey_totals(survey, &many);
    survey_each_space(survey, on_space, &b);
    survey_destroy(survey);
    assert_int_equal(one.passes, 1);
    assert_true(many.passes >= 2);
    assert_int_equal(many.damage, 0);
    assert_memory_equal(&one.stored, &many.stored, sizeof one.stored);
    assert_memory_equal(&one.shared, &many.shared, sizeof one.shared);
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.at, b.at, a.count * sizeof a.at[0]);
    /* One that the last pass has. */
    const uint64_t block = block_at("v", 16 * 59);
    meta_set(rig.pod->meta, meta_key_flat(META_REF, block), 1);
    survey = survey_with(SURVEY_MEMORY_MIN, NULL, 0);
    survey_totals(survey, &many);
    survey_destroy(survey);
    assert_int_equal(many.damage, 1);
    assert_int_equal(finding(SURVEY_REFERENCES)->subject, block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_block_that_lost_its_life_is_found_with_all_who_have_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_count_that_dropped_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(what_lives_without_a_reference_is_a_leak, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_of_a_dead_block_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_page_that_nobody_has_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_page_with_two_owners_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_map_that_turns_in_circles_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(what_lies_in_a_free_segment_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_counts_of_an_image_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_rotten_page_of_a_map_is_named_by_all_who_need_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_rotten_page_of_l2p_says_which_lbas_need_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_group_is_located_without_a_comparison, setup, teardown),
        cmocka_unit_test_setup_teardown(space_is_shared_out_as_it_is_held, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clone_keeps_what_its_snapshot_held, setup, teardown),
        cmocka_unit_test_setup_teardown(what_deleting_a_snapshot_gives_back_was_said_to_the_byte, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_stands_among_shared_pages_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(many_passes_find_what_one_does, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
