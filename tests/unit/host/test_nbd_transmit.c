#include "nbd_peer.h"

#include <stdio.h>
#include <stdlib.h>

static int setup(void **state)
{
    struct peer *peer = peer_create(NBD_BUFFER_MAX * 2);
    peer_attach(peer, "vol", true);
    *state = peer;
    return 0;
}

static int setup_simple(void **state)
{
    struct peer *peer = peer_create(NBD_BUFFER_MAX * 2);
    peer_attach(peer, "vol", false);
    *state = peer;
    return 0;
}

static int setup_snapshot(void **state)
{
    struct peer *peer = peer_create(NBD_BUFFER_MAX * 2);
    peer_attach(peer, "vol@snap", true);
    *state = peer;
    return 0;
}

static int teardown(void **state)
{
    peer_destroy(*state);
    return 0;
}

static uint8_t *pattern(size_t bytes, unsigned seed)
{
    uint8_t *data = malloc(bytes);
    assert_non_null(data);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(i / 512 * 31 + i + seed) | 1;
    return data;
}

static void write_ok(struct peer *peer, uint64_t offset, uint32_t length, const void *data)
{
    peer_write(peer, 0, 77, offset, length, data);
    peer_run(peer);
    assert_int_equal(peer_simple(peer, 77), 0);
}

/* Reads back and compares; returns the number of chunks. */
static unsigned read_same(struct peer *peer, unsigned flags, uint64_t offset, uint32_t length,
                          const void *expected)
{
    uint8_t *data = malloc(length);
    assert_non_null(data);
    memset(data, 0xee, length);
    peer_request(peer, NBD_CMD_READ, flags, 78, offset, length);
    peer_run(peer);
    const unsigned chunks = peer_read_reply(peer, 78, offset, length, data);
    assert_memory_equal(data, expected, length);
    free(data);
    return chunks;
}

static uint32_t refused(struct peer *peer, unsigned command, unsigned flags, uint64_t offset, uint32_t length,
                        const char *message)
{
    char got[256];
    peer_request(peer, command, flags, 79, offset, length);
    peer_run(peer);
    const uint32_t error = peer_error(peer, 79, got);
    assert_non_null(strstr(got, message));
    return error;
}

/* ---- data */

static void what_is_written_is_read_at_every_size(void **state)
{
    struct peer *peer = *state;
    static const uint32_t sizes[] = {512, 4096, 4608, 32768, 65536, 131072, 1048576 + 512, PEER_VOLUME};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t *data = pattern(sizes[i], (unsigned)i);
        const uint64_t offset = (PEER_VOLUME - sizes[i]) / 1024 * 512;
        write_ok(peer, offset, sizes[i], data);
        assert_int_equal(read_same(peer, 0, offset, sizes[i], data), 1);
        free(data);
    }
    peer_expect_silence(peer);
}

static void payload_is_understood_in_any_pieces(void **state)
{
    struct peer *peer = *state;
    static const size_t pieces[] = {1, 27, 511, 4096, 60000};
    uint8_t *data = pattern(100 * 1024, 3);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        peer->piece = pieces[i];
        write_ok(peer, i * 131072, 512, data);
        write_ok(peer, i * 131072, 100 * 1024, data);
        (void)read_same(peer, 0, i * 131072, 100 * 1024, data);
    }
    free(data);
}

static void simple_replies_carry_data_too(void **state)
{
    struct peer *peer = *state;
    uint8_t *data = pattern(8192, 1);
    write_ok(peer, 4096, 8192, data);
    peer_request(peer, NBD_CMD_READ, 0, 5, 4096, 8192);
    peer_run(peer);
    assert_int_equal(peer_simple(peer, 5), 0);
    assert_memory_equal(peer_take(peer, 8192), data, 8192);
    peer_request(peer, NBD_CMD_READ, 0, 6, PEER_VOLUME, 512);
    peer_run(peer);
    assert_int_equal(peer_simple(peer, 6), NBD_EINVAL);
    peer_expect_silence(peer); /* no data after an error */
    peer_request(peer, NBD_CMD_READ, NBD_CMD_FLAG_DF, 7, 0, 512);
    peer_run(peer);
    assert_int_equal(peer_simple(peer, 7), NBD_EINVAL);
    free(data);
}

