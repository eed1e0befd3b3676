#include "mediator_served.h"

#include <assert.h>

#include "mediator/mediator_store_mem.h"

#define MS 1000000ull

static uint64_t now_unix_ns(void *user)
{
    const struct served *s = user;
    return SERVED_UNIX_NS + rpc_mem_now(s->net);
}

void served_run(struct served *s, unsigned ms)
{
    rpc_mem_run(s->net, rpc_mem_now(s->net) + ms * MS);
}

void served_closed(void *user)
{
    *(bool *)user = true;
}

void served_start(struct served *s)
{
    const struct rpc_server_config server = {
        .identity = {.name = "mediator", .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_MEDIATOR}};
    assert(rpc_server_create(s->there, &server, &s->server) == 0);
    assert(mediator_service_create(s->server, &s->config, &s->service) == 0);
    assert(rpc_server_listen(s->server, SERVED_ENDPOINT, NULL) == 0);
}

void served_stop(struct served *s)
{
    bool closed = false;
    rpc_server_close(s->server, served_closed, &closed);
    served_run(s, 20);
    assert(closed);
    mediator_service_destroy(s->service);
}

void served_create(struct served *s, const struct mediator_service_config *listener)
{
    const struct rpc_mem_config net = {.latency_ns = MS / 10};
    const struct uuid id = rig_id(0xee);
    *s = (struct served){.config = *listener, .rig = {.store = mediator_store_mem_create(&id)}};
    rig_start(&s->rig);
    s->config.core = s->rig.core;
    s->config.now_unix_ns = now_unix_ns;
    s->config.user = s;
    s->net = rpc_mem_net_create(&net);
    s->there = rpc_mem_transport_create(s->net, "there");
    s->here = rpc_mem_transport_create(s->net, "here");
    served_start(s);
}

void served_destroy(struct served *s)
{
    served_stop(s);
    rig_stop(&s->rig);
    mediator_store_mem_destroy(s->rig.store);
    rpc_mem_transport_destroy(s->there);
    rpc_mem_transport_destroy(s->here);
    rpc_mem_net_destroy(s->net);
}
