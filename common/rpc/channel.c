#include "common/rpc/channel.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/message.h"

enum {
    CHUNK_BYTES = 64 * 1024, /* of the receive buffer, and of a staging buffer */
    COPY_MAX = 16 * 1024,    /* payloads up to this are copied into staging: NNG takes 8 pieces a send only */
    LEAVE_NS = 1000 * 1000 * 1000,
};

/* A piece of the output: bytes of its own, or a payload somewhere else. */
struct rpc_out {
    struct list_node link;
    const uint8_t *data;
    size_t length, sent, room; /* room: of `own` */
    struct rpc_outgoing payload;
    uint8_t own[];
};

/* ---- ending */

static void release_out(struct rpc_out *out)
{
    if (out->payload.done)
        out->payload.done(out->payload.user, out->payload.data, out->payload.length);
    free(out);
}

static void link_closed(struct rpc_link *link)
{
    struct rpc_channel *ch = link->user;
    assert(ch->state == RPC_CHANNEL_CLOSING);
    rpc_task_stop(&ch->task);
    for (struct list_node *node; (node = list_pop_front(&ch->out));)
        release_out(container_of(node, struct rpc_out, link));
    free(ch->spare);
    free(ch->content);
    if (ch->payload)
        rpc_pool_put(ch->pool, ch->payload, ch->frame.payload_bytes);
    free(ch->chunk);
    ch->events->closed(ch, &ch->reason);
}

void rpc_channel_close(struct rpc_channel *ch, int status, const char *detail)
{
    if (ch->state == RPC_CHANNEL_CLOSING)
        return;
    if (ch->state == RPC_CHANNEL_OPEN) /* who was leaving keeps the first reason */
        (void)ps_error_set(&ch->reason, status, "%s", detail);
    ch->state = RPC_CHANNEL_CLOSING;
    ch->link->ops->close(ch->link);
}

void rpc_channel_leave(struct rpc_channel *ch, int status, const char *detail)
{
    if (ch->state != RPC_CHANNEL_OPEN)
        return;
    Pstorage__V1__Failure failure = PSTORAGE__V1__FAILURE__INIT;
    char text[sizeof ch->reason.detail];
    (void)ps_error_set(&ch->reason, status, "%s", detail);
    memcpy(text, ch->reason.detail, sizeof text);
    rpc_utf8_repair(text);
    failure.detail = text;
    struct rpc_frame frame = {.kind = ch->greeted ? RPC_GOODBYE : RPC_GREETING, .status = status};
    if (!rpc_channel_send(ch, &frame, NULL, 0, &failure.base, NULL))
        return;
    ch->state = RPC_CHANNEL_LEAVING;
    ch->leave_by_ns = rpc_now(ch->transport) + LEAVE_NS;
    rpc_task_at(&ch->task, ch->leave_by_ns);
    rpc_task_wake(&ch->task);
}

/* ---- sending */

static struct rpc_out *new_out(struct rpc_channel *ch, size_t room)
{
    struct rpc_out *out = ch->spare;
    if (out && room <= out->room) {
        ch->spare = NULL;
    } else {
        if (room < CHUNK_BYTES && room > 0)
            room = CHUNK_BYTES;
        out = malloc(sizeof *out + room);
        if (!out)
            return NULL;
        out->room = room;
    }
    out->data = out->own;
    out->length = out->sent = 0;
    out->payload = (struct rpc_outgoing){0};
    list_push_back(&ch->out, &out->link);
    return out;
}

/* Room for `size` bytes at the end of the output, in one piece. */
static uint8_t *stage(struct rpc_channel *ch, size_t size)
{
    struct rpc_out *out = list_empty(&ch->out) ? NULL : container_of(ch->out.prev, struct rpc_out, link);
    if (!out || out->room - out->length < size || out->room == 0) {
        out = new_out(ch, size);
        if (!out)
            return NULL;
    }
    /* Bytes after `length` are not part of a send in flight: those are never touched. */
    uint8_t *at = out->own + out->length;
    out->length += size;
    ch->unsent += size;
    return at;
}

