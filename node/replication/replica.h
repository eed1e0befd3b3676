/* One node's part in one replicated pod: who is primary, who must have a batch before it counts, who may
 * answer. Primary-backup log replication with an external configuration master (PacificA, Lin et al. 2008;
 * Vertical Paxos with primary-backup, Lamport et al. 2009).
 *
 * Pure: no I/O, no clock, no threads. What happens is told by replica_* functions, each with the time; what
 * shall be done comes out through `struct replica_effects`, during these calls or replica_turn. The owner
 * calls replica_turn after each round of events and not later than at the deadline that it returned.
 *
 * State is kept twice: as it shall be, and as it is known to be durable. Whatever others may rely on (an ask
 * to the mediator, an acknowledgement, acting as primary) is done only when the two agree, so a restart never
 * forgets a promise. Time is CLOCK_BOOTTIME in ns; clocks of different nodes are never compared. */
#ifndef PS_NODE_REPLICATION_REPLICA_H
#define PS_NODE_REPLICATION_REPLICA_H

#include "common/configuration.h"
#include "node/replication/log_id.h"

enum {
    REPLICA_PEERS_MAX = CONFIGURATION_MEMBERS_MAX - 1,
    REPLICA_TAIL_MAX = 16,          /* ids in a STATE; a tail is never longer than the batches in flight */
    REPLICA_AHEAD = 3,              /* a member acknowledges no more than that beyond what it has applied */
    REPLICA_DECISIONS = 256,        /* kept in memory for `why` */
    REPLICA_STATE_BYTES_MAX = 1536, /* durable state, encoded */
};

struct replica_options {
    uint64_t heartbeat_ns;      /* 250 ms */
    uint64_t lease_ns;          /* 1 s: what a primary may rely on, from its own stamp */
    uint64_t margin_ns;         /* 100 ms: how much longer a member keeps its promise */
    uint64_t early_ns;          /* 200 ms: a take-over is asked for that much before the promise ends */
    uint64_t rank_ns;           /* 100 ms: and later by this for each member of better rank */
    uint64_t silence_ns;        /* 750 ms: a silent member is removed */
    uint64_t unacked_ns;        /* 1.5 s: one that does not make batches durable, too */
    uint64_t resend_ns;         /* 500 ms: an open ask */
    uint64_t report_ns;         /* 1 s: epoch to the mediator */
    uint64_t mediator_lost_ns;  /* 3 s without an answer */
    uint64_t stuck_ns;          /* 3 s: a reactor that has no turn, or a flush that does not end, is silent */
    uint32_t clean_heartbeats;  /* 10 before a member may join */
    uint32_t join_batches;      /* 8: nearer to the end than this is near */
    uint32_t stable_heartbeats; /* 40 before the pod moves to a member without a person's order */
    uint64_t move_again_ns;     /* 30 s: between two such moves */
};
extern const struct replica_options replica_defaults;

/* ---- messages between members; the edge gives them a form for the wire */

/* Pre-election: while the mediator is lost, the members give the right to go on alone to their primary. */
enum replica_bind {
    REPLICA_UNBOUND, /* the sender may ask the mediator */
    REPLICA_BOUND,   /* it has given that right away, durably: to `heir`, for its bid `nonce` */
    REPLICA_BIDS,    /* a primary that asks for the members' right, by the bid `nonce` */
    REPLICA_ALONE,   /* it was given by all: the sender changes the configuration alone */
    REPLICA_BINDS,
};

/* Sent every heartbeat to each other member, and its answer. */
struct replica_state_msg {
    struct uuid pod, store;             /* of the sender */
    uint64_t run;                       /* starts of the sender's store */
    uint64_t epoch;                     /* of the configuration that it holds durably */
    struct configuration configuration; /* epoch 0: left out, the receiver is known to have it */
    bool ready; /* primary of that epoch, all inherited committed: it asks for a lease, or has it */
    uint64_t
        stamp; /* a lease is asked for: the sender's clock. In the answer: granted for this stamp; 0: not */
    uint64_t commit_seq;                  /* committed, as far as the sender knows */
    struct log_id applied, end;           /* its log; durable */
    struct log_id tail[REPLICA_TAIL_MAX]; /* those after `applied`, up to `end` */
    uint32_t tail_count;
    uint64_t stream_epoch, stream_run; /* whose batches it takes; 0: nobody's yet */
    uint64_t free_bytes;
    bool log_open;     /* it can take batches */
    bool being_filled; /* with a full copy: it has no log */
    bool mediator_ok;  /* it had an answer of the mediator lately */
    enum replica_bind bind;
    struct uuid heir;         /* BOUND: to whom; else none */
    uint64_t nonce;           /* of the bid; UNBOUND: all bids of the sender up to this one are over */
    struct uuid mediator;     /* its store, as the sender knows it durably */
    uint64_t mediator_number; /* mediators that the pod has had before that one: the higher one counts */
    struct uuid yields_to;    /* a primary that reaches no mediator asks this member to take over; or none */
};

