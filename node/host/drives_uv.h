/* Carries out jobs on this machine's flash devices in libuv's thread pool. Edge. Belongs to the loop's
 * thread.
 *
 * What may be driven raw is decided here, once for all of it (open_raw): a whole NVMe namespace that is not
 * the pool's, that the setting names, and that nobody else has: it is opened exclusively, which the kernel
 * refuses while it or a partition of it is mounted, held by another driver or open so elsewhere. Each job
 * opens and closes it: nothing is kept between them, so that a device may go and come. */
#ifndef PS_NODE_HOST_DRIVES_UV_H
#define PS_NODE_HOST_DRIVES_UV_H

#include <uv.h>

#include "node/host/drives.h"

struct drives_config {
    /* Fills in the pool's devices as of now, at most `max`; runs on the loop's thread. */
    size_t (*pooled)(void *user, struct drive_pooled *out, size_t max);
    void *user;
    const char *raw_devices; /* paths separated by spaces; borrowed */
};

/* PS_ENOMEM. */
int drives_uv_create(uv_loop_t *loop, const struct drives_config *config, struct drives **out);
/* No job is under way. */
void drives_uv_destroy(struct drives *drives);

#endif
