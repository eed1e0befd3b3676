#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/survey_impl.h"

/* Of what is done in a step, so that none takes longer than a page of a map does. */
enum {
    PAGES_STEP = 16, /* buckets of the page table */
    SORT_STEP = 32,
    SLAB_PARTS = sizeof(struct slab) / (MEMO_PART * sizeof(struct memo)), /* of what is given back */
};

static void *must(void *p)
{
    assert(p && "out of memory for a survey");
    return p;
}

const char *survey_image_name(const struct image *image, char *buf, size_t size)
{
    if (image->full_name[0])
        (void)snprintf(buf, size, "%s", image->full_name);
    else
        (void)snprintf(buf, size, "%s %" PRIu64, image->kind == IMAGE_TRASH ? "trash" : "deleted image",
                       image->id);
    return buf;
}

void survey_found(struct survey *s, enum survey_kind kind, uint64_t subject, const struct image *image,
                  uint64_t lba, uint64_t count, const char *format, ...)
{
    struct survey_finding f = {
        .kind = kind, .subject = subject, .image = image ? image->id : 0, .lba = lba, .count = count};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(f.text, sizeof f.text, format, args);
    va_end(args);
    s->totals.findings[kind]++;
    s->totals.damage += kind != SURVEY_AT;
    s->config.found(s->config.user, &f);
}

/* ---- making */

static void add_image(void *user, struct image *image)
{
    struct survey *s = user;
    const bool releasing = image->kind == IMAGE_TRASH || (image->deleted && image->children <= 1);
    s->images[s->image_count++] = (struct survey_image){
        .image = image,
        .holds = !releasing,
        .space = {.image = image->id, .hidden = image->deleted || image->kind == IMAGE_TRASH},
    };
}

static void count_image(void *user, struct image *image)
{
    (void)image;
    ++*(size_t *)user;
}

static int rank_of(const struct image *image)
{
    return image->kind == IMAGE_SNAPSHOT ? 0 : image->kind == IMAGE_VOLUME ? 1 : 2;
}

/* Owners first: what an image does not own belongs to a snapshot that was made before it. */
static int compare_images(const void *a, const void *b)
{
    const struct image *x = ((const struct survey_image *)a)->image,
                       *y = ((const struct survey_image *)b)->image;
    if (rank_of(x) != rank_of(y))
        return rank_of(x) - rank_of(y);
    return x->id < y->id ? -1 : x->id > y->id;
}

static uint32_t tag_of(const struct survey *s, const struct image *image)
{
    const struct survey_image key = {.image = (struct image *)image};
    const struct survey_image *at =
        bsearch(&key, s->images, s->image_count, sizeof *s->images, compare_images);
    return (uint32_t)(at - s->images) + 1;
}

static void join(struct survey *s, uint32_t tag, uint32_t pair)
{
    uint32_t *pairs = s->images[tag - 1].pairs;
    pairs[pairs[0] != 0] = pair;
}

static void find_pairs(struct survey *s)
{
    for (size_t i = 0; i < s->image_count; i++) {
        const struct image *image = s->images[i].image;
        const struct image *parent = images_get(s->config.images, image->parent_id);
        if (image->kind != IMAGE_SNAPSHOT || image->deleted || image->children || !parent ||
            !parent->deleted || parent->children != 2)
            continue;
        s->pairs = must(realloc(s->pairs, (s->pair_count + 1) * sizeof *s->pairs));
        const struct survey_pair pair = {tag_of(s, parent), (uint32_t)i + 1};
        s->pairs[s->pair_count++] = pair;
        join(s, pair.hidden, (uint32_t)(s->image_count + s->pair_count));
        join(s, pair.partner, (uint32_t)(s->image_count + s->pair_count));
    }
}

static void take_images(struct survey *s)
{
    size_t count = 0;
    images_each(s->config.images, count_image, &count);
    s->images = must(calloc(count + 1, sizeof *s->images));
    images_each(s->config.images, add_image, s);
    qsort(s->images, s->image_count, sizeof *s->images, compare_images);
    s->totals.images = count;
    find_pairs(s);
}

bool survey_lies_in(const struct survey *s, struct place place, uint32_t *segment)
{
    const uint64_t addr = place_addr(place), last = addr + place_len(place) - 1;
    const uint64_t index = addr / s->config.segment_bytes;
    *segment = (uint32_t)index;
    return place_len(place) && index >= s->config.system_segments && index < s->config.segment_count &&
           last / s->config.segment_bytes == index;
}

const char *survey_segment_state(const struct survey *s, uint32_t segment)
{
    static const char *const texts[] = {"free",          "the system's", "of the log", "of metadata",
                                        "of moved data", "of cold data", "",           "retired"};
    return texts[segments_state(s->config.segments, segment)];
}

