/* What one client may hold, and that it ends. */
#include "nbd_peer.h"

#include <stdlib.h>

enum {
    MIB = 1 << 20
};

static int setup(void **state)
{
    struct peer *peer = peer_create(256ull * MIB);
    peer_attach(peer, "vol", true);
    *state = peer;
    return 0;
}

static int teardown(void **state)
{
    peer_destroy(*state);
    return 0;
}

static void requests_in_flight_are_bounded_and_none_is_lost(void **state)
{
    struct peer *peer = *state;
    enum {
        N = 3 * NBD_REQUESTS_MAX
    };
    uint8_t *headers = malloc(N * NBD_REQUEST_BYTES);
    for (unsigned i = 0; i < N; i++)
        peer_header(headers + (size_t)i * NBD_REQUEST_BYTES, NBD_CMD_FLUSH, 0, i, 0, 0);
    pod_fake_hold(peer->pod, true);
    (void)peer_deliver(peer, headers, N * NBD_REQUEST_BYTES);
    assert_int_equal(pod_fake_in_flight(peer->pod), NBD_REQUESTS_MAX);
    assert_false(nbd_session_wants_input(peer->session));
    pod_fake_hold(peer->pod, false);
    peer_run(peer);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(peer_simple(peer, i), 0);
    peer_expect_silence(peer);
    free(headers);
}

static void payload_in_flight_is_bounded(void **state)
{
    struct peer *peer = *state;
    pod_fake_hold(peer->pod, true);
    unsigned sent = 0;
    for (; nbd_session_wants_input(peer->session) && sent < 1000; sent++)
        peer_request(peer, NBD_CMD_READ, 0, sent, 0, 4 * MIB);
    assert_int_equal(nbd_session_payload_bytes(peer->session), NBD_BYTES_MAX);
    assert_int_equal(sent, NBD_BYTES_MAX / (4 * MIB) + 1);
    pod_fake_hold(peer->pod, false);
    peer_run(peer);
    uint8_t *data = malloc(4 * MIB);
    for (unsigned i = 0; i < sent; i++)
        (void)peer_read_reply(peer, i, 0, 4 * MIB, data);
    assert_int_equal(nbd_session_payload_bytes(peer->session), 0);
    free(data);
}

static void a_client_that_takes_no_replies_is_not_listened_to(void **state)
{
    struct peer *peer = *state;
    peer->deaf = true;
    uint8_t block[4096] = {1};
    peer_write(peer, 0, 1, 0, 4096, block);
    peer_run(peer);
    unsigned sent = 0;
    for (; sent < 100000 && nbd_session_wants_input(peer->session); sent++) {
        peer_request(peer, sent % 2 ? NBD_CMD_READ : NBD_CMD_FLUSH, 0, sent, 0, sent % 2 ? 4096 : 0);
        peer_run(peer);
    }
    assert_true(sent >= NBD_REQUESTS_MAX && sent < 4 * NBD_REQUESTS_MAX);
    peer->deaf = false;
    peer_run(peer);
    assert_int_equal(peer_simple(peer, 1), 0);
    for (unsigned i = 0; i < sent; i++) {
        if (i % 2) {
            uint8_t data[4096];
            (void)peer_read_reply(peer, i, 0, 4096, data);
        } else {
            assert_int_equal(peer_simple(peer, i), 0);
        }
    }
    peer_expect_silence(peer);
}

static void refusals_need_to_be_taken_too(void **state)
{
    struct peer *peer = *state;
    peer->deaf = true;
    unsigned sent = 0;
    for (; sent < 100000 && nbd_session_wants_input(peer->session); sent++)
        peer_request(peer, NBD_CMD_READ, 0, sent, 1, 512);
    assert_true(sent > 100 && sent < 2000);
    peer->deaf = false;
    peer_run(peer);
    for (unsigned i = 0; i < sent; i++)
        assert_int_equal(peer_error(peer, i, NULL), NBD_EINVAL);
}

static void one_client_gets_no_more_than_half_of_the_memory(void **state)
{
    struct peer *peer = *state;
    peer_destroy(peer);
    *state = peer = peer_create(64ull * MIB);
    peer_attach(peer, "vol", true);
    pod_fake_hold(peer->pod, true);
    for (unsigned i = 0; i < 100 && nbd_session_wants_input(peer->session); i++)
        peer_request(peer, NBD_CMD_READ, 0, i, 0, MIB);
    assert_int_equal(nbd_session_payload_bytes(peer->session), 32 * MIB);
}

static void who_waits_for_memory_gets_it_when_it_comes_back(void **state)
{
    struct peer *peer = *state;
    peer_destroy(peer);
    *state = peer = peer_create(NBD_BUFFER_MAX);
    peer_attach(peer, "vol", true);
    struct list_node other;
    list_init(&other);
    struct nbd_buffer *taken = nbd_buffers_take(&peer->buffers, NBD_BUFFER_MAX, &other);
    assert_non_null(taken);
    peer_request(peer, NBD_CMD_READ, 0, 1, 0, MIB);
    assert_true(nbd_session_waits(peer->session));
    assert_false(nbd_session_wants_input(peer->session));
    assert_ptr_equal(nbd_session_of_waiter(peer->buffers.waiters.next), peer->session);
    assert_ptr_equal(nbd_session_user(peer->session), peer);
    assert_false(nbd_session_resume(peer->session));
    nbd_buffers_give(&peer->buffers, taken);
    assert_true(nbd_session_resume(peer->session));
    assert_false(nbd_session_waits(peer->session));
    peer_run(peer);
    static uint8_t data[MIB];
    (void)peer_read_reply(peer, 1, 0, MIB, data);
}

