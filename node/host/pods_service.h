/* The services Pods and Nodes: what a cluster is and does, for people. Apart from the other services, which
 * need no more of replication than whether this node is the primary. Pure; on the reactor's thread. */
#ifndef PS_NODE_HOST_PODS_SERVICE_H
#define PS_NODE_HOST_PODS_SERVICE_H

#include "node/host/cluster.h"

enum {
    PODS_PAGE_DEFAULT = 100
};

struct pods_service_config {
    struct pod *pod;
    const char *pod_name, *node_name, *rpc_address;
    struct cluster *cluster; /* NULL: the node stands alone */
};

struct pods_service;

/* Before the server listens. Everything in `config` is borrowed until the end. PS_ENOMEM. */
int pods_service_create(struct rpc_server *server, const struct pods_service_config *config,
                        struct pods_service **out);
/* After the server is closed, before the cluster is stopped. */
void pods_service_destroy(struct pods_service *service);

#endif
