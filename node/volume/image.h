/* The images of a pod: volumes, snapshots and what is being released.
 *
 * The tree of images: a snapshot is the parent of what was derived from it,
 * the volume itself (its newest snapshot is its parent) and clones. An image
 * that was deleted stays, hidden and without a name, until at most one child is
 * left; then release.c takes it apart. A trash image is a detached tree that
 * never had children. Pure. */
#ifndef PS_NODE_VOLUME_IMAGE_H
#define PS_NODE_VOLUME_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/container.h"
#include "common/status.h"
#include "node/volume/space.h"

enum image_kind {
    IMAGE_VOLUME = 1,
    IMAGE_SNAPSHOT = 2,
    IMAGE_TRASH = 3
};
enum {
    IMAGE_NAME_MAX = 63,
    IMAGE_FULL_NAME_MAX = 2 * IMAGE_NAME_MAX + 1,
    IMAGE_BLOCK_BYTES = 4096,
    IMAGE_RECORD_MAX = 256
};

struct image {
    /* Durable: the record. */
    uint64_t id;
    enum image_kind kind;
    bool deleted; /* hidden; released as soon as it has at most one child */
    bool write_cache;
    uint8_t depth; /* levels of its map; a root page of level `depth` covers 512^depth blocks */
    uint64_t root; /* entry, as applied */
    uint64_t size_bytes;
    uint64_t created_unix_ns;
    uint64_t volume_id;            /* snapshot: its volume */
    uint64_t parent_id;            /* 0: none */
    uint64_t origin_id;            /* clone: the snapshot it was made from */
    uint64_t cursor;               /* release: blocks below it are done */
    char name[IMAGE_NAME_MAX + 1]; /* its own; a snapshot's is the part behind '@' */
    struct space space;
    /* In memory. */
    uint64_t planned_root, planned_cursor; /* with the planned batches; planned_seq last changed them */
    uint64_t planned_seq;
    uint64_t limit_bytes; /* host I/O ends here: the size, or less while it shrinks */
    uint64_t read_end;    /* of the last read: the next one there is sequential */
    uint64_t ahead_end;   /* read ahead up to here */
    /* Requests of hosts since the pod was opened, and their bytes. */
    uint64_t reads, read_bytes, writes, written_bytes, trims, flushes;
    uint32_t children, snapshots, opened;
    bool stuck;     /* a page that its release needs is damaged: until the next start */
    bool persisted; /* in some run */
    bool changed;   /* since the last cut */
    char full_name[IMAGE_FULL_NAME_MAX + 1];
    struct image *next;       /* in its hash bucket */
    struct list_node release; /* in the table's release list, when deleted or trash */
};

struct images;

struct images *images_create(void);
void images_destroy(struct images *images);

struct image *images_get(const struct images *images, uint64_t id);
/* By full name; NULL if there is none. */
struct image *images_find(const struct images *images, const char *full_name);
/* The first whose full name is greater than `after`, by strcmp; NULL at the end. */
struct image *images_after(const struct images *images, const char *after);
/* Calls `visit` for every image, hidden ones too, in any order. */
void images_each(struct images *images, void (*visit)(void *user, struct image *image), void *user);

/* Puts a record's content in place, as batch `seq` says: a new image or the new
 * state of an old one (space only if it is new or `with_space`). PS_EDAMAGED with a detail. */
int images_apply(struct images *images, uint64_t seq, uint64_t id, bool with_space, const void *record,
                 size_t bytes, struct ps_error *err);
void images_set_root(struct images *images, uint64_t seq, uint64_t id, uint64_t root);
/* Its children become those of its parent. */
void images_remove(struct images *images, uint64_t id);
/* The record of `image`, with `root`; at most IMAGE_RECORD_MAX bytes. */
size_t image_encode(const struct image *image, uint64_t root, void *out);

/* The only child of an image with one child; NULL otherwise. */
struct image *images_only_child(const struct images *images, const struct image *image);
/* One that can be released now (deleted or trash, at most one child); NULL if there is none. */
struct image *images_releasable(struct images *images);
/* Ids of images that were removed since the last cut are reported there as gone. */
size_t images_gone(const struct images *images, const uint64_t **ids);
void images_gone_clear(struct images *images);

struct images_counts {
    uint64_t volumes, snapshots, releasing;
    struct space space; /* sum over visible images */
};
void images_count(struct images *images, struct images_counts *out);

/* The lowest depth whose map covers `bytes`. */
uint8_t image_depth_for(uint64_t bytes);
static inline uint64_t image_span(unsigned level)
{
    return 1ull << (9 * level);
}

#endif
