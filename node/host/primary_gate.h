/* Whether this node takes requests of hosts, as the ways in see it: a node that stands alone always does, one
 * of a cluster while it is the pod's primary. */
#ifndef PS_NODE_HOST_PRIMARY_GATE_H
#define PS_NODE_HOST_PRIMARY_GATE_H

#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

#include "common/status.h"

struct rpc_call;

struct primary_gate {
    bool (*is_open)(void *user);
    /* Writes PS_ENOTPRIMARY and where to go instead. */
    int (*refusal)(void *user, struct ps_error *err);
    /* Sends a call for a change on to the primary. True: it will be answered. May be NULL. */
    bool (*forward)(void *user, struct rpc_call *call, const ProtobufCServiceDescriptor *service,
                    const char *method, const ProtobufCMessage *message);
    void *user;
};

/* `gate` NULL: alone. */
static inline bool primary_gate_is_open(const struct primary_gate *gate)
{
    return !gate || gate->is_open(gate->user);
}

#endif
