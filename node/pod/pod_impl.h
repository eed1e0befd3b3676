/* What the files of this folder share. Everything here belongs to the reactor's thread.
 *
 *   write.c       host writes, trims, zeroes: cut into pieces, hashed, bound to a batch in order
 *   batch_build.c the open batch: records, changes, sealing
 *   commit.c      shipping, commit in order, applying
 *   read.c        reads, extents, prefetch
 *   fetch.c       records and metadata pages from flash
 *   manage.c      volumes, snapshots, clones
 *   background.c  release of deleted images, reloading of the dedup index
 *   collect.c     garbage collection: when, how fast; collect_move.c: of one segment
 *   collect_read.c what it reads, ahead
 *   checkpoint.c  runs, base pages, anchors
 *   open.c        format and recovery
 *   restore.c     what a checkpoint's runs say
 *   twin.c        second copies of metadata
 *   log_restart.c the log goes on in a new segment under a new generation: at each opening, and to truncate
 *   log_read.c    where the batches of the log lie, for members that lag
 *   follow.c      batches made elsewhere: appended, applied when committed
 *   anchor_write.c anchors that are not a checkpoint's: replication's state, adoption of a pod's identity
 *   role.c        standby, leading, abandoned
 *   deep.c        a survey of all maps in the background, or offline; deep_read.c: what it reads
 *   grow.c        segments that the device has got; vacate.c: those that it is to lose
 *   survey.h      what it is made of
 *   scrub.c       reading all that lives, to verify it; scrub_meta.c: metadata
 *   repair.c      records that flash has lost, from other members and for them
 *   copy_out.c    a full copy for another member
 *   copy_in.c     a full copy taken in
 *   copy_wire.c   its form on the way */
#ifndef PS_NODE_POD_POD_IMPL_H
#define PS_NODE_POD_POD_IMPL_H

#include "node/flash/anchor.h"
#include "node/flash/l2p.h"
#include "node/flash/segment.h"
#include "node/meta/meta.h"
#include "node/meta/run.h"
#include "node/pod/block_cache.h"
#include "node/pod/copy_wire.h"
#include "node/pod/log_index.h"
#include "node/pod/log_spans.h"
#include "node/pod/pod.h"
#include "node/pod/pod_log.h"
#include "node/reduction/dedup_index.h"
#include "node/reduction/fingerprint.h"
#include "node/reduction/record.h"
#include "node/replication/batch.h"
#include "node/volume/map.h"

enum {
    SEGMENT_BYTES_DEFAULT = 8 << 20,
    SYSTEM_SEGMENTS = 4,                                   /* labels 0 and 1, this pod's anchors 2 and 3 */
    PIECE_BLOCKS = POD_ATOMIC_BYTES / POD_BLOCK_BYTES + 1, /* an unaligned atomic write touches one more */
    PIECES = 512,
    RANGE_PIECES = 32, /* of them for trims and zeroes at once */
    PASS_OVER_MAX = 64,
    BOUNCES = 32,                     /* buffers for unaligned writes */
    BATCHES = POD_LOG_SEALED_MAX + 1, /* and the open one */
    IN_FLIGHT_MAX = 2,                /* batches on their way to flash */
    READ_AHEAD_BYTES = 2 << 20,
    READ_AHEAD_LEAST = 32 * 1024, /* smaller reads in a row are served by their groups' neighbours */
    FETCHES = 192,                /* record reads in flight */
    LOADS = 64,                   /* metadata page reads in flight */
    WAITERS = 8192,               /* blocks that reads wait for */
    SHADOWS = 8192,
    BATCH_SPACES = 64, /* images whose counts a batch changes */
    OPERATIONS = 4096, /* results kept for retries */
    CHECKPOINT_LOG_BYTES = 64 << 20,
    CHECKPOINT_CHANGES = 64 * 1024,
    CHECKPOINT_MERGES = 1024,
    CHECKPOINT_SINGLES = 64, /* of these, so that what lies once is written twice */
    CHECKPOINT_CHUNK = 256 * 1024,
    CHECKPOINT_SEGMENTS = 3,
    RESTART_SEGMENTS = 2,        /* more of them in a replicated pod: the uncommitted end is written anew */
    LOG_INDEX_BATCHES = 1 << 16, /* the newest, whose places are in memory: 3 MiB when all are */
    OPENING_RUNS = 8,            /* kept when a pool is opened; more are written as one */
    BAD_PAGES = 64,
    COPY_SPARE_SEGMENTS = 8, /* left for the log of a member that has fewer than the one it is a copy of */
};
#define CHECKPOINT_IDLE_NS  (30ull * 1000000000ull)
#define CHECKPOINT_RETRY_NS (1000000000ull)
#define MAY_READ_RETRY_NS   (2000000ull)
/* A new primary's ids begin at a multiple of LEAD_STEP; an epoch has LEAD_RUNS of them (role.c). */
#define LEAD_STEP (1ull << 16)
#define LEAD_RUNS 1024

struct position {
    uint32_t segment, offset, next;
};

/* ---- writes */

enum piece_kind {
    PIECE_WRITE,
    PIECE_PUNCH,
    PIECE_ZERO
};
enum piece_state {
    PIECE_UNALIGNED, /* waits until nothing overlaps, then reads what surrounds it */
    PIECE_FILLING,   /* those reads are under way */
    PIECE_READY,     /* hashed; waits for its turn to be bound */
    PIECE_BOUND,
};

