/* Hosts' images on two nodes that pass requests on to each other: the real services and links over streams in
 * memory, on virtual time, above a pod in memory each. The two pods know nothing of each other, so what a
 * request did tells where it went. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <assert.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/transport_mem.h"
#include "node/host/services.h"
#include "pstorage/v1/block_io.pb-c.h"
#include "tests/support/pod_fake.h"

#define MS  1000000ull
#define MIB (1ull << 20)

enum {
    NOBODY = -1
};

struct node {
    struct world *w;
    int index;
    char name[8], address[16];
    struct rpc_transport *transport;
    struct pod *pod; /* "v" of 64 MiB, "s", "s@1" */
    struct primary_gate gate;
    struct host_images *images;
    struct rpc_server *server;
    struct services *services;
    struct event_source events;
    uint64_t slept_ns; /* which the transport's clock does not count */
    unsigned broken, lines;
    char line[256]; /* the last one of the log */
};

struct world {
    struct rpc_mem_net *net;
    struct node nodes[2];
    int leader; /* as both know */
    bool doubt; /* of refusals: PSTORAGE_FAST_FAILOVER=false */
};

/* A request of a test. */
struct ask {
    struct pod_io io;
    struct host_image *image;
    bool done;
    int status;
    uint64_t ended_ms;
};

static struct world *world;
static unsigned order[64], norder;
static int open_images;

static uint64_t now_ms(void)
{
    return rpc_mem_now(world->net) / MS;
}

static void run(unsigned ms)
{
    for (unsigned i = 0; i < 2 * ms; i++) {
        rpc_mem_run(world->net, rpc_mem_now(world->net) + MS / 2);
        for (int n = 0; n < 2; n++)
            (void)pod_turn(world->nodes[n].pod, rpc_mem_now(world->net));
    }
}

/* ---- nodes */

static bool gate_is_open(void *user)
{
    const struct node *n = user;
    return n->w->leader == n->index;
}

static int gate_refusal(void *user, struct ps_error *err)
{
    (void)user;
    return ps_error_set(err, PS_ENOTPRIMARY, "not primary: somebody else is");
}

static bool gate_primary(void *user, struct primary_place *out)
{
    const struct node *n = user;
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
    ((struct node *)user)->broken++;
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
    return rpc_mem_now(world->net) + 1000000 * MS; /* a clock of its own */
}

static uint64_t awake_of(void *user)
{
    return rpc_mem_now(world->net) + ((struct node *)user)->slept_ns;
}

static void on_line(void *user, const char *line)
{
    struct node *n = user;
    n->lines++;
    (void)snprintf(n->line, sizeof n->line, "%s", line);
}

static void serve(struct node *n)
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

static void set(void *user)
{
    *(bool *)user = true;
}

static void stop_serving(struct node *n)
{
    bool closed = false;
    rpc_server_close(n->server, set, &closed);
    run(50);
    assert(closed);
    services_destroy(n->services);
    n->server = NULL;
}

static void node_start(struct world *w, int index)
{
    struct node *n = &w->nodes[index];
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
    serve(n);
}

static void lead(int leader)
{
    world->leader = leader;
    for (int n = 0; n < 2; n++) {
        pod_fake_lead(world->nodes[n].pod, n == leader);
        host_images_news(world->nodes[n].images);
    }
}

static int setup_world(bool doubt)
{
    const struct rpc_mem_config net = {.latency_ns = MS / 10};
    world = calloc(1, sizeof *world);
    world->doubt = doubt;
    world->net = rpc_mem_net_create(&net);
    for (int n = 0; n < 2; n++)
        node_start(world, n);
    lead(0);
    norder = 0;
    open_images = 0;
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_world(false);
}

static int setup_doubt(void **state)
{
    (void)state;
    return setup_world(true);
}

static int teardown(void **state)
{
    bool closed[2] = {false, false};
    (void)state;
    if (open_images != 0) /* the test has failed */
        return 0;
    for (int n = 0; n < 2; n++)
        host_images_close(world->nodes[n].images, set, &closed[n]);
    run(50);
    assert(closed[0] && closed[1]);
    for (int n = 0; n < 2; n++)
        if (world->nodes[n].server)
            stop_serving(&world->nodes[n]);
    for (int n = 0; n < 2; n++) {
        struct node *node = &world->nodes[n];
        pod_destroy(node->pod);
        rpc_mem_transport_destroy(node->transport);
    }
    rpc_mem_net_destroy(world->net);
    free(world);
    return 0;
}

/* ---- hosts */

static void close_image(struct host_image *image)
{
    open_images--;
    host_image_close(image);
}

struct opening {
    bool done;
    int status;
    char detail[256];
};

