/* What the files of the segment table share: segment.c takes, fills and frees them, segment_wear.c knows what
 * a device tells of them, segment_gone.c those that are to be taken away. */
#ifndef PS_NODE_FLASH_SEGMENT_IMPL_H
#define PS_NODE_FLASH_SEGMENT_IMPL_H

#include <assert.h>
#include <stddef.h>

#include "node/flash/segment.h"

struct segment {
    uint64_t last_seq;
    uint64_t persisted; /* value in the last checkpoint */
    uint32_t live, pins;
    uint32_t stamp; /* the clock when it was sealed, or taken */
    uint8_t state;
    bool taken;   /* given out, not written yet: free for checkpoints */
    bool open;    /* being appended to */
    bool freeing; /* free as soon as the checkpoint under way is durable */
    bool limbo;   /* free, but a read is still pinned */
    bool erased;
    uint32_t wear; /* P/E cycles */
    uint32_t twin; /* holds the same; 0: none, for that is the system's */
    bool held;
    bool stuck;
    bool leaving;
    bool barred; /* its part of the device is to be taken away */
    bool absent; /* it is not there */
};

struct segments {
    uint32_t count, bytes, free, cursor;
    uint32_t erased;   /* of the free ones */
    bool told;         /* something of wear or erase: else all are alike */
    uint32_t clock;    /* segments taken, modulo 2^28 */
    uint64_t keep_log; /* batches from here on are kept */
    uint32_t barred;   /* those that are not retired yet */
    uint32_t gone;     /* barred or absent */
    struct segment *s;
};

static inline bool available(const struct segment *seg)
{
    return seg->state == SEGMENT_FREE && !seg->taken && !seg->limbo;
}

static inline bool is_gone(const struct segment *seg)
{
    return seg->barred || seg->absent;
}

/* Nothing is in it any more. */
void segment_come_free(struct segments *s, struct segment *seg);
static inline bool is_data(const struct segment *seg)
{
    return seg->state == SEGMENT_LOG || seg->state == SEGMENT_WARM || seg->state == SEGMENT_COLD;
}

/* Nothing lives in it and nothing of it is needed for recovery. */
static inline bool lifeless(const struct segment *seg, uint64_t seq)
{
    return (is_data(seg) || seg->state == SEGMENT_META) && !seg->open && !seg->freeing && seg->live == 0 &&
           seg->last_seq <= seq;
}

static inline bool collectable(const struct segment *seg, uint64_t seq)
{
    return is_data(seg) && !seg->open && !seg->freeing && !seg->held && !seg->stuck && seg->live > 0 &&
           seg->last_seq <= seq;
}

/* The best free one from `from` on, for all or for the most worn; SEGMENT_NONE: there is none. */
uint32_t segment_choose(const struct segments *s, uint32_t from, bool worn);
uint32_t segment_take(struct segments *s, uint32_t i, enum segment_state state);
void segment_find_wear(const struct segments *s, uint32_t *lowest, uint32_t *highest);

#endif
