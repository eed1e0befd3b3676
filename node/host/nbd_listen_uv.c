#include "node/host/nbd_listen_uv.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

_Static_assert(sizeof((struct nbd_address *)0)->path == sizeof((struct sockaddr_un *)0)->sun_path,
               "a path that fits here fits a socket address");

/* ---- addresses */

static int parse_port(const char *text, uint16_t *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    const unsigned long port = strtoul(text, &end, 10);
    if (*end != 0 || port > UINT16_MAX)
        return -1;
    *out = (uint16_t)port;
    return 0;
}

/* Of a name with several addresses the first of IPv4, where there is one: "localhost" is often both. */
static int resolve(const char *host, uint16_t port, struct sockaddr_storage *out)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    const int rc = getaddrinfo(host, NULL, &hints, &found);
    if (rc)
        return rc;
    const struct addrinfo *best = found;
    while (best && best->ai_family != AF_INET)
        best = best->ai_next;
    if (!best)
        best = found;
    memcpy(out, best->ai_addr, best->ai_addrlen);
    freeaddrinfo(found);
    if (out->ss_family == AF_INET)
        ((struct sockaddr_in *)(void *)out)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)(void *)out)->sin6_port = htons(port);
    return 0;
}

/* Leaves in `why` what is wrong with a name that is well formed. */
static int parse_inet(struct nbd_address *out, const char **why)
{
    char host[sizeof out->text];
    memcpy(host, out->text, sizeof host);
    char *colon = strrchr(host, ':');
    uint16_t port;
    if (!colon || parse_port(colon + 1, &port) != 0)
        return -1;
    *colon = 0;
    const size_t length = strlen(host);
    if (host[0] == '[') {
        if (host[length - 1] != ']')
            return -1;
        host[length - 1] = 0;
        return uv_ip6_addr(host + 1, port, (struct sockaddr_in6 *)(void *)&out->inet);
    }
    /* Without brackets only the last of an IPv6 address's colons would be a port's. */
    if (length == 0 || strchr(host, ':'))
        return -1;
    const int rc = resolve(host, port, &out->inet);
    if (rc)
        *why = gai_strerror(rc);
    return rc;
}

const char *nbd_address_parse(const char *spec, struct nbd_address *out, struct ps_error *err)
{
    *out = (struct nbd_address){0};
    spec += strspn(spec, " ");
    const size_t length = strcspn(spec, " ");
    if (length >= sizeof out->text) {
        (void)ps_error_set(err, PS_EINVAL, "NBD address '%.40s...' is too long", spec);
        return NULL;
    }
    memcpy(out->text, spec, length);
    static const char prefix[] = "unix:";
    if (strncmp(out->text, prefix, sizeof prefix - 1) == 0) {
        const char *path = out->text + sizeof prefix - 1;
        if (*path == 0 || strlen(path) >= sizeof out->path) {
            (void)ps_error_set(err, PS_EINVAL,
                               "NBD address '%s': the path of a unix socket has 1 to %zu characters",
                               out->text, sizeof out->path - 1);
            return NULL;
        }
        memcpy(out->path, path, strlen(path));
    } else {
        const char *why = "must be like 127.0.0.1:10809, [::1]:10809 or unix:/run/pstorage.nbd";
        if (parse_inet(out, &why) != 0) {
            (void)ps_error_set(err, PS_EINVAL, "NBD address '%s': %s", out->text, why);
            return NULL;
        }
    }
    spec += length;
    return spec + strspn(spec, " ");
}

/* ---- listening */

static bool has_folder(const char *path)
{
    char folder[sizeof((struct nbd_address *)0)->path];
    (void)snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash)
        return true;
    slash[slash == folder] = 0;
    struct stat st;
    return stat(folder, &st) == 0 && S_ISDIR(st.st_mode);
}

