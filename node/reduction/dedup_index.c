#include "node/reduction/dedup_index.h"

#include <assert.h>
#include <stdlib.h>

/* An entry is the id and 12 bits of tag; 7 more bits a way and the counters
 * are in the bucket's control word:
 *
 *   bits  0..2   entries in use
 *         3..5   of these, how many at the front are protected
 *         6..8   insertions into the full bucket since protection wore off last
 *         9..14  zero
 *        15..63  7 × 7 bits of tag, in the entries' order
 */
enum {
    BUCKET_BYTES = 64,
    PROTECTED_MAX = 4,
    WEAR_INTERVAL = 8,
    TAG_HIGH_BITS = 12,
    TAG_LOW_BITS = 7,
    TAG_LOW_SHIFT = 15,
};

struct bucket {
    uint64_t control;
    uint64_t entry[DEDUP_INDEX_WAYS];
};
_Static_assert(sizeof(struct bucket) == BUCKET_BYTES, "a bucket is a cache line");
_Static_assert(TAG_HIGH_BITS + DEDUP_INDEX_ID_BITS == 64, "an entry is a word");
_Static_assert(TAG_LOW_SHIFT + TAG_LOW_BITS * DEDUP_INDEX_WAYS == 64, "the tags end the control word");

struct dedup_index {
    struct bucket *buckets;
    uint64_t nbuckets;
    const struct large_memory *memory;
    uint64_t entries, lookups, hits, insertions, evictions;
};

/* A bucket taken apart. */
struct view {
    struct bucket *bucket;
    unsigned used, shielded, wear;
    uint64_t low_tags; /* 7 bits a way */
};

#define LOW_TAG_MASK ((1ull << TAG_LOW_BITS) - 1)
#define ID_MASK      ((1ull << DEDUP_INDEX_ID_BITS) - 1)

static struct bucket *bucket_of(const struct dedup_index *index, uint64_t key)
{
    return &index->buckets[(uint64_t)(((unsigned __int128)key * index->nbuckets) >> 64)];
}

static struct view view_open(const struct dedup_index *index, uint64_t key)
{
    struct bucket *bucket = bucket_of(index, key);
    const uint64_t c = bucket->control;
    return (struct view){
        .bucket = bucket,
        .used = c & 7,
        .shielded = c >> 3 & 7,
        .wear = c >> 6 & 7,
        .low_tags = c >> TAG_LOW_SHIFT,
    };
}

static void view_close(const struct view *v)
{
    assert(v->used <= DEDUP_INDEX_WAYS && v->shielded <= PROTECTED_MAX && v->shielded <= v->used);
    v->bucket->control =
        v->low_tags << TAG_LOW_SHIFT | (uint64_t)v->wear << 6 | (uint64_t)v->shielded << 3 | v->used;
}

/* The bucket's number takes the key's high bits, the tag its low 19. */
static uint64_t high_tag(uint64_t key)
{
    return key >> TAG_LOW_BITS & ((1u << TAG_HIGH_BITS) - 1);
}

static uint64_t low_tag(uint64_t key)
{
    return key & LOW_TAG_MASK;
}

static bool way_matches(const struct view *v, unsigned way, uint64_t key)
{
    return v->bucket->entry[way] >> DEDUP_INDEX_ID_BITS == high_tag(key) &&
           (v->low_tags >> (way * TAG_LOW_BITS) & LOW_TAG_MASK) == low_tag(key);
}

/* The way that holds the pair, or DEDUP_INDEX_WAYS. */
static unsigned find_pair(const struct view *v, uint64_t key, uint64_t id)
{
    for (unsigned way = 0; way < v->used; way++)
        if ((v->bucket->entry[way] & ID_MASK) == id && way_matches(v, way, key))
            return way;
    return DEDUP_INDEX_WAYS;
}

static uint64_t tags_below(unsigned way)
{
    return (1ull << (way * TAG_LOW_BITS)) - 1;
}

/* Closes the gap at `way`. */
static void take_out(struct view *v, unsigned way)
{
    for (unsigned i = way; i + 1 < v->used; i++)
        v->bucket->entry[i] = v->bucket->entry[i + 1];
    const uint64_t below = v->low_tags & tags_below(way);
    const uint64_t above = v->low_tags >> ((way + 1) * TAG_LOW_BITS);
    v->low_tags = above << (way * TAG_LOW_BITS) | below;
    v->used--;
    if (way < v->shielded)
        v->shielded--;
}

