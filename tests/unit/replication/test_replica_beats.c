/* Leases and silence by the heartbeats' thread, while the reactor is held up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "tests/unit/replication/test_replica_rig.h"

static void a_promise_of_the_heartbeats_thread_is_kept_by_a_reactor_that_was_held_up(void **state)
{
    (void)state;
    struct rig b;
    struct heartbeat beats;
    const struct durable d = {
        .configuration = configuration(1, A, 1 << A | 1 << B), .mediator = mediator, .highest_epoch = 1};
    start(&b, B, 1, 10 * SECOND, &d, 5);
    heartbeat_init(&beats, &replica_defaults);
    b.beats = &beats;
    hears(&b, A, 1, 1, 5);
    /* Held up for 2 s; the primary is given its lease all the same, last at 11.9 s. */
    const uint64_t last = 11900 * MS;
    for (uint64_t t = 10150 * MS; t <= last; t += 250 * MS)
        assert_int_equal(beat(&beats, t, t - MS), t - MS);
    /* It wakes up: nobody is silent, nothing is asked. */
    mediator_answers(&b, &(struct configuration){0});
    turn(&b, 12 * SECOND);
    assert_int_equal(b.asks, 0);
    assert_true(b.r->promise_until_ns >= last + 1000 * MS);
    /* The mediator names it primary: it waits for the promise to end, and gives no further one. */
    const struct configuration next = configuration(2, B, 1 << B);
    const uint64_t until = b.r->promise_until_ns;
    mediator_answers(&b, &next);
    turn(&b, b.now);
    persisted(&b);
    assert_int_equal(beat(&beats, b.now, b.now - MS), 0);
    turn(&b, until - 1);
    assert_false(b.led);
    turn(&b, until);
    assert_true(b.led);
    end(&b);
}

/* The thread is asked for a lease right after each time that the replica looked. */
static void no_promise_slips_in_between_the_last_look_and_leading(void **state)
{
    (void)state;
    struct rig b;
    struct heartbeat beats;
    const struct durable d = {
        .configuration = configuration(1, A, 1 << A | 1 << B), .mediator = mediator, .highest_epoch = 1};
    start(&b, B, 1, 10 * SECOND, &d, 5);
    heartbeat_init(&beats, &replica_defaults);
    b.beats = &beats;
    b.beats_between = true;
    hears(&b, A, 1, 1, 5);
    turn(&b, 10200 * MS);
    assert_true(b.promised_ns >= 11300 * MS);
    const struct configuration next = configuration(2, B, 1 << B);
    mediator_answers(&b, &next);
    turn(&b, 10250 * MS);
    persisted(&b);
    while (!b.led)
        turn(&b, b.now + 10 * MS);
    assert_true(b.now >= b.promised_ns && b.now < 11400 * MS);
    end(&b);
}

static void leases_and_silence_are_those_of_the_heartbeats_thread(void **state)
{
    (void)state;
    struct rig a;
    struct heartbeat beats;
    struct heartbeat_msg in = {.pod = pod, .store = store(B), .run = 1, .epoch = 1};
    const struct configuration c = configuration(1, A, 1 << A | 1 << B);
    leads_b(&a, &beats);
    mediator_answers(&a, &c);
    turn(&a, a.now);
    const uint64_t held_up = a.now;
    for (in.stamp = held_up; in.stamp < held_up + 2 * SECOND; in.stamp += 250 * MS)
        heartbeat_answered(&beats, in.stamp + 2 * MS, &in);
    turn(&a, held_up + 2 * SECOND);
    assert_int_equal(a.asks, 0);
    assert_false(a.persists);
    assert_true(replica_may_read(a.r, held_up + 2750 * MS - 1));
    assert_false(replica_may_read(a.r, held_up + 2750 * MS));
    /* Heartbeats end: then it is silent, and removed. */
    turn(&a, held_up + 2300 * MS);
    turn(&a, held_up + 2500 * MS);
    assert_false(a.persists);
    turn(&a, held_up + 2760 * MS);
    assert_true(a.persists);
    end(&a);
}

/* Its acknowledgement lies in a queue that nobody had the time to look at. */
static void a_member_owes_nothing_for_the_time_that_the_primary_was_held_up(void **state)
{
    (void)state;
    struct rig a;
    const struct configuration c = configuration(1, A, 1 << A | 1 << B);
    leads_b(&a, NULL);
    mediator_answers(&a, &c);
    const struct log_id six = id_of(6);
    a.end = 6;
    replica_sealed(a.r, &six);
    replica_durable(a.r, &six);
    turn(&a, a.now + 10 * MS);
    uint64_t t = a.now + 2500 * MS;
    for (turn(&a, t); a.now < t + 1400 * MS;) {
        mediator_answers(&a, &c);
        hears(&a, B, 1, 1, 5);
        turn(&a, a.now + 100 * MS);
        assert_false(a.persists);
    }
    hears(&a, B, 1, 1, 5);
    turn(&a, t + 1500 * MS);
    assert_true(a.persists);
    end(&a);
}

/* Another run must introduce itself by its state: its promises are not those of the one that is known. */
static void a_run_that_is_not_known_is_not_heard_by_heartbeats(void **state)
{
    (void)state;
    struct rig a;
    struct heartbeat beats;
    struct heartbeat_msg in = {.pod = pod, .store = store(B), .run = 2, .epoch = 1};
    leads_b(&a, &beats);
    in.stamp = a.now;
    heartbeat_answered(&beats, a.now + MS, &in);
    turn(&a, a.now + 10 * MS);
    assert_false(replica_may_read(a.r, a.now));
    hears(&a, B, 2, 1, 5);
    turn(&a, a.now + MS);
    assert_true(replica_may_read(a.r, a.now));
    end(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_promise_of_the_heartbeats_thread_is_kept_by_a_reactor_that_was_held_up),
        cmocka_unit_test(no_promise_slips_in_between_the_last_look_and_leading),
        cmocka_unit_test(leases_and_silence_are_those_of_the_heartbeats_thread),
        cmocka_unit_test(a_member_owes_nothing_for_the_time_that_the_primary_was_held_up),
        cmocka_unit_test(a_run_that_is_not_known_is_not_heard_by_heartbeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
