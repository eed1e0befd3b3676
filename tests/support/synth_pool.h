/* A pool in which a volume is mapped from end to end, without having been written: for tests of what a pod
 * needs when it holds much.
 *
 * Its data, directories and map pages are made when they are read (blkdev_synth); the rest, page table and
 * segments, is put into a pod's memory and told by a checkpoint of its own. Every block is unique. Groups
 * of eight blocks that do not compress lie one behind the other in COLD segments, as collection leaves them,
 * in the order of the volume; map and L2P pages lie in META segments. */
#ifndef PS_TESTS_SUPPORT_SYNTH_POOL_H
#define PS_TESTS_SUPPORT_SYNTH_POOL_H

#include "node/pod/pod_impl.h"

struct synth_pool;

/* A device for a volume of `bytes` (a multiple of 2 MiB) that fills `percent` of it; NULL with a detail. */
struct synth_pool *synth_pool_create(uint64_t bytes, unsigned percent, uint32_t segment_bytes,
                                     struct ps_error *err);
void synth_pool_destroy(struct synth_pool *pool);
struct blkdev *synth_pool_device(struct synth_pool *pool);
/* Of a new, blank pod on it, in which nothing is under way: `volume`, empty and of that size, is mapped.
 * The next checkpoint is a full one, and tells it. */
void synth_pool_fill(struct synth_pool *pool, struct pod *pod, const char *volume);
/* Bytes of memory that are not the pod's. */
uint64_t synth_pool_memory(const struct synth_pool *pool);
/* What the block of the volume holds at first. */
void synth_pool_block(uint64_t lba, uint8_t block[POD_BLOCK_BYTES]);

#endif
