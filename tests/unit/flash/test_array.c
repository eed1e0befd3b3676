/* Several devices as one: stories. Random ones are test_array_model's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/flash/array_rig.h"

enum {
    SIX = 0x3f
};

static struct array_rig *create(unsigned members, unsigned parity)
{
    static struct array_rig rig;
    rig_create(&rig, 7, members, parity);
    const int rc = rig_open(&rig, (1u << members) - 1, 0);
    if (rc)
        fail_msg("%s", rig.error.detail);
    return &rig;
}

static void write_all(struct array_rig *rig, uint32_t segment, uint32_t step, bool fua)
{
    assert_true(rig_erase(rig, segment));
    rig_drain(rig);
    while (rig->segment[segment].fill < RIG_BLOCKS) {
        assert_true(rig_append(rig, segment, step, fua));
        rig_drain(rig);
    }
}

static void what_was_written_is_read_with_any_two_of_six_devices_gone(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++)
        for (unsigned j = i + 1; j < 6; j++) {
            struct array_rig *rig = create(6, 2);
            struct array_info info;
            assert_true(rig->whole->geometry.zoned);
            for (uint32_t s = 0; s < RIG_SEGMENTS; s += 3)
                write_all(rig, s, 1 + 7 * s, s % 2);
            assert_true(rig_flush(rig));
            rig_drain(rig);
            rig_verify(rig);
            rig_break(rig, i);
            rig_break(rig, j);
            rig_verify(rig);
            array_look(rig->array, &info);
            assert_true(info.restored_reads > 0);
            assert_false(info.failed);
            rig_cut(rig, BLKDEV_MEM_LOSE);
            rig_destroy(rig);
        }
}

static void segments_are_spread_without_parity_and_devices_may_differ(void **state)
{
    (void)state;
    static struct array_rig rig;
    rig_create(&rig, 9, 3, 0);
    assert_int_equal(rig_open(&rig, 7, 0), 0);
    assert_false(rig.whole->geometry.zoned);
    assert_int_equal(rig.whole->geometry.size_bytes, 3ull * RIG_SEGMENTS * RIG_SEGMENT);
    for (uint32_t s = 0; s < RIG_SEGMENTS; s++)
        write_all(&rig, s, 100, false);
    assert_true(rig_flush(&rig));
    rig_drain(&rig);
    struct array_info info;
    array_look(rig.array, &info);
    assert_int_equal(info.parity, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct blkdev_health h;
        blkdev_health(rig.mem[i], &h);
        assert_true(h.write_bytes > RIG_SEGMENT);
    }
    rig_cut(&rig, BLKDEV_MEM_LOSE);
    assert_int_equal(rig_open(&rig, 7, 0), 0);
    rig_verify(&rig);
    /* One that no longer writes ends all writing; what others hold is still read. */
    rig_break(&rig, 1);
    assert_true(rig_erase(&rig, 1));
    rig_drain(&rig);
    array_look(rig.array, &info);
    assert_true(info.failed);
    assert_false(rig_flush(&rig));
    uint8_t block[RIG_BLOCK], want[RIG_BLOCK];
    assert_int_equal(rig_read(&rig, 0, 5, 6, block), 0);
    rig_fill(&rig, 0, rig.segment[0].life, 5, want);
    assert_memory_equal(block, want, sizeof block);
    assert_int_equal(rig_read(&rig, 4, 5, 6, block), PS_EIO);
    rig_cut(&rig, BLKDEV_MEM_LOSE);
    rig_destroy(&rig);
}

