/* A damaged pool that is checked offline: whatever its metadata holds, the check ends, and writes nothing.
 *
 * Each seed damages the same pool in one way: bytes anywhere in its metadata; bytes of pages and runs, or of
 * the anchor, with a checksum that fits; or slots of pages, in memory, that a checkpoint then makes durable.
 * PS_TEST_SEED says which is the first, PS_TEST_SEEDS how many. */
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
#include "node/meta/checksum.h"
#include "node/pod/check.h"
#include "node/pod/pod_impl.h"
#include "tests/support/pod_rig.h"

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    BLOCK = 4 * KIB,
    SEGMENT = 2 * MIB,
    DEVICE = 64 * MIB,
    UNITS = DEVICE / 64,
    SEEDS = 200,
    HEADER = 48, /* of pages and chunks of runs: body bytes at 8, checksum at 40 */
};

static struct rig rig;
static uint8_t pool[DEVICE], before[DEVICE], after[DEVICE];
/* Where metadata lies: 64 bytes each, and where its pages and chunks begin. */
static uint32_t units[UNITS], records[UNITS];
static size_t unit_count, record_count;
static unsigned refused, sound, damaged; /* pools */

static void checkpoint(void)
{
    checkpoint_want(rig.pod);
    rig_settle(&rig);
}

static void make_pool(void)
{
    const uint64_t far = 600 * META_SLOTS; /* an inner page more */
    assert_int_equal(rig_create_volume(&rig, "v", 2048ull * MIB), 0);
    for (unsigned i = 0; i < 20; i++)
        rig_write_noise(&rig, "v", 100ull * i, 32, i % 15);
    for (unsigned i = 0; i < 6; i++)
        rig_write_noise(&rig, "v", far + i * META_SLOTS, 8, 50 + i);
    checkpoint();
    assert_int_equal(rig_named(&rig, POD_SNAPSHOT_CREATE, "v@s", NULL, 0), 0);
    assert_int_equal(rig_named(&rig, POD_CLONE_CREATE, "v@s", "c", 0), 0);
    rig_write_noise(&rig, "v", 100, 32, 70);
    rig_write_noise(&rig, "c", far, 16, 71);
    checkpoint();
    assert_int_equal(rig_named(&rig, POD_SNAPSHOT_CREATE, "v@t", NULL, 0), 0);
    assert_int_equal(rig_named(&rig, POD_SNAPSHOT_DELETE, "v@s", NULL, 0), 0);
    assert_int_equal(rig_range(&rig, POD_TRIM, "v", 300 * BLOCK, 300 * BLOCK), 0);
    checkpoint();
    for (unsigned i = 0; i < 8; i++)
        rig_write_noise(&rig, "v", 50ull * i, 16, 90 + i); /* in the log alone */
    assert_int_equal(rig_named(&rig, POD_SNAPSHOT_CREATE, "c@u", NULL, 0), 0);
}

static void note_pool(void)
{
    static const uint8_t zero[64];
    enum segment_state states[DEVICE / SEGMENT];
    for (uint32_t i = 0; i < DEVICE / SEGMENT; i++)
        states[i] = segments_state(rig.pod->segments, i);
    rig_crash(&rig, BLKDEV_MEM_KEEP);
    blkdev_mem_peek(rig.mem, 0, pool, sizeof pool, false);
    for (uint32_t i = 0; i < UNITS; i++) {
        const uint8_t *p = &pool[64ull * i];
        const enum segment_state state = states[64ull * i / SEGMENT];
        const bool is_log = state == SEGMENT_LOG && i % 64 < 4; /* not much of its data */
        if (memcmp(p, zero, sizeof zero) == 0 ||
            !(state == SEGMENT_SYSTEM || state == SEGMENT_META || is_log))
            continue;
        units[unit_count++] = i;
        if (memcmp(p, "PSPG", 4) == 0 || memcmp(p, "PSRN", 4) == 0)
            records[record_count++] = i;
    }
    print_message("%zu pieces of metadata, %zu records\n", unit_count, record_count);
    assert_true(unit_count > 500 && record_count >= 10);
}

