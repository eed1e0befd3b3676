#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/frame.h"
#include "rpc_world.h"

static int setup(void **state)
{
    struct rpc_world *w = calloc(1, sizeof *w);
    world_open(w, NULL, NULL);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world_close(*state);
    free(*state);
    return 0;
}

static void a_call_brings_back_the_answer(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    assert_int_equal(call_create(w, &o, "vol1"), PS_OK); /* still connecting: it waits */
    world_run(w, 100 * MS);
    assert_int_equal(o.answers, 1);
    assert_int_equal(o.status, PS_OK);
    assert_string_equal(o.name, "vol1");
    assert_int_equal(o.id, 1);
    assert_string_equal(rpc_client_peer(w->client)->name, "node-a");
    assert_int_equal(rpc_client_peer(w->client)->role, PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE);
}

static void an_error_arrives_with_its_code_and_detail(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    call_method(w, &o, "Delete");
    world_run(w, 100 * MS);
    assert_int_equal(o.status, PS_ENOTFOUND);
    assert_string_equal(o.detail, "there is no volume of that name");
}

static void a_method_without_handler_is_unimplemented(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0}, next = {0};
    call_method(w, &o, "Rename");
    world_run(w, 100 * MS);
    assert_int_equal(o.status, PS_EUNIMPLEMENTED);
    call_create(w, &next, "the connection goes on");
    world_run(w, 100 * MS);
    assert_int_equal(next.status, PS_OK);
}

static void a_payload_to_a_method_that_takes_none_is_refused(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    o.request.payload = "data";
    o.request.payload_bytes = 4;
    call_create(w, &o, "v");
    world_run(w, 100 * MS);
    assert_int_equal(o.status, PS_EINVAL);
    assert_int_equal(w->service.created, 0);
}

static void metadata_and_operation_id_reach_the_handler(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    const struct rpc_metadata trace = {"trace", "abc", 3};
    o.request.metadata = &trace;
    o.request.nmetadata = 1;
    o.request.operation_id[0] = 42;
    call_method(w, &o, "Set");
    world_run(w, 100 * MS);
    assert_string_equal(o.name, "abc");
    assert_int_equal(o.id, 42);
}

/* Every size class, with streams cut into pieces that fit no boundary. */
static void payloads_of_all_sizes_arrive_whole_and_aligned(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 511, 4096, 4097, 16384, 16385, 65536, 300000, RPC_PAYLOAD_MAX};
    static const size_t pieces[] = {0, 777, 5000};
    uint8_t *data = malloc(RPC_PAYLOAD_MAX);
    for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
        struct rpc_world w;
        const struct rpc_mem_config net = {.latency_ns = 1000, .piece_bytes = pieces[p]};
        world_open(&w, &net, NULL);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct outcome write = {0}, read = {0};
            test_pattern(data, sizes[i], 7);
            assert_int_equal(call_write(&w, &write, data, sizes[i]), PS_OK);
            assert_int_equal(call_read(&w, &read, i, (uint32_t)sizes[i]), PS_OK);
            world_run(&w, 5 * SECOND);
            assert_int_equal(write.status, PS_OK);
            assert_int_equal(w.service.written_bytes, sizes[i]);
            assert_true(w.service.written_sum == rpc_payload_sum(data, sizes[i]));
            assert_true(w.service.written_aligned);
            assert_int_equal(read.status, PS_OK);
            assert_int_equal(read.payload_bytes, sizes[i]);
            test_pattern(data, sizes[i], (unsigned)i);
            assert_true(read.payload_sum == rpc_payload_sum(data, sizes[i]));
        }
        world_close(&w);
    }
    free(data);
}

static void a_stream_that_trickles_byte_by_byte_is_understood(void **state)
{
    (void)state;
    struct rpc_world w;
    const struct rpc_mem_config net = {.latency_ns = 10, .piece_bytes = 1};
    world_open(&w, &net, NULL);
    struct outcome a = {0}, b = {0}, c = {0};
    call_create(&w, &a, "first");
    call_read(&w, &b, 3, 600);
    call_create(&w, &c, "second");
    world_run(&w, 1 * SECOND);
    assert_string_equal(a.name, "first");
    assert_int_equal(b.payload_bytes, 600);
    assert_string_equal(c.name, "second");
    world_close(&w);
}

