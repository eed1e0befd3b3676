/* Latencies of requests, counted in buckets by powers of two: bucket k ends before 2^k microseconds, from 1
 * us to 4.2 s, and the last one never. Counts add up, so minutes make hours, and volumes a pod.
 *
 * Pure. A quantile is known as well as its bucket is narrow: it may be wrong by a factor of two at most,
 * mostly by much less. */
#ifndef PS_COMMON_LATENCY_H
#define PS_COMMON_LATENCY_H

#include <stdint.h>

enum {
    LATENCY_BUCKETS = 24
};

static inline unsigned latency_bucket(uint64_t ns)
{
    const uint64_t us = ns / 1000;
    const unsigned bits = us ? 64 - (unsigned)__builtin_clzll(us) : 0;
    return bits < LATENCY_BUCKETS ? bits : LATENCY_BUCKETS - 1;
}

/* Where a bucket ends, exclusive; the last one: UINT64_MAX. */
static inline uint64_t latency_bucket_end_ns(unsigned bucket)
{
    return bucket + 1 < LATENCY_BUCKETS ? (1ull << bucket) * 1000 : UINT64_MAX;
}

/* How many there are; saturates. */
uint64_t latency_count(const uint64_t counts[LATENCY_BUCKETS]);

/* Below which the share `q` (0 to 1) of them lies, taken as spread evenly over the bucket; in the last bucket
 * its start. 0 when there is none. */
uint64_t latency_quantile_ns(const uint64_t counts[LATENCY_BUCKETS], double q);

#endif
