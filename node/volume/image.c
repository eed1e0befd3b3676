/* Record, version 1, little-endian: 0 version u8, 1 kind u8, 2 flags u8 (1 deleted, 2 write cache), 3 depth
 * u8, 4 name bytes u8, 5 zero u8[3], 8 root, 16 size, 24 created, 32 volume, 40 parent, 48 origin, 56 cursor
 * u64, 64 four space counts i64, 96 name. */
#include "node/volume/image.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"

enum {
    VERSION = 1,
    FIXED = 96,
    DELETED = 1,
    WRITE_CACHE = 2,
    DEPTH_MAX = 5,
    BUCKETS = 4096
};

struct images {
    struct image **named; /* visible ones by full name */
    size_t named_count, named_capacity;
    uint64_t *gone;
    size_t gone_count, gone_capacity;
    struct list_node release;
    struct image *buckets[BUCKETS];
};

struct images *images_create(void)
{
    struct images *images = calloc(1, sizeof *images);
    assert(images);
    list_init(&images->release);
    return images;
}

void images_destroy(struct images *images)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct image *image = images->buckets[i], *next; image; image = next) {
            next = image->next;
            free(image);
        }
    free(images->named);
    free(images->gone);
    free(images);
}

struct image *images_get(const struct images *images, uint64_t id)
{
    struct image *image = images->buckets[id % BUCKETS];
    while (image && image->id != id)
        image = image->next;
    return image;
}

/* Index of the first named image that is not less than (or, with `above`, greater than) `name`. */
static size_t lower_bound(const struct images *images, const char *name, bool above)
{
    size_t low = 0, high = images->named_count;
    while (low < high) {
        const size_t mid = (low + high) / 2;
        const int order = strcmp(images->named[mid]->full_name, name);
        if (order < 0 || (above && order == 0))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct image *images_find(const struct images *images, const char *full_name)
{
    const size_t i = lower_bound(images, full_name, false);
    return i < images->named_count && strcmp(images->named[i]->full_name, full_name) == 0 ? images->named[i]
                                                                                          : NULL;
}

struct image *images_after(const struct images *images, const char *after)
{
    const size_t i = lower_bound(images, after, true);
    return i < images->named_count ? images->named[i] : NULL;
}

void images_each(struct images *images, void (*visit)(void *, struct image *), void *user)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct image *image = images->buckets[i], *next; image; image = next) {
            next = image->next;
            visit(user, image);
        }
}

/* Runs hold images in no order of time, so for a while two may bear one name. */
static void unname(struct images *images, struct image *image)
{
    if (!image->full_name[0])
        return;
    size_t i = lower_bound(images, image->full_name, false);
    while (i < images->named_count && images->named[i] != image)
        i++;
    assert(i < images->named_count && strcmp(images->named[i]->full_name, image->full_name) == 0);
    memmove(&images->named[i], &images->named[i + 1], (--images->named_count - i) * sizeof images->named[0]);
    image->full_name[0] = 0;
}

static void name(struct images *images, struct image *image)
{
    const struct image *volume = image->kind == IMAGE_SNAPSHOT ? images_get(images, image->volume_id) : NULL;
    if (image->deleted || image->kind == IMAGE_TRASH)
        return;
    if (image->kind == IMAGE_SNAPSHOT && !volume)
        return; /* recovery: named when its volume comes, by itself it is one of many of that name */
    if (volume)
        (void)snprintf(image->full_name, sizeof image->full_name, "%s@%s", volume->name, image->name);
    else
        (void)snprintf(image->full_name, sizeof image->full_name, "%s", image->name);
    if (images->named_count == images->named_capacity) {
        images->named_capacity = images->named_capacity ? 2 * images->named_capacity : 64;
        images->named = realloc(images->named, images->named_capacity * sizeof images->named[0]);
        assert(images->named);
    }
    const size_t i = lower_bound(images, image->full_name, false);
    memmove(&images->named[i + 1], &images->named[i], (images->named_count++ - i) * sizeof images->named[0]);
    images->named[i] = image;
}

/* A volume was renamed, or came after its snapshots (recovery): their full names follow. */
static void rename_snapshots(struct images *images, const struct image *volume)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct image *s = images->buckets[i]; s; s = s->next)
            if (s->kind == IMAGE_SNAPSHOT && s->volume_id == volume->id && !s->deleted) {
                unname(images, s);
                name(images, s);
            }
}

