#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "common/prng.h"
#include "node/meta/checksum.h"
#include "node/meta/run.h"
#include "node/meta/varint.h"
#include "tests/unit/meta/memory_flash.h"

enum {
    HEADER = 48,
    CHECKSUM_AT = 40,
    SEQ = 31
};

enum entry_kind {
    BASE,
    SLOT,
    DROP,
    BLOB
};

struct entry {
    enum entry_kind kind;
    uint64_t key, value; /* of a blob: type, id */
    bool clear_own;
    uint16_t bytes;
    uint8_t fill;
};

struct script {
    struct memory_flash flash;
    struct run_writer run;
    struct entry *entries;
    size_t count, seen;
    struct place placed[64];
    size_t placed_count;
};

static void note_chunk(void *user, struct place place)
{
    struct script *s = user;
    assert_true(s->placed_count < 64);
    s->placed[s->placed_count++] = place;
}

static int setup(void **state)
{
    struct script *s = calloc(1, sizeof *s);
    memory_flash_init(&s->flash);
    run_begin(&s->run, &s->flash.sink, SEQ);
    s->run.chunk_placed = note_chunk;
    s->run.user = s;
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct script *s = *state;
    memory_flash_free(&s->flash);
    free(s->entries);
    free(s);
    return 0;
}

static struct entry *expect(struct script *s)
{
    assert_true(s->seen < s->count);
    return &s->entries[s->seen++];
}

static void see_base(void *user, struct meta_key page, struct place base, bool clear_own)
{
    const struct entry *e = expect(user);
    assert_true(e->kind == BASE && e->key == page.v && e->value == base.v && e->clear_own == clear_own);
}

static void see_slot(void *user, struct meta_key key, uint64_t value)
{
    const struct entry *e = expect(user);
    assert_true(e->kind == SLOT && e->key == key.v && e->value == value);
}

static void see_drop(void *user, struct meta_key page)
{
    const struct entry *e = expect(user);
    assert_true(e->kind == DROP && e->key == page.v);
}

static int see_blob(void *user, uint8_t type, uint64_t id, const uint8_t *data, size_t bytes,
                    struct ps_error *err)
{
    const struct entry *e = expect(user);
    (void)err;
    assert_true(e->kind == BLOB && e->key == type && e->value == id && e->bytes == bytes);
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(data[i], e->fill);
    return 0;
}

static struct run_visitor checking(struct script *s)
{
    return (struct run_visitor){see_base, see_slot, see_drop, see_blob, s};
}

static void random_entry(struct prng *prng, struct entry *e)
{
    const enum meta_kind kind = (enum meta_kind)(1 + prng_below(prng, 4));
    const uint64_t page = prng_next(prng) >> (13 + prng_below(prng, 50));
    *e = (struct entry){.kind = (enum entry_kind)prng_below(prng, 4), .key = meta_key(kind, page, 0).v};
    switch (e->kind) {
    case BASE:
        e->value = prng_next(prng) >> 12;
        e->clear_own = prng_chance(prng, 1, 2);
        break;
    case SLOT:
        e->key |= prng_below(prng, META_SLOTS);
        e->value = prng_next(prng) >> prng_below(prng, 64);
        break;
    case DROP:
        break;
    case BLOB:
        e->key = prng_below(prng, 256);
        e->value = prng_next(prng);
        e->bytes = (uint16_t)(prng_chance(prng, 1, 20) ? RUN_BLOB_MAX : prng_below(prng, 200));
        e->fill = (uint8_t)prng_next(prng);
        break;
    }
}

static void write_entry(struct run_writer *run, const struct entry *e)
{
    uint8_t blob[RUN_BLOB_MAX];
    switch (e->kind) {
    case BASE:
        run_put_base(run, (struct meta_key){e->key}, (struct place){e->value}, e->clear_own);
        break;
    case SLOT:
        run_put_slot(run, (struct meta_key){e->key}, e->value);
        break;
    case DROP:
        run_put_drop(run, (struct meta_key){e->key});
        break;
    case BLOB:
        memset(blob, e->fill, e->bytes);
        run_put_blob(run, (uint8_t)e->key, e->value, blob, e->bytes);
        break;
    }
}

