#include "common/blkdev_zones.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/blkdev_queue.h"
#include "common/container.h"

enum {
    PARTS = 1024,
    MAX_IO = 1 << 20, /* at most two zones in one request */
    NOT_SAID = 0xffffffffu,
};
_Static_assert((int)MAX_IO <= (int)BLKDEV_ZONE_MIN, "a request touches two zones at most");

/* req->priv of the owner's requests */
enum {
    PRIV_LEFT, /* parts under way, and one while they are being begun; ERASE: the next zone */
    PRIV_STATUS,
};

/* What of a request is in one zone. */
struct part {
    struct blkdev_req req; /* to the raw device */
    struct zoned *dev;
    struct blkdev_req *whole;
    struct part *next;
    uint32_t zone, at, length, done;
    uint8_t *buf;
};

struct parts {
    struct part *head, **tail;
};

struct zone {
    uint64_t start;
    uint32_t capacity_left; /* the device's, beyond what is used here; only whether it is 0 matters */
    uint32_t next;          /* where the next write is to begin, as submitted */
    uint32_t written;       /* and as completed */
    uint32_t finish_at;     /* nothing comes behind this; NOT_SAID */
    bool active, finishing, finished, broken, retired, offline;
    bool writing; /* a piece is at the device */
    struct parts parts;
};

struct zoned {
    struct blkdev base;
    struct blkdev *raw;
    struct zone_control *control;
    struct zone *zones;
    uint32_t count, active, max_active, piece_bytes;
    uint64_t zone_bytes; /* by the device's addresses */
    struct part parts[PARTS], *free;
    uint32_t nfree;
    uint32_t outstanding;
    struct blkdev_queue waiting; /* for parts */
    struct blkdev_queue erases;  /* one after the other */
    struct blkdev_queue nothing; /* done, and to be answered in the loop's time */
    struct zone_command command, answer;
    uint32_t command_zone, finish_from;
    uint32_t finishes; /* zones that are to be finished */
    uint32_t pieces;   /* of writes, at the device */
    bool commanding, answering, closing;
    bool held;    /* a zone waits to be begun */
    bool touched; /* by a write or an erase */
    struct blkdev_health health;
};

static struct zoned *zoned_of(const struct blkdev *dev)
{
    return container_of((struct blkdev *)dev, struct zoned, base);
}

static void parts_push(struct parts *q, struct part *p)
{
    p->next = NULL;
    *q->tail = p;
    q->tail = &p->next;
}

static struct part *parts_pop(struct parts *q)
{
    struct part *p = q->head;
    q->head = p->next;
    if (!q->head)
        q->tail = &q->head;
    return p;
}

static void pump_zone(struct zoned *d, struct zone *z);
static void pump_control(struct zoned *d);
static void pump_held(struct zoned *d);
static void begin_waiting(struct zoned *d);

/* ---- answers */

static void count(struct zoned *d, const struct blkdev_req *req, int status)
{
    struct blkdev_health *h = &d->health;
    h->errors += status != 0;
    if (status)
        return;
    h->read_ops += req->op == BLKDEV_READ;
    h->read_bytes += req->op == BLKDEV_READ ? req->length : 0;
    h->write_ops += req->op == BLKDEV_WRITE;
    h->write_bytes += req->op == BLKDEV_WRITE ? req->length : 0;
    h->flush_ops += req->op == BLKDEV_FLUSH;
    h->erase_ops += req->op == BLKDEV_ERASE;
}

/* Nothing of the device may be touched after it: the owner may destroy it when this was the last one. */
static void answer(struct zoned *d, struct blkdev_req *req)
{
    const int status = (int)(int64_t)req->priv[PRIV_STATUS];
    d->outstanding--;
    count(d, req, status);
    req->cb(req, status);
}

static void answered(struct zone_command *command, int status)
{
    struct zoned *d = container_of(command, struct zoned, answer);
    struct blkdev_queue all = d->nothing;
    (void)status;
    d->answering = false;
    if (all.head)
        blkdev_queue_init(&d->nothing);
    for (struct blkdev_req *req = all.head, *next; req; req = next) {
        next = req->next;
        answer(d, req);
    }
}

