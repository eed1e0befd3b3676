/* Peers and the Replication service, one against the other, over streams in memory on virtual time. */
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
#include "node/host/peers.h"
#include "node/host/replication_service.h"

#define MS 1000000ull

struct world {
    struct rpc_mem_net *net;
    struct rpc_transport *here, *there;
    struct peers *peers;
    struct rpc_server *server;
    struct replication_service service;
    /* What the member there does. */
    bool open, refuse, silent;
    char knows[64];
    unsigned begins, appends;
    uint8_t last_batch[8192];
    uint32_t last_bytes;
    /* What came back here. */
    unsigned hellos, states, acks, lost, ended, up;
    struct replica_ack_msg ack;
    unsigned asked, records;          /* for records; answers */
    struct replica_record_msg record; /* the last one */
    uint8_t record_data[100];
    uint32_t record_bytes;
    char line[512];
};

static struct uuid id(unsigned n)
{
    struct uuid u;
    memset(u.bytes, (int)n, sizeof u.bytes);
    return u;
}

/* ---- the member there */

static bool knows(void *user, const char *name)
{
    return strcmp(((struct world *)user)->knows, name) == 0;
}

static bool is_open(void *user)
{
    return ((struct world *)user)->open;
}

static void serve_hello(void *user, const struct replication_hello *in, struct replication_hello *out)
{
    (void)user;
    assert_string_equal(in->node, "n1");
    *out = (struct replication_hello){.node = "n2", .store = id(2), .pod = id(9), .run = 5};
}

static bool serve_state(void *user, const struct replica_state_msg *in, struct replica_state_msg *out)
{
    *out = (struct replica_state_msg){.pod = in->pod, .store = id(2), .run = 5, .stamp = in->stamp};
    return !((struct world *)user)->silent;
}

static bool serve_begin(void *user, const struct replica_begin_msg *in, struct replica_ack_msg *refusal)
{
    struct world *w = user;
    w->begins++;
    *refusal =
        (struct replica_ack_msg){.pod = in->pod, .store = id(2), .stream = in->stream, .status = PS_EABORTED};
    return !w->refuse;
}

static bool serve_append(void *user, const struct replica_append_msg *in, const void *batch, uint32_t bytes,
                         struct replica_ack_msg *refusal)
{
    struct world *w = user;
    w->appends++;
    assert_true(bytes <= sizeof w->last_batch);
    memcpy(w->last_batch, batch, bytes);
    w->last_bytes = bytes;
    *refusal =
        (struct replica_ack_msg){.pod = in->pod, .store = id(2), .stream = in->stream, .status = PS_EABORTED};
    return !w->refuse;
}

static void serve_record(void *user, const struct replica_record_msg *in)
{
    struct world *w = user;
    w->asked++;
    assert_true(uuid_equal(&in->store, &(struct uuid){{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}}));
}

static const struct replication_handler handler = {
    .knows = knows,
    .is_open = is_open,
    .hello = serve_hello,
    .state = serve_state,
    .begin = serve_begin,
    .append = serve_append,
    .record = serve_record,
};

/* ---- here */

static void on_hello(void *user, unsigned peer, const struct replication_hello *hello)
{
    struct world *w = user;
    assert_int_equal(peer, 0);
    assert_true(uuid_equal(&hello->store, &(struct uuid){{2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}}));
    w->hellos++;
}

static void on_state(void *user, unsigned peer, const struct replica_state_msg *msg)
{
    struct world *w = user;
    assert_int_equal(peer, 0);
    assert_int_equal(msg->stamp, 77);
    w->states++;
}

static void on_ack(void *user, unsigned peer, const struct replica_ack_msg *msg)
{
    struct world *w = user;
    assert_int_equal(peer, 0);
    w->ack = *msg;
    w->acks++;
}

static void on_record(void *user, unsigned peer, const struct replica_record_msg *msg, const void *record,
                      uint32_t bytes)
{
    struct world *w = user;
    assert_int_equal(peer, 0);
    assert_true(bytes <= sizeof w->record_data);
    w->records++;
    w->record = *msg;
    w->record_bytes = bytes;
    if (bytes)
        memcpy(w->record_data, record, bytes);
}

