#include "tests/unit/client/fake_node.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "common/rpc/keys.h"
#include "common/rpc/server.h"
#include "common/rpc/transport_nng.h"
#include "pstorage/v1/block_io.pb-c.h"
#include "pstorage/v1/events.pb-c.h"
#include "pstorage/v1/status.pb-c.h"
#include "pstorage/v1/volumes.pb-c.h"

enum {
    METHODS = 24,
    EVENTS = 64,
    FOLLOWERS = 4,
    CREATES = 8
};

struct fake_node {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uv_loop_t loop;
    uv_async_t wake;
    uv_sem_t started;
    struct rpc_transport *transport;
    struct rpc_server *server;
    char endpoint[160];
    struct rpc_keys keys;
    bool stop, stopping, running;
    bool answer_short; /* of the call at hand */
    struct {
        const char *name;
        unsigned calls;
        enum fake_act act;
        int status;
    } methods[METHODS];
    /* What it holds. */
    unsigned char *data;
    uint64_t id;
    bool write_cache;
    unsigned listed, page_max;
    char events[EVENTS][32];
    unsigned nevents;
    uint8_t created[CREATES][16];
    unsigned ncreated;
    struct {
        struct rpc_call *call;
        uint64_t cursor;
    } followers[FOLLOWERS];
};

/* ---- the script; the lock is held */

static unsigned method_index(struct fake_node *n, const char *name)
{
    unsigned i = 0;
    while (n->methods[i].name && strcmp(n->methods[i].name, name) != 0)
        i++;
    assert(i < METHODS - 1);
    n->methods[i].name = name;
    return i;
}

static void end_held(struct rpc_call *call)
{
    rpc_call_fail(call, PS_ECANCELLED, NULL);
}

/* True: the call is dealt with. */
static bool scripted(struct fake_node *n, struct rpc_call *call, const char *name)
{
    const unsigned i = method_index(n, name);
    const enum fake_act act = n->methods[i].act;
    n->methods[i].calls++;
    n->methods[i].act = FAKE_NORMAL;
    (void)pthread_cond_broadcast(&n->changed);
    if (act == FAKE_HOLD)
        rpc_call_watch(call, end_held, NULL);
    else if (act == FAKE_FAIL)
        rpc_call_fail(call, n->methods[i].status, "as told");
    n->answer_short = act == FAKE_SHORT;
    return act == FAKE_HOLD || act == FAKE_FAIL;
}

/* ---- volumes */

static void fill(const struct fake_node *n, Pstorage__V1__Image *image, char *name)
{
    pstorage__v1__image__init(image);
    static char pod[] = "default";
    image->id = n->id;
    image->kind = PSTORAGE__V1__IMAGE_KIND__IMAGE_KIND_VOLUME;
    image->name = name;
    image->pod = pod;
    image->size_bytes = FAKE_VOLUME_BYTES;
    image->write_cache = n->write_cache;
}

static void volume_get(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fake_node *n = service;
    const Pstorage__V1__GetVolumeRequest *m = (const void *)message;
    (void)pthread_mutex_lock(&n->lock);
    if (scripted(n, call, "Get")) {
        ;
    } else if (strcmp(m->name, "vol") != 0) {
        rpc_call_fail(call, PS_ENOTFOUND, "no such volume");
    } else {
        Pstorage__V1__VolumeResponse reply = PSTORAGE__V1__VOLUME_RESPONSE__INIT;
        Pstorage__V1__Image image;
        fill(n, &image, m->name);
        reply.volume = &image;
        rpc_call_reply(call, &reply.base);
    }
    (void)pthread_mutex_unlock(&n->lock);
}

static void volume_create(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fake_node *n = service;
    const Pstorage__V1__CreateVolumeRequest *m = (const void *)message;
    (void)pthread_mutex_lock(&n->lock);
    const uint8_t *id = rpc_call_operation_id(call);
    unsigned i = 0;
    while (i < n->ncreated && memcmp(n->created[i], id, 16) != 0)
        i++;
    if (i == n->ncreated) {
        assert(n->ncreated < CREATES);
        memcpy(n->created[n->ncreated++], id, 16);
    }
    if (!scripted(n, call, "Create")) {
        Pstorage__V1__VolumeResponse reply = PSTORAGE__V1__VOLUME_RESPONSE__INIT;
        Pstorage__V1__Image image;
        fill(n, &image, m->name);
        reply.volume = &image;
        rpc_call_reply(call, &reply.base);
    }
    (void)pthread_mutex_unlock(&n->lock);
}

