/* The log's way to a member: what a stream brings, what is cut, kept, acknowledged, slowed and copied. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "tests/unit/replication/test_replica_rig.h"

static void hosts_are_slowed_while_a_member_does_not_catch_up(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = {
        .configuration = configuration(3, A, 1 << A), .mediator = mediator, .highest_epoch = 3};
    start(&g, A, 2, 10 * SECOND, &d, 5000);
    turn(&g, g.now + 1100 * MS);
    hears(&g, B, 1, 3, 100);
    acks(&g, B, 2, 3, 100);
    for (uint64_t i = 1; i <= 40; i++) {
        g.now += 250 * MS;
        mediator_answers(&g, &d.configuration);
        hears(&g, B, 1, 3, 100 + i);
        acks(&g, B, 2, 3, 100 + i);
    }
    assert_int_equal(g.slowed, PACE_MOST);
    /* It is there: nobody is slowed. */
    hears(&g, B, 1, 3, 4995);
    acks(&g, B, 2, 3, 4995);
    assert_int_equal(g.slowed, 0);
    end(&g);
}

/* So a primary can't fill a member that applies slowly with what it can't hold. */
static void a_member_acknowledges_little_more_than_it_has_applied(void **state)
{
    (void)state;
    struct rig g;
    struct replica_ack_msg refusal;
    follows_a(&g, B);
    assert_int_equal(g.ack.end.seq, 5);
    for (uint64_t seq = 6; seq <= 15; seq++) {
        const struct replica_append_msg append = {.pod = pod,
                                                  .store = store(A),
                                                  .run = 2,
                                                  .epoch = 3,
                                                  .stream = 1,
                                                  .id = id_of(seq),
                                                  .commit_seq = 30};
        const struct log_id before = id_of(seq - 1), id = id_of(seq);
        bool fresh;
        assert_true(replica_append(g.r, g.now, &append, &before, &fresh, &refusal) && fresh);
        replica_durable(g.r, &id);
    }
    assert_int_equal(g.ack.end.seq, 5 + REPLICA_AHEAD);
    const struct log_id applied = id_of(9);
    replica_applied(g.r, &applied);
    assert_int_equal(g.ack.end.seq, 9 + REPLICA_AHEAD);
    end(&g);
}

static void a_member_keeps_what_the_primary_has_and_drops_the_rest(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = {
        .configuration = configuration(2, A, 1 << A | 1 << B), .mediator = mediator, .highest_epoch = 2};
    const struct log_id tail[] = {id_of(6), id_of(7), {.epoch = 1, .run = 1, .seq = 8, .hash = 5}},
                        applied = id_of(5);
    start(&g, B, 1, 10 * SECOND, &d, 5);
    end(&g);
    start(&g, B, 1, 10 * SECOND, &d, 5);
    g.r->log_open = false;
    replica_opened(g.r, &applied, tail, 3);
    struct replica_begin_msg begin = {
        .pod = pod, .store = store(A), .run = 1, .epoch = 2, .stream = 1, .after = applied};
    begin.follows[0] = id_of(6);
    begin.follows[1] = id_of(7);
    begin.follows[2] = id_of(8);
    begin.follows_count = 3;
    struct replica_ack_msg refusal;
    assert_true(replica_begin(g.r, g.now, &begin, &refusal));
    turn(&g, g.now);
    assert_true(g.truncates);
    assert_int_equal(g.truncated_to, 7);
    assert_int_equal(g.acks, 0);
    replica_truncated(g.r, 0);
    turn(&g, g.now);
    assert_int_equal(g.acks, 1);
    assert_int_equal(g.ack.end.seq, 7);
    assert_int_equal(g.ack.status, 0);
    end(&g);
}

static bool append(struct rig *g, uint64_t run, uint64_t stream, uint64_t seq)
{
    const struct replica_append_msg msg = {
        .pod = pod, .store = store(A), .run = run, .epoch = 2, .stream = stream, .id = id_of(seq)};
    const struct log_id before = id_of(seq - 1), id = id_of(seq);
    struct replica_ack_msg refusal;
    bool fresh;
    const bool taken = replica_append(g->r, g->now, &msg, &before, &fresh, &refusal);
    if (taken)
        replica_durable(g->r, &id);
    turn(g, g->now);
    return taken;
}

