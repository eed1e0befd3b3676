#include "node/flash/array.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/flash/array_impl.h"

struct array *array_of(const struct blkdev *dev)
{
    return container_of((struct blkdev *)(uintptr_t)dev, struct array, base);
}

/* ---- requests that wait */

void waiting_init(struct waiting *w)
{
    w->head = NULL;
    w->tail = &w->head;
}

void waiting_push(struct waiting *w, struct blkdev_req *req)
{
    req->next = NULL;
    *w->tail = req;
    w->tail = &req->next;
}

struct blkdev_req *waiting_pop(struct waiting *w)
{
    struct blkdev_req *req = w->head;
    if (req) {
        w->head = req->next;
        if (!w->head)
            w->tail = &w->head;
    }
    return req;
}

/* ---- requests to members */

void io_init(struct array *a, struct array_io *io, unsigned room, void (*done)(struct array_io *io))
{
    *io = (struct array_io){.a = a, .done = done, .room = room};
    io->reqs = calloc(room, sizeof *io->reqs);
    assert(io->reqs && "out of memory at start");
}

void io_free(struct array_io *io)
{
    free(io->reqs);
    io->reqs = NULL;
}

void io_begin(struct array_io *io)
{
    assert(io->pending == 0);
    io->pending = 1;
    io->used = 0;
    io->failed = 0;
}

static void member_done(struct blkdev_req *req, int status)
{
    struct member_req *mr = container_of(req, struct member_req, req);
    struct array_io *io = mr->io;
    struct member *m = &io->a->member[mr->member];
    m->inflight--;
    if (status) {
        m->errors++;
        m->read_errors += req->op == BLKDEV_READ;
        if (req->buf != io->a->block) /* array_tick asks for nothing */
            io->failed |= 1u << mr->member;
    } else if (req->op == BLKDEV_READ) {
        m->read_errors = 0;
    } else if (req->op == BLKDEV_WRITE && !(req->flags & BLKDEV_FUA)) {
        m->dirty = true;
    }
    if (--io->pending == 0)
        io->done(io);
}

void io_send(struct array_io *io, unsigned member, enum blkdev_op op, uint32_t flags, uint64_t offset,
             uint32_t bytes, void *buf)
{
    assert(io->used < io->room);
    struct member *m = &io->a->member[member];
    struct member_req *mr = &io->reqs[io->used++];
    *mr = (struct member_req){
        .req = {.op = op, .flags = flags, .offset = offset, .length = bytes, .buf = buf},
        .io = io,
        .member = (uint8_t)member,
    };
    io->pending++;
    m->inflight++;
    const int rc = blkdev_submit(m->dev, &mr->req, member_done);
    if (rc == 0)
        return;
    io->pending--;
    m->inflight--;
    m->errors++;
    io->failed |= 1u << member;
}

bool io_end(struct array_io *io)
{
    if (--io->pending)
        return false;
    io->done(io);
    return true;
}

bool array_tick(struct array *a, struct array_io *io)
{
    for (unsigned i = 0; i < a->n; i++)
        if (member_lives(a, i)) {
            io_send(io, i, BLKDEV_READ, 0, ARRAY_STAGE_AT - ARRAY_BLOCK_BYTES, ARRAY_BLOCK_BYTES, a->block);
            return true;
        }
    return false;
}

/* ---- members */

bool member_lives(const struct array *a, unsigned member)
{
    const uint8_t state = a->label.member[member].state;
    return a->member[member].dev && state != ARRAY_OUT && state != ARRAY_FREE;
}

bool member_has(const struct array *a, unsigned member, uint32_t segment)
{
    if (!member_lives(a, member))
        return false;
    if (a->label.member[member].state == ARRAY_IN)
        return true;
    const uint32_t *bits = a->member[member].synced;
    return bits && (bits[segment / 32] >> segment % 32 & 1);
}

uint32_t array_without(const struct array *a, uint32_t segment)
{
    uint32_t mask = 0;
    for (unsigned i = 0; i < a->n; i++)
        if (!member_has(a, i, segment))
            mask |= 1u << i;
    return mask;
}

unsigned array_lost(const struct array *a)
{
    unsigned lost = 0;
    for (unsigned i = 0; i < a->n; i++)
        lost += a->label.member[i].state != ARRAY_FREE &&
                (a->label.member[i].state != ARRAY_IN || !a->member[i].dev);
    return lost;
}

unsigned array_used(const struct array_label *l)
{
    unsigned used = 0;
    for (unsigned i = 0; i < l->members; i++)
        used += l->member[i].state != ARRAY_FREE;
    return used;
}

