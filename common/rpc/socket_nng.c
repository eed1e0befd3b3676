#include "common/rpc/socket_nng.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage room;
};

static bool same(const nng_sockaddr *a, const union address *b)
{
    if (a->s_family == NNG_AF_INET)
        return b->any.sa_family == AF_INET && b->in.sin_port == a->s_in.sa_port &&
               b->in.sin_addr.s_addr == a->s_in.sa_addr;
    return a->s_family == NNG_AF_INET6 && b->any.sa_family == AF_INET6 &&
           b->in6.sin6_port == a->s_in6.sa_port &&
           memcmp(&b->in6.sin6_addr, a->s_in6.sa_addr, sizeof b->in6.sin6_addr) == 0;
}

static bool is_between(int fd, const nng_sockaddr *local, const nng_sockaddr *remote)
{
    union address address;
    socklen_t length = sizeof address;
    if (getsockname(fd, &address.any, &length) != 0 || !same(local, &address))
        return false;
    length = sizeof address;
    return getpeername(fd, &address.any, &length) == 0 && same(remote, &address);
}

/* Other threads close and open descriptors meanwhile: only what is true of our own one counts. */
static int own_if_between(int fd, const nng_sockaddr *local, const nng_sockaddr *remote)
{
    if (!is_between(fd, local, remote))
        return -1;
    const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0 || is_between(own, local, remote))
        return own;
    (void)close(own);
    return -1;
}

int nng_stream_socket(nng_stream *stream)
{
    nng_sockaddr local, remote;
    if (nng_stream_get_addr(stream, NNG_OPT_LOCADDR, &local) != 0 ||
        nng_stream_get_addr(stream, NNG_OPT_REMADDR, &remote) != 0)
        return -1;
    DIR *dir = opendir("/proc/self/fd");
    int own = -1;
    for (const struct dirent *entry; dir && own < 0 && (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            own = own_if_between(atoi(entry->d_name), &local, &remote);
    if (dir)
        (void)closedir(dir);
    return own;
}
