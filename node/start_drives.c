/* The flash devices of this machine for the RPC service, beside what the pool does with its own. */
#include <stdio.h>
#include <string.h>

#include "common/blkdev.h"
#include "node/daemon.h"
#include "node/host/drive_smart.h"
#include "node/host/drives_uv.h"
#include "node/host/flash_devices_uv.h"

struct pooled {
    struct drive_pooled *out;
    size_t count, max;
};

static void put(void *user, const struct blkdev *dev, enum blkdev_kind kind)
{
    struct pooled *p = user;
    if (p->count == p->max)
        return;
    struct drive_pooled *out = &p->out[p->count++];
    *out = (struct drive_pooled){
        .kind = kind,
        .zoned = dev->geometry.zoned,
        .size_bytes = dev->geometry.size_bytes,
        .block_bytes = dev->geometry.read_unit,
    };
    (void)snprintf(out->name, sizeof out->name, "%s", dev->name);
}

static size_t pooled(void *user, struct drive_pooled *out, size_t max)
{
    const struct node *node = user;
    struct pooled p = {out, 0, max};
    if (node->devices)
        flash_devices_each(node->devices, put, &p);
    return p.count;
}

int start_drives(struct node *node, struct ps_error *err)
{
    const struct drives_config config = {
        .pooled = pooled, .user = node, .raw_devices = node->as.flash_raw_devices};
    for (const char *p = config.raw_devices + strspn(config.raw_devices, " \t"); *p; p += strspn(p, " \t")) {
        const int length = (int)strcspn(p, " \t");
        struct ps_error reason;
        if (*p != '/') {
            (void)ps_error_set(
                &reason, PS_EINVAL,
                "\"%.*s\" is no device's full path: /dev/nvme1n1 or /dev/disk/by-id/nvme-… would be",
                length > 80 ? 80 : length, p);
            return node_setting_error(node, PSTORAGED_FLASH_RAW_DEVICES, PS_EINVAL, err, reason.detail);
        }
        p += length;
    }
    if (drives_uv_create(&node->loop, &config, &node->drives))
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    node->smart = drive_smart_create(node->drives);
    if (node->smart)
        return 0;
    drives_uv_destroy(node->drives);
    return ps_error_set(err, PS_ENOMEM, "out of memory");
}

void stop_drives(struct node *node)
{
    struct awaited end = {.node = node};
    drive_smart_stop(node->smart, node_arrived_cb, &end);
    node_wait(&end);
    drive_smart_destroy(node->smart);
    drives_uv_destroy(node->drives);
    node->smart = NULL;
    node->drives = NULL;
}
