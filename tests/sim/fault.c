/* What a scenario's steps do to a cluster. */
#include "tests/sim/world.h"

static const char *end_name(struct world *w, unsigned end)
{
    return end == MEDIATOR ? "mediator" : w->nodes[end].name;
}

static uint64_t until(const struct world *w, const struct step *s)
{
    return s->for_ns ? w->now + s->for_ns : UINT64_MAX;
}

/* " for 12 ms", or nothing. */
static const char *for_text(const struct step *s, char out[40])
{
    out[0] = '\0';
    if (s->for_ns)
        (void)snprintf(out, 40, " for %llu ms", (unsigned long long)(s->for_ns / MS));
    return out;
}

/* ---- links */

static void cut_link(struct world *w, unsigned a, unsigned b, uint64_t until_ns)
{
    if (w->cut_until[a][b] < until_ns)
        w->cut_until[a][b] = until_ns;
}

static void cut_off(struct world *w, unsigned a, uint64_t until_ns, bool mediator_too)
{
    for (unsigned i = 0; i < ENDS; i++)
        if (i != a && (i != MEDIATOR || mediator_too)) {
            cut_link(w, a, i, until_ns);
            cut_link(w, i, a, until_ns);
        }
    w->result->cuts++;
}

static void heal_links(struct world *w, unsigned a)
{
    for (unsigned i = 0; i < ENDS; i++)
        w->cut_until[a][i] = w->cut_until[i][a] = 0;
}

void lose_answer(struct world *w, unsigned node)
{
    if (!w->lose_answer.armed)
        return;
    w->lose_answer.armed = false;
    trace(w, "%s is cut off for %llu ms, and will not hear what it asked for", w->nodes[node].name,
          (unsigned long long)(w->lose_answer.for_ns / MS));
    cut_off(w, node, w->now + w->lose_answer.for_ns, true);
    /* Not now: it is in the middle of something. */
    if (w->lose_answer.crash)
        at(w, w->now + prng_below(&w->ids, 3 * MS), EVENT_CRASH, node, 0, NULL);
}

static void cut(struct world *w, const struct step *s)
{
    const struct node *from = s->who == MEDIATOR ? NULL : node_meant(w, s->who);
    const struct node *to = s->peer == MEDIATOR ? NULL : node_meant(w, s->peer);
    if ((!from && s->who != MEDIATOR) || (!to && s->peer != MEDIATOR) || from == to)
        return;
    const unsigned a = from ? from->index : MEDIATOR, b = to ? to->index : MEDIATOR;
    char time[40];
    trace(w, "the link from %s to %s is cut%s%s", end_name(w, a), end_name(w, b),
          s->both ? ", and back," : "", for_text(s, time));
    cut_link(w, a, b, until(w, s));
    if (s->both)
        cut_link(w, b, a, until(w, s));
    w->result->cuts++;
}

/* ---- the mediator */

static void stop_mediator(struct world *w, const struct step *s)
{
    char time[40];
    trace(w, "mediator is down%s", for_text(s, time));
    w->mediator_up = false;
    w->mediator_until = until(w, s);
    w->result->mediator_outages++;
    if (s->for_ns)
        at(w, w->mediator_until, EVENT_MEDIATOR, 0, 0, NULL);
}

/* ---- one node */

