#include "tests/unit/replication/test_replica_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* cmocka wants those above first */
#include <cmocka.h>

const struct uuid pod = {{9}}, mediator = {{5}};

struct uuid store(int n)
{
    return (struct uuid){{(uint8_t)n, 77}};
}

struct log_id id_of(uint64_t seq)
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
    ((struct rig *)user)->limit = bytes;
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

uint64_t beat(struct heartbeat *of_b, uint64_t now, uint64_t stamp)
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

struct configuration configuration(uint64_t epoch, int primary, int in_sync)
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

void start(struct rig *g, int who, uint64_t run, uint64_t now, const struct durable *state, uint64_t end)
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

void turn(struct rig *g, uint64_t now)
{
    g->now = now;
    (void)replica_turn(g->r, now);
}

void persisted(struct rig *g)
{
    assert_true(g->persists);
    g->persists = false;
    replica_persisted(g->r, g->now, 0);
    turn(g, g->now);
}

void mediator_answers(struct rig *g, const struct configuration *now)
{
    const struct replica_verdict v = {.mediator = mediator, .now = *now};
    replica_verdict(g->r, g->now, &v);
}

void grant(struct rig *g)
{
    const struct replica_verdict v = {
        .mediator = g->cas.mediator, .request = g->cas.request, .now = g->cas.next};
    replica_verdict(g->r, g->now, &v);
    turn(g, g->now);
    persisted(g);
}

struct replica_state_msg state_of(int who, uint64_t run, uint64_t epoch, uint64_t end)
{
    return (struct replica_state_msg){.pod = pod,
                                      .store = store(who),
                                      .run = run,
                                      .epoch = epoch,
                                      .applied = id_of(end),
                                      .end = id_of(end),
                                      .log_open = true};
}

void hears_state(struct rig *g, const struct replica_state_msg *msg)
{
    struct replica_state_msg answer;
    replica_state(g->r, g->now, msg, &answer);
    turn(g, g->now);
}

void hears(struct rig *g, int who, uint64_t run, uint64_t epoch, uint64_t end)
{
    const struct replica_state_msg msg = state_of(who, run, epoch, end);
    hears_state(g, &msg);
}

void acks(struct rig *g, int who, uint64_t run, uint64_t epoch, uint64_t end)
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

struct replica_info look(const struct rig *g)
{
    struct replica_info info;
    replica_look(g->r, g->now, &info);
    return info;
}

enum replica_role role_of(const struct rig *g)
{
    return look(g).role;
}

void end(struct rig *g)
{
    replica_destroy(g->r);
}

struct durable in_sync_of(int in_sync)
{
    return (struct durable){
        .configuration = configuration(1, A, in_sync), .mediator = mediator, .highest_epoch = 1};
}

void leads_b(struct rig *g, struct heartbeat *beats)
{
    const struct durable d = in_sync_of(1 << A | 1 << B);
    start(g, A, 1, 10 * SECOND, &d, 5);
    if (beats)
        heartbeat_init(beats, &replica_defaults);
    g->beats = beats;
    turn(g, g->now + 1100 * MS);
    hears(g, B, 1, 1, 5);
    acks(g, B, 1, 1, 5);
    assert_true(g->led);
}

void leads_b_that_is_behind(struct rig *g)
{
    const struct durable d = in_sync_of(1 << A);
    start(g, A, 1, 10 * SECOND, &d, 9);
    turn(g, g->now + 1100 * MS);
    hears(g, B, 1, 1, 5);
    assert_true(g->led);
    assert_int_equal(g->begin.after.seq, 5);
}

void follows_a(struct rig *g, int who)
{
    const struct durable d = {
        .configuration = configuration(3, A, 1 << A), .mediator = mediator, .highest_epoch = 3};
    const struct replica_begin_msg begin = {.pod = pod,
                                            .store = store(A),
                                            .run = 2,
                                            .epoch = 3,
                                            .stream = 1,
                                            .after = id_of(5),
                                            .commit_seq = 30};
    struct replica_ack_msg refusal;
    start(g, who, 1, 10 * SECOND, &d, 5);
    assert_true(replica_begin(g->r, g->now, &begin, &refusal));
    turn(g, g->now);
}

void leads_two(struct rig *g, int preferred)
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

void members_answer(struct rig *g, int mediator_ok)
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
