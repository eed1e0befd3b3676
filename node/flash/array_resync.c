/* After a power cut: rows of the segments that were not settled.
 *
 * What was on its way may have reached some members and not others. With all members there, parity is made
 * anew from the data. With one missing its data comes from where it was durable last: what a slot covers, if
 * the row's data agrees with that, and the rest from the row's parity; then parity is made anew from what it
 * was found to be, so that it stays that. Nothing that was answered is lost by this, whatever else was being
 * written (README.md). A cut in the middle of it changes nothing: all of it is done again.
 *
 * A member may have lost what it said to be durable. Where that can be known, by a slot's hashes, or by two
 * parity units that agree about who is wrong, the data is made right too. */
#include <stdlib.h>
#include <string.h>

#include "node/flash/array_impl.h"
#include "node/meta/checksum.h"

enum {
    STEP_ROWS = 16,
    PIECE_BYTES = 1 << 20,
    SAMPLE_BYTES = 64,
};

struct record {
    struct array_stage as;
    uint8_t *parity;
};

struct resync {
    struct array *a;
    struct array_unsettled list;
    uint32_t index, row, rows; /* the step under way */
    uint32_t bad;              /* members that can't be read in it */
    struct array_io io;
    uint8_t *area[ARRAY_MEMBERS_MAX];  /* stage slots */
    uint8_t *units[ARRAY_MEMBERS_MAX]; /* of the step, by unit number */
    uint8_t *columns;                  /* k units, a row's data as a slot knows it */
    uint8_t *made;                     /* parity of a row */
    struct record *records;
    unsigned record_count;
    void (*done)(struct array *a, int status);
};

void resync_free(struct array *a)
{
    struct resync *r = a->resync;
    if (!r)
        return;
    for (unsigned i = 0; i < ARRAY_MEMBERS_MAX; i++) {
        free(r->area[i]);
        free(r->units[i]);
    }
    free(r->columns);
    free(r->made);
    free(r->records);
    io_free(&r->io);
    free(r);
    a->resync = NULL;
}

static void end(struct resync *r, int status)
{
    struct array *a = r->a;
    void (*done)(struct array * array, int status) = r->done;
    resync_free(a);
    done(a, status);
}

/* ---- what a slot knows */

/* Makes the columns that are missing, or are not what the slot says, from its parity. False: it does not
 * prove itself. */
static bool prove(struct resync *r, const struct record *set[PARITY_MAX], const uint8_t *data[],
                  uint32_t missing)
{
    struct array *a = r->a;
    const struct array_stage *s = set[0] ? &set[0]->as : &set[1]->as;
    uint8_t from[ARRAY_MEMBERS_MAX], wanted[PARITY_MAX], *source[ARRAY_MEMBERS_MAX], *out[PARITY_MAX];
    unsigned n = 0, wrong = 0, parts = 0;
    for (unsigned j = 0; j < a->m; j++)
        parts += set[j] != NULL;
    for (unsigned c = 0; c < a->k; c++) {
        const uint32_t in = column_fill(a, s->fill, c);
        uint8_t *column = r->columns + (size_t)c * a->unit;
        if (in && ((missing >> c & 1) || checksum_bytes(data[c], in) != s->hash[c])) {
            if (wrong == parts)
                return false;
            out[wrong] = column;
            wanted[wrong++] = (uint8_t)c;
            continue;
        }
        memset(column, 0, a->unit);
        if (in)
            memcpy(column, data[c], in);
        source[n] = column;
        from[n++] = (uint8_t)c;
    }
    for (unsigned j = 0; j < a->m && n < a->k; j++)
        if (set[j]) {
            source[n] = set[j]->parity;
            from[n++] = (uint8_t)(a->k + j);
        }
    if (wrong)
        parity_restore(&a->parity, s->bytes, from, source, wrong, wanted, out);
    for (unsigned i = 0; i < wrong; i++)
        if (checksum_bytes(out[i], column_fill(a, s->fill, wanted[i])) != s->hash[wanted[i]])
            return false;
    return true;
}

