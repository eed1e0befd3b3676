/* Replies of the transmission phase, built in place. */
#ifndef PS_NODE_HOST_NBD_REPLY_H
#define PS_NODE_HOST_NBD_REPLY_H

#include "node/host/nbd_transmit.h"

/* Writes a reply without payload into `out` (NBD_SMALL_REPLY_MAX bytes) and
 * returns its length: an error chunk with the message where structured replies
 * were negotiated, else, and for success (error 0), a simple reply. Too long a
 * message is cut. */
uint32_t nbd_reply_small(uint8_t *out, bool structured, uint64_t cookie, uint32_t error, const char *message);

/* Makes the parcel of a READ that succeeded out of its buffer. With structured
 * replies, zeroes are left out where that pays: the whole request (any size),
 * or runs of at least 32 KiB and a quarter of the request; the headers of the
 * chunks around a hole are written into its zeroes. */
void nbd_reply_read(struct nbd_request *request, bool structured);

/* The same for BLOCK_STATUS: io.extents lies at the beginning of the buffer and is overwritten. */
void nbd_reply_block_status(struct nbd_request *request);

#endif