/* Blocks of a write that are looked at one by one. */
struct piece_block {
    struct fingerprint fp;
    uint64_t candidate; /* a stored block that may hold the same; 0: none (group 0 is never given out) */
    uint32_t pattern;
    uint8_t twin; /* an earlier block of the piece that holds the same; its own index: none */
    bool is_pattern;
    bool same;    /* the candidate was compared and is equal */
    bool fetched; /* the candidate was read once for it */
    bool unequal; /* compared and different, or not to be had: never asked for again */
};

/* A part of a host write that is bound as a whole. */
struct piece {
    struct list_node link; /* waiting, or in its batch */
    struct pod_io *io;
    struct image *image;
    uint64_t image_id;
    enum piece_kind kind;
    enum piece_state state;
    uint64_t lba;
    uint32_t count;
    const uint8_t *data; /* of the blocks; the host's memory or a bounce buffer */
    uint8_t *bounce;
    uint64_t offset, length; /* bytes of the host's part in it */
    uint32_t fills;          /* reads under way */
    uint64_t seen_events;    /* pod->events when it was last found wanting */
    int status;
    bool counted; /* goes into the totals of host bytes */
    struct piece_block blocks[PIECE_BLOCKS];
};

/* ---- batches */

struct batch {
    struct pod *pod;
    struct list_node link; /* free or in flight */
    uint8_t *buf;          /* BATCH_MAX_BYTES, aligned */
    uint8_t *start;        /* of the sealed batch in it */
    struct batch_header header;
    struct changes changes;
    struct plan plan;
    uint8_t *fingerprints, *lines, *scatter_fingerprints;
    uint32_t fingerprint_used;
    uint32_t payload_used, blocks, records, groups;
    struct record_scatter scatter; /* blocks == 0: none open */
    uint64_t scatter_group;
    uint8_t *scatter_buf;
    struct list_node pieces;
    struct {
        uint64_t image;
        struct space delta;
    } spaces[BATCH_SPACES];
    uint32_t space_count;
    uint64_t counters[COUNTERS];
    const void *pinned[BATCH_BLOCKS_MAX];
    uint32_t pinned_count;
    struct pod_manage *manage;
    uint64_t releasing; /* image whose release step is in it */
    struct position at, after;
    struct blkdev_req req;
    bool open, done;
    int status;
};

/* ---- reads */

/* A block that somebody waits for. Its destination gets `bytes` from `from` on. */
struct waiter {
    struct list_node link;
    struct pod_io *io;              /* a host's read, or */
    struct piece *piece;            /* an unaligned write's surroundings, or */
    struct pod_record_read *record; /* another member's, who wants it whole */
    uint8_t *dst;
    uint16_t slot, from, bytes;
};

enum fetch_state {
    FETCH_READS,
    FETCH_FAILED, /* another member shall be asked */
    FETCH_ASKS,
};

/* One record on its way from flash, or from another member. */
struct fetch {
    struct pod *pod;
    struct list_node link;
    uint64_t group;
    struct place place;
    struct list_node waiters;
    uint8_t wanted, all; /* slots to decode into the cache; those that lived when it began */
    uint8_t *buf;
    uint32_t skip, bytes; /* bytes before the record in buf, and its own */
    enum fetch_state state;
    bool repair; /* another member is asked though nobody waits for it */
    int status;  /* FETCH_FAILED and FETCH_ASKS: why it can't be had from flash */
    char trouble[128];
    struct blkdev_req req;
};

struct load {
    struct pod *pod;
    struct list_node link;
    struct meta_key page;
    struct place place;
    uint8_t *buf;
    uint32_t skip;
    uint16_t way; /* of reading it that is tried: twin_try */
    char trouble[128];
    struct blkdev_req req;
};

struct operation {
    uint8_t id[16];
    int status;
    uint64_t image, unix_ns;
};

/* ---- checkpoint */

struct chunk {
    uint8_t *buf;
    uint64_t addr;
    uint32_t twin; /* segment to which it goes as well; 0: none */
    uint32_t used;
};

struct run_places {
    uint64_t seq, bytes;
    struct place *chunks;
    size_t count, capacity;
};

enum checkpoint_state {
    CHECKPOINT_IDLE,
    CHECKPOINT_LOADING, /* pages to merge come into memory */
    CHECKPOINT_WRITING,
    CHECKPOINT_FLUSHING,
    CHECKPOINT_ANCHOR_WAITS, /* for another anchor that is being written */
    CHECKPOINT_ANCHORING,
};

struct checkpoint {
    enum checkpoint_state state;
    bool wanted;
    bool closing; /* the cut was made with nothing left to do */
    struct meta_sink sink;
    struct run_writer run;
    struct meta_key merge[CHECKPOINT_MERGES];
    size_t merge_count;
    struct chunk *chunks;
    size_t chunk_count, chunk_capacity;
    size_t write_next, write_done; /* two for each chunk: to its segment, and to that one's twin */
    uint32_t needed;               /* segments that the cut may need if it lies there once */
    struct pod_anchor anchor;
    uint8_t *anchor_buf;
    struct checkpoint_req {
        struct blkdev_req req;
        struct pod *pod;
        size_t write;
        bool busy;
    } reqs[2];
    uint64_t last_ns;
};

