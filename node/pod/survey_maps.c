/* The maps of all images, one after the other. What a page holds is remembered, so that one that many images
 * share is gone through again only when that tells something new: its owner comes by, or it turns out that
 * not one image alone holds it. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/survey_impl.h"

enum {
    WALKS = (1 << 24) - 1, /* what struct memo has room for */
    LEVELS = 15,
};
_Static_assert((int)MAP_WALK_LEVELS <= (int)LEVELS, "a level fits");

/* ---- what is remembered */

static size_t home_of(const struct memos *m, uint64_t page)
{
    return (size_t)(page * 0x9e3779b97f4a7c15ull >> 20) & (m->capacity - 1);
}

static struct memo *at(struct memos *m, size_t index)
{
    struct memo **part = &m->parts[index / MEMO_PART];
    if (!*part) {
        *part = calloc(MEMO_PART, sizeof **part);
        assert(*part && "out of memory for a survey");
        m->part_count++;
    }
    return &(*part)[index % MEMO_PART];
}

static struct memo *find(struct memos *m, uint64_t page)
{
    size_t index = home_of(m, page);
    struct memo *memo;
    while ((memo = at(m, index))->page && memo->page != page)
        index = (index + 1) & (m->capacity - 1);
    return memo;
}

static void make(struct memos *m, size_t capacity)
{
    *m = (struct memos){.parts = calloc(capacity / MEMO_PART, sizeof *m->parts), .capacity = capacity};
    assert(m->parts && "out of memory for a survey");
}

bool memos_free(struct memos *m, size_t parts)
{
    for (; parts > 0 && m->capacity > 0; parts--)
        free(m->parts[(m->capacity -= MEMO_PART) / MEMO_PART]);
    if (m->capacity > 0)
        return false;
    free(m->parts);
    m->parts = NULL;
    return true;
}

/* Only maps with pages that do not exist get here. */
static void grow(struct memos *m)
{
    struct memos old = *m;
    make(m, 2 * old.capacity);
    for (size_t i = 0; i < old.capacity; i++) {
        const struct memo *memo = at(&old, i);
        if (memo->page)
            *find(m, memo->page) = *memo;
    }
    m->used = old.used;
    (void)memos_free(&old, SIZE_MAX);
}

struct memo *memo_of(struct survey *s, uint64_t page, unsigned level)
{
    struct memos *m = &s->memos;
    if (4 * (m->used + 1) > 3 * m->capacity)
        grow(m);
    struct memo *memo = find(m, page);
    m->used += !memo->page;
    if (!memo->page || memo->walk != s->walks)
        *memo = (struct memo){.page = page, .walk = s->walks & WALKS, .level = level & LEVELS};
    return memo;
}

void maps_expect(struct survey *s, uint64_t pages)
{
    size_t capacity = 1024;
    while (4 * (pages + 1) > 3 * capacity)
        capacity *= 2;
    make(&s->memos, capacity);
}

/* ---- walking */

static void add(struct sums *to, const struct sums *s)
{
    space_add(&to->space, &s->space);
    to->bytes += s->bytes;
}

/* False: the page can't stand here. */
static bool is_possible(struct survey *s, const struct memo *memo, const struct map_walk_page *page)
{
    const struct image *image = s->images[s->image_next].image;
    char name[IMAGE_FULL_NAME_MAX + 24];
    if (!meta_exists(s->config.meta, meta_key(META_MAP, page->page, 0))) {
        if (survey_is_first(s))
            survey_found(s, SURVEY_PAGE, page->page, image, page->lba, image_span(page->level),
                         "%s: page %" PRIu64 " of its map, from LBA %" PRIu64 " on, does not exist",
                         survey_image_name(image, name, sizeof name), page->page, page->lba);
        locate_want(&s->pages, page->page, 0);
        return false;
    }
    if (memo->level == page->level && memo->image != survey_tag(s))
        return true;
    if (survey_is_first(s))
        survey_found(s, SURVEY_ENTRY, page->page, image, page->lba, image_span(page->level),
                     "%s: page %" PRIu64 " stands in its map at LBA %" PRIu64 " and elsewhere",
                     survey_image_name(image, name, sizeof name), page->page, page->lba);
    locate_want(&s->pages, page->page, 0);
    return false;
}

static bool enter(void *user, const struct map_walk_page *page)
{
    struct survey *s = user;
    struct memo *memo = memo_of(s, page->page, page->level);
    if (!is_possible(s, memo, page))
        return false;
    memo->image = survey_tag(s);
    if (page->owned && memo->counted) {
        if (survey_is_first(s))
            survey_found(s, SURVEY_OWNERS, page->page, s->images[s->image_next].image, page->lba,
                         image_span(page->level), "page %" PRIu64 " of maps has two owners", page->page);
        locate_want(&s->pages, page->page, 0);
    }
    const bool counting = page->owned && !memo->counted;
    const uint32_t tag = s->images[s->image_next].holds ? survey_tag(s) : TAG_NOBODY;
    if (memo->through && !counting && tags_join(s, memo->tag, tag) == memo->tag) {
        add(&s->frames[page->level + 1].sums, &memo->sums);
        return false;
    }
    s->frames[page->level] = (struct frame){.counting = counting};
    return true;
}

