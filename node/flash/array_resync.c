/* After a power cut: rows of the segments that were not settled.
 *
 * What was on its way may have reached some members and not others. With all members there, parity is made
 * anew from the data. With one missing its data comes from where it was durable last: what a slot covers, if
 * the row's data agrees with that, and the rest from the row's parity; then parity is made anew from what it
 * was found to be, so that it stays that. Nothing that was answered is lost by this, whatever else was being
 * written (README.md). A cut in the middle of it changes nothing: all of it is done again. */
#include <stdlib.h>
#include <string.h>

#include "node/flash/array_impl.h"
#include "node/meta/checksum.h"

enum {
    STEP_ROWS = 16,
    PIECE_BYTES = 1 << 20,
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

/* Parity units that are not what they should be are put right in memory; returns them as a mask. */
static uint32_t fix_row(struct resync *r, uint32_t nth)
{
    struct array *a = r->a;
    uint8_t *data[ARRAY_MEMBERS_MAX], *parity[PARITY_MAX], *source[ARRAY_MEMBERS_MAX], *out[PARITY_MAX];
    uint8_t from[ARRAY_MEMBERS_MAX], wanted[PARITY_MAX];
    uint32_t missing = 0, wrong = 0;
    unsigned n = 0, lost = 0;
    for (unsigned u = 0; u < a->n; u++) {
        uint8_t *unit = r->units[u] + (size_t)nth * a->unit;
        if (u < a->k)
            data[u] = unit;
        if (unit_is_there(r, u)) {
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
    for (unsigned j = 0; j < a->m; j++)
        parity[j] = r->made + (size_t)j * a->unit;
    parity_encode(&a->parity, a->unit, data, parity);
    for (unsigned j = 0; j < a->m; j++) {
        uint8_t *unit = r->units[a->k + j] + (size_t)nth * a->unit;
        if (!unit_is_there(r, a->k + j) || memcmp(unit, parity[j], a->unit) == 0)
            continue;
        memcpy(unit, parity[j], a->unit);
        wrong |= 1u << j;
    }
    return wrong;
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
        for (unsigned j = 0; j < a->m; j++)
            if (wrong >> j & 1)
                io_send(&r->io, unit_member(a, segment, a->k + j), BLKDEV_WRITE, BLKDEV_FUA,
                        part_at(a, segment) + (uint64_t)(r->row + i) * a->unit, a->unit,
                        r->units[a->k + j] + (size_t)i * a->unit);
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
    io_init(a, &r->io, ARRAY_MEMBERS_MAX * 8 + STEP_ROWS * PARITY_MAX, areas_read);
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
