#include "node/host/nbd_reply.h"

#include <assert.h>
#include <string.h>

#include "node/host/nbd_wire.h"

_Static_assert((int)NBD_OFFSET_HOLE_BYTES <= (int)NBD_BUFFER_PREFIX &&
                   (int)NBD_OFFSET_DATA_BYTES <= (int)NBD_BUFFER_PREFIX,
               "headers fit before the data");

uint32_t nbd_reply_small(uint8_t *out, bool structured, uint64_t cookie, uint32_t error, const char *message)
{
    if (error == 0 || !structured) {
        nbd_put_simple_reply(out, error, cookie);
        return NBD_SIMPLE_REPLY_BYTES;
    }
    const uint32_t room = NBD_SMALL_REPLY_MAX - NBD_ERROR_CHUNK_BYTES;
    const uint32_t text = (uint32_t)strnlen(message, room);
    nbd_put_chunk(out, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_ERROR, cookie, 6 + text);
    put_be32(out + NBD_CHUNK_BYTES, error);
    put_be16(out + NBD_CHUNK_BYTES + 4, (uint16_t)text);
    memcpy(out + NBD_ERROR_CHUNK_BYTES, message, text);
    return NBD_ERROR_CHUNK_BYTES + text;
}

/* ---- READ */

enum {
    SCAN_BYTES = 4096,
    HOLE_MIN = 32 * 1024,
    HOLES_MAX = 4
};

struct hole {
    uint32_t from, to;
};

static bool is_zero(const uint8_t *data, uint32_t bytes)
{
    uint64_t first;
    memcpy(&first, data, sizeof first);
    return first == 0 && memcmp(data, data + sizeof first, bytes - sizeof first) == 0;
}

/* Runs of zeroes of at least `min` bytes; `length` is a multiple of 512. */
static unsigned find_holes(const uint8_t *data, uint32_t length, uint32_t min, struct hole holes[HOLES_MAX])
{
    unsigned n = 0;
    uint32_t from = 0;
    bool inside = false;
    for (uint32_t at = 0; at < length; at += SCAN_BYTES) {
        const uint32_t bytes = length - at < SCAN_BYTES ? length - at : SCAN_BYTES;
        const bool zero = is_zero(data + at, bytes);
        if (zero && !inside) {
            from = at;
            inside = true;
        }
        const uint32_t to = zero ? at + bytes : at;
        if (inside && (!zero || to == length)) {
            if (to - from >= min) {
                assert(n < HOLES_MAX);
                holes[n++] = (struct hole){.from = from, .to = to};
            }
            inside = false;
        }
    }
    return n;
}

static void add_run(struct nbd_parcel *parcel, uint8_t *base, size_t bytes)
{
    assert(parcel->nruns < NBD_PARCEL_RUNS);
    parcel->runs[parcel->nruns++] = (struct iovec){.iov_base = base, .iov_len = bytes};
}

/* Header of the data chunk [from, to), into the bytes before it. */
static uint8_t *put_data_header(const struct nbd_request *request, uint8_t *data, uint32_t from, uint32_t to)
{
    uint8_t *header = data + from - NBD_OFFSET_DATA_BYTES;
    nbd_put_chunk(header, to == request->io.length ? NBD_REPLY_FLAG_DONE : 0, NBD_REPLY_TYPE_OFFSET_DATA,
                  request->cookie, 8 + to - from);
    put_be64(header + NBD_CHUNK_BYTES, request->io.offset + from);
    return header;
}

static void put_hole(const struct nbd_request *request, uint8_t *at, const struct hole *hole)
{
    nbd_put_chunk(at, hole->to == request->io.length ? NBD_REPLY_FLAG_DONE : 0, NBD_REPLY_TYPE_OFFSET_HOLE,
                  request->cookie, 12);
    put_be64(at + NBD_CHUNK_BYTES, request->io.offset + hole->from);
    put_be32(at + NBD_CHUNK_BYTES + 8, hole->to - hole->from);
}

void nbd_reply_read(struct nbd_request *request, bool structured)
{
    struct nbd_parcel *parcel = &request->parcel;
    uint8_t *data = request->buffer->data;
    const uint32_t length = (uint32_t)request->io.length;
    parcel->nruns = 0;
    if (!structured) {
        uint8_t *header = data - NBD_SIMPLE_REPLY_BYTES;
        nbd_put_simple_reply(header, 0, request->cookie);
        add_run(parcel, header, NBD_SIMPLE_REPLY_BYTES + length);
        return;
    }
    uint32_t min = length / HOLES_MAX > HOLE_MIN ? length / HOLES_MAX : HOLE_MIN;
    if (min > length || (request->flags & NBD_CMD_FLAG_DF))
        min = length; /* DF: one chunk, so all or nothing */
    struct hole holes[HOLES_MAX];
    const unsigned n = find_holes(data, length, min, holes);

    /* A run is: header and data, then the hole that follows, written over its
     * first zeroes. The next data's header ends that hole; 32 KiB hold both. */
    uint32_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        uint8_t *begin = data - NBD_OFFSET_HOLE_BYTES;
        uint8_t *hole_chunk = begin;
        if (holes[i].from > at) {
            begin = put_data_header(request, data, at, holes[i].from);
            hole_chunk = data + holes[i].from;
        }
        put_hole(request, hole_chunk, &holes[i]);
        add_run(parcel, begin, (size_t)(hole_chunk + NBD_OFFSET_HOLE_BYTES - begin));
        at = holes[i].to;
    }
    if (at < length) {
        uint8_t *begin = put_data_header(request, data, at, length);
        add_run(parcel, begin, NBD_OFFSET_DATA_BYTES + length - at);
    }
}

/* ---- BLOCK_STATUS */

void nbd_reply_block_status(struct nbd_request *request)
{
    static const uint32_t flags_of[] = {
        [POD_EXTENT_DATA] = 0,
        [POD_EXTENT_ZERO] = NBD_STATE_ZERO,
        [POD_EXTENT_HOLE] = NBD_STATE_HOLE | NBD_STATE_ZERO,
    };
    const struct pod_io *io = &request->io;
    assert(io->nextents > 0 && (const uint8_t *)io->extents == request->buffer->data);
    uint8_t *at = request->buffer->data;
    for (uint32_t i = 0; i < io->nextents; i++) {
        /* A descriptor is smaller than an extent, so what is read next is still whole. */
        const struct pod_extent extent = io->extents[i];
        assert(extent.length_bytes <= io->length);
        put_be32(at, (uint32_t)extent.length_bytes);
        put_be32(at + 4, flags_of[extent.kind]);
        at += NBD_BLOCK_DESCRIPTOR_BYTES;
    }
    const uint32_t descriptors = (uint32_t)(at - request->buffer->data);
    uint8_t *header = request->buffer->data - NBD_BLOCK_STATUS_BYTES;
    nbd_put_chunk(header, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_BLOCK_STATUS, request->cookie, 4 + descriptors);
    put_be32(header + NBD_CHUNK_BYTES, NBD_CONTEXT_ALLOCATION_ID);
    request->parcel.nruns = 0;
    add_run(&request->parcel, header, NBD_BLOCK_STATUS_BYTES + descriptors);
}
