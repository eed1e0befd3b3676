#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/blkdev_mem.h"
#include "common/container.h"

enum {
    UNIT = 4096,
    UNITS = 64
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

static void *page(size_t units, int fill)
{
    uint8_t *p = aligned_alloc(BLKDEV_ALIGN, units * UNIT);
    assert_non_null(p);
    memset(p, fill, units * UNIT);
    return p;
}

static void put(struct blkdev *dev, struct job *j, uint64_t unit, size_t units, void *buf, uint32_t flags)
{
    *j = (struct job){.req = {.op = BLKDEV_WRITE,
                              .flags = flags,
                              .offset = unit * UNIT,
                              .length = (uint32_t)(units * UNIT),
                              .buf = buf}};
    assert_int_equal(blkdev_submit(dev, &j->req, job_done), 0);
}

static void put_now(struct blkdev *dev, uint64_t unit, size_t units, int fill, uint32_t flags)
{
    struct job j;
    void *buf = page(units, fill);
    put(dev, &j, unit, units, buf, flags);
    blkdev_mem_drain(dev);
    assert_int_equal(j.done, 1);
    free(buf);
}

static void flush(struct blkdev *dev)
{
    struct job j = {.req = {.op = BLKDEV_FLUSH}};
    assert_int_equal(blkdev_submit(dev, &j.req, job_done), 0);
    blkdev_mem_drain(dev);
    assert_int_equal(j.status, 0);
}

static int first_byte(struct blkdev *dev, uint64_t unit)
{
    uint8_t b[UNIT];
    blkdev_mem_peek(dev, unit * UNIT, b, UNIT, false);
    for (size_t i = 1; i < UNIT; i++)
        assert_int_equal(b[i], b[0]);
    return b[0];
}

static struct blkdev *device(uint64_t noise)
{
    const struct blkdev_mem_options o = {.size_bytes = UNITS * UNIT, .noise_seed = noise};
    struct blkdev *dev = blkdev_mem_create(&o);
    assert_non_null(dev);
    return dev;
}

static void a_request_completes_only_when_the_test_says_so(void **state)
{
    (void)state;
    struct blkdev *dev = device(0);
    void *a = page(1, 'a'), *b = page(1, 'b');
    struct job ja, jb;
    put(dev, &ja, 0, 1, a, 0);
    put(dev, &jb, 1, 1, b, 0);
    assert_int_equal(ja.done + jb.done, 0);
    assert_int_equal(blkdev_mem_pending(dev), 2);
    assert_true(blkdev_mem_step_at(dev, 1));
    assert_int_equal(jb.done, 1);
    assert_int_equal(ja.done, 0);
    assert_int_equal(first_byte(dev, 0), 0);
    assert_int_equal(first_byte(dev, 1), 'b');
    assert_true(blkdev_mem_step(dev));
    assert_false(blkdev_mem_step(dev));
    assert_int_equal(first_byte(dev, 0), 'a');
    free(a);
    free(b);
    blkdev_destroy(dev);
}

static void a_request_that_fails_changes_nothing(void **state)
{
    (void)state;
    struct blkdev *dev = device(0);
    struct job j;
    struct blkdev_health health;
    put_now(dev, 3, 1, 'a', BLKDEV_FUA);
    void *buf = page(1, 'b');
    put(dev, &j, 3, 1, buf, BLKDEV_FUA);
    assert_true(blkdev_mem_fail_at(dev, 0, PS_EFULL));
    assert_int_equal(j.done, 1);
    assert_int_equal(j.status, PS_EFULL);
    blkdev_mem_peek(dev, 3 * UNIT, buf, UNIT, false);
    assert_int_equal(*(uint8_t *)buf, 'a');
    blkdev_health(dev, &health);
    assert_true(health.failed && health.errors == 1);
    assert_false(blkdev_mem_fail_at(dev, 0, PS_EIO));
    free(buf);
    blkdev_destroy(dev);
}

static void a_read_sees_completed_writes_at_any_read_unit(void **state)
{
    (void)state;
    struct blkdev *dev = device(0);
    put_now(dev, 1, 1, 'x', 0);
    uint8_t *buf = page(1, 0);
    struct job j = {.req = {.op = BLKDEV_READ, .offset = UNIT - 512, .length = 1024, .buf = buf}};
    assert_int_equal(blkdev_submit(dev, &j.req, job_done), 0);
    blkdev_mem_drain(dev);
    assert_int_equal(buf[511], 0);
    assert_int_equal(buf[512], 'x');
    struct blkdev_health h;
    blkdev_health(dev, &h);
    assert_int_equal(h.read_ops, 1);
    assert_int_equal(h.read_bytes, 1024);
    assert_int_equal(h.write_bytes, UNIT);
    free(buf);
    blkdev_destroy(dev);
}

static void units_never_written_read_as_the_same_noise_each_time(void **state)
{
    (void)state;
    struct blkdev *dev = device(7);
    uint8_t a[UNIT], b[UNIT], other[UNIT];
    blkdev_mem_peek(dev, 0, a, UNIT, false);
    blkdev_mem_peek(dev, 0, b, UNIT, false);
    blkdev_mem_peek(dev, UNIT, other, UNIT, false);
    assert_memory_equal(a, b, UNIT);
    assert_memory_not_equal(a, other, UNIT);
    blkdev_destroy(dev);
}

static void an_erased_unit_does_not_keep_its_contents(void **state)
{
    (void)state;
    struct blkdev *dev = device(7);
    put_now(dev, 3, 1, 'k', BLKDEV_FUA);
    struct job j = {.req = {.op = BLKDEV_ERASE, .offset = 3 * UNIT, .length = UNIT}};
    assert_int_equal(blkdev_submit(dev, &j.req, job_done), 0);
    blkdev_mem_drain(dev);
    uint8_t now[UNIT], k[UNIT];
    memset(k, 'k', UNIT);
    blkdev_mem_peek(dev, 3 * UNIT, now, UNIT, false);
    assert_memory_not_equal(now, k, UNIT);
    blkdev_destroy(dev);
}

static void what_was_flushed_or_fua_survives_every_kind_of_cut(void **state)
{
    (void)state;
    for (int mode = 0; mode < BLKDEV_MEM_CUTS; mode++) {
        for (uint64_t seed = 1; seed <= 50; seed++) {
            struct prng prng;
            prng_seed(&prng, seed);
            struct blkdev *dev = device(seed);
            put_now(dev, 0, 2, 'f', 0);
            put_now(dev, 5, 1, 'o', 0);
            flush(dev);
            put_now(dev, 9, 3, 'd', BLKDEV_FUA);
            put_now(dev, 5, 1, 'n', 0);
            blkdev_mem_power_cut(dev, &prng, (enum blkdev_mem_cut)mode);
            assert_int_equal(first_byte(dev, 0), 'f');
            assert_int_equal(first_byte(dev, 1), 'f');
            for (uint64_t u = 9; u < 12; u++)
                assert_int_equal(first_byte(dev, u), 'd');
            const int five = first_byte(dev, 5);
            assert_true(five == 'o' || five == 'n');
            if (mode == BLKDEV_MEM_LOSE)
                assert_int_equal(five, 'o');
            if (mode == BLKDEV_MEM_KEEP)
                assert_int_equal(five, 'n');
            assert_int_equal(blkdev_mem_volatile_units(dev), 0);
            blkdev_destroy(dev);
        }
    }
}

static void a_flush_covers_only_writes_completed_before_it_was_submitted(void **state)
{
    (void)state;
    struct prng prng;
    prng_seed(&prng, 1);
    struct blkdev *dev = device(0);
    void *a = page(1, 'a'), *b = page(1, 'b');
    struct job ja, jb, jf = {.req = {.op = BLKDEV_FLUSH}};
    put(dev, &ja, 0, 1, a, 0);
    put(dev, &jb, 1, 1, b, 0);
    blkdev_mem_step_at(dev, 0);
    assert_int_equal(blkdev_submit(dev, &jf.req, job_done), 0);
    blkdev_mem_step_at(dev, 0); /* b completes between the flush's submission and its end */
    blkdev_mem_step_at(dev, 0);
    assert_int_equal(jf.done, 1);
    blkdev_mem_power_cut(dev, &prng, BLKDEV_MEM_LOSE);
    assert_int_equal(first_byte(dev, 0), 'a');
    assert_int_equal(first_byte(dev, 1), 0);
    free(a);
    free(b);
    blkdev_destroy(dev);
}

/* Over many seeds a cut must show all it can do, or a sweep with it proves little. */
static void a_reordering_cut_reaches_every_combination(void **state)
{
    (void)state;
    int seen[4] = {0};
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct prng prng;
        prng_seed(&prng, seed);
        struct blkdev *dev = device(0);
        put_now(dev, 0, 1, 1, 0);
        put_now(dev, 1, 1, 1, 0);
        blkdev_mem_power_cut(dev, &prng, BLKDEV_MEM_REORDER);
        seen[first_byte(dev, 0) + 2 * first_byte(dev, 1)]++;
        blkdev_destroy(dev);
    }
    for (int i = 0; i < 4; i++)
        assert_true(seen[i] > 0);
}

