/* A peer that breaks the rules: bytes are made by hand and put on a link. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "common/rpc/message.h"
#include "pstorage/v1/block_io.pb-c.h"
#include "pstorage/v1/volumes.pb-c.h"
#include "raw_peer.h"

static void greet(struct raw *r)
{
    Pstorage__V1__Hello hello = PSTORAGE__V1__HELLO__INIT;
    char name[] = "mallory";
    uint8_t body[64];
    hello.protocol_min = hello.protocol_max = RPC_PROTOCOL;
    hello.name = name;
    const size_t length = protobuf_c_message_pack(&hello.base, body);
    raw_send_frame(r, (struct rpc_frame){.kind = RPC_GREETING, .body_bytes = (uint32_t)length}, body, NULL);
    assert_true(r->in_bytes > 0);
    r->in_bytes = 0;
}

static struct rpc_frame request_to(const char *method, uint64_t call_id)
{
    return (struct rpc_frame){
        .kind = RPC_REQUEST,
        .call_id = call_id,
        .method_id = rpc_method_id(&pstorage__v1__volumes__descriptor, method),
        .timeout_ns = RPC_TIMEOUT_NONE,
    };
}

static void expect_closed(struct raw *r, const char *logged)
{
    raw_run(r, 2 * SECOND);
    assert_true(r->lost);
    if (!strstr(r->world.log, logged))
        fail_msg("logged: %s", r->world.log);
    struct rpc_server_stats stats;
    rpc_server_stats(r->world.server, &stats);
    assert_int_equal(stats.connections, 0);
    assert_int_equal(stats.refused, 1);
}

static int setup(void **state)
{
    struct raw *r = calloc(1, sizeof *r);
    world_open(&r->world, NULL, NULL);
    world_stop_client(&r->world);
    raw_dial(r);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct raw *r = *state;
    if (r->link)
        r->link->ops->close(r->link);
    raw_run(r, 10 * MS);
    world_close(&r->world);
    free(r);
    return 0;
}

static void noise_is_no_greeting(void **state)
{
    struct raw *r = *state;
    raw_send_bytes(
        r, "GET / HTTP/1.1\r\nHost: array.example\r\nUser-Agent: a browser that lost its way\r\n\r\n", 80);
    expect_closed(r, "not a PStorage peer");
}

static void who_does_not_greet_is_dropped_in_time(void **state)
{
    struct raw *r = *state;
    raw_run(r, 4 * SECOND);
    assert_false(r->lost);
    raw_run(r, 2 * SECOND);
    assert_true(r->lost);
    assert_non_null(strstr(r->world.log, "no greeting in time"));
}

static void a_call_before_the_greeting_ends_the_connection(void **state)
{
    struct raw *r = *state;
    raw_send_frame(r, request_to("Create", 1), NULL, NULL);
    assert_int_equal(r->world.service.created, 0);
    expect_closed(r, "before the greeting");
}

static void a_protocol_of_the_future_is_refused_with_what_is_spoken(void **state)
{
    struct raw *r = *state;
    static const uint8_t hello[] = {0x08, 7, 0x10, 9};
    raw_send_frame(r, (struct rpc_frame){.kind = RPC_GREETING, .body_bytes = sizeof hello}, hello, NULL);
    assert_int_equal(raw_reply(r, 0).kind, RPC_GREETING);
    assert_int_equal(raw_reply(r, 0).status, PS_EVERSION);
    expect_closed(r, "the client speaks protocol 7 to 9, this server 1");
}

static void a_wrong_header_checksum_ends_the_connection(void **state)
{
    struct raw *r = *state;
    uint8_t bytes[RPC_FRAME_BYTES];
    greet(r);
    (void)raw_build(bytes, request_to("Create", 1), NULL, NULL);
    bytes[9] ^= 1;
    raw_send_bytes(r, bytes, sizeof bytes);
    assert_int_equal(raw_reply(r, 0).kind, RPC_GOODBYE);
    assert_int_equal(raw_reply(r, 0).status, PS_EPROTOCOL);
    expect_closed(r,
                  "connection from mallory (host) closed: protocol violation: checksum of the frame header");
}

static void a_wrong_payload_checksum_never_reaches_a_handler(void **state)
{
    struct raw *r = *state;
    uint8_t bytes[256];
    greet(r);
    struct rpc_frame frame = request_to("Create", 1);
    frame.method_id = rpc_method_id(&pstorage__v1__block_io__descriptor, "Write");
    frame.payload_bytes = 100;
    uint8_t payload[100] = {1};
    const size_t length = raw_build(bytes, frame, NULL, payload);
    bytes[length - 1] ^= 1;
    raw_send_bytes(r, bytes, length);
    assert_int_equal(r->world.service.written_bytes, 0);
    expect_closed(r, "checksum of a frame is wrong");
}

static void a_length_beyond_the_limit_is_refused_before_memory_is_taken(void **state)
{
    struct raw *r = *state;
    uint8_t bytes[RPC_FRAME_BYTES];
    greet(r);
    (void)raw_build(bytes, request_to("Create", 1), NULL, NULL);
    put_le32(bytes + 44, 0xfffffff0);
    put_le32(bytes + 60, rpc_content_sum(bytes, 60));
    raw_send_bytes(r, bytes, sizeof bytes);
    expect_closed(r, "length of payload not allowed");
}

static void a_call_id_is_good_for_one_call(void **state)
{
    struct raw *r = *state;
    greet(r);
    raw_send_frame(r, request_to("Create", 5), NULL, NULL);
    raw_send_frame(r, request_to("Create", 6), NULL, NULL);
    assert_int_equal(r->world.service.created, 2);
    raw_send_frame(r, request_to("Create", 6), NULL, NULL);
    assert_int_equal(r->world.service.created, 2);
    expect_closed(r, "call id 6 was used before");
}

static void more_calls_than_granted_end_the_connection(void **state)
{
    struct raw *r = *state;
    greet(r);
    for (uint64_t id = 1; id <= RPC_CALLS_MAX; id++)
        raw_send_frame(r, request_to("Get", id), NULL, NULL);
    assert_int_equal(r->world.service.nheld, RPC_CALLS_MAX);
    assert_false(r->lost);
    raw_send_frame(r, request_to("Get", RPC_CALLS_MAX + 1), NULL, NULL);
    for (size_t i = 0; i < RPC_CALLS_MAX; i++) {
        raw_run(r, 5 * MS);
        test_service_answer(&r->world.service, i);
    }
    expect_closed(r, "more than 256 calls in flight");
}

static void an_unknown_method_fails_the_call_alone(void **state)
{
    struct raw *r = *state;
    greet(r);
    struct rpc_frame frame = request_to("Create", 1);
    frame.method_id++;
    raw_send_frame(r, frame, NULL, NULL);
    assert_int_equal(raw_reply(r, 0).kind, RPC_RESPONSE);
    assert_int_equal(raw_reply(r, 0).status, PS_EUNIMPLEMENTED);
    raw_send_frame(r, request_to("Create", 2), NULL, NULL);
    assert_int_equal(raw_reply(r, 1).status, PS_OK);
}

static void a_malformed_body_fails_the_call_alone(void **state)
{
    struct raw *r = *state;
    static const uint8_t cut[] = {0x0a, 200}, latin1[] = {0x0a, 1, 0xe4};
    greet(r);
    struct rpc_frame frame = request_to("Create", 1);
    frame.body_bytes = sizeof cut;
    raw_send_frame(r, frame, cut, NULL);
    assert_int_equal(raw_reply(r, 0).status, PS_EINVAL);
    frame.call_id = 2;
    frame.body_bytes = sizeof latin1;
    raw_send_frame(r, frame, latin1, NULL);
    assert_int_equal(raw_reply(r, 1).status, PS_EINVAL);
    assert_int_equal(r->world.service.created, 0);
    raw_send_frame(r, request_to("Create", 3), NULL, NULL);
    assert_int_equal(raw_reply(r, 2).status, PS_OK);
}

static void malformed_metadata_ends_the_connection(void **state)
{
    struct raw *r = *state;
    static const uint8_t metadata[] = {9, 0, 0, 'x'};
    greet(r);
    struct rpc_frame frame = request_to("Create", 1);
    frame.metadata_bytes = sizeof metadata;
    raw_send_frame(r, frame, metadata, NULL);
    assert_int_equal(r->world.service.created, 0);
    expect_closed(r, "metadata is cut");
}

static void a_cancel_of_the_future_ends_the_connection(void **state)
{
    struct raw *r = *state;
    greet(r);
    raw_send_frame(r, request_to("Create", 1), NULL, NULL);
    raw_send_frame(r, (struct rpc_frame){.kind = RPC_CANCEL, .call_id = 1}, NULL, NULL); /* late: fine */
    assert_false(r->lost);
    raw_send_frame(r, (struct rpc_frame){.kind = RPC_CANCEL, .call_id = 9}, NULL, NULL);
    expect_closed(r, "cancelled that was never made");
}

