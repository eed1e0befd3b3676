/* The simulator's world: events in the order of time, nodes that start and die, faults, the two phases, the
 * checks. */
#include <stdarg.h>

#include "tests/sim/world.h"

enum {
    DISK_BYTES = 320 << 20,
    SMALL_DISK_BYTES = 80 << 20, /* of which the log is soon used again */
    TINY_DISK_BYTES = 52 << 20,  /* and here so soon that who is away for long needs a full copy */
    SEGMENT_BYTES = 2 << 20,
};

/* ---- events */

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void swap(struct event *a, struct event *b)
{
    const struct event t = *a;
    *a = *b;
    *b = t;
}

void at(struct world *w, uint64_t when, enum event_kind kind, unsigned node, uint64_t life, void *what)
{
    if (w->heap_count == w->heap_capacity) {
        w->heap_capacity = w->heap_capacity ? 2 * w->heap_capacity : 1024;
        w->heap = realloc(w->heap, w->heap_capacity * sizeof w->heap[0]);
        assert(w->heap);
    }
    size_t i = w->heap_count++;
    w->heap[i] =
        (struct event){when < w->now ? w->now : when, ++w->order, kind, (uint8_t)node, 0, life, what};
    for (; i && earlier(&w->heap[i], &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&w->heap[i], &w->heap[(i - 1) / 2]);
}

static struct event next_event(struct world *w)
{
    const struct event first = w->heap[0];
    w->heap[0] = w->heap[--w->heap_count];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t c = 2 * i + 1; c <= 2 * i + 2 && c < w->heap_count; c++)
            if (earlier(&w->heap[c], &w->heap[least]))
                least = c;
        if (least == i)
            break;
        swap(&w->heap[i], &w->heap[least]);
        i = least;
    }
    return first;
}

/* ---- what happened */

void trace(struct world *w, const char *format, ...)
{
    char line[400];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (const char *c = line; *c; c++)
        w->result->trace_hash = (w->result->trace_hash ^ (uint8_t)*c) * 0x100000001b3ull;
    w->result->trace_hash ^= w->now;
    if (w->options.trace)
        (void)fprintf(w->options.trace, "%10.6f %s\n", (double)w->now / 1e9, line);
}

void fail(struct world *w, const char *format, ...)
{
    if (w->result->failed)
        return;
    w->result->failed = true;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(w->result->why, sizeof w->result->why, format, args);
    va_end(args);
    trace(w, "FAILED: %s", w->result->why);
}

/* ---- nodes */

uint64_t clock_of(const struct node *n)
{
    const uint64_t now = n->w->now;
    return n->clock_base + now + (uint64_t)((int64_t)(now / 1000) * n->drift_ppm / 1000);
}

struct node *node_of(struct world *w, const struct uuid *store)
{
    for (unsigned i = 0; i < w->node_count; i++)
        if (w->nodes[i].known && uuid_equal(&w->nodes[i].store, store))
            return &w->nodes[i];
    assert(false && "a store that no node has");
    return NULL;
}

static void turn_at(struct node *n, uint64_t when)
{
    if (when >= n->turn_at)
        return;
    n->turn_at = when;
    at(n->w, when, EVENT_TURN, n->index, n->life, NULL);
}

void wake(struct node *n)
{
    turn_at(n, n->w->now);
}

static uint64_t disk_latency(struct node *n, const struct blkdev_req *req)
{
    struct world *w = n->w;
    uint64_t ns = 100000 + below(w, 400000) + req->length / 2;
    if (req->op == BLKDEV_FLUSH || (req->flags & BLKDEV_FUA))
        ns += 500000 + below(w, 2500000);
    if (w->now < n->disk_slow_until)
        ns *= 20;
    return ns;
}

