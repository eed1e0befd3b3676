/* A whole server, or a whole client, against a peer that the input plays:
 * frames with right checksums but any other contents, raw bytes, time that
 * passes, streams that end. With or without a cluster key, of which the peer knows how to make
 * a right proof. Nothing may crash, leak or stay behind. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "common/rpc/frame.h"
#include "common/rpc/keys.h"
#include "common/rpc/message.h"
#include "common/rpc/proof.h"
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
    bool keyed;
    uint8_t first[512]; /* what the other side said first: its greeting */
    size_t first_bytes;
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
    for (size_t i = 0; status == PS_OK && i < bytes && p->first_bytes < sizeof p->first; i++)
        p->first[p->first_bytes++] = p->in[i];
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
    p->first_bytes = 0;
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

static struct rpc_keys keys;
static uint8_t nonce[RPC_NONCE_BYTES] = "chosen by the peer";
static char no_text[] = "", peers_name[] = "x";

static void put_message(struct peer *p, const ProtobufCMessage *message)
{
    uint8_t bytes[RPC_FRAME_BYTES + 512];
    struct rpc_frame frame = {.kind = RPC_GREETING};
    frame.body_bytes = (uint32_t)protobuf_c_message_pack(message, bytes + RPC_FRAME_BYTES);
    frame.content_sum = rpc_content_sum(bytes + RPC_FRAME_BYTES, frame.body_bytes);
    rpc_frame_encode(&frame, bytes);
    put(p, bytes, RPC_FRAME_BYTES + frame.body_bytes);
}

/* The message in the first frame that the other side sent, or NULL. */
static ProtobufCMessage *heard(const struct peer *p, const ProtobufCMessageDescriptor *type)
{
    struct rpc_frame frame;
    if (p->first_bytes < RPC_FRAME_BYTES || rpc_frame_decode(p->first, &frame, NULL) != PS_OK ||
        frame.kind != RPC_GREETING || frame.status != PS_OK ||
        frame.body_bytes > p->first_bytes - RPC_FRAME_BYTES)
        return NULL;
    return protobuf_c_message_unpack(type, NULL, frame.body_bytes, p->first + RPC_FRAME_BYTES);
}

static void fill_hello(const struct peer *p, Pstorage__V1__Hello *hello)
{
    pstorage__v1__hello__init(hello);
    hello->protocol_min = hello->protocol_max = RPC_PROTOCOL;
    hello->name = peers_name;
    hello->key_id = p->keyed ? keys.list[0].id : no_text;
    hello->nonce = (ProtobufCBinaryData){p->keyed ? sizeof nonce : 0, nonce};
}

/* Hello; or Welcome, with a right proof where one is due. */
static void put_greeting(struct peer *p, bool as_server)
{
    Pstorage__V1__Hello hello;
    Pstorage__V1__Welcome welcome = PSTORAGE__V1__WELCOME__INIT;
    uint8_t proof[RPC_PROOF_BYTES];
    if (!as_server) {
        fill_hello(p, &hello);
        put_message(p, &hello.base);
        return;
    }
    welcome.protocol = RPC_PROTOCOL;
    welcome.max_calls = 2;
    welcome.key_id = p->keyed ? keys.list[0].id : no_text;
    welcome.nonce = (ProtobufCBinaryData){p->keyed ? sizeof nonce : 0, nonce};
    ProtobufCMessage *said = p->keyed ? heard(p, &pstorage__v1__hello__descriptor) : NULL;
    if (said &&
        rpc_proof_make(&keys.list[0], RPC_PROVES_SERVER, (const Pstorage__V1__Hello *)said, &welcome, proof))
        welcome.proof = (ProtobufCBinaryData){sizeof proof, proof};
    put_message(p, &welcome.base);
    if (said)
        protobuf_c_message_free_unpacked(said, NULL);
}

/* The third greeting, right or, as the input wants it, not; or the fourth. */
static void put_proof(struct peer *p, bool as_server)
{
    const Pstorage__V1__Accepted accepted_message = PSTORAGE__V1__ACCEPTED__INIT;
    Pstorage__V1__Proof message = PSTORAGE__V1__PROOF__INIT;
    Pstorage__V1__Hello hello;
    uint8_t proof[RPC_PROOF_BYTES] = {0};
    if (as_server) {
        put_message(p, &accepted_message.base);
        return;
    }
    fill_hello(p, &hello);
    ProtobufCMessage *said = heard(p, &pstorage__v1__welcome__descriptor);
    if (said) {
        (void)rpc_proof_make(&keys.list[0], RPC_PROVES_CLIENT, &hello, (const Pstorage__V1__Welcome *)said,
                             proof);
        protobuf_c_message_free_unpacked(said, NULL);
    }
    proof[0] ^= (uint8_t)take(p, 1);
    message.proof = (ProtobufCBinaryData){sizeof proof, proof};
    put_message(p, &message.base);
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
        case 6:
            if (p->keyed) {
                put_proof(p, as_server);
                break;
            }
            put_frame(p);
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
    p->keyed = data[0] & 2;
    if (!keys.count) {
        static const char secret[] = "a key of more than 16 bytes";
        assert(rpc_keys_add(&keys, "", secret, sizeof secret - 1, NULL) == PS_OK);
    }
    const struct rpc_server_config config = {.keys = p->keyed ? &keys : NULL};
    const struct rpc_identity tester = {"tester", PSTORAGE__V1__PEER_ROLE__PEER_ROLE_CLIENT, NULL};
    world_open(&p->world, &net, &config);
    world_stop_client(&p->world);
    /* A service that streams for ever would make a run endless. */
    p->world.service.stream_length = 2000;
    if (as_server) {
        p->listener.accepted = accepted;
        p->listener.closed = unlistened;
        assert(p->world.node->ops->listen(p->world.node, "mem://evil", &p->listener, NULL) == PS_OK);
        world_connect_as(&p->world, "mem://evil", &tester, p->keyed ? &keys : NULL);
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
