/* What the files behind host_image.h share. */
#ifndef PS_NODE_HOST_HOST_IMAGE_IMPL_H
#define PS_NODE_HOST_HOST_IMAGE_IMPL_H

#include "common/rpc/schedule.h"
#include "node/host/host_image.h"
#include "node/host/primary_link.h"

struct remote_call;

/* An image of a host. Requests that wait have, in their private part: `seq`, their order; `ticket`, until
 * when they may wait; `cursor`, how many bytes are done; `pending`, how often they were sent again. */
struct remote_image {
    struct host_image base;
    struct list_node link;      /* in host_images.all */
    struct list_node ready;     /* in host_images.ready: has something to send, or is to be opened */
    struct pod_image *stale;    /* of a time when this node led; closed when it leads again, or at the end */
    struct pod_image_info info; /* as of the last opening */
    bool read_only;
    bool broken;              /* nothing more is sent: see host_images_break, host_image_leave */
    int gone;                 /* status: the image was deleted */
    struct list_node waiting; /* struct pod_io, in the order of seq */
    struct list_node again;   /* what the pod here gave back; goes before `waiting` */
    uint64_t next_seq;
    unsigned calls, lost; /* in flight; unanswered for ever, and not settled */
    /* At the primary. */
    uint64_t handle;                  /* 0: not open there */
    uint64_t link_number, connection; /* on which it is */
    bool spoiled;                     /* refused there once: nothing more is sent on it */
    struct remote_call *opening;
    uint64_t retry_ns; /* not opened again before */
    /* The first opening. */
    host_image_opened opened; /* NULL: is through */
    void *user;
    uint64_t open_until_ns;
};

enum remote_kind {
    REMOTE_IO,
    REMOTE_OPEN,
    REMOTE_CLOSE
};

struct remote_call {
    struct primary_call base;
    struct list_node link; /* in host_images.calls, .lost or .spare */
    struct host_images *images;
    struct remote_image *image; /* OPEN: NULL when it was closed meanwhile */
    struct pod_io *io;
    enum remote_kind kind;
    uint32_t length; /* of this piece */
    bool cancelled;
    uint64_t target, link_number;
};

struct host_images {
    struct host_images_config config;
    struct rpc_task task;
    struct list_node all, ready;
    struct list_node calls; /* of requests, in flight */
    struct list_node lost;  /* of requests whose answer will never come, and which may still take effect */
    struct list_node done;  /* struct pod_io that have ended, status set */
    struct list_node spare;
    unsigned spares;
    /* Who leads. */
    bool leads, known;
    struct primary_place place;
    char target_node[RPC_NAME_MAX + 1]; /* the last that was known; "": this node */
    uint64_t target;                    /* counts changes of it */
    int refused; /* the last refusal of an opening that the log has, and of which primary */
    uint64_t refused_by;
    struct primary_link *link;
    uint64_t link_number;
    bool retiring; /* to one that does not lead any more: waits for answers, sends nothing */
    uint64_t retire_by_ns;
    uint64_t turn_ns; /* config.now_ns at the last turn, while there is a link or something waits; else 0 */
    unsigned links_closing;
    bool closing;
    void (*closed)(void *user);
    void *closed_user;
};

static inline bool is_change(const struct pod_io *io)
{
    return io->op == POD_WRITE || io->op == POD_TRIM || io->op == POD_WRITE_ZERO;
}

/* host_image.c */
/* The request has ended; its callback runs in host_images_deliver. */
void host_images_end(struct host_images *images, struct pod_io *io, int status);
void host_images_deliver(struct host_images *images);
/* Waits (again), for what is left of its time. */
void remote_requeue(struct remote_image *image, struct pod_io *io);
/* Nothing more can be done for what waits. */
void remote_end_waiting(struct remote_image *image, int status);
/* The first opening is through. */
void remote_opened(struct remote_image *image, int status, const char *detail);
void remote_make_ready(struct remote_image *image);
/* The pod here is not to be asked any more. */
void remote_leave_pod(struct remote_image *image);
/* Moves it on; `through`: the pod here has given back all that it had of the time when it led. True:
 * something of it waits. It may be closed when this returns. */
bool remote_turn(struct remote_image *image, uint64_t now_ns, bool through);

/* host_image_remote.c */
/* Sends what may be sent. */
void remote_pump(struct host_images *images, uint64_t now_ns);
void remote_close_handle(struct remote_image *image);
bool remote_is_open(const struct remote_image *image);
/* Ends lost requests that can't take effect any more; returns when the next one will be so far. */
uint64_t remote_settle_lost(struct host_images *images, uint64_t now_ns);

#endif
