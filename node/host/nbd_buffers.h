/* Recycled buffers for request payloads, under one limit for all connections
 * of a server.
 *
 * Sizes are powers of two from 4 KiB to 32 MiB. What is given back is kept for
 * the next taker (up to NBD_BUFFERS_CACHED bytes), so that steady traffic
 * allocates nothing. `held` (in use + kept) exceeds the limit by nothing but
 * what nbd_buffers_take_guaranteed gave.
 *
 * Whoever gets none waits in a queue, and while somebody waits nobody else is
 * served: a large request can't be starved by small ones. The owner of the
 * pool retries the waiters in order after buffers came back. */
#ifndef PS_NODE_HOST_NBD_BUFFERS_H
#define PS_NODE_HOST_NBD_BUFFERS_H

#include <stdint.h>

#include "common/container.h"

enum {
    NBD_BUFFER_MIN_SHIFT = 12,
    NBD_BUFFER_MAX_SHIFT = 25,
    NBD_BUFFER_CLASSES = NBD_BUFFER_MAX_SHIFT - NBD_BUFFER_MIN_SHIFT + 1,
    NBD_BUFFER_MAX = 1 << NBD_BUFFER_MAX_SHIFT,
    NBD_BUFFER_PREFIX = 64, /* room before the data, for reply headers */
    NBD_BUFFERS_CACHED = 16 << 20,
};

struct nbd_buffer {
    struct list_node link;
    uint32_t size_class;
    _Alignas(64) uint8_t prefix[NBD_BUFFER_PREFIX]; /* ends where the data begins */
    uint8_t data[];                                 /* aligned to 64 */
};

struct nbd_buffers {
    uint64_t limit, held, kept;
    struct list_node classes[NBD_BUFFER_CLASSES];
    struct list_node waiters; /* list_node of the waiting owner */
};

/* `limit` is at least NBD_BUFFER_MAX, or the largest request could never be served. */
void nbd_buffers_init(struct nbd_buffers *pool, uint64_t limit);
/* Everything was given back, nobody waits. */
void nbd_buffers_fini(struct nbd_buffers *pool);

/* What a buffer for `bytes` (1 to NBD_BUFFER_MAX) counts against the limit. */
uint32_t nbd_buffers_cost(uint32_t bytes);

/* A buffer of at least `bytes`, or NULL: `waiter` is then in the queue (where
 * it keeps its place if it was there). On success it is in no queue. */
struct nbd_buffer *nbd_buffers_take(struct nbd_buffers *pool, uint32_t bytes, struct list_node *waiter);
/* The same for a small need that the caller keeps bounded: whatever the limit
 * and the queue. NULL: out of memory. */
struct nbd_buffer *nbd_buffers_take_guaranteed(struct nbd_buffers *pool, uint32_t bytes);
void nbd_buffers_give(struct nbd_buffers *pool, struct nbd_buffer *buffer);

#endif
