/* Fault injection as a layer: wraps any device and fails, corrupts or delays
 * the requests that its rules match.
 *
 * Pure, single-threaded, for tests. The inner device stays the caller's and is
 * destroyed after this one. Rules are looked at in the order in which they
 * were added; the first that fires wins. */
#ifndef PS_COMMON_BLKDEV_FAULT_H
#define PS_COMMON_BLKDEV_FAULT_H

#include "common/blkdev.h"

enum blkdev_fault_action {
    BLKDEV_FAULT_FAIL,    /* without effect on the inner device; completes with `status` */
    BLKDEV_FAULT_LIE,     /* as FAIL, but completes with 0: a lost write, a flush that did nothing */
    BLKDEV_FAULT_ERROR,   /* takes effect, yet completes with `status` */
    BLKDEV_FAULT_CORRUPT, /* READ, WRITE: one bit of the data flips */
    BLKDEV_FAULT_DELAY,   /* held back until blkdev_fault_release */
};

enum {
    BLKDEV_FAULT_ANY = 0xf,
    BLKDEV_FAULT_MAX_RULES = 16
};

/* A mask of the operations that a rule matches. */
static inline uint32_t blkdev_fault_op(enum blkdev_op op)
{
    return 1u << op;
}

struct blkdev_fault_rule {
    uint32_t ops; /* blkdev_fault_op(…) | …, or BLKDEV_FAULT_ANY */
    uint64_t offset,
        length;     /* requests that touch this range; length 0: everywhere. A FLUSH touches every range. */
    uint64_t first; /* fires from the first-th match on, counted from 1; 0 is 1 */
    uint64_t count; /* and for so many matches; 0: for ever */
    enum blkdev_fault_action action;
    int status;   /* FAIL, ERROR; 0: PS_EIO */
    uint64_t bit; /* CORRUPT: which bit of the request's data, modulo its length */
};

/* NULL only when memory is out. */
struct blkdev *blkdev_fault_create(struct blkdev *inner);

/* At most BLKDEV_FAULT_MAX_RULES; returns the rule's number. */
unsigned blkdev_fault_add(struct blkdev *dev, const struct blkdev_fault_rule *rule);
/* How often the rule matched, and fired. */
uint64_t blkdev_fault_matched(const struct blkdev *dev, unsigned rule);
uint64_t blkdev_fault_fired(const struct blkdev *dev, unsigned rule);
/* Removes all rules; held requests stay held. */
void blkdev_fault_clear(struct blkdev *dev);

/* Requests submitted since creation, all operations or those in the mask. */
uint64_t blkdev_fault_submitted(const struct blkdev *dev, uint32_t ops);
/* How many are held back; lets the oldest `n` of them go on, and returns how many did. */
size_t blkdev_fault_held(const struct blkdev *dev);
size_t blkdev_fault_release(struct blkdev *dev, size_t n);
/* Forgets all requests, after the inner device lost its power. Their callbacks never run. */
void blkdev_fault_drop(struct blkdev *dev);

#endif
