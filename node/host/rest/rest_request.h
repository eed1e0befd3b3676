/* A request, decoded and checked: everything that an action reads is here, within its bounds, or the request
 * has been refused with a problem that says what would be right. Pure; fuzzed. */
#ifndef PS_NODE_HOST_REST_REST_REQUEST_H
#define PS_NODE_HOST_REST_REST_REQUEST_H

#include "node/host/rest/rest_problem.h"
#include "node/host/rest/rest_routes.h"

enum {
    REST_TAGS_MAX = 8, /* of an If-Match */
    REST_ALLOW_MAX = 64,
};

struct rest_data {
    uint8_t *bytes;
    size_t length;
};

#define REST_C_NAME         const char *
#define REST_C_NAME_OR_NULL const char *
#define REST_C_ID           const char *
#define REST_C_TEXT         const char *
#define REST_C_UINT         uint64_t
#define REST_C_FLAG         bool
#define REST_C_DATA         struct rest_data

struct rest_values {
    uint64_t given; /* REST_BIT of each that is there */
#define X(name, kind, min, max, doc) REST_C_##kind name;
    REST_ARGS(X)
#undef X
};

/* Those that count; NULL: it is not there. */
struct rest_headers {
    const char *content_type, *if_match, *idempotency_key, *last_event_id;
};

struct rest_request {
    const struct rest_route *route;
    bool head; /* asked by HEAD: as GET, without the body */
    struct rest_values is;
    /* If-Match: absent, anything that exists, or one of these. */
    bool matches_any;
    uint64_t tags[REST_TAGS_MAX];
    size_t ntags;
    bool conditional;
    char key[REST_KEY_MAX + 1];       /* Idempotency-Key; "": none */
    char target[REST_TARGET_MAX + 1]; /* values of path and query live here */
    char allow[REST_ALLOW_MAX];       /* after EMETHOD: what the resource takes */
};

/* What stands in front of the body: 0 or -1 with a problem. `target` as it came: path and query, not decoded.
 */
int rest_request_begin(struct rest_request *r, const char *method, const char *target,
                       const struct rest_headers *headers, struct rest_problem *p);

/* The body, all of it, decoded in place: values live in it. Every request ends with this, also those without
 * a body. */
int rest_request_body(struct rest_request *r, char *body, size_t length, struct rest_problem *p);

static inline bool rest_given(const struct rest_request *r, uint64_t bits)
{
    return (r->is.given & bits) != 0;
}

/* Size in bytes, from whichever of the two was given. */
uint64_t rest_size(const struct rest_request *r);

#endif