static void a_read_of_nothing_but_zeroes_sends_none(void **state)
{
    struct peer *peer = *state;
    uint8_t *zeroes = calloc(1, PEER_VOLUME);
    static const uint32_t sizes[] = {512, 4096, 36864, 131072, PEER_VOLUME};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_t before = peer->in_at;
        assert_int_equal(read_same(peer, i % 2 ? NBD_CMD_FLAG_DF : 0, 0, sizes[i], zeroes), 1);
        assert_int_equal(peer->in_at - before, NBD_OFFSET_HOLE_BYTES);
    }
    free(zeroes);
}

static void long_runs_of_zeroes_are_left_out_of_a_read(void **state)
{
    struct peer *peer = *state;
    enum {
        BYTES = 512 * 1024,
        K = 1024
    };
    uint8_t *image = calloc(1, BYTES);
    uint8_t *data = pattern(BYTES, 9);
    /* Holes: at the beginning, in the middle, at the end; one too short to pay. */
    memcpy(image + 128 * K, data, 4 * K);
    memcpy(image + 136 * K, data, 4 * K);
    memcpy(image + 300 * K, data, 20 * K);
    write_ok(peer, 0, BYTES, image);
    size_t before = peer->in_at;
    assert_int_equal(read_same(peer, 0, 0, BYTES, image), 5);
    assert_int_equal(peer->in_at - before,
                     3 * NBD_OFFSET_HOLE_BYTES + 2 * NBD_OFFSET_DATA_BYTES + (12 + 20) * K);
    assert_int_equal(read_same(peer, 0, 128 * K, 192 * K, image + 128 * K), 3); /* data, hole, data */
    before = peer->in_at;
    assert_int_equal(read_same(peer, NBD_CMD_FLAG_DF, 0, BYTES, image), 1);
    assert_int_equal(peer->in_at - before, NBD_OFFSET_DATA_BYTES + BYTES);
    free(image);
    free(data);
}

static void every_mix_of_zeroes_and_data_reads_right(void **state)
{
    struct peer *peer = *state;
    enum {
        PIECE = 32 * 1024,
        PIECES = 8
    };
    uint8_t *image = malloc(PIECE * PIECES);
    uint8_t *data = pattern(PIECE, 5);
    for (unsigned mix = 0; mix < 1u << PIECES; mix++) {
        for (unsigned i = 0; i < PIECES; i++) {
            if (mix >> i & 1)
                memcpy(image + i * PIECE, data, PIECE);
            else
                memset(image + i * PIECE, 0, PIECE);
        }
        write_ok(peer, 0, PIECE * PIECES, image);
        (void)read_same(peer, 0, 0, PIECE * PIECES, image);
        (void)read_same(peer, 0, PIECE, 4 * PIECE, image + PIECE);
        (void)read_same(peer, 0, 512, 3 * PIECE, image + 512);
        peer->in_at = peer->in_bytes = 0;
    }
    free(image);
    free(data);
}

static void trim_and_write_zeroes_read_as_zeroes(void **state)
{
    struct peer *peer = *state;
    uint8_t *data = pattern(65536, 2);
    write_ok(peer, 0, 65536, data);
    peer_request(peer, NBD_CMD_TRIM, NBD_CMD_FLAG_FUA, 1, 4096, 4096);
    peer_request(peer, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO, 2, 8192, 512);
    peer_request(peer, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FUA, 3, 16384, 4096);
    peer_run(peer);
    for (uint64_t cookie = 1; cookie <= 3; cookie++)
        assert_int_equal(peer_simple(peer, cookie), 0);
    memset(data + 4096, 0, 4096);
    memset(data + 8192, 0, 512);
    memset(data + 16384, 0, 4096);
    (void)read_same(peer, 0, 0, 65536, data);
    free(data);
}

