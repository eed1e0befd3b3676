#include "node/host/nbd_output.h"

#include <assert.h>
#include <string.h>

void nbd_output_init(struct nbd_output *out)
{
    list_init(&out->parcels);
    out->ring_head = out->ring_used = out->ring_after = 0;
    out->parcel_sent = 0;
}

void nbd_output_copy(struct nbd_output *out, const void *data, uint32_t bytes)
{
    assert(bytes <= nbd_output_room(out));
    const uint32_t at = (out->ring_head + out->ring_used) % NBD_OUTPUT_RING;
    const uint32_t first = bytes < NBD_OUTPUT_RING - at ? bytes : NBD_OUTPUT_RING - at;
    memcpy(out->ring + at, data, first);
    memcpy(out->ring, (const uint8_t *)data + first, bytes - first);
    out->ring_used += bytes;
    out->ring_after += bytes;
}

void nbd_output_parcel(struct nbd_output *out, struct nbd_parcel *parcel)
{
    assert(parcel->nruns > 0 && parcel->nruns <= NBD_PARCEL_RUNS);
    parcel->ring_before = out->ring_after;
    out->ring_after = 0;
    list_push_back(&out->parcels, &parcel->link);
}

/* Appends `bytes` of the ring from `at` on: one span, or two around its end. */
static unsigned gather_ring(const struct nbd_output *out, uint32_t at, uint32_t bytes, struct iovec *spans,
                            unsigned max)
{
    unsigned n = 0;
    at %= NBD_OUTPUT_RING;
    while (bytes > 0 && n < max) {
        const uint32_t piece = bytes < NBD_OUTPUT_RING - at ? bytes : NBD_OUTPUT_RING - at;
        spans[n++] = (struct iovec){.iov_base = (void *)(uintptr_t)(out->ring + at), .iov_len = piece};
        at = (at + piece) % NBD_OUTPUT_RING;
        bytes -= piece;
    }
    return n;
}

unsigned nbd_output_gather(const struct nbd_output *out, struct iovec *spans, unsigned max)
{
    unsigned n = 0;
    uint32_t at = out->ring_head;
    uint64_t skip = out->parcel_sent;
    list_for_each(node, &out->parcels)
    {
        const struct nbd_parcel *parcel = container_of(node, struct nbd_parcel, link);
        if (n + 2 > max)
            return n;
        n += gather_ring(out, at, parcel->ring_before, spans + n, max - n);
        at += parcel->ring_before;
        for (uint32_t i = 0; i < parcel->nruns; i++) {
            const struct iovec *run = &parcel->runs[i];
            if (skip >= run->iov_len) {
                skip -= run->iov_len;
                continue;
            }
            if (n == max)
                return n;
            spans[n++] =
                (struct iovec){.iov_base = (uint8_t *)run->iov_base + skip, .iov_len = run->iov_len - skip};
            skip = 0;
        }
    }
    return n + gather_ring(out, at, out->ring_after, spans + n, max - n);
}

static void ring_sent(struct nbd_output *out, uint32_t bytes)
{
    assert(bytes <= out->ring_used);
    out->ring_used -= bytes;
    /* An empty ring starts over, so that its first pages stay the warm ones. */
    out->ring_head = out->ring_used == 0 ? 0 : (out->ring_head + bytes) % NBD_OUTPUT_RING;
}

void nbd_output_sent(struct nbd_output *out, uint64_t bytes, struct list_node *finished)
{
    while (!list_empty(&out->parcels)) {
        struct nbd_parcel *parcel = container_of(out->parcels.next, struct nbd_parcel, link);
        const uint32_t ring = bytes < parcel->ring_before ? (uint32_t)bytes : parcel->ring_before;
        parcel->ring_before -= ring;
        ring_sent(out, ring);
        bytes -= ring;
        if (parcel->ring_before > 0)
            return;
        uint64_t total = 0;
        for (uint32_t i = 0; i < parcel->nruns; i++)
            total += parcel->runs[i].iov_len;
        if (bytes < total - out->parcel_sent) {
            out->parcel_sent += bytes;
            return;
        }
        bytes -= total - out->parcel_sent;
        out->parcel_sent = 0;
        list_remove(&parcel->link);
        list_push_back(finished, &parcel->link);
    }
    assert(bytes <= out->ring_after);
    out->ring_after -= (uint32_t)bytes;
    ring_sent(out, (uint32_t)bytes);
}

void nbd_output_drop(struct nbd_output *out, struct list_node *finished)
{
    list_splice_back(finished, &out->parcels);
    out->ring_head = out->ring_used = out->ring_after = 0;
    out->parcel_sent = 0;
}
