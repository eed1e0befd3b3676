/* Who may speak with whom: cluster keys, clusters, names, and what both sides are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/keys.h"
#include "common/rpc/message.h"
#include "common/rpc/proof.h"
#include "pstorage/v1/volumes.pb-c.h"
#include "raw_peer.h"

#define BLUE_KEY "the blue key, 32 bytes of secret"
#define RED_KEY  "the red key, quite another secret"
#define NODE     PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE
#define MEDIATOR PSTORAGE__V1__PEER_ROLE__PEER_ROLE_MEDIATOR
#define CLIENT   PSTORAGE__V1__PEER_ROLE__PEER_ROLE_CLIENT

/* What the test's hook for the last word saw and says. */
struct admission {
    unsigned asked;
    struct rpc_peer peer;
    int status;
    const char *detail;
};
static struct admission admission;

static int admit(void *user, const struct rpc_peer *peer, struct ps_error *err)
{
    (void)user;
    admission.asked++;
    admission.peer = *peer;
    return admission.status ? ps_error_set(err, admission.status, "%s", admission.detail) : PS_OK;
}

struct side {
    struct rpc_identity identity;
    const char *keys; /* lines; NULL: none */
};

struct scene {
    struct raw raw; /* with the world */
    struct rpc_keys server_keys, client_keys;
    struct outcome outcome;
};

static void read_keys(struct rpc_keys *out, const char *lines)
{
    rpc_keys_clear(out);
    if (lines)
        assert_int_equal(rpc_keys_parse(out, lines, strlen(lines), NULL), PS_OK);
}

static void serve(struct scene *s, const struct side *server)
{
    read_keys(&s->server_keys, server->keys);
    const struct rpc_server_config config = {
        .identity = server->identity, .keys = &s->server_keys, .admit = admit};
    world_serve(&s->raw.world, &config);
}

/* Puts the two in front of each other and lets the client call. */
static void meet(struct scene *s, const struct side *server, const struct side *client)
{
    struct rpc_world *w = &s->raw.world;
    if (w->client)
        world_stop_client(w);
    if (w->server)
        world_stop_server(w);
    serve(s, server);
    read_keys(&s->client_keys, client->keys);
    struct rpc_identity identity = client->identity;
    if (!identity.name)
        identity.name = "tester";
    if (!identity.role)
        identity.role = CLIENT;
    w->log[0] = w->client_log[0] = '\0';
    w->service.created = 0;
    memset(&s->outcome, 0, sizeof s->outcome);
    world_connect_as(w, WORLD_ENDPOINT, &identity, &s->client_keys);
    assert_int_equal(call_create(w, &s->outcome, "v"), PS_OK);
    world_run(w, 30 * MS);
    assert_int_equal(s->outcome.answers, 1);
}

static void expect_friends(struct scene *s)
{
    if (s->outcome.status)
        fail_msg("refused: %s", s->outcome.detail);
    assert_int_equal(s->raw.world.service.created, 1);
    assert_non_null(rpc_client_peer(s->raw.world.client));
}

/* Both sides say the sentence, and no call came through. */
static void expect_refused(struct scene *s, int status, const char *sentence)
{
    const struct rpc_world *w = &s->raw.world;
    assert_int_equal(s->outcome.status, status);
    assert_int_equal(w->service.created, 0);
    if (!strstr(s->outcome.detail, sentence))
        fail_msg("the caller is told: %s", s->outcome.detail);
    if (!strstr(w->client_log, sentence))
        fail_msg("the client logs: %s", w->client_log);
    if (!strstr(w->log, sentence))
        fail_msg("the server logs: %s", w->log);
    assert_null(rpc_client_peer(w->client));
}

static int setup_with(void **state, bool remote)
{
    struct scene *s = calloc(1, sizeof *s);
    const struct rpc_mem_config net = {.latency_ns = MS, .remote = remote};
    admission = (struct admission){0};
    world_open(&s->raw.world, &net, NULL);
    world_stop_client(&s->raw.world);
    world_stop_server(&s->raw.world);
    *state = s;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, false);
}

static int setup_remote(void **state)
{
    return setup_with(state, true);
}

static int teardown(void **state)
{
    struct scene *s = *state;
    if (s->raw.world.client)
        world_stop_client(&s->raw.world);
    if (s->raw.link)
        s->raw.link->ops->close(s->raw.link);
    if (s->raw.listener.accepted)
        s->raw.world.node->ops->unlisten(s->raw.world.node, &s->raw.listener);
    raw_run(&s->raw, 10 * MS);
    world_close(&s->raw.world);
    rpc_keys_clear(&s->server_keys);
    rpc_keys_clear(&s->client_keys);
    free(s);
    return 0;
}

static const struct side blue_node = {{"node-a", NODE, "blue"}, BLUE_KEY};
static const struct side open_node = {{"node-a", NODE, "blue"}, NULL};

/* ---- two honest sides */

static void the_same_key_opens_to_both_from_another_machine(void **state)
{
    struct scene *s = *state;
    meet(s, &blue_node, &(struct side){.keys = BLUE_KEY});
    expect_friends(s);
    assert_true(rpc_client_peer(s->raw.world.client)->authenticated);
    assert_int_equal(admission.asked, 1);
    assert_true(admission.peer.authenticated);
    assert_string_equal(admission.peer.name, "tester");
}

static void without_keys_the_same_machine_is_enough(void **state)
{
    struct scene *s = *state;
    meet(s, &open_node, &(struct side){.keys = NULL});
    expect_friends(s);
    assert_false(admission.peer.authenticated);
    assert_false(rpc_client_peer(s->raw.world.client)->authenticated);
}

