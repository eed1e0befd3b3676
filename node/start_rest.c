/* The REST API, a client of this node's own RPC. */
#include <stdio.h>
#include <string.h>

#include "common/rpc/server.h"
#include "node/daemon.h"
#include "node/host/rest/rest_server_mhd.h"

/* Where a client on this machine reaches what listens there. */
static void own_endpoint(const char *listen, char *out, size_t room)
{
    const bool any4 = strncmp(listen, "tcp://0.0.0.0:", 14) == 0,
               any6 = strncmp(listen, "tcp://[::]:", 11) == 0;
    (void)snprintf(out, room, "%s%s",
                   any4   ? "tcp://127.0.0.1:"
                   : any6 ? "tcp://[::1]:"
                          : listen,
                   any4   ? listen + 14
                   : any6 ? listen + 11
                          : "");
}

static size_t setting_of(int status, const struct node *node)
{
    if (status == PS_EEXISTS)
        return PSTORAGED_API_PORT;
    return node->as.api_tls_cert_file[0] || node->as.api_tls_key_file[0] ? PSTORAGED_API_TLS_CERT_FILE
                                                                         : PSTORAGED_API_LISTEN;
}

int start_rest(struct node *node, struct ps_error *err)
{
    char endpoint[300];
    if (node->as.api_listen[0] == '\0')
        return 0;
    own_endpoint(rpc_server_address(node->rpc, 0), endpoint, sizeof endpoint);
    const struct rest_server_config config = {
        .listen = node->as.api_listen,
        .port = (uint16_t)node->as.api_port,
        .tls_certificate_file = node->as.api_tls_cert_file,
        .tls_key_file = node->as.api_tls_key_file,
        .tokens = node->tokens,
        .endpoint = endpoint,
        .cluster_key = node->as.cluster_key,
        .cluster_key_file = node->as.cluster_key_file,
        .cluster_name = node->as.cluster_name,
    };
    struct ps_error reason = {0};
    const int rc = rest_server_start(&config, &node->rest, &reason);
    return rc ? node_setting_error(node, setting_of(rc, node), rc, err, reason.detail) : 0;
}

void stop_rest(struct node *node)
{
    if (node->rest)
        rest_server_stop(node->rest);
    node->rest = NULL;
}
