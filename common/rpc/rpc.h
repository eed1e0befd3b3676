/* Remote calls between the programs: what both sides share. The server's side
 * is server.h, the client's client.h; a transport (transport_nng.h in the
 * programs, transport_mem.h in tests and the simulator) carries the bytes.
 *
 * Services are declared in proto/ and addressed by what protobuf-c generates
 * from them. A call is unary or server-streaming; it carries a message, data
 * outside the message (the payload), a deadline, metadata and possibly an
 * operation id, and ends with one status and a detail for people.
 *
 * Everything here is pure and belongs to one thread, the one that runs the
 * transport's loop. No callback runs inside the call that caused it. */
#ifndef PS_COMMON_RPC_RPC_H
#define PS_COMMON_RPC_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/status.h"
#include "pstorage/v1/greeting.pb-c.h"

enum {
    RPC_PROTOCOL = 1,              /* version spoken; both ends agree on one in the greeting */
    RPC_BODY_MAX = 1024 * 1024,    /* encoded message */
    RPC_PAYLOAD_MAX = 1024 * 1024, /* data beside the message */
    RPC_METADATA_MAX = 8 * 1024,   /* encoded, all entries together */
    RPC_METADATA_ENTRIES_MAX = 32,
    RPC_METADATA_KEY_MAX = 63,          /* characters: a-z 0-9 - _ . */
    RPC_UNPACKED_MAX = 4 * 1024 * 1024, /* memory that one decoded message may take */
    RPC_CALLS_MAX = 256,                /* calls in flight a connection */
    RPC_NAME_MAX = 63,                  /* a peer's name */
    RPC_GREETING_MAX = 4096,            /* bytes of a frame before the greetings are done */
    RPC_OPERATION_ID_BYTES = 16,
    RPC_PAYLOAD_ALIGN = 4096, /* of every payload that is received, and of reply buffers */
};

#define RPC_CALL_TIMEOUT_NS (30ull * 1000000000) /* of a call that names none */
#define RPC_TIMEOUT_NONE    UINT64_MAX           /* no deadline: for streams */
#define RPC_GREETING_NS     (5ull * 1000000000)  /* a peer that takes longer to introduce itself is dropped */
#define RPC_KEEPALIVE_NS                                                                                     \
    (10ull * 1000000000)                       /* silence after which the peer is pinged; twice: it is gone  \
                                                */
#define RPC_SEND_STALL_NS (10ull * 1000000000) /* a peer that takes no byte for so long is gone */

/* One entry of a call's metadata; values are bytes. */
struct rpc_metadata {
    const char *key;
    const void *value;
    size_t length;
};

/* Who speaks: goes into the greeting. Strings are copied. */
struct rpc_identity {
    const char *name; /* at most RPC_NAME_MAX bytes */
    Pstorage__V1__PeerRole role;
    const char *cluster_id; /* "" or NULL: none */
};

/* The other end, as its greeting put it. */
struct rpc_peer {
    char name[RPC_NAME_MAX + 1];
    Pstorage__V1__PeerRole role;
    char cluster_id[RPC_NAME_MAX + 1];
    char software[32];
    char address[128];  /* as the transport knows it */
    bool authenticated; /* it proved that it knows the cluster key; what stands above is then what it said */
};

/* One line of news about connections (refused, lost, violated), for the log; the same one
 * comes once a minute (news.h). */
typedef void (*rpc_log)(void *user, const char *line);

struct rpc_transport;

#endif
