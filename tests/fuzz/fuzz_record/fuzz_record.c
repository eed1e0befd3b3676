/* Any bytes as a stored record, the checksum made right so that it hides
 * nothing. Whatever decodes whole must decode to the same in parts. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "common/xxh3.h"
#include "node/reduction/record.h"

enum {
    BLOCK = RECORD_BLOCK_BYTES,
    MAX = RECORD_MAX_BLOCKS
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t lz4_run(const uint8_t *p, size_t n, size_t *at, size_t length)
{
    if (length < 15)
        return length;
    for (; *at < n; length += 255) {
        const uint8_t byte = p[(*at)++];
        if (byte < 255)
            return length + byte;
    }
    return length;
}

/* LZ4 (1.9.4) takes a match at distance 0, which no encoder writes: it copies
 * what the output held before, so that nothing can be compared. */
static bool has_distance_zero(const uint8_t *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        const uint8_t token = p[at++];
        const size_t literals = lz4_run(p, n, &at, token >> 4);
        at += literals;
        if (at + 2 > n)
            return false;
        if (get_le16(p + at) == 0)
            return true;
        at += 2;
        (void)lz4_run(p, n, &at, token & 15);
    }
    return false;
}

/* Of a record that decodes. */
static bool streams_have_distance_zero(const uint8_t *record, const struct record_info *info)
{
    const uint8_t *const table = record + RECORD_HEADER_BYTES;
    if (info->algorithm != RECORD_LZ4)
        return false;
    if (info->mode == RECORD_JOINT)
        return has_distance_zero(table, get_le32(record + 4));
    const uint8_t *stream = table + (size_t)info->blocks * 2;
    for (unsigned i = 0; i < info->blocks; i++) {
        const size_t bytes = get_le16(table + (size_t)i * 2);
        if (bytes < BLOCK && has_distance_zero(stream, bytes))
            return true;
        stream += bytes;
    }
    return false;
}

/* Every other slot, moved. */
static void survive(struct record_codec *codec, const uint8_t *record, const struct record_info *info,
                    const uint8_t *whole, bool comparable)
{
    static uint8_t work[MAX * BLOCK], block[BLOCK];
    const unsigned keep = info->slots & 0x55 ? info->slots & 0x55 : info->slots;
    uint8_t *out = malloc(RECORD_MAX_BYTES);
    struct record_info moved;
    const int status =
        record_survivors(codec, RECORD_LZ4, record, info->length, keep, work, out, &moved, NULL);
    assert(status == 0 || status == PS_EDAMAGED);
    assert(status || record_verify(out, moved.length, info->group, NULL) == 0);
    for (unsigned slot = 0; slot < MAX && status == 0 && comparable; slot++)
        if (keep >> slot & 1) {
            const int rc = record_decode_block(codec, out, moved.length, slot, block, NULL);
            assert(rc == 0 && memcmp(block, whole + (size_t)slot * BLOCK, BLOCK) == 0);
        }
    if (status == 0) {
        uint8_t *denser = malloc(RECORD_MAX_BYTES);
        const size_t length = record_denser(codec, out, moved.length, work, denser);
        assert(length == 0 || record_verify(denser, length, info->group, NULL) == 0);
        for (unsigned slot = 0; slot < MAX && length && comparable; slot++)
            if (keep >> slot & 1) {
                const int rc = record_decode_block(codec, denser, length, slot, block, NULL);
                assert(rc == 0 && memcmp(block, whole + (size_t)slot * BLOCK, BLOCK) == 0);
            }
        free(denser);
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct record_codec *codec;
    static uint8_t whole[MAX * BLOCK];
    if (!codec)
        codec = record_codec_create();
    struct record_info info;
    (void)record_verify(data, size, 1, NULL);
    if (size < RECORD_HEADER_BYTES || record_peek(data, &info, NULL) != 0)
        return 0;

    /* A record cut short or followed by noise is a record of its right length here. */
    uint8_t *const record = calloc(1, info.length);
    memcpy(record, data, size < info.length ? size : info.length);
    memset(record + 16, 0, 8);
    put_le64(record + 16,
             XXH3_64bits_withSeed(record + RECORD_HEADER_BYTES, info.length - RECORD_HEADER_BYTES,
                                  XXH3_64bits(record, RECORD_HEADER_BYTES)));
    assert(record_verify(record, info.length, info.group, NULL) == 0);

    void *out[MAX] = {0};
    for (unsigned i = 0; i < MAX; i++)
        out[i] = info.slots >> i & 1 ? whole + (size_t)i * BLOCK : NULL;
    const int status = record_decode_all(codec, record, info.length, out, NULL);
    assert(status == 0 || status == PS_EDAMAGED);
    const bool comparable = status == 0 && !streams_have_distance_zero(record, &info);
    uint8_t *const block = malloc(BLOCK);
    for (unsigned slot = 0; slot <= MAX; slot++) {
        const bool stored = slot < MAX && info.slots >> slot & 1;
        const int alone = record_decode_block(codec, record, info.length, slot, block, NULL);
        assert(stored ? alone == 0 || alone == PS_EDAMAGED : alone == PS_ERANGE);
        assert(!stored || status != 0 || alone == 0);
        assert(!stored || !comparable || memcmp(block, whole + (size_t)slot * BLOCK, BLOCK) == 0);
    }
    survive(codec, record, &info, whole, comparable);
    free(block);
    free(record);
    return 0;
}
