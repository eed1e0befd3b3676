/* A pod as the hosts' side sees it: images (volumes and snapshots), block I/O
 * and management. Pure: devices, time and randomness are passed in.
 *
 * One thread (the reactor) owns a pod and everything in this header. Nothing
 * here blocks. A callback never runs inside the call that submitted it; it
 * runs from pod_turn, or from a device's completion. The owner calls pod_turn
 * once after each round of events (a libuv prepare handle does): it plans what
 * was submitted, forms and ships the batch, and delivers completions.
 *
 * Order. A write is applied as a whole or not at all up to POD_ATOMIC_BYTES;
 * longer ones piece by piece in ascending order. Overlapping writes, trims and
 * zeroes that are in flight together take effect in the order of their
 * submission. A read sees every write that was answered before the read was
 * submitted; of one that was not, it sees all or nothing of each block. */
#ifndef PS_NODE_POD_POD_H
#define PS_NODE_POD_POD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/blkdev.h"
#include "common/container.h"
#include "common/large_memory.h"
#include "common/status.h"
#include "node/pod/image_use.h"

enum {
    POD_BLOCK_BYTES = 4096, /* unit of mapping and deduplication */
    POD_SECTOR_BYTES = 512, /* smallest host I/O; also the unit of sizes */
    POD_ATOMIC_BYTES = 128 * 1024,
    POD_MAX_IO_BYTES = 32 * 1024 * 1024,
    POD_NAME_MAX =
        63, /* characters of a volume's or a snapshot's own name: A-Z a-z 0-9 . _ -, first alphanumeric */
    POD_FULL_NAME_MAX = 2 * POD_NAME_MAX + 1, /* "volume@snapshot" */
    POD_FINDINGS_MAX = 64,
    POD_LOSSES_MAX = 256,
};
#define POD_MEMORY_MIN       (128ull << 20)
#define POD_MAX_VOLUME_BYTES (1ull << 48) /* 256 TiB */

struct pod;
struct pod_image;      /* an open volume or snapshot */
struct pod_log_events; /* pod_log.h */

/* ---- images */

enum pod_image_kind {
    POD_VOLUME,
    POD_SNAPSHOT
};

/* Space as of the last applied batch, in bytes. Logical = pattern + duplicate + unique. */
struct pod_image_space {
    uint64_t logical;   /* blocks that hold data or a pattern; deallocated ones don't count */
    uint64_t pattern;   /* of these, blocks that are a repeated pattern (zeroes too): no data stored */
    uint64_t duplicate; /* of these, blocks that were found stored already */
    uint64_t unique;    /* of these, blocks stored for this image */
    uint64_t stored;    /* flash bytes of the unique ones after compression */
};

/* Requests of hosts and their bytes, since this opening of the pod on this node. */
struct pod_image_activity {
    uint64_t reads, read_bytes, writes, written_bytes, trims, flushes;
};

/* Whose space it is, as a background walk of all maps found it. Blocks of 4 KiB, and bytes of this node's
 * flash. */
struct pod_image_held {
    bool known; /* false: no walk has ended yet that saw this image; the rest is 0 */
    uint64_t ns_ago;
    uint64_t referenced_blocks, referenced_bytes;   /* all that it refers to; patterns count as blocks */
    uint64_t exclusive_blocks, exclusive_bytes;     /* no other image holds it */
    uint64_t reclaimable_blocks, reclaimable_bytes; /* of a snapshot: what deleting it gives back */
};

struct pod_image_info {
    uint64_t id; /* never reused within the pod */
    enum pod_image_kind kind;
    char name[POD_FULL_NAME_MAX + 1]; /* "volume" or "volume@snapshot" */
    uint64_t size_bytes;
    uint64_t created_unix_ns;
    uint64_t volume_id; /* snapshot: its volume; else 0 */
    uint64_t origin_id; /* volume made as a clone: the snapshot it started from; else 0 */
    bool write_cache;
    uint32_t open_count;
    uint32_t snapshots; /* of a volume */
    struct pod_image_space space;
    struct pod_image_activity activity;
    struct pod_image_held held;
};

