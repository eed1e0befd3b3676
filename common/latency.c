#include "common/latency.h"

uint64_t latency_count(const uint64_t counts[LATENCY_BUCKETS])
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        sum = counts[i] > UINT64_MAX - sum ? UINT64_MAX : sum + counts[i];
    return sum;
}

uint64_t latency_quantile_ns(const uint64_t counts[LATENCY_BUCKETS], double q)
{
    const double all = (double)latency_count(counts);
    double below = 0;
    unsigned last = 0;
    if (all <= 0)
        return 0;
    const double wanted = (q < 0 ? 0 : q > 1 ? 1 : q) * all;
    for (unsigned i = 0; i + 1 < LATENCY_BUCKETS; i++) {
        const double in = (double)counts[i];
        const double start = i ? (double)latency_bucket_end_ns(i - 1) : 0,
                     end = (double)latency_bucket_end_ns(i);
        if (in > 0 && below + in >= wanted)
            return (uint64_t)(start + (end - start) * (wanted - below) / in);
        below += in;
        last = i;
    }
    return latency_bucket_end_ns(last);
}
