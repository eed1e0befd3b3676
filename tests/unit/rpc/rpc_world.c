#include "rpc_world.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/rpc/frame.h"
#include "pstorage/v1/block_io.pb-c.h"
#include "pstorage/v1/events.pb-c.h"
#include "pstorage/v1/volumes.pb-c.h"

static void on_log(void *user, const char *line)
{
    struct rpc_world *w = user;
    (void)snprintf(w->log, sizeof w->log, "%s", line);
    w->log_lines++;
}

static void on_client_log(void *user, const char *line)
{
    struct rpc_world *w = user;
    (void)snprintf(w->client_log, sizeof w->client_log, "%s", line);
    w->client_log_lines++;
}

static void on_state(void *user, int status, const char *detail)
{
    struct rpc_world *w = user;
    (void)detail;
    w->client_status = status;
    w->client_news++;
}

static void set(void *user)
{
    *(bool *)user = true;
}

void world_run(struct rpc_world *w, uint64_t for_ns)
{
    rpc_mem_run(w->net, rpc_mem_now(w->net) + for_ns);
}

void world_serve(struct rpc_world *w, const struct rpc_server_config *config)
{
    struct rpc_server_config c = config ? *config : (struct rpc_server_config){0};
    if (!c.identity.name)
        c.identity.name = "node-a";
    if (c.identity.role == PSTORAGE__V1__PEER_ROLE__PEER_ROLE_UNSPECIFIED)
        c.identity.role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE;
    c.log = on_log;
    c.user = w;
    assert(rpc_server_create(w->node, &c, &w->server) == PS_OK);
    test_service_register(w->server, &w->service);
    assert(rpc_server_listen(w->server, WORLD_ENDPOINT, NULL) == PS_OK);
}

void world_connect_as(struct rpc_world *w, const char *endpoint, const struct rpc_identity *identity,
                      const struct rpc_keys *keys)
{
    const struct rpc_client_config config = {
        .endpoint = endpoint,
        .identity = *identity,
        .server_name = w->server_name,
        .keys = keys,
        .on_state = on_state,
        .log = on_client_log,
        .user = w,
    };
    assert(rpc_client_connect(w->host, &config, &w->client, NULL) == PS_OK);
}

void world_connect(struct rpc_world *w, const char *endpoint)
{
    const struct rpc_identity tester = {"tester", PSTORAGE__V1__PEER_ROLE__PEER_ROLE_CLIENT, NULL};
    world_connect_as(w, endpoint, &tester, NULL);
}

void world_open(struct rpc_world *w, const struct rpc_mem_config *net, const struct rpc_server_config *server)
{
    const struct rpc_mem_config plain = {.latency_ns = 1 * MS};
    *w = (struct rpc_world){.net = rpc_mem_net_create(net ? net : &plain)};
    w->node = rpc_mem_transport_create(w->net, "node");
    w->host = rpc_mem_transport_create(w->net, "host");
    world_serve(w, server);
    world_connect(w, WORLD_ENDPOINT);
}

void world_stop_server(struct rpc_world *w)
{
    bool closed = false;
    rpc_server_close(w->server, set, &closed);
    assert(!closed);
    for (size_t i = 0; i < w->service.nheld; i++)
        if (w->service.held[i])
            test_service_answer(&w->service, i);
    w->service.nheld = 0;
    world_run(w, 30 * SECOND);
    assert(closed);
    w->server = NULL;
}

void world_stop_client(struct rpc_world *w)
{
    bool closed = false;
    rpc_client_close(w->client, set, &closed);
    assert(!closed);
    world_run(w, 1 * SECOND);
    assert(closed);
    w->client = NULL;
}

void world_close(struct rpc_world *w)
{
    if (w->client)
        world_stop_client(w);
    if (w->server)
        world_stop_server(w);
    rpc_mem_transport_destroy(w->node);
    rpc_mem_transport_destroy(w->host);
    rpc_mem_net_destroy(w->net);
}

