/* The frame: 64 bytes of header, then metadata, body and payload.
 * Layout and meaning of every field: README.md. Encoder and decoder of the
 * header live here; both are pure and allocate nothing. */
#ifndef PS_COMMON_RPC_FRAME_H
#define PS_COMMON_RPC_FRAME_H

#include <stdint.h>

#include "common/rpc/rpc.h"

enum {
    RPC_FRAME_BYTES = 64,
    RPC_FRAME_VERSION = 1
};
#define RPC_FRAME_MAGIC 0x43525350u /* "PSRC" */

enum rpc_kind {
    RPC_GREETING = 1, /* Hello, or Welcome, or a refusal */
    RPC_REQUEST = 2,
    RPC_RESPONSE = 3, /* ends a call */
    RPC_MESSAGE = 4,  /* one message of a stream */
    RPC_CANCEL = 5,
    RPC_PING = 6,
    RPC_PONG = 7,
    RPC_GOODBYE = 8, /* the sender closes, and why */
};

struct rpc_frame {
    enum rpc_kind kind;
    uint64_t call_id;    /* REQUEST, RESPONSE, MESSAGE, CANCEL; else 0 */
    uint64_t method_id;  /* REQUEST; else 0 */
    uint64_t timeout_ns; /* REQUEST: time left, RPC_TIMEOUT_NONE: no deadline; else 0 */
    int status;          /* RESPONSE, GREETING, GOODBYE; else 0 */
    uint32_t metadata_bytes, body_bytes, payload_bytes;
    uint64_t payload_sum; /* XXH3-64 of the payload, 0 if there is none */
    uint32_t content_sum; /* low half of XXH3-64 of metadata + body, 0 if both are empty */
};

/* Everything but the two sums is checked against this, before anything is
 * allocated. PS_EPROTOCOL, or PS_EVERSION, with a detail. */
int rpc_frame_decode(const uint8_t in[RPC_FRAME_BYTES], struct rpc_frame *out, struct ps_error *err);
/* `frame` keeps the rules that decode checks; anything else is a bug of ours. */
void rpc_frame_encode(const struct rpc_frame *frame, uint8_t out[RPC_FRAME_BYTES]);

uint32_t rpc_content_sum(const void *data, size_t length);
uint64_t rpc_payload_sum(const void *data, size_t length);

/* Status on the wire: gRPC's code in the low half, ours in the high half, so
 * that a peer of another version still gets the meaning. */
uint32_t rpc_status_encode(int status);
int rpc_status_decode(uint32_t wire);

#endif
