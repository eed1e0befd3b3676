/* Who is asked for a record that flash has lost, in what order and for how long; and who is answered. Around
 * the member's part alone: the pod, the replica and the network are fakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/member_impl.h"

enum {
    PRIMARY = 1,
    SECOND = 2,
    OWN = 9,
    GROUP = 77,
    EPOCH = 5,
    NOBODY = 0,
    ASKS_MAX = 512,
    NOT_SETTLED = 1,
};
#define MS 1000000ull

static struct {
    struct member_pod m;
    struct member_links links;
    uint64_t now_ns, next_ns, epoch;
    uint8_t sources[REPLICA_PEERS_MAX];
    uint32_t source_count, peers;
    /* What came of it. */
    uint8_t asked[ASKS_MAX];
    uint32_t asks;
    struct replica_record_msg last;
    int settled;       /* with a failure */
    uint32_t records;  /* that the pod was given */
    int record_status; /* what it says of them */
    /* The serving side. */
    int read_refused;
    struct pod_record_read *reads[RECORD_READS_MAX];
    uint32_t read_count, answers;
    struct replica_record_msg answer;
    uint8_t answered;
    uint32_t answer_bytes;
} w;

static struct uuid store(uint8_t number)
{
    struct uuid id = {{0}};
    id.bytes[0] = number;
    return id;
}

/* ---- fakes */

void pod_log_identity(const struct pod *pod, struct pod_log_identity *out)
{
    (void)pod;
    *out = (struct pod_log_identity){.pod = {42}};
}

int pod_record_repair(struct pod *pod, uint64_t group, const void *record, uint32_t bytes, int status)
{
    (void)pod;
    (void)bytes;
    assert_int_equal(group, GROUP);
    if (status) {
        assert_int_equal(w.settled, NOT_SETTLED);
        w.settled = status;
        return 0;
    }
    assert_non_null(record);
    w.records++;
    return w.record_status;
}

int pod_record_read(struct pod *pod, struct pod_record_read *read)
{
    (void)pod;
    if (w.read_refused)
        return w.read_refused;
    w.reads[w.read_count++] = read;
    return 0;
}

uint64_t replica_log_epoch(const struct replica *replica)
{
    (void)replica;
    return w.epoch;
}

uint32_t replica_peers(const struct replica *replica)
{
    (void)replica;
    return w.peers;
}

uint32_t replica_sources(const struct replica *replica, struct uuid out[REPLICA_PEERS_MAX])
{
    (void)replica;
    for (uint32_t i = 0; i < w.source_count; i++)
        out[i] = store(w.sources[i]);
    return w.source_count;
}

static void link_record(void *user, const struct uuid *to, const struct replica_record_msg *msg)
{
    (void)user;
    assert_true(w.asks < ASKS_MAX);
    w.asked[w.asks++] = to->bytes[0];
    w.last = *msg;
}

static void link_answer(void *user, const struct uuid *to, const struct replica_record_msg *msg,
                        const void *record, uint32_t bytes)
{
    (void)user;
    (void)record;
    w.answers++;
    w.answered = to->bytes[0];
    w.answer = *msg;
    w.answer_bytes = bytes;
}

static int setup(void **state)
{
    (void)state;
    memset(&w, 0, sizeof w);
    w.links.record = link_record;
    w.links.record_answer = link_answer;
    w.m.config.links = &w.links;
    w.m.store = store(OWN);
    w.m.now_ns = w.now_ns = 1000 * MS;
    w.epoch = EPOCH;
    w.sources[0] = PRIMARY;
    w.sources[1] = SECOND;
    w.source_count = w.peers = 2;
    w.settled = NOT_SETTLED;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    member_repair_free(&w.m);
    return 0;
}

static void turn_after(uint64_t ns)
{
    w.m.now_ns = w.now_ns += ns;
    w.next_ns = member_repair_turn(&w.m);
}

static void begin(void)
{
    member_repair(&w.m, GROUP);
    turn_after(0);
}

static void hear_at(uint8_t from, uint64_t epoch, int status)
{
    const struct replica_record_msg in = {
        .pod = {{42}}, .store = store(from), .epoch = epoch, .group = GROUP, .status = status};
    member_record_answer(&w.m, w.now_ns, &in, status ? NULL : "record", status ? 0 : 6);
    turn_after(0);
}

