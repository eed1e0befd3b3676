/* What a write puts into a block of 4 KiB: from its bytes one can tell which write of which block made it,
 * and nothing that is mixed from two, or lies elsewhere, passes for one. Half of it compresses. */
#ifndef PS_TESTS_HOSTS_CONTENT_H
#define PS_TESTS_HOSTS_CONTENT_H

#include <stdint.h>

enum {
    CONTENT_BYTES = 4096
};

/* `run` tells apart what several programs wrote; `value` is above 0. */
void content_make(uint8_t *bytes, uint64_t run, uint32_t block, uint64_t value);
/* NULL, and the value: 0 for a block of zeroes. Otherwise what it is, as in "a read returned …". */
const char *content_read(const uint8_t *bytes, uint64_t run, uint32_t block, uint64_t *value);

#endif
