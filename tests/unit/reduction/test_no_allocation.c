/* The data path does not allocate: counts what goes through the heap, that of
 * the compression and crypto libraries included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "node/pod/block_cache.h"
#include "node/reduction/dedup_index.h"
#include "node/reduction/fingerprint.h"
#include "node/reduction/pattern.h"
#include "node/reduction/record.h"
#include "tests/unit/reduction/data_kinds.h"

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);

static unsigned long allocations;

void *malloc(size_t bytes)
{
    allocations++;
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    allocations++;
    return __libc_calloc(count, bytes);
}

void *realloc(void *memory, size_t bytes)
{
    allocations++;
    return __libc_realloc(memory, bytes);
}

static void reduce_and_read_back(struct record_codec *codec, struct dedup_index *index,
                                 struct block_cache *cache, uint64_t *rng)
{
    static uint8_t data[RECORD_MAX_BLOCKS * RECORD_BLOCK_BYTES], record[RECORD_MAX_BYTES];
    for (uint64_t group = 1; group < 2000; group++) {
        make_data((enum data_kind)(next_random(rng) % DATA_KINDS), rng, data, sizeof data);
        const unsigned n = 1 + (unsigned)next_random(rng) % RECORD_MAX_BLOCKS;
        const void *blocks[RECORD_MAX_BLOCKS];
        for (unsigned i = 0; i < n; i++) {
            uint64_t ids[DEDUP_INDEX_CANDIDATES];
            uint32_t pattern;
            struct fingerprint fp;
            blocks[i] = data + (size_t)i * RECORD_BLOCK_BYTES;
            (void)pattern_detect(blocks[i], &pattern);
            fingerprint_block(group % 2 ? FINGERPRINT_XXH3_128 : FINGERPRINT_SHA256, blocks[i], &fp);
            (void)dedup_index_lookup(index, fingerprint_key(&fp), ids);
            dedup_index_insert(index, fingerprint_key(&fp), record_block_id(group, i));
        }
        const size_t length = record_encode(codec, (enum record_algorithm)(group % 3), group, blocks, n,
                                            next_random(rng) % 2, record, sizeof record);
        assert_int_equal(record_verify(record, length, group, NULL), 0);
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(record_decode_block(codec, record, length, i,
                                                 block_cache_put(cache, record_block_id(group, i), NULL),
                                                 NULL),
                             0);
    }
}

static void nothing_allocates_after_creation(void **state)
{
    (void)state;
    uint64_t rng = test_seed(__func__, 31);
    unsigned long before = allocations;
    struct record_codec *codec = record_codec_create();
    struct dedup_index *index = dedup_index_create(DEDUP_INDEX_MIN_BYTES, NULL);
    const struct block_cache_config config = {.budget_bytes = 1 << 20};
    struct block_cache *cache = block_cache_create(&config);
    assert_true(codec && index && cache);
    assert_true(allocations > before); /* the counter counts */
    before = allocations;
    reduce_and_read_back(codec, index, cache, &rng);
    assert_int_equal(allocations, before);
    block_cache_destroy(cache);
    dedup_index_destroy(index);
    record_codec_destroy(codec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_allocates_after_creation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