struct pod_image {
    struct pod *pod;
    uint64_t id;
    uint64_t opening;      /* of the pod; another one has other images in memory */
    struct image_use *use; /* NULL: not counted */
};

/* ---- following */

/* A batch made elsewhere, from its append until it is applied. */
struct appended {
    struct pod *pod;
    struct list_node link; /* free, or in order */
    uint8_t *buf;
    struct batch_header header;
    struct position at, after;
    bool submitted, done;
};

/* Appended batches that lie side by side, on their way to flash. */
struct append_write {
    struct pod *pod;
    struct blkdev_req req;
    uint64_t last; /* the last of them; 0: no write */
    uint8_t *buf;  /* where several are put together */
};

struct follow {
    struct appended slots[POD_LOG_APPENDS_MAX];
    struct list_node free, appended;
    struct append_write writes[IN_FLIGHT_MAX];
    /* One of the uncommitted end that an opening found: read back when it is to be applied. */
    uint8_t *tail_buf;
    uint64_t tail_seq; /* in tail_buf; 0: none */
    uint32_t tail_segment;
    bool tail_busy;
    struct blkdev_req tail_req;
    bool waits; /* a batch cannot be applied before pages have come; they must not go meanwhile */
    uint64_t seen_events;
};

/* ---- the log restarted in a new segment */

enum restart_state {
    RESTART_IDLE,
    RESTART_QUIET, /* waits until nothing else writes the log or a checkpoint */
    RESTART_COPY,
    RESTART_CHECKPOINT,
};

struct log_restart {
    enum restart_state state;
    bool whole;    /* all of the log is kept: `keep` is not known before it is quiet */
    uint64_t keep; /* last batch of the uncommitted end that stays */
    uint64_t next; /* to be copied */
    uint8_t *buf;
    uint32_t pinned;
    bool busy, have; /* a request is under way; buf holds the next one */
    struct position at;
    struct batch_header header;
    struct blkdev_req req;
    int status;
    void (*cb)(void *user, int status);
    void *user;
    struct {
        bool wanted;
        uint64_t keep;
        void (*cb)(void *user, int status);
        void *user;
    } truncation;
};

/* ---- anchors that are not a checkpoint's, and labels */

enum anchor_doing {
    ANCHOR_PROTOCOL,
    ANCHOR_ADOPTS,
    ANCHOR_RESIZES,
};

struct anchor_writer {
    bool busy; /* something is under way: a checkpoint's anchor waits */
    bool writing;
    enum anchor_doing doing;
    struct pod *pod;
    uint8_t *buf;
    struct blkdev_req req;
    struct pod_anchor anchor;
    struct pool_label label;
    unsigned labels_left; /* to be written, behind the one that is */
    struct {
        bool wanted;
        uint8_t data[POD_LOG_PROTOCOL_MAX];
        size_t bytes;
        void (*cb)(void *user, int status);
        void *user;
    } protocol;
    struct {
        bool wanted;
        uint8_t pod_id[16];
        void (*cb)(void *user, int status);
        void *user;
    } adopt;
    struct {
        bool wanted;
        uint64_t device_bytes;
        uint32_t segment_count;
        void (*cb)(struct pod *pod, int status, const struct pool_label *label);
    } resize;
};

/* ---- size */

struct growth {
    bool wanted;
    bool writing;                       /* the label */
    void (*cb)(void *user, int status); /* NULL: nobody waits */
    void *user;
};

enum vacate_state {
    VACATE_NONE,
    VACATE_RUNNING,
    VACATE_DONE,
};

struct vacate {
    enum vacate_state state;
    bool (*leaves)(void *user, uint64_t offset, uint64_t length);
    void (*cb)(void *user, int status); /* NULL: it was called */
    void *user;
    bool logging;         /* the log is being led out of there */
    uint64_t seen_events; /* pod->events when it was last looked at */
    uint64_t look_ns;     /* not before */
    uint64_t checkpoints; /* when metadata was last looked at */
    uint64_t live_meta;   /* and what lived there */
    unsigned in_vain;     /* checkpoints that moved none of it */
    uint32_t waiting;     /* segments that are not barred yet: the rest is to have room for a checkpoint */
};

/* What was asked for has ended, and is told by the next turn. */
struct resize_end {
    void (*cb)(void *user, int status);
    void *user;
    int status;
};

/* ---- erases of a zoned device */

struct zones {
    struct pod *pod;
    struct blkdev_req *waiting, **last; /* writes, for their segment's erase */
    struct blkdev_req req;
    uint32_t segment; /* being erased; SEGMENT_NONE */
    int refused;      /* an erase was, by the device: those that wait are told, not from within */
};

enum pod_state {
    POD_OPENING,
    POD_SERVING,
    POD_CHECKED, /* opened to be checked: nothing but deep.c works */
    POD_FILLING, /* with a full copy: nothing but copy_in and the anchors */
    POD_CLOSING,
    POD_ABANDONING,
    POD_CLOSED
};

