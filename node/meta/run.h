/* Runs: what a checkpoint says beside its base pages, as a chain of chunks in
 * metadata segments (run.c has the format). An incremental run holds what changed since
 * the previous one, a full run everything; the anchor lists the full run and
 * those after it. */
#ifndef PS_NODE_META_RUN_H
#define PS_NODE_META_RUN_H

#include "node/meta/meta.h"

enum {
    RUN_CHUNK_BYTES = 64 * 1024,
    RUN_BLOB_MAX = 4096
};

struct run_writer {
    struct meta_sink *sink;
    uint64_t seq;
    struct place first;
    uint64_t bytes;
    void (*chunk_placed)(void *user, struct place place); /* may be NULL */
    void *user;
    uint8_t *previous; /* header of the chunk before, waiting for its `next` */
    uint32_t index;
    size_t used;
    uint64_t last_page;
    uint8_t chunk[RUN_CHUNK_BYTES];
};

void run_begin(struct run_writer *run, struct meta_sink *sink, uint64_t seq);
void run_put_base(struct run_writer *run, struct meta_key page, struct place base, bool clear_own);
void run_put_slot(struct run_writer *run, struct meta_key key, uint64_t value);
void run_put_drop(struct run_writer *run, struct meta_key page);
/* An image, a counter, an operation: the owner's own encoding. `bytes` at most RUN_BLOB_MAX. */
void run_put_blob(struct run_writer *run, uint8_t type, uint64_t id, const void *data, size_t bytes);
/* After this, `first` and `bytes` describe the run. There is always one chunk. */
void run_end(struct run_writer *run);

struct run_visitor {
    void (*base)(void *user, struct meta_key page, struct place base, bool clear_own);
    void (*slot)(void *user, struct meta_key key, uint64_t value);
    void (*drop)(void *user, struct meta_key page);
    /* 0, or an error that ends the visit. */
    int (*blob)(void *user, uint8_t type, uint64_t id, const uint8_t *data, size_t bytes,
                struct ps_error *err);
    void *user;
};

/* Reads one chunk (number `index` of the run `seq`): 0 and the next chunk's
 * place (none after the last), or PS_EDAMAGED, PS_EVERSION with a detail. Nothing is visited of a chunk
 * whose checksum is wrong. */
int run_visit(const void *chunk, size_t bytes, uint64_t seq, uint32_t index,
              const struct run_visitor *visitor, struct place *next, struct ps_error *err);
/* Of a chunk that was visited: where its successor lies once more; none if it lies once. */
struct place run_next_copy(const void *chunk);

/* The same bit by bit: a chunk is checked, then its entries are visited, so many at a time. */
struct run_cursor {
    const uint8_t *pos, *end; /* equal: all were visited */
    uint64_t page, seq;
    uint32_t index;
};
int run_check(const void *chunk, size_t bytes, uint64_t seq, uint32_t index, struct run_cursor *cursor,
              struct place *next, struct ps_error *err);
int run_visit_some(struct run_cursor *cursor, size_t entries, const struct run_visitor *visitor,
                   struct ps_error *err);

#endif
