#include "node/meta/meta.h"

#include <stdlib.h>
#include <string.h>

#include "common/container.h"
#include "common/endian_codec.h"
#include "node/meta/run.h"

enum {
    BITS_WORDS = META_SLOTS / 64,
    MERGE_AT = 128,
    TABLE_PART = 8192, /* buckets that go back to the system at once */
    FIRST_BUCKETS = 1024,
    SPARES = 64
};

enum {
    CLEAR_OWN = 1u << 0,    /* the base's own bits do not count */
    CHANGED = 1u << 1,      /* listed in meta->changed */
    BASE_CHANGED = 1u << 2, /* the next cut must name the base */
    MERGING = 1u << 3,      /* the base is on its way to flash: pinned, its copies too */
    ROTTEN = 1u << 4,       /* the base is to be written anew; counted in meta->rotten */
};

/* A page in memory. `dirty` slots differ from the base, `since` ones changed after the last cut. */
struct hot {
    struct list_node lru;
    struct meta_page *page;
    uint64_t dirty[BITS_WORDS], since[BITS_WORDS];
    uint64_t slots[META_SLOTS];
};

/* What is dirty in a page that is not in memory, by ascending slot. */
struct delta {
    uint16_t count, capacity;
    struct change {
        uint64_t value;
        uint16_t slot;
        bool since;
    } changes[];
};

struct meta_page {
    struct meta_page *next; /* in its hash bucket */
    struct meta_key key;
    struct place base;
    struct hot *hot;
    struct delta *delta; /* never beside `hot` */
    uint32_t flags, pins;
};

struct key_list {
    struct meta_key *keys;
    size_t count, capacity;
};

struct meta {
    struct meta_config config;
    struct meta_page **buckets;
    size_t bucket_count, page_count, hot_count, spare_count;
    uint64_t lent_bytes;
    uint64_t delta_slots, delta_bytes, changed_slots, rotten;
    struct list_node lru; /* least recently used first */
    struct list_node free_hot;
    struct key_list changed, dropped, merging;
};

static const uint64_t zero_slots[META_SLOTS];

static void *must(void *p)
{
    assert(p && "out of memory for metadata");
    return p;
}

static void keys_add(struct key_list *list, struct meta_key key)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 256;
        list->keys = must(realloc(list->keys, list->capacity * sizeof *list->keys));
    }
    list->keys[list->count++] = key;
}

static bool bit_get(const uint64_t *bits, unsigned i)
{
    return bits[i / 64] >> (i % 64) & 1;
}

static bool bit_set(uint64_t *bits, unsigned i)
{
    const uint64_t mask = 1ull << (i % 64), before = bits[i / 64];
    bits[i / 64] |= mask;
    return !(before & mask);
}

static unsigned bits_count(const uint64_t *bits)
{
    unsigned n = 0;
    for (unsigned w = 0; w < BITS_WORDS; w++)
        n += (unsigned)__builtin_popcountll(bits[w]);
    return n;
}

/* ---- the page table */

static size_t bucket_of(const struct meta *meta, struct meta_key page)
{
    uint64_t h = (page.v >> META_SLOT_BITS) * 0x9e3779b97f4a7c15ull;
    return (size_t)(h >> 32) & (meta->bucket_count - 1);
}

static struct meta_page *find(const struct meta *meta, struct meta_key page)
{
    struct meta_page *p = meta->buckets[bucket_of(meta, page)];
    while (p && p->key.v != page.v)
        p = p->next;
    return p;
}

static void grow(struct meta *meta)
{
    struct meta_page **old = meta->buckets;
    const size_t old_count = meta->bucket_count;
    meta->bucket_count *= 2;
    meta->buckets = must(calloc(meta->bucket_count, sizeof(struct meta_page *)));
    for (size_t i = 0; i < old_count; i++)
        for (struct meta_page *p = old[i], *next; p; p = next) {
            next = p->next;
            struct meta_page **head = &meta->buckets[bucket_of(meta, p->key)];
            p->next = *head;
            *head = p;
        }
    free(old);
}

