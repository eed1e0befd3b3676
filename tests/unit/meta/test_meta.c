#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/prng.h"
#include "node/meta/run.h"
#include "tests/unit/meta/memory_flash.h"

/* More pages than the smallest cache holds (about 240). */
enum {
    MAPS = 500,
    FLATS = 150,
    PAGES = MAPS + FLATS,
    RUNS = 32,
    MERGES = 200,
    STEPS = 6000,
    SEEDS = 12
};

/* What the pages must hold. */
struct truth {
    bool exists[PAGES];
    uint64_t slots[PAGES][META_SLOTS];
    uint64_t next_map; /* ids of map pages are never given twice */
    uint64_t map_id[MAPS];
};

struct model {
    struct prng prng;
    struct memory_flash flash;
    struct meta *meta;
    struct truth now, cut, durable; /* of the last cut, and of the last one that is complete */
    struct runs {
        struct place first[RUNS];
        uint64_t seq[RUNS];
        size_t count;
    } runs, durable_runs;
    uint64_t seq;
    bool cutting;
};

static uint64_t below(struct model *m, uint64_t n)
{
    return prng_below(&m->prng, n);
}

static struct meta_key key_of(const struct truth *t, unsigned page)
{
    return page < MAPS ? meta_key(META_MAP, t->map_id[page], 0)
                       : meta_key(page % 2 ? META_L2P : META_REF, page - MAPS, 0);
}

static struct meta *new_meta(struct model *m)
{
    const struct meta_config config = {
        .cache_bytes = 1 << 20, .place_ref = memory_flash_ref, .user = &m->flash};
    return meta_create(&config);
}

static void check_page(struct model *m, const struct truth *t, struct meta *meta, unsigned page)
{
    static const uint64_t zero[META_SLOTS];
    const struct meta_key key = key_of(t, page);
    if (page < MAPS)
        assert_int_equal(meta_exists(meta, key), t->exists[page]);
    assert_memory_equal(memory_flash_slots(&m->flash, meta, key), t->exists[page] ? t->slots[page] : zero,
                        sizeof zero);
}

static void check_all(struct model *m, const struct truth *t, struct meta *meta)
{
    for (unsigned p = 0; p < PAGES; p++) {
        check_page(m, t, meta, p);
        meta_shrink(meta);
    }
}

/* ---- operations */

static void do_set(struct model *m)
{
    const unsigned page = (unsigned)below(m, PAGES), slot = (unsigned)below(m, META_SLOTS);
    const bool zero = page >= MAPS && below(m, 2);
    const uint64_t value = zero ? 0 : prng_next(&m->prng);
    struct meta_key key = key_of(&m->now, page);
    if (!m->now.exists[page]) {
        m->now.exists[page] = true;
        memset(m->now.slots[page], 0, sizeof m->now.slots[page]);
        if (page < MAPS)
            m->now.map_id[page] = m->now.next_map++;
        key = key_of(&m->now, page);
    }
    const unsigned n = below(m, 8) ? 1 : (unsigned)below(m, META_SLOTS - slot) + 1;
    for (unsigned i = 0; i < n; i++) {
        meta_set(m->meta, (struct meta_key){key.v | (slot + i)}, value + (value ? i : 0));
        m->now.slots[page][slot + i] = value + (value ? i : 0);
    }
}

static void do_copy(struct model *m)
{
    const unsigned from = (unsigned)below(m, MAPS), to = (unsigned)below(m, MAPS);
    if (m->now.exists[to])
        return;
    const struct meta_key from_key = key_of(&m->now, from);
    m->now.map_id[to] = m->now.next_map++;
    meta_copy(m->meta, key_of(&m->now, to), from_key);
    m->now.exists[to] = m->now.exists[from]; /* a copy of nothing is nothing */
    for (unsigned i = 0; i < META_SLOTS; i++)
        m->now.slots[to][i] = m->now.slots[from][i] & ~META_OWN;
}

