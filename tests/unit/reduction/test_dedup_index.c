#include "node/reduction/dedup_index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/reduction/data_kinds.h"

enum {
    WAYS = DEDUP_INDEX_WAYS,
    SMALL = DEDUP_INDEX_MIN_BYTES
};

static int setup(void **state)
{
    *state = dedup_index_create(SMALL, NULL);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    dedup_index_destroy(*state);
    return 0;
}

/* Keys of the first bucket: its number comes from the high bits. */
static uint64_t key_in_first_bucket(uint64_t n)
{
    return n * 0x9e3779b97f4a7c15ull >> 40;
}

static bool names(struct dedup_index *index, uint64_t key, uint64_t id)
{
    uint64_t ids[DEDUP_INDEX_CANDIDATES];
    const unsigned n = dedup_index_lookup(index, key, ids);
    for (unsigned i = 0; i < n; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static struct dedup_index_stats stats_of(const struct dedup_index *index)
{
    struct dedup_index_stats stats;
    dedup_index_stats(index, &stats);
    return stats;
}

static void an_empty_index_names_nothing(void **state)
{
    uint64_t ids[DEDUP_INDEX_CANDIDATES];
    assert_int_equal(dedup_index_lookup(*state, 0, ids), 0);
    assert_int_equal(dedup_index_lookup(*state, UINT64_MAX, ids), 0);
    assert_int_equal(stats_of(*state).hits, 0);
    assert_int_equal(stats_of(*state).lookups, 2);
}

static void the_extremes_of_keys_and_ids_are_kept(void **state)
{
    const uint64_t largest = (1ull << DEDUP_INDEX_ID_BITS) - 1;
    dedup_index_insert(*state, 0, 0);
    dedup_index_insert(*state, UINT64_MAX, largest);
    uint64_t ids[DEDUP_INDEX_CANDIDATES];
    assert_int_equal(dedup_index_lookup(*state, 0, ids), 1);
    assert_int_equal(ids[0], 0);
    assert_int_equal(dedup_index_lookup(*state, UINT64_MAX, ids), 1);
    assert_true(ids[0] == largest);
}

static void a_pair_is_kept_once_and_removed_once(void **state)
{
    dedup_index_insert(*state, 5, 50);
    dedup_index_insert(*state, 5, 50);
    assert_int_equal(stats_of(*state).entries, 1);
    assert_false(dedup_index_remove(*state, 5, 51));
    assert_false(dedup_index_remove(*state, 6, 50));
    assert_true(dedup_index_remove(*state, 5, 50));
    assert_false(dedup_index_remove(*state, 5, 50));
    assert_false(names(*state, 5, 50));
    assert_int_equal(stats_of(*state).entries, 0);
}

static void ids_of_one_key_come_youngest_first_and_a_lookup_keeps_their_order(void **state)
{
    for (uint64_t id = 1; id <= 5; id++)
        dedup_index_insert(*state, 9, id);
    uint64_t ids[DEDUP_INDEX_CANDIDATES];
    for (int again = 0; again < 3; again++) {
        assert_int_equal(dedup_index_lookup(*state, 9, ids), DEDUP_INDEX_CANDIDATES);
        for (unsigned i = 0; i < DEDUP_INDEX_CANDIDATES; i++)
            assert_int_equal(ids[i], 5 - i);
    }
}

static void a_full_bucket_forgets_its_oldest(void **state)
{
    for (uint64_t n = 0; n < WAYS + 2; n++)
        dedup_index_insert(*state, key_in_first_bucket(n), n);
    assert_int_equal(stats_of(*state).entries, WAYS);
    assert_int_equal(stats_of(*state).evictions, 2);
    for (uint64_t n = 0; n < WAYS + 2; n++)
        assert_int_equal(names(*state, key_in_first_bucket(n), n), n >= 2);
}

static void an_entry_that_was_found_survives_a_flood_of_new_ones_then_fades(void **state)
{
    dedup_index_insert(*state, key_in_first_bucket(0), 1000);
    assert_true(names(*state, key_in_first_bucket(0), 1000));
    uint64_t n = 1;
    for (; n < 2 * WAYS; n++)
        dedup_index_insert(*state, key_in_first_bucket(n), n);
    assert_true(names(*state, key_in_first_bucket(0), 1000));
    for (; n < 12 * WAYS; n++)
        dedup_index_insert(*state, key_in_first_bucket(n), n);
    assert_false(names(*state, key_in_first_bucket(0), 1000));
}

static void new_entries_find_room_beside_protected_ones(void **state)
{
    for (uint64_t n = 0; n < WAYS; n++) {
        dedup_index_insert(*state, key_in_first_bucket(n), n);
        assert_true(names(*state, key_in_first_bucket(n), n)); /* protects it */
    }
    for (uint64_t n = WAYS; n < 6 * WAYS; n += 3) {
        for (uint64_t i = n; i < n + 3; i++)
            dedup_index_insert(*state, key_in_first_bucket(i), i);
        for (uint64_t i = n; i < n + 3; i++)
            assert_true(dedup_index_remove(*state, key_in_first_bucket(i), i));
        for (uint64_t i = n; i < n + 3; i++)
            dedup_index_insert(*state, key_in_first_bucket(i), i);
    }
}

static void keys_that_were_never_inserted_are_seldom_named(void **state)
{
    struct dedup_index *index = *state;
    uint64_t rng = test_seed(__func__, 3);
    for (int i = 0; i < 20000; i++)
        dedup_index_insert(index, next_random(&rng), (uint64_t)i);
    unsigned named = 0;
    uint64_t ids[DEDUP_INDEX_CANDIDATES];
    enum {
        TRIES = 2000000
    };
    for (int i = 0; i < TRIES; i++)
        named += dedup_index_lookup(index, next_random(&rng), ids) > 0;
    print_message("%u of %d unknown keys named\n", named, TRIES);
    assert_true(named < 100); /* 27 expected */
    assert_true(named > 0);
}

/* A model of one bucket: entries in order, those in front protected. */
struct model {
    struct {
        uint64_t key, id;
    } entry[WAYS + 1];
    unsigned used, shielded, wear;
};

static void model_put(struct model *m, unsigned at, uint64_t key, uint64_t id)
{
    memmove(&m->entry[at + 1], &m->entry[at], (m->used - at) * sizeof m->entry[0]);
    m->entry[at].key = key;
    m->entry[at].id = id;
    m->used++;
}

static void model_take(struct model *m, unsigned at)
{
    memmove(&m->entry[at], &m->entry[at + 1], (m->used - at - 1) * sizeof m->entry[0]);
    m->used--;
    m->shielded -= at < m->shielded;
}

static unsigned model_find(const struct model *m, uint64_t key)
{
    unsigned i = 0;
    while (i < m->used && m->entry[i].key != key)
        i++;
    return i;
}

static void a_bucket_behaves_as_segmented_lru(void **state)
{
    struct dedup_index *index = *state;
    uint64_t rng = test_seed(__func__, 17);
    struct model m = {0};
    for (int step = 0; step < 200000; step++) {
        const uint64_t n = next_random(&rng) % 14, key = key_in_first_bucket(n), id = n * 3;
        const unsigned at = model_find(&m, key);
        uint64_t ids[DEDUP_INDEX_CANDIDATES];
        switch (next_random(&rng) % 5) {
        case 0:
            assert_int_equal(dedup_index_remove(index, key, id), at < m.used);
            if (at < m.used)
                model_take(&m, at);
            break;
        case 1:
        case 2:
            assert_int_equal(dedup_index_lookup(index, key, ids), at < m.used);
            if (at < m.used) {
                assert_true(ids[0] == id);
                model_take(&m, at);
                model_put(&m, 0, key, id);
                m.shielded += m.shielded < 4;
            }
            break;
        default:
            dedup_index_insert(index, key, id);
            if (at < m.used)
                break;
            if (m.used == WAYS) {
                model_take(&m, WAYS - 1);
                if (++m.wear == 8) {
                    m.wear = 0;
                    m.shielded -= m.shielded > 0;
                }
            }
            model_put(&m, m.shielded, key, id);
        }
        assert_int_equal(stats_of(index).entries, m.used);
    }
}

static void counters_and_memory_add_up(void **state)
{
    struct dedup_index *index = *state;
    uint64_t rng = test_seed(__func__, 4);
    for (uint64_t i = 0; i < 30000; i++)
        dedup_index_insert(index, next_random(&rng), i);
    const struct dedup_index_stats s = stats_of(index);
    assert_int_equal(s.capacity, SMALL / 64 * WAYS);
    assert_int_equal(s.insertions, 30000);
    assert_int_equal(s.entries + s.evictions, 30000);
    assert_true(s.entries > s.capacity * 99 / 100); /* four times overfull: every way is in use */
    assert_in_range(s.memory_bytes, SMALL, SMALL + 256);
}

static size_t provided, released;
static void *provide(size_t bytes)
{
    provided += bytes;
    return large_memory_alloc(NULL, bytes);
}
static void give_back(void *memory, size_t bytes)
{
    released += bytes;
    large_memory_release(NULL, memory, bytes);
}
static void *refuse(size_t bytes)
{
    (void)bytes;
    return NULL;
}

static void memory_comes_from_the_provider_and_goes_back(void **state)
{
    (void)state;
    const struct large_memory memory = {provide, give_back}, none = {refuse, give_back};
    struct dedup_index *index = dedup_index_create(1 << 20, &memory);
    assert_non_null(index);
    assert_int_equal(provided, 1 << 20);
    dedup_index_insert(index, UINT64_MAX, 1);
    assert_true(names(index, UINT64_MAX, 1));
    dedup_index_destroy(index);
    assert_int_equal(released, provided);
    assert_null(dedup_index_create(1 << 20, &none));
}

int main(void)
{
#define WITH_INDEX(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_INDEX(an_empty_index_names_nothing),
        WITH_INDEX(the_extremes_of_keys_and_ids_are_kept),
        WITH_INDEX(a_pair_is_kept_once_and_removed_once),
        WITH_INDEX(ids_of_one_key_come_youngest_first_and_a_lookup_keeps_their_order),
        WITH_INDEX(a_full_bucket_forgets_its_oldest),
        WITH_INDEX(an_entry_that_was_found_survives_a_flood_of_new_ones_then_fades),
        WITH_INDEX(new_entries_find_room_beside_protected_ones),
        WITH_INDEX(keys_that_were_never_inserted_are_seldom_named),
        WITH_INDEX(a_bucket_behaves_as_segmented_lru),
        WITH_INDEX(counters_and_memory_add_up),
        cmocka_unit_test(memory_comes_from_the_provider_and_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
