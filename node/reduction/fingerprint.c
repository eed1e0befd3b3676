/* SHA-256 goes through OpenSSL's low-level functions although they are
 * deprecated: they run the same SHA-NI code without a context on the heap or a
 * provider look-up for each block. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "node/reduction/fingerprint.h"

#include <assert.h>
#include <openssl/sha.h>

#include "common/xxh3.h"

_Static_assert(SHA256_DIGEST_LENGTH == FINGERPRINT_MAX_BYTES, "a SHA-256 fills a fingerprint");

void fingerprint_block(enum fingerprint_algorithm algorithm, const void *block, struct fingerprint *out)
{
    if (algorithm == FINGERPRINT_XXH3_128) {
        const XXH128_hash_t hash = XXH3_128bits(block, FINGERPRINT_BLOCK_BYTES);
        put_le64(out->bytes, hash.low64);
        put_le64(out->bytes + 8, hash.high64);
        memset(out->bytes + 16, 0, sizeof out->bytes - 16);
        return;
    }
    assert(algorithm == FINGERPRINT_SHA256);
    SHA256_CTX sha;
    const int ok = SHA256_Init(&sha) && SHA256_Update(&sha, block, FINGERPRINT_BLOCK_BYTES) &&
                   SHA256_Final(out->bytes, &sha);
    assert(ok);
    (void)ok;
}
