/* A scenario from a seed: members, disks, clocks, and what breaks when. How often and which faults there are
 * differs from seed to seed in number: what one kind does is not always hidden by the next. */
#include <stdlib.h>

#include "common/blkdev_mem.h"
#include "common/prng.h"
#include "tests/sim/scenario.h"

enum {
    SMALL_DISK_BYTES = 80 << 20, /* of which the log is soon used again */
    ARRAYS_EVERY = 7,            /* seeds: pods lie on arrays */
    PERSONS_EVERY = 5,           /* seeds: people act, too */
    TINY_DISK_BYTES = 52 << 20,  /* and here so soon that who is away for long needs a full copy */
};

enum fault_kind {
    FAULT_CRASH,
    FAULT_CRASH_MANY,
    FAULT_CUT,
    FAULT_ISOLATE,
    FAULT_PAUSE,
    FAULT_STALL,
    FAULT_MEDIATOR,
    FAULT_SLOW_DISK,
    FAULT_CLOG,
    FAULT_SWITCH_OVER,
    FAULT_ANSWER,
    FAULTS_OF_ALL,
    /* Weights of their own. */
    FAULT_MEDIATOR_LOST =
        FAULTS_OF_ALL, /* so long that the members go on without it, and something else then */
    FAULT_LONG_AWAY,   /* longer than a small disk keeps the log for it */
    FAULT_REPLACE,
    FAULT_FAIL_DISK,
    FAULT_ROT,
    FAULT_FILL,
    FAULT_PERSON, /* no fault: somebody promotes a member whose heir is gone */
    FAULTS,
};

/* While the mediator is lost. */
enum second_fault {
    SECOND_NONE,
    SECOND_PRIMARY,
    SECOND_BACKUP,
    SECOND_ALL,
    SECOND_APART, /* the primary is cut off, and the mediator comes back */
    SECOND_FAULTS,
};

struct drawing {
    struct scenario *s;
    struct prng prng;
    unsigned weight[FAULTS], every;
    uint64_t now, quiet_until, end;
    unsigned rotten; /* the node whose disk rots: one, so that the others have what it loses */
    bool smaller;    /* one member's disk is */
};

static uint64_t below(struct drawing *d, uint64_t n)
{
    return prng_below(&d->prng, n);
}

static bool chance(struct drawing *d, uint64_t num, uint64_t den)
{
    return prng_chance(&d->prng, num, den);
}

static uint64_t some_time(struct drawing *d)
{
    static const uint64_t most[] = {100, 1000, 3000, 8000};
    return (20 + below(d, most[below(d, 4)])) * MS;
}

/* Whom it hits: often the one that matters most. */
static uint8_t victim(struct drawing *d)
{
    return chance(d, 1, 2) ? WHO_PRIMARY : (uint8_t)below(d, d->s->nodes);
}

static void add_at(struct drawing *d, uint64_t when, struct step step)
{
    step.kind = STEP_AT;
    step.time_ns = when / 1000 * 1000;
    if (step.time_ns < d->end)
        (void)scenario_add(d->s, &step);
}

static void add(struct drawing *d, struct step step)
{
    add_at(d, d->now, step);
}

static struct step crash(struct drawing *d, uint8_t who, uint64_t for_ns)
{
    return (struct step){.action = ACTION_CRASH,
                         .who = who,
                         .cut = (uint8_t)below(d, BLKDEV_MEM_CUTS),
                         .for_ns = (for_ns ? for_ns : MS) / 1000 * 1000};
}

static void crash_one(struct drawing *d)
{
    const uint8_t who = victim(d);
    const uint64_t ns = some_time(d);
    /* Sometimes it comes back where it sees the mediator alone. */
    if (chance(d, 1, 2))
        add(d, (struct step){.action = ACTION_PART, .who = who, .for_ns = ns});
    add(d, crash(d, who, chance(d, 1, 2) ? below(d, 300 * MS) : ns));
}

static void crash_many(struct drawing *d)
{
    for (uint8_t i = 0; i < d->s->nodes; i++)
        if (chance(d, 2, 3))
            add(d, crash(d, i, below(d, 2 * SECOND)));
}

