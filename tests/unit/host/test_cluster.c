/* Nodes that find each other, form a pod, hand it over and lose it: see cluster_world.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/host/cluster_world.h"

static const struct cluster_options two = {.nodes = 2}, doubtful = {.nodes = 2, .slow_failover = true};

static int create(void **state, const struct cluster_options *options)
{
    *state = cluster_world_create(options);
    return 0;
}

static int setup(void **state)
{
    return create(state, &two);
}

static int setup_doubtful(void **state)
{
    return create(state, &doubtful);
}

static int teardown(void **state)
{
    cluster_world_destroy(*state);
    return 0;
}

static bool serves(const struct cluster_world *w, unsigned n)
{
    return cluster_is_serving(w->nodes[n].cluster);
}

static void assert_refusal(const struct cluster_world *w, unsigned n, const char *sentence)
{
    struct ps_error err = {0};
    assert_int_equal(cluster_not_primary(w->nodes[n].cluster, &err), PS_ENOTPRIMARY);
    assert_int_equal(err.status, PS_ENOTPRIMARY);
    if (!strstr(err.detail, sentence))
        fail_msg("it says: %s", err.detail);
}

static int switch_over(struct cluster_world *w, unsigned from, unsigned to, struct ps_error *err)
{
    struct replica_info info;
    const int at = node_member(w, from, to);
    assert_true(at >= 0);
    node_look(w, from, &info);
    return cluster_switch_over(w->nodes[from].cluster, &info.configuration.members[at].store, err);
}

static bool is_in_sync(const struct cluster_world *w, unsigned at, unsigned member)
{
    struct replica_info info;
    const int i = node_member(w, at, member);
    node_look(w, at, &info);
    return i >= 0 && info.configuration.members[i].in_sync;
}

/* ---- formation */

static void a_node_waits_for_its_peers_and_says_so(void **state)
{
    struct cluster_world *w = *state;
    const char *node, *address;
    node_start(w, 0);
    world_run(w, 10000);
    assert_false(serves(w, 0));
    assert_string_equal(cluster_forming(w->nodes[0].cluster),
                        "waits for n2: the pod is founded when all nodes are there");
    assert_refusal(w, 0, "pod default is not formed yet: waits for n2");
    assert_false(cluster_primary_place(w->nodes[0].cluster, &node, &address));
    assert_null(cluster_primary(w->nodes[0].cluster));
    assert_null(cluster_hello(w->nodes[0].cluster, 0));
    /* Once, not four times a second. */
    const char *said = strstr(w->nodes[0].log, "waits for n2");
    assert_non_null(said);
    assert_null(strstr(said + 1, "waits for n2"));
}

static void without_the_mediator_nothing_is_founded(void **state)
{
    struct cluster_world *w = *state;
    mediator_stop(w);
    node_start(w, 0);
    node_start(w, 1);
    world_run(w, 10000);
    assert_non_null(strstr(cluster_forming(w->nodes[0].cluster), "waits for the mediator"));
    assert_false(cluster_mediator_connected(w->nodes[0].cluster));
    mediator_start(w);
    WORLD_UNTIL(w, serves(w, 0));
    assert_true(cluster_mediator_connected(w->nodes[0].cluster));
}

static void who_was_there_a_while_ago_does_not_count(void **state)
{
    struct cluster_world *w = *state;
    mediator_stop(w);
    node_start(w, 0);
    node_start(w, 1);
    world_run(w, 1000);
    node_kill(w, 1);
    world_run(w, 3100);
    mediator_start(w);
    world_run(w, 5000);
    assert_false(serves(w, 0));
    assert_non_null(strstr(cluster_forming(w->nodes[0].cluster), "waits for n2"));
    node_start(w, 1);
    WORLD_UNTIL(w, serves(w, 0));
}

