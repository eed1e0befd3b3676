/* The other end of a session, for tests: a client that speaks bytes, and the
 * part of the edge, so that a test can say what arrives and when. */
#ifndef PS_TESTS_UNIT_HOST_NBD_PEER_H
#define PS_TESTS_UNIT_HOST_NBD_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "lone_cluster.h"
#include "node/host/nbd_session.h"
#include "node/host/nbd_wire.h"
#include "tests/support/pod_fake.h"

enum {
    PEER_VOLUME = 8 << 20
};

struct peer {
    struct pod *pod; /* volumes "vol" (8 MiB) and "other", snapshot "vol@snap" */
    struct nbd_buffers buffers;
    struct nbd_transmit_stats stats;
    struct nbd_session *session;
    struct lone_cluster cluster; /* made by peer_gate */
    size_t piece;                /* bytes at most that one receive delivers; 0: any */
    bool deaf;                   /* the client doesn't take replies */
    unsigned ready;              /* calls */
    uint8_t *in;                 /* replies received and not yet looked at */
    size_t in_bytes, in_at, in_room;
};

/* A server with a fresh pod and one connection, its greeting not yet read. */
struct peer *peer_create(uint64_t memory_bytes);
void peer_destroy(struct peer *peer);
/* From the next connection on the pod is one of a cluster; and whether it is led here. */
void peer_gate(struct peer *peer);
void peer_lead(struct peer *peer, bool lead);
/* Time goes by for those who wait for a primary. */
void peer_wait(struct peer *peer, unsigned ms);
/* Replaces the connection by a new one. */
void peer_reconnect(struct peer *peer);

/* Delivers bytes as far as the session wants them; returns how many. */
size_t peer_deliver(struct peer *peer, const void *data, size_t bytes);
/* The same, and all of them must be taken. */
void peer_send(struct peer *peer, const void *data, size_t bytes);
/* Turns of pod and session, replies received, until nothing moves. */
void peer_run(struct peer *peer);

/* The next `bytes` of the replies (after peer_run); fails if there are fewer. */
const uint8_t *peer_take(struct peer *peer, size_t bytes);
/* Nothing more has come. */
void peer_expect_silence(struct peer *peer);

/* ---- handshake */

void peer_greet(struct peer *peer, uint32_t client_flags);
void peer_option(struct peer *peer, uint32_t option, const void *data, uint32_t bytes);
/* Reads one option reply, which must be of this kind; its data is copied, with a terminating 0. Returns its
 * length. */
uint32_t peer_option_reply(struct peer *peer, uint32_t option, uint32_t type, char data[5000]);
/* Data of INFO and GO. */
uint32_t peer_info_data(uint8_t *out, const char *name, unsigned nwants, const uint16_t *wants);
/* Data of LIST and SET_META_CONTEXT. */
uint32_t peer_context_data(uint8_t *out, const char *name, unsigned nqueries, const char **queries);
void peer_go(struct peer *peer, const char *name);
/* Fixed newstyle, structured replies and base:allocation as wanted, then GO. */
void peer_attach(struct peer *peer, const char *name, bool structured);

/* ---- transmission */

void peer_header(uint8_t out[NBD_REQUEST_BYTES], unsigned command, unsigned flags, uint64_t cookie,
                 uint64_t offset, uint32_t length);
void peer_request(struct peer *peer, unsigned command, unsigned flags, uint64_t cookie, uint64_t offset,
                  uint32_t length);
void peer_write(struct peer *peer, unsigned flags, uint64_t cookie, uint64_t offset, uint32_t length,
                const void *data);

/* A simple reply; returns its error. */
uint32_t peer_simple(struct peer *peer, uint64_t cookie);
struct peer_chunk {
    uint16_t flags, type;
    uint64_t cookie;
    uint32_t length;
    const uint8_t *payload;
};
struct peer_chunk peer_chunk(struct peer *peer);
/* An error chunk that ends its reply; the message is copied if wanted. Returns its error. */
uint32_t peer_error(struct peer *peer, uint64_t cookie, char message[256]);
/* Collects the content chunks of one READ, which must cover it exactly. Returns how many there were. */
unsigned peer_read_reply(struct peer *peer, uint64_t cookie, uint64_t offset, uint32_t length, uint8_t *data);

#endif
