/* Ids, configurations and requests in short form, for the mediator's tests. */
#ifndef PS_TEST_MEDIATOR_RIG_H
#define PS_TEST_MEDIATOR_RIG_H

#include "mediator/mediator_core.h"

/* All bytes n. Stores are small numbers, pods have 0xa0 and up. */
struct uuid rig_id(unsigned n);
/* The pod "p<n>" with two sync members, stores 1 and 2 on node1 and node2. `in_sync` has a digit for each
 * that is in sync: "12", "1". */
struct configuration rig_configuration(unsigned pod, uint64_t epoch, unsigned primary, const char *in_sync);

/* A core on a store, and the last answer. */
struct rig {
    struct mediator_store *store;
    struct mediator_core *core;
    uint64_t now_unix_ns;
    struct mediator_change_reply reply;
    struct ps_error err;
};
void rig_start(struct rig *rig);
void rig_stop(struct rig *rig);
/* The same store, a new core. */
void rig_restart(struct rig *rig);

/* One pod's change in cluster "c", with the right store id; the verdict, or the status if there is none. */
int rig_change(struct rig *rig, unsigned requester, unsigned request, uint64_t expected,
               const struct configuration *next);
/* Registers p<pod> with epoch 1, primary 1, both in sync. */
void rig_register(struct rig *rig, unsigned pod);
/* The epoch in force; 0: no such pod. */
uint64_t rig_epoch(const struct rig *rig, unsigned pod);
/* "1 granted, 2 epoch-moved": numbers and verdicts of a pod's history. */
const char *rig_history(struct rig *rig, unsigned pod);

#endif
