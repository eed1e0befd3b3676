/* Pods and Nodes: see proto/pstorage/v1/pods.proto. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/message.h"
#include "node/host/pods_service.h"
#include "node/host/primary_link.h"
#include "pstorage/v1/pods.pb-c.h"

struct pods_service {
    struct pods_service_config config;
    struct list_node orders; /* struct pod_order */
};

/* False: the call has ended. */
static bool check_pod(const struct pods_service *s, struct rpc_call *call, const char *pod)
{
    struct ps_error err;
    if (pod[0] == '\0' || strcmp(pod, s->config.pod_name) == 0)
        return true;
    (void)ps_error_set(&err, PS_ENOTFOUND, "this node has no pod named '%.100s'", pod);
    rpc_call_fail(call, err.status, err.detail);
    return false;
}

/* ---- a pod as it is shown */

struct pod_view {
    Pstorage__V1__PodView view;
    Pstorage__V1__PodMember members[CONFIGURATION_MEMBERS_MAX], *pointers[CONFIGURATION_MEMBERS_MAX];
    char stores[CONFIGURATION_MEMBERS_MAX][UUID_TEXT_BYTES], id[UUID_TEXT_BYTES];
    char states[CONFIGURATION_MEMBERS_MAX][224];
    struct replica_info info;
    char waits_for[256], text[256];
};

static char *text_of(const char *s)
{
    return (char *)(uintptr_t)s;
}

static const struct replica_peer_info *peer_info(const struct replica_info *info, const struct uuid *store)
{
    for (uint32_t i = 0; i < info->peer_count; i++)
        if (uuid_equal(&info->peers[i].member.store, store))
            return &info->peers[i];
    return NULL;
}

static Pstorage__V1__MemberRole role_of(const struct configuration *c, const struct member *m)
{
    if (uuid_equal(&m->store, &c->primary))
        return PSTORAGE__V1__MEMBER_ROLE__MEMBER_ROLE_PRIMARY;
    if (m->mode == MEMBER_ASYNC)
        return PSTORAGE__V1__MEMBER_ROLE__MEMBER_ROLE_ASYNC;
    return m->in_sync ? PSTORAGE__V1__MEMBER_ROLE__MEMBER_ROLE_SYNC
                      : PSTORAGE__V1__MEMBER_ROLE__MEMBER_ROLE_BEHIND;
}

static void fill_member(struct pod_view *v, const struct pods_service *s, uint32_t i)
{
    const struct configuration *c = &v->info.configuration;
    const struct member *m = &c->members[i];
    const struct replica_peer_info *p = peer_info(&v->info, &m->store);
    Pstorage__V1__PodMember *out = &v->members[i];
    pstorage__v1__pod_member__init(out);
    v->pointers[i] = out;
    uuid_format(&m->store, v->stores[i]);
    out->store = v->stores[i];
    out->node = text_of(m->node);
    out->role = role_of(c, m);
    out->self = strcmp(m->node, s->config.node_name) == 0;
    if (out->self) {
        out->state = text_of(replica_role_name(v->info.role));
        out->known = true;
        out->log_end = v->info.end.seq;
    } else if (p) {
        const bool leads = v->info.role == REPLICA_LEADING || v->info.role == REPLICA_INHERITING;
        (void)snprintf(v->states[i], sizeof v->states[i], "%s%s%s", replica_peer_state_name(p->state),
                       p->copy[0] ? ": " : "", p->copy);
        out->state = v->states[i];
        out->known = p->heard_ns_ago != UINT64_MAX;
        out->log_end = p->end_seq;
        if (leads && v->info.end.seq > p->matched_seq) {
            out->lag_batches = v->info.end.seq - p->matched_seq;
            out->lag_bytes = pod_log_bytes_after(s->config.pod, p->matched_seq);
            out->lag_ms = p->lag_ns / 1000000;
        }
        out->heard_ms_ago = out->known ? p->heard_ns_ago / 1000000 : 0;
        out->lease_left_ms = p->lease_left_ns / 1000000;
    } else {
        out->state = text_of("unknown");
    }
}

