/* Which block is whose: a block's tag is the number of its zone + 1, or 0. */
#include <assert.h>

#include "common/nand/nand_drive_impl.h"
#include "common/nand/nand_errors.h"

/* ---- geometry */

/* Neighbouring lanes are planes of one die, then the dies of other channels: a stripe uses as many channels
 * and as few commands as it can. */
static uint32_t plane_of_lane(const struct nand_geometry *g, uint32_t lane)
{
    const uint32_t plane = lane % g->planes, channel = lane / g->planes % g->channels;
    const uint32_t die = channel * g->dies + lane / g->planes / g->channels;
    return die * g->planes + plane;
}

static uint32_t bad_in_plane(const struct nand_config *c, uint32_t plane)
{
    uint32_t bad = 0;
    for (uint32_t i = 0; i < c->geometry.blocks; i++)
        bad += nand_errors_factory_bad(c, plane * c->geometry.blocks + i);
    return bad;
}

static uint32_t most_bad(const struct nand_config *c)
{
    uint32_t most = 0;
    for (uint32_t plane = 0; plane < drive_lanes(&c->geometry); plane++) {
        const uint32_t bad = bad_in_plane(c, plane);
        most = bad > most ? bad : most;
    }
    return most;
}

int nand_drive_plan(uint64_t size_bytes, uint32_t spare_percent, struct nand_config *c, struct ps_error *err)
{
    struct nand_geometry *g = &c->geometry;
    g->blocks = 1;
    c->spare_blocks = 0;
    int rc = nand_config_check(c, err);
    if (rc)
        return rc;
    if (g->page_bytes / c->partial_programs > NAND_SECTOR_BYTES)
        return ps_error_set(err, PS_EINVAL, "a drive needs pages that can be programmed sector by sector");
    const uint64_t zone = (uint64_t)drive_lanes(g) * g->pages * g->page_bytes;
    const uint64_t zones = (size_bytes + zone - 1) / zone;
    if (size_bytes == 0 || spare_percent > 100 || zones > 1 << 19)
        return ps_error_set(err, PS_EINVAL, "a drive of %llu zones with %u %% spare blocks is impossible",
                            (unsigned long long)zones, spare_percent);
    const uint32_t percent = (uint32_t)(zones * spare_percent / 100);
    uint32_t spares = percent > SPARES_LEAST ? percent : SPARES_LEAST;
    /* More blocks may have more bad ones among them. */
    for (int tries = 0; tries < 20; tries++) {
        c->spare_blocks = spares;
        g->blocks = (uint32_t)zones + spares;
        const uint32_t needed = most_bad(c) + (percent > SPARES_LEAST ? 2 : SPARES_LEAST);
        if (spares >= needed)
            return nand_config_check(c, err);
        spares = needed;
    }
    return ps_error_set(err, PS_EINVAL, "too many of its blocks are bad");
}

/* ---- blocks */

bool drive_block_is_good(const struct drive *d, uint32_t block)
{
    struct nand_block_info info;
    nand_block_info(d->flash, block, &info);
    return !info.factory_bad && !info.grown_bad;
}

bool drive_erase_failed(const struct drive *d, uint32_t block)
{
    struct nand_block_info info;
    nand_block_info(d->flash, block, &info);
    return info.half_erased;
}

static bool is_erased(const struct drive *d, uint32_t block)
{
    struct nand_block_info info;
    nand_block_info(d->flash, block, &info);
    return info.sectors == 0 && !info.interrupted;
}

static uint32_t lane_first(const struct drive *d, uint32_t lane)
{
    return plane_of_lane(d->g, lane) * d->g->blocks;
}

/* A spare is kept erased; one that can't be is bad. */
static void give_to_spares(struct drive *d, uint32_t lane, uint32_t block)
{
    if (!is_erased(d, block) && !nand_erase_now(d->flash, block)) {
        nand_retire(d->flash, block);
        return;
    }
    if (nand_tag(d->flash, block))
        nand_set_tag(d->flash, block, 0);
    d->spares[lane]++;
}

uint32_t drive_find_spare(const struct drive *d, uint32_t lane)
{
    uint32_t best = NO_BLOCK, best_pe = 0;
    const uint32_t first = lane_first(d, lane);
    for (uint32_t b = first; b < first + d->g->blocks; b++) {
        struct nand_block_info info;
        nand_block_info(d->flash, b, &info);
        if (nand_tag(d->flash, b) || info.factory_bad || info.grown_bad)
            continue;
        if (best == NO_BLOCK || info.pe_cycles < best_pe) {
            best = b;
            best_pe = info.pe_cycles;
        }
    }
    assert((best == NO_BLOCK) == (d->spares[lane] == 0));
    return best;
}