static void frames_that_only_servers_send_end_the_connection(void **state)
{
    struct raw *r = *state;
    greet(r);
    raw_send_frame(r, (struct rpc_frame){.kind = RPC_RESPONSE, .call_id = 1}, NULL, NULL);
    expect_closed(r, "a frame of kind 3 from a client");
}

static void a_second_greeting_ends_the_connection(void **state)
{
    struct raw *r = *state;
    greet(r);
    raw_send_frame(r, (struct rpc_frame){.kind = RPC_GREETING}, NULL, NULL);
    expect_closed(r, "unexpected greeting");
}

static void a_deadline_that_overflows_is_no_deadline(void **state)
{
    struct raw *r = *state;
    greet(r);
    struct rpc_frame frame = request_to("Get", 1);
    frame.timeout_ns = UINT64_MAX - 1;
    raw_send_frame(r, frame, NULL, NULL);
    assert_int_equal(r->world.service.nheld, 1);
    assert_true(rpc_call_deadline(r->world.service.held[0]) == RPC_TIMEOUT_NONE);
    test_service_answer(&r->world.service, 0);
}

static void time_that_is_up_cancels_at_once(void **state)
{
    struct raw *r = *state;
    greet(r);
    struct rpc_frame frame = request_to("Get", 1);
    frame.timeout_ns = 0;
    raw_send_frame(r, frame, NULL, NULL);
    assert_int_equal(r->world.service.cancelled, 1);
    test_service_answer(&r->world.service, 0);
}

