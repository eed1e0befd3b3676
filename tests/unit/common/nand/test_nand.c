#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/nand/nand_area.h"
#include "common/nand/nand_errors.h"
#include "tests/unit/common/nand/nand_rig.h"

#define DAY (86400ull * 1000000000)

static struct nand_block_info info_of(struct nand_rig *rig, uint32_t block)
{
    struct nand_block_info info;
    nand_block_info(rig->nand, block, &info);
    return info;
}

static struct nand_stats stats_of(struct nand_rig *rig)
{
    struct nand_stats stats;
    nand_stats(rig->nand, &stats);
    return stats;
}

static void what_was_programmed_is_read_and_what_was_not_is_told_apart(void **state)
{
    (void)state;
    struct nand_rig rig;
    nand_rig_create(&rig, NULL);
    assert_true(nand_rig_program(&rig, 5, 0, 3, 100));
    for (uint32_t s = 0; s < 3; s++)
        assert_int_equal(nand_rig_read(&rig, 5, s, 100 + s, NULL), NAND_GOOD);
    assert_int_equal(nand_rig_read(&rig, 5, 3, 0, NULL), NAND_ERASED);
    assert_int_equal(nand_rig_read(&rig, 6, 0, 0, NULL), NAND_ERASED);
    assert_true(nand_rig_program(&rig, 5, 3, 1, 103));
    assert_true(nand_rig_program(&rig, 5, 4, 4, 104));
    assert_int_equal(info_of(&rig, 5).sectors, 8);
    assert_true(nand_rig_erase(&rig, 5));
    assert_int_equal(nand_rig_read(&rig, 5, 0, 100, NULL), NAND_ERASED);
    assert_int_equal(info_of(&rig, 5).sectors, 0);
    assert_int_equal(info_of(&rig, 5).pe_cycles, 1);
    assert_true(nand_rig_program(&rig, 5, 0, 4, 200));
    assert_int_equal(nand_rig_read(&rig, 5, 0, 200, NULL), NAND_GOOD);
    nand_rig_destroy(&rig);
}

static void everything_outlives_a_close(void **state)
{
    (void)state;
    struct nand_rig rig;
    nand_rig_create(&rig, NULL);
    nand_rig_fill_block(&rig, 2, 50);
    assert_true(nand_rig_program(&rig, 9, 0, 2, 300));
    assert_true(nand_rig_erase(&rig, 11));
    nand_retire(rig.nand, 12);
    nand_set_tag(rig.nand, 4, 44);
    (void)nand_rig_read(&rig, 2, 0, 50, NULL);
    const struct nand_stats before = stats_of(&rig);
    const uint64_t time = nand_time(rig.nand);
    nand_rig_reopen(&rig);
    for (uint32_t s = 0; s < RIG_SECTORS; s++)
        assert_int_equal(nand_rig_read(&rig, 2, s, 50 + s, NULL), NAND_GOOD);
    assert_int_equal(info_of(&rig, 2).sectors, RIG_SECTORS);
    assert_int_equal(info_of(&rig, 2).reads, 1 + RIG_SECTORS);
    assert_int_equal(info_of(&rig, 11).pe_cycles, 1);
    assert_true(info_of(&rig, 12).grown_bad);
    assert_int_equal(nand_tag(rig.nand, 4), 44);
    assert_int_equal(stats_of(&rig).programs, before.programs);
    assert_int_equal(stats_of(&rig).power_cycles, before.power_cycles + 1);
    assert_int_equal(stats_of(&rig).unsafe_shutdowns, 0);
    assert_true(nand_time(rig.nand) >= time);
    assert_true(nand_rig_program(&rig, 9, 2, 2, 302));
    assert_int_equal(nand_rig_read(&rig, 9, 1, 301, NULL), NAND_GOOD);
    nand_rig_destroy(&rig);
}

