/* Inside of the array. array.c: who is asked what, members, losses; array_append.c: writing to segments;
 * array_flush.c: flush, erase, the list of unsettled segments; array_read.c; array_spread.c: without parity;
 * array_look.c: what a device holds; array_open.c: labels and format; array_resync.c: after a power cut;
 * array_members.c: attach, detach; array_rebuild.c; array_grow.c: it becomes larger, and what goes away is
 * absent. */
#ifndef PS_NODE_FLASH_ARRAY_IMPL_H
#define PS_NODE_FLASH_ARRAY_IMPL_H

#include "common/container.h"
#include "node/flash/array.h"
#include "node/flash/parity.h"

enum {
    ARRAY_IO_BYTES = 1 << 20, /* largest request of the array */
    ARRAY_OPEN_SEGMENTS = 32, /* that are appended to in turns */
    ARRAY_APPENDS = 8,        /* on their way at once */
    ARRAY_READS = 128,        /* likewise */
    ARRAY_SYSTEM_SEGMENTS = 4,
    ARRAY_ERASES = 8,
    ARRAY_HEAD_BYTES = 1 << 20, /* of each device is looked at */
    ARRAY_NOBODY = 0xff,        /* whose segment it is */
    NO_SLOT = -1,
};

/* ---- requests to members */

struct array_io;
struct member_req {
    struct blkdev_req req;
    struct array_io *io;
    uint8_t member;
};

/* Some requests to members, and what follows when all are done. */
struct array_io {
    struct array *a;
    void (*done)(struct array_io *io);
    unsigned pending, used, room;
    uint32_t failed; /* a bit a member */
    struct member_req *reqs;
};

void io_init(struct array *a, struct array_io *io, unsigned room, void (*done)(struct array_io *io));
void io_free(struct array_io *io);
/* Between the two any number of requests; `done` runs once, at the earliest in io_end, which then returns
 * true. */
void io_begin(struct array_io *io);
void io_send(struct array_io *io, unsigned member, enum blkdev_op op, uint32_t flags, uint64_t offset,
             uint32_t bytes, void *buf);
bool io_end(struct array_io *io);

/* ---- members */

struct member {
    struct blkdev *dev; /* NULL: not there */
    bool dirty;         /* a write without FUA completed since the last flush */
    uint32_t *synced;   /* when rebuilding: a bit a segment that it holds its part of */
    uint64_t errors;
    uint64_t read_errors; /* in a row */
    unsigned inflight;
    unsigned flushing; /* spread: flushes among these */
};

/* ---- segments that are appended to */

struct append {
    struct list_node link; /* free, or in the segment's queue */
    struct array_io io;
    struct blkdev_req *outer; /* NULL: the segment is finished, its last row padded */
    struct segment *segment;
    uint64_t begin, end; /* of what the segment holds before and with it */
    int slot;
    bool fua, sent, flushed; /* sent: all written */
    uint8_t *bounce;         /* a slice a member, then the stage blocks */
};

/* Who has a segment take no appends for now: each lets go of what is its own. */
enum hold {
    HOLD_FLUSH = 1,
    HOLD_REBUILD = 2,
    HOLD_FINISH = 4,
};

struct segment {
    struct array *a;
    bool used;
    uint8_t held;   /* enum hold, a bit each */
    bool wanted;    /* likewise, until somebody holds it */
    bool restage;   /* its slot lacks a member */
    bool unflushed; /* something completed without FUA since the last flush began */
    bool covering;  /* the flush under way is about such */
    bool sealed;    /* nothing more comes behind `seal` */
    bool flushing;  /* it waits for what is on its way here, and stages the row */
    uint32_t index;
    uint64_t life;
    uint64_t fill, done; /* submitted, completed */
    uint64_t seal;
    uint64_t staged; /* what the slot covers, from its row's start on */
    int slot;        /* NO_SLOT: none */
    int next_slot;   /* of a flush under way */
    uint8_t *row;    /* the data of the row at `fill`, zeroes behind it */
    uint64_t used_at;
    struct list_node appends;
};

enum slot_state {
    SLOT_FREE,
    SLOT_USED,
    SLOT_DROPPED, /* free after the next flush */
    SLOT_FLUSHING,
};

/* Segments in the list of unsettled ones. */
struct unsettled {
    uint32_t segment;
    uint64_t life;
    bool open;                /* erased, or appended to */
    bool unflushed, covering; /* as of struct segment */
};

struct waiting {
    struct blkdev_req *head, **tail;
};

struct read {
    struct list_node link;
    struct array_io io;
    struct blkdev_req *outer;
    uint32_t avoid;   /* members that this read does without */
    uint32_t without; /* as planned: these and those that have no part of it */
    uint8_t *bounce;
    /* Rows that came from memory: at most one a segment, and a read touches two of them. */
    unsigned rows_kept;
    uint32_t kept_segment[2], kept_row[2];
};

