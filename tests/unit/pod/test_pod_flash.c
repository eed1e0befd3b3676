/* The store on simulated flash: wear, blocks that die, and what it says of its own writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node/pod/pod_impl.h"
#include "tests/support/pod_rig.h"

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    SEGMENT = 2 * MIB,
};

static uint8_t data[MIB], back[MIB];

static void fill(uint64_t number)
{
    struct prng p;
    prng_seed(&p, number);
    prng_fill(&p, data, sizeof data);
}

static struct rig *create(uint64_t bytes, const struct nand_config *flash)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig_create_on_flash(rig, bytes, 1, flash);
    assert_int_equal(rig_open(rig), 0);
    assert_int_equal(rig_create_volume(rig, "v", 4 * MIB), 0);
    return rig;
}

static void destroy(struct rig *rig)
{
    rig_destroy(rig);
    free(rig);
}

/* Writes the volume's first MiB anew, which makes what it held before garbage. */
static void overwrite(struct rig *rig, uint64_t number)
{
    fill(number);
    for (uint64_t at = 0; at < MIB; at += 128 * KIB) {
        const int rc = rig_write(rig, "v", at, data + at, 128 * KIB);
        if (rc)
            fail_msg("write %llu: %s, %s", (unsigned long long)number, ps_status_name(rc), rig->pod->failure);
    }
}

static void assert_holds(struct rig *rig, uint64_t number)
{
    fill(number);
    assert_int_equal(rig_read(rig, "v", 0, back, MIB), 0);
    assert_memory_equal(back, data, MIB);
}

static void reopen(struct rig *rig)
{
    rig_crash(rig, BLKDEV_MEM_LOSE);
    const int rc = rig_open(rig);
    if (rc)
        fail_msg("%s: %s", ps_status_name(rc), rig->error.detail);
}

static void wear(const struct rig *rig, uint32_t *lowest, uint32_t *highest)
{
    *lowest = UINT32_MAX;
    *highest = 0;
    for (uint32_t i = SYSTEM_SEGMENTS; i < rig->pod->segment_count; i++) {
        struct blkdev_wear w;
        assert_true(blkdev_wear(rig->dev, segment_addr(rig->pod, i), &w));
        *lowest = w.pe_cycles < *lowest ? w.pe_cycles : *lowest;
        *highest = w.pe_cycles > *highest ? w.pe_cycles : *highest;
        assert_int_equal(w.pe_cycles, segments_wear(rig->pod->segments, i));
    }
}

static void rewriting_one_place_wears_all_segments_evenly(void **state)
{
    (void)state;
    struct rig *rig = create(64 * MIB, NULL);
    uint32_t lowest, highest;
    for (uint64_t n = 0; n < 600; n++) {
        overwrite(rig, n);
        if (n % 100 == 99)
            reopen(rig); /* it goes on where it was, by the device's own counts */
    }
    rig_settle(rig);
    wear(rig, &lowest, &highest);
    assert_true(highest > 8);
    assert_true(highest - lowest <= 4);
    assert_holds(rig, 599);
    rig_check(rig);
    rig_close(rig);
    destroy(rig);
}

static void free_segments_are_erased_ahead_and_writes_find_them_so(void **state)
{
    (void)state;
    struct rig *rig = create(64 * MIB, NULL);
    rig_settle(rig);
    uint32_t ready = 0;
    for (uint32_t i = SYSTEM_SEGMENTS; i < rig->pod->segment_count; i++)
        ready += segments_state(rig->pod->segments, i) == SEGMENT_FREE &&
                 segments_is_erased(rig->pod->segments, i);
    assert_int_equal(ready, 6);
    rig_close(rig);
    destroy(rig);
}

/* Finds a segment that is free, and not erased yet; the next one to be. */
static uint32_t next_to_erase(const struct rig *rig)
{
    return segments_to_erase(rig->pod->segments, 100);
}

static void fail_erases(struct rig *rig, uint32_t segment)
{
    for (uint32_t lane = 0; lane < nand_drive_lanes(rig->mem); lane++)
        nand_fail_next(nand_drive_flash(rig->mem), nand_drive_block(rig->mem, segment, lane), NAND_ERASE);
}