static void do_drop(struct model *m)
{
    const unsigned page = (unsigned)below(m, MAPS);
    meta_drop(m->meta, key_of(&m->now, page));
    m->now.exists[page] = false;
}

static void do_get(struct model *m)
{
    const unsigned page = (unsigned)below(m, PAGES), slot = (unsigned)below(m, META_SLOTS);
    const struct meta_key key = {key_of(&m->now, page).v | slot};
    uint64_t value = 1;
    if (!meta_get(m->meta, key, &value)) {
        assert_null(meta_slots(m->meta, meta_page_of(key)));
        (void)memory_flash_slots(&m->flash, m->meta, meta_page_of(key));
        assert_true(meta_get(m->meta, key, &value));
    }
    assert_int_equal(value, m->now.exists[page] ? m->now.slots[page][slot] : 0);
}

static void finish_cut(struct model *m)
{
    if (!m->cutting)
        return;
    memory_flash_flush(&m->flash);
    meta_cut_done(m->meta);
    m->durable = m->cut;
    m->durable_runs = m->runs;
    m->cutting = false;
}

static size_t merge_candidates(struct meta *meta, bool (*sparse)(void *user, struct place base), void *user,
                               struct meta_key *pages, size_t max)
{
    struct meta_pick pick = {.sparse = sparse, .user = user, .pages = pages, .max = max};
    meta_pick_begin(meta, &pick);
    while (!meta_pick_step(meta, &pick, 100))
        ;
    return pick.count;
}

static void do_cut(struct model *m)
{
    static struct run_writer run;
    struct meta_key merge[MERGES];
    struct meta_stats stats;
    finish_cut(m);
    const bool full = m->runs.count == 0 || m->runs.count == RUNS || below(m, 6) == 0;
    const size_t n = merge_candidates(m->meta, NULL, NULL, merge, 1 + below(m, MERGES));
    for (size_t i = 0; i < n; i++)
        (void)memory_flash_slots(&m->flash, m->meta, merge[i]);
    if (full)
        m->runs.count = 0;
    run_begin(&run, &m->flash.sink, ++m->seq);
    meta_cut(m->meta, &run, &m->flash.sink, merge, n, full, m->seq);
    run_end(&run);
    m->runs.first[m->runs.count] = run.first;
    m->runs.seq[m->runs.count++] = m->seq;
    m->cut = m->now;
    m->cutting = true;
    meta_stats(m->meta, &stats);
    assert_int_equal(stats.changed_slots, 0);
}

static void put_base(void *user, struct meta_key page, struct place base, bool clear_own)
{
    meta_restore_base(user, page, base, clear_own);
}
static void put_slot(void *user, struct meta_key key, uint64_t value)
{
    meta_restore_slot(user, key, value);
}
static void put_drop(void *user, struct meta_key page)
{
    meta_restore_drop(user, page);
}
static int put_blob(void *user, uint8_t type, uint64_t id, const uint8_t *data, size_t bytes,
                    struct ps_error *err)
{
    (void)user, (void)type, (void)id, (void)data, (void)bytes, (void)err;
    return PS_EINTERNAL;
}

static void restore_from(const struct model *m, struct meta *meta, const struct runs *runs)
{
    const struct run_visitor visitor = {put_base, put_slot, put_drop, put_blob, meta};
    for (size_t i = 0; i < runs->count; i++) {
        struct place at = runs->first[i];
        for (uint32_t chunk = 0; !place_is_none(at); chunk++) {
            struct place next;
            assert_int_equal(run_visit(memory_flash_read(&m->flash, at), place_len(at), runs->seq[i], chunk,
                                       &visitor, &next, NULL),
                             0);
            at = next;
        }
    }
    meta_restore_done(meta);
}

