/* Whether this node takes requests of hosts, and who does if not, as the ways in see it: a node that stands
 * alone always does, one of a cluster while it is the pod's primary. */
#ifndef PS_NODE_HOST_PRIMARY_GATE_H
#define PS_NODE_HOST_PRIMARY_GATE_H

#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

#include "common/status.h"

struct rpc_call;

/* Another node, and where it listens; valid until the next turn. */
struct primary_place {
    const char *node, *address;
};

struct primary_gate {
    bool (*is_open)(void *user);
    /* Writes PS_ENOTPRIMARY and where to go instead. */
    int (*refusal)(void *user, struct ps_error *err);
    /* Sends a call for a change on to the primary. True: it will be answered. May be NULL. */
    bool (*forward)(void *user, struct rpc_call *call, const ProtobufCServiceDescriptor *service,
                    const char *method, const ProtobufCMessage *message);
    /* Which other node is the primary, as far as is known here; false: none. What it says never goes back to
     * an earlier configuration. */
    bool (*primary)(void *user, struct primary_place *out);
    void *user;
};

/* `gate` NULL: alone. */
static inline bool primary_gate_is_open(const struct primary_gate *gate)
{
    return !gate || gate->is_open(gate->user);
}

#endif
