/* A run: the cluster comes up, the scenario's steps, then all is well, then the checks. */
#include "tests/sim/world.h"

enum {
    SCRIPT_SECONDS_MAX = 7200,
};

/* A pause holds up all of a node, a stall what its reactor does. */
static bool is_deferred(const struct node *n, const struct event *e)
{
    if (e->kind == EVENT_START || e->kind == EVENT_CRASH)
        return false;
    const bool of_beats = e->kind == EVENT_BEAT || (e->kind == EVENT_MESSAGE && is_beat(e->what));
    return of_beats ? n->paused_until > n->w->now : stands_still(n);
}

static void happen_to(struct world *w, struct node *n, const struct event *e)
{
    if (is_deferred(n, e)) {
        const uint64_t until = n->paused_until > n->stalled_until ? n->paused_until : n->stalled_until;
        const uint64_t again = w->now + 10 * MS; /* it may be let go on earlier */
        at(w, until < again ? until : again, e->kind, e->node, e->life, e->what);
        return;
    }
    switch (e->kind) {
    case EVENT_TURN:
        if (n->up && e->life == n->life && e->at >= n->turn_at)
            node_turn(n);
        break;
    case EVENT_BEAT:
        if (!n->up || e->life != n->life)
            break;
        send_beats(n);
        at(w, w->now + replica_defaults.heartbeat_ns, EVENT_BEAT, n->index, n->life, NULL);
        break;
    case EVENT_DISK:
        if (n->up && e->life == n->life) {
            disk_done(n, e->what);
            wake(n);
        }
        break;
    case EVENT_MESSAGE:
        message_arrived(w, e->what);
        break;
    case EVENT_LOST: {
        const struct node *peer = &w->nodes[(uintptr_t)e->what];
        if (n->up && n->opened && e->life == n->life && peer->known) {
            member_peer_lost(n->member, clock_of(n), &peer->store);
            wake(n);
        }
        break;
    }
    case EVENT_CRASH:
        if (!w->faults)
            break;
        node_crash(n, (enum blkdev_mem_cut)prng_below(&w->ids, BLKDEV_MEM_CUTS));
        at(w, w->now + prng_below(&w->ids, 300 * MS), EVENT_START, n->index, n->life, NULL);
        break;
    case EVENT_START:
        if (!n->up && !n->lost && !n->off && e->life == n->life)
            node_start(n);
        break;
    default:
        assert(false && "not a node's event");
    }
}

static void happen(struct world *w, const struct event *e)
{
    w->result->events++;
    switch (e->kind) {
    case EVENT_HOST:
        host_turn(&w->hosts[e->node], e->life);
        break;
    case EVENT_FILL:
        filler_turn(w);
        break;
    case EVENT_STEP:
        script_turn(w);
        break;
    case EVENT_OPERATOR:
        operator_turn(w);
        break;
    case EVENT_MEDIATOR:
        if (!w->mediator_up && w->now >= w->mediator_until)
            mediator_returns(w, false);
        break;
    case EVENT_MESSAGE:
        if (e->node == MEDIATOR) {
            message_arrived(w, e->what);
            break;
        }
        /* fall through */
    default:
        happen_to(w, &w->nodes[e->node], e);
    }
}

/* Until `done` says so or the time is up; true: done. */
static bool run_until(struct world *w, bool (*done)(struct world *w), uint64_t until)
{
    uint64_t looked = 0;
    while (!w->result->failed && w->heap_count && w->heap[0].at <= until) {
        const struct event e = next_event(w);
        w->now = e.at;
        happen(w, &e);
        if (!done || w->now - looked < MS)
            continue;
        looked = w->now;
        if (done(w))
            return true;
    }
    if (!w->result->failed && w->now < until && !done)
        w->now = until;
    return false;
}

static bool all_open(struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++)
        if (!w->nodes[i].opened)
            return false;
    return true;
}

static bool wrote_something(struct world *w)
{
    return w->result->writes >= 5;
}

static bool script_over(struct world *w)
{
    return w->script.over;
}

static bool reads_done(struct world *w)
{
    return hosts_idle(w);
}

/* ---- a run */

static void begin(struct world *w)
{
    struct uuid id = {{7}};
    const uint64_t seed = w->scenario->seed;
    prng_seed(&w->ids, prng_mix(seed));
    prng_seed(&w->network, prng_mix(seed + 1));
    prng_seed(&w->disks, prng_mix(seed + 2));
    prng_seed(&w->loads, prng_mix(seed + 3));
    w->node_count = w->scenario->nodes;
    w->mediator_store = mediator_store_mem_create(&id);
    assert(w->mediator_store);
    w->mediator_up = true;
    mediator_restart(w);
    w->history = history_create(BLOCKS);
    w->checks = checks_create();
    for (unsigned i = 0; i < w->node_count; i++)
        node_create(w, i);
}

