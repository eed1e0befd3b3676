#include "node/analytics/forecast.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/prng.h"
#include "common/status.h"
#include "node/analytics/line.h"
#include "node/analytics/statistics.h"
#include "node/analytics/trend.h"

#define HOUR_S 3600
#define DAY_S  86400

enum {
    DAYS_FOR_DAILY = 35, /* of history from which on a step is a day */
    ORIGINS = 16,        /* pasts from which the back-test predicts */
    TEST_HORIZONS = 4,
    DRAWS = 600,
    CROSSING_POINTS = 40,
    CHOICES = 5,
};
/* Another method replaces the local trend when the back-test finds it this much better. */
#define BETTER        0.90
#define HIGH_END      0.95 /* of the interval; its low end is 1 - that */
#define NORMAL_HIGH   1.6448536269514722
#define LEAST_SHIFT   0.002 /* of the capacity */
#define CLOSE         0.05  /* of the capacity: what `confidence` is about */
#define DAYS_SEARCHED 1826.0

struct choice {
    enum forecast_method method;
    bool seasonal;
};
static const struct choice choices[CHOICES] = {
    {FORECAST_TREND, false}, {FORECAST_TREND, true},   {FORECAST_ROBUST, false},
    {FORECAST_ROBUST, true}, {FORECAST_LINEAR, false},
};

/* Errors of one choice in the back-test. */
struct backtest {
    double absolute[TEST_HORIZONS]; /* mean error */
    double stretch[TEST_HORIZONS];  /* by which what the method itself says of its errors is multiplied */
};

struct work {
    struct series series;
    double plain[SERIES_STEPS_MAX]; /* the level without season */
    struct trend trend[2];          /* of the level, and of the level without season */
    struct line line;
    size_t horizon[TEST_HORIZONS]; /* steps */
    size_t horizons;
    size_t origin[ORIGINS];
    size_t origins;
    struct backtest tests[CHOICES];
    struct choice choice;
    double stretch[TEST_HORIZONS];
    struct prng prng;
    double draws[DRAWS];
};

const char *forecast_method_name(enum forecast_method method)
{
    static const char *const names[] = {"none", "linear", "robust", "trend"};
    return names[method];
}

/* ---- back-test */

static const double *values_of(const struct work *w, struct choice c)
{
    return c.method == FORECAST_LINEAR ? w->series.value : c.seasonal ? w->plain : w->series.level;
}

static double season_at(const struct work *w, struct choice c, double step)
{
    if (!c.seasonal)
        return 0;
    const size_t at = (size_t)step;
    return w->series.season[at % w->series.period];
}

static void make_line(struct line *l, enum forecast_method method, const double *y, const bool *present,
                      size_t n)
{
    if (method == FORECAST_LINEAR)
        line_least_squares(l, y, present, n);
    else
        line_robust(l, y, present, n);
}

/* Horizons and pasts: the later half of the history is predicted. */
static void plan_backtest(struct work *w)
{
    static const size_t asked[2][TEST_HORIZONS] = {{1, 7, 30, 90}, {1, 24, 72, 168}};
    const size_t n = w->series.n, half = n / 2;
    w->horizons = w->origins = 0;
    for (size_t i = 0; i < TEST_HORIZONS; i++) {
        const size_t h = asked[w->series.step_s != DAY_S][i];
        if (h <= n / 3)
            w->horizon[w->horizons++] = h;
    }
    for (size_t i = 0; i < ORIGINS; i++) {
        const size_t at = half + i * (n - 1 - half) / ORIGINS;
        if (w->series.present[at] && (w->origins == 0 || w->origin[w->origins - 1] < at))
            w->origin[w->origins++] = at;
    }
}

