/* Tokens of the REST API: requests as messages, and answers as results. As in calls.c, nothing that a node
 * sends is believed before it fits. */
#include <stdlib.h>
#include <string.h>

#include "client/lib/client.h"
#include "pstorage/v1/tokens.pb-c.h"

enum {
    TOKENS_MAX = 1000
};

static struct pstorage_tokens *tokens_of(struct call *call)
{
    return (struct pstorage_tokens *)(void *)call->request;
}

static int send_list(struct call *call)
{
    Pstorage__V1__ListTokensRequest m = PSTORAGE__V1__LIST_TOKENS_REQUEST__INIT;
    return call_send(call, &pstorage__v1__tokens__descriptor, "List", &m.base);
}

static int send_put(struct call *call)
{
    struct pstorage_token *t = &tokens_of(call)->token;
    Pstorage__V1__PutTokenRequest m = PSTORAGE__V1__PUT_TOKEN_REQUEST__INIT;
    Pstorage__V1__Token token = PSTORAGE__V1__TOKEN__INIT;
    token.name = t->name;
    token.role = (Pstorage__V1__TokenRole)t->role;
    token.created_unix_ns = t->created_unix_ns;
    token.hash = (ProtobufCBinaryData){sizeof t->hash, t->hash};
    m.token = &token;
    return call_send(call, &pstorage__v1__tokens__descriptor, "Put", &m.base);
}

static int send_delete(struct call *call)
{
    Pstorage__V1__DeleteTokenRequest m = PSTORAGE__V1__DELETE_TOKEN_REQUEST__INIT;
    m.name = tokens_of(call)->token.name;
    return call_send(call, &pstorage__v1__tokens__descriptor, "Delete", &m.base);
}

static int take_nothing(struct call *call, const struct rpc_reply *reply)
{
    (void)call;
    (void)reply;
    return PS_OK;
}

static bool take_token(const Pstorage__V1__Token *m, struct pstorage_token *out)
{
    if (strlen(m->name) >= sizeof out->name || m->hash.len != sizeof out->hash ||
        m->role < PSTORAGE__V1__TOKEN_ROLE__TOKEN_ROLE_READ_ONLY)
        return false;
    memcpy(out->name, m->name, strlen(m->name) + 1);
    memcpy(out->hash, m->hash.data, sizeof out->hash);
    out->role = (enum pstorage_token_role)m->role;
    out->created_unix_ns = m->created_unix_ns;
    return true;
}

static int take_list(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__ListTokensResponse *m = (const void *)reply->message;
    struct pstorage_tokens *t = tokens_of(call);
    struct ps_error *err = (struct ps_error *)(void *)&t->request.error;
    if (m->n_tokens > TOKENS_MAX)
        return ps_error_set(err, PS_EPROTOCOL, "the node's answer makes no sense: too many tokens");
    t->items = calloc(m->n_tokens + 1, sizeof *t->items);
    if (!t->items)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    for (; t->count < m->n_tokens; t->count++)
        if (!take_token(m->tokens[t->count], &t->items[t->count]))
            return ps_error_set(err, PS_EPROTOCOL, "the node's answer makes no sense: a token that is none");
    return PS_OK;
}

int pstorage_tokens_submit(struct pstorage_client *client, struct pstorage_tokens *t, pstorage_cb cb)
{
    static const struct request_kind kinds[] = {
        [PSTORAGE_TOKENS_LIST] = {send_list, take_list, NULL, true},
        [PSTORAGE_TOKEN_PUT] = {send_put, take_nothing, NULL, true},
        [PSTORAGE_TOKEN_DELETE] = {send_delete, take_nothing, NULL, false},
    };
    const size_t i = (size_t)t->op;
    struct ps_error *err = (struct ps_error *)(void *)&t->request.error;
    if (i >= sizeof kinds / sizeof kinds[0] || !kinds[i].send)
        return ps_error_set(err, PS_EINVAL, "no operation has number %d", (int)t->op);
    t->items = NULL;
    t->count = 0;
    return client_submit(client, NULL, &t->request, &kinds[i], cb);
}

void pstorage_tokens_clear(struct pstorage_tokens *t)
{
    free(t->items);
    t->items = NULL;
    t->count = 0;
}
