/* Rules, effects, power cuts. When an operation ends: nand_time.c; how it errs: nand_errors.c. */
#include "common/nand/nand.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/nand/nand_errors.h"
#include "common/nand/nand_impl.h"

/* A rule of the caller's: it stays checked in every build. */
#define RULE(holds, text) assert((holds) && text)

enum {
    SALT_PROGRAM = 0x7072,
    SALT_READ = 0x7265,
    SALT_NOISE = 0x6e6f,
};

/* ---- where things lie */

static uint8_t *block_pair(const struct nand *n, uint32_t block)
{
    return n->area + n->layout.blocks + (uint64_t)block * 2 * NAND_BLOCK_BYTES;
}

static uint64_t sector_number(const struct nand *n, uint32_t block, uint32_t sector)
{
    return (uint64_t)block * n->block_sectors + sector;
}

static uint8_t *sector_at(const struct nand *n, uint32_t block, uint32_t sector)
{
    return n->area + n->layout.sectors + 8 * sector_number(n, block, sector);
}

static uint8_t *data_at(const struct nand *n, uint32_t block, uint32_t sector)
{
    return n->area + n->layout.data + sector_number(n, block, sector) * NAND_SECTOR_BYTES;
}

static void save_block(struct nand *n, uint32_t block)
{
    nand_block_save(block_pair(n, block), &n->blocks[block].r);
}

static void save_control(struct nand *n)
{
    n->control.now_ns = n->now_ns;
    nand_control_save(n->area + NAND_HEADER_BYTES, &n->control);
}

/* False: it was not programmed since the block's last erase. */
static bool sector_state(const struct nand *n, uint32_t block, uint32_t sector,
                         struct nand_sector_record *out)
{
    nand_sector_load(sector_at(n, block, sector), out);
    return out->state != 0 && out->erase == (n->blocks[block].r.erases & 0xffffff);
}

static bool is_bad(const struct block *b)
{
    return b->r.flags & (NAND_FLAG_FACTORY_BAD | NAND_FLAG_GROWN_BAD);
}

/* ---- configuration */

void nand_config_default(struct nand_config *out)
{
    *out = (struct nand_config){
        .timing = {.read_ns = 60000, .program_ns = 600000, .erase_ns = 3000000, .channel_mb_s = 800},
        .rates = {.fixed = 1000, .wear = 500000, .retention = 3000, .disturb = 2000},
        .partial_programs = 4,
        .endurance = 3000,
        .ecc_bits = 120,
        .factory_bad_ppm = 2000,
        .program_fail_ppb = 1000,
    };
}

int nand_config_check(const struct nand_config *c, struct ps_error *err)
{
    const struct nand_geometry *g = &c->geometry;
    if (g->channels < 1 || g->channels > NAND_CHANNELS_MAX || g->dies < 1 || g->dies > NAND_DIES_MAX ||
        g->channels * g->dies > NAND_DIES_MAX || g->planes < 1 || g->planes > NAND_PLANES_MAX)
        return ps_error_set(err, PS_EINVAL, "flash of %u channels, %u dies on each, %u planes is impossible",
                            g->channels, g->dies, g->planes);
    if (g->page_bytes < NAND_SECTOR_BYTES || g->page_bytes % NAND_SECTOR_BYTES ||
        g->page_bytes > NAND_PAGE_SECTORS_MAX * NAND_SECTOR_BYTES)
        return ps_error_set(err, PS_EINVAL, "flash pages of %u bytes are impossible", g->page_bytes);
    if (g->blocks < 1 || g->blocks > 1 << 20 || g->pages < 1 || g->pages > 1 << 14)
        return ps_error_set(err, PS_EINVAL, "flash of %u blocks a plane and %u pages a block is impossible",
                            g->blocks, g->pages);
    if (c->spare_blocks >= g->blocks)
        return ps_error_set(err, PS_EINVAL, "%u spare blocks of %u a plane are impossible", c->spare_blocks,
                            g->blocks);
    if (c->partial_programs < 1 || c->partial_programs > nand_page_sectors(g))
        return ps_error_set(err, PS_EINVAL, "%u programs of a page of %u sectors are impossible",
                            c->partial_programs, nand_page_sectors(g));
    if (c->endurance < 1 || c->endurance > 10000000 || c->ecc_bits > 8 * NAND_SECTOR_BYTES)
        return ps_error_set(err, PS_EINVAL,
                            "an endurance of %u cycles with %u bits correctable is impossible", c->endurance,
                            c->ecc_bits);
    return 0;
}

