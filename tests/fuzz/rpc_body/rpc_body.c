/* Every message that a peer may send, decoded and checked. The first byte
 * chooses the type. */
#include <assert.h>

#include "common/rpc/message.h"
#include "pstorage/v1/block_io.pb-c.h"
#include "pstorage/v1/clones.pb-c.h"
#include "pstorage/v1/events.pb-c.h"
#include "pstorage/v1/snapshots.pb-c.h"
#include "pstorage/v1/status.pb-c.h"
#include "pstorage/v1/volumes.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCServiceDescriptor *const services[] = {
    &pstorage__v1__volumes__descriptor, &pstorage__v1__snapshots__descriptor,
    &pstorage__v1__clones__descriptor,  &pstorage__v1__block_io__descriptor,
    &pstorage__v1__status__descriptor,  &pstorage__v1__events__descriptor,
};

static const ProtobufCMessageDescriptor *choose(unsigned number)
{
    static const ProtobufCMessageDescriptor *const greetings[] = {&pstorage__v1__hello__descriptor,
                                                                  &pstorage__v1__welcome__descriptor,
                                                                  &pstorage__v1__failure__descriptor};
    if (number < 3)
        return greetings[number];
    const ProtobufCServiceDescriptor *service = services[number % 6];
    const ProtobufCMethodDescriptor *method = &service->methods[number / 12 % service->n_methods];
    return number / 6 % 2 ? method->input : method->output;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size - 1 > RPC_BODY_MAX)
        return 0;
    struct rpc_arena arena;
    struct ps_error err = {.status = PS_OK};
    rpc_arena_init(&arena);
    const ProtobufCMessage *message = rpc_message_unpack(&arena, choose(data[0]), data + 1, size - 1, &err);
    assert(message ? err.status == PS_OK : err.status == PS_EINVAL);
    assert(arena.taken <= RPC_UNPACKED_MAX);
    if (message)
        (void)protobuf_c_message_get_packed_size(message);
    rpc_arena_free(&arena);
    return 0;
}
