/* Promotion by a person, and another mediator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "tests/unit/replication/test_replica_rig.h"

#define LINEAGE (1ull << 32)

static const struct uuid new_mediator = {{6}};

/* B is bound to A, which is gone; the mediator is back. */
static struct durable bound_to_a(void)
{
    return (struct durable){.configuration = configuration(4, A, 1 << A | 1 << B),
                            .mediator = mediator,
                            .highest_epoch = 4,
                            .bound = {.heir = store(A), .epoch = 4, .nonce = 9}};
}

static void a_person_frees_who_is_bound_to_a_primary_that_is_gone(void **state)
{
    (void)state;
    struct rig g;
    struct ps_error err = {0};
    const struct durable d = bound_to_a();
    start(&g, B, 1, 10 * SECOND, &d, 5);
    assert_int_equal(replica_promote(g.r, g.now, true, &err), PS_EPRECONDITION);
    assert_non_null(strstr(err.detail, "no mediator answers"));
    /* The mediator has an older configuration on record than what the heir made alone. */
    const struct configuration recorded = configuration(3, A, 1 << A | 1 << B | 1 << C);
    mediator_answers(&g, &recorded);
    turn(&g, g.now + 5 * SECOND);
    mediator_answers(&g, &recorded);
    assert_int_equal(g.asks, 0);
    assert_int_equal(replica_promote(g.r, g.now, true, &err), 0);
    turn(&g, g.now);
    assert_int_equal(g.asks, 0);
    persisted(&g);
    assert_int_equal(g.asks, 1);
    assert_int_equal(g.cas.expected_epoch, 3);
    assert_int_equal(g.cas.next.epoch, LINEAGE + 5);
    assert_int_equal(configuration_sync_count(&g.cas.next), 1);
    assert_int_equal(configuration_may_follow(&recorded, &g.cas.next, &g.cas.requester, &err), 0);
    grant(&g);
    assert_true(g.led);
    struct replica_info info;
    replica_look(g.r, g.now, &info);
    assert_true(uuid_is_none(&info.heir));
    /* The heir comes back with what it made alone: it is told, and gets no part of the log before it obeys.
     */
    struct replica_state_msg heir = state_of(A, 2, 9, 8);
    heir.configuration = configuration(9, A, 1 << A);
    heir.bind = REPLICA_ALONE;
    heir.nonce = 9;
    hears_state(&g, &heir);
    assert_int_equal(role_of(&g), REPLICA_LEADING);
    assert_int_equal(g.begins, 0);
    end(&g);
}

static void the_former_primary_obeys_a_later_lineage_whatever_it_made_alone(void **state)
{
    (void)state;
    struct rig g;
    struct durable d = {.configuration = configuration(9, A, 1 << A),
                        .mediator = mediator,
                        .highest_epoch = 9,
                        .self = 1ull << 32};
    start(&g, A, 2, 10 * SECOND, &d, 5);
    turn(&g, g.now + 2 * SECOND);
    assert_true(g.led);
    const struct configuration next = configuration(LINEAGE + 5, B, 1 << B);
    mediator_answers(&g, &next);
    turn(&g, g.now);
    assert_true(g.stood_down);
    assert_int_equal(role_of(&g), REPLICA_RETURNING);
    assert_false(replica_may_read(g.r, g.now));
    end(&g);
}

static void a_promoted_member_waits_until_the_former_primary_has_stopped(void **state)
{
    (void)state;
    struct rig g;
    struct ps_error err = {0};
    const struct durable d = bound_to_a();
    start(&g, B, 1, 10 * SECOND, &d, 5);
    turn(&g, g.now + 2 * SECOND);
    mediator_answers(&g, &d.configuration);
    assert_int_equal(replica_promote(g.r, g.now, false, &err), 0);
    turn(&g, g.now);
    persisted(&g);
    grant(&g);
    assert_false(g.led);
    assert_int_equal(role_of(&g), REPLICA_INHERITING);
    /* Also after a restart. */
    struct durable granted;
    assert_int_equal(durable_decode(g.state, g.state_bytes, &granted, &err), 0);
    assert_int_equal(granted.configuration.epoch, LINEAGE + 5);
    end(&g);
    start(&g, B, 2, 20 * SECOND, &granted, 5);
    turn(&g, g.now + 2 * SECOND);
    assert_false(g.led);
    hears(&g, A, 1, 4, 9); /* it goes on */
    assert_false(g.led);
    assert_int_equal(replica_promote(g.r, g.now, true, &err), PS_EPRECONDITION);
    assert_non_null(strstr(err.detail, "it is heard"));
    hears(&g, A, 1, LINEAGE + 5, 9);
    assert_true(g.led);
    end(&g);
    /* Or until somebody knows that it is off. */
    start(&g, B, 2, 20 * SECOND, &granted, 5);
    turn(&g, g.now + 2 * SECOND);
    assert_false(g.led);
    assert_int_equal(replica_promote(g.r, g.now, true, &err), 0);
    turn(&g, g.now);
    assert_true(g.led);
    end(&g);
}