size_t nand_area_bytes(const struct nand_config *config)
{
    struct nand_layout layout;
    nand_layout(&config->geometry, &layout);
    return (size_t)layout.end;
}

/* ---- life */

void nand_format(const struct nand_config *config, void *area)
{
    struct nand_layout layout;
    struct nand_control_record control = {0};
    uint8_t *p = area;
    assert(nand_config_check(config, NULL) == 0);
    nand_layout(&config->geometry, &layout);
    for (uint32_t b = 0; b < nand_block_count(&config->geometry); b++) {
        struct nand_block_record r = {.flags =
                                          nand_errors_factory_bad(config, b) ? NAND_FLAG_FACTORY_BAD : 0};
        nand_block_save(p + layout.blocks + (uint64_t)b * 2 * NAND_BLOCK_BYTES, &r);
    }
    nand_control_save(p + NAND_HEADER_BYTES, &control);
    /* Last: what has a header is whole. */
    nand_header_encode(config, p);
}

static void find_end(struct nand *n, uint32_t block)
{
    struct block *b = &n->blocks[block];
    struct nand_sector_record last = {0};
    for (uint32_t s = 0; s < n->block_sectors; s++) {
        struct nand_sector_record r;
        if (!sector_state(n, block, s, &r))
            continue;
        b->done = s + 1;
        last = r;
    }
    b->planned = b->done;
    if (b->done % n->page_sectors)
        b->page_programs = last.state >= NAND_SECTOR_LOST ? n->config.partial_programs : last.state;
}

static int load(struct nand *n, struct ps_error *err)
{
    if (nand_control_load(n->area + NAND_HEADER_BYTES, &n->control))
        return ps_error_set(err, PS_EDAMAGED, "both control records of the simulated flash are damaged");
    n->now_ns = n->control.now_ns;
    for (uint32_t b = 0; b < n->block_count; b++) {
        struct nand_block_record *r = &n->blocks[b].r;
        if (nand_block_load(block_pair(n, b), r))
            return ps_error_set(err, PS_EDAMAGED,
                                "both records of block %u of the simulated flash are damaged", b);
        find_end(n, b);
        if (n->now_ns < r->programmed_ns)
            n->now_ns = r->programmed_ns;
        if (n->control.tags < r->tagged)
            n->control.tags = r->tagged;
    }
    n->control.stats.unsafe_shutdowns += n->control.open;
    n->control.stats.power_cycles++;
    n->control.open = true;
    save_control(n);
    return 0;
}

int nand_open(void *area, size_t bytes, struct nand **out, struct ps_error *err)
{
    struct nand *n = calloc(1, sizeof *n);
    if (!n)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    n->area = area;
    int rc = nand_header_decode(area, bytes, &n->config, err);
    if (rc == 0) {
        const struct nand_geometry *g = &n->config.geometry;
        nand_layout(g, &n->layout);
        n->block_count = nand_block_count(g);
        n->page_sectors = nand_page_sectors(g);
        n->block_sectors = nand_block_sectors(g);
        n->blocks = calloc(n->block_count, sizeof n->blocks[0]);
        rc = n->blocks ? load(n, err) : ps_error_set(err, PS_ENOMEM, "out of memory");
        nand_time_init(n);
    }
    if (rc) {
        nand_abandon(n);
        return rc;
    }
    *out = n;
    return 0;
}

void nand_abandon(struct nand *n)
{
    free(n->blocks);
    free(n);
}

