/* Any bytes as a chunk of moved records, the checksum made right so that it hides nothing: what it names lies
 * in it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "node/flash/moved.h"
#include "node/meta/checksum.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void seal(uint8_t *p, size_t size)
{
    uint8_t both[16];
    const uint32_t at = get_le32(p + 12), bytes = get_le32(p + 16);
    put_le32(p, 0x564d5350);
    if (at > size || bytes > size - at)
        return;
    put_le64(both, checksum_record(p, MOVED_HEADER_BYTES, 56));
    put_le64(both + 8, checksum_bytes(p + at, bytes));
    put_le64(p + 56, checksum_bytes(both, sizeof both));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct moved_chunk chunk;
    struct moved_record r = {0};
    uint8_t sum = 0;
    /* On the heap and exact; padded to what a device gives. */
    const size_t padded = (size + MOVED_ALIGN - 1) / MOVED_ALIGN * MOVED_ALIGN;
    uint8_t *p = calloc(1, padded + MOVED_ALIGN);
    memcpy(p, data, size);
    (void)moved_parse(p, padded, &chunk);
    if (padded >= MOVED_HEADER_BYTES)
        seal(p, padded);
    if (moved_parse(p, padded, &chunk) == 0)
        for (unsigned i = 0; moved_next_record(&chunk, p, i, &r); i++) {
            assert(r.offset + r.bytes <= chunk.directory_offset && r.slots);
            for (unsigned f = 0; f < (unsigned)__builtin_popcount(r.slots) * chunk.fingerprint_bytes; f++)
                sum = (uint8_t)(sum + r.fingerprints[f]);
            assert(r.fingerprints >= p + chunk.directory_offset);
        }
    free(p);
    return sum == 1 && size == 0;
}
