/* How much hosts are slowed for a member that does not catch up. Pure. */
#ifndef PS_NODE_REPLICATION_PACE_H
#define PS_NODE_REPLICATION_PACE_H

#include <stdint.h>

#define PACE_EVERY_NS 1000000000ull

enum {
    PACE_MOST = 280, /* thousandths of the time in which nothing is begun; with late timers under 30 % */
    PACE_STEP = 70,
};

/* Zeroed: nobody is behind. */
struct pace {
    uint64_t gap, at_ns; /* of the last look; at_ns 0: there was none */
    uint32_t permille;
};

/* `gap`: batches that the member lacks which needs most; 0: none is behind. Returns the thousandths by which
 * hosts are slowed from now on; called again after PACE_EVERY_NS at the latest, more often does no harm.
 *
 * A gap that would take longer than a minute to close, or grows, slows hosts by a step more at each look; one
 * that closes within 15 s by a step less. */
uint32_t pace_look(struct pace *pace, uint64_t now_ns, uint64_t gap);

#endif
