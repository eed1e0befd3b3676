/* A chunk of moved records: what collection writes, in one device write, into a WARM or COLD segment.
 *
 * Header, records one behind the other from byte MOVED_HEADER_BYTES on, directory, zeroes up to a multiple of
 * 4,096 bytes. Places in L2P say where each record is; the directory says which ones to look at when the
 * segment is collected in its turn, and keeps their blocks' fingerprints. Chunks follow each other without a
 * gap from the segment's start. */
#ifndef PS_NODE_FLASH_MOVED_H
#define PS_NODE_FLASH_MOVED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum {
    MOVED_HEADER_BYTES = 64,
    MOVED_CHUNK_BYTES = 256 * 1024, /* at most */
    MOVED_RECORDS_MAX = 512,
    MOVED_ALIGN = 4096,
    MOVED_LINE_BYTES = 12, /* of the directory, a record; its fingerprints follow */
};

struct moved_record {
    uint64_t group;
    uint32_t offset; /* in the chunk, and bytes; multiples of 64 */
    uint32_t bytes;
    uint8_t slots;               /* a bit for each that is in it */
    const uint8_t *fingerprints; /* of those, in order */
};

/* A chunk being filled in `buf`, of at most `capacity` bytes. */
struct moved_writer {
    uint8_t *buf;
    uint32_t capacity, used, records, directory_bytes;
    uint8_t fingerprint_bytes;
    uint8_t directory[MOVED_RECORDS_MAX * (MOVED_LINE_BYTES + 8 * 32)];
};

/* `capacity`: a multiple of MOVED_ALIGN, at most MOVED_CHUNK_BYTES. */
void moved_begin(struct moved_writer *w, void *buf, uint32_t capacity, uint8_t fingerprint_bytes);
/* Is there room for one more, of up to `bytes`? */
bool moved_has_room(const struct moved_writer *w, uint32_t bytes);
/* Where the next record goes. */
static inline void *moved_next(const struct moved_writer *w)
{
    return w->buf + w->used;
}
/* The record is there now; `offset` of `record` is set. */
void moved_add(struct moved_writer *w, struct moved_record *record);
/* Bytes to write. `pod`: the first 8 bytes of its id. */
uint32_t moved_seal(struct moved_writer *w, uint64_t pod);

struct moved_chunk {
    uint64_t pod;
    uint32_t total_bytes, directory_offset, directory_bytes;
    uint16_t records;
    uint8_t fingerprint_bytes;
};

/* 0; PS_ENOTFOUND: no chunk begins here; PS_EVERSION; PS_EDAMAGED: cut short, impossible, or a wrong checksum
 * of header and directory. Records are not looked at: they have checksums of their own. */
int moved_parse(const void *chunk, size_t available, struct moved_chunk *out);
/* The first record (zeroed `*record`), then each one's successor. False after the last, or if the directory
 * is inconsistent. */
bool moved_next_record(const struct moved_chunk *chunk, const void *buf, unsigned index,
                       struct moved_record *record);

#endif
