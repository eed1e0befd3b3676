/* Scrubbing: all that lives is verified, at the rate that was set while hosts are served. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/blkdev_fault.h"
#include "node/pod/collect.h"
#include "node/pod/pod_impl.h"
#include "tests/support/pod_rig.h"

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    CHUNK = 128 * KIB,
    CHUNKS = 80,
    MS = 1000000,
};

static struct rig rig;
static unsigned lost, directories, ended, repaired;

static void on_event(void *user, const char *kind, uint64_t image_id, const char *text)
{
    (void)user;
    (void)image_id;
    (void)text;
    lost += strcmp(kind, "pod.data_loss") == 0;
    directories += strcmp(kind, "scrub.damage") == 0;
    ended += strcmp(kind, "scrub.ended") == 0;
    repaired += strcmp(kind, "pod.repaired") == 0;
}

static void write_piece(uint64_t piece, uint64_t seed)
{
    static uint8_t data[CHUNK];
    struct prng p;
    prng_seed(&p, seed);
    prng_fill(&p, data, sizeof data);
    assert_int_equal(rig_write(&rig, "v", piece * CHUNK, data, sizeof data), 0);
}

static int setup(void **state)
{
    (void)state;
    lost = directories = ended = repaired = 0;
    rig_create(&rig, 128 * MIB, 3);
    rig.dev = blkdev_fault_create(rig.mem);
    assert_non_null(rig.dev);
    rig.config.event = on_event;
    rig.config.scrub_interval_ns = UINT64_MAX;
    assert_int_equal(rig_open(&rig), 0);
    assert_int_equal(rig_create_volume(&rig, "v", 64 * MIB), 0);
    for (uint64_t i = 0; i < CHUNKS; i++)
        write_piece(i, i);
    checkpoint_want(rig.pod);
    rig_settle(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_crash(&rig, BLKDEV_MEM_KEEP);
    rig_destroy(&rig);
    return 0;
}

static struct pod_scrub_info look(void)
{
    struct pod_scrub_info info;
    pod_scrub_look(rig.pod, &info);
    return info;
}

static struct pod_scrub_info scrub(void)
{
    const uint64_t passes = look().passes;
    pod_scrub(rig.pod);
    for (int i = 0; look().passes == passes; i++) {
        rig.now_ns += MS;
        (void)rig_step(&rig);
        assert_true(i < 100000);
    }
    return look();
}

/* Of the n-th block written: ids begin at 1. */
static uint64_t addr_of(uint64_t group)
{
    uint64_t value = 0;
    assert_true(meta_get(rig.pod->meta, l2p_key(group), &value));
    return place_addr(l2p_place(value));
}

static void flip(uint64_t addr)
{
    uint8_t byte;
    blkdev_mem_peek(rig.mem, addr, &byte, 1, false);
    byte ^= 1;
    blkdev_mem_poke(rig.mem, addr, &byte, 1);
}

static bool lies_in_an_ended_segment(uint64_t addr)
{
    return !segments_open(rig.pod->segments, (uint32_t)(addr / rig.pod->segment_bytes));
}

static void a_sound_pool_has_nothing_to_tell(void **state)
{
    (void)state;
    const struct pod_scrub_info info = scrub();
    assert_int_equal(info.damaged, 0);
    assert_true(info.read_bytes >= 6 * MIB && info.read_bytes <= 2 * CHUNKS * CHUNK);
    assert_true(lost == 0 && directories == 0 && ended == 1);
    assert_false(look().running);
}

/* Until the walk has asked for what follows its segment. */
static void scrub_until_ahead(void)
{
    const struct walk *w = NULL;
    pod_scrub(rig.pod);
    for (int i = 0; !w || w->ahead == SEGMENT_NONE || w->ring_asked <= segment_addr(rig.pod, w->ahead); i++) {
        rig.now_ns += !w || w->victim == SEGMENT_NONE ? 30 * MS : 1;
        (void)rig_step(&rig);
        w = rig.pod->scrub.walk;
        assert_true(i < 1000);
    }
}

static void finish_pass(void)
{
    for (int i = 0; look().running; i++) {
        rig.now_ns += MS;
        (void)rig_step(&rig);
        assert_true(i < 100000);
    }
}

static void the_device_has_work_while_one_segment_follows_another(void **state)
{
    (void)state;
    unsigned changes = 0, busy = 0;
    scrub_until_ahead();
    for (uint32_t next = look().segments_done; look().running; (void)rig_step(&rig)) {
        rig.now_ns++;
        if (look().segments_done == next || rig.pod->scrub.meta)
            continue;
        next = look().segments_done;
        changes++;
        busy += rig.pod->scrub.walk->reading > 0;
    }
    assert_true(changes >= 3);
    assert_true(busy >= changes - 1); /* behind the last one there is none */
    assert_int_equal(lost + directories, 0);
}

