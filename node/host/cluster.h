/* A node of a cluster: its member of the pod, and everything that ties it to the others. Carries out what the
 * member wants of the network (struct member_links), lets the pod form by itself, and knows what people ask
 * about it.
 *
 * Pure but for what it is given; on the reactor's thread. The owner opens the member with cluster_links and
 * the cluster as their user, and gives the cluster turns in place of the member. */
#ifndef PS_NODE_HOST_CLUSTER_H
#define PS_NODE_HOST_CLUSTER_H

#include "common/rpc/server.h"
#include "node/host/peers.h"
#include "node/pod/member.h"

struct cluster;

struct cluster_config {
    struct rpc_transport *transport;
    const struct rpc_keys *keys;
    /* Borrowed for good. */
    const char *node_name, *cluster_name, *pod_name, *peers, *mediator, *rpc_address;
    bool async;               /* mode of the members of a pod that is founded here, other than the primary */
    bool fast_failover;       /* a refused connection proves that the peer's process has ended */
    uint64_t (*now_ns)(void); /* CLOCK_BOOTTIME */
    uint64_t (*now_unix_ns)(void);
    /* The cluster is due for a turn. */
    void (*wake)(void *user);
    /* The heartbeats' thread, which may not run: to the replica, as in struct replica_effects; the port it
     * listens on, 0: none; where a peer's is, answered by whether it is connected. */
    bool (*exchange)(void *user, uint64_t now_ns, const struct replica_view *view,
                     struct replica_heard *heard);
    uint16_t (*heartbeat_port)(void *user);
    bool (*heartbeat_peer)(void *user, unsigned peer, const char *endpoint);
    /* From now on, or no longer, this node takes requests of hosts. `handed_over`: it has not lost the role,
     * but given it to another one, and was there all the time. */
    void (*serving)(void *user, bool serving, bool handed_over);
    /* The configuration may have changed. */
    void (*news)(void *user);
    void (*decided)(void *user, const struct replica_decision *decision);
    rpc_log log;  /* formation and connections, a line each */
    rpc_log warn; /* what a person has to put right */
    void *user;
};

extern const struct member_links cluster_links;

/* PS_EINVAL: the peers, with a detail. */
int cluster_create(const struct cluster_config *config, struct cluster **out, struct ps_error *err);
/* The member that opens, for its turns. */
void cluster_set_member(struct cluster *cluster, struct member_pod *member);
/* The member is open: connects to peers and mediator. */
int cluster_start(struct cluster *cluster, struct ps_error *err);
uint64_t cluster_turn(struct cluster *cluster, uint64_t now_ns);
/* Closes the connections; nothing comes in any more. The member stays, and may go on having turns. */
void cluster_stop(struct cluster *cluster, void (*stopped)(void *user), void *user);
/* Stopped, or never started; the member was destroyed. */
void cluster_destroy(struct cluster *cluster);

void cluster_register(struct cluster *cluster, struct rpc_server *server);
/* For rpc_server_config.admit: nodes that are not peers are refused. */
int cluster_admit(const struct cluster *cluster, const struct rpc_peer *peer, struct ps_error *err);

/* ---- for services and people */

bool cluster_is_serving(const struct cluster *cluster);
/* Writes PS_ENOTPRIMARY and a sentence that names the primary and its address, as far as they are known. */
int cluster_not_primary(const struct cluster *cluster, struct ps_error *err);

/* Which other node is the primary, and where it listens; valid until the next turn. False: none is known. */
bool cluster_primary_place(const struct cluster *cluster, const char **node, const char **address);
/* Connected to the primary, if that is another node; else NULL. */
struct rpc_client *cluster_primary(const struct cluster *cluster);
/* The connection to a peer; NULL while there is none. */
struct rpc_client *cluster_peer(const struct cluster *cluster, unsigned peer);
/* forward.c: sends the call on to the primary, which is another node. True: it will be answered. */
bool cluster_forward(struct cluster *cluster, struct rpc_call *call,
                     const ProtobufCServiceDescriptor *service, const char *method,
                     const ProtobufCMessage *message);

/* What the pod is, as this node knows it now. */
void cluster_look(const struct cluster *cluster, struct replica_info *out);
/* What formation waits for; "" when it is done. */
const char *cluster_forming(const struct cluster *cluster);
struct replica *cluster_replica(const struct cluster *cluster);
const struct cluster_config *cluster_settings(const struct cluster *cluster);
const struct peers *cluster_peers(const struct cluster *cluster);
bool cluster_mediator_connected(const struct cluster *cluster);
/* What the peer said of itself; NULL: nothing yet. */
const struct replication_hello *cluster_hello(const struct cluster *cluster, unsigned peer);
void cluster_own_hello(const struct cluster *cluster, struct replication_hello *out);
/* Something changed that people look at, or a moment has passed. */
void cluster_watch(struct cluster *cluster, void (*changed)(void *user), void *user);

int cluster_switch_over(struct cluster *cluster, const struct uuid *store, struct ps_error *err);
int cluster_add_member(struct cluster *cluster, unsigned peer, bool async, struct ps_error *err);
int cluster_remove_member(struct cluster *cluster, const struct uuid *store, struct ps_error *err);
/* Whoever shall lead whenever it is in sync; none: nobody. */
int cluster_prefer(struct cluster *cluster, const struct uuid *store, struct ps_error *err);
/* This node; `*store` gets its store. */
int cluster_promote(struct cluster *cluster, bool old_primary_is_off, struct uuid *store,
                    struct ps_error *err);

#endif