static struct meta_page *add(struct meta *meta, struct meta_key page)
{
    if (meta->page_count >= meta->bucket_count)
        grow(meta);
    struct meta_page *p = must(calloc(1, sizeof *p));
    p->key = page;
    struct meta_page **head = &meta->buckets[bucket_of(meta, page)];
    p->next = *head;
    *head = p;
    meta->page_count++;
    return p;
}

static void ref(struct meta *meta, struct place place, int delta)
{
    if (!place_is_none(place) && meta->config.place_ref)
        meta->config.place_ref(meta->config.user, place, delta);
}

/* ---- pages in memory */

static struct hot *hot_take(struct meta *meta, struct meta_page *page)
{
    struct list_node *node = list_pop_front(&meta->free_hot);
    struct hot *hot = node ? container_of(node, struct hot, lru) : must(malloc(sizeof *hot));
    meta->spare_count -= node != NULL;
    memset(hot->dirty, 0, sizeof hot->dirty);
    memset(hot->since, 0, sizeof hot->since);
    hot->page = page;
    list_push_back(&meta->lru, &hot->lru);
    meta->hot_count++;
    page->hot = hot;
    return hot;
}

static void hot_release(struct meta *meta, struct meta_page *page)
{
    list_remove(&page->hot->lru);
    list_push_front(&meta->free_hot, &page->hot->lru);
    meta->spare_count++;
    page->hot = NULL;
    meta->hot_count--;
}

static void delta_release(struct meta *meta, struct meta_page *page)
{
    if (!page->delta)
        return;
    meta->delta_slots -= page->delta->count;
    meta->delta_bytes -= sizeof(struct delta) + page->delta->capacity * sizeof(struct change);
    free(page->delta);
    page->delta = NULL;
}

static void delta_reserve(struct meta *meta, struct meta_page *page, unsigned capacity)
{
    const unsigned old = page->delta ? page->delta->capacity : 0;
    if (old >= capacity && page->delta)
        return;
    const bool fresh = !page->delta;
    page->delta = must(realloc(page->delta, sizeof(struct delta) + capacity * sizeof(struct change)));
    if (fresh)
        page->delta->count = 0;
    page->delta->capacity = (uint16_t)capacity;
    meta->delta_bytes += (fresh ? sizeof(struct delta) : 0) + (capacity - old) * sizeof(struct change);
}

static void delta_set(struct meta *meta, struct meta_page *page, unsigned slot, uint64_t value, bool since)
{
    struct delta *d = page->delta;
    unsigned at = d ? d->count : 0;
    while (at > 0 && d->changes[at - 1].slot >= slot)
        at--;
    if (d && at < d->count && d->changes[at].slot == slot) {
        d->changes[at].value = value;
        d->changes[at].since |= since;
        return;
    }
    if (!d || d->count == d->capacity) {
        delta_reserve(meta, page, d ? d->capacity * 2u : 4u);
        d = page->delta;
    }
    memmove(&d->changes[at + 1], &d->changes[at], (d->count - at) * sizeof d->changes[0]);
    d->changes[at] = (struct change){value, (uint16_t)slot, since};
    d->count++;
    meta->delta_slots++;
}

/* Lays the delta over the slots of a page that has just come into memory. */
static void warm_up(struct meta *meta, struct meta_page *page)
{
    struct hot *hot = page->hot;
    for (unsigned i = 0; page->delta && i < page->delta->count; i++) {
        const struct change *c = &page->delta->changes[i];
        hot->slots[c->slot] = c->value;
        (void)bit_set(hot->dirty, c->slot);
        if (c->since)
            (void)bit_set(hot->since, c->slot);
    }
    delta_release(meta, page);
    meta->delta_slots += bits_count(hot->dirty);
}

