/* What is imported: a file, a block device or a pipe, as pieces that are data
 * and holes that are skipped. Edge: file system calls. */
#ifndef PS_CLI_FILE_SOURCE_H
#define PS_CLI_FILE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/lib/pstorage.h"

struct file_source {
    int fd;
    const char *path;  /* for messages */
    bool stream;       /* size unknown, read front to back */
    bool holes;        /* the file system tells where data is */
    uint64_t size;     /* 0 if `stream` */
    uint64_t at;       /* all before was handed out */
    uint64_t data_end; /* up to here the file is known to be data */
};

/* "-" is standard input. PSTORAGE_ENOTFOUND, PSTORAGE_EPERM, PSTORAGE_EINVAL (a directory), PSTORAGE_EIO. */
int file_source_open(struct file_source *f, const char *path, struct pstorage_error *err);
void file_source_close(struct file_source *f);

/* Bytes that are data, as the file system sees it: what the import will have to read. 0 if unknown. */
uint64_t file_source_data_bytes(struct file_source *f);

/* Finds the data at or after `at`, as the file system sees it: [*start, *end), both `size` if there is none. Not of a
 * stream. */
void file_source_find_data(struct file_source *f, uint64_t at, uint64_t *start, uint64_t *end);
/* Reads `length` bytes that are within `size`, from anywhere. Not of a stream. */
int file_source_read_at(struct file_source *f, uint64_t at, void *buffer, size_t length,
                        struct pstorage_error *err);

/* The next piece, which begins at f->at and moves it. A hole: `*hole_bytes` > 0,
 * nothing read. Data: `*length` bytes are in `buffer`, as many as fit up to the next
 * multiple of `size` (the file's end may come first). Both 0: the end. */
int file_source_next(struct file_source *f, char *buffer, size_t size, size_t *length, uint64_t *hole_bytes,
                     struct pstorage_error *err);

#endif
