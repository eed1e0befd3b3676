/* Devices that are added to an array, and taken away from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "common/endian_codec.h"
#include "tests/unit/flash/array_rig.h"

enum {
    POOL_SEGMENTS = RIG_SEGMENTS + ARRAY_HEADER_BYTES / RIG_SEGMENT, /* of a device without a header */
    MIDDLE = POOL_SEGMENTS - 3,                                      /* on the first device */
    NEW = POOL_SEGMENTS + 2,                                         /* on the one behind it */
};

static struct array_rig rig;

static void must_open(uint32_t devices)
{
    if (rig_open(&rig, devices, 0))
        fail_msg("%s", rig.error.detail);
}

static void must_not_open(uint32_t devices, uint32_t gone, int status, const char *text)
{
    assert_int_equal(rig_open(&rig, devices, gone), status);
    if (!strstr(rig.error.detail, text))
        fail_msg("not said: %s; but: %s", text, rig.error.detail);
}

static void must_attach(unsigned device)
{
    if (rig_attach(&rig, device))
        fail_msg("%s", rig.error.detail);
}

static void refused(int rc, int status, const char *text)
{
    assert_int_equal(rc, status);
    if (!strstr(rig.error.detail, text))
        fail_msg("not said: %s; but: %s", text, rig.error.detail);
}

static void must_leave(unsigned device)
{
    if (array_leave(rig.array, rig.name[device], &rig.error) || rig_detach(&rig, device))
        fail_msg("%s", rig.error.detail);
}

static unsigned segments(void)
{
    return (unsigned)(rig.whole->geometry.size_bytes / RIG_SEGMENT);
}

static bool is_absent(uint32_t segment)
{
    return blkdev_absent(rig.whole, (uint64_t)segment * RIG_SEGMENT, RIG_SEGMENT);
}

static void write_segment(uint32_t segment)
{
    assert_true(rig_erase(&rig, segment));
    rig_drain(&rig);
    while (rig.segment[segment].fill < RIG_BLOCKS) {
        assert_true(rig_append(&rig, segment, 100, true));
        rig_drain(&rig);
    }
    assert_int_equal(rig.segment[segment].durable[RIG_BLOCKS - 1], 1);
}

/* Nothing of it is asked for any more. */
static void forget(uint32_t segment)
{
    rig.segment[segment] = (struct rig_segment){0};
}

/* The first device is a pool by itself, and its array in memory. */
static void adopt(uint64_t seed)
{
    rig_create(&rig, seed, 1, 0);
    rig_pool(&rig, 0, 7);
    rig.adopt = true;
    must_open(1);
    rig.adopt = false;
    assert_int_equal(segments(), POOL_SEGMENTS);
    write_segment(MIDDLE);
}

static void end(void)
{
    rig_close(&rig);
    rig_destroy(&rig);
}

static void a_pool_on_one_device_takes_a_second_one_behind_it(void **state)
{
    (void)state;
    adopt(1);
    must_attach(1);
    assert_string_equal(rig.last_event, "device.attached");
    assert_int_equal(segments(), POOL_SEGMENTS + RIG_SEGMENTS);
    assert_false(rig.whole->geometry.zoned);
    write_segment(NEW);
    rig_verify(&rig);
    struct array_info info;
    array_look(rig.array, &info);
    assert_int_equal(info.members, 2);
    assert_int_equal(info.lost, 0);
    rig_cut(&rig, BLKDEV_MEM_LOSE);
    must_open(3);
    assert_int_equal(segments(), POOL_SEGMENTS + RIG_SEGMENTS);
    rig_verify(&rig);
    rig_close(&rig);
    must_not_open(1, 0, PS_EPRECONDITION, "name them all: disk1");
    must_not_open(2, 0, PS_EPRECONDITION, "name them all: disk0");
    must_not_open(1, 2, PS_EPRECONDITION, "name them all: disk1");
    must_open(3);
    rig_verify(&rig);
    end();
}

