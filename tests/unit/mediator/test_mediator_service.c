/* The service as its clients see it: over RPC in memory, on virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <assert.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/configuration_proto.h"
#include "common/rpc/client.h"
#include "mediator/mediator_store_mem.h"
#include "mediator_served.h"
#include "pstorage/v1/mediator.pb-c.h"

enum {
    POD = 0xa0
};

enum who {
    NODE,     /* of cluster "c" */
    STRANGER, /* a node of cluster "d" */
    NAMELESS, /* a node that names no cluster */
    PERSON,   /* a client that names none */
    CLIENTS
};

struct world {
    struct served served;
    struct rpc_client *clients[CLIENTS];
    /* The last answer. */
    struct rpc_request request;
    unsigned answers;
    int status;
    char detail[256];
    ProtobufCMessage *message;
    /* What the log heard. */
    unsigned decided, forgotten, failures;
    char news[400];
};

static void on_decided(void *user, const struct mediator_news *news)
{
    struct world *w = container_of(user, struct world, served);
    w->decided++;
    (void)snprintf(w->news, sizeof w->news, "%s/%s by %s: %s", news->cluster, news->pod_name,
                   news->peer->name, mediator_verdict_name(news->verdict));
}

static void on_forgotten(void *user, const struct rpc_peer *peer, const char *cluster, const char *pod_name)
{
    struct world *w = container_of(user, struct world, served);
    w->forgotten++;
    (void)snprintf(w->news, sizeof w->news, "%s/%s by %s: forgotten", cluster, pod_name, peer->name);
}

static void on_failure(void *user, const char *detail)
{
    struct world *w = container_of(user, struct world, served);
    w->failures++;
    (void)snprintf(w->news, sizeof w->news, "%s", detail);
}

static int setup(void **state)
{
    static const struct {
        const char *name, *cluster;
        Pstorage__V1__PeerRole role;
    } who[CLIENTS] = {
        [NODE] = {"node1", "c", PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE},
        [STRANGER] = {"other", "d", PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE},
        [NAMELESS] = {"nameless", "", PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE},
        [PERSON] = {"person", "", PSTORAGE__V1__PEER_ROLE__PEER_ROLE_CLIENT},
    };
    const struct mediator_service_config listener = {
        .decided = on_decided, .forgotten = on_forgotten, .store_failed = on_failure};
    struct world *w = calloc(1, sizeof *w);
    served_create(&w->served, &listener);
    for (int i = 0; i < CLIENTS; i++) {
        const struct rpc_client_config client = {
            .endpoint = SERVED_ENDPOINT,
            .identity = {.name = who[i].name, .role = who[i].role, .cluster_id = who[i].cluster}};
        assert(rpc_client_connect(w->served.here, &client, &w->clients[i], NULL) == 0);
    }
    served_run(&w->served, 20);
    *state = w;
    return 0;
}

static void drop_answer(struct world *w)
{
    if (w->message)
        protobuf_c_message_free_unpacked(w->message, NULL);
    w->message = NULL;
}

static int teardown(void **state)
{
    struct world *w = *state;
    bool closed = false;
    for (int i = 0; i < CLIENTS; i++)
        rpc_client_close(w->clients[i], served_closed, &closed);
    served_run(&w->served, 20);
    served_destroy(&w->served);
    drop_answer(w);
    free(w);
    return 0;
}

static void on_reply(struct rpc_request *request, const struct rpc_reply *reply)
{
    struct world *w = container_of(request, struct world, request);
    w->answers++;
    w->status = reply->status;
    (void)snprintf(w->detail, sizeof w->detail, "%s", reply->detail);
    if (reply->message) { /* a copy of one's own */
        const size_t length = protobuf_c_message_get_packed_size(reply->message);
        uint8_t *copy = malloc(length + 1);
        (void)protobuf_c_message_pack(reply->message, copy);
        w->message = protobuf_c_message_unpack(reply->message->descriptor, NULL, length, copy);
        free(copy);
    }
}

