#include "node/analytics/rollup.h"

#include "common/status.h"

const struct rollup_tier_kind rollup_tiers[ROLLUP_TIERS] = {
    [ROLLUP_MINUTE] = {"minute", 60, 2 * 24 * 60},
    [ROLLUP_HOUR] = {"hour", 3600, 90 * 24},
    [ROLLUP_DAY] = {"day", 86400, 5 * 366},
};

int64_t rollup_bucket(enum rollup_tier tier, int64_t time_s)
{
    const int64_t seconds = rollup_tiers[tier].seconds;
    return time_s >= 0 ? time_s / seconds : -((-time_s + seconds - 1) / seconds);
}

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void rollup_add(struct rollup_point *point, const struct rollup_point *other)
{
    if (other->samples == 0)
        return;
    for (size_t i = 0; i < ROLLUP_METRICS_MAX; i++) {
        struct rollup_metric *to = &point->metrics[i];
        const struct rollup_metric *from = &other->metrics[i];
        to->sum = add_saturated(to->sum, from->sum);
        to->min = point->samples == 0 || from->min < to->min ? from->min : to->min;
        to->max = point->samples == 0 || from->max > to->max ? from->max : to->max;
    }
    point->samples =
        other->samples > UINT32_MAX - point->samples ? UINT32_MAX : point->samples + other->samples;
}

void rollup_sample(struct rollup_point *point, const uint64_t *values, size_t count)
{
    struct rollup_point one = {.samples = 1};
    for (size_t i = 0; i < count; i++)
        one.metrics[i] = (struct rollup_metric){values[i], values[i], values[i]};
    rollup_add(point, &one);
}

uint64_t rollup_growth(uint64_t before, uint64_t now, bool restarts, bool same_run)
{
    if (restarts && (!same_run || now < before))
        return now;
    return now >= before ? now - before : 0;
}

/* ---- codec: version, samples, then of each metric that is not all 0: its number, sum, min, max - min.
 * All LEB128. */

static size_t put(uint8_t *out, uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        out[n++] = (uint8_t)(v | 0x80);
    out[n++] = (uint8_t)v;
    return n;
}

size_t rollup_encode(const struct rollup_point *point, uint8_t *out)
{
    size_t n = 0;
    out[n++] = 1; /* the least that has room */
    n += put(out + n, point->samples);
    for (size_t i = 0; i < ROLLUP_METRICS_MAX; i++) {
        const struct rollup_metric *m = &point->metrics[i];
        if (m->sum == 0 && m->max == 0)
            continue;
        if (i >= ROLLUP_METRICS_1)
            out[0] = 2;
        n += put(out + n, i);
        n += put(out + n, m->sum);
        n += put(out + n, m->min);
        n += put(out + n, m->max - m->min);
    }
    return n;
}

static bool get(const uint8_t **at, const uint8_t *end, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        const uint8_t byte = *(*at)++;
        if (shift == 63 && byte > 1)
            return false;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = v;
            return true;
        }
    }
    return false;
}

int rollup_decode(struct rollup_point *point, const uint8_t *data, size_t bytes)
{
    const uint8_t *at = data, *end = data + bytes;
    uint64_t samples, metric, next = 0;
    *point = (struct rollup_point){0};
    const uint8_t version = bytes ? *at++ : 0;
    const uint64_t metrics = version == 1 ? ROLLUP_METRICS_1 : ROLLUP_METRICS_MAX;
    if (version == 0 || version > ROLLUP_VERSION || !get(&at, end, &samples) || samples == 0 ||
        samples > UINT32_MAX)
        return PS_EDAMAGED;
    while (at < end) {
        struct rollup_metric m;
        uint64_t above;
        if (!get(&at, end, &metric) || metric < next || metric >= metrics || !get(&at, end, &m.sum) ||
            !get(&at, end, &m.min) || !get(&at, end, &above) || above > UINT64_MAX - m.min)
            return PS_EDAMAGED;
        m.max = m.min + above;
        point->metrics[metric] = m;
        next = metric + 1;
    }
    point->samples = (uint32_t)samples;
    return 0;
}