/* What the heir made alone is on no record: hearing of it settles neither the promotion nor what it waits
 * for. */
static void a_promotion_outlives_what_the_heir_makes_alone_meanwhile(void **state)
{
    (void)state;
    struct rig g;
    struct ps_error err = {0};
    const struct durable d = bound_to_a();
    start(&g, B, 1, 10 * SECOND, &d, 5);
    turn(&g, g.now + 2 * SECOND);
    mediator_answers(&g, &d.configuration);
    assert_int_equal(replica_promote(g.r, g.now, false, &err), 0);
    turn(&g, g.now);
    persisted(&g);
    const struct replica_cas asked = g.cas;
    struct replica_state_msg heir = state_of(A, 1, 6, 9);
    heir.configuration = configuration(6, A, 1 << A);
    hears_state(&g, &heir);
    if (g.persists)
        persisted(&g);
    assert_int_equal(in_force(g.r)->epoch, 6);
    g.cas = asked;
    grant(&g);
    turn(&g, g.now + 2 * SECOND);
    assert_int_equal(in_force(g.r)->epoch, asked.next.epoch);
    assert_false(g.led);
    hears(&g, A, 1, asked.next.epoch, 9);
    assert_true(g.led);
    end(&g);
}

static void what_a_person_gave_up_is_filled_anew_and_not_merged(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = {.configuration = configuration(LINEAGE + 5, B, 1 << B),
                              .mediator = mediator,
                              .highest_epoch = LINEAGE + 5};
    start(&g, B, 1, 10 * SECOND, &d, 5);
    turn(&g, g.now + 2 * SECOND);
    assert_true(g.led);
    hears(&g, A, 1, LINEAGE + 5, 9); /* batches up to 9, of epoch 1 */
    turn(&g, g.now);
    assert_int_equal(g.begins, 0);
    assert_int_equal(g.copies, 1);
    end(&g);
    /* In its own lineage nobody decided that: a person has to. */
    const struct durable first = {
        .configuration = configuration(5, B, 1 << B), .mediator = mediator, .highest_epoch = 5};
    start(&g, B, 1, 10 * SECOND, &first, 5);
    turn(&g, g.now + 2 * SECOND);
    hears(&g, A, 1, 5, 9);
    turn(&g, g.now);
    assert_int_equal(g.copies, 0);
    end(&g);
}

/* What the former primary called committed was said of its own log. */
static void what_was_said_of_the_former_lineage_commits_nothing_of_the_next(void **state)
{
    (void)state;
    struct rig g;
    follows_a(&g, C);
    assert_int_equal(g.committed, 30);
    struct replica_state_msg told = state_of(B, 1, LINEAGE + 5, 7);
    told.configuration = configuration(LINEAGE + 5, B, 1 << B);
    told.ready = true;
    hears_state(&g, &told);
    assert_int_equal(g.committed, 0);
    persisted(&g);
    turn(&g, g.now + SECOND);
    assert_int_equal(g.told.commit_seq, 5);
    end(&g);
}

static void nobody_is_promoted_while_the_primary_serves(void **state)
{
    (void)state;
    struct rig g;
    struct ps_error err = {0};
    const struct durable d = {
        .configuration = configuration(3, A, 1 << A), .mediator = mediator, .highest_epoch = 3};
    start(&g, C, 1, 10 * SECOND, &d, 5);
    turn(&g, g.now + 2 * SECOND);
    mediator_answers(&g, &d.configuration);
    struct replica_state_msg told = state_of(A, 1, 3, 7);
    told.ready = true;
    hears_state(&g, &told);
    assert_int_equal(replica_promote(g.r, g.now, true, &err), PS_EPRECONDITION);
    assert_non_null(strstr(err.detail, "serves"));
    end(&g);
}

static void who_may_go_on_alone_registers_with_a_mediator_that_knows_nothing(void **state)
{
    (void)state;
    struct rig g;
    struct durable d = {.configuration = configuration(4, A, 1 << A | 1 << B),
                        .mediator = mediator,
                        .highest_epoch = 4,
                        .self = 1ull << 32};
    start(&g, A, 2, 10 * SECOND, &d, 5);
    turn(&g, g.now + SECOND);
    const struct replica_verdict there = {.mediator = new_mediator};
    replica_verdict(g.r, g.now, &there);
    turn(&g, g.now);
    hears(&g, B, 1, 4, 5);
    assert_int_equal(g.asks, 1);
    assert_true(uuid_equal(&g.cas.mediator, &new_mediator));
    assert_int_equal(g.cas.expected_epoch, 0);
    assert_true(configuration_equal(&g.cas.next, &d.configuration));
    /* The answer to what was granted was lost, and there is another configuration by now: it is known. */
    struct configuration older = d.configuration;
    older.epoch = 3;
    struct replica_verdict v = {
        .mediator = new_mediator, .request = g.cas.request, .status = PS_EABORTED, .now = older};
    replica_verdict(g.r, g.now, &v);
    turn(&g, g.now);
    assert_int_equal(g.cas.expected_epoch, 3);
    v = (struct replica_verdict){.mediator = new_mediator, .request = g.cas.request, .now = d.configuration};
    replica_verdict(g.r, g.now, &v);
    turn(&g, g.now);
    struct durable now;
    struct ps_error err;
    assert_true(g.persists);
    assert_int_equal(durable_decode(g.state, g.state_bytes, &now, &err), 0);
    assert_true(uuid_equal(&now.mediator, &new_mediator));
    assert_int_equal(now.mediator_number, 1);
    assert_int_equal(now.self, 0);
    end(&g);
}

