/* The changes of a batch: results, not requests, in the order in which they take effect.
 *
 * An op is a byte, then numbers (LEB128). Page ids, block ids and image ids are the pod's.
 *   SET page slot count first {zigzag difference to the entry before}…   entries rotated left by 12
 *   COPY to from          `to` is a copy of `from` that owns nothing
 *   DROP page
 *   FREE block count      consecutive block ids, gone
 *   REF block extra       owned references beyond one
 *   IMAGE id space? bytes record     the image is this from now on
 *   ROOT id entry         the image's map begins there
 *   GONE id               its children become those of its parent
 *   SPACE id {zigzag}…    an image's counts grow by these
 *   COUNTERS n {amount}…  the pod's totals grow by these
 *   NEXT page image       ids below these are given away
 *   DONE operation(16 bytes) status image unix_ns   the result of an operation, for whoever asks again */
#ifndef PS_NODE_VOLUME_CHANGES_H
#define PS_NODE_VOLUME_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"
#include "node/volume/space.h"

enum {
    CHANGES_IMAGE_MAX = 512
};

/* Totals of a pod, in bytes; they survive restarts. Appending is the only allowed change. */
enum pod_counter {
    COUNTER_HOST_WRITTEN,
    COUNTER_PATTERN_REMOVED,
    COUNTER_DEDUP_REMOVED,
    COUNTER_COMPRESS_IN,
    COUNTER_COMPRESS_OUT,
    COUNTER_DATA_PROGRAMMED,
    COUNTERS
};

struct changes {
    uint8_t *buf;
    size_t used, capacity;
    /* A run of SETs that may still grow. */
    uint64_t page, last;
    unsigned slot, count;
    size_t count_at;
};

/* `buf` is borrowed. Callers check changes_room before each plan step; overflowing is their bug. */
void changes_begin(struct changes *c, void *buf, size_t capacity);
static inline size_t changes_room(const struct changes *c)
{
    return c->capacity - c->used;
}
/* Upper bounds of what one single SET adds, and one FREE or REF. */
enum {
    CHANGES_SET_BYTES = 36,
    CHANGES_REF_BYTES = 21
};

void changes_set(struct changes *c, uint64_t page, unsigned slot, uint64_t entry);
void changes_copy(struct changes *c, uint64_t to, uint64_t from);
void changes_drop(struct changes *c, uint64_t page);
void changes_free(struct changes *c, uint64_t block, uint64_t count);
void changes_ref(struct changes *c, uint64_t block, uint64_t extra);
void changes_image(struct changes *c, uint64_t id, bool with_space, const void *record, size_t bytes);
void changes_root(struct changes *c, uint64_t id, uint64_t entry);
void changes_gone(struct changes *c, uint64_t id);
void changes_space(struct changes *c, uint64_t id, const struct space *delta);
void changes_counters(struct changes *c, const uint64_t amounts[COUNTERS]);
void changes_next(struct changes *c, uint64_t page, uint64_t image);
void changes_done(struct changes *c, const uint8_t operation[16], int status, uint64_t image,
                  uint64_t unix_ns);

struct changes_visitor {
    void (*set)(void *user, uint64_t page, unsigned slot, uint64_t entry);
    void (*copy)(void *user, uint64_t to, uint64_t from);
    void (*drop)(void *user, uint64_t page);
    void (*free)(void *user, uint64_t block, uint64_t count);
    void (*ref)(void *user, uint64_t block, uint64_t extra);
    int (*image)(void *user, uint64_t id, bool with_space, const uint8_t *record, size_t bytes,
                 struct ps_error *err);
    void (*root)(void *user, uint64_t id, uint64_t entry);
    void (*gone)(void *user, uint64_t id);
    void (*space)(void *user, uint64_t id, const struct space *delta);
    void (*counters)(void *user, const uint64_t amounts[COUNTERS]);
    void (*next)(void *user, uint64_t page, uint64_t image);
    void (*done)(void *user, const uint8_t operation[16], int status, uint64_t image, uint64_t unix_ns);
};

/* Visits all changes; members left NULL are skipped. 0; PS_EDAMAGED when they are malformed (all before
 * that was visited: visit with an empty visitor first to check); or what `image` returned. */
int changes_visit(const void *buf, size_t bytes, const struct changes_visitor *visitor, void *user,
                  struct ps_error *err);

#endif