static void fill_alone(struct pod_view *v, const struct pods_service *s)
{
    struct pod_log_identity id;
    struct uuid store, pod;
    struct log_id end;
    pod_log_identity(s->config.pod, &id);
    pod_log_ends(s->config.pod, NULL, &end);
    memcpy(store.bytes, id.store, sizeof store.bytes);
    memcpy(pod.bytes, id.pod, sizeof pod.bytes);
    uuid_format(&store, v->stores[0]);
    uuid_format(&pod, v->id);
    pstorage__v1__pod_member__init(&v->members[0]);
    v->pointers[0] = &v->members[0];
    v->members[0].node = text_of(s->config.node_name);
    v->members[0].store = v->stores[0];
    v->members[0].role = PSTORAGE__V1__MEMBER_ROLE__MEMBER_ROLE_ALONE;
    v->members[0].state = text_of("alone");
    v->members[0].self = v->members[0].known = true;
    v->members[0].log_end = end.seq;
    v->view.id = v->id;
    v->view.role = text_of("alone");
    v->view.serving = true;
    v->view.primary = text_of(s->config.node_name);
    v->view.n_members = 1;
    v->view.applied = v->view.log_end = v->view.committed = end.seq;
}

static void fill_replicated(struct pod_view *v, const struct pods_service *s)
{
    const struct cluster *cluster = s->config.cluster;
    const struct cluster_config *settings = cluster_settings(cluster);
    const struct configuration *c = &v->info.configuration;
    cluster_look(cluster, &v->info);
    if (c->epoch) {
        uuid_format(&c->pod, v->id);
        v->view.id = v->id;
    }
    v->view.epoch = c->epoch;
    v->view.role = text_of(replica_role_name(v->info.role));
    v->view.serving = v->info.role == REPLICA_LEADING && v->info.waits_for[0] == '\0';
    const char *waits = v->info.waits_for;
    if (v->info.role == REPLICA_UNCONFIGURED && cluster_forming(cluster)[0])
        waits = cluster_forming(cluster);
    (void)snprintf(v->waits_for, sizeof v->waits_for, "%s", waits);
    v->view.waits_for = v->waits_for;
    const int primary = configuration_find(c, &c->primary), preferred = configuration_find(c, &c->preferred);
    if (primary >= 0) {
        const char *name = c->members[primary].node;
        const int i = peers_find(cluster_peers(cluster), name);
        v->view.primary = text_of(name);
        if (i >= 0)
            v->view.primary_address = text_of(peers_address(cluster_peers(cluster), (unsigned)i));
        else if (strcmp(name, settings->node_name) == 0)
            v->view.primary_address = text_of(settings->rpc_address);
    }
    if (preferred >= 0)
        v->view.preferred = text_of(c->members[preferred].node);
    for (uint32_t i = 0; i < c->count; i++)
        fill_member(v, s, i);
    v->view.n_members = c->count;
    v->view.applied = v->info.applied.seq;
    v->view.log_end = v->info.end.seq;
    v->view.committed = v->info.commit_seq;
    v->view.lease_held = v->info.lease_held;
    v->view.cluster = text_of(settings->cluster_name);
    v->view.mediator = text_of(settings->mediator);
    v->view.mediator_ok = c->epoch ? v->info.mediator_ok : cluster_mediator_connected(cluster);
    v->view.changing = v->info.asking;
    v->view.slowed_permille = v->info.slowed_permille;
}

/* It points into itself: don't copy. */
static void fill_view(struct pod_view *v, const struct pods_service *s)
{
    memset(v, 0, sizeof *v);
    pstorage__v1__pod_view__init(&v->view);
    v->view.name = text_of(s->config.pod_name);
    v->view.members = v->pointers;
    if (s->config.cluster)
        fill_replicated(v, s);
    else
        fill_alone(v, s);
}

static void reply_view(struct rpc_call *call, const struct pods_service *s)
{
    struct pod_view v;
    Pstorage__V1__GetPodMembersResponse response = PSTORAGE__V1__GET_POD_MEMBERS_RESPONSE__INIT;
    fill_view(&v, s);
    response.pod = &v.view;
    rpc_call_reply(call, &response.base);
}

static void list(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct pods_service *s = user;
    struct pod_view v;
    Pstorage__V1__PodView *pods[] = {&v.view};
    Pstorage__V1__ListPodsResponse response = PSTORAGE__V1__LIST_PODS_RESPONSE__INIT;
    (void)message;
    fill_view(&v, s);
    response.pods = pods;
    response.n_pods = 1;
    rpc_call_reply(call, &response.base);
}

