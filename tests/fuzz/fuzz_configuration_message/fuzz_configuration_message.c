/* Any bytes as a message of a configuration: what passes the checks at the edge is right in itself, fits the
 * form on disk, and comes back from a message the same. */
#include <assert.h>
#include <stdlib.h>

#include "common/configuration_proto.h"
#include "common/rpc/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_message(const uint8_t *data, size_t size, struct configuration *out)
{
    struct rpc_arena arena;
    struct ps_error err = {0};
    rpc_arena_init(&arena);
    const ProtobufCMessage *message =
        rpc_message_unpack(&arena, &pstorage__v1__configuration__descriptor, data, size, &err);
    const bool right = message && configuration_from_message((const void *)message, out, &err) == 0;
    assert(right || err.status == PS_EINVAL);
    rpc_arena_free(&arena);
    return right;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct configuration c, again;
    struct configuration_message message;
    uint8_t form[CONFIGURATION_BYTES_MAX], packed[1024];
    if (size > RPC_BODY_MAX || !read_message(data, size, &c))
        return 0;
    assert(configuration_check(&c, NULL) == 0);
    assert(configuration_decode(form, configuration_encode(&c, form), &again, NULL) == 0);
    assert(configuration_equal(&c, &again));
    configuration_to_message(&c, &message);
    assert(pstorage__v1__configuration__get_packed_size(&message.message) <= sizeof packed);
    const size_t length = pstorage__v1__configuration__pack(&message.message, packed);
    assert(read_message(packed, length, &again) && configuration_equal(&c, &again));
    return 0;
}
