/* The replica's rules, told as stories of two or three members whose messages are handed over by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/replication/heartbeat.h"
#include "node/replication/replica_impl.h"

#define MS     1000000ull
#define SECOND 1000000000ull

enum {
    A = 1,
    B,
    C,
};

/* One replica, its log of `end` batches, and what it wanted last. */
struct rig {
    struct replica *r;
    uint64_t now;
    uint64_t end;
    bool persists, led, stood_down;
    uint8_t state[REPLICA_STATE_BYTES_MAX];
    size_t state_bytes;
    unsigned asks, begins, acks;
    struct replica_cas cas;
    struct replica_begin_msg begin;
    struct replica_ack_msg ack;
    struct replica_state_msg told; /* last heartbeat */
    uint64_t committed, truncated_to, shipped_from;
    bool truncates;
    uint32_t slowed;
    unsigned copies;         /* begun */
    struct uuid stopped;     /* told last to be sent nothing any more */
    struct heartbeat *beats; /* NULL: it has none but its states */
    bool beats_between;      /* they are asked for a lease after each exchange */
    uint64_t promised_ns;    /* then: until when */
};

static struct uuid store(int n)
{
    return (struct uuid){{(uint8_t)n, 77}};
}

static const struct uuid pod = {{9}}, mediator = {{5}};

static struct log_id id_of(uint64_t seq)
{
    return seq ? (struct log_id){.epoch = 1, .run = 1, .seq = seq, .hash = seq * 31} : (struct log_id){0};
}

/* ---- effects */

static void send_state(void *user, const struct uuid *to, const struct replica_state_msg *msg)
{
    (void)to;
    ((struct rig *)user)->told = *msg;
}
static void send_begin(void *user, const struct uuid *to, const struct replica_begin_msg *msg)
{
    struct rig *g = user;
    (void)to;
    g->begin = *msg;
    g->begins++;
}
static void ship(void *user, const struct uuid *to, const struct replica_append_msg *envelope, uint64_t from,
                 uint64_t upto, uint64_t acked)
{
    (void)envelope, (void)acked;
    if (upto < from)
        ((struct rig *)user)->stopped = *to;
    else
        ((struct rig *)user)->shipped_from = from;
}
static void send_ack(void *user, const struct uuid *to, const struct replica_ack_msg *msg)
{
    struct rig *g = user;
    (void)to;
    g->ack = *msg;
    g->acks++;
}
static void ask_mediator(void *user, const struct replica_cas *cas)
{
    struct rig *g = user;
    g->cas = *cas;
    g->asks++;
}
static void report_mediator(void *user, uint64_t epoch)
{
    (void)user, (void)epoch;
}
static void persist(void *user, const void *data, size_t bytes)
{
    struct rig *g = user;
    assert_false(g->persists);
    g->persists = true;
    memcpy(g->state, data, bytes);
    g->state_bytes = bytes;
}
static void truncate_log(void *user, uint64_t seq)
{
    struct rig *g = user;
    g->truncates = true;
    g->truncated_to = seq;
}
static void commit(void *user, uint64_t seq)
{
    ((struct rig *)user)->committed = seq;
}
static void forget_commit(void *user)
{
    ((struct rig *)user)->committed = 0;
}
static void lead(void *user, uint64_t epoch)
{
    (void)epoch;
    ((struct rig *)user)->led = true;
}
static void lead_epoch(void *user, uint64_t epoch)
{
    (void)user, (void)epoch;
}
static void stand_down(void *user)
{
    ((struct rig *)user)->stood_down = true;
}
static void hold(void *user, bool held)
{
    (void)user, (void)held;
}
static void limit_free(void *user, uint64_t bytes)
{
    (void)user, (void)bytes;
}
static int id_at(void *user, uint64_t seq, struct log_id *out)
{
    if (seq > ((struct rig *)user)->end)
        return PS_ENOTFOUND;
    *out = id_of(seq);
    return 0;
}
static uint64_t log_first(void *user)
{
    return ((struct rig *)user)->end ? 1 : 0;
}
static void slow(void *user, uint32_t permille)
{
    ((struct rig *)user)->slowed = permille;
}
static bool log_searching(void *user)
{
    (void)user;
    return false;
}
static void decided(void *user, const struct replica_decision *decision)
{
    (void)user, (void)decision;
}
static void changed(void *user)
{
    (void)user;
}

