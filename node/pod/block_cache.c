#include "node/pod/block_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum slot_state {
    SLOT_FREE,
    SLOT_LIVE,
    SLOT_DETACHED, /* dropped, kept for its pins */
};

struct slot {
    uint64_t id;
    uint32_t next_free; /* of a free slot: the next one, or NO_SLOT */
    uint16_t pins;
    uint8_t state;
    bool referenced;
};
_Static_assert(sizeof(struct slot) == 16, "the budget counts 16 bytes a block");

/* The index is open addressing with linear probing, at most half full; the tag saves most looks at slots.
 * Blocks of a group are written, read and evicted together, so their homes are one cache line: they cost one
 * miss, not eight. */
struct cell {
    uint32_t tag;
    uint32_t slot_plus_1; /* 0: empty */
};

#define NO_SLOT UINT32_MAX

enum {
    LINE_CELLS = 64 / sizeof(struct cell),
    CELLS_PER_BLOCK = 2,
    BYTES_PER_BLOCK =
        BLOCK_CACHE_BLOCK_BYTES + (int)sizeof(struct slot) + CELLS_PER_BLOCK * (int)sizeof(struct cell),
};

struct block_cache {
    uint8_t *slab; /* blocks, then slots, then cells */
    struct slot *slots;
    struct cell *cells;
    uint32_t capacity, ncells;
    uint32_t touched; /* slots below have been used: the slab is resident up to here */
    uint32_t first_free, hand;
    uint32_t blocks, pinned, max_pinned;
    uint64_t hits, misses, insertions, evictions;
    const struct large_memory *memory;
    size_t memory_bytes;
};

/* MurmurHash3's 64-bit finalizer: ids are sequential. */
static uint64_t hash_of(uint64_t id)
{
    id = (id ^ id >> 33) * 0xff51afd7ed558ccdull;
    id = (id ^ id >> 33) * 0xc4ceb9fe1a85ec53ull;
    return id ^ id >> 33;
}

static uint32_t home_of(const struct block_cache *cache, uint64_t id)
{
    const uint64_t line = (hash_of(id / LINE_CELLS) >> 32) * (cache->ncells / LINE_CELLS) >> 32;
    return (uint32_t)(line * LINE_CELLS + id % LINE_CELLS);
}

static uint32_t tag_of(uint64_t id)
{
    return (uint32_t)(hash_of(id / LINE_CELLS) * LINE_CELLS + id % LINE_CELLS);
}

static uint32_t cell_after(const struct block_cache *cache, uint32_t cell)
{
    return cell + 1 == cache->ncells ? 0 : cell + 1;
}

/* The cell that holds `id`, or the empty one where the search ended. */
static uint32_t find_cell(const struct block_cache *cache, uint64_t id)
{
    const uint32_t tag = tag_of(id);
    uint32_t i = home_of(cache, id);
    for (;; i = cell_after(cache, i)) {
        const struct cell *const cell = &cache->cells[i];
        if (cell->slot_plus_1 == 0 || (cell->tag == tag && cache->slots[cell->slot_plus_1 - 1].id == id))
            return i;
    }
}

/* The block's slot, or NO_SLOT. */
static uint32_t find_slot(const struct block_cache *cache, uint64_t id)
{
    return cache->cells[find_cell(cache, id)].slot_plus_1 - 1;
}

static void index_add(struct block_cache *cache, uint64_t id, uint32_t slot)
{
    struct cell *const cell = &cache->cells[find_cell(cache, id)];
    assert(cell->slot_plus_1 == 0);
    *cell = (struct cell){.tag = tag_of(id), .slot_plus_1 = slot + 1};
}

/* Empties the cell and moves back whatever a search would no longer reach
 * (Knuth, TAOCP 3, 6.4, algorithm R). */
static void index_remove(struct block_cache *cache, uint64_t id)
{
    uint32_t hole = find_cell(cache, id);
    assert(cache->cells[hole].slot_plus_1 != 0);
    for (uint32_t i = cell_after(cache, hole); cache->cells[i].slot_plus_1 != 0; i = cell_after(cache, i)) {
        const uint32_t home = home_of(cache, cache->slots[cache->cells[i].slot_plus_1 - 1].id);
        /* Does the hole lie on the way from home to here, cyclically? */
        const bool reaches = home <= i ? home <= hole && hole < i : home <= hole || hole < i;
        if (reaches) {
            cache->cells[hole] = cache->cells[i];
            hole = i;
        }
    }
    cache->cells[hole] = (struct cell){0};
}

static uint8_t *block_at(const struct block_cache *cache, uint32_t slot)
{
    return cache->slab + (size_t)slot * BLOCK_CACHE_BLOCK_BYTES;
}

static uint32_t slot_of(const struct block_cache *cache, const void *block)
{
    const size_t offset = (size_t)((const uint8_t *)block - cache->slab);
    assert(offset % BLOCK_CACHE_BLOCK_BYTES == 0 && offset / BLOCK_CACHE_BLOCK_BYTES < cache->touched);
    return (uint32_t)(offset / BLOCK_CACHE_BLOCK_BYTES);
}

