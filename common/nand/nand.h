/* NAND flash, simulated: channels, dies, planes, erase blocks and pages, with their rules, their wear, their
 * errors and their time.
 *
 * Pure, deterministic, one owner. Everything that lasts lies in one area of memory that the caller gives (a
 * file mapped into memory keeps it: nand_area.h says how it is laid out). Operations are queued with
 * nand_submit, take their time on channel and die, and come back from nand_complete in the order in which
 * they end; time is the caller's. Same configuration, same calls, same outcome.
 *
 * It polices its caller. An assertion ends the program when one of these is broken:
 *   - a block is erased as a whole before anything in it is programmed again;
 *   - inside a block sectors are programmed in ascending order without gaps, so pages are, too;
 *   - a page is programmed in at most `partial_programs` operations between two erases;
 *   - a block whose program or erase was interrupted or failed takes no program before its next erase;
 *   - a bad block takes no operation;
 *   - no block is erased while another operation on it is under way, and none begins while it is erased;
 *   - no sector is read while it is being programmed;
 *   - an operation stays inside of one page, and is not submitted again before it came back.
 * Reading what was never programmed is allowed, and told apart (NAND_ERASED). */
#ifndef PS_COMMON_NAND_NAND_H
#define PS_COMMON_NAND_NAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/container.h"
#include "common/prng.h"
#include "common/status.h"

enum {
    NAND_SECTOR_BYTES = 4096,   /* the unit of error correction, and the smallest program */
    NAND_PAGE_SECTORS_MAX = 16, /* sectors of the largest page */
    NAND_CHANNELS_MAX = 32,
    NAND_DIES_MAX = 256, /* in all */
    NAND_PLANES_MAX = 8, /* of a die */
};

struct nand_geometry {
    uint32_t channels;
    uint32_t dies;       /* on each channel */
    uint32_t planes;     /* of each die */
    uint32_t blocks;     /* erase blocks of each plane */
    uint32_t pages;      /* of each erase block */
    uint32_t page_bytes; /* a multiple of NAND_SECTOR_BYTES */
};

/* All zero: everything takes no time. */
struct nand_timing {
    uint32_t read_ns, program_ns, erase_ns; /* of the die */
    uint32_t channel_mb_s;                  /* 10^6 bytes a second; 0: transfers take no time */
};

/* Raw bit errors in 10^-9 a bit, w being P/E cycles / endurance:
 *   fixed + wear w^2 + retention w days + disturb (1 + w) reads of the block / 1000.
 * The shape is that of measured parts: about quadratic in P/E cycles, growing with retention faster on worn
 * blocks, linear in reads (Cai, Ghose, Haratsch, Luo, Mutlu, Proc. IEEE 105(9), 2017, sections III and IV).
 */
struct nand_error_rates {
    uint32_t fixed, wear, retention, disturb;
};

struct nand_config {
    struct nand_geometry geometry;
    struct nand_timing timing;
    struct nand_error_rates rates;
    uint32_t partial_programs; /* of a page, between two erases */
    uint32_t endurance;        /* rated P/E cycles; a block dies at 0.9 to 1.3 times as many, by the seed */
    uint32_t ecc_bits;         /* wrong bits of a sector that can be corrected */
    uint32_t factory_bad_ppm;  /* blocks bad from the start, of a million */
    uint32_t
        program_fail_ppb; /* programs that fail on a block at its rated endurance, of 10^9; grows with w^2 */
    uint32_t
        spare_blocks; /* of each plane, for a drive made of it (nand_drive.h); the flash has no use for it */
    uint64_t seed;
};

/* Typical TLC flash: 60 us, 600 us and 3 ms, 800 MB/s, 3,000 cycles, 120 bits of 4 KiB correctable; the
 * geometry is left zero. */
void nand_config_default(struct nand_config *out);

enum nand_kind {
    NAND_READ,
    NAND_PROGRAM,
    NAND_ERASE
};

enum nand_result {
    NAND_GOOD,
    NAND_ERASED, /* never programmed since its erase; the buffer is filled with 0xff */
    NAND_TORN,   /* its program, or its block's erase, was interrupted or failed; the buffer is noise */
    NAND_FAILED, /* more wrong bits than can be corrected; the buffer is noise */
};

struct nand_op {
    enum nand_kind kind;
    uint32_t block;           /* nand_block */
    uint32_t sector, sectors; /* READ, PROGRAM: in the block, within one page */
    void *buf; /* READ: filled. PROGRAM: source, unchanged until it comes back. Any alignment. */
    void *user;
    /* When it came back: */
    bool failed;                                    /* PROGRAM, ERASE: the block has grown bad */
    enum nand_result result[NAND_PAGE_SECTORS_MAX]; /* READ */
    uint32_t corrected;                             /* READ: bits of the worst good sector */
    /* The simulator's own. */
    struct list_node link;
    uint64_t start_ns, end_ns, group;
    bool queued;
};

struct nand;