static void a_lost_device_is_noticed_told_and_done_without(void **state)
{
    (void)state;
    struct array_rig *rig = create(3, 1);
    write_all(rig, 0, 5, true);
    assert_true(rig_erase(rig, 1));
    rig_drain(rig);
    rig_break(rig, 1);
    for (unsigned i = 0; i < 20; i++) {
        assert_true(rig_append(rig, 1, 3, true));
        rig_drain(rig);
    }
    assert_string_equal(rig->last_event, "device.lost");
    assert_int_equal(rig_lost(rig), 1);
    assert_int_equal(rig->segment[1].durable[59], 1);
    rig_verify(rig);
    rig_cut(rig, BLKDEV_MEM_LOSE);
    /* It comes back with what it had: too little, and it is known. */
    blkdev_fault_clear(rig->dev[1]);
    assert_int_equal(rig_open(rig, 7, 0), 0);
    assert_string_equal(rig->last_event, "device.unused");
    assert_int_equal(rig_lost(rig), 1);
    rig_verify(rig);
    /* A second one is too many. */
    rig_break(rig, 2);
    assert_true(rig_erase(rig, 2));
    rig_drain(rig);
    assert_false(rig->segment[2].open);
    assert_string_equal(rig->last_event, "array.failed");
    rig_cut(rig, BLKDEV_MEM_LOSE);
    rig_destroy(rig);
}

/* Power goes right after the first answer that a device has no part in, and the device comes back with it. */
static void nothing_is_answered_before_all_know_who_is_lost(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct array_rig *rig = create(3, 1);
        write_all(rig, 1, 64, true);
        assert_true(rig_erase(rig, 0));
        rig_drain(rig);
        rig_break(rig, i);
        assert_true(rig_append(rig, 0, 2, true)); /* a whole row: all have a part of it */
        while (!rig->segment[0].durable[1])
            assert_true(rig_step(rig));
        rig_cut(rig, BLKDEV_MEM_LOSE);
        blkdev_fault_clear(rig->dev[i]);
        assert_int_equal(rig_open(rig, 7, 0), 0);
        assert_int_equal(rig_lost(rig), 1);
        rig_verify(rig);
        rig_close(rig);
        rig_destroy(rig);
    }
}

static void wrong_devices_are_refused_and_nothing_is_written(void **state)
{
    (void)state;
    struct array_rig *rig = create(6, 2);
    write_all(rig, 0, 50, true);
    rig_close(rig);
    uint64_t before[RIG_DEVICES];
    static uint8_t head[1 << 20];
    for (unsigned i = 0; i < RIG_DEVICES; i++) {
        struct blkdev_health h;
        blkdev_health(rig->mem[i], &h);
        before[i] = h.write_ops;
    }
    /* Three are too many to be missing, even if they are named. */
    assert_int_equal(rig_open(rig, 7, 0x38), PS_EPRECONDITION);
    assert_non_null(strstr(rig->error.detail, "parity makes up for 2"));
    /* One is, if nobody said so. */
    assert_int_equal(rig_open(rig, 0x1f, 0), PS_EPRECONDITION);
    assert_non_null(strstr(rig->error.detail, "disk5"));
    /* Something else on a device. */
    memset(head, 'x', sizeof head);
    blkdev_mem_poke(rig->mem[6], 0, head, sizeof head);
    assert_int_equal(rig_open(rig, 0x7f, 0), PS_ENOTFOUND);
    assert_non_null(strstr(rig->error.detail, "disk6"));
    /* All blank but one that cannot be opened. */
    assert_int_equal(rig_open(rig, 0x180, 0x200), PS_EPRECONDITION);
    for (unsigned i = 0; i < RIG_DEVICES; i++) {
        struct blkdev_health h;
        blkdev_health(rig->mem[i], &h);
        assert_int_equal(h.write_ops, before[i]);
    }
    /* Devices of another array. */
    rig->parity = 1;
    assert_int_equal(rig_open(rig, 0x380, 0), 0);
    rig_close(rig);
    assert_int_equal(rig_open(rig, 0x3f | 0x80, 0), PS_EPRECONDITION);
    assert_non_null(strstr(rig->error.detail, "different arrays"));
    assert_int_equal(rig_open(rig, SIX, 0), 0);
    rig_verify(rig);
    rig_close(rig);
    rig_destroy(rig);
}

