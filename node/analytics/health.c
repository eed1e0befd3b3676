#include "node/analytics/health.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "node/analytics/statistics.h"

enum {
    PEERS_MAX = 16
};
#define SPARE_SHARE    0.02
#define VARIANCE_SHARE 0.2

__attribute__((format(printf, 2, 3))) static void say(struct health_report *r, const char *format, ...)
{
    va_list args;
    if (r->nreasons == HEALTH_REASONS_MAX)
        return;
    va_start(args, format);
    (void)vsnprintf(r->reasons[r->nreasons++], HEALTH_REASON_TEXT, format, args);
    va_end(args);
}

static double at_most(double v, double most)
{
    return v < most ? v : most;
}

static double wear_points(double share)
{
    return share > 0.5 ? at_most(120 * (share - 0.5), 60) : 0;
}

static double judge_life(const struct health_ask *ask, struct health_report *r)
{
    if (!ask->smart_known) {
        say(r, "the device does not tell its wear");
        return 0;
    }
    if (ask->used_per_day > 0) {
        r->days_known = true;
        r->days_left = ask->used_percent < 100 ? (100 - ask->used_percent) / ask->used_per_day : 0;
    }
    if (ask->used_percent > 50)
        say(r, "%.0f %% of its life are used, as it counts", ask->used_percent);
    return wear_points(ask->used_percent / 100);
}

static double judge_wear(const struct health_ask *ask, struct health_report *r)
{
    if (!ask->wear_known || ask->wear_rated <= 0)
        return judge_life(ask, r);
    const double share = ask->wear_mean / ask->wear_rated;
    if (ask->wear_per_day > 0) {
        r->days_known = true;
        r->days_left = share < 1 ? (ask->wear_rated - ask->wear_mean) / ask->wear_per_day : 0;
    }
    if (share > 0.5)
        say(r, "%.0f %% of the rated %.0f cycles are used", 100 * share, ask->wear_rated);
    return wear_points(share);
}

static double judge_blocks(const struct health_ask *ask, struct health_report *r)
{
    if (!ask->blocks_known || ask->retired == 0)
        return 0;
    const double spare = SPARE_SHARE * (double)ask->blocks;
    say(r, "%" PRIu64 " of %" PRIu64 " blocks are retired", ask->retired, ask->blocks);
    return at_most(40 * (double)ask->retired / (spare > 1 ? spare : 1), 60);
}

static double judge_errors(const struct health_ask *ask, struct health_report *r)
{
    if (ask->errors_30_days == 0)
        return 0;
    const bool rising = (double)ask->errors_7_days / 7 > 2 * (double)ask->errors_30_days / 30;
    const double log2 = stat_log(1 + (double)ask->errors_30_days) / stat_log(2);
    say(r, "%" PRIu64 " requests failed in 30 days%s", ask->errors_30_days,
        rising ? ", most of them in the last 7" : "");
    return at_most(5 * log2, 40) * (rising ? 2 : 1);
}

static double judge_media(const struct health_ask *ask, struct health_report *r)
{
    if (ask->media_errors == 0)
        return 0;
    say(r, "it counts %" PRIu64 " media errors", ask->media_errors);
    return at_most(2 * stat_log(1 + (double)ask->media_errors) / stat_log(2), 20);
}

static double judge_warnings(const struct health_ask *ask, struct health_report *r)
{
    static const char *const words[] = {"its spare is low", "its temperature is beyond a limit",
                                        "it is not reliable any more", "it only reads",
                                        "its volatile memory failed"};
    double lost = 0;
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!(ask->warnings >> i & 1))
            continue;
        say(r, "it warns: %s", words[i]);
        lost = i != 1 ? 40 : lost > 10 ? lost : 10;
    }
    return lost;
}

static double judge_variance(const struct health_ask *ask, struct health_report *r)
{
    double wear[PEERS_MAX];
    const size_t n = ask->peers < PEERS_MAX ? ask->peers : PEERS_MAX;
    if (n == 0 || !ask->wear_known || ask->wear_rated <= 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        wear[i] = ask->peers_wear[i];
    const double median = stat_median(wear, n);
    if (ask->wear_mean - median <= VARIANCE_SHARE * ask->wear_rated)
        return 0;
    say(r, "it is worn more than its peers: %.0f cycles, their median is %.0f", ask->wear_mean, median);
    return 10;
}

void health_report(const struct health_ask *ask, struct health_report *out)
{
    *out = (struct health_report){0};
    const double lost = judge_wear(ask, out) + judge_blocks(ask, out) + judge_errors(ask, out) +
                        judge_media(ask, out) + judge_warnings(ask, out) + judge_variance(ask, out);
    out->score = lost < 99 ? (unsigned)(100 - lost + 0.5) : 1;
    if (ask->failed) {
        say(out, "it failed: a flush did not reach the medium");
        out->score = 0;
    }
    if (ask->out) {
        say(out, "it is out of its array, which does without it");
        out->score = 0;
    }
}
