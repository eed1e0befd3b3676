#include "node/host/devices_service.h"

#include <stdlib.h>
#include <string.h>

#include "pstorage/v1/devices.pb-c.h"

struct devices_service {
    struct devices_service_config config;
    struct rpc_call *call; /* the one under way */
    struct ps_error error;
    bool gone; /* destroyed meanwhile: what is under way frees it */
};

static void changed(void *user, int status, enum device_outcome outcome)
{
    static const Pstorage__V1__DeviceOutcome outcomes[] = {
        [DEVICE_REBUILDING] = PSTORAGE__V1__DEVICE_OUTCOME__DEVICE_OUTCOME_REBUILDING,
        [DEVICE_ADDED] = PSTORAGE__V1__DEVICE_OUTCOME__DEVICE_OUTCOME_ADDED,
        [DEVICE_LEAVING] = PSTORAGE__V1__DEVICE_OUTCOME__DEVICE_OUTCOME_LEAVING,
        [DEVICE_TAKEN_OUT] = PSTORAGE__V1__DEVICE_OUTCOME__DEVICE_OUTCOME_TAKEN_OUT,
    };
    struct devices_service *s = user;
    struct rpc_call *call = s->call;
    Pstorage__V1__DeviceChangeResponse response = PSTORAGE__V1__DEVICE_CHANGE_RESPONSE__INIT;
    response.outcome = outcomes[outcome];
    s->call = NULL;
    if (s->gone) {
        free(s);
        return;
    }
    if (status)
        rpc_call_fail(call, status, s->error.detail[0] ? s->error.detail : NULL);
    else
        rpc_call_reply(call, &response.base);
}

static void begin(struct devices_service *s, struct rpc_call *call,
                  int (*change)(void *user, const char *what, device_change_cb cb, void *cb_user,
                                struct ps_error *err),
                  const char *what, const char *node)
{
    if (node[0] && strcmp(node, s->config.node_name) != 0) {
        struct ps_error err;
        (void)ps_error_set(&err, PS_ENOTFOUND, "this is node %.63s, not %.63s", s->config.node_name, node);
        rpc_call_fail(call, err.status, err.detail);
        return;
    }
    if (s->call) {
        rpc_call_fail(call, PS_EUNAVAILABLE, "another device is being attached or taken out");
        return;
    }
    s->call = call;
    s->error = (struct ps_error){0};
    const int rc = change(s->config.user, what, changed, s, &s->error);
    if (rc)
        changed(s, rc, DEVICE_REBUILDING);
}

static void attach(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct devices_service *s = user;
    const Pstorage__V1__AttachDeviceRequest *request = (const void *)message;
    begin(s, call, s->config.attach, request->spec, request->node);
}

static void detach(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct devices_service *s = user;
    const Pstorage__V1__DetachDeviceRequest *request = (const void *)message;
    begin(s, call, s->config.detach, request->name, request->node);
}

static const struct rpc_method methods[] = {{.name = "Attach", .handler = attach},
                                            {.name = "Detach", .handler = detach}};

static const struct rpc_service service = {
    .descriptor = &pstorage__v1__devices__descriptor,
    .methods = methods,
    .nmethods = sizeof methods / sizeof methods[0],
};

int devices_service_create(struct rpc_server *server, const struct devices_service_config *config,
                           struct devices_service **out)
{
    struct devices_service *s = calloc(1, sizeof *s);
    if (!s)
        return PS_ENOMEM;
    s->config = *config;
    rpc_server_register(server, &service, s);
    *out = s;
    return 0;
}

void devices_service_destroy(struct devices_service *s)
{
    if (s->call)
        s->gone = true;
    else
        free(s);
}
