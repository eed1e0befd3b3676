#include "tests/unit/common/nand/nand_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first */
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void nand_rig_config(struct nand_config *out)
{
    nand_config_default(out);
    out->geometry = (struct nand_geometry){.channels = 2,
                                           .dies = 2,
                                           .planes = 2,
                                           .blocks = RIG_BLOCKS,
                                           .pages = RIG_PAGES,
                                           .page_bytes = RIG_PAGE_SECTORS * NAND_SECTOR_BYTES};
    out->factory_bad_ppm = 0;
    out->program_fail_ppb = 0;
    out->seed = 7;
}

static void open_area(struct nand_rig *rig)
{
    struct ps_error err = {0};
    if (nand_open(rig->area, rig->bytes, &rig->nand, &err))
        fail_msg("the flash does not open: %s", err.detail);
}

void nand_rig_create(struct nand_rig *rig, const struct nand_config *config)
{
    if (config)
        rig->config = *config;
    else
        nand_rig_config(&rig->config);
    rig->bytes = nand_area_bytes(&rig->config);
    rig->area = calloc(1, rig->bytes);
    assert_non_null(rig->area);
    nand_format(&rig->config, rig->area);
    open_area(rig);
}

void nand_rig_destroy(struct nand_rig *rig)
{
    nand_close(rig->nand);
    free(rig->area);
}

void nand_rig_reopen(struct nand_rig *rig)
{
    nand_close(rig->nand);
    open_area(rig);
}

void nand_rig_fill(void *out, uint32_t sectors, uint64_t number)
{
    for (uint32_t i = 0; i < sectors; i++) {
        struct prng p;
        prng_seed(&p, number + i);
        prng_fill(&p, (uint8_t *)out + (size_t)i * NAND_SECTOR_BYTES, NAND_SECTOR_BYTES);
    }
}

static bool run(struct nand_rig *rig, struct nand_op *op)
{
    nand_submit(rig->nand, op);
    assert_ptr_equal(nand_complete(rig->nand, nand_next(rig->nand)), op);
    return !op->failed;
}

bool nand_rig_program(struct nand_rig *rig, uint32_t block, uint32_t sector, uint32_t sectors,
                      uint64_t number)
{
    uint8_t buf[NAND_PAGE_SECTORS_MAX * NAND_SECTOR_BYTES];
    struct nand_op op = {
        .kind = NAND_PROGRAM, .block = block, .sector = sector, .sectors = sectors, .buf = buf};
    nand_rig_fill(buf, sectors, number);
    return run(rig, &op);
}

bool nand_rig_erase(struct nand_rig *rig, uint32_t block)
{
    struct nand_op op = {.kind = NAND_ERASE, .block = block};
    return run(rig, &op);
}

enum nand_result nand_rig_read(struct nand_rig *rig, uint32_t block, uint32_t sector, uint64_t number,
                               uint32_t *corrected)
{
    uint8_t buf[NAND_SECTOR_BYTES], expected[NAND_SECTOR_BYTES];
    struct nand_op op = {.kind = NAND_READ, .block = block, .sector = sector, .sectors = 1, .buf = buf};
    (void)run(rig, &op);
    if (corrected)
        *corrected = op.corrected;
    nand_rig_fill(expected, 1, number);
    if (op.result[0] == NAND_GOOD)
        assert_memory_equal(buf, expected, sizeof buf);
    else
        assert_memory_not_equal(buf, expected, sizeof buf);
    return op.result[0];
}

void nand_rig_fill_block(struct nand_rig *rig, uint32_t block, uint64_t number)
{
    for (uint32_t s = 0; s < RIG_SECTORS; s += RIG_PAGE_SECTORS)
        assert_true(nand_rig_program(rig, block, s, RIG_PAGE_SECTORS, number + s));
}

void nand_rig_expect_rule(void (*breaks)(struct nand_rig *rig), const char *rule)
{
    int ends[2];
    char said[4096] = {0};
    size_t length = 0;
    assert_int_equal(pipe(ends), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        struct nand_rig rig;
        (void)dup2(ends[1], STDERR_FILENO);
        (void)signal(SIGABRT, SIG_DFL);
        nand_rig_create(&rig, NULL);
        breaks(&rig);
        _exit(0);
    }
    (void)close(ends[1]);
    for (ssize_t n;
         length < sizeof said - 1 && (n = read(ends[0], said + length, sizeof said - 1 - length)) > 0;)
        length += (size_t)n;
    (void)close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !strstr(said, rule))
        fail_msg("no assertion says \"%s\": %s", rule, said);
}