/* It takes everything and says nothing, not even that it is there. */
static void a_peer_that_does_not_answer_pings_is_given_up(void **state)
{
    struct raw *r = *state;
    greet(r);
    raw_run(r, 11 * SECOND);
    assert_int_equal(raw_reply(r, 0).kind, RPC_PING);
    assert_false(r->lost);
    raw_run(r, 8 * SECOND);
    assert_false(r->lost);
    raw_run(r, 3 * SECOND);
    assert_true(r->lost);
    assert_non_null(strstr(r->world.log, "the peer is silent"));
}

static void any_sign_of_life_answers_a_ping(void **state)
{
    struct raw *r = *state;
    greet(r);
    for (int i = 0; i < 4; i++) {
        raw_run(r, 15 * SECOND);
        raw_send_frame(r, (struct rpc_frame){.kind = RPC_PING}, NULL, NULL);
    }
    assert_false(r->lost);
}

static void a_client_that_vanishes_in_the_middle_of_a_frame_leaves_nothing(void **state)
{
    struct raw *r = *state;
    uint8_t bytes[4096 + 200], payload[4096] = {1};
    greet(r);
    struct rpc_frame frame = request_to("Create", 1);
    frame.method_id = rpc_method_id(&pstorage__v1__block_io__descriptor, "Write");
    frame.payload_bytes = sizeof payload;
    const size_t length = raw_build(bytes, frame, NULL, payload);
    raw_send_bytes(r, bytes, length / 2);
    r->link->ops->close(r->link);
    raw_run(r, 1 * SECOND);
    struct rpc_server_stats stats;
    rpc_server_stats(r->world.server, &stats);
    assert_int_equal(stats.connections, 0);
    assert_int_equal(stats.bytes_held, 0);
    assert_int_equal(r->world.service.written_bytes, 0);
    assert_int_equal(r->world.service.disconnected, 1);
}

