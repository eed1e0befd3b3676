#include "common/rpc/greeting.h"

#include <stdio.h>
#include <string.h>

#include "common/rpc/message.h"

static char no_text[] = "", software_version[] = PS_VERSION; /* protobuf-c wants char * */

static void copy(char *out, size_t room, const char *text)
{
    (void)snprintf(out, room, "%s", text ? text : "");
}

void rpc_self_set(struct rpc_self *self, const struct rpc_identity *identity, const struct rpc_keys *keys)
{
    copy(self->name, sizeof self->name, identity->name);
    copy(self->cluster_id, sizeof self->cluster_id, identity->cluster_id);
    rpc_utf8_repair(self->name);
    rpc_utf8_repair(self->cluster_id);
    self->role = identity->role;
    self->keys = keys;
}

/* ---- what this side says */

const struct rpc_key *rpc_greeting_hello(struct rpc_self *self, uint8_t *nonce, Pstorage__V1__Hello *out)
{
    const struct rpc_key *key = rpc_keys_find(self->keys, self->cluster_id);
    pstorage__v1__hello__init(out);
    out->protocol_min = out->protocol_max = RPC_PROTOCOL;
    out->name = self->name;
    out->role = self->role;
    out->software = software_version;
    out->cluster_id = self->cluster_id;
    if (key) {
        out->key_id = (char *)(uintptr_t)key->id;
        out->nonce = (ProtobufCBinaryData){RPC_NONCE_BYTES, nonce};
    }
    return key;
}

static bool serves_any_cluster(const struct rpc_self *self)
{
    return self->role == PSTORAGE__V1__PEER_ROLE__PEER_ROLE_MEDIATOR && self->cluster_id[0] == '\0';
}

void rpc_greeting_welcome(struct rpc_self *self, struct rpc_peer *client, const struct rpc_key *key,
                          uint8_t *nonce, Pstorage__V1__Welcome *out)
{
    pstorage__v1__welcome__init(out);
    out->protocol = RPC_PROTOCOL;
    out->name = self->name;
    out->role = self->role;
    out->software = software_version;
    out->cluster_id = serves_any_cluster(self) ? client->cluster_id : self->cluster_id;
    out->max_calls = RPC_CALLS_MAX;
    out->key_id = key ? (char *)(uintptr_t)key->id : no_text;
    if (key)
        out->nonce = (ProtobufCBinaryData){RPC_NONCE_BYTES, nonce};
}

/* ---- what the other side says */

/* The fields that both greetings have. */
struct words {
    const char *name, *software, *cluster_id, *key_id;
    const ProtobufCBinaryData *nonce;
    Pstorage__V1__PeerRole role;
};

static int read_words(const struct words *w, const char *address, struct rpc_peer *out, struct ps_error *err)
{
    if (strlen(w->name) > RPC_NAME_MAX || strlen(w->cluster_id) > RPC_NAME_MAX ||
        strlen(w->software) >= sizeof out->software)
        return ps_error_set(err, PS_EPROTOCOL, "a name in the greeting is too long");
    const bool keyed = w->key_id[0] != '\0';
    if (keyed ? strlen(w->key_id) != RPC_KEY_ID_BYTES || w->nonce->len != RPC_NONCE_BYTES
              : w->nonce->len != 0)
        return ps_error_set(err, PS_EPROTOCOL, "key id or nonce in the greeting has a wrong length");
    *out = (struct rpc_peer){.role = w->role};
    copy(out->name, sizeof out->name, w->name);
    copy(out->cluster_id, sizeof out->cluster_id, w->cluster_id);
    copy(out->software, sizeof out->software, w->software);
    copy(out->address, sizeof out->address, address);
    return PS_OK;
}

int rpc_greeting_from_hello(const Pstorage__V1__Hello *hello, const char *address, struct rpc_peer *out,
                            struct ps_error *err)
{
    const struct words words = {hello->name,   hello->software, hello->cluster_id,
                                hello->key_id, &hello->nonce,   hello->role};
    if (hello->protocol_min > RPC_PROTOCOL || hello->protocol_max < RPC_PROTOCOL)
        return ps_error_set(err, PS_EVERSION, "the client speaks protocol %u to %u, this server %d",
                            hello->protocol_min, hello->protocol_max, RPC_PROTOCOL);
    return read_words(&words, address, out, err);
}

int rpc_greeting_from_welcome(const Pstorage__V1__Welcome *welcome, const char *address, struct rpc_peer *out,
                              struct ps_error *err)
{
    const struct words words = {welcome->name,   welcome->software, welcome->cluster_id,
                                welcome->key_id, &welcome->nonce,   welcome->role};
    if (welcome->protocol != RPC_PROTOCOL)
        return ps_error_set(err, PS_EVERSION, "the server chose protocol %u, spoken here: %d",
                            welcome->protocol, RPC_PROTOCOL);
    if (welcome->max_calls == 0)
        return ps_error_set(err, PS_EPROTOCOL, "the server grants no calls");
    return read_words(&words, address, out, err);
}

/* ---- may the two speak? */

static bool is_member(Pstorage__V1__PeerRole role)
{
    return role == PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE ||
           role == PSTORAGE__V1__PEER_ROLE__PEER_ROLE_MEDIATOR;
}