static void on_copy_start(void *user, const struct uuid *to, const struct replica_copy_msg *envelope)
{
    struct rig *g = user;
    (void)to;
    (void)envelope;
    g->copies++;
}

static void on_copy_stop(void *user)
{
    (void)user;
}

/* B's heartbeats' thread is asked by A's for a lease: the stamp that it grants, 0: none. */
static uint64_t beat(struct heartbeat *of_b, uint64_t now, uint64_t stamp)
{
    const struct heartbeat_msg ask = {
        .pod = pod, .store = store(A), .run = 1, .epoch = 1, .ready = true, .stamp = stamp};
    struct heartbeat_msg answer = {.stamp = 0};
    return heartbeat_asked(of_b, now, &ask, &answer) ? answer.stamp : 0;
}

static bool exchange(void *user, uint64_t now_ns, const struct replica_view *view,
                     struct replica_heard *heard)
{
    struct rig *g = user;
    if (!g->beats)
        return false;
    heartbeat_exchange(g->beats, now_ns, view, heard);
    if (g->beats_between && beat(g->beats, now_ns, now_ns - MS))
        g->promised_ns = now_ns + 1100 * MS;
    return true;
}

static const struct replica_effects effects = {
    .send_state = send_state,
    .send_begin = send_begin,
    .ship = ship,
    .send_ack = send_ack,
    .ask_mediator = ask_mediator,
    .report_mediator = report_mediator,
    .persist = persist,
    .truncate = truncate_log,
    .commit = commit,
    .forget_commit = forget_commit,
    .lead = lead,
    .lead_epoch = lead_epoch,
    .stand_down = stand_down,
    .hold = hold,
    .limit_free = limit_free,
    .slow = slow,
    .id_at = id_at,
    .log_first = log_first,
    .log_searching = log_searching,
    .copy_start = on_copy_start,
    .copy_stop = on_copy_stop,
    .decided = decided,
    .changed = changed,
    .exchange = exchange,
};

/* ---- the rig */

static struct configuration configuration(uint64_t epoch, int primary, int in_sync)
{
    struct configuration c = {.pod = pod, .epoch = epoch, .count = C, .primary = store(primary)};
    snprintf(c.pod_name, sizeof c.pod_name, "default");
    for (int i = A; i <= C; i++) {
        struct member *m = &c.members[i - 1];
        *m = (struct member){.store = store(i), .mode = MEMBER_SYNC, .in_sync = (in_sync & 1 << i) != 0};
        snprintf(m->node, sizeof m->node, "n%d", i);
    }
    return c;
}

static void start(struct rig *g, int who, uint64_t run, uint64_t now, const struct durable *state,
                  uint64_t end)
{
    uint8_t bytes[REPLICA_STATE_BYTES_MAX];
    struct ps_error err;
    const struct log_id applied = id_of(end);
    *g = (struct rig){.now = now, .end = end};
    const struct replica_config config = {
        .pod = pod,
        .store = store(who),
        .run = run,
        .node = "me",
        .seed = 1,
        .state = bytes,
        .state_bytes = durable_encode(state, bytes),
        .options = replica_defaults,
        .effects = &effects,
        .user = g,
    };
    assert_int_equal(replica_create(&config, now, &g->r, &err), 0);
    replica_opened(g->r, &applied, NULL, 0);
    (void)replica_turn(g->r, now);
}

static void turn(struct rig *g, uint64_t now)
{
    g->now = now;
    (void)replica_turn(g->r, now);
}

static void persisted(struct rig *g)
{
    assert_true(g->persists);
    g->persists = false;
    replica_persisted(g->r, g->now, 0);
    turn(g, g->now);
}

static void mediator_answers(struct rig *g, const struct configuration *now)
{
    const struct replica_verdict v = {.mediator = mediator, .now = *now};
    replica_verdict(g->r, g->now, &v);
}