/* The connection that it came on was given up; what was acknowledged since is committed. */
static void a_begin_that_comes_late_cuts_nothing(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = {
        .configuration = configuration(2, A, 1 << A | 1 << B), .mediator = mediator, .highest_epoch = 2};
    const struct {
        uint64_t run, stream;
    } late[] = {{3, 6}, {3, 7}, {2, 9}};
    struct replica_begin_msg begin = {
        .pod = pod, .store = store(A), .run = 3, .epoch = 2, .stream = 7, .after = id_of(5)};
    struct replica_ack_msg refusal;
    start(&g, B, 1, 10 * SECOND, &d, 5);
    assert_true(replica_begin(g.r, g.now, &begin, &refusal));
    turn(&g, g.now);
    assert_true(append(&g, 3, 7, 6) && append(&g, 3, 7, 7));
    assert_int_equal(g.ack.end.seq, 7);
    begin.follows[0] = id_of(6);
    begin.follows_count = 1;
    for (unsigned i = 0; i < sizeof late / sizeof late[0]; i++) {
        begin.run = late[i].run;
        begin.stream = late[i].stream;
        assert_false(replica_begin(g.r, g.now, &begin, &refusal));
        assert_int_equal(refusal.status, PS_EABORTED);
        assert_int_equal(refusal.stream, late[i].stream);
        turn(&g, g.now);
        assert_false(g.truncates);
    }
    assert_true(append(&g, 3, 7, 8)); /* the stream goes on */
    assert_int_equal(g.ack.end.seq, 8);
    begin.run = 3;
    begin.stream = 8;
    assert_true(replica_begin(g.r, g.now, &begin, &refusal));
    end(&g);
}

/* The primary's batches wait for it, hosts for them. */
static void who_opened_its_log_says_so_at_once(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = in_sync_of(1 << A | 1 << B);
    const struct log_id applied = id_of(5);
    start(&g, B, 1, 10 * SECOND, &d, 5);
    turn(&g, g.now + MS);
    g.r->log_open = false;
    turn(&g, g.now + 300 * MS);
    assert_false(g.told.log_open);
    replica_opened(g.r, &applied, NULL, 0);
    turn(&g, g.now + 1);
    assert_true(g.told.log_open);
    end(&g);
}

static void a_refusal_of_an_ended_stream_does_not_end_the_next_one(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = {
        .configuration = configuration(1, A, 1 << A | 1 << B), .mediator = mediator, .highest_epoch = 1};
    start(&g, A, 1, 10 * SECOND, &d, 5);
    hears(&g, B, 1, 1, 5);
    const uint64_t old = g.begin.stream;
    g.now += MS;
    const struct uuid b = store(B);
    replica_peer_lost(g.r, g.now, &b);
    g.now += MS;
    hears(&g, B, 1, 1, 5);
    assert_int_equal(g.begin.stream, old + 1);
    acks(&g, B, 1, 1, 5);
    const struct replica_ack_msg late = {
        .pod = pod, .store = b, .run = 1, .epoch = 1, .stream = old, .end = id_of(5), .status = PS_EABORTED};
    replica_ack(g.r, g.now, &late);
    g.now += MS;
    hears(&g, B, 1, 1, 5);
    assert_int_equal(g.begins, 2);
    end(&g);
}

/* Who ships has a window, and does not know what another stream's batches were acknowledged for. */
static void what_another_stream_brought_is_not_waited_for(void **state)
{
    (void)state;
    struct rig g;
    leads_b_that_is_behind(&g);
    const uint64_t old = g.begin.stream;
    const struct uuid b = store(B);
    replica_peer_lost(g.r, g.now, &b);
    g.now += MS;
    hears(&g, B, 1, 1, 5);
    assert_int_equal(g.begin.stream, old + 1);
    acks(&g, B, 1, 1, 5);
    assert_int_equal(g.shipped_from, 6);
    const struct replica_ack_msg late = {
        .pod = pod, .store = b, .run = 1, .epoch = 1, .stream = old, .end = id_of(7)};
    replica_ack(g.r, g.now, &late);
    turn(&g, g.now);
    assert_int_equal(g.shipped_from, 8);
    end(&g);
}

static void a_stream_that_can_not_be_read_begins_again(void **state)
{
    (void)state;
    struct rig g;
    const struct uuid b = store(B);
    leads_b_that_is_behind(&g);
    acks(&g, B, 1, 1, 5);
    const uint64_t stream = g.begin.stream;
    g.now += MS;
    replica_stream_failed(g.r, g.now, &b, stream - 1, 6, PS_ENOTFOUND); /* of one that has ended */
    g.now += MS;
    hears(&g, B, 1, 1, 5);
    assert_int_equal(g.begin.stream, stream);
    replica_stream_failed(g.r, g.now, &b, stream, 6, PS_ENOTFOUND);
    g.now += MS;
    hears(&g, B, 1, 1, 5);
    assert_int_equal(g.begin.stream, stream + 1);
    g.shipped_from = 0;
    acks(&g, B, 1, 1, 5);
    assert_int_equal(g.shipped_from, 6);
    /* What is damaged here can't be had by the log at all. */
    assert_int_equal(g.copies, 0);
    replica_stream_failed(g.r, g.now, &b, stream + 1, 6, PS_EDATALOSS);
    g.now += MS;
    hears(&g, B, 1, 1, 5);
    assert_int_equal(g.copies, 1);
    end(&g);
}

