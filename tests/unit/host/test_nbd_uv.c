/* The edge on real sockets of this machine's loopback: one loop, one thread,
 * clients without a loop of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lone_cluster.h"
#include "node/host/nbd_listen_uv.h"
#include "node/host/nbd_session.h"
#include "node/host/nbd_uv.h"
#include "node/host/nbd_wire.h"
#include "tests/support/pod_fake.h"

struct fixture {
    uv_loop_t loop;
    struct pod *pod;
    struct nbd_server *server;
    uv_prepare_t reactor;
    char folder[64], address[160];
    bool stopped;
    struct lone_cluster cluster;
    char log[4096]; /* all lines */
};

static void on_reactor(uv_prepare_t *prepare)
{
    struct fixture *f = prepare->data;
    (void)pod_turn(f->pod, 0);
    if (f->cluster.net)
        rpc_mem_run(f->cluster.net, rpc_mem_now(f->cluster.net));
    if (f->server)
        nbd_server_turn(f->server);
}

static void on_log(void *user, enum nbd_log_level level, const char *text)
{
    (void)level;
    struct fixture *f = user;
    const size_t at = strlen(f->log);
    (void)snprintf(f->log + at, sizeof f->log - at, "%s\n", text);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->pod = pod_fake_create();
    pod_fake_volume(f->pod, "vol", 64 << 20);
    (void)snprintf(f->folder, sizeof f->folder, "/tmp/test-nbd-uv-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    (void)uv_prepare_init(&f->loop, &f->reactor);
    (void)uv_prepare_start(&f->reactor, on_reactor);
    f->reactor.data = f;
    *state = f;
    return 0;
}

static void on_stopped(void *user)
{
    struct fixture *f = user;
    f->stopped = true;
    f->server = NULL;
}

/* Runs the loop until `done`, with a limit that only a failure reaches. */
#define run_until(f, done)                                                                                   \
    do {                                                                                                     \
        const uint64_t limit_ = uv_hrtime() + 20000000000ull;                                                \
        while (!(done)) {                                                                                    \
            (void)uv_run(&(f)->loop, UV_RUN_NOWAIT);                                                         \
            assert_true(uv_hrtime() < limit_);                                                               \
        }                                                                                                    \
    } while (0)

static void stop(struct fixture *f)
{
    nbd_server_stop(f->server, on_stopped, f);
    run_until(f, f->stopped);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->server) {
        pod_fake_hold(f->pod, false);
        stop(f);
    }
    if (f->cluster.net)
        lone_cluster_destroy(&f->cluster);
    uv_close((uv_handle_t *)&f->reactor, NULL);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0); /* every handle was closed */
    pod_destroy(f->pod);
    assert_int_equal(rmdir(f->folder), 0); /* and every socket file removed */
    free(f);
    return 0;
}

static int start(struct fixture *f, struct nbd_server_config config, struct ps_error *err)
{
    config.pod = f->pod;
    config.images = f->cluster.images;
    config.log = on_log;
    config.user = f;
    if (!config.listen)
        config.listen = "127.0.0.1:0";
    const int status = nbd_server_start(&f->loop, &config, &f->server, err);
    if (status == 0)
        assert_true(nbd_server_address(f->server, 0, f->address, sizeof f->address));
    return status;
}

static uint32_t connections(const struct fixture *f)
{
    struct nbd_server_stats stats;
    nbd_server_stats(f->server, &stats);
    return stats.connections;
}

/* ---- a client */

