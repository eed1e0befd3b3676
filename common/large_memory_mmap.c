#include "common/large_memory_mmap.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* mmap aligns to 4 KiB only: map more, give the ends back. */
static void *map(size_t bytes)
{
    const size_t more = bytes + LARGE_MEMORY_ALIGN;
    uint8_t *raw =
        mmap(NULL, more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    const size_t head = (LARGE_MEMORY_ALIGN - (uintptr_t)raw % LARGE_MEMORY_ALIGN) % LARGE_MEMORY_ALIGN;
    const size_t kept = (bytes + 4095) / 4096 * 4096;
    if (head)
        (void)munmap(raw, head);
    (void)munmap(raw + head + kept, more - head - kept);
    (void)madvise(raw + head, kept, MADV_HUGEPAGE); /* a wish: without it, it works */
    return raw + head;
}

static void unmap(void *memory, size_t bytes)
{
    (void)munmap(memory, (bytes + 4095) / 4096 * 4096);
}

const struct large_memory large_memory_mmap = {.alloc = map, .release = unmap};

/* ---- filled */

/* A thread that touches memory while others use it; the list is its allocating thread's. */
struct filler {
    struct filler *next;
    pthread_t thread;
    uint8_t *memory;
    size_t bytes;
    atomic_bool stop;
};
static struct filler *fillers;

static void *fill(void *user)
{
    struct filler *f = user;
    (void)setpriority(PRIO_PROCESS, 0, 10); /* this thread's alone */
    for (size_t at = 0; at < f->bytes && !atomic_load(&f->stop); at += LARGE_MEMORY_ALIGN) {
        const size_t left = f->bytes - at;
        /* An older kernel does not know it, a full machine does not have it: then it is touched when it is
         * used. */
        if (madvise(f->memory + at, left < LARGE_MEMORY_ALIGN ? left : LARGE_MEMORY_ALIGN,
                    MADV_POPULATE_WRITE))
            break;
    }
    return NULL;
}

static void *map_filled(size_t bytes)
{
    void *memory = map(bytes);
    struct filler *f = memory ? calloc(1, sizeof *f) : NULL;
    if (!f)
        return memory;
    f->memory = memory;
    f->bytes = bytes;
    if (pthread_create(&f->thread, NULL, fill, f)) {
        free(f);
        return memory;
    }
    f->next = fillers;
    fillers = f;
    return memory;
}

static void unmap_filled(void *memory, size_t bytes)
{
    for (struct filler **at = &fillers; *at; at = &(*at)->next) {
        struct filler *f = *at;
        if (f->memory != memory)
            continue;
        *at = f->next;
        atomic_store(&f->stop, true);
        (void)pthread_join(f->thread, NULL);
        free(f);
        break;
    }
    unmap(memory, bytes);
}

const struct large_memory large_memory_filled = {.alloc = map_filled, .release = unmap_filled};
