/* Clones: see proto/pstorage/v1/clones.proto. */
#include "node/host/services_impl.h"
#include "pstorage/v1/clones.pb-c.h"

static void reply(struct rpc_call *call, Pstorage__V1__Image *image)
{
    Pstorage__V1__CreateCloneResponse response = PSTORAGE__V1__CREATE_CLONE_RESPONSE__INIT;
    response.volume = image;
    rpc_call_reply(call, &response.base);
}

static void create(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__CreateCloneRequest *request = (const void *)message;
    if (is_forwarded(user, call, &pstorage__v1__clones__descriptor, "Create", message))
        return;
    struct change *change = change_new(user, call, POD_CLONE_CREATE, reply);
    if (!change || !change_snapshot(change, request->snapshot) ||
        !change_new_volume(change, request->new_name))
        return;
    change_expect(change, request->expect);
    change_submit(change);
}

static const struct rpc_method methods[] = {{.name = "Create", .handler = create}};

const struct rpc_service services_clones = {
    .descriptor = &pstorage__v1__clones__descriptor,
    .methods = methods,
    .nmethods = sizeof methods / sizeof methods[0],
};
