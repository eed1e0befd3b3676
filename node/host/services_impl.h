/* What the files of the services share. */
#ifndef PS_NODE_HOST_SERVICES_IMPL_H
#define PS_NODE_HOST_SERVICES_IMPL_H

#include <stdbool.h>

#include "node/host/services.h"
#include "pstorage/v1/image.pb-c.h"

struct bio_connection;
struct bio;

enum {
    SERVICES_BUCKETS = 256
};

struct services {
    struct services_config config;
    struct rpc_server *server;
    /* Block I/O: open images by connection, requests to use again. */
    struct bio_connection *connections[SERVICES_BUCKETS];
    struct list_node spare; /* struct bio */
    unsigned nspare;
    /* Questions that the sources of events and analytics still owe an answer. */
    unsigned queries;
};

extern const struct rpc_service services_volumes, services_snapshots, services_clones, services_block_io,
    services_status, services_events, services_analytics;

void services_block_io_destroy(struct services *s);

/* ---- analytics */

typedef struct Pstorage__V1__HealthResponse Pstorage__V1__HealthResponse;
/* services_health.c: ends the call with what this node says of its drives, which is copied, and what the
 * others say. */
void health_of_all(struct services *s, struct rpc_call *call, const Pstorage__V1__HealthResponse *own);

/* ---- images in answers */

/* An image with everything it points to. It points into itself: don't copy. */
struct image_row {
    Pstorage__V1__Image image;
    Pstorage__V1__ImageSpace space;
    Pstorage__V1__ImageActivity activity;
    Pstorage__V1__ImageHeld held;
    struct pod_image_info info;
};
void image_row_fill(struct image_row *row, const struct services *s, const struct pod_image_info *info);

/* A page of images for a list. */
struct image_page {
    struct image_row *rows;
    Pstorage__V1__Image **images; /* to each row */
    size_t count, room;
    char next[POD_FULL_NAME_MAX + 1]; /* page token; "" after the last */
};
/* Ends the call and returns false when the token is malformed or memory is short. */
bool image_page_open(struct image_page *page, struct rpc_call *call, uint32_t page_size, const char *token);
/* False: the page is full, `next` is set and there is no need to look further. */
bool image_page_add(struct image_page *page, const struct services *s, const struct pod_image_info *info);
void image_page_free(struct image_page *page);

/* ---- changes */

/* A change on its way through the pod. `reply` makes the answer of the image that came of it. */
struct change {
    struct pod_manage req;
    struct services *services;
    struct rpc_call *call;
    void (*reply)(struct rpc_call *call, Pstorage__V1__Image *image);
    void (*reply_all)(struct rpc_call *call, Pstorage__V1__Image *last, uint32_t count); /* in its place */
};
/* NULL: the call has ended (no memory). `op`, time and operation id are set. */
struct change *change_new(struct services *s, struct rpc_call *call, enum pod_manage_op op,
                          void (*reply)(struct rpc_call *call, Pstorage__V1__Image *image));
/* Checked copies of names into the request; false: the change and the call have ended. */
bool change_volume(struct change *change, const char *name);
bool change_new_volume(struct change *change, const char *name);
bool change_snapshot(struct change *change, const char *name);
bool change_snapshot_of_all(struct change *change, const char *name); /* "snapshot", without a volume */
/* What the call's sender takes the image for; NULL: it didn't say. */
void change_expect(struct change *change, const Pstorage__V1__Expectation *expect);
void change_submit(struct change *change);

/* Ends the call with a status of the pod. One that came because this node is not, or no longer, the primary,
 * or because the image was opened when it led before, becomes PS_ENOTPRIMARY: nothing was carried out. */
void fail_refused(const struct services *s, struct rpc_call *call, int status, const char *detail);

/* This node is not the primary, and the call for a change was sent on to it: nothing is left to do. */
bool is_forwarded(const struct services *s, struct rpc_call *call, const ProtobufCServiceDescriptor *service,
                  const char *method, const ProtobufCMessage *message);

/* The caller wants the primary's answer, and this node is not it: the call was sent on, or refused. */
bool is_for_primary(const struct services *s, struct rpc_call *call,
                    const ProtobufCServiceDescriptor *service, const char *method,
                    const ProtobufCMessage *message);

/* Analytics.Measure */
void services_measure(void *user, struct rpc_call *call, const ProtobufCMessage *message);

/* Status.GetLatency */
void services_get_latency(void *user, struct rpc_call *call, const ProtobufCMessage *message);

/* The volume that follows `cursor` in the order of names, without walking over snapshots; moves the cursor on to
 * it. False: there is none. */
bool next_volume(const struct services *s, char cursor[POD_FULL_NAME_MAX + 1], struct pod_image_info *out);

/* Ends the call if `pod` is neither "" nor the pod's name; false then. */
bool check_pod(const struct services *s, struct rpc_call *call, const char *pod);

#endif
