/* The words of scenarios: what is read is what is written. */
#ifndef PS_TESTS_SIM_SCENARIO_WORDS_H
#define PS_TESTS_SIM_SCENARIO_WORDS_H

#include "common/blkdev_mem.h"
#include "tests/sim/scenario.h"

enum {
    SCENARIO_ROLES = 4
};

/* What follows the word of an action. */
enum form {
    FORM_NOTHING,
    FORM_WHO,      /* WHO [for TIME] */
    FORM_WHO_ONLY, /* WHO */
    FORM_CRASH,    /* WHO [lose|keep|tear|reorder] [for TIME] */
    FORM_CUT,      /* X -> Y | X <-> Y [for TIME] */
    FORM_HEAL,     /* [WHO] */
    FORM_MEDIATOR, /* mediator [for TIME] | mediator [empty] */
    FORM_FOR,      /* [for TIME] */
    FORM_ANSWER,   /* [crash] for TIME */
    FORM_DISK,     /* WHO [full] [for TIME] */
    FORM_PROMOTE,  /* WHO [off] */
    FORM_BITS,     /* WHO N */
    FORM_SIZE,     /* SIZE */
    FORM_SWITCH,   /* on | off */
};

struct scenario_action {
    const char *word;
    enum form form;
    const char *usage;
};
struct scenario_condition {
    const char *word;
    bool who; /* it is about somebody */
};

extern const struct scenario_action scenario_actions[ACTIONS];
extern const struct scenario_condition scenario_conditions[CONDITIONS];
extern const char *const scenario_cuts[BLKDEV_MEM_CUTS]; /* by enum blkdev_mem_cut */
extern const char *const scenario_roles[SCENARIO_ROLES]; /* from WHO_MEDIATOR on */

#endif
