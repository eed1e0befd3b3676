/* What each side of a greeting proves: that it knows the cluster key, to this peer,
 * in this greeting.
 *
 *   proof = HMAC-SHA256(key, label, fields of Hello, fields of Welcome)
 *
 * (RFC 2104, FIPS 180-4.) The label is "pstorage v1 server" or "pstorage v1 client", so that neither
 * proof can be sent back as the other; both nonces are fresh, so that neither can be used
 * twice. Label, names and nonces stand with their length in front (le32), numbers as le32: no two
 * transcripts have the same bytes. Pure: nonces are the caller's. */
#ifndef PS_COMMON_RPC_PROOF_H
#define PS_COMMON_RPC_PROOF_H

#include <stdbool.h>

#include "common/rpc/keys.h"

enum {
    RPC_NONCE_BYTES = 32,
    RPC_PROOF_BYTES = 32,
};

enum rpc_prover {
    RPC_PROVES_SERVER,
    RPC_PROVES_CLIENT
};

/* Everything in the two greetings but the proof itself. Lengths were checked (greeting.h).
 * False: the library has no HMAC-SHA256 for us. */
bool rpc_proof_make(const struct rpc_key *key, enum rpc_prover prover, const Pstorage__V1__Hello *hello,
                    const Pstorage__V1__Welcome *welcome, uint8_t out[RPC_PROOF_BYTES]);

/* In constant time; any other length is wrong. */
bool rpc_proof_is(const uint8_t expected[RPC_PROOF_BYTES], const ProtobufCBinaryData *given);

/* The id of a key, terminated. False as above. */
bool rpc_key_id(const char *secret, size_t length, char out[RPC_KEY_ID_BYTES + 1]);

#endif
