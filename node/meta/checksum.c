#include "node/meta/checksum.h"

#define XXH_STATIC_LINKING_ONLY /* a state on the stack */
#include <assert.h>

#include "common/xxh3.h"

uint64_t checksum_record(const void *record, size_t bytes, size_t field)
{
    static const uint8_t zero[8];
    const uint8_t *p = record;
    XXH3_state_t state;
    assert(field + sizeof zero <= bytes);
    (void)XXH3_64bits_reset(&state);
    (void)XXH3_64bits_update(&state, p, field);
    (void)XXH3_64bits_update(&state, zero, sizeof zero);
    (void)XXH3_64bits_update(&state, p + field + sizeof zero, bytes - field - sizeof zero);
    return XXH3_64bits_digest(&state);
}

uint64_t checksum_bytes(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}
