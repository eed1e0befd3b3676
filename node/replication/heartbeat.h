/* What of a member goes on while its reactor is held up: being heard, and the leases.
 *
 * A turn of the reactor may take long: first touches of memory, a checkpoint's cut, a system call. Peers must
 * not take that for an end. So heartbeats are exchanged on a thread of their own, which knows nothing but the
 * view that the replica published last, and hands over what it heard before the replica decides on anything.
 * It promises and hears; it never decides, adopts or serves.
 *
 * Pure: no clock, no lock. Calls come one at a time (the owner's lock): heartbeat_exchange from the replica's
 * thread, the others from the heartbeats' thread. Time is that of replica.h, the same for both. */
#ifndef PS_NODE_REPLICATION_HEARTBEAT_H
#define PS_NODE_REPLICATION_HEARTBEAT_H

#include "node/replication/replica.h"

/* Sent every heartbeat to each other member, and its answer. */
struct heartbeat_msg {
    struct uuid pod, store; /* of the sender */
    uint64_t run;           /* same */
    uint64_t epoch;         /* of the configuration that it holds durably */
    bool ready;             /* primary of that epoch, and serving */
    uint64_t stamp;         /* as in struct replica_state_msg */
};

struct heartbeat {
    struct replica_options options;
    bool published;
    uint64_t alive_ns; /* when it was */
    struct replica_view view;
    struct replica_heard heard;
};

void heartbeat_init(struct heartbeat *heartbeat, const struct replica_options *options);

/* The replica publishes its view and takes what was heard, in one step: a promise is handed over once, and
 * none is given by the former view any more. */
void heartbeat_exchange(struct heartbeat *heartbeat, uint64_t now_ns, const struct replica_view *view,
                        struct replica_heard *heard);

/* What is to be sent to view->peers now; `now_ns` was read before anything was queued. False: nothing is
 * said, because there is no view yet, its replica wants it so, has not been alive for long, or has a flush
 * that does not end. */
bool heartbeat_next(const struct heartbeat *heartbeat, uint64_t now_ns, struct heartbeat_msg *out);
/* `now_ns` was read after the message came. False: it is not answered. */
bool heartbeat_asked(struct heartbeat *heartbeat, uint64_t now_ns, const struct heartbeat_msg *in,
                     struct heartbeat_msg *answer);
void heartbeat_answered(struct heartbeat *heartbeat, uint64_t now_ns, const struct heartbeat_msg *in);

#endif
