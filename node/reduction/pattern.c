#include "node/reduction/pattern.h"

#include <string.h>

#include "common/endian_codec.h"

bool pattern_detect(const void *block, uint32_t *pattern)
{
    const char *p = block;
    uint64_t first, second, last;
    memcpy(&first, p, sizeof first);
    memcpy(&second, p + 8, sizeof second);
    memcpy(&last, p + PATTERN_BLOCK_BYTES - 8, sizeof last);
    if (first != second || first != last || (uint32_t)first != (uint32_t)(first >> 32))
        return false;
    /* Equal to itself 8 bytes on: period 8, and the first 8 bytes have period 4. */
    if (memcmp(p, p + 8, PATTERN_BLOCK_BYTES - 8) != 0)
        return false;
    *pattern = get_le32(p);
    return true;
}

void pattern_fill(void *dst, size_t bytes, size_t offset, uint32_t pattern)
{
    const unsigned turn = 8 * (unsigned)(offset % 4);
    if (turn)
        pattern = pattern >> turn | pattern << (32 - turn);
    if (pattern == (pattern & 0xff) * 0x01010101u) {
        memset(dst, (int)(pattern & 0xff), bytes);
        return;
    }
    char *p = dst;
    char unit[64];
    for (size_t i = 0; i < sizeof unit; i += 4)
        put_le32(unit + i, pattern);
    for (; bytes >= sizeof unit; bytes -= sizeof unit, p += sizeof unit)
        memcpy(p, unit, sizeof unit);
    memcpy(p, unit, bytes);
}
