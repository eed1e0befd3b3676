/* Paged metadata of one pod: a sparse array of 64-bit slots, 512 to a page, kept
 * in flash as base pages + deltas (see README.md).
 *
 * Kinds: the volume maps' pages (MAP), L2P by group (L2P), extra references
 * by block id (REF), segments (SEG). A slot that was never set is 0.
 *
 * Pure: it says which record must be read or written; the pod does the I/O.
 * One owner thread. State changes only by meta_set, meta_copy and meta_drop,
 * which do no I/O whether the page is in memory or not. */
#ifndef PS_NODE_META_META_H
#define PS_NODE_META_META_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"
#include "node/meta/place.h"

enum {
    META_SLOTS = 512,
    META_SLOT_BITS = 9
};
enum meta_kind {
    META_MAP = 1,
    META_L2P = 2,
    META_REF = 3,
    META_SEG = 4,
    META_KINDS = 5
};

/* Bit of a MAP slot that meta_copy clears: the entry owns its target. */
#define META_OWN (1ull << 59)

/* A slot's address: kind 4 bits, page 51, slot 9. A page's key has slot 0. */
struct meta_key {
    uint64_t v;
};

static inline struct meta_key meta_key(enum meta_kind kind, uint64_t page, unsigned slot)
{
    return (struct meta_key){(uint64_t)kind << 60 | page << META_SLOT_BITS | slot};
}
/* The slot `index` of a kind that is addressed by a flat number (L2P, REF, SEG). */
static inline struct meta_key meta_key_flat(enum meta_kind kind, uint64_t index)
{
    return (struct meta_key){(uint64_t)kind << 60 | index};
}
static inline struct meta_key meta_page_of(struct meta_key key)
{
    return (struct meta_key){key.v & ~(uint64_t)(META_SLOTS - 1)};
}
static inline unsigned meta_slot_of(struct meta_key key)
{
    return (unsigned)(key.v & (META_SLOTS - 1));
}
static inline enum meta_kind meta_kind_of(struct meta_key key)
{
    return (enum meta_kind)(key.v >> 60);
}
static inline uint64_t meta_page_number(struct meta_key key)
{
    return (key.v & ~(0xfull << 60)) >> META_SLOT_BITS;
}

struct meta;

struct meta_config {
    uint64_t cache_bytes; /* pages in memory; at least 1 MiB */
    uint64_t pages;       /* about so many will exist: their table need not grow. 0: not known */
    /* A reference to a stored record came (+1) or went (-1): segments count their live bytes by it. */
    void (*place_ref)(void *user, struct place place, int delta);
    void *user;
};

struct meta *meta_create(const struct meta_config *config);
void meta_destroy(struct meta *meta);
/* The same bit by bit, so many buckets of the page table at a time. True: it is gone. No access in between.
 */
bool meta_destroy_step(struct meta *meta, size_t buckets);

/* ---- access */

/* The 512 slots of a page, or NULL if its base must be read from flash first
 * (meta_load_*). A page that does not exist reads as zeroes. The pointer holds
 * until the next call that is not an access. */
const uint64_t *meta_slots(struct meta *meta, struct meta_key page);
/* False if the page must be loaded first. */
bool meta_get(struct meta *meta, struct meta_key key, uint64_t *value);
void meta_set(struct meta *meta, struct meta_key key, uint64_t value);
/* Page `to`, which does not exist, becomes a copy of `from` that owns nothing. */
void meta_copy(struct meta *meta, struct meta_key to, struct meta_key from);
void meta_drop(struct meta *meta, struct meta_key page);
bool meta_exists(struct meta *meta, struct meta_key page);
/* A pinned page that is in memory stays there. The page need not exist. */
void meta_pin(struct meta *meta, struct meta_key page);
void meta_unpin(struct meta *meta, struct meta_key page);
/* Calls `visit` for every page of the kind, in no particular order; it must not add or drop pages. */
void meta_each_page(struct meta *meta, enum meta_kind kind, void (*visit)(void *user, struct meta_key page),
                    void *user);

/* The same for pages of all kinds, bit by bit: those in the next `buckets` of the page table, from *at on,
 * which begins at 0. False: there were no more. Pages may come and go in between; those that stay come at
 * least once. */
bool meta_some_pages(struct meta *meta, size_t *at, size_t buckets,
                     void (*visit)(void *user, struct meta_key page), void *user);