/* The records of the row with the highest number below `below`. */
static bool newest(const struct resync *r, uint32_t row, uint64_t below, const struct record *set[PARITY_MAX])
{
    const uint32_t segment = r->list.entry[r->index].segment;
    uint64_t number = 0;
    set[0] = set[1] = NULL;
    for (unsigned i = 0; i < r->record_count; i++) {
        const struct array_stage *s = &r->records[i].as;
        if (s->segment != segment || s->row != row || s->number >= below || s->number < number)
            continue;
        if (s->number > number)
            set[0] = set[1] = NULL;
        number = s->number;
        set[s->which] = &r->records[i];
    }
    return number != 0;
}

/* What slots know better about the missing columns. */
static void overlay(struct resync *r, uint32_t row, uint8_t *data[], uint32_t missing)
{
    struct array *a = r->a;
    const struct record *set[PARITY_MAX];
    for (uint64_t below = UINT64_MAX; newest(r, row, below, set);) {
        const struct array_stage *s = set[0] ? &set[0]->as : &set[1]->as;
        if (prove(r, set, (const uint8_t **)(uintptr_t)data, missing)) {
            for (unsigned c = 0; c < a->k; c++)
                if (missing >> c & 1)
                    memcpy(data[c], r->columns + (size_t)c * a->unit, column_fill(a, s->fill, c));
            return;
        }
        below = s->number;
    }
}

/* ---- a row */

static bool unit_is_there(const struct resync *r, unsigned u)
{
    const uint32_t segment = r->list.entry[r->index].segment;
    const unsigned member = unit_member(r->a, segment, u);
    return member_has(r->a, member, segment) && !(r->bad >> member & 1);
}

/* All members are there. What the newest slot that proves itself knows otherwise is put right in memory;
 * returns those columns as a mask, and in `known` how many bytes of each it covers. */
static uint32_t fix_by_slot(struct resync *r, uint32_t row, uint8_t *data[], uint32_t known[])
{
    struct array *a = r->a;
    const struct record *set[PARITY_MAX];
    uint32_t fixed = 0;
    for (uint64_t below = UINT64_MAX; newest(r, row, below, set);) {
        const struct array_stage *s = set[0] ? &set[0]->as : &set[1]->as;
        below = s->number;
        if (!prove(r, set, (const uint8_t **)(uintptr_t)data, 0))
            continue;
        for (unsigned c = 0; c < a->k; c++) {
            const uint32_t in = column_fill(a, s->fill, c);
            const uint8_t *column = r->columns + (size_t)c * a->unit;
            known[c] = in;
            if (!in || memcmp(data[c], column, in) == 0)
                continue;
            memcpy(data[c], column, in);
            fixed |= 1u << c;
        }
        break;
    }
    return fixed;
}

/* Whether the row agrees with both parity units when column `c` is made from the others and the first one. */
static bool agrees_without(const struct resync *r, uint8_t *data[], uint8_t *const parity[], unsigned c,
                           size_t bytes)
{
    const struct array *a = r->a;
    uint8_t *source[ARRAY_MEMBERS_MAX], *second[1] = {r->made}, *column[1] = {r->columns};
    uint8_t from[ARRAY_MEMBERS_MAX];
    const uint8_t wanted = (uint8_t)c, last = (uint8_t)(a->k + 1);
    unsigned n = 0;
    for (unsigned u = 0; u <= a->k; u++)
        if (u != c) {
            source[n] = u < a->k ? data[u] : parity[0];
            from[n++] = (uint8_t)u;
        }
    parity_restore(&a->parity, bytes, from, source, 1, &wanted, column);
    parity_restore(&a->parity, bytes, from, source, 1, &last, second);
    return memcmp(second[0], parity[1], bytes) == 0;
}

/* All members are there, and two of parity, both of which the data does not agree with: if without one of its
 * columns it does, that one is wrong. A row that a cut left torn in more places is none of these. But the
 * row's parity may be that of what lay there before, from which a row that is begun differs in as little as
 * one column: what a slot covers, `known` bytes of each, stays. */
