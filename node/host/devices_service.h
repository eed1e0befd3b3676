/* The service Devices: flash devices that come and go. Pure; on the reactor's thread. */
#ifndef PS_NODE_HOST_DEVICES_SERVICE_H
#define PS_NODE_HOST_DEVICES_SERVICE_H

#include "common/rpc/server.h"
#include "common/status.h"
#include "node/host/device_change.h"

struct devices_service_config {
    /* As flash_devices_attach and flash_devices_detach. */
    int (*attach)(void *user, const char *spec, device_change_cb cb, void *cb_user, struct ps_error *err);
    int (*detach)(void *user, const char *name, device_change_cb cb, void *cb_user, struct ps_error *err);
    void *user;
    const char *node_name; /* who this is; not copied */
};

struct devices_service;

/* Before the server listens. PS_ENOMEM. */
int devices_service_create(struct rpc_server *server, const struct devices_service_config *config,
                           struct devices_service **out);
/* After the server is closed. A change that is under way ends before: nothing is freed until then. */
void devices_service_destroy(struct devices_service *service);

#endif