static void count_relations(struct images *images, const struct image *image, int sign)
{
    struct image *parent = image->parent_id ? images_get(images, image->parent_id) : NULL;
    struct image *volume =
        image->kind == IMAGE_SNAPSHOT && !image->deleted ? images_get(images, image->volume_id) : NULL;
    if (parent)
        parent->children += (uint32_t)sign;
    if (volume)
        volume->snapshots += (uint32_t)sign;
}

/* Counts what refers to a new image whose children came before it (recovery). */
static void count_referrers(struct images *images, struct image *image)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (const struct image *other = images->buckets[i]; other; other = other->next) {
            image->children += other->parent_id == image->id;
            image->snapshots +=
                other->kind == IMAGE_SNAPSHOT && !other->deleted && other->volume_id == image->id;
        }
}

static bool is_possible(const struct image *image, uint64_t id)
{
    return id != 0 && image->parent_id != id && (image->kind != IMAGE_SNAPSHOT || image->volume_id != id) &&
           (image->kind == IMAGE_TRASH || image->name[0]) &&
           image->size_bytes <= image_span(image->depth) * IMAGE_BLOCK_BYTES;
}

static int decode(const uint8_t *r, size_t bytes, uint64_t id, struct image *out, struct ps_error *err)
{
    if (bytes < FIXED || r[0] != VERSION || r[4] > IMAGE_NAME_MAX || bytes != (size_t)FIXED + r[4] ||
        r[1] < IMAGE_VOLUME || r[1] > IMAGE_TRASH || r[2] & ~(DELETED | WRITE_CACHE) || r[3] < 1 ||
        r[3] > DEPTH_MAX || memchr(r + FIXED, 0, r[4]))
        return ps_error_set(err, PS_EDAMAGED, "malformed image record of %zu bytes", bytes);
    out->kind = (enum image_kind)r[1];
    out->deleted = r[2] & DELETED;
    out->write_cache = r[2] & WRITE_CACHE;
    out->depth = r[3];
    out->root = get_le64(r + 8);
    out->size_bytes = get_le64(r + 16);
    out->created_unix_ns = get_le64(r + 24);
    out->volume_id = get_le64(r + 32);
    out->parent_id = get_le64(r + 40);
    out->origin_id = get_le64(r + 48);
    out->cursor = get_le64(r + 56);
    for (int i = 0; i < SPACE_COUNTS; i++)
        out->space.n[i] = (int64_t)get_le64(r + 64 + 8 * i);
    memset(out->name, 0, sizeof out->name);
    memcpy(out->name, r + FIXED, r[4]);
    if (!is_possible(out, id))
        return ps_error_set(err, PS_EDAMAGED,
                            "image %llu: its record has an impossible name, relation or size",
                            (unsigned long long)id);
    return 0;
}

int images_apply(struct images *images, uint64_t seq, uint64_t id, bool with_space, const void *record,
                 size_t bytes, struct ps_error *err)
{
    struct image new = {0};
    const int rc = decode(record, bytes, id, &new, err);
    if (rc)
        return rc;
    struct image *image = images_get(images, id);
    const bool fresh = !image;
    if (fresh) {
        image = calloc(1, sizeof *image);
        assert(image);
        image->id = id;
        list_init(&image->release);
        image->next = images->buckets[id % BUCKETS];
        images->buckets[id % BUCKETS] = image;
        count_referrers(images, image);
    } else {
        count_relations(images, image, -1);
        unname(images, image);
    }
    const bool renamed = fresh || strcmp(image->name, new.name) != 0;
    image->kind = new.kind;
    image->deleted = new.deleted;
    image->write_cache = new.write_cache;
    image->depth = new.depth;
    image->root = new.root;
    if (image->planned_seq <= seq) {
        image->planned_root = new.root;
        image->planned_cursor = new.cursor;
    }
    image->size_bytes = image->limit_bytes = new.size_bytes;
    image->created_unix_ns = new.created_unix_ns;
    image->volume_id = new.volume_id;
    image->parent_id = new.parent_id;
    image->origin_id = new.origin_id;
    image->cursor = new.cursor;
    memcpy(image->name, new.name, sizeof image->name);
    if (fresh || with_space)
        image->space = new.space;
    image->changed = true;
    name(images, image);
    count_relations(images, image, +1);
    if (renamed && image->kind == IMAGE_VOLUME && image->snapshots)
        rename_snapshots(images, image);
    const bool release = image->deleted || image->kind == IMAGE_TRASH;
    if (release && list_empty(&image->release))
        list_push_back(&images->release, &image->release);
    return 0;
}

