/* What names a block's contents for deduplication. Either algorithm only finds
 * candidates: a match counts after the bytes were compared. SHA-256 exists for
 * those who exchange fingerprints with another cluster and cannot compare. */
#ifndef PS_NODE_REDUCTION_FINGERPRINT_H
#define PS_NODE_REDUCTION_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/endian_codec.h"

/* The values are part of disk formats. */
enum fingerprint_algorithm {
    FINGERPRINT_XXH3_128 = 1, /* 16 bytes: low 64 bits, then high, little-endian */
    FINGERPRINT_SHA256 = 2,   /* 32 bytes */
};

enum {
    FINGERPRINT_BLOCK_BYTES = 4096,
    FINGERPRINT_MAX_BYTES = 32,
};

struct fingerprint {
    uint8_t bytes[FINGERPRINT_MAX_BYTES]; /* those beyond fingerprint_size are zero */
};

/* Bytes that are significant: 16 or 32; 0 for a number that is no algorithm. */
static inline size_t fingerprint_size(enum fingerprint_algorithm algorithm)
{
    return algorithm == FINGERPRINT_XXH3_128 ? 16 : algorithm == FINGERPRINT_SHA256 ? 32 : 0;
}

/* Fingerprint of 4 KiB at any alignment. Does not allocate. */
void fingerprint_block(enum fingerprint_algorithm algorithm, const void *block, struct fingerprint *out);

/* The dedup index's key: uniformly distributed with both algorithms. */
static inline uint64_t fingerprint_key(const struct fingerprint *fp)
{
    return get_le64(fp->bytes);
}

#endif