static void second_fault(struct drawing *d, uint64_t when)
{
    const uint64_t ns = SECOND + below(d, 6000) * MS;
    switch ((enum second_fault)below(d, SECOND_FAULTS)) {
    case SECOND_PRIMARY:
        add_at(d, when, crash(d, WHO_PRIMARY, some_time(d)));
        break;
    case SECOND_BACKUP:
        add_at(d, when, crash(d, WHO_BACKUP, some_time(d)));
        break;
    case SECOND_ALL:
        for (uint8_t i = 0; i < d->s->nodes; i++)
            add_at(d, when, crash(d, i, some_time(d)));
        break;
    case SECOND_APART:
        add_at(d, when,
               (struct step){.action = chance(d, 1, 4) ? ACTION_PART : ACTION_ISOLATE,
                             .who = WHO_PRIMARY,
                             .for_ns = ns});
        add_at(d, when, (struct step){.action = ACTION_START, .who = WHO_MEDIATOR});
        break;
    case SECOND_NONE:
    case SECOND_FAULTS:
        break;
    }
}

static void lose_mediator(struct drawing *d)
{
    const uint64_t gone = (4000 + below(d, 8000)) * MS;
    add(d, (struct step){.action = ACTION_STOP, .who = WHO_MEDIATOR, .for_ns = gone});
    if (chance(d, 3, 4))
        d->quiet_until = d->now + gone;
    /* The primary stops for a moment just before the mediator is missed: a member asks for its place. */
    if (chance(d, 1, 3))
        add_at(
            d, d->now + below(d, 800 * MS),
            (struct step){.action = ACTION_PAUSE, .who = WHO_PRIMARY, .for_ns = (1000 + below(d, 800)) * MS});
    second_fault(d, d->now + 2500 * MS + below(d, gone - 2 * SECOND));
    if (!d->s->eager)
        return;
    /* Its records may be lost, and somebody looks at what became of it all. */
    const uint64_t back = d->now + gone;
    if (chance(d, 1, 2))
        add_at(d, back - MS, (struct step){.action = ACTION_START, .who = WHO_MEDIATOR, .both = true});
    for (unsigned i = 1; i <= 4; i++)
        add_at(d, back + i * 700 * MS,
               (struct step){.action = ACTION_PROMOTE, .who = WHO_ALL, .both = chance(d, 1, 2)});
}

/* The primary alone loses the mediator, for long enough to yield; or a person is there. */
static void person(struct drawing *d)
{
    if (chance(d, 1, 2))
        add(d, (struct step){.action = ACTION_CUT,
                             .who = WHO_PRIMARY,
                             .peer = WHO_MEDIATOR,
                             .both = true,
                             .for_ns = 5 * SECOND});
    add(d, (struct step){.action = ACTION_PROMOTE, .who = WHO_ALL, .both = chance(d, 1, 2)});
}

static void cut(struct drawing *d)
{
    struct step s = {.action = ACTION_CUT,
                     .who = victim(d),
                     .peer = (uint8_t)below(d, d->s->nodes + 1),
                     .both = chance(d, 1, 2),
                     .for_ns = some_time(d)};
    if (s.peer == d->s->nodes)
        s.peer = WHO_MEDIATOR;
    if (s.who == s.peer)
        return;
    if (chance(d, 1, 2)) {
        const uint8_t from = s.peer;
        s.peer = s.who;
        s.who = from;
    }
    add(d, s);
}

