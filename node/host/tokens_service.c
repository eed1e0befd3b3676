#include "node/host/tokens_service.h"

#include <stdlib.h>
#include <string.h>

#include "common/container.h"
#include "common/rpc/server.h"
#include "node/host/token_change.h"
#include "node/pod/pod.h"
#include "pstorage/v1/tokens.pb-c.h"

struct tokens_service {
    struct tokens_service_config config;
    struct token_change change; /* the one under way */
    struct rpc_call *call;      /* whose it is; NULL: none */
    bool opened;                /* it ends a token that was good until now */
};

static void reply(struct rpc_call *call)
{
    const Pstorage__V1__TokenResponse response = PSTORAGE__V1__TOKEN_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

static void fail_unknown(struct rpc_call *call, const char *name)
{
    struct ps_error err;
    (void)ps_error_set(&err, PS_ENOTFOUND, "no token is named '%s'", name);
    rpc_call_fail(call, err.status, err.detail);
}

static void kept(struct token_change *change, int status)
{
    struct tokens_service *s = container_of(change, struct tokens_service, change);
    struct rpc_call *call = s->call;
    s->call = NULL;
    if (status == 0 && !change->gone)
        status = tokens_put(s->config.tokens, &change->token, false);
    if (status == PS_ENOTFOUND && s->opened)
        status = 0;
    if (status == PS_ENOTFOUND)
        fail_unknown(call, change->token.name);
    else if (status)
        rpc_call_fail(call, status, NULL);
    else
        reply(call);
}

static void start(struct tokens_service *s, struct rpc_call *call, const struct token *token, bool gone)
{
    if (s->call) {
        rpc_call_fail(call, PS_ELIMIT, "another change of tokens is under way");
        return;
    }
    s->call = call;
    s->change = (struct token_change){.token = *token, .gone = gone, .done = kept};
    const int rc = s->config.keep(s->config.user, &s->change);
    if (rc == 0)
        return;
    s->call = NULL;
    rpc_call_fail(call, rc, NULL);
}

static void put(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct tokens_service *s = user;
    const Pstorage__V1__Token *m = ((const Pstorage__V1__PutTokenRequest *)(const void *)message)->token;
    struct token token = {0};
    struct ps_error err;
    if (!m || m->hash.len != sizeof token.hash ||
        m->role == PSTORAGE__V1__TOKEN_ROLE__TOKEN_ROLE_UNSPECIFIED) {
        rpc_call_fail(call, PS_EINVAL, "a token has a name, a role and a hash of 32 bytes");
        return;
    }
    if (pod_check_volume_name(m->name, &err)) {
        rpc_call_fail(call, PS_EINVAL, "a token's name is 1 to 63 of letters, digits, '.', '_' and '-'");
        return;
    }
    memcpy(token.name, m->name, strlen(m->name) + 1);
    token.role = (uint32_t)m->role;
    token.created_unix_ns = m->created_unix_ns;
    memcpy(token.hash, m->hash.data, sizeof token.hash);
    const int rc = tokens_put(s->config.tokens, &token, true);
    if (rc == PS_EEXISTS) {
        (void)ps_error_set(&err, rc, "a token is named '%s' already", token.name);
        rpc_call_fail(call, rc, err.detail);
    } else if (rc) {
        rpc_call_fail(call, rc, "there are 1000 tokens already");
    } else {
        start(s, call, &token, false);
    }
}

static void delete_token(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct tokens_service *s = user;
    const Pstorage__V1__DeleteTokenRequest *request = (const void *)message;
    struct token token = {0};
    if (s->call || strlen(request->name) > TOKEN_NAME_MAX) {
        rpc_call_fail(call, s->call ? PS_ELIMIT : PS_ENOTFOUND, NULL);
        return;
    }
    /* First here: whatever becomes of the file, it opens nothing from now on. Then there, also when it was
     * not here: the file may have it still, of a deletion that failed, and would bring it back with a
     * restart. */
    s->opened = tokens_remove(s->config.tokens, request->name) == 0;
    memcpy(token.name, request->name, strlen(request->name) + 1);
    start(s, call, &token, true);
}

static void list(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct tokens_service *s = user;
    (void)message;
    struct token *tokens = calloc(TOKENS_MAX, sizeof *tokens);
    Pstorage__V1__Token *rows = calloc(TOKENS_MAX, sizeof *rows),
                        **pointers = calloc(TOKENS_MAX, sizeof *pointers);
    Pstorage__V1__ListTokensResponse response = PSTORAGE__V1__LIST_TOKENS_RESPONSE__INIT;
    size_t n = 0;
    if (tokens && rows && pointers) {
        for (; n < TOKENS_MAX && tokens_after(s->config.tokens, n ? tokens[n - 1].name : "", &tokens[n]);
             n++) {
            pstorage__v1__token__init(&rows[n]);
            rows[n].name = tokens[n].name;
            rows[n].role = (Pstorage__V1__TokenRole)tokens[n].role;
            rows[n].created_unix_ns = tokens[n].created_unix_ns;
            rows[n].hash = (ProtobufCBinaryData){sizeof tokens[n].hash, tokens[n].hash};
            pointers[n] = &rows[n];
        }
        response.tokens = pointers;
        response.n_tokens = n;
        rpc_call_reply(call, &response.base);
    } else {
        rpc_call_fail(call, PS_ENOMEM, NULL);
    }
    free(tokens);
    free(rows);
    free(pointers);
}

static const struct rpc_method methods[] = {{.name = "Put", .handler = put},
                                            {.name = "Delete", .handler = delete_token},
                                            {.name = "List", .handler = list}};

static const struct rpc_service service = {
    .descriptor = &pstorage__v1__tokens__descriptor,
    .methods = methods,
    .nmethods = sizeof methods / sizeof methods[0],
};

int tokens_service_create(struct rpc_server *server, const struct tokens_service_config *config,
                          struct tokens_service **out)
{
    struct tokens_service *s = calloc(1, sizeof *s);
    if (!s)
        return PS_ENOMEM;
    s->config = *config;
    rpc_server_register(server, &service, s);
    *out = s;
    return 0;
}

void tokens_service_destroy(struct tokens_service *s)
{
    free(s);
}
