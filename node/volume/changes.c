#include "node/volume/changes.h"

#include <assert.h>
#include <string.h>

#include "node/meta/varint.h"

enum {
    OP_SET = 1,
    OP_COPY,
    OP_DROP,
    OP_FREE,
    OP_REF,
    OP_IMAGE,
    OP_GONE,
    OP_SPACE,
    OP_COUNTERS,
    OP_NEXT,
    OP_DONE,
    OP_ROOT,
};

static uint64_t turn(uint64_t e)
{
    return e << 12 | e >> 52;
}

static uint64_t turn_back(uint64_t e)
{
    return e >> 12 | e << 52;
}

void changes_begin(struct changes *c, void *buf, size_t capacity)
{
    *c = (struct changes){.buf = buf, .capacity = capacity};
}

static uint8_t *op(struct changes *c, uint8_t code, size_t room)
{
    assert(changes_room(c) >= room + 1);
    c->count = 0;
    uint8_t *p = c->buf + c->used;
    *p++ = code;
    return p;
}

static void put(struct changes *c, const uint8_t *p)
{
    c->used = (size_t)(p - c->buf);
}

/* The count of a run is two bytes, so that it can grow in place. */
static void put_count(struct changes *c)
{
    c->buf[c->count_at] = (uint8_t)(c->count | 0x80);
    c->buf[c->count_at + 1] = (uint8_t)(c->count >> 7);
}

void changes_set(struct changes *c, uint64_t page, unsigned slot, uint64_t entry)
{
    assert(changes_room(c) >= CHANGES_SET_BYTES);
    const uint64_t e = turn(entry);
    if (c->count && c->page == page && c->slot + 1 == slot) {
        uint8_t *p = c->buf + c->used;
        put(c, varint_put(p, zigzag(e - c->last)));
        c->count++;
    } else {
        uint8_t *p = op(c, OP_SET, 3 * VARINT_MAX);
        p = varint_put(p, page);
        p = varint_put(p, slot);
        c->count_at = (size_t)(p - c->buf);
        p += 2;
        put(c, varint_put(p, e));
        c->count = 1;
        c->page = page;
    }
    put_count(c);
    c->slot = slot;
    c->last = e;
}

void changes_copy(struct changes *c, uint64_t to, uint64_t from)
{
    uint8_t *p = op(c, OP_COPY, 2 * VARINT_MAX);
    p = varint_put(p, to);
    put(c, varint_put(p, from));
}

void changes_drop(struct changes *c, uint64_t page)
{
    put(c, varint_put(op(c, OP_DROP, VARINT_MAX), page));
}

void changes_free(struct changes *c, uint64_t block, uint64_t count)
{
    uint8_t *p = op(c, OP_FREE, 2 * VARINT_MAX);
    p = varint_put(p, block);
    put(c, varint_put(p, count));
}

void changes_ref(struct changes *c, uint64_t block, uint64_t extra)
{
    uint8_t *p = op(c, OP_REF, 2 * VARINT_MAX);
    p = varint_put(p, block);
    put(c, varint_put(p, extra));
}

void changes_image(struct changes *c, uint64_t id, bool with_space, const void *record, size_t bytes)
{
    assert(bytes <= CHANGES_IMAGE_MAX);
    uint8_t *p = op(c, OP_IMAGE, 1 + 2 * VARINT_MAX + bytes);
    p = varint_put(p, id);
    *p++ = with_space;
    p = varint_put(p, bytes);
    memcpy(p, record, bytes);
    put(c, p + bytes);
}

void changes_root(struct changes *c, uint64_t id, uint64_t entry)
{
    uint8_t *p = op(c, OP_ROOT, 2 * VARINT_MAX);
    p = varint_put(p, id);
    put(c, varint_put(p, turn(entry)));
}

void changes_gone(struct changes *c, uint64_t id)
{
    put(c, varint_put(op(c, OP_GONE, VARINT_MAX), id));
}

void changes_space(struct changes *c, uint64_t id, const struct space *delta)
{
    uint8_t *p = op(c, OP_SPACE, (1 + SPACE_COUNTS) * VARINT_MAX);
    p = varint_put(p, id);
    for (int i = 0; i < SPACE_COUNTS; i++)
        p = varint_put(p, zigzag((uint64_t)delta->n[i]));
    put(c, p);
}

void changes_counters(struct changes *c, const uint64_t amounts[COUNTERS])
{
    uint8_t *p = op(c, OP_COUNTERS, (1 + COUNTERS) * VARINT_MAX);
    p = varint_put(p, COUNTERS);
    for (int i = 0; i < COUNTERS; i++)
        p = varint_put(p, amounts[i]);
    put(c, p);
}

void changes_next(struct changes *c, uint64_t page, uint64_t image)
{
    uint8_t *p = op(c, OP_NEXT, 2 * VARINT_MAX);
    p = varint_put(p, page);
    put(c, varint_put(p, image));
}

void changes_done(struct changes *c, const uint8_t operation[16], int status, uint64_t image,
                  uint64_t unix_ns)
{
    uint8_t *p = op(c, OP_DONE, 16 + 3 * VARINT_MAX);
    memcpy(p, operation, 16);
    p = varint_put(p + 16, (uint64_t)-status);
    p = varint_put(p, image);
    put(c, varint_put(p, unix_ns));
}

