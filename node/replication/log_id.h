/* Names a batch of a pod's log and, by the chain of checksums, all batches before it. */
#ifndef PS_NODE_REPLICATION_LOG_ID_H
#define PS_NODE_REPLICATION_LOG_ID_H

#include <stdbool.h>
#include <stdint.h>

/* seq 0 names the empty log; all of it is zero then. */
struct log_id {
    uint64_t epoch, run; /* of the primary that made it */
    uint64_t seq;
    uint64_t hash; /* its checksum, the same on every member */
};

static inline bool log_id_equal(const struct log_id *a, const struct log_id *b)
{
    return a->epoch == b->epoch && a->run == b->run && a->seq == b->seq && a->hash == b->hash;
}

#endif