struct open_state; /* open_impl.h */
struct restore {
    const struct pod *pod; /* whose flash it is */
    struct meta *meta;
    struct images *images;
    struct segments *segments;
    /* What is none of these: counters, operations. */
    int (*blob)(void *user, uint8_t type, uint64_t id, const uint8_t *data, size_t bytes,
                struct ps_error *err);
    void *user;
    const char *impossible;
    struct run_cursor chunk;
};
bool restore_place_is_sound(const struct pod *pod, struct place place);
/* Chunk `index` of the run: 0 and its successor's place, none after the last; PS_EDAMAGED or PS_EVERSION with
 * a detail. */
int restore_chunk(struct restore *to, const void *chunk, size_t bytes, uint64_t run, uint32_t index,
                  struct place *next, struct ps_error *err);
/* The segment that is said to hold the run's chunk at `place` as well, if that can be; 0: none. */
uint32_t restore_copy_segment(const struct pod *pod, struct place place, uint32_t segment);
/* The same of the successor of a chunk that was restored. */
uint32_t restore_next_copy(const struct pod *pod, const void *chunk, struct place next);
/* The same bit by bit: it is checked, then so many of its entries put in place at a time; *more: some are
 * left. */
int restore_chunk_begin(struct restore *to, const void *chunk, size_t bytes, uint64_t run, uint32_t index,
                        struct place *next, struct ps_error *err);
int restore_chunk_some(struct restore *to, size_t entries, bool *more, struct ps_error *err);

struct copy_out;   /* copy_out.c */
struct copy_in;    /* copy_in.c */
struct collect;    /* collect.h */
struct deep;       /* deep.h */
struct index_load; /* background.c */
struct log_recall; /* log_recall.c */
struct log_unfold; /* log_unfold.c */

/* The pass under way, and the last one. */
struct scrub {
    bool wanted, running, quiet;
    uint32_t next; /* segment */
    uint64_t passes, read_bytes, damaged;
    int64_t credit; /* bytes that may be read now */
    uint64_t opened_ns, last_ns, ended_ns;
    uint64_t requests, busy_ns; /* of hosts: as last seen, when that changed */
    struct scrub_meta *meta;    /* the pass goes through metadata, its last part */
};

/* The first ids that are not given out. */
struct log_ids {
    uint64_t group, page, image;
};

struct pod {
    struct pod_config config;
    char name[64];
    struct blkdev *dev;
    enum pod_state state;
    struct pool_label label;
    uint8_t label_at; /* segment whose label is known to be whole */
    uint32_t segment_bytes, segment_count, reserve_segments;
    uint64_t now_ns;

    struct segments *segments;
    struct meta *meta;
    struct view *view;
    struct images *images;
    struct block_cache *cache;
    struct dedup_index *dedup;
    struct record_codec *codec;
    enum record_algorithm algorithm;
    enum fingerprint_algorithm fingerprint;

    /* Identity and log. */
    struct pod_anchor anchor; /* the last durable one */
    uint64_t generation, run, epoch;
    uint64_t sealed_seq, sealed_hash, applied_seq, applied_hash;
    uint64_t sealed_epoch, applied_epoch, applied_run; /* of those batches */
    struct log_id durable;                             /* all up to it are in flash */
    uint64_t commit_seq; /* all up to it are committed; UINT64_MAX when nobody else has a say */
    uint64_t unique_blocks;
    struct position tail;    /* where the next batch goes */
    bool next_named;         /* the last batch says where the log goes on after this segment */
    struct position applied; /* behind the last applied batch */
    uint64_t next_group, next_page, next_image; /* for the next plan */
    struct log_ids log_next;                    /* as the applied log leaves them: equal on all members */
    uint64_t told_page, told_image;             /* as last logged */
    uint64_t log_bytes;                         /* since the last cut */
    uint64_t counters[COUNTERS];
    uint64_t metadata_programmed, moved_programmed;
    uint32_t meta_segment, meta_offset; /* where the next metadata goes */
    struct run_places runs[ANCHOR_RUNS_MAX];
    size_t run_count;

    /* Queues. */
    struct list_node submitted; /* pod_ios not yet cut into pieces */
    struct list_node draining;  /* pieces given up whose reads are still under way */
    struct list_node waiting;   /* pieces, in order */
    struct list_node reads;     /* pod_ios that could not go on */
    struct list_node flushes;
    struct list_node done; /* pod_ios to be delivered */
    struct list_node managing;
    struct list_node managed; /* to be delivered */
    struct list_node in_flight, free_batches;
    struct batch *open;
    uint32_t in_flight_count;
    struct batch batches[BATCHES];
    struct piece *pieces;
    struct list_node free_pieces;
    uint32_t range_pieces; /* trims and zeroes among those in use */
    uint64_t meta_pages;   /* that the metadata cache holds */
    uint8_t *bounces[BOUNCES];
    uint32_t bounce_count;
    struct waiter *waiters;
    struct list_node free_waiters;
    struct fetch fetches[FETCHES];
    struct list_node free_fetches, active_fetches;
    struct load loads[LOADS];
    struct list_node free_loads, active_loads;
    struct meta_key bad_pages[BAD_PAGES];
    uint32_t bad_page_count; /* ever; the ring holds the last BAD_PAGES, at least all of one turn */
    uint64_t events;         /* something arrived that waiting work may have wanted */
    uint64_t background_events;
    bool hoped; /* room for new data was to come, when hoped_events had arrived */
    uint64_t hoped_events;
    bool release_in_flight;
    bool manage_busy;       /* the first operation's batch is in flight */
    bool manage_partial;    /* the operation in flight goes on in another batch */
    uint64_t shrink_cursor; /* blocks; of the shrinking under way */
    bool shrinking;
    bool prepared; /* nothing is left to do before the first operation's batch */
    bool again;    /* pod_turn must run once more */
    struct checkpoint checkpoint;
    struct operation *operations;
    uint64_t operation_count; /* ever; the ring holds the last OPERATIONS */
    uint64_t operations_cut;

