/* Requests: what a drive does when it is asked, and when the flash answers. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/nand/nand_drive_impl.h"

#define RULE(holds, text) assert((holds) && text)

enum {
    MAX_IO = 1 << 20,
};

/* req->priv */
enum {
    PRIV_OPS, /* under way, and one while they are being begun */
    PRIV_STATUS,
};

static void ops_init(struct drive *d)
{
    d->free_ops = NULL;
    d->free_count = NAND_DRIVE_OPS;
    for (uint32_t i = 0; i < NAND_DRIVE_OPS; i++) {
        d->ops[i].op.queued = false;
        d->ops[i].next_free = d->free_ops;
        d->free_ops = &d->ops[i];
    }
    blkdev_queue_init(&d->waiting);
    blkdev_queue_init(&d->done);
    d->pending = 0;
}

/* ---- requests */

static uint64_t sector_of(const struct blkdev_req *req)
{
    return req->offset / NAND_SECTOR_BYTES;
}

/* One operation of the request; the block is that of `zone` and `lane`. */
static void begin_op(struct drive *d, struct blkdev_req *req, enum nand_kind kind, uint32_t zone,
                     uint32_t lane, uint32_t sector, uint32_t sectors, void *buf)
{
    struct drive_op *o = d->free_ops;
    assert(o && "there was room for the whole request");
    d->free_ops = o->next_free;
    d->free_count--;
    o->op = (struct nand_op){.kind = kind,
                             .block = *drive_block(d, zone, lane),
                             .sector = sector,
                             .sectors = sectors,
                             .buf = buf,
                             .user = req};
    req->priv[PRIV_OPS]++;
    nand_submit(d->flash, &o->op);
}

static void begin_io(struct drive *d, struct blkdev_req *req)
{
    const uint32_t ps = d->page_sectors;
    uint64_t at = sector_of(req), end = at + req->length / NAND_SECTOR_BYTES;
    for (uint8_t *buf = req->buf; at < end;) {
        const uint32_t zone = (uint32_t)(at / d->zone_sectors), inside = (uint32_t)(at % d->zone_sectors);
        const uint32_t page = inside / ps, skip = inside % ps;
        const uint32_t n = end - at < ps - skip ? (uint32_t)(end - at) : ps - skip;
        if (d->zones[zone].retired && req->op == BLKDEV_READ)
            memset(buf, 0, (size_t)n * NAND_SECTOR_BYTES);
        else if (d->zones[zone].retired)
            req->priv[PRIV_STATUS] = (uint64_t)(int64_t)PS_EIO;
        else
            begin_op(d, req, req->op == BLKDEV_READ ? NAND_READ : NAND_PROGRAM, zone, page % d->lanes,
                     page / d->lanes * ps + skip, n, buf);
        buf += (size_t)n * NAND_SECTOR_BYTES;
        at += n;
    }
}

static void begin_erase(struct drive *d, struct blkdev_req *req)
{
    const uint64_t zone_bytes = d->base.geometry.erase_bytes;
    for (uint64_t at = req->offset; at < req->offset + req->length; at += zone_bytes) {
        const uint32_t zone = (uint32_t)(at / zone_bytes);
        struct zone *z = &d->zones[zone];
        if (z->retired) {
            req->priv[PRIV_STATUS] = (uint64_t)(int64_t)PS_EIO;
            continue;
        }
        z->erasing = d->lanes;
        for (uint32_t lane = 0; lane < d->lanes; lane++)
            begin_op(d, req, NAND_ERASE, zone, lane, 0, 0, NULL);
    }
}

static uint32_t ops_needed(const struct drive *d, const struct blkdev_req *req)
{
    if (req->op == BLKDEV_ERASE)
        return (uint32_t)(req->length / d->base.geometry.erase_bytes) * d->lanes;
    return req->length / d->g->page_bytes + 2;
}

static void release(struct drive *d, struct blkdev_req *req)
{
    if (--req->priv[PRIV_OPS] == 0)
        blkdev_queue_push(&d->done, req);
}