static bool attach(struct rpc_channel *ch, const struct rpc_outgoing *payload)
{
    struct rpc_out *out = malloc(sizeof *out);
    if (!out)
        return false;
    *out = (struct rpc_out){.data = payload->data, .length = payload->length, .payload = *payload};
    list_push_back(&ch->out, &out->link);
    ch->unsent += payload->length;
    return true;
}

bool rpc_channel_send(struct rpc_channel *ch, struct rpc_frame *frame, const uint8_t *content,
                      size_t content_bytes, const ProtobufCMessage *message,
                      const struct rpc_outgoing *payload)
{
    const size_t packed = message ? protobuf_c_message_get_packed_size(message) : 0;
    const size_t payload_bytes = payload ? payload->length : 0;
    const bool copied = payload_bytes <= COPY_MAX;
    const size_t size = RPC_FRAME_BYTES + content_bytes + packed;
    assert(packed <= RPC_BODY_MAX && payload_bytes <= RPC_PAYLOAD_MAX);
    frame->body_bytes = (uint32_t)(content_bytes - frame->metadata_bytes + packed);
    frame->payload_bytes = (uint32_t)payload_bytes;
    const bool open = ch->state == RPC_CHANNEL_OPEN;
    uint8_t *at = open ? stage(ch, size + (copied ? payload_bytes : 0)) : NULL;
    if (!at) {
        if (open)
            rpc_channel_close(ch, PS_ENOMEM, "out of memory");
        if (payload && payload->done)
            payload->done(payload->user, payload->data, payload->length);
        return false;
    }
    if (content_bytes)
        memcpy(at + RPC_FRAME_BYTES, content, content_bytes);
    if (message)
        (void)protobuf_c_message_pack(message, at + RPC_FRAME_BYTES + content_bytes);
    frame->content_sum = rpc_content_sum(at + RPC_FRAME_BYTES, content_bytes + packed);
    frame->payload_sum = payload ? rpc_payload_sum(payload->data, payload_bytes) : 0;
    rpc_frame_encode(frame, at);
    rpc_task_wake(&ch->task);
    if (!payload)
        return true;
    if (copied) {
        memcpy(at + size, payload->data, payload_bytes);
    } else if (attach(ch, payload)) {
        return true;
    } else {
        rpc_channel_close(ch, PS_ENOMEM, "out of memory"); /* the header promised more than will come */
    }
    if (payload->done)
        payload->done(payload->user, payload->data, payload->length);
    return rpc_channel_is_open(ch);
}

static void flush(struct rpc_channel *ch)
{
    if (ch->sending || ch->state == RPC_CHANNEL_CLOSING)
        return;
    struct rpc_iov iov[RPC_IOV_MAX];
    unsigned count = 0;
    list_for_each(node, &ch->out)
    {
        const struct rpc_out *out = container_of(node, struct rpc_out, link);
        assert(out->sent < out->length);
        /* A send only reads: the vector is shared with receives, hence not const. */
        iov[count++] =
            (struct rpc_iov){(uint8_t *)(uintptr_t)(out->data + out->sent), out->length - out->sent};
        if (count == RPC_IOV_MAX)
            break;
    }
    if (count == 0) {
        if (ch->state == RPC_CHANNEL_LEAVING)
            rpc_channel_close(ch, ch->reason.status, ch->reason.detail);
        return;
    }
    ch->sending = true;
    ch->sent_ns = rpc_now(ch->transport);
    if (ch->task.deadline_ns == RPC_NEVER)
        rpc_task_at(&ch->task, ch->sent_ns + RPC_SEND_STALL_NS);
    ch->link->ops->send(ch->link, iov, count);
}

