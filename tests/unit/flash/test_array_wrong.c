/* Arrays that are looked at without a write, and members that give what is wrong without an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node/meta/checksum.h"
#include "tests/unit/flash/array_rig.h"

enum {
    SIX = 0x3f
};

static struct array_rig *create(unsigned members, unsigned parity)
{
    static struct array_rig rig;
    rig_create(&rig, 11, members, parity);
    assert_int_equal(rig_open(&rig, (1u << members) - 1, 0), 0);
    return &rig;
}

static void write_some(struct array_rig *rig, uint32_t segment, uint32_t blocks, uint32_t step, bool fua)
{
    assert_true(rig_erase(rig, segment));
    rig_drain(rig);
    while (rig->segment[segment].fill < blocks) {
        assert_true(rig_append(rig, segment, step, fua));
        rig_drain(rig);
    }
}

static uint64_t digest_of_devices(const struct array_rig *rig, unsigned count)
{
    uint8_t *all = malloc(rig->device_bytes);
    uint64_t digest = 0;
    assert_non_null(all);
    for (unsigned i = 0; i < count; i++) {
        blkdev_mem_peek(rig->mem[i], 0, all, rig->device_bytes, false);
        digest = prng_mix(digest ^ checksum_bytes(all, rig->device_bytes));
    }
    free(all);
    return digest;
}

/* As an opening would find it, with rows begun, after a power cut, without two devices, one of them being
 * rebuilt: all that was answered, and no device is touched. */
static void an_array_is_looked_at_without_a_write(void **state)
{
    (void)state;
    static struct array_rig slow, *const rig = &slow;
    struct array_info info;
    rig_create(rig, 11, 6, 2);
    rig->rebuild_rate = 1;
    assert_int_equal(rig_open(rig, SIX, 0), 0);
    write_some(rig, 0, RIG_BLOCKS, 9, false);
    write_some(rig, 1, 50, 3, true);
    assert_int_equal(rig_detach(rig, 2), 0);
    assert_int_equal(rig_attach(rig, 6), 0);
    assert_true(rig_flush(rig));
    rig_drain(rig);
    for (uint32_t i = 0; i < 40; i++) /* many are on their way */
        (void)rig_append(rig, 1, 1 + i % 3, i % 2);
    for (uint32_t i = 0; i < 60; i++)
        (void)rig_step(rig);
    rig_cut(rig, BLKDEV_MEM_REORDER);
    const uint64_t before = digest_of_devices(rig, RIG_DEVICES);
    rig->look_only = true;
    rig->rebuild_rate = 0;                             /* at once, if it were */
    assert_int_equal(rig_open(rig, 0x7f & ~1u, 1), 0); /* all that are left, without 0 */
    array_look(rig->array, &info);
    assert_int_equal(info.lost, 2);
    assert_true(info.unsettled > 0);
    rig_verify(rig);
    const uint64_t seen = rig_digest(rig);
    rig_rebuild(rig);
    array_look(rig->array, &info);
    assert_int_equal(info.lost, 2);
    rig_close(rig);
    assert_int_equal(digest_of_devices(rig, RIG_DEVICES), before);
    /* What it saw is what the next opening finds. */
    rig->look_only = false;
    assert_int_equal(rig_open(rig, 0x7f & ~1u, 1), 0);
    assert_int_equal(rig_digest(rig), seen);
    rig_close(rig);
    /* And none is made to be looked at. */
    for (unsigned i = 0; i < 3; i++)
        rig_blank(rig, i);
    rig->look_only = true;
    assert_int_equal(rig_open(rig, 7, 0), PS_ENOTFOUND);
    rig_destroy(rig);
}