/* The answer's message; NULL: w->status and w->detail say why. */
static void *call(struct world *w, enum who who, const char *method, const ProtobufCMessage *message)
{
    drop_answer(w);
    w->answers = 0;
    w->request = (struct rpc_request){
        .service = &pstorage__v1__mediator__descriptor, .method = method, .message = message};
    assert_int_equal(rpc_client_call(w->clients[who], &w->request, on_reply), 0);
    served_run(&w->served, 20);
    assert_int_equal(w->answers, 1);
    return w->message;
}

static void failed(const struct world *w, int status, const char *why)
{
    assert_null(w->message);
    assert_int_equal(w->status, status);
    if (!strstr(w->detail, why))
        fail_msg("\"%s\" does not say \"%s\"", w->detail, why);
}

/* A change of one pod, and what it is made of. */
struct ask {
    struct uuid store, request, requester;
    struct configuration next;
    struct configuration_message configuration;
    Pstorage__V1__MediatorPodChange change, *changes[1];
    Pstorage__V1__MediatorChangeRequest message;
};

static void make_ask(struct ask *a, unsigned requester, unsigned request, uint64_t expected,
                     const struct configuration *next)
{
    a->store = rig_id(0xee);
    a->request = rig_id(request);
    a->requester = rig_id(requester);
    a->next = *next;
    configuration_to_message(&a->next, &a->configuration);
    pstorage__v1__mediator_pod_change__init(&a->change);
    a->change.expected_epoch = expected;
    a->change.next = &a->configuration.message;
    a->changes[0] = &a->change;
    pstorage__v1__mediator_change_request__init(&a->message);
    a->message.store = uuid_to_message(&a->store);
    a->message.request_id = uuid_to_message(&a->request);
    a->message.requester = uuid_to_message(&a->requester);
    a->message.n_pods = 1;
    a->message.pods = a->changes;
}

static const Pstorage__V1__MediatorChangeResponse *ask(struct world *w, enum who who, unsigned requester,
                                                       unsigned request, uint64_t expected,
                                                       const struct configuration *next)
{
    struct ask a;
    make_ask(&a, requester, request, expected, next);
    return call(w, who, "Change", &a.message.base);
}

static void registers(struct world *w, enum who who, unsigned pod)
{
    const struct configuration first = rig_configuration(pod, 1, 1, "12");
    const Pstorage__V1__MediatorChangeResponse *response = ask(w, who, 1, 0xf0, 0, &first);
    assert_non_null(response);
    assert_true(response->granted);
}

static void is_id(ProtobufCBinaryData data, unsigned n)
{
    const struct uuid id = rig_id(n);
    assert_int_equal(data.len, 16);
    assert_memory_equal(data.data, id.bytes, 16);
}

/* ---- */

static void it_says_who_it_is(void **state)
{
    struct world *w = *state;
    registers(w, NODE, POD);
    const Pstorage__V1__MediatorDescribeRequest request = PSTORAGE__V1__MEDIATOR_DESCRIBE_REQUEST__INIT;
    const Pstorage__V1__MediatorDescribeResponse *d = call(w, PERSON, "Describe", &request.base);
    is_id(d->store, 0xee);
    assert_string_equal(d->software, PS_VERSION);
    assert_int_equal(d->clusters, 1);
    assert_int_equal(d->pods, 1);
}

static void a_granted_change_comes_back_with_the_configuration(void **state)
{
    struct world *w = *state;
    registers(w, NODE, POD);
    const struct configuration next = rig_configuration(POD, 2, 2, "2");
    const Pstorage__V1__MediatorChangeResponse *r = ask(w, NODE, 2, 0x20, 1, &next);
    struct configuration now;
    assert_true(r->granted);
    is_id(r->store, 0xee);
    assert_int_equal(r->n_pods, 1);
    assert_int_equal(r->pods[0]->verdict, PSTORAGE__V1__MEDIATOR_VERDICT__MEDIATOR_VERDICT_GRANTED);
    assert_string_equal(r->pods[0]->pod->cluster, "c");
    is_id(r->pods[0]->pod->request_id, 0x20);
    assert_int_equal(configuration_from_message(r->pods[0]->pod->configuration, &now, NULL), 0);
    assert_true(configuration_equal(&now, &next));
}