static void begin(struct drive *d, struct blkdev_req *req)
{
    req->priv[PRIV_OPS] = 1;
    if (req->op == BLKDEV_ERASE)
        begin_erase(d, req);
    else if (req->op != BLKDEV_FLUSH)
        begin_io(d, req);
    release(d, req);
}

static void begin_waiting(struct drive *d)
{
    while (d->waiting.head && ops_needed(d, d->waiting.head) <= d->free_count)
        begin(d, blkdev_queue_pop(&d->waiting));
}

/* The zones' rules, when the request is submitted: later it is carried out in this order. */
static void check_write(struct drive *d, const struct blkdev_req *req)
{
    uint64_t sector = sector_of(req), end = sector + req->length / NAND_SECTOR_BYTES;
    while (sector < end) {
        struct zone *z = &d->zones[sector / d->zone_sectors];
        const uint32_t at = (uint32_t)(sector % d->zone_sectors), left = d->zone_sectors - at;
        const uint32_t sectors = end - sector < left ? (uint32_t)(end - sector) : left;
        sector += sectors;
        if (z->retired)
            continue;
        RULE(!z->erasing, "no zone is written while it is erased");
        RULE(at >= z->written, "a zone is erased before it is written again");
        RULE(at == z->written, "a zone is written in order, without gaps");
        RULE(z->end == 0 || at + sectors <= z->end, "nothing is written behind where a zone was to end");
        RULE(!z->closed, "a zone that was cut off is erased before it is written again");
        z->written += sectors;
    }
}

static int drive_submit(struct blkdev *dev, struct blkdev_req *req)
{
    struct drive *d = drive_of(dev);
    req->priv[PRIV_STATUS] = 0;
    if (ops_needed(d, req) > NAND_DRIVE_OPS)
        return PS_ELIMIT;
    if (req->op == BLKDEV_WRITE)
        check_write(d, req);
    d->pending++;
    blkdev_queue_push(&d->waiting, req);
    begin_waiting(d);
    return 0;
}

/* ---- what comes back */

static void end_read(const struct drive *d, const struct nand_op *op, struct blkdev_req *req)
{
    (void)d;
    for (uint32_t i = 0; i < op->sectors; i++) {
        if (op->result[i] == NAND_FAILED)
            req->priv[PRIV_STATUS] = (uint64_t)(int64_t)PS_EIO;
        else if (op->result[i] != NAND_GOOD)
            memset((uint8_t *)op->buf + (size_t)i * NAND_SECTOR_BYTES, 0, NAND_SECTOR_BYTES);
    }
}

static uint32_t lane_of(const struct drive *d, uint32_t zone, uint32_t block)
{
    uint32_t lane = 0;
    while (*drive_block(d, zone, lane) != block)
        lane++;
    assert(lane < d->lanes);
    return lane;
}

/* Order that a kill depends on: the copy is whole, then it is the zone's, then the old block is bad. */
static void end_failed_program(struct drive *d, struct nand_op *op, struct blkdev_req *req)
{
    const uint32_t zone = nand_tag(d->flash, op->block) - 1, old = op->block;
    const uint32_t lane = lane_of(d, zone, old);
    uint32_t lost;
    for (uint32_t spare; (spare = drive_find_spare(d, lane)) != NO_BLOCK;) {
        if (nand_replace(d->flash, op, spare, &lost)) {
            drive_use_spare(d, zone, lane, spare);
            nand_retire(d->flash, old);
            d->moved++;
            return;
        }
        nand_retire(d->flash, spare);
        d->spares[lane]--;
    }
    d->zones[zone].closed = true;
    req->priv[PRIV_STATUS] = (uint64_t)(int64_t)PS_EIO;
}

/* False: the zone is given up. The first zones are the last to be. A block is bad only when another one is
 * in its place: a zone that lacks one after a kill is retired. */