/* A few entries at a time. */
static int visit_bit_by_bit(struct script *s, struct place at, uint32_t index, struct place *next)
{
    const struct run_visitor visitor = checking(s);
    struct run_cursor cursor;
    assert_int_equal(
        run_check(memory_flash_read(&s->flash, at), place_len(at), SEQ, index, &cursor, next, NULL), 0);
    while (cursor.pos < cursor.end) {
        const size_t before = s->seen;
        const int rc = run_visit_some(&cursor, 7, &visitor, NULL);
        if (rc)
            return rc;
        assert_true(s->seen - before == 7 || cursor.pos == cursor.end);
    }
    return 0;
}

/* Visits the whole chain; returns the number of chunks. */
static uint32_t visit_all(struct script *s)
{
    const struct run_visitor visitor = checking(s);
    struct place at = s->run.first;
    uint32_t index = 0;
    uint64_t bytes = 0;
    s->seen = 0;
    while (!place_is_none(at)) {
        struct place next;
        assert_int_equal(at.v, s->placed[index].v);
        bytes += place_len(at);
        assert_int_equal(
            run_visit(memory_flash_read(&s->flash, at), place_len(at), SEQ, index, &visitor, &next, NULL), 0);
        at = next;
        index++;
    }
    assert_int_equal(s->seen, s->count);
    assert_int_equal(index, s->placed_count);
    assert_int_equal(bytes, s->run.bytes);
    s->seen = 0;
    at = s->run.first;
    for (uint32_t i = 0; !place_is_none(at); i++)
        assert_int_equal(visit_bit_by_bit(s, at, i, &at), 0);
    assert_int_equal(s->seen, s->count);
    return index;
}

static struct place shadow_of(struct meta_sink *sink, struct place place)
{
    (void)sink;
    return place_make(place_addr(place) + (1 << 20), place_len(place));
}

/* Where each chunk but the last says that its successor lies once more. */
static void chunks_name_the_second_copies_of_those_behind_them(void **state)
{
    struct script *s = *state;
    s->flash.sink.copy = shadow_of;
    s->count = 40000;
    s->entries = calloc(s->count, sizeof s->entries[0]);
    for (size_t i = 0; i < s->count; i++) {
        s->entries[i] =
            (struct entry){.kind = SLOT, .key = meta_key(META_MAP, i, (unsigned)(i % 512)).v, .value = i};
        write_entry(&s->run, &s->entries[i]);
    }
    run_end(&s->run);
    memory_flash_flush(&s->flash);
    const uint32_t chunks = visit_all(s);
    assert_true(chunks > 2);
    for (uint32_t i = 0; i < chunks; i++) {
        const struct place copy = run_next_copy(memory_flash_read(&s->flash, s->placed[i]));
        if (i + 1 < chunks)
            assert_int_equal(copy.v, shadow_of(NULL, s->placed[i + 1]).v);
        else
            assert_true(place_is_none(copy));
    }
}

static void any_entries_come_back_in_order_over_many_chunks(void **state)
{
    struct script *s = *state;
    struct prng prng;
    prng_seed(&prng, 4);
    s->count = 20000;
    s->entries = calloc(s->count, sizeof s->entries[0]);
    for (size_t i = 0; i < s->count; i++) {
        random_entry(&prng, &s->entries[i]);
        /* Slots of one page in a row: only the first names it. */
        if (i && s->entries[i].kind == SLOT && s->entries[i - 1].kind == SLOT && prng_chance(&prng, 3, 4))
            s->entries[i].key = (s->entries[i - 1].key & ~511ull) | prng_below(&prng, META_SLOTS);
        write_entry(&s->run, &s->entries[i]);
    }
    run_end(&s->run);
    memory_flash_flush(&s->flash);
    assert_true(visit_all(s) > 10);
}

static void slots_of_one_page_stay_its_own_across_chunks(void **state)
{
    struct script *s = *state;
    s->count = 40000;
    s->entries = calloc(s->count, sizeof s->entries[0]);
    for (size_t i = 0; i < s->count; i++) {
        s->entries[i] =
            (struct entry){.kind = SLOT, .key = meta_key(META_MAP, 9, (unsigned)(i % 512)).v, .value = i};
        write_entry(&s->run, &s->entries[i]);
    }
    run_end(&s->run);
    memory_flash_flush(&s->flash);
    assert_true(visit_all(s) > 1);
    assert_true(s->run.bytes < s->count * 6); /* the page is not named each time */
}

static void a_run_without_entries_is_one_chunk(void **state)
{
    struct script *s = *state;
    run_end(&s->run);
    memory_flash_flush(&s->flash);
    assert_int_equal(visit_all(s), 1);
    assert_int_equal(s->run.bytes, PLACE_UNIT);
}