void array_event(struct array *a, const char *kind, const char *format, ...)
{
    char text[256];
    va_list args;
    if (!a->config.event)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    a->config.event(a->config.user, kind, text);
}

static const char *what_is_left(const struct array *a, char *text, size_t room)
{
    const unsigned lost = array_lost(a);
    if (lost > a->m)
        (void)snprintf(text, room, "%s",
                       a->m ? "parity does not make up for it" : "nothing here makes up for it");
    else
        (void)snprintf(text, room, "parity makes up for it, and for %u more", a->m - lost);
    return text;
}

void array_lose(struct array *a, uint32_t members, const char *why)
{
    bool news = false;
    for (unsigned i = 0; i < a->n; i++) {
        if (!(members >> i & 1) || a->label.member[i].state == ARRAY_OUT)
            continue;
        char left[80];
        a->label.member[i].state = ARRAY_OUT;
        rebuild_end(a, i);
        news = true;
        array_event(a, "device.lost", "%.80s: %s; %s", a->label.member[i].name, why,
                    what_is_left(a, left, sizeof left));
    }
    if (!news)
        return;
    if (array_lost(a) > a->m) {
        if (!a->failed)
            array_event(a, "array.failed", "%u of %u devices are lost: nothing more is written",
                        array_lost(a), array_used(&a->label));
        a->failed = true;
    } else {
        array_write_labels(a);
    }
    rebuild_kick(a);
}

void array_lose_list(struct array *a, const struct array_io *io, const char *why)
{
    if (io->failed)
        array_lose(a, io->failed, why);
}

/* ---- labels
 *
 * From the moment a member is out until the others say so durably nothing is answered: a power cut in
 * between would find it in, without its part of what was written since. */

static void labels_done(struct array_io *io);

static void labels_send(struct array *a)
{
    a->label_wanted = false;
    a->label_busy = true;
    a->label.number++;
    io_begin(&a->label_io);
    for (unsigned i = 0; i < a->n; i++) {
        if (!member_lives(a, i))
            continue;
        a->label.self = (uint8_t)i;
        uint8_t *block = a->label_blocks + (size_t)i * ARRAY_BLOCK_BYTES;
        array_label_encode(&a->label, block);
        io_send(&a->label_io, i, BLKDEV_WRITE, BLKDEV_FUA, label_at(a, i, a->label.number), ARRAY_BLOCK_BYTES,
                block);
    }
    (void)io_end(&a->label_io);
}

static void go_on(struct array *a)
{
    for (struct blkdev_req *req; !a->label_busy && (req = waiting_pop(&a->held));)
        req->cb(req, a->failed && req->op != BLKDEV_READ ? PS_EIO : (int)(int64_t)req->priv[0]);
    if (!a->m) {
        if (a->closing)
            spread_close(a);
        return;
    }
    const bool waking = a->waking;
    a->waking = true; /* the end of a close comes behind the last of them */
    for (unsigned i = 0; i < ARRAY_OPEN_SEGMENTS; i++)
        if (a->segment[i].used)
            segment_deliver(&a->segment[i]);
    a->waking = waking;
    list_turn(a);
    flush_turn(a);
    const bool closing = a->closing;
    array_wake(a); /* the end of a close: its owner may have destroyed the array */
    if (!closing)
        rebuild_kick(a);
}

static void labels_done(struct array_io *io)
{
    struct array *a = io->a;
    a->label_busy = false;
    array_lose_list(a, io, "its label cannot be written");
    if (a->label_busy)
        return;
    if (a->label_wanted && !a->failed) {
        labels_send(a);
        return;
    }
    void (*done)(struct array * array, int status) = a->label_done;
    a->label_done = NULL;
    if (done)
        done(a, a->failed ? PS_EIO : 0);
    go_on(a);
}

void array_write_labels(struct array *a)
{
    a->label_wanted = true;
    if (!a->label_busy)
        labels_send(a);
}

void array_answer(struct array *a, struct blkdev_req *req, int status)
{
    a->health.errors += status != 0;
    if (a->label_busy) {
        req->priv[0] = (uint64_t)(int64_t)status;
        waiting_push(&a->held, req);
        return;
    }
    req->cb(req, status);
}

/* ---- the device */

