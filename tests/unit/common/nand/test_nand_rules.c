/* Each rule of the simulated flash, broken once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "tests/unit/common/nand/nand_rig.h"

static uint8_t buf[2][NAND_PAGE_SECTORS_MAX * NAND_SECTOR_BYTES];

static struct nand_op program_op(uint32_t block, uint32_t sector, uint32_t sectors)
{
    return (struct nand_op){
        .kind = NAND_PROGRAM, .block = block, .sector = sector, .sectors = sectors, .buf = buf[0]};
}

static struct nand_op read_op(uint32_t block, uint32_t sector, uint32_t sectors)
{
    return (struct nand_op){
        .kind = NAND_READ, .block = block, .sector = sector, .sectors = sectors, .buf = buf[1]};
}

static struct nand_op erase_op(uint32_t block)
{
    return (struct nand_op){.kind = NAND_ERASE, .block = block};
}

static void program_twice(struct nand_rig *rig)
{
    (void)nand_rig_program(rig, 3, 0, 4, 1);
    (void)nand_rig_program(rig, 3, 0, 4, 1);
}

static void program_a_full_block(struct nand_rig *rig)
{
    nand_rig_fill_block(rig, 3, 1);
    (void)nand_rig_program(rig, 3, RIG_SECTORS - 1, 1, 1);
}

static void a_block_is_erased_before_it_is_programmed_again(void **state)
{
    (void)state;
    nand_rig_expect_rule(program_twice, "a block is erased before it is programmed again");
    nand_rig_expect_rule(program_a_full_block, "a block is erased before it is programmed again");
}

static void skip_a_page(struct nand_rig *rig)
{
    (void)nand_rig_program(rig, 3, 0, 4, 1);
    (void)nand_rig_program(rig, 3, 8, 4, 1);
}

static void skip_a_sector(struct nand_rig *rig)
{
    (void)nand_rig_program(rig, 3, 1, 1, 1);
}

static void begin_past_what_is_queued(struct nand_rig *rig)
{
    struct nand_op a = program_op(3, 0, 4), b = program_op(3, 8, 4);
    nand_submit(rig->nand, &a);
    nand_submit(rig->nand, &b);
}

static void pages_are_programmed_in_order(void **state)
{
    (void)state;
    nand_rig_expect_rule(skip_a_page, "in order, without gaps");
    nand_rig_expect_rule(skip_a_sector, "in order, without gaps");
    nand_rig_expect_rule(begin_past_what_is_queued, "in order, without gaps");
}

static struct nand_rig with_two_programs(const struct nand_rig *like)
{
    struct nand_rig rig;
    struct nand_config config = like->config;
    config.partial_programs = 2;
    nand_rig_create(&rig, &config);
    return rig;
}

static void program_a_page_three_times(struct nand_rig *like)
{
    struct nand_rig rig = with_two_programs(like);
    for (uint32_t s = 0; s < 3; s++)
        (void)nand_rig_program(&rig, 0, s, 1, s);
}

static void program_it_again_after_a_start(struct nand_rig *like)
{
    struct nand_rig rig = with_two_programs(like);
    (void)nand_rig_program(&rig, 0, 0, 1, 1);
    (void)nand_rig_program(&rig, 0, 1, 1, 1);
    nand_rig_reopen(&rig);
    (void)nand_rig_program(&rig, 0, 2, 1, 1);
}

static void a_page_takes_few_programs(void **state)
{
    (void)state;
    nand_rig_expect_rule(program_a_page_three_times, "a page is programmed in few operations");
    nand_rig_expect_rule(program_it_again_after_a_start, "a page is programmed in few operations");
}

static void go_on_after_a_failure(struct nand_rig *rig)
{
    nand_fail_next(rig->nand, 3, NAND_PROGRAM);
    (void)nand_rig_program(rig, 3, 0, 4, 1);
    (void)nand_rig_program(rig, 3, 4, 4, 1);
}

static void cut(struct nand_rig *rig, struct nand_op *op)
{
    struct prng prng;
    prng_seed(&prng, 1);
    nand_submit(rig->nand, op);
    nand_power_cut(rig->nand, op->start_ns + 1, &prng);
}

static void go_on_after_a_cut(struct nand_rig *rig)
{
    struct nand_op op = program_op(3, 0, 4);
    cut(rig, &op);
    nand_rig_reopen(rig);
    struct nand_block_info info;
    nand_block_info(rig->nand, 3, &info);
    (void)nand_rig_program(rig, 3, info.sectors, 1, 1);
}

static void an_interrupted_block_is_erased_first(void **state)
{
    (void)state;
    nand_rig_expect_rule(go_on_after_a_failure, "an interrupted block is erased");
    nand_rig_expect_rule(go_on_after_a_cut, "an interrupted block is erased");
}

static void program_half_erased(struct nand_rig *rig)
{
    struct nand_op op = erase_op(3);
    cut(rig, &op);
    (void)nand_rig_program(rig, 3, 0, 4, 1);
}

static void a_half_erased_block_is_erased_first(void **state)
{
    (void)state;
    nand_rig_expect_rule(program_half_erased, "a half-erased block is erased");
}

static void read_bad(struct nand_rig *rig)
{
    nand_retire(rig->nand, 3);
    (void)nand_rig_read(rig, 3, 0, 1, NULL);
}

static void erase_bad(struct nand_rig *rig)
{
    nand_retire(rig->nand, 3);
    (void)nand_rig_erase(rig, 3);
}

static void program_factory_bad(struct nand_rig *like)
{
    struct nand_rig rig;
    struct nand_config config = like->config;
    config.factory_bad_ppm = 1000000;
    nand_rig_create(&rig, &config);
    (void)nand_rig_program(&rig, 0, 0, 1, 1);
}

static void a_bad_block_is_not_used(void **state)
{
    (void)state;
    nand_rig_expect_rule(read_bad, "a bad block is not used");
    nand_rig_expect_rule(erase_bad, "a bad block is not used");
    nand_rig_expect_rule(program_factory_bad, "a bad block is not used");
}

static void erase_under_a_program(struct nand_rig *rig)
{
    struct nand_op a = program_op(3, 0, 4), b = erase_op(3);
    nand_submit(rig->nand, &a);
    nand_submit(rig->nand, &b);
}

static void erase_under_a_read(struct nand_rig *rig)
{
    struct nand_op a = read_op(3, 0, 4), b = erase_op(3);
    nand_submit(rig->nand, &a);
    nand_submit(rig->nand, &b);
}

static void a_block_in_use_is_not_erased(void **state)
{
    (void)state;
    nand_rig_expect_rule(erase_under_a_program, "a block in use is not erased");
    nand_rig_expect_rule(erase_under_a_read, "a block in use is not erased");
}

static void program_under_an_erase(struct nand_rig *rig)
{
    struct nand_op a = erase_op(3), b = program_op(3, 0, 4);
    nand_submit(rig->nand, &a);
    nand_submit(rig->nand, &b);
}

static void read_under_an_erase(struct nand_rig *rig)
{
    struct nand_op a = erase_op(3), b = read_op(3, 0, 4);
    nand_submit(rig->nand, &a);
    nand_submit(rig->nand, &b);
}

static void nothing_is_done_with_a_block_that_is_being_erased(void **state)
{
    (void)state;
    nand_rig_expect_rule(program_under_an_erase, "a block that is being erased");
    nand_rig_expect_rule(read_under_an_erase, "a block that is being erased");
}

static void read_under_a_program(struct nand_rig *rig)
{
    (void)nand_rig_program(rig, 3, 0, 2, 1);
    struct nand_op a = program_op(3, 2, 2), b = read_op(3, 1, 2);
    nand_submit(rig->nand, &a);
    nand_submit(rig->nand, &b);
}

static void a_sector_is_not_read_while_it_is_programmed(void **state)
{
    (void)state;
    nand_rig_expect_rule(read_under_a_program, "not read while it is being programmed");
}

static void cross_a_page(struct nand_rig *rig)
{
    struct nand_op op = program_op(3, 0, 5);
    nand_submit(rig->nand, &op);
}

static void read_beyond_the_block(struct nand_rig *rig)
{
    struct nand_op op = read_op(3, RIG_SECTORS, 1);
    nand_submit(rig->nand, &op);
}

static void read_nothing(struct nand_rig *rig)
{
    struct nand_op op = read_op(3, 0, 0);
    nand_submit(rig->nand, &op);
}

static void an_operation_stays_inside_of_a_page(void **state)
{
    (void)state;
    nand_rig_expect_rule(cross_a_page, "inside of one page");
    nand_rig_expect_rule(read_beyond_the_block, "inside of one page");
    nand_rig_expect_rule(read_nothing, "inside of one page");
}

static void use_no_block(struct nand_rig *rig)
{
    struct nand_op op = read_op(nand_block_count(&rig->config.geometry), 0, 1);
    nand_submit(rig->nand, &op);
}

static void submit_twice(struct nand_rig *rig)
{
    struct nand_op op = read_op(3, 0, 1);
    nand_submit(rig->nand, &op);
    nand_submit(rig->nand, &op);
}

static void an_operation_names_a_block_and_is_submitted_once(void **state)
{
    (void)state;
    nand_rig_expect_rule(use_no_block, "there is such a block");
    nand_rig_expect_rule(submit_twice, "an operation is submitted once");
}

static void replace_by_a_used_block(struct nand_rig *rig)
{
    uint32_t lost;
    struct nand_op op = program_op(3, 0, 4);
    (void)nand_rig_program(rig, 4, 0, 1, 1);
    nand_fail_next(rig->nand, 3, NAND_PROGRAM);
    nand_submit(rig->nand, &op);
    (void)nand_complete(rig->nand, UINT64_MAX - 1);
    (void)nand_replace(rig->nand, &op, 4, &lost);
}

static void a_replacement_is_erased(void **state)
{
    (void)state;
    nand_rig_expect_rule(replace_by_a_used_block, "the replacement is erased");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_erased_before_it_is_programmed_again),
        cmocka_unit_test(pages_are_programmed_in_order),
        cmocka_unit_test(a_page_takes_few_programs),
        cmocka_unit_test(an_interrupted_block_is_erased_first),
        cmocka_unit_test(a_half_erased_block_is_erased_first),
        cmocka_unit_test(a_bad_block_is_not_used),
        cmocka_unit_test(a_block_in_use_is_not_erased),
        cmocka_unit_test(nothing_is_done_with_a_block_that_is_being_erased),
        cmocka_unit_test(a_sector_is_not_read_while_it_is_programmed),
        cmocka_unit_test(an_operation_stays_inside_of_a_page),
        cmocka_unit_test(an_operation_names_a_block_and_is_submitted_once),
        cmocka_unit_test(a_replacement_is_erased),
    };
    return cmocka_run_group_tests_name("nand_rules", tests, NULL, NULL);
}
