/* Files and block devices as a blkdev, with io_uring and O_DIRECT on a libuv loop.
 *
 * The loop's thread owns the device. An exclusive lock keeps a second process
 * (or a second open) out. Where io_uring is refused, libuv's thread pool does the
 * same work. Only requests in flight keep the loop alive.
 *
 * blkdev_destroy returns at once; the loop must then run until it has closed its
 * handles: the lock is held until then. */
#ifndef PS_COMMON_BLKDEV_URING_H
#define PS_COMMON_BLKDEV_URING_H

#include <uv.h>

#include "common/blkdev.h"
#include "common/blkdev_spec.h"

struct blkdev_uring_options {
    bool threads;      /* don't try io_uring */
    bool fill_nothing; /* no initialising ahead of use */
    /* Is a file that is smaller than asked for one that may be enlarged? `head` are its first
     * BLKDEV_HEAD_BYTES. 0, or an error with a detail: it is refused, and left as it is. NULL: none is. */
    int (*may_grow)(const void *head, uint64_t has_bytes, struct ps_error *err);
};

/* A file that is not there (or is empty) is made with its size and its space
 * allocated; a smaller one is enlarged if it may be, the same way (read only, it is taken as it is); one of
 * another size is refused. Errors, with a detail that names the path: PS_ENOTFOUND, PS_EPERM,
 * PS_EPRECONDITION (in use), PS_EINVAL (of the wrong kind or size), PS_EFULL (no space for the file), PS_EIO.
 * `options` may be NULL. */
int blkdev_uring_open(uv_loop_t *loop, const struct blkdev_spec *spec,
                      const struct blkdev_uring_options *options, struct blkdev **out, struct ps_error *err);

/* The same in two steps. The first blocks, for as long as another one's lock is waited for and a file's space
 * is allocated, and may run on any thread; the second is the loop's and takes what the first made, also when
 * it fails. Until then nothing is submitted to it, and it is given up by blkdev_uring_discard. */
int blkdev_uring_prepare(const struct blkdev_spec *spec, const struct blkdev_uring_options *options,
                         struct blkdev **out, struct ps_error *err);
int blkdev_uring_start(uv_loop_t *loop, struct blkdev *prepared, struct blkdev **out, struct ps_error *err);
void blkdev_uring_discard(struct blkdev *prepared);

/* What it was heard to say of itself: from then on its health has it. */
void blkdev_uring_set_smart(struct blkdev *dev, const struct blkdev_smart *smart);
/* Whether opening it made the file. */
bool blkdev_uring_made_file(const struct blkdev *dev);
/* "io_uring" or "threads". */
const char *blkdev_uring_engine(const struct blkdev *dev);
/* Bytes initialised ahead of use since the open. */
uint64_t blkdev_uring_filled_bytes(const struct blkdev *dev);

#endif