static void on_lost(void *user, unsigned peer)
{
    (void)peer;
    ((struct world *)user)->lost++;
}

static void on_ended(void *user, unsigned peer)
{
    (void)peer;
    ((struct world *)user)->ended++;
}

static void on_connected(void *user, unsigned peer, bool up)
{
    (void)peer;
    ((struct world *)user)->up += up;
}

static const struct peers_events events = {
    .hello = on_hello,
    .state = on_state,
    .ack = on_ack,
    .record = on_record,
    .lost = on_lost,
    .ended = on_ended,
    .connected = on_connected,
};

static void on_line(void *user, const char *line)
{
    struct world *w = user;
    (void)snprintf(w->line, sizeof w->line, "%s", line);
}

static void run(struct world *w, unsigned ms)
{
    for (unsigned i = 0; i < 4 * ms; i++)
        rpc_mem_run(w->net, rpc_mem_now(w->net) + MS / 4);
}

static void set(void *user)
{
    *(bool *)user = true;
}

static void listen_as(struct world *w, const char *name)
{
    const struct rpc_server_config server = {
        .identity = {.name = name, .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE, .cluster_id = "c"}};
    assert(rpc_server_create(w->there, &server, &w->server) == 0);
    replication_service_register(&w->service, w->server);
    assert(rpc_server_listen(w->server, "mem://n2", NULL) == 0);
}

static void stop_listening(struct world *w)
{
    bool closed = false;
    rpc_server_close(w->server, set, &closed);
    run(w, 20);
    assert(closed);
    w->server = NULL;
}

static int setup(void **state)
{
    const struct rpc_mem_config net = {.latency_ns = MS / 10};
    struct world *w = calloc(1, sizeof *w);
    w->net = rpc_mem_net_create(&net);
    w->here = rpc_mem_transport_create(w->net, "here");
    w->there = rpc_mem_transport_create(w->net, "there");
    w->open = true;
    (void)snprintf(w->knows, sizeof w->knows, "n1");
    replication_service_init(&w->service, &handler, w);
    listen_as(w, "n2");
    const struct peers_config config = {.transport = w->here,
                                        .node_name = "n1",
                                        .cluster_name = "c",
                                        .list = "n2=mem://n2",
                                        .events = &events,
                                        .log = on_line,
                                        .user = w};
    assert(peers_create(&config, &w->peers, NULL) == 0);
    assert(peers_connect(w->peers, NULL) == 0);
    run(w, 20);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    bool closed = false;
    if (w->server)
        stop_listening(w);
    peers_close(w->peers, set, &closed);
    run(w, 20);
    assert(closed && list_empty(&w->service.pending));
    rpc_mem_transport_destroy(w->there);
    rpc_mem_transport_destroy(w->here);
    rpc_mem_net_destroy(w->net);
    free(w);
    return 0;
}

static struct replica_begin_msg a_begin(uint64_t stream)
{
    return (struct replica_begin_msg){.pod = id(9), .store = id(1), .stream = stream};
}

static struct replica_append_msg an_append(uint64_t seq)
{
    return (struct replica_append_msg){.pod = id(9), .store = id(1), .stream = 1, .id = {.seq = seq}};
}

static void acknowledge(struct world *w, uint64_t upto, int status)
{
    const struct uuid primary = id(1);
    const struct replica_ack_msg ack = {
        .pod = id(9), .store = id(2), .stream = 1, .end = {.seq = upto}, .status = status};
    replication_service_ack(&w->service, &primary, &ack);
    run(w, 5);
}

/* ---- */

static void hello_and_state_are_answered_at_once(void **state)
{
    struct world *w = *state;
    const struct replication_hello hello = {.node = "n1", .store = id(1), .pod = id(9)};
    const struct replica_state_msg beat = {.pod = id(9), .store = id(1), .stamp = 77};
    assert_int_equal(w->up, 1);
    assert_true(peers_connected(w->peers, 0));
    peers_hello(w->peers, 0, &hello);
    peers_state(w->peers, 0, &beat);
    run(w, 5);
    assert_int_equal(w->hellos, 1);
    assert_int_equal(w->states, 1);
}

