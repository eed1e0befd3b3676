#include "node/pod/image_use.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct image_use {
    struct image_uses *uses;
    uint64_t id;
    uint32_t open;
    bool used; /* since it was taken */
    struct image_use_counts counts;
    struct image_use_latencies before; /* they were taken */
};

struct image_uses {
    struct image_use *images[IMAGE_USES_MAX]; /* by id, ascending */
    size_t count;
    struct image_use_stamp *unstamped;
    uint64_t (*clock_ns)(void);
    uint64_t now_ns, ending_ns;
    bool turning;
};

struct image_uses *image_uses_create(uint64_t (*now_ns)(void))
{
    struct image_uses *uses = calloc(1, sizeof *uses);
    if (uses)
        uses->clock_ns = now_ns;
    return uses;
}

void image_uses_destroy(struct image_uses *uses)
{
    for (size_t i = 0; i < uses->count; i++)
        free(uses->images[i]);
    free(uses);
}

/* The first with an id of at least `id`. */
static size_t find(const struct image_uses *uses, uint64_t id)
{
    size_t low = 0, high = uses->count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (uses->images[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Makes room by what nobody has open and nobody needs to read. */
static bool make_room(struct image_uses *uses)
{
    if (uses->count < IMAGE_USES_MAX)
        return true;
    for (size_t i = 0; i < uses->count; i++) {
        if (uses->images[i]->open || uses->images[i]->used)
            continue;
        free(uses->images[i]);
        memmove(&uses->images[i], &uses->images[i + 1], (--uses->count - i) * sizeof uses->images[0]);
        return true;
    }
    return false;
}

static unsigned shift_for(uint64_t bytes)
{
    unsigned shift = IMAGE_USE_SHIFT_MIN;
    while (shift < 62 && bytes > (uint64_t)IMAGE_USE_REGIONS << shift)
        shift++;
    return shift;
}

/* Regions become twice as large until the image has no more of them than there is room for. */
static void grow_regions(struct image_use_counts *c, unsigned shift)
{
    for (; c->shift < shift; c->shift++)
        for (size_t op = 0; op < IMAGE_USE_MOVES; op++) {
            uint32_t *r = c->regions[op];
            for (size_t i = 0; i < IMAGE_USE_REGIONS / 2; i++)
                r[i] = r[2 * i] + r[2 * i + 1];
            memset(r + IMAGE_USE_REGIONS / 2, 0, IMAGE_USE_REGIONS / 2 * sizeof *r);
        }
}

struct image_use *image_uses_open(struct image_uses *uses, uint64_t image_id, uint64_t size_bytes)
{
    size_t at = find(uses, image_id);
    if (at == uses->count || uses->images[at]->id != image_id) {
        struct image_use *use = make_room(uses) ? calloc(1, sizeof *use) : NULL;
        if (!use)
            return NULL;
        use->uses = uses;
        use->id = image_id;
        use->counts.shift = IMAGE_USE_SHIFT_MIN;
        at = find(uses, image_id);
        memmove(&uses->images[at + 1], &uses->images[at], (uses->count++ - at) * sizeof uses->images[0]);
        uses->images[at] = use;
    }
    uses->images[at]->open++;
    grow_regions(&uses->images[at]->counts, shift_for(size_bytes));
    return uses->images[at];
}

void image_use_close(struct image_use *use)
{
    assert(use->open > 0);
    use->open--;
}

static void touch(struct image_use_counts *c, enum image_use_op op, uint64_t offset, uint64_t length)
{
    const uint64_t last = offset + length - 1;
    /* The image has grown since it was opened. */
    if (last >> c->shift >= IMAGE_USE_REGIONS)
        grow_regions(c, shift_for(last + 1));
    for (uint64_t r = offset >> c->shift; r <= last >> c->shift; r++)
        c->regions[op][r]++;
}

void image_use_begin(struct image_use *use, struct image_use_stamp *stamp, enum image_use_op op,
                     uint64_t offset, uint64_t length)
{
    struct image_use_counts *c = &use->counts;
    struct image_uses *uses = use->uses;
    if (op < IMAGE_USE_MOVES)
        touch(c, op, offset, length);
    use->used = true;
    c->ops[op]++;
    c->bytes[op] += length;
    stamp->use = use;
    stamp->op = op;
    if (uses->turning) {
        stamp->begun_ns = uses->now_ns;
        return;
    }
    stamp->next = uses->unstamped;
    uses->unstamped = stamp;
}

void image_uses_turn(struct image_uses *uses, uint64_t now_ns)
{
    uses->now_ns = uses->ending_ns = now_ns;
    uses->turning = true;
    for (struct image_use_stamp *s; (s = uses->unstamped);) {
        uses->unstamped = s->next;
        s->begun_ns = now_ns;
    }
}

void image_uses_turned(struct image_uses *uses)
{
    uses->turning = false;
}

void image_uses_ending(struct image_uses *uses)
{
    if (uses->clock_ns)
        uses->ending_ns = uses->clock_ns();
}

void image_use_end(struct image_use_stamp *stamp, bool well)
{
    struct image_use *use = stamp->use;
    if (!use || !well)
        return;
    const uint64_t now_ns = use->uses->ending_ns;
    const uint64_t ns = now_ns > stamp->begun_ns ? now_ns - stamp->begun_ns : 0;
    use->used = true;
    use->counts.latency_ns[stamp->op] += ns;
    use->counts.latencies[stamp->op][latency_bucket(ns)]++;
}

static void add_latencies(struct image_use_latencies *to, const struct image_use_counts *c)
{
    for (size_t op = 0; op < IMAGE_USE_OPS; op++) {
        to->sum_ns[op] += c->latency_ns[op];
        for (size_t i = 0; i < LATENCY_BUCKETS; i++)
            to->counts[op][i] += c->latencies[op][i];
    }
}

bool image_uses_next(const struct image_uses *uses, uint64_t after, uint64_t *id)
{
    const size_t at = after < UINT64_MAX ? find(uses, after + 1) : uses->count;
    if (at == uses->count)
        return false;
    *id = uses->images[at]->id;
    return true;
}

bool image_uses_latencies(const struct image_uses *uses, uint64_t id, struct image_use_latencies *out)
{
    const size_t at = find(uses, id);
    if (at == uses->count || uses->images[at]->id != id)
        return false;
    *out = uses->images[at]->before;
    add_latencies(out, &uses->images[at]->counts);
    return true;
}

bool image_uses_take(struct image_uses *uses, uint64_t after, uint64_t *id, struct image_use_counts *out)
{
    if (after == UINT64_MAX)
        return false;
    for (size_t i = find(uses, after + 1); i < uses->count; i++) {
        struct image_use *use = uses->images[i];
        if (!use->used)
            continue;
        *id = use->id;
        *out = use->counts;
        add_latencies(&use->before, &use->counts);
        use->used = false;
        use->counts = (struct image_use_counts){.shift = out->shift};
        return true;
    }
    return false;
}
