#include "services_world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pstorage/v1/events.pb-c.h"

#define MS 1000000ull

static uint64_t now_unix_ns(void *user)
{
    struct services_world *w = user;
    return 1700000000000000000ull + rpc_mem_now(w->net);
}

static uint64_t now_ns(void *user)
{
    return rpc_mem_now(((struct services_world *)user)->net) + 3600000 * MS; /* a clock of its own */
}

static int list_events(struct event_source *source, struct event_query *query)
{
    struct services_world *w = container_of(source, struct services_world, events);
    if (w->refuse_events)
        return w->refuse_events;
    assert(w->nasked < 16);
    w->asked[w->nasked++] = query;
    w->questions++;
    return PS_OK;
}

static void answer_events(struct services_world *w)
{
    while (w->nasked > 0 && !w->hold_events) {
        struct event_query *query = w->asked[--w->nasked];
        query->count = 0;
        for (size_t i = 0; i < w->nlog && query->count < query->max; i++)
            if (w->log[i].cursor > query->after_cursor)
                query->events[query->count++] = w->log[i];
        query->last_cursor = w->nlog ? w->log[w->nlog - 1].cursor : 0;
        query->cb(query, PS_OK);
    }
}

void world_event(struct services_world *w, const char *text)
{
    assert(w->nlog < WORLD_EVENTS_MAX);
    struct event *event = &w->log[w->nlog];
    *event = (struct event){.cursor = 10 + w->nlog, .time_unix_ns = now_unix_ns(w), .kind = "test.happened"};
    (void)snprintf(event->text, sizeof event->text, "%s", text);
    w->nlog++;
    event_source_changed(&w->events);
}

static int ask_analytics(struct analytics_source *source, struct analytics_query *query)
{
    struct services_world *w = container_of(source, struct services_world, analytics);
    if (w->refuse_analytics)
        return w->refuse_analytics;
    assert(!w->inquiry);
    w->inquiry = query;
    return 0;
}

static void answer_analytics(struct services_world *w)
{
    struct analytics_query *query = w->inquiry;
    w->inquiry = NULL;
    if (!query)
        return;
    if (w->analytics_status == 0)
        w->inquire(query);
    query->cb(query, w->analytics_status);
}

void world_run(struct services_world *w, unsigned ms)
{
    for (unsigned i = 0; i < 2 * ms; i++) {
        rpc_mem_run(w->net, rpc_mem_now(w->net) + MS / 2);
        (void)pod_turn(w->pod, rpc_mem_now(w->net));
        answer_events(w);
        answer_analytics(w);
    }
}

static void device_health(const struct blkdev *dev, struct blkdev_health *out)
{
    (void)dev;
    *out = (struct blkdev_health){.write_ops = 7, .write_bytes = 7 * 4096, .failed = true};
}

static void connect_client(struct services_world *w)
{
    const struct rpc_client_config config = {.endpoint = "mem://node", .identity = {.name = "tester"}};
    assert(rpc_client_connect(w->host, &config, &w->client, NULL) == PS_OK);
    world_run(w, 20);
    assert(rpc_client_peer(w->client));
}

static bool gate_is_open(void *user)
{
    return !((struct services_world *)user)->elsewhere;
}

static int gate_refusal(void *user, struct ps_error *err)
{
    (void)user;
    return ps_error_set(err, PS_ENOTPRIMARY, "not primary: n2 at tcp://b:1");
}

static bool gate_forward(void *user, struct rpc_call *call, const ProtobufCServiceDescriptor *service,
                         const char *method, const ProtobufCMessage *message)
{
    char text[128];
    (void)user;
    assert(protobuf_c_service_descriptor_get_method_by_name(service, method)->input == message->descriptor);
    (void)snprintf(text, sizeof text, "%s/%s", service->short_name, method);
    rpc_call_fail(call, PS_ECANCELLED, text);
    return true;
}

static bool other_node(void *user, unsigned i, const char **name, struct rpc_client **client)
{
    struct services_world *w = user;
    *name = i == 0 ? "node-b" : "node-c";
    *client = i == 0 ? w->client : NULL;
    return i < w->others;
}

