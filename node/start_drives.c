/* The flash devices of this machine for the RPC service, beside what the pool does with its own. */
#include <stdio.h>
#include <string.h>

#include "common/blkdev.h"
#include "common/log.h"
#include "common/nand/nand_file_uv.h"
#include "node/daemon.h"
#include "node/host/catalog_uv.h"
#include "node/host/drives_uv.h"
#include "node/host/drives_watch_uv.h"
#include "node/host/flash_devices_uv.h"

#define NS_A_MINUTE 60000000000ull
enum {
    NVME_UNIT_BYTES = 512000, /* in which an NVMe device counts what it read and wrote */
};

struct pooled {
    struct drive_pooled *out;
    size_t count, max;
};

/* Simulated flash says what an NVMe device would; it has no thermometer. */
static void look_at_simulated(const struct blkdev *dev, struct nvme_smart *out)
{
    const struct blkdev *drive = nand_file_drive(dev);
    struct nand_health health;
    struct nand_stats stats;
    nand_drive_health(drive, &health);
    nand_stats(nand_drive_flash(drive), &stats);
    *out = (struct nvme_smart){
        .critical_warning = (uint8_t)(health.warnings & (NAND_WARN_SPARE | NAND_WARN_RELIABLE)),
        .spare_percent = (uint8_t)health.spare_percent,
        .spare_threshold_percent = (uint8_t)health.spare_threshold_percent,
        .used_percent = (uint8_t)health.used_percent,
        .read_units = (health.read_bytes + NVME_UNIT_BYTES - 1) / NVME_UNIT_BYTES,
        .written_units = (health.programmed_bytes + NVME_UNIT_BYTES - 1) / NVME_UNIT_BYTES,
        .read_commands = stats.reads,
        .write_commands = stats.programs,
        .busy_minutes = health.busy_ns / NS_A_MINUTE,
        .power_cycles = health.power_cycles,
        .power_on_hours = nand_time(nand_drive_flash(drive)) / NS_A_MINUTE / 60,
        .unsafe_shutdowns = health.unsafe_shutdowns,
        .media_errors = health.media_errors,
    };
}

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
    out->smart_known = kind == BLKDEV_KIND_SIM;
    if (out->smart_known)
        look_at_simulated(dev, &out->smart);
}

static size_t pooled(void *user, struct drive_pooled *out, size_t max)
{
    const struct node *node = user;
    struct pooled p = {out, 0, max};
    if (node->devices)
        flash_devices_each(node->devices, put, &p);
    return p.count;
}

static void told(void *user, const char *name, const struct blkdev_smart *smart)
{
    const struct node *node = user;
    if (node->devices)
        flash_devices_set_smart(node->devices, name, smart);
}

static void warned(void *user, const char *kind, const char *text)
{
    const struct node *node = user;
    log_warn("flash", text, LOG_S("kind", kind));
    catalog_service_node_event(node->catalog_service, kind, text);
}

static int start_watch(struct node *node)
{
    const struct drives_watch_config config = {
        .loop = &node->loop,
        .drives = node->drives,
        .interval_ms = DRIVES_WATCH_MS,
        .pooled = pooled,
        .told = told,
        .event = warned,
        .user = node,
    };
    return drives_watch_start(&config, &node->drives_watch);
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
    int rc = drives_uv_create(&node->loop, &config, &node->drives);
    if (rc == 0)
        rc = start_watch(node);
    if (rc && node->drives)
        drives_uv_destroy(node->drives);
    return rc ? ps_error_set(err, PS_ENOMEM, "out of memory") : 0;
}

void stop_drives(struct node *node)
{
    struct awaited end = {.node = node};
    drives_watch_stop(node->drives_watch, node_arrived_cb, &end);
    node_wait(&end);
    drives_uv_destroy(node->drives);
    node->drives = NULL;
}