static int coded_submit(struct blkdev *dev, struct blkdev_req *req)
{
    struct array *a = array_of(dev);
    assert(a->open && !a->closing);
    if (req->op == BLKDEV_READ)
        return read_submit(a, req);
    if (a->failed)
        return PS_EIO;
    switch (req->op) {
    case BLKDEV_WRITE:
        return append_submit(a, req);
    case BLKDEV_FLUSH:
        a->health.flush_ops++;
        flush_submit(a, req);
        return 0;
    case BLKDEV_ERASE:
        a->health.erase_ops++;
        waiting_push(&a->waiting, req);
        array_wake(a);
        return 0;
    case BLKDEV_READ:
        break;
    }
    return PS_EINVAL;
}

static void coded_health(const struct blkdev *dev, struct blkdev_health *out)
{
    const struct array *a = array_of(dev);
    *out = a->health;
    out->failed = a->failed;
}

static void coded_destroy(struct blkdev *dev)
{
    struct array *a = array_of(dev);
    rebuild_free(a);
    change_free(a);
    resync_free(a);
    array_opening_free(a);
    for (unsigned i = 0; i < ARRAY_APPENDS; i++) {
        io_free(&a->append[i].io);
        free(a->append[i].bounce);
    }
    for (unsigned i = 0; i < ARRAY_READS; i++) {
        io_free(&a->read[i].io);
        free(a->read[i].bounce);
    }
    for (unsigned i = 0; i < ARRAY_ERASES; i++)
        io_free(&a->erase[i].io);
    for (unsigned i = 0; i < ARRAY_OPEN_SEGMENTS; i++)
        free(a->segment[i].row);
    for (unsigned i = 0; i < ARRAY_MEMBERS_MAX; i++)
        free(a->member[i].synced);
    io_free(&a->label_io);
    io_free(&a->list_io);
    io_free(&a->flush_io);
    free(a->label_blocks);
    free(a->list_block);
    free(a->stage_blocks);
    free(a->block);
    free(a->places);
    free(a);
}

static void coded_finish(struct blkdev *dev, uint64_t offset, uint32_t length)
{
    struct array *a = array_of(dev);
    append_seal(a, (uint32_t)(offset / a->segment_bytes), length);
}

static const struct blkdev_ops coded_ops = {
    .submit = coded_submit, .health = coded_health, .destroy = coded_destroy, .finish = coded_finish};

void array_destroy(struct array *a)
{
    coded_destroy(&a->base);
}

static void *room_for(size_t bytes)
{
    return aligned_alloc(BLKDEV_ALIGN, (bytes + BLKDEV_ALIGN - 1) / BLKDEV_ALIGN * BLKDEV_ALIGN);
}

void array_init(struct array *a)
{
    a->leaving = ARRAY_NOBODY;
    list_init(&a->free_appends);
    list_init(&a->free_erases);
    list_init(&a->erases);
    list_init(&a->free_reads);
    list_init(&a->later_reads);
    waiting_init(&a->held);
    waiting_init(&a->waiting);
    waiting_init(&a->flushes);
    waiting_init(&a->reads);
    io_init(a, &a->label_io, ARRAY_MEMBERS_MAX, labels_done);
    a->block = room_for(ARRAY_BLOCK_BYTES);
    a->label_blocks = room_for((size_t)ARRAY_MEMBERS_MAX * ARRAY_BLOCK_BYTES);
    assert(a->block && a->label_blocks && "out of memory at start");
}

static int make_coded_room(struct array *a)
{
    const size_t stage = (size_t)a->m * (ARRAY_BLOCK_BYTES + a->unit);
    parity_init(&a->parity, a->k, a->m);
    a->slice_bytes = (ARRAY_IO_BYTES / a->row_bytes + 2) * a->unit;
    a->stage_blocks = room_for(stage * ARRAY_OPEN_SEGMENTS);
    a->list_block = room_for(ARRAY_BLOCK_BYTES);
    if (!a->stage_blocks || !a->list_block)
        return PS_ENOMEM;
    for (unsigned i = 0; i < ARRAY_OPEN_SEGMENTS; i++) {
        struct segment *s = &a->segment[i];
        *s = (struct segment){.a = a, .slot = NO_SLOT, .next_slot = NO_SLOT, .row = room_for(a->row_bytes)};
        list_init(&s->appends);
        if (!s->row)
            return PS_ENOMEM;
    }
    for (unsigned i = 0; i < ARRAY_APPENDS; i++) {
        struct append *op = &a->append[i];
        io_init(a, &op->io, 2 * ARRAY_MEMBERS_MAX, append_done);
        op->bounce = room_for((size_t)a->n * a->slice_bytes + stage);
        list_push_back(&a->free_appends, &op->link);
        if (!op->bounce)
            return PS_ENOMEM;
    }
    const unsigned reads =
        ARRAY_IO_BYTES / a->unit + 2 + (ARRAY_IO_BYTES / a->row_bytes + 2) * a->m + 2 * a->k + 1;
    for (unsigned i = 0; i < ARRAY_READS; i++) {
        io_init(a, &a->read[i].io, reads, read_done);
        list_push_back(&a->free_reads, &a->read[i].link);
    }
    for (unsigned i = 0; i < ARRAY_ERASES; i++) {
        io_init(a, &a->erase[i].io, ARRAY_MEMBERS_MAX, erase_done);
        list_push_back(&a->free_erases, &a->erase[i].link);
    }
    io_init(a, &a->list_io, ARRAY_MEMBERS_MAX, list_done);
    io_init(a, &a->flush_io, ARRAY_MEMBERS_MAX + 2 * ARRAY_OPEN_SEGMENTS, flush_done);
    return 0;
}

