#include "common/rpc/frame.h"

#include <assert.h>
#include <stdbool.h>

#include "common/endian_codec.h"
#include "common/xxh3.h"

/* Offsets of the header's fields; the table in README.md is the same. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_KIND = 6,
    AT_FLAGS = 7,
    AT_CALL_ID = 8,
    AT_METHOD_ID = 16,
    AT_TIMEOUT = 24,
    AT_STATUS = 32,
    AT_METADATA_BYTES = 36,
    AT_BODY_BYTES = 40,
    AT_PAYLOAD_BYTES = 44,
    AT_PAYLOAD_SUM = 48,
    AT_CONTENT_SUM = 56,
    AT_HEADER_SUM = 60,
};
_Static_assert(AT_HEADER_SUM + 4 == RPC_FRAME_BYTES, "the header is full");

/* What a frame of each kind may carry. */
struct kind_rules {
    bool call, method, timeout, status, metadata, body, payload;
};
static const struct kind_rules rules[] = {
    [RPC_GREETING] = {.status = true, .body = true},
    [RPC_REQUEST] =
        {.call = true, .method = true, .timeout = true, .metadata = true, .body = true, .payload = true},
    [RPC_RESPONSE] = {.call = true, .status = true, .body = true, .payload = true},
    [RPC_MESSAGE] = {.call = true, .body = true},
    [RPC_CANCEL] = {.call = true},
    [RPC_PING] = {.call = false},
    [RPC_PONG] = {.call = false},
    [RPC_GOODBYE] = {.status = true, .body = true},
};

static uint32_t low_half(uint64_t v)
{
    return (uint32_t)(v & UINT32_MAX);
}

uint32_t rpc_content_sum(const void *data, size_t length)
{
    return length ? low_half(XXH3_64bits(data, length)) : 0;
}

uint64_t rpc_payload_sum(const void *data, size_t length)
{
    return length ? XXH3_64bits(data, length) : 0;
}

uint32_t rpc_status_encode(int status)
{
    return (uint32_t)ps_status_to_rpc(status) | (uint32_t)(-status & 0x7fff) << 16;
}

int rpc_status_decode(uint32_t wire)
{
    const int rpc = (int)(wire & 0xffff), own = -(int)(wire >> 16);
    /* A code that this version doesn't know maps like PS_EINTERNAL, but isn't it. */
    const bool known = own == PS_EINTERNAL || ps_status_name(own) != ps_status_name(PS_EINTERNAL);
    return known && ps_status_to_rpc(own) == rpc ? own : ps_status_from_rpc(rpc);
}

/* The first rule that `f` breaks, or NULL. */
static const char *broken_rule(const struct rpc_frame *f)
{
    if (f->kind < RPC_GREETING || f->kind > RPC_GOODBYE)
        return "unknown kind of frame";
    const struct kind_rules *r = &rules[f->kind];
    if (r->call != (f->call_id != 0))
        return "call id";
    if (r->method != (f->method_id != 0))
        return "method";
    if (!r->timeout && f->timeout_ns != 0)
        return "timeout";
    if (!r->status && f->status != PS_OK)
        return "status";
    if (f->metadata_bytes > (r->metadata ? (uint32_t)RPC_METADATA_MAX : 0))
        return "length of metadata";
    if (f->body_bytes > (r->body ? (uint32_t)RPC_BODY_MAX : 0))
        return "length of body";
    if (f->payload_bytes > (r->payload ? (uint32_t)RPC_PAYLOAD_MAX : 0))
        return "length of payload";
    return NULL;
}

int rpc_frame_decode(const uint8_t in[RPC_FRAME_BYTES], struct rpc_frame *out, struct ps_error *err)
{
    if (get_le32(in + AT_MAGIC) != RPC_FRAME_MAGIC)
        return ps_error_set(err, PS_EPROTOCOL, "not a PStorage peer: magic %08x", get_le32(in + AT_MAGIC));
    /* The version comes before the checksum: a later one may place that elsewhere. */
    if (get_le16(in + AT_VERSION) != RPC_FRAME_VERSION)
        return ps_error_set(err, PS_EVERSION, "frame version %u, spoken here: %d", get_le16(in + AT_VERSION),
                            RPC_FRAME_VERSION);
    if (get_le32(in + AT_HEADER_SUM) != rpc_content_sum(in, AT_HEADER_SUM))
        return ps_error_set(err, PS_EPROTOCOL, "checksum of the frame header is wrong");
    if (in[AT_FLAGS] != 0)
        return ps_error_set(err, PS_EPROTOCOL, "unknown frame flags %02x", in[AT_FLAGS]);
    const struct rpc_frame f = {
        .kind = (enum rpc_kind)in[AT_KIND],
        .call_id = get_le64(in + AT_CALL_ID),
        .method_id = get_le64(in + AT_METHOD_ID),
        .timeout_ns = get_le64(in + AT_TIMEOUT),
        .status = rpc_status_decode(get_le32(in + AT_STATUS)),
        .metadata_bytes = get_le32(in + AT_METADATA_BYTES),
        .body_bytes = get_le32(in + AT_BODY_BYTES),
        .payload_bytes = get_le32(in + AT_PAYLOAD_BYTES),
        .payload_sum = get_le64(in + AT_PAYLOAD_SUM),
        .content_sum = get_le32(in + AT_CONTENT_SUM),
    };
    const char *broken = broken_rule(&f);
    if (broken)
        return ps_error_set(err, PS_EPROTOCOL, "%s not allowed in a frame of kind %u", broken, in[AT_KIND]);
    *out = f;
    return PS_OK;
}

void rpc_frame_encode(const struct rpc_frame *frame, uint8_t out[RPC_FRAME_BYTES])
{
    assert(!broken_rule(frame));
    put_le32(out + AT_MAGIC, RPC_FRAME_MAGIC);
    put_le16(out + AT_VERSION, RPC_FRAME_VERSION);
    out[AT_KIND] = (uint8_t)frame->kind;
    out[AT_FLAGS] = 0;
    put_le64(out + AT_CALL_ID, frame->call_id);
    put_le64(out + AT_METHOD_ID, frame->method_id);
    put_le64(out + AT_TIMEOUT, frame->timeout_ns);
    put_le32(out + AT_STATUS, rpc_status_encode(frame->status));
    put_le32(out + AT_METADATA_BYTES, frame->metadata_bytes);
    put_le32(out + AT_BODY_BYTES, frame->body_bytes);
    put_le32(out + AT_PAYLOAD_BYTES, frame->payload_bytes);
    put_le64(out + AT_PAYLOAD_SUM, frame->payload_sum);
    put_le32(out + AT_CONTENT_SUM, frame->content_sum);
    put_le32(out + AT_HEADER_SUM, rpc_content_sum(out, AT_HEADER_SUM));
}
