/* What the member wants of others goes out to peers and mediator. */
#include "node/host/cluster_impl.h"

int cluster_peer_of(const struct cluster *c, const struct uuid *store)
{
    for (unsigned i = 0; i < peers_count(c->peers); i++)
        if (c->known[i].hello_ns && uuid_equal(&c->known[i].hello.store, store))
            return (int)i;
    /* Not heard yet: the configuration knows its name. */
    const int at = configuration_find(&c->info.configuration, store);
    const int i = at < 0 ? -1 : peers_find(c->peers, c->info.configuration.members[at].node);
    return i >= 0 && c->known[i].hello_ns ? -1 : i;
}

static void link_state(void *user, const struct uuid *to, const struct replica_state_msg *msg)
{
    struct cluster *c = user;
    const int i = cluster_is_live(c) ? cluster_peer_of(c, to) : -1;
    if (i >= 0)
        peers_state(c->peers, (unsigned)i, msg);
}

void cluster_log_is_lost(struct cluster *c, int i)
{
    if (i < 0)
        return;
    c->known[i].lost = true;
    cluster_wake(c);
}

static void link_begin(void *user, const struct uuid *to, const struct replica_begin_msg *msg)
{
    struct cluster *c = user;
    const int i = cluster_is_live(c) ? cluster_peer_of(c, to) : -1;
    if (i >= 0 && !peers_begin(c->peers, (unsigned)i, msg))
        cluster_log_is_lost(c, i);
}

static void link_append(void *user, const struct uuid *to, const struct replica_append_msg *msg,
                        const void *batch, uint32_t bytes)
{
    struct cluster *c = user;
    const int i = cluster_is_live(c) ? cluster_peer_of(c, to) : -1;
    if (i >= 0 && !peers_append(c->peers, (unsigned)i, msg, batch, bytes))
        cluster_log_is_lost(c, i);
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
    const int i = cluster_is_live(c) ? cluster_peer_of(c, to) : -1;
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
    const int i = cluster_is_live(c) ? cluster_peer_of(c, to) : -1;
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
    if (cluster_is_live(c))
        mediator_link_ask(c->mediator, cas);
}

static void link_report(void *user, uint64_t epoch)
{
    struct cluster *c = user;
    if (cluster_is_live(c))
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
    cluster_wake(c);
}

static uint64_t link_now(void *user)
{
    return cluster_now(user);
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
