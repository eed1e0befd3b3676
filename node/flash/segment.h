/* The segments of a pool: which are free, what lives in the others, which may be erased.
 *
 * A segment may be used again after the first complete checkpoint that no
 * longer refers to it, with no read pinned: segments_cut picks the dead ones,
 * segments_cut_done, called when the anchor is durable, frees them.
 * Pure. One owner thread. */
#ifndef PS_NODE_FLASH_SEGMENT_H
#define PS_NODE_FLASH_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SEGMENT_NONE = 0xffffffffu
};

enum segment_state {
    SEGMENT_FREE,
    SEGMENT_SYSTEM, /* the pool's label, a pod's anchors: never given away */
    SEGMENT_LOG,    /* batches: what hosts wrote */
    SEGMENT_META,   /* base pages and runs */
    SEGMENT_WARM,   /* records that were moved out of the log */
    SEGMENT_COLD,   /* records that were moved more than once */
    SEGMENT_STATES, /* those above can be in a checkpoint */
    SEGMENT_RETIRED /* the device will not have it any more, or loses it: in memory only, the device tells at
                       each start */
};

struct segments;

struct segments *segments_create(uint32_t count, uint32_t segment_bytes, uint32_t system_count);
void segments_destroy(struct segments *s);
/* There are `count` now, those that are new free and unworn. Not fewer than before. */
void segments_grow(struct segments *s, uint32_t count);
uint32_t segments_count(const struct segments *s);

/* A free segment, now open for `state`: of those that are erased, or of all if none is, the least worn, and
 * of equal ones the next in turn. SEGMENT_NONE if there is none. It counts as free in checkpoints until
 * segments_use. */
uint32_t segments_take(struct segments *s, enum segment_state state);
/* Metadata is kept twice: a free segment, far from `index` (open, SEGMENT_META, empty) but for that chosen as
 * by segments_take, becomes its twin. What is appended to the one is appended to the other, at the same
 * offset; from here on they are used, sealed, pinned and freed as one, by the name of either, and have the
 * same live bytes. SEGMENT_NONE: none is free. */
uint32_t segments_take_twin(struct segments *s, uint32_t index);
/* 0: it has none. */
uint32_t segments_twin(const struct segments *s, uint32_t index);
/* Counts segments that are taken; how often since it stood so. */
uint32_t segments_clock(const struct segments *s);
uint32_t segments_clock_since(const struct segments *s, uint32_t clock);
/* First write into a taken segment. */
void segments_use(struct segments *s, uint32_t index);
/* Nothing more is appended; `last_seq` is the last batch in it (0 for metadata). */
void segments_seal(struct segments *s, uint32_t index, uint64_t last_seq);
/* Returns a taken, never used segment. */
void segments_untake(struct segments *s, uint32_t index);

void segments_add_live(struct segments *s, uint32_t index, int64_t bytes);
void segments_pin(struct segments *s, uint32_t index);
void segments_unpin(struct segments *s, uint32_t index);
/* Pinned for long, by one owner at a time: collecting it would free nothing. */
void segments_hold(struct segments *s, uint32_t index);
void segments_unhold(struct segments *s, uint32_t index);

/* What lives in it was copied, and will be named elsewhere: it is not to be chosen for that again. */
void segments_set_leaving(struct segments *s, uint32_t index, bool leaving);

/* Log from batch `seq` on is kept for others to read, though nothing in it lives: its segments do not count
 * as dead. UINT64_MAX (as created): none is kept. */
void segments_keep_log(struct segments *s, uint64_t seq);
/* A sealed segment, found by an opening, holds this batch of the log. */
void segments_log_holds(struct segments *s, uint32_t index, uint64_t seq);
/* Segments that are not dead for that reason alone, and the lowest last batch among them. */
uint32_t segments_kept(const struct segments *s, uint64_t seq, uint64_t *lowest);
/* The log's end was moved elsewhere: batches after `seq` are no longer in the sealed segments; `last` holds
 * the one at `seq`. */
void segments_log_cut(struct segments *s, uint64_t seq, uint32_t last);

/* Checkpoint at `seq`: calls `put` for each segment whose persistent value changed (with `full`, for each
 * that is not free). Dead ones are put as free. Returns the highest last batch of the log segments among
 * them. */
uint64_t segments_cut(struct segments *s, uint64_t seq, bool full,
                      void (*put)(void *user, uint32_t index, uint64_t value), void *user);
void segments_cut_done(struct segments *s);
/* Dead segments that the next checkpoint would free. */
uint32_t segments_dead(const struct segments *s, uint64_t seq);

/* ---- collection: see collect.h for what is worth it

 * Collectable is a sealed segment of records in which something lives, behind the checkpoint at `seq`, that
 * nobody holds and that was not found stuck. */

/* The collectable one with the highest score (above 0), the lowest among equals; SEGMENT_NONE if there is
 * none. `age`: segments that were taken since it was sealed. */
uint32_t segments_best(const struct segments *s, uint64_t seq,
                       double (*score)(void *user, uint32_t segment_bytes, uint32_t live, uint32_t age),
                       void *user);
/* Segments that are free, or come free by checkpoints and the end of short reads: dead ones, and those that
 * are kept for readers of the log. */
