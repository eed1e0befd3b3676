#include "node/host/cluster.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/host/mediator_link.h"
#include "node/host/replication_service.h"

#define MS 1000000ull
/* How often peers are asked who they are, and formation is looked at. */
#define FORMING_NS (250 * MS)
#define FORMED_NS  (1000 * MS)
/* Whoever has its turns so closely one after the other has not stood still. */
#define AWAKE_NS (500 * MS)
/* What was heard within this is true now. */
#define FRESH_NS (3000 * MS)
/* A peer that is there, whose heartbeats' port is not: a person is told. */
#define NO_BEATS_NS (10000 * MS)

struct known_peer {
    struct replication_hello hello;
    uint64_t hello_ns; /* 0: never */
    uint64_t run;      /* last one heard of `hello.store`, in whatever message */
    uint64_t beats_ns; /* when its heartbeats' thread was last known to be connected */
    bool no_beats;     /* for long: it was said */
    bool lost;         /* to be told to the member at the next turn */
};

struct cluster {
    struct cluster_config config;
    struct peers *peers;
    struct mediator_link *mediator;
    struct replication_service service;
    struct member_pod *member;
    bool started, stopping;
    struct known_peer known[PEERS_MAX];
    struct replica_info info; /* as of the last change or tick */
    bool changed, serving;
    struct uuid store, pod;    /* own; kept while the pod is opened anew */
    uint64_t tick_ns, turn_ns; /* last ones */
    /* Formation. */
    bool news, adopting, mediator_has;
    uint64_t found_ns;
    struct configuration at_mediator;
    char forming[200];
    void (*watch)(void *user);
    void *watch_user;
    void (*stopped)(void *user);
    void *stopped_user;
    unsigned open;
};

static uint64_t now(const struct cluster *c)
{
    return c->config.now_ns();
}

/* The member may be told something. */
static bool is_live(const struct cluster *c)
{
    return c->started && !c->stopping;
}

static void wake(struct cluster *c)
{
    c->config.wake(c->config.user);
}

static int peer_of(const struct cluster *c, const struct uuid *store)
{
    for (unsigned i = 0; i < peers_count(c->peers); i++)
        if (c->known[i].hello_ns && uuid_equal(&c->known[i].hello.store, store))
            return (int)i;
    /* Not heard yet: the configuration knows its name. */
    const int at = configuration_find(&c->info.configuration, store);
    const int i = at < 0 ? -1 : peers_find(c->peers, c->info.configuration.members[at].node);
    return i >= 0 && c->known[i].hello_ns ? -1 : i;
}

static void line(void *user, const char *text)
{
    const struct cluster *c = user;
    c->config.log(c->config.user, text);
}

/* ---- what the member wants */

static void link_state(void *user, const struct uuid *to, const struct replica_state_msg *msg)
{
    struct cluster *c = user;
    const int i = is_live(c) ? peer_of(c, to) : -1;
    if (i >= 0)
        peers_state(c->peers, (unsigned)i, msg);
}

static void log_is_lost(struct cluster *c, int i)
{
    if (i < 0)
        return;
    c->known[i].lost = true;
    wake(c);
}

static void link_begin(void *user, const struct uuid *to, const struct replica_begin_msg *msg)
{
    struct cluster *c = user;
    const int i = is_live(c) ? peer_of(c, to) : -1;
    if (i >= 0 && !peers_begin(c->peers, (unsigned)i, msg))
        log_is_lost(c, i);
}

static void link_append(void *user, const struct uuid *to, const struct replica_append_msg *msg,
                        const void *batch, uint32_t bytes)
{
    struct cluster *c = user;
    const int i = is_live(c) ? peer_of(c, to) : -1;
    if (i >= 0 && !peers_append(c->peers, (unsigned)i, msg, batch, bytes))
        log_is_lost(c, i);
}

static void link_ack(void *user, const struct uuid *to, const struct replica_ack_msg *msg)
{
    struct cluster *c = user;
    replication_service_ack(&c->service, to, msg);
}

