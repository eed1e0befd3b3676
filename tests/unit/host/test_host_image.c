/* Hosts' images on two nodes: what a host asks of the node that does not lead is done at the primary, and
 * images are open there as long as here. What becomes of requests when the primary goes is
 * test_host_image_lost.c's. */
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

#include "pstorage/v1/block_io.pb-c.h"
#include "tests/support/hosts_rig.h"

static void what_a_host_asks_of_another_node_is_done_at_the_primary(void **state)
{
    (void)state;
    struct host_image *image = hosts_open_at(1, "v");
    struct pod_image_info info;
    uint8_t *data = hosts_noise(64 * 1024), *back = malloc(64 * 1024);
    assert_int_equal(host_image_info(image, &info), 0);
    assert_string_equal(info.name, "v");
    assert_true(info.size_bytes == 64 * MIB && info.kind == POD_VOLUME);

    assert_int_equal(hosts_ask(image, POD_WRITE, 4096, 64 * 1024, data), 0);
    assert_int_equal(hosts_ask(image, POD_READ, 4096, 64 * 1024, back), 0);
    assert_memory_equal(data, back, 64 * 1024);
    assert_int_equal(hosts_ask(image, POD_TRIM, 8192, 4096, NULL), 0);
    assert_int_equal(hosts_ask(image, POD_WRITE_ZERO, 12288, 4096, NULL), 0);
    assert_int_equal(hosts_ask(image, POD_FLUSH, 0, 0, NULL), 0);
    assert_int_equal(hosts_ask(image, POD_PREFETCH, 0, 4096, NULL), 0);
    struct pod_extent extents[8];
    struct hosts_ask a = {.image = image,
                          .io = {.op = POD_EXTENTS, .length = 1 << 20, .extents = extents, .max_extents = 8}};
    assert_int_equal(host_image_submit(image, &a.io, hosts_done), 0);
    hosts_run(20);
    assert_true(a.done && a.status == 0);
    assert_int_equal(a.io.nextents, 5);
    assert_true(extents[0].kind == POD_EXTENT_HOLE && extents[0].length_bytes == 4096);
    assert_true(extents[1].kind == POD_EXTENT_DATA && extents[2].kind == POD_EXTENT_HOLE);
    for (enum pod_io_op op = POD_READ; op <= POD_FLUSH; op++) {
        assert_int_equal(hosts_count(0, op), 1);
        assert_int_equal(hosts_count(1, op), 0);
    }
    hosts_close_image(image);
    free(data);
    free(back);
}

static void the_primarys_refusals_are_the_hosts(void **state)
{
    (void)state;
    uint8_t *data = hosts_noise(8192);
    struct host_image *v = hosts_open_at(1, "v"), *snapshot = hosts_open_at(1, "s@1");
    assert_int_equal(hosts_ask(v, POD_READ, 64 * MIB, 4096, data), PS_ERANGE);
    assert_int_equal(hosts_ask(snapshot, POD_WRITE, 0, 4096, data), PS_EREADONLY);
    assert_int_equal(hosts_ask(snapshot, POD_READ, 0, 4096, data), 0);
    pod_fake_set_capacity(hosts->nodes[0].pod, 0);
    assert_int_equal(hosts_ask(v, POD_WRITE, 0, 4096, data), PS_EFULL);
    pod_fake_fail_next(hosts->nodes[0].pod, PS_EDATALOSS);
    assert_int_equal(hosts_ask(v, POD_READ, 0, 4096, data), PS_EDATALOSS);
    struct hosts_opening o = {0};
    struct host_image *none;
    assert_int_equal(host_image_open(hosts->nodes[1].images, hosts->nodes[1].pod, "no", false, &none,
                                     hosts_opened, &o, NULL),
                     HOST_IMAGE_WAITS);
    hosts_images_open++;
    hosts_run(20);
    assert_true(o.done && o.status == PS_ENOTFOUND);
    hosts_close_image(none);
    hosts_close_image(v);
    hosts_close_image(snapshot);
    free(data);
}

