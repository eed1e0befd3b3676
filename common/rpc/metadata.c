#include "common/rpc/metadata.h"

#include <stdbool.h>
#include <string.h>

#include "common/endian_codec.h"

enum {
    ENTRY_HEAD = 3
};

static bool key_ok(const char *key, size_t length)
{
    if (length == 0 || length > RPC_METADATA_KEY_MAX)
        return false;
    for (size_t i = 0; i < length; i++) {
        const char c = key[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return false;
    }
    return true;
}

int rpc_metadata_size(const struct rpc_metadata *entries, size_t count, size_t *size, struct ps_error *err)
{
    if (count > RPC_METADATA_ENTRIES_MAX)
        return ps_error_set(err, PS_EINVAL, "%zu metadata entries, at most %d", count,
                            RPC_METADATA_ENTRIES_MAX);
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t key_length = strlen(entries[i].key);
        if (!key_ok(entries[i].key, key_length))
            return ps_error_set(err, PS_EINVAL, "a metadata key is 1 to %d of a-z 0-9 - _ .",
                                RPC_METADATA_KEY_MAX);
        if (entries[i].length > RPC_METADATA_MAX)
            return ps_error_set(err, PS_EINVAL, "metadata is at most %d bytes", RPC_METADATA_MAX);
        sum += ENTRY_HEAD + key_length + entries[i].length;
    }
    if (sum > RPC_METADATA_MAX)
        return ps_error_set(err, PS_EINVAL, "metadata is at most %d bytes", RPC_METADATA_MAX);
    *size = sum;
    return PS_OK;
}

uint8_t *rpc_metadata_encode(const struct rpc_metadata *entries, size_t count, uint8_t *out)
{
    for (size_t i = 0; i < count; i++) {
        const size_t key_length = strlen(entries[i].key);
        out[0] = (uint8_t)key_length;
        put_le16(out + 1, (uint16_t)entries[i].length);
        memcpy(out + ENTRY_HEAD, entries[i].key, key_length);
        out += ENTRY_HEAD + key_length;
        if (entries[i].length)
            memcpy(out, entries[i].value, entries[i].length);
        out += entries[i].length;
    }
    return out;
}

int rpc_metadata_check(const uint8_t *in, size_t length, struct ps_error *err)
{
    size_t entries = 0;
    while (length > 0) {
        if (++entries > RPC_METADATA_ENTRIES_MAX)
            return ps_error_set(err, PS_EPROTOCOL, "more than %d metadata entries", RPC_METADATA_ENTRIES_MAX);
        if (length < ENTRY_HEAD)
            return ps_error_set(err, PS_EPROTOCOL, "metadata is cut");
        const size_t key_length = in[0], need = ENTRY_HEAD + key_length + get_le16(in + 1);
        if (need > length)
            return ps_error_set(err, PS_EPROTOCOL, "metadata is cut");
        if (!key_ok((const char *)in + ENTRY_HEAD, key_length))
            return ps_error_set(err, PS_EPROTOCOL, "bad metadata key");
        in += need;
        length -= need;
    }
    return PS_OK;
}

const void *rpc_metadata_find(const uint8_t *in, size_t length, const char *key, size_t *value_length)
{
    const size_t want = strlen(key);
    if (length == 0)
        return NULL; /* and `in` may be NULL */
    for (const uint8_t *end = in + length; in < end;) {
        const size_t key_length = in[0], value = get_le16(in + 1);
        if (key_length == want && memcmp(in + ENTRY_HEAD, key, want) == 0) {
            *value_length = value;
            return in + ENTRY_HEAD + key_length;
        }
        in += ENTRY_HEAD + key_length + value;
    }
    return NULL;
}
