/* The real transport: sockets, NNG's threads, libuv. The server runs on a loop
 * in a thread of its own, or in a process of its own where it has to die. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <assert.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/rpc/client.h"
#include "common/rpc/frame.h"
#include "common/rpc/transport_nng.h"
#include "pstorage/v1/block_io.pb-c.h"
#include "pstorage/v1/events.pb-c.h"
#include "pstorage/v1/volumes.pb-c.h"
#include "test_service.h"

static char ipc_endpoint[128];
static char *program;

/* ---- a server on a thread of its own */

struct node {
    uv_thread_t thread;
    uv_sem_t ready;
    uv_loop_t loop;
    uv_async_t stop;
    struct rpc_transport *transport;
    struct rpc_server *server;
    struct test_service service;
    char endpoint[128];
    int status;
    char detail[256];
};

static void on_transport_closed(void *user)
{
    (void)user;
}

static void on_server_closed(void *user)
{
    struct node *n = user;
    rpc_transport_nng_close(n->transport, on_transport_closed, NULL);
}

static void on_stop(uv_async_t *async)
{
    struct node *n = async->data;
    uv_close((uv_handle_t *)async, NULL);
    rpc_server_close(n->server, on_server_closed, n);
    for (size_t i = 0; i < n->service.nheld; i++)
        if (n->service.held[i])
            test_service_answer(&n->service, i);
}

static void serve(struct node *n)
{
    const struct rpc_server_config config = {
        .identity = {.name = "node-a", .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE},
    };
    struct ps_error err = {0};
    assert(uv_loop_init(&n->loop) == 0);
    assert(rpc_transport_nng_create(&n->loop, &n->transport) == PS_OK);
    assert(rpc_server_create(n->transport, &config, &n->server) == PS_OK);
    test_service_register(n->server, &n->service);
    n->status = rpc_server_listen(n->server, n->endpoint, &err);
    (void)snprintf(n->detail, sizeof n->detail, "%s", err.detail);
    if (n->status == PS_OK)
        (void)snprintf(n->endpoint, sizeof n->endpoint, "%s", rpc_server_address(n->server, 0));
    n->stop.data = n;
    (void)uv_async_init(&n->loop, &n->stop, on_stop);
}

static void node_main(void *arg)
{
    struct node *n = arg;
    serve(n);
    uv_sem_post(&n->ready);
    (void)uv_run(&n->loop, UV_RUN_DEFAULT);
    assert(uv_loop_close(&n->loop) == 0);
}

static void start_node(struct node *n, const char *endpoint)
{
    *n = (struct node){0};
    (void)snprintf(n->endpoint, sizeof n->endpoint, "%s", endpoint);
    (void)uv_sem_init(&n->ready, 0);
    assert_int_equal(uv_thread_create(&n->thread, node_main, n), 0);
    uv_sem_wait(&n->ready);
}

static void stop_node(struct node *n)
{
    (void)uv_async_send(&n->stop);
    assert_int_equal(uv_thread_join(&n->thread), 0);
    uv_sem_destroy(&n->ready);
}

/* ---- a server in a process of its own */

