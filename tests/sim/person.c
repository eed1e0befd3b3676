/* What people do to a cluster beyond keeping it going: they promote a member that is bound to one that is
 * gone, and put an empty mediator in the place of one whose disk was lost.
 *
 * A promotion may lose what was acknowledged; histories could not be judged then. So here it is given only to
 * who has all of it: a member that was in sync in the configuration that the heir had when it crashed. And
 * the heir stays away until all is well: it might answer once more before it hears that this is given up. A
 * mediator loses its records only while somebody may go on without it: otherwise the members would wait for
 * the one that knew them.
 */
#include "tests/sim/world.h"

#include <stdio.h>

void person_promotes(struct world *w, struct node *n, bool off)
{
    struct replica_info info;
    struct ps_error err = {0};
    if (!look(n, &info) || stands_still(n) || uuid_is_none(&info.heir))
        return;
    struct node *heir = node_of(w, &info.heir);
    if (!heir || (heir->up && !heir->lost) || info.configuration.epoch != heir->last_epoch ||
        !configuration_in_sync(&info.configuration, &n->store))
        return;
    const int rc = replica_promote(member_replica(n->member), clock_of(n), off, &err);
    trace(w, "a person promotes %s, which is bound to %s: %s", n->name, heir->name, rc ? err.detail : "");
    wake(n);
    if (rc)
        return;
    heir->off = w->faults;
    w->result->promotions++;
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

void mediator_returns(struct world *w, bool empty)
{
    if (!w->mediator_up)
        trace(w, "mediator is back");
    if (!w->mediator_up && empty && is_dispensable(w)) {
        const struct uuid id = {{7, (uint8_t)++w->mediators}};
        trace(w, "it has no records");
        mediator_core_destroy(w->mediator);
        w->mediator = NULL;
        mediator_store_mem_destroy(w->mediator_store);
        w->mediator_store = mediator_store_mem_create(&id);
        assert(w->mediator_store);
    }
    w->mediator_up = true;
    mediator_restart(w);
}
