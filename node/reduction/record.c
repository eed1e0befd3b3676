#include "node/reduction/record.h"

#define ZSTD_STATIC_LINKING_ONLY /* states in memory of ours */
#include <assert.h>
#include <inttypes.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "common/endian_codec.h"
#include "common/xxh3.h"

/* Offsets in the header; lengths of SEPARATE's streams follow it. */
enum {
    AT_VERSION = 0,
    AT_BLOCKS = 1,
    AT_MODE = 2,
    AT_ALGORITHM = 3,
    AT_PAYLOAD_BYTES = 4,
    AT_GROUP = 8,
    AT_CHECKSUM = 16,
    AT_SLOTS = 24, /* version 2 */
    AT_RESERVED = 24,
    VERSION = 1,       /* slots 0 to blocks - 1 */
    VERSION_SLOTS = 2, /* those that AT_SLOTS says */
    LENGTH_BYTES = 2,
    GROUP_BYTES = RECORD_MAX_BLOCKS * RECORD_BLOCK_BYTES,
    ZSTD_LEVEL = 1,
};
_Static_assert(AT_RESERVED + 8 == RECORD_HEADER_BYTES, "the header is 32 bytes");
_Static_assert(RECORD_HEADER_BYTES + LENGTH_BYTES * RECORD_MAX_BLOCKS <= RECORD_UNIT_BYTES,
               "header and table of a raw group fit in RECORD_MAX_BYTES");

struct record_codec {
    ZSTD_CCtx *zstd_encoder;
    ZSTD_DCtx *zstd_decoder;
    void *lz4_state;
    uint8_t *scratch; /* a group: gathered source, or decoded whole */
};

/* What a compressed stream of `bytes` may take at most: it saves a sixteenth, or is kept raw. */
static size_t worthwhile(size_t bytes)
{
    return bytes - bytes / 16;
}

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static size_t zstd_encoder_bytes(void)
{
    size_t most = 0;
    for (unsigned n = 1; n <= RECORD_MAX_BLOCKS; n++) {
        const size_t bytes =
            ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(ZSTD_LEVEL, n * RECORD_BLOCK_BYTES, 0));
        if (bytes > most)
            most = bytes;
    }
    return most;
}

struct record_codec *record_codec_create(void)
{
    enum {
        ALIGN = 64
    };
    const size_t encoder = round_up(zstd_encoder_bytes(), ALIGN);
    const size_t decoder = round_up(ZSTD_estimateDCtxSize(), ALIGN);
    const size_t lz4 = round_up((size_t)LZ4_sizeofState(), ALIGN);
    const size_t self = round_up(sizeof(struct record_codec), ALIGN);
    uint8_t *memory = aligned_alloc(ALIGN, self + encoder + decoder + lz4 + GROUP_BYTES);
    if (!memory)
        return NULL;
    struct record_codec *codec = (void *)memory;
    codec->zstd_encoder = ZSTD_initStaticCCtx(memory + self, encoder);
    codec->zstd_decoder = ZSTD_initStaticDCtx(memory + self + encoder, decoder);
    codec->lz4_state = memory + self + encoder + decoder;
    codec->scratch = memory + self + encoder + decoder + lz4;
    assert(codec->zstd_encoder && codec->zstd_decoder);
    return codec;
}

void record_codec_destroy(struct record_codec *codec)
{
    free(codec);
}

static size_t table_bytes(enum record_mode mode, unsigned blocks)
{
    return mode == RECORD_SEPARATE ? (size_t)blocks * LENGTH_BYTES : 0;
}

static size_t length_of(enum record_mode mode, unsigned blocks, size_t payload_bytes)
{
    return round_up(RECORD_HEADER_BYTES + table_bytes(mode, blocks) + payload_bytes, RECORD_UNIT_BYTES);
}

size_t record_bound(unsigned blocks)
{
    assert(blocks >= 1 && blocks <= RECORD_MAX_BLOCKS);
    return length_of(RECORD_SEPARATE, blocks, (size_t)blocks * RECORD_BLOCK_BYTES);
}

