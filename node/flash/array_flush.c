/* Flush, erase, and the list of segments that are not settled.
 *
 * A segment gets into the list, durably, before its erase is answered, so before anything is written to it;
 * it leaves it some time after its last row and the parity of that are durable. After a power cut the rows of
 * those in the list, and of no others, are looked at (array_resync.c). */
#include <string.h>

#include "node/flash/array_impl.h"

enum {
    LIST_LONG = 32, /* more than that are flushed: resync reads them all */
};

/* ---- flush
 *
 * What completed before is to be durable: a flush of all members that have something to flush, and the parity
 * of rows that are begun, each when nothing is on its way to its segment. */

static bool is_begun(const struct array *a, const struct segment *s)
{
    const bool begun = s->fill % a->row_bytes || s->done % a->row_bytes;
    return s->used && begun && (s->slot == NO_SLOT || s->staged != s->fill || s->restage);
}

static bool all_quiet(const struct array *a)
{
    for (unsigned i = 0; i < ARRAY_OPEN_SEGMENTS; i++)
        if (a->segment[i].used && a->segment[i].flushing && !list_empty(&a->segment[i].appends))
            return false;
    return true;
}

static void flush_send(struct array *a)
{
    const size_t stage = (size_t)a->m * (ARRAY_BLOCK_BYTES + a->unit);
    a->flush_sent = true;
    a->flushes_begun++;
    io_begin(&a->flush_io);
    for (unsigned i = 0; i < ARRAY_STAGE_SLOTS; i++)
        if (a->slot[i] == SLOT_DROPPED)
            a->slot[i] = SLOT_FLUSHING;
    for (unsigned i = 0; i < ARRAY_OPEN_SEGMENTS; i++) {
        struct segment *s = &a->segment[i];
        if (!s->used)
            continue;
        s->covering |= s->unflushed;
        s->unflushed = false;
        if (!s->flushing || s->fill % a->row_bytes == 0)
            continue;
        s->next_slot = slot_take(a, 0);
        assert(s->next_slot != NO_SLOT && "appends leave one for each open segment");
        s->restage = false;
        stage_send(a, &a->flush_io, s, s->next_slot, a->stage_blocks + i * stage);
    }
    for (unsigned i = 0; i < a->unsettled_count; i++) {
        a->unsettled[i].covering |= a->unsettled[i].unflushed;
        a->unsettled[i].unflushed = false;
    }
    for (unsigned i = 0; i < a->n; i++) {
        if (!a->member[i].dirty || !member_lives(a, i))
            continue;
        a->member[i].dirty = false;
        io_send(&a->flush_io, i, BLKDEV_FLUSH, 0, 0, 0, NULL);
    }
    if (a->flush_io.used == 0)
        (void)array_tick(a, &a->flush_io);
    (void)io_end(&a->flush_io);
}

static void flush_end(struct array *a)
{
    for (unsigned i = 0; i < ARRAY_OPEN_SEGMENTS; i++) {
        struct segment *s = &a->segment[i];
        if (!s->used)
            continue;
        s->covering = false;
        if (!s->flushing)
            continue;
        if (s->next_slot != NO_SLOT) {
            if (s->slot != NO_SLOT)
                slot_free(a, s->slot);
            s->slot = s->next_slot;
            s->next_slot = NO_SLOT;
            s->staged = s->fill;
        }
        s->flushing = false;
        s->held &= (uint8_t)~HOLD_FLUSH;
    }
    for (unsigned i = 0; i < a->unsettled_count; i++)
        a->unsettled[i].covering = false;
    for (unsigned i = 0; i < ARRAY_STAGE_SLOTS; i++)
        if (a->slot[i] == SLOT_FLUSHING)
            a->slot[i] = SLOT_FREE;
    struct blkdev_req *outer = a->flush_outer;
    a->flush_outer = NULL;
    a->flush_busy = a->flush_sent = a->flush_ended = false;
    a->flushes_ended = a->flushes_begun;
    if (outer)
        array_answer(a, outer, a->failed ? PS_EIO : 0);
}

