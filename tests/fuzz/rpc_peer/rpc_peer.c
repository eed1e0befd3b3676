/* A whole server, or a whole client, against a peer that the input plays:
 * frames with right checksums but any other contents, raw bytes, time that
 * passes, streams that end. Nothing may crash, leak or stay behind. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "common/rpc/frame.h"
#include "common/rpc/message.h"
#include "common/rpc/transport.h"
#include "pstorage/v1/block_io.pb-c.h"
#include "pstorage/v1/events.pb-c.h"
#include "pstorage/v1/volumes.pb-c.h"
#include "rpc_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    OUTCOMES = 8
};

struct peer {
    struct rpc_world world;
    struct rpc_dial dial;
    struct rpc_listener listener;
    struct rpc_link *link;
    bool lost, closing, sending;
    uint8_t *out, in[8192];
    struct outcome outcomes[OUTCOMES];
    size_t calls;
    const uint8_t *data;
    size_t size;
};

static unsigned take(struct peer *p, unsigned bytes)
{
    unsigned v = 0;
    for (; bytes > 0; bytes--) {
        v = v << 8 | (p->size ? *p->data : 0);
        p->data += p->size > 0;
        p->size -= p->size > 0;
    }
    return v;
}

static void receive(struct peer *p)
{
    const struct rpc_iov iov = {p->in, sizeof p->in};
    p->link->ops->recv(p->link, &iov, 1);
}

static void received(struct rpc_link *link, int status, size_t bytes)
{
    struct peer *p = link->user;
    (void)bytes;
    if (status)
        p->lost = true;
    else
        receive(p);
}

static void sent(struct rpc_link *link, int status, size_t bytes)
{
    struct peer *p = link->user;
    (void)status;
    (void)bytes; /* what didn't fit is cut off: one more thing to cope with */
    p->sending = false;
    free(p->out);
    p->out = NULL;
}

static void closed(struct rpc_link *link)
{
    struct peer *p = link->user;
    p->link = NULL;
    p->sending = false;
    free(p->out);
    p->out = NULL;
}

static void take_link(struct peer *p, struct rpc_link *link)
{
    static const struct rpc_link_events events = {received, sent, closed};
    if (p->link) {
        rpc_link_discard(link);
        return;
    }
    link->events = &events;
    link->user = p;
    p->link = link;
    p->lost = p->closing = false;
    receive(p);
}

static void dialled(struct rpc_dial *dial, int status, struct rpc_link *link, const char *detail)
{
    (void)detail;
    if (status == PS_OK)
        take_link(container_of(dial, struct peer, dial), link);
}

static void accepted(struct rpc_listener *listener, struct rpc_link *link)
{
    take_link(container_of(listener, struct peer, listener), link);
}

static void unlistened(struct rpc_listener *listener)
{
    (void)listener;
}

static void put(struct peer *p, const void *bytes, size_t length)
{
    if (!p->link || p->closing || p->sending || length == 0)
        return;
    p->out = malloc(length);
    memcpy(p->out, bytes, length);
    p->sending = true;
    const struct rpc_iov iov = {p->out, length};
    p->link->ops->send(p->link, &iov, 1);
    world_run(&p->world, 3 * MS);
}

static void put_raw(struct peer *p)
{
    size_t length = take(p, 1);
    length = length < p->size ? length : p->size;
    put(p, p->data, length);
    p->data += length;
    p->size -= length;
}

static uint64_t method(unsigned number)
{
    static const char *const volumes[] = {"Create", "Get", "Delete", "Set", "List"};
    if (number % 8 < 5)
        return rpc_method_id(&pstorage__v1__volumes__descriptor, volumes[number % 8]);
    if (number % 8 == 5)
        return rpc_method_id(&pstorage__v1__block_io__descriptor, "Write");
    return rpc_method_id(&pstorage__v1__events__descriptor, "Follow");
}