/* A body far larger than the receive buffer, in odd pieces, with frames before and after it. */
static void a_large_body_is_assembled(void **state)
{
    (void)state;
    struct rpc_world w;
    const struct rpc_mem_config net = {.latency_ns = 10, .piece_bytes = 3001};
    world_open(&w, &net, NULL);
    static char large[8000];
    memset(large, 'x', sizeof large);
    const struct rpc_metadata entry = {"trace", large, sizeof large};
    struct outcome before = {0}, o = {0}, after = {0};
    call_create(&w, &before, "before");
    o.request.metadata = &entry;
    o.request.nmetadata = 1;
    call_method(&w, &o, "Set");
    call_create(&w, &after, "after");
    world_run(&w, 1 * SECOND);
    assert_int_equal(before.status | o.status | after.status, PS_OK);
    assert_string_equal(after.name, "after");
    world_close(&w);
}

static void answers_come_in_any_order(void **state)
{
    struct rpc_world *w = *state;
    struct outcome first = {0}, second = {0};
    call_get(w, &first);
    call_get(w, &second);
    world_run(w, 100 * MS);
    assert_int_equal(w->service.nheld, 2);
    test_service_answer(&w->service, 1);
    world_run(w, 100 * MS);
    assert_int_equal(first.answers, 0);
    assert_int_equal(second.answers, 1);
    assert_int_equal(second.id, 1);
    test_service_answer(&w->service, 0);
    world_run(w, 100 * MS);
    assert_int_equal(first.answers, 1);
}

static void the_deadline_ends_a_call_on_both_sides(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    world_run(w, 100 * MS);
    o.request.timeout_ns = 500 * MS;
    const uint64_t start = rpc_mem_now(w->net);
    call_get(w, &o);
    world_run(w, 499 * MS);
    assert_int_equal(o.answers, 0);
    assert_int_equal(w->service.cancelled, 0);
    world_run(w, 10 * MS);
    assert_int_equal(o.answers, 1);
    assert_int_equal(o.status, PS_EDEADLINE);
    assert_true(o.at_ns - start == 500 * MS);
    assert_int_equal(w->service.cancelled, 1);
    test_service_answer(&w->service, 0); /* too late, and nobody minds */
    world_run(w, 100 * MS);
    assert_int_equal(o.answers, 1);
    struct outcome next = {0};
    call_create(w, &next, "goes on");
    world_run(w, 100 * MS);
    assert_int_equal(next.status, PS_OK);
}

static void the_time_left_travels_and_not_the_time(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    world_run(w, 10 * SECOND);
    o.request.timeout_ns = 3 * SECOND;
    call_get(w, &o);
    world_run(w, 100 * MS);
    assert_int_equal(w->service.nheld, 1);
    const uint64_t seen = rpc_call_deadline(w->service.held[0]);
    assert_true(seen == 13 * SECOND + 1 * MS); /* sent at 10 s, under way for 1 ms */
    test_service_answer(&w->service, 0);
    world_run(w, 100 * MS);
}

static void a_cancelled_call_ends_at_once_and_the_handler_hears_of_it(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    world_run(w, 100 * MS);
    call_get(w, &o);
    world_run(w, 100 * MS);
    rpc_client_cancel(w->client, &o.request);
    assert_int_equal(o.answers, 0); /* never inside */
    world_run(w, 0);
    assert_int_equal(o.answers, 1);
    assert_int_equal(o.status, PS_ECANCELLED);
    world_run(w, 100 * MS);
    assert_int_equal(w->service.cancelled, 1);
    assert_true(rpc_call_cancelled(w->service.held[0]));
}

static void a_cancelled_call_that_waits_is_never_sent(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    call_create(w, &o, "never"); /* still connecting */
    rpc_client_cancel(w->client, &o.request);
    world_run(w, 1 * SECOND);
    assert_int_equal(o.status, PS_ECANCELLED);
    assert_int_equal(w->service.created, 0);
}

