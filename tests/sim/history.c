#include "tests/sim/history.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct value {
    uint64_t value, begin, end; /* of the write */
    uint64_t first_end, last_begin;
    uint64_t reads;
};

struct history {
    uint32_t blocks;
    struct block {
        struct value *values;
        size_t count, capacity;
        uint64_t unknown; /* a read saw what nobody wrote */
        bool wrong;
    } * of;
};

static struct value *add(struct block *b, uint64_t value, uint64_t begin)
{
    if (b->count == b->capacity) {
        b->capacity = b->capacity ? 2 * b->capacity : 64;
        b->values = realloc(b->values, b->capacity * sizeof b->values[0]);
        assert(b->values);
    }
    b->values[b->count] = (struct value){value, begin, UINT64_MAX, UINT64_MAX, begin, 0};
    return &b->values[b->count++];
}

struct history *history_create(uint32_t blocks)
{
    struct history *h = calloc(1, sizeof *h);
    assert(h);
    h->blocks = blocks;
    h->of = calloc(blocks, sizeof h->of[0]);
    assert(h->of);
    for (uint32_t i = 0; i < blocks; i++) {
        struct value *v = add(&h->of[i], 0, 0);
        v->end = v->first_end = 0;
    }
    return h;
}

void history_destroy(struct history *h)
{
    for (uint32_t i = 0; i < h->blocks; i++)
        free(h->of[i].values);
    free(h->of);
    free(h);
}

/* Values of a block come in ascending order: hosts count them up. */
static struct value *find(struct block *b, uint64_t value)
{
    size_t low = 0, high = b->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (b->values[middle].value < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low < b->count && b->values[low].value == value ? &b->values[low] : NULL;
}

void history_write_begin(struct history *h, uint32_t block, uint64_t value, uint64_t at)
{
    assert(block < h->blocks && value > h->of[block].values[h->of[block].count - 1].value);
    (void)add(&h->of[block], value, at);
}

void history_write_end(struct history *h, uint32_t block, uint64_t value, uint64_t at)
{
    struct value *v = find(&h->of[block], value);
    assert(v);
    v->end = at;
    if (at < v->first_end)
        v->first_end = at;
}

void history_read(struct history *h, uint32_t block, uint64_t value, uint64_t begin, uint64_t end)
{
    struct block *b = &h->of[block];
    struct value *v = find(b, value);
    if (!v || v->begin > end) {
        b->wrong = true;
        b->unknown = value;
        return;
    }
    v->reads++;
    if (end < v->first_end)
        v->first_end = end;
    if (begin > v->last_begin)
        v->last_begin = begin;
}

/* A value that must have been there from its first end to its last start. */
static bool is_forward(const struct value *v)
{
    return v->first_end < v->last_begin;
}

static int by_first_end(const void *a, const void *b)
{
    const struct value *x = *(struct value *const *)a, *y = *(struct value *const *)b;
    return x->first_end < y->first_end ? -1 : x->first_end > y->first_end;
}

static bool check_block(struct block *b, uint32_t index, char *why, size_t size)
{
    struct value **forward = malloc(b->count * sizeof *forward);
    size_t n = 0;
    bool good = true;
    assert(forward);
    for (size_t i = 0; i < b->count; i++)
        if (is_forward(&b->values[i]))
            forward[n++] = &b->values[i];
    qsort(forward, n, sizeof *forward, by_first_end);
    for (size_t i = 1; i < n && good; i++)
        if (forward[i]->first_end < forward[i - 1]->last_begin) {
            good = false;
            (void)snprintf(why, size,
                           "block %u: value %" PRIu64 " was seen again at %" PRIu64 " after %" PRIu64
                           " was there from %" PRIu64 " on",
                           index, forward[i - 1]->value, forward[i - 1]->last_begin, forward[i]->value,
                           forward[i]->first_end);
        }
    /* A value whose whole time lies strictly inside another's: it came and went while the other stayed. */
    for (size_t i = 0; i < b->count && good; i++) {
        const struct value *v = &b->values[i];
        if (is_forward(v) || v->first_end == UINT64_MAX)
            continue;
        for (size_t k = 0; k < n && good; k++)
            if (forward[k]->first_end < v->last_begin && v->first_end < forward[k]->last_begin) {
                good = false;
                (void)snprintf(why, size,
                               "block %u: value %" PRIu64 " (%" PRIu64 " to %" PRIu64 ", %" PRIu64
                               " reads) was lost: %" PRIu64 " was there from %" PRIu64
                               " and still at %" PRIu64,
                               index, v->value, v->last_begin, v->first_end, v->reads, forward[k]->value,
                               forward[k]->first_end, forward[k]->last_begin);
            }
    }
    free(forward);
    return good;
}

bool history_check(struct history *h, char *why, size_t size)
{
    for (uint32_t i = 0; i < h->blocks; i++) {
        struct block *b = &h->of[i];
        if (b->wrong) {
            (void)snprintf(why, size,
                           "block %u: a read returned %" PRIx64 ", which nobody had written by then", i,
                           b->unknown);
            return false;
        }
        if (!check_block(b, i, why, size))
            return false;
    }
    return true;
}
