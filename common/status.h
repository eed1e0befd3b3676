/* One status type for the whole project: 0, or one of these, negative.
 *
 * Each code has one row: its value, gRPC's canonical code, its errno (NBD
 * sends these numbers), the exit code of the CLI, the HTTP status and its text. Add new
 * columns (NVMe) here, never a switch elsewhere.
 * gRPC codes: https://grpc.io/docs/guides/status-codes/ */
#ifndef PS_COMMON_STATUS_H
#define PS_COMMON_STATUS_H

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>

/*   name                 value rpc  errno      exit http text */
#define PS_STATUS_MAP(X)                                                                                     \
    X(OK, 0, 0, 0, 0, 200, "ok")                                                                             \
    X(ECANCELLED, 1, 1, ECANCELED, 1, 503, "cancelled")                                                      \
    X(EINVAL, 2, 3, EINVAL, 2, 400, "invalid argument")                                                      \
    X(EDEADLINE, 3, 4, ETIMEDOUT, 4, 504, "deadline exceeded")                                               \
    X(ENOTFOUND, 4, 5, ENOENT, 3, 404, "not found")                                                          \
    X(EEXISTS, 5, 6, EEXIST, 1, 409, "already exists")                                                       \
    X(EPERM, 6, 7, EPERM, 1, 403, "permission denied")                                                       \
    X(EFULL, 7, 8, ENOSPC, 1, 507, "no space left in the pool")                                              \
    X(ELIMIT, 8, 8, ENOMEM, 1, 429, "limit reached")                                                         \
    X(EPRECONDITION, 9, 9, EBUSY, 1, 409, "not possible in the present state")                               \
    X(EABORTED, 10, 10, EAGAIN, 1, 409, "aborted by a concurrent change")                                    \
    X(ERANGE, 11, 11, EINVAL, 2, 400, "out of range")                                                        \
    X(EUNIMPLEMENTED, 12, 12, ENOTSUP, 1, 501, "not supported")                                              \
    X(EINTERNAL, 13, 13, EIO, 1, 500, "internal error")                                                      \
    X(EUNAVAILABLE, 14, 14, ESHUTDOWN, 4, 503, "unavailable")                                                \
    X(EDATALOSS, 15, 15, EIO, 1, 500, "data loss")                                                           \
    X(EUNAUTHENTICATED, 16, 16, EPERM, 1, 401, "not authenticated")                                          \
    X(EIO, 17, 14, EIO, 1, 500, "device error")                                                              \
    X(ENOMEM, 18, 8, ENOMEM, 1, 503, "out of memory")                                                        \
    X(EPROTOCOL, 19, 13, EPROTO, 1, 502, "protocol violation")                                               \
    X(EVERSION, 20, 9, EPROTO, 1, 502, "version not supported")                                              \
    X(EREADONLY, 21, 9, EPERM, 1, 409, "read-only")                                                          \
    X(EDAMAGED, 22, 15, EIO, 1, 500, "damaged")                                                              \
    X(ENOTPRIMARY, 23, 14, ESHUTDOWN, 4, 503, "this node is not the primary")                                \
    X(ECHANGED, 24, 10, EAGAIN, 1, 412, "changed meanwhile")

enum ps_status {
#define X(name, value, rpc, err, exit_code, http, text) PS_##name = -(value),
    PS_STATUS_MAP(X)
#undef X
};

/* The name without prefix ("ENOTFOUND"), the text, and the mappings. A value
 * that is none of ours counts as EINTERNAL. */
const char *ps_status_name(int status);
const char *ps_status_text(int status);
int ps_status_errno(int status);
int ps_status_exit_code(int status);
int ps_status_http(int status);
int ps_status_to_rpc(int status);
/* The first row with this gRPC code; EINTERNAL if there is none. */
int ps_status_from_rpc(int rpc_code);

/* Where an error's detail is written, once, by whoever found it. Embed it or
 * put it on the stack; it is passed down as the last parameter and may be
 * NULL where nobody will read it. */
struct ps_error {
    int status;
    char detail[252];
};

/* Writes `status` and the formatted detail into `err` (unless NULL) and
 * returns `status`, so that `return ps_error_set(err, PS_EINVAL, …)` reads
 * well. Too long a detail is cut. */
__attribute__((format(printf, 3, 4))) int ps_error_set(struct ps_error *err, int status, const char *format,
                                                       ...);

#endif
