#include "common/large_memory_mmap.h"

#include <sys/mman.h>

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
