#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/common/nand/drive_rig.h"
#include "tests/unit/common/nand/nand_rig.h"

enum {
    MIB = 1 << 20,
    ZONE = MIB / NAND_SECTOR_BYTES, /* sectors */
};

static struct nand_health health_of(struct drive_rig *rig)
{
    struct nand_health h;
    nand_drive_health(rig->dev, &h);
    return h;
}

static void a_zone_is_written_in_order_read_and_erased(void **state)
{
    (void)state;
    struct drive_rig rig;
    drive_rig_create(&rig, 10 * MIB, NULL);
    assert_true(rig.dev->geometry.zoned && rig.dev->geometry.erase_bytes == MIB);
    assert_int_equal(rig.dev->geometry.size_bytes, 10 * MIB);
    assert_true(drive_rig_is_zero(&rig, 0, ZONE));
    assert_int_equal(drive_rig_write(&rig, 3 * ZONE, 1, 100), 0);
    assert_false(drive_rig_is_zero(&rig, 3 * ZONE, ZONE)); /* reads over the end of what is there */
    assert_int_equal(drive_rig_write(&rig, 3 * ZONE + 1, 100, 101), 0);
    assert_int_equal(drive_rig_write(&rig, 3 * ZONE + 101, ZONE - 101, 201), 0);
    assert_true(drive_rig_holds(&rig, 3 * ZONE, ZONE, 100, NULL));
    assert_true(drive_rig_holds(&rig, 3 * ZONE + 77, 30, 177, NULL));
    assert_true(drive_rig_is_zero(&rig, 2 * ZONE, ZONE) && drive_rig_is_zero(&rig, 4 * ZONE, ZONE));
    assert_int_equal(drive_rig_erase(&rig, 3), 0);
    assert_true(drive_rig_is_zero(&rig, 3 * ZONE, ZONE));
    assert_int_equal(drive_rig_write(&rig, 3 * ZONE, ZONE, 5000), 0);
    assert_true(drive_rig_holds(&rig, 3 * ZONE, ZONE, 5000, NULL));
    drive_rig_destroy(&rig);
}

static void a_request_may_reach_over_zones(void **state)
{
    (void)state;
    struct drive_rig rig;
    drive_rig_create(&rig, 10 * MIB, NULL);
    assert_int_equal(drive_rig_write(&rig, 0, ZONE - 9, 0), 0);
    nand_fail_next(nand_drive_flash(rig.dev), nand_drive_block(rig.dev, 1, 0), NAND_PROGRAM);
    assert_int_equal(drive_rig_write(&rig, ZONE - 9, 20, ZONE - 9), 0);
    assert_int_equal(drive_rig_write(&rig, ZONE + 11, ZONE - 11, ZONE + 11), 0);
    assert_true(drive_rig_holds(&rig, ZONE / 2, ZONE, ZONE / 2, NULL));
    drive_rig_destroy(&rig);
}

static void a_flush_has_nothing_to_do_and_completes_later(void **state)
{
    (void)state;
    struct drive_rig rig;
    struct blkdev_health health;
    drive_rig_create(&rig, 10 * MIB, NULL);
    assert_int_equal(drive_rig_write(&rig, 0, 1, 1), 0);
    blkdev_health(rig.dev, &health);
    assert_int_equal(health.write_ops, 1);
    assert_int_equal(health.write_bytes, NAND_SECTOR_BYTES);
    assert_int_equal(nand_drive_pending(rig.dev), 0);
    assert_false(nand_drive_step(rig.dev));
    assert_true(nand_drive_next(rig.dev) == UINT64_MAX);
    drive_rig_destroy(&rig);
}

static void everything_is_there_after_a_start_and_after_a_kill(void **state)
{
    (void)state;
    struct drive_rig rig;
    struct blkdev_wear wear;
    drive_rig_create(&rig, 10 * MIB, NULL);
    assert_int_equal(drive_rig_erase(&rig, 1), 0);
    assert_int_equal(drive_rig_write(&rig, ZONE, 77, 100), 0);
    drive_rig_reopen(&rig);
    assert_true(drive_rig_holds(&rig, ZONE, 77, 100, NULL));
    assert_true(drive_rig_is_zero(&rig, ZONE + 77, ZONE - 77));
    assert_int_equal(drive_rig_write(&rig, ZONE + 77, 10, 177), 0);
    drive_rig_kill(&rig);
    assert_true(drive_rig_holds(&rig, ZONE, 87, 100, NULL));
    assert_int_equal(drive_rig_write(&rig, ZONE + 87, ZONE - 87, 187), 0);
    assert_true(drive_rig_holds(&rig, ZONE, ZONE, 100, NULL));
    assert_true(blkdev_wear(rig.dev, MIB, &wear));
    assert_int_equal(wear.pe_cycles, 1);
    assert_true(blkdev_wear(rig.dev, 0, &wear));
    assert_int_equal(wear.pe_cycles, 0);
    assert_int_equal(health_of(&rig).unsafe_shutdowns, 1);
    drive_rig_destroy(&rig);
}

