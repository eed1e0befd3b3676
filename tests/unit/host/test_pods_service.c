/* What people see of a pod and its nodes, and order of it: see cluster_world.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pstorage/v1/pods.pb-c.h"
#include "tests/unit/host/cluster_world.h"

#define PODS  &pstorage__v1__pods__descriptor
#define NODES &pstorage__v1__nodes__descriptor

static const struct cluster_options two = {.nodes = 2}, three = {.nodes = 3},
                                    asynchronous = {.nodes = 2, .async = true};
static struct person person;

static int create(void **state, const struct cluster_options *options)
{
    struct cluster_world *w = cluster_world_create(options);
    person_meet(w, &person, w->nodes[0].address);
    *state = w;
    return 0;
}

static int setup(void **state)
{
    return create(state, &two);
}

static int setup_three(void **state)
{
    return create(state, &three);
}

static int setup_async(void **state)
{
    return create(state, &asynchronous);
}

static int teardown(void **state)
{
    person_leave(&person);
    cluster_world_destroy(*state);
    return 0;
}

static void turn_to(struct cluster_world *w, unsigned node)
{
    person_leave(&person);
    person_meet(w, &person, w->nodes[node].address);
}

/* ---- requests in short form */

static const Pstorage__V1__PodView *view_of(const void *message)
{
    return message ? ((const Pstorage__V1__GetPodMembersResponse *)message)->pod : NULL;
}

static const Pstorage__V1__PodView *get(const char *pod)
{
    Pstorage__V1__GetPodMembersRequest m = PSTORAGE__V1__GET_POD_MEMBERS_REQUEST__INIT;
    m.pod = (char *)(uintptr_t)pod;
    return view_of(person_ask(&person, PODS, "Get", &m.base));
}

static Pstorage__V1__SwitchOverRequest to_node(const char *node)
{
    Pstorage__V1__SwitchOverRequest m = PSTORAGE__V1__SWITCH_OVER_REQUEST__INIT;
    m.node = (char *)(uintptr_t)node;
    return m;
}

static const Pstorage__V1__PodView *switch_over(const char *node)
{
    const Pstorage__V1__SwitchOverRequest m = to_node(node);
    return view_of(person_ask(&person, PODS, "SwitchOver", &m.base));
}

static const Pstorage__V1__PodView *add_member(const char *node, bool async)
{
    Pstorage__V1__AddMemberRequest m = PSTORAGE__V1__ADD_MEMBER_REQUEST__INIT;
    m.node = (char *)(uintptr_t)node;
    m.async = async;
    return view_of(person_ask(&person, PODS, "AddMember", &m.base));
}

static const Pstorage__V1__PodView *remove_member(const char *node)
{
    Pstorage__V1__RemoveMemberRequest m = PSTORAGE__V1__REMOVE_MEMBER_REQUEST__INIT;
    m.node = (char *)(uintptr_t)node;
    return view_of(person_ask(&person, PODS, "RemoveMember", &m.base));
}

static const Pstorage__V1__PodView *prefer(const char *node)
{
    Pstorage__V1__SetPodRequest m = PSTORAGE__V1__SET_POD_REQUEST__INIT;
    m.preferred = (char *)(uintptr_t)node;
    return view_of(person_ask(&person, PODS, "SetPod", &m.base));
}

static const Pstorage__V1__PodView *promote(const char *node, bool accept, bool is_off)
{
    Pstorage__V1__PromoteRequest m = PSTORAGE__V1__PROMOTE_REQUEST__INIT;
    m.node = (char *)(uintptr_t)node;
    m.accept_data_loss = accept;
    m.old_primary_is_off = is_off;
    return view_of(person_ask(&person, PODS, "Promote", &m.base));
}

static void assert_refused(int status, const char *sentence)
{
    assert_int_equal(person.status, status);
    if (!strstr(person.detail, sentence))
        fail_msg("it says: %s", person.detail);
}

static const Pstorage__V1__PodMember *member(const Pstorage__V1__PodView *view, const char *node)
{
    for (size_t i = 0; i < view->n_members; i++)
        if (strcmp(view->members[i]->node, node) == 0)
            return view->members[i];
    return NULL;
}

/* ---- alone */

