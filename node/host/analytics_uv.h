/* Analytics as the reactor sees it: a sample a minute goes to the management thread, answers come back.
 *
 * Everything here is called on the reactor's thread. A sample costs a walk over the volumes by name and a
 * copy of what was counted; while the management thread is still busy with the last one, none is taken, and
 * the next covers both. */
#ifndef PS_NODE_HOST_ANALYTICS_UV_H
#define PS_NODE_HOST_ANALYTICS_UV_H

#include <uv.h>

#include "common/loop_uv.h"
#include "node/host/analytics_source.h"
#include "node/pod/pod.h"

/* A drive that the pod's data lies on; its name is for people. */
struct analytics_drive {
    char name[ANALYTICS_NAME_MAX + 1];
    const struct blkdev *device; /* NULL: it is not there */
    bool out;                    /* the others do without it */
};

struct analytics_service_config {
    uv_loop_t *loop;
    struct loop_thread *management; /* runs until after the end */
    struct pod *pod;
    struct image_uses *uses;
    /* Which there are now; returns how many. May be NULL: none. */
    size_t (*drives)(void *user, struct analytics_drive out[ANALYTICS_DEVICES_MAX]);
    uint64_t interval_ms;
    uint64_t started_unix_ns; /* of this process: names its run */
    /* How far the member farthest behind is; may be NULL. */
    void (*lag)(void *user, uint64_t *ms, uint64_t *bytes);
    void *user;
};

struct analytics_service;

/* Takes `analytics`, also after an error (then it is closed). PS_ENOMEM. */
int analytics_service_start(const struct analytics_service_config *config, struct analytics *analytics,
                            struct analytics_service **out);
struct analytics_source *analytics_service_source(struct analytics_service *service);
/* Takes a last sample, answers what was asked, closes the history; then `stopped`. */
void analytics_service_stop(struct analytics_service *service, void (*stopped)(void *user), void *user);

#endif
