#include "node/analytics/series.h"

#include <math.h>

#include "node/analytics/statistics.h"

enum {
    SHIFT_SIGMAS = 8,      /* a step's change is a shift from there on */
    SEASON_PERIODS_MIN = 3 /* to know a season */
};

bool series_make(struct series *s, const struct series_point *points, size_t count, int64_t now_s,
                 int64_t step_s)
{
    size_t first = SERIES_STEPS_MAX;
    *s = (struct series){.step_s = step_s, .period = step_s >= 86400 ? 7 : 24};
    /* Backwards: the last point of each step counts, and the grid ends at the newest one's step. */
    for (size_t i = count; i-- > 0;) {
        if (points[i].time_s > now_s)
            continue;
        const int64_t ago = (now_s - points[i].time_s) / step_s;
        if (ago >= SERIES_STEPS_MAX)
            break;
        const size_t at = SERIES_STEPS_MAX - 1 - (size_t)ago;
        if (s->present[at])
            continue;
        s->present[at] = true;
        s->value[at] = points[i].value;
        s->samples++;
        first = at;
    }
    if (s->samples == 0)
        return false;
    /* What is known last stays so until now. */
    size_t last = SERIES_STEPS_MAX - 1;
    while (!s->present[last])
        last--;
    if (last < SERIES_STEPS_MAX - 1) {
        s->value[SERIES_STEPS_MAX - 1] = s->value[last];
        s->present[SERIES_STEPS_MAX - 1] = true;
        s->samples++;
    }
    s->n = SERIES_STEPS_MAX - first;
    for (size_t i = 0; i < s->n; i++) {
        s->value[i] = s->value[i + first];
        s->present[i] = s->present[i + first];
    }
    return true;
}

/* ---- level shifts */

/* Median and spread of the changes from one step to the next; false: there are too few. */
static bool study_changes(const struct series *s, double *median, double *sigma)
{
    double d[SERIES_STEPS_MAX];
    size_t n = 0, before = 0;
    for (size_t i = 1; i < s->n; i++) {
        if (!s->present[i])
            continue;
        d[n++] = (s->value[i] - s->value[before]) / (double)(i - before);
        before = i;
    }
    if (n < 8)
        return false;
    *median = stat_median(d, n);
    *sigma = stat_mad_sigma(d, n, *median);
    return true;
}

/* The change at `at` as the season before and the season after it tell it, phase by phase, growth taken off.
 */
static double lasting_change(const struct series *s, size_t at, double growth)
{
    double change[SERIES_PERIOD_MAX];
    size_t n = 0;
    for (size_t k = at; k < s->n && k < at + s->period; k++)
        if (k >= s->period && s->present[k] && s->present[k - s->period])
            change[n++] = s->value[k] - s->value[k - s->period] - growth * s->period;
    return n ? stat_median(change, n) : 0;
}

static void find_shifts(struct series *s, double least)
{
    double growth = 0, sigma = 0;
    s->shifts = 0;
    if (!study_changes(s, &growth, &sigma))
        return;
    size_t before = 0, found = 0;
    for (size_t i = 1; i < s->n; i++) {
        if (!s->present[i])
            continue;
        const double steps = (double)(i - before);
        const double change = s->value[i] - s->value[before] - growth * steps;
        before = i;
        if (fabs(change) < least || fabs(change) <= SHIFT_SIGMAS * sigma * sqrt(steps))
            continue;
        const double lasting = lasting_change(s, i, growth);
        if (lasting * change <= 0 || fabs(lasting) < 0.6 * fabs(change))
            continue;
        if (found < SERIES_SHIFTS_MAX) {
            s->shift[found] = change;
            s->shift_at[found] = i;
        }
        found++;
    }
    /* What happens every few steps is how the level grows, not a shift of it. */
    if (found <= SERIES_SHIFTS_MAX && found * 20 <= s->n)
        s->shifts = found;
}

static void take_out_shifts(struct series *s)
{
    double later = 0;
    size_t next = s->shifts;
    for (size_t i = s->n; i-- > 0;) {
        s->level[i] = s->value[i] + later;
        if (next > 0 && s->shift_at[next - 1] == i)
            later += s->shift[--next];
    }
}

/* ---- season */

/* Each phase's median distance from the moving average over a whole season around it. */
static void find_season(struct series *s)
{
    double apart[SERIES_STEPS_MAX];
    const size_t p = s->period, half = p / 2;
    double sum = 0;
    s->seasonal = s->n >= SEASON_PERIODS_MIN * p + p;
    for (size_t phase = 0; s->seasonal && phase < p; phase++) {
        size_t n = 0;
        for (size_t i = phase; i < s->n; i += p) {
            if (!s->present[i] || i < half || i + half >= s->n)
                continue;
            double total = 0, weight = 0;
            for (size_t k = i - half; k <= i + half; k++) {
                /* An even season has half a step at both ends. */
                const double w = p % 2 == 0 && (k == i - half || k == i + half) ? 0.5 : 1;
                total += s->present[k] ? w * s->level[k] : 0;
                weight += s->present[k] ? w : 0;
            }
            if (weight > (double)p - 1e-9)
                apart[n++] = s->level[i] - total / weight;
        }
        if (n < SEASON_PERIODS_MIN)
            s->seasonal = false;
        else
            sum += s->season[phase] = stat_median(apart, n);
    }
    for (size_t phase = 0; phase < p; phase++)
        s->season[phase] = s->seasonal ? s->season[phase] - sum / (double)p : 0;
}

void series_study(struct series *s, double least_shift)
{
    find_shifts(s, least_shift);
    take_out_shifts(s);
    find_season(s);
}