static void volume_list(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fake_node *n = service;
    const Pstorage__V1__ListVolumesRequest *m = (const void *)message;
    (void)pthread_mutex_lock(&n->lock);
    if (!scripted(n, call, "List")) {
        Pstorage__V1__ListVolumesResponse reply = PSTORAGE__V1__LIST_VOLUMES_RESPONSE__INIT;
        Pstorage__V1__Image images[16], *pointers[16];
        char names[16][16], token[16];
        unsigned at = m->page_token[0] ? (unsigned)atoi(m->page_token) : 0;
        assert(n->page_max <= 16);
        for (; at < n->listed && reply.n_volumes < n->page_max; at++) {
            const size_t i = reply.n_volumes++;
            (void)snprintf(names[i], sizeof names[i], "v%03u", at);
            fill(n, &images[i], names[i]);
            pointers[i] = &images[i];
        }
        (void)snprintf(token, sizeof token, "%u", at);
        reply.volumes = pointers;
        if (at < n->listed)
            reply.next_page_token = token;
        rpc_call_reply(call, &reply.base);
    }
    (void)pthread_mutex_unlock(&n->lock);
}

/* ---- block I/O; the handle is the connection's number */

static void io_open(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fake_node *n = service;
    const Pstorage__V1__OpenRequest *m = (const void *)message;
    (void)pthread_mutex_lock(&n->lock);
    if (scripted(n, call, "Open")) {
        ;
    } else if (strcmp(m->name, "vol") != 0) {
        rpc_call_fail(call, PS_ENOTFOUND, "no such volume");
    } else {
        Pstorage__V1__OpenResponse reply = PSTORAGE__V1__OPEN_RESPONSE__INIT;
        Pstorage__V1__Image image;
        fill(n, &image, m->name);
        reply.handle = rpc_call_connection(call);
        reply.image = &image;
        reply.read_only = m->read_only;
        reply.max_io_bytes = FAKE_IO_BYTES;
        reply.block_bytes = 4096;
        reply.atomic_bytes = 128 << 10;
        rpc_call_reply(call, &reply.base);
    }
    (void)pthread_mutex_unlock(&n->lock);
}

static void reply_io(struct rpc_call *call)
{
    Pstorage__V1__IoResponse reply = PSTORAGE__V1__IO_RESPONSE__INIT;
    rpc_call_reply(call, &reply.base);
}

/* False: the call was refused. */
static bool check(struct rpc_call *call, uint64_t handle, uint64_t offset, uint64_t length)
{
    if (handle != rpc_call_connection(call))
        rpc_call_fail(call, PS_ENOTFOUND, "no such handle");
    else if (offset > FAKE_VOLUME_BYTES || length > FAKE_VOLUME_BYTES - offset)
        rpc_call_fail(call, PS_ERANGE, "beyond the end");
    else
        return true;
    return false;
}

static void io_close(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fake_node *n = service;
    (void)message;
    (void)pthread_mutex_lock(&n->lock);
    if (!scripted(n, call, "Close"))
        reply_io(call);
    (void)pthread_mutex_unlock(&n->lock);
}

static void io_read(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fake_node *n = service;
    const Pstorage__V1__ReadRequest *m = (const void *)message;
    (void)pthread_mutex_lock(&n->lock);
    if (!scripted(n, call, "Read") && check(call, m->handle, m->offset, m->length)) {
        const size_t length = n->answer_short ? m->length / 2 : m->length;
        memcpy(rpc_call_reply_buffer(call, length), n->data + m->offset, length);
        reply_io(call);
    }
    (void)pthread_mutex_unlock(&n->lock);
}

static void io_write(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fake_node *n = service;
    const Pstorage__V1__WriteRequest *m = (const void *)message;
    size_t length;
    const void *data = rpc_call_payload(call, &length);
    (void)pthread_mutex_lock(&n->lock);
    const bool fits = m->offset <= FAKE_VOLUME_BYTES && length <= FAKE_VOLUME_BYTES - m->offset;
    if (fits && m->handle == rpc_call_connection(call))
        memcpy(n->data + m->offset, data, length);
    if (!scripted(n, call, "Write") && check(call, m->handle, m->offset, length))
        reply_io(call);
    (void)pthread_mutex_unlock(&n->lock);
}

