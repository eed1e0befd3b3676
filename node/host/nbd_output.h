/* What one connection still has to send, in order: small pieces, copied into a
 * ring, and parcels, borrowed from whoever made them until they are sent.
 * Neighbouring small pieces become one span, so that the acknowledgements of
 * a loop turn cost one entry of a writev. */
#ifndef PS_NODE_HOST_NBD_OUTPUT_H
#define PS_NODE_HOST_NBD_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/container.h"

enum {
    NBD_OUTPUT_RING = 32 * 1024,
    NBD_PARCEL_RUNS = 5
};

/* Up to five runs of bytes, sent one after the other. */
struct nbd_parcel {
    struct list_node link;
    uint32_t ring_before; /* ring bytes queued between the parcel before and this one */
    uint32_t nruns;
    struct iovec runs[NBD_PARCEL_RUNS];
};

struct nbd_output {
    struct list_node parcels;
    uint32_t ring_head, ring_used; /* bytes; `ring_used` includes every parcel's ring_before */
    uint32_t ring_after;           /* of these, behind the last parcel */
    uint64_t parcel_sent;          /* bytes of the first parcel that are sent already */
    uint8_t ring[NBD_OUTPUT_RING];
};

void nbd_output_init(struct nbd_output *out);

static inline uint32_t nbd_output_room(const struct nbd_output *out)
{
    return NBD_OUTPUT_RING - out->ring_used;
}

static inline bool nbd_output_empty(const struct nbd_output *out)
{
    return out->ring_used == 0 && list_empty(&out->parcels);
}

/* Copies; `bytes` is at most nbd_output_room. */
void nbd_output_copy(struct nbd_output *out, const void *data, uint32_t bytes);

/* Borrows `parcel` (filled but for link and ring_before) and its bytes. */
void nbd_output_parcel(struct nbd_output *out, struct nbd_parcel *parcel);

/* Describes what is next to be sent, up to `max` spans; they stay where they are until sent. */
unsigned nbd_output_gather(const struct nbd_output *out, struct iovec *spans, unsigned max);

/* The first `bytes` of it are sent. Parcels sent whole move to the end of `finished`. */
void nbd_output_sent(struct nbd_output *out, uint64_t bytes, struct list_node *finished);

/* Nothing more will be sent: parcels move to `finished`, the ring is emptied. */
void nbd_output_drop(struct nbd_output *out, struct list_node *finished);

#endif
