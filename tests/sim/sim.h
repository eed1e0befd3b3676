/* A cluster in one process on virtual time: members of one pod with their devices, a mediator, hosts.
 * Everything that happens is drawn from one seed, and happens the same way each time.
 *
 * What runs is what ships: pod, replica, mediator core. Made here are the network, the clocks, the devices'
 * timing, the hosts and the faults. A run has two phases: one with faults, in which nothing that is
 * acknowledged may be wrong or lost; one without, in which everything must come to rest in sync. */
#ifndef PS_TESTS_SIM_SIM_H
#define PS_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "node/replication/mutation.h"

enum {
    SIM_NODES_MAX = 5,
};

/* "ack-any": as the command line has it. */
const char *sim_mutation_name(enum replica_mutation mutation);

struct sim_options {
    uint64_t seed;
    unsigned nodes;         /* 0: by the seed, 2 or 3 */
    uint64_t fault_seconds; /* virtual; 0: by the seed */
    enum replica_mutation mutation;
    FILE *trace; /* one line an event; NULL: none */
};

struct sim_result {
    bool failed;
    char why[300];
    uint64_t trace_hash; /* of everything that happened */
    uint64_t virtual_ns, events;
    uint64_t writes, reads, unanswered; /* answered ones; the others */
    uint64_t copies;                    /* members that were given a full copy */
    uint64_t leads, crashes, cuts, pauses, stalls, mediator_outages;
    uint64_t elections, alone; /* a primary might go on without the mediator; changes that it made so */
    uint64_t promotions, yields, moves,
        mediators;              /* by persons; to who reaches the mediator; to the preferred
                                   member; that took the place of one that was lost */
    uint64_t longest_outage_ns; /* without an answered write, in the phase with faults */
};

void sim_run(const struct sim_options *options, struct sim_result *result);

#endif
