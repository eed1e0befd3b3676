/* Pods and nodes of a cluster: requests as messages, and answers as results. As in calls.c, nothing that a
 * node sends is believed before it fits. */
#include <stdlib.h>
#include <string.h>

#include "client/lib/answers.h"
#include "pstorage/v1/pods.pb-c.h"

/* ---- a pod */

static bool take_member(const Pstorage__V1__PodMember *m, struct pstorage_member *out)
{
    if (m->role < PSTORAGE__V1__MEMBER_ROLE__MEMBER_ROLE_ALONE ||
        m->role > PSTORAGE__V1__MEMBER_ROLE__MEMBER_ROLE_ASYNC)
        return false;
    out->role = (enum pstorage_role)m->role;
    out->self = m->self != 0;
    out->known = m->known != 0;
    out->log_end = m->log_end;
    out->lag_batches = m->lag_batches;
    out->lag_bytes = m->lag_bytes;
    out->lag_ms = m->lag_ms;
    out->heard_ms_ago = m->heard_ms_ago;
    out->lease_left_ms = m->lease_left_ms;
    return COPY(out->node, m->node) && COPY(out->store, m->store) && COPY(out->state, m->state);
}
_Static_assert((int)PSTORAGE_ROLE_ASYNC == (int)PSTORAGE__V1__MEMBER_ROLE__MEMBER_ROLE_ASYNC,
               "roles have the same numbers here and in messages");

static bool take_view(const Pstorage__V1__PodView *m, struct pstorage_pod_view *out)
{
    *out = (struct pstorage_pod_view){
        .epoch = m->epoch,
        .serving = m->serving != 0,
        .applied = m->applied,
        .log_end = m->log_end,
        .committed = m->committed,
        .lease_held = m->lease_held != 0,
        .changing = m->changing != 0,
        .slowed_permille = m->slowed_permille,
        .mediator_ok = m->mediator_ok != 0,
    };
    if (m->n_members > sizeof out->members / sizeof out->members[0])
        return false;
    for (; out->nmembers < m->n_members; out->nmembers++)
        if (!take_member(m->members[out->nmembers], &out->members[out->nmembers]))
            return false;
    return COPY(out->name, m->name) && COPY(out->id, m->id) && COPY(out->role, m->role) &&
           COPY(out->waits_for, m->waits_for) && COPY(out->primary, m->primary) &&
           COPY(out->primary_address, m->primary_address) && COPY(out->preferred, m->preferred) &&
           COPY(out->cluster, m->cluster) && COPY(out->mediator, m->mediator);
}

static struct pstorage_pod_order *order_of(struct call *call)
{
    return (struct pstorage_pod_order *)(void *)call->request;
}

static int send_get(struct call *call)
{
    Pstorage__V1__GetPodMembersRequest m = PSTORAGE__V1__GET_POD_MEMBERS_REQUEST__INIT;
    m.pod = text(order_of(call)->pod);
    return call_send(call, &pstorage__v1__pods__descriptor, "Get", &m.base);
}

static int send_switch_over(struct call *call)
{
    Pstorage__V1__SwitchOverRequest m = PSTORAGE__V1__SWITCH_OVER_REQUEST__INIT;
    m.pod = text(order_of(call)->pod);
    m.node = text(order_of(call)->node);
    return call_send(call, &pstorage__v1__pods__descriptor, "SwitchOver", &m.base);
}

static int send_add_member(struct call *call)
{
    Pstorage__V1__AddMemberRequest m = PSTORAGE__V1__ADD_MEMBER_REQUEST__INIT;
    m.pod = text(order_of(call)->pod);
    m.node = text(order_of(call)->node);
    m.async = order_of(call)->async;
    return call_send(call, &pstorage__v1__pods__descriptor, "AddMember", &m.base);
}

static int send_remove_member(struct call *call)
{
    Pstorage__V1__RemoveMemberRequest m = PSTORAGE__V1__REMOVE_MEMBER_REQUEST__INIT;
    m.pod = text(order_of(call)->pod);
    m.node = text(order_of(call)->node);
    return call_send(call, &pstorage__v1__pods__descriptor, "RemoveMember", &m.base);
}

static int send_promote(struct call *call)
{
    Pstorage__V1__PromoteRequest m = PSTORAGE__V1__PROMOTE_REQUEST__INIT;
    m.pod = text(order_of(call)->pod);
    m.node = text(order_of(call)->node);
    m.accept_data_loss = order_of(call)->accept_data_loss;
    m.old_primary_is_off = order_of(call)->old_primary_is_off;
    return call_send(call, &pstorage__v1__pods__descriptor, "Promote", &m.base);
}

static int send_prefer(struct call *call)
{
    Pstorage__V1__SetPodRequest m = PSTORAGE__V1__SET_POD_REQUEST__INIT;
    m.pod = text(order_of(call)->pod);
    m.preferred = text(order_of(call)->node);
    return call_send(call, &pstorage__v1__pods__descriptor, "SetPod", &m.base);
}

