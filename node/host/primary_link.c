#include "node/host/primary_link.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/pool.h"
#include "common/rpc/server.h"
#include "common/rpc/transport.h"
#include "pstorage/v1/block_io.pb-c.h"

#define MS 1000000ull
/* How often a stamp is asked for; sooner while the node there is about to lead. */
#define STAMP_EVERY_NS  (250 * MS)
#define STAMP_AGAIN_NS  (20 * MS)
#define STAMP_SPARE_NS  (500 * MS) /* of a stamp's time, for the way to the primary */
#define CLOCK_MARGIN_NS (100 * MS) /* what two clocks differ by in the time of a stamp */
#define RECONNECT_MIN   (10 * MS)
#define RECONNECT_MAX   (100 * MS)

/* Else it would stop reading, and stamps would be asked for in vain: a live primary taken for a silent one.
 */
_Static_assert(PRIMARY_LINK_BYTES_MAX + (1 << 20) <= RPC_CONNECTION_BYTES_MAX,
               "what the primary holds of one link leaves room for what is no payload");

struct primary_link {
    struct primary_link_config config;
    char primary[RPC_NAME_MAX + 1], address[256];
    struct rpc_client *client;
    bool connected, ended, closing;
    uint64_t connection; /* number of the present or last one */
    uint64_t stamp;      /* 0: none */
    uint64_t stamp_ns, heard_ns, ask_ns;
    struct rpc_request rpc; /* for stamps */
    bool asking;
    unsigned calls;
    uint64_t bytes;
    struct ps_error trouble;
    void (*closed)(void *user);
    void *closed_user;
};

static uint64_t now_of(const struct primary_link *link)
{
    return rpc_now(link->config.transport);
}

static void changed(struct primary_link *link)
{
    if (!link->closing)
        link->config.changed(link->config.user);
}

static void on_state(void *user, int status, const char *detail)
{
    struct primary_link *link = user;
    link->stamp = 0;
    link->connected = false;
    if (status) {
        (void)ps_error_set(&link->trouble, status, "%s", detail);
        /* Not before it was connected once: until then nothing was sent. */
        link->ended = rpc_client_refused(link->client);
        changed(link);
        return;
    }
    link->connection++;
    link->ended = false;
    link->heard_ns = link->ask_ns = now_of(link);
    link->connected = true;
    changed(link);
}

int primary_link_create(const struct primary_link_config *config, struct primary_link **out,
                        struct ps_error *err)
{
    struct primary_link *link = calloc(1, sizeof *link);
    if (!link)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    link->config = *config;
    (void)snprintf(link->primary, sizeof link->primary, "%s", config->primary);
    (void)snprintf(link->address, sizeof link->address, "%s", config->address);
    const struct rpc_client_config client = {
        .endpoint = link->address,
        .identity = {.name = config->node_name,
                     .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE,
                     .cluster_id = config->cluster_name},
        .server_name = link->primary,
        .keys = config->keys,
        .on_state = on_state,
        .log = config->log,
        .user = link,
        .backoff_min_ns = RECONNECT_MIN,
        .backoff_max_ns = RECONNECT_MAX,
    };
    const int rc = rpc_client_connect(config->transport, &client, &link->client, err);
    if (rc)
        free(link);
    else
        *out = link;
    return rc;
}

static void on_closed(void *user)
{
    struct primary_link *link = user;
    void (*closed)(void *) = link->closed;
    void *closed_user = link->closed_user;
    assert(link->calls == 0 && link->bytes == 0);
    free(link);
    closed(closed_user);
}

void primary_link_close(struct primary_link *link, void (*closed)(void *user), void *user)
{
    link->closing = true;
    link->connected = false;
    link->closed = closed;
    link->closed_user = user;
    rpc_client_close(link->client, on_closed, link);
}

/* ---- stamps */

static void on_stamp(struct rpc_request *rpc, const struct rpc_reply *reply)
{
    struct primary_link *link = container_of(rpc, struct primary_link, rpc);
    const uint64_t now = now_of(link);
    link->asking = false;
    link->ask_ns = now + STAMP_EVERY_NS;
    if (reply->status == 0) {
        link->heard_ns = link->stamp_ns = now;
        link->stamp = ((const Pstorage__V1__StampResponse *)(const void *)reply->message)->stamp;
    } else {
        (void)ps_error_set(&link->trouble, reply->status, "%.63s at %.100s: %.80s", link->primary,
                           link->address, reply->detail);
        link->stamp = 0;
        link->ask_ns = now + STAMP_AGAIN_NS;
        if (link->connected && reply->status != PS_EDEADLINE)
            link->heard_ns = now;
    }
    changed(link);
}

