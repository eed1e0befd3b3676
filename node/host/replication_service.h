/* The Replication service: what other members ask of this one. Calls that wait for the log to be durable are
 * kept here until the acknowledgement that covers them. Pure; on the reactor's thread. */
#ifndef PS_NODE_HOST_REPLICATION_SERVICE_H
#define PS_NODE_HOST_REPLICATION_SERVICE_H

#include "common/container.h"
#include "common/rpc/server.h"
#include "node/host/replication_proto.h"

enum {
    REPLICATION_PENDING_MAX = 64 /* all peers together; each has at most its window */
};

/* The member, as the service sees it. Refusals are answers too. */
struct replication_handler {
    /* The peer's name is in PSTORAGE_PEERS. */
    bool (*knows)(void *user, const char *name);
    /* The member is open; until then nothing else is called. */
    bool (*is_open)(void *user);
    void (*hello)(void *user, const struct replication_hello *in, struct replication_hello *out);
    /* False: there is no answer. */
    bool (*state)(void *user, const struct replica_state_msg *in, struct replica_state_msg *out);
    /* True: replication_service_ack answers, maybe at once. */
    bool (*begin)(void *user, const struct replica_begin_msg *in, struct replica_ack_msg *refusal);
    bool (*append)(void *user, const struct replica_append_msg *in, const void *batch, uint32_t bytes,
                   struct replica_ack_msg *refusal);
    /* True: replication_service_copy_ack answers, maybe at once. */
    bool (*copy)(void *user, const struct replica_copy_msg *in, const void *data, uint32_t bytes,
                 struct replica_copy_ack *ack);
    /* replication_service_record_answer answers, maybe at once. */
    void (*record)(void *user, const struct replica_record_msg *in);
};

struct replication_pending {
    struct list_node link; /* in `pending` or `spare` */
    struct replication_service *service;
    struct rpc_call *call;
    struct uuid from; /* the primary's store */
    uint64_t seq;     /* 0: a Begin */
    uint64_t group;   /* of a record */
    /* Of a copy. */
    uint64_t copy, number;
    enum replica_copy_step step;
};

struct replication_service {
    const struct replication_handler *handler;
    void *user;
    struct list_node pending, copies, records, spare;
    struct replication_pending all[REPLICATION_PENDING_MAX];
};

/* Before the server listens; `service` stays in place until it is closed. */
void replication_service_init(struct replication_service *service, const struct replication_handler *handler,
                              void *user);
void replication_service_register(struct replication_service *service, struct rpc_server *server);
/* Answers the primary's Begin, and all batches up to msg->end; with a status, all that waits. */
void replication_service_ack(struct replication_service *service, const struct uuid *to,
                             const struct replica_ack_msg *msg);
/* Answers what of this copy it covers. */
void replication_service_copy_ack(struct replication_service *service, const struct uuid *to,
                                  const struct replica_copy_ack *ack);
/* Answers who asked for this group; `record` (copied) goes along if the status is 0. */
void replication_service_record_answer(struct replication_service *service, const struct uuid *to,
                                       const struct replica_record_msg *msg, const void *record,
                                       uint32_t bytes);

#endif
