#include "common/blkdev_file_open.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sizes.h"

enum {
    UNIT = 4096,
    MAX_IO = 4 << 20,
    LOCK_PAUSE_MS = 10,
    LOCK_WAIT_MS = 1000,
};

static int fail(struct ps_error *err, const char *path, const char *doing, int error)
{
    const int status = error == ENOENT || error == ENOTDIR                    ? PS_ENOTFOUND
                       : error == EACCES || error == EPERM || error == EROFS  ? PS_EPERM
                       : error == ENOSPC || error == EDQUOT || error == EFBIG ? PS_EFULL
                       : error == EBUSY || error == EWOULDBLOCK               ? PS_EPRECONDITION
                                                                              : PS_EIO;
    return ps_error_set(err, status, "%s: can't %s: %s", path, doing, strerror(error));
}

/* A process that was killed a moment ago may be gone while the kernel still ends its I/O: until that is done
 * its locks hold, and nobody else may write. */
static bool wait_for_lock(unsigned *tries)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000};
    if (++*tries > LOCK_WAIT_MS / LOCK_PAUSE_MS)
        return false;
    (void)nanosleep(&pause, NULL);
    return true;
}

/* Direct I/O if the file system has it: the page cache would hold everything twice. */
static int open_direct(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_DIRECT, 0600);
    if (fd < 0 && errno == EINVAL) {
        fd = open(path, (flags & ~O_EXCL) | O_CLOEXEC, 0600);
        if (fd >= 0)
            log_warn("blkdev", "the file system has no direct I/O: slower, and memory is used twice",
                     LOG_S("path", path));
    }
    return fd;
}

/* A new file's name is durable only when its directory is. */
static int sync_directory(const char *path)
{
    char copy[BLKDEV_PATH_MAX + 1];
    memcpy(copy, path, strlen(path) + 1);
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    const int error = fsync(fd) ? errno : 0;
    (void)close(fd);
    return error;
}

/* Allocates the space of a file that is empty, or to be enlarged, so that no later write finds the file
 * system full. The size is set last: a file whose making or enlarging was interrupted has the size that it
 * had. */
static int allocate(int fd, const struct blkdev_spec *spec, const struct stat *st, struct ps_error *err)
{
    struct statvfs vfs;
    struct statfs fs;
    const uint64_t size = spec->size_bytes, have = (uint64_t)st->st_blocks * 512;
    const uint64_t need = have < size ? size - have : 0;
    if (fstatvfs(fd, &vfs) == 0 && (uint64_t)vfs.f_bavail * vfs.f_frsize < need) {
        char want[SIZE_TEXT_MAX], room[SIZE_TEXT_MAX];
        return ps_error_set(err, PS_EFULL, "%s: %s more are needed, the file system has %s free", spec->path,
                            size_format_human(need, want),
                            size_format_human((uint64_t)vfs.f_bavail * vfs.f_frsize, room));
    }
    /* On tmpfs allocating is using memory: there the file stays sparse. */
    const bool in_memory = fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
    int error = EOPNOTSUPP;
    if (!in_memory)
        do
            error = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) ? errno : 0;
        while (error == EINTR);
    if (error == EOPNOTSUPP || error == ENOSYS) {
        log_warn("blkdev", "space is not reserved: writes fail if the file system gets full",
                 LOG_S("path", spec->path), LOG_S("reason", in_memory ? "tmpfs" : "no fallocate"));
        error = 0;
    }
    if (error == 0 && (ftruncate(fd, (off_t)size) || fsync(fd)))
        error = errno;
    return error ? fail(err, spec->path, "allocate its space", error) : 0;
}

typedef int (*may_grow_fn)(const void *head, uint64_t has_bytes, struct ps_error *err);