/* Ids that no pod gives: a page's key has 51 bits for it, an entry 52 for a block. */
#define PAGES  (1ull << 51)
#define BLOCKS (1ull << 52)

static bool is_possible(uint8_t code, uint64_t a, uint64_t b)
{
    switch (code) {
    case OP_COPY:
        return a < PAGES && b < PAGES;
    case OP_DROP:
        return a < PAGES;
    case OP_FREE:
        return b > 0 && b <= BLOCKS && a <= BLOCKS - b;
    case OP_REF:
        return a < BLOCKS;
    default:
        return true;
    }
}

static void visit_set(struct reader *r, const struct changes_visitor *v, void *user)
{
    const uint64_t page = read_varint(r), slot = read_varint(r), count = read_varint(r);
    if (page >= PAGES || count == 0 || slot >= META_SLOTS || count > META_SLOTS - slot) {
        r->bad = true;
        return;
    }
    uint64_t e = 0;
    for (uint64_t i = 0; i < count; i++) {
        e = i ? e + unzigzag(read_varint(r)) : read_varint(r);
        if (r->bad)
            return;
        if (v->set)
            v->set(user, page, (unsigned)(slot + i), turn_back(e));
    }
}

static int visit_image(struct reader *r, const struct changes_visitor *v, void *user, struct ps_error *err)
{
    const uint64_t id = read_varint(r);
    const uint8_t *with_space = read_bytes(r, 1);
    const uint64_t bytes = read_varint(r);
    const uint8_t *record = bytes <= CHANGES_IMAGE_MAX ? read_bytes(r, (size_t)bytes) : NULL;
    if (!with_space || !record) {
        r->bad = true;
        return 0;
    }
    return v->image ? v->image(user, id, *with_space != 0, record, (size_t)bytes, err) : 0;
}

static void visit_numbers(struct reader *r, uint8_t code, const struct changes_visitor *v, void *user)
{
    const bool single = code == OP_DROP || code == OP_GONE;
    const uint64_t a = read_varint(r);
    uint64_t b = single ? 0 : read_varint(r);
    r->bad |= !is_possible(code, a, b);
    if (single) {
        void (*f)(void *, uint64_t) = code == OP_DROP ? v->drop : v->gone;
        if (f && !r->bad)
            f(user, a);
        return;
    }
    if (code == OP_ROOT)
        b = turn_back(b);
    void (*f)(void *, uint64_t, uint64_t) = code == OP_COPY   ? v->copy
                                            : code == OP_FREE ? v->free
                                            : code == OP_REF  ? v->ref
                                            : code == OP_ROOT ? v->root
                                                              : v->next;
    if (f && !r->bad)
        f(user, a, b);
}

static void visit_space(struct reader *r, const struct changes_visitor *v, void *user)
{
    const uint64_t id = read_varint(r);
    struct space delta;
    for (int i = 0; i < SPACE_COUNTS; i++)
        delta.n[i] = (int64_t)unzigzag(read_varint(r));
    if (v->space && !r->bad)
        v->space(user, id, &delta);
}

static void visit_counters(struct reader *r, const struct changes_visitor *v, void *user)
{
    const uint64_t n = read_varint(r);
    uint64_t amounts[COUNTERS] = {0};
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        const uint64_t amount = read_varint(r);
        if (i < COUNTERS)
            amounts[i] = amount;
    }
    if (v->counters && !r->bad)
        v->counters(user, amounts);
}

static void visit_done(struct reader *r, const struct changes_visitor *v, void *user)
{
    const uint8_t *operation = read_bytes(r, 16);
    const uint64_t status = read_varint(r), image = read_varint(r), unix_ns = read_varint(r);
    if (v->done && !r->bad)
        v->done(user, operation, -(int)(status & 0xff), image, unix_ns);
}

int changes_visit(const void *buf, size_t bytes, const struct changes_visitor *v, void *user,
                  struct ps_error *err)
{
    const uint8_t *start = buf;
    struct reader r = {start, start + bytes, false};
    while (!r.bad && r.pos < r.end) {
        const uint8_t code = *r.pos++;
        int rc = 0;
        switch (code) {
        case OP_SET:
            visit_set(&r, v, user);
            break;
        case OP_COPY:
        case OP_FREE:
        case OP_REF:
        case OP_ROOT:
        case OP_NEXT:
        case OP_DROP:
        case OP_GONE:
            visit_numbers(&r, code, v, user);
            break;
        case OP_IMAGE:
            rc = visit_image(&r, v, user, err);
            break;
        case OP_SPACE:
            visit_space(&r, v, user);
            break;
        case OP_COUNTERS:
            visit_counters(&r, v, user);
            break;
        case OP_DONE:
            visit_done(&r, v, user);
            break;
        default:
            r.bad = true;
        }
        if (rc)
            return rc;
    }
    if (r.bad)
        return ps_error_set(err, PS_EDAMAGED, "malformed change at byte %zu of %zu", (size_t)(r.pos - start),
                            bytes);
    return 0;
}
