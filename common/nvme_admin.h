/* Admin commands to an NVMe device by the kernel's ioctls (linux/nvme_ioctl.h). Edge; every call blocks, a
 * format for as long as the device takes: not for a loop's thread.
 *
 * `fd` is an open namespace (/dev/nvme0n1). Errors, with a detail: PS_EPERM (the kernel wants CAP_SYS_ADMIN),
 * PS_ENOTFOUND (the device is gone), PS_EUNIMPLEMENTED (it is no NVMe device, or can't do that), PS_EDAMAGED
 * (its answer makes no sense), PS_EIO (it reported a failure: the detail says which). */
#ifndef PS_COMMON_NVME_ADMIN_H
#define PS_COMMON_NVME_ADMIN_H

#include "common/nvme.h"

int nvme_admin_controller(int fd, struct nvme_controller *out, struct ps_error *err);
int nvme_admin_namespace(int fd, struct nvme_namespace *out, struct ps_error *err);
int nvme_admin_zoned(int fd, const struct nvme_namespace *ns, struct nvme_zoned *out, struct ps_error *err);
int nvme_admin_smart(int fd, struct nvme_smart *out, struct ps_error *err);
/* Latest first, without those that are empty; at most `max`. */
int nvme_admin_errors(int fd, struct nvme_error *out, uint32_t max, uint32_t *count, struct ps_error *err);

enum nvme_erase {
    NVME_ERASE_NONE,
    NVME_ERASE_USER_DATA,
    NVME_ERASE_CRYPTO,
};
/* Everything on the namespace is lost. `format` is one of nvme_namespace's. */
int nvme_admin_format(int fd, uint32_t format, enum nvme_erase erase, struct ps_error *err);

#endif
