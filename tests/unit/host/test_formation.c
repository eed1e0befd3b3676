/* Who founds a cluster's pod, who becomes part of it, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "node/host/formation.h"

static struct uuid id(unsigned n)
{
    struct uuid u;
    memset(u.bytes, (int)n, sizeof u.bytes);
    return u;
}

static struct formation_node blank(const char *name, unsigned n)
{
    struct formation_node node = {.answered = true, .store = id(n), .pod = id(0x10 + n)};
    (void)snprintf(node.name, sizeof node.name, "%s", name);
    return node;
}

/* n1 with one peer, n2, both new; the mediator answered and has nothing. */
static struct formation_input two_blank_nodes(void)
{
    return (struct formation_input){
        .self = blank("n1", 1),
        .peers = {blank("n2", 2)},
        .peer_count = 1,
        .pod_name = "default",
        .mediator_answered = true,
    };
}

static struct configuration led_by(unsigned primary, unsigned other)
{
    struct configuration c = {.pod = id(0x99),
                              .pod_name = "default",
                              .epoch = 3,
                              .primary = id(primary),
                              .count = 2,
                              .members = {{.store = id(primary), .mode = MEMBER_SYNC, .in_sync = true},
                                          {.store = id(other), .mode = MEMBER_SYNC}}};
    (void)snprintf(c.members[0].node, sizeof c.members[0].node, "n%u", primary % 10);
    (void)snprintf(c.members[1].node, sizeof c.members[1].node, "n%u", other % 10);
    return c;
}

static struct formation_action decide(const struct formation_input *in)
{
    struct formation_action a;
    formation_decide(in, &a);
    return a;
}

static void expect(const struct formation_input *in, enum formation_kind kind, const char *why)
{
    const struct formation_action a = decide(in);
    if (a.kind != kind || !strstr(a.text, why))
        print_error("kind %d, expected %d: %s\n", a.kind, kind, a.text);
    assert_int_equal(a.kind, kind);
    assert_non_null(strstr(a.text, why));
}

static void the_node_with_the_least_name_founds_with_all_in_sync(void **state)
{
    (void)state;
    struct formation_input in = two_blank_nodes();
    const struct formation_action a = decide(&in);
    assert_int_equal(a.kind, FORMATION_FOUND);
    assert_int_equal(configuration_check(&a.configuration, NULL), 0);
    assert_true(uuid_equal(&a.configuration.pod, &in.self.pod));
    assert_true(uuid_equal(&a.configuration.primary, &in.self.store));
    assert_true(uuid_equal(&a.configuration.preferred, &in.self.store));
    assert_int_equal(a.configuration.count, 2);
    assert_int_equal(configuration_sync_count(&a.configuration), 2);
    assert_string_equal(a.configuration.members[1].node, "n2");
}

static void the_others_wait_for_it(void **state)
{
    (void)state;
    struct formation_input in = two_blank_nodes();
    in.self = blank("n2", 2);
    in.peers[0] = blank("n1", 1);
    expect(&in, FORMATION_WAIT, "waits for n1 to found");
}

static void nobody_founds_before_all_have_answered(void **state)
{
    (void)state;
    struct formation_input in = two_blank_nodes();
    in.peers[in.peer_count++] = blank("n3", 3);
    in.peers[1].answered = false;
    expect(&in, FORMATION_WAIT, "waits for n3");
    in.peers[1].answered = true;
    assert_int_equal(decide(&in).kind, FORMATION_FOUND);
    assert_int_equal(decide(&in).configuration.count, 3);
}

static void nobody_founds_without_the_mediator(void **state)
{
    (void)state;
    struct formation_input in = two_blank_nodes();
    in.mediator_answered = false;
    expect(&in, FORMATION_WAIT, "waits for the mediator");
}

static void in_mode_async_the_others_are_async(void **state)
{
    (void)state;
    struct formation_input in = two_blank_nodes();
    in.async = true;
    const struct formation_action a = decide(&in);
    assert_int_equal(configuration_check(&a.configuration, NULL), 0);
    assert_int_equal(a.configuration.members[1].mode, MEMBER_ASYNC);
    assert_int_equal(configuration_sync_count(&a.configuration), 1);
}

