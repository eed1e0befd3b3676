/* Reading.
 *
 * Units that are there are read straight into the caller's buffer; the row that is being filled is in memory;
 * what a member without its part of the segment would hold is made from the rest of its row, of which most is
 * often being read anyway. A member that fails a read is done without in a second attempt. */
#include <stdlib.h>
#include <string.h>

#include "node/flash/array_impl.h"

enum {
    READ_ERRORS_MAX = 64, /* in a row: the member is lost, though nobody writes to it */
    LATER = 1,
};

/* The part of one row that a read wants. */
struct span {
    uint32_t segment, row;
    uint32_t from, to; /* in the row */
    uint8_t *buf;      /* where `from` goes */
};

static bool next_span(const struct array *a, const struct blkdev_req *req, uint32_t *done, struct span *s)
{
    if (*done == req->length)
        return false;
    const uint64_t at = (req->offset + *done) % a->segment_bytes;
    s->segment = (uint32_t)((req->offset + *done) / a->segment_bytes);
    s->row = (uint32_t)(at / a->row_bytes);
    s->from = (uint32_t)(at % a->row_bytes);
    uint64_t room = a->row_bytes - s->from;
    if (room > a->segment_bytes - at)
        room = a->segment_bytes - at;
    const uint32_t left = req->length - *done;
    s->to = s->from + (left < room ? left : (uint32_t)room);
    s->buf = (uint8_t *)req->buf + *done;
    *done += s->to - s->from;
    return true;
}

/* What of column `c` the span wants, within the unit; false: nothing. */
static bool of_column(const struct array *a, const struct span *s, unsigned c, uint32_t *from, uint32_t *to)
{
    const uint32_t begin = c * a->unit, end = begin + a->unit;
    if (s->to <= begin || s->from >= end)
        return false;
    *from = (s->from > begin ? s->from : begin) - begin;
    *to = (s->to < end ? s->to : end) - begin;
    return true;
}

static uint8_t *into(const struct array *a, const struct span *s, unsigned c, uint32_t at)
{
    return s->buf + (c * a->unit + at - s->from);
}

/* How a row's missing columns are made: from which units, and where those lie. */
struct recipe {
    uint32_t from, to; /* within the unit */
    unsigned missing;
    uint8_t wanted[PARITY_MAX], sources[ARRAY_MEMBERS_MAX];
    uint8_t *bytes[ARRAY_MEMBERS_MAX];
    bool extra[ARRAY_MEMBERS_MAX]; /* not read otherwise: lies in the bounce buffer */
    uint32_t bounce;               /* bytes of it */
};

/* False: too much is missing. With missing = 0 nothing needs to be made. */
static bool plan_row(const struct array *a, const struct span *s, uint32_t without, uint8_t *bounce,
                     struct recipe *r)
{
    *r = (struct recipe){.from = UINT32_MAX};
    unsigned missing = 0;
    for (unsigned c = 0; c < a->k; c++) {
        uint32_t from, to;
        if (!(without >> unit_member(a, s->segment, c) & 1) || !of_column(a, s, c, &from, &to))
            continue;
        if (missing < PARITY_MAX)
            r->wanted[missing] = (uint8_t)c;
        missing++;
        r->from = from < r->from ? from : r->from;
        r->to = to > r->to ? to : r->to;
    }
    if (missing > a->m)
        return false;
    r->missing = missing;
    unsigned n = 0;
    for (unsigned u = 0; u < a->n && n < a->k && missing; u++) {
        if (without >> unit_member(a, s->segment, u) & 1)
            continue;
        uint32_t from, to;
        r->sources[n] = (uint8_t)u;
        if (u < a->k && of_column(a, s, u, &from, &to) && from <= r->from && to >= r->to) {
            r->bytes[n++] = into(a, s, u, r->from);
            continue;
        }
        r->extra[n] = true;
        r->bytes[n++] = bounce ? bounce + r->bounce : NULL;
        r->bounce += r->to - r->from;
    }
    return !missing || n == a->k;
}