static void without_keys_another_machine_is_refused(void **state)
{
    struct scene *s = *state;
    meet(s, &open_node, &(struct side){.keys = NULL});
    expect_refused(s, PS_EUNAUTHENTICATED,
                   "without a cluster key only clients on the server's machine are accepted: set "
                   "PSTORAGE_CLUSTER_KEY_FILE on both sides");
    assert_int_equal(admission.asked, 0);
}

static void a_client_without_a_key_is_told_what_the_cluster_needs(void **state)
{
    struct scene *s = *state;
    meet(s, &blue_node, &(struct side){.keys = NULL});
    expect_refused(s, PS_EUNAUTHENTICATED, "this cluster needs a key: set PSTORAGE_CLUSTER_KEY_FILE");
    assert_non_null(strstr(s->raw.world.log, "from a peer that calls itself tester (host)"));
    assert_int_equal(admission.asked, 0);
}

static void a_client_with_another_key_is_told_so(void **state)
{
    struct scene *s = *state;
    meet(s, &blue_node, &(struct side){.keys = RED_KEY});
    expect_refused(s, PS_EUNAUTHENTICATED, "the client's cluster key is not the server's");
    assert_int_equal(admission.asked, 0);
}

static void a_client_with_a_key_meets_no_server_without_one(void **state)
{
    struct scene *s = *state;
    meet(s, &open_node, &(struct side){.keys = BLUE_KEY});
    expect_refused(s, PS_EUNAUTHENTICATED, "the client has a cluster key, and the server has none");
}

static void another_cluster_is_refused_by_its_name(void **state)
{
    struct scene *s = *state;
    meet(s, &blue_node, &(struct side){{"node-b", NODE, "red"}, BLUE_KEY});
    expect_refused(s, PS_EPERM,
                   "the server is of cluster blue, the client of cluster red: PSTORAGE_CLUSTER_NAME");
    meet(s, &blue_node, &(struct side){{.cluster_id = "red"}, BLUE_KEY});
    expect_refused(s, PS_EPERM,
                   "the server is of cluster blue, the client of cluster red: PSTORAGE_CLUSTER_NAME");
}

static void a_node_must_name_its_cluster_and_a_client_need_not(void **state)
{
    struct scene *s = *state;
    meet(s, &blue_node, &(struct side){{"node-b", NODE, NULL}, BLUE_KEY});
    expect_refused(s, PS_EPERM,
                   "the client is a node or mediator and names no cluster: PSTORAGE_CLUSTER_NAME");
    meet(s, &blue_node, &(struct side){{"node-b", NODE, "blue"}, BLUE_KEY});
    expect_friends(s);
    meet(s, &blue_node, &(struct side){.keys = BLUE_KEY});
    expect_friends(s);
}

static void two_nodes_of_one_name_part(void **state)
{
    struct scene *s = *state;
    meet(s, &blue_node, &(struct side){{"node-a", NODE, "blue"}, BLUE_KEY});
    expect_refused(s, PS_EEXISTS, "two nodes are called node-a: give each a PSTORAGE_NODE_NAME of its own");
    /* A client may be called as it likes. */
    meet(s, &blue_node, &(struct side){{"node-a", CLIENT, NULL}, BLUE_KEY});
    expect_friends(s);
}

static void the_owner_of_the_server_has_the_last_word(void **state)
{
    struct scene *s = *state;
    admission =
        (struct admission){.status = PS_EPRECONDITION, .detail = "node-b was removed from this cluster"};
    meet(s, &blue_node, &(struct side){{"node-b", NODE, "blue"}, BLUE_KEY});
    expect_refused(s, PS_EPRECONDITION, "node-b was removed from this cluster");
    meet(s, &open_node, &(struct side){{"node-b", NODE, "blue"}, NULL});
    expect_refused(s, PS_EPRECONDITION, "node-b was removed from this cluster");
    assert_int_equal(s->raw.world.service.disconnected, 0);
}

static void a_mediator_serves_each_cluster_by_its_own_key(void **state)
{
    struct scene *s = *state;
    const struct side mediator = {{"witness", MEDIATOR, NULL}, "blue:" BLUE_KEY "\nred:" RED_KEY "\n"};
    meet(s, &mediator, &(struct side){{"node-a", NODE, "blue"}, BLUE_KEY});
    expect_friends(s);
    assert_string_equal(rpc_client_peer(s->raw.world.client)->cluster_id, "blue");
    assert_string_equal(admission.peer.cluster_id, "blue");
    meet(s, &mediator, &(struct side){{"node-a", NODE, "red"}, RED_KEY});
    expect_friends(s);
    assert_string_equal(admission.peer.cluster_id, "red");
    /* The key of one is good for nothing in the other's name. */
    meet(s, &mediator, &(struct side){{"node-a", NODE, "red"}, BLUE_KEY});
    expect_refused(s, PS_EUNAUTHENTICATED, "the client's cluster key is not the server's");
    meet(s, &mediator, &(struct side){{"node-a", NODE, "green"}, BLUE_KEY});
    expect_refused(
        s, PS_EUNAUTHENTICATED,
        "the server knows no key of cluster green: its PSTORAGE_CLUSTER_KEY_FILE needs a line green:KEY");
    /* Who names no cluster is of that whose key it has. */
    meet(s, &mediator, &(struct side){.keys = RED_KEY});
    expect_friends(s);
    assert_string_equal(admission.peer.cluster_id, "red");
}

