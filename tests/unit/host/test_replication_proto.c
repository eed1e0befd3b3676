/* Messages between members: what goes in comes back, and what has no form is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "node/host/replication_proto.h"

static struct uuid id(unsigned n)
{
    struct uuid u;
    memset(u.bytes, (int)n, sizeof u.bytes);
    return u;
}

static struct log_id log_id_of(uint64_t seq)
{
    return (struct log_id){.epoch = 3, .run = 9, .seq = seq, .hash = seq * 0x9e3779b97f4a7c15ull};
}

static struct replica_state_msg some_state(void)
{
    struct replica_state_msg s = {
        .pod = id(1),
        .store = id(2),
        .run = 7,
        .epoch = 5,
        .configuration = {.pod = id(1),
                          .pod_name = "default",
                          .epoch = 5,
                          .primary = id(2),
                          .count = 1,
                          .members = {{.store = id(2), .node = "n1", .mode = MEMBER_SYNC, .in_sync = true}}},
        .ready = true,
        .stamp = UINT64_MAX,
        .commit_seq = 40,
        .applied = log_id_of(40),
        .end = log_id_of(56),
        .tail_count = REPLICA_TAIL_MAX,
        .stream_epoch = 5,
        .stream_run = 6,
        .free_bytes = 1ull << 40,
        .log_open = true,
        .mediator_ok = true,
        .bind = REPLICA_BOUND,
        .heir = id(3),
        .nonce = UINT64_MAX - 1,
        .mediator = id(4),
        .mediator_number = 7,
        .yields_to = id(5),
    };
    for (uint32_t i = 0; i < REPLICA_TAIL_MAX; i++)
        s.tail[i] = log_id_of(41 + i);
    return s;
}

#define THROUGH_BYTES(name, message)                                                                         \
    __extension__({                                                                                          \
        static uint8_t bytes_[4096];                                                                         \
        assert_true(pstorage__v1__##name##__get_packed_size(message) <= sizeof bytes_);                      \
        const size_t length_ = pstorage__v1__##name##__pack(message, bytes_);                                \
        pstorage__v1__##name##__unpack(NULL, length_, bytes_);                                               \
    })

static void a_state_comes_back_as_it_was(void **state)
{
    (void)state;
    struct replica_state_msg s = some_state(), back;
    struct state_message m;
    for (int known = 0; known < 2; known++) {
        if (known)
            s.configuration = (struct configuration){0}; /* left out */
        state_to_message(&s, &m);
        Pstorage__V1__ReplicationState *got = THROUGH_BYTES(replication_state, &m.message);
        assert_int_equal(state_from_message(got, &back, NULL), 0);
        assert_memory_equal(&back, &s, sizeof s);
        pstorage__v1__replication_state__free_unpacked(got, NULL);
    }
}

static void begin_append_and_ack_come_back_as_they_were(void **state)
{
    (void)state;
    struct replica_begin_msg b = {.pod = id(1),
                                  .store = id(2),
                                  .run = 3,
                                  .epoch = 4,
                                  .stream = 5,
                                  .after = log_id_of(6),
                                  .follows_count = 2,
                                  .follows = {log_id_of(7), log_id_of(8)},
                                  .commit_seq = 6},
                             b2;
    struct begin_message bm;
    begin_to_message(&b, &bm);
    Pstorage__V1__ReplicationBegin *gb = THROUGH_BYTES(replication_begin, &bm.message);
    assert_int_equal(begin_from_message(gb, &b2, NULL), 0);
    assert_memory_equal(&b2, &b, sizeof b);
    pstorage__v1__replication_begin__free_unpacked(gb, NULL);

    struct replica_append_msg a = {.pod = id(1),
                                   .store = id(2),
                                   .run = 3,
                                   .epoch = 4,
                                   .stream = 5,
                                   .id = log_id_of(6),
                                   .commit_seq = 5},
                              a2;
    struct append_message am;
    append_to_message(&a, &am);
    Pstorage__V1__ReplicationAppend *ga = THROUGH_BYTES(replication_append, &am.message);
    assert_int_equal(append_from_message(ga, &a2, NULL), 0);
    assert_memory_equal(&a2, &a, sizeof a);
    pstorage__v1__replication_append__free_unpacked(ga, NULL);

    static const int statuses[] = {PS_OK, PS_EABORTED, PS_EFULL, PS_ELIMIT, PS_EIO};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct replica_ack_msg k = {.pod = id(1),
                                    .store = id(2),
                                    .run = 3,
                                    .epoch = 4,
                                    .stream = 5,
                                    .end = log_id_of(6),
                                    .free_bytes = 7,
                                    .status = statuses[i]},
                               k2;
        struct ack_message km;
        ack_to_message(&k, &km);
        Pstorage__V1__ReplicationAck *gk = THROUGH_BYTES(replication_ack, &km.message);
        assert_int_equal(ack_from_message(gk, &k2, NULL), 0);
        assert_memory_equal(&k2, &k, offsetof(struct replica_ack_msg, status)); /* padding follows it */
        assert_int_equal(k2.status, k.status);
        pstorage__v1__replication_ack__free_unpacked(gk, NULL);
    }
}

