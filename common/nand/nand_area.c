#include "common/nand/nand_area.h"

#include <assert.h>
#include <string.h>

#include "common/endian_codec.h"
#include "common/xxh3.h"

#define MAGIC 0x0a31444e414e5350ull /* "PSNAND1\n" */

enum {
    HEADER_FIELDS = 20,
    CHECKSUM_AT = NAND_HEADER_BYTES - 8,
    CONTROL_HALF = NAND_CONTROL_BYTES / 2,
    COUNTERS = 14,
    CONTROL_FIELDS = 4 + COUNTERS,
};

_Static_assert(16 + 4 * HEADER_FIELDS + 8 <= CHECKSUM_AT, "the header fits");
_Static_assert(8 * CONTROL_FIELDS + 8 <= CONTROL_HALF, "a control record fits");
_Static_assert(sizeof(struct nand_stats) == 8 * COUNTERS, "each counter is kept");
_Static_assert(8 + 4 * 4 + 3 * 8 + 8 <= NAND_BLOCK_BYTES, "a block's record fits");

/* ---- the header */

static void config_fields(struct nand_config *c, uint32_t *fields[HEADER_FIELDS])
{
    uint32_t *all[HEADER_FIELDS] = {
        &c->geometry.channels, &c->geometry.dies,       &c->geometry.planes,  &c->geometry.blocks,
        &c->geometry.pages,    &c->geometry.page_bytes, &c->timing.read_ns,   &c->timing.program_ns,
        &c->timing.erase_ns,   &c->timing.channel_mb_s, &c->rates.fixed,      &c->rates.wear,
        &c->rates.retention,   &c->rates.disturb,       &c->partial_programs, &c->endurance,
        &c->ecc_bits,          &c->factory_bad_ppm,     &c->program_fail_ppb, &c->spare_blocks,
    };
    memcpy(fields, all, sizeof all);
}

void nand_header_encode(const struct nand_config *config, void *out)
{
    struct nand_config copy = *config;
    uint32_t *fields[HEADER_FIELDS];
    uint8_t *p = out;
    config_fields(&copy, fields);
    memset(p, 0, NAND_HEADER_BYTES);
    put_le64(p, MAGIC);
    put_le32(p + 8, NAND_AREA_VERSION);
    for (int i = 0; i < HEADER_FIELDS; i++)
        put_le32(p + 16 + 4 * i, *fields[i]);
    put_le64(p + 16 + 4 * HEADER_FIELDS, config->seed);
    put_le64(p + CHECKSUM_AT, XXH3_64bits(p, CHECKSUM_AT));
}

int nand_header_decode(const void *area, size_t bytes, struct nand_config *out, struct ps_error *err)
{
    const uint8_t *p = area;
    struct nand_config config;
    uint32_t *fields[HEADER_FIELDS];
    if (bytes < NAND_HEADER_BYTES || get_le64(p) != MAGIC)
        return ps_error_set(err, PS_ENOTFOUND, "no simulated flash");
    if (get_le64(p + CHECKSUM_AT) != XXH3_64bits(p, CHECKSUM_AT))
        return ps_error_set(err, PS_EDAMAGED, "the header of the simulated flash has a wrong checksum");
    if (get_le32(p + 8) != NAND_AREA_VERSION)
        return ps_error_set(err, PS_EVERSION,
                            "the simulated flash has format version %u, this program knows %d",
                            get_le32(p + 8), NAND_AREA_VERSION);
    config_fields(&config, fields);
    for (int i = 0; i < HEADER_FIELDS; i++)
        *fields[i] = get_le32(p + 16 + 4 * i);
    config.seed = get_le64(p + 16 + 4 * HEADER_FIELDS);
    const int rc = nand_config_check(&config, err);
    if (rc)
        return PS_EDAMAGED;
    if (nand_area_bytes(&config) > bytes)
        return ps_error_set(err, PS_EDAMAGED, "the simulated flash is cut short: %zu bytes of %zu", bytes,
                            nand_area_bytes(&config));
    *out = config;
    return 0;
}

void nand_layout(const struct nand_geometry *g, struct nand_layout *out)
{
    const uint64_t blocks = nand_block_count(g), sectors = blocks * nand_block_sectors(g);
    const uint64_t unit = NAND_SECTOR_BYTES;
    out->blocks = NAND_HEADER_BYTES + NAND_CONTROL_BYTES;
    out->sectors = out->blocks + blocks * 2 * NAND_BLOCK_BYTES;
    out->data = (out->sectors + sectors * 8 + unit - 1) / unit * unit;
    out->end = out->data + sectors * NAND_SECTOR_BYTES;
}

