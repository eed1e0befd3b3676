#include "common/nand/nand_file_uv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/blkdev_file_open.h"
#include "common/log.h"
#include "common/nand/nand_area.h"
#include "common/sizes.h"

enum {
    PAGE_BYTES = 16 << 10,
};

/* Requests go to the drive as they are; it answers from `poll`, when the timer says that something is due. */
struct file_drive {
    struct blkdev base;
    struct blkdev *drive;
    int fd, timer; /* -1 */
    void *area;    /* NULL */
    size_t bytes;
    uint64_t offset_ns; /* from the monotonic clock to the flash's */
    uint64_t armed_ns;  /* by the flash's clock; UINT64_MAX: not */
    uv_poll_t poll;
};

static struct file_drive *file_of(const struct blkdev *dev)
{
    return container_of((struct blkdev *)dev, struct file_drive, base);
}

struct blkdev *nand_file_drive(const struct blkdev *dev)
{
    return file_of(dev)->drive;
}

static uint64_t now_ns(const struct file_drive *f)
{
    return uv_hrtime() + f->offset_ns;
}

/* ---- time */

/* Only requests in flight keep the loop alive. */
static void hold_loop(struct file_drive *f)
{
    if (nand_drive_pending(f->drive))
        uv_ref((uv_handle_t *)&f->poll);
    else
        uv_unref((uv_handle_t *)&f->poll);
}

static void arm(struct file_drive *f)
{
    hold_loop(f);
    const uint64_t next = nand_drive_next(f->drive);
    if (next == f->armed_ns || next == UINT64_MAX)
        return;
    const uint64_t now = now_ns(f), wait = next > now ? next - now : 1;
    const struct itimerspec spec = {
        .it_value = {.tv_sec = (time_t)(wait / 1000000000), .tv_nsec = (long)(wait % 1000000000)}};
    const int rc = timerfd_settime(f->timer, 0, &spec, NULL);
    assert(rc == 0);
    (void)rc;
    f->armed_ns = next;
}

static void on_timer(uv_poll_t *poll, int status, int events)
{
    struct file_drive *f = container_of(poll, struct file_drive, poll);
    uint64_t expirations;
    (void)status;
    (void)events;
    if (read(f->timer, &expirations, sizeof expirations) != sizeof expirations)
        return;
    f->armed_ns = UINT64_MAX;
    nand_drive_advance(f->drive, now_ns(f));
    arm(f);
}

/* ---- the device */

static int file_submit(struct blkdev *dev, struct blkdev_req *req)
{
    struct file_drive *f = file_of(dev);
    struct nand *flash = nand_drive_flash(f->drive);
    const uint64_t now = now_ns(f);
    if (now > nand_time(flash))
        nand_set_time(flash, now);
    const int rc = f->drive->ops->submit(f->drive, req);
    arm(f);
    return rc;
}

static void file_health(const struct blkdev *dev, struct blkdev_health *out)
{
    blkdev_health(file_of(dev)->drive, out);
}

static void file_wear(const struct blkdev *dev, uint64_t offset, struct blkdev_wear *out)
{
    (void)blkdev_wear(file_of(dev)->drive, offset, out);
}

static void file_finish(struct blkdev *dev, uint64_t offset, uint32_t length)
{
    blkdev_finish(file_of(dev)->drive, offset, length);
}

static void file_free(struct file_drive *f)
{
    if (f->timer >= 0)
        (void)close(f->timer);
    if (f->area)
        (void)munmap(f->area, f->bytes);
    if (f->fd >= 0)
        (void)close(f->fd); /* gives the lock back */
    free(f);
}

static void on_closed(uv_handle_t *handle)
{
    file_free(container_of((uv_poll_t *)handle, struct file_drive, poll));
}

static void file_destroy(struct blkdev *dev)
{
    struct file_drive *f = file_of(dev);
    blkdev_destroy(f->drive);
    if (fsync(f->fd))
        log_warn("nand", "the file of simulated flash could not be synced", LOG_S("path", f->base.name));
    uv_close((uv_handle_t *)&f->poll, on_closed);
}

static const struct blkdev_ops file_ops = {.submit = file_submit,
                                           .health = file_health,
                                           .destroy = file_destroy,
                                           .wear = file_wear,
                                           .finish = file_finish};

/* ---- opening */

static int plan(const struct blkdev_spec *spec, struct nand_config *out, struct ps_error *err)
{
    const struct blkdev_sim_spec *sim = &spec->sim;
    struct ps_error reason;
    nand_config_default(out);
    out->geometry = (struct nand_geometry){
        .channels = sim->channels,
        .dies = sim->dies,
        .planes = sim->planes,
        .pages = NAND_FILE_ZONE_BYTES / PAGE_BYTES / (sim->channels * sim->dies * sim->planes),
        .page_bytes = PAGE_BYTES,
    };
    out->endurance = sim->endurance;
    out->factory_bad_ppm = sim->bad_ppm;
    out->seed = sim->seed;
    const int rc = nand_drive_plan(spec->size_bytes, sim->spare_percent, out, &reason);
    return rc ? ps_error_set(err, rc, "%s: %s", spec->path, reason.detail) : 0;
}

