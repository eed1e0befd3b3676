#include "common/blkdev_mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container.h"

enum {
    CHUNK_UNITS = 512,
    MAX_PENDING = 4096
};

/* One content of one unit; `older` leads down to, and not beyond, the durable one. */
struct version {
    struct version *older;
    uint64_t seq; /* of the write (counts completions), so that a flush and a cut can tell them apart */
    uint8_t data[];
};

struct unit {
    struct version *newest;  /* NULL: never written */
    struct version *durable; /* the last of the chain, or NULL: never durably written */
    bool listed;             /* in mem->dirty */
};

struct chunk {
    struct unit units[CHUNK_UNITS];
};

struct mem {
    struct blkdev base;
    struct chunk **chunks;
    size_t nchunks;
    uint64_t noise_seed;
    uint64_t seq;    /* of the last write that took effect */
    uint64_t *dirty; /* indexes of units with volatile versions */
    size_t ndirty, dirty_room;
    struct blkdev_req *pending[MAX_PENDING];
    size_t npending;
    struct blkdev_health health;
    bool (*absent)(void *user, uint64_t offset, uint64_t length);
    void *absent_user;
};

static struct mem *mem_of(const struct blkdev *dev)
{
    return container_of((struct blkdev *)dev, struct mem, base);
}

static void *must(void *p)
{
    /* A test that runs out of memory has nothing left to test. */
    if (!p)
        abort();
    return p;
}

static uint32_t unit_bytes(const struct mem *m)
{
    return m->base.geometry.write_unit;
}

static struct unit *unit_find(const struct mem *m, uint64_t index)
{
    struct chunk *c = m->chunks[index / CHUNK_UNITS];
    return c ? &c->units[index % CHUNK_UNITS] : NULL;
}

static struct unit *unit_make(struct mem *m, uint64_t index)
{
    struct chunk **c = &m->chunks[index / CHUNK_UNITS];
    if (!*c)
        *c = must(calloc(1, sizeof **c));
    return &(*c)->units[index % CHUNK_UNITS];
}

static void noise(const struct mem *m, uint64_t index, uint64_t salt, uint8_t *out)
{
    if (!m->noise_seed) {
        memset(out, 0, unit_bytes(m));
        return;
    }
    struct prng p;
    prng_seed(&p, prng_mix(m->noise_seed ^ prng_mix(index)) ^ salt);
    prng_fill(&p, out, unit_bytes(m));
}

/* Frees `v` and its elders down to, and without, `end`. */
static void versions_free(struct version *v, const struct version *end)
{
    while (v && v != end) {
        struct version *older = v->older;
        free(v);
        v = older;
    }
}

/* Makes `v`, one of the unit's versions, the durable one; younger ones stay volatile. */
static void unit_settle(struct unit *u, struct version *v)
{
    versions_free(v->older, NULL);
    v->older = NULL;
    u->durable = v;
}

static void dirty_add(struct mem *m, struct unit *u, uint64_t index)
{
    if (u->listed)
        return;
    if (m->ndirty == m->dirty_room) {
        m->dirty_room = m->dirty_room ? 2 * m->dirty_room : 64;
        m->dirty = must(realloc(m->dirty, m->dirty_room * sizeof *m->dirty));
    }
    m->dirty[m->ndirty++] = index;
    u->listed = true;
}

/* A new version of the unit; `src` NULL means erased. */
static void unit_write(struct mem *m, uint64_t index, const uint8_t *src, uint64_t seq, bool durable)
{
    struct unit *u = unit_make(m, index);
    struct version *v = must(malloc(sizeof *v + unit_bytes(m)));
    v->seq = seq;
    v->older = u->newest;
    if (src)
        memcpy(v->data, src, unit_bytes(m));
    else
        noise(m, index, seq, v->data);
    u->newest = v;
    if (durable)
        unit_settle(u, v);
    else
        dirty_add(m, u, index);
}

