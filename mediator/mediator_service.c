#include "mediator/mediator_service.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/configuration_proto.h"
#include "pstorage/v1/mediator.pb-c.h"

#define SAME(name)                                                                                           \
    _Static_assert((int)MEDIATOR_##name == (int)PSTORAGE__V1__MEDIATOR_VERDICT__MEDIATOR_VERDICT_##name,     \
                   "verdicts have the same numbers in memory and in messages")
SAME(GRANTED);
SAME(REPEATED);
SAME(OTHER_STORE);
SAME(NO_POD);
SAME(EXISTS);
SAME(EPOCH_MOVED);
SAME(HIGHER_EPOCH);
SAME(FORBIDDEN);
SAME(HELD_BACK);

/* A pod with all it points to; in place, as it points into itself and into the record. */
struct pod_row {
    Pstorage__V1__MediatorPod message;
    struct configuration_message configuration;
};

/* One change at a time: what its request and its answer need. */
struct mediator_service {
    struct mediator_service_config config;
    struct uuid store;
    struct mediator_change_pod asks[MEDIATOR_CHANGE_PODS_MAX];
    struct mediator_change_reply reply;
    Pstorage__V1__MediatorPodVerdict verdicts[MEDIATOR_CHANGE_PODS_MAX];
    Pstorage__V1__MediatorPodVerdict *pointers[MEDIATOR_CHANGE_PODS_MAX];
    struct pod_row rows[MEDIATOR_CHANGE_PODS_MAX];
};

/* ---- what all have in common */

static void fail(struct mediator_service *s, struct rpc_call *call, const struct ps_error *err)
{
    if (err->status == PS_EIO && s->config.store_failed)
        s->config.store_failed(s->config.user, err->detail);
    rpc_call_fail(call, err->status, err->detail);
}

/* The cluster that the call is about: the greeting's, which the peer can't choose freely once it is
 * authenticated; only who named none there may name one here. NULL: the call has ended. */
static const char *cluster_of(struct rpc_call *call, const char *asked)
{
    const char *greeted = rpc_call_peer(call)->cluster_id;
    struct ps_error err;
    if (greeted[0] && asked[0] && strcmp(greeted, asked) != 0)
        (void)ps_error_set(&err, PS_EPERM, "a connection of cluster %.63s asks for cluster %.63s", greeted,
                           asked);
    else if (!greeted[0] && !asked[0])
        (void)ps_error_set(&err, PS_EINVAL,
                           "no cluster is named, neither in the greeting nor in the request");
    else
        return greeted[0] ? greeted : asked;
    rpc_call_fail(call, err.status, err.detail);
    return NULL;
}

/* The pod that is asked for, by id or by name. NULL: the call has ended. */
static const struct mediator_pod *pod_of(struct mediator_service *s, struct rpc_call *call, const char *asked,
                                         ProtobufCBinaryData id, const char *name)
{
    const char *cluster = cluster_of(call, asked);
    struct uuid pod;
    struct ps_error err;
    if (!cluster)
        return NULL;
    if (uuid_from_message(id, UUID_OR_NONE, "the pod", &pod, &err)) {
        rpc_call_fail(call, err.status, err.detail);
        return NULL;
    }
    const struct mediator_pod *found = mediator_get(s->config.core, cluster, &pod, name);
    if (!found) {
        char text[UUID_TEXT_BYTES];
        uuid_format(&pod, text);
        (void)ps_error_set(&err, PS_ENOTFOUND, "cluster %.63s has no pod %.63s registered here", cluster,
                           uuid_is_none(&pod) ? name : text);
        rpc_call_fail(call, err.status, err.detail);
    }
    return found;
}

/* Everything is borrowed from where it comes from. */
static Pstorage__V1__MediatorPod *fill_row(struct pod_row *row, const char *cluster,
                                           const struct configuration *configuration,
                                           const struct uuid *request_id, uint64_t reported_epoch)
{
    pstorage__v1__mediator_pod__init(&row->message);
    configuration_to_message(configuration, &row->configuration);
    row->message.cluster = (char *)cluster;
    row->message.configuration = &row->configuration.message;
    row->message.request_id = uuid_to_message(request_id);
    row->message.reported_epoch = reported_epoch;
    return &row->message;
}

