/* libpstorage: volumes, snapshots, clones and block I/O of a PStorage array.
 *
 * A client talks to one node of the array and, when that one is unavailable,
 * to the next of its endpoints. It has a thread of its own. Every function may
 * be called from any thread; those that block say so and must not be called
 * from a callback (they then return PSTORAGE_EPRECONDITION).
 *
 * Requests. The caller owns the request struct: zero it, fill in the upper
 * part, submit it, and keep it, what it points at and its place in memory
 * unchanged until the callback. A submit function that returns 0 runs the
 * callback exactly once, on the client's thread, perhaps before it returns
 * itself; one that returns an error never runs it. Callbacks must not block;
 * they may submit, cancel, and reuse or free their request. Each _submit has a
 * _run, which blocks until the request is done and returns its status.
 *
 * Time. A request's timeout covers everything: waiting for its turn, for a
 * connection, and for the answer.
 *
 * Lost connections. What only reads (reads, extents, lists, status, opening) is asked again, at the next
 * endpoint that answers, within its timeout. So are changes (create, delete, ...), since each carries an
 * operation id by which the array recognises a repetition.
 *
 * A write, trim or write-zeroes is sent again only when a node has answered that nothing of it was carried
 * out, because no primary was to be found. Otherwise, when the connection to the node, or the node's to the
 * primary, was lost before the answer, it fails with PSTORAGE_EUNAVAILABLE, and it is unknown whether it took
 * effect. It is never repeated here: whoever repeats it decides so. If it was the node that answered
 * PSTORAGE_EUNAVAILABLE, a request that has not taken effect by then never will. If it was the connection to
 * the node that was lost, or after PSTORAGE_EDEADLINE or PSTORAGE_ECANCELLED, a node that stands still at
 * that moment may carry it out when it goes on, after what was sent elsewhere meanwhile: who can't have that
 * waits until the node answers again, or has been replaced as primary, before writing there anew.
 *
 * A flush is sent again. After a connection was lost with answered but unflushed writes to a volume with a
 * write cache it fails once with PSTORAGE_EDATALOSS, as they may be gone.
 *
 * Names are UTF-8, sizes and offsets bytes, times nanoseconds since 1970 (UTC). */
#ifndef PSTORAGE_H
#define PSTORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PSTORAGE_API __attribute__((visibility("default")))

/* ---- errors */

enum pstorage_status_code {
    PSTORAGE_OK = 0,
    PSTORAGE_ECANCELLED = -1,
    PSTORAGE_EINVAL = -2,    /* a wrong argument: name, size, alignment, ... */
    PSTORAGE_EDEADLINE = -3, /* not done within the timeout */
    PSTORAGE_ENOTFOUND = -4,
    PSTORAGE_EEXISTS = -5,
    PSTORAGE_EPERM = -6,
    PSTORAGE_EFULL = -7, /* no space left in the pool */
    PSTORAGE_ELIMIT = -8,
    PSTORAGE_EPRECONDITION = -9, /* not possible now: in use, has snapshots, ... */
    PSTORAGE_EABORTED = -10,
    PSTORAGE_ERANGE = -11, /* beyond the end */
    PSTORAGE_EUNIMPLEMENTED = -12,
    PSTORAGE_EINTERNAL = -13,
    PSTORAGE_EUNAVAILABLE = -14, /* no endpoint answers, or the connection was lost */
    PSTORAGE_EDATALOSS = -15,
    PSTORAGE_EUNAUTHENTICATED = -16,
    PSTORAGE_EIO = -17,
    PSTORAGE_ENOMEM = -18,
    PSTORAGE_EPROTOCOL = -19,
    PSTORAGE_EVERSION = -20,
    PSTORAGE_EREADONLY = -21,
    PSTORAGE_EDAMAGED = -22,
    PSTORAGE_ENOTPRIMARY = -23, /* no node that leads the pod was found; nothing was carried out */
    PSTORAGE_ECHANGED =
        -24, /* it is not, or not any more, what it was expected to be; nothing was carried out */
};

/* Where the detail of an error is written: a sentence for people. */
struct pstorage_error {
    int status;
    char detail[252];
};

PSTORAGE_API const char *pstorage_status_name(int status); /* "ENOTFOUND" */
PSTORAGE_API const char *pstorage_status_text(int status); /* "not found" */
PSTORAGE_API int pstorage_status_errno(int status);        /* ENOENT */
PSTORAGE_API const char *pstorage_version(void);           /* "0.1.0" */

/* ---- client */

struct pstorage_client;

#define PSTORAGE_DEFAULT_ENDPOINT "tcp://127.0.0.1:9500"

struct pstorage_options {
    /* tcp://HOST:PORT or ipc://PATH, separated by blanks, tried in this order; at
     * most 16. NULL: $PSTORAGE_ENDPOINT, or PSTORAGE_DEFAULT_ENDPOINT. */
    const char *endpoints;
    const char *name;       /* what the client calls itself towards the node; NULL: the program's name */
    uint32_t timeout_ms;    /* of requests that give none; 0: 30,000 */
    uint32_t patience_ms;   /* how long requests wait while no endpoint is available. 0: they fail as
                               soon as each was tried once since the connection was lost. Refusals (no key, a
                               wrong one, another cluster) are not waited out */
    uint32_t max_in_flight; /* requests at the node at once, more wait their turn; 0: 128 */
    /* The shared key of the cluster, by which client and node prove themselves to each other: the key, or a
     * file that holds it; at most one of them. Both NULL: $PSTORAGE_CLUSTER_KEY or
     * $PSTORAGE_CLUSTER_KEY_FILE; without those either there is no key, and only nodes on
     * this machine are spoken with. Copied. */
    const char *cluster_key, *cluster_key_file;
    const char *cluster_name; /* refuse nodes of any other; NULL: $PSTORAGE_CLUSTER_NAME, or any */
    /* Images are listed and described as the pod's primary knows them, not as the node that is asked has
     * applied so far: what was answered before is seen. ENOTPRIMARY if there is none. */
    bool from_primary;
};

