/* Going on without the mediator: bids, votes, who is bound, and how the right is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "tests/unit/replication/test_replica_rig.h"

enum {
    RUN = 2
};
#define BID(n) ((uint64_t)RUN << 32 | (n))

/* A leads with B (and C, too), the mediator has not answered for 3 s, and it bids. */
static void until_it_bids(struct rig *g, const struct durable *d, bool c_too)
{
    start(g, A, RUN, 10 * SECOND, d, 5);
    hears(g, B, 1, d->configuration.epoch, 5);
    acks(g, B, RUN, d->configuration.epoch, 5);
    if (c_too) {
        hears(g, C, 1, d->configuration.epoch, 5);
        acks(g, C, RUN, d->configuration.epoch, 5);
    }
    for (int i = 0; i < 12; i++) {
        assert_int_not_equal(g->told.bind, REPLICA_BIDS);
        g->now += 250 * MS;
        hears(g, B, 1, d->configuration.epoch, 5);
        if (c_too)
            hears(g, C, 1, d->configuration.epoch, 5);
    }
    assert_true(g->led);
    turn(g, g->now + 20 * MS);
    assert_int_equal(g->told.bind, REPLICA_BIDS);
    assert_int_equal(g->told.nonce, BID(1));
    assert_false(g->persists);
}

static void votes(struct rig *g, int who, uint64_t epoch, uint64_t nonce)
{
    struct replica_state_msg msg = state_of(who, 1, epoch, 5);
    msg.bind = REPLICA_BOUND;
    msg.heir = store(A);
    msg.nonce = nonce;
    hears_state(g, &msg);
}

static void binds(struct rig *g, enum replica_bind how, uint64_t nonce)
{
    struct replica_state_msg msg = state_of(A, RUN, in_force(g->r)->epoch, 5);
    msg.bind = how;
    msg.nonce = nonce;
    hears_state(g, &msg);
}

static void the_heir_waits_for_all_votes_of_this_bid_and_is_durable_before_it_acts(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = in_sync_of(1 << A | 1 << B | 1 << C);
    until_it_bids(&g, &d, true);
    votes(&g, B, 1, BID(1));
    votes(&g, C, 1, BID(0)); /* of an older one */
    assert_false(g.persists);
    votes(&g, C, 1, BID(1));
    assert_true(g.persists);
    struct durable writing;
    assert_int_equal(durable_decode(g.state, g.state_bytes, &writing, NULL), 0);
    assert_int_equal(writing.self, BID(1));
    assert_false(look(&g).alone);
    g.r->heartbeat_ns = 0;
    turn(&g, g.now + MS);
    assert_int_equal(g.told.bind, REPLICA_BIDS); /* not over meanwhile: nobody may think so */
    persisted(&g);
    assert_true(look(&g).alone);
    assert_int_equal(g.told.bind, REPLICA_ALONE);
    end(&g);
}

static void a_bid_is_over_when_a_member_reaches_the_mediator_again(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = in_sync_of(1 << A | 1 << B);
    until_it_bids(&g, &d, false);
    struct replica_state_msg msg = state_of(B, 1, 1, 5);
    msg.mediator_ok = true;
    hears_state(&g, &msg);
    votes(&g, B, 1, BID(1)); /* comes too late: the next bid is another one */
    assert_false(g.persists);
    g.r->heartbeat_ns = 0;
    turn(&g, g.now + MS);
    assert_int_equal(g.told.bind, REPLICA_BIDS);
    assert_int_equal(g.told.nonce, BID(2));
    end(&g);
}

/* B is lost after the mediator: A removes it without asking anybody, also after a restart; then the mediator
 * is back, and gets exactly what is in force. */
