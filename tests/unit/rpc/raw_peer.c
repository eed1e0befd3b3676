#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "raw_peer.h"

static void raw_receive(struct raw *r)
{
    const struct rpc_iov iov = {r->chunk, sizeof r->chunk};
    r->link->ops->recv(r->link, &iov, 1);
}

static void raw_received(struct rpc_link *link, int status, size_t bytes)
{
    struct raw *r = link->user;
    if (status) {
        r->lost = true;
        return;
    }
    assert_true(r->in_bytes + bytes <= sizeof r->in);
    memcpy(r->in + r->in_bytes, r->chunk, bytes);
    r->in_bytes += bytes;
    raw_receive(r);
}

static void raw_sent(struct rpc_link *link, int status, size_t bytes)
{
    struct raw *r = link->user;
    (void)status;
    (void)bytes;
    free(r->out);
    r->out = NULL;
}

static void raw_closed(struct rpc_link *link)
{
    struct raw *r = link->user;
    r->link = NULL;
    free(r->out);
    r->out = NULL;
}

static void raw_take(struct raw *r, struct rpc_link *link)
{
    static const struct rpc_link_events events = {raw_received, raw_sent, raw_closed};
    link->events = &events;
    link->user = r;
    r->link = link;
    raw_receive(r);
}

static void raw_dialled(struct rpc_dial *dial, int status, struct rpc_link *link, const char *detail)
{
    (void)detail;
    assert_int_equal(status, PS_OK);
    raw_take(container_of(dial, struct raw, dial), link);
}

static void raw_accepted(struct rpc_listener *listener, struct rpc_link *link)
{
    raw_take(container_of(listener, struct raw, listener), link);
}

static void raw_unlistened(struct rpc_listener *listener)
{
    container_of(listener, struct raw, listener)->unlistened = true;
}

void raw_run(struct raw *r, uint64_t for_ns)
{
    world_run(&r->world, for_ns);
}

void raw_send_bytes(struct raw *r, const void *bytes, size_t length)
{
    assert_null(r->out);
    r->out = malloc(length);
    memcpy(r->out, bytes, length);
    const struct rpc_iov iov = {r->out, length};
    r->link->ops->send(r->link, &iov, 1);
    raw_run(r, 10 * MS);
}

/* A frame with right checksums; `content` is metadata + body. */
size_t raw_build(uint8_t *out, struct rpc_frame frame, const void *content, const void *payload)
{
    const size_t content_bytes = frame.metadata_bytes + frame.body_bytes;
    frame.content_sum = rpc_content_sum(content, content_bytes);
    frame.payload_sum = rpc_payload_sum(payload, frame.payload_bytes);
    rpc_frame_encode(&frame, out);
    if (content_bytes)
        memcpy(out + RPC_FRAME_BYTES, content, content_bytes);
    if (frame.payload_bytes)
        memcpy(out + RPC_FRAME_BYTES + content_bytes, payload, frame.payload_bytes);
    return RPC_FRAME_BYTES + content_bytes + frame.payload_bytes;
}

void raw_send_frame(struct raw *r, struct rpc_frame frame, const void *content, const void *payload)
{
    uint8_t bytes[8192];
    raw_send_bytes(r, bytes, raw_build(bytes, frame, content, payload));
}

/* The frames that came back, in order. */
struct rpc_frame raw_reply(const struct raw *r, size_t index)
{
    struct rpc_frame frame = {.kind = 0};
    size_t at = 0;
    for (size_t i = 0; i <= index; i++) {
        assert_true(at + RPC_FRAME_BYTES <= r->in_bytes);
        assert_int_equal(rpc_frame_decode(r->in + at, &frame, NULL), PS_OK);
        at += RPC_FRAME_BYTES + frame.metadata_bytes + frame.body_bytes + frame.payload_bytes;
    }
    return frame;
}

const uint8_t *raw_reply_body(const struct raw *r, size_t index)
{
    size_t at = 0;
    for (size_t i = 0; i < index; i++) {
        const struct rpc_frame frame = raw_reply(r, i);
        at += RPC_FRAME_BYTES + frame.metadata_bytes + frame.body_bytes + frame.payload_bytes;
    }
    return r->in + at + RPC_FRAME_BYTES;
}

void raw_dial(struct raw *r)
{
    r->dial.done = raw_dialled;
    r->lost = false;
    r->in_bytes = 0;
    assert_int_equal(r->world.host->ops->dial(r->world.host, WORLD_ENDPOINT, &r->dial, NULL), PS_OK);
    raw_run(r, 10 * MS);
    assert_non_null(r->link);
}

void raw_listen(struct raw *r)
{
    r->listener.accepted = raw_accepted;
    r->listener.closed = raw_unlistened;
    assert_int_equal(r->world.node->ops->listen(r->world.node, RAW_ENDPOINT, &r->listener, NULL), PS_OK);
}
