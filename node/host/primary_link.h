/* The connection to the pod's primary by which a node passes its hosts' requests on: calls of BlockIO, many
 * in flight, within bounds; and the stamps without which the primary takes none of them.
 *
 * A stamp is the primary's own time when it was asked (BlockIO/Stamp), four times a second while the link is
 * wanted. It travels with each request, and a request whose stamp is older than PRIMARY_STAMP_VALID_NS when
 * the primary takes it up is refused. So whoever sent a request whose answer never came knows the time after
 * which it can't take effect any more, without comparing clocks: that long after the stamp arrived here.
 *
 * Pure; on the thread of the transport. The connection comes back by itself, to the same address. */
#ifndef PS_NODE_HOST_PRIMARY_LINK_H
#define PS_NODE_HOST_PRIMARY_LINK_H

#include "common/rpc/client.h"

enum {
    PRIMARY_LINK_CALLS_MAX = 128,
    /* Payload on its way, in either direction, as the buffers of the primary's server cost. */
    PRIMARY_LINK_BYTES_MAX = 6 << 20,
};
#define PRIMARY_STAMP_VALID_NS 2000000000ull
/* No answer for so long, though one is due: the link counts as lost. */
#define PRIMARY_SILENCE_NS 2000000000ull

/* Says who passed a call on (metadata); such a call goes no further. */
#define PRIMARY_KEY_FORWARDED_BY "forwarded-by"
/* The caller wants what the primary knows, not what is applied on the node that it asks (metadata). */
#define PRIMARY_KEY_ASKED_FOR "ask-primary"

struct primary_link;

struct primary_link_config {
    struct rpc_transport *transport;
    const struct rpc_keys *keys;
    const char *node_name, *cluster_name; /* borrowed for good */
    const char *primary, *address;        /* copied */
    /* Something changed: it came up, went down, has a stamp, has none any more. Only takes note. */
    void (*changed)(void *user);
    rpc_log log; /* may be NULL */
    void *user;
};

/* Connects. PS_ENOMEM, PS_EINVAL, PS_EUNAUTHENTICATED with a detail. */
int primary_link_create(const struct primary_link_config *config, struct primary_link **out,
                        struct ps_error *err);
/* Calls in flight end with PS_ECANCELLED, then `closed`; the link is gone. `changed` runs no more. */
void primary_link_close(struct primary_link *link, void (*closed)(void *user), void *user);
/* Asks for stamps as they are due; returns when it wants to run again. */
uint64_t primary_link_turn(struct primary_link *link, uint64_t now_ns);

/* It leads there, as a stamp says that is good for some time to come: calls may be made. */
bool primary_link_is_good(const struct primary_link *link, uint64_t now_ns);
bool primary_link_is_connected(const struct primary_link *link);
/* Counts connections: what was opened on one is open on that alone. */
uint64_t primary_link_connection(const struct primary_link *link);
/* Its machine said, after the last connection ended, that nobody listens there: the process has ended. */
bool primary_link_process_ended(const struct primary_link *link);
/* Answers are due and none has come for so long; PRIMARY_SILENCE_NS, unless there is a reason for less. */
bool primary_link_is_silent(const struct primary_link *link, uint64_t now_ns, uint64_t silence_ns);
const char *primary_link_node(const struct primary_link *link);
/* Why it is not good, for people; "" when nothing is known. */
const char *primary_link_trouble(const struct primary_link *link);
/* Calls of primary_link_call that are not answered. */
unsigned primary_link_calls(const struct primary_link *link);

struct primary_call {
    struct rpc_request rpc; /* message, payload, metadata set by the caller; the rest is done here */
    struct primary_link *link;
    void (*cb)(struct primary_call *call, const struct rpc_reply *reply);
    uint32_t bytes;     /* of payload, there or back */
    uint64_t safe_ns;   /* from then on it can't take effect any more, if it has not */
    bool was_sent;      /* in `cb`: else the primary has certainly done nothing of it */
    bool was_connected; /* in `cb`: the connection was there still, so that a status is the primary's own */
};

/* A call of this size may be made now. What was given up counts as long as the primary has it. */
bool primary_link_has_room(const struct primary_link *link, uint32_t bytes);
/* The stamp to put into the message of a call that is made now; the link is good. */
uint64_t primary_link_stamp(const struct primary_link *link);
/* The link is good and has room. Non-zero, and no callback: PS_ENOMEM, PS_EINVAL, PS_ELIMIT. The call stays
 * in place until `cb`. Its time is not limited: cancel it, or close the link. */
int primary_link_call(struct primary_link *link, struct primary_call *call, const char *method,
                      void (*cb)(struct primary_call *call, const struct rpc_reply *reply));
void primary_link_cancel(struct primary_call *call);

#endif
