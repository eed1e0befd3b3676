/* Frames over a link: assembles what is received, coalesces what is sent,
 * watches that the peer lives. Knows nothing of calls; client.c and server.c
 * are built on it.
 *
 * Receiving: small frames are read many at a time into one chunk and handed
 * out in place; payloads are received into aligned buffers of the pool, except for
 * what came in with the chunk. No length is believed before rpc_frame_decode
 * has checked it. One receive is in flight; none while the owner holds the
 * channel back (`admit`).
 *
 * Sending: frames are appended to staging chunks and leave in one send a turn;
 * large payloads are sent from where they are. */
#ifndef PS_COMMON_RPC_CHANNEL_H
#define PS_COMMON_RPC_CHANNEL_H

#include "common/rpc/frame.h"
#include "common/rpc/pool.h"
#include "common/rpc/transport.h"

struct rpc_channel;

/* A frame that came in. */
struct rpc_incoming {
    const struct rpc_frame *frame;
    const uint8_t *metadata, *body; /* valid until the handler returns */
    void *payload;                  /* of the pool; the handler takes it by setting this to NULL */
};

struct rpc_channel_events {
    /* May the next frame be handled? If not, rpc_channel_resume must follow once it may. NULL: always. */
    bool (*admit)(struct rpc_channel *channel);
    /* Non-zero: the peer broke the rules; the channel says goodbye with `err` and closes. */
    int (*frame)(struct rpc_channel *channel, struct rpc_incoming *in, struct ps_error *err);
    /* Bytes left; rpc_channel_unsent is smaller than it was. May be NULL. */
    void (*progress)(struct rpc_channel *channel);
    /* The end: nothing is borrowed, the channel's memory is released, its owner may free it. `reason` is
     * PS_EUNAVAILABLE when the peer left or was lost, PS_EDEADLINE when it was silent or stuck. */
    void (*closed)(struct rpc_channel *channel, const struct ps_error *reason);
};

struct rpc_channel {
    struct rpc_transport *transport;
    struct rpc_link *link;
    struct rpc_pool *pool;
    const struct rpc_channel_events *events;
    struct rpc_task task;
    uint64_t heard_ns, sent_ns; /* last byte received; last progress of the send in flight */
    uint64_t ping_ns;           /* a ping is unanswered since then; 0: none is */
    uint64_t told_ns;           /* when the peer was told last that it is held back, and not forgotten */
    uint64_t keepalive_ns;      /* silence after which the peer is pinged; twice: it is gone */
    bool greeted;               /* set by the owner: from now on silence is answered by pings */

    /* Receiving. In the chunk: [start, end) is not yet consumed. */
    uint8_t *chunk;
    size_t start, end;
    bool receiving, held_back, have_header;
    struct rpc_frame frame; /* while have_header */
    uint8_t *content;       /* metadata + body too large for the chunk, else NULL */
    uint8_t *payload;
    size_t content_have, payload_have;

    /* Sending. */
    struct list_node out;
    struct rpc_out *spare;
    size_t unsent;
    bool sending;

    /* Ending. */
    enum {
        RPC_CHANNEL_OPEN,
        RPC_CHANNEL_LEAVING,
        RPC_CHANNEL_CLOSING
    } state;
    uint64_t leave_by_ns;
    struct ps_error reason;
};

/* Takes the link. The channel is the owner's memory until `closed`, which comes in any case. */
void rpc_channel_open(struct rpc_channel *channel, struct rpc_transport *transport, struct rpc_link *link,
                      struct rpc_pool *pool, const struct rpc_channel_events *events);

/* A payload that is sent: `done` runs once, when it is no longer needed, maybe inside
 * rpc_channel_send (it was copied), also when the channel closes. */
struct rpc_outgoing {
    const void *data;
    size_t length;
    void (*done)(void *user, const void *data, size_t length);
    void *user;
};

/* Queues a frame; sums and lengths are filled in. `content` is metadata + encoded body (`metadata_bytes`
 * set in `frame`), or, if `message` is given, only the metadata. False: out of memory, the channel closes. */
bool rpc_channel_send(struct rpc_channel *channel, struct rpc_frame *frame, const uint8_t *content,
                      size_t content_bytes, const ProtobufCMessage *message,
                      const struct rpc_outgoing *payload);

static inline size_t rpc_channel_unsent(const struct rpc_channel *channel)
{
    return channel->unsent;
}
static inline bool rpc_channel_is_open(const struct rpc_channel *channel)
{
    return channel->state == RPC_CHANNEL_OPEN;
}

void rpc_channel_resume(struct rpc_channel *channel);
/* Sends what is queued and a frame that says why (GREETING before the peer was
 * greeted, GOODBYE after), within a second, then closes. */
void rpc_channel_leave(struct rpc_channel *channel, int status, const char *detail);
/* Closes without a word. */
void rpc_channel_close(struct rpc_channel *channel, int status, const char *detail);

#endif
