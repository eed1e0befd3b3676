/* The flash devices of this machine, as the service asks about them: jobs that one edge (drives_uv) carries
 * out beside the loop, since the kernel's calls block. */
#ifndef PS_NODE_HOST_DRIVES_H
#define PS_NODE_HOST_DRIVES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/blkdev_spec.h"
#include "common/nvme.h"
#include "common/nvme_admin.h"
#include "common/status.h"

enum {
    DRIVES_MAX = 256, /* in a list */
    DRIVE_NAME_MAX = 127,
    DRIVE_ERRORS_MAX = 64,
    DRIVE_IO_MAX = 1 << 20,
    DRIVE_ALIGN = 4096, /* of buffers */
};

/* One of the pool's. */
struct drive_pooled {
    char name[DRIVE_NAME_MAX + 1];
    enum blkdev_kind kind;
    bool zoned;
    uint64_t size_bytes;
    uint32_t block_bytes;
    bool smart_known; /* it says so here: no NVMe namespace is asked */
    struct nvme_smart smart;
};

struct drive {
    struct drive_pooled what;
    bool in_pool, raw_allowed;
    char used_by[96]; /* of one that is not in the pool; "": nothing */
    char model[41], serial[21], firmware[9];
    uint64_t zone_bytes, zones;
    uint32_t max_open, max_active; /* zones; 0: no limit */
    bool smart_known;
    char smart_unknown[96]; /* why */
    struct nvme_smart smart;
};

enum drive_op {
    DRIVE_LIST,
    DRIVE_IDENTIFY,
    DRIVE_SMART,
    DRIVE_READ,
    DRIVE_WRITE,
    DRIVE_FLUSH,
    DRIVE_DEALLOCATE,
    DRIVE_FORMAT,
};

struct drive_job {
    enum drive_op op;
    const char *device; /* borrowed until done, as is what follows; NULL: LIST */
    uint64_t offset, length;
    void *buf; /* READ, WRITE; aligned to DRIVE_ALIGN */
    bool fua;
    uint32_t max_errors;  /* SMART: at most DRIVE_ERRORS_MAX */
    uint32_t block_bytes; /* FORMAT; 0: as it is */
    enum nvme_erase erase;
    const char *serial;
    void (*done)(struct drive_job *job, int status);
    /* Results; of LIST freed by the caller. */
    struct drive *drives;
    size_t count;
    struct nvme_controller controller;
    struct nvme_namespace ns;
    bool zoned;
    struct drive layout; /* IDENTIFY: of a zoned one, its zones */
    struct nvme_smart smart;
    struct nvme_error errors[DRIVE_ERRORS_MAX];
    uint32_t nerrors;
    struct ps_error error; /* when the status is not 0 */
};

struct drives {
    /* 0: done runs once, later; PS_ELIMIT, PS_ENOMEM: never. */
    int (*submit)(struct drives *drives, struct drive_job *job);
};

#endif
