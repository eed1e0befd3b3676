/* Volumes without a pod: metadata, view and images, batches that are planned,
 * wait, and take effect in order, as the pod does it; and the deep check of
 * what must hold at any time. */
#ifndef PS_TESTS_VOLUME_RIG_H
#define PS_TESTS_VOLUME_RIG_H

#include "node/flash/l2p.h"
#include "node/volume/map.h"
#include "tests/unit/meta/memory_flash.h"

enum {
    RIG_BATCHES = 3,
    RIG_CHANGES = 256 * 1024,
    RIG_BIRTHS = 1024
};

struct rig_batch {
    uint8_t buf[RIG_CHANGES];
    struct changes changes;
    struct plan plan;
    uint64_t births[RIG_BIRTHS]; /* groups, with their number of blocks in the low 4 bits */
    size_t birth_count;
};

struct rig {
    struct memory_flash flash;
    struct meta *meta;
    struct view *view;
    struct images *images;
    uint64_t next_page, next_group, next_image, seq, applied, cuts, fillers;
    uint64_t freed; /* blocks, by what was applied */
    struct rig_batch *batches[RIG_BATCHES];
};

struct rig *rig_create(void);
void rig_destroy(struct rig *rig);

/* Opens the next batch; applies the oldest if too many wait. */
struct plan *rig_plan(struct rig *rig);
void rig_apply_one(struct rig *rig);
void rig_apply_all(struct rig *rig);

/* New blocks of one group (at most 8), to be stored by the batch that is being planned. */
void rig_new_blocks(struct rig *rig, unsigned n, bool duplicate, uint64_t *entries);

/* Looking pass, loading what is missing, doing pass. */
void rig_put(struct rig *rig, struct image *image, uint64_t lba, unsigned count, const uint64_t *entries);
void rig_punch(struct rig *rig, struct image *image, uint64_t lba, unsigned count);
/* An entry that refers to a stored block again; 0 if it is not live. */
uint64_t rig_share(struct rig *rig, uint64_t block);
/* One piece of releasing an image that can be released; false when there is none. */
bool rig_release_piece(struct rig *rig);
void rig_release_all(struct rig *rig);

/* Management: each applies everything before it and itself. */
struct image *rig_volume(struct rig *rig, const char *name, unsigned depth);
struct image *rig_snapshot(struct rig *rig, struct image *volume, const char *name);
struct image *rig_clone(struct rig *rig, struct image *snapshot, const char *name);
void rig_restore(struct rig *rig, struct image *volume, struct image *snapshot);
void rig_deepen(struct rig *rig, struct image *volume, unsigned depth);
void rig_delete(struct rig *rig, struct image *image);

/* A checkpoint that merges all pages, after which none is in memory. */
void rig_forget(struct rig *rig);

/* The entry of a block; 0: a hole. */
uint64_t rig_entry(struct rig *rig, const struct image *image, uint64_t lba, bool planned);
uint64_t rig_extra(struct rig *rig, uint64_t block);
bool rig_is_live(struct rig *rig, uint64_t block);

/* With everything applied: each map page is owned exactly once and none is
 * lost; a block's count is the number of entries that own it, and it lives if
 * that is not 0; images' counts are what their maps hold. Returns the number of live blocks. */
uint64_t rig_check(struct rig *rig);

#endif
