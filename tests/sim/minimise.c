/* Makes a failing scenario short: delta debugging (Zeller and Hildebrandt, Simplifying and Isolating
 * Failure-Inducing Input, IEEE TSE 28, 2002) over its steps, then over what is special about the cluster. */
#include <inttypes.h>
#include <string.h>

#include "common/blkdev_mem.h"
#include "tests/sim/sim.h"

struct search {
    struct scenario *best;
    enum sim_check check;
    unsigned runs, runs_max;
    FILE *tell;
};

/* True: it fails as the first one did, and is the best one from now on. */
static bool try(struct search *s, const struct scenario *next)
{
    struct sim_result r;
    if (s->runs == s->runs_max)
        return false;
    s->runs++;
    sim_run_apart(&(struct sim_options){.scenario = next}, &r);
    if (r.failed != s->check)
        return false;
    struct step *steps = s->best->steps;
    memcpy(steps, next->steps, next->step_count * sizeof *steps);
    *s->best = *next;
    s->best->steps = steps;
    return true;
}

/* Without the steps from `from` to `to`. */
static void leave_out(struct scenario *next, const struct scenario *s, size_t from, size_t to)
{
    scenario_copy(next, s);
    memmove(next->steps + from, next->steps + to, (next->step_count - to) * sizeof next->steps[0]);
    next->step_count -= to - from;
}

static bool fewer_steps(struct search *s)
{
    bool any = false;
    size_t chunk = s->best->step_count;
    while (chunk > 0) {
        bool removed = false;
        /* From the end: what came last often has no part in it. */
        for (size_t to = s->best->step_count; to > 0;) {
            const size_t from = to > chunk ? to - chunk : 0;
            struct scenario next;
            leave_out(&next, s->best, from, to);
            removed |= try(s, &next);
            scenario_free(&next);
            to = from;
        }
        any |= removed;
        if (!removed || chunk == 1)
            chunk /= 2;
        if (chunk > s->best->step_count)
            chunk = s->best->step_count;
    }
    return any;
}

/* One change a call, to what is not the default. */
static bool change(struct scenario *s, unsigned which)
{
    struct scenario plain;
    scenario_init(&plain);
    bool changed = false;
    if (which < SIM_NODES_MAX) {
        changed = s->drift_ppm[which] != 0;
        s->drift_ppm[which] = 0;
    } else if (which < 2 * SIM_NODES_MAX) {
        uint64_t *disk = &s->disk_bytes[which - SIM_NODES_MAX];
        changed = *disk != plain.disk_bytes[0];
        *disk = plain.disk_bytes[0];
    } else if (which == 2 * SIM_NODES_MAX) {
        changed = s->noise;
        s->noise = false;
    } else if (which == 2 * SIM_NODES_MAX + 1) {
        changed = s->async != 0;
        s->async = 0;
    } else if (which == 2 * SIM_NODES_MAX + 2) {
        changed = s->preferred < SIM_NODES_MAX;
        s->preferred = SIM_NODES_MAX;
    } else if (which == 2 * SIM_NODES_MAX + 3) {
        changed = s->eager;
        s->eager = false;
    } else {
        for (unsigned i = 0; i < SIM_NODES_MAX; i++) {
            changed |= s->array[i].parity != 0;
            s->array[i].parity = s->array[i].data = 0;
        }
    }
    scenario_free(&plain);
    return changed;
}

static bool uses_node(const struct scenario *s, unsigned node)
{
    for (size_t i = 0; i < s->step_count; i++)
        if (s->steps[i].who == node || s->steps[i].peer == node || s->steps[i].condition_who == node)
            return true;
    return false;
}

static void simpler_cluster(struct search *s)
{
    for (unsigned which = 0; which < 2 * SIM_NODES_MAX + 5; which++) {
        struct scenario next;
        scenario_copy(&next, s->best);
        if (change(&next, which))
            (void)try(s, &next);
        scenario_free(&next);
    }
    while (s->best->nodes > 2 && !uses_node(s->best, s->best->nodes - 1)) {
        struct scenario next;
        scenario_copy(&next, s->best);
        next.nodes--;
        next.async &= (1u << next.nodes) - 1;
        if (next.preferred >= next.nodes)
            next.preferred = SIM_NODES_MAX;
        const bool good = try(s, &next);
        scenario_free(&next);
        if (!good)
            break;
    }
}

/* Faults that last less long, and crashes that lose nothing. */
static void simpler_steps(struct search *s)
{
    for (size_t i = 0; i < s->best->step_count; i++) {
        const struct step was = s->best->steps[i];
        struct scenario next;
        scenario_copy(&next, s->best);
        struct step *step = &next.steps[i];
        if (was.action == ACTION_CRASH && was.cut != BLKDEV_MEM_KEEP) {
            step->cut = BLKDEV_MEM_KEEP;
            if (!try(s, &next))
                step->cut = was.cut;
        }
        while (step->for_ns > 200 * MS) {
            const uint64_t before = step->for_ns;
            step->for_ns = before / 2 / MS * MS;
            if (!try(s, &next)) {
                step->for_ns = before;
                break;
            }
        }
        if (step->kind == STEP_AT && step->time_ns % MS) {
            step->time_ns = step->time_ns / MS * MS;
            (void)try(s, &next);
        }
        scenario_free(&next);
    }
}

/* All steps so much earlier. */
static void earlier(struct search *s)
{
    for (uint64_t by = 16 * SECOND; by >= 500 * MS; by /= 2) {
        struct scenario next;
        scenario_copy(&next, s->best);
        bool may = next.step_count > 0;
        for (size_t i = 0; i < next.step_count; i++) {
            struct step *step = &next.steps[i];
            if (step->kind != STEP_AT)
                continue;
            may &= step->time_ns > by;
            step->time_ns -= may ? by : 0;
        }
        if (may && try(s, &next))
            by *= 2;
        scenario_free(&next);
    }
}

static void tell(const struct search *s)
{
    if (s->tell)
        (void)fprintf(s->tell, "minimising: %zu steps, %u nodes, after %u runs\n", s->best->step_count,
                      s->best->nodes, s->runs);
}

unsigned sim_minimise(struct scenario *scenario, enum sim_check check, unsigned runs_max, FILE *out)
{
    struct search s = {.best = scenario, .check = check, .runs_max = runs_max, .tell = out};
    tell(&s);
    do {
        (void)fewer_steps(&s);
        simpler_cluster(&s);
        tell(&s);
        earlier(&s);
        simpler_steps(&s);
        tell(&s);
    } while (fewer_steps(&s) && s.runs < s.runs_max);
    return s.runs;
}
