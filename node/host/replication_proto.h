/* What members of a pod tell each other, as messages and back, checked. Pure.
 *
 * Messages point into themselves and into the struct that they were made from: don't copy them, and keep that
 * one until the message is packed. Reading checks everything that has a form: lengths of ids, counts, the
 * configuration, known values of enums. What the numbers mean is the replica's to judge. PS_EINVAL with a
 * detail. */
#ifndef PS_NODE_HOST_REPLICATION_PROTO_H
#define PS_NODE_HOST_REPLICATION_PROTO_H

#include "common/configuration_proto.h"
#include "node/replication/heartbeat.h"
#include "pstorage/v1/replication.pb-c.h"

enum {
    HELLO_TEXT_MAX = 255
};

/* A node, as it introduces itself to its peers. */
struct replication_hello {
    char node[CONFIGURATION_NAME_MAX + 1], cluster[CONFIGURATION_NAME_MAX + 1];
    char pod_name[CONFIGURATION_NAME_MAX + 1];
    struct uuid store, pod;
    uint64_t run, epoch, log_end;
    char software[32];
    char rpc_address[HELLO_TEXT_MAX + 1];
    uint16_t heartbeat_port; /* 0: none */
};

void hello_to_message(const struct replication_hello *hello, Pstorage__V1__ReplicationHello *out);
int hello_from_message(const Pstorage__V1__ReplicationHello *message, struct replication_hello *out,
                       struct ps_error *err);

struct state_message {
    Pstorage__V1__ReplicationState message;
    struct configuration_message configuration;
    Pstorage__V1__LogId applied, end, tail[REPLICA_TAIL_MAX], *tails[REPLICA_TAIL_MAX];
};
void state_to_message(const struct replica_state_msg *msg, struct state_message *out);
int state_from_message(const Pstorage__V1__ReplicationState *message, struct replica_state_msg *out,
                       struct ps_error *err);

void beat_to_message(const struct heartbeat_msg *msg, Pstorage__V1__HeartbeatState *out);
int beat_from_message(const Pstorage__V1__HeartbeatState *message, struct heartbeat_msg *out,
                      struct ps_error *err);

struct begin_message {
    Pstorage__V1__ReplicationBegin message;
    Pstorage__V1__LogId after, follows[REPLICA_TAIL_MAX], *pointers[REPLICA_TAIL_MAX];
};
void begin_to_message(const struct replica_begin_msg *msg, struct begin_message *out);
int begin_from_message(const Pstorage__V1__ReplicationBegin *message, struct replica_begin_msg *out,
                       struct ps_error *err);

struct append_message {
    Pstorage__V1__ReplicationAppend message;
    Pstorage__V1__LogId id;
};
void append_to_message(const struct replica_append_msg *msg, struct append_message *out);
int append_from_message(const Pstorage__V1__ReplicationAppend *message, struct replica_append_msg *out,
                        struct ps_error *err);

struct ack_message {
    Pstorage__V1__ReplicationAck message;
    Pstorage__V1__LogId end;
};
void ack_to_message(const struct replica_ack_msg *msg, struct ack_message *out);
int ack_from_message(const Pstorage__V1__ReplicationAck *message, struct replica_ack_msg *out,
                     struct ps_error *err);

struct copy_message {
    Pstorage__V1__ReplicationCopy message;
    Pstorage__V1__LogId of;
};
void copy_to_message(const struct replica_copy_msg *msg, struct copy_message *out);
int copy_from_message(const Pstorage__V1__ReplicationCopy *message, struct replica_copy_msg *out,
                      struct ps_error *err);

/* A status that is neither 0 nor PS_EABORTED arrives as PS_EIO, with its detail. */
void copy_ack_to_message(const struct replica_copy_ack *ack, Pstorage__V1__ReplicationCopyAck *out);
int copy_ack_from_message(const Pstorage__V1__ReplicationCopyAck *message, struct replica_copy_ack *out,
                          struct ps_error *err);

void record_to_message(const struct replica_record_msg *msg, Pstorage__V1__ReplicationRecord *out);
int record_from_message(const Pstorage__V1__ReplicationRecord *message, struct replica_record_msg *out,
                        struct ps_error *err);

#endif