static void a_process_that_ends_without_a_close_loses_nothing(void **state)
{
    (void)state;
    struct nand_rig rig;
    struct ps_error err;
    nand_rig_create(&rig, NULL);
    assert_true(nand_rig_program(&rig, 9, 0, 2, 300));
    nand_abandon(rig.nand);
    assert_int_equal(nand_open(rig.area, rig.bytes, &rig.nand, &err), 0);
    assert_int_equal(nand_rig_read(&rig, 9, 1, 301, NULL), NAND_GOOD);
    assert_int_equal(stats_of(&rig).unsafe_shutdowns, 1);
    nand_rig_destroy(&rig);
}

static void a_record_half_written_leaves_the_one_before(void **state)
{
    (void)state;
    uint8_t pair[2 * NAND_BLOCK_BYTES] = {0};
    struct nand_block_record r = {.pe_cycles = 1, .tag = 10}, back;
    nand_block_save(pair, &r);
    r.pe_cycles = 2;
    uint8_t before[sizeof pair];
    memcpy(before, pair, sizeof pair);
    nand_block_save(pair, &r);
    for (size_t written = 0; written < NAND_BLOCK_BYTES; written++) {
        uint8_t cut[sizeof pair];
        const size_t at = r.number % 2 * NAND_BLOCK_BYTES;
        memcpy(cut, before, sizeof cut);
        memcpy(cut + at, pair + at, written);
        assert_int_equal(nand_block_load(cut, &back), 0);
        assert_int_equal(back.pe_cycles, 1);
    }
    assert_int_equal(nand_block_load(pair, &back), 0);
    assert_int_equal(back.pe_cycles, 2);
    assert_int_equal(back.tag, 10);
    memset(pair, 0, sizeof pair);
    assert_int_equal(nand_block_load(pair, &back), PS_EDAMAGED);
}

static void an_area_that_is_none_is_refused_with_its_reason(void **state)
{
    (void)state;
    struct nand_rig rig;
    struct nand *other;
    struct ps_error err = {0};
    nand_rig_create(&rig, NULL);
    nand_close(rig.nand);
    uint8_t *header = malloc(NAND_HEADER_BYTES);
    memcpy(header, rig.area, NAND_HEADER_BYTES);
    memset(rig.area, 0, NAND_HEADER_BYTES);
    assert_int_equal(nand_open(rig.area, rig.bytes, &other, &err), PS_ENOTFOUND);
    for (size_t at = 0; at < NAND_HEADER_BYTES; at += 7) {
        memcpy(rig.area, header, NAND_HEADER_BYTES);
        rig.area[at] ^= 1;
        assert_int_equal(nand_open(rig.area, rig.bytes, &other, &err), at < 8 ? PS_ENOTFOUND : PS_EDAMAGED);
    }
    memcpy(rig.area, header, NAND_HEADER_BYTES);
    assert_int_equal(nand_open(rig.area, rig.bytes - 1, &other, &err), PS_EDAMAGED);
    assert_non_null(strstr(err.detail, "cut short"));
    memset(rig.area + NAND_HEADER_BYTES, 0x55, NAND_CONTROL_BYTES);
    assert_int_equal(nand_open(rig.area, rig.bytes, &other, &err), PS_EDAMAGED);
    assert_non_null(strstr(err.detail, "control"));
    free(header);
    free(rig.area);
}

static void the_format_keeps_its_bytes(void **state)
{
    (void)state;
    struct nand_config config;
    uint8_t header[NAND_HEADER_BYTES], pair[2 * NAND_BLOCK_BYTES] = {0},
                                                sector[8] __attribute__((aligned(8)));
    nand_rig_config(&config);
    nand_header_encode(&config, header);
    static const uint8_t magic[] = {'P', 'S', 'N', 'A', 'N', 'D', '1', '\n', 1, 0,
                                    0,   0,   0,   0,   0,   0,   2,   0,    0, 0};
    assert_memory_equal(header, magic, sizeof magic);
    struct nand_block_record r = {
        .number = 1, .pe_cycles = 3, .flags = 2, .tag = 5, .erases = 4, .tagged = 6};
    nand_block_save(pair, &r);
    static const uint8_t block[] = {2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0,
                                    5, 0, 0, 0, 4, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0};
    assert_memory_equal(pair, block, sizeof block);
    nand_sector_save(sector,
                     &(struct nand_sector_record){.checksum = 0x04030201, .erase = 0x1000007, .state = 9});
    static const uint8_t packed[] = {1, 2, 3, 4, 7, 0, 0, 9};
    assert_memory_equal(sector, packed, sizeof packed);
}