static void on_opened(void *user, int status, const char *detail)
{
    struct opening *o = user;
    o->done = true;
    o->status = status;
    (void)snprintf(o->detail, sizeof o->detail, "%s", detail);
}

static struct host_image *open_at(int n, const char *name)
{
    struct node *node = &world->nodes[n];
    struct host_image *image;
    struct opening o = {0};
    const int rc = host_image_open(node->images, node->pod, name, false, &image, on_opened, &o, NULL);
    assert_true(rc >= 0);
    open_images++;
    assert_false(o.done);
    if (rc == 0)
        return image;
    run(20);
    assert_true(o.done);
    assert_int_equal(o.status, 0);
    return image;
}

static void on_done(struct pod_io *io, int status)
{
    struct ask *a = container_of(io, struct ask, io);
    if (status && host_image_again(a->image, io, status))
        return;
    assert_false(a->done);
    a->done = true;
    a->status = status;
    a->ended_ms = now_ms();
    if (norder < 64)
        order[norder++] = (unsigned)(io->offset / 4096);
}

static int submit(struct host_image *image, struct ask *a, enum pod_io_op op, uint64_t offset,
                  uint64_t length, void *buf)
{
    *a = (struct ask){.image = image, .io = {.op = op, .offset = offset, .length = length, .buf = buf}};
    return host_image_submit(image, &a->io, on_done);
}

static int ask(struct host_image *image, enum pod_io_op op, uint64_t offset, uint64_t length, void *buf)
{
    struct ask a;
    const int rc = submit(image, &a, op, offset, length, buf);
    for (unsigned i = 0; i < 4000 && !rc && !a.done; i++)
        run(1);
    assert_true(rc || a.done);
    return rc ? rc : a.status;
}

static uint8_t *noise(size_t bytes)
{
    static uint32_t x = 7;
    uint8_t *data = malloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
    return data;
}

static uint64_t count(int n, enum pod_io_op op)
{
    return pod_fake_count(world->nodes[n].pod, op);
}

/* ---- tests */

static void what_a_host_asks_of_another_node_is_done_at_the_primary(void **state)
{
    (void)state;
    struct host_image *image = open_at(1, "v");
    struct pod_image_info info;
    uint8_t *data = noise(64 * 1024), *back = malloc(64 * 1024);
    assert_int_equal(host_image_info(image, &info), 0);
    assert_string_equal(info.name, "v");
    assert_true(info.size_bytes == 64 * MIB && info.kind == POD_VOLUME);

    assert_int_equal(ask(image, POD_WRITE, 4096, 64 * 1024, data), 0);
    assert_int_equal(ask(image, POD_READ, 4096, 64 * 1024, back), 0);
    assert_memory_equal(data, back, 64 * 1024);
    assert_int_equal(ask(image, POD_TRIM, 8192, 4096, NULL), 0);
    assert_int_equal(ask(image, POD_WRITE_ZERO, 12288, 4096, NULL), 0);
    assert_int_equal(ask(image, POD_FLUSH, 0, 0, NULL), 0);
    assert_int_equal(ask(image, POD_PREFETCH, 0, 4096, NULL), 0);
    struct pod_extent extents[8];
    struct ask a = {.image = image,
                    .io = {.op = POD_EXTENTS, .length = 1 << 20, .extents = extents, .max_extents = 8}};
    assert_int_equal(host_image_submit(image, &a.io, on_done), 0);
    run(20);
    assert_true(a.done && a.status == 0);
    assert_int_equal(a.io.nextents, 5);
    assert_true(extents[0].kind == POD_EXTENT_HOLE && extents[0].length_bytes == 4096);
    assert_true(extents[1].kind == POD_EXTENT_DATA && extents[2].kind == POD_EXTENT_HOLE);
    for (enum pod_io_op op = POD_READ; op <= POD_FLUSH; op++) {
        assert_int_equal(count(0, op), 1);
        assert_int_equal(count(1, op), 0);
    }
    close_image(image);
    free(data);
    free(back);
}

