/* What a file would occupy, estimated from blocks of it that a node has measured. Pure.
 *
 * Blocks come in extents: neighbours, looked at together. Either all extents of the file are added, and the
 * result is a count; or extents drawn at random, each equally likely, none twice. Then shares (patterns,
 * stored already, compression) are those of the sample, but not duplicates within the file: of two equal
 * blocks, both are in a sample of one in q only once in q^2 (Charikar et al., Towards Estimation Error
 * Guarantees for Distinct Values, PODS 2000). So:
 *
 * - Which share of the blocks has how many copies is found by maximum likelihood: of a block with m copies,
 * each other one is in the sample with probability q, so J = 1 + Binomial(m - 1, q) are seen. The mixture
 * over m that explains best what was seen is fitted by EM (Dempster, Laird, Rubin 1977); the idea of
 * estimating the whole histogram instead of the number is that of Harnik, Khaitzin, Sotnikov: Estimating
 * Unseen Deduplication (FAST 2016). A block that was seen J times then counts as the mean of 1 / m given J,
 * whatever it compresses to.
 * - The interval has two parts. The sample's chance, by jackknife over 20 random groups of extents, so that
 *   duplicates that come in runs are no more than one accident each. And what the sample can't see: how many
 *   blocks might have copies, or none, without making what was seen less likely than a likelihood ratio test
 * at 95 % allows, with runs of an extent's length taken for one observation. Of a very small sample the
 * second part is large, and should be.
 *
 * test_prediction measures how often 95 % intervals hold the truth. */
#ifndef PS_CLI_PREDICTION_H
#define PS_CLI_PREDICTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/lib/pstorage.h"

struct prediction;

/* Shares of the file's blocks, which add up to 1. */
struct prediction_result {
    uint64_t blocks; /* looked at */
    double pattern, stored_already, duplicate, unique;
    double occupied;  /* flash over data, in bytes */
    double low, high; /* of it; the same when all was looked at */
};

/* `extents`: that the file has; `seed` draws the groups. NULL: no memory. */
struct prediction *prediction_create(uint64_t extents, uint64_t seed);
void prediction_destroy(struct prediction *p);

/* An extent of the sample. False: no memory. */
bool prediction_add(struct prediction *p, const struct pstorage_measured *blocks, size_t count);

/* False: no memory, or nothing was added. */
bool prediction_make(struct prediction *p, struct prediction_result *out);

#endif