/* Copies the information of the image with this full name or id: 0 or PS_ENOTFOUND. */
int pod_image_by_name(struct pod *pod, const char *name, struct pod_image_info *out);
int pod_image_by_id(struct pod *pod, uint64_t id, struct pod_image_info *out);

/* The image that follows `name` in the order of names ("" starts): 0, or
 * PS_ENOTFOUND after the last. Survives concurrent changes. */
int pod_image_after(struct pod *pod, const char *name, struct pod_image_info *out);

/* Names a state of an image, as changes make it: another one after each change of name, size, write cache or
 * number of snapshots. Never 0. */
uint64_t pod_image_tag(const struct pod_image_info *info);

/* Opens by full name; snapshots open read-only. An open image can be renamed
 * and resized, not deleted (unless forced: its requests then fail with PS_ENOTFOUND).
 * Errors: PS_ENOTFOUND; PS_EUNAVAILABLE: the pod is on standby, or ending. */
int pod_image_open(struct pod *pod, const char *name, struct pod_image **out, struct ps_error *err);
/* The caller has no request in flight. */
void pod_image_close(struct pod_image *image);
/* Current size, write cache, name… of an open image; PS_ENOTFOUND if it was deleted by force. */
int pod_image_info(const struct pod_image *image, struct pod_image_info *out);

/* ---- block I/O */

enum pod_io_op {
    POD_READ,
    POD_WRITE,
    POD_TRIM,       /* deallocates whole blocks inside the range, leaves partial edges alone */
    POD_WRITE_ZERO, /* the range reads as zeroes; deallocates whole blocks unless POD_IO_NO_HOLE */
    POD_FLUSH,      /* everything answered before, on any connection, is durable afterwards */
    POD_EXTENTS,    /* describes the range: fills `extents` */
    POD_PREFETCH,   /* brings the range into the cache, best effort */
};

enum {
    POD_IO_FUA = 1u << 0,     /* durable when answered, also with write_cache on */
    POD_IO_NO_HOLE = 1u << 1, /* WRITE_ZERO: keep the blocks allocated */
};

enum pod_extent_kind {
    POD_EXTENT_DATA,
    POD_EXTENT_ZERO /* allocated, reads as zeroes */,
    POD_EXTENT_HOLE
};
struct pod_extent {
    uint64_t length_bytes;
    enum pod_extent_kind kind;
};

struct pod_io;
/* `status`: 0; PS_ERANGE; PS_EREADONLY; PS_EFULL; PS_EDATALOSS; PS_EIO;
 * PS_ENOTFOUND (image deleted); PS_EINVAL (unaligned). When the pod's opening ends under the request:
 * PS_ENOTPRIMARY for a change of which nothing was planned yet, so that it certainly has no effect; else
 * PS_EUNAVAILABLE, and for a change it is unknown whether it will have been carried out. */
typedef void (*pod_io_cb)(struct pod_io *io, int status);

struct pod_io {
    enum pod_io_op op;
    uint32_t flags;
    struct pod_image *image;
    uint64_t offset, length; /* bytes, multiples of POD_SECTOR_BYTES, both 0 for FLUSH; length at most
                                POD_MAX_IO_BYTES for READ and WRITE, any for the others */
    void *buf;               /* READ: filled. WRITE: source, unchanged until the callback. Any alignment. */
    struct pod_extent *extents;     /* EXTENTS: room for max_extents; neighbours of one kind are merged */
    uint32_t max_extents, nextents; /* fewer bytes than asked are described when the room is used up */
    pod_io_cb cb;
    void *user;
    /* The pod's own, from here on, while it has the request. */
    struct list_node link;
    int status;
    uint32_t pending;
    uint64_t cursor, seq, ticket;
    void *priv[2];
    struct image_use_stamp use;
};

/* Non-zero: refused at once, the callback never runs: PS_ERANGE, PS_EINVAL,
 * PS_EREADONLY, PS_ENOTFOUND, PS_EUNAVAILABLE (pod stopped or failed). */
int pod_submit(struct pod *pod, struct pod_io *io, pod_io_cb cb);

/* ---- management */