static void link_copy(void *user, const struct uuid *to, const struct replica_copy_msg *msg, const void *data,
                      uint32_t bytes)
{
    struct cluster *c = user;
    const int i = is_live(c) ? peer_of(c, to) : -1;
    if (i >= 0)
        peers_copy(c->peers, (unsigned)i, msg, data, bytes);
}

static void link_copy_ack(void *user, const struct uuid *to, const struct replica_copy_ack *ack)
{
    struct cluster *c = user;
    replication_service_copy_ack(&c->service, to, ack);
}

static void link_record(void *user, const struct uuid *to, const struct replica_record_msg *msg)
{
    struct cluster *c = user;
    const int i = is_live(c) ? peer_of(c, to) : -1;
    if (i >= 0)
        (void)peers_record(c->peers, (unsigned)i, msg);
}

static void link_record_answer(void *user, const struct uuid *to, const struct replica_record_msg *msg,
                               const void *record, uint32_t bytes)
{
    struct cluster *c = user;
    replication_service_record_answer(&c->service, to, msg, record, bytes);
}

static void link_ask(void *user, const struct replica_cas *cas)
{
    struct cluster *c = user;
    if (is_live(c))
        mediator_link_ask(c->mediator, cas);
}

static void link_report(void *user, uint64_t epoch)
{
    struct cluster *c = user;
    if (is_live(c))
        mediator_link_report(c->mediator, &c->pod, epoch);
}

static void link_decided(void *user, const struct replica_decision *decision)
{
    struct cluster *c = user;
    c->config.decided(c->config.user, decision);
}

static void link_changed(void *user)
{
    struct cluster *c = user;
    c->changed = true;
    wake(c);
}

static uint64_t link_now(void *user)
{
    return now(user);
}

static bool link_exchange(void *user, uint64_t now_ns, const struct replica_view *view,
                          struct replica_heard *heard)
{
    struct cluster *c = user;
    return c->config.exchange(c->config.user, now_ns, view, heard);
}

const struct member_links cluster_links = {
    .state = link_state,
    .begin = link_begin,
    .append = link_append,
    .ack = link_ack,
    .copy = link_copy,
    .copy_ack = link_copy_ack,
    .record = link_record,
    .record_answer = link_record_answer,
    .ask = link_ask,
    .report = link_report,
    .decided = link_decided,
    .changed = link_changed,
    .now_ns = link_now,
    .exchange = link_exchange,
};

/* ---- what peers and mediator answer */

static void note_run(struct cluster *c, const struct uuid *store, uint64_t run)
{
    const int i = peer_of(c, store);
    if (i >= 0 && c->known[i].run < run)
        c->known[i].run = run;
}

/* On the host that the peer is reached at, at the port that it names. */
static void tell_heartbeat(struct cluster *c, unsigned peer)
{
    char endpoint[PEERS_ADDRESS_MAX + 8], text[500];
    struct known_peer *k = &c->known[peer];
    const char *address = peers_address(c->peers, peer), *colon = strrchr(address, ':');
    const uint16_t port = k->hello.heartbeat_port;
    if (!port || !colon || strncmp(address, "tcp://", 6) != 0)
        return;
    (void)snprintf(endpoint, sizeof endpoint, "%.*s:%u", (int)(colon - address), address, port);
    if (c->config.heartbeat_peer(c->config.user, peer, endpoint) || !k->beats_ns) {
        k->beats_ns = now(c);
        k->no_beats = false;
    } else if (now(c) - k->beats_ns >= NO_BEATS_NS && !k->no_beats) {
        k->no_beats = true;
        (void)snprintf(
            text, sizeof text,
            "no heartbeats with %.63s: it is not reached at %.255s. While that is so, a node that is "
            "busy for a second may be taken for dead",
            peers_name(c->peers, peer), endpoint);
        c->config.warn(c->config.user, text);
    }
}