/* Of a request that needs nothing of the device (any more). */
static void answer_later(struct zoned *d, struct blkdev_req *req)
{
    blkdev_queue_push(&d->nothing, req);
    if (d->answering)
        return;
    d->answering = true;
    d->answer = (struct zone_command){.op = ZONE_NOTHING, .done = answered};
    d->control->submit(d->control, &d->answer);
}

static void set_failed(struct blkdev_req *req, int status)
{
    if (status && !req->priv[PRIV_STATUS])
        req->priv[PRIV_STATUS] = (uint64_t)(int64_t)status;
}

static void recycle(struct zoned *d, struct part *p)
{
    p->next = d->free;
    d->free = p;
    d->nfree++;
}

/* A part came back from the device. */
static void end_part(struct part *p, int status)
{
    struct zoned *d = p->dev;
    struct blkdev_req *whole = p->whole;
    set_failed(whole, status);
    recycle(d, p);
    if (--whole->priv[PRIV_LEFT] == 0)
        answer(d, whole);
}

/* A part that never got there: its request may still be in submit. */
static void refuse_part(struct part *p, int status)
{
    struct zoned *d = p->dev;
    struct blkdev_req *whole = p->whole;
    set_failed(whole, status);
    recycle(d, p);
    if (--whole->priv[PRIV_LEFT] == 0)
        answer_later(d, whole);
}

/* ---- writes: in each zone one at a time */

static void want_finish(struct zoned *d, struct zone *z)
{
    if (z->finishing || z->finished || !z->active || !d->max_active)
        return;
    z->finishing = true;
    d->finishes++;
}

static void look_whether_done(struct zoned *d, struct zone *z)
{
    if (z->written == d->base.geometry.erase_bytes && z->active && !z->capacity_left) {
        z->active = false; /* the device says full */
        d->active--;
    } else if (z->written == d->base.geometry.erase_bytes || z->written >= z->finish_at) {
        want_finish(d, z);
    }
}

/* True: a zone may be begun now. */
static bool may_begin(const struct zoned *d)
{
    return d->max_active == 0 || d->active < d->max_active;
}

static void piece_done(struct blkdev_req *req, int status)
{
    struct part *p = container_of(req, struct part, req);
    struct zoned *d = p->dev;
    struct zone *z = &d->zones[p->zone];
    z->writing = false;
    d->pieces--;
    p->done += status ? 0 : req->length;
    z->written += status ? 0 : req->length;
    z->broken |= status != 0;
    const bool ended = status != 0 || p->done == p->length;
    if (ended)
        (void)parts_pop(&z->parts);
    look_whether_done(d, z);
    pump_zone(d, z);
    if (may_begin(d))
        pump_held(d);
    pump_control(d);
    begin_waiting(d);
    if (ended)
        end_part(p, status);
}

static void pump_zone(struct zoned *d, struct zone *z)
{
    while (z->parts.head && !z->writing) {
        struct part *p = z->parts.head;
        const bool begins = z->written == 0 && !z->active;
        const bool taken = !z->broken && !z->retired && !z->finished;
        if (taken && begins && !may_begin(d) &&
            (d->finishes || d->commanding || d->erases.head || d->pieces)) {
            d->held = true;
            return;
        }
        int rc = !taken || (begins && !may_begin(d)) ? PS_EIO : 0;
        if (rc == 0) {
            const uint32_t left = p->length - p->done;
            p->req = (struct blkdev_req){
                .op = BLKDEV_WRITE,
                .flags = p->whole->flags,
                .offset = z->start + p->at + p->done,
                .length = left < d->piece_bytes ? left : d->piece_bytes,
                .buf = p->buf + p->done,
            };
            rc = blkdev_submit(d->raw, &p->req, piece_done);
        }
        if (rc == 0) {
            z->writing = true;
            d->pieces++;
            d->active += begins;
            z->active |= begins;
            return;
        }
        z->broken = true;
        refuse_part(parts_pop(&z->parts), rc);
    }
}

/* Those that wait for an active zone less. */
static void pump_held(struct zoned *d)
{
    const bool held = d->held;
    d->held = false;
    for (uint32_t i = 0; held && i < d->count; i++)
        if (d->zones[i].parts.head && !d->zones[i].writing)
            pump_zone(d, &d->zones[i]);
}

/* ---- resets and finishes: one at a time */

static bool is_idle(const struct zone *z)
{
    return !z->writing && !z->parts.head;
}

