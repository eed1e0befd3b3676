/* Which endpoint is tried, when, and when the search is given up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "client/lib/endpoints.h"

#define MS 1000000ull

static struct endpoints of(const char *text, uint64_t patience_ns)
{
    struct endpoints e;
    struct ps_error err = {0};
    assert_int_equal(endpoints_parse(&e, text, patience_ns, &err), 0);
    return e;
}

static void blanks_part_endpoints(void **state)
{
    (void)state;
    const struct endpoints e = of("  tcp://a:1\n tcp://[::1]:2\tipc:///x ", 0);
    assert_int_equal(e.count, 3);
    assert_string_equal(e.urls[0], "tcp://a:1");
    assert_string_equal(e.urls[1], "tcp://[::1]:2");
    assert_string_equal(e.urls[2], "ipc:///x");
}

static void each_is_tried_once_then_it_is_given_up(void **state)
{
    (void)state;
    struct endpoints e = of("tcp://a:1 tcp://b:2", 0);
    assert_int_equal(endpoints_wanted(&e, 1000), 0);
    assert_string_equal(endpoints_url(&e), "tcp://a:1");
    assert_false(endpoints_failed(&e, 1000, false));
    assert_string_equal(endpoints_url(&e), "tcp://b:2");
    assert_true(endpoints_failed(&e, 1000, false));
    /* The next one who asks starts a new round at once. */
    assert_int_equal(endpoints_wanted(&e, 1000), 0);
    assert_string_equal(endpoints_url(&e), "tcp://a:1");
}

static void with_patience_rounds_follow_after_growing_pauses(void **state)
{
    (void)state;
    struct endpoints e = of("tcp://a:1", 5000 * MS);
    uint64_t now = 7 * MS;
    assert_int_equal(endpoints_wanted(&e, now), 0);
    static const uint64_t pauses_ms[] = {100, 200, 400, 800, 1000, 1000};
    for (size_t i = 0; i < sizeof pauses_ms / sizeof pauses_ms[0]; i++) {
        assert_false(endpoints_failed(&e, now, false));
        assert_int_equal(endpoints_wanted(&e, now), now + pauses_ms[i] * MS);
        now += pauses_ms[i] * MS;
    }
    assert_true(endpoints_failed(&e, 5007 * MS, false));
}

static void a_round_of_refusals_is_the_last_whatever_the_patience(void **state)
{
    (void)state;
    struct endpoints e = of("tcp://a:1 tcp://b:2", 60000 * MS);
    (void)endpoints_wanted(&e, 0);
    assert_false(endpoints_failed(&e, 0, true));
    assert_false(endpoints_failed(&e, 0, false)); /* b may come back yet */
    assert_false(endpoints_failed(&e, 0, true));
    assert_true(endpoints_failed(&e, 0, true));
}

static void one_that_was_up_is_the_first_to_be_tried_again(void **state)
{
    (void)state;
    struct endpoints e = of("tcp://a:1 tcp://b:2", 0);
    (void)endpoints_wanted(&e, 0);
    assert_false(endpoints_failed(&e, 0, false));
    endpoints_up(&e);                                   /* b answers */
    assert_false(endpoints_failed(&e, 10 * MS, false)); /* and is lost */
    assert_int_equal(endpoints_wanted(&e, 10 * MS), 0);
    assert_string_equal(endpoints_url(&e), "tcp://b:2");
    assert_false(endpoints_failed(&e, 10 * MS, false));
    assert_string_equal(endpoints_url(&e), "tcp://a:1");
    assert_true(endpoints_failed(&e, 10 * MS, false));
}

static void the_primary_is_looked_for_round_by_round(void **state)
{
    (void)state;
    struct endpoints e = of("tcp://a:1 tcp://b:2", 250 * MS);
    endpoints_up(&e);
    assert_false(endpoints_elsewhere(&e, 0)); /* a is not */
    assert_string_equal(endpoints_url(&e), "tcp://b:2");
    assert_int_equal(endpoints_wanted(&e, 0), 0);
    endpoints_up(&e);
    assert_false(endpoints_elsewhere(&e, 0)); /* nor is b: after a pause, again */
    assert_string_equal(endpoints_url(&e), "tcp://a:1");
    assert_int_equal(endpoints_wanted(&e, 0), 100 * MS);
    endpoints_up(&e);
    assert_false(endpoints_elsewhere(&e, 100 * MS));
    endpoints_up(&e);
    assert_false(endpoints_elsewhere(&e, 100 * MS));
    assert_int_equal(endpoints_wanted(&e, 100 * MS), 300 * MS);
    endpoints_up(&e);
    assert_false(endpoints_elsewhere(&e, 300 * MS));
    endpoints_up(&e);
    assert_true(endpoints_elsewhere(&e, 300 * MS)); /* patience is over */
    endpoints_up(&e);
    assert_false(endpoints_elsewhere(&e, 300 * MS)); /* who asks next is as patient */
    endpoints_primary(&e);
    assert_false(endpoints_elsewhere(&e, 900 * MS));
}

static void a_single_endpoint_is_left_for_no_other(void **state)
{
    (void)state;
    struct endpoints e = of("tcp://a:1", 60000 * MS);
    endpoints_up(&e);
    assert_true(endpoints_elsewhere(&e, 0));
}

static void what_is_no_endpoint_is_refused_with_its_words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "no endpoint is given"},
        {"host:9500", "\"host:9500\" is no endpoint"},
        {"tcp://host", "needs a host and a port"},
        {"tcp://host:0", "needs a host and a port"},
        {"tcp://host:65536", "needs a host and a port"},
        {"tcp://:9500", "needs a host and a port"},
        {"tcp://a:1 udp://b:1", "\"udp://b:1\" is no endpoint"},
        {"ipc://", "\"ipc://\" is no endpoint"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct endpoints e;
        struct ps_error err = {0};
        assert_int_equal(endpoints_parse(&e, cases[i].text, 0, &err), PS_EINVAL);
        assert_non_null(strstr(err.detail, cases[i].says));
    }
    char many[17 * 12] = "", one[12];
    for (unsigned i = 0; i < 17; i++) {
        (void)snprintf(one, sizeof one, "tcp://a:%u ", i + 1);
        strcat(many, one);
    }
    struct endpoints e;
    assert_int_equal(endpoints_parse(&e, many, 0, NULL), PS_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blanks_part_endpoints),
        cmocka_unit_test(each_is_tried_once_then_it_is_given_up),
        cmocka_unit_test(with_patience_rounds_follow_after_growing_pauses),
        cmocka_unit_test(a_round_of_refusals_is_the_last_whatever_the_patience),
        cmocka_unit_test(one_that_was_up_is_the_first_to_be_tried_again),
        cmocka_unit_test(the_primary_is_looked_for_round_by_round),
        cmocka_unit_test(a_single_endpoint_is_left_for_no_other),
        cmocka_unit_test(what_is_no_endpoint_is_refused_with_its_words),
    };
    return cmocka_run_group_tests_name("endpoints", tests, NULL, NULL);
}