/* Primary to member: what follows `after`, which both have, comes next. `follows` are the ids of the first
 * ones: what the member has of them it keeps, what it has beyond that it drops. Answered by an ack. */
struct replica_begin_msg {
    struct uuid pod, store;
    uint64_t run, epoch;
    uint64_t stream; /* counts the primary's begins */
    struct log_id after;
    struct log_id follows[REPLICA_TAIL_MAX];
    uint32_t follows_count;
    uint64_t commit_seq;
};

/* Beside each batch. */
struct replica_append_msg {
    struct uuid pod, store;
    uint64_t run, epoch, stream;
    struct log_id id;
    uint64_t commit_seq;
};

struct replica_ack_msg {
    struct uuid pod, store; /* of the member */
    uint64_t run, epoch;    /* the primary's, as in the envelope that it answers */
    uint64_t stream;        /* same */
    struct log_id end;      /* durable here and the same as the primary's, up to here */
    uint64_t free_bytes;
    int status; /* 0, or why nothing more is taken: PS_EFULL, PS_EIO, PS_EABORTED (begin again) */
};

/* A full copy for a member that the retained log does not reach. Begin carries its description, a piece its
 * bytes, of which neither the replica nor an edge knows more. */
enum replica_copy_step {
    REPLICA_COPY_BEGIN, /* the first one, or again: tell how far you are */
    REPLICA_COPY_PIECE,
    REPLICA_COPY_END,
    REPLICA_COPY_STEPS,
};

struct replica_copy_msg {
    struct uuid pod, store; /* of the primary */
    uint64_t run, epoch;    /* when the copy began */
    uint64_t copy;          /* counts those that this run of it has begun */
    uint64_t member_run;    /* the member's; it has not started anew since */
    struct log_id of;       /* where the member's log stood when the copy was decided on */
    enum replica_copy_step step;
    uint64_t number; /* of the piece */
};

struct replica_copy_ack {
    struct uuid pod, store; /* of the member */
    uint64_t run, copy;     /* the primary's, as in what it answers */
    uint64_t done;          /* pieces written */
    bool taking;            /* this copy is being taken in */
    bool finished;          /* it is all there, durable, and the log is open */
    int status;             /* 0, or why not: PS_EABORTED (begin again); others are for people */
    char detail[160];
};

/* A record of a group that the sender's flash has lost, asked of another member; and the answer. */
struct replica_record_msg {
    struct uuid pod, store; /* the sender's */
    uint64_t epoch;         /* that the sender's log is known to be the primary's in */
    uint64_t group;
    int status; /* the answer's: 0, and the record comes along */
};

/* ---- the heartbeats' thread (heartbeat.h) */

/* What it may say and promise in the replica's name, until the next one. */
struct replica_view {
    struct uuid pod, store;
    uint64_t run;
    uint64_t epoch;        /* of the durable configuration */
    bool ready;            /* it asks for leases */
    struct uuid grants_to; /* the primary that may be granted one; none: nobody may */
    bool mute;             /* it says nothing */
    uint64_t flush_ns;     /* since when a flush of its own has made no progress; 0: none is under way */
    struct uuid peers[REPLICA_PEERS_MAX];
    uint32_t peer_count;
};

struct replica_promise {
    struct uuid store; /* to whom */
    uint64_t epoch, run;
    uint64_t until_ns; /* 0: none was given */
};

struct replica_heard_peer {
    struct uuid store;
    uint64_t run;                /* the last one that was heard; what follows is of it */
    uint64_t heard_ns;           /* 0: never */
    uint64_t ready_ns;           /* when it said last that it serves */
    uint64_t stamp, stamp_epoch; /* the latest of our stamps that it granted a lease for; 0: none */
};

struct replica_heard {
    struct replica_heard_peer peers[REPLICA_PEERS_MAX];
    uint32_t count;
    struct replica_promise promise; /* the last one since it was taken last */
};

/* ---- mediator */

