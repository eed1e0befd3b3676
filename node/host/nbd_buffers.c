#include "node/host/nbd_buffers.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

_Static_assert(offsetof(struct nbd_buffer, data) == 128 && sizeof(struct nbd_buffer) == 128,
               "one cache line of ours, one of prefix, then the data");

void nbd_buffers_init(struct nbd_buffers *pool, uint64_t limit)
{
    assert(limit >= NBD_BUFFER_MAX);
    *pool = (struct nbd_buffers){.limit = limit};
    for (int i = 0; i < NBD_BUFFER_CLASSES; i++)
        list_init(&pool->classes[i]);
    list_init(&pool->waiters);
}

static uint32_t class_of(uint32_t bytes)
{
    assert(bytes > 0 && bytes <= NBD_BUFFER_MAX);
    if (bytes <= 1u << NBD_BUFFER_MIN_SHIFT)
        return 0;
    return 32u - (uint32_t)__builtin_clz(bytes - 1) - NBD_BUFFER_MIN_SHIFT;
}

static uint32_t class_bytes(uint32_t size_class)
{
    return 1u << (size_class + NBD_BUFFER_MIN_SHIFT);
}

uint32_t nbd_buffers_cost(uint32_t bytes)
{
    return class_bytes(class_of(bytes));
}

static void release(struct nbd_buffers *pool, struct nbd_buffer *buffer)
{
    pool->held -= class_bytes(buffer->size_class);
    free(buffer);
}

/* Frees kept buffers, largest first, until `bytes` more may be held. */
static void make_room(struct nbd_buffers *pool, uint64_t bytes)
{
    for (int i = NBD_BUFFER_CLASSES - 1; i >= 0; i--)
        while (pool->held + bytes > pool->limit && !list_empty(&pool->classes[i])) {
            struct list_node *node = list_pop_front(&pool->classes[i]);
            struct nbd_buffer *buffer = container_of(node, struct nbd_buffer, link);
            pool->kept -= class_bytes(buffer->size_class);
            release(pool, buffer);
        }
}

void nbd_buffers_fini(struct nbd_buffers *pool)
{
    assert(list_empty(&pool->waiters));
    make_room(pool, pool->limit + 1);
    assert(pool->held == 0 && pool->kept == 0);
}

struct nbd_buffer *nbd_buffers_take_guaranteed(struct nbd_buffers *pool, uint32_t bytes)
{
    const uint32_t size_class = class_of(bytes);
    const uint32_t cost = class_bytes(size_class);
    struct list_node *node = list_pop_front(&pool->classes[size_class]);
    if (node) {
        pool->kept -= cost;
        return container_of(node, struct nbd_buffer, link);
    }
    make_room(pool, cost);
    struct nbd_buffer *buffer = aligned_alloc(64, sizeof *buffer + cost);
    if (!buffer)
        return NULL;
    buffer->size_class = size_class;
    list_init(&buffer->link);
    pool->held += cost;
    return buffer;
}

struct nbd_buffer *nbd_buffers_take(struct nbd_buffers *pool, uint32_t bytes, struct list_node *waiter)
{
    struct nbd_buffer *buffer = NULL;
    if (list_empty(&pool->waiters) || pool->waiters.next == waiter) {
        const uint32_t size_class = class_of(bytes);
        const uint32_t cost = class_bytes(size_class);
        const bool kept = !list_empty(&pool->classes[size_class]);
        if (!kept)
            make_room(pool, cost);
        if (kept || pool->held + cost <= pool->limit)
            buffer = nbd_buffers_take_guaranteed(pool, bytes);
    }
    if (buffer)
        list_remove(waiter);
    else if (list_empty(waiter))
        list_push_back(&pool->waiters, waiter);
    return buffer;
}

void nbd_buffers_give(struct nbd_buffers *pool, struct nbd_buffer *buffer)
{
    const uint32_t cost = class_bytes(buffer->size_class);
    if (pool->kept + cost > NBD_BUFFERS_CACHED || pool->held > pool->limit) {
        release(pool, buffer);
        return;
    }
    pool->kept += cost;
    list_push_front(&pool->classes[buffer->size_class], &buffer->link);
}