static void a_byte_that_rots_in_the_area_is_noticed(void **state)
{
    (void)state;
    struct nand_rig rig;
    nand_rig_create(&rig, NULL);
    assert_true(nand_rig_program(&rig, 1, 0, 2, 9));
    uint8_t *bytes = nand_sector_bytes(rig.nand, 1, 1);
    assert_null(nand_sector_bytes(rig.nand, 1, 2));
    bytes[17] ^= 4;
    assert_int_equal(nand_rig_read(&rig, 1, 0, 9, NULL), NAND_GOOD);
    assert_int_equal(nand_rig_read(&rig, 1, 1, 10, NULL), NAND_FAILED);
    assert_int_equal(stats_of(&rig).uncorrectable, 1);
    nand_rig_destroy(&rig);
}

static void an_impossible_flash_is_refused(void **state)
{
    (void)state;
    struct nand_config good, c;
    struct ps_error err = {0};
    nand_rig_config(&good);
    assert_int_equal(nand_config_check(&good, &err), 0);
    uint32_t *const fields[] = {&c.geometry.channels, &c.geometry.dies,  &c.geometry.planes,
                                &c.geometry.blocks,   &c.geometry.pages, &c.geometry.page_bytes,
                                &c.partial_programs,  &c.endurance};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        for (int high = 0; high < 2; high++) {
            c = good;
            *fields[i] = high ? 1u << 31 : 0;
            assert_int_equal(nand_config_check(&c, &err), PS_EINVAL);
            assert_non_null(strstr(err.detail, "impossible"));
        }
}

/* ---- wear and errors */

static uint32_t worst_correction(struct nand_rig *rig, uint32_t block, uint64_t number, uint32_t *failed)
{
    uint32_t worst = 0;
    *failed = 0;
    for (uint32_t s = 0; s < RIG_SECTORS; s++) {
        uint32_t corrected;
        if (nand_rig_read(rig, block, s, number + s, &corrected) == NAND_FAILED)
            (*failed)++;
        else if (worst < corrected)
            worst = corrected;
    }
    return worst;
}

static void errors_grow_with_wear_until_they_cannot_be_corrected(void **state)
{
    (void)state;
    struct nand_rig rig;
    uint32_t failed, last = 0;
    nand_rig_create(&rig, NULL);
    for (uint32_t block = 0; block < 4; block++) { /* 0, 1.5, 3, 4.5 times the rated endurance */
        nand_wear(rig.nand, block, block * 4500);
        nand_rig_fill_block(&rig, block, 1000);
        const uint32_t worst = worst_correction(&rig, block, 1000, &failed);
        assert_int_equal(failed > 0, block >= 2);
        assert_true(block >= 2 || worst > last || block == 0);
        last = worst;
    }
    assert_int_equal(failed, RIG_SECTORS);
    assert_true(stats_of(&rig).uncorrectable > 0 && stats_of(&rig).corrected_bits > 0);
    nand_rig_destroy(&rig);
}

static void errors_grow_with_retention_and_faster_on_worn_blocks(void **state)
{
    (void)state;
    struct nand_rig rig;
    uint32_t failed;
    nand_rig_create(&rig, NULL);
    nand_wear(rig.nand, 1, 3000);
    nand_rig_fill_block(&rig, 0, 1000);
    nand_rig_fill_block(&rig, 1, 2000);
    const uint32_t fresh = worst_correction(&rig, 1, 2000, &failed);
    assert_int_equal(failed, 0);
    nand_age(rig.nand, 365 * DAY);
    assert_true(worst_correction(&rig, 1, 2000, &failed) > fresh);
    assert_int_equal(failed, 0);
    nand_age(rig.nand, 5 * 365 * DAY);
    (void)worst_correction(&rig, 1, 2000, &failed);
    assert_int_equal(failed, RIG_SECTORS);
    (void)worst_correction(&rig, 0, 1000, &failed);
    assert_int_equal(failed, 0);
    /* Written anew it is as good as its wear allows. */
    assert_true(nand_rig_erase(&rig, 1));
    nand_rig_fill_block(&rig, 1, 3000);
    (void)worst_correction(&rig, 1, 3000, &failed);
    assert_int_equal(failed, 0);
    nand_rig_destroy(&rig);
}

