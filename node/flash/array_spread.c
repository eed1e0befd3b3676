/* Without parity: segment after segment in turn over the members, each as long as it has room. What fails on
 * a member fails for the caller, and a member that fails to write ends all writing, as a single device would.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/flash/array_impl.h"

#define ABSENT (1u << 31) /* among those that failed: nobody has that segment */

static struct place_of place(const struct array_label *l, unsigned member, uint32_t part)
{
    const struct array_member_label *m = &l->member[member];
    return m->state != ARRAY_FREE && part < m->held ? (struct place_of){(uint8_t)member, part}
                                                    : (struct place_of){ARRAY_NOBODY, 0};
}

struct place_of *spread_places(const struct array_label *l)
{
    struct place_of *places = calloc(array_label_segments(l), sizeof *places);
    uint64_t in_turn = 0, at = 0;
    for (unsigned i = 0; i < l->members; i++)
        in_turn += l->member[i].behind ? 0 : l->member[i].segments;
    for (uint32_t part = 0; places && at < in_turn; part++)
        for (unsigned i = 0; i < l->members; i++)
            if (!l->member[i].behind && part < l->member[i].segments)
                places[at++] = place(l, i, part);
    for (unsigned i = 0; places && i < l->members; i++)
        for (uint32_t part = 0; l->member[i].behind && part < l->member[i].segments; part++)
            places[l->member[i].first + part] = place(l, i, part);
    return places;
}

/* Taken out while a flush was on its way there: nothing that is asked for lies there. */
static uint32_t taken_out(const struct array *a)
{
    uint32_t mask = 0;
    for (unsigned i = 0; i < a->n; i++)
        if (a->label.member[i].state == ARRAY_FREE)
            mask |= 1u << i;
    return mask;
}

static void spread_done(struct array_io *io)
{
    struct read *r = container_of(io, struct read, io);
    struct array *a = io->a;
    struct blkdev_req *outer = r->outer;
    if (outer->op == BLKDEV_FLUSH)
        io->failed &= ~taken_out(a);
    if (outer->op != BLKDEV_READ)
        array_lose_list(a, io, "a write failed");
    for (unsigned i = 0; i < io->used && outer->op == BLKDEV_FLUSH; i++)
        if (io->reqs[i].req.op == BLKDEV_FLUSH)
            a->member[io->reqs[i].member].flushing--;
    const int status = io->failed ? PS_EIO : 0;
    list_push_back(&a->free_reads, &r->link);
    a->health.errors += status != 0;
    outer->cb(outer, status);
    reads_turn_spread(a);
}

int spread_make_room(struct array *a)
{
    int rc = 0;
    a->segments = array_label_segments(&a->label);
    a->places = spread_places(&a->label);
    if (!a->places)
        rc = PS_ENOMEM;
    for (unsigned i = 0; i < ARRAY_READS && rc == 0; i++) {
        io_init(a, &a->read[i].io, ARRAY_MEMBERS_MAX, spread_done);
        list_push_back(&a->free_reads, &a->read[i].link);
    }
    return rc;
}

static void count(struct array *a, const struct blkdev_req *req)
{
    struct blkdev_health *h = &a->health;
    h->read_ops += req->op == BLKDEV_READ;
    h->read_bytes += req->op == BLKDEV_READ ? req->length : 0;
    h->write_ops += req->op == BLKDEV_WRITE;
    h->write_bytes += req->op == BLKDEV_WRITE ? req->length : 0;
    h->flush_ops += req->op == BLKDEV_FLUSH;
    h->erase_ops += req->op == BLKDEV_ERASE;
}

static uint64_t place_at(const struct array *a, const struct place_of *p)
{
    return (a->label.member[p->member].bare ? 0 : ARRAY_HEADER_BYTES) + (uint64_t)p->part * a->segment_bytes;
}

static void send_pieces(struct array *a, struct array_io *io, const struct blkdev_req *req)
{
    for (uint32_t done = 0, bytes; done < req->length; done += bytes) {
        const uint64_t offset = req->offset + done, in = offset % a->segment_bytes;
        const struct place_of *p = &a->places[offset / a->segment_bytes];
        const uint64_t room = a->segment_bytes - in;
        bytes = req->length - done < room ? req->length - done : (uint32_t)room;
        if (p->member == ARRAY_NOBODY)
            io->failed |= ABSENT;
        else
            io_send(io, p->member, req->op, req->flags, place_at(a, p) + in, bytes,
                    req->buf ? (uint8_t *)req->buf + done : NULL);
    }
    if (io->used == 0)
        (void)array_tick(a, io);
}

static void spread_start(struct array *a, struct blkdev_req *req)
{
    struct read *r = container_of(list_pop_front(&a->free_reads), struct read, link);
    r->outer = req;
    count(a, req);
    io_begin(&r->io);
    if (req->op == BLKDEV_FLUSH) {
        /* Another flush that is under way may cover what this one has to, and has not ended. What was on
         * its way to a bare member when it was alone is not known here. */
        for (unsigned i = 0; i < a->n; i++)
            if (member_lives(a, i) &&
                (a->member[i].dirty || a->member[i].flushing || a->label.member[i].bare)) {
                a->member[i].dirty = false;
                a->member[i].flushing++;
                io_send(&r->io, i, BLKDEV_FLUSH, 0, 0, 0, NULL);
            }
        if (r->io.used == 0)
            (void)array_tick(a, &r->io);
    } else {
        send_pieces(a, &r->io, req);
    }
    (void)io_end(&r->io);
}

void reads_turn_spread(struct array *a)
{
    while (a->reads.head && !list_empty(&a->free_reads))
        spread_start(a, waiting_pop(&a->reads));
}

static int spread_submit(struct blkdev *dev, struct blkdev_req *req)
{
    struct array *a = array_of(dev);
    assert(a->open && !a->closing);
    if (a->failed && req->op != BLKDEV_READ)
        return PS_EIO;
    if (req->length > (uint64_t)(ARRAY_MEMBERS_MAX - 1) * a->segment_bytes)
        return PS_ELIMIT;
    waiting_push(&a->reads, req);
    reads_turn_spread(a);
    return 0;
}

static void spread_health(const struct blkdev *dev, struct blkdev_health *out)
{
    const struct array *a = array_of(dev);
    *out = a->health;
    out->failed = a->failed;
}

/* Of the erase block at this place. */
static void spread_wear(const struct blkdev *dev, uint64_t offset, struct blkdev_wear *out)
{
    const struct array *a = array_of(dev);
    const struct place_of *p = &a->places[offset / a->segment_bytes];
    *out = (struct blkdev_wear){0};
    if (p->member != ARRAY_NOBODY && a->member[p->member].dev)
        (void)blkdev_wear(a->member[p->member].dev, place_at(a, p) + offset % a->segment_bytes, out);
}

static bool spread_absent(const struct blkdev *dev, uint64_t offset, uint64_t length)
{
    const struct array *a = array_of(dev);
    for (uint64_t s = offset / a->segment_bytes; s <= (offset + length - 1) / a->segment_bytes; s++)
        if (a->places[s].member == ARRAY_NOBODY)
            return true;
    return false;
}

static void spread_destroy(struct blkdev *dev)
{
    array_destroy(array_of(dev));
}

const struct blkdev_ops array_spread_ops = {.submit = spread_submit,
                                            .health = spread_health,
                                            .destroy = spread_destroy,
                                            .wear = spread_wear,
                                            .absent = spread_absent};

void spread_close(struct array *a)
{
    const array_cb cb = a->close_cb;
    if (!cb || !change_rests(a))
        return;
    a->close_cb = NULL;
    cb(a->close_user, 0);
}
