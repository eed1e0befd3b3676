#include "tests/support/synth_pool.h"

#include <stdlib.h>
#include <string.h>

#include "common/endian_codec.h"
#include "common/prng.h"
#include "node/flash/moved.h"
#include "tests/support/blkdev_synth.h"

enum {
    FIRST_SEGMENT = 128, /* those before are the pod's own: label, anchors, its first log and metadata */
    RECORD_BYTES = GROUP_BLOCKS * POD_BLOCK_BYTES + RECORD_UNIT_BYTES,
    CHUNK_RECORDS = 7, /* all that fit in a chunk */
    RECORDS_CACHED = 16,
    LEVELS_MAX = 8,
};

struct synth_page {
    struct meta_key key;
    struct place place;
};

/* The last ones that were made; 0: none. */
struct synth_record {
    uint64_t group;
    uint8_t buf[RECORD_MAX_BYTES];
};

struct synth_pool {
    struct blkdev *dev;
    uint32_t segment_bytes, chunk_bytes, segment_chunks;
    uint64_t blocks, groups, first_group, first_page, pod;
    uint32_t data_segments, meta_segments;
    uint64_t level_pages[LEVELS_MAX + 1]; /* leaves are of level 1 */
    struct synth_page *pages;             /* in the order of their places */
    size_t page_count;
    uint32_t meta_offset; /* in the last META segment */
    struct record_codec *codec;
    struct synth_record cached[RECORDS_CACHED];
    unsigned cached_next;
    uint64_t chunk_number; /* of the one in `chunk`; UINT64_MAX: none */
    uint8_t chunk[MOVED_CHUNK_BYTES];
};

void synth_pool_block(uint64_t lba, uint8_t block[POD_BLOCK_BYTES])
{
    struct prng p;
    prng_seed(&p, lba + 1);
    prng_fill(&p, block, POD_BLOCK_BYTES);
}

/* ---- data: chunk `number` holds groups number * CHUNK_RECORDS and on, counted from the volume's start */

static uint64_t chunk_addr(const struct synth_pool *s, uint64_t number)
{
    return (FIRST_SEGMENT + number / s->segment_chunks) * s->segment_bytes +
           number % s->segment_chunks * s->chunk_bytes;
}

static uint64_t chunk_records(const struct synth_pool *s, uint64_t number)
{
    const uint64_t left = s->groups - number * CHUNK_RECORDS;
    return left < CHUNK_RECORDS ? left : CHUNK_RECORDS;
}

static struct place record_place(const struct synth_pool *s, uint64_t group)
{
    return place_make(chunk_addr(s, group / CHUNK_RECORDS) + MOVED_HEADER_BYTES +
                          group % CHUNK_RECORDS * RECORD_BYTES,
                      RECORD_BYTES);
}

/* `group` counts from the volume's start. */
static const uint8_t *make_record(struct synth_pool *s, uint64_t group)
{
    static uint8_t data[GROUP_BLOCKS * POD_BLOCK_BYTES];
    const void *blocks[GROUP_BLOCKS];
    const uint64_t id = s->first_group + group;
    for (unsigned i = 0; i < RECORDS_CACHED; i++)
        if (s->cached[i].group == id)
            return s->cached[i].buf;
    struct synth_record *r = &s->cached[s->cached_next++ % RECORDS_CACHED];
    for (unsigned b = 0; b < GROUP_BLOCKS; b++) {
        blocks[b] = data + (size_t)b * POD_BLOCK_BYTES;
        synth_pool_block(group * GROUP_BLOCKS + b, data + (size_t)b * POD_BLOCK_BYTES);
    }
    const size_t bytes =
        record_encode(s->codec, RECORD_PLAIN, id, blocks, GROUP_BLOCKS, true, r->buf, sizeof r->buf);
    assert(bytes == RECORD_BYTES);
    r->group = id;
    return r->buf;
}

