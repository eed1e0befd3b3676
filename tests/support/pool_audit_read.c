/* What the newest checkpoint says: label, anchor, runs, base pages. */
#include <inttypes.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/endian_codec.h"
#include "tests/support/pool_audit_impl.h"

enum {
    VERSION = 3,     /* of label and anchor */
    RING = 128,      /* anchors in a half */
    RUNS = 64,       /* in an anchor */
    HEADER = 48,     /* of a page record and of a chunk */
    PLAIN = 512 * 10 /* bytes of a page's numbers */
};

enum entry_type {
    BASE = 1,
    SLOT,
    MORE,
    DROP,
    BLOB
};

/* What a run says of a page. */
struct entry {
    uint64_t page;
    size_t order;
    enum entry_type type;
    unsigned slot;
    uint64_t value; /* of a slot; of a base its place */
    bool clear_own;
};

/* XXH3-64 with the field itself 0. */
static bool sum_is_right(uint8_t *record, size_t bytes, size_t field)
{
    uint8_t kept[8];
    memcpy(kept, record + field, 8);
    memset(record + field, 0, 8);
    const uint64_t sum = XXH3_64bits(record, bytes);
    memcpy(record + field, kept, 8);
    return sum == get_le64(kept);
}

/* ---- label and anchor */

static bool read_block(struct audit *a, uint64_t offset, const char *magic, uint8_t *block)
{
    for (unsigned way = 0; a->io->read(a->io->user, way, offset, block, AUDIT_BLOCK); way++)
        if (memcmp(block, magic, 4) == 0 && sum_is_right(block, AUDIT_BLOCK, AUDIT_BLOCK - 8) &&
            get_le16(block + 4) == VERSION)
            return true;
    return false;
}

/* A cut while the pool was made may have left one of the two; the second lies where its own size says. */
static bool find_label(struct audit *a, uint8_t *block)
{
    if (read_block(a, 0, "PSPL", block))
        return true;
    for (uint64_t bytes = 1 << 20; bytes <= 1 << 30; bytes *= 2)
        if (read_block(a, bytes, "PSPL", block) && get_le32(block + 56) == bytes)
            return true;
    return false;
}

static bool read_label(struct audit *a)
{
    uint8_t block[AUDIT_BLOCK];
    if (!find_label(a, block)) {
        audit_wrong(a, "there is no label");
        return false;
    }
    a->segment_bytes = get_le32(block + 56);
    a->segment_count = get_le32(block + 60);
    if (a->segment_bytes < 1 << 20 || a->segment_bytes > 1 << 30 || a->segment_count <= AUDIT_SYSTEM ||
        get_le32(block + 64) != 1 || (uint64_t)a->segment_bytes * a->segment_count > get_le64(block + 48)) {
        audit_wrong(a, "the label is of an impossible pool");
        return false;
    }
    memcpy(a->pod, block + 68, sizeof a->pod);
    for (unsigned i = 0; i < 2; i++) {
        a->anchor_segments[i] = get_le32(block + 68 + 80 + 4 * (size_t)i);
        if (a->anchor_segments[i] < 2 || a->anchor_segments[i] >= AUDIT_SYSTEM)
            audit_wrong(a, "anchors in segment %u", a->anchor_segments[i]);
    }
    return !a->wrong;
}

/* A number belongs in one place; other ways to read one that was not written may show what belongs elsewhere.
 */
static bool newest_anchor(struct audit *a, uint8_t *newest)
{
    uint8_t block[AUDIT_BLOCK];
    bool found = false;
    for (unsigned i = 0; i < 2 * RING; i++) {
        const uint64_t offset =
            (uint64_t)a->anchor_segments[i / RING] * a->segment_bytes + i % RING * (uint64_t)AUDIT_BLOCK;
        if (!read_block(a, offset, "PSPA", block) || get_le64(block + 8) % (2ull * RING) != i ||
            memcmp(block + 16, a->pod, sizeof a->pod) != 0 ||
            (found && get_le64(block + 8) < get_le64(newest + 8)))
            continue;
        memcpy(newest, block, sizeof block);
        found = true;
    }
    if (!found)
        audit_wrong(a, "there is no anchor");
    return found;
}