static void flush_and_cache_succeed(void **state)
{
    struct peer *peer = *state;
    peer_request(peer, NBD_CMD_FLUSH, 0, 1, 0, 0);
    peer_request(peer, NBD_CMD_FLUSH, NBD_CMD_FLAG_FUA, 2, 0, 0);
    peer_request(peer, NBD_CMD_CACHE, 0, 3, 0, PEER_VOLUME);
    peer_run(peer);
    for (uint64_t cookie = 1; cookie <= 3; cookie++)
        assert_int_equal(peer_simple(peer, cookie), 0);
    assert_int_equal(pod_fake_count(peer->pod, POD_FLUSH), 2);
    assert_int_equal(pod_fake_count(peer->pod, POD_PREFETCH), 1);
}

/* ---- BLOCK_STATUS */

static void expect_extents(struct peer *peer, unsigned n, const uint32_t (*expected)[2])
{
    const struct peer_chunk chunk = peer_chunk(peer);
    assert_int_equal(chunk.type, NBD_REPLY_TYPE_BLOCK_STATUS);
    assert_int_equal(chunk.flags, NBD_REPLY_FLAG_DONE);
    assert_int_equal(chunk.length, 4 + 8 * n);
    assert_int_equal(get_be32(chunk.payload), NBD_CONTEXT_ALLOCATION_ID);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(get_be32(chunk.payload + 4 + 8 * i), expected[i][0]);
        assert_int_equal(get_be32(chunk.payload + 8 + 8 * i), expected[i][1]);
    }
}

static void block_status_tells_data_zeroes_and_holes(void **state)
{
    struct peer *peer = *state;
    uint8_t *data = pattern(4096, 2);
    write_ok(peer, 4096, 4096, data);
    peer_request(peer, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE, 1, 8192, 4096);
    peer_run(peer);
    assert_int_equal(peer_simple(peer, 1), 0);
    peer_request(peer, NBD_CMD_BLOCK_STATUS, 0, 2, 0, 65536);
    peer_run(peer);
    expect_extents(peer, 4, (const uint32_t[][2]){{4096, 3}, {4096, 0}, {4096, 2}, {65536 - 12288, 3}});
    peer_request(peer, NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 3, 4096, 65536);
    peer_run(peer);
    expect_extents(peer, 1, (const uint32_t[][2]){{4096, 0}});
    free(data);
}

static void many_extents_are_described_as_far_as_a_reply_goes(void **state)
{
    struct peer *peer = *state;
    uint8_t *data = pattern(4096, 2);
    for (uint64_t at = 0; at < PEER_VOLUME; at += 4096)
        if (at / 4096 % 2 == 0 && at < 6 << 20)
            write_ok(peer, at, 4096, data);
    peer_request(peer, NBD_CMD_BLOCK_STATUS, 0, 2, 0, PEER_VOLUME);
    peer_run(peer);
    const struct peer_chunk chunk = peer_chunk(peer);
    assert_int_equal(chunk.length, 4 + 8 * 1024);
    for (unsigned i = 0; i < 1024; i++) {
        assert_int_equal(get_be32(chunk.payload + 4 + 8 * i), 4096);
        assert_int_equal(get_be32(chunk.payload + 8 + 8 * i), i % 2 ? 3 : 0);
    }
    free(data);
}

static void block_status_needs_its_context(void **state)
{
    struct peer *peer = *state;
    peer_request(peer, NBD_CMD_BLOCK_STATUS, 0, 2, 0, 4096);
    peer_run(peer);
    assert_int_equal(peer_simple(peer, 2), NBD_EINVAL);
}

/* ---- refusals */

