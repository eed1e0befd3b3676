#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/blkdev_fault.h"
#include "common/blkdev_mem.h"
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
    const struct blkdev_mem_options o = {.size_bytes = UNITS * UNIT};
    f.mem = blkdev_mem_create(&o);
    f.dev = blkdev_fault_create(f.mem);
    f.buf = aligned_alloc(BLKDEV_ALIGN, UNIT);
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

static int run(struct fixture *f, enum blkdev_op op, uint64_t unit, uint32_t flags)
{
    struct job j = {.req = {.op = op,
                            .flags = flags,
                            .offset = op == BLKDEV_FLUSH ? 0 : unit * UNIT,
                            .length = op == BLKDEV_FLUSH ? 0 : UNIT,
                            .buf = f->buf}};
    const int rc = blkdev_submit(f->dev, &j.req, job_done);
    assert_int_equal(rc, 0);
    assert_int_equal(j.done, 0); /* never before the return */
    blkdev_mem_drain(f->mem);
    assert_int_equal(j.done, 1);
    return j.status;
}

static int stored(struct fixture *f, uint64_t unit, bool durable)
{
    uint8_t b;
    blkdev_mem_peek(f->mem, unit * UNIT, &b, 1, durable);
    return b;
}

static void without_rules_everything_passes(void **state)
{
    struct fixture *f = *state;
    memset(f->buf, 'w', UNIT);
    assert_int_equal(run(f, BLKDEV_WRITE, 1, BLKDEV_FUA), 0);
    memset(f->buf, 0, UNIT);
    assert_int_equal(run(f, BLKDEV_READ, 1, 0), 0);
    assert_int_equal(f->buf[0], 'w');
    assert_int_equal(run(f, BLKDEV_ERASE, 1, 0), 0);
    assert_int_equal(blkdev_fault_submitted(f->dev, BLKDEV_FAULT_ANY), 3);
    assert_int_equal(blkdev_fault_submitted(f->dev, blkdev_fault_op(BLKDEV_READ)), 1);
}

static void the_nth_write_fails_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    const struct blkdev_fault_rule r = {
        .ops = blkdev_fault_op(BLKDEV_WRITE), .first = 2, .count = 1, .action = BLKDEV_FAULT_FAIL};
    const unsigned rule = blkdev_fault_add(f->dev, &r);
    memset(f->buf, 'w', UNIT);
    assert_int_equal(run(f, BLKDEV_WRITE, 0, 0), 0);
    assert_int_equal(run(f, BLKDEV_WRITE, 1, 0), PS_EIO);
    assert_int_equal(run(f, BLKDEV_WRITE, 2, 0), 0);
    assert_int_equal(stored(f, 0, false), 'w');
    assert_int_equal(stored(f, 1, false), 0);
    assert_int_equal(stored(f, 2, false), 'w');
    assert_int_equal(blkdev_fault_matched(f->dev, rule), 3);
    assert_int_equal(blkdev_fault_fired(f->dev, rule), 1);
}

static void a_rule_with_a_range_spares_the_rest(void **state)
{
    struct fixture *f = *state;
    const struct blkdev_fault_rule r = {.ops = blkdev_fault_op(BLKDEV_READ),
                                        .offset = 4 * UNIT,
                                        .length = 2 * UNIT,
                                        .action = BLKDEV_FAULT_FAIL,
                                        .status = PS_EDATALOSS};
    blkdev_fault_add(f->dev, &r);
    assert_int_equal(run(f, BLKDEV_READ, 3, 0), 0);
    assert_int_equal(run(f, BLKDEV_READ, 4, 0), PS_EDATALOSS);
    assert_int_equal(run(f, BLKDEV_READ, 5, 0), PS_EDATALOSS);
    assert_int_equal(run(f, BLKDEV_READ, 6, 0), 0);
    assert_int_equal(run(f, BLKDEV_WRITE, 4, 0), 0);
}

static void a_lost_write_claims_success(void **state)
{
    struct fixture *f = *state;
    const struct blkdev_fault_rule r = {.ops = blkdev_fault_op(BLKDEV_WRITE), .action = BLKDEV_FAULT_LIE};
    blkdev_fault_add(f->dev, &r);
    memset(f->buf, 'w', UNIT);
    assert_int_equal(run(f, BLKDEV_WRITE, 0, BLKDEV_FUA), 0);
    assert_int_equal(stored(f, 0, false), 0);
}

static void a_failed_flush_makes_nothing_durable_and_marks_the_device(void **state)
{
    struct fixture *f = *state;
    const struct blkdev_fault_rule r = {.ops = blkdev_fault_op(BLKDEV_FLUSH), .action = BLKDEV_FAULT_FAIL};
    blkdev_fault_add(f->dev, &r);
    memset(f->buf, 'w', UNIT);
    assert_int_equal(run(f, BLKDEV_WRITE, 0, 0), 0);
    assert_int_equal(run(f, BLKDEV_FLUSH, 0, 0), PS_EIO);
    assert_int_equal(stored(f, 0, false), 'w');
    assert_int_equal(stored(f, 0, true), 0);
    struct blkdev_health h;
    blkdev_health(f->dev, &h);
    assert_true(h.failed);
    assert_int_equal(h.errors, 1);
}