static void a_refused_change_is_an_answer_with_the_configuration_in_force(void **state)
{
    struct world *w = *state;
    registers(w, NODE, POD);
    const struct configuration next = rig_configuration(POD, 8, 2, "2");
    const Pstorage__V1__MediatorChangeResponse *r = ask(w, NODE, 2, 0x20, 7, &next);
    assert_false(r->granted);
    assert_int_equal(r->pods[0]->verdict, PSTORAGE__V1__MEDIATOR_VERDICT__MEDIATOR_VERDICT_EPOCH_MOVED);
    assert_string_equal(r->pods[0]->text, "epoch 7 was expected, 1 is in force");
    assert_int_equal(r->pods[0]->pod->configuration->epoch, 1);
    is_id(r->pods[0]->pod->request_id, 0xf0);
}

static void a_refusal_of_an_unknown_pod_has_no_configuration(void **state)
{
    struct world *w = *state;
    const struct configuration next = rig_configuration(POD, 8, 2, "2");
    const Pstorage__V1__MediatorChangeResponse *r = ask(w, NODE, 2, 0x20, 7, &next);
    assert_int_equal(r->pods[0]->verdict, PSTORAGE__V1__MEDIATOR_VERDICT__MEDIATOR_VERDICT_NO_POD);
    assert_null(r->pods[0]->pod);
}

static void each_decision_is_told_to_the_log_once(void **state)
{
    struct world *w = *state;
    registers(w, NODE, POD);
    assert_int_equal(w->decided, 1);
    assert_string_equal(w->news, "c/pa0 by node1: granted");
    registers(w, NODE, POD); /* the same request again */
    assert_int_equal(w->decided, 1);
    const struct configuration next = rig_configuration(POD, 8, 2, "2");
    for (int i = 0; i < 3; i++)
        (void)ask(w, NODE, 2, 0x20, 7, &next);
    assert_int_equal(w->decided, 2);
    assert_string_equal(w->news, "c/pa0 by node1: epoch-moved");
    /* Of a pod that is not here: no history, but the log hears of it. */
    const struct configuration unknown = rig_configuration(POD + 1, 8, 2, "2");
    (void)ask(w, NODE, 2, 0x21, 7, &unknown);
    assert_int_equal(w->decided, 3);
}

static void malformed_changes_are_refused_at_the_edge(void **state)
{
    struct world *w = *state;
    const struct configuration next = rig_configuration(POD, 1, 1, "12");
    struct ask a;
    Pstorage__V1__MediatorPodChange *many[MEDIATOR_CHANGE_PODS_MAX + 1];
#define EXPECT(why, ...)                                                                                     \
    do {                                                                                                     \
        make_ask(&a, 1, 0x10, 0, &next);                                                                     \
        __VA_ARGS__;                                                                                         \
        (void)call(w, NODE, "Change", &a.message.base);                                                      \
        failed(w, PS_EINVAL, why);                                                                           \
    } while (0)
    EXPECT("1 to 64 pods, not 0", a.message.n_pods = 0);
    EXPECT("1 to 64 pods, not 65", {
        for (size_t i = 0; i <= MEDIATOR_CHANGE_PODS_MAX; i++)
            many[i] = &a.change;
        a.message.n_pods = MEDIATOR_CHANGE_PODS_MAX + 1;
        a.message.pods = many;
    });
    EXPECT("the mediator's store has 3 bytes", a.message.store.len = 3);
    EXPECT("the request's id is missing", a.message.request_id.len = 0);
    EXPECT("the requester has 8 bytes", a.message.requester.len = 8);
    EXPECT("a configuration is missing", a.change.next = NULL);
    EXPECT("the primary has 5 bytes", a.configuration.message.primary.len = 5);
    EXPECT("unknown value", a.configuration.members[0].mode = (Pstorage__V1__MemberMode)9);
    EXPECT("UTF-8", a.configuration.message.pod_name = (char *)"\xff");
    EXPECT("no epoch", a.configuration.message.epoch = UINT64_MAX);
    assert_int_equal(w->decided, 0);
    assert_int_equal(rig_epoch(&w->served.rig, POD), 0);
}

