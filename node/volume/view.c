#include "node/volume/view.h"

#include <stdlib.h>
#include <string.h>

#include "common/container.h"

struct shadow {
    struct list_node age;      /* by last_seq, oldest first */
    struct list_node unpinned; /* its page does not exist yet: pinned once it does */
    struct shadow *next;       /* in its bucket, or free */
    struct meta_key key;
    uint64_t last_seq;
    uint64_t slots[META_SLOTS];
};

enum {
    BUCKETS = 4096
};

struct view {
    struct meta *meta;
    size_t room, missing_count;
    struct shadow *free;
    struct list_node age, unpinned;
    struct meta_key missing[VIEW_MISSING_MAX];
    struct shadow *buckets[BUCKETS];
};

struct view *view_create(struct meta *meta, size_t max_shadows)
{
    struct view *view = calloc(1, sizeof *view);
    assert(view);
    view->meta = meta;
    view->room = max_shadows;
    list_init(&view->age);
    list_init(&view->unpinned);
    return view;
}

static struct shadow **bucket_of(struct view *view, struct meta_key key)
{
    const uint64_t h = (key.v >> META_SLOT_BITS) * 0x9e3779b97f4a7c15ull;
    return &view->buckets[h >> 52];
}

static struct shadow *find(struct view *view, struct meta_key key)
{
    struct shadow *s = *bucket_of(view, key);
    while (s && s->key.v != key.v)
        s = s->next;
    return s;
}

static void remove_shadow(struct view *view, struct shadow *s)
{
    struct shadow **link = bucket_of(view, s->key);
    while (*link != s)
        link = &(*link)->next;
    *link = s->next;
    list_remove(&s->age);
    list_remove(&s->unpinned);
    s->next = view->free;
    view->free = s;
    view->room++;
}

void view_destroy(struct view *view)
{
    while (!list_empty(&view->age))
        remove_shadow(view, container_of(view->age.next, struct shadow, age));
    for (struct shadow *s = view->free, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    free(view);
}

size_t view_room(const struct view *view)
{
    return view->room;
}

const uint64_t *view_slots(struct view *view, struct meta_key page, bool planned)
{
    if (planned) {
        const struct shadow *s = find(view, page);
        if (s)
            return s->slots;
    }
    const uint64_t *slots = meta_slots(view->meta, page);
    if (slots)
        return slots;
    for (size_t i = 0; i < view->missing_count; i++)
        if (view->missing[i].v == page.v)
            return NULL;
    if (view->missing_count < VIEW_MISSING_MAX)
        view->missing[view->missing_count++] = page;
    return NULL;
}

static struct shadow *shadow_of(struct view *view, struct meta_key page, uint64_t seq, bool *fresh)
{
    struct shadow *s = find(view, page);
    *fresh = !s;
    if (!s) {
        assert(view->room && "the planner checks view_room");
        s = view->free;
        if (s)
            view->free = s->next;
        else
            s = malloc(sizeof *s);
        assert(s);
        view->room--;
        s->key = page;
        list_init(&s->age);
        s->next = *bucket_of(view, page);
        *bucket_of(view, page) = s;
        list_init(&s->unpinned);
        if (meta_exists(view->meta, page))
            meta_pin(view->meta, page);
        else
            list_push_back(&view->unpinned, &s->unpinned);
    }
    list_remove(&s->age);
    list_push_back(&view->age, &s->age);
    s->last_seq = seq;
    return s;
}

uint64_t *view_edit(struct view *view, struct meta_key page, uint64_t seq)
{
    bool fresh;
    struct shadow *s = shadow_of(view, page, seq, &fresh);
    if (fresh) {
        const uint64_t *slots = meta_slots(view->meta, page);
        assert(slots && "a plan edits only pages that it has seen");
        memcpy(s->slots, slots, sizeof s->slots);
    }
    return s->slots;
}

uint64_t *view_edit_new(struct view *view, struct meta_key page, uint64_t seq)
{
    bool fresh;
    struct shadow *s = shadow_of(view, page, seq, &fresh);
    assert(fresh);
    memset(s->slots, 0, sizeof s->slots);
    return s->slots;
}

void view_applied(struct view *view, uint64_t seq)
{
    while (!list_empty(&view->age)) {
        struct shadow *s = container_of(view->age.next, struct shadow, age);
        if (s->last_seq > seq)
            break;
        if (list_empty(&s->unpinned))
            meta_unpin(view->meta, s->key);
        remove_shadow(view, s);
    }
    list_for_each_safe(node, after, &view->unpinned)
    {
        struct shadow *s = container_of(node, struct shadow, unpinned);
        if (!meta_exists(view->meta, s->key))
            continue;
        meta_pin(view->meta, s->key);
        list_remove(&s->unpinned);
    }
}

size_t view_missing(const struct view *view, const struct meta_key **pages)
{
    *pages = view->missing;
    return view->missing_count;
}

void view_missing_clear(struct view *view)
{
    view->missing_count = 0;
}
