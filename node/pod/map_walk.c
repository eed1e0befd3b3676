#include "node/pod/map_walk.h"

#include <assert.h>
#include <string.h>

enum {
    LOOKS = 16 /* at entries of an inner page, in a step: who remembers their pages goes into none */
};

void map_walk_begin(struct map_walk *w, struct meta *meta, const struct image *image,
                    const struct map_walk_visitor *visitor, void *user)
{
    const bool releasing = image->deleted || image->kind == IMAGE_TRASH;
    assert(image->depth >= 1 && image->depth < MAP_WALK_LEVELS);
    w->meta = meta;
    w->visitor = visitor;
    w->user = user;
    w->root = image->root;
    w->from = releasing ? image->cursor : 0;
    w->owned_only = image->kind == IMAGE_TRASH;
    w->entered = false;
    w->top = image->depth;
    w->used = 0;
}

static struct map_walk_level *here(struct map_walk *w)
{
    return &w->levels[w->top - w->used + 1];
}

/* The entry at `level` and `lba`: goes into it if it is a page. */
static void look(struct map_walk *w, uint64_t entry, unsigned level, uint64_t lba, bool owned)
{
    if (entry_type(entry) == ENTRY_HOLE || lba + image_span(level) <= w->from)
        return;
    if (entry_type(entry) != ENTRY_PAGE) {
        w->visitor->impossible(w->user, entry, level, lba);
        return;
    }
    const struct map_walk_page page = {entry_id(entry), level, lba, owned && entry_owns(entry)};
    if ((w->owned_only && !page.owned) || !w->visitor->enter(w->user, &page))
        return;
    w->used++;
    here(w)->page = page;
    here(w)->next = 0;
    w->entered = true;
}

static void leave(struct map_walk *w)
{
    w->visitor->leave(w->user, &here(w)->page);
    w->used--;
}

static struct meta_key key_of(const struct map_walk_page *page)
{
    return meta_key(META_MAP, page->page, 0);
}

enum map_walk_state map_walk_step(struct map_walk *w)
{
    if (w->root) {
        const uint64_t root = w->root;
        w->root = 0;
        look(w, root, w->top, 0, true);
    }
    if (w->used == 0)
        return MAP_WALK_DONE;
    struct map_walk_level *l = here(w);
    if (w->entered) {
        const uint64_t *slots = meta_slots(w->meta, key_of(&l->page));
        if (!slots)
            return MAP_WALK_MISSING;
        w->entered = false;
        if (l->page.level == 1) {
            w->visitor->leaf(w->user, &l->page, slots);
            leave(w);
            return MAP_WALK_MORE;
        }
        memcpy(l->slots, slots, sizeof l->slots);
    }
    const unsigned below = l->page.level - 1;
    for (unsigned looked = 0; l->next < META_SLOTS && !w->entered && looked < LOOKS;) {
        const unsigned slot = l->next++;
        looked += entry_type(l->slots[slot]) != ENTRY_HOLE;
        look(w, l->slots[slot], below, l->page.lba + slot * image_span(below), l->page.owned);
    }
    if (l->next == META_SLOTS && !w->entered)
        leave(w);
    return MAP_WALK_MORE;
}

size_t map_walk_missing(const struct map_walk *w, struct meta_key keys[MAP_WALK_AHEAD])
{
    const struct map_walk_level *l = &w->levels[w->top - w->used + 1];
    assert(w->used && w->entered);
    keys[0] = key_of(&l->page);
    size_t n = 1;
    if (w->used == 1)
        return n;
    const struct map_walk_level *above = l + 1;
    for (unsigned slot = above->next; slot < META_SLOTS && n < MAP_WALK_AHEAD; slot++)
        if (entry_type(above->slots[slot]) == ENTRY_PAGE)
            keys[n++] = entry_page_key(above->slots[slot]);
    return n;
}

void map_walk_give_up(struct map_walk *w)
{
    assert(w->used && w->entered);
    w->entered = false;
    w->visitor->lost(w->user, &here(w)->page);
    leave(w);
}
