#include "common/rpc/pool.h"

#include <assert.h>
#include <stdlib.h>

static unsigned class_of(size_t size)
{
    assert(size > 0 && size <= RPC_PAYLOAD_MAX);
    unsigned class = 0;
    while (((size_t)RPC_PAYLOAD_ALIGN << class) < size)
        class ++;
    return class;
}

size_t rpc_pool_cost(size_t size)
{
    return size ? (size_t)RPC_PAYLOAD_ALIGN << class_of(size) : 0;
}

void *rpc_pool_get(struct rpc_pool *pool, size_t size)
{
    const unsigned class = class_of(size);
    struct rpc_pool_free *kept = pool->free[class];
    if (kept) {
        pool->free[class] = kept->next;
        pool->kept -= (size_t)RPC_PAYLOAD_ALIGN << class;
        return kept;
    }
    return aligned_alloc(RPC_PAYLOAD_ALIGN, (size_t)RPC_PAYLOAD_ALIGN << class);
}

void rpc_pool_put(struct rpc_pool *pool, void *buffer, size_t size)
{
    const unsigned class = class_of(size);
    const size_t bytes = (size_t)RPC_PAYLOAD_ALIGN << class;
    if (pool->kept + bytes > RPC_POOL_KEPT_BYTES) {
        free(buffer);
        return;
    }
    struct rpc_pool_free *kept = buffer;
    kept->next = pool->free[class];
    pool->free[class] = kept;
    pool->kept += bytes;
}

void rpc_pool_clear(struct rpc_pool *pool)
{
    for (unsigned class = 0; class < RPC_POOL_CLASSES; class ++)
        while (pool->free[class]) {
            struct rpc_pool_free *kept = pool->free[class];
            pool->free[class] = kept->next;
            free(kept);
        }
    pool->kept = 0;
}