static void a_stripe_uses_all_planes_and_channels(void **state)
{
    (void)state;
    struct drive_rig rig;
    drive_rig_create(&rig, 10 * MIB, NULL);
    struct nand *flash = nand_drive_flash(rig.dev);
    assert_int_equal(drive_rig_write(&rig, 0, 16, 1), 0); /* a page in each lane */
    /* On each channel two transfers of 16 KiB at 800 MB/s, then both planes at once. */
    assert_int_equal(nand_time(flash), 2 * 16384 * 1000 / 800 + 600000);
    for (uint32_t lane = 0; lane < 4; lane++) {
        struct nand_block_info info;
        nand_block_info(flash, nand_drive_block(rig.dev, 0, lane), &info);
        assert_int_equal(info.sectors, 4);
    }
    drive_rig_destroy(&rig);
}

/* ---- its rules */

static struct drive_rig a_drive(void)
{
    struct drive_rig rig;
    drive_rig_create(&rig, 10 * MIB, NULL);
    return rig;
}

static void write_twice(struct nand_rig *unused)
{
    (void)unused;
    struct drive_rig rig = a_drive();
    (void)drive_rig_write(&rig, 0, 2, 1);
    (void)drive_rig_write(&rig, 0, 2, 1);
}

static void leave_a_gap(struct nand_rig *unused)
{
    (void)unused;
    struct drive_rig rig = a_drive();
    (void)drive_rig_write(&rig, 1, 2, 1);
}

static void reach_into_a_written_zone(struct nand_rig *unused)
{
    (void)unused;
    struct drive_rig rig = a_drive();
    (void)drive_rig_write(&rig, ZONE, 1, 1);
    (void)drive_rig_write(&rig, 0, ZONE - 1, 1);
    (void)drive_rig_write(&rig, ZONE - 1, 2, 1);
}

static uint8_t page[MIB] __attribute__((aligned(BLKDEV_ALIGN)));

static void no_callback(struct blkdev_req *req, int status)
{
    (void)req;
    (void)status;
}

static void write_under_an_erase(struct nand_rig *unused)
{
    (void)unused;
    struct drive_rig rig = a_drive();
    struct blkdev_req erase = {.op = BLKDEV_ERASE, .length = MIB};
    (void)blkdev_submit(rig.dev, &erase, no_callback);
    (void)drive_rig_write(&rig, 0, 1, 1);
}

static void go_on_after_a_cut(struct nand_rig *unused)
{
    (void)unused;
    struct drive_rig rig = a_drive();
    struct blkdev_req write = {.op = BLKDEV_WRITE, .length = NAND_SECTOR_BYTES, .buf = page};
    struct prng prng;
    prng_seed(&prng, 1);
    (void)drive_rig_write(&rig, 0, 1, 1);
    for (uint64_t at = 1;; at = 1) {
        struct nand_stats stats;
        write.offset = at * NAND_SECTOR_BYTES;
        (void)blkdev_submit(rig.dev, &write, no_callback);
        nand_drive_power_cut(rig.dev, &prng);
        nand_stats(nand_drive_flash(rig.dev), &stats);
        if (stats.torn_programs)
            break;
    }
    struct nand_block_info info;
    nand_block_info(nand_drive_flash(rig.dev), nand_drive_block(rig.dev, 0, 0), &info);
    (void)drive_rig_write(&rig, info.sectors, 1, 1);
}

static void write_behind_an_end(struct nand_rig *unused)
{
    (void)unused;
    struct drive_rig rig = a_drive();
    (void)drive_rig_write(&rig, 0, 1, 1);
    blkdev_finish(rig.dev, 0, 2 * NAND_SECTOR_BYTES);
    (void)drive_rig_write(&rig, 1, 1, 1);
    (void)drive_rig_write(&rig, 2, 1, 1);
}

