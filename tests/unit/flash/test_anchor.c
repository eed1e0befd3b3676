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
#include "node/flash/anchor.h"
#include "node/meta/checksum.h"

enum {
    CHECKSUM_AT = ANCHOR_BYTES - 8
};

static void seal(uint8_t *block)
{
    put_le64(block + CHECKSUM_AT, checksum_record(block, ANCHOR_BYTES, CHECKSUM_AT));
}

static struct pool_label some_label(uint32_t pods)
{
    struct pool_label label = {
        .number = 5, .device_bytes = 1ull << 34, .segment_bytes = 8 << 20, .segment_count = 2048};
    memset(label.pool, 0xaa, 16);
    memset(label.store, 0xbb, 16);
    label.pod_count = pods;
    for (uint32_t i = 0; i < pods; i++) {
        memset(label.pods[i].id, (int)i + 1, 16);
        memset(label.pods[i].name, 'a' + (int)i, LABEL_NAME_BYTES - 1);
        label.pods[i].anchor_segments[0] = 2 + 2 * i;
        label.pods[i].anchor_segments[1] = 3 + 2 * i;
    }
    return label;
}

static struct pod_anchor some_anchor(uint32_t runs)
{
    struct pod_anchor a = {.number = 0x11,
                           .epoch = 0x12,
                           .run = 0x13,
                           .generation = 0x14,
                           .seq = 0x15,
                           .hash = 0x16,
                           .log_segment = 0x17,
                           .log_offset = 0x18,
                           .log_next = 0xffffffff,
                           .next_group = 0x19,
                           .next_page = 0x1a,
                           .next_image = 0x1b,
                           .log_epoch = 0x1c,
                           .log_run = 0x1d,
                           .clean = true,
                           .run_count = runs,
                           .protocol_bytes = 24 * runs};
    memset(a.pod, 0xcc, 16);
    memset(a.protocol, 0xd0, a.protocol_bytes);
    for (uint32_t i = 0; i < runs; i++) {
        a.runs[i].seq = 100 + i;
        a.runs[i].first = place_make(64 * (i + 1), 64);
        a.runs[i].bytes = 1000 + i;
    }
    return a;
}

static void labels_come_back(void **state)
{
    (void)state;
    for (uint32_t pods = 0; pods <= LABEL_PODS_MAX; pods++) {
        uint8_t block[ANCHOR_BYTES];
        const struct pool_label label = some_label(pods);
        struct pool_label back;
        memset(block, 0xee, sizeof block);
        label_encode(&label, block);
        memset(&back, 0xee, sizeof back);
        assert_int_equal(label_decode(block, &back, NULL), 0);
        assert_memory_equal(&back, &label, sizeof back);
    }
}

static void anchors_come_back(void **state)
{
    (void)state;
    for (uint32_t runs = 0; runs <= ANCHOR_RUNS_MAX; runs++) {
        uint8_t block[ANCHOR_BYTES], again[ANCHOR_BYTES];
        struct pod_anchor anchor = some_anchor(runs), back;
        anchor.clean = runs % 2;
        for (uint32_t i = 0; i < runs; i++)
            anchor.runs[i].copy_segment = i % 3 ? 70 + i : 0;
        memset(block, 0xee, sizeof block);
        anchor_encode(&anchor, block);
        assert_int_equal(anchor_decode(block, &back, NULL), 0);
        assert_true(back.number == 0x11 && back.epoch == 0x12 && back.run == 0x13 && back.generation == 0x14);
        assert_true(back.seq == 0x15 && back.hash == 0x16 && back.log_segment == 0x17 &&
                    back.log_offset == 0x18);
        assert_true(back.log_next == 0xffffffff && back.run_count == runs && back.next_group == 0x19);
        assert_true(back.next_page == 0x1a && back.next_image == 0x1b && back.clean == (runs % 2 == 1));
        assert_true(back.log_epoch == 0x1c && back.log_run == 0x1d && back.protocol_bytes == 24 * runs);
        for (uint32_t i = 0; i < runs; i++)
            assert_true(back.runs[i].seq == 100 + i && back.runs[i].first.v == anchor.runs[i].first.v &&
                        back.runs[i].bytes == 1000 + i &&
                        back.runs[i].copy_segment == anchor.runs[i].copy_segment);
        assert_memory_equal(back.protocol, anchor.protocol, sizeof back.protocol);
        anchor_encode(&back, again);
        assert_memory_equal(block, again, sizeof block);
    }
}

