/* The retained log, between log_read.c, log_recall.c and log_unfold.c. */
#ifndef PS_NODE_POD_LOG_KEEP_H
#define PS_NODE_POD_LOG_KEEP_H

#include "node/pod/pod_impl.h"

/* ---- log_unfold.c: segments that were looked through */

struct log_unfold *log_unfold_create(struct pod *pod);
void log_unfold_free(struct log_unfold *unfold); /* nothing is being read, nobody waits */
/* Valid until the next turn. `seq` lies in a span. NULL: its segment is not looked through yet; that begins
 * now or when the one under way is through. If it does not hold what the log says, all up to its end is
 * forgotten. */
const struct log_entry *log_unfold_get(struct log_unfold *unfold, uint64_t seq);
/* After a get that gave NULL: log_read_again follows, maybe from within. */
void log_unfold_wait(struct log_unfold *unfold, struct pod_log_read *read);
/* Whatever holds any of these batches. */
void log_unfold_drop(struct log_unfold *unfold, uint64_t first, uint64_t last);
uint64_t log_unfold_memory(const struct log_unfold *unfold);

/* ---- log_read.c */

/* A read that waited: its segment is looked through, or not the log (0), or nobody knows (PS_EUNAVAILABLE).
 */
void log_read_again(struct pod_log_read *read, int status);

/* ---- log_recall.c */

void log_recall_free(struct pod *pod);

#endif