/* ---- records kept twice: number first, checksum in the last 8 bytes */

static bool is_sound(const uint8_t *p, size_t bytes)
{
    return get_le64(p) != 0 && get_le64(p + bytes - 8) == XXH3_64bits(p, bytes - 8);
}

/* The one that counts; NULL: neither is sound. */
static const uint8_t *newer(const uint8_t *pair, size_t bytes)
{
    const uint8_t *a = is_sound(pair, bytes) ? pair : NULL;
    const uint8_t *b = is_sound(pair + bytes, bytes) ? pair + bytes : NULL;
    if (a && b)
        return get_le64(a) > get_le64(b) ? a : b;
    return a ? a : b;
}

static void seal(void *pair, uint8_t *record, size_t bytes, uint64_t number)
{
    put_le64(record, number);
    put_le64(record + bytes - 8, XXH3_64bits(record, bytes - 8));
    memcpy((uint8_t *)pair + number % 2 * bytes, record, bytes);
}

void nand_block_save(void *pair, struct nand_block_record *r)
{
    uint8_t p[NAND_BLOCK_BYTES] = {0};
    put_le32(p + 8, r->pe_cycles);
    put_le32(p + 12, r->flags);
    put_le32(p + 16, r->tag);
    put_le32(p + 20, r->erases);
    put_le64(p + 24, r->tagged);
    put_le64(p + 32, r->reads);
    put_le64(p + 40, r->programmed_ns);
    seal(pair, p, sizeof p, ++r->number);
}

int nand_block_load(const void *pair, struct nand_block_record *out)
{
    const uint8_t *p = newer(pair, NAND_BLOCK_BYTES);
    const uint32_t flags = p ? get_le32(p + 12) : 0;
    if (!p || flags & ~(uint32_t)NAND_FLAGS ||
        (flags & NAND_FLAG_HALF_ERASED && !(flags & NAND_FLAG_INTERRUPTED)))
        return PS_EDAMAGED;
    *out = (struct nand_block_record){.number = get_le64(p),
                                      .pe_cycles = get_le32(p + 8),
                                      .flags = flags,
                                      .tag = get_le32(p + 16),
                                      .erases = get_le32(p + 20),
                                      .tagged = get_le64(p + 24),
                                      .reads = get_le64(p + 32),
                                      .programmed_ns = get_le64(p + 40)};
    return 0;
}

void nand_control_save(void *pair, struct nand_control_record *r)
{
    uint8_t p[CONTROL_HALF] = {0};
    const uint64_t *counters = (const uint64_t *)&r->stats;
    put_le64(p + 8, r->open);
    put_le64(p + 16, r->now_ns);
    put_le64(p + 24, r->tags);
    for (int i = 0; i < COUNTERS; i++)
        put_le64(p + 32 + 8 * i, counters[i]);
    seal(pair, p, sizeof p, ++r->number);
}

int nand_control_load(const void *pair, struct nand_control_record *out)
{
    const uint8_t *p = newer(pair, CONTROL_HALF);
    if (!p)
        return PS_EDAMAGED;
    uint64_t *counters = (uint64_t *)&out->stats;
    out->number = get_le64(p);
    out->open = get_le64(p + 8) != 0;
    out->now_ns = get_le64(p + 16);
    out->tags = get_le64(p + 24);
    for (int i = 0; i < COUNTERS; i++)
        counters[i] = get_le64(p + 32 + 8 * i);
    return 0;
}

/* ---- sectors */

void nand_sector_save(void *at, const struct nand_sector_record *r)
{
    uint8_t p[8];
    uint64_t whole;
    put_le32(p, r->checksum);
    put_le32(p + 4, (r->erase & 0xffffff) | (uint32_t)r->state << 24);
    memcpy(&whole, p, sizeof whole);
    assert((uintptr_t)at % sizeof whole == 0);
    *(volatile uint64_t *)at = whole;
}

void nand_sector_load(const void *at, struct nand_sector_record *out)
{
    const uint32_t v = get_le32((const uint8_t *)at + 4);
    *out = (struct nand_sector_record){
        .checksum = get_le32(at), .erase = v & 0xffffff, .state = (uint8_t)(v >> 24)};
}

uint32_t nand_sector_checksum(const void *data)
{
    return (uint32_t)XXH3_64bits(data, NAND_SECTOR_BYTES);
}
