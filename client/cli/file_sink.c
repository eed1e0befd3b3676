#include "client/cli/file_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/status.h"

static struct ps_error *detail(struct pstorage_error *err)
{
    return (struct ps_error *)(void *)err;
}

static int fail(struct pstorage_error *err, const char *what, const char *path)
{
    const int e = errno;
    const int status = e == ENOENT || e == ENOTDIR               ? PS_ENOTFOUND
                       : e == EACCES || e == EPERM || e == EROFS ? PS_EPERM
                                                                 : PS_EIO;
    return ps_error_set(detail(err), status, "cannot %s \"%.120s\": %s", what, path, strerror(e));
}

static int open_device(struct file_sink *s, uint64_t size, bool overwrite, struct pstorage_error *err)
{
    s->kind = SINK_DEVICE;
    if (!overwrite)
        return ps_error_set(detail(err), PS_EEXISTS,
                            "\"%.120s\" is a device; --overwrite replaces what is on it", s->path);
    s->fd = open(s->path, O_WRONLY | O_CLOEXEC | O_EXCL); /* O_EXCL: not while it is mounted */
    if (s->fd < 0)
        return fail(err, "open", s->path);
    const off_t end = lseek(s->fd, 0, SEEK_END);
    if (end < 0 || (uint64_t)end < size)
        return ps_error_set(detail(err), PS_EINVAL, "\"%.120s\" is smaller than the volume", s->path);
    return PS_OK;
}

int file_sink_open(struct file_sink *s, const char *path, uint64_t size, bool overwrite,
                   struct pstorage_error *err)
{
    *s = (struct file_sink){.fd = -1};
    if (strcmp(path, "-") == 0) {
        s->kind = SINK_STREAM;
        s->fd = STDOUT_FILENO;
        (void)snprintf(s->path, sizeof s->path, "standard output");
        if (isatty(s->fd))
            return ps_error_set(detail(err), PS_EINVAL,
                                "standard output is a terminal; send it to a file or program");
        return PS_OK;
    }
    struct stat st;
    const bool exists = stat(path, &st) == 0;
    /* Behind a symbolic link the file itself is replaced, not the link. */
    if (exists ? !realpath(path, s->path)
               : snprintf(s->path, sizeof s->path, "%s", path) >= (int)sizeof s->path - 16)
        return fail(err, "find", path);
    if (exists && S_ISBLK(st.st_mode))
        return open_device(s, size, overwrite, err);
    if (exists && !S_ISREG(st.st_mode)) {
        if (S_ISDIR(st.st_mode))
            return ps_error_set(detail(err), PS_EINVAL, "\"%.120s\" is a directory", path);
        s->kind = SINK_STREAM;
        s->fd = open(path, O_WRONLY | O_CLOEXEC);
        return s->fd < 0 ? fail(err, "open", path) : PS_OK;
    }
    if (exists && st.st_size > 0 && !overwrite)
        return ps_error_set(detail(err), PS_EEXISTS, "\"%.120s\" exists; --overwrite replaces it", path);
    if ((size_t)snprintf(s->partial, sizeof s->partial, "%s.partial", s->path) >= sizeof s->partial) {
        s->partial[0] = '\0';
        errno = ENAMETOOLONG;
        return fail(err, "create", path);
    }
    s->fd = open(s->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (s->fd < 0) {
        const int rc = fail(err, "create", s->partial);
        s->partial[0] = '\0'; /* not ours to remove */
        return rc;
    }
    return ftruncate(s->fd, (off_t)size) == 0 ? PS_OK : fail(err, "make room in", s->partial);
}

static int write_whole(struct file_sink *s, uint64_t offset, const char *data, size_t length,
                       struct pstorage_error *err)
{
    while (length > 0) {
        const ssize_t n =
            s->kind == SINK_STREAM ? write(s->fd, data, length) : pwrite(s->fd, data, length, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, "write to", s->path);
        data += n;
        length -= (size_t)n;
        offset += (uint64_t)n;
    }
    return PS_OK;
}

static int write_zeroes(struct file_sink *s, uint64_t offset, uint64_t length, struct pstorage_error *err)
{
    static const char zeroes[65536];
    int rc = PS_OK;
    while (length > 0 && rc == PS_OK) {
        const size_t n = length < sizeof zeroes ? (size_t)length : sizeof zeroes;
        rc = write_whole(s, offset, zeroes, n, err);
        offset += n;
        length -= n;
    }
    return rc;
}

int file_sink_zero(struct file_sink *s, uint64_t offset, uint64_t length, struct pstorage_error *err)
{
    if (s->kind == SINK_FILE || length == 0)
        return PS_OK; /* it is a hole already */
    if (s->kind == SINK_DEVICE &&
        fallocate(s->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length) == 0)
        return PS_OK;
    return write_zeroes(s, offset, length, err);
}

int file_sink_write(struct file_sink *s, uint64_t offset, const char *data, size_t length,
                    struct pstorage_error *err)
{
    return write_whole(s, offset, data, length, err);
}

int file_sink_commit(struct file_sink *s, struct pstorage_error *err)
{
    if (s->kind == SINK_STREAM)
        return PS_OK;
    if (fsync(s->fd) != 0)
        return fail(err, "write to", s->path);
    if (s->kind == SINK_DEVICE)
        return PS_OK;
    if (rename(s->partial, s->path) != 0)
        return fail(err, "rename to", s->path);
    s->partial[0] = '\0';
    /* The name is on disk only when its directory is. */
    char folder[PATH_MAX];
    (void)snprintf(folder, sizeof folder, "%s", s->path);
    const int fd = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, "open the folder of", s->path);
    const int rc = fsync(fd);
    (void)close(fd);
    return rc == 0 ? PS_OK : fail(err, "write the folder of", s->path);
}

void file_sink_close(struct file_sink *s)
{
    if (s->fd > STDERR_FILENO)
        (void)close(s->fd);
    s->fd = -1;
    if (s->partial[0])
        (void)unlink(s->partial);
    s->partial[0] = '\0';
}
