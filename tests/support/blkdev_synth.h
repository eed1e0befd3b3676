/* A device of any size that keeps only what was written to it: the rest is made when it is read.
 *
 * What was written lies in a sparse file without a name, so that it does not count as this process's memory.
 * Nothing completes by itself: blkdev_synth_step completes the oldest request. No power cut loses anything:
 * what was submitted is written when it completes. Single-threaded. */
#ifndef PS_TESTS_SUPPORT_BLKDEV_SYNTH_H
#define PS_TESTS_SUPPORT_BLKDEV_SYNTH_H

#include "common/blkdev.h"

enum {
    BLKDEV_SYNTH_UNIT = 4096
};

/* Fills one unit, at `offset`, that was never written; `user` was given at creation. */
typedef void (*blkdev_synth_fill)(void *user, uint64_t offset, uint8_t unit[BLKDEV_SYNTH_UNIT]);

/* NULL with a detail: no file can be made in TMPDIR (or /var/tmp), or memory is out. */
struct blkdev *blkdev_synth_create(uint64_t size_bytes, blkdev_synth_fill fill, void *user,
                                   struct ps_error *err);
size_t blkdev_synth_pending(const struct blkdev *dev);
struct blkdev_req *blkdev_synth_pending_at(const struct blkdev *dev, size_t index);
/* Completes the index-th; false: there is none. */
bool blkdev_synth_step_at(struct blkdev *dev, size_t index);
/* The process of its owner is over: requests are dropped. */
void blkdev_synth_drop(struct blkdev *dev);

#endif