    /* Replication. */
    enum pod_role role;
    struct follow follow;
    struct log_restart restart;
    struct anchor_writer anchor_writer;
    struct growth growth;
    struct vacate vacate;
    struct resize_end grow_end, vacate_end;
    struct zones zones;
    struct log_index *log_index; /* NULL: the pod stands alone */
    struct log_spans *log_spans;
    struct log_unfold *log_unfold;
    struct log_recall *recall;                   /* while a start looks for older log */
    bool searching;                              /* until it is through */
    struct list_node log_reads;                  /* to be delivered */
    struct list_node record_reads, records_read; /* of other members: not begun, to be delivered */
    uint32_t repairing;                          /* records that another member is asked for */
    uint32_t log_reading;                        /* reads of the log under way */
    uint64_t retain_seq;                         /* as asked for; 0: none */
    uint64_t limit_free;
    struct list_node parked; /* reads that may not be answered now */
    bool abandoned;
    bool held; /* nothing that changes anything is begun */
    uint32_t slow_permille;
    uint64_t openings;
    void (*reopened)(void *user, int status);
    void *reopened_user;

    struct open_state *opening;
    struct copy_out *copy_out;
    struct log_id
        copy_base; /* the last batch in the last copy for another member: known, though not retained */
    struct copy_in *copy_in;
    struct scrub scrub;
    struct collect *collect;
    struct deep *deep;
    struct index_load *index_load;
    bool closed_cut; /* the checkpoint of a stop is durable */
    void (*closed)(void *user);
    void *closed_user;

    bool failed;
    char failure[128];
    struct pod_stats stats; /* counters since start only */
    struct {
        uint64_t count, told_ns;
    } otherwise;                        /* records that were read in another way */
    uint64_t twin_told_ns, twin_untold; /* metadata that was */
    bool rotten_run; /* a chunk of a run is not to be relied on: the next checkpoint is a full one */
    uint64_t host_read;
};

/* write.c */
void write_accept(struct pod *pod, struct pod_io *io);
void write_turn(struct pod *pod);
/* Whatever waits and is in no batch ends with `status`. */
void write_give_up(struct pod *pod, int status);
void piece_release(struct pod *pod, struct piece *piece);
void piece_answer(struct pod *pod, struct piece *piece, int status);
bool write_overlaps_bound(struct pod *pod, uint64_t image, uint64_t lba, uint64_t count);
/* Punches the next part of [*cursor, end) of an image for the shrinking of it: 0 and *cursor moved;
 * PS_EAGAIN-like 1: not now. */
int punch_step(struct pod *pod, struct image *image, uint64_t *cursor, uint64_t end);

/* batch_build.c */
bool batch_open(struct pod *pod); /* false: no batch or no log space now */
/* For one plan that sets `entries` of a map and stores up to `blocks` new blocks. */
bool batch_has_room(struct pod *pod, unsigned depth, uint32_t entries, uint32_t blocks);
struct space *batch_space(struct batch *batch, uint64_t image);
/* Stores `n` new blocks as one record (joint) or one by one; fills their entries. */
void batch_store_joint(struct pod *pod, const struct piece *piece, uint32_t first, uint32_t n,
                       uint64_t *entries);
void batch_store_scattered(struct pod *pod, const struct piece *piece, uint32_t index, uint64_t *entry);
/* Seals and ships the open batch. */
void batch_ship(struct pod *pod);
/* Gives the open batch back; nothing was planned into it. */
void batch_cancel(struct pod *pod);
bool batch_is_empty(const struct batch *batch);
bool batch_may_ship(const struct pod *pod);
bool log_has_room(struct pod *pod);
/* There is no room in the log, and none is to come. */
bool log_is_full(struct pod *pod);

/* What requests get that the pod's end meets. */
static inline int pod_end_status(const struct pod *pod)
{
    return pod->abandoned ? PS_EUNAVAILABLE : PS_EIO;
}
static inline bool pod_is_replicated(const struct pod *pod)
{
    return pod->config.log != NULL;
}

/* Moves the log's end over a batch of `total` bytes, which is the next one; returns where it begins. The
 * caller made sure of the room. */
struct position log_place(struct pod *pod, uint32_t total);

/* log_restart.c */
/* The log goes on in a new segment and generation, from the applied state and the batches after it up to
 * `keep`, which are durable here. `cb` may be NULL. */
void restart_begin(struct pod *pod, uint64_t keep, void (*cb)(void *user, int status), void *user);
/* The same with all of the log, while it is written: batches wait meanwhile. */
void restart_whole(struct pod *pod, void (*cb)(void *user, int status), void *user);
/* Truncates behind one of these that is under way. False: there is none, or somebody waits already. */
bool restart_truncates_later(struct pod *pod, uint64_t keep, void (*cb)(void *user, int status), void *user);
void restart_turn(struct pod *pod);
/* No batch may be placed or applied; no checkpoint may begin. */
bool restart_holds_log(const struct pod *pod);
bool restart_holds_checkpoint(const struct pod *pod);

