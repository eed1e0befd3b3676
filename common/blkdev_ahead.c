#include "common/blkdev_ahead.h"

#include <assert.h>
#include <stdlib.h>

enum state {
    READY, /* initialised; not written by the host since the open */
    BLANK,
    QUEUED,
    USED, /* written by the host: never filled again */
    LED,  /* the same, and what follows was queued */
};

bool ahead_init(struct ahead *a, uint64_t size_bytes)
{
    *a = (struct ahead){.size_bytes = size_bytes,
                        .nchunks = (size_bytes + AHEAD_CHUNK_BYTES - 1) / AHEAD_CHUNK_BYTES};
    a->state = calloc((size_t)a->nchunks, 1);
    return a->state != NULL;
}

void ahead_free(struct ahead *a)
{
    free(a->state);
    a->state = NULL;
}

void ahead_mark_blank(struct ahead *a, uint64_t offset, uint64_t length)
{
    /* Chunks that lie wholly inside: what is around them may be data. */
    uint64_t first = (offset + AHEAD_CHUNK_BYTES - 1) / AHEAD_CHUNK_BYTES;
    const uint64_t end = offset + length;
    for (; first < a->nchunks; first++) {
        const uint64_t stop = (first + 1) * AHEAD_CHUNK_BYTES;
        if ((stop < a->size_bytes ? stop : a->size_bytes) > end)
            break;
        a->state[first] = BLANK;
    }
}

static void look_ahead(struct ahead *a, uint64_t chunk)
{
    for (uint64_t c = chunk + 1; c <= chunk + AHEAD_CHUNKS && c < a->nchunks; c++) {
        if (a->state[c] != BLANK || a->count == AHEAD_QUEUE)
            continue;
        a->state[c] = QUEUED;
        a->queue[(a->first + a->count++) % AHEAD_QUEUE] = c;
    }
}

bool ahead_touch(struct ahead *a, uint64_t offset, uint64_t length)
{
    const uint64_t last = (offset + length - 1) / AHEAD_CHUNK_BYTES;
    const bool small = length < AHEAD_LARGE_BYTES;
    for (uint64_t c = offset / AHEAD_CHUNK_BYTES; c <= last; c++) {
        if (a->state[c] == LED || (a->state[c] == USED && !small))
            continue;
        a->state[c] = small ? LED : USED;
        if (small)
            look_ahead(a, c);
    }
    return a->in_flight && offset < a->piece_offset + a->piece_length && a->piece_offset < offset + length;
}

static uint64_t chunk_end(const struct ahead *a, uint64_t chunk)
{
    const uint64_t end = (chunk + 1) * AHEAD_CHUNK_BYTES;
    return end < a->size_bytes ? end : a->size_bytes;
}

bool ahead_next(struct ahead *a, uint64_t *offset, uint64_t *length)
{
    if (a->in_flight)
        return false;
    while (a->count > 0) {
        const uint64_t chunk = a->queue[a->first], start = chunk * AHEAD_CHUNK_BYTES;
        uint64_t at = a->piece_offset + a->piece_length;
        if (a->piece_length == 0 || at < start || at > chunk_end(a, chunk))
            at = start;
        if (a->state[chunk] == QUEUED && at < chunk_end(a, chunk)) {
            const uint64_t left = chunk_end(a, chunk) - at;
            a->piece_offset = *offset = at;
            a->piece_length = *length = left < AHEAD_PIECE_BYTES ? left : AHEAD_PIECE_BYTES;
            a->in_flight = true;
            return true;
        }
        /* Full, or a host write came first. */
        if (a->state[chunk] == QUEUED)
            a->state[chunk] = READY;
        a->first = (a->first + 1) % AHEAD_QUEUE;
        a->count--;
        a->piece_length = 0;
    }
    return false;
}

void ahead_piece_done(struct ahead *a, bool filled)
{
    assert(a->in_flight && a->count > 0);
    a->in_flight = false;
    const uint64_t chunk = a->queue[a->first];
    if (!filled && a->state[chunk] == QUEUED)
        a->state[chunk] = READY;
}
