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

#include "node/host/mediator_link.h"
#include "tests/unit/mediator/mediator_served.h"

enum {
    POD = 0xa0
};

struct world {
    struct served served;
    struct mediator_link *link;
    /* What came back. */
    unsigned verdicts, finds;
    struct replica_verdict verdict;
    bool found;
    struct configuration there_is;
};

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

static int setup(void **state)
{
    const struct mediator_service_config nobody_listens = {0};
    struct world *w = calloc(1, sizeof *w);
    served_create(&w->served, &nobody_listens);
    const struct mediator_link_config config = {.transport = w->served.here,
                                                .node_name = "node1",
                                                .cluster_name = "c",
                                                .address = SERVED_ENDPOINT,
                                                .verdict = on_verdict,
                                                .found = on_found,
                                                .user = w};
    assert(mediator_link_create(&config, &w->link, NULL) == 0);
    served_run(&w->served, 20);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    bool closed = false;
    mediator_link_close(w->link, served_closed, &closed);
    served_run(&w->served, 20);
    assert(closed);
    served_destroy(&w->served);
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
    served_run(&w->served, 20);
    assert_int_equal(w->verdicts, 1);
    assert_true(uuid_equal(&w->verdict.request, &cas->request));
}

static void report(struct world *w, uint64_t epoch)
{
    const struct uuid pod = rig_id(POD);
    w->verdicts = 0;
    mediator_link_report(w->link, &pod, epoch);
    served_run(&w->served, 20);
}

static void what_the_mediator_has_is_found_by_name(void **state)
{
    struct world *w = *state;
    assert_true(mediator_link_connected(w->link));
    mediator_link_find(w->link, "pa0");
    mediator_link_find(w->link, "pa0"); /* one question is under way */
    served_run(&w->served, 20);
    assert_int_equal(w->finds, 1);
    assert_false(w->found);
    rig_register(&w->served.rig, POD);
    mediator_link_find(w->link, "pa0");
    served_run(&w->served, 20);
    assert_int_equal(w->finds, 2);
    assert_true(w->found);
    assert_int_equal(w->there_is.epoch, 1);
}

static void an_ask_is_granted_or_refused_with_what_is_in_force(void **state)
{
    struct world *w = *state;
    rig_register(&w->served.rig, POD);
    const struct replica_cas first = an_ask(0x21, 1, "1"), late = an_ask(0x22, 1, "12");
    ask(w, &first);
    assert_int_equal(w->verdict.status, 0);
    assert_true(uuid_equal(&w->verdict.mediator, &w->served.rig.store->id));
    assert_int_equal(w->verdict.now.epoch, 2);
    ask(w, &late);
    assert_int_equal(w->verdict.status, PS_EABORTED);
    assert_true(w->verdict.detail[0] != '\0');
    assert_int_equal(w->verdict.now.epoch, 2);
    ask(w, &first); /* asked again after a lost answer: the same verdict */
    assert_int_equal(w->verdict.status, 0);
    assert_int_equal(rig_epoch(&w->served.rig, POD), 2);
}

static void an_ask_that_waits_for_its_answer_is_not_sent_twice(void **state)
{
    struct world *w = *state;
    rig_register(&w->served.rig, POD);
    const struct replica_cas cas = an_ask(0x21, 1, "1");
    mediator_link_ask(w->link, &cas);
    mediator_link_ask(w->link, &cas);
    served_run(&w->served, 20);
    assert_int_equal(w->verdicts, 1);
}

static void a_report_brings_the_configuration_when_it_is_another_one(void **state)
{
    struct world *w = *state;
    rig_register(&w->served.rig, POD);
    report(w, 1);
    assert_int_equal(w->verdicts, 1);
    assert_int_equal(w->verdict.now.epoch, 1); /* once a connection, so that the store is known */
    report(w, 1);
    assert_int_equal(w->verdicts, 1);
    assert_int_equal(w->verdict.now.epoch, 0); /* it is there, and nothing is new */
    assert_true(uuid_equal(&w->verdict.mediator, &w->served.rig.store->id));
    const struct configuration next = rig_configuration(POD, 2, 1, "1");
    (void)rig_change(&w->served.rig, 1, 0x31, 1, &next);
    report(w, 1);
    assert_int_equal(w->verdict.now.epoch, 2);
}

static void a_mediator_that_is_away_gives_no_answers_and_is_found_again(void **state)
{
    struct world *w = *state;
    rig_register(&w->served.rig, POD);
    report(w, 1);
    const struct replica_cas cas = an_ask(0x21, 1, "1");
    w->verdicts = w->finds = 0;
    mediator_link_ask(w->link, &cas);
    served_stop(&w->served); /* with the ask on its way */
    const unsigned answered = w->verdicts;
    assert_false(mediator_link_connected(w->link));
    mediator_link_ask(w->link, &cas);
    mediator_link_find(w->link, "pa0");
    report(w, 1);
    served_run(&w->served, 2000);
    assert_int_equal(w->verdicts + w->finds, 0);
    assert_true(answered <= 1);
    served_start(&w->served);
    served_run(&w->served, 1000);
    assert_true(mediator_link_connected(w->link));
    report(w, rig_epoch(&w->served.rig, POD));
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
