/* The audit sees what is wrong in a pool: each story breaks one thing on purpose, has a checkpoint say so
 * behind right checksums, and names what the audit is to find. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "node/pod/pod_impl.h"
#include "tests/support/pod_rig.h"
#include "tests/support/pool_audit.h"

enum {
    MIB = 1 << 20,
    BLOCK = 4096,
    PATTERNS = 16384, /* blocks: so many changes that pages are merged */
};

static struct rig rig;

static void write_patterns(void)
{
    static uint8_t data[32 * BLOCK];
    assert_int_equal(rig_create_volume(&rig, "w", (uint64_t)PATTERNS * BLOCK), 0);
    for (unsigned lba = 0; lba < PATTERNS; lba += 32) {
        memset(data, (int)(1 + lba / 32 % 250), sizeof data);
        assert_int_equal(rig_write(&rig, "w", (uint64_t)lba * BLOCK, data, sizeof data), 0);
    }
}

static int setup(void **state)
{
    (void)state;
    memset(&rig, 0, sizeof rig);
    rig_create(&rig, 128 * MIB, 7);
    rig.config.metadata_cache_bytes = MIB;
    assert_int_equal(rig_open(&rig), 0);
    assert_int_equal(rig_create_volume(&rig, "v", 16 * MIB), 0);
    rig_write_noise(&rig, "v", 0, 32, 1);
    assert_int_equal(rig_named(&rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
    rig_write_noise(&rig, "v", 8, 8, 2);
    rig_write_noise(&rig, "v", 1000, 32, 1); /* what the snapshot holds, once more */
    write_patterns();
    checkpoint_want(rig.pod);
    rig_settle(&rig);
    rig_audit(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_destroy(&rig);
    return 0;
}

static bool read_mem(void *user, unsigned way, uint64_t offset, void *buf, uint32_t bytes)
{
    (void)user;
    if (way == 0)
        blkdev_mem_peek(rig.mem, offset, buf, bytes, false);
    return way == 0;
}

static bool audit(struct pool_audit_result *out, char why[200])
{
    const struct pool_audit_io io = {read_mem, NULL};
    why[0] = 0;
    return pool_audit(&io, out, why, 200);
}

/* After the next checkpoint the audit says so. */
static void expect(const char *what)
{
    struct pool_audit_result result;
    char why[200];
    rig_close(&rig);
    if (audit(&result, why))
        fail_msg("nothing was found, \"%s\" is wrong", what);
    if (!strstr(why, what))
        fail_msg("\"%s\" was found, not \"%s\"", why, what);
}

static uint64_t value_of(struct meta_key key)
{
    uint64_t value = 0;
    assert_true(meta_get(rig.pod->meta, key, &value));
    return value;
}

/* The MAP slot of an LBA; `level` 1: of the page above it. */
static struct meta_key slot_at(const char *name, uint64_t lba, unsigned level)
{
    const struct image *image = images_find(rig.pod->images, name);
    uint64_t entry = image->root;
    for (unsigned l = image->depth; l > level + 1; l--)
        entry = value_of(meta_key(META_MAP, entry_id(entry), (unsigned)(lba >> 9 * (l - 1)) % META_SLOTS));
    return meta_key(META_MAP, entry_id(entry), (unsigned)(lba >> 9 * level) % META_SLOTS);
}

static uint64_t block_at(const char *name, uint64_t lba)
{
    const uint64_t entry = value_of(slot_at(name, lba, 0));
    assert_int_equal(entry_type(entry), ENTRY_DATA);
    return entry_id(entry);
}

static void add(struct meta_key key, uint64_t what)
{
    meta_set(rig.pod->meta, key, value_of(key) + what);
}

/* ---- references */

static void a_count_that_was_not_given_back(void **state)
{
    (void)state;
    add(meta_key_flat(META_REF, block_at("v", 1000)), 1);
    expect("has 2 owned references, 3 are counted");
}

static void a_reference_that_was_not_counted(void **state)
{
    (void)state;
    add(meta_key_flat(META_REF, block_at("v", 1000)), (uint64_t)-1);
    expect("has 2 owned references, 1 are counted");
}

static void a_count_of_a_block_that_is_dead(void **state)
{
    (void)state;
    meta_set(rig.pod->meta, meta_key_flat(META_REF, 8 * (rig.pod->next_group + 1)), 1);
    expect("is dead and counted");
}

static void a_block_that_outlives_its_references(void **state)
{
    (void)state;
    struct image *image = images_find(rig.pod->images, "v");
    const uint64_t entry = value_of(slot_at("v", 8, 0));
    meta_set(rig.pod->meta, slot_at("v", 8, 0), 0);
    image->space.n[SPACE_LOGICAL]--;
    image->space.n[SPACE_STORED_UNITS] -= entry_share(entry);
    image->changed = true;
    expect("has 0 owned references, 1 are counted");
}

static void a_block_that_died_too_early(void **state)
{
    (void)state;
    const uint64_t block = block_at("v", 1000);
    const struct meta_key key = l2p_key(block_group(block));
    meta_set(rig.pod->meta, key, value_of(key) & ~(1ull << block_slot(block)));
    expect("does not live");
}

/* ---- pages */

static void a_page_that_nobody_owns(void **state)
{
    (void)state;
    meta_set(rig.pod->meta, meta_key(META_MAP, rig.pod->next_page + 1000, 3), 1);
    expect("has no owner");
}

static void a_page_with_two_owners(void **state)
{
    (void)state;
    meta_set(rig.pod->meta, slot_at("v", 2048, 1), value_of(slot_at("v", 1000, 1)));
    expect("has two owners");
}

static void a_page_at_two_levels(void **state)
{
    (void)state;
    const struct image *image = images_find(rig.pod->images, "v");
    meta_set(rig.pod->meta, slot_at("v", 2048, 1), image->root & ~ENTRY_OWN);
    expect("stands at levels");
}

static void a_page_that_does_not_exist(void **state)
{
    (void)state;
    meta_set(rig.pod->meta, slot_at("v", 2048, 1), entry_page(rig.pod->next_page + 5));
    expect("there is no page");
}

static void something_behind_the_end_of_an_image(void **state)
{
    (void)state;
    struct image *image = images_find(rig.pod->images, "v");
    image->size_bytes = 1010 * BLOCK;
    image->changed = true;
    expect("ends at LBA 1010 and has something at 1010");
}

/* ---- space */

static void an_image_that_counts_wrong(void **state)
{
    (void)state;
    struct image *image = images_find(rig.pod->images, "v");
    image->space.n[SPACE_DUPLICATE]++;
    image->changed = true;
    expect("counts 33 of 2, its map has 32");
}

static void a_pod_that_counts_wrong(void **state)
{
    (void)state;
    rig.pod->unique_blocks++;
    expect("40 blocks live, 41 are counted");
}

static void a_segment_that_counts_wrong(void **state)
{
    (void)state;
    const uint64_t v = value_of(l2p_key(block_group(block_at("v", 0))));
    segments_add_live(rig.pod->segments, place_segment(rig.pod, l2p_place(v)), 64);
    expect("are counted");
}

/* Of a leaf of "w". */
static struct place some_base(void)
{
    struct place base = PLACE_NONE;
    for (uint64_t lba = 0; place_is_none(base) && lba < PATTERNS; lba += META_SLOTS)
        base = meta_base(rig.pod->meta, meta_page_of(slot_at("w", lba, 0)));
    assert_false(place_is_none(base));
    return base;
}

static void metadata_that_counts_wrong(void **state)
{
    (void)state;
    const struct place base = some_base();
    segments_add_live(rig.pod->segments, place_segment(rig.pod, base), 1 << 20);
    expect("bytes of metadata");
}

/* ---- places */

static void a_group_whose_record_is_another_ones(void **state)
{
    struct pool_audit_result result;
    char why[200];
    (void)state;
    const struct meta_key a = l2p_key(block_group(block_at("v", 0)));
    const struct meta_key b = l2p_key(block_group(block_at("v", 16)));
    const uint64_t v = value_of(a);
    assert_int_equal(l2p_blocks(v), l2p_blocks(value_of(b)));
    meta_set(rig.pod->meta, a, value_of(b));
    meta_set(rig.pod->meta, b, v);
    rig_close(&rig);
    assert_true(audit(&result, why));
    assert_int_equal(result.bad_records, 2);
    assert_int_equal(result.bad_group, meta_page_number(a) * META_SLOTS + meta_slot_of(a));
}

static void two_groups_at_one_place(void **state)
{
    (void)state;
    const struct meta_key a = l2p_key(block_group(block_at("v", 0)));
    meta_set(rig.pod->meta, a, value_of(l2p_key(block_group(block_at("v", 16)))));
    expect("overlaps");
}

static void a_record_in_a_free_segment(void **state)
{
    (void)state;
    const struct meta_key a = l2p_key(block_group(block_at("v", 0)));
    const uint64_t v = value_of(a);
    uint32_t segment = rig.pod->segment_count - 1;
    while (segments_state(rig.pod->segments, segment) != SEGMENT_FREE)
        segment--;
    meta_set(rig.pod->meta, a,
             l2p_make(place_make(segment_addr(rig.pod, segment), place_len(l2p_place(v))), l2p_blocks(v),
                      l2p_live(v)));
    expect("of state 0");
}

/* ---- bytes */

static void one_bad_copy_of_a_page_is_counted(void **state)
{
    struct pool_audit_result result;
    char why[200];
    (void)state;
    const struct place base = some_base();
    rig_rot(&rig, base, 2);
    assert_true(audit(&result, why));
    assert_int_equal(result.bad_copies, 1);
    rig_rot(&rig, base, 1);
    assert_false(audit(&result, why));
    assert_non_null(strstr(why, "is damaged at"));
    rig_close(&rig);
}

static void a_damaged_run_is_found(void **state)
{
    struct pool_audit_result result;
    char why[200];
    (void)state;
    const struct place chunk = rig.pod->runs[rig.pod->run_count - 1].chunks[0];
    rig_rot(&rig, chunk, 1);
    assert_true(audit(&result, why));
    assert_int_equal(result.bad_copies, 1);
    rig_rot(&rig, chunk, 2);
    assert_false(audit(&result, why));
    assert_non_null(strstr(why, "has no chunk 0"));
    rig_close(&rig);
}

static void a_damaged_record_is_counted(void **state)
{
    struct pool_audit_result result;
    char why[200];
    (void)state;
    const uint64_t block = block_at("v", 20);
    rig_rot(&rig, l2p_place(value_of(l2p_key(block_group(block)))), 1);
    assert_true(audit(&result, why));
    assert_int_equal(result.bad_records, 1);
    assert_int_equal(result.bad_group, block_group(block));
    rig_close(&rig);
}

int main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        STORY(a_count_that_was_not_given_back),
        STORY(a_reference_that_was_not_counted),
        STORY(a_count_of_a_block_that_is_dead),
        STORY(a_block_that_outlives_its_references),
        STORY(a_block_that_died_too_early),
        STORY(a_page_that_nobody_owns),
        STORY(a_page_with_two_owners),
        STORY(a_page_at_two_levels),
        STORY(a_page_that_does_not_exist),
        STORY(something_behind_the_end_of_an_image),
        STORY(an_image_that_counts_wrong),
        STORY(a_pod_that_counts_wrong),
        STORY(a_segment_that_counts_wrong),
        STORY(metadata_that_counts_wrong),
        STORY(a_group_whose_record_is_another_ones),
        STORY(two_groups_at_one_place),
        STORY(a_record_in_a_free_segment),
        STORY(one_bad_copy_of_a_page_is_counted),
        STORY(a_damaged_run_is_found),
        STORY(a_damaged_record_is_counted),
    };
    return cmocka_run_group_tests_name("pool_audit", tests, NULL, NULL);
}