static void a_tearing_cut_keeps_a_prefix_and_tears_only_its_last_write(void **state)
{
    (void)state;
    int torn = 0, none = 0, all = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct prng prng;
        prng_seed(&prng, seed);
        struct blkdev *dev = device(0);
        put_now(dev, 0, 4, 1, 0);
        put_now(dev, 8, 4, 1, 0);
        put_now(dev, 16, 4, 1, 0);
        blkdev_mem_power_cut(dev, &prng, BLKDEV_MEM_TEAR);
        int have[3] = {0};
        for (uint64_t w = 0; w < 3; w++)
            for (uint64_t u = 0; u < 4; u++)
                have[w] += first_byte(dev, w * 8 + u);
        assert_true(have[1] == 0 || have[0] == 4);
        assert_true(have[2] == 0 || have[1] == 4);
        for (int w = 0; w < 3; w++)
            torn += have[w] > 0 && have[w] < 4;
        none += have[0] == 0;
        all += have[2] == 4;
        blkdev_destroy(dev);
    }
    assert_true(torn > 0 && none > 0 && all > 0);
}

static void a_write_in_flight_may_survive_a_cut_but_its_callback_never_runs(void **state)
{
    (void)state;
    int kept = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct prng prng;
        prng_seed(&prng, seed);
        struct blkdev *dev = device(0);
        void *buf = page(1, 1);
        struct job j;
        put(dev, &j, 0, 1, buf, BLKDEV_FUA);
        blkdev_mem_power_cut(dev, &prng, BLKDEV_MEM_REORDER);
        free(buf);
        assert_int_equal(blkdev_mem_drain(dev), 0);
        assert_int_equal(j.done, 0);
        kept += first_byte(dev, 0);
        blkdev_destroy(dev);
    }
    assert_in_range(kept, 1, 39);
}