static bool replace_failed(struct drive *d, uint32_t zone)
{
    const uint32_t kept = zone < FIRST_ZONES ? 0 : SPARE_KEPT;
    for (uint32_t lane = 0; lane < d->lanes; lane++) {
        const uint32_t block = *drive_block(d, zone, lane);
        const bool failed = drive_erase_failed(d, block);
        if (failed ? d->spares[lane] <= kept : d->spares[lane] < kept)
            return false;
        if (!failed)
            continue;
        drive_use_spare(d, zone, lane, drive_find_spare(d, lane));
        nand_retire(d->flash, block);
    }
    return true;
}

static void end_erase(struct drive *d, const struct nand_op *op, struct blkdev_req *req)
{
    const uint32_t zone = nand_tag(d->flash, op->block) - 1;
    struct zone *z = &d->zones[zone];
    if (--z->erasing > 0)
        return;
    if (!replace_failed(d, zone)) {
        drive_give_up(d, zone);
        req->priv[PRIV_STATUS] = (uint64_t)(int64_t)PS_EIO;
        return;
    }
    z->written = z->end = 0;
    z->closed = false;
}

static void end_op(struct drive *d, struct nand_op *op)
{
    struct blkdev_req *req = op->user;
    struct drive_op *o = container_of(op, struct drive_op, op);
    if (op->kind == NAND_READ)
        end_read(d, op, req);
    else if (op->kind == NAND_ERASE)
        end_erase(d, op, req);
    else if (op->failed)
        end_failed_program(d, op, req);
    o->next_free = d->free_ops;
    d->free_ops = o;
    d->free_count++;
    release(d, req);
}

static void count(struct drive *d, const struct blkdev_req *req, int status)
{
    struct blkdev_health *h = &d->health;
    h->errors += status != 0;
    /* All that was written is in the flash: a write that failed says nothing of others. */
    if (status)
        return;
    h->read_ops += req->op == BLKDEV_READ;
    h->read_bytes += req->op == BLKDEV_READ ? req->length : 0;
    h->write_ops += req->op == BLKDEV_WRITE;
    h->write_bytes += req->op == BLKDEV_WRITE ? req->length : 0;
    h->flush_ops += req->op == BLKDEV_FLUSH;
    h->erase_ops += req->op == BLKDEV_ERASE;
}

static bool complete_one(struct drive *d, uint64_t now_ns)
{
    struct blkdev_req *req;
    while (!(req = blkdev_queue_pop(&d->done))) {
        struct nand_op *op = nand_complete(d->flash, now_ns);
        if (!op)
            return false;
        end_op(d, op);
        begin_waiting(d);
    }
    const int status = (int)(int64_t)req->priv[PRIV_STATUS];
    d->pending--;
    count(d, req, status);
    req->cb(req, status);
    return true;
}

size_t nand_drive_pending(const struct blkdev *dev)
{
    return drive_of(dev)->pending;
}

bool nand_drive_step(struct blkdev *dev)
{
    return complete_one(drive_of(dev), UINT64_MAX - 1);
}

uint64_t nand_drive_next(const struct blkdev *dev)
{
    const struct drive *d = drive_of(dev);
    return d->done.head ? 0 : nand_next(d->flash);
}

void nand_drive_advance(struct blkdev *dev, uint64_t now_ns)
{
    struct drive *d = drive_of(dev);
    while (complete_one(d, now_ns))
        ;
    if (now_ns > nand_time(d->flash))
        nand_set_time(d->flash, now_ns);
}

void nand_drive_power_cut(struct blkdev *dev, struct prng *prng)
{
    struct drive *d = drive_of(dev);
    const uint64_t now = nand_time(d->flash);
    nand_power_cut(d->flash, now + prng_below(prng, nand_last(d->flash) - now + 1), prng);
    ops_init(d);
    (void)drive_look(d);
    d->health = (struct blkdev_health){0};
}

/* ---- life */

static void drive_free(struct drive *d)
{
    free(d->zones);
    free(d->blocks);
    free(d->spares);
    free(d);
}

static void drive_destroy(struct blkdev *dev)
{
    struct drive *d = drive_of(dev);
    assert(d->pending == 0);
    nand_close(d->flash);
    drive_free(d);
}

