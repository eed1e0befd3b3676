/* The link to the mediator against the real service, over streams in memory on virtual time. */
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

#include "common/rpc/transport_mem.h"
#include "mediator/mediator_service.h"
#include "mediator/mediator_store_mem.h"
#include "node/host/mediator_link.h"
#include "tests/unit/mediator/mediator_rig.h"

#define MS 1000000ull

enum {
    POD = 0xa0
};

struct world {
    struct rpc_mem_net *net;
    struct rpc_transport *there, *here;
    struct rpc_server *server;
    struct mediator_service *service;
    struct rig rig;
    struct mediator_link *link;
    /* What came back. */
    unsigned verdicts, finds;
    struct replica_verdict verdict;
    bool found;
    struct configuration there_is;
};

static void run(struct world *w, unsigned ms)
{
    rpc_mem_run(w->net, rpc_mem_now(w->net) + ms * MS);
}

static uint64_t now_unix_ns(void *user)
{
    return 1700000000000000000ull + rpc_mem_now(((struct world *)user)->net);
}

static void on_verdict(void *user, const struct replica_verdict *verdict)
{
    struct world *w = user;
    w->verdicts++;
    w->verdict = *verdict;
}

static void on_found(void *user, const struct configuration *configuration)
{
    struct world *w = user;
    w->finds++;
    w->found = configuration != NULL;
    if (configuration)
        w->there_is = *configuration;
}

static void set(void *user)
{
    *(bool *)user = true;
}

static void serve(struct world *w)
{
    const struct rpc_server_config server = {
        .identity = {.name = "mediator", .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_MEDIATOR}};
    const struct mediator_service_config config = {
        .core = w->rig.core, .now_unix_ns = now_unix_ns, .user = w};
    assert(rpc_server_create(w->there, &server, &w->server) == 0);
    assert(mediator_service_create(w->server, &config, &w->service) == 0);
    assert(rpc_server_listen(w->server, "mem://mediator", NULL) == 0);
}

static void stop_serving(struct world *w)
{
    bool closed = false;
    rpc_server_close(w->server, set, &closed);
    run(w, 20);
    assert(closed);
    mediator_service_destroy(w->service);
}

static int setup(void **state)
{
    const struct rpc_mem_config net = {.latency_ns = MS / 10};
    struct world *w = calloc(1, sizeof *w);
    const struct uuid id = rig_id(0xee);
    w->rig.store = mediator_store_mem_create(&id);
    rig_start(&w->rig);
    w->net = rpc_mem_net_create(&net);
    w->there = rpc_mem_transport_create(w->net, "there");
    w->here = rpc_mem_transport_create(w->net, "here");
    serve(w);
    const struct mediator_link_config config = {.transport = w->here,
                                                .node_name = "node1",
                                                .cluster_name = "c",
                                                .address = "mem://mediator",
                                                .verdict = on_verdict,
                                                .found = on_found,
                                                .user = w};
    assert(mediator_link_create(&config, &w->link, NULL) == 0);
    run(w, 20);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    bool closed = false;
    mediator_link_close(w->link, set, &closed);
    run(w, 20);
    assert(closed);
    stop_serving(w);
    rig_stop(&w->rig);
    mediator_store_mem_destroy(w->rig.store);
    rpc_mem_transport_destroy(w->there);
    rpc_mem_transport_destroy(w->here);
    rpc_mem_net_destroy(w->net);
    free(w);
    return 0;
}

static struct replica_cas an_ask(unsigned request, uint64_t expected, const char *in_sync)
{
    return (struct replica_cas){.mediator = rig_id(0xee),
                                .request = rig_id(request),
                                .requester = rig_id(1),
                                .expected_epoch = expected,
                                .next = rig_configuration(POD, expected + 1, 1, in_sync)};
}

static void ask(struct world *w, const struct replica_cas *cas)
{
    w->verdicts = 0;
    mediator_link_ask(w->link, cas);
    run(w, 20);
    assert_int_equal(w->verdicts, 1);
    assert_true(uuid_equal(&w->verdict.request, &cas->request));
}

static void report(struct world *w, uint64_t epoch)
{
    const struct uuid pod = rig_id(POD);
    w->verdicts = 0;
    mediator_link_report(w->link, &pod, epoch);
    run(w, 20);
}