static void errors_grow_with_reads_of_the_block_until_it_is_erased(void **state)
{
    (void)state;
    struct nand_rig rig;
    struct nand_config config;
    uint32_t failed;
    nand_rig_config(&config);
    config.rates.disturb = 2000000; /* a thousand times the usual */
    nand_rig_create(&rig, &config);
    nand_rig_fill_block(&rig, 0, 1000);
    nand_rig_fill_block(&rig, 1, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(nand_rig_read(&rig, 0, 5, 1005, NULL), NAND_GOOD);
    /* Its neighbours suffer, the next block does not. */
    assert_true(worst_correction(&rig, 0, 1000, &failed) > 30);
    assert_true(worst_correction(&rig, 1, 1000, &failed) < 20);
    for (int i = 0; i < 3000; i++)
        (void)nand_rig_read(&rig, 0, 5, 1005, NULL);
    (void)worst_correction(&rig, 0, 1000, &failed);
    assert_int_equal(failed, RIG_SECTORS);
    assert_true(nand_rig_erase(&rig, 0));
    nand_rig_fill_block(&rig, 0, 2000);
    (void)worst_correction(&rig, 0, 2000, &failed);
    assert_int_equal(failed, 0);
    nand_rig_destroy(&rig);
}

static void drawn_errors_have_the_mean_and_never_fall(void **state)
{
    (void)state;
    static const double means[] = {0, 0.05, 1, 16, 120, 590, 700};
    for (size_t m = 0; m < sizeof means / sizeof means[0]; m++) {
        double sum = 0;
        for (uint64_t i = 0; i < 20000; i++)
            sum += nand_errors_drawn(means[m], prng_mix(i));
        const double off = sum / 20000 - means[m];
        assert_true(off < 0.05 * means[m] + 0.01 && off > -0.05 * means[m] - 0.01);
    }
    for (uint64_t i = 0; i < 200; i++) {
        uint32_t last = 0;
        for (double mean = 0; mean < 300; mean += 0.7) {
            const uint32_t n = nand_errors_drawn(mean, prng_mix(i));
            assert_true(n >= last);
            last = n;
        }
    }
}

static void a_block_dies_of_its_erases_near_its_endurance(void **state)
{
    (void)state;
    struct nand_rig rig;
    struct nand_config config;
    nand_rig_config(&config);
    config.endurance = 50;
    nand_rig_create(&rig, &config);
    uint32_t shortest = UINT32_MAX, longest = 0;
    for (uint32_t block = 0; block < nand_block_count(&config.geometry); block++) {
        uint32_t cycles = 0;
        while (nand_rig_erase(&rig, block))
            cycles++;
        shortest = cycles < shortest ? cycles : shortest;
        longest = cycles > longest ? cycles : longest;
        assert_true(info_of(&rig, block).half_erased);
    }
    assert_true(shortest >= 45 && longest <= 65 && shortest < longest);
    nand_rig_destroy(&rig);
}

static void programs_fail_more_often_on_worn_blocks(void **state)
{
    (void)state;
    struct nand_config config;
    nand_rig_config(&config);
    config.program_fail_ppb = 10000000;
    unsigned fresh = 0, rated = 0, worn = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        fresh += nand_errors_program_fails(&config, 0, prng_mix(i));
        rated += nand_errors_program_fails(&config, 3000, prng_mix(i));
        worn += nand_errors_program_fails(&config, 9000, prng_mix(i));
    }
    assert_int_equal(fresh, 0);
    assert_true(rated > 150 && rated < 250);
    assert_true(worn > 1600 && worn < 2000);
}

