/* What planning sees: the applied metadata, and over it the pages as the
 * batches that are planned but not yet applied will leave them.
 *
 * A page that a plan touches gets a shadow, a whole copy of its latest planned
 * state; it goes when the last batch that touched it is applied. The page
 * itself is pinned in memory meanwhile, so that applying never waits for it. */
#ifndef PS_NODE_VOLUME_VIEW_H
#define PS_NODE_VOLUME_VIEW_H

#include "node/meta/meta.h"

enum {
    VIEW_MISSING_MAX = 64
};

struct view;

struct view *view_create(struct meta *meta, size_t max_shadows);
void view_destroy(struct view *view);
/* Shadows that can still be made. */
size_t view_room(const struct view *view);

/* The slots of a page, planned or applied. NULL: it must be loaded first, and is noted as missing. */
const uint64_t *view_slots(struct view *view, struct meta_key page, bool planned);
/* The planned slots for writing; the page must have been seen (view_slots) before, so that it is in memory.
 */
uint64_t *view_edit(struct view *view, struct meta_key page, uint64_t seq);
/* A new page, all zero. */
uint64_t *view_edit_new(struct view *view, struct meta_key page, uint64_t seq);
/* All batches up to `seq` are applied. */
void view_applied(struct view *view, uint64_t seq);

/* Pages that plans wanted in vain since view_missing_clear, at most VIEW_MISSING_MAX. */
size_t view_missing(const struct view *view, const struct meta_key **pages);
void view_missing_clear(struct view *view);

#endif
