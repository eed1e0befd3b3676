/* Who may do what: tokens, and what a request without one may. Pure (of libcrypto it uses SHA-256, a
 * computation).
 *
 * Without a token the node's own machine may do everything, anybody else may look. A web page that somebody
 * on that machine has open is not that machine: what changes something is refused when the browser says that
 * the page came from elsewhere (Origin), or when the name it was reached by is not one of this machine (Host:
 * the DNS of an attacker may point here). */
#ifndef PS_NODE_HOST_REST_REST_ACCESS_H
#define PS_NODE_HOST_REST_REST_ACCESS_H

#include <sys/socket.h>

#include "node/host/rest/rest_problem.h"
#include "node/host/rest/rest_routes.h"
#include "node/host/tokens_shared.h"

enum {
    REST_BEARER_MAX = 256
};

/* SHA-256 of the token in "Bearer TOKEN": false if the header has another form. */
bool rest_bearer_hash(const char *authorization, uint8_t hash[TOKEN_HASH_BYTES]);

/* 127.0.0.0/8, ::1, or the former as IPv6. */
bool rest_is_local(const struct sockaddr *address);

struct rest_caller {
    bool local;
    const char *authorization, *origin, *host; /* headers; NULL: not there */
    const char *listen;                        /* address of this server, as configured */
    const struct token *token;                 /* that the header names; NULL: none, or not known */
};

/* 0, or -1 with a problem: ENOTOKEN or EFORBIDDEN. */
int rest_may(const struct rest_caller *caller, const struct rest_route *route, struct rest_problem *p);

/* The operation id of a change with an Idempotency-Key: the same for the same caller, key, method and path,
 * of whatever node. */
void rest_operation_id(const char *caller, const char *method, const char *target, const char *key,
                       uint8_t out[16]);

/* What a body is known by again. */
uint64_t rest_body_mark(const char *body, size_t length);

#endif
