#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/endian_codec.h"
#include "common/prng.h"
#include "node/meta/checksum.h"
#include "node/meta/meta.h"
#include "node/meta/varint.h"

enum {
    KEY_AT = 16,
    CHECKSUM_AT = 40
};

/* Slots of the kinds that maps really hold. */
static void fill(struct prng *prng, unsigned shape, uint64_t *slots)
{
    uint64_t id = prng_next(prng) >> 12;
    for (unsigned i = 0; i < META_SLOTS; i++) {
        id += 1 + prng_below(prng, shape == 1 ? 2 : 100);
        switch (shape) {
        case 0:
            slots[i] = 0;
            break;
        case 1: /* written in one go */
        case 2: /* written at random */
            slots[i] = 1ull << 60 | prng_below(prng, 128) << 52 | (id & ((1ull << 52) - 1));
            break;
        case 3:
            slots[i] = prng_chance(prng, 1, 50) ? prng_next(prng) : 0;
            break;
        default:
            slots[i] = prng_next(prng);
        }
    }
}

static void any_slots_come_back(void **state)
{
    (void)state;
    static uint8_t record[PAGE_RECORD_MAX];
    for (uint64_t seed = 1; seed <= 500; seed++) {
        struct prng prng;
        uint64_t slots[META_SLOTS], back[META_SLOTS];
        prng_seed(&prng, seed);
        fill(&prng, (unsigned)(seed % 5), slots);
        const struct meta_key page =
            meta_key((enum meta_kind)(1 + seed % 4), prng_below(&prng, 1ull << 51), 0);
        memset(record, 0xaa, sizeof record);
        const uint32_t bytes = page_encode(page, seed, slots, record);
        assert_true(bytes % PLACE_UNIT == 0 && bytes <= PAGE_RECORD_MAX);
        if (page_decode(page, record, bytes, back, NULL) || memcmp(slots, back, sizeof back) != 0)
            fail_msg("seed %llu does not come back", (unsigned long long)seed);
    }
}

static void extreme_slots_fit_the_longest_record(void **state)
{
    (void)state;
    uint8_t record[PAGE_RECORD_MAX];
    uint64_t slots[META_SLOTS], back[META_SLOTS];
    struct prng prng;
    prng_seed(&prng, 7);
    for (unsigned i = 0; i < META_SLOTS; i++) /* differences of ten bytes each, and noise in them */
        slots[i] = i % 2 ? 0 : (1ull << 62) | prng_next(&prng) >> 2;
    const struct meta_key page = meta_key(META_L2P, 3, 0);
    const uint32_t bytes = page_encode(page, 1, slots, record);
    assert_true(bytes <= PAGE_RECORD_MAX);
    assert_int_equal(page_decode(page, record, bytes, back, NULL), 0);
    assert_memory_equal(slots, back, sizeof back);
}

static uint32_t encode_some(struct meta_key page, unsigned shape, uint8_t *record, uint64_t *slots)
{
    struct prng prng;
    prng_seed(&prng, 42);
    fill(&prng, shape, slots);
    return page_encode(page, 9, slots, record);
}

static void every_changed_byte_is_noticed(void **state)
{
    (void)state;
    const struct meta_key page = meta_key(META_MAP, 77, 0);
    for (unsigned shape = 0; shape < 5; shape++) {
        uint8_t record[PAGE_RECORD_MAX];
        uint64_t slots[META_SLOTS];
        const uint32_t bytes = encode_some(page, shape, record, slots);
        for (uint32_t i = 0; i < bytes; i++) {
            record[i] ^= 0x10;
            const int rc = page_decode(page, record, bytes, slots, NULL);
            assert_int_equal(rc, i == 4 ? PS_EVERSION : PS_EDAMAGED);
            record[i] ^= 0x10;
        }
        assert_int_equal(page_decode(page, record, bytes, slots, NULL), 0);
    }
}

static void a_record_cut_short_is_noticed(void **state)
{
    (void)state;
    const struct meta_key page = meta_key(META_MAP, 77, 0);
    uint8_t record[PAGE_RECORD_MAX];
    uint64_t slots[META_SLOTS];
    const uint32_t bytes = encode_some(page, 2, record, slots);
    for (uint32_t n = 0; n < bytes; n++)
        assert_int_equal(page_decode(page, record, n, slots, NULL), PS_EDAMAGED);
}

static void another_pages_record_is_refused(void **state)
{
    (void)state;
    uint8_t record[PAGE_RECORD_MAX];
    uint64_t slots[META_SLOTS];
    struct ps_error err = {0};
    const uint32_t bytes = encode_some(meta_key(META_MAP, 77, 0), 1, record, slots);
    assert_int_equal(page_decode(meta_key(META_MAP, 78, 0), record, bytes, slots, &err), PS_EDAMAGED);
    assert_non_null(strstr(err.detail, "page"));
    assert_int_equal(page_decode(meta_key(META_REF, 77, 0), record, bytes, slots, &err), PS_EDAMAGED);
}

static void seal(uint8_t *record, uint32_t bytes)
{
    put_le64(record + CHECKSUM_AT, checksum_record(record, bytes, CHECKSUM_AT));
}

