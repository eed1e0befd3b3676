/* Where the mediator keeps what it must not forget. One record a pod, and the last decisions about it.
 *
 * Implementations: mediator_store_sqlite.c (the daemon), mediator_store_mem.c (tests, simulator). The core is
 * the only user: it holds all records in memory, reads them once, and writes before it answers. */
#ifndef PS_MEDIATOR_STORE_H
#define PS_MEDIATOR_STORE_H

#include "common/configuration.h"

enum {
    MEDIATOR_CLUSTER_MAX = 63, /* characters of a cluster's id */
    MEDIATOR_TEXT_MAX = 239,
    MEDIATOR_HISTORY_MAX = 1000,   /* decisions kept of each pod: the newest */
    MEDIATOR_CHANGE_PODS_MAX = 64, /* in one transaction */
};

/* Stored and sent: numbers are for ever (mediator.proto has the same). */
enum mediator_verdict {
    MEDIATOR_GRANTED = 1,
    MEDIATOR_REPEATED = 2,     /* granted before: it is the change in force */
    MEDIATOR_OTHER_STORE = 3,  /* the requester expects another mediator, or the same with other records */
    MEDIATOR_NO_POD = 4,       /* expected a pod that is not here */
    MEDIATOR_EXISTS = 5,       /* expected none, but the pod or its name is here already */
    MEDIATOR_EPOCH_MOVED = 6,  /* expected another epoch: somebody was faster */
    MEDIATOR_HIGHER_EPOCH = 7, /* told of a higher epoch than its own: waits for the holder */
    MEDIATOR_FORBIDDEN = 8,    /* configuration_may_follow */
    MEDIATOR_HELD_BACK = 9,    /* would be granted, but another pod of the request is refused */
};

struct mediator_pod {
    char cluster[MEDIATOR_CLUSTER_MAX + 1];
    struct configuration configuration;
    struct uuid request_id;  /* of the change in force */
    uint64_t reported_epoch; /* highest that nodes told of */
    uint64_t decisions;      /* number of the newest one */
};

struct mediator_decision {
    uint64_t number; /* 1, 2, … of its pod */
    uint64_t time_unix_ns;
    uint64_t expected_epoch, epoch; /* asked for */
    struct uuid requester, request_id;
    enum mediator_verdict verdict;
    char text[MEDIATOR_TEXT_MAX + 1]; /* what was granted, or why not */
};

struct mediator_update {
    const struct mediator_pod *pod; /* the record from now on */
    const struct mediator_decision
        *decision; /* added to its history; NULL: none. Number is pod->decisions. */
    bool forget;   /* instead: drop record and history of pod->configuration.pod */
};

struct mediator_store;
struct mediator_store_ops {
    /* Every record, in any order. Ends early with what `pod` returns, unless 0. PS_EDAMAGED, PS_EIO. */
    int (*load)(struct mediator_store *store, int (*pod)(void *user, const struct mediator_pod *pod),
                void *user, struct ps_error *err);
    /* All of them or, with any error, none; durable when it returns 0. At most one update a pod. */
    int (*apply)(struct mediator_store *store, const struct mediator_update *updates, size_t count,
                 struct ps_error *err);
    /* Decisions with a number above `after`, oldest first. */
    int (*history)(struct mediator_store *store, const struct uuid *pod, uint64_t after,
                   struct mediator_decision *out, size_t max, size_t *count, struct ps_error *err);
};

struct mediator_store {
    const struct mediator_store_ops *ops;
    struct uuid id; /* given at random when the store was made; who loses the store loses the id */
};

#endif
