/* What hosts did to a volume's blocks and saw there, from several nodes, and whether one disk could have
 * shown it.
 *
 * Pure: no I/O, no clock, no threads. The judge is the simulator's (tests/sim/history.h): each block's
 * history must be linearizable. Three things are added here:
 *
 * - A write that was refused did not happen: nobody may see it.
 * - A write without an answer may have happened, or happen later, or never. "Later" ends where the node that
 * was asked is known to have been fenced or to have died, and another one serves: at the first fence after
 * its begin. Who sees it after that must take it for as old as that.
 * - What was read is what some write made, byte for byte; the reader tells (content.h). */
#ifndef PS_TESTS_HOSTS_DEEDS_H
#define PS_TESTS_HOSTS_DEEDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum deed_outcome {
    DEED_ANSWERED = 1,
    DEED_REFUSED, /* surely not done */
    DEED_UNKNOWN, /* no answer */
};

/* Of all nodes, or of none in particular. */
#define NODE_ANY 0u

struct deed {
    bool write; /* else a read; reads are kept when they were answered */
    enum deed_outcome outcome;
    unsigned node; /* that was asked; NODE_ANY: the library chose */
    uint32_t block;
    uint64_t value; /* written, or read; of a block's writes each has its own, above 0. 0: never written */
    uint64_t begin, end; /* ns; `end` is that of the answer, of a refusal, or when it was given up */
};

struct deeds;

struct deeds *deeds_create(uint32_t blocks);
void deeds_destroy(struct deeds *deeds);
/* In any order. A read that returns `value` of a write not added yet is no mistake until the verdict. */
void deeds_add(struct deeds *deeds, const struct deed *deed);
/* From `at` on no write that began at `node` before `before` and was not answered takes effect; NODE_ANY: at
 * any node. In ascending order of `at`, and `before` is not after it. */
void deeds_fence(struct deeds *deeds, unsigned node, uint64_t before, uint64_t at);
/* A read of a block returned what no write makes. The verdict is against it. */
void deeds_nonsense(struct deeds *deeds, uint32_t block, const char *what);
/* False: `why` tells which block and values. */
bool deeds_judge(const struct deeds *deeds, char *why, size_t size);
/* One deed or fence a line, for people, in the order they were added. */
void deeds_print(const struct deeds *deeds, FILE *file);

struct deeds_sums {
    uint64_t writes, reads, refused, unknown;
    uint64_t unknown_seen;
};
struct deeds_sums deeds_count(const struct deeds *deeds);
/* The longest time in which no write was answered, from `since` on, ns. */
uint64_t deeds_longest_pause(const struct deeds *deeds, uint64_t since);

#endif
