#include "nbd_peer.h"

#include <stdio.h>
#include <stdlib.h>

static void on_ready(void *user)
{
    ((struct peer *)user)->ready++;
}

void peer_gate(struct peer *peer)
{
    lone_cluster_create(&peer->cluster, peer->pod);
    peer_lead(peer, true);
}

void peer_lead(struct peer *peer, bool lead)
{
    peer->cluster.elsewhere = !lead;
    pod_fake_lead(peer->pod, lead);
    host_images_news(peer->cluster.images);
}

void peer_wait(struct peer *peer, unsigned ms)
{
    for (unsigned i = 0; i < ms; i++) {
        rpc_mem_run(peer->cluster.net, rpc_mem_now(peer->cluster.net) + 1000000);
        peer_run(peer);
    }
}

static void connect_session(struct peer *peer)
{
    struct nbd_session_config config = {
        .pod = peer->pod, .buffers = &peer->buffers, .stats = &peer->stats, .ready = on_ready, .user = peer};
    config.images = peer->cluster.images;
    peer->session = nbd_session_create(&config);
    assert_non_null(peer->session);
}

struct peer *peer_create(uint64_t memory_bytes)
{
    struct peer *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    peer->pod = pod_fake_create();
    pod_fake_volume(peer->pod, "other", 1 << 20);
    pod_fake_volume(peer->pod, "vol", PEER_VOLUME);
    pod_fake_snapshot(peer->pod, "vol@snap");
    nbd_buffers_init(&peer->buffers, memory_bytes);
    connect_session(peer);
    return peer;
}

static void disconnect(struct peer *peer)
{
    nbd_session_abandon(peer->session);
    pod_fake_hold(peer->pod, false);
    while (!nbd_session_idle(peer->session)) {
        (void)pod_turn(peer->pod, 0);
        if (peer->cluster.net)
            rpc_mem_run(peer->cluster.net, rpc_mem_now(peer->cluster.net) + 1000000);
    }
    nbd_session_destroy(peer->session);
}

void peer_reconnect(struct peer *peer)
{
    disconnect(peer);
    peer->in_bytes = peer->in_at = 0;
    connect_session(peer);
}

void peer_destroy(struct peer *peer)
{
    disconnect(peer);
    if (peer->cluster.net)
        lone_cluster_destroy(&peer->cluster);
    nbd_buffers_fini(&peer->buffers);
    pod_destroy(peer->pod);
    free(peer->in);
    free(peer);
}

size_t peer_deliver(struct peer *peer, const void *data, size_t bytes)
{
    size_t sent = 0;
    while (sent < bytes && nbd_session_wants_input(peer->session)) {
        void *buf;
        size_t step = nbd_session_room(peer->session, &buf);
        assert_true(step > 0);
        if (step > bytes - sent)
            step = bytes - sent;
        if (peer->piece && step > peer->piece)
            step = peer->piece;
        memcpy(buf, (const uint8_t *)data + sent, step);
        nbd_session_received(peer->session, step);
        sent += step;
    }
    return sent;
}

void peer_send(struct peer *peer, const void *data, size_t bytes)
{
    assert_int_equal(peer_deliver(peer, data, bytes), bytes);
}

/* Takes what the session has to say, in odd pieces. */
static bool receive(struct peer *peer)
{
    bool any = false;
    for (;;) {
        struct iovec spans[7];
        const unsigned n = nbd_session_gather(peer->session, spans, 7);
        if (n == 0)
            return any;
        any = true;
        size_t total = 0;
        for (unsigned i = 0; i < n; i++)
            total += spans[i].iov_len;
        const size_t take = total > 5003 ? total - 1001 : total;
        if (peer->in_bytes + take > peer->in_room) {
            peer->in_room = 2 * (peer->in_bytes + take);
            peer->in = realloc(peer->in, peer->in_room);
            assert_non_null(peer->in);
        }
        size_t left = take;
        for (unsigned i = 0; i < n && left > 0; i++) {
            const size_t step = spans[i].iov_len < left ? spans[i].iov_len : left;
            memcpy(peer->in + peer->in_bytes, spans[i].iov_base, step);
            peer->in_bytes += step;
            left -= step;
        }
        nbd_session_sent(peer->session, take);
    }
}