static void wrong_requests_are_refused_each_with_its_reason(void **state)
{
    struct peer *peer = *state;
    assert_int_equal(refused(peer, NBD_CMD_READ, 0, 0, 0, "length is 0"), NBD_EINVAL);
    assert_int_equal(refused(peer, NBD_CMD_READ, 0, 100, 512, "multiples of 512"), NBD_EINVAL);
    assert_int_equal(refused(peer, NBD_CMD_READ, 0, 0, 100, "multiples of 512"), NBD_EINVAL);
    assert_int_equal(refused(peer, NBD_CMD_READ, 0, 0, (32 << 20) + 512, "maximum of 32 MiB"), NBD_EINVAL);
    assert_int_equal(refused(peer, NBD_CMD_READ, 0, PEER_VOLUME, 512, "out of range"), NBD_EINVAL);
    assert_int_equal(refused(peer, NBD_CMD_READ, 0, UINT64_MAX - 511, 512, "out of range"), NBD_EINVAL);
    assert_int_equal(refused(peer, NBD_CMD_READ, NBD_CMD_FLAG_NO_HOLE, 0, 512, "flag"), NBD_EINVAL);
    assert_int_equal(refused(peer, NBD_CMD_READ, 0x8000, 0, 512, "flag"), NBD_EINVAL);
    assert_int_equal(refused(peer, NBD_CMD_TRIM, 0, PEER_VOLUME - 512, 1024, "out of range"), NBD_EINVAL);
    assert_int_equal(refused(peer, NBD_CMD_WRITE_ZEROES, 0, PEER_VOLUME, 512, "out of range"), NBD_ENOSPC);
    assert_int_equal(refused(peer, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_DF, 0, 512, "flag"), NBD_EINVAL);
    assert_int_equal(refused(peer, NBD_CMD_FLUSH, 0, 0, 512, "FLUSH"), NBD_EINVAL);
    assert_int_equal(refused(peer, NBD_CMD_BLOCK_STATUS, 0, PEER_VOLUME, 512, "out of range"), NBD_EINVAL);
    assert_int_equal(refused(peer, 8, 0, 0, 512, "unknown command"), NBD_EINVAL);
    assert_int_equal(refused(peer, 0xffff, 0, 0, 512, "unknown command"), NBD_EINVAL);
    peer_request(peer, NBD_CMD_FLUSH, 0, 1, 0, 0);
    peer_run(peer);
    assert_int_equal(peer_simple(peer, 1), 0);
}

static void the_payload_of_a_refused_write_is_skipped(void **state)
{
    struct peer *peer = *state;
    static const struct {
        uint64_t offset;
        uint32_t length, error;
    } wrong[] = {
        {0, (32 << 20) + 512, NBD_EINVAL},
        {100, 512, NBD_EINVAL},
        {0, 5, NBD_EINVAL},
        {PEER_VOLUME, 65536, NBD_ENOSPC},
        {PEER_VOLUME - 512, 1024, NBD_ENOSPC},
    };
    uint8_t *data = pattern((32 << 20) + 512, 0);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        peer_request(peer, NBD_CMD_WRITE, 0, i, wrong[i].offset, wrong[i].length);
        peer_send(peer, data, wrong[i].length - 1);
        peer_expect_silence(peer); /* a client need not listen before it has sent everything */
        peer_send(peer, data, 1);
        peer_run(peer);
        assert_int_equal(peer_error(peer, i, NULL), wrong[i].error);
        write_ok(peer, 0, 512, data);
    }
    free(data);
}

static void a_snapshot_refuses_every_change(void **state)
{
    struct peer *peer = *state;
    uint8_t data[512] = {1};
    peer_write(peer, 0, 1, 0, 512, data);
    peer_run(peer);
    assert_int_equal(peer_error(peer, 1, NULL), NBD_EPERM);
    assert_int_equal(refused(peer, NBD_CMD_TRIM, 0, 0, 512, "read-only"), NBD_EPERM);
    assert_int_equal(refused(peer, NBD_CMD_WRITE_ZEROES, 0, 0, 512, "read-only"), NBD_EPERM);
    memset(data, 0, sizeof data);
    (void)read_same(peer, 0, 0, 512, data);
    peer_request(peer, NBD_CMD_FLUSH, 0, 2, 0, 0);
    peer_run(peer);
    assert_int_equal(peer_simple(peer, 2), 0);
}