/* Everything but latencies, which are the opener's choice. */
static bool is_same(const struct nand_config *a, const struct nand_config *b)
{
    struct nand_config c = *a;
    uint8_t x[NAND_HEADER_BYTES], y[NAND_HEADER_BYTES];
    c.timing = b->timing;
    nand_header_encode(&c, x);
    nand_header_encode(b, y);
    return memcmp(x, y, sizeof x) == 0;
}

/* Before the file is opened by its size, which would tell less: is it simulated flash of this shape? */
static int check_header(const struct blkdev_spec *spec, const struct nand_config *config,
                        struct ps_error *err)
{
    uint8_t header[NAND_HEADER_BYTES];
    struct nand_config there;
    struct ps_error reason;
    const int fd = open(spec->path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : pread(fd, header, sizeof header, 0);
    if (fd >= 0)
        (void)close(fd);
    if (n < (ssize_t)sizeof header || (header[0] == 0 && memcmp(header, header + 1, sizeof header - 1) == 0))
        return 0; /* none yet; what else is wrong with the file its opening tells */
    const int rc = nand_header_decode(header, SIZE_MAX, &there, &reason);
    if (rc)
        return ps_error_set(err, rc, "%s: %s", spec->path, reason.detail);
    if (!is_same(&there, config))
        return ps_error_set(err, PS_EINVAL, "%s holds simulated flash that was made with other options",
                            spec->path);
    return 0;
}

static bool is_blank(const uint8_t *area)
{
    return area[0] == 0 && memcmp(area, area + 1, NAND_HEADER_BYTES - 1) == 0;
}

static int map(struct file_drive *f, const struct blkdev_spec *spec, const struct nand_config *config,
               struct ps_error *err)
{
    struct blkdev_spec file = {.kind = BLKDEV_KIND_FILE, .size_bytes = nand_area_bytes(config)};
    struct blkdev_file opened;
    memcpy(file.path, spec->path, sizeof file.path);
    file.read_only = spec->read_only;
    int rc = check_header(spec, config, err);
    if (rc == 0)
        rc = blkdev_file_open(&file, NULL, &opened, err);
    if (rc)
        return rc;
    f->fd = opened.fd;
    f->bytes = file.size_bytes;
    /* Reading flash disturbs it: where nothing may be written that stays in memory. */
    f->area =
        mmap(NULL, f->bytes, PROT_READ | PROT_WRITE, spec->read_only ? MAP_PRIVATE : MAP_SHARED, f->fd, 0);
    if (f->area == MAP_FAILED) {
        f->area = NULL;
        return ps_error_set(err, PS_ENOMEM, "%s: can't map it: %s", spec->path, strerror(errno));
    }
    if (is_blank(f->area))
        nand_format(config, f->area);
    return 0;
}

static int open_drive(struct file_drive *f, const struct blkdev_spec *spec, const struct nand_config *config,
                      struct ps_error *err)
{
    static const struct nand_timing none = {0};
    struct ps_error reason;
    struct nand *flash;
    const size_t length = strlen(spec->path), room = sizeof f->base.name - 1;
    int rc = nand_open(f->area, f->bytes, &flash, &reason);
    if (rc == 0) {
        nand_set_timing(flash, spec->sim.instant ? &none : &config->timing);
        rc = nand_drive_create(flash, spec->path + (length > room ? length - room : 0), &f->drive, &reason);
        if (rc)
            nand_abandon(flash);
    }
    return rc ? ps_error_set(err, rc, "%s: %s", spec->path, reason.detail) : 0;
}

static int start_timer(struct file_drive *f, uv_loop_t *loop, struct ps_error *err)
{
    f->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (f->timer < 0 || uv_poll_init(loop, &f->poll, f->timer))
        return ps_error_set(err, PS_ENOMEM, "no timer: %s", strerror(errno));
    (void)uv_poll_start(&f->poll, UV_READABLE, on_timer);
    hold_loop(f);
    return 0;
}

int nand_file_open(uv_loop_t *loop, const struct blkdev_spec *spec, struct blkdev **out, struct ps_error *err)
{
    struct nand_config config;
    struct file_drive *f = calloc(1, sizeof *f);
    if (!f)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    f->fd = f->timer = -1;
    f->armed_ns = UINT64_MAX;
    int rc = plan(spec, &config, err);
    if (rc == 0)
        rc = map(f, spec, &config, err);
    if (rc == 0)
        rc = open_drive(f, spec, &config, err);
    if (rc == 0)
        rc = start_timer(f, loop, err);
    if (rc) {
        if (f->drive)
            blkdev_destroy(f->drive);
        file_free(f);
        return rc;
    }
    f->offset_ns = nand_time(nand_drive_flash(f->drive)) - uv_hrtime();
    f->base.ops = &file_ops;
    f->base.geometry = f->drive->geometry;
    memcpy(f->base.name, f->drive->name, sizeof f->base.name);
    *out = &f->base;
    return 0;
}