static void factory_bad_blocks_are_as_many_as_asked_for(void **state)
{
    (void)state;
    struct nand_rig rig;
    struct nand_config config;
    nand_rig_config(&config);
    config.geometry.blocks = 2000;
    config.factory_bad_ppm = 10000;
    nand_rig_create(&rig, &config);
    uint32_t bad = 0;
    for (uint32_t block = 0; block < nand_block_count(&config.geometry); block++)
        bad += info_of(&rig, block).factory_bad;
    assert_true(bad > 120 && bad < 200);
    nand_rig_destroy(&rig);
}

/* ---- failures and replacement */

static void a_failed_program_is_replaced_with_what_was_before_and_what_waits(void **state)
{
    (void)state;
    static uint8_t buf[3][4 * NAND_SECTOR_BYTES];
    struct nand_rig rig;
    struct nand_op ops[3];
    uint32_t lost = 9;
    nand_rig_create(&rig, NULL);
    assert_true(nand_rig_program(&rig, 0, 0, 4, 1000));
    assert_true(nand_rig_program(&rig, 0, 4, 2, 1004));
    nand_fail_next(rig.nand, 0, NAND_PROGRAM);
    static const uint32_t at[] = {6, 8, 12}, sectors[] = {2, 4, 4};
    for (int i = 0; i < 3; i++) {
        nand_rig_fill(buf[i], sectors[i], 1000 + at[i]);
        ops[i] = (struct nand_op){
            .kind = NAND_PROGRAM, .block = 0, .sector = at[i], .sectors = sectors[i], .buf = buf[i]};
        nand_submit(rig.nand, &ops[i]);
    }
    assert_ptr_equal(nand_complete(rig.nand, UINT64_MAX - 1), &ops[0]);
    assert_true(ops[0].failed);
    assert_true(nand_replace(rig.nand, &ops[0], 1, &lost));
    nand_retire(rig.nand, 0);
    assert_int_equal(lost, 0);
    assert_int_equal(ops[0].block, 1);
    for (int i = 1; i < 3; i++) {
        assert_ptr_equal(nand_complete(rig.nand, UINT64_MAX - 1), &ops[i]);
        assert_false(ops[i].failed);
        assert_int_equal(ops[i].block, 1);
    }
    for (int again = 0; again < 2; again++) {
        for (uint32_t s = 0; s < 16; s++)
            assert_int_equal(nand_rig_read(&rig, 1, s, 1000 + s, NULL), NAND_GOOD);
        assert_int_equal(nand_rig_read(&rig, 1, 16, 0, NULL), NAND_ERASED);
        nand_rig_reopen(&rig);
    }
    assert_true(nand_rig_program(&rig, 1, 16, 4, 1016));
    nand_rig_destroy(&rig);
}

static void a_replacement_may_fail_like_any_block_and_the_next_one_does(void **state)
{
    (void)state;
    static uint8_t buf[NAND_SECTOR_BYTES];
    struct nand_rig rig;
    struct nand_op op = {.kind = NAND_PROGRAM, .block = 0, .sector = 1, .sectors = 1, .buf = buf};
    uint32_t lost;
    nand_rig_create(&rig, NULL);
    nand_rig_fill(buf, 1, 1001);
    assert_true(nand_rig_program(&rig, 0, 0, 1, 1000));
    nand_fail_next(rig.nand, 0, NAND_PROGRAM);
    nand_fail_next(rig.nand, 1, NAND_PROGRAM);
    nand_submit(rig.nand, &op);
    (void)nand_complete(rig.nand, UINT64_MAX - 1);
    assert_false(nand_replace(rig.nand, &op, 1, &lost));
    assert_true(nand_replace(rig.nand, &op, 2, &lost));
    for (uint32_t s = 0; s < 2; s++)
        assert_int_equal(nand_rig_read(&rig, 2, s, 1000 + s, NULL), NAND_GOOD);
    nand_rig_destroy(&rig);
}