struct erase {
    struct list_node link; /* free, or waiting for the list */
    struct array_io io;
    struct blkdev_req *outer;
    uint64_t number; /* of the list that has it */
};

struct array_opening;
struct array_rebuild;
struct array_change;
struct pool_label;

struct array {
    struct blkdev base;
    struct array_config config;
    struct array_label label;
    struct member member[ARRAY_MEMBERS_MAX];
    unsigned n, k, m;
    uint32_t unit, row_bytes, rows; /* rows of a segment; the last one may be cut short */
    uint32_t segment_bytes, segments;
    uint64_t part_bytes; /* of a segment on a member */
    struct parity parity;
    bool open, failed, closing;
    uint8_t *block; /* for ticks: what is read there is not looked at */

    /* Labels being written: nothing is answered meanwhile. */
    struct array_io label_io;
    bool label_busy, label_wanted;
    uint8_t *label_blocks; /* a block a member */
    struct waiting held;   /* answers; priv[0] is the status */
    void (*label_done)(struct array *a, int status);

    struct segment segment[ARRAY_OPEN_SEGMENTS];
    struct append append[ARRAY_APPENDS];
    struct list_node free_appends;
    uint8_t slot[ARRAY_STAGE_SLOTS];
    uint64_t stage_number, clock;
    uint32_t slice_bytes;
    struct waiting waiting; /* writes and erases */
    bool waking, wake_again;

    struct unsettled unsettled[ARRAY_UNSETTLED_MAX];
    unsigned unsettled_count;
    uint64_t list_number, list_durable;
    unsigned list_count, list_sent; /* entries, in the last one that is durable; on its way */
    bool list_busy, list_wanted;
    struct array_io list_io;
    void (*list_settled)(struct array *a);
    uint8_t *list_block;
    struct erase erase[ARRAY_ERASES];
    struct list_node free_erases, erases;

    struct array_io flush_io;
    struct blkdev_req *flush_outer;
    bool flush_busy, flush_sent, flush_ended, flush_wanted; /* wanted: by ourselves, to settle segments */
    uint64_t flushes_begun, flushes_ended;
    struct waiting flushes;
    uint8_t *stage_blocks; /* m for each open segment */
    array_cb close_cb;
    void *close_user;

    struct read read[ARRAY_READS];
    struct list_node free_reads, later_reads;
    struct waiting reads;
    uint64_t restored_reads, resynced_rows;
    uint64_t righted_units;   /* of data, by the opening */
    unsigned unsettled_found; /* likewise */
    struct blkdev_health health;

    /* Spread. */
    struct place_of {
        uint8_t member; /* ARRAY_NOBODY: absent */
        uint32_t part;
    } * places;
    unsigned leaving; /* the member that is being emptied; ARRAY_NOBODY */

    struct array_opening *opening;
    struct resync *resync;
    struct array_rebuild *rebuild;
    struct array_change *change;
};