static void a_connection_speaks_for_the_cluster_of_its_greeting_only(void **state)
{
    struct world *w = *state;
    registers(w, NODE, POD);
    const struct configuration next = rig_configuration(POD, 2, 1, "1");
    struct ask a;
    /* A stranger does not find it, and can't say that it is of the other cluster. */
    const Pstorage__V1__MediatorChangeResponse *r = ask(w, STRANGER, 1, 0x10, 1, &next);
    assert_int_equal(r->pods[0]->verdict, PSTORAGE__V1__MEDIATOR_VERDICT__MEDIATOR_VERDICT_NO_POD);
    make_ask(&a, 1, 0x10, 1, &next);
    a.message.cluster = (char *)"c";
    (void)call(w, STRANGER, "Change", &a.message.base);
    failed(w, PS_EPERM, "a connection of cluster d asks for cluster c");
    /* Its own may be named. */
    (void)call(w, NODE, "Change", &a.message.base);
    assert_int_equal(w->status, 0);
    assert_int_equal(rig_epoch(&w->served.rig, POD), 2);
}

static void a_node_that_names_no_cluster_is_refused(void **state)
{
    struct world *w = *state;
    registers(w, NODE, POD);
    const struct configuration next = rig_configuration(POD, 2, 1, "1");
    struct ask a;
    make_ask(&a, 1, 0x10, 1, &next);
    (void)call(w, NAMELESS, "Change", &a.message.base);
    failed(w, PS_EPERM, "names no cluster");
    assert_int_equal(rig_epoch(&w->served.rig, POD), 1);
}

static void a_person_names_the_cluster_in_the_request(void **state)
{
    struct world *w = *state;
    registers(w, NODE, POD);
    Pstorage__V1__MediatorGetRequest request = PSTORAGE__V1__MEDIATOR_GET_REQUEST__INIT;
    request.pod_name = (char *)"pa0";
    (void)call(w, PERSON, "Get", &request.base);
    failed(w, PS_EINVAL, "no cluster is named");
    request.cluster = (char *)"c";
    const Pstorage__V1__MediatorGetResponse *r = call(w, PERSON, "Get", &request.base);
    assert_string_equal(r->pod->configuration->pod_name, "pa0");
}

static void a_pod_is_got_by_id_or_by_name(void **state)
{
    struct world *w = *state;
    registers(w, NODE, POD);
    Pstorage__V1__MediatorGetRequest request = PSTORAGE__V1__MEDIATOR_GET_REQUEST__INIT;
    const struct uuid pod = rig_id(POD), none = rig_id(9);
    request.pod = uuid_to_message(&pod);
    const Pstorage__V1__MediatorGetResponse *r = call(w, NODE, "Get", &request.base);
    is_id(r->store, 0xee);
    assert_string_equal(r->pod->configuration->pod_name, "pa0");
    assert_int_equal(r->pod->configuration->n_members, 2);
    request.pod.len = 0;
    request.pod_name = (char *)"pa0";
    r = call(w, NODE, "Get", &request.base);
    assert_int_equal(r->pod->configuration->epoch, 1);
    request.pod_name = (char *)"other";
    (void)call(w, NODE, "Get", &request.base);
    failed(w, PS_ENOTFOUND, "cluster c has no pod other");
    request.pod = uuid_to_message(&none);
    (void)call(w, NODE, "Get", &request.base);
    failed(w, PS_ENOTFOUND, "09090909-0909");
    request.pod.len = 4;
    (void)call(w, NODE, "Get", &request.base);
    failed(w, PS_EINVAL, "the pod has 4 bytes");
}