static void a_node_that_stands_alone_shows_a_pod_of_one(void **state)
{
    struct cluster_world *w = *state;
    struct cluster_node *n = &w->nodes[1];
    const Pstorage__V1__WhyRequest why = PSTORAGE__V1__WHY_REQUEST__INIT;
    const Pstorage__V1__ListNodesRequest list = PSTORAGE__V1__LIST_NODES_REQUEST__INIT;
    node_start(w, 0);
    n->alone = true;
    node_start(w, 1);
    turn_to(w, 1);
    const Pstorage__V1__PodView *v = get("");
    assert_non_null(v);
    assert_string_equal(v->name, "default");
    assert_string_equal(v->role, "alone");
    assert_string_equal(v->primary, "n2");
    assert_string_equal(v->cluster, "");
    assert_true(v->serving && v->epoch == 0 && strlen(v->id) == 36);
    assert_int_equal(v->n_members, 1);
    assert_int_equal(v->members[0]->role, PSTORAGE__V1__MEMBER_ROLE__MEMBER_ROLE_ALONE);
    assert_true(v->members[0]->self && v->members[0]->known && strlen(v->members[0]->store) == 36);
    char store[40];
    (void)snprintf(store, sizeof store, "%s", v->members[0]->store);
    const Pstorage__V1__WhyResponse *reasons = person_ask(&person, PODS, "Why", &why.base);
    assert_int_equal(reasons->n_decisions, 0);
    assert_string_equal(reasons->node, "n2");
    const Pstorage__V1__ListNodesResponse *nodes = person_ask(&person, NODES, "List", &list.base);
    assert_int_equal(nodes->n_nodes, 1);
    assert_true(nodes->nodes[0]->self && nodes->nodes[0]->connected && nodes->nodes[0]->run == 1);
    assert_string_equal(nodes->nodes[0]->software, PS_VERSION);
    assert_string_equal(nodes->nodes[0]->store, store);
    /* Nothing can be ordered of it. */
    assert_null(switch_over(""));
    assert_refused(PS_EPRECONDITION, "not part of a cluster");
    assert_null(promote("", true, false));
    assert_refused(PS_EPRECONDITION, "not part of a cluster");
}

/* ---- looking */

static void a_pod_that_is_not_formed_says_what_it_waits_for(void **state)
{
    struct cluster_world *w = *state;
    node_start(w, 0);
    world_run(w, 1000);
    const Pstorage__V1__PodView *v = get("");
    assert_string_equal(v->role, "unconfigured");
    assert_string_equal(v->waits_for, "waits for n2: the pod is founded when all nodes are there");
    assert_true(!v->serving && v->epoch == 0 && v->n_members == 0 && v->mediator_ok);
    assert_string_equal(v->id, "");
    assert_string_equal(v->primary, "");
    assert_null(switch_over("n2"));
    assert_refused(PS_ENOTPRIMARY, "not formed yet");
}

static void both_nodes_show_the_pod_as_they_see_it(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    node_write(w, 0, "v");
    world_run(w, 1000);
    const Pstorage__V1__PodView *v = get("default");
    assert_string_equal(v->role, "leading");
    assert_string_equal(v->waits_for, "");
    assert_string_equal(v->primary, "n1");
    assert_string_equal(v->primary_address, w->nodes[0].address);
    assert_string_equal(v->cluster, "c");
    assert_string_equal(v->mediator, "tcp://127.0.0.1:9700");
    assert_true(v->serving && v->mediator_ok && v->lease_held && v->epoch > 0 && !v->changing);
    assert_true(v->log_end > 0 && v->committed == v->log_end && v->applied == v->log_end);
    const Pstorage__V1__PodMember *a = member(v, "n1"), *b = member(v, "n2");
    assert_true(a && b && v->n_members == 2);
    assert_int_equal(a->role, PSTORAGE__V1__MEMBER_ROLE__MEMBER_ROLE_PRIMARY);
    assert_true(a->self && a->known && a->log_end == v->log_end);
    assert_int_equal(b->role, PSTORAGE__V1__MEMBER_ROLE__MEMBER_ROLE_SYNC);
    assert_string_equal(b->state, "in sync");
    assert_true(!b->self && b->known && b->log_end == v->log_end && b->lag_batches == 0);
    assert_in_range(b->heard_ms_ago, 0, 300);
    assert_in_range(b->lease_left_ms, 500, 1100);
    char id[64];
    (void)strcpy(id, v->id);
    assert_int_equal(strlen(id), 36);

    turn_to(w, 1);
    v = get("");
    assert_string_equal(v->role, "following");
    assert_string_equal(v->id, id);
    assert_string_equal(v->primary_address, w->nodes[0].address);
    assert_true(!v->serving && member(v, "n2")->self && !member(v, "n1")->self);
    assert_null(get("other"));
    assert_refused(PS_ENOTFOUND, "no pod named 'other'");
}

