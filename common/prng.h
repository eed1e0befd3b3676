/* Reproducible pseudo-random numbers for tests, simulation and decisions that
 * must replay from a seed: xoshiro256** (Blackman and Vigna, 2018), seeded
 * through splitmix64. Not for secrets. */
#ifndef PS_COMMON_PRNG_H
#define PS_COMMON_PRNG_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct prng {
    uint64_t s[4];
};

/* One step of splitmix64: also a good mixer of a number into a hash. */
static inline uint64_t prng_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static inline void prng_seed(struct prng *p, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++)
        p->s[i] = prng_mix(seed + i * 0x9e3779b97f4a7c15ull);
}

static inline uint64_t prng_next(struct prng *p)
{
    uint64_t *s = p->s;
    const uint64_t m = s[1] * 5, result = ((m << 7) | (m >> 57)) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return result;
}

/* Uniform in [0, n), n > 0; the bias of the 64-bit product is below n / 2^64. */
static inline uint64_t prng_below(struct prng *p, uint64_t n)
{
    assert(n > 0);
    __extension__ typedef unsigned __int128 u128;
    return (uint64_t)(((u128)prng_next(p) * n) >> 64);
}

/* True in `num` of `den` cases. */
static inline bool prng_chance(struct prng *p, uint64_t num, uint64_t den)
{
    return prng_below(p, den) < num;
}

static inline void prng_fill(struct prng *p, void *buf, size_t len)
{
    uint8_t *at = buf;
    while (len > 0) {
        const uint64_t v = prng_next(p);
        const size_t n = len < sizeof v ? len : sizeof v;
        memcpy(at, &v, n);
        at += n;
        len -= n;
    }
}

#endif