static int take_order(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__GetPodMembersResponse *m = (const void *)reply->message;
    return m->pod && take_view(m->pod, &order_of(call)->view) ? PS_OK : nonsense(call, "no pod in it");
}

int pstorage_pod_order_submit(struct pstorage_client *client, struct pstorage_pod_order *o, pstorage_cb cb)
{
    /* A change whose answer was lost is not ordered again: it may be in force, and undone by somebody else.
     */
    static const struct request_kind kinds[] = {
        [PSTORAGE_POD_GET] = {send_get, take_order, NULL, true},
        [PSTORAGE_POD_SWITCH_OVER] = {send_switch_over, take_order, NULL, false},
        [PSTORAGE_POD_ADD_MEMBER] = {send_add_member, take_order, NULL, false},
        [PSTORAGE_POD_REMOVE_MEMBER] = {send_remove_member, take_order, NULL, false},
        [PSTORAGE_POD_PROMOTE] = {send_promote, take_order, NULL, false},
        [PSTORAGE_POD_PREFER] = {send_prefer, take_order, NULL, false},
    };
    const size_t i = (size_t)o->op;
    struct ps_error *err = (struct ps_error *)(void *)&o->request.error;
    if (i >= sizeof kinds / sizeof kinds[0] || !kinds[i].send)
        return ps_error_set(err, PS_EINVAL, "no operation has number %d", (int)o->op);
    if (!o->node && (o->op == PSTORAGE_POD_ADD_MEMBER || o->op == PSTORAGE_POD_REMOVE_MEMBER))
        return ps_error_set(err, PS_EINVAL, "no node is named");
    return client_submit(client, NULL, &o->request, &kinds[i], cb);
}

/* ---- why */

static int send_why(struct call *call)
{
    const struct pstorage_why *why = (const struct pstorage_why *)(const void *)call->request;
    Pstorage__V1__WhyRequest m = PSTORAGE__V1__WHY_REQUEST__INIT;
    m.pod = text(why->pod);
    m.after_number = why->after_number;
    m.page_size = CLIENT_PAGE;
    return call_send(call, &pstorage__v1__pods__descriptor, "Why", &m.base);
}

static int take_why(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__WhyResponse *m = (const void *)reply->message;
    struct pstorage_why *why = (struct pstorage_why *)(void *)call->request;
    if (m->n_decisions > CLIENT_PAGE || !COPY(why->node, m->node))
        return nonsense(call, "too many decisions, or no node");
    why->items = calloc(m->n_decisions + 1, sizeof *why->items);
    if (!why->items)
        return no_memory(call);
    for (; why->count < m->n_decisions; why->count++) {
        const Pstorage__V1__PodDecision *d = m->decisions[why->count];
        struct pstorage_decision *out = &why->items[why->count];
        *out = (struct pstorage_decision){
            .number = d->number, .time_unix_ns = d->time_unix_ns, .epoch = d->epoch};
        if (!COPY(out->kind, d->kind) || !COPY(out->text, d->text))
            return nonsense(call, "a decision is too long");
    }
    return PS_OK;
}

int pstorage_why_submit(struct pstorage_client *client, struct pstorage_why *why, pstorage_cb cb)
{
    static const struct request_kind kind = {send_why, take_why, NULL, true};
    why->items = NULL;
    why->count = 0;
    return client_submit(client, NULL, &why->request, &kind, cb);
}

void pstorage_why_clear(struct pstorage_why *why)
{
    free(why->items);
    why->items = NULL;
    why->count = 0;
}

/* ---- nodes */

static int send_nodes(struct call *call)
{
    Pstorage__V1__ListNodesRequest m = PSTORAGE__V1__LIST_NODES_REQUEST__INIT;
    return call_send(call, &pstorage__v1__nodes__descriptor, "List", &m.base);
}

static int take_nodes(struct call *call, const struct rpc_reply *reply)
{
    const Pstorage__V1__ListNodesResponse *m = (const void *)reply->message;
    struct pstorage_nodes *nodes = (struct pstorage_nodes *)(void *)call->request;
    if (m->n_nodes > sizeof nodes->items / sizeof nodes->items[0])
        return nonsense(call, "too many nodes");
    for (nodes->count = 0; nodes->count < m->n_nodes; nodes->count++) {
        const Pstorage__V1__NodeView *n = m->nodes[nodes->count];
        struct pstorage_node_view *out = &nodes->items[nodes->count];
        *out = (struct pstorage_node_view){
            .self = n->self != 0, .connected = n->connected != 0, .run = n->run, .log_end = n->log_end};
        if (!COPY(out->name, n->name) || !COPY(out->address, n->address) || !COPY(out->state, n->state) ||
            !COPY(out->software, n->software) || !COPY(out->store, n->store))
            return nonsense(call, "a node's text is too long");
    }
    return PS_OK;
}

int pstorage_nodes_submit(struct pstorage_client *client, struct pstorage_nodes *nodes, pstorage_cb cb)
{
    static const struct request_kind kind = {send_nodes, take_nodes, NULL, true};
    nodes->count = 0;
    return client_submit(client, NULL, &nodes->request, &kind, cb);
}