static void the_list_is_of_the_one_pod_there_is(void **state)
{
    const Pstorage__V1__ListPodsRequest m = PSTORAGE__V1__LIST_PODS_REQUEST__INIT;
    world_form(*state);
    const Pstorage__V1__ListPodsResponse *pods = person_ask(&person, PODS, "List", &m.base);
    assert_int_equal(pods->n_pods, 1);
    assert_string_equal(pods->pods[0]->name, "default");
    assert_int_equal(pods->pods[0]->n_members, 2);
}

static void the_primary_shows_by_how_much_a_member_lags(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    node_pause(w, 1, true);
    node_write(w, 0, "v");
    world_run(w, 300);
    const Pstorage__V1__PodView *v = get("");
    const Pstorage__V1__PodMember *b = member(v, "n2");
    assert_true(v->log_end == v->committed + 1);
    assert_true(b->lag_batches == 1 && b->lag_bytes >= 4096);
    assert_in_range(b->lag_ms, 250, 350);
    assert_in_range(b->heard_ms_ago, 250, 600);
    world_run(w, 3000);
    b = member(get(""), "n2");
    assert_int_equal(b->role, PSTORAGE__V1__MEMBER_ROLE__MEMBER_ROLE_BEHIND);
    assert_string_equal(b->state, "away");
}

static void nodes_are_listed_with_what_they_said_of_themselves(void **state)
{
    struct cluster_world *w = *state;
    const Pstorage__V1__ListNodesRequest m = PSTORAGE__V1__LIST_NODES_REQUEST__INIT;
    node_start(w, 0);
    world_run(w, 500);
    const Pstorage__V1__ListNodesResponse *r = person_ask(&person, NODES, "List", &m.base);
    assert_int_equal(r->n_nodes, 2);
    assert_string_equal(r->nodes[0]->name, "n1");
    assert_string_equal(r->nodes[0]->state, "up");
    assert_string_equal(r->nodes[0]->software, PS_VERSION);
    assert_true(r->nodes[0]->self && r->nodes[0]->connected && strlen(r->nodes[0]->store) == 36);
    assert_string_equal(r->nodes[1]->name, "n2");
    assert_string_equal(r->nodes[1]->address, w->nodes[1].address);
    assert_true(!r->nodes[1]->self && !r->nodes[1]->connected);
    assert_true(strlen(r->nodes[1]->state) > 2 && strcmp(r->nodes[1]->state, "up") != 0);
    assert_string_equal(r->nodes[1]->store, ""); /* never heard */
    world_form(w);
    r = person_ask(&person, NODES, "List", &m.base);
    assert_string_equal(r->nodes[1]->state, "up");
    assert_string_equal(r->nodes[1]->software, PS_VERSION);
    assert_true(r->nodes[1]->connected && strlen(r->nodes[1]->store) == 36 && r->nodes[1]->run > 0);
}

/* ---- why */

static const Pstorage__V1__WhyResponse *why(uint64_t after, uint32_t page)
{
    Pstorage__V1__WhyRequest m = PSTORAGE__V1__WHY_REQUEST__INIT;
    m.after_number = after;
    m.page_size = page;
    return person_ask(&person, PODS, "Why", &m.base);
}

static void decisions_are_told_in_pages_with_their_time(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    const Pstorage__V1__WhyResponse *r = why(0, 0);
    const uint64_t last = r->last_number;
    const size_t count = r->n_decisions;
    assert_true(count >= 2 && last == count);
    assert_string_equal(r->node, "n1");
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(r->decisions[i]->number, i + 1);
        assert_true(r->decisions[i]->kind[0] && r->decisions[i]->text[0]);
        assert_in_range(r->decisions[i]->time_unix_ns, 1700000000000000000ull,
                        1700000000000000000ull + world_now_ms(w) * MS);
    }
    r = why(1, 1);
    assert_int_equal(r->n_decisions, 1);
    assert_int_equal(r->decisions[0]->number, 2);
    assert_int_equal(r->last_number, last);
    r = why(last, 0);
    assert_int_equal(r->n_decisions, 0);
    assert_int_equal(r->last_number, last);
}

