/* Flash devices that come and go. */
#include "client/lib/answers.h"
#include "pstorage/v1/devices.pb-c.h"

static struct pstorage_device_change *change_of(struct call *call)
{
    return (struct pstorage_device_change *)(void *)call->request;
}

static int send_attach(struct call *call)
{
    Pstorage__V1__AttachDeviceRequest m = PSTORAGE__V1__ATTACH_DEVICE_REQUEST__INIT;
    m.spec = text(change_of(call)->device);
    m.node = text(change_of(call)->node);
    return call_send(call, &pstorage__v1__devices__descriptor, "Attach", &m.base);
}

static int send_detach(struct call *call)
{
    Pstorage__V1__DetachDeviceRequest m = PSTORAGE__V1__DETACH_DEVICE_REQUEST__INIT;
    m.name = text(change_of(call)->device);
    m.node = text(change_of(call)->node);
    return call_send(call, &pstorage__v1__devices__descriptor, "Detach", &m.base);
}

static int take_outcome(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__DeviceChangeResponse *m = (const void *)reply->message;
    if (m->outcome > PSTORAGE__V1__DEVICE_OUTCOME__DEVICE_OUTCOME_TAKEN_OUT)
        return PS_EPROTOCOL;
    change_of(call)->outcome = (enum pstorage_device_outcome)m->outcome;
    return PS_OK;
}

int pstorage_device_change_submit(struct pstorage_client *client, struct pstorage_device_change *c,
                                  pstorage_cb cb)
{
    static const struct request_kind kinds[] = {{send_detach, take_outcome, NULL, false},
                                                {send_attach, take_outcome, NULL, false}};
    return client_submit(client, NULL, &c->request, &kinds[c->attach], cb);
}
