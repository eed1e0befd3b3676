/* Nodes of one cluster in one process, on virtual time: the real cluster, member, replica, pod and mediator,
 * streams and disks in memory. No thread for heartbeats, no NBD, no volumes' services. */
#ifndef PS_TESTS_UNIT_HOST_CLUSTER_WORLD_H
#define PS_TESTS_UNIT_HOST_CLUSTER_WORLD_H

#include "common/rpc/client.h"
#include "common/rpc/transport_mem.h"
#include "node/host/cluster.h"
#include "node/host/pods_service.h"

#define MS 1000000ull

enum {
    CLUSTER_NODES_MAX = 3
};

/* Nodes are n1, n2, n3, at tcp://127.0.0.1:9501 and so on; each has the others as peers. */
struct cluster_node {
    unsigned index;
    char name[16], address[32], peers[96];
    struct rpc_transport *transport;
    struct blkdev *disk;
    unsigned stores, starts; /* disks that it has had; for identities */
    bool up, opened, paused;
    bool alone; /* for its services: it tells people that it is no node of a cluster */
    struct member_pod *member;
    struct cluster *cluster;
    struct pods_service *pods;
    struct pod_manage write; /* of node_write */
    bool writing;
    struct rpc_server *server;
    /* What it was told, since it started. */
    unsigned told_serving, decisions, news;
    bool serving, handed_over;
    char log[2048], warnings[1024];
    /* Heartbeats' thread. */
    uint16_t port;
    bool beats; /* whether its peers' are reached */
    char beats_at[64];
};

struct cluster_options {
    unsigned nodes;
    bool slow_failover; /* PSTORAGE_FAST_FAILOVER=false */
    bool async;
};

struct cluster_world {
    struct cluster_options options;
    struct rpc_mem_net *net;
    struct cluster_node nodes[CLUSTER_NODES_MAX];
    struct mediator_world *mediator;
    struct rpc_transport *host; /* of people */
};

/* All disks are empty, nothing runs but the mediator. */
struct cluster_world *cluster_world_create(const struct cluster_options *options);
void cluster_world_destroy(struct cluster_world *world);

uint64_t world_now_ms(const struct cluster_world *world);
void world_run(struct cluster_world *world, unsigned ms);
/* Until it holds; fails the test after a minute. */
#define WORLD_UNTIL(world, condition)                                                                        \
    do {                                                                                                     \
        for (unsigned i_ = 0; i_ < 60000 && !(condition); i_++)                                              \
            world_run(world, 1);                                                                             \
        assert_true(condition);                                                                              \
    } while (0)

void node_start(struct cluster_world *world, unsigned node);
/* Its process ends, in order or not. */
void node_stop(struct cluster_world *world, unsigned node);
void node_kill(struct cluster_world *world, unsigned node);
/* Its process stands still: what is sent to it waits. */
void node_pause(struct cluster_world *world, unsigned node, bool paused);
void node_new_disk(struct cluster_world *world, unsigned node);
/* It gets one that holds what the other node's does; both are down. */
void node_copy_disk(struct cluster_world *world, unsigned node, unsigned from);
/* The node, which is down, is used without a cluster for a while: it gets this volume. */
void node_use_alone(struct cluster_world *world, unsigned node, const char *volume);
void mediator_stop(struct cluster_world *world);
void mediator_start(struct cluster_world *world);

/* All nodes are up, and every one is in sync; n1 leads. */
void world_form(struct cluster_world *world);
void node_look(const struct cluster_world *world, unsigned node, struct replica_info *out);
/* As the node knows it; -1: no such member. */
int node_member(const struct cluster_world *world, unsigned node, unsigned member);
/* Begins to make a volume; one at a time. */
void node_write(struct cluster_world *world, unsigned node, const char *volume);

/* ---- people */

struct person {
    struct cluster_world *world;
    struct rpc_client *client;
    struct rpc_request request;
    unsigned answers;
    int status;
    char detail[256];
    ProtobufCMessage *message;
};

void person_meet(struct cluster_world *world, struct person *person, const char *endpoint);
void person_leave(struct person *person);
/* Starts a call; the former one has ended, and its answer is forgotten. */
void person_start(struct person *person, const ProtobufCServiceDescriptor *service, const char *method,
                  const ProtobufCMessage *message);
/* Starts it and runs the world until it has ended; returns its message, NULL with a status. */
void *person_ask(struct person *person, const ProtobufCServiceDescriptor *service, const char *method,
                 const ProtobufCMessage *message);

#endif
