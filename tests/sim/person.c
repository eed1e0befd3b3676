/* What people do to a cluster, in some seeds: they promote a member that is bound to one that is gone, prefer
 * a member, and put an empty mediator in the place of one whose disk was lost. Primaries lose the mediator
 * alone there, too.
 *
 * A promotion may lose what was acknowledged; histories could not be judged then. So here it is given only to
 * who has all of it: a member that was in sync in the configuration that the heir had when it crashed. A
 * mediator loses its records only while somebody may go on without it: otherwise the members would wait for
 * the one that knew them. */
#include "tests/sim/world.h"

#include <stdio.h>

enum {
    PERSONS_EVERY = 5, /* seeds */
};

static bool look(const struct node *n, struct replica_info *out)
{
    if (!n->up || !n->opened)
        return false;
    replica_look(member_replica(n->member), clock_of(n), out);
    return true;
}

void person_begins(struct world *w)
{
    w->persons = w->options.seed % PERSONS_EVERY == PERSONS_EVERY - 1;
    w->fault_weight[FAULT_PERSON] = w->persons ? 12 : 0;
    if (w->persons)
        w->fault_weight[FAULT_MEDIATOR_LOST] += 12;
}

void person_prefers(struct world *w, struct configuration *first)
{
    if (w->persons)
        first->preferred = w->nodes[w->options.seed / PERSONS_EVERY % w->node_count].store;
}

void person_sets(const struct world *w, struct replica_options *options)
{
    if (!w->persons)
        return;
    options->stable_heartbeats = 4;
    options->move_again_ns = 3000000000;
    options->mediator_lost_ns = 1500000000; /* few cuts last so long that a primary yields */
}

/* The primary alone loses the mediator, for long enough to yield. */
static void part_leader(struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        struct replica_info info;
        if (!look(&w->nodes[i], &info) || info.role != REPLICA_LEADING)
            continue;
        trace(w, "%s does not reach the mediator for a while", w->nodes[i].name);
        w->cut[i][MEDIATOR] = w->cut[MEDIATOR][i] = true;
        w->cut_until[i][MEDIATOR] = w->cut_until[MEDIATOR][i] = w->now + 5 * SECOND;
        return;
    }
}

void person_promotes(struct world *w)
{
    const bool off = chance(w, 1, 2);
    if (!w->faults)
        return;
    if (chance(w, 1, 2))
        part_leader(w);
    for (unsigned i = 0; i < w->node_count; i++) {
        struct replica_info info;
        struct ps_error err = {0};
        struct node *n = &w->nodes[i];
        if (!look(n, &info) || uuid_is_none(&info.heir))
            continue;
        struct node *heir = node_of(w, &info.heir);
        if (heir->up || info.configuration.epoch != heir->last_epoch ||
            !configuration_in_sync(&info.configuration, &n->store))
            continue;
        const int rc = replica_promote(member_replica(n->member), clock_of(n), off, &err);
        trace(w, "a person promotes %s, which is bound to %s: %s", n->name, heir->name, rc ? err.detail : "");
        wake(n);
        if (rc)
            continue;
        heir->off = off;
        w->result->promotions++;
        return;
    }
}

/* The holder of the latest configuration may go on without a mediator. */
static bool is_dispensable(const struct world *w)
{
    uint64_t highest = 0, alone = 0;
    for (unsigned i = 0; i < w->node_count; i++) {
        struct replica_info info;
        const bool up = look(&w->nodes[i], &info);
        const uint64_t epoch = up ? info.configuration.epoch : w->nodes[i].last_epoch;
        highest = epoch > highest ? epoch : highest;
        if (up && info.alone && info.role == REPLICA_LEADING && !info.asking)
            alone = epoch > alone ? epoch : alone;
    }
    return alone && alone == highest;
}

void mediator_returns(struct world *w)
{
    w->mediator_up = true;
    if (w->persons && is_dispensable(w) && chance(w, 1, 2)) {
        const struct uuid id = {{7, (uint8_t)++w->mediators}};
        trace(w, "the mediator comes back without its records");
        mediator_core_destroy(w->mediator);
        w->mediator = NULL;
        mediator_store_mem_destroy(w->mediator_store);
        w->mediator_store = mediator_store_mem_create(&id);
        assert(w->mediator_store);
    }
    mediator_restart(w);
    /* Somebody looks at what became of it. */
    for (unsigned i = 1; w->persons && w->faults && i <= 4; i++)
        at(w, w->now + i * 700 * MS, EVENT_PERSON, MEDIATOR, 0, NULL);
}
