/* Anchors: the few blocks from which everything else is found, appended to a ring of two segments; the
 * highest valid number wins.
 *
 * Segments 0 and 1 hold the pool's labels; each pod has a pair of its own for
 * its anchors. Only the first ANCHOR_RING_BYTES of each are used: recovery reads
 * them whole. When one half is full, and at each opening, the next goes to the start
 * of the other: so on a zoned device a half is erased before its first place is written, and no place twice.
 */
#ifndef PS_NODE_FLASH_ANCHOR_H
#define PS_NODE_FLASH_ANCHOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"
#include "node/meta/place.h"

enum {
    ANCHOR_BYTES = 4096,
    ANCHOR_RING_BYTES = 512 * 1024,
    ANCHOR_SLOTS = ANCHOR_RING_BYTES / ANCHOR_BYTES, /* in each half; a power of two */
    LABEL_PODS_MAX = 16,
    LABEL_NAME_BYTES = 64,
    ANCHOR_RUNS_MAX = 64,
    ANCHOR_PROTOCOL_MAX = 1536, /* bytes of replication's own state */
};

struct pool_label {
    uint64_t number;
    uint8_t pool[16], store[16]; /* UUIDs: the pool (a cluster's node), this device's content */
    uint64_t device_bytes;
    uint32_t segment_bytes, segment_count;
    uint32_t pod_count;
    struct {
        uint8_t id[16];
        char name[LABEL_NAME_BYTES];
        uint32_t anchor_segments[2];
    } pods[LABEL_PODS_MAX];
};

struct pod_anchor {
    uint64_t number;
    uint8_t pod[16];
    uint64_t epoch, run;              /* configuration; starts of this store, bumped at each */
    uint64_t generation;              /* of the log: batches of another one don't count */
    uint64_t seq, hash;               /* last batch in the checkpoint, and its checksum */
    uint64_t log_epoch, log_run;      /* of the primary that made it */
    uint32_t log_segment, log_offset; /* where the batch after it begins */
    uint32_t log_next; /* or, if it did not fit there, the segment that it begins; SEGMENT_NONE */
    uint32_t run_count;
    uint64_t next_group, next_page, next_image;
    bool clean; /* written by an orderly stop: there is no log after it */
    struct {
        uint64_t seq;
        struct place first;
        uint64_t bytes;
        uint32_t copy_segment; /* has the first chunk once more, at the same offset; 0: none */
    } runs[ANCHOR_RUNS_MAX];   /* the full one first */
    uint32_t protocol_bytes;
    uint8_t protocol[ANCHOR_PROTOCOL_MAX]; /* opaque here */
};

/* `out` holds ANCHOR_BYTES. */
void label_encode(const struct pool_label *label, void *out);
void anchor_encode(const struct pod_anchor *anchor, void *out);
/* PS_ENOTFOUND: not one of ours at all; PS_EDAMAGED, PS_EVERSION with a detail. */
int label_decode(const void *block, struct pool_label *out, struct ps_error *err);
/* Whether the device that begins with this block is a pool's and holds all of it, so that it may be made
 * larger: 0, or an error with a detail. */
int label_may_grow(const void *block, uint64_t has_bytes, struct ps_error *err);
int anchor_decode(const void *block, struct pod_anchor *out, struct ps_error *err);

/* Where number `number` goes: half 0 or 1, and the byte offset in it. */
static inline unsigned anchor_half(uint64_t number)
{
    return (unsigned)(number / ANCHOR_SLOTS % 2);
}
static inline uint32_t anchor_offset(uint64_t number)
{
    return (uint32_t)(number % ANCHOR_SLOTS) * ANCHOR_BYTES;
}
/* The highest number that goes to the same half. */
static inline uint64_t anchor_last_of_half(uint64_t number)
{
    return number | (ANCHOR_SLOTS - 1);
}

#endif
