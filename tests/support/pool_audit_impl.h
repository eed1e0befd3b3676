/* What the files of the audit share.
 *
 *   pool_audit_read.c  label, anchor, runs, pages: what the newest checkpoint says
 *   pool_audit_maps.c  images and what their maps refer to
 *   pool_audit.c       blocks, records, segments: what is compared */
#ifndef PS_TESTS_SUPPORT_POOL_AUDIT_IMPL_H
#define PS_TESTS_SUPPORT_POOL_AUDIT_IMPL_H

#include "tests/support/pool_audit.h"

enum {
    AUDIT_UNIT = 64,
    AUDIT_BLOCK = 4096,
    AUDIT_SLOTS = 512, /* of a page */
    AUDIT_SYSTEM = 4,  /* segments of labels and anchors */
    AUDIT_LONGEST = 2047 * AUDIT_UNIT,
    AUDIT_NAME = 64,
};
#define AUDIT_NOWHERE UINT32_MAX

enum {
    KIND_MAP = 1,
    KIND_L2P,
    KIND_REF,
    KIND_SEG
};

enum {
    STATE_FREE,
    STATE_SYSTEM,
    STATE_LOG,
    STATE_META,
    STATE_WARM,
    STATE_COLD
};

struct audit_page {
    uint64_t key; /* kind, number */
    uint64_t place;
    bool clear_own;
    unsigned owners, level; /* level 0: not met in any map */
    uint64_t slots[AUDIT_SLOTS];
};

struct audit_image {
    uint64_t id, root, size, volume, parent, cursor;
    unsigned kind, depth;
    bool deleted, releasing;
    int64_t counts[4], found[4];
    char name[AUDIT_NAME];
};

/* One thing that lies in flash. */
struct audit_extent {
    uint64_t addr, key; /* key: of the page, or the group */
    uint32_t bytes;
    enum audit_kind {
        AUDIT_RECORD,
        AUDIT_PAGE,
        AUDIT_CHUNK
    } kind;
};

struct audit_list {
    void *items;
    size_t count, capacity;
};

struct audit {
    const struct pool_audit_io *io;
    struct pool_audit_result *out;
    char *why;
    size_t why_size;
    bool wrong;
    /* The label and the anchor. */
    uint8_t pod[16];
    uint32_t segment_bytes, segment_count, anchor_segments[2];
    uint64_t next_group, next_page, next_image, unique_blocks;
    uint32_t log_segment, log_offset;
    /* What runs say. */
    uint64_t last_run;
    struct audit_list entries; /* struct entry of pool_audit_read.c */
    struct audit_page *pages;
    size_t page_count;
    struct audit_list images;  /* struct audit_image */
    uint64_t *segments;        /* SEG slots */
    uint64_t *live, *last_cut; /* bytes in each segment: all, and what the last cut's own run is of them */
    struct audit_list extents; /* struct audit_extent */
    struct audit_list owned;   /* uint64_t: a block, as often as it is owned */
};

void audit_wrong(struct audit *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *audit_add(struct audit_list *list, size_t size);

static inline uint64_t audit_addr(uint64_t place)
{
    return (place >> 11) * AUDIT_UNIT;
}
static inline uint32_t audit_len(uint64_t place)
{
    return (uint32_t)(place & 2047) * AUDIT_UNIT;
}
static inline unsigned audit_state(const struct audit *a, uint32_t segment)
{
    return (unsigned)(a->segments[segment] >> 60);
}

/* pool_audit_read.c */
bool audit_checkpoint(struct audit *a);
struct audit_page *audit_page(const struct audit *a, unsigned kind, uint64_t number);
/* The slot of one of the sparse arrays. */
uint64_t audit_slot(const struct audit *a, unsigned kind, uint64_t index);
/* Whether the place lies in one segment, which is not the system's. */
bool audit_lies(const struct audit *a, uint64_t place, uint32_t *segment);

/* pool_audit_maps.c */
void audit_maps(struct audit *a);

#endif
