/* The deep check of a pod, in the background: a survey (survey.h) of what the last checkpoint says, read from
 * flash as a start would read it, while hosts go on.
 *
 * A checkpoint is one instant of the pod, and what it refers to stays in flash until a later one is complete:
 * so the check waits for one, pins the segments of metadata as they are then, and reads the runs into maps of
 * its own. Nothing of what hosts do meanwhile is in them, nothing is held up. Data segments are not pinned;
 * collection goes on. When little room is free the check gives way, and says so.
 *
 * Offline (config.check_only) it looks at the state that the opening made in memory, log and all.
 *
 * Memory comes from the metadata cache, which gives up that much meanwhile. */
#ifndef PS_NODE_POD_DEEP_H
#define PS_NODE_POD_DEEP_H

#include "node/pod/check.h"
#include "node/pod/pod_impl.h"

enum {
    DEEP_READS = 32,
    DEEP_BAD = 64,
    DEEP_LOST = 64, /* groups that wait to be located */
    DEEP_CHUNK_BYTES = 2 * RUN_CHUNK_BYTES,
};

enum deep_state {
    DEEP_IDLE,
    DEEP_CHECKPOINT, /* one is wanted, or under way */
    DEEP_RUNS,
    DEEP_PAGES,   /* where those that the runs named lie */
    DEEP_RECORDS, /* all of them are verified; offline alone: online that is what scrub.c does */
    DEEP_SURVEY,
    DEEP_ENDING, /* reads are under way that nobody wants any more; what it made is taken apart */
};

struct deep_read {
    struct deep *deep;
    bool busy;
    struct meta_key page;
    uint64_t group; /* not 0: a record */
    struct place place;
    uint32_t skip;
    uint16_t way;      /* of reading metadata that is tried: twin_try */
    char trouble[128]; /* that the first way met */
    uint8_t *buf;
    struct blkdev_req req;
};

struct deep_bad {
    struct meta_key page;
    struct ps_error why;
};

struct deep {
    struct pod *pod;
    enum deep_state state;
    bool wanted, told; /* a person wants it; its end is told though nothing was found */
    bool locating;     /* only where lost groups belong */
    bool own;          /* meta, images and segments are this check's */

    struct meta *meta;
    struct images *images;
    struct segments *segments;
    uint64_t unique_blocks;
    uint64_t cut_seq, seq; /* of the cut; of that of the last check that was made */
    uint32_t *pinned;
    uint32_t pinned_count;

    struct anchor_run {
        uint64_t seq;
        struct place first;
        uint32_t copy_segment;
    } runs[ANCHOR_RUNS_MAX];
    uint32_t run_count, run, chunk;
    struct place next_chunk, after_chunk;
    uint32_t copy_segment; /* has the next chunk as well; 0: none */
    size_t page_at;        /* in DEEP_PAGES */
    struct restore restore;
    uint8_t *chunk_buf;
    bool chunk_read, chunk_begun; /* it is there, or is not to be had: chunk_status; checked */
    int chunk_status;

    struct deep_read reads[DEEP_READS];
    uint32_t reading;
    struct deep_bad bad[DEEP_BAD];
    uint32_t bad_count; /* ever */

    struct survey *survey;
    struct survey_lost lost[SURVEY_WANTED_MAX];
    size_t lost_count;

    /* Records: groups of the L2P pages, in order. */
    bool records;
    uint64_t *numbers;
    size_t number_count, number_capacity, number_next;
    unsigned group_next;
    uint64_t damaged_records;

    /* Pace. */
    int64_t credit; /* bytes that may be gone through now */
    uint64_t last_ns, requests, busy_ns, begun_ns;
    uint64_t memory_bytes, lent_bytes;

    /* What waits, and what came of it. */
    uint64_t retry_ns; /* not before that, after it could not be done */
    uint64_t waiting[DEEP_LOST];
    size_t waiting_count;
    uint64_t located[POD_LOSSES_MAX]; /* groups whose places are known */
    size_t located_count;
    struct pod_finding losses[POD_LOSSES_MAX];
    size_t loss_count;
    struct pod_finding findings[POD_FINDINGS_MAX]; /* of the last check, or of the one under way */
    size_t finding_count;
    struct survey_space *spaces, *spaces_new; /* by image */
    size_t space_count, space_new_count, space_capacity;
    uint64_t spaces_ns; /* when the cut was taken that they are of */
    uint64_t cut_ns;
    struct pod_deep_info info;
    uint64_t ended_ns, opened_ns;

    struct pod_check_request *request; /* offline */
};

/* deep_read.c: what it reads. */
void deep_reads_init(struct deep *d);
void deep_reads_free(struct deep *d);
/* Of the survey's or records' L2P pages: 0 they are on their way; else keys[0] can't be had, and *why says
 * why. */
int deep_load(struct deep *d, const struct meta_key *keys, size_t count, const char **why);
/* The next entries of the runs. False: they are on their way. */
bool deep_runs_step(struct deep *d);
/* Verifies the next records, as survey_step goes on; SURVEY_MISSING: it waits for the device. */
enum survey_state deep_records_step(struct deep *d);
void deep_fail(struct deep *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
void deep_found(void *user, const struct survey_finding *finding);

#endif
