/* Where what was found belongs: all maps are gone through once more, for a few groups and pages. A page with
 * nothing of them below it is gone into once, however many images share it. */
#include <inttypes.h>
#include <string.h>

#include "node/pod/survey_impl.h"

void locate_want(struct wanted_list *list, uint64_t id, unsigned slots)
{
    size_t at = list->count;
    while (at > 0 && list->at[at - 1].id > id)
        at--;
    if (at > 0 && list->at[at - 1].id == id) {
        list->at[at - 1].slots |= (uint8_t)slots;
        return;
    }
    if (list->count == SURVEY_WANTED_MAX)
        return;
    memmove(&list->at[at + 1], &list->at[at], (list->count - at) * sizeof list->at[0]);
    list->at[at] = (struct wanted){id, (uint8_t)slots};
    list->count++;
}

static const struct wanted *find(const struct wanted_list *list, uint64_t id)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        const size_t mid = (low + high) / 2;
        if (list->at[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < list->count && list->at[low].id == id ? &list->at[low] : NULL;
}

static void tell(struct survey *s, const char *what, uint64_t subject, uint64_t id, uint64_t lba,
                 uint64_t count)
{
    const struct image *image = s->images[s->image_next].image;
    char name[IMAGE_FULL_NAME_MAX + 24];
    survey_image_name(image, name, sizeof name);
    if (count == 1)
        survey_found(s, SURVEY_AT, subject, image, lba, count, "%s %" PRIu64 " is at LBA %" PRIu64 " of %s",
                     what, id, lba, name);
    else
        survey_found(s, SURVEY_AT, subject, image, lba, count,
                     "%s %" PRIu64 " is at LBA %" PRIu64 " to %" PRIu64 " of %s", what, id, lba,
                     lba + count - 1, name);
}

static bool enter(void *user, const struct map_walk_page *page)
{
    struct survey *s = user;
    struct memo *memo = memo_of(s, page->page, page->level);
    if (find(&s->pages, page->page)) {
        tell(s, "page", meta_key(META_MAP, page->page, 0).v, page->page, page->lba, image_span(page->level));
        s->frames[page->level + 1].hit = true;
    }
    /* What stands at two levels, or twice in an image, was told of: gone into once more it might never end.
     */
    if (memo->barren || memo->lost || memo->level != page->level || memo->image == survey_tag(s))
        return false;
    memo->image = survey_tag(s);
    s->frames[page->level].hit = false;
    return true;
}

static void leaf(void *user, const struct map_walk_page *page, const uint64_t *slots)
{
    struct survey *s = user;
    const bool trash = s->images[s->image_next].image->kind == IMAGE_TRASH;
    uint64_t group = 0;
    unsigned first = 0, count = 0;
    for (unsigned i = 0; i <= META_SLOTS; i++) {
        const uint64_t e = i < META_SLOTS ? slots[i] : 0;
        const bool data = entry_type(e) == ENTRY_DATA && (entry_owns(e) || !trash);
        const struct wanted *w = data ? find(&s->groups, block_group(entry_id(e))) : NULL;
        const bool hit = w && w->slots >> block_slot(entry_id(e)) & 1;
        if (hit && count && w->id == group && first + count == i) {
            count++;
            continue;
        }
        if (count)
            tell(s, "group", group, group, page->lba + first, count);
        count = hit;
        if (hit) {
            group = w->id;
            first = i;
            s->frames[1].hit = true;
        }
    }
}

static void leave(void *user, const struct map_walk_page *page)
{
    struct survey *s = user;
    const bool hit = s->frames[page->level].hit;
    memo_of(s, page->page, page->level)->barren = hit ? 0 : 1;
    s->frames[page->level + 1].hit |= hit;
}

static void lost(void *user, const struct map_walk_page *page)
{
    struct survey *s = user;
    memo_of(s, page->page, page->level)->lost = true;
}

static void impossible(void *user, uint64_t entry, unsigned level, uint64_t lba)
{
    (void)user;
    (void)entry;
    (void)level;
    (void)lba;
}

static const struct map_walk_visitor visitor = {enter, leaf, leave, lost, impossible};

void locate_begin(struct survey *s)
{
    s->phase = PHASE_LOCATE;
    maps_begin(s);
}

enum survey_state locate_step(struct survey *s)
{
    if (s->image_next == s->image_count || s->groups.count + s->pages.count == 0)
        return SURVEY_DONE;
    if (!s->walking) {
        map_walk_begin(&s->walk, s->config.meta, s->images[s->image_next].image, &visitor, s);
        s->walking = true;
    }
    switch (map_walk_step(&s->walk)) {
    case MAP_WALK_MISSING:
        return SURVEY_MISSING;
    case MAP_WALK_DONE:
        s->walking = false;
        s->image_next++;
        break;
    case MAP_WALK_MORE:
        break;
    }
    return SURVEY_MORE;
}