static void the_primarys_refusals_are_the_hosts(void **state)
{
    (void)state;
    uint8_t *data = noise(8192);
    struct host_image *v = open_at(1, "v"), *snapshot = open_at(1, "s@1");
    assert_int_equal(ask(v, POD_READ, 64 * MIB, 4096, data), PS_ERANGE);
    assert_int_equal(ask(snapshot, POD_WRITE, 0, 4096, data), PS_EREADONLY);
    assert_int_equal(ask(snapshot, POD_READ, 0, 4096, data), 0);
    pod_fake_set_capacity(world->nodes[0].pod, 0);
    assert_int_equal(ask(v, POD_WRITE, 0, 4096, data), PS_EFULL);
    pod_fake_fail_next(world->nodes[0].pod, PS_EDATALOSS);
    assert_int_equal(ask(v, POD_READ, 0, 4096, data), PS_EDATALOSS);
    struct opening o = {0};
    struct host_image *none;
    assert_int_equal(
        host_image_open(world->nodes[1].images, world->nodes[1].pod, "no", false, &none, on_opened, &o, NULL),
        HOST_IMAGE_WAITS);
    open_images++;
    run(20);
    assert_true(o.done && o.status == PS_ENOTFOUND);
    close_image(none);
    close_image(v);
    close_image(snapshot);
    free(data);
}

static void the_longest_request_goes_in_pieces(void **state)
{
    (void)state;
    struct host_image *image = open_at(1, "v");
    uint8_t *data = noise(POD_MAX_IO_BYTES), *back = malloc(POD_MAX_IO_BYTES);
    assert_int_equal(ask(image, POD_WRITE, 512, POD_MAX_IO_BYTES, data), 0);
    assert_int_equal(count(0, POD_WRITE), POD_MAX_IO_BYTES / RPC_PAYLOAD_MAX);
    assert_int_equal(ask(image, POD_READ, 512, POD_MAX_IO_BYTES, back), 0);
    assert_memory_equal(data, back, POD_MAX_IO_BYTES);
    close_image(image);
    free(data);
    free(back);
}

static void what_is_on_its_way_is_bounded_and_all_of_it_arrives(void **state)
{
    (void)state;
    enum {
        N = 300
    };
    struct host_image *image = open_at(1, "v");
    struct ask *many = calloc(N, sizeof *many);
    uint8_t *data = noise(128 * 1024);
    pod_fake_hold(world->nodes[0].pod, true);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(submit(image, &many[i], POD_WRITE, i * 4096ull, 4096, data), 0);
    run(50);
    assert_int_equal(pod_fake_in_flight(world->nodes[0].pod), 128);
    pod_fake_hold(world->nodes[0].pod, false);
    run(200);
    for (unsigned i = 0; i < N; i++)
        assert_true(many[i].done && many[i].status == 0);
    pod_fake_hold(world->nodes[0].pod, true);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(submit(image, &many[i], POD_WRITE, i * 128 * 1024ull, 128 * 1024, data), 0);
    run(50);
    assert_int_equal(pod_fake_in_flight(world->nodes[0].pod), 48); /* 6 MiB */
    pod_fake_hold(world->nodes[0].pod, false);
    run(400);
    for (unsigned i = 0; i < N; i++)
        assert_true(many[i].done && many[i].status == 0);
    close_image(image);
    free(many);
    free(data);
}

/* As much as may be on its way, in sizes that take twice as much there. */
static void a_primary_that_stalls_with_all_it_takes_is_not_taken_for_silent(void **state)
{
    (void)state;
    enum {
        N = 200
    };
    struct host_image *image = open_at(1, "v");
    struct ask *many = calloc(N, sizeof *many);
    uint8_t *data = noise(256 * 1024);
    for (unsigned length = 66 * 1024; length <= 256 * 1024; length += 190 * 1024) {
        pod_fake_hold(world->nodes[0].pod, true);
        for (unsigned i = 0; i < N; i++)
            assert_int_equal(submit(image, &many[i], POD_WRITE, i * 256 * 1024ull, length, data), 0);
        run(5000);
        pod_fake_hold(world->nodes[0].pod, false);
        run(1000);
        for (unsigned i = 0; i < N; i++)
            assert_true(many[i].done && (many[i].status == 0 || many[i].status == PS_ENOTPRIMARY));
        assert_int_equal(many[0].status, 0);
    }
    close_image(image);
    free(many);
    free(data);
}

static void what_was_given_up_counts_until_the_primary_has_ended_it(void **state)
{
    (void)state;
    enum {
        N = 400
    };
    struct host_image *image = open_at(1, "v");
    struct ask *many = calloc(N, sizeof *many);
    uint8_t *data = noise(128 * 1024);
    for (unsigned large = 0; large < 2; large++) {
        const unsigned bound = large ? 48 : 128;
        pod_fake_hold(world->nodes[0].pod, true);
        for (unsigned round = 0; round < 4; round++) {
            for (unsigned i = 100 * round; i < 100 * (round + 1); i++)
                assert_int_equal(
                    submit(image, &many[i], POD_WRITE, i * 128 * 1024ull, large ? 128 * 1024 : 4096, data),
                    0);
            run(20);
            if (round == 3)
                continue;
            host_image_cancel_all(image);
            run(20);
        }
        assert_int_equal(pod_fake_in_flight(world->nodes[0].pod), bound);
        pod_fake_hold(world->nodes[0].pod, false);
        run(200);
        for (unsigned i = 0; i < N; i++)
            assert_true(many[i].done && many[i].status == (i < 300 ? PS_ECANCELLED : 0));
    }
    close_image(image);
    free(many);
    free(data);
}

