/* The pod's log as replication sees it. What is said in pod.h about threads and callbacks holds here too.
 *
 * A pod that is opened with `config.log` set is replicated. It opens on standby: what is known to be
 * committed is applied, later batches are kept as an uncommitted tail, and no request of a host is taken
 * (they fail with PS_EUNAVAILABLE). From there it either follows, given batches by pod_log_append and told by
 * pod_log_commit what is committed, or leads (pod_lead). A pod that has led and shall follow is ended with
 * pod_abandon and opened again. Of the functions below only pod_log_identity and pod_log_ends are for pods
 * that are not replicated, too.
 *
 * Nothing is applied, and so nothing reaches a checkpoint or is answered, before it is both durable here and
 * committed. A pod without `config.log` commits what is durable. */
#ifndef PS_NODE_POD_POD_LOG_H
#define PS_NODE_POD_POD_LOG_H

#include "node/pod/pod.h"
#include "node/replication/log_id.h"

enum {
    POD_LOG_PROTOCOL_MAX = 1536, /* bytes that pod_log_protocol_write keeps */
    POD_LOG_SEALED_MAX = 3,      /* own batches that are not applied: two in flight, one being delivered */
    POD_LOG_APPENDS_MAX = 16,    /* appended batches that are not applied */
    POD_REPAIRS_MAX = 16,        /* records that others are asked for at once */
    POD_RECORD_BYTES_MAX = 8 * 4096 + 64,
    POD_COPY_PIECES = 2, /* of a copy on their way to flash */
    POD_COPY_DESCRIPTION_BYTES = 4160,
    POD_COPY_READ_BYTES = 4096 + 512 * 1024, /* the buffer for a piece */
};

/* What a replicated pod tells. Called from pod_turn, pod_log_* or device completions; they may call
 * pod_log_commit and pod_log_append, and nothing else of the pod. */
struct pod_log_events {
    /* Leading: a batch is sealed and on its way to flash. `batch` stays valid and unchanged until it is
     * applied or the pod is abandoned. */
    void (*sealed)(void *user, const struct log_id *id, const void *batch, uint32_t bytes);
    /* The log is durable up to and including `end`, without gaps; own batches or appended ones. */
    void (*durable)(void *user, const struct log_id *end);
    /* Leading: may a read be answered now? Asked once a read, when it is submitted. Reads that may not wait
     * until they may, or the pod is abandoned. */
    bool (*may_read)(void *user);
    /* A host waits for a record that can't be had from flash: pod_record_repair is expected with what another
     * member has. At most POD_REPAIRS_MAX at once. NULL: nobody can be asked. */
    void (*repair)(void *user, uint64_t group);
    void *user;
};

/* The store's identity and its number of starts, which grew before this one's pod_open called back. */
struct pod_log_identity {
    uint8_t store[16], pod[16];
    uint64_t run;
};
void pod_log_identity(const struct pod *pod, struct pod_log_identity *out);

/* Gives the empty log of a pod on standby another pod's identity; durable when `cb` runs, and after a crash
 * it is either the old or the new one. PS_EPRECONDITION: the log is not empty, or the pod is not on standby.
 * PS_EUNAVAILABLE: the pod failed. No append meanwhile. */
int pod_log_adopt(struct pod *pod, const uint8_t pod_id[16], void (*cb)(void *user, int status), void *user);

/* The last batch that is applied (= known to be committed and durable here), and the last durable one. Either
 * may be NULL. */
void pod_log_ends(const struct pod *pod, struct log_id *applied, struct log_id *durable);
/* The durable batch at `seq`: 0; PS_ENOTFOUND if it is not retained (or not there yet); PS_EUNAVAILABLE: it
 * is looked for in flash, ask again at a later turn. seq 0 and the last applied one are always known. */
int pod_log_id_at(struct pod *pod, uint64_t seq, struct log_id *out);

/* The device failed: nothing more becomes durable until the pod is opened anew. */
bool pod_log_failed(const struct pod *pod);

/* ---- following */

/* Takes a copy of a batch made elsewhere. It must follow the last one appended. 0: `durable` tells
 * when it is. PS_ELIMIT: POD_LOG_APPENDS_MAX appended ones are not yet applied (so no more are ever taken
 * beyond what is known to be committed), no log segment is free right now, or a truncation is under way;
 * again after a turn. PS_EPRECONDITION: not the successor, another pod's, or this one is not on standby.
 * PS_EDAMAGED, PS_EVERSION: no sound batch. PS_EFULL: there is no room for it and none to come.
 * PS_EUNAVAILABLE: the pod failed. All with a detail. */
int pod_log_append(struct pod *pod, const void *batch, uint32_t bytes, struct ps_error *err);

/* Everything up to `seq` is committed. Goes up only; may run ahead of what is here. Also when leading, where
 * what was said before pod_lead about batches to come is forgotten. It is applied by a later turn. The caller
 * knows that what is here up to `seq` is the primary's log: nothing compares it any more. */