static void link_sent(struct rpc_link *link, int status, size_t bytes)
{
    struct rpc_channel *ch = link->user;
    ch->sending = false;
    if (ch->state == RPC_CHANNEL_CLOSING)
        return;
    if (status) {
        rpc_channel_close(ch, status, "connection lost");
        return;
    }
    assert(bytes <= ch->unsent);
    ch->unsent -= bytes;
    while (bytes > 0) {
        struct rpc_out *out = container_of(ch->out.next, struct rpc_out, link);
        const size_t part = out->length - out->sent < bytes ? out->length - out->sent : bytes;
        out->sent += part;
        bytes -= part;
        if (out->sent < out->length)
            break;
        list_remove(&out->link);
        if (out->room == CHUNK_BYTES && !ch->spare)
            ch->spare = out;
        else
            release_out(out);
    }
    /* Not at once: what the rest of this turn adds goes along. */
    if (ch->unsent > 0 || ch->state == RPC_CHANNEL_LEAVING)
        rpc_task_wake(&ch->task);
    if (ch->events->progress && ch->state != RPC_CHANNEL_CLOSING)
        ch->events->progress(ch);
}

/* ---- receiving */

static void violated(struct rpc_channel *ch, const struct ps_error *err)
{
    rpc_channel_leave(ch, err->status, err->detail);
}

static void drop_frame(struct rpc_channel *ch)
{
    free(ch->content);
    ch->content = NULL;
    if (ch->payload)
        rpc_pool_put(ch->pool, ch->payload, ch->frame.payload_bytes);
    ch->payload = NULL;
    ch->content_have = ch->payload_have = 0;
    ch->have_header = false;
}

/* The frame is complete: hands it to the owner. */
static void deliver(struct rpc_channel *ch, const uint8_t *content)
{
    struct ps_error err = {0};
    const size_t content_bytes = ch->frame.metadata_bytes + ch->frame.body_bytes;
    if (rpc_content_sum(content, content_bytes) != ch->frame.content_sum ||
        rpc_payload_sum(ch->payload, ch->frame.payload_bytes) != ch->frame.payload_sum) {
        (void)ps_error_set(&err, PS_EPROTOCOL, "checksum of a frame is wrong");
        violated(ch, &err);
    } else if (ch->frame.kind == RPC_PING) {
        struct rpc_frame pong = {.kind = RPC_PONG};
        (void)rpc_channel_send(ch, &pong, NULL, 0, NULL, NULL);
    } else if (ch->frame.kind != RPC_PONG) {
        struct rpc_incoming in = {&ch->frame, content, content + ch->frame.metadata_bytes, ch->payload};
        const int status = ch->events->frame(ch, &in, &err);
        ch->payload = in.payload;
        if (status)
            violated(ch, &err);
    }
    drop_frame(ch);
}