static void get(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct pods_service *s = user;
    const Pstorage__V1__GetPodMembersRequest *request = (const void *)message;
    struct replica_info info;
    size_t length;
    if (!check_pod(s, call, request->pod))
        return;
    if (s->config.cluster && rpc_call_metadata(call, PRIMARY_KEY_ASKED_FOR, &length)) {
        cluster_look(s->config.cluster, &info);
        if (info.role != REPLICA_LEADING &&
            cluster_forward(s->config.cluster, call, &pstorage__v1__pods__descriptor, "Get", message))
            return;
    }
    reply_view(call, s);
}

/* ---- why */

static void why(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct pods_service *s = user;
    const Pstorage__V1__WhyRequest *request = (const void *)message;
    if (!check_pod(s, call, request->pod))
        return;
    Pstorage__V1__WhyResponse response = PSTORAGE__V1__WHY_RESPONSE__INIT;
    response.node = text_of(s->config.node_name);
    if (!s->config.cluster) {
        rpc_call_reply(call, &response.base);
        return;
    }
    size_t max = request->page_size ? request->page_size : PODS_PAGE_DEFAULT;
    max = max < REPLICA_DECISIONS ? max : REPLICA_DECISIONS;
    struct replica_decision *found = calloc(REPLICA_DECISIONS, sizeof *found);
    Pstorage__V1__PodDecision *rows = calloc(max, sizeof *rows);
    Pstorage__V1__PodDecision **pointers = calloc(max, sizeof *pointers);
    if (found && rows && pointers) {
        const struct cluster_config *c = cluster_settings(s->config.cluster);
        const struct replica *r = cluster_replica(s->config.cluster);
        const uint64_t now = c->now_ns(), unix_now = c->now_unix_ns();
        const size_t count = replica_decisions(r, request->after_number, found, REPLICA_DECISIONS);
        const size_t shown = count < max ? count : max;
        for (size_t i = 0; i < shown; i++) {
            const uint64_t ago = now > found[i].at_ns ? now - found[i].at_ns : 0;
            pstorage__v1__pod_decision__init(&rows[i]);
            rpc_utf8_repair(found[i].text);
            rows[i].number = found[i].number;
            rows[i].time_unix_ns = unix_now > ago ? unix_now - ago : 0;
            rows[i].epoch = found[i].epoch;
            rows[i].kind = text_of(found[i].kind);
            rows[i].text = found[i].text;
            pointers[i] = &rows[i];
        }
        response.decisions = pointers;
        response.n_decisions = shown;
        response.last_number = count ? found[count - 1].number : request->after_number;
        rpc_call_reply(call, &response.base);
    } else {
        rpc_call_fail(call, PS_ENOMEM, NULL);
    }
    free(found);
    free(rows);
    free(pointers);
}

/* ---- changes: answered when they are in force */

enum order_kind {
    ORDER_SWITCH_OVER,
    ORDER_ADD,
    ORDER_REMOVE,
    ORDER_PREFER,
    ORDER_PROMOTE,
};

struct pod_order {
    struct list_node link; /* services->orders */
    struct pods_service *services;
    struct rpc_call *call;
    enum order_kind kind;
    struct uuid store;
    uint64_t epoch; /* when it was ordered */
};

static struct rpc_call *end_order(struct pod_order *order)
{
    struct rpc_call *call = order->call;
    list_remove(&order->link);
    free(order);
    return call;
}

static void cancelled(struct rpc_call *call)
{
    rpc_call_fail(end_order(rpc_call_user(call)), PS_ECANCELLED, NULL);
}

static bool in_force(const struct pod_order *o, const struct configuration *c)
{
    switch (o->kind) {
    case ORDER_SWITCH_OVER:
    case ORDER_PROMOTE:
        return uuid_equal(&c->primary, &o->store);
    case ORDER_PREFER:
        return uuid_equal(&c->preferred, &o->store);
    case ORDER_ADD:
        return configuration_has(c, &o->store);
    case ORDER_REMOVE:
        break;
    }
    return !configuration_has(c, &o->store);
}

