/* Analytics.Measure: see proto/pstorage/v1/analytics.proto.
 *
 * It is done at once, on the reactor: at most 128 KiB a call, which takes as long as a write of that length
 * does (0.2 ms with LZ4). */
#include "node/host/services_impl.h"
#include "pstorage/v1/analytics.pb-c.h"

enum {
    MEASURE_BLOCKS_MAX = POD_ATOMIC_BYTES / POD_BLOCK_BYTES
};

static const Pstorage__V1__MeasuredKind kind_numbers[] = {
    [POD_MEASURED_PATTERN] = PSTORAGE__V1__MEASURED_KIND__MEASURED_KIND_PATTERN,
    [POD_MEASURED_STORED] = PSTORAGE__V1__MEASURED_KIND__MEASURED_KIND_STORED,
    [POD_MEASURED_TWIN] = PSTORAGE__V1__MEASURED_KIND__MEASURED_KIND_TWIN,
    [POD_MEASURED_NEW] = PSTORAGE__V1__MEASURED_KIND__MEASURED_KIND_NEW,
};

static void reply(struct rpc_call *call, const struct pod_measured *blocks, uint32_t count)
{
    Pstorage__V1__MeasureResponse response = PSTORAGE__V1__MEASURE_RESPONSE__INIT;
    Pstorage__V1__MeasuredKind kinds[MEASURE_BLOCKS_MAX];
    uint32_t stored[MEASURE_BLOCKS_MAX];
    uint64_t keys[MEASURE_BLOCKS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        kinds[i] = kind_numbers[blocks[i].kind];
        stored[i] = blocks[i].units * POD_MEASURED_UNIT;
        keys[i] = blocks[i].key;
    }
    response.kinds = kinds;
    response.stored_bytes = stored;
    response.keys = keys;
    response.n_kinds = response.n_stored_bytes = response.n_keys = count;
    rpc_call_reply(call, &response.base);
}

void services_measure(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct services *s = user;
    const Pstorage__V1__MeasureRequest *request = (const void *)message;
    struct pod_measured blocks[MEASURE_BLOCKS_MAX];
    size_t length;
    const uint8_t *data = rpc_call_payload(call, &length);
    const uint32_t count = (uint32_t)(length / POD_BLOCK_BYTES);
    if (length == 0 || length % POD_BLOCK_BYTES || length > POD_ATOMIC_BYTES) {
        rpc_call_fail(call, PS_EINVAL, "the payload is 1 to 32 blocks of 4096 bytes");
        return;
    }
    const uint32_t extent = request->extent_blocks ? request->extent_blocks : count;
    for (uint32_t at = 0, n; at < count; at += n) {
        n = extent < count - at ? extent : count - at;
        const int rc = pod_measure(s->config.pod, data + (size_t)at * POD_BLOCK_BYTES, n, blocks + at);
        if (rc) {
            rpc_call_fail(call, rc, "this node's pod is not open");
            return;
        }
    }
    reply(call, blocks, count);
}