static void the_heir_goes_on_alone_and_gives_the_right_back(void **state)
{
    (void)state;
    struct rig g;
    struct durable d = in_sync_of(1 << A | 1 << B);
    until_it_bids(&g, &d, false);
    votes(&g, B, 1, BID(1));
    persisted(&g);
    assert_int_equal(durable_decode(g.state, g.state_bytes, &d, NULL), 0);
    end(&g);
    start(&g, A, RUN + 1, 20 * SECOND, &d, 5);
    for (int i = 0; i < 8 && !g.persists; i++)
        turn(&g, g.now + 100 * MS);
    persisted(&g);
    assert_int_equal(g.asks, 0);
    assert_int_equal(in_force(g.r)->epoch, 2);
    assert_int_equal(configuration_sync_count(in_force(g.r)), 1);
    turn(&g, g.now + SECOND);
    assert_true(g.led);
    assert_true(replica_may_read(g.r, g.now));

    const struct configuration old = configuration(1, A, 1 << A | 1 << B), mine = *in_force(g.r);
    mediator_answers(&g, &old);
    turn(&g, g.now);
    assert_int_equal(in_force(g.r)->epoch, 2);
    assert_int_equal(g.cas.expected_epoch, 1);
    assert_true(configuration_equal(&g.cas.next, &mine));
    assert_true(uuid_equal(&g.cas.requester, &mine.primary));
    assert_true(look(&g).alone);
    mediator_answers(&g, &mine);
    turn(&g, g.now);
    g.r->heartbeat_ns = 0;
    turn(&g, g.now + MS);
    assert_int_equal(g.told.bind, REPLICA_ALONE); /* until that is durable */
    persisted(&g);
    assert_int_equal(g.told.bind, REPLICA_UNBOUND);
    assert_true(g.told.nonce >= BID(1));
    assert_true(replica_may_read(g.r, g.now));
    end(&g);
}

static void a_member_votes_when_it_is_durably_bound(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = in_sync_of(1 << A | 1 << B);
    start(&g, B, 1, 10 * SECOND, &d, 5);
    binds(&g, REPLICA_BIDS, BID(1));
    assert_true(g.persists);
    g.r->heartbeat_ns = 0;
    turn(&g, g.now + MS);
    assert_int_equal(g.told.bind, REPLICA_UNBOUND);
    persisted(&g);
    assert_int_equal(g.told.bind, REPLICA_BOUND);
    assert_int_equal(g.told.nonce, BID(1));
    /* An older one that comes late changes nothing, nor that an older one is over. */
    binds(&g, REPLICA_BIDS, BID(0));
    binds(&g, REPLICA_UNBOUND, BID(0));
    assert_false(g.persists);
    binds(&g, REPLICA_UNBOUND, BID(1));
    persisted(&g);
    assert_int_equal(g.told.bind, REPLICA_UNBOUND);
    /* Nor does the bid itself, when it comes once more. Its sender may be gone. */
    binds(&g, REPLICA_BIDS, BID(1));
    binds(&g, REPLICA_ALONE, BID(1));
    turn(&g, g.now + MS);
    assert_false(g.persists);
    binds(&g, REPLICA_BIDS, BID(2));
    persisted(&g);
    assert_int_equal(g.told.bind, REPLICA_BOUND);
    end(&g);
}

static void who_has_asked_does_not_bind_itself(void **state)
{
    (void)state;
    struct rig g;
    struct durable d = in_sync_of(1 << A | 1 << B);
    d.highest_epoch = 2;
    d.ask = (struct ask){
        .reason = ASK_TAKE_OVER, .request = {{3}}, .expected_epoch = 1, .next = configuration(2, B, 1 << B)};
    start(&g, B, 1, 10 * SECOND, &d, 5);
    binds(&g, REPLICA_BIDS, BID(1));
    binds(&g, REPLICA_ALONE, BID(1));
    assert_false(g.persists);
    assert_true(uuid_is_none(&g.r->want.bound.heir));
    end(&g);
}

