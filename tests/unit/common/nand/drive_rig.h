/* A drive of simulated flash in memory, for tests. */
#ifndef PS_TESTS_UNIT_COMMON_NAND_DRIVE_RIG_H
#define PS_TESTS_UNIT_COMMON_NAND_DRIVE_RIG_H

#include "common/nand/nand_drive.h"

struct drive_rig {
    struct nand_config config;
    uint8_t *area;
    size_t bytes;
    struct blkdev *dev;
};

/* Two channels of one die of two planes, pages of 16 KiB, zones of 1 MiB; no bad blocks and no failures. */
void drive_rig_config(struct nand_config *out);
/* `config` NULL: as drive_rig_config says. */
void drive_rig_create(struct drive_rig *rig, uint64_t size_bytes, const struct nand_config *config);
void drive_rig_destroy(struct drive_rig *rig);
void drive_rig_reopen(struct drive_rig *rig);
/* The process is killed, and starts again. */
void drive_rig_kill(struct drive_rig *rig);
/* One request, waited for; returns its status. Contents of sector s are by `number` + s, s counted from the
 * start of the request. */
int drive_rig_write(struct drive_rig *rig, uint64_t sector, uint32_t sectors, uint64_t number);
int drive_rig_erase(struct drive_rig *rig, uint32_t zone);
/* True if they hold that; *status is the request's. */
bool drive_rig_holds(struct drive_rig *rig, uint64_t sector, uint32_t sectors, uint64_t number, int *status);
bool drive_rig_is_zero(struct drive_rig *rig, uint64_t sector, uint32_t sectors);

#endif