static void calls_beyond_the_credit_wait_their_turn(void **state)
{
    struct rpc_world *w = *state;
    enum {
        MANY = RPC_CALLS_MAX + 20
    };
    static struct outcome o[MANY];
    memset(o, 0, sizeof o);
    world_run(w, 100 * MS);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(call_get(w, &o[i]), PS_OK);
    world_run(w, 100 * MS);
    assert_int_equal(w->service.nheld, RPC_CALLS_MAX);
    /* Giving up doesn't free the slot: the server still has the call. */
    rpc_client_cancel(w->client, &o[5].request);
    world_run(w, 100 * MS);
    assert_int_equal(o[5].status, PS_ECANCELLED);
    assert_int_equal(w->service.nheld, RPC_CALLS_MAX);
    test_service_answer(&w->service, 5);
    world_run(w, 100 * MS);
    assert_int_equal(w->service.nheld, RPC_CALLS_MAX + 1);
    for (size_t i = 0; i < MANY; i++) {
        if (i != 5)
            test_service_answer(&w->service, i);
        world_run(w, 10 * MS);
    }
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(o[i].answers, 1);
    assert_int_equal(w->log_lines, 0);
}

static void too_many_waiting_calls_are_refused(void **state)
{
    struct rpc_world *w = *state;
    struct outcome *o = calloc(RPC_CLIENT_QUEUE_MAX + 1, sizeof *o);
    for (size_t i = 0; i < RPC_CLIENT_QUEUE_MAX; i++)
        assert_int_equal(call_create(w, &o[i], "v"), PS_OK);
    assert_int_equal(call_create(w, &o[RPC_CLIENT_QUEUE_MAX], "v"), PS_ELIMIT);
    world_run(w, 5 * SECOND);
    for (size_t i = 0; i < RPC_CLIENT_QUEUE_MAX; i++)
        assert_int_equal(o[i].answers, 1);
    assert_int_equal(o[RPC_CLIENT_QUEUE_MAX].answers, 0);
    assert_int_equal(w->service.created, RPC_CLIENT_QUEUE_MAX);
    free(o);
}

static void what_is_too_large_is_refused_before_it_is_sent(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    static uint8_t data[RPC_PAYLOAD_MAX + 1];
    assert_int_equal(call_write(w, &o, data, sizeof data), PS_EINVAL);
    const struct rpc_metadata bad = {"no spaces", "v", 1};
    o = (struct outcome){.request = {.metadata = &bad, .nmetadata = 1}};
    assert_int_equal(call_create(w, &o, "v"), PS_EINVAL);
    world_run(w, 100 * MS);
    assert_int_equal(o.answers, 0);
}

static void a_stream_arrives_in_order_and_ends(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    w->service.stream_length = 5000; /* some 400 KiB: more than may be unsent */
    call_follow(w, &o);
    world_run(w, 5 * SECOND);
    assert_int_equal(o.messages, 5000);
    assert_int_equal(o.disorder, 0);
    assert_int_equal(o.answers, 1);
    assert_int_equal(o.status, PS_OK);
    assert_true(w->service.blocked > 0);
}

static void a_reader_that_stops_makes_the_server_stop(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    o.request.timeout_ns = RPC_TIMEOUT_NONE;
    call_follow(w, &o);
    world_run(w, 50 * MS);
    rpc_mem_cut(w->net, "node", "host", true);
    world_run(w, 2 * SECOND);
    const unsigned sent = w->service.sent;
    world_run(w, 2 * SECOND);
    assert_int_equal(w->service.sent, sent);
    struct rpc_server_stats stats;
    rpc_server_stats(w->server, &stats);
    assert_true(stats.bytes_held < 2 * RPC_STREAM_UNSENT_MAX);
    rpc_mem_cut(w->net, "node", "host", false);
    world_run(w, 50 * MS);
    assert_true(w->service.sent > sent);
    rpc_client_cancel(w->client, &o.request);
    world_run(w, 100 * MS);
    assert_int_equal(o.status, PS_ECANCELLED);
    assert_int_equal(w->service.cancelled, 1);
}

/* Reads of 1 MiB whose answers nobody takes: the server holds a few and stops reading. */
static void answers_that_nobody_takes_are_bounded(void **state)
{
    struct rpc_world *w = *state;
    static struct outcome o[100];
    memset(o, 0, sizeof o);
    world_run(w, 100 * MS);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(call_read(w, &o[i], i, RPC_PAYLOAD_MAX), PS_OK);
    size_t most = 0;
    for (int i = 0; i < 20000; i++) {
        struct rpc_server_stats stats;
        world_run(w, MS / 10);
        rpc_server_stats(w->server, &stats);
        most = stats.bytes_held > most ? stats.bytes_held : most;
    }
    assert_true(most > RPC_CONNECTION_BYTES_MAX / 2);
    assert_true(most <= RPC_CONNECTION_BYTES_MAX + RPC_PAYLOAD_MAX + 64 * 1024);
    world_run(w, 10 * SECOND);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(o[i].payload_bytes, RPC_PAYLOAD_MAX);
}

