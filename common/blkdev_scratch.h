/* A device that is read and never written: what is written stays in memory, and is read back from there.
 *
 * For looking at what lies on a device with code that would put it right. Pure, single-threaded. The inner
 * device stays the caller's and is destroyed after this one. It is asked to read, and for nothing else.
 * Writes are never durable, erased blocks read as before, and a write beyond the memory that it may take
 * fails with PS_EFULL. */
#ifndef PS_COMMON_BLKDEV_SCRATCH_H
#define PS_COMMON_BLKDEV_SCRATCH_H

#include "common/blkdev.h"

/* NULL only when memory is out. */
struct blkdev *blkdev_scratch_create(struct blkdev *inner, uint64_t memory_bytes);

/* What it took so far. */
uint64_t blkdev_scratch_bytes(const struct blkdev *dev);

#endif
