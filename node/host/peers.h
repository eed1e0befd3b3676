/* The connections to the other nodes of the cluster, as PSTORAGE_PEERS names them: two to each, one for the
 * log and one for heartbeats, which must not queue behind batches.
 *
 * Runs on the transport's thread. Nothing is repeated here: the replica asks again for what it misses. A
 * peer whose greeting has another name than the setting gives it is not spoken with. */
#ifndef PS_NODE_HOST_PEERS_H
#define PS_NODE_HOST_PEERS_H

#include "common/rpc/client.h"
#include "node/host/formation.h"
#include "node/host/replication_proto.h"

enum {
    PEERS_MAX = FORMATION_PEERS_MAX,
    PEERS_ADDRESS_MAX = 255,
};

struct peers;

/* `peer` is the index in the setting. */
struct peers_events {
    void (*hello)(void *user, unsigned peer, const struct replication_hello *hello);
    void (*state)(void *user, unsigned peer, const struct replica_state_msg *msg);
    void (*ack)(void *user, unsigned peer, const struct replica_ack_msg *msg);
    void (*copy_ack)(void *user, unsigned peer, const struct replica_copy_ack *msg);
    /* What came of peers_record; `record` is borrowed. With a status, `msg` has the group alone. */
    void (*record)(void *user, unsigned peer, const struct replica_record_msg *msg, const void *record,
                   uint32_t bytes);
    /* What was sent of the log since the last peers_begin will not be answered. */
    void (*lost)(void *user, unsigned peer);
    /* It was connected, and now its machine says that nobody listens there: the process has ended. */
    void (*ended)(void *user, unsigned peer);
    void (*connected)(void *user, unsigned peer, bool up);
};

struct peers_config {
    struct rpc_transport *transport;
    const struct rpc_keys *keys;
    const char *node_name, *cluster_name; /* borrowed for good */
    const char *list;                     /* PSTORAGE_PEERS; read during peers_create */
    const struct peers_events *events;
    rpc_log log;
    void *user;
};

/* Reads the setting; connects to nobody yet. PS_EINVAL (too many, a name twice or this node's own),
 * PS_ENOMEM; with a detail. */
int peers_create(const struct peers_config *config, struct peers **out, struct ps_error *err);
int peers_connect(struct peers *peers, struct ps_error *err);
/* Ends all calls without a word about them, closes the connections, frees, then `closed`. */
void peers_close(struct peers *peers, void (*closed)(void *user), void *user);

unsigned peers_count(const struct peers *peers);
const char *peers_name(const struct peers *peers, unsigned peer);
const char *peers_address(const struct peers *peers, unsigned peer);
int peers_find(const struct peers *peers, const char *name); /* -1: none */
bool peers_connected(const struct peers *peers, unsigned peer);
/* Why there is no connection; "" if there is one. */
const char *peers_trouble(const struct peers *peers, unsigned peer);

/* The connection for the log, for calls of one's own; NULL while there is none. */
struct rpc_client *peers_client(struct peers *peers, unsigned peer);

/* Each is dropped without a word while there is no connection or too many are on their way. */
void peers_hello(struct peers *peers, unsigned peer, const struct replication_hello *hello);
void peers_state(struct peers *peers, unsigned peer, const struct replica_state_msg *msg);
/* False: it can't be sent, which is as `lost`. */
bool peers_begin(struct peers *peers, unsigned peer, const struct replica_begin_msg *msg);
/* `batch` is copied. */
bool peers_append(struct peers *peers, unsigned peer, const struct replica_append_msg *msg, const void *batch,
                  uint32_t bytes);
/* Beside the log, on its connection. `data` is copied. Dropped without a word, and so is a failure: whoever
 * copies asks again. */
void peers_copy(struct peers *peers, unsigned peer, const struct replica_copy_msg *msg, const void *data,
                uint32_t bytes);
/* False: it can't be sent. */
bool peers_record(struct peers *peers, unsigned peer, const struct replica_record_msg *msg);

#endif