void flush_done(struct array_io *io)
{
    struct array *a = io->a;
    a->flush_ended = true;
    array_lose_list(a, io, "a flush failed");
    flush_turn(a);
    const bool closing = a->closing;
    array_wake(a); /* the end of a close: its owner may have destroyed the array */
    if (!closing)
        rebuild_kick(a);
}

void flush_turn(struct array *a)
{
    if (a->flush_busy && a->flush_ended) {
        if (a->label_busy && !a->failed)
            return;
        flush_end(a);
    }
    if (!a->flush_busy && (a->flushes.head || a->flush_wanted)) {
        a->flush_busy = true;
        a->flush_wanted = false;
        a->flush_outer = waiting_pop(&a->flushes);
        for (unsigned i = 0; i < ARRAY_OPEN_SEGMENTS; i++) {
            struct segment *s = &a->segment[i];
            if (is_begun(a, s)) {
                s->flushing = true;
                s->held |= HOLD_FLUSH;
            }
        }
    }
    if (a->flush_busy && !a->flush_sent && all_quiet(a))
        flush_send(a);
}

void flush_submit(struct array *a, struct blkdev_req *req)
{
    waiting_push(&a->flushes, req);
    flush_turn(a);
}

/* ---- the list */

struct unsettled *unsettled_find(struct array *a, uint32_t segment)
{
    for (unsigned i = 0; i < a->unsettled_count; i++)
        if (a->unsettled[i].segment == segment)
            return &a->unsettled[i];
    return NULL;
}

static void forget_settled(struct array *a)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < a->unsettled_count; i++) {
        const struct unsettled u = a->unsettled[i];
        if (u.open || u.unflushed || u.covering)
            a->unsettled[kept++] = u;
    }
    a->unsettled_count = kept;
}

void list_write(struct array *a)
{
    if (a->list_busy || !a->list_wanted)
        return;
    a->list_wanted = false;
    a->list_busy = true;
    if (!a->closing)
        forget_settled(a);
    struct array_unsettled list = {.number = ++a->list_number, .count = a->closing ? 0 : a->unsettled_count};
    memcpy(list.array, a->label.array, sizeof list.array);
    a->list_sent = list.count;
    for (unsigned i = 0; i < list.count; i++) {
        list.entry[i].segment = a->unsettled[i].segment;
        list.entry[i].life = a->unsettled[i].life;
    }
    array_unsettled_encode(&list, a->list_block);
    io_begin(&a->list_io);
    for (unsigned i = 0; i < a->n; i++)
        if (member_lives(a, i))
            io_send(&a->list_io, i, BLKDEV_WRITE, BLKDEV_FUA,
                    ARRAY_UNSETTLED_AT + list.number % 2 * ARRAY_BLOCK_BYTES, ARRAY_BLOCK_BYTES,
                    a->list_block);
    (void)io_end(&a->list_io);
}

/* ---- erase */

static uint32_t first_of(const struct array *a, const struct blkdev_req *req)
{
    return (uint32_t)(req->offset / a->segment_bytes);
}

static uint32_t count_of(const struct array *a, const struct blkdev_req *req)
{
    return req->length / a->segment_bytes;
}

bool erase_start(struct array *a, struct blkdev_req *req)
{
    const uint32_t first = first_of(a, req), count = count_of(a, req);
    if (list_empty(&a->free_erases))
        return false;
    for (uint32_t i = first; i < first + count; i++) {
        const struct segment *s = segment_find(a, i);
        if ((s && (s->held || !list_empty(&s->appends))) || rebuild_holds(a, i))
            return false;
    }
    if (!a->list_busy)
        forget_settled(a);
    if (a->unsettled_count > LIST_LONG && !a->flush_busy) {
        a->flush_wanted = true;
        flush_turn(a);
    }
    if (a->unsettled_count + count > ARRAY_UNSETTLED_MAX) {
        if (a->flush_busy)
            return false;
        array_answer(a, req, PS_ELIMIT);
        return true;
    }
    for (uint32_t i = first; i < first + count; i++) {
        struct segment *s = segment_find(a, i);
        if (s && s->slot != NO_SLOT) {
            slot_free(a, s->slot);
            s->slot = NO_SLOT;
        }
        if (s)
            s->used = false;
        struct unsettled *u = unsettled_find(a, i);
        if (!u)
            u = &a->unsettled[a->unsettled_count++];
        *u = (struct unsettled){.segment = i, .life = a->list_number + 1, .open = true};
    }
    struct erase *e = container_of(list_pop_front(&a->free_erases), struct erase, link);
    e->outer = req;
    e->number = a->list_number + 1;
    list_push_back(&a->erases, &e->link);
    a->list_wanted = true;
    list_write(a);
    return true;
}