static void on_hello(void *user, unsigned peer, const struct replication_hello *hello)
{
    struct cluster *c = user;
    struct known_peer *k = &c->known[peer];
    const bool same = k->hello_ns && uuid_equal(&k->hello.store, &hello->store);
    c->news |= !same || k->hello.epoch != hello->epoch || !uuid_equal(&k->hello.pod, &hello->pod);
    k->run = same && k->run > hello->run ? k->run : hello->run;
    k->hello = *hello;
    k->hello_ns = now(c);
    tell_heartbeat(c, peer);
    wake(c);
}

static void on_state(void *user, unsigned peer, const struct replica_state_msg *msg)
{
    struct cluster *c = user;
    (void)peer;
    if (!is_live(c))
        return;
    note_run(c, &msg->store, msg->run);
    member_state_answer(c->member, now(c), msg);
    wake(c);
}

static void on_ack(void *user, unsigned peer, const struct replica_ack_msg *msg)
{
    struct cluster *c = user;
    (void)peer;
    if (!is_live(c))
        return;
    member_ack(c->member, now(c), msg);
    wake(c);
}

static void on_copy_ack(void *user, unsigned peer, const struct replica_copy_ack *msg)
{
    struct cluster *c = user;
    (void)peer;
    if (!is_live(c))
        return;
    member_copy_ack(c->member, now(c), msg);
    wake(c);
}

static void on_record(void *user, unsigned peer, const struct replica_record_msg *msg, const void *record,
                      uint32_t bytes)
{
    struct cluster *c = user;
    struct replica_record_msg in = *msg;
    if (!is_live(c))
        return;
    if (in.status)
        in.store = c->known[peer].hello.store;
    member_record_answer(c->member, now(c), &in, record, bytes);
    wake(c);
}

static void on_lost(void *user, unsigned peer)
{
    log_is_lost(user, (int)peer);
}

static void on_ended(void *user, unsigned peer)
{
    struct cluster *c = user;
    const struct known_peer *k = &c->known[peer];
    if (!is_live(c) || !c->config.fast_failover || !k->hello_ns)
        return;
    member_peer_dead(c->member, now(c), &k->hello.store, k->run);
    wake(c);
}

static void on_connected(void *user, unsigned peer, bool up)
{
    struct cluster *c = user;
    struct replication_hello own;
    if (up && is_live(c)) {
        cluster_own_hello(c, &own);
        peers_hello(c->peers, peer, &own);
    }
    c->news = true;
    wake(c);
}

static const struct peers_events peers_events = {
    .hello = on_hello,
    .state = on_state,
    .ack = on_ack,
    .copy_ack = on_copy_ack,
    .record = on_record,
    .lost = on_lost,
    .ended = on_ended,
    .connected = on_connected,
};

static void on_verdict(void *user, const struct replica_verdict *verdict)
{
    struct cluster *c = user;
    if (!is_live(c))
        return;
    member_verdict(c->member, now(c), verdict);
    wake(c);
}

static void on_found(void *user, const struct configuration *configuration)
{
    struct cluster *c = user;
    c->found_ns = now(c);
    c->mediator_has = configuration != NULL;
    if (configuration)
        c->at_mediator = *configuration;
    c->news = true;
    wake(c);
}

/* ---- what peers ask */

static bool serves_peer(void *user, const char *name)
{
    const struct cluster *c = user;
    return peers_find(c->peers, name) >= 0;
}

static bool serves_now(void *user)
{
    return is_live(user);
}

static void serve_hello(void *user, const struct replication_hello *in, struct replication_hello *out)
{
    struct cluster *c = user;
    const int i = peers_find(c->peers, in->node);
    /* What it says counts as well as what it would answer. */
    if (i >= 0)
        on_hello(c, (unsigned)i, in);
    cluster_own_hello(c, out);
}

