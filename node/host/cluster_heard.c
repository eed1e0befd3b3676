/* What peers and mediator answer, and what peers ask, goes to the member. */
#include <stdio.h>
#include <string.h>

#include "node/host/cluster_impl.h"

/* A peer that is there, whose heartbeats' port is not: a person is told. */
#define NO_BEATS_NS 10000000000ull

/* ---- what peers and mediator answer */

static void note_run(struct cluster *c, const struct uuid *store, uint64_t run)
{
    const int i = cluster_peer_of(c, store);
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
        k->beats_ns = cluster_now(c);
        k->no_beats = false;
    } else if (cluster_now(c) - k->beats_ns >= NO_BEATS_NS && !k->no_beats) {
        k->no_beats = true;
        (void)snprintf(
            text, sizeof text,
            "no heartbeats with %.63s: it is not reached at %.255s. While that is so, a node that is "
            "busy for a second may be taken for dead",
            peers_name(c->peers, peer), endpoint);
        c->config.warn(c->config.user, text);
    }
}

/* One of both has a copy of the other one's flash. As one and the same member they would both lead, so
 * whoever does not lead yet never will. */
static void refuse_copy(struct cluster *c, unsigned peer)
{
    char text[300];
    if (!c->known[peer].is_copy) {
        (void)snprintf(
            text, sizeof text,
            "%.63s has the same store as this node: the flash of one is a copy of the other's. %s. Stop "
            "the one that has the copy, and give it empty flash",
            peers_name(c->peers, peer),
            c->info.role == REPLICA_LEADING ? "This node leads and goes on" : "This node takes no part");
        c->config.warn(c->config.user, text);
    }
    c->known[peer].is_copy = true;
    if (c->info.role != REPLICA_LEADING)
        replica_log_failed(member_replica(c->member));
}

static void on_hello(void *user, unsigned peer, const struct replication_hello *hello)
{
    struct cluster *c = user;
    struct known_peer *k = &c->known[peer];
    const bool same = k->hello_ns && uuid_equal(&k->hello.store, &hello->store);
    c->news |= !same || k->hello.epoch != hello->epoch || !uuid_equal(&k->hello.pod, &hello->pod);
    k->run = same && k->run > hello->run ? k->run : hello->run;
    k->hello = *hello;
    k->hello_ns = cluster_now(c);
    tell_heartbeat(c, peer);
    if (cluster_is_live(c) && uuid_equal(&hello->store, &c->store))
        refuse_copy(c, peer);
    else
        k->is_copy = false;
    cluster_wake(c);
}

static void on_state(void *user, unsigned peer, const struct replica_state_msg *msg)
{
    struct cluster *c = user;
    (void)peer;
    if (!cluster_is_live(c))
        return;
    note_run(c, &msg->store, msg->run);
    member_state_answer(c->member, cluster_now(c), msg);
    cluster_wake(c);
}

static void on_ack(void *user, unsigned peer, const struct replica_ack_msg *msg)
{
    struct cluster *c = user;
    (void)peer;
    if (!cluster_is_live(c))
        return;
    member_ack(c->member, cluster_now(c), msg);
    cluster_wake(c);
}

static void on_copy_ack(void *user, unsigned peer, const struct replica_copy_ack *msg)
{
    struct cluster *c = user;
    (void)peer;
    if (!cluster_is_live(c))
        return;
    member_copy_ack(c->member, cluster_now(c), msg);
    cluster_wake(c);
}

static void on_record(void *user, unsigned peer, const struct replica_record_msg *msg, const void *record,
                      uint32_t bytes)
{
    struct cluster *c = user;
    struct replica_record_msg in = *msg;
    if (!cluster_is_live(c))
        return;
    if (in.status)
        in.store = c->known[peer].hello.store;
    member_record_answer(c->member, cluster_now(c), &in, record, bytes);
    cluster_wake(c);
}

static void on_lost(void *user, unsigned peer)
{
    cluster_log_is_lost(user, (int)peer);
}

static void on_ended(void *user, unsigned peer)
{
    struct cluster *c = user;
    const struct known_peer *k = &c->known[peer];
    if (!cluster_is_live(c) || !c->config.fast_failover || !k->hello_ns)
        return;
    member_peer_dead(c->member, cluster_now(c), &k->hello.store, k->run);
    cluster_wake(c);
}

static void on_connected(void *user, unsigned peer, bool up)
{
    struct cluster *c = user;
    struct replication_hello own;
    if (up && cluster_is_live(c)) {
        cluster_own_hello(c, &own);
        peers_hello(c->peers, peer, &own);
    }
    c->news = true;
    cluster_wake(c);
}

const struct peers_events cluster_peers_events = {
    .hello = on_hello,
    .state = on_state,
    .ack = on_ack,
    .copy_ack = on_copy_ack,
    .record = on_record,
    .lost = on_lost,
    .ended = on_ended,
    .connected = on_connected,
};

void cluster_verdict(void *user, const struct replica_verdict *verdict)
{
    struct cluster *c = user;
    if (!cluster_is_live(c))
        return;
    member_verdict(c->member, cluster_now(c), verdict);
    cluster_wake(c);
}

void cluster_found(void *user, const struct configuration *configuration)
{
    struct cluster *c = user;
    c->found_ns = cluster_now(c);
    c->mediator_has = configuration != NULL;
    if (configuration)
        c->at_mediator = *configuration;
    c->news = true;
    cluster_wake(c);
}

/* ---- what peers ask */

static bool serves_peer(void *user, const char *name)
{
    const struct cluster *c = user;
    return peers_find(c->peers, name) >= 0;
}

static bool serves_now(void *user)
{
    return cluster_is_live(user);
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
    cluster_wake(c);
    return member_state(c->member, cluster_now(c), in, out);
}

static bool serve_begin(void *user, const struct replica_begin_msg *in, struct replica_ack_msg *refusal)
{
    struct cluster *c = user;
    cluster_wake(c);
    return member_begin(c->member, cluster_now(c), in, refusal);
}

static bool serve_append(void *user, const struct replica_append_msg *in, const void *batch, uint32_t bytes,
                         struct replica_ack_msg *refusal)
{
    struct cluster *c = user;
    cluster_wake(c);
    return member_append(c->member, cluster_now(c), in, batch, bytes, refusal);
}

static bool serve_copy(void *user, const struct replica_copy_msg *in, const void *data, uint32_t bytes,
                       struct replica_copy_ack *ack)
{
    struct cluster *c = user;
    cluster_wake(c);
    return member_copy(c->member, cluster_now(c), in, data, bytes, ack);
}

static void serve_record(void *user, const struct replica_record_msg *in)
{
    struct cluster *c = user;
    cluster_wake(c);
    member_record(c->member, cluster_now(c), in);
}

const struct replication_handler cluster_handler = {
    .knows = serves_peer,
    .is_open = serves_now,
    .hello = serve_hello,
    .state = serve_state,
    .begin = serve_begin,
    .append = serve_append,
    .copy = serve_copy,
    .record = serve_record,
};