static void look_at_page(struct survey *s, struct meta_key page)
{
    const struct place place = meta_load_place(s->config.meta, page);
    uint32_t segment;
    s->totals.pages++;
    if (place_is_none(place))
        return;
    if (!survey_lies_in(s, place, &segment))
        survey_found(s, SURVEY_MISPLACED, page.v, NULL, 0, 0,
                     "metadata page %#" PRIx64 " is said to lie at %" PRIu64 ", outside of any segment",
                     page.v, place_addr(place));
    else if (segments_state(s->config.segments, segment) != SEGMENT_META)
        survey_found(s, SURVEY_MISPLACED, page.v, NULL, 0, 0,
                     "metadata page %#" PRIx64 " lies in segment %u, which is %s", page.v, segment,
                     survey_segment_state(s, segment));
}

/* A heap, the highest on top. */
static void add_number(struct survey *s, uint64_t number)
{
    if (s->number_count == s->number_capacity) {
        s->number_capacity = s->number_capacity ? 2 * s->number_capacity : 1024;
        s->numbers = must(realloc(s->numbers, s->number_capacity * sizeof *s->numbers));
    }
    size_t at = s->number_count++;
    for (; at > 0 && s->numbers[(at - 1) / 2] < number; at = (at - 1) / 2)
        s->numbers[at] = s->numbers[(at - 1) / 2];
    s->numbers[at] = number;
}

/* The highest of those that are not sorted goes behind them. */
static void sort_one(struct survey *s)
{
    uint64_t *heap = s->numbers;
    const size_t count = --s->unsorted;
    const uint64_t last = heap[count];
    heap[count] = heap[0];
    size_t at = 0;
    for (size_t below = 1; below < count; below = 2 * at + 1) {
        below += below + 1 < count && heap[below + 1] > heap[below];
        if (heap[below] <= last)
            break;
        heap[at] = heap[below];
        at = below;
    }
    if (count)
        heap[at] = last;
}

static void take_page(void *user, struct meta_key page)
{
    struct survey *s = user;
    const uint64_t number = meta_page_number(page);
    s->map_pages += meta_kind_of(page) == META_MAP;
    if (s->config.locate_only)
        return;
    look_at_page(s, page);
    if (meta_kind_of(page) == META_L2P)
        add_number(s, number);
    /* Counts of blocks that L2P has no page of: there should be none. */
    if (meta_kind_of(page) == META_REF &&
        !meta_exists(s->config.meta, meta_key(META_L2P, number / SLAB_REF_PAGES, 0)))
        add_number(s, number / SLAB_REF_PAGES);
}

static void pages_are_known(struct survey *s)
{
    maps_expect(s, s->map_pages);
    s->unsorted = s->number_count;
    s->phase = PHASE_SORT;
    if (s->config.locate_only)
        locate_begin(s);
}

static void begin_pass(struct survey *s)
{
    s->phase = PHASE_SLABS;
    s->totals.passes++;
    s->loading = s->first = s->end;
    s->end = s->first + s->slab_capacity;
    if (s->end > s->number_count)
        s->end = s->number_count;
    s->ref_loading = 0;
    s->slab_last = s->summed = 0;
    maps_begin(s);
}

static void begin_first(struct survey *s)
{
    s->slab_capacity = (size_t)(s->config.memory_bytes / sizeof **s->slabs);
    if (s->slab_capacity > s->number_count)
        s->slab_capacity = s->number_count;
    s->slabs = must(calloc(s->slab_capacity + 1, sizeof *s->slabs));
    s->segment_live = must(calloc(s->config.segment_count, sizeof *s->segment_live));
    begin_pass(s);
}

static void sort_on(struct survey *s)
{
    for (unsigned i = 0; i < SORT_STEP && s->unsorted; i++)
        sort_one(s);
    if (s->unsorted)
        return;
    size_t n = s->number_count > 0;
    for (size_t i = 1; i < s->number_count; i++)
        if (s->numbers[i] != s->numbers[n - 1])
            s->numbers[n++] = s->numbers[i];
    s->number_count = n;
    begin_first(s);
}

struct survey *survey_create(const struct survey_config *config)
{
    assert(config->memory_bytes >= SURVEY_MEMORY_MIN && config->lost_count <= SURVEY_WANTED_MAX);
    struct survey *s = must(calloc(1, sizeof *s));
    s->config = *config;
    s->config.lost = NULL;
    take_images(s);
    for (size_t i = 0; i < config->lost_count; i++)
        locate_want(&s->groups, config->lost[i].group, config->lost[i].slots);
    return s;
}

bool survey_destroy_step(struct survey *s, size_t parts)
{
    for (; parts > 0 && s->slab_count > 0; parts -= parts < SLAB_PARTS ? parts : SLAB_PARTS)
        free(s->slabs[--s->slab_count]);
    if (s->slab_count > 0 || !memos_free(&s->memos, parts))
        return false;
    free(s->images);
    free(s->pairs);
    free(s->numbers);
    free(s->slabs);
    free(s->segment_live);
    free(s);
    return true;
}

void survey_destroy(struct survey *s)
{
    (void)survey_destroy_step(s, SIZE_MAX);
}

/* ---- the ends */