/* Requests that are new get the time at which they end. */
static void schedule_disk(struct node *n)
{
    const size_t pending = blkdev_mem_pending(n->disk);
    /* The oldest come first; those known are a prefix but for what has ended. */
    for (size_t i = n->scheduled_count; i < pending; i++) {
        struct blkdev_req *req = blkdev_mem_pending_at(n->disk, i);
        assert(n->scheduled_count < sizeof n->scheduled / sizeof n->scheduled[0]);
        n->scheduled[n->scheduled_count++] = req;
        at(n->w, n->w->now + disk_latency(n, req), EVENT_DISK, n->index, n->life, req);
    }
}

static void disk_done(struct node *n, struct blkdev_req *req)
{
    for (size_t i = 0; i < n->scheduled_count; i++)
        if (n->scheduled[i] == req) {
            memmove(n->scheduled + i, n->scheduled + i + 1,
                    (n->scheduled_count - i - 1) * sizeof n->scheduled[0]);
            n->scheduled_count--;
            (void)blkdev_mem_step_at(n->disk, i);
            return;
        }
    assert(false && "every scheduled request is pending");
}

static void node_turn(struct node *n)
{
    const uint64_t clock = clock_of(n);
    n->turn_at = UINT64_MAX;
    const uint64_t next = member_turn(n->member, clock);
    schedule_disk(n);
    if (next != UINT64_MAX) {
        /* Its own clock says when; a little late is always possible. */
        const uint64_t left = next > clock ? next - clock : 0;
        turn_at(n, n->w->now + left + left / 20 + 1000);
    }
}

static void opened(void *user, int status, struct member_pod *member)
{
    struct node *n = user;
    if (status) {
        fail(n->w, "%s does not open: %s", n->name, ps_status_name(status));
        return;
    }
    struct pod_log_identity id;
    pod_log_identity(member_pod(member), &id);
    memcpy(n->store.bytes, id.store, 16);
    n->known = n->opened = true;
    trace(n->w, "%s: open, run %llu", n->name, (unsigned long long)id.run);
}

static void pod_event(void *user, const char *kind, uint64_t image_id, const char *text)
{
    struct node *n = user;
    (void)image_id;
    trace(n->w, "%s: pod: %s: %s", n->name, kind, text);
}

static void node_start(struct node *n)
{
    struct world *w = n->w;
    struct ps_error err = {0};
    n->life++;
    n->up = true;
    n->opened = false;
    n->scheduled_count = 0;
    n->turn_at = UINT64_MAX;
    struct member_config config = {
        .dev = n->disk,
        .pod = {.name = "default",
                .memory_budget = POD_MEMORY_MIN,
                .metadata_cache_bytes = 1 << 20,
                .dedupe = true,
                .compression = true,
                .segment_bytes = SEGMENT_BYTES,
                .seed = {n->index + 1, w->options.seed},
                .pod_id = {1, 2, 3},
                .event = pod_event,
                .user = n},
        .format = POD_FORMAT_BLANK,
        .node = n->name,
        .seed = prng_next(&w->prng),
        .options = replica_defaults,
        .links = &sim_links,
        .user = n,
    };
    person_sets(w, &config.options);
    heartbeat_init(&n->heartbeat, &config.options);
    at(w, w->now, EVENT_BEAT, n->index, n->life, NULL);
    static struct ps_error errors[SIM_NODES_MAX];
    (void)err;
    if (member_open(&config, clock_of(n), opened, n, &errors[n->index], &n->member))
        fail(w, "%s does not start: %s", n->name, errors[n->index].detail);
    else
        wake(n);
}

static void node_destroy(struct node *n)
{
    for (unsigned i = 0; i < HOSTS; i++)
        host_node_dies(&n->w->hosts[i], n->index);
    member_destroy(n->member);
    n->member = NULL;
    n->up = n->opened = false;
    n->scheduled_count = 0;
}

