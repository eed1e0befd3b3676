/* A scenario's steps, one after the other: what they wait for, and what they expect. */
#include "tests/sim/world.h"

static void again(struct world *w, uint64_t when)
{
    at(w, when, EVENT_STEP, 0, 0, NULL);
}

/* True: the step's time has come. */
static bool reached(struct world *w, uint64_t due)
{
    if (w->now < due)
        again(w, due);
    return w->now >= due;
}

static void in_vain(struct world *w, const struct step *s)
{
    char text[200], state[300];
    scenario_print_step(s, text, sizeof text);
    describe(w, state, sizeof state);
    fail(w, SIM_EXPECTED, "line %u, \"%s\": it is not so; %s", s->line, text, state);
}

/* True: go on. */
static bool met(struct world *w, const struct step *s)
{
    const uint64_t due = w->script.since + s->time_ns;
    const bool is = holds(w, s);
    if (s->condition == CONDITION_UNSERVED) {
        if (!is && s->kind == STEP_EXPECT)
            in_vain(w, s);
        else if (!is)
            w->script.since = w->now;
        if (!is || w->now < due)
            again(w, w->now + MS);
        return is && w->now >= due;
    }
    if (is)
        return true;
    if (w->now >= due)
        in_vain(w, s);
    else
        again(w, w->now + MS);
    return false;
}

static bool may_go_on(struct world *w, const struct step *s)
{
    if (!w->script.waits)
        w->script.since = w->now;
    w->script.waits = true;
    switch (s->kind) {
    case STEP_NOW:
        return true;
    case STEP_AT:
        return reached(w, w->begun + s->time_ns);
    case STEP_AFTER:
        return reached(w, w->script.since + s->time_ns);
    case STEP_WHEN:
    case STEP_EXPECT:
        return met(w, s);
    }
    return false;
}

void script_turn(struct world *w)
{
    const struct scenario *scenario = w->scenario;
    while (w->script.next < scenario->step_count && !w->result->failed) {
        const struct step *s = &scenario->steps[w->script.next];
        if (!may_go_on(w, s))
            return;
        w->script.next++;
        w->script.waits = false;
        do_step(w, s);
    }
    w->script.over = true;
}
