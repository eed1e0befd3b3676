/* The listening socket and the files of TLS. */
#ifndef PS_NODE_HOST_REST_REST_LISTEN_H
#define PS_NODE_HOST_REST_REST_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"

/* A socket that listens, not blocking, into *fd; *local: only this machine can reach it. PS_EINVAL (no such
 * host), PS_EEXISTS (in use), PS_EPERM, PS_EIO, with a detail. */
int rest_listen(const char *host, uint16_t port, int *fd, bool *local, struct ps_error *err);

/* A file of PEM, at most 64 KiB, ended by a NUL; free it. A key that others can read is refused.
 * PS_ENOTFOUND, PS_EPERM, PS_EINVAL, PS_ENOMEM. */
int rest_read_pem(const char *path, bool secret, char **out, struct ps_error *err);

#endif
