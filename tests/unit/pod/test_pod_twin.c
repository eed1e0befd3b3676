/* Metadata lies twice: whatever record of it rots, one copy is enough; without either it is as if there had
 * been one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/blkdev_fault.h"
#include "node/pod/pod_impl.h"
#include "tests/support/pod_rig.h"

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    BLOCK = POD_BLOCK_BYTES,
    PARTS = 240, /* of data, each in a leaf of its own */
    IDLE_S = 31,
    ROUNDS = 30,
};

static struct rig rig;
static unsigned repaired, lost, mended;
static char last_repair[256], last_opening[256];

static void on_event(void *user, const char *kind, uint64_t image_id, const char *text)
{
    (void)user;
    (void)image_id;
    if (strcmp(kind, "pod.repaired") == 0) {
        repaired++;
        (void)snprintf(last_repair, sizeof last_repair, "%s", text);
    }
    if (strcmp(kind, "pod.opened") == 0)
        (void)snprintf(last_opening, sizeof last_opening, "%s", text);
    lost += strcmp(kind, "pod.data_loss") == 0;
}

static uint64_t offset_of(unsigned piece)
{
    return (uint64_t)piece * 2 * MIB;
}

static void make_piece(unsigned piece, uint8_t *out)
{
    struct prng p;
    prng_seed(&p, piece + 1);
    prng_fill(&p, out, 4 * BLOCK);
}

static void checkpoint(void)
{
    checkpoint_want(rig.pod);
    rig_settle(&rig);
}

static void create(bool faulty)
{
    uint8_t data[4 * BLOCK];
    repaired = lost = 0;
    rig_create(&rig, 128 * MIB, 9);
    if (faulty)
        rig.dev = blkdev_fault_create(rig.mem);
    rig.config.event = on_event;
    rig.config.metadata_cache_bytes = MIB;
    rig.config.survey_interval_ns = rig.config.scrub_interval_ns = UINT64_MAX;
    assert_int_equal(rig_open(&rig), 0);
    assert_int_equal(rig_create_volume(&rig, "v", offset_of(PARTS)), 0);
    for (unsigned i = 0; i < PARTS; i++) {
        make_piece(i, data);
        assert_int_equal(rig_write(&rig, "v", offset_of(i), data, sizeof data), 0);
    }
}

/* With records of pages, not their changes alone: of so many leaves. */
static void begin_with(unsigned leaves, bool faulty)
{
    create(faulty);
    uint8_t data[4 * BLOCK];
    for (unsigned i = 0; i < leaves * 40; i++) {
        make_piece(0, data);
        data[0] = (uint8_t)(i + 1);
        assert_int_equal(
            rig_write(&rig, "v", offset_of(i / 40) + (1 + i % 40) * sizeof data, data, sizeof data), 0);
    }
    checkpoint();
}

static void begin(bool faulty)
{
    begin_with(6, faulty);
}

static void end(void)
{
    rig_close(&rig);
    rig_destroy(&rig);
}

struct record {
    struct meta_key page; /* 0: a chunk */
    struct place place;
    uint64_t addr[2];
};
struct records {
    struct record r[1024];
    size_t count;
};

static void add(struct records *all, struct meta_key page, struct place place)
{
    const uint32_t segment = place_segment(rig.pod, place), twin = segments_twin(rig.pod->segments, segment);
    const uint64_t in = place_addr(place) % rig.pod->segment_bytes;
    assert_true(twin && twin != segment);
    all->r[all->count++] =
        (struct record){page, place, {segment_addr(rig.pod, segment) + in, segment_addr(rig.pod, twin) + in}};
}

static void add_page(void *user, struct meta_key page)
{
    const struct place place = meta_base(rig.pod->meta, page);
    if (!place_is_none(place))
        add(user, page, place);
}

/* All that the last checkpoint refers to. */
static void list(struct records *all)
{
    all->count = 0;
    for (enum meta_kind kind = META_MAP; kind <= META_REF; kind++)
        meta_each_page(rig.pod->meta, kind, add_page, all);
    for (size_t i = 0; i < rig.pod->run_count; i++)
        for (size_t c = 0; c < rig.pod->runs[i].count; c++)
            add(all, (struct meta_key){0}, rig.pod->runs[i].chunks[c]);
}

static void flip(uint64_t addr, const struct record *r)
{
    uint8_t byte;
    const uint64_t at = addr + place_len(r->place) / 2;
    blkdev_mem_peek(rig.mem, at, &byte, 1, false);
    byte ^= 0x20;
    blkdev_mem_poke(rig.mem, at, &byte, 1);
}