static void an_array_takes_devices_until_it_has_sixteen(void **state)
{
    (void)state;
    rig_create_large(&rig, 3, 3, 0, 4);
    must_open(7);
    for (uint32_t s = 0; s < 12; s++)
        write_segment(s);
    must_attach(3);
    rig_resize(&rig, 4, 6);
    must_attach(4);
    assert_int_equal(segments(), 3 * 4 + 4 + 6);
    for (uint32_t s = 12; s < 22; s++)
        write_segment(s);
    rig_verify(&rig);
    rig_cut(&rig, BLKDEV_MEM_LOSE);
    must_open(0x1f);
    rig_verify(&rig);
    /* Each larger than any place that is left, and never at the end when another one comes. */
    for (unsigned i = 5; i < 16; i++) {
        const unsigned device = 5 + i % 2;
        if (i > 6)
            must_leave(device);
        rig_resize(&rig, device, i + 2);
        must_attach(device);
    }
    must_leave(5);
    rig_resize(&rig, 5, 30);
    refused(rig_attach(&rig, 5), PS_ELIMIT, "a smaller device is needed");
    rig_resize(&rig, 5, 14);
    const unsigned before = segments();
    must_attach(5);
    assert_int_equal(segments(), before);
    rig_verify(&rig);
    end();
}

static void a_power_cut_while_a_device_is_attached_leaves_it_in_or_out(void **state)
{
    (void)state;
    unsigned outcomes = 0;
    for (unsigned steps = 0, ended = 0; !ended; steps++)
        for (unsigned how = 0; how < 6; how++) {
            const bool alone = how % 2;
            adopt(100 + steps * 10 + how);
            assert_int_equal(rig_begin_attach(&rig, 1), 0);
            for (unsigned i = 0; i < steps && rig.answer == 1; i++)
                assert_true(rig_step(&rig));
            ended = rig.answer == 0;
            rig_cut(&rig, how < 2 ? BLKDEV_MEM_LOSE : -1);
            /* The first one alone, as long as it does not know of the other. */
            int rc = 0;
            if (alone) {
                rc = rig_open(&rig, 1, 0);
                if (rc == PS_ENOTFOUND || rc == PS_EPRECONDITION)
                    outcomes |= strstr(rig.error.detail, "name them all: disk1") ? 1u : 2u;
                else
                    fail_msg("%s", rig.error.detail);
                rig.adopt = !strstr(rig.error.detail, "disk1");
                must_open(rig.adopt ? 1 : 3);
                rig.adopt = false;
            } else {
                rc = rig_open(&rig, 3, 0);
                rig.adopt = rc != 0;
                outcomes |= rc ? 4u : 8u;
                if (rc)
                    must_open(1);
                rig.adopt = false;
            }
            rig_verify(&rig);
            if (segments() == POOL_SEGMENTS)
                must_attach(1);
            assert_int_equal(segments(), POOL_SEGMENTS + RIG_SEGMENTS);
            write_segment(NEW);
            rig_cut(&rig, BLKDEV_MEM_LOSE);
            must_open(3);
            rig_verify(&rig);
            end();
        }
    assert_int_equal(outcomes, 15);
}

