/* Cache of decompressed 4 KiB blocks by block id.
 *
 * Ids are never reused and blocks never change, so nothing is ever stale; a
 * block that is gone is dropped to make room, not for correctness. One slab,
 * allocated once and touched as it fills; CLOCK eviction (Corbató: A Paging
 * Experiment with the Multics System, 1968). New blocks enter without their
 * reference bit, so that a long scan evicts itself first.
 *
 * A pointer is good until the next put or drop; longer with a pin. A pinned
 * block is never evicted; if it is dropped its memory is kept until the last
 * unpin. One thread owns a cache. */
#ifndef PS_NODE_POD_BLOCK_CACHE_H
#define PS_NODE_POD_BLOCK_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/large_memory.h"

enum {
    BLOCK_CACHE_BLOCK_BYTES = 4096, /* blocks are aligned to their size */
    BLOCK_CACHE_MIN_BYTES = 64 * 1024,
};

struct block_cache;

struct block_cache_config {
    size_t budget_bytes;               /* everything included; at least BLOCK_CACHE_MIN_BYTES */
    size_t max_pinned;                 /* blocks pinned at once, less than all; 0: half of them */
    const struct large_memory *memory; /* outlives the cache; NULL: the heap */
};

struct block_cache_stats {
    uint64_t hits, misses, insertions, evictions;
    uint64_t blocks, capacity, pinned;
    uint64_t memory_bytes; /* most that it can become resident */
};

struct block_cache *block_cache_create(const struct block_cache_config *config); /* NULL: no memory */
/* Nothing is pinned. */
void block_cache_destroy(struct block_cache *cache);

/* Starts to fetch what finds `id`. */
void block_cache_prefetch(const struct block_cache *cache, uint64_t id);

/* The block, or NULL. Counts a hit or a miss and marks the block as used. */
const void *block_cache_get(struct block_cache *cache, uint64_t id);
/* The same without counting or marking. */
const void *block_cache_peek(const struct block_cache *cache, uint64_t id);

/* Puts the 4 KiB at `data` in and returns where they are. With NULL the caller
 * fills the 4 KiB before anybody can ask for them. A block that is there
 * already is returned as it is. Never NULL: there is always one block that is not pinned. */
void *block_cache_put(struct block_cache *cache, uint64_t id, const void *data);

/* Forgets the block, if it is there. */
void block_cache_drop(struct block_cache *cache, uint64_t id);

/* Pins a block that get or put returned and nothing has evicted since; pins
 * count. False when max_pinned blocks are pinned already: copy instead. */
bool block_cache_pin(struct block_cache *cache, const void *block);
void block_cache_unpin(struct block_cache *cache, const void *block);

void block_cache_stats(const struct block_cache *cache, struct block_cache_stats *out);

#endif
