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
#include "node/meta/place.h"
#include "node/replication/batch.h"

enum {
    META_CHECKSUM_AT = 144,
    CHECKSUM_AT = 152
};

struct rig {
    uint8_t *buf;
    struct batch_header h;
    struct batch_record lines[BATCH_RECORDS_MAX];
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig->buf = malloc(BATCH_MAX_BYTES);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    free(rig->buf);
    free(rig);
    return 0;
}

/* A batch of random content; `payload_max` bounds its payload. */
static void make(struct rig *rig, uint64_t seed, unsigned records, uint32_t payload_max)
{
    struct prng prng;
    struct batch_header *h = &rig->h;
    prng_seed(&prng, seed);
    prng_fill(&prng, rig->buf, BATCH_MAX_BYTES); /* gaps hold noise before sealing */
    *h = (struct batch_header){
        .pod = prng_next(&prng),
        .epoch = prng_next(&prng),
        .run = prng_next(&prng),
        .seq = prng_next(&prng),
        .generation = prng_next(&prng),
        .previous = prng_next(&prng),
        .watermark = prng_next(&prng),
        .changes_bytes = (uint32_t)prng_below(&prng, 3000),
        .fingerprint_bytes = prng_chance(&prng, 1, 2) ? 16 : 32,
        .first_group = 1 + (prng_next(&prng) >> 16),
        .unix_ns = prng_next(&prng),
        .next_segment = (uint32_t)prng_next(&prng),
    };
    uint8_t *directory = rig->buf + BATCH_HEADER_BYTES + h->changes_bytes;
    uint32_t blocks = 0;
    for (unsigned i = 0; i < records; i++) {
        const unsigned n = 1 + (unsigned)prng_below(&prng, 8);
        const uint32_t bytes = 64 * (1 + (uint32_t)prng_below(&prng, 64 * n));
        if (h->payload_bytes + bytes > payload_max || blocks + n > BATCH_BLOCKS_MAX)
            break;
        batch_put_record(directory, i, bytes, records - 1 - i, n);
        rig->lines[i] = (struct batch_record){.bytes = bytes, .blocks = (uint8_t)n};
        rig->lines[i].group = h->first_group + (records - 1 - i);
        h->payload_bytes += bytes;
        h->records++;
        blocks += n;
    }
    h->directory_bytes = h->records * (uint32_t)BATCH_LINE_BYTES + blocks * h->fingerprint_bytes;
    const uint32_t meta = BATCH_HEADER_BYTES + h->changes_bytes + h->directory_bytes;
    const uint32_t unit = prng_chance(&prng, 1, 2) ? 64 : BATCH_ALIGN;
    h->payload_offset = (meta + unit - 1) / unit * unit;
}

static void assert_same(const struct batch_header *a, const struct batch_header *b)
{
    assert_true(a->pod == b->pod && a->epoch == b->epoch && a->run == b->run && a->seq == b->seq);
    assert_true(a->generation == b->generation && a->previous == b->previous && a->watermark == b->watermark);
    assert_true(a->total_bytes == b->total_bytes && a->changes_bytes == b->changes_bytes);
    assert_true(a->directory_bytes == b->directory_bytes && a->payload_offset == b->payload_offset);
    assert_true(a->payload_bytes == b->payload_bytes && a->records == b->records);
    assert_true(a->fingerprint_bytes == b->fingerprint_bytes && a->first_group == b->first_group);
    assert_true(a->unix_ns == b->unix_ns && a->next_segment == b->next_segment && a->checksum == b->checksum);
}

static void check_lines(const struct rig *rig, const struct batch_header *h)
{
    struct batch_record record = {0};
    const uint8_t *fingerprints =
        rig->buf + BATCH_HEADER_BYTES + h->changes_bytes + h->records * BATCH_LINE_BYTES;
    uint32_t offset = h->payload_offset;
    for (unsigned i = 0; i < h->records; i++) {
        assert_true(batch_next_record(h, rig->buf, i, &record));
        assert_int_equal(record.bytes, rig->lines[i].bytes);
        assert_int_equal(record.blocks, rig->lines[i].blocks);
        assert_int_equal(record.group, rig->lines[i].group);
        assert_int_equal(record.offset, offset);
        assert_ptr_equal(record.fingerprints, fingerprints);
        offset += record.bytes;
        fingerprints += record.blocks * h->fingerprint_bytes;
    }
}

