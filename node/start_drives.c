/* The flash devices of this machine for the RPC service, beside what the pool does with its own. */
#include <stdio.h>
#include <string.h>

#include "common/blkdev.h"
#include "node/daemon.h"
#include "node/host/drives_uv.h"

static size_t pooled(void *user, struct drive_pooled *out, size_t max)
{
    const struct node *node = user;
    if (!node->flash || max == 0)
        return 0;
    *out = (struct drive_pooled){
        .kind = node->flash_kind,
        .zoned = node->flash->geometry.zoned,
        .size_bytes = node->flash->geometry.size_bytes,
        .block_bytes = node->flash->geometry.read_unit,
    };
    (void)snprintf(out->name, sizeof out->name, "%s", node->flash->name);
    return 1;
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
    return drives_uv_create(&node->loop, &config, &node->drives)
               ? ps_error_set(err, PS_ENOMEM, "out of memory")
               : 0;
}

void stop_drives(struct node *node)
{
    drives_uv_destroy(node->drives);
    node->drives = NULL;
}