static void a_wrong_request_magic_ends_the_connection_after_what_is_in_flight(void **state)
{
    struct peer *peer = *state;
    pod_fake_hold(peer->pod, true);
    peer_request(peer, NBD_CMD_FLUSH, 0, 1, 0, 0);
    uint8_t garbage[NBD_REQUEST_BYTES] = {1};
    peer_send(peer, garbage, sizeof garbage);
    assert_false(nbd_session_wants_input(peer->session));
    assert_false(nbd_session_over(peer->session));
    pod_fake_hold(peer->pod, false);
    peer_run(peer);
    assert_int_equal(peer_simple(peer, 1), 0);
    assert_true(nbd_session_over(peer->session));
    assert_non_null(strstr(nbd_session_error(peer->session)->detail, "magic"));
}

/* ---- failures of the pod */

static void a_status_becomes_an_errno_the_protocol_knows(void **state)
{
    struct peer *peer = *state;
    static const struct {
        int status;
        uint32_t error;
    } map[] = {
        {PS_EIO, NBD_EIO},
        {PS_EDATALOSS, NBD_EIO},
        {PS_EFULL, NBD_ENOSPC},
        {PS_EREADONLY, NBD_EPERM},
        {PS_EINVAL, NBD_EINVAL},
        {PS_EUNAVAILABLE, NBD_ESHUTDOWN},
        {PS_ENOTFOUND, NBD_ESHUTDOWN},
        {PS_EABORTED, NBD_EIO},
        {PS_ECANCELLED, NBD_EIO},
        {PS_EDEADLINE, NBD_EIO},
        {PS_ENOMEM, NBD_ENOMEM},
        {PS_EUNIMPLEMENTED, NBD_ENOTSUP},
        {PS_ERANGE, NBD_EINVAL},
        {PS_EINTERNAL, NBD_EIO},
    };
    for (size_t i = 0; i < sizeof map / sizeof map[0]; i++) {
        pod_fake_fail_next(peer->pod, map[i].status);
        peer_request(peer, NBD_CMD_READ, 0, i, 0, 4096);
        peer_run(peer);
        char message[256];
        assert_int_equal(peer_error(peer, i, message), map[i].error);
        assert_string_equal(message, ps_status_text(map[i].status));
    }
    assert_int_equal(nbd_error_of(PS_ERANGE, NBD_CMD_WRITE), NBD_ENOSPC);
    assert_int_equal(nbd_error_of(0, NBD_CMD_WRITE), 0);
}

static void a_full_pod_fails_writes_and_goes_on_reading(void **state)
{
    struct peer *peer = *state;
    uint8_t *data = pattern(65536, 4);
    write_ok(peer, 0, 65536, data);
    pod_fake_set_capacity(peer->pod, 65536);
    peer_write(peer, 0, 1, 1 << 20, 4096, data);
    peer_run(peer);
    assert_int_equal(peer_error(peer, 1, NULL), NBD_ENOSPC);
    (void)read_same(peer, 0, 0, 65536, data);
    peer_request(peer, NBD_CMD_TRIM, 0, 2, 0, 65536);
    peer_run(peer);
    assert_int_equal(peer_simple(peer, 2), 0);
    write_ok(peer, 1 << 20, 4096, data);
    free(data);
}

static void deleting_the_volume_by_force_tells_the_client_to_leave(void **state)
{
    struct peer *peer = *state;
    struct pod_manage req = {.op = POD_VOLUME_DELETE, .name = "vol", .force = true, .with_snapshots = true};
    assert_int_equal(pod_fake_manage(peer->pod, &req), 0);
    assert_int_equal(refused(peer, NBD_CMD_READ, 0, 0, 512, "not found"), NBD_ESHUTDOWN);
}