static bool serve_state(void *user, const struct replica_state_msg *in, struct replica_state_msg *out)
{
    struct cluster *c = user;
    note_run(c, &in->store, in->run);
    wake(c);
    return member_state(c->member, now(c), in, out);
}

static bool serve_begin(void *user, const struct replica_begin_msg *in, struct replica_ack_msg *refusal)
{
    struct cluster *c = user;
    wake(c);
    return member_begin(c->member, now(c), in, refusal);
}

static bool serve_append(void *user, const struct replica_append_msg *in, const void *batch, uint32_t bytes,
                         struct replica_ack_msg *refusal)
{
    struct cluster *c = user;
    wake(c);
    return member_append(c->member, now(c), in, batch, bytes, refusal);
}

static bool serve_copy(void *user, const struct replica_copy_msg *in, const void *data, uint32_t bytes,
                       struct replica_copy_ack *ack)
{
    struct cluster *c = user;
    wake(c);
    return member_copy(c->member, now(c), in, data, bytes, ack);
}

static void serve_record(void *user, const struct replica_record_msg *in)
{
    struct cluster *c = user;
    wake(c);
    member_record(c->member, now(c), in);
}

static const struct replication_handler handler = {
    .knows = serves_peer,
    .is_open = serves_now,
    .hello = serve_hello,
    .state = serve_state,
    .begin = serve_begin,
    .append = serve_append,
    .copy = serve_copy,
    .record = serve_record,
};

/* ---- formation */

static void describe_self(const struct cluster *c, struct formation_node *out)
{
    struct replication_hello own;
    cluster_own_hello(c, &own);
    *out = (struct formation_node){
        .answered = true, .store = own.store, .pod = own.pod, .epoch = own.epoch, .log_end = own.log_end};
    memcpy(out->name, own.node, sizeof out->name);
}

static void describe(const struct cluster *c, struct formation_input *in)
{
    const uint64_t t = now(c);
    *in = (struct formation_input){
        .peer_count = peers_count(c->peers),
        .pod_name = c->config.pod_name,
        .async = c->config.async,
        .mediator_answered = c->found_ns && t - c->found_ns < FRESH_NS,
        .mediator_has = c->mediator_has,
        .at_mediator = c->at_mediator,
        .now = c->info.configuration,
        .leading = c->info.role == REPLICA_LEADING,
        .changing = c->info.asking,
    };
    describe_self(c, &in->self);
    for (unsigned i = 0; i < in->peer_count; i++) {
        const struct known_peer *k = &c->known[i];
        struct formation_node *n = &in->peers[i];
        (void)snprintf(n->name, sizeof n->name, "%s", peers_name(c->peers, i));
        n->answered = k->hello_ns && t - k->hello_ns < FRESH_NS &&
                      strcmp(k->hello.cluster, c->config.cluster_name) == 0;
        n->store = k->hello.store;
        n->pod = k->hello.pod;
        n->epoch = k->hello.epoch;
        n->log_end = k->hello.log_end;
    }
}

static void adopted(void *user, int status)
{
    struct cluster *c = user;
    c->adopting = false;
    c->news = c->changed = true;
    if (status)
        line(c, "the pod's identity can't be made durable");
    wake(c);
}

static void say(struct cluster *c, enum formation_kind kind, const char *text)
{
    if (strcmp(c->forming, text) == 0)
        return;
    (void)snprintf(c->forming, sizeof c->forming, "%s", text);
    if (text[0])
        (kind == FORMATION_REFUSE ? c->config.warn : c->config.log)(c->config.user, text);
}

