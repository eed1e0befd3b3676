/* What a member asks the mediator for, and what an answer makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>

#include "tests/unit/replication/test_replica_rig.h"

static void an_ask_is_durable_before_it_is_sent(void **state)
{
    (void)state;
    struct rig g;
    const struct configuration c = configuration(1, A, 1 << A | 1 << B);
    const struct durable d = {.configuration = c, .mediator = mediator, .highest_epoch = 1};
    start(&g, B, 1, 10 * SECOND, &d, 5);
    for (int i = 0; i < 12 && !g.persists; i++) {
        g.now += 250 * MS;
        mediator_answers(&g, &c);
        turn(&g, g.now);
    }
    struct durable asked;
    struct ps_error err;
    assert_true(g.persists);
    assert_int_equal(g.asks, 0);
    assert_int_equal(durable_decode(g.state, g.state_bytes, &asked, &err), 0);
    assert_int_equal(asked.ask.reason, ASK_TAKE_OVER);
    persisted(&g);
    assert_int_equal(g.asks, 1);
    assert_int_equal(g.cas.expected_epoch, 1);
    assert_true(uuid_equal(&g.cas.next.primary, &g.cas.requester));
    assert_false(configuration_in_sync(&g.cas.next, &c.primary));
    /* A restart knows it still, and asks the same. */
    const struct uuid request = g.cas.request;
    end(&g);
    start(&g, B, 2, 20 * SECOND, &asked, 5);
    turn(&g, g.now + 1100 * MS);
    assert_int_equal(g.asks, 1);
    assert_true(uuid_equal(&g.cas.request, &request));
    end(&g);
}

static void a_joiner_counts_until_its_ask_is_settled_also_after_a_restart(void **state)
{
    (void)state;
    struct rig g;
    struct durable d = {
        .configuration = configuration(4, A, 1 << A),
        .mediator = mediator,
        .highest_epoch = 5,
        .ask = {.reason = ASK_JOIN,
                .request = {{3}},
                .expected_epoch = 4,
                .next = configuration(5, A, 1 << A | 1 << B)},
    };
    start(&g, A, 2, 10 * SECOND, &d, 5);
    turn(&g, g.now + 3 * SECOND);
    assert_false(g.led); /* though it is the only one in sync */
    hears(&g, B, 1, 4, 2);
    acks(&g, B, 2, 4, 2);
    assert_false(g.led);
    acks(&g, B, 2, 4, 5);
    assert_true(g.led);
    assert_false(replica_may_read(g.r, g.now));
    end(&g);
    /* The answer is that it was not let in: A is alone again. */
    start(&g, A, 3, 20 * SECOND, &d, 5);
    turn(&g, g.now + 3 * SECOND);
    const struct configuration other = configuration(6, A, 1 << A);
    mediator_answers(&g, &other);
    turn(&g, g.now);
    assert_false(g.led);
    persisted(&g);
    assert_true(g.led);
    assert_true(replica_may_read(g.r, g.now));
    end(&g);
}

static void the_loser_of_a_swap_fences_itself(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = {
        .configuration = configuration(1, A, 1 << A), .mediator = mediator, .highest_epoch = 1};
    start(&g, A, 2, 10 * SECOND, &d, 5);
    turn(&g, g.now + 1100 * MS);
    assert_true(g.led && replica_may_read(g.r, g.now));
    const struct configuration other = configuration(2, B, 1 << B);
    mediator_answers(&g, &other);
    /* At once: fencing does not wait for a flush. */
    assert_true(g.stood_down);
    assert_false(replica_may_read(g.r, g.now));
    const struct log_id applied = id_of(5);
    replica_opened(g.r, &applied, NULL, 0);
    turn(&g, g.now);
    persisted(&g);
    assert_int_equal(role_of(&g), REPLICA_RETURNING);
    end(&g);
}

static void a_node_with_another_name_is_registered_under_it(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = {
        .configuration = configuration(1, A, 1 << A), .mediator = mediator, .highest_epoch = 1};
    start(&g, A, 2, 10 * SECOND, &d, 5);
    mediator_answers(&g, &d.configuration);
    turn(&g, g.now + 1100 * MS);
    assert_true(g.led);
    struct ps_error err = {0};
    struct member stranger = {.store = {{200}}, .node = "new"};
    assert_int_equal(replica_rename_member(g.r, g.now, &stranger, &err), PS_ENOTFOUND);
    struct member taken = d.configuration.members[1];
    memcpy(taken.node, d.configuration.members[0].node, sizeof taken.node);
    assert_int_equal(replica_rename_member(g.r, g.now, &taken, &err), PS_EINVAL);
    struct member b = d.configuration.members[1];
    (void)snprintf(b.node, sizeof b.node, "new");
    assert_int_equal(replica_rename_member(g.r, g.now, &b, &err), 0);
    turn(&g, g.now);
    persisted(&g);
    const int at = configuration_find(&g.cas.next, &b.store);
    assert_string_equal(g.cas.next.members[at].node, "new");
    assert_int_equal(g.cas.next.count, d.configuration.count);
    end(&g);
}