static void draw_fault(struct drawing *d)
{
    unsigned all = 0, kind = 0;
    for (int i = 0; i < FAULTS; i++)
        all += d->weight[i];
    unsigned pick = (unsigned)below(d, all);
    while (pick >= d->weight[kind])
        pick -= d->weight[kind++];
    switch ((enum fault_kind)kind) {
    case FAULT_CRASH:
        crash_one(d);
        break;
    case FAULT_CRASH_MANY:
        crash_many(d);
        break;
    case FAULT_CUT:
        cut(d);
        break;
    case FAULT_ISOLATE:
        add(d, (struct step){.action = ACTION_ISOLATE, .who = victim(d), .for_ns = some_time(d)});
        break;
    case FAULT_PAUSE:
        add(d, (struct step){.action = ACTION_PAUSE, .who = victim(d), .for_ns = some_time(d)});
        break;
    case FAULT_STALL:
        add(d, (struct step){.action = ACTION_STALL, .who = victim(d), .for_ns = (20 + below(d, 2000)) * MS});
        break;
    case FAULT_MEDIATOR:
        add(d, (struct step){.action = ACTION_STOP, .who = WHO_MEDIATOR, .for_ns = some_time(d)});
        break;
    case FAULT_SLOW_DISK:
        add(d, (struct step){.action = ACTION_SLOW, .who = victim(d), .for_ns = some_time(d)});
        break;
    case FAULT_CLOG:
        add(d, (struct step){.action = ACTION_CLOG, .for_ns = (500 + below(d, 5000)) * MS});
        break;
    case FAULT_SWITCH_OVER:
        add(d, (struct step){.action = ACTION_SWITCH_OVER, .who = (uint8_t)below(d, d->s->nodes)});
        break;
    case FAULT_ANSWER: /* and what makes somebody ask */
        add(d, (struct step){.action = ACTION_PAUSE, .who = victim(d), .for_ns = SECOND + some_time(d)});
        break;
    case FAULT_MEDIATOR_LOST:
        lose_mediator(d);
        break;
    case FAULT_LONG_AWAY:
        add(d, crash(d, victim(d), (5000 + below(d, 9000)) * MS));
        break;
    case FAULT_REPLACE:
        add(d, (struct step){.action = ACTION_REPLACE, .who = (uint8_t)below(d, d->s->nodes)});
        break;
    case FAULT_FAIL_DISK:
        add(d, (struct step){.action = ACTION_FAIL_DISK,
                             .who = victim(d),
                             .both = chance(d, 1, 2),
                             .for_ns = some_time(d)});
        break;
    case FAULT_ROT:
        add(d, (struct step){.action = ACTION_ROT, .who = (uint8_t)d->rotten, .amount = 1 + below(d, 40)});
        break;
    case FAULT_FILL:
        add(d, (struct step){.action = ACTION_FILL, .amount = (1 + below(d, 6)) << 20});
        break;
    case FAULT_PERSON:
        person(d);
        break;
    case FAULTS:
        break;
    }
    /* The mediator decided, and whom it told hears nothing of it. */
    if (kind == FAULT_ANSWER || chance(d, 1, 5)) {
        const uint64_t ns = some_time(d) + (chance(d, 1, 2) ? 3 * SECOND : 0);
        add(d, (struct step){.action = ACTION_LOSE_ANSWER, .both = chance(d, 1, 2), .for_ns = ns});
    }
}

static void draw_cluster(struct drawing *d)
{
    struct scenario *s = d->s;
    const bool long_away = s->seed % 4 == 3, small = chance(d, 1, 8);
    for (unsigned i = 0; i < s->nodes; i++) {
        s->disk_bytes[i] = long_away ? TINY_DISK_BYTES : small ? SMALL_DISK_BYTES : s->disk_bytes[i];
        /* Up to 3 %, often as much: two of them are 6 % apart, the margin allows for 10. */
        s->drift_ppm[i] = chance(d, 1, 2)   ? (int32_t)below(d, 60001) - 30000
                          : chance(d, 1, 2) ? 30000
                                            : -30000;
    }
    d->smaller = !long_away && chance(d, 1, 8);
    if (d->smaller)
        s->disk_bytes[below(d, s->nodes)] = TINY_DISK_BYTES;
    if (s->nodes > 2 && chance(d, 1, 4))
        s->async = 1u << (s->nodes - 1);
    if (s->nodes == 2 && chance(d, 1, 16))
        s->async = 2;
    if (chance(d, 1, 4))
        s->preferred = (unsigned)below(d, 2);
    if (s->seed % PERSONS_EVERY == PERSONS_EVERY - 1)
        s->preferred = (unsigned)below(d, s->nodes);
    if (s->preferred < s->nodes && s->async >> s->preferred & 1)
        s->preferred = SIM_NODES_MAX;
    s->noise = chance(d, 7, 8);
    s->eager = s->seed % PERSONS_EVERY == PERSONS_EVERY - 1;
}