/* ---- orders */

static void a_switchover_is_answered_when_the_other_one_leads(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    const Pstorage__V1__PodView *v = switch_over("");
    assert_int_equal(person.status, 0);
    assert_string_equal(v->primary, "n2");
    assert_false(v->serving);
    /* And back, asked of the node that does not lead: it is passed on. */
    WORLD_UNTIL(w, cluster_is_serving(w->nodes[1].cluster));
    world_run(w, 1000);
    v = switch_over("n1");
    assert_int_equal(person.status, 0);
    assert_string_equal(v->primary, "n1");
    assert_true(member(v, "n2")->self); /* it was the other one that answered */
    WORLD_UNTIL(w, cluster_is_serving(w->nodes[0].cluster));
}

static void a_switchover_to_nobody_that_could_lead_is_refused(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    assert_null(switch_over("n9"));
    assert_refused(PS_ENOTFOUND, "no member on a node 'n9'");
    assert_null(switch_over("n1"));
    assert_true(person.status == PS_EPRECONDITION || person.status == PS_EINVAL ||
                person.status == PS_EEXISTS);
    node_kill(w, 1);
    world_run(w, 2000);
    assert_null(switch_over(""));
    assert_refused(PS_EPRECONDITION, "no other member is in sync");
    assert_true(cluster_is_serving(w->nodes[0].cluster));
}

static void of_several_that_could_lead_the_preferred_one_does_or_one_is_named(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    assert_null(switch_over(""));
    assert_refused(PS_EINVAL, "several members could lead: name one of them");
    assert_string_equal(prefer("n3")->preferred, "n3");
    world_run(w, 1000); /* n3 takes the log of the new epoch */
    assert_string_equal(switch_over("")->primary, "n3");
}

/* It waits for what n2 has not got. */
static void start_long_switchover(struct cluster_world *w)
{
    const Pstorage__V1__SwitchOverRequest m = to_node("n2");
    node_pause(w, 1, true);
    node_write(w, 0, "v");
    world_run(w, 10);
    person_start(&person, PODS, "SwitchOver", &m.base);
    world_run(w, 50);
    assert_int_equal(person.answers, 0);
}

static void a_switchover_to_a_node_that_falls_silent_is_told_to_have_failed(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    start_long_switchover(w);
    WORLD_UNTIL(w, person.answers == 1);
    assert_refused(PS_EABORTED, "another change of the pod came first");
    assert_true(cluster_is_serving(w->nodes[0].cluster));
}

static void an_order_that_is_given_up_leaves_nothing_behind(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    start_long_switchover(w);
    rpc_client_cancel(person.client, &person.request);
    world_run(w, 20);
    assert_int_equal(person.answers, 1);
    assert_int_equal(person.status, PS_ECANCELLED);
    world_run(w, 5000);
    node_stop(w, 0); /* which would notice an order without a call */
}

static void a_person_who_leaves_gives_the_order_up(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    start_long_switchover(w);
    rpc_mem_break(w->net, "n1", "host");
    world_run(w, 5000);
    node_stop(w, 0);
}

static void members_are_removed_and_added(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    node_write(w, 0, "v"); /* so that n2 is not taken for a new node, and added by itself */
    world_run(w, 100);
    assert_null(add_member("n2", false));
    assert_refused(PS_EEXISTS, "n2 is a member already");
    assert_null(add_member("n9", false));
    assert_refused(PS_ENOTFOUND, "'n9' is not in PSTORAGE_PEERS of the primary");
    assert_null(remove_member("n9"));
    assert_refused(PS_ENOTFOUND, "no member on a node 'n9'");
    const Pstorage__V1__PodView *v = remove_member("n2");
    assert_non_null(v);
    assert_true(v->n_members == 1 && !member(v, "n2"));
    v = add_member("n2", true);
    assert_non_null(v);
    assert_int_equal(member(v, "n2")->role, PSTORAGE__V1__MEMBER_ROLE__MEMBER_ROLE_ASYNC);
}

