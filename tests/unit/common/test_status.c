#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "common/status.h"

static void every_code_has_a_row_of_its_own(void **state)
{
    (void)state;
    assert_string_equal(ps_status_name(PS_OK), "OK");
    assert_string_equal(ps_status_name(PS_EFULL), "EFULL");
    assert_int_equal(ps_status_errno(PS_EFULL), ENOSPC);
    assert_int_equal(ps_status_exit_code(PS_ENOTFOUND), 3);
    assert_int_equal(ps_status_exit_code(PS_EUNAVAILABLE), 4);
    assert_int_equal(ps_status_exit_code(PS_EINVAL), 2);
}

static void a_value_that_is_none_of_ours_is_an_internal_error(void **state)
{
    (void)state;
    assert_string_equal(ps_status_name(-12345), "EINTERNAL");
    assert_int_equal(ps_status_from_rpc(9999), PS_EINTERNAL);
}

static void codes_survive_the_way_through_rpc(void **state)
{
    (void)state;
    assert_int_equal(ps_status_from_rpc(ps_status_to_rpc(PS_ENOTFOUND)), PS_ENOTFOUND);
    assert_int_equal(ps_status_from_rpc(ps_status_to_rpc(PS_EFULL)), PS_EFULL);
    assert_int_equal(ps_status_from_rpc(ps_status_to_rpc(PS_EDATALOSS)), PS_EDATALOSS);
}

static void too_long_a_detail_is_cut(void **state)
{
    (void)state;
    struct ps_error err;
    assert_int_equal(ps_error_set(&err, PS_EINVAL, "%0500d", 7), PS_EINVAL);
    assert_int_equal(strlen(err.detail), sizeof err.detail - 1);
    assert_int_equal(ps_error_set(NULL, PS_EIO, "nobody reads this"), PS_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_row_of_its_own),
        cmocka_unit_test(a_value_that_is_none_of_ours_is_an_internal_error),
        cmocka_unit_test(codes_survive_the_way_through_rpc),
        cmocka_unit_test(too_long_a_detail_is_cut),
    };
    return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
