/* Block: 0 magic u32, 4 version u16, 6 zero u16, 8 number u64, then the fields
 * in the order of the struct, little-endian, the rest zero; the last 8 bytes
 * are XXH3-64 of the block with them 0. */
#include "node/flash/anchor.h"

#include "common/endian_codec.h"
#include "common/sizes.h"
#include "node/meta/checksum.h"

enum {
    LABEL_MAGIC = 0x4c505350 /* "PSPL" */,
    ANCHOR_MAGIC = 0x41505350 /* "PSPA" */,
    VERSION = 3
};
enum {
    CHECKSUM_AT = ANCHOR_BYTES - 8,
    BODY = 16,
    RUNS_AT = 136,
    COPIES_AT = RUNS_AT + ANCHOR_RUNS_MAX * 24, /* the runs' second segments */
    PROTOCOL_AT = 2048
};

_Static_assert(BODY + 16 * 2 + 8 * 4 + LABEL_PODS_MAX * (16 + LABEL_NAME_BYTES + 8) <= CHECKSUM_AT,
               "a label fits");
_Static_assert(COPIES_AT + ANCHOR_RUNS_MAX * 4 <= PROTOCOL_AT, "an anchor fits");
_Static_assert(PROTOCOL_AT + ANCHOR_PROTOCOL_MAX <= CHECKSUM_AT, "and the protocol's state behind it");

struct cursor {
    uint8_t *p;
};

static void w32(struct cursor *c, uint32_t v)
{
    put_le32(c->p, v);
    c->p += 4;
}
static void w64(struct cursor *c, uint64_t v)
{
    put_le64(c->p, v);
    c->p += 8;
}
static void wbytes(struct cursor *c, const void *data, size_t n)
{
    memcpy(c->p, data, n);
    c->p += n;
}
static uint32_t r32(struct cursor *c)
{
    c->p += 4;
    return get_le32(c->p - 4);
}
static uint64_t r64(struct cursor *c)
{
    c->p += 8;
    return get_le64(c->p - 8);
}
static void rbytes(struct cursor *c, void *out, size_t n)
{
    memcpy(out, c->p, n);
    c->p += n;
}

static struct cursor begin(void *out, uint32_t magic, uint64_t number)
{
    uint8_t *p = out;
    memset(p, 0, ANCHOR_BYTES);
    put_le32(p, magic);
    put_le16(p + 4, VERSION);
    put_le64(p + 8, number);
    return (struct cursor){p + BODY};
}

static void end(void *out)
{
    put_le64((uint8_t *)out + CHECKSUM_AT, checksum_record(out, ANCHOR_BYTES, CHECKSUM_AT));
}

static int open_block(const void *block, uint32_t magic, const char *what, struct cursor *c,
                      struct ps_error *err)
{
    const uint8_t *p = block;
    if (get_le32(p) != magic)
        return ps_error_set(err, PS_ENOTFOUND, "no %s", what);
    if (get_le64(p + CHECKSUM_AT) != checksum_record(p, ANCHOR_BYTES, CHECKSUM_AT))
        return ps_error_set(err, PS_EDAMAGED, "a %s has a wrong checksum", what);
    if (get_le16(p + 4) != VERSION)
        return ps_error_set(err, PS_EVERSION, "the %s has format version %u, this program knows %u", what,
                            get_le16(p + 4), VERSION);
    c->p = (uint8_t *)(uintptr_t)p + BODY;
    return 0;
}

void label_encode(const struct pool_label *label, void *out)
{
    assert(label->pod_count <= LABEL_PODS_MAX);
    struct cursor c = begin(out, LABEL_MAGIC, label->number);
    wbytes(&c, label->pool, 16);
    wbytes(&c, label->store, 16);
    w64(&c, label->device_bytes);
    w32(&c, label->segment_bytes);
    w32(&c, label->segment_count);
    w32(&c, label->pod_count);
    for (uint32_t i = 0; i < label->pod_count; i++) {
        wbytes(&c, label->pods[i].id, 16);
        wbytes(&c, label->pods[i].name, LABEL_NAME_BYTES);
        w32(&c, label->pods[i].anchor_segments[0]);
        w32(&c, label->pods[i].anchor_segments[1]);
    }
    end(out);
}