static void cool_down(struct meta *meta, struct meta_page *page)
{
    struct hot *hot = page->hot;
    const unsigned dirty = bits_count(hot->dirty);
    meta->delta_slots -= dirty;
    if (dirty) {
        delta_reserve(meta, page, dirty);
        struct delta *d = page->delta;
        for (unsigned i = 0; i < META_SLOTS; i++)
            if (bit_get(hot->dirty, i))
                d->changes[d->count++] = (struct change){hot->slots[i], (uint16_t)i, bit_get(hot->since, i)};
        meta->delta_slots += dirty;
    }
    hot_release(meta, page);
}

void meta_lend(struct meta *meta, uint64_t bytes)
{
    const uint64_t most = meta->config.cache_bytes / 2;
    meta->lent_bytes = bytes < most ? bytes : most;
}

void meta_shrink(struct meta *meta)
{
    struct list_node *node = meta->lru.next;
    const uint64_t budget = meta->config.cache_bytes - meta->lent_bytes;
    while (node != &meta->lru && meta->hot_count * sizeof(struct hot) > budget) {
        struct hot *hot = container_of(node, struct hot, lru);
        node = node->next;
        if (!hot->page->pins)
            cool_down(meta, hot->page);
    }
    /* Spare pages beyond a few go back to the system. */
    for (; meta->spare_count > SPARES; meta->spare_count--)
        free(container_of(list_pop_front(&meta->free_hot), struct hot, lru));
}

/* ---- access */

struct meta *meta_create(const struct meta_config *config)
{
    assert(config->cache_bytes >= 1 << 20);
    struct meta *meta = must(calloc(1, sizeof *meta));
    meta->config = *config;
    meta->bucket_count = FIRST_BUCKETS;
    while (meta->bucket_count < config->pages)
        meta->bucket_count *= 2;
    meta->buckets = must(calloc(meta->bucket_count, sizeof(struct meta_page *)));
    list_init(&meta->lru);
    list_init(&meta->free_hot);
    return meta;
}

bool meta_destroy_step(struct meta *meta, size_t buckets)
{
    for (; buckets > 0 && meta->bucket_count > 0; buckets--) {
        for (struct meta_page *p = meta->buckets[--meta->bucket_count], *next; p; p = next) {
            next = p->next;
            if (p->hot) {
                list_remove(&p->hot->lru);
                free(p->hot);
            }
            free(p->delta);
            free(p);
        }
        if (meta->bucket_count && meta->bucket_count % TABLE_PART == 0)
            meta->buckets = must(realloc(meta->buckets, meta->bucket_count * sizeof(struct meta_page *)));
    }
    if (meta->bucket_count > 0) {
        /* glibc joins small pieces that were freed when a larger one is asked for: not all of them at once.
         */
        void *volatile larger = malloc(sizeof(struct hot));
        free(larger);
        return false;
    }
    for (struct list_node *n; (n = list_pop_front(&meta->free_hot));)
        free(container_of(n, struct hot, lru));
    free(meta->buckets);
    free(meta->changed.keys);
    free(meta->dropped.keys);
    free(meta->merging.keys);
    free(meta);
    return true;
}

void meta_destroy(struct meta *meta)
{
    (void)meta_destroy_step(meta, SIZE_MAX);
}

static const uint64_t *slots_of(struct meta *meta, struct meta_page *page)
{
    if (!page->hot) {
        if (!place_is_none(page->base))
            return NULL;
        struct hot *hot = hot_take(meta, page);
        memset(hot->slots, 0, sizeof hot->slots);
        warm_up(meta, page);
    }
    if (meta->lru.prev != &page->hot->lru) {
        list_remove(&page->hot->lru);
        list_push_back(&meta->lru, &page->hot->lru);
    }
    return page->hot->slots;
}

const uint64_t *meta_slots(struct meta *meta, struct meta_key key)
{
    struct meta_page *page = find(meta, key);
    return page ? slots_of(meta, page) : zero_slots;
}