static Pstorage__V1__MediatorPod *fill_pod(struct pod_row *row, const struct mediator_pod *pod)
{
    return fill_row(row, pod->cluster, &pod->configuration, &pod->request_id, pod->reported_epoch);
}

static size_t page_size(uint32_t asked)
{
    const size_t size = asked ? asked : MEDIATOR_PAGE_DEFAULT;
    return size < MEDIATOR_PAGE_MAX ? size : MEDIATOR_PAGE_MAX;
}

/* ---- Describe, Get */

static void describe(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct mediator_service *s = user;
    struct mediator_description d;
    (void)message;
    mediator_describe(s->config.core, &d);
    Pstorage__V1__MediatorDescribeResponse response = PSTORAGE__V1__MEDIATOR_DESCRIBE_RESPONSE__INIT;
    response.store = uuid_to_message(&d.store);
    response.software = (char *)d.software;
    response.clusters = (uint32_t)d.clusters;
    response.pods = (uint32_t)d.pods;
    rpc_call_reply(call, &response.base);
}

static void get(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct mediator_service *s = user;
    const Pstorage__V1__MediatorGetRequest *request = (const void *)message;
    const struct mediator_pod *pod = pod_of(s, call, request->cluster, request->pod, request->pod_name);
    struct pod_row row;
    if (!pod)
        return;
    Pstorage__V1__MediatorGetResponse response = PSTORAGE__V1__MEDIATOR_GET_RESPONSE__INIT;
    response.store = uuid_to_message(&s->store);
    response.pod = fill_pod(&row, pod);
    rpc_call_reply(call, &response.base);
}

/* ---- Change, Report */

static int read_change(struct mediator_service *s, const Pstorage__V1__MediatorChangeRequest *request,
                       struct mediator_change *out, struct ps_error *err)
{
    if (request->n_pods == 0 || request->n_pods > MEDIATOR_CHANGE_PODS_MAX)
        return ps_error_set(err, PS_EINVAL, "a request has 1 to %d pods, not %zu", MEDIATOR_CHANGE_PODS_MAX,
                            request->n_pods);
    int rc = uuid_from_message(request->store, UUID_OR_NONE, "the mediator's store", &out->mediator, err);
    if (rc == 0)
        rc = uuid_from_message(request->request_id, UUID_REQUIRED, "the request's id", &out->request_id, err);
    if (rc == 0)
        rc = uuid_from_message(request->requester, UUID_REQUIRED, "the requester", &out->requester, err);
    for (size_t i = 0; rc == 0 && i < request->n_pods; i++) {
        s->asks[i].expected_epoch = request->pods[i]->expected_epoch;
        rc = configuration_from_message(request->pods[i]->next, &s->asks[i].next, err);
    }
    out->count = request->n_pods;
    out->pods = s->asks;
    return rc;
}

static void tell(const struct mediator_service *s, struct rpc_call *call,
                 const struct mediator_change *change)
{
    for (size_t i = 0; s->config.decided && i < change->count; i++) {
        const struct mediator_verdict_pod *v = &s->reply.pods[i];
        const struct mediator_news news = {.peer = rpc_call_peer(call),
                                           .cluster = change->cluster,
                                           .pod_name = change->pods[i].next.pod_name,
                                           .requester = &change->requester,
                                           .expected_epoch = change->pods[i].expected_epoch,
                                           .epoch = change->pods[i].next.epoch,
                                           .verdict = v->verdict,
                                           .text = v->text};
        if (v->news)
            s->config.decided(s->config.user, &news);
    }
}

