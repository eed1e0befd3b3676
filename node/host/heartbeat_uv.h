/* The heartbeats' thread: a loop, a listening port and a connection to each peer of its own, so that a node
 * is heard and leases are granted while its reactor is held up. What is said is
 * node/replication/heartbeat.h's to decide; here is the lock around it and the way to the others.
 *
 * The thread does no disk I/O; that is why it writes no log, either. */
#ifndef PS_NODE_HOST_HEARTBEAT_UV_H
#define PS_NODE_HOST_HEARTBEAT_UV_H

#include "node/host/formation.h"
#include "node/replication/heartbeat.h"

struct rpc_keys;
struct heartbeat_uv;

struct heartbeat_uv_config {
    /* Borrowed for good. */
    const struct rpc_keys *keys;
    const char *node_name, *cluster_name;
    const char *peers[FORMATION_PEERS_MAX]; /* their names, as in PSTORAGE_PEERS: nobody else is admitted */
    unsigned peer_count;

    const char *listen; /* tcp://host:port, 0: any free one */
    struct replica_options options;
    uint64_t (*now_ns)(void); /* CLOCK_BOOTTIME; from either thread */
};

/* PS_ENOMEM, PS_ELIMIT, and those of rpc_server_listen; with a detail. */
int heartbeat_uv_start(const struct heartbeat_uv_config *config, struct heartbeat_uv **out,
                       struct ps_error *err);
/* Says nothing more, waits for the thread's end, frees. */
void heartbeat_uv_stop(struct heartbeat_uv *heartbeat);

uint16_t heartbeat_uv_port(const struct heartbeat_uv *heartbeat);

/* From the reactor's thread: as heartbeat_exchange. */
void heartbeat_uv_exchange(struct heartbeat_uv *heartbeat, uint64_t now_ns, const struct replica_view *view,
                           struct replica_heard *heard);
/* Same: where the peer's heartbeats' thread listens. Returns whether it is connected. */
bool heartbeat_uv_peer(struct heartbeat_uv *heartbeat, unsigned peer, const char *endpoint);

#endif