/* log_read.c */
void log_read_init(struct pod *pod);
void log_read_segments(struct pod *pod); /* their number is known */
void log_read_free(struct pod *pod);
/* What is sealed or appended; whatever was there at its sequence number and behind it is gone. */
void log_note(struct pod *pod, const struct batch_header *h, uint32_t segment, uint32_t offset);
/* In order: those behind it follow. */
void log_moved(struct pod *pod, uint64_t seq, uint32_t segment, uint32_t offset);
void log_forget_through(struct pod *pod, uint64_t seq);
void log_forget_after(struct pod *pod, uint64_t seq);
/* log_recall.c */
void log_recall_start(struct pod *pod);
void log_recall_note(struct pod *pod, const struct batch_header *h, uint32_t segment, uint32_t offset);
void log_recall_finish(struct pod *pod);
/* log_read.c */
/* Gives up kept log where the rule of pod_log_retain asks for it. */
void log_retain_trim(struct pod *pod);
void log_read_deliver(struct pod *pod);

/* follow.c */
void follow_init(struct pod *pod);
void follow_free(struct pod *pod);
void follow_turn(struct pod *pod);
struct appended *follow_find(const struct pod *pod, uint64_t seq);
/* Forgets the appended batches after `seq`. */
void follow_drop(struct pod *pod, uint64_t seq);
bool follow_is_quiet(const struct pod *pod);
void tell_durable(struct pod *pod, const struct batch_header *h);

/* anchor_write.c */
void anchor_writer_init(struct pod *pod);
void anchor_writer_free(struct pod *pod);
void anchor_writer_turn(struct pod *pod);
bool anchor_writer_is_idle(const struct pod *pod);
/* Writes the label with another size. */
void anchor_writer_resize(struct pod *pod, uint64_t device_bytes, uint32_t segment_count,
                          void (*cb)(struct pod *pod, int status, const struct pool_label *label));

enum {
    LABELS = 2
};
/* Where the label goes, when so many are left behind it: the one that is known to be whole comes last. */
static inline uint32_t label_segment(const struct pod *pod, unsigned left)
{
    return left ? !pod->label_at : pod->label_at;
}

/* grow.c */
/* Segments that fit the device. */
uint32_t grow_count(const struct blkdev *dev, uint32_t segment_bytes);
/* A label for the device as it is now. False: no segment more fits. */
bool grow_fits(const struct pod *pod, struct pool_label *label);
/* The label is durable: the segments are the pool's. */
void grow_use(struct pod *pod, const struct pool_label *label);
void grow_turn(struct pod *pod);
/* The pod is to end, or to be opened anew. */
void grow_stop(struct pod *pod, int status);
/* Of segments that are or come into use: those that are gone are no room. */
void pod_size_reserve(struct pod *pod);
/* Whoever waits for a change of size that has ended is told. */
void resize_deliver(struct pod *pod);

/* vacate.c */
void vacate_turn(struct pod *pod);
/* When it wants to go on; UINT64_MAX: not before something happens. */
uint64_t vacate_next_ns(const struct pod *pod);
/* The pod is opened anew, or has more segments: nothing new is put there. */
void vacate_again(struct pod *pod);
/* The pod is to end. */
void vacate_end(struct pod *pod, int status);
/* Hosts need the room: it is given up. False: there is none under way. */
bool vacate_gives_way(struct pod *pod);
/* Something there refers to metadata in the segment: it is to be written anew. */
bool vacate_wants(const struct pod *pod, uint32_t segment);

/* twin.c */
/* A second copy may take a segment, though `needed` are for what lies once. */
bool twin_fits(const struct pod *pod, uint32_t needed);
/* Reads metadata once more that was bad: from the twin of its segment (0: it has none), and as the device
 * reads otherwise. `*way` begins as 0. False: there is no way left. */
bool twin_try(struct pod *pod, struct blkdev_req *req, uint32_t segment, uint32_t twin, uint16_t *way,
              blkdev_cb cb);
/* Counts and tells of metadata that was bad at one address and is written anew from what is at `good` (0: in
 * memory). */
void twin_tell(struct pod *pod, const char *what, uint64_t bad, uint64_t good, const char *trouble);
/* What it is called: the page, or without one a chunk of a run. */
void twin_name(char *out, size_t size, struct meta_key page, uint64_t run, uint32_t chunk);
/* That was good: tells it, and has what lies at `place` written anew. */
void twin_helped_page(struct pod *pod, struct meta_key page, struct place place, const struct blkdev_req *req,
                      const char *trouble);
void twin_helped_chunk(struct pod *pod, uint64_t run, uint32_t chunk, struct place place,
                       const struct blkdev_req *req, const char *trouble);

/* zones.c */
void zones_init(struct pod *pod);
/* Asks the device for the wear of each segment from this one on, and retires those that it has retired or
 * that are absent. */
