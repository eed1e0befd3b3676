/* What the files of the replica share.
 *
 *   replica.c   life, persistence, the turn
 *   durable.c   the durable state's form
 *   change.c    asks to the mediator, verdicts, adoption of configurations
 *   authority.c going on without the mediator
 *   lease.c     heartbeats, promises, leases, who was heard when
 *   heartbeat.c what goes on while the reactor is held up
 *   primary.c   streams to members, commit, removal, joining
 *   follower.c  what a member takes from its primary
 *   copy.c      full copies, at both ends
 *   promote.c   a person's decision to go on with what is here
 *   switch.c    switchover: ordered, to the preferred member, or to one that reaches the mediator
 *   pace.c      how much hosts are slowed for a member that catches up
 *   look.c      decisions, states for people */
#ifndef PS_NODE_REPLICATION_REPLICA_IMPL_H
#define PS_NODE_REPLICATION_REPLICA_IMPL_H

#include <assert.h>
#include <string.h>

#include "common/prng.h"
#include "node/replication/mutation.h"
#include "node/replication/pace.h"
#include "node/replication/replica.h"

enum ask_reason {
    ASK_NONE,
    ASK_TAKE_OVER,
    ASK_REMOVE,
    ASK_JOIN,
    ASK_MEMBERS, /* a person's or the cluster's change of the list */
    ASK_SWITCH_OVER,
    ASK_FIRST,   /* the pod is not known to the mediator yet */
    ASK_PROMOTE, /* a person's: a new lineage */
    ASK_REASONS,
};

struct ask {
    enum ask_reason reason; /* ASK_NONE: none is open */
    struct uuid request;
    uint64_t expected_epoch;
    struct configuration next;
};

/* The right to ask the mediator, given away. */
struct bound {
    struct uuid heir; /* none: not given away */
    uint64_t epoch;   /* in which it was given */
    uint64_t nonce;   /* of the bid that it answered */
};

/* What must survive a restart. */
struct durable {
    struct configuration configuration;
    struct uuid mediator;     /* store id of the mediator that granted it */
    uint64_t mediator_number; /* of those that were lost before */
    uint64_t highest_epoch;   /* seen or proposed */
    struct ask ask;
    struct bound bound;
    uint64_t self;     /* the bid that all members in sync answered: changes alone are allowed; 0: none is */
    struct uuid fence; /* promoted by a person: who has to say first that it has stopped; or none */
};

size_t durable_encode(const struct durable *state, void *out); /* at most REPLICA_STATE_BYTES_MAX */
int durable_decode(const void *data, size_t bytes, struct durable *out, struct ps_error *err);

enum stream {
    STREAM_NONE,
    STREAM_BEGINNING, /* `begin` is on its way */
    STREAM_FLOWING,
};

struct peer {
    struct uuid store;
    uint64_t heard_ns;   /* by state or heartbeat; 0: never */
    uint64_t told_ns;    /* when `told` came; 0: never */
    uint64_t since_ns;   /* from when on silence counts */
    bool in_sync, async; /* by the configuration in force */
    uint64_t ready_ns;   /* when it said last that it serves */
    uint64_t open_ns;    /* when it said last that its log takes batches; 0: never */
    uint64_t over_nonce; /* all its bids up to this one are over: it said so to this run */
    bool lapsed;         /* what it had of us ended with its former run, and it does not serve yet */
    bool dead;           /* known to have ended, until it is heard again */
    struct replica_state_msg told; /* its last one */
    uint32_t clean;                /* answered heartbeats in a row */
    uint64_t lease_until_ns;       /* that it gave us, in our configuration's epoch */

    /* As primary. */
    enum stream stream;
    uint64_t stream_number, stream_from, begin_ns;
    uint64_t unreadable_seq; /* a batch that the log here can't give it; 0: none known */
    int refused;             /* why it took no batches last, for a reason that stays; 0: it takes them */
    uint64_t broken_ns;      /* when the last stream ended: what was told before is old */
    uint64_t matched_seq;    /* acknowledged in this epoch, to this run */
    uint64_t shipped_seq;
    uint64_t behind_ns;         /* since when it is not at our end; 0: it is */
    uint64_t synced_ns;         /* it has all that was here then; 0: not known */
    uint64_t mark_seq, mark_ns; /* our end some time ago, which it had not reached; 0: none */
    bool joining;               /* counts already, though the configuration doesn't say so yet */
    uint64_t join_seq;
    uint64_t copy_seq;               /* it has, or is given, a copy up to this batch */
    uint64_t copy_after_ns;          /* when the next one may begin */
    uint64_t full_ns;                /* since when it has no room; counts while trouble is FULL */
    char copy_text[160];             /* what came of the last one */
    bool given_up;                   /* it holds committed batches of a lineage that a person gave up */
    enum replica_peer_state trouble; /* TOO_OLD, DIVERGED or FULL; else AWAY */
};

