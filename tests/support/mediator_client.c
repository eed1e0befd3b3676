/* Talks to a mediator, for stories.
 *
 *     mediator_client ENDPOINT [--cluster C] [--role node] [--store HEX] COMMAND
 *
 *     describe                 "store <id> clusters <n> pods <n>"
 *     get POD                  "<pod> epoch <n> primary <node> in-sync <nodes> reported <n>"
 *     change WHO REQUEST POD:EXPECTED:EPOCH:PRIMARY:IN_SYNC...
 *                              a line a pod: "<pod> <verdict> <text>"; status 1 unless granted
 *     stream POD               node1 and node2 hand the pod to and fro; each epoch once it is granted
 *     report POD EPOCH         the epoch there
 *     list                     names of pods
 *     history POD              "<number> <verdict> <text>"
 *     forget POD
 *
 * Stores, requests, WHO and PRIMARY are small numbers: an id of equal bytes. IN_SYNC has a digit for each
 * member in sync. Pods have two members, 1 and 2, on node1 and node2; a pod's id is made of its name. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/configuration_proto.h"
#include "common/rpc/client.h"
#include "common/rpc/transport_nng.h"
#include "mediator/mediator_store.h"
#include "pstorage/v1/mediator.pb-c.h"

static uv_loop_t loop;
static struct rpc_client *client;
static const char *cluster = "story";
static struct uuid store; /* the mediator's */
static bool store_known;

/* The last answer. */
static struct {
    bool done;
    int status;
    ProtobufCMessage *message;
} answer;

static struct uuid number_id(unsigned n)
{
    struct uuid id;
    memset(id.bytes, (int)n, sizeof id.bytes);
    return id;
}

static struct uuid pod_id(const char *name)
{
    struct uuid id = {.bytes = {0x80}};
    for (size_t i = 0; name[i]; i++)
        id.bytes[1 + i % 15] = (uint8_t)(id.bytes[1 + i % 15] * 31 + name[i]);
    return id;
}

static void on_reply(struct rpc_request *request, const struct rpc_reply *reply)
{
    (void)request;
    answer.done = true;
    answer.status = reply->status;
    if (reply->status)
        (void)fprintf(stderr, "%s: %s\n", ps_status_name(reply->status), reply->detail);
    if (reply->message) {
        const size_t length = protobuf_c_message_get_packed_size(reply->message);
        uint8_t *copy = malloc(length + 1);
        (void)protobuf_c_message_pack(reply->message, copy);
        answer.message = protobuf_c_message_unpack(reply->message->descriptor, NULL, length, copy);
        free(copy);
    }
    uv_stop(&loop);
}

/* NULL: answer.status says why. */
static void *call(const char *method, const ProtobufCMessage *message)
{
    struct rpc_request request = {
        .service = &pstorage__v1__mediator__descriptor, .method = method, .message = message};
    if (answer.message)
        protobuf_c_message_free_unpacked(answer.message, NULL);
    memset(&answer, 0, sizeof answer);
    const int rc = rpc_client_call(client, &request, on_reply);
    assert(rc == 0);
    while (!answer.done)
        (void)uv_run(&loop, UV_RUN_ONCE);
    return answer.message;
}

static int describe(bool print)
{
    const Pstorage__V1__MediatorDescribeRequest request = PSTORAGE__V1__MEDIATOR_DESCRIBE_REQUEST__INIT;
    const Pstorage__V1__MediatorDescribeResponse *r = call("Describe", &request.base);
    char text[UUID_TEXT_BYTES];
    if (!r)
        return ps_status_exit_code(answer.status);
    if (!store_known) {
        const int rc = uuid_from_message(r->store, UUID_REQUIRED, "the store", &store, NULL);
        assert(rc == 0);
        store_known = true;
    }
    uuid_format(&store, text);
    if (print)
        (void)printf("store %s clusters %u pods %u\n", text, r->clusters, r->pods);
    return 0;
}

/* ---- change */

struct ask {
    struct configuration next;
    struct configuration_message configuration;
    Pstorage__V1__MediatorPodChange change;
};

static void make_ask(struct ask *a, const char *pod, uint64_t expected, uint64_t epoch, unsigned primary,
                     const char *in_sync)
{
    a->next =
        (struct configuration){.pod = pod_id(pod), .epoch = epoch, .primary = number_id(primary), .count = 2};
    (void)snprintf(a->next.pod_name, sizeof a->next.pod_name, "%s", pod);
    for (unsigned n = 1; n <= 2; n++) {
        struct member *m = &a->next.members[n - 1];
        m->store = number_id(n);
        m->mode = MEMBER_SYNC;
        m->in_sync = strchr(in_sync, '0' + (int)n) != NULL;
        (void)snprintf(m->node, sizeof m->node, "node%u", n);
    }
    configuration_to_message(&a->next, &a->configuration);
    pstorage__v1__mediator_pod_change__init(&a->change);
    a->change.expected_epoch = expected;
    a->change.next = &a->configuration.message;
}

