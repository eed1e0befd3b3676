#include "tests/support/pod_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"

bool pod_check_is_quiet(const struct pod *pod)
{
    return !(pod->role != POD_STANDBY && images_releasable(pod->images)) && !pod->release_in_flight &&
           !checkpoint_busy(pod) && !pod->in_flight_count && !pod->open && !pod->again;
}

struct counted {
    uint64_t *keys, *values;
    size_t capacity, used;
};

static uint64_t *count_of(struct counted *c, uint64_t key)
{
    if (c->used * 2 >= c->capacity) {
        struct counted old = *c;
        c->capacity = old.capacity ? old.capacity * 2 : 1024;
        c->keys = calloc(c->capacity, sizeof *c->keys);
        c->values = calloc(c->capacity, sizeof *c->values);
        c->used = 0;
        for (size_t i = 0; i < old.capacity; i++)
            if (old.keys[i])
                *count_of(c, old.keys[i]) = old.values[i];
        free(old.keys);
        free(old.values);
    }
    size_t at = (key * 0x9e3779b97f4a7c15ull >> 20) & (c->capacity - 1);
    while (c->keys[at] && c->keys[at] != key)
        at = (at + 1) & (c->capacity - 1);
    if (!c->keys[at]) {
        c->keys[at] = key;
        c->used++;
    }
    return &c->values[at];
}

struct checking {
    struct pod *pod;
    bool (*step)(void *user);
    void *user;
    char *why;
    size_t size;
    bool wrong, stopped;
    struct counted blocks, pages; /* owned references */
    struct space space;
    uint64_t segment_live[4096];
    uint64_t live_blocks;
};

