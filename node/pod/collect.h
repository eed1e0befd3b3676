/* Garbage collection in one pod's flash: what its two files share.
 *
 *   collect.c       when, how fast, which segment
 *   collect_read.c  a segment read ahead of whoever walks it
 *   collect_move.c  one segment taken apart; records that were repaired, written anew
 *   collect_again.c segments of which something stayed, read in the device's other ways
 *   scrub.c         a walk of its own, over all segments, to verify what lives in them
 *
 * One victim at a time: its batches' (or chunks') directories are walked from the start; records that L2P
 * says are there are verified, copied into a chunk of a WARM or COLD segment without what is dead in them,
 * and when the chunk is written, L2P names the new places. When all of the chunks that hold something of a
 * victim are named, nothing lives in it, and the next checkpoint frees it as any other dead segment; the next
 * victim is begun before that. See README.md, Collection, for what this rests on. */
#ifndef PS_NODE_POD_COLLECT_H
#define PS_NODE_POD_COLLECT_H

#include "node/flash/collect.h"
#include "node/flash/moved.h"
#include "node/pod/pod_impl.h"

enum {
    COLLECT_READ_BYTES = 128 * 1024,
    SCRUB_READ_BYTES = 1024 * 1024, /* while no host comes */
    COLLECT_READS = 3,              /* under way at once */
    RING_BYTES = 4 * 1024 * 1024,
    RING_SPARE_BYTES = 256 * 1024,
    COLLECT_DEBT_BYTES = 4 << 20, /* to be read and moved, behind which hosts wait */
    COLLECT_OWED_MOST = 128 << 20,
    COLLECT_THRESHOLD = 75, /* percent of segments in use, unless it is set */
    STREAMS = 3,            /* WARM, COLD, and what makes wear even */
    COLLECT_CHUNKS = 3,     /* one is filled while others are written */
    LEAVING = 8,            /* victims that were walked, until their last copies are named */
    AGAIN = LEAVING + 2,
    PATCHES_MAX = 8,                                     /* records to be written anew at once */
    COLD_BURST = RECORD_MAX_BLOCKS * RECORD_BLOCK_BYTES, /* compressed in a turn: some 130 us */
};
_Static_assert((int)RING_SPARE_BYTES >= (int)MOVED_CHUNK_BYTES &&
                   (int)RING_SPARE_BYTES >= (int)BATCH_PAYLOAD_AT &&
                   (int)RING_SPARE_BYTES >= (int)RECORD_MAX_BYTES,
               "what is asked for in one piece");

/* A record that a directory names. */
struct found {
    uint64_t group;
    struct place place;
    uint32_t fingerprints; /* where they begin, in walk.fingerprints */
    uint8_t slots;
};

/* A copy in the chunk, until L2P says so. */
struct move {
    uint64_t group;
    struct place from, to;
    uint8_t blocks; /* in the copy */
};

enum chunk_state {
    CHUNK_EMPTY,
    CHUNK_FILLING,
    CHUNK_WRITING,
    CHUNK_MOVING, /* written: L2P is being changed */
};

/* Where chunks go, by temperature. */
struct collect_stream {
    uint32_t segment; /* SEGMENT_NONE: none is open */
    uint32_t next;    /* where the next chunk begins */
    uint32_t written; /* before here all is in flash, and L2P may name it */
    /* The one before, full, is sealed when so many chunks are named: before it would look dead. */
    uint32_t full, full_written, full_end;
    uint64_t full_chunks;
};

struct collect_chunk {
    struct collect *c;
    enum chunk_state state;
    struct collect_stream *stream;
    uint32_t segment, at; /* where it begins */
    struct moved_writer writer;
    uint8_t *buf;
    struct move moves[MOVED_RECORDS_MAX];
    uint32_t move_next;
    struct blkdev_req req;
};

/* A request of those that read ahead. */
struct collect_read {
    struct walk *walk;
    struct blkdev_req req;
    bool done;
    int status;
};

/* How often a victim was walked before, and the way (blkdev_way) of reading it that is tried first after the
 * device's own. */
struct attempt {
    uint16_t tries, first;
};

struct again {
    uint32_t segment;
    struct attempt attempt;
};

/* On the way through a segment, from directory to directory, from record to record. */
struct walk {
    struct pod *pod;
    struct collect *collect; /* takes it apart; NULL: the scrub's, which reads it alone */
    uint32_t victim;         /* SEGMENT_NONE: none */
    uint32_t ahead;          /* the scrub's next one, behind the victim, pinned: read ahead; SEGMENT_NONE */
    bool damaged;            /* something in the victim cannot be read */
    bool narrow;             /* reading on failed: the record that is next is read alone */
    bool unread;             /* and the device does not read it */
    bool by_sectors;         /* the same for the directory that is next: sectors_bytes are in the ring */
    uint32_t sectors_bytes;
    uint64_t seen;   /* of the scrub: bytes of what lives in it that was found */
    uint32_t offset; /* of the next directory */
    uint64_t seq;    /* of the batch that was looked at last */
    struct found found[BATCH_RECORDS_MAX];
    uint32_t found_count, found_next;
    uint8_t fingerprint_bytes;
    uint8_t fingerprints[MOVED_RECORDS_MAX * 8 * FINGERPRINT_MAX_BYTES];