static void what_the_mediator_has_is_found_by_name(void **state)
{
    struct world *w = *state;
    assert_true(mediator_link_connected(w->link));
    mediator_link_find(w->link, "pa0");
    mediator_link_find(w->link, "pa0"); /* one question is under way */
    run(w, 20);
    assert_int_equal(w->finds, 1);
    assert_false(w->found);
    rig_register(&w->rig, POD);
    mediator_link_find(w->link, "pa0");
    run(w, 20);
    assert_int_equal(w->finds, 2);
    assert_true(w->found);
    assert_int_equal(w->there_is.epoch, 1);
}

static void an_ask_is_granted_or_refused_with_what_is_in_force(void **state)
{
    struct world *w = *state;
    rig_register(&w->rig, POD);
    const struct replica_cas first = an_ask(0x21, 1, "1"), late = an_ask(0x22, 1, "12");
    ask(w, &first);
    assert_int_equal(w->verdict.status, 0);
    assert_true(uuid_equal(&w->verdict.mediator, &w->rig.store->id));
    assert_int_equal(w->verdict.now.epoch, 2);
    ask(w, &late);
    assert_int_equal(w->verdict.status, PS_EABORTED);
    assert_true(w->verdict.detail[0] != '\0');
    assert_int_equal(w->verdict.now.epoch, 2);
    ask(w, &first); /* asked again after a lost answer: the same verdict */
    assert_int_equal(w->verdict.status, 0);
    assert_int_equal(rig_epoch(&w->rig, POD), 2);
}

static void an_ask_that_waits_for_its_answer_is_not_sent_twice(void **state)
{
    struct world *w = *state;
    rig_register(&w->rig, POD);
    const struct replica_cas cas = an_ask(0x21, 1, "1");
    mediator_link_ask(w->link, &cas);
    mediator_link_ask(w->link, &cas);
    run(w, 20);
    assert_int_equal(w->verdicts, 1);
}

static void a_report_brings_the_configuration_when_it_is_another_one(void **state)
{
    struct world *w = *state;
    rig_register(&w->rig, POD);
    report(w, 1);
    assert_int_equal(w->verdicts, 1);
    assert_int_equal(w->verdict.now.epoch, 1); /* once a connection, so that the store is known */
    report(w, 1);
    assert_int_equal(w->verdicts, 1);
    assert_int_equal(w->verdict.now.epoch, 0); /* it is there, and nothing is new */
    assert_true(uuid_equal(&w->verdict.mediator, &w->rig.store->id));
    const struct configuration next = rig_configuration(POD, 2, 1, "1");
    (void)rig_change(&w->rig, 1, 0x31, 1, &next);
    report(w, 1);
    assert_int_equal(w->verdict.now.epoch, 2);
}

static void a_mediator_that_is_away_gives_no_answers_and_is_found_again(void **state)
{
    struct world *w = *state;
    rig_register(&w->rig, POD);
    report(w, 1);
    const struct replica_cas cas = an_ask(0x21, 1, "1");
    w->verdicts = w->finds = 0;
    mediator_link_ask(w->link, &cas);
    stop_serving(w); /* with the ask on its way */
    const unsigned answered = w->verdicts;
    assert_false(mediator_link_connected(w->link));
    mediator_link_ask(w->link, &cas);
    mediator_link_find(w->link, "pa0");
    report(w, 1);
    run(w, 2000);
    assert_int_equal(w->verdicts + w->finds, 0);
    assert_true(answered <= 1);
    serve(w);
    run(w, 1000);
    assert_true(mediator_link_connected(w->link));
    report(w, rig_epoch(&w->rig, POD));
    assert_int_equal(w->verdicts, 1);
    assert_true(w->verdict.now.epoch > 0); /* another connection: the store is told anew */
    ask(w, &cas);                          /* its place was given back */
    assert_int_equal(w->verdict.status, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_the_mediator_has_is_found_by_name),
        T(an_ask_is_granted_or_refused_with_what_is_in_force),
        T(an_ask_that_waits_for_its_answer_is_not_sent_twice),
        T(a_report_brings_the_configuration_when_it_is_another_one),
        T(a_mediator_that_is_away_gives_no_answers_and_is_found_again),
    };
    return cmocka_run_group_tests_name("mediator_link", tests, NULL, NULL);
}
