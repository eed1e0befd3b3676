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
    uint32_t in, broken, spare; /* devices */
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

static void open_all(struct array_rig *rig, const struct drawer *d)
{
    const int rc = rig_open(rig, d->in, d->broken);
    if (rc)
        fail_msg("%s", rig->error.detail);
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
            const unsigned i = d->broken ? pick(rig, d->broken) : pick(rig, d->spare);
            if (d->broken >> i & 1) {
                rig_blank(rig, i);
                d->broken &= ~(1u << i);
            }
            d->spare &= ~(1u << i);
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
        for (uint64_t i = 0; i < steps; i++) {
            if (i == breaks && rig_lost(&rig) < rig.parity) {
                const unsigned which = pick(&rig, d.in);
                rig_break(&rig, which);
                d.in &= ~(1u << which);
                d.broken |= 1u << which;
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

int main(int argc, char **argv)
{
    first_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : first_seed;
    seeds = argc > 2 ? strtoull(argv[2], NULL, 10) : seeds;
    rounds = argc > 3 ? strtoull(argv[3], NULL, 10) : rounds;
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_durable_survives_cuts_and_losses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