static void a_device_that_is_taken_out_leaves_a_hole_for_another_one(void **state)
{
    (void)state;
    adopt(5);
    must_attach(1);
    write_segment(NEW);
    refused(array_leave(rig.array, "disk0", &rig.error), PS_EPRECONDITION, "holds the pool's label");
    refused(array_leave(rig.array, "disk2", &rig.error), PS_ENOTFOUND, "disk2");
    assert_int_equal(array_leave(rig.array, "disk1", &rig.error), 0);
    refused(array_leave(rig.array, "disk1", &rig.error), PS_EUNAVAILABLE, "another device");
    refused(rig_begin_attach(&rig, 2), PS_EUNAVAILABLE, "another device");
    assert_false(array_leaves(rig.array, 0, (uint64_t)POOL_SEGMENTS * RIG_SEGMENT));
    assert_true(array_leaves(rig.array, 0, (uint64_t)POOL_SEGMENTS * RIG_SEGMENT + 1));
    struct array_info info;
    array_look(rig.array, &info);
    assert_true(info.member[1].leaving && !info.member[0].leaving);
    array_stay(rig.array);
    assert_false(array_leaves(rig.array, (uint64_t)NEW * RIG_SEGMENT, RIG_SEGMENT));
    rig_verify(&rig);
    forget(NEW);
    must_leave(1);
    assert_string_equal(rig.last_event, "device.detached");
    assert_false(array_holds(rig.array, rig.dev[1]));
    array_forget(rig.array, rig.dev[1]);
    static uint8_t head[1 << 20];
    blkdev_mem_peek(rig.mem[1], 0, head, sizeof head, true);
    assert_true(head[0] == 0 && memcmp(head, head + 1, sizeof head - 1) == 0);
    array_look(rig.array, &info);
    assert_int_equal(info.members, 1);
    assert_int_equal(segments(), POOL_SEGMENTS + RIG_SEGMENTS);
    assert_true(is_absent(POOL_SEGMENTS) && !is_absent(POOL_SEGMENTS - 1));
    uint8_t block[RIG_BLOCK];
    assert_int_equal(rig_read(&rig, NEW, 0, 1, block), PS_EIO);
    assert_true(rig_flush(&rig));
    rig_drain(&rig);
    array_look(rig.array, &info);
    assert_false(info.failed);
    refused(array_leave(rig.array, "disk0", &rig.error), PS_EPRECONDITION, "only device");
    rig_verify(&rig);
    rig_cut(&rig, BLKDEV_MEM_LOSE);
    /* It is not needed, and blank. */
    must_open(1);
    assert_true(is_absent(NEW));
    rig_verify(&rig);
    rig_close(&rig);
    must_open(3);
    assert_string_equal(rig.last_event, "device.unused");
    /* A smaller one has a part of the hole, a larger one makes it larger. */
    rig_resize(&rig, 2, 5);
    must_attach(2);
    assert_int_equal(segments(), POOL_SEGMENTS + RIG_SEGMENTS);
    assert_true(!is_absent(POOL_SEGMENTS + 4) && is_absent(POOL_SEGMENTS + 5));
    write_segment(NEW);
    rig_cut(&rig, BLKDEV_MEM_LOSE);
    must_open(5);
    rig_verify(&rig);
    forget(NEW);
    must_leave(2);
    rig_resize(&rig, 3, 11);
    must_attach(3);
    assert_int_equal(segments(), POOL_SEGMENTS + 11);
    assert_false(is_absent(POOL_SEGMENTS + 10));
    write_segment(NEW + 7);
    rig_verify(&rig);
    end();
}

/* Nothing of the pool is there any more. */
static void a_flush_that_fails_where_nothing_lies_any_more_harms_nobody(void **state)
{
    (void)state;
    const struct blkdev_fault_rule fails = {.ops = blkdev_fault_op(BLKDEV_FLUSH),
                                            .action = BLKDEV_FAULT_FAIL};
    unsigned late = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct array_info info;
        adopt(2000 + seed);
        must_attach(1);
        assert_true(rig_erase(&rig, NEW));
        rig_drain(&rig);
        assert_true(rig_append(&rig, NEW, 10, false));
        rig_drain(&rig);
        forget(NEW);
        (void)blkdev_fault_add(rig.dev[1], &fails);
        assert_int_equal(array_leave(rig.array, "disk1", &rig.error), 0);
        assert_true(rig_flush(&rig));
        assert_int_equal(rig_begin_detach(&rig, 1), 0);
        rig_drain(&rig);
        array_look(rig.array, &info);
        late += rig.answer == 0;
        assert_true(rig.answer != 0 || !info.failed);
        blkdev_fault_clear(rig.dev[1]);
        rig_cut(&rig, BLKDEV_MEM_LOSE);
        rig_destroy(&rig);
    }
    assert_true(late > 0);
}

static void of_devices_in_turn_those_behind_the_fourth_may_go(void **state)
{
    (void)state;
    rig_create_large(&rig, 11, 6, 0, 4);
    must_open(0x3f);
    for (uint32_t s = 0; s < 24; s++)
        if (s % 6 != 4)
            write_segment(s);
    for (unsigned i = 0; i < 6; i++) {
        struct array_info info;
        array_look(rig.array, &info);
        const int rc = array_leave(rig.array, info.member[i].name, &rig.error);
        assert_int_equal(rc, i < 4 ? PS_EPRECONDITION : 0);
        array_stay(rig.array);
    }
    struct array_info info;
    array_look(rig.array, &info);
    const unsigned device = (unsigned)(info.member[4].name[4] - '0');
    must_leave(device);
    for (uint32_t s = 0; s < 24; s++)
        assert_int_equal(is_absent(s), s % 6 == 4);
    rig_cut(&rig, BLKDEV_MEM_LOSE);
    must_open(0x3f & ~(1u << device));
    rig_verify(&rig);
    must_attach(device);
    assert_int_equal(segments(), 24);
    assert_false(is_absent(4));
    write_segment(10);
    rig_cut(&rig, BLKDEV_MEM_LOSE);
    must_open(0x3f);
    rig_verify(&rig);
    end();
}

