/* The cluster key as people give it to a program: PSTORAGE_CLUSTER_KEY, or a file named
 * by PSTORAGE_CLUSTER_KEY_FILE. Daemons and client library share it, so that the
 * same file means the same everywhere.
 *
 * The file holds one key, or one a line (common/rpc/keys.h); it must not be open to every user of the
 * machine. */
#ifndef PS_COMMON_CLUSTER_KEY_H
#define PS_COMMON_CLUSTER_KEY_H

#include "common/rpc/keys.h"

enum {
    CLUSTER_KEY_FILE_BYTES = 512 * 1024
};

/* Reads the key or keys into `out`, which stays empty when neither is given (NULL or ""); free it with
 * rpc_keys_clear. `cluster`: there must be a key for it ("": for a client that names none); NULL: any
 * will do (mediator). Errors name the setting and what would be right, and hold no part
 * of a key: PS_EINVAL (both given, not a key, no key for the cluster), PS_ENOTFOUND, PS_EPERM (others may
 * read the file, or we may not), PS_EIO, PS_ENOMEM. */
int cluster_key_load(const char *key, const char *key_file, const char *cluster, struct rpc_keys *out,
                     struct ps_error *err);

#endif
