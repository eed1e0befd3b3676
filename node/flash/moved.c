/* Little-endian. Header, 64 bytes: 0 magic "PSMV", 4 version u8, 5 fingerprint bytes u8, 6 records u16, 8
 * total bytes u32, 12 directory offset u32, 16 directory bytes u32, 20 zero u32, 24 pod u64, 32 to 55 zero,
 * 56 checksum. Directory: for each record {group u64, units of 64 bytes u16, slots u8, zero u8, fingerprints
 * of its slots}. Checksum: XXH3-64 of {XXH3-64 of the header with this field 0, XXH3-64 of the directory}. */
#include "node/flash/moved.h"

#include <assert.h>
#include <string.h>

#include "common/endian_codec.h"
#include "node/meta/checksum.h"
#include "node/meta/place.h"

enum {
    MAGIC = 0x564d5350, /* "PSMV" */
    VERSION = 1,
    CHECKSUM_AT = 56,
    SLOTS = 8,
    FINGERPRINT_MAX = 32,
};
_Static_assert((int)CHECKSUM_AT + 8 == (int)MOVED_HEADER_BYTES, "the checksum ends the header");

static uint64_t checksum_of(const uint8_t *header, const uint8_t *directory, uint32_t bytes)
{
    uint8_t both[16];
    put_le64(both, checksum_record(header, MOVED_HEADER_BYTES, CHECKSUM_AT));
    put_le64(both + 8, checksum_bytes(directory, bytes));
    return checksum_bytes(both, sizeof both);
}

/* ---- writing */

void moved_begin(struct moved_writer *w, void *buf, uint32_t capacity, uint8_t fingerprint_bytes)
{
    assert(fingerprint_bytes <= FINGERPRINT_MAX);
    assert(capacity % MOVED_ALIGN == 0 && capacity <= MOVED_CHUNK_BYTES);
    w->buf = buf;
    w->capacity = capacity;
    w->used = MOVED_HEADER_BYTES;
    w->records = w->directory_bytes = 0;
    w->fingerprint_bytes = fingerprint_bytes;
}

bool moved_has_room(const struct moved_writer *w, uint32_t bytes)
{
    const uint32_t line = MOVED_LINE_BYTES + SLOTS * (uint32_t)w->fingerprint_bytes;
    return w->records < MOVED_RECORDS_MAX && w->used + bytes + w->directory_bytes + line <= w->capacity;
}

void moved_add(struct moved_writer *w, struct moved_record *record)
{
    uint8_t *line = w->directory + w->directory_bytes;
    const uint32_t fingerprints = (uint32_t)__builtin_popcount(record->slots) * w->fingerprint_bytes;
    assert(record->slots && record->bytes % PLACE_UNIT == 0 && moved_has_room(w, record->bytes));
    put_le64(line, record->group);
    put_le16(line + 8, (uint16_t)(record->bytes / PLACE_UNIT));
    line[10] = record->slots;
    line[11] = 0;
    memcpy(line + MOVED_LINE_BYTES, record->fingerprints, fingerprints);
    w->directory_bytes += MOVED_LINE_BYTES + fingerprints;
    record->offset = w->used;
    w->used += record->bytes;
    w->records++;
}

uint32_t moved_seal(struct moved_writer *w, uint64_t pod)
{
    uint8_t *p = w->buf;
    const uint32_t end = w->used + w->directory_bytes;
    const uint32_t total = (end + MOVED_ALIGN - 1) / MOVED_ALIGN * MOVED_ALIGN;
    assert(w->records && total <= w->capacity);
    memcpy(p + w->used, w->directory, w->directory_bytes);
    memset(p + end, 0, total - end);
    memset(p, 0, MOVED_HEADER_BYTES);
    put_le32(p, MAGIC);
    p[4] = VERSION;
    p[5] = w->fingerprint_bytes;
    put_le16(p + 6, (uint16_t)w->records);
    put_le32(p + 8, total);
    put_le32(p + 12, w->used);
    put_le32(p + 16, w->directory_bytes);
    put_le64(p + 24, pod);
    put_le64(p + CHECKSUM_AT, checksum_of(p, w->directory, w->directory_bytes));
    return total;
}

/* ---- reading */

int moved_parse(const void *chunk, size_t available, struct moved_chunk *out)
{
    const uint8_t *p = chunk;
    if (available < MOVED_HEADER_BYTES || get_le32(p) != MAGIC)
        return PS_ENOTFOUND;
    const struct moved_chunk c = {
        .pod = get_le64(p + 24),
        .total_bytes = get_le32(p + 8),
        .directory_offset = get_le32(p + 12),
        .directory_bytes = get_le32(p + 16),
        .records = get_le16(p + 6),
        .fingerprint_bytes = p[5],
    };
    if (c.total_bytes > MOVED_CHUNK_BYTES || c.total_bytes % MOVED_ALIGN || c.total_bytes > available ||
        c.directory_offset < MOVED_HEADER_BYTES || c.directory_offset > c.total_bytes ||
        c.directory_bytes > c.total_bytes - c.directory_offset)
        return PS_EDAMAGED;
    if (get_le64(p + CHECKSUM_AT) != checksum_of(p, p + c.directory_offset, c.directory_bytes))
        return PS_EDAMAGED;
    if (p[4] != VERSION)
        return PS_EVERSION;
    if (c.fingerprint_bytes > FINGERPRINT_MAX || c.records == 0 || c.records > MOVED_RECORDS_MAX)
        return PS_EDAMAGED;
    *out = c;
    return 0;
}

bool moved_next_record(const struct moved_chunk *chunk, const void *buf, unsigned index,
                       struct moved_record *record)
{
    const uint8_t *directory = (const uint8_t *)buf + chunk->directory_offset;
    const uint8_t *end = directory + chunk->directory_bytes, *line = directory;
    if (index >= chunk->records)
        return false;
    uint32_t offset = MOVED_HEADER_BYTES;
    if (index > 0) {
        line = record->fingerprints + (size_t)__builtin_popcount(record->slots) * chunk->fingerprint_bytes;
        offset = record->offset + record->bytes;
    }
    if (end - line < MOVED_LINE_BYTES)
        return false;
    *record = (struct moved_record){
        .group = get_le64(line),
        .offset = offset,
        .bytes = get_le16(line + 8) * (uint32_t)PLACE_UNIT,
        .slots = line[10],
        .fingerprints = line + MOVED_LINE_BYTES,
    };
    const ptrdiff_t fingerprints =
        (ptrdiff_t)__builtin_popcount(record->slots) * (ptrdiff_t)chunk->fingerprint_bytes;
    return record->slots && record->bytes && record->bytes <= PLACE_MAX_BYTES &&
           record->bytes <= chunk->directory_offset - offset && record->group < 1ull << 49 &&
           end - record->fingerprints >= fingerprints;
}