/* Two members hold a row's units wrong, and nothing tells. */
static void wrong_data_is_right_in_another_way(void **state)
{
    (void)state;
    struct array_rig *rig = create(6, 2);
    static _Alignas(BLKDEV_ALIGN) uint8_t got[RIG_BLOCK];
    uint8_t want[RIG_BLOCK], noise[RIG_BLOCK];
    write_all(rig, 0, 64, true);
    memset(noise, 0x5a, sizeof noise);
    /* Blocks 4 and 5 are those of the second row on two members. */
    unsigned wrong[2];
    for (unsigned i = 0; i < 2; i++) {
        rig_fill(rig, 0, rig->segment[0].life, 4 + i, want);
        for (wrong[i] = 0;; wrong[i]++) {
            blkdev_mem_peek(rig->mem[wrong[i]], ARRAY_HEADER_BYTES + RIG_BLOCK, got, sizeof got, false);
            if (memcmp(got, want, sizeof got) == 0)
                break;
        }
    }
    for (unsigned i = 0; i < 2; i++)
        blkdev_mem_poke(rig->mem[wrong[i]], ARRAY_HEADER_BYTES + RIG_BLOCK, noise, sizeof noise);
    assert_int_equal(rig->whole->geometry.ways, 6 + 15);
    for (uint32_t block = 4; block < 6; block++) {
        rig_fill(rig, 0, rig->segment[0].life, block, want);
        unsigned right = 0;
        for (uint32_t way = 0; way <= rig->whole->geometry.ways; way++)
            right += rig_read_way(rig, 0, block, way, got) == 0 && memcmp(got, want, sizeof got) == 0;
        assert_int_equal(right, 1); /* without both, and no other */
    }
    rig_close(rig);
    rig_destroy(rig);
}

static void a_replacement_is_rebuilt_while_writing_goes_on(void **state)
{
    (void)state;
    struct array_rig *rig = create(6, 2);
    for (uint32_t s = 0; s < 5; s++)
        write_all(rig, s, 11, true);
    assert_true(rig_erase(rig, 5));
    rig_drain(rig);
    rig_break(rig, 3);
    assert_true(rig_append(rig, 5, 7, true));
    rig_drain(rig);
    assert_int_equal(rig_lost(rig), 1);
    assert_int_equal(rig_attach(rig, 2), PS_EPRECONDITION); /* in use */
    assert_int_equal(rig_attach(rig, 6), 0);
    for (unsigned i = 0; i < 400; i++) {
        rig->now_ns += 1000000000;
        (void)array_turn(rig->array, rig->now_ns);
        if (i % 10 == 0)
            (void)rig_append(rig, 5, 1, i % 20 == 0);
        (void)rig_step(rig);
    }
    rig_rebuild(rig);
    assert_int_equal(rig_lost(rig), 0);
    assert_true(rig_flush(rig));
    rig_drain(rig);
    rig_verify(rig);
    /* Now it stands for two others, whatever was not closed. */
    rig_cut(rig, BLKDEV_MEM_LOSE);
    assert_int_equal(rig_open(rig, 0x74, 3), 0); /* without 0, 1 */
    rig_verify(rig);
    rig_close(rig);
    rig_destroy(rig);
}

static void a_device_is_taken_out_while_parity_makes_up_for_it(void **state)
{
    (void)state;
    struct array_rig *rig = create(3, 1);
    write_all(rig, 0, 30, true);
    assert_int_equal(rig_detach(rig, 8), PS_ENOTFOUND);
    assert_int_equal(rig_detach(rig, 0), 0);
    rig_drain(rig);
    assert_false(array_holds(rig->array, rig->dev[0]));
    assert_int_equal(rig_detach(rig, 1), PS_EPRECONDITION);
    rig_verify(rig);
    write_all(rig, 1, 30, true);
    /* The same one again is as good as a new one. */
    assert_int_equal(rig_attach(rig, 0), 0);
    rig_rebuild(rig);
    assert_int_equal(rig_lost(rig), 0);
    assert_int_equal(rig_detach(rig, 1), 0);
    rig_verify(rig);
    rig_close(rig);
    rig_destroy(rig);
}