static void command_done(struct zone_command *command, int status)
{
    struct zoned *d = container_of(command, struct zoned, command);
    struct zone *z = &d->zones[d->command_zone];
    d->commanding = false;
    if (command->op == ZONE_FINISH) {
        z->finishing = false;
        z->finished = true;
        d->finishes--;
        d->active -= status == 0;
        z->active = status != 0;
    } else {
        struct blkdev_req *req = d->erases.head;
        const bool stays = status != 0 && z->active && command->condition == ZONE_BEGUN;
        d->active -= z->active && !stays;
        z->active = stays;
        z->next = z->written = 0;
        z->finish_at = NOT_SAID;
        z->broken = z->finished = false;
        z->retired |= status != 0;
        z->offline |= status != 0;
        set_failed(req, status);
        req->priv[PRIV_LEFT]++;
    }
    pump_held(d);
    pump_control(d);
    if (d->closing && !d->commanding && d->outstanding == 0) {
        d->closing = false;
        d->base.ops->destroy(&d->base);
    }
}

static void command(struct zoned *d, enum zone_op op, uint32_t zone)
{
    d->command_zone = zone;
    d->commanding = true;
    d->command = (struct zone_command){
        .op = op, .start = d->zones[zone].start, .length = d->zone_bytes, .done = command_done};
    d->control->submit(d->control, &d->command);
}

/* The next zone to be finished, in turn; false: none can be now. */
static bool finish_next(struct zoned *d)
{
    for (uint32_t i = 0; d->finishes && i < d->count; i++) {
        const uint32_t zone = (d->finish_from + i) % d->count;
        const struct zone *z = &d->zones[zone];
        if (!z->finishing || !is_idle(z))
            continue;
        d->finish_from = zone + 1;
        command(d, ZONE_FINISH, zone);
        return true;
    }
    return false;
}

/* Takes the first erase a zone further; true: something is under way. */
static bool erase_next(struct zoned *d)
{
    struct blkdev_req *req;
    while ((req = d->erases.head)) {
        const uint64_t at = req->offset + req->priv[PRIV_LEFT] * d->base.geometry.erase_bytes;
        if (at == req->offset + req->length) {
            (void)blkdev_queue_pop(&d->erases);
            answer_later(d, req);
            continue;
        }
        const uint32_t zone = (uint32_t)(at / d->base.geometry.erase_bytes);
        struct zone *z = &d->zones[zone];
        assert(is_idle(z) && "no zone is erased while it is written");
        if (z->finishing) {
            z->finishing = false;
            d->finishes--;
        }
        if (!z->retired && (z->written || z->broken || z->finished || z->active)) {
            command(d, ZONE_RESET, zone);
            return true;
        }
        if (z->retired)
            set_failed(req, PS_EIO);
        z->finish_at = NOT_SAID;
        req->priv[PRIV_LEFT]++;
    }
    return false;
}

static void pump_control(struct zoned *d)
{
    if (d->commanding || d->closing)
        return;
    /* With nothing to wait for, what would begin one zone too many is refused. */
    if (!erase_next(d) && !finish_next(d))
        pump_held(d);
}

/* ---- requests */

static struct part *new_part(struct zoned *d, struct blkdev_req *whole, uint32_t zone, uint32_t at,
                             uint32_t length, uint8_t *buf)
{
    struct part *p = d->free;
    d->free = p->next;
    d->nfree--;
    p->dev = d;
    p->whole = whole;
    p->zone = zone;
    p->at = at;
    p->length = length;
    p->done = 0;
    p->buf = buf;
    whole->priv[PRIV_LEFT]++;
    return p;
}

static void read_done(struct blkdev_req *req, int status)
{
    struct part *p = container_of(req, struct part, req);
    struct zoned *d = p->dev;
    begin_waiting(d);
    end_part(p, status);
}

static void begin_read(struct zoned *d, struct blkdev_req *whole, uint32_t zone, uint32_t at, uint32_t length,
                       uint8_t *buf)
{
    const struct zone *z = &d->zones[zone];
    const uint32_t there = z->offline || z->written <= at ? 0
                           : z->written - at < length     ? z->written - at
                                                          : length;
    memset(buf + there, 0, length - there);
    if (there == 0)
        return;
    struct part *p = new_part(d, whole, zone, at, there, buf);
    p->req = (struct blkdev_req){.op = BLKDEV_READ, .offset = z->start + at, .length = there, .buf = buf};
    const int rc = blkdev_submit(d->raw, &p->req, read_done);
    if (rc)
        refuse_part(p, rc);
}