static void io_write_zeroes(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fake_node *n = service;
    const Pstorage__V1__WriteZeroesRequest *m = (const void *)message;
    (void)pthread_mutex_lock(&n->lock);
    if (!scripted(n, call, "WriteZeroes") && check(call, m->handle, m->offset, m->length)) {
        memset(n->data + m->offset, 0, m->length);
        reply_io(call);
    }
    (void)pthread_mutex_unlock(&n->lock);
}

static void io_flush(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fake_node *n = service;
    const Pstorage__V1__FlushRequest *m = (const void *)message;
    (void)pthread_mutex_lock(&n->lock);
    if (!scripted(n, call, "Flush") && check(call, m->handle, 0, 0))
        reply_io(call);
    (void)pthread_mutex_unlock(&n->lock);
}

/* Half of what is asked for is data, the rest a hole. */
static void io_extents(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fake_node *n = service;
    const Pstorage__V1__ExtentsRequest *m = (const void *)message;
    (void)pthread_mutex_lock(&n->lock);
    if (!scripted(n, call, "Extents") && check(call, m->handle, m->offset, m->length)) {
        Pstorage__V1__ExtentsResponse reply = PSTORAGE__V1__EXTENTS_RESPONSE__INIT;
        Pstorage__V1__Extent extents[2], *pointers[2] = {&extents[0], &extents[1]};
        for (int i = 0; i < 2; i++) {
            pstorage__v1__extent__init(&extents[i]);
            extents[i].length_bytes = n->answer_short ? m->length : m->length / 2;
        }
        extents[0].kind = PSTORAGE__V1__EXTENT_KIND__EXTENT_KIND_DATA;
        extents[1].kind = PSTORAGE__V1__EXTENT_KIND__EXTENT_KIND_HOLE;
        reply.n_extents = 2;
        reply.extents = pointers;
        rpc_call_reply(call, &reply.base);
    }
    (void)pthread_mutex_unlock(&n->lock);
}

/* ---- status and events */

static void status_node(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fake_node *n = service;
    (void)message;
    (void)pthread_mutex_lock(&n->lock);
    if (!scripted(n, call, "GetNode")) {
        Pstorage__V1__GetNodeResponse reply = PSTORAGE__V1__GET_NODE_RESPONSE__INIT;
        Pstorage__V1__NodeStatus node = PSTORAGE__V1__NODE_STATUS__INIT;
        Pstorage__V1__PodStatus pod = PSTORAGE__V1__POD_STATUS__INIT, *pods[] = {&pod};
        Pstorage__V1__PodSpace space = PSTORAGE__V1__POD_SPACE__INIT;
        char name[] = "fake", pod_name[] = "default", software[] = "9.9";
        node.name = name;
        node.software = software;
        space.capacity_bytes = 1000;
        pod.name = pod_name;
        pod.state = PSTORAGE__V1__POD_STATE__POD_STATE_ONLINE;
        pod.space = &space;
        reply.node = &node;
        reply.n_pods = 1;
        reply.pods = pods;
        rpc_call_reply(call, &reply.base);
    }
    (void)pthread_mutex_unlock(&n->lock);
}

static void fill_event(struct fake_node *n, uint64_t cursor, Pstorage__V1__Event *e)
{
    pstorage__v1__event__init(e);
    e->cursor = cursor;
    e->kind = n->events[cursor - 1];
}

static void events_list(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fake_node *n = service;
    const Pstorage__V1__ListEventsRequest *m = (const void *)message;
    (void)pthread_mutex_lock(&n->lock);
    if (!scripted(n, call, "ListEvents")) {
        Pstorage__V1__ListEventsResponse reply = PSTORAGE__V1__LIST_EVENTS_RESPONSE__INIT;
        Pstorage__V1__Event events[EVENTS], *pointers[EVENTS];
        for (uint64_t c = m->after_cursor + 1; c <= n->nevents && reply.n_events < m->limit; c++) {
            fill_event(n, c, &events[reply.n_events]);
            pointers[reply.n_events] = &events[reply.n_events];
            reply.n_events++;
        }
        reply.events = pointers;
        reply.last_cursor = n->nevents;
        rpc_call_reply(call, &reply.base);
    }
    (void)pthread_mutex_unlock(&n->lock);
}

