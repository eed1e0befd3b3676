/* The one device interface: flash as PStorage sees it.
 *
 * A device is owned by one thread. Requests are embedded by the caller;
 * blkdev_submit returns non-zero and the callback never runs, or 0 and it runs
 * exactly once, never before the return. Requests complete in any order;
 * overlapping requests in flight are the caller's bug unless all are reads.
 *
 * Durability: a WRITE with BLKDEV_FUA is durable when it completes with 0; any
 * other completed write is durable after a later FLUSH completed with 0. A
 * write that is not durable may be lost, torn at `write_unit` boundaries or
 * reordered by a power cut. A failed FLUSH or FUA write means a failed device:
 * the caller must not retry it (what the kernel dropped would look durable).
 *
 * Zoned: the device is cut into zones of erase_bytes. In a zone writes are submitted in ascending order
 * without gaps, from its start on (one that goes on in the next zone begins that); before its start is
 * written again all of it is erased. What was not written since is undefined. After a power cut, or an erase
 * or a write that failed, a zone takes no write before it is erased again. An erase that fails retires the
 * zone for good: it reads as zeroes, and takes no write.
 *
 * Implementations: blkdev_uring (files, block devices), blkdev_zones (zoned namespaces), blkdev_mem (tests,
 * simulation), nand_drive (simulated flash, zoned); blkdev_fault and blkdev_scratch wrap any of them. */
#ifndef PS_COMMON_BLKDEV_H
#define PS_COMMON_BLKDEV_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"

enum {
    BLKDEV_ALIGN = 4096, /* buffers, whatever the geometry */
    BLKDEV_HEAD_BYTES = 4096,
};

enum blkdev_op {
    BLKDEV_READ,
    BLKDEV_WRITE,
    BLKDEV_FLUSH, /* offset and length are 0 */
    BLKDEV_ERASE, /* deallocate; contents undefined afterwards until written */
};

enum {
    BLKDEV_FUA = 1u << 0, /* WRITE: durable when completed */
};

/* READ, flag: the way-th of geometry.ways other ways, from 1 on. Where a device holds data more than once,
 * what was read may turn out to be wrong though nothing failed; each way
 * does without some part of the device; one that is not to be had now is refused, or fails. */
static inline uint32_t blkdev_way(uint32_t way)
{
    return way << 8;
}
static inline uint32_t blkdev_way_of(uint32_t flags)
{
    return flags >> 8;
}

struct blkdev_geometry {
    uint64_t size_bytes;
    uint32_t read_unit;    /* offset and length of reads are multiples; power of two, 512 to 4096 */
    uint32_t write_unit;   /* the same for writes; the unit that is never torn */
    uint32_t erase_bytes;  /* erase-block size; 0 if the device has no preference */
    uint32_t max_io_bytes; /* largest length of one request; at least 1 MiB */
    bool zoned;            /* erase_bytes is then a zone, and erases are whole zones */
    bool tells_blank;      /* zoned: a zone that holds nothing reads as zeroes, whatever it held before */
    uint8_t ways;          /* to read data otherwise (blkdev_way); 0: none */
};

/* What a device says of itself, as of a while ago. */
struct blkdev_smart {
    bool known;
    uint8_t critical_warning; /* as in struct nvme_smart */
    uint8_t used_percent;     /* of the life that its maker expects; may exceed 100 */
    uint8_t spare_percent;    /* of its spare blocks, what is left */
    uint16_t kelvin;          /* 0: not told */
    uint64_t media_errors;    /* data that was lost */
};

struct blkdev_health {
    uint64_t read_ops, read_bytes, write_ops, write_bytes, flush_ops, erase_ops;
    uint64_t errors; /* requests that completed with an error */
    bool failed;     /* a flush or FUA write failed: no further writes are taken */
    struct blkdev_smart smart;
};

/* Of one erase block or zone. */
struct blkdev_wear {
    uint32_t pe_cycles; /* of its most worn part */
    bool uncounted;     /* it does not tell them */
    bool retired;       /* never to be used again */
};

struct blkdev;
struct blkdev_req;
/* `status` is 0 or PS_EIO, PS_EFULL (backing file), PS_ECANCELLED (device closed). */
typedef void (*blkdev_cb)(struct blkdev_req *req, int status);

