/* The rules of granting, each as a sentence; on the store in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/mediator_store_mem.h"
#include "mediator_rig.h"

enum {
    POD = 0xa0,
    OTHER = 0xb0
};

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    const struct uuid id = rig_id(0xee);
    r->store = mediator_store_mem_create(&id);
    rig_start(r);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    rig_stop(r);
    mediator_store_mem_destroy(r->store);
    free(r);
    return 0;
}

static void says(const struct rig *r, const char *what)
{
    if (!strstr(r->reply.pods[0].text, what))
        fail_msg("\"%s\" does not say \"%s\"", r->reply.pods[0].text, what);
}

static int report(struct rig *r, const char *cluster, uint64_t epoch, uint64_t *here)
{
    const struct mediator_report one = {.pod = rig_id(POD), .epoch = epoch};
    return mediator_report(r->core, cluster, &one, 1, here, &r->err);
}

/* ---- registration */

static void a_pod_that_nobody_has_registered_is_not_found(void **state)
{
    struct rig *r = *state;
    const struct uuid pod = rig_id(POD);
    uint64_t epoch = 99;
    assert_null(mediator_get(r->core, "c", &pod, NULL));
    assert_null(mediator_get(r->core, "c", NULL, "pa0"));
    assert_null(mediator_get(r->core, "c", NULL, NULL));
    assert_int_equal(report(r, "c", 1, &epoch), 0);
    assert_int_equal(epoch, 0);
}

static void the_primary_registers_a_new_pod(void **state)
{
    struct rig *r = *state;
    const struct configuration first = rig_configuration(POD, 1, 1, "12");
    assert_int_equal(rig_change(r, 1, 0x10, 0, &first), MEDIATOR_GRANTED);
    says(r, "registered with epoch 1: primary node1, in sync: node1 node2");
    assert_true(r->reply.pods[0].known);
    assert_true(configuration_equal(&r->reply.pods[0].now, &first));
    const struct uuid pod = rig_id(POD);
    const struct mediator_pod *by_id = mediator_get(r->core, "c", &pod, NULL);
    assert_non_null(by_id);
    assert_ptr_equal(mediator_get(r->core, "c", NULL, "pa0"), by_id);
    assert_true(configuration_equal(&by_id->configuration, &first));
    assert_string_equal(rig_history(r, POD), "1 granted");
}

static void a_new_pod_may_start_with_any_epoch(void **state)
{
    struct rig *r = *state; /* a mediator that was lost, and adopted by those who went on without it */
    const struct configuration first = rig_configuration(POD, 17, 2, "2");
    assert_int_equal(rig_change(r, 2, 0x10, 0, &first), MEDIATOR_GRANTED);
    assert_int_equal(rig_epoch(r, POD), 17);
}

static void a_backup_does_not_register_a_pod(void **state)
{
    struct rig *r = *state;
    const struct configuration first = rig_configuration(POD, 1, 1, "12");
    assert_int_equal(rig_change(r, 2, 0x10, 0, &first), MEDIATOR_FORBIDDEN);
    assert_false(r->reply.pods[0].known);
    assert_int_equal(rig_epoch(r, POD), 0);
}

static void a_pod_is_registered_once(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct configuration again = rig_configuration(POD, 5, 2, "2");
    assert_int_equal(rig_change(r, 2, 0x10, 0, &again), MEDIATOR_EXISTS);
    assert_int_equal(r->reply.pods[0].now.epoch, 1);
}

static void a_name_is_given_once_in_a_cluster(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    struct configuration thief = rig_configuration(OTHER, 1, 1, "12");
    strcpy(thief.pod_name, "pa0");
    assert_int_equal(rig_change(r, 1, 0x10, 0, &thief), MEDIATOR_EXISTS);
    says(r, "another pod of the cluster is named pa0");
    /* The one of that name is shown, so that the requester can join it. */
    assert_true(r->reply.pods[0].known);
    assert_memory_equal(r->reply.pods[0].now.pod.bytes, rig_id(POD).bytes, 16);
    /* And by renaming it can't be had either. */
    rig_register(r, OTHER);
    thief.epoch = 2;
    assert_int_equal(rig_change(r, 1, 0x11, 1, &thief), MEDIATOR_EXISTS);
    assert_int_equal(rig_epoch(r, OTHER), 1);
}

static void a_renamed_pod_is_found_by_its_new_name_only(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    rig_register(r, OTHER);
    struct configuration next = rig_configuration(POD, 2, 1, "12");
    strcpy(next.pod_name, "zz");
    assert_int_equal(rig_change(r, 1, 0x10, 1, &next), MEDIATOR_GRANTED);
    assert_null(mediator_get(r->core, "c", NULL, "pa0"));
    assert_non_null(mediator_get(r->core, "c", NULL, "zz"));
    assert_string_equal(mediator_pod_after(r->core, "c", "")->configuration.pod_name, "pb0");
    assert_string_equal(mediator_pod_after(r->core, "c", "pb0")->configuration.pod_name, "zz");
}