/* Power is cut: what the last complete checkpoint holds comes back, and life goes on from there. */
static void do_crash(struct model *m)
{
    if (m->durable_runs.count == 0)
        return;
    meta_destroy(m->meta);
    memset(m->flash.refs, 0, MEMORY_FLASH_BYTES / PLACE_UNIT * sizeof m->flash.refs[0]);
    m->flash.used = m->flash.durable; /* what was under way is overwritten */
    m->meta = new_meta(m);
    restore_from(m, m->meta, &m->durable_runs);
    m->runs = m->durable_runs;
    m->now = m->durable;
    m->cutting = false;
}

/* A restored table counts the same references as the one that lived through it all. */
static void do_compare(struct model *m)
{
    finish_cut(m);
    do_cut(m);
    finish_cut(m);
    const size_t n = m->flash.used / PLACE_UNIT;
    int32_t *live = calloc(n, sizeof *live);
    memcpy(live, m->flash.refs, n * sizeof *live);
    memset(m->flash.refs, 0, n * sizeof *live);
    struct meta *twin = new_meta(m);
    restore_from(m, twin, &m->runs);
    assert_memory_equal(m->flash.refs, live, n * sizeof *live);
    check_all(m, &m->now, twin);
    struct meta_stats a, b;
    meta_stats(m->meta, &a);
    meta_stats(twin, &b);
    assert_int_equal(a.pages, b.pages);
    assert_int_equal(a.delta_slots, b.delta_slots);
    meta_destroy(twin);
    memcpy(m->flash.refs, live, n * sizeof *live);
    free(live);
}

static void one_step(struct model *m)
{
    const uint64_t dice = below(m, 1000);
    if (dice < 600)
        do_set(m);
    else if (dice < 680)
        do_copy(m);
    else if (dice < 730)
        do_drop(m);
    else if (dice < 900)
        do_get(m);
    else if (dice < 950)
        check_page(m, &m->now, m->meta, (unsigned)below(m, PAGES));
    else if (dice < 970)
        meta_shrink(m->meta);
    else if (dice < 980)
        finish_cut(m);
    else if (dice < 994)
        do_cut(m);
    else if (dice < 997)
        do_crash(m);
    else
        do_compare(m);
}

