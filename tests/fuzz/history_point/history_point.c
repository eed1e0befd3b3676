/* A point of history as it is stored: refused, or a point that is stored as such again. */
#include <assert.h>
#include <string.h>

#include "node/analytics/rollup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct rollup_point point, again;
    uint8_t out[ROLLUP_BYTES_MAX];
    if (rollup_decode(&point, data, bytes))
        return 0;
    const size_t n = rollup_encode(&point, out);
    assert(n <= sizeof out);
    const int rc = rollup_decode(&again, out, n);
    assert(rc == 0 && again.samples == point.samples &&
           memcmp(again.metrics, point.metrics, sizeof point.metrics) == 0);
    (void)rc;
    return 0;
}
