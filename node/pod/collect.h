/* Garbage collection in one pod's flash: what its two files share.
 *
 *   collect.c       when, how fast, which segment
 *   collect_move.c  one segment taken apart; records that were repaired, written anew
 *   scrub.c         the same walk, over all segments, to verify what lives in them
 *
 * One victim at a time: its batches' (or chunks') directories are walked from the start; records that L2P
 * says are there are verified, copied into a chunk of a WARM or COLD segment without what is dead in them,
 * and when the chunk is written, L2P names the new places. When all of the chunks of a victim are written,
 * nothing lives in it, and the next checkpoint frees it as any other dead segment. See README.md, Collection,
 * for what this rests on. */
#ifndef PS_NODE_POD_COLLECT_H
#define PS_NODE_POD_COLLECT_H

#include "node/flash/collect.h"
#include "node/flash/moved.h"
#include "node/pod/pod_impl.h"

enum {
    COLLECT_READ_BYTES = 256 * 1024,
    SCRUB_READ_BYTES = 1024 * 1024, /* while no host comes */
    COLLECT_DEBT_BYTES = 2 << 20,   /* to be moved, behind which hosts wait */
    COLLECT_OWED_MOST = 64 << 20,
    STREAMS = 3,     /* WARM, COLD, and what makes wear even */
    PATCHES_MAX = 8, /* records to be written anew at once */
};
_Static_assert((int)COLLECT_READ_BYTES >= (int)MOVED_CHUNK_BYTES &&
                   (int)COLLECT_READ_BYTES >= (int)BATCH_PAYLOAD_AT + (int)BLKDEV_ALIGN,
               "a window holds a directory, and a record");

/* A record that a directory names. */
struct found {
    uint64_t group;
    struct place place;
    uint32_t fingerprints; /* where they begin, in collect.fingerprints */
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
};

struct collect_chunk {
    struct collect *c;
    enum chunk_state state;
    struct collect_stream *stream;
    uint32_t at; /* where it begins */
    struct moved_writer writer;
    uint8_t *buf;
    struct move moves[MOVED_RECORDS_MAX];
    uint32_t move_next;
    struct blkdev_req req;
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
    bool nothing; /* no segment was worth it then */
    bool even;    /* wear was even enough then */
    uint32_t wear_floor;
    /* Bytes that may be moved now; below 0: too many were. */
    int64_t credit;
    uint64_t last_ns;
    bool holding; /* hosts wait for it */
    bool limited; /* told, until there is room again */
    uint64_t limited_ns;

    uint32_t victim; /* SEGMENT_NONE: none */
    bool blocked;    /* no segment is left for a chunk */
    bool damaged;    /* something in the victim cannot be read */
    bool levelling;  /* it was chosen because its segment wears too little */
    bool scrubbing;  /* it is read alone */
    bool narrow;     /* reading on failed: the record that is next is read alone */
    bool unread;     /* and the device does not read it */
    bool by_sectors; /* the same for the directory that is next: the first sectors_bytes are in the window */
    uint32_t sectors_bytes;
    uint64_t seen;   /* scrubbing: bytes of what lives in it that was found */
    uint32_t offset; /* of the next directory */
    uint64_t seq;    /* of the batch that was looked at last */
    struct found found[BATCH_RECORDS_MAX];
    uint32_t found_count, found_next;
    uint8_t fingerprint_bytes;
    uint8_t fingerprints[MOVED_RECORDS_MAX * 8 * FINGERPRINT_MAX_BYTES];

    uint8_t *window;
    uint64_t window_at;
    uint32_t window_bytes;
    bool reading;
    struct blkdev_req read;

    struct collect_stream streams[STREAMS];
    struct collect_chunk chunks[2]; /* one is filled while the other is written */
    unsigned filled, drained;       /* the next to be */
    uint8_t *work;
    struct patch patches[PATCHES_MAX]; /* the first ones wait, in order */
    unsigned patch_count;
};

/* Begins with the segment. */
void victim_begin(struct collect *c, uint32_t segment);
/* Goes on with it. False: not now, or it is done. */
bool victim_step(struct collect *c);
/* Gives it up; no request is under way. */
void victim_drop(struct collect *c);
/* Of the scrub under way: a segment has been gone through; bytes were read. */
void scrub_segment_done(struct collect *c);
void scrub_read(struct collect *c, uint64_t bytes);
/* Writes a record that was repaired. False: not now, or there is none. */
bool patch_step(struct collect *c);
/* What is written becomes what is so, in order. */
void chunks_turn(struct collect *c);
static inline bool chunks_are_empty(const struct collect *c)
{
    return c->chunks[0].state == CHUNK_EMPTY && c->chunks[1].state == CHUNK_EMPTY;
}

#endif
