#include "node/host/mediator_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/configuration_proto.h"
#include "pstorage/v1/mediator.pb-c.h"

#define MS              1000000ull
#define CALL_TIMEOUT_NS (1000 * MS)
#define RECONNECT_NS    (250 * MS)
#define SILENCE_NS      (750 * MS) /* a connection without answers is replaced after twice as long */

enum {
    ASKS_MAX = 4 /* on their way: an ask that is repeated, and one that replaced it */
};

struct ask_call {
    struct rpc_request rpc;
    struct mediator_link *link;
    bool busy;
    struct uuid request;
};

struct mediator_link {
    struct mediator_link_config config;
    struct rpc_client *client;
    bool closing;
    void (*closed)(void *user);
    void *closed_user;
    struct ask_call asks[ASKS_MAX];
    struct rpc_request find, report, get;
    bool finding, reporting, getting;
    bool know_store; /* a verdict with a configuration was given on this connection */
    struct uuid pod; /* of the report */
    uint64_t epoch;
};

static void on_state(void *user, int status, const char *detail)
{
    struct mediator_link *l = user;
    (void)detail;
    if (status)
        l->know_store = false;
}

static void line(void *user, const char *text)
{
    const struct mediator_link *l = user;
    if (l->config.log)
        l->config.log(l->config.user, text);
}

int mediator_link_create(const struct mediator_link_config *config, struct mediator_link **out,
                         struct ps_error *err)
{
    struct mediator_link *l = calloc(1, sizeof *l);
    if (!l)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    l->config = *config;
    const struct rpc_client_config client = {
        .endpoint = config->address,
        .identity = {.name = config->node_name,
                     .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE,
                     .cluster_id = config->cluster_name},
        .keys = config->keys,
        .on_state = on_state,
        .log = line,
        .user = l,
        .backoff_max_ns = RECONNECT_NS,
        .keepalive_ns = SILENCE_NS,
    };
    const int rc = rpc_client_connect(config->transport, &client, &l->client, err);
    if (rc)
        free(l);
    else
        *out = l;
    return rc;
}

static void client_closed(void *user)
{
    struct mediator_link *l = user;
    void (*closed)(void *) = l->closed;
    void *closed_user = l->closed_user;
    free(l);
    closed(closed_user);
}

void mediator_link_close(struct mediator_link *l, void (*closed)(void *user), void *user)
{
    l->closing = true;
    l->closed = closed;
    l->closed_user = user;
    rpc_client_close(l->client, client_closed, l);
}

bool mediator_link_connected(const struct mediator_link *l)
{
    return rpc_client_peer(l->client) != NULL;
}

static void nonsense(struct mediator_link *l, const struct ps_error *err)
{
    char text[400];
    (void)snprintf(text, sizeof text, "the mediator's answer makes no sense: %.252s", err->detail);
    line(l, text);
}

static int call(struct mediator_link *l, struct rpc_request *rpc, const char *method,
                const ProtobufCMessage *message, rpc_reply_cb cb)
{
    *rpc = (struct rpc_request){
        .service = &pstorage__v1__mediator__descriptor,
        .method = method,
        .message = message,
        .timeout_ns = CALL_TIMEOUT_NS,
        .user = l,
    };
    return rpc_client_call(l->client, rpc, cb);
}