uint32_t segments_room(const struct segments *s, uint64_t seq);
/* Dead bytes in collectable ones that have at least `least` of them. */
uint64_t segments_gain(const struct segments *s, uint64_t seq, uint32_t least);
/* Something lives in it that cannot be moved: it is not collectable until the next start. */
void segments_stuck(struct segments *s, uint32_t index);

/* Recovery: the persistent values, the newest last; then `adopt` for those that
 * something refers to and that were free then. False: it is in other use. */
void segments_restore(struct segments *s, uint32_t index, uint64_t value);
bool segments_adopt(struct segments *s, uint32_t index, enum segment_state state);
/* Two that were free then, and hold metadata. False: they are in other use. */
bool segments_adopt_twins(struct segments *s, uint32_t index, uint32_t twin);
/* All values are in: metadata's live bytes are counted anew from what refers to it; twins are those that name
 * each other. */
void segments_restore_meta(struct segments *s);

/* While no cut is under way: the last one says that the segment is not free; *lives: and it refers to
 * something in it. */
bool segments_anchored(const struct segments *s, uint32_t index, bool *lives);

/* Erase and wear. What a device tells of a segment; as created all are unworn and none is known to be erased.
 */
void segments_set_wear(struct segments *s, uint32_t index, uint32_t pe_cycles);
uint32_t segments_wear(const struct segments *s, uint32_t index);
void segments_set_erased(struct segments *s, uint32_t index, bool erased);
bool segments_is_erased(const struct segments *s, uint32_t index);
/* The free segment to be erased next, the least worn, so that `ahead` are erased; SEGMENT_NONE: they are. */
uint32_t segments_to_erase(const struct segments *s, uint32_t ahead);
/* A free segment is never given out again. */
void segments_retire(struct segments *s, uint32_t index);
/* The first segment from `from` on in which data lives that is not appended to, and no log behind `seq`;
 * SEGMENT_NONE: there is none. */
uint32_t segments_with_data(const struct segments *s, uint32_t from, uint64_t seq);

/* Static wear levelling: the segment whose data has kept it from being worn like the others, by more than
 * `threshold` P/E cycles, and can be moved: no log behind `seq`, no metadata, which moves by being merged. Of
 * equal ones the one that was written first. SEGMENT_NONE: wear is even enough. */
uint32_t segments_wear_victim(const struct segments *s, uint64_t seq, uint32_t threshold);
/* What lies in segments of fewer P/E cycles is to be moved. */
uint32_t segments_wear_floor(const struct segments *s, uint32_t threshold);
/* The most worn free segment, for data that will not soon be rewritten; SEGMENT_NONE if none is free. Taken
 * as by segments_take. */
uint32_t segments_most_worn(const struct segments *s);
void segments_take_this(struct segments *s, uint32_t index, enum segment_state state);

/* ---- parts of the device that are taken away, and come back

 * A barred segment is to be emptied: nothing new is put there, and it does not count as room, nor is it
 chosen
 * for collection as others are. Free, it is retired at once, else when it would come free. An absent one is
 not
 * there: free, or come free, it is retired. What is retired for neither reason stays so. */
void segments_bar(struct segments *s, uint32_t index); /* no system segment; a retired one stays as it is */
void segments_unbar(struct segments *s, uint32_t index);
bool segments_is_barred(const struct segments *s, uint32_t index);
void segments_set_absent(struct segments *s, uint32_t index, bool absent);
bool segments_is_absent(const struct segments *s, uint32_t index);
/* Barred ones that are not retired yet; all that are barred or absent. */
uint32_t segments_barred(const struct segments *s);
uint32_t segments_gone(const struct segments *s);
/* A collectable one, to be emptied; SEGMENT_NONE: there is none. */
uint32_t segments_barred_victim(const struct segments *s, uint64_t seq);
struct segments_barred_look {
    uint32_t pinned;
    uint32_t movable;   /* data lives there that collection can move, or is moving */
    uint32_t stuck;     /* or that it cannot */
    uint32_t behind;    /* data or log that the checkpoint at `seq` does not cover yet */
    uint32_t dead;      /* come free by a checkpoint, unless they are kept as log */
    uint64_t live_meta; /* bytes, their twins elsewhere included */
    uint64_t last_log;  /* the highest last batch of those that hold nothing but log */
};
void segments_look_barred(const struct segments *s, uint64_t seq, struct segments_barred_look *out);

uint32_t segments_free(const struct segments *s);
enum segment_state segments_state(const struct segments *s, uint32_t index);
uint32_t segments_live(const struct segments *s, uint32_t index);
bool segments_open(const struct segments *s, uint32_t index);
/* As sealed; 0 if that is not known. */
uint64_t segments_last_seq(const struct segments *s, uint32_t index);

struct segments_stats {
    uint32_t count, free, log, meta, moved, system, retired;
    uint32_t taken;                           /* not written yet: counted nowhere else */
    uint32_t limbo;                           /* free as soon as a read ends; counted nowhere else */
    uint64_t live_log, live_meta, live_moved; /* bytes */
    uint64_t used_log, used_meta, used_moved; /* segments' bytes, dead ones included */
    uint64_t single_meta;                     /* of live_meta: in segments that have no twin */
    uint32_t wear_lowest, wear_highest;       /* P/E cycles of all that are not retired or the system's */
};
void segments_stats(const struct segments *s, struct segments_stats *out);

#endif
