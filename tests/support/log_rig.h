/* Members of one replicated pod in one process, each on a device in memory. The test is their protocol: the
 * group ships the leader's batches, and commits what every member that counts has durable. */
#ifndef PS_TESTS_SUPPORT_LOG_RIG_H
#define PS_TESTS_SUPPORT_LOG_RIG_H

#include "node/pod/pod_log.h"
#include "tests/support/pod_rig.h"

enum {
    GROUP_MAX = 3,
    HISTORY_MAX = 4096
};

/* Copies of a log's batches as their maker sealed them, by sequence. */
struct history {
    struct {
        struct log_id id;
        void *data;
        uint32_t bytes;
    } at[HISTORY_MAX]; /* [0] is the empty log */
    uint64_t end;
};
void history_put(struct history *h, const struct log_id *id, const void *batch, uint32_t bytes);
void history_cut(struct history *h, uint64_t seq);

struct member {
    struct rig rig;
    struct pod_log_events events;
    struct group *group;
    struct log_id durable; /* as told since it was opened */
    bool may_read, away;   /* away: gets nothing, does not count */
    bool counts;
};

struct group {
    struct member members[GROUP_MAX];
    unsigned count;
    struct member *leader; /* NULL: none */
    struct history log;    /* of the leader */
    uint64_t commit, epoch;
    bool hold_commit; /* nothing more is committed */
    bool hold_ship;   /* nothing more is shipped */
    bool pumping;
};

void group_create(struct group *g, unsigned count, uint64_t device_bytes, uint64_t seed);
void group_destroy(struct group *g);
/* Made, opened, and the first one leads. */
struct member *group_start(struct group *g, unsigned count, uint64_t device_bytes, uint64_t seed);
/* Opens (or formats) the member's pod; returns the status. */
int member_open(struct member *m);
/* Ends it without a checkpoint. */
void member_abandon(struct member *m);
void member_crash(struct member *m, enum blkdev_mem_cut mode);
/* The member leads under the next epoch; all of its log is committed and applied first. */
void group_lead(struct group *g, struct member *m);
/* Ships and commits once; called by every step of a member. */
void group_pump(struct group *g);
/* Until every present member has applied all that the leader has sealed. */
void group_settle(struct group *g);
/* On standby: drops what the leader's log does not have and gets the rest. */
void member_catch_up(struct member *m, bool by_reading);
/* pod_log_id_at, however long it takes. */
int member_id_at(struct member *m, uint64_t seq, struct log_id *out);
/* Until the member has applied `seq`. */
void member_wait_applied(struct member *m, uint64_t seq);
int member_truncate(struct member *m, uint64_t seq);
/* Appends with patience: 0 or what else than PS_ELIMIT it said; PS_EUNAVAILABLE if the power failed. */
int member_append(struct member *m, const void *batch, uint32_t bytes);

void member_noise(uint8_t *buf, uint64_t bytes, uint64_t seed);
/* That, by a host of the leader. */
void member_write_noise(struct member *m, const char *name, uint64_t offset, uint64_t bytes, uint64_t seed);
/* Reads on any role. */
void member_read(struct member *m, const char *name, uint64_t offset, void *data, uint64_t length);
/* Of the log's end, images, their content and counts: equal on members that applied the same. */
uint64_t member_digest(struct member *m);
/* Every member equals the leader, and each is consistent in itself. */
void group_check(struct group *g);

#endif