static void changed(void *user)
{
    struct pods_service *s = user;
    struct replica_info info;
    if (list_empty(&s->orders))
        return;
    cluster_look(s->config.cluster, &info);
    list_for_each_safe(node, next, &s->orders)
    {
        struct pod_order *o = container_of(node, struct pod_order, link);
        /* So that the answer tells whether it serves, or for whom it waits. */
        if (o->kind == ORDER_PROMOTE && in_force(o, &info.configuration) && info.role != REPLICA_LEADING &&
            info.role != REPLICA_INHERITING)
            continue;
        if (in_force(o, &info.configuration))
            reply_view(end_order(o), s);
        else if (info.configuration.epoch > o->epoch && !info.asking && !info.switching)
            rpc_call_fail(end_order(o), PS_EABORTED,
                          "another change of the pod came first: look at the pod, and ask again");
        else if (o->kind == ORDER_PROMOTE && !info.asking)
            rpc_call_fail(end_order(o), PS_EABORTED,
                          "the mediator refused the promotion: `pstorage why` tells the reason");
        else if (o->kind == ORDER_SWITCH_OVER && !info.switching && !info.asking)
            rpc_call_fail(end_order(o), PS_EABORTED,
                          "the switchover did not come about in time: nothing changed");
    }
}

static void wait_until_in_force(struct pods_service *s, struct rpc_call *call, enum order_kind kind,
                                const struct uuid *store, uint64_t epoch)
{
    struct pod_order *o = malloc(sizeof *o);
    if (!o) {
        rpc_call_fail(call, PS_ENOMEM, "the change is under way; look at the pod");
        return;
    }
    *o = (struct pod_order){.services = s, .call = call, .kind = kind, .store = *store, .epoch = epoch};
    list_push_back(&s->orders, &o->link);
    rpc_call_set_user(call, o);
    rpc_call_watch(call, cancelled, NULL);
}

/* False: the call has ended. */
static bool may_order(struct pods_service *s, struct rpc_call *call, const char *pod, const char *method,
                      const ProtobufCMessage *message, struct replica_info *info)
{
    struct ps_error err;
    if (!check_pod(s, call, pod))
        return false;
    if (!s->config.cluster) {
        rpc_call_fail(call, PS_EPRECONDITION,
                      "this node is not part of a cluster (PSTORAGE_CLUSTER_ENABLED)");
        return false;
    }
    cluster_look(s->config.cluster, info);
    if (info->role == REPLICA_LEADING)
        return true;
    if (!cluster_forward(s->config.cluster, call, &pstorage__v1__pods__descriptor, method, message))
        rpc_call_fail(call, cluster_not_primary(s->config.cluster, &err), err.detail);
    return false;
}

static int member_named(const struct configuration *c, const char *node)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (strcmp(c->members[i].node, node) == 0)
            return (int)i;
    return -1;
}

/* Who is to lead, when nobody was named: the preferred one, or the only other one. */
static int successor(const struct configuration *c, struct ps_error *err)
{
    int found = -1;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct member *m = &c->members[i];
        if (!m->in_sync || uuid_equal(&m->store, &c->primary))
            continue;
        if (uuid_equal(&m->store, &c->preferred))
            return (int)i;
        if (found >= 0)
            return ps_error_set(err, PS_EINVAL, "several members could lead: name one of them");
        found = (int)i;
    }
    return found >= 0 ? found : ps_error_set(err, PS_EPRECONDITION, "no other member is in sync");
}

static int find_member(const struct configuration *c, const char *node, struct ps_error *err)
{
    const int at = member_named(c, node);
    return at >= 0 ? at : ps_error_set(err, PS_ENOTFOUND, "the pod has no member on a node '%.63s'", node);
}

static void end_ordering(struct pods_service *s, struct rpc_call *call, enum order_kind kind,
                         const struct uuid *store, uint64_t epoch, const struct ps_error *err)
{
    if (err->status)
        rpc_call_fail(call, err->status, err->detail);
    else
        wait_until_in_force(s, call, kind, store, epoch);
}

static void switch_over(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct pods_service *s = user;
    const Pstorage__V1__SwitchOverRequest *request = (const void *)message;
    struct replica_info info;
    struct ps_error err = {0};
    struct uuid store = {0};
    if (!may_order(s, call, request->pod, "SwitchOver", message, &info))
        return;
    const struct configuration *c = &info.configuration;
    const int at = request->node[0] ? find_member(c, request->node, &err) : successor(c, &err);
    if (at >= 0) {
        store = c->members[at].store;
        (void)cluster_switch_over(s->config.cluster, &store, &err);
    }
    end_ordering(s, call, ORDER_SWITCH_OVER, &store, c->epoch, &err);
}