static void a_node_with_data_founds_alone_in_sync_whatever_its_name(void **state)
{
    (void)state;
    struct formation_input in = two_blank_nodes();
    in.self = blank("n9", 9);
    in.self.log_end = 17;
    const struct formation_action a = decide(&in);
    assert_int_equal(a.kind, FORMATION_FOUND);
    assert_int_equal(configuration_check(&a.configuration, NULL), 0);
    assert_int_equal(a.configuration.count, 2);
    assert_int_equal(configuration_sync_count(&a.configuration), 1);
    assert_true(uuid_equal(&a.configuration.primary, &in.self.store));
}

static void an_empty_node_leaves_the_founding_to_one_with_data(void **state)
{
    (void)state;
    struct formation_input in = two_blank_nodes();
    in.peers[0].log_end = 1;
    expect(&in, FORMATION_WAIT, "waits for n2, which holds data");
}

static void two_nodes_with_data_are_refused_on_both(void **state)
{
    (void)state;
    struct formation_input in = two_blank_nodes();
    in.self.log_end = in.peers[0].log_end = 5;
    expect(&in, FORMATION_REFUSE, "n1 and n2 both hold data");
    const struct formation_node first = in.self;
    in.self = in.peers[0];
    in.peers[0] = first;
    expect(&in, FORMATION_REFUSE, "n2 and n1 both hold data");
}

static void an_empty_node_takes_over_the_pod_that_the_mediator_has(void **state)
{
    (void)state;
    struct formation_input in = two_blank_nodes();
    in.mediator_has = true;
    in.at_mediator = led_by(2, 1);
    const struct formation_action a = decide(&in);
    assert_int_equal(a.kind, FORMATION_ADOPT_POD);
    assert_true(uuid_equal(&a.pod, &in.at_mediator.pod));
}

static void once_of_that_pod_it_takes_its_place(void **state)
{
    (void)state;
    struct formation_input in = two_blank_nodes();
    in.mediator_has = true;
    in.at_mediator = led_by(2, 1);
    in.self.pod = in.at_mediator.pod;
    const struct formation_action a = decide(&in);
    assert_int_equal(a.kind, FORMATION_ADOPT);
    assert_true(configuration_equal(&a.configuration, &in.at_mediator));
}

static void one_that_is_not_named_waits_to_be_added(void **state)
{
    (void)state;
    struct formation_input in = two_blank_nodes();
    in.mediator_has = true;
    in.at_mediator = led_by(2, 7);
    in.self.pod = in.at_mediator.pod;
    expect(&in, FORMATION_WAIT, "waits for n2 to add this node");
}

static void a_node_with_data_of_its_own_is_not_made_part_of_another_pod(void **state)
{
    (void)state;
    struct formation_input in = two_blank_nodes();
    in.mediator_has = true;
    in.at_mediator = led_by(2, 1);
    in.self.log_end = 1;
    expect(&in, FORMATION_REFUSE, "n1 holds data of its own");
}

static void without_the_mediator_an_empty_node_takes_the_pod_of_a_peer(void **state)
{
    (void)state;
    struct formation_input in = two_blank_nodes();
    in.mediator_answered = false;
    in.peers[0].epoch = 4;
    const struct formation_action a = decide(&in);
    assert_int_equal(a.kind, FORMATION_ADOPT_POD);
    assert_true(uuid_equal(&a.pod, &in.peers[0].pod));
    in.self.log_end = 1;
    assert_int_equal(decide(&in).kind, FORMATION_WAIT);
}

/* ---- the primary */

static struct formation_input primary(void)
{
    struct formation_input in = two_blank_nodes();
    in.now = led_by(1, 2);
    in.leading = true;
    in.self.epoch = in.peers[0].epoch = in.now.epoch;
    return in;
}

static void with_everybody_in_place_there_is_nothing_to_do(void **state)
{
    (void)state;
    struct formation_input in = primary();
    assert_int_equal(decide(&in).kind, FORMATION_NOTHING);
}

static void a_new_empty_peer_is_added_by_the_primary_alone(void **state)
{
    (void)state;
    struct formation_input in = primary();
    in.peers[in.peer_count++] = blank("n3", 3);
    const struct formation_action a = decide(&in);
    assert_int_equal(a.kind, FORMATION_ADD);
    assert_true(uuid_equal(&a.member.store, &in.peers[1].store));
    assert_string_equal(a.member.node, "n3");
    assert_int_equal(a.member.mode, MEMBER_SYNC);
    assert_false(a.member.in_sync);
    in.leading = false;
    assert_int_equal(decide(&in).kind, FORMATION_NOTHING);
}