void nand_close(struct nand *n)
{
    assert(nand_next(n) == UINT64_MAX && "nothing is under way");
    for (uint32_t b = 0; b < n->block_count; b++)
        if (n->blocks[b].reads_saved != n->blocks[b].r.reads)
            save_block(n, b);
    n->control.open = false;
    save_control(n);
    nand_abandon(n);
}

const struct nand_config *nand_config(const struct nand *n)
{
    return &n->config;
}

/* ---- the rules */

static void check_program(const struct nand *n, const struct nand_op *op, const struct block *b)
{
    RULE(!(b->r.flags & NAND_FLAG_HALF_ERASED), "a half-erased block is erased before it is programmed");
    RULE(!(b->r.flags & NAND_FLAG_INTERRUPTED),
         "an interrupted block is erased before it is programmed again");
    RULE(op->sector >= b->planned, "a block is erased before it is programmed again");
    RULE(op->sector == b->planned, "a block is programmed in order, without gaps");
    RULE(op->sector % n->page_sectors == 0 || b->page_programs < n->config.partial_programs,
         "a page is programmed in few operations");
}

static void check(const struct nand *n, const struct nand_op *op)
{
    RULE(!op->queued, "an operation is submitted once");
    RULE(op->block < n->block_count, "there is such a block");
    const struct block *b = &n->blocks[op->block];
    RULE(!is_bad(b), "a bad block is not used");
    RULE(!b->erasing, "nothing is done with a block that is being erased");
    if (op->kind == NAND_ERASE) {
        RULE(b->programs == 0 && b->reads == 0, "a block in use is not erased");
        return;
    }
    RULE(op->sectors > 0 && op->sector < n->block_sectors &&
             op->sectors <= n->page_sectors - op->sector % n->page_sectors,
         "an operation stays inside of one page");
    if (op->kind == NAND_PROGRAM)
        check_program(n, op, b);
    else
        RULE(b->done == b->planned || op->sector + op->sectors <= b->done || op->sector >= b->planned,
             "a sector is not read while it is being programmed");
}

void nand_submit(struct nand *n, struct nand_op *op)
{
    check(n, op);
    struct block *b = &n->blocks[op->block];
    op->queued = true;
    op->failed = false;
    op->corrected = 0;
    switch (op->kind) {
    case NAND_READ:
        b->reads++;
        break;
    case NAND_PROGRAM:
        b->page_programs = op->sector % n->page_sectors ? b->page_programs + 1 : 1;
        b->planned += op->sectors;
        b->programs++;
        break;
    case NAND_ERASE:
        b->erasing = true;
        break;
    }
    nand_time_plan(n, op);
}

/* ---- reading */

static void fill_noise(const struct nand *n, uint32_t block, uint32_t sector, void *out)
{
    struct prng p;
    prng_seed(&p, nand_errors_hash(&n->config, sector_number(n, block, sector), n->blocks[block].r.erases,
                                   SALT_NOISE));
    prng_fill(&p, out, NAND_SECTOR_BYTES);
}

static uint32_t wrong_bits(const struct nand *n, uint32_t block, uint32_t sector)
{
    const struct nand_block_record *r = &n->blocks[block].r;
    const double days = n->now_ns > r->programmed_ns ? (double)(n->now_ns - r->programmed_ns) / 86400e9 : 0;
    return nand_errors_drawn(
        nand_errors_expected(&n->config, r->pe_cycles, days, r->reads),
        nand_errors_hash(&n->config, sector_number(n, block, sector), r->erases, SALT_READ));
}