struct replica_cas {
    struct uuid mediator; /* its store id; none: not known yet */
    struct uuid request, requester;
    uint64_t expected_epoch;
    struct configuration next;
};

struct replica_verdict {
    struct uuid mediator;
    struct uuid request; /* none: an answer to a report */
    int status;          /* 0 granted; PS_EABORTED another epoch; PS_EPERM; PS_EPRECONDITION … */
    char detail[160];
    struct configuration now; /* what is in force there; epoch 0: it has none */
};

/* ---- decisions */

struct replica_decision {
    uint64_t number; /* from 1 on */
    uint64_t at_ns;  /* the replica's clock */
    uint64_t epoch;
    const char *kind; /* "grant", "take-over", "fence"… a literal */
    char text[200];   /* a sentence with its inputs and the reason */
};

/* ---- effects */

struct replica_effects {
    void (*send_state)(void *user, const struct uuid *to, const struct replica_state_msg *msg);
    void (*send_begin)(void *user, const struct uuid *to, const struct replica_begin_msg *msg);
    /* Batches from `from` to `upto` go to the member, in order, as it takes them: it has acknowledged all up
     * to `acked`, by this stream or a former one. Replaces what was said before for this member; upto < from:
     * nothing any more. */
    void (*ship)(void *user, const struct uuid *to, const struct replica_append_msg *envelope, uint64_t from,
                 uint64_t upto, uint64_t acked);
    /* Answers the primary's begin and appends up to msg->end. */
    void (*send_ack)(void *user, const struct uuid *to, const struct replica_ack_msg *msg);
    void (*ask_mediator)(void *user, const struct replica_cas *cas);
    void (*report_mediator)(void *user, uint64_t epoch);
    /* Makes the state durable; replica_persisted follows. One at a time. */
    void (*persist)(void *user, const void *data, size_t bytes);
    /* The pod's log: replica_truncated follows. */
    void (*truncate)(void *user, uint64_t seq);
    void (*commit)(void *user, uint64_t seq);
    /* What was told to be committed and is not applied is not: it was of a lineage that was given up. */
    void (*forget_commit)(void *user);
    /* Take requests as primary of this epoch from now on; the log is applied to its end. */
    void (*lead)(void *user, uint64_t epoch);
    void (*lead_epoch)(void *user, uint64_t epoch);
    /* Stop being primary: held requests get a path error, planned ones are dropped, the log is opened again;
     * replica_opened follows. */
    void (*stand_down)(void *user);
    /* Leading: take in no new requests (they wait), or go on: around a switchover. */
    void (*hold)(void *user, bool hold);
    void (*limit_free)(void *user, uint64_t bytes);
    /* Leading: for so many thousandths of the time nothing that changes something is begun, so that a member
     * can catch up. */
    void (*slow)(void *user, uint32_t permille);
    /* What is at `seq` in the log: 0, PS_ENOTFOUND, or PS_EUNAVAILABLE: ask again. */
    int (*id_at)(void *user, uint64_t seq, struct log_id *out);
    uint64_t (*log_first)(void *user);
    /* Older ones than that may be found yet. */
    bool (*log_searching)(void *user);
    /* A full copy for the member; replica_copy_* tell what comes of it, not from within. One at a time. */
    void (*copy_start)(void *user, const struct uuid *to, const struct replica_copy_msg *envelope);
    void (*copy_stop)(void *user);
    void (*decided)(void *user, const struct replica_decision *decision);
    /* The configuration or the role changed. */
    void (*changed)(void *user);
    /* Publishes the view and takes what was heard, in one step. False: no heartbeats but states are sent. */
    bool (*exchange)(void *user, uint64_t now_ns, const struct replica_view *view,
                     struct replica_heard *heard);
};

/* ---- the replica */

struct replica;

struct replica_config {
    struct uuid pod, store;
    uint64_t run;      /* of this start */
    const char *node;  /* name, for texts */
    uint64_t seed;     /* for request ids */
    const void *state; /* as persisted last; NULL and 0: none */
    size_t state_bytes;
    struct replica_options options;
    const struct replica_effects *effects;
    void *user;
};

/* Begins without a role: the log is opened by replica_opened. PS_EDAMAGED, PS_EVERSION: the state, with a
 * detail. */
int replica_create(const struct replica_config *config, uint64_t now_ns, struct replica **out,
                   struct ps_error *err);
void replica_destroy(struct replica *replica);
/* Returns when it wants to run again. */
uint64_t replica_turn(struct replica *replica, uint64_t now_ns);
/* Takes in what was heard on the heartbeats' thread, as each turn does: before reads are looked at. */
void replica_listen(struct replica *replica, uint64_t now_ns);