/* One client's readers hang and hold all that the server has: another still gets one call at a
 * time through, and everything moves again when they go on. */
static void a_full_server_still_serves_one_call_a_connection(void **state)
{
    (void)state;
    struct rpc_world w;
    static struct outcome hog[30], other[3];
    const struct rpc_server_config config = {.bytes_max = 2 * RPC_PAYLOAD_MAX};
    struct rpc_server_stats stats;
    memset(hog, 0, sizeof hog);
    memset(other, 0, sizeof other);
    world_open(&w, NULL, &config);
    world_run(&w, 100 * MS);
    for (size_t i = 0; i < 30; i++)
        assert_int_equal(call_read(&w, &hog[i], i, RPC_PAYLOAD_MAX), PS_OK);
    world_run(&w, 3 * MS);
    rpc_mem_cut(w.net, "node", "host", true);
    world_run(&w, 100 * MS);
    rpc_server_stats(w.server, &stats);
    assert_true(stats.bytes_held >= 2 * RPC_PAYLOAD_MAX && stats.bytes_held < 4 * RPC_PAYLOAD_MAX);

    struct rpc_client *first = w.client;
    struct rpc_transport *host = w.host;
    w.host = rpc_mem_transport_create(w.net, "neighbour");
    world_connect(&w, WORLD_ENDPOINT);
    for (size_t i = 0; i < 3; i++)
        call_read(&w, &other[i], i, 64 * 1024);
    world_run(&w, 500 * MS);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(other[i].payload_bytes, 64 * 1024);
    world_stop_client(&w);
    rpc_mem_transport_destroy(w.host);
    w.client = first;
    w.host = host;
    rpc_mem_cut(w.net, "node", "host", false);
    world_run(&w, 10 * SECOND);
    for (size_t i = 0; i < 30; i++)
        assert_int_equal(hog[i].payload_bytes, RPC_PAYLOAD_MAX);
    world_close(&w);
}

/* Calls that a handler keeps count too. The connection that was held back goes on
 * when another one lets go. */
static void a_connection_held_back_for_another_goes_on_after_it(void **state)
{
    (void)state;
    struct rpc_world w;
    static struct outcome held[2], create;
    static char large[8000];
    const struct rpc_metadata entry = {"trace", large, sizeof large};
    const struct rpc_server_config config = {.bytes_max = 10000};
    memset(held, 0, sizeof held);
    memset(&create, 0, sizeof create);
    world_open(&w, NULL, &config);
    world_run(&w, 100 * MS);
    held[0].request.metadata = held[1].request.metadata = &entry;
    held[0].request.nmetadata = held[1].request.nmetadata = 1;
    call_get(&w, &held[0]);
    world_run(&w, 10 * MS);
    struct rpc_client *first = w.client;
    struct rpc_transport *host = w.host;
    w.host = rpc_mem_transport_create(w.net, "neighbour");
    world_connect(&w, WORLD_ENDPOINT);
    world_run(&w, 10 * MS);
    call_get(&w, &held[1]); /* its one call; the server is full now */
    call_create(&w, &create, "later");
    world_run(&w, 100 * MS);
    assert_int_equal(w.service.nheld, 2);
    assert_int_equal(create.answers, 0);
    test_service_answer(&w.service, 0); /* of the first connection */
    world_run(&w, 100 * MS);
    assert_int_equal(create.answers, 1);
    test_service_answer(&w.service, 1);
    world_run(&w, 100 * MS);
    world_stop_client(&w);
    rpc_mem_transport_destroy(w.host);
    w.client = first;
    w.host = host;
    world_close(&w);
}

