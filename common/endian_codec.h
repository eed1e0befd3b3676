/* Little-endian loads and stores for disk and wire formats (NBD and NVMe
 * fields that are big-endian have `be` twins). Any alignment. */
#ifndef PS_COMMON_ENDIAN_CODEC_H
#define PS_COMMON_ENDIAN_CODEC_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define ENDIAN_CODEC(bits, order)                                                                            \
    static inline uint##bits##_t get_##order##bits(const void *p)                                            \
    {                                                                                                        \
        uint##bits##_t v;                                                                                    \
        memcpy(&v, p, sizeof v);                                                                             \
        return order##bits##toh(v);                                                                          \
    }                                                                                                        \
    static inline void put_##order##bits(void *p, uint##bits##_t v)                                          \
    {                                                                                                        \
        v = hto##order##bits(v);                                                                             \
        memcpy(p, &v, sizeof v);                                                                             \
    }

ENDIAN_CODEC(16, le)
ENDIAN_CODEC(32, le)
ENDIAN_CODEC(64, le)
ENDIAN_CODEC(16, be)
ENDIAN_CODEC(32, be)
ENDIAN_CODEC(64, be)

#undef ENDIAN_CODEC

#endif
