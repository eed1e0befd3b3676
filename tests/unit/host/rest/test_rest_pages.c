/* What a browser is told about files that are built in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "node/host/rest/rest_pages.h"

static void gzip_is_sent_to_who_takes_it(void **state)
{
    (void)state;
    static const char *const takes[] = {
        "gzip", "GZIP", "br, gzip", "deflate,gzip;q=0.5", "*", "identity, *;q=0.1", " gzip ; q=1.0 , br",
    };
    static const char *const refuses[] = {
        "",      "identity", "br, deflate", "gzip;q=0",    "gzip; q=0.000, *", "*;q=0",
        "xgzip", "gzipx",    ",,,",         "gzip;q=0,br", "identity;q=1",     "x-gzip",
    };
    assert_true(rest_page_takes_gzip(NULL));
    for (size_t i = 0; i < sizeof takes / sizeof takes[0]; i++)
        if (!rest_page_takes_gzip(takes[i]))
            fail_msg("refused: %s", takes[i]);
    for (size_t i = 0; i < sizeof refuses / sizeof refuses[0]; i++)
        if (rest_page_takes_gzip(refuses[i]))
            fail_msg("taken: %s", refuses[i]);
}

static void what_is_known_is_not_sent_again(void **state)
{
    (void)state;
    assert_true(rest_page_is_known("\"a1\"", "\"a1\""));
    assert_true(rest_page_is_known("\"a1\"", "\"b\", W/\"a1\""));
    assert_true(rest_page_is_known("\"a1\"", "*"));
    assert_false(rest_page_is_known("\"a1\"", NULL));
    assert_false(rest_page_is_known("\"a1\"", ""));
    assert_false(rest_page_is_known("\"a1\"", "\"a11\""));
    assert_false(rest_page_is_known("\"a1\"", "a1"));
}

static void each_file_is_found_by_its_path_alone(void **state)
{
    (void)state;
    assert_true(rest_page_file_count >= 2);
    for (size_t i = 0; i < rest_page_file_count; i++) {
        const struct rest_page_file *f = &rest_page_files[i];
        assert_ptr_equal(rest_page_find(f->path, strlen(f->path)), f);
        assert_null(rest_page_find(f->path, strlen(f->path) - 1));
        assert_true(f->end > f->begin);
        assert_int_equal(f->packed, f->begin[0] == 0x1f && f->begin[1] == 0x8b);
        assert_true(f->etag[0] == '"' && strlen(f->etag) == 18);
    }
    assert_non_null(rest_page_find("/docs", 5));
    assert_non_null(rest_page_find("/redoc", 6));
    assert_null(rest_page_find("", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gzip_is_sent_to_who_takes_it),
        cmocka_unit_test(what_is_known_is_not_sent_again),
        cmocka_unit_test(each_file_is_found_by_its_path_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
