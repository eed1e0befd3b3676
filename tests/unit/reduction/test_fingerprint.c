#include "node/reduction/fingerprint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/reduction/data_kinds.h"

static void make_block(uint8_t *block)
{
    for (unsigned i = 0; i < FINGERPRINT_BLOCK_BYTES; i++)
        block[i] = (uint8_t)(i * 7 + i / 256);
}

/* Expected values are those of xxh128sum and sha256sum. */
static void fingerprints_are_those_of_the_standard_tools(void **state)
{
    (void)state;
    static const uint8_t xxh3[32] = {0x64, 0x90, 0x6f, 0xeb, 0x9c, 0x2d, 0x72, 0x5c,
                                     0x91, 0x71, 0x7a, 0xd3, 0xc6, 0x8f, 0xef, 0x08};
    static const uint8_t sha256[32] = {0xd2, 0x4a, 0xc4, 0x4c, 0x83, 0xcc, 0xe8, 0x42, 0xb6, 0x7a, 0x82,
                                       0xd2, 0xf7, 0x7b, 0xcb, 0xe5, 0xe4, 0x1d, 0xbd, 0x55, 0x56, 0x05,
                                       0xc9, 0x28, 0x32, 0xd6, 0x09, 0xe2, 0x9c, 0x5a, 0x99, 0x7c};
    uint8_t room[FINGERPRINT_BLOCK_BYTES + 1];
    struct fingerprint fp;
    for (unsigned shift = 0; shift < 2; shift++) {
        make_block(room + shift);
        memset(&fp, 0xaa, sizeof fp);
        fingerprint_block(FINGERPRINT_XXH3_128, room + shift, &fp);
        assert_memory_equal(fp.bytes, xxh3, sizeof xxh3);
        assert_true(fingerprint_key(&fp) == 0x5c722d9ceb6f9064ull);
        fingerprint_block(FINGERPRINT_SHA256, room + shift, &fp);
        assert_memory_equal(fp.bytes, sha256, sizeof sha256);
    }
}

static void sizes_tell_the_significant_bytes(void **state)
{
    (void)state;
    assert_int_equal(fingerprint_size(FINGERPRINT_XXH3_128), 16);
    assert_int_equal(fingerprint_size(FINGERPRINT_SHA256), 32);
    assert_int_equal(fingerprint_size((enum fingerprint_algorithm)0), 0);
    assert_int_equal(fingerprint_size((enum fingerprint_algorithm)3), 0);
}

static void every_bit_of_a_block_counts(void **state)
{
    (void)state;
    uint8_t block[FINGERPRINT_BLOCK_BYTES];
    make_block(block);
    const enum fingerprint_algorithm algorithms[] = {FINGERPRINT_XXH3_128, FINGERPRINT_SHA256};
    for (unsigned a = 0; a < 2; a++) {
        struct fingerprint before, after;
        fingerprint_block(algorithms[a], block, &before);
        for (unsigned bit = 0; bit < sizeof block * 8; bit += 13) {
            block[bit / 8] ^= (uint8_t)(1u << bit % 8);
            fingerprint_block(algorithms[a], block, &after);
            block[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_memory_not_equal(before.bytes, after.bytes, fingerprint_size(algorithms[a]));
            assert_true(fingerprint_key(&before) != fingerprint_key(&after));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fingerprints_are_those_of_the_standard_tools),
        cmocka_unit_test(sizes_tell_the_significant_bytes),
        cmocka_unit_test(every_bit_of_a_block_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