void zones_look(struct pod *pod, uint32_t from);
/* Which are absent now. True: it has changed. */
bool zones_look_for_absent(struct pod *pod);
void zones_unbar(struct pod *pod, uint32_t segment);
void zones_turn(struct pod *pod);
/* Whoever waits for an erase that the device refused is told. */
void zones_deliver(struct pod *pod);
/* As blkdev_submit, for writes: on a zoned device behind the erase that the write needs. */
int zones_write(struct pod *pod, struct blkdev_req *req, blkdev_cb cb);
/* Enough free segments are erased, or there are no more; else they are being erased. */
bool zones_are_ready(struct pod *pod);
bool zones_are_quiet(const struct pod *pod);
/* The free segment is erased; else it is being, unless another one is: ask again. It may turn out retired. */
bool zones_erase(struct pod *pod, uint32_t segment);
/* The segment, whose erase is done, is written, or going to be, up to `end`: its zones need not be kept ready
 * for more. */
void zones_end(struct pod *pod, uint32_t segment, uint32_t end);
/* The same with segments_seal. */
void zones_seal(struct pod *pod, uint32_t segment, uint32_t end, uint64_t last_seq);
/* What was submitted of the segment's first `end` bytes is all that will be. */
void zones_abandon(struct pod *pod, uint32_t segment, uint32_t end);

/* role.c */
void role_park(struct pod *pod, struct pod_io *io);
void role_turn(struct pod *pod);
/* Not 0: until then nothing that changes something is begun. */
uint64_t role_slow_until(const struct pod *pod);
void plan_from(struct pod *pod, const struct log_ids *next);
bool role_may_read(const struct pod *pod);

/* commit.c */
void commit_turn(struct pod *pod);
void commit_done(struct blkdev_req *req, int status);
int apply_batch(struct pod *pod, const struct batch_header *header, const void *batch, uint64_t addr,
                struct ps_error *err);