static void node_crash(struct node *n)
{
    struct world *w = n->w;
    static const enum blkdev_mem_cut cuts[] = {BLKDEV_MEM_LOSE, BLKDEV_MEM_KEEP, BLKDEV_MEM_TEAR,
                                               BLKDEV_MEM_REORDER};
    if (!n->up)
        return;
    trace(w, "%s: crashes", n->name);
    if (n->opened) {
        struct replica_info info;
        replica_look(member_replica(n->member), clock_of(n), &info);
        n->last_epoch = info.configuration.epoch;
    }
    w->result->crashes++;
    n->paused_until = n->stalled_until = 0;
    blkdev_mem_power_cut(n->disk, &w->prng, cuts[below(w, 4)]);
    node_destroy(n);
}

/* ---- faults */

enum second_fault {
    SECOND_NONE,
    SECOND_LEADER, /* the heir, if there is one */
    SECOND_FOLLOWER,
    SECOND_ALL,
    SECOND_APART, /* the heir is cut off, and the mediator comes back */
    SECOND_FAULTS,
    SECOND_EARLY = SECOND_FAULTS, /* the primary stops for a moment just before the mediator is missed: a
                                     member asks for its place */
};

static void cut_link(struct world *w, unsigned a, unsigned b, uint64_t ns)
{
    w->cut[a][b] = true;
    w->cut_until[a][b] = w->now + ns;
}

static const char *end_name(struct world *w, unsigned end)
{
    return end == MEDIATOR ? "mediator" : w->nodes[end].name;
}

static uint64_t some_time(struct world *w)
{
    static const uint64_t most[] = {100 * MS, 1000 * MS, 3000 * MS, 8000 * MS};
    return 20 * MS + below(w, most[below(w, 4)]);
}

static void cut_off(struct world *w, unsigned a, uint64_t ns)
{
    trace(w, "%s is cut off for %llu ms", end_name(w, a), (unsigned long long)(ns / MS));
    for (unsigned i = 0; i < ENDS; i++)
        if (i != a) {
            cut_link(w, a, i, ns);
            cut_link(w, i, a, ns);
        }
    w->result->cuts++;
}

void lose_answer(struct world *w, unsigned node)
{
    cut_off(w, node, some_time(w) + (chance(w, 1, 2) ? 3 * SECOND : 0));
    /* Not now: it is in the middle of something. */
    if (chance(w, 1, 2))
        at(w, w->now + below(w, 3 * MS), EVENT_CRASH, node, 0, NULL);
}

static struct node *leader(struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        struct replica_info info;
        struct node *n = &w->nodes[i];
        if (!n->up || !n->opened)
            continue;
        replica_look(member_replica(n->member), clock_of(n), &info);
        if (info.role == REPLICA_LEADING)
            return n;
    }
    return NULL;
}

/* Whom it hits: often the one that matters most. */
static struct node *victim(struct world *w)
{
    struct node *first = chance(w, 1, 2) ? leader(w) : NULL;
    return first ? first : &w->nodes[below(w, w->node_count)];
}

/* Kinds of faults differ from seed to seed in number: what one kind does is not always hidden by the next. */
static enum fault_kind kind_of_fault(struct world *w)
{
    unsigned all = 0, kind = 0;
    for (int i = 0; i < FAULTS; i++)
        all += w->fault_weight[i];
    unsigned pick = (unsigned)below(w, all);
    while (pick >= w->fault_weight[kind])
        pick -= w->fault_weight[kind++];
    return (enum fault_kind)kind;
}

