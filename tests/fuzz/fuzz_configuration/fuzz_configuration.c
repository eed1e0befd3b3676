/* Any bytes as a configuration, as they come and with length and sum made right. What decodes passes the
 * check, and is written and read back the same. */
#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "common/configuration.h"
#include "common/endian_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *form, size_t bytes)
{
    struct configuration c, again;
    uint8_t encoded[CONFIGURATION_BYTES_MAX];
    if (configuration_decode(form, bytes, &c, NULL))
        return;
    assert(configuration_check(&c, NULL) == 0);
    const size_t length = configuration_encode(&c, encoded);
    assert(length <= bytes && memcmp(form, encoded, length) == 0);
    assert(configuration_decode(encoded, length, &again, NULL) == 0);
    assert(configuration_equal(&c, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t sealed[2 * CONFIGURATION_BYTES_MAX];
    check(data, size);
    if (size < 12 || size > sizeof sealed)
        return 0;
    memcpy(sealed, data, size);
    put_le16(sealed + 2, (uint16_t)size);
    put_le64(sealed + size - 8, XXH3_64bits(sealed, size - 8));
    check(sealed, size);
    return 0;
}
