/* Tells the service manager how the start and the end go: systemd's
 * notification protocol, one datagram to $NOTIFY_SOCKET (sd_notify(3)). */
#ifndef PS_COMMON_NOTIFY_SOCKET_H
#define PS_COMMON_NOTIFY_SOCKET_H

/* `state` as "READY=1" or "STOPPING=1". Does nothing without a socket; a
 * manager that doesn't listen is no reason not to run. */
void notify_socket_send(const char *socket_path, const char *state);

#endif
