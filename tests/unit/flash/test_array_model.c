/* Random writing, flushing, erasing, loss of devices, replacement and power cuts against a model: what was
 * answered as durable is there, whichever devices are lost afterwards; and what was not is either way, but
 * stays what the first reader saw.
 *
 *   test_array_model [FIRST_SEED [SEEDS [ROUNDS]]] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/flash/array_rig.h"

static uint64_t first_seed = 1, seeds = 60, rounds = 8;

struct drawer {
    uint32_t in, broken; /* devices */
};

static unsigned pick(struct array_rig *rig, uint32_t mask)
{
    unsigned n = 0, which;
    for (unsigned i = 0; i < RIG_DEVICES; i++)
        n += mask >> i & 1;
    which = (unsigned)prng_below(&rig->prng, n);
    for (unsigned i = 0;; i++)
        if (mask >> i & 1 && which-- == 0)
            return i;
}

static void act(struct array_rig *rig)
{
    const uint64_t what = prng_below(&rig->prng, 100);
    const uint32_t segment =
        (uint32_t)prng_below(&rig->prng, prng_chance(&rig->prng, 1, 2) ? 2 : RIG_SEGMENTS);
    const struct rig_segment *s = &rig->segment[segment];
    if (what < 55) {
        (void)rig_step(rig);
    } else if (what < 85) {
        static const uint32_t most[] = {1, 3, 9, 40, 256};
        const uint32_t blocks = 1 + (uint32_t)prng_below(&rig->prng, most[prng_below(&rig->prng, 5)]);
        if (s->open && s->busy < 3)
            (void)rig_append(rig, segment, blocks, prng_chance(&rig->prng, segment % 3, 2));
    } else if (what < 90) {
        (void)rig_flush(rig);
    } else if (!s->open || s->fill == RIG_BLOCKS || prng_chance(&rig->prng, 1, 20)) {
        (void)rig_erase(rig, segment);
    }
    if (prng_chance(&rig->prng, 1, 10)) {
        rig->now_ns += 100000000;
        (void)array_turn(rig->array, rig->now_ns);
    }
}

static void open_all(struct array_rig *rig, struct drawer *d)
{
    const int rc = rig_open(rig, d->in, d->broken);
    if (rc)
        fail_msg("%s", rig->error.detail);
    /* One that came back and was out by then stays out. */
    for (unsigned i = 0; i < RIG_DEVICES; i++)
        if (d->in >> i & 1 && !array_holds(rig->array, rig->dev[i])) {
            d->in &= ~(1u << i);
            d->broken |= 1u << i;
        }
}

/* More devices go, as many as parity makes up for; those that go stay away. */
static void lose_some(struct array_rig *rig, struct drawer *d)
{
    while (rig_lost(rig) < rig->parity && prng_chance(&rig->prng, 2, 3)) {
        const unsigned i = pick(rig, d->in);
        struct array_info info;
        array_look(rig->array, &info);
        bool member = false;
        for (unsigned m = 0; m < info.members; m++)
            member |= strcmp(info.member[m].name, rig->name[i]) == 0 && info.member[m].state == ARRAY_IN;
        if (!member)
            continue;
        d->in &= ~(1u << i);
        d->broken |= 1u << i;
        rig_cut(rig, -1);
        open_all(rig, d);
    }
}

static void replace(struct array_rig *rig, struct drawer *d)
{
    while (rig_lost(rig)) {
        struct array_info info;
        array_look(rig->array, &info);
        bool rebuilding = false;
        for (unsigned m = 0; m < info.members; m++)
            rebuilding |= info.member[m].state == ARRAY_REBUILDING;
        if (!rebuilding) {
            const unsigned i = pick(rig, d->broken);
            if (prng_chance(&rig->prng, 2, 3))
                rig_blank(rig, i);
            else
                blkdev_fault_clear(rig->dev[i]); /* with whatever it had */
            d->broken &= ~(1u << i);
            const int rc = rig_attach(rig, i);
            if (rc)
                fail_msg("%s", rig->error.detail);
            d->in |= 1u << i;
        }
        if (prng_chance(&rig->prng, 1, 3))
            for (unsigned n = 0; n < 200; n++)
                act(rig);
        if (prng_chance(&rig->prng, 1, 4)) {
            rig_cut(rig, -1);
            open_all(rig, d);
            rig_verify(rig);
        } else if (prng_chance(&rig->prng, 1, 4)) {
            /* Closed in the middle of it, at whatever it is about to do. */
            rig_drain(rig);
            rig->now_ns += 1000000000;
            (void)array_turn(rig->array, rig->now_ns);
            for (uint64_t n = prng_below(&rig->prng, 60); n; n--)
                (void)rig_step(rig);
            rig_close(rig);
            open_all(rig, d);
            rig_verify(rig);
        }
        rig_rebuild(rig);
    }
}