static void a_grown_volume_is_served_to_its_new_end(void **state)
{
    struct peer *peer = *state;
    struct pod_manage req = {.op = POD_VOLUME_RESIZE, .name = "vol", .size_bytes = 2 * PEER_VOLUME};
    assert_int_equal(pod_fake_manage(peer->pod, &req), 0);
    uint8_t *data = pattern(4096, 4);
    write_ok(peer, 2 * PEER_VOLUME - 4096, 4096, data);
    free(data);
}

/* ---- order */

static void replies_come_in_any_order_and_belong_to_their_requests(void **state)
{
    struct peer *peer = *state;
    enum {
        N = 64
    };
    for (uint64_t seed = 1; seed <= 20; seed++) {
        pod_fake_shuffle(peer->pod, seed);
        for (uint64_t i = 0; i < N; i++) {
            uint8_t *data = pattern(4096, (unsigned)(i + seed));
            peer_write(peer, 0, 1000 + i, i * 4096, 4096, data);
            peer_request(peer, NBD_CMD_READ, 0, 2000 + i, i * 4096, 4096);
            free(data);
        }
        peer_run(peer);
        bool moved = false;
        unsigned acks = 0, reads = 0;
        uint64_t last = 0;
        while (peer->in_at < peer->in_bytes) {
            uint64_t cookie;
            if (get_be32(peer->in + peer->in_at) == NBD_SIMPLE_REPLY_MAGIC) {
                const uint8_t *reply = peer_take(peer, NBD_SIMPLE_REPLY_BYTES);
                assert_int_equal(get_be32(reply + 4), 0);
                cookie = get_be64(reply + 8);
                acks++;
            } else {
                const struct peer_chunk chunk = peer_chunk(peer);
                cookie = chunk.cookie;
                const uint64_t i = cookie - 2000;
                assert_int_equal(get_be64(chunk.payload), i * 4096);
                uint8_t *data = pattern(4096, (unsigned)(i + seed));
                assert_memory_equal(chunk.payload + 8, data, 4096);
                free(data);
                reads++;
            }
            moved = moved || cookie < last;
            last = cookie;
        }
        assert_int_equal(acks, N);
        assert_int_equal(reads, N);
        assert_true(moved);
    }
}

/* ---- the end */

static void a_disconnect_waits_for_what_is_in_flight(void **state)
{
    struct peer *peer = *state;
    uint8_t *data = pattern(4096, 4);
    pod_fake_hold(peer->pod, true);
    peer_write(peer, 0, 1, 0, 4096, data);
    peer_request(peer, NBD_CMD_DISC, 0, 0, 0, 0);
    peer_expect_silence(peer);
    assert_false(nbd_session_over(peer->session));
    pod_fake_hold(peer->pod, false);
    peer_run(peer);
    assert_int_equal(peer_simple(peer, 1), 0);
    assert_true(nbd_session_over(peer->session));
    assert_int_equal(nbd_session_error(peer->session)->status, 0);
    free(data);
}

static void a_client_that_vanishes_leaves_its_requests_to_end_by_themselves(void **state)
{
    struct peer *peer = *state;
    uint8_t *data = pattern(65536, 4);
    pod_fake_hold(peer->pod, true);
    peer_write(peer, 0, 1, 0, 65536, data);
    peer_request(peer, NBD_CMD_READ, 0, 2, 0, 65536);
    peer_request(peer, NBD_CMD_WRITE, 0, 3, 0, 65536); /* whose payload never comes */
    peer_send(peer, data, 100);
    nbd_session_abandon(peer->session);
    assert_false(nbd_session_idle(peer->session));
    assert_int_equal(nbd_session_payload_bytes(peer->session), 2 * 65536);
    const unsigned before = peer->ready;
    pod_fake_hold(peer->pod, false);
    (void)pod_turn(peer->pod, 0);
    assert_true(peer->ready > before); /* or nobody would know */
    assert_true(nbd_session_idle(peer->session));
    assert_int_equal(nbd_session_payload_bytes(peer->session), 0);
    peer_reconnect(peer);
    peer_attach(peer, "vol", true);
    (void)read_same(peer, 0, 0, 65536, data); /* the whole write went in, the half one did not */
    free(data);
}