static void a_server_of_another_name_than_is_wanted_is_not_spoken_with(void **state)
{
    const struct side clients[] = {{{"node-b", NODE, "blue"}, BLUE_KEY}, {{"node-b", NODE, "blue"}, NULL}};
    struct scene *s = *state;
    struct rpc_world *w = &s->raw.world;
    struct rpc_server_stats stats;
    for (int keyless = 0; keyless < 2; keyless++) {
        struct side server = keyless ? open_node : blue_node;
        w->server_name = "node-a";
        meet(s, &server, &clients[keyless]);
        expect_friends(s);
        w->server_name = "node-c";
        meet(s, &server, &clients[keyless]);
        expect_refused(s, PS_EPERM, "this is node-a, not node-c as the client expects");
        /* It is asked for again, until it is there. */
        world_run(w, 10 * SECOND);
        rpc_server_stats(w->server, &stats);
        assert_true(stats.refused > 4);
        assert_int_equal(stats.connections, 0);
        world_stop_server(w);
        server.identity.name = "node-c";
        serve(s, &server);
        world_run(w, 5 * SECOND);
        assert_non_null(rpc_client_peer(w->client));
        assert_string_equal(rpc_client_peer(w->client)->name, "node-c");
    }
    w->server_name = NULL;
}

static void a_refusal_is_logged_once_a_minute(void **state)
{
    struct scene *s = *state;
    struct rpc_world *w = &s->raw.world;
    meet(s, &blue_node, &(struct side){.keys = RED_KEY});
    world_run(w, 50 * SECOND);
    struct rpc_server_stats stats;
    rpc_server_stats(w->server, &stats);
    assert_true(stats.refused > 20);
    assert_int_equal(w->log_lines, 1);
    assert_int_equal(w->client_log_lines, 1);
    assert_null(strstr(w->log, "not shown"));
    world_run(w, 20 * SECOND);
    assert_int_equal(w->log_lines, 2);
    assert_int_equal(w->client_log_lines, 2);
    assert_non_null(strstr(w->log, "such lines not shown"));
}

static void a_client_whose_keys_are_all_of_other_clusters_does_not_start(void **state)
{
    struct scene *s = *state;
    struct ps_error err;
    struct rpc_client *client;
    serve(s, &open_node);
    read_keys(&s->client_keys, "blue:" BLUE_KEY "\nred:" RED_KEY);
    const struct rpc_client_config config = {
        .endpoint = WORLD_ENDPOINT, .identity = {.cluster_id = "green"}, .keys = &s->client_keys};
    assert_int_equal(rpc_client_connect(s->raw.world.host, &config, &client, &err), PS_EUNAUTHENTICATED);
    assert_non_null(strstr(err.detail, "no key for cluster \"green\""));
}

static void a_server_without_a_key_listens_on_this_machine_alone(void **state)
{
    struct scene *s = *state;
    static const char *const here[] = {"tcp://127.0.0.1:9500", "tcp://127.255.0.9:1", "tcp://[::1]:9500",
                                       "tcp://localhost:9500", "ipc:///run/x"},
                             *const elsewhere[] = {"tcp://0.0.0.0:9500",   "tcp://[::]:9500",
                                                   "tcp://:9500",          "tcp://192.168.1.1:9500",
                                                   "tcp://128.0.0.1:9500", "tcp://127.0.0.1.example:9500",
                                                   "tcp://127.1:9500",     "tcp://1270.0.0.1:9500",
                                                   "tcp://array:9500",     "tcp://127.0.0.256:1",
                                                   "tcp://127.0.0.1.2:1"};
    serve(s, &open_node);
    for (size_t i = 0; i < sizeof here / sizeof here[0]; i++)
        assert_int_equal(rpc_keys_check_listen(&s->server_keys, here[i], NULL), PS_OK);
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
        struct ps_error err = {0};
        if (rpc_server_listen(s->raw.world.server, elsewhere[i], &err) != PS_EUNAUTHENTICATED)
            fail_msg("listens on %s", elsewhere[i]);
        assert_non_null(strstr(err.detail, "set PSTORAGE_CLUSTER_KEY_FILE, or listen on 127.0.0.1"));
    }
    read_keys(&s->server_keys, BLUE_KEY);
    assert_int_equal(rpc_keys_check_listen(&s->server_keys, "tcp://0.0.0.0:9500", NULL), PS_OK);
}

/* ---- a client that breaks the rules, before a server with a key */

static void send_message(struct raw *r, const ProtobufCMessage *message)
{
    uint8_t body[512];
    const size_t length = protobuf_c_message_pack(message, body);
    raw_send_frame(r, (struct rpc_frame){.kind = RPC_GREETING, .body_bytes = (uint32_t)length}, body, NULL);
}

static uint8_t hello_nonce[RPC_NONCE_BYTES] = "a nonce that never changes";

static void fill_hello(struct scene *s, Pstorage__V1__Hello *hello)
{
    static char mallory[] = "mallory", none[] = "";
    read_keys(&s->client_keys, BLUE_KEY);
    pstorage__v1__hello__init(hello);
    hello->protocol_min = hello->protocol_max = RPC_PROTOCOL;
    hello->name = mallory;
    hello->cluster_id = none;
    hello->role = CLIENT;
    hello->key_id = s->client_keys.list[0].id;
    hello->nonce = (ProtobufCBinaryData){sizeof hello_nonce, hello_nonce};
}

/* Sends Hello and takes the Welcome out of the answer; free it. */
static Pstorage__V1__Welcome *say_hello(struct scene *s, const Pstorage__V1__Hello *hello)
{
    if (!s->raw.world.server)
        serve(s, &blue_node);
    raw_dial(&s->raw);
    send_message(&s->raw, &hello->base);
    const struct rpc_frame frame = raw_reply(&s->raw, 0);
    assert_int_equal(frame.kind, RPC_GREETING);
    assert_int_equal(frame.status, PS_OK);
    Pstorage__V1__Welcome *welcome =
        pstorage__v1__welcome__unpack(NULL, frame.body_bytes, raw_reply_body(&s->raw, 0));
    assert_non_null(welcome);
    s->raw.in_bytes = 0;
    return welcome;
}