static void a_segment_that_is_read_ahead_is_not_given_out(void **state)
{
    (void)state;
    scrub_until_ahead();
    const struct walk *w = rig.pod->scrub.walk;
    const uint32_t ahead = w->ahead, clock = segments_clock(rig.pod->segments);
    /* Hosts come, and the scrub stands still. */
    rig.pod->config.scrub_rate = 1;
    rig.pod->scrub.busy_ns = rig.now_ns;
    rig.pod->scrub.credit = -1;
    for (uint64_t i = 0; segments_clock_since(rig.pod->segments, clock) < 2 * rig.pod->segment_count; i++) {
        write_piece(i % CHUNKS, 5000 + i);
        assert_int_equal(w->ahead, ahead);
        if (segments_clock_since(rig.pod->segments, clock) > rig.pod->segment_count / 2 &&
            segments_live(rig.pod->segments, ahead) && !segments_open(rig.pod->segments, ahead))
            break; /* it has other data now */
    }
    rig.pod->config.scrub_rate = 0;
    finish_pass();
    assert_int_equal(lost + directories, 0);
}

static bool is_sound(uint64_t addr, bool anchor)
{
    uint8_t block[ANCHOR_BYTES];
    struct pool_label label;
    struct pod_anchor found;
    blkdev_mem_peek(rig.mem, addr, block, sizeof block, true);
    return anchor ? anchor_decode(block, &found, NULL) == 0 && found.number == rig.pod->anchor.number
                  : label_decode(block, &label, NULL) == 0 && label.number == rig.pod->label.number;
}

static uint64_t anchor_addr(unsigned side)
{
    const uint64_t number = rig.pod->anchor.number;
    const uint32_t segment = rig.pod->label.pods[0].anchor_segments[anchor_half(number) ^ side];
    return segment_addr(rig.pod, segment) + anchor_offset(number);
}

static void labels_and_the_anchor_are_written_anew(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 12; i++) {
        const bool anchor = i % 4 >= 2;
        const unsigned side = i % 2;
        repaired = 0;
        rig.now_ns += 2000ull * MS;
        flip((anchor ? anchor_addr(side) : segment_addr(rig.pod, side)) + 100);
        assert_int_equal(scrub().damaged, 1);
        rig_settle(&rig);
        assert_int_equal(repaired, 1);
        for (unsigned n = 0; n < 2; n++)
            assert_true(is_sound(segment_addr(rig.pod, n), false) && is_sound(anchor_addr(n), true));
        assert_int_equal(scrub().damaged, 0);
        rig_crash(&rig, BLKDEV_MEM_KEEP);
        assert_int_equal(rig_open(&rig), 0);
    }
    assert_int_equal(lost, 0);
}

static void an_opening_by_the_second_label_mends_the_first(void **state)
{
    (void)state;
    rig_crash(&rig, BLKDEV_MEM_KEEP);
    flip(100);
    assert_int_equal(rig_open(&rig), 0);
    rig_settle(&rig);
    assert_int_equal(repaired, 1);
    assert_true(is_sound(0, false) && is_sound(rig.pod->segment_bytes, false));
}

/* Nothing waits for what will not be written any more. */
static void a_pod_that_failed_mends_nothing_and_ends(void **state)
{
    (void)state;
    flip(100);
    pod_scrub(rig.pod);
    while (!rig.pod->scrub.labels) {
        rig.now_ns += MS;
        (void)rig_step(&rig);
    }
    anchor_writer_mend(rig.pod, true, 0);
    pod_fail(rig.pod, "as the test wants it");
    rig_settle(&rig);
    rig_close(&rig);
    assert_int_equal(rig_open(&rig), 0);
    rig_settle(&rig);
}

static void each_damaged_record_is_found_and_the_rest_goes_on(void **state)
{
    (void)state;
    unsigned damaged = 0;
    for (uint64_t group = 5; group < 150; group += 30) {
        assert_true(lies_in_an_ended_segment(addr_of(group)));
        flip(addr_of(group) + 1000);
        damaged++;
    }
    assert_int_equal(scrub().damaged, damaged);
    assert_int_equal(lost, damaged);
    assert_int_equal(directories, 0);
    /* It is there until hosts write it anew. */
    assert_int_equal(scrub().damaged, damaged);
    for (uint64_t i = 0; i < CHUNKS; i++)
        write_piece(i, 1000 + i);
    checkpoint_want(rig.pod);
    rig_settle(&rig);
    assert_int_equal(scrub().damaged, 0);
    rig_check(&rig);
}