static void what_cannot_be_read_any_more_cannot_be_read_in_the_copy(void **state)
{
    (void)state;
    static uint8_t buf[NAND_SECTOR_BYTES];
    struct nand_rig rig;
    struct nand_op op = {.kind = NAND_PROGRAM, .block = 0, .sector = 4, .sectors = 1, .buf = buf};
    uint32_t lost;
    nand_rig_create(&rig, NULL);
    assert_true(nand_rig_program(&rig, 0, 0, 4, 1000));
    ((uint8_t *)nand_sector_bytes(rig.nand, 0, 2))[0] ^= 1;
    nand_fail_next(rig.nand, 0, NAND_PROGRAM);
    nand_submit(rig.nand, &op);
    (void)nand_complete(rig.nand, UINT64_MAX - 1);
    assert_true(nand_replace(rig.nand, &op, 1, &lost));
    assert_int_equal(lost, 1);
    assert_int_equal(nand_rig_read(&rig, 1, 1, 1001, NULL), NAND_GOOD);
    assert_int_equal(nand_rig_read(&rig, 1, 2, 1002, NULL), NAND_FAILED);
    nand_rig_destroy(&rig);
}

/* ---- time */

static uint64_t end_of(struct nand_rig *rig, struct nand_op *ops, unsigned n)
{
    const uint64_t from = nand_time(rig->nand);
    for (unsigned i = 0; i < n; i++)
        nand_submit(rig->nand, &ops[i]);
    for (unsigned i = 0; i < n; i++)
        assert_non_null(nand_complete(rig->nand, UINT64_MAX - 1));
    assert_null(nand_complete(rig->nand, UINT64_MAX - 1));
    return nand_time(rig->nand) - from;
}

static void channels_and_dies_take_their_time(void **state)
{
    (void)state;
    static uint8_t buf[4 * NAND_SECTOR_BYTES];
    struct nand_rig rig;
    nand_rig_create(&rig, NULL);
    const struct nand_geometry *g = &rig.config.geometry;
    const uint64_t tx = sizeof buf * 1000 / 800, prog = 600000, read = 60000, erase = 3000000;
#define PROGRAM(die, plane, at)                                                                              \
    {                                                                                                        \
        .kind = NAND_PROGRAM, .block = nand_block(g, die, plane, 0), .sector = at, .sectors = 4, .buf = buf  \
    }
#define READ(die, plane, at)                                                                                 \
    {                                                                                                        \
        .kind = NAND_READ, .block = nand_block(g, die, plane, 0), .sector = at, .sectors = 4, .buf = buf     \
    }
    struct nand_op one[] = {PROGRAM(0, 0, 0)};
    assert_int_equal(end_of(&rig, one, 1), tx + prog);
    /* Two planes of a die at once; the second transfer is waited for. */
    struct nand_op planes[] = {PROGRAM(0, 0, 4), PROGRAM(0, 1, 0)};
    planes[1].sector = 0; /* another page: no multi-plane command */
    assert_int_equal(end_of(&rig, planes, 2), tx + 2 * prog);
    struct nand_op together[] = {PROGRAM(0, 0, 8), PROGRAM(0, 1, 4)};
    assert_int_equal(end_of(&rig, together, 2), tx + 2 * prog);
    struct nand_op level[] = {PROGRAM(0, 1, 8)};
    (void)end_of(&rig, level, 1);
    struct nand_op joined[] = {PROGRAM(0, 0, 12), PROGRAM(0, 1, 12)};
    assert_int_equal(end_of(&rig, joined, 2), 2 * tx + prog);
    /* Two dies of a channel share its transfers, two channels share nothing. */
    struct nand_op dies[] = {PROGRAM(1, 0, 0), PROGRAM(0, 0, 16)};
    assert_int_equal(end_of(&rig, dies, 2), 2 * tx + prog);
    struct nand_op channels[] = {PROGRAM(2, 0, 0), PROGRAM(0, 0, 20)};
    assert_int_equal(end_of(&rig, channels, 2), tx + prog);
    struct nand_op reads[] = {READ(0, 0, 0), READ(0, 0, 4)};
    assert_int_equal(end_of(&rig, reads, 2), 2 * (read + tx));
    struct nand_op plane_reads[] = {READ(0, 0, 0), READ(0, 1, 0)};
    assert_int_equal(end_of(&rig, plane_reads, 2), read + 2 * tx);
    /* A read behind an erase waits for it. */
    struct nand_op behind[] = {{.kind = NAND_ERASE, .block = nand_block(g, 0, 0, 1)}, READ(0, 0, 0)};
    assert_int_equal(end_of(&rig, behind, 2), erase + read + tx);
    struct nand_op erases[] = {{.kind = NAND_ERASE, .block = nand_block(g, 0, 0, 1)},
                               {.kind = NAND_ERASE, .block = nand_block(g, 0, 1, 2)}};
    assert_int_equal(end_of(&rig, erases, 2), erase);
    nand_rig_destroy(&rig);
}