static void do_to_node(struct world *w, struct node *n, const struct step *s)
{
    char time[40];
    switch (s->action) {
    case ACTION_CRASH:
        node_crash(n, (enum blkdev_mem_cut)s->cut);
        if (s->for_ns)
            at(w, w->now + s->for_ns, EVENT_START, n->index, n->life, NULL);
        break;
    case ACTION_RESTART:
        if (!n->up && !n->lost && !n->off)
            node_start(n);
        break;
    case ACTION_PAUSE:
        trace(w, "%s is paused%s", n->name, for_text(s, time));
        n->paused_until = until(w, s);
        w->result->pauses++;
        break;
    case ACTION_STALL:
        trace(w, "%s's reactor has no turn%s", n->name, for_text(s, time));
        n->stalled_until = until(w, s);
        w->result->stalls++;
        break;
    case ACTION_RESUME:
        n->paused_until = n->stalled_until = 0;
        break;
    case ACTION_ISOLATE:
    case ACTION_PART:
        trace(w, "%s is cut off%s%s", n->name, s->action == ACTION_PART ? " from the members" : "",
              for_text(s, time));
        cut_off(w, n->index, until(w, s), s->action == ACTION_ISOLATE);
        break;
    case ACTION_HEAL:
        heal_links(w, n->index);
        break;
    case ACTION_SLOW:
        trace(w, "%s's disk is slow%s", n->name, for_text(s, time));
        n->disk_slow_until = until(w, s);
        break;
    case ACTION_FAIL_DISK:
        if (on_array(n)) /* all devices at once: nothing makes up for that */
            break;
        trace(w, "%s's disk %s%s", n->name, s->both ? "is full" : "takes no writes", for_text(s, time));
        n->disk_fails_until = until(w, s);
        n->disk_full = s->both;
        n->ever_failed = true;
        w->result->disk_failures++;
        break;
    case ACTION_ROT:
        if (!on_array(n))
            node_rot(n, s->amount);
        break;
    case ACTION_ROT_METADATA:
        if (!on_array(n))
            node_rot_metadata(n);
        break;
    case ACTION_CORRUPT:
        n->corrupt_writes = on_array(n) ? 0 : s->amount;
        break;
    case ACTION_FAIL_DEVICE:
        drive_fails(n);
        break;
    case ACTION_ROT_DEVICE:
        drive_rots(n);
        break;
    case ACTION_MEND:
        n->mend = on_array(n);
        if (n->up)
            wake(n);
        break;
    case ACTION_REPLACE:
        n->replace = true;
        break;
    case ACTION_PROMOTE:
        if (w->faults)
            person_promotes(w, n, s->both);
        break;
    case ACTION_SWITCH_OVER: {
        struct ps_error err;
        struct node *from = leader(w);
        if (!from || !n->known)
            break;
        if (replica_switch_over(member_replica(from->member), clock_of(from), &n->store, &err))
            trace(w, "%s: no switchover to %s: %s", from->name, n->name, err.detail);
        wake(from);
        break;
    }
    default:
        break;
    }
}

void do_step(struct world *w, const struct step *s)
{
    switch (s->action) {
    case ACTION_NONE:
        return;
    case ACTION_CUT:
        cut(w, s);
        return;
    case ACTION_STOP:
        stop_mediator(w, s);
        return;
    case ACTION_START:
        mediator_returns(w, s->both);
        return;
    case ACTION_CLOG:
        w->clogged_until = until(w, s);
        return;
    case ACTION_LOSE_ANSWER:
        w->lose_answer.armed = true;
        w->lose_answer.crash = s->both;
        w->lose_answer.for_ns = s->for_ns;
        return;
    case ACTION_FILL:
        filler_more(w, s->amount);
        return;
    case ACTION_LOAD:
        w->load_off = !s->both;
        return;
    default:
        break;
    }
    if (s->action == ACTION_HEAL && s->who == WHO_ALL) {
        memset(w->cut_until, 0, sizeof w->cut_until);
        w->clogged_until = 0;
        return;
    }
    for (unsigned i = 0; s->who == WHO_ALL && i < w->node_count; i++)
        do_to_node(w, &w->nodes[i], s);
    struct node *n = s->who == WHO_ALL ? NULL : node_meant(w, s->who);
    if (n)
        do_to_node(w, n, s);
}

void heal(struct world *w)
{
    trace(w, "all is well from now on");
    w->faults = w->load_off = w->lose_answer.armed = false;
    w->clogged_until = 0;
    memset(w->cut_until, 0, sizeof w->cut_until);
    mediator_returns(w, false);
    filler_empty(w);
    for (unsigned i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[i];
        n->paused_until = n->stalled_until = n->disk_slow_until = n->disk_fails_until = n->corrupt_writes = 0;
        n->off = false;
        n->mend = on_array(n);
        n->replace = n->damaged; /* one that was not possible yet is left alone */
        if (!n->up && !n->lost)
            node_start(n);
        if (n->up)
            wake(n);
    }
}
