/* The stored record of one group: 1 to 8 blocks of 4 KiB that were written
 * together, compressed, checksummed, a multiple of 64 bytes long. Block id =
 * group << 3 | slot. A record that was moved may hold some of the group's slots
 * only: those that lived then. Format: README.md.
 *
 * Consecutive blocks are compressed as one (joint): best ratio, and a reader
 * of one block decodes what precedes it. Scattered blocks are compressed each
 * by itself, so that any of them is read, or outlives the others, alone. What
 * does not shrink by a sixteenth is kept raw.
 *
 * Decoders take any bytes: what they are given came from a device. */
#ifndef PS_NODE_REDUCTION_RECORD_H
#define PS_NODE_REDUCTION_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum {
    RECORD_BLOCK_BYTES = 4096,
    RECORD_MAX_BLOCKS = 8,
    RECORD_UNIT_BYTES = 64, /* lengths are multiples */
    RECORD_HEADER_BYTES = 32,
    /* The longest record: header, table, eight raw blocks, padding. */
    RECORD_MAX_BYTES = RECORD_MAX_BLOCKS * RECORD_BLOCK_BYTES + RECORD_UNIT_BYTES,
    RECORD_SLOT_BITS = 3,
};

/* Part of the format. */
enum record_mode {
    RECORD_RAW = 0,
    RECORD_JOINT = 1,    /* one compressed stream */
    RECORD_SEPARATE = 2, /* one stream, or raw bytes, a block */
};
enum record_algorithm {
    RECORD_PLAIN = 0, /* not compressed */
    RECORD_LZ4 = 1,
    RECORD_ZSTD = 2,
};

static inline uint64_t record_block_id(uint64_t group, unsigned slot)
{
    return group << RECORD_SLOT_BITS | slot;
}
static inline uint64_t record_id_group(uint64_t id)
{
    return id >> RECORD_SLOT_BITS;
}
static inline unsigned record_id_slot(uint64_t id)
{
    return (unsigned)(id & (RECORD_MAX_BLOCKS - 1));
}

/* Compressors' and decompressors' state with scratch for one group, about 300
 * KiB. One thread at a time. Nothing below allocates. */
struct record_codec;
struct record_codec *record_codec_create(void); /* NULL when there is no memory */
void record_codec_destroy(struct record_codec *codec);

/* Room that record_encode needs for `blocks` blocks. */
size_t record_bound(unsigned blocks);

/* Writes the record of `n` (1 to 8) blocks of 4 KiB each, at any alignment,
 * and returns its length. `joint`: they are consecutive. `capacity` is at least
 * record_bound(n); bytes of `out` beyond the record may be overwritten too.
 * Blocks that lie one behind the other in memory save a copy. */
size_t record_encode(struct record_codec *codec, enum record_algorithm algorithm, uint64_t group,
                     const void *const blocks[], unsigned n, bool joint, void *out, size_t capacity);

/* The same for scattered blocks that come one by one: begin, add up to eight, finish.
 * `out` holds record_bound(RECORD_MAX_BLOCKS) bytes and belongs to the record
 * until it is finished. */
struct record_scatter {
    uint8_t *out;
    size_t payload_bytes;
    unsigned blocks;
};
void record_scatter_begin(struct record_scatter *scatter, void *out);
/* Returns the bytes that the block takes. */
size_t record_scatter_add(struct record_codec *codec, struct record_scatter *scatter,
                          enum record_algorithm algorithm, const void *block);
/* Returns the record's length. */
size_t record_scatter_finish(struct record_scatter *scatter, enum record_algorithm algorithm, uint64_t group);

struct record_info {
    uint64_t group;
    uint32_t length; /* of the whole record */
    uint8_t blocks;
    uint8_t slots; /* a bit for each that is in it: `blocks` of them */
    enum record_mode mode;
    enum record_algorithm algorithm;
};

/* Reads a header: the fields are possible ones, nothing else is checked. At
 * least RECORD_HEADER_BYTES at `buf`. 0 or PS_EDAMAGED, also for another
 * version: the pool's label says which versions its records have. */
int record_peek(const void *buf, struct record_info *out, struct ps_error *err);

/* 0 when the `len` bytes are exactly one sound record of `group`; else
 * PS_EDAMAGED, with what is wrong. */
int record_verify(const void *buf, size_t len, uint64_t group, struct ps_error *err);

/* Decodes one block, or all that have an `out` (NULL: not wanted; outputs that
 * lie one behind the other save a copy). They check what they need to be safe,
 * not the checksum: verify first. 0; PS_EDAMAGED (outputs undefined);
 * PS_ERANGE when the record has no such slot. `out` has RECORD_MAX_BLOCKS entries. */
int record_decode_block(struct record_codec *codec, const void *buf, size_t len, unsigned slot, void *out,
                        struct ps_error *err);
int record_decode_all(struct record_codec *codec, const void *buf, size_t len,
                      void *const out[RECORD_MAX_BLOCKS], struct ps_error *err);

/* The record of those blocks of another one that are wanted: slots `keep`, not none, all of them in it.
 * Writes it to `out`, which holds RECORD_MAX_BYTES and does not overlap, and says which slots it has. What is
 * compressed apart is copied as it is; a joint stream is copied whole while at least 7/8 of it is wanted,
 * else compressed anew with `algorithm`. `work` holds RECORD_MAX_BLOCKS blocks. 0 or PS_EDAMAGED; the
 * checksum is not looked at: verify first. */
int record_survivors(struct record_codec *codec, enum record_algorithm algorithm, const void *buf, size_t len,
                     unsigned keep, void *work, void *out, struct record_info *written, struct ps_error *err);

/* The same blocks compressed with zstd, as one where they are one or kept raw, apart where they are apart.
 * Returns the record's length; 0: it is zstd's already, does not shrink by a sixteenth, or does not decode.
 * `work` and `out` as above. */
size_t record_denser(struct record_codec *codec, const void *buf, size_t len, void *work, void *out);

/* A block's share of its record for space accounts: units of 64 bytes, rounded up, 1 to 64. */
unsigned record_stored_share(size_t record_length, unsigned blocks);

#endif