static void one_seed(uint64_t seed)
{
    static struct array_rig rig;
    static const struct {
        unsigned members, parity;
    } shapes[] = {{6, 2}, {3, 1}, {4, 1}, {4, 2}, {2, 1}, {3, 2}, {5, 2}, {5, 1}};
    const unsigned shape = (unsigned)(seed % 8);
    rig_create(&rig, seed, shapes[shape].members, shapes[shape].parity);
    struct drawer d = {.in = (1u << rig.members) - 1};
    open_all(&rig, &d);
    for (uint64_t round = 0; round < rounds; round++) {
        const uint64_t steps = prng_below(&rig.prng, 600);
        const uint64_t breaks = prng_chance(&rig.prng, 1, 3) ? prng_below(&rig.prng, steps + 1) : UINT64_MAX;
        uint32_t breaking = 0;
        for (uint64_t i = 0; i < steps; i++) {
            if (i == breaks && rig_lost(&rig) < rig.parity) {
                const unsigned which = pick(&rig, d.in);
                rig_break(&rig, which);
                d.in &= ~(1u << which);
                d.broken |= 1u << which;
                breaking = 1u << which;
            }
            act(&rig);
        }
        if (prng_chance(&rig.prng, 1, 5)) {
            rig_close(&rig);
        } else {
            if (prng_chance(&rig.prng, 1, 3)) {
                rig_drain(&rig);
                rig_verify(&rig);
            }
            rig_cut(&rig, -1);
            /* It may have been the cable. */
            if (breaking && prng_chance(&rig.prng, 1, 2)) {
                for (unsigned i = 0; i < RIG_DEVICES; i++)
                    if (breaking >> i & 1)
                        blkdev_fault_clear(rig.dev[i]);
                d.in |= breaking;
                d.broken &= ~breaking;
            }
        }
        /* A cut in the middle of the opening changes nothing. */
        open_all(&rig, &d);
        if (prng_chance(&rig.prng, 1, 3)) {
            rig_cut(&rig, -1);
            open_all(&rig, &d);
        }
        rig_verify(&rig);
        const uint64_t digest = rig_digest(&rig);
        lose_some(&rig, &d);
        rig_verify(&rig);
        if (rig_digest(&rig) != digest)
            fail_msg("what was read once reads otherwise now that a device is lost");
        if (prng_chance(&rig.prng, 1, 2))
            replace(&rig, &d);
    }
    rig_close(&rig);
    rig_destroy(&rig);
}

static void what_was_durable_survives_cuts_and_losses(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
        if (getenv("RIG_TALKS"))
            print_message("seed %llu\n", (unsigned long long)seed);
        one_seed(seed);
    }
}

/* ---- without parity: devices come and go */

struct crowd {
    uint32_t in;   /* devices that are to be named */
    bool alone;    /* a pool by itself, no array yet */
    uint32_t most; /* segments of a device */
};

static uint32_t segments(const struct array_rig *rig)
{
    return (uint32_t)(rig->whole->geometry.size_bytes / RIG_SEGMENT);
}

static bool may_be_written(const struct array_rig *rig, uint32_t segment)
{
    const uint64_t at = (uint64_t)segment * RIG_SEGMENT;
    return segment >= 4 && segment < segments(rig) && !array_leaves(rig->array, at, RIG_SEGMENT) &&
           !blkdev_absent(rig->whole, at, RIG_SEGMENT);
}

static void act_spread(struct array_rig *rig)
{
    const uint64_t what = prng_below(&rig->prng, 100);
    const uint32_t segment = (uint32_t)prng_below(&rig->prng, segments(rig));
    const struct rig_segment *s = &rig->segment[segment];
    if (what < 40)
        (void)rig_step(rig);
    else if (!may_be_written(rig, segment))
        return;
    else if (what < 90 && s->open && s->busy < 3)
        (void)rig_append(rig, segment, 1 + (uint32_t)prng_below(&rig->prng, 100),
                         prng_chance(&rig->prng, 1, 3));
    else if (what < 93)
        (void)rig_flush(rig);
    else
        (void)rig_erase(rig, segment);
}

