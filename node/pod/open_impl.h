/* What the files that open a pool share: open.c has the turn and the window, the others a part of the way
 * each. */
#ifndef PS_NODE_POD_OPEN_IMPL_H
#define PS_NODE_POD_OPEN_IMPL_H

#include "node/pod/pod_impl.h"

enum {
    WINDOW_BYTES = 2 * BATCH_MAX_BYTES,
    BLANK_BYTES = 1 << 20,
    DEVICE_MIN_SEGMENTS = 16,
};

enum open_step {
    OPEN_LABEL,
    OPEN_LABEL_COPY,
    OPEN_BLANK,
    OPEN_BLANK_ZONES,
    OPEN_FORMAT_ANCHOR,
    OPEN_FORMAT_LABEL,
    OPEN_ANCHOR_FIRST,
    OPEN_ANCHOR_SECOND,
    OPEN_ANCHOR_NEWER, /* is there one that was only read wrongly? */
    OPEN_RUN,
    OPEN_LOG,
    OPEN_AFTER_LOG, /* is there a later batch that proves damage? */
    OPEN_GROW,
    OPEN_CHECKPOINT,
    OPEN_FAILED, /* told once nothing is under way any more: the pod may be ended at once then */
    OPEN_FINISHED,
};

struct open_state {
    struct pod *pod;
    enum open_step step;
    enum pod_format format;
    pod_open_cb cb;
    void *user;
    struct ps_error *err;
    struct ps_error local;
    int status;
    uint8_t *window;
    struct blkdev_req req;
    bool busy, have;            /* a read is under way; the window holds what the step asked for */
    uint64_t read_at, asked_at; /* asked_at: of what the window holds */
    uint32_t read_bytes, skip;
    bool blank;
    bool foreign; /* another pod than the one that is to be opened */
    int label_status;
    struct ps_error label_error;
    uint32_t run, chunk;
    uint32_t zone; /* the next that is looked at */
    struct place next_chunk;
    uint32_t copy_segment; /* has it as well; 0: none */
    uint16_t way;          /* of reading it that is tried: twin_try */
    char trouble[128];     /* that the first way met */
    struct position at;    /* where the next batch is looked for */
    bool tried_next;
    uint32_t log_way,
        ways_tried;     /* how the log is read (blkdev_way), and in how many ways nothing followed */
    uint64_t window_at; /* device address of the window, and bytes in it */
    uint32_t window_bytes;
    uint64_t replayed;
    bool restarting;
    bool applying;                /* the walk applies what it finds */
    struct log_id walked;         /* the last batch that it found */
    struct log_id chain_end;      /* of the walk that only looked */
    uint64_t committed;           /* as far as the log says */
    uint64_t spoilt, last_spoilt; /* batch that may be taken though its data is damaged; the last that was */
    struct position probe;        /* OPEN_AFTER_LOG */
    bool growing;                 /* OPEN_GROW: this label is being written */
    struct pool_label label;
};

/* ---- open.c */

/* Opening ends with `status`; the caller returns to the turn. */
void open_finish(struct pod *pod, int status);
/* True when `bytes` at `addr` are in the window from `skip` on; else they are on their way. */
bool open_want(struct open_state *o, uint64_t addr, uint32_t bytes);
bool open_want_in_way(struct open_state *o, uint64_t addr, uint32_t bytes, uint32_t way);
/* What the window holds is wrong. True: it is on its way in another one, and the step comes again. */
bool open_otherwise(struct open_state *o);
/* The same for a chunk of a run, which lies twice. */
bool open_run_otherwise(struct open_state *o, const char *trouble);
bool open_put(struct open_state *o, uint64_t addr, uint32_t bytes); /* the window's start; true when done */

/* ---- open_label.c: label, format and growth */
void open_refuse_foreign(struct pod *pod);
void open_step_label(struct pod *pod);
void open_step_blank(struct pod *pod);
void open_step_format_begins(struct pod *pod);
void open_step_format(struct pod *pod);
void open_step_grow(struct pod *pod);

/* ---- open_runs.c: anchors and their runs */
void open_step_anchor(struct pod *pod);
void open_step_anchor_newer(struct pod *pod);
void open_step_run(struct pod *pod);

/* ---- open_log.c */
void open_log_begin(struct pod *pod); /* the checkpoint is in */
void open_step_log(struct pod *pod);
void open_step_after_log(struct pod *pod);

#endif