void pod_log_commit(struct pod *pod, uint64_t seq);

/* What was said about batches that are not applied yet was said of another log. */
void pod_log_forget_commit(struct pod *pod);

/* On standby: drops the batches after `seq`, which is not below the applied end. Durable when `cb` runs: no
 * restart brings them back. No append meanwhile. A `seq` at or behind the end drops nothing but restarts the
 * log all the same. PS_EPRECONDITION: below what is applied, or not on standby; PS_ELIMIT: one is under way;
 * PS_EUNAVAILABLE: the pod failed. Status of `cb`: 0; PS_EFULL: no segment for it, nothing was changed;
 * PS_EIO; PS_EUNAVAILABLE. */
int pod_log_truncate(struct pod *pod, uint64_t seq, void (*cb)(void *user, int status), void *user);

/* Free flash above the reserve, bytes; not 0 while garbage collection still makes some. */
uint64_t pod_log_free_bytes(const struct pod *pod);

/* ---- leading */

/* On standby, with all of the log applied and no append on its way: from now on the pod plans batches of
 * `epoch` and takes requests. Ids of blocks, pages and images start beyond whatever another primary may have
 * given to batches that were lost. */
void pod_lead(struct pod *pod, uint64_t epoch);
/* The configuration changed and this pod goes on leading: batches sealed from now on carry `epoch`. */
void pod_lead_epoch(struct pod *pod, uint64_t epoch);
/* Writes are admitted as if no more than this were free above the reserve: the least over all sync members.
 * UINT64_MAX: no limit. */
void pod_log_limit_free(struct pod *pod, uint64_t bytes);

/* Requests that change something are begun only in what these thousandths leave of the time; 0 when the pod
 * begins to lead. */
void pod_slow(struct pod *pod, uint32_t permille);

/* ---- reading the log, for members that lag */

struct pod_log_read {
    uint64_t seq;
    void *buf; /* BATCH_MAX_BYTES, aligned to BLKDEV_ALIGN */
    /* Results. */
    struct log_id id;
    uint32_t bytes;
    void (*cb)(struct pod_log_read *read, int status);
    void *user;
    /* The pod's own. */
    struct list_node link;
    struct blkdev_req req;
    struct pod *pod;
    int status;
};
/* Reads the durable batch at `seq` from flash and verifies it; generation and next segment in it are this
 * member's. Status 0; PS_ENOTFOUND: not retained; PS_EDATALOSS: damaged; PS_EIO. Several may be under way.
 * Non-zero: refused at once, PS_EUNAVAILABLE. */
int pod_log_read(struct pod *pod, struct pod_log_read *read);
/* The oldest batch that can be read; its successors up to the durable end can be read too. 0 while there is
 * none. After a start it goes back further when the search for older ones is through. */
uint64_t pod_log_first(struct pod *pod);
/* Of the batches behind `seq`, as far as the log knows them: what a member that stands there lacks. Of older
 * ones the whole segment is counted. */
uint64_t pod_log_bytes_after(const struct pod *pod, uint64_t seq);
/* A start looks through the log in flash for batches before those that it replayed: what is not retained now
 * may be found yet. */
bool pod_log_searching(const struct pod *pod);
/* Keeps batches from `seq` on readable while at least half of the space above the reserve is free of them:
 * let F be the free segments and those kept for this alone; when more than half of F less the reserve is kept
 * the oldest goes. Segments in which something lives cost nothing. As opened: 1, and what is kept then stays
 * so over a restart. 0: keep none for anybody. */
void pod_log_retain(struct pod *pod, uint64_t seq);

/* ---- a full copy, for a member that the retained log does not reach

 * What is copied is a checkpoint, as it lies in flash, segment by segment to the same places; the log after
 * it comes in the ordinary way. So the receiver needs segments of the same size, and enough of them. */

struct pod_copy_info {
    struct log_id base; /* the last batch in it; the owner keeps the log after it for the receiver */
    uint64_t pieces, bytes;
    uint32_t segments;
    uint8_t description[POD_COPY_DESCRIPTION_BYTES]; /* for pod_copy_in_begin */
};
/* Makes a checkpoint and keeps all that it refers to until pod_copy_out_end; the pod goes on meanwhile, with
 * so much less free space as what it lets go of. One at a time: PS_EPRECONDITION; PS_EUNAVAILABLE, PS_ENOMEM.
 * `cb`: 0, or what the pod failed with; also after pod_copy_out_end, if that came first. */
int pod_copy_out_begin(struct pod *pod, void (*cb)(void *user, int status), void *user);
/* After `cb` told 0. From then on pod_log_id_at knows the last batch of the copy. */
void pod_copy_out_describe(const struct pod *pod, struct pod_copy_info *out);
/* A read under way still calls back, with PS_ECANCELLED. Also when none was begun. */
void pod_copy_out_end(struct pod *pod);