/* Starts a client; `options` may be NULL. Connects at the first request, so
 * this says nothing about the node. Errors: EINVAL (endpoint, cluster key), ENOTFOUND, EPERM (the key's
 * file is missing, or open to others), ENOMEM, EIO. */
PSTORAGE_API int pstorage_client_create(const struct pstorage_options *options, struct pstorage_client **out,
                                        struct pstorage_error *err);
/* Blocks: ends what is in flight with PSTORAGE_ECANCELLED, closes open images
 * (their pointers become invalid) and frees the client. No other call may be
 * running or follow. Not from a callback. */
PSTORAGE_API void pstorage_client_destroy(struct pstorage_client *client);

/* ---- requests in general */

struct pstorage_request;
typedef void (*pstorage_cb)(struct pstorage_request *request, int status);

/* The first member of each request struct below, so that a callback gets the
 * whole one by a cast. */
struct pstorage_request {
    uint32_t timeout_ms; /* 0: the client's */
    void *user;          /* the caller's own */
    /* Results. */
    struct pstorage_error error; /* status and detail, when the status is not 0 */
    /* The library's own. */
    void *priv[12];
};

/* Asks to give up a request that was submitted and whose memory is still
 * valid; harmless when it is done already. The callback still comes, with
 * PSTORAGE_ECANCELLED unless the answer was faster. A cancelled write or
 * change may or may not take effect. */
PSTORAGE_API void pstorage_cancel(struct pstorage_client *client, struct pstorage_request *request);

/* ---- volumes, snapshots, clones */

enum {
    PSTORAGE_NAME_MAX = 63,
    PSTORAGE_FULL_NAME_MAX = 127
};

enum pstorage_kind {
    PSTORAGE_VOLUME = 1,
    PSTORAGE_SNAPSHOT = 2
};

/* logical = pattern + duplicate + unique */
struct pstorage_space {
    uint64_t logical_bytes;   /* blocks that hold data or a pattern */
    uint64_t pattern_bytes;   /* of these, repeated patterns: nothing stored */
    uint64_t duplicate_bytes; /* of these, found stored already */
    uint64_t unique_bytes;    /* of these, stored for this image */
    uint64_t stored_bytes;    /* flash that the unique ones take, compressed */
};

/* Requests of hosts and their bytes, since the node that leads the pod began to. */
struct pstorage_activity {
    uint64_t reads, read_bytes, writes, written_bytes, trims, flushes;
};

/* Whose space an image is, as a walk of all maps found it. Blocks of 4 KiB, and bytes of that node's flash.
 */
struct pstorage_held {
    bool known; /* false: not yet; the rest is 0 */
    uint64_t computed_unix_ns;
    uint64_t referenced_blocks, referenced_bytes;   /* all that it refers to */
    uint64_t exclusive_blocks, exclusive_bytes;     /* no other image holds it */
    uint64_t reclaimable_blocks, reclaimable_bytes; /* of a snapshot: what deleting it gives back */
};

struct pstorage_info {
    uint64_t id; /* never reused within a pod */
    enum pstorage_kind kind;
    char name[PSTORAGE_FULL_NAME_MAX + 1]; /* "volume" or "volume@snapshot" */
    char pod[PSTORAGE_NAME_MAX + 1];
    uint64_t size_bytes;
    uint64_t created_unix_ns;
    uint64_t volume_id; /* snapshot: its volume; else 0 */
    uint64_t origin_id; /* clone: the snapshot it started from; else 0 */
    bool write_cache;
    uint32_t open_count;
    uint32_t snapshot_count;
    uint64_t tag; /* another one after each change of name, size, write cache or number of snapshots */
    struct pstorage_space space;
    struct pstorage_activity activity;
    struct pstorage_held held;
};

enum pstorage_manage_op {
    PSTORAGE_IMAGE_GET = 1, /* name: a volume, or volume@snapshot; or NULL and expect_id: what has this id */
    PSTORAGE_VOLUME_CREATE, /* name, size_bytes, pod, write_cache */
    PSTORAGE_VOLUME_RESIZE, /* name, size_bytes, allow_shrink */
    PSTORAGE_VOLUME_RENAME, /* name, new_name; snapshots go along */
    PSTORAGE_VOLUME_DELETE, /* name, with_snapshots, force */
    PSTORAGE_VOLUME_SET,    /* name, write_cache */
    PSTORAGE_SNAPSHOT_CREATE,  /* name: volume@snapshot */
    PSTORAGE_SNAPSHOT_DELETE,  /* name, force */
    PSTORAGE_SNAPSHOT_RESTORE, /* name: its volume becomes what it holds */
    PSTORAGE_CLONE_CREATE,     /* name: volume@snapshot, new_name */
    PSTORAGE_SNAPSHOT_ALL,     /* pod, name: "snapshot", of all its volumes at one instant */
};

/* Every change is durable when its status is 0. */
struct pstorage_manage {
    struct pstorage_request request;
    enum pstorage_manage_op op;
    const char *name, *new_name;
    const char *pod; /* NULL: the node's default */
    uint64_t size_bytes;
    bool write_cache, allow_shrink, with_snapshots, force;
    /* Changes of what there is, and clones: what `name` is taken for, by its pstorage_info. PSTORAGE_ECHANGED
     * if it is something else by then. 0: anything will do. */
    uint64_t expect_id, expect_tag;
    /* Recognises a repetition of the same change, also by another process
     * later. All zero: the library draws one. */
    uint8_t operation_id[16];
    /* Result: the image made, changed or asked for; a deleted one as it was last. */
    struct pstorage_info info;
    uint32_t count; /* PSTORAGE_SNAPSHOT_ALL: snapshots taken; info is the last; 0: not known, a repetition */
};

