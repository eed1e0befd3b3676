/* Any block as a label and as an anchor, magic and checksum made right. What decodes is written
 * and read back the same. */
#include <assert.h>
#include <string.h>

#include "common/endian_codec.h"
#include "node/flash/anchor.h"
#include "node/meta/checksum.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    CHECKSUM = ANCHOR_BYTES - 8
};

static void seal(uint8_t *block, uint32_t magic)
{
    put_le32(block, magic);
    put_le64(block + CHECKSUM, checksum_record(block, ANCHOR_BYTES, CHECKSUM));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t block[ANCHOR_BYTES] = {0}, first[ANCHOR_BYTES], second[ANCHOR_BYTES];
    struct pool_label label;
    struct pod_anchor anchor;
    memcpy(block, data, size < sizeof block ? size : sizeof block);
    (void)label_decode(block, &label, NULL);
    (void)anchor_decode(block, &anchor, NULL);
    seal(block, 0x4c505350);
    if (label_decode(block, &label, NULL) == 0) {
        assert(label.pod_count <= LABEL_PODS_MAX && label.segment_bytes > 0);
        label_encode(&label, first);
        assert(label_decode(first, &label, NULL) == 0);
        label_encode(&label, second);
        assert(memcmp(first, second, sizeof first) == 0);
    }
    seal(block, 0x41505350);
    if (anchor_decode(block, &anchor, NULL) == 0) {
        assert(anchor.run_count <= ANCHOR_RUNS_MAX);
        anchor_encode(&anchor, first);
        assert(anchor_decode(first, &anchor, NULL) == 0);
        anchor_encode(&anchor, second);
        assert(memcmp(first, second, sizeof first) == 0);
    }
    return 0;
}
