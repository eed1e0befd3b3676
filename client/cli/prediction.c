#include "client/cli/prediction.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/prng.h"

enum {
    GROUPS = 20,
    SEEN_MAX = 64, /* of what is seen more often, the number of copies is taken for known: J / q */
    COPIES_MAX = 96,
    ROUNDS_MAX = 3000,
    BISECTIONS = 30,
};
#define STUDENT_95 2.093 /* 19 degrees of freedom, two-sided */
#define CHI_95     1.921 /* half of the 95 % quantile of chi-square with one degree of freedom */

/* A block that is new, as far as its extent tells. */
struct block {
    uint64_t key;
    uint32_t order; /* in which it came */
    uint16_t bytes;
    uint8_t group;
};

struct tally {
    uint64_t extents, blocks, pattern, stored, twin;
};

struct prediction {
    uint64_t extents;
    struct prng prng;
    struct tally groups[GROUPS];
    struct block *blocks;
    size_t count, room;
};

struct prediction *prediction_create(uint64_t extents, uint64_t seed)
{
    struct prediction *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->extents = extents;
    prng_seed(&p->prng, seed);
    return p;
}

void prediction_destroy(struct prediction *p)
{
    free(p->blocks);
    free(p);
}

static bool make_room(struct prediction *p, size_t more)
{
    if (p->count + more <= p->room)
        return true;
    const size_t room = 2 * p->room + more + 1024;
    struct block *blocks = room < UINT32_MAX ? realloc(p->blocks, room * sizeof *blocks) : NULL;
    if (!blocks)
        return false;
    p->blocks = blocks;
    p->room = room;
    return true;
}

bool prediction_add(struct prediction *p, const struct pstorage_measured *blocks, size_t count)
{
    const uint8_t group = (uint8_t)prng_below(&p->prng, GROUPS);
    struct tally *t = &p->groups[group];
    if (!make_room(p, count))
        return false;
    t->extents++;
    t->blocks += count;
    for (size_t i = 0; i < count; i++) {
        t->pattern += blocks[i].kind == PSTORAGE_MEASURED_PATTERN;
        t->stored += blocks[i].kind == PSTORAGE_MEASURED_STORED;
        t->twin += blocks[i].kind == PSTORAGE_MEASURED_TWIN;
        if (blocks[i].kind == PSTORAGE_MEASURED_NEW) {
            p->blocks[p->count] = (struct block){.key = blocks[i].key,
                                                 .order = (uint32_t)p->count,
                                                 .bytes = (uint16_t)blocks[i].stored_bytes,
                                                 .group = group};
            p->count++;
        }
    }
    return true;
}

/* ---- what was seen */

/* Of new blocks by how often their contents were seen: how many blocks (not contents), and their bytes. */
struct seen {
    double q;
    double blocks[SEEN_MAX + 1], bytes[SEEN_MAX + 1];
    double known_blocks, known_bytes; /* seen more often: each divided by its copies */
    double total;                     /* of blocks[] */
};

static int by_key(const void *a, const void *b)
{
    const struct block *x = a, *y = b;
    return x->key != y->key ? (x->key < y->key ? -1 : 1) : (x->order > y->order) - (x->order < y->order);
}

static struct tally sum_up(const struct prediction *p, int without)
{
    struct tally all = {0};
    for (int g = 0; g < GROUPS; g++) {
        if (g == without)
            continue;
        all.extents += p->groups[g].extents;
        all.blocks += p->groups[g].blocks;
        all.pattern += p->groups[g].pattern;
        all.stored += p->groups[g].stored;
        all.twin += p->groups[g].twin;
    }
    return all;
}

/* The blocks are sorted. */
static void look(const struct prediction *p, int without, struct seen *out)
{
    *out = (struct seen){.q = (double)sum_up(p, without).extents / (double)p->extents};
    for (size_t i = 0, end; i < p->count; i = end) {
        size_t seen = 0;
        double bytes = 0;
        for (end = i; end < p->count && p->blocks[end].key == p->blocks[i].key; end++) {
            if (p->blocks[end].group == without)
                continue;
            seen++;
            bytes += p->blocks[end].bytes;
        }
        if (seen > SEEN_MAX) {
            out->known_blocks += out->q;
            out->known_bytes += out->q * bytes / (double)seen;
        } else if (seen > 0) {
            out->blocks[seen] += (double)seen;
            out->bytes[seen] += bytes;
            out->total += (double)seen;
        }
    }
}