static void leaf(void *user, const struct map_walk_page *page, const uint64_t *slots)
{
    struct survey *s = user;
    slabs_leaf(s, page, slots, s->frames[1].counting, &s->frames[1].sums);
}

static void leave(void *user, const struct map_walk_page *page)
{
    struct survey *s = user;
    struct memo *memo = memo_of(s, page->page, page->level);
    const struct frame *frame = &s->frames[page->level];
    memo->through = true;
    if (frame->counting)
        memo->counted = 1;
    memo->tag = tags_join(s, memo->tag, s->images[s->image_next].holds ? survey_tag(s) : TAG_NOBODY);
    memo->sums = frame->sums;
    add(&s->frames[page->level + 1].sums, &frame->sums);
}

static void lost(void *user, const struct map_walk_page *page)
{
    struct survey *s = user;
    const struct image *image = s->images[s->image_next].image;
    char name[IMAGE_FULL_NAME_MAX + 24];
    memo_of(s, page->page, page->level)->lost = true;
    s->blind = true;
    locate_want(&s->pages, page->page, 0);
    if (survey_is_first(s))
        survey_found(s, SURVEY_PAGE, page->page, image, page->lba, image_span(page->level),
                     "%s: LBA %" PRIu64 " to %" PRIu64 " can't be found without page %" PRIu64
                     " of its map: %s",
                     survey_image_name(image, name, sizeof name), page->lba,
                     page->lba + image_span(page->level) - 1, page->page, s->why);
}

static void impossible(void *user, uint64_t entry, unsigned level, uint64_t lba)
{
    struct survey *s = user;
    const struct image *image = s->images[s->image_next].image;
    char name[IMAGE_FULL_NAME_MAX + 24];
    s->blind = true;
    if (survey_is_first(s))
        survey_found(s, SURVEY_ENTRY, entry_id(entry), image, lba, image_span(level),
                     "%s: from LBA %" PRIu64 " on its map holds the impossible entry %#" PRIx64,
                     survey_image_name(image, name, sizeof name), lba, entry);
}

static const struct map_walk_visitor visitor = {enter, leaf, leave, lost, impossible};

void maps_begin(struct survey *s)
{
    s->walks = (s->walks + 1) & WALKS;
    s->image_next = 0;
    s->walking = false;
}

static void compare_space(struct survey *s, const struct image *image, const struct sums *sums)
{
    static const char *const counts[SPACE_COUNTS] = {"blocks", "blocks of patterns", "duplicate blocks",
                                                     "stored units"};
    char name[IMAGE_FULL_NAME_MAX + 24];
    if (image->deleted || image->kind == IMAGE_TRASH || s->blind)
        return;
    for (int i = 0; i < SPACE_COUNTS; i++)
        if (image->space.n[i] != sums->space.n[i])
            survey_found(s, SURVEY_SPACE, image->id, image, 0, 0,
                         "%s: its map holds %" PRId64 " %s, %" PRId64 " are counted",
                         survey_image_name(image, name, sizeof name), sums->space.n[i], counts[i],
                         image->space.n[i]);
}

static void end_image(struct survey *s)
{
    struct survey_image *i = &s->images[s->image_next];
    const struct sums *sums = &s->frames[i->image->depth + 1].sums;
    if (survey_is_first(s))
        compare_space(s, i->image, sums);
    i->space.referenced.blocks = (uint64_t)sums->space.n[SPACE_LOGICAL];
    i->space.referenced.stored_bytes += sums->bytes;
}

enum survey_state maps_step(struct survey *s)
{
    if (!s->walking) {
        if (s->image_next == s->image_count)
            return SURVEY_DONE;
        struct image *image = s->images[s->image_next].image;
        map_walk_begin(&s->walk, s->config.meta, image, &visitor, s);
        s->frames[image->depth + 1] = (struct frame){0};
        s->walking = true;
    }
    switch (map_walk_step(&s->walk)) {
    case MAP_WALK_MISSING:
        return SURVEY_MISSING;
    case MAP_WALK_DONE:
        end_image(s);
        s->walking = false;
        s->image_next++;
        return SURVEY_MORE;
    case MAP_WALK_MORE:
        break;
    }
    return SURVEY_MORE;
}

/* ---- pages that belong to nobody */

void maps_look_for_owner(void *user, struct meta_key page)
{
    struct survey *s = user;
    if (meta_kind_of(page) != META_MAP)
        return;
    const struct memo *memo = find(&s->memos, meta_page_number(page));
    const bool met = memo->page && memo->walk == s->walks;
    if (met && (memo->counted || memo->lost))
        return;
    survey_found(s, SURVEY_OWNERS, meta_page_number(page), NULL, 0, 0,
                 "page %" PRIu64 " of maps belongs to no image%s", meta_page_number(page),
                 met ? ", though one refers to it" : "");
}
