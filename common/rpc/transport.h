/* What RPC needs of the world: byte streams, time, and a turn now and then.
 * Implementations: transport_nng.c (programs), transport_mem.c (tests and
 * simulation, on virtual time). All on one thread.
 *
 * A link is one established, ordered, reliable byte stream. At most one send and one
 * receive are in flight on it; their buffers are borrowed until the event that ends them,
 * or until `closed`. Events never run inside the call that caused them.
 *
 * Every operation ends with exactly one event: recv → received, send → sent,
 * dial → done, close → closed, and no event of a link follows its `closed`. */
#ifndef PS_COMMON_RPC_TRANSPORT_H
#define PS_COMMON_RPC_TRANSPORT_H

#include <stdbool.h>

#include "common/rpc/schedule.h"
#include "common/status.h"

enum {
    RPC_IOV_MAX = 8 /* NNG takes no more */
};

struct rpc_iov {
    void *base;
    size_t length;
};

struct rpc_link;
struct rpc_transport;
struct rpc_link_events {
    /* 0 and at least one byte, in the order of the vector; or PS_EUNAVAILABLE: the peer closed or is lost. */
    void (*received)(struct rpc_link *link, int status, size_t bytes);
    /* 0 and at least one byte, maybe fewer than asked; or PS_EUNAVAILABLE. */
    void (*sent)(struct rpc_link *link, int status, size_t bytes);
    /* Nothing is borrowed any more; the link is freed when this returns. */
    void (*closed)(struct rpc_link *link);
};

struct rpc_link_ops {
    void (*recv)(struct rpc_link *link, const struct rpc_iov *iov, unsigned count);
    void (*send)(struct rpc_link *link, const struct rpc_iov *iov, unsigned count);
    void (*close)(struct rpc_link *link);
};

struct rpc_link {
    const struct rpc_link_ops *ops;
    const struct rpc_link_events *events; /* set by whoever got the link, before its first operation */
    void *user;
    char address[128]; /* of the peer, for people */
    /* The peer is on this machine: 127.0.0.0/8, ::1, or a socket of the file system. False when in doubt. */
    bool local;
};

struct rpc_dial {
    /* `link` with status 0; else `detail` says why not. */
    void (*done)(struct rpc_dial *dial, int status, struct rpc_link *link, const char *detail);
    bool refused; /* set before `done`: the machine is there, and nobody listens at the address */
    void *priv;
};

struct rpc_listener {
    void (*accepted)(struct rpc_listener *listener, struct rpc_link *link);
    void (*closed)(struct rpc_listener *listener);
    char address[128]; /* set by listen: the endpoint, with the port that was chosen for port 0 */
    void *priv;
};

struct rpc_transport_ops {
    uint64_t (*now_ns)(struct rpc_transport *transport); /* monotonic */
    /* Refused at once, with a detail, or `done` runs once. */
    int (*dial)(struct rpc_transport *transport, const char *endpoint, struct rpc_dial *dial,
                struct ps_error *err);
    void (*dial_cancel)(struct rpc_transport *transport, struct rpc_dial *dial); /* `done` still runs */
    int (*listen)(struct rpc_transport *transport, const char *endpoint, struct rpc_listener *listener,
                  struct ps_error *err);
    void (*unlisten)(struct rpc_transport *transport, struct rpc_listener *listener); /* ends with `closed` */
    /* Bytes that nobody can foresee, for nonces. False: none are to be had. */
    bool (*random)(struct rpc_transport *transport, void *out, size_t length);
};

struct rpc_transport {
    const struct rpc_transport_ops *ops;
    struct rpc_schedule schedule;
};

static inline uint64_t rpc_now(struct rpc_transport *transport)
{
    return transport->ops->now_ns(transport);
}

static inline void rpc_link_ignore_closed(struct rpc_link *link)
{
    (void)link;
}

/* For a link that nobody wants. */
static inline void rpc_link_discard(struct rpc_link *link)
{
    static const struct rpc_link_events none = {.closed = rpc_link_ignore_closed};
    link->events = &none;
    link->ops->close(link);
}

#endif