static void nodes_without_data_form_a_pod_and_the_first_of_them_leads(void **state)
{
    struct cluster_world *w = *state;
    const char *node, *address;
    struct replica_info a, b;
    world_form(w);
    assert_true(serves(w, 0) && !serves(w, 1));
    assert_true(w->nodes[0].told_serving == 1 && w->nodes[0].serving);
    assert_int_equal(w->nodes[1].told_serving, 0);
    assert_true(is_in_sync(w, 0, 0) && is_in_sync(w, 0, 1));
    node_look(w, 0, &a);
    node_look(w, 1, &b);
    assert_true(uuid_equal(&a.configuration.pod, &b.configuration.pod));
    assert_string_equal(cluster_forming(w->nodes[0].cluster), "");
    assert_string_equal(cluster_forming(w->nodes[1].cluster), "");
    assert_string_equal(w->nodes[0].warnings, "");
    assert_true(w->nodes[0].news > 0 && w->nodes[0].decisions > 0);
    /* Where the primary is. */
    assert_refusal(w, 1, "not primary: n1 at tcp://127.0.0.1:9501");
    assert_true(cluster_primary_place(w->nodes[1].cluster, &node, &address));
    assert_string_equal(node, "n1");
    assert_string_equal(address, "tcp://127.0.0.1:9501");
    assert_non_null(cluster_primary(w->nodes[1].cluster));
    assert_false(cluster_primary_place(w->nodes[0].cluster, &node, &address));
    assert_null(cluster_primary(w->nodes[0].cluster));
}

static void what_a_node_says_of_itself_its_peer_knows(void **state)
{
    struct cluster_world *w = *state;
    struct replication_hello own;
    w->nodes[0].port = 7777;
    world_form(w);
    world_run(w, 2000);
    cluster_own_hello(w->nodes[0].cluster, &own);
    const struct replication_hello *heard = cluster_hello(w->nodes[1].cluster, 0);
    assert_non_null(heard);
    assert_true(uuid_equal(&heard->store, &own.store) && uuid_equal(&heard->pod, &own.pod));
    assert_false(uuid_is_none(&own.store) || uuid_is_none(&own.pod));
    assert_string_equal(heard->node, "n1");
    assert_string_equal(heard->cluster, "c");
    assert_string_equal(heard->pod_name, "default");
    assert_string_equal(heard->rpc_address, "tcp://127.0.0.1:9501");
    assert_string_equal(heard->software, PS_VERSION);
    assert_true(heard->run == own.run && heard->epoch == own.epoch && heard->heartbeat_port == 7777);
}

static void a_node_that_is_no_peer_is_not_admitted_and_a_person_is(void **state)
{
    struct cluster_world *w = *state;
    struct rpc_peer peer = {.name = "n9", .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE};
    struct ps_error err = {0};
    node_start(w, 0);
    assert_int_equal(cluster_admit(w->nodes[0].cluster, &peer, &err), PS_EPERM);
    assert_string_equal(err.detail, "n9 is not among the peers of n1 (PSTORAGE_PEERS)");
    peer.role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_CLIENT;
    assert_int_equal(cluster_admit(w->nodes[0].cluster, &peer, &err), 0);
    (void)strcpy(peer.name, "n2");
    peer.role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE;
    assert_int_equal(cluster_admit(w->nodes[0].cluster, &peer, &err), 0);
}

static void peers_that_cannot_be_right_are_refused(void **state)
{
    const struct cluster_config config = {
        .node_name = "n1", .cluster_name = "c", .pod_name = "default", .peers = "n1=tcp://127.0.0.1:9501"};
    struct cluster *cluster;
    struct ps_error err = {0};
    (void)state;
    assert_int_equal(cluster_create(&config, &cluster, &err), PS_EINVAL);
    assert_non_null(strstr(err.detail, "this node's own name"));
}

/* ---- who comes back, and who is new */

static void a_node_that_was_away_comes_back_and_is_in_sync_again(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    node_kill(w, 1);
    WORLD_UNTIL(w, !is_in_sync(w, 0, 1));
    node_write(w, 0, "while-away");
    world_run(w, 1000);
    assert_true(serves(w, 0));
    node_start(w, 1);
    WORLD_UNTIL(w, is_in_sync(w, 0, 1));
    world_run(w, 1000);
    struct pod_image_info image;
    assert_int_equal(pod_image_by_name(member_pod(w->nodes[1].member), "while-away", &image), 0);
}

static void a_node_with_another_empty_disk_takes_the_place_of_its_former_store(void **state)
{
    struct cluster_world *w = *state;
    struct replica_info before, after;
    world_form(w);
    node_write(w, 0, "v");
    world_run(w, 100);
    node_look(w, 0, &before);
    const struct uuid store = before.configuration.members[node_member(w, 0, 1)].store;
    node_kill(w, 1);
    node_new_disk(w, 1);
    node_start(w, 1);
    WORLD_UNTIL(w, (node_look(w, 0, &after), !configuration_has(&after.configuration, &store)) &&
                       is_in_sync(w, 0, 1));
    assert_int_equal(after.configuration.count, 2);
    assert_non_null(strstr(w->nodes[0].log, "n2 has another, empty store: the former one is gone"));
    assert_non_null(strstr(w->nodes[0].log, "n2 is new and empty: it is added"));
}