static void any_other_status_of_a_log_is_a_failure_of_it(void **state)
{
    (void)state;
    struct replica_ack_msg k = {.pod = id(1), .store = id(2), .end = log_id_of(6), .status = PS_EDAMAGED}, k2;
    struct ack_message km;
    ack_to_message(&k, &km);
    assert_int_equal(ack_from_message(&km.message, &k2, NULL), 0);
    assert_int_equal(k2.status, PS_EIO);
}

static void a_beat_comes_back_as_it_was(void **state)
{
    (void)state;
    struct heartbeat_msg b = {.pod = id(1),
                              .store = id(2),
                              .run = 3,
                              .epoch = 4,
                              .ready = true,
                              .stamp = UINT64_MAX},
                         back;
    Pstorage__V1__HeartbeatState m;
    beat_to_message(&b, &m);
    Pstorage__V1__HeartbeatState *got = THROUGH_BYTES(heartbeat_state, &m);
    assert_int_equal(beat_from_message(got, &back, NULL), 0);
    assert_true(uuid_equal(&back.pod, &b.pod) && uuid_equal(&back.store, &b.store) && back.ready);
    assert_int_equal(back.run, 3);
    assert_int_equal(back.epoch, 4);
    assert_int_equal(back.stamp, UINT64_MAX);
    got->store.len = 15;
    assert_int_equal(beat_from_message(got, &back, NULL), PS_EINVAL);
    pstorage__v1__heartbeat_state__free_unpacked(got, NULL);
}

static void a_hello_comes_back_as_it_was(void **state)
{
    (void)state;
    struct replication_hello h = {.node = "n1",
                                  .cluster = "c",
                                  .pod_name = "default",
                                  .store = id(1),
                                  .pod = id(2),
                                  .run = 3,
                                  .epoch = 4,
                                  .log_end = 5,
                                  .software = "0.1.0",
                                  .rpc_address = "tcp://127.0.0.1:9500",
                                  .heartbeat_port = 65535},
                             back;
    Pstorage__V1__ReplicationHello m;
    hello_to_message(&h, &m);
    Pstorage__V1__ReplicationHello *got = THROUGH_BYTES(replication_hello, &m);
    assert_int_equal(hello_from_message(got, &back, NULL), 0);
    assert_memory_equal(&back, &h, offsetof(struct replication_hello, heartbeat_port));
    assert_int_equal(back.heartbeat_port, 65535);
    pstorage__v1__replication_hello__free_unpacked(got, NULL);
}

static void what_has_no_form_is_refused(void **state)
{
    (void)state;
    struct replica_state_msg s = some_state(), back;
    struct ps_error err;
    struct state_message m;
    uint8_t short_id[15] = {1};
#define REFUSED(why)                                                                                         \
    do {                                                                                                     \
        assert_int_equal(state_from_message(&m.message, &back, &err), PS_EINVAL);                            \
        assert_non_null(strstr(err.detail, why));                                                            \
    } while (0)
    state_to_message(&s, &m);
    m.message.pod = (ProtobufCBinaryData){.len = sizeof short_id, .data = short_id};
    REFUSED("15 bytes");
    state_to_message(&s, &m);
    m.message.store = (ProtobufCBinaryData){0};
    REFUSED("the store is missing");
    state_to_message(&s, &m);
    m.message.end = NULL;
    REFUSED("the last batch is missing");
    state_to_message(&s, &m);
    m.message.n_tail = REPLICA_TAIL_MAX + 1;
    REFUSED("17 batches");
    state_to_message(&s, &m);
    m.message.epoch = 6;
    REFUSED("epoch 6 has the configuration of epoch 5");
    state_to_message(&s, &m);
    m.configuration.message.n_members = 0;
    REFUSED("member");
    state_to_message(&s, &m);
    m.message.heir = (ProtobufCBinaryData){0};
    REFUSED("the heir is missing");
    state_to_message(&s, &m);
    m.message.bind = (Pstorage__V1__BindState)7;
    REFUSED("unknown bind 7");
#undef REFUSED
    struct replica_ack_msg k = {.pod = id(1), .store = id(2)};
    struct ack_message km;
    ack_to_message(&k, &km);
    km.message.status = PSTORAGE__V1__ACK_STATUS__ACK_STATUS_UNSPECIFIED;
    assert_int_equal(ack_from_message(&km.message, &k, NULL), PS_EINVAL);

    struct replication_hello h = {.node = "n1", .store = id(1), .pod = id(2)};
    Pstorage__V1__ReplicationHello hm;
    char name[CONFIGURATION_NAME_MAX + 2];
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    hello_to_message(&h, &hm);
    hm.heartbeat_port = 65536;
    assert_int_equal(hello_from_message(&hm, &h, &err), PS_EINVAL);
    hm.heartbeat_port = 0;
    hm.node = name;
    assert_int_equal(hello_from_message(&hm, &h, &err), PS_EINVAL);
    assert_non_null(strstr(err.detail, "longer than 63"));
}