/* `who` is heard, in `epoch`, with a log that ends at `end`. */
static struct replica_state_msg state_of(int who, uint64_t run, uint64_t epoch, uint64_t end)
{
    return (struct replica_state_msg){.pod = pod,
                                      .store = store(who),
                                      .run = run,
                                      .epoch = epoch,
                                      .applied = id_of(end),
                                      .end = id_of(end),
                                      .log_open = true};
}

static void hears_state(struct rig *g, const struct replica_state_msg *msg)
{
    struct replica_state_msg answer;
    replica_state(g->r, g->now, msg, &answer);
    turn(g, g->now);
}

static void hears(struct rig *g, int who, uint64_t run, uint64_t epoch, uint64_t end)
{
    const struct replica_state_msg msg = state_of(who, run, epoch, end);
    hears_state(g, &msg);
}

static void acks(struct rig *g, int who, uint64_t run, uint64_t epoch, uint64_t end)
{
    const struct replica_ack_msg ack = {.pod = pod,
                                        .store = store(who),
                                        .run = run,
                                        .epoch = epoch,
                                        .stream = g->begin.stream,
                                        .end = id_of(end)};
    replica_ack(g->r, g->now, &ack);
    turn(g, g->now);
}

static enum replica_role role_of(const struct rig *g)
{
    struct replica_info info;
    replica_look(g->r, g->now, &info);
    return info.role;
}

static void end(struct rig *g)
{
    replica_destroy(g->r);
}

/* ---- stories */

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
    const struct durable d = {
        .configuration = configuration(3, A, 1 << A), .mediator = mediator, .highest_epoch = 3};
    start(&g, B, 1, 10 * SECOND, &d, 5);
    const struct replica_begin_msg begin = {.pod = pod,
                                            .store = store(A),
                                            .run = 2,
                                            .epoch = 3,
                                            .stream = 1,
                                            .after = id_of(5),
                                            .commit_seq = 30};
    struct replica_ack_msg refusal;
    assert_true(replica_begin(g.r, g.now, &begin, &refusal));
    turn(&g, g.now);
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
    const struct durable d = {
        .configuration = configuration(1, A, 1 << A), .mediator = mediator, .highest_epoch = 1};
    start(&g, A, 1, 10 * SECOND, &d, 9);
    turn(&g, g.now + 1100 * MS);
    assert_true(g.led);
    hears(&g, B, 1, 1, 5);
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
    const struct durable d = {
        .configuration = configuration(1, A, 1 << A), .mediator = mediator, .highest_epoch = 1};
    const struct uuid b = store(B);
    start(&g, A, 1, 10 * SECOND, &d, 9);
    turn(&g, g.now + 1100 * MS);
    hears(&g, B, 1, 1, 5);
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
    const struct durable d = {
        .configuration = configuration(1, A, 1 << A), .mediator = mediator, .highest_epoch = 1};
    start(&g, A, 1, 10 * SECOND, &d, 9);
    turn(&g, g.now + 1100 * MS);
    hears(&g, B, 1, 1, 5);
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

static void a_primary_whose_store_failed_asks_for_no_lease(void **state)
{
    (void)state;
    struct rig g;
    const struct configuration c = configuration(1, A, 1 << A | 1 << B);
    const struct durable d = {.configuration = c, .mediator = mediator, .highest_epoch = 1};
    start(&g, A, 1, 10 * SECOND, &d, 5);
    turn(&g, g.now + 1100 * MS);
    hears(&g, B, 1, 1, 5);
    acks(&g, B, 1, 1, 5);
    assert_true(g.led && g.told.ready);
    replica_log_failed(g.r);
    /* Nobody could say that another one is primary: it goes on with reads. */
    turn(&g, g.now + MS);
    assert_true(g.told.ready && !g.told.log_open);
    mediator_answers(&g, &c);
    turn(&g, g.now + 250 * MS);
    assert_false(g.told.ready);
    end(&g);
}

