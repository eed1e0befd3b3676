/* The RPC service of flash devices (proto/pstorage/v1/flash.proto) on what drives.h offers. Pure; on the
 * loop's thread. */
#ifndef PS_NODE_HOST_FLASH_SERVICE_H
#define PS_NODE_HOST_FLASH_SERVICE_H

#include "common/rpc/server.h"
#include "node/host/drives.h"

struct flash_service;

/* Registers it, before the server listens. What is passed is borrowed until the end. PS_ENOMEM. */
int flash_service_create(struct rpc_server *server, struct drives *drives, const char *node_name,
                         struct flash_service **out);
/* After the server is closed. A format may still be under way: then `done` runs when it has ended. */
void flash_service_destroy(struct flash_service *service, void (*done)(void *user), void *user);

#endif