static void a_server_that_dies_makes_its_calls_unavailable_and_none_is_repeated(void **state)
{
    struct rpc_world *w = *state;
    struct outcome held = {0}, sent = {0}, later = {0};
    world_run(w, 100 * MS);
    call_get(w, &held);
    world_run(w, 100 * MS);
    call_create(w, &sent, "maybe");
    world_run(w, 1 * MS + MS / 2); /* carried out; the answer is on its way */
    assert_int_equal(w->service.created, 1);
    rpc_mem_break(w->net, "node", "host");
    world_run(w, 10 * MS);
    assert_int_equal(held.status, PS_EUNAVAILABLE);
    assert_int_equal(sent.status, PS_EUNAVAILABLE);
    assert_string_equal(sent.detail, WORLD_ENDPOINT ": the peer closed the connection");
    assert_int_equal(w->service.cancelled, 1);
    test_service_answer(&w->service, 0); /* to a connection that is gone */
    call_create(w, &later, "after");     /* waits for the next connection */
    world_run(w, 1 * SECOND);
    assert_int_equal(later.status, PS_OK);
    assert_int_equal(w->service.created, 2); /* not 3 */
    assert_int_equal(w->service.disconnected, 1);
    assert_int_equal(held.answers + sent.answers, 2);
}

/* The call waited for the connection and was never sent: the next connection takes it. */
static void a_call_that_was_never_sent_survives_the_loss(void **state)
{
    struct rpc_world *w = *state;
    enum {
        MANY = RPC_CALLS_MAX + 1
    };
    static struct outcome o[MANY];
    memset(o, 0, sizeof o);
    world_run(w, 100 * MS);
    for (size_t i = 0; i < MANY - 1; i++)
        call_get(w, &o[i]);
    call_create(w, &o[MANY - 1], "queued");
    world_run(w, 100 * MS);
    rpc_mem_break(w->net, "node", "host");
    world_run(w, 1 * SECOND);
    for (size_t i = 0; i < MANY - 1; i++)
        assert_int_equal(o[i].status, PS_EUNAVAILABLE);
    assert_int_equal(o[MANY - 1].status, PS_OK);
    assert_string_equal(o[MANY - 1].name, "queued");
}

/* A handle, say, is another one's on the next connection. */
static void a_call_for_one_connection_ends_with_that_though_it_was_never_sent(void **state)
{
    struct rpc_world *w = *state;
    enum {
        MANY = RPC_CALLS_MAX + 2
    };
    static struct outcome o[MANY];
    memset(o, 0, sizeof o);
    world_run(w, 100 * MS);
    for (size_t i = 0; i < RPC_CALLS_MAX; i++)
        call_get(w, &o[i]);
    struct outcome *bound = &o[RPC_CALLS_MAX], *cancelled = &o[RPC_CALLS_MAX + 1];
    bound->request.one_connection = true;
    call_create(w, bound, "bound");
    call_create(w, cancelled, "cancelled");
    world_run(w, 100 * MS);
    rpc_client_cancel(w->client, &cancelled->request);
    rpc_mem_break(w->net, "node", "host");
    world_run(w, 1 * SECOND);
    assert_int_equal(bound->status, PS_EUNAVAILABLE);
    assert_int_equal(cancelled->status, PS_ECANCELLED);
    assert_true(bound->unsent && cancelled->unsent && !o[0].unsent);
    assert_int_equal(w->service.created, 0);
}

/* The server has them until it answers; how much that is, who counts wants to know. */
static void calls_that_were_given_up_count_until_the_server_has_ended_them(void **state)
{
    struct rpc_world *w = *state;
    static struct outcome o[3];
    uint64_t bytes;
    memset(o, 0, sizeof o);
    world_run(w, 100 * MS);
    for (size_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 3; i++) {
            o[i] = (struct outcome){.request.share_bytes = 1000 + i};
            call_get(w, &o[i]);
        }
        world_run(w, 100 * MS);
        assert_int_equal(rpc_client_given_up(w->client, &bytes), 0);
        rpc_client_cancel(w->client, &o[0].request);
        rpc_client_cancel(w->client, &o[2].request);
        world_run(w, 100 * MS);
        assert_int_equal(rpc_client_given_up(w->client, &bytes), 2);
        assert_int_equal(bytes, 2002);
        if (round == 0)
            for (size_t i = 0; i < 3; i++)
                test_service_answer(&w->service, i);
        else
            rpc_mem_break(w->net, "node", "host");
        world_run(w, 1 * SECOND);
        assert_int_equal(rpc_client_given_up(w->client, &bytes), 0);
        assert_int_equal(bytes, 0);
    }
}

