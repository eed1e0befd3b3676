/* A call's metadata on the wire: entries of u8 key length, u16 value length
 * (little-endian), key, value. Keys: a-z 0-9 - _ . */
#ifndef PS_COMMON_RPC_METADATA_H
#define PS_COMMON_RPC_METADATA_H

#include "common/rpc/rpc.h"

/* Key under which an operation id travels; not for others to use. */
#define RPC_KEY_OPERATION_ID "operation-id"

/* Encoded size of entries, or PS_EINVAL with a detail: too many, too long, a bad key. */
int rpc_metadata_size(const struct rpc_metadata *entries, size_t count, size_t *size, struct ps_error *err);
/* Writes what rpc_metadata_size measured; returns the end. */
uint8_t *rpc_metadata_encode(const struct rpc_metadata *entries, size_t count, uint8_t *out);

/* 0, or PS_EPROTOCOL: `in` is no valid list. */
int rpc_metadata_check(const uint8_t *in, size_t length, struct ps_error *err);
/* The first value of `key` in a checked list, or NULL. */
const void *rpc_metadata_find(const uint8_t *in, size_t length, const char *key, size_t *value_length);

#endif
