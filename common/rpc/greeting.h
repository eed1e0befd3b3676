/* Who speaks: what goes into Hello and Welcome, and what is taken from them. */
#ifndef PS_COMMON_RPC_GREETING_H
#define PS_COMMON_RPC_GREETING_H

#include "common/rpc/rpc.h"

struct rpc_self {
    char name[RPC_NAME_MAX + 1], cluster_id[RPC_NAME_MAX + 1];
    Pstorage__V1__PeerRole role;
};

/* Copies; what is too long is cut. */
void rpc_self_set(struct rpc_self *self, const struct rpc_identity *identity);

/* PS_EPROTOCOL when a name is too long, PS_EVERSION when no version is common
 * to both, PS_EPERM when both name a cluster and not the same. */
int rpc_greeting_from_hello(const struct rpc_self *self, const Pstorage__V1__Hello *hello,
                            const char *address, struct rpc_peer *out, struct ps_error *err);
int rpc_greeting_from_welcome(const struct rpc_self *self, const Pstorage__V1__Welcome *welcome,
                              const char *address, struct rpc_peer *out, struct ps_error *err);

#endif
