/* What goes on while a reactor is held up: the core of the heartbeats alone. With the replica:
 * test_replica.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "node/replication/heartbeat.h"

#define MS     1000000ull
#define SECOND 1000000000ull

enum {
    A = 1,
    B,
    C,
};

static const struct uuid pod = {{9}};

static struct uuid store(int n)
{
    return (struct uuid){{(uint8_t)n, 77}};
}

/* `who` of three, in epoch 3 whose primary is A. */
static struct replica_view view_of(int who)
{
    struct replica_view v = {.pod = pod, .store = store(who), .run = 5, .epoch = 3, .ready = who == A};
    if (who != A)
        v.grants_to = store(A);
    for (int i = A; i <= C; i++)
        if (i != who)
            v.peers[v.peer_count++] = store(i);
    return v;
}

static struct replica_heard publish(struct heartbeat *h, uint64_t now_ns, const struct replica_view *view)
{
    struct replica_heard heard;
    heartbeat_exchange(h, now_ns, view, &heard);
    return heard;
}

static void start(struct heartbeat *h, int who, uint64_t now_ns)
{
    const struct replica_view view = view_of(who);
    heartbeat_init(h, &replica_defaults);
    (void)publish(h, now_ns, &view);
}

/* As A asks for a lease. */
static struct heartbeat_msg request(uint64_t stamp)
{
    return (struct heartbeat_msg){
        .pod = pod, .store = store(A), .run = 5, .epoch = 3, .ready = true, .stamp = stamp};
}

static uint64_t granted(struct heartbeat *h, uint64_t now_ns, const struct heartbeat_msg *in)
{
    struct heartbeat_msg answer;
    assert_true(heartbeat_asked(h, now_ns, in, &answer));
    return answer.stamp;
}

static void nothing_is_said_before_the_replica_has_published_a_view(void **state)
{
    (void)state;
    struct heartbeat h;
    struct heartbeat_msg out;
    const struct heartbeat_msg in = request(1);
    heartbeat_init(&h, &replica_defaults);
    assert_false(heartbeat_next(&h, SECOND, &out));
    assert_false(heartbeat_asked(&h, SECOND, &in, &out));
    heartbeat_answered(&h, SECOND, &in);
}

static void
a_lease_is_granted_while_the_reactor_is_held_up_and_the_replica_learns_of_the_promise(void **state)
{
    (void)state;
    struct heartbeat a, b;
    struct heartbeat_msg ask, answer;
    start(&a, A, 10 * SECOND);
    start(&b, B, 10 * SECOND);
    /* Neither replica has a turn for 2 s. */
    for (uint64_t t = 10 * SECOND; t < 12 * SECOND; t += 250 * MS) {
        assert_true(heartbeat_next(&a, t, &ask));
        assert_int_equal(ask.stamp, t);
        assert_true(heartbeat_asked(&b, t + 3 * MS, &ask, &answer));
        assert_int_equal(answer.stamp, t);
        heartbeat_answered(&a, t + 5 * MS, &answer);
    }
    const uint64_t last = 12 * SECOND - 250 * MS;
    const struct replica_view of_a = view_of(A), of_b = view_of(B);
    const struct replica_heard at_a = publish(&a, 12 * SECOND, &of_a);
    assert_int_equal(at_a.peers[0].stamp, last);
    assert_int_equal(at_a.peers[0].stamp_epoch, 3);
    assert_int_equal(at_a.peers[0].heard_ns, last + 5 * MS);
    const struct replica_heard at_b = publish(&b, 12 * SECOND, &of_b);
    assert_int_equal(at_b.promise.until_ns, last + 3 * MS + 1100 * MS);
    assert_true(uuid_equal(&at_b.promise.store, &of_a.store));
    assert_int_equal(at_b.promise.run, 5);
    assert_int_equal(at_b.peers[0].ready_ns, last + 3 * MS);
    /* Once: what the replica voids stays void. */
    assert_int_equal(publish(&b, 12 * SECOND, &of_b).promise.until_ns, 0);
}