bool meta_get(struct meta *meta, struct meta_key key, uint64_t *value)
{
    struct meta_page *page = find(meta, meta_page_of(key));
    if (!page) {
        *value = 0;
        return true;
    }
    const unsigned slot = meta_slot_of(key);
    for (unsigned i = 0; page->delta && i < page->delta->count; i++)
        if (page->delta->changes[i].slot == slot) {
            *value = page->delta->changes[i].value;
            return true;
        }
    const uint64_t *slots = slots_of(meta, page);
    if (!slots)
        return false;
    *value = slots[slot];
    return true;
}

static void mark_changed(struct meta *meta, struct meta_page *page)
{
    if (page->flags & CHANGED)
        return;
    page->flags |= CHANGED;
    keys_add(&meta->changed, page->key);
}

void meta_set(struct meta *meta, struct meta_key key, uint64_t value)
{
    const struct meta_key page_key = meta_page_of(key);
    const unsigned slot = meta_slot_of(key);
    struct meta_page *page = find(meta, page_key);
    if (!page) {
        page = add(meta, page_key);
        memset(hot_take(meta, page)->slots, 0, sizeof page->hot->slots);
    }
    mark_changed(meta, page);
    meta->changed_slots++;
    if (!page->hot) {
        delta_set(meta, page, slot, value, true);
        return;
    }
    page->hot->slots[slot] = value;
    meta->delta_slots += bit_set(page->hot->dirty, slot);
    (void)bit_set(page->hot->since, slot);
}

static void set_rotten(struct meta *meta, struct meta_page *page, bool rotten)
{
    const bool was = page->flags & ROTTEN;
    meta->rotten += (uint64_t)rotten - was;
    page->flags = (page->flags & ~(uint32_t)ROTTEN) | (rotten ? ROTTEN : 0);
}

void meta_set_rotten(struct meta *meta, struct meta_key key, struct place base, bool rotten)
{
    struct meta_page *page = find(meta, key);
    if (page && page->base.v == base.v)
        set_rotten(meta, page, rotten);
}

struct place meta_base(struct meta *meta, struct meta_key key)
{
    const struct meta_page *page = find(meta, key);
    return page ? page->base : PLACE_NONE;
}

static void hold_until_written(struct meta *meta, struct meta_page *page)
{
    page->flags |= MERGING;
    page->pins++;
    keys_add(&meta->merging, page->key);
}

void meta_copy(struct meta *meta, struct meta_key to_key, struct meta_key from_key)
{
    assert(!find(meta, to_key));
    struct meta_page *from = find(meta, from_key);
    if (!from)
        return;
    struct meta_page *to = add(meta, to_key);
    to->base = from->base;
    to->flags = CLEAR_OWN | BASE_CHANGED;
    ref(meta, to->base, +1);
    mark_changed(meta, to);
    set_rotten(meta, to, from->flags & ROTTEN);
    if (from->flags & MERGING)
        hold_until_written(meta, to);
    if (from->hot) {
        struct hot *hot = hot_take(meta, to);
        for (unsigned i = 0; i < META_SLOTS; i++)
            hot->slots[i] = from->hot->slots[i] & ~META_OWN;
        memcpy(hot->dirty, from->hot->dirty, sizeof hot->dirty);
        memcpy(hot->since, from->hot->dirty, sizeof hot->since);
        const unsigned dirty = bits_count(hot->dirty);
        meta->delta_slots += dirty;
        meta->changed_slots += dirty;
    } else if (from->delta) {
        delta_reserve(meta, to, from->delta->count);
        for (unsigned i = 0; i < from->delta->count; i++) {
            const struct change c = from->delta->changes[i];
            to->delta->changes[i] = (struct change){c.value & ~META_OWN, c.slot, true};
        }
        to->delta->count = from->delta->count;
        meta->delta_slots += to->delta->count;
        meta->changed_slots += to->delta->count;
    }
}