/* Drops the units that have nothing volatile left from the dirty list. */
static void dirty_sweep(struct mem *m)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->ndirty; i++) {
        struct unit *u = unit_find(m, m->dirty[i]);
        if (u->newest != u->durable)
            m->dirty[kept++] = m->dirty[i];
        else
            u->listed = false;
    }
    m->ndirty = kept;
}

/* All that took effect up to `seq` becomes durable: what completed before the flush was submitted, no more.
 */
static void flush_to(struct mem *m, uint64_t seq)
{
    for (size_t i = 0; i < m->ndirty; i++) {
        struct unit *u = unit_find(m, m->dirty[i]);
        for (struct version *v = u->newest; v && v != u->durable; v = v->older) {
            if (v->seq <= seq) {
                unit_settle(u, v);
                break;
            }
        }
    }
    dirty_sweep(m);
}

static void write_range(struct mem *m, const struct blkdev_req *req, bool durable)
{
    const uint32_t unit = unit_bytes(m);
    m->seq++;
    for (uint32_t at = 0; at < req->length; at += unit)
        unit_write(m, (req->offset + at) / unit,
                   req->op == BLKDEV_WRITE ? (const uint8_t *)req->buf + at : NULL, m->seq, durable);
    if (durable)
        dirty_sweep(m);
}

static void read_range(const struct mem *m, uint64_t offset, uint8_t *out, size_t length, bool durable)
{
    const uint32_t unit = unit_bytes(m);
    uint8_t *scratch = must(malloc(unit));
    while (length > 0) {
        const uint64_t index = offset / unit, skip = offset % unit;
        const size_t n = length < unit - skip ? length : (size_t)(unit - skip);
        const struct unit *u = unit_find(m, index);
        const struct version *v = !u ? NULL : durable ? u->durable : u->newest;
        if (!v)
            noise(m, index, 0, scratch);
        memcpy(out, (v ? v->data : scratch) + skip, n);
        out += n;
        offset += n;
        length -= n;
    }
    free(scratch);
}

static bool overlap(const struct blkdev_req *a, const struct blkdev_req *b)
{
    if (a->op == BLKDEV_FLUSH || b->op == BLKDEV_FLUSH || (a->op == BLKDEV_READ && b->op == BLKDEV_READ))
        return false;
    return a->offset < b->offset + b->length && b->offset < a->offset + a->length;
}

static int mem_submit(struct blkdev *dev, struct blkdev_req *req)
{
    struct mem *m = mem_of(dev);
    if (m->npending == MAX_PENDING)
        return PS_ELIMIT;
    if (req->op != BLKDEV_FLUSH)
        assert(!blkdev_absent(dev, req->offset, req->length) && "that part is not there");
    for (size_t i = 0; i < m->npending; i++) {
        assert(m->pending[i] != req && "a request is submitted while it is in flight");
        assert(!overlap(m->pending[i], req) && "overlapping requests in flight");
    }
    req->priv[0] = m->seq;
    m->pending[m->npending++] = req;
    return 0;
}

static void mem_health(const struct blkdev *dev, struct blkdev_health *out)
{
    *out = mem_of(dev)->health;
}

static void mem_destroy(struct blkdev *dev)
{
    struct mem *m = mem_of(dev);
    assert(m->npending == 0);
    for (size_t c = 0; c < m->nchunks; c++) {
        for (size_t i = 0; m->chunks[c] && i < CHUNK_UNITS; i++)
            versions_free(m->chunks[c]->units[i].newest, NULL);
        free(m->chunks[c]);
    }
    free(m->chunks);
    free(m->dirty);
    free(m);
}

static bool mem_absent(const struct blkdev *dev, uint64_t offset, uint64_t length)
{
    const struct mem *m = mem_of(dev);
    return m->absent && m->absent(m->absent_user, offset, length);
}

static const struct blkdev_ops mem_ops = {
    .submit = mem_submit, .health = mem_health, .destroy = mem_destroy, .absent = mem_absent};

