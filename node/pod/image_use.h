/* How images are used: requests, bytes, latencies, and where in the image, counted on the way of each
 * request: in the pod, where all of them end, whichever protocol or node they came by.
 *
 * Pure; the reactor's. Made by the daemon, given to the pod by its configuration, read by who samples and by
 * who tells figures. Bounded: IMAGE_USES_MAX images, 3.4 KiB each, allocated when an image is opened; the way
 * of a request allocates nothing. */
#ifndef PS_NODE_POD_IMAGE_USE_H
#define PS_NODE_POD_IMAGE_USE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/latency.h"

enum {
    IMAGE_USES_MAX = 512,
    IMAGE_USE_REGIONS = 256, /* of an image at most; each 1 << shift bytes, 1 MiB at least */
    IMAGE_USE_SHIFT_MIN = 20,
};

enum image_use_op {
    IMAGE_USE_READ,
    IMAGE_USE_WRITE,
    IMAGE_USE_MOVES, /* those above move data: they touch regions */
    IMAGE_USE_FLUSH = IMAGE_USE_MOVES,
    IMAGE_USE_TRIM, /* and zeroing */
    IMAGE_USE_OPS
};

/* Since they were taken last. */
struct image_use_counts {
    uint64_t ops[IMAGE_USE_OPS], bytes[IMAGE_USE_OPS];
    uint64_t latency_ns[IMAGE_USE_OPS];                 /* sum, over those that ended well */
    uint32_t latencies[IMAGE_USE_OPS][LATENCY_BUCKETS]; /* requests that ended well, by latency */
    unsigned shift;
    uint32_t regions[IMAGE_USE_MOVES][IMAGE_USE_REGIONS]; /* requests that touched each */
};

/* Of those that ended well, since the image is counted: it was opened first in this process, or again after
 * others had needed the room. */
struct image_use_latencies {
    uint64_t sum_ns[IMAGE_USE_OPS];
    uint64_t counts[IMAGE_USE_OPS][LATENCY_BUCKETS];
};

struct image_uses;
struct image_use;

/* NULL: no memory. `now_ns` is the clock of the turns, looked at when requests end in a turn; NULL: they end
 * when it began. */
struct image_uses *image_uses_create(uint64_t (*now_ns)(void));
/* No image is open. */
void image_uses_destroy(struct image_uses *uses);

/* The image is opened: its counters, until they are closed as often. NULL: too many images; it is not counted
 * then. */
struct image_use *image_uses_open(struct image_uses *uses, uint64_t image_id, uint64_t size_bytes);
void image_use_close(struct image_use *use);

/* In a request, from begin to end. */
struct image_use_stamp {
    struct image_use *use; /* NULL: not counted */
    struct image_use_stamp *next;
    uint64_t begun_ns;
    enum image_use_op op;
};

/* A request comes. It counts from the turn that takes it up: the one under way, or the next. `length` 0: it
 * is a flush. */
void image_use_begin(struct image_use *use, struct image_use_stamp *stamp, enum image_use_op op,
                     uint64_t offset, uint64_t length);
/* Requests end now: what follows of image_use_end happens at this time. */
void image_uses_ending(struct image_uses *uses);
/* It has ended, in a turn. */
void image_use_end(struct image_use_stamp *stamp, bool well);
void image_uses_turn(struct image_uses *uses, uint64_t now_ns);
void image_uses_turned(struct image_uses *uses);

/* Takes the counters of the first image with an id above `after` that was used since they were taken last;
 * false: there is none. `id` is set. */
bool image_uses_take(struct image_uses *uses, uint64_t after, uint64_t *id, struct image_use_counts *out);

/* The first that is counted with an id above `after`. False: there is none. */
bool image_uses_next(const struct image_uses *uses, uint64_t after, uint64_t *id);
/* False: this image is not counted. */
bool image_uses_latencies(const struct image_uses *uses, uint64_t id, struct image_use_latencies *out);

#endif
