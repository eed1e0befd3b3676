/* Stores that fail, or whose flush does not end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "tests/unit/replication/test_replica_rig.h"

static void pass(struct rig *g, uint64_t until)
{
    for (; g->now + 250 * MS < until; turn(g, g->now + 250 * MS)) {
    }
    turn(g, until);
}

static void a_primary_whose_store_failed_asks_for_no_lease(void **state)
{
    (void)state;
    struct rig g;
    const struct configuration c = configuration(1, A, 1 << A | 1 << B);
    leads_b(&g, NULL);
    assert_true(g.told.ready);
    replica_log_failed(g.r);
    /* Nobody could say that another one is primary: it goes on with reads. */
    turn(&g, g.now + MS);
    assert_true(g.told.ready && !g.told.log_open);
    mediator_answers(&g, &c);
    turn(&g, g.now + 250 * MS);
    assert_false(g.told.ready);
    end(&g);
}

static void hears_full(struct rig *g, uint64_t epoch)
{
    struct replica_state_msg msg = state_of(B, 1, epoch, 5);
    msg.free_bytes = 0;
    hears_state(g, &msg);
}

/* A pod that was opened anew, or has yielded, knows of no limit; the member is as full as it was. */
static void who_leads_again_is_told_the_limit_again(void **state)
{
    (void)state;
    struct rig g;
    const struct configuration c = configuration(1, A, 1 << A | 1 << B);
    const struct configuration given = configuration(2, B, 1 << A | 1 << B);
    const struct configuration back = configuration(3, A, 1 << A | 1 << B);
    const struct durable d = {.configuration = c, .mediator = mediator, .highest_epoch = 1};
    const struct log_id applied = id_of(5);
    start(&g, A, 1, 10 * SECOND, &d, 5);
    turn(&g, g.now + 1100 * MS);
    hears_full(&g, 1);
    acks(&g, B, 1, 1, 5);
    assert_true(g.led);
    assert_int_equal(g.limit, 0);
    mediator_answers(&g, &given);
    turn(&g, g.now);
    assert_true(g.stood_down);
    replica_opened(g.r, &applied, NULL, 0);
    g.limit = UINT64_MAX;
    turn(&g, g.now);
    persisted(&g);
    mediator_answers(&g, &back);
    turn(&g, g.now);
    persisted(&g);
    hears_full(&g, 3);
    turn(&g, g.now + 250 * MS);
    assert_int_equal(g.limit, 0);
    end(&g);
}

static void a_primary_whose_store_failed_binds_nobody(void **state)
{
    (void)state;
    struct rig g;
    leads_b(&g, NULL);
    replica_log_failed(g.r);
    for (int i = 0; i < 20; i++) {
        g.now += 250 * MS;
        hears(&g, B, 1, 1, 5);
        turn(&g, g.now);
        assert_int_not_equal(g.told.bind, REPLICA_BIDS);
        assert_false(g.persists);
    }
    end(&g);
}

static void a_primary_whose_store_failed_is_not_waited_for(void **state)
{
    (void)state;
    struct rig g;
    const struct configuration c = configuration(1, A, 1 << A | 1 << B);
    const struct durable d = {.configuration = c, .mediator = mediator, .highest_epoch = 1};
    start(&g, B, 1, 10 * SECOND, &d, 5);
    struct replica_state_msg msg = state_of(A, 1, 1, 5);
    mediator_answers(&g, &c);
    msg.ready = true;
    msg.stamp = 1;
    hears_state(&g, &msg);
    msg.ready = msg.log_open = false;
    const uint64_t promise = replica_defaults.lease_ns + replica_defaults.margin_ns;
    const uint64_t due = g.now + promise - replica_defaults.early_ns;
    while (g.now + 50 * MS < due) {
        g.now += 50 * MS;
        hears_state(&g, &msg);
        assert_false(g.persists);
    }
    g.now = due;
    hears_state(&g, &msg);
    persisted(&g);
    assert_int_equal(g.asks, 1);
    end(&g);
}

static void one_whose_flush_does_not_end_says_nothing(void **state)
{
    (void)state;
    struct rig a;
    struct replica_state_msg answer;
    const struct replica_state_msg in = state_of(B, 1, 1, 5);
    leads_b(&a, NULL);
    const struct log_id six = id_of(6), seven = id_of(7);
    a.end = 7;
    replica_sealed(a.r, &six);
    replica_sealed(a.r, &seven);
    const uint64_t since = a.now;
    pass(&a, since + 2 * SECOND);
    replica_durable(a.r, &six); /* slow, but it goes on */
    turn(&a, a.now);
    pass(&a, since + 5 * SECOND - 1);
    assert_true(replica_state(a.r, a.now, &in, &answer));
    a.told.epoch = 0;
    turn(&a, since + 5 * SECOND);
    assert_int_equal(a.told.epoch, 0);
    assert_false(replica_state(a.r, a.now, &in, &answer));
    replica_durable(a.r, &seven);
    turn(&a, a.now + 300 * MS);
    assert_int_equal(a.told.epoch, 1);
    assert_true(replica_state(a.r, a.now, &in, &answer));
    /* It listens all the same. */
    const struct log_id eight = id_of(8);
    struct replica_state_msg later = state_of(B, 1, 2, 5);
    later.configuration = configuration(2, B, 1 << B);
    a.end = 8;
    replica_sealed(a.r, &eight);
    pass(&a, a.now + 3300 * MS);
    assert_false(replica_state(a.r, a.now, &later, &answer));
    assert_true(a.stood_down);
    end(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primary_whose_store_failed_asks_for_no_lease),
        cmocka_unit_test(a_primary_whose_store_failed_binds_nobody),
        cmocka_unit_test(who_leads_again_is_told_the_limit_again),
        cmocka_unit_test(a_primary_whose_store_failed_is_not_waited_for),
        cmocka_unit_test(one_whose_flush_does_not_end_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