static void fault(struct world *w)
{
    struct node *n = victim(w);
    const unsigned a = n->index;
    unsigned b = (unsigned)below(w, w->node_count + 1);
    const uint64_t ns = some_time(w);
    switch (kind_of_fault(w)) {
    case FAULT_CRASH:
        node_crash(n);
        at(w, w->now + (chance(w, 1, 2) ? below(w, 300 * MS) : ns), EVENT_START, a, 0, NULL);
        if (chance(w, 1, 2))
            break;
        /* And comes back where it sees the mediator alone. */
        trace(w, "%s is cut off from the others for %llu ms", n->name, (unsigned long long)(ns / MS));
        for (unsigned i = 0; i < w->node_count; i++)
            if (i != a) {
                cut_link(w, a, i, ns);
                cut_link(w, i, a, ns);
            }
        break;
    case FAULT_CRASH_MANY:
        for (unsigned i = 0; i < w->node_count; i++)
            if (chance(w, 2, 3) && w->nodes[i].up) {
                node_crash(&w->nodes[i]);
                at(w, w->now + below(w, 2 * SECOND), EVENT_START, i, 0, NULL);
            }
        break;
    case FAULT_CUT:
        if (b == w->node_count)
            b = MEDIATOR;
        if (b == a)
            break;
        const bool both = chance(w, 1, 2);
        trace(w, "%s %s %s cut for %llu ms", n->name, both ? "and" : "to", end_name(w, b),
              (unsigned long long)(ns / MS));
        cut_link(w, a, b, ns);
        if (both)
            cut_link(w, b, a, ns);
        w->result->cuts++;
        break;
    case FAULT_ALONE:
        cut_off(w, a, ns);
        break;
    case FAULT_PAUSE:
        trace(w, "%s is paused for %llu ms", n->name, (unsigned long long)(ns / MS));
        n->paused_until = w->now + ns;
        w->result->pauses++;
        break;
    case FAULT_STALL: {
        const uint64_t stall = 20 * MS + below(w, 2 * SECOND);
        trace(w, "%s's reactor has no turn for %llu ms", n->name, (unsigned long long)(stall / MS));
        n->stalled_until = w->now + stall;
        w->result->stalls++;
        break;
    }
    case FAULT_MEDIATOR:
        trace(w, "mediator is down for %llu ms", (unsigned long long)(ns / MS));
        w->mediator_up = false;
        w->mediator_until = w->now + ns;
        w->result->mediator_outages++;
        break;
    case FAULT_MEDIATOR_LOST: {
        const uint64_t gone = 4 * SECOND + below(w, 8 * SECOND);
        trace(w, "mediator is lost for %llu ms", (unsigned long long)(gone / MS));
        w->mediator_up = false;
        w->mediator_until = w->now + gone;
        w->result->mediator_outages++;
        if (chance(w, 3, 4))
            w->quiet_until = w->now + gone;
        if (chance(w, 1, 3))
            at(w, w->now + below(w, 800 * MS), EVENT_SECOND_FAULT, 0, 0, (void *)(uintptr_t)SECOND_EARLY);
        at(w, w->now + 2500 * MS + below(w, gone - 2 * SECOND), EVENT_SECOND_FAULT, 0, 0,
           (void *)(uintptr_t)below(w, SECOND_FAULTS));
        break;
    }
    case FAULT_SLOW_DISK:
        trace(w, "%s's disk is slow for %llu ms", n->name, (unsigned long long)(ns / MS));
        n->disk_slow_until = w->now + ns;
        break;
    case FAULT_CLOGGED:
        w->clogged = !w->clogged;
        break;
    case FAULT_LONG_AWAY:
        node_crash(n);
        at(w, w->now + 5 * SECOND + below(w, 9 * SECOND), EVENT_START, a, 0, NULL);
        break;
    case FAULT_SWITCH_OVER:
        if (n->up && n->opened && b < w->node_count && w->nodes[b].known) {
            struct ps_error err;
            (void)replica_switch_over(member_replica(n->member), clock_of(n), &w->nodes[b].store, &err);
            wake(n);
        }
        break;
    case FAULT_PERSON:
        person_promotes(w);
        break;
    case FAULTS:
        break;
    }
}

static void crash_for_a_while(struct world *w, struct node *n)
{
    node_crash(n);
    at(w, w->now + some_time(w), EVENT_START, n->index, 0, NULL);
}