static void send_proof(struct scene *s, const void *proof, size_t length)
{
    Pstorage__V1__Proof message = PSTORAGE__V1__PROOF__INIT;
    message.proof = (ProtobufCBinaryData){length, (uint8_t *)(uintptr_t)proof};
    send_message(&s->raw, &message.base);
}

static void send_create(struct scene *s)
{
    const struct rpc_frame frame = {.kind = RPC_REQUEST,
                                    .call_id = 1,
                                    .method_id = rpc_method_id(&pstorage__v1__volumes__descriptor, "Create"),
                                    .timeout_ns = RPC_TIMEOUT_NONE};
    raw_send_frame(&s->raw, frame, NULL, NULL);
}

static void expect_turned_away(struct scene *s, int status, const char *sentence)
{
    assert_int_equal(raw_reply(&s->raw, 0).kind, RPC_GREETING);
    assert_int_equal(raw_reply(&s->raw, 0).status, status);
    raw_run(&s->raw, 2 * SECOND);
    assert_true(s->raw.lost);
    if (!strstr(s->raw.world.log, sentence))
        fail_msg("logged: %s", s->raw.world.log);
    assert_int_equal(s->raw.world.service.created, 0);
    assert_int_equal(admission.asked, 0);
    s->raw.link->ops->close(s->raw.link);
    raw_run(&s->raw, 10 * MS);
    s->raw.world.log[0] = '\0';
}

static const char wrong_proof[] = "the client's proof is wrong: it does not know the cluster key";

/* A right proof by hand: what the tests below vary. */
static void a_right_proof_is_accepted(void **state)
{
    struct scene *s = *state;
    Pstorage__V1__Hello hello;
    uint8_t proof[RPC_PROOF_BYTES];
    fill_hello(s, &hello);
    Pstorage__V1__Welcome *welcome = say_hello(s, &hello);
    assert_true(rpc_proof_make(&s->client_keys.list[0], RPC_PROVES_SERVER, &hello, welcome, proof));
    assert_true(rpc_proof_is(proof, &welcome->proof));
    assert_true(rpc_proof_make(&s->client_keys.list[0], RPC_PROVES_CLIENT, &hello, welcome, proof));
    send_proof(s, proof, sizeof proof);
    assert_int_equal(raw_reply(&s->raw, 0).status, PS_OK);
    assert_int_equal(raw_reply(&s->raw, 0).kind, RPC_GREETING);
    s->raw.in_bytes = 0;
    send_create(s);
    assert_int_equal(raw_reply(&s->raw, 0).kind, RPC_RESPONSE);
    assert_int_equal(s->raw.world.service.created, 1);
    /* Once is enough. */
    send_proof(s, proof, sizeof proof);
    assert_int_equal(raw_reply(&s->raw, 1).kind, RPC_GOODBYE);
    raw_run(&s->raw, 2 * SECOND);
    assert_non_null(strstr(s->raw.world.log, "an unexpected greeting"));
    pstorage__v1__welcome__free_unpacked(welcome, NULL);
}

static void a_call_before_the_proof_is_never_carried_out(void **state)
{
    struct scene *s = *state;
    Pstorage__V1__Hello hello;
    fill_hello(s, &hello);
    pstorage__v1__welcome__free_unpacked(say_hello(s, &hello), NULL);
    send_create(s);
    expect_turned_away(s, PS_EPROTOCOL, "a frame of kind 2 before the proof of the cluster key");
}

static void a_proof_is_good_for_one_connection(void **state)
{
    struct scene *s = *state;
    Pstorage__V1__Hello hello;
    uint8_t proof[RPC_PROOF_BYTES];
    fill_hello(s, &hello);
    Pstorage__V1__Welcome *welcome = say_hello(s, &hello);
    assert_true(rpc_proof_make(&s->client_keys.list[0], RPC_PROVES_CLIENT, &hello, welcome, proof));
    pstorage__v1__welcome__free_unpacked(welcome, NULL);
    send_proof(s, proof, sizeof proof);
    assert_int_equal(admission.asked, 1);
    s->raw.link->ops->close(s->raw.link);
    raw_run(&s->raw, 10 * MS);
    admission.asked = 0;
    /* The same bytes once more. */
    pstorage__v1__welcome__free_unpacked(say_hello(s, &hello), NULL);
    send_proof(s, proof, sizeof proof);
    expect_turned_away(s, PS_EUNAUTHENTICATED, wrong_proof);
}

static void the_servers_own_proof_is_not_the_clients(void **state)
{
    struct scene *s = *state;
    Pstorage__V1__Hello hello;
    fill_hello(s, &hello);
    Pstorage__V1__Welcome *welcome = say_hello(s, &hello);
    send_proof(s, welcome->proof.data, welcome->proof.len);
    pstorage__v1__welcome__free_unpacked(welcome, NULL);
    expect_turned_away(s, PS_EUNAUTHENTICATED, wrong_proof);
}

static void a_proof_of_another_length_is_wrong(void **state)
{
    struct scene *s = *state;
    static const size_t lengths[] = {0, 1, RPC_PROOF_BYTES - 1, RPC_PROOF_BYTES + 1};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        Pstorage__V1__Hello hello;
        uint8_t proof[RPC_PROOF_BYTES + 1] = {0};
        fill_hello(s, &hello);
        Pstorage__V1__Welcome *welcome = say_hello(s, &hello);
        assert_true(rpc_proof_make(&s->client_keys.list[0], RPC_PROVES_CLIENT, &hello, welcome, proof));
        pstorage__v1__welcome__free_unpacked(welcome, NULL);
        send_proof(s, proof, lengths[i]);
        assert_int_equal(raw_reply(&s->raw, 0).status, PS_EUNAUTHENTICATED);
        raw_run(&s->raw, 2 * SECOND);
        assert_int_equal(admission.asked, 0);
        s->raw.link->ops->close(s->raw.link);
        raw_run(&s->raw, 10 * MS);
    }
}

