/* Checking a pool offline: opened with pod_config.check_only, which writes nothing, and looked through. */
#ifndef PS_NODE_POD_CHECK_H
#define PS_NODE_POD_CHECK_H

#include "node/pod/pod.h"
#include "node/pod/survey.h"

struct pod_check_request {
    bool records; /* read and verify every record, too */
    /* Inputs: who is told of each finding, and of the end. */
    void (*found)(void *user, const struct survey_finding *finding);
    void (*done)(void *user, struct pod_check_request *request);
    void *user;
    /* Results. */
    struct survey_totals totals; /* of the records that are damaged, too */
    uint64_t records_read, record_bytes;
    int status; /* not 0: the check could not be made */
    char why[128];
};

/* Of a pod that was opened to be checked, once. Goes on in pod_turn. */
void pod_check(struct pod *pod, struct pod_check_request *request);
/* Ends one that is under way, without its callback. True: nothing is being read, and the pod may be destroyed;
 * else ask again after a turn. */
bool pod_check_stop(struct pod *pod);

#endif
