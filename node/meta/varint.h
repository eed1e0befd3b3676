/* LEB128 variable-length integers and zigzag, for metadata records and the
 * log's changes. The reader never passes `end`; one malformed number makes it
 * `bad`, and everything read afterwards is 0. */
#ifndef PS_NODE_META_VARINT_H
#define PS_NODE_META_VARINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    VARINT_MAX = 10
};

static inline uint8_t *varint_put(uint8_t *out, uint64_t v)
{
    while (v >= 0x80) {
        *out++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *out++ = (uint8_t)v;
    return out;
}

static inline uint64_t zigzag(uint64_t difference)
{
    return (difference << 1) ^ (0 - (difference >> 63));
}

static inline uint64_t unzigzag(uint64_t v)
{
    return (v >> 1) ^ (0 - (v & 1));
}

struct reader {
    const uint8_t *pos, *end;
    bool bad;
};

static inline uint64_t read_varint(struct reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (r->bad || r->pos == r->end)
            break;
        uint8_t byte = *r->pos++;
        if (shift == 63 && byte > 1)
            break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return v;
    }
    r->bad = true;
    return 0;
}

/* `bytes` bytes at the reader's position, or NULL (and bad). */
static inline const uint8_t *read_bytes(struct reader *r, size_t bytes)
{
    if (r->bad || (size_t)(r->end - r->pos) < bytes) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->pos;
    r->pos += bytes;
    return p;
}

#endif