static void an_anchor_that_a_cut_has_torn_is_not_written_over(void **state)
{
    (void)state;
    struct rig *rig = create(64 * MIB, NULL);
    struct nand_stats stats;
    for (uint64_t n = 0; n < 40; n++) {
        overwrite(rig, n);
        checkpoint_want(rig->pod);
        while (rig->pod->checkpoint.state != CHECKPOINT_ANCHORING)
            assert_true(rig_step(rig));
        reopen(rig);
        assert_holds(rig, n);
    }
    nand_stats(nand_drive_flash(rig->mem), &stats);
    assert_true(stats.torn_programs > 10);
    rig_close(rig);
    destroy(rig);
}

static void on_gone(void *user)
{
    *(bool *)user = true;
}

static void a_pool_ends_when_its_erases_have_ended(void **state)
{
    (void)state;
    struct rig *rig = create(64 * MIB, NULL);
    rig_settle(rig);
    for (uint32_t i = SYSTEM_SEGMENTS; i < rig->pod->segment_count; i++)
        segments_set_erased(rig->pod->segments, i, false);
    (void)pod_turn(rig->pod, ++rig->now_ns);
    assert_int_not_equal(rig->pod->zones.segment, SEGMENT_NONE);
    bool gone = false;
    pod_abandon(rig->pod, on_gone, &gone);
    (void)pod_turn(rig->pod, ++rig->now_ns);
    assert_false(gone);
    while (!gone)
        assert_true(rig_step(rig));
    assert_int_equal(rig_pending(rig), 0);
    destroy(rig);
}

static const struct blkdev_ops *sound;

static int refuse_erases(struct blkdev *dev, struct blkdev_req *req)
{
    return req->op == BLKDEV_ERASE ? PS_ELIMIT : sound->submit(dev, req);
}

static void on_written(struct blkdev_req *req, int status)
{
    *(int *)req->buf = status;
}

/* Never before the call has returned. */
static void writes_hear_of_an_erase_that_is_refused_in_the_next_turn(void **state)
{
    (void)state;
    static _Alignas(BLKDEV_ALIGN) int told[2][BLKDEV_ALIGN];
    struct rig *rig = create(64 * MIB, NULL);
    rig_settle(rig);
    sound = rig->dev->ops;
    struct blkdev_ops ops = *sound;
    ops.submit = refuse_erases;
    rig->dev->ops = &ops;
    const uint64_t at = segment_addr(rig->pod, next_to_erase(rig));
    struct blkdev_req req[2];
    for (uint32_t i = 0; i < 2; i++) {
        told[i][0] = 1;
        req[i] = (struct blkdev_req){
            .op = BLKDEV_WRITE, .offset = at + i * sizeof told[0], .length = sizeof told[0], .buf = told[i]};
        assert_int_equal(zones_write(rig->pod, &req[i], on_written), 0);
        assert_int_equal(told[0][0], 1);
    }
    assert_true(rig->pod->failed);
    assert_false(zones_are_quiet(rig->pod));
    (void)pod_turn(rig->pod, ++rig->now_ns);
    assert_int_equal(told[0][0], PS_ELIMIT);
    assert_int_equal(told[1][0], PS_ELIMIT);
    assert_true(zones_are_quiet(rig->pod));
    rig->dev->ops = sound;
    reopen(rig);
    rig_close(rig);
    destroy(rig);
}

static unsigned ends;

static void count_end(struct blkdev *dev, uint64_t offset, uint32_t length)
{
    ends++;
    sound->finish(dev, offset, length);
}

static void *(*lean)(struct meta_sink *sink, uint32_t bytes, struct place *place);

/* Metadata that nothing refers to, in front of a checkpoint's own: more than is erased ahead. */
static void *alloc_much(struct meta_sink *sink, uint32_t bytes, struct place *place)
{
    struct place unused;
    sink->alloc = lean;
    for (unsigned i = 0; i < 120; i++)
        memset(lean(sink, 120 * KIB, &unused), 0x5a, 120 * KIB);
    return lean(sink, bytes, place);
}

