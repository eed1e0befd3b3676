#include "synthetic_history.h"

#include <math.h>

#include "node/analytics/statistics.h"

const char *const synthetic_names[SYNTHETIC_KINDS] = {"line",   "walk",   "week",     "shifts", "turns",
                                                      "bursts", "swings", "compound", "months", "tails",
                                                      "paces",  "years",  "volumes",  "slowing"};

static double uniform(struct prng *p)
{
    return ((double)(prng_next(p) >> 11) + 0.5) / 9007199254740992.0;
}

double synthetic_normal(struct prng *p)
{
    return stat_normal_quantile(uniform(p));
}

static double student_3(struct prng *p)
{
    const double z = synthetic_normal(p), a = synthetic_normal(p), b = synthetic_normal(p),
                 c = synthetic_normal(p);
    return z / sqrt((a * a + b * b + c * c) / 3);
}

void synthetic_make(enum synthetic_kind kind, struct prng *p, size_t days, double *out)
{
    /* Between half a month and some years to the full 1e12. */
    const double pace = 1e8 * (1 + 9 * uniform(p)), wild = prng_chance(p, 1, 3) ? 5 : 1;
    const double noise = 1e9 * (0.2 + 2 * uniform(p)) * wild;
    const double weekend = noise * (2 + 4 * uniform(p));
    double level = 1e11 * (1 + 3 * uniform(p)), slope = pace, swing = 0;
    const double share = kind >= SYNTHETIC_KNOWN ? 0.0005 + 0.001 * uniform(p) : 0;
    const double wave = kind >= SYNTHETIC_KNOWN ? noise * (5 + 10 * uniform(p)) : 0;
    if (kind == SYNTHETIC_COMPOUND || kind == SYNTHETIC_VOLUMES)
        slope = 0;
    for (size_t i = 0; i < days; i++) {
        const double e = synthetic_normal(p);
        level += slope;
        out[i] = level;
        switch (kind) {
        case SYNTHETIC_LINE:
            out[i] += noise * e;
            break;
        case SYNTHETIC_WALK:
            level += noise * e;
            break;
        case SYNTHETIC_WEEK:
            out[i] += 0.5 * noise * e - (i % 7 >= 5 ? weekend : 0);
            break;
        case SYNTHETIC_SHIFTS:
            level += 0.3 * noise * e;
            if (prng_chance(p, 1, 60))
                level += 1e10 * (1 + 4 * uniform(p)) * (prng_chance(p, 2, 3) ? -1 : 1);
            break;
        case SYNTHETIC_TURNS:
            slope += 0.01 * pace * e;
            out[i] += 0.2 * noise * synthetic_normal(p);
            break;
        case SYNTHETIC_BURSTS:
            level += noise * (e > 1.6 ? 3 * (e - 1.2) : 0.1 * e);
            break;
        case SYNTHETIC_SWINGS:
            swing = 0.9 * swing + 0.4 * noise * e;
            out[i] += swing;
            break;
        case SYNTHETIC_COMPOUND:
            level *= 1 + share;
            out[i] = level + noise * e;
            break;
        case SYNTHETIC_MONTHS:
            out[i] += 0.5 * noise * e + wave * (double)(i % 30) / 30;
            break;
        case SYNTHETIC_TAILS:
            level += noise * student_3(p);
            break;
        case SYNTHETIC_PACES:
            if (prng_chance(p, 1, 120))
                slope = 3 * pace * (uniform(p) - 0.2);
            out[i] += 0.3 * noise * e;
            break;
        case SYNTHETIC_YEARS:
            out[i] += 0.5 * noise * e + wave * sin((double)i * 6.283185307179586 / 365);
            break;
        case SYNTHETIC_VOLUMES:
            level += 0.1 * noise * fabs(e);
            level += prng_chance(p, 1, 25) ? 1e10 * uniform(p) : 0;
            level -= prng_chance(p, 1, 50) ? 1e10 * uniform(p) : 0;
            break;
        case SYNTHETIC_SLOWING:
            slope = i < 1000 ? pace * (1 - (double)i / 1000) : 0;
            out[i] += noise * e;
            break;
        case SYNTHETIC_KINDS:
            break;
        }
        if (out[i] < 0)
            level = out[i] = 0;
    }
}
