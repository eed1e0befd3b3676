#include "common/nvme.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/endian_codec.h"

/* Printable ASCII without the blanks at the end: this is shown on terminals. */
static void take_text(const uint8_t *from, size_t length, char *to)
{
    size_t end = 0;
    for (size_t i = 0; i < length && from[i]; i++) {
        to[i] = from[i] >= ' ' && from[i] < 0x7f ? (char)from[i] : '?';
        if (from[i] != ' ')
            end = i + 1;
    }
    to[end] = '\0';
}

/* A 128-bit number. */
static uint64_t take_le128(const uint8_t *p)
{
    return get_le64(p + 8) ? UINT64_MAX : get_le64(p);
}

static uint32_t limit_of(uint32_t zero_based)
{
    return zero_based == UINT32_MAX ? UINT32_MAX : zero_based + 1;
}

int nvme_decode_controller(const uint8_t page[NVME_IDENTIFY_BYTES], struct nvme_controller *out,
                           struct ps_error *err)
{
    struct nvme_controller c = {
        .vendor = get_le16(page),
        .subsystem_vendor = get_le16(page + 2),
        .id = get_le16(page + 78),
        .version = get_le32(page + 80),
        .max_transfer_pages = page[77] && page[77] < 64 ? 1ull << page[77] : 0,
        .namespaces = get_le32(page + 516),
        .error_log_entries = page[262] + 1u,
        .warning_kelvin = get_le16(page + 266),
        .critical_kelvin = get_le16(page + 268),
        .capacity_bytes = take_le128(page + 280),
        .unallocated_bytes = take_le128(page + 296),
        .can_format = (get_le16(page + 256) & 1 << 1) != 0,
        .can_deallocate = (get_le16(page + 520) & 1 << 2) != 0,
        .can_write_zeroes = (get_le16(page + 520) & 1 << 3) != 0,
        .volatile_write_cache = (page[525] & 1) != 0,
        .format_all = (page[524] & 1 << 0) != 0,
        .erase_all = (page[524] & 1 << 1) != 0,
        .crypto_erase = (page[524] & 1 << 2) != 0,
    };
    take_text(page + 4, 20, c.serial);
    take_text(page + 24, 40, c.model);
    take_text(page + 64, 8, c.firmware);
    take_text(page + 768, sizeof c.nqn - 1, c.nqn);
    /* Submission queue entries are of 64 bytes, or it is no NVMe controller at all. */
    if (c.namespaces == 0 || (page[512] & 0xf) < 6)
        return ps_error_set(err, PS_EDAMAGED, "the device's answer to Identify Controller makes no sense");
    *out = c;
    return 0;
}

int nvme_decode_namespace(const uint8_t page[NVME_IDENTIFY_BYTES], struct nvme_namespace *out,
                          struct ps_error *err)
{
    struct nvme_namespace n = {
        .size_blocks = get_le64(page),
        .capacity_blocks = get_le64(page + 8),
        .used_blocks = get_le64(page + 16),
        .thin = (page[24] & 1) != 0,
        .nformats = page[25] + 1u,
        .format = (page[26] & 0xfu) | (page[26] >> 1 & 0x30u),
        .protection = (page[29] & 7) != 0,
        .reads_zeroes = (page[33] & 7) == 1,
    };
    memcpy(n.nguid, page + 104, sizeof n.nguid);
    memcpy(n.eui64, page + 120, sizeof n.eui64);
    if (n.nformats > NVME_FORMATS_MAX)
        return ps_error_set(err, PS_EDAMAGED, "the namespace claims %u formats, and 64 is the most",
                            n.nformats);
    for (uint32_t i = 0; i < n.nformats; i++) {
        const uint32_t f = get_le32(page + 128 + i * 4), shift = f >> 16 & 0xff;
        n.formats[i] = (struct nvme_format){.block_bytes = shift >= 9 && shift < 32 ? 1u << shift : 0,
                                            .metadata_bytes = (uint16_t)f,
                                            .performance = (uint8_t)(f >> 24 & 3)};
    }
    if (n.size_blocks == 0)
        return ps_error_set(err, PS_EDAMAGED, "the namespace has no blocks: it is not active");
    if (n.format >= n.nformats || n.formats[n.format].block_bytes == 0)
        return ps_error_set(err, PS_EDAMAGED, "the namespace's format, number %u, is none that it offers",
                            n.format);
    n.block_bytes = n.formats[n.format].block_bytes;
    if (n.size_blocks > UINT64_MAX / n.block_bytes || n.capacity_blocks > n.size_blocks ||
        n.used_blocks > n.size_blocks)
        return ps_error_set(err, PS_EDAMAGED,
                            "the namespace's size of %" PRIu64 " blocks, capacity of %" PRIu64
                            " and use of %" PRIu64 " don't go together",
                            n.size_blocks, n.capacity_blocks, n.used_blocks);
    *out = n;
    return 0;
}