/* It is laid out before any of it is written: in segments that still hold what they held before. */
static void a_checkpoint_goes_on_from_one_segment_that_is_not_erased_yet_to_the_next(void **state)
{
    (void)state;
    struct rig *rig = create(64 * MIB, NULL);
    for (uint64_t n = 0; n < 100; n++)
        overwrite(rig, n);
    rig_settle(rig);
    sound = rig->dev->ops;
    struct blkdev_ops ops = *sound;
    ops.finish = count_end;
    rig->dev->ops = &ops;
    ends = 0;
    const uint32_t first = rig->pod->meta_segment;
    lean = rig->pod->checkpoint.sink.alloc;
    rig->pod->checkpoint.sink.alloc = alloc_much;
    overwrite(rig, 100);
    checkpoint_want(rig->pod);
    rig_settle(rig);
    assert_ptr_equal(rig->pod->checkpoint.sink.alloc, lean);
    assert_int_not_equal(rig->pod->meta_segment, first);
    assert_false(rig->pod->failed);
    assert_true(ends >= 3);
    rig->dev->ops = sound;
    reopen(rig);
    assert_holds(rig, 100);
    rig_check(rig);
    rig_close(rig);
    destroy(rig);
}

/* The segments that an opening would begin its log in. */
static void an_opening_finds_segments_that_can_be_erased(void **state)
{
    (void)state;
    struct rig *rig = create(64 * MIB, NULL);
    struct pod_stats stats;
    overwrite(rig, 1);
    rig_settle(rig);
    pod_stats(rig->pod, &stats);
    const uint64_t capacity = stats.capacity;
    uint32_t most = rig->pod->segment_count - 6;
    for (uint32_t i = SYSTEM_SEGMENTS; i < most; i++)
        if (segments_state(rig->pod->segments, i) == SEGMENT_FREE)
            fail_erases(rig, i);
    reopen(rig);
    assert_holds(rig, 1);
    pod_stats(rig->pod, &stats);
    assert_true(stats.capacity <= capacity - 10 * SEGMENT);
    rig_check(rig);
    rig_close(rig);
    destroy(rig);
}

static unsigned retired_events;

static void on_event(void *user, const char *kind, uint64_t image, const char *text)
{
    (void)user;
    (void)image;
    (void)text;
    retired_events += strcmp(kind, "segment.retired") == 0;
}

static void a_segment_that_cannot_be_erased_is_retired_and_the_pool_goes_on_without(void **state)
{
    (void)state;
    struct rig *rig = create(64 * MIB, NULL);
    struct pod_stats stats;
    retired_events = 0;
    rig->pod->config.event = on_event;
    rig_settle(rig);
    pod_stats(rig->pod, &stats);
    const uint64_t capacity = stats.capacity;
    /* Two spares a lane are given to them, then the third one takes its zone along. */
    for (int i = 0; i < 3; i++) {
        const uint32_t segment = next_to_erase(rig);
        fail_erases(rig, segment);
        for (uint64_t n = 0;
             n < 400 && rig->pod->segments && !segments_is_erased(rig->pod->segments, segment) &&
             segments_state(rig->pod->segments, segment) == SEGMENT_FREE;
             n++)
            overwrite(rig, n);
    }
    pod_stats(rig->pod, &stats);
    assert_int_equal(stats.capacity, capacity - SEGMENT);
    assert_int_equal(retired_events, 1);
    overwrite(rig, 1000);
    for (int again = 0; again < 2; again++) {
        reopen(rig);
        assert_holds(rig, 1000);
        pod_stats(rig->pod, &stats);
        assert_int_equal(stats.capacity, capacity - SEGMENT);
        rig_check(rig);
    }
    for (uint64_t n = 0; n < 100; n++)
        overwrite(rig, n);
    rig_check(rig);
    rig_close(rig);
    destroy(rig);
}

static void programs_that_fail_are_nothing_that_a_host_sees(void **state)
{
    (void)state;
    struct rig *rig = create(64 * MIB, NULL);
    struct nand_health health;
    for (uint64_t n = 0; n < 3; n++) {
        const uint32_t segment = n == 1 ? rig->pod->meta_segment : rig->pod->tail.segment;
        const uint32_t lane = (uint32_t)n; /* the next page of it is not far */
        nand_fail_next(nand_drive_flash(rig->mem), nand_drive_block(rig->mem, segment, lane), NAND_PROGRAM);
        nand_drive_health(rig->mem, &health);
        while (health.program_fails == n) {
            overwrite(rig, 2);
            checkpoint_want(rig->pod);
            rig_settle(rig);
            nand_drive_health(rig->mem, &health);
        }
    }
    assert_int_equal(health.grown_bad, 3);
    assert_holds(rig, 2);
    reopen(rig);
    assert_holds(rig, 2);
    rig_check(rig);
    rig_close(rig);
    destroy(rig);
}

