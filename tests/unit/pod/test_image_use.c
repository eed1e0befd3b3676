#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>

#include "node/pod/image_use.h"

#define MIB (1ull << 20)
#define MS  1000000ull

static struct image_use_counts taken;

static int setup(void **state)
{
    *state = image_uses_create(NULL);
    return 0;
}

static int teardown(void **state)
{
    image_uses_destroy(*state);
    return 0;
}

static void requests_count_where_they_touch(void **state)
{
    struct image_use *use = image_uses_open(*state, 7, 512 * MIB); /* regions of 2 MiB */
    struct image_use_stamp a, b, c;
    uint64_t id;
    image_use_begin(use, &a, IMAGE_USE_READ, 4 * MIB, 4096);
    image_use_begin(use, &b, IMAGE_USE_WRITE, 2 * MIB - 4096, 8192);
    image_use_begin(use, &c, IMAGE_USE_WRITE, 511 * MIB, MIB);
    assert_true(image_uses_take(*state, 0, &id, &taken));
    assert_int_equal(id, 7);
    assert_int_equal(taken.shift, 21);
    assert_int_equal(taken.ops[IMAGE_USE_READ], 1);
    assert_int_equal(taken.ops[IMAGE_USE_WRITE], 2);
    assert_int_equal(taken.bytes[IMAGE_USE_WRITE], 8192 + MIB);
    assert_int_equal(taken.regions[IMAGE_USE_READ][2], 1);
    assert_int_equal(taken.regions[IMAGE_USE_WRITE][0], 1);
    assert_int_equal(taken.regions[IMAGE_USE_WRITE][1], 1);
    assert_int_equal(taken.regions[IMAGE_USE_WRITE][255], 1);
    /* Taken is taken. */
    assert_false(image_uses_take(*state, 0, &id, &taken));
    image_use_close(use);
}

static void latency_runs_from_turn_to_turn(void **state)
{
    struct image_use *use = image_uses_open(*state, 7, MIB);
    struct image_use_stamp first, within, failed;
    uint64_t id;
    image_use_begin(use, &first, IMAGE_USE_READ, 0, 512);
    image_use_begin(use, &failed, IMAGE_USE_READ, 0, 512);
    image_uses_turn(*state, 10 * MS);
    image_use_begin(use, &within, IMAGE_USE_WRITE, 0, 512);
    image_uses_turned(*state);
    image_uses_turn(*state, 13 * MS);
    image_use_end(&first, true);
    image_use_end(&failed, false);
    image_use_end(&within, true);
    image_uses_turned(*state);
    assert_true(image_uses_take(*state, 0, &id, &taken));
    assert_int_equal(taken.ops[IMAGE_USE_READ], 2);
    assert_int_equal(taken.latency_ns[IMAGE_USE_READ], 3 * MS);
    assert_int_equal(taken.latency_ns[IMAGE_USE_WRITE], 3 * MS);
    assert_int_equal(taken.latencies[IMAGE_USE_READ][12], 1); /* 2048 to 4096 us */
    assert_int_equal(taken.latencies[IMAGE_USE_WRITE][12], 1);
    image_use_close(use);
}

static uint64_t clock_ns;

static uint64_t now_ns(void)
{
    return clock_ns;
}

static void requests_end_when_the_clock_says_so(void **state)
{
    struct image_uses *uses = image_uses_create(now_ns);
    struct image_use *use = image_uses_open(uses, 7, MIB);
    struct image_use_stamp first, second;
    uint64_t id;
    (void)state;
    image_uses_turn(uses, 10 * MS);
    image_use_begin(use, &first, IMAGE_USE_READ, 0, 512);
    image_use_begin(use, &second, IMAGE_USE_READ, 0, 512);
    clock_ns = 10 * MS + 5000;
    image_uses_ending(uses);
    image_use_end(&first, true);
    clock_ns = 10 * MS + 70000;
    image_use_end(&second, true); /* nobody looked at the clock */
    image_uses_turned(uses);
    assert_true(image_uses_take(uses, 0, &id, &taken));
    assert_int_equal(taken.latency_ns[IMAGE_USE_READ], 10000);
    assert_int_equal(taken.latencies[IMAGE_USE_READ][3], 2); /* 4 to 8 us */
    image_use_close(use);
    image_uses_destroy(uses);
}