static uint32_t fix_by_parity(struct resync *r, uint8_t *data[], uint8_t *const parity[],
                              const uint32_t known[])
{
    const struct array *a = r->a;
    for (unsigned c = 0; c < a->k; c++) {
        if (!agrees_without(r, data, parity, c, SAMPLE_BYTES) ||
            !agrees_without(r, data, parity, c, a->unit) || memcmp(data[c], r->columns, known[c]))
            continue;
        memcpy(data[c], r->columns, a->unit);
        return 1u << c;
    }
    return 0;
}

/* Units that are not what they should be are put right in memory; returns them as a mask. */
static uint32_t fix_row(struct resync *r, uint32_t nth)
{
    struct array *a = r->a;
    uint8_t *data[ARRAY_MEMBERS_MAX], *parity[PARITY_MAX], *source[ARRAY_MEMBERS_MAX], *out[PARITY_MAX];
    uint8_t from[ARRAY_MEMBERS_MAX], wanted[PARITY_MAX], *on_flash[PARITY_MAX];
    uint32_t missing = 0, wrong = 0, there = 0, known[ARRAY_MEMBERS_MAX] = {0};
    unsigned n = 0, lost = 0;
    for (unsigned u = 0; u < a->n; u++) {
        uint8_t *unit = r->units[u] + (size_t)nth * a->unit;
        if (u < a->k)
            data[u] = unit;
        else
            on_flash[u - a->k] = unit;
        if (unit_is_there(r, u)) {
            there++;
            if (n < a->k) {
                source[n] = unit;
                from[n++] = (uint8_t)u;
            }
        } else if (u < a->k) {
            missing |= 1u << u;
            if (lost < PARITY_MAX) {
                out[lost] = unit;
                wanted[lost] = (uint8_t)u;
            }
            lost++;
        }
    }
    if (n < a->k)
        return 0; /* no parity is left that could be wrong, or too much is lost anyway */
    if (lost) {
        parity_restore(&a->parity, a->unit, from, source, lost, wanted, out);
        overlay(r, r->row + nth, data, missing);
    }
    if (there == a->n)
        wrong = fix_by_slot(r, r->row + nth, data, known);
    for (unsigned j = 0; j < a->m; j++)
        parity[j] = r->made + (size_t)j * a->unit;
    parity_encode(&a->parity, a->unit, data, parity);
    uint32_t differ = 0;
    for (unsigned j = 0; j < a->m; j++)
        if (unit_is_there(r, a->k + j) && memcmp(on_flash[j], parity[j], a->unit))
            differ |= 1u << j;
    if (there == a->n && differ == 3) {
        const uint32_t fixed = fix_by_parity(r, data, on_flash, known);
        if (fixed)
            return wrong | fixed;
        parity_encode(&a->parity, a->unit, data, parity); /* the trials used the room */
    }
    for (unsigned j = 0; j < a->m; j++)
        if (differ >> j & 1)
            memcpy(on_flash[j], parity[j], a->unit);
    return wrong | differ << a->k;
}

static void step(struct resync *r);

static void written(struct array_io *io)
{
    struct resync *r = io->a->resync;
    array_lose_list(r->a, io, "a write failed");
    if (r->a->failed) {
        end(r, PS_EIO);
        return;
    }
    r->row += r->rows;
    if (r->row == r->a->rows) {
        r->row = 0;
        r->index++;
    }
    step(r);
}

static void was_read(struct array_io *io)
{
    struct resync *r = io->a->resync;
    struct array *a = r->a;
    const uint32_t segment = r->list.entry[r->index].segment;
    r->bad = io->failed;
    r->io.done = written;
    io_begin(&r->io);
    for (uint32_t i = 0; i < r->rows; i++) {
        const uint32_t wrong = fix_row(r, i);
        a->resynced_rows += wrong != 0;
        for (unsigned u = 0; u < a->n; u++)
            if (wrong >> u & 1)
                io_send(&r->io, unit_member(a, segment, u), BLKDEV_WRITE, BLKDEV_FUA,
                        part_at(a, segment) + (uint64_t)(r->row + i) * a->unit, a->unit,
                        r->units[u] + (size_t)i * a->unit);
        a->righted_units += (unsigned)__builtin_popcount(wrong & ((1u << a->k) - 1));
    }
    (void)io_end(&r->io);
}