static void change(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct mediator_service *s = user;
    const Pstorage__V1__MediatorChangeRequest *request = (const void *)message;
    struct mediator_change ask = {.cluster = cluster_of(call, request->cluster)};
    struct ps_error err;
    if (!ask.cluster)
        return;
    if (read_change(s, request, &ask, &err) ||
        mediator_change(s->config.core, &ask, s->config.now_unix_ns(s->config.user), &s->reply, &err)) {
        fail(s, call, &err);
        return;
    }
    tell(s, call, &ask);
    Pstorage__V1__MediatorChangeResponse response = PSTORAGE__V1__MEDIATOR_CHANGE_RESPONSE__INIT;
    for (size_t i = 0; i < ask.count; i++) {
        struct mediator_verdict_pod *v = &s->reply.pods[i];
        Pstorage__V1__MediatorPodVerdict *verdict = s->pointers[i] = &s->verdicts[i];
        pstorage__v1__mediator_pod_verdict__init(verdict);
        verdict->verdict = (Pstorage__V1__MediatorVerdict)v->verdict;
        verdict->text = v->text;
        if (v->known)
            verdict->pod = fill_row(&s->rows[i], ask.cluster, &v->now, &v->request_id, v->reported_epoch);
    }
    response.store = uuid_to_message(&s->store);
    response.granted = s->reply.granted;
    response.n_pods = ask.count;
    response.pods = s->pointers;
    rpc_call_reply(call, &response.base);
}

static void report(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct mediator_service *s = user;
    const Pstorage__V1__MediatorReportRequest *request = (const void *)message;
    const char *cluster = cluster_of(call, request->cluster);
    struct mediator_report reports[MEDIATOR_CHANGE_PODS_MAX];
    uint64_t epochs[MEDIATOR_CHANGE_PODS_MAX];
    struct ps_error err;
    int rc = 0;
    if (!cluster)
        return;
    for (size_t i = 0; rc == 0 && i < request->n_pods && i < MEDIATOR_CHANGE_PODS_MAX; i++) {
        rc = uuid_from_message(request->pods[i]->pod, UUID_REQUIRED, "a pod", &reports[i].pod, &err);
        reports[i].epoch = request->pods[i]->epoch;
    }
    if (rc || mediator_report(s->config.core, cluster, reports, request->n_pods, epochs, &err)) {
        fail(s, call, &err);
        return;
    }
    Pstorage__V1__MediatorReportResponse response = PSTORAGE__V1__MEDIATOR_REPORT_RESPONSE__INIT;
    response.store = uuid_to_message(&s->store);
    response.n_epochs = request->n_pods;
    response.epochs = epochs;
    rpc_call_reply(call, &response.base);
}

/* ---- lists */

static void list_clusters(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct mediator_service *s = user;
    const Pstorage__V1__MediatorListClustersRequest *request = (const void *)message;
    const char *own = rpc_call_peer(call)->cluster_id, *cluster = request->page_token;
    const size_t max = page_size(request->page_size);
    char **rows = calloc(max, sizeof *rows);
    if (!rows) {
        rpc_call_fail(call, PS_ENOMEM, NULL);
        return;
    }
    Pstorage__V1__MediatorListClustersResponse response = PSTORAGE__V1__MEDIATOR_LIST_CLUSTERS_RESPONSE__INIT;
    while ((cluster = mediator_cluster_after(s->config.core, cluster))) {
        if (own[0] && strcmp(own, cluster) != 0)
            continue;
        if (response.n_clusters == max) {
            response.next_page_token = rows[max - 1];
            break;
        }
        rows[response.n_clusters++] = (char *)cluster;
    }
    response.clusters = rows;
    rpc_call_reply(call, &response.base);
    free(rows);
}

static void list_pods(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct mediator_service *s = user;
    const Pstorage__V1__MediatorListPodsRequest *request = (const void *)message;
    const char *cluster = cluster_of(call, request->cluster), *after = request->page_token;
    const size_t max = page_size(request->page_size);
    if (!cluster)
        return;
    struct pod_row *rows = calloc(max, sizeof *rows);
    Pstorage__V1__MediatorPod **pointers = calloc(max, sizeof *pointers);
    if (rows && pointers) {
        Pstorage__V1__MediatorListPodsResponse response = PSTORAGE__V1__MEDIATOR_LIST_PODS_RESPONSE__INIT;
        for (const struct mediator_pod *pod; (pod = mediator_pod_after(s->config.core, cluster, after));) {
            if (response.n_pods == max) {
                response.next_page_token = (char *)after;
                break;
            }
            pointers[response.n_pods] = fill_pod(&rows[response.n_pods], pod);
            response.n_pods++;
            after = pod->configuration.pod_name;
        }
        response.pods = pointers;
        rpc_call_reply(call, &response.base);
    } else {
        rpc_call_fail(call, PS_ENOMEM, NULL);
    }
    free(rows);
    free(pointers);
}