void drive_use_spare(struct drive *d, uint32_t zone, uint32_t lane, uint32_t spare)
{
    nand_set_tag(d->flash, spare, zone + 1);
    *drive_block(d, zone, lane) = spare;
    d->spares[lane]--;
}

/* ---- opening */

bool drive_assign(struct drive *d)
{
    for (uint32_t lane = 0; lane < d->lanes; lane++) {
        uint32_t block = lane_first(d, lane);
        const uint32_t end = block + d->g->blocks;
        for (uint32_t zone = 0; zone < d->zone_count; zone++, block++) {
            while (block < end && !drive_block_is_good(d, block))
                block++;
            if (block == end)
                return false;
            if (nand_tag(d->flash, block) != zone + 1)
                nand_set_tag(d->flash, block, zone + 1);
        }
    }
    return true;
}

/* Of two blocks for one place the one that was put there last holds; the process ended before the other one
 * was retired. False: a tag says nonsense. */
static bool find_blocks(struct drive *d)
{
    for (uint32_t i = 0; i < d->zone_count * d->lanes; i++)
        d->blocks[i] = NO_BLOCK;
    for (uint32_t lane = 0; lane < d->lanes; lane++) {
        const uint32_t first = lane_first(d, lane);
        for (uint32_t b = first; b < first + d->g->blocks; b++) {
            const uint32_t tag = nand_tag(d->flash, b);
            if (tag > d->zone_count)
                return false;
            if (tag == 0 || !drive_block_is_good(d, b))
                continue;
            uint32_t *at = drive_block(d, tag - 1, lane);
            if (*at == NO_BLOCK || nand_tag_is_newer(d->flash, b, *at))
                *at = b;
        }
    }
    return true;
}

/* What no zone uses is spare; a zone that lacks a block is retired, and was being given up. */
static void find_spares(struct drive *d)
{
    for (uint32_t zone = 0; zone < d->zone_count; zone++) {
        for (uint32_t lane = 0; lane < d->lanes; lane++)
            d->zones[zone].retired |= *drive_block(d, zone, lane) == NO_BLOCK;
        for (uint32_t lane = 0; lane < d->lanes && d->zones[zone].retired; lane++)
            *drive_block(d, zone, lane) = NO_BLOCK;
    }
    for (uint32_t lane = 0; lane < d->lanes; lane++) {
        const uint32_t first = lane_first(d, lane);
        d->spares[lane] = 0;
        for (uint32_t b = first; b < first + d->g->blocks; b++) {
            const uint32_t tag = nand_tag(d->flash, b);
            if (!drive_block_is_good(d, b) ||
                (tag && !d->zones[tag - 1].retired && *drive_block(d, tag - 1, lane) == b))
                continue;
            give_to_spares(d, lane, b);
        }
    }
}

/* How far the zone is written. One whose blocks do not agree was cut off in the middle of a write. */
static void find_end(struct drive *d, uint32_t zone)
{
    struct zone *z = &d->zones[zone];
    uint32_t total = 0;
    z->written = z->erasing = z->end = 0;
    z->closed = false;
    for (uint32_t lane = 0; lane < d->lanes && !z->retired; lane++) {
        struct nand_block_info info;
        nand_block_info(d->flash, *drive_block(d, zone, lane), &info);
        z->closed |= info.interrupted;
        total += info.sectors;
        if (info.sectors == 0)
            continue;
        const uint32_t last = info.sectors - 1, page = last / d->page_sectors * d->lanes + lane;
        const uint32_t end = page * d->page_sectors + last % d->page_sectors + 1;
        z->written = end > z->written ? end : z->written;
    }
    z->closed |= total != z->written;
}

static void find_ends(struct drive *d)
{
    for (uint32_t zone = 0; zone < d->zone_count; zone++)
        find_end(d, zone);
}

bool drive_look(struct drive *d)
{
    if (!find_blocks(d))
        return false;
    find_spares(d);
    find_ends(d);
    return true;
}

void drive_give_up(struct drive *d, uint32_t zone)
{
    d->zones[zone].retired = true;
    for (uint32_t lane = 0; lane < d->lanes; lane++) {
        uint32_t *at = drive_block(d, zone, lane);
        if (drive_erase_failed(d, *at))
            nand_retire(d->flash, *at);
        else
            give_to_spares(d, lane, *at);
        *at = NO_BLOCK;
    }
}
