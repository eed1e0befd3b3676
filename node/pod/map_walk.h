/* The map of one image, gone through page by page in ascending order of LBA, at the caller's pace.
 *
 * A page that is not in memory ends the step: the caller has it loaded, or says that it can't be had. The
 * walk keeps copies of the pages on its way down, so the cache may forget them meanwhile; the maps must not
 * change under it. What comes from flash may be anything: entries that no map can have are told, and depth
 * is bounded by the image's. */
#ifndef PS_NODE_POD_MAP_WALK_H
#define PS_NODE_POD_MAP_WALK_H

#include "node/volume/image.h"

enum {
    MAP_WALK_LEVELS = 6,
    MAP_WALK_AHEAD = 16, /* pages that are asked for at once */
};

struct map_walk_page {
    uint64_t page;
    unsigned level; /* 1: a leaf */
    uint64_t lba;   /* the first that it covers */
    bool owned;     /* by the image: every entry on the way to it owns */
};

struct map_walk_visitor {
    /* False: it is not gone into. */
    bool (*enter)(void *user, const struct map_walk_page *page);
    void (*leaf)(void *user, const struct map_walk_page *page, const uint64_t *slots);
    /* All below it was gone through. */
    void (*leave)(void *user, const struct map_walk_page *page);
    /* It can't be had, so nothing below it was seen; `leave` follows. */
    void (*lost)(void *user, const struct map_walk_page *page);
    /* At `lba`, in an image's root or an inner page, `level` above blocks. */
    void (*impossible)(void *user, uint64_t entry, unsigned level, uint64_t lba);
};

struct map_walk {
    struct meta *meta;
    const struct map_walk_visitor *visitor;
    void *user;
    uint64_t root, from;
    bool owned_only;
    bool entered;       /* the page at the top was; its slots are wanted */
    unsigned top, used; /* level of the root's page; levels[top - used + 1] is where it stands */
    struct map_walk_level {
        struct map_walk_page page;
        unsigned next; /* slot */
        uint64_t slots[META_SLOTS];
    } levels[MAP_WALK_LEVELS];
};

/* The image's applied map, but for what its release is through with; of trash only what it owns: the rest may
 * be gone. */
void map_walk_begin(struct map_walk *w, struct meta *meta, const struct image *image,
                    const struct map_walk_visitor *visitor, void *user);

enum map_walk_state {
    MAP_WALK_MORE,
    MAP_WALK_DONE,
    MAP_WALK_MISSING,
};
/* Goes on by one page at most. */
enum map_walk_state map_walk_step(struct map_walk *w);
/* After MAP_WALK_MISSING: the page that it stands at, and some of those that it will want next. */
size_t map_walk_missing(const struct map_walk *w, struct meta_key keys[MAP_WALK_AHEAD]);
/* After MAP_WALK_MISSING: that page can't be had. */
void map_walk_give_up(struct map_walk *w);

#endif