static bool is_in_memory(const struct array *a, const struct segment *s, const struct span *span)
{
    return s && s->fill % a->row_bytes && s->fill / a->row_bytes == span->row;
}

static uint32_t without_of(const struct array *a, const struct read *r, uint32_t segment)
{
    return r->avoid | array_without(a, segment);
}

/* ---- sending */

static void send_row(struct read *r, const struct span *s, const struct recipe *recipe)
{
    struct array *a = r->io.a;
    const uint64_t at = part_at(a, s->segment) + (uint64_t)s->row * a->unit;
    for (unsigned c = 0; c < a->k; c++) {
        uint32_t from, to;
        const unsigned member = unit_member(a, s->segment, c);
        if (of_column(a, s, c, &from, &to) && !(r->without >> member & 1))
            io_send(&r->io, member, BLKDEV_READ, 0, at + from, to - from, into(a, s, c, from));
    }
    for (unsigned i = 0; i < a->k && recipe->missing; i++)
        if (recipe->extra[i])
            io_send(&r->io, unit_member(a, s->segment, recipe->sources[i]), BLKDEV_READ, 0, at + recipe->from,
                    recipe->to - recipe->from, recipe->bytes[i]);
}

/* A write that fills the row is on its way: what the row had before is no longer in memory, and its parity
 * not yet on flash. */
static bool is_moving(const struct segment *open, const struct span *s)
{
    if (!open)
        return false;
    const uint64_t w = open->a->row_bytes, from = s->row * w;
    list_for_each(pos, &open->appends)
    {
        const struct append *op = container_of(pos, struct append, link);
        if (op->begin < from + w && op->end > from)
            return true;
    }
    return false;
}

/* PS_EIO: too much is missing; LATER: not now. */
static int read_plan(struct read *r, uint32_t *bounce)
{
    struct array *a = r->io.a;
    struct span s;
    r->without = r->avoid;
    for (uint32_t done = 0; next_span(a, r->outer, &done, &s);)
        r->without |= without_of(a, r, s.segment);
    *bounce = 0;
    for (uint32_t done = 0; next_span(a, r->outer, &done, &s);) {
        struct recipe recipe;
        const struct segment *open = segment_find(a, s.segment);
        if (is_in_memory(a, open, &s))
            continue;
        if (!plan_row(a, &s, r->without, NULL, &recipe))
            return PS_EIO;
        if (recipe.missing && is_moving(open, &s))
            return LATER;
        *bounce += recipe.bounce;
    }
    return 0;
}

/* Returns an error, or 0: `done` will run, or LATER. */
static int read_send(struct read *r)
{
    struct array *a = r->io.a;
    uint32_t bounce;
    int rc = read_plan(r, &bounce);
    free(r->bounce);
    r->bounce = NULL;
    /* The only memory that the way of data asks for: reads with a member missing, as many as there are. */
    if (rc == 0 && bounce && !(r->bounce = aligned_alloc(BLKDEV_ALIGN, bounce)))
        rc = PS_ENOMEM;
    if (rc)
        return rc;
    io_begin(&r->io);
    struct span s;
    bounce = 0;
    r->rows_kept = 0;
    for (uint32_t done = 0; next_span(a, r->outer, &done, &s);) {
        const struct segment *open = segment_find(a, s.segment);
        if (is_in_memory(a, open, &s)) {
            memcpy(s.buf, open->row + s.from, s.to - s.from);
            r->kept_segment[r->rows_kept % 2] = s.segment;
            r->kept_row[r->rows_kept++ % 2] = s.row;
            continue;
        }
        struct recipe recipe;
        (void)plan_row(a, &s, r->without, r->bounce ? r->bounce + bounce : NULL, &recipe);
        bounce += recipe.bounce;
        send_row(r, &s, &recipe);
    }
    if (r->io.used == 0 && !array_tick(a, &r->io)) {
        r->io.pending = 0;
        return PS_EIO;
    }
    (void)io_end(&r->io);
    return 0;
}

/* ---- completing */

