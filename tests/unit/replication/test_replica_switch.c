/* The pod moves though its primary is there: it lacks the mediator, is not preferred, or was told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "tests/unit/replication/test_replica_rig.h"

static void a_primary_that_alone_lacks_the_mediator_yields(void **state)
{
    (void)state;
    struct rig g;
    const struct configuration now = configuration(4, A, 1 << A | 1 << B | 1 << C);
    leads_two(&g, 0);
    for (int i = 0; i < 50; i++) {
        mediator_answers(&g, &now);
        members_answer(&g, 1 << B | 1 << C);
    }
    const uint64_t last = g.now - 250 * MS;
    for (int i = 0; i < 60 && uuid_is_none(&g.told.yields_to); i++)
        members_answer(&g, 1 << C);
    const struct uuid c = store(C);
    assert_true(uuid_equal(&g.told.yields_to, &c));
    assert_int_equal(g.asks, 0);
    assert_int_equal(role_of(&g), REPLICA_LEADING);
    /* Not before who lost it with us would have noticed. */
    assert_true(g.now - last >= 2 * replica_defaults.mediator_lost_ns);
    /* It does not come about: hosts go on, and it is not tried again at once. */
    for (int i = 0; i < 12; i++)
        members_answer(&g, 1 << C);
    assert_true(uuid_is_none(&g.told.yields_to));
    end(&g);
    /* Nobody reaches it: there is nobody to yield to, the members go on without. */
    leads_two(&g, 0);
    for (int i = 0; i < 60; i++) {
        members_answer(&g, 0);
        assert_true(uuid_is_none(&g.told.yields_to));
    }
    assert_int_equal(g.told.bind, REPLICA_BIDS);
    end(&g);
}

static void an_invited_member_asks_for_the_pod_and_keeps_its_primary_in_sync(void **state)
{
    (void)state;
    struct rig g;
    const struct configuration c = configuration(4, A, 1 << A | 1 << B | 1 << C);
    const struct durable d = {.configuration = c, .mediator = mediator, .highest_epoch = 4};
    start(&g, B, 1, 10 * SECOND, &d, 5);
    struct replica_state_msg told = state_of(A, 2, 4, 5), other = state_of(C, 1, 4, 5);
    told.ready = true;
    told.stamp = 77;
    mediator_answers(&g, &c);
    hears_state(&g, &other);
    hears_state(&g, &told);
    assert_false(g.persists);
    told.yields_to = store(C);
    hears_state(&g, &told);
    assert_false(g.persists);
    told.yields_to = store(B);
    hears_state(&g, &told);
    persisted(&g);
    assert_int_equal(g.asks, 1); /* though its promise lasts */
    assert_true(uuid_equal(&g.cas.next.primary, &g.cas.requester));
    assert_int_equal(configuration_sync_count(&g.cas.next), 3);
    struct ps_error err;
    assert_int_equal(configuration_may_follow(&c, &g.cas.next, &g.cas.requester, &err), 0);
    /* It serves when the former one holds the new configuration. */
    grant(&g);
    acks(&g, C, 1, g.cas.next.epoch, 5);
    assert_false(g.led);
    hears(&g, C, 1, g.cas.next.epoch, 5);
    acks(&g, C, 1, g.cas.next.epoch, 5);
    hears(&g, A, 2, g.cas.next.epoch, 5);
    acks(&g, A, 1, g.cas.next.epoch, 5);
    assert_true(g.led);
    end(&g);
}

static void the_pod_moves_to_the_preferred_member_when_that_one_is_stable(void **state)
{
    (void)state;
    struct rig g;
    const struct configuration c = configuration(4, A, 1 << A | 1 << B | 1 << C);
    leads_two(&g, C);
    for (uint32_t i = 0; i < 60 && !g.persists; i++) {
        mediator_answers(&g, &c);
        members_answer(&g, 1 << B | 1 << C);
        assert_true(!g.persists || i + 1 >= replica_defaults.stable_heartbeats);
    }
    persisted(&g);
    const struct uuid preferred = store(C);
    assert_int_equal(g.asks, 1);
    assert_true(uuid_equal(&g.cas.next.primary, &preferred));
    assert_int_equal(configuration_sync_count(&g.cas.next), 3);
    end(&g);
    /* Nobody is preferred: whoever leads goes on. */
    leads_two(&g, 0);
    for (int i = 0; i < 100; i++) {
        mediator_answers(&g, &c);
        members_answer(&g, 1 << B | 1 << C);
    }
    assert_false(g.persists);
    end(&g);
}

/* Who orders a switchover wants it to last. */
static void an_ordered_switchover_moves_the_preference_along(void **state)
{
    (void)state;
    struct rig g;
    struct ps_error err;
    leads_two(&g, A);
    struct configuration c = configuration(4, A, 1 << A | 1 << B | 1 << C);
    const struct uuid b = store(B), none = {{0}};
    mediator_answers(&g, &c);
    assert_int_equal(replica_switch_over(g.r, g.now, &b, &err), 0);
    members_answer(&g, 1 << B | 1 << C);
    persisted(&g);
    assert_true(uuid_equal(&g.cas.next.preferred, &b));
    end(&g);
    leads_two(&g, A);
    mediator_answers(&g, &c);
    assert_int_equal(replica_prefer(g.r, g.now, &none, &err), 0);
    turn(&g, g.now);
    persisted(&g);
    assert_true(uuid_is_none(&g.cas.next.preferred));
    end(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primary_that_alone_lacks_the_mediator_yields),
        cmocka_unit_test(an_invited_member_asks_for_the_pod_and_keeps_its_primary_in_sync),
        cmocka_unit_test(the_pod_moves_to_the_preferred_member_when_that_one_is_stable),
        cmocka_unit_test(an_ordered_switchover_moves_the_preference_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
