/* RPC's transport in memory, on virtual time: for tests and the simulator.
 *
 * A net is a set of named hosts. Byte streams between them are split, delayed
 * and bounded as told; hosts can be cut off from each other (bytes wait,
 * nothing fails) and streams can be broken. Deterministic, nonces included: the same
 * calls give the same run. */
#ifndef PS_COMMON_RPC_TRANSPORT_MEM_H
#define PS_COMMON_RPC_TRANSPORT_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rpc_mem_net;
struct rpc_transport;

struct rpc_mem_config {
    uint64_t latency_ns;   /* of every byte and every connect */
    size_t capacity_bytes; /* in transit a direction; 0: 64 KiB */
    size_t piece_bytes;    /* at most so many a send and a receive; 0: no limit */
    bool remote;           /* hosts are other machines to each other, not this one */
};

struct rpc_mem_net *rpc_mem_net_create(const struct rpc_mem_config *config);
/* Every transport was destroyed. */
void rpc_mem_net_destroy(struct rpc_mem_net *net);

/* A host. Endpoints are any strings, unique in the net. */
struct rpc_transport *rpc_mem_transport_create(struct rpc_mem_net *net, const char *host);
/* Every server and client on it is closed. */
void rpc_mem_transport_destroy(struct rpc_transport *transport);

uint64_t rpc_mem_now(const struct rpc_mem_net *net);
/* Runs all that happens up to and at `until_ns`; time stands there afterwards. */
void rpc_mem_run(struct rpc_mem_net *net, uint64_t until_ns);

/* From now on bytes and connects between the two wait (or flow again). One host's name may be NULL: any. */
void rpc_mem_cut(struct rpc_mem_net *net, const char *host, const char *other, bool cut);
/* Every stream between the two ends, as if its other end had died; what is in transit is lost. */
void rpc_mem_break(struct rpc_mem_net *net, const char *host, const char *other);

#endif
