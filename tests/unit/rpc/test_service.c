#include "test_service.h"

#include <assert.h>
#include <string.h>

#include "common/rpc/frame.h"
#include "pstorage/v1/block_io.pb-c.h"
#include "pstorage/v1/events.pb-c.h"
#include "pstorage/v1/volumes.pb-c.h"

void test_pattern(void *out, size_t length, unsigned seed)
{
    uint8_t *p = out;
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < length; i += sizeof x) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        memcpy(p + i, &x, length - i < sizeof x ? length - i : sizeof x);
    }
}

static void reply_volume(struct rpc_call *call, const char *name, uint64_t id)
{
    Pstorage__V1__VolumeResponse response = PSTORAGE__V1__VOLUME_RESPONSE__INIT;
    Pstorage__V1__Image image = PSTORAGE__V1__IMAGE__INIT;
    char copy[256];
    memcpy(copy, name, strlen(name) + 1);
    image.name = copy;
    image.id = id;
    response.volume = &image;
    rpc_call_reply(call, &response.base);
}

static void create(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct test_service *s = user;
    const Pstorage__V1__CreateVolumeRequest *request = (const void *)message;
    s->last_connection = rpc_call_connection(call);
    reply_volume(call, request->name, ++s->created);
}

static void on_cancel(struct rpc_call *call)
{
    struct test_service *s = rpc_call_user(call);
    s->cancelled++;
}

static void hold(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct test_service *s = user;
    (void)message;
    assert(s->nheld < TEST_HELD_MAX);
    s->held[s->nheld++] = call;
    rpc_call_set_user(call, s);
    rpc_call_watch(call, on_cancel, NULL);
}

void test_service_answer(struct test_service *s, size_t index)
{
    struct rpc_call *call = s->held[index];
    assert(call);
    s->held[index] = NULL;
    reply_volume(call, "held", index);
}

static void refuse(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)user;
    (void)message;
    rpc_call_fail(call, PS_ENOTFOUND, "there is no volume of that name");
}

/* Answers with the metadata "trace" as the name, and the operation id's first byte. */
static void echo_metadata(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)user;
    (void)message;
    size_t length = 0;
    char name[64] = "";
    const void *trace = rpc_call_metadata(call, "trace", &length);
    if (trace && length < sizeof name)
        memcpy(name, trace, length);
    const uint8_t *operation = rpc_call_operation_id(call);
    reply_volume(call, name, operation ? operation[0] : 0);
}

static void write_block(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct test_service *s = user;
    (void)message;
    size_t length;
    const void *payload = rpc_call_payload(call, &length);
    s->written_bytes = (uint32_t)length;
    s->written_sum = rpc_payload_sum(payload, length);
    s->written_aligned = (uintptr_t)payload % RPC_PAYLOAD_ALIGN == 0;
    Pstorage__V1__IoResponse response = PSTORAGE__V1__IO_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

static void read_block(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__ReadRequest *request = (const void *)message;
    (void)user;
    test_pattern(rpc_call_reply_buffer(call, request->length), request->length, (unsigned)request->offset);
    Pstorage__V1__IoResponse response = PSTORAGE__V1__IO_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

static void stream_on(struct rpc_call *call)
{
    struct test_service *s = rpc_call_user(call);
    char text[] = "something happened, and this line says what it was in so many words";
    while (s->stream_length == 0 || s->sent < s->stream_length) {
        Pstorage__V1__Event event = PSTORAGE__V1__EVENT__INIT;
        event.cursor = s->sent + 1;
        event.text = text;
        const int status = rpc_call_stream_send(call, &event.base);
        if (status == PS_ELIMIT) {
            s->blocked++;
            return;
        }
        if (status)
            return; /* cancelled: on_stream_cancel ends it */
        s->sent++;
    }
    rpc_call_stream_end(call);
}

static void on_stream_cancel(struct rpc_call *call)
{
    struct test_service *s = rpc_call_user(call);
    s->cancelled++;
    rpc_call_stream_end(call);
}

static void follow(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)message;
    rpc_call_set_user(call, user);
    rpc_call_watch(call, on_stream_cancel, stream_on);
    stream_on(call);
}

static void disconnected(void *user, uint64_t connection)
{
    struct test_service *s = user;
    assert(connection != 0);
    s->disconnected++;
}

void test_service_register(struct rpc_server *server, struct test_service *s)
{
    static const struct rpc_method volumes[] = {
        {"Create", create, false, false},
        {"Get", hold, false, false},
        {"Delete", refuse, false, false},
        {"Set", echo_metadata, false, false},
    };
    static const struct rpc_method block_io[] = {
        {"Write", write_block, true, false},
        {"Read", read_block, false, false},
    };
    static const struct rpc_method events[] = {{"Follow", follow, false, true}};
    const struct rpc_service services[] = {
        {&pstorage__v1__volumes__descriptor, volumes, sizeof volumes / sizeof volumes[0], disconnected},
        {&pstorage__v1__block_io__descriptor, block_io, sizeof block_io / sizeof block_io[0], NULL},
        {&pstorage__v1__events__descriptor, events, 1, NULL},
    };
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
        rpc_server_register(server, &services[i], s);
}