void blkdev_mem_take_away(struct blkdev *dev, bool (*absent)(void *user, uint64_t offset, uint64_t length),
                          void *user)
{
    struct mem *m = mem_of(dev);
    m->absent = absent;
    m->absent_user = user;
}

struct blkdev *blkdev_mem_create(const struct blkdev_mem_options *o)
{
    struct mem *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->base.ops = &mem_ops;
    m->base.geometry = (struct blkdev_geometry){
        .size_bytes = o->size_bytes,
        .read_unit = o->read_unit ? o->read_unit : 512,
        .write_unit = o->write_unit ? o->write_unit : 4096,
        .erase_bytes = o->erase_bytes,
        .max_io_bytes = o->max_io_bytes ? o->max_io_bytes : 4u << 20,
    };
    const uint32_t unit = unit_bytes(m);
    assert(o->size_bytes > 0 && o->size_bytes % unit == 0 && unit % m->base.geometry.read_unit == 0);
    (void)snprintf(m->base.name, sizeof m->base.name, "%s", o->name ? o->name : "mem");
    m->noise_seed = o->noise_seed;
    m->nchunks = (size_t)((o->size_bytes / unit + CHUNK_UNITS - 1) / CHUNK_UNITS);
    m->chunks = calloc(m->nchunks, sizeof *m->chunks);
    if (!m->chunks) {
        free(m);
        return NULL;
    }
    return &m->base;
}

size_t blkdev_mem_pending(const struct blkdev *dev)
{
    return mem_of(dev)->npending;
}

struct blkdev_req *blkdev_mem_pending_at(const struct blkdev *dev, size_t index)
{
    const struct mem *m = mem_of(dev);
    return index < m->npending ? m->pending[index] : NULL;
}

static void perform(struct mem *m, struct blkdev_req *req)
{
    switch (req->op) {
    case BLKDEV_READ:
        read_range(m, req->offset, req->buf, req->length, false);
        m->health.read_ops++;
        m->health.read_bytes += req->length;
        break;
    case BLKDEV_WRITE:
        write_range(m, req, req->flags & BLKDEV_FUA);
        m->health.write_ops++;
        m->health.write_bytes += req->length;
        break;
    case BLKDEV_FLUSH:
        flush_to(m, req->priv[0]);
        m->health.flush_ops++;
        break;
    case BLKDEV_ERASE:
        write_range(m, req, false);
        m->health.erase_ops++;
        break;
    }
}

static struct blkdev_req *take_pending(struct mem *m, size_t index)
{
    if (index >= m->npending)
        return NULL;
    struct blkdev_req *req = m->pending[index];
    m->npending--;
    memmove(&m->pending[index], &m->pending[index + 1], (m->npending - index) * sizeof req);
    return req;
}

bool blkdev_mem_step_at(struct blkdev *dev, size_t index)
{
    struct mem *m = mem_of(dev);
    struct blkdev_req *req = take_pending(m, index);
    if (!req)
        return false;
    perform(m, req);
    req->cb(req, 0);
    return true;
}

bool blkdev_mem_fail_at(struct blkdev *dev, size_t index, int status)
{
    struct mem *m = mem_of(dev);
    struct blkdev_req *req = take_pending(m, index);
    if (!req)
        return false;
    m->health.errors++;
    m->health.failed |= req->op == BLKDEV_FLUSH || (req->op == BLKDEV_WRITE && (req->flags & BLKDEV_FUA));
    req->cb(req, status);
    return true;
}

bool blkdev_mem_step(struct blkdev *dev)
{
    return blkdev_mem_step_at(dev, 0);
}

bool blkdev_mem_step_random(struct blkdev *dev, struct prng *prng)
{
    const size_t n = mem_of(dev)->npending;
    return n > 0 && blkdev_mem_step_at(dev, (size_t)prng_below(prng, n));
}

