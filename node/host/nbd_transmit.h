/* The transmission phase of one connection: requests become pod I/O, its
 * completions become replies, in any order.
 *
 * A step function: received bytes in, replies into the output. Everything it
 * may hold is bounded when it is made: NBD_REQUESTS_MAX requests from parsing
 * until their reply is sent, and NBD_BYTES_MAX of payload, but not more than
 * half of the server's buffers unless one request needs it. The first
 * NBD_BYTES_GUARANTEED don't depend on what other connections hold. What doesn't fit now stalls: the bytes
 * stay with the caller, who stops receiving, so that TCP slows the client down.
 *
 * A request's life: free → (WRITE: receiving its payload) → in flight at the
 * pod → replying, when its payload is being sent → free. Replies without
 * payload are copied into the output's ring and free the request at once; the
 * ring always has room for the reply of every request that has one to come. */
#ifndef PS_NODE_HOST_NBD_TRANSMIT_H
#define PS_NODE_HOST_NBD_TRANSMIT_H

#include "node/host/nbd_buffers.h"
#include "node/host/nbd_handshake.h"
#include "node/host/nbd_output.h"

enum {
    NBD_REQUESTS_MAX = 256,
    NBD_BYTES_MAX = 64 << 20,
    NBD_BYTES_GUARANTEED = 128 * 1024,
    NBD_GATHER_WRITES = 16, /* see nbd_transmit_gathers */
    NBD_GATHER_BYTES = 512 * 1024,
    NBD_SMALL_REPLY_MAX = 96, /* longest reply that goes through the ring */
};

struct nbd_transmit;

struct nbd_request {
    struct pod_io io;
    struct nbd_parcel parcel; /* its link: in the free list, or in the output */
    struct nbd_transmit *owner;
    struct nbd_buffer *buffer; /* payload: READ, WRITE, BLOCK_STATUS */
    uint64_t cookie;
    uint16_t command, flags;
};

enum nbd_transmit_state {
    NBD_TX_RUNNING,
    NBD_TX_STALLED,  /* something is used up: feed again after a completion, after sending, or as waiter */
    NBD_TX_ENDED,    /* the client disconnected properly */
    NBD_TX_VIOLATED, /* `error` says why; disconnect */
};

struct nbd_transmit_stats {
    uint64_t requests, errors, read_bytes, written_bytes;
};

struct nbd_transmit {
    struct host_image *image; /* owned from nbd_transmit_create on */
    struct nbd_buffers *buffers;
    struct nbd_output *out;
    struct nbd_transmit_stats *stats; /* shared by the connections of a server */
    void (*completed)(void *user);    /* a reply was queued, or a request of a muted connection ended */
    void *user;
    struct list_node waiter; /* in the buffers' queue */
    bool structured, allocation;
    bool muted; /* the client is gone: no more replies */
    enum nbd_transmit_state state;
    struct nbd_request *receiving; /* WRITE whose payload is coming in */
    uint32_t received;             /* bytes of it */
    uint32_t skip;                 /* payload of an invalid WRITE still to be thrown away; its reply */
    uint64_t refused_cookie;       /* comes after that: libnbd looks for replies only to requests */
    const char *refused_message;   /* that it has sent whole */
    uint32_t busy;                 /* requests not free */
    uint32_t in_flight;            /* of these, at the pod, here or elsewhere, or waiting for one */
    uint32_t writes;               /* of these, WRITEs */
    uint64_t payload_bytes;        /* buffers held by requests */
    uint64_t payload_max;
    struct list_node free;
    struct ps_error error;
    struct nbd_request requests[NBD_REQUESTS_MAX];
};

/* Takes over the image that the handshake opened. */
struct nbd_transmit *nbd_transmit_create(const struct nbd_handshake *hs, struct nbd_buffers *buffers,
                                         struct nbd_output *out, struct nbd_transmit_stats *stats,
                                         void (*completed)(void *user), void *user);
/* Closes the image. Nothing is busy. */
void nbd_transmit_destroy(struct nbd_transmit *tx);

/* Takes what it can of `in`; returns how many bytes that was. */
size_t nbd_transmit_feed(struct nbd_transmit *tx, const uint8_t *in, size_t bytes);

/* Where the next bytes can be received directly, and how many at most: the
 * payload of a large WRITE. 0 when they are something else. */
size_t nbd_transmit_direct(const struct nbd_transmit *tx, void **buf);
void nbd_transmit_direct_received(struct nbd_transmit *tx, size_t bytes);

/* So many small writes, and nothing else, are at the pod that its next batch is better filled with all that
 * comes until one of them is answered, taken in at once, than request by request: a wake-up for each costs
 * more than the write. Reads never wait for this, and neither do writes that fill a batch with few. */
bool nbd_transmit_gathers(const struct nbd_transmit *tx);

/* Parcels that were sent, or never will be (empties the list). */
void nbd_transmit_release(struct list_node *finished);

/* Takes no more requests, and drops the one whose payload was coming in. What is at a pod is answered; what
 * waits for one ends without a reply: its host may have left, and have written elsewhere when it lands. */
void nbd_transmit_end(struct nbd_transmit *tx);
/* The client is gone: the same, and drops all replies, present and future. */
void nbd_transmit_mute(struct nbd_transmit *tx);

/* The errno that NBD sends for a status of ours. */
uint32_t nbd_error_of(int status, uint16_t command);

#endif
