#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/host/rest/json_read.h"
#include "node/host/rest/json_write.h"

static struct json_member members[JSON_MEMBERS_MAX];
static size_t count;
static struct ps_error err;

/* On the heap and of just its length, so that ASan sees a byte too far. */
static char *text;

static int read_n(const char *json, size_t length)
{
    free(text);
    text = malloc(length ? length : 1);
    memcpy(text, json, length);
    return json_read_object(text, length, members, &count, &err);
}

static int read(const char *json)
{
    return read_n(json, strlen(json));
}

static int teardown(void **state)
{
    (void)state;
    free(text);
    text = NULL;
    return 0;
}

static void members_come_as_they_were_written(void **state)
{
    (void)state;
    assert_int_equal(
        read(" { \"a\" : 18446744073709551615 , \"b\":\"x\\u00e4\\n\\ud83d\\ude00\",\"c\":true,\"d\":null,"
             "\"e\":[1,{\"f\":[]}],\"g\":{},\"h\":-0,\"i\":1.5e3} \r\n"),
        0);
    assert_int_equal(count, 8);
    assert_true(members[0].value.integer && members[0].value.number == UINT64_MAX);
    assert_string_equal(members[1].value.text, "x\xc3\xa4\n\xf0\x9f\x98\x80");
    assert_int_equal(members[1].value.length, 8);
    assert_true(members[2].value.type == JSON_BOOL && members[2].value.boolean);
    assert_int_equal(members[3].value.type, JSON_NULL);
    assert_int_equal(members[4].value.type, JSON_ARRAY);
    assert_int_equal(members[5].value.type, JSON_OBJECT);
    assert_true(members[6].value.integer && members[6].value.negative && members[6].value.number == 0);
    assert_false(members[7].value.integer);
    assert_int_equal(read("{}"), 0);
    assert_int_equal(count, 0);
}

static void a_number_beyond_64_bits_is_no_integer(void **state)
{
    (void)state;
    assert_int_equal(read("{\"a\":18446744073709551616,\"b\":99999999999999999999999999999999}"), 0);
    assert_false(members[0].value.integer);
    assert_false(members[1].value.integer);
}

static void what_is_no_json_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "{\"",
        "{\"a",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":1e}",
        "{\"a\":1e+}",
        "{\"a\":-}",
        "{\"a\":0x1}",
        "{\"a\":NaN}",
        "{\"a\":tru}",
        "{\"a\":truee}",
        "{\"a\":nul",
        "{\"a\":'x'}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\ud800\\",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\xc0\x80\"}",
        "{\"a\":\"\xed\xa0\x80\"}",
        "{\"a\":\"\xe2\x82\"}",
        "{} {}",
        "{}x",
        "[1]",
        "1",
        "\"a\"",
        "null",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
        "{\"a\":[",
        "{\"a\":{\"b\":1,}}",
        "{\"a\":{\"b\"}}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "{\"a\":1}/**/",
        "\xef\xbb\xbf{}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (read(bad[i]) != PS_EINVAL)
            fail_msg("taken: %s", bad[i]);
        assert_true(err.detail[0]);
    }
    assert_int_equal(read_n("{\"a\":\"x\0y\"}", 11), PS_EINVAL);
    assert_int_equal(read_n("{}\0", 3), PS_EINVAL);
}

static void an_escaped_nul_stays_within_its_length(void **state)
{
    (void)state;
    assert_int_equal(read("{\"a\":\"x\\u0000y\"}"), 0);
    assert_int_equal(members[0].value.length, 3);
    assert_memory_equal(members[0].value.text, "x\0y", 4);
}

static void nesting_has_an_end(void **state)
{
    (void)state;
    char deep[256 * 1024];
    memcpy(deep, "{\"a\":", 5);
    size_t n = 5;
    for (int i = 0; i < JSON_DEPTH_MAX - 1; i++)
        deep[n++] = '[';
    for (int i = 0; i < JSON_DEPTH_MAX - 1; i++)
        deep[n++] = ']';
    deep[n++] = '}';
    assert_int_equal(read_n(deep, n), 0);
    memset(deep + 5, '[', sizeof deep - 5);
    assert_int_equal(read_n(deep, sizeof deep), PS_EINVAL);
    assert_non_null(strstr(err.detail, "too deep"));
    memset(deep, '[', sizeof deep);
    assert_int_equal(read_n(deep, sizeof deep), PS_EINVAL);
}

