#include "node/reduction/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/endian_codec.h"
#include "common/xxh3.h"
#include "tests/unit/reduction/data_kinds.h"
#include "tests/unit/reduction/golden_records.h"

enum {
    BLOCK = RECORD_BLOCK_BYTES,
    MAX = RECORD_MAX_BLOCKS,
    ROOM = RECORD_MAX_BYTES
};

static const uint64_t GROUP = 0x0001234567890abcull;
static const enum record_algorithm algorithms[] = {RECORD_PLAIN, RECORD_LZ4, RECORD_ZSTD};

static int setup(void **state)
{
    *state = record_codec_create();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    record_codec_destroy(*state);
    return 0;
}

static size_t encode(struct record_codec *codec, enum record_algorithm algorithm, const uint8_t *data,
                     unsigned n, bool joint, uint8_t *out)
{
    const void *blocks[MAX];
    for (unsigned i = 0; i < n; i++)
        blocks[i] = data + (size_t)i * BLOCK;
    return record_encode(codec, algorithm, GROUP, blocks, n, joint, out, record_bound(n));
}

static struct record_info peek(const uint8_t *record)
{
    struct record_info info;
    assert_int_equal(record_peek(record, &info, NULL), 0);
    return info;
}

/* Makes the checksum right again, so that what lies behind it is tested. */
static void reseal(uint8_t *record, size_t length)
{
    memset(record + 16, 0, 8);
    const uint64_t seed = XXH3_64bits(record, RECORD_HEADER_BYTES);
    put_le64(record + 16,
             XXH3_64bits_withSeed(record + RECORD_HEADER_BYTES, length - RECORD_HEADER_BYTES, seed));
}

static void check_contents(struct record_codec *codec, const uint8_t *record, size_t length,
                           const uint8_t *data, unsigned n, unsigned wanted)
{
    static uint8_t pieces[MAX][BLOCK + 1], whole[MAX * BLOCK + 1];
    void *out[MAX] = {0};
    memset(pieces, 0xa5, sizeof pieces);
    memset(whole, 0xa5, sizeof whole);
    for (unsigned i = 0; i < n; i++)
        if (wanted >> i & 1)
            out[i] = pieces[i];
    assert_int_equal(record_decode_all(codec, record, length, out, NULL), 0);
    for (unsigned i = 0; i < MAX; i++) {
        if (out[i])
            assert_memory_equal(pieces[i], data + (size_t)i * BLOCK, BLOCK);
        else
            assert_int_equal(pieces[i][0], 0xa5);
        assert_int_equal(pieces[i][BLOCK], 0xa5);
        out[i] = i < n ? whole + (size_t)i * BLOCK : NULL;
    }
    assert_int_equal(record_decode_all(codec, record, length, out, NULL), 0);
    assert_memory_equal(whole, data, (size_t)n * BLOCK);
    assert_int_equal(whole[(size_t)n * BLOCK], 0xa5);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(record_decode_block(codec, record, length, i, pieces[0], NULL), 0);
        assert_memory_equal(pieces[0], data + (size_t)i * BLOCK, BLOCK);
    }
}

static void every_group_comes_back_whole_in_parts_and_block_by_block(void **state)
{
    uint64_t rng = test_seed(__func__, 1);
    static uint8_t data[MAX * BLOCK];
    /* On the heap and exact, so that ASan sees a step beyond. */
    for (int kind = 0; kind < DATA_KINDS; kind++)
        for (unsigned n = 1; n <= MAX; n++)
            for (unsigned a = 0; a < 3; a++)
                for (int joint = 0; joint < 2; joint++) {
                    uint8_t *record = malloc(record_bound(n));
                    make_data((enum data_kind)kind, &rng, data, sizeof data);
                    memset(record, 0x77, record_bound(n));
                    const size_t length = encode(*state, algorithms[a], data, n, joint, record);
                    assert_true(length <= record_bound(n) && length % RECORD_UNIT_BYTES == 0);
                    assert_int_equal(peek(record).length, length);
                    assert_int_equal(peek(record).blocks, n);
                    uint8_t *exact = malloc(length);
                    memcpy(exact, record, length);
                    assert_int_equal(record_verify(exact, length, GROUP, NULL), 0);
                    check_contents(*state, exact, length, data, n,
                                   (unsigned)next_random(&rng) & ((1u << n) - 1));
                    free(exact);
                    free(record);
                }
}