static void erase_half_a_zone(struct nand_rig *unused)
{
    (void)unused;
    struct drive_rig rig = a_drive();
    struct blkdev_req erase = {.op = BLKDEV_ERASE, .length = MIB / 2};
    (void)blkdev_submit(rig.dev, &erase, no_callback);
}

static void the_rules_of_zones_are_checked(void **state)
{
    (void)state;
    nand_rig_expect_rule(write_twice, "a zone is erased before it is written again");
    nand_rig_expect_rule(leave_a_gap, "a zone is written in order, without gaps");
    nand_rig_expect_rule(reach_into_a_written_zone, "a zone is erased before it is written again");
    nand_rig_expect_rule(write_under_an_erase, "no zone is written while it is erased");
    nand_rig_expect_rule(go_on_after_a_cut, "a zone that was cut off is erased");
    nand_rig_expect_rule(write_behind_an_end, "nothing is written behind where a zone was to end");
    nand_rig_expect_rule(erase_half_a_zone, "erase_bytes");
}

/* ---- failures */

static void a_failed_program_costs_a_spare_and_nothing_else(void **state)
{
    (void)state;
    struct drive_rig rig;
    drive_rig_create(&rig, 10 * MIB, NULL);
    struct nand *flash = nand_drive_flash(rig.dev);
    assert_int_equal(drive_rig_write(&rig, 0, 100, 0), 0);
    const uint32_t before = nand_drive_block(rig.dev, 0, 1);
    nand_fail_next(flash, before, NAND_PROGRAM);
    assert_int_equal(drive_rig_write(&rig, 100, ZONE - 100, 100), 0);
    assert_true(nand_drive_block(rig.dev, 0, 1) != before);
    for (int again = 0; again < 3; again++) {
        assert_true(drive_rig_holds(&rig, 0, ZONE, 0, NULL));
        const struct nand_health h = health_of(&rig);
        assert_int_equal(h.grown_bad, 1);
        assert_int_equal(h.program_fails, 1);
        assert_int_equal(h.retired_zones, 0);
        assert_int_equal(h.spare_percent, 66);
        if (again == 0)
            drive_rig_reopen(&rig);
        else
            drive_rig_kill(&rig);
    }
    drive_rig_destroy(&rig);
}

static void a_spare_that_fails_too_is_followed_by_the_next(void **state)
{
    (void)state;
    struct drive_rig rig;
    drive_rig_create(&rig, 10 * MIB, NULL);
    struct nand *flash = nand_drive_flash(rig.dev);
    const uint32_t block = nand_drive_block(rig.dev, 0, 0), plane = block / rig.config.geometry.blocks;
    assert_int_equal(drive_rig_write(&rig, 0, 2, 0), 0);
    for (uint32_t i = 0; i < rig.config.geometry.blocks; i++)
        if (nand_tag(flash, plane * rig.config.geometry.blocks + i) == 0) {
            nand_fail_next(flash, plane * rig.config.geometry.blocks + i, NAND_PROGRAM);
            break;
        }
    nand_fail_next(flash, block, NAND_PROGRAM);
    assert_int_equal(drive_rig_write(&rig, 2, 50, 2), 0);
    assert_true(drive_rig_holds(&rig, 0, 52, 0, NULL));
    assert_int_equal(health_of(&rig).grown_bad, 2);
    drive_rig_destroy(&rig);
}