static const Pstorage__V1__MediatorChangeResponse *ask(struct ask *asks, size_t count, unsigned who,
                                                       const struct uuid *request_id)
{
    Pstorage__V1__MediatorPodChange *pointers[MEDIATOR_CHANGE_PODS_MAX];
    Pstorage__V1__MediatorChangeRequest request = PSTORAGE__V1__MEDIATOR_CHANGE_REQUEST__INIT;
    const struct uuid requester = number_id(who);
    for (size_t i = 0; i < count; i++)
        pointers[i] = &asks[i].change;
    request.cluster = (char *)cluster;
    request.store = uuid_to_message(&store);
    request.requester = uuid_to_message(&requester);
    request.request_id = uuid_to_message(request_id);
    request.n_pods = count;
    request.pods = pointers;
    return call("Change", &request.base);
}

static int change(int argc, char **argv)
{
    static struct ask asks[MEDIATOR_CHANGE_PODS_MAX];
    size_t count = 0;
    if (argc < 3 || argc > 2 + MEDIATOR_CHANGE_PODS_MAX)
        return 2;
    for (int i = 2; i < argc; i++) {
        char pod[64], in_sync[8] = "";
        unsigned long expected, epoch;
        unsigned primary;
        if (sscanf(argv[i], "%63[^:]:%lu:%lu:%u:%7s", pod, &expected, &epoch, &primary, in_sync) < 4)
            return 2;
        make_ask(&asks[count++], pod, expected, epoch, primary, in_sync);
    }
    const struct uuid request = number_id((unsigned)atoi(argv[1]));
    const Pstorage__V1__MediatorChangeResponse *r = ask(asks, count, (unsigned)atoi(argv[0]), &request);
    if (!r)
        return ps_status_exit_code(answer.status);
    for (size_t i = 0; i < r->n_pods; i++)
        (void)printf("%s %s %s\n", asks[i].next.pod_name,
                     protobuf_c_enum_descriptor_get_value(&pstorage__v1__mediator_verdict__descriptor,
                                                          (int)r->pods[i]->verdict)
                             ->name +
                         strlen("MEDIATOR_VERDICT_"),
                     r->pods[i]->text);
    return r->granted ? 0 : 1;
}

static const Pstorage__V1__MediatorPod *get(const char *pod)
{
    Pstorage__V1__MediatorGetRequest request = PSTORAGE__V1__MEDIATOR_GET_REQUEST__INIT;
    request.cluster = (char *)cluster;
    request.pod_name = (char *)pod;
    const Pstorage__V1__MediatorGetResponse *r = call("Get", &request.base);
    return r ? r->pod : NULL;
}

static int stream(const char *pod)
{
    const Pstorage__V1__MediatorPod *now = get(pod);
    for (uint64_t epoch = now ? now->configuration->epoch : 0; now; epoch++) {
        struct ask a;
        struct uuid request = number_id(0x55);
        memcpy(request.bytes, &epoch, sizeof epoch);
        const unsigned who = 1 + (unsigned)(epoch % 2);
        make_ask(&a, pod, epoch, epoch + 1, who, "12");
        const Pstorage__V1__MediatorChangeResponse *r = ask(&a, 1, who, &request);
        if (!r || !r->granted)
            break;
        (void)printf("%lu\n", (unsigned long)(epoch + 1));
        (void)fflush(stdout);
    }
    return ps_status_exit_code(answer.status);
}

/* ---- the rest */

static int show(const char *pod)
{
    const Pstorage__V1__MediatorPod *p = get(pod);
    struct configuration c;
    if (!p)
        return ps_status_exit_code(answer.status);
    const int rc = configuration_from_message(p->configuration, &c, NULL);
    assert(rc == 0);
    (void)printf("%s epoch %lu primary %s in-sync", c.pod_name, (unsigned long)c.epoch,
                 c.members[configuration_find(&c, &c.primary)].node);
    for (uint32_t i = 0; i < c.count; i++)
        if (c.members[i].in_sync)
            (void)printf(" %s", c.members[i].node);
    (void)printf(" reported %lu\n", (unsigned long)p->reported_epoch);
    return 0;
}