/* ---- runs */

struct bytes {
    const uint8_t *at, *end;
    bool bad;
};

static uint64_t number(struct bytes *b)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && b->at < b->end; shift += 7) {
        const uint8_t byte = *b->at++;
        v |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return v;
    }
    b->bad = true;
    return 0;
}

static uint8_t one(struct bytes *b)
{
    b->bad |= b->at >= b->end;
    return b->bad ? 0 : *b->at++;
}

static void say(struct audit *a, const struct entry *said)
{
    struct entry *e;
    if (said->page >> 60 == KIND_SEG && said->type == SLOT) {
        const uint64_t index = (said->page & ~(0xfull << 60)) + said->slot;
        if (index < AUDIT_SYSTEM || index >= a->segment_count)
            audit_wrong(a, "a slot of segment %" PRIu64, index);
        else
            a->segments[index] = said->value;
        return;
    }
    if (said->page >> 60 < KIND_MAP || said->page >> 60 > KIND_REF || said->page % AUDIT_SLOTS)
        audit_wrong(a, "a run has something of page %#" PRIx64, said->page);
    e = audit_add(&a->entries, sizeof *e);
    *e = *said;
    e->order = a->entries.count;
}

static struct audit_image *image_of(struct audit *a, uint64_t id)
{
    struct audit_image *images = a->images.items;
    for (size_t i = 0; i < a->images.count; i++)
        if (images[i].id == id)
            return &images[i];
    return NULL;
}

static void say_image(struct audit *a, uint64_t id, const uint8_t *r, size_t bytes)
{
    struct audit_image *image = image_of(a, id);
    if (bytes < 96 || r[0] != 1 || r[4] >= AUDIT_NAME || bytes != 96u + r[4]) {
        audit_wrong(a, "image %" PRIu64 " has no record of version 1", id);
        return;
    }
    if (!image)
        image = audit_add(&a->images, sizeof *image);
    *image = (struct audit_image){
        .id = id,
        .kind = r[1],
        .deleted = r[2] & 1,
        .depth = r[3],
        .root = get_le64(r + 8),
        .size = get_le64(r + 16),
        .volume = get_le64(r + 32),
        .parent = get_le64(r + 40),
        .cursor = get_le64(r + 56),
    };
    for (unsigned i = 0; i < 4; i++)
        image->counts[i] = (int64_t)get_le64(r + 64 + 8 * i);
    memcpy(image->name, r + 96, r[4]);
}

static void say_blob(struct audit *a, struct bytes *b)
{
    enum {
        IMAGE = 1,
        GONE,
        COUNTERS
    };
    const uint8_t type = one(b);
    const uint64_t id = number(b), bytes = number(b);
    if (b->bad || bytes > (uint64_t)(b->end - b->at)) {
        b->bad = true;
        return;
    }
    struct audit_image *images = a->images.items, *image = image_of(a, id);
    if (type == IMAGE)
        say_image(a, id, b->at, (size_t)bytes);
    else if (type == GONE && image)
        *image = images[--a->images.count];
    else if (type == COUNTERS)
        a->unique_blocks = id;
    b->at += bytes;
}

static void take_entries(struct audit *a, struct bytes b)
{
    struct entry e = {0};
    uint64_t page = 0;
    while (b.at < b.end && !b.bad && !a->wrong) {
        e = (struct entry){.type = one(&b)};
        switch (e.type) {
        case BASE:
            e.page = number(&b);
            e.value = number(&b);
            e.clear_own = one(&b);
            break;
        case SLOT:
            page = number(&b);
            /* fall through */
        case MORE:
            e.type = SLOT;
            e.page = page;
            e.slot = (unsigned)number(&b);
            e.value = number(&b);
            b.bad |= e.slot >= AUDIT_SLOTS;
            break;
        case DROP:
            e.page = number(&b);
            break;
        case BLOB:
            say_blob(a, &b);
            continue;
        default:
            b.bad = true;
        }
        if (!b.bad)
            say(a, &e);
    }
    if (b.bad)
        audit_wrong(a, "a run has a malformed entry");
}

