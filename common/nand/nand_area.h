/* The area in which a simulated flash lies: codecs of its parts, and where they are.
 *
 * Little-endian throughout; README.md has the tables. A record that changes is kept twice, written in turns,
 * each with a number and a checksum: when the process ends in the middle of writing one, the other holds. */
#ifndef PS_COMMON_NAND_NAND_AREA_H
#define PS_COMMON_NAND_NAND_AREA_H

#include "common/nand/nand.h"

enum {
    NAND_AREA_VERSION = 1,
    NAND_HEADER_BYTES = 4096,
    NAND_CONTROL_BYTES = 4096,
    NAND_BLOCK_BYTES = 64,
};

enum {
    NAND_FLAG_FACTORY_BAD = 1u << 0,
    NAND_FLAG_GROWN_BAD = 1u << 1,
    NAND_FLAG_INTERRUPTED = 1u << 2,
    NAND_FLAG_HALF_ERASED = 1u << 3,
    NAND_FLAGS = 0xf,
};

struct nand_block_record {
    uint64_t number; /* of the record: the higher of the two counts */
    uint32_t pe_cycles, flags, tag;
    uint32_t erases; /* that succeeded: says which sectors' records count */
    uint64_t tagged; /* when the tag was set: counts up over the flash */
    uint64_t reads, programmed_ns;
};

struct nand_control_record {
    uint64_t number;
    bool open; /* in use, or ended without a close */
    uint64_t now_ns, tags;
    struct nand_stats stats;
};

/* What is known of a sector: 8 bytes, written at once. It counts only if `erase` is the block's: so erasing a
 * block is one record. */
struct nand_sector_record {
    uint32_t checksum;
    uint32_t erase; /* the low 24 bits of the block's erases */
    uint8_t state;  /* which program of its page it came with, from 1 on; or one of those below */
};
enum {
    NAND_SECTOR_LOST = 0xfe, /* could not be read any more when its block was replaced */
    NAND_SECTOR_TORN = 0xff,
};

/* Where the parts begin. */
struct nand_layout {
    uint64_t blocks, sectors, data, end;
};
void nand_layout(const struct nand_geometry *g, struct nand_layout *out);

void nand_header_encode(const struct nand_config *config, void *out);
int nand_header_decode(const void *area, size_t bytes, struct nand_config *out, struct ps_error *err);

/* Writes the record over the older one of the two at `pair`, under the next number. */
void nand_block_save(void *pair, struct nand_block_record *record);
int nand_block_load(const void *pair, struct nand_block_record *out);
void nand_control_save(void *pair, struct nand_control_record *record);
int nand_control_load(const void *pair, struct nand_control_record *out);

void nand_sector_save(void *at, const struct nand_sector_record *record);
void nand_sector_load(const void *at, struct nand_sector_record *out);
uint32_t nand_sector_checksum(const void *data);

#endif
