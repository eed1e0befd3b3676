/* What the files of a survey share.
 *
 *   survey.c        its order: passes, what is compared at their end
 *   survey_blocks.c blocks: what L2P and the counts say of those of a pass, and what the maps refer to
 *   survey_maps.c   the maps of all images, and what each page holds
 *   survey_locate.c where what was found belongs */
#ifndef PS_NODE_POD_SURVEY_IMPL_H
#define PS_NODE_POD_SURVEY_IMPL_H

#include "node/flash/l2p.h"
#include "node/pod/survey.h"

enum {
    SLAB_BLOCKS = META_SLOTS * GROUP_BLOCKS,  /* of one L2P page */
    SLAB_REF_PAGES = SLAB_BLOCKS / META_SLOTS /* that hold their counts */
};

/* Who holds a block or a page: nobody, one image (its number from 1 on), a pair (below), or many. */
#define TAG_NOBODY 0u
#define TAG_MANY   0x7fffffffu
#define TAG_SEEN   0x80000000u /* of a block: something refers to it, be it only what is being released */

/* A hidden image that goes when its partner is deleted: what only these two hold comes back, too. */
struct survey_pair {
    uint32_t hidden, partner; /* tags */
};

struct survey_image {
    struct image *image;
    bool holds;        /* visible, or hidden and kept by its clones */
    uint32_t pairs[2]; /* tags of those that it is one of; 0: none */
    struct survey_space space;
};

/* The blocks of one L2P page. */
struct slab {
    uint64_t number; /* of the L2P page */
    bool lost;       /* it can't be had */
    uint8_t ref_lost;
    uint64_t l2p[META_SLOTS];
    uint32_t owed[SLAB_BLOCKS]; /* owned references that are counted, less those seen; may go below 0 */
    uint32_t tags[SLAB_BLOCKS];
};

/* What a page and all below it hold, of the blocks of this pass. */
struct sums {
    struct space space;
    uint64_t bytes;
};

/* A map page. */
struct memo {
    uint64_t page;       /* 0: free, page ids begin at 1 */
    uint32_t tag, image; /* image: the last one in which it was met */
    uint32_t walk : 24;  /* through all maps, in which the rest was said */
    uint32_t level : 4;
    uint32_t through : 1; /* it was gone through: sums and tag hold */
    uint32_t counted : 1; /* its owner came by */
    uint32_t lost : 1;    /* it can't be had */
    uint32_t barren : 1;  /* nothing below it is looked for */
    struct sums sums;
};

_Static_assert(sizeof(struct memo) == 64, "there may be a million of them");

enum {
    MEMO_PART = 64
};

/* A hash table. */
struct memos {
    struct memo **parts; /* of MEMO_PART; NULL: all of them are free */
    size_t capacity, used, part_count;
};

struct wanted {
    uint64_t id; /* group or page */
    uint8_t slots;
};
struct wanted_list {
    struct wanted at[SURVEY_WANTED_MAX];
    size_t count;
};

enum survey_phase {
    PHASE_PAGES, /* which exist */
    PHASE_SORT,
    PHASE_SLABS, /* L2P and counts of the pass come in */
    PHASE_MAPS,
    PHASE_ORPHANS,
    PHASE_SUM, /* what the maps refer to is compared with what L2P and the counts say */
    PHASE_LOCATE,
    PHASE_DONE,
};

struct survey {
    struct survey_config config;
    enum survey_phase phase;
    struct survey_totals totals;
    bool blind; /* a map page can't be had: what seems not to be referred to may well be */
    bool l2p_lost;

    struct survey_image *images;
    size_t image_count, image_next;
    struct survey_pair *pairs;
    size_t pair_count;

    size_t page_at; /* in PHASE_PAGES and PHASE_ORPHANS */
    uint64_t map_pages;

    /* L2P pages that exist, or whose blocks have counts, by number. A heap until it was sorted, from its end
     * on.
     */
    uint64_t *numbers;
    size_t number_count, number_capacity, unsorted;
    size_t first, end, loading; /* of the pass; the one that comes in */
    unsigned ref_loading;       /* 0: its L2P page, then its counts */
    struct slab **slabs;        /* NULL: not needed yet */
    size_t slab_capacity, slab_count, slab_last, summed;
    unsigned sum_next;     /* group of the next slab */
    struct meta_key wants; /* in PHASE_SLABS: what is missing */
    uint64_t *segment_live;
    uint64_t live_blocks;

    bool walking;
    const char *why; /* the page that the walk stands at can't be had */
    struct map_walk walk;
    uint32_t walks; /* through all maps */
    struct memos memos;
    struct frame {
        struct sums sums;
        bool counting; /* owned references are counted in it, now */
        bool hit;      /* something that is looked for was found below */
    } frames[MAP_WALK_LEVELS + 1];

    struct wanted_list groups, pages;
};

/* survey.c */
void survey_found(struct survey *s, enum survey_kind kind, uint64_t subject, const struct image *image,
                  uint64_t lba, uint64_t count, const char *format, ...)
    __attribute__((format(printf, 7, 8)));
const char *survey_image_name(const struct image *image, char *buf, size_t size);
static inline bool survey_is_first(const struct survey *s)
{
    return s->totals.passes == 1;
}
static inline uint32_t survey_tag(const struct survey *s)
{
    return (uint32_t)s->image_next + 1;
}

/* Of records. */
static inline bool survey_is_data(enum segment_state state)
{
    return state == SEGMENT_LOG || state == SEGMENT_WARM || state == SEGMENT_COLD;
}
/* Whether it lies in a segment, whole. */
bool survey_lies_in(const struct survey *s, struct place place, uint32_t *segment);
const char *survey_segment_state(const struct survey *s, uint32_t segment);

/* survey_blocks.c */
bool slabs_step(struct survey *s, enum survey_state *state); /* false: all have come in */
void slabs_give_up(struct survey *s, const char *why);
/* Who held it, and one image that does, too, or nobody. */
uint32_t tags_join(const struct survey *s, uint32_t a, uint32_t b);
/* The entries of a leaf of the image under way. `count`: what they own is counted. */
void slabs_leaf(struct survey *s, const struct map_walk_page *page, const uint64_t *slots, bool counting,
                struct sums *sums);
/* All maps were gone through: compares the next blocks, and shares their space out. False: all are. */
bool slabs_sum(struct survey *s);

/* survey_maps.c */
enum survey_state maps_step(struct survey *s);      /* SURVEY_DONE: all of this pass */
void maps_expect(struct survey *s, uint64_t pages); /* so many maps have; before the first is gone through */
void maps_begin(struct survey *s);
bool memos_free(struct memos *m, size_t parts); /* so many of them; true: all are gone */
void maps_look_for_owner(void *user, struct meta_key page);
struct memo *memo_of(struct survey *s, uint64_t page, unsigned level);

/* survey_locate.c */
void locate_want(struct wanted_list *list, uint64_t id, unsigned slots);
void locate_begin(struct survey *s);
enum survey_state locate_step(struct survey *s);

#endif