static void add_member(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct pods_service *s = user;
    const Pstorage__V1__AddMemberRequest *request = (const void *)message;
    struct replica_info info;
    struct ps_error err = {0};
    struct uuid store = {0};
    if (!may_order(s, call, request->pod, "AddMember", message, &info))
        return;
    const int peer = peers_find(cluster_peers(s->config.cluster), request->node);
    if (member_named(&info.configuration, request->node) >= 0)
        (void)ps_error_set(&err, PS_EEXISTS, "%.63s is a member already", request->node);
    else if (peer < 0)
        (void)ps_error_set(&err, PS_ENOTFOUND, "'%.63s' is not in PSTORAGE_PEERS of the primary",
                           request->node);
    else if (cluster_add_member(s->config.cluster, (unsigned)peer, request->async, &err) == 0)
        store = cluster_hello(s->config.cluster, (unsigned)peer)->store;
    end_ordering(s, call, ORDER_ADD, &store, info.configuration.epoch, &err);
}

static void remove_member(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct pods_service *s = user;
    const Pstorage__V1__RemoveMemberRequest *request = (const void *)message;
    struct replica_info info;
    struct ps_error err = {0};
    struct uuid store = {0};
    if (!may_order(s, call, request->pod, "RemoveMember", message, &info))
        return;
    const int at = find_member(&info.configuration, request->node, &err);
    if (at >= 0) {
        store = info.configuration.members[at].store;
        (void)cluster_remove_member(s->config.cluster, &store, &err);
    }
    end_ordering(s, call, ORDER_REMOVE, &store, info.configuration.epoch, &err);
}

static void promote(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct pods_service *s = user;
    const Pstorage__V1__PromoteRequest *request = (const void *)message;
    struct replica_info info;
    struct ps_error err = {0};
    struct uuid store = {0};
    if (!check_pod(s, call, request->pod))
        return;
    if (!s->config.cluster)
        (void)ps_error_set(&err, PS_EPRECONDITION,
                           "this node is not part of a cluster (PSTORAGE_CLUSTER_ENABLED)");
    else if (request->node[0] && strcmp(request->node, s->config.node_name) != 0)
        (void)ps_error_set(
            &err, PS_EPRECONDITION,
            "this is %.63s: the node that is to be promoted has to be asked itself (--endpoint)",
            s->config.node_name);
    else if (!request->accept_data_loss)
        (void)ps_error_set(
            &err, PS_EPRECONDITION,
            "what other members hold beyond this one's log would be lost: that has to be accepted");
    if (err.status) {
        rpc_call_fail(call, err.status, err.detail);
        return;
    }
    cluster_look(s->config.cluster, &info);
    if (cluster_promote(s->config.cluster, request->old_primary_is_off, &store, &err) == 0 &&
        uuid_equal(&info.configuration.primary, &store))
        reply_view(call, s); /* it was, and waits no more */
    else
        end_ordering(s, call, ORDER_PROMOTE, &store, info.configuration.epoch, &err);
}

static void set_pod(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct pods_service *s = user;
    const Pstorage__V1__SetPodRequest *request = (const void *)message;
    struct replica_info info;
    struct ps_error err = {0};
    struct uuid store = {0};
    if (!may_order(s, call, request->pod, "SetPod", message, &info))
        return;
    const struct configuration *c = &info.configuration;
    const int at = request->preferred[0] ? find_member(c, request->preferred, &err) : -1;
    if (at >= 0)
        store = c->members[at].store;
    if (err.status == 0 && uuid_equal(&store, &c->preferred)) {
        reply_view(call, s);
        return;
    }
    if (err.status == 0)
        (void)cluster_prefer(s->config.cluster, &store, &err);
    end_ordering(s, call, ORDER_PREFER, &store, c->epoch, &err);
}

/* ---- nodes */

struct node_row {
    Pstorage__V1__NodeView view;
    char store[UUID_TEXT_BYTES], state[256];
    struct replication_hello hello;
};

static void fill_heard(struct node_row *row)
{
    uuid_format(&row->hello.store, row->store);
    row->view.store = row->store;
    row->view.software = row->hello.software;
    row->view.run = row->hello.run;
    row->view.log_end = row->hello.log_end;
}

