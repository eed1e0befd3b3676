/* What the files of the simulator share.
 *
 *   sim.c      a run and its phases
 *   events.c   events in the order of time; what happened
 *   node.c     nodes that start and die, their clocks and devices' time
 *   drives.c   what a node's pod lies on: a disk, or several as an array
 *   script.c   a scenario's steps: what they wait for and expect
 *   fault.c    a scenario's steps: what they do
 *   look.c     what can be seen of a cluster
 *   operator.c what a person does: disks replaced, failed nodes started again
 *   person.c   and more: promotions, empty mediators
 *   network.c  messages, and the mediator
 *   host.c     hosts
 *   checks.c   one writer an epoch; what is committed stays
 *   mirrors.c  members' flash compared and counted */
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
    MEDIATOR = WHO_MEDIATOR, /* its index as an end of a link */
    ENDS = SIM_NODES_MAX + 1,
    RECENT_WRITES = 64,
    SEGMENT_BYTES = 2 << 20,
    DRIVES_OPENING = 1, /* no status is that */
};

enum event_kind {
    EVENT_TURN,
    EVENT_BEAT, /* the heartbeats' thread */
    EVENT_DISK,
    EVENT_MESSAGE,
    EVENT_LOST, /* a connection is found broken */
    EVENT_CRASH,
    EVENT_START,
    EVENT_HOST,
    EVENT_FILL,
    EVENT_STEP,
    EVENT_MEDIATOR, /* it may be back */
    EVENT_OPERATOR,
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
    MESSAGE_RECORD,
    MESSAGE_RECORD_ANSWER,
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
        struct replica_record_msg record;
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

struct drive {
    struct blkdev *mem, *fault; /* fault: of an array, what is told to fail */
    bool gone;                  /* it failed for good */
    bool rotten;                /* it holds noise */
    bool out;                   /* by the array's label, as far as that is known: lost, or being rebuilt */
    uint64_t in_ns;             /* since when it is in, as it was seen */
    struct blkdev_req *scheduled[512];
    size_t scheduled_count;
};

struct node {
    struct world *w;
    unsigned index;
    char name[2];
    struct blkdev *disk; /* what the pod sees */
    struct drive drives[SIM_DRIVES_MAX];
    unsigned drive_count;
    struct array *array; /* NULL: it is down, or has one disk */
    struct ps_error array_error;
    int array_status;   /* of its opening */
    bool mend, mending; /* devices of it shall be replaced; one is being taken in or out */
    uint64_t looked;
    struct member_pod *member;
    struct ps_error error; /* of its opening */
    bool up, opened;
    bool copies_damage;             /* it was sent a copy of a device that may be damaged */
    bool lost_page;                 /* of metadata, which is this member's own: no other one has it */
    bool ever_damaged, ever_failed; /* something was done to its device: bits; writes */
    bool damaged;        /* its device gave back what was not written, and that was noticed or may be */
    bool lost;           /* it did not open, for damage: nobody starts it before its disk is replaced */
    bool replace;        /* its disk shall be replaced */
    bool blank;          /* it was: the cluster is to be told */
    bool off;            /* a person says so: it does not start before all is well */
    uint64_t last_epoch; /* in force there when it crashed */
    uint64_t life;       /* counts its starts */
    uint64_t turn_at;
    uint64_t paused_until, stalled_until, disk_slow_until, disk_fails_until;
    struct heartbeat heartbeat;
    bool disk_full; /* it fails for want of space */
    uint64_t corrupt_writes;
    uint64_t recent[RECENT_WRITES], recent_count; /* offsets of its last writes */
    uint64_t copies;
    int64_t drift_ppm;
    uint64_t clock_base; /* what its clock showed at time 0 */
    struct uuid store;
    uint64_t stores; /* disks that it has had */
    bool known;      /* store is set */
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

/* Writes what does not compress to a volume of its own. */
struct filler {
    struct world *w;
    uint64_t wanted, done; /* bytes */
    struct pod_manage make;
    struct pod_image *image;
    struct pod_io io;
    unsigned node;
    bool made, making, busy;
    uint8_t *buf;
};

struct script {
    size_t next;
    uint64_t since;  /* when the step began to wait */
    uint64_t writes; /* answered by then of those that began later */
    bool waits, over;
};

struct world {
    struct sim_options options;
    const struct scenario *scenario;
    struct sim_result *result;
    /* Of their own, so that a step less does not change all the rest. */
    struct prng network, disks, loads, ids;
    uint64_t now, order, begun;
    struct event *heap;
    size_t heap_count, heap_capacity;

    struct uuid pod;
    unsigned node_count;
    struct node nodes[SIM_NODES_MAX];
    uint64_t cut_until[ENDS][ENDS];
    uint64_t link_at[ENDS][ENDS]; /* arrival of the last piece of log */
    uint64_t clogged_until;
    struct mediator_store *mediator_store;
    struct mediator_core *mediator;
    bool mediator_up;
    uint64_t mediator_until;
    uint64_t mediators;                   /* that came without records */
    struct configuration mediator_before; /* REPLICA_FORGET_VERDICT */
    struct {
        bool armed, crash;
        uint64_t for_ns;
    } lose_answer;

