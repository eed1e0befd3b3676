/* A full copy on its way: its description, and the pieces that follow. What members send each other as the
 * payload of a copy's messages. Pure. */
#ifndef PS_NODE_POD_COPY_WIRE_H
#define PS_NODE_POD_COPY_WIRE_H

#include "node/flash/anchor.h"

enum {
    COPY_HEADER_BYTES = 64,
    COPY_DESCRIPTION_BYTES = COPY_HEADER_BYTES + ANCHOR_BYTES,
    COPY_PIECE_BYTES = 512 * 1024, /* of one segment, at most */
    COPY_PIECE_MESSAGE_MAX = COPY_HEADER_BYTES + COPY_PIECE_BYTES,
};

struct copy_description {
    struct pod_anchor anchor; /* without its own protocol state */
    uint32_t segment_bytes, segment_count;
    uint32_t used;    /* segments that are not free by this anchor */
    uint32_t highest; /* index of the last segment that is copied; 0: none is */
    uint64_t pieces, bytes;
};

struct copy_piece {
    uint64_t number; /* from 0 on */
    uint32_t segment, offset, bytes;
};

/* `out` holds COPY_DESCRIPTION_BYTES. */
void copy_description_encode(const struct copy_description *description, void *out);
/* Checks all that has a form. PS_EINVAL, PS_EVERSION, PS_EDAMAGED with a detail. */
int copy_description_decode(const void *data, size_t bytes, struct copy_description *out,
                            struct ps_error *err);

/* The header of a piece whose bytes lie behind it, at header + COPY_HEADER_BYTES. */
void copy_piece_seal(const struct copy_piece *piece, void *header);
/* Verified, data included, which lies behind the header. */
int copy_piece_decode(const void *message, size_t bytes, struct copy_piece *out, struct ps_error *err);

#endif