static void end(struct world *w)
{
    while (w->heap_count) {
        const struct event e = next_event(w);
        if (e.kind == EVENT_MESSAGE)
            free(e.what);
    }
    for (unsigned i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[i];
        if (n->up) {
            drives_cut(n, BLKDEV_MEM_LOSE);
            node_destroy(n);
        }
        drives_free(n);
    }
    hosts_free(w);
    filler_free(w);
    history_destroy(w->history);
    checks_free(w->checks);
    mediator_core_destroy(w->mediator);
    mediator_store_mem_destroy(w->mediator_store);
    free(w->heap);
}

/* It needs a full copy of a pod that has more segments than its device, which is a person's to mend. */
static bool is_too_small(struct world *w)
{
    struct node *n = serving_node(w);
    struct replica_info info;
    if (!n || !look(n, &info))
        return false;
    for (uint32_t i = 0; i < info.peer_count; i++)
        if (strstr(info.peers[i].copy, "a copy of this pod needs up to"))
            return true;
    return false;
}

/* What cannot be had where a disk gave back what was not written, and it was the last copy. */
static void end_badly(struct world *w, enum sim_check check, const char *what)
{
    char state[300];
    describe(w, state, sizeof state);
    if (is_damaged(w) && !has_a_sound_copy(w)) {
        trace(w, "%s, after damage: %s", what, state);
        w->result->lost_to_damage = 1;
    } else if (check == SIM_REST && is_too_small(w)) {
        trace(w, "%s, a member is too small: %s", what, state);
        w->result->too_small = 1;
    } else {
        fail(w, check, "%s: %s", what, state);
    }
}

static bool come_up(struct world *w)
{
    char state[300];
    hosts_init(w);
    if (!run_until(w, all_open, 5 * SECOND)) {
        describe(w, state, sizeof state);
        fail(w, SIM_STORE, "not all members open: %s", state);
        return false;
    }
    found(w);
    if (run_until(w, wrote_something, w->now + 10 * SECOND))
        return true;
    describe(w, state, sizeof state);
    fail(w, SIM_PROGRESS, "no host could write in the first ten seconds: %s", state);
    return false;
}

static void run(struct world *w)
{
    if (!come_up(w))
        return;
    w->faults = true;
    w->last_write_ns = w->begun = w->now;
    at(w, w->now, EVENT_STEP, 0, 0, NULL);
    at(w, w->now, EVENT_OPERATOR, 0, 0, NULL);
    if (!run_until(w, script_over, w->now + SCRIPT_SECONDS_MAX * SECOND)) {
        fail(w, SIM_EXPECTED, "the scenario takes more than %d s", SCRIPT_SECONDS_MAX);
        return;
    }
    heal(w);
    const uint64_t writes = w->result->writes;
    (void)run_until(w, NULL, w->now + 6 * SECOND);
    w->stopping = true;
    if (w->result->failed)
        return;
    if (!run_until(w, at_rest, w->now + 60 * SECOND))
        end_badly(w, SIM_REST, "it does not come to rest");
    else if (w->result->writes == writes)
        end_badly(w, SIM_PROGRESS, "no write was answered after all had been well again");
    else if (!final_reads(w) || !run_until(w, reads_done, w->now + 5 * SECOND))
        end_badly(w, SIM_PROGRESS, "the last reads are not answered");
}

void sim_run(const struct sim_options *options, struct sim_result *result)
{
    struct world *w = calloc(1, sizeof *w);
    char why[sizeof result->why];
    assert(w);
    *result = (struct sim_result){.trace_hash = 0xcbf29ce484222325ull};
    w->options = *options;
    w->scenario = options->scenario;
    w->result = result;
    replica_mutation = w->scenario->mutation;
    begin(w);
    run(w);
    if (!history_check(w->history, why, sizeof why)) {
        if (result->failed == SIM_REST || result->failed == SIM_PROGRESS)
            result->failed = SIM_GOOD; /* what is wrong is worse than what is late */
        fail(w, SIM_HISTORY, "%s", why);
    }
    if (!result->failed && !result->lost_to_damage && !result->too_small)
        compare_mirrors(w);
    result->virtual_ns = w->now;
    end(w);
    replica_mutation = REPLICA_HONEST;
    free(w);
}