static void clusters_do_not_see_each_other(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct uuid pod = rig_id(POD);
    uint64_t epoch = 99;
    size_t n;
    assert_null(mediator_get(r->core, "d", &pod, NULL));
    assert_null(mediator_get(r->core, "d", NULL, "pa0"));
    assert_int_equal(report(r, "d", 9, &epoch), 0);
    assert_int_equal(epoch, 0);
    assert_int_equal(mediator_get(r->core, "c", &pod, NULL)->reported_epoch, 0);
    assert_int_equal(mediator_history(r->core, "d", &pod, 0, NULL, 0, &n, &r->err), PS_ENOTFOUND);
    assert_int_equal(mediator_forget(r->core, "d", &pod, &r->err), PS_ENOTFOUND);
    struct mediator_change_pod ask = {.expected_epoch = 1, .next = rig_configuration(POD, 2, 1, "1")};
    struct mediator_change change = {.cluster = "d",
                                     .mediator = r->store->id,
                                     .request_id = rig_id(0x10),
                                     .requester = rig_id(1),
                                     .count = 1,
                                     .pods = &ask};
    assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), 0);
    assert_int_equal(r->reply.pods[0].verdict, MEDIATOR_NO_POD);
    /* An id is one pod's everywhere. */
    ask.expected_epoch = 0;
    assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), 0);
    assert_int_equal(r->reply.pods[0].verdict, MEDIATOR_EXISTS);
    assert_false(r->reply.pods[0].known);
    /* A name is not. */
    ask.next.pod = rig_id(OTHER);
    assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), 0);
    assert_int_equal(r->reply.pods[0].verdict, MEDIATOR_GRANTED);
    assert_int_equal(rig_epoch(r, POD), 1);
}

/* ---- compare-and-swap */

static void the_primary_removes_a_member(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct configuration next = rig_configuration(POD, 2, 1, "1");
    assert_int_equal(rig_change(r, 1, 0x10, 1, &next), MEDIATOR_GRANTED);
    says(r, "epoch 1 to 2: primary node1, in sync: node1");
    assert_int_equal(rig_epoch(r, POD), 2);
}

static void a_member_in_sync_takes_over(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct configuration next = rig_configuration(POD, 2, 2, "2");
    assert_int_equal(rig_change(r, 2, 0x10, 1, &next), MEDIATOR_GRANTED);
    says(r, "epoch 1 to 2: primary node2 (was node1), in sync: node2");
}

static void of_two_who_ask_at_once_the_second_is_refused_and_told_the_first_ones_success(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct configuration removal = rig_configuration(POD, 2, 1, "1");
    const struct configuration take_over = rig_configuration(POD, 2, 2, "2");
    assert_int_equal(rig_change(r, 2, 0x20, 1, &take_over), MEDIATOR_GRANTED);
    assert_int_equal(rig_change(r, 1, 0x10, 1, &removal), MEDIATOR_EPOCH_MOVED);
    says(r, "epoch 1 was expected, 2 is in force");
    assert_true(configuration_equal(&r->reply.pods[0].now, &take_over));
    assert_string_equal(rig_history(r, POD), "1 granted, 2 granted, 3 epoch-moved");
}

static void a_member_that_was_removed_can_not_take_over(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    struct configuration next = rig_configuration(POD, 2, 1, "1");
    assert_int_equal(rig_change(r, 1, 0x10, 1, &next), MEDIATOR_GRANTED);
    next = rig_configuration(POD, 3, 2, "2");
    assert_int_equal(rig_change(r, 2, 0x20, 2, &next), MEDIATOR_FORBIDDEN);
    says(r, "node2 is not in sync");
    assert_int_equal(r->reply.pods[0].now.epoch, 2);
}

static void the_new_epoch_must_be_higher(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct configuration next = rig_configuration(POD, 1, 1, "1");
    assert_int_equal(rig_change(r, 1, 0x10, 1, &next), MEDIATOR_FORBIDDEN);
    says(r, "not higher");
}

static void an_expected_epoch_that_is_higher_than_the_one_here_is_refused(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct configuration next = rig_configuration(POD, 9, 1, "1");
    assert_int_equal(rig_change(r, 1, 0x10, 8, &next), MEDIATOR_EPOCH_MOVED);
}