uint64_t primary_link_turn(struct primary_link *link, uint64_t now_ns)
{
    if (!link->connected)
        return RPC_NEVER;
    if (!link->asking && now_ns >= link->ask_ns) {
        const Pstorage__V1__StampRequest message = PSTORAGE__V1__STAMP_REQUEST__INIT;
        link->rpc = (struct rpc_request){.service = &pstorage__v1__block_io__descriptor,
                                         .method = "Stamp",
                                         .message = &message.base,
                                         .timeout_ns = PRIMARY_SILENCE_NS};
        link->asking = rpc_client_call(link->client, &link->rpc, on_stamp) == 0;
        if (!link->asking)
            link->ask_ns = now_ns + STAMP_AGAIN_NS;
    }
    return link->asking ? link->heard_ns + PRIMARY_SILENCE_NS + 1 : link->ask_ns;
}

/* ---- looking */

bool primary_link_is_good(const struct primary_link *link, uint64_t now_ns)
{
    return link->connected && link->stamp &&
           now_ns - link->stamp_ns < PRIMARY_STAMP_VALID_NS - STAMP_SPARE_NS;
}

bool primary_link_is_connected(const struct primary_link *link)
{
    return link->connected;
}

uint64_t primary_link_connection(const struct primary_link *link)
{
    return link->connection;
}

bool primary_link_process_ended(const struct primary_link *link)
{
    return link->ended;
}

bool primary_link_is_silent(const struct primary_link *link, uint64_t now_ns, uint64_t silence_ns)
{
    return link->connected && (link->asking || link->calls > 0) && now_ns - link->heard_ns > silence_ns;
}

const char *primary_link_node(const struct primary_link *link)
{
    return link->primary;
}

const char *primary_link_trouble(const struct primary_link *link)
{
    return link->trouble.detail;
}

unsigned primary_link_calls(const struct primary_link *link)
{
    return link->calls;
}

/* ---- calls */

bool primary_link_has_room(const struct primary_link *link, uint32_t bytes)
{
    uint64_t held;
    const unsigned calls = link->calls + rpc_client_given_up(link->client, &held);
    held += link->bytes;
    return calls < PRIMARY_LINK_CALLS_MAX &&
           (held == 0 || held + rpc_pool_cost(bytes) <= PRIMARY_LINK_BYTES_MAX);
}

uint64_t primary_link_stamp(const struct primary_link *link)
{
    return link->stamp;
}

static void on_reply(struct rpc_request *rpc, const struct rpc_reply *reply)
{
    struct primary_call *call = container_of(rpc, struct primary_call, rpc);
    struct primary_link *link = call->link;
    link->calls--;
    link->bytes -= rpc->share_bytes;
    call->was_sent = !reply->unsent;
    call->was_connected = link->connected;
    if (link->connected && reply->status != PS_ECANCELLED)
        link->heard_ns = now_of(link);
    call->cb(call, reply);
}

int primary_link_call(struct primary_link *link, struct primary_call *call, const char *method,
                      void (*cb)(struct primary_call *call, const struct rpc_reply *reply))
{
    call->link = link;
    call->cb = cb;
    call->safe_ns = link->stamp_ns + PRIMARY_STAMP_VALID_NS + CLOCK_MARGIN_NS;
    call->rpc.service = &pstorage__v1__block_io__descriptor;
    call->rpc.method = method;
    call->rpc.timeout_ns = RPC_TIMEOUT_NONE;
    call->rpc.one_connection = true; /* for its handle */
    call->rpc.share_bytes = (uint32_t)rpc_pool_cost(call->bytes);
    const int rc = rpc_client_call(link->client, &call->rpc, on_reply);
    if (rc)
        return rc;
    link->calls++;
    link->bytes += call->rpc.share_bytes;
    return 0;
}

void primary_link_cancel(struct primary_call *call)
{
    rpc_client_cancel(call->link->client, &call->rpc);
}