/* Each field of both greetings, changed on the way: whoever did that is found out. */
static void a_proof_holds_for_these_two_greetings_alone(void **state)
{
    struct scene *s = *state;
    enum {
        FIELDS = 16
    };
    for (int field = 0; field < FIELDS; field++) {
        Pstorage__V1__Hello hello, said;
        uint8_t proof[RPC_PROOF_BYTES], nonce[RPC_NONCE_BYTES] = {7};
        char other[] = "x";
        fill_hello(s, &hello);
        Pstorage__V1__Welcome *real = say_hello(s, &hello), changed = *real;
        said = hello;
        char **const texts[] = {&said.name,    &said.software,    &said.cluster_id,    &said.key_id,
                                &changed.name, &changed.software, &changed.cluster_id, &changed.key_id};
        uint32_t *const numbers[] = {&said.protocol_min, &said.protocol_max, &changed.protocol,
                                     &changed.max_calls};
        if (field < 8)
            *texts[field] = other;
        else if (field < 12)
            ++*numbers[field - 8];
        else if (field == 12)
            said.role = NODE;
        else if (field == 13)
            changed.role = CLIENT;
        else if (field == 14)
            said.nonce.data = nonce;
        else
            changed.nonce.data = nonce;
        assert_true(rpc_proof_make(&s->client_keys.list[0], RPC_PROVES_CLIENT, &said, &changed, proof));
        pstorage__v1__welcome__free_unpacked(real, NULL);
        send_proof(s, proof, sizeof proof);
        if (raw_reply(&s->raw, 0).status != PS_EUNAUTHENTICATED)
            fail_msg("field %d is not part of the proof", field);
        assert_int_equal(admission.asked, 0);
        raw_run(&s->raw, 2 * SECOND);
        s->raw.link->ops->close(s->raw.link);
        raw_run(&s->raw, 10 * MS);
    }
}

static void names_that_run_into_each_other_are_told_apart(void **state)
{
    struct scene *s = *state;
    Pstorage__V1__Hello hello;
    Pstorage__V1__Welcome welcome = PSTORAGE__V1__WELCOME__INIT;
    uint8_t one[RPC_PROOF_BYTES], two[RPC_PROOF_BYTES];
    char ab[] = "ab", c[] = "c", a[] = "a", bc[] = "bc";
    fill_hello(s, &hello);
    hello.software = ab;
    hello.cluster_id = c;
    assert_true(rpc_proof_make(&s->client_keys.list[0], RPC_PROVES_CLIENT, &hello, &welcome, one));
    hello.software = a;
    hello.cluster_id = bc;
    assert_true(rpc_proof_make(&s->client_keys.list[0], RPC_PROVES_CLIENT, &hello, &welcome, two));
    assert_memory_not_equal(one, two, sizeof one);
}

static void a_second_hello_is_no_proof(void **state)
{
    struct scene *s = *state;
    Pstorage__V1__Hello hello;
    fill_hello(s, &hello);
    pstorage__v1__welcome__free_unpacked(say_hello(s, &hello), NULL);
    send_message(&s->raw, &hello.base);
    assert_int_not_equal(raw_reply(&s->raw, 0).status, PS_OK);
    raw_run(&s->raw, 2 * SECOND);
    assert_true(s->raw.lost);
    assert_int_equal(admission.asked, 0);
}

/* Its sentence is in the server's log, so that a person finds it on either side. */
static void the_server_hears_why_a_client_refuses_it(void **state)
{
    struct scene *s = *state;
    Pstorage__V1__Hello hello;
    Pstorage__V1__Failure failure = PSTORAGE__V1__FAILURE__INIT;
    static char why[] = "the server's proof is wrong";
    uint8_t body[64];
    failure.detail = why;
    fill_hello(s, &hello);
    pstorage__v1__welcome__free_unpacked(say_hello(s, &hello), NULL);
    const size_t length = protobuf_c_message_pack(&failure.base, body);
    raw_send_frame(&s->raw,
                   (struct rpc_frame){
                       .kind = RPC_GREETING, .status = PS_EUNAUTHENTICATED, .body_bytes = (uint32_t)length},
                   body, NULL);
    assert_true(s->raw.lost);
    assert_non_null(strstr(s->raw.world.log,
                           "from a peer that calls itself mallory (host) closed: not "
                           "authenticated: the client refuses: the server's proof is wrong"));
    assert_int_equal(admission.asked, 0);
}

static void who_does_not_prove_itself_is_dropped_in_time(void **state)
{
    struct scene *s = *state;
    Pstorage__V1__Hello hello;
    fill_hello(s, &hello);
    pstorage__v1__welcome__free_unpacked(say_hello(s, &hello), NULL);
    raw_run(&s->raw, 4 * SECOND);
    assert_false(s->raw.lost);
    raw_run(&s->raw, 2 * SECOND);
    assert_true(s->raw.lost);
    assert_non_null(strstr(s->raw.world.log, "no greeting in time"));
}

