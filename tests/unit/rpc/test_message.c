#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/message.h"
#include "common/rpc/metadata.h"
#include "common/rpc/pool.h"
#include "pstorage/v1/volumes.pb-c.h"

static int unpack(const ProtobufCMessageDescriptor *type, const void *body, size_t length,
                  struct ps_error *err)
{
    struct rpc_arena arena;
    rpc_arena_init(&arena);
    err->status = PS_OK;
    const ProtobufCMessage *message = rpc_message_unpack(&arena, type, body, length, err);
    const int status = message ? PS_OK : err->status;
    rpc_arena_free(&arena);
    return status;
}

static void a_body_becomes_the_message_that_it_was(void **state)
{
    (void)state;
    Pstorage__V1__CreateVolumeRequest request = PSTORAGE__V1__CREATE_VOLUME_REQUEST__INIT;
    char name[] = "größe";
    request.name = name;
    request.size_bytes = 1ull << 40;
    uint8_t body[64];
    const size_t length = protobuf_c_message_pack(&request.base, body);
    struct rpc_arena arena;
    struct ps_error err;
    rpc_arena_init(&arena);
    for (int round = 0; round < 3; round++) {
        const Pstorage__V1__CreateVolumeRequest *seen = (const void *)rpc_message_unpack(
            &arena, &pstorage__v1__create_volume_request__descriptor, body, length, &err);
        assert_non_null(seen);
        assert_string_equal(seen->name, name);
        assert_true(seen->size_bytes == 1ull << 40);
        rpc_arena_reset(&arena);
    }
    rpc_arena_free(&arena);
}

static void text_that_is_not_utf8_is_refused(void **state)
{
    (void)state;
    struct ps_error err;
    static const uint8_t body[] = {0x0a, 3, 'a', 0xff, 'b'}; /* field 1 = name */
    assert_int_equal(unpack(&pstorage__v1__create_volume_request__descriptor, body, sizeof body, &err),
                     PS_EINVAL);
    assert_string_equal(err.detail, "name is not valid UTF-8");
}

