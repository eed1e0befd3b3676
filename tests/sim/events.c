/* Events in the order of time, and the record of what happened. */
#include <stdarg.h>

#include "tests/sim/world.h"

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void swap(struct event *a, struct event *b)
{
    const struct event t = *a;
    *a = *b;
    *b = t;
}

void at(struct world *w, uint64_t when, enum event_kind kind, unsigned node, uint64_t life, void *what)
{
    if (w->heap_count == w->heap_capacity) {
        w->heap_capacity = w->heap_capacity ? 2 * w->heap_capacity : 1024;
        w->heap = realloc(w->heap, w->heap_capacity * sizeof w->heap[0]);
        assert(w->heap);
    }
    size_t i = w->heap_count++;
    w->heap[i] =
        (struct event){when < w->now ? w->now : when, ++w->order, kind, (uint8_t)node, 0, life, what};
    for (; i && earlier(&w->heap[i], &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&w->heap[i], &w->heap[(i - 1) / 2]);
}

struct event next_event(struct world *w)
{
    const struct event first = w->heap[0];
    w->heap[0] = w->heap[--w->heap_count];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t c = 2 * i + 1; c <= 2 * i + 2 && c < w->heap_count; c++)
            if (earlier(&w->heap[c], &w->heap[least]))
                least = c;
        if (least == i)
            break;
        swap(&w->heap[i], &w->heap[least]);
        i = least;
    }
    return first;
}

void trace(struct world *w, const char *format, ...)
{
    char line[500];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (const char *c = line; *c; c++)
        w->result->trace_hash = (w->result->trace_hash ^ (uint8_t)*c) * 0x100000001b3ull;
    w->result->trace_hash ^= w->now;
    if (!w->options.trace)
        return;
    /* Since the load began: as a scenario counts. */
    const double seconds = w->begun ? (double)(int64_t)(w->now - w->begun) / 1e9 : -1;
    if (seconds < 0)
        (void)fprintf(w->options.trace, "%10s %s\n", "-", line);
    else
        (void)fprintf(w->options.trace, "%10.6f %s\n", seconds, line);
}

void fail(struct world *w, enum sim_check check, const char *format, ...)
{
    if (w->result->failed)
        return;
    w->result->failed = check;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(w->result->why, sizeof w->result->why, format, args);
    va_end(args);
    trace(w, "FAILED (%s): %s", sim_check_name(check), w->result->why);
}

const char *sim_check_name(enum sim_check check)
{
    static const char *const names[SIM_CHECKS] = {"good",     "history",   "answer", "progress",  "rest",
                                                  "mirrors",  "counts",    "writer", "committed", "store",
                                                  "expected", "assertion", "again"};
    return names[check];
}
