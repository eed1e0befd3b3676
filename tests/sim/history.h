/* What hosts saw of each block, and whether it could have been one disk's.
 *
 * Every write of a block has its own value. A block's history is then linearizable iff the zones of its
 * values (from the first end to the last start of its write and reads) can be put in a row: Gibbons and
 * Korach, Testing Shared Memories, SIAM J. Comput. 26 (1997), section 4. A write without an answer may take
 * effect at any later time, or never. */
#ifndef PS_TESTS_SIM_HISTORY_H
#define PS_TESTS_SIM_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct history;

struct history *history_create(uint32_t blocks);
void history_destroy(struct history *history);
/* A write of a new value begins; ends, if it is answered. Values of a block ascend from 0, which every block
 * holds at first. */
void history_write_begin(struct history *history, uint32_t block, uint64_t value, uint64_t at);
void history_write_end(struct history *history, uint32_t block, uint64_t value, uint64_t at);
void history_read(struct history *history, uint32_t block, uint64_t value, uint64_t begin, uint64_t end);
/* False: `why` tells which block and values. */
bool history_check(struct history *history, char *why, size_t size);

#endif