static void drop(struct meta *meta, struct meta_page *page)
{
    struct meta_page **link = &meta->buckets[bucket_of(meta, page->key)];
    while (*link != page)
        link = &(*link)->next;
    *link = page->next;
    if (page->hot) {
        meta->delta_slots -= bits_count(page->hot->dirty);
        hot_release(meta, page);
    }
    delta_release(meta, page);
    set_rotten(meta, page, false);
    ref(meta, page->base, -1);
    meta->page_count--;
    free(page);
}

void meta_drop(struct meta *meta, struct meta_key key)
{
    struct meta_page *page = find(meta, key);
    if (!page)
        return;
    drop(meta, page);
    keys_add(&meta->dropped, key);
    meta->changed_slots++;
}

bool meta_exists(struct meta *meta, struct meta_key page)
{
    return find(meta, page) != NULL;
}

void meta_pin(struct meta *meta, struct meta_key key)
{
    struct meta_page *page = find(meta, key);
    if (page)
        page->pins++;
}

void meta_unpin(struct meta *meta, struct meta_key key)
{
    struct meta_page *page = find(meta, key);
    if (page && page->pins)
        page->pins--;
}

void meta_each_page(struct meta *meta, enum meta_kind kind, void (*visit)(void *, struct meta_key),
                    void *user)
{
    for (size_t i = 0; i < meta->bucket_count; i++)
        for (struct meta_page *p = meta->buckets[i], *next; p; p = next) {
            next = p->next;
            if (meta_kind_of(p->key) == kind)
                visit(user, p->key);
        }
}

bool meta_is_in_memory(struct meta *meta, struct meta_key key)
{
    const struct meta_page *page = find(meta, key);
    return page && page->hot;
}

bool meta_is_being_written(struct meta *meta, struct meta_key key)
{
    const struct meta_page *page = find(meta, key);
    return page && page->flags & MERGING;
}

bool meta_some_pages(struct meta *meta, size_t *at, size_t buckets, void (*visit)(void *, struct meta_key),
                     void *user)
{
    if (*at == meta->bucket_count)
        return false;
    for (; buckets > 0 && *at < meta->bucket_count; buckets--)
        for (const struct meta_page *p = meta->buckets[(*at)++]; p; p = p->next)
            visit(user, p->key);
    return true;
}

/* ---- loading */

struct place meta_load_place(struct meta *meta, struct meta_key key)
{
    struct meta_page *page = find(meta, key);
    return page && !page->hot ? page->base : PLACE_NONE;
}

int meta_load(struct meta *meta, struct meta_key key, struct place from, const void *record, size_t bytes,
              struct ps_error *err)
{
    struct meta_page *page = find(meta, key);
    if (!page || page->hot || page->base.v != from.v)
        return 0;
    uint64_t slots[META_SLOTS];
    /* A copied page still has its source's record; the source was a page of the same kind. */
    struct meta_key written_as = key;
    if (page->flags & CLEAR_OWN && bytes >= PAGE_KEY_AT + 8) {
        const struct meta_key source = {get_le64((const uint8_t *)record + PAGE_KEY_AT)};
        if (meta_kind_of(source) == meta_kind_of(key))
            written_as = source;
    }
    const int rc = page_decode(written_as, record, bytes, slots, err);
    if (rc)
        return rc;
    struct hot *hot = hot_take(meta, page);
    for (unsigned i = 0; i < META_SLOTS; i++)
        hot->slots[i] = page->flags & CLEAR_OWN ? slots[i] & ~META_OWN : slots[i];
    warm_up(meta, page);
    return 0;
}

/* ---- checkpoint */

static unsigned dirty_count(const struct meta_page *page)
{
    return page->hot ? bits_count(page->hot->dirty) : page->delta ? page->delta->count : 0;
}

/* Deltas may take an eighth of the cache. */
static uint64_t delta_limit(const struct meta *meta)
{
    return meta->config.cache_bytes / 8 / sizeof(struct change);
}