static void form(struct cluster *c)
{
    struct formation_input in;
    struct formation_action a;
    struct ps_error err = {0};
    struct replica *r = member_replica(c->member);
    int rc = 0;
    if (c->adopting)
        return;
    describe(c, &in);
    formation_decide(&in, &a);
    say(c, a.kind, a.text);
    switch (a.kind) {
    case FORMATION_FOUND:
        (void)replica_found(r, now(c), &a.configuration, NULL); /* asked already, maybe */
        break;
    case FORMATION_ADOPT_POD:
        c->adopting = true;
        rc = member_adopt_pod(c->member, &a.pod, adopted, c);
        if (rc)
            c->adopting = false;
        break;
    case FORMATION_ADOPT:
        replica_adopt(r, now(c), &a.configuration);
        break;
    case FORMATION_ADD:
        rc = replica_add_member(r, now(c), &a.member, &err);
        break;
    case FORMATION_REMOVE:
        rc = replica_remove_member(r, now(c), &a.member.store, &err);
        break;
    case FORMATION_RENAME:
        rc = replica_rename_member(r, now(c), &a.member, &err);
        break;
    default:
        break;
    }
    if (rc && rc != PS_EPRECONDITION)
        line(c, err.detail[0] ? err.detail : ps_status_text(rc));
}

/* ---- turns */

static void note_identity(struct cluster *c)
{
    struct pod_log_identity id;
    struct uuid store, pod;
    pod_log_identity(member_pod(c->member), &id);
    memcpy(store.bytes, id.store, sizeof store.bytes);
    memcpy(pod.bytes, id.pod, sizeof pod.bytes);
    if (uuid_is_none(&store) || uuid_is_none(&pod))
        return;
    c->store = store;
    c->pod = pod;
}

static void refresh(struct cluster *c, uint64_t now_ns)
{
    const bool switching = c->info.switching && now_ns - c->turn_ns < AWAKE_NS;
    c->changed = false;
    note_identity(c);
    replica_look(member_replica(c->member), now_ns, &c->info);
    const bool serving = c->info.role == REPLICA_LEADING;
    if (serving != c->serving) {
        c->serving = serving;
        c->config.serving(c->config.user, serving, switching);
    }
    c->config.news(c->config.user);
    if (c->watch)
        c->watch(c->watch_user);
}

static uint64_t tick(struct cluster *c, uint64_t now_ns)
{
    const uint64_t every = c->info.configuration.epoch ? FORMED_NS : FORMING_NS;
    struct replication_hello own;
    if (c->tick_ns && now_ns - c->tick_ns < every)
        return c->tick_ns + every;
    c->tick_ns = now_ns;
    c->changed = c->news = true;
    cluster_own_hello(c, &own);
    for (unsigned i = 0; i < peers_count(c->peers); i++)
        peers_hello(c->peers, i, &own);
    if (!c->info.configuration.epoch)
        mediator_link_find(c->mediator, c->config.pod_name);
    return now_ns + every;
}

uint64_t cluster_turn(struct cluster *c, uint64_t now_ns)
{
    uint64_t next = UINT64_MAX;
    if (!c->member)
        return next;
    if (is_live(c)) {
        for (unsigned i = 0; i < peers_count(c->peers); i++) {
            struct known_peer *k = &c->known[i];
            if (k->lost && k->hello_ns)
                member_peer_lost(c->member, now_ns, &k->hello.store);
            k->lost = false;
        }
        next = tick(c, now_ns);
        if (c->changed)
            refresh(c, now_ns);
        if (c->news) {
            c->news = false;
            form(c);
        }
    }
    const uint64_t at = member_turn(c->member, now_ns);
    if (c->changed && is_live(c))
        refresh(c, now_ns);
    c->turn_ns = now_ns;
    return at < next ? at : next;
}

/* ---- life */

int cluster_create(const struct cluster_config *config, struct cluster **out, struct ps_error *err)
{
    struct cluster *c = calloc(1, sizeof *c);
    if (!c)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    c->config = *config;
    const struct peers_config peers = {
        .transport = config->transport,
        .keys = config->keys,
        .node_name = config->node_name,
        .cluster_name = config->cluster_name,
        .list = config->peers,
        .events = &peers_events,
        .log = line,
        .user = c,
    };
    const int rc = peers_create(&peers, &c->peers, err);
    if (rc) {
        free(c);
        return rc;
    }
    replication_service_init(&c->service, &handler, c);
    *out = c;
    return 0;
}