unsigned record_stored_share(size_t record_length, unsigned blocks)
{
    assert(blocks >= 1 && blocks <= RECORD_MAX_BLOCKS);
    const size_t unit = (size_t)blocks * RECORD_UNIT_BYTES;
    const size_t share = (record_length + unit - 1) / unit;
    return share < 1 ? 1 : share > 64 ? 64 : (unsigned)share;
}

/* All of the record but the checksum itself: the header with a checksum of
 * zero gives the seed for what follows, padding included. */
static uint64_t checksum_of(const uint8_t *record, size_t length)
{
    uint8_t header[RECORD_HEADER_BYTES];
    memcpy(header, record, sizeof header);
    put_le64(header + AT_CHECKSUM, 0);
    return XXH3_64bits_withSeed(record + RECORD_HEADER_BYTES, length - RECORD_HEADER_BYTES,
                                XXH3_64bits(header, sizeof header));
}

/* ---- encoding */

/* Bytes of the compressed stream, or 0 when it would take more than `limit`.
 * Data without matches costs both compressors little: they lengthen their
 * stride while they find nothing (README.md has the numbers). */
static size_t compress(struct record_codec *codec, enum record_algorithm algorithm, const void *src,
                       size_t bytes, void *out, size_t limit)
{
    if (algorithm == RECORD_LZ4) {
        const int n = LZ4_compress_fast_extState(codec->lz4_state, src, out, (int)bytes, (int)limit, 1);
        return n > 0 ? (size_t)n : 0;
    }
    assert(algorithm == RECORD_ZSTD);
    const size_t n = ZSTD_compressCCtx(codec->zstd_encoder, out, limit, src, bytes, ZSTD_LEVEL);
    if (!ZSTD_isError(n))
        return n;
    assert(ZSTD_getErrorCode(n) == ZSTD_error_dstSize_tooSmall);
    return 0;
}

/* The blocks as one piece: where they are, or gathered into scratch. */
static const uint8_t *in_one_piece(struct record_codec *codec, const void *const blocks[], unsigned n)
{
    unsigned i = 1;
    while (i < n && blocks[i] == (const uint8_t *)blocks[0] + (size_t)i * RECORD_BLOCK_BYTES)
        i++;
    if (i == n)
        return blocks[0];
    for (i = 0; i < n; i++)
        memcpy(codec->scratch + (size_t)i * RECORD_BLOCK_BYTES, blocks[i], RECORD_BLOCK_BYTES);
    return codec->scratch;
}

static unsigned all_slots(unsigned blocks)
{
    return (1u << blocks) - 1;
}

static size_t seal_slots(uint8_t *record, uint64_t group, unsigned slots, enum record_mode mode,
                         enum record_algorithm algorithm, size_t payload_bytes)
{
    const unsigned n = (unsigned)__builtin_popcount(slots);
    const size_t end = RECORD_HEADER_BYTES + table_bytes(mode, n) + payload_bytes;
    const size_t length = length_of(mode, n, payload_bytes);
    const bool dense = slots == all_slots(n);
    record[AT_VERSION] = dense ? VERSION : VERSION_SLOTS;
    record[AT_BLOCKS] = (uint8_t)n;
    record[AT_MODE] = (uint8_t)mode;
    record[AT_ALGORITHM] = (uint8_t)algorithm;
    put_le32(record + AT_PAYLOAD_BYTES, (uint32_t)payload_bytes);
    put_le64(record + AT_GROUP, group);
    put_le64(record + AT_RESERVED, 0);
    if (!dense)
        record[AT_SLOTS] = (uint8_t)slots;
    memset(record + end, 0, length - end);
    put_le64(record + AT_CHECKSUM, checksum_of(record, length));
    return length;
}

static size_t seal(uint8_t *record, uint64_t group, unsigned n, enum record_mode mode,
                   enum record_algorithm algorithm, size_t payload_bytes)
{
    return seal_slots(record, group, all_slots(n), mode, algorithm, payload_bytes);
}