static void reports_tell_the_epochs_here_and_are_kept(void **state)
{
    struct world *w = *state;
    registers(w, NODE, POD);
    const struct uuid pod = rig_id(POD), unknown = rig_id(9);
    Pstorage__V1__MediatorEpochReport rows[2] = {PSTORAGE__V1__MEDIATOR_EPOCH_REPORT__INIT,
                                                 PSTORAGE__V1__MEDIATOR_EPOCH_REPORT__INIT},
                                      *pointers[2] = {&rows[0], &rows[1]};
    Pstorage__V1__MediatorReportRequest request = PSTORAGE__V1__MEDIATOR_REPORT_REQUEST__INIT;
    rows[0].pod = uuid_to_message(&unknown);
    rows[0].epoch = 7;
    rows[1].pod = uuid_to_message(&pod);
    rows[1].epoch = 4;
    request.pods = pointers;
    request.n_pods = 2;
    const Pstorage__V1__MediatorReportResponse *r = call(w, NODE, "Report", &request.base);
    is_id(r->store, 0xee);
    assert_int_equal(r->n_epochs, 2);
    assert_int_equal(r->epochs[0], 0);
    assert_int_equal(r->epochs[1], 1);
    const struct configuration take_over = rig_configuration(POD, 5, 2, "2");
    const Pstorage__V1__MediatorChangeResponse *c = ask(w, NODE, 2, 0x20, 1, &take_over);
    assert_int_equal(c->pods[0]->verdict, PSTORAGE__V1__MEDIATOR_VERDICT__MEDIATOR_VERDICT_HIGHER_EPOCH);
    assert_int_equal(c->pods[0]->pod->reported_epoch, 4);
    request.n_pods = 0;
    (void)call(w, NODE, "Report", &request.base);
    failed(w, PS_EINVAL, "1 to 64 pods");
    request.n_pods = 2;
    rows[1].pod.len = 0;
    (void)call(w, NODE, "Report", &request.base);
    failed(w, PS_EINVAL, "a pod is missing");
}

static void lists_come_in_pages(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < 5; i++)
        registers(w, NODE, POD + i);
    registers(w, STRANGER, 0xb0);
    Pstorage__V1__MediatorListPodsRequest request = PSTORAGE__V1__MEDIATOR_LIST_PODS_REQUEST__INIT;
    char seen[64] = "", token[64] = "";
    request.page_size = 2;
    request.page_token = token;
    unsigned pages = 0;
    do {
        const Pstorage__V1__MediatorListPodsResponse *r = call(w, NODE, "ListPods", &request.base);
        for (size_t i = 0; i < r->n_pods; i++)
            (void)snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s ",
                           r->pods[i]->configuration->pod_name);
        (void)snprintf(token, sizeof token, "%s", r->next_page_token);
        pages++;
    } while (token[0] && pages < 9);
    assert_string_equal(seen, "pa0 pa1 pa2 pa3 pa4 ");
    assert_int_equal(pages, 3);
    Pstorage__V1__MediatorListClustersRequest clusters = PSTORAGE__V1__MEDIATOR_LIST_CLUSTERS_REQUEST__INIT;
    const Pstorage__V1__MediatorListClustersResponse *c = call(w, PERSON, "ListClusters", &clusters.base);
    assert_int_equal(c->n_clusters, 2);
    assert_string_equal(c->clusters[0], "c");
    assert_string_equal(c->clusters[1], "d");
    assert_string_equal(c->next_page_token, "");
    clusters.page_size = 1;
    c = call(w, PERSON, "ListClusters", &clusters.base);
    assert_int_equal(c->n_clusters, 1);
    assert_string_equal(c->next_page_token, "c");
    clusters.page_token = (char *)"c";
    c = call(w, PERSON, "ListClusters", &clusters.base);
    assert_string_equal(c->clusters[0], "d");
    assert_string_equal(c->next_page_token, "");
    /* Who is of a cluster sees that one only. */
    clusters.page_token = (char *)"";
    c = call(w, STRANGER, "ListClusters", &clusters.base);
    assert_int_equal(c->n_clusters, 1);
    assert_string_equal(c->clusters[0], "d");
    assert_string_equal(c->next_page_token, "");
}