/* With its directory, which those want who walk through a segment. */
static uint32_t make_chunk(struct synth_pool *s, uint64_t number)
{
    static struct moved_writer w;
    uint8_t fingerprints[GROUP_BLOCKS * FINGERPRINT_MAX_BYTES];
    const size_t size = fingerprint_size(FINGERPRINT_XXH3_128);
    moved_begin(&w, s->chunk, MOVED_CHUNK_BYTES, (uint8_t)size);
    for (uint64_t i = 0; i < chunk_records(s, number); i++) {
        const uint64_t group = number * CHUNK_RECORDS + i;
        const uint8_t *record = make_record(s, group);
        for (unsigned b = 0; b < GROUP_BLOCKS; b++) {
            struct fingerprint fp;
            fingerprint_block(FINGERPRINT_XXH3_128,
                              record + RECORD_HEADER_BYTES + (size_t)b * POD_BLOCK_BYTES, &fp);
            memcpy(fingerprints + b * size, fp.bytes, size);
        }
        struct moved_record r = {.group = s->first_group + group,
                                 .bytes = RECORD_BYTES,
                                 .slots = 0xff,
                                 .fingerprints = fingerprints};
        memcpy(moved_next(&w), record, RECORD_BYTES);
        moved_add(&w, &r);
    }
    const uint32_t bytes = moved_seal(&w, s->pod);
    memset(s->chunk + bytes, 0, MOVED_CHUNK_BYTES - bytes);
    s->chunk_number = number;
    return bytes;
}

static void fill_data(struct synth_pool *s, uint64_t number, uint32_t at, uint8_t *unit)
{
    const uint32_t records_end = MOVED_HEADER_BYTES + CHUNK_RECORDS * RECORD_BYTES;
    if (at < MOVED_HEADER_BYTES || at + BLKDEV_SYNTH_UNIT > records_end ||
        chunk_records(s, number) < CHUNK_RECORDS) {
        if (s->chunk_number != number)
            (void)make_chunk(s, number);
        memcpy(unit, s->chunk + at, BLKDEV_SYNTH_UNIT);
        return;
    }
    for (uint32_t done = 0; done < BLKDEV_SYNTH_UNIT;) {
        const uint32_t in = at + done - MOVED_HEADER_BYTES, offset = in % RECORD_BYTES;
        const uint32_t most = BLKDEV_SYNTH_UNIT - done, left = RECORD_BYTES - offset;
        const uint32_t n = left < most ? left : most;
        memcpy(unit + done, make_record(s, number * CHUNK_RECORDS + in / RECORD_BYTES) + offset, n);
        done += n;
    }
}

/* ---- metadata */

/* Leaves come first, then the pages above them. */
static uint64_t level_first(const struct synth_pool *s, unsigned level)
{
    uint64_t first = s->first_page;
    for (unsigned l = 1; l < level; l++)
        first += s->level_pages[l];
    return first;
}

static void page_slots(const struct synth_pool *s, struct meta_key key, uint64_t slots[META_SLOTS])
{
    const uint64_t number = meta_page_number(key);
    memset(slots, 0, META_SLOTS * sizeof slots[0]);
    if (meta_kind_of(key) == META_L2P) {
        for (uint64_t i = 0; i < META_SLOTS; i++) {
            const uint64_t group = number * META_SLOTS + i - s->first_group;
            if (group < s->groups)
                slots[i] = l2p_make(record_place(s, group), GROUP_BLOCKS, 0xff);
        }
        return;
    }
    unsigned level = 1;
    while (number >= level_first(s, level + 1))
        level++;
    const uint64_t index = number - level_first(s, level);
    for (uint64_t i = 0; i < META_SLOTS; i++) {
        const uint64_t child = index * META_SLOTS + i;
        if (level > 1 && child < s->level_pages[level - 1])
            slots[i] = entry_page(level_first(s, level - 1) + child);
        else if (level == 1)
            slots[i] = entry_data(
                record_block_id(s->first_group + child / GROUP_BLOCKS, (unsigned)(child % GROUP_BLOCKS)),
                record_stored_share(RECORD_BYTES, GROUP_BLOCKS), false);
    }
}

