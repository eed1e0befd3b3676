/* A peer whose bytes are made by hand: a client of the world's server, or a server for its client. */
#ifndef PS_TEST_RAW_PEER_H
#define PS_TEST_RAW_PEER_H

#include "common/rpc/frame.h"
#include "common/rpc/transport.h"
#include "rpc_world.h"

#define RAW_ENDPOINT "mem://evil"

struct raw {
    struct rpc_world world;
    struct rpc_dial dial;
    struct rpc_listener listener;
    struct rpc_link *link;
    bool receiving, lost, unlistened;
    uint8_t *out, in[256 * 1024], chunk[4096];
    size_t in_bytes;
};

/* Connects to the world's server, or listens for its client. */
void raw_dial(struct raw *r);
void raw_listen(struct raw *r);
void raw_run(struct raw *r, uint64_t for_ns);

/* Each runs the world for a moment afterwards. */
void raw_send_bytes(struct raw *r, const void *bytes, size_t length);
void raw_send_frame(struct raw *r, struct rpc_frame frame, const void *content, const void *payload);
/* A frame with right checksums; `content` is metadata + body. */
size_t raw_build(uint8_t *out, struct rpc_frame frame, const void *content, const void *payload);

/* The frames that came back, in order. */
struct rpc_frame raw_reply(const struct raw *r, size_t index);
const uint8_t *raw_reply_body(const struct raw *r, size_t index);

#endif
