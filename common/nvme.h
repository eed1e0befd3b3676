/* What an NVMe device says of itself: pages of Identify and logs, decoded. Pure.
 *
 * Sources: NVM Express Base Specification 2.0c, figures 275 (Identify Controller), 207 (SMART / Health), 206
 * (Error Information); NVM Command Set Specification 1.0c, figure 97 (Identify Namespace); Zoned Namespace
 * Command Set Specification 1.1b, figure 48 (its Identify Namespace). All integers are little-endian; text is
 * padded with blanks.
 *
 * A page comes from a device: whatever is in it is decoded to something printable, or refused. 128-bit
 * counters that don't fit into 64 bits are UINT64_MAX. */
#ifndef PS_COMMON_NVME_H
#define PS_COMMON_NVME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum {
    NVME_IDENTIFY_BYTES = 4096,
    NVME_SMART_BYTES = 512,
    NVME_ERROR_BYTES = 64, /* one entry of the error log */
    NVME_FORMATS_MAX = 64,
    NVME_SENSORS = 8,
};

struct nvme_controller {
    char serial[21], model[41],
        firmware[9]; /* printable ASCII, '?' for what is not; without trailing blanks */
    uint16_t vendor, subsystem_vendor, id;
    uint32_t version;                         /* major << 16 | minor << 8 | tertiary */
    uint64_t max_transfer_pages;              /* of the controller's minimum page size; 0: no limit */
    uint32_t namespaces;                      /* highest namespace id */
    uint32_t error_log_entries;               /* that it keeps */
    uint16_t warning_kelvin, critical_kelvin; /* 0: not told */
    uint64_t capacity_bytes, unallocated_bytes;
    bool can_format;     /* admin command Format NVM */
    bool can_deallocate; /* Dataset Management */
    bool can_write_zeroes;
    bool volatile_write_cache;
    bool format_all, erase_all; /* a format, or a secure erase, is of all namespaces */
    bool crypto_erase;
    char nqn[224];
};

struct nvme_format {
    uint32_t block_bytes;    /* 0: not available */
    uint16_t metadata_bytes; /* beside each block */
    uint8_t performance;     /* 0 best to 3 degraded */
};

struct nvme_namespace {
    uint64_t size_blocks, capacity_blocks, used_blocks;
    uint32_t block_bytes;
    uint32_t format; /* the one in use */
    uint32_t nformats;
    struct nvme_format formats[NVME_FORMATS_MAX];
    bool thin;                   /* capacity may be less than size */
    bool reads_zeroes;           /* deallocated blocks do */
    bool protection;             /* end-to-end protection information is on */
    uint8_t nguid[16], eui64[8]; /* all zero: none */
};

/* Of a zoned namespace, beside struct nvme_namespace. */
struct nvme_zoned {
    uint64_t zone_blocks;          /* of the format in use */
    uint32_t max_open, max_active; /* UINT32_MAX: no limit */
};

struct nvme_smart {
    uint8_t critical_warning; /* bits: 0 spare low, 1 temperature, 2 reliability degraded, 3 read-only, 4
                                 volatile memory failed */
    uint16_t kelvin;
    uint8_t spare_percent, spare_threshold_percent;
    uint8_t used_percent;               /* of the vendor's estimate of its life; may exceed 100 */
    uint64_t read_units, written_units; /* of 512,000 bytes, rounded up */
    uint64_t read_commands, write_commands, busy_minutes, power_cycles, power_on_hours, unsafe_shutdowns;
    uint64_t media_errors, error_log_entries;
    uint32_t warning_minutes, critical_minutes; /* at such temperatures */
    uint16_t sensor_kelvin[NVME_SENSORS];       /* 0: no such sensor */
};

struct nvme_error {
    uint64_t number;                 /* counts all errors there were; never 0 */
    uint16_t queue, command, status; /* status: without its phase bit */
    uint64_t lba;
    uint32_t namespace_id;
};

/* All: PS_EDAMAGED, with a detail, if the page cannot be one of that kind. */
int nvme_decode_controller(const uint8_t page[NVME_IDENTIFY_BYTES], struct nvme_controller *out,
                           struct ps_error *err);
int nvme_decode_namespace(const uint8_t page[NVME_IDENTIFY_BYTES], struct nvme_namespace *out,
                          struct ps_error *err);
/* `format`: nvme_namespace's. */
int nvme_decode_zoned(const uint8_t page[NVME_IDENTIFY_BYTES], uint32_t format, struct nvme_zoned *out,
                      struct ps_error *err);
void nvme_decode_smart(const uint8_t page[NVME_SMART_BYTES], struct nvme_smart *out);
/* False: the entry is empty. */
bool nvme_decode_error(const uint8_t entry[NVME_ERROR_BYTES], struct nvme_error *out);

/* "Invalid Field in Command": of the generic and the media statuses those that people meet; else its numbers,
 * in `text`. */
enum {
    NVME_STATUS_TEXT_MAX = 48
};
const char *nvme_status_text(uint16_t status, char text[NVME_STATUS_TEXT_MAX]);

#endif