static void begin_write(struct zoned *d, struct blkdev_req *whole, uint32_t zone, uint32_t at,
                        uint32_t length, uint8_t *buf)
{
    struct zone *z = &d->zones[zone];
    assert((at == z->next || z->retired || z->broken) && "a zone is written in order, without gaps");
    assert((!z->finished || z->retired || z->broken) &&
           "a zone that was found begun, or is finished, is erased before it is written");
    assert((at + length <= z->finish_at || z->retired || z->broken) &&
           "nothing comes behind where a zone was to end");
    z->next = at + length;
    parts_push(&z->parts, new_part(d, whole, zone, at, length, buf));
    pump_zone(d, z);
}

static void flush(struct zoned *d, struct blkdev_req *whole)
{
    struct part *p = new_part(d, whole, 0, 0, 0, NULL);
    p->req = (struct blkdev_req){.op = BLKDEV_FLUSH};
    const int rc = blkdev_submit(d->raw, &p->req, read_done);
    if (rc)
        refuse_part(p, rc);
}

static void begin(struct zoned *d, struct blkdev_req *req)
{
    const uint32_t size = d->base.geometry.erase_bytes;
    req->priv[PRIV_LEFT] = 1;
    if (req->op == BLKDEV_FLUSH)
        flush(d, req);
    uint8_t *buf = req->buf;
    for (uint64_t at = req->offset, end = req->offset + req->length; at < end;) {
        const uint32_t inside = (uint32_t)(at % size);
        const uint32_t n = end - at < size - inside ? (uint32_t)(end - at) : size - inside;
        if (req->op == BLKDEV_READ)
            begin_read(d, req, (uint32_t)(at / size), inside, n, buf);
        else
            begin_write(d, req, (uint32_t)(at / size), inside, n, buf);
        at += n;
        buf += n;
    }
    if (--req->priv[PRIV_LEFT] == 0)
        answer_later(d, req);
}

static void begin_waiting(struct zoned *d)
{
    while (d->waiting.head && d->nfree >= 2)
        begin(d, blkdev_queue_pop(&d->waiting));
}

/* The first change since the opening. Zones that were found begun are not gone on with; before this, an owner
 * that only reads changes nothing. */
static void touch(struct zoned *d)
{
    d->touched = true;
    for (uint32_t i = 0; i < d->count; i++)
        want_finish(d, &d->zones[i]);
    pump_control(d);
}

static int zoned_submit(struct blkdev *dev, struct blkdev_req *req)
{
    struct zoned *d = zoned_of(dev);
    assert(!d->closing);
    memset(req->priv, 0, sizeof req->priv);
    d->outstanding++;
    if (!d->touched && (req->op == BLKDEV_WRITE || req->op == BLKDEV_ERASE))
        touch(d);
    if (req->op == BLKDEV_ERASE) {
        blkdev_queue_push(&d->erases, req);
        pump_control(d);
    } else {
        blkdev_queue_push(&d->waiting, req);
        begin_waiting(d);
    }
    return 0;
}

static void zoned_finish(struct blkdev *dev, uint64_t offset, uint32_t length)
{
    struct zoned *d = zoned_of(dev);
    struct zone *z = &d->zones[offset / d->base.geometry.erase_bytes];
    assert(length == 0 || length >= z->next);
    if (z->retired || z->finished || (z->next == 0 && length == 0))
        return;
    z->finish_at = length > z->next ? length : z->next;
    if (z->written >= z->finish_at)
        want_finish(d, z);
    pump_control(d);
}

static void zoned_health(const struct blkdev *dev, struct blkdev_health *out)
{
    struct blkdev_health raw;
    blkdev_health(zoned_of(dev)->raw, &raw);
    *out = zoned_of(dev)->health;
    out->failed = raw.failed;
    out->smart = raw.smart;
}

static void zoned_wear(const struct blkdev *dev, uint64_t offset, struct blkdev_wear *out)
{
    const struct zoned *d = zoned_of(dev);
    *out = (struct blkdev_wear){.uncounted = true,
                                .retired = d->zones[offset / d->base.geometry.erase_bytes].retired};
}

