/* Any bytes as a message between members (the first byte says which): what passes the checks at the edge
 * comes back from a message of ours the same. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/message.h"
#include "node/host/replication_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t packed[8192], again[8192];

static const void *unpack(struct rpc_arena *arena, const ProtobufCMessageDescriptor *type,
                          const uint8_t *data, size_t size)
{
    struct ps_error err = {0};
    return rpc_message_unpack(arena, type, data, size, &err);
}

/* Compared in the form for the wire: structs have gaps. */
#define ROUND_TRIP(Type, message_, from, to, descriptor_)                                                    \
    do {                                                                                                     \
        struct Type one, two;                                                                                \
        struct message_ out;                                                                                 \
        memset(&one, 0, sizeof one);                                                                         \
        memset(&two, 0, sizeof two);                                                                         \
        const void *in_ = unpack(&arena, descriptor_, data, size);                                           \
        const int rc_ = in_ ? from(in_, &one, NULL) : PS_EINVAL;                                             \
        assert(rc_ == 0 || rc_ == PS_EINVAL);                                                                \
        if (rc_)                                                                                             \
            break;                                                                                           \
        to(&one, &out);                                                                                      \
        assert(protobuf_c_message_get_packed_size(&out.message.base) <= sizeof packed);                      \
        const size_t length_ = protobuf_c_message_pack(&out.message.base, packed);                           \
        rpc_arena_reset(&arena);                                                                             \
        const void *again_ = unpack(&arena, descriptor_, packed, length_);                                   \
        assert(again_ &&from(again_, &two, NULL) == 0);                                                      \
        to(&two, &out);                                                                                      \
        assert(protobuf_c_message_pack(&out.message.base, again) == length_ &&                               \
               memcmp(again, packed, length_) == 0);                                                         \
    } while (0)

struct hello_message {
    Pstorage__V1__ReplicationHello message;
};
static void hello_to(const struct replication_hello *hello, struct hello_message *out)
{
    hello_to_message(hello, &out->message);
}

struct beat_message {
    Pstorage__V1__HeartbeatState message;
};
static void beat_to(const struct heartbeat_msg *beat, struct beat_message *out)
{
    beat_to_message(beat, &out->message);
}

struct asked_message {
    Pstorage__V1__ReplicationRecord message;
};
static void record_to(const struct replica_record_msg *record, struct asked_message *out)
{
    record_to_message(record, &out->message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rpc_arena arena;
    if (size < 1 || size > RPC_BODY_MAX)
        return 0;
    const unsigned kind = data[0] % 8;
    data++;
    size--;
    rpc_arena_init(&arena);
    if (kind == 0)
        ROUND_TRIP(replica_state_msg, state_message, state_from_message, state_to_message,
                   &pstorage__v1__replication_state__descriptor);
    else if (kind == 1)
        ROUND_TRIP(replica_begin_msg, begin_message, begin_from_message, begin_to_message,
                   &pstorage__v1__replication_begin__descriptor);
    else if (kind == 2)
        ROUND_TRIP(replica_append_msg, append_message, append_from_message, append_to_message,
                   &pstorage__v1__replication_append__descriptor);
    else if (kind == 3)
        ROUND_TRIP(replica_ack_msg, ack_message, ack_from_message, ack_to_message,
                   &pstorage__v1__replication_ack__descriptor);
    else if (kind == 6)
        ROUND_TRIP(replica_record_msg, asked_message, record_from_message, record_to,
                   &pstorage__v1__replication_record__descriptor);
    else if (kind == 5)
        ROUND_TRIP(heartbeat_msg, beat_message, beat_from_message, beat_to,
                   &pstorage__v1__heartbeat_state__descriptor);
    else
        ROUND_TRIP(replication_hello, hello_message, hello_from_message, hello_to,
                   &pstorage__v1__replication_hello__descriptor);
    rpc_arena_free(&arena);
    return 0;
}
