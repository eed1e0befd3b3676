/* Any bytes as the replica's durable state. What decodes is written and read back the same. */
#include <assert.h>
#include <string.h>

#include "node/replication/replica_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct durable state, again;
    uint8_t first[REPLICA_STATE_BYTES_MAX], second[REPLICA_STATE_BYTES_MAX];
    if (durable_decode(data, size, &state, NULL))
        return 0;
    const size_t length = durable_encode(&state, first);
    assert(length <= sizeof first);
    assert(durable_decode(first, length, &again, NULL) == 0);
    assert(durable_encode(&again, second) == length && memcmp(first, second, length) == 0);
    return 0;
}
