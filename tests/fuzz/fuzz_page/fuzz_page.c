/* Any bytes as a page record, key and checksum made right. What decodes is written and read back the same. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "node/meta/checksum.h"
#include "node/meta/meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    CHECKSUM = 40,
    LIMIT = 2 * PAGE_RECORD_MAX
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t slots[META_SLOTS], again[META_SLOTS];
    uint8_t record[PAGE_RECORD_MAX];
    const struct meta_key page = meta_key(size % 2 ? META_MAP : META_L2P, 7, 0);
    assert(page_decode(page, data, size, slots, NULL) != 0 || size >= 64);
    if (size < CHECKSUM + 8 || size > LIMIT)
        return 0;
    uint8_t *const exact = malloc(size);
    memcpy(exact, data, size);
    put_le64(exact + PAGE_KEY_AT, page.v);
    put_le64(exact + CHECKSUM, checksum_record(exact, size, CHECKSUM));
    const int rc = page_decode(page, exact, size, slots, NULL);
    free(exact);
    assert(rc == 0 || rc == PS_EDAMAGED || rc == PS_EVERSION);
    if (rc)
        return 0;
    const uint32_t bytes = page_encode(page, 1, slots, record);
    assert(bytes <= PAGE_RECORD_MAX);
    assert(page_decode(page, record, bytes, again, NULL) == 0);
    assert(memcmp(slots, again, sizeof slots) == 0);
    return 0;
}