static bool was_kept(const struct read *r, const struct span *s)
{
    for (unsigned i = 0; i < r->rows_kept && i < 2; i++)
        if (r->kept_segment[i] == s->segment && r->kept_row[i] == s->row)
            return true;
    return false;
}

static void make_missing(struct read *r)
{
    struct array *a = r->io.a;
    struct span s;
    uint32_t bounce = 0;
    bool made = false;
    for (uint32_t done = 0; next_span(a, r->outer, &done, &s);) {
        struct recipe recipe;
        if (was_kept(r, &s))
            continue;
        (void)plan_row(a, &s, r->without, r->bounce ? r->bounce + bounce : NULL, &recipe);
        bounce += recipe.bounce;
        if (!recipe.missing)
            continue;
        /* A missing column may be wanted in a part only of what is made. */
        uint8_t whole[PARITY_MAX][ARRAY_UNIT_MAX], *out[PARITY_MAX];
        bool direct[PARITY_MAX];
        for (unsigned i = 0; i < recipe.missing; i++) {
            uint32_t from = 0, to = 0;
            (void)of_column(a, &s, recipe.wanted[i], &from, &to);
            direct[i] = from == recipe.from && to == recipe.to;
            out[i] = direct[i] ? into(a, &s, recipe.wanted[i], from) : whole[i];
        }
        parity_restore(&a->parity, recipe.to - recipe.from, recipe.sources, recipe.bytes, recipe.missing,
                       recipe.wanted, out);
        for (unsigned i = 0; i < recipe.missing; i++) {
            uint32_t from, to;
            if (!direct[i] && of_column(a, &s, recipe.wanted[i], &from, &to))
                memcpy(into(a, &s, recipe.wanted[i], from), whole[i] + (from - recipe.from), to - from);
        }
        made = true;
    }
    a->restored_reads += made;
}

static void end_read(struct read *r, int status)
{
    struct array *a = r->io.a;
    struct blkdev_req *outer = r->outer;
    free(r->bounce);
    r->bounce = NULL;
    list_push_back(&a->free_reads, &r->link);
    a->health.read_ops++;
    a->health.read_bytes += outer->length;
    a->health.errors += status != 0;
    outer->cb(outer, status);
}

static void end_or_wait(struct read *r, int rc)
{
    struct array *a = r->io.a;
    if (rc == LATER)
        list_push_back(&a->later_reads, &r->link);
    else if (rc)
        end_read(r, rc);
}

void read_done(struct array_io *io)
{
    struct read *r = container_of(io, struct read, io);
    struct array *a = io->a;
    if (io->failed) {
        r->avoid |= io->failed;
        for (unsigned i = 0; i < a->n; i++)
            if (io->failed >> i & 1 && a->member[i].read_errors > READ_ERRORS_MAX)
                array_lose(a, 1u << i, "it reads nothing any more");
        end_or_wait(r, read_send(r));
    } else {
        make_missing(r);
        end_read(r, 0);
    }
    reads_turn(a);
}

static struct read *take_read(struct array *a, struct blkdev_req *req)
{
    struct read *r = container_of(list_pop_front(&a->free_reads), struct read, link);
    r->outer = req;
    r->avoid = 0;
    return r;
}

void reads_turn(struct array *a)
{
    struct list_node again;
    list_init(&again);
    list_splice_back(&again, &a->later_reads);
    while (!list_empty(&again)) {
        struct read *r = container_of(list_pop_front(&again), struct read, link);
        end_or_wait(r, read_send(r));
    }
    while (a->reads.head && !list_empty(&a->free_reads)) {
        struct read *r = take_read(a, waiting_pop(&a->reads));
        end_or_wait(r, read_send(r));
    }
}

int read_submit(struct array *a, struct blkdev_req *req)
{
    if (list_empty(&a->free_reads)) {
        waiting_push(&a->reads, req);
        return 0;
    }
    struct read *r = take_read(a, req);
    const int rc = read_send(r);
    if (rc == LATER) {
        list_push_back(&a->later_reads, &r->link);
        return 0;
    }
    if (rc)
        list_push_back(&a->free_reads, &r->link);
    return rc;
}
