/* All that a pod knows, compared with itself; and whose the space is.
 *
 * A survey goes through the maps of all images, L2P and the reference counts, and finds
 *   - metadata pages that can't be had, and the blocks that can't be found without them;
 *   - entries whose block lives nowhere, entries that no map can have;
 *   - blocks whose owned references are not what is counted, and live blocks that nothing refers to;
 *   - pages with two owners, or with none;
 *   - records and pages that lie where none may; segments whose live bytes are not the sum of what lives
 * there;
 *   - images whose counts are not what their map holds.
 * Then it says where what it found (and groups that flash has lost) belongs: image and LBA.
 * By the way it counts what each image holds (struct survey_space).
 *
 * Memory is bounded. Blocks are counted for as many L2P pages at a time as `memory_bytes` has room for; each
 * such pass goes through the maps once. A page that many images share is gone through at most three times a
 * pass, however many they are: what it holds is remembered (64 bytes, in a table that is three eighths to
 * three quarters full).
 *
 * Pure, one owner. It sees a state that stands still: a pod that is opened to be checked, one that is quiet,
 * or what a checkpoint says (deep.c). */
#ifndef PS_NODE_POD_SURVEY_H
#define PS_NODE_POD_SURVEY_H

#include "node/flash/segment.h"
#include "node/pod/map_walk.h"

enum survey_kind {
    SURVEY_PAGE,       /* a metadata page can't be had; with an image: `count` blocks from `lba` on need it */
    SURVEY_DEAD,       /* blocks that are mapped and stored nowhere */
    SURVEY_ENTRY,      /* an impossible entry, or a page at two levels */
    SURVEY_REFERENCES, /* of a block: not as counted */
    SURVEY_LEAK,       /* a block lives, and nothing refers to it */
    SURVEY_OWNERS,     /* of a page: none, or two */
    SURVEY_MISPLACED,  /* a record or page lies where none may */
    SURVEY_SEGMENT,    /* live bytes of a segment */
    SURVEY_SPACE,      /* counts of an image, or of the pod */
    SURVEY_RECORD,     /* a record is damaged: found by whoever reads them */
    SURVEY_AT, /* no damage of its own: `count` blocks from `lba` on of the image are what a finding (or
                  a lost record) is about */
    SURVEY_KINDS
};

struct survey_finding {
    enum survey_kind kind;
    uint64_t subject; /* block, group, page or segment; of SURVEY_AT the group, or the page's key */
    uint64_t image;   /* 0: none is known */
    uint64_t lba, count;
    char text[256]; /* names the image */
};

/* Of an image, or summed up. Bytes are those of this node's flash; a record's are shared out among the blocks
 * that live in it. */
struct survey_share {
    uint64_t blocks, stored_bytes;
};

struct survey_space {
    uint64_t image;
    bool hidden;                     /* deleted, but still holding what clones need */
    struct survey_share referenced;  /* as often as it refers to it; blocks: patterns too */
    struct survey_share exclusive;   /* no other image holds it */
    struct survey_share reclaimable; /* comes back when this image is deleted, to the byte */
};

struct survey_totals {
    uint64_t findings[SURVEY_KINDS], damage; /* damage: all but SURVEY_AT */
    uint64_t images, pages, blocks;          /* gone through: images, metadata pages, live blocks */
    uint32_t passes;
    /* stored = what images hold exclusively + shared + hidden + releasing + leaked. */
    struct survey_share stored, shared, hidden, releasing, leaked;
};

/* A record that flash has lost: it shall be said whose it is. */
struct survey_lost {
    uint64_t group;
    uint8_t slots;
};

enum {
    SURVEY_WANTED_MAX = 512, /* groups and pages whose places are looked for */
    SURVEY_MEMORY_MIN = 1 << 20,
};

struct survey_config {
    struct meta *meta;
    struct images *images;
    const struct segments *segments;
    uint32_t segment_bytes, segment_count, system_segments;
    uint64_t unique_blocks; /* as the pod counts them */
    uint64_t memory_bytes;  /* for counting blocks; at least SURVEY_MEMORY_MIN */
    bool locate_only;       /* nothing is compared: only where `lost` belongs */
    const struct survey_lost *lost;
    size_t lost_count; /* at most SURVEY_WANTED_MAX */
    void (*found)(void *user, const struct survey_finding *finding);
    void *user;
};

struct survey;

/* `lost` is copied, the rest borrowed until survey_destroy. */
struct survey *survey_create(const struct survey_config *config);
void survey_destroy(struct survey *s);
/* The same bit by bit, so many pieces of about 4 KiB at a time; in any state of it. True: it is gone. No
 * other call in between. */
bool survey_destroy_step(struct survey *s, size_t parts);

enum survey_state {
    SURVEY_MORE,
    SURVEY_DONE,
    SURVEY_MISSING,
};
/* Goes on by one page at most. */
enum survey_state survey_step(struct survey *s);
/* After SURVEY_MISSING: the page that it needs now, and some that it will want next. */
size_t survey_missing(const struct survey *s, struct meta_key keys[MAP_WALK_AHEAD]);
/* After SURVEY_MISSING: that page can't be had, for this reason. */
void survey_give_up(struct survey *s, const char *why);

/* How far it is, of 1,000. */
unsigned survey_permille(const struct survey *s);
void survey_totals(const struct survey *s, struct survey_totals *out);
/* After SURVEY_DONE: every image, but for trash and what is being released. */
void survey_each_space(const struct survey *s, void (*visit)(void *user, const struct survey_space *space),
                       void *user);
uint64_t survey_memory(const struct survey *s);

#endif