static size_t encode_raw(uint64_t group, const void *const blocks[], unsigned n, uint8_t *record)
{
    for (unsigned i = 0; i < n; i++)
        memcpy(record + RECORD_HEADER_BYTES + (size_t)i * RECORD_BLOCK_BYTES, blocks[i], RECORD_BLOCK_BYTES);
    return seal(record, group, n, RECORD_RAW, RECORD_PLAIN, (size_t)n * RECORD_BLOCK_BYTES);
}

/* 0 when nothing shrank. */
static size_t encode_separate(struct record_codec *codec, enum record_algorithm algorithm, uint64_t group,
                              const void *const blocks[], unsigned slots, uint8_t *record)
{
    const unsigned n = (unsigned)__builtin_popcount(slots);
    uint8_t *const payload = record + RECORD_HEADER_BYTES + table_bytes(RECORD_SEPARATE, n);
    size_t total = 0;
    for (unsigned i = 0; i < n; i++) {
        size_t bytes = compress(codec, algorithm, blocks[i], RECORD_BLOCK_BYTES, payload + total,
                                worthwhile(RECORD_BLOCK_BYTES));
        if (bytes == 0) {
            bytes = RECORD_BLOCK_BYTES;
            memcpy(payload + total, blocks[i], bytes);
        }
        put_le16(record + RECORD_HEADER_BYTES + (size_t)i * LENGTH_BYTES, (uint16_t)bytes);
        total += bytes;
    }
    if (total == (size_t)n * RECORD_BLOCK_BYTES)
        return 0;
    return seal_slots(record, group, slots, RECORD_SEPARATE, algorithm, total);
}

size_t record_encode(struct record_codec *codec, enum record_algorithm algorithm, uint64_t group,
                     const void *const blocks[], unsigned n, bool joint, void *out, size_t capacity)
{
    assert(n >= 1 && n <= RECORD_MAX_BLOCKS && capacity >= record_bound(n));
    uint8_t *const record = out;
    size_t length = 0;
    if (algorithm != RECORD_PLAIN && (joint || n == 1)) {
        const size_t bytes = (size_t)n * RECORD_BLOCK_BYTES;
        const size_t payload = compress(codec, algorithm, in_one_piece(codec, blocks, n), bytes,
                                        record + RECORD_HEADER_BYTES, worthwhile(bytes));
        if (payload > 0)
            length = seal(record, group, n, RECORD_JOINT, algorithm, payload);
    } else if (algorithm != RECORD_PLAIN) {
        length = encode_separate(codec, algorithm, group, blocks, all_slots(n), record);
    }
    return length > 0 ? length : encode_raw(group, blocks, n, record);
}

/* Streams are gathered behind the longest header and moved up when their number is known. */
enum {
    SCATTER_AT = RECORD_HEADER_BYTES + LENGTH_BYTES * RECORD_MAX_BLOCKS
};

void record_scatter_begin(struct record_scatter *scatter, void *out)
{
    *scatter = (struct record_scatter){.out = out};
}

size_t record_scatter_add(struct record_codec *codec, struct record_scatter *scatter,
                          enum record_algorithm algorithm, const void *block)
{
    assert(scatter->blocks < RECORD_MAX_BLOCKS);
    uint8_t *const stream = scatter->out + SCATTER_AT + scatter->payload_bytes;
    size_t bytes = 0;
    if (algorithm != RECORD_PLAIN)
        bytes = compress(codec, algorithm, block, RECORD_BLOCK_BYTES, stream, worthwhile(RECORD_BLOCK_BYTES));
    if (bytes == 0) {
        bytes = RECORD_BLOCK_BYTES;
        memcpy(stream, block, bytes);
    }
    put_le16(scatter->out + RECORD_HEADER_BYTES + (size_t)scatter->blocks * LENGTH_BYTES, (uint16_t)bytes);
    scatter->payload_bytes += bytes;
    scatter->blocks++;
    return bytes;
}

