/* A drive of simulated flash in a file, on a libuv loop and in real time: "sim:PATH,size=4G".
 *
 * The file is mapped into memory: what was answered outlives the process, whatever ends it. It does not
 * outlive the host: nothing is synced before the drive is closed. So it is for tests and demonstrations, not
 * for data that somebody needs. An exclusive lock keeps a second process out. */
#ifndef PS_COMMON_NAND_NAND_FILE_UV_H
#define PS_COMMON_NAND_NAND_FILE_UV_H

#include <uv.h>

#include "common/blkdev.h"
#include "common/blkdev_spec.h"
#include "common/nand/nand_drive.h"

enum {
    NAND_FILE_ZONE_BYTES = 8 << 20, /* a segment, as pools are formatted */
};

/* A file that is not there (or is empty) is made, with its space allocated; one that holds simulated flash of
 * another shape is refused. The size is rounded up to whole zones. Errors as of blkdev_uring_open, and
 * PS_EDAMAGED, PS_EVERSION. blkdev_destroy returns at once; the loop must then run until it has closed its
 * handles. */
int nand_file_open(uv_loop_t *loop, const struct blkdev_spec *spec, struct blkdev **out,
                   struct ps_error *err);
/* The drive behind it, for its health. */
struct blkdev *nand_file_drive(const struct blkdev *dev);

#endif