void meta_pick_begin(struct meta *meta, struct meta_pick *pick)
{
    pick->count = pick->bucket = 0;
    pick->buckets = meta->bucket_count;
    pick->threshold = meta->delta_slots > delta_limit(meta) ? 0 : MERGE_AT;
    memset(pick->slots_with, 0, sizeof pick->slots_with);
}

/* The threshold that brings the deltas, which exceed their limit, to half of it. */
static unsigned threshold_for(const struct meta *meta, const uint64_t *slots_with)
{
    const uint64_t limit = delta_limit(meta);
    uint64_t left = meta->delta_slots;
    unsigned threshold = META_SLOTS + 1;
    while (threshold > 1 && (left > limit / 2 || threshold > MERGE_AT))
        left -= slots_with[--threshold] < left ? slots_with[threshold] : left;
    return threshold;
}

static void pick_bucket(const struct meta *meta, struct meta_pick *pick, size_t bucket)
{
    for (const struct meta_page *p = meta->buckets[bucket]; p; p = p->next) {
        const unsigned n = dirty_count(p);
        if (pick->threshold == 0)
            pick->slots_with[n] += n;
        else if (pick->count < pick->max &&
                 (n >= pick->threshold || p->flags & ROTTEN ||
                  (pick->sparse && !place_is_none(p->base) && pick->sparse(pick->user, p->base))))
            pick->pages[pick->count++] = p->key;
    }
}

bool meta_pick_step(struct meta *meta, struct meta_pick *pick, size_t buckets)
{
    /* The table has grown: pages that were passed lie ahead as well, and none may be picked twice. */
    if (pick->buckets != meta->bucket_count)
        meta_pick_begin(meta, pick);
    for (; buckets > 0; buckets--) {
        if (pick->bucket < meta->bucket_count && pick->count < pick->max)
            pick_bucket(meta, pick, pick->bucket++);
        else if (pick->threshold)
            return true;
        else {
            pick->threshold = threshold_for(meta, pick->slots_with);
            pick->bucket = 0;
        }
    }
    return pick->threshold && (pick->bucket == meta->bucket_count || pick->count == pick->max);
}

static void merge(struct meta *meta, struct meta_page *page, struct run_writer *run, struct meta_sink *sink,
                  uint64_t seq)
{
    uint8_t record[PAGE_RECORD_MAX];
    const uint32_t bytes = page_encode(page->key, seq, page->hot->slots, record);
    struct place place;
    memcpy(sink->alloc(sink, bytes, &place), record, bytes);
    ref(meta, place, +1);
    ref(meta, page->base, -1);
    meta->delta_slots -= bits_count(page->hot->dirty);
    memset(page->hot->dirty, 0, sizeof page->hot->dirty);
    memset(page->hot->since, 0, sizeof page->hot->since);
    page->base = place;
    page->flags &= ~(uint32_t)(CLEAR_OWN | BASE_CHANGED);
    set_rotten(meta, page, false);
    hold_until_written(meta, page);
    run_put_base(run, page->key, place, false);
}

static void put_slots(struct meta_page *page, struct run_writer *run, bool all)
{
    if (page->hot) {
        const uint64_t *bits = all ? page->hot->dirty : page->hot->since;
        for (unsigned w = 0; w < BITS_WORDS; w++)
            for (uint64_t left = bits[w]; left; left &= left - 1) {
                const unsigned slot = w * 64 + (unsigned)__builtin_ctzll(left);
                run_put_slot(run, (struct meta_key){page->key.v | slot}, page->hot->slots[slot]);
            }
        memset(page->hot->since, 0, sizeof page->hot->since);
    }
    for (unsigned i = 0; page->delta && i < page->delta->count; i++) {
        struct change *c = &page->delta->changes[i];
        if (all || c->since)
            run_put_slot(run, (struct meta_key){page->key.v | c->slot}, c->value);
        c->since = false;
    }
}

