/* What can be seen of a cluster, and what people ask of it. */
#include <stdio.h>

#include "node/host/cluster_impl.h"

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
    return at < 0 || !cluster_is_live(c) ? -1 : peers_find(c->peers, conf->members[at].node);
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
    if (cluster_is_live(c))
        replica_look(member_replica(c->member), cluster_now(c), out);
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
    cluster_wake(c);
    return rc;
}

int cluster_switch_over(struct cluster *c, const struct uuid *store, struct ps_error *err)
{
    return asked(c, replica_switch_over(member_replica(c->member), cluster_now(c), store, err));
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
    return asked(c, replica_add_member(member_replica(c->member), cluster_now(c), &m, err));
}

int cluster_promote(struct cluster *c, bool old_primary_is_off, struct uuid *store, struct ps_error *err)
{
    *store = c->store;
    return asked(c, replica_promote(member_replica(c->member), cluster_now(c), old_primary_is_off, err));
}

int cluster_prefer(struct cluster *c, const struct uuid *store, struct ps_error *err)
{
    return asked(c, replica_prefer(member_replica(c->member), cluster_now(c), store, err));
}

int cluster_remove_member(struct cluster *c, const struct uuid *store, struct ps_error *err)
{
    return asked(c, replica_remove_member(member_replica(c->member), cluster_now(c), store, err));
}
