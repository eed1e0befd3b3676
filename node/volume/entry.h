/* One 64-bit entry of a volume map (a MAP slot): type 4 bits (63 to 60), own 1
 * (59), duplicate 1 (58), share 6 (57 to 52), id 52.
 *
 * own: written since its page was last copied; counts cover owned references only.
 * duplicate: the block was found stored already when this entry was written.
 * share: flash bytes that the block takes in its record, in units of 64, less 1.
 * id: block id (DATA), repeated 32-bit pattern (PATTERN) or page id (PAGE). */
#ifndef PS_NODE_VOLUME_ENTRY_H
#define PS_NODE_VOLUME_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "node/meta/meta.h"

enum entry_type {
    ENTRY_HOLE,
    ENTRY_DATA,
    ENTRY_PATTERN,
    ENTRY_PAGE
};

#define ENTRY_OWN       META_OWN
#define ENTRY_DUPLICATE (1ull << 58)
#define ENTRY_ID        ((1ull << 52) - 1)

static inline enum entry_type entry_type(uint64_t e)
{
    return (enum entry_type)(e >> 60);
}
static inline uint64_t entry_id(uint64_t e)
{
    return e & ENTRY_ID;
}
static inline bool entry_owns(uint64_t e)
{
    return (e & ENTRY_OWN) != 0;
}
static inline unsigned entry_share(uint64_t e)
{
    return (unsigned)(e >> 52 & 63) + 1;
}
static inline uint64_t entry_data(uint64_t block, unsigned share, bool duplicate)
{
    return (uint64_t)ENTRY_DATA << 60 | ENTRY_OWN | (duplicate ? ENTRY_DUPLICATE : 0) |
           (uint64_t)(share - 1) << 52 | block;
}
static inline uint64_t entry_pattern(uint32_t pattern)
{
    return (uint64_t)ENTRY_PATTERN << 60 | pattern;
}
static inline uint64_t entry_page(uint64_t page)
{
    return (uint64_t)ENTRY_PAGE << 60 | ENTRY_OWN | page;
}
static inline struct meta_key entry_page_key(uint64_t e)
{
    return meta_key(META_MAP, entry_id(e), 0);
}
/* The same target, whoever owns it. */
static inline bool entry_same_target(uint64_t a, uint64_t b)
{
    return entry_type(a) == entry_type(b) && entry_id(a) == entry_id(b);
}

#endif
