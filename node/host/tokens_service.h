/* The RPC service Tokens: proto/pstorage/v1/tokens.proto. Pure; on the reactor's thread. */
#ifndef PS_NODE_HOST_TOKENS_SERVICE_H
#define PS_NODE_HOST_TOKENS_SERVICE_H

#include "node/host/tokens_shared.h"

struct rpc_server;
struct token_change;
struct tokens_service;

struct tokens_service_config {
    struct tokens *tokens;
    /* Keeps a change for good, as catalog_service_token does. */
    int (*keep)(void *user, struct token_change *change);
    void *user;
};

/* Registers the service; before the server listens. PS_ENOMEM. */
int tokens_service_create(struct rpc_server *server, const struct tokens_service_config *config,
                          struct tokens_service **out);
/* After the server is closed. */
void tokens_service_destroy(struct tokens_service *service);

#endif
