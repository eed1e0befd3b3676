#include "node/host/rest/rest_listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/host/rest/rest_access.h"

enum {
    BACKLOG = 128,
    PEM_MAX = 64 * 1024
};

static int try_address(const struct addrinfo *a)
{
    const int on = 1;
    const int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    const int why = errno;
    (void)close(fd);
    errno = why;
    return -1;
}

int rest_listen(const char *host, uint16_t port, int *fd, bool *local, struct ps_error *err)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char service[8], name[256];
    const size_t length = strlen(host);
    const bool brackets = length > 2 && host[0] == '[' && host[length - 1] == ']';
    (void)snprintf(name, sizeof name, "%.*s", (int)(brackets ? length - 2 : length), host + brackets);
    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    const int rc = getaddrinfo(name, service, &hints, &found);
    if (rc)
        return ps_error_set(err, PS_EINVAL, "%s: %s", host, gai_strerror(rc));
    *fd = -1;
    for (const struct addrinfo *a = found; a && *fd < 0; a = a->ai_next) {
        *fd = try_address(a);
        *local = rest_is_local(a->ai_addr);
    }
    const int why = errno;
    freeaddrinfo(found);
    if (*fd >= 0)
        return 0;
    const int status = why == EADDRINUSE      ? PS_EEXISTS
                       : why == EACCES        ? PS_EPERM
                       : why == EADDRNOTAVAIL ? PS_EINVAL
                                              : PS_EIO;
    return ps_error_set(err, status, "can't listen at %s port %u: %s", host, (unsigned)port, strerror(why));
}

static int read_all(int fd, const char *path, char **out, struct ps_error *err)
{
    char *text = malloc(PEM_MAX + 1);
    size_t length = 0;
    ssize_t n = 0;
    if (!text)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    while (length < PEM_MAX && (n = read(fd, text + length, PEM_MAX - length)) > 0)
        length += (size_t)n;
    text[length] = '\0';
    if (n < 0 || length == PEM_MAX || !strstr(text, "-----BEGIN ")) {
        explicit_bzero(text, length);
        free(text);
        return n < 0 ? ps_error_set(err, PS_EIO, "%s can't be read: %s", path, strerror(errno))
                     : ps_error_set(err, PS_EINVAL, "%s is no PEM file", path);
    }
    *out = text;
    return 0;
}

int rest_read_pem(const char *path, bool secret, char **out, struct ps_error *err)
{
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ps_error_set(err, errno == ENOENT ? PS_ENOTFOUND : PS_EPERM, "%s can't be opened: %s", path,
                            strerror(errno));
    int rc = 0;
    if (secret && (fstat(fd, &st) || (st.st_mode & (S_IRWXO | S_IWGRP))))
        rc = ps_error_set(err, PS_EPERM, "others can read or change %s: chmod 600, or 640", path);
    if (rc == 0)
        rc = read_all(fd, path, out, err);
    (void)close(fd);
    return rc;
}
