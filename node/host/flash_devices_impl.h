/* Inside of a node's flash devices. flash_devices_uv.c: opening, turns, closing; flash_devices_change_uv.c:
 * attach and detach. */
#ifndef PS_NODE_HOST_FLASH_DEVICES_IMPL_H
#define PS_NODE_HOST_FLASH_DEVICES_IMPL_H

#include "node/flash/array.h"
#include "node/host/flash_devices_uv.h"

struct device {
    struct blkdev *dev;   /* NULL: it could not be opened */
    struct blkdev *below; /* of one that forgets what is written to it */
    struct blkdev_spec spec;
    bool used; /* the entry */
};

struct flash_devices {
    struct flash_devices_config config;
    struct device device[2 * ARRAY_MEMBERS_MAX];
    struct array *array;
    struct array *forming; /* of a pool on one device: its array when a second one comes */
    unsigned formings;     /* how often that was begun */
    struct blkdev *whole;
    uv_timer_t timer;
    bool ticking;

    /* Opening, attaching, detaching, closing: one at a time. */
    flash_devices_cb cb;
    device_change_cb changed; /* in place of `cb` */
    void *user;
    struct ps_error *err;
    struct ps_error absent; /* why the first one that could not be opened at the start could not */
    bool several;           /* devices were named at the start */
    bool grow_wanted;       /* it has become larger by itself, and the pool was not told yet */
    struct {
        char name[ARRAY_NAME_BYTES]; /* "": none is leaving */
        uint64_t bytes;              /* to be moved, when that began */
        struct ps_error err;
    } leaving;
    struct blkdev_req look;
    uint8_t *head;
    struct {
        uv_work_t work; /* of a device that is attached: it may take long */
        struct device *device;
        struct blkdev *prepared;
        int status;
        bool under_way;
    } opening;
    bool closing;
    void (*closed)(void *user);
    void *closed_user;
};

/* `prepared`: opened already (blkdev_uring_prepare), or NULL. */
int flash_device_open(struct flash_devices *f, struct device *d, struct blkdev *prepared,
                      struct ps_error *err);
void flash_device_close(struct device *d);
/* NULL: there are too many. */
struct device *flash_devices_entry(struct flash_devices *f);
/* Those that the array does not use are for others, or to be attached. */
void flash_devices_close_unused(struct flash_devices *f);
bool flash_devices_busy(const struct flash_devices *f);
/* From now on, until nothing goes on by itself. */
void flash_devices_tick(struct flash_devices *f);
void flash_devices_event(void *user, const char *kind, const char *text);
struct array_config flash_devices_array_config(struct flash_devices *f, unsigned count);

#endif
