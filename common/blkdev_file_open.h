/* Opens what a device specification names: lock, size, space, geometry.
 * Internal to blkdev_uring; blocking, at start only. */
#ifndef PS_COMMON_BLKDEV_FILE_OPEN_H
#define PS_COMMON_BLKDEV_FILE_OPEN_H

#include "common/blkdev.h"
#include "common/blkdev_ahead.h"
#include "common/blkdev_spec.h"

struct blkdev_file {
    int fd; /* locked; closing it lets go */
    bool is_block;
    bool made; /* the file was not there before */
    struct blkdev_geometry geometry;
};

/* Errors as of blkdev_uring_open. On success the caller owns the descriptor. */
int blkdev_file_open(const struct blkdev_spec *spec,
                     int (*may_grow)(const void *head, uint64_t has_bytes, struct ps_error *err),
                     struct blkdev_file *out, struct ps_error *err);

/* Marks what the file system says was never written. Where it can't say, nothing is marked. */
void blkdev_file_find_blank(const struct blkdev_file *file, struct ahead *ahead);

#endif
