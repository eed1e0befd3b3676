#include "node/volume/map.h"

#include <string.h>

#include "node/flash/l2p.h"

enum {
    FANOUT_BITS = 9
};

static unsigned slot_at(uint64_t lba, unsigned level)
{
    return (unsigned)(lba >> (FANOUT_BITS * (level - 1))) & (META_SLOTS - 1);
}

static struct meta_key ref_key(uint64_t block)
{
    return meta_key_flat(META_REF, block);
}

/* ---- looking up */

bool map_leaf(struct view *view, uint64_t root, unsigned depth, uint64_t lba, bool planned,
              const uint64_t **slots, uint64_t *hole_end)
{
    uint64_t entry = root;
    for (unsigned level = depth; level >= 1; level--) {
        if (entry_type(entry) != ENTRY_PAGE) {
            *slots = NULL;
            *hole_end = (lba / image_span(level) + 1) * image_span(level);
            return true;
        }
        const uint64_t *page = view_slots(view, entry_page_key(entry), planned);
        if (!page)
            return false;
        if (level == 1) {
            *slots = page;
            return true;
        }
        entry = page[slot_at(lba, level)];
    }
    return false; /* not reached: depth is at least 1 */
}

/* ---- blocks */

bool block_is_live(struct view *view, uint64_t block, bool *missing)
{
    const struct meta_key key = l2p_key(block_group(block));
    const uint64_t *slots = view_slots(view, meta_page_of(key), true);
    if (!slots) {
        *missing = true;
        return false;
    }
    return l2p_is_live(slots[meta_slot_of(key)], block_slot(block));
}

bool block_can_share(struct view *view, uint64_t block)
{
    return view_slots(view, meta_page_of(ref_key(block)), true) != NULL;
}

void block_share(struct plan *plan, uint64_t block)
{
    const struct meta_key key = ref_key(block);
    uint64_t *extra = &view_edit(plan->view, meta_page_of(key), plan->seq)[meta_slot_of(key)];
    changes_ref(plan->changes, block, ++*extra);
}

bool group_can_be_born(struct view *view, uint64_t group)
{
    const bool l2p = view_slots(view, meta_page_of(l2p_key(group)), true) != NULL;
    const bool ref = view_slots(view, meta_page_of(ref_key(group << 3)), true) != NULL;
    return l2p && ref;
}

void block_born(struct plan *plan, uint64_t block)
{
    const struct meta_key key = l2p_key(block_group(block));
    uint64_t *value = &view_edit(plan->view, meta_page_of(key), plan->seq)[meta_slot_of(key)];
    *value |= 1ull << block_slot(block);
}

bool plan_can_give_back(struct view *view, uint64_t entry)
{
    if (!entry_owns(entry) || entry_type(entry) != ENTRY_DATA)
        return true;
    const uint64_t block = entry_id(entry);
    const bool ref = view_slots(view, meta_page_of(ref_key(block)), true) != NULL;
    const bool l2p = view_slots(view, meta_page_of(l2p_key(block_group(block))), true) != NULL;
    return ref && l2p;
}

void plan_give_back(struct plan *plan, uint64_t entry)
{
    if (!entry_owns(entry) || entry_type(entry) != ENTRY_DATA)
        return;
    const uint64_t block = entry_id(entry);
    const struct meta_key ref = ref_key(block);
    const uint64_t extra = view_slots(plan->view, meta_page_of(ref), true)[meta_slot_of(ref)];
    if (extra) {
        view_edit(plan->view, meta_page_of(ref), plan->seq)[meta_slot_of(ref)] = extra - 1;
        changes_ref(plan->changes, block, extra - 1);
        return;
    }
    const struct meta_key key = l2p_key(block_group(block));
    uint64_t *value = &view_edit(plan->view, meta_page_of(key), plan->seq)[meta_slot_of(key)];
    assert(l2p_is_live(*value, block_slot(block)) && "an owned entry's block lives");
    *value &= ~(1ull << block_slot(block));
    changes_free(plan->changes, block, 1);
    plan->freed++;
}

/* ---- changing */

bool map_can_put(struct view *view, const struct image *image, uint64_t lba, unsigned count)
{
    const uint64_t *slots;
    uint64_t hole_end;
    if (!map_leaf(view, image->planned_root, image->depth, lba, true, &slots, &hole_end))
        return false;
    bool all = true;
    const unsigned first = slot_at(lba, 1);
    for (unsigned i = 0; slots && i < count; i++)
        all &= plan_can_give_back(view, slots[first + i]);
    return all;
}

void plan_root(struct plan *plan, struct image *image, uint64_t root)
{
    image->planned_root = root;
    image->planned_seq = plan->seq;
    changes_root(plan->changes, image->id, root);
}

static uint64_t new_page(struct plan *plan)
{
    return (*plan->next_page)++;
}

