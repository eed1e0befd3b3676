/* The RPC services of a node: proto/ on one side, the pod on the other.
 *
 * Pure; runs on the reactor's thread, which owns the server's transport, the pod and
 * the event source. Payloads go straight between the call's buffers and the pod. */
#ifndef PS_NODE_HOST_SERVICES_H
#define PS_NODE_HOST_SERVICES_H

#include <stddef.h>
#include <stdint.h>

#include "common/blkdev.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "node/host/analytics_source.h"
#include "node/host/event_source.h"
#include "node/host/host_image.h"
#include "node/host/primary_gate.h"
#include "node/pod/pod.h"

enum {
    SERVICES_PAGE_DEFAULT = 100,
    SERVICES_PAGE_MAX = 1000,
    SERVICES_EXTENTS_MAX = 1024,
    SERVICES_HANDLES_MAX = 256, /* open images a connection */
};

struct array;
struct services_config {
    struct pod *pod;
    const char *pod_name;
    const char *node_name;
    uint64_t started_unix_ns;
    uint64_t (*now_unix_ns)(void *user);
    struct blkdev *const *devices; /* for Status */
    size_t ndevices;
    /* In place of those: what they are members of; NULL: one device. It may become one. */
    const struct array *(*array)(void *user);
    /* Of its device that is leaving. */
    unsigned (*vacated_percent)(void *user);
    struct event_source *events;
    struct analytics_source *analytics; /* NULL: this node keeps no history */
    const struct image_uses *uses;      /* of the pod; NULL: nobody counts */
    const struct primary_gate *gate;    /* NULL: this node stands alone */
    struct host_images *images;         /* for block I/O while another node leads; NULL: it is refused then */
    uint64_t (*now_ns)(void *user);     /* CLOCK_BOOTTIME: what stamps are made of */
    /* The cluster's other nodes, from 0 on, and the connection to each (NULL: there is none now); false:
     * there are no more. NULL: this node stands alone. */
    bool (*other)(void *user, unsigned i, const char **name, struct rpc_client **client);
    void *user;
};

struct services;

/* Registers all services; before the server listens. Everything in `config` is
 * borrowed until the end. PS_ENOMEM. */
int services_create(struct rpc_server *server, const struct services_config *config, struct services **out);
/* After the server is closed, and the sources have answered all that they were asked. The pod is still
 * there. */
void services_destroy(struct services *services);

#endif