static void backtest(struct work *w, struct choice c, struct backtest *out)
{
    const struct series *s = &w->series;
    const double *y = values_of(w, c);
    struct trend_state states[ORIGINS];
    struct line lines[ORIGINS];
    const struct trend *trend = &w->trend[c.seasonal];
    const struct trend_cell *cell = &trend->cells[trend->best];
    if (c.method == FORECAST_TREND)
        trend_states(cell, y, s->present, s->n, w->origin, w->origins, states);
    for (size_t i = 0; c.method != FORECAST_TREND && i < w->origins; i++)
        make_line(&lines[i], c.method, y, s->present, w->origin[i] + 1);
    for (size_t k = 0; k < w->horizons; k++) {
        double ratio[ORIGINS];
        size_t count = 0;
        out->absolute[k] = 0;
        for (size_t i = 0; i < w->origins; i++) {
            const size_t at = w->origin[i] + w->horizon[k];
            const double h = (double)w->horizon[k];
            if (at >= s->n || !s->present[at])
                continue;
            const bool is_trend = c.method == FORECAST_TREND;
            const double mean = is_trend ? trend_mean(&states[i], h) : line_mean(&lines[i], h);
            const double sigma =
                is_trend ? trend_sigma(cell, &states[i], h) : line_sigma(&lines[i], w->origin[i] + 1, h);
            const double error = fabs(y[at] - mean);
            out->absolute[k] += error;
            ratio[count++] = error / (sigma + 1e-300);
        }
        out->absolute[k] = count ? out->absolute[k] / (double)count : -1;
        /* Errors that overlap say little: as many count as fit side by side. The rest is the method's own
         * word; a line's is worth less, since it takes what follows it closely for independent. */
        const double apart = (double)s->n / 2 / (double)w->horizon[k];
        const double worth = apart < (double)count ? apart : (double)count;
        const double own = c.method == FORECAST_TREND ? 20 : 2;
        const double seen = count ? stat_quantile(ratio, count, 0.9) / NORMAL_HIGH : 1;
        out->stretch[k] = (worth * seen + own) / (worth + own);
        if (out->stretch[k] < 1 && c.method == FORECAST_TREND)
            out->stretch[k] = 1;
    }
}

/* Mean over horizons of the error relative to the baseline's. */
static double error_against(const struct work *w, const struct backtest *test, const struct backtest *base)
{
    double sum = 0;
    size_t count = 0;
    for (size_t k = 0; k < w->horizons; k++) {
        if (test->absolute[k] < 0)
            continue;
        sum += base->absolute[k] > 0 ? test->absolute[k] / base->absolute[k] : 1;
        count++;
    }
    return count ? sum / (double)count : 1;
}

static void choose(struct work *w, struct forecast *out)
{
    double error[CHOICES];
    size_t chosen = 0;
    plan_backtest(w);
    for (size_t i = 0; i < CHOICES; i++)
        if (!choices[i].seasonal || w->series.seasonal)
            backtest(w, choices[i], &w->tests[i]);
    for (size_t i = 0; i < CHOICES; i++) {
        if (choices[i].seasonal && !w->series.seasonal)
            continue;
        error[i] = error_against(w, &w->tests[i], &w->tests[CHOICES - 1]);
        if (error[i] < BETTER * error[chosen] || (i > 1 && chosen > 1 && error[i] < error[chosen]))
            chosen = i;
    }
    w->choice = choices[chosen];
    for (size_t k = 0; k < w->horizons; k++)
        w->stretch[k] = w->tests[chosen].stretch[k];
    out->error_vs_linear = error[chosen];
    out->backtests = w->origins * w->horizons;
    make_line(&w->line, w->choice.method == FORECAST_LINEAR ? FORECAST_LINEAR : FORECAST_ROBUST,
              values_of(w, w->choice), w->series.present, w->series.n);
}

/* ---- the distribution of what comes */

static double stretch_at(const struct work *w, double h)
{
    for (size_t k = 0; k < w->horizons; k++) {
        if (h > (double)w->horizon[k])
            continue;
        if (k == 0)
            return w->stretch[0];
        const double from = (double)w->horizon[k - 1], to = (double)w->horizon[k];
        return w->stretch[k - 1] + (w->stretch[k] - w->stretch[k - 1]) * (h - from) / (to - from);
    }
    return w->horizons ? w->stretch[w->horizons - 1] : 1;
}

static double uniform(struct prng *p)
{
    return ((double)(prng_next(p) >> 11) + 0.5) / 9007199254740992.0;
}

/* Chi-square with `dof` degrees of freedom, over dof (E. B. Wilson, M. M. Hilferty, 1931). */
static double draw_chi_square(struct prng *p, double dof)
{
    const double a = 2 / (9 * dof), x = 1 - a + stat_normal_quantile(uniform(p)) * sqrt(a);
    return x > 0.1 ? x * x * x : 0.001;
}

/* Shifts come as often as they came, as far as their number tells that, independently, each of a size like
 * one that was; few that all went one way do not show that all will. */
