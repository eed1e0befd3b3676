/* Pattern removal: a block that repeats 1, 2 or 4 bytes (zeroes too) needs no
 * data, its map entry holds the pattern. Every such block has period 4, so one
 * 32-bit pattern describes them all: the block's first four bytes, the first
 * in the low bits. */
#ifndef PS_NODE_REDUCTION_PATTERN_H
#define PS_NODE_REDUCTION_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PATTERN_BLOCK_BYTES = 4096
};

/* True when the 4 KiB at `block` (any alignment) repeat their first four bytes;
 * `*pattern` is written only then. Other data is left at its first 8 bytes that differ. */
bool pattern_detect(const void *block, uint32_t *pattern);

/* Writes `bytes` of the pattern as they stand from `offset` on inside a block:
 * the reader of bytes 510 to 1022 of a block passes offset 510. */
void pattern_fill(void *dst, size_t bytes, size_t offset, uint32_t pattern);

#endif
