/* The RPC service Mediator (proto/pstorage/v1/mediator.proto) on the core.
 *
 * Pure; on the thread of the server's transport. A call is answered before its handler returns. */
#ifndef PS_MEDIATOR_SERVICE_H
#define PS_MEDIATOR_SERVICE_H

#include "common/rpc/server.h"
#include "mediator/mediator_core.h"

enum {
    MEDIATOR_PAGE_DEFAULT = 100,
    MEDIATOR_PAGE_MAX = 1000
};

/* What was decided about a pod; valid during the callback. */
struct mediator_news {
    const struct rpc_peer *peer;
    const char *cluster, *pod_name;
    const struct uuid *requester;
    uint64_t expected_epoch, epoch;
    enum mediator_verdict verdict;
    const char *text;
};

struct mediator_service_config {
    struct mediator_core *core;
    uint64_t (*now_unix_ns)(void *user);
    /* Once a decision; repeated requests are no news. May be NULL. */
    void (*decided)(void *user, const struct mediator_news *news);
    /* A person had a pod forgotten. May be NULL. */
    void (*forgotten)(void *user, const struct rpc_peer *peer, const char *cluster, const char *pod_name);
    /* The store failed; the caller was told that the outcome is unknown. May be NULL. */
    void (*store_failed)(void *user, const char *detail);
    void *user;
};

struct mediator_service;

/* Registers the service; before the server listens. PS_ENOMEM. */
int mediator_service_create(struct rpc_server *server, const struct mediator_service_config *config,
                            struct mediator_service **out);
/* After the server is closed. */
void mediator_service_destroy(struct mediator_service *service);

#endif