static void without_timing_everything_ends_at_once(void **state)
{
    (void)state;
    struct nand_rig rig;
    struct nand_config config;
    nand_rig_config(&config);
    config.timing = (struct nand_timing){0};
    nand_rig_create(&rig, &config);
    for (uint32_t block = 0; block < 4; block++)
        nand_rig_fill_block(&rig, block, 1);
    assert_true(nand_rig_erase(&rig, 0));
    assert_int_equal(nand_time(rig.nand), 0);
    nand_rig_destroy(&rig);
}

/* ---- power cuts */

static void a_cut_tears_what_is_under_way_and_nothing_else(void **state)
{
    (void)state;
    static uint8_t buf[4 * NAND_SECTOR_BYTES];
    int seen[4] = {0};
    nand_rig_fill(buf, 4, 1000);
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct nand_rig rig;
        struct prng prng;
        nand_rig_create(&rig, NULL);
        prng_seed(&prng, seed);
        struct nand_op ops[3];
        for (uint32_t i = 0; i < 3; i++) {
            ops[i] =
                (struct nand_op){.kind = NAND_PROGRAM, .block = 0, .sector = 4 * i, .sectors = 4, .buf = buf};
            nand_submit(rig.nand, &ops[i]);
        }
        nand_power_cut(rig.nand, ops[1].start_ns + 1, &prng);
        if (seed % 2)
            nand_rig_reopen(&rig);
        for (uint32_t s = 0; s < 4; s++) {
            assert_int_equal(nand_rig_read(&rig, 0, s, 1000 + s, NULL), NAND_GOOD);
            seen[nand_rig_read(&rig, 0, 4 + s, 1000 + s, NULL)]++;
            assert_int_equal(nand_rig_read(&rig, 0, 8 + s, 1000 + s, NULL), NAND_ERASED);
        }
        assert_true(info_of(&rig, 0).interrupted);
        assert_int_equal(stats_of(&rig).torn_programs, 1);
        assert_true(nand_rig_erase(&rig, 0));
        nand_rig_fill_block(&rig, 0, 5000);
        nand_rig_destroy(&rig);
    }
    assert_true(seen[NAND_GOOD] > 0 && seen[NAND_ERASED] > 0 && seen[NAND_TORN] > 0 &&
                seen[NAND_FAILED] == 0);
}

static void a_cut_half_erases_a_block(void **state)
{
    (void)state;
    struct nand_rig rig;
    struct prng prng;
    nand_rig_create(&rig, NULL);
    prng_seed(&prng, 1);
    nand_rig_fill_block(&rig, 0, 1000);
    nand_rig_fill_block(&rig, 1, 2000);
    struct nand_op under_way = {.kind = NAND_ERASE, .block = 0}, queued = {.kind = NAND_ERASE, .block = 1};
    nand_submit(rig.nand, &under_way);
    nand_submit(rig.nand, &queued);
    nand_power_cut(rig.nand, under_way.start_ns + 1, &prng);
    nand_rig_reopen(&rig);
    for (uint32_t s = 0; s < RIG_SECTORS; s++) {
        assert_int_equal(nand_rig_read(&rig, 0, s, 1000 + s, NULL), NAND_TORN);
        assert_int_equal(nand_rig_read(&rig, 1, s, 2000 + s, NULL), NAND_GOOD);
    }
    assert_int_equal(info_of(&rig, 0).pe_cycles, 1);
    assert_int_equal(info_of(&rig, 1).pe_cycles, 0);
    assert_true(nand_rig_erase(&rig, 0));
    assert_int_equal(nand_rig_read(&rig, 0, 0, 0, NULL), NAND_ERASED);
    nand_rig_destroy(&rig);
}

