/* Where data is zero, block by block: what tells holes from data when a file
 * or volume does not say. Pure. */
#ifndef PS_CLI_ZEROES_H
#define PS_CLI_ZEROES_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum {
    ZEROES_BLOCK = 4096
};

static inline bool zeroes_only(const char *data, size_t length)
{
    return length == 0 || (data[0] == 0 && memcmp(data, data + 1, length - 1) == 0);
}

/* Length of the run of blocks at the start of `data` that are all zero or all
 * not; `*zero` says which. The last block may be short. `length` > 0. */
static inline size_t zeroes_run(const char *data, size_t length, bool *zero)
{
    size_t run = 0;
    for (bool first = true; run < length; first = false) {
        const size_t n = length - run < ZEROES_BLOCK ? length - run : ZEROES_BLOCK;
        const bool z = zeroes_only(data + run, n);
        if (first)
            *zero = z;
        else if (z != *zero)
            break;
        run += n;
    }
    return run;
}

#endif
