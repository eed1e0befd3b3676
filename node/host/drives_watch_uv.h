/* Asks the pool's NVMe devices again and again how well they are, one at a time and beside the loop, passes
 * on what they say, and tells of each critical warning when it comes up. Edge. Belongs to the loop's thread.
 *
 * A device that does not answer holds up only those behind it, for as long as an admin command may take
 * (nvme_admin.h). */
#ifndef PS_NODE_HOST_DRIVES_WATCH_UV_H
#define PS_NODE_HOST_DRIVES_WATCH_UV_H

#include <uv.h>

#include "common/blkdev.h"
#include "node/host/drives.h"

enum {
    DRIVES_WATCH_MS = 60 * 1000,
};

struct drives_watch_config {
    uv_loop_t *loop;
    struct drives *drives;
    uint64_t interval_ms; /* from one round's beginning to the next; the first begins at once */
    /* As in struct drives_config. */
    size_t (*pooled)(void *user, struct drive_pooled *out, size_t max);
    /* `smart` is not known when the device did not say. */
    void (*told)(void *user, const char *name, const struct blkdev_smart *smart);
    void (*event)(void *user, const char *kind, const char *text); /* device.warning */
    void *user;
};

struct drives_watch;

/* PS_ENOMEM. */
int drives_watch_start(const struct drives_watch_config *config, struct drives_watch **out);
/* Waits for the answer that is under way. */
void drives_watch_stop(struct drives_watch *watch, void (*stopped)(void *user), void *user);

#endif