struct replica {
    struct replica_config config;
    char node[CONFIGURATION_NAME_MAX + 1];
    const struct replica_effects *effects;
    void *user;
    struct prng prng;
    uint64_t now_ns;

    struct durable want, durable, writing;
    bool persisting, state_failed;

    enum replica_role role;
    struct peer peers[REPLICA_PEERS_MAX];
    uint32_t peer_count;

    /* The log: applied, and what comes after. */
    bool log_open, log_failed;
    struct log_id applied;
    struct log_id tail[REPLICA_TAIL_MAX];
    uint32_t tail_count;
    uint64_t durable_seq, commit_seq;
    uint64_t free_bytes;

    /* As member. */
    uint64_t stream_epoch, stream_run; /* whose batches follow our end */
    uint64_t stream_number;            /* the last one that was begun */
    uint64_t acked_seq;                /* of it */
    bool being_filled;                 /* with a full copy */
    bool begin_waits, truncating;
    uint64_t truncating_to;
    struct replica_begin_msg begin;
    uint64_t promise_until_ns, promised_epoch, promised_run;
    struct uuid promised_store;
    uint64_t primary_ns; /* since when the primary is the one it is */

    /* As primary. */
    uint64_t streams;  /* begun so far */
    uint64_t base_seq; /* end of what was inherited */
    uint64_t limit_told;
    struct pace pace; /* for the member that catches up */
    uint32_t slow_told;
    struct uuid copying; /* who is given a full copy */
    uint64_t copies, copy_permille, copy_bytes;
    uint64_t leading_epoch;                /* last one told to the pod */
    struct uuid switching;                 /* successor of a switchover under way */
    bool yielding;                         /* it asks the mediator itself, which we don't reach */
    uint64_t switching_until_ns, moved_ns; /* moved: when it was tried last without a person's order */
    uint64_t invited_ns;                   /* as member: when the primary asked us last to take over */

    /* Mediator. */
    uint64_t ask_sent_ns, report_ns, mediator_ns; /* last sent, sent, answered; 0: never */
    bool mediator_differs;                        /* another store answers than the one that granted */

    /* Pre-election, as primary. */
    uint64_t started_ns;
    uint64_t bid, bids;          /* that members are asked to answer, 0: none; made by this run */
    uint64_t mediator_epoch;     /* on record there, as far as it was told; 0: not known */
    struct configuration record; /* same; epoch 0: not known */
    struct uuid stranger; /* the store of a mediator that answers and is not ours, when `mediator_differs` */
    uint64_t stranger_ns; /* its last answer */
    uint64_t stranger_epoch; /* on record there, as far as it was told */
    struct {
        struct uuid request, mediator;
        uint64_t epoch, expected_epoch, sent_ns;
    } registration; /* the last one that was sent */

    uint64_t heartbeat_ns; /* last sent */
    bool hurry;            /* the next one does not wait its turn */
    uint64_t flush_ns; /* since when the log's end has not become durable, nor anything before it; 0: it is */
    uint64_t flush_seq;  /* how far it was then */
    int append_failed;   /* why a batch was not taken last; 0: the last one was */
    uint64_t persist_ns; /* when the state that is being made durable was handed over */
    uint64_t turn_ns;    /* last one */
    struct replica_decision decisions[REPLICA_DECISIONS];
    uint64_t decision_count;
};

/* ---- shared */

static inline const struct configuration *in_force(const struct replica *r)
{
    return &r->durable.configuration;
}
static inline bool is_self(const struct replica *r, const struct uuid *store)
{
    return uuid_equal(store, &r->config.store);
}
static inline bool is_primary(const struct replica *r)
{
    return r->role == REPLICA_INHERITING || r->role == REPLICA_LEADING;
}
static inline struct log_id log_end(const struct replica *r)
{
    return r->tail_count ? r->tail[r->tail_count - 1] : r->applied;
}
static inline bool counts(const struct replica *r, const struct peer *p)
{
    (void)r;
    return p->joining || p->in_sync;
}
static inline uint64_t least_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}
static inline uint64_t most_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}
static inline uint64_t after_ns(uint64_t at, uint64_t more)
{
    return at > UINT64_MAX - more ? UINT64_MAX : at + more;
}

/* What the configuration in force says of each peer. */
void place_peers(struct replica *r);
struct peer *peer_find(struct replica *r, const struct uuid *store);
const char *peer_name(const struct replica *r, const struct uuid *store);
bool mediator_is_ok(const struct replica *r);

