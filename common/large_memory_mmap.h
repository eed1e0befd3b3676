/* Large memory straight from the kernel, backed by huge pages where it can be:
 * first touch of a 4 KiB page costs more than the rest of a block's way, and a
 * killed process with millions of small pages closes its sockets late. */
#ifndef PS_COMMON_LARGE_MEMORY_MMAP_H
#define PS_COMMON_LARGE_MEMORY_MMAP_H

#include "common/large_memory.h"

extern const struct large_memory large_memory_mmap;

/* The same, touched in the background from the start, by a thread of low priority. For who must answer others
 * in time: the kernel zeroes 2 MiB at each first touch, and a burst of them can keep a thread for a second on
 * a machine whose own memory is given to it only then. Costs that all of it is resident. Allocated and
 * released by one thread. */
extern const struct large_memory large_memory_filled;

#endif