static enum nand_result read_sector(struct nand *n, uint32_t block, uint32_t sector, uint8_t *out,
                                    uint32_t *corrected)
{
    struct nand_sector_record r;
    if (n->blocks[block].r.flags & NAND_FLAG_HALF_ERASED) {
        fill_noise(n, block, sector, out);
        return NAND_TORN;
    }
    if (!sector_state(n, block, sector, &r)) {
        memset(out, 0xff, NAND_SECTOR_BYTES);
        return NAND_ERASED;
    }
    if (r.state == NAND_SECTOR_TORN) {
        fill_noise(n, block, sector, out);
        return NAND_TORN;
    }
    const uint32_t wrong = r.state == NAND_SECTOR_LOST ? UINT32_MAX : wrong_bits(n, block, sector);
    memcpy(out, data_at(n, block, sector), NAND_SECTOR_BYTES);
    /* The area itself may have rotted. */
    if (wrong > n->config.ecc_bits || nand_sector_checksum(out) != r.checksum) {
        n->control.stats.uncorrectable++;
        fill_noise(n, block, sector, out);
        return NAND_FAILED;
    }
    n->control.stats.corrected_bits += wrong;
    if (*corrected < wrong)
        *corrected = wrong;
    return NAND_GOOD;
}

static void end_read(struct nand *n, struct nand_op *op)
{
    struct block *b = &n->blocks[op->block];
    b->reads--;
    b->r.reads++;
    n->control.stats.reads++;
    n->control.stats.read_bytes += (uint64_t)op->sectors * NAND_SECTOR_BYTES;
    for (uint32_t i = 0; i < op->sectors; i++)
        op->result[i] = read_sector(n, op->block, op->sector + i,
                                    (uint8_t *)op->buf + (size_t)i * NAND_SECTOR_BYTES, &op->corrected);
}

/* ---- programming */

static void put_sector(struct nand *n, uint32_t block, uint32_t sector, const void *data, uint8_t state)
{
    const struct nand_sector_record r = {.checksum =
                                             state >= NAND_SECTOR_LOST ? 0 : nand_sector_checksum(data),
                                         .erase = n->blocks[block].r.erases,
                                         .state = state};
    /* Data first: a process that ends in between has not programmed the sector. */
    if (state < NAND_SECTOR_LOST)
        memcpy(data_at(n, block, sector), data, NAND_SECTOR_BYTES);
    nand_sector_save(sector_at(n, block, sector), &r);
}

static void interrupt(struct nand *n, uint32_t block, uint32_t flags)
{
    n->blocks[block].r.flags |= NAND_FLAG_INTERRUPTED | flags;
    save_block(n, block);
}

/* How many programs of the page there were when the sector's came, itself included. */
static uint8_t program_number(const struct nand *n, uint32_t block, uint32_t sector)
{
    struct nand_sector_record r;
    if (sector % n->page_sectors == 0 || !sector_state(n, block, sector - 1, &r))
        return 1;
    return r.state >= NAND_SECTOR_LOST ? 1 : (uint8_t)(r.state + 1);
}

static bool program_fails(struct nand *n, uint32_t block, uint32_t sector)
{
    struct block *b = &n->blocks[block];
    const bool told = b->fail_next & 1u << NAND_PROGRAM;
    b->fail_next &= (uint8_t) ~(1u << NAND_PROGRAM);
    return told || b->r.flags & NAND_FLAG_INTERRUPTED ||
           nand_errors_program_fails(
               &n->config, b->r.pe_cycles,
               nand_errors_hash(&n->config, sector_number(n, block, sector), b->r.erases, SALT_PROGRAM));
}

/* False: it failed, its sectors are torn. */
static bool program(struct nand *n, uint32_t block, const struct nand_op *op)
{
    struct block *b = &n->blocks[block];
    const bool fails = program_fails(n, block, op->sector);
    if (b->done == 0) {
        b->r.programmed_ns = n->now_ns;
        save_block(n, block);
    }
    const uint8_t state = fails ? NAND_SECTOR_TORN : program_number(n, block, op->sector);
    for (uint32_t i = 0; i < op->sectors; i++)
        put_sector(n, block, op->sector + i, (const uint8_t *)op->buf + (size_t)i * NAND_SECTOR_BYTES, state);
    b->done = op->sector + op->sectors;
    n->control.stats.programs++;
    n->control.stats.programmed_bytes += (uint64_t)op->sectors * NAND_SECTOR_BYTES;
    if (fails) {
        n->control.stats.program_fails++;
        interrupt(n, block, 0);
    }
    return !fails;
}

