#include "node/pod/block_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/reduction/data_kinds.h"

enum {
    BLOCK = BLOCK_CACHE_BLOCK_BYTES
};

static struct block_cache *make_cache(size_t budget_bytes, size_t max_pinned)
{
    const struct block_cache_config config = {.budget_bytes = budget_bytes, .max_pinned = max_pinned};
    struct block_cache *cache = block_cache_create(&config);
    assert_non_null(cache);
    return cache;
}

static struct block_cache_stats stats_of(const struct block_cache *cache)
{
    struct block_cache_stats stats;
    block_cache_stats(cache, &stats);
    return stats;
}

static void fill(uint8_t *block, uint64_t id)
{
    for (size_t i = 0; i < BLOCK; i += 8) {
        const uint64_t v = id * 0x9e3779b97f4a7c15ull + i;
        memcpy(block + i, &v, 8);
    }
}

static void put(struct block_cache *cache, uint64_t id)
{
    uint8_t block[BLOCK];
    fill(block, id);
    assert_non_null(block_cache_put(cache, id, block));
}

static bool holds(const struct block_cache *cache, uint64_t id)
{
    uint8_t expected[BLOCK];
    const void *block = block_cache_peek(cache, id);
    fill(expected, id);
    if (block)
        assert_memory_equal(block, expected, BLOCK);
    return block;
}

static void a_block_that_was_put_is_found_with_its_contents(void **state)
{
    (void)state;
    struct block_cache *cache = make_cache(1 << 20, 0);
    const uint64_t ids[] = {0, 1, 8, UINT64_MAX, 1ull << 51};
    for (unsigned i = 0; i < 5; i++) {
        assert_null(block_cache_get(cache, ids[i]));
        put(cache, ids[i]);
    }
    for (unsigned i = 0; i < 5; i++) {
        assert_true(holds(cache, ids[i]));
        assert_int_equal((uintptr_t)block_cache_get(cache, ids[i]) % BLOCK, 0);
    }
    assert_int_equal(stats_of(cache).hits, 5);
    assert_int_equal(stats_of(cache).misses, 5);
    assert_int_equal(stats_of(cache).blocks, 5);
    block_cache_destroy(cache);
}

static void a_second_put_returns_what_is_there(void **state)
{
    (void)state;
    struct block_cache *cache = make_cache(1 << 20, 0);
    uint8_t *room = block_cache_put(cache, 7, NULL);
    fill(room, 7);
    assert_ptr_equal(block_cache_put(cache, 7, NULL), room);
    put(cache, 7);
    assert_ptr_equal(block_cache_get(cache, 7), room);
    assert_int_equal(stats_of(cache).blocks, 1);
    assert_true(holds(cache, 7));
    block_cache_destroy(cache);
}

static void used_blocks_outlive_a_scan(void **state)
{
    (void)state;
    struct block_cache *cache = make_cache(1 << 20, 0);
    const uint64_t capacity = stats_of(cache).capacity;
    for (uint64_t id = 0; id < capacity / 4; id++)
        put(cache, id);
    for (uint64_t id = 1000000; id < 1000000 + 4 * capacity; id++) {
        for (uint64_t hot = 0; hot < capacity / 4 && id % (capacity / 4) == 0; hot++)
            assert_non_null(block_cache_get(cache, hot));
        put(cache, id);
    }
    for (uint64_t id = 0; id < capacity / 4; id++)
        assert_true(holds(cache, id));
    assert_int_equal(stats_of(cache).blocks, capacity);
    block_cache_destroy(cache);
}

static void a_pinned_block_stays_and_keeps_its_place(void **state)
{
    (void)state;
    struct block_cache *cache = make_cache(1 << 20, 0);
    const uint64_t capacity = stats_of(cache).capacity;
    put(cache, 1);
    const void *block = block_cache_get(cache, 1);
    assert_true(block_cache_pin(cache, block));
    assert_true(block_cache_pin(cache, block));
    for (uint64_t id = 2; id < 5 * capacity; id++)
        put(cache, id);
    assert_ptr_equal(block_cache_peek(cache, 1), block);
    block_cache_unpin(cache, block);
    for (uint64_t id = 2; id < 5 * capacity; id++)
        put(cache, id + 5 * capacity);
    assert_true(holds(cache, 1));
    block_cache_unpin(cache, block);
    for (uint64_t id = 2; id < 5 * capacity; id++)
        put(cache, id + 10 * capacity);
    assert_false(holds(cache, 1));
    block_cache_destroy(cache);
}

static void a_dropped_block_keeps_its_bytes_until_the_last_unpin(void **state)
{
    (void)state;
    struct block_cache *cache = make_cache(1 << 20, 0);
    const uint64_t capacity = stats_of(cache).capacity;
    put(cache, 1);
    const void *block = block_cache_get(cache, 1);
    assert_true(block_cache_pin(cache, block));
    block_cache_drop(cache, 1);
    assert_false(holds(cache, 1));
    for (uint64_t id = 2; id < 3 * capacity; id++)
        put(cache, id);
    uint8_t expected[BLOCK];
    fill(expected, 1);
    assert_memory_equal(block, expected, BLOCK);
    assert_int_equal(stats_of(cache).pinned, 1);
    assert_int_equal(stats_of(cache).blocks, capacity - 1);
    block_cache_unpin(cache, block);
    assert_int_equal(stats_of(cache).pinned, 0);
    assert_ptr_equal(block_cache_put(cache, 1, NULL), block); /* the place is free again */
    block_cache_destroy(cache);
}