static void a_power_cut_while_a_device_is_taken_out_leaves_it_in_or_out(void **state)
{
    (void)state;
    unsigned outcomes = 0;
    for (unsigned steps = 0, ended = 0; !ended; steps++)
        for (unsigned how = 0; how < 4; how++) {
            adopt(1000 + steps * 10 + how);
            must_attach(1);
            assert_int_equal(array_leave(rig.array, "disk1", &rig.error), 0);
            assert_int_equal(rig_begin_detach(&rig, 1), 0);
            for (unsigned i = 0; i < steps && rig.answer == 1; i++)
                assert_true(rig_step(&rig));
            ended = rig.answer == 0;
            rig_cut(&rig, how < 2 ? BLKDEV_MEM_LOSE : -1);
            const bool needed = how % 2 && rig_open(&rig, 1, 0) != 0;
            outcomes |= how % 2 ? needed ? 1u : 2u : 0;
            if (needed)
                assert_non_null(strstr(rig.error.detail, "name them all: disk1"));
            if (needed || how % 2 == 0)
                must_open(3);
            /* It is a member, or may be attached again, blank or not. */
            outcomes |= is_absent(NEW) ? 4u : 8u;
            if (is_absent(NEW))
                must_attach(1);
            assert_false(is_absent(NEW));
            assert_int_equal(segments(), POOL_SEGMENTS + RIG_SEGMENTS);
            write_segment(NEW);
            rig_cut(&rig, BLKDEV_MEM_LOSE);
            must_open(3);
            rig_verify(&rig);
            end();
        }
    assert_int_equal(outcomes, 15);
}

/* Power went when it alone knew that it is one of them, or its label failed and is there, and it was left
 * out. What the others say later counts, whatever comes first. */
static void a_device_that_was_attached_in_part_knows_nothing_later(void **state)
{
    (void)state;
    const struct blkdev_fault_rule fails = {.ops = blkdev_fault_op(BLKDEV_WRITE),
                                            .action = BLKDEV_FAULT_ERROR};
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct array_info info;
        rig_create_large(&rig, 300 + seed, 6, 0, 4);
        must_open(0x3f);
        write_segment(0);
        if (seed % 2) {
            (void)blkdev_fault_add(rig.dev[6], &fails);
            refused(rig_attach(&rig, 6), PS_EIO, "cannot be written");
            blkdev_fault_clear(rig.dev[6]);
        } else {
            assert_int_equal(rig_begin_attach(&rig, 6), 0);
            assert_true(rig_step(&rig) && rig_step(&rig)); /* its head is read, its own label written */
            rig_cut(&rig, BLKDEV_MEM_LOSE);
            must_open(0x3f);
        }
        array_look(rig.array, &info);
        const unsigned gone = (unsigned)(info.member[5].name[4] - '0');
        must_leave(gone);
        rig_cut(&rig, BLKDEV_MEM_LOSE);
        must_open(0x7f & ~(1u << gone));
        assert_string_equal(rig.last_event, "device.unused");
        array_look(rig.array, &info);
        assert_int_equal(info.members, 5);
        rig_verify(&rig);
        end();
    }
}