static void who_has_data_founds_the_pod_and_fills_the_other(void **state)
{
    struct cluster_world *w = *state;
    struct pod_image_info image;
    node_use_alone(w, 1, "old");
    node_start(w, 0);
    node_start(w, 1);
    WORLD_UNTIL(w, serves(w, 1) && is_in_sync(w, 1, 0));
    world_run(w, 1000);
    assert_int_equal(pod_image_by_name(member_pod(w->nodes[0].member), "old", &image), 0);
    assert_false(serves(w, 0));
}

static void two_nodes_with_data_of_their_own_are_warned_and_left_alone(void **state)
{
    struct cluster_world *w = *state;
    node_use_alone(w, 0, "a");
    node_use_alone(w, 1, "b");
    node_start(w, 0);
    node_start(w, 1);
    world_run(w, 10000);
    for (unsigned n = 0; n < 2; n++) {
        const char *said = strstr(w->nodes[n].warnings, "both hold data, of different pods");
        assert_non_null(said);
        assert_null(strstr(said + 1, "both hold data"));
        assert_false(serves(w, n));
        assert_refusal(w, n, "both hold data");
    }
}

static void a_node_that_gets_another_name_stays_the_member_that_it_was(void **state)
{
    struct cluster_world *w = *state;
    struct replica_info before, after;
    world_form(w);
    node_look(w, 0, &before);
    node_stop(w, 1);
    node_stop(w, 0);
    (void)strcpy(w->nodes[1].name, "nb");
    (void)strcpy(w->nodes[0].peers, "nb=tcp://127.0.0.1:9502");
    node_start(w, 0);
    node_start(w, 1);
    WORLD_UNTIL(w, serves(w, 0) && is_in_sync(w, 0, 1));
    node_look(w, 0, &after);
    assert_int_equal(after.configuration.count, 2);
    for (unsigned i = 0; i < 2; i++)
        assert_true(configuration_has(&after.configuration, &before.configuration.members[i].store));
    assert_non_null(strstr(w->nodes[0].log, "n2 is called nb now"));
}

static void what_was_on_a_broken_connection_is_sent_anew_within_a_heartbeat(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    for (unsigned round = 0; round < 10; round++) {
        const char volume[] = {'v', (char)('0' + round), 0};
        rpc_mem_cut(w->net, "n1", "n2", true);
        node_write(w, 0, volume);
        world_run(w, 20);
        assert_true(w->nodes[0].writing);
        rpc_mem_break(w->net, "n1", "n2");
        rpc_mem_cut(w->net, "n1", "n2", false);
        const uint64_t broke = world_now_ms(w);
        WORLD_UNTIL(w, !w->nodes[0].writing);
        assert_in_range(world_now_ms(w) - broke, 0, 300);
        assert_true(is_in_sync(w, 0, 1));
        world_run(w, 500);
    }
}

/* ---- who leads */

static void a_pod_that_is_handed_over_tells_both_nodes(void **state)
{
    struct cluster_world *w = *state;
    struct ps_error err = {0};
    const char *node, *address;
    world_form(w);
    assert_int_equal(switch_over(w, 0, 1, &err), 0);
    WORLD_UNTIL(w, serves(w, 1));
    world_run(w, 100);
    assert_false(serves(w, 0));
    assert_true(w->nodes[0].told_serving == 2 && w->nodes[0].handed_over);
    assert_true(w->nodes[1].told_serving == 1 && w->nodes[1].serving);
    assert_true(cluster_primary_place(w->nodes[0].cluster, &node, &address));
    assert_string_equal(node, "n2");
}

static void a_primary_that_stood_still_meanwhile_has_not_handed_over(void **state)
{
    struct cluster_world *w = *state;
    struct ps_error err = {0};
    struct replica_info info;
    world_form(w);
    rpc_mem_cut(w->net, "n1", "m", true); /* so that it is under way for a while */
    assert_int_equal(switch_over(w, 0, 1, &err), 0);
    world_run(w, 50);
    node_look(w, 0, &info);
    assert_true(info.switching && serves(w, 0));
    node_pause(w, 0, true);
    WORLD_UNTIL(w, serves(w, 1));
    node_pause(w, 0, false);
    world_run(w, 500);
    assert_false(serves(w, 0));
    assert_true(w->nodes[0].told_serving == 2 && !w->nodes[0].serving && !w->nodes[0].handed_over);
}