/* The pod is open on standby: ends of its log, and the ids between them (at most REPLICA_TAIL_MAX). */
void replica_opened(struct replica *replica, const struct log_id *applied, const struct log_id *tail,
                    uint32_t tail_count);
/* The first configuration of this pod, made or taken over while there was none; also one that a person
 * orders. */
void replica_adopt(struct replica *replica, uint64_t now_ns, const struct configuration *configuration);

/* Peers. */
/* False: a flush of its own is stuck, so nothing is answered. */
bool replica_state(struct replica *replica, uint64_t now_ns, const struct replica_state_msg *in,
                   struct replica_state_msg *answer);
void replica_state_answer(struct replica *replica, uint64_t now_ns, const struct replica_state_msg *in);
/* Its ack follows by send_ack, unless it is refused at once: then *refusal is one. */
bool replica_begin(struct replica *replica, uint64_t now_ns, const struct replica_begin_msg *in,
                   struct replica_ack_msg *refusal);
/* May this batch be appended now? True: the owner appends it to the log (if `fresh`; else it is there
 * already). False: *refusal is the ack to send. */
bool replica_append(struct replica *replica, uint64_t now_ns, const struct replica_append_msg *in,
                    const struct log_id *predecessor, bool *fresh, struct replica_ack_msg *refusal);
/* The owner could not append, for this reason. */
void replica_append_failed(struct replica *replica, uint64_t now_ns, const struct ps_error *err);
/* Primary: batch `seq` of the member's stream can't be sent, for want of it or of a place. It begins again,
 * and finds then what is left; what is damaged here the member gets by a copy. */
void replica_stream_failed(struct replica *replica, uint64_t now_ns, const struct uuid *store,
                           uint64_t stream, uint64_t seq, int status);
void replica_ack(struct replica *replica, uint64_t now_ns, const struct replica_ack_msg *in);
/* The connection to the peer broke: nothing on its way will be answered. */
void replica_peer_lost(struct replica *replica, uint64_t now_ns, const struct uuid *store);
/* The peer's process of this run is known to have ended: its address refuses connections. */
void replica_peer_dead(struct replica *replica, uint64_t now_ns, const struct uuid *store, uint64_t run);

/* Mediator. */
void replica_verdict(struct replica *replica, uint64_t now_ns, const struct replica_verdict *verdict);
void replica_persisted(struct replica *replica, uint64_t now_ns, int status);

/* The log. */
/* It takes nothing any more, until replica_opened: its device failed, or it could not be opened again. A
 * primary gives way to another member that counts. */
void replica_log_failed(struct replica *replica);
/* While it has no configuration: the pod's identity was changed. */
void replica_set_pod(struct replica *replica, const struct uuid *pod);
void replica_sealed(struct replica *replica, const struct log_id *id);
void replica_durable(struct replica *replica, const struct log_id *end);
void replica_applied(struct replica *replica, const struct log_id *applied);
void replica_truncated(struct replica *replica, int status);
void replica_free_bytes(struct replica *replica, uint64_t bytes);

/* The copy that copy_start asked for: how big it is and what comes after it; how far it is; its end. */
void replica_copy_ready(struct replica *replica, uint64_t now_ns, uint64_t base_seq, uint64_t bytes,
                        uint32_t segments);
void replica_copy_progress(struct replica *replica, uint64_t done_permille);
void replica_copy_ended(struct replica *replica, uint64_t now_ns, int status, const char *detail);

/* As member: may this copy take the place of the log? 0 or PS_EABORTED with a detail. */
int replica_copy_may(struct replica *replica, uint64_t now_ns, const struct replica_copy_msg *in,
                     struct ps_error *err);
/* It will: the log takes nothing more, and nothing more is persisted until replica_copy_filling. */
void replica_copy_taken(struct replica *replica, const struct replica_copy_msg *in);
/* The log is gone; then, false, the copy is through and replica_opened follows, until when nothing is
 * persisted. */
void replica_copy_filling(struct replica *replica, bool filling);

/* The first batch that another member may still need. */
uint64_t replica_needed(const struct replica *replica);

/* The epoch in which the log here is known to be the primary's, so that a block id means the same on all
 * members for which this is equal; 0: that is not known now. */
uint64_t replica_log_epoch(const struct replica *replica);
uint32_t replica_peers(const struct replica *replica); /* other members */
/* Members that may have what this one's flash has lost, the primary first, then those in sync: how many. */
uint32_t replica_sources(const struct replica *replica, struct uuid out[REPLICA_PEERS_MAX]);