static void a_nonce_or_key_id_of_another_length_is_refused(void **state)
{
    struct scene *s = *state;
    serve(s, &blue_node);
    for (int i = 0; i < 3; i++) {
        Pstorage__V1__Hello hello;
        char half[] = "01234567";
        fill_hello(s, &hello);
        if (i == 0)
            hello.nonce.len--;
        else if (i == 1)
            hello.nonce.len = 0;
        else
            hello.key_id = half;
        raw_dial(&s->raw);
        send_message(&s->raw, &hello.base);
        assert_int_equal(raw_reply(&s->raw, 0).status, PS_EPROTOCOL);
        raw_run(&s->raw, 2 * SECOND);
        s->raw.link->ops->close(s->raw.link);
        raw_run(&s->raw, 10 * MS);
    }
    assert_non_null(strstr(s->raw.world.log, "key id or nonce in the greeting has a wrong length"));
}

static void a_stranger_gets_no_memory_for_more_than_a_greeting(void **state)
{
    struct scene *s = *state;
    static const uint8_t body[RPC_GREETING_MAX + 1];
    uint8_t bytes[RPC_FRAME_BYTES + sizeof body];
    serve(s, &blue_node);
    raw_dial(&s->raw);
    /* The header alone decides. */
    (void)raw_build(bytes, (struct rpc_frame){.kind = RPC_GREETING, .body_bytes = sizeof body}, body, NULL);
    raw_send_bytes(&s->raw, bytes, RPC_FRAME_BYTES);
    expect_turned_away(s, PS_EPROTOCOL, "a frame before the greetings are done is longer than 4096 bytes");
}

/* ---- a server that breaks the rules, before a client with a key */

static uint8_t welcome_nonce[RPC_NONCE_BYTES] = "the nonce of an evil server";

/* The client's Hello arrived; `welcome` is what a server with the right key would answer, but for the proof.
 */
static Pstorage__V1__Hello *hear_hello(struct scene *s, Pstorage__V1__Welcome *welcome)
{
    static char evil[] = "evil";
    serve(s, &blue_node); /* only so that the scene ends as the others do */
    read_keys(&s->client_keys, BLUE_KEY);
    raw_listen(&s->raw);
    world_connect_as(&s->raw.world, RAW_ENDPOINT, &(struct rpc_identity){"tester", CLIENT, NULL},
                     &s->client_keys);
    assert_int_equal(call_create(&s->raw.world, &s->outcome, "v"), PS_OK);
    raw_run(&s->raw, 10 * MS);
    const struct rpc_frame frame = raw_reply(&s->raw, 0);
    Pstorage__V1__Hello *hello =
        pstorage__v1__hello__unpack(NULL, frame.body_bytes, raw_reply_body(&s->raw, 0));
    assert_non_null(hello);
    assert_int_equal(hello->nonce.len, RPC_NONCE_BYTES);
    s->raw.in_bytes = 0;
    pstorage__v1__welcome__init(welcome);
    welcome->protocol = RPC_PROTOCOL;
    welcome->max_calls = 16;
    welcome->name = evil;
    welcome->role = NODE;
    welcome->key_id = s->client_keys.list[0].id;
    welcome->nonce = (ProtobufCBinaryData){sizeof welcome_nonce, welcome_nonce};
    return hello;
}

/* The caller and the server are told; nothing but the refusal left the client. */
static void expect_server_refused(struct scene *s, int status, const char *sentence)
{
    raw_run(&s->raw, 20 * MS);
    assert_int_equal(s->outcome.answers, 1);
    assert_int_equal(s->outcome.status, status);
    if (!strstr(s->outcome.detail, sentence))
        fail_msg("the caller is told: %s", s->outcome.detail);
    const struct rpc_frame frame = raw_reply(&s->raw, 0);
    assert_int_equal(frame.kind, RPC_GREETING);
    assert_int_equal(frame.status, status);
    assert_int_equal(s->raw.in_bytes, RPC_FRAME_BYTES + frame.body_bytes);
    Pstorage__V1__Failure *failure =
        pstorage__v1__failure__unpack(NULL, frame.body_bytes, raw_reply_body(&s->raw, 0));
    assert_non_null(strstr(failure->detail, sentence));
    pstorage__v1__failure__free_unpacked(failure, NULL);
}

static void a_server_that_proves_itself_gets_the_clients_proof_before_any_call(void **state)
{
    struct scene *s = *state;
    Pstorage__V1__Welcome welcome;
    uint8_t proof[RPC_PROOF_BYTES], expected[RPC_PROOF_BYTES];
    Pstorage__V1__Hello *hello = hear_hello(s, &welcome);
    assert_true(rpc_proof_make(&s->client_keys.list[0], RPC_PROVES_SERVER, hello, &welcome, proof));
    assert_true(rpc_proof_make(&s->client_keys.list[0], RPC_PROVES_CLIENT, hello, &welcome, expected));
    welcome.proof = (ProtobufCBinaryData){sizeof proof, proof};
    send_message(&s->raw, &welcome.base);
    const struct rpc_frame frame = raw_reply(&s->raw, 0);
    assert_int_equal(frame.status, PS_OK);
    assert_int_equal(s->raw.in_bytes, RPC_FRAME_BYTES + frame.body_bytes); /* the call waits */
    assert_null(rpc_client_peer(s->raw.world.client));
    Pstorage__V1__Proof *given =
        pstorage__v1__proof__unpack(NULL, frame.body_bytes, raw_reply_body(&s->raw, 0));
    assert_true(rpc_proof_is(expected, &given->proof));
    pstorage__v1__proof__free_unpacked(given, NULL);
    s->raw.in_bytes = 0;
    const Pstorage__V1__Accepted accepted = PSTORAGE__V1__ACCEPTED__INIT;
    send_message(&s->raw, &accepted.base);
    assert_non_null(rpc_client_peer(s->raw.world.client));
    assert_int_equal(raw_reply(&s->raw, 0).kind, RPC_REQUEST);
    pstorage__v1__hello__free_unpacked(hello, NULL);
}