static void a_member_takes_over_the_new_mediator_at_once_with_the_end_of_its_bond(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = bound_to_a();
    start(&g, B, 1, 10 * SECOND, &d, 5);
    const struct replica_verdict there = {.mediator = new_mediator};
    replica_verdict(g.r, g.now, &there);
    struct replica_state_msg told = state_of(A, 2, 4, 5);
    told.bind = REPLICA_UNBOUND;
    told.nonce = 9;
    told.mediator = new_mediator;
    told.mediator_number = 1;
    hears_state(&g, &told);
    struct durable now;
    struct ps_error err;
    assert_true(g.persists);
    assert_int_equal(durable_decode(g.state, g.state_bytes, &now, &err), 0);
    assert_true(uuid_is_none(&now.bound.heir));
    assert_true(uuid_equal(&now.mediator, &new_mediator));
    persisted(&g);
    /* What was said before comes late. */
    told.mediator = mediator;
    told.mediator_number = 0;
    hears_state(&g, &told);
    assert_false(g.persists);
    assert_true(uuid_equal(&g.told.mediator, &new_mediator));
    end(&g);
}

/* B, bound to an A that is gone, was promoted by a person and asks a mediator that knows nothing. */
static void promoted_with_a_new_mediator(struct rig *g)
{
    struct ps_error err = {0};
    const struct durable d = bound_to_a();
    const struct replica_verdict there = {.mediator = new_mediator};
    start(g, B, 1, 10 * SECOND, &d, 5);
    turn(g, g->now + 2 * SECOND);
    replica_verdict(g->r, g->now, &there);
    assert_int_equal(replica_promote(g->r, g->now, true, &err), 0);
    turn(g, g->now);
    persisted(g);
    assert_true(uuid_equal(&g->cas.mediator, &new_mediator));
}

static void a_person_may_promote_with_a_mediator_that_knows_nothing(void **state)
{
    (void)state;
    struct rig g;
    promoted_with_a_new_mediator(&g);
    assert_int_equal(g.cas.expected_epoch, 0);
    grant(&g);
    assert_true(g.led);
    end(&g);
}

/* One that refuses, such as another cluster's, is nobody's mediator after that. */
static void a_mediator_that_refuses_a_promotion_holds_nothing(void **state)
{
    (void)state;
    struct rig g;
    struct ps_error err = {0};
    promoted_with_a_new_mediator(&g);
    const struct replica_verdict refusal = {
        .mediator = new_mediator, .request = g.cas.request, .status = PS_EPERM};
    replica_verdict(g.r, g.now, &refusal);
    turn(&g, g.now);
    persisted(&g);
    struct durable now;
    assert_int_equal(durable_decode(g.state, g.state_bytes, &now, &err), 0);
    assert_true(uuid_equal(&now.mediator, &mediator));
    assert_int_equal(now.mediator_number, 0);
    assert_int_equal(now.ask.reason, ASK_NONE);
    end(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_person_frees_who_is_bound_to_a_primary_that_is_gone),
        cmocka_unit_test(the_former_primary_obeys_a_later_lineage_whatever_it_made_alone),
        cmocka_unit_test(a_promoted_member_waits_until_the_former_primary_has_stopped),
        cmocka_unit_test(a_promotion_outlives_what_the_heir_makes_alone_meanwhile),
        cmocka_unit_test(what_a_person_gave_up_is_filled_anew_and_not_merged),
        cmocka_unit_test(what_was_said_of_the_former_lineage_commits_nothing_of_the_next),
        cmocka_unit_test(nobody_is_promoted_while_the_primary_serves),
        cmocka_unit_test(who_may_go_on_alone_registers_with_a_mediator_that_knows_nothing),
        cmocka_unit_test(a_member_takes_over_the_new_mediator_at_once_with_the_end_of_its_bond),
        cmocka_unit_test(a_person_may_promote_with_a_mediator_that_knows_nothing),
        cmocka_unit_test(a_mediator_that_refuses_a_promotion_holds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