/* The member on which the block lies in the segment's row, and where. */
static unsigned find_block(const struct array_rig *rig, uint32_t segment, uint32_t block, uint64_t *at)
{
    uint8_t want[RIG_BLOCK], got[RIG_BLOCK];
    rig_fill(rig, segment, rig->segment[segment].life, block, want);
    for (unsigned i = 0; i < RIG_DEVICES; i++)
        for (*at = ARRAY_HEADER_BYTES; *at < rig->device_bytes; *at += RIG_BLOCK) {
            blkdev_mem_peek(rig->mem[i], *at, got, sizeof got, false);
            if (memcmp(got, want, sizeof got) == 0)
                return i;
        }
    fail_msg("block %u of segment %u is nowhere", block, segment);
    return 0;
}

static unsigned rot(struct array_rig *rig, uint32_t segment, uint32_t block)
{
    uint8_t noise[RIG_BLOCK];
    uint64_t at;
    const unsigned member = find_block(rig, segment, block, &at);
    memset(noise, 0x5a, sizeof noise);
    blkdev_mem_poke(rig->mem[member], at, noise, sizeof noise);
    return member;
}

static bool is_right_in_some_way(struct array_rig *rig, uint32_t segment, uint32_t block)
{
    static _Alignas(BLKDEV_ALIGN) uint8_t got[RIG_BLOCK];
    uint8_t want[RIG_BLOCK];
    rig_fill(rig, segment, rig->segment[segment].life, block, want);
    for (uint32_t way = 0; way <= rig->whole->geometry.ways; way++)
        if (rig_read_way(rig, segment, block, way, got) == 0 && memcmp(got, want, sizeof got) == 0)
            return true;
    return false;
}

/* A rebuild can't know that a source is wrong. What it makes of it is wrong as well, and with two of parity
 * all is there still in the way that does without both; with one there is nothing left to make it from. */
static void a_rebuild_from_a_wrong_device_leaves_a_right_way_if_there_is_one(void **state)
{
    (void)state;
    for (unsigned parity = 1; parity <= 2; parity++) {
        struct array_rig *rig = create(4 + parity, parity);
        write_some(rig, 0, RIG_BLOCKS, 16, true);
        assert_true(rig_flush(rig));
        rig_drain(rig);
        uint64_t at;
        const unsigned old = find_block(rig, 0, 4, &at);
        const unsigned wrong = rot(rig, 0, 5);
        assert_int_not_equal(old, wrong);
        assert_int_equal(rig_detach(rig, old), 0);
        assert_int_equal(rig_attach(rig, 8), 0);
        rig_rebuild(rig);
        assert_int_equal(rig_lost(rig), 0);
        assert_true(is_right_in_some_way(rig, 0, 4) == (parity == 2));
        assert_true(is_right_in_some_way(rig, 0, 5) == (parity == 2));
        for (uint32_t block = 8; block < 40; block++)
            assert_true(is_right_in_some_way(rig, 0, block));
        rig_close(rig);
        rig_destroy(rig);
    }
}

/* A power cut leaves a segment whose rows are looked at; one device lost what it had said to be durable. */
static void what_is_wrong_in_unsettled_rows_is_made_right_where_that_can_be_known(void **state)
{
    (void)state;
    for (unsigned parity = 1; parity <= 2; parity++) {
        struct array_rig *rig = create(4 + parity, parity);
        struct array_info info;
        write_some(rig, 3, 40, 8, true); /* ten rows, and one begun */
        assert_true(rig_append(rig, 3, 1, true));
        rig_drain(rig);
        rig_cut(rig, BLKDEV_MEM_LOSE);
        (void)rot(rig, 3, 40); /* in a slot */
        if (parity == 2)
            (void)rot(rig, 3, 6);
        assert_int_equal(rig_open(rig, (1u << (4 + parity)) - 1, 0), 0);
        array_look(rig->array, &info);
        assert_int_equal(info.unsettled, 1);
        rig_verify(rig);
        rig_close(rig);
        rig_destroy(rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_array_is_looked_at_without_a_write),
        cmocka_unit_test(a_rebuild_from_a_wrong_device_leaves_a_right_way_if_there_is_one),
        cmocka_unit_test(what_is_wrong_in_unsettled_rows_is_made_right_where_that_can_be_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
