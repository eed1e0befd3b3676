/* What happens to a simulated cluster, as a list: how it is made up, and steps that break or mend something,
 * wait or expect. A seed is drawn as such a list (draw.c), a test is written as one (scenarios/), and what is
 * left of a seed that failed is printed as one. README.md describes the text.
 *
 * Pure; a value without pointers to anything but its steps. */
#ifndef PS_TESTS_SIM_SCENARIO_H
#define PS_TESTS_SIM_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/status.h"
#include "node/replication/mutation.h"

enum {
    SIM_NODES_MAX = 5,
    SIM_DRIVES_MAX = 6, /* of an array */
    SCENARIO_STEPS_MAX = 2048,
    SCENARIO_DISK_BYTES = 320 << 20, /* unless a scenario says otherwise */
};
#define MS     1000000ull
#define SECOND 1000000000ull

/* Whom a step is about. Nodes are 0 to 4, written a to e. */
enum who {
    WHO_MEDIATOR = SIM_NODES_MAX,
    WHO_PRIMARY, /* who leads just then; else who may go on alone; else nobody, and the step does nothing */
    WHO_BACKUP,  /* the first other one that is up */
    WHO_ALL,
};

enum condition_kind {
    CONDITION_LEADS,       /* who: serves as primary, with its leases */
    CONDITION_SERVING,     /* a write that began after the step did was answered */
    CONDITION_UNSERVED,    /* none is, all the time that is named */
    CONDITION_IN_SYNC,     /* who: counts, by the primary's configuration */
    CONDITION_OUT_OF_SYNC, /* who: does not */
    CONDITION_CAUGHT_UP,   /* who: its log is applied to the primary's end */
    CONDITION_FULL_COPY,   /* who: was given one since the beginning */
    CONDITION_COPYING,     /* who: is being given one */
    CONDITION_JOINING,     /* who: counts as a joiner */
    CONDITION_ALONE,       /* who: may change the configuration without the mediator */
    CONDITION_BOUND,       /* who: has given that right to another */
    CONDITION_TAIL,        /* who: has batches that are durable and not committed */
    CONDITION_FULL,        /* writes are refused for want of space */
    CONDITION_REPAIRED,    /* a record was read from another member */
    CONDITION_UP,          /* who: is open */
    CONDITION_DAMAGED,     /* who: does not open, or a read from it found damage */
    CONDITION_FAILED,      /* who: its device failed */
    CONDITIONS,
};

enum action {
    ACTION_NONE,         /* only waits or expects */
    ACTION_CRASH,        /* who, cut; for: until it starts again */
    ACTION_RESTART,      /* who */
    ACTION_PAUSE,        /* who; for */
    ACTION_STALL,        /* who's reactor has no turn, heartbeats go on; for */
    ACTION_RESUME,       /* who */
    ACTION_CUT,          /* who to peer, or both; for */
    ACTION_ISOLATE,      /* who, from all; for */
    ACTION_PART,         /* who, from the other members; for */
    ACTION_HEAL,         /* all links; with who: its links */
    ACTION_STOP,         /* the mediator; for */
    ACTION_START,        /* the mediator; both: without its records, where the members can do without them */
    ACTION_SLOW,         /* who's disk; for */
    ACTION_CLOG,         /* the network; for */
    ACTION_SWITCH_OVER,  /* to who */
    ACTION_LOSE_ANSWER,  /* of the mediator to the next ask: the asker is cut off; for; both: and crashes */
    ACTION_REPLACE,      /* who: starts again on an empty disk; the cluster is told */
    ACTION_FAIL_DISK,    /* who: writes fail; both: for want of space; for */
    ACTION_ROT,          /* who: amount bits flip in what it has written */
    ACTION_ROT_METADATA, /* who: a bit flips in one copy of each record of metadata that it has */
    ACTION_CORRUPT,      /* who: the next amount writes of batches are stored with a flipped bit */
    ACTION_FAIL_DEVICE,  /* who: one of its array's fails for good, where parity makes up for it */
    ACTION_ROT_DEVICE,   /* who: one is noise all over, where two are made up for and all are well */
    ACTION_MEND,         /* who: those are replaced by blank ones */
    ACTION_FILL,         /* amount bytes more that do not compress are written to another volume */
    ACTION_LOAD,         /* both: on, else off: the hosts */
    ACTION_PROMOTE, /* who, if it is bound to one that is gone and lacks nothing; both: that one is off */
    ACTIONS,
};

enum step_kind {
    STEP_NOW,
    STEP_AT,     /* time: since the load began */
    STEP_AFTER,  /* time: since the step before */
    STEP_WHEN,   /* condition, waited for */
    STEP_EXPECT, /* condition; time: how long it may take */
};

struct step {
    enum step_kind kind;
    uint64_t time_ns; /* WHEN: the most that is waited */
    enum condition_kind condition;
    uint8_t condition_who;
    enum action action;
    uint8_t who, peer;
    bool both;
    uint8_t cut;     /* CRASH: enum blkdev_mem_cut */
    uint64_t for_ns; /* 0: until a step ends it */
    uint64_t amount;
    unsigned line; /* where it was written; 0: drawn */
};

struct scenario {
    uint64_t seed;
    unsigned nodes;
    unsigned async;     /* a bit a member */
    unsigned preferred; /* a node; SIM_NODES_MAX: none */
    uint64_t disk_bytes[SIM_NODES_MAX];
    struct {
        uint8_t data, parity; /* parity 0: one disk */
    } array[SIM_NODES_MAX];
    int32_t drift_ppm[SIM_NODES_MAX];
    bool eager; /* members move to the preferred one, and miss the mediator, soon */
    bool noise; /* single messages are late, lost and sent twice */
    enum replica_mutation mutation;
    size_t step_count;
    struct step *steps;
};

/* "ack-any": as the command line has it. */
const char *scenario_mutation_name(enum replica_mutation mutation);
bool scenario_mutation_parse(const char *text, enum replica_mutation *out);

/* Two nodes with all defaults and no steps. Every scenario is freed. */
void scenario_init(struct scenario *s);
void scenario_free(struct scenario *s);
void scenario_copy(struct scenario *to, const struct scenario *from);
/* False: there are SCENARIO_STEPS_MAX already. */
bool scenario_add(struct scenario *s, const struct step *step);

/* Reads text of `length` bytes. 0, or PS_EINVAL with "line N: what is wrong, and what would be right"; `out`
 * is to be freed in either case. */
int scenario_parse(struct scenario *out, const char *text, size_t length, struct ps_error *err);
/* As text that scenario_parse makes the same scenario of. */
void scenario_print(const struct scenario *s, FILE *out);
/* One step, as its line says it. */
void scenario_print_step(const struct step *step, char *out, size_t size);

/* Draws the cluster and its faults from a seed. nodes 0: 2 or 3, by the seed; seconds 0: 10 to 30. */
void scenario_draw(struct scenario *out, uint64_t seed, unsigned nodes, uint64_t seconds);

#endif