static void blocks_scattered_in_memory_make_the_same_record(void **state)
{
    uint64_t rng = test_seed(__func__, 2);
    static uint8_t data[MAX * BLOCK], apart[MAX][BLOCK + 64], one[ROOM], other[ROOM];
    const void *blocks[MAX];
    make_data(DATA_TEXT, &rng, data, sizeof data);
    for (unsigned i = 0; i < MAX; i++) {
        blocks[i] = apart[MAX - 1 - i] + i; /* odd alignments too */
        memcpy(apart[MAX - 1 - i] + i, data + (size_t)i * BLOCK, BLOCK);
    }
    for (int joint = 0; joint < 2; joint++) {
        const size_t length = encode(*state, RECORD_LZ4, data, MAX, joint, one);
        assert_int_equal(record_encode(*state, RECORD_LZ4, GROUP, blocks, MAX, joint, other, sizeof other),
                         length);
        assert_memory_equal(one, other, length);
    }
}

static void consecutive_blocks_are_compressed_together_scattered_ones_apart(void **state)
{
    static uint8_t data[MAX * BLOCK], joint[ROOM], apart[ROOM];
    uint64_t rng = 3;
    make_data(DATA_RANDOM, &rng, data, BLOCK);
    for (unsigned i = 1; i < MAX; i++) /* each block alone is noise, together they repeat */
        memcpy(data + (size_t)i * BLOCK, data, BLOCK);
    const size_t joint_length = encode(*state, RECORD_LZ4, data, MAX, true, joint);
    const size_t apart_length = encode(*state, RECORD_LZ4, data, MAX, false, apart);
    assert_int_equal(peek(joint).mode, RECORD_JOINT);
    assert_true(joint_length < 2 * BLOCK);
    assert_int_equal(peek(apart).mode, RECORD_RAW);
    assert_int_equal(apart_length, ROOM);
}

static void what_does_not_shrink_by_a_sixteenth_is_kept_raw(void **state)
{
    uint64_t rng = test_seed(__func__, 5);
    static uint8_t data[MAX * BLOCK], record[ROOM];
    const enum data_kind kinds[] = {DATA_RANDOM, DATA_ALMOST_RAW};
    for (unsigned k = 0; k < 2; k++)
        for (unsigned n = 1; n <= MAX; n++)
            for (unsigned a = 0; a < 3; a++)
                for (int joint = 0; joint < 2; joint++) {
                    make_data(kinds[k], &rng, data, sizeof data);
                    const size_t length = encode(*state, algorithms[a], data, n, joint, record);
                    assert_int_equal(peek(record).mode, RECORD_RAW);
                    assert_int_equal(length, (size_t)n * BLOCK + 64);
                }
    make_data(DATA_LOW_BITS, &rng, data, sizeof data);
    (void)encode(*state, RECORD_LZ4, data, MAX, true, record);
    assert_int_equal(peek(record).mode, RECORD_RAW);
    (void)encode(*state, RECORD_ZSTD, data, MAX, true, record);
    assert_int_equal(peek(record).mode, RECORD_JOINT);
    /* Bytes that compress well, yet compression is off. */
    make_data(DATA_ZERO, &rng, data, sizeof data);
    (void)encode(*state, RECORD_PLAIN, data, MAX, true, record);
    assert_int_equal(peek(record).mode, RECORD_RAW);
}