static void what_is_sealed_is_parsed(void **state)
{
    struct rig *rig = *state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct batch_header back;
        make(rig, seed, (unsigned)(seed * 7 % 300), BATCH_PAYLOAD_MAX);
        batch_seal(&rig->h, rig->buf);
        assert_true(rig->h.total_bytes % BATCH_ALIGN == 0 && rig->h.total_bytes <= BATCH_MAX_BYTES);
        assert_int_equal(batch_parse(rig->buf, rig->h.total_bytes, &back), 0);
        assert_same(&back, &rig->h);
        check_lines(rig, &back);
        memset(&back, 0, sizeof back);
        assert_int_equal(
            batch_parse_directory(rig->buf,
                                  BATCH_HEADER_BYTES + rig->h.changes_bytes + rig->h.directory_bytes, &back),
            0);
        assert_same(&back, &rig->h);
        check_lines(rig, &back);
        /* The gaps are zero, whatever the buffer held. */
        for (uint32_t i = BATCH_HEADER_BYTES + back.changes_bytes + back.directory_bytes;
             i < back.payload_offset; i++)
            assert_int_equal(rig->buf[i], 0);
        for (uint32_t i = back.payload_offset + back.payload_bytes; i < back.total_bytes; i++)
            assert_int_equal(rig->buf[i], 0);
    }
}

static void every_changed_byte_is_noticed(void **state)
{
    struct rig *rig = *state;
    struct batch_header h;
    make(rig, 3, 4, 5000);
    batch_seal(&rig->h, rig->buf);
    const uint32_t meta = BATCH_HEADER_BYTES + rig->h.changes_bytes + rig->h.directory_bytes;
    for (uint32_t i = 0; i < rig->h.total_bytes; i++) {
        rig->buf[i] ^= 0x04;
        assert_int_not_equal(batch_parse(rig->buf, rig->h.total_bytes, &h), 0);
        const int rc = batch_parse_directory(rig->buf, rig->h.total_bytes, &h);
        if (i < meta)
            assert_int_not_equal(rc, 0);
        rig->buf[i] ^= 0x04;
    }
    assert_int_equal(batch_parse(rig->buf, rig->h.total_bytes, &h), 0);
}

static void a_torn_batch_is_noticed_wherever_it_tore(void **state)
{
    struct rig *rig = *state;
    struct batch_header h;
    uint8_t *whole = malloc(BATCH_MAX_BYTES), *old = malloc(BATCH_MAX_BYTES);
    make(rig, 6, 60, 200 * 1024);
    rig->h.generation = 7;
    batch_seal(&rig->h, rig->buf);
    memcpy(old, rig->buf, BATCH_MAX_BYTES); /* what the place held before: an earlier batch */
    make(rig, 5, 60, 200 * 1024);
    batch_seal(&rig->h, rig->buf);
    memcpy(whole, rig->buf, BATCH_MAX_BYTES);
    const uint32_t total = rig->h.total_bytes;
    assert_true(total > 20 * BATCH_ALIGN);
    for (uint32_t at = 0; at < total; at += BATCH_ALIGN) {
        for (int noise = 0; noise < 2; noise++) {
            memcpy(rig->buf, whole, total); /* this one unit did not make it */
            noise ? memcpy(rig->buf + at, old + at, BATCH_ALIGN) : memset(rig->buf + at, 0, BATCH_ALIGN);
            const int one = batch_parse(rig->buf, total, &h);
            assert_true(one == PS_EDAMAGED || (at == 0 && one == PS_ENOTFOUND));
            memcpy(rig->buf, whole, at); /* this one and all after it */
            noise ? memcpy(rig->buf + at, old + at, total - at) : memset(rig->buf + at, 0, total - at);
            const int rest = batch_parse(rig->buf, total, &h);
            /* Torn before its first unit, it is the old batch. */
            assert_true(rest == PS_EDAMAGED || (at == 0 && (noise || rest == PS_ENOTFOUND)));
        }
        assert_int_equal(batch_parse(whole, at, &h), at ? PS_EDAMAGED : PS_ENOTFOUND);
    }
    free(whole);
    free(old);
}

