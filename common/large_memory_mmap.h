/* Large memory straight from the kernel, backed by huge pages where it can be:
 * first touch of a 4 KiB page costs more than the rest of a block's way, and a
 * killed process with millions of small pages closes its sockets late. */
#ifndef PS_COMMON_LARGE_MEMORY_MMAP_H
#define PS_COMMON_LARGE_MEMORY_MMAP_H

#include "common/large_memory.h"

extern const struct large_memory large_memory_mmap;

#endif
