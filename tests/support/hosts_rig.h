/* Two nodes that pass hosts' requests on to each other: the real services and links over streams in memory,
 * on virtual time, above a pod in memory each. The two pods know nothing of each other, so what a request did
 * tells where it went. One of these at a time. */
#ifndef PS_TESTS_SUPPORT_HOSTS_RIG_H
#define PS_TESTS_SUPPORT_HOSTS_RIG_H

#include "common/rpc/transport_mem.h"
#include "node/host/services.h"
#include "tests/support/pod_fake.h"

#define MS  1000000ull
#define MIB (1ull << 20)

enum {
    NOBODY = -1
};

struct hosts_node {
    struct hosts *w;
    int index;
    char name[8], address[16];
    struct rpc_transport *transport;
    struct pod *pod; /* "v" of 64 MiB, "s", "s@1" */
    struct primary_gate gate;
    struct host_images *images;
    struct rpc_server *server;
    struct services *services;
    struct event_source events;
    uint64_t slept_ns; /* which the transport's clock does not count */
    unsigned broken, lines;
    char line[256]; /* the last one of the log */
};

struct hosts {
    struct rpc_mem_net *net;
    struct hosts_node nodes[2];
    int leader; /* as both know */
    bool doubt; /* of refusals: PSTORAGE_FAST_FAILOVER=false */
};

/* A request of a test. */
struct hosts_ask {
    struct pod_io io;
    struct host_image *image;
    bool done;
    int status;
    uint64_t ended_ms;
};

struct hosts_opening {
    bool done;
    int status;
    char detail[256];
};

extern struct hosts *hosts;
extern unsigned hosts_order[64], hosts_ordered; /* blocks at which requests began, as they ended */
extern int hosts_images_open;                   /* by the test */

/* As cmocka wants them. Node 0 leads; in the second both have doubt of refusals. */
int hosts_setup(void **state);
int hosts_setup_doubt(void **state);
int hosts_teardown(void **state);

uint64_t hosts_now_ms(void);
void hosts_run(unsigned ms);
/* Node 0, 1 or NOBODY, and both know. */
void hosts_lead(int leader);
void hosts_serve(struct hosts_node *n);
void hosts_stop_serving(struct hosts_node *n);
/* For who waits for a flag. */
void hosts_set(void *user);

/* Waits until it is open. */
struct host_image *hosts_open_at(int n, const char *name);
void hosts_opened(void *user, int status, const char *detail); /* user: a struct hosts_opening */
void hosts_close_image(struct host_image *image);
int hosts_submit(struct host_image *image, struct hosts_ask *a, enum pod_io_op op, uint64_t offset,
                 uint64_t length, void *buf);
void hosts_done(struct pod_io *io, int status);
/* Waits until it has ended. */
int hosts_ask(struct host_image *image, enum pod_io_op op, uint64_t offset, uint64_t length, void *buf);
/* The caller's to free. */
uint8_t *hosts_noise(size_t bytes);
/* Requests that the node's pod got. */
uint64_t hosts_count(int n, enum pod_io_op op);

#endif