static void step(struct resync *r)
{
    struct array *a = r->a;
    if (r->index == r->list.count) {
        end(r, 0);
        return;
    }
    const uint32_t segment = r->list.entry[r->index].segment;
    r->rows = a->rows - r->row < STEP_ROWS ? a->rows - r->row : STEP_ROWS;
    r->io.done = was_read;
    io_begin(&r->io);
    for (unsigned u = 0; u < a->n; u++) {
        const unsigned member = unit_member(a, segment, u);
        if (member_has(a, member, segment))
            io_send(&r->io, member, BLKDEV_READ, 0, part_at(a, segment) + (uint64_t)r->row * a->unit,
                    r->rows * a->unit, r->units[u]);
    }
    (void)io_end(&r->io);
}

/* ---- beginning */

static bool is_listed(const struct resync *r, const struct array_stage *s)
{
    for (uint32_t i = 0; i < r->list.count; i++)
        if (r->list.entry[i].segment == s->segment && r->list.entry[i].life == s->life)
            return true;
    return false;
}

static void areas_read(struct array_io *io)
{
    struct resync *r = io->a->resync;
    struct array *a = r->a;
    for (unsigned i = 0; i < a->n; i++) {
        if (!r->area[i] || (io->failed >> i & 1))
            continue;
        for (int slot = 0; slot < ARRAY_STAGE_SLOTS; slot++) {
            uint8_t *block = r->area[i] + (slot_at(a, slot) - ARRAY_STAGE_AT);
            struct array_stage s;
            if (array_stage_decode(block, &s, NULL))
                continue;
            /* Numbers go on above whatever was written. */
            if (s.number > a->stage_number)
                a->stage_number = s.number;
            if (memcmp(s.array, a->label.array, 16) == 0 && is_listed(r, &s) && s.data == a->k &&
                s.parity == a->m && s.row < a->rows && s.fill < a->row_bytes && s.bytes <= a->unit &&
                s.bytes == (s.fill < a->unit ? s.fill : a->unit))
                r->records[r->record_count++] = (struct record){s, block + ARRAY_BLOCK_BYTES};
        }
    }
    step(r);
}

int resync_start(struct array *a, const struct array_unsettled *list,
                 void (*done)(struct array *a, int status))
{
    const size_t area = (size_t)(slot_at(a, ARRAY_STAGE_SLOTS) - ARRAY_STAGE_AT);
    struct resync *r = a->resync = calloc(1, sizeof *r);
    if (!r)
        return PS_ENOMEM;
    r->a = a;
    r->list = *list;
    r->done = done;
    io_init(a, &r->io, ARRAY_MEMBERS_MAX * (8 + STEP_ROWS), areas_read);
    r->columns = aligned_alloc(BLKDEV_ALIGN, a->row_bytes);
    r->made = aligned_alloc(BLKDEV_ALIGN, (size_t)a->m * a->unit);
    r->records = calloc((size_t)a->n * ARRAY_STAGE_SLOTS, sizeof *r->records);
    if (!r->columns || !r->made || !r->records)
        return PS_ENOMEM;
    uint32_t valid = 0;
    for (uint32_t i = 0; i < r->list.count; i++)
        if (r->list.entry[i].segment < a->segments)
            r->list.entry[valid++] = r->list.entry[i];
    r->list.count = valid;
    for (unsigned i = 0; i < a->n; i++) {
        r->units[i] = aligned_alloc(BLKDEV_ALIGN, (size_t)STEP_ROWS * a->unit);
        if (member_lives(a, i))
            r->area[i] = aligned_alloc(BLKDEV_ALIGN, area);
        if (!r->units[i] || (member_lives(a, i) && !r->area[i]))
            return PS_ENOMEM;
    }
    io_begin(&r->io);
    for (unsigned i = 0; i < a->n; i++)
        for (size_t at = 0; at < area && r->area[i]; at += PIECE_BYTES)
            io_send(&r->io, i, BLKDEV_READ, 0, ARRAY_STAGE_AT + at,
                    (uint32_t)(area - at < PIECE_BYTES ? area - at : PIECE_BYTES), r->area[i] + at);
    (void)io_end(&r->io);
    return 0;
}
