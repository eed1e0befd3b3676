/* Where a record lies in a pool's flash: byte address and length, both in
 * units of 64 bytes, in one 52-bit number: address 41 bits (128 TiB), length 11
 * bits (up to 128 KiB less one unit). Address 0 holds the pool's label, so 0
 * means "nowhere". */
#ifndef PS_NODE_META_PLACE_H
#define PS_NODE_META_PLACE_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    PLACE_UNIT = 64,
    PLACE_MAX_BYTES = 2047 * PLACE_UNIT
};
#define PLACE_END (1ull << 47) /* no place lies there or behind it */

struct place {
    uint64_t v;
};

#define PLACE_NONE ((struct place){0})

static inline struct place place_make(uint64_t addr_bytes, uint64_t len_bytes)
{
    assert(addr_bytes % PLACE_UNIT == 0 && len_bytes % PLACE_UNIT == 0);
    assert(len_bytes > 0 && len_bytes <= PLACE_MAX_BYTES && addr_bytes < PLACE_END);
    return (struct place){(addr_bytes / PLACE_UNIT) << 11 | len_bytes / PLACE_UNIT};
}

static inline uint64_t place_addr(struct place p)
{
    return (p.v >> 11) * PLACE_UNIT;
}

static inline uint32_t place_len(struct place p)
{
    return (uint32_t)(p.v & 2047) * PLACE_UNIT;
}

static inline bool place_is_none(struct place p)
{
    return p.v == 0;
}

#endif
