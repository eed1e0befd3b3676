/* Sizes as people write them: an integer with K, M, G or T, powers of 1024.
 * "10G", "10GiB", "10GB", "10g" and "10737418240" are the same size; fractions
 * and signs are refused, so that no size is rounded silently. Pure. */
#ifndef PS_COMMON_SIZES_H
#define PS_COMMON_SIZES_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

/* 0, PS_EINVAL or PS_ERANGE (beyond 2^64 - 1), with a detail that quotes `text`. */
int size_parse(const char *text, uint64_t *out, struct ps_error *err);

enum {
    SIZE_TEXT_MAX = 24
};

/* The shortest exact form ("16G", "1536M", "1000"): size_parse gives `bytes`
 * back. Writes into `out` (SIZE_TEXT_MAX bytes) and returns it. */
const char *size_format(uint64_t bytes, char *out);

/* For people, rounded: "1.4 GiB", "512 B". Not to be parsed. */
const char *size_format_human(uint64_t bytes, char *out);

#endif