void peer_run(struct peer *peer)
{
    for (bool moving = true; moving;) {
        moving = pod_turn(peer->pod, 5) == 5;
        moving = (!peer->deaf && receive(peer)) || moving;
        moving = nbd_session_resume(peer->session) || moving;
    }
}

const uint8_t *peer_take(struct peer *peer, size_t bytes)
{
    assert_true(peer->in_bytes - peer->in_at >= bytes);
    const uint8_t *at = peer->in + peer->in_at;
    peer->in_at += bytes;
    return at;
}

void peer_expect_silence(struct peer *peer)
{
    peer_run(peer);
    assert_int_equal(peer->in_bytes - peer->in_at, 0);
}

/* ---- handshake */

void peer_greet(struct peer *peer, uint32_t client_flags)
{
    peer_run(peer);
    const uint8_t *greeting = peer_take(peer, NBD_GREETING_BYTES);
    assert_memory_equal(greeting, "NBDMAGICIHAVEOPT\0\3", NBD_GREETING_BYTES);
    uint8_t flags[4];
    put_be32(flags, client_flags);
    peer_send(peer, flags, sizeof flags);
}

void peer_option(struct peer *peer, uint32_t option, const void *data, uint32_t bytes)
{
    uint8_t header[NBD_OPTION_BYTES];
    memcpy(header, "IHAVEOPT", 8);
    put_be32(header + 8, option);
    put_be32(header + 12, bytes);
    peer_send(peer, header, sizeof header);
    peer_send(peer, data, bytes);
    peer_run(peer);
}

uint32_t peer_option_reply(struct peer *peer, uint32_t option, uint32_t type, char data[5000])
{
    const uint8_t *header = peer_take(peer, NBD_OPTION_REPLY_BYTES);
    assert_true(get_be64(header) == NBD_OPTION_REPLY_MAGIC);
    assert_int_equal(get_be32(header + 8), option);
    assert_int_equal(get_be32(header + 12), type);
    const uint32_t length = get_be32(header + 16);
    assert_true(length < 5000);
    const uint8_t *at = peer_take(peer, length);
    if (data) {
        memcpy(data, at, length);
        data[length] = 0;
    }
    return length;
}

uint32_t peer_info_data(uint8_t *out, const char *name, unsigned nwants, const uint16_t *wants)
{
    const uint32_t length = (uint32_t)strlen(name);
    put_be32(out, length);
    memcpy(out + 4, name, length);
    put_be16(out + 4 + length, (uint16_t)nwants);
    for (unsigned i = 0; i < nwants; i++)
        put_be16(out + 6 + length + 2 * i, wants[i]);
    return 6 + length + 2 * nwants;
}

uint32_t peer_context_data(uint8_t *out, const char *name, unsigned nqueries, const char **queries)
{
    uint32_t length = (uint32_t)strlen(name);
    put_be32(out, length);
    memcpy(out + 4, name, length);
    uint8_t *at = out + 4 + length;
    put_be32(at, nqueries);
    at += 4;
    for (unsigned i = 0; i < nqueries; i++) {
        length = (uint32_t)strlen(queries[i]);
        put_be32(at, length);
        memcpy(at + 4, queries[i], length);
        at += 4 + length;
    }
    return (uint32_t)(at - out);
}

void peer_go(struct peer *peer, const char *name)
{
    uint8_t data[300];
    peer_option(peer, NBD_OPT_GO, data, peer_info_data(data, name, 0, NULL));
    (void)peer_option_reply(peer, NBD_OPT_GO, NBD_REP_INFO, NULL);
    (void)peer_option_reply(peer, NBD_OPT_GO, NBD_REP_INFO, NULL);
    (void)peer_option_reply(peer, NBD_OPT_GO, NBD_REP_ACK, NULL);
    assert_true(nbd_session_transmitting(peer->session));
}