void cluster_set_member(struct cluster *c, struct member_pod *member)
{
    c->member = member;
}

int cluster_start(struct cluster *c, struct ps_error *err)
{
    const struct mediator_link_config mediator = {
        .transport = c->config.transport,
        .keys = c->config.keys,
        .node_name = c->config.node_name,
        .cluster_name = c->config.cluster_name,
        .address = c->config.mediator,
        .verdict = on_verdict,
        .found = on_found,
        .log = line,
        .user = c,
    };
    int rc = mediator_link_create(&mediator, &c->mediator, err);
    if (rc == 0)
        rc = peers_connect(c->peers, err);
    c->started = rc == 0;
    note_identity(c);
    c->changed = true;
    wake(c);
    return rc;
}

static void link_closed(void *user)
{
    struct cluster *c = user;
    if (--c->open > 0)
        return;
    c->peers = NULL;
    c->mediator = NULL;
    c->stopped(c->stopped_user);
}

void cluster_stop(struct cluster *c, void (*stopped)(void *user), void *user)
{
    c->stopping = true;
    c->stopped = stopped;
    c->stopped_user = user;
    c->open = c->mediator ? 2 : 1;
    if (c->mediator)
        mediator_link_close(c->mediator, link_closed, c);
    peers_close(c->peers, link_closed, c);
}

void cluster_destroy(struct cluster *c)
{
    assert(!c->peers && list_empty(&c->service.pending) && list_empty(&c->service.copies));
    free(c);
}

void cluster_register(struct cluster *c, struct rpc_server *server)
{
    replication_service_register(&c->service, server);
}

int cluster_admit(const struct cluster *c, const struct rpc_peer *peer, struct ps_error *err)
{
    if (peer->role != PSTORAGE__V1__PEER_ROLE__PEER_ROLE_NODE || peers_find(c->peers, peer->name) >= 0)
        return 0;
    return ps_error_set(err, PS_EPERM, "%.63s is not among the peers of %.63s (PSTORAGE_PEERS)", peer->name,
                        c->config.node_name);
}

/* ---- looking */

bool cluster_is_serving(const struct cluster *c)
{
    return c->serving;
}

int cluster_not_primary(const struct cluster *c, struct ps_error *err)
{
    const struct configuration *conf = &c->info.configuration;
    const int at = configuration_find(conf, &conf->primary);
    if (at < 0)
        return ps_error_set(err, PS_ENOTPRIMARY, "pod %.63s is not formed yet: %.120s", c->config.pod_name,
                            c->forming[0] ? c->forming : "the nodes are getting to know each other");
    const char *name = conf->members[at].node;
    const int i = peers_find(c->peers, name);
    if (strcmp(name, c->config.node_name) == 0)
        return ps_error_set(err, PS_ENOTPRIMARY, "%.63s is the primary and waits for %.120s", name,
                            c->info.waits_for[0] ? c->info.waits_for : "its turn");
    return ps_error_set(err, PS_ENOTPRIMARY, "not primary: %.63s at %.120s", name,
                        i >= 0 ? peers_address(c->peers, (unsigned)i) : "an unknown address");
}

/* -1: this node, or none that is known. */
static int primary_peer(const struct cluster *c)
{
    const struct configuration *conf = &c->info.configuration;
    const int at = configuration_find(conf, &conf->primary);
    return at < 0 || !is_live(c) ? -1 : peers_find(c->peers, conf->members[at].node);
}

bool cluster_primary_place(const struct cluster *c, const char **node, const char **address)
{
    const int i = primary_peer(c);
    if (i < 0)
        return false;
    *node = peers_name(c->peers, (unsigned)i);
    *address = peers_address(c->peers, (unsigned)i);
    return true;
}

struct rpc_client *cluster_primary(const struct cluster *c)
{
    const int i = primary_peer(c);
    return i >= 0 ? peers_client(c->peers, (unsigned)i) : NULL;
}

