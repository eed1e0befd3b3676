/* The mediator's store in memory: for tests and the simulator. What was applied is there as long as the store
 * is, so a mediator that is "restarted" gets a new core on the old store. Pure. */
#ifndef PS_MEDIATOR_STORE_MEM_H
#define PS_MEDIATOR_STORE_MEM_H

#include "mediator/mediator_store.h"

/* NULL: out of memory. */
struct mediator_store *mediator_store_mem_create(const struct uuid *id);
void mediator_store_mem_destroy(struct mediator_store *store);

/* The `nth` apply from now on (1: the next) fails with `status`; then all is well again. `applied`: it takes
 * effect all the same, as a commit whose answer is lost. nth 0: none does. */
void mediator_store_mem_fail(struct mediator_store *store, unsigned nth, int status, bool applied);
/* How often something was applied. */
unsigned mediator_store_mem_applies(const struct mediator_store *store);

#endif
