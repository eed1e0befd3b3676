/* Runs, one after the other, in a child that may die. */
#ifndef PS_TESTS_SIM_APART_H
#define PS_TESTS_SIM_APART_H

#include <sys/types.h>

#include "tests/sim/sim.h"

struct apart {
    /* In the child: the index-th run. */
    void (*run)(void *user, uint64_t index, struct sim_result *result);
    void *user;
    uint64_t count;
    /* apart.c's own. */
    pid_t child;
    int in;
};

/* The result of the index-th run; to be called for 0, 1 and so on. When the child dies the result says so,
 * and the next one is another child's. */
void apart_next(struct apart *apart, uint64_t index, struct sim_result *result);
/* No more of them are wanted. */
void apart_stop(struct apart *apart);

#endif
