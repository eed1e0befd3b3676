/* A service for tests, on the descriptors of the real ones: it answers at
 * once, holds calls until the test ends them, moves payloads and streams. */
#ifndef PS_TEST_RPC_SERVICE_H
#define PS_TEST_RPC_SERVICE_H

#include "common/rpc/server.h"

enum {
    TEST_HELD_MAX = 300
};

struct test_service {
    unsigned created;                     /* Volumes.Create: answers with the name and a growing id */
    struct rpc_call *held[TEST_HELD_MAX]; /* Volumes.Get: kept here, in order */
    size_t nheld, cancelled;
    uint32_t written_bytes; /* BlockIO.Write: the last payload */
    uint64_t written_sum;
    bool written_aligned;
    unsigned stream_length; /* Events.Follow: so many events, then the end; 0: never ends */
    unsigned sent, blocked; /* events sent; times it had to wait */
    unsigned disconnected;
    uint64_t last_connection;
};

void test_service_register(struct rpc_server *server, struct test_service *service);
/* Ends a held call. */
void test_service_answer(struct test_service *service, size_t index);

/* A payload to compare with: depends on seed and length. */
void test_pattern(void *out, size_t length, unsigned seed);

#endif
