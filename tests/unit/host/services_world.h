/* A node's services on a pod in memory, and a client, on virtual time. */
#ifndef PS_TEST_SERVICES_WORLD_H
#define PS_TEST_SERVICES_WORLD_H

#include "common/rpc/client.h"
#include "common/rpc/transport_mem.h"
#include "node/host/services.h"
#include "tests/support/pod_fake.h"

enum {
    WORLD_EVENTS_MAX = 5000
};

struct services_world {
    struct rpc_mem_net *net;
    struct rpc_transport *node, *host;
    struct rpc_server *server;
    struct services *services;
    struct rpc_client *client;
    struct pod *pod;
    struct blkdev device;
    struct blkdev *devices[1];
    /* Events: all there are, and the questions that wait for an answer. */
    struct event_source events;
    struct event log[WORLD_EVENTS_MAX];
    size_t nlog;
    struct event_query *asked[16];
    size_t nasked;
    unsigned questions;
    bool hold_events;
    /* The node is one of a cluster, and the primary unless `elsewhere`; calls that it sends on end with
     * PS_ECANCELLED and the method's name. */
    struct primary_gate gate;
    bool elsewhere;
    int refuse_events;
    /* Analytics: what was asked last, and how the next question ends, once the world runs on. */
    struct analytics_source analytics;
    struct analytics_query *inquiry;
    void (*inquire)(struct analytics_query *query);
    int analytics_status, refuse_analytics;
    /* Other nodes: "node-b", which is this one again, and "node-c", to which there is no connection. */
    unsigned others;
    struct image_uses *uses;
};

/* What came back of a call; free with answer_free. */
struct answer {
    struct rpc_request request;
    unsigned count;
    int status;
    char detail[256];
    ProtobufCMessage *message;
    uint8_t *payload;
    size_t payload_bytes;
    uint64_t cursors[WORLD_EVENTS_MAX]; /* of a stream of events */
    size_t ncursors;
};

int world_setup(void **state);
/* The same with services beside those of the pod: `more` registers them. */
int world_setup_with(void **state, int (*more)(struct rpc_server *server));
int world_teardown(void **state);
void world_run(struct services_world *w, unsigned ms);
void world_event(struct services_world *w, const char *text);
void world_reconnect(struct services_world *w);

/* Starts a call; `answer` is zeroed but for request.payload and operation_id. */
void start(struct services_world *w, struct answer *answer, const ProtobufCServiceDescriptor *service,
           const char *method, const ProtobufCMessage *message);
/* Starts it and runs the world until it is answered; returns the answer's message. */
void *call(struct services_world *w, struct answer *answer, const ProtobufCServiceDescriptor *service,
           const char *method, const ProtobufCMessage *message);
void answer_free(struct answer *answer);

#endif
