/* A cluster that a fake pod is of, with nobody else in reach: its images, led here or nowhere. */
#ifndef PS_TESTS_UNIT_HOST_LONE_CLUSTER_H
#define PS_TESTS_UNIT_HOST_LONE_CLUSTER_H

#include "common/rpc/transport_mem.h"
#include "node/host/host_image.h"

struct lone_cluster {
    struct rpc_mem_net *net; /* NULL: there is no cluster */
    struct rpc_transport *transport;
    struct host_images *images;
    struct primary_gate gate;
    bool elsewhere; /* nobody leads */
};

void lone_cluster_create(struct lone_cluster *cluster, struct pod *pod);
void lone_cluster_destroy(struct lone_cluster *cluster);

#endif