/* A log seals one segment after the other, each with a row begun; others are written to now and then. */
static void what_is_sealed_does_not_close_what_is_still_written_to(void **state)
{
    (void)state;
    static struct array_rig rig;
    rig_create_large(&rig, 7, 6, 2, RIG_SEGMENTS_MAX);
    assert_int_equal(rig_open(&rig, SIX, 0), 0);
    assert_true(rig_erase(&rig, 0));
    rig_drain(&rig);
    assert_true(rig_append(&rig, 0, 1, true));
    for (uint32_t s = 1; s < RIG_SEGMENTS_MAX; s++) {
        assert_true(rig_erase(&rig, s));
        rig_drain(&rig);
        assert_true(rig_append(&rig, s, 7, s % 2));
        /* What is on its way still comes before the end that is said. */
        blkdev_finish(rig.whole, (uint64_t)s * RIG_SEGMENT, 9 * RIG_BLOCK);
        assert_true(rig_append(&rig, s, 2, true));
        rig_drain(&rig);
    }
    assert_true(rig_append(&rig, 0, 1, true));
    rig_drain(&rig);
    assert_true(rig.segment[0].durable[1]);
    assert_true(rig.segment[5].durable[8]);
    rig_cut(&rig, BLKDEV_MEM_LOSE);
    assert_int_equal(rig_open(&rig, 0x3c, 3), 0);
    rig_verify(&rig);
    rig_close(&rig);
    rig_destroy(&rig);
}

/* Rows that were staged and then filled without being durable keep their slots until a flush. */
static void a_flush_finds_slots_whatever_appends_took(void **state)
{
    (void)state;
    struct array_rig *rig = create(6, 2);
    for (uint32_t s = 0; s < 3; s++)
        assert_true(rig_erase(rig, s));
    rig_drain(rig);
    assert_true(rig_append(rig, 2, 1, false));
    for (uint32_t s = 0; s < 2; s++)
        while (rig->segment[s].fill < RIG_BLOCKS) {
            assert_true(rig_append(rig, s, 1, true));
            assert_true(rig_append(rig, s, 3, false));
            rig_drain(rig);
        }
    assert_true(rig_erase(rig, 3));
    rig_drain(rig);
    for (unsigned i = 0; i < 16; i++) {
        assert_true(rig_append(rig, 3, 1, true));
        assert_true(rig_append(rig, 3, 3, false));
        rig_drain(rig);
    }
    assert_true(rig_flush(rig));
    rig_drain(rig);
    assert_true(rig->segment[2].durable[0]);
    rig_cut(rig, BLKDEV_MEM_LOSE);
    assert_int_equal(rig_open(rig, 0x3c, 3), 0);
    rig_verify(rig);
    rig_close(rig);
    rig_destroy(rig);
}

/* Two of four are replaced, and the others lost with the power before any segment is erased again. */
static void a_replacement_knows_what_is_unsettled(void **state)
{
    (void)state;
    for (uint32_t s = 0; s < 4; s++) {
        struct array_rig *rig = create(4, 2);
        assert_true(rig_erase(rig, s));
        rig_drain(rig);
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(rig_detach(rig, i), 0);
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(rig_attach(rig, 6 + i), 0);
        rig_rebuild(rig);
        assert_int_equal(rig_lost(rig), 0);
        assert_true(rig_append(rig, s, 3, true));
        rig_drain(rig);
        rig_cut(rig, BLKDEV_MEM_LOSE);
        assert_int_equal(rig_open(rig, 0xc0, 0xc), 0);
        rig_verify(rig);
        rig_close(rig);
        rig_destroy(rig);
    }
}