static void the_longest_request_goes_in_pieces(void **state)
{
    (void)state;
    struct host_image *image = hosts_open_at(1, "v");
    uint8_t *data = hosts_noise(POD_MAX_IO_BYTES), *back = malloc(POD_MAX_IO_BYTES);
    assert_int_equal(hosts_ask(image, POD_WRITE, 512, POD_MAX_IO_BYTES, data), 0);
    assert_int_equal(hosts_count(0, POD_WRITE), POD_MAX_IO_BYTES / RPC_PAYLOAD_MAX);
    assert_int_equal(hosts_ask(image, POD_READ, 512, POD_MAX_IO_BYTES, back), 0);
    assert_memory_equal(data, back, POD_MAX_IO_BYTES);
    hosts_close_image(image);
    free(data);
    free(back);
}

static void what_is_on_its_way_is_bounded_and_all_of_it_arrives(void **state)
{
    (void)state;
    enum {
        N = 300
    };
    struct host_image *image = hosts_open_at(1, "v");
    struct hosts_ask *many = calloc(N, sizeof *many);
    uint8_t *data = hosts_noise(128 * 1024);
    pod_fake_hold(hosts->nodes[0].pod, true);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(hosts_submit(image, &many[i], POD_WRITE, i * 4096ull, 4096, data), 0);
    hosts_run(50);
    assert_int_equal(pod_fake_in_flight(hosts->nodes[0].pod), 128);
    pod_fake_hold(hosts->nodes[0].pod, false);
    hosts_run(200);
    for (unsigned i = 0; i < N; i++)
        assert_true(many[i].done && many[i].status == 0);
    pod_fake_hold(hosts->nodes[0].pod, true);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(hosts_submit(image, &many[i], POD_WRITE, i * 128 * 1024ull, 128 * 1024, data), 0);
    hosts_run(50);
    assert_int_equal(pod_fake_in_flight(hosts->nodes[0].pod), 48); /* 6 MiB */
    pod_fake_hold(hosts->nodes[0].pod, false);
    hosts_run(400);
    for (unsigned i = 0; i < N; i++)
        assert_true(many[i].done && many[i].status == 0);
    hosts_close_image(image);
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
    struct host_image *image = hosts_open_at(1, "v");
    struct hosts_ask *many = calloc(N, sizeof *many);
    uint8_t *data = hosts_noise(256 * 1024);
    for (unsigned length = 66 * 1024; length <= 256 * 1024; length += 190 * 1024) {
        pod_fake_hold(hosts->nodes[0].pod, true);
        for (unsigned i = 0; i < N; i++)
            assert_int_equal(hosts_submit(image, &many[i], POD_WRITE, i * 256 * 1024ull, length, data), 0);
        hosts_run(5000);
        pod_fake_hold(hosts->nodes[0].pod, false);
        hosts_run(1000);
        for (unsigned i = 0; i < N; i++)
            assert_true(many[i].done && (many[i].status == 0 || many[i].status == PS_ENOTPRIMARY));
        assert_int_equal(many[0].status, 0);
    }
    hosts_close_image(image);
    free(many);
    free(data);
}

static void what_was_given_up_counts_until_the_primary_has_ended_it(void **state)
{
    (void)state;
    enum {
        N = 400
    };
    struct host_image *image = hosts_open_at(1, "v");
    struct hosts_ask *many = calloc(N, sizeof *many);
    uint8_t *data = hosts_noise(128 * 1024);
    for (unsigned large = 0; large < 2; large++) {
        const unsigned bound = large ? 48 : 128;
        pod_fake_hold(hosts->nodes[0].pod, true);
        for (unsigned round = 0; round < 4; round++) {
            for (unsigned i = 100 * round; i < 100 * (round + 1); i++)
                assert_int_equal(hosts_submit(image, &many[i], POD_WRITE, i * 128 * 1024ull,
                                              large ? 128 * 1024 : 4096, data),
                                 0);
            hosts_run(20);
            if (round == 3)
                continue;
            host_image_cancel_all(image);
            hosts_run(20);
        }
        assert_int_equal(pod_fake_in_flight(hosts->nodes[0].pod), bound);
        pod_fake_hold(hosts->nodes[0].pod, false);
        hosts_run(200);
        for (unsigned i = 0; i < N; i++)
            assert_true(many[i].done && many[i].status == (i < 300 ? PS_ECANCELLED : 0));
    }
    hosts_close_image(image);
    free(many);
    free(data);
}