static void a_server_that_offers_no_key_is_no_way_around_it(void **state)
{
    struct scene *s = *state;
    Pstorage__V1__Welcome welcome;
    pstorage__v1__hello__free_unpacked(hear_hello(s, &welcome), NULL);
    static char none[] = "";
    welcome.key_id = none;
    welcome.nonce.len = 0;
    send_message(&s->raw, &welcome.base);
    expect_server_refused(s, PS_EUNAUTHENTICATED, "the server has no cluster key, and the client has one");
}

static void a_server_with_a_wrong_proof_is_refused(void **state)
{
    struct scene *s = *state;
    Pstorage__V1__Welcome welcome;
    uint8_t proof[RPC_PROOF_BYTES];
    Pstorage__V1__Hello *hello = hear_hello(s, &welcome);
    assert_true(rpc_proof_make(&s->client_keys.list[0], RPC_PROVES_SERVER, hello, &welcome, proof));
    proof[RPC_PROOF_BYTES - 1] ^= 1;
    welcome.proof = (ProtobufCBinaryData){sizeof proof, proof};
    send_message(&s->raw, &welcome.base);
    expect_server_refused(s, PS_EUNAUTHENTICATED,
                          "the server's proof is wrong: it does not know the cluster key");
    pstorage__v1__hello__free_unpacked(hello, NULL);
}

static void a_server_without_a_proof_is_refused(void **state)
{
    struct scene *s = *state;
    Pstorage__V1__Welcome welcome;
    pstorage__v1__hello__free_unpacked(hear_hello(s, &welcome), NULL);
    send_message(&s->raw, &welcome.base);
    expect_server_refused(s, PS_EUNAUTHENTICATED, "the server's proof is wrong");
}

static void a_server_with_another_key_is_refused(void **state)
{
    struct scene *s = *state;
    Pstorage__V1__Welcome welcome;
    static char id[] = "0123456789abcdef";
    pstorage__v1__hello__free_unpacked(hear_hello(s, &welcome), NULL);
    welcome.key_id = id;
    send_message(&s->raw, &welcome.base);
    expect_server_refused(s, PS_EUNAUTHENTICATED, "the server's cluster key is not the client's");
}

static void a_server_that_gives_a_key_to_a_client_without_one_is_refused(void **state)
{
    struct scene *s = *state;
    Pstorage__V1__Welcome welcome = PSTORAGE__V1__WELCOME__INIT;
    static char id[] = "0123456789abcdef";
    serve(s, &open_node);
    raw_listen(&s->raw);
    world_connect(&s->raw.world, RAW_ENDPOINT);
    assert_int_equal(call_create(&s->raw.world, &s->outcome, "v"), PS_OK);
    raw_run(&s->raw, 10 * MS);
    s->raw.in_bytes = 0;
    welcome.protocol = RPC_PROTOCOL;
    welcome.max_calls = 16;
    welcome.key_id = id;
    welcome.nonce = (ProtobufCBinaryData){sizeof welcome_nonce, welcome_nonce};
    send_message(&s->raw, &welcome.base);
    expect_server_refused(s, PS_EUNAUTHENTICATED, "the client has no key, and this cluster needs a key");
}

static void a_server_far_away_needs_a_key_even_if_it_asks_for_none(void **state)
{
    struct scene *s = *state;
    static const uint8_t body[] = {0x08, 1, 0x30, 16}; /* protocol 1, 16 calls */
    serve(s, &open_node);
    raw_listen(&s->raw);
    world_connect(&s->raw.world, RAW_ENDPOINT);
    assert_int_equal(call_create(&s->raw.world, &s->outcome, "v"), PS_OK);
    raw_run(&s->raw, 10 * MS);
    s->raw.in_bytes = 0;
    raw_send_frame(&s->raw, (struct rpc_frame){.kind = RPC_GREETING, .body_bytes = sizeof body}, body, NULL);
    expect_server_refused(s, PS_EUNAUTHENTICATED,
                          "without a cluster key only servers on the client's machine are trusted");
}

static void nonces_are_never_used_twice(void **state)
{
    struct scene *s = *state;
    Pstorage__V1__Hello hello;
    uint8_t seen[8][RPC_NONCE_BYTES];
    fill_hello(s, &hello);
    for (size_t i = 0; i < 8; i++) {
        Pstorage__V1__Welcome *welcome = say_hello(s, &hello);
        memcpy(seen[i], welcome->nonce.data, RPC_NONCE_BYTES);
        pstorage__v1__welcome__free_unpacked(welcome, NULL);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(seen[i], seen[k], RPC_NONCE_BYTES);
        s->raw.link->ops->close(s->raw.link);
        raw_run(&s->raw, 10 * MS);
    }
}

/* ---- the keys themselves */

static void keys_are_found_by_their_cluster(void **state)
{
    (void)state;
    struct rpc_keys keys = {0};
    static const char lines[] = "# of two clusters and all others\r\n\nblue:" BLUE_KEY "\r\nred:" RED_KEY
                                "\nany other key, and long enough\n";
    assert_int_equal(rpc_keys_parse(&keys, lines, sizeof lines - 1, NULL), PS_OK);
    assert_int_equal(keys.count, 3);
    assert_string_equal(rpc_keys_find(&keys, "blue")->secret, BLUE_KEY);
    assert_string_equal(rpc_keys_find(&keys, "red")->secret, RED_KEY);
    assert_string_equal(rpc_keys_find(&keys, "green")->secret, "any other key, and long enough");
    assert_string_equal(rpc_keys_find(&keys, "")->secret, "any other key, and long enough");
    assert_ptr_equal(rpc_keys_find_id(&keys, keys.list[1].id), &keys.list[1]);
    assert_null(rpc_keys_find_id(&keys, "0123456789abcdef"));
    rpc_keys_clear(&keys);
    assert_int_equal(rpc_keys_parse(&keys, "blue:" BLUE_KEY, strlen("blue:" BLUE_KEY), NULL), PS_OK);
    assert_null(rpc_keys_find(&keys, "red"));
    assert_non_null(rpc_keys_find(&keys, "")); /* the only one there is */
    rpc_keys_clear(&keys);
    assert_null(rpc_keys_find(NULL, "blue"));
}

