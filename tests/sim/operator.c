/* What a person (or the node's formation) does for a cluster: starts nodes whose device failed again,
 * replaces disks, tells the cluster of new ones.
 *
 * Nobody may empty a disk that holds the last copy. It is looked at the mediator's configuration, which is
 * the truth unless the members went on without it. */
#include "tests/sim/world.h"

enum {
    EVERY_MS = 100
};

/* What is durable at somebody else, whoever holds what asks about it. */
static bool has_another_copy(struct world *w, const struct node *n)
{
    const struct configuration *c = mediator_configuration(w);
    struct replica_info info;
    if (!c || !n->known)
        return false;
    /* An ask that is open and not on its way goes with the disk; one that was granted is in the
     * configuration. */
    if (!n->lost && (asks_under_way(w, n->index) || !look(n, &info)))
        return false;
    for (unsigned i = 0; i < w->node_count; i++)
        if (look(&w->nodes[i], &info) &&
            (info.alone || !uuid_is_none(&info.heir) || info.configuration.epoch > c->epoch))
            return false;
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct node *other = &w->nodes[i];
        if (other != n && other->opened && !other->damaged && !other->blank && other->known &&
            configuration_in_sync(c, &other->store))
            return true;
    }
    return false;
}

static void replace(struct world *w, struct node *n)
{
    if (!w->mediator_up || !has_another_copy(w, n))
        return;
    trace(w, "%s: its disk is replaced by an empty one", n->name);
    if (n->up) {
        drives_cut(n, BLKDEV_MEM_LOSE);
        node_destroy(n);
    }
    n->paused_until = n->stalled_until = 0;
    node_new_disk(n);
    n->replace = false;
    n->blank = true;
    w->result->replaced++;
    node_start(n);
}

/* Its former store goes, then the new one comes. */
static void tell(struct world *w, struct node *n)
{
    struct node *first = leader(w);
    struct replica_info info;
    struct ps_error err;
    if (!first || first == n || stands_still(first) || !n->opened || !look(first, &info))
        return;
    const struct configuration *c = &info.configuration;
    if (configuration_has(c, &n->store)) {
        n->blank = false;
        return;
    }
    struct replica *r = member_replica(first->member);
    for (uint32_t i = 0; i < c->count; i++)
        if (strcmp(c->members[i].node, n->name) == 0) {
            (void)replica_remove_member(r, clock_of(first), &c->members[i].store, &err);
            wake(first);
            return;
        }
    struct member member = {.store = n->store,
                            .mode = w->scenario->async >> n->index & 1 ? MEMBER_ASYNC : MEMBER_SYNC};
    (void)snprintf(member.node, sizeof member.node, "%s", n->name);
    (void)replica_add_member(r, clock_of(first), &member, &err);
    wake(first);
}

/* A store whose device failed takes no writes until it is opened again. */
static void restart_failed(struct world *w, struct node *n)
{
    if (!n->up || n->lost || w->now < n->disk_fails_until || stands_still(n))
        return;
    if (n->opened ? !store_failed(n) : n->error.status == 0)
        return;
    if (!n->ever_failed && !may_be_damaged(n))
        fail(w, SIM_STORE, "%s: its store failed, and nothing had been done to its device", n->name);
    trace(w, "%s: is started anew, its store had failed", n->name);
    drives_cut(n, BLKDEV_MEM_LOSE);
    node_destroy(n);
    node_start(n);
}

bool operator_busy(const struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++)
        if (w->nodes[i].replace || w->nodes[i].blank || w->nodes[i].lost)
            return true;
    return false;
}

bool is_damaged(const struct world *w)
{
    return w->result->rotten > 0;
}

/* When nothing else goes wrong any more and a member is still bound to a store that is lost, somebody has to
 * promote it. */
static void promote_over(struct world *w, const struct node *lost)
{
    struct replica_info info;
    for (unsigned i = 0; i < w->node_count && !w->faults; i++)
        if (look(&w->nodes[i], &info) && uuid_equal(&info.heir, &lost->store))
            person_promotes(w, &w->nodes[i], true);
}

void operator_turn(struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[i];
        restart_failed(w, n);
        if (n->lost)
            promote_over(w, n);
        if (n->replace)
            replace(w, n);
        else if (n->blank)
            tell(w, n);
    }
    at(w, w->now + EVERY_MS * MS, EVENT_OPERATOR, 0, 0, NULL);
}