static void every_operation_has_its_latencies(void **state)
{
    struct image_use *use = image_uses_open(*state, 7, MIB);
    struct image_use_stamp s[IMAGE_USE_OPS];
    struct image_use_latencies all;
    uint64_t id;
    for (unsigned op = 0; op < IMAGE_USE_OPS; op++)
        image_use_begin(use, &s[op], (enum image_use_op)op, 0, op == IMAGE_USE_FLUSH ? 0 : 4096);
    image_uses_turn(*state, MS);
    image_uses_turned(*state);
    for (unsigned op = 0; op < IMAGE_USE_OPS; op++) {
        image_uses_turn(*state, MS + ((uint64_t)1 << op) * 3000);
        image_use_end(&s[op], true);
        image_uses_turned(*state);
    }
    assert_true(image_uses_take(*state, 0, &id, &taken));
    for (unsigned op = 0; op < IMAGE_USE_OPS; op++) {
        assert_int_equal(taken.ops[op], 1);
        assert_int_equal(taken.bytes[op], op == IMAGE_USE_FLUSH ? 0 : 4096);
        assert_int_equal(taken.latency_ns[op], ((uint64_t)1 << op) * 3000);
        assert_int_equal(taken.latencies[op][2 + op], 1);
    }
    /* A trim is no access: it heats nothing. */
    assert_int_equal(taken.regions[IMAGE_USE_READ][0] + taken.regions[IMAGE_USE_WRITE][0], 2);

    /* What is taken goes on to count among all there were. */
    image_use_begin(use, &s[0], IMAGE_USE_FLUSH, 0, 0);
    image_uses_turn(*state, 2 * MS);
    image_use_end(&s[0], true);
    image_uses_turned(*state);
    assert_true(image_uses_latencies(*state, 7, &all));
    assert_int_equal(latency_count(all.counts[IMAGE_USE_FLUSH]), 2);
    assert_int_equal(latency_count(all.counts[IMAGE_USE_TRIM]), 1);
    assert_int_equal(all.sum_ns[IMAGE_USE_TRIM], 24000);
    assert_false(image_uses_latencies(*state, 8, &all));
    image_use_close(use);
}

static void an_image_that_grew_has_larger_regions(void **state)
{
    struct image_use *use = image_uses_open(*state, 7, MIB);
    struct image_use_stamp s[3];
    uint64_t id;
    image_use_begin(use, &s[0], IMAGE_USE_READ, 0, 512);
    image_use_begin(use, &s[1], IMAGE_USE_READ, 3 * MIB, 512);
    image_uses_turn(*state, 1);
    image_uses_turned(*state);
    image_use_begin(use, &s[2], IMAGE_USE_READ, 1023 * MIB, MIB);
    image_uses_turn(*state, 2);
    image_uses_turned(*state);
    assert_true(image_uses_take(*state, 0, &id, &taken));
    assert_int_equal(taken.shift, 22);
    assert_int_equal(taken.regions[IMAGE_USE_READ][0], 2);
    assert_int_equal(taken.regions[IMAGE_USE_READ][255], 1);
    image_use_close(use);
}

static void used_images_come_in_the_order_of_their_ids(void **state)
{
    struct image_use *use[3];
    const uint64_t ids[] = {30, 10, 20};
    for (size_t i = 0; i < 3; i++) {
        struct image_use_stamp s;
        use[i] = image_uses_open(*state, ids[i], MIB);
        if (ids[i] == 20)
            continue;
        image_use_begin(use[i], &s, IMAGE_USE_READ, 0, 512);
        image_uses_turn(*state, 1);
        image_uses_turned(*state);
    }
    uint64_t id;
    assert_true(image_uses_take(*state, 0, &id, &taken));
    assert_int_equal(id, 10);
    assert_true(image_uses_take(*state, 10, &id, &taken));
    assert_int_equal(id, 30);
    assert_false(image_uses_take(*state, 30, &id, &taken));
    /* Counted are those, too, that did nothing. */
    id = 0;
    for (uint64_t next = 10; image_uses_next(*state, id, &id); next += 10)
        assert_int_equal(id, next);
    assert_int_equal(id, 30);
    assert_false(image_uses_next(*state, UINT64_MAX, &id));
    for (size_t i = 0; i < 3; i++)
        image_use_close(use[i]);
}

static void their_number_is_bounded(void **state)
{
    struct image_use *use[IMAGE_USES_MAX];
    for (size_t i = 0; i < IMAGE_USES_MAX; i++)
        assert_non_null(use[i] = image_uses_open(*state, 1 + i, MIB));
    assert_null(image_uses_open(*state, 10000, MIB));
    assert_ptr_equal(image_uses_open(*state, 5, MIB), use[4]);
    image_use_close(use[4]);
    image_use_close(use[9]);
    /* What nobody has open makes room, unless it has something to tell. */
    struct image_use *next = image_uses_open(*state, 10000, MIB);
    assert_non_null(next);
    assert_null(image_uses_open(*state, 10001, MIB));
    struct image_use_stamp s;
    image_use_begin(use[3], &s, IMAGE_USE_READ, 0, 512);
    image_uses_turn(*state, 1);
    image_uses_turned(*state);
    image_use_close(use[3]);
    assert_null(image_uses_open(*state, 10001, MIB));
    uint64_t id;
    assert_true(image_uses_take(*state, 0, &id, &taken));
    assert_non_null(image_uses_open(*state, 10001, MIB));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(requests_count_where_they_touch),
        TEST(latency_runs_from_turn_to_turn),
        TEST(requests_end_when_the_clock_says_so),
        TEST(every_operation_has_its_latencies),
        TEST(an_image_that_grew_has_larger_regions),
        TEST(used_images_come_in_the_order_of_their_ids),
        TEST(their_number_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
