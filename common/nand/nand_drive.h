/* A drive made of simulated flash: a zoned blkdev, and the controller's work that its owner does not see.
 *
 * A zone is a superblock: one erase block of each plane (a lane), written page by page across the lanes. All
 * that is written is in the flash when the request completes: there is no volatile cache, and a flush has
 * nothing to do. What was not written reads as zeroes, so does what a power cut tore: it was not answered.
 *
 * Bad blocks. Each plane has spare blocks. A program that fails is answered by moving what its block holds to
 * a spare, and the block is retired: the owner sees a slow write. A block whose erase fails is replaced by a
 * spare, but the last spare of a plane is kept for programs: then, and whenever a plane has none left, the
 * zone that is just being erased is given up. Its good blocks become spares, its erase fails, and the zone is
 * retired. So the drive shrinks zone by zone, at erases, when they hold nothing, and writes go on until the
 * last. The first four zones are given up only when no spare at all is left: owners keep there what they find
 * the rest by.
 *
 * Pure, single-threaded, on virtual time. Requests complete from nand_drive_step or nand_drive_advance alone.
 * Beside the flash's rules it asserts those of a zoned device (blkdev.h). */
#ifndef PS_COMMON_NAND_NAND_DRIVE_H
#define PS_COMMON_NAND_NAND_DRIVE_H

#include "common/blkdev.h"
#include "common/nand/nand.h"

/* Completes a configuration whose geometry is set but for its blocks: as many as give a drive of at least
 * `size_bytes`, and spare_percent of them more as spares, never less than two a plane beyond factory-bad
 * ones. PS_EINVAL with a detail. */
int nand_drive_plan(uint64_t size_bytes, uint32_t spare_percent, struct nand_config *config,
                    struct ps_error *err);

/* The drive on an open flash; it takes the flash, and closes it when it is destroyed. PS_ENOMEM; PS_EDAMAGED:
 * the blocks' tags say what no drive does, or too many blocks are bad. The flash stays the caller's then. */
int nand_drive_create(struct nand *flash, const char *name, struct blkdev **out, struct ps_error *err);

/* Requests submitted and not completed. */
size_t nand_drive_pending(const struct blkdev *dev);
/* Lets time pass until the next request completes, and completes it. False if there is none. */
bool nand_drive_step(struct blkdev *dev);
/* When something is to be done next; UINT64_MAX: nothing is under way. */
uint64_t nand_drive_next(const struct blkdev *dev);
/* It is `now_ns`: completes what is due. */
void nand_drive_advance(struct blkdev *dev, uint64_t now_ns);
/* Cuts the power at some moment before all that is under way would have ended. Requests in flight are
 * dropped, their callbacks never run; the drive is then ready to be used afresh. */
void nand_drive_power_cut(struct blkdev *dev, struct prng *prng);
/* The process is over: as blkdev_destroy, but nothing more is written into the area. */
void nand_drive_abandon(struct blkdev *dev);

/* The flash, for tests; and the block that is the lane's of a zone. */
struct nand *nand_drive_flash(const struct blkdev *dev);
uint32_t nand_drive_lanes(const struct blkdev *dev);
uint32_t nand_drive_block(const struct blkdev *dev, uint32_t zone, uint32_t lane);

enum {
    NAND_WARN_SPARE = 1u << 0,    /* a plane has no spare but the kept one */
    NAND_WARN_RELIABLE = 1u << 2, /* data was lost: sectors could not be corrected */
    NAND_WARN_WORN = 1u << 5,     /* the rated endurance is used up */
};

/* As the SMART / Health Information log of NVM Express (Base Specification 2.0, figure 207) has it, and more.
 */
struct nand_health {
    uint32_t warnings; /* NAND_WARN_... */
    uint32_t spare_percent, spare_threshold_percent; /* of the spares at first, in the worst plane */
    uint32_t used_percent;                           /* of the endurance, 255 at most */
    uint64_t read_bytes, programmed_bytes; /* of the flash, moves included */
    uint64_t media_errors, corrected_bits; /* sectors beyond correction */
    uint64_t program_fails, erase_fails;
    uint64_t power_cycles, unsafe_shutdowns, busy_ns;
    uint32_t zones, retired_zones;
    uint32_t factory_bad, grown_bad; /* blocks */
    uint32_t pe_lowest, pe_highest;  /* of blocks in use */
    uint64_t pe_total;
    uint64_t moved_blocks; /* replaced under a write, since the drive was made */
};
void nand_drive_health(const struct blkdev *dev, struct nand_health *out);

#endif
