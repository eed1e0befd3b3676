/* Inside of the drive: nand_drive.c carries requests out, nand_drive_blocks.c knows which block is whose, and
 * nand_drive_health.c tells about it. */
#ifndef PS_COMMON_NAND_NAND_DRIVE_IMPL_H
#define PS_COMMON_NAND_NAND_DRIVE_IMPL_H

#include "common/blkdev_queue.h"
#include "common/nand/nand_drive.h"

enum {
    NAND_DRIVE_OPS = 2048, /* at once, of all requests */
    SPARES_LEAST = 3,      /* of each plane */
    SPARE_KEPT = 1,        /* of each plane, for programs that fail */
    FIRST_ZONES =
        4, /* given up only when there is no spare at all: where owners keep what they find the rest by */
    NO_BLOCK = 0xffffffff,
};

struct drive_op {
    struct nand_op op; /* its `user` is the request */
    struct drive_op *next_free;
};

struct zone {
    uint32_t written; /* sectors, as submitted: where the next write goes */
    uint32_t erasing; /* blocks */
    uint32_t end;     /* sectors: nothing is written behind it before the next erase; 0: not said */
    bool closed;      /* takes no write before its next erase */
    bool retired;
};

struct drive {
    struct blkdev base;
    struct nand *flash;
    const struct nand_geometry *g;
    uint32_t lanes, zone_count, page_sectors, zone_sectors;
    struct zone *zones;
    uint32_t *blocks; /* zone * lanes + lane; NO_BLOCK */
    uint32_t *spares; /* of each lane */
    uint32_t first_spares;
    struct drive_op ops[NAND_DRIVE_OPS], *free_ops;
    uint32_t free_count;
    struct blkdev_queue waiting, done;
    size_t pending;
    uint64_t moved;
    struct blkdev_health health;
};

static inline struct drive *drive_of(const struct blkdev *dev)
{
    return container_of((struct blkdev *)dev, struct drive, base);
}

static inline uint32_t *drive_block(const struct drive *d, uint32_t zone, uint32_t lane)
{
    return &d->blocks[zone * d->lanes + lane];
}

static inline uint32_t drive_lanes(const struct nand_geometry *g)
{
    return g->channels * g->dies * g->planes;
}

/* Gives the good blocks of new flash to its zones, and goes on where a kill ended that; false: there are too
 * few. */
bool drive_assign(struct drive *d);
/* What the flash says: which blocks are whose, which zones are retired, how far the others are written.
 * False: the tags are no drive's. */
bool drive_look(struct drive *d);
bool drive_block_is_good(const struct drive *d, uint32_t block);
/* Its last erase failed, or was cut off. */
bool drive_erase_failed(const struct drive *d, uint32_t block);
/* The least worn spare of the lane, still counted; NO_BLOCK: there is none. */
uint32_t drive_find_spare(const struct drive *d, uint32_t lane);
void drive_use_spare(struct drive *d, uint32_t zone, uint32_t lane, uint32_t spare);
/* The zone has its blocks, holds nothing, and is retired: what is still good of it serves the others. */
void drive_give_up(struct drive *d, uint32_t zone);

void drive_health(const struct blkdev *dev, struct blkdev_health *out);
void drive_wear(const struct blkdev *dev, uint64_t offset, struct blkdev_wear *out);

#endif