/* All blocks have a short life: the pool is used until so many are retired that it is full. */
static void a_pool_wears_out_segment_by_segment_and_loses_nothing(void **state)
{
    (void)state;
    struct nand_config flash;
    struct nand_health health;
    rig_flash_config(&flash);
    flash.endurance = 16;
    flash.program_fail_ppb = 1000000;
    flash.rates.wear = 1000; /* what ends here is blocks, not what they hold */
    struct rig *rig = create(64 * MIB, &flash);
    uint64_t n = 0;
    do {
        overwrite(rig, n);
        if (n % 50 == 49) {
            reopen(rig);
            assert_holds(rig, n);
        }
        n++;
        nand_drive_health(rig->mem, &health);
    } while (health.retired_zones < 8);
    assert_true(health.erase_fails > 0 && health.program_fails > 0);
    assert_holds(rig, n - 1);
    rig_check(rig);
    /* Of 28 segments each was good for some 16 erases. */
    assert_true(n * 8 * 128 * KIB > (uint64_t)28 * 14 * SEGMENT / 2);
    rig_close(rig);
    destroy(rig);
}

static void a_pool_on_zones_that_do_not_fit_its_segments_is_refused(void **state)
{
    (void)state;
    struct nand_config flash;
    struct rig rig;
    rig_flash_config(&flash);
    flash.geometry.pages = 48; /* zones of 3 MiB */
    rig_create_on_flash(&rig, 64 * MIB, 1, &flash);
    assert_int_equal(rig_open(&rig), PS_EINVAL);
    assert_non_null(strstr(rig.error.detail, "zones of 3072 KiB"));
    rig_destroy(&rig);
}

static void device_done(struct blkdev_req *req, int status)
{
    (void)req;
    assert_int_equal(status, 0);
}

static void run_on_device(struct rig *rig, enum blkdev_op op, uint64_t offset, uint32_t length, void *buf)
{
    struct blkdev_req req = {.op = op, .offset = offset, .length = length, .buf = buf};
    assert_int_equal(blkdev_submit(rig->dev, &req, device_done), 0);
    while (rig_pending(rig))
        (void)nand_drive_step(rig->mem);
}

static void a_device_of_which_any_zone_holds_something_is_left_alone(void **state)
{
    (void)state;
    static _Alignas(BLKDEV_ALIGN) uint8_t foreign[4 * KIB], found[4 * KIB];
    struct rig rig;
    rig_create_on_flash(&rig, 64 * MIB, 1, NULL);
    const uint32_t zone = rig.dev->geometry.erase_bytes;
    /* An anchor is none where a format writes no anchor. */
    const uint64_t places[] = {2ull * SEGMENT, 7ull * zone, rig.dev->geometry.size_bytes - zone};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        memset(foreign, 0xa5, sizeof foreign);
        if (i == 0)
            anchor_encode(&(struct pod_anchor){.number = ANCHOR_SLOTS, .epoch = 1}, foreign);
        run_on_device(&rig, BLKDEV_WRITE, places[i], sizeof foreign, foreign);
        assert_int_equal(rig_open(&rig), PS_ENOTFOUND);
        assert_non_null(strstr(rig.error.detail, "reset all of its zones"));
        pod_destroy(rig.pod);
        rig.pod = NULL;
        run_on_device(&rig, BLKDEV_READ, places[i], sizeof found, found);
        assert_memory_equal(found, foreign, sizeof found);
        run_on_device(&rig, BLKDEV_ERASE, places[i] / zone * zone, zone, NULL);
    }
    assert_int_equal(rig_open(&rig), 0);
    rig_destroy(&rig);
}

static void a_format_that_is_cut_short_is_done_again(void **state)
{
    (void)state;
    uint64_t cuts = 0;
    for (bool whole = false; !whole; cuts++) {
        struct rig *rig = calloc(1, sizeof *rig);
        rig_create_on_flash(rig, 64 * MIB, cuts + 1, NULL);
        rig->cut_after = cuts + 1;
        whole = rig_open(rig) == 0;
        rig->cut_after = 0;
        reopen(rig);
        assert_int_equal(rig_create_volume(rig, "v", 4 * MIB), 0);
        destroy(rig);
    }
    assert_in_range(cuts, 8, 1000);
}