static void second_fault(struct world *w, enum second_fault what)
{
    struct node *first = leader(w);
    const uint64_t ns = SECOND + below(w, 6 * SECOND);
    if (first && what == SECOND_EARLY) {
        first->paused_until = w->now + 1000 * MS + below(w, 800 * MS);
        trace(w, "%s is paused for a moment", first->name);
        return;
    }
    for (unsigned i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[i];
        const bool hit = what == SECOND_ALL || (what == SECOND_LEADER && n == first) ||
                         (what == SECOND_FOLLOWER && n != first);
        if (n->up && hit)
            crash_for_a_while(w, n);
    }
    if (!first || what != SECOND_APART)
        return;
    trace(w, "%s is cut off from the members for %llu ms", first->name, (unsigned long long)(ns / MS));
    const bool hears_mediator = chance(w, 1, 4);
    for (unsigned i = 0; i < ENDS; i++) {
        if (i == first->index || (i == MEDIATOR && hears_mediator))
            continue;
        cut_link(w, i, first->index, ns);
        cut_link(w, first->index, i, ns);
    }
    w->mediator_until = w->now;
}

static void heal(struct world *w)
{
    trace(w, "all is well from now on");
    w->faults = false;
    w->clogged = false;
    memset(w->cut, 0, sizeof w->cut);
    mediator_returns(w);
    for (unsigned i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[i];
        n->off = false;
        n->paused_until = n->stalled_until = n->disk_slow_until = 0;
        if (!n->up)
            node_start(n);
        wake(n);
    }
}

static void expire(struct world *w)
{
    for (unsigned a = 0; a < ENDS; a++)
        for (unsigned b = 0; b < ENDS; b++)
            if (w->cut[a][b] && w->now >= w->cut_until[a][b])
                w->cut[a][b] = false;
    if (!w->mediator_up && w->now >= w->mediator_until)
        mediator_returns(w);
}

/* ---- running */

/* A pause holds up all of a node, a stall what its reactor does. */
static bool is_deferred(const struct node *n, const struct event *e)
{
    if (e->kind == EVENT_START || e->kind == EVENT_CRASH)
        return false;
    const bool of_beats = e->kind == EVENT_BEAT || (e->kind == EVENT_MESSAGE && is_beat(e->what));
    return n->paused_until > n->w->now || (n->stalled_until > n->w->now && !of_beats);
}