struct blkdev_req {
    enum blkdev_op op;
    uint32_t flags;
    uint64_t offset;
    uint32_t length;
    void *buf; /* aligned to BLKDEV_ALIGN; borrowed until the callback */
    blkdev_cb cb;
    /* The implementation's own, from here on. */
    struct blkdev_req *next;
    struct blkdev *dev;
    uint64_t priv[4];
};

struct blkdev_ops {
    int (*submit)(struct blkdev *dev, struct blkdev_req *req);
    void (*health)(const struct blkdev *dev, struct blkdev_health *out);
    void (*destroy)(struct blkdev *dev); /* nothing may be in flight */
    /* NULL: the device does not tell. `offset` is the start of an erase block. */
    void (*wear)(const struct blkdev *dev, uint64_t offset, struct blkdev_wear *out);
    /* NULL: it is of no interest. */
    void (*finish)(struct blkdev *dev, uint64_t offset, uint32_t length);
    /* NULL: nothing is. */
    bool (*absent)(const struct blkdev *dev, uint64_t offset, uint64_t length);
};

struct blkdev {
    const struct blkdev_ops *ops;
    /* size_bytes may grow while the device is open, by its owner on its thread; nothing else changes. */
    struct blkdev_geometry geometry;
    char name[128]; /* for people: path, or what the test called it */
};

/* Checks the contract at this one place, so that no implementation re-checks. */
static inline int blkdev_submit(struct blkdev *dev, struct blkdev_req *req, blkdev_cb cb)
{
    const struct blkdev_geometry *g = &dev->geometry;
    const uint32_t unit = req->op == BLKDEV_READ ? g->read_unit : g->write_unit;
    if (req->op == BLKDEV_FLUSH) {
        assert(req->length == 0);
    } else {
        assert(req->length > 0 && req->offset % unit == 0 && req->length % unit == 0);
        assert(req->offset + req->length <= g->size_bytes);
        assert(req->op == BLKDEV_ERASE || req->length <= g->max_io_bytes);
        assert(req->op != BLKDEV_ERASE || !g->zoned || (req->offset | req->length) % g->erase_bytes == 0);
        assert(req->op == BLKDEV_ERASE || ((uintptr_t)req->buf % BLKDEV_ALIGN) == 0);
    }
    req->cb = cb;
    req->dev = dev;
    return dev->ops->submit(dev, req);
}

/* What a READ that has completed gave is wrong, as whoever sent it knows from a checksum: asks for it in the
 * next other way, into the same buffer. False: none is left, and the callback does not run. */
static inline bool blkdev_read_otherwise(struct blkdev *dev, struct blkdev_req *req, blkdev_cb cb)
{
    for (uint32_t way = blkdev_way_of(req->flags) + 1; way <= dev->geometry.ways; way++) {
        req->flags = blkdev_way(way);
        if (blkdev_submit(dev, req, cb) == 0)
            return true;
    }
    return false;
}

static inline void blkdev_health(const struct blkdev *dev, struct blkdev_health *out)
{
    dev->ops->health(dev, out);
}

/* Wear of the erase block that begins at `offset`; false: the device does not tell. */
static inline bool blkdev_wear(const struct blkdev *dev, uint64_t offset, struct blkdev_wear *out)
{
    if (dev->ops->wear)
        dev->ops->wear(dev, offset, out);
    return dev->ops->wear != NULL;
}

/* Whether some of this part of the device is not there: it holds nothing, nothing may be written to it, and
 * reading it fails. Other parts go on as they are. It may come back, blank, while the device is open. */
static inline bool blkdev_absent(const struct blkdev *dev, uint64_t offset, uint64_t length)
{
    assert(length > 0 && offset + length <= dev->geometry.size_bytes);
    return dev->ops->absent && dev->ops->absent(dev, offset, length);
}

/* Of a zoned device: the zone that begins at `offset` is not written to beyond `length` bytes (0: beyond what
 * was submitted) before it is erased, so that the device need not keep it ready. Returns at once; completes
 * by itself. */
static inline void blkdev_finish(struct blkdev *dev, uint64_t offset, uint32_t length)
{
    assert(dev->geometry.zoned && offset % dev->geometry.erase_bytes == 0 &&
           length <= dev->geometry.erase_bytes);
    if (dev->ops->finish)
        dev->ops->finish(dev, offset, length);
}

static inline void blkdev_destroy(struct blkdev *dev)
{
    dev->ops->destroy(dev);
}

#endif