static void fill_self(struct node_row *row, const struct pods_service *s)
{
    pstorage__v1__node_view__init(&row->view);
    row->view.name = text_of(s->config.node_name);
    row->view.self = row->view.connected = true;
    row->view.state = text_of("up");
    row->view.address = text_of(s->config.rpc_address ? s->config.rpc_address : "");
    if (s->config.cluster) {
        cluster_own_hello(s->config.cluster, &row->hello);
    } else {
        struct pod_log_identity id;
        struct log_id end;
        pod_log_identity(s->config.pod, &id);
        pod_log_ends(s->config.pod, NULL, &end);
        memcpy(row->hello.store.bytes, id.store, sizeof id.store);
        row->hello.run = id.run;
        row->hello.log_end = end.seq;
        (void)snprintf(row->hello.software, sizeof row->hello.software, "%s", PS_VERSION);
    }
    fill_heard(row);
}

static void fill_peer(struct node_row *row, const struct pods_service *s, unsigned i)
{
    const struct peers *peers = cluster_peers(s->config.cluster);
    const struct replication_hello *hello = cluster_hello(s->config.cluster, i);
    pstorage__v1__node_view__init(&row->view);
    row->view.name = text_of(peers_name(peers, i));
    row->view.address = text_of(peers_address(peers, i));
    row->view.connected = peers_connected(peers, i);
    (void)snprintf(row->state, sizeof row->state, "%s", row->view.connected ? "up" : peers_trouble(peers, i));
    rpc_utf8_repair(row->state);
    row->view.state = row->state;
    if (!hello)
        return;
    row->hello = *hello;
    fill_heard(row);
}

static void list_nodes(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct pods_service *s = user;
    const unsigned peers = s->config.cluster ? peers_count(cluster_peers(s->config.cluster)) : 0;
    struct node_row *rows = calloc(1 + PEERS_MAX, sizeof *rows);
    Pstorage__V1__NodeView *pointers[1 + PEERS_MAX];
    Pstorage__V1__ListNodesResponse response = PSTORAGE__V1__LIST_NODES_RESPONSE__INIT;
    (void)message;
    if (!rows) {
        rpc_call_fail(call, PS_ENOMEM, NULL);
        return;
    }
    fill_self(&rows[0], s);
    for (unsigned i = 0; i < peers; i++)
        fill_peer(&rows[1 + i], s, i);
    for (unsigned i = 0; i <= peers; i++)
        pointers[i] = &rows[i].view;
    response.nodes = pointers;
    response.n_nodes = 1 + peers;
    rpc_call_reply(call, &response.base);
    free(rows);
}

static const struct rpc_method methods[] = {
    {.name = "List", .handler = list},
    {.name = "Get", .handler = get},
    {.name = "Why", .handler = why},
    {.name = "SwitchOver", .handler = switch_over},
    {.name = "AddMember", .handler = add_member},
    {.name = "RemoveMember", .handler = remove_member},
    {.name = "Promote", .handler = promote},
    {.name = "SetPod", .handler = set_pod},
};

static const struct rpc_method node_methods[] = {
    {.name = "List", .handler = list_nodes},
};

static const struct rpc_service service_pods = {
    .descriptor = &pstorage__v1__pods__descriptor,
    .methods = methods,
    .nmethods = sizeof methods / sizeof methods[0],
};

static const struct rpc_service service_nodes = {
    .descriptor = &pstorage__v1__nodes__descriptor,
    .methods = node_methods,
    .nmethods = sizeof node_methods / sizeof node_methods[0],
};

int pods_service_create(struct rpc_server *server, const struct pods_service_config *config,
                        struct pods_service **out)
{
    struct pods_service *s = calloc(1, sizeof *s);
    if (!s)
        return PS_ENOMEM;
    s->config = *config;
    list_init(&s->orders);
    rpc_server_register(server, &service_pods, s);
    rpc_server_register(server, &service_nodes, s);
    if (config->cluster)
        cluster_watch(config->cluster, changed, s);
    *out = s;
    return 0;
}

void pods_service_destroy(struct pods_service *s)
{
    assert(list_empty(&s->orders));
    if (s->config.cluster)
        cluster_watch(s->config.cluster, NULL, NULL);
    free(s);
}