static void happen(struct world *w, const struct event *e)
{
    struct node *n = e->kind == EVENT_HOST || e->kind == EVENT_FAULT || e->kind == EVENT_SECOND_FAULT ||
                             e->node == MEDIATOR
                         ? NULL
                         : &w->nodes[e->node];
    w->result->events++;
    if (n && is_deferred(n, e)) {
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
    case EVENT_LOST:
        if (n->up && n->opened && e->life == n->life) {
            const unsigned peer = (unsigned)(uintptr_t)e->what;
            member_peer_lost(n->member, clock_of(n), &w->nodes[peer].store);
            wake(n);
        }
        break;
    case EVENT_CRASH:
        if (!w->faults)
            break;
        node_crash(n);
        at(w, w->now + below(w, 300 * MS), EVENT_START, n->index, 0, NULL);
        break;
    case EVENT_START:
        if (!n->up && !n->off)
            node_start(n);
        break;
    case EVENT_HOST:
        host_turn(&w->hosts[e->node], e->life);
        break;
    case EVENT_PERSON:
        person_promotes(w);
        break;
    case EVENT_SECOND_FAULT:
        if (w->faults)
            second_fault(w, (enum second_fault)(uintptr_t)e->what);
        break;
    case EVENT_FAULT:
        if (w->faults) {
            expire(w);
            if (w->now >= w->quiet_until && chance(w, 1, w->fault_every))
                fault(w);
            at(w, w->now + 50 * MS, EVENT_FAULT, 0, 0, NULL);
        }
        break;
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

/* One leads with leases, all are in sync, every log is applied to the same end. */
static bool at_rest(struct world *w)
{
    struct replica_info lead = {0}, info;
    unsigned leaders = 0;
    if (w->stopping && !hosts_idle(w))
        return false;
    for (unsigned i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[i];
        if (!n->up || !n->opened)
            return false;
        replica_look(member_replica(n->member), clock_of(n), &info);
        if (info.role == REPLICA_LEADING && info.lease_held) {
            leaders++;
            lead = info;
        }
    }
    if (leaders != 1 || lead.asking || lead.alone)
        return false;
    for (uint32_t i = 0; i < lead.peer_count; i++)
        if (!lead.peers[i].member.in_sync)
            return false;
    for (unsigned i = 0; i < w->node_count; i++) {
        replica_look(member_replica(w->nodes[i].member), clock_of(&w->nodes[i]), &info);
        if (info.alone || !uuid_is_none(&info.heir))
            return false;
        if (!log_id_equal(&info.applied, &lead.applied) || !log_id_equal(&info.end, &lead.end) ||
            !log_id_equal(&lead.applied, &lead.end) || info.configuration.epoch != lead.configuration.epoch)
            return false;
    }
    return true;
}

static void describe(struct world *w, char *out, size_t size)
{
    size_t used = 0;
    for (unsigned i = 0; i < w->node_count && used < size; i++) {
        struct node *n = &w->nodes[i];
        struct replica_info info;
        if (!n->up || !n->opened)
            continue;
        replica_look(member_replica(n->member), clock_of(n), &info);
        used += (size_t)snprintf(out + used, size - used, "%s %s epoch %llu %llu/%llu%s%s%s; ", n->name,
                                 replica_role_name(info.role), (unsigned long long)info.configuration.epoch,
                                 (unsigned long long)info.applied.seq, (unsigned long long)info.end.seq,
                                 info.alone                  ? " alone"
                                 : !uuid_is_none(&info.heir) ? " bound"
                                 : info.asking               ? " asks"
                                                             : "",
                                 info.waits_for[0] ? ", waits for " : "", info.waits_for);
    }
}

static bool reads_done(struct world *w)
{
    return hosts_idle(w);
}

/* ---- equal mirrors */

struct alone {
    struct pod *pod;
    int status;
    bool opened, done;
};

static void alone_opened(void *user, int status, struct pod *pod)
{
    struct alone *a = user;
    (void)pod;
    a->opened = true;
    a->status = status;
}

static void alone_read(struct pod_io *io, int status)
{
    struct alone *a = io->user;
    a->done = true;
    a->status = status;
}

static void alone_step(struct world *w, struct node *n, struct alone *a)
{
    w->now += 1000;
    (void)pod_turn(a->pod, w->now);
    (void)blkdev_mem_step(n->disk);
}

static void alone_until(struct world *w, struct node *n, struct alone *a, const bool *flag)
{
    for (int i = 0; i < 1000000 && !*flag; i++)
        alone_step(w, n, a);
}

static void alone_sealed(void *user, const struct log_id *id, const void *batch, uint32_t bytes)
{
    (void)user;
    (void)id;
    (void)batch;
    (void)bytes;
}

/* Opens what a member has in flash as a primary that nobody follows, and reads it. */
static bool read_alone(struct world *w, struct node *n, uint8_t *buf)
{
    struct alone a = {0};
    struct ps_error err = {0};
    struct pod_image *image = NULL;
    struct log_id applied, end;
    const struct pod_log_events events = {.sealed = alone_sealed};
    const struct pod_config config = {.name = "default",
                                      .memory_budget = POD_MEMORY_MIN,
                                      .dedupe = true,
                                      .compression = true,
                                      .log = &events};
    (void)blkdev_mem_drain(n->disk);
    blkdev_mem_power_cut(n->disk, &w->prng, BLKDEV_MEM_LOSE);
    node_destroy(n);
    int rc = pod_open(n->disk, &config, POD_OPEN_ONLY, alone_opened, &a, &err, &a.pod);
    if (rc == 0)
        alone_until(w, n, &a, &a.opened);
    rc = rc ? rc : a.status;
    if (rc == 0) {
        pod_log_ends(a.pod, NULL, &end);
        pod_log_commit(a.pod, end.seq);
        for (int i = 0; i < 1000000; i++) {
            alone_step(w, n, &a);
            pod_log_ends(a.pod, &applied, NULL);
            if (applied.seq == end.seq)
                break;
        }
        rc = applied.seq == end.seq ? 0 : PS_EDEADLINE;
    }
    if (rc == 0)
        pod_lead(a.pod, 1u << 20);
    if (rc == 0)
        rc = pod_image_open(a.pod, "v", &image, &err);
    struct pod_io io = {
        .op = POD_READ, .image = image, .length = BLOCKS * POD_BLOCK_BYTES, .buf = buf, .user = &a};
    if (rc == 0)
        rc = pod_submit(a.pod, &io, alone_read);
    if (rc == 0) {
        alone_until(w, n, &a, &a.done);
        rc = a.done ? a.status : PS_EDEADLINE;
    }
    if (rc)
        fail(w, "%s can't be read by itself: %s, %s", n->name, ps_status_name(rc), err.detail);
    if (image)
        pod_image_close(image);
    blkdev_mem_power_cut(n->disk, &w->prng, BLKDEV_MEM_LOSE);
    if (a.pod)
        pod_destroy(a.pod);
    return rc == 0;
}

static void compare_mirrors(struct world *w)
{
    uint8_t *first = aligned_alloc(BLKDEV_ALIGN, BLOCKS * POD_BLOCK_BYTES);
    uint8_t *other = aligned_alloc(BLKDEV_ALIGN, BLOCKS * POD_BLOCK_BYTES);
    assert(first && other);
    const struct node *with = NULL;
    for (unsigned i = 0; i < w->node_count && !w->result->failed; i++) {
        struct node *n = &w->nodes[i];
        if (!read_alone(w, n, with ? other : first))
            break;
        for (unsigned b = 0; with && b < BLOCKS; b++)
            if (memcmp(first + b * POD_BLOCK_BYTES, other + b * POD_BLOCK_BYTES, POD_BLOCK_BYTES) != 0) {
                fail(w, "block %u differs between %s and %s", b, with->name, n->name);
                break;
            }
        if (!with)
            with = n;
    }
    free(first);
    free(other);
}

/* ---- a run */

static void begin(struct world *w)
{
    struct uuid id = {{7}};
    w->node_count = w->options.nodes ? w->options.nodes : 2 + (unsigned)below(w, 2);
    w->mediator_store = mediator_store_mem_create(&id);
    assert(w->mediator_store);
    w->mediator_up = true;
    mediator_restart(w);
    w->history = history_create(BLOCKS);
    const bool small = chance(w, 1, 8), long_away = w->options.seed % 4 == 3;
    const uint64_t disk_bytes = long_away ? TINY_DISK_BYTES : small ? SMALL_DISK_BYTES : DISK_BYTES;
    static const unsigned every[] = {8, 16, 30, 60};
    w->fault_every = every[below(w, 4)];
    for (int i = 0; i < FAULT_LONG_AWAY; i++)
        w->fault_weight[i] = (unsigned)below(w, 4);
    w->fault_weight[below(w, FAULT_LONG_AWAY)]++;
    /* In some, hardly anything happens before the mediator is lost: the members agree on going on without. */
    if (chance(w, 1, 2)) {
        w->fault_weight[FAULT_MEDIATOR_LOST] += 12;
        w->fault_every = 30;
    }
    w->fault_weight[FAULT_LONG_AWAY] = long_away ? 12 : 0;
    person_begins(w);
    for (unsigned i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[i];
        const struct blkdev_mem_options disk = {.size_bytes = disk_bytes, .max_io_bytes = 1 << 20};
        *n = (struct node){.w = w, .index = i};
        (void)snprintf(n->name, sizeof n->name, "n%u", (i + 1) % 10); /* gcc wants to see that it fits */
        n->disk = blkdev_mem_create(&disk);
        /* Up to 3 %, often as much: two of them are 6 % apart, the margin allows for 10. */
        n->drift_ppm = chance(w, 1, 2) ? (int64_t)below(w, 60001) - 30000 : chance(w, 1, 2) ? 30000 : -30000;
        n->clock_base = below(w, 1000) * SECOND;
        assert(n->disk);
        node_start(n);
    }
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
        if (n->member) {
            blkdev_mem_power_cut(n->disk, &w->prng, BLKDEV_MEM_LOSE);
            node_destroy(n);
        }
        blkdev_destroy(n->disk);
    }
    hosts_free(w);
    history_destroy(w->history);
    mediator_core_destroy(w->mediator);
    mediator_store_mem_destroy(w->mediator_store);
    free(w->heap);
}

static void run(struct world *w)
{
    char state[200];
    hosts_init(w);
    if (!run_until(w, all_open, 5 * SECOND))
        return;
    found(w);
    if (!run_until(w, wrote_something, w->now + 10 * SECOND)) {
        describe(w, state, sizeof state);
        fail(w, "no host could write in the first ten seconds: %s", state);
        return;
    }
    w->faults = true;
    w->last_write_ns = w->now;
    at(w, w->now, EVENT_FAULT, 0, 0, NULL);
    const uint64_t seconds = w->options.fault_seconds ? w->options.fault_seconds : 10 + below(w, 20);
    (void)run_until(w, NULL, w->now + seconds * SECOND);
    if (w->result->failed)
        return;
    heal(w);
    const uint64_t writes = w->result->writes;
    (void)run_until(w, NULL, w->now + 6 * SECOND);
    w->stopping = true;
    if (!w->result->failed && !run_until(w, at_rest, w->now + 60 * SECOND)) {
        describe(w, state, sizeof state);
        fail(w, "it does not come to rest: %s", state);
    } else if (!w->result->failed && w->result->writes == writes) {
        fail(w, "no write was answered after all had been well again");
    } else if (!w->result->failed && (!final_reads(w) || !run_until(w, reads_done, w->now + 5 * SECOND))) {
        fail(w, "the last reads are not answered");
    }
}

void sim_run(const struct sim_options *options, struct sim_result *result)
{
    struct world *w = calloc(1, sizeof *w);
    assert(w);
    *result = (struct sim_result){.trace_hash = 0xcbf29ce484222325ull};
    w->options = *options;
    w->result = result;
    prng_seed(&w->prng, options->seed);
    replica_mutation = options->mutation;
    begin(w);
    run(w);
    if (!history_check(w->history, result->why + (result->failed ? strlen(result->why) : 0),
                       sizeof result->why - strlen(result->why)))
        result->failed = true;
    if (!result->failed)
        compare_mirrors(w);
    result->virtual_ns = w->now;
    end(w);
    replica_mutation = REPLICA_HONEST;
    free(w);
}

const char *sim_mutation_name(enum replica_mutation mutation)
{
    static const char *const names[REPLICA_MUTATIONS] = {
        "honest",
        "ack-any",
        "commit-alone",
        "skip-lease",
        "read-unleased",
        "forget-promise",
        "accept-gap",
        "keep-tail",
        "checkpoint-uncommitted",
        "ignore-epoch",
        "silence-grants",
        "forget-verdict",
        "ack-unflushed",
        "forget-ask",
        "join-early",
        "abandon-join",
        "lease-from-receipt",
        "no-margin",
        "without-swap",
        "ignore-votes",
        "bound-obeys",
        "bind-while-asking",
        "deaf",
    };
    return names[mutation];
}
