/* Simulated flash of any content, with right checksums and with wrong ones: it is refused, or becomes a drive
 * that reads, erases and writes. An input is: how it is opened, 16 bytes a block (P/E cycles, flags, tag,
 * when it was set, erases), then 8 bytes a sector, then what is laid over the header. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "common/nand/nand_area.h"
#include "common/nand/nand_drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t buf[1 << 17] __attribute__((aligned(BLKDEV_ALIGN)));

struct input {
    const uint8_t *data;
    size_t left;
};

static void take(struct input *in, void *out, size_t bytes)
{
    const size_t n = in->left < bytes ? in->left : bytes;
    memset(out, 0, bytes);
    memcpy(out, in->data, n);
    in->data += n;
    in->left -= n;
}

static struct nand_config config_of(uint8_t shape)
{
    struct nand_config c;
    nand_config_default(&c);
    c.geometry = (struct nand_geometry){.channels = 1 + (shape & 1),
                                        .dies = 1,
                                        .planes = 1 + (shape >> 1 & 1),
                                        .blocks = 8,
                                        .pages = 2,
                                        .page_bytes = 2 * NAND_SECTOR_BYTES};
    c.spare_blocks = 3;
    c.partial_programs = shape & 4 ? 1 : 2;
    c.endurance = 1 + shape;
    return c;
}

static void lay(struct input *in, const struct nand_config *c, uint8_t *area)
{
    struct nand_layout layout;
    nand_layout(&c->geometry, &layout);
    for (uint32_t b = 0; b < nand_block_count(&c->geometry); b++) {
        uint8_t p[16];
        take(in, p, sizeof p);
        struct nand_block_record r = {.pe_cycles = get_le32(p),
                                      .flags = p[4] & 31,
                                      .tag = p[5] % 8,
                                      .tagged = get_le16(p + 6),
                                      .erases = p[8],
                                      .reads = p[9],
                                      .programmed_ns = get_le32(p + 10)};
        nand_block_save(area + layout.blocks + (uint64_t)b * 2 * NAND_BLOCK_BYTES, &r);
    }
    for (uint64_t at = layout.sectors; at < layout.data && in->left; at += 8) {
        uint8_t p[8];
        take(in, p, sizeof p);
        const struct nand_sector_record r = {.checksum = get_le32(p), .erase = p[4], .state = p[5]};
        nand_sector_save(area + at, &r);
    }
}

static int answered;

static void done(struct blkdev_req *req, int status)
{
    (void)req;
    assert(status == 0 || status == PS_EIO);
    answered = status;
}

static int run(struct blkdev *dev, enum blkdev_op op, uint64_t offset, uint32_t length)
{
    struct blkdev_req req = {.op = op, .offset = offset, .length = length, .buf = buf};
    assert(length <= sizeof buf && blkdev_submit(dev, &req, done) == 0 && nand_drive_step(dev));
    return answered;
}

static void use(struct blkdev *dev)
{
    const uint32_t zone = dev->geometry.erase_bytes;
    struct nand_health health;
    for (uint64_t at = 0; at < dev->geometry.size_bytes; at += zone) {
        (void)run(dev, BLKDEV_READ, at, zone);
        if (run(dev, BLKDEV_ERASE, at, zone) == 0 && run(dev, BLKDEV_WRITE, at, zone) == 0)
            (void)run(dev, BLKDEV_READ, at, zone);
    }
    nand_drive_health(dev, &health);
    assert(health.retired_zones <= health.zones && health.spare_percent <= 100);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    uint8_t shape;
    take(&in, &shape, 1);
    const struct nand_config c = config_of(shape & 15);
    const size_t bytes = nand_area_bytes(&c);
    uint8_t *area = aligned_alloc(BLKDEV_ALIGN, (bytes + BLKDEV_ALIGN - 1) / BLKDEV_ALIGN * BLKDEV_ALIGN);
    struct nand *flash;
    struct blkdev *dev;
    struct ps_error err;
    assert(area);
    memset(area, 0, bytes);
    nand_format(&c, area);
    lay(&in, &c, area);
    if (shape & 16)
        take(&in, area + (shape & 32 ? 0 : NAND_HEADER_BYTES), in.left < 4096 ? in.left : 4096);
    int rc = nand_open(area, bytes, &flash, &err);
    if (rc == 0) {
        rc = nand_drive_create(flash, "fuzz", &dev, &err);
        if (rc)
            nand_abandon(flash);
    }
    if (rc == 0) {
        use(dev);
        blkdev_destroy(dev);
    }
    assert(rc == 0 || rc == PS_ENOTFOUND || rc == PS_EDAMAGED || rc == PS_EVERSION);
    free(area);
    return 0;
}