enum pod_manage_op {
    POD_VOLUME_CREATE,    /* name, size_bytes, write_cache */
    POD_VOLUME_RESIZE,    /* name, size_bytes; shrinking discards what lies beyond (allow_shrink) */
    POD_VOLUME_RENAME,    /* name, new_name; snapshots go along */
    POD_VOLUME_DELETE,    /* name; with_snapshots, force */
    POD_VOLUME_SET,       /* name, write_cache */
    POD_SNAPSHOT_CREATE,  /* name = "volume@snapshot" */
    POD_SNAPSHOT_ALL,     /* name = "snapshot": of each volume, all at one position of the log */
    POD_SNAPSHOT_DELETE,  /* name = "volume@snapshot"; force */
    POD_SNAPSHOT_RESTORE, /* name = "volume@snapshot": the volume becomes what the snapshot holds */
    POD_CLONE_CREATE,     /* name = "volume@snapshot", new_name */
};

struct pod_manage;
typedef void (*pod_manage_cb)(struct pod_manage *req, int status);

struct pod_manage {
    enum pod_manage_op op;
    char name[POD_FULL_NAME_MAX + 1], new_name[POD_NAME_MAX + 1];
    uint64_t size_bytes; /* a multiple of POD_BLOCK_BYTES */
    bool write_cache, allow_shrink, with_snapshots, force;
    uint8_t operation_id[16]; /* all zero: none. A repeated id gives the first result again. */
    uint64_t now_unix_ns;     /* creation time to record */
    /* What `name` is taken for: its id, and what pod_image_tag said. PS_ECHANGED if it is something else; 0:
     * anything will do. */
    uint64_t expect_id, expect_tag;
    /* Results. */
    struct ps_error error;       /* detail when status is not 0 */
    struct pod_image_info image; /* the image made or changed; its last state when deleted */
    uint32_t count;              /* of the images made by POD_SNAPSHOT_ALL; 0 when it is a repetition */
    pod_manage_cb cb;
    void *user;
    /* The pod's own. */
    struct list_node link;
    uint64_t seq;
};

/* The callback runs once the change is durable. All checks (names, sizes,
 * existence, in use) end in the callback's status with a detail that names
 * what is wrong. Non-zero only for PS_EUNAVAILABLE. */
int pod_manage(struct pod *pod, struct pod_manage *req, pod_manage_cb cb);

/* Whether the image that the request names is what its sender takes it for: 0 (also if there is none), or
 * PS_ECHANGED with a detail in the request. For whoever implements pod_manage. */
int pod_check_expected(struct pod *pod, struct pod_manage *req);

/* 0, or PS_EINVAL with a detail that says what a name may be. */
int pod_check_volume_name(const char *name, struct ps_error *err);
/* Splits and checks "volume@snapshot"; outputs hold POD_NAME_MAX + 1 bytes. */
int pod_check_snapshot_name(const char *full, char *volume, char *snapshot, struct ps_error *err);

/* ---- statistics */

enum pod_role {
    POD_ALONE,   /* not replicated: what is durable is committed */
    POD_STANDBY, /* replicated; takes no requests, follows another member's log */
    POD_LEADING, /* replicated; plans batches and takes requests */
};

/* Collects all garbage that there is now, whatever the room, where a sixteenth of a segment is dead at least;
 * in the background. Nothing happens while the pod serves nobody. */
void pod_collect(struct pod *pod);

struct pod_scrub_info {
    bool running;
    uint64_t passes;                  /* ended since the pod was opened */
    uint32_t segments, segments_done; /* of the one under way */
    uint64_t read_bytes;              /* of it, or of the last one */
    uint64_t damaged;                 /* records that it found so */
    uint64_t ended_ns_ago;            /* the last one; 0: none has */
};
/* Begins to verify all that lives in flash, now; one that is under way goes on. */
void pod_scrub(struct pod *pod);
void pod_scrub_look(const struct pod *pod, struct pod_scrub_info *out);

/* Something that is wrong, and where: of a deep check, or of a record that is lost. */
struct pod_finding {
    uint64_t subject;            /* block, group, page or segment */
    uint64_t image, lba, blocks; /* image 0: no image is known */
    char text[256];
};