/* ---- a server that breaks the rules */

static int setup_server(void **state)
{
    struct raw *r = calloc(1, sizeof *r);
    world_open(&r->world, NULL, NULL);
    world_stop_client(&r->world);
    raw_listen(r);
    world_connect(&r->world, RAW_ENDPOINT);
    raw_run(r, 10 * MS);
    assert_non_null(r->link);
    *state = r;
    return 0;
}

static int teardown_server(void **state)
{
    struct raw *r = *state;
    world_stop_client(&r->world);
    if (r->link)
        r->link->ops->close(r->link);
    r->world.node->ops->unlisten(r->world.node, &r->listener);
    raw_run(r, 10 * MS);
    assert_true(r->unlistened);
    world_close(&r->world);
    free(r);
    return 0;
}

static void welcome(struct raw *r)
{
    static const uint8_t body[] = {0x08, 1, 0x30, 16}; /* protocol 1, 16 calls */
    raw_send_frame(r, (struct rpc_frame){.kind = RPC_GREETING, .body_bytes = sizeof body}, body, NULL);
    assert_non_null(rpc_client_peer(r->world.client));
    r->in_bytes = 0;
}

static void the_servers_grant_is_kept(void **state)
{
    struct raw *r = *state;
    static struct outcome o[40];
    memset(o, 0, sizeof o);
    welcome(r);
    for (size_t i = 0; i < 40; i++)
        call_get(&r->world, &o[i]);
    raw_run(r, 100 * MS);
    assert_int_equal(r->in_bytes, 16 * RPC_FRAME_BYTES); /* requests without a body */
    r->link->ops->close(r->link);
    raw_run(r, 30 * MS);
}

static void a_server_that_grants_nothing_is_left(void **state)
{
    struct raw *r = *state;
    struct outcome o = {0};
    static const uint8_t body[] = {0x08, 1};
    call_create(&r->world, &o, "v");
    raw_send_frame(r, (struct rpc_frame){.kind = RPC_GREETING, .body_bytes = sizeof body}, body, NULL);
    raw_run(r, 20 * MS);
    assert_int_equal(o.status, PS_EUNAVAILABLE);
    assert_non_null(strstr(o.detail, "grants no calls"));
}

static void an_answer_to_no_call_ends_the_connection(void **state)
{
    struct raw *r = *state;
    struct outcome o = {0};
    welcome(r);
    call_get(&r->world, &o);
    raw_run(r, 10 * MS);
    const uint64_t id = raw_reply(r, 0).call_id;
    raw_send_frame(r, (struct rpc_frame){.kind = RPC_RESPONSE, .call_id = id + 256}, NULL, NULL);
    raw_run(r, 10 * MS);
    assert_int_equal(o.status, PS_EUNAVAILABLE);
    assert_non_null(strstr(o.detail, "an answer to a call that is not in flight"));
}

static void a_stream_instead_of_an_answer_ends_the_connection(void **state)
{
    struct raw *r = *state;
    struct outcome o = {0};
    welcome(r);
    call_get(&r->world, &o);
    raw_run(r, 10 * MS);
    raw_send_frame(r, (struct rpc_frame){.kind = RPC_MESSAGE, .call_id = raw_reply(r, 0).call_id}, NULL,
                   NULL);
    raw_run(r, 10 * MS);
    assert_int_equal(o.status, PS_EUNAVAILABLE);
}

