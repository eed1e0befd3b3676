/* What the files of cluster.h share. */
#ifndef PS_NODE_HOST_CLUSTER_IMPL_H
#define PS_NODE_HOST_CLUSTER_IMPL_H

#include "node/host/cluster.h"
#include "node/host/mediator_link.h"
#include "node/host/replication_service.h"

struct known_peer {
    struct replication_hello hello;
    uint64_t hello_ns; /* 0: never */
    uint64_t run;      /* last one heard of `hello.store`, in whatever message */
    uint64_t beats_ns; /* when its heartbeats' thread was last known to be connected */
    bool no_beats;     /* for long: it was said */
    bool lost;         /* to be told to the member at the next turn */
    bool is_copy;      /* it has this node's store: it was said */
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

static inline uint64_t cluster_now(const struct cluster *c)
{
    return c->config.now_ns();
}

/* The member may be told something. */
static inline bool cluster_is_live(const struct cluster *c)
{
    return c->started && !c->stopping;
}

static inline void cluster_wake(struct cluster *c)
{
    c->config.wake(c->config.user);
}

/* For a log: `user` is the cluster. */
void cluster_line(void *user, const char *text);

/* cluster_links.c */
int cluster_peer_of(const struct cluster *c, const struct uuid *store); /* -1: none known */
void cluster_log_is_lost(struct cluster *c, int peer);

/* cluster_heard.c: `user` is the cluster. */
extern const struct peers_events cluster_peers_events;
extern const struct replication_handler cluster_handler;
void cluster_verdict(void *user, const struct replica_verdict *verdict);
void cluster_found(void *user, const struct configuration *configuration);

#endif
