#include "node/flash/moved.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "common/prng.h"
#include "node/meta/checksum.h"

enum {
    POD = 0x77
};

struct rig {
    struct moved_writer writer;
    uint8_t buf[MOVED_CHUNK_BYTES], fingerprints[8 * 32];
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    for (unsigned i = 0; i < sizeof rig->fingerprints; i++)
        rig->fingerprints[i] = (uint8_t)(i + 1);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static void add(struct rig *rig, uint64_t group, uint32_t bytes, uint8_t slots)
{
    struct moved_record r = {
        .group = group, .bytes = bytes, .slots = slots, .fingerprints = rig->fingerprints};
    assert_true(moved_has_room(&rig->writer, bytes));
    memset(moved_next(&rig->writer), (int)group, bytes);
    moved_add(&rig->writer, &r);
}

static uint32_t three(struct rig *rig)
{
    moved_begin(&rig->writer, rig->buf, MOVED_CHUNK_BYTES, 16);
    add(rig, 5, 64, 0x01);
    add(rig, (1ull << 49) - 1, 4160, 0xa5);
    add(rig, 7, 128, 0xff);
    return moved_seal(&rig->writer, POD);
}

static void records_come_back_in_order_with_their_fingerprints(void **state)
{
    struct rig *rig = *state;
    struct moved_chunk chunk;
    struct moved_record r = {0};
    const uint32_t bytes = three(rig);
    assert_int_equal(bytes, 8192);
    assert_int_equal(moved_parse(rig->buf, bytes, &chunk), 0);
    assert_true(chunk.pod == POD && chunk.records == 3 && chunk.total_bytes == bytes &&
                chunk.fingerprint_bytes == 16);
    const struct {
        uint64_t group;
        uint32_t offset, bytes;
        uint8_t slots;
    } want[] = {{5, 64, 64, 0x01}, {(1ull << 49) - 1, 128, 4160, 0xa5}, {7, 4288, 128, 0xff}};
    for (unsigned i = 0; i < 3; i++) {
        assert_true(moved_next_record(&chunk, rig->buf, i, &r));
        assert_true(r.group == want[i].group && r.offset == want[i].offset && r.bytes == want[i].bytes &&
                    r.slots == want[i].slots);
        assert_memory_equal(r.fingerprints, rig->fingerprints, 16 * (size_t)__builtin_popcount(r.slots));
        assert_int_equal(rig->buf[r.offset], (uint8_t)want[i].group);
    }
    assert_false(moved_next_record(&chunk, rig->buf, 3, &r));
}

static void it_is_full_before_it_overflows(void **state)
{
    struct rig *rig = *state;
    struct moved_chunk chunk;
    struct moved_record r = {0};
    for (unsigned fingerprint = 16; fingerprint <= 32; fingerprint += 16)
        for (uint32_t bytes = 64; bytes <= 32832; bytes = bytes * 2 + 64) {
            unsigned n = 0;
            moved_begin(&rig->writer, rig->buf, 128 * 1024, (uint8_t)fingerprint);
            while (moved_has_room(&rig->writer, bytes)) {
                add(rig, n, bytes, 0xff);
                n++;
            }
            const uint32_t total = moved_seal(&rig->writer, POD);
            assert_true(total <= 128 * 1024 && n <= MOVED_RECORDS_MAX);
            assert_true(n == MOVED_RECORDS_MAX || total + bytes + 4096 > 128 * 1024 - 8 * 32);
            assert_int_equal(moved_parse(rig->buf, total, &chunk), 0);
            for (unsigned i = 0; i < n; i++)
                assert_true(moved_next_record(&chunk, rig->buf, i, &r) && r.group == i);
        }
}

static void every_changed_byte_of_header_and_directory_is_noticed(void **state)
{
    struct rig *rig = *state;
    struct moved_chunk chunk;
    const uint32_t bytes = three(rig);
    assert_int_equal(moved_parse(rig->buf, bytes, &chunk), 0);
    for (uint32_t at = 0; at < chunk.directory_offset + chunk.directory_bytes; at++) {
        if (at == MOVED_HEADER_BYTES)
            at = chunk.directory_offset; /* records have checksums of their own */
        struct moved_chunk out;
        rig->buf[at] ^= 0x10;
        assert_int_equal(moved_parse(rig->buf, bytes, &out), at < 4 ? PS_ENOTFOUND : PS_EDAMAGED);
        rig->buf[at] ^= 0x10;
    }
}

static void reseal(struct rig *rig, const struct moved_chunk *chunk)
{
    uint8_t both[16];
    put_le64(both, checksum_record(rig->buf, MOVED_HEADER_BYTES, 56));
    put_le64(both + 8, checksum_bytes(rig->buf + chunk->directory_offset, chunk->directory_bytes));
    put_le64(rig->buf + 56, checksum_bytes(both, sizeof both));
}

static void what_cannot_be_is_refused_behind_a_right_checksum(void **state)
{
    struct rig *rig = *state;
    struct moved_chunk chunk, out;
    struct moved_record r = {0};
    const uint32_t bytes = three(rig);
    assert_int_equal(moved_parse(rig->buf, bytes, &chunk), 0);
    assert_int_equal(moved_parse(rig->buf, bytes - 1, &out), PS_EDAMAGED);
    assert_int_equal(moved_parse(rig->buf, 10, &out), PS_ENOTFOUND);
    rig->buf[4] = 2;
    reseal(rig, &chunk);
    assert_int_equal(moved_parse(rig->buf, bytes, &out), PS_EVERSION);
    rig->buf[4] = 1;
    rig->buf[6] = 0; /* no records */
    reseal(rig, &chunk);
    assert_int_equal(moved_parse(rig->buf, bytes, &out), PS_EDAMAGED);
    rig->buf[6] = 4; /* more than the directory has */
    reseal(rig, &chunk);
    assert_int_equal(moved_parse(rig->buf, bytes, &out), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_true(moved_next_record(&out, rig->buf, i, &r));
    assert_false(moved_next_record(&out, rig->buf, 3, &r));
    rig->buf[6] = 3;
    rig->buf[chunk.directory_offset + 10] = 0; /* a record without a block */
    reseal(rig, &chunk);
    assert_int_equal(moved_parse(rig->buf, bytes, &out), 0);
    assert_false(moved_next_record(&out, rig->buf, 0, &r));
}

/* As first written: must not change unseen. */
static void a_chunk_has_exactly_these_bytes(void **state)
{
    struct rig *rig = *state;
    const uint32_t bytes = three(rig);
    assert_memory_equal(rig->buf, "PSMV\1\x10\3\0\0\x20\0\0\x40\x11\0\0", 16);
    assert_int_equal(get_le32(rig->buf + 16), 3 * 12 + (1 + 4 + 8) * 16);
    assert_int_equal(get_le64(rig->buf + 24), POD);
    assert_int_equal(checksum_bytes(rig->buf, bytes), 0xce2488a3a64284e4ull);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(records_come_back_in_order_with_their_fingerprints),
        TEST(it_is_full_before_it_overflows),
        TEST(every_changed_byte_of_header_and_directory_is_noticed),
        TEST(what_cannot_be_is_refused_behind_a_right_checksum),
        TEST(a_chunk_has_exactly_these_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