/* What is not ours, or was cut, is not made longer. */
static int check_head(int fd, const struct blkdev_spec *spec, uint64_t have, may_grow_fn may_grow,
                      struct ps_error *err)
{
    char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX];
    struct ps_error reason = {0};
    int rc = PS_EINVAL;
    void *head = aligned_alloc(BLKDEV_ALIGN, BLKDEV_HEAD_BYTES);
    if (!head)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    (void)ps_error_set(&reason, rc, "it was cut, or made with another size");
    if (may_grow && have >= BLKDEV_HEAD_BYTES) {
        if (pread(fd, head, BLKDEV_HEAD_BYTES, 0) != BLKDEV_HEAD_BYTES)
            rc = fail(&reason, spec->path, "read it", errno ? errno : EIO);
        else
            rc = may_grow(head, have, &reason);
    }
    free(head);
    return rc ? ps_error_set(err, rc, "%.120s has %s instead of size=%s: %.100s", spec->path,
                             size_format(have, a), size_format(spec->size_bytes, b), reason.detail)
              : 0;
}

/* The size that it has then is *size. */
static int size_file(int fd, const struct blkdev_spec *spec, const struct stat *st, may_grow_fn may_grow,
                     uint64_t *size, struct ps_error *err)
{
    char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX];
    const uint64_t have = (uint64_t)st->st_size;
    *size = spec->size_bytes;
    if (have == *size)
        return 0;
    if (have > *size)
        return ps_error_set(err, PS_EINVAL,
                            "%s has %s instead of size=%s: a flash file cannot be made smaller", spec->path,
                            size_format(have, a), size_format(*size, b));
    if (have == 0 && spec->read_only)
        return ps_error_set(err, PS_ENOTFOUND, "%s is empty", spec->path);
    int rc = have ? check_head(fd, spec, have, may_grow, err) : 0;
    if (rc == 0 && spec->read_only)
        *size = have;
    else if (rc == 0)
        rc = allocate(fd, spec, st, err);
    if (rc == 0 && !spec->read_only)
        log_info("blkdev", have ? "flash file enlarged" : "flash file created", LOG_S("path", spec->path),
                 LOG_U("size_bytes", spec->size_bytes));
    return rc;
}

/* The unit of direct reads: what the kernel says (6.1 and later), or a page. */
static uint32_t file_read_unit(int fd)
{
#ifdef STATX_DIOALIGN
    struct statx stx;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 && (stx.stx_mask & STATX_DIOALIGN) &&
        stx.stx_dio_offset_align >= 512 && stx.stx_dio_offset_align <= UNIT)
        return stx.stx_dio_offset_align;
#else
    (void)fd;
#endif
    return UNIT;
}

static int open_file(const struct blkdev_spec *spec, may_grow_fn may_grow, struct blkdev_file *out,
                     struct ps_error *err)
{
    bool created = false;
    uint64_t size = 0;
    int fd = open_direct(spec->path, spec->read_only ? O_RDONLY : O_RDWR);
    if (fd < 0 && errno == ENOENT && !spec->read_only) {
        fd = open_direct(spec->path, O_CREAT | O_EXCL | O_RDWR);
        created = fd >= 0;
    }
    if (fd < 0)
        return fail(err, spec->path, "open it", errno);
    struct stat st;
    int rc = 0, locked;
    unsigned tries = 0;
    do
        locked = flock(fd, LOCK_EX | LOCK_NB);
    while (locked && (errno == EINTR || (errno == EWOULDBLOCK && wait_for_lock(&tries))));
    if (locked)
        rc = errno == EWOULDBLOCK
                 ? ps_error_set(err, PS_EPRECONDITION, "%s is in use by another process", spec->path)
                 : fail(err, spec->path, "lock it", errno);
    else if (fstat(fd, &st))
        rc = fail(err, spec->path, "stat it", errno);
    else if (!S_ISREG(st.st_mode))
        rc = ps_error_set(
            err, PS_EINVAL,
            "%s is no regular file; a block device is named without file: and size=", spec->path);
    else
        rc = size_file(fd, spec, &st, may_grow, &size, err);
    if (rc == 0 && created) {
        const int error = sync_directory(spec->path);
        if (error)
            rc = fail(err, spec->path, "sync its directory", error);
    }
    if (rc) {
        if (created)
            (void)unlink(spec->path);
        (void)close(fd);
        return rc;
    }
    *out = (struct blkdev_file){
        .fd = fd, .made = created, .geometry = {.size_bytes = size, .read_unit = file_read_unit(fd)}};
    return 0;
}