/* Notes what applying a batch needs in memory; true if it is all there. */
bool apply_ready(struct pod *pod, const struct batch_header *header, const void *batch);
void pod_fail(struct pod *pod, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* fetch.c */
/* Asks for a block's bytes: fills dst now (true) or lets the owner wait. The owner's
 * pending count is raised in the latter case. *stall: no room, ask again later. */
bool fetch_block(struct pod *pod, struct pod_io *io, struct piece *piece, uint64_t block, uint8_t *dst,
                 uint32_t from, uint32_t bytes, bool *stall);
/* Brings a block into the cache. False: not now. */
bool fetch_to_cache(struct pod *pod, uint64_t block);
/* Of the group, whose flash has lost it: another member is asked though nobody waits. False: not now. */
bool fetch_to_repair(struct pod *pod, uint64_t group);
bool fetch_under_way(const struct pod *pod, uint64_t block);
bool fetch_can_start(const struct pod *pod, unsigned blocks);
/* The record for another member. False: not now; its L2P page is in memory and has a place for it. */
bool fetch_record(struct pod *pod, struct pod_record_read *read);
struct fetch *fetch_find(const struct pod *pod, uint64_t group); /* under way; NULL: not */
/* Of what lies in the fetch's buffer: 0, and the wanted blocks are in the cache; PS_EDAMAGED. */
int fetch_decode(struct pod *pod, struct fetch *f, struct ps_error *err);
void fetch_serve(struct pod *pod, struct fetch *f, struct waiter *w, int status);
void fetch_end(struct pod *pod, struct fetch *f, int status);
/* Starts reading the pages that the view missed. True if one of them is known to be bad. */
bool load_missing(struct pod *pod);
bool load_page(struct pod *pod, struct meta_key page);
bool page_is_bad(const struct pod *pod, struct meta_key page);

/* scrub_meta.c */
void scrub_meta_begin(struct pod *pod);
/* False: it is through. */
bool scrub_meta_step(struct pod *pod);
bool scrub_meta_is_quiet(const struct pod *pod);
void scrub_meta_free(struct pod *pod);

/* scrub.c */
void scrub_turn(struct pod *pod);
uint64_t scrub_next_ns(const struct pod *pod);

/* deep.c */
void deep_init(struct pod *pod);
void deep_free(struct pod *pod);
void deep_turn(struct pod *pod);
bool deep_is_quiet(const struct pod *pod);
uint64_t deep_next_ns(const struct pod *pod);
uint64_t deep_memory(const struct pod *pod);
/* This record is lost: whose it is will be found out. */
void deep_lost(struct pod *pod, uint64_t group);
/* A scrub begins: what is lost is found anew. */
void deep_forget_losses(struct pod *pod);
void deep_image_held(const struct pod *pod, uint64_t image, struct pod_image_held *out);

/* repair.c */
/* The fetch can't be had from flash: ends it, at once or when another member was asked. */
void repair_begin(struct pod *pod, struct fetch *f, int status, const char *trouble);
void repair_record_read(struct pod *pod, struct pod_record_read *read, const uint8_t *record, uint32_t bytes,
                        int status);
void repair_turn(struct pod *pod);
void repair_deliver(struct pod *pod);

/* read.c */
void read_accept(struct pod *pod, struct pod_io *io);
void read_turn(struct pod *pod);
void io_finish(struct pod *pod, struct pod_io *io, int status);
void io_part_done(struct pod *pod, struct pod_io *io, int status);

/* manage.c */
void manage_turn(struct pod *pod);
void manage_finish(struct pod *pod, struct pod_manage *req, int status);
bool manage_blocks_writes(const struct pod *pod);
void image_info(const struct pod *pod, const struct image *image, struct pod_image_info *out);
void operation_note(struct pod *pod, const uint8_t id[16], int status, uint64_t image, uint64_t unix_ns);

/* background.c */
void background_turn(struct pod *pod);
void index_load_start(struct pod *pod);
void index_load_turn(struct pod *pod);
void index_load_stop(struct pod *pod);
/* Frees it even if the device dropped its read. */
void index_load_drop(struct pod *pod);
bool index_load_busy(const struct pod *pod);

/* collect.c */
void collect_init(struct pod *pod);
void collect_free(struct pod *pod);
/* The pod is open. */
void collect_start(struct pod *pod);
/* The number of segments, or the reserve, has changed. */
void collect_resize(struct pod *pod);
/* The log is elsewhere than in barred segments; now or soon the streams are, too. */
void collect_leave(struct pod *pod);
/* So little room is left that hosts would be next to find none, and there is no garbage. */
bool collect_is_at_an_end(struct pod *pod);
void collect_turn(struct pod *pod);
/* What lies at `from` is lost; this is another member's record of the group. It is written anew, unless there
 * is no room for it. */
void collect_patch(struct pod *pod, uint64_t group, struct place from, const void *record, uint32_t bytes);
bool collect_is_quiet(const struct pod *pod);
/* When it wants to go on; UINT64_MAX: not before something happens. */
uint64_t collect_next_ns(const struct pod *pod);
/* So much log was placed: as much more may be moved. */
void collect_logged(struct pod *pod, uint32_t bytes);
/* It lags so far behind that new data must wait for it. */
bool collect_holds_hosts(struct pod *pod);
/* There would be room for new data if all that is worth it were collected, checkpoints made and reads ended.
 */
bool collect_helps(const struct pod *pod);
/* The same, as it was a moment ago; costs nothing. */
bool collect_may_help(const struct pod *pod);
/* Little is free: metadata's space counts, too. */
bool collect_is_pressed(const struct pod *pod);
bool collect_is_asked(const struct pod *pod); /* by pod_collect, and not through yet */
/* Free segments that it leaves to others. */
uint32_t collect_floor(const struct pod *pod);
/* What lies in segments of fewer P/E cycles is to be moved. */
uint32_t collect_wear_floor(const struct pod *pod);
/* Of its open segments: bytes not written yet in all of them; bytes written in this one. */
uint64_t collect_open_bytes(const struct pod *pod);
uint32_t collect_written(const struct pod *pod, uint32_t segment);

/* Blocks of a group can be found again, by the fingerprints of `slots`, in order. */
void index_blocks(struct pod *pod, uint64_t group, unsigned slots, const uint8_t *fingerprints,
                  size_t fingerprint_bytes);
/* Blocks that the batch stored can be found again. */
void index_batch(struct pod *pod, const struct batch_header *h, const void *batch);

/* checkpoint.c */
void checkpoint_turn(struct pod *pod);
/* Another anchor was written; a checkpoint's that waited goes on. */
void checkpoint_anchor_turn(struct pod *pod);
void checkpoint_want(struct pod *pod);
bool checkpoint_busy(const struct pod *pod);
/* One is due when the pod is idle for long. */
bool checkpoint_has_work(const struct pod *pod);
enum {
    BLOB_IMAGE = 1,
    BLOB_IMAGE_GONE = 2,
    BLOB_COUNTERS = 3,
    BLOB_OPERATION = 4
};
void checkpoint_init(struct pod *pod);
void checkpoint_free(struct pod *pod);
void run_places_add(struct run_places *run, struct place place);
void runs_release(struct pod *pod);

/* open.c */
void open_begin(struct pod *pod, enum pod_format format, pod_open_cb cb, void *user, struct ps_error *err);
void open_turn(struct pod *pod);
void open_free(struct pod *pod);

/* copy_out.c */
void copy_out_turn(struct pod *pod);
void copy_out_free(struct pod *pod);
bool copy_out_is_quiet(const struct pod *pod);

/* copy_in.c */
/* The pod's former state is gone from memory. */
void copy_in_start(struct pod *pod);
void copy_in_turn(struct pod *pod);
void copy_in_free(struct pod *pod);
bool copy_in_is_quiet(const struct pod *pod);
/* Replication's state may be written beside the copy. */
bool copy_in_takes_state(const struct pod *pod);
bool copy_in_is_marking(const struct pod *pod); /* no other anchor may be written */

/* pod.c */
/* Lets everything go but identity, last anchor and copy_in, which is then started. */
void pod_fill(struct pod *pod);
void pod_reopen_now(struct pod *pod);
struct image *pod_image_target(const struct pod_image *image);
void pod_event(struct pod *pod, const char *kind, uint64_t image, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void pod_place_ref(void *user, struct place place, int delta);
static inline uint32_t place_segment(const struct pod *pod, struct place place)
{
    return (uint32_t)(place_addr(place) / pod->segment_bytes);
}
static inline uint64_t segment_addr(const struct pod *pod, uint32_t segment)
{
    return (uint64_t)segment * pod->segment_bytes;
}

#endif