/* Opens a gap at `way` and fills it; there is room. */
static void put_in(struct view *v, unsigned way, uint64_t key, uint64_t id)
{
    assert(v->used < DEDUP_INDEX_WAYS && way <= v->used);
    for (unsigned i = v->used; i > way; i--)
        v->bucket->entry[i] = v->bucket->entry[i - 1];
    v->bucket->entry[way] = high_tag(key) << DEDUP_INDEX_ID_BITS | id;
    const uint64_t below = v->low_tags & tags_below(way);
    const uint64_t above = v->low_tags >> (way * TAG_LOW_BITS);
    v->low_tags = (above << TAG_LOW_BITS | low_tag(key)) << (way * TAG_LOW_BITS) | below;
    v->used++;
}

struct dedup_index *dedup_index_create(size_t budget_bytes, const struct large_memory *memory)
{
    assert(budget_bytes >= DEDUP_INDEX_MIN_BYTES);
    struct dedup_index *index = calloc(1, sizeof *index);
    if (!index)
        return NULL;
    index->nbuckets = budget_bytes / BUCKET_BYTES;
    index->memory = memory;
    index->buckets = large_memory_alloc(memory, index->nbuckets * BUCKET_BYTES);
    if (!index->buckets) {
        free(index);
        return NULL;
    }
    return index;
}

void dedup_index_destroy(struct dedup_index *index)
{
    if (!index)
        return;
    large_memory_release(index->memory, index->buckets, index->nbuckets * BUCKET_BYTES);
    free(index);
}

void dedup_index_prefetch(const struct dedup_index *index, uint64_t key)
{
    __builtin_prefetch(bucket_of(index, key), 1);
}

static unsigned find_all(const struct view *v, uint64_t key, uint64_t ids[DEDUP_INDEX_CANDIDATES],
                         unsigned ways[DEDUP_INDEX_CANDIDATES])
{
    unsigned found = 0;
    for (unsigned way = 0; way < v->used && found < DEDUP_INDEX_CANDIDATES; way++) {
        if (!way_matches(v, way, key))
            continue;
        ids[found] = v->bucket->entry[way] & ID_MASK;
        ways[found++] = way;
    }
    return found;
}

unsigned dedup_index_peek(const struct dedup_index *index, uint64_t key, uint64_t ids[DEDUP_INDEX_CANDIDATES])
{
    const struct view v = view_open(index, key);
    unsigned ways[DEDUP_INDEX_CANDIDATES];
    return find_all(&v, key, ids, ways);
}

unsigned dedup_index_lookup(struct dedup_index *index, uint64_t key, uint64_t ids[DEDUP_INDEX_CANDIDATES])
{
    struct view v = view_open(index, key);
    unsigned ways[DEDUP_INDEX_CANDIDATES];
    const unsigned found = find_all(&v, key, ids, ways);
    index->lookups++;
    if (found == 0)
        return 0;
    index->hits++;
    /* To the front from the last on, so that they keep their order; each one
     * that moved has pushed those before it one way down. */
    for (unsigned moved = 0; moved < found; moved++) {
        const unsigned i = found - 1 - moved;
        const unsigned way = ways[i] + moved;
        if (way == 0)
            break; /* alone, and the youngest already, protected or not */
        take_out(&v, way);
        put_in(&v, 0, key, ids[i]);
        v.shielded += v.shielded < PROTECTED_MAX;
    }
    if (v.shielded == 0)
        v.shielded = 1;
    view_close(&v);
    return found;
}

void dedup_index_insert(struct dedup_index *index, uint64_t key, uint64_t id)
{
    assert(id <= ID_MASK);
    struct view v = view_open(index, key);
    if (find_pair(&v, key, id) < v.used)
        return;
    if (v.used == DEDUP_INDEX_WAYS) {
        take_out(&v, DEDUP_INDEX_WAYS - 1);
        index->evictions++;
        index->entries--;
        if (++v.wear == WEAR_INTERVAL) {
            v.wear = 0;
            v.shielded -= v.shielded > 0;
        }
    }
    put_in(&v, v.shielded, key, id);
    view_close(&v);
    index->entries++;
    index->insertions++;
}

bool dedup_index_remove(struct dedup_index *index, uint64_t key, uint64_t id)
{
    struct view v = view_open(index, key);
    const unsigned way = find_pair(&v, key, id);
    if (way >= v.used)
        return false;
    take_out(&v, way);
    view_close(&v);
    index->entries--;
    return true;
}

void dedup_index_stats(const struct dedup_index *index, struct dedup_index_stats *out)
{
    *out = (struct dedup_index_stats){
        .entries = index->entries,
        .capacity = index->nbuckets * DEDUP_INDEX_WAYS,
        .lookups = index->lookups,
        .hits = index->hits,
        .insertions = index->insertions,
        .evictions = index->evictions,
        .memory_bytes = index->nbuckets * BUCKET_BYTES + sizeof *index,
    };
}