static void the_history_comes_in_pages(void **state)
{
    struct world *w = *state;
    registers(w, NODE, POD);
    for (uint64_t e = 1; e <= 4; e++) {
        const struct configuration next = rig_configuration(POD, e + 1, 1, e % 2 ? "1" : "12");
        assert_non_null(ask(w, NODE, 1, (unsigned)e, e, &next));
    }
    Pstorage__V1__MediatorHistoryRequest request = PSTORAGE__V1__MEDIATOR_HISTORY_REQUEST__INIT;
    request.pod_name = (char *)"pa0";
    request.after_number = 2;
    request.page_size = 2;
    const Pstorage__V1__MediatorHistoryResponse *r = call(w, NODE, "History", &request.base);
    assert_int_equal(r->n_decisions, 2);
    assert_int_equal(r->last_number, 5);
    assert_int_equal(r->decisions[0]->number, 3);
    assert_int_equal(r->decisions[0]->epoch, 3);
    assert_int_equal(r->decisions[0]->expected_epoch, 2);
    assert_true(r->decisions[0]->time_unix_ns >= SERVED_UNIX_NS);
    is_id(r->decisions[0]->requester, 1);
    is_id(r->decisions[0]->request_id, 2);
    assert_int_equal(r->decisions[0]->verdict, PSTORAGE__V1__MEDIATOR_VERDICT__MEDIATOR_VERDICT_GRANTED);
    assert_string_equal(r->decisions[0]->text, "epoch 2 to 3: primary node1, in sync: node1 node2");
}

static void only_a_person_has_a_pod_forgotten(void **state)
{
    struct world *w = *state;
    registers(w, NODE, POD);
    Pstorage__V1__MediatorForgetRequest request = PSTORAGE__V1__MEDIATOR_FORGET_REQUEST__INIT;
    request.pod_name = (char *)"pa0";
    (void)call(w, NODE, "Forget", &request.base);
    failed(w, PS_EPERM, "only a client");
    assert_int_equal(rig_epoch(&w->served.rig, POD), 1);
    (void)call(w, PERSON, "Forget", &request.base);
    failed(w, PS_EINVAL, "no cluster is named");
    request.cluster = (char *)"d";
    (void)call(w, PERSON, "Forget", &request.base);
    failed(w, PS_ENOTFOUND, "cluster d has no pod pa0");
    request.cluster = (char *)"c";
    assert_non_null(call(w, PERSON, "Forget", &request.base));
    assert_int_equal(rig_epoch(&w->served.rig, POD), 0);
    assert_int_equal(w->forgotten, 1);
    assert_string_equal(w->news, "c/pa0 by person: forgotten");
}

static void a_failure_of_the_store_is_an_unknown_outcome_and_is_told(void **state)
{
    struct world *w = *state;
    const struct configuration first = rig_configuration(POD, 1, 1, "12");
    mediator_store_mem_fail(w->served.rig.store, 1, PS_EFULL, false);
    (void)ask(w, NODE, 1, 0x10, 0, &first);
    failed(w, PS_EIO, "the mediator's store failed: told to fail");
    assert_int_equal(w->failures, 1);
    assert_int_equal(w->decided, 0);
    registers(w, NODE, POD);
    assert_int_equal(w->failures, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(it_says_who_it_is),
        T(a_granted_change_comes_back_with_the_configuration),
        T(a_refused_change_is_an_answer_with_the_configuration_in_force),
        T(a_refusal_of_an_unknown_pod_has_no_configuration),
        T(each_decision_is_told_to_the_log_once),
        T(malformed_changes_are_refused_at_the_edge),
        T(a_connection_speaks_for_the_cluster_of_its_greeting_only),
        T(a_node_that_names_no_cluster_is_refused),
        T(a_person_names_the_cluster_in_the_request),
        T(a_pod_is_got_by_id_or_by_name),
        T(reports_tell_the_epochs_here_and_are_kept),
        T(lists_come_in_pages),
        T(the_history_comes_in_pages),
        T(only_a_person_has_a_pod_forgotten),
        T(a_failure_of_the_store_is_an_unknown_outcome_and_is_told),
    };
    return cmocka_run_group_tests_name("mediator_service", tests, NULL, NULL);
}
