#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/blkdev_mem.h"
#include "common/blkdev_scratch.h"
#include "common/container.h"

enum {
    UNIT = 4096,
    UNITS = 16
};

struct fixture {
    struct blkdev *mem, *dev;
    uint8_t *buf;
};

struct job {
    struct blkdev_req req;
    int done, status;
};

static void job_done(struct blkdev_req *req, int status)
{
    struct job *j = container_of(req, struct job, req);
    j->done++;
    j->status = status;
}

static int setup(void **state)
{
    static struct fixture f;
    const struct blkdev_mem_options o = {.size_bytes = UNITS * UNIT, .noise_seed = 5};
    f.mem = blkdev_mem_create(&o);
    f.dev = blkdev_scratch_create(f.mem, 3 * UNIT);
    f.buf = aligned_alloc(BLKDEV_ALIGN, 4 * UNIT);
    *state = &f;
    return f.mem && f.dev && f.buf ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    free(f->buf);
    blkdev_destroy(f->dev);
    blkdev_destroy(f->mem);
    return 0;
}

static int run(struct fixture *f, enum blkdev_op op, uint64_t offset, uint32_t length)
{
    struct job j = {.req = {.op = op, .offset = offset, .length = length, .buf = f->buf}};
    if (op == BLKDEV_FLUSH)
        j.req.buf = NULL;
    assert_int_equal(blkdev_submit(f->dev, &j.req, job_done), 0);
    assert_int_equal(j.done, 0);
    blkdev_mem_drain(f->mem);
    assert_int_equal(j.done, 1);
    return j.status;
}

static void what_is_written_is_read_back_and_the_device_below_keeps_what_it_had(void **state)
{
    struct fixture *f = *state;
    struct blkdev_health below;
    uint8_t before[UNITS * UNIT], after[UNITS * UNIT], want[4 * UNIT];
    blkdev_mem_peek(f->mem, 0, before, sizeof before, false);
    memset(f->buf, 'x', 2 * UNIT);
    assert_int_equal(run(f, BLKDEV_WRITE, 4 * UNIT, 2 * UNIT), 0);
    memset(f->buf, 'y', UNIT);
    assert_int_equal(run(f, BLKDEV_WRITE, 5 * UNIT, UNIT), 0);
    assert_int_equal(run(f, BLKDEV_FLUSH, 0, 0), 0);
    assert_int_equal(run(f, BLKDEV_ERASE, 0, 8 * UNIT), 0);
    assert_int_equal(blkdev_scratch_bytes(f->dev), 2 * UNIT);

    memcpy(want, before + 3 * UNIT, sizeof want);
    memset(want + UNIT, 'x', UNIT);
    memset(want + 2 * UNIT, 'y', UNIT);
    assert_int_equal(run(f, BLKDEV_READ, 3 * UNIT, 4 * UNIT), 0);
    assert_memory_equal(f->buf, want, sizeof want);
    /* Parts of a page, too. */
    assert_int_equal(run(f, BLKDEV_READ, 4 * UNIT - 512, UNIT), 0);
    assert_memory_equal(f->buf, want + UNIT - 512, UNIT);

    blkdev_mem_peek(f->mem, 0, after, sizeof after, false);
    assert_memory_equal(before, after, sizeof after);
    blkdev_health(f->mem, &below);
    assert_int_equal(below.write_ops + below.erase_ops + below.flush_ops, 0);
}

static void memory_is_bounded(void **state)
{
    struct fixture *f = *state;
    memset(f->buf, 'x', UNIT);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(run(f, BLKDEV_WRITE, i * UNIT, UNIT), 0);
    assert_int_equal(run(f, BLKDEV_WRITE, 3 * UNIT, UNIT), PS_EFULL);
    assert_int_equal(run(f, BLKDEV_WRITE, UNIT, UNIT), 0);
    assert_int_equal(blkdev_scratch_bytes(f->dev), 3 * UNIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read_back_and_the_device_below_keeps_what_it_had,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