static void a_record_s_group_comes_back_as_it_was(void **state)
{
    (void)state;
    struct ps_error err = {0};
    const struct replica_record_msg r = {.pod = id(1), .store = id(2), .epoch = 3, .group = (1ull << 49) - 1};
    Pstorage__V1__ReplicationRecord message;
    record_to_message(&r, &message);
    Pstorage__V1__ReplicationRecord *m = THROUGH_BYTES(replication_record, &message);
    struct replica_record_msg back = {0};
    assert_int_equal(record_from_message(m, &back, &err), 0);
    assert_true(uuid_equal(&back.pod, &r.pod) && uuid_equal(&back.store, &r.store));
    assert_true(back.epoch == 3 && back.group == r.group && back.status == 0);
    m->group = 1ull << 49;
    assert_int_equal(record_from_message(m, &back, &err), PS_EINVAL);
    m->group = 0;
    assert_int_equal(record_from_message(m, &back, &err), PS_EINVAL);
    m->group = 1;
    m->store.len = 15;
    assert_int_equal(record_from_message(m, &back, &err), PS_EINVAL);
    m->store.len = 16;
    pstorage__v1__replication_record__free_unpacked(m, NULL);
}

static void a_copys_steps_and_answers_come_back_as_they_were(void **state)
{
    (void)state;
    struct ps_error err = {0};
    for (int step = 0; step < REPLICA_COPY_STEPS; step++) {
        const struct replica_copy_msg c = {.pod = id(1),
                                           .store = id(2),
                                           .run = 3,
                                           .epoch = 4,
                                           .copy = 5,
                                           .member_run = 6,
                                           .of = log_id_of(7),
                                           .step = (enum replica_copy_step)step,
                                           .number = 8};
        struct copy_message message;
        copy_to_message(&c, &message);
        Pstorage__V1__ReplicationCopy *m = THROUGH_BYTES(replication_copy, &message.message);
        struct replica_copy_msg back = {0};
        assert_int_equal(copy_from_message(m, &back, &err), 0);
        assert_true(uuid_equal(&back.pod, &c.pod) && uuid_equal(&back.store, &c.store));
        assert_true(back.run == 3 && back.epoch == 4 && back.copy == 5 && back.member_run == 6);
        assert_true(log_id_equal(&back.of, &c.of) && back.step == c.step && back.number == 8);
        m->step = PSTORAGE__V1__COPY_STEP__COPY_STEP_UNSPECIFIED;
        assert_int_equal(copy_from_message(m, &back, &err), PS_EINVAL);
        pstorage__v1__replication_copy__free_unpacked(m, NULL);
    }
    const struct replica_copy_ack acks[] = {
        {.pod = id(1), .store = id(2), .run = 3, .copy = 4, .done = 5, .taking = true},
        {.pod = id(1), .store = id(2), .run = 3, .copy = 4, .finished = true},
        {.pod = id(1), .store = id(2), .run = 3, .copy = 4, .status = PS_EABORTED, .detail = "not now"},
        {.pod = id(1),
         .store = id(2),
         .run = 3,
         .copy = 4,
         .status = PS_EPRECONDITION,
         .detail = "too small"},
    };
    for (size_t i = 0; i < sizeof acks / sizeof acks[0]; i++) {
        Pstorage__V1__ReplicationCopyAck message;
        copy_ack_to_message(&acks[i], &message);
        Pstorage__V1__ReplicationCopyAck *m = THROUGH_BYTES(replication_copy_ack, &message);
        struct replica_copy_ack back = {0};
        assert_int_equal(copy_ack_from_message(m, &back, &err), 0);
        assert_true(uuid_equal(&back.pod, &acks[i].pod) && uuid_equal(&back.store, &acks[i].store));
        assert_true(back.run == 3 && back.copy == 4 && back.done == acks[i].done);
        assert_true(back.taking == acks[i].taking && back.finished == acks[i].finished);
        assert_string_equal(back.detail, acks[i].detail);
        assert_int_equal(back.status, acks[i].status == PS_EPRECONDITION ? PS_EIO : acks[i].status);
        pstorage__v1__replication_copy_ack__free_unpacked(m, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_comes_back_as_it_was),
        cmocka_unit_test(begin_append_and_ack_come_back_as_they_were),
        cmocka_unit_test(a_record_s_group_comes_back_as_it_was),
        cmocka_unit_test(a_copys_steps_and_answers_come_back_as_they_were),
        cmocka_unit_test(any_other_status_of_a_log_is_a_failure_of_it),
        cmocka_unit_test(a_beat_comes_back_as_it_was),
        cmocka_unit_test(a_hello_comes_back_as_it_was),
        cmocka_unit_test(what_has_no_form_is_refused),
    };
    return cmocka_run_group_tests_name("replication messages", tests, NULL, NULL);
}