static void a_write_that_meets_the_probe_of_a_failing_flush_waits_for_it(void **state)
{
    struct fixture *f = *state;
    const struct blkdev_fault_rule r = {.ops = blkdev_fault_op(BLKDEV_FLUSH), .action = BLKDEV_FAULT_FAIL};
    blkdev_fault_add(f->dev, &r);
    struct job flush = {.req = {.op = BLKDEV_FLUSH}};
    struct job write = {
        .req = {.op = BLKDEV_WRITE, .offset = (UNITS - 1) * UNIT, .length = UNIT, .buf = f->buf}};
    assert_int_equal(blkdev_submit(f->dev, &flush.req, job_done), 0);
    assert_int_equal(blkdev_submit(f->dev, &write.req, job_done), 0);
    blkdev_mem_drain(f->mem);
    assert_int_equal(flush.status, PS_EIO);
    assert_int_equal(write.done, 1);
    assert_int_equal(write.status, 0);
}

static void an_error_after_the_effect_is_an_error_with_the_data_there(void **state)
{
    struct fixture *f = *state;
    const struct blkdev_fault_rule r = {.ops = blkdev_fault_op(BLKDEV_WRITE), .action = BLKDEV_FAULT_ERROR};
    blkdev_fault_add(f->dev, &r);
    memset(f->buf, 'w', UNIT);
    assert_int_equal(run(f, BLKDEV_WRITE, 0, BLKDEV_FUA), PS_EIO);
    assert_int_equal(stored(f, 0, true), 'w');
}

static void corruption_flips_one_bit_on_the_way(void **state)
{
    struct fixture *f = *state;
    struct blkdev_fault_rule r = {
        .ops = blkdev_fault_op(BLKDEV_WRITE), .count = 1, .action = BLKDEV_FAULT_CORRUPT, .bit = 1};
    blkdev_fault_add(f->dev, &r);
    r.ops = blkdev_fault_op(BLKDEV_READ);
    r.bit = 8 + 2;
    blkdev_fault_add(f->dev, &r);
    memset(f->buf, 0, UNIT);
    assert_int_equal(run(f, BLKDEV_WRITE, 0, 0), 0);
    assert_int_equal(f->buf[0], 0); /* the caller's data stays as it is */
    assert_int_equal(stored(f, 0, false), 2);
    assert_int_equal(run(f, BLKDEV_READ, 0, 0), 0);
    assert_int_equal(f->buf[0], 2);
    assert_int_equal(f->buf[1], 4);
    assert_int_equal(run(f, BLKDEV_READ, 0, 0), 0);
    assert_int_equal(f->buf[1], 0);
}

static void a_delayed_request_waits_for_its_release(void **state)
{
    struct fixture *f = *state;
    const struct blkdev_fault_rule r = {
        .ops = blkdev_fault_op(BLKDEV_WRITE), .count = 1, .action = BLKDEV_FAULT_DELAY};
    blkdev_fault_add(f->dev, &r);
    memset(f->buf, 's', UNIT);
    struct job slow = {.req = {.op = BLKDEV_WRITE, .offset = 0, .length = UNIT, .buf = f->buf}};
    assert_int_equal(blkdev_submit(f->dev, &slow.req, job_done), 0);
    assert_int_equal(run(f, BLKDEV_WRITE, 1, 0), 0);
    assert_int_equal(slow.done, 0);
    assert_int_equal(blkdev_fault_held(f->dev), 1);
    assert_int_equal(blkdev_fault_release(f->dev, 5), 1);
    blkdev_mem_drain(f->mem);
    assert_int_equal(slow.done, 1);
    assert_int_equal(stored(f, 0, false), 's');
}

static void after_a_power_cut_the_layer_forgets_what_was_under_way(void **state)
{
    struct fixture *f = *state;
    const struct blkdev_fault_rule r = {
        .ops = blkdev_fault_op(BLKDEV_READ), .count = 1, .action = BLKDEV_FAULT_DELAY};
    blkdev_fault_add(f->dev, &r);
    struct job held = {.req = {.op = BLKDEV_READ, .length = UNIT, .buf = f->buf}}, flying = held;
    flying.req.op = BLKDEV_WRITE;
    assert_int_equal(blkdev_submit(f->dev, &held.req, job_done), 0);
    assert_int_equal(blkdev_submit(f->dev, &flying.req, job_done), 0);
    struct prng prng;
    prng_seed(&prng, 1);
    blkdev_mem_power_cut(f->mem, &prng, BLKDEV_MEM_LOSE);
    blkdev_fault_drop(f->dev);
    blkdev_fault_clear(f->dev);
    assert_int_equal(blkdev_mem_drain(f->mem), 0);
    assert_int_equal(held.done + flying.done, 0);
    assert_int_equal(run(f, BLKDEV_READ, 0, 0), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(without_rules_everything_passes),
        T(the_nth_write_fails_and_leaves_nothing),
        T(a_rule_with_a_range_spares_the_rest),
        T(a_lost_write_claims_success),
        T(a_failed_flush_makes_nothing_durable_and_marks_the_device),
        T(a_write_that_meets_the_probe_of_a_failing_flush_waits_for_it),
        T(an_error_after_the_effect_is_an_error_with_the_data_there),
        T(corruption_flips_one_bit_on_the_way),
        T(a_delayed_request_waits_for_its_release),
        T(after_a_power_cut_the_layer_forgets_what_was_under_way),
    };
    return cmocka_run_group_tests_name("blkdev_fault", tests, NULL, NULL);
}
