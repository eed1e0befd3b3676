/* The NBD server: sessions on sockets of a libuv loop, that of the reactor
 * which owns the pod. Everything here belongs to that loop's thread.
 *
 * Contract with the reactor: once after each pod_turn, in the same prepare
 * callback, it calls nbd_server_turn, which sends the replies that the turn
 * made, one writev a connection. What a turn of the server submits itself
 * makes the loop come round at once. */
#ifndef PS_NODE_HOST_NBD_UV_H
#define PS_NODE_HOST_NBD_UV_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/status.h"

struct pod;
struct host_images;
struct nbd_server;

enum nbd_log_level {
    NBD_LOG_DEBUG,
    NBD_LOG_INFO,
    NBD_LOG_WARNING
};

struct nbd_server_config {
    struct pod *pod;
    const char *listen;       /* addresses separated by spaces: see nbd_address_parse; at least one */
    uint32_t max_connections; /* 0: 256. A connection costs up to 350 KiB, its small requests included. */
    uint64_t memory_bytes;    /* larger requests in flight, all connections; 0: 64 MiB; at least 32 MiB */
    uint32_t handshake_timeout_ms; /* between one option and the next; 0: 10 s */
    uint32_t stuck_timeout_ms;     /* a client that neither reads nor sends while others wait for the
                                      memory it holds; 0: 10 s */
    uint32_t linger_ms;            /* for a client to take its last replies when one side is done; 0: 5 s */
    uint32_t rest_ms; /* reading rests so long at most while small writes are at the pod; 0: 0.1 s */
    void (*log)(void *user, enum nbd_log_level level, const char *text); /* may be NULL */
    void *user;
    struct host_images *images; /* borrowed; NULL: the pod here or none */
};

/* Starts to listen. Errors, with a detail: PS_EINVAL (addresses, limits),
 * PS_EPRECONDITION (an address is in use), PS_EPERM, PS_EIO, PS_ENOMEM. After
 * an error the loop must still run until the handles are closed (uv_run before
 * uv_loop_close). */
int nbd_server_start(uv_loop_t *loop, const struct nbd_server_config *config, struct nbd_server **out,
                     struct ps_error *err);

void nbd_server_turn(struct nbd_server *server);

/* Stops listening, lets requests in flight finish (the pod goes on having its
 * turns) and their replies be taken, disconnects everybody. Then the server is
 * gone and `cb` runs, from the loop. */
void nbd_server_stop(struct nbd_server *server, void (*cb)(void *user), void *user);

/* Images are broken (host_image.h): disconnects everybody who uses an export, without a reply to what is
 * under way, so that hosts connect again. */
void nbd_server_drop(struct nbd_server *server);

/* The index-th address, as bound; false if there are fewer. */
bool nbd_server_address(const struct nbd_server *server, unsigned index, char *out, size_t size);

struct nbd_server_stats {
    uint32_t connections;       /* now */
    uint64_t accepted, refused; /* refused: over the limit of connections */
    uint64_t requests, errors;  /* errors: answered with one */
    uint64_t read_bytes, written_bytes;
    uint64_t memory_bytes, memory_limit; /* payload buffers */
};
void nbd_server_stats(const struct nbd_server *server, struct nbd_server_stats *out);

#endif
