/* Any bytes as a batch: as they are, and with checksums made right so that they
 * hide nothing. Every record that is told lies in the payload and has a place. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "node/meta/checksum.h"
#include "node/meta/place.h"
#include "node/replication/batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    GENERATION = 40,
    NEXT_SEGMENT = 104,
    FLOOR = 112,
    META_CHECKSUM = 144,
    CHECKSUM = 152
};

static uint64_t pair(uint64_t first, uint64_t second)
{
    uint8_t both[16];
    put_le64(both, first);
    put_le64(both + 8, second);
    return checksum_bytes(both, sizeof both);
}

static void walk(const struct batch_header *h, const uint8_t *batch, size_t available)
{
    struct batch_record record = {0};
    const uint8_t *const fingerprints_end =
        batch + BATCH_HEADER_BYTES + h->changes_bytes + h->directory_bytes;
    assert(fingerprints_end <= batch + available);
    for (unsigned i = 0; i < h->records && batch_next_record(h, batch, i, &record); i++) {
        assert(record.offset >= h->payload_offset && record.offset + record.bytes <= h->total_bytes);
        assert(record.blocks >= 1 && record.blocks <= 8);
        assert(record.group >> 49 == 0);
        assert(record.fingerprints + (size_t)record.blocks * h->fingerprint_bytes <= fingerprints_end);
        (void)place_make(4096ull + record.offset, record.bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t buf[BATCH_MAX_BYTES];
    struct batch_header h, again;
    if (batch_parse(data, size, &h) == 0)
        walk(&h, data, size);
    if (batch_parse_directory(data, size, &h) == 0)
        walk(&h, data, size);
    if (batch_peek(data, size, &h) != 0)
        return 0;

    /* A batch cut short is followed by zeroes here. */
    memset(buf, 0, h.total_bytes);
    memcpy(buf, data, size < h.total_bytes ? size : h.total_bytes);
    uint8_t header[BATCH_HEADER_BYTES];
    memcpy(header, buf, sizeof header);
    memset(header + GENERATION, 0, 8);
    memset(header + NEXT_SEGMENT, 0, 4);
    memset(header + FLOOR, 0, 8);
    memset(header + META_CHECKSUM, 0, 16);
    put_le64(buf + CHECKSUM,
             pair(checksum_bytes(header, sizeof header),
                  checksum_bytes(buf + BATCH_HEADER_BYTES, h.total_bytes - BATCH_HEADER_BYTES)));
    batch_restamp(buf, h.generation, h.next_segment, h.floor);
    uint8_t *exact = malloc(h.total_bytes); /* so that a read past the end is seen */
    memcpy(exact, buf, h.total_bytes);
    assert(batch_parse(exact, h.total_bytes, &again) == 0);
    walk(&again, exact, h.total_bytes);
    const size_t meta = BATCH_HEADER_BYTES + (size_t)h.changes_bytes + h.directory_bytes;
    exact = realloc(exact, meta);
    assert(batch_parse_directory(exact, meta, &again) == 0);
    walk(&again, exact, meta);
    free(exact);
    return 0;
}
