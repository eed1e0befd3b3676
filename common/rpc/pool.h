/* Payload buffers: aligned, in sizes of powers of two from 4 KiB to 1 MiB.
 * A few are kept for the next, so that the data path seldom allocates. */
#ifndef PS_COMMON_RPC_POOL_H
#define PS_COMMON_RPC_POOL_H

#include "common/rpc/rpc.h"

enum {
    RPC_POOL_CLASSES = 9,
    RPC_POOL_KEPT_BYTES = 4 * 1024 * 1024
};

struct rpc_pool {
    struct rpc_pool_free {
        struct rpc_pool_free *next;
    } * free[RPC_POOL_CLASSES];
    size_t kept;
};

/* A zeroed pool is an empty one. 1 to RPC_PAYLOAD_MAX bytes; NULL: out of memory. */
void *rpc_pool_get(struct rpc_pool *pool, size_t size);
/* `size` as it was asked for. */
void rpc_pool_put(struct rpc_pool *pool, void *buffer, size_t size);
/* What a buffer of this size takes in fact. */
size_t rpc_pool_cost(size_t size);
void rpc_pool_clear(struct rpc_pool *pool);

#endif
