#include "node/host/formation.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 3, 4))) static void set(struct formation_action *out, enum formation_kind kind,
                                                      const char *format, ...)
{
    out->kind = kind;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(out->text, sizeof out->text, format, args);
    va_end(args);
}

static bool is_blank(const struct formation_node *n)
{
    return n->answered && n->epoch == 0 && n->log_end == 0;
}

/* ---- while there is no pod at the mediator */

static void found(const struct formation_input *in, bool all_in_sync, struct formation_action *out)
{
    struct configuration *c = &out->configuration;
    *c = (struct configuration){.pod = in->self.pod, .epoch = 1};
    (void)snprintf(c->pod_name, sizeof c->pod_name, "%s", in->pod_name);
    c->primary = c->preferred = in->self.store;
    c->members[c->count++] = (struct member){.store = in->self.store, .mode = MEMBER_SYNC, .in_sync = true};
    memcpy(c->members[0].node, in->self.name, sizeof c->members[0].node);
    for (unsigned i = 0; i < in->peer_count; i++) {
        const struct formation_node *p = &in->peers[i];
        if (!is_blank(p))
            continue;
        struct member *m = &c->members[c->count++];
        *m = (struct member){.store = p->store, .mode = in->async ? MEMBER_ASYNC : MEMBER_SYNC};
        m->in_sync = all_in_sync && !in->async;
        memcpy(m->node, p->name, sizeof m->node);
    }
    set(out, FORMATION_FOUND, "pod %.63s is founded by %.63s with %u of %u members in sync", in->pod_name,
        in->self.name, configuration_sync_count(c), c->count);
}

static void decide_first(const struct formation_input *in, struct formation_action *out)
{
    const struct formation_node *silent = NULL, *configured = NULL, *with_data = NULL, *least = &in->self;
    for (unsigned i = 0; i < in->peer_count; i++) {
        const struct formation_node *p = &in->peers[i];
        if (!p->answered)
            silent = p;
        else if (p->epoch)
            configured = p;
        else if (p->log_end)
            with_data = p;
        if (strcmp(p->name, least->name) < 0)
            least = p;
    }
    if (in->self.log_end && (with_data || configured))
        set(out, FORMATION_REFUSE,
            "%.63s and %.63s both hold data, of different pods, and only one can be mirrored: give one of "
            "them "
            "empty flash devices",
            in->self.name, with_data ? with_data->name : configured->name);
    else if (configured)
        set(out, FORMATION_WAIT, "waits for the mediator, which does not know the pod of %.63s yet",
            configured->name);
    else if (silent)
        set(out, FORMATION_WAIT, "waits for %.63s: the pod is founded when all nodes are there",
            silent->name);
    else if (in->self.log_end)
        found(in, false, out);
    else if (with_data)
        set(out, FORMATION_WAIT, "waits for %.63s, which holds data, to found the pod", with_data->name);
    else if (least != &in->self)
        set(out, FORMATION_WAIT, "waits for %.63s to found the pod", least->name);
    else
        found(in, true, out);
}

/* ---- while this node has no configuration */

static void decide_adopt(const struct formation_input *in, struct formation_action *out)
{
    const struct configuration *c = &in->at_mediator;
    const int primary = configuration_find(c, &c->primary);
    const char *name = primary >= 0 ? c->members[primary].node : "its primary";
    if (!uuid_equal(&c->pod, &in->self.pod)) {
        if (in->self.log_end) {
            set(out, FORMATION_REFUSE,
                "%.63s holds data of its own, and pod %.63s of the cluster is another one, led by %.63s: to "
                "mirror that one, give this node empty flash devices",
                in->self.name, in->pod_name, name);
            return;
        }
        out->pod = c->pod;
        set(out, FORMATION_ADOPT_POD, "becomes part of pod %.63s, led by %.63s", in->pod_name, name);
        return;
    }
    if (configuration_has(c, &in->self.store)) {
        out->configuration = *c;
        set(out, FORMATION_ADOPT, "takes its place in pod %.63s, led by %.63s", in->pod_name, name);
        return;
    }
    set(out, FORMATION_WAIT, "waits for %.63s to add this node to pod %.63s", name, in->pod_name);
}

