/* L2P: a group's place in this node's flash and which of its blocks live, in
 * one 64-bit slot: place 52 bits, blocks in the record - 1 three, live mask eight. 0: no such
 * group. Block id = group << 3 | slot. Which slots the record has is said in it: those that live
 * are among them. */
#ifndef PS_NODE_FLASH_L2P_H
#define PS_NODE_FLASH_L2P_H

#include "node/meta/meta.h"

enum {
    GROUP_BLOCKS = 8
};

static inline uint64_t block_group(uint64_t block)
{
    return block >> 3;
}
static inline unsigned block_slot(uint64_t block)
{
    return (unsigned)(block & 7);
}
static inline struct meta_key l2p_key(uint64_t group)
{
    return meta_key_flat(META_L2P, group);
}
static inline uint64_t l2p_make(struct place place, unsigned blocks, unsigned live)
{
    return place.v << 11 | (uint64_t)(blocks - 1) << 8 | live;
}
static inline struct place l2p_place(uint64_t v)
{
    return (struct place){v >> 11};
}
static inline unsigned l2p_blocks(uint64_t v)
{
    return (unsigned)(v >> 8 & 7) + 1;
}
static inline unsigned l2p_live(uint64_t v)
{
    return (unsigned)(v & 0xff);
}
static inline bool l2p_is_live(uint64_t v, unsigned slot)
{
    return v >> slot & 1;
}
/* Bytes that the live blocks of a group count for in its segment: exact sums as blocks die one by one. */
static inline uint32_t l2p_live_bytes(uint64_t v)
{
    return place_len(l2p_place(v)) * (uint32_t)__builtin_popcount(l2p_live(v)) / l2p_blocks(v);
}

#endif