void images_set_root(struct images *images, uint64_t seq, uint64_t id, uint64_t root)
{
    struct image *image = images_get(images, id);
    if (!image)
        return;
    image->root = root;
    if (image->planned_seq <= seq)
        image->planned_root = root;
    image->changed = true;
}

static void hand_children_on(struct images *images, const struct image *image)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct image *child = images->buckets[i]; child; child = child->next)
            if (child->parent_id == image->id) {
                count_relations(images, child, -1);
                child->parent_id = image->parent_id;
                count_relations(images, child, +1);
                child->changed = true;
            }
}

void images_remove(struct images *images, uint64_t id)
{
    struct image **link = &images->buckets[id % BUCKETS];
    while (*link && (*link)->id != id)
        link = &(*link)->next;
    struct image *image = *link;
    if (!image)
        return;
    hand_children_on(images, image);
    *link = image->next;
    count_relations(images, image, -1);
    unname(images, image);
    list_remove(&image->release);
    if (images->gone_count == images->gone_capacity) {
        images->gone_capacity = images->gone_capacity ? 2 * images->gone_capacity : 64;
        images->gone = realloc(images->gone, images->gone_capacity * sizeof images->gone[0]);
        assert(images->gone);
    }
    images->gone[images->gone_count++] = id;
    free(image);
}

size_t image_encode(const struct image *image, uint64_t root, void *out)
{
    uint8_t *r = out;
    const size_t n = strlen(image->name);
    _Static_assert((int)FIXED + (int)IMAGE_NAME_MAX <= (int)IMAGE_RECORD_MAX, "a record fits");
    memset(r, 0, FIXED);
    r[0] = VERSION;
    r[1] = (uint8_t)image->kind;
    r[2] = (uint8_t)((image->deleted ? DELETED : 0) | (image->write_cache ? WRITE_CACHE : 0));
    r[3] = image->depth;
    r[4] = (uint8_t)n;
    put_le64(r + 8, root);
    put_le64(r + 16, image->size_bytes);
    put_le64(r + 24, image->created_unix_ns);
    put_le64(r + 32, image->volume_id);
    put_le64(r + 40, image->parent_id);
    put_le64(r + 48, image->origin_id);
    put_le64(r + 56, image->cursor);
    for (int i = 0; i < SPACE_COUNTS; i++)
        put_le64(r + 64 + 8 * i, (uint64_t)image->space.n[i]);
    memcpy(r + FIXED, image->name, n);
    return FIXED + n;
}

struct image *images_only_child(const struct images *images, const struct image *image)
{
    if (image->children != 1)
        return NULL;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct image *other = images->buckets[i]; other; other = other->next)
            if (other->parent_id == image->id)
                return other;
    assert(false && "children counts its children");
    return NULL;
}

/* While one image of a line is half taken apart, its neighbours must stay whole:
 * what it leaves to its child is decided by comparing with the child's tree. */
static bool neighbour_under_way(const struct images *images, const struct image *image)
{
    const struct image *child = images_only_child(images, image);
    const struct image *parent = image->parent_id ? images_get(images, image->parent_id) : NULL;
    return (child && child->planned_cursor) || (parent && parent->planned_cursor);
}

struct image *images_releasable(struct images *images)
{
    list_for_each(node, &images->release)
    {
        struct image *image = container_of(node, struct image, release);
        if (image->children <= 1 && !image->stuck && !neighbour_under_way(images, image))
            return image;
    }
    return NULL;
}

size_t images_gone(const struct images *images, const uint64_t **ids)
{
    *ids = images->gone;
    return images->gone_count;
}

void images_gone_clear(struct images *images)
{
    images->gone_count = 0;
}

void images_count(struct images *images, struct images_counts *out)
{
    *out = (struct images_counts){0};
    for (size_t i = 0; i < BUCKETS; i++)
        for (const struct image *image = images->buckets[i]; image; image = image->next) {
            if (image->deleted || image->kind == IMAGE_TRASH) {
                out->releasing++;
                continue;
            }
            out->volumes += image->kind == IMAGE_VOLUME;
            out->snapshots += image->kind == IMAGE_SNAPSHOT;
            space_add(&out->space, &image->space);
        }
}

uint8_t image_depth_for(uint64_t bytes)
{
    const uint64_t blocks = (bytes + IMAGE_BLOCK_BYTES - 1) / IMAGE_BLOCK_BYTES;
    uint8_t depth = 1;
    while (image_span(depth) < blocks)
        depth++;
    return depth;
}