/* The mediator is not to be reached: whoever has a configuration may tell it once we are of its pod. */
static void decide_alone(const struct formation_input *in, struct formation_action *out)
{
    set(out, FORMATION_WAIT, "waits for the mediator: it alone knows whether the pod exists");
    for (unsigned i = 0; i < in->peer_count && in->self.log_end == 0; i++) {
        const struct formation_node *p = &in->peers[i];
        if (!p->answered || !p->epoch || uuid_equal(&p->pod, &in->self.pod))
            continue;
        out->pod = p->pod;
        set(out, FORMATION_ADOPT_POD, "becomes part of pod %.63s, as %.63s has it", in->pod_name, p->name);
        return;
    }
}

/* ---- the primary */

/* A node that was given another name keeps its store, and is the member that it was. */
static bool decide_rename(const struct formation_input *in, const struct formation_node *n,
                          struct formation_action *out)
{
    const int at = n->answered ? configuration_find(&in->now, &n->store) : -1;
    if (at < 0 || strcmp(in->now.members[at].node, n->name) == 0 || in->changing)
        return false;
    out->member = in->now.members[at];
    set(out, FORMATION_RENAME, "%.63s is called %.63s now", out->member.node, n->name);
    memcpy(out->member.node, n->name, sizeof out->member.node);
    return true;
}

static void decide_members(const struct formation_input *in, struct formation_action *out)
{
    if (decide_rename(in, &in->self, out))
        return;
    for (unsigned i = 0; i < in->peer_count; i++)
        if (decide_rename(in, &in->peers[i], out))
            return;
    for (unsigned i = 0; i < in->peer_count; i++) {
        const struct formation_node *p = &in->peers[i];
        if (!p->answered || p->epoch || configuration_has(&in->now, &p->store))
            continue;
        if (p->log_end && !uuid_equal(&p->pod, &in->now.pod)) {
            set(out, FORMATION_REFUSE,
                "%.63s holds data of its own and does not become part of pod %.63s: give it empty flash "
                "devices",
                p->name, in->pod_name);
            continue;
        }
        if (p->log_end)
            continue; /* of this pod, and taken out of it by a person */
        if (in->changing) {
            set(out, FORMATION_WAIT, "waits for a change of the members to end before %.63s is added",
                p->name);
            continue;
        }
        for (uint32_t k = 0; k < in->now.count; k++)
            if (strcmp(in->now.members[k].node, p->name) == 0) {
                out->member = in->now.members[k];
                set(out, FORMATION_REMOVE, "%.63s has another, empty store: the former one is gone", p->name);
                return;
            }
        if (in->now.count == CONFIGURATION_MEMBERS_MAX) {
            set(out, FORMATION_REFUSE, "%.63s can't be added: a pod has at most %d members", p->name,
                CONFIGURATION_MEMBERS_MAX);
            continue;
        }
        out->member = (struct member){.store = p->store, .mode = in->async ? MEMBER_ASYNC : MEMBER_SYNC};
        memcpy(out->member.node, p->name, sizeof out->member.node);
        set(out, FORMATION_ADD, "%.63s is new and empty: it is added", p->name);
        return;
    }
}

void formation_decide(const struct formation_input *in, struct formation_action *out)
{
    *out = (struct formation_action){.kind = FORMATION_NOTHING};
    if (in->now.epoch) {
        if (in->leading)
            decide_members(in, out);
    } else if (!in->mediator_answered)
        decide_alone(in, out);
    else if (in->mediator_has)
        decide_adopt(in, out);
    else
        decide_first(in, out);
}
