/* Batch: header, changes, directory, payload, zeroes up to a multiple of 4096; little-endian.
 *
 * Header, 160 bytes: 0 magic u32, 4 version u16, 6 header bytes u16, 8 pod, 16
 * epoch, 24 run, 32 seq, 40 generation, 48 previous, 56 watermark u64, 64 total bytes,
 * 68 changes bytes, 72 directory bytes, 76 payload offset, 80 payload bytes u32, 84 records u16, 86
 * fingerprint bytes u8, 87 zero, 88 first group, 96 time in ns since 1970 u64, 104 next segment u32, 108 zero
 * u32, 112 floor u64, 120 to 143 zero, 144 meta checksum, 152 chain checksum. Directory: records × {units of
 * 64 bytes u16, group less first group u16, blocks u8, zero u8[3]}, then the blocks' fingerprints in the same
 * order.
 *
 * Generation, next segment and floor are each member's own. The chain checksum leaves
 * them out, so it is the same wherever the batch lies: XXH3-64 of {XXH3-64 of the header with generation,
 * next segment, floor and both checksums 0, XXH3-64 of all that follows}. The meta checksum has them in:
 * XXH3-64 of {XXH3-64 of the header with this field 0, XXH3-64 of changes and directory}. */
#include "node/replication/batch.h"

#include <assert.h>
#include <string.h>

#include "common/endian_codec.h"
#include "node/meta/checksum.h"
#include "node/meta/place.h"

enum {
    MAGIC = 0x424c5350 /* "PSLB" */,
    VERSION = 2,
    GENERATION = 40,
    NEXT_SEGMENT = 104,
    FLOOR = 112,
    META_CHECKSUM = 144,
    CHECKSUM = 152,
    LINE = BATCH_LINE_BYTES,
    UNIT = 64
};

#define GROUPS (1ull << 49) /* block id = group << 3 | slot, 52 bits */

static uint64_t pair(uint64_t header, uint64_t rest)
{
    uint8_t both[16];
    put_le64(both, header);
    put_le64(both + 8, rest);
    return checksum_bytes(both, sizeof both);
}

static uint64_t meta_checksum(const uint8_t *b, uint32_t changes, uint32_t directory)
{
    return pair(checksum_record(b, BATCH_HEADER_BYTES, META_CHECKSUM),
                checksum_bytes(b + BATCH_HEADER_BYTES, (size_t)changes + directory));
}

static uint64_t chain_checksum(const uint8_t *b, uint32_t total)
{
    uint8_t header[BATCH_HEADER_BYTES];
    memcpy(header, b, sizeof header);
    put_le64(header + GENERATION, 0);
    put_le32(header + NEXT_SEGMENT, 0);
    put_le64(header + FLOOR, 0);
    put_le64(header + META_CHECKSUM, 0);
    put_le64(header + CHECKSUM, 0);
    return pair(checksum_bytes(header, sizeof header),
                checksum_bytes(b + BATCH_HEADER_BYTES, total - BATCH_HEADER_BYTES));
}

void batch_seal(struct batch_header *h, void *batch)
{
    uint8_t *b = batch;
    const uint32_t meta = BATCH_HEADER_BYTES + h->changes_bytes + h->directory_bytes;
    assert(h->payload_offset >= meta && h->payload_offset % UNIT == 0);
    const uint32_t end = h->payload_offset + h->payload_bytes;
    h->total_bytes = (end + BATCH_ALIGN - 1) / BATCH_ALIGN * BATCH_ALIGN;
    assert(h->total_bytes <= BATCH_MAX_BYTES);
    memset(b, 0, BATCH_HEADER_BYTES);
    memset(b + meta, 0, h->payload_offset - meta);
    memset(b + end, 0, h->total_bytes - end);
    put_le32(b, MAGIC);
    put_le16(b + 4, VERSION);
    put_le16(b + 6, BATCH_HEADER_BYTES);
    put_le64(b + 8, h->pod);
    put_le64(b + 16, h->epoch);
    put_le64(b + 24, h->run);
    put_le64(b + 32, h->seq);
    put_le64(b + GENERATION, h->generation);
    put_le64(b + 48, h->previous);
    put_le64(b + 56, h->watermark);
    put_le32(b + 64, h->total_bytes);
    put_le32(b + 68, h->changes_bytes);
    put_le32(b + 72, h->directory_bytes);
    put_le32(b + 76, h->payload_offset);
    put_le32(b + 80, h->payload_bytes);
    put_le16(b + 84, h->records);
    b[86] = h->fingerprint_bytes;
    put_le64(b + 88, h->first_group);
    put_le64(b + 96, h->unix_ns);
    put_le32(b + NEXT_SEGMENT, h->next_segment);
    put_le64(b + FLOOR, h->floor);
    h->checksum = chain_checksum(b, h->total_bytes);
    put_le64(b + CHECKSUM, h->checksum);
    put_le64(b + META_CHECKSUM, meta_checksum(b, h->changes_bytes, h->directory_bytes));
}

void batch_restamp(void *batch, uint64_t generation, uint32_t next_segment, uint64_t floor)
{
    uint8_t *b = batch;
    put_le64(b + GENERATION, generation);
    put_le32(b + NEXT_SEGMENT, next_segment);
    put_le64(b + FLOOR, floor);
    put_le64(b + META_CHECKSUM, meta_checksum(b, get_le32(b + 68), get_le32(b + 72)));
}

