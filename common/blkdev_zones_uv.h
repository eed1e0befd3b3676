/* Zoned block devices: their zones reported, reset and finished by the kernel's ioctls (linux/blkzoned.h), in
 * libuv's thread pool. Edge. Internal to blkdev_uring. */
#ifndef PS_COMMON_BLKDEV_ZONES_UV_H
#define PS_COMMON_BLKDEV_ZONES_UV_H

#include <uv.h>

#include "common/blkdev.h"

bool blkdev_is_zoned(int fd);
/* `raw` is open on `fd`, which stays open as long as it. On success *out owns it. Errors of
 * blkdev_zones_create, and PS_EIO. Blocks. */
int blkdev_zones_open(uv_loop_t *loop, int fd, struct blkdev *raw, struct blkdev **out, struct ps_error *err);

#endif