static void a_member_that_is_silent_is_not_heard(void **state)
{
    struct world *w = *state;
    const struct replica_state_msg beat = {.pod = id(9), .store = id(1), .stamp = 77};
    w->silent = true;
    peers_state(w->peers, 0, &beat);
    run(w, 5);
    assert_int_equal(w->states, 0);
    assert_true(peers_connected(w->peers, 0));
}

static void one_acknowledgement_answers_all_it_covers(void **state)
{
    struct world *w = *state;
    const uint8_t batch[] = "a batch, as it is";
    const struct replica_begin_msg begin = a_begin(1);
    assert_true(peers_begin(w->peers, 0, &begin));
    run(w, 5);
    assert_int_equal(w->acks, 0);
    acknowledge(w, 0, 0); /* the begin */
    assert_int_equal(w->acks, 1);
    for (uint64_t seq = 1; seq <= 3; seq++) {
        const struct replica_append_msg msg = an_append(seq);
        assert_true(peers_append(w->peers, 0, &msg, batch, sizeof batch));
    }
    run(w, 5);
    assert_int_equal(w->appends, 3);
    assert_memory_equal(w->last_batch, batch, sizeof batch);
    assert_int_equal(w->acks, 1);
    acknowledge(w, 2, 0);
    assert_int_equal(w->acks, 3);
    acknowledge(w, 3, 0);
    assert_int_equal(w->acks, 4);
    assert_int_equal(w->ack.end.seq, 3);
    assert_int_equal(w->lost, 0);
}

static void the_batch_is_copied(void **state)
{
    struct world *w = *state;
    uint8_t batch[4096];
    const struct replica_append_msg msg = an_append(1);
    memset(batch, 'a', sizeof batch);
    assert_true(peers_append(w->peers, 0, &msg, batch, sizeof batch));
    memset(batch, 'b', sizeof batch);
    run(w, 5);
    assert_int_equal(w->last_bytes, sizeof batch);
    assert_int_equal(w->last_batch[0], 'a');
    assert_int_equal(w->last_batch[4095], 'a');
}

static void a_status_answers_all_that_waits(void **state)
{
    struct world *w = *state;
    for (uint64_t seq = 1; seq <= 2; seq++) {
        const struct replica_append_msg msg = an_append(seq);
        assert_true(peers_append(w->peers, 0, &msg, "x", 1));
    }
    run(w, 5);
    acknowledge(w, 0, PS_EFULL);
    assert_int_equal(w->acks, 2);
    assert_int_equal(w->ack.status, PS_EFULL);
}

static void a_refusal_is_an_answer(void **state)
{
    struct world *w = *state;
    const struct replica_begin_msg begin = a_begin(3);
    w->refuse = true;
    assert_true(peers_begin(w->peers, 0, &begin));
    run(w, 5);
    assert_int_equal(w->acks, 1);
    assert_int_equal(w->ack.status, PS_EABORTED);
    assert_int_equal(w->ack.stream, 3);
}

static void a_new_begin_ends_what_waited_of_the_former_stream_without_a_word(void **state)
{
    struct world *w = *state;
    const struct replica_append_msg msg = an_append(1);
    const struct replica_begin_msg begin = a_begin(2);
    assert_true(peers_append(w->peers, 0, &msg, "x", 1));
    run(w, 5);
    assert_true(peers_begin(w->peers, 0, &begin));
    run(w, 5);
    assert_int_equal(w->acks, 0);
    assert_int_equal(w->lost, 0);
    assert_true(w->service.pending.next == w->service.pending.prev); /* the begin alone */
    acknowledge(w, 0, 0);
    assert_int_equal(w->acks, 1); /* the new begin's */
}

static void a_lost_connection_is_told_once_and_a_refused_one_is_an_ended_process(void **state)
{
    struct world *w = *state;
    const struct replica_append_msg msg = an_append(1);
    assert_true(peers_append(w->peers, 0, &msg, "x", 1));
    run(w, 5);
    stop_listening(w);
    assert_int_equal(w->lost, 1);
    assert_int_equal(w->ended, 1);
    assert_false(peers_connected(w->peers, 0));
    run(w, 1000);
    assert_int_equal(w->ended, 1); /* said once, until it is back */
    assert_false(peers_append(w->peers, 0, &msg, "x", 1));
    listen_as(w, "n2");
    run(w, 400);
    assert_true(peers_connected(w->peers, 0));
    assert_int_equal(w->up, 2);
    stop_listening(w);
    assert_int_equal(w->ended, 2);
}