static void requests_wait_two_and_a_half_seconds_for_a_primary_and_no_longer(void **state)
{
    (void)state;
    struct host_image *image = open_at(1, "v");
    uint8_t data[4096] = {1};
    struct ask a[3];
    lead(NOBODY);
    run(10);
    const uint64_t began = now_ms();
    assert_int_equal(submit(image, &a[0], POD_WRITE, 0, 4096, data), 0);
    assert_int_equal(submit(image, &a[1], POD_READ, 0, 4096, data), 0);
    run(1000);
    assert_int_equal(submit(image, &a[2], POD_FLUSH, 0, 0, NULL), 0);
    run(1490);
    assert_false(a[0].done || a[1].done);
    run(20);
    assert_true(a[0].done && a[1].done && !a[2].done);
    assert_int_equal(a[0].status, PS_ENOTPRIMARY);
    assert_int_equal(a[1].status, PS_ENOTPRIMARY);
    assert_in_range(a[0].ended_ms - began, 2500, 2510);
    lead(0); /* in time for the third */
    run(100);
    assert_true(a[2].done && a[2].status == 0);
    assert_int_equal(count(0, POD_WRITE), 0);
    close_image(image);
}

static void what_waits_goes_to_this_node_when_it_leads_in_order(void **state)
{
    (void)state;
    struct host_image *image = open_at(1, "v");
    uint8_t data[4096] = {1}, back[4096];
    struct ask a[4];
    lead(NOBODY);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(submit(image, &a[i], POD_WRITE, i * 4096, 4096, data), 0);
        run(100);
    }
    lead(1);
    run(20);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(a[i].done && a[i].status == 0);
        assert_int_equal(order[i], i);
    }
    assert_int_equal(count(1, POD_WRITE), 4);
    assert_int_equal(ask(image, POD_READ, 0, 4096, back), 0);
    assert_memory_equal(back, data, 4096);
    assert_int_equal(count(1, POD_READ), 1);
    close_image(image);
}

static void when_the_pod_is_handed_over_requests_follow_it_there_and_back(void **state)
{
    (void)state;
    struct host_image *image = open_at(0, "v");
    uint8_t data[4096] = {1}, back[4096];
    struct ask a[3];
    assert_int_equal(ask(image, POD_WRITE, 0, 4096, data), 0);
    for (int round = 0; round < 3; round++) {
        const int to = round % 2 == 0, from = !to;
        const uint64_t before = count(to, POD_WRITE);
        /* The former primary's pod has them, and has begun none. */
        pod_fake_hold(world->nodes[from].pod, true);
        assert_int_equal(submit(image, &a[0], POD_WRITE, 4096, 4096, data), 0);
        assert_int_equal(submit(image, &a[1], POD_READ, 4096, 4096, back), 0);
        assert_int_equal(submit(image, &a[2], POD_FLUSH, 0, 0, NULL), 0);
        run(5);
        lead(to);
        pod_fake_hold(world->nodes[from].pod, false);
        run(200);
        for (int i = 0; i < 3; i++)
            assert_true(a[i].done && a[i].status == 0);
        assert_int_equal(count(to, POD_WRITE), before + 1);
        assert_int_equal(back[0], 1);
    }
    close_image(image);
}

static void a_write_that_the_former_primary_may_have_done_is_not_sent_again(void **state)
{
    (void)state;
    struct host_image *far = open_at(1, "v"), *near = open_at(0, "v");
    uint8_t data[4096] = {1};
    pod_fake_fail_next(world->nodes[0].pod, PS_EUNAVAILABLE);
    assert_int_equal(ask(far, POD_WRITE, 0, 4096, data), PS_EUNAVAILABLE);
    pod_fake_fail_next(world->nodes[0].pod, PS_EUNAVAILABLE);
    assert_int_equal(ask(near, POD_WRITE, 0, 4096, data), PS_EUNAVAILABLE);
    assert_int_equal(count(0, POD_WRITE), 0);
    close_image(far);
    close_image(near);
}