static bool chunk_is_right(uint8_t *chunk, uint32_t bytes, uint64_t run, uint32_t index)
{
    return memcmp(chunk, "PSRN", 4) == 0 && chunk[4] == 1 && get_le32(chunk + 8) <= bytes - HEADER &&
           get_le32(chunk + 12) == index && get_le64(chunk + 16) == run && sum_is_right(chunk, bytes, 40);
}

/* Reads both copies of a chunk; false: neither is right. */
static bool read_chunk(struct audit *a, uint64_t place, uint32_t copy_segment, uint64_t run, uint32_t index,
                       uint8_t *chunk)
{
    const uint32_t bytes = audit_len(place);
    uint8_t copies[2][AUDIT_LONGEST];
    bool good[2] = {false, false};
    for (unsigned c = 0; c < (copy_segment ? 2 : 1); c++) {
        const uint64_t addr =
            c == 0 ? audit_addr(place)
                   : (uint64_t)copy_segment * a->segment_bytes + audit_addr(place) % a->segment_bytes;
        for (unsigned way = 0; !good[c] && a->io->read(a->io->user, way, addr, copies[c], bytes); way++)
            good[c] = chunk_is_right(copies[c], bytes, run, index);
        *(struct audit_extent *)audit_add(&a->extents, sizeof(struct audit_extent)) =
            (struct audit_extent){addr, index, bytes, AUDIT_CHUNK};
    }
    if (good[0] && good[1] && memcmp(copies[0], copies[1], bytes) != 0)
        audit_wrong(a, "the copies of chunk %u of run %" PRIu64 " differ", index, run);
    if (!good[0] && !good[1])
        return false;
    a->out->bad_copies += !good[0] || (copy_segment && !good[1]);
    memcpy(chunk, copies[good[0] ? 0 : 1], bytes);
    return true;
}

/* Segments of the last run's own chunks may be missing in what it says of segments. */
static void count_chunk(struct audit *a, uint64_t place, uint32_t segment, uint32_t copy, bool last)
{
    for (unsigned c = 0; c < (copy ? 2 : 1); c++) {
        a->live[c ? copy : segment] += audit_len(place);
        a->last_cut[c ? copy : segment] += last ? audit_len(place) : 0u;
    }
}

static void take_run(struct audit *a, uint64_t run, uint64_t place, uint64_t bytes, uint32_t copy, bool last)
{
    uint8_t chunk[AUDIT_LONGEST];
    uint64_t sum = 0;
    for (uint32_t index = 0; place && !a->wrong; index++) {
        uint32_t segment;
        if (!audit_lies(a, place, &segment) || audit_len(place) <= HEADER || copy >= a->segment_count ||
            (copy && copy < AUDIT_SYSTEM) || !read_chunk(a, place, copy, run, index, chunk)) {
            audit_wrong(a, "run %" PRIu64 " has no chunk %u", run, index);
            return;
        }
        sum += audit_len(place);
        count_chunk(a, place, segment, copy, last);
        take_entries(a, (struct bytes){chunk + HEADER, chunk + HEADER + get_le32(chunk + 8), false});
        place = get_le64(chunk + 24);
        const uint64_t second = get_le64(chunk + 32);
        copy = (uint32_t)(audit_addr(second) / a->segment_bytes);
        if (second && (audit_addr(second) % a->segment_bytes != audit_addr(place) % a->segment_bytes ||
                       audit_len(second) != audit_len(place)))
            audit_wrong(a, "the second copy of chunk %u of run %" PRIu64 " is no such thing", index + 1, run);
    }
    if (sum != bytes)
        audit_wrong(a, "run %" PRIu64 " has %" PRIu64 " bytes, the anchor says %" PRIu64, run, sum, bytes);
}