static void half_a_write_changes_nothing(void **state)
{
    struct peer *peer = *state;
    uint8_t *data = pattern(65536, 4);
    peer_request(peer, NBD_CMD_WRITE, 0, 1, 0, 65536);
    peer_send(peer, data, 65535);
    nbd_session_end(peer->session);
    peer_expect_silence(peer);
    assert_true(nbd_session_over(peer->session));
    assert_int_equal(pod_fake_count(peer->pod, POD_WRITE), 0);
    free(data);
}

#define T(name, with) cmocka_unit_test_setup_teardown(name, with, teardown)
/* ---- a node of a cluster */

static void attach_in_cluster(struct peer *peer)
{
    peer_gate(peer);
    peer_reconnect(peer);
    peer_attach(peer, "vol", true);
}

static void a_write_whose_end_is_unknown_gets_no_reply_and_ends_the_connection(void **state)
{
    struct peer *peer = *state;
    attach_in_cluster(peer);
    uint8_t data[4096] = {1};
    pod_fake_fail_next(peer->pod, PS_EUNAVAILABLE);
    peer_write(peer, 0, 7, 0, sizeof data, data);
    peer_run(peer);
    peer_expect_silence(peer);
    assert_true(nbd_session_ending(peer->session));
    assert_true(nbd_session_over(peer->session));
    assert_non_null(strstr(nbd_session_error(peer->session)->detail, "was lost before it answered"));
}

static void requests_wait_while_nobody_leads_and_end_well_when_this_node_does(void **state)
{
    struct peer *peer = *state;
    attach_in_cluster(peer);
    uint8_t data[4096] = {1}, back[4096];
    pod_fake_hold(peer->pod, true); /* the pod has them, and gives them back */
    peer_write(peer, 0, 1, 0, sizeof data, data);
    peer_request(peer, NBD_CMD_READ, 0, 2, 0, 4096);
    peer_lead(peer, false);
    pod_fake_hold(peer->pod, false);
    peer_request(peer, NBD_CMD_FLUSH, 0, 3, 0, 0);
    peer_wait(peer, 2000);
    peer_expect_silence(peer);
    peer_lead(peer, true);
    peer_wait(peer, 20);
    assert_int_equal(peer_simple(peer, 1), 0);
    assert_int_equal(peer_read_reply(peer, 2, 0, 4096, back), 1);
    assert_memory_equal(back, data, sizeof data);
    assert_int_equal(peer_simple(peer, 3), 0);
}

static void requests_that_wait_too_long_for_a_primary_end_the_connection(void **state)
{
    struct peer *peer = *state;
    attach_in_cluster(peer);
    peer_lead(peer, false);
    peer_request(peer, NBD_CMD_READ, 0, 7, 0, 4096);
    peer_wait(peer, 2400);
    assert_false(nbd_session_ending(peer->session));
    peer_wait(peer, 200);
    peer_expect_silence(peer);
    assert_true(nbd_session_over(peer->session));
    assert_non_null(strstr(nbd_session_error(peer->session)->detail, "no primary of the pod was found"));
}

static void what_waits_for_a_primary_dies_with_its_client(void **state)
{
    struct peer *peer = *state;
    attach_in_cluster(peer);
    uint8_t data[4096] = {1};
    peer_lead(peer, false);
    peer_write(peer, 0, 7, 0, sizeof data, data);
    peer_wait(peer, 100);
    nbd_session_abandon(peer->session);
    peer_wait(peer, 2);
    assert_true(nbd_session_idle(peer->session));
    peer_lead(peer, true);
    peer_wait(peer, 100);
    assert_int_equal(pod_fake_count(peer->pod, POD_WRITE), 0);
}

