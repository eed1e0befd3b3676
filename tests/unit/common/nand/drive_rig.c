#include "tests/unit/common/nand/drive_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/common/nand/nand_rig.h"

void drive_rig_config(struct nand_config *out)
{
    nand_config_default(out);
    out->geometry = (struct nand_geometry){
        .channels = 2, .dies = 1, .planes = 2, .pages = 16, .page_bytes = 4 * NAND_SECTOR_BYTES};
    out->factory_bad_ppm = 0;
    out->program_fail_ppb = 0;
    out->seed = 11;
}

static void open_drive(struct drive_rig *rig)
{
    struct ps_error err = {0};
    struct nand *flash;
    int rc = nand_open(rig->area, rig->bytes, &flash, &err);
    if (rc == 0)
        rc = nand_drive_create(flash, "drive", &rig->dev, &err);
    if (rc)
        fail_msg("the drive does not open: %s", err.detail);
}

void drive_rig_create(struct drive_rig *rig, uint64_t size_bytes, const struct nand_config *config)
{
    struct ps_error err = {0};
    if (config)
        rig->config = *config;
    else
        drive_rig_config(&rig->config);
    if (nand_drive_plan(size_bytes, 5, &rig->config, &err))
        fail_msg("no such drive: %s", err.detail);
    rig->bytes = nand_area_bytes(&rig->config);
    rig->area = calloc(1, rig->bytes);
    assert_non_null(rig->area);
    nand_format(&rig->config, rig->area);
    open_drive(rig);
}

void drive_rig_destroy(struct drive_rig *rig)
{
    blkdev_destroy(rig->dev);
    free(rig->area);
}

void drive_rig_reopen(struct drive_rig *rig)
{
    blkdev_destroy(rig->dev);
    open_drive(rig);
}

void drive_rig_kill(struct drive_rig *rig)
{
    nand_drive_abandon(rig->dev);
    open_drive(rig);
}

struct job {
    struct blkdev_req req;
    bool done;
    int status;
};

static void job_done(struct blkdev_req *req, int status)
{
    struct job *j = container_of(req, struct job, req);
    j->done = true;
    j->status = status;
}

static int run(struct drive_rig *rig, struct job *j)
{
    assert_int_equal(blkdev_submit(rig->dev, &j->req, job_done), 0);
    assert_false(j->done);
    while (!j->done)
        assert_true(nand_drive_step(rig->dev));
    return j->status;
}

static uint8_t *buffer(uint32_t sectors)
{
    uint8_t *p = aligned_alloc(BLKDEV_ALIGN, (size_t)sectors * NAND_SECTOR_BYTES);
    assert_non_null(p);
    return p;
}

int drive_rig_write(struct drive_rig *rig, uint64_t sector, uint32_t sectors, uint64_t number)
{
    uint8_t *buf = buffer(sectors);
    struct job j = {.req = {.op = BLKDEV_WRITE,
                            .flags = BLKDEV_FUA,
                            .offset = sector * NAND_SECTOR_BYTES,
                            .length = sectors * NAND_SECTOR_BYTES,
                            .buf = buf}};
    nand_rig_fill(buf, sectors, number);
    const int status = run(rig, &j);
    free(buf);
    return status;
}

int drive_rig_erase(struct drive_rig *rig, uint32_t zone)
{
    const uint32_t bytes = rig->dev->geometry.erase_bytes;
    struct job j = {.req = {.op = BLKDEV_ERASE, .offset = (uint64_t)zone * bytes, .length = bytes}};
    return run(rig, &j);
}

static uint8_t *read_back(struct drive_rig *rig, uint64_t sector, uint32_t sectors, int *status)
{
    uint8_t *buf = buffer(sectors);
    struct job j = {.req = {.op = BLKDEV_READ,
                            .offset = sector * NAND_SECTOR_BYTES,
                            .length = sectors * NAND_SECTOR_BYTES,
                            .buf = buf}};
    *status = run(rig, &j);
    return buf;
}

bool drive_rig_holds(struct drive_rig *rig, uint64_t sector, uint32_t sectors, uint64_t number, int *status)
{
    int local;
    uint8_t *buf = read_back(rig, sector, sectors, status ? status : &local), *expected = buffer(sectors);
    nand_rig_fill(expected, sectors, number);
    const bool holds = memcmp(buf, expected, (size_t)sectors * NAND_SECTOR_BYTES) == 0;
    free(buf);
    free(expected);
    return holds;
}

bool drive_rig_is_zero(struct drive_rig *rig, uint64_t sector, uint32_t sectors)
{
    int status;
    uint8_t *buf = read_back(rig, sector, sectors, &status);
    const bool zero = buf[0] == 0 && memcmp(buf, buf + 1, (size_t)sectors * NAND_SECTOR_BYTES - 1) == 0;
    free(buf);
    return status == 0 && zero;
}
