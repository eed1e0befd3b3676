/* Any bytes as an NBD client's requests. The first byte chooses the pieces in
 * which they arrive, the second: bit 0 structured replies, bit 1 a snapshot,
 * bit 2 completions in another order, bit 3 the client vanishes in the end.
 * With structured replies, what comes back must be well formed, and each
 * request must be answered once. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/host/nbd_session.h"
#include "node/host/nbd_wire.h"
#include "tests/support/pod_fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    STRUCTURED = 1,
    SNAPSHOT = 2,
    SHUFFLE = 4,
    VANISH = 8
};

struct client {
    struct nbd_session *session;
    struct pod *pod;
    uint8_t *got;
    size_t bytes, room;
    bool keep;
};

static void on_ready(void *user)
{
    (void)user;
}

static void drain(struct client *c)
{
    for (bool moving = true; moving;) {
        moving = pod_turn(c->pod, 5) == 5;
        struct iovec spans[8];
        const unsigned n = nbd_session_gather(c->session, spans, 8);
        size_t total = 0;
        for (unsigned i = 0; i < n; i++) {
            const size_t length = spans[i].iov_len;
            total += length;
            if (!c->keep)
                continue;
            if (c->bytes + length > c->room) {
                c->room = 2 * (c->bytes + length);
                c->got = realloc(c->got, c->room);
                assert(c->got);
            }
            memcpy(c->got + c->bytes, spans[i].iov_base, length);
            c->bytes += length;
        }
        if (total > 0)
            nbd_session_sent(c->session, total);
        moving = nbd_session_resume(c->session) || moving || total > 0;
    }
}

static void deliver(struct client *c, const uint8_t *data, size_t size, size_t piece)
{
    for (size_t at = 0; at < size;) {
        if (!nbd_session_wants_input(c->session)) {
            drain(c);
            if (!nbd_session_wants_input(c->session))
                return; /* it has ended */
        }
        void *buf;
        size_t step = nbd_session_room(c->session, &buf);
        step = step < piece ? step : piece;
        step = step < size - at ? step : size - at;
        memcpy(buf, data + at, step);
        nbd_session_received(c->session, step);
        at += step;
    }
}

/* Counts the replies, after checking that they are well formed. */
static uint64_t count_replies(const uint8_t *at, size_t bytes)
{
    uint64_t replies = 0;
    while (bytes > 0) {
        size_t step = NBD_SIMPLE_REPLY_BYTES;
        assert(bytes >= step);
        if (get_be32(at) == NBD_SIMPLE_REPLY_MAGIC) {
            replies++;
        } else {
            assert(bytes >= NBD_CHUNK_BYTES && get_be32(at) == NBD_STRUCTURED_REPLY_MAGIC);
            step = NBD_CHUNK_BYTES + get_be32(at + 16);
            assert(step <= bytes);
            replies += get_be16(at + 4) & NBD_REPLY_FLAG_DONE;
        }
        at += step;
        bytes -= step;
    }
    return replies;
}

static void attach(struct client *c, bool structured, bool snapshot)
{
    static const uint8_t flags[] = {0, 0, 0, 3};
    static const uint8_t reply[] = "IHAVEOPT\0\0\0\x08\0\0\0\0";
    static const uint8_t context[] = "IHAVEOPT\0\0\0\x0a\0\0\0\x1e\0\0\0\x03vol\0\0\0\x01\0\0\0\x0f"
                                     "base:allocation";
    static const uint8_t go[] = "IHAVEOPT\0\0\0\x01\0\0\0\x03vol";
    static const uint8_t go_snapshot[] = "IHAVEOPT\0\0\0\x01\0\0\0\x08vol@snap";
    deliver(c, flags, sizeof flags, SIZE_MAX);
    if (structured) {
        deliver(c, reply, sizeof reply - 1, SIZE_MAX);
        deliver(c, context, sizeof context - 1, SIZE_MAX);
    }
    if (snapshot)
        deliver(c, go_snapshot, sizeof go_snapshot - 1, SIZE_MAX);
    else
        deliver(c, go, sizeof go - 1, SIZE_MAX);
    drain(c);
    assert(nbd_session_transmitting(c->session));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const size_t piece = data[0] ? data[0] : SIZE_MAX;
    const uint8_t how = data[1];
    struct pod *pod = pod_fake_create();
    pod_fake_volume(pod, "vol", 1 << 20);
    pod_fake_snapshot(pod, "vol@snap");
    struct nbd_buffers buffers;
    struct nbd_transmit_stats stats = {0};
    nbd_buffers_init(&buffers, NBD_BUFFER_MAX);
    const struct nbd_session_config config = {
        .pod = pod, .buffers = &buffers, .stats = &stats, .ready = on_ready};
    struct client c = {.pod = pod, .session = nbd_session_create(&config)};
    attach(&c, how & STRUCTURED, how & SNAPSHOT);
    pod_fake_shuffle(pod, how & SHUFFLE ? how : 0);
    c.keep = how & STRUCTURED;
    deliver(&c, data + 2, size - 2, piece);
    if (!(how & VANISH)) {
        nbd_session_end(c.session);
        drain(&c);
        assert(nbd_session_over(c.session));
        if (how & STRUCTURED) {
            /* The last may be a WRITE whose payload never came whole. */
            const uint64_t replies = count_replies(c.got, c.bytes);
            assert(replies == stats.requests || replies + 1 == stats.requests);
        }
    }
    nbd_session_abandon(c.session);
    while (pod_turn(pod, 5) == 5)
        ;
    nbd_session_destroy(c.session);
    nbd_buffers_fini(&buffers);
    pod_destroy(pod);
    free(c.got);
    return 0;
}
