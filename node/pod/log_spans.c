#include "node/pod/log_spans.h"

#include <assert.h>
#include <stdlib.h>

struct log_spans {
    uint64_t low; /* what is older was dropped, though its span is here */
    uint32_t capacity, head, count;
    struct log_span *spans;
};

struct log_spans *log_spans_create(uint32_t capacity)
{
    struct log_spans *s = calloc(1, sizeof *s);
    assert(s && capacity && "out of memory at start");
    s->spans = calloc(capacity, sizeof s->spans[0]);
    assert(s->spans && "out of memory at start");
    s->capacity = capacity;
    return s;
}

void log_spans_destroy(struct log_spans *s)
{
    if (s)
        free(s->spans);
    free(s);
}

static struct log_span *at(const struct log_spans *s, uint32_t i)
{
    return &s->spans[(s->head + i) % s->capacity];
}

void log_spans_grow(struct log_spans *s, uint32_t capacity)
{
    if (capacity <= s->capacity)
        return;
    struct log_span *spans = calloc(capacity, sizeof spans[0]);
    assert(spans && "out of memory");
    for (uint32_t i = 0; i < s->count; i++)
        spans[i] = *at(s, i);
    free(s->spans);
    s->spans = spans;
    s->capacity = capacity;
    s->head = 0;
}

static struct log_span *newest(const struct log_spans *s)
{
    return s->count ? at(s, s->count - 1) : NULL;
}

static void drop_oldest(struct log_spans *s)
{
    s->head = (s->head + 1) % s->capacity;
    s->count--;
}

void log_spans_put(struct log_spans *s, uint64_t seq, const struct log_entry *e)
{
    log_spans_drop_after(s, seq - 1);
    struct log_span *last = newest(s);
    if (last && last->last + 1 != seq) {
        s->count = 0;
        last = NULL;
    }
    if (!last)
        s->low = seq;
    if (last && last->segment == e->segment) {
        last->last = seq;
        last->bytes += e->bytes;
        return;
    }
    if (s->count == s->capacity)
        drop_oldest(s);
    s->count++;
    *newest(s) = (struct log_span){seq, seq, e->previous, e->bytes, e->segment, e->offset};
}

bool log_spans_put_before(struct log_spans *s, const struct log_span *span)
{
    if (s->count == s->capacity || (s->count && s->low > at(s, 0)->first))
        return false;
    assert(s->count == 0 || span->last + 1 == at(s, 0)->first);
    s->head = (s->head + s->capacity - 1) % s->capacity;
    s->count++;
    *at(s, 0) = *span;
    s->low = span->first;
    return true;
}

/* Index of the span that would hold `seq`: the last one that begins no later. */
static uint32_t search(const struct log_spans *s, uint64_t seq)
{
    uint32_t low = 0, high = s->count;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (at(s, middle)->first <= seq)
            low = middle;
        else
            high = middle;
    }
    return low;
}

const struct log_span *log_spans_find(const struct log_spans *s, uint64_t seq)
{
    if (s->count == 0 || seq < log_spans_first(s) || seq > newest(s)->last)
        return NULL;
    return at(s, search(s, seq));
}

const struct log_span *log_spans_after(const struct log_spans *s, const struct log_span *span)
{
    const uint32_t i = search(s, span->first) + 1;
    return i < s->count ? at(s, i) : NULL;
}

uint64_t log_spans_first(const struct log_spans *s)
{
    if (s->count == 0)
        return 0;
    const uint64_t first = at(s, 0)->first;
    return first > s->low ? first : s->low;
}

uint64_t log_spans_bytes(const struct log_spans *s, uint64_t seq)
{
    uint64_t bytes = 0;
    for (uint32_t i = s->count; i-- > 0 && at(s, i)->last >= seq;)
        bytes += at(s, i)->bytes;
    return bytes;
}

void log_spans_drop_through(struct log_spans *s, uint64_t seq)
{
    while (s->count && at(s, 0)->last <= seq)
        drop_oldest(s);
    if (s->low <= seq)
        s->low = seq + 1;
}

void log_spans_drop_after(struct log_spans *s, uint64_t seq)
{
    while (s->count && newest(s)->first > seq)
        s->count--;
    if (s->count && newest(s)->last > seq)
        newest(s)->last = seq;
    if (s->count && s->low > newest(s)->last)
        s->count = 0;
}