struct pod_copy_read {
    uint64_t number; /* 0 to pieces - 1 */
    uint8_t *buf;    /* POD_COPY_READ_BYTES, aligned to BLKDEV_ALIGN */
    /* Results: inside of buf, for pod_copy_in_piece. */
    uint8_t *message;
    uint32_t bytes;
    void (*cb)(struct pod_copy_read *read, int status);
    void *user;
};
/* One at a time. Non-zero: refused at once. */
int pod_copy_read(struct pod *pod, struct pod_copy_read *read);

/* May this be taken in? PS_EPRECONDITION: never here, `err` says why, for people; PS_EABORTED: not now;
 * PS_EINVAL, PS_EDAMAGED, PS_EVERSION: no description that this program knows; PS_EIO: the pod failed. */
int pod_copy_in_check(const struct pod *pod, const void *description, size_t bytes, struct ps_error *err);
/* On standby, no truncation and no protocol_write under way: the pod's own state is given up for the copy, or
 * one that was begun for this one. When `cb` runs with 0 this is durable: an opening finds an empty pod, with
 * its identity and replication's state, until pod_copy_in_end is through. The pod is not open meanwhile, but
 * for pod_log_identity, pod_log_protocol and pod_log_protocol_write. Non-zero: as pod_copy_in_check, nothing
 * was changed. `cb` may run before the return. */
int pod_copy_in_begin(struct pod *pod, const void *description, size_t bytes,
                      void (*cb)(void *user, int status), void *user, struct ps_error *err);
/* Takes a copy of the message. In order; one that is here already is welcome. PS_EABORTED: begin again at
 * pod_copy_in_written; PS_EINVAL, PS_EDAMAGED, PS_EVERSION: not sound; PS_EIO: the pod failed. */
int pod_copy_in_piece(struct pod *pod, const void *message, size_t bytes, struct ps_error *err);
/* Pieces whose writes are done; no power cut is survived before the end. */
uint64_t pod_copy_in_written(const struct pod *pod);
/* All pieces are written: makes them durable and opens the pod with them, on standby, as pod_reopen does.
 * No pod_log_protocol_write from here on until `cb`. PS_EABORTED: not all are here. */
int pod_copy_in_end(struct pod *pod, void (*cb)(void *user, int status), void *user);

/* ---- what replication keeps durably beside the log */

/* The last state written, and its length; 0 if none was. Valid until the next write is durable. */
size_t pod_log_protocol(const struct pod *pod, const void **data);
/* Replaces it, whole or not at all; `cb` when durable. Copies `data`. One at a time: the next
 * one may be begun from within `cb`. PS_EUNAVAILABLE: the pod failed or is ending. */
int pod_log_protocol_write(struct pod *pod, const void *data, size_t bytes,
                           void (*cb)(void *user, int status), void *user);

/* Leading: requests that change something wait until they are let go on; what is under way ends. */
void pod_hold(struct pod *pod, bool hold);

/* ---- records that flash has lost */

struct pod_record_read {
    struct list_node link;
    uint64_t group;
    uint8_t *buf;   /* POD_RECORD_BYTES_MAX */
    uint32_t bytes; /* result: the record, verified */
    int status;
    void (*cb)(struct pod_record_read *read, int status);
    void *user;
};
/* Reads a record for another member. `cb` runs from pod_turn: 0; PS_ENOTFOUND: no such group here (yet, or
 * any more); PS_EDATALOSS: it is lost here, too; PS_EIO, PS_EUNAVAILABLE. Non-zero: refused at once. */
int pod_record_read(struct pod *pod, struct pod_record_read *read);
/* After the event `repair`: what another member has, or the status with which that was given up. Copies
 * `record`. PS_EDAMAGED: that is no sound record of this group, somebody else may be asked. 0 as well if
 * nobody waits for it any more. */
int pod_record_repair(struct pod *pod, uint64_t group, const void *record, uint32_t bytes, int status);

/* ---- the end of a role */

/* Leading, held, and nothing planned that is not applied: the pod is on standby from now on, as it is.
 * Requests that wait and images that are open meet the same end as with pod_reopen. False: something is under
 * way, or the log ends where only a leader can go on (no segment was free for it), and nothing was changed.
 */
bool pod_yield(struct pod *pod);

/* Ends this opening without a checkpoint and opens the pod anew, on standby, in the same place: open requests
 * fail with PS_EUNAVAILABLE, images that are open stay so in name (their requests fail until they are
 * closed), planned and unplanned changes that are not in the log are gone. Then `cb`; with an error the pod
 * is failed and can only be destroyed. */
void pod_reopen(struct pod *pod, void (*cb)(void *user, int status), void *user);

/* Ends the open pod without a checkpoint: open requests fail with PS_EUNAVAILABLE, device requests are waited
 * for, then `cb`; pod_destroy after that. What was durable is found again by the next pod_open. No events of
 * struct pod_log_events any more from here on; callbacks of truncate, adopt, protocol_write and reads under
 * way still run, before `cb`; that of a pod_close under way does not. */
void pod_abandon(struct pod *pod, void (*cb)(void *user), void *user);

#endif
