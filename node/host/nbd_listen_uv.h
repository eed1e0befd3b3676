/* Where an NBD server listens: addresses, and the sockets bound to them. */
#ifndef PS_NODE_HOST_NBD_LISTEN_UV_H
#define PS_NODE_HOST_NBD_LISTEN_UV_H

#include <uv.h>

#include "common/status.h"

struct nbd_address {
    char text[128];               /* as given, for messages */
    char path[108];               /* unix socket; "" for TCP */
    struct sockaddr_storage inet; /* TCP */
};

/* Parses the first address of `spec` ("127.0.0.1:10809", "[::1]:10809",
 * "unix:PATH"; separated by spaces). The name of a host is looked up, which
 * blocks. Returns what follows it, or NULL with a detail in `err` (PS_EINVAL).
 * `spec` holds at least one non-space. */
const char *nbd_address_parse(const char *spec, struct nbd_address *out, struct ps_error *err);

union nbd_socket {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

/* Makes a listening socket. The handle is initialised in any case, and the
 * caller closes it (a unix socket's file goes with it). A stale unix socket,
 * one nobody listens on, is replaced. Errors, with a detail that names the
 * address: PS_EPRECONDITION (in use), PS_EPERM, PS_EINVAL (no such address or
 * folder), PS_EIO. */
int nbd_listen(uv_loop_t *loop, const struct nbd_address *address, union nbd_socket *socket, int backlog,
               uv_connection_cb cb, struct ps_error *err);

/* An unbound handle of the address's kind, to accept into. */
void nbd_socket_init(uv_loop_t *loop, const struct nbd_address *address, union nbd_socket *socket);

/* "127.0.0.1:10809" as bound, which tells the port where 0 was asked for. */
void nbd_socket_name(const union nbd_socket *socket, const struct nbd_address *address, char *out,
                     size_t size);
/* The peer of an accepted connection, for logs. */
void nbd_peer_name(const union nbd_socket *socket, char *out, size_t size);

#endif