static void put_frame(struct peer *p)
{
    static uint8_t frame[RPC_FRAME_BYTES + 256 + 65536];
    memset(frame, 0, sizeof frame);
    put_le32(frame, RPC_FRAME_MAGIC);
    put_le16(frame + 4, RPC_FRAME_VERSION);
    const unsigned kind = take(p, 1) % 10;
    frame[6] = (uint8_t)kind;
    const unsigned id = take(p, 1); /* small ones, and those a client gives: sequence << 8 | slot */
    put_le64(frame + 8, id < 128 ? id : (uint64_t)(id - 127) << 8 | take(p, 1) % 4);
    if (kind == RPC_REQUEST) {
        put_le64(frame + 16, method(take(p, 1)));
        put_le64(frame + 24, take(p, 1) * MS);
    } else if (kind == RPC_RESPONSE || kind == RPC_GREETING || kind == RPC_GOODBYE) {
        put_le32(frame + 32, take(p, 1));
    }
    if (kind == RPC_GREETING || kind == RPC_PING || kind == RPC_PONG || kind == RPC_GOODBYE)
        put_le64(frame + 8, 0);
    const size_t metadata = kind == RPC_REQUEST ? take(p, 1) % 64 : 0;
    const size_t body = kind == RPC_CANCEL || kind == RPC_PING || kind == RPC_PONG ? 0 : take(p, 1) % 128;
    const size_t payload = kind == RPC_REQUEST || kind == RPC_RESPONSE ? take(p, 2) : 0;
    uint8_t *content = frame + RPC_FRAME_BYTES;
    for (size_t i = 0; i < metadata + body; i++)
        content[i] = (uint8_t)take(p, 1);
    put_le32(frame + 36, (uint32_t)metadata);
    put_le32(frame + 40, (uint32_t)body);
    put_le32(frame + 44, (uint32_t)payload);
    put_le64(frame + 48, rpc_payload_sum(content + metadata + body, payload));
    put_le32(frame + 56, rpc_content_sum(content, metadata + body));
    put_le32(frame + 60, rpc_content_sum(frame, 60));
    put(p, frame, RPC_FRAME_BYTES + metadata + body + payload);
}

static void put_greeting(struct peer *p, bool as_server)
{
    static const uint8_t hello[] = {0x08, 1, 0x10, 1, 0x1a, 1, 'x'}, welcome[] = {0x08, 1, 0x30, 2};
    uint8_t bytes[RPC_FRAME_BYTES + sizeof hello];
    const uint8_t *body = as_server ? welcome : hello;
    const size_t length = as_server ? sizeof welcome : sizeof hello;
    struct rpc_frame frame = {.kind = RPC_GREETING, .body_bytes = (uint32_t)length};
    frame.content_sum = rpc_content_sum(body, length);
    rpc_frame_encode(&frame, bytes);
    memcpy(bytes + RPC_FRAME_BYTES, body, length);
    put(p, bytes, RPC_FRAME_BYTES + length);
}

static void play_call(struct peer *p)
{
    static const uint8_t data[100 * 1024] = {1};
    if (!p->world.client || p->calls == OUTCOMES)
        return;
    struct outcome *o = &p->outcomes[p->calls++];
    switch (take(p, 1) % 4) {
    case 0:
        (void)call_create(&p->world, o, "v");
        break;
    case 1:
        (void)call_follow(&p->world, o);
        break;
    case 2:
        (void)call_read(&p->world, o, 1, 5000);
        break;
    default:
        (void)call_write(&p->world, o, data, sizeof data);
        break;
    }
}

static void play(struct peer *p, bool as_server)
{
    while (p->size > 0) {
        switch (take(p, 1) % 8) {
        case 0:
            put_raw(p);
            break;
        case 1:
            put_greeting(p, as_server);
            break;
        case 2:
            world_run(&p->world, take(p, 1) * 50 * MS);
            break;
        case 3:
            for (size_t i = 0; i < p->world.service.nheld; i++)
                if (p->world.service.held[i]) {
                    test_service_answer(&p->world.service, i);
                    break;
                }
            break;
        case 4:
            if (p->link && !p->closing) {
                p->closing = true;
                p->link->ops->close(p->link);
            }
            world_run(&p->world, 5 * MS);
            break;
        case 5:
            play_call(p);
            break;
        default:
            put_frame(p);
            break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const bool as_server = data[0] & 1;
    const struct rpc_mem_config net = {.latency_ns = MS, .piece_bytes = data[1] * 8u};
    struct peer *p = calloc(1, sizeof *p);
    p->data = data + 2;
    p->size = size - 2 < 2048 ? size - 2 : 2048;
    world_open(&p->world, &net, NULL);
    world_stop_client(&p->world);
    /* A service that streams for ever would make a run endless. */
    p->world.service.stream_length = 2000;
    if (as_server) {
        p->listener.accepted = accepted;
        p->listener.closed = unlistened;
        assert(p->world.node->ops->listen(p->world.node, "mem://evil", &p->listener, NULL) == PS_OK);
        world_connect(&p->world, "mem://evil");
    } else {
        p->dial.done = dialled;
        assert(p->world.host->ops->dial(p->world.host, WORLD_ENDPOINT, &p->dial, NULL) == PS_OK);
    }
    world_run(&p->world, 5 * MS);
    play(p, as_server);
    world_run(&p->world, 5 * MS);
    if (p->world.client)
        world_stop_client(&p->world);
    for (size_t i = 0; i < p->calls; i++)
        assert(p->outcomes[i].answers == 1);
    if (p->link && !p->closing)
        p->link->ops->close(p->link);
    if (as_server)
        p->world.node->ops->unlisten(p->world.node, &p->listener);
    world_run(&p->world, 5 * MS);
    world_close(&p->world);
    free(p);
    return 0;
}
