#include "common/blkdev_zones_uv.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/blkzoned.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/blkdev_zones.h"
#include "common/container.h"
#include "common/log.h"

enum {
    SECTOR = 512,
    REPORT = 1024, /* zones a call */
    ZONES_MAX = 1 << 20,
};

/* ---- resets and finishes */

struct command_work {
    uv_work_t uv;
    struct ioctls *owner;
    struct zone_command *command;
    int error;
    enum zone_condition condition; /* after an error */
};

struct ioctls {
    struct zone_control base;
    uv_loop_t *loop;
    int fd;
    char name[128];
    /* Of each kind one command is under way at most: a change, and what is only answered. */
    struct command_work change, nothing;
};

static void take_zone(const struct blk_zone *z, bool has_capacity, struct zone_report *out)
{
    const uint64_t capacity = has_capacity ? z->capacity : z->len;
    *out = (struct zone_report){.start = z->start * SECTOR, .capacity = capacity * SECTOR};
    switch (z->cond) {
    case BLK_ZONE_COND_EMPTY:
        out->condition = ZONE_EMPTY;
        break;
    case BLK_ZONE_COND_FULL:
        out->condition = ZONE_FULL;
        out->written = out->capacity;
        break;
    case BLK_ZONE_COND_READONLY:
        out->condition = ZONE_READ_ONLY;
        out->written = out->capacity; /* it has no write pointer */
        break;
    case BLK_ZONE_COND_OFFLINE:
        out->condition = ZONE_OFFLINE;
        break;
    default:
        out->condition = ZONE_BEGUN;
        out->written = z->wp > z->start ? (z->wp - z->start) * SECTOR : 0;
    }
}

static enum zone_condition condition_of(int fd, uint64_t sector)
{
    struct {
        struct blk_zone_report head;
        struct blk_zone zone;
    } page = {.head = {.sector = sector, .nr_zones = 1}};
    struct zone_report zone = {.condition = ZONE_BEGUN};
    if (ioctl(fd, BLKREPORTZONE, &page) == 0 && page.head.nr_zones == 1)
        take_zone(&page.zone, false, &zone);
    return zone.condition;
}

static void run(uv_work_t *uv)
{
    struct command_work *w = container_of(uv, struct command_work, uv);
    const struct zone_command *c = w->command;
    struct blk_zone_range range = {c->start / SECTOR, c->length / SECTOR};
    int rc = 0;
    if (c->op != ZONE_NOTHING)
        do
            rc = ioctl(w->owner->fd, c->op == ZONE_RESET ? BLKRESETZONE : BLKFINISHZONE, &range);
        while (rc && errno == EINTR);
    w->error = rc ? errno : 0;
    if (rc)
        w->condition = condition_of(w->owner->fd, range.sector);
}

static void after(uv_work_t *uv, int status)
{
    struct command_work *w = container_of(uv, struct command_work, uv);
    struct zone_command *c = w->command;
    const int error = status ? ECANCELED : w->error;
    w->command = NULL;
    if (error)
        log_error("blkdev", c->op == ZONE_RESET ? "a zone can't be reset" : "a zone can't be finished",
                  LOG_S("device", w->owner->name), LOG_U("offset", c->start),
                  LOG_S("error", strerror(error)));
    c->condition = status ? ZONE_BEGUN : w->condition;
    c->done(c, error ? PS_EIO : 0);
}

static void submit(struct zone_control *control, struct zone_command *command)
{
    struct ioctls *o = container_of(control, struct ioctls, base);
    struct command_work *w = command->op == ZONE_NOTHING ? &o->nothing : &o->change;
    assert(!w->command);
    w->owner = o;
    w->command = command;
    const int rc = uv_queue_work(o->loop, &w->uv, run, after);
    assert(rc == 0);
    (void)rc;
}

static void destroy(struct zone_control *control)
{
    free(container_of(control, struct ioctls, base));
}

/* ---- opening */

bool blkdev_is_zoned(int fd)
{
    uint32_t sectors = 0;
    return ioctl(fd, BLKGETZONESZ, &sectors) == 0 && sectors;
}

/* The number in an attribute of the device's queue; 0 if there is none. */
static uint64_t queue_number(int fd, const char *attribute)
{
    struct stat st;
    char path[128];
    uint64_t value = 0;
    if (fstat(fd, &st))
        return 0;
    (void)snprintf(path, sizeof path, "/sys/dev/block/%u:%u/queue/%s", major(st.st_rdev), minor(st.st_rdev),
                   attribute);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    if (fscanf(f, "%" SCNu64, &value) != 1)
        value = 0;
    (void)fclose(f);
    return value;
}

