/* A batch: one entry of a pod's log, as it lies in flash and travels to members (batch.c has the format). */
#ifndef PS_NODE_REPLICATION_BATCH_H
#define PS_NODE_REPLICATION_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum {
    BATCH_MAX_BYTES = 1 << 20,
    BATCH_ALIGN = 4096, /* a batch's length, and its place in a segment */
    BATCH_HEADER_BYTES = 160,
    BATCH_BLOCKS_MAX = 1024,
    BATCH_RECORDS_MAX = 1024,
    BATCH_CHANGES_MAX = 55 * 1024,
    BATCH_LINE_BYTES = 8, /* of the directory, a record */
    BATCH_DIRECTORY_MAX = BATCH_RECORDS_MAX * BATCH_LINE_BYTES + BATCH_BLOCKS_MAX * 32,
    /* Header, changes and directory end before this offset, so that the payload may be built in place. */
    BATCH_PAYLOAD_AT = 96 * 1024,
    BATCH_PAYLOAD_MAX = BATCH_MAX_BYTES - BATCH_PAYLOAD_AT,
};
_Static_assert((int)BATCH_HEADER_BYTES + (int)BATCH_CHANGES_MAX + (int)BATCH_DIRECTORY_MAX <=
                   (int)BATCH_PAYLOAD_AT,
               "everything before the payload fits");

struct batch_header {
    uint64_t pod;        /* first 8 bytes of the pod's id */
    uint64_t epoch, run; /* of the primary that made it */
    uint64_t seq;
    uint64_t generation; /* of the log that it lies in: each member's own */
    uint64_t previous;   /* checksum of the batch before */
    uint64_t watermark;  /* all batches up to this one were committed when this one was sealed */
    uint32_t total_bytes, changes_bytes, directory_bytes, payload_offset, payload_bytes;
    uint16_t records;
    uint8_t fingerprint_bytes; /* 16 or 32 */
    uint64_t first_group;      /* its records' groups are numbered from here */
    uint64_t unix_ns;
    uint32_t next_segment; /* where the log goes on when this segment is full: each member's own */
    uint64_t floor;        /* durable here when this was written, all up to this one: each member's own */
    uint64_t checksum;     /* of everything but the members' own; set by batch_seal and batch_parse */
};

/* One record's line in the directory. */
struct batch_record {
    uint32_t bytes;  /* length, a multiple of 64 */
    uint32_t offset; /* from the start of the batch */
    uint8_t blocks;
    uint64_t group;
    const uint8_t *fingerprints; /* blocks × fingerprint_bytes */
};

/* Lengths and offsets of `header` are set by the caller; changes, directory and
 * payload lie in `batch` already. Writes the header, zeroes the gaps and the end. */
void batch_seal(struct batch_header *header, void *batch);

/* Makes a parsed batch one of another member's log, or of another generation of the same: its checksum stays.
 * Hashes header, changes and directory only. */
void batch_restamp(void *batch, uint64_t generation, uint32_t next_segment, uint64_t floor);

/* What the first BATCH_HEADER_BYTES say, if they can be a batch's: 0, PS_ENOTFOUND (no batch here),
 * PS_EVERSION. Nothing is verified but that lengths are possible. */
int batch_peek(const void *batch, size_t available, struct batch_header *out);
/* Peek, then verify all of it: 0, PS_ENOTFOUND, PS_EVERSION, PS_EDAMAGED (wrong checksum or cut short). */
int batch_parse(const void *batch, size_t available, struct batch_header *out);
/* The same for header, changes and directory only; `available` need not hold the payload. */
int batch_parse_directory(const void *batch, size_t available, struct batch_header *out);

/* Directory line `index` of a parsed batch; false when the directory is inconsistent. Lines are read in
 * order:
 * `*record` of the line before goes in (zeroed for the first). */
bool batch_next_record(const struct batch_header *header, const void *batch, unsigned index,
                       struct batch_record *record);
/* Writes line `index`: a record of group first_group + `group_index`. Lines are in the order of the payload;
 * the fingerprints follow behind all lines in the same order. */
void batch_put_record(void *directory, unsigned index, uint32_t bytes, unsigned group_index, unsigned blocks);

static inline const void *batch_changes(const void *batch)
{
    return (const uint8_t *)batch + BATCH_HEADER_BYTES;
}

#endif