static void what_is_no_key_is_told_without_showing_it(void **state)
{
    (void)state;
    static char long_key[RPC_KEY_MAX + 2];
    memset(long_key, 'k', RPC_KEY_MAX + 1);
    const struct {
        const char *lines, *says;
    } wrong[] = {
        {"15 characters..", "line 1: a cluster key has 16 to 1024 bytes, this one 15"},
        {long_key, "line 1: a cluster key has 16 to 1024 bytes, this one 1025"},
        {"\n\nblue:2short", "line 3: a cluster key has 16 to 1024 bytes"},
        {"0123456789abcdef\x7f", "line 1: a cluster key is printable ASCII text, byte 17"},
        {"0123456789abcdef\t", "byte 17"},
        {" 0123456789abcdef", "neither begins nor ends with a space"},
        {"0123456789abcdef ", "neither begins nor ends with a space"},
        {BLUE_KEY "\n" RED_KEY, "line 2: a second key without a cluster's name"},
        {"blue:" BLUE_KEY "\nblue:" RED_KEY, "line 2: a second key for cluster blue"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct rpc_keys keys = {0};
        struct ps_error err = {0};
        if (rpc_keys_parse(&keys, wrong[i].lines, strlen(wrong[i].lines), &err) != PS_EINVAL)
            fail_msg("taken: %s", wrong[i].lines);
        if (!strstr(err.detail, wrong[i].says))
            fail_msg("says: %s", err.detail);
        assert_null(strstr(err.detail, "secret"));
        assert_null(strstr(err.detail, "0123"));
        rpc_keys_clear(&keys);
    }
    /* The limits themselves are keys; NUL is none, wherever it stands. */
    struct rpc_keys keys = {0};
    assert_int_equal(rpc_keys_add(&keys, "a", long_key, RPC_KEY_MAX, NULL), PS_OK);
    assert_int_equal(rpc_keys_add(&keys, "b", long_key, RPC_KEY_MIN, NULL), PS_OK);
    assert_int_equal(rpc_keys_parse(&keys, "0123456789abcdef\0", 17, NULL), PS_EINVAL);
    rpc_keys_clear(&keys);
}

#define SCENE(test)  cmocka_unit_test_setup_teardown(test, setup, teardown)
#define REMOTE(test) cmocka_unit_test_setup_teardown(test, setup_remote, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REMOTE(the_same_key_opens_to_both_from_another_machine),
        SCENE(without_keys_the_same_machine_is_enough),
        REMOTE(without_keys_another_machine_is_refused),
        SCENE(a_client_without_a_key_is_told_what_the_cluster_needs),
        SCENE(a_client_with_another_key_is_told_so),
        SCENE(a_client_with_a_key_meets_no_server_without_one),
        SCENE(another_cluster_is_refused_by_its_name),
        SCENE(a_node_must_name_its_cluster_and_a_client_need_not),
        SCENE(two_nodes_of_one_name_part),
        SCENE(the_owner_of_the_server_has_the_last_word),
        REMOTE(a_mediator_serves_each_cluster_by_its_own_key),
        SCENE(a_server_of_another_name_than_is_wanted_is_not_spoken_with),
        SCENE(a_refusal_is_logged_once_a_minute),
        SCENE(a_client_whose_keys_are_all_of_other_clusters_does_not_start),
        SCENE(a_server_without_a_key_listens_on_this_machine_alone),
        SCENE(a_right_proof_is_accepted),
        SCENE(a_call_before_the_proof_is_never_carried_out),
        SCENE(a_proof_is_good_for_one_connection),
        SCENE(the_servers_own_proof_is_not_the_clients),
        SCENE(a_proof_of_another_length_is_wrong),
        SCENE(a_proof_holds_for_these_two_greetings_alone),
        SCENE(names_that_run_into_each_other_are_told_apart),
        SCENE(a_second_hello_is_no_proof),
        SCENE(the_server_hears_why_a_client_refuses_it),
        SCENE(who_does_not_prove_itself_is_dropped_in_time),
        SCENE(a_nonce_or_key_id_of_another_length_is_refused),
        SCENE(a_stranger_gets_no_memory_for_more_than_a_greeting),
        SCENE(a_server_that_proves_itself_gets_the_clients_proof_before_any_call),
        SCENE(a_server_that_offers_no_key_is_no_way_around_it),
        SCENE(a_server_with_a_wrong_proof_is_refused),
        SCENE(a_server_without_a_proof_is_refused),
        SCENE(a_server_with_another_key_is_refused),
        SCENE(a_server_that_gives_a_key_to_a_client_without_one_is_refused),
        REMOTE(a_server_far_away_needs_a_key_even_if_it_asks_for_none),
        SCENE(nonces_are_never_used_twice),
        cmocka_unit_test(keys_are_found_by_their_cluster),
        cmocka_unit_test(what_is_no_key_is_told_without_showing_it),
    };
    return cmocka_run_group_tests_name("rpc greetings", tests, NULL, NULL);
}