/* Takes the next step on what is in the chunk; false: more bytes are needed, or nobody wants them. */
static bool parse(struct rpc_channel *ch)
{
    if (ch->state != RPC_CHANNEL_OPEN)
        return false;
    const size_t there = ch->end - ch->start;
    if (!ch->have_header) {
        if (there < RPC_FRAME_BYTES)
            return false;
        ch->held_back = ch->events->admit && !ch->events->admit(ch);
        if (ch->held_back)
            return false;
        struct ps_error err;
        if (rpc_frame_decode(ch->chunk + ch->start, &ch->frame, &err)) {
            violated(ch, &err);
            return false;
        }
        /* Before a peer is known it gets no more memory than a greeting takes. */
        if (!ch->greeted &&
            (size_t)ch->frame.metadata_bytes + ch->frame.body_bytes + ch->frame.payload_bytes >
                RPC_GREETING_MAX) {
            (void)ps_error_set(&err, PS_EPROTOCOL,
                               "a frame before the greetings are done is longer than %d bytes",
                               RPC_GREETING_MAX);
            violated(ch, &err);
            return false;
        }
        ch->have_header = true;
        const size_t content = ch->frame.metadata_bytes + ch->frame.body_bytes;
        const bool large = RPC_FRAME_BYTES + content > CHUNK_BYTES;
        if (large)
            ch->content = malloc(content);
        if (ch->frame.payload_bytes)
            ch->payload = rpc_pool_get(ch->pool, ch->frame.payload_bytes);
        if ((large && !ch->content) || (ch->frame.payload_bytes && !ch->payload)) {
            rpc_channel_close(ch, PS_ENOMEM, "out of memory");
            return false;
        }
    }

    /* The header and a small content stay in the chunk, at `start`, until the frame is complete. */
    const size_t content_bytes = ch->frame.metadata_bytes + ch->frame.body_bytes;
    size_t head = RPC_FRAME_BYTES;
    const uint8_t *content;
    if (ch->content) {
        const size_t from = ch->start + head, missing = content_bytes - ch->content_have;
        const size_t part = ch->end - from < missing ? ch->end - from : missing;
        memcpy(ch->content + ch->content_have, ch->chunk + from, part);
        ch->content_have += part;
        memmove(ch->chunk + from, ch->chunk + from + part, ch->end - from - part);
        ch->end -= part;
        if (ch->content_have < content_bytes)
            return false;
        content = ch->content;
    } else {
        head += content_bytes;
        if (there < head)
            return false;
        content = ch->chunk + ch->start + RPC_FRAME_BYTES;
    }

    const size_t missing = ch->frame.payload_bytes - ch->payload_have;
    const size_t from = ch->start + head, have = ch->end - from;
    const size_t part = have < missing ? have : missing;
    if (part > 0) {
        memcpy(ch->payload + ch->payload_have, ch->chunk + from, part);
        ch->payload_have += part;
    }
    if (part < missing) {
        ch->end = from; /* all that came after the content was payload */
        return false;
    }
    ch->start = from + part;
    deliver(ch, content);
    return true;
}

static void receive(struct rpc_channel *ch)
{
    while (parse(ch)) {
    }
    if (ch->state != RPC_CHANNEL_OPEN || ch->receiving || ch->held_back)
        return;
    memmove(ch->chunk, ch->chunk + ch->start, ch->end - ch->start);
    ch->end -= ch->start;
    ch->start = 0;
    struct rpc_iov iov[3];
    unsigned count = 0;
    if (ch->have_header) {
        const size_t content_bytes = ch->frame.metadata_bytes + ch->frame.body_bytes;
        if (ch->content && ch->content_have < content_bytes)
            iov[count++] = (struct rpc_iov){ch->content + ch->content_have, content_bytes - ch->content_have};
        /* Straight into the payload once nothing else can come before it. */
        if ((count > 0 || ch->content || ch->end == RPC_FRAME_BYTES + content_bytes) &&
            ch->payload_have < ch->frame.payload_bytes)
            iov[count++] =
                (struct rpc_iov){ch->payload + ch->payload_have, ch->frame.payload_bytes - ch->payload_have};
    }
    if (ch->end < CHUNK_BYTES)
        iov[count++] = (struct rpc_iov){ch->chunk + ch->end, CHUNK_BYTES - ch->end};
    assert(count > 0);
    ch->receiving = true;
    ch->link->ops->recv(ch->link, iov, count);
}

static void link_received(struct rpc_link *link, int status, size_t bytes)
{
    struct rpc_channel *ch = link->user;
    ch->receiving = false;
    if (ch->state == RPC_CHANNEL_CLOSING)
        return;
    if (status) {
        rpc_channel_close(ch, status, "the peer closed the connection");
        return;
    }
    ch->heard_ns = rpc_now(ch->transport);
    ch->ping_ns = 0;
    /* In the order of the vector that `receive` made. */
    if (ch->have_header) {
        const size_t content_bytes = ch->frame.metadata_bytes + ch->frame.body_bytes;
        if (ch->content) {
            const size_t missing = content_bytes - ch->content_have, part = bytes < missing ? bytes : missing;
            ch->content_have += part;
            bytes -= part;
        }
        if (ch->content || ch->end == RPC_FRAME_BYTES + content_bytes) {
            const size_t missing = ch->frame.payload_bytes - ch->payload_have,
                         part = bytes < missing ? bytes : missing;
            ch->payload_have += part;
            bytes -= part;
        }
    }
    ch->end += bytes;
    assert(ch->end <= CHUNK_BYTES);
    receive(ch);
}