static void a_preferred_node_is_set_and_forgotten(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    assert_null(prefer("n9"));
    assert_refused(PS_ENOTFOUND, "no member on a node 'n9'");
    assert_string_equal(prefer("n1")->preferred, "n1");
    const uint64_t epoch = get("")->epoch;
    assert_string_equal(prefer("n1")->preferred, "n1");
    assert_int_equal(get("")->epoch, epoch); /* it was, and nothing was changed */
    assert_string_equal(prefer("")->preferred, "");
    assert_true(get("")->epoch > epoch);
}

static void orders_without_a_primary_name_whom_to_ask(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    turn_to(w, 1);
    rpc_mem_cut(w->net, "n1", "n2", true);
    rpc_mem_break(w->net, "n1", "n2");
    world_run(w, 10);
    assert_null(remove_member("n2"));
    assert_refused(PS_ENOTPRIMARY, "not primary: n1 at tcp://127.0.0.1:9501");
}

/* ---- promotion */

static void a_promotion_that_is_not_meant_is_refused(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    assert_null(promote("", false, false));
    assert_refused(PS_EPRECONDITION, "that has to be accepted");
    assert_null(promote("n2", true, false));
    assert_refused(PS_EPRECONDITION, "this is n1: the node that is to be promoted has to be asked itself");
    assert_null(promote("n1", true, false));
    assert_refused(PS_EPRECONDITION, "this node is the primary already");
    turn_to(w, 1);
    assert_null(promote("n2", true, false)); /* it is not passed on either */
    assert_refused(PS_EPRECONDITION, "n1 is the primary and serves");
    assert_true(cluster_is_serving(w->nodes[0].cluster));
}

static void an_asynchronous_member_is_promoted_when_its_primary_is_gone(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    turn_to(w, 1);
    node_kill(w, 0);
    world_run(w, 5000);
    assert_false(cluster_is_serving(w->nodes[1].cluster));
    const Pstorage__V1__PodView *v = promote("n2", true, false);
    assert_int_equal(person.status, 0);
    assert_string_equal(v->primary, "n2");
    assert_non_null(strstr(v->waits_for, "n1")); /* which has to say that it has stopped */
    assert_false(v->serving);
    v = promote("", true, true);
    assert_int_equal(person.status, 0);
    assert_string_equal(v->primary, "n2");
    WORLD_UNTIL(w, cluster_is_serving(w->nodes[1].cluster));
}

static void a_promotion_that_no_mediator_records_is_refused(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    turn_to(w, 1);
    mediator_stop(w);
    node_kill(w, 0);
    world_run(w, 5000);
    assert_null(promote("n2", true, true));
    assert_refused(PS_EPRECONDITION, "no mediator answers");
}

#define IN(name, prepare) cmocka_unit_test_setup_teardown(name, prepare, teardown)
#define T(name)           IN(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_node_that_stands_alone_shows_a_pod_of_one),
        T(a_pod_that_is_not_formed_says_what_it_waits_for),
        T(both_nodes_show_the_pod_as_they_see_it),
        T(the_list_is_of_the_one_pod_there_is),
        T(the_primary_shows_by_how_much_a_member_lags),
        T(nodes_are_listed_with_what_they_said_of_themselves),
        T(decisions_are_told_in_pages_with_their_time),
        T(a_switchover_is_answered_when_the_other_one_leads),
        T(a_switchover_to_nobody_that_could_lead_is_refused),
        IN(of_several_that_could_lead_the_preferred_one_does_or_one_is_named, setup_three),
        T(a_switchover_to_a_node_that_falls_silent_is_told_to_have_failed),
        T(an_order_that_is_given_up_leaves_nothing_behind),
        T(a_person_who_leaves_gives_the_order_up),
        T(members_are_removed_and_added),
        T(a_preferred_node_is_set_and_forgotten),
        T(orders_without_a_primary_name_whom_to_ask),
        T(a_promotion_that_is_not_meant_is_refused),
        IN(an_asynchronous_member_is_promoted_when_its_primary_is_gone, setup_async),
        IN(a_promotion_that_no_mediator_records_is_refused, setup_async),
    };
    return cmocka_run_group_tests_name("pods_service", tests, NULL, NULL);
}
