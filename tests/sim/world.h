/* What the files of the simulator share. sim.c drives; network.c carries messages; host.c is the hosts. */
#ifndef PS_TESTS_SIM_WORLD_H
#define PS_TESTS_SIM_WORLD_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/blkdev_mem.h"
#include "common/prng.h"
#include "mediator/mediator_core.h"
#include "mediator/mediator_store_mem.h"
#include "node/pod/member.h"
#include "node/replication/batch.h"
#include "node/replication/heartbeat.h"
#include "tests/sim/history.h"
#include "tests/sim/sim.h"

enum {
    HOSTS = 4,
    HOST_OPS = 8,
    BLOCKS = 24, /* of the volume: few, so that accesses meet */
    IO_BLOCKS_MAX = 4,
    MEDIATOR = SIM_NODES_MAX, /* its index as an end of a link */
    ENDS = SIM_NODES_MAX + 1,
};
#define MS     1000000ull
#define SECOND 1000000000ull

enum event_kind {
    EVENT_TURN,
    EVENT_BEAT, /* the heartbeats' thread */
    EVENT_DISK,
    EVENT_MESSAGE,
    EVENT_LOST, /* a connection is found broken */
    EVENT_CRASH,
    EVENT_START,
    EVENT_HOST,
    EVENT_FAULT,
    EVENT_PERSON,
    EVENT_SECOND_FAULT, /* while the mediator is lost; `what` says which */
};

enum fault_kind {
    FAULT_CRASH,
    FAULT_CRASH_MANY,
    FAULT_CUT,   /* one link, in one direction or both */
    FAULT_ALONE, /* all links of a node */
    FAULT_PAUSE,
    FAULT_STALL, /* the reactor has no turn, heartbeats go on */
    FAULT_MEDIATOR,
    FAULT_MEDIATOR_LOST, /* so long that the members go on without it, and something else then */
    FAULT_SLOW_DISK,
    FAULT_CLOGGED,
    FAULT_SWITCH_OVER,
    FAULT_LONG_AWAY, /* longer than a small disk keeps the log for it */
    FAULT_PERSON,    /* no fault: somebody promotes a member whose heir is gone */
    FAULTS,
};

enum message_kind {
    MESSAGE_STATE,
    MESSAGE_STATE_ANSWER,
    MESSAGE_BEAT,
    MESSAGE_BEAT_ANSWER,
    MESSAGE_BEGIN,
    MESSAGE_APPEND,
    MESSAGE_ACK,
    MESSAGE_COPY,
    MESSAGE_COPY_ACK,
    MESSAGE_ASK,
    MESSAGE_REPORT,
    MESSAGE_VERDICT,
};

struct message {
    enum message_kind kind;
    uint8_t from, to;
    uint64_t from_life; /* the sender's start: answers to a former one go nowhere */
    uint64_t to_life;   /* 0: whichever lives */
    union {
        struct replica_state_msg state;
        struct heartbeat_msg beat;
        struct replica_begin_msg begin;
        struct replica_append_msg append;
        struct replica_ack_msg ack;
        struct replica_copy_msg copy;
        struct replica_copy_ack copy_ack;
        struct replica_cas cas;
        struct replica_verdict verdict;
        uint64_t epoch;
    };
    uint32_t bytes;
    uint8_t batch[];
};

struct event {
    uint64_t at, order;
    enum event_kind kind;
    uint8_t node, peer;
    uint64_t life;
    void *what;
};

struct node {
    struct world *w;
    unsigned index;
    char name[16];
    struct blkdev *disk;
    struct member_pod *member;
    bool up, opened;
    uint64_t life;       /* counts its starts */
    uint64_t last_epoch; /* in force there when it crashed */
    bool off;            /* a person says so: it does not start before all is well */
    uint64_t turn_at;
    uint64_t paused_until, stalled_until;
    struct heartbeat heartbeat;
    uint64_t disk_slow_until;
    int64_t drift_ppm;
    uint64_t clock_base; /* what its clock showed at time 0 */
    struct blkdev_req *scheduled[512];
    size_t scheduled_count;
    struct uuid store;
    bool known; /* store is set */
};

