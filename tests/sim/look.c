/* What can be seen of a cluster from outside all of its members at once. */
#include "tests/sim/world.h"

bool look(const struct node *n, struct replica_info *out)
{
    if (!n->up || !n->opened)
        return false;
    replica_look(member_replica(n->member), clock_of(n), out);
    return true;
}

struct node *leader(struct world *w)
{
    struct replica_info info;
    for (unsigned i = 0; i < w->node_count; i++)
        if (look(&w->nodes[i], &info) && info.role == REPLICA_LEADING)
            return &w->nodes[i];
    return NULL;
}

/* Who leads; else who may go on alone, or is primary by what it knows. */
static struct node *primary(struct world *w)
{
    struct replica_info info;
    struct node *found = leader(w);
    for (unsigned i = 0; i < w->node_count && !found; i++)
        if (look(&w->nodes[i], &info) && (info.alone || info.role == REPLICA_INHERITING))
            found = &w->nodes[i];
    return found;
}

struct node *node_meant(struct world *w, unsigned who)
{
    struct node *first = who == WHO_PRIMARY || who == WHO_BACKUP ? primary(w) : NULL;
    if (who < w->node_count)
        return &w->nodes[who];
    if (who != WHO_BACKUP)
        return first;
    for (unsigned i = 0; i < w->node_count; i++)
        if (&w->nodes[i] != first && w->nodes[i].up)
            return &w->nodes[i];
    return NULL;
}

bool may_be_damaged(const struct node *n)
{
    return n->ever_damaged || n->copies_damage || (n->copies && n->w->result->rotten);
}

/* By the mediator's word a member is in sync whose device gave back what was written to it. */
bool has_a_sound_copy(struct world *w)
{
    const struct configuration *c = mediator_configuration(w);
    for (unsigned i = 0; c && i < w->node_count; i++) {
        const struct node *n = &w->nodes[i];
        if (n->known && !may_be_damaged(n) && configuration_in_sync(c, &n->store))
            return true;
    }
    return false;
}

bool store_failed(const struct node *n)
{
    struct replica_info info;
    if (!look(n, &info))
        return false;
    /* Not one that is given up to be opened anew or filled. */
    return pod_log_failed(member_pod(n->member)) || strstr(info.waits_for, "flash device, which failed");
}

static bool role_of(struct world *w, const struct node *n, enum condition_kind kind)
{
    struct replica_info own, lead;
    struct node *first = leader(w);
    if (!first || !look(first, &lead))
        return false;
    const int at = n->known ? configuration_find(&lead.configuration, &n->store) : -1;
    const bool async = at >= 0 && lead.configuration.members[at].mode == MEMBER_ASYNC;
    switch (kind) {
    case CONDITION_IN_SYNC:
        /* One that never counts is in sync when it has it all. */
        return async ? look(n, &own) && log_id_equal(&own.applied, &lead.applied)
                     : at >= 0 && lead.configuration.members[at].in_sync && n->up;
    case CONDITION_OUT_OF_SYNC:
        return at < 0 || !lead.configuration.members[at].in_sync;
    case CONDITION_CAUGHT_UP:
        return look(n, &own) && log_id_equal(&own.applied, &lead.end);
    default:
        break;
    }
    for (uint32_t i = 0; i < lead.peer_count; i++)
        if (n->known && uuid_equal(&lead.peers[i].member.store, &n->store))
            return lead.peers[i].state ==
                   (kind == CONDITION_COPYING ? REPLICA_PEER_COPYING : REPLICA_PEER_JOINING);
    return false;
}

static bool holds_of(struct world *w, struct node *n, enum condition_kind kind)
{
    struct replica_info info;
    switch (kind) {
    case CONDITION_UP:
        return n->up && n->opened;
    case CONDITION_DAMAGED:
        return n->lost || n->damaged;
    case CONDITION_FAILED:
        return store_failed(n);
    case CONDITION_FULL_COPY:
        return n->copies > 0;
    case CONDITION_LEADS:
        return look(n, &info) && info.role == REPLICA_LEADING && info.lease_held;
    case CONDITION_ALONE:
        return look(n, &info) && info.alone;
    case CONDITION_BOUND:
        return look(n, &info) && !uuid_is_none(&info.heir);
    case CONDITION_TAIL:
        return look(n, &info) && info.end.seq > info.commit_seq;
    default:
        return role_of(w, n, kind);
    }
}

bool holds(struct world *w, const struct step *s)
{
    if (s->condition == CONDITION_SERVING)
        return w->last_write_begin_ns > w->script.since;
    if (s->condition == CONDITION_UNSERVED)
        return w->last_write_ns <= w->script.since;
    if (s->condition == CONDITION_REPAIRED)
        return w->result->repaired > 0;
    if (s->condition == CONDITION_FULL)
        return w->last_full_ns > w->script.since;
    if (s->condition_who != WHO_ALL) {
        struct node *n = node_meant(w, s->condition_who);
        return n && holds_of(w, n, s->condition);
    }
    for (unsigned i = 0; i < w->node_count; i++)
        if (!holds_of(w, &w->nodes[i], s->condition))
            return false;
    return true;
}

bool at_rest(struct world *w)
{
    struct replica_info lead = {0}, info;
    unsigned leaders = 0;
    if ((w->stopping && !hosts_idle(w)) || operator_busy(w) || !filler_is_gone(w))
        return false;
    for (unsigned i = 0; i < w->node_count; i++) {
        if (!look(&w->nodes[i], &info) || store_failed(&w->nodes[i]) || !drives_whole(&w->nodes[i]))
            return false;
        if (info.role == REPLICA_LEADING && info.lease_held) {
            leaders++;
            lead = info;
        }
    }
    if (leaders != 1 || lead.asking || lead.alone || lead.configuration.count != w->node_count)
        return false;
    for (uint32_t i = 0; i < lead.peer_count; i++)
        if (lead.peers[i].member.mode == MEMBER_SYNC && !lead.peers[i].member.in_sync)
            return false;
    for (unsigned i = 0; i < w->node_count; i++) {
        (void)look(&w->nodes[i], &info);
        if (info.alone || !uuid_is_none(&info.heir))
            return false;
        if (!log_id_equal(&info.applied, &lead.applied) || !log_id_equal(&info.end, &lead.end) ||
            !log_id_equal(&lead.applied, &lead.end) || info.configuration.epoch != lead.configuration.epoch)
            return false;
    }
    return true;
}

void describe(struct world *w, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < w->node_count && used < size; i++) {
        struct node *n = &w->nodes[i];
        struct replica_info info;
        if (!look(n, &info)) {
            used += (size_t)snprintf(out + used, size - used, "%s %s; ", n->name,
                                     n->lost ? "lost"
                                     : n->up ? "opens"
                                             : "down");
            continue;
        }
        used += (size_t)snprintf(out + used, size - used, "%s %s epoch %llu %llu/%llu%s%s%s%s; ", n->name,
                                 replica_role_name(info.role), (unsigned long long)info.configuration.epoch,
                                 (unsigned long long)info.applied.seq, (unsigned long long)info.end.seq,
                                 info.alone                  ? " alone"
                                 : !uuid_is_none(&info.heir) ? " bound"
                                 : info.asking               ? " asks"
                                                             : "",
                                 store_failed(n)    ? " failed"
                                 : !drives_whole(n) ? " without a device"
                                                    : "",
                                 info.waits_for[0] ? ", waits for " : "", info.waits_for);
    }
}