static void a_damaged_directory_is_told(void **state)
{
    (void)state;
    const uint64_t addr = addr_of(40);
    assert_true(lies_in_an_ended_segment(addr));
    const uint64_t at = addr / rig.pod->segment_bytes * rig.pod->segment_bytes;
    flip(at + 200); /* of the first batch in the segment */
    (void)scrub();
    assert_int_equal(directories, 1);
}

/* A sector that is not read costs its record, not its neighbours, in whose reads it lies. */
static void what_the_device_does_not_read_is_found_record_by_record(void **state)
{
    (void)state;
    for (uint64_t group = 97; group < 105; group++) { /* two writes: first ones are read with a directory */
        const uint64_t sector = (addr_of(group) + 16 * KIB) / BLKDEV_ALIGN * BLKDEV_ALIGN;
        assert_true(lies_in_an_ended_segment(sector));
        const struct blkdev_fault_rule rule = {
            .ops = blkdev_fault_op(BLKDEV_READ), .offset = sector, .length = BLKDEV_ALIGN};
        const unsigned number = blkdev_fault_add(rig.dev, &rule);
        lost = 0;
        assert_int_equal(scrub().damaged, 1);
        assert_true(blkdev_fault_fired(rig.dev, number) > 1);
        assert_int_equal(lost, 1);
        assert_int_equal(directories, 0);
        blkdev_fault_clear(rig.dev);
    }
}

static void a_directory_that_the_device_does_not_read_is_told(void **state)
{
    (void)state;
    const uint64_t addr = addr_of(40);
    const struct blkdev_fault_rule rule = {.ops = blkdev_fault_op(BLKDEV_READ),
                                           .offset = addr / rig.pod->segment_bytes * rig.pod->segment_bytes,
                                           .length = BLKDEV_ALIGN};
    (void)blkdev_fault_add(rig.dev, &rule);
    assert_true(lies_in_an_ended_segment(addr));
    assert_int_equal(scrub().damaged, 0);
    assert_int_equal(directories, 1);
}

static void hosts_are_served_at_the_rate_that_was_set(void **state)
{
    (void)state;
    const uint64_t begin = rig.now_ns;
    rig.pod->config.scrub_rate = MIB;
    pod_scrub(rig.pod);
    for (int i = 0; i < 200; i++) {
        rig.now_ns += 5 * MS;
        write_piece((uint64_t)i % 4, 5000 + (uint64_t)i);
    }
    const uint64_t most = (rig.now_ns - begin) * MIB / 1000000000 + 2 * MIB;
    assert_true(look().running);
    assert_true(look().read_bytes > MIB / 2 && look().read_bytes <= most);
    /* Nobody comes any more: it goes on without a pause. */
    const uint64_t from = rig.now_ns;
    for (int i = 0; !look().passes; i++) {
        rig.now_ns += MS;
        (void)rig_step(&rig);
        assert_true(i < 100000);
    }
    assert_true(rig.now_ns - from < 2000ull * MS);
}

static void a_pass_begins_by_itself_when_the_last_one_was_long_ago(void **state)
{
    (void)state;
    rig.pod->config.scrub_interval_ns = 60000ull * MS;
    const uint64_t opened = rig.pod->scrub.opened_ns;
    rig.now_ns = opened + 59000ull * MS;
    for (int i = 0; i < 50; i++)
        (void)rig_step(&rig);
    assert_false(look().running || look().passes);
    const uint64_t next = pod_turn(rig.pod, rig.now_ns);
    assert_true(next <= opened + 60000ull * MS);
    rig.now_ns = opened + 60001ull * MS;
    for (int i = 0; !look().passes; i++) {
        rig.now_ns += MS;
        (void)rig_step(&rig);
        assert_true(i < 100000);
    }
    rig.now_ns += 59000ull * MS;
    for (int i = 0; i < 50; i++)
        (void)rig_step(&rig);
    assert_false(look().running);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sound_pool_has_nothing_to_tell),
        TEST(the_device_has_work_while_one_segment_follows_another),
        TEST(a_segment_that_is_read_ahead_is_not_given_out),
        TEST(labels_and_the_anchor_are_written_anew),
        TEST(an_opening_by_the_second_label_mends_the_first),
        TEST(a_pod_that_failed_mends_nothing_and_ends),
        TEST(each_damaged_record_is_found_and_the_rest_goes_on),
        TEST(a_damaged_directory_is_told),
        TEST(what_the_device_does_not_read_is_found_record_by_record),
        TEST(a_directory_that_the_device_does_not_read_is_told),
        TEST(hosts_are_served_at_the_rate_that_was_set),
        TEST(a_pass_begins_by_itself_when_the_last_one_was_long_ago),
    };
    return cmocka_run_group_tests_name("pod_scrub", tests, NULL, NULL);
}