static void
after_a_lost_connection_reads_are_asked_again_and_writes_end_when_they_can_do_no_harm(void **state)
{
    (void)state;
    struct host_image *image = open_at(1, "v");
    uint8_t data[4096] = {1}, back[4096];
    struct ask w, r, later;
    run(500);
    pod_fake_hold(world->nodes[0].pod, true);
    assert_int_equal(submit(image, &w, POD_WRITE, 0, 4096, data), 0);
    assert_int_equal(submit(image, &r, POD_READ, 4096, 4096, back), 0);
    run(5);
    const uint64_t broke = now_ms();
    rpc_mem_break(world->net, "n1", "n2");
    pod_fake_hold(world->nodes[0].pod, false);
    run(20);
    /* Behind what may still arrive by the old connection nothing is sent by the new one. */
    assert_int_equal(submit(image, &later, POD_WRITE, 0, 4096, data), 0);
    run(1500);
    assert_false(w.done || r.done || later.done);
    run(1000);
    assert_true(w.done && w.status == PS_EUNAVAILABLE);
    assert_in_range(w.ended_ms - broke, 1800, 2150);
    assert_true(r.done && r.status == 0);
    assert_true(later.done && later.status == 0);
    assert_int_equal(count(0, POD_READ), 2);
    close_image(image);
}

static void a_lost_write_ends_at_once_when_its_primary_is_dead_or_another_leads(void **state)
{
    (void)state;
    struct host_image *image = open_at(1, "v");
    uint8_t data[4096] = {1};
    struct ask w;
    for (int dead = 0; dead < 2; dead++) {
        pod_fake_hold(world->nodes[0].pod, true);
        assert_int_equal(submit(image, &w, POD_WRITE, 0, 4096, data), 0);
        run(5);
        if (dead) {
            /* Its host refuses, as after a kill. */
            rpc_mem_break(world->net, "n1", "n2");
            pod_fake_hold(world->nodes[0].pod, false);
            stop_serving(&world->nodes[0]);
        } else {
            rpc_mem_break(world->net, "n1", "n2");
            lead(1);
            pod_fake_hold(world->nodes[0].pod, false);
        }
        run(100);
        assert_true(w.done && w.status == PS_EUNAVAILABLE);
        if (!dead) {
            assert_int_equal(ask(image, POD_WRITE, 0, 4096, data), 0);
            assert_int_equal(count(1, POD_WRITE), 1);
            lead(0);
            run(50);
            assert_int_equal(ask(image, POD_WRITE, 0, 4096, data), 0);
        }
    }
    close_image(image);
}

static void where_a_refusal_proves_nothing_a_lost_write_ends_when_it_can_do_no_harm(void **state)
{
    (void)state;
    struct host_image *image = open_at(1, "v");
    uint8_t data[4096] = {1};
    struct ask w;
    run(500);
    pod_fake_hold(world->nodes[0].pod, true);
    assert_int_equal(submit(image, &w, POD_WRITE, 0, 4096, data), 0);
    run(5);
    const uint64_t broke = now_ms();
    rpc_mem_break(world->net, "n1", "n2");
    pod_fake_hold(world->nodes[0].pod, false);
    stop_serving(&world->nodes[0]);
    run(2500);
    assert_true(w.done && w.status == PS_EUNAVAILABLE);
    assert_in_range(w.ended_ms - broke, 1800, 2150);
    close_image(image);
}

static void a_primary_that_falls_silent_is_given_up(void **state)
{
    (void)state;
    struct host_image *image = open_at(1, "v");
    uint8_t data[4096] = {1}, back[4096];
    struct ask w, r;
    run(300);
    rpc_mem_cut(world->net, "n1", "n2", true);
    assert_int_equal(submit(image, &w, POD_WRITE, 0, 4096, data), 0);
    assert_int_equal(submit(image, &r, POD_READ, 0, 4096, back), 0);
    run(2700);
    assert_true(w.done && w.status == PS_EUNAVAILABLE);
    /* The host repeats it elsewhere, and writes something else then. */
    data[0] = 2;
    struct host_image *near = open_at(0, "v");
    assert_int_equal(ask(near, POD_WRITE, 0, 4096, data), 0);
    /* What was on its way arrives now, or never. */
    rpc_mem_cut(world->net, "n1", "n2", false);
    run(3000);
    assert_true(r.done);
    assert_int_equal(ask(near, POD_READ, 0, 4096, back), 0);
    assert_int_equal(back[0], 2);
    assert_int_equal(ask(image, POD_READ, 0, 4096, back), 0);
    assert_int_equal(back[0], 2);
    close_image(near);
    close_image(image);
}