static void wrong(struct checking *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void wrong(struct checking *c, const char *format, ...)
{
    va_list args;
    if (c->wrong || c->stopped)
        return; /* the first one counts */
    c->wrong = true;
    va_start(args, format);
    (void)vsnprintf(c->why, c->size, format, args);
    va_end(args);
}

static void load_now(struct checking *c, struct meta_key page, uint64_t *slots)
{
    memset(slots, 0, META_SLOTS * sizeof *slots);
    for (int n = 0; n < 100000 && !c->stopped; n++) {
        view_missing_clear(c->pod->view);
        const uint64_t *p = view_slots(c->pod->view, page, false);
        if (p) {
            memcpy(slots, p, META_SLOTS * sizeof *slots);
            return;
        }
        if (load_missing(c->pod)) {
            wrong(c, "page %#llx is damaged", (unsigned long long)page.v);
            return;
        }
        c->stopped = !c->step(c->user);
    }
    wrong(c, "page %#llx does not load", (unsigned long long)page.v);
}

static uint64_t l2p_now(struct checking *c, uint64_t group)
{
    uint64_t slots[META_SLOTS];
    const struct meta_key key = l2p_key(group);
    load_now(c, meta_page_of(key), slots);
    return slots[meta_slot_of(key)];
}

/* `counting`: this image's part still belongs to it (a releasing image's done part does not). */
static void walk(struct checking *c, uint64_t entry, unsigned level, uint64_t lba, uint64_t from,
                 bool counting)
{
    if (entry_type(entry) == ENTRY_HOLE)
        return;
    if (level == 0) {
        space_count(&c->space, entry, +1);
        if (entry_type(entry) == ENTRY_DATA && lba >= from) {
            const uint64_t v = l2p_now(c, block_group(entry_id(entry)));
            if (!l2p_is_live(v, block_slot(entry_id(entry))))
                wrong(c, "block %llu is mapped at %llu and dead", (unsigned long long)entry_id(entry),
                      (unsigned long long)lba);
            if (entry_owns(entry) && counting)
                ++*count_of(&c->blocks, entry_id(entry));
        }
        return;
    }
    if (entry_type(entry) != ENTRY_PAGE) {
        wrong(c, "an entry of level %u at %llu is no page", level, (unsigned long long)lba);
        return;
    }
    if (lba + image_span(level) <= from)
        return;
    const bool owned = counting && entry_owns(entry);
    if (owned && ++*count_of(&c->pages, entry_id(entry)) > 1)
        wrong(c, "page %llu has two owners", (unsigned long long)entry_id(entry));
    uint64_t slots[META_SLOTS];
    load_now(c, entry_page_key(entry), slots);
    for (unsigned i = 0; i < META_SLOTS; i++)
        walk(c, slots[i], level - 1, lba + i * image_span(level - 1), from, owned);
}

static void walk_image(void *user, struct image *image)
{
    struct checking *c = user;
    const bool releasing = image->deleted || image->kind == IMAGE_TRASH;
    c->space = (struct space){0};
    walk(c, image->root, image->depth, 0, releasing ? image->cursor : 0, true);
    if (releasing)
        return;
    for (int i = 0; i < SPACE_COUNTS; i++)
        if (image->space.n[i] != c->space.n[i])
            wrong(c, "%s: space count %d is %lld, its map holds %lld", image->full_name, i,
                  (long long)image->space.n[i], (long long)c->space.n[i]);
}

struct key_array {
    struct meta_key keys[65536];
    size_t n;
};

static void collect_page(void *user, struct meta_key page)
{
    struct key_array *a = user;
    assert(a->n < sizeof a->keys / sizeof a->keys[0]);
    a->keys[a->n++] = page;
}

static void check_l2p(struct checking *c)
{
    struct key_array *pages = calloc(1, sizeof *pages);
    meta_each_page(c->pod->meta, META_L2P, collect_page, pages);
    for (size_t p = 0; p < pages->n; p++) {
        uint64_t slots[META_SLOTS];
        load_now(c, pages->keys[p], slots);
        for (unsigned i = 0; i < META_SLOTS; i++) {
            const uint64_t group = meta_page_number(pages->keys[p]) * META_SLOTS + i, v = slots[i];
            if (!v)
                continue;
            const struct place place = l2p_place(v);
            c->segment_live[place_addr(place) / c->pod->segment_bytes] += l2p_live_bytes(v);
            for (unsigned s = 0; s < GROUP_BLOCKS; s++) {
                const uint64_t block = group << 3 | s, owned = *count_of(&c->blocks, block);
                if (!l2p_is_live(v, s)) {
                    if (owned)
                        wrong(c, "block %llu is dead and has %llu owned references",
                              (unsigned long long)block, (unsigned long long)owned);
                    continue;
                }
                c->live_blocks++;
                uint64_t refs[META_SLOTS];
                const struct meta_key key = meta_key_flat(META_REF, block);
                load_now(c, meta_page_of(key), refs);
                if (owned != 1 + refs[meta_slot_of(key)])
                    wrong(c, "block %llu has %llu owned references and a count of %llu",
                          (unsigned long long)block, (unsigned long long)owned,
                          (unsigned long long)refs[meta_slot_of(key)] + 1);
            }
        }
    }
    free(pages);
}

static bool is_data(enum segment_state state)
{
    return state == SEGMENT_LOG || state == SEGMENT_WARM || state == SEGMENT_COLD;
}

static void check_space(struct checking *c)
{
    struct pod_stats s;
    pod_stats(c->pod, &s);
    if (s.capacity != s.free_bytes + s.stored_bytes + s.metadata_bytes + s.garbage_bytes + s.open_bytes)
        wrong(c, "%llu bytes are not %llu free, %llu stored, %llu metadata, %llu garbage, %llu open",
              (unsigned long long)s.capacity, (unsigned long long)s.free_bytes,
              (unsigned long long)s.stored_bytes, (unsigned long long)s.metadata_bytes,
              (unsigned long long)s.garbage_bytes, (unsigned long long)s.open_bytes);
    if (s.garbage_bytes > s.capacity)
        wrong(c, "garbage is below nothing");
}

static void free_counted(struct counted *c)
{
    free(c->keys);
    free(c->values);
}

bool pod_check_counts(struct pod *pod, bool (*step)(void *user), void *user, char *why, size_t size)
{
    struct checking *c = calloc(1, sizeof *c);
    assert(c && pod->segment_count <= sizeof c->segment_live / sizeof c->segment_live[0]);
    *c = (struct checking){.pod = pod, .step = step, .user = user, .why = why, .size = size};
    images_each(pod->images, walk_image, c);
    check_l2p(c);
    check_space(c);
    if (c->live_blocks != pod->unique_blocks)
        wrong(c, "%llu blocks are live, %llu are counted", (unsigned long long)c->live_blocks,
              (unsigned long long)pod->unique_blocks);
    for (uint32_t i = 0; i < pod->segment_count; i++)
        if (is_data(segments_state(pod->segments, i)) &&
            segments_live(pod->segments, i) != c->segment_live[i])
            wrong(c, "%llu bytes live in segment %u, %llu are counted",
                  (unsigned long long)c->segment_live[i], i,
                  (unsigned long long)segments_live(pod->segments, i));
    const bool right = !c->wrong;
    free_counted(&c->blocks);
    free_counted(&c->pages);
    free(c);
    return right;
}
