#include "client/cli/progress.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/text.h"
#include "common/sizes.h"

#define TIME_CONSTANT_NS 3e9
#define INTERVAL_NS      200000000ull /* shorter ones make the rate jump */

void progress_start(struct progress *p, uint64_t total_bytes, uint64_t now_ns)
{
    *p = (struct progress){.total_bytes = total_bytes, .start_ns = now_ns, .last_ns = now_ns};
}

void progress_update(struct progress *p, uint64_t done_bytes, uint64_t now_ns)
{
    assert(done_bytes >= p->done_bytes && now_ns >= p->last_ns);
    p->done_bytes = done_bytes;
    const uint64_t passed_ns = now_ns - p->last_ns;
    if (passed_ns < INTERVAL_NS)
        return;
    const double present = (double)(done_bytes - p->last_bytes) * 1e9 / (double)passed_ns;
    /* The weight that a first-order filter gives to an interval of this
     * length, 1 - e^-x, in its cheap form x / (1 + x). */
    const double x = (double)passed_ns / TIME_CONSTANT_NS, weight = x / (1 + x);
    p->rate = p->rate > 0 ? p->rate + weight * (present - p->rate) : present;
    p->last_ns = now_ns;
    p->last_bytes = done_bytes;
}

uint64_t progress_remaining_s(const struct progress *p)
{
    if (p->total_bytes == 0 || p->done_bytes > p->total_bytes || p->rate < 1)
        return UINT64_MAX;
    const double seconds = (double)(p->total_bytes - p->done_bytes) / p->rate;
    return seconds > 1e9 ? UINT64_MAX : (uint64_t)seconds + (seconds > (double)(uint64_t)seconds);
}

double progress_average(const struct progress *p, uint64_t now_ns)
{
    return now_ns > p->start_ns ? (double)p->done_bytes * 1e9 / (double)(now_ns - p->start_ns) : 0;
}

void progress_clock(uint64_t seconds, char *text, size_t size)
{
    const unsigned long long s = seconds % 60, m = seconds / 60 % 60, h = seconds / 3600;
    if (h > 99)
        (void)snprintf(text, size, "days");
    else if (h)
        (void)snprintf(text, size, "%llu:%02llu:%02llu", h, m, s);
    else
        (void)snprintf(text, size, "%llu:%02llu", m, s);
}

/* A bar of `cells` columns, filled in eighths of a column. */
static void bar(const struct progress *p, size_t cells, char *text, size_t size)
{
    static const char *const eighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
    const double part = (double)p->done_bytes / (double)p->total_bytes;
    const size_t full = (size_t)(part * (double)cells * 8);
    size_t used = 0;
    for (size_t i = 0; i < cells && used + 8 < size; i++) {
        const size_t here = full >= 8 * (i + 1) ? 8 : full > 8 * i ? full - 8 * i : 0;
        used += (size_t)snprintf(text + used, size - used, "%s", eighths[here]);
    }
}

void progress_render(const struct progress *p, size_t columns, char *line, size_t size)
{
    char done[SIZE_TEXT_MAX], total[SIZE_TEXT_MAX], rate[SIZE_TEXT_MAX + 4] = "", left[32] = "", numbers[160],
                                                                         percent[16] = "";
    size_format_human(p->done_bytes, done);
    size_format_human(p->total_bytes, total);
    if (p->rate >= 1) {
        char text[SIZE_TEXT_MAX];
        size_format_human((uint64_t)p->rate, text);
        (void)snprintf(rate, sizeof rate, "  %s/s", text);
    }
    const uint64_t remaining = progress_remaining_s(p);
    if (remaining != UINT64_MAX) {
        char clock[16];
        progress_clock(remaining, clock, sizeof clock);
        (void)snprintf(left, sizeof left, "  %s left", clock);
    }
    if (p->total_bytes) {
        const uint64_t whole = p->done_bytes < p->total_bytes
                                   ? (uint64_t)((double)p->done_bytes * 100 / (double)p->total_bytes)
                                   : 100;
        (void)snprintf(percent, sizeof percent, "%3llu %%", (unsigned long long)whole);
        (void)snprintf(numbers, sizeof numbers, "%s of %s%s%s", done, total, rate, left);
    } else {
        (void)snprintf(numbers, sizeof numbers, "%s%s", done, rate);
    }

    const size_t taken = text_width(percent) + text_width(numbers) + 4;
    enum {
        BAR_MIN = 8,
        BAR_MAX = 40
    };
    line[0] = '\0';
    if (p->total_bytes && taken + BAR_MIN <= columns && size > 4 * BAR_MAX + 64) {
        const size_t cells = columns - taken < BAR_MAX ? columns - taken : BAR_MAX;
        char cellstext[4 * BAR_MAX + 16];
        bar(p, cells, cellstext, sizeof cellstext);
        (void)snprintf(line, size, "%s ▕%s▏ %s", percent, cellstext, numbers);
    } else if (text_width(percent) + 2 + text_width(numbers) <= columns) {
        (void)snprintf(line, size, "%s%s%s", percent, *percent ? "  " : "", numbers);
    } else {
        (void)snprintf(line, size, "%s", *percent ? percent : done);
    }
}
