#include "client/cli/file_source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/status.h"

enum {
    GRAIN = 4096
};

static int fail(struct pstorage_error *err, const char *what, const char *path)
{
    const int e = errno;
    const int status = e == ENOENT || e == ENOTDIR ? PS_ENOTFOUND
                       : e == EACCES || e == EPERM ? PS_EPERM
                                                   : PS_EIO;
    return ps_error_set((struct ps_error *)(void *)err, status, "cannot %s \"%.120s\": %s", what, path,
                        strerror(e));
}

int file_source_open(struct file_source *f, const char *path, struct pstorage_error *err)
{
    *f = (struct file_source){.path = path};
    if (strcmp(path, "-") == 0) {
        f->path = "standard input";
        f->fd = STDIN_FILENO;
    } else {
        f->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (f->fd < 0)
            return fail(err, "open", path);
    }
    struct stat st;
    if (fstat(f->fd, &st) != 0)
        goto failed;
    if (S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        goto failed;
    }
    f->stream = !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode);
    if (f->stream)
        return PS_OK;
    const off_t before = lseek(f->fd, 0, SEEK_CUR), end = lseek(f->fd, 0, SEEK_END);
    if (before < 0 || end < 0)
        goto failed;
    /* Standard input may stand somewhere in the middle; then it is read from there like a pipe. */
    if (before > 0) {
        if (lseek(f->fd, before, SEEK_SET) < 0)
            goto failed;
        f->stream = true;
        return PS_OK;
    }
    f->size = (uint64_t)end;
    f->holes = S_ISREG(st.st_mode);
    (void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return PS_OK;
failed:
    (void)fail(err, "read", f->path);
    file_source_close(f);
    return err->status;
}

void file_source_close(struct file_source *f)
{
    if (f->fd > STDIN_FILENO)
        (void)close(f->fd);
    f->fd = -1;
}

void file_source_find_data(struct file_source *f, uint64_t at, uint64_t *start, uint64_t *end)
{
    *start = at;
    *end = f->size;
    if (!f->holes)
        return;
    const off_t data = lseek(f->fd, (off_t)at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) {
        *start = f->size;
        return;
    }
    const off_t hole = data < 0 ? -1 : lseek(f->fd, data, SEEK_HOLE);
    if (hole < 0) {
        f->holes = false; /* the file system doesn't tell: all is data, zeroes are found by looking */
        return;
    }
    /* Outwards to whole blocks; what is added reads as zeroes. */
    const uint64_t down = (uint64_t)data / GRAIN * GRAIN, up = ((uint64_t)hole + GRAIN - 1) / GRAIN * GRAIN;
    *start = down > at ? down : at;
    *end = up < f->size ? up : f->size;
}

uint64_t file_source_data_bytes(struct file_source *f)
{
    uint64_t sum = 0, start, end = 0;
    if (f->stream)
        return 0;
    while (end < f->size) {
        file_source_find_data(f, end, &start, &end);
        sum += end - start;
    }
    return sum;
}

static int read_whole(struct file_source *f, uint64_t at, char *buffer, size_t want, size_t *got,
                      struct pstorage_error *err)
{
    size_t n = 0;
    while (n < want) {
        const ssize_t rc = f->stream ? read(f->fd, buffer + n, want - n)
                                     : pread(f->fd, buffer + n, want - n, (off_t)(at + n));
        if (rc < 0 && errno == EINTR) {
            if (f->stream && n == 0)
                return ps_error_set((struct ps_error *)(void *)err, PS_ECANCELLED, "interrupted");
            continue;
        }
        if (rc < 0)
            return fail(err, "read", f->path);
        if (rc == 0)
            break;
        n += (size_t)rc;
    }
    if (n < want && !f->stream)
        return ps_error_set((struct ps_error *)(void *)err, PS_EIO,
                            "\"%.120s\" became shorter while it was read", f->path);
    *got = n;
    return PS_OK;
}

int file_source_read_at(struct file_source *f, uint64_t at, void *buffer, size_t length,
                        struct pstorage_error *err)
{
    size_t got;
    return read_whole(f, at, buffer, length, &got, err);
}

int file_source_next(struct file_source *f, char *buffer, size_t size, size_t *length, uint64_t *hole_bytes,
                     struct pstorage_error *err)
{
    *length = 0;
    *hole_bytes = 0;
    size_t want = size - (size_t)(f->at % size);
    if (!f->stream) {
        if (f->at == f->size)
            return PS_OK;
        if (f->at >= f->data_end) {
            uint64_t start;
            file_source_find_data(f, f->at, &start, &f->data_end);
            if (start > f->at) {
                *hole_bytes = start - f->at;
                f->at = start;
                return PS_OK;
            }
        }
        if (want > f->data_end - f->at)
            want = (size_t)(f->data_end - f->at);
    }
    const int rc = read_whole(f, f->at, buffer, want, length, err);
    if (rc == PS_OK)
        f->at += *length;
    return rc;
}
