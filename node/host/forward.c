/* Changes that reached a node which is not the primary go to it, one hop, with their operation id and what is
 * left of their time; the answer goes back as it is. Nothing is repeated: when the connection breaks, whether
 * the primary carried it out is unknown, and the caller is told so. */
#include "node/host/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "common/rpc/transport.h"
#include "node/host/primary_link.h"

struct forwarded {
    struct rpc_request rpc;
    struct rpc_call *call;
    struct rpc_client *client;
};

static void on_reply(struct rpc_request *request, const struct rpc_reply *reply)
{
    struct forwarded *f = container_of(request, struct forwarded, rpc);
    struct rpc_call *call = f->call;
    free(f);
    if (reply->status == 0)
        rpc_call_reply(call, reply->message);
    else
        rpc_call_fail(call, reply->status, reply->detail);
}

static void cancelled(struct rpc_call *call)
{
    struct forwarded *f = rpc_call_user(call);
    rpc_client_cancel(f->client, &f->rpc);
}

bool cluster_forward(struct cluster *c, struct rpc_call *call, const ProtobufCServiceDescriptor *service,
                     const char *method, const ProtobufCMessage *message)
{
    const struct cluster_config *settings = cluster_settings(c);
    struct rpc_client *client = cluster_primary(c);
    const uint64_t deadline = rpc_call_deadline(call), now = rpc_now(settings->transport);
    const uint8_t *id = rpc_call_operation_id(call);
    size_t length;
    if (!client || rpc_call_metadata(call, PRIMARY_KEY_FORWARDED_BY, &length))
        return false;
    struct forwarded *f = malloc(sizeof *f);
    if (!f)
        return false;
    const struct rpc_metadata by = {PRIMARY_KEY_FORWARDED_BY, settings->node_name,
                                    strlen(settings->node_name)};
    *f = (struct forwarded){
        .call = call,
        .client = client,
        .rpc = {.service = service, .method = method, .message = message, .metadata = &by, .nmetadata = 1},
    };
    f->rpc.timeout_ns = deadline == RPC_TIMEOUT_NONE ? RPC_TIMEOUT_NONE : deadline > now ? deadline - now : 1;
    if (id)
        memcpy(f->rpc.operation_id, id, sizeof f->rpc.operation_id);
    if (rpc_client_call(client, &f->rpc, on_reply)) {
        free(f);
        return false;
    }
    rpc_call_set_user(call, f);
    rpc_call_watch(call, cancelled, NULL);
    return true;
}