static void run_seed(uint64_t seed)
{
    struct model *m = calloc(1, sizeof *m);
    (void)printf("meta model: seed %llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    prng_seed(&m->prng, seed);
    memory_flash_init(&m->flash);
    m->meta = new_meta(m);
    m->now.next_map = 1;
    for (unsigned step = 0; step < STEPS && m->flash.used < MEMORY_FLASH_BYTES - (4 << 20); step++)
        one_step(m);
    finish_cut(m);
    check_all(m, &m->now, m->meta);
    do_compare(m);
    do_crash(m);
    check_all(m, &m->now, m->meta);
    meta_destroy(m->meta);
    memory_flash_free(&m->flash);
    free(m);
}

static void random_changes_cuts_and_crashes_leave_what_the_model_says(void **state)
{
    (void)state;
    const char *one = getenv("META_MODEL_SEED");
    if (one) {
        run_seed(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
}

/* ---- directed */

struct scene {
    struct memory_flash flash;
    struct meta *meta;
    struct run_writer run;
    uint64_t seq, fillers;
};

static int setup(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    memory_flash_init(&s->flash);
    const struct meta_config config = {
        .cache_bytes = 1 << 20, .place_ref = memory_flash_ref, .user = &s->flash};
    s->meta = meta_create(&config);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct scene *s = *state;
    meta_destroy(s->meta);
    memory_flash_free(&s->flash);
    free(s);
    return 0;
}

static struct meta_key map_page(uint64_t page)
{
    return meta_key(META_MAP, page, 0);
}

static void cut(struct scene *s, const struct meta_key *merge, size_t n, bool full)
{
    run_begin(&s->run, &s->flash.sink, ++s->seq);
    meta_cut(s->meta, &s->run, &s->flash.sink, merge, n, full, s->seq);
    run_end(&s->run);
}

static void cut_and_finish(struct scene *s, const struct meta_key *merge, size_t n, bool full)
{
    cut(s, merge, n, full);
    memory_flash_flush(&s->flash);
    meta_cut_done(s->meta);
}

/* Makes the cache overflow, so that every page that may go goes. */
static void evict(struct scene *s)
{
    for (uint64_t i = 0; i < 300; i++)
        meta_set(s->meta, meta_key(META_REF, 1000 + s->fillers++, 0), 1);
    meta_shrink(s->meta);
}

static void what_was_never_set_is_zero_and_does_not_exist(void **state)
{
    struct scene *s = *state;
    uint64_t value = 7;
    assert_true(meta_get(s->meta, meta_key(META_L2P, 5, 6), &value));
    assert_int_equal(value, 0);
    assert_int_equal(meta_slots(s->meta, map_page(1))[511], 0);
    assert_false(meta_exists(s->meta, map_page(1)));
    meta_drop(s->meta, map_page(1));
    meta_pin(s->meta, map_page(1));
    meta_unpin(s->meta, map_page(1));
}

static void a_copy_owns_nothing_and_goes_its_own_way(void **state)
{
    struct scene *s = *state;
    meta_set(s->meta, meta_key(META_MAP, 1, 3), META_OWN | 8);
    meta_copy(s->meta, map_page(2), map_page(1));
    meta_set(s->meta, meta_key(META_MAP, 2, 4), META_OWN | 9);
    assert_int_equal(meta_slots(s->meta, map_page(2))[3], 8);
    assert_int_equal(meta_slots(s->meta, map_page(2))[4], META_OWN | 9);
    assert_int_equal(meta_slots(s->meta, map_page(1))[3], META_OWN | 8);
    assert_int_equal(meta_slots(s->meta, map_page(1))[4], 0);
}

static void copies_share_one_record_until_each_is_merged(void **state)
{
    struct scene *s = *state;
    const struct meta_key one = map_page(1), two = map_page(2);
    meta_set(s->meta, meta_key(META_MAP, 1, 3), META_OWN | 8);
    cut_and_finish(s, &one, 1, true);
    const struct place base = {(uint64_t)1 << 11 | place_len(s->run.first) / PLACE_UNIT};
    assert_int_equal(s->flash.refs[place_addr(base) / PLACE_UNIT], 1);
    meta_copy(s->meta, two, one);
    assert_int_equal(s->flash.refs[1], 2);
    evict(s);
    assert_null(meta_slots(s->meta, two));
    assert_int_equal(memory_flash_slots(&s->flash, s->meta, two)[3], 8); /* from the other's record */
    cut_and_finish(s, &two, 1, false);
    assert_int_equal(s->flash.refs[1], 1);
    meta_drop(s->meta, one);
    assert_int_equal(s->flash.refs[1], 0);
    evict(s);
    assert_int_equal(memory_flash_slots(&s->flash, s->meta, two)[3], 8);
}

static void pages_are_forgotten_within_the_budget_but_pinned_ones_stay(void **state)
{
    struct scene *s = *state;
    struct meta_key pages[400];
    for (unsigned i = 0; i < 400; i++) {
        pages[i] = map_page(i + 1);
        meta_set(s->meta, pages[i], i + 1);
    }
    cut_and_finish(s, pages, 400, true);
    meta_pin(s->meta, pages[0]);
    meta_shrink(s->meta);
    struct meta_stats stats;
    meta_stats(s->meta, &stats);
    assert_true(stats.resident > 200 && stats.resident < 256);
    assert_non_null(meta_slots(s->meta, pages[0]));
    assert_null(meta_slots(s->meta, pages[1]));
    assert_non_null(meta_slots(s->meta, pages[399])); /* used last */
    meta_unpin(s->meta, pages[0]);
    for (unsigned i = 1; i < 400; i++)
        (void)memory_flash_slots(&s->flash, s->meta, pages[i]);
    meta_shrink(s->meta);
    assert_null(meta_slots(s->meta, pages[0]));
}

/* A burst of pages must not keep its memory for ever. */
static void memory_beyond_the_budget_goes_back_to_the_system(void **state)
{
    struct scene *s = *state;
    struct meta_key pages[2000];
    struct meta_stats before, after;
    for (unsigned i = 0; i < 2000; i++) {
        pages[i] = map_page(i + 1);
        meta_set(s->meta, pages[i], i + 1);
    }
    meta_stats(s->meta, &before);
    cut_and_finish(s, pages, 2000, true);
    meta_shrink(s->meta);
    meta_stats(s->meta, &after);
    assert_true(before.memory_bytes > 8u << 20);
    assert_true(after.memory_bytes < 2u << 20);
}

static void pages_of_a_cut_under_way_stay_in_memory_and_their_copies_too(void **state)
{
    struct scene *s = *state;
    const struct meta_key one = map_page(1), two = map_page(2);
    meta_set(s->meta, one, 8);
    cut(s, &one, 1, true);
    meta_copy(s->meta, two, one);
    evict(s);
    assert_int_equal(meta_slots(s->meta, one)[0], 8);
    assert_int_equal(meta_slots(s->meta, two)[0], 8);
    memory_flash_flush(&s->flash);
    meta_cut_done(s->meta);
    evict(s);
    assert_null(meta_slots(s->meta, one));
    assert_null(meta_slots(s->meta, two));
}

/* The pins of a cut belong to the page that was written, not to a later one of its name. */
static void a_page_dropped_and_made_anew_during_a_cut_can_be_forgotten_and_pinned(void **state)
{
    struct scene *s = *state;
    const struct meta_key one = map_page(1);
    meta_set(s->meta, one, 8);
    cut(s, &one, 1, true);
    meta_drop(s->meta, one);
    meta_set(s->meta, one, 9);
    memory_flash_flush(&s->flash);
    meta_cut_done(s->meta);
    cut_and_finish(s, &one, 1, false);
    evict(s);
    assert_null(meta_slots(s->meta, one));
    assert_int_equal(memory_flash_slots(&s->flash, s->meta, one)[0], 9);
}

static void changes_need_no_page_in_memory(void **state)
{
    struct scene *s = *state;
    const struct meta_key one = map_page(1);
    meta_set(s->meta, one, 8);
    meta_set(s->meta, (struct meta_key){one.v | 9}, META_OWN | 7);
    cut_and_finish(s, &one, 1, true);
    evict(s);
    uint64_t value = 0;
    assert_false(meta_get(s->meta, one, &value));
    for (unsigned slot = 20; slot > 10; slot--) /* in any order */
        meta_set(s->meta, (struct meta_key){one.v | slot}, slot);
    meta_set(s->meta, (struct meta_key){one.v | 15}, META_OWN | 1000);
    assert_true(meta_get(s->meta, (struct meta_key){one.v | 15}, &value));
    assert_int_equal(value, META_OWN | 1000);
    assert_false(meta_get(s->meta, one, &value));
    meta_copy(s->meta, map_page(2), one);
    const uint64_t *slots = memory_flash_slots(&s->flash, s->meta, map_page(2));
    assert_true(slots[0] == 8 && slots[9] == 7 && slots[11] == 11 && slots[15] == 1000 && slots[20] == 20);
    slots = memory_flash_slots(&s->flash, s->meta, one);
    assert_true(slots[0] == 8 && slots[9] == (META_OWN | 7) && slots[15] == (META_OWN | 1000));
}

static void a_late_load_of_a_page_that_moved_does_nothing(void **state)
{
    struct scene *s = *state;
    const struct meta_key one = map_page(1);
    meta_set(s->meta, one, 8);
    cut_and_finish(s, &one, 1, true);
    evict(s);
    const struct place old = meta_load_place(s->meta, one);
    uint8_t record[PAGE_RECORD_MAX];
    memcpy(record, memory_flash_read(&s->flash, old), place_len(old));
    (void)memory_flash_slots(&s->flash, s->meta, one);
    assert_true(place_is_none(meta_load_place(s->meta, one))); /* it is there */
    meta_set(s->meta, one, 9);
    cut_and_finish(s, &one, 1, false);
    evict(s);
    assert_int_equal(meta_load(s->meta, one, old, record, place_len(old), NULL), 0);
    assert_null(meta_slots(s->meta, one));
    assert_int_equal(memory_flash_slots(&s->flash, s->meta, one)[0], 9);
    meta_drop(s->meta, one);
    assert_int_equal(meta_load(s->meta, one, old, record, place_len(old), NULL), 0);
    assert_false(meta_exists(s->meta, one));
}

static void a_damaged_or_foreign_record_is_refused(void **state)
{
    struct scene *s = *state;
    struct meta_key pages[2] = {map_page(1), meta_key(META_L2P, 1, 0)};
    uint8_t record[PAGE_RECORD_MAX];
    struct ps_error err = {0};
    meta_set(s->meta, pages[0], 8);
    meta_set(s->meta, pages[1], 9);
    cut_and_finish(s, pages, 2, true);
    meta_copy(s->meta, map_page(2), pages[0]);
    evict(s);
    const struct place place = meta_load_place(s->meta, pages[0]), other = meta_load_place(s->meta, pages[1]);
    memcpy(record, memory_flash_read(&s->flash, place), place_len(place));
    record[60] ^= 1;
    assert_int_equal(meta_load(s->meta, pages[0], place, record, place_len(place), &err), PS_EDAMAGED);
    assert_true(err.detail[0]);
    assert_int_equal(
        meta_load(s->meta, pages[0], place, memory_flash_read(&s->flash, other), place_len(other), NULL),
        PS_EDAMAGED);
    /* A copy accepts its source's record, but not one of another kind, nor a stump. */
    assert_int_equal(
        meta_load(s->meta, map_page(2), place, memory_flash_read(&s->flash, other), place_len(other), NULL),
        PS_EDAMAGED);
    assert_int_equal(meta_load(s->meta, map_page(2), place, record, 10, NULL), PS_EDAMAGED);
    assert_null(meta_slots(s->meta, map_page(2)));
    assert_int_equal(memory_flash_slots(&s->flash, s->meta, map_page(2))[0], 8);
}

static bool is_place(void *user, struct place base)
{
    return base.v == ((struct place *)user)->v;
}

static void merge_candidates_are_full_pages_and_sparse_ones(void **state)
{
    struct scene *s = *state;
    struct meta_key merge[8], one = map_page(1);
    meta_set(s->meta, one, 8);
    cut_and_finish(s, &one, 1, true);
    for (unsigned i = 0; i < 128; i++)
        meta_set(s->meta, meta_key(META_MAP, 2, i), i + 1);
    for (unsigned i = 0; i < 127; i++)
        meta_set(s->meta, meta_key(META_MAP, 3, i), i + 1);
    assert_int_equal(merge_candidates(s->meta, NULL, NULL, merge, 8), 1);
    assert_int_equal(merge[0].v, map_page(2).v);
    evict(s);
    struct place base = meta_load_place(s->meta, one);
    assert_int_equal(merge_candidates(s->meta, is_place, &base, merge, 8), 2);
    assert_int_equal(merge_candidates(s->meta, is_place, &base, merge, 1), 1);
}

static void deltas_beyond_their_limit_are_merged_from_the_fullest_pages_on(void **state)
{
    struct scene *s = *state;
    static struct meta_key merge[1000];
    struct meta_stats stats;
    /* The limit: an eighth of 1 MiB in changes of 16 bytes, 8,192. */
    for (unsigned page = 1; page <= 900; page++)
        for (unsigned i = 0; i < 5 + page / 90; i++)
            meta_set(s->meta, meta_key(META_MAP, page, i), i + 1);
    meta_stats(s->meta, &stats);
    assert_true(stats.delta_slots > 8192);
    const size_t n = merge_candidates(s->meta, NULL, NULL, merge, 1000);
    uint64_t merged = 0, least = META_SLOTS;
    for (size_t i = 0; i < n; i++) {
        const uint64_t dirty = 5 + meta_page_number(merge[i]) / 90;
        merged += dirty;
        least = dirty < least ? dirty : least;
    }
    assert_true(stats.delta_slots - merged <= 4096);
    assert_true(n < 900 && least > 5); /* the emptiest stay */
    cut_and_finish(s, merge, n, true);
    meta_stats(s->meta, &stats);
    assert_true(stats.delta_slots <= 4096);
}

static int compare_keys(const void *a, const void *b)
{
    const uint64_t x = ((const struct meta_key *)a)->v, y = ((const struct meta_key *)b)->v;
    return x < y ? -1 : x > y;
}

/* Every 100th page has as many changes as make it a candidate. */
static void make_pages(struct scene *s, unsigned first, unsigned last)
{
    for (unsigned page = first; page <= last; page++)
        for (unsigned i = 0; i < (page % 100 ? 1 : 128); i++)
            meta_set(s->meta, meta_key(META_L2P, page, i), i + 1);
}

/* So that a pod of millions of pages can do other things meanwhile, which make pages and drop others. */
static void candidates_are_picked_in_steps_and_none_twice(void **state)
{
    struct scene *s = *state;
    static struct meta_key merge[1000];
    enum {
        BUCKETS = 16
    };
    make_pages(s, 1, 1000);
    struct meta_pick pick = {.pages = merge, .max = 1000};
    meta_pick_begin(s->meta, &pick);
    unsigned steps = 0;
    while (!meta_pick_step(s->meta, &pick, BUCKETS))
        if (++steps == 1000 / BUCKETS / 2) /* halfway the table grows */
            make_pages(s, 1001, 3000);
    assert_true(steps > 3000 / BUCKETS);
    assert_int_equal(pick.count, 30);
    qsort(merge, pick.count, sizeof merge[0], compare_keys);
    for (size_t i = 0; i < pick.count; i++)
        assert_int_equal(meta_page_number(merge[i]), 100 * (i + 1));
}

static void a_flat_page_of_zeroes_goes_when_it_is_merged_and_a_map_page_stays(void **state)
{
    struct scene *s = *state;
    struct meta_key pages[3] = {map_page(1), meta_key(META_REF, 1, 0), meta_key(META_L2P, 1, 0)};
    for (int i = 0; i < 3; i++) {
        meta_set(s->meta, pages[i], 8);
        meta_set(s->meta, pages[i], 0);
    }
    meta_pin(s->meta, pages[2]);
    cut_and_finish(s, pages, 3, true);
    assert_true(meta_exists(s->meta, pages[0]));
    assert_false(meta_exists(s->meta, pages[1]));
    assert_true(meta_exists(s->meta, pages[2]));
}

static void count_page(void *user, struct meta_key page)
{
    assert_int_equal(meta_kind_of(page), META_L2P);
    *(uint64_t *)user += meta_page_number(page);
}

static void each_page_of_a_kind_is_visited_once(void **state)
{
    struct scene *s = *state;
    uint64_t sum = 0;
    for (unsigned i = 1; i <= 3000; i++) /* the table grows under them */
        meta_set(s->meta, meta_key(i % 2 ? META_L2P : META_REF, i, 5), 1);
    meta_each_page(s->meta, META_L2P, count_page, &sum);
    assert_int_equal(sum, 1500 * 1500);
}

static void count_all(void *user, struct meta_key page)
{
    uint64_t *sums = user;
    sums[meta_kind_of(page)] += meta_page_number(page);
}

static void all_pages_are_visited_once_bit_by_bit(void **state)
{
    struct scene *s = *state;
    uint64_t sums[16] = {0};
    size_t at = 0, bits = 0;
    for (unsigned i = 1; i <= 3000; i++)
        meta_set(s->meta, meta_key(i % 2 ? META_L2P : META_REF, i, 5), 1);
    while (meta_some_pages(s->meta, &at, 100, count_all, sums))
        bits++;
    assert_int_equal(sums[META_L2P], 1500 * 1500);
    assert_int_equal(sums[META_REF], 1500 * 1501);
    assert_int_equal(sums[META_MAP], 0);
    assert_int_equal(bits, (4096 + 99) / 100); /* a table that is at most full */
}

static void what_is_taken_apart_bit_by_bit_is_gone_at_the_end(void **state)
{
    (void)state;
    const struct meta_config config = {.cache_bytes = 1 << 20, .pages = 3000};
    struct meta *meta = meta_create(&config);
    struct meta_stats stats;
    meta_stats(meta, &stats);
    const uint64_t empty = stats.memory_bytes;
    for (unsigned i = 1; i <= 3000; i++)
        meta_set(meta, meta_key(META_MAP, i, i % META_SLOTS), i);
    meta_shrink(meta);
    meta_restore_slot(meta, meta_key(META_MAP, 3001, 7), 1);
    meta_stats(meta, &stats);
    /* The table did not grow. */
    assert_true(empty >= 4096 * sizeof(void *) && empty < 5000 * sizeof(void *));
    assert_true(stats.pages == 3001 && stats.delta_slots > 0);
    unsigned steps = 1;
    while (!meta_destroy_step(meta, 64)) /* what it leaves is told by the sanitizer */
        steps++;
    assert_int_equal(steps, 4096 / 64);
}

static void what_is_lent_is_taken_from_pages_in_memory(void **state)
{
    struct scene *s = *state;
    struct meta_stats stats;
    for (unsigned i = 1; i <= 400; i++)
        meta_set(s->meta, map_page(i), i);
    meta_shrink(s->meta);
    meta_stats(s->meta, &stats);
    const uint64_t whole = stats.resident;
    assert_true(whole > 200);
    meta_lend(s->meta, 256 << 10);
    meta_shrink(s->meta);
    meta_stats(s->meta, &stats);
    assert_true(stats.resident <= whole * 3 / 4 + 1 && stats.resident > whole / 2);
    meta_lend(s->meta, UINT64_MAX); /* half of it at most */
    meta_shrink(s->meta);
    meta_stats(s->meta, &stats);
    assert_true(stats.resident <= whole / 2 + 1 && stats.resident >= whole / 2 - 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_never_set_is_zero_and_does_not_exist),
        TEST(a_copy_owns_nothing_and_goes_its_own_way),
        TEST(copies_share_one_record_until_each_is_merged),
        TEST(pages_are_forgotten_within_the_budget_but_pinned_ones_stay),
        TEST(memory_beyond_the_budget_goes_back_to_the_system),
        TEST(pages_of_a_cut_under_way_stay_in_memory_and_their_copies_too),
        TEST(a_page_dropped_and_made_anew_during_a_cut_can_be_forgotten_and_pinned),
        TEST(changes_need_no_page_in_memory),
        TEST(a_late_load_of_a_page_that_moved_does_nothing),
        TEST(a_damaged_or_foreign_record_is_refused),
        TEST(merge_candidates_are_full_pages_and_sparse_ones),
        TEST(candidates_are_picked_in_steps_and_none_twice),
        TEST(deltas_beyond_their_limit_are_merged_from_the_fullest_pages_on),
        TEST(a_flat_page_of_zeroes_goes_when_it_is_merged_and_a_map_page_stays),
        TEST(each_page_of_a_kind_is_visited_once),
        TEST(all_pages_are_visited_once_bit_by_bit),
        TEST(what_is_taken_apart_bit_by_bit_is_gone_at_the_end),
        TEST(what_is_lent_is_taken_from_pages_in_memory),
        cmocka_unit_test(random_changes_cuts_and_crashes_leave_what_the_model_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
