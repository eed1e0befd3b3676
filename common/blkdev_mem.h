/* A device in memory that polices its caller, for tests and simulation.
 *
 * Pure and single-threaded. Nothing completes by itself: the test says when,
 * and which request. Contents are sparse and kept in two states per
 * write_unit: what is durable, and every version written since. A power cut
 * chooses among them. Asserts on overlapping requests in flight, unless all
 * are reads. */
#ifndef PS_COMMON_BLKDEV_MEM_H
#define PS_COMMON_BLKDEV_MEM_H

#include "common/blkdev.h"
#include "common/prng.h"

struct blkdev_mem_options {
    uint64_t size_bytes;   /* multiple of write_unit */
    uint32_t read_unit;    /* 0: 512 */
    uint32_t write_unit;   /* 0: 4096 */
    uint32_t erase_bytes;  /* as reported; 0 is no preference */
    uint32_t max_io_bytes; /* 0: 4 MiB */
    /* Never-written and erased units read as noise made from this seed; 0: as zeroes. */
    uint64_t noise_seed;
    const char *name; /* NULL: "mem" */
};

/* NULL only when memory is out. Destroy with blkdev_destroy. */
struct blkdev *blkdev_mem_create(const struct blkdev_mem_options *options);

/* Parts for which `absent` is true are not there (blkdev_absent) from now on; to use one is an error of the
 * caller's. NULL: all is there. */
void blkdev_mem_take_away(struct blkdev *dev, bool (*absent)(void *user, uint64_t offset, uint64_t length),
                          void *user);

/* Requests submitted and not completed, in order of submission. */
size_t blkdev_mem_pending(const struct blkdev *dev);
struct blkdev_req *blkdev_mem_pending_at(const struct blkdev *dev, size_t index);

/* Completes one request: the oldest, the index-th, a random one. False if there is none. */
bool blkdev_mem_step(struct blkdev *dev);
bool blkdev_mem_step_at(struct blkdev *dev, size_t index);
bool blkdev_mem_step_random(struct blkdev *dev, struct prng *prng);
/* Completes the index-th without effect, with this status: the device could not. False if there is none. */
bool blkdev_mem_fail_at(struct blkdev *dev, size_t index, int status);
/* Completes the oldest until none is pending; returns how many. */
uint64_t blkdev_mem_drain(struct blkdev *dev);

enum blkdev_mem_cut {
    BLKDEV_MEM_LOSE,    /* all that was not flushed is lost */
    BLKDEV_MEM_KEEP,    /* all that was submitted is there */
    BLKDEV_MEM_TEAR,    /* a prefix of the unflushed writes, the last of them torn at write_unit */
    BLKDEV_MEM_REORDER, /* each unit on its own: durable, or any version written since */
    BLKDEV_MEM_CUTS,
};

/* Cuts the power: unflushed writes and writes in flight survive as `mode`
 * says; requests in flight are dropped, their callbacks never run. The device
 * is then ready to be opened afresh. Buffers of writes in flight are read
 * here, so call this before their owner frees them. */
void blkdev_mem_power_cut(struct blkdev *dev, struct prng *prng, enum blkdev_mem_cut mode);

/* Looks at the current contents (or, with `durable`, at what a cut with LOSE
 * would leave) and changes stored bytes behind the owner's back. */
void blkdev_mem_peek(const struct blkdev *dev, uint64_t offset, void *buf, size_t length, bool durable);
void blkdev_mem_poke(struct blkdev *dev, uint64_t offset, const void *buf, size_t length);
/* Units with a version that a cut may lose. */
size_t blkdev_mem_volatile_units(const struct blkdev *dev);

#endif
