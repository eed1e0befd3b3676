/* Memory for one decoded message at a time, as protobuf-c asks for it: handed
 * out piecemeal, given back at once, never more than RPC_UNPACKED_MAX. A body
 * of 1 MiB of empty fields would otherwise grow to 60 times its size. */
#ifndef PS_COMMON_RPC_ARENA_H
#define PS_COMMON_RPC_ARENA_H

#include "common/rpc/rpc.h"

struct rpc_arena {
    ProtobufCAllocator allocator;
    struct rpc_arena_block *blocks;
    size_t used, taken; /* in the newest block; over all */
};

void rpc_arena_init(struct rpc_arena *arena);
/* Forgets the message; keeps the first block. */
void rpc_arena_reset(struct rpc_arena *arena);
void rpc_arena_free(struct rpc_arena *arena);

#endif
