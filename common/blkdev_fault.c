#include "common/blkdev_fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container.h"

/* One request on its way through: `inner` goes to the device below, `outer` is the caller's. */
struct passage {
    struct list_node link;
    struct blkdev_req inner;
    struct blkdev_req *outer;
    void *scratch; /* corrupted data of a write, or where a probe reads to */
    int status;    /* what the caller gets if `override` */
    bool override, flip_read, probe;
    uint64_t bit;
};

struct rule {
    struct blkdev_fault_rule as;
    uint64_t matched, fired;
};

struct fault {
    struct blkdev base;
    struct blkdev *below;
    struct rule rules[BLKDEV_FAULT_MAX_RULES];
    unsigned nrules;
    uint64_t submitted[4];
    struct list_node flying, held, behind; /* struct passage */
    size_t nheld;
    uint64_t errors;
    bool failed;
};

static struct fault *fault_of(const struct blkdev *dev)
{
    return container_of((struct blkdev *)dev, struct fault, base);
}

static void passage_free(struct passage *p)
{
    list_remove(&p->link);
    free(p->scratch);
    free(p);
}

static void flip(void *buf, uint32_t length, uint64_t bit)
{
    bit %= (uint64_t)length * 8;
    ((uint8_t *)buf)[bit / 8] ^= (uint8_t)(1u << (bit % 8));
}

static int forward(struct fault *f, struct passage *p);

static void passage_done(struct blkdev_req *inner, int status)
{
    struct passage *p = container_of(inner, struct passage, inner);
    struct blkdev_req *outer = p->outer;
    struct fault *f = fault_of(outer->dev);
    if (p->flip_read && status == 0)
        flip(outer->buf, outer->length, p->bit);
    if (p->override)
        status = p->status;
    if (status != 0) {
        f->errors++;
        f->failed |= outer->op == BLKDEV_FLUSH || (outer->op == BLKDEV_WRITE && (outer->flags & BLKDEV_FUA));
    }
    const bool probe = p->probe;
    passage_free(p);
    if (probe) {
        struct list_node again;
        list_init(&again);
        list_splice_back(&again, &f->behind);
        while (!list_empty(&again)) {
            struct passage *waiting = container_of(list_pop_front(&again), struct passage, link);
            const int rc = forward(f, waiting);
            assert(rc == 0 && "the device below refuses what it has room for");
            (void)rc;
        }
    }
    outer->cb(outer, status);
}

/* Finds a place that no write in flight covers, from the end of the device. */
static uint64_t quiet_place(const struct fault *f)
{
    const uint32_t unit = f->base.geometry.read_unit;
    uint64_t at = f->base.geometry.size_bytes - unit;
    for (bool moved = true; moved;) {
        moved = false;
        list_for_each(node, &f->flying)
        {
            const struct blkdev_req *r = &container_of(node, struct passage, link)->inner;
            if ((r->op == BLKDEV_WRITE || r->op == BLKDEV_ERASE) && at < r->offset + r->length &&
                r->offset < at + unit) {
                assert(r->offset >= unit && "the whole device is being written");
                at = r->offset - unit;
                moved = true;
            }
        }
    }
    return at;
}

/* Replaces the inner request by a small read, so that it has no effect but its
 * completion still comes from the device, in the device's own time. */
static void make_probe(struct fault *f, struct passage *p)
{
    const uint32_t unit = f->base.geometry.read_unit;
    p->scratch = aligned_alloc(BLKDEV_ALIGN, BLKDEV_ALIGN);
    if (!p->scratch)
        abort();
    p->probe = true;
    const uint64_t offset = p->outer->op == BLKDEV_FLUSH ? quiet_place(f) : p->outer->offset;
    p->inner = (struct blkdev_req){.op = BLKDEV_READ, .offset = offset, .length = unit, .buf = p->scratch};
}