static void a_link_that_is_cut_is_no_ended_process(void **state)
{
    struct world *w = *state;
    rpc_mem_cut(w->net, "here", "there", true);
    run(w, 30000);
    assert_int_equal(w->ended, 0);
    assert_false(peers_connected(w->peers, 0));
    rpc_mem_cut(w->net, "here", "there", false);
    run(w, 6000);
    assert_true(peers_connected(w->peers, 0));
}

static void one_that_bears_another_name_is_not_spoken_with(void **state)
{
    struct world *w = *state;
    stop_listening(w);
    listen_as(w, "n3");
    run(w, 400);
    assert_false(peers_connected(w->peers, 0));
    assert_non_null(strstr(w->line, "n3, not n2"));
    assert_non_null(strstr(peers_trouble(w->peers, 0), "n3, not n2"));
    const struct replica_begin_msg begin = a_begin(1);
    assert_false(peers_begin(w->peers, 0, &begin));
    assert_int_equal(w->begins, 0);
    /* The address is asked again, as it may be given back without the other one's end. */
    struct rpc_server_stats stats;
    run(w, 10000);
    rpc_server_stats(w->server, &stats);
    assert_true(stats.connections <= 1 && stats.refused > 20);
}

static void what_is_no_node_is_not_spoken_with(void **state)
{
    const struct rpc_server_config server = {
        .identity = {.name = "n2", .role = PSTORAGE__V1__PEER_ROLE__PEER_ROLE_MEDIATOR}};
    struct world *w = *state;
    stop_listening(w);
    assert_int_equal(rpc_server_create(w->there, &server, &w->server), 0);
    replication_service_register(&w->service, w->server);
    assert_int_equal(rpc_server_listen(w->server, "mem://n2", NULL), 0);
    run(w, 400);
    assert_false(peers_connected(w->peers, 0));
    assert_string_equal(peers_trouble(w->peers, 0), "n2 at mem://n2 is no node");
    assert_string_equal(w->line, "not spoken with: n2 at mem://n2 is no node");
}

static void a_record_comes_with_its_bytes_and_a_refusal_with_its_group(void **state)
{
    struct world *w = *state;
    const struct replica_record_msg first = {.pod = id(9), .store = id(1), .epoch = 3, .group = 7};
    struct replica_record_msg second = first, answer = first;
    const struct uuid to = id(1);
    second.group = 8;
    assert_true(peers_record(w->peers, 0, &first));
    assert_true(peers_record(w->peers, 0, &second));
    run(w, 5);
    assert_int_equal(w->asked, 2);
    answer.store = id(2);
    answer.group = 8;
    replication_service_record_answer(&w->service, &to, &answer, "bytes", 5);
    run(w, 5);
    assert_int_equal(w->records, 1);
    assert_true(w->record.group == 8 && w->record.status == 0 && w->record.epoch == 3);
    assert_true(uuid_equal(&w->record.store, &answer.store));
    assert_int_equal(w->record_bytes, 5);
    assert_memory_equal(w->record_data, "bytes", 5);
    answer.group = 7;
    answer.status = PS_EDATALOSS;
    replication_service_record_answer(&w->service, &to, &answer, NULL, 0);
    run(w, 5);
    assert_int_equal(w->records, 2);
    assert_true(w->record.group == 7 && w->record.status == PS_EDATALOSS && w->record_bytes == 0);
    /* Nobody answers it: it is over all the same. */
    assert_true(peers_record(w->peers, 0, &first));
    run(w, 1100);
    assert_int_equal(w->records, 3);
    assert_true(w->record.group == 7 && w->record.status == PS_EDEADLINE);
    for (int i = 0; i < 100; i++)
        (void)peers_record(w->peers, 0, &second); /* more than may be asked at once are refused */
    assert_false(peers_record(w->peers, 0, &second));
    run(w, 1100);
    assert_int_equal(w->records, 3 + 16);
}

