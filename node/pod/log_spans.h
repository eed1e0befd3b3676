/* Which segment holds which batches of the log: a queue of runs of successive batches that lie side by side,
 * oldest first and without gaps. It forgets its oldest. Pure. One owner thread. */
#ifndef PS_NODE_POD_LOG_SPANS_H
#define PS_NODE_POD_LOG_SPANS_H

#include <stdbool.h>

#include "node/pod/log_index.h"

struct log_span {
    uint64_t first, last; /* sequence numbers */
    uint64_t previous;    /* hash of the batch before the first */
    uint64_t bytes;       /* at least; more may be counted after the end was cut off */
    uint32_t segment, offset;
};

struct log_spans;

struct log_spans *log_spans_create(uint32_t capacity);
void log_spans_destroy(struct log_spans *spans);
/* Has room for so many, at least. */
void log_spans_grow(struct log_spans *spans, uint32_t capacity);

/* The batch at `seq` and all after it are forgotten, then it is put in; all is forgotten if `seq` does not
 * follow what is there. */
void log_spans_put(struct log_spans *spans, uint64_t seq, const struct log_entry *entry);
/* Before the oldest one, whose predecessor is its last; false: there is no room, or the oldest is known in
 * part. */
bool log_spans_put_before(struct log_spans *spans, const struct log_span *span);
/* Both valid until the next change. NULL: not known; there is none. */
const struct log_span *log_spans_find(const struct log_spans *spans, uint64_t seq);
const struct log_span *log_spans_after(const struct log_spans *spans, const struct log_span *span);
/* The oldest batch known; 0: none. */
uint64_t log_spans_first(const struct log_spans *spans);
/* Of batches from `seq` on; whole spans count as a whole. */
uint64_t log_spans_bytes(const struct log_spans *spans, uint64_t seq);
void log_spans_drop_through(struct log_spans *spans, uint64_t seq);
void log_spans_drop_after(struct log_spans *spans, uint64_t seq);

#endif