static void send_events(struct fake_node *n)
{
    for (unsigned i = 0; i < FOLLOWERS; i++) {
        while (n->followers[i].call && n->followers[i].cursor < n->nevents) {
            Pstorage__V1__Event event;
            fill_event(n, ++n->followers[i].cursor, &event);
            (void)rpc_call_stream_send(n->followers[i].call, &event.base);
        }
    }
}

static void unfollow(struct rpc_call *call)
{
    struct fake_node *n = rpc_call_user(call);
    for (unsigned i = 0; i < FOLLOWERS; i++)
        if (n->followers[i].call == call)
            n->followers[i].call = NULL;
    rpc_call_fail(call, PS_ECANCELLED, NULL);
}

static void events_follow(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct fake_node *n = service;
    const Pstorage__V1__FollowEventsRequest *m = (const void *)message;
    (void)pthread_mutex_lock(&n->lock);
    if (!scripted(n, call, "Follow")) {
        unsigned i = 0;
        while (n->followers[i].call)
            i++;
        assert(i < FOLLOWERS);
        n->followers[i].call = call;
        n->followers[i].cursor = m->after_cursor;
        rpc_call_set_user(call, n);
        rpc_call_watch(call, unfollow, NULL);
        send_events(n);
    }
    (void)pthread_mutex_unlock(&n->lock);
}

/* ---- life */

static const struct rpc_method volume_methods[] = {{"Get", volume_get, false, false},
                                                   {"Create", volume_create, false, false},
                                                   {"List", volume_list, false, false}};
static const struct rpc_method io_methods[] = {
    {"Open", io_open, false, false},      {"Close", io_close, false, false},
    {"Read", io_read, false, false},      {"Write", io_write, true, false},
    {"Flush", io_flush, false, false},    {"WriteZeroes", io_write_zeroes, false, false},
    {"Extents", io_extents, false, false}};
static const struct rpc_method status_methods[] = {{"GetNode", status_node, false, false}};
static const struct rpc_method event_methods[] = {{"List", events_list, false, false},
                                                  {"Follow", events_follow, false, true}};
#define SERVICE(descriptor, methods)                                                                         \
    {                                                                                                        \
        &descriptor, methods, sizeof methods / sizeof methods[0], NULL                                       \
    }
static const struct rpc_service services[] = {
    SERVICE(pstorage__v1__volumes__descriptor, volume_methods),
    SERVICE(pstorage__v1__block_io__descriptor, io_methods),
    SERVICE(pstorage__v1__status__descriptor, status_methods),
    SERVICE(pstorage__v1__events__descriptor, event_methods),
};

static void transport_closed(void *user)
{
    struct fake_node *n = user;
    uv_close((uv_handle_t *)&n->wake, NULL);
}

static void server_closed(void *user)
{
    struct fake_node *n = user;
    rpc_transport_nng_close(n->transport, transport_closed, n);
}

static void on_wake(uv_async_t *wake)
{
    struct fake_node *n = wake->data;
    (void)pthread_mutex_lock(&n->lock);
    const bool stop = n->stop && !n->stopping;
    n->stopping |= stop;
    send_events(n);
    (void)pthread_mutex_unlock(&n->lock);
    if (stop)
        rpc_server_close(n->server, server_closed, n);
}

static void *thread_main(void *user)
{
    struct fake_node *n = user;
    const struct rpc_server_config config = {
        .identity = {.name = "fake", .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE, .cluster_id = "fakes"},
        .keys = &n->keys};
    struct ps_error err = {0};
    int rc = uv_loop_init(&n->loop);
    assert(rc == 0);
    n->wake.data = n;
    rc = uv_async_init(&n->loop, &n->wake, on_wake);
    assert(rc == 0);
    rc = rpc_transport_nng_create(&n->loop, &n->transport);
    assert(rc == 0);
    rpc_server_create(n->transport, &config, &n->server);
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
        rpc_server_register(n->server, &services[i], n);
    rc = rpc_server_listen(n->server, n->endpoint, &err);
    if (rc) {
        (void)fprintf(stderr, "%s\n", err.detail);
        abort();
    }
    uv_sem_post(&n->started);
    (void)uv_run(&n->loop, UV_RUN_DEFAULT);
    rc = uv_loop_close(&n->loop);
    assert(rc == 0);
    return NULL;
}