static struct pod_image_info info_at(int n, const char *name)
{
    struct pod_image_info info = {0};
    (void)pod_image_by_name(hosts->nodes[n].pod, name, &info);
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
    struct hosts_node *n = &hosts->nodes[0];
    struct host_image *image = hosts_open_at(1, "v"), *another;
    struct hosts_opening o = {0};
    struct rpc_server *server;
    uint8_t data[4096] = {1};
    struct hosts_ask w;
    int open = 0;
    bool closed = false;
    hosts_stop_serving(n);
    assert_int_equal(rpc_server_create(n->transport, &config, &server), 0);
    rpc_server_register(server, &service, &open);
    assert_int_equal(rpc_server_listen(server, n->address, NULL), 0);
    assert_int_equal(hosts_submit(image, &w, POD_WRITE, 0, 4096, data), 0);
    assert_int_equal(host_image_open(hosts->nodes[1].images, hosts->nodes[1].pod, "v", false, &another,
                                     hosts_opened, &o, NULL),
                     HOST_IMAGE_WAITS);
    hosts_run(3000);
    assert_true(w.done && w.status == PS_ENOTPRIMARY);
    assert_true(o.done && o.status == PS_EPROTOCOL);
    assert_int_equal(open, 0);
    hosts_images_open++;
    hosts_close_image(another);
    hosts_close_image(image);
    rpc_server_close(server, hosts_set, &closed);
    hosts_run(50);
    assert_true(closed);
}

/* Its address has been given to another node, and is given back. */
static void at_the_primarys_address_another_node_is_not_spoken_with(void **state)
{
    (void)state;
    struct rpc_server_stats stats;
    struct hosts_node *n = &hosts->nodes[0];
    struct host_image *image = hosts_open_at(1, "v");
    uint8_t data[4096] = {1};
    struct hosts_ask w;
    hosts_stop_serving(n);
    (void)snprintf(n->name, sizeof n->name, "n9");
    hosts_serve(n);
    (void)snprintf(n->name, sizeof n->name, "n1");
    assert_int_equal(hosts_submit(image, &w, POD_WRITE, 0, 4096, data), 0);
    hosts_run(1000);
    assert_false(w.done);
    rpc_server_stats(n->server, &stats);
    assert_int_equal(stats.connections, 0);
    assert_true(stats.refused > 5);
    hosts_stop_serving(n);
    hosts_serve(n);
    hosts_run(200);
    assert_true(w.done && w.status == 0);
    assert_int_equal(hosts_count(0, POD_WRITE), 1);
    hosts_close_image(image);
}

static void an_image_is_open_at_the_primary_as_long_as_here(void **state)
{
    (void)state;
    uint8_t data[4096] = {1};
    struct host_image *image = hosts_open_at(1, "v");
    struct hosts_ask w;
    assert_int_equal(info_at(0, "v").open_count, 1);
    /* Closed with a request in flight there that was given up here. */
    pod_fake_hold(hosts->nodes[0].pod, true);
    assert_int_equal(hosts_submit(image, &w, POD_WRITE, 0, 4096, data), 0);
    hosts_run(5);
    host_image_cancel_all(image);
    hosts_run(5);
    hosts_close_image(image);
    hosts_run(5);
    assert_int_equal(info_at(0, "v").open_count, 1);
    pod_fake_hold(hosts->nodes[0].pod, false);
    hosts_run(20);
    assert_int_equal(info_at(0, "v").open_count, 0);
    /* Closed while it is being opened. */
    struct hosts_opening o = {0};
    assert_int_equal(host_image_open(hosts->nodes[1].images, hosts->nodes[1].pod, "v", false, &image,
                                     hosts_opened, &o, NULL),
                     HOST_IMAGE_WAITS);
    hosts_images_open++;
    hosts_close_image(image);
    hosts_run(50);
    assert_false(o.done);
    assert_int_equal(info_at(0, "v").open_count, 0);
    /* Moved with the pod, idle. */
    image = hosts_open_at(1, "v");
    hosts_lead(1);
    hosts_run(50);
    assert_int_equal(info_at(1, "v").open_count, 1);
    hosts_lead(0);
    hosts_run(50);
    assert_int_equal(info_at(0, "v").open_count, 1);
    hosts_close_image(image);
    hosts_run(50);
    assert_int_equal(info_at(0, "v").open_count, 0);
}