    struct host hosts[HOSTS];
    struct filler filler;
    struct history *history;
    struct checks *checks;
    uint64_t next_value;
    bool volume_made, making;
    struct pod_manage make;
    uint64_t make_life;
    unsigned make_node;
    bool faults, stopping, load_off;
    bool last_reads; /* all are in sync, and nothing goes wrong any more */
    uint64_t last_write_ns, last_full_ns,
        last_write_begin_ns; /* the latter: the latest begin of an answered write */
    struct script script;
};

/* events.c */
void at(struct world *w, uint64_t when, enum event_kind kind, unsigned node, uint64_t life, void *what);
struct event next_event(struct world *w);
void fail(struct world *w, enum sim_check check, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void trace(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* node.c */
void node_create(struct world *w, unsigned index);
/* Starts, on the disk that it has. */
void node_start(struct node *n);
void node_crash(struct node *n, enum blkdev_mem_cut cut);
/* Without a trace: the device must have lost its power. */
void node_destroy(struct node *n);
void node_turn(struct node *n);
void node_new_disk(struct node *n);
void node_rot(struct node *n, uint64_t bits);
void node_rot_metadata(struct node *n);
void disk_done(struct node *n, struct blkdev_req *req);
void wake(struct node *n);
/* Its reactor does nothing now: it is paused, or in the middle of something. */
static inline bool stands_still(const struct node *n)
{
    return n->paused_until > n->w->now || n->stalled_until > n->w->now;
}
uint64_t clock_of(const struct node *n);
/* NULL: it was on a disk that is gone. */
struct node *node_of(struct world *w, const struct uuid *store);

/* drives.c */
bool on_array(const struct node *n);
/* Blank ones. */
void drives_new(struct node *n);
void drives_free(struct node *n);
/* An array opens while time goes on; DRIVES_OPENING until then, and node.disk is set by whoever sees it open.
 */
int drives_open(struct node *n, struct ps_error *err);
/* Whoever used it is gone; the power was cut before. */
void drives_close(struct node *n);
void drives_cut(struct node *n, enum blkdev_mem_cut mode);
size_t drives_pending(const struct node *n);
/* The oldest request of each, at once: after all. */
bool drives_step(struct node *n);
/* Returns when to come again. */
uint64_t drives_turn(struct node *n, uint64_t clock);
/* None is lost, rotten or being rebuilt. */
bool drives_whole(const struct node *n);
/* One fails for good, or is noise all over; nothing happens where parity would not make up for it. */
void drive_fails(struct node *n);
void drive_rots(struct node *n);
/* As many as parity makes up for are not there at the next opening. */
void drives_go_missing(struct node *n);

/* script.c */
/* Does and awaits steps as far as they go; says when to come again. */
void script_turn(struct world *w);

/* fault.c */
void do_step(struct world *w, const struct step *step);
void heal(struct world *w);
/* The node has just asked the mediator, and will not hear what it says. */
void lose_answer(struct world *w, unsigned node);

/* look.c */
bool look(const struct node *n, struct replica_info *out);
/* What it has may be wrong: bits of its device flipped, or of one that it is a copy of. */
bool may_be_damaged(const struct node *n);
bool has_a_sound_copy(struct world *w);
/* It takes no writes any more until it is started again. */
bool store_failed(const struct node *n);
/* Who leads; NULL: nobody that can be seen. */
struct node *leader(struct world *w);
/* The node that is meant, or NULL. Not for WHO_ALL. */
struct node *node_meant(struct world *w, unsigned who);
bool holds(struct world *w, const struct step *step);
/* One leads with leases, all are in sync, every log is applied to the same end. */
bool at_rest(struct world *w);
void describe(struct world *w, char *out, size_t size);

/* operator.c */
void operator_turn(struct world *w);
/* Some disk is to be replaced yet, or the cluster is to be told of it. */
bool operator_busy(const struct world *w);
bool is_damaged(const struct world *w);

/* person.c */
void person_promotes(struct world *w, struct node *n, bool off);
/* The mediator comes back: with its records, or without if that is wanted and the members can do without
 * them. */
void mediator_returns(struct world *w, bool empty);

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
/* As the mediator has it; NULL: nothing yet. */
const struct configuration *mediator_configuration(struct world *w);
/* Requests to the mediator are on their way. */
bool asks_under_way(const struct world *w, unsigned node);
/* The first configuration of the pod. */
void found(struct world *w);

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
struct node *serving_node(struct world *w);

/* filler.c */
void filler_more(struct world *w, uint64_t bytes);
void filler_turn(struct world *w);
/* All is well: its volume goes. */
void filler_empty(struct world *w);
bool filler_is_gone(const struct world *w);
void filler_node_dies(struct world *w, unsigned node);
void filler_free(struct world *w);

/* checks.c */
struct checks *checks_create(void);
void checks_free(struct checks *checks);
void check_leads(struct world *w, const struct node *n, uint64_t epoch);
void check_sealed(struct world *w, const struct node *n, const struct replica_append_msg *msg);
void check_applied(struct world *w, struct node *n);

/* mirrors.c */
void compare_mirrors(struct world *w);

#endif