/* Slow as it is, half of it has been rebuilt when it is taken out and another one comes. */
static void another_replacement_is_rebuilt_from_the_start(void **state)
{
    (void)state;
    static struct array_rig rig;
    rig_create(&rig, 7, 3, 1);
    rig.rebuild_rate = 1 << 20;
    assert_int_equal(rig_open(&rig, 7, 0), 0);
    for (uint32_t s = 0; s < RIG_SEGMENTS; s++)
        write_all(&rig, s, 50, true);
    assert_int_equal(rig_detach(&rig, 0), 0);
    assert_int_equal(rig_attach(&rig, 3), 0);
    /* A step is 64 KiB, so a sixteenth of a second. */
    for (unsigned i = 0; i < 20; i++) {
        rig.now_ns += 100000000;
        (void)array_turn(rig.array, rig.now_ns);
        rig_drain(&rig);
    }
    assert_int_equal(rig_detach(&rig, 3), 0);
    assert_int_equal(rig_attach(&rig, 4), 0);
    rig_rebuild(&rig);
    while (rig_lost(&rig)) {
        rig.now_ns += 100000000;
        (void)array_turn(rig.array, rig.now_ns);
        rig_drain(&rig);
    }
    assert_int_equal(rig_detach(&rig, 1), 0);
    rig_verify(&rig);
    rig_close(&rig);
    rig_destroy(&rig);
}

/* Nothing is stuck behind a rebuild that came to its end with its device. */
static void writing_goes_on_when_the_replacement_is_lost(void **state)
{
    (void)state;
    for (unsigned held = 0; held < 2; held++) {
        static struct array_rig rig;
        rig_create(&rig, 7, 3, 1);
        rig.rebuild_rate = 1 << 20;
        assert_int_equal(rig_open(&rig, 7, 0), 0);
        assert_true(rig_erase(&rig, 0));
        rig_drain(&rig);
        assert_true(rig_append(&rig, 0, 99, true));
        rig_drain(&rig);
        assert_int_equal(rig_detach(&rig, 0), 0);
        assert_int_equal(rig_attach(&rig, 3), 0);
        rig.now_ns += 1000000000;
        if (!held)
            assert_true(rig_append(&rig, 0, 1, true)); /* the rebuild waits for this one */
        (void)array_turn(rig.array, rig.now_ns);
        if (held)
            rig_drain(&rig); /* the first rows are copied, the next are not due */
        assert_int_equal(rig_detach(&rig, 3), 0);
        rig_drain(&rig);
        assert_true(rig_append(&rig, 0, 2, true));
        rig_drain(&rig);
        assert_true(rig.segment[0].durable[rig.segment[0].fill - 1]);
        rig_verify(&rig);
        rig_close(&rig);
        rig_destroy(&rig);
    }
}

/* One row of the first segment can't be read on one of the two that are left, another one on the other. */
static void what_can_be_read_is_rebuilt(void **state)
{
    (void)state;
    struct array_rig *rig = create(3, 1);
    static _Alignas(BLKDEV_ALIGN) uint8_t got[RIG_BLOCK];
    uint8_t want[RIG_BLOCK];
    write_all(rig, 1, 64, true);
    assert_int_equal(rig_detach(rig, 0), 0);
    for (unsigned i = 1; i < 3; i++) {
        const uint64_t part = (RIG_BLOCKS + 1) / 2 * RIG_BLOCK;
        const struct blkdev_fault_rule rule = {.ops = blkdev_fault_op(BLKDEV_READ),
                                               .action = BLKDEV_FAULT_FAIL,
                                               .offset = ARRAY_HEADER_BYTES + part + 5 * RIG_BLOCK,
                                               .length = RIG_BLOCK};
        (void)blkdev_fault_add(rig->dev[i], &rule);
    }
    assert_int_equal(rig_attach(rig, 3), 0);
    rig_rebuild(rig);
    assert_int_equal(rig_lost(rig), 0);
    for (unsigned i = 1; i < 3; i++)
        blkdev_fault_clear(rig->dev[i]);
    assert_int_equal(rig_detach(rig, 1), 0);
    for (uint32_t b = 0; b < RIG_BLOCKS; b++) {
        if (b / 2 == 5)
            continue;
        rig_fill(rig, 1, rig->segment[1].life, b, want);
        assert_int_equal(rig_read(rig, 1, b, b + 1, got), 0);
        assert_memory_equal(got, want, sizeof want);
    }
    rig_close(rig);
    rig_destroy(rig);
}

