/* The RPC services on a pod in memory, for tests of clients with real programs
 * and for measuring clients alone.
 *
 *   rpc_fake_server ENDPOINT
 *
 * Prints "listening ENDPOINT" when it is ready; stops cleanly at SIGTERM. */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "common/clock.h"
#include "common/rpc/server.h"
#include "common/rpc/transport_nng.h"
#include "node/host/reactor_uv.h"
#include "node/host/services.h"
#include "tests/support/pod_fake.h"

enum {
    EVENTS_KEPT = 1024
};

static struct pod *pod;
static struct rpc_transport *transport;
static struct rpc_server *server;
static struct services *services;
static struct reactor *reactor;

static uint64_t turn_pod(void *user, uint64_t now_ns)
{
    return pod_turn(user, now_ns);
}

static uv_signal_t term;

/* ---- events: the last ones, in a ring */

static struct event ring[EVENTS_KEPT];
static uint64_t newest;
static struct event_source source;
static struct event_query *asked[64];
static unsigned nasked;
static uv_idle_t answering;

static void answer_queries(uv_idle_t *idle)
{
    (void)uv_idle_stop(idle);
    for (unsigned i = 0; i < nasked; i++) {
        struct event_query *q = asked[i];
        uint64_t at = q->after_cursor < newest ? q->after_cursor + 1 : newest + 1;
        if (newest > EVENTS_KEPT && at <= newest - EVENTS_KEPT)
            at = newest - EVENTS_KEPT + 1;
        for (q->count = 0; q->count < q->max && at <= newest; at++)
            q->events[q->count++] = ring[at % EVENTS_KEPT];
        q->last_cursor = newest;
    }
    const unsigned n = nasked;
    struct event_query *now[64];
    memcpy(now, asked, sizeof now);
    nasked = 0; /* callbacks may ask again */
    for (unsigned i = 0; i < n; i++)
        now[i]->cb(now[i], 0);
}

static int list_events(struct event_source *s, struct event_query *query)
{
    (void)s;
    if (nasked == 64)
        return PS_ELIMIT;
    asked[nasked++] = query;
    return uv_idle_start(&answering, answer_queries);
}

static void on_event(void *user, const char *kind, uint64_t image_id, const char *text)
{
    (void)user;
    struct event *e = &ring[++newest % EVENTS_KEPT];
    *e = (struct event){
        .cursor = newest, .time_unix_ns = clock_unix_ns(), .image_id = image_id, .pod = "default"};
    (void)snprintf(e->kind, sizeof e->kind, "%s", kind);
    (void)snprintf(e->text, sizeof e->text, "%s", text);
    event_source_changed(&source);
}

/* ---- the end: server, services, transport, pod, loop */

static void on_pod_closed(void *user)
{
    (void)user;
    reactor_set_turn(reactor, NULL, NULL);
    reactor_close(reactor, NULL, NULL);
}

static void on_transport_closed(void *user)
{
    (void)user;
    pod_close(pod, on_pod_closed, NULL);
}

static void on_server_closed(void *user)
{
    (void)user;
    services_destroy(services);
    uv_close((uv_handle_t *)&answering, NULL);
    rpc_transport_nng_close(transport, on_transport_closed, NULL);
}

static void on_term(uv_signal_t *handle, int number)
{
    (void)number;
    uv_close((uv_handle_t *)handle, NULL);
    rpc_server_close(server, on_server_closed, NULL);
}

static void on_log(void *user, const char *line)
{
    (void)user;
    (void)fprintf(stderr, "%s\n", line);
}

static uint64_t now_unix_ns(void *user)
{
    (void)user;
    return clock_unix_ns();
}

static void on_pod_open(void *user, int status, struct pod *opened)
{
    (void)user;
    (void)opened;
    assert(status == 0);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: %s ENDPOINT\n", argv[0]);
        return 2;
    }
    uv_loop_t *loop = uv_default_loop();
    const struct pod_config pod_config = {
        .name = "default", .dedupe = true, .compression = true, .event = on_event};
    const struct rpc_server_config rpc_config = {
        .identity = {.name = "fake", .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE}, .log = on_log};
    struct ps_error err = {0};
    event_source_init(&source, list_events);
    int rc = pod_open(NULL, &pod_config, POD_FORMAT_BLANK, on_pod_open, NULL, &err, &pod);
    assert(rc == 0);
    (void)pod_turn(pod, 0);
    (void)uv_idle_init(loop, &answering);
    rc = rpc_transport_nng_create(loop, &transport);
    assert(rc == 0);
    rpc_server_create(transport, &rpc_config, &server);
    const struct services_config config = {
        .pod = pod,
        .pod_name = "default",
        .node_name = "fake",
        .started_unix_ns = clock_unix_ns(),
        .now_unix_ns = now_unix_ns,
        .events = &source,
    };
    rc = services_create(server, &config, &services);
    assert(rc == 0);
    rc = rpc_server_listen(server, argv[1], &err);
    if (rc) {
        (void)fprintf(stderr, "%s\n", err.detail);
        return 1;
    }
    rc = reactor_create(loop, &reactor);
    assert(rc == 0);
    reactor_set_turn(reactor, turn_pod, pod);
    (void)uv_signal_init(loop, &term);
    (void)uv_signal_start(&term, on_term, SIGTERM);
    (void)printf("listening %s\n", rpc_server_address(server, 0));
    (void)fflush(stdout);
    (void)uv_run(loop, UV_RUN_DEFAULT);
    pod_destroy(pod);
    rc = uv_loop_close(loop);
    assert(rc == 0);
    rpc_transport_nng_finish();
    return 0;
}