static void a_segment_may_be_several_zones(void **state)
{
    (void)state;
    struct nand_config flash;
    rig_flash_config(&flash);
    flash.geometry.pages = 8; /* zones of 512 KiB */
    struct rig *rig = create(64 * MIB, &flash);
    for (uint64_t n = 0; n < 60; n++)
        overwrite(rig, n);
    reopen(rig);
    assert_holds(rig, 59);
    rig_check(rig);
    rig_close(rig);
    destroy(rig);
}

/* Most of the pool holds what nobody writes again; a little is overwritten all the time. */
static void data_that_rests_does_not_keep_its_flash_from_wearing(void **state)
{
    (void)state;
    enum {
        COLD = 40,
        THRESHOLD = 8,
    };
    struct rig *rig = calloc(1, sizeof *rig);
    struct nand_config flash;
    struct pod_stats stats;
    rig_flash_config(&flash);
    rig_create_on_flash(rig, 128 * MIB, 1, &flash);
    rig->config.wear_threshold = THRESHOLD;
    assert_int_equal(rig_open(rig), 0);
    assert_int_equal(rig_create_volume(rig, "v", 4 * MIB), 0);
    assert_int_equal(rig_create_volume(rig, "cold", COLD * MIB), 0);
    for (uint64_t i = 0; i < COLD; i++) {
        fill(10000 + i);
        for (uint64_t at = 0; at < MIB; at += 128 * KIB)
            assert_int_equal(rig_write(rig, "cold", i * MIB + at, data + at, 128 * KIB), 0);
    }
    for (uint64_t i = 0; i < 1500; i++) {
        rig->now_ns += 500000000; /* what is moved for this alone takes its time */
        overwrite(rig, i);
    }
    rig_settle(rig);
    pod_stats(rig->pod, &stats);
    uint32_t lowest = UINT32_MAX, highest = 0;
    for (uint32_t i = SYSTEM_SEGMENTS; i < rig->pod->segment_count; i++) {
        const uint32_t wear = segments_wear(rig->pod->segments, i);
        if (segments_state(rig->pod->segments, i) == SEGMENT_META)
            continue; /* it moves by being merged, when there is more of it */
        lowest = wear < lowest ? wear : lowest;
        highest = wear > highest ? wear : highest;
    }
    print_message("worn %u to %u times, %llu segments levelled of %llu collected\n", lowest, highest,
                  (unsigned long long)stats.levelled, (unsigned long long)stats.collected);
    assert_true(highest > 3 * THRESHOLD / 2);
    assert_true(stats.levelled > 0);
    assert_true(highest - lowest <= THRESHOLD + 1);
    for (uint64_t i = 0; i < COLD; i++) {
        fill(10000 + i);
        assert_int_equal(rig_read(rig, "cold", i * MIB, back, MIB), 0);
        assert_memory_equal(back, data, MIB);
    }
    rig_check(rig);
    destroy(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rewriting_one_place_wears_all_segments_evenly),
        cmocka_unit_test(data_that_rests_does_not_keep_its_flash_from_wearing),
        cmocka_unit_test(free_segments_are_erased_ahead_and_writes_find_them_so),
        cmocka_unit_test(a_segment_that_cannot_be_erased_is_retired_and_the_pool_goes_on_without),
        cmocka_unit_test(an_anchor_that_a_cut_has_torn_is_not_written_over),
        cmocka_unit_test(a_pool_ends_when_its_erases_have_ended),
        cmocka_unit_test(writes_hear_of_an_erase_that_is_refused_in_the_next_turn),
        cmocka_unit_test(a_checkpoint_goes_on_from_one_segment_that_is_not_erased_yet_to_the_next),
        cmocka_unit_test(an_opening_finds_segments_that_can_be_erased),
        cmocka_unit_test(programs_that_fail_are_nothing_that_a_host_sees),
        cmocka_unit_test(a_pool_wears_out_segment_by_segment_and_loses_nothing),
        cmocka_unit_test(a_pool_on_zones_that_do_not_fit_its_segments_is_refused),
        cmocka_unit_test(a_segment_may_be_several_zones),
        cmocka_unit_test(a_device_of_which_any_zone_holds_something_is_left_alone),
        cmocka_unit_test(a_format_that_is_cut_short_is_done_again),
    };
    return cmocka_run_group_tests_name("pod_flash", tests, NULL, NULL);
}
