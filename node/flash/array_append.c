/* Appending to segments.
 *
 * A write goes to its data units, and the parity of every row that it fills goes beside them, once. If it
 * leaves a row begun, and must be durable, the parity of what the row has so far goes to a slot in the header
 * of the members that will hold it. A slot is used again only when something newer makes up for it durably:
 * the next slot of the same row, or the full row. So at every moment what was answered in a row is covered by
 * the row's parity or by a slot, and no write that is cut short spoils either.
 *
 * Writes to one segment are answered in order: the parity of one stands for the data of those before it. */
#include <string.h>

#include "node/flash/array_impl.h"
#include "node/meta/checksum.h"

struct segment *segment_find(struct array *a, uint32_t index)
{
    for (unsigned i = 0; i < ARRAY_OPEN_SEGMENTS; i++)
        if (a->segment[i].used && a->segment[i].index == index)
            return &a->segment[i];
    return NULL;
}

/* ---- slots */

int slot_take(struct array *a, unsigned left)
{
    unsigned others = 0;
    for (unsigned i = 0; i < ARRAY_STAGE_SLOTS; i++)
        others += a->slot[i] == SLOT_FREE;
    if (others <= left)
        return NO_SLOT;
    for (int slot = 0; slot < ARRAY_STAGE_SLOTS; slot++)
        if (a->slot[slot] == SLOT_FREE) {
            a->slot[slot] = SLOT_USED;
            return slot;
        }
    return NO_SLOT;
}

void slot_free(struct array *a, int slot)
{
    assert(a->slot[slot] == SLOT_USED);
    a->slot[slot] = SLOT_FREE;
}

static void drop_slot(struct segment *s, bool durable)
{
    if (s->slot == NO_SLOT)
        return;
    if (durable)
        slot_free(s->a, s->slot);
    else
        s->a->slot[s->slot] = SLOT_DROPPED;
    s->slot = NO_SLOT;
}

static bool is_flushed(const struct segment *s)
{
    return !s->unflushed && !s->covering;
}

/* The columns of the row in memory. */
static void row_columns(const struct array *a, uint8_t *row, uint8_t *columns[])
{
    for (unsigned c = 0; c < a->k; c++)
        columns[c] = row + (size_t)c * a->unit;
}

void stage_send(struct array *a, struct array_io *io, const struct segment *s, int slot, uint8_t *blocks)
{
    uint8_t *columns[ARRAY_MEMBERS_MAX], *parity[PARITY_MAX];
    const uint32_t fill = (uint32_t)(s->fill % a->row_bytes), bytes = fill < a->unit ? fill : a->unit,
                   stride = ARRAY_BLOCK_BYTES + a->unit;
    struct array_stage stage = {
        .number = ++a->stage_number,
        .life = s->life,
        .segment = s->index,
        .row = (uint32_t)(s->fill / a->row_bytes),
        .fill = fill,
        .bytes = bytes,
        .data = (uint8_t)a->k,
        .parity = (uint8_t)a->m,
    };
    assert(fill);
    memcpy(stage.array, a->label.array, sizeof stage.array);
    row_columns(a, s->row, columns);
    for (unsigned c = 0; c < a->k; c++) {
        const uint32_t in = column_fill(a, fill, c);
        stage.hash[c] = in ? checksum_bytes(columns[c], in) : 0;
    }
    for (unsigned j = 0; j < a->m; j++)
        parity[j] = blocks + j * stride + ARRAY_BLOCK_BYTES;
    parity_encode(&a->parity, bytes, columns, parity);
    for (unsigned j = 0; j < a->m; j++) {
        const unsigned member = unit_member(a, s->index, a->k + j);
        if (!member_lives(a, member))
            continue;
        stage.which = (uint8_t)j;
        array_stage_encode(&stage, blocks + j * stride);
        io_send(io, member, BLKDEV_WRITE, BLKDEV_FUA, slot_at(a, slot), ARRAY_BLOCK_BYTES + bytes,
                blocks + j * stride);
    }
}

/* ---- sending */

static uint8_t *slice_of(const struct append *op, unsigned unit)
{
    return op->bounce + (size_t)unit * op->io.a->slice_bytes;
}

/* From the segment's start on: where byte `at` of a column is. */
static uint64_t column_place(const struct array *a, unsigned c, uint32_t at)
{
    return (uint64_t)(at / a->unit) * a->row_bytes + c * a->unit + at % a->unit;
}