/* The client may write elsewhere from then on: nothing of it may land later. */
static void after_the_clients_last_word_nothing_of_it_goes_to_another_primary(void **state)
{
    struct peer *peer = *state;
    uint8_t data[4096] = {1};
    attach_in_cluster(peer);
    for (int disc = 0; disc < 2; disc++)
        for (int at_pod = 0; at_pod < 2; at_pod++) {
            pod_fake_hold(peer->pod, at_pod); /* the pod has it, and gives it back */
            peer_lead(peer, at_pod);
            peer_write(peer, 0, 7, 0, sizeof data, data);
            peer_wait(peer, 100);
            if (disc)
                peer_request(peer, NBD_CMD_DISC, 0, 8, 0, 0);
            else
                nbd_session_end(peer->session);
            peer_lead(peer, false);
            pod_fake_hold(peer->pod, false);
            peer_wait(peer, 2);
            assert_true(nbd_session_over(peer->session));
            assert_int_equal(nbd_session_error(peer->session)->status, 0);
            peer_lead(peer, true);
            peer_wait(peer, 100);
            assert_int_equal(pod_fake_count(peer->pod, POD_WRITE), 0);
            peer_reconnect(peer);
            peer_attach(peer, "vol", true);
        }
}

static void alone_an_unavailable_pod_is_told(void **state)
{
    struct peer *peer = *state;
    peer_reconnect(peer);
    peer_attach(peer, "vol", false);
    pod_fake_fail_next(peer->pod, PS_EUNAVAILABLE);
    peer_request(peer, NBD_CMD_READ, 0, 7, 0, 4096);
    peer_run(peer);
    assert_int_equal(peer_simple(peer, 7), NBD_ESHUTDOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_written_is_read_at_every_size, setup),
        T(payload_is_understood_in_any_pieces, setup),
        T(simple_replies_carry_data_too, setup_simple),
        T(a_read_of_nothing_but_zeroes_sends_none, setup),
        T(long_runs_of_zeroes_are_left_out_of_a_read, setup),
        T(every_mix_of_zeroes_and_data_reads_right, setup),
        T(trim_and_write_zeroes_read_as_zeroes, setup),
        T(flush_and_cache_succeed, setup),
        T(block_status_tells_data_zeroes_and_holes, setup),
        T(many_extents_are_described_as_far_as_a_reply_goes, setup),
        T(block_status_needs_its_context, setup_simple),
        T(wrong_requests_are_refused_each_with_its_reason, setup),
        T(the_payload_of_a_refused_write_is_skipped, setup),
        T(a_snapshot_refuses_every_change, setup_snapshot),
        T(a_wrong_request_magic_ends_the_connection_after_what_is_in_flight, setup),
        T(a_status_becomes_an_errno_the_protocol_knows, setup),
        T(a_full_pod_fails_writes_and_goes_on_reading, setup),
        T(deleting_the_volume_by_force_tells_the_client_to_leave, setup),
        T(a_grown_volume_is_served_to_its_new_end, setup),
        T(replies_come_in_any_order_and_belong_to_their_requests, setup),
        T(a_disconnect_waits_for_what_is_in_flight, setup),
        T(a_client_that_vanishes_leaves_its_requests_to_end_by_themselves, setup),
        T(half_a_write_changes_nothing, setup),
        T(a_write_whose_end_is_unknown_gets_no_reply_and_ends_the_connection, setup),
        T(requests_wait_while_nobody_leads_and_end_well_when_this_node_does, setup),
        T(requests_that_wait_too_long_for_a_primary_end_the_connection, setup),
        T(what_waits_for_a_primary_dies_with_its_client, setup),
        T(after_the_clients_last_word_nothing_of_it_goes_to_another_primary, setup),
        T(alone_an_unavailable_pod_is_told, setup),
    };
    return cmocka_run_group_tests_name("nbd_transmit", tests, NULL, NULL);
}