struct host_op {
    struct host *host; /* NULL: free */
    struct pod_io io;
    bool is_write;
    unsigned node;
    uint32_t block, count;
    uint64_t serial, begin, values[BLOCKS / HOSTS];
    uint8_t *buf;
};

struct host {
    struct world *w;
    unsigned index;
    struct pod_image *images[SIM_NODES_MAX]; /* open at each node */
    struct host_op ops[HOST_OPS], *current;  /* the others were given up, but may be carried out yet */
    uint64_t serial;
    unsigned doubtful; /* a bit a node */
};

struct world {
    struct sim_options options;
    struct sim_result *result;
    struct prng prng;
    uint64_t now, order;
    struct event *heap;
    size_t heap_count, heap_capacity;

    struct uuid pod;
    unsigned node_count;
    struct node nodes[SIM_NODES_MAX];
    bool cut[ENDS][ENDS];
    uint64_t cut_until[ENDS][ENDS];
    uint64_t link_at[ENDS][ENDS]; /* arrival of the last piece of log */
    bool clogged;
    struct mediator_store *mediator_store;
    struct mediator_core *mediator;
    bool mediator_up;
    uint64_t mediator_until;
    uint64_t quiet_until; /* no other faults than those that go with the loss of the mediator */
    struct configuration mediator_before; /* SIM_FORGET_VERDICT */

    struct host hosts[HOSTS];
    struct history *history;
    uint64_t next_value;
    bool volume_made, making;
    struct pod_manage make;
    uint64_t make_life;
    unsigned make_node;
    bool faults, stopping;
    bool persons;       /* somebody promotes members, and mediators lose their records */
    uint64_t mediators; /* that there were */
    unsigned fault_every, fault_weight[FAULTS];
    uint64_t last_write_ns;
};

/* sim.c */
void at(struct world *w, uint64_t when, enum event_kind kind, unsigned node, uint64_t life, void *what);
void wake(struct node *n);
/* The node has just asked the mediator, and will not hear what it says. */
void lose_answer(struct world *w, unsigned node);
void fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void trace(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t clock_of(const struct node *n);
struct node *node_of(struct world *w, const struct uuid *store);
/* Its reactor does nothing now. */
static inline bool stands_still(const struct node *n)
{
    return n->paused_until > n->w->now || n->stalled_until > n->w->now;
}
static inline uint64_t below(struct world *w, uint64_t n)
{
    return prng_below(&w->prng, n);
}
static inline bool chance(struct world *w, uint64_t num, uint64_t den)
{
    return prng_chance(&w->prng, num, den);
}

/* network.c */
extern const struct member_links sim_links;
void message_arrived(struct world *w, struct message *m);
/* Heartbeats of the node to the others. */
void send_beats(struct node *n);
/* The message needs no reactor. */
static inline bool is_beat(const struct message *m)
{
    return m->kind == MESSAGE_BEAT || m->kind == MESSAGE_BEAT_ANSWER;
}
void mediator_restart(struct world *w);
/* The first configuration of the pod. */
void found(struct world *w);

/* person.c */
void person_begins(struct world *w);
void person_promotes(struct world *w);
void person_prefers(struct world *w, struct configuration *first);
void person_sets(const struct world *w, struct replica_options *options);
/* The mediator comes back: with its records, or without if the members can do without them. */
void mediator_returns(struct world *w);

/* host.c */
/* `serial`: of the request that it stops waiting for, if it still does; 0: does what it does next. */
void host_turn(struct host *h, uint64_t serial);
/* Before the pod of the node is destroyed. */
void host_node_dies(struct host *h, unsigned node);
void hosts_init(struct world *w);
void hosts_free(struct world *w);
bool hosts_idle(const struct world *w);
/* Reads all blocks once more from whoever leads; false: not now. */
bool final_reads(struct world *w);

#endif