static bool same(const struct record *r)
{
    static uint8_t a[RUN_CHUNK_BYTES], b[RUN_CHUNK_BYTES];
    blkdev_mem_peek(rig.mem, r->addr[0], a, place_len(r->place), false);
    blkdev_mem_peek(rig.mem, r->addr[1], b, place_len(r->place), false);
    return memcmp(a, b, place_len(r->place)) == 0;
}

static unsigned read_all(void)
{
    uint8_t data[4 * BLOCK], back[4 * BLOCK];
    unsigned failed = 0;
    for (unsigned i = 0; i < PARTS; i++) {
        make_piece(i, data);
        const int rc = rig_read(&rig, "v", offset_of(i), back, sizeof back);
        failed += rc != 0;
        if (rc == 0)
            assert_memory_equal(data, back, sizeof back);
    }
    return failed;
}

static void be_idle(void)
{
    for (int i = 0; i < IDLE_S; i++) {
        rig.now_ns += 1000000000ull;
        for (int k = 0; k < 40; k++)
            (void)rig_step(&rig);
    }
    rig_settle(&rig);
}

static bool is_referred_to(const struct record *r)
{
    struct records *now = malloc(sizeof *now);
    bool found = false;
    list(now);
    for (size_t i = 0; i < now->count; i++)
        found |= now->r[i].place.v == r->place.v && now->r[i].page.v == r->page.v;
    free(now);
    return found;
}

/* Where the newest anchor lies. */
static unsigned newest_anchors(uint64_t addr[2])
{
    unsigned found = 0;
    for (unsigned half = 0; half < 2; half++)
        for (uint32_t slot = 0; slot < ANCHOR_SLOTS; slot++) {
            uint8_t block[ANCHOR_BYTES];
            struct pod_anchor anchor;
            const uint64_t at = segment_addr(rig.pod, rig.pod->label.pods[0].anchor_segments[half]) +
                                (uint64_t)slot * ANCHOR_BYTES;
            blkdev_mem_peek(rig.mem, at, block, sizeof block, false);
            if (anchor_decode(block, &anchor, NULL) == 0 && anchor.number == rig.pod->anchor.number) {
                assert_true(found < 2);
                addr[found++] = at;
            }
        }
    return found;
}

/* An opening that took the one before would replay the batches between them; later, when their segments are
 * in other use, it would not even find these. */
static void an_anchor_is_found_without_either_of_its_places(void **state)
{
    (void)state;
    uint8_t data[4 * BLOCK];
    begin(false);
    for (unsigned round = 0; round < 12; round++) {
        /* Also the first of a half, which an opening's last checkpoint is, and those around the ring's end.
         */
        for (unsigned n = 0; n < (round == 5 ? 130 : round % 3); n++) {
            make_piece(0, data);
            data[0] = (uint8_t)(round + n);
            assert_int_equal(rig_write(&rig, "v", offset_of(1) + MIB, data, sizeof data), 0);
            checkpoint();
        }
        uint64_t addr[2];
        assert_int_equal(newest_anchors(addr), 2);
        rig_crash(&rig, BLKDEV_MEM_KEEP);
        flip(addr[round % 2], &(struct record){0});
        assert_int_equal(rig_open(&rig), 0);
        assert_non_null(strstr(last_opening, ", 0 batches replayed"));
        assert_int_equal(read_all(), 0);
    }
    end();
}

static void what_is_written_lies_twice(void **state)
{
    (void)state;
    struct records *all = malloc(sizeof *all);
    struct pod_stats stats;
    begin(false);
    list(all);
    assert_true(all->count > 4);
    for (size_t i = 0; i < all->count; i++)
        assert_true(same(&all->r[i]));
    pod_stats(rig.pod, &stats);
    assert_int_equal(stats.metadata_single_bytes, 0);
    rig_check(&rig);
    free(all);
    end();
}

/* Of the records that there are by then: pages and chunks by turns. */
static struct record choose(unsigned round)
{
    struct records *all = malloc(sizeof *all);
    list(all);
    size_t pages = 0;
    while (all->r[pages].page.v)
        pages++;
    const size_t chunks = all->count - pages;
    const struct record r = round % 2 ? all->r[pages + round / 2 % chunks] : all->r[round * 7u % pages];
    free(all);
    return r;
}