    /* A ring of what lies in the victim from ring_from on; ring_end: up to where it has been read, in order,
     * ring_asked: up to where it is being. What lies before ring_low may be overwritten. 0: nothing. */
    uint8_t *ring;
    uint64_t ring_from, ring_low, ring_end, ring_asked;
    bool ring_broken; /* at ring_end: reading failed */
    struct collect_read reads[COLLECT_READS];
    unsigned read_first, reading; /* those under way, in order */
};

/* A victim that was walked to its end. */
struct leaving {
    uint32_t segment;
    struct attempt attempt;
    bool damaged;    /* something in it cannot be read */
    uint64_t chunks; /* all that were begun up to here must be named */
};

/* A record that another member had, for the place of one that is lost here. */
struct patch {
    uint64_t group;
    struct place from;
    uint32_t bytes;
    uint8_t *buf; /* allocated when first used */
};

struct collect {
    struct pod *pod;
    struct collect_levels levels;
    /* As last counted, and what has changed since. */
    uint32_t room;
    bool helps;
    uint32_t ended; /* victims */
    uint64_t logged, seen_checkpoints;
    uint32_t seen_free;
    bool recount;
    bool nothing;       /* no segment was worth it then */
    bool nothing_there; /* and none that is to be taken away could be moved */
    /* A person wants all garbage collected that was there `asked_clock` takes of segments ago. */
    bool asked, asked_later; /* a checkpoint comes first */
    uint32_t asked_clock;
    bool even; /* wear was even enough then */
    uint32_t wear_floor;
    /* Bytes that may be read and moved now; below 0: too many were. */
    int64_t credit;
    uint64_t last_ns;
    bool holding; /* hosts wait for it */
    bool limited; /* told, until there is room again */
    uint64_t limited_ns;

    struct walk walk;
    struct attempt attempt; /* of the victim */
    bool blocked;           /* no segment is left for a chunk */
    bool levelling;         /* the victim was chosen because its segment wears too little */

    struct collect_stream streams[STREAMS];
    struct collect_chunk chunks[COLLECT_CHUNKS];
    unsigned filled, drained; /* the next to be */
    uint64_t begun, named;    /* chunks, ever; without those that were given up */
    struct leaving leaving[LEAVING];
    unsigned leaving_count; /* the first ones, in order */
    struct again again[AGAIN];
    unsigned again_count;
    uint16_t helped; /* the last way in which a segment gave what it had not given otherwise; 0: none did */
    uint8_t *work;
    uint8_t *dense;      /* a record that was compressed anew */
    int64_t cold_credit; /* bytes of data that may be */
    uint64_t cold_last_ns;
    struct patch patches[PATCHES_MAX]; /* the first ones wait, in order */
    unsigned patch_count;
};

/* A walk and its ring; `collect` NULL: for the scrub. */
void walk_init(struct walk *w, struct pod *pod, struct collect *collect);
/* Begins with the segment. */
void victim_begin(struct walk *w, uint32_t segment);
/* Something of the victim, which is pinned and leaving, stayed where it is. False: it was read in all ways.
 */
bool again_put(struct collect *c, const struct leaving *l);
/* Nothing did. */
void again_helped(struct collect *c, const struct leaving *l);
/* Begins with one of those. False: there is none. */
bool again_begin(struct collect *c);
/* Gives them up. */
void again_drop(struct collect *c);
/* The way in which the victim is read. */
uint16_t again_way(const struct collect *c);
/* Goes on with it. False: not now, or it is done. */
bool victim_step(struct walk *w);
/* Gives it up; no read of it is under way. */
void victim_drop(struct walk *w);
/* What is read ahead of the scrub's victim is given up, unless it is `next`. False: not while it is read. */
bool ahead_leave(struct walk *w, uint32_t next);
/* Gives all up; no request is under way. */
void collect_drop(struct collect *c);
/* Nothing more goes to the stream's open segment. False: the one before is not named yet. */
bool stream_leave(struct collect *c, struct collect_stream *s);
/* Nothing more is to come for now into a chunk that is being filled. */
void chunk_flush(struct collect *c);
/* The bytes at `addr` of the victim, in one piece, until the next call; NULL: they are being read, or the
 * device does not read them (`unread`). What follows is read ahead. */
const uint8_t *want(struct walk *w, uint64_t addr, uint32_t bytes);
/* A directory where the device does not read all: with zeroes in place of what it does not, which may be
 * payload alone. NULL: it is being read. */
const uint8_t *want_sectors(struct walk *w, uint64_t addr, uint32_t bytes);
/* Forgets what was read; nothing is being. */
void reads_reset(struct walk *w);
/* Of the scrub under way: a segment has been gone through; bytes were read. */
void scrub_segment_done(struct walk *w);
void scrub_read(struct pod *pod, uint64_t bytes);
/* Gives its segment up; no read of it is under way. */
void scrub_drop(struct pod *pod);
/* Writes a record that was repaired. False: not now, or there is none. */
bool patch_step(struct collect *c);
/* What is written becomes what is so, in order. */
void chunks_turn(struct collect *c);
static inline bool chunks_are_empty(const struct collect *c)
{
    for (int i = 0; i < COLLECT_CHUNKS; i++)
        if (c->chunks[i].state != CHUNK_EMPTY)
            return false;
    return true;
}

#endif