static void without_a_spare_the_write_fails_and_what_was_there_stays(void **state)
{
    (void)state;
    struct drive_rig rig;
    int status;
    drive_rig_create(&rig, 10 * MIB, NULL);
    struct nand *flash = nand_drive_flash(rig.dev);
    assert_int_equal(drive_rig_write(&rig, 0, 2, 0), 0);
    for (uint32_t at = 2; at < 50; at += 16) { /* each over all lanes */
        nand_fail_next(flash, nand_drive_block(rig.dev, 0, 0), NAND_PROGRAM);
        assert_int_equal(drive_rig_write(&rig, at, 16, at), 0);
    }
    nand_fail_next(flash, nand_drive_block(rig.dev, 0, 0), NAND_PROGRAM);
    assert_int_equal(drive_rig_write(&rig, 50, 1, 50), PS_EIO);
    assert_true(drive_rig_holds(&rig, 0, 50, 0, &status));
    assert_int_equal(status, 0);
    assert_true(health_of(&rig).warnings & NAND_WARN_SPARE);
    /* The next erase gives its zone up, unless it is one of the first, and the drive has spares again. */
    assert_int_equal(drive_rig_erase(&rig, 0), 0);
    assert_int_equal(health_of(&rig).retired_zones, 0);
    assert_int_equal(drive_rig_erase(&rig, 5), PS_EIO);
    assert_int_equal(health_of(&rig).retired_zones, 1);
    struct blkdev_wear wear;
    assert_true(blkdev_wear(rig.dev, 5 * MIB, &wear) && wear.retired);
    assert_int_equal(drive_rig_erase(&rig, 2), 0);
    drive_rig_reopen(&rig);
    assert_int_equal(health_of(&rig).retired_zones, 1);
    assert_int_equal(drive_rig_write(&rig, 2 * ZONE, ZONE, 1), 0);
    nand_fail_next(nand_drive_flash(rig.dev), nand_drive_block(rig.dev, 3, 0), NAND_PROGRAM);
    assert_int_equal(drive_rig_write(&rig, 3 * ZONE, ZONE, 1), 0);
    assert_int_equal(drive_rig_write(&rig, 5 * ZONE, 1, 1), PS_EIO);
    assert_true(drive_rig_is_zero(&rig, 5 * ZONE, 1));
    drive_rig_destroy(&rig);
}

static void a_failed_erase_is_replaced_while_there_are_spares(void **state)
{
    (void)state;
    struct drive_rig rig;
    drive_rig_create(&rig, 10 * MIB, NULL);
    struct nand *flash = nand_drive_flash(rig.dev);
    for (uint32_t zone = 0; zone < 2; zone++) {
        nand_fail_next(flash, nand_drive_block(rig.dev, zone, 2), NAND_ERASE);
        assert_int_equal(drive_rig_erase(&rig, zone), 0);
        assert_int_equal(drive_rig_write(&rig, zone * ZONE, ZONE, zone), 0);
    }
    nand_fail_next(flash, nand_drive_block(rig.dev, 5, 2), NAND_ERASE);
    assert_int_equal(drive_rig_erase(&rig, 5), PS_EIO);
    const struct nand_health h = health_of(&rig);
    assert_int_equal(h.erase_fails, 3);
    assert_int_equal(h.grown_bad, 3);
    assert_int_equal(h.retired_zones, 1);
    for (uint32_t zone = 0; zone < 2; zone++)
        assert_true(drive_rig_holds(&rig, zone * ZONE, ZONE, zone, NULL));
    drive_rig_destroy(&rig);
}

static void factory_bad_blocks_are_nobodys(void **state)
{
    (void)state;
    struct drive_rig rig;
    struct nand_config config;
    drive_rig_config(&config);
    config.factory_bad_ppm = 50000;
    drive_rig_create(&rig, 100 * MIB, &config);
    assert_true(health_of(&rig).factory_bad > 5);
    for (uint32_t zone = 0; zone < 100; zone++)
        assert_int_equal(drive_rig_write(&rig, zone * ZONE, ZONE, zone), 0);
    for (uint32_t zone = 0; zone < 100; zone++)
        assert_true(drive_rig_holds(&rig, zone * ZONE, ZONE, zone, NULL));
    assert_int_equal(health_of(&rig).retired_zones, 0);
    drive_rig_destroy(&rig);
}

/* Zones are rewritten until most of the drive is worn out: no write fails, none is lost, it only gets
 * smaller. */
static void a_drive_wears_out_zone_by_zone_without_losing_anything(void **state)
{
    (void)state;
    enum {
        ZONES = 16
    };
    struct drive_rig rig;
    struct nand_config config;
    struct prng prng;
    uint64_t number[ZONES] = {0}, writes = 0;
    uint32_t left = ZONES;
    prng_seed(&prng, 5);
    drive_rig_config(&config);
    config.endurance = 30;
    config.program_fail_ppb = 300000;
    config.rates.wear = 1000; /* what wears out here is the blocks, not their sectors */
    drive_rig_create(&rig, ZONES * MIB, &config);
    while (left > 4) {
        const uint32_t zone = (uint32_t)prng_below(&prng, ZONES);
        struct blkdev_wear wear;
        (void)blkdev_wear(rig.dev, zone * (uint64_t)MIB, &wear);
        if (wear.retired)
            continue;
        if (number[zone])
            assert_true(drive_rig_holds(&rig, zone * ZONE, ZONE, number[zone], NULL));
        if (drive_rig_erase(&rig, zone)) {
            left--;
            continue;
        }
        number[zone] = ++writes * 1000;
        assert_int_equal(drive_rig_write(&rig, zone * ZONE, ZONE, number[zone]), 0);
        if (prng_chance(&prng, 1, 50))
            drive_rig_kill(&rig);
    }
    const struct nand_health h = health_of(&rig);
    assert_true(h.program_fails > 0 && h.erase_fails > 0 && h.grown_bad >= h.program_fails);
    assert_int_equal(h.retired_zones, ZONES - 4);
    assert_true(h.warnings & NAND_WARN_SPARE);
    assert_true(writes > ZONES * 25);
    drive_rig_destroy(&rig);
}

