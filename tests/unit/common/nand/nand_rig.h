/* A small simulated flash in memory, one operation at a time, for its tests. */
#ifndef PS_TESTS_UNIT_COMMON_NAND_NAND_RIG_H
#define PS_TESTS_UNIT_COMMON_NAND_NAND_RIG_H

#include "common/nand/nand.h"

enum {
    RIG_PAGES = 8,
    RIG_PAGE_SECTORS = 4,
    RIG_SECTORS = RIG_PAGES * RIG_PAGE_SECTORS, /* of a block */
    RIG_BLOCKS = 6,
};

struct nand_rig {
    struct nand_config config;
    uint8_t *area;
    size_t bytes;
    struct nand *nand;
};

/* Two channels of two dies of two planes, no bad blocks, no failures but those that a test asks for. */
void nand_rig_config(struct nand_config *out);
/* `config` NULL: as nand_rig_config says. */
void nand_rig_create(struct nand_rig *rig, const struct nand_config *config);
void nand_rig_destroy(struct nand_rig *rig);
/* Closes the flash and opens it from its area. */
void nand_rig_reopen(struct nand_rig *rig);

/* The content of a sector by a number. */
void nand_rig_fill(void *out, uint32_t sectors, uint64_t number);
/* One operation, waited for; false when it failed. */
bool nand_rig_program(struct nand_rig *rig, uint32_t block, uint32_t sector, uint32_t sectors,
                      uint64_t number);
bool nand_rig_erase(struct nand_rig *rig, uint32_t block);
/* What the sector reads as; GOOD only with the content of `number`. */
enum nand_result nand_rig_read(struct nand_rig *rig, uint32_t block, uint32_t sector, uint64_t number,
                               uint32_t *corrected);
/* Programs all of a block, page by page, sector s with number `number` + s. */
void nand_rig_fill_block(struct nand_rig *rig, uint32_t block, uint64_t number);

/* Fails the test unless `breaks` ends in an assertion that says `rule`. */
void nand_rig_expect_rule(void (*breaks)(struct nand_rig *rig), const char *rule);

#endif
