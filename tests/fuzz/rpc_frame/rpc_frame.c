/* The header and metadata decoders. What decodes is encoded again and must be
 * the same bytes, but for the status, whose halves may contradict each other. */
#include <assert.h>
#include <string.h>

#include "common/endian_codec.h"
#include "common/rpc/frame.h"
#include "common/rpc/metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t header[RPC_FRAME_BYTES], again[RPC_FRAME_BYTES];
    struct rpc_frame frame;
    if (size >= RPC_FRAME_BYTES) {
        memcpy(header, data, sizeof header);
        (void)rpc_frame_decode(header, &frame, NULL);
        /* No fuzzer guesses a checksum: once more with everything up to the lengths made right. */
        put_le32(header, RPC_FRAME_MAGIC);
        put_le16(header + 4, RPC_FRAME_VERSION);
        put_le32(header + 60, rpc_content_sum(header, 60));
        if (rpc_frame_decode(header, &frame, NULL) == PS_OK) {
            rpc_frame_encode(&frame, again);
            assert(memcmp(header, again, 32) == 0 && memcmp(header + 36, again + 36, 24) == 0);
        }
        data += RPC_FRAME_BYTES;
        size -= RPC_FRAME_BYTES;
    }
    if (size <= RPC_METADATA_MAX && rpc_metadata_check(data, size, NULL) == PS_OK) {
        size_t length = 0;
        const uint8_t *value = rpc_metadata_find(data, size, RPC_KEY_OPERATION_ID, &length);
        assert(!value || (value >= data && value + length <= data + size));
    }
    return 0;
}