static int listen_error(const struct nbd_address *address, int uv_error, struct ps_error *err)
{
    int status = PS_EIO;
    const char *why = uv_strerror(uv_error);
    struct stat st;
    switch (uv_error) {
    case UV_EADDRINUSE:
        status = PS_EPRECONDITION;
        why = "another program listens there";
        if (address->path[0] && lstat(address->path, &st) == 0 && !S_ISSOCK(st.st_mode))
            why = "there is a file that is not a socket";
        break;
    case UV_EACCES:
    case UV_EPERM:
        status = PS_EPERM;
        why = "permission denied";
        /* libuv reports a missing folder like this. */
        if (address->path[0] && lstat(address->path, &st) != 0 && errno == ENOENT &&
            !has_folder(address->path)) {
            status = PS_EINVAL;
            why = "no such folder";
        }
        break;
    case UV_EADDRNOTAVAIL:
        status = PS_EINVAL;
        why = "this machine does not have that address";
        break;
    default:
        break;
    }
    return ps_error_set(err, status, "cannot listen for NBD on %s: %s", address->text, why);
}

/* Whether the file is a socket that nobody listens on. Asks by connecting,
 * without waiting: a live server's full queue answers EAGAIN. */
static bool is_stale(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, path, strlen(path) + 1);
    const bool refused = connect(fd, (struct sockaddr *)&to, sizeof to) != 0 && errno == ECONNREFUSED;
    (void)close(fd);
    return refused;
}

void nbd_socket_init(uv_loop_t *loop, const struct nbd_address *address, union nbd_socket *socket)
{
    /* Neither can fail: no socket is made yet. */
    if (address->path[0])
        (void)uv_pipe_init(loop, &socket->pipe, 0);
    else
        (void)uv_tcp_init(loop, &socket->tcp);
}

int nbd_listen(uv_loop_t *loop, const struct nbd_address *address, union nbd_socket *socket, int backlog,
               uv_connection_cb cb, struct ps_error *err)
{
    int status;
    nbd_socket_init(loop, address, socket);
    if (address->path[0]) {
        status = uv_pipe_bind(&socket->pipe, address->path);
        if (status == UV_EADDRINUSE && is_stale(address->path) && unlink(address->path) == 0)
            status = uv_pipe_bind(&socket->pipe, address->path);
    } else {
        status = uv_tcp_bind(&socket->tcp, (const struct sockaddr *)&address->inet, 0);
    }
    if (status == 0)
        status = uv_listen(&socket->stream, backlog, cb);
    return status == 0 ? 0 : listen_error(address, status, err);
}

/* ---- names */

static void inet_name(const struct sockaddr_storage *at, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (at->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)at;
        (void)uv_ip6_name(v6, host, sizeof host);
        (void)snprintf(out, size, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)at;
        (void)uv_ip4_name(v4, host, sizeof host);
        (void)snprintf(out, size, "%s:%u", host, ntohs(v4->sin_port));
    }
}

void nbd_socket_name(const union nbd_socket *socket, const struct nbd_address *address, char *out,
                     size_t size)
{
    struct sockaddr_storage at;
    int length = sizeof at;
    if (address->path[0] || uv_tcp_getsockname(&socket->tcp, (struct sockaddr *)&at, &length) != 0)
        (void)snprintf(out, size, "%s", address->text);
    else
        inet_name(&at, out, size);
}

void nbd_peer_name(const union nbd_socket *socket, char *out, size_t size)
{
    struct sockaddr_storage at;
    int length = sizeof at;
    if (socket->handle.type == UV_TCP &&
        uv_tcp_getpeername(&socket->tcp, (struct sockaddr *)&at, &length) == 0) {
        inet_name(&at, out, size);
        return;
    }
    /* A unix peer has no name; its process is the best there is. */
    struct ucred peer;
    socklen_t peer_size = sizeof peer;
    uv_os_fd_t fd;
    if (socket->handle.type == UV_NAMED_PIPE && uv_fileno(&socket->handle, &fd) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) == 0)
        (void)snprintf(out, size, "process %d", (int)peer.pid);
    else
        (void)snprintf(out, size, "an unknown peer");
}