static void take_runs(struct audit *a, const uint8_t *anchor)
{
    const uint32_t runs = get_le32(anchor + 84);
    uint64_t before = 0;
    if (runs > RUNS || runs == 0)
        audit_wrong(a, "the anchor names %u runs", runs);
    for (uint32_t i = 0; i < runs && !a->wrong; i++) {
        const uint8_t *r = anchor + 136 + 24 * (size_t)i;
        const uint64_t run = get_le64(r);
        if (run <= before || run > a->out->anchor)
            audit_wrong(a, "run %" PRIu64 " follows run %" PRIu64 " in anchor %" PRIu64, run, before,
                        a->out->anchor);
        before = run;
        take_run(a, run, get_le64(r + 8), get_le64(r + 16), get_le32(anchor + 1672 + 4 * (size_t)i),
                 i + 1 == runs);
    }
}

/* ---- pages */

bool audit_lies(const struct audit *a, uint64_t place, uint32_t *segment)
{
    const uint64_t addr = audit_addr(place), bytes = audit_len(place), s = addr / a->segment_bytes;
    *segment = (uint32_t)s;
    return bytes && s >= AUDIT_SYSTEM && s < a->segment_count && (addr + bytes - 1) / a->segment_bytes == s;
}

static bool page_is_right(const struct audit *a, const struct audit_page *page, uint8_t *record,
                          uint32_t bytes)
{
    const uint64_t key = get_le64(record + 16);
    return memcmp(record, "PSPG", 4) == 0 && record[4] == 1 && record[5] <= 1 &&
           get_le32(record + 8) <= bytes - HEADER && get_le32(record + 12) <= PLAIN &&
           key >> 60 == page->key >> 60 && (page->clear_own || key == page->key) &&
           get_le64(record + 24) <= a->out->seq && sum_is_right(record, bytes, 40);
}

static bool unpack(struct audit_page *page, const uint8_t *record)
{
    uint8_t plain[PLAIN];
    const uint32_t body = get_le32(record + 8), bytes = get_le32(record + 12);
    const bool map = page->key >> 60 == KIND_MAP;
    uint64_t v = 0;
    if (record[5] && LZ4_decompress_safe((const char *)record + HEADER, (char *)plain, (int)body,
                                         (int)bytes) != (int)bytes)
        return false;
    struct bytes b = {plain, plain + bytes, false};
    if (!record[5])
        b = (struct bytes){record + HEADER, record + HEADER + body, false};
    for (unsigned i = 0; i < AUDIT_SLOTS; i++) {
        const uint64_t z = number(&b);
        v += z & 1 ? ~(z >> 1) : z >> 1;
        page->slots[i] = map ? v >> 12 | v << 52 : v;
        if (map && page->clear_own)
            page->slots[i] &= ~(1ull << 59);
    }
    return !b.bad && b.at == b.end;
}

/* Both copies; the page has what either says. */
static void load(struct audit *a, struct audit_page *page)
{
    const uint32_t bytes = audit_len(page->place);
    uint8_t copies[2][AUDIT_LONGEST];
    bool good[2] = {false, false};
    uint32_t segment;
    if (!audit_lies(a, page->place, &segment) || bytes <= HEADER || audit_state(a, segment) != STATE_META) {
        audit_wrong(a, "page %#" PRIx64 " lies at %" PRIu64 ", where no metadata is", page->key,
                    audit_addr(page->place));
        return;
    }
    const uint32_t twin = (uint32_t)(a->segments[segment] >> 32) & 0xfffffff;
    a->live[segment] += bytes;
    for (unsigned c = 0; c < (twin ? 2 : 1); c++) {
        const uint64_t addr =
            audit_addr(page->place) + ((uint64_t)(c ? twin : segment) - segment) * a->segment_bytes;
        for (unsigned way = 0; !good[c] && a->io->read(a->io->user, way, addr, copies[c], bytes); way++)
            good[c] = page_is_right(a, page, copies[c], bytes);
        *(struct audit_extent *)audit_add(&a->extents, sizeof(struct audit_extent)) =
            (struct audit_extent){addr, page->key, bytes, AUDIT_PAGE};
    }
    if (twin)
        a->live[twin] += bytes;
    if (good[0] && good[1] && memcmp(copies[0], copies[1], bytes) != 0)
        audit_wrong(a, "the copies of page %#" PRIx64 " differ", page->key);
    a->out->bad_copies += (good[0] || good[1]) && (!good[0] || (twin && !good[1]));
    if ((!good[0] && !good[1]) || !unpack(page, copies[good[0] ? 0 : 1]))
        audit_wrong(a, "page %#" PRIx64 " is damaged at %" PRIu64, page->key, audit_addr(page->place));
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->page != y->page)
        return x->page < y->page ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Of one page, in the order in which they were said. */
