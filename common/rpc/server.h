/* The serving side of RPC: listens, greets, and hands calls to services.
 *
 * A service is a generated descriptor and a table of handlers. A handler
 * starts the work and returns; the call is ended later, exactly once, by
 * rpc_call_reply, rpc_call_fail or rpc_call_stream_end, also after it was cancelled (what
 * it says is then dropped). Until then the call and its payload stay valid,
 * whatever happens to the connection.
 *
 * Bounds. A connection may have RPC_CALLS_MAX calls in flight; one more is a
 * violation and ends it. The payloads, reply buffers and unsent bytes of a connection and of
 * the whole server are counted: at RPC_CONNECTION_BYTES_MAX and
 * `bytes_max` nothing more is read from the connection until they fall, so
 * that a reader who is slow holds up nobody but itself. */
#ifndef PS_COMMON_RPC_SERVER_H
#define PS_COMMON_RPC_SERVER_H

#include <stdbool.h>

#include "common/rpc/rpc.h"

enum {
    RPC_CONNECTION_BYTES_MAX = 8 * 1024 * 1024,
    RPC_SERVER_BYTES_DEFAULT = 64 * 1024 * 1024,
    RPC_CONNECTIONS_DEFAULT = 256,
    RPC_STREAM_UNSENT_MAX = 64 * 1024, /* of a connection; beyond, rpc_call_stream_send says PS_ELIMIT */
    RPC_METHODS_MAX = 256,
};

struct rpc_keys;
struct rpc_server;
struct rpc_call;

/* `request` is of the method's input type, checked (UTF-8, known enum values),
 * and valid until the handler returns. */
typedef void (*rpc_handler)(void *service, struct rpc_call *call, const ProtobufCMessage *request);

struct rpc_method {
    const char *name; /* as in the .proto */
    rpc_handler handler;
    bool takes_payload; /* a payload sent to any other method is refused with PS_EINVAL */
    bool streaming;
};

struct rpc_service {
    const ProtobufCServiceDescriptor *descriptor;
    const struct rpc_method *methods; /* methods not listed answer PS_EUNIMPLEMENTED */
    size_t nmethods;
    /* The connection is gone, its calls are all ended: drop what was kept for it. May be NULL. */
    void (*disconnected)(void *service, uint64_t connection);
};

struct rpc_server_config {
    struct rpc_identity identity; /* a cluster id refuses clients that name another one */
    /* Borrowed for good. With a key, every client must prove that it knows the one of its cluster; without
     * (NULL, or none in it) only clients on this machine are accepted. */
    const struct rpc_keys *keys;
    /* The last word about a client, when all else about it is right and before it may call:
     * non-zero refuses it with that status and detail. May be NULL. */
    int (*admit)(void *user, const struct rpc_peer *peer, struct ps_error *err);
    uint32_t connections_max; /* 0: RPC_CONNECTIONS_DEFAULT */
    size_t bytes_max;         /* 0: RPC_SERVER_BYTES_DEFAULT */
    rpc_log log;              /* may be NULL */
    void *user;
};

struct rpc_server_stats {
    uint32_t connections;
    size_t bytes_held;
    uint64_t calls;   /* since start */
    uint64_t refused; /* connections ended because of a violation or a refused greeting */
};

/* PS_ENOMEM. */
int rpc_server_create(struct rpc_transport *transport, const struct rpc_server_config *config,
                      struct rpc_server **out);
/* Before listening. `methods` is borrowed for good. A method that the descriptor lacks
 * is a bug of ours. */
void rpc_server_register(struct rpc_server *server, const struct rpc_service *service, void *user);
/* May be called for several endpoints. Errors: PS_EINVAL (form of the
 * endpoint), PS_EEXISTS (in use), PS_EUNAVAILABLE, PS_EUNAUTHENTICATED (no key, and other
 * machines could connect there), each with a detail. */
int rpc_server_listen(struct rpc_server *server, const char *endpoint, struct ps_error *err);
/* The endpoint that the n-th rpc_server_listen got, with the port that was chosen for port 0. */
const char *rpc_server_address(const struct rpc_server *server, size_t n);
/* Says goodbye, cancels the calls in flight, waits for their handlers to end
 * them, closes, frees the server, then `closed`. */
void rpc_server_close(struct rpc_server *server, void (*closed)(void *user), void *user);
void rpc_server_stats(const struct rpc_server *server, struct rpc_server_stats *out);

/* ---- what a handler does with its call */

/* Data that came with the request: aligned, writable, valid until the call ends. */
void *rpc_call_payload(struct rpc_call *call, size_t *length);
/* Room for the reply's payload, aligned; once a call, 1 to RPC_PAYLOAD_MAX bytes, contents undefined.
 * NULL: out of memory. */
void *rpc_call_reply_buffer(struct rpc_call *call, size_t length);

/* Ends a unary call: `message` is of the output type; the reply buffer, if one was taken, goes along. */
void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *message);
/* Ends any call with an error. `detail` may be NULL: the status's own text. */
void rpc_call_fail(struct rpc_call *call, int status, const char *detail);

/* Sends one message of a stream: 0; PS_ELIMIT when too much is unsent, then
 * try again when `on_ready` says so; PS_ECANCELLED when the call was cancelled. */
int rpc_call_stream_send(struct rpc_call *call, const ProtobufCMessage *message);
void rpc_call_stream_end(struct rpc_call *call);

/* `cancelled` runs at most once, when the caller gave up, the deadline passed or the
 * connection broke: end the call soon. `on_ready` (streams) runs after each
 * PS_ELIMIT, once there is room. Either may be NULL. */
void rpc_call_watch(struct rpc_call *call, void (*cancelled)(struct rpc_call *call),
                    void (*on_ready)(struct rpc_call *call));
bool rpc_call_cancelled(const struct rpc_call *call);

/* The handler's own, NULL at first. */
void rpc_call_set_user(struct rpc_call *call, void *user);
void *rpc_call_user(const struct rpc_call *call);

/* Names the connection: never 0, never reused. */
uint64_t rpc_call_connection(const struct rpc_call *call);
const struct rpc_peer *rpc_call_peer(const struct rpc_call *call);
/* Time at which the caller gives up, in the transport's time; RPC_TIMEOUT_NONE: never. */
uint64_t rpc_call_deadline(const struct rpc_call *call);
/* RPC_OPERATION_ID_BYTES, or NULL if the caller gave none. */
const uint8_t *rpc_call_operation_id(const struct rpc_call *call);
/* The first entry of that key: its value, or NULL. */
const void *rpc_call_metadata(const struct rpc_call *call, const char *key, size_t *length);

#endif