static void a_bound_member_waits_for_the_heir_though_the_mediator_is_back(void **state)
{
    (void)state;
    struct rig g;
    struct durable d = in_sync_of(1 << A | 1 << B);
    start(&g, B, 1, 10 * SECOND, &d, 5);
    binds(&g, REPLICA_BIDS, BID(1));
    persisted(&g);
    assert_int_equal(durable_decode(g.state, g.state_bytes, &d, NULL), 0);
    for (int run = 2; run < 4; run++) {
        const struct configuration later = configuration(7, B, 1 << B);
        for (int i = 0; i < 20; i++) {
            g.now += 250 * MS;
            mediator_answers(&g, &later);
            turn(&g, g.now);
        }
        assert_false(g.persists);
        assert_int_equal(g.asks, 0);
        assert_int_equal(in_force(g.r)->epoch, 1);
        assert_string_equal(look(&g).waits_for, "n1, which was given the right to go on alone");
        end(&g);
        start(&g, B, (uint64_t)run, 30 * SECOND, &d, 5); /* which it has not forgotten */
    }
    end(&g);
}

/* What the heir made alone may come from anybody: it binds who hears it, and frees nobody. What names another
 * primary does. */
static void only_another_primary_voids_what_binds(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = in_sync_of(1 << A | 1 << B | 1 << C);
    start(&g, B, 1, 10 * SECOND, &d, 5);
    struct replica_state_msg msg = state_of(C, 1, 2, 5);
    msg.configuration = configuration(2, A, 1 << A | 1 << B);
    msg.bind = REPLICA_BOUND;
    msg.heir = store(A);
    msg.nonce = BID(1);
    hears_state(&g, &msg);
    persisted(&g);
    assert_int_equal(in_force(g.r)->epoch, 2);
    assert_int_equal(g.told.bind, REPLICA_BOUND);
    assert_int_equal(g.told.nonce, BID(1));
    msg = state_of(C, 1, 3, 5);
    msg.configuration = configuration(3, A, 1 << A | 1 << B);
    hears_state(&g, &msg);
    persisted(&g);
    assert_int_equal(in_force(g.r)->epoch, 3);
    assert_int_equal(g.told.bind, REPLICA_BOUND);
    msg = state_of(C, 1, 4, 5);
    msg.configuration = configuration(4, C, 1 << B | 1 << C);
    hears_state(&g, &msg);
    persisted(&g);
    assert_int_equal(g.told.bind, REPLICA_UNBOUND);
    end(&g);
}

static void a_joiner_is_let_in_alone_when_it_has_bound_itself(void **state)
{
    (void)state;
    struct rig g;
    struct durable d = in_sync_of(1 << A);
    d.self = BID(0);
    start(&g, A, RUN, 10 * SECOND, &d, 5);
    turn(&g, g.now + 1100 * MS);
    assert_true(g.led);
    for (int bound = 0; bound < 2; bound++) {
        for (int i = 0; i < 15 && !g.persists; i++) {
            g.now += 250 * MS;
            struct replica_state_msg msg = state_of(B, 1, 1, 5);
            if (bound) {
                msg.bind = REPLICA_BOUND;
                msg.heir = store(A);
                msg.nonce = BID(0);
            }
            hears_state(&g, &msg);
            acks(&g, B, RUN, 1, 5);
            msg.stamp = g.told.stamp;
            replica_state_answer(g.r, g.now, &msg);
            turn(&g, g.now);
        }
        assert_int_equal(g.persists, bound);
    }
    persisted(&g);
    assert_int_equal(g.asks, 0);
    assert_int_equal(in_force(g.r)->epoch, 2);
    assert_int_equal(configuration_sync_count(in_force(g.r)), 2);
    end(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_heir_waits_for_all_votes_of_this_bid_and_is_durable_before_it_acts),
        cmocka_unit_test(a_bid_is_over_when_a_member_reaches_the_mediator_again),
        cmocka_unit_test(the_heir_goes_on_alone_and_gives_the_right_back),
        cmocka_unit_test(a_member_votes_when_it_is_durably_bound),
        cmocka_unit_test(who_has_asked_does_not_bind_itself),
        cmocka_unit_test(a_bound_member_waits_for_the_heir_though_the_mediator_is_back),
        cmocka_unit_test(only_another_primary_voids_what_binds),
        cmocka_unit_test(a_joiner_is_let_in_alone_when_it_has_bound_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
