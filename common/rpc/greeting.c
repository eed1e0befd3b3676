#include "common/rpc/greeting.h"

#include <stdio.h>
#include <string.h>

#include "common/rpc/message.h"

static void copy(char *out, size_t room, const char *text)
{
    (void)snprintf(out, room, "%s", text ? text : "");
}

void rpc_self_set(struct rpc_self *self, const struct rpc_identity *identity)
{
    copy(self->name, sizeof self->name, identity->name);
    copy(self->cluster_id, sizeof self->cluster_id, identity->cluster_id);
    rpc_utf8_repair(self->name);
    rpc_utf8_repair(self->cluster_id);
    self->role = identity->role;
}

static int peer(const struct rpc_self *self, const char *name, Pstorage__V1__PeerRole role,
                const char *software, const char *cluster_id, const char *address, struct rpc_peer *out,
                struct ps_error *err)
{
    if (strlen(name) > RPC_NAME_MAX || strlen(cluster_id) > RPC_NAME_MAX ||
        strlen(software) >= sizeof out->software)
        return ps_error_set(err, PS_EPROTOCOL, "a name in the greeting is too long");
    if (self->cluster_id[0] && cluster_id[0] && strcmp(self->cluster_id, cluster_id) != 0)
        return ps_error_set(err, PS_EPERM, "cluster %s meets cluster %s", self->cluster_id, cluster_id);
    copy(out->name, sizeof out->name, name);
    copy(out->cluster_id, sizeof out->cluster_id, cluster_id);
    copy(out->software, sizeof out->software, software);
    copy(out->address, sizeof out->address, address);
    out->role = role;
    return PS_OK;
}

int rpc_greeting_from_hello(const struct rpc_self *self, const Pstorage__V1__Hello *hello,
                            const char *address, struct rpc_peer *out, struct ps_error *err)
{
    if (hello->protocol_min > RPC_PROTOCOL || hello->protocol_max < RPC_PROTOCOL)
        return ps_error_set(err, PS_EVERSION, "the client speaks protocol %u to %u, this server %d",
                            hello->protocol_min, hello->protocol_max, RPC_PROTOCOL);
    return peer(self, hello->name, hello->role, hello->software, hello->cluster_id, address, out, err);
}

int rpc_greeting_from_welcome(const struct rpc_self *self, const Pstorage__V1__Welcome *welcome,
                              const char *address, struct rpc_peer *out, struct ps_error *err)
{
    if (welcome->protocol != RPC_PROTOCOL)
        return ps_error_set(err, PS_EVERSION, "the server chose protocol %u, spoken here: %d",
                            welcome->protocol, RPC_PROTOCOL);
    if (welcome->max_calls == 0)
        return ps_error_set(err, PS_EPROTOCOL, "the server grants no calls");
    return peer(self, welcome->name, welcome->role, welcome->software, welcome->cluster_id, address, out,
                err);
}
