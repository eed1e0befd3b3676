/* One replica under test: a member of a pod of three, in virtual time. Its effects only write down what it
 * wanted; the test is the other members, the mediator, the log and the disk, and hands over by hand what they
 * say. Whatever is handed over takes effect at once, and the replica has a turn after it unless said
 * otherwise.
 *
 * Members are numbers, times nanoseconds of the one clock that all share. */
#ifndef PS_TESTS_REPLICA_RIG_H
#define PS_TESTS_REPLICA_RIG_H

#include "node/replication/heartbeat.h"
#include "node/replication/replica_impl.h"

#define MS     1000000ull
#define SECOND 1000000000ull

enum {
    A = 1,
    B,
    C,
};

/* One replica, its log of `end` batches, and what it wanted last. */
struct rig {
    struct replica *r;
    uint64_t now;
    uint64_t end;
    bool persists, led, stood_down;
    uint8_t state[REPLICA_STATE_BYTES_MAX];
    size_t state_bytes;
    unsigned asks, begins, acks;
    struct replica_cas cas;
    struct replica_begin_msg begin;
    struct replica_ack_msg ack;
    struct replica_state_msg told; /* last heartbeat */
    uint64_t committed, truncated_to, shipped_from;
    bool truncates;
    uint32_t slowed;
    uint64_t limit;          /* of free space, as told last */
    unsigned copies;         /* begun */
    struct uuid stopped;     /* told last to be sent nothing any more */
    struct heartbeat *beats; /* NULL: it has none but its states */
    bool beats_between;      /* they are asked for a lease after each exchange */
    uint64_t promised_ns;    /* then: until when */
};

extern const struct uuid pod, mediator;

/* The store of member `n`. */
struct uuid store(int n);
/* The batch `seq` of the log that all have: of epoch 1 and run 1. */
struct log_id id_of(uint64_t seq);

/* The pod's configuration; `in_sync` has the bit 1 << n for each member n that is. */
struct configuration configuration(uint64_t epoch, int primary, int in_sync);
/* Durable state of epoch 1 with A as primary. */
struct durable in_sync_of(int in_sync);

/* Member `who` starts in its run `run` from the durable state, with a log of `end` batches, all applied, and
 * has its first turn. The rig need not be initialised; end() frees what it holds. */
void start(struct rig *g, int who, uint64_t run, uint64_t now, const struct durable *state, uint64_t end);
void end(struct rig *g);
/* A, in run 1 and epoch 1, leads B, both in sync with logs that end at 5. `beats`, if not NULL, is begun and
 * is A's. */
void leads_b(struct rig *g, struct heartbeat *beats);
/* The same A, with a log of 9 that B, not in sync, has up to 5: a stream to B has begun, and not been
 * answered. */
void leads_b_that_is_behind(struct rig *g);
/* Member `who`, in run 1 with a log of 5, follows A's run 2 in epoch 3: it has begun a stream 1 after 5, and
 * calls 30 batches committed. */
void follows_a(struct rig *g, int who);
/* A, in run 2 and epoch 4, leads B and C, all in sync; `preferred` 0: nobody is. */
void leads_two(struct rig *g, int preferred);

/* Time goes on to `now`. */
void turn(struct rig *g, uint64_t now);
/* What it wanted to be durable is so; asserts that it wanted that. */
void persisted(struct rig *g);

/* The mediator answers a report with what it has on record; no turn. */
void mediator_answers(struct rig *g, const struct configuration *now);
/* The mediator grants the last ask, and that is durable here. */
void grant(struct rig *g);

/* What `who` says of itself in `epoch` with a log that ends at `end`, all of it applied. */
struct replica_state_msg state_of(int who, uint64_t run, uint64_t epoch, uint64_t end);
/* A member's state comes in. */
void hears_state(struct rig *g, const struct replica_state_msg *msg);
void hears(struct rig *g, int who, uint64_t run, uint64_t epoch, uint64_t end);
/* B and C answer the last state of who leads_two(), and 250 ms pass; `mediator_ok` has the bit 1 << n for
 * each that reaches the mediator. */
void members_answer(struct rig *g, int mediator_ok);
/* `who` acknowledges all up to `end` in the stream begun last, to the replica's run `run`. */
void acks(struct rig *g, int who, uint64_t run, uint64_t epoch, uint64_t end);

/* B's heartbeats' thread is asked by A's for a lease: the stamp that it grants, 0: none. */
uint64_t beat(struct heartbeat *of_b, uint64_t now, uint64_t stamp);

enum replica_role role_of(const struct rig *g);
struct replica_info look(const struct rig *g);

#endif