size_t record_scatter_finish(struct record_scatter *scatter, enum record_algorithm algorithm, uint64_t group)
{
    const unsigned n = scatter->blocks;
    const bool raw = scatter->payload_bytes == (size_t)n * RECORD_BLOCK_BYTES;
    const enum record_mode mode = raw ? RECORD_RAW : RECORD_SEPARATE;
    memmove(scatter->out + RECORD_HEADER_BYTES + table_bytes(mode, n), scatter->out + SCATTER_AT,
            scatter->payload_bytes);
    return seal(scatter->out, group, n, mode, raw ? RECORD_PLAIN : algorithm, scatter->payload_bytes);
}

/* ---- decoding */

int record_peek(const void *buf, struct record_info *out, struct ps_error *err)
{
    const uint8_t *const p = buf;
    const unsigned blocks = p[AT_BLOCKS], mode = p[AT_MODE], algorithm = p[AT_ALGORITHM];
    const uint32_t payload = get_le32(p + AT_PAYLOAD_BYTES);
    if (p[AT_VERSION] != VERSION && p[AT_VERSION] != VERSION_SLOTS)
        return ps_error_set(err, PS_EDAMAGED, "record: version %u, expected %u or %u", p[AT_VERSION], VERSION,
                            VERSION_SLOTS);
    if (blocks < 1 || blocks > RECORD_MAX_BLOCKS)
        return ps_error_set(err, PS_EDAMAGED, "record: %u blocks, expected 1 to %u", blocks,
                            RECORD_MAX_BLOCKS);
    if (mode > RECORD_SEPARATE || algorithm > RECORD_ZSTD ||
        (mode == RECORD_RAW) != (algorithm == RECORD_PLAIN))
        return ps_error_set(err, PS_EDAMAGED, "record: mode %u with algorithm %u", mode, algorithm);
    const uint32_t raw = blocks * RECORD_BLOCK_BYTES;
    if (mode == RECORD_RAW ? payload != raw : payload < 1 || payload >= raw)
        return ps_error_set(err, PS_EDAMAGED, "record: payload of %" PRIu32 " bytes for %u blocks in mode %u",
                            payload, blocks, mode);
    uint64_t reserved = get_le64(p + AT_RESERVED);
    unsigned slots = all_slots(blocks);
    if (p[AT_VERSION] == VERSION_SLOTS) {
        if ((unsigned)__builtin_popcount(p[AT_SLOTS]) != blocks || p[AT_SLOTS] == slots)
            return ps_error_set(err, PS_EDAMAGED, "record: slots %#x for %u blocks", p[AT_SLOTS], blocks);
        slots = p[AT_SLOTS];
        reserved ^= slots;
    }
    if (reserved != 0)
        return ps_error_set(err, PS_EDAMAGED, "record: reserved bytes are not zero");
    *out = (struct record_info){
        .group = get_le64(p + AT_GROUP),
        .length = (uint32_t)length_of(mode, blocks, payload),
        .blocks = (uint8_t)blocks,
        .slots = (uint8_t)slots,
        .mode = mode,
        .algorithm = algorithm,
    };
    return 0;
}

/* As record_peek, and the record is exactly `len` bytes long. */
static int open_record(const void *buf, size_t len, struct record_info *out, struct ps_error *err)
{
    if (len < RECORD_HEADER_BYTES)
        return ps_error_set(err, PS_EDAMAGED, "record: %zu bytes, shorter than a header", len);
    struct record_info info;
    const int status = record_peek(buf, &info, err);
    if (status)
        return status;
    if (info.length != len)
        return ps_error_set(err, PS_EDAMAGED, "record: %" PRIu32 " bytes by its header, %zu here",
                            info.length, len);
    *out = info;
    return 0;
}