static void every_changed_byte_is_noticed(void **state)
{
    (void)state;
    static uint8_t label[ANCHOR_BYTES], anchor[ANCHOR_BYTES];
    const struct pool_label l = some_label(3);
    const struct pod_anchor a = some_anchor(3);
    struct pool_label out_label;
    struct pod_anchor out_anchor;
    label_encode(&l, label);
    anchor_encode(&a, anchor);
    for (unsigned i = 0; i < ANCHOR_BYTES; i++) {
        label[i] ^= 0x20;
        anchor[i] ^= 0x20;
        const int expected =
            i < 4 ? PS_ENOTFOUND : PS_EDAMAGED; /* a version counts behind a right checksum only */
        assert_int_equal(label_decode(label, &out_label, NULL), expected);
        assert_int_equal(anchor_decode(anchor, &out_anchor, NULL), expected);
        label[i] ^= 0x20;
        anchor[i] ^= 0x20;
    }
    assert_int_equal(label_decode(anchor, &out_label, NULL), PS_ENOTFOUND);
    assert_int_equal(anchor_decode(label, &out_anchor, NULL), PS_ENOTFOUND);
}

static void another_version_is_named(void **state)
{
    (void)state;
    uint8_t block[ANCHOR_BYTES];
    struct ps_error err = {0};
    const struct pool_label l = some_label(1);
    const struct pod_anchor a = some_anchor(1);
    struct pool_label out_label;
    struct pod_anchor out_anchor;
    label_encode(&l, block);
    block[4] = 1;
    seal(block);
    assert_int_equal(label_decode(block, &out_label, &err), PS_EVERSION);
    assert_non_null(strstr(err.detail, "version 1"));
    anchor_encode(&a, block);
    block[4] = 1;
    seal(block);
    assert_int_equal(anchor_decode(block, &out_anchor, &err), PS_EVERSION);
}

static void a_label_with_impossible_sizes_is_damaged(void **state)
{
    (void)state;
    enum {
        DEVICE = 48,
        SEGMENT = 56,
        COUNT = 60,
        PODS = 64,
        FIRST_POD = 68
    };
    const struct pool_label label = some_label(2);
    uint8_t good[ANCHOR_BYTES], block[ANCHOR_BYTES];
    label_encode(&label, good);
    const struct {
        unsigned at;
        uint32_t value;
    } wrong[] = {
        {SEGMENT, 0},
        {SEGMENT, 1 << 19},
        {SEGMENT, (8 << 20) + 4096},
        {SEGMENT, 1u << 31},
        {SEGMENT, 16 << 20}, /* more than the device */
        {COUNT, 3},
        {COUNT, 0},
        {COUNT, 2049},
        {COUNT, UINT32_MAX},
        {DEVICE + 4, 0}, /* 16 GiB are gone */
        {PODS, 17},
        {PODS, UINT32_MAX},
        {FIRST_POD + 80, 2048},
        {FIRST_POD + 84, UINT32_MAX},
        {FIRST_POD + 88 + 80, 5000},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct pool_label out = {.number = 1};
        struct ps_error err = {0};
        memcpy(block, good, sizeof block);
        put_le32(block + wrong[i].at, wrong[i].value);
        seal(block);
        if (label_decode(block, &out, &err) != PS_EDAMAGED)
            fail_msg("case %zu is taken", i);
        assert_true(err.detail[0] && out.number == 1);
    }
}

static void a_name_without_end_is_cut(void **state)
{
    (void)state;
    struct pool_label label = some_label(1), out;
    uint8_t block[ANCHOR_BYTES];
    memset(label.pods[0].name, 'x', LABEL_NAME_BYTES);
    label_encode(&label, block);
    assert_int_equal(label_decode(block, &out, NULL), 0);
    assert_int_equal(strlen(out.pods[0].name), LABEL_NAME_BYTES - 1);
}

