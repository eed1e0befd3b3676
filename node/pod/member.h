/* One member of a replicated pod: the pod and its replica, and the batches on their way between members.
 *
 * Pure and single-threaded like both. The network is `struct member_links`: an edge in the node (RPC), the
 * simulator in tests. The owner calls member_turn after each round of events, and not later than at the time
 * that it returned; it calls pod_turn for the pod, which is therefore not anybody else's to turn. */
#ifndef PS_NODE_POD_MEMBER_H
#define PS_NODE_POD_MEMBER_H

#include "node/pod/pod_log.h"
#include "node/replication/replica.h"

enum {
    /* Batches sent to a member and not acknowledged: with those acknowledged and not applied there it can
     * hold them all. */
    MEMBER_WINDOW = POD_LOG_APPENDS_MAX - REPLICA_AHEAD,
};

struct member_links {
    /* Requests to a member; what comes back is told by member_* below. Messages and batch are valid during
     * the call only. */
    void (*state)(void *user, const struct uuid *to, const struct replica_state_msg *msg);
    void (*begin)(void *user, const struct uuid *to, const struct replica_begin_msg *msg);
    void (*append)(void *user, const struct uuid *to, const struct replica_append_msg *msg, const void *batch,
                   uint32_t bytes);
    /* The answer to a begin, and to all appends up to msg->end. */
    void (*ack)(void *user, const struct uuid *to, const struct replica_ack_msg *msg);
    /* Of a full copy; `data` only with a beginning and a piece. */
    void (*copy)(void *user, const struct uuid *to, const struct replica_copy_msg *msg, const void *data,
                 uint32_t bytes);
    /* The answer to all of the copy's messages that it covers: beginnings; pieces before ack->done; with
     * ack->finished or a status, all. */
    void (*copy_ack)(void *user, const struct uuid *to, const struct replica_copy_ack *ack);
    /* A record that this member has lost; its answer, to that member, with the record if the status is 0. */
    void (*record)(void *user, const struct uuid *to, const struct replica_record_msg *msg);
    void (*record_answer)(void *user, const struct uuid *to, const struct replica_record_msg *msg,
                          const void *record, uint32_t bytes);
    /* To the mediator; replies by member_verdict. */
    void (*ask)(void *user, const struct replica_cas *cas);
    void (*report)(void *user, uint64_t epoch);
    void (*decided)(void *user, const struct replica_decision *decision);
    /* Role, configuration or what it waits for changed. */
    void (*changed)(void *user);
    /* CLOCK_BOOTTIME, ns: read for each read of a host. */
    uint64_t (*now_ns)(void *user);
    /* With the heartbeats' thread, as in struct replica_effects. */
    bool (*exchange)(void *user, uint64_t now_ns, const struct replica_view *view,
                     struct replica_heard *heard);
};

struct member_config {
    struct blkdev *dev;
    struct pod_config pod; /* `log` is the member's to set */
    enum pod_format format;
    const char *node;
    uint64_t seed;
    struct replica_options options;
    const struct member_links *links;
    void *user;
};

struct member_pod;

/* Opens pod and replica. `cb` as of pod_open; then member_pod(m) and member_replica(m) may be used. Whatever
 * came out, the member is ended with member_close (after success) and member_destroy. */
int member_open(const struct member_config *config, uint64_t now_ns,
                void (*cb)(void *user, int status, struct member_pod *member), void *cb_user,
                struct ps_error *err, struct member_pod **opening);
uint64_t member_turn(struct member_pod *m, uint64_t now_ns);
/* Stops: with a checkpoint if the pod can make one. */
void member_close(struct member_pod *m, void (*cb)(void *user), void *user);
/* No device request may be in flight unless the device drops them: without member_close it is a crash. */
void member_destroy(struct member_pod *m);

struct pod *member_pod(const struct member_pod *m);
struct replica *member_replica(const struct member_pod *m);

/* What came in. */
/* False: nothing is answered. */
bool member_state(struct member_pod *m, uint64_t now_ns, const struct replica_state_msg *in,
                  struct replica_state_msg *answer);
void member_state_answer(struct member_pod *m, uint64_t now_ns, const struct replica_state_msg *in);
/* True: an ack follows by links->ack. False: *refusal is the answer. */
bool member_begin(struct member_pod *m, uint64_t now_ns, const struct replica_begin_msg *in,
                  struct replica_ack_msg *refusal);
bool member_append(struct member_pod *m, uint64_t now_ns, const struct replica_append_msg *in,
                   const void *batch, uint32_t bytes, struct replica_ack_msg *refusal);
void member_ack(struct member_pod *m, uint64_t now_ns, const struct replica_ack_msg *in);
/* True: an ack follows by links->copy_ack. False: *ack is the answer. */
bool member_copy(struct member_pod *m, uint64_t now_ns, const struct replica_copy_msg *in, const void *data,
                 uint32_t bytes, struct replica_copy_ack *ack);
void member_copy_ack(struct member_pod *m, uint64_t now_ns, const struct replica_copy_ack *in);
/* An answer follows by links->record_answer, perhaps from inside. */
void member_record(struct member_pod *m, uint64_t now_ns, const struct replica_record_msg *in);
void member_record_answer(struct member_pod *m, uint64_t now_ns, const struct replica_record_msg *in,
                          const void *record, uint32_t bytes);
void member_peer_lost(struct member_pod *m, uint64_t now_ns, const struct uuid *store);
void member_peer_dead(struct member_pod *m, uint64_t now_ns, const struct uuid *store, uint64_t run);
void member_verdict(struct member_pod *m, uint64_t now_ns, const struct replica_verdict *verdict);

/* While the pod has no configuration and its log is empty: becomes part of this pod. PS_EPRECONDITION. */
int member_adopt_pod(struct member_pod *m, const struct uuid *pod, void (*cb)(void *user, int status),
                     void *user);

#endif