static void no_server_fails_calls_with_the_reason(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0}, again = {0}, patient = {0};
    world_stop_client(w);
    world_stop_server(w);
    world_connect(w, WORLD_ENDPOINT);
    call_create(w, &o, "v");
    world_run(w, 10 * MS);
    assert_int_equal(o.status, PS_EUNAVAILABLE);
    assert_string_equal(o.detail, WORLD_ENDPOINT ": connection refused");
    call_create(w, &again, "v"); /* between two attempts: at once */
    patient.request.wait_for_ready = true;
    call_create(w, &patient, "patient");
    world_run(w, 1 * MS);
    assert_int_equal(again.status, PS_EUNAVAILABLE);
    world_run(w, 5 * SECOND);
    assert_int_equal(patient.answers, 0);
    world_serve(w, NULL);
    world_run(w, 3 * SECOND);
    assert_int_equal(patient.status, PS_OK);
    assert_int_equal(w->client_status, PS_OK);
}

static void a_patient_call_still_has_its_deadline(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    world_stop_client(w);
    world_stop_server(w);
    world_connect(w, WORLD_ENDPOINT);
    o.request.wait_for_ready = true;
    o.request.timeout_ns = 700 * MS;
    call_create(w, &o, "v");
    world_run(w, 699 * MS);
    assert_int_equal(o.answers, 0);
    world_run(w, 2 * MS);
    assert_int_equal(o.status, PS_EDEADLINE);
}

static void a_server_that_never_greets_is_given_up(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    world_stop_client(w);
    rpc_mem_cut(w->net, "node", "host", true);
    world_connect(w, WORLD_ENDPOINT);
    call_create(w, &o, "v");
    world_run(w, 4 * SECOND);
    assert_int_equal(o.answers, 0);
    world_run(w, 2 * SECOND);
    assert_int_equal(o.status, PS_EUNAVAILABLE);
    rpc_mem_cut(w->net, "node", "host", false);
    world_run(w, 5 * SECOND);
    assert_non_null(rpc_client_peer(w->client));
}

static void a_silent_peer_is_pinged_and_then_given_up_by_both(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    struct rpc_server_stats stats;
    o.request.timeout_ns = RPC_TIMEOUT_NONE;
    world_run(w, 100 * MS);
    call_get(w, &o);
    world_run(w, 120 * SECOND); /* idle, but alive: pings are answered */
    assert_int_equal(o.answers, 0);
    rpc_mem_cut(w->net, "node", "host", true);
    world_run(w, 19 * SECOND);
    assert_int_equal(o.answers, 0);
    world_run(w, 12 * SECOND);
    assert_int_equal(o.answers, 1);
    assert_int_equal(o.status, PS_EUNAVAILABLE);
    assert_int_equal(w->service.cancelled, 1);
    test_service_answer(&w->service, 0);
    world_run(w, 1 * SECOND);
    rpc_server_stats(w->server, &stats);
    assert_int_equal(stats.connections, 0);
    rpc_mem_cut(w->net, "node", "host", false);
}

/* It is held up itself, by its device perhaps, and reads nothing meanwhile: not even pings. */
static void a_server_that_is_full_for_long_keeps_its_clients(void **state)
{
    (void)state;
    struct rpc_world w;
    static struct outcome held[2], write;
    static uint8_t data[RPC_PAYLOAD_MAX];
    static char large[8000];
    const struct rpc_metadata entry = {"trace", large, sizeof large};
    const struct rpc_server_config config = {.bytes_max = 10000};
    memset(held, 0, sizeof held);
    memset(&write, 0, sizeof write);
    world_open(&w, NULL, &config);
    world_run(&w, 100 * MS);
    for (size_t i = 0; i < 2; i++) {
        held[i].request.metadata = &entry;
        held[i].request.nmetadata = 1;
        held[i].request.timeout_ns = RPC_TIMEOUT_NONE;
        call_get(&w, &held[i]);
    }
    write.request.timeout_ns = RPC_TIMEOUT_NONE;
    call_write(&w, &write, data, sizeof data);
    world_run(&w, 60 * SECOND);
    assert_int_equal(w.service.nheld, 2);
    assert_true(held[0].answers == 0 && held[1].answers == 0 && write.answers == 0);
    test_service_answer(&w.service, 0);
    test_service_answer(&w.service, 1);
    world_run(&w, 1 * SECOND);
    assert_true(held[0].status == PS_OK && held[1].status == PS_OK);
    assert_int_equal(write.answers, 1);
    assert_int_equal(write.status, PS_OK);
    assert_int_equal(w.service.written_bytes, sizeof data);
    /* One that is gone is given up all the same. */
    memset(&held[0], 0, sizeof held[0]);
    memset(&write, 0, sizeof write);
    write.request.timeout_ns = RPC_TIMEOUT_NONE;
    rpc_mem_cut(w.net, "node", "host", true);
    call_write(&w, &write, data, sizeof data);
    world_run(&w, 11 * SECOND);
    assert_int_equal(write.answers, 1);
    assert_int_equal(write.status, PS_EUNAVAILABLE);
    rpc_mem_cut(w.net, "node", "host", false);
    world_close(&w);
}