static pid_t spawn_node(const char *endpoint)
{
    int fds[2];
    pid_t pid;
    char *args[] = {program, "--serve", (char *)(uintptr_t)endpoint, NULL};
    posix_spawn_file_actions_t actions;
    assert_int_equal(pipe(fds), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, fds[0]);
    posix_spawn_file_actions_addclose(&actions, fds[1]);
    assert_int_equal(posix_spawn(&pid, program, &actions, NULL, args, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    char line[16] = "";
    assert_true(read(fds[0], line, sizeof line - 1) > 0);
    assert_string_equal(line, "ready\n");
    close(fds[0]);
    return pid;
}

static void kill_node(pid_t pid)
{
    int status;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static int serve_alone(const char *endpoint)
{
    static struct node n;
    (void)snprintf(n.endpoint, sizeof n.endpoint, "%s", endpoint);
    serve(&n);
    if (n.status)
        return 1;
    (void)fputs("ready\n", stdout);
    (void)fflush(stdout);
    return uv_run(&n.loop, UV_RUN_DEFAULT);
}

/* ---- the client, on the test's thread */

struct host {
    uv_loop_t loop;
    uv_timer_t guard;
    struct rpc_transport *transport;
    struct rpc_client *client;
    bool client_closed, transport_closed;
    int status;
    unsigned ups;
};

struct outcome {
    struct rpc_request request;
    unsigned answers, messages;
    int status;
    char detail[256];
    size_t payload_bytes;
    uint64_t payload_sum, id;
    unsigned left; /* of a chain of calls */
    struct host *host;
};

static void on_guard(uv_timer_t *timer)
{
    (void)timer;
    (void)fputs("nothing happened for 20 s\n", stderr);
    abort();
}

static void on_state(void *user, int status, const char *detail)
{
    struct host *h = user;
    (void)detail;
    h->status = status;
    h->ups += status == PS_OK;
}

static void open_host(struct host *h, const char *endpoint)
{
    *h = (struct host){.status = 1};
    assert_int_equal(uv_loop_init(&h->loop), 0);
    (void)uv_timer_init(&h->loop, &h->guard);
    assert_int_equal(rpc_transport_nng_create(&h->loop, &h->transport), PS_OK);
    const struct rpc_client_config config = {
        .endpoint = endpoint, .identity = {.name = "tester"}, .on_state = on_state, .user = h};
    assert_int_equal(rpc_client_connect(h->transport, &config, &h->client, NULL), PS_OK);
}

#define RUN_UNTIL(h, condition)                                                                              \
    do {                                                                                                     \
        (void)uv_timer_start(&(h)->guard, on_guard, 20000, 0);                                               \
        while (!(condition))                                                                                 \
            (void)uv_run(&(h)->loop, UV_RUN_ONCE);                                                           \
        (void)uv_timer_stop(&(h)->guard);                                                                    \
    } while (0)

static void set(void *user)
{
    *(bool *)user = true;
}

static void close_host(struct host *h)
{
    rpc_client_close(h->client, set, &h->client_closed);
    RUN_UNTIL(h, h->client_closed);
    rpc_transport_nng_close(h->transport, set, &h->transport_closed);
    RUN_UNTIL(h, h->transport_closed);
    uv_close((uv_handle_t *)&h->guard, NULL);
    (void)uv_run(&h->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&h->loop), 0);
}

static void on_reply(struct rpc_request *request, const struct rpc_reply *reply)
{
    struct outcome *o = request->user;
    o->answers++;
    o->status = reply->status;
    (void)snprintf(o->detail, sizeof o->detail, "%s", reply->detail);
    o->payload_bytes = reply->payload_bytes;
    o->payload_sum = rpc_payload_sum(reply->payload, reply->payload_bytes);
    if (reply->message && reply->message->descriptor == &pstorage__v1__volume_response__descriptor)
        o->id = ((const Pstorage__V1__VolumeResponse *)(const void *)reply->message)->volume->id;
}

static void on_message(struct rpc_request *request, const ProtobufCMessage *message)
{
    struct outcome *o = request->user;
    const Pstorage__V1__Event *event = (const void *)message;
    o->messages++;
    assert_int_equal(event->cursor, o->messages);
}

static void start_call(struct host *h, struct outcome *o, const ProtobufCServiceDescriptor *service,
                       const char *method, const ProtobufCMessage *message, rpc_reply_cb cb)
{
    o->host = h;
    o->request.service = service;
    o->request.method = method;
    o->request.message = message;
    o->request.user = o;
    assert_int_equal(rpc_client_call(h->client, &o->request, cb), PS_OK);
}

static void start_create(struct host *h, struct outcome *o)
{
    Pstorage__V1__CreateVolumeRequest request = PSTORAGE__V1__CREATE_VOLUME_REQUEST__INIT;
    start_call(h, o, &pstorage__v1__volumes__descriptor, "Create", &request.base, on_reply);
}

static void start_get(struct host *h, struct outcome *o)
{
    Pstorage__V1__GetVolumeRequest request = PSTORAGE__V1__GET_VOLUME_REQUEST__INIT;
    start_call(h, o, &pstorage__v1__volumes__descriptor, "Get", &request.base, on_reply);
}

static void start_read(struct host *h, struct outcome *o, uint32_t length, rpc_reply_cb cb)
{
    Pstorage__V1__ReadRequest request = PSTORAGE__V1__READ_REQUEST__INIT;
    request.offset = 9;
    request.length = length;
    start_call(h, o, &pstorage__v1__block_io__descriptor, "Read", &request.base, cb);
}

static void start_write(struct host *h, struct outcome *o, const void *data, size_t length, rpc_reply_cb cb)
{
    Pstorage__V1__WriteRequest request = PSTORAGE__V1__WRITE_REQUEST__INIT;
    o->request.payload = data;
    o->request.payload_bytes = length;
    start_call(h, o, &pstorage__v1__block_io__descriptor, "Write", &request.base, cb);
}

/* ---- tests */

static void calls_payloads_and_streams_work_over(const char *endpoint)
{
    struct node n;
    struct host h;
    static uint8_t data[RPC_PAYLOAD_MAX];
    start_node(&n, endpoint);
    assert_int_equal(n.status, PS_OK);
    open_host(&h, n.endpoint);

    struct outcome create = {0}, write = {0}, read = {0}, follow = {0};
    start_create(&h, &create);
    RUN_UNTIL(&h, create.answers);
    assert_int_equal(create.status, PS_OK);
    assert_string_equal(rpc_client_peer(h.client)->name, "node-a");

    test_pattern(data, sizeof data, 3);
    start_write(&h, &write, data, sizeof data, on_reply);
    start_read(&h, &read, RPC_PAYLOAD_MAX, on_reply);
    RUN_UNTIL(&h, write.answers && read.answers);
    assert_int_equal(write.status | read.status, PS_OK);
    const uint64_t written = rpc_payload_sum(data, sizeof data);
    test_pattern(data, sizeof data, 9);
    assert_true(read.payload_sum == rpc_payload_sum(data, sizeof data));

    Pstorage__V1__FollowEventsRequest request = PSTORAGE__V1__FOLLOW_EVENTS_REQUEST__INIT;
    follow.request.on_message = on_message;
    follow.request.timeout_ns = RPC_TIMEOUT_NONE;
    start_call(&h, &follow, &pstorage__v1__events__descriptor, "Follow", &request.base, on_reply);
    RUN_UNTIL(&h, follow.messages > 3000); /* it never ends by itself */
    rpc_client_cancel(h.client, &follow.request);
    RUN_UNTIL(&h, follow.answers);
    assert_int_equal(follow.status, PS_ECANCELLED);

    close_host(&h);
    stop_node(&n);
    assert_true(n.service.written_sum == written);
    assert_true(n.service.written_aligned);
    assert_int_equal(n.service.cancelled, 1);
    assert_int_equal(n.service.disconnected, 1);
}

static void calls_payloads_and_streams_work_over_ipc(void **state)
{
    (void)state;
    calls_payloads_and_streams_work_over(ipc_endpoint);
}

static void calls_payloads_and_streams_work_over_tcp(void **state)
{
    (void)state;
    calls_payloads_and_streams_work_over("tcp://127.0.0.1:0");
}

/* Neither has a key: it works because both see that the other is on this machine. */
static void calls_payloads_and_streams_work_over_ipv6(void **state)
{
    (void)state;
    const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const bool there = fd >= 0 && bind(fd, (const struct sockaddr *)&loopback, sizeof loopback) == 0;
    if (fd >= 0)
        (void)close(fd);
    if (!there)
        skip();
    calls_payloads_and_streams_work_over("tcp://[::1]:0");
}

static void next_write(struct rpc_request *request, const struct rpc_reply *reply)
{
    static const uint8_t data[4096] = {1};
    struct outcome *o = request->user;
    on_reply(request, reply);
    assert_int_equal(reply->status, PS_OK);
    if (--o->left > 0)
        start_write(o->host, o, data, sizeof data, next_write);
}

static void many_calls_in_flight_all_come_back(void **state)
{
    (void)state;
    enum {
        DEPTH = 32,
        EACH = 200
    };
    static struct outcome o[DEPTH];
    static const uint8_t data[4096] = {1};
    struct node n;
    struct host h;
    memset(o, 0, sizeof o);
    start_node(&n, "tcp://127.0.0.1:0");
    open_host(&h, n.endpoint);
    for (size_t i = 0; i < DEPTH; i++) {
        o[i].left = EACH;
        start_write(&h, &o[i], data, sizeof data, next_write);
    }
    for (size_t i = 0; i < DEPTH; i++)
        RUN_UNTIL(&h, o[i].left == 0);
    for (size_t i = 0; i < DEPTH; i++)
        assert_int_equal(o[i].answers, EACH);
    close_host(&h);
    stop_node(&n);
}

static void a_deadline_passes_in_real_time(void **state)
{
    (void)state;
    struct node n;
    struct host h;
    struct outcome o = {0};
    start_node(&n, ipc_endpoint);
    open_host(&h, n.endpoint);
    o.request.timeout_ns = 30000000;
    start_get(&h, &o);
    RUN_UNTIL(&h, o.answers);
    assert_int_equal(o.status, PS_EDEADLINE);
    close_host(&h);
    stop_node(&n);
}

static void both_ends_close_with_calls_in_flight(void **state)
{
    (void)state;
    struct node n;
    struct host h;
    static uint8_t data[RPC_PAYLOAD_MAX];
    struct outcome held = {0}, probe = {0}, write = {0};
    start_node(&n, ipc_endpoint);
    open_host(&h, n.endpoint);
    start_get(&h, &held);
    start_create(&h, &probe);
    RUN_UNTIL(&h, probe.answers);
    start_write(&h, &write, data, sizeof data, on_reply);
    close_host(&h);
    assert_int_equal(held.status, PS_ECANCELLED);
    assert_int_equal(write.status, PS_ECANCELLED);
    stop_node(&n);
}

static void a_server_that_is_killed_fails_its_calls_and_is_found_again(void **state)
{
    (void)state;
    struct host h;
    struct outcome held = {0}, create = {0}, again = {0};
    pid_t pid = spawn_node(ipc_endpoint);
    open_host(&h, ipc_endpoint);
    start_create(&h, &create);
    start_get(&h, &held);
    RUN_UNTIL(&h, create.answers);
    assert_int_equal(create.id, 1);
    kill_node(pid);
    RUN_UNTIL(&h, held.answers);
    assert_int_equal(held.status, PS_EUNAVAILABLE);
    RUN_UNTIL(&h, h.status == PS_EUNAVAILABLE);
    pid = spawn_node(ipc_endpoint); /* over the socket that the dead one left behind */
    again.request.wait_for_ready = true;
    start_create(&h, &again);
    RUN_UNTIL(&h, again.answers);
    assert_int_equal(again.status, PS_OK);
    assert_int_equal(again.id, 1); /* a new server, and nobody repeated the first call there */
    assert_int_equal(held.answers, 1);
    assert_int_equal(h.ups, 2);
    close_host(&h);
    kill_node(pid);
}

static void nobody_listening_is_told_with_the_endpoint(void **state)
{
    (void)state;
    struct host h;
    struct outcome o = {0};
    open_host(&h, "tcp://127.0.0.1:1");
    start_create(&h, &o);
    RUN_UNTIL(&h, o.answers);
    assert_int_equal(o.status, PS_EUNAVAILABLE);
    assert_string_equal(o.detail, "tcp://127.0.0.1:1: Connection refused");
    close_host(&h);
}

static void a_client_may_close_while_it_connects(void **state)
{
    (void)state;
    struct host h;
    open_host(&h, "tcp://127.0.0.1:1");
    close_host(&h);
    struct node n;
    start_node(&n, "tcp://127.0.0.1:0");
    open_host(&h, n.endpoint);
    (void)uv_run(&h.loop, UV_RUN_NOWAIT);
    close_host(&h);
    stop_node(&n);
}

static void an_endpoint_in_use_is_refused(void **state)
{
    (void)state;
    struct node first, second;
    start_node(&first, "tcp://127.0.0.1:0");
    start_node(&second, first.endpoint);
    assert_int_equal(second.status, PS_EEXISTS);
    assert_non_null(strstr(second.detail, first.endpoint));
    stop_node(&second);
    stop_node(&first);
}

static void endpoints_of_another_form_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "tcp://",
                                      "tcp://host",
                                      "tcp://:9500",
                                      "host:9500",
                                      "ipc://relative",
                                      "ipc:///",
                                      "ws://127.0.0.1:80/x",
                                      "tcp://127.0.0.1:"};
    uv_loop_t loop;
    struct rpc_transport *transport;
    bool closed = false;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(rpc_transport_nng_create(&loop, &transport), PS_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct rpc_client *client;
        struct ps_error err = {0};
        const struct rpc_client_config config = {.endpoint = bad[i]};
        assert_int_equal(rpc_client_connect(transport, &config, &client, &err), PS_EINVAL);
        assert_non_null(strstr(err.detail, "is not an endpoint"));
    }
    rpc_transport_nng_close(transport, set, &closed);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--serve") == 0)
        return serve_alone(argv[2]);
    char dir[] = "/tmp/pstorage-rpc-XXXXXX";
    program = argv[0];
    assert(mkdtemp(dir));
    (void)snprintf(ipc_endpoint, sizeof ipc_endpoint, "ipc://%s/rpc", dir);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_payloads_and_streams_work_over_ipc),
        cmocka_unit_test(calls_payloads_and_streams_work_over_tcp),
        cmocka_unit_test(calls_payloads_and_streams_work_over_ipv6),
        cmocka_unit_test(many_calls_in_flight_all_come_back),
        cmocka_unit_test(a_deadline_passes_in_real_time),
        cmocka_unit_test(both_ends_close_with_calls_in_flight),
        cmocka_unit_test(a_server_that_is_killed_fails_its_calls_and_is_found_again),
        cmocka_unit_test(nobody_listening_is_told_with_the_endpoint),
        cmocka_unit_test(a_client_may_close_while_it_connects),
        cmocka_unit_test(an_endpoint_in_use_is_refused),
        cmocka_unit_test(endpoints_of_another_form_are_refused),
    };
    const int failed = cmocka_run_group_tests_name("rpc over nng", tests, NULL, NULL);
    rpc_transport_nng_finish();
    (void)unlink(ipc_endpoint + strlen("ipc://"));
    (void)rmdir(dir);
    return failed;
}
