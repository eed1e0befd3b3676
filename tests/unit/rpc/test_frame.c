#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "common/endian_codec.h"
#include "common/rpc/frame.h"

static const struct rpc_frame request = {
    .kind = RPC_REQUEST,
    .call_id = 0x1122334455667788,
    .method_id = 0x99aabbccddeeff00,
    .timeout_ns = 5000000000,
    .metadata_bytes = 12,
    .body_bytes = 345,
    .payload_bytes = 4096,
    .payload_sum = 0x0123456789abcdef,
    .content_sum = 0xfeedbeef,
};

static void seal(uint8_t *header)
{
    put_le32(header + 60, rpc_content_sum(header, 60));
}

static void a_frame_is_decoded_as_it_was_encoded(void **state)
{
    (void)state;
    uint8_t header[RPC_FRAME_BYTES];
    struct rpc_frame seen;
    rpc_frame_encode(&request, header);
    assert_int_equal(rpc_frame_decode(header, &seen, NULL), PS_OK);
    assert_int_equal(seen.kind, RPC_REQUEST);
    assert_true(seen.call_id == request.call_id && seen.method_id == request.method_id);
    assert_true(seen.timeout_ns == request.timeout_ns && seen.payload_sum == request.payload_sum);
    assert_int_equal(seen.metadata_bytes, 12);
    assert_int_equal(seen.body_bytes, 345);
    assert_int_equal(seen.payload_bytes, 4096);
    assert_int_equal(seen.content_sum, 0xfeedbeef);
    assert_int_equal(seen.status, PS_OK);
}

/* The layout is a promise to other versions: these bytes may not move. */
static void the_fields_lie_where_the_format_says(void **state)
{
    (void)state;
    uint8_t header[RPC_FRAME_BYTES];
    rpc_frame_encode(&request, header);
    assert_memory_equal(header, "PSRC", 4);
    assert_int_equal(get_le16(header + 4), 1);
    assert_int_equal(header[6], 2);
    assert_int_equal(header[7], 0);
    assert_true(get_le64(header + 8) == request.call_id);
    assert_true(get_le64(header + 16) == request.method_id);
    assert_true(get_le64(header + 24) == request.timeout_ns);
    assert_int_equal(get_le32(header + 36), 12);
    assert_int_equal(get_le32(header + 40), 345);
    assert_int_equal(get_le32(header + 44), 4096);
    assert_true(get_le64(header + 48) == request.payload_sum);
    assert_int_equal(get_le32(header + 56), 0xfeedbeef);
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    uint8_t header[RPC_FRAME_BYTES];
    struct rpc_frame seen;
    rpc_frame_encode(&request, header);
    for (int bit = 0; bit < RPC_FRAME_BYTES * 8; bit++) {
        header[bit / 8] ^= (uint8_t)(1 << bit % 8);
        const int status = rpc_frame_decode(header, &seen, NULL);
        assert_true(status == PS_EPROTOCOL || status == PS_EVERSION);
        header[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void another_version_is_told_apart_from_damage(void **state)
{
    (void)state;
    uint8_t header[RPC_FRAME_BYTES];
    struct rpc_frame seen;
    struct ps_error err;
    rpc_frame_encode(&request, header);
    put_le16(header + 4, 2);
    assert_int_equal(rpc_frame_decode(header, &seen, &err), PS_EVERSION);
    assert_string_equal(err.detail, "frame version 2, spoken here: 1");
}

/* A sealed header with one field changed; refused before anything believes it. */
static void expect_refused(size_t at, unsigned bytes, uint64_t value)
{
    uint8_t header[RPC_FRAME_BYTES];
    struct rpc_frame seen = {.call_id = 77};
    rpc_frame_encode(&request, header);
    for (unsigned i = 0; i < bytes; i++)
        header[at + i] = (uint8_t)(value >> 8 * i);
    seal(header);
    assert_int_equal(rpc_frame_decode(header, &seen, NULL), PS_EPROTOCOL);
    assert_true(seen.call_id == 77);
}

static void lengths_beyond_the_limits_are_refused(void **state)
{
    (void)state;
    expect_refused(36, 4, RPC_METADATA_MAX + 1);
    expect_refused(40, 4, RPC_BODY_MAX + 1);
    expect_refused(44, 4, RPC_PAYLOAD_MAX + 1);
    expect_refused(44, 4, UINT32_MAX);
}

static void a_frame_carries_only_what_its_kind_may(void **state)
{
    (void)state;
    expect_refused(6, 1, 0); /* no such kind */
    expect_refused(6, 1, 9);
    expect_refused(7, 1, 1);            /* flags */
    expect_refused(8, 8, 0);            /* a request has a call id */
    expect_refused(16, 8, 0);           /* and a method */
    expect_refused(32, 4, 5);           /* and no status */
    expect_refused(6, 1, RPC_PING);     /* a ping has none of all this */
    expect_refused(6, 1, RPC_RESPONSE); /* an answer has no method */
}

static void codes_travel_beside_their_canonical_meaning(void **state)
{
    (void)state;
    static const int codes[] = {
#define X(name, value, rpc, err, exit_code, http, text) PS_##name,
        PS_STATUS_MAP(X)
#undef X
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        const uint32_t wire = rpc_status_encode(codes[i]);
        assert_int_equal(wire & 0xffff, ps_status_to_rpc(codes[i]));
        assert_int_equal(rpc_status_decode(wire), codes[i]);
    }
    /* A code of a later version: NOT_FOUND, whatever it is more exactly. */
    assert_int_equal(rpc_status_decode(5 | 999u << 16), PS_ENOTFOUND);
    /* Halves that contradict each other: the canonical one counts. */
    assert_int_equal(rpc_status_decode(5 | 7u << 16), PS_ENOTFOUND);
    assert_int_equal(rpc_status_decode(4242), PS_EINTERNAL);
    assert_int_equal(rpc_status_decode(0 | 999u << 16), PS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_decoded_as_it_was_encoded),
        cmocka_unit_test(the_fields_lie_where_the_format_says),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(another_version_is_told_apart_from_damage),
        cmocka_unit_test(lengths_beyond_the_limits_are_refused),
        cmocka_unit_test(a_frame_carries_only_what_its_kind_may),
        cmocka_unit_test(codes_travel_beside_their_canonical_meaning),
    };
    return cmocka_run_group_tests_name("rpc frame", tests, NULL, NULL);
}
