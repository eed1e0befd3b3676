#include "tests/integration/hosts/deeds.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "tests/sim/history.h"

struct fence {
    unsigned node;
    uint64_t before, at;
};

struct deeds {
    uint32_t blocks;
    struct deed *deeds;
    size_t count, capacity;
    struct fence *fences;
    size_t nfences, fence_capacity;
    char nonsense[200]; /* the first */
};

static void *grown(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity ? 2 * *capacity : 64;
    array = realloc(array, *capacity * size);
    assert(array);
    return array;
}

struct deeds *deeds_create(uint32_t blocks)
{
    struct deeds *r = calloc(1, sizeof *r);
    assert(r);
    r->blocks = blocks;
    return r;
}

void deeds_destroy(struct deeds *r)
{
    free(r->deeds);
    free(r->fences);
    free(r);
}

void deeds_add(struct deeds *r, const struct deed *deed)
{
    assert(deed->block < r->blocks && deed->begin <= deed->end);
    assert(deed->write ? deed->value > 0 : deed->outcome == DEED_ANSWERED);
    r->deeds = grown(r->deeds, r->count, &r->capacity, sizeof r->deeds[0]);
    r->deeds[r->count++] = *deed;
}

void deeds_fence(struct deeds *r, unsigned node, uint64_t before, uint64_t at)
{
    assert(before <= at);
    assert(r->nfences == 0 || r->fences[r->nfences - 1].at <= at);
    r->fences = grown(r->fences, r->nfences, &r->fence_capacity, sizeof r->fences[0]);
    r->fences[r->nfences++] = (struct fence){node, before, at};
}

void deeds_nonsense(struct deeds *r, uint32_t block, const char *what)
{
    if (!r->nonsense[0])
        (void)snprintf(r->nonsense, sizeof r->nonsense, "block %" PRIu32 ": a read returned %s", block, what);
}

/* When the fate of a write without an answer was sealed; UINT64_MAX: never. */
static uint64_t sealed(const struct deeds *r, const struct deed *deed)
{
    for (size_t i = 0; i < r->nfences; i++) {
        const struct fence *f = &r->fences[i];
        if (deed->begin < f->before && (f->node == NODE_ANY || f->node == deed->node))
            return f->at;
    }
    return UINT64_MAX;
}

static int by_block_and_value(const void *a, const void *b)
{
    const struct deed *x = *(const struct deed *const *)a, *y = *(const struct deed *const *)b;
    if (x->block != y->block)
        return x->block < y->block ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

/* The writes by block and value, and whether anybody saw them. */
struct writes {
    const struct deed **of;
    bool *seen;
    size_t count;
};

static struct writes writes_of(const struct deeds *r)
{
    struct writes w = {.of = malloc((r->count + 1) * sizeof *w.of)};
    assert(w.of);
    for (size_t i = 0; i < r->count; i++)
        if (r->deeds[i].write)
            w.of[w.count++] = &r->deeds[i];
    qsort(w.of, w.count, sizeof *w.of, by_block_and_value);
    w.seen = calloc(w.count + 1, sizeof *w.seen);
    assert(w.seen);
    for (size_t i = 0; i < r->count; i++) {
        const struct deed *read = &r->deeds[i];
        if (read->write)
            continue;
        const struct deed **found = bsearch(&read, w.of, w.count, sizeof *w.of, by_block_and_value);
        if (found)
            w.seen[found - w.of] = true;
    }
    return w;
}

static void writes_release(struct writes *w)
{
    free(w->of);
    free(w->seen);
}

static void tell_write(const struct deeds *r, struct history *h, const struct deed *deed, bool seen)
{
    if (deed->outcome == DEED_REFUSED)
        return; /* a read of it is one of what nobody wrote */
    history_write_begin(h, deed->block, deed->value, deed->begin);
    uint64_t end = UINT64_MAX;
    if (deed->outcome == DEED_ANSWERED)
        end = deed->end;
    else if (seen)
        end = sealed(r, deed);
    if (end != UINT64_MAX)
        history_write_end(h, deed->block, deed->value, end);
}

bool deeds_judge(const struct deeds *r, char *why, size_t size)
{
    if (r->nonsense[0]) {
        (void)snprintf(why, size, "%s", r->nonsense);
        return false;
    }
    struct history *h = history_create(r->blocks);
    struct writes w = writes_of(r);
    for (size_t i = 0; i < w.count; i++)
        tell_write(r, h, w.of[i], w.seen[i]);
    writes_release(&w);
    for (size_t i = 0; i < r->count; i++) {
        const struct deed *d = &r->deeds[i];
        if (!d->write)
            history_read(h, d->block, d->value, d->begin, d->end);
    }
    const bool good = history_check(h, why, size);
    history_destroy(h);
    return good;
}

void deeds_print(const struct deeds *r, FILE *file)
{
    static const char *const outcomes[] = {
        [DEED_ANSWERED] = "answered", [DEED_REFUSED] = "refused", [DEED_UNKNOWN] = "unknown"};
    for (size_t i = 0; i < r->count; i++) {
        const struct deed *d = &r->deeds[i];
        (void)fprintf(file, "block %" PRIu32 " %s %" PRIu64 " node %u %" PRIu64 " to %" PRIu64 " us %s\n",
                      d->block, d->write ? "write" : "read", d->value, d->node, d->begin / 1000,
                      d->end / 1000, outcomes[d->outcome]);
    }
    for (size_t i = 0; i < r->nfences; i++)
        (void)fprintf(file, "fence node %u, asked before %" PRIu64 ", %" PRIu64 " us\n", r->fences[i].node,
                      r->fences[i].before / 1000, r->fences[i].at / 1000);
}

struct deeds_sums deeds_count(const struct deeds *r)
{
    struct deeds_sums sums = {0};
    struct writes w = writes_of(r);
    for (size_t i = 0; i < w.count; i++) {
        sums.writes += w.of[i]->outcome == DEED_ANSWERED;
        sums.refused += w.of[i]->outcome == DEED_REFUSED;
        sums.unknown += w.of[i]->outcome == DEED_UNKNOWN;
        sums.unknown_seen += w.of[i]->outcome == DEED_UNKNOWN && w.seen[i];
    }
    sums.reads = r->count - w.count;
    writes_release(&w);
    return sums;
}

static int by_time(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

uint64_t deeds_longest_pause(const struct deeds *r, uint64_t since)
{
    uint64_t *ends = malloc((r->count + 1) * sizeof *ends);
    assert(ends);
    size_t n = 0;
    ends[n++] = since;
    for (size_t i = 0; i < r->count; i++)
        if (r->deeds[i].write && r->deeds[i].outcome == DEED_ANSWERED && r->deeds[i].end > since)
            ends[n++] = r->deeds[i].end;
    qsort(ends, n, sizeof *ends, by_time);
    uint64_t longest = 0;
    for (size_t i = 1; i < n; i++)
        if (ends[i] - ends[i - 1] > longest)
            longest = ends[i] - ends[i - 1];
    free(ends);
    return longest;
}
