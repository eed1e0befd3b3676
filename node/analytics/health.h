/* How well a drive is, 0 to 100, why, and how long it will last. Pure.
 *
 *   score = 100 - wear - blocks - errors - media - warning - variance, at least 1; 0 for a drive that failed or is out of its array
 *     wear      0 up to half of the rated cycles, then rising evenly to 60 at all of them; of a drive
 *               whose cycles are not known, but that counts the used part of its life, of that
 *     blocks    40 * retired / spare, at most 60; spare: 2 % of all blocks
 *     errors    5 * log2(1 + errors of the last 30 days), at most 40; twice that, when
 *               the last 7 days had more than twice the rate of the 30
 *     media     2 * log2(1 + media errors that the drive counts), at most 20
 *     warning   40 when the drive itself warns of its spare, its reliability, its memory, or that it only
 *               reads; else 10 when it warns of its temperature
 *     variance  10 when it is worn more than its peers' median by over 20 % of the rated cycles
 *
 * Days to the end of life: what is left of the rated cycles (or of the life that the drive counts), at
 * the pace of the history given. */
#ifndef PS_NODE_ANALYTICS_HEALTH_H
#define PS_NODE_ANALYTICS_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HEALTH_REASONS_MAX = 6,
    HEALTH_REASON_TEXT = 128
};

struct health_ask {
    bool failed, out; /* out: the others of its array do without it */
    bool wear_known;
    double wear_mean, wear_max; /* cycles of an erase block */
    double wear_rated;          /* cycles; 0: not known */
    double wear_per_day;        /* mean cycles a day, of late; 0: not known, or none */
    bool blocks_known;
    uint64_t blocks, retired;
    uint64_t errors_7_days, errors_30_days; /* media errors: requests that failed */
    /* What the drive says of itself. */
    bool smart_known;
    double used_percent; /* of its life; beyond 100 it lives on */
    double used_per_day; /* percent, of late; 0: not known, or none */
    uint64_t media_errors;
    unsigned warnings; /* bits: 0 spare low, 1 temperature, 2 reliability, 3 read-only, 4 its memory */
    /* Peers in the same node or pod, without this drive. */
    const double *peers_wear; /* mean cycles each */
    size_t peers;
};

struct health_report {
    unsigned score;
    bool days_known;
    double days_left; /* to the rated cycles */
    char reasons[HEALTH_REASONS_MAX][HEALTH_REASON_TEXT];
    size_t nreasons;
};

/* At most 16 peers are looked at. */
void health_report(const struct health_ask *ask, struct health_report *out);

#endif
