#include "lone_cluster.h"

#include <assert.h>

static bool gate_is_open(void *user)
{
    return !((struct lone_cluster *)user)->elsewhere;
}

static int gate_refusal(void *user, struct ps_error *err)
{
    (void)user;
    return ps_error_set(err, PS_ENOTPRIMARY, "not primary: n2 at tcp://b:1");
}

static bool gate_primary(void *user, struct primary_place *out)
{
    (void)user;
    (void)out;
    return false;
}

static uint64_t time_stands_still(void *user)
{
    (void)user;
    return 1;
}

static void nothing(void *user)
{
    (void)user;
}

void lone_cluster_create(struct lone_cluster *c, struct pod *pod)
{
    const struct rpc_mem_config net = {.latency_ns = 1000};
    *c = (struct lone_cluster){
        .gate = {.is_open = gate_is_open, .refusal = gate_refusal, .primary = gate_primary, .user = c}};
    c->net = rpc_mem_net_create(&net);
    c->transport = rpc_mem_transport_create(c->net, "here");
    const struct host_images_config config = {.pod = pod,
                                              .gate = &c->gate,
                                              .transport = c->transport,
                                              .node_name = "n1",
                                              .cluster_name = "c",
                                              .now_ns = time_stands_still,
                                              .wake = nothing,
                                              .broken = nothing,
                                              .user = c};
    const int rc = host_images_create(&config, &c->images);
    assert(rc == 0);
    (void)rc;
}

void lone_cluster_destroy(struct lone_cluster *c)
{
    host_images_close(c->images, nothing, NULL);
    rpc_mem_transport_destroy(c->transport);
    rpc_mem_net_destroy(c->net);
    *c = (struct lone_cluster){0};
}
