/* A daemon's data directory: made if it is not there, locked against a second
 * process, and of a kind and version that this program knows.
 *
 * Files: the lock (`pstoraged.lock`; locked while in use, holds the process id), `format` ("pstorage-data
 * 1"), and what the program keeps there. */
#ifndef PS_COMMON_DATA_DIR_H
#define PS_COMMON_DATA_DIR_H

#include "common/status.h"

enum {
    DATA_DIR_VERSION = 1
};

/* Whose directory: names of its files and of its format. */
struct data_dir_kind {
    const char *lock, *format;
};
extern const struct data_dir_kind data_dir_of_node, data_dir_of_mediator;

struct data_dir {
    int lock_fd;
};

/* Errors, each with a detail that names the path: PS_EPERM (not writable),
 * PS_EPRECONDITION (in use, or of another kind), PS_EVERSION (newer), PS_EDAMAGED, PS_EINVAL (no directory),
 * PS_EFULL, PS_EIO. */
int data_dir_open(const char *path, const struct data_dir_kind *kind, struct data_dir *out,
                  struct ps_error *err);
void data_dir_close(struct data_dir *dir);

#endif
