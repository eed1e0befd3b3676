#include "tests/support/hosts_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <assert.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/container.h"

struct hosts *hosts;
unsigned hosts_order[64], hosts_ordered;
int hosts_images_open;

uint64_t hosts_now_ms(void)
{
    return rpc_mem_now(hosts->net) / MS;
}

void hosts_run(unsigned ms)
{
    for (unsigned i = 0; i < 2 * ms; i++) {
        rpc_mem_run(hosts->net, rpc_mem_now(hosts->net) + MS / 2);
        for (int n = 0; n < 2; n++)
            (void)pod_turn(hosts->nodes[n].pod, rpc_mem_now(hosts->net));
    }
}

/* ---- nodes */

static bool gate_is_open(void *user)
{
    const struct hosts_node *n = user;
    return n->w->leader == n->index;
}

static int gate_refusal(void *user, struct ps_error *err)
{
    (void)user;
    return ps_error_set(err, PS_ENOTPRIMARY, "not primary: somebody else is");
}

static bool gate_primary(void *user, struct primary_place *out)
{
    const struct hosts_node *n = user;
    if (n->w->leader == NOBODY || n->w->leader == n->index)
        return false;
    *out = (struct primary_place){n->w->nodes[n->w->leader].name, n->w->nodes[n->w->leader].address};
    return true;
}

static void nothing(void *user)
{
    (void)user;
}

static void on_broken(void *user)
{
    ((struct hosts_node *)user)->broken++;
}

static int no_events(struct event_source *source, struct event_query *query)
{
    (void)source;
    (void)query;
    return PS_EUNAVAILABLE;
}

static uint64_t now_of(void *user)
{
    (void)user;
    return rpc_mem_now(hosts->net) + 1000000 * MS; /* a clock of its own */
}

static uint64_t awake_of(void *user)
{
    return rpc_mem_now(hosts->net) + ((struct hosts_node *)user)->slept_ns;
}

static void on_line(void *user, const char *line)
{
    struct hosts_node *n = user;
    n->lines++;
    (void)snprintf(n->line, sizeof n->line, "%s", line);
}

void hosts_serve(struct hosts_node *n)
{
    const struct rpc_server_config server = {
        .identity = {.name = n->name, .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE, .cluster_id = "c"}};
    const struct services_config services = {.pod = n->pod,
                                             .pod_name = "default",
                                             .node_name = n->name,
                                             .now_unix_ns = now_of,
                                             .now_ns = now_of,
                                             .events = &n->events,
                                             .gate = &n->gate,
                                             .images = n->images};
    assert(rpc_server_create(n->transport, &server, &n->server) == 0);
    assert(services_create(n->server, &services, &n->services) == 0);
    assert(rpc_server_listen(n->server, n->address, NULL) == 0);
}

void hosts_set(void *user)
{
    *(bool *)user = true;
}

void hosts_stop_serving(struct hosts_node *n)
{
    bool closed = false;
    rpc_server_close(n->server, hosts_set, &closed);
    hosts_run(50);
    assert(closed);
    services_destroy(n->services);
    n->server = NULL;
}

static void node_start(struct hosts *w, int index)
{
    struct hosts_node *n = &w->nodes[index];
    n->w = w;
    n->index = index;
    (void)snprintf(n->name, sizeof n->name, "n%d", index + 1);
    (void)snprintf(n->address, sizeof n->address, "mem://n%d", index + 1);
    n->transport = rpc_mem_transport_create(w->net, n->name);
    n->pod = pod_fake_create();
    pod_fake_volume(n->pod, "v", 64 * MIB);
    pod_fake_volume(n->pod, "s", 4 * MIB);
    pod_fake_snapshot(n->pod, "s@1");
    pod_fake_lead(n->pod, false);
    n->gate = (struct primary_gate){
        .is_open = gate_is_open, .refusal = gate_refusal, .primary = gate_primary, .user = n};
    event_source_init(&n->events, no_events);
    const struct host_images_config images = {.pod = n->pod,
                                              .gate = &n->gate,
                                              .transport = n->transport,
                                              .node_name = n->name,
                                              .cluster_name = "c",
                                              .now_ns = awake_of,
                                              .refusal_is_end = !w->doubt,
                                              .wake = nothing,
                                              .broken = on_broken,
                                              .log = on_line,
                                              .user = n};
    assert(host_images_create(&images, &n->images) == 0);
    hosts_serve(n);
}

