/* A mediator that serves over streams in memory, on virtual time. */
#ifndef PS_TEST_MEDIATOR_SERVED_H
#define PS_TEST_MEDIATOR_SERVED_H

#include "common/rpc/transport_mem.h"
#include "mediator/mediator_service.h"
#include "mediator_rig.h"

#define SERVED_ENDPOINT "mem://mediator"
/* Its clock's first time. */
#define SERVED_UNIX_NS 1700000000000000000ull

struct served {
    struct rpc_mem_net *net;
    struct rpc_transport *there, *here; /* the mediator's; its clients' */
    struct rpc_server *server;
    struct mediator_service *service;
    struct mediator_service_config config;
    struct rig rig; /* its store, rig_id(0xee), in memory, and its core */
};

/* Serves, with an empty store. `listener` says who is told what, with the served one as their user; its core
 * and clock are not looked at. */
void served_create(struct served *s, const struct mediator_service_config *listener);
/* Its clients are closed. */
void served_destroy(struct served *s);

void served_run(struct served *s, unsigned ms);

/* Serves no longer, and again with what it has stored. */
void served_stop(struct served *s);
void served_start(struct served *s);

/* What tells that something is closed: sets the bool that `user` is. */
void served_closed(void *user);

#endif
