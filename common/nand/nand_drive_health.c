#include "common/nand/nand_drive_impl.h"

void drive_health(const struct blkdev *dev, struct blkdev_health *out)
{
    struct nand_health h;
    nand_drive_health(dev, &h);
    *out = drive_of(dev)->health;
    out->smart = (struct blkdev_smart){
        .known = true,
        .critical_warning = (uint8_t)(h.warnings & (NAND_WARN_SPARE | NAND_WARN_RELIABLE)),
        .used_percent = (uint8_t)h.used_percent,
        .spare_percent = (uint8_t)h.spare_percent,
        .media_errors = h.media_errors,
    };
}

void drive_wear(const struct blkdev *dev, uint64_t offset, struct blkdev_wear *out)
{
    const struct drive *d = drive_of(dev);
    const uint32_t zone = (uint32_t)(offset / d->base.geometry.erase_bytes);
    *out = (struct blkdev_wear){.retired = d->zones[zone].retired};
    for (uint32_t lane = 0; lane < d->lanes && !out->retired; lane++) {
        struct nand_block_info info;
        nand_block_info(d->flash, *drive_block(d, zone, lane), &info);
        if (out->pe_cycles < info.pe_cycles)
            out->pe_cycles = info.pe_cycles;
    }
}

static void count_blocks(const struct drive *d, struct nand_health *out)
{
    out->pe_lowest = UINT32_MAX;
    for (uint32_t b = 0; b < nand_block_count(d->g); b++) {
        struct nand_block_info info;
        nand_block_info(d->flash, b, &info);
        out->factory_bad += info.factory_bad;
        out->grown_bad += info.grown_bad;
        out->pe_total += info.pe_cycles;
        if (info.factory_bad || info.grown_bad || nand_tag(d->flash, b) == 0)
            continue;
        out->pe_lowest = info.pe_cycles < out->pe_lowest ? info.pe_cycles : out->pe_lowest;
        out->pe_highest = info.pe_cycles > out->pe_highest ? info.pe_cycles : out->pe_highest;
    }
    if (out->pe_lowest > out->pe_highest)
        out->pe_lowest = 0;
}

void nand_drive_health(const struct blkdev *dev, struct nand_health *out)
{
    const struct drive *d = drive_of(dev);
    const struct nand_config *c = nand_config(d->flash);
    struct nand_stats s;
    uint32_t spares = UINT32_MAX;
    nand_stats(d->flash, &s);
    *out = (struct nand_health){.read_bytes = s.read_bytes,
                                .programmed_bytes = s.programmed_bytes,
                                .media_errors = s.uncorrectable,
                                .corrected_bits = s.corrected_bits,
                                .program_fails = s.program_fails,
                                .erase_fails = s.erase_fails,
                                .power_cycles = s.power_cycles,
                                .unsafe_shutdowns = s.unsafe_shutdowns,
                                .busy_ns = s.busy_ns,
                                .zones = d->zone_count,
                                .moved_blocks = d->moved};
    count_blocks(d, out);
    for (uint32_t lane = 0; lane < d->lanes; lane++)
        spares = d->spares[lane] < spares ? d->spares[lane] : spares;
    for (uint32_t zone = 0; zone < d->zone_count; zone++)
        out->retired_zones += d->zones[zone].retired;
    const uint64_t used = out->pe_total * 100 / ((uint64_t)nand_block_count(d->g) * c->endurance);
    out->spare_percent = spares < d->first_spares ? spares * 100 / d->first_spares : 100;
    out->spare_threshold_percent = d->first_spares ? SPARE_KEPT * 100 / d->first_spares : 0;
    out->used_percent = used < 255 ? (uint32_t)used : 255;
    out->warnings = (spares <= SPARE_KEPT ? NAND_WARN_SPARE : 0u) |
                    (s.uncorrectable ? NAND_WARN_RELIABLE : 0u) | (used >= 100 ? NAND_WARN_WORN : 0u);
}