static void wrong_devices_are_refused(void **state)
{
    (void)state;
    static uint8_t head[1 << 20];
    adopt(21);
    memset(head, 'x', sizeof head);
    blkdev_mem_poke(rig.mem[3], 0, head, sizeof head);
    refused(rig_attach(&rig, 3), PS_ENOTFOUND, "disk3 holds something");
    rig_pool(&rig, 4, 8);
    refused(rig_attach(&rig, 4), PS_ENOTFOUND, "disk4 holds something");
    rig_resize(&rig, 5, 3);
    refused(rig_attach(&rig, 5), PS_EINVAL, "disk5 has");
    must_attach(1);
    refused(rig_attach(&rig, 1), PS_EPRECONDITION, "is a copy of disk1");
    write_segment(NEW);
    rig_close(&rig);
    /* A pool by itself, beside the array and beside blank devices. */
    must_not_open(0x13, 0, PS_EPRECONDITION, "disk4 holds a pool that is no part of this array");
    must_not_open(0x50, 0, PS_EPRECONDITION, "name it alone");
    /* The same pool twice. */
    blkdev_mem_peek(rig.mem[0], 0, head, sizeof head, true);
    blkdev_mem_poke(rig.mem[6], 0, head, sizeof head);
    must_not_open(0x43, 0, PS_EPRECONDITION, "copies of one device");
    must_open(3);
    rig_verify(&rig);
    rig_close(&rig);
    /* A label on the first device that cannot be read is none: the pool's own one says who it is. */
    for (unsigned i = 0; i < 2; i++)
        blkdev_mem_poke(rig.mem[0], ARRAY_BARE_LABEL_AT + i * ARRAY_BLOCK_BYTES + 100, "x", 1);
    must_open(3);
    rig_verify(&rig);
    rig_close(&rig);
    must_open(3);
    end();
}

/* The pool on the first device has grown with it, after power went when another one was being attached. */
static void a_device_whose_attach_is_out_of_date_is_refused(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 8; steps++) {
        adopt(31);
        assert_int_equal(rig_begin_attach(&rig, 1), 0);
        for (unsigned i = 0; i < steps && rig.answer == 1; i++)
            assert_true(rig_step(&rig));
        rig_cut(&rig, BLKDEV_MEM_LOSE);
        uint8_t block[4096];
        static uint8_t zeroes[8192];
        blkdev_mem_peek(rig.mem[1], ARRAY_LABEL_AT, block, sizeof block, true);
        if (get_le32(block) != 0) {
            rig_resize(&rig, 0, RIG_SEGMENTS + 1);
            rig_pool(&rig, 0, 7);
            blkdev_mem_poke(rig.mem[0], ARRAY_BARE_LABEL_AT, zeroes, sizeof zeroes);
            must_not_open(3, 0, PS_EPRECONDITION, "has become larger by itself");
            rig_destroy(&rig);
            return;
        }
        rig_destroy(&rig);
    }
    fail_msg("no label was written");
}

static void a_close_waits_for_a_device_that_comes(void **state)
{
    (void)state;
    unsigned ended = 0;
    for (unsigned steps = 0; steps < 12; steps++) {
        adopt(41);
        ended += rig_close_in_attach(&rig, 1, steps);
        must_open(3);
        assert_int_equal(segments(), POOL_SEGMENTS + RIG_SEGMENTS);
        rig_verify(&rig);
        end();
    }
    assert_in_range(ended, 1, 11);
}

/* A label in which all members have their segments in turn is one that older programs read. */
static void a_plain_array_keeps_its_old_label(void **state)
{
    (void)state;
    uint8_t block[4096];
    struct array_label label;
    rig_create_large(&rig, 51, 5, 0, 4);
    must_open(0x1f);
    rig_close(&rig);
    must_open(0x1f);
    for (unsigned i = 0; i < 2; i++) {
        blkdev_mem_peek(rig.mem[0], ARRAY_LABEL_AT + i * ARRAY_BLOCK_BYTES, block, sizeof block, true);
        assert_int_equal(get_le16(block + 4), 1);
        assert_int_equal(array_label_decode(block, &label, NULL), 0);
        assert_int_equal(label.member[3].held, 4);
    }
    must_attach(5);
    blkdev_mem_peek(rig.mem[0], ARRAY_LABEL_AT + (label.number + 3) % 2 * ARRAY_BLOCK_BYTES, block,
                    sizeof block, true);
    assert_int_equal(get_le16(block + 4), 2);
    end();
}

