/* Images as hosts have them open, wherever the pod is led: requests go to the pod here while this node leads
 * it, else to the primary, one hop; in between they wait.
 *
 * What a host may rely on, whichever way its requests go:
 *  1. A request waits at most HOST_HOLD_NS for a primary. Then it ends with PS_ENOTPRIMARY: it was not
 * carried out.
 *  2. What only reads, and flushes, are asked again when a primary is lost under them. What changes something
 *     is sent again only if it certainly had no effect; else it ends with PS_EUNAVAILABLE, and not before it
 * is certain that it can't take effect any more, so that whoever repeats it is not overtaken by the first
 * one.
 *  3. A flush covers what was answered before, here or elsewhere: of a replicated pod nothing is answered
 *     before it is committed.
 *  4. Requests to one image are sent in the order of their submission.
 *
 * Pure; on the thread of pod and transport. Requests are the caller's struct pod_io, whose private part is
 * used here while the pod has not got it; payloads stay in the caller's buffers. While this node leads, a
 * request goes straight to the pod. */
#ifndef PS_NODE_HOST_HOST_IMAGE_H
#define PS_NODE_HOST_HOST_IMAGE_H

#include "node/host/primary_gate.h"
#include "node/pod/pod.h"

#define HOST_HOLD_NS 2500000000ull

struct rpc_transport;
struct rpc_keys;

/* ---- all images of a node that is one of a cluster */

struct host_images;

struct host_images_config {
    struct pod *pod;
    const struct primary_gate *gate; /* with `primary`; borrowed for good */
    struct rpc_transport *transport;
    const struct rpc_keys *keys; /* borrowed for good, as are the names */
    const char *node_name, *cluster_name;
    uint64_t (*now_ns)(void *user); /* CLOCK_BOOTTIME: a machine that sleeps stands still, too */
    bool refusal_is_end; /* an address that refuses after a connection ended proves that the process has */
    /* Requests have ended, or were given to the pod, outside of its turn. */
    void (*wake)(void *user);
    /* Images are broken, see host_images_break: for whoever has connections to close. */
    void (*broken)(void *user);
    void (*log)(void *user, const char *line); /* may be NULL */
    void *user;
};

/* PS_ENOMEM. */
int host_images_create(const struct host_images_config *config, struct host_images **out);
/* Every image is closed. Frees, then `closed`. */
void host_images_close(struct host_images *images, void (*closed)(void *user), void *user);

/* Who leads may have changed. */
void host_images_news(struct host_images *images);

/* What hosts sent until now may be older than they know: this node lost its role without handing it over, or
 * stood still. All images that are open are broken from now on: what waits ends with PS_ENOTPRIMARY, and so
 * does what is submitted; the host opens the image anew. Runs config.broken. */
void host_images_break(struct host_images *images);

/* ---- one image, as one host has it open */

enum {
    HOST_IMAGE_WAITS = 1
};

struct host_image {
    struct pod *pod;
    struct pod_image *local;    /* at the pod here; NULL: it is led elsewhere, or nobody knows where */
    struct host_images *images; /* NULL: the pod here or none */
};

typedef void (*host_image_opened)(void *user, int status, const char *detail);

/* Opens by full name; `images` NULL: at the pod here alone. 0: it is open. HOST_IMAGE_WAITS: the primary is
 * asked, `opened` tells, never before the return; until then only host_image_close may be called. Errors,
 * with a detail: PS_ENOTFOUND, PS_EUNAVAILABLE (on standby, without `images`), PS_ENOMEM. */
int host_image_open(struct host_images *images, struct pod *pod, const char *name, bool read_only,
                    struct host_image **out, host_image_opened opened, void *user, struct ps_error *err);
/* The caller has no request in flight. While it is being opened, `opened` doesn't run any more. */
void host_image_close(struct host_image *image);
/* As it is here, or as the primary told when it was opened there. PS_ENOTFOUND. */
int host_image_info(const struct host_image *image, struct pod_image_info *out);

/* Parts of the two functions below. */
int host_image_wait(struct host_image *image, struct pod_io *io, pod_io_cb cb);
bool host_image_wait_again(struct host_image *image, struct pod_io *io, int status);

/* As pod_submit; io->image is set here. Statuses beside the pod's: PS_ENOTPRIMARY, PS_ECANCELLED;
 * PS_EUNAVAILABLE as said above. */
static inline int host_image_submit(struct host_image *image, struct pod_io *io, pod_io_cb cb)
{
    if (image->local) {
        io->image = image->local;
        const int rc = pod_submit(image->pod, io, cb);
        if (rc != PS_EUNAVAILABLE || !image->images)
            return rc;
    }
    return host_image_wait(image, io, cb);
}

/* In a callback, for a status that is not 0. True: the request goes on elsewhere, and its callback runs once
 * more. */
static inline bool host_image_again(struct host_image *image, struct pod_io *io, int status)
{
    /* io->image is the pod's here; what ended elsewhere, or waiting, has none. */
    return io->image && image->images && (status == PS_EUNAVAILABLE || status == PS_ENOTPRIMARY) &&
           host_image_wait_again(image, io, status);
}

/* The host submits nothing more, and may have gone: what waits, or comes back from the pod here, is not sent
 * any more, and ends with PS_ENOTPRIMARY. What is under way goes on. */
void host_image_leave(struct host_image *image);
/* The host has gone, or does not wait any longer: the request ends soon, with PS_ECANCELLED. One that the pod
 * here has is left to it. */
void host_image_cancel(struct host_image *image, struct pod_io *io);
/* The same for all requests of the image. */
void host_image_cancel_all(struct host_image *image);

#endif
