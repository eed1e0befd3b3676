/* What is exported to: a new file that appears under its name only when it is
 * complete, a block device, or a pipe. Edge: file system calls. */
#ifndef PS_CLI_FILE_SINK_H
#define PS_CLI_FILE_SINK_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/lib/pstorage.h"

struct file_sink {
    int fd;
    enum {
        SINK_FILE,
        SINK_DEVICE,
        SINK_STREAM
    } kind;
    char path[PATH_MAX], partial[PATH_MAX]; /* SINK_FILE: the final name and the one until then */
};

/* "-" is standard output. What exists is replaced only with `overwrite`: a file that is not empty, any
 * device. PSTORAGE_EEXISTS, PSTORAGE_EINVAL (device too small), PSTORAGE_EPERM, PSTORAGE_EIO,
 * PSTORAGE_ENOTFOUND. */
int file_sink_open(struct file_sink *s, const char *path, uint64_t size, bool overwrite,
                   struct pstorage_error *err);

/* Ranges follow each other without gaps, written or zero: a pipe gets them in this order. */
int file_sink_write(struct file_sink *s, uint64_t offset, const char *data, size_t length,
                    struct pstorage_error *err);
/* [offset, offset + length) is zeroes: a hole in a file. */
int file_sink_zero(struct file_sink *s, uint64_t offset, uint64_t length, struct pstorage_error *err);

/* Everything is on disk and, if a file, under its name. */
int file_sink_commit(struct file_sink *s, struct pstorage_error *err);
/* After a commit or an error; an unfinished file is removed. */
void file_sink_close(struct file_sink *s);

#endif