/* Behind a right checksum, bytes that no encoder writes are damage, never a crash. */
static void impossible_records_with_a_right_checksum_are_refused(void **state)
{
    (void)state;
    const struct meta_key page = meta_key(META_MAP, 1, 0);
    uint8_t good[PAGE_RECORD_MAX], r[PAGE_RECORD_MAX];
    uint64_t slots[META_SLOTS];
    const uint32_t bytes = encode_some(page, 1, good, slots);
    assert_int_equal(good[5], 1);
    const struct {
        unsigned at;
        uint32_t value;
    } wrong[] = {
        {8, 0},     /* no body */
        {8, bytes}, /* body beyond the record */
        {8, UINT32_MAX},
        {8, get_le32(good + 8) - 1},
        {12, 0}, /* plain bytes */
        {12, get_le32(good + 12) + 1},
        {12, get_le32(good + 12) - 1},
        {12, META_SLOTS * VARINT_MAX + 1},
        {12, UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        memcpy(r, good, bytes);
        put_le32(r + wrong[i].at, wrong[i].value);
        seal(r, bytes);
        assert_int_equal(page_decode(page, r, bytes, slots, NULL), PS_EDAMAGED);
    }
    memcpy(r, good, bytes);
    r[5] = 0; /* LZ4's bytes are not 512 numbers */
    seal(r, bytes);
    assert_int_equal(page_decode(page, r, bytes, slots, NULL), PS_EDAMAGED);
}

static void five_hundred_and_thirteen_slots_are_refused(void **state)
{
    (void)state;
    const struct meta_key page = meta_key(META_L2P, 1, 0);
    uint8_t record[1024] = {0};
    uint64_t slots[META_SLOTS];
    put_le32(record, 0x47505350);
    record[4] = 1;
    put_le64(record + KEY_AT, page.v);
    for (uint32_t n = META_SLOTS - 1; n <= META_SLOTS + 1; n++) { /* each a zero byte */
        put_le32(record + 8, n);
        put_le32(record + 12, n);
        seal(record, sizeof record);
        assert_int_equal(page_decode(page, record, sizeof record, slots, NULL),
                         n == META_SLOTS ? 0 : PS_EDAMAGED);
    }
}

/* Records as first written must stay readable. */
static const uint8_t golden_sparse[128] = {
#include "golden_page.h"
};

static void golden_slots(uint64_t *slots)
{
    memset(slots, 0, META_SLOTS * sizeof slots[0]);
    for (unsigned i = 0; i < 8; i++)
        slots[100 + i] = 1ull << 60 | META_OWN | 5ull << 52 | (0x123456789 + i);
    slots[511] = 2ull << 60 | 0xdeadbeef;
}

static void a_record_as_first_written_is_read(void **state)
{
    (void)state;
    uint64_t slots[META_SLOTS], expected[META_SLOTS];
    golden_slots(expected);
    assert_int_equal(
        page_decode(meta_key(META_MAP, 0x1234, 0), golden_sparse, sizeof golden_sparse, slots, NULL), 0);
    assert_memory_equal(slots, expected, sizeof slots);
    assert_int_equal(get_le64(golden_sparse + 24), 0x5566);
}

static void records_are_written_as_first_written(void **state)
{
    (void)state;
    uint8_t record[PAGE_RECORD_MAX];
    uint64_t slots[META_SLOTS];
    golden_slots(slots);
    assert_int_equal(page_encode(meta_key(META_MAP, 0x1234, 0), 0x5566, slots, record), sizeof golden_sparse);
    assert_memory_equal(record, golden_sparse, sizeof golden_sparse);
    /* Stored plain, so LZ4 has no part in it. */
    uint64_t x = 1;
    for (unsigned i = 0; i < META_SLOTS; i++)
        slots[i] = x = prng_mix(x);
    const uint32_t bytes = page_encode(meta_key(META_REF, 5, 0), 6, slots, record);
    assert_int_equal(record[5], 0);
    assert_int_equal(checksum_bytes(record, bytes), 0x2a410b41ab677156ull);
}

static void numbers_of_every_length_come_back(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++)
        for (int d = -1; d <= 1; d++) {
            uint8_t buf[VARINT_MAX];
            const uint64_t v = d < 0 ? (1ull << bit) - 1 : (1ull << bit) + (unsigned)d;
            const size_t n = (size_t)(varint_put(buf, v) - buf);
            assert_true(n <= VARINT_MAX);
            struct reader r = {buf, buf + n, false};
            assert_int_equal(read_varint(&r), v);
            assert_true(!r.bad && r.pos == r.end);
            for (size_t cut = 0; cut < n; cut++) {
                r = (struct reader){buf, buf + cut, false};
                assert_int_equal(read_varint(&r), 0);
                assert_true(r.bad);
            }
            assert_int_equal(unzigzag(zigzag(v)), v);
        }
}

static void a_number_beyond_64_bits_is_malformed_and_ends_the_reading(void **state)
{
    (void)state;
    const uint8_t wide[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x05};
    const uint8_t eleven[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    struct reader r = {wide, wide + sizeof wide, false};
    assert_int_equal(read_varint(&r), 0);
    assert_true(r.bad);
    assert_int_equal(read_varint(&r), 0);
    assert_null(read_bytes(&r, 1));
    r = (struct reader){eleven, eleven + sizeof eleven, false};
    (void)read_varint(&r);
    assert_true(r.bad);
    r = (struct reader){wide, wide + 2, false};
    assert_null(read_bytes(&r, 3));
    assert_true(r.bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_slots_come_back),
        cmocka_unit_test(extreme_slots_fit_the_longest_record),
        cmocka_unit_test(every_changed_byte_is_noticed),
        cmocka_unit_test(a_record_cut_short_is_noticed),
        cmocka_unit_test(another_pages_record_is_refused),
        cmocka_unit_test(impossible_records_with_a_right_checksum_are_refused),
        cmocka_unit_test(five_hundred_and_thirteen_slots_are_refused),
        cmocka_unit_test(a_record_as_first_written_is_read),
        cmocka_unit_test(records_are_written_as_first_written),
        cmocka_unit_test(numbers_of_every_length_come_back),
        cmocka_unit_test(a_number_beyond_64_bits_is_malformed_and_ends_the_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