static void end_program(struct nand *n, struct nand_op *op)
{
    n->blocks[op->block].programs--;
    op->failed = !program(n, op->block, op);
}

/* ---- erasing */

static bool erase(struct nand *n, uint32_t block)
{
    struct block *b = &n->blocks[block];
    const bool fails =
        b->fail_next & 1u << NAND_ERASE || b->r.pe_cycles >= nand_errors_life(&n->config, block);
    b->fail_next &= (uint8_t) ~(1u << NAND_ERASE);
    b->r.pe_cycles++;
    n->control.stats.erases++;
    if (fails) {
        n->control.stats.erase_fails++;
        interrupt(n, block, NAND_FLAG_HALF_ERASED);
    } else {
        b->r.erases++;
        b->r.flags &= ~(uint32_t)(NAND_FLAG_INTERRUPTED | NAND_FLAG_HALF_ERASED);
        b->r.reads = b->reads_saved = b->r.programmed_ns = 0;
        b->done = b->planned = b->page_programs = 0;
        save_block(n, block);
    }
    save_control(n);
    return !fails;
}

static void end_erase(struct nand *n, struct nand_op *op)
{
    n->blocks[op->block].erasing = false;
    op->failed = !erase(n, op->block);
}

struct nand_op *nand_complete(struct nand *n, uint64_t now_ns)
{
    struct nand_op *op = nand_time_take(n, now_ns);
    if (!op)
        return NULL;
    op->queued = false;
    if (op->kind == NAND_READ)
        end_read(n, op);
    else if (op->kind == NAND_PROGRAM)
        end_program(n, op);
    else
        end_erase(n, op);
    return op;
}

/* ---- power cut */

/* Each sector of a program under way is there, torn, or looks erased. */
static void tear_program(struct nand *n, const struct nand_op *op, struct prng *prng)
{
    struct block *b = &n->blocks[op->block];
    const uint8_t state = program_number(n, op->block, op->sector);
    for (uint32_t i = 0; i < op->sectors; i++) {
        const uint64_t fate = prng_below(prng, 3);
        if (fate < 2)
            put_sector(n, op->block, op->sector + i, (const uint8_t *)op->buf + (size_t)i * NAND_SECTOR_BYTES,
                       fate ? NAND_SECTOR_TORN : state);
    }
    b->done = op->sector + op->sectors;
    n->control.stats.torn_programs++;
    interrupt(n, op->block, 0);
}

static void tear_erase(struct nand *n, const struct nand_op *op)
{
    n->blocks[op->block].r.pe_cycles++;
    n->control.stats.torn_erases++;
    interrupt(n, op->block, NAND_FLAG_HALF_ERASED);
}

void nand_power_cut(struct nand *n, uint64_t cut_ns, struct prng *prng)
{
    while (nand_complete(n, cut_ns))
        ;
    for (struct nand_op *op; (op = nand_time_take(n, UINT64_MAX));) {
        op->queued = false;
        if (op->start_ns >= cut_ns)
            continue;
        if (op->kind == NAND_PROGRAM)
            tear_program(n, op, prng);
        else if (op->kind == NAND_ERASE)
            tear_erase(n, op);
    }
    n->now_ns = cut_ns;
    nand_time_init(n);
    for (uint32_t i = 0; i < n->block_count; i++) {
        struct block *b = &n->blocks[i];
        b->programs = b->reads = 0;
        b->erasing = false;
        b->planned = b->done;
    }
    n->control.stats.unsafe_shutdowns++;
    n->control.stats.power_cycles++;
    save_control(n);
}

/* ---- the controller's */

void nand_retire(struct nand *n, uint32_t block)
{
    n->blocks[block].r.flags |= NAND_FLAG_GROWN_BAD;
    save_block(n, block);
}

bool nand_erase_now(struct nand *n, uint32_t block)
{
    const struct nand_op op = {.kind = NAND_ERASE, .block = block};
    check(n, &op);
    nand_time_delay(n, block, n->config.timing.erase_ns);
    return erase(n, block);
}