/* `me` and `you`: "server" and "client", or the other way round. */
static int judge_names(const struct rpc_self *self, const struct rpc_peer *peer, const char *me,
                       const char *you, struct ps_error *err)
{
    const bool members = is_member(self->role) && is_member(peer->role);
    if (members && !peer->cluster_id[0])
        return ps_error_set(
            err, PS_EPERM,
            "the %s is a node or mediator and names no cluster: PSTORAGE_CLUSTER_NAME must be "
            "the same on both sides",
            you);
    const bool other = strcmp(self->cluster_id, peer->cluster_id) != 0;
    if (other && peer->cluster_id[0] && (self->cluster_id[0] || (members && !serves_any_cluster(self))))
        return ps_error_set(
            err, PS_EPERM,
            "the %s is of cluster %s, the %s of cluster %s: PSTORAGE_CLUSTER_NAME must be the "
            "same on both sides",
            me, self->cluster_id[0] ? self->cluster_id : "\"\"", you, peer->cluster_id);
    if (self->role == PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE && peer->role == self->role &&
        strcmp(self->name, peer->name) == 0)
        return ps_error_set(err, PS_EEXISTS,
                            "two nodes are called %s: give each a PSTORAGE_NODE_NAME of its own", self->name);
    return PS_OK;
}

int rpc_greeting_judge_client(const struct rpc_self *self, const struct rpc_link *link,
                              const Pstorage__V1__Hello *hello, struct rpc_peer *peer,
                              const struct rpc_key **key, struct ps_error *err)
{
    const bool have_keys = rpc_keys_exist(self->keys), keyed = hello->key_id[0] != '\0';
    if (have_keys && !keyed)
        return ps_error_set(
            err, PS_EUNAUTHENTICATED,
            "the client has no key, and this cluster needs a key: set PSTORAGE_CLUSTER_KEY_FILE");
    if (!have_keys && keyed)
        return ps_error_set(err, PS_EUNAUTHENTICATED,
                            "the client has a cluster key, and the server has none: set "
                            "PSTORAGE_CLUSTER_KEY_FILE on both sides");
    if (!have_keys && !link->local)
        return ps_error_set(err, PS_EUNAUTHENTICATED,
                            "without a cluster key only clients on the server's machine are accepted: set "
                            "PSTORAGE_CLUSTER_KEY_FILE on both sides");
    const int rc = judge_names(self, peer, "server", "client", err);
    if (rc)
        return rc;
    *key = NULL;
    if (!have_keys)
        return PS_OK;
    const char *cluster = self->cluster_id[0] ? self->cluster_id : peer->cluster_id;
    const struct rpc_key *own =
        cluster[0] ? rpc_keys_find(self->keys, cluster) : rpc_keys_find_id(self->keys, hello->key_id);
    if (!own && cluster[0])
        return ps_error_set(
            err, PS_EUNAUTHENTICATED,
            "the server knows no key of cluster %s: its PSTORAGE_CLUSTER_KEY_FILE needs a line "
            "%s:KEY",
            cluster, cluster);
    if (!own || strcmp(own->id, hello->key_id) != 0)
        return ps_error_set(
            err, PS_EUNAUTHENTICATED,
            "the client's cluster key is not the server's: PSTORAGE_CLUSTER_KEY_FILE must hold "
            "the same key on both sides");
    if (!peer->cluster_id[0])
        copy(peer->cluster_id, sizeof peer->cluster_id, own->cluster);
    *key = own;
    return PS_OK;
}

int rpc_greeting_judge_server(const struct rpc_self *self, const struct rpc_link *link,
                              const struct rpc_key *key, const Pstorage__V1__Hello *hello,
                              const Pstorage__V1__Welcome *welcome, struct rpc_peer *peer,
                              uint8_t proof[RPC_PROOF_BYTES], struct ps_error *err)
{
    const bool keyed = welcome->key_id[0] != '\0';
    if (key && !keyed)
        return ps_error_set(err, PS_EUNAUTHENTICATED,
                            "the server has no cluster key, and the client has one: set "
                            "PSTORAGE_CLUSTER_KEY_FILE on both sides");
    if (!key && keyed)
        return ps_error_set(
            err, PS_EUNAUTHENTICATED,
            "the client has no key, and this cluster needs a key: set PSTORAGE_CLUSTER_KEY_FILE");
    if (!key && !link->local)
        return ps_error_set(err, PS_EUNAUTHENTICATED,
                            "without a cluster key only servers on the client's machine are trusted: set "
                            "PSTORAGE_CLUSTER_KEY_FILE on both sides");
    const int rc = judge_names(self, peer, "client", "server", err);
    if (rc || !key)
        return rc;
    uint8_t expected[RPC_PROOF_BYTES];
    if (!rpc_proof_make(key, RPC_PROVES_SERVER, hello, welcome, expected) ||
        !rpc_proof_make(key, RPC_PROVES_CLIENT, hello, welcome, proof))
        return ps_error_set(err, PS_EINTERNAL, "HMAC-SHA256 is not to be had");
    if (strcmp(welcome->key_id, key->id) != 0)
        return ps_error_set(
            err, PS_EUNAUTHENTICATED,
            "the server's cluster key is not the client's: PSTORAGE_CLUSTER_KEY_FILE must hold "
            "the same key on both sides");
    if (!rpc_proof_is(expected, &welcome->proof))
        return ps_error_set(err, PS_EUNAUTHENTICATED,
                            "the server's proof is wrong: it does not know the cluster key");
    peer->authenticated = true;
    return PS_OK;
}
