/* A cluster in one process on virtual time: members of one pod with their devices, a mediator, hosts.
 * All that happens follows from a scenario, and happens the same way each time.
 *
 * What runs is what ships: pod, replica, mediator core. Made here are the network, the clocks, the devices'
 * timing, the hosts and the faults. A run has two phases: one with the scenario's steps, in which nothing
 * that is acknowledged may be wrong or lost; one without, in which everything must come to rest in sync. */
#ifndef PS_TESTS_SIM_SIM_H
#define PS_TESTS_SIM_SIM_H

#include "tests/sim/scenario.h"

/* What noticed. */
enum sim_check {
    SIM_GOOD,
    SIM_HISTORY,   /* a block's history is not that of one disk */
    SIM_ANSWER,    /* a host got an answer that nothing explains */
    SIM_PROGRESS,  /* nothing is answered though all is well */
    SIM_REST,      /* it does not come to rest in sync */
    SIM_MIRRORS,   /* the members' flash differs */
    SIM_COUNTS,    /* references and space of a member's store do not add up */
    SIM_WRITER,    /* two primaries in an epoch, or two batches of one name */
    SIM_COMMITTED, /* what was committed at a place of the log has changed */
    SIM_STORE,     /* a member's store does not open */
    SIM_EXPECTED,  /* a step of the scenario waited or expected in vain */
    SIM_ASSERTION, /* the process ended */
    SIM_AGAIN,     /* the second run was another one */
    SIM_CHECKS,
};
const char *sim_check_name(enum sim_check check);

struct sim_options {
    const struct scenario *scenario;
    FILE *trace; /* one line an event; NULL: none */
};

struct sim_result {
    enum sim_check failed;
    char why[400];
    uint64_t trace_hash; /* of everything that happened */
    uint64_t virtual_ns, events;
    uint64_t writes, reads, unanswered; /* answered ones; the others */
    uint64_t copies;                    /* members that were given a full copy */
    uint64_t leads, crashes, cuts, pauses, stalls, mediator_outages;
    uint64_t replaced, disk_failures, rotten, full; /* disks; …; bits; writes refused for want of space */
    uint64_t devices_failed, devices_replaced;      /* of arrays; failed or noise */
    uint64_t elections, alone; /* a primary might go on without the mediator; changes that it made so */
    uint64_t promotions, yields, moves; /* by persons; to who reaches the mediator; to the preferred member */
    uint64_t mediators;                 /* that took the place of one that was lost */
    uint64_t repaired;                  /* records that were read from another member */
    uint64_t too_small;                 /* runs that ended with a member that no copy fits into: 0 or 1 */
    uint64_t collected, moved_bytes;    /* segments by garbage collection, and what it moved */
    uint64_t lost_to_damage;            /* runs that ended with damage that nothing can mend: 0 or 1 */
    uint64_t longest_outage_ns;         /* without an answered write, in the phase with faults */
};

/* In this process: an assertion that fails ends it. */
void sim_run(const struct sim_options *options, struct sim_result *result);
/* In a child. */
void sim_run_apart(const struct sim_options *options, struct sim_result *result);

/* Makes a scenario that fails as short as it gets, as long as it fails by the same check: steps, then what is
 * special about the cluster. `tell` gets a line a round; may be NULL. Returns how many runs it took. */
unsigned sim_minimise(struct scenario *scenario, enum sim_check check, unsigned runs_max, FILE *tell);

#endif