static int setup(void **state)
{
    (void)state;
    rig_create(&rig, DEVICE, 11);
    rig.config.survey_interval_ns = UINT64_MAX;
    rig.config.metadata_cache_bytes = MIB;
    rig.config.segment_bytes = SEGMENT;
    assert_int_equal(rig_open(&rig), 0);
    make_pool();
    note_pool();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_destroy(&rig);
    return 0;
}

/* ---- damage */

static struct {
    uint64_t at;
    size_t bytes;
} poked[8];
static size_t poked_count;

static void poke(uint64_t at, const void *data, size_t bytes)
{
    poked[poked_count].at = at;
    poked[poked_count++].bytes = bytes;
    blkdev_mem_poke(rig.mem, at, data, bytes);
}

static void flip(uint8_t *bytes, size_t size, struct prng *p)
{
    for (uint64_t n = 1 + prng_below(p, 3); n > 0; n--) {
        uint8_t *byte = &bytes[prng_below(p, size)];
        const uint64_t bits = prng_below(p, 2) ? prng_next(p) : 1ull << prng_below(p, 8);
        *byte = (uint8_t)(*byte ^ bits);
    }
}

static void flip_anywhere(struct prng *p)
{
    for (uint64_t n = 1 + prng_below(p, 4); n > 0; n--) {
        const uint64_t at = 64ull * units[prng_below(p, unit_count)];
        uint8_t bytes[64];
        memcpy(bytes, &pool[at], sizeof bytes);
        flip(bytes, sizeof bytes, p);
        poke(at, bytes, sizeof bytes);
    }
}

/* Their checksums fit. */
static void flip_in_records(struct prng *p)
{
    static uint8_t record[128 * KIB];
    for (uint64_t n = 1 + prng_below(p, 3); n > 0; n--) {
        const uint64_t at = 64ull * records[prng_below(p, record_count)];
        const size_t body = get_le32(&pool[at + 8]), bytes = (HEADER + body + 63) / 64 * 64;
        if (bytes > sizeof record || at + bytes > DEVICE)
            continue;
        memcpy(record, &pool[at], bytes);
        flip(prng_below(p, 8) ? record + HEADER : record, prng_below(p, 8) ? body : HEADER - 8, p);
        put_le64(record + 40, checksum_record(record, bytes, 40));
        poke(at, record, bytes);
    }
}

/* The highest anchor, written anew. */
static void flip_in_anchor(struct prng *p)
{
    uint8_t out[ANCHOR_BYTES];
    struct pod_anchor best = {0}, anchor;
    uint64_t best_at = 0;
    for (uint64_t at = 0; at + ANCHOR_BYTES <= (uint64_t)SYSTEM_SEGMENTS * SEGMENT; at += 4096)
        if (anchor_decode(&pool[at], &anchor, NULL) == 0 && anchor.number > best.number) {
            best = anchor;
            best_at = at;
        }
    assert_true(best.number > 0);
    memcpy(out, &pool[best_at], sizeof out);
    flip(out + 16, 240, p);
    put_le64(out + ANCHOR_BYTES - 8, checksum_record(out, ANCHOR_BYTES, ANCHOR_BYTES - 8));
    poke(best_at, out, sizeof out);
}

struct pages {
    struct meta_key keys[512];
    size_t count;
};

static void note_page(void *user, struct meta_key key)
{
    struct pages *pages = user;
    if (pages->count < sizeof pages->keys / sizeof pages->keys[0])
        pages->keys[pages->count++] = key;
}

/* What a fault of the program could have made of them. */
static void set_slots(struct prng *p)
{
    struct pages pages = {.count = 0};
    size_t at = 0;
    assert_int_equal(rig_open(&rig), 0);
    while (meta_some_pages(rig.pod->meta, &at, 64, note_page, &pages))
        ;
    for (uint64_t n = 1 + prng_below(p, 3); n > 0; n--) {
        const struct meta_key key = pages.keys[prng_below(p, pages.count)];
        const unsigned slot = (unsigned)prng_below(p, prng_below(p, 2) ? 8 : META_SLOTS);
        uint64_t value = 0;
        (void)meta_get(rig.pod->meta, (struct meta_key){key.v | slot}, &value);
        value = prng_below(p, 3) ? value ^ 1ull << prng_below(p, 64) : prng_next(p) >> prng_below(p, 60);
        meta_set(rig.pod->meta, (struct meta_key){key.v | slot}, value);
    }
    checkpoint_want(rig.pod);
    for (int i = 0; checkpoint_busy(rig.pod) && i < 10000; i++)
        (void)rig_step(&rig);
    rig_crash(&rig, BLKDEV_MEM_KEEP);
}

