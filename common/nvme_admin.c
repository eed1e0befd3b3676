#include "common/nvme_admin.h"

#include <errno.h>
#include <linux/nvme_ioctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
    OPCODE_GET_LOG = 0x02,
    OPCODE_IDENTIFY = 0x06,
    OPCODE_FORMAT = 0x80,
    CNS_NAMESPACE = 0,
    CNS_CONTROLLER = 1,
    CNS_NAMESPACE_OF_SET = 5, /* cdw11: which command set */
    COMMAND_SET_ZONED = 2,
    LOG_ERRORS = 1,
    LOG_SMART = 2,
    TIMEOUT_MS = 10 * 1000,
    FORMAT_TIMEOUT_MS = 60 * 60 * 1000, /* a format may erase every cell */
    ERRORS_MAX = 256,
};

static int command(int fd, struct nvme_admin_cmd *cmd, const char *what, struct ps_error *err)
{
    char text[NVME_STATUS_TEXT_MAX];
    if (!cmd->timeout_ms)
        cmd->timeout_ms = TIMEOUT_MS;
    const int rc = ioctl(fd, NVME_IOCTL_ADMIN_CMD, cmd);
    if (rc == 0)
        return 0;
    if (rc > 0)
        return ps_error_set(err, (rc & 0x7ff) == 1 ? PS_EUNIMPLEMENTED : PS_EIO, "the device fails %s: %s",
                            what, nvme_status_text((uint16_t)(rc & 0x7ff), text));
    switch (errno) {
    case EACCES:
    case EPERM:
        return ps_error_set(err, PS_EPERM, "the kernel refuses %s: the node needs CAP_SYS_ADMIN for it",
                            what);
    case ENOTTY:
        return ps_error_set(err, PS_EUNIMPLEMENTED, "it is no NVMe device");
    case ENODEV:
    case ENXIO:
        return ps_error_set(err, PS_ENOTFOUND, "the device is gone");
    default:
        return ps_error_set(err, PS_EIO, "%s failed: %s", what, strerror(errno));
    }
}

static int identify(int fd, uint32_t nsid, uint32_t cns, uint32_t set, uint8_t page[NVME_IDENTIFY_BYTES],
                    struct ps_error *err)
{
    struct nvme_admin_cmd cmd = {
        .opcode = OPCODE_IDENTIFY,
        .nsid = nsid,
        .addr = (uint64_t)(uintptr_t)page,
        .data_len = NVME_IDENTIFY_BYTES,
        .cdw10 = cns,
        .cdw11 = set << 24,
    };
    memset(page, 0, NVME_IDENTIFY_BYTES);
    return command(fd, &cmd, "Identify", err);
}

static int namespace_id(int fd, uint32_t *out, struct ps_error *err)
{
    const int id = ioctl(fd, NVME_IOCTL_ID);
    if (id > 0) {
        *out = (uint32_t)id;
        return 0;
    }
    return errno == ENODEV || errno == ENXIO ? ps_error_set(err, PS_ENOTFOUND, "the device is gone")
                                             : ps_error_set(err, PS_EUNIMPLEMENTED, "it is no NVMe device");
}

int nvme_admin_controller(int fd, struct nvme_controller *out, struct ps_error *err)
{
    uint8_t page[NVME_IDENTIFY_BYTES];
    const int rc = identify(fd, 0, CNS_CONTROLLER, 0, page, err);
    return rc ? rc : nvme_decode_controller(page, out, err);
}

int nvme_admin_namespace(int fd, struct nvme_namespace *out, struct ps_error *err)
{
    uint8_t page[NVME_IDENTIFY_BYTES];
    uint32_t id;
    int rc = namespace_id(fd, &id, err);
    if (rc == 0)
        rc = identify(fd, id, CNS_NAMESPACE, 0, page, err);
    return rc ? rc : nvme_decode_namespace(page, out, err);
}

int nvme_admin_zoned(int fd, const struct nvme_namespace *ns, struct nvme_zoned *out, struct ps_error *err)
{
    uint8_t page[NVME_IDENTIFY_BYTES];
    uint32_t id;
    int rc = namespace_id(fd, &id, err);
    if (rc == 0)
        rc = identify(fd, id, CNS_NAMESPACE_OF_SET, COMMAND_SET_ZONED, page, err);
    return rc ? rc : nvme_decode_zoned(page, ns->format, out, err);
}

static int get_log(int fd, uint32_t log, uint8_t *page, uint32_t length, const char *what,
                   struct ps_error *err)
{
    const uint32_t dwords = length / 4 - 1;
    struct nvme_admin_cmd cmd = {
        .opcode = OPCODE_GET_LOG,
        .nsid = 0xffffffff, /* the controller's, not one namespace's */
        .addr = (uint64_t)(uintptr_t)page,
        .data_len = length,
        .cdw10 = log | (dwords & 0xffff) << 16,
        .cdw11 = dwords >> 16,
    };
    memset(page, 0, length);
    return command(fd, &cmd, what, err);
}

int nvme_admin_smart(int fd, struct nvme_smart *out, struct ps_error *err)
{
    uint8_t page[NVME_SMART_BYTES];
    const int rc = get_log(fd, LOG_SMART, page, sizeof page, "reading its SMART log", err);
    if (rc == 0)
        nvme_decode_smart(page, out);
    return rc;
}

int nvme_admin_errors(int fd, struct nvme_error *out, uint32_t max, uint32_t *count, struct ps_error *err)
{
    uint8_t log[ERRORS_MAX * NVME_ERROR_BYTES];
    struct nvme_controller controller;
    int rc = nvme_admin_controller(fd, &controller, err);
    if (rc)
        return rc;
    const uint32_t kept =
        controller.error_log_entries < ERRORS_MAX ? controller.error_log_entries : ERRORS_MAX;
    uint32_t n = 0;
    rc = get_log(fd, LOG_ERRORS, log, kept * NVME_ERROR_BYTES, "reading its error log", err);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < kept && n < max; i++)
        n += nvme_decode_error(log + (size_t)i * NVME_ERROR_BYTES, &out[n]);
    *count = n;
    return 0;
}

int nvme_admin_format(int fd, uint32_t format, enum nvme_erase erase, struct ps_error *err)
{
    uint32_t id;
    int rc = namespace_id(fd, &id, err);
    if (rc)
        return rc;
    /* Base Specification, figure 189: the format's lower four bits, secure erase at bit 9, its upper two at
     * bit 12. */
    struct nvme_admin_cmd cmd = {
        .opcode = OPCODE_FORMAT,
        .nsid = id,
        .cdw10 = (format & 0xf) | (uint32_t)erase << 9 | (format >> 4 & 3) << 12,
        .timeout_ms = FORMAT_TIMEOUT_MS,
    };
    rc = command(fd, &cmd, "Format NVM", err);
    if (rc == 0)
        (void)ioctl(
            fd,
            NVME_IOCTL_RESCAN); /* its block size may be another one; the kernel notices by itself, later */
    return rc;
}
