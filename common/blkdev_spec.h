/* How people name a flash device: "file:PATH,size=16G", "nvme:/dev/nvme0n1", the path of a block device,
 * "/dev/sdb", or "sim:PATH,size=4G", simulated NAND flash. Pure: nothing is opened here. */
#ifndef PS_COMMON_BLKDEV_SPEC_H
#define PS_COMMON_BLKDEV_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum blkdev_kind {
    BLKDEV_KIND_FILE,
    BLKDEV_KIND_BLOCK,
    BLKDEV_KIND_NVME,
    BLKDEV_KIND_SIM,
};

enum {
    BLKDEV_PATH_MAX = 1023,
    BLKDEV_SPECS_MAX = 64
};
#define BLKDEV_FILE_MIN  (64ull << 20)  /* of several */
#define BLKDEV_ALONE_MIN (128ull << 20) /* no pool fits into less: it is a slip of the pen */

/* Of simulated flash (common/nand). Lanes, the planes of all dies of all channels, are a power of two, at
 * most BLKDEV_SIM_LANES_MAX. */
struct blkdev_sim_spec {
    uint32_t channels, dies, planes; /* 4, 2, 2 */
    uint32_t endurance;              /* rated P/E cycles: 3000 */
    uint32_t spare_percent;          /* blocks beyond the size: 7 */
    uint32_t bad_ppm;                /* blocks bad from the start, of a million: 2000 */
    uint32_t seed;                   /* 1 */
    bool instant;                    /* latency=off: operations take no time */
};
enum {
    BLKDEV_SIM_LANES_MAX = 128
};

struct blkdev_spec {
    enum blkdev_kind kind;
    char path[BLKDEV_PATH_MAX + 1]; /* no space, comma or control character */
    uint64_t size_bytes; /* of a file or simulated flash, at least BLKDEV_FILE_MIN, multiple of 4096; 0 for
                            devices: their own size */
    bool punch;          /* file: an erase punches a hole (option punch=on); default is to keep the space */
    bool read_only;      /* never parsed: whoever opens it asks for it. What is not there is not made. */
    struct blkdev_sim_spec sim;
};

/* Parses one specification of `length` bytes: 0 or PS_EINVAL. The detail quotes what is wrong and says what
 * would be right. */
int blkdev_spec_parse(const char *text, size_t length, struct blkdev_spec *out, struct ps_error *err);

/* Splits a list at spaces and parses each: at least one, at most `max`, none
 * twice. `out` may be NULL to check only. */
int blkdev_spec_list_parse(const char *text, struct blkdev_spec *out, size_t max, size_t *count,
                           struct ps_error *err);

#endif