/* look.c */
void decide(struct replica *r, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* change.c */
void ask(struct replica *r, enum ask_reason reason, struct configuration *next);
bool ask_is_open(const struct replica *r);
void new_request(struct replica *r, struct uuid *id);
void adopt(struct replica *r, const struct configuration *configuration, const char *from);
uint64_t change_turn(struct replica *r);
/* Asks for the pod; `keep`: the primary stays in sync. */
void take_over(struct replica *r, bool keep);
/* Order in which members take over: 0 first. */
uint32_t rank_of(const struct replica *r, const struct uuid *store);
/* Somebody else could be primary if the open ask was granted without our knowing. */
bool ask_may_empower(const struct replica *r);

/* authority.c */
bool is_bound(const struct replica *r);
/* May change the configuration without the mediator. */
bool is_alone(const struct replica *r);
/* Somebody can be asked to change the configuration: the mediator, or nobody needs to be. */
bool may_propose(const struct replica *r);
/* It has not answered for so long. */
bool mediator_is_lost(const struct replica *r, uint64_t for_ns);
/* Changes the configuration alone, or asks. */
void propose(struct replica *r, enum ask_reason reason, struct configuration *next);
/* What of it goes into a state. */
void authority_fill(const struct replica *r, struct replica_state_msg *msg);
/* A later configuration was adopted from this state. */
void authority_inherit(struct replica *r, const struct replica_state_msg *in);
/* Bids, and that they are over. */
void authority_hear(struct replica *r, const struct replica_state_msg *in);
/* A later configuration is adopted. */
void authority_adopt(struct replica *r, const struct configuration *c);
/* True: the mediator's word counts for nothing else. */
bool authority_verdict(struct replica *r, const struct replica_verdict *v);
uint64_t authority_turn(struct replica *r);
/* The mediator that answers is not ours: it may be the one to register with. */
void authority_stranger(struct replica *r, const struct replica_verdict *v);
/* Who speaks knows a later mediator than we do. */
void authority_mediator(struct replica *r, const struct replica_state_msg *in);

/* lease.c */
uint64_t lease_turn(struct replica *r);
/* Takes in what the heartbeats' thread heard and promised, and lets it speak by the state of now. */
void hear_beats(struct replica *r);
void send_heartbeats(struct replica *r);
bool leases_held(const struct replica *r, uint64_t now_ns);
bool heard_lately(const struct replica *r, const struct peer *p, uint64_t within_ns);
/* Since when nothing was heard of it, though it could have been. */
static inline uint64_t silent_since(const struct peer *p)
{
    return p->heard_ns > p->since_ns ? p->heard_ns : p->since_ns;
}
/* Silence, and what is owed, count from now on. */
void expect_all(struct replica *r);

/* primary.c */
void primary_reset_streams(struct replica *r);
uint64_t primary_turn(struct replica *r);
/* 0, or PS_EPRECONDITION: not the primary, or another change is under way. */
int may_change(const struct replica *r, struct ps_error *err);
void try_to_lead(struct replica *r);
/* It begins again when the member has told where it stands, which it is asked now. */
void break_stream(struct replica *r, struct peer *p);

/* switch.c */
uint64_t switch_turn(struct replica *r);
/* Whom the members are told to take over. */
void switch_fill(const struct replica *r, struct replica_state_msg *msg);
void switch_hear(struct replica *r, const struct replica_state_msg *in);
/* The primary asked us lately. */
bool is_invited(const struct replica *r);

/* follower.c */
uint64_t follower_turn(struct replica *r);
void follower_reset(struct replica *r);
void acknowledge(struct replica *r);
/* More is applied: what waited for it is acknowledged. */
void acknowledge_applied(struct replica *r);

/* promote.c */
/* A configuration of a later lineage than ours is adopted, or one that ends the question. */
void promote_adopt(struct replica *r, const struct configuration *c);
/* The mediator did not grant it. */
void promote_refused(struct replica *r, const struct replica_verdict *v);
/* Another mediator than the one that holds the pod answers: true if it granted the promotion, and holds the
 * pod now. */
bool promote_stranger(struct replica *r, const struct replica_verdict *v);
/* Somebody is heard. */
void promote_hear(struct replica *r, const struct replica_state_msg *in);
/* Serving waits for the former primary to have stopped. */
static inline bool promote_waits(const struct replica *r)
{
    return !uuid_is_none(&r->want.fence);
}
/* A promotion that was asked for is answered by its lineage only: what an heir made alone is not on record,
 * so it may be granted after that. */
static inline bool promote_is_open(const struct replica *r, const struct configuration *c)
{
    return r->want.ask.reason == ASK_PROMOTE &&
           epoch_lineage(c->epoch) < epoch_lineage(r->want.ask.next.epoch);
}
/* This member holds batches that a person gave up. */
bool holds_what_was_given_up(const struct replica *r, const struct log_id *applied);

/* copy.c */
uint64_t copy_turn(struct replica *r);
void copy_stop(struct replica *r);
static inline bool is_copied_to(const struct replica *r, const struct peer *p)
{
    return uuid_equal(&r->copying, &p->store);
}

/* replica.c */
bool log_id_known(const struct replica *r, const struct log_id *id);

#endif