/* 0, or PS_EINVAL with a detail that says which part is impossible. */
int nand_config_check(const struct nand_config *config, struct ps_error *err);
/* Size of the area that a configuration needs. */
size_t nand_area_bytes(const struct nand_config *config);
/* Makes the flash in an area that is all zeroes, with its factory-bad blocks. */
void nand_format(const struct nand_config *config, void *area);
/* Opens the flash in an area, which stays the caller's and must outlive it. PS_ENOTFOUND: there is none,
 * PS_EVERSION, PS_EDAMAGED (a wrong checksum, impossible values), PS_ENOMEM; with a detail. */
int nand_open(void *area, size_t bytes, struct nand **out, struct ps_error *err);
/* Nothing may be under way. The area is complete afterwards, and marked as closed in order. */
void nand_close(struct nand *nand);
/* The process is over, in the middle of anything: nothing more is written into the area. */
void nand_abandon(struct nand *nand);

const struct nand_config *nand_config(const struct nand *nand);
/* Other latencies than it was made with, until it is closed. Nothing may be under way. */
void nand_set_timing(struct nand *nand, const struct nand_timing *timing);
/* What every block's address is made of; `die` counts over all channels: channel * dies + die. */
static inline uint32_t nand_block(const struct nand_geometry *g, uint32_t die, uint32_t plane, uint32_t index)
{
    return (die * g->planes + plane) * g->blocks + index;
}
static inline uint32_t nand_block_count(const struct nand_geometry *g)
{
    return g->channels * g->dies * g->planes * g->blocks;
}
static inline uint32_t nand_page_sectors(const struct nand_geometry *g)
{
    return g->page_bytes / NAND_SECTOR_BYTES;
}
static inline uint32_t nand_block_sectors(const struct nand_geometry *g)
{
    return g->pages * nand_page_sectors(g);
}

/* Time: never goes back. nand_complete moves it on, too. */
void nand_set_time(struct nand *nand, uint64_t now_ns);
uint64_t nand_time(const struct nand *nand);
/* Queues the operation; its `link`, times and results are the simulator's from now on. */
void nand_submit(struct nand *nand, struct nand_op *op);
/* When the next one ends; UINT64_MAX: none is under way. When the last one does; now, if none is. */
uint64_t nand_next(const struct nand *nand);
uint64_t nand_last(const struct nand *nand);
/* The next one that ends by `now_ns`, with its effect and its results; NULL: none does. */
struct nand_op *nand_complete(struct nand *nand, uint64_t now_ns);
/* The power fails at `cut_ns`: what has ended by then counts, what is under way is torn, what is queued is
 * not there. No operation comes back; all are the caller's again. */
void nand_power_cut(struct nand *nand, uint64_t cut_ns, struct prng *prng);

/* What a controller does by itself, at once; the die is busy for the time that it takes. */

/* Never to be used again; what it holds can be read until then by nand_replace alone. */
void nand_retire(struct nand *nand, uint32_t block);
/* Erases an idle block: false when it failed; the caller retires it. */
bool nand_erase_now(struct nand *nand, uint32_t block);
/* After `op`, a program of the block `from`, failed: copies what was programmed before to the erased block
 * `to` of the same plane, sends there what is queued for `from`, and programs the operation's sectors there.
 * False when that failed, too: then the caller retires `to` and may try another. Sectors that can't be read
 * stay unreadable in the copy; *lost counts them. */
bool nand_replace(struct nand *nand, struct nand_op *op, uint32_t to, uint32_t *lost);
/* A number that is kept with the block, 0 at first. Of two blocks `newer` tells which was set last. */
void nand_set_tag(struct nand *nand, uint32_t block, uint32_t tag);
uint32_t nand_tag(const struct nand *nand, uint32_t block);
bool nand_tag_is_newer(const struct nand *nand, uint32_t block, uint32_t than);
/* How many were set so far, in all of the flash's life. */
uint64_t nand_tags_set(const struct nand *nand);

struct nand_block_info {
    bool factory_bad, grown_bad;
    bool interrupted; /* takes no program before its next erase */
    bool half_erased; /* an erase was interrupted: all of it reads as torn */
    uint32_t pe_cycles;
    uint32_t sectors; /* programmed or torn, from the first one on */
    uint64_t reads;   /* pages read since its erase */
};
void nand_block_info(const struct nand *nand, uint32_t block, struct nand_block_info *out);

struct nand_stats {
    uint64_t reads, programs, erases; /* operations */
    uint64_t read_bytes, programmed_bytes;
    uint64_t corrected_bits, uncorrectable; /* uncorrectable: sectors */
    uint64_t program_fails, erase_fails, torn_programs, torn_erases;
    uint64_t power_cycles, unsafe_shutdowns;
    uint64_t busy_ns; /* of all dies */
};
/* Over the flash's life; operations are written down with every erase and at the close. */
void nand_stats(const struct nand *nand, struct nand_stats *out);

/* ---- for tests and demonstrations */

/* Time passes without operations: retention. Nothing may be under way. */
void nand_age(struct nand *nand, uint64_t ns);
/* The next operation of this kind on the block fails. */
void nand_fail_next(struct nand *nand, uint32_t block, enum nand_kind kind);
/* The block has seen so many P/E cycles more. */
void nand_wear(struct nand *nand, uint32_t block, uint32_t pe_cycles);
/* The bytes of a programmed sector as they lie in the area; NULL if it is not programmed. */
void *nand_sector_bytes(struct nand *nand, uint32_t block, uint32_t sector);

#endif