/* Calls time out on it, one after the other, until there is another connection. */
static void an_impatient_client_replaces_a_connection_without_answers(void **state)
{
    struct rpc_world *w = *state;
    struct rpc_client *client = NULL;
    struct outcome o = {0}, idle = {0};
    struct ps_error err;
    const struct rpc_client_config config = {
        .endpoint = WORLD_ENDPOINT,
        .identity = {.name = "impatient", .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_CLIENT},
        .keepalive_ns = 750 * MS};
    world_stop_client(w);
    assert_int_equal(rpc_client_connect(w->host, &config, &client, &err), 0);
    w->client = client;
    world_run(w, 30 * SECOND); /* idle, but alive */
    idle.request.timeout_ns = RPC_TIMEOUT_NONE;
    call_get(w, &idle);
    world_run(w, 100 * MS);
    rpc_mem_cut(w->net, "node", "host", true);
    world_run(w, 700 * MS);
    assert_non_null(rpc_client_peer(w->client));
    assert_int_equal(idle.answers, 0);
    world_run(w, 900 * MS);
    assert_null(rpc_client_peer(w->client));
    assert_int_equal(idle.status, PS_EUNAVAILABLE);
    rpc_mem_cut(w->net, "node", "host", false);
    world_run(w, 6 * SECOND);
    assert_non_null(rpc_client_peer(w->client));
    /* Whoever knows better does not wait for it. */
    call_get(w, &o);
    world_run(w, 10 * MS);
    rpc_client_reconnect(w->client, "its other connection is gone");
    world_run(w, 10 * MS);
    assert_int_equal(o.status, PS_EUNAVAILABLE);
    assert_null(rpc_client_peer(w->client));
    rpc_client_reconnect(w->client, "there is none");
    world_run(w, 1 * SECOND);
    assert_non_null(rpc_client_peer(w->client));
}

/* The payload stays lent until the transport gives it back: the callback must not come before. */
static void a_payload_under_way_delays_the_end_of_its_call(void **state)
{
    struct rpc_world *w = *state;
    static uint8_t data[RPC_PAYLOAD_MAX];
    struct outcome o = {0};
    world_run(w, 100 * MS);
    rpc_mem_cut(w->net, "node", "host", true);
    o.request.timeout_ns = 100 * MS;
    call_write(w, &o, data, sizeof data);
    world_run(w, 1 * SECOND);
    assert_int_equal(o.answers, 0);
    world_run(w, 10 * SECOND); /* RPC_SEND_STALL_NS closes the link */
    assert_int_equal(o.answers, 1);
    assert_int_equal(o.status, PS_EDEADLINE);
    rpc_mem_cut(w->net, "node", "host", false);
}

static void another_cluster_is_refused_and_told_why(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    world_stop_client(w);
    world_stop_server(w);
    struct rpc_server_config config = {.identity = {.cluster_id = "blue"}};
    world_serve(w, &config);
    const struct rpc_client_config client = {.endpoint = WORLD_ENDPOINT,
                                             .identity = {.name = "x", .cluster_id = "red"}};
    assert_int_equal(rpc_client_connect(w->host, &client, &w->client, NULL), PS_OK);
    call_create(w, &o, "v");
    world_run(w, 20 * MS);
    assert_int_equal(o.status, PS_EPERM);
    assert_string_equal(o.detail,
                        WORLD_ENDPOINT ": the server is of cluster blue, the client of cluster red: "
                                       "PSTORAGE_CLUSTER_NAME must be the same on both sides");
}