static void with_parity_the_last_larger_device_makes_it_larger(void **state)
{
    (void)state;
    rig_create(&rig, 61, 4, 2);
    must_open(0xf);
    for (uint32_t s = 0; s < RIG_SEGMENTS; s++)
        write_segment(s);
    refused(rig_attach(&rig, 4), PS_EPRECONDITION, "keeps its 4 devices");
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(segments(), RIG_SEGMENTS);
        assert_int_equal(rig.grown, 0);
        assert_int_equal(rig_detach(&rig, i), 0);
        rig_resize(&rig, 4 + i, RIG_SEGMENTS + 3 + i);
        rig.rebuild_rate = i == 3;
        if (i == 3) {
            /* Not before it is rebuilt. */
            rig_cut(&rig, BLKDEV_MEM_LOSE);
            must_open(0x70);
            must_attach(7);
            rig_cut(&rig, BLKDEV_MEM_LOSE);
            must_open(0xf0);
            assert_int_equal(segments(), RIG_SEGMENTS);
            rig.rebuild_rate = 0;
            rig_cut(&rig, BLKDEV_MEM_LOSE);
            must_open(0xf0);
        } else {
            must_attach(4 + i);
        }
        rig_rebuild(&rig);
        assert_int_equal(rig_lost(&rig), 0);
    }
    assert_int_equal(rig.grown, 1);
    assert_string_equal(rig.last_event, "array.grown");
    assert_int_equal(segments(), RIG_SEGMENTS + 3);
    rig_verify(&rig);
    write_segment(RIG_SEGMENTS + 2);
    rig_break(&rig, 5);
    rig_break(&rig, 6);
    rig_verify(&rig);
    rig_cut(&rig, BLKDEV_MEM_LOSE);
    must_not_open(0xf, 0, PS_EPRECONDITION, "");
    assert_int_equal(rig_open(&rig, 0x90, 0x60), 0);
    assert_int_equal(segments(), RIG_SEGMENTS + 3);
    rig_verify(&rig);
    rig_cut(&rig, BLKDEV_MEM_LOSE);
    rig_destroy(&rig);
}

/* Two are being rebuilt, and the one that ends first makes the array larger. */
static void a_rebuild_goes_on_in_an_array_that_has_grown(void **state)
{
    (void)state;
    rig_create(&rig, 71, 4, 2);
    rig_resize(&rig, 0, RIG_SEGMENTS + 40);
    rig_resize(&rig, 2, RIG_SEGMENTS + 40);
    rig_resize(&rig, 3, RIG_SEGMENTS + 40);
    must_open(0xf);
    for (uint32_t s = 0; s < RIG_SEGMENTS; s++)
        write_segment(s);
    assert_int_equal(rig_detach(&rig, 3), 0);
    assert_int_equal(rig_detach(&rig, 1), 0);
    for (unsigned i = 4; i < 6; i++) {
        rig_resize(&rig, i, RIG_SEGMENTS + 30);
        must_attach(i);
    }
    rig_rebuild(&rig);
    assert_int_equal(rig.grown, 1);
    assert_int_equal(rig_lost(&rig), 0);
    assert_int_equal(segments(), RIG_SEGMENTS + 30);
    write_segment(RIG_SEGMENTS + 29);
    rig_break(&rig, 0);
    rig_break(&rig, 2);
    rig_verify(&rig);
    rig_cut(&rig, BLKDEV_MEM_LOSE);
    rig_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pool_on_one_device_takes_a_second_one_behind_it),
        cmocka_unit_test(an_array_takes_devices_until_it_has_sixteen),
        cmocka_unit_test(a_power_cut_while_a_device_is_attached_leaves_it_in_or_out),
        cmocka_unit_test(a_device_that_is_taken_out_leaves_a_hole_for_another_one),
        cmocka_unit_test(a_flush_that_fails_where_nothing_lies_any_more_harms_nobody),
        cmocka_unit_test(of_devices_in_turn_those_behind_the_fourth_may_go),
        cmocka_unit_test(a_power_cut_while_a_device_is_taken_out_leaves_it_in_or_out),
        cmocka_unit_test(a_device_that_was_attached_in_part_knows_nothing_later),
        cmocka_unit_test(wrong_devices_are_refused),
        cmocka_unit_test(a_device_whose_attach_is_out_of_date_is_refused),
        cmocka_unit_test(a_close_waits_for_a_device_that_comes),
        cmocka_unit_test(a_plain_array_keeps_its_old_label),
        cmocka_unit_test(with_parity_the_last_larger_device_makes_it_larger),
        cmocka_unit_test(a_rebuild_goes_on_in_an_array_that_has_grown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