static uint32_t make_page(const struct synth_pool *s, struct meta_key key, uint8_t record[PAGE_RECORD_MAX])
{
    uint64_t slots[META_SLOTS];
    page_slots(s, key, slots);
    return page_encode(key, 1, slots, record);
}

static uint32_t meta_first(const struct synth_pool *s)
{
    return FIRST_SEGMENT + s->data_segments;
}

/* The first page that does not end before `addr`. */
static size_t page_at(const struct synth_pool *s, uint64_t addr)
{
    size_t low = 0, high = s->page_count;
    while (low < high) {
        const size_t mid = (low + high) / 2;
        if (place_addr(s->pages[mid].place) + place_len(s->pages[mid].place) <= addr)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void fill_meta(const struct synth_pool *s, uint64_t offset, uint8_t *unit)
{
    uint8_t record[PAGE_RECORD_MAX];
    for (size_t i = page_at(s, offset); i < s->page_count; i++) {
        const uint64_t addr = place_addr(s->pages[i].place), end = addr + place_len(s->pages[i].place);
        if (addr >= offset + BLKDEV_SYNTH_UNIT)
            return;
        (void)make_page(s, s->pages[i].key, record);
        const uint64_t from = addr > offset ? addr : offset;
        const uint64_t to = end < offset + BLKDEV_SYNTH_UNIT ? end : offset + BLKDEV_SYNTH_UNIT;
        memcpy(unit + (from - offset), record + (from - addr), to - from);
    }
}

static void fill(void *user, uint64_t offset, uint8_t unit[BLKDEV_SYNTH_UNIT])
{
    struct synth_pool *s = user;
    const uint64_t segment = offset / s->segment_bytes, in = offset % s->segment_bytes;
    memset(unit, 0, BLKDEV_SYNTH_UNIT);
    if (s->page_count == 0 || segment < FIRST_SEGMENT)
        return;
    if (segment >= meta_first(s)) {
        fill_meta(s, offset, unit);
        return;
    }
    const uint64_t number = (segment - FIRST_SEGMENT) * s->segment_chunks + in / s->chunk_bytes;
    if (in / s->chunk_bytes < s->segment_chunks && number * CHUNK_RECORDS < s->groups)
        fill_data(s, number, (uint32_t)(in % s->chunk_bytes), unit);
}

/* ---- into the pod */

static uint32_t free_segment(struct pod *pod, uint32_t index)
{
    assert(index < pod->segment_count && segments_state(pod->segments, index) == SEGMENT_FREE);
    return index;
}

static void put_page(struct synth_pool *s, struct pod *pod, struct meta_key key)
{
    uint8_t record[PAGE_RECORD_MAX];
    const uint32_t bytes = make_page(s, key, record);
    if (s->meta_segments == 0 || s->meta_offset + bytes > s->segment_bytes) {
        const uint32_t next = free_segment(pod, meta_first(s) + s->meta_segments++);
        segments_restore(pod->segments, next, (uint64_t)SEGMENT_META << 60);
        s->meta_offset = 0;
    }
    const uint64_t segment = meta_first(s) + s->meta_segments - 1;
    struct synth_page *p = &s->pages[s->page_count++];
    *p = (struct synth_page){key, place_make(segment * s->segment_bytes + s->meta_offset, bytes)};
    s->meta_offset += bytes;
    meta_restore_base(pod->meta, key, p->place, false);
    pod_place_ref(pod, p->place, +1);
}

static void put_segments(struct synth_pool *s, struct pod *pod)
{
    uint64_t left = s->groups;
    for (uint32_t i = 0; i < s->data_segments; i++) {
        const uint64_t full = (uint64_t)s->segment_chunks * CHUNK_RECORDS, in = left < full ? left : full;
        const uint64_t value = (uint64_t)SEGMENT_COLD << 60 | (i + 1ull) << 32 | in * RECORD_BYTES;
        segments_restore(pod->segments, free_segment(pod, FIRST_SEGMENT + i), value);
        left -= in;
    }
    assert(left == 0);
}

void synth_pool_fill(struct synth_pool *s, struct pod *pod, const char *volume)
{
    struct image *image = images_find(pod->images, volume);
    assert(image && image->size_bytes == s->blocks * POD_BLOCK_BYTES &&
           entry_type(image->root) == ENTRY_HOLE);
    s->pod = get_le64(pod->anchor.pod);
    /* L2P pages of their own. */
    s->first_group = (pod->log_next.group / META_SLOTS + 1) * META_SLOTS;
    s->first_page = pod->log_next.page;
    assert(image->depth <= LEVELS_MAX);
    for (unsigned level = 1; level <= image->depth; level++)
        s->level_pages[level] = (s->blocks + image_span(level) - 1) / image_span(level);
    const uint64_t l2p = (s->groups + META_SLOTS - 1) / META_SLOTS;
    const uint64_t pages = level_first(s, image->depth + 1) - s->first_page;
    s->pages = malloc((pages + l2p) * sizeof s->pages[0]);
    assert(s->pages);
    put_segments(s, pod);
    for (uint64_t i = 0; i < pages; i++)
        put_page(s, pod, meta_key(META_MAP, s->first_page + i, 0));
    for (uint64_t i = 0; i < l2p; i++)
        put_page(s, pod, meta_key_flat(META_L2P, s->first_group + i * META_SLOTS));
    images_set_root(pod->images, pod->applied_seq, image->id, entry_page(level_first(s, image->depth)));
    image->planned_root = image->root;
    image->space.n[SPACE_LOGICAL] += (int64_t)s->blocks;
    image->space.n[SPACE_STORED_UNITS] +=
        (int64_t)(s->blocks * record_stored_share(RECORD_BYTES, GROUP_BLOCKS));
    image->changed = true;
    pod->unique_blocks += s->blocks;
    pod->log_next.group = s->first_group + l2p * META_SLOTS;
    pod->log_next.page += pages;
    plan_from(pod, &pod->log_next);
    runs_release(pod); /* the next one is full */
    pod->checkpoint.wanted = true;
}

/* ---- */

struct synth_pool *synth_pool_create(uint64_t bytes, unsigned percent, uint32_t segment_bytes,
                                     struct ps_error *err)
{
    struct synth_pool *s = calloc(1, sizeof *s);
    assert(s && bytes % ((uint64_t)META_SLOTS * POD_BLOCK_BYTES) == 0);
    s->codec = record_codec_create();
    assert(s->codec);
    s->segment_bytes = segment_bytes;
    s->blocks = bytes / POD_BLOCK_BYTES;
    s->groups = s->blocks / GROUP_BLOCKS;
    s->chunk_bytes = make_chunk(s, 0);
    s->segment_chunks = segment_bytes / s->chunk_bytes;
    /* What was made so far has other ids. */
    memset(s->cached, 0, sizeof s->cached);
    s->chunk_number = UINT64_MAX;
    const uint64_t per_segment = (uint64_t)s->segment_chunks * CHUNK_RECORDS;
    s->data_segments = (uint32_t)((s->groups + per_segment - 1) / per_segment);
    const uint64_t size = ((uint64_t)s->data_segments * 100 / percent + 2 * FIRST_SEGMENT) * segment_bytes;
    s->dev = blkdev_synth_create(size, fill, s, err);
    if (s->dev)
        return s;
    synth_pool_destroy(s);
    return NULL;
}

void synth_pool_destroy(struct synth_pool *s)
{
    if (s->dev)
        blkdev_destroy(s->dev);
    record_codec_destroy(s->codec);
    free(s->pages);
    free(s);
}

struct blkdev *synth_pool_device(struct synth_pool *s)
{
    return s->dev;
}

uint64_t synth_pool_memory(const struct synth_pool *s)
{
    return sizeof *s + s->page_count * sizeof s->pages[0] +
           s->dev->geometry.size_bytes / BLKDEV_SYNTH_UNIT / 8;
}