static void draw_weights(struct drawing *d)
{
    static const unsigned every[] = {8, 16, 30, 60};
    const uint64_t seed = d->s->seed;
    d->every = every[below(d, 4)];
    for (int i = 0; i < FAULTS_OF_ALL; i++)
        d->weight[i] = (unsigned)below(d, 4);
    d->weight[below(d, FAULTS_OF_ALL)]++;
    /* In some, hardly anything happens before the mediator is lost: the members agree on going on without. */
    if (chance(d, 2, 5)) {
        d->weight[FAULT_MEDIATOR_LOST] = 12;
        d->every = 30;
    }
    d->weight[FAULT_LONG_AWAY] = seed % 4 == 3 ? 12 : 0;
    /* What is written while a smaller one is away need not fit on it: somebody must see to that. */
    d->weight[FAULT_FILL] = !d->smaller && (seed % 8 == 3 || chance(d, 1, 8)) ? 4 : seed % 8 == 7 ? 2 : 0;
    d->weight[FAULT_REPLACE] = seed % 8 == 1 ? 2 : 0;
    d->weight[FAULT_FAIL_DISK] = seed % 8 == 5 ? 4 : 0;
    d->weight[FAULT_ROT] = seed % 16 == 6 ? 4 : 0;
    if (d->s->eager) {
        d->weight[FAULT_PERSON] = 12;
        d->weight[FAULT_MEDIATOR_LOST] += 12;
    }
}

/* From a stream of its own: what else a seed means stays. */
static void draw_arrays(struct scenario *s, uint64_t end)
{
    static const struct {
        uint8_t data, parity;
    } shapes[] = {{3, 1}, {2, 1}, {4, 2}, {2, 2}, {1, 1}, {1, 2}};
    static const enum action actions[] = {ACTION_FAIL_DEVICE, ACTION_FAIL_DEVICE, ACTION_MEND, ACTION_MEND,
                                          ACTION_ROT_DEVICE};
    struct scenario with = *s; /* the same steps */
    struct drawing d = {.s = &with, .end = end};
    if (s->seed % ARRAYS_EVERY)
        return;
    prng_seed(&d.prng, prng_mix(s->seed + 4));
    const uint8_t sure = (uint8_t)below(&d, s->nodes);
    for (uint8_t i = 0; i < s->nodes; i++) {
        const uint64_t shape = below(&d, sizeof shapes / sizeof shapes[0]);
        if (!chance(&d, 2, 3) && i != sure)
            continue;
        with.array[i].data = shapes[shape].data;
        with.array[i].parity = shapes[shape].parity;
    }
    const uint64_t every = 8 + below(&d, 24);
    for (; d.now < end && with.step_count < SCENARIO_STEPS_MAX - 32; d.now += 50 * MS) {
        if (!chance(&d, 1, every))
            continue;
        const struct step step = {.action = actions[below(&d, sizeof actions / sizeof actions[0])],
                                  .who = victim(&d)};
        /* In the middle of what follows, or with the power. */
        if (chance(&d, 1, 3))
            add_at(&d, d.now + (chance(&d, 1, 2) ? below(&d, 2 * SECOND) : 0),
                   crash(&d, step.who, chance(&d, 1, 2) ? below(&d, 300 * MS) : some_time(&d)));
        add(&d, step);
    }
    *s = with;
}

static int by_time(const void *x, const void *y)
{
    const struct step *a = x, *b = y;
    if (a->time_ns != b->time_ns)
        return a->time_ns < b->time_ns ? -1 : 1;
    return a->line < b->line ? -1 : a->line > b->line;
}

static void sort_steps(struct scenario *s)
{
    for (size_t i = 0; i < s->step_count; i++)
        s->steps[i].line = (unsigned)i;
    qsort(s->steps, s->step_count, sizeof s->steps[0], by_time);
    for (size_t i = 0; i < s->step_count; i++)
        s->steps[i].line = 0;
}

void scenario_draw(struct scenario *out, uint64_t seed, unsigned nodes, uint64_t seconds)
{
    struct drawing d = {.s = out};
    scenario_init(out);
    prng_seed(&d.prng, seed);
    out->seed = seed;
    out->nodes = nodes ? nodes : 2 + (unsigned)below(&d, 2);
    d.end = (seconds ? seconds : 10 + below(&d, 20)) * SECOND;
    draw_cluster(&d);
    draw_weights(&d);
    d.rotten = (unsigned)below(&d, out->nodes);
    for (; d.now < d.end && out->step_count < SCENARIO_STEPS_MAX - 32; d.now += 50 * MS)
        if (d.now >= d.quiet_until && chance(&d, 1, d.every))
            draw_fault(&d);
    draw_arrays(out, d.end);
    sort_steps(out);
    const struct step heal = {.kind = STEP_AT, .time_ns = d.end, .action = ACTION_HEAL, .who = WHO_ALL};
    (void)scenario_add(out, &heal);
}