void rpc_channel_resume(struct rpc_channel *ch)
{
    if (ch->held_back)
        rpc_task_wake(&ch->task);
}

/* ---- turn */

static void watch_peer(struct rpc_channel *ch, uint64_t now_ns)
{
    uint64_t next = RPC_NEVER;
    if (ch->state == RPC_CHANNEL_LEAVING) {
        next = ch->leave_by_ns;
        if (now_ns >= next) {
            rpc_channel_close(ch, ch->reason.status, ch->reason.detail);
            return;
        }
    }
    if (ch->sending) {
        /* Who holds back others may be held back itself, and says so. A server need not be as patient. */
        const bool told = !ch->events->admit && ch->heard_ns > ch->sent_ns;
        const uint64_t stalled = (told ? ch->heard_ns : ch->sent_ns) + RPC_SEND_STALL_NS;
        if (now_ns >= stalled) {
            rpc_channel_close(ch, PS_EDEADLINE, "the peer takes no data");
            return;
        }
        next = stalled < next ? stalled : next;
    }
    if (ch->state == RPC_CHANNEL_OPEN && ch->greeted && ch->held_back) {
        if (now_ns >= ch->told_ns + ch->keepalive_ns / 2) {
            struct rpc_frame pong = {.kind = RPC_PONG};
            if (!rpc_channel_send(ch, &pong, NULL, 0, NULL, NULL))
                return;
            ch->told_ns = now_ns;
        }
        next = ch->told_ns + ch->keepalive_ns / 2 < next ? ch->told_ns + ch->keepalive_ns / 2 : next;
    }
    /* While we don't read, silence says nothing about the peer. */
    if (ch->state == RPC_CHANNEL_OPEN && ch->greeted && ch->receiving) {
        /* Counted from the ping, so that a process that was stopped for a while doesn't blame its peer. */
        uint64_t check = (ch->ping_ns ? ch->ping_ns : ch->heard_ns) + ch->keepalive_ns;
        if (now_ns >= check && ch->ping_ns) {
            rpc_channel_close(ch, PS_EDEADLINE, "the peer is silent");
            return;
        }
        if (now_ns >= check) {
            struct rpc_frame ping = {.kind = RPC_PING};
            if (!rpc_channel_send(ch, &ping, NULL, 0, NULL, NULL))
                return;
            ch->ping_ns = now_ns;
            check = now_ns + ch->keepalive_ns;
        }
        next = check < next ? check : next;
    }
    if (next < ch->task.deadline_ns)
        rpc_task_at(&ch->task, next);
}

static void channel_turn(struct rpc_task *task, uint64_t now_ns)
{
    struct rpc_channel *ch = container_of(task, struct rpc_channel, task);
    if (ch->state == RPC_CHANNEL_CLOSING)
        return;
    if (!ch->receiving && ch->state == RPC_CHANNEL_OPEN)
        receive(ch);
    flush(ch);
    if (ch->state != RPC_CHANNEL_CLOSING)
        watch_peer(ch, now_ns);
}

void rpc_channel_open(struct rpc_channel *ch, struct rpc_transport *transport, struct rpc_link *link,
                      struct rpc_pool *pool, const struct rpc_channel_events *events)
{
    static const struct rpc_link_events link_events = {link_received, link_sent, link_closed};
    *ch = (struct rpc_channel){.transport = transport,
                               .link = link,
                               .pool = pool,
                               .events = events,
                               .keepalive_ns = RPC_KEEPALIVE_NS};
    list_init(&ch->out);
    ch->heard_ns = ch->sent_ns = rpc_now(transport);
    link->events = &link_events;
    link->user = ch;
    rpc_task_init(&transport->schedule, &ch->task, channel_turn);
    ch->chunk = malloc(CHUNK_BYTES);
    if (ch->chunk)
        rpc_task_wake(&ch->task); /* starts to receive */
    else
        rpc_channel_close(ch, PS_ENOMEM, "out of memory");
}