static void zoned_destroy(struct blkdev *dev)
{
    struct zoned *d = zoned_of(dev);
    assert(d->outstanding == 0 && !d->closing);
    if (d->commanding) {
        d->closing = true; /* command_done comes back here */
        return;
    }
    d->control->destroy(d->control);
    blkdev_destroy(d->raw);
    free(d->zones);
    free(d);
}

static const struct blkdev_ops zoned_ops = {.submit = zoned_submit,
                                            .health = zoned_health,
                                            .destroy = zoned_destroy,
                                            .wear = zoned_wear,
                                            .finish = zoned_finish};

struct blkdev *blkdev_zones_raw(struct blkdev *dev)
{
    return dev->ops == &zoned_ops ? zoned_of(dev)->raw : dev;
}

uint32_t blkdev_zones_active(const struct blkdev *dev)
{
    return zoned_of(dev)->active;
}

/* ---- creation */

/* The usable size of zones; 0: there is none. */
static uint32_t usable_bytes(const struct blkdev_zones_config *c)
{
    uint64_t least = BLKDEV_ZONE_MAX, size = BLKDEV_ZONE_MIN;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->zones[i].condition != ZONE_OFFLINE && c->zones[i].capacity < least)
            least = c->zones[i].capacity;
    if (least < size)
        return 0;
    while (size * 2 <= least)
        size *= 2;
    return (uint32_t)size;
}

static void take_zone(struct zoned *d, struct zone *z, const struct zone_report *r)
{
    const uint32_t usable = d->base.geometry.erase_bytes;
    const bool retired = r->condition == ZONE_READ_ONLY || r->condition == ZONE_OFFLINE;
    *z = (struct zone){
        .start = r->start,
        .capacity_left = r->capacity > usable,
        .written = r->written < usable ? (uint32_t)r->written : usable,
        .finish_at = NOT_SAID,
        .retired = retired,
        .offline = r->condition == ZONE_OFFLINE,
        .finished = !retired && r->condition == ZONE_FULL,
        .broken = !retired && r->condition == ZONE_BEGUN,
        .active = r->condition == ZONE_BEGUN,
    };
    z->next = z->written;
    z->parts.tail = &z->parts.head;
    d->active += z->active;
}

int blkdev_zones_create(const struct blkdev_zones_config *config, struct blkdev **out, struct ps_error *err)
{
    const uint32_t usable = usable_bytes(config);
    const char *name = config->raw->name;
    if (config->count == 0 || usable == 0)
        return ps_error_set(err, PS_EINVAL,
                            "%.120s has zones of less than 1 MiB, or none: it is of no use here", name);
    if (config->max_active && config->max_active < BLKDEV_ZONES_ACTIVE_MIN)
        return ps_error_set(err, PS_EINVAL, "%.120s lets %u zones be written to at a time; a pool needs %d",
                            name, config->max_active, BLKDEV_ZONES_ACTIVE_MIN);
    struct zoned *d = calloc(1, sizeof *d);
    struct zone *zones = calloc(config->count, sizeof *zones);
    if (!d || !zones) {
        free(d);
        free(zones);
        return ps_error_set(err, PS_ENOMEM, "%.120s: out of memory", name);
    }
    d->raw = config->raw;
    d->control = config->control;
    d->zones = zones;
    d->count = config->count;
    d->zone_bytes = config->zone_bytes;
    d->max_active = config->max_active;
    d->piece_bytes = config->piece_bytes < MAX_IO ? config->piece_bytes : MAX_IO;
    d->base.ops = &zoned_ops;
    d->base.geometry = (struct blkdev_geometry){
        .size_bytes = (uint64_t)config->count * usable,
        .read_unit = config->raw->geometry.read_unit,
        .write_unit = config->raw->geometry.write_unit,
        .erase_bytes = usable,
        .max_io_bytes = MAX_IO,
        .zoned = true,
        .tells_blank = true,
    };
    memcpy(d->base.name, name, sizeof d->base.name);
    blkdev_queue_init(&d->waiting);
    blkdev_queue_init(&d->erases);
    blkdev_queue_init(&d->nothing);
    for (uint32_t i = 0; i < PARTS; i++)
        recycle(d, &d->parts[i]);
    for (uint32_t i = 0; i < d->count; i++)
        take_zone(d, &zones[i], &config->zones[i]);
    *out = &d->base;
    return 0;
}