/* Flash keeps no zone ready: this only holds the owner to what it said. */
static void drive_finish(struct blkdev *dev, uint64_t offset, uint32_t length)
{
    struct drive *d = drive_of(dev);
    struct zone *z = &d->zones[offset / dev->geometry.erase_bytes];
    const uint32_t end = length / NAND_SECTOR_BYTES;
    RULE(length == 0 || z->retired || end >= z->written, "a zone does not end before what was written");
    z->end = end > z->written ? end : z->written;
}

static const struct blkdev_ops drive_ops = {.submit = drive_submit,
                                            .health = drive_health,
                                            .destroy = drive_destroy,
                                            .wear = drive_wear,
                                            .finish = drive_finish};

/* Each block of a zone got its tag: a kill may have come before the last, and tags are taken back later. */
static bool is_laid_out(const struct drive *d)
{
    return nand_tags_set(d->flash) >= (uint64_t)d->zone_count * d->lanes;
}

static int lay_out(struct drive *d, struct ps_error *err)
{
    const struct nand_config *c = nand_config(d->flash);
    d->lanes = drive_lanes(d->g);
    d->page_sectors = nand_page_sectors(d->g);
    d->zone_sectors = d->lanes * nand_block_sectors(d->g);
    d->zone_count = d->g->blocks - c->spare_blocks;
    d->first_spares = c->spare_blocks;
    d->zones = calloc(d->zone_count, sizeof d->zones[0]);
    d->blocks = calloc((size_t)d->zone_count * d->lanes, sizeof d->blocks[0]);
    d->spares = calloc(d->lanes, sizeof d->spares[0]);
    return d->zones && d->blocks && d->spares ? 0 : ps_error_set(err, PS_ENOMEM, "out of memory");
}

int nand_drive_create(struct nand *flash, const char *name, struct blkdev **out, struct ps_error *err)
{
    struct drive *d = calloc(1, sizeof *d);
    if (!d)
        return ps_error_set(err, PS_ENOMEM, "out of memory");
    d->flash = flash;
    d->g = &nand_config(flash)->geometry;
    int rc = lay_out(d, err);
    if (rc == 0 && nand_config(flash)->partial_programs < d->page_sectors)
        rc = ps_error_set(err, PS_EDAMAGED, "the simulated flash is none that a drive is made of");
    if (rc == 0 && !is_laid_out(d) && !drive_assign(d))
        rc = ps_error_set(err, PS_EDAMAGED, "too many blocks of the simulated flash are bad");
    if (rc == 0 && !drive_look(d))
        rc = ps_error_set(err, PS_EDAMAGED, "the simulated flash was not laid out as a drive");
    if (rc) {
        drive_free(d);
        return rc;
    }
    ops_init(d);
    d->base.ops = &drive_ops;
    d->base.geometry = (struct blkdev_geometry){
        .size_bytes = (uint64_t)d->zone_count * d->zone_sectors * NAND_SECTOR_BYTES,
        .read_unit = NAND_SECTOR_BYTES,
        .write_unit = NAND_SECTOR_BYTES,
        .erase_bytes = d->zone_sectors * NAND_SECTOR_BYTES,
        .max_io_bytes = MAX_IO,
        .zoned = true,
        .tells_blank = true,
    };
    (void)snprintf(d->base.name, sizeof d->base.name, "%s", name);
    *out = &d->base;
    return 0;
}

void nand_drive_abandon(struct blkdev *dev)
{
    struct drive *d = drive_of(dev);
    nand_abandon(d->flash);
    drive_free(d);
}

uint32_t nand_drive_lanes(const struct blkdev *dev)
{
    return drive_of(dev)->lanes;
}

uint32_t nand_drive_block(const struct blkdev *dev, uint32_t zone, uint32_t lane)
{
    return *drive_block(drive_of(dev), zone, lane);
}

struct nand *nand_drive_flash(const struct blkdev *dev)
{
    return drive_of(dev)->flash;
}
