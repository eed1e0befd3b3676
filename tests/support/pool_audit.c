/* What is compared when the checkpoint was read: blocks, records, segments. */
#include "tests/support/pool_audit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/endian_codec.h"
#include "tests/support/pool_audit_impl.h"

enum {
    GROUP = 8, /* blocks */
    RECORD_HEADER = 32
};

/* The first one counts. */
void audit_wrong(struct audit *a, const char *format, ...)
{
    va_list args;
    if (a->wrong)
        return;
    a->wrong = true;
    va_start(args, format);
    (void)vsnprintf(a->why, a->why_size, format, args);
    va_end(args);
}

void *audit_add(struct audit_list *list, size_t size)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 256;
        list->items = realloc(list->items, list->capacity * size);
        if (!list->items)
            abort();
    }
    void *item = (char *)list->items + list->count++ * size;
    memset(item, 0, size);
    return item;
}

/* ---- records */

static bool record_is_right(uint8_t *r, uint32_t bytes, uint64_t group, unsigned blocks, unsigned live)
{
    static const uint8_t zero[8];
    const uint64_t sum = get_le64(r + 16);
    const unsigned slots = r[0] == 1 ? (1u << blocks) - 1 : r[24];
    const uint32_t payload = get_le32(r + 4), table = r[2] == 2 ? 2u * blocks : 0;
    const uint64_t length = ((uint64_t)RECORD_HEADER + table + payload + AUDIT_UNIT - 1) / AUDIT_UNIT;
    if (r[0] < 1 || r[0] > 2 || r[1] != blocks || r[2] > 2 || r[3] > 2 || get_le64(r + 8) != group ||
        length * AUDIT_UNIT != bytes || (unsigned)__builtin_popcount(slots) != blocks || (live & ~slots))
        return false;
    memcpy(r + 16, zero, sizeof zero);
    const uint64_t seed = XXH3_64bits(r, RECORD_HEADER);
    return XXH3_64bits_withSeed(r + RECORD_HEADER, bytes - RECORD_HEADER, seed) == sum;
}

static void look_at_record(struct audit *a, uint64_t group, uint64_t v)
{
    uint8_t record[AUDIT_LONGEST];
    const uint64_t place = v >> 11, addr = audit_addr(place);
    const uint32_t bytes = audit_len(place);
    const unsigned blocks = (unsigned)(v >> 8 & 7) + 1, live = v & 0xff;
    const unsigned lives = (unsigned)__builtin_popcount(live);
    uint32_t segment;
    if (!audit_lies(a, place, &segment)) {
        audit_wrong(a, "group %" PRIu64 " lies at %" PRIu64 ", in no segment", group, addr);
        return;
    }
    const unsigned state = audit_state(a, segment);
    if (state != STATE_LOG && state != STATE_WARM && state != STATE_COLD)
        audit_wrong(a, "group %" PRIu64 " lies in segment %u of state %u", group, segment, state);
    if (segment == a->log_segment && addr % a->segment_bytes + bytes > a->log_offset)
        audit_wrong(a, "group %" PRIu64 " lies in the log behind the checkpoint", group);
    if (group >= a->next_group || live == 0 || lives > blocks)
        audit_wrong(a, "group %" PRIu64 " has the place %#" PRIx64, group, v);
    a->live[segment] += (uint64_t)bytes * lives / blocks;
    *(struct audit_extent *)audit_add(&a->extents, sizeof(struct audit_extent)) =
        (struct audit_extent){addr, group, bytes, AUDIT_RECORD};
    for (unsigned way = 0; a->io->read(a->io->user, way, addr, record, bytes); way++)
        if (record_is_right(record, bytes, group, blocks, live))
            return;
    if (a->out->bad_records++ == 0)
        a->out->bad_group = group;
}

/* ---- blocks */

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* All that live, in order, against those that are owned, in order. */
static void compare_group(struct audit *a, uint64_t group, uint64_t v, size_t *next)
{
    const uint64_t *owned = a->owned.items;
    for (unsigned slot = 0; slot < GROUP; slot++) {
        const uint64_t block = group * GROUP + slot, extra = audit_slot(a, KIND_REF, block);
        const uint64_t counted = (v >> slot & 1) + extra;
        uint64_t found = 0;
        for (; *next < a->owned.count && owned[*next] == block; ++*next)
            found++;
        a->out->blocks += v >> slot & 1;
        if (extra && !(v >> slot & 1))
            audit_wrong(a, "block %" PRIu64 " is dead and counts %" PRIu64 " references more", block, extra);
        if (found != counted)
            audit_wrong(a, "block %" PRIu64 " has %" PRIu64 " owned references, %" PRIu64 " are counted",
                        block, found, counted);
    }
}