int record_verify(const void *buf, size_t len, uint64_t group, struct ps_error *err)
{
    struct record_info info;
    const int status = open_record(buf, len, &info, err);
    if (status)
        return status;
    const uint64_t stored = get_le64((const uint8_t *)buf + AT_CHECKSUM), computed = checksum_of(buf, len);
    if (stored != computed)
        return ps_error_set(err, PS_EDAMAGED, "record: checksum %016" PRIx64 ", computed %016" PRIx64, stored,
                            computed);
    if (info.group != group)
        return ps_error_set(err, PS_EDAMAGED, "record: holds group %" PRIu64 ", expected %" PRIu64,
                            info.group, group);
    return 0;
}

static int undecodable(struct ps_error *err)
{
    return ps_error_set(err, PS_EDAMAGED, "record: compressed data does not decode");
}

/* Decodes the first `want` of the `bytes` that the stream holds. */
static int decompress(struct record_codec *codec, enum record_algorithm algorithm, const uint8_t *src,
                      size_t src_bytes, uint8_t *dst, size_t want, size_t bytes)
{
    if (algorithm == RECORD_ZSTD) {
        /* One zstd block: it decodes whole or not at all. */
        uint8_t *const whole = want == bytes ? dst : codec->scratch;
        if (ZSTD_decompressDCtx(codec->zstd_decoder, whole, bytes, src, src_bytes) != bytes)
            return PS_EDAMAGED;
        if (whole != dst)
            memmove(dst, whole, want);
        return 0;
    }
    const int n = want == bytes
                      ? LZ4_decompress_safe((const char *)src, (char *)dst, (int)src_bytes, (int)want)
                      : LZ4_decompress_safe_partial((const char *)src, (char *)dst, (int)src_bytes, (int)want,
                                                    (int)want);
    return n == (int)want ? 0 : PS_EDAMAGED;
}

/* Where the first `count` outputs lie one behind the other, that place; else NULL. */
static uint8_t *one_piece_out(void *const out[], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!out[i] || out[i] != (uint8_t *)out[0] + (size_t)i * RECORD_BLOCK_BYTES)
            return NULL;
    return out[0];
}

static int decode_joint(struct record_codec *codec, const struct record_info *info, const uint8_t *payload,
                        size_t payload_bytes, void *const out[], unsigned count, struct ps_error *err)
{
    uint8_t *const direct = one_piece_out(out, count);
    uint8_t *const dst = direct ? direct : codec->scratch;
    if (decompress(codec, info->algorithm, payload, payload_bytes, dst, (size_t)count * RECORD_BLOCK_BYTES,
                   (size_t)info->blocks * RECORD_BLOCK_BYTES))
        return undecodable(err);
    for (unsigned i = 0; i < count && !direct; i++)
        if (out[i])
            memcpy(out[i], dst + (size_t)i * RECORD_BLOCK_BYTES, RECORD_BLOCK_BYTES);
    return 0;
}

static int decode_separate(struct record_codec *codec, const struct record_info *info, const uint8_t *table,
                           const uint8_t *payload, size_t payload_bytes, void *const out[], unsigned count,
                           struct ps_error *err)
{
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        const size_t bytes = get_le16(table + (size_t)i * LENGTH_BYTES);
        if (bytes < 1 || bytes > RECORD_BLOCK_BYTES || bytes > payload_bytes - at)
            return ps_error_set(err, PS_EDAMAGED, "record: block %u has %zu bytes at %zu of %zu", i, bytes,
                                at, payload_bytes);
        if (out[i] && bytes == RECORD_BLOCK_BYTES)
            memcpy(out[i], payload + at, RECORD_BLOCK_BYTES);
        else if (out[i] && decompress(codec, info->algorithm, payload + at, bytes, out[i], RECORD_BLOCK_BYTES,
                                      RECORD_BLOCK_BYTES))
            return undecodable(err);
        at += bytes;
    }
    if (count == info->blocks && at != payload_bytes)
        return ps_error_set(err, PS_EDAMAGED, "record: blocks take %zu of %zu bytes", at, payload_bytes);
    return 0;
}

