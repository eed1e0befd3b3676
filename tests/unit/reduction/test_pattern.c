#include "node/reduction/pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/reduction/data_kinds.h"

enum {
    BLOCK = PATTERN_BLOCK_BYTES
};

static void repeat(uint8_t *block, const uint8_t *unit, size_t unit_bytes)
{
    for (size_t i = 0; i < BLOCK; i++)
        block[i] = unit[i % unit_bytes];
}

static void blocks_of_one_two_and_four_repeated_bytes_are_patterns(void **state)
{
    (void)state;
    uint8_t block[BLOCK];
    uint32_t pattern = 1;
    memset(block, 0, sizeof block);
    assert_true(pattern_detect(block, &pattern));
    assert_int_equal(pattern, 0);
    memset(block, 0xff, sizeof block);
    assert_true(pattern_detect(block, &pattern));
    assert_int_equal(pattern, 0xffffffff);
    repeat(block, (const uint8_t[]){0x12, 0x34}, 2);
    assert_true(pattern_detect(block, &pattern));
    assert_int_equal(pattern, 0x34123412);
    repeat(block, (const uint8_t[]){0xde, 0xad, 0xbe, 0xef}, 4);
    assert_true(pattern_detect(block, &pattern));
    assert_int_equal(pattern, 0xefbeadde);
}

static void longer_periods_are_no_patterns(void **state)
{
    (void)state;
    uint8_t block[BLOCK];
    uint32_t pattern = 77;
    const uint8_t unit[16] = {1, 2, 3, 4, 1, 2, 3, 5, 9, 9, 9, 9, 9, 9, 9, 8};
    const size_t periods[] = {3, 5, 6, 7, 8, 16};
    for (size_t i = 0; i < sizeof periods / sizeof periods[0]; i++) {
        repeat(block, unit, periods[i]);
        assert_false(pattern_detect(block, &pattern));
    }
    assert_int_equal(pattern, 77); /* an out parameter is written only on success */
}

static void one_wrong_bit_anywhere_is_seen(void **state)
{
    (void)state;
    uint8_t block[BLOCK];
    uint32_t pattern;
    repeat(block, (const uint8_t[]){7, 7, 0, 1}, 4);
    for (unsigned bit = 0; bit < BLOCK * 8; bit++) {
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(pattern_detect(block, &pattern));
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(pattern_detect(block, &pattern));
}

static void detection_works_at_any_alignment(void **state)
{
    (void)state;
    uint8_t room[BLOCK + 16];
    uint32_t pattern;
    for (size_t shift = 0; shift < 16; shift++) {
        memset(room, 0xee, sizeof room);
        repeat(room + shift, (const uint8_t[]){1, 2, 3, 4}, 4);
        assert_true(pattern_detect(room + shift, &pattern));
        assert_int_equal(pattern, 0x04030201);
    }
}

static void fill_gives_back_any_part_of_what_was_detected(void **state)
{
    (void)state;
    uint64_t rng = test_seed(__func__, 11);
    uint8_t block[BLOCK], part[BLOCK + 2];
    for (int round = 0; round < 3000; round++) {
        uint8_t unit[4];
        for (int i = 0; i < 4; i++)
            unit[i] = (uint8_t)next_random(&rng);
        const size_t unit_bytes = (size_t)1 << next_random(&rng) % 3;
        repeat(block, unit, unit_bytes);
        uint32_t pattern;
        assert_true(pattern_detect(block, &pattern));
        const size_t offset = next_random(&rng) % BLOCK;
        const size_t bytes = next_random(&rng) % (BLOCK - offset + 1);
        memset(part, 0x5a, sizeof part);
        pattern_fill(part + 1, bytes, offset, pattern);
        assert_memory_equal(part + 1, block + offset, bytes);
        assert_int_equal(part[0], 0x5a);
        assert_int_equal(part[bytes + 1], 0x5a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_one_two_and_four_repeated_bytes_are_patterns),
        cmocka_unit_test(longer_periods_are_no_patterns),
        cmocka_unit_test(one_wrong_bit_anywhere_is_seen),
        cmocka_unit_test(detection_works_at_any_alignment),
        cmocka_unit_test(fill_gives_back_any_part_of_what_was_detected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