/* A small run of every kind of entry, in one chunk. */
static uint8_t *small_run(struct script *s, uint32_t *bytes)
{
    static const struct entry entries[] = {
        {.kind = DROP, .key = 1ull << 60 | 5 << 9},
        {.kind = BASE, .key = 1ull << 60 | 6 << 9, .value = 0x12345678, .clear_own = true},
        {.kind = SLOT, .key = 1ull << 60 | 6 << 9 | 3, .value = 0xfedcba9876543210},
        {.kind = SLOT, .key = 1ull << 60 | 6 << 9 | 4, .value = 1},
        {.kind = SLOT, .key = 2ull << 60 | 511, .value = 0},
        {.kind = BLOB, .key = 3, .value = 99, .bytes = 5, .fill = 0x77},
    };
    s->count = sizeof entries / sizeof entries[0];
    s->entries = malloc(sizeof entries);
    memcpy(s->entries, entries, sizeof entries);
    for (size_t i = 0; i < s->count; i++)
        write_entry(&s->run, &entries[i]);
    run_end(&s->run);
    memory_flash_flush(&s->flash);
    assert_int_equal(visit_all(s), 1);
    *bytes = place_len(s->run.first);
    s->seen = 0;
    return s->flash.bytes + place_addr(s->run.first);
}

static void every_changed_byte_is_noticed_and_nothing_visited(void **state)
{
    struct script *s = *state;
    uint32_t bytes;
    uint8_t *chunk = small_run(s, &bytes);
    const struct run_visitor visitor = checking(s);
    struct place next;
    for (uint32_t i = 0; i < bytes; i++) {
        chunk[i] ^= 1;
        assert_int_equal(run_visit(chunk, bytes, SEQ, 0, &visitor, &next, NULL),
                         i == 4 ? PS_EVERSION : PS_EDAMAGED);
        assert_int_equal(s->seen, 0);
        chunk[i] ^= 1;
    }
    for (uint32_t n = 0; n < bytes; n++)
        assert_int_equal(run_visit(chunk, n, SEQ, 0, &visitor, &next, NULL), PS_EDAMAGED);
    assert_int_equal(s->seen, 0);
}

static void a_chunk_of_another_run_or_number_is_refused(void **state)
{
    struct script *s = *state;
    uint32_t bytes;
    uint8_t *chunk = small_run(s, &bytes);
    const struct run_visitor visitor = checking(s);
    struct place next;
    assert_int_equal(run_visit(chunk, bytes, SEQ + 1, 0, &visitor, &next, NULL), PS_EDAMAGED);
    assert_int_equal(run_visit(chunk, bytes, SEQ, 1, &visitor, &next, NULL), PS_EDAMAGED);
    assert_int_equal(s->seen, 0);
}

static int refuse_blob(void *user, uint8_t type, uint64_t id, const uint8_t *data, size_t bytes,
                       struct ps_error *err)
{
    (void)see_blob(user, type, id, data, bytes, err);
    return PS_ELIMIT;
}

static void the_owner_of_a_blob_can_refuse_it(void **state)
{
    struct script *s = *state;
    uint32_t bytes;
    const uint8_t *chunk = small_run(s, &bytes);
    struct run_visitor visitor = checking(s);
    struct place next = {1};
    visitor.blob = refuse_blob;
    assert_int_equal(run_visit(chunk, bytes, SEQ, 0, &visitor, &next, NULL), PS_ELIMIT);
    assert_int_equal(next.v, 1);
}

static void no_base(void *user, struct meta_key page, struct place base, bool clear_own)
{
    (void)user, (void)base, (void)clear_own;
    assert_int_equal(meta_slot_of(page), 0);
}
static void no_slot(void *user, struct meta_key key, uint64_t value)
{
    (void)user, (void)key, (void)value;
}
static void no_drop(void *user, struct meta_key page)
{
    (void)user;
    assert_int_equal(meta_slot_of(page), 0);
}
static int no_blob(void *user, uint8_t type, uint64_t id, const uint8_t *data, size_t bytes,
                   struct ps_error *err)
{
    (void)user, (void)type, (void)id, (void)data, (void)bytes, (void)err;
    return 0;
}