void peer_attach(struct peer *peer, const char *name, bool structured)
{
    peer_greet(peer, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    if (structured) {
        peer_option(peer, NBD_OPT_STRUCTURED_REPLY, "", 0);
        (void)peer_option_reply(peer, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK, NULL);
        uint8_t data[300];
        const char *queries[] = {"base:allocation"};
        peer_option(peer, NBD_OPT_SET_META_CONTEXT, data, peer_context_data(data, name, 1, queries));
        (void)peer_option_reply(peer, NBD_OPT_SET_META_CONTEXT, NBD_REP_META_CONTEXT, NULL);
        (void)peer_option_reply(peer, NBD_OPT_SET_META_CONTEXT, NBD_REP_ACK, NULL);
    }
    peer_go(peer, name);
}

/* ---- transmission */

void peer_header(uint8_t out[NBD_REQUEST_BYTES], unsigned command, unsigned flags, uint64_t cookie,
                 uint64_t offset, uint32_t length)
{
    put_be32(out, NBD_REQUEST_MAGIC);
    put_be16(out + 4, (uint16_t)flags);
    put_be16(out + 6, (uint16_t)command);
    put_be64(out + 8, cookie);
    put_be64(out + 16, offset);
    put_be32(out + 24, length);
}

void peer_request(struct peer *peer, unsigned command, unsigned flags, uint64_t cookie, uint64_t offset,
                  uint32_t length)
{
    uint8_t header[NBD_REQUEST_BYTES];
    peer_header(header, command, flags, cookie, offset, length);
    peer_send(peer, header, sizeof header);
}

void peer_write(struct peer *peer, unsigned flags, uint64_t cookie, uint64_t offset, uint32_t length,
                const void *data)
{
    peer_request(peer, NBD_CMD_WRITE, flags, cookie, offset, length);
    peer_send(peer, data, length);
}

uint32_t peer_simple(struct peer *peer, uint64_t cookie)
{
    const uint8_t *reply = peer_take(peer, NBD_SIMPLE_REPLY_BYTES);
    assert_int_equal(get_be32(reply), NBD_SIMPLE_REPLY_MAGIC);
    assert_true(get_be64(reply + 8) == cookie);
    return get_be32(reply + 4);
}

struct peer_chunk peer_chunk(struct peer *peer)
{
    const uint8_t *header = peer_take(peer, NBD_CHUNK_BYTES);
    assert_int_equal(get_be32(header), NBD_STRUCTURED_REPLY_MAGIC);
    struct peer_chunk chunk = {
        .flags = get_be16(header + 4),
        .type = get_be16(header + 6),
        .cookie = get_be64(header + 8),
        .length = get_be32(header + 16),
    };
    chunk.payload = peer_take(peer, chunk.length);
    return chunk;
}

uint32_t peer_error(struct peer *peer, uint64_t cookie, char message[256])
{
    const struct peer_chunk chunk = peer_chunk(peer);
    assert_int_equal(chunk.type, NBD_REPLY_TYPE_ERROR);
    assert_int_equal(chunk.flags, NBD_REPLY_FLAG_DONE);
    assert_true(chunk.cookie == cookie);
    assert_int_equal(chunk.length, 6 + get_be16(chunk.payload + 4));
    if (message)
        (void)snprintf(message, 256, "%.*s", (int)(chunk.length - 6), (const char *)chunk.payload + 6);
    return get_be32(chunk.payload);
}

unsigned peer_read_reply(struct peer *peer, uint64_t cookie, uint64_t offset, uint32_t length, uint8_t *data)
{
    uint8_t *seen = calloc(length, 1);
    assert_non_null(seen);
    for (unsigned n = 1;; n++) {
        const struct peer_chunk chunk = peer_chunk(peer);
        assert_true(chunk.cookie == cookie);
        const uint64_t at = get_be64(chunk.payload) - offset;
        const uint32_t bytes =
            chunk.type == NBD_REPLY_TYPE_OFFSET_HOLE ? get_be32(chunk.payload + 8) : chunk.length - 8;
        assert_true(bytes > 0 && at <= length && bytes <= length - at);
        for (uint64_t i = at; i < at + bytes; i++)
            assert_int_equal(seen[i]++, 0);
        if (chunk.type == NBD_REPLY_TYPE_OFFSET_HOLE) {
            assert_int_equal(chunk.length, 12);
            memset(data + at, 0, bytes);
        } else {
            assert_int_equal(chunk.type, NBD_REPLY_TYPE_OFFSET_DATA);
            memcpy(data + at, chunk.payload + 8, bytes);
        }
        if (chunk.flags & NBD_REPLY_FLAG_DONE) {
            assert_null(memchr(seen, 0, length));
            free(seen);
            return n;
        }
    }
}