int label_decode(const void *block, struct pool_label *out, struct ps_error *err)
{
    struct cursor c;
    const int rc = open_block(block, LABEL_MAGIC, "pool label", &c, err);
    if (rc)
        return rc;
    struct pool_label label = {.number = get_le64((const uint8_t *)block + 8)};
    rbytes(&c, label.pool, 16);
    rbytes(&c, label.store, 16);
    label.device_bytes = r64(&c);
    label.segment_bytes = r32(&c);
    label.segment_count = r32(&c);
    label.pod_count = r32(&c);
    const uint32_t seg = label.segment_bytes;
    if (label.pod_count > LABEL_PODS_MAX || seg < 1 << 20 || seg > 1 << 30 || (seg & (seg - 1)) ||
        label.segment_count < 4 || (uint64_t)label.segment_count * seg > label.device_bytes)
        return ps_error_set(err, PS_EDAMAGED, "the pool label has impossible sizes");
    for (uint32_t i = 0; i < label.pod_count; i++) {
        rbytes(&c, label.pods[i].id, 16);
        rbytes(&c, label.pods[i].name, LABEL_NAME_BYTES);
        label.pods[i].name[LABEL_NAME_BYTES - 1] = 0;
        for (unsigned h = 0; h < 2; h++) {
            label.pods[i].anchor_segments[h] = r32(&c);
            if (label.pods[i].anchor_segments[h] >= label.segment_count)
                return ps_error_set(err, PS_EDAMAGED, "the pool label names segment %u of %u",
                                    label.pods[i].anchor_segments[h], label.segment_count);
        }
    }
    *out = label;
    return 0;
}

int label_may_grow(const void *block, uint64_t has_bytes, struct ps_error *err)
{
    struct pool_label label;
    char needs[SIZE_TEXT_MAX];
    const int rc = label_decode(block, &label, err);
    if (rc)
        return ps_error_set(err, PS_EINVAL, "it holds no pool that could grow");
    if (label.device_bytes > has_bytes)
        return ps_error_set(err, PS_EINVAL, "it was cut, or its pool of %s has had further devices",
                            size_format(label.device_bytes, needs));
    return 0;
}

void anchor_encode(const struct pod_anchor *a, void *out)
{
    assert(a->run_count <= ANCHOR_RUNS_MAX && a->protocol_bytes <= ANCHOR_PROTOCOL_MAX);
    struct cursor c = begin(out, ANCHOR_MAGIC, a->number);
    wbytes(&c, a->pod, 16);
    w64(&c, a->epoch);
    w64(&c, a->run);
    w64(&c, a->generation);
    w64(&c, a->seq);
    w64(&c, a->hash);
    w32(&c, a->log_segment);
    w32(&c, a->log_offset);
    w32(&c, a->log_next);
    w32(&c, a->run_count);
    w64(&c, a->next_group);
    w64(&c, a->next_page);
    w64(&c, a->next_image);
    w32(&c, a->clean);
    w32(&c, a->protocol_bytes);
    w64(&c, a->log_epoch);
    w64(&c, a->log_run);
    assert(c.p == (uint8_t *)out + RUNS_AT);
    for (uint32_t i = 0; i < a->run_count; i++) {
        w64(&c, a->runs[i].seq);
        w64(&c, a->runs[i].first.v);
        w64(&c, a->runs[i].bytes);
        put_le32((uint8_t *)out + COPIES_AT + 4ul * i, a->runs[i].copy_segment);
    }
    memcpy((uint8_t *)out + PROTOCOL_AT, a->protocol, a->protocol_bytes);
    end(out);
}

int anchor_decode(const void *block, struct pod_anchor *out, struct ps_error *err)
{
    struct cursor c;
    const int rc = open_block(block, ANCHOR_MAGIC, "pod anchor", &c, err);
    if (rc)
        return rc;
    struct pod_anchor a = {.number = get_le64((const uint8_t *)block + 8)};
    rbytes(&c, a.pod, 16);
    a.epoch = r64(&c);
    a.run = r64(&c);
    a.generation = r64(&c);
    a.seq = r64(&c);
    a.hash = r64(&c);
    a.log_segment = r32(&c);
    a.log_offset = r32(&c);
    a.log_next = r32(&c);
    a.run_count = r32(&c);
    a.next_group = r64(&c);
    a.next_page = r64(&c);
    a.next_image = r64(&c);
    a.clean = r32(&c) != 0;
    a.protocol_bytes = r32(&c);
    a.log_epoch = r64(&c);
    a.log_run = r64(&c);
    if (a.protocol_bytes > ANCHOR_PROTOCOL_MAX)
        return ps_error_set(err, PS_EDAMAGED, "the pod anchor keeps %u bytes of protocol state",
                            a.protocol_bytes);
    memcpy(a.protocol, (const uint8_t *)block + PROTOCOL_AT, a.protocol_bytes);
    if (a.run_count > ANCHOR_RUNS_MAX)
        return ps_error_set(err, PS_EDAMAGED, "the pod anchor lists %u runs", a.run_count);
    for (uint32_t i = 0; i < a.run_count; i++) {
        a.runs[i].seq = r64(&c);
        a.runs[i].first.v = r64(&c);
        a.runs[i].bytes = r64(&c);
        a.runs[i].copy_segment = get_le32((const uint8_t *)block + COPIES_AT + 4ul * i);
        if (place_len(a.runs[i].first) == 0)
            return ps_error_set(err, PS_EDAMAGED, "the pod anchor lists a run that is nowhere");
    }
    *out = a;
    return 0;
}