/* ---- the mixture */

struct mixture {
    size_t n;
    double copies[COPIES_MAX], share[COPIES_MAX]; /* of blocks, the shares add up to 1 */
    double likelihood[SEEN_MAX + 1][COPIES_MAX];  /* of being seen so often */
};

/* From 1 on, by steps of a third, up to where being seen SEEN_MAX times is expected. */
static void set_grid(struct mixture *m, double q)
{
    const double end = 1.5 * SEEN_MAX / q;
    m->n = 0;
    for (double c = 1; m->n < COPIES_MAX && (c <= end || m->n < 2); c = c < 4 ? c + 1 : floor(c * 4 / 3))
        m->copies[m->n++] = c;
    for (size_t seen = 1; seen <= SEEN_MAX; seen++)
        for (size_t i = 0; i < m->n; i++) {
            const double others = m->copies[i] - 1, k = (double)seen - 1;
            m->likelihood[seen][i] = k > others ? 0
                                     : q >= 1
                                         ? (double)(k == others)
                                         : exp(lgamma(others + 1) - lgamma(k + 1) - lgamma(others - k + 1) +
                                               k * log(q) + (others - k) * log1p(-q));
        }
}

static double density(const struct mixture *m, size_t seen)
{
    double sum = 0;
    for (size_t i = 0; i < m->n; i++)
        sum += m->share[i] * m->likelihood[seen][i];
    return sum > 1e-300 ? sum : 1e-300;
}

static double log_likelihood(const struct mixture *m, const struct seen *s)
{
    double sum = 0;
    for (size_t j = 1; j <= SEEN_MAX; j++)
        if (s->blocks[j] > 0)
            sum += s->blocks[j] * log(density(m, j));
    return sum;
}

/* One round of EM. */
static void improve(struct mixture *m, const struct seen *s)
{
    double next[COPIES_MAX] = {0};
    for (size_t j = 1; j <= SEEN_MAX; j++) {
        if (s->blocks[j] <= 0)
            continue;
        const double weight = s->blocks[j] / density(m, j) / s->total;
        for (size_t i = 0; i < m->n; i++)
            next[i] += weight * m->share[i] * m->likelihood[j][i];
    }
    memcpy(m->share, next, sizeof next);
}

/* `start`: the fit of nearly the same data, or NULL. What the sample doesn't tell is left at: no copies. */
static void fit(struct mixture *m, const struct seen *s, const struct mixture *start)
{
    set_grid(m, s->q);
    for (size_t i = 0; i < m->n; i++)
        m->share[i] = i == 0 ? 0.98 : 0.02 / (double)(m->n - 1);
    if (start)
        for (size_t i = 0; i < m->n; i++)
            m->share[i] = 0.999 * (i < start->n ? start->share[i] : 0) + 0.001 * m->share[i];
    if (s->total <= 0)
        return;
    double before = log_likelihood(m, s);
    for (int round = 1; round <= ROUNDS_MAX; round++) {
        improve(m, s);
        if (round % 50)
            continue;
        const double now = log_likelihood(m, s);
        if (now - before < 1e-3)
            return;
        before = now;
    }
}

/* ---- the estimate */

struct estimate {
    double unique, occupied; /* shares of all blocks, and of their bytes */
};

static struct estimate estimate(const struct mixture *m, const struct seen *s, uint64_t blocks)
{
    struct estimate e = {s->known_blocks, s->known_bytes};
    for (size_t j = 1; j <= SEEN_MAX; j++) {
        if (s->blocks[j] <= 0)
            continue;
        double one = 0;
        for (size_t i = 0; i < m->n; i++)
            one += m->share[i] * m->likelihood[j][i] / m->copies[i];
        one /= density(m, j);
        e.unique += s->blocks[j] * one;
        e.occupied += s->bytes[j] * one;
    }
    e.unique /= (double)blocks;
    e.occupied /= (double)blocks * PSTORAGE_MEASURE_BLOCK_BYTES;
    return e;
}

/* Moves the share `by` of what has `from` copies (of all that has any: -1) to what has `to`. */
static struct mixture moved(const struct mixture *m, int from, size_t to, double by)
{
    struct mixture out = *m;
    for (size_t i = 0; i < m->n; i++) {
        if (i == to || (from >= 0 && i != (size_t)from))
            continue;
        out.share[i] -= by * m->share[i];
        out.share[to] += by * m->share[i];
    }
    return out;
}

