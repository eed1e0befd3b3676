/* What the kernel tells about NVMe namespaces without being sent a command: sysfs, mounts. Edge; blocking. */
#ifndef PS_NODE_HOST_DRIVES_SYSFS_H
#define PS_NODE_HOST_DRIVES_SYSFS_H

#include <sys/types.h>

#include "node/host/drives.h"

/* Names ("nvme0n1") of all namespaces, sorted; at most `max`. */
size_t drives_sysfs_list(char names[][32], size_t max);
/* "nvme0n1", and not a partition's or a path's name. */
bool drives_sysfs_is_namespace(const char *name);
/* Whether the block device of this number is one of the namespace's partitions. */
bool drives_sysfs_has_partition(const char *name, dev_t number);
/* Fills in all but what the pool and the device itself know. False: it is not there (any more). */
bool drives_sysfs_look(const char *name, struct drive *out);

#endif