static void one_connection_too_many_is_sent_away(void **state)
{
    struct rpc_world *w = *state;
    struct rpc_client *first = w->client;
    world_run(w, 100 * MS);
    bool closed = false;
    (void)closed;
    world_stop_client(w);
    world_stop_server(w);
    struct rpc_server_config config = {.connections_max = 1};
    world_serve(w, &config);
    world_connect(w, WORLD_ENDPOINT);
    world_run(w, 100 * MS);
    first = w->client;
    struct outcome o = {0};
    world_connect(w, WORLD_ENDPOINT);
    call_create(w, &o, "v");
    world_run(w, 20 * MS);
    assert_int_equal(o.status, PS_ELIMIT);
    assert_non_null(strstr(o.detail, "too many connections"));
    world_stop_client(w);
    w->client = first;
    struct outcome still = {0};
    call_create(w, &still, "v");
    world_run(w, 100 * MS);
    assert_int_equal(still.status, PS_OK);
}

static void a_closing_client_ends_its_calls(void **state)
{
    struct rpc_world *w = *state;
    struct outcome held = {0}, big = {0};
    static uint8_t data[RPC_PAYLOAD_MAX];
    world_run(w, 100 * MS);
    call_get(w, &held);
    world_run(w, 100 * MS);
    call_write(w, &big, data, sizeof data); /* under way */
    world_stop_client(w);
    assert_int_equal(held.status, PS_ECANCELLED);
    assert_int_equal(big.status, PS_ECANCELLED);
    assert_int_equal(w->service.cancelled, 1);
}

static void a_closing_server_lets_calls_end_and_says_goodbye(void **state)
{
    struct rpc_world *w = *state;
    struct outcome o = {0};
    world_run(w, 100 * MS);
    call_get(w, &o);
    world_run(w, 100 * MS);
    world_stop_server(w); /* answers what it held */
    assert_int_equal(o.status, PS_OK);
    assert_int_equal(w->client_status, PS_EUNAVAILABLE);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_call_brings_back_the_answer),
        IN_WORLD(an_error_arrives_with_its_code_and_detail),
        IN_WORLD(a_method_without_handler_is_unimplemented),
        IN_WORLD(a_payload_to_a_method_that_takes_none_is_refused),
        IN_WORLD(metadata_and_operation_id_reach_the_handler),
        cmocka_unit_test(payloads_of_all_sizes_arrive_whole_and_aligned),
        cmocka_unit_test(a_stream_that_trickles_byte_by_byte_is_understood),
        cmocka_unit_test(a_large_body_is_assembled),
        IN_WORLD(answers_come_in_any_order),
        IN_WORLD(the_deadline_ends_a_call_on_both_sides),
        IN_WORLD(the_time_left_travels_and_not_the_time),
        IN_WORLD(a_cancelled_call_ends_at_once_and_the_handler_hears_of_it),
        IN_WORLD(a_cancelled_call_that_waits_is_never_sent),
        IN_WORLD(calls_beyond_the_credit_wait_their_turn),
        IN_WORLD(too_many_waiting_calls_are_refused),
        IN_WORLD(what_is_too_large_is_refused_before_it_is_sent),
        IN_WORLD(a_stream_arrives_in_order_and_ends),
        IN_WORLD(a_reader_that_stops_makes_the_server_stop),
        IN_WORLD(answers_that_nobody_takes_are_bounded),
        cmocka_unit_test(a_full_server_still_serves_one_call_a_connection),
        cmocka_unit_test(a_connection_held_back_for_another_goes_on_after_it),
        IN_WORLD(a_server_that_dies_makes_its_calls_unavailable_and_none_is_repeated),
        IN_WORLD(a_call_that_was_never_sent_survives_the_loss),
        IN_WORLD(a_call_for_one_connection_ends_with_that_though_it_was_never_sent),
        IN_WORLD(calls_that_were_given_up_count_until_the_server_has_ended_them),
        IN_WORLD(no_server_fails_calls_with_the_reason),
        IN_WORLD(a_patient_call_still_has_its_deadline),
        IN_WORLD(a_server_that_never_greets_is_given_up),
        IN_WORLD(a_silent_peer_is_pinged_and_then_given_up_by_both),
        cmocka_unit_test(a_server_that_is_full_for_long_keeps_its_clients),
        IN_WORLD(an_impatient_client_replaces_a_connection_without_answers),
        IN_WORLD(a_payload_under_way_delays_the_end_of_its_call),
        IN_WORLD(another_cluster_is_refused_and_told_why),
        IN_WORLD(one_connection_too_many_is_sent_away),
        IN_WORLD(a_closing_client_ends_its_calls),
        IN_WORLD(a_closing_server_lets_calls_end_and_says_goodbye),
    };
    return cmocka_run_group_tests_name("rpc calls", tests, NULL, NULL);
}