/* ---- array.c */
void waiting_init(struct waiting *w);
void waiting_push(struct waiting *w, struct blkdev_req *req);
struct blkdev_req *waiting_pop(struct waiting *w);
struct array *array_of(const struct blkdev *dev);
/* Sizes and pools, once the label is known. */
int array_make_room(struct array *a);
/* It is written to. */
bool member_lives(const struct array *a, unsigned member);
/* It can be read in this segment. */
bool member_has(const struct array *a, unsigned member, uint32_t segment);
/* Members that have no part in the segment. */
uint32_t array_without(const struct array *a, uint32_t segment);
unsigned array_lost(const struct array *a);
/* Places that are somebody's. */
unsigned array_used(const struct array_label *l);
void array_set_geometry(struct array *a);
void array_event(struct array *a, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The members in the mask failed: out with them. */
void array_lose(struct array *a, uint32_t members, const char *why);
void array_lose_list(struct array *a, const struct array_io *io, const char *why);
void array_write_labels(struct array *a);
void array_answer(struct array *a, struct blkdev_req *req, int status);
/* A request that is answered by no member: asks one for something of no interest. False: there is none left.
 */
bool array_tick(struct array *a, struct array_io *io);

/* Where unit `u` of the segment's rows is: data units first, then parity. */
static inline unsigned unit_member(const struct array *a, uint32_t segment, unsigned u)
{
    return (u + segment) % a->n;
}
static inline uint64_t label_at(const struct array *a, unsigned member, uint64_t number)
{
    return (a->label.member[member].bare ? ARRAY_BARE_LABEL_AT : ARRAY_LABEL_AT) +
           number % 2 * ARRAY_BLOCK_BYTES;
}
static inline uint64_t part_at(const struct array *a, uint32_t segment)
{
    return ARRAY_HEADER_BYTES + segment * a->part_bytes;
}
/* What column `c` holds when the segment holds `fill`. */
static inline uint32_t column_fill(const struct array *a, uint64_t fill, unsigned c)
{
    const uint64_t rows = fill / a->row_bytes, rest = fill % a->row_bytes, before = (uint64_t)c * a->unit;
    const uint64_t in = rest <= before ? 0 : rest - before < a->unit ? rest - before : a->unit;
    return (uint32_t)(rows * a->unit + in);
}
static inline uint64_t slot_at(const struct array *a, int slot)
{
    return ARRAY_STAGE_AT + (uint64_t)slot * (ARRAY_BLOCK_BYTES + a->unit);
}

/* ---- array_append.c */
int append_submit(struct array *a, struct blkdev_req *req);
/* Nothing is written to the segment beyond `length`, or what was submitted: its place in memory is for
 * another one. */
void append_seal(struct array *a, uint32_t index, uint32_t length);
/* Whatever waits is tried again. */
void array_wake(struct array *a);
struct segment *segment_find(struct array *a, uint32_t index);
/* NO_SLOT: no more than `left` are free. */
int slot_take(struct array *a, unsigned left);
void slot_free(struct array *a, int slot);
/* Sends the parity of the segment's open row to the slot; `blocks` has room for m stages. */
void stage_send(struct array *a, struct array_io *io, const struct segment *s, int slot, uint8_t *blocks);
/* Whatever completed goes on, in order. */
void segment_deliver(struct segment *s);
bool segment_finish(struct segment *s);
void segment_gone(struct segment *s);
void append_done(struct array_io *io);

/* ---- array_flush.c */
void flush_submit(struct array *a, struct blkdev_req *req);
void flush_turn(struct array *a);
bool erase_start(struct array *a, struct blkdev_req *req);
void list_write(struct array *a);
struct unsettled *unsettled_find(struct array *a, uint32_t segment);
void erase_done(struct array_io *io);
void list_done(struct array_io *io);
void close_turn(struct array *a);
/* Whoever waits for the list is told. */
void list_turn(struct array *a);
void flush_done(struct array_io *io);

/* ---- array_read.c */
int read_submit(struct array *a, struct blkdev_req *req);
void read_done(struct array_io *io);
void reads_turn(struct array *a);
uint32_t array_ways(const struct array *a);

/* ---- array_spread.c */
extern const struct blkdev_ops array_spread_ops;
int spread_make_room(struct array *a);
/* Where the label has each segment; the caller frees it. NULL: no memory. */
struct place_of *spread_places(const struct array_label *l);
void spread_close(struct array *a);
void reads_turn_spread(struct array *a);

/* ---- array_open.c */
void array_opening_free(struct array *a);

/* ---- array_look.c */
/* As labels have it. */
const char *array_name(const char *path);
/* What the first MiB of a device says: 0 with its newest label, or blank, or PS_ENOTFOUND (something else),
 * PS_EDAMAGED, PS_EVERSION. */
int array_head_look(const uint8_t *head, bool *blank, struct array_label *label, struct ps_error *err);
/* The same head as a pool's by itself; false: it is none. */
bool array_pool_look(const uint8_t *head, struct pool_label *out);
/* PS_EINVAL: the device cannot have a part of so many segments. */
int array_fits(const struct array *a, const struct array_device *device, uint32_t segments,
               struct ps_error *err);
/* The same of a bare member. */
int array_fits_bare(const struct array *a, const struct array_device *device, uint32_t segments,
                    struct ps_error *err);
uint64_t array_part_bytes(const struct array_label *l);
/* Behind the header of such a device. */
uint32_t array_parts_of(const struct blkdev *dev, uint64_t part_bytes);

void array_init(struct array *a);

/* ---- array_resync.c */
struct resync;
/* Makes rows and parity of the segments agree again. */
int resync_start(struct array *a, const struct array_unsettled *list,
                 void (*done)(struct array *a, int status));
void resync_free(struct array *a);

/* ---- array_rebuild.c */
int rebuild_restore(struct array *a);
bool rebuild_holds(const struct array *a, uint32_t segment);
uint64_t rebuild_turn(struct array *a, uint64_t now_ns);
void rebuild_free(struct array *a);
void rebuild_kick(struct array *a);
/* Nothing of it is on its way; the segment that it holds is let go. */
bool rebuild_rests(struct array *a);
/* The segment begins a new life: whoever is written to has its part of it from now on. */
void rebuild_erased(struct array *a, uint32_t segment);
/* Of what the member holds nothing is known any more, or all. */
void rebuild_begin(struct array *a, unsigned member);
void rebuild_end(struct array *a, unsigned member);
/* The array has more segments than when the rebuild began. */
void rebuild_enlarge(struct array *a, uint32_t before);

/* ---- array_members.c */
bool change_rests(const struct array *a);
void change_free(struct array *a);

/* ---- array_grow.c */
/* Spread: the label in which the device has a place; it says the member. */
int spread_label_with(const struct array_label *from, uint32_t parts, struct array_label *out,
                      unsigned *member, struct ps_error *err);
/* With parity: as large as the smallest member is. True: it has become larger. */
bool coded_grow(struct array *a);

#endif
