#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/host/catalog_sqlite.h"

static int setup(void **state)
{
    return tokens_create((struct tokens **)state);
}

static int teardown(void **state)
{
    tokens_destroy(*state);
    return 0;
}

static struct token token(const char *name, uint32_t role, uint8_t mark)
{
    struct token t = {.role = role, .created_unix_ns = mark};
    (void)snprintf(t.name, sizeof t.name, "%s", name);
    memset(t.hash, mark, sizeof t.hash);
    return t;
}

static void a_token_is_found_by_its_hash_until_it_is_removed(void **state)
{
    struct token a = token("a", 3, 1), b = token("b", 1, 2), found;
    assert_int_equal(tokens_put(*state, &b, false), 0);
    assert_int_equal(tokens_put(*state, &a, false), 0);
    assert_true(tokens_find(*state, a.hash, &found));
    assert_string_equal(found.name, "a");
    assert_int_equal(found.role, 3);
    assert_true(tokens_after(*state, "", &found));
    assert_string_equal(found.name, "a");
    assert_true(tokens_after(*state, "a", &found));
    assert_string_equal(found.name, "b");
    assert_false(tokens_after(*state, "b", &found));
    assert_int_equal(tokens_remove(*state, "a"), 0);
    assert_false(tokens_find(*state, a.hash, &found));
    assert_true(tokens_find(*state, b.hash, &found));
    assert_int_equal(tokens_remove(*state, "a"), PS_ENOTFOUND);
}

static void a_name_is_one_token_s(void **state)
{
    struct token a = token("a", 3, 1), other = token("a", 3, 2), lesser = token("a", 1, 1);
    assert_int_equal(tokens_put(*state, &a, true), 0);
    assert_int_equal(tokens_remove(*state, "a"), PS_ENOTFOUND); /* it was only asked */
    assert_int_equal(tokens_put(*state, &a, false), 0);
    assert_int_equal(tokens_put(*state, &a, false), 0);
    assert_int_equal(tokens_put(*state, &other, false), PS_EEXISTS);
    assert_int_equal(tokens_put(*state, &lesser, false), PS_EEXISTS);
}

static void there_is_an_end_of_tokens(void **state)
{
    char name[16];
    for (unsigned i = 0; i <= TOKENS_MAX; i++) {
        (void)snprintf(name, sizeof name, "t%u", i);
        const struct token t = token(name, 1, (uint8_t)i);
        assert_int_equal(tokens_put(*state, &t, false), i < TOKENS_MAX ? 0 : PS_ELIMIT);
    }
}

static void tokens_outlive_the_process(void **state)
{
    char dir[] = "/tmp/tokens-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/catalog.db", dir);
    struct catalog *catalog;
    struct ps_error err;
    assert_int_equal(catalog_open(path, &catalog, &err), 0);
    const struct token a = token("a", 2, 7), b = token("b", 1, 8);
    assert_int_equal(catalog_put_token(catalog, &a), 0);
    assert_int_equal(catalog_put_token(catalog, &b), 0);
    assert_int_equal(catalog_drop_token(catalog, "b"), 0);
    assert_int_equal(catalog_drop_token(catalog, "b"), PS_ENOTFOUND);
    catalog_close(catalog);
    assert_int_equal(catalog_open(path, &catalog, &err), 0);
    assert_int_equal(catalog_load_tokens(catalog, *state), 0);
    catalog_close(catalog);
    struct token found;
    assert_true(tokens_find(*state, a.hash, &found));
    assert_string_equal(found.name, "a");
    assert_int_equal(found.role, 2);
    assert_int_equal(found.created_unix_ns, 7);
    assert_false(tokens_find(*state, b.hash, &found));
    (void)unlink(path);
    (void)rmdir(dir);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_token_is_found_by_its_hash_until_it_is_removed),
        TEST(a_name_is_one_token_s),
        TEST(there_is_an_end_of_tokens),
        TEST(tokens_outlive_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
