/* An NBD server on a pod in memory, for tests with real clients and for
 * measuring the server alone.
 *
 *   nbd_fake_server ADDRESSES [NAME=BYTES...]
 *
 * Prints "listening ADDRESS" for each address when it is ready. Reads commands
 * from standard input, one a line, and answers "ok" or "error DETAIL":
 *
 *   create NAME BYTES | snapshot VOLUME@SNAP | delete NAME
 *   show NAME: bytes that hosts wrote to all, and how often this one is open
 *   hold | go | fail STATUS-NUMBER | shuffle SEED | capacity BYTES
 *   stats
 *
 * Stops cleanly at SIGTERM or at the end of its input. The environment sets limits: NBD_MEMORY,
 * NBD_CONNECTIONS, NBD_HANDSHAKE_MS, NBD_STUCK_MS. */
#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "node/host/nbd_uv.h"
#include "tests/support/pod_fake.h"

static struct pod *pod;
static struct nbd_server *server;
static uv_prepare_t reactor;
static uv_timer_t wake; /* for a pod that wants another turn at once */
static uv_signal_t term;
static uv_pipe_t input;
static char line[256];
static size_t line_bytes;
static bool stopping;

static void on_wake(uv_timer_t *timer)
{
    (void)timer;
}

static void on_reactor(uv_prepare_t *prepare)
{
    (void)prepare;
    const uint64_t now = uv_hrtime();
    const uint64_t next = pod_turn(pod, now);
    if (server)
        nbd_server_turn(server);
    if (next != UINT64_MAX)
        (void)uv_timer_start(&wake, on_wake, next > now ? (next - now) / 1000000 : 0, 0);
}

static void on_log(void *user, enum nbd_log_level level, const char *text)
{
    (void)user;
    (void)fprintf(stderr, "%s %s\n", level == NBD_LOG_WARNING ? "warning" : "info", text);
}

static void on_pod_closed(void *user)
{
    (void)user;
    uv_close((uv_handle_t *)&reactor, NULL);
    uv_close((uv_handle_t *)&wake, NULL);
}

static void on_server_stopped(void *user)
{
    (void)user;
    server = NULL;
    pod_close(pod, on_pod_closed, NULL);
    (void)uv_timer_start(&wake, on_wake, 0, 0);
}

static void stop(void)
{
    if (stopping)
        return;
    stopping = true;
    uv_close((uv_handle_t *)&term, NULL);
    uv_close((uv_handle_t *)&input, NULL);
    pod_fake_hold(pod, false);
    nbd_server_stop(server, on_server_stopped, NULL);
}

static void on_term(uv_signal_t *handle, int number)
{
    (void)handle;
    (void)number;
    stop();
}

static void answer(int status, const char *detail)
{
    if (status)
        (void)printf("error %s\n", detail);
    else
        (void)printf("ok\n");
    (void)fflush(stdout);
}

static void manage(enum pod_manage_op op, const char *name, uint64_t size_bytes)
{
    struct pod_manage req = {.op = op, .size_bytes = size_bytes, .with_snapshots = true, .force = true};
    (void)snprintf(req.name, sizeof req.name, "%s", name);
    const int status = pod_fake_manage(pod, &req);
    answer(status, req.error.detail);
}

static void stats(void)
{
    struct nbd_server_stats s;
    nbd_server_stats(server, &s);
    (void)printf("connections %u accepted %" PRIu64 " refused %" PRIu64 " requests %" PRIu64
                 " errors %" PRIu64 " memory %" PRIu64 " in_flight %u\n",
                 s.connections, s.accepted, s.refused, s.requests, s.errors, s.memory_bytes,
                 pod_fake_in_flight(pod));
}

static void show(const char *name)
{
    struct pod_stats s;
    struct pod_image_info info;
    const bool is_there = pod_image_by_name(pod, name, &info) == 0;
    pod_stats(pod, &s);
    (void)printf("written %" PRIu64 " opened %u\n", s.host_written, is_there ? info.open_count : 0);
    answer(0, "");
}