static void a_change_of_a_pod_that_is_not_here_is_refused(void **state)
{
    struct rig *r = *state;
    const struct configuration next = rig_configuration(POD, 2, 1, "1");
    assert_int_equal(rig_change(r, 1, 0x10, 1, &next), MEDIATOR_NO_POD);
    assert_false(r->reply.pods[0].known);
}

static void another_mediators_id_is_refused_whoever_asks(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct mediator_change_pod ask = {.expected_epoch = 1, .next = rig_configuration(POD, 2, 1, "1")};
    struct mediator_change change = {.cluster = "c",
                                     .mediator = rig_id(0xed),
                                     .request_id = rig_id(0x10),
                                     .requester = rig_id(1),
                                     .count = 1,
                                     .pods = &ask};
    assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), 0);
    assert_int_equal(r->reply.pods[0].verdict, MEDIATOR_OTHER_STORE);
    assert_int_equal(r->reply.pods[0].now.epoch, 1);
    /* No id at all does not do either, once the pod is registered. */
    change.mediator = rig_id(0);
    assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), 0);
    assert_int_equal(r->reply.pods[0].verdict, MEDIATOR_OTHER_STORE);
    assert_int_equal(rig_epoch(r, POD), 1);
}

static void a_first_registration_may_do_without_the_mediators_id_but_not_with_a_wrong_one(void **state)
{
    struct rig *r = *state;
    const struct mediator_change_pod ask = {.next = rig_configuration(POD, 1, 1, "1")};
    struct mediator_change change = {.cluster = "c",
                                     .mediator = rig_id(0xed),
                                     .request_id = rig_id(0x10),
                                     .requester = rig_id(1),
                                     .count = 1,
                                     .pods = &ask};
    assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), 0);
    assert_int_equal(r->reply.pods[0].verdict, MEDIATOR_OTHER_STORE);
    assert_int_equal(rig_epoch(r, POD), 0);
    change.mediator = rig_id(0);
    assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), 0);
    assert_int_equal(r->reply.pods[0].verdict, MEDIATOR_GRANTED);
}

/* ---- repetition */

static void the_change_in_force_is_granted_again_to_who_repeats_it(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct configuration next = rig_configuration(POD, 2, 2, "2");
    assert_int_equal(rig_change(r, 2, 0x20, 1, &next), MEDIATOR_GRANTED);
    const unsigned applies = mediator_store_mem_applies(r->store);
    assert_int_equal(rig_change(r, 2, 0x20, 1, &next), MEDIATOR_REPEATED);
    assert_true(r->reply.granted);
    assert_true(configuration_equal(&r->reply.pods[0].now, &next));
    assert_int_equal(mediator_store_mem_applies(r->store), applies);
    rig_restart(r);
    assert_int_equal(rig_change(r, 2, 0x20, 1, &next), MEDIATOR_REPEATED);
    assert_string_equal(rig_history(r, POD), "1 granted, 2 granted");
}

static void the_first_registration_is_granted_again_to_who_repeats_it(void **state)
{
    struct rig *r = *state;
    const struct configuration first = rig_configuration(POD, 1, 1, "12");
    assert_int_equal(rig_change(r, 1, 0x10, 0, &first), MEDIATOR_GRANTED);
    assert_int_equal(rig_change(r, 1, 0x10, 0, &first), MEDIATOR_REPEATED);
    assert_int_equal(rig_change(r, 1, 0x11, 0, &first), MEDIATOR_EXISTS);
}

static void a_change_that_is_no_longer_in_force_is_not_granted_again(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct configuration take_over = rig_configuration(POD, 2, 2, "12");
    const struct configuration back = rig_configuration(POD, 3, 1, "1");
    assert_int_equal(rig_change(r, 2, 0x20, 1, &take_over), MEDIATOR_GRANTED);
    assert_int_equal(rig_change(r, 1, 0x10, 2, &back), MEDIATOR_GRANTED);
    assert_int_equal(rig_change(r, 2, 0x20, 1, &take_over), MEDIATOR_EPOCH_MOVED);
}

static void an_old_request_id_does_not_grant_something_else(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct configuration next = rig_configuration(POD, 2, 1, "1");
    const struct configuration more = rig_configuration(POD, 2, 1, "12");
    assert_int_equal(rig_change(r, 1, 0x10, 1, &next), MEDIATOR_GRANTED);
    assert_int_equal(rig_change(r, 1, 0x10, 1, &more), MEDIATOR_EPOCH_MOVED);
}

static void a_refusal_that_is_repeated_does_not_fill_the_history(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct configuration next = rig_configuration(POD, 9, 1, "1");
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rig_change(r, 1, 0x10, 8, &next), MEDIATOR_EPOCH_MOVED);
        assert_int_equal(r->reply.pods[0].news, i == 0);
    }
    assert_int_equal(rig_change(r, 1, 0x11, 8, &next), MEDIATOR_EPOCH_MOVED);
    assert_string_equal(rig_history(r, POD), "1 granted, 2 epoch-moved, 3 epoch-moved");
}