static void corrupt_write(struct passage *p, uint64_t bit)
{
    const size_t room = (p->outer->length + (size_t)BLKDEV_ALIGN - 1) / BLKDEV_ALIGN * BLKDEV_ALIGN;
    p->scratch = aligned_alloc(BLKDEV_ALIGN, room);
    if (!p->scratch)
        abort();
    memcpy(p->scratch, p->outer->buf, p->outer->length);
    flip(p->scratch, p->outer->length, bit);
    p->inner.buf = p->scratch;
}

static bool touches(const struct blkdev_fault_rule *rule, const struct blkdev_req *req)
{
    if (!(rule->ops & blkdev_fault_op(req->op)))
        return false;
    if (rule->length == 0 || req->op == BLKDEV_FLUSH)
        return true;
    return req->offset < rule->offset + rule->length && rule->offset < req->offset + req->length;
}

/* The rule that fires for this request; every rule that matches counts it. */
static const struct blkdev_fault_rule *rule_for(struct fault *f, const struct blkdev_req *req)
{
    const struct blkdev_fault_rule *found = NULL;
    for (unsigned i = 0; i < f->nrules; i++) {
        struct rule *r = &f->rules[i];
        if (!touches(&r->as, req))
            continue;
        const uint64_t nth = ++r->matched, first = r->as.first ? r->as.first : 1;
        if (found || nth < first || (r->as.count && nth - first >= r->as.count))
            continue;
        r->fired++;
        found = &r->as;
    }
    return found;
}

/* A probe reads where its caller did not ask to: what overlaps it waits until it is done. */
static bool behind_probe(const struct fault *f, const struct passage *p)
{
    if (p->probe || p->inner.op == BLKDEV_READ || p->inner.op == BLKDEV_FLUSH)
        return false;
    list_for_each(node, &f->flying)
    {
        const struct passage *other = container_of(node, struct passage, link);
        if (other->probe && other->inner.offset < p->inner.offset + p->inner.length &&
            p->inner.offset < other->inner.offset + other->inner.length)
            return true;
    }
    return false;
}

static int forward(struct fault *f, struct passage *p)
{
    if (behind_probe(f, p)) {
        list_push_back(&f->behind, &p->link);
        return 0;
    }
    const int rc = blkdev_submit(f->below, &p->inner, passage_done);
    if (rc == 0)
        list_push_back(&f->flying, &p->link);
    return rc;
}

static int fault_submit(struct blkdev *dev, struct blkdev_req *req)
{
    struct fault *f = fault_of(dev);
    struct passage *p = calloc(1, sizeof *p);
    if (!p)
        return PS_ENOMEM;
    list_init(&p->link);
    p->outer = req;
    p->inner = (struct blkdev_req){
        .op = req->op, .flags = req->flags, .offset = req->offset, .length = req->length, .buf = req->buf};
    f->submitted[req->op]++;
    const struct blkdev_fault_rule *rule = rule_for(f, req);
    if (rule) {
        switch (rule->action) {
        case BLKDEV_FAULT_FAIL:
        case BLKDEV_FAULT_LIE:
            make_probe(f, p);
            p->override = true;
            p->status = rule->action == BLKDEV_FAULT_LIE ? 0 : rule->status ? rule->status : PS_EIO;
            break;
        case BLKDEV_FAULT_ERROR:
            p->override = true;
            p->status = rule->status ? rule->status : PS_EIO;
            break;
        case BLKDEV_FAULT_CORRUPT:
            p->bit = rule->bit;
            p->flip_read = req->op == BLKDEV_READ;
            if (req->op == BLKDEV_WRITE)
                corrupt_write(p, rule->bit);
            break;
        case BLKDEV_FAULT_DELAY:
            list_push_back(&f->held, &p->link);
            f->nheld++;
            return 0;
        }
    }
    const int rc = forward(f, p);
    if (rc)
        passage_free(p);
    return rc;
}