static uint64_t pair(uint64_t first, uint64_t second)
{
    uint8_t both[16];
    put_le64(both, first);
    put_le64(both + 8, second);
    return checksum_bytes(both, sizeof both);
}

static void seal_again(uint8_t *b, uint32_t total)
{
    const uint32_t changes = get_le32(b + 68), directory = get_le32(b + 72);
    uint8_t header[BATCH_HEADER_BYTES];
    memcpy(header, b, sizeof header);
    memset(header + 40, 0, 8);
    memset(header + 104, 0, 4);
    memset(header + META_CHECKSUM_AT, 0, 16);
    put_le64(b + CHECKSUM_AT, pair(checksum_bytes(header, sizeof header),
                                   checksum_bytes(b + BATCH_HEADER_BYTES, total - BATCH_HEADER_BYTES)));
    put_le64(b + META_CHECKSUM_AT, pair(checksum_record(b, BATCH_HEADER_BYTES, META_CHECKSUM_AT),
                                        checksum_bytes(b + BATCH_HEADER_BYTES, (size_t)changes + directory)));
}

/* Members' logs differ in generation and segments; the batch is the same. */
static void a_batch_stamped_anew_keeps_its_checksum(void **state)
{
    struct rig *rig = *state;
    struct batch_header h, directory;
    uint8_t *before = malloc(BATCH_MAX_BYTES);
    for (uint64_t seed = 1; seed <= 30; seed++) {
        make(rig, seed, (unsigned)(seed * 7 % 300), BATCH_PAYLOAD_MAX);
        batch_seal(&rig->h, rig->buf);
        memcpy(before, rig->buf, BATCH_MAX_BYTES);
        batch_restamp(rig->buf, seed * 1000, (uint32_t)seed + 5, seed + 7);
        assert_int_equal(batch_parse(rig->buf, rig->h.total_bytes, &h), 0);
        assert_int_equal(batch_parse_directory(rig->buf, rig->h.total_bytes, &directory), 0);
        assert_true(h.generation == seed * 1000 && h.next_segment == seed + 5);
        assert_int_equal(h.checksum, rig->h.checksum);
        assert_same(&h, &directory);
        /* And back: it is what it was, byte for byte. */
        batch_restamp(rig->buf, rig->h.generation, rig->h.next_segment, rig->h.floor);
        assert_memory_equal(rig->buf, before, rig->h.total_bytes);
        /* Its own fields are as well protected as the rest. */
        put_le64(rig->buf + 40, 1);
        assert_int_equal(batch_parse(rig->buf, rig->h.total_bytes, &h), PS_EDAMAGED);
    }
    free(before);
}