struct pod_deep_info {
    bool running;
    uint32_t permille; /* of the one under way */
    /* The last one that ended. */
    uint64_t runs; /* ended since the pod was opened; 0: none, and the rest says nothing */
    bool failed;   /* it could not be made: `why` */
    char why[128];
    uint64_t damage; /* what it found */
    uint64_t images, pages, blocks;
    uint32_t passes;
    uint64_t ended_ns_ago, took_ns;
    /* To be had with pod_deep_finding and pod_loss. */
    uint32_t findings, losses;
};
/* Begins a deep check of the maps (deep.h), soon; one that is under way goes on. */
void pod_deep(struct pod *pod);
void pod_deep_look(const struct pod *pod, struct pod_deep_info *out);
/* A finding of the last check, at most POD_FINDINGS_MAX of them: 0, or PS_ENOTFOUND behind the last. */
int pod_deep_finding(const struct pod *pod, uint32_t index, struct pod_finding *out);
/* Whose the records are that were found lost since the last scrub began: likewise. */
int pod_loss(const struct pod *pod, uint32_t index, struct pod_finding *out);

struct pod_stats {
    /* Space now, bytes. capacity = free + stored + metadata + garbage + open. */
    uint64_t capacity;                      /* usable flash */
    uint64_t free_bytes;                    /* free segments, reserve included */
    uint64_t reserve_bytes;                 /* only delete and trim may use it */
    uint64_t logical;                       /* over all volumes and snapshots, as each sees itself */
    uint64_t mapped;                        /* of logical: blocks that refer to stored ones, not patterns */
    uint64_t unique_blocks;                 /* blocks stored */
    uint64_t stored_bytes;                  /* records that hold them */
    uint64_t metadata_bytes;                /* pages and runs, second copies included */
    uint64_t metadata_single_bytes;         /* of these: what has no second copy */
    uint64_t garbage_bytes;                 /* dead bytes in segments not yet reused */
    uint64_t open_bytes;                    /* not written yet, in segments that are being filled */
    uint64_t volumes, snapshots, releasing; /* images by state */
    /* Since the pod was made (they survive restarts), bytes. */
    uint64_t host_read, host_written;
    uint64_t pattern_removed, dedup_removed; /* of host_written */
    uint64_t compress_in, compress_out;      /* unique data before and after */
    /* Log, metadata, what collection moved. Write amplification is their sum over compress_out, or over
     * host_written. */
    uint64_t flash_written_data, flash_written_metadata, flash_written_moved;
    /* Since start. */
    uint64_t reads, writes, flushes, trims;
    uint64_t cache_hits, cache_misses;
    uint64_t batches, checkpoints;
    bool collecting;        /* as pod_collect asked, and not through yet */
    uint64_t collected;     /* segments taken apart by garbage collection */
    uint64_t levelled;      /* of these, because they wore too little */
    uint64_t collect_moved; /* bytes of records that it moved */
    uint64_t collect_read;  /* and bytes that it read for that */
    uint64_t collect_waits; /* times that writes had to wait for it */
    uint64_t cold_in;  /* bytes of moved records that were compressed anew because they are cold, before */
    uint64_t cold_out; /* and after */
    uint64_t dedup_compares; /* byte comparisons made */
    uint64_t dedup_index_entries, dedup_index_capacity;
    bool dedup_index_loading;
    uint64_t memory_bytes, memory_budget;
    uint64_t checksum_errors;
    uint64_t repaired_reads;    /* since start: served with another member's record */
    uint64_t repaired_metadata; /* since start: pages and runs that were read from their second copies */
    uint64_t damaged_batches;   /* of the log, at the start: some of their data is damaged */
    uint64_t log_seq;           /* last applied batch */
    enum pod_role role;
    bool opening; /* or being filled with a copy: the rest is not all there yet */
    bool failed;  /* a device failed: reads only */
    char failure[128];
};
void pod_stats(struct pod *pod, struct pod_stats *out);

/* ---- what storing something would take */

enum pod_measured_kind {
    POD_MEASURED_PATTERN = 1, /* needs no data */
    POD_MEASURED_STORED,      /* is here already */
    POD_MEASURED_TWIN,        /* is one of the blocks before it */
    POD_MEASURED_NEW,
};
enum {
    POD_MEASURED_UNIT = 64 /* bytes */
};

struct pod_measured {
    enum pod_measured_kind kind;
    unsigned units; /* of flash, for NEW, with its share of what is compressed together; else 0 */
    uint64_t key;   /* of the contents, 0 for a pattern: equal ones are equal but once in 2^64 */
};