static void send_data(struct append *op, const uint8_t *from, uint64_t begin)
{
    struct array *a = op->io.a;
    const uint32_t segment = op->segment->index;
    for (unsigned c = 0; c < a->k; c++) {
        const uint32_t x = column_fill(a, begin, c), y = column_fill(a, op->end, c);
        const unsigned member = unit_member(a, segment, c);
        if (x == y || !member_lives(a, member))
            continue;
        uint8_t *buf = slice_of(op, c);
        if (x / a->unit == (y - 1) / a->unit) {
            buf = (uint8_t *)(uintptr_t)from + (column_place(a, c, x) - begin);
        } else {
            for (uint32_t at = x, bytes; at < y; at += bytes) {
                bytes = a->unit - at % a->unit < y - at ? a->unit - at % a->unit : y - at;
                memcpy(buf + (at - x), from + (column_place(a, c, at) - begin), bytes);
            }
        }
        io_send(&op->io, member, BLKDEV_WRITE, op->fua ? BLKDEV_FUA : 0, part_at(a, segment) + x, y - x, buf);
    }
}

/* What is not written of the row in memory, which gets its parity now: zeroes, as the parity has it. */
static void send_padding(struct append *op)
{
    struct array *a = op->io.a;
    const struct segment *s = op->segment;
    const uint64_t end = (op->end + a->row_bytes - 1) / a->row_bytes * a->row_bytes;
    for (unsigned c = 0; c < a->k; c++) {
        const uint32_t x = column_fill(a, op->end, c), y = column_fill(a, end, c);
        const unsigned member = unit_member(a, s->index, c);
        if (x != y && member_lives(a, member))
            io_send(&op->io, member, BLKDEV_WRITE, op->fua ? BLKDEV_FUA : 0, part_at(a, s->index) + x, y - x,
                    s->row + (size_t)c * a->unit + x % a->unit);
    }
}

static void encode_row(struct append *op, uint8_t *row, uint32_t nth)
{
    struct array *a = op->io.a;
    uint8_t *columns[ARRAY_MEMBERS_MAX], *parity[PARITY_MAX];
    row_columns(a, row, columns);
    for (unsigned j = 0; j < a->m; j++)
        parity[j] = slice_of(op, a->k + j) + (size_t)nth * a->unit;
    parity_encode(&a->parity, a->unit, columns, parity);
}

static void send_parity(struct append *op, uint32_t first, uint32_t rows)
{
    struct array *a = op->io.a;
    const uint32_t segment = op->segment->index;
    for (unsigned j = 0; j < a->m && rows; j++) {
        const unsigned member = unit_member(a, segment, a->k + j);
        if (member_lives(a, member))
            io_send(&op->io, member, BLKDEV_WRITE, op->fua ? BLKDEV_FUA : 0,
                    part_at(a, segment) + (uint64_t)first * a->unit, rows * a->unit, slice_of(op, a->k + j));
    }
}

/* Encodes the rows that the write fills, and keeps the one that it leaves begun. Returns how many are full.
 */
static uint32_t fill_rows(struct append *op, const uint8_t *from, uint64_t begin)
{
    struct array *a = op->io.a;
    struct segment *s = op->segment;
    const uint64_t w = a->row_bytes, end = op->end, first = begin / w;
    const uint64_t full = end == a->segment_bytes ? a->rows : end / w;
    for (uint64_t r = first; r * w < end; r++) {
        const uint64_t at = r * w, x = at < begin ? begin : at, y = at + w < end ? at + w : end;
        uint8_t *row = (uint8_t *)(uintptr_t)from + (x - begin);
        if (x != at || y != at + w) {
            row = s->row;
            if (x == at)
                memset(row, 0, w);
            memcpy(row + (x - at), from + (x - begin), y - x);
        }
        if (r < full)
            encode_row(op, row, (uint32_t)(r - first));
    }
    return (uint32_t)(full > first ? full - first : 0);
}

static struct append *take_append(struct array *a, struct segment *s, struct blkdev_req *outer)
{
    struct append *op = container_of(list_pop_front(&a->free_appends), struct append, link);
    op->outer = outer;
    op->segment = s;
    op->slot = NO_SLOT;
    op->sent = op->flushed = false;
    list_push_back(&s->appends, &op->link);
    s->used_at = ++a->clock;
    return op;
}

static void end_sending(struct append *op)
{
    if (op->io.used == 0)
        (void)array_tick(op->io.a, &op->io);
    (void)io_end(&op->io);
}