/* A flush that has nothing to do asks a member for something all the same. */
static void what_nobody_wanted_may_be_unreadable(void **state)
{
    (void)state;
    struct array_rig *rig = create(3, 1);
    const struct blkdev_fault_rule rule = {
        .ops = blkdev_fault_op(BLKDEV_READ), .action = BLKDEV_FAULT_FAIL, .length = ARRAY_HEADER_BYTES};
    for (unsigned i = 0; i < 3; i++)
        (void)blkdev_fault_add(rig->dev[i], &rule);
    assert_true(rig_flush(rig));
    rig_drain(rig);
    assert_int_equal(rig_lost(rig), 0);
    rig_close(rig);
    rig_destroy(rig);
}

/* Power went twice while an array was made: no data is on any of them. */
static void an_array_that_was_being_made_is_made_anew(void **state)
{
    (void)state;
    static struct array_rig rig;
    static uint8_t block[ARRAY_BLOCK_BYTES];
    rig_create(&rig, 7, 3, 1);
    for (unsigned i = 0; i < 2; i++) {
        struct array_label label = {.number = 1,
                                    .array = {(uint8_t)(i + 1)},
                                    .segment_bytes = RIG_SEGMENT,
                                    .unit_bytes = RIG_BLOCK,
                                    .members = 3,
                                    .parity = 1,
                                    .self = (uint8_t)i};
        for (unsigned m = 0; m < 3; m++)
            label.member[m].segments = RIG_SEGMENTS;
        array_label_encode(&label, block);
        blkdev_mem_poke(rig.mem[i], ARRAY_BLOCK_BYTES, block, sizeof block);
    }
    assert_int_equal(rig_open(&rig, 7, 0), 0);
    rig_close(&rig);
    rig_destroy(&rig);
}

/* Rows are copied while nothing is written to them: a device in memory asserts that. */
static void a_flush_does_not_let_go_of_what_a_rebuild_holds(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 60; seed++) {
        static struct array_rig rig;
        rig_create(&rig, seed, 6, 2);
        assert_int_equal(rig_open(&rig, SIX, 0), 0);
        write_all(&rig, 0, 64, false);
        assert_true(rig_erase(&rig, 1));
        rig_drain(&rig);
        assert_true(rig_append(&rig, 1, 150, false));
        rig_drain(&rig);
        assert_int_equal(rig_detach(&rig, (unsigned)prng_below(&rig.prng, 6)), 0);
        assert_int_equal(rig_attach(&rig, 7), 0);
        for (unsigned i = 0; i < 600; i++) {
            rig.now_ns += 1000000000;
            (void)array_turn(rig.array, rig.now_ns);
            if (prng_chance(&rig.prng, 1, 8))
                (void)rig_append(&rig, 1, 1, prng_chance(&rig.prng, 1, 4));
            if (prng_chance(&rig.prng, 1, 8))
                (void)rig_flush(&rig);
            (void)rig_step(&rig);
        }
        rig_rebuild(&rig);
        rig_drain(&rig);
        assert_int_equal(rig_lost(&rig), 0);
        rig_verify(&rig);
        rig_close(&rig);
        rig_destroy(&rig);
    }
}