static char *text_of(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* ---- what is there under a name */

static void on_found(struct rpc_request *rpc, const struct rpc_reply *reply)
{
    struct mediator_link *l = rpc->user;
    const Pstorage__V1__MediatorGetResponse *r = (const void *)reply->message;
    struct configuration c;
    struct ps_error err;
    l->finding = false;
    if (l->closing)
        return;
    if (reply->status == PS_ENOTFOUND)
        l->config.found(l->config.user, NULL);
    else if (reply->status == 0 &&
             configuration_from_message(r->pod ? r->pod->configuration : NULL, &c, &err))
        nonsense(l, &err);
    else if (reply->status == 0)
        l->config.found(l->config.user, &c);
}

void mediator_link_find(struct mediator_link *l, const char *pod_name)
{
    Pstorage__V1__MediatorGetRequest m = PSTORAGE__V1__MEDIATOR_GET_REQUEST__INIT;
    if (l->finding || !mediator_link_connected(l))
        return;
    m.cluster = text_of(l->config.cluster_name);
    m.pod_name = text_of(pod_name);
    l->finding = call(l, &l->find, "Get", &m.base, on_found) == 0;
}

/* ---- asks */

static int verdict_of(const Pstorage__V1__MediatorChangeResponse *r, struct replica_verdict *v,
                      struct ps_error *err)
{
    const int rc = uuid_from_message(r->store, UUID_REQUIRED, "the mediator's store", &v->mediator, err);
    if (rc)
        return rc;
    if (r->n_pods != 1)
        return ps_error_set(err, PS_EINVAL, "a verdict about %zu pods", r->n_pods);
    const Pstorage__V1__MediatorPodVerdict *p = r->pods[0];
    v->status = r->granted ? 0 : PS_EABORTED;
    (void)snprintf(v->detail, sizeof v->detail, "%.159s", p->text);
    return p->pod ? configuration_from_message(p->pod->configuration, &v->now, err) : 0;
}

static void on_verdict(struct rpc_request *rpc, const struct rpc_reply *reply)
{
    struct ask_call *a = container_of(rpc, struct ask_call, rpc);
    struct mediator_link *l = a->link;
    struct replica_verdict v = {.request = a->request};
    struct ps_error err;
    a->busy = false;
    if (l->closing || reply->status)
        return;
    if (verdict_of((const void *)reply->message, &v, &err))
        nonsense(l, &err);
    else
        l->config.verdict(l->config.user, &v);
}

void mediator_link_ask(struct mediator_link *l, const struct replica_cas *cas)
{
    struct ask_call *a = NULL;
    if (!mediator_link_connected(l))
        return;
    for (unsigned i = 0; i < ASKS_MAX; i++) {
        if (!l->asks[i].busy)
            a = &l->asks[i];
        else if (uuid_equal(&l->asks[i].request, &cas->request))
            return; /* not answered yet */
    }
    if (!a)
        return;
    struct configuration_message next;
    Pstorage__V1__MediatorPodChange change = PSTORAGE__V1__MEDIATOR_POD_CHANGE__INIT;
    Pstorage__V1__MediatorPodChange *changes[] = {&change};
    Pstorage__V1__MediatorChangeRequest m = PSTORAGE__V1__MEDIATOR_CHANGE_REQUEST__INIT;
    configuration_to_message(&cas->next, &next);
    change.expected_epoch = cas->expected_epoch;
    change.next = &next.message;
    m.cluster = text_of(l->config.cluster_name);
    m.store = uuid_to_message(&cas->mediator);
    m.request_id = uuid_to_message(&cas->request);
    m.requester = uuid_to_message(&cas->requester);
    m.pods = changes;
    m.n_pods = 1;
    a->link = l;
    a->request = cas->request;
    a->busy = call(l, &a->rpc, "Change", &m.base, on_verdict) == 0;
}

/* ---- reports */

static void on_got(struct rpc_request *rpc, const struct rpc_reply *reply)
{
    struct mediator_link *l = rpc->user;
    const Pstorage__V1__MediatorGetResponse *r = (const void *)reply->message;
    struct replica_verdict v = {0};
    struct ps_error err;
    l->getting = false;
    if (l->closing || reply->status)
        return;
    int rc = uuid_from_message(r->store, UUID_REQUIRED, "the mediator's store", &v.mediator, &err);
    if (rc == 0)
        rc = configuration_from_message(r->pod ? r->pod->configuration : NULL, &v.now, &err);
    if (rc) {
        nonsense(l, &err);
        return;
    }
    l->know_store = true;
    l->config.verdict(l->config.user, &v);
}

static void get(struct mediator_link *l)
{
    Pstorage__V1__MediatorGetRequest m = PSTORAGE__V1__MEDIATOR_GET_REQUEST__INIT;
    if (l->getting)
        return;
    m.cluster = text_of(l->config.cluster_name);
    m.pod = uuid_to_message(&l->pod);
    m.pod_name = text_of("");
    l->getting = call(l, &l->get, "Get", &m.base, on_got) == 0;
}

static void on_reported(struct rpc_request *rpc, const struct rpc_reply *reply)
{
    struct mediator_link *l = rpc->user;
    const Pstorage__V1__MediatorReportResponse *r = (const void *)reply->message;
    struct replica_verdict v = {0};
    struct ps_error err;
    l->reporting = false;
    if (l->closing || reply->status)
        return;
    int rc = uuid_from_message(r->store, UUID_REQUIRED, "the mediator's store", &v.mediator, &err);
    if (rc == 0 && r->n_epochs != 1)
        rc = ps_error_set(&err, PS_EINVAL, "epochs of %zu pods", r->n_epochs);
    if (rc) {
        nonsense(l, &err);
        return;
    }
    if (r->epochs[0] && (r->epochs[0] != l->epoch || !l->know_store))
        get(l);
    else
        l->config.verdict(l->config.user, &v); /* that it is there */
}

void mediator_link_report(struct mediator_link *l, const struct uuid *pod, uint64_t epoch)
{
    if (l->reporting || !mediator_link_connected(l))
        return;
    Pstorage__V1__MediatorEpochReport report = PSTORAGE__V1__MEDIATOR_EPOCH_REPORT__INIT;
    Pstorage__V1__MediatorEpochReport *reports[] = {&report};
    Pstorage__V1__MediatorReportRequest m = PSTORAGE__V1__MEDIATOR_REPORT_REQUEST__INIT;
    l->pod = *pod;
    l->epoch = epoch;
    report.pod = uuid_to_message(pod);
    report.epoch = epoch;
    m.cluster = text_of(l->config.cluster_name);
    m.pods = reports;
    m.n_pods = 1;
    l->reporting = call(l, &l->report, "Report", &m.base, on_reported) == 0;
}
