/* The HTTP server of the REST API: libmicrohttpd on a thread of its own, answers by libpstorage from the
 * node's own RPC services.
 *
 * Bounds: REST_CONNECTIONS_MAX connections, REST_STREAMS_MAX of them following events; headers
 * REST_HEADERS_MAX bytes, bodies REST_BODY_MAX, all bodies and data together REST_MEMORY_MAX; a request must
 * be there REST_REQUEST_MS after the one before (or after its headers, its body), however its sender drips
 * it; an answer must be taken within REST_ANSWER_MS. Idle, the thread sleeps without a deadline. */
#ifndef PS_NODE_HOST_REST_REST_SERVER_MHD_H
#define PS_NODE_HOST_REST_REST_SERVER_MHD_H

#include <stdint.h>

#include "common/status.h"

enum {
    REST_CONNECTIONS_MAX = 256,
    REST_STREAMS_MAX = 32,
    REST_HEADERS_MAX = 32 * 1024, /* with all else that libmicrohttpd keeps of a connection */
    REST_MEMORY_MAX = 64 * 1024 * 1024,
    REST_REQUEST_MS = 30 * 1000,
    REST_ANSWER_MS = 120 * 1000,
    REST_HEARTBEAT_MS = 15 * 1000, /* of a stream: it shows whether somebody is still there */
};

struct rest_server;
struct tokens;

struct rest_server_config {
    const char *listen; /* host name or address */
    uint16_t port;
    const char *tls_certificate_file, *tls_key_file; /* PEM; both "": no TLS */
    struct tokens *tokens;
    const char *endpoint;                                      /* the node's own RPC */
    const char *cluster_key, *cluster_key_file, *cluster_name; /* as the node's own */
};

/* Errors with a detail: PS_EINVAL (host, TLS files), PS_EEXISTS (port in use), PS_ENOTFOUND, PS_EPERM,
 * PS_ENOMEM. All strings are copied or not used any more. */
int rest_server_start(const struct rest_server_config *config, struct rest_server **out,
                      struct ps_error *err);
/* Blocks until the last answer under way was given up, and nothing of it runs any more. */
void rest_server_stop(struct rest_server *server);

#endif