void cluster_look(const struct cluster *c, struct replica_info *out)
{
    if (is_live(c))
        replica_look(member_replica(c->member), now(c), out);
    else
        *out = c->info;
}

const char *cluster_forming(const struct cluster *c)
{
    return c->forming;
}

struct replica *cluster_replica(const struct cluster *c)
{
    return member_replica(c->member);
}

const struct cluster_config *cluster_settings(const struct cluster *c)
{
    return &c->config;
}

struct rpc_client *cluster_peer(const struct cluster *c, unsigned peer)
{
    return peers_client(c->peers, peer);
}

const struct peers *cluster_peers(const struct cluster *c)
{
    return c->peers;
}

bool cluster_mediator_connected(const struct cluster *c)
{
    return c->mediator && mediator_link_connected(c->mediator);
}

const struct replication_hello *cluster_hello(const struct cluster *c, unsigned peer)
{
    return c->known[peer].hello_ns ? &c->known[peer].hello : NULL;
}

void cluster_own_hello(const struct cluster *c, struct replication_hello *out)
{
    struct pod_log_identity id;
    struct log_id end;
    pod_log_identity(member_pod(c->member), &id);
    pod_log_ends(member_pod(c->member), NULL, &end);
    *out = (struct replication_hello){
        .run = id.run, .epoch = c->info.configuration.epoch, .log_end = end.seq, .software = PS_VERSION};
    out->heartbeat_port = c->config.heartbeat_port(c->config.user);
    out->store = c->store;
    out->pod = c->pod;
    (void)snprintf(out->node, sizeof out->node, "%s", c->config.node_name);
    (void)snprintf(out->cluster, sizeof out->cluster, "%s", c->config.cluster_name);
    (void)snprintf(out->pod_name, sizeof out->pod_name, "%s", c->config.pod_name);
    (void)snprintf(out->rpc_address, sizeof out->rpc_address, "%s", c->config.rpc_address);
}

void cluster_watch(struct cluster *c, void (*changed)(void *user), void *user)
{
    c->watch = changed;
    c->watch_user = user;
}

/* ---- what people ask for */

static int asked(struct cluster *c, int rc)
{
    c->changed = true;
    wake(c);
    return rc;
}

int cluster_switch_over(struct cluster *c, const struct uuid *store, struct ps_error *err)
{
    return asked(c, replica_switch_over(member_replica(c->member), now(c), store, err));
}

int cluster_add_member(struct cluster *c, unsigned peer, bool async, struct ps_error *err)
{
    const struct known_peer *k = &c->known[peer];
    if (!k->hello_ns)
        return ps_error_set(err, PS_EPRECONDITION, "%.63s has not answered yet", peers_name(c->peers, peer));
    if (k->hello.log_end && !uuid_equal(&k->hello.pod, &c->info.configuration.pod))
        return ps_error_set(err, PS_EPRECONDITION, "%.63s holds data of its own: give it empty flash devices",
                            peers_name(c->peers, peer));
    struct member m = {.store = k->hello.store, .mode = async ? MEMBER_ASYNC : MEMBER_SYNC};
    (void)snprintf(m.node, sizeof m.node, "%s", peers_name(c->peers, peer));
    return asked(c, replica_add_member(member_replica(c->member), now(c), &m, err));
}

int cluster_promote(struct cluster *c, bool old_primary_is_off, struct uuid *store, struct ps_error *err)
{
    *store = c->store;
    return asked(c, replica_promote(member_replica(c->member), now(c), old_primary_is_off, err));
}

int cluster_prefer(struct cluster *c, const struct uuid *store, struct ps_error *err)
{
    return asked(c, replica_prefer(member_replica(c->member), now(c), store, err));
}

int cluster_remove_member(struct cluster *c, const struct uuid *store, struct ps_error *err)
{
    return asked(c, replica_remove_member(member_replica(c->member), now(c), store, err));
}