static void a_broken_image_takes_nothing_until_it_is_opened_anew(void **state)
{
    (void)state;
    struct host_image *image = open_at(1, "v");
    uint8_t data[4096] = {1};
    struct ask w;
    lead(NOBODY);
    assert_int_equal(submit(image, &w, POD_WRITE, 0, 4096, data), 0);
    run(10);
    host_images_break(world->nodes[1].images);
    assert_int_equal(world->nodes[1].broken, 1);
    lead(0);
    run(50);
    assert_true(w.done && w.status == PS_ENOTPRIMARY);
    assert_int_equal(ask(image, POD_READ, 0, 4096, data), PS_ENOTPRIMARY);
    assert_int_equal(count(0, POD_WRITE), 0);
    close_image(image);
    image = open_at(1, "v");
    assert_int_equal(ask(image, POD_READ, 0, 4096, data), 0);
    close_image(image);
}

/* Whoever waited for it has given up, and has perhaps written elsewhere. */
static void what_waited_while_the_machine_slept_is_not_sent_any_more(void **state)
{
    (void)state;
    uint8_t data[4096] = {1};
    struct ask w, late;
    for (int linked = 0; linked < 2; linked++) {
        struct node *n = &world->nodes[1];
        struct host_image *image = open_at(1, "v");
        n->broken = 0;
        if (!linked) { /* no connection either */
            lead(1);
            run(50);
        }
        lead(NOBODY);
        run(50);
        assert_int_equal(submit(image, &w, POD_WRITE, 0, 4096, data), 0);
        run(300);
        n->slept_ns += 1900 * MS;
        run(300);
        assert_false(w.done);
        assert_int_equal(n->broken, 0);
        n->slept_ns += 2100 * MS;
        lead(0);
        run(50);
        assert_int_equal(n->broken, 1);
        assert_true(w.done && w.status == PS_ENOTPRIMARY);
        assert_int_equal(submit(image, &late, POD_WRITE, 0, 4096, data), PS_ENOTPRIMARY);
        assert_int_equal(count(0, POD_WRITE), 0);
        close_image(image);
        run(50);
    }
    /* When nothing waits, and nobody has an image open elsewhere, sleep does no harm. */
    world->nodes[1].slept_ns += 5000 * MS;
    struct host_image *image = open_at(1, "v");
    assert_int_equal(ask(image, POD_WRITE, 0, 4096, data), 0);
    close_image(image);
}

static void requests_that_are_given_up_end_soon_and_the_rest_goes_on(void **state)
{
    (void)state;
    struct host_image *image = open_at(1, "v");
    uint8_t data[4096] = {1};
    struct ask a[4];
    pod_fake_hold(world->nodes[0].pod, true);
    assert_int_equal(submit(image, &a[0], POD_WRITE, 0, 4096, data), 0);
    assert_int_equal(submit(image, &a[1], POD_WRITE, 4096, 4096, data), 0);
    run(5);
    host_image_cancel(image, &a[0].io);
    run(5);
    assert_true(a[0].done && a[0].status == PS_ECANCELLED && !a[1].done);
    pod_fake_hold(world->nodes[0].pod, false);
    run(20);
    assert_true(a[1].done && a[1].status == 0);
    lead(NOBODY);
    assert_int_equal(submit(image, &a[2], POD_WRITE, 0, 4096, data), 0);
    assert_int_equal(submit(image, &a[3], POD_WRITE, 4096, 4096, data), 0);
    host_image_cancel(image, &a[2].io);
    assert_false(a[2].done);
    run(5);
    assert_true(a[2].done && a[2].status == PS_ECANCELLED && !a[3].done);
    host_image_cancel_all(image);
    run(5);
    assert_true(a[3].done && a[3].status == PS_ECANCELLED);
    close_image(image);
}

static struct pod_image_info info_at(int n, const char *name)
{
    struct pod_image_info info = {0};
    (void)pod_image_by_name(world->nodes[n].pod, name, &info);
    return info;
}

/* ---- a primary whose answers make no sense */

static void nonsense_open(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    Pstorage__V1__OpenResponse response = PSTORAGE__V1__OPEN_RESPONSE__INIT;
    (void)message;
    ++*(int *)user;
    response.handle = 7; /* and no image */
    rpc_call_reply(call, &response.base);
}

static void nonsense_close(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pstorage__V1__IoResponse response = PSTORAGE__V1__IO_RESPONSE__INIT;
    assert_int_equal(((const Pstorage__V1__CloseRequest *)(const void *)message)->handle, 7);
    --*(int *)user;
    rpc_call_reply(call, &response.base);
}

static void nonsense_stamp(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    Pstorage__V1__StampResponse response = PSTORAGE__V1__STAMP_RESPONSE__INIT;
    (void)user;
    (void)message;
    response.stamp = 1;
    rpc_call_reply(call, &response.base);
}

