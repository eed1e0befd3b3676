#include "common/rpc/arena.h"

#include <stdlib.h>

enum {
    ARENA_FIRST_BLOCK = 8 * 1024,
    ARENA_ALIGN = 16
};

struct rpc_arena_block {
    struct rpc_arena_block *next;
    size_t size;
    _Alignas(ARENA_ALIGN) uint8_t data[];
};

static struct rpc_arena_block *add_block(struct rpc_arena *arena, size_t size)
{
    struct rpc_arena_block *block = malloc(sizeof *block + size);
    if (!block)
        return NULL;
    block->size = size;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->used = 0;
    arena->taken += size;
    return block;
}

static void *arena_alloc(void *data, size_t size)
{
    struct rpc_arena *arena = data;
    if (size > RPC_UNPACKED_MAX)
        return NULL;
    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    struct rpc_arena_block *block = arena->blocks;
    if (!block || block->size - arena->used < size) {
        /* Doubling keeps the number of blocks small; the limit counts whole blocks. */
        size_t grown = block ? 2 * block->size : ARENA_FIRST_BLOCK;
        if (grown < size)
            grown = size;
        if (grown > RPC_UNPACKED_MAX - arena->taken)
            grown = size;
        if (grown > RPC_UNPACKED_MAX - arena->taken)
            return NULL;
        block = add_block(arena, grown);
        if (!block)
            return NULL;
    }
    void *p = block->data + arena->used;
    arena->used += size;
    return p;
}

static void arena_free_one(void *data, void *pointer)
{
    (void)data;
    (void)pointer; /* given back all at once */
}

void rpc_arena_init(struct rpc_arena *arena)
{
    *arena = (struct rpc_arena){.allocator = {arena_alloc, arena_free_one, arena}};
}

void rpc_arena_reset(struct rpc_arena *arena)
{
    while (arena->blocks && (arena->blocks->next || arena->blocks->size > ARENA_FIRST_BLOCK)) {
        struct rpc_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        arena->taken -= block->size;
        free(block);
    }
    arena->used = 0;
}

void rpc_arena_free(struct rpc_arena *arena)
{
    rpc_arena_reset(arena);
    free(arena->blocks);
    rpc_arena_init(arena);
}
