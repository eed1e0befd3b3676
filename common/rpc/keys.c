#include "common/rpc/keys.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/proof.h"

/* As a setting of type NAME: 1 to 63 letters, digits, '.', '_', '-', the first a letter or digit. */
static bool is_cluster_name(const char *name, size_t length)
{
    static const char others[] = "._-";
    for (size_t i = 0; i < length; i++) {
        const char c = name[i];
        const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!plain && (i == 0 || c == '\0' || !strchr(others, c)))
            return false;
    }
    return length > 0 && length <= RPC_NAME_MAX;
}

static int check_secret(const char *secret, size_t length, struct ps_error *err)
{
    if (length < RPC_KEY_MIN || length > RPC_KEY_MAX)
        return ps_error_set(err, PS_EINVAL,
                            "a cluster key has %d to %d bytes, this one %zu; `pstorage key create` makes one",
                            RPC_KEY_MIN, RPC_KEY_MAX, length);
    for (size_t i = 0; i < length; i++)
        if (secret[i] < ' ' || secret[i] > '~')
            return ps_error_set(err, PS_EINVAL,
                                "a cluster key is printable ASCII text, byte %zu of this one is not; "
                                "`pstorage key create` makes one",
                                i + 1);
    if (secret[0] == ' ' || secret[length - 1] == ' ')
        return ps_error_set(err, PS_EINVAL, "a cluster key neither begins nor ends with a space");
    return PS_OK;
}

static const struct rpc_key *named(const struct rpc_keys *keys, const char *cluster)
{
    for (size_t i = 0; i < keys->count; i++)
        if (strcmp(keys->list[i].cluster, cluster) == 0)
            return &keys->list[i];
    return NULL;
}

int rpc_keys_add(struct rpc_keys *keys, const char *cluster, const char *secret, size_t length,
                 struct ps_error *err)
{
    const int rc = check_secret(secret, length, err);
    if (rc)
        return rc;
    if (cluster[0] && !is_cluster_name(cluster, strlen(cluster)))
        return ps_error_set(err, PS_EINVAL, "\"%.80s\" is no name of a cluster", cluster);
    if (named(keys, cluster))
        return cluster[0] ? ps_error_set(err, PS_EINVAL, "a second key for cluster %s", cluster)
                          : ps_error_set(err, PS_EINVAL, "a second key without a cluster's name");
    if (keys->count == RPC_KEYS_MAX)
        return ps_error_set(err, PS_ELIMIT, "more than %d cluster keys", RPC_KEYS_MAX);
    /* All the room at once, at the first key: a list that grew would leave copies of keys behind. */
    if (!keys->list)
        keys->list = calloc(RPC_KEYS_MAX, sizeof *keys->list);
    if (!keys->list)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    struct rpc_key *key = &keys->list[keys->count];
    *key = (struct rpc_key){.length = (uint32_t)length};
    memcpy(key->cluster, cluster, strlen(cluster));
    memcpy(key->secret, secret, length);
    if (!rpc_key_id(secret, length, key->id))
        return ps_error_set(err, PS_EINTERNAL, "HMAC-SHA256 is not to be had");
    keys->count++;
    return PS_OK;
}

static int parse_line(struct rpc_keys *keys, const char *line, size_t length, struct ps_error *err)
{
    char cluster[RPC_NAME_MAX + 1] = "";
    const char *colon = memchr(line, ':', length);
    if (colon && is_cluster_name(line, (size_t)(colon - line))) {
        memcpy(cluster, line, (size_t)(colon - line));
        cluster[colon - line] = '\0';
        length -= (size_t)(colon + 1 - line);
        line = colon + 1;
    }
    return rpc_keys_add(keys, cluster, line, length, err);
}

int rpc_keys_parse(struct rpc_keys *keys, const char *text, size_t length, struct ps_error *err)
{
    const char *end = text + length;
    for (unsigned number = 1; text < end; number++) {
        const char *eol = memchr(text, '\n', (size_t)(end - text));
        size_t line = (size_t)((eol ? eol : end) - text);
        if (line > 0 && text[line - 1] == '\r')
            line--;
        struct ps_error why;
        const int rc = line == 0 || text[0] == '#' ? PS_OK : parse_line(keys, text, line, &why);
        if (rc)
            return ps_error_set(err, rc, "line %u: %s", number, why.detail);
        text = eol ? eol + 1 : end;
    }
    return PS_OK;
}

void rpc_keys_clear(struct rpc_keys *keys)
{
    if (keys->list)
        OPENSSL_cleanse(keys->list, RPC_KEYS_MAX * sizeof *keys->list);
    free(keys->list);
    *keys = (struct rpc_keys){0};
}

const struct rpc_key *rpc_keys_find(const struct rpc_keys *keys, const char *cluster)
{
    if (!rpc_keys_exist(keys))
        return NULL;
    const struct rpc_key *key = named(keys, cluster);
    if (!key)
        key = named(keys, "");
    return !key && cluster[0] == '\0' && keys->count == 1 ? &keys->list[0] : key;
}

const struct rpc_key *rpc_keys_find_id(const struct rpc_keys *keys, const char *id)
{
    for (size_t i = 0; keys && i < keys->count; i++)
        if (strcmp(keys->list[i].id, id) == 0)
            return &keys->list[i];
    return NULL;
}

/* ---- where a server without a key may listen */

/* Four decimal numbers, the first 127. A shorter form is not worth the doubt. */
static bool is_loopback_ipv4(const char *host, size_t length)
{
    unsigned parts = 0, number = 0, digits = 0;
    for (size_t i = 0; i <= length; i++) {
        if (i < length && host[i] >= '0' && host[i] <= '9' && digits < 3) {
            number = number * 10 + (unsigned)(host[i] - '0');
            digits++;
            continue;
        }
        if ((i < length && host[i] != '.') || digits == 0 || number > 255 || (parts == 0 && number != 127))
            return false;
        parts++;
        number = digits = 0;
    }
    return parts == 4;
}

static bool is_local(const char *endpoint)
{
    static const char tcp[] = "tcp://";
    if (strncmp(endpoint, tcp, sizeof tcp - 1) != 0)
        return true;
    const char *host = endpoint + sizeof tcp - 1, *port = strrchr(host, ':');
    const size_t length = port ? (size_t)(port - host) : strlen(host);
    return is_loopback_ipv4(host, length) || (length == 5 && memcmp(host, "[::1]", 5) == 0) ||
           (length == 9 && memcmp(host, "localhost", 9) == 0);
}

int rpc_keys_check_listen(const struct rpc_keys *keys, const char *endpoint, struct ps_error *err)
{
    if (rpc_keys_exist(keys) || is_local(endpoint))
        return PS_OK;
    return ps_error_set(
        err, PS_EUNAUTHENTICATED,
        "other machines could connect there, and without a cluster key only this one may: set "
        "PSTORAGE_CLUSTER_KEY_FILE, or listen on 127.0.0.1, [::1] or ipc://PATH");
}