struct block_cache *block_cache_create(const struct block_cache_config *config)
{
    assert(config->budget_bytes >= BLOCK_CACHE_MIN_BYTES);
    struct block_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return NULL;
    const size_t capacity =
        (config->budget_bytes - sizeof *cache) / BYTES_PER_BLOCK / LINE_CELLS * LINE_CELLS;
    assert(capacity < UINT32_MAX / CELLS_PER_BLOCK);
    cache->capacity = (uint32_t)capacity;
    cache->ncells = cache->capacity * CELLS_PER_BLOCK;
    cache->first_free = NO_SLOT;
    cache->max_pinned = cache->capacity / 2;
    if (config->max_pinned > 0)
        cache->max_pinned =
            config->max_pinned < capacity ? (uint32_t)config->max_pinned : cache->capacity - 1;
    cache->memory = config->memory;
    cache->memory_bytes = capacity * BYTES_PER_BLOCK;
    cache->slab = large_memory_alloc(cache->memory, cache->memory_bytes);
    if (!cache->slab) {
        free(cache);
        return NULL;
    }
    cache->slots = (void *)(cache->slab + capacity * BLOCK_CACHE_BLOCK_BYTES);
    cache->cells = (void *)(cache->slots + capacity);
    return cache;
}

void block_cache_destroy(struct block_cache *cache)
{
    if (!cache)
        return;
    assert(cache->pinned == 0);
    large_memory_release(cache->memory, cache->slab, cache->memory_bytes);
    free(cache);
}

void block_cache_prefetch(const struct block_cache *cache, uint64_t id)
{
    __builtin_prefetch(&cache->cells[home_of(cache, id)]);
}

const void *block_cache_peek(const struct block_cache *cache, uint64_t id)
{
    const uint32_t slot = find_slot(cache, id);
    return slot == NO_SLOT ? NULL : block_at(cache, slot);
}

const void *block_cache_get(struct block_cache *cache, uint64_t id)
{
    const uint32_t slot = find_slot(cache, id);
    if (slot == NO_SLOT) {
        cache->misses++;
        return NULL;
    }
    cache->hits++;
    cache->slots[slot].referenced = true;
    return block_at(cache, slot);
}

/* Frees the slot that CLOCK chooses. Ends within two rounds: the first clears
 * the reference bits, and fewer blocks are pinned than there are. */
static uint32_t evict(struct block_cache *cache)
{
    for (;;) {
        const uint32_t i = cache->hand;
        struct slot *const slot = &cache->slots[i];
        cache->hand = i + 1 == cache->capacity ? 0 : i + 1;
        if (slot->pins > 0)
            continue;
        assert(slot->state == SLOT_LIVE);
        if (slot->referenced) {
            slot->referenced = false;
            continue;
        }
        index_remove(cache, slot->id);
        cache->blocks--;
        cache->evictions++;
        return i;
    }
}

static uint32_t take_slot(struct block_cache *cache)
{
    if (cache->first_free != NO_SLOT) {
        const uint32_t slot = cache->first_free;
        cache->first_free = cache->slots[slot].next_free;
        return slot;
    }
    return cache->touched < cache->capacity ? cache->touched++ : evict(cache);
}

static void free_slot(struct block_cache *cache, uint32_t slot)
{
    cache->slots[slot].state = SLOT_FREE;
    cache->slots[slot].next_free = cache->first_free;
    cache->first_free = slot;
}

void *block_cache_put(struct block_cache *cache, uint64_t id, const void *data)
{
    uint32_t slot = find_slot(cache, id);
    if (slot != NO_SLOT)
        return block_at(cache, slot);
    slot = take_slot(cache);
    cache->slots[slot] = (struct slot){.id = id, .state = SLOT_LIVE};
    index_add(cache, id, slot);
    cache->blocks++;
    cache->insertions++;
    if (data)
        memcpy(block_at(cache, slot), data, BLOCK_CACHE_BLOCK_BYTES);
    return block_at(cache, slot);
}

void block_cache_drop(struct block_cache *cache, uint64_t id)
{
    const uint32_t slot = find_slot(cache, id);
    if (slot == NO_SLOT)
        return;
    index_remove(cache, id);
    cache->blocks--;
    if (cache->slots[slot].pins > 0)
        cache->slots[slot].state = SLOT_DETACHED;
    else
        free_slot(cache, slot);
}

bool block_cache_pin(struct block_cache *cache, const void *block)
{
    struct slot *const slot = &cache->slots[slot_of(cache, block)];
    assert(slot->state == SLOT_LIVE || (slot->state == SLOT_DETACHED && slot->pins > 0));
    if (slot->pins == UINT16_MAX || (slot->pins == 0 && cache->pinned == cache->max_pinned))
        return false;
    cache->pinned += slot->pins == 0;
    slot->pins++;
    return true;
}

void block_cache_unpin(struct block_cache *cache, const void *block)
{
    const uint32_t i = slot_of(cache, block);
    struct slot *const slot = &cache->slots[i];
    assert(slot->pins > 0);
    if (--slot->pins > 0)
        return;
    cache->pinned--;
    if (slot->state == SLOT_DETACHED)
        free_slot(cache, i);
}

void block_cache_stats(const struct block_cache *cache, struct block_cache_stats *out)
{
    *out = (struct block_cache_stats){
        .hits = cache->hits,
        .misses = cache->misses,
        .insertions = cache->insertions,
        .evictions = cache->evictions,
        .blocks = cache->blocks,
        .capacity = cache->capacity,
        .pinned = cache->pinned,
        .memory_bytes = cache->memory_bytes + sizeof *cache,
    };
}