static void hear(uint8_t from, int status)
{
    hear_at(from, EPOCH, status);
}

static uint8_t last_asked(void)
{
    return w.asks ? w.asked[w.asks - 1] : NOBODY;
}

static bool is_over(void)
{
    return member_repair_turn(&w.m) == UINT64_MAX;
}

/* ---- asking */

static void the_primary_is_asked_first_and_its_record_ends_it(void **state)
{
    (void)state;
    begin();
    assert_int_equal(w.asks, 1);
    assert_int_equal(last_asked(), PRIMARY);
    assert_int_equal(w.last.epoch, EPOCH);
    assert_int_equal(w.last.group, GROUP);
    assert_int_equal(w.last.pod.bytes[0], 42);
    assert_int_equal(w.last.store.bytes[0], OWN);
    hear(PRIMARY, 0);
    assert_int_equal(w.records, 1);
    assert_int_equal(w.settled, NOT_SETTLED);
    assert_true(is_over());
    hear(PRIMARY, 0); /* twice */
    assert_int_equal(w.records, 1);
}

static void the_next_one_is_asked_when_one_refuses_or_is_silent(void **state)
{
    (void)state;
    begin();
    hear(PRIMARY, PS_EABORTED);
    assert_int_equal(w.asks, 2);
    assert_int_equal(last_asked(), SECOND);
    hear(SECOND, PS_ELIMIT);
    assert_int_equal(w.asks, 2); /* after a pause */
    turn_after(w.next_ns - w.now_ns);
    assert_int_equal(w.asks, 3);
    assert_int_equal(last_asked(), PRIMARY);
    const uint64_t asked_ns = w.now_ns;
    turn_after(w.next_ns - w.now_ns);
    assert_int_equal(w.asks, 4);
    assert_int_equal(last_asked(), SECOND);
    assert_true(w.now_ns - asked_ns < 1000 * MS);
    hear(PRIMARY, 0); /* too late: another one is asked */
    assert_int_equal(w.records, 0);
    hear(SECOND, 0);
    assert_int_equal(w.records, 1);
    assert_true(is_over());
}

static void it_is_lost_when_all_other_members_say_so_in_one_round(void **state)
{
    (void)state;
    begin();
    hear(PRIMARY, PS_EDATALOSS);
    assert_int_equal(w.settled, NOT_SETTLED);
    hear(SECOND, PS_EDATALOSS);
    assert_int_equal(w.settled, PS_EDATALOSS);
    assert_true(is_over());
}

static void it_is_not_lost_while_one_has_not_said_so(void **state)
{
    (void)state;
    begin();
    hear(PRIMARY, PS_EDATALOSS);
    hear(SECOND, PS_ENOTFOUND); /* it may not have applied it yet */
    turn_after(w.next_ns - w.now_ns);
    assert_int_equal(w.settled, NOT_SETTLED);
    assert_int_equal(last_asked(), PRIMARY);
    hear(PRIMARY, PS_EDATALOSS);
    turn_after(w.next_ns - w.now_ns); /* the second one is silent */
    turn_after(w.next_ns - w.now_ns);
    assert_int_equal(w.settled, NOT_SETTLED);
}

static void it_is_not_lost_while_a_member_is_away(void **state)
{
    (void)state;
    w.source_count = 1;
    begin();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(last_asked(), PRIMARY);
        hear(PRIMARY, PS_EDATALOSS);
        assert_int_equal(w.settled, NOT_SETTLED);
        turn_after(w.next_ns - w.now_ns);
    }
    assert_int_equal(w.asks, 4);
}

static void a_record_that_is_damaged_on_its_way_is_asked_of_the_next(void **state)
{
    (void)state;
    w.record_status = PS_EDAMAGED;
    begin();
    hear(PRIMARY, 0);
    assert_int_equal(last_asked(), SECOND);
    w.record_status = 0;
    hear(SECOND, 0);
    assert_int_equal(w.records, 2);
    assert_true(is_over());
}

static void it_is_given_up_after_two_seconds(void **state)
{
    (void)state;
    const uint64_t began_ns = w.now_ns;
    begin();
    while (w.settled == NOT_SETTLED) {
        assert_true(w.next_ns > w.now_ns);
        turn_after(w.next_ns - w.now_ns);
    }
    assert_int_equal(w.settled, PS_EUNAVAILABLE);
    assert_int_equal(w.now_ns - began_ns, 2000 * MS);
    assert_true(is_over());
    hear(PRIMARY, 0);
    assert_int_equal(w.records, 0);
}