static void impossible_lengths_are_no_batch(void **state)
{
    struct rig *rig = *state;
    struct batch_header h;
    uint8_t good[BATCH_HEADER_BYTES];
    make(rig, 3, 4, 5000);
    rig->h.payload_offset += BATCH_ALIGN; /* a gap */
    batch_seal(&rig->h, rig->buf);
    memcpy(good, rig->buf, sizeof good);
    const struct batch_header *g = &rig->h;
    const struct {
        unsigned at, bytes;
        uint64_t value;
    } wrong[] = {
        {0, 4, 0},
        {6, 2, 0},
        {6, 2, 161},
        {64, 4, 0},
        {64, 4, g->total_bytes + 64},
        {64, 4, g->total_bytes - BATCH_ALIGN},
        {64, 4, BATCH_MAX_BYTES + BATCH_ALIGN},
        {64, 4, 0xfffff000},
        {68, 4, BATCH_CHANGES_MAX + 1},
        {68, 4, UINT32_MAX},
        {68, 4, g->payload_offset},
        {72, 4, BATCH_DIRECTORY_MAX + 1},
        {72, 4, UINT32_MAX},
        {72, 4, (uint64_t)g->records * BATCH_LINE_BYTES - 1},
        {76, 4, g->payload_offset - 32}, /* no place begins there */
        {76, 4, BATCH_MAX_BYTES + 64},
        {76, 4, UINT32_MAX - 63},
        {76, 4, 0},
        {80, 4, BATCH_MAX_BYTES + 1},
        {80, 4, UINT32_MAX},
        {80, 4, g->total_bytes - g->payload_offset + 1},
        {84, 2, BATCH_RECORDS_MAX + 1},
        {86, 1, 0},
        {86, 1, 24},
        {88, 8, 1ull << 49}, /* block ids have 52 bits */
        {88, 8, UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        memcpy(rig->buf, good, sizeof good);
        for (unsigned b = 0; b < wrong[i].bytes; b++)
            rig->buf[wrong[i].at + b] = (uint8_t)(wrong[i].value >> (8 * b));
        if (batch_peek(rig->buf, BATCH_HEADER_BYTES, &h) != PS_ENOTFOUND)
            fail_msg("case %zu is taken for a batch", i);
        assert_int_equal(batch_parse(rig->buf, BATCH_MAX_BYTES, &h), PS_ENOTFOUND);
        assert_int_equal(batch_parse_directory(rig->buf, BATCH_MAX_BYTES, &h), PS_ENOTFOUND);
    }
    memcpy(rig->buf, good, sizeof good);
    rig->buf[4] = 1;
    assert_int_equal(batch_peek(rig->buf, BATCH_HEADER_BYTES, &h), PS_EVERSION);
    memcpy(rig->buf, good, sizeof good);
    for (size_t n = 0; n < BATCH_HEADER_BYTES; n++)
        assert_int_equal(batch_peek(rig->buf, n, &h), PS_ENOTFOUND);
}

/* Behind right checksums: nobody may take what a line says for granted. */
static void inconsistent_directories_are_refused(void **state)
{
    struct rig *rig = *state;
    struct batch_header h;
    const struct {
        unsigned line, at, value, refused; /* the first line that is refused */
    } wrong[] = {
        {1, 0, 0, 1},                                /* no bytes */
        {1, 0, PLACE_MAX_BYTES / PLACE_UNIT + 1, 1}, /* longer than a place can say */
        {3, 0, 1500, 3},                             /* beyond the payload */
        {0, 0, 0xffff, 0},
        {2, 4, 0, 2}, /* no blocks */
        {2, 4, 9, 2},
        {0, 4, 8, 3}, /* more fingerprints than there are */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct batch_record record = {0};
        unsigned index = 0;
        make(rig, 3, 4, 200000);
        assert_int_equal(rig->h.records, 4);
        if (i + 1 == sizeof wrong / sizeof wrong[0]) {
            uint8_t *lines = rig->buf + BATCH_HEADER_BYTES + rig->h.changes_bytes;
            uint32_t blocks = 0;
            for (unsigned k = 0; k < 4; k++)
                blocks += lines[k * BATCH_LINE_BYTES + 4] = 4;
            rig->h.directory_bytes = 4 * BATCH_LINE_BYTES + blocks * rig->h.fingerprint_bytes;
            rig->h.payload_offset = 8192;
        }
        batch_seal(&rig->h, rig->buf);
        uint8_t *line =
            rig->buf + BATCH_HEADER_BYTES + rig->h.changes_bytes + wrong[i].line * BATCH_LINE_BYTES;
        if (wrong[i].at == 0)
            put_le16(line, (uint16_t)wrong[i].value);
        else
            line[wrong[i].at] = (uint8_t)wrong[i].value;
        seal_again(rig->buf, rig->h.total_bytes);
        assert_int_equal(batch_parse(rig->buf, rig->h.total_bytes, &h), 0);
        while (index < h.records && batch_next_record(&h, rig->buf, index, &record))
            index++;
        if (index != wrong[i].refused)
            fail_msg("case %zu: refused at line %u", i, index);
    }
}

static void a_batch_without_records_is_one(void **state)
{
    struct rig *rig = *state;
    struct batch_header h;
    make(rig, 9, 0, 0);
    batch_seal(&rig->h, rig->buf);
    assert_int_equal(rig->h.total_bytes, BATCH_ALIGN);
    assert_int_equal(batch_parse(rig->buf, BATCH_ALIGN, &h), 0);
    assert_int_equal(h.records, 0);
}

static void the_largest_batch_fits(void **state)
{
    struct rig *rig = *state;
    struct batch_header *h = &rig->h, back;
    *h = (struct batch_header){
        .changes_bytes = BATCH_CHANGES_MAX, .fingerprint_bytes = 32, .records = BATCH_RECORDS_MAX};
    h->directory_bytes = BATCH_DIRECTORY_MAX;
    h->payload_offset = BATCH_PAYLOAD_AT;
    h->payload_bytes = BATCH_PAYLOAD_MAX;
    memset(rig->buf, 1, BATCH_MAX_BYTES);
    for (unsigned i = 0; i < BATCH_RECORDS_MAX; i++)
        batch_put_record(rig->buf + BATCH_HEADER_BYTES + BATCH_CHANGES_MAX, i, 64 * 14, i, 1);
    batch_seal(h, rig->buf);
    assert_int_equal(h->total_bytes, BATCH_MAX_BYTES);
    assert_int_equal(batch_parse(rig->buf, BATCH_MAX_BYTES, &back), 0);
    struct batch_record record = {0};
    for (unsigned i = 0; i < BATCH_RECORDS_MAX; i++)
        assert_true(batch_next_record(&back, rig->buf, i, &record));
    assert_ptr_equal(batch_changes(rig->buf), rig->buf + BATCH_HEADER_BYTES);
}

/* As first written: must not change unseen. */
static void a_batch_is_written_as_first_written(void **state)
{
    static const uint8_t golden[] = {
#include "golden_batch.h"
    };
    struct rig *rig = *state;
    uint8_t *b = rig->buf;
    struct batch_header h = {
        .pod = 0x0102030405060708,
        .epoch = 2,
        .run = 3,
        .seq = 4,
        .generation = 5,
        .previous = 6,
        .watermark = 7,
        .changes_bytes = 3,
        .directory_bytes = 2 * BATCH_LINE_BYTES + 3 * 16,
        .payload_offset = 256,
        .payload_bytes = 192,
        .records = 2,
        .fingerprint_bytes = 16,
        .first_group = 0x99,
        .unix_ns = 0x1122334455667788,
        .next_segment = 0x77,
    };
    memset(b, 0xaa, 4096);
    memcpy(b + BATCH_HEADER_BYTES, "\x01\x02\x03", 3);
    uint8_t *directory = b + BATCH_HEADER_BYTES + 3;
    batch_put_record(directory, 0, 128, 1, 2);
    batch_put_record(directory, 1, 64, 0, 1);
    memset(directory + 2 * BATCH_LINE_BYTES, 0xf1, 48);
    memset(b + 256, 0xdd, 192);
    batch_seal(&h, b);
    assert_memory_equal(b, golden, sizeof golden);
    assert_int_equal(checksum_bytes(b, 4096), 0xc0d0a8d2a37dfc4eull);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_sealed_is_parsed),
        TEST(every_changed_byte_is_noticed),
        TEST(a_torn_batch_is_noticed_wherever_it_tore),
        TEST(a_batch_stamped_anew_keeps_its_checksum),
        TEST(impossible_lengths_are_no_batch),
        TEST(inconsistent_directories_are_refused),
        TEST(a_batch_without_records_is_one),
        TEST(the_largest_batch_fits),
        TEST(a_batch_is_written_as_first_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