/* The outputs in the order of what is stored; returns up to the last that is wanted, or PS_ERANGE. */
static int in_order(const struct record_info *info, void *const by_slot[], void *out[], struct ps_error *err)
{
    int count = 0;
    unsigned index = 0;
    for (unsigned slot = 0; slot < RECORD_MAX_BLOCKS; slot++) {
        const bool stored = info->slots >> slot & 1;
        if (by_slot[slot] && !stored)
            return ps_error_set(err, PS_ERANGE, "record: no block %u among slots %#x", slot, info->slots);
        if (!stored)
            continue;
        out[index++] = by_slot[slot];
        if (by_slot[slot])
            count = (int)index;
    }
    return count;
}

int record_decode_all(struct record_codec *codec, const void *buf, size_t len,
                      void *const by_slot[RECORD_MAX_BLOCKS], struct ps_error *err)
{
    struct record_info info;
    void *out[RECORD_MAX_BLOCKS] = {0};
    const int status = open_record(buf, len, &info, err);
    if (status)
        return status;
    const int wanted = in_order(&info, by_slot, out, err);
    if (wanted <= 0)
        return wanted;
    const unsigned count = (unsigned)wanted;

    const uint8_t *const table = (const uint8_t *)buf + RECORD_HEADER_BYTES;
    const uint8_t *const payload = table + table_bytes(info.mode, info.blocks);
    const size_t payload_bytes = get_le32((const uint8_t *)buf + AT_PAYLOAD_BYTES);
    if (info.mode == RECORD_JOINT)
        return decode_joint(codec, &info, payload, payload_bytes, out, count, err);
    if (info.mode == RECORD_SEPARATE)
        return decode_separate(codec, &info, table, payload, payload_bytes, out, count, err);
    for (unsigned i = 0; i < count; i++)
        if (out[i])
            memcpy(out[i], payload + (size_t)i * RECORD_BLOCK_BYTES, RECORD_BLOCK_BYTES);
    return 0;
}

int record_decode_block(struct record_codec *codec, const void *buf, size_t len, unsigned slot, void *out,
                        struct ps_error *err)
{
    if (slot >= RECORD_MAX_BLOCKS)
        return ps_error_set(err, PS_ERANGE, "record: no block %u", slot);
    void *wanted[RECORD_MAX_BLOCKS] = {0};
    wanted[slot] = out;
    return record_decode_all(codec, buf, len, wanted, err);
}

/* ---- survivors */

/* The streams of the slots in `keep`, one behind the other. */
static int survivors_apart(const struct record_info *info, const uint8_t *record, unsigned keep, uint8_t *out,
                           size_t *length, struct ps_error *err)
{
    const bool raw = info->mode == RECORD_RAW;
    const uint8_t *const table = record + RECORD_HEADER_BYTES;
    const uint8_t *const payload = table + table_bytes(info->mode, info->blocks);
    const size_t payload_bytes = get_le32(record + AT_PAYLOAD_BYTES);
    const unsigned n = (unsigned)__builtin_popcount(keep);
    uint8_t streams[RECORD_MAX_BLOCKS * LENGTH_BYTES];
    uint8_t *const to = out + SCATTER_AT;
    size_t at = 0, total = 0;
    for (unsigned slot = 0, index = 0, kept = 0; slot < RECORD_MAX_BLOCKS; slot++) {
        if (!(info->slots >> slot & 1))
            continue;
        const size_t bytes = raw ? RECORD_BLOCK_BYTES : get_le16(table + (size_t)index * LENGTH_BYTES);
        if (bytes < 1 || bytes > RECORD_BLOCK_BYTES || bytes > payload_bytes - at)
            return ps_error_set(err, PS_EDAMAGED, "record: block %u has %zu bytes at %zu of %zu", index,
                                bytes, at, payload_bytes);
        if (keep >> slot & 1) {
            memcpy(to + total, payload + at, bytes);
            put_le16(streams + (size_t)kept++ * LENGTH_BYTES, (uint16_t)bytes);
            total += bytes;
        }
        at += bytes;
        index++;
    }
    const enum record_mode mode = total == (size_t)n * RECORD_BLOCK_BYTES ? RECORD_RAW : RECORD_SEPARATE;
    memcpy(out + RECORD_HEADER_BYTES, streams, table_bytes(mode, n));
    memmove(out + RECORD_HEADER_BYTES + table_bytes(mode, n), to, total);
    *length =
        seal_slots(out, info->group, keep, mode, mode == RECORD_RAW ? RECORD_PLAIN : info->algorithm, total);
    return 0;
}

