#include "node/host/drives_uv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/blkzoned.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/container.h"
#include "node/host/drives_sysfs.h"

enum {
    /* The pool of threads has four, and the pool's own I/O may need them where io_uring is refused. */
    RUNNING_MAX = 2,
    WAITING_MAX = 62,
    RAW_TEXT_MAX = 4096,
};

struct machine {
    struct drives base;
    uv_loop_t *loop;
    struct drives_config config;
    unsigned running, count;
    bool formatting;          /* for as long as the device takes: one alone, so that a thread is left */
    struct list_node waiting; /* struct work */
    struct list_node blocked; /* by one on the same device, until it ends */
    uv_mutex_t lock;          /* of: */
    struct work *claims[RUNNING_MAX];
};

struct work {
    uv_work_t uv;
    struct list_node link;
    struct machine *machine;
    struct drive_job *job;
    struct drive_pooled pooled[BLKDEV_SPECS_MAX];
    size_t npooled;
    dev_t number; /* that it has claimed */
    bool again;   /* another one has */
    int status;
};

/* ---- one at a time on a device, since each opens it exclusively */

/* 0: it is this one's now; PS_EUNAVAILABLE: after another one; PS_EPRECONDITION: that is a format. */
static int claim(struct work *w, dev_t number)
{
    struct machine *m = w->machine;
    struct work **mine = NULL;
    int rc = 0;
    uv_mutex_lock(&m->lock);
    for (size_t i = 0; i < RUNNING_MAX; i++)
        if (!m->claims[i])
            mine = &m->claims[i];
        else if (m->claims[i]->number == number)
            rc = m->claims[i]->job->op == DRIVE_FORMAT ? PS_EPRECONDITION : PS_EUNAVAILABLE;
    assert(mine);
    if (rc == 0) {
        w->number = number;
        *mine = w;
    }
    uv_mutex_unlock(&m->lock);
    return rc;
}

static void unclaim(struct machine *m, const struct work *w)
{
    uv_mutex_lock(&m->lock);
    for (size_t i = 0; i < RUNNING_MAX; i++)
        if (m->claims[i] == w)
            m->claims[i] = NULL;
    uv_mutex_unlock(&m->lock);
}

/* ---- which device is meant */

static const struct drive_pooled *pooled_part_of(const struct work *w, const char *name)
{
    for (size_t i = 0; i < w->npooled; i++) {
        struct stat st;
        if (stat(w->pooled[i].name, &st) == 0 && S_ISBLK(st.st_mode) &&
            drives_sysfs_has_partition(name, st.st_rdev))
            return &w->pooled[i];
    }
    return NULL;
}