/* Its write is given up with the log; the device is well. */
static void a_state_that_was_being_written_when_it_stood_down_is_written_again(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = {
        .configuration = configuration(1, A, 1 << A), .mediator = mediator, .highest_epoch = 1};
    start(&g, A, 2, 10 * SECOND, &d, 5);
    mediator_answers(&g, &d.configuration);
    turn(&g, g.now + 1100 * MS);
    assert_true(g.led);
    const struct uuid c = store(C);
    assert_int_equal(replica_remove_member(g.r, g.now, &c, NULL), 0);
    turn(&g, g.now);
    assert_true(g.persists);
    const struct configuration other = configuration(2, B, 1 << B);
    mediator_answers(&g, &other);
    assert_true(g.stood_down);
    g.persists = false;
    replica_persisted(g.r, g.now, PS_EUNAVAILABLE);
    turn(&g, g.now + MS);
    assert_false(g.persists);
    const struct log_id applied = id_of(5);
    replica_opened(g.r, &applied, NULL, 0);
    turn(&g, g.now + MS);
    persisted(&g);
    assert_int_equal(in_force(g.r)->epoch, 2);
    assert_int_equal(role_of(&g), REPLICA_RETURNING);
    end(&g);
}

static void who_is_no_member_any_more_is_sent_nothing(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = {
        .configuration = configuration(1, A, 1 << A), .mediator = mediator, .highest_epoch = 1};
    const struct uuid c = store(C);
    start(&g, A, 2, 10 * SECOND, &d, 5);
    struct configuration without = configuration(2, A, 1 << A);
    without.count = C - 1;
    mediator_answers(&g, &without);
    assert_true(uuid_equal(&g.stopped, &c));
    end(&g);
}

static void a_take_over_is_asked_for_once(void **state)
{
    (void)state;
    struct rig g;
    const struct configuration c = configuration(1, A, 1 << A | 1 << B), mine = configuration(2, B, 1 << B);
    const struct durable d = {.configuration = c, .mediator = mediator, .highest_epoch = 1};
    start(&g, B, 1, 10 * SECOND, &d, 5);
    for (int i = 0; i < 12 && !g.persists; i++) {
        g.now += 250 * MS;
        mediator_answers(&g, &c);
        turn(&g, g.now);
    }
    persisted(&g);
    assert_int_equal(g.asks, 1);
    /* Granted, and not durable here yet. */
    mediator_answers(&g, &mine);
    turn(&g, g.now + 50 * MS);
    struct durable writing;
    assert_int_equal(durable_decode(g.state, g.state_bytes, &writing, NULL), 0);
    assert_int_equal(writing.configuration.epoch, 2);
    assert_int_equal(writing.ask.reason, ASK_NONE);
    persisted(&g);
    assert_false(g.persists);
    assert_int_equal(g.asks, 1);
    end(&g);
}

static void nobody_becomes_primary_while_its_log_is_cut(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = {
        .configuration = configuration(2, A, 1 << A | 1 << B), .mediator = mediator, .highest_epoch = 2};
    start(&g, B, 1, 10 * SECOND, &d, 5);
    const struct log_id tail[] = {id_of(6)}, applied = id_of(5);
    g.r->log_open = false;
    replica_opened(g.r, &applied, tail, 1);
    const struct replica_begin_msg begin = {
        .pod = pod, .store = store(A), .run = 1, .epoch = 2, .stream = 1, .after = applied};
    struct replica_ack_msg refusal;
    assert_true(replica_begin(g.r, g.now, &begin, &refusal));
    turn(&g, g.now);
    assert_true(g.truncates);
    const struct configuration mine = configuration(3, B, 1 << B);
    mediator_answers(&g, &mine);
    turn(&g, g.now);
    persisted(&g);
    turn(&g, g.now + 2 * SECOND);
    assert_false(g.led);
    replica_truncated(g.r, 0);
    turn(&g, g.now + MS);
    assert_true(g.led);
    end(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ask_is_durable_before_it_is_sent),
        cmocka_unit_test(a_joiner_counts_until_its_ask_is_settled_also_after_a_restart),
        cmocka_unit_test(the_loser_of_a_swap_fences_itself),
        cmocka_unit_test(a_node_with_another_name_is_registered_under_it),
        cmocka_unit_test(a_state_that_was_being_written_when_it_stood_down_is_written_again),
        cmocka_unit_test(who_is_no_member_any_more_is_sent_nothing),
        cmocka_unit_test(a_take_over_is_asked_for_once),
        cmocka_unit_test(nobody_becomes_primary_while_its_log_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