static int dial_unix(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    strncpy(to.sun_path, path, sizeof to.sun_path - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static int dial(const struct fixture *f)
{
    const char *path = strstr(f->address, "unix:");
    if (path)
        return dial_unix(path + 5);
    struct nbd_address address;
    assert_non_null(nbd_address_parse(f->address, &address, NULL));
    const int fd = socket(address.inet.ss_family, SOCK_STREAM, 0);
    const socklen_t size =
        address.inet.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    assert_int_equal(connect(fd, (struct sockaddr *)&address.inet, size), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void send_all(struct fixture *f, int fd, const void *data, size_t bytes)
{
    size_t sent = 0;
    run_until(f, ({
                  const ssize_t n = send(fd, (const char *)data + sent, bytes - sent, MSG_NOSIGNAL);
                  assert_true(n >= 0 || errno == EAGAIN);
                  sent += n > 0 ? (size_t)n : 0;
                  sent == bytes;
              }));
}

/* Receives exactly so much; false if the server closes instead. */
static bool receive(struct fixture *f, int fd, void *data, size_t bytes)
{
    size_t got = 0;
    bool closed = false;
    run_until(f, ({
                  const ssize_t n = got < bytes ? recv(fd, (char *)data + got, bytes - got, 0) : 1;
                  closed = n == 0 || (n < 0 && errno != EAGAIN);
                  got += n > 0 && got < bytes ? (size_t)n : 0;
                  closed || got == bytes;
              }));
    return !closed;
}

static bool is_closed(struct fixture *f, int fd)
{
    char byte;
    return !receive(f, fd, &byte, 1);
}

static int attach(struct fixture *f)
{
    const int fd = dial(f);
    uint8_t greeting[NBD_GREETING_BYTES + NBD_EXPORT_NAME_REPLY_BYTES];
    send_all(f, fd, "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\3vol", 23);
    assert_true(receive(f, fd, greeting, sizeof greeting));
    return fd;
}

static void request(struct fixture *f, int fd, unsigned command, uint64_t cookie, uint64_t offset,
                    uint32_t length)
{
    uint8_t header[NBD_REQUEST_BYTES] = {0};
    put_be32(header, NBD_REQUEST_MAGIC);
    put_be16(header + 6, (uint16_t)command);
    put_be64(header + 8, cookie);
    put_be64(header + 16, offset);
    put_be32(header + 24, length);
    send_all(f, fd, header, sizeof header);
}

static void expect_reply(struct fixture *f, int fd, uint64_t cookie, uint32_t error)
{
    uint8_t reply[NBD_SIMPLE_REPLY_BYTES];
    assert_true(receive(f, fd, reply, sizeof reply));
    assert_int_equal(get_be32(reply), NBD_SIMPLE_REPLY_MAGIC);
    assert_int_equal(get_be32(reply + 4), error);
    assert_int_equal(get_be64(reply + 8), cookie);
}

/* ---- addresses */

static void addresses_are_parsed_or_refused_with_an_example(void **state)
{
    (void)state;
    struct nbd_address address;
    struct ps_error err;
    const char *rest = nbd_address_parse("  127.0.0.1:10809 [::1]:0  unix:/run/a b", &address, &err);
    assert_string_equal(address.text, "127.0.0.1:10809");
    rest = nbd_address_parse(rest, &address, &err);
    assert_string_equal(address.text, "[::1]:0");
    rest = nbd_address_parse(rest, &address, &err);
    assert_string_equal(address.path, "/run/a");
    assert_string_equal(rest, "b");
    static const char *const wrong[] = {
        "b",         "127.0.0.1",  "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:1x", ":10809", "[::1]10809",
        "::1:10809", "[::1:10809", "unix:",      "127.0.0.1:-1",    "tcp://a:1",    "[]:1",   "127.0.0.1: 5"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_null(nbd_address_parse(wrong[i], &address, &err));
        assert_int_equal(err.status, PS_EINVAL);
        assert_non_null(strstr(err.detail, "NBD address"));
    }
    char path[300] = "unix:/";
    memset(path + 6, 'x', 107);
    assert_null(nbd_address_parse(path, &address, &err));
    assert_non_null(strstr(err.detail, "107 characters"));
    memset(path + 6, 'x', 250);
    assert_null(nbd_address_parse(path, &address, &err));
}

static void a_host_is_looked_up_by_name(void **state)
{
    (void)state;
    struct nbd_address address;
    struct ps_error err;
    assert_non_null(nbd_address_parse("localhost:10809", &address, &err));
    assert_string_equal(address.text, "localhost:10809");
    struct sockaddr_in expected;
    assert_int_equal(uv_ip4_addr("127.0.0.1", 10809, &expected), 0);
    assert_memory_equal(&address.inet, &expected, sizeof expected);
}

static void several_addresses_serve_the_same_volumes(void **state)
{
    struct fixture *f = *state;
    char listen[200], second[160], third[160];
    (void)snprintf(listen, sizeof listen, "127.0.0.1:0 unix:%s/s 127.0.0.2:0", f->folder);
    assert_int_equal(start(f, (struct nbd_server_config){.listen = listen}, NULL), 0);
    assert_true(nbd_server_address(f->server, 1, second, sizeof second));
    assert_true(nbd_server_address(f->server, 2, third, sizeof third));
    assert_false(nbd_server_address(f->server, 3, listen, sizeof listen));
    const int a = attach(f);
    (void)snprintf(f->address, sizeof f->address, "%s", second);
    const int b = attach(f);
    (void)snprintf(f->address, sizeof f->address, "%s", third);
    const int c = attach(f);
    request(f, a, NBD_CMD_FLUSH, 1, 0, 0);
    request(f, b, NBD_CMD_FLUSH, 2, 0, 0);
    request(f, c, NBD_CMD_FLUSH, 3, 0, 0);
    expect_reply(f, c, 3, 0);
    expect_reply(f, b, 2, 0);
    expect_reply(f, a, 1, 0);
    (void)close(a);
    (void)close(b);
    (void)close(c);
    run_until(f, connections(f) == 0);
}

static void a_port_in_use_is_refused_by_name(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(start(f, (struct nbd_server_config){0}, NULL), 0);
    struct nbd_server *first = f->server, *second = NULL;
    const struct nbd_server_config config = {.pod = f->pod, .listen = f->address};
    struct ps_error err;
    assert_int_equal(nbd_server_start(&f->loop, &config, &second, &err), PS_EPRECONDITION);
    assert_non_null(strstr(err.detail, f->address));
    assert_non_null(strstr(err.detail, "another program"));
    assert_null(second);
    assert_ptr_equal(f->server, first);
}

static void wrong_listen_settings_are_refused(void **state)
{
    struct fixture *f = *state;
    struct ps_error err;
    char listen[200];
    assert_int_equal(start(f, (struct nbd_server_config){.listen = "127.0.0.1:0 nonsense"}, &err), PS_EINVAL);
    assert_int_equal(start(f, (struct nbd_server_config){.listen = "  "}, &err), PS_EINVAL);
    assert_int_equal(start(f, (struct nbd_server_config){.listen = "192.0.2.1:10809"}, &err), PS_EINVAL);
    assert_non_null(strstr(err.detail, "192.0.2.1:10809"));
    (void)snprintf(listen, sizeof listen, "unix:%s/none/s", f->folder);
    assert_int_equal(start(f, (struct nbd_server_config){.listen = listen}, &err), PS_EINVAL);
    assert_non_null(strstr(err.detail, "no such folder"));
    assert_int_equal(start(f, (struct nbd_server_config){.memory_bytes = 4096}, &err), PS_EINVAL);
    assert_int_equal(start(f,
                           (struct nbd_server_config){
                               .listen = "127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 "
                                         "127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0"},
                           &err),
                     PS_EINVAL);
}

static void a_stale_unix_socket_is_replaced_and_a_live_one_is_not(void **state)
{
    struct fixture *f = *state;
    char path[100], address[120];
    (void)snprintf(path, sizeof path, "%s/s", f->folder);
    (void)snprintf(address, sizeof address, "unix:%s", path);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strncpy(at.sun_path, path, sizeof at.sun_path - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    struct ps_error err;
    assert_int_equal(start(f, (struct nbd_server_config){.listen = address}, &err), PS_EPRECONDITION);
    assert_non_null(strstr(err.detail, path));
    (void)close(fd); /* what a killed server leaves behind */
    assert_int_equal(start(f, (struct nbd_server_config){.listen = address}, &err), 0);
    (void)close(attach(f));
    stop(f);
    f->stopped = false;
    struct stat st;
    assert_int_equal(stat(path, &st), -1);

    const int file = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(file >= 0);
    (void)close(file);
    assert_int_equal(start(f, (struct nbd_server_config){.listen = address}, &err), PS_EPRECONDITION);
    assert_non_null(strstr(err.detail, "not a socket"));
    assert_int_equal(unlink(path), 0); /* still there */
}

/* ---- limits */

static void connections_over_the_limit_are_closed_at_once(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(start(f, (struct nbd_server_config){.max_connections = 2}, NULL), 0);
    const int a = attach(f), b = attach(f);
    const int c = dial(f), d = dial(f);
    assert_true(is_closed(f, c));
    assert_true(is_closed(f, d));
    assert_non_null(strstr(f->log, "connections are refused"));
    assert_null(strstr(strstr(f->log, "refused") + 1, "refused")); /* said once */
    (void)close(a);
    run_until(f, connections(f) == 1);
    const int e = attach(f);
    struct nbd_server_stats stats;
    nbd_server_stats(f->server, &stats);
    assert_int_equal(stats.refused, 2);
    assert_int_equal(stats.accepted, 3);
    (void)close(b);
    (void)close(c);
    (void)close(d);
    (void)close(e);
}

static void a_silent_client_loses_its_place(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(start(f, (struct nbd_server_config){.handshake_timeout_ms = 20}, NULL), 0);
    const int fd = dial(f);
    uint8_t greeting[NBD_GREETING_BYTES];
    assert_true(receive(f, fd, greeting, sizeof greeting));
    assert_true(is_closed(f, fd));
    assert_non_null(strstr(f->log, "handshake takes too long"));
    (void)close(fd);
    const int patient = attach(f); /* in transmission silence is fine */
    const uint64_t later = uv_hrtime() + 100000000;
    run_until(f, uv_hrtime() > later);
    request(f, patient, NBD_CMD_FLUSH, 1, 0, 0);
    expect_reply(f, patient, 1, 0);
    (void)close(patient);
}

static void who_holds_memory_and_does_not_move_goes_when_others_wait(void **state)
{
    struct fixture *f = *state;
    const struct nbd_server_config config = {.memory_bytes = NBD_BUFFER_MAX, .stuck_timeout_ms = 50};
    assert_int_equal(start(f, config, NULL), 0);
    const int hog = attach(f);
    request(f, hog, NBD_CMD_WRITE, 1, 0, NBD_BUFFER_MAX); /* and never sends the payload */
    const uint64_t later = uv_hrtime() + 200000000;
    run_until(f, uv_hrtime() > later);
    assert_int_equal(connections(f), 1); /* nobody minds yet */
    const int other = attach(f);
    request(f, other, NBD_CMD_READ, 2, 0, 1 << 20);
    expect_reply(f, other, 2, 0);
    assert_true(is_closed(f, hog));
    assert_non_null(strstr(f->log, "others wait for"));
    (void)close(hog);
    (void)close(other);
}

static void an_idle_server_lets_the_loop_sleep(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(start(f, (struct nbd_server_config){0}, NULL), 0);
    const int fd = attach(f);
    request(f, fd, NBD_CMD_READ, 1, 0, 512);
    expect_reply(f, fd, 1, 0);
    char data[512];
    assert_true(receive(f, fd, data, sizeof data));
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_backend_timeout(&f->loop), -1);
    (void)close(fd);
}

/* While many small writes are at the pod the loop is not woken for more: they come when one is answered. */
static void requests_behind_many_writes_come_with_the_next_answer(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(start(f, (struct nbd_server_config){.rest_ms = 60000}, NULL), 0);
    static const char block[4096] = {7};
    const int fd = attach(f);
    pod_fake_hold(f->pod, true);
    for (unsigned i = 0; i < NBD_GATHER_WRITES; i++) {
        request(f, fd, NBD_CMD_WRITE, i, 0, sizeof block);
        send_all(f, fd, block, sizeof block);
    }
    run_until(f, pod_fake_in_flight(f->pod) == NBD_GATHER_WRITES);
    for (unsigned i = 0; i < NBD_GATHER_WRITES; i++) {
        request(f, fd, NBD_CMD_WRITE, 100 + i, 0, sizeof block);
        send_all(f, fd, block, sizeof block);
    }
    struct pollfd poll_fd = {.fd = uv_backend_fd(&f->loop), .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, 0), 0); /* nothing would wake the loop */
    for (unsigned i = 0; i < 10; i++)
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(pod_fake_in_flight(f->pod), NBD_GATHER_WRITES);
    pod_fake_hold(f->pod, false);
    run_until(f, pod_fake_count(f->pod, POD_WRITE) == 2 * NBD_GATHER_WRITES);
    for (unsigned i = 0; i < 2 * NBD_GATHER_WRITES; i++)
        expect_reply(f, fd, i < NBD_GATHER_WRITES ? i : 100 + i - NBD_GATHER_WRITES, 0);
    (void)close(fd);
}

/* ... but not longer than for a moment, or a client that leaves would not be seen while the pod stalls. */
static void behind_many_writes_that_are_not_answered_reads_and_the_end_are_seen_nevertheless(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(start(f, (struct nbd_server_config){.rest_ms = 20}, NULL), 0);
    static const char block[4096] = {7};
    const struct linger reset = {.l_onoff = 1};
    const int fd = attach(f);
    pod_fake_hold(f->pod, true);
    for (unsigned i = 0; i < NBD_GATHER_WRITES; i++) {
        request(f, fd, NBD_CMD_WRITE, i, 0, sizeof block);
        send_all(f, fd, block, sizeof block);
    }
    run_until(f, pod_fake_in_flight(f->pod) == NBD_GATHER_WRITES);
    assert_true(uv_backend_timeout(&f->loop) > 0); /* it sleeps meanwhile */
    for (unsigned i = 1; i <= 32; i++) {           /* one after the other, without another rest */
        request(f, fd, NBD_CMD_WRITE, 100 + i, 0, sizeof block);
        send_all(f, fd, block, sizeof block);
        run_until(f, pod_fake_in_flight(f->pod) == NBD_GATHER_WRITES + i);
        if (i > 1)
            assert_int_equal(uv_backend_timeout(&f->loop), -1);
    }
    request(f, fd, NBD_CMD_READ, 200, 0, 512);
    run_until(f, pod_fake_in_flight(f->pod) == NBD_GATHER_WRITES + 33);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    (void)close(fd);
    run_until(f, strstr(f->log, "left 'vol'"));
    pod_fake_hold(f->pod, false);
    run_until(f, connections(f) == 0);
}

/* ---- the end of connections and of the server */

static void a_vanished_client_is_forgotten_when_the_pod_lets_go(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(start(f, (struct nbd_server_config){0}, NULL), 0);
    const int fd = attach(f);
    pod_fake_hold(f->pod, true);
    for (unsigned i = 0; i < 8; i++)
        request(f, fd, NBD_CMD_READ, i, 0, 65536);
    run_until(f, pod_fake_in_flight(f->pod) == 8);
    const struct linger reset = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    (void)close(fd);
    for (int i = 0; i < 100; i++)
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(pod_fake_in_flight(f->pod), 8);
    assert_int_equal(connections(f), 1);
    pod_fake_hold(f->pod, false);
    run_until(f, connections(f) == 0);
}

static void a_client_that_leaves_with_all_its_requests_waiting_for_a_primary_takes_them_along(void **state)
{
    struct fixture *f = *state;
    lone_cluster_create(&f->cluster, f->pod);
    assert_int_equal(start(f, (struct nbd_server_config){.rest_ms = 20}, NULL), 0);
    static const char block[4096] = {7};
    for (int reset = 0; reset < 2; reset++) {
        f->cluster.elsewhere = false;
        pod_fake_lead(f->pod, true);
        const int fd = attach(f);
        f->cluster.elsewhere = true;
        pod_fake_lead(f->pod, false);
        host_images_news(f->cluster.images);
        for (unsigned i = 0; i <= NBD_REQUESTS_MAX; i++) { /* the last one finds no place */
            request(f, fd, NBD_CMD_WRITE, i, 0, sizeof block);
            send_all(f, fd, block, sizeof block);
        }
        const struct linger linger = {.l_onoff = reset};
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
        (void)close(fd);
        run_until(f, connections(f) == 0);
        assert_int_equal(pod_fake_count(f->pod, POD_WRITE), 0);
    }
}

static void stopping_answers_what_is_in_flight(void **state)
{
    struct fixture *f = *state;
    char listen[120];
    (void)snprintf(listen, sizeof listen, "unix:%s/s", f->folder);
    assert_int_equal(start(f, (struct nbd_server_config){.listen = listen}, NULL), 0);
    const int busy = attach(f), idle = attach(f), shaking = dial(f);
    run_until(f, connections(f) == 3);
    pod_fake_hold(f->pod, true);
    static char block[65536] = {7};
    request(f, busy, NBD_CMD_WRITE, 1, 0, sizeof block);
    send_all(f, busy, block, sizeof block);
    run_until(f, pod_fake_in_flight(f->pod) == 1);
    nbd_server_stop(f->server, on_stopped, f);
    assert_true(is_closed(f, idle));
    assert_int_equal(connections(f), 1);
    assert_false(f->stopped);
    pod_fake_hold(f->pod, false);
    expect_reply(f, busy, 1, 0);
    assert_true(is_closed(f, busy));
    run_until(f, f->stopped);
    (void)close(busy);
    (void)close(idle);
    (void)close(shaking);
}

static void stopping_does_not_wait_for_a_deaf_client(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(start(f, (struct nbd_server_config){.linger_ms = 20}, NULL), 0);
    static char block[1 << 20];
    memset(block, 7, sizeof block);
    const int fd = attach(f);
    for (unsigned i = 0; i < 32; i++) {
        request(f, fd, NBD_CMD_WRITE, i, i * sizeof block, sizeof block);
        send_all(f, fd, block, sizeof block);
        expect_reply(f, fd, i, 0);
    }
    for (unsigned i = 0; i < 32; i++)
        request(f, fd, NBD_CMD_READ, i, i * sizeof block, sizeof block);
    run_until(f, pod_fake_count(f->pod, POD_READ) == 32);
    stop(f);
    assert_non_null(strstr(f->log, "does not take its last replies"));
    (void)close(fd);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_parsed_or_refused_with_an_example),
        cmocka_unit_test(a_host_is_looked_up_by_name),
        T(several_addresses_serve_the_same_volumes),
        T(a_port_in_use_is_refused_by_name),
        T(wrong_listen_settings_are_refused),
        T(a_stale_unix_socket_is_replaced_and_a_live_one_is_not),
        T(connections_over_the_limit_are_closed_at_once),
        T(a_silent_client_loses_its_place),
        T(who_holds_memory_and_does_not_move_goes_when_others_wait),
        T(an_idle_server_lets_the_loop_sleep),
        T(requests_behind_many_writes_come_with_the_next_answer),
        T(behind_many_writes_that_are_not_answered_reads_and_the_end_are_seen_nevertheless),
        T(a_vanished_client_is_forgotten_when_the_pod_lets_go),
        T(a_client_that_leaves_with_all_its_requests_waiting_for_a_primary_takes_them_along),
        T(stopping_answers_what_is_in_flight),
        T(stopping_does_not_wait_for_a_deaf_client),
    };
    return cmocka_run_group_tests_name("nbd_uv", tests, NULL, NULL);
}