static void who_takes_no_batches_is_not_sent_them_without_a_pause(void **state)
{
    (void)state;
    struct rig g;
    leads_b_that_is_behind(&g);
    const unsigned begins = g.begins;
    const struct replica_ack_msg refusal = {.pod = pod,
                                            .store = store(B),
                                            .run = 1,
                                            .epoch = 1,
                                            .stream = g.begin.stream,
                                            .end = id_of(5),
                                            .status = PS_EIO};
    replica_ack(g.r, g.now, &refusal);
    const uint64_t refused_ns = g.now;
    while (g.now + 100 * MS < refused_ns + SECOND) {
        g.now += 100 * MS;
        hears(&g, B, 1, 1, 5);
        assert_int_equal(g.begins, begins);
    }
    g.now = refused_ns + SECOND + MS;
    hears(&g, B, 1, 1, 5);
    assert_int_equal(g.begins, begins + 1);
    end(&g);
}

static void a_begin_that_rests_on_an_old_report_is_refused(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = {
        .configuration = configuration(2, A, 1 << A | 1 << B), .mediator = mediator, .highest_epoch = 2};
    start(&g, B, 1, 10 * SECOND, &d, 40);
    struct replica_begin_msg begin = {
        .pod = pod, .store = store(A), .run = 1, .epoch = 2, .stream = 4, .after = id_of(10)};
    while (begin.follows_count < REPLICA_TAIL_MAX) {
        begin.follows[begin.follows_count] = id_of(11 + begin.follows_count);
        begin.follows_count++;
    }
    struct replica_ack_msg refusal;
    assert_true(replica_begin(g.r, g.now, &begin, &refusal));
    turn(&g, g.now);
    assert_false(g.truncates);
    assert_int_equal(g.ack.status, PS_EABORTED);
    assert_int_equal(g.ack.stream, 4);
    end(&g);
}

static void a_batch_that_is_there_already_is_acknowledged_again(void **state)
{
    (void)state;
    struct rig g;
    const struct durable d = {
        .configuration = configuration(2, A, 1 << A | 1 << B), .mediator = mediator, .highest_epoch = 2};
    start(&g, B, 1, 10 * SECOND, &d, 12);
    const struct replica_begin_msg begin = {.pod = pod,
                                            .store = store(A),
                                            .run = 1,
                                            .epoch = 2,
                                            .stream = 4,
                                            .after = id_of(11),
                                            .follows = {id_of(12)},
                                            .follows_count = 1};
    struct replica_ack_msg refusal;
    assert_true(replica_begin(g.r, g.now, &begin, &refusal));
    turn(&g, g.now);
    assert_int_equal(g.acks, 1);
    const struct replica_append_msg append = {
        .pod = pod, .store = store(A), .run = 1, .epoch = 2, .stream = 4, .id = id_of(12)};
    const struct log_id before = id_of(11);
    bool fresh = true;
    assert_true(replica_append(g.r, g.now, &append, &before, &fresh, &refusal));
    assert_false(fresh);
    assert_int_equal(g.acks, 2);
    assert_int_equal(g.ack.end.seq, 12);
    end(&g);
}

static void a_member_that_stays_full_and_does_not_count_is_given_a_copy(void **state)
{
    (void)state;
    struct rig g;
    const struct configuration c = configuration(1, A, 1 << A);
    leads_b_that_is_behind(&g);
    const struct replica_ack_msg full = {.pod = pod,
                                         .store = store(B),
                                         .run = 1,
                                         .epoch = 1,
                                         .stream = g.begin.stream,
                                         .end = id_of(5),
                                         .status = PS_EFULL};
    replica_ack(g.r, g.now, &full);
    for (int i = 0; i < 39; i++) {
        turn(&g, g.now + 250 * MS);
        hears(&g, B, 1, 1, 5);
        mediator_answers(&g, &c);
        assert_int_equal(g.copies, 0);
    }
    turn(&g, g.now + 250 * MS);
    assert_int_equal(g.copies, 1);
    assert_int_equal(g.begins, 1);
    end(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_are_slowed_while_a_member_does_not_catch_up),
        cmocka_unit_test(a_member_acknowledges_little_more_than_it_has_applied),
        cmocka_unit_test(a_member_keeps_what_the_primary_has_and_drops_the_rest),
        cmocka_unit_test(a_begin_that_comes_late_cuts_nothing),
        cmocka_unit_test(who_opened_its_log_says_so_at_once),
        cmocka_unit_test(a_refusal_of_an_ended_stream_does_not_end_the_next_one),
        cmocka_unit_test(what_another_stream_brought_is_not_waited_for),
        cmocka_unit_test(a_stream_that_can_not_be_read_begins_again),
        cmocka_unit_test(who_takes_no_batches_is_not_sent_them_without_a_pause),
        cmocka_unit_test(a_begin_that_rests_on_an_old_report_is_refused),
        cmocka_unit_test(a_batch_that_is_there_already_is_acknowledged_again),
        cmocka_unit_test(a_member_that_stays_full_and_does_not_count_is_given_a_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
