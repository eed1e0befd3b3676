/* Images, and what their maps refer to. */
#include <inttypes.h>
#include <string.h>

#include "tests/support/pool_audit_impl.h"

enum {
    HOLE,
    DATA,
    PATTERN,
    PAGE
};
enum {
    VOLUME = 1,
    SNAPSHOT,
    TRASH
};
enum {
    LOGICAL,
    BY_PATTERN,
    DUPLICATE,
    UNITS
};
#define OWN     (1ull << 59)
#define ID_MASK ((1ull << 52) - 1)

struct walk {
    struct audit *a;
    struct audit_image *image;
    uint64_t end; /* blocks of the image */
};

static uint64_t span(unsigned level)
{
    return 1ull << 9 * level;
}

static void refer(struct walk *w, uint64_t lba, uint64_t entry, bool owns)
{
    struct audit *a = w->a;
    const uint64_t block = entry & ID_MASK;
    const uint64_t l2p = audit_slot(a, KIND_L2P, block >> 3);
    w->image->found[LOGICAL]++;
    if (entry >> 58 & 1)
        w->image->found[DUPLICATE]++;
    else
        w->image->found[UNITS] += 1 + (int64_t)(entry >> 52 & 63);
    a->out->references++;
    if (!(l2p >> (block & 7) & 1))
        audit_wrong(a, "image %" PRIu64 ", LBA %" PRIu64 ": block %" PRIu64 " does not live", w->image->id,
                    lba, block);
    if (owns)
        *(uint64_t *)audit_add(&a->owned, sizeof block) = block;
}

static void leaf_entry(struct walk *w, uint64_t entry, uint64_t lba, bool owned)
{
    const bool owns = owned && entry & OWN;
    if (entry && lba >= w->end && !w->image->deleted)
        audit_wrong(w->a, "image %" PRIu64 " ends at LBA %" PRIu64 " and has something at %" PRIu64,
                    w->image->id, w->end, lba);
    switch (entry >> 60) {
    case DATA:
        /* What trash does not own may be gone. */
        if (owns || w->image->kind != TRASH)
            refer(w, lba, entry, owns);
        break;
    case PATTERN:
        w->image->found[LOGICAL]++;
        w->image->found[BY_PATTERN]++;
        break;
    default:
        if (entry)
            audit_wrong(w->a, "image %" PRIu64 ", LBA %" PRIu64 " has the entry %#" PRIx64, w->image->id, lba,
                        entry);
    }
}

/* An entry that stands for span(level) blocks. */
static void go(struct walk *w, uint64_t entry, unsigned level, uint64_t lba, bool owned)
{
    struct audit *a = w->a;
    const uint64_t done = w->image->releasing ? w->image->cursor : 0;
    if (entry == 0 || lba + span(level) <= done || a->wrong)
        return;
    if (level == 0) {
        leaf_entry(w, entry, lba, owned);
        return;
    }
    const bool owns = owned && entry & OWN;
    if (w->image->kind == TRASH && !owns)
        return;
    struct audit_page *page = entry >> 60 == PAGE ? audit_page(a, KIND_MAP, entry & ID_MASK) : NULL;
    if (!page || (entry & ID_MASK) >= a->next_page) {
        audit_wrong(a, "image %" PRIu64 ", LBA %" PRIu64 ": there is no page for entry %#" PRIx64,
                    w->image->id, lba, entry);
        return;
    }
    if (page->level && page->level != level)
        audit_wrong(a, "page %#" PRIx64 " stands at levels %u and %u", page->key, level, page->level);
    page->level = level;
    page->owners += owns;
    if (page->owners > 1)
        audit_wrong(a, "page %#" PRIx64 " has two owners", page->key);
    for (unsigned i = 0; i < AUDIT_SLOTS; i++)
        go(w, page->slots[i], level - 1, lba + i * span(level - 1), owns);
}

static struct audit_image *find(struct audit *a, uint64_t id)
{
    struct audit_image *images = a->images.items;
    for (size_t i = 0; i < a->images.count; i++)
        if (images[i].id == id)
            return &images[i];
    return NULL;
}

static bool same_name(const struct audit_image *x, const struct audit_image *y)
{
    return !x->deleted && !y->deleted && x->kind == y->kind && x->kind != TRASH &&
           (x->kind == VOLUME || x->volume == y->volume) && strcmp(x->name, y->name) == 0;
}

static void look_at_image(struct audit *a, struct audit_image *image)
{
    struct audit_image *images = a->images.items;
    unsigned children = 0;
    if (image->kind < VOLUME || image->kind > TRASH || image->depth < 1 || image->depth > 5 ||
        image->id >= a->next_image || image->size > span(image->depth) * AUDIT_BLOCK)
        audit_wrong(a, "image %" PRIu64 " is impossible", image->id);
    if (image->parent && (image->parent == image->id || !find(a, image->parent)))
        audit_wrong(a, "image %" PRIu64 " has the parent %" PRIu64 ", which is not there", image->id,
                    image->parent);
    const struct audit_image *volume = find(a, image->volume);
    if (image->kind == SNAPSHOT && !image->deleted && (!volume || volume->kind != VOLUME || volume->deleted))
        audit_wrong(a, "snapshot %" PRIu64 " has no volume", image->id);
    for (size_t i = 0; i < a->images.count; i++) {
        children += images[i].parent == image->id;
        if (&images[i] != image && same_name(&images[i], image))
            audit_wrong(a, "images %" PRIu64 " and %" PRIu64 " are both \"%s\"", image->id, images[i].id,
                        image->name);
    }
    image->releasing = image->kind == TRASH || (image->deleted && children <= 1);
    if (image->cursor && !image->releasing)
        audit_wrong(a, "image %" PRIu64 " is half released, and nobody deleted it", image->id);
}

void audit_maps(struct audit *a)
{
    struct audit_image *images = a->images.items;
    for (size_t i = 0; i < a->images.count && !a->wrong; i++)
        look_at_image(a, &images[i]);
    for (size_t i = 0; i < a->images.count && !a->wrong; i++) {
        struct audit_image *image = &images[i];
        struct walk w = {a, image, image->size / AUDIT_BLOCK};
        go(&w, image->root, image->depth, 0, true);
        for (unsigned n = 0; n < 4 && !image->deleted && image->kind != TRASH; n++)
            if (image->counts[n] != image->found[n])
                audit_wrong(a, "image %" PRIu64 " counts %" PRId64 " of %u, its map has %" PRId64, image->id,
                            image->counts[n], n, image->found[n]);
    }
    for (size_t i = 0; i < a->page_count; i++)
        if (a->pages[i].key >> 60 == KIND_MAP && a->pages[i].owners == 0)
            audit_wrong(a, "page %#" PRIx64 " of maps has no owner", a->pages[i].key);
    a->out->images = a->images.count;
}