static int visit_bytes(const uint8_t *entries, uint32_t n)
{
    static const struct run_visitor visitor = {no_base, no_slot, no_drop, no_blob, NULL};
    uint8_t chunk[256] = {0};
    struct place next;
    put_le32(chunk, 0x4e525350);
    chunk[4] = 1;
    put_le32(chunk + 8, n);
    put_le64(chunk + 16, SEQ);
    memcpy(chunk + HEADER, entries, n);
    put_le64(chunk + CHECKSUM_AT, checksum_record(chunk, sizeof chunk, CHECKSUM_AT));
    return run_visit(chunk, sizeof chunk, SEQ, 0, &visitor, &next, NULL);
}

/* What no writer writes, behind a right checksum. */
static void malformed_entries_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[16];
        uint32_t n;
        int rc;
    } cases[] = {
        {{0}, 1, PS_EDAMAGED},                /* no type 0 */
        {{6}, 1, PS_EDAMAGED},                /* nor 6 */
        {{1, 0x80, 0x08, 5}, 4, PS_EDAMAGED}, /* BASE without its flag */
        {{1, 0x80, 0x08, 5, 1}, 5, 0},
        {{1, 0x81, 0x08, 5, 1}, 5, PS_EDAMAGED}, /* a page's key has no slot */
        {{2, 0x80, 0x08, 3, 7}, 5, 0},
        {{2, 0x80, 0x08, 0x80, 0x04, 7}, 6, PS_EDAMAGED}, /* slot 512 */
        {{2, 0x82, 0x08, 3, 7}, 5, PS_EDAMAGED},          /* slot in the page's key */
        {{2, 0, 3, 7}, 4, PS_EDAMAGED},                   /* page 0 */
        {{3, 3, 7}, 3, PS_EDAMAGED},                      /* MORE of no page */
        {{4, 0x80, 0x08}, 3, 0},
        {{4, 0x81, 0x08}, 3, PS_EDAMAGED}, /* DROP of a slot */
        {{4, 0x80}, 2, PS_EDAMAGED},       /* cut number */
        {{5, 1, 1, 3, 1, 2, 3}, 7, 0},
        {{5, 1, 1, 3, 1, 2}, 6, PS_EDAMAGED},    /* blob cut short */
        {{5, 1, 1, 0x81, 0x20}, 5, PS_EDAMAGED}, /* 4,097 bytes */
        {{5}, 1, PS_EDAMAGED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (visit_bytes(cases[i].bytes, cases[i].n) != cases[i].rc)
            fail_msg("case %zu: not %d", i, cases[i].rc);
}

static void more_entries_than_the_chunk_holds_are_refused(void **state)
{
    (void)state;
    static const struct run_visitor visitor = {no_base, no_slot, no_drop, no_blob, NULL};
    static const uint32_t counts[] = {128 - HEADER + 1, UINT32_MAX, UINT32_MAX - HEADER + 1};
    for (size_t i = 0; i < 3; i++) {
        uint8_t chunk[128] = {0};
        struct place next;
        put_le32(chunk, 0x4e525350);
        chunk[4] = 1;
        put_le32(chunk + 8, counts[i]);
        put_le64(chunk + 16, SEQ);
        put_le64(chunk + CHECKSUM_AT, checksum_record(chunk, sizeof chunk, CHECKSUM_AT));
        assert_int_equal(run_visit(chunk, sizeof chunk, SEQ, 0, &visitor, &next, NULL), PS_EDAMAGED);
    }
}

/* As first written: must not change unseen. */
static void a_chunk_is_written_as_first_written(void **state)
{
    static const uint8_t golden[] = {
#include "golden_run.h"
    };
    struct script *s = *state;
    uint32_t bytes;
    const uint8_t *chunk = small_run(s, &bytes);
    assert_int_equal(bytes, sizeof golden);
    assert_memory_equal(chunk, golden, sizeof golden);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(any_entries_come_back_in_order_over_many_chunks),
        TEST(slots_of_one_page_stay_its_own_across_chunks),
        TEST(a_run_without_entries_is_one_chunk),
        TEST(every_changed_byte_is_noticed_and_nothing_visited),
        TEST(a_chunk_of_another_run_or_number_is_refused),
        TEST(the_owner_of_a_blob_can_refuse_it),
        TEST(chunks_name_the_second_copies_of_those_behind_them),
        cmocka_unit_test(malformed_entries_are_refused),
        cmocka_unit_test(more_entries_than_the_chunk_holds_are_refused),
        TEST(a_chunk_is_written_as_first_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
