/* The tokens of the REST API that this node knows, for two threads: the reactor's changes them, the HTTP
 * server's looks one up with each request. A lock of its own, held for a copy or a search and for nothing
 * else.
 *
 * A token is 32 random bytes, so its plain SHA-256 can't be guessed back; nothing but that is ever here. */
#ifndef PS_NODE_HOST_TOKENS_SHARED_H
#define PS_NODE_HOST_TOKENS_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum {
    TOKENS_MAX = 1000,
    TOKEN_NAME_MAX = 63,
    TOKEN_HASH_BYTES = 32,
    TOKEN_ROLES = 3, /* 1 read-only, 2 operator, 3 admin */
};

struct token {
    char name[TOKEN_NAME_MAX + 1];
    uint32_t role; /* 1 to TOKEN_ROLES */
    uint64_t created_unix_ns;
    uint8_t hash[TOKEN_HASH_BYTES];
};

struct tokens;

/* PS_ENOMEM. */
int tokens_create(struct tokens **out);
void tokens_destroy(struct tokens *tokens);

/* 0, also if it is there already just like that; PS_EEXISTS (another one of that name), PS_ELIMIT. With
 * `check` nothing is changed. */
int tokens_put(struct tokens *tokens, const struct token *token, bool check);
/* 0 or PS_ENOTFOUND. */
int tokens_remove(struct tokens *tokens, const char *name);
/* The token with this hash: false if there is none. */
bool tokens_find(struct tokens *tokens, const uint8_t hash[TOKEN_HASH_BYTES], struct token *out);
/* The first whose name is greater than `after`, "" for the first of all; false: none. */
bool tokens_after(struct tokens *tokens, const char *after, struct token *out);

#endif