static int open_block(const struct blkdev_spec *spec, struct blkdev_file *out, struct ps_error *err)
{
    struct stat st;
    if (stat(spec->path, &st))
        return fail(err, spec->path, "find it", errno);
    if (!S_ISBLK(st.st_mode))
        return ps_error_set(err, PS_EINVAL, "%s is no block device; a file is named as file:PATH,size=N",
                            spec->path);
    /* On a block device O_EXCL is a lock: against mounts, swap, and us. */
    unsigned tries = 0;
    int fd;
    do
        fd = open(spec->path, (spec->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_DIRECT | O_EXCL);
    while (fd < 0 && errno == EBUSY && wait_for_lock(&tries));
    if (fd < 0)
        return errno == EBUSY ? ps_error_set(err, PS_EPRECONDITION,
                                             "%s is in use: mounted, or open in another process", spec->path)
                              : fail(err, spec->path, "open it", errno);
    uint64_t size = 0;
    int sector = 0;
    if (ioctl(fd, BLKGETSIZE64, &size) || ioctl(fd, BLKSSZGET, &sector)) {
        const int error = errno;
        (void)close(fd);
        return fail(err, spec->path, "ask for its size", error);
    }
    if (sector < 512 || sector > UNIT || size < UNIT) {
        (void)close(fd);
        return ps_error_set(err, PS_EINVAL,
                            "%s has sectors of %d bytes and %" PRIu64 " bytes in all: can't be used",
                            spec->path, sector, size);
    }
    *out = (struct blkdev_file){
        .fd = fd,
        .is_block = true,
        .geometry = {.size_bytes = size - size % UNIT, .read_unit = (uint32_t)sector},
    };
    return 0;
}

int blkdev_file_open(const struct blkdev_spec *spec, may_grow_fn may_grow, struct blkdev_file *out,
                     struct ps_error *err)
{
    const int rc =
        spec->kind == BLKDEV_KIND_FILE ? open_file(spec, may_grow, out, err) : open_block(spec, out, err);
    if (rc == 0) {
        out->geometry.write_unit = UNIT;
        out->geometry.max_io_bytes = MAX_IO;
    }
    return rc;
}

void blkdev_file_find_blank(const struct blkdev_file *file, struct ahead *ahead)
{
    enum {
        EXTENTS = 256
    };
    struct fiemap *map = calloc(1, sizeof *map + EXTENTS * sizeof map->fm_extents[0]);
    uint64_t at = 0, blank_from = 0;
    bool last = false;
    while (map && !last) {
        *map = (struct fiemap){.fm_start = at,
                               .fm_length = ahead->size_bytes - at,
                               .fm_flags = FIEMAP_FLAG_SYNC,
                               .fm_extent_count = EXTENTS};
        if (ioctl(file->fd, FS_IOC_FIEMAP, map)) {
            free(map);
            return;
        }
        last = map->fm_mapped_extents == 0;
        for (uint32_t i = 0; i < map->fm_mapped_extents; i++) {
            const struct fiemap_extent *e = &map->fm_extents[i];
            at = e->fe_logical + e->fe_length;
            last |= (e->fe_flags & FIEMAP_EXTENT_LAST) != 0 || at >= ahead->size_bytes;
            if (e->fe_flags & FIEMAP_EXTENT_UNWRITTEN)
                continue;
            if (e->fe_logical > blank_from)
                ahead_mark_blank(ahead, blank_from, e->fe_logical - blank_from);
            blank_from = at;
        }
    }
    if (map && blank_from < ahead->size_bytes)
        ahead_mark_blank(ahead, blank_from, ahead->size_bytes - blank_from);
    free(map);
}