static void copy_sector(struct nand *n, uint32_t from, uint32_t to, uint32_t sector, uint32_t *lost)
{
    uint8_t data[NAND_SECTOR_BYTES];
    struct nand_sector_record r;
    uint32_t corrected = 0;
    const bool lost_now = read_sector(n, from, sector, data, &corrected) != NAND_GOOD;
    *lost += lost_now;
    (void)sector_state(n, from, sector, &r);
    put_sector(n, to, sector, data, lost_now ? NAND_SECTOR_LOST : r.state);
}

bool nand_replace(struct nand *n, struct nand_op *op, uint32_t to, uint32_t *lost)
{
    struct block *old = &n->blocks[op->block], *b = &n->blocks[to];
    const uint32_t pages = op->sector / n->page_sectors + 1;
    assert(op->kind == NAND_PROGRAM && op->failed &&
           to / n->config.geometry.blocks == op->block / n->config.geometry.blocks);
    RULE(!is_bad(b) && b->planned == 0 && !(b->r.flags & NAND_FLAG_INTERRUPTED), "the replacement is erased");
    nand_time_delay(n, op->block, pages * (uint64_t)(n->config.timing.read_ns + n->config.timing.program_ns));
    *lost = 0;
    b->r.programmed_ns = old->r.programmed_ns;
    for (uint32_t s = 0; s < op->sector; s++)
        copy_sector(n, op->block, to, s, lost);
    b->done = b->planned = op->sector;
    n->control.stats.programs += pages - 1;
    n->control.stats.programmed_bytes += (uint64_t)op->sector * NAND_SECTOR_BYTES;
    save_block(n, to);
    if (!program(n, to, op))
        return false;
    b->planned = old->planned;
    b->page_programs = old->page_programs;
    b->programs = old->programs;
    old->programs = 0;
    old->planned = old->done;
    nand_time_redirect(n, op->block, to);
    op->block = to;
    op->failed = false;
    return true;
}

void nand_set_tag(struct nand *n, uint32_t block, uint32_t tag)
{
    n->blocks[block].r.tag = tag;
    n->blocks[block].r.tagged = ++n->control.tags;
    save_block(n, block);
}

uint32_t nand_tag(const struct nand *n, uint32_t block)
{
    return n->blocks[block].r.tag;
}

bool nand_tag_is_newer(const struct nand *n, uint32_t block, uint32_t than)
{
    return n->blocks[block].r.tagged > n->blocks[than].r.tagged;
}

uint64_t nand_tags_set(const struct nand *n)
{
    return n->control.tags;
}

void nand_block_info(const struct nand *n, uint32_t block, struct nand_block_info *out)
{
    const struct block *b = &n->blocks[block];
    *out = (struct nand_block_info){.factory_bad = b->r.flags & NAND_FLAG_FACTORY_BAD,
                                    .grown_bad = b->r.flags & NAND_FLAG_GROWN_BAD,
                                    .interrupted = b->r.flags & NAND_FLAG_INTERRUPTED,
                                    .half_erased = b->r.flags & NAND_FLAG_HALF_ERASED,
                                    .pe_cycles = b->r.pe_cycles,
                                    .sectors = b->done,
                                    .reads = b->r.reads};
}

void nand_stats(const struct nand *n, struct nand_stats *out)
{
    *out = n->control.stats;
}

/* ---- for tests and demonstrations */

void nand_age(struct nand *n, uint64_t ns)
{
    assert(nand_next(n) == UINT64_MAX && "nothing is under way");
    n->now_ns += ns;
}

void nand_fail_next(struct nand *n, uint32_t block, enum nand_kind kind)
{
    n->blocks[block].fail_next |= (uint8_t)(1u << kind);
}

void nand_wear(struct nand *n, uint32_t block, uint32_t pe_cycles)
{
    n->blocks[block].r.pe_cycles += pe_cycles;
    save_block(n, block);
}

void *nand_sector_bytes(struct nand *n, uint32_t block, uint32_t sector)
{
    struct nand_sector_record r;
    return sector_state(n, block, sector, &r) ? data_at(n, block, sector) : NULL;
}