static void a_drive_without_a_zone_left_stays_one(void **state)
{
    (void)state;
    struct drive_rig rig;
    drive_rig_create(&rig, 10 * MIB, NULL);
    struct nand *flash = nand_drive_flash(rig.dev);
    for (uint32_t b = 0; b < nand_block_count(&rig.config.geometry); b++)
        nand_wear(flash, b, 2 * rig.config.endurance);
    for (uint32_t zone = 0; zone < 10; zone++)
        while (drive_rig_erase(&rig, zone) == 0) /* as long as there are spares */
            ;
    for (int again = 0; again < 3; again++) {
        assert_int_equal(health_of(&rig).retired_zones, 10);
        assert_int_equal(drive_rig_write(&rig, 0, 1, 1), PS_EIO);
        drive_rig_reopen(&rig);
    }
    drive_rig_destroy(&rig);
}

static void a_drive_that_a_kill_left_half_made_is_made(void **state)
{
    (void)state;
    struct drive_rig rig;
    struct nand *flash;
    drive_rig_create(&rig, 10 * MIB, NULL);
    blkdev_destroy(rig.dev);
    memset(rig.area, 0, rig.bytes);
    nand_format(&rig.config, rig.area);
    assert_int_equal(nand_open(rig.area, rig.bytes, &flash, NULL), 0);
    nand_set_tag(flash, 0, 1);
    nand_set_tag(flash, 1, 2);
    assert_int_equal(nand_drive_create(flash, "drive", &rig.dev, NULL), 0);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(health_of(&rig).retired_zones, 0);
        assert_int_equal(health_of(&rig).spare_percent, 100);
        drive_rig_kill(&rig);
    }
    drive_rig_destroy(&rig);
}

static void a_kill_between_the_erases_of_a_zone_costs_no_zone(void **state)
{
    (void)state;
    static uint8_t buf[NAND_SECTOR_BYTES] __attribute__((aligned(BLKDEV_ALIGN)));
    struct drive_rig rig;
    struct nand_stats stats;
    drive_rig_create(&rig, 10 * MIB, NULL);
    struct nand *flash = nand_drive_flash(rig.dev);
    assert_int_equal(drive_rig_write(&rig, ZONE, 16, 0), 0);
    /* The read makes the die of lane 0 end later than that of lane 2. */
    struct blkdev_req read = {.op = BLKDEV_READ, .offset = MIB, .length = sizeof buf, .buf = buf};
    struct blkdev_req erase = {.op = BLKDEV_ERASE, .length = MIB};
    nand_fail_next(flash, nand_drive_block(rig.dev, 0, 2), NAND_ERASE);
    assert_int_equal(blkdev_submit(rig.dev, &read, no_callback), 0);
    assert_int_equal(blkdev_submit(rig.dev, &erase, no_callback), 0);
    nand_drive_advance(rig.dev, nand_time(flash) + rig.config.timing.erase_ns);
    nand_stats(flash, &stats);
    assert_int_equal(stats.erase_fails, 1);
    assert_int_equal(nand_drive_pending(rig.dev), 1);
    drive_rig_kill(&rig);
    assert_int_equal(health_of(&rig).retired_zones, 0);
    assert_int_equal(drive_rig_erase(&rig, 0), 0);
    assert_int_equal(drive_rig_write(&rig, 0, ZONE, 7), 0);
    assert_true(drive_rig_holds(&rig, 0, ZONE, 7, NULL));
    drive_rig_destroy(&rig);
}