static void an_anchor_with_impossible_values_is_damaged(void **state)
{
    (void)state;
    enum {
        RUN_COUNT = 84,
        PROTOCOL_BYTES = 116,
        FIRST_RUN = 136
    };
    const struct pod_anchor anchor = some_anchor(2);
    uint8_t good[ANCHOR_BYTES], block[ANCHOR_BYTES];
    struct pod_anchor out = {.number = 1};
    anchor_encode(&anchor, good);
    const uint32_t counts[] = {ANCHOR_RUNS_MAX + 1, UINT32_MAX};
    for (size_t i = 0; i < 2; i++) {
        memcpy(block, good, sizeof block);
        put_le32(block + RUN_COUNT, counts[i]);
        seal(block);
        assert_int_equal(anchor_decode(block, &out, NULL), PS_EDAMAGED);
        memcpy(block, good, sizeof block);
        put_le32(block + PROTOCOL_BYTES, i ? UINT32_MAX : ANCHOR_PROTOCOL_MAX + 1);
        seal(block);
        assert_int_equal(anchor_decode(block, &out, NULL), PS_EDAMAGED);
    }
    memcpy(block, good, sizeof block);
    put_le64(block + FIRST_RUN + 8, 0); /* a run that is nowhere */
    seal(block);
    assert_int_equal(anchor_decode(block, &out, NULL), PS_EDAMAGED);
    assert_int_equal(out.number, 1);
}

/* As first written: must not change unseen. Fields as in README.md. */
static void blocks_are_written_as_first_written(void **state)
{
    (void)state;
    uint8_t block[ANCHOR_BYTES];
    const struct pool_label label = some_label(2);
    const struct pod_anchor anchor = some_anchor(2);
    label_encode(&label, block);
    assert_memory_equal(block, "PSPL\3\0\0\0\5\0\0\0\0\0\0\0\xaa", 17);
    assert_true(block[32] == 0xbb && get_le64(block + 48) == 1ull << 34 && get_le32(block + 56) == 8 << 20);
    assert_true(get_le32(block + 60) == 2048 && get_le32(block + 64) == 2 && block[68] == 1 &&
                block[84] == 'a');
    assert_true(get_le32(block + 148) == 2 && get_le32(block + 152) == 3 && block[156] == 2);
    assert_int_equal(checksum_bytes(block, sizeof block), 0xcb55c6b3f2d005a9ull);
    anchor_encode(&anchor, block);
    assert_memory_equal(block, "PSPA\3\0\0\0\x11\0\0\0\0\0\0\0\xcc", 17);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(get_le64(block + 32 + 8 * i), 0x12 + i);
    assert_true(get_le32(block + 72) == 0x17 && get_le32(block + 76) == 0x18 &&
                get_le32(block + 80) == 0xffffffff);
    assert_true(get_le32(block + 84) == 2 && get_le64(block + 88) == 0x19 && get_le64(block + 104) == 0x1b);
    assert_true(get_le32(block + 112) == 1 && get_le32(block + 116) == 48 && get_le64(block + 120) == 0x1c);
    assert_true(get_le64(block + 128) == 0x1d && get_le64(block + 136) == 100 &&
                get_le64(block + 152) == 1000);
    assert_true(block[2047] == 0 && block[2048] == 0xd0 && block[2048 + 47] == 0xd0 && block[2048 + 48] == 0);
    assert_int_equal(checksum_bytes(block, sizeof block), 0x6b08a1a921e830d5ull);
}

static void anchors_fill_one_half_then_the_other(void **state)
{
    (void)state;
    assert_true(anchor_half(0) == 0 && anchor_offset(0) == 0);
    assert_true(anchor_half(127) == 0 && anchor_offset(127) == 127 * 4096);
    assert_true(anchor_half(128) == 1 && anchor_offset(128) == 0);
    assert_true(anchor_half(256) == 0 && anchor_offset(256) == 0);
    for (uint64_t n = 1; n < 1000; n++) /* the newest is never overwritten by the next */
        assert_true(anchor_half(n) != anchor_half(n - 1) || anchor_offset(n) != anchor_offset(n - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_come_back),
        cmocka_unit_test(anchors_come_back),
        cmocka_unit_test(every_changed_byte_is_noticed),
        cmocka_unit_test(another_version_is_named),
        cmocka_unit_test(a_label_with_impossible_sizes_is_damaged),
        cmocka_unit_test(a_name_without_end_is_cut),
        cmocka_unit_test(an_anchor_with_impossible_values_is_damaged),
        cmocka_unit_test(blocks_are_written_as_first_written),
        cmocka_unit_test(anchors_fill_one_half_then_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
