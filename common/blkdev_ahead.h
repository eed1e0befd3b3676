/* Writes a file's space once before it is used, so that a durable write meets
 * allocated, initialised extents: overwriting those needs no journal commit
 * (4 KiB durable 0.22 instead of 0.35 ms, see README). Filling the whole file
 * at creation would take minutes; this stays a few chunks ahead of the writer.
 *
 * Pure: says which piece to fill next; the device does it. Invariants: a piece
 * is filled only while its chunk was never written by the host, and while a
 * piece is in flight no host write that overlaps it is. */
#ifndef PS_COMMON_BLKDEV_AHEAD_H
#define PS_COMMON_BLKDEV_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

enum {
    AHEAD_CHUNK_BYTES = 8 << 20,
    AHEAD_PIECE_BYTES = 1 << 20,
    AHEAD_CHUNKS = 4, /* kept ready beyond each chunk that is written to */
    /* Writes of this size and more pay for their own journal commit: filling ahead
     * of a stream of them would take half of the device from it. */
    AHEAD_LARGE_BYTES = 256 << 10,
    AHEAD_QUEUE = 32, /* chunks waiting; more are forgotten, which costs time only */
};

struct ahead {
    uint8_t *state; /* by chunk */
    uint64_t nchunks, size_bytes;
    uint64_t queue[AHEAD_QUEUE];
    unsigned first, count;
    bool in_flight;
    uint64_t piece_offset, piece_length;
};

/* All chunks count as initialised at first. False when memory is out. */
bool ahead_init(struct ahead *a, uint64_t size_bytes);
void ahead_free(struct ahead *a);

/* The range holds nothing and was never initialised (a hole, an unwritten extent). */
void ahead_mark_blank(struct ahead *a, uint64_t offset, uint64_t length);

/* A host write (or erase) to this range is about to start. True: it overlaps the piece
 * in flight and must wait for ahead_piece_done. */
bool ahead_touch(struct ahead *a, uint64_t offset, uint64_t length);

/* The next piece to fill, now in flight; false if there is none or one is in flight. */
bool ahead_next(struct ahead *a, uint64_t *offset, uint64_t *length);
/* `filled` false: the piece was not blank or can't be written; its chunk is left alone from now on. */
void ahead_piece_done(struct ahead *a, bool filled);

#endif