static struct segment *segment_begin(struct array *a, uint32_t index)
{
    struct segment *idle = NULL;
    for (unsigned i = 0; i < ARRAY_OPEN_SEGMENTS; i++) {
        struct segment *s = &a->segment[i];
        if (!s->used) {
            const struct unsettled *u = unsettled_find(a, index);
            assert(u && u->open && "a segment is erased before it is written");
            s->used = true;
            s->sealed = s->wanted = s->restage = s->unflushed = s->covering = s->flushing = false;
            s->held = 0;
            s->index = index;
            s->life = u->life;
            s->fill = s->done = s->staged = 0;
            return s;
        }
        if (!s->held && list_empty(&s->appends) && (!idle || s->used_at < idle->used_at))
            idle = s;
    }
    /* Too many are open: what was not appended to for the longest time will not be any more. */
    if (idle)
        (void)segment_finish(idle);
    return NULL;
}

/* False: not now. */
static bool append_start(struct array *a, struct blkdev_req *req)
{
    const uint32_t index = (uint32_t)(req->offset / a->segment_bytes);
    const uint64_t at = req->offset % a->segment_bytes, end = at + req->length;
    struct segment *s = segment_find(a, index);
    if (list_empty(&a->free_appends) || (s && (s->held || s->wanted)))
        return false;
    if (!s && at) {
        array_answer(a, req, PS_ELIMIT);
        return true;
    }
    const bool fua = req->flags & BLKDEV_FUA;
    const int slot =
        fua && end % a->row_bytes && end != a->segment_bytes ? slot_take(a, ARRAY_OPEN_SEGMENTS) : NO_SLOT;
    if (slot == NO_SLOT && fua && end % a->row_bytes && end != a->segment_bytes) {
        a->flush_wanted = true;
        return false;
    }
    if (!s)
        s = segment_begin(a, index);
    if (!s) {
        if (slot != NO_SLOT)
            slot_free(a, slot);
        return false;
    }
    assert(at == s->fill && "a segment is appended to");
    struct append *op = take_append(a, s, req);
    op->begin = at;
    op->end = s->fill = end;
    op->fua = fua;
    op->slot = slot;
    io_begin(&op->io);
    const uint32_t rows = fill_rows(op, req->buf, at);
    send_data(op, req->buf, at);
    if (end == a->segment_bytes && end % a->row_bytes)
        send_padding(op);
    send_parity(op, (uint32_t)(at / a->row_bytes), rows);
    if (slot != NO_SLOT)
        stage_send(a, &op->io, s, slot, slice_of(op, a->n));
    end_sending(op);
    return true;
}

bool segment_finish(struct segment *s)
{
    struct array *a = s->a;
    assert(s->used && !s->held && list_empty(&s->appends));
    if (s->fill % a->row_bytes == 0) {
        segment_gone(s);
        return true;
    }
    if (list_empty(&a->free_appends))
        return false;
    s->held = HOLD_FINISH;
    struct append *op = take_append(a, s, NULL);
    op->begin = op->end = s->fill;
    op->fua = true;
    io_begin(&op->io);
    encode_row(op, s->row, 0);
    send_padding(op);
    send_parity(op, (uint32_t)(s->fill / a->row_bytes), 1);
    end_sending(op);
    return true;
}

/* ---- segments whose end is known */

static bool waits_for(const struct array *a, uint32_t index)
{
    for (const struct blkdev_req *r = a->waiting.head; r; r = r->next)
        if (r->offset / a->segment_bytes == index)
            return true;
    return false;
}

static void finish_sealed(struct array *a)
{
    for (unsigned i = 0; i < ARRAY_OPEN_SEGMENTS; i++) {
        struct segment *s = &a->segment[i];
        if (s->used && s->sealed && s->fill >= s->seal && !s->held && !s->wanted && list_empty(&s->appends) &&
            !waits_for(a, s->index))
            (void)segment_finish(s);
    }
}

void append_seal(struct array *a, uint32_t index, uint32_t length)
{
    struct segment *s = segment_find(a, index);
    if (!s || a->failed)
        return;
    s->sealed = true;
    s->seal = length;
    finish_sealed(a);
}

/* ---- completing */

void append_done(struct array_io *io)
{
    struct append *op = container_of(io, struct append, io);
    op->sent = true;
    array_lose_list(io->a, io, "a write failed");
    if (op->flushed)
        op->segment->unflushed = op->segment->covering = false;
    segment_deliver(op->segment);
}