static void an_image_that_the_primary_has_no_place_for_waits_and_is_asked_for_again(void **state)
{
    (void)state;
    enum {
        N = SERVICES_HANDLES_MAX + 1
    };
    struct host_image *images[N];
    struct hosts_ask *many = calloc(N, sizeof *many);
    uint8_t data[4096] = {1};
    for (unsigned i = 0; i < N; i++)
        images[i] = hosts_open_at(0, "v");
    hosts_lead(1); /* a switchover with more open than another node may have */
    hosts_run(100);
    for (unsigned round = 0; round < 2; round++) {
        unsigned refused = 0, last = N;
        const uint64_t began = hosts_now_ms();
        for (unsigned i = 0; i < N; i++)
            assert_int_equal(hosts_submit(images[i], &many[i], POD_WRITE, i * 4096ull, 4096, data), 0);
        hosts_run(3000);
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
        assert_int_equal(hosts->nodes[0].lines, 1);
        assert_non_null(strstr(hosts->nodes[0].line, "256 images are open"));
        if (round == 0) { /* there is place again */
            hosts_close_image(images[last ? 0 : 1]);
            images[last ? 0 : 1] = hosts_open_at(1, "v");
        }
    }
    for (unsigned i = 0; i < N; i++)
        hosts_close_image(images[i]);
    free(many);
}

static void another_image_of_the_same_name_is_not_taken_for_it(void **state)
{
    (void)state;
    uint8_t data[4096] = {1};
    struct host_image *image = hosts_open_at(1, "v");
    struct pod_manage gone = {.op = POD_VOLUME_DELETE, .name = "v", .force = true};
    assert_int_equal(pod_fake_manage(hosts->nodes[0].pod, &gone), 0);
    pod_fake_volume(hosts->nodes[0].pod, "v", 64 * MIB);
    assert_int_equal(hosts_ask(image, POD_WRITE, 0, 4096, data), PS_ENOTFOUND);
    rpc_mem_break(hosts->net, "n1", "n2");
    hosts_run(100);
    assert_int_equal(hosts_ask(image, POD_WRITE, 0, 4096, data), PS_ENOTFOUND);
    assert_int_equal(hosts_count(0, POD_WRITE), 0);
    hosts_run(20);
    assert_int_equal(info_at(0, "v").open_count, 0);
    hosts_close_image(image);
}

static void a_renamed_image_is_found_by_what_it_is(void **state)
{
    (void)state;
    uint8_t data[4096] = {1};
    struct host_image *image = hosts_open_at(1, "v");
    for (int n = 0; n < 2; n++) {
        struct pod_manage renamed = {.op = POD_VOLUME_RENAME, .name = "v", .new_name = "w"};
        assert_int_equal(pod_fake_manage(hosts->nodes[n].pod, &renamed), 0);
    }
    rpc_mem_break(hosts->net, "n1", "n2");
    hosts_run(100);
    assert_int_equal(hosts_ask(image, POD_WRITE, 0, 4096, data), 0);
    hosts_lead(1);
    hosts_run(50);
    assert_int_equal(hosts_ask(image, POD_WRITE, 0, 4096, data), 0);
    hosts_close_image(image);
}

#define T(name) cmocka_unit_test_setup_teardown(name, hosts_setup, hosts_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_a_host_asks_of_another_node_is_done_at_the_primary),
        T(the_primarys_refusals_are_the_hosts),
        T(the_longest_request_goes_in_pieces),
        T(what_is_on_its_way_is_bounded_and_all_of_it_arrives),
        T(a_primary_that_stalls_with_all_it_takes_is_not_taken_for_silent),
        T(what_was_given_up_counts_until_the_primary_has_ended_it),
        T(an_answer_to_an_opening_that_makes_no_sense_leaves_nothing_open_there),
        T(at_the_primarys_address_another_node_is_not_spoken_with),
        T(an_image_is_open_at_the_primary_as_long_as_here),
        T(an_image_that_the_primary_has_no_place_for_waits_and_is_asked_for_again),
        T(another_image_of_the_same_name_is_not_taken_for_it),
        T(a_renamed_image_is_found_by_what_it_is),
    };
    return cmocka_run_group_tests_name("host_image", tests, NULL, NULL);
}