/* A bit of a record flips, another one's each time; with `reopen` while the pod is away. */
static void each_record(unsigned copy, bool reopen, void (*look)(const struct record *r))
{
    unsigned pages = 0, chunks = 0;
    mended = 0;
    begin(false);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const struct record r = choose(round);
        pages += r.page.v != 0;
        chunks += r.page.v == 0;
        repaired = lost = 0;
        if (reopen)
            rig_crash(&rig, BLKDEV_MEM_KEEP);
        flip(r.addr[copy], &r);
        if (reopen)
            assert_int_equal(rig_open(&rig), 0);
        look(&r);
        rig_check(&rig);
    }
    assert_true(pages > 4 && chunks > 4 && mended > ROUNDS / 3);
    end();
}

static void is_made_good(const struct record *r)
{
    struct pod_stats stats;
    /* The checkpoint of the opening may have superseded it, unseen. */
    if (!repaired && !is_referred_to(r))
        return;
    mended++;
    assert_int_equal(read_all(), 0);
    pod_scrub(rig.pod);
    be_idle();
    assert_true(repaired > 0 && lost == 0);
    assert_non_null(strstr(last_repair, "written anew from its other copy"));
    pod_stats(rig.pod, &stats);
    assert_true(stats.repaired_metadata > 0);
    assert_false(is_referred_to(r));
}

static void a_record_whose_first_copy_rots_is_read_and_written_anew(void **state)
{
    (void)state;
    each_record(0, true, is_made_good);
}

/* Half of the pages that are in memory are read again when they are wanted. */
static void forget(void)
{
    meta_lend(rig.pod->meta, MIB);
    meta_shrink(rig.pod->meta);
    meta_lend(rig.pod->meta, 0);
}

/* More pages than can be on their way at once are read: what one of them met says nothing of the next. */
static void each_read_begins_with_the_first_copy(void **state)
{
    (void)state;
    uint64_t expected = 0;
    begin_with(PARTS, false);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const struct record r = choose(2 * round);
        assert_true(r.page.v != 0);
        flip(r.addr[0], &r);
        forget();
        assert_int_equal(read_all(), 0);
        be_idle();
        const bool unread = is_referred_to(&r);
        expected += !unread;
        assert_int_equal(rig.pod->stats.repaired_metadata, expected);
        if (unread)
            flip(r.addr[0], &r);
    }
    assert_true(expected > ROUNDS / 4);
    assert_int_equal(lost, 0);
    rig_check(&rig);
    end();
}

static void a_record_whose_second_copy_rots_is_found_by_a_scrub(void **state)
{
    (void)state;
    each_record(1, false, is_made_good);
}

static void without_either_copy_it_is_told_and_not_made_up(void **state)
{
    (void)state;
    unsigned refused = 0, told = 0;
    begin(false);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const struct record r = choose(round);
        lost = 0;
        rig_crash(&rig, BLKDEV_MEM_KEEP);
        flip(r.addr[0], &r);
        flip(r.addr[1], &r);
        const int rc = rig_open(&rig);
        if (rc) {
            assert_int_equal(rc, r.page.v ? PS_EDATALOSS : PS_EDAMAGED);
            refused++;
        } else {
            const bool current = is_referred_to(&r);
            const unsigned failed = read_all();
            assert_true(!failed || (current && lost > 0));
            told += failed > 0;
        }
        rig_crash(&rig, BLKDEV_MEM_KEEP);
        flip(r.addr[0], &r);
        flip(r.addr[1], &r);
        assert_int_equal(rig_open(&rig), 0);
        assert_int_equal(read_all(), 0);
    }
    assert_true(refused > 0 && told > 0);
    end();
}

static void what_is_in_memory_needs_neither_copy(void **state)
{
    (void)state;
    struct records *all = malloc(sizeof *all);
    begin(false);
    list(all);
    const struct record chunk = all->r[all->count - 1];
    assert_int_equal(chunk.page.v, 0);
    flip(chunk.addr[0], &chunk);
    flip(chunk.addr[1], &chunk);
    pod_scrub(rig.pod);
    be_idle();
    assert_int_equal(repaired, 1);
    assert_non_null(strstr(last_repair, "written anew from what is in memory"));
    rig_crash(&rig, BLKDEV_MEM_LOSE);
    assert_int_equal(rig_open(&rig), 0);
    assert_int_equal(read_all(), 0);
    free(all);
    end();
}

