/* One NBD connection without its socket: handshake, then transmission.
 *
 * Pure: bytes in, bytes out, pod I/O below. The edge that owns the socket
 *
 *   - while nbd_session_wants_input: receives into nbd_session_room and calls
 *     nbd_session_received; while nbd_session_gathers, it may leave off until the next `ready`;
 *   - after `ready` (called from inside those functions and from pod_turn;
 *     it must only take note): calls nbd_session_resume, then sends what
 *     nbd_session_gather describes and calls nbd_session_sent;
 *   - calls nbd_session_end when the peer has nothing more to say, or
 *     nbd_session_abandon when it is gone;
 *   - closes the socket when nbd_session_over, and destroys the session when
 *     nbd_session_idle. */
#ifndef PS_NODE_HOST_NBD_SESSION_H
#define PS_NODE_HOST_NBD_SESSION_H

#include "node/host/nbd_transmit.h"

enum {
    NBD_SESSION_INPUT = 64 * 1024
};
_Static_assert(NBD_SESSION_INPUT >= 16 + NBD_OPTION_MAX, "an option is taken whole");

struct nbd_session;

struct nbd_session_config {
    struct pod *pod;
    struct nbd_buffers *buffers;
    struct nbd_transmit_stats *stats;
    void (*ready)(void *user);
    void *user;
    struct host_images *images; /* NULL: the pod here or none */
};

/* Queues the greeting (without calling `ready`). NULL: out of memory. */
struct nbd_session *nbd_session_create(const struct nbd_session_config *config);
void nbd_session_destroy(struct nbd_session *session);

bool nbd_session_wants_input(const struct nbd_session *session);
/* nbd_transmit_gathers: what comes now is best received all at once, after the next `ready`. */
bool nbd_session_gathers(const struct nbd_session *session);
/* Where the next bytes go, and how many at most; only while input is wanted. */
size_t nbd_session_room(struct nbd_session *session, void **buf);
void nbd_session_received(struct nbd_session *session, size_t bytes);
/* Goes on with input that had to wait. True if it got any further: the pod is due for a turn. */
bool nbd_session_resume(struct nbd_session *session);

unsigned nbd_session_gather(const struct nbd_session *session, struct iovec *spans, unsigned max);
void nbd_session_sent(struct nbd_session *session, size_t bytes);

/* No more requests: those in flight are answered, then the session is over. */
void nbd_session_end(struct nbd_session *session);
/* The peer is gone: nothing more is sent. No span of the output may be in use. */
void nbd_session_abandon(struct nbd_session *session);

/* The client has disconnected, broken the protocol, or nbd_session_end was called. */
bool nbd_session_ending(const struct nbd_session *session);
/* Nothing is left to be said: disconnect. */
bool nbd_session_over(const struct nbd_session *session);
/* No request is at the pod and none is being sent: may be destroyed. */
bool nbd_session_idle(const struct nbd_session *session);

/* Transmission has begun (a handshake time limit ends here). */
bool nbd_session_transmitting(const struct nbd_session *session);
/* Options answered so far: progress of the handshake. */
uint32_t nbd_session_options(const struct nbd_session *session);
/* It waits for buffers that other connections hold. */
bool nbd_session_waits(const struct nbd_session *session);
/* Requests of it are at the pod. */
bool nbd_session_at_pod(const struct nbd_session *session);
/* Requests of it are at another node, or wait for one that leads. */
bool nbd_session_passes_on(const struct nbd_session *session);
/* Buffers that it holds itself. */
uint64_t nbd_session_payload_bytes(const struct nbd_session *session);
/* Name of the open export ("" before), and what the client did wrong (status 0 if nothing). */
const char *nbd_session_export(const struct nbd_session *session);
const struct ps_error *nbd_session_error(const struct nbd_session *session);
/* The session whose place in the buffers' queue this is. */
struct nbd_session *nbd_session_of_waiter(struct list_node *waiter);
void *nbd_session_user(const struct nbd_session *session);

#endif