static void in_a_scattered_group_each_block_is_judged_by_itself(void **state)
{
    uint64_t rng = test_seed(__func__, 6);
    static uint8_t data[4 * BLOCK], record[ROOM];
    make_data(DATA_RANDOM, &rng, data, sizeof data);
    make_data(DATA_TEXT, &rng, data + 2 * BLOCK, BLOCK);
    const size_t length = encode(*state, RECORD_LZ4, data, 4, false, record);
    assert_int_equal(peek(record).mode, RECORD_SEPARATE);
    assert_int_equal(get_le16(record + 32), BLOCK);
    assert_int_equal(get_le16(record + 34), BLOCK);
    assert_in_range(get_le16(record + 36), 64, BLOCK - BLOCK / 16);
    assert_int_equal(get_le16(record + 38), BLOCK);
    assert_true(length < 4 * BLOCK);
}

static void a_block_of_a_scattered_group_is_read_without_the_others(void **state)
{
    uint64_t rng = test_seed(__func__, 7);
    static uint8_t data[3 * BLOCK], record[ROOM], out[BLOCK];
    make_data(DATA_TEXT, &rng, data, sizeof data);
    const size_t length = encode(*state, RECORD_LZ4, data, 3, false, record);
    const size_t first = get_le16(record + 32);
    memset(record + 32 + 6, 0xff, first); /* the first block's stream */
    assert_int_equal(record_decode_block(*state, record, length, 0, out, NULL), PS_EDAMAGED);
    assert_int_equal(record_decode_block(*state, record, length, 1, out, NULL), 0);
    assert_memory_equal(out, data + BLOCK, BLOCK);
    assert_int_equal(record_decode_block(*state, record, length, 2, out, NULL), 0);
    assert_memory_equal(out, data + 2 * BLOCK, BLOCK);
}

