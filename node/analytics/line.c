#include "node/analytics/line.h"

#include <math.h>

#include "node/analytics/statistics.h"

static void study_steps(struct line *l, const bool *present, size_t n)
{
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        l->samples += present[i];
        sum += present[i] ? (double)i : 0;
    }
    l->middle = sum / (double)l->samples;
    for (size_t i = 0; i < n; i++)
        square += present[i] ? ((double)i - l->middle) * ((double)i - l->middle) : 0;
    l->spread = square;
}

void line_least_squares(struct line *l, const double *y, const bool *present, size_t n)
{
    *l = (struct line){0};
    study_steps(l, present, n);
    double mean = 0, product = 0, square = 0;
    for (size_t i = 0; i < n; i++)
        mean += present[i] ? y[i] : 0;
    mean /= (double)l->samples;
    for (size_t i = 0; i < n; i++)
        product += present[i] ? ((double)i - l->middle) * (y[i] - mean) : 0;
    l->slope = product / l->spread;
    l->at_end = mean + l->slope * ((double)(n - 1) - l->middle);
    for (size_t i = 0; i < n; i++) {
        const double rest = y[i] - l->at_end + l->slope * (double)(n - 1 - i);
        square += present[i] ? rest * rest : 0;
    }
    l->sigma = sqrt(square / (double)(l->samples - 2));
}

/* Medians of groups of neighbouring steps; how many. */
static size_t group(const double *y, const bool *present, size_t n, double *at, double *value)
{
    double v[LINE_STEPS_MAX];
    const size_t size = (n + LINE_BLOCKS_MAX - 1) / LINE_BLOCKS_MAX;
    size_t groups = 0;
    for (size_t from = 0; from < n; from += size) {
        size_t count = 0;
        double sum = 0;
        for (size_t i = from; i < n && i < from + size; i++) {
            if (!present[i])
                continue;
            v[count++] = y[i];
            sum += (double)i;
        }
        if (count == 0)
            continue;
        at[groups] = sum / (double)count;
        value[groups++] = stat_median(v, count);
    }
    return groups;
}

void line_robust(struct line *l, const double *y, const bool *present, size_t n)
{
    double at[LINE_BLOCKS_MAX], value[LINE_BLOCKS_MAX], rest[LINE_STEPS_MAX];
    double slope[LINE_BLOCKS_MAX * (LINE_BLOCKS_MAX - 1) / 2];
    const size_t groups = group(y, present, n, at, value);
    size_t pairs = 0, count = 0;
    *l = (struct line){0};
    study_steps(l, present, n);
    for (size_t i = 0; i < groups; i++)
        for (size_t j = i + 1; j < groups; j++)
            slope[pairs++] = (value[j] - value[i]) / (at[j] - at[i]);
    l->slope = stat_median(slope, pairs);
    for (size_t i = 0; i < n; i++)
        if (present[i])
            rest[count++] = y[i] + l->slope * (double)(n - 1 - i);
    l->at_end = stat_median(rest, count);
    l->sigma = stat_mad_sigma(rest, count, l->at_end);
}

double line_mean(const struct line *l, double h)
{
    return l->at_end + l->slope * h;
}

double line_sigma(const struct line *l, size_t n, double h)
{
    const double apart = (double)(n - 1) + h - l->middle;
    return l->sigma * sqrt(1 + 1 / (double)l->samples + apart * apart / l->spread);
}