int array_make_room(struct array *a)
{
    const struct array_label *l = &a->label;
    a->n = l->members;
    a->m = l->parity;
    a->k = a->n - a->m;
    a->unit = l->unit_bytes;
    a->segment_bytes = l->segment_bytes;
    a->row_bytes = a->k * a->unit;
    a->rows = (a->segment_bytes + a->row_bytes - 1) / a->row_bytes;
    a->part_bytes = a->m ? (uint64_t)a->rows * a->unit : a->segment_bytes;
    int rc = 0;
    if (a->m) {
        a->segments = UINT32_MAX;
        for (unsigned i = 0; i < a->n; i++)
            if (l->member[i].segments < a->segments)
                a->segments = l->member[i].segments;
        rc = make_coded_room(a);
    } else {
        rc = spread_make_room(a);
    }
    a->base.ops = a->m ? &coded_ops : &array_spread_ops;
    array_set_geometry(a);
    return rc;
}

void array_set_geometry(struct array *a)
{
    const unsigned used = array_used(&a->label);
    a->base.geometry = (struct blkdev_geometry){
        .size_bytes = (uint64_t)a->segments * a->segment_bytes,
        .read_unit = ARRAY_BLOCK_BYTES,
        .write_unit = ARRAY_BLOCK_BYTES,
        .erase_bytes = a->segment_bytes,
        .max_io_bytes = ARRAY_IO_BYTES,
        .zoned = a->m != 0,
        .ways = (uint8_t)array_ways(a),
    };
    (void)snprintf(a->base.name, sizeof a->base.name, "array of %u device%s", used, used == 1 ? "" : "s");
}

struct blkdev *array_device(struct array *a)
{
    assert(a->open);
    return &a->base;
}

bool array_holds(const struct array *a, const struct blkdev *dev)
{
    for (unsigned i = 0; i < a->n; i++)
        if (a->member[i].dev == dev && dev)
            return (a->m == 0 && a->label.member[i].state != ARRAY_FREE) || member_lives(a, i) ||
                   a->leaving == i || a->member[i].inflight;
    return false;
}

void array_forget(struct array *a, const struct blkdev *dev)
{
    for (unsigned i = 0; i < a->n; i++)
        if (a->member[i].dev == dev) {
            assert(!array_holds(a, dev));
            a->member[i].dev = NULL;
        }
}

uint64_t array_turn(struct array *a, uint64_t now_ns)
{
    return a->open && a->m ? rebuild_turn(a, now_ns) : UINT64_MAX;
}

void array_look(const struct array *a, struct array_info *out)
{
    *out = (struct array_info){
        .data = a->k,
        .parity = a->m,
        .lost = array_lost(a),
        .failed = a->failed,
        .restored_reads = a->restored_reads,
        .unsettled = a->unsettled_found,
        .resynced_rows = a->resynced_rows,
    };
    memcpy(out->array, a->label.array, sizeof out->array);
    for (unsigned i = 0; i < a->n; i++) {
        const struct array_member_label *l = &a->label.member[i];
        struct array_member_info *info = &out->member[out->members];
        if (l->state == ARRAY_FREE)
            continue;
        out->members++;
        memcpy(info->name, l->name, sizeof info->name);
        info->state = l->state;
        info->dev = a->member[i].dev;
        info->size_bytes = info->dev ? info->dev->geometry.size_bytes : 0;
        info->errors = a->member[i].errors;
        info->leaving = a->leaving == i;
        info->rebuilt_percent =
            l->state == ARRAY_IN ? 100 : (uint32_t)((uint64_t)l->rebuilt * 100 / a->segments);
    }
}