static void an_answer_that_cannot_be_read_ends_the_connection(void **state)
{
    struct raw *r = *state;
    struct outcome o = {0};
    static const uint8_t cut[] = {0x0a, 200};
    welcome(r);
    call_get(&r->world, &o);
    raw_run(r, 10 * MS);
    raw_send_frame(
        r, (struct rpc_frame){.kind = RPC_RESPONSE, .call_id = raw_reply(r, 0).call_id, .body_bytes = 2}, cut,
        NULL);
    raw_run(r, 10 * MS);
    assert_int_equal(o.status, PS_EUNAVAILABLE);
    assert_int_equal(o.answers, 1);
}

/* It answers although the request is still half on its way: kept until the transport is done with the
 * payload. */
static void an_answer_before_its_time_is_held(void **state)
{
    struct raw *r = *state;
    static uint8_t data[RPC_PAYLOAD_MAX];
    struct outcome o = {0};
    static const uint8_t body[] = {0x0a, 4, 'n', 'o', 'p', 'e'};
    welcome(r);
    call_write(&r->world, &o, data, sizeof data);
    raw_run(r, 0);
    /* The first call's id: sequence 1, slot 0. */
    struct rpc_frame frame = {
        .kind = RPC_RESPONSE, .call_id = 1 << 8, .status = PS_EFULL, .body_bytes = sizeof body};
    uint8_t bytes[128];
    const size_t length = raw_build(bytes, frame, body, NULL);
    r->out = malloc(length);
    memcpy(r->out, bytes, length);
    const struct rpc_iov iov = {r->out, length};
    r->link->ops->send(r->link, &iov, 1);
    raw_run(r, 2 * MS);
    assert_int_equal(o.answers, 0);
    for (int i = 0; i < 100 && o.answers == 0; i++) {
        r->in_bytes = 0;
        raw_run(r, 1 * MS);
    }
    assert_int_equal(o.answers, 1);
    assert_int_equal(o.status, PS_EFULL);
    assert_string_equal(o.detail, "nope");
}

#define RAW(test)        cmocka_unit_test_setup_teardown(test, setup, teardown)
#define RAW_SERVER(test) cmocka_unit_test_setup_teardown(test, setup_server, teardown_server)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW(noise_is_no_greeting),
        RAW(who_does_not_greet_is_dropped_in_time),
        RAW(a_call_before_the_greeting_ends_the_connection),
        RAW(a_protocol_of_the_future_is_refused_with_what_is_spoken),
        RAW(a_wrong_header_checksum_ends_the_connection),
        RAW(a_wrong_payload_checksum_never_reaches_a_handler),
        RAW(a_length_beyond_the_limit_is_refused_before_memory_is_taken),
        RAW(a_call_id_is_good_for_one_call),
        RAW(more_calls_than_granted_end_the_connection),
        RAW(an_unknown_method_fails_the_call_alone),
        RAW(a_malformed_body_fails_the_call_alone),
        RAW(malformed_metadata_ends_the_connection),
        RAW(a_cancel_of_the_future_ends_the_connection),
        RAW(frames_that_only_servers_send_end_the_connection),
        RAW(a_second_greeting_ends_the_connection),
        RAW(a_deadline_that_overflows_is_no_deadline),
        RAW(time_that_is_up_cancels_at_once),
        RAW(a_peer_that_does_not_answer_pings_is_given_up),
        RAW(any_sign_of_life_answers_a_ping),
        RAW(a_client_that_vanishes_in_the_middle_of_a_frame_leaves_nothing),
        RAW_SERVER(the_servers_grant_is_kept),
        RAW_SERVER(a_server_that_grants_nothing_is_left),
        RAW_SERVER(an_answer_to_no_call_ends_the_connection),
        RAW_SERVER(a_stream_instead_of_an_answer_ends_the_connection),
        RAW_SERVER(an_answer_that_cannot_be_read_ends_the_connection),
        RAW_SERVER(an_answer_before_its_time_is_held),
    };
    return cmocka_run_group_tests_name("rpc hostile peers", tests, NULL, NULL);
}