static void compare_blocks(struct audit *a)
{
    size_t next = 0;
    if (a->owned.count)
        qsort(a->owned.items, a->owned.count, sizeof(uint64_t), compare_numbers);
    for (size_t i = 0; i < a->page_count && !a->wrong; i++) {
        const struct audit_page *page = &a->pages[i];
        const uint64_t first = page->key & ~(0xfull << 60);
        for (unsigned s = 0; page->key >> 60 == KIND_L2P && s < AUDIT_SLOTS; s++) {
            if (!page->slots[s])
                continue;
            look_at_record(a, first + s, page->slots[s]);
            compare_group(a, first + s, page->slots[s], &next);
            a->out->groups++;
        }
        for (unsigned s = 0; page->key >> 60 == KIND_REF && s < AUDIT_SLOTS; s++)
            if (page->slots[s] && !(audit_slot(a, KIND_L2P, (first + s) / GROUP) >> (first + s) % GROUP & 1))
                audit_wrong(a, "block %" PRIu64 " is dead and counted", first + s);
    }
    if (!a->wrong && next != a->owned.count)
        audit_wrong(a, "block %" PRIu64 " is owned and in no group",
                    ((const uint64_t *)a->owned.items)[next]);
    if (a->out->blocks != a->unique_blocks)
        audit_wrong(a, "%" PRIu64 " blocks live, %" PRIu64 " are counted", a->out->blocks, a->unique_blocks);
}

/* ---- segments */

static int compare_extents(const void *a, const void *b)
{
    const struct audit_extent *x = a, *y = b;
    return x->addr < y->addr ? -1 : x->addr > y->addr;
}

/* Pages that are copies of each other may have one record. */
static void look_for_overlaps(struct audit *a)
{
    struct audit_extent *e = a->extents.items;
    if (a->extents.count)
        qsort(e, a->extents.count, sizeof *e, compare_extents);
    for (size_t i = 1; i < a->extents.count; i++)
        if (e[i].addr < e[i - 1].addr + e[i - 1].bytes &&
            (e[i].kind != AUDIT_PAGE || e[i - 1].kind != AUDIT_PAGE || e[i].addr != e[i - 1].addr ||
             e[i].bytes != e[i - 1].bytes))
            audit_wrong(a,
                        "what lies at %" PRIu64 " (kind %u, %#" PRIx64 ") and at %" PRIu64
                        " (kind %u, %#" PRIx64 ") overlaps",
                        e[i - 1].addr, e[i - 1].kind, e[i - 1].key, e[i].addr, e[i].kind, e[i].key);
}

/* Live bytes of metadata are said while the cut's own run is still growing, and by either name both twins
 * count. */
static void compare_metadata(struct audit *a, uint32_t segment)
{
    const uint32_t twin = (uint32_t)(a->segments[segment] >> 32) & 0xfffffff;
    const uint64_t said = (uint32_t)a->segments[segment];
    const uint64_t live = a->live[segment], last_cut = a->last_cut[segment];
    if (twin && (twin == segment || twin >= a->segment_count || audit_state(a, twin) != STATE_META ||
                 (uint32_t)(a->segments[twin] >> 32) != (STATE_META << 28 | segment))) {
        audit_wrong(a, "segment %u has the twin %u, which is none", segment, twin);
        return;
    }
    if (twin && (a->live[twin] != live || a->last_cut[twin] != last_cut))
        audit_wrong(a, "segments %u and %u are twins with %" PRIu64 " and %" PRIu64 " bytes", segment, twin,
                    live, a->live[twin]);
    if (said > live || said + last_cut < live)
        audit_wrong(
            a, "segment %u has %" PRIu64 " bytes of metadata (%" PRIu64 " of the last run), says %" PRIu64,
            segment, live, last_cut, said);
}

static void compare_segments(struct audit *a)
{
    for (uint32_t i = AUDIT_SYSTEM; i < a->segment_count && !a->wrong; i++) {
        const uint64_t said = (uint32_t)a->segments[i];
        switch (audit_state(a, i)) {
        case STATE_META:
            compare_metadata(a, i);
            break;
        case STATE_FREE:
            if (a->segments[i] || a->live[i] != a->last_cut[i])
                audit_wrong(a, "segment %u is free and has %" PRIu64 " bytes", i, a->live[i]);
            break;
        case STATE_LOG:
        case STATE_WARM:
        case STATE_COLD:
            if (said != a->live[i])
                audit_wrong(a, "%" PRIu64 " bytes live in segment %u, %" PRIu64 " are counted", a->live[i], i,
                            said);
            break;
        default:
            audit_wrong(a, "segment %u has the state %u", i, audit_state(a, i));
        }
    }
}

bool pool_audit(const struct pool_audit_io *io, struct pool_audit_result *out, char *why, size_t size)
{
    struct audit *a = calloc(1, sizeof *a);
    if (!a)
        abort();
    *out = (struct pool_audit_result){0};
    *a = (struct audit){.io = io, .out = out, .why = why, .why_size = size};
    if (audit_checkpoint(a))
        audit_maps(a);
    if (!a->wrong)
        compare_blocks(a);
    if (!a->wrong)
        look_for_overlaps(a);
    if (!a->wrong)
        compare_segments(a);
    const bool right = !a->wrong;
    free(a->entries.items);
    free(a->images.items);
    free(a->extents.items);
    free(a->owned.items);
    free(a->pages);
    free(a->segments);
    free(a->live);
    free(a->last_cut);
    free(a);
    return right;
}