static void an_answer_to_an_opening_that_makes_no_sense_leaves_nothing_open_there(void **state)
{
    static const struct rpc_method methods[] = {{.name = "Open", .handler = nonsense_open},
                                                {.name = "Close", .handler = nonsense_close},
                                                {.name = "Stamp", .handler = nonsense_stamp}};
    static const struct rpc_service service = {
        .descriptor = &pstorage__v1__block_io__descriptor, .methods = methods, .nmethods = 3};
    (void)state;
    const struct rpc_server_config config = {
        .identity = {.name = "n1", .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE, .cluster_id = "c"}};
    struct node *n = &world->nodes[0];
    struct host_image *image = open_at(1, "v"), *another;
    struct opening o = {0};
    struct rpc_server *server;
    uint8_t data[4096] = {1};
    struct ask w;
    int open = 0;
    bool closed = false;
    stop_serving(n);
    assert_int_equal(rpc_server_create(n->transport, &config, &server), 0);
    rpc_server_register(server, &service, &open);
    assert_int_equal(rpc_server_listen(server, n->address, NULL), 0);
    assert_int_equal(submit(image, &w, POD_WRITE, 0, 4096, data), 0);
    assert_int_equal(host_image_open(world->nodes[1].images, world->nodes[1].pod, "v", false, &another,
                                     on_opened, &o, NULL),
                     HOST_IMAGE_WAITS);
    run(3000);
    assert_true(w.done && w.status == PS_ENOTPRIMARY);
    assert_true(o.done && o.status == PS_EPROTOCOL);
    assert_int_equal(open, 0);
    open_images++;
    close_image(another);
    close_image(image);
    rpc_server_close(server, set, &closed);
    run(50);
    assert_true(closed);
}

/* Its address has been given to another node, and is given back. */
static void at_the_primarys_address_another_node_is_not_spoken_with(void **state)
{
    (void)state;
    struct rpc_server_stats stats;
    struct node *n = &world->nodes[0];
    struct host_image *image = open_at(1, "v");
    uint8_t data[4096] = {1};
    struct ask w;
    stop_serving(n);
    (void)snprintf(n->name, sizeof n->name, "n9");
    serve(n);
    (void)snprintf(n->name, sizeof n->name, "n1");
    assert_int_equal(submit(image, &w, POD_WRITE, 0, 4096, data), 0);
    run(1000);
    assert_false(w.done);
    rpc_server_stats(n->server, &stats);
    assert_int_equal(stats.connections, 0);
    assert_true(stats.refused > 5);
    stop_serving(n);
    serve(n);
    run(200);
    assert_true(w.done && w.status == 0);
    assert_int_equal(count(0, POD_WRITE), 1);
    close_image(image);
}

static void an_image_is_open_at_the_primary_as_long_as_here(void **state)
{
    (void)state;
    uint8_t data[4096] = {1};
    struct host_image *image = open_at(1, "v");
    struct ask w;
    assert_int_equal(info_at(0, "v").open_count, 1);
    /* Closed with a request in flight there that was given up here. */
    pod_fake_hold(world->nodes[0].pod, true);
    assert_int_equal(submit(image, &w, POD_WRITE, 0, 4096, data), 0);
    run(5);
    host_image_cancel_all(image);
    run(5);
    close_image(image);
    run(5);
    assert_int_equal(info_at(0, "v").open_count, 1);
    pod_fake_hold(world->nodes[0].pod, false);
    run(20);
    assert_int_equal(info_at(0, "v").open_count, 0);
    /* Closed while it is being opened. */
    struct opening o = {0};
    assert_int_equal(
        host_image_open(world->nodes[1].images, world->nodes[1].pod, "v", false, &image, on_opened, &o, NULL),
        HOST_IMAGE_WAITS);
    open_images++;
    close_image(image);
    run(50);
    assert_false(o.done);
    assert_int_equal(info_at(0, "v").open_count, 0);
    /* Moved with the pod, idle. */
    image = open_at(1, "v");
    lead(1);
    run(50);
    assert_int_equal(info_at(1, "v").open_count, 1);
    lead(0);
    run(50);
    assert_int_equal(info_at(0, "v").open_count, 1);
    close_image(image);
    run(50);
    assert_int_equal(info_at(0, "v").open_count, 0);
}

