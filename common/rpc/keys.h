/* Cluster keys: which secret is whose. A node or client has one; a mediator may
 * have one for each cluster that it serves.
 *
 * Pure. Filled once at start (common/cluster_key.h reads setting and file), then
 * only read: servers and clients borrow it, and keys in it don't move. */
#ifndef PS_COMMON_RPC_KEYS_H
#define PS_COMMON_RPC_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/rpc/rpc.h"

enum {
    RPC_KEY_MIN = 16, /* bytes of a key */
    RPC_KEY_MAX = 1024,
    RPC_KEYS_MAX = 256,
    RPC_KEY_ID_BYTES = 16, /* hexadecimal digits */
};

struct rpc_key {
    char cluster[RPC_NAME_MAX + 1]; /* "": of every cluster that has no key of its own */
    /* Names the key in the greeting and tells nothing of a random one: the start of
     * HMAC-SHA256(key, "pstorage v1 key id"). */
    char id[RPC_KEY_ID_BYTES + 1];
    uint32_t length;
    char secret[RPC_KEY_MAX];
};

struct rpc_keys {
    struct rpc_key *list;
    size_t count; /* 0: this side has no key, and speaks with its own machine only */
};

/* Adds one; `cluster` "" for every other. PS_EINVAL: length, characters (printable
 * ASCII, no space at either end), the cluster's name, a second key for it. PS_ELIMIT,
 * PS_ENOMEM. No detail ever holds a part of a key. */
int rpc_keys_add(struct rpc_keys *keys, const char *cluster, const char *secret, size_t length,
                 struct ps_error *err);
/* Adds what the lines say: KEY, or CLUSTER:KEY; blank lines and those that begin with '#' say nothing. A
 * line whose part before the first colon could be a cluster's name has one, so a key that
 * begins so needs its name in front. PS_EINVAL with the line's number. */
int rpc_keys_parse(struct rpc_keys *keys, const char *text, size_t length, struct ps_error *err);
/* Wipes and frees. */
void rpc_keys_clear(struct rpc_keys *keys);

/* The key of a cluster: its own, else the one without a name; for "" that one, or the only
 * one there is. NULL: none. `keys` may be NULL. */
const struct rpc_key *rpc_keys_find(const struct rpc_keys *keys, const char *cluster);
const struct rpc_key *rpc_keys_find_id(const struct rpc_keys *keys, const char *id);

static inline bool rpc_keys_exist(const struct rpc_keys *keys)
{
    return keys && keys->count > 0;
}

/* A server may listen there: with a key anywhere, without one on this machine alone (127.0.0.0/8,
 * [::1], localhost, or not tcp://). PS_EUNAUTHENTICATED with what would be right. */
int rpc_keys_check_listen(const struct rpc_keys *keys, const char *endpoint, struct ps_error *err);

#endif
