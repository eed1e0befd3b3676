#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>

#include "node/replication/replica_impl.h"

static struct durable example(void)
{
    struct durable d = {.mediator = {{1, 2}}, .highest_epoch = 9};
    struct configuration *c = &d.configuration;
    *c = (struct configuration){.pod = {{3}}, .epoch = 7, .count = 2, .primary = {{4}}};
    snprintf(c->pod_name, sizeof c->pod_name, "default");
    for (int i = 0; i < 2; i++) {
        c->members[i] =
            (struct member){.store = {{(uint8_t)(4 + i)}}, .mode = MEMBER_SYNC, .in_sync = i == 0};
        snprintf(c->members[i].node, sizeof c->members[i].node, "n%d", i);
    }
    d.ask = (struct ask){.reason = ASK_JOIN, .request = {{6}}, .expected_epoch = 7, .next = *c};
    d.ask.next.epoch = 9;
    d.ask.next.members[1].in_sync = true;
    d.bound = (struct bound){.heir = {{8}}, .epoch = 7, .nonce = 5ull << 32 | 1};
    d.self = 6ull << 32;
    d.fence = (struct uuid){{7}};
    d.mediator_number = 3;
    return d;
}

static void what_is_encoded_is_read_again(void **state)
{
    (void)state;
    struct durable d = example(), seen;
    uint8_t data[REPLICA_STATE_BYTES_MAX], again[REPLICA_STATE_BYTES_MAX];
    struct ps_error err;
    for (int i = 0; i < 4; i++) {
        if (i == 3)
            d.bound = (struct bound){0};
        if (i == 1)
            d.ask = (struct ask){.reason = ASK_NONE};
        if (i == 2)
            d.configuration = (struct configuration){0};
        const size_t bytes = durable_encode(&d, data);
        assert_true(bytes <= sizeof data);
        assert_int_equal(durable_decode(data, bytes, &seen, &err), 0);
        assert_int_equal(durable_encode(&seen, again), bytes);
        assert_memory_equal(data, again, bytes);
        assert_true(uuid_equal(&seen.bound.heir, &d.bound.heir));
        assert_int_equal(seen.bound.epoch, d.bound.epoch);
        assert_int_equal(seen.bound.nonce, d.bound.nonce);
        assert_int_equal(seen.self, d.self);
        assert_true(uuid_equal(&seen.fence, &d.fence));
        assert_int_equal(seen.mediator_number, d.mediator_number);
    }
}

static void a_state_of_version_1_is_read_as_bound_to_nobody(void **state)
{
    (void)state;
    struct durable d = example(), seen;
    uint8_t data[REPLICA_STATE_BYTES_MAX], again[REPLICA_STATE_BYTES_MAX];
    size_t bytes = durable_encode(&d, data);
    memmove(data + 64, data + 128, bytes - 128);
    bytes -= 64;
    data[4] = 1;
    struct ps_error err;
    assert_int_equal(durable_decode(data, bytes, &seen, &err), 0);
    assert_int_equal(seen.highest_epoch, d.highest_epoch);
    assert_true(configuration_equal(&seen.configuration, &d.configuration));
    assert_true(configuration_equal(&seen.ask.next, &d.ask.next));
    d.bound = (struct bound){0};
    d.self = 0;
    d.fence = (struct uuid){0};
    d.mediator_number = 0;
    uint8_t now[REPLICA_STATE_BYTES_MAX];
    bytes = durable_encode(&d, now);
    assert_int_equal(durable_encode(&seen, again), bytes);
    assert_memory_equal(now, again, bytes);
}

static void a_state_of_version_2_keeps_its_bond_and_fences_nobody(void **state)
{
    (void)state;
    struct durable d = example(), seen;
    uint8_t data[REPLICA_STATE_BYTES_MAX], now[REPLICA_STATE_BYTES_MAX], again[REPLICA_STATE_BYTES_MAX];
    size_t bytes = durable_encode(&d, data);
    memmove(data + 112, data + 128, bytes - 128);
    bytes -= 16;
    data[4] = 2;
    struct ps_error err;
    assert_int_equal(durable_decode(data, bytes, &seen, &err), 0);
    assert_true(uuid_equal(&seen.bound.heir, &d.bound.heir));
    assert_int_equal(seen.bound.epoch, d.bound.epoch);
    assert_int_equal(seen.bound.nonce, d.bound.nonce);
    assert_int_equal(seen.self, d.self);
    assert_int_equal(seen.mediator_number, d.mediator_number);
    assert_true(uuid_is_none(&seen.fence));
    d.fence = (struct uuid){0}; /* and all else is the same */
    bytes = durable_encode(&d, now);
    assert_int_equal(durable_encode(&seen, again), bytes);
    assert_memory_equal(now, again, bytes);
    for (size_t n = 0; n < bytes - 16; n++)
        assert_int_equal(durable_decode(data, n, &seen, &err), PS_EDAMAGED);
}

static void what_is_cut_short_or_changed_in_its_frame_is_refused(void **state)
{
    (void)state;
    const struct durable d = example();
    struct durable seen;
    uint8_t data[REPLICA_STATE_BYTES_MAX + 1];
    struct ps_error err;
    const size_t bytes = durable_encode(&d, data);
    data[bytes] = 0;
    for (size_t n = 0; n < bytes; n++)
        assert_int_equal(durable_decode(data, n, &seen, &err), PS_EDAMAGED);
    assert_int_equal(durable_decode(data, bytes + 1, &seen, &err), PS_EDAMAGED);
    static const struct {
        int at, status;
    } changes[] = {{0, PS_EDAMAGED}, {4, PS_EVERSION},  {6, PS_EDAMAGED},
                   {7, PS_EDAMAGED}, {57, PS_EDAMAGED}, {60, PS_EDAMAGED}};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        data[changes[i].at] ^= 0x40;
        assert_int_equal(durable_decode(data, bytes, &seen, &err), changes[i].status);
        data[changes[i].at] ^= 0x40;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_is_read_again),
        cmocka_unit_test(a_state_of_version_1_is_read_as_bound_to_nobody),
        cmocka_unit_test(a_state_of_version_2_keeps_its_bond_and_fences_nobody),
        cmocka_unit_test(what_is_cut_short_or_changed_in_its_frame_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
