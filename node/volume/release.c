/* Taking an image apart, one leaf at a time in ascending order.
 *
 * The image owns pages and blocks. Where its only child still refers to the
 * same target without owning it, ownership moves there, with the whole subtree
 * in one step; where the child went its own way, what the image owns is given
 * back and its page dropped. The cursor, in blocks, is part of the image's
 * record, so a crash goes on where the last committed piece ended. */
#include "node/flash/l2p.h"
#include "node/volume/map.h"

enum {
    LEVELS_MAX = 6
};

/* Where the cursor stands: the image's own pages above it and the child's at the same place. */
struct spot {
    unsigned level;     /* of `entry`'s target: 0 a block, 1 a leaf page… */
    uint64_t entry;     /* what the image holds there */
    uint64_t twin;      /* what the child holds there; 0 if it has no such place */
    uint64_t twin_page; /* entry of the child's page that holds it; 0: the child's root itself */
    unsigned twin_slot;
    uint64_t path[LEVELS_MAX]; /* path[l]: the image's own page of level l above */
};

/* The child's entry of level `level` at the same place (its tree may be deeper, never flatter). */
static bool twin_root(struct view *view, const struct image *child, unsigned level, struct spot *spot)
{
    spot->twin = child ? child->planned_root : 0;
    spot->twin_page = 0;
    for (unsigned l = child ? child->depth : level; l > level; l--) {
        if (entry_type(spot->twin) != ENTRY_PAGE) {
            spot->twin = 0;
            break;
        }
        const uint64_t *slots = view_slots(view, entry_page_key(spot->twin), true);
        if (!slots)
            return false;
        spot->twin_page = spot->twin;
        spot->twin_slot = 0;
        spot->twin = slots[0];
    }
    return true;
}

static bool same_unowned(const struct spot *spot)
{
    return spot->twin && !entry_owns(spot->twin) && entry_same_target(spot->entry, spot->twin);
}

/* Goes down to the cursor until there is a leaf to work on or something to move or skip as a whole. */
static bool find_spot(struct view *view, const struct image *image, const struct image *child,
                      struct spot *spot)
{
    spot->level = image->depth;
    spot->entry = image->planned_root;
    if (!twin_root(view, child, image->depth, spot))
        return false;
    while (spot->level > 1) {
        if (entry_type(spot->entry) != ENTRY_PAGE || !entry_owns(spot->entry) || same_unowned(spot))
            return true;
        const uint64_t *slots = view_slots(view, entry_page_key(spot->entry), true);
        if (!slots)
            return false;
        const unsigned slot = (unsigned)(image->planned_cursor >> (9 * (spot->level - 1))) & (META_SLOTS - 1);
        spot->path[spot->level] = spot->entry;
        const uint64_t below = slots[slot];
        if (entry_type(spot->twin) == ENTRY_PAGE) {
            const uint64_t *twins = view_slots(view, entry_page_key(spot->twin), true);
            if (!twins)
                return false;
            spot->twin_page = spot->twin;
            spot->twin_slot = slot;
            spot->twin = twins[slot];
        } else {
            spot->twin = 0;
        }
        spot->entry = below;
        spot->level--;
    }
    return true;
}

static bool is_work(const struct spot *spot)
{
    return spot->level == 1 && entry_type(spot->entry) == ENTRY_PAGE && entry_owns(spot->entry) &&
           !same_unowned(spot);
}

bool release_can_step(struct view *view, struct images *images, struct image *image)
{
    struct spot spot;
    if (!find_spot(view, image, images_only_child(images, image), &spot))
        return false;
    if (!is_work(&spot))
        return true;
    const uint64_t *slots = view_slots(view, entry_page_key(spot.entry), true), *twins = NULL;
    bool all = slots != NULL;
    if (entry_type(spot.twin) == ENTRY_PAGE) {
        twins = view_slots(view, entry_page_key(spot.twin), true);
        all &= twins != NULL;
    }
    for (unsigned i = 0; all && i < META_SLOTS; i++)
        if (!(twins && entry_same_target(slots[i], twins[i]) && !entry_owns(twins[i])))
            (void)plan_can_give_back(view, slots[i]);
    const struct meta_key *missing;
    return all && view_missing(view, &missing) == 0;
}

static void adopt_subtree(struct plan *plan, struct image *child, const struct spot *spot)
{
    const uint64_t owned = spot->twin | ENTRY_OWN;
    if (!spot->twin_page) {
        plan_root(plan, child, owned);
        return;
    }
    assert(entry_owns(spot->twin_page) && "a page that differs from the parent's is the child's own");
    view_edit(plan->view, entry_page_key(spot->twin_page), plan->seq)[spot->twin_slot] = owned;
    changes_set(plan->changes, entry_id(spot->twin_page), spot->twin_slot, owned);
}

static void release_leaf(struct plan *plan, const struct spot *spot)
{
    uint64_t own[META_SLOTS];
    const uint64_t *slots = view_slots(plan->view, entry_page_key(spot->entry), true);
    for (unsigned i = 0; i < META_SLOTS; i++)
        own[i] = slots[i];
    uint64_t *twins = NULL;
    if (entry_type(spot->twin) == ENTRY_PAGE) {
        assert(entry_owns(spot->twin) && "a leaf that differs from the parent's is the child's own");
        twins = view_edit(plan->view, entry_page_key(spot->twin), plan->seq);
    }
    for (unsigned i = 0; i < META_SLOTS; i++) {
        if (!entry_owns(own[i]))
            continue;
        if (twins && entry_same_target(own[i], twins[i]) && !entry_owns(twins[i])) {
            twins[i] |= ENTRY_OWN;
            changes_set(plan->changes, entry_id(spot->twin), i, twins[i]);
        } else {
            plan_give_back(plan, own[i]);
        }
    }
    changes_drop(plan->changes, entry_id(spot->entry));
}

void release_step(struct plan *plan, struct images *images, struct image *image, bool *done)
{
    struct image *child = images_only_child(images, image);
    struct spot spot;
    const bool found = find_spot(plan->view, image, child, &spot);
    assert(found && "the looking pass saw every page");
    if (is_work(&spot))
        release_leaf(plan, &spot);
    else if (same_unowned(&spot) && entry_owns(spot.entry))
        adopt_subtree(plan, child, &spot);
    const uint64_t span = image_span(spot.level), end = image_span(image->depth);
    const uint64_t cursor = (image->planned_cursor / span + 1) * span;
    image->planned_cursor = cursor;
    image->planned_seq = plan->seq;
    /* Inner pages whose last slot lies behind the cursor have nothing left. */
    for (unsigned level = spot.level + 1; level <= image->depth && cursor % image_span(level) == 0; level++)
        changes_drop(plan->changes, entry_id(spot.path[level]));
    *done = cursor >= end;
    if (*done) {
        changes_gone(plan->changes, image->id);
        return;
    }
    /* The applied image stays as it is: a checkpoint may be cut before this batch is durable. */
    struct image next = *image;
    next.cursor = cursor;
    uint8_t record[IMAGE_RECORD_MAX];
    const size_t bytes = image_encode(&next, image->planned_root, record);
    changes_image(plan->changes, image->id, false, record, bytes);
}