/* ---- a higher epoch is in force somewhere */

static void told_of_a_higher_epoch_nobody_but_the_holder_is_granted_anything(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    uint64_t epoch = 0;
    assert_int_equal(report(r, "c", 3, &epoch), 0);
    assert_int_equal(epoch, 1);
    /* The backup, although in sync here; with an epoch below, at and above what was told. */
    for (uint64_t e = 2; e <= 4; e++) {
        const struct configuration take_over = rig_configuration(POD, e, 2, "2");
        assert_int_equal(rig_change(r, 2, 0x20, 1, &take_over), MEDIATOR_HIGHER_EPOCH);
    }
    says(r, "nodes told of epoch 3, 1 is on record: nothing is granted until node1 registers what it holds");
    assert_int_equal(r->reply.pods[0].reported_epoch, 3);
    /* The primary on record, with less than what was told: it is not the holder. */
    const struct configuration less = rig_configuration(POD, 2, 1, "1");
    assert_int_equal(rig_change(r, 1, 0x10, 1, &less), MEDIATOR_HIGHER_EPOCH);
    assert_int_equal(rig_epoch(r, POD), 1);
}

static void the_holder_registers_exactly_what_it_holds_and_all_goes_on(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    uint64_t epoch = 0;
    assert_int_equal(report(r, "c", 3, &epoch), 0);
    const struct configuration held = rig_configuration(POD, 3, 1, "12");
    assert_int_equal(rig_change(r, 1, 0x10, 1, &held), MEDIATOR_GRANTED);
    assert_int_equal(rig_epoch(r, POD), 3);
    const struct configuration take_over = rig_configuration(POD, 4, 2, "2");
    assert_int_equal(rig_change(r, 2, 0x20, 3, &take_over), MEDIATOR_GRANTED);
}

static void what_nodes_told_survives_a_restart(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    uint64_t epoch = 0;
    assert_int_equal(report(r, "c", 3, &epoch), 0);
    rig_restart(r);
    const struct configuration take_over = rig_configuration(POD, 4, 2, "2");
    assert_int_equal(rig_change(r, 2, 0x20, 1, &take_over), MEDIATOR_HIGHER_EPOCH);
}

/* A person gives up the one that made it. */
static void the_next_lineage_is_granted_to_a_member_though_a_higher_epoch_was_told(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    uint64_t epoch = 0;
    assert_int_equal(report(r, "c", 3, &epoch), 0);
    const struct configuration promoted = rig_configuration(POD, 4 + (1ull << 32), 2, "2");
    assert_int_equal(rig_change(r, 2, 0x20, 1, &promoted), MEDIATOR_GRANTED);
    says(r, "a person gave up what the others alone may have held");
    assert_int_equal(rig_epoch(r, POD), 4 + (1ull << 32));
    /* The one that was given up can't register what it made any more. */
    const struct configuration made_alone = rig_configuration(POD, 3, 1, "1");
    assert_int_equal(rig_change(r, 1, 0x10, 1, &made_alone), MEDIATOR_EPOCH_MOVED);
}

static void a_report_of_what_is_known_writes_nothing(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct uuid pod = rig_id(POD);
    uint64_t epoch = 0;
    const unsigned applies = mediator_store_mem_applies(r->store);
    assert_int_equal(report(r, "c", 0, &epoch), 0);
    assert_int_equal(report(r, "c", 1, &epoch), 0);
    assert_int_equal(mediator_store_mem_applies(r->store), applies);
    assert_int_equal(report(r, "c", 3, &epoch), 0);
    assert_int_equal(report(r, "c", 3, &epoch), 0);
    assert_int_equal(report(r, "c", 2, &epoch), 0);
    assert_int_equal(mediator_store_mem_applies(r->store), applies + 1);
    assert_int_equal(mediator_get(r->core, "c", &pod, NULL)->reported_epoch, 3);
    assert_int_equal(report(r, "c", UINT64_MAX, &epoch), PS_EINVAL);
}

