/* A pod whose volume is mapped from end to end by a synthesised checkpoint; tests/bench/tebibyte_bench.c does
 * the same with 1 TiB. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/prng.h"
#include "tests/support/blkdev_synth.h"
#include "tests/support/pod_check.h"
#include "tests/support/synth_pool.h"

enum {
    BLOCK = POD_BLOCK_BYTES,
    BLOCKS = 65536, /* 256 MiB */
    SEGMENT = 2 << 20,
};

struct world {
    struct synth_pool *pool;
    struct blkdev *dev;
    struct pod *pod;
    struct pod_image *image;
    struct prng prng;
    uint64_t now_ns;
    bool flag;
    int status;
    uint32_t *tags; /* of blocks that were written; 0: as synthesised */
};

static bool step(void *user)
{
    struct world *w = user;
    w->now_ns += 100000;
    (void)pod_turn(w->pod, w->now_ns);
    (void)blkdev_synth_step_at(w->dev, 0);
    return true;
}

static void until_flag(struct world *w)
{
    for (unsigned n = 0; !w->flag; n++) {
        (void)step(w);
        assert_true(n < 1000000);
    }
    w->flag = false;
    assert_int_equal(w->status, 0);
}

static void on_open(void *user, int status, struct pod *pod)
{
    struct world *w = user;
    (void)pod;
    w->flag = true;
    w->status = status;
}

static void on_manage(struct pod_manage *req, int status)
{
    on_open(req->user, status, NULL);
}

static void on_io(struct pod_io *io, int status)
{
    on_open(io->user, status, NULL);
}

static void open_pod(struct world *w)
{
    const struct pod_config config = {
        .name = "default",
        .memory_budget = POD_MEMORY_MIN,
        .metadata_cache_bytes = 1 << 20, /* pages come and go */
        .dedupe = true,
        .compression = true,
        .segment_bytes = SEGMENT,
        .scrub_interval_ns = UINT64_MAX,
        .seed = {1, 2},
    };
    assert_int_equal(pod_open(w->dev, &config, POD_FORMAT_BLANK, on_open, w, NULL, &w->pod), 0);
    until_flag(w);
}

static void settle(struct world *w)
{
    for (unsigned n = 0; blkdev_synth_pending(w->dev) || !pod_check_is_quiet(w->pod); n++) {
        (void)step(w);
        assert_true(n < 1000000);
    }
}

static int setup(void **state)
{
    struct world *w = *state = calloc(1, sizeof *w);
    w->tags = calloc(BLOCKS, sizeof w->tags[0]);
    prng_seed(&w->prng, 5);
    w->pool = synth_pool_create((uint64_t)BLOCKS * BLOCK, 60, SEGMENT, NULL);
    assert_non_null(w->pool);
    w->dev = synth_pool_device(w->pool);
    open_pod(w);
    struct pod_manage create = {
        .op = POD_VOLUME_CREATE, .name = "v", .size_bytes = (uint64_t)BLOCKS * BLOCK, .user = w};
    assert_int_equal(pod_manage(w->pod, &create, on_manage), 0);
    until_flag(w);
    settle(w);
    synth_pool_fill(w->pool, w->pod, "v");
    settle(w);
    assert_int_equal(pod_image_open(w->pod, "v", &w->image, NULL), 0);
    return 0;
}

static void crash(struct world *w)
{
    blkdev_synth_drop(w->dev);
    pod_destroy(w->pod);
    free(w->image);
    open_pod(w);
    assert_int_equal(pod_image_open(w->pod, "v", &w->image, NULL), 0);
}

static int teardown(void **state)
{
    struct world *w = *state;
    blkdev_synth_drop(w->dev);
    pod_destroy(w->pod);
    free(w->image);
    synth_pool_destroy(w->pool);
    free(w->tags);
    free(w);
    return 0;
}

static void content(const struct world *w, uint64_t lba, uint8_t *block)
{
    struct prng p;
    prng_seed(&p, 1ull << 40 | w->tags[lba]);
    if (w->tags[lba])
        prng_fill(&p, block, BLOCK);
    else
        synth_pool_block(lba, block);
}

static void run(struct world *w, enum pod_io_op op, uint64_t lba, uint8_t *buf)
{
    struct pod_io io = {
        .op = op, .image = w->image, .offset = lba * BLOCK, .length = BLOCK, .buf = buf, .user = w};
    assert_int_equal(pod_submit(w->pod, &io, on_io), 0);
    until_flag(w);
}

static void read_some(struct world *w, unsigned count)
{
    uint8_t is[BLOCK], should[BLOCK];
    for (unsigned i = 0; i < count; i++) {
        const uint64_t lba = prng_below(&w->prng, BLOCKS);
        run(w, POD_READ, lba, is);
        content(w, lba, should);
        assert_memory_equal(is, should, BLOCK);
    }
}

static void write_some(struct world *w, unsigned count)
{
    uint8_t block[BLOCK];
    for (unsigned i = 0; i < count; i++) {
        const uint64_t lba = prng_below(&w->prng, BLOCKS);
        w->tags[lba] = i + 1;
        content(w, lba, block);
        run(w, POD_WRITE, lba, block);
    }
}

static void check(struct world *w)
{
    char why[256] = "";
    settle(w);
    if (!pod_check_counts(w->pod, step, w, why, sizeof why))
        fail_msg("%s", why);
}

static void what_was_synthesised_is_read_overwritten_and_found_after_a_crash(void **state)
{
    struct world *w = *state;
    struct pod_stats stats;
    pod_stats(w->pod, &stats);
    assert_int_equal(stats.unique_blocks, BLOCKS);
    assert_int_equal(stats.mapped, (uint64_t)BLOCKS * BLOCK);
    read_some(w, 300);
    check(w);
    write_some(w, 300);
    read_some(w, 300);
    crash(w);
    pod_stats(w->pod, &stats);
    assert_int_equal(stats.mapped, (uint64_t)BLOCKS * BLOCK);
    read_some(w, 300);
    check(w);
}

static void its_segments_are_walked_like_any_others(void **state)
{
    struct world *w = *state;
    struct pod_scrub_info info = {0};
    pod_scrub(w->pod);
    for (unsigned n = 0; info.passes == 0; n++) {
        (void)step(w);
        pod_scrub_look(w->pod, &info);
        assert_true(n < 1000000);
    }
    assert_int_equal(info.damaged, 0);
    assert_true(info.read_bytes >= (uint64_t)BLOCKS * BLOCK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_synthesised_is_read_overwritten_and_found_after_a_crash,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(its_segments_are_walked_like_any_others, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
