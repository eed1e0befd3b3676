#include "common/blkdev_scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container.h"
#include "common/prng.h"

enum {
    PAGE_BYTES = BLKDEV_ALIGN,
    BUCKETS = 1 << 12,
};

struct page {
    struct page *next;
    uint64_t index;
    uint8_t data[PAGE_BYTES];
};

/* One request on its way through. */
struct passage {
    struct blkdev_req inner; /* a read: of what is wanted, or of anything, to end at a time of the device's */
    struct blkdev_req *outer;
    int status;
    void *aside;
};

struct scratch {
    struct blkdev base;
    struct blkdev *below;
    struct page *bucket[BUCKETS];
    uint64_t bytes, room;
    struct blkdev_health health;
};

static struct scratch *scratch_of(const struct blkdev *dev)
{
    return container_of((struct blkdev *)(uintptr_t)dev, struct scratch, base);
}

/* ---- pages */

static struct page **bucket_of(struct scratch *s, uint64_t index)
{
    return &s->bucket[prng_mix(index) % BUCKETS];
}

static struct page *page_find(struct scratch *s, uint64_t index)
{
    struct page *p = *bucket_of(s, index);
    while (p && p->index != index)
        p = p->next;
    return p;
}

static int page_write(struct scratch *s, uint64_t index, const uint8_t *data)
{
    struct page *p = page_find(s, index);
    if (!p) {
        if (s->bytes + PAGE_BYTES > s->room)
            return PS_EFULL;
        p = malloc(sizeof *p);
        if (!p)
            return PS_ENOMEM;
        struct page **bucket = bucket_of(s, index);
        *p = (struct page){.next = *bucket, .index = index};
        *bucket = p;
        s->bytes += PAGE_BYTES;
    }
    memcpy(p->data, data, PAGE_BYTES);
    return 0;
}

static void patch(struct scratch *s, const struct blkdev_req *req)
{
    const uint64_t end = req->offset + req->length;
    for (uint64_t at = req->offset, bytes; at < end; at += bytes) {
        const uint64_t in = at % PAGE_BYTES;
        const struct page *p = page_find(s, at / PAGE_BYTES);
        bytes = PAGE_BYTES - in < end - at ? PAGE_BYTES - in : end - at;
        if (p)
            memcpy((uint8_t *)req->buf + (at - req->offset), p->data + in, bytes);
    }
}

/* ---- the device */

static void passage_done(struct blkdev_req *inner, int status)
{
    struct passage *p = container_of(inner, struct passage, inner);
    struct blkdev_req *outer = p->outer;
    struct scratch *s = scratch_of(outer->dev);
    if (outer->op != BLKDEV_READ)
        status = p->status;
    else if (status == 0)
        patch(s, outer);
    s->health.errors += status != 0;
    free(p->aside);
    free(p);
    outer->cb(outer, status);
}

static int scratch_submit(struct blkdev *dev, struct blkdev_req *req)
{
    struct scratch *s = scratch_of(dev);
    struct passage *p = calloc(1, sizeof *p);
    if (!p)
        return PS_ENOMEM;
    p->outer = req;
    if (req->op == BLKDEV_READ) {
        p->inner = (struct blkdev_req){.op = BLKDEV_READ,
                                       .flags = req->flags,
                                       .offset = req->offset,
                                       .length = req->length,
                                       .buf = req->buf};
    } else {
        p->aside = aligned_alloc(BLKDEV_ALIGN, BLKDEV_ALIGN);
        if (!p->aside) {
            free(p);
            return PS_ENOMEM;
        }
        p->inner = (struct blkdev_req){.op = BLKDEV_READ, .length = dev->geometry.read_unit, .buf = p->aside};
    }
    for (uint32_t at = 0; req->op == BLKDEV_WRITE && at < req->length && p->status == 0; at += PAGE_BYTES)
        p->status = page_write(s, (req->offset + at) / PAGE_BYTES, (const uint8_t *)req->buf + at);
    const int rc = blkdev_submit(s->below, &p->inner, passage_done);
    if (rc) {
        free(p->aside);
        free(p);
    }
    return rc;
}

static void scratch_health(const struct blkdev *dev, struct blkdev_health *out)
{
    *out = scratch_of(dev)->health;
}

static void scratch_wear(const struct blkdev *dev, uint64_t offset, struct blkdev_wear *out)
{
    (void)blkdev_wear(scratch_of(dev)->below, offset, out);
}

static bool scratch_absent(const struct blkdev *dev, uint64_t offset, uint64_t length)
{
    return blkdev_absent(scratch_of(dev)->below, offset, length);
}

static void scratch_destroy(struct blkdev *dev)
{
    struct scratch *s = scratch_of(dev);
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct page *p = s->bucket[i], *next; p; p = next) {
            next = p->next;
            free(p);
        }
    free(s);
}

static const struct blkdev_ops ops = {
    .submit = scratch_submit, .health = scratch_health, .destroy = scratch_destroy, .absent = scratch_absent};
static const struct blkdev_ops ops_with_wear = {.submit = scratch_submit,
                                                .health = scratch_health,
                                                .destroy = scratch_destroy,
                                                .wear = scratch_wear,
                                                .absent = scratch_absent};

struct blkdev *blkdev_scratch_create(struct blkdev *inner, uint64_t memory_bytes)
{
    struct scratch *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->below = inner;
    s->room = memory_bytes;
    s->base.ops = inner->ops->wear ? &ops_with_wear : &ops;
    s->base.geometry = inner->geometry;
    s->base.geometry.write_unit = PAGE_BYTES;
    (void)snprintf(s->base.name, sizeof s->base.name, "%s", inner->name);
    return &s->base;
}

uint64_t blkdev_scratch_bytes(const struct blkdev *dev)
{
    return scratch_of(dev)->bytes;
}
