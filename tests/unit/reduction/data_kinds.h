/* Test data: kinds that compressors treat differently, from one seed. */
#ifndef PS_TESTS_REDUCTION_DATA_KINDS_H
#define PS_TESTS_REDUCTION_DATA_KINDS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). */
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

/* PS_TEST_SEED repeats a run; printed either way. */
static inline uint64_t test_seed(const char *test, uint64_t fallback)
{
    const char *const given = getenv("PS_TEST_SEED");
    const uint64_t seed = given ? strtoull(given, NULL, 0) : fallback;
    printf("%s: PS_TEST_SEED=%llu\n", test, (unsigned long long)seed);
    return seed;
}

enum data_kind {
    DATA_ZERO,
    DATA_TEXT,       /* compresses about 2:1 */
    DATA_RANDOM,     /* does not compress */
    DATA_MIXED,      /* each 4 KiB text or random */
    DATA_LOW_BITS,   /* no repeats, few values: zstd shrinks it, LZ4 does not */
    DATA_ALMOST_RAW, /* random with a few repeats: saves less than it takes to be worth it */
    DATA_KINDS,
};

static inline void make_data(enum data_kind kind, uint64_t *rng, uint8_t *out, size_t bytes)
{
    static const char *const words[] = {"volume ", "segment ", "of ",  "flash, ", "epoch ", "the ",
                                        "is ",     "mapped ",  "to\n", "block ",  "0x0040", "sequence "};
    if (kind == DATA_ZERO) {
        memset(out, 0, bytes);
        return;
    }
    if (kind == DATA_MIXED) {
        for (size_t at = 0; at < bytes; at += 4096)
            make_data(next_random(rng) % 2 ? DATA_TEXT : DATA_RANDOM, rng, out + at,
                      bytes - at < 4096 ? bytes - at : 4096);
        return;
    }
    for (size_t at = 0; at < bytes;) {
        const uint64_t r = next_random(rng);
        if (kind == DATA_TEXT) {
            const char *const word = words[r % (sizeof words / sizeof words[0])];
            for (size_t i = 0; word[i] && at < bytes; i++)
                out[at++] = (uint8_t)word[i];
            for (int i = 0; i < 3 && at < bytes; i++)
                out[at++] = (uint8_t)(r >> (8 + 8 * i));
            continue;
        }
        for (unsigned i = 0; i < 8 && at < bytes; i++)
            out[at++] = (uint8_t)(r >> (8 * i)) & (kind == DATA_LOW_BITS ? 0x1f : 0xff);
    }
    if (kind == DATA_ALMOST_RAW)
        for (size_t at = 256; at + 64 <= bytes; at += 2048)
            memcpy(out + at, out + at - 200, 24);
}

#endif
