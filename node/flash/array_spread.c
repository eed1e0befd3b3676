/* Without parity: segment after segment in turn over the members, each as long as it has room. What fails on
 * a member fails for the caller, and a member that fails to write ends all writing, as a single device would.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/flash/array_impl.h"

static int by_member(struct array *a)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < a->n; i++)
        total += a->label.member[i].segments;
    if (total > UINT32_MAX / 2)
        return PS_ELIMIT;
    a->segments = (uint32_t)total;
    a->places = calloc(a->segments, sizeof *a->places);
    if (!a->places)
        return PS_ENOMEM;
    uint32_t at = 0;
    for (uint32_t part = 0; at < a->segments; part++)
        for (unsigned i = 0; i < a->n; i++)
            if (part < a->label.member[i].segments)
                a->places[at++] = (struct place_of){(uint8_t)i, part};
    return 0;
}

static void spread_done(struct array_io *io)
{
    struct read *r = container_of(io, struct read, io);
    struct array *a = io->a;
    struct blkdev_req *outer = r->outer;
    if (outer->op != BLKDEV_READ)
        array_lose_list(a, io, "a write failed");
    const int status = io->failed ? PS_EIO : 0;
    list_push_back(&a->free_reads, &r->link);
    a->health.errors += status != 0;
    outer->cb(outer, status);
    reads_turn_spread(a);
}

int spread_make_room(struct array *a)
{
    const int rc = by_member(a);
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

static void send_pieces(struct array *a, struct array_io *io, const struct blkdev_req *req)
{
    for (uint32_t done = 0, bytes; done < req->length; done += bytes) {
        const uint64_t offset = req->offset + done, in = offset % a->segment_bytes;
        const struct place_of *p = &a->places[offset / a->segment_bytes];
        const uint64_t room = a->segment_bytes - in;
        bytes = req->length - done < room ? req->length - done : (uint32_t)room;
        io_send(io, p->member, req->op, req->flags,
                ARRAY_HEADER_BYTES + (uint64_t)p->part * a->segment_bytes + in, bytes,
                req->buf ? (uint8_t *)req->buf + done : NULL);
    }
}

static void spread_start(struct array *a, struct blkdev_req *req)
{
    struct read *r = container_of(list_pop_front(&a->free_reads), struct read, link);
    r->outer = req;
    count(a, req);
    io_begin(&r->io);
    if (req->op == BLKDEV_FLUSH) {
        for (unsigned i = 0; i < a->n; i++)
            if (a->member[i].dirty) {
                a->member[i].dirty = false;
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
    (void)blkdev_wear(a->member[p->member].dev,
                      ARRAY_HEADER_BYTES + (uint64_t)p->part * a->segment_bytes + offset % a->segment_bytes,
                      out);
}

static void spread_destroy(struct blkdev *dev)
{
    array_destroy(array_of(dev));
}

const struct blkdev_ops array_spread_ops = {
    .submit = spread_submit, .health = spread_health, .destroy = spread_destroy, .wear = spread_wear};

void spread_close(struct array *a)
{
    const array_cb cb = a->close_cb;
    a->close_cb = NULL;
    cb(a->close_user, 0);
}
