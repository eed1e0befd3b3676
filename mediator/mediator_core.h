/* The mediator: who holds which pod, changed by compare-and-swap alone.
 *
 * Pure: no clock, no I/O but the store's. One thread. An operation is a function call: request in, reply out,
 * and what the reply says is durable by then. Any error of the store answers PS_EIO and leaves the memory as
 * it was; whether the change was carried out is then as unknown as after a lost reply, until it is asked
 * again.
 *
 * Bounds: MEDIATOR_PODS_MAX pods, MEDIATOR_CHANGE_PODS_MAX in a request, MEDIATOR_HISTORY_MAX decisions a
 * pod. Clusters are ids, nothing more: one is here as long as it has pods. A pod belongs to one cluster, and
 * who asks for another cluster does not find it. */
#ifndef PS_MEDIATOR_CORE_H
#define PS_MEDIATOR_CORE_H

#include "mediator/mediator_store.h"

enum {
    MEDIATOR_PODS_MAX = 4096
};
/* Epochs above are refused: they are nobody's. */
#define MEDIATOR_EPOCH_MAX ((uint64_t)INT64_MAX)

struct mediator_core;

/* Reads all records. The store is borrowed. Errors: the store's; PS_EDAMAGED when the records contradict each
 * other; PS_ELIMIT, PS_ENOMEM. */
int mediator_core_create(struct mediator_store *store, struct mediator_core **out, struct ps_error *err);
void mediator_core_destroy(struct mediator_core *core);

struct mediator_description {
    struct uuid store;
    const char *software;
    size_t pods, clusters;
};
void mediator_describe(const struct mediator_core *core, struct mediator_description *out);

/* The pod with this id, or, if that is NULL or none, with this name. NULL: not found. Valid until the next
 * change. */
const struct mediator_pod *mediator_get(const struct mediator_core *core, const char *cluster,
                                        const struct uuid *pod, const char *pod_name);

/* ---- compare-and-swap */

struct mediator_change_pod {
    uint64_t expected_epoch; /* 0: the pod is not registered yet */
    struct configuration next;
};

struct mediator_change {
    const char *cluster;
    struct uuid mediator;   /* the store that the requester knows; none: any, if all expected epochs are 0 */
    struct uuid request_id; /* of the requester's choice, the same when it repeats the request */
    struct uuid requester;  /* its store */
    size_t count;
    const struct mediator_change_pod *pods; /* of different ids and names */
};

struct mediator_verdict_pod {
    enum mediator_verdict verdict;
    char text[MEDIATOR_TEXT_MAX + 1]; /* a sentence for people */
    bool known;                       /* what follows is given */
    struct configuration now;         /* in force, after the decision */
    struct uuid request_id;           /* of the change that made it */
    uint64_t reported_epoch;
    bool news; /* not the repetition of an answer: worth a line in a log */
};

struct mediator_change_reply {
    bool granted; /* all of it; otherwise nothing */
    struct mediator_verdict_pod pods[MEDIATOR_CHANGE_PODS_MAX];
};

/* Grants a pod's change iff the store is the expected one, the epoch is the expected one, no higher one was
 * reported (unless the primary in force registers one at least as high), and configuration_may_follow agrees;
 * or the request id is that of the change in force and asks for exactly it. The request is granted iff all
 * its pods are.
 *
 * 0: decided, `reply` says what; refusals carry the configuration in force. PS_EINVAL: malformed, nothing was
 * decided. PS_ELIMIT: too many pods. PS_EIO, PS_ENOMEM: nothing was decided, ask again. */
int mediator_change(struct mediator_core *core, const struct mediator_change *request, uint64_t now_unix_ns,
                    struct mediator_change_reply *reply, struct ps_error *err);

/* ---- the rest */

/* A node tells which epochs are in force where it is; the highest of each pod is kept. `epochs` gets those
 * here, 0 for a pod that is not. Different pods, at most MEDIATOR_CHANGE_PODS_MAX, in one transaction.
 * PS_EINVAL, PS_EIO. */
struct mediator_report {
    struct uuid pod;
    uint64_t epoch;
};
int mediator_report(struct mediator_core *core, const char *cluster, const struct mediator_report *reports,
                    size_t count, uint64_t *epochs, struct ps_error *err);

/* In byte order: the first cluster behind `after` ("": from the start), the first pod of a cluster whose name
 * is behind `after`. NULL: there is none. Valid until the next change. */
const char *mediator_cluster_after(const struct mediator_core *core, const char *after);
const struct mediator_pod *mediator_pod_after(const struct mediator_core *core, const char *cluster,
                                              const char *after);

/* Decisions about a pod with numbers above `after`, oldest first. PS_ENOTFOUND, PS_EIO. */
int mediator_history(struct mediator_core *core, const char *cluster, const struct uuid *pod, uint64_t after,
                     struct mediator_decision *out, size_t max, size_t *count, struct ps_error *err);

/* Drops a pod and its history. Only a person may ask for it, when the pod is gone for good: a pod that still
 * runs could then be registered anew by whichever of its members comes first. PS_ENOTFOUND, PS_EIO. */
int mediator_forget(struct mediator_core *core, const char *cluster, const struct uuid *pod,
                    struct ps_error *err);

bool mediator_verdict_grants(enum mediator_verdict verdict);
/* "granted", "epoch-moved": stable words. */
const char *mediator_verdict_name(enum mediator_verdict verdict);

#endif
