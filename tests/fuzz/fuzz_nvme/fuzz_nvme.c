/* Any bytes as each page that a device may send. Whatever is decoded can be shown and reckoned with. The
 * first byte says which page. */
#include <assert.h>
#include <string.h>

#include "common/nvme.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t room)
{
    const size_t length = strnlen(text, room);
    assert(length < room);
    for (size_t i = 0; i < length; i++)
        assert(text[i] >= ' ' && text[i] <= '~');
}

static void check_controller(const uint8_t *page)
{
    struct nvme_controller c;
    if (nvme_decode_controller(page, &c, NULL))
        return;
    check_text(c.serial, sizeof c.serial);
    check_text(c.model, sizeof c.model);
    check_text(c.firmware, sizeof c.firmware);
    check_text(c.nqn, sizeof c.nqn);
    assert(c.namespaces > 0 && c.error_log_entries > 0);
}

static void check_namespace(const uint8_t *page)
{
    struct nvme_namespace n;
    struct nvme_zoned z;
    if (nvme_decode_namespace(page, &n, NULL))
        return;
    assert(n.nformats <= NVME_FORMATS_MAX && n.format < n.nformats);
    assert(n.block_bytes >= 512 && (n.block_bytes & (n.block_bytes - 1)) == 0);
    assert(n.size_blocks > 0 && n.size_blocks * n.block_bytes / n.block_bytes == n.size_blocks);
    assert(n.capacity_blocks <= n.size_blocks);
    if (nvme_decode_zoned(page, n.format, &z, NULL) == 0)
        assert(z.zone_blocks > 0 && z.max_open > 0 && z.max_active > 0);
}

static void check_logs(const uint8_t *page)
{
    struct nvme_smart s;
    struct nvme_error e;
    char text[NVME_STATUS_TEXT_MAX];
    nvme_decode_smart(page, &s);
    for (size_t at = 0; at + NVME_ERROR_BYTES <= NVME_IDENTIFY_BYTES; at += NVME_ERROR_BYTES)
        if (nvme_decode_error(page + at, &e)) {
            assert(e.number > 0 && e.status < 0x8000);
            check_text(nvme_status_text(e.status, text), sizeof text);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t page[NVME_IDENTIFY_BYTES] = {0};
    if (size == 0)
        return 0;
    memcpy(page, data + 1, size - 1 < sizeof page ? size - 1 : sizeof page);
    switch (data[0] % 3) {
    case 0:
        check_controller(page);
        break;
    case 1:
        check_namespace(page);
        break;
    default:
        check_logs(page);
    }
    return 0;
}
