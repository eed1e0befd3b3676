/* A base page in flash: header, then 512 slots as zigzag differences of
 * neighbours in variable-length numbers, LZ4 over that where it shrinks.
 *
 * Header, 48 bytes: 0 magic u32, 4 version u8, 5 coding u8 (0 plain, 1 LZ4), 6
 * zero u16, 8 body bytes u32, 12 plain bytes u32, 16 page key u64, 24 sequence
 * of the last batch in it u64, 32 zero u64, 40 XXH3-64 of the record with this
 * field 0. The rest up to a multiple of 64 is zero. MAP slots are rotated so that their
 * flags are the low bits: consecutive ids then differ by small numbers. */
#include "common/endian_codec.h"
#include "node/meta/checksum.h"
#include "node/meta/meta.h"
#include "node/meta/varint.h"
#include <lz4.h>

enum {
    MAGIC = 0x47505350 /* "PSPG" */,
    VERSION = 1,
    HEADER = 48,
    PLAIN_MAX = META_SLOTS * VARINT_MAX
};
_Static_assert(PAGE_RECORD_MAX >= HEADER + PLAIN_MAX + PLACE_UNIT, "a page of incompressible slots fits");

static uint64_t turn(enum meta_kind kind, uint64_t v)
{
    return kind == META_MAP ? v << 12 | v >> 52 : v;
}

static uint64_t turn_back(enum meta_kind kind, uint64_t v)
{
    return kind == META_MAP ? v >> 12 | v << 52 : v;
}

uint32_t page_encode(struct meta_key page, uint64_t seq, const uint64_t *slots, void *out)
{
    uint8_t plain[PLAIN_MAX], *p = plain, *record = out;
    const enum meta_kind kind = meta_kind_of(page);
    uint64_t before = 0;
    for (unsigned i = 0; i < META_SLOTS; i++) {
        const uint64_t v = turn(kind, slots[i]);
        p = varint_put(p, zigzag(v - before));
        before = v;
    }
    const int plain_bytes = (int)(p - plain);
    int body = LZ4_compress_default((char *)plain, (char *)record + HEADER, plain_bytes, plain_bytes - 1);
    const bool packed = body > 0;
    if (!packed) {
        memcpy(record + HEADER, plain, (size_t)plain_bytes);
        body = plain_bytes;
    }
    const uint32_t bytes = (uint32_t)(HEADER + body),
                   padded = (bytes + PLACE_UNIT - 1) / PLACE_UNIT * PLACE_UNIT;
    memset(record, 0, HEADER);
    memset(record + bytes, 0, padded - bytes);
    put_le32(record, MAGIC);
    record[4] = VERSION;
    record[5] = packed;
    put_le32(record + 8, (uint32_t)body);
    put_le32(record + 12, (uint32_t)plain_bytes);
    put_le64(record + PAGE_KEY_AT, page.v);
    put_le64(record + 24, seq);
    put_le64(record + 40, checksum_record(record, padded, 40));
    return padded;
}

int page_decode(struct meta_key page, const void *buf, size_t bytes, uint64_t *slots, struct ps_error *err)
{
    const uint8_t *record = buf;
    if (bytes < HEADER || get_le32(record) != MAGIC)
        return ps_error_set(err, PS_EDAMAGED, "metadata page %#llx: not a page record",
                            (unsigned long long)page.v);
    if (record[4] != VERSION)
        return ps_error_set(err, PS_EVERSION, "metadata page %#llx: version %u, this program knows %u",
                            (unsigned long long)page.v, record[4], VERSION);
    const uint32_t body = get_le32(record + 8), plain_bytes = get_le32(record + 12);
    if (body > bytes - HEADER || plain_bytes > PLAIN_MAX || get_le64(record + PAGE_KEY_AT) != page.v ||
        get_le64(record + 40) != checksum_record(record, bytes, 40))
        return ps_error_set(err, PS_EDAMAGED, "metadata page %#llx: wrong page or checksum",
                            (unsigned long long)page.v);
    uint8_t plain[PLAIN_MAX];
    struct reader r = {record + HEADER, record + HEADER + body, false};
    if (record[5]) {
        const int n =
            LZ4_decompress_safe((const char *)record + HEADER, (char *)plain, (int)body, (int)plain_bytes);
        if (n != (int)plain_bytes)
            return ps_error_set(err, PS_EDAMAGED, "metadata page %#llx: does not decompress",
                                (unsigned long long)page.v);
        r = (struct reader){plain, plain + plain_bytes, false};
    }
    const enum meta_kind kind = meta_kind_of(page);
    uint64_t v = 0;
    for (unsigned i = 0; i < META_SLOTS; i++) {
        v += unzigzag(read_varint(&r));
        slots[i] = turn_back(kind, v);
    }
    if (r.bad || r.pos != r.end)
        return ps_error_set(err, PS_EDAMAGED, "metadata page %#llx: not 512 slots",
                            (unsigned long long)page.v);
    return 0;
}

int page_verify(enum meta_kind kind, const void *record, size_t bytes, struct ps_error *err)
{
    uint64_t slots[META_SLOTS];
    struct meta_key page = meta_key(kind, 0, 0);
    if (bytes >= HEADER) {
        const struct meta_key written_as = {get_le64((const uint8_t *)record + PAGE_KEY_AT)};
        if (meta_kind_of(written_as) == kind)
            page = written_as;
    }
    return page_decode(page, record, bytes, slots, err);
}