static double draw_shifts(struct work *w, double h)
{
    const struct series *s = &w->series;
    struct prng *p = &w->prng;
    if (s->shifts == 0 || w->choice.method == FORECAST_LINEAR)
        return 0;
    const double rate = (double)s->shifts + 0.5;
    const double none = stat_exp(-rate * draw_chi_square(p, 2 * rate) * h / (double)s->n);
    double sum = 0, chance = uniform(p);
    for (unsigned n = 0; chance > none && n < 1000; n++) {
        const double size = s->shift[prng_below(p, s->shifts)] * (0.5 + uniform(p));
        sum += prng_chance(p, 1, s->shifts + 2) ? -size : size;
        chance *= uniform(p);
    }
    return sum;
}

static const struct trend_cell *draw_cell(struct work *w)
{
    const struct trend *t = &w->trend[w->choice.seasonal];
    double at = uniform(&w->prng);
    for (size_t i = 0; i < TREND_CELLS; i++) {
        at -= t->cells[i].weight;
        if (at < 0)
            return &t->cells[i];
    }
    return &t->cells[t->best];
}

/* Fills `draws` with what may be h steps from now, shuffled only by its own making. */
static void draw(struct work *w, const struct forecast_ask *ask, double h)
{
    const struct series *s = &w->series;
    const double days = h * (double)s->step_s / DAY_S, stretch = stretch_at(w, h);
    const double season = season_at(w, w->choice, (double)(s->n - 1) + h);
    const double plan = ask->plan_at_once + ask->plan_per_day * days;
    prng_seed(&w->prng, 1);
    for (size_t i = 0; i < DRAWS; i++) {
        /* One normal number from each of DRAWS equal parts. */
        const double z = stat_normal_quantile(((double)i + 0.5) / DRAWS);
        double mean, sigma;
        if (w->choice.method == FORECAST_TREND) {
            const struct trend_cell *cell = draw_cell(w);
            mean = trend_mean(&cell->end, h);
            sigma = trend_sigma(cell, &cell->end, h);
        } else {
            mean = line_mean(&w->line, h);
            sigma = line_sigma(&w->line, s->n, h);
        }
        /* The variance is only as well known as the samples tell it. */
        sigma *= stretch / sqrt(draw_chi_square(&w->prng, (double)(s->samples - 2)));
        w->draws[i] = mean + season + sigma * z + draw_shifts(w, h) + plan;
    }
}

static void predict(struct work *w, const struct forecast_ask *ask, double h, struct forecast_prediction *out)
{
    draw(w, ask, h);
    out->low = stat_quantile(w->draws, DRAWS, 1 - HIGH_END);
    out->high = stat_quantile(w->draws, DRAWS, HIGH_END);
    out->value = stat_median(w->draws, DRAWS);
    out->low = out->low > 0 ? out->low : 0;
    out->value = out->value > 0 ? out->value : 0;
    out->high = out->high > 0 ? out->high : 0;
}

/* Of the draws made last. */
static double share_close_to(const struct work *w, double value, double distance)
{
    size_t close = 0;
    for (size_t i = 0; i < DRAWS; i++)
        close += fabs(w->draws[i] - value) <= distance;
    return (double)close / DRAWS;
}

/* ---- answers */

static void predict_all(struct work *w, const struct forecast_ask *ask, struct forecast *out)
{
    for (size_t i = 0; i < ask->horizons; i++) {
        struct forecast_prediction *p = &out->predictions[i];
        p->known = p->days <= out->span_days + 0.5;
        if (!p->known)
            continue;
        predict(w, ask, (double)p->days * DAY_S / (double)w->series.step_s, p);
        if (p->days > 30 || p->days < out->confidence_days)
            continue;
        out->confidence_days = p->days;
        out->confidence = share_close_to(w, p->value, CLOSE * ask->capacity);
    }
}

/* Days at which a line between two points meets `level`; negative if it was not met before. */
static void meet(double *days, double level, double from, double to, double d0, double d1)
{
    if (*days < 0 && to >= level)
        *days = from >= level || to <= from ? d0 : d0 + (d1 - d0) * (level - from) / (to - from);
}