static void a_report_of_several_pods_is_written_at_once(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    rig_register(r, OTHER);
    const unsigned applies = mediator_store_mem_applies(r->store);
    struct mediator_report reports[3] = {{rig_id(POD), 5}, {rig_id(9), 7}, {rig_id(OTHER), 6}};
    uint64_t epochs[3] = {9, 9, 9};
    assert_int_equal(mediator_report(r->core, "c", reports, 3, epochs, &r->err), 0);
    assert_int_equal(epochs[0], 1);
    assert_int_equal(epochs[1], 0);
    assert_int_equal(epochs[2], 1);
    assert_int_equal(mediator_store_mem_applies(r->store), applies + 1);
    rig_restart(r);
    assert_int_equal(mediator_get(r->core, "c", &reports[0].pod, NULL)->reported_epoch, 5);
    assert_int_equal(mediator_get(r->core, "c", &reports[2].pod, NULL)->reported_epoch, 6);
    assert_int_equal(mediator_report(r->core, "c", reports, 0, epochs, &r->err), PS_EINVAL);
    assert_int_equal(mediator_report(r->core, "c", reports, MEDIATOR_CHANGE_PODS_MAX + 1, epochs, &r->err),
                     PS_EINVAL);
    reports[1].pod = rig_id(POD);
    assert_int_equal(mediator_report(r->core, "c", reports, 3, epochs, &r->err), PS_EINVAL);
}

/* ---- several pods in one transaction */

static struct mediator_change both(const struct rig *r, unsigned requester, unsigned request,
                                   const struct mediator_change_pod *pods)
{
    return (struct mediator_change){.cluster = "c",
                                    .mediator = r->store->id,
                                    .request_id = rig_id(request),
                                    .requester = rig_id(requester),
                                    .count = 2,
                                    .pods = pods};
}

static void several_pods_change_together(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    rig_register(r, OTHER);
    const unsigned applies = mediator_store_mem_applies(r->store);
    const struct mediator_change_pod pods[2] = {{1, rig_configuration(POD, 2, 2, "2")},
                                                {1, rig_configuration(OTHER, 2, 2, "2")}};
    const struct mediator_change change = both(r, 2, 0x20, pods);
    assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), 0);
    assert_true(r->reply.granted);
    assert_int_equal(mediator_store_mem_applies(r->store), applies + 1);
    assert_int_equal(rig_epoch(r, POD), 2);
    assert_int_equal(rig_epoch(r, OTHER), 2);
    assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), 0);
    assert_true(r->reply.granted);
    assert_int_equal(r->reply.pods[1].verdict, MEDIATOR_REPEATED);
}

static void one_pod_refused_holds_back_the_others(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    rig_register(r, OTHER);
    const struct mediator_change_pod pods[2] = {{1, rig_configuration(POD, 2, 2, "2")},
                                                {7, rig_configuration(OTHER, 8, 2, "2")}};
    const struct mediator_change change = both(r, 2, 0x20, pods);
    assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), 0);
    assert_false(r->reply.granted);
    assert_int_equal(r->reply.pods[0].verdict, MEDIATOR_HELD_BACK);
    assert_int_equal(r->reply.pods[1].verdict, MEDIATOR_EPOCH_MOVED);
    assert_int_equal(rig_epoch(r, POD), 1);
    assert_int_equal(rig_epoch(r, OTHER), 1);
    assert_string_equal(rig_history(r, POD), "1 granted, 2 held-back");
    /* Held back is not forgotten wrongly: the same request alone is granted. */
    assert_int_equal(rig_change(r, 2, 0x20, 1, &pods[0].next), MEDIATOR_GRANTED);
}

static void a_new_pod_beside_a_refused_one_is_not_made(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct mediator_change_pod pods[2] = {{0, rig_configuration(OTHER, 1, 1, "1")},
                                                {0, rig_configuration(POD, 1, 1, "1")}};
    const struct mediator_change change = both(r, 1, 0x20, pods);
    assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), 0);
    assert_false(r->reply.granted);
    assert_int_equal(rig_epoch(r, OTHER), 0);
}

/* ---- malformed requests */

static void malformed_requests_decide_nothing(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct mediator_change_pod right[2] = {{1, rig_configuration(POD, 2, 1, "1")},
                                                 {0, rig_configuration(OTHER, 1, 1, "1")}};
    struct mediator_change_pod pods[2];
    struct mediator_change change;
#define EXPECT_MALFORMED(...)                                                                                \
    do {                                                                                                     \
        memcpy(pods, right, sizeof pods);                                                                    \
        change = both(r, 1, 0x20, pods);                                                                     \
        __VA_ARGS__;                                                                                         \
        assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), PS_EINVAL);               \
    } while (0)
    EXPECT_MALFORMED(change.cluster = "");
    EXPECT_MALFORMED(change.cluster = "a b");
    EXPECT_MALFORMED(change.cluster = "0123456789012345678901234567890123456789012345678901234567890123");
    EXPECT_MALFORMED(change.count = 0);
    EXPECT_MALFORMED(change.count = MEDIATOR_CHANGE_PODS_MAX + 1);
    EXPECT_MALFORMED(change.request_id = rig_id(0));
    EXPECT_MALFORMED(change.requester = rig_id(0));
    EXPECT_MALFORMED(pods[1].next.count = 0);
    EXPECT_MALFORMED(pods[1].next.epoch = UINT64_MAX);
    EXPECT_MALFORMED(pods[1].next.pod = rig_id(POD));
    EXPECT_MALFORMED(strcpy(pods[1].next.pod_name, "pa0"));
    assert_int_equal(rig_epoch(r, POD), 1);
    assert_int_equal(rig_epoch(r, OTHER), 0);
    assert_string_equal(rig_history(r, POD), "1 granted");
    change = both(r, 1, 0x20, right);
    assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), 0);
    assert_true(r->reply.granted);
}