static void pins_are_bounded_and_one_block_is_always_left_to_evict(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++) {
        struct block_cache *cache = make_cache(BLOCK_CACHE_MIN_BYTES, all ? SIZE_MAX : 0);
        const uint64_t capacity = stats_of(cache).capacity, most = all ? capacity - 1 : capacity / 2;
        for (uint64_t id = 0; id < capacity; id++) {
            put(cache, id);
            assert_int_equal(block_cache_pin(cache, block_cache_get(cache, id)), id < most);
        }
        for (uint64_t id = 100; id < 200; id++)
            put(cache, id);
        for (uint64_t id = 0; id < most; id++) {
            assert_true(holds(cache, id));
            block_cache_unpin(cache, block_cache_peek(cache, id));
        }
        block_cache_destroy(cache);
    }
}

static void the_budget_holds_everything(void **state)
{
    (void)state;
    struct block_cache *cache = make_cache(10000000, 0);
    for (uint64_t id = 0; id < 4000; id++)
        put(cache, id);
    const struct block_cache_stats s = stats_of(cache);
    assert_true(s.memory_bytes <= 10000000);
    assert_true(s.capacity * BLOCK >= 9850000);
    assert_int_equal(s.blocks, s.capacity);
    assert_int_equal(s.insertions - s.evictions, s.blocks);
    block_cache_destroy(cache);
}

/* Random operations against a plain table of which ids must, and may, be there. */
static void random_operations_agree_with_a_model(void **state)
{
    (void)state;
    uint64_t rng = test_seed(__func__, 23);
    enum {
        IDS = 300,
        OPS = 300000
    };
    struct block_cache *cache = make_cache(BLOCK_CACHE_MIN_BYTES * 8, 0);
    const uint64_t stride = 1 + next_random(&rng) % 64;
    const void *pinned[IDS] = {0};
    unsigned pins[IDS] = {0};
    bool put_once[IDS] = {0};
    for (int op = 0; op < OPS; op++) {
        const uint64_t n = next_random(&rng) % IDS, id = n * stride;
        switch (next_random(&rng) % 8) {
        case 0:
            block_cache_drop(cache, id);
            assert_null(block_cache_peek(cache, id));
            put_once[n] = false;
            break;
        case 1: {
            const void *block = block_cache_get(cache, id);
            if (block && (!pins[n] || pinned[n] == block) && block_cache_pin(cache, block)) {
                pinned[n] = block;
                pins[n]++;
            }
            break;
        }
        case 2:
        case 3:
            if (pins[n]) {
                uint8_t expected[BLOCK];
                fill(expected, id);
                assert_memory_equal(pinned[n], expected, BLOCK);
                block_cache_unpin(cache, pinned[n]);
                pins[n]--;
            }
            break;
        case 4:
            if (!put_once[n])
                assert_null(block_cache_get(cache, id)); /* dropped or never put */
            else
                (void)holds(cache, id);
            break;
        default:
            put(cache, id);
            put_once[n] = true;
            assert_true(holds(cache, id));
        }
    }
    const struct block_cache_stats s = stats_of(cache);
    uint64_t there = 0, held = 0;
    for (uint64_t n = 0; n < IDS; n++) {
        there += holds(cache, n * stride);
        held += pins[n] > 0;
        for (; pins[n] > 0; pins[n]--)
            block_cache_unpin(cache, pinned[n]);
    }
    assert_int_equal(there, s.blocks);
    assert_int_equal(held, s.pinned);
    assert_int_equal(stats_of(cache).pinned, 0);
    assert_true(s.evictions > 1000);
    block_cache_destroy(cache);
}

static void *refuse(size_t bytes)
{
    (void)bytes;
    return NULL;
}

static void without_memory_there_is_no_cache(void **state)
{
    (void)state;
    const struct large_memory none = {.alloc = refuse};
    const struct block_cache_config config = {.budget_bytes = 1 << 20, .memory = &none};
    assert_null(block_cache_create(&config));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_that_was_put_is_found_with_its_contents),
        cmocka_unit_test(a_second_put_returns_what_is_there),
        cmocka_unit_test(used_blocks_outlive_a_scan),
        cmocka_unit_test(a_pinned_block_stays_and_keeps_its_place),
        cmocka_unit_test(a_dropped_block_keeps_its_bytes_until_the_last_unpin),
        cmocka_unit_test(pins_are_bounded_and_one_block_is_always_left_to_evict),
        cmocka_unit_test(the_budget_holds_everything),
        cmocka_unit_test(random_operations_agree_with_a_model),
        cmocka_unit_test(without_memory_there_is_no_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