static void a_primary_that_was_cut_off_has_lost_the_pod(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    rpc_mem_cut(w->net, "n1", NULL, true);
    WORLD_UNTIL(w, serves(w, 1));
    struct replica_info info;
    node_look(w, 0, &info);
    assert_false(info.lease_held); /* it takes requests still, and answers none */
    rpc_mem_cut(w->net, "n1", NULL, false);
    WORLD_UNTIL(w, is_in_sync(w, 1, 0));
    assert_true(!w->nodes[0].serving && !w->nodes[0].handed_over);
}

static uint64_t take_over_ms(struct cluster_world *w)
{
    world_form(w);
    const uint64_t killed = world_now_ms(w);
    node_kill(w, 0);
    WORLD_UNTIL(w, serves(w, 1));
    return world_now_ms(w) - killed;
}

static void a_refused_connection_ends_what_was_promised_to_the_dead(void **state)
{
    assert_in_range(take_over_ms(*state), 0, 200);
}

static void a_refused_connection_proves_nothing_where_it_is_said_so(void **state)
{
    assert_in_range(take_over_ms(*state), 850, 1500);
}

static void a_primary_that_has_yet_to_commit_what_it_inherits_says_for_whom_it_waits(void **state)
{
    struct cluster_world *w = *state;
    const char *node, *address;
    world_form(w);
    node_pause(w, 1, true);
    node_write(w, 0, "nobody-else-has-it");
    world_run(w, 100);
    mediator_stop(w);
    node_kill(w, 0);
    node_start(w, 0);
    world_run(w, 3000);
    assert_false(serves(w, 0));
    assert_refusal(w, 0, "n1 is the primary and waits for n2");
    assert_false(cluster_primary_place(w->nodes[0].cluster, &node, &address));
    node_pause(w, 1, false);
    WORLD_UNTIL(w, serves(w, 0));
}

/* ---- heartbeats of their own */

static void a_peers_heartbeats_are_looked_for_at_the_port_that_it_names(void **state)
{
    struct cluster_world *w = *state;
    world_form(w);
    assert_string_equal(w->nodes[0].beats_at, ""); /* it has none */
    node_stop(w, 1);
    w->nodes[1].port = 7777;
    node_start(w, 1);
    world_run(w, 2000);
    assert_string_equal(w->nodes[0].beats_at, "tcp://127.0.0.1:7777");
    assert_string_equal(w->nodes[0].warnings, "");
}

static void heartbeats_that_are_not_reached_for_long_are_a_warning_once(void **state)
{
    struct cluster_world *w = *state;
    w->nodes[0].port = w->nodes[1].port = 7777;
    world_form(w);
    w->nodes[0].beats = false;
    world_run(w, 8000);
    assert_string_equal(w->nodes[0].warnings, "");
    world_run(w, 30000);
    const char *warning =
        strstr(w->nodes[0].warnings, "no heartbeats with n2: it is not reached at tcp://127.0.0.1:7777");
    assert_non_null(warning);
    assert_null(strstr(warning + 1, "no heartbeats"));
    assert_string_equal(w->nodes[1].warnings, "");
    /* Again, after they were there. */
    w->nodes[0].beats = true;
    world_run(w, 2000);
    w->nodes[0].beats = false;
    world_run(w, 13000);
    assert_non_null(strstr(warning + 1, "no heartbeats"));
}

/* ---- what people ask for */

static void count_changes(void *user)
{
    ++*(unsigned *)user;
}

static void members_leave_and_come_at_a_persons_word(void **state)
{
    struct cluster_world *w = *state;
    struct replica_info info;
    struct ps_error err = {0};
    unsigned changes = 0;
    world_form(w);
    cluster_watch(w->nodes[0].cluster, count_changes, &changes);
    node_write(w, 0, "v"); /* else n2 would be taken for a new one */
    world_run(w, 100);
    node_look(w, 0, &info);
    const struct uuid store = info.configuration.members[node_member(w, 0, 1)].store;
    assert_int_equal(cluster_remove_member(w->nodes[0].cluster, &store, &err), 0);
    WORLD_UNTIL(w, node_member(w, 0, 1) < 0);
    assert_true(changes > 0);
    world_run(w, 3000);
    assert_int_equal(node_member(w, 0, 1), -1); /* it is not added by itself */
    assert_int_equal(cluster_add_member(w->nodes[0].cluster, 0, true, &err), 0);
    WORLD_UNTIL(w, node_member(w, 0, 1) >= 0);
    node_look(w, 0, &info);
    assert_int_equal(info.configuration.members[node_member(w, 0, 1)].mode, MEMBER_ASYNC);
    cluster_watch(w->nodes[0].cluster, NULL, NULL);
}