/* ---- the store fails */

static void a_failure_of_the_store_changes_nothing(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct uuid pod = rig_id(POD);
    const struct configuration next = rig_configuration(POD, 2, 2, "2");
    const struct configuration other = rig_configuration(OTHER, 1, 1, "1");
    uint64_t epoch = 0;
    mediator_store_mem_fail(r->store, 1, PS_EFULL, false);
    assert_int_equal(rig_change(r, 2, 0x20, 1, &next), PS_EIO);
    assert_int_equal(rig_epoch(r, POD), 1);
    mediator_store_mem_fail(r->store, 1, PS_EIO, false);
    assert_int_equal(rig_change(r, 1, 0x10, 0, &other), PS_EIO);
    assert_int_equal(rig_epoch(r, OTHER), 0);
    mediator_store_mem_fail(r->store, 1, PS_EIO, false);
    assert_int_equal(report(r, "c", 5, &epoch), PS_EIO);
    assert_int_equal(mediator_get(r->core, "c", &pod, NULL)->reported_epoch, 0);
    mediator_store_mem_fail(r->store, 1, PS_EIO, false);
    assert_int_equal(mediator_forget(r->core, "c", &pod, &r->err), PS_EIO);
    assert_string_equal(rig_history(r, POD), "1 granted");
    /* Then all goes on. */
    assert_int_equal(rig_change(r, 2, 0x20, 1, &next), MEDIATOR_GRANTED);
    assert_int_equal(rig_change(r, 1, 0x10, 0, &other), MEDIATOR_GRANTED);
    rig_restart(r);
    assert_int_equal(rig_epoch(r, POD), 2);
    assert_int_equal(rig_epoch(r, OTHER), 1);
}

static void a_commit_whose_success_was_not_heard_of_is_granted_again_after_a_restart(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct configuration next = rig_configuration(POD, 2, 2, "2");
    mediator_store_mem_fail(r->store, 1, PS_EIO, true);
    assert_int_equal(rig_change(r, 2, 0x20, 1, &next), PS_EIO);
    assert_int_equal(rig_epoch(r, POD), 1);
    rig_restart(r);
    assert_int_equal(rig_epoch(r, POD), 2);
    assert_int_equal(rig_change(r, 2, 0x20, 1, &next), MEDIATOR_REPEATED);
}

/* ---- lists, history, forgetting, bounds */

static void clusters_and_pods_are_listed_in_order(void **state)
{
    struct rig *r = *state;
    static const char *const clusters[] = {"b", "a", "b", "bb", "a"};
    for (unsigned i = 0; i < 5; i++) {
        const struct mediator_change_pod ask = {.next = rig_configuration(0xa4 - i, 1, 1, "1")};
        const struct mediator_change change = {.cluster = clusters[i],
                                               .request_id = rig_id(1),
                                               .requester = rig_id(1),
                                               .count = 1,
                                               .pods = &ask};
        assert_int_equal(mediator_change(r->core, &change, 1, &r->reply, &r->err), 0);
        assert_true(r->reply.granted);
    }
    assert_string_equal(mediator_cluster_after(r->core, ""), "a");
    assert_string_equal(mediator_cluster_after(r->core, "a"), "b");
    assert_string_equal(mediator_cluster_after(r->core, "b"), "bb");
    assert_null(mediator_cluster_after(r->core, "bb"));
    assert_string_equal(mediator_pod_after(r->core, "b", "")->configuration.pod_name, "pa2");
    assert_string_equal(mediator_pod_after(r->core, "b", "pa2")->configuration.pod_name, "pa4");
    assert_null(mediator_pod_after(r->core, "b", "pa4"));
    assert_null(mediator_pod_after(r->core, "x", ""));
    struct mediator_description d;
    mediator_describe(r->core, &d);
    assert_int_equal(d.pods, 5);
    assert_int_equal(d.clusters, 3);
    assert_memory_equal(d.store.bytes, r->store->id.bytes, 16);
    assert_string_equal(d.software, PS_VERSION);
}