static void make_page(struct audit *a, const struct entry *e, size_t count)
{
    struct audit_page *page = &a->pages[a->page_count];
    bool exists = false;
    size_t from = 0;
    memset(page, 0, sizeof *page);
    page->key = e->page;
    for (size_t i = 0; i < count; i++) {
        exists = e[i].type != DROP;
        if (e[i].type != BASE && e[i].type != DROP)
            continue;
        from = i + 1;
        page->place = e[i].value;
        page->clear_own = e[i].clear_own;
    }
    if (!exists)
        return;
    if (page->place)
        load(a, page);
    for (size_t i = from; i < count; i++)
        page->slots[e[i].slot] = e[i].value;
    a->page_count++;
}

static void make_pages(struct audit *a)
{
    struct entry *e = a->entries.items;
    size_t pages = 0;
    if (a->entries.count)
        qsort(e, a->entries.count, sizeof *e, compare_entries);
    for (size_t i = 0; i < a->entries.count; i++)
        pages += i == 0 || e[i].page != e[i - 1].page;
    a->pages = calloc(pages + 1, sizeof *a->pages);
    if (!a->pages)
        abort();
    for (size_t i = 0, n; i < a->entries.count; i += n) {
        for (n = 1; i + n < a->entries.count && e[i + n].page == e[i].page;)
            n++;
        make_page(a, e + i, n);
    }
    a->out->pages = a->page_count;
}

struct audit_page *audit_page(const struct audit *a, unsigned kind, uint64_t number_)
{
    const uint64_t key = (uint64_t)kind << 60 | number_ * AUDIT_SLOTS;
    size_t low = 0, high = a->page_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (a->pages[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < a->page_count && a->pages[low].key == key ? &a->pages[low] : NULL;
}

uint64_t audit_slot(const struct audit *a, unsigned kind, uint64_t index)
{
    const struct audit_page *page = audit_page(a, kind, index / AUDIT_SLOTS);
    return page ? page->slots[index % AUDIT_SLOTS] : 0;
}

bool audit_checkpoint(struct audit *a)
{
    uint8_t anchor[AUDIT_BLOCK] = {0};
    if (!read_label(a) || !newest_anchor(a, anchor))
        return false;
    a->segments = calloc(a->segment_count, sizeof *a->segments);
    a->live = calloc(a->segment_count, sizeof *a->live);
    a->last_cut = calloc(a->segment_count, sizeof *a->last_cut);
    if (!a->segments || !a->live || !a->last_cut)
        abort();
    a->out->anchor = get_le64(anchor + 8);
    a->out->seq = get_le64(anchor + 56);
    a->out->clean = get_le32(anchor + 112);
    a->log_segment = get_le32(anchor + 72);
    a->log_offset = get_le32(anchor + 76);
    a->next_group = get_le64(anchor + 88);
    a->next_page = get_le64(anchor + 96);
    a->next_image = get_le64(anchor + 104);
    take_runs(a, anchor);
    if (!a->wrong)
        make_pages(a);
    return !a->wrong;
}