static void a_cut_may_leave_any_version_written_since_the_last_flush(void **state)
{
    (void)state;
    int seen[4] = {0};
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct prng prng;
        prng_seed(&prng, seed);
        struct blkdev *dev = device(0);
        for (int v = 1; v <= 3; v++)
            put_now(dev, 0, 1, v, 0);
        blkdev_mem_power_cut(dev, &prng, BLKDEV_MEM_REORDER);
        seen[first_byte(dev, 0)]++;
        blkdev_destroy(dev);
    }
    for (int i = 0; i < 4; i++)
        assert_true(seen[i] > 0);
}

static void one_seed_replays_the_same_cut(void **state)
{
    (void)state;
    uint8_t image[2][UNITS * UNIT];
    for (int run = 0; run < 2; run++) {
        struct prng prng;
        prng_seed(&prng, 99);
        struct blkdev *dev = device(5);
        for (int i = 0; i < 100; i++)
            put_now(dev, prng_below(&prng, UNITS - 4), 1 + prng_below(&prng, 4), i + 1, 0);
        blkdev_mem_power_cut(dev, &prng, BLKDEV_MEM_REORDER);
        blkdev_mem_peek(dev, 0, image[run], sizeof image[run], true);
        blkdev_destroy(dev);
    }
    assert_memory_equal(image[0], image[1], sizeof image[0]);
}

static void poked_bytes_survive_as_damage(void **state)
{
    (void)state;
    struct prng prng;
    prng_seed(&prng, 1);
    struct blkdev *dev = device(0);
    put_now(dev, 2, 1, 'p', BLKDEV_FUA);
    blkdev_mem_poke(dev, 2 * UNIT + 10, "!!", 2);
    blkdev_mem_power_cut(dev, &prng, BLKDEV_MEM_LOSE);
    uint8_t b[UNIT];
    blkdev_mem_peek(dev, 2 * UNIT, b, UNIT, true);
    assert_int_equal(b[9], 'p');
    assert_int_equal(b[10], '!');
    blkdev_destroy(dev);
}

static void overlapping_requests_with_a_write_among_them_abort(void **state)
{
    (void)state;
    const pid_t pid = fork();
    if (pid == 0) {
        (void)!freopen("/dev/null", "w", stderr);
        struct blkdev *dev = device(0);
        void *buf = page(2, 1);
        struct job a, b;
        put(dev, &a, 0, 2, buf, 0);
        put(dev, &b, 1, 1, buf, 0);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_completes_only_when_the_test_says_so),
        cmocka_unit_test(a_request_that_fails_changes_nothing),
        cmocka_unit_test(a_read_sees_completed_writes_at_any_read_unit),
        cmocka_unit_test(units_never_written_read_as_the_same_noise_each_time),
        cmocka_unit_test(an_erased_unit_does_not_keep_its_contents),
        cmocka_unit_test(what_was_flushed_or_fua_survives_every_kind_of_cut),
        cmocka_unit_test(a_flush_covers_only_writes_completed_before_it_was_submitted),
        cmocka_unit_test(a_reordering_cut_reaches_every_combination),
        cmocka_unit_test(a_tearing_cut_keeps_a_prefix_and_tears_only_its_last_write),
        cmocka_unit_test(a_write_in_flight_may_survive_a_cut_but_its_callback_never_runs),
        cmocka_unit_test(a_cut_may_leave_any_version_written_since_the_last_flush),
        cmocka_unit_test(one_seed_replays_the_same_cut),
        cmocka_unit_test(poked_bytes_survive_as_damage),
        cmocka_unit_test(overlapping_requests_with_a_write_among_them_abort),
    };
    return cmocka_run_group_tests_name("blkdev_mem", tests, NULL, NULL);
}