/* Looks at `blocks` consecutive blocks, at most POD_ATOMIC_BYTES of them, as if they were written, with the
 * pod's settings. Changes nothing, reads nothing; takes as long as reducing them does. `out` has an entry for
 * each. PS_EUNAVAILABLE (being opened, or ending), PS_ENOMEM. */
int pod_measure(struct pod *pod, const void *data, uint32_t blocks, struct pod_measured *out);

/* ---- life, called by main.c and tests */

struct pod_config {
    const char *name;        /* "default" */
    const uint8_t *only_pod; /* 16 bytes, borrowed while it opens: of the only one that is taken, and of
                              * members one in which nothing is; NULL: any */
    uint64_t memory_budget; /* bytes for caches, maps and the dedup index together; at least POD_MEMORY_MIN */
    uint64_t metadata_cache_bytes; /* 0: from the budget; tests make it small. At least 1 MiB */
    uint32_t log_index_batches;    /* a power of two, at least 64; 0: 65,536; tests make it small */
    uint32_t log_slice_batches;    /* of older log that are remembered as one; 0: 8,192; likewise */
    uint64_t checkpoint_log_bytes; /* log between two checkpoints; 0: 64 MiB; tests make it small */
    bool dedupe, compression;
    bool sha256;                       /* fingerprint; XXH3-128 otherwise */
    bool zstd;                         /* LZ4 otherwise */
    const struct large_memory *memory; /* for caches and indexes, outlives the pod; NULL: the heap */
    uint32_t
        overprovision_percent;   /* of the pool, that hosts can't fill; 0: 3. At least 8 segments are kept */
    uint64_t scrub_rate;         /* bytes a second while hosts are served; 0: 16 MiB */
    uint64_t scrub_interval_ns;  /* from one pass to the next; 0: a week; UINT64_MAX: on demand alone */
    uint64_t survey_interval_ns; /* from one walk of all maps to the next, at least; 0: ten minutes;
                                    UINT64_MAX: on demand alone */
    bool check_only;             /* nothing is written: the log is replayed in memory, then check.h has it */
    uint32_t wear_threshold;     /* spread of P/E cycles at which cold data is moved; 0: 1,000 */
    uint32_t gc_threshold;       /* percent of segments in use at which garbage collection starts; 0: 75 */
    uint64_t cold_compress_rate; /* bytes a second of LZ4's that are compressed anew with zstd when they are
                                    moved again; 0: none */
    uint64_t segment_bytes;      /* when formatting; 0: 8 MiB, or a zone that is larger */
    uint64_t seed[2];            /* randomness for identities (UUIDs) when formatting */
    uint8_t pod_id[16];          /* the pod's UUID when formatting; all zero: made from the seed */
    /* What the pod tells: one line for the event list, at most 255 characters. May be NULL. */
    void (*event)(void *user, const char *kind, uint64_t image_id, const char *text);
    /* An image was made, changed, or is gone (info->name empty): the catalog follows. May be NULL. */
    void (*image_changed)(void *user, uint64_t log_seq, uint64_t image_id, const struct pod_image_info *info);
    void *user;
    /* Counts how volumes are used; outlives the pod. NULL: nobody does. */
    struct image_uses *uses;
    /* The pod is replicated and opens on standby (pod_log.h); outlives the pod. NULL: it stands alone. */
    const struct pod_log_events *log;
};

enum pod_format {
    POD_OPEN_ONLY,    /* a device without a pool label is an error */
    POD_FORMAT_BLANK, /* format if the first MiB is zeroes (or reads as never written) */
};

typedef void (*pod_open_cb)(void *user, int status, struct pod *pod);
/* Opens the pool on `dev`: finds the newest anchor, loads the checkpoint,
 * replays the log. The callback runs from a device completion or pod_turn; with an error
 * `err` (borrowed until then) tells what is wrong and nothing was changed: PS_EDAMAGED,
 * PS_EVERSION, PS_ENOTFOUND (not a PStorage device, or another pod than `only_pod`), PS_EINVAL (too small),
 * PS_EDATALOSS, PS_EIO, PS_EPRECONDITION (a member of a replicated pod, opened alone). The device stays the
 * caller's; it is destroyed after the pod. `*opening` receives the pod at once, for pod_turn; it is destroyed
 * (pod_destroy) whatever came out, but not from within the callback. */