static void find_crossings(struct work *w, const struct forecast_ask *ask, struct forecast *out)
{
    struct forecast_crossing *const crossings[] = {&out->at_80, &out->at_90};
    const double shares[] = {0.8, 0.9};
    const double now = out->current + ask->plan_at_once;
    struct forecast_prediction before = {.low = now, .value = now, .high = now};
    double d0 = 0;
    for (size_t i = 0; i < 2; i++)
        *crossings[i] = (struct forecast_crossing){
            .reached = now >= shares[i] * ask->capacity, .days = -1, .earliest = -1, .latest = -1};
    out->searched_days = out->span_days < DAYS_SEARCHED ? out->span_days : DAYS_SEARCHED;
    for (size_t k = 1; k <= CROSSING_POINTS; k++) {
        struct forecast_prediction p;
        const double part = (double)k / CROSSING_POINTS, d1 = out->searched_days * part * part;
        predict(w, ask, d1 * DAY_S / (double)w->series.step_s, &p);
        for (size_t i = 0; i < 2; i++) {
            const double level = shares[i] * ask->capacity;
            meet(&crossings[i]->days, level, before.value, p.value, d0, d1);
            meet(&crossings[i]->earliest, level, before.high, p.high, d0, d1);
            meet(&crossings[i]->latest, level, before.low, p.low, d0, d1);
        }
        before = p;
        d0 = d1;
    }
    for (size_t i = 0; i < 2; i++) {
        crossings[i]->known = crossings[i]->days >= 0;
        if (crossings[i]->reached)
            *crossings[i] = (struct forecast_crossing){.reached = true, .known = true};
    }
}

static bool make_series(struct work *w, const struct forecast_ask *ask, struct forecast *out)
{
    struct series *s = &w->series;
    bool some = series_make(s, ask->points, ask->count, ask->now_s, DAY_S);
    if (some && s->n < DAYS_FOR_DAILY)
        some = series_make(s, ask->points, ask->count, ask->now_s, HOUR_S);
    if (some)
        out->current = s->value[s->n - 1];
    out->step_s = some ? s->step_s : HOUR_S;
    out->steps = some ? s->n : 0;
    out->samples = some ? s->samples : 0;
    out->span_days = some ? (double)(s->n - 1) * (double)s->step_s / DAY_S : 0;
    if (out->samples >= FORECAST_STEPS_MIN && out->samples * 2 >= out->steps)
        return true;
    (void)snprintf(
        out->why, sizeof out->why,
        "too little history: %zu of the last %zu hours are known; a forecast takes %d hours at least, "
        "and half of the time",
        out->samples, out->steps, (int)FORECAST_STEPS_MIN);
    return false;
}

static void study(struct work *w, const struct forecast_ask *ask, struct forecast *out)
{
    struct series *s = &w->series;
    series_study(s, LEAST_SHIFT * ask->capacity);
    for (size_t i = 0; i < s->n; i++)
        w->plain[i] = s->level[i] - s->season[i % s->period];
    trend_fit(&w->trend[0], s->level, s->present, s->n);
    if (s->seasonal)
        trend_fit(&w->trend[1], w->plain, s->present, s->n);
    choose(w, out);
    out->method = w->choice.method;
    out->seasonal = w->choice.seasonal;
    out->shifts = w->choice.method == FORECAST_LINEAR ? 0 : s->shifts;
    const struct trend *t = &w->trend[w->choice.seasonal];
    const double slope = w->choice.method == FORECAST_TREND ? t->cells[t->best].end.slope : w->line.slope;
    out->per_day = slope * DAY_S / (double)s->step_s + ask->plan_per_day;
}

int forecast_make(const struct forecast_ask *ask, struct forecast *out)
{
    struct work *w = malloc(sizeof *w);
    if (!w)
        return PS_ENOMEM;
    *out = (struct forecast){.method = FORECAST_NONE, .npredictions = ask->horizons};
    for (size_t i = 0; i < ask->horizons; i++)
        out->predictions[i] = (struct forecast_prediction){.days = ask->horizons_days[i]};
    if (make_series(w, ask, out)) {
        study(w, ask, out);
        predict_all(w, ask, out);
        find_crossings(w, ask, out);
    } else {
        out->at_80 = out->at_90 = (struct forecast_crossing){.days = -1, .earliest = -1, .latest = -1};
        out->at_80.reached = out->current >= 0.8 * ask->capacity;
        out->at_90.reached = out->current >= 0.9 * ask->capacity;
    }
    free(w);
    return 0;
}