static void a_primary_whose_store_failed_binds_nobody(void **state)
{
    (void)state;
    struct rig g;
    const struct configuration c = configuration(1, A, 1 << A | 1 << B);
    const struct durable d = {.configuration = c, .mediator = mediator, .highest_epoch = 1};
    start(&g, A, 1, 10 * SECOND, &d, 5);
    turn(&g, g.now + 1100 * MS);
    hears(&g, B, 1, 1, 5);
    acks(&g, B, 1, 1, 5);
    assert_true(g.led);
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

static void a_member_that_stays_full_and_does_not_count_is_given_a_copy(void **state)
{
    (void)state;
    struct rig g;
    const struct configuration c = configuration(1, A, 1 << A);
    const struct durable d = {.configuration = c, .mediator = mediator, .highest_epoch = 1};
    start(&g, A, 1, 10 * SECOND, &d, 9);
    turn(&g, g.now + 1100 * MS);
    hears(&g, B, 1, 1, 5);
    assert_true(g.led);
    assert_int_equal(g.begin.after.seq, 5);
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

/* ---- pre-election */

enum {
    RUN = 2
};
#define BID(n) ((uint64_t)RUN << 32 | (n))

/* A leads with B (and whom else `in_sync` names), the mediator has not answered for 3 s, and bids. */
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

static struct replica_info look(const struct rig *g)
{
    struct replica_info info;
    replica_look(g->r, g->now, &info);
    return info;
}

static struct durable in_sync_of(int in_sync)
{
    return (struct durable){
        .configuration = configuration(1, A, in_sync), .mediator = mediator, .highest_epoch = 1};
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

/* ---- promotion by a person */

#define LINEAGE (1ull << 32)

/* B is bound to A, which is gone; the mediator is back. */
static struct durable bound_to_a(void)
{
    return (struct durable){.configuration = configuration(4, A, 1 << A | 1 << B),
                            .mediator = mediator,
                            .highest_epoch = 4,
                            .bound = {.heir = store(A), .epoch = 4, .nonce = 9}};
}

static void grant(struct rig *g)
{
    const struct replica_verdict v = {
        .mediator = g->cas.mediator, .request = g->cas.request, .now = g->cas.next};
    replica_verdict(g->r, g->now, &v);
    turn(g, g->now);
    persisted(g);
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
    const struct durable d = {
        .configuration = configuration(3, A, 1 << A), .mediator = mediator, .highest_epoch = 3};
    start(&g, C, 1, 10 * SECOND, &d, 5);
    const struct replica_begin_msg begin = {.pod = pod,
                                            .store = store(A),
                                            .run = 2,
                                            .epoch = 3,
                                            .stream = 1,
                                            .after = id_of(5),
                                            .commit_seq = 30};
    struct replica_ack_msg refusal;
    assert_true(replica_begin(g.r, g.now, &begin, &refusal));
    turn(&g, g.now);
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

/* ---- another mediator */

static const struct uuid new_mediator = {{6}};

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

static void a_person_may_promote_with_a_mediator_that_knows_nothing(void **state)
{
    (void)state;
    struct rig g;
    struct ps_error err = {0};
    const struct durable d = bound_to_a();
    start(&g, B, 1, 10 * SECOND, &d, 5);
    turn(&g, g.now + 2 * SECOND);
    const struct replica_verdict there = {.mediator = new_mediator};
    replica_verdict(g.r, g.now, &there);
    assert_int_equal(replica_promote(g.r, g.now, true, &err), 0);
    turn(&g, g.now);
    persisted(&g);
    assert_true(uuid_equal(&g.cas.mediator, &new_mediator));
    assert_int_equal(g.cas.expected_epoch, 0);
    grant(&g);
    assert_true(g.led);
    end(&g);
}

/* ---- the pod moves without an order */

/* B and C answer; who of them reaches the mediator. */
static void members_answer(struct rig *g, int mediator_ok)
{
    for (int who = B; who <= C; who++) {
        struct replica_state_msg answer = state_of(who, 1, 4, 5);
        answer.stamp = g->told.stamp;
        answer.stream_epoch = 4;
        answer.stream_run = 2;
        answer.mediator_ok = (mediator_ok & 1 << who) != 0;
        replica_state_answer(g->r, g->now, &answer);
    }
    turn(g, g->now + 250 * MS);
}

static void leads_two(struct rig *g, int preferred)
{
    struct durable d = {.configuration = configuration(4, A, 1 << A | 1 << B | 1 << C),
                        .mediator = mediator,
                        .highest_epoch = 4};
    if (preferred)
        d.configuration.preferred = store(preferred);
    start(g, A, 2, 10 * SECOND, &d, 5);
    turn(g, g->now + 1100 * MS);
    for (int who = B; who <= C; who++) {
        hears(g, who, 1, 4, 5);
        acks(g, who, 2, 4, 5);
    }
    assert_true(g->led);
}

/* One that refuses, such as another cluster's, is nobody's mediator after that. */
static void a_mediator_that_refuses_a_promotion_holds_nothing(void **state)
{
    (void)state;
    struct rig g;
    struct ps_error err = {0};
    const struct durable d = bound_to_a();
    start(&g, B, 1, 10 * SECOND, &d, 5);
    turn(&g, g.now + 5 * SECOND);
    const struct replica_verdict there = {.mediator = new_mediator};
    replica_verdict(g.r, g.now, &there);
    assert_int_equal(replica_promote(g.r, g.now, true, &err), 0);
    turn(&g, g.now);
    persisted(&g);
    assert_true(uuid_equal(&g.cas.mediator, &new_mediator));
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
    const struct durable d = {
        .configuration = configuration(1, A, 1 << A | 1 << B), .mediator = mediator, .highest_epoch = 1};
    start(&a, A, 1, 10 * SECOND, &d, 5);
    heartbeat_init(&beats, &replica_defaults);
    a.beats = &beats;
    turn(&a, a.now + 1100 * MS);
    hears(&a, B, 1, 1, 5);
    acks(&a, B, 1, 1, 5);
    assert_true(a.led);
    mediator_answers(&a, &d.configuration);
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
    const struct durable d = {
        .configuration = configuration(1, A, 1 << A | 1 << B), .mediator = mediator, .highest_epoch = 1};
    start(&a, A, 1, 10 * SECOND, &d, 5);
    turn(&a, a.now + 1100 * MS);
    hears(&a, B, 1, 1, 5);
    acks(&a, B, 1, 1, 5);
    mediator_answers(&a, &d.configuration);
    const struct log_id six = id_of(6);
    a.end = 6;
    replica_sealed(a.r, &six);
    replica_durable(a.r, &six);
    turn(&a, a.now + 10 * MS);
    uint64_t t = a.now + 2500 * MS;
    for (turn(&a, t); a.now < t + 1400 * MS;) {
        mediator_answers(&a, &d.configuration);
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
    const struct durable d = {
        .configuration = configuration(1, A, 1 << A | 1 << B), .mediator = mediator, .highest_epoch = 1};
    start(&a, A, 1, 10 * SECOND, &d, 5);
    heartbeat_init(&beats, &replica_defaults);
    a.beats = &beats;
    turn(&a, a.now + 1100 * MS);
    hears(&a, B, 1, 1, 5);
    acks(&a, B, 1, 1, 5);
    in.stamp = a.now;
    heartbeat_answered(&beats, a.now + MS, &in);
    turn(&a, a.now + 10 * MS);
    assert_false(replica_may_read(a.r, a.now));
    hears(&a, B, 2, 1, 5);
    turn(&a, a.now + MS);
    assert_true(replica_may_read(a.r, a.now));
    end(&a);
}

static void pass(struct rig *g, uint64_t until)
{
    for (; g->now + 250 * MS < until; turn(g, g->now + 250 * MS)) {
    }
    turn(g, until);
}

static void one_whose_flush_does_not_end_says_nothing(void **state)
{
    (void)state;
    struct rig a;
    struct replica_state_msg answer;
    const struct replica_state_msg in = state_of(B, 1, 1, 5);
    const struct durable d = {
        .configuration = configuration(1, A, 1 << A | 1 << B), .mediator = mediator, .highest_epoch = 1};
    start(&a, A, 1, 10 * SECOND, &d, 5);
    turn(&a, a.now + 1100 * MS);
    hears(&a, B, 1, 1, 5);
    acks(&a, B, 1, 1, 5);
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
        cmocka_unit_test(an_acknowledgement_for_an_older_run_or_epoch_does_not_count),
        cmocka_unit_test(a_promise_outlives_the_lease_that_rests_on_it),
        cmocka_unit_test(hosts_are_slowed_while_a_member_does_not_catch_up),
        cmocka_unit_test(a_member_acknowledges_little_more_than_it_has_applied),
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
        cmocka_unit_test(a_primary_that_alone_lacks_the_mediator_yields),
        cmocka_unit_test(an_invited_member_asks_for_the_pod_and_keeps_its_primary_in_sync),
        cmocka_unit_test(the_pod_moves_to_the_preferred_member_when_that_one_is_stable),
        cmocka_unit_test(an_ordered_switchover_moves_the_preference_along),
        cmocka_unit_test(how_far_a_member_lags_is_told_in_time),
        cmocka_unit_test(an_ask_is_durable_before_it_is_sent),
        cmocka_unit_test(a_joiner_counts_until_its_ask_is_settled_also_after_a_restart),
        cmocka_unit_test(the_loser_of_a_swap_fences_itself),
        cmocka_unit_test(a_node_with_another_name_is_registered_under_it),
        cmocka_unit_test(who_is_no_member_any_more_is_sent_nothing),
        cmocka_unit_test(a_state_that_was_being_written_when_it_stood_down_is_written_again),
        cmocka_unit_test(a_member_keeps_what_the_primary_has_and_drops_the_rest),
        cmocka_unit_test(a_refusal_of_an_ended_stream_does_not_end_the_next_one),
        cmocka_unit_test(what_another_stream_brought_is_not_waited_for),
        cmocka_unit_test(a_stream_that_can_not_be_read_begins_again),
        cmocka_unit_test(who_takes_no_batches_is_not_sent_them_without_a_pause),
        cmocka_unit_test(a_begin_that_rests_on_an_old_report_is_refused),
        cmocka_unit_test(a_batch_that_is_there_already_is_acknowledged_again),
        cmocka_unit_test(a_new_primary_gives_all_members_time_to_be_heard),
        cmocka_unit_test(a_pause_of_its_own_is_nobodys_silence),
        cmocka_unit_test(a_take_over_is_asked_for_once),
        cmocka_unit_test(a_member_that_stays_full_and_does_not_count_is_given_a_copy),
        cmocka_unit_test(a_primary_whose_store_failed_asks_for_no_lease),
        cmocka_unit_test(a_primary_whose_store_failed_is_not_waited_for),
        cmocka_unit_test(a_primary_whose_store_failed_binds_nobody),
        cmocka_unit_test(nobody_becomes_primary_while_its_log_is_cut),
        cmocka_unit_test(the_heir_waits_for_all_votes_of_this_bid_and_is_durable_before_it_acts),
        cmocka_unit_test(a_bid_is_over_when_a_member_reaches_the_mediator_again),
        cmocka_unit_test(the_heir_goes_on_alone_and_gives_the_right_back),
        cmocka_unit_test(a_member_votes_when_it_is_durably_bound),
        cmocka_unit_test(who_has_asked_does_not_bind_itself),
        cmocka_unit_test(a_bound_member_waits_for_the_heir_though_the_mediator_is_back),
        cmocka_unit_test(only_another_primary_voids_what_binds),
        cmocka_unit_test(a_joiner_is_let_in_alone_when_it_has_bound_itself),
        cmocka_unit_test(a_promise_of_the_heartbeats_thread_is_kept_by_a_reactor_that_was_held_up),
        cmocka_unit_test(no_promise_slips_in_between_the_last_look_and_leading),
        cmocka_unit_test(leases_and_silence_are_those_of_the_heartbeats_thread),
        cmocka_unit_test(a_member_owes_nothing_for_the_time_that_the_primary_was_held_up),
        cmocka_unit_test(a_run_that_is_not_known_is_not_heard_by_heartbeats),
        cmocka_unit_test(one_whose_flush_does_not_end_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
