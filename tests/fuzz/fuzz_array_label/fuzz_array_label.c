/* Any block as a label, a list of unsettled segments and a record of a row, magic and checksums made right.
 * What decodes is written and read back the same. */
#include <assert.h>
#include <string.h>

#include "common/endian_codec.h"
#include "node/flash/array_label.h"
#include "node/meta/checksum.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    CHECKSUM = ARRAY_BLOCK_BYTES - 8,
    PARITY_BYTES_AT = 32 + 20,
    PARITY_HASH_AT = 64,
};

static uint8_t block[ARRAY_BLOCK_BYTES + ARRAY_UNIT_MAX], first[sizeof block], second[sizeof block];

static void seal(uint32_t magic)
{
    put_le32(block, magic);
    put_le64(block + CHECKSUM, checksum_record(block, ARRAY_BLOCK_BYTES, CHECKSUM));
}

static void as_label(void)
{
    struct array_label label;
    seal(0x4c415350);
    if (array_label_decode(block, &label, NULL))
        return;
    assert(label.members <= ARRAY_MEMBERS_MAX && label.parity < label.members && label.self < label.members);
    array_label_encode(&label, first);
    assert(array_label_decode(first, &label, NULL) == 0);
    array_label_encode(&label, second);
    assert(memcmp(first, second, ARRAY_BLOCK_BYTES) == 0);
}

static void as_list(void)
{
    struct array_unsettled list;
    seal(0x55415350);
    if (array_unsettled_decode(block, &list, NULL))
        return;
    assert(list.count <= ARRAY_UNSETTLED_MAX);
    array_unsettled_encode(&list, first);
    assert(array_unsettled_decode(first, &list, NULL) == 0);
    array_unsettled_encode(&list, second);
    assert(memcmp(first, second, ARRAY_BLOCK_BYTES) == 0);
}

static void as_record(void)
{
    struct array_stage stage;
    const uint32_t bytes = get_le32(block + PARITY_BYTES_AT);
    if (bytes <= ARRAY_UNIT_MAX)
        put_le64(block + PARITY_HASH_AT, checksum_bytes(block + ARRAY_BLOCK_BYTES, bytes));
    seal(0x53415350);
    if (array_stage_decode(block, &stage, NULL))
        return;
    assert(stage.bytes <= ARRAY_UNIT_MAX && stage.data < ARRAY_MEMBERS_MAX && stage.which < stage.parity);
    memcpy(first, block, sizeof first);
    array_stage_encode(&stage, first);
    assert(array_stage_decode(first, &stage, NULL) == 0);
    memcpy(second, first, sizeof second);
    array_stage_encode(&stage, second);
    assert(memcmp(first, second, sizeof first) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memset(block, 0, sizeof block);
    memcpy(block, data, size < sizeof block ? size : sizeof block);
    struct array_label label;
    struct array_unsettled list;
    struct array_stage stage;
    (void)array_label_decode(block, &label, NULL);
    (void)array_unsettled_decode(block, &list, NULL);
    (void)array_stage_decode(block, &stage, NULL);
    as_label();
    as_list();
    as_record();
    return 0;
}
