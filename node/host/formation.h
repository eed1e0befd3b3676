/* How a cluster comes about by settings alone: who founds the pod, who becomes part of it, what is refused.
 *
 * A pure function: what this node knows goes in, one action comes out; the owner carries it out and asks
 * again when something changed or a moment has passed. An action may come again while it is under way.
 * Nothing here needs to be right for safety: the mediator's compare-and-swap decides who founds, and the pod
 * refuses to change the identity of a log that is not empty. */
#ifndef PS_NODE_HOST_FORMATION_H
#define PS_NODE_HOST_FORMATION_H

#include "common/configuration.h"

enum {
    FORMATION_PEERS_MAX = CONFIGURATION_MEMBERS_MAX - 1
};

struct formation_node {
    char name[CONFIGURATION_NAME_MAX + 1];
    bool answered; /* the rest is known; of a peer: lately */
    struct uuid store, pod;
    uint64_t epoch;   /* of its configuration; 0: it has none */
    uint64_t log_end; /* 0: it holds nothing */
};

struct formation_input {
    struct formation_node self, peers[FORMATION_PEERS_MAX]; /* as the settings name them */
    unsigned peer_count;
    const char *pod_name;
    bool async; /* mode of the members that are not the primary */
    /* What the mediator has under the pod's name. */
    bool mediator_answered, mediator_has;
    struct configuration at_mediator;
    /* This node's configuration, while it has one. */
    struct configuration now;
    bool leading, changing; /* it is the primary; a change is under way */
};

enum formation_kind {
    FORMATION_NOTHING, /* all is as it shall be */
    FORMATION_WAIT,
    FORMATION_REFUSE,    /* nothing will come of it until a person changes something */
    FORMATION_FOUND,     /* `configuration` is to be the first one */
    FORMATION_ADOPT_POD, /* this empty log becomes part of `pod` */
    FORMATION_ADOPT,     /* `configuration`, of this pod, names this store */
    FORMATION_ADD,       /* primary: `member` */
    FORMATION_REMOVE,    /* primary: `member`, whose store is gone */
    FORMATION_RENAME,    /* primary: `member`'s store belongs to a node of this name now */
};

struct formation_action {
    enum formation_kind kind;
    struct uuid pod;
    struct configuration configuration;
    struct member member;
    char text[200]; /* what is waited for, refused or done, and why */
};

void formation_decide(const struct formation_input *in, struct formation_action *out);

#endif