/* A read may be answered now: the leases of all that count are held, or nobody else can be primary. */
bool replica_may_read(const struct replica *replica, uint64_t now_ns);

/* ---- what people ask for; 0, or PS_EPRECONDITION with a detail. All are asks to the mediator: what
 * came of them is seen in the configuration. */
/* This pod's first configuration, while it has none: registered with the mediator. PS_EINVAL too. */
int replica_found(struct replica *replica, uint64_t now_ns, const struct configuration *first,
                  struct ps_error *err);
int replica_add_member(struct replica *replica, uint64_t now_ns, const struct member *member,
                       struct ps_error *err);
int replica_remove_member(struct replica *replica, uint64_t now_ns, const struct uuid *store,
                          struct ps_error *err);
/* The member with this store bears this node's name from now on. */
int replica_rename_member(struct replica *replica, uint64_t now_ns, const struct member *member,
                          struct ps_error *err);
int replica_switch_over(struct replica *replica, uint64_t now_ns, const struct uuid *successor,
                        struct ps_error *err);
/* Who shall lead whenever it is in sync: a member, or none. */
int replica_prefer(struct replica *replica, uint64_t now_ns, const struct uuid *store, struct ps_error *err);

/* A person makes this member primary whatever it lacks: a new lineage of the pod, in which it is alone in
 * sync. What others hold beyond its log is given up; they are filled anew. It takes over when the mediator
 * has put that on record, and serves when the former primary has said that it has stopped, unless a person
 * knows that it is off. Asked again with `old_primary_is_off` it waits no more. PS_EPRECONDITION with a
 * detail. */
int replica_promote(struct replica *replica, uint64_t now_ns, bool old_primary_is_off, struct ps_error *err);

/* ---- looking */

enum replica_role {
    REPLICA_UNCONFIGURED, /* no configuration yet */
    REPLICA_OUTSIDE,      /* the configuration does not name this store */
    REPLICA_RETURNING,    /* a member that does not count: catching up, or waiting for the primary */
    REPLICA_FOLLOWING,    /* in the sync set */
    REPLICA_INHERITING,   /* primary, until all that it inherited is committed and old promises have ended */
    REPLICA_LEADING,
};
const char *replica_role_name(enum replica_role role);

enum replica_peer_state {
    REPLICA_PEER_AWAY,    /* not heard of for longer than silence_ns */
    REPLICA_PEER_WAITING, /* heard, no batches flow yet */
    REPLICA_PEER_CATCHING_UP,
    REPLICA_PEER_JOINING,
    REPLICA_PEER_IN_SYNC,
    REPLICA_PEER_LAGGING, /* in the sync set, but silent or slow: it will be removed unless it comes back */
    REPLICA_PEER_TOO_OLD, /* the log does not reach back to where it stands: it needs a full copy */
    REPLICA_PEER_DIVERGED,
    REPLICA_PEER_FULL,
    REPLICA_PEER_COPYING, /* is given a full copy */
};
const char *replica_peer_state_name(enum replica_peer_state state);

struct replica_peer_info {
    struct member member;
    enum replica_peer_state state;
    uint64_t heard_ns_ago;
    uint64_t matched_seq, end_seq; /* durable and known to be equal; this member's log end */
    uint64_t lease_left_ns;        /* that it gave us */
    uint64_t
        lag_ns; /* as primary: it has all that was here so long ago; since we lead, if it was never heard */
    char copy[160]; /* of a full copy: how far it is, or why there is none; empty: nothing to say */
};

struct replica_info {
    enum replica_role role;
    struct configuration configuration;
    struct log_id applied, end;
    uint64_t commit_seq;
    bool lease_held, mediator_ok, asking, switching;
    uint32_t slowed_permille; /* by so much hosts are slowed for a member that catches up */
    bool alone;               /* may change the configuration without the mediator */
    struct uuid heir;         /* who may, as far as this member has bound itself; none: nobody */
    struct uuid mediator;
    struct replica_peer_info peers[REPLICA_PEERS_MAX];
    uint32_t peer_count;
    char waits_for[160]; /* what keeps it from serving; empty: nothing */
};
void replica_look(const struct replica *replica, uint64_t now_ns, struct replica_info *out);
/* Oldest first; returns how many were copied. */
size_t replica_decisions(const struct replica *replica, uint64_t after_number, struct replica_decision *out,
                         size_t max);

#endif