static void sectors_beyond_correction_fail_the_read(void **state)
{
    (void)state;
    struct drive_rig rig;
    int status;
    drive_rig_create(&rig, 10 * MIB, NULL);
    struct nand *flash = nand_drive_flash(rig.dev);
    assert_int_equal(drive_rig_write(&rig, 0, ZONE, 0), 0);
    ((uint8_t *)nand_sector_bytes(flash, nand_drive_block(rig.dev, 0, 1), 2))[5] ^= 1; /* sector 6 */
    (void)drive_rig_holds(&rig, 0, ZONE, 0, &status);
    assert_int_equal(status, PS_EIO);
    assert_true(drive_rig_holds(&rig, 0, 6, 0, &status));
    assert_int_equal(status, 0);
    assert_true(drive_rig_holds(&rig, 7, 100, 7, &status));
    assert_true(health_of(&rig).warnings & NAND_WARN_RELIABLE);
    drive_rig_destroy(&rig);
}

/* ---- power cuts */

struct writer {
    struct blkdev_req req;
    bool done;
};

static void written(struct blkdev_req *req, int status)
{
    assert_int_equal(status, 0);
    container_of(req, struct writer, req)->done = true;
}

/* Writes of many sizes in flight in two zones, an erase in a third; then a cut. */
static void cut_once(uint64_t seed, uint64_t *torn)
{
    enum {
        WRITERS = 12
    };
    static struct writer writers[WRITERS];
    static uint8_t buf[WRITERS][64 * NAND_SECTOR_BYTES] __attribute__((aligned(BLKDEV_ALIGN)));
    struct drive_rig rig;
    struct prng prng;
    uint32_t at[2] = {0};
    prng_seed(&prng, seed);
    drive_rig_create(&rig, 10 * MIB, NULL);
    assert_int_equal(drive_rig_write(&rig, 2 * ZONE, ZONE, 7), 0);
    struct blkdev_req erase = {.op = BLKDEV_ERASE, .offset = 2 * MIB, .length = MIB};
    assert_int_equal(blkdev_submit(rig.dev, &erase, no_callback), 0);
    for (int i = 0; i < WRITERS; i++) {
        const uint32_t zone = (uint32_t)i % 2, n = 1 + (uint32_t)prng_below(&prng, 40);
        nand_rig_fill(buf[i], n, zone * 1000 + at[zone]);
        writers[i] = (struct writer){.req = {.op = BLKDEV_WRITE,
                                             .offset = ((uint64_t)zone * ZONE + at[zone]) * NAND_SECTOR_BYTES,
                                             .length = n * NAND_SECTOR_BYTES,
                                             .buf = buf[i]}};
        at[zone] += n;
        assert_int_equal(blkdev_submit(rig.dev, &writers[i].req, written), 0);
    }
    for (uint64_t steps = prng_below(&prng, 8); steps > 0; steps--)
        (void)nand_drive_step(rig.dev);
    nand_drive_power_cut(rig.dev, &prng);
    assert_int_equal(nand_drive_pending(rig.dev), 0);
    for (int again = 0; again < 2; again++) {
        for (int i = 0; i < WRITERS; i++) {
            const uint64_t first = writers[i].req.offset / NAND_SECTOR_BYTES, zone = first / ZONE;
            for (uint32_t s = 0; s < writers[i].req.length / NAND_SECTOR_BYTES; s++) {
                int status;
                const bool holds =
                    drive_rig_holds(&rig, first + s, 1, zone * 1000 + first % ZONE + s, &status);
                assert_int_equal(status, 0);
                assert_true(holds || (!writers[i].done && drive_rig_is_zero(&rig, first + s, 1)));
                *torn += !holds;
            }
        }
        drive_rig_reopen(&rig);
    }
    for (uint32_t zone = 0; zone < 3; zone++) {
        assert_int_equal(drive_rig_erase(&rig, zone), 0);
        assert_int_equal(drive_rig_write(&rig, zone * ZONE, ZONE, 9), 0);
        assert_true(drive_rig_holds(&rig, zone * ZONE, ZONE, 9, NULL));
    }
    drive_rig_destroy(&rig);
}

static void what_was_answered_survives_a_cut(void **state)
{
    (void)state;
    uint64_t torn = 0;
    for (uint64_t seed = 1; seed <= 40; seed++)
        cut_once(seed, &torn);
    assert_true(torn > 100);
}