void segment_gone(struct segment *s)
{
    struct unsettled *u = unsettled_find(s->a, s->index);
    assert(u && s->slot == NO_SLOT);
    u->open = false;
    u->unflushed = s->unflushed;
    u->covering = s->covering;
    s->used = s->flushing = false;
    s->held = 0;
}

/* A write that is to be durable stands on what was written without that before it. */
static void flush_before(struct append *op)
{
    struct array *a = op->io.a;
    op->sent = false;
    op->flushed = true;
    io_begin(&op->io);
    for (unsigned i = 0; i < a->n; i++)
        if (member_lives(a, i))
            io_send(&op->io, i, BLKDEV_FLUSH, 0, 0, 0, NULL);
    (void)io_end(&op->io);
}

static void settle_slot(struct append *op)
{
    struct segment *s = op->segment;
    const uint64_t row = s->a->row_bytes;
    if (op->slot != NO_SLOT) {
        drop_slot(s, true);
        s->slot = op->slot;
        s->staged = op->end;
    } else if (!op->outer || (s->slot != NO_SLOT && op->end / row > s->staged / row) ||
               op->end == s->a->segment_bytes) {
        drop_slot(s, op->fua && is_flushed(s));
    }
}

void segment_deliver(struct segment *s)
{
    struct array *a = s->a;
    while (s->used && !list_empty(&s->appends)) {
        struct append *op = container_of(s->appends.next, struct append, link);
        if (!op->sent || (a->label_busy && !a->failed))
            break;
        if (op->fua && !op->flushed && !is_flushed(s) && !a->failed) {
            flush_before(op);
            continue;
        }
        struct blkdev_req *outer = op->outer;
        list_remove(&op->link);
        s->done = op->end;
        settle_slot(op);
        s->unflushed |= !op->fua;
        const bool ends = !outer || op->end == a->segment_bytes;
        list_push_back(&a->free_appends, &op->link);
        if (ends)
            segment_gone(s);
        if (outer) {
            a->health.write_ops++;
            a->health.write_bytes += outer->length;
            array_answer(a, outer, a->failed ? PS_EIO : 0);
        }
    }
    flush_turn(a);
    reads_turn(a);
    const bool closing = a->closing;
    array_wake(a); /* the end of a close: its owner may have destroyed the array */
    if (!closing)
        rebuild_kick(a);
}

/* ---- what waits */

static uint32_t segment_of(const struct array *a, const struct blkdev_req *req)
{
    return (uint32_t)(req->offset / a->segment_bytes);
}

static bool is_behind(const struct array *a, const struct blkdev_req *req)
{
    for (const struct blkdev_req *r = a->waiting.head; r != req; r = r->next)
        if (segment_of(a, r) == segment_of(a, req))
            return true;
    return false;
}

static bool start(struct array *a, struct blkdev_req *req)
{
    if (!a->failed)
        return req->op == BLKDEV_ERASE ? erase_start(a, req) : append_start(a, req);
    array_answer(a, req, PS_EIO);
    return true;
}

void array_wake(struct array *a)
{
    a->wake_again = true;
    if (a->waking)
        return;
    a->waking = true;
    while (a->wake_again) {
        a->wake_again = false;
        for (struct blkdev_req **at = &a->waiting.head; *at;) {
            struct blkdev_req *req = *at, *next = req->next;
            if (is_behind(a, req)) {
                at = &req->next;
                continue;
            }
            /* Out before it starts: the member requests of others may end meanwhile, and add more. */
            *at = next;
            if (!next)
                a->waiting.tail = at;
            if (start(a, req)) {
                a->wake_again = true;
                break;
            }
            req->next = *at;
            if (!*at)
                a->waiting.tail = &req->next;
            *at = req;
            at = &req->next;
        }
    }
    a->waking = false;
    if (!a->failed)
        finish_sealed(a);
    if (a->flush_wanted)
        flush_turn(a);
    close_turn(a);
}

int append_submit(struct array *a, struct blkdev_req *req)
{
    const uint64_t at = req->offset % a->segment_bytes;
    assert(at + req->length <= a->segment_bytes && "a write stays in its segment");
    bool known = at == 0 || segment_find(a, segment_of(a, req));
    for (const struct blkdev_req *r = a->waiting.head; r && !known; r = r->next)
        known = segment_of(a, r) == segment_of(a, req);
    if (!known)
        return PS_ELIMIT;
    waiting_push(&a->waiting, req);
    array_wake(a);
    return 0;
}
