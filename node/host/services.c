#include "node/host/services.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/host/primary_link.h"
#include "node/host/services_impl.h"

int services_create(struct rpc_server *server, const struct services_config *config, struct services **out)
{
    struct services *s = calloc(1, sizeof *s);
    if (!s)
        return PS_ENOMEM;
    s->config = *config;
    s->server = server;
    list_init(&s->spare);
    const struct rpc_service *const all[] = {&services_volumes,  &services_snapshots, &services_clones,
                                             &services_block_io, &services_status,    &services_events,
                                             &services_analytics};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        rpc_server_register(server, all[i], s);
    *out = s;
    return PS_OK;
}

void services_destroy(struct services *s)
{
    assert(s->queries == 0);
    services_block_io_destroy(s);
    free(s);
}

bool check_pod(const struct services *s, struct rpc_call *call, const char *pod)
{
    if (pod[0] == '\0' || strcmp(pod, s->config.pod_name) == 0)
        return true;
    struct ps_error err;
    (void)ps_error_set(&err, PS_ENOTFOUND, "this node has no pod named '%s'", pod);
    rpc_call_fail(call, err.status, err.detail);
    return false;
}

void fail_refused(const struct services *s, struct rpc_call *call, int status, const char *detail)
{
    const struct primary_gate *gate = s->config.gate;
    struct ps_error err = {0};
    if ((status != PS_EUNAVAILABLE && status != PS_ENOTPRIMARY) || !gate) {
        rpc_call_fail(call, status, detail);
        return;
    }
    status = gate->refusal(gate->user, &err);
    rpc_call_fail(call, status,
                  gate->is_open(gate->user) ? "the image was opened before: open it again" : err.detail);
}

bool is_forwarded(const struct services *s, struct rpc_call *call, const ProtobufCServiceDescriptor *service,
                  const char *method, const ProtobufCMessage *message)
{
    const struct primary_gate *gate = s->config.gate;
    return gate && gate->forward && !gate->is_open(gate->user) &&
           gate->forward(gate->user, call, service, method, message);
}

bool is_for_primary(const struct services *s, struct rpc_call *call,
                    const ProtobufCServiceDescriptor *service, const char *method,
                    const ProtobufCMessage *message)
{
    const struct primary_gate *gate = s->config.gate;
    struct ps_error err = {0};
    size_t length;
    if (primary_gate_is_open(gate) || !rpc_call_metadata(call, PRIMARY_KEY_ASKED_FOR, &length))
        return false;
    if (!is_forwarded(s, call, service, method, message))
        rpc_call_fail(call, gate->refusal(gate->user, &err), err.detail);
    return true;
}