static void the_history_tells_who_asked_for_what_when_and_why_not(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    const struct configuration next = rig_configuration(POD, 9, 2, "2");
    r->now_unix_ns = 1000;
    (void)rig_change(r, 2, 0x20, 8, &next);
    const struct uuid pod = rig_id(POD);
    struct mediator_decision d[4];
    size_t n = 0;
    assert_int_equal(mediator_history(r->core, "c", &pod, 1, d, 4, &n, &r->err), 0);
    assert_int_equal(n, 1);
    assert_int_equal(d[0].number, 2);
    assert_int_equal(d[0].time_unix_ns, 1001);
    assert_int_equal(d[0].expected_epoch, 8);
    assert_int_equal(d[0].epoch, 9);
    assert_memory_equal(d[0].requester.bytes, rig_id(2).bytes, 16);
    assert_memory_equal(d[0].request_id.bytes, rig_id(0x20).bytes, 16);
    assert_int_equal(d[0].verdict, MEDIATOR_EPOCH_MOVED);
    assert_string_equal(d[0].text, "epoch 8 was expected, 1 is in force");
}

static void a_forgotten_pod_may_be_registered_anew_without_its_history(void **state)
{
    struct rig *r = *state;
    rig_register(r, POD);
    rig_register(r, OTHER);
    const struct uuid pod = rig_id(POD);
    assert_int_equal(mediator_forget(r->core, "c", &pod, &r->err), 0);
    assert_int_equal(rig_epoch(r, POD), 0);
    assert_int_equal(rig_epoch(r, OTHER), 1);
    assert_int_equal(mediator_forget(r->core, "c", &pod, &r->err), PS_ENOTFOUND);
    rig_restart(r);
    assert_int_equal(rig_epoch(r, POD), 0);
    const struct configuration first = rig_configuration(POD, 4, 2, "2");
    assert_int_equal(rig_change(r, 2, 0x20, 0, &first), MEDIATOR_GRANTED);
    assert_string_equal(rig_history(r, POD), "1 granted");
}

static void with_the_longest_names_a_grant_is_told_as_far_as_it_fits(void **state)
{
    struct rig *r = *state;
    struct configuration c = rig_configuration(POD, MEDIATOR_EPOCH_MAX - 1, 1, "12");
    memset(c.pod_name, 'p', CONFIGURATION_NAME_MAX);
    c.count = CONFIGURATION_MEMBERS_MAX;
    for (unsigned n = 1; n <= CONFIGURATION_MEMBERS_MAX; n++) {
        c.members[n - 1] = (struct member){.store = rig_id(n), .mode = MEMBER_SYNC, .in_sync = true};
        memset(c.members[n - 1].node, 'a' + (int)n, CONFIGURATION_NAME_MAX);
    }
    assert_int_equal(rig_change(r, 1, 0x10, 0, &c), MEDIATOR_GRANTED);
    c.epoch++;
    c.primary = rig_id(2);
    assert_int_equal(rig_change(r, 1, 0x11, c.epoch - 1, &c), MEDIATOR_GRANTED);
    says(r, "(was bbbb");
    assert_int_equal(strlen(r->reply.pods[0].text), MEDIATOR_TEXT_MAX);
    /* There is no epoch after the last one. */
    c.epoch++;
    assert_int_equal(rig_change(r, 2, 0x12, c.epoch - 1, &c), PS_EINVAL);
}

static void there_is_a_limit_to_the_number_of_pods(void **state)
{
    struct rig *r = *state;
    struct configuration c = rig_configuration(POD, 1, 1, "1");
    struct mediator_change_pod ask;
    for (unsigned i = 0; i <= MEDIATOR_PODS_MAX; i++) {
        memcpy(c.pod.bytes, &i, sizeof i);
        (void)snprintf(c.pod_name, sizeof c.pod_name, "pod%u", (i * 7919) % 5003);
        ask = (struct mediator_change_pod){.next = c};
        const struct mediator_change change = {
            .cluster = "c", .request_id = rig_id(1), .requester = rig_id(1), .count = 1, .pods = &ask};
        const int rc = mediator_change(r->core, &change, 1, &r->reply, &r->err);
        assert_int_equal(rc, i < MEDIATOR_PODS_MAX ? 0 : PS_ELIMIT);
        if (i < MEDIATOR_PODS_MAX)
            assert_true(r->reply.granted);
    }
    /* All are found, by either way. */
    unsigned n = 0;
    const char *last = "";
    for (const struct mediator_pod *p; (p = mediator_pod_after(r->core, "c", last)); n++) {
        assert_ptr_equal(mediator_get(r->core, "c", &p->configuration.pod, NULL), p);
        last = p->configuration.pod_name;
    }
    assert_int_equal(n, MEDIATOR_PODS_MAX);
}