static void utf8_is_valid_only_in_its_shortest_form(void **state)
{
    (void)state;
    assert_true(rpc_utf8_valid(""));
    assert_true(rpc_utf8_valid("plain, \xc3\xa4, \xe2\x82\xac, \xf0\x9f\x98\x80, \xf4\x8f\xbf\xbf"));
    static const char *const bad[] = {
        "\x80",         "\xc0\xaf",         "\xc1\xbf",         "\xe0\x9f\xbf",
        "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xc3",         "\xe2\x82",         "\xf0\x9f\x98",     "\xff",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(rpc_utf8_valid(bad[i]));
}

static void text_that_was_cut_is_repaired_before_it_is_sent(void **state)
{
    (void)state;
    char whole[] = "gr\xc3\xb6\xc3\x9f"
                   "e",
         cut[] = "gr\xc3\xb6\xc3", path[] = "/tmp/\xff\xe2\x82x";
    rpc_utf8_repair(whole);
    assert_string_equal(whole, "gr\xc3\xb6\xc3\x9f"
                               "e");
    rpc_utf8_repair(cut);
    assert_string_equal(cut, "gr\xc3\xb6?");
    rpc_utf8_repair(path);
    assert_string_equal(path, "/tmp/???x");
}

static void an_unknown_enum_value_is_refused(void **state)
{
    (void)state;
    struct ps_error err;
    static const uint8_t body[] = {0x10, 9}; /* field 2 = write_cache */
    assert_int_equal(unpack(&pstorage__v1__set_volume_request__descriptor, body, sizeof body, &err),
                     PS_EINVAL);
    assert_string_equal(err.detail, "write_cache has the unknown value 9");
    static const uint8_t known[] = {0x10, 2};
    assert_int_equal(unpack(&pstorage__v1__set_volume_request__descriptor, known, sizeof known, &err), PS_OK);
}

static void checks_reach_into_nested_and_repeated_messages(void **state)
{
    (void)state;
    struct ps_error err;
    /* volumes { } volumes { name: "\xff" } */
    static const uint8_t text[] = {0x0a, 0, 0x0a, 3, 0x1a, 1, 0xff};
    assert_int_equal(unpack(&pstorage__v1__list_volumes_response__descriptor, text, sizeof text, &err),
                     PS_EINVAL);
    /* volumes { kind: 7 } */
    static const uint8_t kind[] = {0x0a, 2, 0x10, 7};
    assert_int_equal(unpack(&pstorage__v1__list_volumes_response__descriptor, kind, sizeof kind, &err),
                     PS_EINVAL);
}

static void fields_of_a_later_version_are_ignored(void **state)
{
    (void)state;
    struct ps_error err;
    static const uint8_t body[] = {0x0a, 1, 'v', 0xf8, 0x07, 1}; /* field 127 = 1 */
    assert_int_equal(unpack(&pstorage__v1__create_volume_request__descriptor, body, sizeof body, &err),
                     PS_OK);
}

static void a_body_that_blows_up_is_stopped_at_the_memory_limit(void **state)
{
    (void)state;
    struct ps_error err;
    uint8_t *body = malloc(RPC_BODY_MAX);
    /* Half a million unknown fields, then half a million empty messages. */
    for (size_t i = 0; i < RPC_BODY_MAX; i += 2) {
        body[i] = 0x78;
        body[i + 1] = 0;
    }
    assert_int_equal(unpack(&pstorage__v1__list_volumes_response__descriptor, body, RPC_BODY_MAX, &err),
                     PS_EINVAL);
    for (size_t i = 0; i < RPC_BODY_MAX; i += 2)
        body[i] = 0x0a;
    assert_int_equal(unpack(&pstorage__v1__list_volumes_response__descriptor, body, RPC_BODY_MAX, &err),
                     PS_EINVAL);
    /* Fewer: no single piece is too large, all together are. */
    assert_int_equal(unpack(&pstorage__v1__list_volumes_response__descriptor, body, 100000, &err), PS_EINVAL);
    assert_int_equal(unpack(&pstorage__v1__list_volumes_response__descriptor, body, 10000, &err), PS_OK);
    free(body);
}

static void deep_nesting_is_only_an_unknown_field(void **state)
{
    (void)state;
    struct ps_error err;
    enum {
        DEPTH = 20000
    };
    uint8_t *body = malloc(DEPTH * 2);
    /* Groups that open and never close, the classic way to a deep stack. */
    memset(body, 0x0b, DEPTH * 2);
    assert_int_equal(unpack(&pstorage__v1__list_volumes_response__descriptor, body, DEPTH * 2, &err),
                     PS_EINVAL);
    free(body);
}

static void a_method_keeps_its_name_on_the_wire(void **state)
{
    (void)state;
    const uint64_t create = rpc_method_id(&pstorage__v1__volumes__descriptor, "Create");
    assert_true(create == rpc_method_id(&pstorage__v1__volumes__descriptor, "Create"));
    assert_true(create != rpc_method_id(&pstorage__v1__volumes__descriptor, "Delete"));
    /* Fixed: clients of other versions send this number. */
    assert_true(create == 0xcfaa13b9e8b9be26ull);
}

static void metadata_is_found_by_its_key(void **state)
{
    (void)state;
    const struct rpc_metadata entries[] = {{"trace", "abc", 3}, {"empty", NULL, 0}, {"trace", "later", 5}};
    uint8_t wire[64];
    size_t size = 0, length = 99;
    assert_int_equal(rpc_metadata_size(entries, 3, &size, NULL), PS_OK);
    assert_true(rpc_metadata_encode(entries, 3, wire) == wire + size);
    assert_int_equal(rpc_metadata_check(wire, size, NULL), PS_OK);
    assert_memory_equal(rpc_metadata_find(wire, size, "trace", &length), "abc", 3);
    assert_int_equal(length, 3);
    assert_non_null(rpc_metadata_find(wire, size, "empty", &length));
    assert_int_equal(length, 0);
    assert_null(rpc_metadata_find(wire, size, "tra", &length));
    for (size_t cut = 1; cut < size; cut++)
        if (cut != 3 + 5 + 3 && cut != 3 + 5 + 3 + 3 + 5) /* where an entry ends it is only shorter */
            assert_int_equal(rpc_metadata_check(wire, cut, NULL), PS_EPROTOCOL);
}

static void metadata_beyond_its_limits_is_refused(void **state)
{
    (void)state;
    size_t size;
    static char large[RPC_METADATA_MAX];
    struct rpc_metadata many[RPC_METADATA_ENTRIES_MAX + 1];
    for (size_t i = 0; i < RPC_METADATA_ENTRIES_MAX + 1; i++)
        many[i] = (struct rpc_metadata){"k", "v", 1};
    assert_int_equal(rpc_metadata_size(many, RPC_METADATA_ENTRIES_MAX, &size, NULL), PS_OK);
    assert_int_equal(rpc_metadata_size(many, RPC_METADATA_ENTRIES_MAX + 1, &size, NULL), PS_EINVAL);
    const struct rpc_metadata too_large = {"k", large, sizeof large};
    assert_int_equal(rpc_metadata_size(&too_large, 1, &size, NULL), PS_EINVAL);
    const struct rpc_metadata bad_key = {"Key", "v", 1}, no_key = {"", "v", 1};
    assert_int_equal(rpc_metadata_size(&bad_key, 1, &size, NULL), PS_EINVAL);
    assert_int_equal(rpc_metadata_size(&no_key, 1, &size, NULL), PS_EINVAL);
    static const uint8_t wire_bad_key[] = {1, 0, 0, 'K'};
    assert_int_equal(rpc_metadata_check(wire_bad_key, sizeof wire_bad_key, NULL), PS_EPROTOCOL);
    uint8_t crowd[(RPC_METADATA_ENTRIES_MAX + 1) * 4];
    for (size_t i = 0; i < sizeof crowd; i += 4)
        memcpy(crowd + i, (const uint8_t[]){1, 0, 0, 'k'}, 4);
    assert_int_equal(rpc_metadata_check(crowd, sizeof crowd, NULL), PS_EPROTOCOL);
    assert_int_equal(rpc_metadata_check(crowd, sizeof crowd - 4, NULL), PS_OK);
}

static void payload_buffers_are_aligned_and_come_back(void **state)
{
    (void)state;
    struct rpc_pool pool = {0};
    void *first = rpc_pool_get(&pool, 5000);
    assert_int_equal((uintptr_t)first % RPC_PAYLOAD_ALIGN, 0);
    rpc_pool_put(&pool, first, 5000);
    assert_ptr_equal(rpc_pool_get(&pool, 8192), first); /* the same class */
    rpc_pool_put(&pool, first, 8192);
    void *large[6];
    for (size_t i = 0; i < 6; i++)
        large[i] = rpc_pool_get(&pool, RPC_PAYLOAD_MAX);
    for (size_t i = 0; i < 6; i++)
        rpc_pool_put(&pool, large[i], RPC_PAYLOAD_MAX);
    assert_true(pool.kept <= RPC_POOL_KEPT_BYTES);
    rpc_pool_clear(&pool);
    assert_int_equal(pool.kept, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_becomes_the_message_that_it_was),
        cmocka_unit_test(text_that_is_not_utf8_is_refused),
        cmocka_unit_test(utf8_is_valid_only_in_its_shortest_form),
        cmocka_unit_test(text_that_was_cut_is_repaired_before_it_is_sent),
        cmocka_unit_test(an_unknown_enum_value_is_refused),
        cmocka_unit_test(checks_reach_into_nested_and_repeated_messages),
        cmocka_unit_test(fields_of_a_later_version_are_ignored),
        cmocka_unit_test(a_body_that_blows_up_is_stopped_at_the_memory_limit),
        cmocka_unit_test(deep_nesting_is_only_an_unknown_field),
        cmocka_unit_test(a_method_keeps_its_name_on_the_wire),
        cmocka_unit_test(metadata_is_found_by_its_key),
        cmocka_unit_test(metadata_beyond_its_limits_is_refused),
        cmocka_unit_test(payload_buffers_are_aligned_and_come_back),
    };
    return cmocka_run_group_tests_name("rpc message", tests, NULL, NULL);
}
