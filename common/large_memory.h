/* Where caches and indexes get their large memory: zeroed, aligned to 2 MiB so
 * that it can be backed by huge pages, and untouched, so that only what is used
 * becomes resident. A core takes the provider from its creator, because mmap
 * and madvise are I/O to a core; NULL stands for the heap. */
#ifndef PS_COMMON_LARGE_MEMORY_H
#define PS_COMMON_LARGE_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    LARGE_MEMORY_ALIGN = 2 * 1024 * 1024
};

struct large_memory {
    /* `bytes` of zeroes at a multiple of LARGE_MEMORY_ALIGN, or NULL. */
    void *(*alloc)(size_t bytes);
    /* `bytes` as allocated. */
    void (*release)(void *memory, size_t bytes);
};

/* The heap's version: calloc maps large zeroes lazily. What calloc returned is
 * kept behind the caller's bytes. */
static inline void *large_memory_alloc(const struct large_memory *provider, size_t bytes)
{
    if (provider)
        return provider->alloc(bytes);
    if (bytes > SIZE_MAX - LARGE_MEMORY_ALIGN - sizeof(void *))
        return NULL;
    void *raw = calloc(1, bytes + LARGE_MEMORY_ALIGN + sizeof raw);
    if (!raw)
        return NULL;
    char *aligned =
        (char *)(((uintptr_t)raw + LARGE_MEMORY_ALIGN - 1) & ~((uintptr_t)LARGE_MEMORY_ALIGN - 1));
    memcpy(aligned + bytes, &raw, sizeof raw);
    return aligned;
}

static inline void large_memory_release(const struct large_memory *provider, void *memory, size_t bytes)
{
    if (!memory)
        return;
    if (provider) {
        provider->release(memory, bytes);
        return;
    }
    void *raw;
    memcpy(&raw, (char *)memory + bytes, sizeof raw);
    free(raw);
}

#endif