static void no_lease_is_granted_to_anybody_but_the_primary_of_the_published_configuration(void **state)
{
    (void)state;
    struct heartbeat b;
    start(&b, B, 10 * SECOND);
    struct heartbeat_msg in = request(9 * SECOND);
    in.store = store(C);
    assert_int_equal(granted(&b, 10 * SECOND, &in), 0);
    in = request(9 * SECOND);
    in.epoch = 2;
    assert_int_equal(granted(&b, 10 * SECOND, &in), 0);
    in.epoch = 4;
    assert_int_equal(granted(&b, 10 * SECOND, &in), 0);
    in = request(9 * SECOND);
    in.ready = false;
    assert_int_equal(granted(&b, 10 * SECOND, &in), 0);
    in = request(9 * SECOND);
    in.pod = store(8);
    assert_int_equal(granted(&b, 10 * SECOND, &in), 0);
    in = request(0);
    assert_int_equal(granted(&b, 10 * SECOND, &in), 0);
    /* It is about to have another configuration. */
    struct replica_view v = view_of(B);
    v.grants_to = (struct uuid){{0}};
    assert_int_equal(publish(&b, 10 * SECOND, &v).promise.until_ns, 0);
    in = request(9 * SECOND);
    assert_int_equal(granted(&b, 10 * SECOND, &in), 0);
    assert_int_equal(publish(&b, 10 * SECOND, &v).promise.until_ns, 0);
}

static void one_who_is_not_ready_asks_for_no_lease(void **state)
{
    (void)state;
    struct heartbeat b;
    struct heartbeat_msg out;
    start(&b, B, 10 * SECOND);
    assert_true(heartbeat_next(&b, 10 * SECOND, &out));
    assert_false(out.ready);
    assert_int_equal(out.stamp, 0);
    assert_int_equal(out.epoch, 3);
}

static void a_reactor_that_has_no_turn_for_three_seconds_falls_silent(void **state)
{
    (void)state;
    struct heartbeat a, b;
    struct heartbeat_msg out;
    const struct heartbeat_msg in = request(9 * SECOND);
    start(&a, A, 10 * SECOND);
    start(&b, B, 10 * SECOND);
    assert_true(heartbeat_next(&a, 13 * SECOND - 1, &out));
    assert_false(heartbeat_next(&a, 13 * SECOND, &out));
    assert_int_equal(granted(&b, 13 * SECOND - 1, &in), 9 * SECOND);
    assert_false(heartbeat_asked(&b, 13 * SECOND, &in, &out));
    const struct replica_view v = view_of(A);
    (void)publish(&a, 14 * SECOND, &v);
    assert_true(heartbeat_next(&a, 14 * SECOND, &out));
    /* The other thread read its clock a little before the reactor did. */
    assert_true(heartbeat_next(&a, 14 * SECOND - 5 * MS, &out));
}

static void a_flush_that_does_not_end_and_a_replica_that_is_mute_fall_silent(void **state)
{
    (void)state;
    struct heartbeat a;
    struct heartbeat_msg out;
    struct replica_view v = view_of(A);
    v.flush_ns = 10 * SECOND;
    start(&a, A, 12 * SECOND);
    (void)publish(&a, 12 * SECOND, &v);
    assert_true(heartbeat_next(&a, 13 * SECOND - 1, &out));
    assert_false(heartbeat_next(&a, 13 * SECOND, &out));
    v.flush_ns = 13 * SECOND;
    (void)publish(&a, 13 * SECOND, &v);
    assert_true(heartbeat_next(&a, 13 * SECOND, &out));
    v.mute = true;
    (void)publish(&a, 13 * SECOND, &v);
    assert_false(heartbeat_next(&a, 13 * SECOND, &out));
}

