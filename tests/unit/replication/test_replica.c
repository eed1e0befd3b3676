/* Leases, acknowledgements and time: what counts, and how long it does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "tests/unit/replication/test_replica_rig.h"

static void an_acknowledgement_for_an_older_run_or_epoch_does_not_count(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = {
        .configuration = configuration(3, A, 1 << A | 1 << B), .mediator = mediator, .highest_epoch = 3};
    start(&g, A, 2, 10 * SECOND, &d, 5);
    turn(&g, g.now + 1100 * MS);
    hears(&g, B, 1, 3, 5);
    assert_int_equal(g.begins, 1);
    assert_int_equal(g.begin.after.seq, 5);
    acks(&g, B, 1, 3, 5);
    acks(&g, B, 2, 2, 5);
    assert_false(g.led);
    acks(&g, B, 2, 3, 5);
    assert_true(g.led);
    /* Led, but nothing is read before the member has given its lease. */
    assert_false(replica_may_read(g.r, g.now));
    end(&g);
}

static void a_promise_outlives_the_lease_that_rests_on_it(void **state)
{
    (void)state;
    struct rig a, b;
    struct durable d = {
        .configuration = configuration(1, A, 1 << A | 1 << B), .mediator = mediator, .highest_epoch = 1};
    start(&a, A, 1, 10 * SECOND, &d, 5);
    start(&b, B, 1, 10 * SECOND, &d, 5);
    turn(&a, a.now + 1100 * MS);
    turn(&b, a.now);
    hears(&a, B, 1, 1, 5);
    acks(&a, B, 1, 1, 5);
    assert_true(a.led && a.told.ready && a.told.stamp == a.now);
    /* Its request takes 40 ms, the answer 60. */
    const uint64_t stamp = a.now, receipt = stamp + 40 * MS;
    struct replica_state_msg answer;
    replica_state(b.r, receipt, &a.told, &answer);
    assert_int_equal(answer.stamp, stamp);
    a.now = stamp + 100 * MS;
    replica_state_answer(a.r, a.now, &answer);
    assert_true(replica_may_read(a.r, stamp + SECOND - 1));
    assert_false(replica_may_read(a.r, stamp + SECOND));
    /* The mediator has given the pod to B before its promise ends; it waits all the same. */
    const struct configuration next = configuration(2, B, 1 << B);
    b.now = stamp + 950 * MS;
    mediator_answers(&b, &next);
    turn(&b, b.now);
    persisted(&b);
    turn(&b, receipt + 1100 * MS - 1);
    assert_int_equal(role_of(&b), REPLICA_INHERITING);
    assert_false(b.led);
    turn(&b, receipt + 1100 * MS);
    assert_true(b.led);
    end(&a);
    end(&b);
}

static void a_new_primary_gives_all_members_time_to_be_heard(void **state)
{
    (void)state;
    struct rig g;
    const struct configuration c = configuration(1, A, 1 << A | 1 << B | 1 << C);
    const struct durable d = {.mediator = mediator};
    start(&g, A, 1, 10 * SECOND, &d, 0);
    mediator_answers(&g, &c);
    turn(&g, g.now);
    persisted(&g);
    for (int i = 0; i < 7; i++)
        turn(&g, g.now + 100 * MS);
    assert_false(g.persists);
    turn(&g, g.now + 100 * MS);
    persisted(&g);
    assert_int_equal(g.asks, 1);
    assert_int_equal(configuration_sync_count(&g.cas.next), 1);
    end(&g);
}

static void a_pause_of_its_own_is_nobodys_silence(void **state)
{
    (void)state;
    struct rig g;
    const struct configuration c = configuration(1, A, 1 << A | 1 << B);
    const struct durable d = {.configuration = c, .mediator = mediator, .highest_epoch = 1};
    start(&g, A, 1, 10 * SECOND, &d, 0);
    hears(&g, B, 1, 1, 0);
    acks(&g, B, 1, 1, 0);
    turn(&g, g.now + 5 * SECOND);
    mediator_answers(&g, &c);
    turn(&g, g.now + MS);
    assert_false(g.persists);
    end(&g);
}

static void how_far_a_member_lags_is_told_in_time(void **state)
{
    (void)state;
    struct rig g;
    struct replica_info info;
    leads_two(&g, 0);
    members_answer(&g, 0);
    replica_look(g.r, g.now, &info);
    assert_true(info.peers[0].lag_ns <= 250 * MS);
    const struct log_id next = id_of(6);
    replica_sealed(g.r, &next);
    replica_durable(g.r, &next);
    g.end = 6;
    turn(&g, g.now);
    acks(&g, C, 2, 4, 6);
    turn(&g, g.now + 400 * MS);
    replica_look(g.r, g.now, &info);
    assert_int_equal(info.peers[0].lag_ns, 400 * MS);
    assert_int_equal(info.peers[1].lag_ns, 0);
    acks(&g, B, 2, 4, 6);
    replica_look(g.r, g.now, &info);
    assert_int_equal(info.peers[0].lag_ns, 0);
    end(&g);
}

static void a_member_that_is_away_lacks_what_came_since_it_was_heard(void **state)
{
    (void)state;
    struct rig g;
    leads_b_that_is_behind(&g);
    assert_int_equal(look(&g).peers[0].matched_seq, 5);
    turn(&g, g.now + 5 * SECOND);
    assert_int_equal(look(&g).peers[0].matched_seq, 5);
    end(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_acknowledgement_for_an_older_run_or_epoch_does_not_count),
        cmocka_unit_test(a_promise_outlives_the_lease_that_rests_on_it),
        cmocka_unit_test(a_new_primary_gives_all_members_time_to_be_heard),
        cmocka_unit_test(a_pause_of_its_own_is_nobodys_silence),
        cmocka_unit_test(how_far_a_member_lags_is_told_in_time),
        cmocka_unit_test(a_member_that_is_away_lacks_what_came_since_it_was_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