int pod_open(struct blkdev *dev, const struct pod_config *config, enum pod_format format, pod_open_cb cb,
             void *user, struct ps_error *err, struct pod **opening);

/* ---- size, while hosts are served

 * The device may become larger, parts of it may be absent (blkdev_absent) and come back: an opening takes it
 as
 * it is then, but for one that is smaller than the pool, which is refused. While the pod is open its owner
 * says so. */

/* The device has become larger, or parts that were absent have come back: the pool takes the segments that
 * fit now. `cb` runs once they are in use and the label that says so is durable, or at once if there are
 * none; with PS_EIO if the pod failed, with PS_EUNAVAILABLE if it is closed or reopened before. A pod that is
 * being opened, or filled with a full copy, grows when that is done; one that gives a full copy to another
 * member grows meanwhile. Non-zero: refused, the callback never runs: PS_EPRECONDITION (another one is under
 * way), PS_EINVAL (the device is smaller than the pool), PS_EIO, PS_EUNAVAILABLE (the pod is closing). */
int pod_grow(struct pod *pod, void (*cb)(void *user, int status), void *user, struct ps_error *err);

/* The pool lies on this device from now on: it has the same at the same places, takes requests of the same
 * kinds, and is not smaller. What is on its way to the other one ends there, which is destroyed after that.
 */
void pod_move(struct pod *pod, struct blkdev *dev);

/* Some of the device is to be taken away: what lies in segments for which `leaves` is true (bytes of the
 * device) is moved elsewhere while hosts are served, at the rate of pod_collect, and nothing new is put
 * there. `cb` runs with 0 when no durable state refers to anything there and no request of the pod's is under
 * way there, and from then on none comes; the pool's capacity is smaller then. `leaves` is asked again after
 * the pod was reopened; it and `user` are borrowed until pod_vacate_stop or the pod's end.
 *
 * It is not durable: after a crash it is asked for again. When the device has durably lost these parts,
 * it says that they are absent; then pod_vacate_stop.
 *
 * Non-zero: refused, `cb` never runs: PS_EFULL (what is stored and the reserve do not fit the rest),
 * PS_EINVAL (the pool's label or the pod's anchors lie there: its first four segments), PS_EPRECONDITION (one
 * is under way, or done and not stopped), PS_EUNAVAILABLE (the pod is not open, or is being filled with a
 * full copy), PS_EIO.
 *
 * `cb` with another status: PS_EFULL (hosts wrote so much that the rest is too small now), PS_EDATALOSS (what
 * lies there cannot be read, so it stays), PS_ECANCELLED (stopped), PS_EIO (the pod failed), PS_EUNAVAILABLE
 * (closed): then all segments are in use again as before. */
int pod_vacate(struct pod *pod, bool (*leaves)(void *user, uint64_t offset, uint64_t length),
               void (*cb)(void *user, int status), void *user, struct ps_error *err);
/* Ends it. Under way: its callback runs with PS_ECANCELLED, from pod_turn. Done: of these segments those that
 * the device does not call absent are in use again. Without one nothing happens. */
void pod_vacate_stop(struct pod *pod);
/* Bytes of the segments there that something may still refer to; 0: it is done, or there is none. */
uint64_t pod_vacate_left(const struct pod *pod);

/* Whether anything may lie in this part of the device: it is not all free segments. */
bool pod_uses_flash(const struct pod *pod, uint64_t offset, uint64_t length);

/* Runs whatever is due. `now_ns` is monotonic; returns the time at which it
 * wants to run again without other events (UINT64_MAX: never). */
uint64_t pod_turn(struct pod *pod, uint64_t now_ns);

/* Stops: new requests are refused, those in flight finish (in a replicated pod they still need to be
 * committed, reads to be allowed; pod_abandon does not wait for that), a checkpoint is written, then `cb`;
 * destroy after that. Without a close, pod_destroy is a crash. */
void pod_close(struct pod *pod, void (*cb)(void *user), void *user);
/* No device request may be in flight unless the device drops them. */
void pod_destroy(struct pod *pod);

#endif