static void fill_decision(Pstorage__V1__MediatorDecision *out, struct mediator_decision *d)
{
    pstorage__v1__mediator_decision__init(out);
    out->number = d->number;
    out->time_unix_ns = d->time_unix_ns;
    out->expected_epoch = d->expected_epoch;
    out->epoch = d->epoch;
    out->requester = uuid_to_message(&d->requester);
    out->request_id = uuid_to_message(&d->request_id);
    out->verdict = (Pstorage__V1__MediatorVerdict)d->verdict;
    out->text = d->text;
}

static void history(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct mediator_service *s = user;
    const Pstorage__V1__MediatorHistoryRequest *request = (const void *)message;
    const struct mediator_pod *pod = pod_of(s, call, request->cluster, request->pod, request->pod_name);
    const size_t max = page_size(request->page_size);
    if (!pod)
        return;
    struct mediator_decision *decisions = calloc(max, sizeof *decisions);
    Pstorage__V1__MediatorDecision *rows = calloc(max, sizeof *rows),
                                   **pointers = calloc(max, sizeof *pointers);
    struct ps_error err = {0};
    size_t count = 0;
    if (!decisions || !rows || !pointers)
        (void)ps_error_set(&err, PS_ENOMEM, "out of memory");
    else
        (void)mediator_history(s->config.core, pod->cluster, &pod->configuration.pod, request->after_number,
                               decisions, max, &count, &err);
    if (err.status) {
        fail(s, call, &err);
    } else {
        for (size_t i = 0; i < count; i++) {
            fill_decision(&rows[i], &decisions[i]);
            pointers[i] = &rows[i];
        }
        Pstorage__V1__MediatorHistoryResponse response = PSTORAGE__V1__MEDIATOR_HISTORY_RESPONSE__INIT;
        response.n_decisions = count;
        response.decisions = pointers;
        response.last_number = pod->decisions;
        rpc_call_reply(call, &response.base);
    }
    free(decisions);
    free(rows);
    free(pointers);
}

/* ---- Forget */

static void forget(void *user, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct mediator_service *s = user;
    const Pstorage__V1__MediatorForgetRequest *request = (const void *)message;
    if (rpc_call_peer(call)->role != PSTORAGE__V1__PEER_ROLE__PEER_ROLE_CLIENT) {
        rpc_call_fail(call, PS_EPERM, "only a client may have a pod forgotten: it is a person's decision");
        return;
    }
    const struct mediator_pod *pod = pod_of(s, call, request->cluster, request->pod, request->pod_name);
    struct ps_error err;
    if (!pod)
        return;
    const struct mediator_pod gone = *pod;
    if (mediator_forget(s->config.core, gone.cluster, &gone.configuration.pod, &err)) {
        fail(s, call, &err);
        return;
    }
    if (s->config.forgotten)
        s->config.forgotten(s->config.user, rpc_call_peer(call), gone.cluster, gone.configuration.pod_name);
    Pstorage__V1__MediatorForgetResponse response = PSTORAGE__V1__MEDIATOR_FORGET_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

/* ---- life */

static const struct rpc_method methods[] = {
    {.name = "Describe", .handler = describe},
    {.name = "Get", .handler = get},
    {.name = "Change", .handler = change},
    {.name = "Report", .handler = report},
    {.name = "ListClusters", .handler = list_clusters},
    {.name = "ListPods", .handler = list_pods},
    {.name = "History", .handler = history},
    {.name = "Forget", .handler = forget},
};

int mediator_service_create(struct rpc_server *server, const struct mediator_service_config *config,
                            struct mediator_service **out)
{
    static const struct rpc_service service = {
        .descriptor = &pstorage__v1__mediator__descriptor,
        .methods = methods,
        .nmethods = sizeof methods / sizeof methods[0],
    };
    struct mediator_service *s = calloc(1, sizeof *s);
    if (!s)
        return PS_ENOMEM;
    s->config = *config;
    struct mediator_description d;
    mediator_describe(config->core, &d);
    s->store = d.store;
    rpc_server_register(server, &service, s);
    *out = s;
    return 0;
}

void mediator_service_destroy(struct mediator_service *s)
{
    free(s);
}
