#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "common/sizes.h"

static uint64_t parsed(const char *text)
{
    uint64_t v = 0;
    assert_int_equal(size_parse(text, &v, NULL), 0);
    return v;
}

static void sizes_are_powers_of_1024_however_they_are_written(void **state)
{
    (void)state;
    assert_int_equal(parsed("0"), 0);
    assert_int_equal(parsed("512"), 512);
    assert_int_equal(parsed("512B"), 512);
    assert_int_equal(parsed("4k"), 4096);
    assert_int_equal(parsed("10G"), 10ull << 30);
    assert_int_equal(parsed("10GiB"), 10ull << 30);
    assert_int_equal(parsed("10gb"), 10ull << 30);
    assert_int_equal(parsed("16T"), 16ull << 40);
    assert_true(parsed("18446744073709551615") == UINT64_MAX);
}

static void what_is_no_size_is_refused_with_its_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *reason;
        int status;
    } wrong[] = {
        {"", "no size", PS_EINVAL},
        {"G", "no size", PS_EINVAL},
        {"-1G", "no size", PS_EINVAL},
        {" 1G", "no size", PS_EINVAL},
        {"1.5G", "1536M", PS_EINVAL},
        {"1,5G", "1536M", PS_EINVAL},
        {"1 G", "none of K", PS_EINVAL},
        {"1X", "none of K", PS_EINVAL},
        {"1GiBx", "none of K", PS_EINVAL},
        {"1KK", "none of K", PS_EINVAL},
        {"16777216T", "too large", PS_ERANGE},
        {"18446744073709551616", "too large", PS_ERANGE},
        {"99999999999999999999999K", "too large", PS_ERANGE},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint64_t v = 77;
        struct ps_error err;
        assert_int_equal(size_parse(wrong[i].text, &v, &err), wrong[i].status);
        assert_non_null(strstr(err.detail, wrong[i].reason));
        assert_non_null(strstr(err.detail, wrong[i].text));
        assert_int_equal(v, 77);
    }
}

static void the_exact_form_parses_back(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {{0, "0"},
                {1000, "1000"},
                {4096, "4K"},
                {1536ull << 20, "1536M"},
                {16ull << 30, "16G"},
                {1ull << 50, "1024T"},
                {UINT64_MAX, "18446744073709551615"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[SIZE_TEXT_MAX];
        assert_string_equal(size_format(rows[i].bytes, text), rows[i].text);
        assert_true(parsed(text) == rows[i].bytes);
    }
}

static void people_see_one_decimal(void **state)
{
    (void)state;
    char t[SIZE_TEXT_MAX];
    assert_string_equal(size_format_human(512, t), "512 B");
    assert_string_equal(size_format_human(1536, t), "1.5 KiB");
    assert_string_equal(size_format_human((1ull << 30) - 1, t), "1.0 GiB");
    assert_string_equal(size_format_human(UINT64_MAX, t), "16777216.0 TiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_powers_of_1024_however_they_are_written),
        cmocka_unit_test(what_is_no_size_is_refused_with_its_reason),
        cmocka_unit_test(the_exact_form_parses_back),
        cmocka_unit_test(people_see_one_decimal),
    };
    return cmocka_run_group_tests_name("sizes", tests, NULL, NULL);
}