static void a_node_with_another_name_stays_the_member_that_it_was(void **state)
{
    (void)state;
    struct formation_input in = primary();
    (void)snprintf(in.peers[0].name, sizeof in.peers[0].name, "new");
    struct formation_action a = decide(&in);
    assert_int_equal(a.kind, FORMATION_RENAME);
    assert_true(uuid_equal(&a.member.store, &in.now.members[1].store));
    assert_string_equal(a.member.node, "new");
    assert_string_equal(a.text, "n2 is called new now");
    in.changing = true;
    assert_int_equal(decide(&in).kind, FORMATION_NOTHING);
    in = primary();
    (void)snprintf(in.self.name, sizeof in.self.name, "new");
    a = decide(&in);
    assert_int_equal(a.kind, FORMATION_RENAME);
    assert_true(uuid_equal(&a.member.store, &in.self.store));
}

static void an_emptied_disk_is_another_member_and_the_former_one_goes_first(void **state)
{
    (void)state;
    struct formation_input in = primary();
    in.peers[0] = blank("n2", 0x42);
    const struct formation_action a = decide(&in);
    assert_int_equal(a.kind, FORMATION_REMOVE);
    assert_true(uuid_equal(&a.member.store, &in.now.members[1].store));
    in.now.count = 1;
    assert_int_equal(decide(&in).kind, FORMATION_ADD);
}

static void one_change_at_a_time(void **state)
{
    (void)state;
    struct formation_input in = primary();
    in.peers[0] = blank("n2", 0x42);
    in.changing = true;
    expect(&in, FORMATION_WAIT, "waits for a change");
}

static void whom_a_person_removed_is_not_added_again(void **state)
{
    (void)state;
    struct formation_input in = primary();
    in.now.count = 1;
    assert_int_equal(decide(&in).kind, FORMATION_NOTHING); /* it has a configuration */
    in.peers[0].epoch = 0;
    in.peers[0].pod = in.now.pod;
    in.peers[0].log_end = 3;
    assert_int_equal(decide(&in).kind, FORMATION_NOTHING); /* or at least data of this pod */
}

static void a_peer_with_data_of_its_own_is_not_added(void **state)
{
    (void)state;
    struct formation_input in = primary();
    in.peers[in.peer_count++] = blank("n3", 3);
    in.peers[1].log_end = 8;
    expect(&in, FORMATION_REFUSE, "n3 holds data of its own");
}

static void one_that_does_not_answer_is_left_alone(void **state)
{
    (void)state;
    struct formation_input in = primary();
    in.peers[0] = blank("n2", 0x42);
    in.peers[0].answered = false;
    assert_int_equal(decide(&in).kind, FORMATION_NOTHING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_node_with_the_least_name_founds_with_all_in_sync),
        cmocka_unit_test(the_others_wait_for_it),
        cmocka_unit_test(nobody_founds_before_all_have_answered),
        cmocka_unit_test(nobody_founds_without_the_mediator),
        cmocka_unit_test(in_mode_async_the_others_are_async),
        cmocka_unit_test(a_node_with_data_founds_alone_in_sync_whatever_its_name),
        cmocka_unit_test(an_empty_node_leaves_the_founding_to_one_with_data),
        cmocka_unit_test(two_nodes_with_data_are_refused_on_both),
        cmocka_unit_test(an_empty_node_takes_over_the_pod_that_the_mediator_has),
        cmocka_unit_test(once_of_that_pod_it_takes_its_place),
        cmocka_unit_test(one_that_is_not_named_waits_to_be_added),
        cmocka_unit_test(a_node_with_data_of_its_own_is_not_made_part_of_another_pod),
        cmocka_unit_test(without_the_mediator_an_empty_node_takes_the_pod_of_a_peer),
        cmocka_unit_test(with_everybody_in_place_there_is_nothing_to_do),
        cmocka_unit_test(a_new_empty_peer_is_added_by_the_primary_alone),
        cmocka_unit_test(a_node_with_another_name_stays_the_member_that_it_was),
        cmocka_unit_test(an_emptied_disk_is_another_member_and_the_former_one_goes_first),
        cmocka_unit_test(one_change_at_a_time),
        cmocka_unit_test(whom_a_person_removed_is_not_added_again),
        cmocka_unit_test(a_peer_with_data_of_its_own_is_not_added),
        cmocka_unit_test(one_that_does_not_answer_is_left_alone),
    };
    return cmocka_run_group_tests_name("formation", tests, NULL, NULL);
}