int batch_peek(const void *batch, size_t available, struct batch_header *out)
{
    const uint8_t *b = batch;
    if (available < BATCH_HEADER_BYTES || get_le32(b) != MAGIC)
        return PS_ENOTFOUND;
    if (get_le16(b + 4) != VERSION)
        return PS_EVERSION;
    const struct batch_header h = {
        .pod = get_le64(b + 8),
        .epoch = get_le64(b + 16),
        .run = get_le64(b + 24),
        .seq = get_le64(b + 32),
        .generation = get_le64(b + GENERATION),
        .previous = get_le64(b + 48),
        .watermark = get_le64(b + 56),
        .total_bytes = get_le32(b + 64),
        .changes_bytes = get_le32(b + 68),
        .directory_bytes = get_le32(b + 72),
        .payload_offset = get_le32(b + 76),
        .payload_bytes = get_le32(b + 80),
        .records = get_le16(b + 84),
        .fingerprint_bytes = b[86],
        .first_group = get_le64(b + 88),
        .unix_ns = get_le64(b + 96),
        .next_segment = get_le32(b + NEXT_SEGMENT),
        .floor = get_le64(b + FLOOR),
        .checksum = get_le64(b + CHECKSUM),
    };
    if (get_le16(b + 6) != BATCH_HEADER_BYTES || h.total_bytes > BATCH_MAX_BYTES ||
        h.total_bytes % BATCH_ALIGN || h.changes_bytes > BATCH_CHANGES_MAX ||
        h.directory_bytes > BATCH_DIRECTORY_MAX || h.records > BATCH_RECORDS_MAX ||
        h.payload_offset > BATCH_MAX_BYTES || h.payload_offset % UNIT || h.payload_bytes > BATCH_MAX_BYTES ||
        (h.fingerprint_bytes != 16 && h.fingerprint_bytes != 32) ||
        h.directory_bytes < (uint32_t)h.records * LINE || h.first_group > GROUPS - BATCH_RECORDS_MAX ||
        BATCH_HEADER_BYTES + h.changes_bytes + h.directory_bytes > h.payload_offset ||
        h.payload_offset + h.payload_bytes > h.total_bytes)
        return PS_ENOTFOUND;
    *out = h;
    return 0;
}

static bool meta_is_sound(const uint8_t *b, const struct batch_header *h)
{
    return get_le64(b + META_CHECKSUM) == meta_checksum(b, h->changes_bytes, h->directory_bytes);
}

int batch_parse_directory(const void *batch, size_t available, struct batch_header *out)
{
    struct batch_header h;
    const int rc = batch_peek(batch, available, &h);
    if (rc)
        return rc;
    if (available < BATCH_HEADER_BYTES + (size_t)h.changes_bytes + h.directory_bytes ||
        !meta_is_sound(batch, &h))
        return PS_EDAMAGED;
    *out = h;
    return 0;
}

int batch_parse(const void *batch, size_t available, struct batch_header *out)
{
    struct batch_header h;
    const int rc = batch_peek(batch, available, &h);
    if (rc)
        return rc;
    if (available < h.total_bytes || chain_checksum(batch, h.total_bytes) != h.checksum ||
        !meta_is_sound(batch, &h))
        return PS_EDAMAGED;
    *out = h;
    return 0;
}

bool batch_next_record(const struct batch_header *h, const void *batch, unsigned index,
                       struct batch_record *record)
{
    const uint8_t *directory = (const uint8_t *)batch + BATCH_HEADER_BYTES + h->changes_bytes;
    const uint8_t *line = directory + (size_t)index * LINE;
    assert(index < h->records);
    const struct batch_record last = *record;
    *record = (struct batch_record){
        .bytes = get_le16(line) * (uint32_t)UNIT,
        .offset = index ? last.offset + last.bytes : h->payload_offset,
        .blocks = line[4],
        .group = h->first_group + get_le16(line + 2),
        .fingerprints = index ? last.fingerprints + (size_t)last.blocks * h->fingerprint_bytes
                              : directory + (size_t)h->records * LINE,
    };
    return record->blocks >= 1 && record->blocks <= 8 && record->bytes && record->bytes <= PLACE_MAX_BYTES &&
           get_le16(line + 2) < BATCH_RECORDS_MAX &&
           record->offset + record->bytes <= h->payload_offset + h->payload_bytes &&
           record->fingerprints + (size_t)record->blocks * h->fingerprint_bytes <=
               directory + h->directory_bytes;
}

void batch_put_record(void *directory, unsigned index, uint32_t bytes, unsigned group_index, unsigned blocks)
{
    uint8_t *line = (uint8_t *)directory + (size_t)index * LINE;
    assert(bytes % UNIT == 0 && bytes <= PLACE_MAX_BYTES && group_index < BATCH_RECORDS_MAX);
    put_le16(line, (uint16_t)(bytes / UNIT));
    put_le16(line + 2, (uint16_t)group_index);
    line[4] = (uint8_t)blocks;
    memset(line + 5, 0, 3);
}