int world_setup_with(void **state, int (*more)(struct rpc_server *server))
{
    static const struct blkdev_ops ops = {.health = device_health};
    const struct rpc_mem_config net = {.latency_ns = MS / 10};
    const struct rpc_server_config server = {.identity = {.name = "node-a"}};
    struct services_world *w = calloc(1, sizeof *w);
    w->net = rpc_mem_net_create(&net);
    w->node = rpc_mem_transport_create(w->net, "node");
    w->host = rpc_mem_transport_create(w->net, "host");
    w->pod = pod_fake_create();
    w->device =
        (struct blkdev){.ops = &ops, .geometry = {.size_bytes = 1 << 30}, .name = "file:/tmp/flash\xff"};
    w->devices[0] = &w->device;
    event_source_init(&w->events, list_events);
    w->analytics.ask = ask_analytics;
    w->uses = image_uses_create(NULL);
    const struct services_config config = {
        .pod = w->pod,
        .pod_name = "default",
        .node_name = "node-a",
        .started_unix_ns = now_unix_ns(w),
        .now_unix_ns = now_unix_ns,
        .devices = w->devices,
        .ndevices = 1,
        .events = &w->events,
        .analytics = &w->analytics,
        .uses = w->uses,
        .gate = &w->gate,
        .now_ns = now_ns,
        .other = other_node,
        .user = w,
    };
    w->gate = (struct primary_gate){
        .is_open = gate_is_open, .refusal = gate_refusal, .forward = gate_forward, .user = w};
    assert(rpc_server_create(w->node, &server, &w->server) == PS_OK);
    assert(services_create(w->server, &config, &w->services) == PS_OK);
    if (more)
        assert(more(w->server) == PS_OK);
    assert(rpc_server_listen(w->server, "mem://node", NULL) == PS_OK);
    connect_client(w);
    *state = w;
    return 0;
}

int world_setup(void **state)
{
    return world_setup_with(state, NULL);
}

static void set(void *user)
{
    *(bool *)user = true;
}

static void disconnect(struct services_world *w)
{
    bool closed = false;
    rpc_client_close(w->client, set, &closed);
    world_run(w, 20);
    assert(closed);
}

void world_reconnect(struct services_world *w)
{
    disconnect(w);
    connect_client(w);
}

int world_teardown(void **state)
{
    struct services_world *w = *state;
    bool closed = false, pod_closed = false;
    w->hold_events = false;
    disconnect(w);
    rpc_server_close(w->server, set, &closed);
    world_run(w, 20);
    assert(closed);
    services_destroy(w->services);
    image_uses_destroy(w->uses);
    pod_close(w->pod, set, &pod_closed);
    world_run(w, 5);
    assert(pod_closed);
    pod_destroy(w->pod);
    rpc_mem_transport_destroy(w->node);
    rpc_mem_transport_destroy(w->host);
    rpc_mem_net_destroy(w->net);
    free(w);
    return 0;
}

static void on_reply(struct rpc_request *request, const struct rpc_reply *reply)
{
    struct answer *a = container_of(request, struct answer, request);
    a->count++;
    a->status = reply->status;
    (void)snprintf(a->detail, sizeof a->detail, "%s", reply->detail);
    if (reply->message) {
        const size_t length = protobuf_c_message_get_packed_size(reply->message);
        uint8_t *copy = malloc(length + 1);
        (void)protobuf_c_message_pack(reply->message, copy);
        a->message = protobuf_c_message_unpack(reply->message->descriptor, NULL, length, copy);
        free(copy);
    }
    if (reply->payload_bytes) {
        a->payload = malloc(reply->payload_bytes);
        memcpy(a->payload, reply->payload, reply->payload_bytes);
        a->payload_bytes = reply->payload_bytes;
    }
}

static void on_event(struct rpc_request *request, const ProtobufCMessage *message)
{
    struct answer *a = container_of(request, struct answer, request);
    a->cursors[a->ncursors++] = ((const Pstorage__V1__Event *)(const void *)message)->cursor;
}

void start(struct services_world *w, struct answer *a, const ProtobufCServiceDescriptor *service,
           const char *method, const ProtobufCMessage *message)
{
    a->request.service = service;
    a->request.method = method;
    a->request.message = message;
    if (strcmp(method, "Follow") == 0) {
        a->request.on_message = on_event;
        a->request.timeout_ns = RPC_TIMEOUT_NONE;
    }
    assert(rpc_client_call(w->client, &a->request, on_reply) == PS_OK);
}

void *call(struct services_world *w, struct answer *a, const ProtobufCServiceDescriptor *service,
           const char *method, const ProtobufCMessage *message)
{
    start(w, a, service, method, message);
    for (unsigned i = 0; i < 1000 && a->count == 0; i++)
        world_run(w, 1);
    assert(a->count == 1);
    return a->message;
}

void answer_free(struct answer *a)
{
    if (a->message)
        protobuf_c_message_free_unpacked(a->message, NULL);
    free(a->payload);
    *a = (struct answer){0};
}
