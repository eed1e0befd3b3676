#include "node/host/tokens_shared.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct tokens {
    pthread_mutex_t lock;
    size_t count;
    struct token list[TOKENS_MAX]; /* in the order of names */
};

int tokens_create(struct tokens **out)
{
    struct tokens *t = calloc(1, sizeof *t);
    if (!t)
        return PS_ENOMEM;
    (void)pthread_mutex_init(&t->lock, NULL);
    *out = t;
    return 0;
}

void tokens_destroy(struct tokens *t)
{
    (void)pthread_mutex_destroy(&t->lock);
    free(t);
}

/* Where the name is, or would be. */
static size_t place(const struct tokens *t, const char *name)
{
    size_t i = 0;
    while (i < t->count && strcmp(t->list[i].name, name) < 0)
        i++;
    return i;
}

static bool is_at(const struct tokens *t, size_t i, const char *name)
{
    return i < t->count && strcmp(t->list[i].name, name) == 0;
}

static int put(struct tokens *t, const struct token *token, bool check)
{
    const size_t i = place(t, token->name);
    if (is_at(t, i, token->name))
        return t->list[i].role == token->role && memcmp(t->list[i].hash, token->hash, sizeof token->hash) == 0
                   ? 0
                   : PS_EEXISTS;
    if (t->count == TOKENS_MAX)
        return PS_ELIMIT;
    if (check)
        return 0;
    memmove(&t->list[i + 1], &t->list[i], (t->count - i) * sizeof t->list[0]);
    t->list[i] = *token;
    t->count++;
    return 0;
}

int tokens_put(struct tokens *t, const struct token *token, bool check)
{
    (void)pthread_mutex_lock(&t->lock);
    const int rc = put(t, token, check);
    (void)pthread_mutex_unlock(&t->lock);
    return rc;
}

int tokens_remove(struct tokens *t, const char *name)
{
    (void)pthread_mutex_lock(&t->lock);
    const size_t i = place(t, name);
    const bool found = is_at(t, i, name);
    if (found) {
        t->count--;
        memmove(&t->list[i], &t->list[i + 1], (t->count - i) * sizeof t->list[0]);
    }
    (void)pthread_mutex_unlock(&t->lock);
    return found ? 0 : PS_ENOTFOUND;
}

bool tokens_find(struct tokens *t, const uint8_t hash[TOKEN_HASH_BYTES], struct token *out)
{
    bool found = false;
    (void)pthread_mutex_lock(&t->lock);
    /* A hash can't be felt for byte by byte: nobody can choose the hash of what he sends. */
    for (size_t i = 0; i < t->count && !found; i++) {
        found = memcmp(t->list[i].hash, hash, TOKEN_HASH_BYTES) == 0;
        if (found)
            *out = t->list[i];
    }
    (void)pthread_mutex_unlock(&t->lock);
    return found;
}

bool tokens_after(struct tokens *t, const char *after, struct token *out)
{
    (void)pthread_mutex_lock(&t->lock);
    size_t i = place(t, after);
    i += is_at(t, i, after);
    const bool found = i < t->count;
    if (found)
        *out = t->list[i];
    (void)pthread_mutex_unlock(&t->lock);
    return found;
}