static void every_flipped_bit_is_found(void **state)
{
    uint64_t rng = test_seed(__func__, 8);
    static uint8_t data[MAX * BLOCK], record[ROOM];
    const struct {
        enum data_kind kind;
        unsigned n, step;
        bool joint;
    } cases[] = {{DATA_ZERO, 1, 1, true},
                 {DATA_ZERO, 8, 1, false},
                 {DATA_TEXT, 2, 7, true},
                 {DATA_MIXED, 8, 101, false},
                 {DATA_RANDOM, 8, 211, true}};
    for (unsigned c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        make_data(cases[c].kind, &rng, data, sizeof data);
        const size_t length = encode(*state, RECORD_LZ4, data, cases[c].n, cases[c].joint, record);
        for (size_t bit = 0; bit < length * 8; bit += bit < 64 * 8 ? 1 : cases[c].step) {
            record[bit / 8] ^= (uint8_t)(1u << bit % 8);
            struct ps_error err = {0};
            assert_int_equal(record_verify(record, length, GROUP, &err), PS_EDAMAGED);
            assert_int_equal(err.status, PS_EDAMAGED);
            assert_true(strncmp(err.detail, "record: ", 8) == 0);
            record[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_int_equal(record_verify(record, length, GROUP, NULL), 0);
    }
}

static void torn_zeroed_and_exchanged_parts_are_found(void **state)
{
    uint64_t rng = test_seed(__func__, 9);
    static uint8_t data[MAX * BLOCK], record[ROOM], hurt[ROOM];
    make_data(DATA_TEXT, &rng, data, sizeof data);
    const size_t length = encode(*state, RECORD_LZ4, data, MAX, true, record);
    for (size_t from = 0; from + 64 <= length; from += 64) {
        memcpy(hurt, record, length);
        memset(hurt + from, 0, length - from);
        assert_int_equal(record_verify(hurt, length, GROUP, NULL), PS_EDAMAGED);
        memcpy(hurt, record, length);
        memset(hurt + from, 0, 64);
        assert_int_equal(record_verify(hurt, length, GROUP, NULL), PS_EDAMAGED);
        if (from + 128 <= length) {
            memcpy(hurt, record, length);
            memcpy(hurt + from, record + from + 64, 64);
            memcpy(hurt + from + 64, record + from, 64);
            assert_int_equal(record_verify(hurt, length, GROUP, NULL), PS_EDAMAGED);
        }
    }
}

static void a_wrong_length_or_group_is_found(void **state)
{
    uint64_t rng = test_seed(__func__, 10);
    static uint8_t data[MAX * BLOCK], record[ROOM + 64];
    struct ps_error err;
    make_data(DATA_TEXT, &rng, data, sizeof data);
    const size_t length = encode(*state, RECORD_LZ4, data, 3, true, record);
    for (size_t len = 0; len < length + 64; len++)
        if (len != length)
            assert_int_equal(record_verify(record, len, GROUP, &err), PS_EDAMAGED);
    assert_int_equal(record_verify(record, length, GROUP + 1, &err), PS_EDAMAGED);
    assert_non_null(strstr(err.detail, "expected 320255973460669")); /* GROUP + 1 */
}

static void impossible_headers_are_refused_even_with_a_right_checksum(void **state)
{
    static uint8_t data[2 * BLOCK], good[ROOM], bad[ROOM];
    uint64_t rng = 12;
    make_data(DATA_TEXT, &rng, data, sizeof data);
    const size_t length = encode(*state, RECORD_LZ4, data, 2, true, good);
    const struct {
        unsigned at;
        uint8_t value;
        const char *detail;
    } cases[] = {
        {0, 0, "version 0"},    {0, 3, "version 3"},        {0, 2, "slots 0 for"},
        {1, 0, "0 blocks"},     {1, 9, "9 blocks"},         {2, 0, "mode 0"},
        {2, 3, "mode 3"},       {3, 0, "with algorithm 0"}, {3, 3, "with algorithm 3"},
        {7, 1, "payload of"},   {6, 1, "payload of"},       {24, 1, "reserved"},
        {31, 0x80, "reserved"}, {5, 0, "by its header"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ps_error err = {0};
        memcpy(bad, good, length);
        bad[cases[i].at] = cases[i].value;
        reseal(bad, length);
        assert_int_equal(record_verify(bad, length, GROUP, &err), PS_EDAMAGED);
        if (!strstr(err.detail, cases[i].detail))
            fail_msg("case %u: %s", i, err.detail);
    }
    memcpy(bad, good, length);
    reseal(bad, length);
    assert_memory_equal(bad, good, length);
}

static void a_table_that_does_not_fit_the_payload_is_refused(void **state)
{
    uint64_t rng = 14;
    static uint8_t data[3 * BLOCK], record[ROOM], out[BLOCK];
    void *all[MAX] = {out, data, data + BLOCK};
    struct ps_error err;
    make_data(DATA_TEXT, &rng, data, sizeof data);
    const size_t length = encode(*state, RECORD_LZ4, data, 3, false, record);
    uint8_t *const last = record + 32 + 4;
    const uint16_t right = get_le16(last), wrong[] = {0, (uint16_t)(right + 1), BLOCK, BLOCK + 1, UINT16_MAX};
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        put_le16(last, wrong[i]);
        assert_int_equal(record_decode_block(*state, record, length, 2, out, &err), PS_EDAMAGED);
        assert_non_null(strstr(err.detail, "record: block 2 has"));
    }
    put_le16(last, right);
    put_le32(record + 4, get_le32(record + 4) + 1); /* a byte of padding that belongs to no block */
    assert_int_equal(peek(record).length, length);
    assert_int_equal(record_decode_all(*state, record, length, all, &err), PS_EDAMAGED);
    assert_non_null(strstr(err.detail, "record: blocks take"));
}

static void slots_that_a_record_does_not_have_are_out_of_range(void **state)
{
    static uint8_t data[2 * BLOCK], record[ROOM], out[BLOCK];
    const size_t length = encode(*state, RECORD_LZ4, data, 2, true, record);
    assert_int_equal(record_decode_block(*state, record, length, 1, out, NULL), 0);
    for (unsigned slot = 2; slot < 12; slot++)
        assert_int_equal(record_decode_block(*state, record, length, slot, out, NULL), PS_ERANGE);
}

static void decoders_survive_damage_behind_a_right_checksum(void **state)
{
    uint64_t rng = test_seed(__func__, 13);
    static uint8_t data[MAX * BLOCK], record[ROOM];
    unsigned refused = 0, decoded = 0;
    for (int round = 0; round < 20000; round++) {
        const unsigned n = 1 + (unsigned)next_random(&rng) % MAX;
        make_data(round % 2 ? DATA_TEXT : DATA_ZERO, &rng, data, (size_t)n * BLOCK);
        size_t length =
            encode(*state, algorithms[1 + next_random(&rng) % 2], data, n, next_random(&rng) % 2, record);
        const unsigned changes = 1 + (unsigned)next_random(&rng) % 4;
        for (unsigned i = 0; i < changes; i++)
            record[next_random(&rng) % 3 ? next_random(&rng) % 64 : next_random(&rng) % length] =
                (uint8_t)next_random(&rng);
        record[0] = 1;
        reseal(record, length);
        uint8_t *exact = malloc(length);
        uint8_t *out = malloc(BLOCK);
        memcpy(exact, record, length);
        for (unsigned slot = 0; slot < n; slot++) {
            const int status = record_decode_block(*state, exact, length, slot, out, NULL);
            assert_true(status == 0 || status == PS_EDAMAGED || status == PS_ERANGE);
            *(status ? &refused : &decoded) += 1;
        }
        free(out);
        free(exact);
    }
    assert_true(refused > 1000 && decoded > 1000);
}

/* ---- the format stands still */

static void text_block(uint8_t *block)
{
    for (unsigned i = 0; i < BLOCK; i++)
        block[i] = (uint8_t) "pstorage"[i % 8];
}

static void a_raw_record_has_exactly_these_bytes(void **state)
{
    static uint8_t data[BLOCK], record[ROOM];
    for (unsigned i = 0; i < BLOCK; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    memset(record, 0x77, sizeof record);
    const size_t length = encode(*state, RECORD_PLAIN, data, 1, true, record);
    assert_int_equal(length, 4160);
    static const uint8_t header[] = {1,    1,    0,    0,    0x00, 0x10, 0,    0,    0xbc, 0x0a, 0x89,
                                     0x67, 0x45, 0x23, 0x01, 0x00, 0x93, 0xf4, 0xcf, 0xb9, 0x73, 0x0d,
                                     0xeb, 0x7e, 0,    0,    0,    0,    0,    0,    0,    0};
    static const uint8_t padding[32];
    assert_memory_equal(record, header, sizeof header);
    assert_memory_equal(record + 32, data, BLOCK);
    assert_memory_equal(record + 32 + BLOCK, padding, sizeof padding);
}

/* What compressors write may change with their versions; what was written must stay readable. */
static void records_written_before_are_still_read(void **state)
{
    static const struct {
        const uint8_t *bytes;
        size_t length;
        enum record_mode mode;
        enum record_algorithm algorithm;
    } records[] = {
        {golden_joint_lz4, sizeof golden_joint_lz4, RECORD_JOINT, RECORD_LZ4},
        {golden_joint_zstd, sizeof golden_joint_zstd, RECORD_JOINT, RECORD_ZSTD},
        {golden_separate_lz4, sizeof golden_separate_lz4, RECORD_SEPARATE, RECORD_LZ4},
        {golden_separate_zstd, sizeof golden_separate_zstd, RECORD_SEPARATE, RECORD_ZSTD},
    };
    static uint8_t text[BLOCK], zero[BLOCK], out[BLOCK];
    text_block(text);
    for (unsigned i = 0; i < sizeof records / sizeof records[0]; i++) {
        assert_int_equal(record_verify(records[i].bytes, records[i].length, GROUP, NULL), 0);
        const struct record_info info = peek(records[i].bytes);
        assert_int_equal(info.mode, records[i].mode);
        assert_int_equal(info.algorithm, records[i].algorithm);
        assert_int_equal(info.blocks, 2);
        for (unsigned slot = 0; slot < 2; slot++) {
            assert_int_equal(
                record_decode_block(*state, records[i].bytes, records[i].length, slot, out, NULL), 0);
            assert_memory_equal(out, slot == 0 ? text : zero, BLOCK);
        }
    }
}

/* ---- survivors */

static void check_survivors(struct record_codec *codec, const uint8_t *record, size_t length,
                            const uint8_t *data, unsigned keep, struct record_info *written)
{
    static uint8_t work[MAX * BLOCK], block[BLOCK];
    uint8_t *out = malloc(ROOM);
    memset(out, 0x77, ROOM);
    assert_int_equal(record_survivors(codec, RECORD_LZ4, record, length, keep, work, out, written, NULL), 0);
    assert_int_equal(written->slots & keep, keep);
    uint8_t *exact = malloc(written->length);
    memcpy(exact, out, written->length);
    assert_int_equal(record_verify(exact, written->length, GROUP, NULL), 0);
    for (unsigned slot = 0; slot < MAX; slot++) {
        const int rc = record_decode_block(codec, exact, written->length, slot, block, NULL);
        assert_int_equal(rc, written->slots >> slot & 1 ? 0 : PS_ERANGE);
        if (rc == 0)
            assert_memory_equal(block, data + (size_t)slot * BLOCK, BLOCK);
    }
    free(exact);
    free(out);
}

static void survivors_come_back_at_their_slots(void **state)
{
    uint64_t rng = test_seed(__func__, 20);
    static uint8_t data[MAX * BLOCK], record[ROOM], work[MAX * BLOCK], moved[ROOM];
    for (int kind = 0; kind < DATA_KINDS; kind++)
        for (unsigned n = 1; n <= MAX; n++)
            for (unsigned a = 0; a < 3; a++)
                for (int joint = 0; joint < 2; joint++) {
                    struct record_info once, twice;
                    make_data((enum data_kind)kind, &rng, data, sizeof data);
                    const size_t length = encode(*state, algorithms[a], data, n, joint, record);
                    const unsigned keep = 1 + (unsigned)next_random(&rng) % ((1u << n) - 1);
                    check_survivors(*state, record, length, data, keep, &once);
                    /* And of these, some again. */
                    unsigned fewer = keep & (unsigned)next_random(&rng);
                    fewer = fewer ? fewer : keep;
                    assert_int_equal(
                        record_survivors(*state, RECORD_LZ4, record, length, keep, work, moved, &once, NULL),
                        0);
                    check_survivors(*state, moved, once.length, data, fewer, &twice);
                    assert_true(twice.length <= once.length || twice.mode != once.mode);
                }
}

static void survivors_compressed_apart_take_no_more_than_their_streams(void **state)
{
    uint64_t rng = test_seed(__func__, 21);
    static uint8_t data[MAX * BLOCK], record[ROOM], work[MAX * BLOCK], out[ROOM];
    struct record_info info;
    make_data(DATA_TEXT, &rng, data, sizeof data);
    const size_t length = encode(*state, RECORD_ZSTD, data, MAX, false, record);
    const size_t streams = get_le16(record + 32 + 2 * 2) + (size_t)get_le16(record + 32 + 2 * 5);
    assert_int_equal(
        record_survivors(*state, RECORD_LZ4, record, length, 1u << 2 | 1u << 5, work, out, &info, NULL), 0);
    assert_int_equal(info.mode, RECORD_SEPARATE);
    assert_int_equal(info.algorithm, RECORD_ZSTD); /* not touched */
    assert_int_equal(info.length, (32 + 4 + streams + 63) / 64 * 64);
    make_data(DATA_RANDOM, &rng, data, sizeof data);
    (void)encode(*state, RECORD_LZ4, data, MAX, false, record);
    assert_int_equal(record_survivors(*state, RECORD_LZ4, record, ROOM, 0x81, work, out, &info, NULL), 0);
    assert_int_equal(info.mode, RECORD_RAW);
    assert_int_equal(info.length, 2 * BLOCK + 64);
}

static void a_joint_record_is_copied_whole_while_seven_eighths_live(void **state)
{
    uint64_t rng = test_seed(__func__, 22);
    static uint8_t data[MAX * BLOCK], record[ROOM], work[MAX * BLOCK], out[ROOM];
    struct record_info info;
    make_data(DATA_TEXT, &rng, data, sizeof data);
    const size_t length = encode(*state, RECORD_LZ4, data, MAX, true, record);
    assert_int_equal(record_survivors(*state, RECORD_LZ4, record, length, 0xfe, work, out, &info, NULL), 0);
    assert_int_equal(info.slots, 0xff);
    assert_memory_equal(out, record, length);
    assert_int_equal(record_survivors(*state, RECORD_LZ4, record, length, 0xfc, work, out, &info, NULL), 0);
    assert_int_equal(info.slots, 0xfc);
    assert_true(info.length < length);
    /* Seven blocks: six are less than 7/8. */
    const size_t seven = encode(*state, RECORD_LZ4, data, 7, true, record);
    assert_int_equal(record_survivors(*state, RECORD_LZ4, record, seven, 0x3f, work, out, &info, NULL), 0);
    assert_int_equal(info.slots, 0x3f);
}

static void what_is_made_denser_holds_the_same(void **state)
{
    uint64_t rng = test_seed(__func__, 24);
    static uint8_t data[MAX * BLOCK], record[ROOM], work[MAX * BLOCK], block[BLOCK];
    unsigned denser = 0;
    for (int kind = 0; kind < DATA_KINDS; kind++)
        for (unsigned n = 1; n <= MAX; n++)
            for (unsigned a = 0; a < 3; a++)
                for (int joint = 0; joint < 2; joint++) {
                    uint8_t *out = malloc(RECORD_MAX_BYTES);
                    make_data((enum data_kind)kind, &rng, data, sizeof data);
                    const size_t length = encode(*state, algorithms[a], data, n, joint, record);
                    const struct record_info was = peek(record);
                    const size_t now = record_denser(*state, record, length, work, out);
                    assert_true(now <= length - length / 16);
                    assert_true(now == 0 || was.algorithm != RECORD_ZSTD);
                    denser += now > 0;
                    if (now) {
                        assert_int_equal(record_verify(out, now, GROUP, NULL), 0);
                        const struct record_info is = peek(out);
                        assert_int_equal(is.slots, was.slots);
                        assert_int_equal(is.algorithm, RECORD_ZSTD);
                        assert_int_equal(is.mode, was.mode == RECORD_RAW ? RECORD_JOINT : was.mode);
                    }
                    for (unsigned slot = 0; now && slot < n; slot++) {
                        assert_int_equal(record_decode_block(*state, out, now, slot, block, NULL), 0);
                        assert_memory_equal(block, data + (size_t)slot * BLOCK, BLOCK);
                    }
                    free(out);
                }
    assert_true(denser > 0);
    /* Holes among the slots stay. */
    struct record_info some;
    static uint8_t moved[ROOM], out[ROOM];
    make_data(DATA_TEXT, &rng, data, sizeof data);
    const size_t length = encode(*state, RECORD_LZ4, data, MAX, true, record);
    assert_int_equal(record_survivors(*state, RECORD_LZ4, record, length, 0xa1, work, moved, &some, NULL), 0);
    const size_t now = record_denser(*state, moved, some.length, work, out);
    assert_true(now > 0);
    assert_int_equal(peek(out).slots, 0xa1);
    assert_int_equal(record_decode_block(*state, out, now, 7, block, NULL), 0);
    assert_memory_equal(block, data + (size_t)7 * BLOCK, BLOCK);
    /* One that does not decode stays as it is. */
    record[40] ^= 0x55;
    (void)record_denser(*state, record, length, work, out);
}

static void slots_that_cannot_be_are_refused(void **state)
{
    uint64_t rng = 23;
    static uint8_t data[MAX * BLOCK], record[ROOM], work[MAX * BLOCK], out[ROOM];
    static const uint8_t wrong[] = {0, 0x03, 0x07, 0x80, 0xff};
    struct record_info info;
    make_data(DATA_TEXT, &rng, data, sizeof data);
    const size_t length = encode(*state, RECORD_LZ4, data, MAX, false, record);
    assert_int_equal(record_survivors(*state, RECORD_LZ4, record, length, 0x84, work, out, &info, NULL), 0);
    assert_int_equal(out[0], 2);
    assert_int_equal(out[24], 0x84);
    for (unsigned i = 0; i < sizeof wrong; i++) {
        struct ps_error err = {0};
        out[24] = wrong[i];
        reseal(out, info.length);
        assert_int_equal(record_verify(out, info.length, GROUP, &err), PS_EDAMAGED);
        assert_non_null(strstr(err.detail, "slots"));
    }
}

static void shares_are_rounded_up_and_bounded(void **state)
{
    (void)state;
    assert_int_equal(record_stored_share(64, 8), 1);
    assert_int_equal(record_stored_share(512, 8), 1);
    assert_int_equal(record_stored_share(576, 8), 2);
    assert_int_equal(record_stored_share(4160, 1), 64);
    assert_int_equal(record_stored_share(ROOM, 8), 64);
    assert_int_equal(record_stored_share(4096, 1), 64);
    assert_int_equal(record_stored_share(4032, 1), 63);
}

static void ids_name_group_and_slot(void **state)
{
    (void)state;
    assert_true(record_block_id(5, 3) == 43);
    assert_true(record_id_group(43) == 5);
    assert_int_equal(record_id_slot(43), 3);
    assert_int_equal(record_bound(1), BLOCK + 64);
    assert_int_equal(record_bound(MAX), ROOM);
}

int main(void)
{
#define WITH_CODEC(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_CODEC(every_group_comes_back_whole_in_parts_and_block_by_block),
        WITH_CODEC(blocks_scattered_in_memory_make_the_same_record),
        WITH_CODEC(consecutive_blocks_are_compressed_together_scattered_ones_apart),
        WITH_CODEC(what_does_not_shrink_by_a_sixteenth_is_kept_raw),
        WITH_CODEC(in_a_scattered_group_each_block_is_judged_by_itself),
        WITH_CODEC(a_block_of_a_scattered_group_is_read_without_the_others),
        WITH_CODEC(every_flipped_bit_is_found),
        WITH_CODEC(torn_zeroed_and_exchanged_parts_are_found),
        WITH_CODEC(a_wrong_length_or_group_is_found),
        WITH_CODEC(impossible_headers_are_refused_even_with_a_right_checksum),
        WITH_CODEC(a_table_that_does_not_fit_the_payload_is_refused),
        WITH_CODEC(slots_that_a_record_does_not_have_are_out_of_range),
        WITH_CODEC(decoders_survive_damage_behind_a_right_checksum),
        WITH_CODEC(a_raw_record_has_exactly_these_bytes),
        WITH_CODEC(records_written_before_are_still_read),
        WITH_CODEC(survivors_come_back_at_their_slots),
        WITH_CODEC(survivors_compressed_apart_take_no_more_than_their_streams),
        WITH_CODEC(a_joint_record_is_copied_whole_while_seven_eighths_live),
        WITH_CODEC(what_is_made_denser_holds_the_same),
        WITH_CODEC(slots_that_cannot_be_are_refused),
        cmocka_unit_test(shares_are_rounded_up_and_bounded),
        cmocka_unit_test(ids_name_group_and_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