/* What the estimate becomes when as much is moved as would not be noticed. */
static double unnoticed(const struct mixture *m, const struct seen *s, uint64_t blocks, int from, size_t to,
                        double allowed)
{
    const double best = log_likelihood(m, s);
    double low = 0, high = 1;
    for (int i = 0; i < BISECTIONS; i++) {
        const double middle = i == 0 ? 1 : (low + high) / 2;
        const struct mixture other = moved(m, from, to, middle);
        if (best - log_likelihood(&other, s) <= allowed)
            low = middle;
        else
            high = middle;
        if (low >= 1)
            break;
    }
    const struct mixture other = moved(m, from, to, low);
    return estimate(&other, s, blocks).occupied;
}

static void bound(const struct prediction *p, const struct mixture *m, const struct seen *s,
                  const struct estimate *all, struct prediction_result *out)
{
    const struct tally t = sum_up(p, -1);
    double mean = 0, squares = 0, each[GROUPS], low = all->occupied, high = all->occupied;
    int groups = 0;
    for (int g = 0; g < GROUPS; g++) {
        struct seen less;
        struct mixture other;
        if (p->groups[g].extents == 0)
            continue;
        const uint64_t blocks = t.blocks - p->groups[g].blocks;
        if (blocks == 0)
            continue;
        look(p, g, &less);
        fit(&other, &less, m);
        each[groups] = estimate(&other, &less, blocks).occupied;
        mean += each[groups++];
    }
    for (int i = 0; i < groups; i++)
        squares += (each[i] - mean / groups) * (each[i] - mean / groups);
    /* Of a large part of the file less is left to chance. */
    const double chance = groups > 1 ? STUDENT_95 * sqrt(squares * (groups - 1) / groups * (1 - s->q)) : 1;
    const double run = t.extents ? s->total / (double)t.extents : 1;
    const double allowed = CHI_95 * 2 * (run > 1 ? run : 1);
    for (size_t i = 1; i < m->n; i++) {
        const double less = unnoticed(m, s, t.blocks, 0, i, allowed);
        low = less < low ? less : low;
    }
    const double more = unnoticed(m, s, t.blocks, -1, 0, allowed);
    high = more > high ? more : high;
    out->low = all->occupied - hypot(chance, all->occupied - low);
    out->high = all->occupied + hypot(chance, high - all->occupied);
    out->low = out->low > 0 ? out->low : 0;
}

/* All was looked at: the first of equal ones is stored. */
static struct estimate count_up(const struct prediction *p, uint64_t blocks)
{
    struct estimate e = {0};
    for (size_t i = 0; i < p->count; i++) {
        if (i > 0 && p->blocks[i].key == p->blocks[i - 1].key)
            continue;
        e.unique += 1 / (double)blocks;
        e.occupied += p->blocks[i].bytes / ((double)blocks * PSTORAGE_MEASURE_BLOCK_BYTES);
    }
    return e;
}

bool prediction_make(struct prediction *p, struct prediction_result *out)
{
    const struct tally t = sum_up(p, -1);
    struct mixture *m = calloc(1, sizeof *m);
    struct estimate e;
    if (!m || t.blocks == 0) {
        free(m);
        return false;
    }
    assert(t.extents <= p->extents);
    if (p->count)
        qsort(p->blocks, p->count, sizeof *p->blocks, by_key);
    *out = (struct prediction_result){.blocks = t.blocks,
                                      .pattern = (double)t.pattern / (double)t.blocks,
                                      .stored_already = (double)t.stored / (double)t.blocks};
    if (t.extents == p->extents) {
        e = count_up(p, t.blocks);
        out->low = out->high = e.occupied;
    } else {
        struct seen s;
        look(p, -1, &s);
        fit(m, &s, NULL);
        e = estimate(m, &s, t.blocks);
        bound(p, m, &s, &e, out);
    }
    out->unique = e.unique;
    out->duplicate = 1 - out->pattern - out->stored_already - out->unique;
    out->duplicate = out->duplicate > 0 ? out->duplicate : 0;
    out->occupied = e.occupied;
    free(m);
    return true;
}
