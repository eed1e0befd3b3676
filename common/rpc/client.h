/* The calling side of RPC: one client is one connection to one endpoint that
 * comes back by itself.
 *
 * Nothing is ever repeated: a call whose connection breaks ends with
 * PS_EUNAVAILABLE, and whether the server carried it out is unknown. Who
 * wants to try again gives the call an operation id and sends it again.
 *
 * While the client is connecting, calls wait. When an attempt fails, those
 * that wait end with PS_EUNAVAILABLE and the reason, and so do later ones until
 * the next attempt (backoff 50 ms, doubling to 2 s, unless set otherwise), unless they say
 * wait_for_ready: those wait for a connection until their deadline. A greeting that is refused, by either
 * side, is such a failed attempt; the status (PS_EUNAUTHENTICATED, PS_EPERM, PS_EEXISTS, PS_EVERSION) tells.
 *
 * At most RPC_CALLS_MAX calls (or what the server grants) are under way, and
 * RPC_CLIENT_BYTES_MAX of payload; up to RPC_CLIENT_QUEUE_MAX more wait their turn. */
#ifndef PS_COMMON_RPC_CLIENT_H
#define PS_COMMON_RPC_CLIENT_H

#include <stdbool.h>

#include "common/container.h"
#include "common/rpc/rpc.h"

enum {
    RPC_CLIENT_QUEUE_MAX = 4096,
    RPC_CLIENT_BYTES_MAX = 16 * 1024 * 1024,
};

struct rpc_client;
struct rpc_keys;
struct rpc_request;

/* How a call ended. Everything it points to is valid during the callback only. */
struct rpc_reply {
    int status;                      /* 0 or PS_E... */
    bool unsent;                     /* it never left: the server has certainly done nothing of it */
    const char *detail;              /* "" if there is none; for people */
    const ProtobufCMessage *message; /* of the method's output type when status is 0; NULL otherwise and
                                        at the end of a stream */
    const void *payload;             /* aligned to RPC_PAYLOAD_ALIGN; NULL if there is none */
    size_t payload_bytes;
};

typedef void (*rpc_reply_cb)(struct rpc_request *request, const struct rpc_reply *reply);
/* One message of a stream, in order; valid during the callback. */
typedef void (*rpc_message_cb)(struct rpc_request *request, const ProtobufCMessage *message);

/* A call, embedded by the caller; zero it, then set what is needed. It stays
 * in place until its callback runs. */
struct rpc_request {
    const ProtobufCServiceDescriptor *service; /* &pstorage__v1__volumes__descriptor */
    const char *method;                        /* "Create", as in the .proto */
    const ProtobufCMessage *message; /* of the method's input type; encoded during rpc_client_call */
    const void *payload;             /* borrowed until the callback */
    size_t payload_bytes;
    uint64_t timeout_ns;                 /* 0: RPC_CALL_TIMEOUT_NS. The status is then PS_EDEADLINE. */
    const struct rpc_metadata *metadata; /* copied during rpc_client_call */
    size_t nmetadata;
    uint8_t operation_id[RPC_OPERATION_ID_BYTES]; /* all zero: none */
    bool wait_for_ready;
    bool one_connection;  /* means something on the present connection alone: ends with that also while it
                             waits  its turn */
    uint32_t share_bytes; /* what the server holds for it, if the caller counts: see rpc_client_given_up */
    rpc_message_cb on_message; /* set: a streaming method */
    void *user;
    /* The client's own, from here on. */
    rpc_reply_cb cb;
    struct rpc_client *client;
    struct list_node link;
    const ProtobufCMethodDescriptor *descriptor;
    uint8_t *content; /* metadata + body while it waits for its turn; the answer's body while it is held */
    uint32_t metadata_bytes, body_bytes, held_payload_bytes;
    void *held_payload;
    uint64_t call_id, deadline_ns;
    uint8_t state;
    bool payload_lent, answered, sent;
    int status;
};

struct rpc_client_config {
    const char *endpoint; /* "tcp://host:port", "ipc:///path"; copied */
    struct rpc_identity identity;
    /* Copied. A server of another name is not spoken with (PS_EPERM), and asked for again. NULL: any. */
    const char *server_name;
    /* Borrowed for good. With a key for the identity's cluster the server must prove that it knows it;
     * without (NULL, or none in it) only servers on this machine are spoken with. */
    const struct rpc_keys *keys;
    /* The connection came up (status 0) or went down (PS_E… and why). May be NULL. */
    void (*on_state)(void *user, int status, const char *detail);
    rpc_log log; /* may be NULL */
    void *user;
    uint64_t backoff_min_ns, backoff_max_ns; /* between attempts to connect; 0: 50 ms, 2 s */
    /* Silence after which the server is pinged; as much again, and another connection is made. A short one is
     * for short messages: the ping waits behind them. 0: RPC_KEEPALIVE_NS. */
    uint64_t keepalive_ns;
};

/* Starts to connect. Errors, with a detail: PS_EINVAL (the endpoint's form), PS_EUNAUTHENTICATED (there are
 * keys, and none for the identity's cluster). */
int rpc_client_connect(struct rpc_transport *transport, const struct rpc_client_config *config,
                       struct rpc_client **out, struct ps_error *err);

/* Ends all calls with PS_ECANCELLED, closes the connection, frees the client, then `closed`. */
void rpc_client_close(struct rpc_client *client, void (*closed)(void *user), void *user);

/* Sends a call. Non-zero, and no callback: PS_EINVAL (no such method, message
 * or payload or metadata too large), PS_ELIMIT (too many wait already),
 * PS_ENOMEM. With 0 the callback runs once. A callback may start
 * new calls, also with the same request. */
int rpc_client_call(struct rpc_client *client, struct rpc_request *request, rpc_reply_cb cb);

/* Ends the call with PS_ECANCELLED soon and tells the server, which may have carried
 * it out. Harmless when the callback is under way; not after it. */
void rpc_client_cancel(struct rpc_client *client, struct rpc_request *request);

/* How many calls the server still has though their callers have given them up, and the sum of their
 * share_bytes: they count there. */
unsigned rpc_client_given_up(const struct rpc_client *client, uint64_t *share_bytes);

/* Gives the connection up, as if it had been lost, and makes another one: for who knows better than its
 * silence. `why` is for people. Harmless while there is none. */
void rpc_client_reconnect(struct rpc_client *client, const char *why);

/* The last attempt to connect was refused by the machine itself: nobody listens at the endpoint. False
 * before the first attempt, and while there is a connection. */
bool rpc_client_refused(const struct rpc_client *client);

/* The server's greeting, or NULL while there is no connection. */
const struct rpc_peer *rpc_client_peer(const struct rpc_client *client);

#endif