static const struct drive_pooled *pooled_at(const struct work *w, dev_t number)
{
    for (size_t i = 0; i < w->npooled; i++) {
        struct stat st;
        if (stat(w->pooled[i].name, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == number)
            return &w->pooled[i];
    }
    return NULL;
}

static bool is_raw_allowed(const struct machine *m, dev_t number)
{
    for (const char *p = m->config.raw_devices + strspn(m->config.raw_devices, " \t"); *p;
         p += strspn(p, " \t")) {
        char path[PATH_MAX];
        struct stat st;
        const size_t length = strcspn(p, " \t");
        if (length < sizeof path) {
            memcpy(path, p, length);
            path[length] = '\0';
            if (stat(path, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == number)
                return true;
        }
        p += length;
    }
    return false;
}

/* A path that a client gave, as "nvme0n1", or NULL: nothing else on this machine is touched. */
static const char *find_namespace(const char *device, char real[PATH_MAX])
{
    if (device[0] != '/' || !realpath(device, real) || strncmp(real, "/dev/", 5) != 0)
        return NULL;
    return drives_sysfs_is_namespace(real + 5) ? real + 5 : NULL;
}

static int no_such(const struct work *w, struct ps_error *err)
{
    for (size_t i = 0; i < w->npooled; i++)
        if (strcmp(w->pooled[i].name, w->job->device) == 0)
            return ps_error_set(err, PS_EUNIMPLEMENTED,
                                "%.100s is in the pool, and no NVMe namespace: it has none of this",
                                w->job->device);
    return ps_error_set(err, PS_ENOTFOUND,
                        "this node has no NVMe namespace \"%.100s\": pstorage flash list shows what it has",
                        w->job->device);
}

static int refuse_open(const char *device, int error, struct ps_error *err)
{
    if (error == EBUSY)
        return ps_error_set(err, PS_EPRECONDITION,
                            "%.100s is in use: mounted, held by another driver, or open in another program",
                            device);
    if (error == ENOENT || error == ENXIO || error == ENODEV)
        return ps_error_set(err, PS_ENOTFOUND, "%.100s is gone", device);
    return ps_error_set(err, error == EACCES || error == EPERM || error == EROFS ? PS_EPERM : PS_EIO,
                        "%.100s can't be opened: %s", device, strerror(error));
}

/* For what only asks. */
static int open_to_ask(const struct work *w, int *fd, struct ps_error *err)
{
    char real[PATH_MAX];
    if (!find_namespace(w->job->device, real))
        return no_such(w, err);
    *fd = open(real, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return *fd < 0 ? refuse_open(w->job->device, errno, err) : 0;
}

static int judge_raw(const struct work *w, const char *name, dev_t number, bool reads, bool *in_pool,
                     struct ps_error *err)
{
    const char *device = w->job->device;
    const struct drive_pooled *part;
    *in_pool = pooled_at(w, number) != NULL;
    if (*in_pool && !reads)
        return ps_error_set(err, PS_EPRECONDITION, "%.100s is in the pool: it is not written to past it",
                            device);
    if (!*in_pool && !is_raw_allowed(w->machine, number))
        return ps_error_set(
            err, PS_EPERM,
            "%.100s may not be driven raw: only what PSTORAGE_FLASH_RAW_DEVICES of the node lists may",
            device);
    if (!*in_pool && (part = pooled_part_of(w, name)))
        return ps_error_set(err, PS_EPRECONDITION, "%.80s is in use: its partition %.80s is in the pool",
                            device, part->name);
    return 0;
}

/* For I/O. Judged before it is opened, so that nothing else is ever opened for writing, and again
 * when it is: from then on its number, and so the verdict, cannot become another device's. */
static int open_raw(struct work *w, int *out, struct ps_error *err)
{
    const struct drive_job *job = w->job;
    const bool reads = job->op == DRIVE_READ;
    const char *name;
    char real[PATH_MAX];
    struct stat st, opened;
    bool in_pool;
    for (size_t i = 0; i < w->npooled && !reads; i++)
        if (strcmp(w->pooled[i].name, job->device) == 0)
            return ps_error_set(err, PS_EPRECONDITION, "%.100s is in the pool: it is not written to past it",
                                job->device);
    name = find_namespace(job->device, real);
    if (!name)
        return no_such(w, err);
    if (stat(real, &st) || !S_ISBLK(st.st_mode))
        return refuse_open(job->device, ENOENT, err);
    int rc = judge_raw(w, name, st.st_rdev, reads, &in_pool, err);
    if (rc)
        return rc;
    rc = claim(w, st.st_rdev);
    w->again = rc == PS_EUNAVAILABLE;
    if (rc)
        return ps_error_set(err, rc, "%.100s is being formatted", job->device);
    const int fd =
        open(real, (reads ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_DIRECT | (in_pool ? 0 : O_EXCL));
    if (fd < 0)
        return refuse_open(job->device, errno, err);
    if (fstat(fd, &opened) || opened.st_rdev != st.st_rdev)
        rc = ps_error_set(err, PS_EABORTED, "%.100s became another device at this moment", job->device);
    else
        rc = judge_raw(w, name, opened.st_rdev, reads, &in_pool, err);
    if (rc)
        (void)close(fd);
    else
        *out = fd;
    return rc;
}

/* ---- jobs */

static void look_at_smart(struct drive *d)
{
    struct ps_error err = {0};
    const int fd = open(d->what.name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const int rc = fd < 0 ? refuse_open(d->what.name, errno, &err) : nvme_admin_smart(fd, &d->smart, &err);
    d->smart_known = rc == 0;
    (void)snprintf(d->smart_unknown, sizeof d->smart_unknown, "%.95s", rc ? err.detail : "");
    if (fd >= 0)
        (void)close(fd);
}

static void add_drive(struct drive_job *job, const struct drive *drive)
{
    if (job->count < DRIVES_MAX)
        job->drives[job->count++] = *drive;
}

static int list(const struct work *w)
{
    struct drive_job *job = w->job;
    char(*names)[32] = calloc(DRIVES_MAX, sizeof *names);
    job->drives = calloc(DRIVES_MAX, sizeof *job->drives);
    if (!names || !job->drives) {
        free(names);
        return ps_error_set(&job->error, PS_ENOMEM, "out of memory");
    }
    const size_t n = drives_sysfs_list(names, DRIVES_MAX);
    for (size_t i = 0; i < w->npooled; i++) {
        struct drive d = {0};
        char real[PATH_MAX];
        const char *name = find_namespace(w->pooled[i].name, real);
        if (w->pooled[i].smart_known) {
            d.smart_known = true;
            d.smart = w->pooled[i].smart;
        } else if (name && drives_sysfs_look(name, &d)) {
            look_at_smart(&d);
        } else if (w->pooled[i].kind == BLKDEV_KIND_NVME) {
            (void)snprintf(d.smart_unknown, sizeof d.smart_unknown, "%s",
                           access(w->pooled[i].name, F_OK) ? "the device is gone"
                                                           : "a partition: its whole device is asked");
        }
        d.what = w->pooled[i];
        d.in_pool = true;
        d.used_by[0] = '\0';
        add_drive(job, &d);
    }
    for (size_t i = 0; i < n; i++) {
        struct drive d;
        struct stat st;
        const struct drive_pooled *part;
        if (!drives_sysfs_look(names[i], &d) || stat(d.what.name, &st) || pooled_at(w, st.st_rdev))
            continue;
        if ((part = pooled_part_of(w, names[i])))
            (void)snprintf(d.used_by, sizeof d.used_by, "%.70s is in the pool", part->name);
        d.raw_allowed = is_raw_allowed(w->machine, st.st_rdev);
        look_at_smart(&d);
        add_drive(job, &d);
    }
    free(names);
    return 0;
}

static int identify(const struct work *w)
{
    struct drive_job *job = w->job;
    struct nvme_zoned zoned;
    char real[PATH_MAX];
    int fd;
    int rc = open_to_ask(w, &fd, &job->error);
    if (rc)
        return rc;
    rc = nvme_admin_controller(fd, &job->controller, &job->error);
    if (rc == 0)
        rc = nvme_admin_namespace(fd, &job->ns, &job->error);
    const char *name = find_namespace(job->device, real);
    job->zoned = rc == 0 && name && drives_sysfs_look(name, &job->layout) && job->layout.what.zoned;
    if (job->zoned) {
        rc = nvme_admin_zoned(fd, &job->ns, &zoned, &job->error);
        if (rc == 0) {
            job->layout.zone_bytes = zoned.zone_blocks * job->ns.block_bytes;
            job->layout.max_open = zoned.max_open == UINT32_MAX ? 0 : zoned.max_open;
            job->layout.max_active = zoned.max_active == UINT32_MAX ? 0 : zoned.max_active;
        }
    }
    (void)close(fd);
    return rc;
}

static int smart(const struct work *w)
{
    struct drive_job *job = w->job;
    int fd;
    for (size_t i = 0; i < w->npooled; i++)
        if (w->pooled[i].smart_known && strcmp(w->pooled[i].name, job->device) == 0) {
            job->smart = w->pooled[i].smart;
            return 0;
        }
    int rc = open_to_ask(w, &fd, &job->error);
    if (rc)
        return rc;
    rc = nvme_admin_smart(fd, &job->smart, &job->error);
    if (rc == 0 && job->max_errors)
        rc = nvme_admin_errors(fd, job->errors, job->max_errors, &job->nerrors, &job->error);
    (void)close(fd);
    return rc;
}

static int check_range(struct drive_job *job, int fd)
{
    uint64_t size = 0;
    int unit = 0;
    if (ioctl(fd, BLKGETSIZE64, &size) || ioctl(fd, BLKSSZGET, &unit) || unit <= 0)
        return ps_error_set(&job->error, PS_EIO, "%.100s does not tell its size: %s", job->device,
                            strerror(errno));
    if (job->length == 0 || job->offset % (uint64_t)unit || job->length % (uint64_t)unit)
        return ps_error_set(&job->error, PS_EINVAL,
                            "offset %" PRIu64 " and length %" PRIu64
                            " must be multiples of the device's %d, the length not 0",
                            job->offset, job->length, unit);
    if (job->offset > size || job->length > size - job->offset)
        return ps_error_set(&job->error, PS_ERANGE,
                            "offset %" PRIu64 " and length %" PRIu64 " end beyond the device's %" PRIu64,
                            job->offset, job->length, size);
    return 0;
}

static int failed(struct drive_job *job, const char *doing, int error)
{
    if (error == ENODEV || error == ENXIO)
        return ps_error_set(&job->error, PS_ENOTFOUND, "%.100s is gone", job->device);
    if (error == EOPNOTSUPP)
        return ps_error_set(&job->error, PS_EUNIMPLEMENTED, "%.100s can't %s", job->device, doing);
    return ps_error_set(&job->error, PS_EIO, "%.100s failed to %s at %" PRIu64 ": %s", job->device, doing,
                        job->offset, strerror(error));
}

/* All of it, in one call of the kernel after another where it does less. */
static int transfer(struct drive_job *job, int fd)
{
    const bool reads = job->op == DRIVE_READ;
    for (uint64_t done = 0; done < job->length;) {
        const struct iovec v = {(char *)job->buf + done, job->length - done};
        const off_t at = (off_t)(job->offset + done);
        const ssize_t n =
            reads ? preadv2(fd, &v, 1, at, 0) : pwritev2(fd, &v, 1, at, job->fua ? RWF_DSYNC : 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return failed(job, reads ? "read" : "write", n ? errno : EIO);
        done += (uint64_t)n;
    }
    return 0;
}

static int deallocate(struct drive_job *job, int fd)
{
    uint32_t zone_sectors = 0;
    if (ioctl(fd, BLKGETZONESZ, &zone_sectors) == 0 && zone_sectors) {
        const uint64_t zone = (uint64_t)zone_sectors * 512;
        struct blk_zone_range range = {job->offset / 512, job->length / 512};
        if (job->offset % zone || job->length % zone)
            return ps_error_set(&job->error, PS_EINVAL,
                                "%.100s is zoned: offset and length must be multiples of its zones' %" PRIu64
                                " bytes",
                                job->device, zone);
        return ioctl(fd, BLKRESETZONE, &range) ? failed(job, "reset zones", errno) : 0;
    }
    uint64_t range[2] = {job->offset, job->length};
    return ioctl(fd, BLKDISCARD, range) ? failed(job, "deallocate", errno) : 0;
}

static int format(struct drive_job *job, int fd)
{
    int rc = nvme_admin_controller(fd, &job->controller, &job->error);
    if (rc == 0)
        rc = nvme_admin_namespace(fd, &job->ns, &job->error);
    if (rc)
        return rc;
    const struct nvme_controller *c = &job->controller;
    if (strcmp(c->serial, job->serial) != 0)
        return ps_error_set(&job->error, PS_ECHANGED,
                            "%.60s has the serial number \"%s\", not \"%.20s\": it was left alone",
                            job->device, c->serial, job->serial);
    if (!c->can_format)
        return ps_error_set(&job->error, PS_EUNIMPLEMENTED, "%.100s can't be formatted", job->device);
    if (c->namespaces > 1 && (c->format_all || (job->erase && c->erase_all)))
        return ps_error_set(
            &job->error, PS_EPRECONDITION,
            "%.60s formats all namespaces of its controller at once, and there may be others in use",
            job->device);
    if (job->erase == NVME_ERASE_CRYPTO && !c->crypto_erase)
        return ps_error_set(&job->error, PS_EUNIMPLEMENTED, "%.100s has no cryptographic erase", job->device);
    /* Of those with this block size without metadata, the fastest. */
    uint32_t best = job->block_bytes ? NVME_FORMATS_MAX : job->ns.format;
    for (uint32_t i = 0; i < job->ns.nformats && job->block_bytes; i++) {
        const struct nvme_format *f = &job->ns.formats[i];
        if (f->block_bytes == job->block_bytes && f->metadata_bytes == 0 &&
            (best == NVME_FORMATS_MAX || f->performance < job->ns.formats[best].performance))
            best = i;
    }
    if (best == NVME_FORMATS_MAX)
        return ps_error_set(&job->error, PS_EUNIMPLEMENTED,
                            "%.60s has no format of %u bytes a block without metadata: pstorage flash "
                            "identify lists what it has",
                            job->device, job->block_bytes);
    return nvme_admin_format(fd, best, job->erase, &job->error);
}

static int drive_raw(struct work *w)
{
    struct drive_job *job = w->job;
    int fd;
    int rc = open_raw(w, &fd, &job->error);
    if (rc)
        return rc;
    const bool has_range = job->op == DRIVE_READ || job->op == DRIVE_WRITE || job->op == DRIVE_DEALLOCATE;
    rc = has_range ? check_range(job, fd) : 0;
    if (rc == 0 && (job->op == DRIVE_READ || job->op == DRIVE_WRITE))
        rc = transfer(job, fd);
    else if (rc == 0 && job->op == DRIVE_DEALLOCATE)
        rc = deallocate(job, fd);
    else if (rc == 0 && job->op == DRIVE_FORMAT)
        rc = format(job, fd);
    else if (rc == 0 && fdatasync(fd))
        rc = failed(job, "flush", errno);
    (void)close(fd);
    return rc;
}

/* ---- threads */

static void run(uv_work_t *uv)
{
    struct work *w = container_of(uv, struct work, uv);
    switch (w->job->op) {
    case DRIVE_LIST:
        w->status = list(w);
        break;
    case DRIVE_IDENTIFY:
        w->status = identify(w);
        break;
    case DRIVE_SMART:
        w->status = smart(w);
        break;
    default:
        w->status = drive_raw(w);
    }
}

static void start_waiting(struct machine *m);

static void after(uv_work_t *uv, int status)
{
    struct work *w = container_of(uv, struct work, uv);
    struct machine *m = w->machine;
    struct drive_job *job = w->job;
    status = status ? PS_ECANCELLED : w->status;
    m->running--;
    unclaim(m, w);
    if (w->again) {
        /* Whoever was in the way has ended already, or is awaited. */
        w->again = false;
        list_push_back(m->running ? &m->blocked : &m->waiting, &w->link);
        start_waiting(m);
        return;
    }
    m->count--;
    m->formatting &= job->op != DRIVE_FORMAT;
    free(w);
    while (!list_empty(&m->blocked))
        list_push_back(&m->waiting, list_pop_front(&m->blocked));
    start_waiting(m);
    job->done(job, status);
}

static void start_waiting(struct machine *m)
{
    while (m->running < RUNNING_MAX && !list_empty(&m->waiting)) {
        struct work *w = container_of(list_pop_front(&m->waiting), struct work, link);
        m->running++;
        const int rc = uv_queue_work(m->loop, &w->uv, run, after);
        assert(rc == 0);
        (void)rc;
    }
}

static int submit(struct drives *drives, struct drive_job *job)
{
    struct machine *m = container_of(drives, struct machine, base);
    if (m->count == RUNNING_MAX + WAITING_MAX || (m->formatting && job->op == DRIVE_FORMAT))
        return PS_ELIMIT;
    struct work *w = calloc(1, sizeof *w);
    if (!w)
        return PS_ENOMEM;
    w->machine = m;
    w->job = job;
    w->npooled = m->config.pooled(m->config.user, w->pooled, BLKDEV_SPECS_MAX);
    list_push_back(&m->waiting, &w->link);
    m->count++;
    m->formatting |= job->op == DRIVE_FORMAT;
    start_waiting(m);
    return 0;
}

int drives_uv_create(uv_loop_t *loop, const struct drives_config *config, struct drives **out)
{
    struct machine *m = calloc(1, sizeof *m);
    if (!m)
        return PS_ENOMEM;
    m->base.submit = submit;
    m->loop = loop;
    m->config = *config;
    list_init(&m->waiting);
    list_init(&m->blocked);
    if (uv_mutex_init(&m->lock)) {
        free(m);
        return PS_ENOMEM;
    }
    *out = &m->base;
    return 0;
}

void drives_uv_destroy(struct drives *drives)
{
    struct machine *m = container_of(drives, struct machine, base);
    assert(m->count == 0);
    uv_mutex_destroy(&m->lock);
    free(m);
}
