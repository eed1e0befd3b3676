/* The well-formed byte sequences of UTF-8: Unicode 15, table 3-7. */
#ifndef PS_NODE_HOST_REST_UTF8_H
#define PS_NODE_HOST_REST_UTF8_H

#include <stddef.h>

/* Bytes of the sequence that begins at `s`, of which `length` > 0 are there; 0: it is not well-formed. */
static inline size_t utf8_sequence(const char *s, size_t length)
{
    const unsigned char *u = (const unsigned char *)s;
    const unsigned first = u[0];
    size_t n = 0;
    unsigned low = 0x80, high = 0xbf; /* of the second byte */
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        n = 2;
    else if (first >= 0xe0 && first <= 0xef)
        n = 3;
    else if (first >= 0xf0 && first <= 0xf4)
        n = 4;
    if (n == 0 || n > length)
        return 0;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    if (u[1] < low || u[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((u[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

#endif