static void work(struct nand_rig *rig, uint64_t seed)
{
    static uint8_t buf[RIG_BLOCKS * 8][4 * NAND_SECTOR_BYTES];
    static struct nand_op ops[RIG_BLOCKS * 8];
    const uint32_t blocks = nand_block_count(&rig->config.geometry);
    uint32_t next[RIG_BLOCKS * 8] = {0};
    struct prng prng;
    prng_seed(&prng, seed);
    memset(ops, 0, sizeof ops);
    for (int round = 0; round < 400; round++) {
        const uint32_t block = (uint32_t)prng_below(&prng, blocks);
        struct nand_op *op = &ops[block];
        if (!op->queued && next[block] < RIG_SECTORS) {
            nand_rig_fill(buf[block], 4, next[block]);
            *op = (struct nand_op){
                .kind = NAND_PROGRAM, .block = block, .sector = next[block], .sectors = 4, .buf = buf[block]};
            next[block] += 4;
            nand_submit(rig->nand, op);
        } else if (!op->queued) {
            *op = (struct nand_op){.kind = NAND_ERASE, .block = block};
            next[block] = 0;
            nand_submit(rig->nand, op);
        }
        if (prng_chance(&prng, 1, 2))
            (void)nand_complete(rig->nand, nand_next(rig->nand));
    }
    nand_power_cut(rig->nand, nand_time(rig->nand) + prng_below(&prng, 2000000), &prng);
}

static void one_seed_replays_the_same_life(void **state)
{
    (void)state;
    struct nand_rig rigs[2];
    struct nand_config config;
    nand_rig_config(&config);
    config.endurance = 10;
    config.program_fail_ppb = 50000000;
    for (int i = 0; i < 2; i++) {
        nand_rig_create(&rigs[i], &config);
        config.geometry.blocks = rigs[0].config.geometry.blocks;
        work(&rigs[i], 77);
        nand_close(rigs[i].nand);
    }
    assert_memory_equal(rigs[0].area, rigs[1].area, rigs[0].bytes);
    for (int i = 0; i < 2; i++)
        free(rigs[i].area);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_programmed_is_read_and_what_was_not_is_told_apart),
        cmocka_unit_test(everything_outlives_a_close),
        cmocka_unit_test(a_process_that_ends_without_a_close_loses_nothing),
        cmocka_unit_test(a_record_half_written_leaves_the_one_before),
        cmocka_unit_test(an_area_that_is_none_is_refused_with_its_reason),
        cmocka_unit_test(the_format_keeps_its_bytes),
        cmocka_unit_test(a_byte_that_rots_in_the_area_is_noticed),
        cmocka_unit_test(an_impossible_flash_is_refused),
        cmocka_unit_test(errors_grow_with_wear_until_they_cannot_be_corrected),
        cmocka_unit_test(errors_grow_with_retention_and_faster_on_worn_blocks),
        cmocka_unit_test(errors_grow_with_reads_of_the_block_until_it_is_erased),
        cmocka_unit_test(drawn_errors_have_the_mean_and_never_fall),
        cmocka_unit_test(a_block_dies_of_its_erases_near_its_endurance),
        cmocka_unit_test(programs_fail_more_often_on_worn_blocks),
        cmocka_unit_test(factory_bad_blocks_are_as_many_as_asked_for),
        cmocka_unit_test(a_failed_program_is_replaced_with_what_was_before_and_what_waits),
        cmocka_unit_test(a_replacement_may_fail_like_any_block_and_the_next_one_does),
        cmocka_unit_test(what_cannot_be_read_any_more_cannot_be_read_in_the_copy),
        cmocka_unit_test(channels_and_dies_take_their_time),
        cmocka_unit_test(without_timing_everything_ends_at_once),
        cmocka_unit_test(a_cut_tears_what_is_under_way_and_nothing_else),
        cmocka_unit_test(a_cut_half_erases_a_block),
        cmocka_unit_test(one_seed_replays_the_same_life),
    };
    return cmocka_run_group_tests_name("nand", tests, NULL, NULL);
}