/* The entry's page as one that the image may change: itself if owned, else a copy, else a new one. */
static uint64_t writable(struct plan *plan, uint64_t entry, uint64_t **slots)
{
    if (entry_type(entry) == ENTRY_PAGE && entry_owns(entry)) {
        *slots = view_edit(plan->view, entry_page_key(entry), plan->seq);
        return entry;
    }
    const uint64_t to = new_page(plan);
    if (entry_type(entry) == ENTRY_PAGE) {
        const uint64_t *from = view_slots(plan->view, entry_page_key(entry), true);
        *slots = view_edit_new(plan->view, meta_key(META_MAP, to, 0), plan->seq);
        for (unsigned i = 0; i < META_SLOTS; i++)
            (*slots)[i] = from[i] & ~ENTRY_OWN;
        changes_copy(plan->changes, to, entry_id(entry));
    } else {
        *slots = view_edit_new(plan->view, meta_key(META_MAP, to, 0), plan->seq);
    }
    return entry_page(to);
}

static void set_slot(struct plan *plan, uint64_t page_entry, uint64_t *slots, unsigned slot, uint64_t value)
{
    slots[slot] = value;
    changes_set(plan->changes, entry_id(page_entry), slot, value);
}

/* Makes every page from the root to the leaf of `lba` the image's own. */
static uint64_t own_path(struct plan *plan, struct image *image, uint64_t lba, unsigned down_to,
                         uint64_t **slots)
{
    uint64_t *here;
    uint64_t entry = writable(plan, image->planned_root, &here);
    if (entry != image->planned_root)
        plan_root(plan, image, entry);
    for (unsigned level = image->depth; level > down_to; level--) {
        const unsigned slot = slot_at(lba, level);
        const uint64_t below = here[slot];
        uint64_t *next;
        const uint64_t own = writable(plan, below, &next);
        if (own != below)
            set_slot(plan, entry, here, slot, own);
        entry = own;
        here = next;
    }
    *slots = here;
    return entry;
}

void map_put(struct plan *plan, struct image *image, uint64_t lba, unsigned count, const uint64_t *entries,
             struct space *space)
{
    const unsigned first = slot_at(lba, 1);
    uint64_t *slots;
    assert(first + count <= META_SLOTS);
    const uint64_t leaf = own_path(plan, image, lba, 1, &slots);
    uint64_t old[META_SLOTS];
    for (unsigned i = 0; i < count; i++) {
        old[i] = slots[first + i];
        space_count(space, old[i], -1);
        space_count(space, entries[i], +1);
        set_slot(plan, leaf, slots, first + i, entries[i]);
    }
    for (unsigned i = 0; i < count; i++)
        plan_give_back(plan, old[i]);
}

/* The leaf of `lba` leaves the tree: its place above becomes a hole. */
static void cut_leaf(struct plan *plan, struct image *image, uint64_t lba, uint64_t leaf)
{
    if (image->depth == 1) {
        plan_root(plan, image, 0);
    } else {
        uint64_t *above;
        const uint64_t page = own_path(plan, image, lba, 2, &above);
        set_slot(plan, page, above, slot_at(lba, 2), 0);
    }
    if (entry_owns(leaf))
        changes_drop(plan->changes, entry_id(leaf));
}

/* The entry of the leaf page of `lba`, owned only if every page above it is the
 * image's own too; the looking pass saw them all. */
static uint64_t leaf_entry(struct view *view, const struct image *image, uint64_t lba)
{
    uint64_t entry = image->planned_root, own = entry & ENTRY_OWN;
    for (unsigned level = image->depth; level > 1 && entry_type(entry) == ENTRY_PAGE; level--) {
        const uint64_t *slots = view_slots(view, entry_page_key(entry), true);
        assert(slots);
        entry = slots[slot_at(lba, level)];
        own &= entry;
    }
    return (entry & ~ENTRY_OWN) | own;
}

void map_punch(struct plan *plan, struct image *image, uint64_t lba, unsigned count, struct space *space)
{
    static const uint64_t holes[META_SLOTS];
    const uint64_t leaf = leaf_entry(plan->view, image, lba);
    if (entry_type(leaf) != ENTRY_PAGE)
        return;
    const uint64_t *slots = view_slots(plan->view, entry_page_key(leaf), true);
    assert(slots && "the looking pass saw every page");
    if (count == META_SLOTS) {
        uint64_t old[META_SLOTS];
        memcpy(old, slots, sizeof old);
        cut_leaf(plan, image, lba, leaf);
        for (unsigned i = 0; i < META_SLOTS; i++) {
            space_count(space, old[i], -1);
            if (entry_owns(leaf))
                plan_give_back(plan, old[i]);
        }
        return;
    }
    const unsigned first = slot_at(lba, 1);
    bool any = false;
    for (unsigned i = 0; i < count; i++)
        any |= slots[first + i] != 0;
    if (any)
        map_put(plan, image, lba, count, holes, space);
}

void map_deepen(struct plan *plan, struct image *image, unsigned depth)
{
    while (image->depth < depth) {
        if (entry_type(image->planned_root) == ENTRY_PAGE) {
            uint64_t *slots;
            const uint64_t root = writable(plan, 0, &slots);
            set_slot(plan, root, slots, 0, image->planned_root);
            image->planned_root = root;
        }
        image->depth++;
    }
}