PSTORAGE_API int pstorage_manage_submit(struct pstorage_client *client, struct pstorage_manage *manage,
                                        pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_manage_run(struct pstorage_client *client, struct pstorage_manage *manage);

/* All volumes (of a pod) or all snapshots (of a volume), in the order of their
 * names. Images made or deleted meanwhile may or may not be listed. */
struct pstorage_list {
    struct pstorage_request request;
    enum pstorage_kind kind;
    const char *of; /* the pod, or the volume; NULL: all */
    /* Results; free with pstorage_list_clear, also after an error. */
    struct pstorage_info *items;
    size_t count;
};

PSTORAGE_API int pstorage_list_submit(struct pstorage_client *client, struct pstorage_list *list,
                                      pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_list_run(struct pstorage_client *client, struct pstorage_list *list);
PSTORAGE_API void pstorage_list_clear(struct pstorage_list *list);

/* Shorter spellings of pstorage_manage_run. `info` and `err` may be NULL. All block. */
PSTORAGE_API int pstorage_image_get(struct pstorage_client *client, const char *name,
                                    struct pstorage_info *info, struct pstorage_error *err);
PSTORAGE_API int pstorage_volume_create(struct pstorage_client *client, const char *name, uint64_t size_bytes,
                                        struct pstorage_info *info, struct pstorage_error *err);
PSTORAGE_API int pstorage_volume_resize(struct pstorage_client *client, const char *name, uint64_t size_bytes,
                                        bool allow_shrink, struct pstorage_info *info,
                                        struct pstorage_error *err);
PSTORAGE_API int pstorage_volume_rename(struct pstorage_client *client, const char *name,
                                        const char *new_name, struct pstorage_info *info,
                                        struct pstorage_error *err);
/* Refuses while there are snapshots or the volume is open. */
PSTORAGE_API int pstorage_volume_delete(struct pstorage_client *client, const char *name,
                                        struct pstorage_error *err);
PSTORAGE_API int pstorage_snapshot_create(struct pstorage_client *client, const char *name,
                                          struct pstorage_info *info, struct pstorage_error *err);
PSTORAGE_API int pstorage_snapshot_delete(struct pstorage_client *client, const char *name,
                                          struct pstorage_error *err);
PSTORAGE_API int pstorage_snapshot_restore(struct pstorage_client *client, const char *name,
                                           struct pstorage_info *info, struct pstorage_error *err);
PSTORAGE_API int pstorage_clone_create(struct pstorage_client *client, const char *snapshot,
                                       const char *new_name, struct pstorage_info *info,
                                       struct pstorage_error *err);

/* ---- block I/O */

/* An open volume or snapshot. It stays usable over lost connections; if the
 * volume was deleted or renamed meanwhile, requests fail with PSTORAGE_ENOTFOUND. */
struct pstorage_image;

struct pstorage_open {
    struct pstorage_request request;
    const char *name; /* "volume", or "volume@snapshot" (read-only) */
    bool read_only;
    /* Result. */
    struct pstorage_image *image;
};

PSTORAGE_API int pstorage_open_submit(struct pstorage_client *client, struct pstorage_open *open,
                                      pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_open_run(struct pstorage_client *client, struct pstorage_open *open);
/* pstorage_open_run in short. Blocks. */
PSTORAGE_API int pstorage_image_open(struct pstorage_client *client, const char *name, bool read_only,
                                     struct pstorage_image **out, struct pstorage_error *err);
/* No request on the image is in flight. Does not block and does not flush. */
PSTORAGE_API void pstorage_image_close(struct pstorage_image *image);

struct pstorage_limits {
    uint32_t max_io_bytes; /* longest read or write of a pstorage_io */
    uint32_t block_bytes;  /* I/O of this alignment is fastest; 512 works */
    uint32_t atomic_bytes; /* writes up to this length happen as a whole or not at all */
    bool read_only;
};
/* As it was when the image was opened. Either may be NULL. */
PSTORAGE_API void pstorage_image_describe(struct pstorage_image *image, struct pstorage_info *info,
                                          struct pstorage_limits *limits);

enum pstorage_io_op {
    PSTORAGE_READ = 1,
    PSTORAGE_WRITE,
    PSTORAGE_TRIM,       /* deallocates whole blocks in the range; edges stay as they are */
    PSTORAGE_WRITE_ZERO, /* the range reads as zeroes; deallocates where it can */
    PSTORAGE_FLUSH,      /* every write answered before the submit is durable */
    PSTORAGE_EXTENTS,    /* says what is where */
};

enum {
    PSTORAGE_FUA = 1u << 0,     /* durable when answered, also with a write cache */
    PSTORAGE_NO_HOLE = 1u << 1, /* WRITE_ZERO: keep the blocks allocated */
};

enum pstorage_extent_kind {
    PSTORAGE_EXTENT_DATA = 1,
    PSTORAGE_EXTENT_ZERO, /* allocated, reads as zeroes */
    PSTORAGE_EXTENT_HOLE, /* deallocated, reads as zeroes */
};
struct pstorage_extent {
    uint64_t length_bytes;
    enum pstorage_extent_kind kind;
};

/* Offsets and lengths are multiples of 512. Requests in flight together may
 * complete in any order; overlapping ones take effect in the order of their
 * submission by one thread. */
struct pstorage_io {
    struct pstorage_request request;
    enum pstorage_io_op op;
    uint32_t flags;
    uint64_t offset, length;         /* FLUSH: both 0 */
    void *buffer;                    /* READ: filled; WRITE: the data */
    struct pstorage_extent *extents; /* EXTENTS: room for max_extents (at most 1,024 are filled) */
    uint32_t max_extents;
    /* Result of EXTENTS: ascending from `offset`, neighbours of one kind merged;
     * they describe less than the range when the room is used up. */
    uint32_t nextents;
};

PSTORAGE_API int pstorage_io_submit(struct pstorage_image *image, struct pstorage_io *io, pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_io_run(struct pstorage_image *image, struct pstorage_io *io);

/* Any length; longer ones than max_io_bytes are cut into pieces, several in
 * flight at once. After an error any part of a write may have taken effect.
 * `err` may be NULL. All block. */
PSTORAGE_API int pstorage_read(struct pstorage_image *image, void *buffer, size_t length, uint64_t offset,
                               struct pstorage_error *err);
PSTORAGE_API int pstorage_write(struct pstorage_image *image, const void *data, size_t length,
                                uint64_t offset, struct pstorage_error *err);
PSTORAGE_API int pstorage_trim(struct pstorage_image *image, uint64_t offset, uint64_t length,
                               struct pstorage_error *err);
PSTORAGE_API int pstorage_write_zeroes(struct pstorage_image *image, uint64_t offset, uint64_t length,
                                       struct pstorage_error *err);
PSTORAGE_API int pstorage_flush(struct pstorage_image *image, struct pstorage_error *err);

/* ---- status */

struct pstorage_node {
    char name[64], software[32];
    uint64_t started_unix_ns, now_unix_ns;
    uint32_t rpc_connections;
    uint64_t rpc_calls, rpc_refused;
    char endpoint[128]; /* by which this client reached it */
};

enum pstorage_pod_state {
    PSTORAGE_POD_ONLINE = 1,
    PSTORAGE_POD_READ_ONLY = 2
};

/* Something that is wrong, and where. */
struct pstorage_finding {
    uint64_t subject;               /* block, group, page or segment */
    uint64_t image_id, lba, blocks; /* of 4 KiB; image 0: none is known */
    char text[256];
};

/* The comparison of all maps with counts and places: the last one that ended, but for `running`. */
struct pstorage_deep_check {
    bool running;
    uint32_t permille;
    uint64_t runs; /* ended since the node started; 0: the rest says nothing */
    bool failed;   /* it could not be made: `why` */
    char why[128];
    uint64_t damage; /* what it found wrong */
    uint64_t images, pages, blocks;
    uint32_t passes;
    uint64_t ended_ms_ago, took_ms;
    struct pstorage_finding *findings; /* the first ones; the report's */
    size_t nfindings;
};

struct pstorage_pod {
    char name[64];
    enum pstorage_pod_state state;
    char failure[128]; /* why it is not online */
    /* Space now. */
    uint64_t capacity_bytes, free_bytes, reserve_bytes; /* free includes the reserve */
    uint64_t logical_bytes;                             /* over all images, as each sees itself */
    uint64_t unique_blocks;                             /* a count */
    uint64_t mapped_bytes;                              /* of logical: not patterns */
    /* capacity = free + stored + metadata + garbage + open (not written yet, in segments being filled) */
    uint64_t stored_bytes, metadata_bytes, garbage_bytes, open_bytes;
    uint64_t metadata_single_bytes;         /* of metadata: what has no second copy */
    uint64_t volumes, snapshots, releasing; /* counts */
    /* Since the pod was made. */
    uint64_t host_read_bytes, host_written_bytes;
    uint64_t pattern_removed_bytes, dedup_removed_bytes; /* of host_written_bytes */
    uint64_t compress_in_bytes, compress_out_bytes;
    uint64_t flash_written_data_bytes, flash_written_metadata_bytes, flash_written_moved_bytes;
    /* Since the node started, counts; the last seven are as of now. */
    uint64_t reads, writes, flushes, trims, cache_hits, cache_misses, batches, checkpoints, dedup_compares;
    uint64_t checksum_errors;
    /* Verifying all that lives in flash: the pass under way, or the last one. */
    bool scrub_running;
    uint32_t scrub_permille;
    uint64_t scrub_passes, scrub_read_bytes, scrub_damaged, scrub_ended_ms_ago;
    uint64_t repaired_reads;    /* records that flash had lost, read from another member */
    uint64_t repaired_metadata; /* pages and runs, written anew from their other copies */
    /* Garbage collection: segments, bytes, times that writes waited for it. */
    bool collecting; /* now: as a person asked */
    uint64_t collected_segments, collect_moved_bytes, collect_read_bytes, collect_waits;
    uint64_t cold_in_bytes, cold_out_bytes; /* moved records compressed anew because they are cold */
    uint64_t dedup_index_entries, dedup_index_capacity;
    bool dedup_index_loading;
    uint64_t memory_bytes, memory_budget_bytes;
    uint64_t log_seq;
    struct pstorage_deep_check deep_check;
    struct pstorage_finding *losses; /* records found lost since the last scrub began, and whose they are */
    size_t nlosses;
};

enum pstorage_device_state {
    PSTORAGE_DEVICE_ALONE, /* the pool lies on it alone */
    PSTORAGE_DEVICE_IN,
    PSTORAGE_DEVICE_OUT, /* lost, or taken out */
    PSTORAGE_DEVICE_REBUILDING,
    PSTORAGE_DEVICE_LEAVING, /* what lies on it is being moved to the others; then it is taken out */
};

struct pstorage_device {
    char name[128];
    uint64_t size_bytes;
    uint64_t read_ops, read_bytes, write_ops, write_bytes, flush_ops, erase_ops, errors; /* since start */
    bool failed; /* it takes no further writes */
    enum pstorage_device_state state;
    uint32_t rebuilt_percent;
    uint32_t vacated_percent; /* while it is leaving */
};

struct pstorage_report {
    struct pstorage_request request;
    bool scrub;      /* have the node begin to verify what lives in its flash, if it does not yet */
    bool deep_check; /* the same of the comparison of all maps */
    bool collect;    /* have it collect all garbage that there is now */
    /* Results; free with pstorage_report_clear, also after an error. */
    struct pstorage_node node;
    struct pstorage_pod *pods;
    size_t npods;
    struct pstorage_device *devices;
    size_t ndevices;
};

PSTORAGE_API int pstorage_report_submit(struct pstorage_client *client, struct pstorage_report *report,
                                        pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_report_run(struct pstorage_client *client, struct pstorage_report *report);
PSTORAGE_API void pstorage_report_clear(struct pstorage_report *report);

/* ---- how long requests of hosts took */

enum pstorage_operation {
    PSTORAGE_OPERATION_READ,
    PSTORAGE_OPERATION_WRITE,
    PSTORAGE_OPERATION_FLUSH,
    PSTORAGE_OPERATION_TRIM, /* and zeroing */
    PSTORAGE_OPERATIONS
};
enum {
    PSTORAGE_LATENCY_BUCKETS = 24
};

struct pstorage_operation_latency {
    uint64_t sum_ns;
    uint64_t counts[PSTORAGE_LATENCY_BUCKETS]; /* k ends before 2^k microseconds, the last one never */
};

struct pstorage_volume_latency {
    uint64_t id;
    char name[PSTORAGE_NAME_MAX + 1], pod[PSTORAGE_NAME_MAX + 1];
    struct pstorage_operation_latency operations[PSTORAGE_OPERATIONS];
};

/* Of requests that ended well since the node counts the volume, mostly since it was opened there first after
 * the node's start. Counted on the node that leads the pod. */
struct pstorage_latency {
    struct pstorage_request request;
    const char *volume; /* NULL: all; must stay until the callback */
    bool of_primary;    /* as the pod's primary counts, whichever node is asked; else as the node does */
    /* Results; free with pstorage_latency_clear, also after an error. Volumes that are not counted are left
     * out. */
    struct pstorage_volume_latency *items; /* in the order of names */
    size_t count;
};

PSTORAGE_API int pstorage_latency_submit(struct pstorage_client *client, struct pstorage_latency *latency,
                                         pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_latency_run(struct pstorage_client *client, struct pstorage_latency *latency);
PSTORAGE_API void pstorage_latency_clear(struct pstorage_latency *latency);

/* ---- cluster */

enum pstorage_role {
    PSTORAGE_ROLE_ALONE = 1, /* not replicated */
    PSTORAGE_ROLE_PRIMARY,
    PSTORAGE_ROLE_SYNC,   /* has all that was answered, and may take over */
    PSTORAGE_ROLE_BEHIND, /* a sync member that does not count now: away, or catching up */
    PSTORAGE_ROLE_ASYNC,
};

struct pstorage_member {
    char node[64], store[40]; /* UUID */
    enum pstorage_role role;
    char state[256]; /* as the answering node sees it; a word for people */
    bool self;       /* the answering node */
    bool known;      /* the numbers are */
    uint64_t log_end, lag_batches, lag_bytes, lag_ms, heard_ms_ago, lease_left_ms;
};

/* A pod as the answering node sees it. */
struct pstorage_pod_view {
    char name[64], id[40];
    uint64_t epoch;      /* of the configuration; 0: none */
    char role[32];       /* the answering node's; a word for people */
    bool serving;        /* it takes requests of hosts */
    char waits_for[256]; /* "": nothing */
    char primary[64], primary_address[256], preferred[64];
    struct pstorage_member members[8];
    uint32_t nmembers;
    uint64_t applied, log_end, committed; /* batches */
    bool lease_held, changing;
    uint32_t slowed_permille; /* hosts, for a member that does not catch up */
    char cluster[64], mediator[256];
    bool mediator_ok;
};

enum pstorage_pod_op {
    PSTORAGE_POD_GET = 1,
    PSTORAGE_POD_SWITCH_OVER,   /* node: who is to lead; NULL: the preferred, or the only other one in sync */
    PSTORAGE_POD_ADD_MEMBER,    /* node, async */
    PSTORAGE_POD_REMOVE_MEMBER, /* node */
    PSTORAGE_POD_PROMOTE, /* node: the one that is asked, or NULL; accept_data_loss, old_primary_is_off */
    PSTORAGE_POD_PREFER,  /* node: who shall lead whenever it is in sync; NULL: nobody */
};

struct pstorage_pod_order {
    struct pstorage_request request;
    enum pstorage_pod_op op;
    const char *pod;  /* NULL: the default one */
    const char *node; /* must stay until the callback */
    bool async, accept_data_loss, old_primary_is_off;
    struct pstorage_pod_view view; /* result: after the change */
};

PSTORAGE_API int pstorage_pod_order_submit(struct pstorage_client *client, struct pstorage_pod_order *order,
                                           pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_pod_order_run(struct pstorage_client *client, struct pstorage_pod_order *order);

struct pstorage_decision {
    uint64_t number, time_unix_ns, epoch;
    char kind[32]; /* "lead", "take-over"… */
    char text[256];
};

/* What the answering node decided or learnt about the pod since it started. */
struct pstorage_why {
    struct pstorage_request request;
    const char *pod;       /* NULL: the default one */
    uint64_t after_number; /* 0: from the oldest kept */
    /* Results; free with pstorage_why_clear, also after an error. */
    struct pstorage_decision *items; /* oldest first */
    size_t count;
    char node[64];
};

PSTORAGE_API int pstorage_why_submit(struct pstorage_client *client, struct pstorage_why *why,
                                     pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_why_run(struct pstorage_client *client, struct pstorage_why *why);
PSTORAGE_API void pstorage_why_clear(struct pstorage_why *why);

struct pstorage_node_view {
    char name[64], address[256];
    bool self, connected;
    char state[256]; /* "up", or why there is no connection */
    char software[32], store[40];
    uint64_t run, log_end;
};

struct pstorage_nodes {
    struct pstorage_request request;
    struct pstorage_node_view items[16]; /* the answering node first */
    size_t count;
};

PSTORAGE_API int pstorage_nodes_submit(struct pstorage_client *client, struct pstorage_nodes *nodes,
                                       pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_nodes_run(struct pstorage_client *client, struct pstorage_nodes *nodes);

/* ---- flash devices of a node, in its pool or not
 *
 * `node` names the node that is meant: another one that answers in its place fails with PSTORAGE_ENOTFOUND,
 * and touches nothing. NULL: whoever answers, which after a lost connection may be another node. `device` is
 * a name that the list gives, or another path to it. Both must stay until the callback. */

enum pstorage_flash_kind {
    PSTORAGE_FLASH_NVME = 1,
    PSTORAGE_FLASH_FILE,
    PSTORAGE_FLASH_SIM,
    PSTORAGE_FLASH_BLOCK, /* a block device that is no NVMe namespace */
};

struct pstorage_zones {
    uint64_t zone_bytes, count;    /* from the start of one to the next; 0: not zoned, or not known */
    uint32_t max_open, max_active; /* 0: no limit */
};

struct pstorage_flash_device {
    char name[128];
    enum pstorage_flash_kind kind;
    bool zoned, in_pool;
    bool raw_allowed; /* the node's PSTORAGE_FLASH_RAW_DEVICES lists it */
    char used_by[96]; /* of one not in the pool; "": nothing */
    char model[41], serial[21], firmware[9];
    uint64_t size_bytes;
    uint32_t block_bytes;
    struct pstorage_zones zones;
    bool health_known;
    char health_unknown[96]; /* why */
    uint32_t used_percent, spare_percent, critical_warning;
    uint64_t media_errors;
};

struct pstorage_flash_list {
    struct pstorage_request request;
    const char *node;
    /* Results; free with pstorage_flash_list_clear, also after an error. */
    struct pstorage_flash_device *items; /* those in the pool first */
    size_t count;
};

PSTORAGE_API int pstorage_flash_list_submit(struct pstorage_client *client, struct pstorage_flash_list *list,
                                            pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_flash_list_run(struct pstorage_client *client, struct pstorage_flash_list *list);
PSTORAGE_API void pstorage_flash_list_clear(struct pstorage_flash_list *list);

struct pstorage_flash_format {
    uint32_t block_bytes, metadata_bytes; /* block_bytes 0: not available */
    uint32_t performance;                 /* 0 best to 3 degraded */
};

/* What Identify Controller and Identify Namespace say. NVMe alone. */
struct pstorage_flash_identify {
    struct pstorage_request request;
    const char *node, *device;
    /* Results. */
    char model[41], serial[21], firmware[9], nqn[256];
    uint32_t vendor, subsystem_vendor, controller_id;
    uint32_t version; /* major << 16 | minor << 8 | tertiary */
    uint64_t max_transfer_pages;
    uint32_t namespaces, error_log_entries, warning_kelvin, critical_kelvin;
    uint64_t capacity_bytes, unallocated_bytes;
    bool can_format, can_deallocate, can_write_zeroes, volatile_write_cache, format_all, erase_all,
        crypto_erase;
    uint64_t size_blocks, capacity_blocks, used_blocks;
    uint32_t block_bytes, format; /* index into formats */
    struct pstorage_flash_format formats[64];
    size_t nformats;
    bool thin, reads_zeroes, protection;
    char nguid[33], eui64[17]; /* hexadecimal; "": none */
    struct pstorage_zones zones;
};

PSTORAGE_API int pstorage_flash_identify_submit(struct pstorage_client *client,
                                                struct pstorage_flash_identify *identify, pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_flash_identify_run(struct pstorage_client *client,
                                             struct pstorage_flash_identify *identify);

struct pstorage_flash_error {
    uint64_t number; /* counts all errors there were */
    uint32_t queue, command, status;
    uint64_t lba;
    uint32_t namespace_id;
    char text[64]; /* of the status */
};

/* The SMART log and the error log. NVMe alone. */
struct pstorage_flash_smart {
    struct pstorage_request request;
    const char *node, *device;
    uint32_t max_errors; /* at most 64 */
    /* Results. */
    uint32_t critical_warning; /* bits: 0 spare low, 1 temperature, 2 reliability, 3 read-only, 4 volatile
                                  memory */
    uint32_t kelvin, spare_percent, spare_threshold_percent, used_percent;
    uint64_t read_units, written_units; /* of 512,000 bytes */
    uint64_t read_commands, write_commands, busy_minutes, power_cycles, power_on_hours, unsafe_shutdowns;
    uint64_t media_errors, error_log_entries;
    uint32_t warning_minutes, critical_minutes;
    uint32_t sensors_kelvin[8];
    size_t nsensors;
    struct pstorage_flash_error errors[64]; /* latest first */
    size_t nerrors;
};

PSTORAGE_API int pstorage_flash_smart_submit(struct pstorage_client *client,
                                             struct pstorage_flash_smart *smart, pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_flash_smart_run(struct pstorage_client *client, struct pstorage_flash_smart *smart);

enum pstorage_flash_op {
    PSTORAGE_FLASH_READ = 1,   /* offset, length, buffer */
    PSTORAGE_FLASH_WRITE,      /* offset, length, buffer, fua */
    PSTORAGE_FLASH_FLUSH,      /* all that was answered before is durable */
    PSTORAGE_FLASH_DEALLOCATE, /* offset, length; of a zoned device: whole zones, which are reset */
    PSTORAGE_FLASH_FORMAT,     /* serial, block_bytes, erase: everything on it is lost */
};

enum pstorage_flash_erase {
    PSTORAGE_FLASH_ERASE_NONE = 0,
    PSTORAGE_FLASH_ERASE_USER_DATA,
    PSTORAGE_FLASH_ERASE_CRYPTO,
};

/* Past the pool, on NVMe namespaces that are not in it, that the node's PSTORAGE_FLASH_RAW_DEVICES lists and
 * that nothing else uses; a device in the pool can be read. EPRECONDITION, EPERM otherwise. What changes
 * something is never sent twice. */
struct pstorage_flash_io {
    struct pstorage_request request;
    enum pstorage_flash_op op;
    const char *node, *device;
    uint64_t offset, length; /* multiples of the device's block_bytes; reads and writes are at most 1 MiB */
    void *buffer;
    bool fua;
    const char *serial;   /* of the device that is meant: ECHANGED if another one is there */
    uint32_t block_bytes; /* 0: as it is */
    enum pstorage_flash_erase erase;
};

PSTORAGE_API int pstorage_flash_io_submit(struct pstorage_client *client, struct pstorage_flash_io *io,
                                          pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_flash_io_run(struct pstorage_client *client, struct pstorage_flash_io *io);

/* ---- flash devices of a pool that come and go */

enum pstorage_device_outcome {
    PSTORAGE_DEVICE_TAKES_PLACE = 1, /* attached in the place of another one; it is being rebuilt */
    PSTORAGE_DEVICE_ADDED,           /* attached, and the pool is larger by it */
    PSTORAGE_DEVICE_EMPTIED,         /* what lies on it is being moved to the others; then it is taken out */
    PSTORAGE_DEVICE_TAKEN_OUT,
};

struct pstorage_device_change {
    struct pstorage_request request;
    bool attach;        /* else it is taken out */
    const char *device; /* to attach: as in PSTORAGE_FLASH_DEVICES; else as pstorage_report names it */
    const char *node;   /* whose device is meant; NULL: of whoever is asked */
    enum pstorage_device_outcome outcome; /* result; 0: an older node does not say */
};

/* Done when the change is durable; a device that was attached in the place of
 * another one is rebuilt after that. Of a pool without parity a device that is taken out is emptied first,
 * and this is done when that has begun: pstorage_report and events tell the rest. */
PSTORAGE_API int pstorage_device_change_submit(struct pstorage_client *client,
                                               struct pstorage_device_change *change, pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_device_change_run(struct pstorage_client *client,
                                            struct pstorage_device_change *change);

/* ---- tokens of the REST API */

enum pstorage_token_role {
    PSTORAGE_TOKEN_READ_ONLY = 1,
    PSTORAGE_TOKEN_OPERATOR, /* also data, volumes and snapshots */
    PSTORAGE_TOKEN_ADMIN,    /* also pods and their members */
};

struct pstorage_token {
    char name[PSTORAGE_NAME_MAX + 1];
    enum pstorage_token_role role;
    uint64_t created_unix_ns;
    uint8_t hash[32]; /* SHA-256 of the token, which itself no node ever keeps */
};

enum pstorage_token_op {
    PSTORAGE_TOKENS_LIST = 1,
    PSTORAGE_TOKEN_PUT,    /* token */
    PSTORAGE_TOKEN_DELETE, /* token.name */
};

/* Of the node that is asked alone: every node keeps its own list. */
struct pstorage_tokens {
    struct pstorage_request request;
    enum pstorage_token_op op;
    struct pstorage_token token;
    /* Results of LIST, in the order of names; free with pstorage_tokens_clear, also after an error. */
    struct pstorage_token *items;
    size_t count;
};

PSTORAGE_API int pstorage_tokens_submit(struct pstorage_client *client, struct pstorage_tokens *tokens,
                                        pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_tokens_run(struct pstorage_client *client, struct pstorage_tokens *tokens);
PSTORAGE_API void pstorage_tokens_clear(struct pstorage_tokens *tokens);

/* ---- analytics: what a node knows of its own past and future */

struct pstorage_prediction {
    unsigned days;
    bool known;                     /* false: the history is shorter than that */
    uint64_t used_bytes;            /* the median */
    uint64_t low_bytes, high_bytes; /* the truth is between them in 90 of 100 cases */
};

struct pstorage_crossing {
    bool reached; /* now */
    bool known;   /* false: not within searched_days */
    double days;
    bool earliest_known, latest_known;
    double earliest_days, latest_days; /* of the 90 % interval */
};

struct pstorage_forecast {
    struct pstorage_request request;
    uint32_t horizons_days[8]; /* nhorizons of 1 to 1826 days; none: 7, 30 and 90 */
    size_t nhorizons;
    uint64_t plan_bytes, plan_bytes_per_day; /* what if: at once, and each day on top of what history tells */
    /* Results. */
    uint64_t capacity_bytes, used_bytes;
    char method[16]; /* "linear", "robust", "trend"; "none": too little history */
    char why[192];   /* too little history: how much there is */
    bool seasonal;
    uint32_t step_seconds, samples, level_shifts, confidence_days, backtests;
    double span_days, growth_bytes_per_day, searched_days, confidence, error_vs_linear;
    struct pstorage_prediction predictions[8];
    size_t npredictions;
    struct pstorage_crossing at_80_percent, at_90_percent;
};

PSTORAGE_API int pstorage_forecast_submit(struct pstorage_client *client, struct pstorage_forecast *forecast,
                                          pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_forecast_run(struct pstorage_client *client, struct pstorage_forecast *forecast);

struct pstorage_drive {
    char name[128];
    char node[PSTORAGE_NAME_MAX + 1]; /* "": one of an older version, that does not say */
    unsigned score;                   /* 0 to 100 */
    char reasons[6][128];
    size_t nreasons;
    bool wear_known, days_left_known;
    double wear_mean_cycles, wear_max_cycles, days_left;
    uint64_t blocks, retired_blocks, errors_30_days, written_30_days_bytes;
    bool smart_known;      /* what an NVMe device says of itself: */
    uint64_t used_percent; /* of its life, as it counts; may exceed 100 */
    uint64_t spare_percent, media_errors;
    bool celsius_known;
    double celsius;
};

struct pstorage_health {
    struct pstorage_request request;
    bool all_nodes; /* also what the other nodes of the cluster say */
    /* Results. */
    struct pstorage_drive items[80];
    size_t count;
    char unreachable[16][PSTORAGE_NAME_MAX + 1]; /* nodes that did not answer */
    size_t nunreachable;
};

PSTORAGE_API int pstorage_health_submit(struct pstorage_client *client, struct pstorage_health *health,
                                        pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_health_run(struct pstorage_client *client, struct pstorage_health *health);

struct pstorage_tier_advice {
    uint64_t id, logical_bytes, stored_bytes;
    char name[PSTORAGE_NAME_MAX + 1];
    char temperature[16];            /* "hot", "warm", "cold", "frozen" */
    double accesses_per_hour_gib;    /* of what is stored */
    char current_tier[16], tier[16]; /* "nvme", "ssd", "hdd", "archive"; now, and advised */
    char reason[192];
    double cost_now, cost_there; /* a month */
};

struct pstorage_tiering {
    struct pstorage_request request;
    /* Results; free with pstorage_tiering_clear, also after an error. */
    struct pstorage_tier_advice *items; /* in the order of names */
    size_t count;
};

PSTORAGE_API int pstorage_tiering_submit(struct pstorage_client *client, struct pstorage_tiering *tiering,
                                         pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_tiering_run(struct pstorage_client *client, struct pstorage_tiering *tiering);
PSTORAGE_API void pstorage_tiering_clear(struct pstorage_tiering *tiering);

struct pstorage_temperature {
    struct pstorage_request request;
    const char *volume; /* must stay until the callback */
    /* Results. */
    uint64_t id, size_bytes, logical_bytes;
    char temperature[16];         /* of the whole: "hot", "warm", "cold", "frozen" */
    double accesses_per_hour_gib; /* of what holds data */
    double reads_per_hour, writes_per_hour;
    uint64_t hot_bytes, warm_bytes, cold_bytes, frozen_bytes; /* of the size, by regions */
    uint64_t region_bytes;
    float regions[256]; /* accesses an hour and GiB of each, from the volume's begin on */
    size_t nregions;
};

PSTORAGE_API int pstorage_temperature_submit(struct pstorage_client *client,
                                             struct pstorage_temperature *temperature, pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_temperature_run(struct pstorage_client *client,
                                          struct pstorage_temperature *temperature);

/* Of requests that ended well. Quantiles are told as the next power of two. */
struct pstorage_latency_figures {
    uint64_t requests;
    double mean_us, p50_us, p95_us, p99_us;
};

/* A stretch of a volume's history: sizes are means, the rest sums. Without a point the volume was idle, or
 * nobody sampled. */
struct pstorage_volume_point {
    uint64_t begin_unix_ns;
    uint32_t samples;
    uint64_t size_bytes, logical_bytes, stored_bytes, reads, writes, read_bytes, written_bytes;
    struct pstorage_latency_figures read_latency, write_latency;
};

enum pstorage_history_step {
    PSTORAGE_HISTORY_MINUTE, /* the last two days */
    PSTORAGE_HISTORY_HOUR,   /* 90 days */
    PSTORAGE_HISTORY_DAY,    /* five years */
};

/* What is known of a volume. */
struct pstorage_account {
    struct pstorage_request request;
    const char *volume; /* must stay until the callback */
    enum pstorage_history_step step;
    uint64_t before_unix_ns; /* only points that begin before this; 0: all */
    uint32_t max_points;     /* the newest so many, at most 1000; 0: 100 */
    /* Results; free with pstorage_account_clear, also after an error. */
    struct pstorage_temperature now; /* without regions */
    uint64_t stored_bytes;
    bool growth_known; /* false: fewer than 24 hours are known */
    double growth_days, logical_bytes_per_day, stored_bytes_per_day;
    struct pstorage_latency_figures read_latency, write_latency; /* of the last 24 hours */
    struct pstorage_volume_point *points;                        /* oldest first */
    size_t npoints;
    bool earlier; /* there are more before the first */
};

PSTORAGE_API int pstorage_account_submit(struct pstorage_client *client, struct pstorage_account *account,
                                         pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_account_run(struct pstorage_client *client, struct pstorage_account *account);
PSTORAGE_API void pstorage_account_clear(struct pstorage_account *account);

/* ---- what storing something would take */

enum {
    PSTORAGE_MEASURE_BLOCKS = 32,
    PSTORAGE_MEASURE_BLOCK_BYTES = 4096
};

enum pstorage_measured_kind {
    PSTORAGE_MEASURED_PATTERN = 1, /* needs no data */
    PSTORAGE_MEASURED_STORED,      /* is in the pod already */
    PSTORAGE_MEASURED_TWIN,        /* is one of those before it in its extent */
    PSTORAGE_MEASURED_NEW,
};

struct pstorage_measured {
    enum pstorage_measured_kind kind;
    uint32_t stored_bytes; /* of flash that a new one takes, with its share of what is compressed together */
    uint64_t key;          /* the same for the same contents; 0 for a pattern */
};

/* Has blocks reduced as if they were written, by the node that is asked and with its settings; nothing is
 * kept or changed there. */
struct pstorage_measure {
    struct pstorage_request request;
    const void
        *data;       /* `blocks` of PSTORAGE_MEASURE_BLOCK_BYTES, aligned to that; stays until the callback */
    uint32_t blocks; /* 1 to PSTORAGE_MEASURE_BLOCKS */
    uint32_t extent_blocks; /* so many follow one another where they come from, then others; 0: all do */
    struct pstorage_measured results[PSTORAGE_MEASURE_BLOCKS];
};

PSTORAGE_API int pstorage_measure_submit(struct pstorage_client *client, struct pstorage_measure *measure,
                                         pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_measure_run(struct pstorage_client *client, struct pstorage_measure *measure);

/* ---- events */

struct pstorage_event {
    uint64_t cursor; /* grows; never reused */
    uint64_t time_unix_ns;
    char kind[64]; /* "volume.created": stable, for programs */
    char pod[PSTORAGE_NAME_MAX + 1];
    uint64_t image_id; /* 0: none */
    char text[256];    /* one line for people */
};

struct pstorage_events {
    struct pstorage_request request;
    uint64_t after_cursor; /* 0: from the oldest kept */
    uint32_t limit;        /* at most 1,000; 0: 100 */
    /* Results; free with pstorage_events_clear, also after an error. */
    struct pstorage_event *items; /* oldest first */
    size_t count;
    uint64_t last_cursor; /* of the newest event there is */
};

PSTORAGE_API int pstorage_events_submit(struct pstorage_client *client, struct pstorage_events *events,
                                        pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_events_run(struct pstorage_client *client, struct pstorage_events *events);
PSTORAGE_API void pstorage_events_clear(struct pstorage_events *events);

/* Events as they happen, until cancelled or `on_event` returns false (the
 * status is then 0). Has no timeout unless one is given. Goes on after the last
 * event seen when a connection is lost. */
struct pstorage_follow {
    struct pstorage_request request;
    uint64_t after_cursor; /* 0: from the oldest kept; kept up to date */
    bool from_now;         /* instead: only what happens from here on */
    /* On the client's thread, for each event; must not block. */
    bool (*on_event)(struct pstorage_follow *follow, const struct pstorage_event *event);
};

PSTORAGE_API int pstorage_follow_submit(struct pstorage_client *client, struct pstorage_follow *follow,
                                        pstorage_cb cb);
/* Blocks. */
PSTORAGE_API int pstorage_follow_run(struct pstorage_client *client, struct pstorage_follow *follow);

#ifdef __cplusplus
}
#endif

#endif
