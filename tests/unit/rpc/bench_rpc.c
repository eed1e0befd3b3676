/* What a call costs: one client, one server process, 4 KiB payloads, 32 calls
 * in flight. Prints calls a second and the CPU of both sides for each call.
 * Usage: bench_rpc [SECONDS] */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/rpc/client.h"
#include "common/rpc/transport_nng.h"
#include "pstorage/v1/block_io.pb-c.h"
#include "test_service.h"

enum {
    DEPTH = 32,
    BYTES = 4096
};

struct bench {
    uv_loop_t loop;
    struct rpc_transport *transport;
    struct rpc_client *client;
    struct rpc_request requests[DEPTH];
    uint64_t calls, until_ns;
    unsigned busy;
    bool reading;
};

static uint8_t data[BYTES];

static double cpu_seconds(int who)
{
    struct rusage u;
    (void)getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void serve(const char *endpoint)
{
    static struct test_service service;
    uv_loop_t loop;
    struct rpc_transport *transport;
    struct rpc_server *server;
    const struct rpc_server_config config = {.identity = {.name = "bench"}};
    assert(uv_loop_init(&loop) == 0 && rpc_transport_nng_create(&loop, &transport) == PS_OK);
    assert(rpc_server_create(transport, &config, &server) == PS_OK);
    test_service_register(server, &service);
    assert(rpc_server_listen(server, endpoint, NULL) == PS_OK);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
}

static void next(struct bench *b, struct rpc_request *r);

static void on_reply(struct rpc_request *r, const struct rpc_reply *reply)
{
    struct bench *b = r->user;
    assert(reply->status == PS_OK);
    b->calls++;
    b->busy--;
    if (uv_hrtime() < b->until_ns)
        next(b, r);
}

static void next(struct bench *b, struct rpc_request *r)
{
    Pstorage__V1__WriteRequest write = PSTORAGE__V1__WRITE_REQUEST__INIT;
    Pstorage__V1__ReadRequest read = PSTORAGE__V1__READ_REQUEST__INIT;
    write.handle = read.handle = 1;
    write.offset = read.offset = 1ull << 30;
    read.length = BYTES;
    r->service = &pstorage__v1__block_io__descriptor;
    r->method = b->reading ? "Read" : "Write";
    r->message = b->reading ? &read.base : &write.base;
    r->payload = b->reading ? NULL : data;
    r->payload_bytes = b->reading ? 0 : BYTES;
    r->wait_for_ready = true;
    r->user = b;
    b->busy++;
    assert(rpc_client_call(b->client, r, on_reply) == PS_OK);
}

static void run(struct bench *b, uint64_t ns)
{
    b->calls = 0;
    b->until_ns = uv_hrtime() + ns;
    for (size_t i = 0; i < DEPTH; i++)
        next(b, &b->requests[i]);
    while (b->busy > 0)
        (void)uv_run(&b->loop, UV_RUN_ONCE);
}

static double server_cpu(pid_t pid)
{
    char path[64], line[1024];
    unsigned long user = 0, system = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    assert(f && fgets(line, sizeof line, f));
    (void)fclose(f);
    assert(sscanf(strrchr(line, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                  &system) == 2);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void measure(struct bench *b, pid_t pid, const char *endpoint, bool reading, double seconds)
{
    b->reading = reading;
    run(b, 200000000);
    const double client = cpu_seconds(RUSAGE_SELF), server = server_cpu(pid);
    const uint64_t start = uv_hrtime();
    run(b, (uint64_t)(seconds * 1e9));
    const double elapsed = (double)(uv_hrtime() - start) / 1e9, calls = (double)b->calls;
    (void)printf("%-28s %-5s %8.0f calls/s  client %5.2f us  server %5.2f us\n", endpoint,
                 reading ? "read" : "write", calls / elapsed,
                 (cpu_seconds(RUSAGE_SELF) - client) / calls * 1e6, (server_cpu(pid) - server) / calls * 1e6);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--serve") == 0) {
        serve(argv[2]);
        return 0;
    }
    const double seconds = argc > 1 ? atof(argv[1]) : 2;
    static const char *const endpoints[] = {"tcp://127.0.0.1:19517", "ipc:///tmp/pstorage-bench-rpc"};
    for (size_t i = 0; i < 2; i++) {
        /* One each: the first is left as it is, its client still looking for the server that was killed. */
        static struct bench benches[2];
        struct bench *const b = &benches[i];
        const pid_t pid = fork();
        if (pid == 0) {
            (void)execl("/proc/self/exe", argv[0], "--serve", endpoints[i], NULL);
            _exit(1);
        }
        assert(uv_loop_init(&b->loop) == 0 && rpc_transport_nng_create(&b->loop, &b->transport) == PS_OK);
        const struct rpc_client_config config = {.endpoint = endpoints[i], .identity = {.name = "bench"}};
        assert(rpc_client_connect(b->transport, &config, &b->client, NULL) == PS_OK);
        measure(b, pid, endpoints[i], false, seconds);
        measure(b, pid, endpoints[i], true, seconds);
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    (void)unlink("/tmp/pstorage-bench-rpc");
    return 0;
}