static void compare_segments(struct survey *s)
{
    for (uint32_t i = s->config.system_segments; i < s->config.segment_count && !s->l2p_lost; i++) {
        const struct segments *segments = s->config.segments;
        const uint64_t counted = survey_is_data(segments_state(segments, i)) ? segments_live(segments, i) : 0;
        if (s->segment_live[i] != counted)
            survey_found(s, SURVEY_SEGMENT, i, NULL, 0, 0,
                         "%" PRIu64 " bytes live in segment %u, %" PRIu64 " are counted", s->segment_live[i],
                         i, counted);
    }
}

static void compare_totals(struct survey *s)
{
    if (!s->l2p_lost && s->live_blocks != s->config.unique_blocks)
        survey_found(s, SURVEY_SPACE, 0, NULL, 0, 0, "%" PRIu64 " blocks live, %" PRIu64 " are counted",
                     s->live_blocks, s->config.unique_blocks);
}

static void end_pass(struct survey *s)
{
    if (s->end < s->number_count) {
        begin_pass(s);
        return;
    }
    compare_segments(s);
    compare_totals(s);
    s->totals.blocks = s->live_blocks;
    locate_begin(s);
}

/* ---- the way */

enum survey_state survey_step(struct survey *s)
{
    enum survey_state state = SURVEY_MORE;
    switch (s->phase) {
    case PHASE_PAGES:
        if (!meta_some_pages(s->config.meta, &s->page_at, PAGES_STEP, take_page, s))
            pages_are_known(s);
        return state;
    case PHASE_SORT:
        sort_on(s);
        return state;
    case PHASE_SLABS:
        if (!slabs_step(s, &state))
            s->phase = PHASE_MAPS;
        return state;
    case PHASE_MAPS:
        state = maps_step(s);
        if (state != SURVEY_DONE)
            return state;
        s->phase = survey_is_first(s) && !s->blind ? PHASE_ORPHANS : PHASE_SUM;
        s->page_at = 0;
        return SURVEY_MORE;
    case PHASE_ORPHANS:
        if (!meta_some_pages(s->config.meta, &s->page_at, PAGES_STEP, maps_look_for_owner, s))
            s->phase = PHASE_SUM;
        return SURVEY_MORE;
    case PHASE_SUM:
        if (!slabs_sum(s))
            end_pass(s);
        return SURVEY_MORE;
    case PHASE_LOCATE:
        state = locate_step(s);
        if (state == SURVEY_DONE)
            s->phase = PHASE_DONE;
        return state;
    case PHASE_DONE:
        break;
    }
    return SURVEY_DONE;
}

size_t survey_missing(const struct survey *s, struct meta_key keys[MAP_WALK_AHEAD])
{
    if (s->phase != PHASE_SLABS)
        return map_walk_missing(&s->walk, keys);
    size_t n = 0;
    keys[n++] = s->wants;
    for (size_t i = s->loading + 1; i < s->end && n < MAP_WALK_AHEAD; i++)
        keys[n++] = meta_key(META_L2P, s->numbers[i], 0);
    return n;
}

void survey_give_up(struct survey *s, const char *why)
{
    if (s->phase == PHASE_SLABS) {
        slabs_give_up(s, why);
        return;
    }
    s->why = why;
    map_walk_give_up(&s->walk);
}

/* Of a pass, most of the time goes by in the maps. */
unsigned survey_permille(const struct survey *s)
{
    if (s->phase == PHASE_DONE)
        return 1000;
    if (s->phase == PHASE_LOCATE)
        return s->config.locate_only ? (unsigned)(1000 * s->image_next / (s->image_count + 1)) : 950;
    if (s->phase < PHASE_SLABS)
        return 0;
    const size_t all = s->number_count ? s->number_count : 1;
    const size_t of_pass = s->end - s->first;
    const unsigned part = s->phase != PHASE_SLABS
                              ? 200 + (unsigned)(800 * s->image_next / (s->image_count + 1))
                              : (unsigned)(200 * (s->loading - s->first) / (of_pass ? of_pass : 1));
    return (unsigned)((s->first * 1000 + of_pass * part) * 95 / 100 / all);
}

void survey_totals(const struct survey *s, struct survey_totals *out)
{
    *out = s->totals;
}

void survey_each_space(const struct survey *s, void (*visit)(void *, const struct survey_space *), void *user)
{
    assert(s->phase == PHASE_DONE && !s->config.locate_only);
    for (size_t i = 0; i < s->image_count; i++) {
        struct survey_space space = s->images[i].space;
        if (!s->images[i].holds)
            continue;
        if (s->images[i].image->children > 1)
            space.reclaimable = (struct survey_share){0}; /* its clones keep it */
        visit(user, &space);
    }
}

uint64_t survey_memory(const struct survey *s)
{
    return sizeof *s + s->slab_count * sizeof **s->slabs +
           s->memos.part_count * MEMO_PART * sizeof **s->memos.parts +
           s->memos.capacity / MEMO_PART * sizeof *s->memos.parts + s->number_capacity * sizeof *s->numbers +
           s->image_count * sizeof *s->images + s->config.segment_count * sizeof *s->segment_live;
}