static void a_peer_that_was_never_heard_cannot_be_added(void **state)
{
    struct cluster_world *w = *state;
    struct ps_error err = {0};
    node_start(w, 0);
    world_run(w, 500);
    assert_int_equal(cluster_add_member(w->nodes[0].cluster, 0, false, &err), PS_EPRECONDITION);
    assert_string_equal(err.detail, "n2 has not answered yet");
}

/* n1 led alone at last, and n2 has a copy of its disk; both are down. */
static void copy_the_primary(struct cluster_world *w)
{
    world_form(w);
    node_write(w, 0, "v");
    world_run(w, 100);
    node_kill(w, 1);
    WORLD_UNTIL(w, serves(w, 0) && !is_in_sync(w, 0, 1));
    world_run(w, 100);
    node_kill(w, 0);
    node_copy_disk(w, 1, 0);
}

static void two_nodes_with_copies_of_one_store_do_not_both_lead(void **state)
{
    struct cluster_world *w = *state;
    copy_the_primary(w);
    node_start(w, 0);
    node_start(w, 1);
    for (int ms = 0; ms < 10000; ms++) {
        world_run(w, 1);
        assert_false(serves(w, 0) && serves(w, 1));
    }
    assert_non_null(strstr(w->nodes[1].warnings, "n1 has the same store"));
    assert_non_null(strstr(w->nodes[0].warnings, "n2 has the same store"));
}

static void a_copy_gives_way_to_the_store_that_leads(void **state)
{
    struct cluster_world *w = *state;
    copy_the_primary(w);
    node_start(w, 0);
    WORLD_UNTIL(w, serves(w, 0));
    node_start(w, 1);
    for (int ms = 0; ms < 10000; ms++) {
        world_run(w, 1);
        assert_false(serves(w, 1));
    }
    assert_true(serves(w, 0));
    assert_non_null(strstr(w->nodes[1].warnings, "n1 has the same store"));
    /* With a disk of its own it is a new member. */
    node_kill(w, 1);
    node_new_disk(w, 1);
    node_start(w, 1);
    WORLD_UNTIL(w, is_in_sync(w, 0, 1));
}

#define IN(name, prepare) cmocka_unit_test_setup_teardown(name, prepare, teardown)
#define T(name)           IN(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_node_waits_for_its_peers_and_says_so),
        T(without_the_mediator_nothing_is_founded),
        T(who_was_there_a_while_ago_does_not_count),
        T(nodes_without_data_form_a_pod_and_the_first_of_them_leads),
        T(what_a_node_says_of_itself_its_peer_knows),
        T(a_node_that_is_no_peer_is_not_admitted_and_a_person_is),
        cmocka_unit_test(peers_that_cannot_be_right_are_refused),
        T(a_node_that_was_away_comes_back_and_is_in_sync_again),
        T(a_node_with_another_empty_disk_takes_the_place_of_its_former_store),
        T(who_has_data_founds_the_pod_and_fills_the_other),
        T(two_nodes_with_data_of_their_own_are_warned_and_left_alone),
        T(two_nodes_with_copies_of_one_store_do_not_both_lead),
        T(a_copy_gives_way_to_the_store_that_leads),
        T(a_node_that_gets_another_name_stays_the_member_that_it_was),
        T(what_was_on_a_broken_connection_is_sent_anew_within_a_heartbeat),
        T(a_pod_that_is_handed_over_tells_both_nodes),
        T(a_primary_that_stood_still_meanwhile_has_not_handed_over),
        T(a_primary_that_was_cut_off_has_lost_the_pod),
        T(a_refused_connection_ends_what_was_promised_to_the_dead),
        IN(a_refused_connection_proves_nothing_where_it_is_said_so, setup_doubtful),
        T(a_primary_that_has_yet_to_commit_what_it_inherits_says_for_whom_it_waits),
        T(a_peers_heartbeats_are_looked_for_at_the_port_that_it_names),
        T(heartbeats_that_are_not_reached_for_long_are_a_warning_once),
        T(members_leave_and_come_at_a_persons_word),
        T(a_peer_that_was_never_heard_cannot_be_added),
    };
    return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
