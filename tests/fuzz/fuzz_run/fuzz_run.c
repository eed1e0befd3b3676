/* Any bytes as a chunk of a checkpoint's run, number and checksum made right. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "node/meta/checksum.h"
#include "node/meta/run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    INDEX_AT = 12,
    SEQ_AT = 16,
    CHECKSUM = 40,
    SEQ = 5
};

static void base(void *user, struct meta_key page, struct place place, bool clear_own)
{
    ++*(uint64_t *)user;
    (void)place, (void)clear_own;
    assert(page.v != 0 && meta_slot_of(page) == 0);
}
static void slot(void *user, struct meta_key key, uint64_t value)
{
    ++*(uint64_t *)user;
    (void)value;
    assert(meta_page_of(key).v != 0);
}
static void drop(void *user, struct meta_key page)
{
    ++*(uint64_t *)user;
    assert(page.v != 0 && meta_slot_of(page) == 0);
}
static int blob(void *user, uint8_t type, uint64_t id, const uint8_t *data, size_t bytes,
                struct ps_error *err)
{
    uint64_t sum = 0;
    ++*(uint64_t *)user;
    (void)id, (void)err;
    assert(bytes <= RUN_BLOB_MAX);
    for (size_t i = 0; i < bytes; i++) /* all of it can be read */
        sum += data[i];
    assert(sum <= 255 * (uint64_t)bytes);
    return type == 0xee ? PS_ELIMIT : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t visited = 0;
    const struct run_visitor visitor = {base, slot, drop, blob, &visited};
    struct place next;
    (void)run_visit(data, size, SEQ, 0, &visitor, &next, NULL);
    if (size < CHECKSUM + 8 || size > RUN_CHUNK_BYTES)
        return 0;
    uint8_t *const exact = malloc(size);
    memcpy(exact, data, size);
    put_le32(exact + INDEX_AT, 3);
    put_le64(exact + SEQ_AT, SEQ);
    put_le64(exact + CHECKSUM, checksum_record(exact, size, CHECKSUM));
    const int rc = run_visit(exact, size, SEQ, 3, &visitor, &next, NULL);
    assert(rc == 0 || rc == PS_EDAMAGED || rc == PS_EVERSION || rc == PS_ELIMIT);
    assert(visited <= 2 * size);
    free(exact);
    return 0;
}