static void small_requests_are_served_whatever_others_hold(void **state)
{
    struct peer *peer = *state;
    struct list_node other, third;
    list_init(&other);
    list_init(&third);
    struct nbd_buffer *taken[8];
    for (int i = 0; i < 8; i++)
        taken[i] = nbd_buffers_take(&peer->buffers, NBD_BUFFER_MAX, &other);
    assert_null(nbd_buffers_take(&peer->buffers, NBD_BUFFER_MAX, &third));
    uint8_t data[4096];
    for (unsigned i = 0; i < 100; i++) {
        peer_request(peer, NBD_CMD_READ, 0, i, 0, 4096);
        peer_run(peer);
        (void)peer_read_reply(peer, i, 0, 4096, data);
    }
    pod_fake_hold(peer->pod, true);
    for (unsigned i = 0; i < 100 && nbd_session_wants_input(peer->session); i++)
        peer_request(peer, NBD_CMD_READ, 0, i, 0, 4096);
    assert_int_equal(nbd_session_payload_bytes(peer->session), NBD_BYTES_GUARANTEED);
    assert_true(nbd_session_waits(peer->session));
    for (int i = 0; i < 8; i++)
        nbd_buffers_give(&peer->buffers, taken[i]);
    list_remove(&third);
}

static void a_waiting_client_that_vanishes_leaves_the_queue(void **state)
{
    struct peer *peer = *state;
    peer_destroy(peer);
    *state = peer = peer_create(NBD_BUFFER_MAX);
    peer_attach(peer, "vol", true);
    struct list_node other;
    list_init(&other);
    struct nbd_buffer *taken = nbd_buffers_take(&peer->buffers, NBD_BUFFER_MAX, &other);
    peer_request(peer, NBD_CMD_READ, 0, 1, 0, MIB);
    assert_false(list_empty(&peer->buffers.waiters));
    nbd_session_abandon(peer->session);
    assert_true(list_empty(&peer->buffers.waiters));
    nbd_buffers_give(&peer->buffers, taken);
}

static void many_small_writes_at_the_pod_gather_the_next_ones(void **state)
{
    struct peer *peer = *state;
    uint8_t block[4096] = {1};
    pod_fake_hold(peer->pod, true);
    unsigned sent = 0;
    for (; sent < NBD_GATHER_WRITES; sent++) {
        assert_false(nbd_session_gathers(peer->session));
        peer_write(peer, 0, sent, sent * sizeof block, sizeof block, block);
    }
    assert_true(nbd_session_gathers(peer->session));
    uint8_t header[NBD_REQUEST_BYTES];
    peer_header(header, NBD_CMD_WRITE, 0, sent, 0, sizeof block);
    peer_send(peer, header, sizeof header);
    assert_false(nbd_session_gathers(peer->session)); /* the payload is on its way */
    peer_send(peer, block, sizeof block);
    assert_true(nbd_session_gathers(peer->session));
    peer_request(peer, NBD_CMD_READ, 0, 99, 0, sizeof block);
    assert_false(nbd_session_gathers(peer->session)); /* who waits for a read may send more of them */
    pod_fake_hold(peer->pod, false);
    peer_run(peer);
    assert_false(nbd_session_gathers(peer->session));
}

static void large_writes_do_not_gather(void **state)
{
    struct peer *peer = *state;
    uint8_t *data = calloc(1, 32 * 1024);
    pod_fake_hold(peer->pod, true);
    for (unsigned i = 0; i < NBD_GATHER_WRITES; i++)
        peer_write(peer, 0, i, 0, 32 * 1024, data);
    assert_false(nbd_session_gathers(peer->session)); /* they fill batches as it is */
    pod_fake_hold(peer->pod, false);
    peer_run(peer);
    free(data);
}

static void steady_traffic_allocates_nothing_new(void **state)
{
    struct peer *peer = *state;
    uint8_t block[4096] = {1};
    for (unsigned i = 0; i < 1000; i++) {
        peer_write(peer, 0, i, 0, 4096, block);
        peer_request(peer, NBD_CMD_READ, 0, i, 0, 4096);
        peer_run(peer);
        assert_true(peer->buffers.held <= 2 * 4096);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(requests_in_flight_are_bounded_and_none_is_lost),
        T(payload_in_flight_is_bounded),
        T(a_client_that_takes_no_replies_is_not_listened_to),
        T(refusals_need_to_be_taken_too),
        T(one_client_gets_no_more_than_half_of_the_memory),
        T(who_waits_for_memory_gets_it_when_it_comes_back),
        T(small_requests_are_served_whatever_others_hold),
        T(a_waiting_client_that_vanishes_leaves_the_queue),
        T(many_small_writes_at_the_pod_gather_the_next_ones),
        T(large_writes_do_not_gather),
        T(steady_traffic_allocates_nothing_new),
    };
    return cmocka_run_group_tests_name("nbd_limits", tests, NULL, NULL);
}