static void put_page(struct meta_page *page, struct run_writer *run, bool all)
{
    if ((all && !place_is_none(page->base)) || page->flags & BASE_CHANGED)
        run_put_base(run, page->key, page->base, page->flags & CLEAR_OWN);
    put_slots(page, run, all);
    page->flags &= ~(uint32_t)(CHANGED | BASE_CHANGED);
}

static bool all_zero(const uint64_t *slots)
{
    return memcmp(slots, zero_slots, sizeof zero_slots) == 0;
}

void meta_cut(struct meta *meta, struct run_writer *run, struct meta_sink *sink,
              const struct meta_key *merge_keys, size_t nmerge, bool full, uint64_t seq)
{
    assert(meta->merging.count == 0);
    for (size_t i = 0; i < meta->dropped.count && !full; i++)
        run_put_drop(run, meta->dropped.keys[i]);
    meta->dropped.count = 0;
    for (size_t i = 0; i < nmerge; i++) {
        struct meta_page *page = find(meta, merge_keys[i]);
        if (!page || !page->hot)
            continue;
        if (meta_kind_of(page->key) != META_MAP && all_zero(page->hot->slots) && !page->pins) {
            if (!full)
                run_put_drop(run, page->key);
            drop(meta, page);
            continue;
        }
        merge(meta, page, run, sink, seq);
    }
    for (size_t i = 0; i < meta->changed.count; i++) {
        struct meta_page *page = find(meta, meta->changed.keys[i]);
        if (page && page->flags & CHANGED && !full)
            put_page(page, run, false);
    }
    meta->changed.count = 0;
    for (size_t i = 0; full && i < meta->bucket_count; i++)
        for (struct meta_page *p = meta->buckets[i]; p; p = p->next)
            put_page(p, run, true);
    meta->changed_slots = 0;
}

void meta_cut_done(struct meta *meta)
{
    for (size_t i = 0; i < meta->merging.count; i++) {
        struct meta_page *page = find(meta, meta->merging.keys[i]);
        if (!page || !(page->flags & MERGING))
            continue; /* dropped meanwhile, and perhaps made anew */
        page->flags &= ~(uint32_t)MERGING;
        page->pins--;
    }
    meta->merging.count = 0;
}

/* ---- recovery */

void meta_restore_base(struct meta *meta, struct meta_key key, struct place base, bool clear_own)
{
    struct meta_page *page = find(meta, key);
    if (!page)
        page = add(meta, key);
    assert(!page->hot);
    delta_release(meta, page);
    page->base = base;
    set_rotten(meta, page, false);
    page->flags = clear_own ? CLEAR_OWN : 0;
}

void meta_restore_slot(struct meta *meta, struct meta_key key, uint64_t value)
{
    struct meta_page *page = find(meta, meta_page_of(key));
    if (!page)
        page = add(meta, meta_page_of(key));
    delta_set(meta, page, meta_slot_of(key), value, false);
}

void meta_restore_drop(struct meta *meta, struct meta_key key)
{
    struct meta_page *page = find(meta, key);
    if (!page)
        return;
    page->base = PLACE_NONE; /* not counted yet */
    drop(meta, page);
}

void meta_restore_done(struct meta *meta)
{
    for (size_t i = 0; i < meta->bucket_count; i++)
        for (struct meta_page *p = meta->buckets[i]; p; p = p->next)
            ref(meta, p->base, +1);
}

void meta_stats(const struct meta *meta, struct meta_stats *out)
{
    *out = (struct meta_stats){
        .pages = meta->page_count,
        .resident = meta->hot_count,
        .delta_slots = meta->delta_slots,
        .memory_bytes = meta->page_count * sizeof(struct meta_page) +
                        meta->bucket_count * sizeof(struct meta_page *) + meta->delta_bytes +
                        (meta->hot_count + meta->spare_count) * sizeof(struct hot),
        .changed_slots = meta->changed_slots,
        .rotten = meta->rotten,
    };
}