/* ---- the check */

static bool done;

static void on_found(void *user, const struct survey_finding *f)
{
    ++*(unsigned *)user;
    assert_true(f->text[0] && f->kind < SURVEY_KINDS);
}

static void on_done(void *user, struct pod_check_request *request)
{
    (void)user;
    assert_int_equal(request->status, 0);
    done = true;
}

static void on_open(void *user, int status, struct pod *pod)
{
    (void)user;
    (void)pod;
    rig.open_status = status;
    rig.opened = true;
}

static void check(bool with_records)
{
    unsigned found = 0;
    struct pod_check_request request = {
        .records = with_records, .found = on_found, .done = on_done, .user = &found};
    struct pod_config config = rig.config;
    config.check_only = true;
    rig.opened = done = false;
    rig.error = (struct ps_error){0};
    assert_int_equal(pod_open(rig.dev, &config, POD_OPEN_ONLY, on_open, NULL, &rig.error, &rig.pod), 0);
    for (int i = 0; !rig.opened; i++) {
        (void)rig_step(&rig);
        assert_true(i < 100000);
    }
    if (rig.open_status)
        assert_true(rig.error.detail[0]);
    else
        pod_check(rig.pod, &request);
    for (int i = 0; !rig.open_status && !done; i++) {
        (void)rig_step(&rig);
        assert_true(i < 1000000);
    }
    for (int i = 0; !pod_check_stop(rig.pod); i++) {
        (void)rig_step(&rig);
        assert_true(i < 1000);
    }
    pod_destroy(rig.pod);
    rig.pod = NULL;
    assert_true(rig.open_status || (request.totals.damage > 0) == (found > 0));
    refused += rig.open_status != 0;
    sound += !rig.open_status && request.totals.damage == 0;
    damaged += !rig.open_status && request.totals.damage > 0;
}

static void damage_and_check(uint64_t seed)
{
    static void (*const ways[])(struct prng *) = {flip_anywhere, flip_in_records, flip_in_records,
                                                  flip_in_anchor, set_slots};
    const bool compared = seed % 5 == 4 || seed % 16 == 0; /* that takes longer than the rest */
    struct blkdev_health was, is;
    struct prng p;
    prng_seed(&p, seed);
    poked_count = 0;
    ways[seed % 5](&p);
    if (compared)
        blkdev_mem_peek(rig.mem, 0, before, sizeof before, false);
    blkdev_health(rig.mem, &was);
    check(prng_below(&p, 2));
    blkdev_health(rig.mem, &is);
    assert_true(was.write_ops == is.write_ops && was.erase_ops == is.erase_ops &&
                was.flush_ops == is.flush_ops);
    if (compared) {
        blkdev_mem_peek(rig.mem, 0, after, sizeof after, false);
        assert_memory_equal(before, after, sizeof after);
    }
    for (size_t i = 0; i < poked_count; i++)
        blkdev_mem_poke(rig.mem, poked[i].at, &pool[poked[i].at], poked[i].bytes);
    for (uint64_t at = 0; compared && at < DEVICE; at += 64 * KIB)
        if (memcmp(&pool[at], &after[at], 64 * KIB) != 0)
            blkdev_mem_poke(rig.mem, at, &pool[at], 64 * KIB);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

static void a_check_of_damaged_metadata_ends_and_writes_nothing(void **state)
{
    (void)state;
    const uint64_t first = number("PS_TEST_SEED", 1), count = number("PS_TEST_SEEDS", SEEDS);
    check(true);
    assert_int_equal(sound, 1);
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (getenv("PS_TEST_VERBOSE"))
            print_message("seed %u\n", (unsigned)seed);
        damage_and_check(seed);
    }
    print_message("%u pools could not be opened, %u were found damaged, %u sound\n", refused, damaged, sound);
    assert_true(count < SEEDS || (refused > count / 50 && damaged > count / 10));
    sound = 0;
    check(true); /* it is as it was */
    assert_int_equal(sound, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_check_of_damaged_metadata_ends_and_writes_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