static int survivors_anew(struct record_codec *codec, enum record_algorithm algorithm,
                          const struct record_info *info, const uint8_t *record, unsigned keep, uint8_t *work,
                          uint8_t *out, size_t *length, struct ps_error *err)
{
    void *by_slot[RECORD_MAX_BLOCKS] = {0};
    size_t bytes = 0;
    for (unsigned slot = 0; slot < RECORD_MAX_BLOCKS; slot++)
        if (keep >> slot & 1) {
            by_slot[slot] = work + bytes;
            bytes += RECORD_BLOCK_BYTES;
        }
    const int status = record_decode_all(codec, record, info->length, by_slot, err);
    if (status)
        return status;
    const size_t payload = algorithm == RECORD_PLAIN ? 0
                                                     : compress(codec, algorithm, work, bytes,
                                                                out + RECORD_HEADER_BYTES, worthwhile(bytes));
    if (payload == 0)
        memcpy(out + RECORD_HEADER_BYTES, work, bytes);
    *length = payload ? seal_slots(out, info->group, keep, RECORD_JOINT, algorithm, payload)
                      : seal_slots(out, info->group, keep, RECORD_RAW, RECORD_PLAIN, bytes);
    return 0;
}

int record_survivors(struct record_codec *codec, enum record_algorithm algorithm, const void *buf, size_t len,
                     unsigned keep, void *work, void *out, struct record_info *written, struct ps_error *err)
{
    struct record_info info;
    size_t length = len;
    int status = open_record(buf, len, &info, err);
    if (status)
        return status;
    assert(keep && (keep & ~(unsigned)info.slots) == 0 && "what lives is in the record");
    const unsigned n = (unsigned)__builtin_popcount(keep);
    if (keep == info.slots || (info.mode == RECORD_JOINT && n * 8 >= info.blocks * 7u))
        memcpy(out, buf, len);
    else if (info.mode == RECORD_JOINT)
        status = survivors_anew(codec, algorithm, &info, buf, keep, work, out, &length, err);
    else
        status = survivors_apart(&info, buf, keep, out, &length, err);
    return status ? status : open_record(out, length, written, err);
}

size_t record_denser(struct record_codec *codec, const void *buf, size_t len, void *work, void *out)
{
    struct record_info info;
    void *by_slot[RECORD_MAX_BLOCKS] = {0};
    const void *blocks[RECORD_MAX_BLOCKS];
    uint8_t *const to = out;
    size_t bytes = 0, length = 0;
    if (open_record(buf, len, &info, NULL) || info.algorithm == RECORD_ZSTD)
        return 0;
    for (unsigned slot = 0, n = 0; slot < RECORD_MAX_BLOCKS; slot++)
        if (info.slots >> slot & 1) {
            blocks[n++] = by_slot[slot] = (uint8_t *)work + bytes;
            bytes += RECORD_BLOCK_BYTES;
        }
    if (record_decode_all(codec, buf, len, by_slot, NULL))
        return 0;
    if (info.mode == RECORD_SEPARATE) {
        length = encode_separate(codec, RECORD_ZSTD, info.group, blocks, info.slots, to);
    } else {
        const size_t payload =
            compress(codec, RECORD_ZSTD, work, bytes, to + RECORD_HEADER_BYTES, worthwhile(bytes));
        if (payload)
            length = seal_slots(to, info.group, info.slots, RECORD_JOINT, RECORD_ZSTD, payload);
    }
    return length <= worthwhile(len) ? length : 0;
}