/* A node that stops does not wait for an attach. */
static void a_close_in_the_middle_of_an_attach_ends(void **state)
{
    (void)state;
    bool ended = false;
    for (unsigned steps = 0; !ended; steps++) {
        struct array_rig *rig = create(6, 2);
        write_all(rig, 0, 11, true);
        rig_break(rig, 3);
        assert_true(rig_erase(rig, 1));
        rig_drain(rig);
        assert_int_equal(rig_lost(rig), 1);
        ended = rig_close_in_attach(rig, 6, steps);
        assert_true(steps < 1000);
        rig_destroy(rig);
    }
}

static void on_failed_end(void *user, int status)
{
    struct array_rig *rig = user;
    (void)status;
    for (unsigned i = 0; i < RIG_DEVICES; i++)
        assert_int_equal(blkdev_mem_pending(rig->mem[i]), 0);
    array_destroy(rig->array);
    rig->array = NULL;
    rig->whole = NULL;
}

/* Who is told that it is closed destroys it, and the devices: a label that says who is lost, or a flush, must
 * not be on its way then. Devices fail before the close and in it, one after the other. */
static void an_array_that_failed_closes_when_nothing_is_on_its_way(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 300; seed++) {
        static struct array_rig rig;
        const unsigned parity = 1 + seed % 2, members = parity == 1 ? 3 : 6;
        rig_create(&rig, seed, members, parity);
        assert_int_equal(rig_open(&rig, (1u << members) - 1, 0), 0);
        for (uint32_t s = 0; s < 4; s++) {
            assert_true(rig_erase(&rig, s));
            rig_drain(&rig);
            assert_true(rig_append(&rig, s, 1 + (uint32_t)prng_below(&rig.prng, 40), false));
            rig_drain(&rig);
        }
        if (prng_chance(&rig.prng, 1, 2))
            rig_break(&rig, parity + 1);
        array_close(rig.array, on_failed_end, &rig);
        for (unsigned i = 0; i <= parity && rig.array; i++) {
            rig_break(&rig, i);
            for (uint64_t n = prng_below(&rig.prng, 12); n && rig.array && rig_step(&rig); n--)
                ;
        }
        rig_drain(&rig);
        assert_null(rig.array);
        rig_destroy(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_close_in_the_middle_of_an_attach_ends),
        cmocka_unit_test(an_array_that_failed_closes_when_nothing_is_on_its_way),
        cmocka_unit_test(what_was_written_is_read_with_any_two_of_six_devices_gone),
        cmocka_unit_test(segments_are_spread_without_parity_and_devices_may_differ),
        cmocka_unit_test(a_lost_device_is_noticed_told_and_done_without),
        cmocka_unit_test(nothing_is_answered_before_all_know_who_is_lost),
        cmocka_unit_test(wrong_devices_are_refused_and_nothing_is_written),
        cmocka_unit_test(wrong_data_is_right_in_another_way),
        cmocka_unit_test(a_replacement_is_rebuilt_while_writing_goes_on),
        cmocka_unit_test(a_device_is_taken_out_while_parity_makes_up_for_it),
        cmocka_unit_test(what_is_sealed_does_not_close_what_is_still_written_to),
        cmocka_unit_test(a_flush_finds_slots_whatever_appends_took),
        cmocka_unit_test(a_replacement_knows_what_is_unsettled),
        cmocka_unit_test(another_replacement_is_rebuilt_from_the_start),
        cmocka_unit_test(writing_goes_on_when_the_replacement_is_lost),
        cmocka_unit_test(what_can_be_read_is_rebuilt),
        cmocka_unit_test(what_nobody_wanted_may_be_unreadable),
        cmocka_unit_test(an_array_that_was_being_made_is_made_anew),
        cmocka_unit_test(a_flush_does_not_let_go_of_what_a_rebuild_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
