#include "node/host/cluster.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/host/cluster_impl.h"

#define MS 1000000ull
/* How often peers are asked who they are, and formation is looked at. */
#define FORMING_NS (250 * MS)
#define FORMED_NS  (1000 * MS)
/* Whoever has its turns so closely one after the other has not stood still. */
#define AWAKE_NS (500 * MS)
/* What was heard within this is true now. */
#define FRESH_NS (3000 * MS)

void cluster_line(void *user, const char *text)
{
    const struct cluster *c = user;
    c->config.log(c->config.user, text);
}
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
    const uint64_t t = cluster_now(c);
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
        cluster_line(c, "the pod's identity can't be made durable");
    cluster_wake(c);
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
        (void)replica_found(r, cluster_now(c), &a.configuration, NULL); /* asked already, maybe */
        break;
    case FORMATION_ADOPT_POD:
        c->adopting = true;
        rc = member_adopt_pod(c->member, &a.pod, adopted, c);
        if (rc)
            c->adopting = false;
        break;
    case FORMATION_ADOPT:
        replica_adopt(r, cluster_now(c), &a.configuration);
        break;
    case FORMATION_ADD:
        rc = replica_add_member(r, cluster_now(c), &a.member, &err);
        break;
    case FORMATION_REMOVE:
        rc = replica_remove_member(r, cluster_now(c), &a.member.store, &err);
        break;
    case FORMATION_RENAME:
        rc = replica_rename_member(r, cluster_now(c), &a.member, &err);
        break;
    default:
        break;
    }
    if (rc && rc != PS_EPRECONDITION)
        cluster_line(c, err.detail[0] ? err.detail : ps_status_text(rc));
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
    if (cluster_is_live(c)) {
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
    if (c->changed && cluster_is_live(c))
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
        .events = &cluster_peers_events,
        .log = cluster_line,
        .user = c,
    };
    const int rc = peers_create(&peers, &c->peers, err);
    if (rc) {
        free(c);
        return rc;
    }
    replication_service_init(&c->service, &cluster_handler, c);
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
        .verdict = cluster_verdict,
        .found = cluster_found,
        .log = cluster_line,
        .user = c,
    };
    int rc = mediator_link_create(&mediator, &c->mediator, err);
    if (rc == 0)
        rc = peers_connect(c->peers, err);
    c->started = rc == 0;
    note_identity(c);
    c->changed = true;
    cluster_wake(c);
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
