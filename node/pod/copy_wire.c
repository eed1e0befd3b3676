/* Little-endian. Description: 0 magic "PSCD", 4 version u16, 6 zero u16, 8 segment_bytes u32, 12
 * segment_count u32, 16 used u32, 20 highest u32, 24 pieces u64, 32 bytes u64, zero, 56 XXH3-64 of the header
 * with this field 0; then the anchor as node/flash/anchor.c writes it, with its own checksum. Piece: 0 magic
 * "PSCP", 4 version u16, 6 zero u16, 8 number u64, 16 segment u32, 20 offset u32, 24 bytes u32, 28 zero u32,
 * 32 XXH3-64 of the data, zero, 56 XXH3-64 of the header with this field 0; then the data. */
#include "node/pod/copy_wire.h"

#include <string.h>

#include "common/endian_codec.h"
#include "node/meta/checksum.h"

enum {
    DESCRIPTION_MAGIC = 0x44435350, /* "PSCD" */
    PIECE_MAGIC = 0x50435350,       /* "PSCP" */
    VERSION = 1,
    CHECKSUM_AT = 56,
};
_Static_assert((int)CHECKSUM_AT + 8 == (int)COPY_HEADER_BYTES, "the checksum ends the header");

static void begin(uint8_t *p, uint32_t magic)
{
    memset(p, 0, COPY_HEADER_BYTES);
    put_le32(p, magic);
    put_le16(p + 4, VERSION);
}

static void seal(uint8_t *p)
{
    put_le64(p + CHECKSUM_AT, checksum_record(p, COPY_HEADER_BYTES, CHECKSUM_AT));
}

static int check(const uint8_t *p, size_t bytes, uint32_t magic, const char *what, struct ps_error *err)
{
    if (bytes < COPY_HEADER_BYTES || get_le32(p) != magic)
        return ps_error_set(err, PS_EINVAL, "no %s of a copy", what);
    if (get_le64(p + CHECKSUM_AT) != checksum_record(p, COPY_HEADER_BYTES, CHECKSUM_AT))
        return ps_error_set(err, PS_EDAMAGED, "a copy's %s has a wrong checksum", what);
    if (get_le16(p + 4) != VERSION)
        return ps_error_set(err, PS_EVERSION, "a copy's %s has version %u, this program reads %d", what,
                            get_le16(p + 4), VERSION);
    return 0;
}

void copy_description_encode(const struct copy_description *d, void *out)
{
    uint8_t *p = out;
    begin(p, DESCRIPTION_MAGIC);
    put_le32(p + 8, d->segment_bytes);
    put_le32(p + 12, d->segment_count);
    put_le32(p + 16, d->used);
    put_le32(p + 20, d->highest);
    put_le64(p + 24, d->pieces);
    put_le64(p + 32, d->bytes);
    seal(p);
    anchor_encode(&d->anchor, p + COPY_HEADER_BYTES);
}

int copy_description_decode(const void *data, size_t bytes, struct copy_description *out,
                            struct ps_error *err)
{
    const uint8_t *p = data;
    int rc = check(p, bytes, DESCRIPTION_MAGIC, "description", err);
    if (rc)
        return rc;
    if (bytes != COPY_DESCRIPTION_BYTES)
        return ps_error_set(err, PS_EINVAL, "a copy's description has %zu bytes", bytes);
    struct copy_description d = {
        .segment_bytes = get_le32(p + 8),
        .segment_count = get_le32(p + 12),
        .used = get_le32(p + 16),
        .highest = get_le32(p + 20),
        .pieces = get_le64(p + 24),
        .bytes = get_le64(p + 32),
    };
    if (d.segment_bytes == 0 || d.highest >= d.segment_count || d.used > d.segment_count ||
        d.pieces > d.bytes || d.bytes > (uint64_t)d.segment_count * d.segment_bytes)
        return ps_error_set(err, PS_EINVAL, "a copy's description has impossible sizes");
    rc = anchor_decode(p + COPY_HEADER_BYTES, &d.anchor, err);
    if (rc == 0)
        *out = d;
    return rc;
}

void copy_piece_seal(const struct copy_piece *piece, void *header)
{
    uint8_t *p = header;
    begin(p, PIECE_MAGIC);
    put_le64(p + 8, piece->number);
    put_le32(p + 16, piece->segment);
    put_le32(p + 20, piece->offset);
    put_le32(p + 24, piece->bytes);
    put_le64(p + 32, checksum_bytes(p + COPY_HEADER_BYTES, piece->bytes));
    seal(p);
}

int copy_piece_decode(const void *message, size_t bytes, struct copy_piece *out, struct ps_error *err)
{
    const uint8_t *p = message;
    const int rc = check(p, bytes, PIECE_MAGIC, "piece", err);
    if (rc)
        return rc;
    const struct copy_piece piece = {
        .number = get_le64(p + 8),
        .segment = get_le32(p + 16),
        .offset = get_le32(p + 20),
        .bytes = get_le32(p + 24),
    };
    if (piece.bytes == 0 || piece.bytes > COPY_PIECE_BYTES || piece.bytes % ANCHOR_BYTES ||
        piece.offset % ANCHOR_BYTES || bytes != COPY_HEADER_BYTES + (size_t)piece.bytes)
        return ps_error_set(err, PS_EINVAL, "a piece of a copy has impossible sizes");
    if (get_le64(p + 32) != checksum_bytes(p + COPY_HEADER_BYTES, piece.bytes))
        return ps_error_set(err, PS_EDAMAGED, "a piece of a copy has a wrong checksum");
    *out = piece;
    return 0;
}