static void a_record_of_another_epoch_is_not_taken(void **state)
{
    (void)state;
    begin();
    hear_at(PRIMARY, EPOCH - 1, 0);
    assert_int_equal(w.records, 0);
    assert_int_equal(last_asked(), SECOND);
    w.epoch = 0; /* the own log is not known to be the primary's any more */
    hear_at(SECOND, 0, 0);
    assert_int_equal(w.records, 0);
    turn_after(w.next_ns - w.now_ns);
    assert_int_equal(w.asks, 2);
    w.epoch = EPOCH + 1;
    turn_after(w.next_ns - w.now_ns);
    assert_int_equal(w.asks, 3);
    assert_int_equal(w.last.epoch, EPOCH + 1);
    hear_at(PRIMARY, EPOCH, 0);
    assert_int_equal(w.records, 0);
    hear_at(SECOND, EPOCH + 1, 0);
    assert_int_equal(w.records, 1);
    assert_true(is_over());
}

/* ---- being asked */

static void ask(uint8_t pod, uint64_t epoch)
{
    const struct replica_record_msg in = {
        .pod = {{pod}}, .store = store(SECOND), .epoch = epoch, .group = GROUP};
    member_record(&w.m, w.now_ns, &in);
}

static void who_asks_is_answered_with_the_record(void **state)
{
    (void)state;
    ask(42, EPOCH);
    assert_int_equal(w.answers, 0);
    assert_int_equal(w.read_count, 1);
    assert_int_equal(w.reads[0]->group, GROUP);
    w.reads[0]->bytes = 64;
    w.epoch = EPOCH + 1; /* what it is when the record is sent, is told */
    w.reads[0]->cb(w.reads[0], 0);
    assert_int_equal(w.answers, 1);
    assert_int_equal(w.answered, SECOND);
    assert_int_equal(w.answer.status, 0);
    assert_int_equal(w.answer.epoch, EPOCH + 1);
    assert_int_equal(w.answer.group, GROUP);
    assert_int_equal(w.answer_bytes, 64);
}

static void other_pods_and_epochs_are_refused(void **state)
{
    (void)state;
    ask(43, EPOCH);
    assert_int_equal(w.answer.status, PS_EABORTED);
    ask(42, EPOCH + 1);
    assert_int_equal(w.answer.status, PS_EABORTED);
    w.epoch = 0; /* equal, but unknown */
    ask(42, 0);
    assert_int_equal(w.answer.status, PS_EABORTED);
    assert_int_equal(w.answers, 3);
    assert_int_equal(w.read_count, 0);
}

static void so_many_are_read_at_once_and_the_next_one_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < RECORD_READS_MAX; i++)
        ask(42, EPOCH);
    assert_int_equal(w.answers, 0);
    ask(42, EPOCH);
    assert_int_equal(w.answer.status, PS_ELIMIT);
    w.reads[1]->cb(w.reads[1], PS_EDATALOSS);
    assert_int_equal(w.answer.status, PS_EDATALOSS);
    w.read_refused = PS_EUNAVAILABLE;
    ask(42, EPOCH); /* a refused one leaves its place */
    assert_int_equal(w.answer.status, PS_EUNAVAILABLE);
    w.read_refused = 0;
    w.read_count = 0;
    ask(42, EPOCH);
    assert_int_equal(w.read_count, 1);
    assert_int_equal(w.answers, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_primary_is_asked_first_and_its_record_ends_it),
        TEST(the_next_one_is_asked_when_one_refuses_or_is_silent),
        TEST(it_is_lost_when_all_other_members_say_so_in_one_round),
        TEST(it_is_not_lost_while_one_has_not_said_so),
        TEST(it_is_not_lost_while_a_member_is_away),
        TEST(a_record_that_is_damaged_on_its_way_is_asked_of_the_next),
        TEST(it_is_given_up_after_two_seconds),
        TEST(a_record_of_another_epoch_is_not_taken),
        TEST(who_asks_is_answered_with_the_record),
        TEST(other_pods_and_epochs_are_refused),
        TEST(so_many_are_read_at_once_and_the_next_one_is_refused),
    };
    return cmocka_run_group_tests_name("member_repair", tests, NULL, NULL);
}
