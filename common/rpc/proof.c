#include "common/rpc/proof.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "common/endian_codec.h"

_Static_assert(RPC_PROOF_BYTES == 256 / 8, "SHA-256");

enum {
    TRANSCRIPT_MAX = 1024 /* of which the longest takes some 550 */
};

struct transcript {
    size_t used;
    uint8_t bytes[TRANSCRIPT_MAX];
};

static void put_number(struct transcript *t, uint32_t number)
{
    assert(t->used + 4 <= sizeof t->bytes);
    put_le32(t->bytes + t->used, number);
    t->used += 4;
}

static void put_bytes(struct transcript *t, const void *data, size_t length)
{
    assert(length <= 256 && t->used + 4 + length <= sizeof t->bytes);
    put_number(t, (uint32_t)length);
    if (length)
        memcpy(t->bytes + t->used, data, length);
    t->used += length;
}

static void put_text(struct transcript *t, const char *text)
{
    put_bytes(t, text, strlen(text));
}

static bool hmac(const char *secret, size_t length, const void *data, size_t data_bytes,
                 uint8_t out[RPC_PROOF_BYTES])
{
    unsigned bytes = 0;
    return HMAC(EVP_sha256(), secret, (int)length, data, data_bytes, out, &bytes) != NULL &&
           bytes == RPC_PROOF_BYTES;
}

bool rpc_proof_make(const struct rpc_key *key, enum rpc_prover prover, const Pstorage__V1__Hello *hello,
                    const Pstorage__V1__Welcome *welcome, uint8_t out[RPC_PROOF_BYTES])
{
    struct transcript t = {.used = 0};
    put_text(&t, prover == RPC_PROVES_SERVER ? "pstorage v1 server" : "pstorage v1 client");
    put_number(&t, hello->protocol_min);
    put_number(&t, hello->protocol_max);
    put_text(&t, hello->name);
    put_number(&t, (uint32_t)hello->role);
    put_text(&t, hello->software);
    put_text(&t, hello->cluster_id);
    put_text(&t, hello->key_id);
    put_bytes(&t, hello->nonce.data, hello->nonce.len);
    put_number(&t, welcome->protocol);
    put_text(&t, welcome->name);
    put_number(&t, (uint32_t)welcome->role);
    put_text(&t, welcome->software);
    put_text(&t, welcome->cluster_id);
    put_number(&t, welcome->max_calls);
    put_text(&t, welcome->key_id);
    put_bytes(&t, welcome->nonce.data, welcome->nonce.len);
    return hmac(key->secret, key->length, t.bytes, t.used, out);
}

bool rpc_proof_is(const uint8_t expected[RPC_PROOF_BYTES], const ProtobufCBinaryData *given)
{
    return given->len == RPC_PROOF_BYTES && CRYPTO_memcmp(expected, given->data, RPC_PROOF_BYTES) == 0;
}

bool rpc_key_id(const char *secret, size_t length, char out[RPC_KEY_ID_BYTES + 1])
{
    static const char label[] = "pstorage v1 key id";
    uint8_t sum[RPC_PROOF_BYTES];
    if (!hmac(secret, length, label, sizeof label - 1, sum))
        return false;
    for (size_t i = 0; i < RPC_KEY_ID_BYTES / 2; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", sum[i]);
    return true;
}
