/* The node's data directory: made if it is not there, locked against a second
 * process, and of a version that this program knows.
 *
 * Files: `pstoraged.lock` (locked while in use, holds the process id), `format`
 * ("pstorage-data 1"), `catalog.db`, and by default the flash file. */
#ifndef PS_NODE_HOST_DATA_DIR_H
#define PS_NODE_HOST_DATA_DIR_H

#include "common/status.h"

enum {
    DATA_DIR_VERSION = 1
};

struct data_dir {
    int lock_fd;
};

/* Errors, each with a detail that names the path: PS_EPERM (not writable),
 * PS_EPRECONDITION (in use), PS_EVERSION (newer), PS_EDAMAGED, PS_EINVAL (no directory), PS_EFULL, PS_EIO. */
int data_dir_open(const char *path, struct data_dir *out, struct ps_error *err);
void data_dir_close(struct data_dir *dir);

#endif