struct fake_node *fake_node_create(void)
{
    struct fake_node *n = calloc(1, sizeof *n);
    assert(n);
    n->data = calloc(1, FAKE_VOLUME_BYTES);
    n->id = 7;
    n->page_max = 16;
    (void)pthread_mutex_init(&n->lock, NULL);
    (void)pthread_cond_init(&n->changed, NULL);
    (void)uv_sem_init(&n->started, 0);
    return n;
}

void fake_node_start(struct fake_node *n, const char *endpoint)
{
    (void)snprintf(n->endpoint, sizeof n->endpoint, "%s", endpoint);
    n->stop = n->stopping = false;
    const int rc = pthread_create(&n->thread, NULL, thread_main, n);
    assert(rc == 0);
    uv_sem_wait(&n->started);
    n->running = true; /* the tests' thread asks */
}

void fake_node_set_key(struct fake_node *n, const char *key)
{
    assert(!n->running);
    rpc_keys_clear(&n->keys);
    const int rc = key ? rpc_keys_add(&n->keys, "", key, strlen(key), NULL) : 0;
    assert(rc == 0);
}

void fake_node_stop(struct fake_node *n)
{
    (void)pthread_mutex_lock(&n->lock);
    n->stop = true;
    (void)pthread_mutex_unlock(&n->lock);
    (void)uv_async_send(&n->wake);
    (void)pthread_join(n->thread, NULL);
    n->running = false;
}

void fake_node_destroy(struct fake_node *n)
{
    uv_sem_destroy(&n->started);
    (void)pthread_mutex_destroy(&n->lock);
    (void)pthread_cond_destroy(&n->changed);
    rpc_keys_clear(&n->keys);
    free(n->data);
    free(n);
}

/* ---- for the tests */

void fake_node_next(struct fake_node *n, const char *method, enum fake_act act, int status)
{
    (void)pthread_mutex_lock(&n->lock);
    const unsigned i = method_index(n, method);
    n->methods[i].act = act;
    n->methods[i].status = status;
    (void)pthread_mutex_unlock(&n->lock);
}

unsigned fake_node_calls(struct fake_node *n, const char *method)
{
    (void)pthread_mutex_lock(&n->lock);
    const unsigned calls = n->methods[method_index(n, method)].calls;
    (void)pthread_mutex_unlock(&n->lock);
    return calls;
}

void fake_node_await(struct fake_node *n, const char *method, unsigned count)
{
    (void)pthread_mutex_lock(&n->lock);
    const unsigned i = method_index(n, method);
    while (n->methods[i].calls < count)
        (void)pthread_cond_wait(&n->changed, &n->lock);
    (void)pthread_mutex_unlock(&n->lock);
}

void fake_node_set_volume(struct fake_node *n, uint64_t id, bool write_cache)
{
    (void)pthread_mutex_lock(&n->lock);
    n->id = id;
    n->write_cache = write_cache;
    (void)pthread_mutex_unlock(&n->lock);
}

void fake_node_set_listed(struct fake_node *n, unsigned volumes, unsigned page_max)
{
    (void)pthread_mutex_lock(&n->lock);
    n->listed = volumes;
    n->page_max = page_max;
    (void)pthread_mutex_unlock(&n->lock);
}

void fake_node_add_event(struct fake_node *n, const char *kind)
{
    (void)pthread_mutex_lock(&n->lock);
    assert(n->nevents < EVENTS);
    (void)snprintf(n->events[n->nevents++], sizeof n->events[0], "%s", kind);
    (void)pthread_mutex_unlock(&n->lock);
    if (n->running)
        (void)uv_async_send(&n->wake);
}

unsigned fake_node_created(struct fake_node *n)
{
    (void)pthread_mutex_lock(&n->lock);
    const unsigned created = n->ncreated;
    (void)pthread_mutex_unlock(&n->lock);
    return created;
}

unsigned char *fake_node_data(struct fake_node *n)
{
    return n->data;
}