/* Members that deallocate are told; those that don't care say so at once. */
static void erase_members(struct array *a, struct erase *e)
{
    const uint32_t first = first_of(a, e->outer), count = count_of(a, e->outer);
    io_begin(&e->io);
    for (unsigned i = 0; i < a->n; i++)
        if (member_lives(a, i))
            io_send(&e->io, i, BLKDEV_ERASE, 0, part_at(a, first), (uint32_t)(count * a->part_bytes), NULL);
    (void)io_end(&e->io);
}

void list_done(struct array_io *io)
{
    struct array *a = io->a;
    a->list_busy = false;
    a->list_durable = a->list_number;
    a->list_count = a->list_sent;
    array_lose_list(a, io, "the list of unsettled segments cannot be written");
    list_for_each_safe(pos, tmp, &a->erases)
    {
        struct erase *e = container_of(pos, struct erase, link);
        if (e->number > a->list_durable)
            continue;
        list_remove(&e->link);
        erase_members(a, e);
    }
    list_write(a);
    list_turn(a);
    rebuild_kick(a);
    close_turn(a);
}

void list_turn(struct array *a)
{
    void (*settled)(struct array * array) = a->list_settled;
    if (!settled || a->list_busy || a->label_busy)
        return;
    a->list_settled = NULL;
    settled(a);
}

void erase_done(struct array_io *io)
{
    struct erase *e = container_of(io, struct erase, io);
    struct array *a = io->a;
    struct blkdev_req *outer = e->outer;
    /* That a member can't deallocate costs nobody anything. */
    for (uint32_t i = 0; i < count_of(a, outer); i++)
        rebuild_erased(a, first_of(a, outer) + i);
    list_push_back(&a->free_erases, &e->link);
    array_answer(a, outer, a->failed ? PS_EIO : 0);
    array_wake(a);
}

/* ---- close: finish all segments, flush, leave an empty list */

void array_close(struct array *a, array_cb cb, void *user)
{
    assert(a->open && !a->closing && !a->waiting.head && !a->flushes.head);
    a->closing = true;
    a->close_cb = cb;
    a->close_user = user;
    if (a->m)
        close_turn(a);
    else
        spread_close(a);
}

/* Whoever asked destroys the array, and its members, when it is told of the end. */
static bool is_on_its_way(const struct array *a)
{
    for (unsigned i = 0; i < a->n; i++)
        if (a->member[i].inflight)
            return true;
    return false;
}

void close_turn(struct array *a)
{
    if (!a->closing || a->close_cb == NULL || a->list_busy)
        return;
    bool busy = a->flush_busy || a->label_busy || !rebuild_rests(a) || !change_rests(a);
    for (unsigned i = 0; i < ARRAY_OPEN_SEGMENTS && !a->failed; i++) {
        struct segment *s = &a->segment[i];
        if (s->used && !s->held && list_empty(&s->appends))
            (void)segment_finish(s);
        busy |= s->used;
    }
    if (busy && !(a->failed && rebuild_rests(a) && change_rests(a)))
        return;
    if (a->failed && is_on_its_way(a))
        return;
    bool dirty = false;
    for (unsigned i = 0; i < a->n; i++)
        dirty |= member_lives(a, i) && a->member[i].dirty;
    if (dirty && !a->failed) {
        a->flush_wanted = true;
        flush_turn(a);
        return;
    }
    if (!a->failed && a->list_count) {
        a->unsettled_count = 0;
        a->list_wanted = true;
        list_write(a);
        return;
    }
    const array_cb cb = a->close_cb;
    a->close_cb = NULL;
    cb(a->close_user, a->failed ? PS_EIO : 0);
}
