/* The flash devices of a node: opens those that the settings name, makes one of several (node/flash/array.h),
 * and lets them come and go.
 *
 * The loop's thread owns them. One device without an array's label is what it is, with nothing in between. */
#ifndef PS_NODE_HOST_FLASH_DEVICES_UV_H
#define PS_NODE_HOST_FLASH_DEVICES_UV_H

#include <stddef.h>
#include <uv.h>

#include "common/blkdev.h"
#include "common/blkdev_spec.h"
#include "common/status.h"
#include "node/host/device_change.h"

struct array;
struct flash_devices;

enum {
    FLASH_PARITY_AUTO = -1, /* none with fewer than three devices, one with up to five, else two */
};

struct flash_devices_config {
    uv_loop_t *loop;
    int parity; /* FLASH_PARITY_AUTO, or how many devices' worth */
    uint64_t rebuild_rate;
    bool read_only; /* nothing is written to any device; what an array's opening makes right it does in memory
                     */
    uint64_t seed[2];
    void (*event)(void *user, const char *kind, const char *text);
    bool (*in_use)(void *user, uint64_t offset, uint64_t length);
    /* What the pool does when its device becomes larger or smaller; as pod_move, pod_grow, pod_vacate,
     * pod_vacate_stop and pod_vacate_left (node/pod/pod.h). NULL with read_only. */
    void (*move)(void *user, struct blkdev *dev);
    int (*grow)(void *user, void (*cb)(void *user, int status), void *cb_user, struct ps_error *err);
    int (*vacate)(void *user, bool (*leaves)(void *user, uint64_t offset, uint64_t length),
                  void (*cb)(void *user, int status), void *cb_user, struct ps_error *err);
    void (*vacate_stop)(void *user);
    uint64_t (*vacate_left)(void *user);
    void *user;
};

typedef void (*flash_devices_cb)(void *user, int status);

/* `specs` is a checked list (blkdev_spec.h). Non-zero, or the callback runs once; `err` is borrowed until
 * then. Whatever came out, `*out` is closed by flash_devices_close, if this returned 0. */
int flash_devices_open(const struct flash_devices_config *config, const char *specs, flash_devices_cb cb,
                       void *user, struct ps_error *err, struct flash_devices **out);
/* Nothing of whoever used the device is in flight. After the callback its handles close while the loop runs.
 */
void flash_devices_close(struct flash_devices *f, void (*cb)(void *user), void *user);

/* What the pool lies on. */
struct blkdev *flash_devices_whole(const struct flash_devices *f);
/* NULL: one device alone. */
struct array *flash_devices_array(const struct flash_devices *f);
/* Calls for each device that is open. */
void flash_devices_each(const struct flash_devices *f,
                        void (*each)(void *user, const struct blkdev *dev, enum blkdev_kind kind),
                        void *user);

/* Of the open device of this name: goes into its health (blkdev_uring_set_smart). */
void flash_devices_set_smart(struct flash_devices *f, const char *name, const struct blkdev_smart *smart);

/* Of the device that is leaving. */
unsigned flash_devices_vacated_percent(const struct flash_devices *f);

/* Opens the device, beside the loop, and makes it one of the pool's (array_attach): in the place of one that
 * is out, or, without parity, in addition. Where the pool lies on one device, that becomes the first one of
 * an array. Errors also of opening it; those come by the callback, and `err` is borrowed until then. */
int flash_devices_attach(struct flash_devices *f, const char *spec, device_change_cb cb, void *user,
                         struct ps_error *err);
/* Takes it out and closes it. Without parity it is emptied before, and the callback tells that this has
 * begun; events tell how it ended. */
int flash_devices_detach(struct flash_devices *f, const char *name, device_change_cb cb, void *user,
                         struct ps_error *err);

#endif