int nvme_decode_zoned(const uint8_t page[NVME_IDENTIFY_BYTES], uint32_t format, struct nvme_zoned *out,
                      struct ps_error *err)
{
    if (format >= NVME_FORMATS_MAX)
        return ps_error_set(err, PS_EDAMAGED, "no namespace has format %u", format);
    const struct nvme_zoned z = {
        .max_active = limit_of(get_le32(page + 4)),
        .max_open = limit_of(get_le32(page + 8)),
        .zone_blocks = get_le64(page + 2816 + format * 16),
    };
    if (z.zone_blocks == 0)
        return ps_error_set(err, PS_EDAMAGED, "the namespace has zones of no size");
    *out = z;
    return 0;
}

void nvme_decode_smart(const uint8_t page[NVME_SMART_BYTES], struct nvme_smart *out)
{
    *out = (struct nvme_smart){
        .critical_warning = page[0],
        .kelvin = get_le16(page + 1),
        .spare_percent = page[3],
        .spare_threshold_percent = page[4],
        .used_percent = page[5],
        .read_units = take_le128(page + 32),
        .written_units = take_le128(page + 48),
        .read_commands = take_le128(page + 64),
        .write_commands = take_le128(page + 80),
        .busy_minutes = take_le128(page + 96),
        .power_cycles = take_le128(page + 112),
        .power_on_hours = take_le128(page + 128),
        .unsafe_shutdowns = take_le128(page + 144),
        .media_errors = take_le128(page + 160),
        .error_log_entries = take_le128(page + 176),
        .warning_minutes = get_le32(page + 192),
        .critical_minutes = get_le32(page + 196),
    };
    for (size_t i = 0; i < NVME_SENSORS; i++)
        out->sensor_kelvin[i] = get_le16(page + 200 + 2 * i);
}

bool nvme_decode_error(const uint8_t entry[NVME_ERROR_BYTES], struct nvme_error *out)
{
    const uint64_t number = get_le64(entry);
    if (number == 0)
        return false;
    *out = (struct nvme_error){
        .number = number,
        .queue = get_le16(entry + 8),
        .command = get_le16(entry + 10),
        .status = (uint16_t)(get_le16(entry + 12) >> 1),
        .lba = get_le64(entry + 16),
        .namespace_id = get_le32(entry + 24),
    };
    return true;
}

const char *nvme_status_text(uint16_t status, char text[NVME_STATUS_TEXT_MAX])
{
    /* Type and code: Base Specification, figures 88 to 98; Zoned Namespaces, figure 32. */
    static const struct {
        uint16_t status;
        const char *text;
    } known[] = {
        {0x000, "success"},
        {0x001, "invalid opcode"},
        {0x002, "invalid field in the command"},
        {0x004, "data transfer error"},
        {0x005, "aborted by power loss"},
        {0x006, "internal error"},
        {0x007, "aborted on request"},
        {0x00b, "invalid namespace or format"},
        {0x015, "operation denied"},
        {0x01d, "sanitize in progress"},
        {0x020, "the namespace is write-protected"},
        {0x080, "LBA out of range"},
        {0x081, "capacity exceeded"},
        {0x082, "namespace not ready"},
        {0x084, "format in progress"},
        {0x10a, "invalid format"},
        {0x1b8, "zone boundary error"},
        {0x1b9, "the zone is full"},
        {0x1ba, "the zone is read-only"},
        {0x1bb, "the zone is offline"},
        {0x1bc, "not at the zone's write pointer"},
        {0x1bd, "too many active zones"},
        {0x1be, "too many open zones"},
        {0x1bf, "invalid transition of the zone's state"},
        {0x280, "write fault"},
        {0x281, "unrecovered read error"},
        {0x282, "guard check error"},
        {0x285, "compare failure"},
        {0x286, "access denied"},
        {0x287, "deallocated or unwritten block"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].status == (status & 0x7ff))
            return known[i].text;
    (void)snprintf(text, NVME_STATUS_TEXT_MAX, "status type %u, code 0x%02x", status >> 8 & 7u,
                   status & 0xffu);
    return text;
}