static int report(const char *pod, const char *epoch)
{
    Pstorage__V1__MediatorReportRequest request = PSTORAGE__V1__MEDIATOR_REPORT_REQUEST__INIT;
    Pstorage__V1__MediatorEpochReport row = PSTORAGE__V1__MEDIATOR_EPOCH_REPORT__INIT, *rows[1] = {&row};
    const struct uuid id = pod_id(pod);
    row.pod = uuid_to_message(&id);
    row.epoch = strtoull(epoch, NULL, 10);
    request.cluster = (char *)cluster;
    request.n_pods = 1;
    request.pods = rows;
    const Pstorage__V1__MediatorReportResponse *r = call("Report", &request.base);
    if (r)
        (void)printf("%lu\n", (unsigned long)r->epochs[0]);
    return r ? 0 : ps_status_exit_code(answer.status);
}

static int list(void)
{
    Pstorage__V1__MediatorListPodsRequest request = PSTORAGE__V1__MEDIATOR_LIST_PODS_REQUEST__INIT;
    request.cluster = (char *)cluster;
    const Pstorage__V1__MediatorListPodsResponse *r = call("ListPods", &request.base);
    for (size_t i = 0; r && i < r->n_pods; i++)
        (void)printf("%s\n", r->pods[i]->configuration->pod_name);
    return r ? 0 : ps_status_exit_code(answer.status);
}

static int history(const char *pod)
{
    Pstorage__V1__MediatorHistoryRequest request = PSTORAGE__V1__MEDIATOR_HISTORY_REQUEST__INIT;
    request.cluster = (char *)cluster;
    request.pod_name = (char *)pod;
    request.page_size = 1000;
    const Pstorage__V1__MediatorHistoryResponse *r = call("History", &request.base);
    for (size_t i = 0; r && i < r->n_decisions; i++)
        (void)printf("%lu %u %s\n", (unsigned long)r->decisions[i]->number,
                     (unsigned)r->decisions[i]->verdict, r->decisions[i]->text);
    return r ? 0 : ps_status_exit_code(answer.status);
}

static int forget(const char *pod)
{
    Pstorage__V1__MediatorForgetRequest request = PSTORAGE__V1__MEDIATOR_FORGET_REQUEST__INIT;
    request.cluster = (char *)cluster;
    request.pod_name = (char *)pod;
    return call("Forget", &request.base) ? 0 : ps_status_exit_code(answer.status);
}

static int command(int argc, char **argv)
{
    const int rc = describe(false); /* changes name the store */
    if (rc)
        return rc;
    if (argc == 1 && strcmp(argv[0], "describe") == 0)
        return describe(true);
    if (argc == 1 && strcmp(argv[0], "list") == 0)
        return list();
    if (strcmp(argv[0], "change") == 0)
        return change(argc - 1, argv + 1);
    if (argc == 3 && strcmp(argv[0], "report") == 0)
        return report(argv[1], argv[2]);
    static const struct {
        const char *name;
        int (*run)(const char *pod);
    } of_pod[] = {{"get", show}, {"stream", stream}, {"history", history}, {"forget", forget}};
    for (size_t i = 0; argc == 2 && i < sizeof of_pod / sizeof of_pod[0]; i++)
        if (strcmp(argv[0], of_pod[i].name) == 0)
            return of_pod[i].run(argv[1]);
    return 2;
}

static void set_store(const char *text)
{
    size_t n = 0;
    for (const char *p = text; *p && n < sizeof store.bytes; p++) {
        unsigned byte;
        if (*p == '-' || sscanf(p, "%2x", &byte) != 1)
            continue;
        store.bytes[n++] = (uint8_t)byte;
        p++;
    }
    store_known = true;
}

static void nothing(void *user)
{
    (void)user;
}

static void closed(void *user)
{
    rpc_transport_nng_close(user, nothing, NULL);
}

int main(int argc, char **argv)
{
    struct rpc_transport *transport;
    struct rpc_client_config config = {
        .identity = {.name = "story", .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_CLIENT}};
    struct ps_error err = {0};
    int at = 2;
    if (argc < 3)
        return 2;
    config.endpoint = argv[1];
    for (; at + 2 < argc && argv[at][0] == '-'; at += 2) {
        if (strcmp(argv[at], "--cluster") == 0)
            config.identity.cluster_id = cluster = argv[at + 1];
        else if (strcmp(argv[at], "--role") == 0)
            config.identity.role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE;
        else if (strcmp(argv[at], "--store") == 0)
            set_store(argv[at + 1]);
        else
            return 2;
    }
    int rc = uv_loop_init(&loop);
    assert(rc == 0);
    rc = rpc_transport_nng_create(&loop, &transport);
    assert(rc == 0);
    if (rpc_client_connect(transport, &config, &client, &err)) {
        (void)fprintf(stderr, "%s\n", err.detail);
        return 2;
    }
    const int code = command(argc - at, argv + at);
    if (answer.message)
        protobuf_c_message_free_unpacked(answer.message, NULL);
    rpc_client_close(client, closed, transport);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    rc = uv_loop_close(&loop);
    assert(rc == 0);
    rpc_transport_nng_finish();
    return code;
}