static void on_reply(struct rpc_request *request, const struct rpc_reply *reply)
{
    struct outcome *o = request->user;
    o->answers++;
    o->status = reply->status;
    o->unsent = reply->unsent;
    o->at_ns = rpc_mem_now(o->world->net);
    (void)snprintf(o->detail, sizeof o->detail, "%s", reply->detail);
    o->payload_bytes = reply->payload_bytes;
    o->payload_sum = rpc_payload_sum(reply->payload, reply->payload_bytes);
    assert((uintptr_t)reply->payload % RPC_PAYLOAD_ALIGN == 0);
    if (reply->message && reply->message->descriptor == &pstorage__v1__volume_response__descriptor) {
        const Pstorage__V1__VolumeResponse *response = (const void *)reply->message;
        if (response->volume) {
            (void)snprintf(o->name, sizeof o->name, "%s", response->volume->name);
            o->id = response->volume->id;
        }
    }
}

static void on_message(struct rpc_request *request, const ProtobufCMessage *message)
{
    struct outcome *o = request->user;
    const Pstorage__V1__Event *event = (const void *)message;
    o->disorder += event->cursor != o->last_cursor + 1;
    o->last_cursor = event->cursor;
    o->messages++;
}

static int send_call(struct rpc_world *w, struct outcome *o, const ProtobufCServiceDescriptor *service,
                     const char *method, const ProtobufCMessage *message)
{
    o->world = w;
    o->request.service = service;
    o->request.method = method;
    o->request.message = message;
    o->request.user = o;
    const unsigned before = o->answers;
    const int status = rpc_client_call(w->client, &o->request, on_reply);
    assert(o->answers == before);
    return status;
}

int call_create(struct rpc_world *w, struct outcome *o, const char *name)
{
    Pstorage__V1__CreateVolumeRequest request = PSTORAGE__V1__CREATE_VOLUME_REQUEST__INIT;
    char copy[256];
    (void)snprintf(copy, sizeof copy, "%s", name);
    request.name = copy;
    return send_call(w, o, &pstorage__v1__volumes__descriptor, "Create", &request.base);
}

int call_get(struct rpc_world *w, struct outcome *o)
{
    Pstorage__V1__GetVolumeRequest request = PSTORAGE__V1__GET_VOLUME_REQUEST__INIT;
    return send_call(w, o, &pstorage__v1__volumes__descriptor, "Get", &request.base);
}

int call_method(struct rpc_world *w, struct outcome *o, const char *method)
{
    Pstorage__V1__DeleteVolumeRequest delete_request = PSTORAGE__V1__DELETE_VOLUME_REQUEST__INIT;
    Pstorage__V1__SetVolumeRequest set_request = PSTORAGE__V1__SET_VOLUME_REQUEST__INIT;
    Pstorage__V1__RenameVolumeRequest rename_request = PSTORAGE__V1__RENAME_VOLUME_REQUEST__INIT;
    const ProtobufCMessage *message = strcmp(method, "Delete") == 0 ? &delete_request.base
                                      : strcmp(method, "Set") == 0  ? &set_request.base
                                                                    : &rename_request.base;
    return send_call(w, o, &pstorage__v1__volumes__descriptor, method, message);
}

int call_write(struct rpc_world *w, struct outcome *o, const void *payload, size_t length)
{
    Pstorage__V1__WriteRequest request = PSTORAGE__V1__WRITE_REQUEST__INIT;
    o->request.payload = payload;
    o->request.payload_bytes = length;
    return send_call(w, o, &pstorage__v1__block_io__descriptor, "Write", &request.base);
}

int call_read(struct rpc_world *w, struct outcome *o, uint64_t offset, uint32_t length)
{
    Pstorage__V1__ReadRequest request = PSTORAGE__V1__READ_REQUEST__INIT;
    request.offset = offset;
    request.length = length;
    return send_call(w, o, &pstorage__v1__block_io__descriptor, "Read", &request.base);
}

int call_follow(struct rpc_world *w, struct outcome *o)
{
    Pstorage__V1__FollowEventsRequest request = PSTORAGE__V1__FOLLOW_EVENTS_REQUEST__INIT;
    o->request.on_message = on_message;
    return send_call(w, o, &pstorage__v1__events__descriptor, "Follow", &request.base);
}
