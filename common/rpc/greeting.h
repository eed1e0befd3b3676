/* Who speaks, and whether the two may speak: what goes into Hello and Welcome, what is
 * taken from them, and every reason to refuse the other side.
 *
 * Reading fills a struct rpc_peer with what the other side says; judging decides
 * on it. A detail is a sentence that makes sense on both sides, since the one
 * that is refused gets it too; it says what would be right. */
#ifndef PS_COMMON_RPC_GREETING_H
#define PS_COMMON_RPC_GREETING_H

#include "common/rpc/proof.h"
#include "common/rpc/transport.h"

struct rpc_self {
    char name[RPC_NAME_MAX + 1], cluster_id[RPC_NAME_MAX + 1];
    Pstorage__V1__PeerRole role;
    const struct rpc_keys *keys; /* borrowed; NULL: none */
};

/* Copies; what is too long is cut. */
void rpc_self_set(struct rpc_self *self, const struct rpc_identity *identity, const struct rpc_keys *keys);

/* Hello of `self` with the nonce where it has a key for its cluster, which is returned (NULL: no
 * key). Strings are borrowed from `self` and the key, `nonce` (RPC_NONCE_BYTES) is the caller's. */
const struct rpc_key *rpc_greeting_hello(struct rpc_self *self, uint8_t *nonce, Pstorage__V1__Hello *out);
/* Welcome of `self` in answer to that; with a key the proof is still to be made. */
void rpc_greeting_welcome(struct rpc_self *self, struct rpc_peer *client, const struct rpc_key *key,
                          uint8_t *nonce, Pstorage__V1__Welcome *out);

/* What the peer says. PS_EPROTOCOL: too long a name, a nonce of another length, no calls granted;
 * PS_EVERSION: no version is common to both. */
int rpc_greeting_from_hello(const Pstorage__V1__Hello *hello, const char *address, struct rpc_peer *out,
                            struct ps_error *err);
int rpc_greeting_from_welcome(const Pstorage__V1__Welcome *welcome, const char *address, struct rpc_peer *out,
                              struct ps_error *err);

/* The server's judgement: `*key` is the one by which this client must prove itself, NULL: none
 * is needed. PS_EUNAUTHENTICATED: one side has a key and the other has none, or another one, or
 * neither has and the client is on another machine. PS_EPERM: another cluster. PS_EEXISTS: a node
 * of the same name. `peer->cluster_id` becomes that of the key when the client named none. */
int rpc_greeting_judge_client(const struct rpc_self *self, const struct rpc_link *link,
                              const Pstorage__V1__Hello *hello, struct rpc_peer *peer,
                              const struct rpc_key **key, struct ps_error *err);
/* The client's, of the server that answers `hello` (which was made with `key`): the same, and the
 * server's proof was right. `proof` is then the client's own, if there is a key. */
int rpc_greeting_judge_server(const struct rpc_self *self, const struct rpc_link *link,
                              const struct rpc_key *key, const Pstorage__V1__Hello *hello,
                              const Pstorage__V1__Welcome *welcome, struct rpc_peer *peer,
                              uint8_t proof[RPC_PROOF_BYTES], struct ps_error *err);

#endif
