#include "node/analytics/trend.h"

#include <math.h>

#include "node/analytics/statistics.h"

/* A level that wanders 1e4 times as much as the noise is a random walk seen exactly. */
static const double levels[TREND_LEVELS] = {0, 1e-3, 1e-2, 3e-2, 1e-1, 0.3, 1, 10, 1e4};
/* The slope's, relative to noise + level: 1e-4 turns a trend within some hundred steps. */
static const double slopes[TREND_SLOPES] = {0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2};
/* Used space adds up what each day brings: a priori its level rather wanders than not. */
static const double prior_level[TREND_LEVELS] = {0.05, 0.05, 0.05, 0.05, 0.1, 0.15, 0.2, 0.2, 0.15};
/* A priori most histories keep their slope for long. */
static const double prior_slope[TREND_SLOPES] = {0.4, 0.15, 0.15, 0.1, 0.1, 0.1};

struct filter {
    const struct trend_cell *cell;
    struct trend_state s;
    double sum_square, sum_log; /* of innovations */
    size_t innovations;
};

/* The first value known exactly up to noise, the slope not at all: a variance of 1e7 is as good as infinite
 * next to variances near 1, and leaves doubles nine digits. */
static void filter_begin(struct filter *f, const struct trend_cell *cell, double first)
{
    *f = (struct filter){.cell = cell, .s = {.level = first, .p_level = cell->noise, .p_slope = 1e7}};
}

static void filter_step(struct filter *f, double y, bool present)
{
    struct trend_state *s = &f->s;
    s->level += s->slope;
    s->p_level += 2 * s->p_both + s->p_slope + f->cell->q_level;
    s->p_both += s->p_slope;
    s->p_slope += f->cell->q_slope;
    if (!present)
        return;
    const double variance = s->p_level + f->cell->noise, innovation = y - s->level;
    const double gain_level = s->p_level / variance, gain_slope = s->p_both / variance;
    s->level += gain_level * innovation;
    s->slope += gain_slope * innovation;
    s->p_slope -= gain_slope * s->p_both;
    s->p_both -= gain_slope * s->p_level;
    s->p_level -= gain_level * s->p_level;
    /* The one innovation that taught the slope says nothing about likelihood. */
    if (f->innovations++ == 0)
        return;
    f->sum_square += innovation * innovation / variance;
    f->sum_log += stat_log(variance);
}

static void cell_make(struct trend_cell *cell, size_t index)
{
    const double level = levels[index / TREND_SLOPES], scale = 1 / (1 + level);
    *cell = (struct trend_cell){
        .q_level = level * scale, .noise = scale, .q_slope = slopes[index % TREND_SLOPES]};
}

void trend_fit(struct trend *t, const double *y, const bool *present, size_t n)
{
    double likelihood[TREND_CELLS], most = 0, total = 0;
    for (size_t i = 0; i < TREND_CELLS; i++) {
        struct filter f;
        cell_make(&t->cells[i], i);
        filter_begin(&f, &t->cells[i], y[0]);
        for (size_t k = 1; k < n; k++)
            filter_step(&f, y[k], present[k]);
        t->samples = f.innovations + 1;
        const double dof = (double)(f.innovations - 1);
        /* A history without any noise: the least variance that doubles can show. */
        const double least = 1e-24 * (1 + y[0] * y[0]);
        const double square = f.sum_square + least;
        t->cells[i].variance = square / dof;
        t->cells[i].end = f.s;
        /* Variance integrated out with the prior 1 / variance. */
        likelihood[i] = -0.5 * (dof * stat_log(square) + f.sum_log) +
                        stat_log(prior_level[i / TREND_SLOPES] * prior_slope[i % TREND_SLOPES]);
        if (i == 0 || likelihood[i] > most) {
            most = likelihood[i];
            t->best = i;
        }
    }
    for (size_t i = 0; i < TREND_CELLS; i++)
        total += t->cells[i].weight = stat_exp(likelihood[i] - most);
    for (size_t i = 0; i < TREND_CELLS; i++)
        t->cells[i].weight /= total;
}

void trend_states(const struct trend_cell *cell, const double *y, const bool *present, size_t n,
                  const size_t *at, size_t count, struct trend_state *out)
{
    struct filter f;
    size_t next = 0;
    filter_begin(&f, cell, y[0]);
    for (size_t k = 0; k < n && next < count; k++) {
        if (k > 0)
            filter_step(&f, y[k], present[k]);
        while (next < count && at[next] == k)
            out[next++] = f.s;
    }
}

double trend_mean(const struct trend_state *s, double h)
{
    return s->level + h * s->slope;
}

double trend_sigma(const struct trend_cell *cell, const struct trend_state *s, double h)
{
    /* The slope's wandering adds k² for k < h steps. */
    const double slope = cell->q_slope * (h - 1) * h * (2 * h - 1) / 6;
    const double variance =
        s->p_level + 2 * h * s->p_both + h * h * s->p_slope + h * cell->q_level + slope + cell->noise;
    return sqrt(cell->variance * variance);
}
