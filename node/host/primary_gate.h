/* Whether this node takes requests of hosts, as the ways in see it: a node that stands alone always does, one
 * of a cluster while it is the pod's primary. */
#ifndef PS_NODE_HOST_PRIMARY_GATE_H
#define PS_NODE_HOST_PRIMARY_GATE_H

#include <stdbool.h>

#include "common/status.h"

struct primary_gate {
    bool (*is_open)(void *user);
    /* Writes PS_ENOTPRIMARY and where to go instead. */
    int (*refusal)(void *user, struct ps_error *err);
    void *user;
};

/* `gate` NULL: alone. */
static inline bool primary_gate_is_open(const struct primary_gate *gate)
{
    return !gate || gate->is_open(gate->user);
}

#endif
