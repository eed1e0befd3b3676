/* Bounded map from a fingerprint's key to the id of a block that may hold the
 * same bytes. It is a hint: it forgets, it may name blocks that are gone (ids
 * are never reused, so a stale one is found out by asking whether it lives)
 * and rarely names the wrong block (19 of the key's bits are kept beside the
 * bucket's number: one lookup in 75,000). The caller compares bytes.
 *
 * A bucket is one cache line of seven entries in order of use, 9.1 bytes an
 * entry. Entries that were found again are protected: new ones enter behind
 * them, and protection wears off one entry every eight insertions into a full
 * bucket (segmented LRU; Karedla, Love, Wherry: Caching Strategies to Improve
 * Disk System Performance, IEEE Computer 1994, with ageing added). A flood of
 * unique data therefore passes through the rest of the bucket.
 *
 * Memory is fixed at creation and becomes resident as it is used. */
#ifndef PS_NODE_REDUCTION_DEDUP_INDEX_H
#define PS_NODE_REDUCTION_DEDUP_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/large_memory.h"

enum {
    DEDUP_INDEX_WAYS = 7,
    DEDUP_INDEX_CANDIDATES = 4, /* most that one lookup returns */
    DEDUP_INDEX_ID_BITS = 52,
    DEDUP_INDEX_MIN_BYTES = 64 * 1024,
};

struct dedup_index;

struct dedup_index_stats {
    uint64_t entries, capacity;
    uint64_t lookups, hits; /* lookups that named at least one candidate */
    uint64_t insertions;
    uint64_t evictions; /* entries pushed out by insertions */
    uint64_t memory_bytes;
};

/* Uses at most `budget_bytes` (at least DEDUP_INDEX_MIN_BYTES) of `memory`,
 * which outlives the index; NULL is the heap. NULL when there is no memory. */
struct dedup_index *dedup_index_create(size_t budget_bytes, const struct large_memory *memory);
void dedup_index_destroy(struct dedup_index *index);

/* Starts to fetch the key's bucket; useful a few hundred ns before the call that needs it. */
void dedup_index_prefetch(const struct dedup_index *index, uint64_t key);

/* Writes the ids that may hold the contents, most useful first, and returns
 * how many: 0 to DEDUP_INDEX_CANDIDATES. They become the bucket's youngest. */
unsigned dedup_index_lookup(struct dedup_index *index, uint64_t key, uint64_t ids[DEDUP_INDEX_CANDIDATES]);

/* The same without any effect. */
unsigned dedup_index_peek(const struct dedup_index *index, uint64_t key,
                          uint64_t ids[DEDUP_INDEX_CANDIDATES]);

/* Remembers that `id` (below 2^52) holds the contents. A pair that is there
 * already stays as it is. Another id of the same key is kept too. */
void dedup_index_insert(struct dedup_index *index, uint64_t key, uint64_t id);

/* Forgets the pair; true if it was there. */
bool dedup_index_remove(struct dedup_index *index, uint64_t key, uint64_t id);

void dedup_index_stats(const struct dedup_index *index, struct dedup_index_stats *out);

#endif