static void one_seed_replays_the_same_drive(void **state)
{
    (void)state;
    struct drive_rig rigs[2];
    struct nand_config config;
    drive_rig_config(&config);
    config.endurance = 20;
    config.program_fail_ppb = 3000000;
    config.factory_bad_ppm = 30000;
    config.rates.wear = 1000;
    for (int i = 0; i < 2; i++) {
        struct prng prng;
        prng_seed(&prng, 3);
        drive_rig_create(&rigs[i], 8 * MIB, &config);
        for (int round = 0; round < 200; round++) {
            const uint32_t zone = (uint32_t)prng_below(&prng, 8);
            if (drive_rig_erase(&rigs[i], zone) == 0)
                (void)drive_rig_write(&rigs[i], zone * ZONE, 1 + (uint32_t)prng_below(&prng, ZONE), zone);
            if (prng_chance(&prng, 1, 20))
                nand_drive_power_cut(rigs[i].dev, &prng);
        }
        blkdev_destroy(rigs[i].dev);
    }
    assert_memory_equal(rigs[0].area, rigs[1].area, rigs[0].bytes);
    for (int i = 0; i < 2; i++)
        free(rigs[i].area);
}

static void an_impossible_drive_is_refused(void **state)
{
    (void)state;
    struct nand_config config, c;
    struct ps_error err;
    drive_rig_config(&config);
    c = config;
    assert_int_equal(nand_drive_plan(0, 5, &c, &err), PS_EINVAL);
    c = config;
    assert_int_equal(nand_drive_plan(MIB, 101, &c, &err), PS_EINVAL);
    c = config;
    c.partial_programs = 2;
    assert_int_equal(nand_drive_plan(MIB, 5, &c, &err), PS_EINVAL);
    assert_non_null(strstr(err.detail, "sector by sector"));
    c = config;
    c.factory_bad_ppm = 990000;
    assert_int_equal(nand_drive_plan(100 * MIB, 5, &c, &err), PS_EINVAL);
    c = config;
    assert_int_equal(nand_drive_plan(MIB + 1, 5, &c, &err), 0);
    assert_int_equal(c.geometry.blocks, 2 + c.spare_blocks);
}

static void flash_that_is_no_drive_is_refused(void **state)
{
    (void)state;
    struct drive_rig rig;
    struct nand *flash;
    struct blkdev *dev;
    struct ps_error err = {0};
    drive_rig_create(&rig, 10 * MIB, NULL);
    nand_set_tag(nand_drive_flash(rig.dev), 0, 4000);
    blkdev_destroy(rig.dev);
    assert_int_equal(nand_open(rig.area, rig.bytes, &flash, &err), 0);
    assert_int_equal(nand_drive_create(flash, "x", &dev, &err), PS_EDAMAGED);
    assert_non_null(strstr(err.detail, "not laid out"));
    nand_close(flash);
    free(rig.area);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zone_is_written_in_order_read_and_erased),
        cmocka_unit_test(a_request_may_reach_over_zones),
        cmocka_unit_test(a_flush_has_nothing_to_do_and_completes_later),
        cmocka_unit_test(everything_is_there_after_a_start_and_after_a_kill),
        cmocka_unit_test(a_stripe_uses_all_planes_and_channels),
        cmocka_unit_test(the_rules_of_zones_are_checked),
        cmocka_unit_test(a_failed_program_costs_a_spare_and_nothing_else),
        cmocka_unit_test(a_spare_that_fails_too_is_followed_by_the_next),
        cmocka_unit_test(without_a_spare_the_write_fails_and_what_was_there_stays),
        cmocka_unit_test(a_failed_erase_is_replaced_while_there_are_spares),
        cmocka_unit_test(factory_bad_blocks_are_nobodys),
        cmocka_unit_test(a_drive_wears_out_zone_by_zone_without_losing_anything),
        cmocka_unit_test(a_drive_without_a_zone_left_stays_one),
        cmocka_unit_test(a_drive_that_a_kill_left_half_made_is_made),
        cmocka_unit_test(a_kill_between_the_erases_of_a_zone_costs_no_zone),
        cmocka_unit_test(sectors_beyond_correction_fail_the_read),
        cmocka_unit_test(what_was_answered_survives_a_cut),
        cmocka_unit_test(one_seed_replays_the_same_drive),
        cmocka_unit_test(an_impossible_drive_is_refused),
        cmocka_unit_test(flash_that_is_no_drive_is_refused),
    };
    return cmocka_run_group_tests_name("nand_drive", tests, NULL, NULL);
}
