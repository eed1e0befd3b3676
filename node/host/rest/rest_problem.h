/* RFC 9457 problem details: how every error is told. Pure.
 *
 * `code` is what programs compare: the name of the ps_status (ENOTFOUND…), or one of those that HTTP alone
 * has. It, its HTTP status and its title stay; `detail` is for people. */
#ifndef PS_NODE_HOST_REST_REST_PROBLEM_H
#define PS_NODE_HOST_REST_REST_PROBLEM_H

#include "common/status.h"
#include "node/host/rest/json_write.h"

/* Beside those of common/status.h: code, HTTP status, title. */
#define REST_PROBLEMS(X)                                                                                     \
    X(ENOROUTE, 404, "no such resource")                                                                     \
    X(EMETHOD, 405, "method not allowed")                                                                    \
    X(ENOTACCEPTABLE, 406, "nothing that the sender would take")                                             \
    X(ETOOLARGE, 413, "the body is too large")                                                               \
    X(EMEDIATYPE, 415, "unsupported media type")                                                             \
    X(EKEYREUSED, 422, "the Idempotency-Key was used for another request")                                   \
    X(EAMBIGUOUS, 409, "the name of one is the id of another")                                               \
    X(EBUSY, 503, "too many requests at once")                                                               \
    X(ENOTOKEN, 401, "a token is needed")                                                                    \
    X(EFORBIDDEN, 403, "the role does not suffice")

enum rest_problem_code {
    REST_PROBLEM_NONE,
#define X(name, http, title) REST_PROBLEM_##name,
    REST_PROBLEMS(X)
#undef X
};

struct rest_problem {
    int status;                  /* of common/status.h, when `code` is NONE */
    enum rest_problem_code code; /* else */
    const char *argument;        /* which parameter or member is meant; NULL: none */
    char detail[300];
};

/* Each writes the problem and returns -1. */
__attribute__((format(printf, 4, 5))) int rest_fail(struct rest_problem *p, int status, const char *argument,
                                                    const char *format, ...);
__attribute__((format(printf, 3, 4))) int rest_fail_http(struct rest_problem *p, enum rest_problem_code code,
                                                         const char *format, ...);

int rest_problem_http(const struct rest_problem *p);
const char *rest_problem_name(const struct rest_problem *p);
/* "application/problem+json". `done`: names of what was carried out before, ends at NULL; may be NULL. */
void rest_problem_encode(struct json_out *out, const struct rest_problem *p, const char *target,
                         const char *request_id, const char *const *done);

#endif