static void open_crowd(struct array_rig *rig, struct crowd *c)
{
    int rc = rig_open(rig, c->in, 0);
    if (rc && c->alone && strstr(rig->error.detail, "holds a pool")) {
        rig->adopt = true;
        rc = rig_open(rig, 1, 0);
        rig->adopt = false;
        c->in = 1;
    } else {
        c->alone = false;
    }
    if (rc)
        fail_msg("%s", rig->error.detail);
    for (unsigned i = 0; i < RIG_DEVICES; i++)
        if (!array_holds(rig->array, rig->dev[i]))
            c->in &= ~(1u << i);
}

/* A close flushes nothing here. */
static void close_crowd(struct array_rig *rig)
{
    rig_drain(rig);
    assert_true(rig_flush(rig));
    rig_close(rig);
}

/* Until it is done, or power goes. */
static void go_through(struct array_rig *rig, struct crowd *c)
{
    uint64_t left = prng_chance(&rig->prng, 1, 2) ? prng_below(&rig->prng, 30) : UINT64_MAX;
    while (rig->answer == 1 && left--)
        act_spread(rig);
    if (rig->answer == 1) {
        rig_cut(rig, -1);
        open_crowd(rig, c);
        return;
    }
    assert_int_equal(rig->answer, 0);
    c->alone = false;
}

static void come(struct array_rig *rig, struct crowd *c)
{
    const uint32_t out = ~c->in & ((1u << RIG_DEVICES) - 1);
    if (!out || segments(rig) + c->most > RIG_SEGMENTS_MAX)
        return;
    const unsigned device = pick(rig, out);
    if (prng_chance(&rig->prng, 3, 4))
        rig_resize(rig, device, 4 + (unsigned)prng_below(&rig->prng, c->most - 3));
    const int rc = rig_begin_attach(rig, device);
    assert_int_equal(rc, 0);
    c->in |= 1u << device;
    go_through(rig, c);
}

static void go(struct array_rig *rig, struct crowd *c)
{
    const unsigned device = pick(rig, c->in);
    if (array_leave(rig->array, rig->name[device], &rig->error))
        return;
    rig_drain(rig);
    for (uint32_t s = 0; s < segments(rig); s++)
        if (array_leaves(rig->array, (uint64_t)s * RIG_SEGMENT, RIG_SEGMENT))
            rig->segment[s] = (struct rig_segment){0};
    assert_int_equal(rig_begin_detach(rig, device), 0);
    go_through(rig, c);
    if (!array_holds(rig->array, rig->dev[device])) {
        array_forget(rig->array, rig->dev[device]);
        c->in &= ~(1u << device);
    }
}

static void one_crowd(uint64_t seed)
{
    static struct array_rig rig;
    struct crowd c = {.alone = seed % 2, .most = 7};
    rig_create_large(&rig, seed, c.alone ? 1 : 5, 0, 4);
    c.in = (1u << rig.members) - 1;
    if (c.alone)
        rig_pool(&rig, 0, 7);
    open_crowd(&rig, &c);
    for (uint64_t round = 0; round < 4 * rounds; round++) {
        for (uint64_t i = prng_below(&rig.prng, 100); i; i--)
            act_spread(&rig);
        if (prng_chance(&rig.prng, 2, 3))
            come(&rig, &c);
        else
            go(&rig, &c);
        if (prng_chance(&rig.prng, 1, 3)) {
            if (prng_chance(&rig.prng, 1, 2))
                rig_cut(&rig, -1);
            else
                close_crowd(&rig);
            open_crowd(&rig, &c);
        }
        rig_drain(&rig);
        rig_verify(&rig);
    }
    rig_close(&rig);
    rig_destroy(&rig);
}

static void what_was_durable_survives_devices_that_come_and_go(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++)
        one_crowd(seed);
}

int main(int argc, char **argv)
{
    first_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : first_seed;
    seeds = argc > 2 ? strtoull(argv[2], NULL, 10) : seeds;
    rounds = argc > 3 ? strtoull(argv[3], NULL, 10) : rounds;
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_durable_survives_cuts_and_losses),
                                       cmocka_unit_test(what_was_durable_survives_devices_that_come_and_go)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
