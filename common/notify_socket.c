#include "common/notify_socket.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_socket_send(const char *socket_path, const char *state)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    const size_t length = socket_path ? strlen(socket_path) : 0;
    if (length < 2 || length >= sizeof addr.sun_path || (socket_path[0] != '/' && socket_path[0] != '@'))
        return;
    memcpy(addr.sun_path, socket_path, length);
    if (addr.sun_path[0] == '@')
        addr.sun_path[0] = '\0'; /* abstract */
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&addr,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    (void)close(fd);
}