bool meta_is_in_memory(struct meta *meta, struct meta_key page);
/* Its record is one of the cut that is on its way to flash. */
bool meta_is_being_written(struct meta *meta, struct meta_key page);

/* ---- loading */

/* The record to read for a page that meta_slots did not have. */
struct place meta_load_place(struct meta *meta, struct meta_key page);
/* Gives the bytes that were read for the place `from`. 0; or PS_EDAMAGED with a detail. If the
 * page was changed, moved or dropped meanwhile, nothing happens: ask again. */
int meta_load(struct meta *meta, struct meta_key page, struct place from, const void *record, size_t bytes,
              struct ps_error *err);
/* The record at `base`, if it is the page's, is not to be relied on: the page is a candidate for the next
 * merge, or not any more. */
void meta_set_rotten(struct meta *meta, struct meta_key page, struct place base, bool rotten);
/* PLACE_NONE: it has no record. */
struct place meta_base(struct meta *meta, struct meta_key page);
/* Forgets pages until the cache is within its budget. Call between plans. */
void meta_shrink(struct meta *meta);
/* So much of the budget is used by somebody else for a while: up to half of it. */
void meta_lend(struct meta *meta, uint64_t bytes);

/* ---- checkpoint */

/* Where the cut's records go. */
struct meta_sink {
    /* Room for `bytes` (a multiple of PLACE_UNIT); the memory is written to `*place` later. Never fails. */
    void *(*alloc)(struct meta_sink *sink, uint32_t bytes, struct place *place);
    /* Where the same is written a second time; PLACE_NONE: nowhere. May be NULL. */
    struct place (*copy)(struct meta_sink *sink, struct place place);
};

/* Pages whose base should be written anew at the next cut, at most `max`: rotten ones, the ones with the most
 * deltas, as many as bring the deltas below their limit, and those that `sparse` (may be NULL) says lie in
 * segments worth emptying. All pages are looked at, in steps: a large pool has millions. */
struct meta_pick {
    bool (*sparse)(void *user, struct place base);
    void *user;
    struct meta_key *pages;
    size_t max, count;
    /* meta's: where it is, in a table of so many buckets; how many slots changed in pages with so many. */
    size_t bucket, buckets;
    unsigned threshold; /* 0: they are being counted */
    uint64_t slots_with[META_SLOTS + 1];
};
void meta_pick_begin(struct meta *meta, struct meta_pick *pick);
/* Goes on for so many buckets, of about one page each. True: `count` pages are picked; some may have gone
 * since. Those not in memory must be loaded (and pinned) by the caller before the cut. */
bool meta_pick_step(struct meta *meta, struct meta_pick *pick, size_t buckets);

struct run_writer;
/* Writes the state as of now into `run`: candidates become new base pages
 * (pinned until meta_cut_done); the rest, what changed since the last cut, or with `full` everything. */
void meta_cut(struct meta *meta, struct run_writer *run, struct meta_sink *sink, const struct meta_key *merge,
              size_t nmerge, bool full, uint64_t seq);
/* The records of the cut are in flash: its pages can be forgotten. */
void meta_cut_done(struct meta *meta);

/* ---- recovery: what a run says, in the order of the runs */
void meta_restore_base(struct meta *meta, struct meta_key page, struct place base, bool clear_own);
void meta_restore_slot(struct meta *meta, struct meta_key key, uint64_t value);
void meta_restore_drop(struct meta *meta, struct meta_key page);
/* All runs are in: counts the references to places. */
void meta_restore_done(struct meta *meta);

struct meta_stats {
    uint64_t pages, resident, delta_slots, memory_bytes;
    uint64_t changed_slots; /* since the last cut */
    uint64_t rotten;        /* pages that wait to be written anew */
};
void meta_stats(const struct meta *meta, struct meta_stats *out);

/* ---- page records (page_codec.c) */

enum {
    PAGE_RECORD_MAX = 5248,
    PAGE_KEY_AT = 16
};
/* Encodes 512 slots; returns the length, a multiple of PLACE_UNIT, at most PAGE_RECORD_MAX. */
uint32_t page_encode(struct meta_key page, uint64_t seq, const uint64_t *slots, void *out);
/* PS_EDAMAGED with a detail if the record is not a sound image of `page`. */
int page_decode(struct meta_key page, const void *record, size_t bytes, uint64_t *slots,
                struct ps_error *err);
/* As page_decode, of a record of any page of the kind. */
int page_verify(enum meta_kind kind, const void *record, size_t bytes, struct ps_error *err);

#endif