static void what_a_former_run_said_late_counts_for_nothing(void **state)
{
    (void)state;
    struct heartbeat a;
    const struct replica_view v = view_of(A);
    struct heartbeat_msg in = {.pod = pod, .store = store(B), .run = 5, .epoch = 3, .stamp = 9 * SECOND};
    start(&a, A, 9 * SECOND);
    heartbeat_answered(&a, 10 * SECOND, &in);
    in.run = 6; /* it has started anew, and remembers no promise of before */
    in.stamp = 0;
    heartbeat_answered(&a, 11 * SECOND, &in);
    struct replica_heard heard = publish(&a, 11 * SECOND, &v);
    assert_int_equal(heard.peers[0].run, 6);
    assert_int_equal(heard.peers[0].stamp, 0);
    in.run = 5;
    in.stamp = 10 * SECOND;
    heartbeat_answered(&a, 11 * SECOND + MS, &in);
    heard = publish(&a, 12 * SECOND, &v);
    assert_int_equal(heard.peers[0].stamp, 0);
    assert_int_equal(heard.peers[0].heard_ns, 11 * SECOND);
}

static void leases_only_grow_and_none_is_of_the_future(void **state)
{
    (void)state;
    struct heartbeat a;
    const struct replica_view v = view_of(A);
    struct heartbeat_msg in = {.pod = pod, .store = store(B), .run = 5, .epoch = 3, .stamp = 9 * SECOND};
    start(&a, A, 9 * SECOND);
    heartbeat_answered(&a, 9 * SECOND + 9 * MS, &in);
    in.stamp = 8 * SECOND; /* overtaken */
    heartbeat_answered(&a, 9 * SECOND + 10 * MS, &in);
    in.stamp = 20 * SECOND; /* not ours */
    heartbeat_answered(&a, 9 * SECOND + 11 * MS, &in);
    assert_int_equal(publish(&a, 10 * SECOND, &v).peers[0].stamp, 9 * SECOND);
}

static void peers_that_stay_are_remembered_and_strangers_are_not_heard(void **state)
{
    (void)state;
    struct heartbeat a;
    struct replica_view v = view_of(A);
    struct heartbeat_msg in = {.pod = pod, .store = store(C), .run = 5, .epoch = 3};
    start(&a, A, 9 * SECOND);
    heartbeat_answered(&a, 10 * SECOND, &in);
    in.store = store(7);
    heartbeat_answered(&a, 10 * SECOND, &in);
    /* B is no member any more. */
    v.peers[0] = store(C);
    v.peer_count = 1;
    struct replica_heard heard = publish(&a, 11 * SECOND, &v);
    assert_int_equal(heard.count, 1);
    assert_int_equal(heard.peers[0].heard_ns, 10 * SECOND);
    v = view_of(A);
    heard = publish(&a, 11 * SECOND, &v);
    assert_int_equal(heard.count, 2);
    assert_int_equal(heard.peers[0].heard_ns, 0);
    assert_int_equal(heard.peers[1].heard_ns, 10 * SECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_said_before_the_replica_has_published_a_view),
        cmocka_unit_test(
            a_lease_is_granted_while_the_reactor_is_held_up_and_the_replica_learns_of_the_promise),
        cmocka_unit_test(no_lease_is_granted_to_anybody_but_the_primary_of_the_published_configuration),
        cmocka_unit_test(one_who_is_not_ready_asks_for_no_lease),
        cmocka_unit_test(a_reactor_that_has_no_turn_for_three_seconds_falls_silent),
        cmocka_unit_test(a_flush_that_does_not_end_and_a_replica_that_is_mute_fall_silent),
        cmocka_unit_test(what_a_former_run_said_late_counts_for_nothing),
        cmocka_unit_test(leases_only_grow_and_none_is_of_the_future),
        cmocka_unit_test(peers_that_stay_are_remembered_and_strangers_are_not_heard),
    };
    return cmocka_run_group_tests_name("heartbeat", tests, NULL, NULL);
}
