/* The map of an image: a copy-on-write radix tree of 512 entries a page, and
 * the planning of changes to it.
 *
 * Planning is in two passes. The looking pass (map_can_…) changes nothing and
 * says whether every page that the change needs is in memory; the missing ones
 * are noted in the view. The doing pass (map_put, …) then cannot fail. Between the two nothing else may be
 * planned.
 *
 * Ownership: an entry owns its target if it was written since its page was
 * last copied. Overwriting an owned entry gives its target back, overwriting
 * any other does nothing (ZFS's birth times, reduced to one bit). */
#ifndef PS_NODE_VOLUME_MAP_H
#define PS_NODE_VOLUME_MAP_H

#include "node/volume/changes.h"
#include "node/volume/image.h"
#include "node/volume/view.h"

/* What a plan adds to: one batch. */
struct plan {
    struct view *view;
    struct changes *changes;
    uint64_t seq;
    uint64_t *next_page;
    uint64_t freed; /* blocks that became free in this batch */
};

/* ---- looking up */

/* The leaf slots that cover block `lba` of the tree: *slots (512 entries, the
 * first one for lba rounded down to 512), or NULL and *hole_end, the first block after
 * the hole that lba lies in. False: a page is missing. */
bool map_leaf(struct view *view, uint64_t root, unsigned depth, uint64_t lba, bool planned,
              const uint64_t **slots, uint64_t *hole_end);

/* ---- blocks */

/* True if the block is stored and referenced after all planned batches; *missing if that can't be told yet.
 */
bool block_is_live(struct view *view, uint64_t block, bool *missing);
/* One more owned reference to a live block. The looking pass is block_can_share. */
bool block_can_share(struct view *view, uint64_t block);
void block_share(struct plan *plan, uint64_t block);
/* A new block of a group that the batch will store. The looking pass, for that and for sharing it at once,
 * is group_can_be_born. */
bool group_can_be_born(struct view *view, uint64_t group);
void block_born(struct plan *plan, uint64_t block);

/* ---- changing. Blocks [lba, lba + count) lie within one leaf page. */

bool map_can_put(struct view *view, const struct image *image, uint64_t lba, unsigned count);
/* Sets entries; what they owned before is given back. Adds the difference to `space`. */
void map_put(struct plan *plan, struct image *image, uint64_t lba, unsigned count, const uint64_t *entries,
             struct space *space);
/* Like map_put of holes, but never makes pages; a whole leaf (count 512) goes as one. */
void map_punch(struct plan *plan, struct image *image, uint64_t lba, unsigned count, struct space *space);

/* Upper bound of the change bytes of one map_put or map_punch of `count` blocks. */
static inline size_t map_put_room(unsigned depth, unsigned count)
{
    return (size_t)depth * 2 * CHANGES_SET_BYTES + (size_t)count * (CHANGES_SET_BYTES + CHANGES_REF_BYTES) +
           CHANGES_IMAGE_MAX;
}
/* Upper bound of the shadows that it makes. */
static inline size_t map_put_shadows(unsigned depth, unsigned count)
{
    return depth + 1 + (size_t)count * 2;
}

/* The tree gets more levels: its map covers 512^depth blocks. For the copy of an image whose record the
 * caller logs. */
void map_deepen(struct plan *plan, struct image *image, unsigned depth);

/* The image's map begins at another entry. */
void plan_root(struct plan *plan, struct image *image, uint64_t root);

/* ---- release (release.c) */

/* The next piece of taking `image` apart: moves to its only child what that
 * still refers to, gives back the rest, drops pages. False: pages are missing. Sets *done after the last
 * piece: the image is gone. */
bool release_can_step(struct view *view, struct images *images, struct image *image);
void release_step(struct plan *plan, struct images *images, struct image *image, bool *done);
enum {
    RELEASE_ROOM = 32 * 1024,
    RELEASE_SHADOWS = 2 * META_SLOTS + 16
};

/* Gives back what an owned entry referred to: one reference less, or the block is free. (map.c) */
bool plan_can_give_back(struct view *view, uint64_t entry);
void plan_give_back(struct plan *plan, uint64_t entry);

#endif