static void an_image_that_the_primary_has_no_place_for_waits_and_is_asked_for_again(void **state)
{
    (void)state;
    enum {
        N = SERVICES_HANDLES_MAX + 1
    };
    struct host_image *images[N];
    struct ask *many = calloc(N, sizeof *many);
    uint8_t data[4096] = {1};
    for (unsigned i = 0; i < N; i++)
        images[i] = open_at(0, "v");
    lead(1); /* a switchover with more open than another node may have */
    run(100);
    for (unsigned round = 0; round < 2; round++) {
        unsigned refused = 0, last = N;
        const uint64_t began = now_ms();
        for (unsigned i = 0; i < N; i++)
            assert_int_equal(submit(images[i], &many[i], POD_WRITE, i * 4096ull, 4096, data), 0);
        run(3000);
        for (unsigned i = 0; i < N; i++) {
            assert_true(many[i].done);
            if (many[i].status == 0)
                continue;
            refused++;
            last = i;
            assert_int_equal(many[i].status, PS_ENOTPRIMARY);
            assert_in_range(many[i].ended_ms - began, 2500, 2510);
        }
        assert_int_equal(refused, round == 0);
        assert_int_equal(world->nodes[0].lines, 1);
        assert_non_null(strstr(world->nodes[0].line, "256 images are open"));
        if (round == 0) { /* there is place again */
            close_image(images[last ? 0 : 1]);
            images[last ? 0 : 1] = open_at(1, "v");
        }
    }
    for (unsigned i = 0; i < N; i++)
        close_image(images[i]);
    free(many);
}

static void another_image_of_the_same_name_is_not_taken_for_it(void **state)
{
    (void)state;
    uint8_t data[4096] = {1};
    struct host_image *image = open_at(1, "v");
    struct pod_manage gone = {.op = POD_VOLUME_DELETE, .name = "v", .force = true};
    assert_int_equal(pod_fake_manage(world->nodes[0].pod, &gone), 0);
    pod_fake_volume(world->nodes[0].pod, "v", 64 * MIB);
    assert_int_equal(ask(image, POD_WRITE, 0, 4096, data), PS_ENOTFOUND);
    rpc_mem_break(world->net, "n1", "n2");
    run(100);
    assert_int_equal(ask(image, POD_WRITE, 0, 4096, data), PS_ENOTFOUND);
    assert_int_equal(count(0, POD_WRITE), 0);
    run(20);
    assert_int_equal(info_at(0, "v").open_count, 0);
    close_image(image);
}

static void a_renamed_image_is_found_by_what_it_is(void **state)
{
    (void)state;
    uint8_t data[4096] = {1};
    struct host_image *image = open_at(1, "v");
    for (int n = 0; n < 2; n++) {
        struct pod_manage renamed = {.op = POD_VOLUME_RENAME, .name = "v", .new_name = "w"};
        assert_int_equal(pod_fake_manage(world->nodes[n].pod, &renamed), 0);
    }
    rpc_mem_break(world->net, "n1", "n2");
    run(100);
    assert_int_equal(ask(image, POD_WRITE, 0, 4096, data), 0);
    lead(1);
    run(50);
    assert_int_equal(ask(image, POD_WRITE, 0, 4096, data), 0);
    close_image(image);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_a_host_asks_of_another_node_is_done_at_the_primary),
        T(the_primarys_refusals_are_the_hosts),
        T(the_longest_request_goes_in_pieces),
        T(what_is_on_its_way_is_bounded_and_all_of_it_arrives),
        T(a_primary_that_stalls_with_all_it_takes_is_not_taken_for_silent),
        T(what_was_given_up_counts_until_the_primary_has_ended_it),
        T(requests_wait_two_and_a_half_seconds_for_a_primary_and_no_longer),
        T(what_waits_goes_to_this_node_when_it_leads_in_order),
        T(when_the_pod_is_handed_over_requests_follow_it_there_and_back),
        T(a_write_that_the_former_primary_may_have_done_is_not_sent_again),
        T(after_a_lost_connection_reads_are_asked_again_and_writes_end_when_they_can_do_no_harm),
        T(a_lost_write_ends_at_once_when_its_primary_is_dead_or_another_leads),
        cmocka_unit_test_setup_teardown(
            where_a_refusal_proves_nothing_a_lost_write_ends_when_it_can_do_no_harm, setup_doubt, teardown),
        T(a_primary_that_falls_silent_is_given_up),
        T(a_broken_image_takes_nothing_until_it_is_opened_anew),
        T(what_waited_while_the_machine_slept_is_not_sent_any_more),
        T(requests_that_are_given_up_end_soon_and_the_rest_goes_on),
        T(an_answer_to_an_opening_that_makes_no_sense_leaves_nothing_open_there),
        T(at_the_primarys_address_another_node_is_not_spoken_with),
        T(an_image_is_open_at_the_primary_as_long_as_here),
        T(an_image_that_the_primary_has_no_place_for_waits_and_is_asked_for_again),
        T(another_image_of_the_same_name_is_not_taken_for_it),
        T(a_renamed_image_is_found_by_what_it_is),
    };
    return cmocka_run_group_tests_name("host_image", tests, NULL, NULL);
}
