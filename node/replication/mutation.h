/* Rules of the protocol that the simulator's build can break on purpose, one at a time, to see that its
 * checkers notice. In the product BROKEN is false, and nothing of this is compiled. */
#ifndef PS_NODE_REPLICATION_MUTATION_H
#define PS_NODE_REPLICATION_MUTATION_H

#include <stdbool.h>

enum replica_mutation {
    REPLICA_HONEST,
    REPLICA_ACK_ANY,                /* commit when any member has it, instead of all */
    REPLICA_COMMIT_ALONE,           /* commit what is durable on the primary */
    REPLICA_SKIP_LEASE,             /* a new primary does not wait for its promise to end */
    REPLICA_READ_UNLEASED,          /* a primary answers reads whatever became of its leases */
    REPLICA_FORGET_PROMISE,         /* a restart forgets what was promised */
    REPLICA_ACCEPT_GAP,             /* a member acknowledges a batch without those before it */
    REPLICA_KEEP_TAIL,              /* a returning member keeps what the new primary does not have */
    REPLICA_CHECKPOINT_UNCOMMITTED, /* a member applies what is durable on it */
    REPLICA_IGNORE_EPOCH,           /* a primary does not care for a later configuration that names another */
    REPLICA_SILENCE_GRANTS,         /* a member that hears nothing takes over without the mediator */
    REPLICA_FORGET_VERDICT,         /* a mediator forgets its last change (the simulator's part) */
    REPLICA_ACK_UNFLUSHED,          /* a member acknowledges what it has in memory */
    REPLICA_FORGET_ASK,             /* a restart forgets what was asked of the mediator */
    REPLICA_JOIN_EARLY,         /* a member is asked in wherever it stands, and does not count meanwhile */
    REPLICA_ABANDON_JOIN,       /* a silent joiner stops to count though its ask is open */
    REPLICA_LEASE_FROM_RECEIPT, /* a lease counts from when it came, not from when it was asked for */
    REPLICA_NO_MARGIN,          /* a promise ends with the lease: clocks and delays differ */
    REPLICA_WITHOUT_SWAP,       /* the mediator grants whatever epoch is expected (the simulator's part) */
    REPLICA_IGNORE_VOTES,       /* a primary goes on alone though not all have bound themselves to it */
    REPLICA_BOUND_OBEYS,        /* a bound member asks the mediator and obeys it all the same */
    REPLICA_BIND_WHILE_ASKING,  /* a member binds itself though the mediator may grant what it asked for */
    REPLICA_DEAF,               /* a member forgets what its heartbeats' thread promised */
    REPLICA_MUTATIONS,
};

#ifdef PS_MUTATIONS
extern enum replica_mutation replica_mutation;
#define BROKEN(rule) (replica_mutation == (rule))
#else
#define BROKEN(rule) false
#endif

#endif
