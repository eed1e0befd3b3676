#include "node/host/rest/rest_access.h"

#include <assert.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <string.h>
#include <strings.h>

bool rest_bearer_hash(const char *authorization, uint8_t hash[TOKEN_HASH_BYTES])
{
    if (strncasecmp(authorization, "Bearer ", 7) != 0)
        return false;
    const char *token = authorization + 7;
    while (*token == ' ')
        token++;
    const size_t length = strlen(token);
    if (length == 0 || length > REST_BEARER_MAX)
        return false;
    (void)SHA256((const uint8_t *)token, length, hash);
    return true;
}

bool rest_is_local(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family != AF_INET6)
        return false;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) && in6->sin6_addr.s6_addr[12] == 127);
}

/* Is the name in "NAME", "NAME:PORT" or "[NAME]:PORT" one of this machine's own? */
static bool is_own_name(const char *host, const char *listen)
{
    size_t n = strcspn(host, ":");
    if (host[0] == '[') {
        host++;
        n = strcspn(host, "]");
    }
    const char *const own[] = {"localhost", "::1", listen};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (strlen(own[i]) == n && strncasecmp(host, own[i], n) == 0)
            return true;
    /* 127.0.0.0/8, and nothing that only begins like it. */
    return strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == n;
}

/* Does the page come from the place that it speaks with? */
static bool is_same_origin(const char *origin, const char *host)
{
    const char *behind = strstr(origin, "://");
    return behind && host && strcasecmp(behind + 3, host) == 0;
}

int rest_may(const struct rest_caller *c, const struct rest_route *route, struct rest_problem *p)
{
    if (c->authorization && !c->token)
        return rest_fail_http(p, REST_PROBLEM_ENOTOKEN,
                              "the header Authorization holds no token that this node knows");
    if (c->token) {
        const enum rest_role role = (enum rest_role)c->token->role;
        return role >= route->role
                   ? 0
                   : rest_fail_http(p, REST_PROBLEM_EFORBIDDEN,
                                    "this needs the role %s; the token \"%s\" has %s",
                                    rest_role_name(route->role), c->token->name, rest_role_name(role));
    }
    if (route->role <= REST_ROLE_READ_ONLY)
        return 0;
    if (!c->local)
        return rest_fail_http(
            p, REST_PROBLEM_ENOTOKEN,
            "from another machine this needs a token with the role %s (pstorage token create)",
            rest_role_name(route->role));
    if (c->origin && !is_same_origin(c->origin, c->host))
        return rest_fail_http(p, REST_PROBLEM_EFORBIDDEN,
                              "a page of \"%.100s\" may not do this without a token", c->origin);
    if (c->host && !is_own_name(c->host, c->listen))
        return rest_fail_http(p, REST_PROBLEM_EFORBIDDEN,
                              "without a token this is done under a name of this machine: localhost or "
                              "127.0.0.1, not \"%.100s\"",
                              c->host);
    return 0;
}

/* `text` and its NUL, so that no two lists of texts look the same. */
static size_t add(uint8_t *to, size_t at, size_t room, const char *text)
{
    const size_t n = strlen(text) + 1;
    assert(n <= room - at);
    memcpy(to + at, text, n);
    return at + n;
}

void rest_operation_id(const char *caller, const char *method, const char *target, const char *key,
                       uint8_t out[16])
{
    uint8_t hash[SHA256_DIGEST_LENGTH], text[REST_TARGET_MAX + REST_KEY_MAX + 256];
    size_t n = add(text, 0, sizeof text, "pstorage rest v1");
    n = add(text, n, sizeof text, caller);
    n = add(text, n, sizeof text, method);
    n = add(text, n, sizeof text, target);
    n = add(text, n, sizeof text, key);
    (void)SHA256(text, n, hash);
    memcpy(out, hash, 16);
}

uint64_t rest_body_mark(const char *body, size_t length)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    uint64_t mark;
    (void)SHA256((const uint8_t *)body, length, hash);
    memcpy(&mark, hash, sizeof mark);
    return mark;
}