static void a_deep_check_reads_the_copy_and_has_it_mended(void **state)
{
    (void)state;
    struct records *all = malloc(sizeof *all);
    struct pod_deep_info info;
    begin(false);
    list(all);
    for (size_t i = 0; i < all->count; i++)
        flip(all->r[i].addr[0], &all->r[i]);
    pod_deep(rig.pod);
    do {
        assert_true(rig_step(&rig));
        pod_deep_look(rig.pod, &info);
    } while (info.running || !info.runs);
    assert_false(info.failed);
    assert_int_equal(info.damage, 0);
    assert_true(repaired > 0);
    be_idle();
    for (size_t i = 0; i < all->count; i++)
        assert_false(is_referred_to(&all->r[i]));
    rig_check(&rig);
    free(all);
    end();
}

/* What was written when there was no room for more, as by a program that knew of no copies. */
static void what_lies_once_comes_to_lie_twice(void **state)
{
    (void)state;
    uint8_t data[BLOCK] = {1};
    struct pod_stats stats;
    create(false);
    const uint32_t reserve = rig.pod->reserve_segments;
    for (unsigned i = 0; i < 2 * META_SLOTS; i++) {
        data[1] = (uint8_t)i;
        data[2] = (uint8_t)(i >> 8);
        assert_int_equal(rig_write(&rig, "v", offset_of(3) + (uint64_t)(i % META_SLOTS) * BLOCK, data, BLOCK),
                         0);
    }
    segments_seal(rig.pod->segments, rig.pod->meta_segment, 0);
    rig.pod->meta_segment = SEGMENT_NONE;
    rig.pod->reserve_segments = 2 * rig.pod->segment_count;
    checkpoint();
    pod_stats(rig.pod, &stats);
    assert_true(stats.metadata_single_bytes > 0);
    rig.pod->reserve_segments = reserve;
    rig_check(&rig);
    rig_crash(&rig, BLKDEV_MEM_LOSE);
    assert_int_equal(rig_open(&rig), 0);
    pod_stats(rig.pod, &stats);
    rig_check(&rig);
    for (int i = 0; i < 80 && stats.metadata_single_bytes; i++) {
        data[3] = (uint8_t)i;
        assert_int_equal(rig_write(&rig, "v", offset_of(5), data, BLOCK), 0);
        checkpoint();
        pod_stats(rig.pod, &stats);
    }
    assert_int_equal(stats.metadata_single_bytes, 0);
    rig_check(&rig);
    end();
}

static void what_the_device_does_not_read_is_read_from_the_other_copy(void **state)
{
    (void)state;
    struct records *all = malloc(sizeof *all);
    begin(true);
    list(all);
    assert_true(all->count < BLKDEV_FAULT_MAX_RULES);
    for (size_t i = 0; i < all->count; i++)
        (void)blkdev_fault_add(rig.dev, &(struct blkdev_fault_rule){.ops = blkdev_fault_op(BLKDEV_READ),
                                                                    .offset = all->r[i].addr[0],
                                                                    .length = place_len(all->r[i].place),
                                                                    .action = BLKDEV_FAULT_FAIL});
    rig_close(&rig);
    assert_int_equal(rig_open(&rig), 0);
    assert_true(rig.pod->stats.repaired_metadata > 0);
    assert_int_equal(read_all(), 0);
    pod_scrub(rig.pod);
    be_idle();
    assert_int_equal(lost, 0);
    for (size_t i = 0; i < all->count; i++)
        assert_false(is_referred_to(&all->r[i]));
    rig_check(&rig);
    free(all);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_anchor_is_found_without_either_of_its_places),
        cmocka_unit_test(what_is_written_lies_twice),
        cmocka_unit_test(a_record_whose_first_copy_rots_is_read_and_written_anew),
        cmocka_unit_test(each_read_begins_with_the_first_copy),
        cmocka_unit_test(a_record_whose_second_copy_rots_is_found_by_a_scrub),
        cmocka_unit_test(without_either_copy_it_is_told_and_not_made_up),
        cmocka_unit_test(what_is_in_memory_needs_neither_copy),
        cmocka_unit_test(a_deep_check_reads_the_copy_and_has_it_mended),
        cmocka_unit_test(what_the_device_does_not_read_is_read_from_the_other_copy),
        cmocka_unit_test(what_lies_once_comes_to_lie_twice),
    };
    return cmocka_run_group_tests_name("pod_twin", tests, NULL, NULL);
}