static void command(char *text)
{
    char *save = NULL;
    const char *verb = strtok_r(text, " ", &save);
    const char *name = strtok_r(NULL, " ", &save);
    const char *rest = strtok_r(NULL, " ", &save);
    if (!verb)
        return;
    const uint64_t number = name ? strtoull(name, NULL, 10) : 0;
    if (strcmp(verb, "create") == 0 && name && rest) {
        manage(POD_VOLUME_CREATE, name, strtoull(rest, NULL, 10));
        return;
    }
    if (strcmp(verb, "snapshot") == 0 && name) {
        manage(POD_SNAPSHOT_CREATE, name, 0);
        return;
    }
    if (strcmp(verb, "delete") == 0 && name) {
        manage(strchr(name, '@') ? POD_SNAPSHOT_DELETE : POD_VOLUME_DELETE, name, 0);
        return;
    }
    if (strcmp(verb, "show") == 0 && name) {
        show(name);
        return;
    }
    if (strcmp(verb, "stats") == 0)
        stats();
    else if (strcmp(verb, "hold") == 0)
        pod_fake_hold(pod, true);
    else if (strcmp(verb, "go") == 0)
        pod_fake_hold(pod, false);
    else if (strcmp(verb, "fail") == 0)
        pod_fake_fail_next(pod, -(int)number);
    else if (strcmp(verb, "shuffle") == 0)
        pod_fake_shuffle(pod, number);
    else if (strcmp(verb, "capacity") == 0)
        pod_fake_set_capacity(pod, number);
    else {
        answer(PS_EINVAL, "unknown command");
        return;
    }
    answer(0, "");
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(line + line_bytes, (unsigned)(sizeof line - line_bytes));
}

static void on_input(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    (void)stream;
    (void)buf;
    if (nread < 0) {
        stop();
        return;
    }
    line_bytes += (size_t)nread;
    for (char *end; (end = memchr(line, '\n', line_bytes));) {
        *end = 0;
        const size_t used = (size_t)(end + 1 - line);
        command(line);
        memmove(line, line + used, line_bytes - used);
        line_bytes -= used;
    }
    if (line_bytes == sizeof line)
        stop();
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "usage: %s ADDRESSES [NAME=BYTES...]\n", argv[0]);
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    pod = pod_fake_create();
    for (int i = 2; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        assert(equals);
        *equals = 0;
        pod_fake_volume(pod, argv[i], strtoull(equals + 1, NULL, 10));
    }
    uv_loop_t *loop = uv_default_loop();
    const char *memory = getenv("NBD_MEMORY"), *connections = getenv("NBD_CONNECTIONS");
    const char *handshake = getenv("NBD_HANDSHAKE_MS"), *stuck = getenv("NBD_STUCK_MS");
    const struct nbd_server_config config = {
        .pod = pod,
        .listen = argv[1],
        .memory_bytes = memory ? strtoull(memory, NULL, 10) : 0,
        .max_connections = connections ? (uint32_t)strtoul(connections, NULL, 10) : 0,
        .handshake_timeout_ms = handshake ? (uint32_t)strtoul(handshake, NULL, 10) : 0,
        .stuck_timeout_ms = stuck ? (uint32_t)strtoul(stuck, NULL, 10) : 0,
        .log = on_log,
    };
    struct ps_error err;
    const int status = nbd_server_start(loop, &config, &server, &err);
    if (status) {
        (void)fprintf(stderr, "%s\n", err.detail);
        (void)uv_run(loop, UV_RUN_DEFAULT);
        (void)uv_loop_close(loop);
        pod_destroy(pod);
        return 1;
    }
    char address[160];
    for (unsigned i = 0; nbd_server_address(server, i, address, sizeof address); i++)
        (void)printf("listening %s\n", address);
    (void)fflush(stdout);
    (void)uv_prepare_init(loop, &reactor);
    (void)uv_prepare_start(&reactor, on_reactor);
    (void)uv_timer_init(loop, &wake);
    (void)uv_signal_init(loop, &term);
    (void)uv_signal_start(&term, on_term, SIGTERM);
    (void)uv_pipe_init(loop, &input, 0);
    (void)uv_pipe_open(&input, 0);
    (void)uv_read_start((uv_stream_t *)&input, on_alloc, on_input);
    (void)uv_run(loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(loop);
    pod_destroy(pod);
    return 0;
}
