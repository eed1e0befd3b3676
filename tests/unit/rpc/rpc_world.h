/* A server and a client on virtual time, each on a host of its own. */
#ifndef PS_TEST_RPC_WORLD_H
#define PS_TEST_RPC_WORLD_H

#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "common/rpc/transport_mem.h"
#include "test_service.h"

#define MS             1000000ull
#define SECOND         (1000 * MS)
#define WORLD_ENDPOINT "mem://node"

struct rpc_world {
    struct rpc_mem_net *net;
    struct rpc_transport *node, *host;
    struct rpc_server *server;
    struct rpc_client *client;
    struct test_service service;
    char log[512]; /* the server's last line */
    unsigned log_lines;
    char client_log[512]; /* and the client's */
    unsigned client_log_lines;
    const char *server_name; /* that the next client wants; NULL: any */
    int client_status;
    unsigned client_news;
};

/* What came back of a call. */
struct outcome {
    struct rpc_request request;
    unsigned answers;
    int status;
    bool unsent;
    char detail[256], name[64];
    uint64_t id, at_ns;
    size_t payload_bytes;
    uint64_t payload_sum;
    unsigned messages, disorder; /* of a stream; those out of order */
    uint64_t last_cursor;
    struct rpc_world *world;
};

void world_open(struct rpc_world *world, const struct rpc_mem_config *net,
                const struct rpc_server_config *server);
void world_connect(struct rpc_world *world, const char *endpoint);
void world_connect_as(struct rpc_world *world, const char *endpoint, const struct rpc_identity *identity,
                      const struct rpc_keys *keys);
/* The server is node "node-a" unless the identity says otherwise. */
void world_serve(struct rpc_world *world, const struct rpc_server_config *config);
void world_stop_server(struct rpc_world *world);
void world_stop_client(struct rpc_world *world);
void world_close(struct rpc_world *world);
void world_run(struct rpc_world *world, uint64_t for_ns);

/* Calls with the answer collected in `outcome`; zero it first, set what the request needs beyond. */
int call_create(struct rpc_world *world, struct outcome *outcome, const char *name);
int call_get(struct rpc_world *world, struct outcome *outcome);
int call_write(struct rpc_world *world, struct outcome *outcome, const void *payload, size_t length);
int call_read(struct rpc_world *world, struct outcome *outcome, uint64_t offset, uint32_t length);
int call_follow(struct rpc_world *world, struct outcome *outcome);
int call_method(struct rpc_world *world, struct outcome *outcome, const char *method);

#endif