static void who_is_no_peer_there_is_refused(void **state)
{
    struct world *w = *state;
    const struct replica_begin_msg begin = a_begin(1);
    (void)snprintf(w->knows, sizeof w->knows, "n7");
    assert_true(peers_begin(w->peers, 0, &begin));
    run(w, 5);
    assert_int_equal(w->begins, 0);
    assert_int_equal(w->lost, 1);
}

static void a_member_that_is_not_open_yet_takes_nothing(void **state)
{
    struct world *w = *state;
    const struct replica_state_msg beat = {.pod = id(9), .store = id(1), .stamp = 77};
    w->open = false;
    peers_state(w->peers, 0, &beat);
    run(w, 5);
    assert_int_equal(w->states, 0);
    w->open = true;
    peers_state(w->peers, 0, &beat);
    run(w, 5);
    assert_int_equal(w->states, 1);
}

static void the_setting_is_read_and_what_makes_no_sense_refused(void **state)
{
    (void)state;
    static const struct {
        const char *list, *why;
    } cases[] = {
        {"n1=tcp://a:1", "this node's own name"},
        {"n2=tcp://a:1 n2=tcp://b:1", "n2 is there twice"},
        {"a=tcp://a:1 b=tcp://b:1 c=tcp://c:1 d=tcp://d:1 e=tcp://e:1", "more than 4 peers"},
    };
    struct peers_config config = {.node_name = "n1", .cluster_name = "c", .events = &events};
    struct peers *peers;
    struct ps_error err;
    bool closed = false;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        config.list = cases[i].list;
        assert_int_equal(peers_create(&config, &peers, &err), PS_EINVAL);
        assert_non_null(strstr(err.detail, cases[i].why));
    }
    config.list = "  n2=tcp://a:1 n3=ipc:///x ";
    assert_int_equal(peers_create(&config, &peers, &err), 0);
    assert_int_equal(peers_count(peers), 2);
    assert_int_equal(peers_find(peers, "n3"), 1);
    assert_string_equal(peers_address(peers, 1), "ipc:///x");
    peers_close(peers, set, &closed);
    assert_true(closed);
}

/* Both go the same way: the one that carries little notices soon, the other one would wait for 20 s. */
static void connections_without_answers_are_both_made_anew(void **state)
{
    struct world *w = *state;
    const struct replica_begin_msg begin = a_begin(1);
    assert_true(peers_begin(w->peers, 0, &begin));
    run(w, 20);
    rpc_mem_cut(w->net, "there", "here", true);
    run(w, 700);
    assert_true(peers_connected(w->peers, 0) && peers_client(w->peers, 0));
    assert_int_equal(w->lost, 0);
    run(w, 1000);
    assert_false(peers_connected(w->peers, 0));
    assert_null(peers_client(w->peers, 0));
    assert_int_equal(w->lost, 1);
    rpc_mem_cut(w->net, "there", "here", false);
    run(w, 6000);
    assert_true(peers_connected(w->peers, 0) && peers_client(w->peers, 0));
    run(w, 20000); /* the server gives up what it had */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(hello_and_state_are_answered_at_once),
        T(a_member_that_is_silent_is_not_heard),
        T(one_acknowledgement_answers_all_it_covers),
        T(the_batch_is_copied),
        T(a_status_answers_all_that_waits),
        T(a_refusal_is_an_answer),
        T(a_new_begin_ends_what_waited_of_the_former_stream_without_a_word),
        T(a_lost_connection_is_told_once_and_a_refused_one_is_an_ended_process),
        T(a_link_that_is_cut_is_no_ended_process),
        T(connections_without_answers_are_both_made_anew),
        T(one_that_bears_another_name_is_not_spoken_with),
        T(what_is_no_node_is_not_spoken_with),
        T(a_record_comes_with_its_bytes_and_a_refusal_with_its_group),
        T(who_is_no_peer_there_is_refused),
        T(a_member_that_is_not_open_yet_takes_nothing),
        cmocka_unit_test(the_setting_is_read_and_what_makes_no_sense_refused),
    };
    return cmocka_run_group_tests_name("peers", tests, NULL, NULL);
}
