#include "common/data_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

const struct data_dir_kind data_dir_of_node = {.lock = "pstoraged.lock", .format = "pstorage-data"};
const struct data_dir_kind data_dir_of_mediator = {.lock = "pstorage-mediator.lock",
                                                   .format = "pstorage-mediator"};

static int fail(struct ps_error *err, const char *path, const char *doing, int error)
{
    const int status = error == EACCES || error == EPERM || error == EROFS ? PS_EPERM
                       : error == ENOSPC || error == EDQUOT                ? PS_EFULL
                       : error == ENOTDIR || error == ENAMETOOLONG         ? PS_EINVAL
                                                                           : PS_EIO;
    return ps_error_set(err, status, "data directory %.120s: can't %s: %s", path, doing, strerror(error));
}

/* mkdir -p; what is made is private, as it holds people's data. */
static int make_directories(const char *path, struct ps_error *err)
{
    char part[PATH_MAX];
    if (strlen(path) >= sizeof part)
        return fail(err, path, "make it", ENAMETOOLONG);
    strcpy(part, path);
    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        const char end = *p;
        *p = '\0';
        if (mkdir(part, 0700) && errno != EEXIST)
            return fail(err, path, "make it", errno);
        *p = end;
        if (end == '\0')
            return 0;
    }
}

static int take_lock(int dir, const char *path, const struct data_dir_kind *kind, int *out,
                     struct ps_error *err)
{
    const int fd = openat(dir, kind->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(err, path, "write to it", errno);
    char pid[24] = "";
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        const int error = errno;
        const ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
        pid[n > 0 ? n : 0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        (void)close(fd);
        if (error != EWOULDBLOCK)
            return fail(err, path, "lock it", error);
        return ps_error_set(err, PS_EPRECONDITION, "data directory %.120s is in use by %s%s", path,
                            pid[0] ? "process " : "another process", pid);
    }
    const int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    /* In place, then cut: what is there needs no room in a file system that is full. */
    if (pwrite(fd, pid, (size_t)n, 0) != n || ftruncate(fd, n)) {
        const int error = errno;
        (void)close(fd);
        return fail(err, path, "write to it", error);
    }
    *out = fd;
    return 0;
}

/* Replaced as a whole, so that a crash leaves the old or the new file. */
static int write_format(int dir, const char *path, const struct data_dir_kind *kind, struct ps_error *err)
{
    char text[64];
    const int n = snprintf(text, sizeof text, "%s %d\n", kind->format, DATA_DIR_VERSION);
    const int fd = openat(dir, "format.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(err, path, "write to it", errno);
    int error = write(fd, text, (size_t)n) == n && fsync(fd) == 0 ? 0 : errno;
    (void)close(fd);
    if (error == 0 && (renameat(dir, "format.new", dir, "format") || fsync(dir)))
        error = errno;
    return error ? fail(err, path, "write to it", error) : 0;
}

/* Is the text that of a directory of another of our programs? */
static bool is_other(const char *text, const struct data_dir_kind *kind)
{
    const struct data_dir_kind *const other =
        kind == &data_dir_of_node ? &data_dir_of_mediator : &data_dir_of_node;
    const size_t length = strlen(other->format);
    return strncmp(text, other->format, length) == 0 && text[length] == ' ';
}

static int check_format(int dir, const char *path, const struct data_dir_kind *kind, struct ps_error *err)
{
    const int fd = openat(dir, "format", O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return write_format(dir, path, kind, err);
    if (fd < 0)
        return fail(err, path, "read its format", errno);
    char text[64];
    const ssize_t n = read(fd, text, sizeof text - 1);
    const int error = errno;
    (void)close(fd);
    if (n < 0)
        return fail(err, path, "read its format", error);
    text[n] = '\0';
    char *end = text;
    const size_t length = strlen(kind->format);
    const bool ours = strncmp(text, kind->format, length) == 0 && text[length] == ' ';
    const long version = ours ? strtol(text + length + 1, &end, 10) : 0;
    if (is_other(text, kind))
        return ps_error_set(err, PS_EPRECONDITION,
                            "data directory %.120s is one of another program (%.*s); each needs its own",
                            path, (int)strcspn(text, "\n"), text);
    if (!ours || version < 1 || strcmp(end, "\n") != 0)
        return ps_error_set(err, PS_EDAMAGED,
                            "data directory %.120s: its file \"format\" is damaged; it should read \"%s %d\"",
                            path, kind->format, DATA_DIR_VERSION);
    if (version > DATA_DIR_VERSION)
        return ps_error_set(
            err, PS_EVERSION,
            "data directory %.120s was made by a newer version (format %ld, this one knows %d)", path,
            version, DATA_DIR_VERSION);
    return 0;
}

int data_dir_open(const char *path, const struct data_dir_kind *kind, struct data_dir *out,
                  struct ps_error *err)
{
    int rc = make_directories(path, err);
    if (rc)
        return rc;
    const int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return fail(err, path, "open it", errno);
    int lock = -1;
    rc = take_lock(dir, path, kind, &lock, err);
    if (rc == 0)
        rc = check_format(dir, path, kind, err);
    if (rc && lock >= 0)
        (void)close(lock);
    (void)close(dir);
    if (rc == 0)
        out->lock_fd = lock;
    return rc;
}

void data_dir_close(struct data_dir *dir)
{
    /* The file stays: removing it would let two processes lock two files of one name. */
    (void)close(dir->lock_fd);
}