/* Two stores take turns at random, with epochs that they believe in; whatever happens, an epoch is granted
 * once and grows, and the one in force is the last one granted. */
static void no_epoch_is_ever_granted_twice(void **state)
{
    struct rig *r = *state;
    uint32_t x = 20261;
    uint64_t last = 1, believed[3] = {0, 1, 1};
    unsigned grants = 0;
    rig_register(r, POD);
    print_message("seed %u\n", x);
    for (unsigned i = 0; i < 20000; i++) {
        x = x * 1664525 + 1013904223;
        const unsigned who = 1 + (x >> 16) % 2;
        const bool fails = (x >> 20) % 16 == 0, restart = (x >> 24) % 16 == 0, applied = (x >> 28) % 2;
        const struct configuration next = rig_configuration(POD, believed[who] + 1, who,
                                                            (x >> 18) % 4 ? "12"
                                                            : who == 1    ? "1"
                                                                          : "2");
        mediator_store_mem_fail(r->store, fails, PS_EIO, applied);
        struct uuid request = rig_id(who);
        memcpy(request.bytes, &i, sizeof i);
        const struct mediator_change_pod ask = {believed[who], next};
        const struct mediator_change change = {.cluster = "c",
                                               .mediator = r->store->id,
                                               .request_id = request,
                                               .requester = rig_id(who),
                                               .count = 1,
                                               .pods = &ask};
        const int rc = mediator_change(r->core, &change, i, &r->reply, &r->err);
        if (rc == 0 && r->reply.granted) {
            assert_true(next.epoch > last);
            last = next.epoch;
            grants++;
        }
        assert_true(rig_epoch(r, POD) >= last);
        if (rc == 0)
            believed[who] = r->reply.pods[0].now.epoch;
        if (rc || restart)
            rig_restart(r);
        if (rc) /* unknown: the one who asks again learns it */
            last = believed[who] = rig_epoch(r, POD);
    }
    assert_true(grants > 1000);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_pod_that_nobody_has_registered_is_not_found),
        T(the_primary_registers_a_new_pod),
        T(a_new_pod_may_start_with_any_epoch),
        T(a_backup_does_not_register_a_pod),
        T(a_pod_is_registered_once),
        T(a_name_is_given_once_in_a_cluster),
        T(a_renamed_pod_is_found_by_its_new_name_only),
        T(clusters_do_not_see_each_other),
        T(the_primary_removes_a_member),
        T(a_member_in_sync_takes_over),
        T(of_two_who_ask_at_once_the_second_is_refused_and_told_the_first_ones_success),
        T(a_member_that_was_removed_can_not_take_over),
        T(the_new_epoch_must_be_higher),
        T(an_expected_epoch_that_is_higher_than_the_one_here_is_refused),
        T(a_change_of_a_pod_that_is_not_here_is_refused),
        T(another_mediators_id_is_refused_whoever_asks),
        T(a_first_registration_may_do_without_the_mediators_id_but_not_with_a_wrong_one),
        T(the_change_in_force_is_granted_again_to_who_repeats_it),
        T(the_first_registration_is_granted_again_to_who_repeats_it),
        T(a_change_that_is_no_longer_in_force_is_not_granted_again),
        T(an_old_request_id_does_not_grant_something_else),
        T(a_refusal_that_is_repeated_does_not_fill_the_history),
        T(told_of_a_higher_epoch_nobody_but_the_holder_is_granted_anything),
        T(the_next_lineage_is_granted_to_a_member_though_a_higher_epoch_was_told),
        T(the_holder_registers_exactly_what_it_holds_and_all_goes_on),
        T(what_nodes_told_survives_a_restart),
        T(a_report_of_what_is_known_writes_nothing),
        T(a_report_of_several_pods_is_written_at_once),
        T(several_pods_change_together),
        T(one_pod_refused_holds_back_the_others),
        T(a_new_pod_beside_a_refused_one_is_not_made),
        T(malformed_requests_decide_nothing),
        T(a_failure_of_the_store_changes_nothing),
        T(a_commit_whose_success_was_not_heard_of_is_granted_again_after_a_restart),
        T(clusters_and_pods_are_listed_in_order),
        T(the_history_tells_who_asked_for_what_when_and_why_not),
        T(a_forgotten_pod_may_be_registered_anew_without_its_history),
        T(with_the_longest_names_a_grant_is_told_as_far_as_it_fits),
        T(there_is_a_limit_to_the_number_of_pods),
        T(no_epoch_is_ever_granted_twice),
    };
    return cmocka_run_group_tests_name("mediator_core", tests, NULL, NULL);
}
