/* What member.c and member_copy.c share. */
#ifndef PS_NODE_POD_MEMBER_IMPL_H
#define PS_NODE_POD_MEMBER_IMPL_H

#include "node/pod/member.h"

enum {
    SEALED_MAX = REPLICA_TAIL_MAX,
    STREAM_READS = 8, /* of the log, for one member, under way or waiting for their turn: 1 MiB each */
};
_Static_assert((int)REPLICA_AHEAD >= (int)POD_LOG_SEALED_MAX, "a member acknowledges all that waits for it");
_Static_assert((int)POD_LOG_APPENDS_MAX <= (int)REPLICA_TAIL_MAX,
               "the replica knows all that is not applied");

struct stream;

struct stream_read {
    struct stream *stream;
    uint64_t stream_number; /* that asked for it */
    bool busy, ready;
    struct pod_log_read read; /* `buf` is allocated when first used */
};

/* Batches to one member, in order. */
struct stream {
    struct member_pod *m;
    struct uuid to;
    bool used;
    struct replica_append_msg envelope;
    uint64_t next, upto; /* batches; upto 0: none */
    uint64_t acked;
    struct stream_read reads[STREAM_READS]; /* by seq */
};

enum copy_to_state {
    COPY_TO_NOBODY,
    COPY_TO_REFUSED,   /* by the pod */
    COPY_TO_PREPARING, /* the pod's checkpoint */
    COPY_TO_BEGINNING, /* asks where to go on, until that is answered */
    COPY_TO_FLOWING,
    COPY_TO_ENDING,
};

struct copy_to {
    enum copy_to_state state;
    struct uuid to;
    struct replica_copy_msg envelope;
    struct pod_copy_info info;
    uint64_t sent, done;         /* pieces */
    uint64_t asked_ns, heard_ns; /* asked 0: to be asked now */
    bool reading;
    struct pod_copy_read read;
};

enum copy_from_state {
    COPY_FROM_NOBODY,
    COPY_FROM_WANTED, /* waits until nothing is being persisted */
    COPY_FROM_BEGINNING,
    COPY_FROM_FILLING,
    COPY_FROM_END_WANTED,
    COPY_FROM_ENDING,
};

struct copy_from {
    enum copy_from_state state;
    struct replica_copy_msg id; /* its beginning */
    uint8_t description[POD_COPY_DESCRIPTION_BYTES];
    uint32_t description_bytes;
    uint64_t told;                    /* pieces acknowledged */
    struct replica_copy_msg finished; /* the last one that came to its end; copy 0: none */
};

/* A record that others are asked for, one after the other. */
struct repair_ask {
    bool active;
    uint64_t group;
    uint64_t begun_ns, asked_ns; /* asked 0: nobody is asked at the moment */
    struct uuid asked;
    struct uuid tried[REPLICA_PEERS_MAX]; /* in the present round */
    uint32_t tried_count;
    bool lost; /* all of this round said that they lost it, too */
    uint64_t pause_until_ns;
};

enum {
    RECORD_READS_MAX = 4
};

/* A record that another member asks for. */
struct record_serve {
    struct member_pod *m;
    bool busy;
    struct uuid to;
    struct pod_record_read read; /* `buf` is allocated when first used */
};

struct member_pod {
    struct member_config config;
    struct pod_log_events log;
    struct pod *pod;
    struct replica *replica;
    uint64_t now_ns;
    bool again;
    void (*opened)(void *user, int status, struct member_pod *member);
    void *opened_user;
    struct ps_error *err;

    struct {
        struct log_id id;
        const void *batch;
        uint32_t bytes;
    } sealed[SEALED_MAX]; /* own batches that are not applied yet, by seq */
    struct stream streams[REPLICA_PEERS_MAX];
    uint64_t retained, retained_ns; /* what the pod keeps of its log for others, told when */
    bool standing_down, closing, truncating, persisting;
    bool yielded; /* standing down, and the pod is on standby already */
    void (*closed)(void *user);
    void *closed_user;
    void (*adopted)(void *user, int status);
    void *adopted_user;
    struct uuid adopting;
    struct uuid store; /* own */
    struct copy_to out;
    struct copy_from in;
    struct repair_ask repairs[POD_REPAIRS_MAX];
    struct record_serve records[RECORD_READS_MAX];
};

/* member.c */
void member_tell_opened(struct member_pod *m);

/* member_copy.c: full copies, to another member and from one */
void member_copy_start(void *user, const struct uuid *to, const struct replica_copy_msg *envelope);
void member_copy_stop(void *user);
void member_copy_lost(struct member_pod *m, const struct uuid *store);
/* The pod may be closed, though it is not open. */
bool member_copy_may_close(const struct member_pod *m);
uint64_t member_copy_turn(struct member_pod *m);

/* member_repair.c: records that a flash has lost */
void member_repair(void *user, uint64_t group);
uint64_t member_repair_turn(struct member_pod *m);
/* The pod is opened anew: what it asked for is nobody's. */
void member_repair_forget(struct member_pod *m);
void member_repair_free(struct member_pod *m);

#endif