uint64_t blkdev_mem_drain(struct blkdev *dev)
{
    uint64_t n = 0;
    while (blkdev_mem_step(dev))
        n++;
    return n;
}

/* Which version of a unit a cut leaves; NULL: the durable state. */
static struct version *survivor(struct unit *u, struct prng *prng, enum blkdev_mem_cut mode, uint64_t cut_seq)
{
    struct version *v = u->newest;
    switch (mode) {
    case BLKDEV_MEM_LOSE:
        return NULL;
    case BLKDEV_MEM_KEEP:
        return v == u->durable ? NULL : v;
    case BLKDEV_MEM_TEAR:
        for (; v && v != u->durable; v = v->older)
            if (v->seq < cut_seq || (v->seq == cut_seq && prng_chance(prng, 1, 2)))
                return v;
        return NULL;
    case BLKDEV_MEM_REORDER: {
        uint64_t n = 0;
        for (; v && v != u->durable; v = v->older)
            n++;
        uint64_t pick = prng_below(prng, n + 1);
        if (pick == n)
            return NULL;
        for (v = u->newest; pick > 0; pick--)
            v = v->older;
        return v;
    }
    case BLKDEV_MEM_CUTS:
        break;
    }
    assert(false && "unknown way to cut the power");
    return NULL;
}

void blkdev_mem_power_cut(struct blkdev *dev, struct prng *prng, enum blkdev_mem_cut mode)
{
    struct mem *m = mem_of(dev);
    /* What was in flight may have reached the medium: it is the youngest of the unflushed writes. */
    for (size_t i = 0; i < m->npending; i++)
        if (m->pending[i]->op == BLKDEV_WRITE || m->pending[i]->op == BLKDEV_ERASE)
            write_range(m, m->pending[i], false);
    m->npending = 0;

    uint64_t oldest = m->seq + 1;
    for (size_t i = 0; i < m->ndirty; i++) {
        const struct unit *u = unit_find(m, m->dirty[i]);
        for (const struct version *v = u->newest; v && v != u->durable; v = v->older)
            oldest = v->seq < oldest ? v->seq : oldest;
    }
    const uint64_t cut_seq = mode == BLKDEV_MEM_TEAR ? oldest + prng_below(prng, m->seq + 2 - oldest) : 0;
    for (size_t i = 0; i < m->ndirty; i++) {
        struct unit *u = unit_find(m, m->dirty[i]);
        struct version *keep = survivor(u, prng, mode, cut_seq);
        if (!keep)
            keep = u->durable;
        versions_free(u->newest, keep);
        u->newest = keep;
        if (keep)
            unit_settle(u, keep);
        u->listed = false;
    }
    m->ndirty = 0;
    m->health = (struct blkdev_health){0};
}

void blkdev_mem_peek(const struct blkdev *dev, uint64_t offset, void *buf, size_t length, bool durable)
{
    assert(offset + length <= dev->geometry.size_bytes);
    read_range(mem_of(dev), offset, buf, length, durable);
}

void blkdev_mem_poke(struct blkdev *dev, uint64_t offset, const void *buf, size_t length)
{
    assert(offset + length <= dev->geometry.size_bytes);
    struct mem *m = mem_of(dev);
    const uint8_t *src = buf;
    const uint32_t unit = unit_bytes(m);
    uint8_t *scratch = must(malloc(unit));
    while (length > 0) {
        const uint64_t index = offset / unit, skip = offset % unit;
        const size_t n = length < unit - skip ? length : (size_t)(unit - skip);
        struct unit *u = unit_make(m, index);
        if (!u->newest) {
            noise(m, index, 0, scratch);
            unit_write(m, index, scratch, m->seq, true);
        }
        for (struct version *v = u->newest; v; v = v->older)
            memcpy(v->data + skip, src, n);
        src += n;
        offset += n;
        length -= n;
    }
    free(scratch);
}

size_t blkdev_mem_volatile_units(const struct blkdev *dev)
{
    return mem_of(dev)->ndirty;
}
