/* A zoned device as blkdev.h wants it: what a zoned namespace does not do by itself.
 *
 * Pure: sits on a raw device (reads and writes by the namespace's own addresses) and a control (resets and
 * finishes zones). Owns both.
 *
 * - A zone's capacity may be less than the distance to the next one. The owner sees zones without gaps, all
 * of one size: the largest power of two that fits each zone's capacity, at most BLKDEV_ZONE_MAX; what is
 * beyond is not used.
 * - Writes into a zone are sent one at a time, in pieces that the kernel does not cut, in the order of
 * submission: the device takes them at its write pointer alone.
 * - The device lets only so many zones be active (begun and neither full nor finished). A zone that will not
 * be filled is finished: when the owner says so (blkdev_finish), when its usable part is full, and, since no
 * owner goes on with a zone after an opening, when it is found begun (with the first change). A write that
 * would begin one too many waits for what is being finished or reset; if there is nothing to wait for, it
 * fails.
 * - What lies behind the write pointer is not read from the device (it may be an error there): it reads as
 * zeroes.
 * - A zone that is empty is not reset again. One that is read-only or offline is retired, and so is one whose
 * reset fails; as long as the device calls that one begun it counts as active.
 *
 * Zone append is not used. It lets several writes of one zone be under way, and says afterwards where each
 * went; but owners (node/pod) decide where data goes before they write it: a batch of the log names the place
 * of what follows, and maps are changed while the write is under way. Nor does the kernel offer it to
 * programs on a block device: it would take passthrough commands. Several zones are written at once all the
 * same: log, moved data and metadata each have theirs. */
#ifndef PS_COMMON_BLKDEV_ZONES_H
#define PS_COMMON_BLKDEV_ZONES_H

#include "common/blkdev.h"

enum {
    BLKDEV_ZONE_MIN = 1 << 20,
    BLKDEV_ZONE_MAX = 1 << 30,
    BLKDEV_ZONES_ACTIVE_MIN = 12, /* a pod's: two halves of anchors, log, metadata twice, three streams of
                                     moved data, and ends that are being finished */
};

enum zone_condition {
    ZONE_EMPTY,
    ZONE_BEGUN,
    ZONE_FULL, /* or finished */
    ZONE_READ_ONLY,
    ZONE_OFFLINE,
};

/* As the device reports it; bytes. */
struct zone_report {
    uint64_t start, capacity;
    uint64_t written; /* from the start to the write pointer; of a full one up to its capacity */
    enum zone_condition condition;
};

enum zone_op {
    ZONE_RESET,
    ZONE_FINISH,
    ZONE_NOTHING, /* is only answered, in the loop's time */
};

struct zone_command {
    enum zone_op op;
    uint64_t start, length; /* of the whole zone, by the device's addresses */
    /* After a failure, what the device says of the zone; ZONE_BEGUN if it does not say. */
    enum zone_condition condition;
    /* 0 or PS_EIO; never before submit has returned. */
    void (*done)(struct zone_command *command, int status);
    void *priv;
};

struct zone_control {
    void (*submit)(struct zone_control *control, struct zone_command *command);
    void (*destroy)(struct zone_control *control); /* no command is under way */
};

struct blkdev_zones_config {
    struct blkdev *raw;
    struct zone_control *control;
    const struct zone_report *zones; /* copied */
    uint32_t count;
    uint64_t zone_bytes;  /* from one start to the next */
    uint32_t max_active;  /* 0: no limit */
    uint32_t piece_bytes; /* of writes; a multiple of raw's write unit */
};

/* On success it owns raw and control. PS_EINVAL, with a detail: the device's zones are of no use here;
 * PS_ENOMEM. */
int blkdev_zones_create(const struct blkdev_zones_config *config, struct blkdev **out, struct ps_error *err);

/* What is under it; `dev` itself if it is none of these. */
struct blkdev *blkdev_zones_raw(struct blkdev *dev);
/* Zones that are active now. */
uint32_t blkdev_zones_active(const struct blkdev *dev);

#endif