static void members_have_an_end(void **state)
{
    (void)state;
    char many[1024] = "{";
    size_t n = 1;
    for (int i = 0; i <= JSON_MEMBERS_MAX; i++)
        n += (size_t)snprintf(many + n, sizeof many - n, "%s\"m%d\":1", i ? "," : "", i);
    many[n++] = '}';
    assert_int_equal(read_n(many, n), PS_EINVAL);
    assert_non_null(strstr(err.detail, "more than 32"));
}

static void base64_is_strict(void **state)
{
    (void)state;
    static const struct {
        const char *text, *data;
    } good[] = {{"", ""},        {"Zg==", "f"},        {"Zm8=", "fo"},
                {"Zm9v", "foo"}, {"Zm9vYg==", "foob"}, {"SGVsbG8gV29ybGQh", "Hello World!"}};
    static const char *const bad[] = {"Z",        "Zg",   "Zg=",  "Zh==", "Zm9=",     "Zm9v\n",  "Zm 9",
                                      "Zm9v====", "=Zm9", "Z===", "Zm-_", "Zg==Zg==", "Zm9\xff", "===="};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char in_place[64];
        memcpy(in_place, good[i].text, strlen(good[i].text) + 1);
        assert_int_equal(base64_decode(in_place, strlen(good[i].text)), strlen(good[i].data));
        assert_memory_equal(in_place, good[i].data, strlen(good[i].data));
        struct json_out out = {0};
        json_base64(&out, NULL, (const uint8_t *)good[i].data, strlen(good[i].data));
        assert_int_equal(out.length, strlen(good[i].text) + 2);
        assert_memory_equal(out.text + 1, good[i].text, strlen(good[i].text));
        json_out_free(&out);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char in_place[64];
        memcpy(in_place, bad[i], strlen(bad[i]) + 1);
        if (base64_decode(in_place, strlen(bad[i])) != SIZE_MAX)
            fail_msg("taken: %s", bad[i]);
    }
}

static void what_is_written_is_json(void **state)
{
    (void)state;
    struct json_out out = {0};
    json_object(&out, NULL);
    json_u64(&out, "max", UINT64_MAX);
    json_string(&out, "text", "a\"\\\n\x7f\xc3\xa4\xff");
    json_array(&out, "list");
    json_bool(&out, NULL, true);
    json_null(&out, NULL);
    json_object(&out, NULL);
    json_object_end(&out);
    json_array_end(&out);
    json_double(&out, "half", 0.5);
    json_double(&out, "whole", 3);
    json_double(&out, "none", (double)NAN);
    json_time(&out, "time", 1795670112123456789ull);
    json_time(&out, "leap", 1709208000000000000ull);
    json_time(&out, "never", 0);
    json_object_end(&out);
    static const char want[] =
        "{\"max\":18446744073709551615,\"text\":\"a\\\"\\\\\\u000a\\u007f\xc3\xa4\xef\xbf\xbd\",\"list\":["
        "true,null,{}],"
        "\"half\":0.5,\"whole\":3.0,\"none\":null,\"time\":\"2026-11-26T05:15:12.123456789Z\","
        "\"leap\":\"2024-02-29T12:00:00.000000000Z\",\"never\":null}";
    assert_int_equal(out.length, sizeof want - 1);
    assert_memory_equal(out.text, want, sizeof want - 1);
    json_out_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(members_come_as_they_were_written, teardown),
        cmocka_unit_test_teardown(a_number_beyond_64_bits_is_no_integer, teardown),
        cmocka_unit_test_teardown(what_is_no_json_is_refused, teardown),
        cmocka_unit_test_teardown(an_escaped_nul_stays_within_its_length, teardown),
        cmocka_unit_test_teardown(nesting_has_an_end, teardown),
        cmocka_unit_test_teardown(members_have_an_end, teardown),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(what_is_written_is_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
