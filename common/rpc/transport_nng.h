/* RPC's transport in the programs: NNG byte streams under a libuv loop.
 *
 * One transport serves any number of servers and clients of one loop; all of
 * it belongs to the loop's thread. Endpoints: tcp://host:port (IPv6 in
 * brackets), ipc:///path.
 *
 * A library that lives on a thread of its own runs a loop there, makes the transport
 * on it, and sends that thread its work (uv_async). */
#ifndef PS_COMMON_RPC_TRANSPORT_NNG_H
#define PS_COMMON_RPC_TRANSPORT_NNG_H

#include <uv.h>

struct rpc_transport;

/* `loop` outlives the transport. Errors: PS_ENOMEM, PS_EINTERNAL. */
int rpc_transport_nng_create(uv_loop_t *loop, struct rpc_transport **out);

/* Every server and client on it is closed (their `closed` ran). Frees it, then
 * `closed`; the loop has no handle of ours left afterwards. */
void rpc_transport_nng_close(struct rpc_transport *transport, void (*closed)(void *user), void *user);

/* Gives NNG's threads back, for leak checkers: once a process, when no transport is left. */
void rpc_transport_nng_finish(void);

#endif