static void fault_health(const struct blkdev *dev, struct blkdev_health *out)
{
    const struct fault *f = fault_of(dev);
    blkdev_health(f->below, out);
    out->errors += f->errors;
    out->failed |= f->failed;
}

static void fault_destroy(struct blkdev *dev)
{
    struct fault *f = fault_of(dev);
    assert(list_empty(&f->flying) && list_empty(&f->held) && list_empty(&f->behind));
    free(f);
}

static void fault_wear(const struct blkdev *dev, uint64_t offset, struct blkdev_wear *out)
{
    *out = (struct blkdev_wear){0};
    (void)blkdev_wear(fault_of(dev)->below, offset, out);
}

static void fault_finish(struct blkdev *dev, uint64_t offset, uint32_t length)
{
    blkdev_finish(fault_of(dev)->below, offset, length);
}

static bool fault_absent(const struct blkdev *dev, uint64_t offset, uint64_t length)
{
    return blkdev_absent(fault_of(dev)->below, offset, length);
}

static const struct blkdev_ops fault_ops = {.submit = fault_submit,
                                            .health = fault_health,
                                            .destroy = fault_destroy,
                                            .wear = fault_wear,
                                            .finish = fault_finish,
                                            .absent = fault_absent};

struct blkdev *blkdev_fault_create(struct blkdev *inner)
{
    struct fault *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->base.ops = &fault_ops;
    f->base.geometry = inner->geometry;
    (void)snprintf(f->base.name, sizeof f->base.name, "fault(%.*s)", (int)(sizeof f->base.name - 8),
                   inner->name);
    f->below = inner;
    list_init(&f->flying);
    list_init(&f->held);
    list_init(&f->behind);
    return &f->base;
}

unsigned blkdev_fault_add(struct blkdev *dev, const struct blkdev_fault_rule *rule)
{
    struct fault *f = fault_of(dev);
    assert(f->nrules < BLKDEV_FAULT_MAX_RULES);
    f->rules[f->nrules] = (struct rule){.as = *rule};
    return f->nrules++;
}

uint64_t blkdev_fault_matched(const struct blkdev *dev, unsigned rule)
{
    assert(rule < fault_of(dev)->nrules);
    return fault_of(dev)->rules[rule].matched;
}

uint64_t blkdev_fault_fired(const struct blkdev *dev, unsigned rule)
{
    assert(rule < fault_of(dev)->nrules);
    return fault_of(dev)->rules[rule].fired;
}

void blkdev_fault_clear(struct blkdev *dev)
{
    fault_of(dev)->nrules = 0;
}

uint64_t blkdev_fault_submitted(const struct blkdev *dev, uint32_t ops)
{
    const struct fault *f = fault_of(dev);
    uint64_t n = 0;
    for (unsigned i = 0; i < 4; i++)
        n += ops & (1u << i) ? f->submitted[i] : 0;
    return n;
}

size_t blkdev_fault_held(const struct blkdev *dev)
{
    return fault_of(dev)->nheld;
}

size_t blkdev_fault_release(struct blkdev *dev, size_t n)
{
    struct fault *f = fault_of(dev);
    size_t released = 0;
    while (released < n && !list_empty(&f->held)) {
        struct passage *p = container_of(list_pop_front(&f->held), struct passage, link);
        if (forward(f, p)) {
            /* The device below is full: the request keeps its place. */
            list_push_front(&f->held, &p->link);
            break;
        }
        f->nheld--;
        released++;
    }
    return released;
}

void blkdev_fault_drop(struct blkdev *dev)
{
    struct fault *f = fault_of(dev);
    while (!list_empty(&f->flying))
        passage_free(container_of(f->flying.next, struct passage, link));
    while (!list_empty(&f->behind))
        passage_free(container_of(f->behind.next, struct passage, link));
    while (!list_empty(&f->held))
        passage_free(container_of(f->held.next, struct passage, link));
    f->nheld = 0;
}
