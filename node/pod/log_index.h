/* Where the batches of the log lie: a ring over successive sequence numbers that
 * forgets its oldest. Pure. One owner thread. */
#ifndef PS_NODE_POD_LOG_INDEX_H
#define PS_NODE_POD_LOG_INDEX_H

#include <stdbool.h>
#include <stdint.h>

struct log_entry {
    uint64_t epoch, run, hash; /* the batch's */
    uint64_t previous;         /* hash of the one before */
    uint32_t segment, offset, bytes;
};

struct log_index;

/* `capacity` is a power of two. */
struct log_index *log_index_create(uint32_t capacity);
void log_index_destroy(struct log_index *index);

/* The batch at `seq` and all after it are forgotten, then it is put in; the index starts afresh if `seq` does
 * not follow what is there. */
void log_index_put(struct log_index *index, uint64_t seq, const struct log_entry *entry);
/* Valid until the next put or drop; NULL if it is not known. */
const struct log_entry *log_index_get(const struct log_index *index, uint64_t seq);
/* The one before the oldest; false: there is no room. */
bool log_index_put_before(struct log_index *index, uint64_t seq, const struct log_entry *entry);
/* An entry's batch was moved. */
void log_index_move(struct log_index *index, uint64_t seq, uint32_t segment, uint32_t offset);
/* The oldest one known; 0: none. */
uint64_t log_index_first(const struct log_index *index);
void log_index_drop_through(struct log_index *index, uint64_t seq);
void log_index_drop_after(struct log_index *index, uint64_t seq);

#endif
