/* The connection to the mediator: what the replica asks of it, and what it has under the pod's name.
 *
 * Runs on the transport's thread. A question without an answer is forgotten: who asked asks again. */
#ifndef PS_NODE_HOST_MEDIATOR_LINK_H
#define PS_NODE_HOST_MEDIATOR_LINK_H

#include "common/rpc/client.h"
#include "node/replication/replica.h"

struct mediator_link;

struct mediator_link_config {
    struct rpc_transport *transport;
    const struct rpc_keys *keys;
    const char *node_name, *cluster_name, *address; /* borrowed for good */
    void (*verdict)(void *user, const struct replica_verdict *verdict);
    /* Answer to mediator_link_find; NULL: it has no pod of that name. */
    void (*found)(void *user, const struct configuration *configuration);
    rpc_log log;
    void *user;
};

/* Connects. With a detail: PS_EINVAL, PS_EUNAUTHENTICATED, PS_ENOMEM. */
int mediator_link_create(const struct mediator_link_config *config, struct mediator_link **out,
                         struct ps_error *err);
void mediator_link_close(struct mediator_link *link, void (*closed)(void *user), void *user);
bool mediator_link_connected(const struct mediator_link *link);

void mediator_link_find(struct mediator_link *link, const char *pod_name);
void mediator_link_ask(struct mediator_link *link, const struct replica_cas *cas);
/* The verdict that follows has the mediator's configuration when its epoch is another one than `epoch`, and
 * once after each connection: so the store that holds the pod becomes known. */
void mediator_link_report(struct mediator_link *link, const struct uuid *pod, uint64_t epoch);

#endif
