/* The judge of what hosts saw: histories of a good mirror, and doctored ones, each of which it must refuse.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <string.h>

#include "tests/integration/hosts/content.h"
#include "tests/integration/hosts/deeds.h"

enum {
    A = 1,
    B = 2
};

static char why[300];

static bool judged(struct deeds *r)
{
    why[0] = '\0';
    const bool good = deeds_judge(r, why, sizeof why);
    assert_true(good || why[0]);
    deeds_destroy(r);
    return good;
}

static void put(struct deeds *r, unsigned node, uint64_t value, uint64_t begin, uint64_t end,
                enum deed_outcome outcome)
{
    deeds_add(
        r, &(struct deed){
               .write = true, .outcome = outcome, .node = node, .value = value, .begin = begin, .end = end});
}

static void get(struct deeds *r, unsigned node, uint64_t value, uint64_t begin, uint64_t end)
{
    deeds_add(r, &(struct deed){
                     .outcome = DEED_ANSWERED, .node = node, .value = value, .begin = begin, .end = end});
}

/* A dies with a write under way, B goes on with what was acknowledged. */
static struct deeds *failover(void)
{
    struct deeds *r = deeds_create(1);
    put(r, A, 1, 10, 20, DEED_ANSWERED);
    put(r, A, 2, 30, 50, DEED_UNKNOWN);
    deeds_fence(r, A, 100, 100);
    return r;
}

static void a_failover_that_keeps_what_was_acknowledged_is_good(void **state)
{
    (void)state;
    struct deeds *r = failover();
    get(r, B, 1, 110, 120);
    put(r, B, 3, 130, 140, DEED_ANSWERED);
    get(r, B, 3, 150, 160);
    assert_true(judged(r));
    r = failover();
    get(r, B, 2, 110, 120); /* it had arrived */
    put(r, B, 3, 130, 140, DEED_ANSWERED);
    get(r, B, 3, 150, 160);
    assert_true(judged(r));
}

static void an_acknowledged_write_that_is_lost_is_noticed(void **state)
{
    (void)state;
    struct deeds *r = failover();
    get(r, B, 0, 110, 120);
    assert_false(judged(r));
}

static void a_stale_read_at_the_old_primary_is_noticed(void **state)
{
    (void)state;
    struct deeds *r = failover();
    put(r, B, 3, 110, 120, DEED_ANSWERED);
    get(r, A, 1, 130, 140);
    get(r, B, 3, 150, 160);
    assert_false(judged(r));
}

static void two_primaries_that_both_acknowledge_are_noticed(void **state)
{
    (void)state;
    struct deeds *r = failover();
    put(r, B, 3, 110, 120, DEED_ANSWERED);
    put(r, A, 4, 130, 140, DEED_ANSWERED);
    get(r, B, 3, 150, 160);
    assert_false(judged(r));
}

static void a_write_from_before_the_fence_must_not_land_after_it(void **state)
{
    (void)state;
    /* It was not there when B served, and comes when A is back. */
    struct deeds *r = failover();
    get(r, B, 1, 110, 120);
    get(r, B, 2, 130, 140);
    assert_false(judged(r));
    /* Neither on top of what was written since. */
    r = failover();
    put(r, B, 3, 110, 120, DEED_ANSWERED);
    get(r, B, 2, 130, 140);
    assert_false(judged(r));
    /* Of another node's fence nothing follows. */
    r = deeds_create(1);
    put(r, A, 2, 30, 50, DEED_UNKNOWN);
    deeds_fence(r, B, 100, 100);
    get(r, B, 0, 110, 120);
    get(r, B, 2, 130, 140);
    assert_true(judged(r));
    /* Nor from one of what was asked before it began. */
    r = deeds_create(1);
    deeds_fence(r, NODE_ANY, 20, 60);
    put(r, A, 2, 30, 50, DEED_UNKNOWN);
    get(r, B, 0, 110, 120);
    get(r, B, 2, 130, 140);
    assert_true(judged(r));
}

static void a_fence_of_all_seals_what_any_node_was_asked(void **state)
{
    (void)state;
    struct deeds *r = deeds_create(1);
    put(r, NODE_ANY, 2, 30, 50, DEED_UNKNOWN);
    deeds_fence(r, NODE_ANY, 60, 100);
    get(r, B, 0, 110, 120);
    get(r, B, 2, 130, 140);
    assert_false(judged(r));
}

static void a_refused_write_must_not_be_seen(void **state)
{
    (void)state;
    struct deeds *r = deeds_create(1);
    put(r, A, 1, 10, 20, DEED_REFUSED);
    get(r, A, 0, 30, 40);
    assert_true(judged(r));
    r = deeds_create(1);
    put(r, A, 1, 10, 20, DEED_REFUSED);
    get(r, A, 1, 30, 40);
    assert_false(judged(r));
}

static void what_no_write_makes_is_noticed(void **state)
{
    (void)state;
    struct deeds *r = deeds_create(1);
    deeds_nonsense(r, 0, "parts of two writes");
    assert_false(judged(r));
    assert_non_null(strstr(why, "parts of two writes"));
}

static void deeds_are_counted(void **state)
{
    (void)state;
    struct deeds *r = failover();
    put(r, B, 3, 60, 70, DEED_REFUSED);
    get(r, B, 2, 110, 120);
    put(r, B, 4, 110, 150, DEED_ANSWERED);
    const struct deeds_sums sums = deeds_count(r);
    assert_int_equal(sums.writes, 2);
    assert_int_equal(sums.reads, 1);
    assert_int_equal(sums.refused, 1);
    assert_int_equal(sums.unknown, 1);
    assert_int_equal(sums.unknown_seen, 1);
    assert_int_equal(deeds_longest_pause(r, 0), 130);
    assert_int_equal(deeds_longest_pause(r, 140), 10);
    deeds_destroy(r);
}

static void a_block_tells_its_write_and_nothing_else_passes(void **state)
{
    (void)state;
    uint8_t block[CONTENT_BYTES], other[CONTENT_BYTES];
    uint64_t value = 0;
    content_make(block, 7, 3, 42);
    assert_null(content_read(block, 7, 3, &value));
    assert_int_equal(value, 42);
    assert_non_null(content_read(block, 7, 4, &value)); /* misplaced */
    assert_non_null(content_read(block, 8, 3, &value)); /* of another run */
    content_make(other, 7, 3, 43);
    memcpy(block + 512, other + 512, 512); /* torn */
    assert_non_null(content_read(block, 7, 3, &value));
    memset(block, 0, sizeof block);
    assert_null(content_read(block, 7, 3, &value));
    assert_int_equal(value, 0);
    block[4095] = 1;
    assert_non_null(content_read(block, 7, 3, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failover_that_keeps_what_was_acknowledged_is_good),
        cmocka_unit_test(an_acknowledged_write_that_is_lost_is_noticed),
        cmocka_unit_test(a_stale_read_at_the_old_primary_is_noticed),
        cmocka_unit_test(two_primaries_that_both_acknowledge_are_noticed),
        cmocka_unit_test(a_write_from_before_the_fence_must_not_land_after_it),
        cmocka_unit_test(a_fence_of_all_seals_what_any_node_was_asked),
        cmocka_unit_test(a_refused_write_must_not_be_seen),
        cmocka_unit_test(what_no_write_makes_is_noticed),
        cmocka_unit_test(deeds_are_counted),
        cmocka_unit_test(a_block_tells_its_write_and_nothing_else_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