/* All zones but a smaller one at the end. */
static int report(int fd, const char *name, uint64_t zone_sectors, struct zone_report *zones, uint32_t max,
                  uint32_t *count, struct ps_error *err)
{
    struct blk_zone_report *page = calloc(1, sizeof *page + REPORT * sizeof page->zones[0]);
    int rc = page ? 0 : ps_error_set(err, PS_ENOMEM, "%.120s: out of memory", name);
    *count = 0;
    for (uint64_t sector = 0; rc == 0;) {
        page->sector = sector;
        page->nr_zones = REPORT;
        if (ioctl(fd, BLKREPORTZONE, page)) {
            rc = ps_error_set(err, PS_EIO, "%.120s does not tell its zones: %s", name, strerror(errno));
            break;
        }
        for (uint32_t i = 0; rc == 0 && i < page->nr_zones && *count < max; i++) {
            const struct blk_zone *z = &page->zones[i];
            sector = z->start + z->len;
            if (z->type == BLK_ZONE_TYPE_CONVENTIONAL)
                rc = ps_error_set(
                    err, PS_EUNIMPLEMENTED,
                    "%.120s has conventional zones beside sequential ones; only devices without can be used",
                    name);
            else if (z->len == zone_sectors)
                take_zone(z, (page->flags & BLK_ZONE_REP_CAPACITY) != 0, &zones[(*count)++]);
        }
        if (page->nr_zones == 0 || *count == max)
            break;
    }
    free(page);
    return rc;
}

static int create(uv_loop_t *loop, int fd, const struct blkdev_zones_config *config, struct blkdev **out,
                  struct ps_error *err)
{
    struct blkdev_zones_config full = *config;
    struct ioctls *o = calloc(1, sizeof *o);
    if (!o)
        return ps_error_set(err, PS_ENOMEM, "%.120s: out of memory", config->raw->name);
    o->base.submit = submit;
    o->base.destroy = destroy;
    o->loop = loop;
    o->fd = fd;
    memcpy(o->name, config->raw->name, sizeof o->name);
    full.control = &o->base;
    const int rc = blkdev_zones_create(&full, out, err);
    if (rc)
        free(o);
    return rc;
}

static void log_layout(const struct blkdev_zones_config *c, const struct blkdev *dev)
{
    const uint64_t capacity = c->zones[0].capacity, used = dev->geometry.erase_bytes;
    log_info("blkdev", "zoned device", LOG_S("device", dev->name), LOG_U("zones", c->count),
             LOG_U("zone_bytes", c->zone_bytes), LOG_U("capacity", capacity), LOG_U("used_of_each", used),
             LOG_U("max_active", c->max_active), LOG_U("begun", blkdev_zones_active(dev)));
    if (used < capacity)
        log_warn("blkdev",
                 "part of each zone is not used: segments are powers of two, zones of this device are not",
                 LOG_S("device", dev->name), LOG_U("unused_percent", (capacity - used) * 100 / capacity));
}

int blkdev_zones_open(uv_loop_t *loop, int fd, struct blkdev *raw, struct blkdev **out, struct ps_error *err)
{
    uint32_t zone_sectors = 0, count = 0;
    const int told = ioctl(fd, BLKGETZONESZ, &zone_sectors);
    const uint64_t expected = told || !zone_sectors ? 0 : raw->geometry.size_bytes / SECTOR / zone_sectors;
    if (expected == 0 || expected > ZONES_MAX)
        return ps_error_set(err, PS_EINVAL, "%.120s has %" PRIu64 " zones: can't be used", raw->name,
                            expected);
    struct zone_report *zones = calloc(expected, sizeof *zones);
    if (!zones)
        return ps_error_set(err, PS_ENOMEM, "%.120s: out of memory", raw->name);
    int rc = report(fd, raw->name, zone_sectors, zones, (uint32_t)expected, &count, err);
    /* What the kernel sends in one piece. A buffer's pages may be anywhere: each is a segment. */
    uint64_t piece = queue_number(fd, "max_sectors_kb") * 1024;
    const uint64_t segments = queue_number(fd, "max_segments") * BLKDEV_ALIGN;
    piece = segments && segments < piece ? segments : piece;
    piece = piece < BLKDEV_ALIGN ? BLKDEV_ALIGN : piece > (1 << 20) ? 1 << 20 : piece - piece % BLKDEV_ALIGN;
    const struct blkdev_zones_config config = {
        .raw = raw,
        .zones = zones,
        .count = count,
        .zone_bytes = (uint64_t)zone_sectors * SECTOR,
        .max_active = (uint32_t)queue_number(fd, "max_active_zones"),
        .piece_bytes = (uint32_t)piece,
    };
    if (rc == 0)
        rc = create(loop, fd, &config, out, err);
    if (rc == 0)
        log_layout(&config, *out);
    free(zones);
    return rc;
}