void hosts_lead(int leader)
{
    hosts->leader = leader;
    for (int n = 0; n < 2; n++) {
        pod_fake_lead(hosts->nodes[n].pod, n == leader);
        host_images_news(hosts->nodes[n].images);
    }
}

static int setup_world(bool doubt)
{
    const struct rpc_mem_config net = {.latency_ns = MS / 10};
    hosts = calloc(1, sizeof *hosts);
    hosts->doubt = doubt;
    hosts->net = rpc_mem_net_create(&net);
    for (int n = 0; n < 2; n++)
        node_start(hosts, n);
    hosts_lead(0);
    hosts_ordered = 0;
    hosts_images_open = 0;
    return 0;
}

int hosts_setup(void **state)
{
    (void)state;
    return setup_world(false);
}

int hosts_setup_doubt(void **state)
{
    (void)state;
    return setup_world(true);
}

int hosts_teardown(void **state)
{
    bool closed[2] = {false, false};
    (void)state;
    if (hosts_images_open != 0) /* the test has failed */
        return 0;
    for (int n = 0; n < 2; n++)
        host_images_close(hosts->nodes[n].images, hosts_set, &closed[n]);
    hosts_run(50);
    assert(closed[0] && closed[1]);
    for (int n = 0; n < 2; n++)
        if (hosts->nodes[n].server)
            hosts_stop_serving(&hosts->nodes[n]);
    for (int n = 0; n < 2; n++) {
        struct hosts_node *node = &hosts->nodes[n];
        pod_destroy(node->pod);
        rpc_mem_transport_destroy(node->transport);
    }
    rpc_mem_net_destroy(hosts->net);
    free(hosts);
    return 0;
}

/* ---- hosts */

void hosts_close_image(struct host_image *image)
{
    hosts_images_open--;
    host_image_close(image);
}

void hosts_opened(void *user, int status, const char *detail)
{
    struct hosts_opening *o = user;
    o->done = true;
    o->status = status;
    (void)snprintf(o->detail, sizeof o->detail, "%s", detail);
}

struct host_image *hosts_open_at(int n, const char *name)
{
    struct hosts_node *node = &hosts->nodes[n];
    struct host_image *image;
    struct hosts_opening o = {0};
    const int rc = host_image_open(node->images, node->pod, name, false, &image, hosts_opened, &o, NULL);
    assert_true(rc >= 0);
    hosts_images_open++;
    assert_false(o.done);
    if (rc == 0)
        return image;
    hosts_run(20);
    assert_true(o.done);
    assert_int_equal(o.status, 0);
    return image;
}

void hosts_done(struct pod_io *io, int status)
{
    struct hosts_ask *a = container_of(io, struct hosts_ask, io);
    if (status && host_image_again(a->image, io, status))
        return;
    assert_false(a->done);
    a->done = true;
    a->status = status;
    a->ended_ms = hosts_now_ms();
    if (hosts_ordered < 64)
        hosts_order[hosts_ordered++] = (unsigned)(io->offset / 4096);
}

int hosts_submit(struct host_image *image, struct hosts_ask *a, enum pod_io_op op, uint64_t offset,
                 uint64_t length, void *buf)
{
    *a = (struct hosts_ask){.image = image, .io = {.op = op, .offset = offset, .length = length, .buf = buf}};
    return host_image_submit(image, &a->io, hosts_done);
}

int hosts_ask(struct host_image *image, enum pod_io_op op, uint64_t offset, uint64_t length, void *buf)
{
    struct hosts_ask a;
    const int rc = hosts_submit(image, &a, op, offset, length, buf);
    for (unsigned i = 0; i < 4000 && !rc && !a.done; i++)
        hosts_run(1);
    assert_true(rc || a.done);
    return rc ? rc : a.status;
}

uint8_t *hosts_noise(size_t bytes)
{
    static uint32_t x = 7;
    uint8_t *data = malloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
    return data;
}

uint64_t hosts_count(int n, enum pod_io_op op)
{
    return pod_fake_count(hosts->nodes[n].pod, op);
}
